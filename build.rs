//! Link settings of the module.

#[path = "crates/hsm-module/src/link.rs"]
mod link;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=crates/hsm-module/src/link.rs");
    link::set();
}
