//! Link settings of the module.

/// What AWS-LC looks for in the program.
const ALLOCATOR: [&str; 5] = [
    "sdallocx",
    "OPENSSL_memory_alloc",
    "OPENSSL_memory_free",
    "OPENSSL_memory_get_size",
    "OPENSSL_memory_realloc",
];

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    if std::env::var("CARGO_CFG_TARGET_OS").as_deref() == Ok("linux") {
        // A program may dlclose the module while the I/O thread is still ending, so the code must
        // stay mapped. Symbols are bound at load time, which makes the whole GOT read-only.
        println!("cargo:rustc-cdylib-link-arg=-Wl,-z,nodelete,-z,relro,-z,now");
        // What libraries in the module read of the environment: see hsm-module's `variables`.
        println!("cargo:rustc-cdylib-link-arg=-Wl,--wrap=getenv");
        // AWS-LC would take an allocator that the program happens to have, for one half of its work
        // where the module was loaded with RTLD_DEEPBIND: memory of libc, freed by jemalloc. Under
        // the names that this makes of them (`__wrap_…`) nobody has any.
        for name in ALLOCATOR {
            println!("cargo:rustc-cdylib-link-arg=-Wl,--wrap={name}");
        }
    }
}
