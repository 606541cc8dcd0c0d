//! Link settings of the module.

#[path = "../hsm-module/src/link.rs"]
mod link;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=../hsm-module/src/link.rs");
    link::set();
}
