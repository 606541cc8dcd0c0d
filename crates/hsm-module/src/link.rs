//! Link settings of a module, for its build script, which has this file as a module of its own:
//! what the build script of a dependency sets does not reach the library that is made of it.

/// What AWS-LC looks for in the program.
const ALLOCATOR: [&str; 5] = [
    "sdallocx",
    "OPENSSL_memory_alloc",
    "OPENSSL_memory_free",
    "OPENSSL_memory_get_size",
    "OPENSSL_memory_realloc",
];

/// Tells cargo the settings.
pub(crate) fn set() {
    if std::env::var("CARGO_CFG_TARGET_OS").as_deref() != Ok("linux") {
        return;
    }
    // A program, or OpenSSL at exit, may dlclose the module while the I/O thread is still ending,
    // so the code must stay mapped. Symbols are bound at load time, which makes the whole GOT
    // read-only.
    println!("cargo:rustc-cdylib-link-arg=-Wl,-z,nodelete,-z,relro,-z,now");
    // What libraries in the module read of the environment: see `variables`.
    println!("cargo:rustc-cdylib-link-arg=-Wl,--wrap=getenv");
    // AWS-LC would take an allocator that the program happens to have, for one half of its work
    // where the module was loaded with RTLD_DEEPBIND: memory of libc, freed by jemalloc. Under the
    // names that this makes of them (`__wrap_…`) nobody has any.
    for name in ALLOCATOR {
        println!("cargo:rustc-cdylib-link-arg=-Wl,--wrap={name}");
    }
}
