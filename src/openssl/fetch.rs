//! Fetching an algorithm from the core (crypto(7), "ALGORITHM FETCHING"), as a program would.
//!
//! Which provider an algorithm comes from follows from the order of the providers, from what was
//! fetched before and from the default properties, and only the core knows all of them. So it is
//! asked, by libcrypto's own functions, for what it would take if this provider weren't there. That
//! activates the default provider, too, where a program has loaded no provider of OpenSSL's.

use std::ffi::{CStr, CString, c_char, c_int, c_void};

use hsm_module::dispatch::{Functions, address};

use super::ffi::{self, CoreHandle};
use super::functions::{self, Upcall};
use super::libcrypto::Libcrypto;

type Fetch = unsafe extern "C" fn(*mut c_void, *const c_char, *const c_char) -> *mut c_void;
type GetProvider = unsafe extern "C" fn(*const c_void) -> *const CoreHandle;
type Free = unsafe extern "C" fn(*mut c_void);

/// libcrypto's functions on the methods of an operation.
#[derive(Clone, Copy)]
struct MethodFunctions {
    fetch: Fetch,
    provider: GetProvider,
    free: Free,
}

/// The names of [`MethodFunctions`], by operation.
const NAMES: [(c_int, [&CStr; 3]); 6] = [
    (
        ffi::OP_KEYMGMT,
        [
            c"EVP_KEYMGMT_fetch",
            c"EVP_KEYMGMT_get0_provider",
            c"EVP_KEYMGMT_free",
        ],
    ),
    (
        ffi::OP_SIGNATURE,
        [
            c"EVP_SIGNATURE_fetch",
            c"EVP_SIGNATURE_get0_provider",
            c"EVP_SIGNATURE_free",
        ],
    ),
    (
        ffi::OP_ASYM_CIPHER,
        [
            c"EVP_ASYM_CIPHER_fetch",
            c"EVP_ASYM_CIPHER_get0_provider",
            c"EVP_ASYM_CIPHER_free",
        ],
    ),
    (
        ffi::OP_CIPHER,
        [
            c"EVP_CIPHER_fetch",
            c"EVP_CIPHER_get0_provider",
            c"EVP_CIPHER_free",
        ],
    ),
    (
        ffi::OP_SKEYMGMT,
        [
            c"EVP_SKEYMGMT_fetch",
            c"EVP_SKEYMGMT_get0_provider",
            c"EVP_SKEYMGMT_free",
        ],
    ),
    (
        ffi::OP_ENCODER,
        [
            c"OSSL_ENCODER_fetch",
            c"OSSL_ENCODER_get0_provider",
            c"OSSL_ENCODER_free",
        ],
    ),
];

/// The core's fetching, for the library context that this provider is loaded into.
pub(super) struct Fetcher {
    own: *const CoreHandle,
    context: *mut c_void,
    set_mark: Upcall,
    pop_to_mark: Upcall,
    methods: [Option<MethodFunctions>; NAMES.len()],
    /// Keeps the functions where they are.
    _library: Libcrypto,
}

// SAFETY: the handle and the context are only passed back to libcrypto, whose functions may be
// called from any thread.
unsafe impl Send for Fetcher {}
// SAFETY: the structure itself is immutable, and libcrypto's functions may be called from any
// thread.
unsafe impl Sync for Fetcher {}

impl Fetcher {
    /// None where libcrypto's functions can't be found: in a program that has libcrypto in itself,
    /// and hides it.
    ///
    /// # Safety
    /// `shown` are the core's functions, and `own` the handle that came with them.
    pub(super) unsafe fn new(
        own: *const CoreHandle,
        shown: Functions<functions::Core>,
    ) -> Option<Self> {
        let libctx = shown.get(functions::CORE_GET_LIBCTX)?;
        // SAFETY: the names fix the functions' types (evp.h, encoder.h), and the core's function is
        // one of libcrypto's.
        unsafe {
            let library = Libcrypto::holding(address(libctx))?;
            let methods = NAMES.map(|(_, [fetch, provider, free])| {
                Some(MethodFunctions {
                    fetch: library.function(fetch)?,
                    provider: library.function(provider)?,
                    free: library.function(free)?,
                })
            });
            methods[0]?;
            Some(Self {
                own,
                // Null is the default context.
                context: libctx(own),
                set_mark: shown.get(functions::CORE_SET_ERROR_MARK)?,
                pop_to_mark: shown.get(functions::CORE_POP_ERROR_TO_MARK)?,
                methods,
                _library: library,
            })
        }
    }

    /// What the core has for an operation under a name by a property query, to which it adds the
    /// default properties. That there is nothing is no error.
    pub(super) fn fetch(&self, operation: c_int, name: &CStr, query: &str) -> Option<Method> {
        let known = NAMES.iter().position(|(known, _)| *known == operation)?;
        let functions = self.methods[known]?;
        let query = CString::new(query).ok()?;
        // SAFETY: the context is the one that we are in, and the strings end with NUL.
        let method = self
            .quietly(|| unsafe { (functions.fetch)(self.context, name.as_ptr(), query.as_ptr()) });
        (!method.is_null()).then(|| Method { method, functions })
    }

    /// Takes away what a call leaves on the error queue.
    pub(super) fn quietly<T>(&self, call: impl FnOnce() -> T) -> T {
        // SAFETY: the handle is our own.
        unsafe { (self.set_mark)(self.own) };
        let returned = call();
        // SAFETY: the handle is our own, and the mark is the one set here.
        unsafe { (self.pop_to_mark)(self.own) };
        returned
    }
}

/// A fetched algorithm, whose provider stays while it lives.
pub(super) struct Method {
    method: *mut c_void,
    functions: MethodFunctions,
}

impl Method {
    pub(super) fn provider(&self) -> *const CoreHandle {
        // SAFETY: the method lives.
        unsafe { (self.functions.provider)(self.method) }
    }
}

impl Drop for Method {
    fn drop(&mut self) {
        // SAFETY: gives back what was fetched.
        unsafe { (self.functions.free)(self.method) };
    }
}
