//! `akv`: command line for Azure Managed HSM.
fn main() {
    println!("akv {}", env!("CARGO_PKG_VERSION"));
}
