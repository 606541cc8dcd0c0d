//! What the libraries within this module read of the environment.
//!
//! AWS-LC takes `OPENSSL_ia32cap` and its like, which are meant for libcrypto, before any function
//! of ours runs: as the module is loaded. It ends the process if they name what the processor
//! lacks, and asks nobody whether the environment is to be trusted. So the `build.rs` of a module
//! has the linker lead every call of `getenv` in it here (`-Wl,--wrap=getenv`).

use std::ffi::{CStr, c_char};

unsafe extern "C" {
    fn secure_getenv(name: *const c_char) -> *mut c_char;
}

// The linker is to find it, and nobody else: a module exports the functions of its interface.
std::arch::global_asm!(".hidden __wrap_getenv");

/// The value of a variable: none in a program with raised rights, and none of libcrypto's own
/// variables.
#[unsafe(no_mangle)]
unsafe extern "C" fn __wrap_getenv(name: *const c_char) -> *mut c_char {
    // SAFETY: callers of getenv pass a text that ends with NUL (getenv(3)).
    let is_libcryptos = unsafe { CStr::from_ptr(name) }
        .to_bytes()
        .starts_with(b"OPENSSL_");
    if is_libcryptos {
        return std::ptr::null_mut();
    }
    // SAFETY: callers of getenv pass a text that ends with NUL, which is all that secure_getenv(3)
    // asks for.
    unsafe { secure_getenv(name) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether a variable is seen.
    fn is_seen(name: &CStr) -> bool {
        // SAFETY: the name ends with NUL.
        !unsafe { __wrap_getenv(name.as_ptr()) }.is_null()
    }

    #[test]
    fn libcryptos_own_variables_are_not_seen() {
        // SAFETY: of this program's tests no other writes variables, and the C library locks its
        // own.
        unsafe {
            std::env::set_var("OPENSSL_ia32cap", "0");
            std::env::set_var("AKV_TEST_SEEN", "1");
        }
        assert!(!is_seen(c"OPENSSL_ia32cap"));
        assert!(is_seen(c"AKV_TEST_SEEN"));
        assert!(!is_seen(c"AKV_TEST_NOT_SET"));
    }
}
