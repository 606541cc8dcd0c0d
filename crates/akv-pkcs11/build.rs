//! Link settings of the module.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    if std::env::var("CARGO_CFG_TARGET_OS").as_deref() == Ok("linux") {
        // A program may dlclose the module while the I/O thread is still ending, so the code must
        // stay mapped. Symbols are bound at load time, which makes the whole GOT read-only.
        println!("cargo:rustc-cdylib-link-arg=-Wl,-z,nodelete,-z,relro,-z,now");
        // What libraries in the module read of the environment: see hsm-module's `variables`.
        println!("cargo:rustc-cdylib-link-arg=-Wl,--wrap=getenv");
    }
}
