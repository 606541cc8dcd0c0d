//! The functions that OpenSSL's core hands us at load time: here, its error queue.

use std::ffi::{CStr, CString, c_char, c_int, c_void};

use hsm_module::dispatch::{Functions, address};

#[cfg(target_os = "linux")]
use super::async_job::Jobs;
use super::bio::BioFunctions;
use super::ffi::{CoreHandle, Item, Param};
use super::functions::{
    self, GetContext, GetCoreParams, NewError, SetErrorDebug, Upcall, VsetError,
};
use super::libcrypto::{Configured, Key, Libcrypto};
use crate::error::{Error, REASONS, Reason};

/// What is passed for a `va_list`. The format string never holds a conversion, so the list is only
/// ever copied. In each ABI that we build for, a `va_list` parameter is a pointer or a structure of
/// at most 32 bytes that is passed by its address.
static NO_ARGUMENTS: [u64; 8] = [0; 8];

/// The longest text of an error, in bytes: one less than ERR_MAX_DATA_SIZE of OpenSSL 3.0, with its
/// NUL.
const MAX_ERROR_DATA: usize = 1022;

/// The core's handle for this provider, with the upcalls that report errors.
#[derive(Clone, Copy)]
pub(crate) struct Core {
    handle: *const CoreHandle,
    get_params: Option<GetCoreParams>,
    get_context: Option<GetContext>,
    new_error: Option<NewError>,
    set_error_debug: Option<SetErrorDebug>,
    vset_error: Option<VsetError>,
    /// To set an error mark, to take all errors after it away, and to take only the mark away.
    marks: Option<[Upcall; 3]>,
    pub(super) bio: BioFunctions,
}

// SAFETY: the handle is only passed back to the core, whose upcalls may be called from any thread.
unsafe impl Send for Core {}
// SAFETY: the structure itself is immutable, and the core's upcalls may be called from any thread.
unsafe impl Sync for Core {}

impl Core {
    /// Picks the upcalls out of what the core shows.
    ///
    /// # Safety
    /// `shown` are the core's functions, and `handle` the core handle that came with them.
    pub(super) unsafe fn new(handle: *const CoreHandle, shown: Functions<functions::Core>) -> Self {
        let marks = || {
            Some([
                shown.get(functions::CORE_SET_ERROR_MARK)?,
                shown.get(functions::CORE_POP_ERROR_TO_MARK)?,
                shown.get(functions::CORE_CLEAR_LAST_ERROR_MARK)?,
            ])
        };
        Self {
            handle,
            get_params: shown.get(functions::CORE_GET_PARAMS),
            get_context: shown.get(functions::CORE_GET_LIBCTX),
            new_error: shown.get(functions::CORE_NEW_ERROR),
            set_error_debug: shown.get(functions::CORE_SET_ERROR_DEBUG),
            vset_error: shown.get(functions::CORE_VSET_ERROR),
            marks: marks(),
            bio: BioFunctions {
                read: shown.get(functions::BIO_READ_EX),
                write: shown.get(functions::BIO_WRITE_EX),
                gets: shown.get(functions::BIO_GETS),
            },
        }
    }

    /// The value of one of the core's parameters: what `openssl.cnf` says of the provider, and the
    /// core of itself.
    pub(crate) fn parameter(&self, name: &str) -> Option<CString> {
        let (get_params, name) = (self.get_params?, CString::new(name).ok()?);
        let mut value: *const c_char = std::ptr::null();
        let mut params = [Param::text_pointer(&name, &mut value), Param::END];
        // SAFETY: the handle is the core's own; the list has room for a pointer.
        let answered = unsafe { get_params(self.handle, params.as_mut_ptr()) };
        if answered == 0 || value.is_null() {
            return None;
        }
        // SAFETY: the core answers with a NUL-terminated string of its own.
        Some(unsafe { CStr::from_ptr(value) }.to_owned())
    }

    /// Calls a function of libcrypto's. What it leaves on the error queue on its way to a success
    /// is taken away.
    pub(super) fn without_remains(&self, call: impl FnOnce() -> c_int) -> c_int {
        let Some([set, pop, clear]) = self.marks else {
            return call();
        };
        // SAFETY: the handle is the core's own.
        unsafe { set(self.handle) };
        let returned = call();
        let end = if returned > 0 { pop } else { clear };
        // SAFETY: the handle is the core's own, and the mark is the one set here.
        unsafe { end(self.handle) };
        returned
    }

    /// The core's version: major and minor.
    pub(crate) fn version(&self) -> (u32, u32) {
        let text = self.parameter("openssl-version").unwrap_or_default();
        let text = text.to_string_lossy();
        let mut numbers = text.split('.').map(|number| number.parse().unwrap_or(0));
        (numbers.next().unwrap_or(3), numbers.next().unwrap_or(0))
    }

    /// All keys of the provider's section in `openssl.cnf`, as far as they can be known. None where
    /// the core has other values than the file: this library context was configured by another one,
    /// or the file has changed since.
    pub(crate) fn configured_keys(&self) -> Vec<Key> {
        let name = self.parameter("provider-name");
        let configured = name.and_then(|name| self.libcrypto()?.configured(&name));
        let Configured { keys, parameters } = configured.unwrap_or_default();
        let has = |(name, value): &(String, String)| {
            let own = self.parameter(name);
            own.is_some_and(|own| own.to_string_lossy() == value.as_str())
        };
        if !parameters.iter().all(has) {
            return Vec::new();
        }
        // Of a section with nothing in it the core has nothing that would tell whose it is.
        let is_known = |key: &Key| {
            let within = format!("{}.", key.name);
            let is_any_within = parameters.iter().any(|(name, _)| name.starts_with(&within));
            key.section.is_none() || is_any_within || self.is_of_default_context()
        };
        keys.into_iter().filter(is_known).collect()
    }

    /// Whether this is the library context that the default file configures.
    fn is_of_default_context(&self) -> bool {
        type Default = unsafe extern "C" fn() -> *const c_void;
        let own = self.get_context.map(|get| {
            // SAFETY: the handle is the core's own.
            unsafe { get(self.handle) }.cast_const()
        });
        // SAFETY: the type is that of <openssl/crypto.h>.
        let default = self.libcrypto().and_then(|libcrypto| unsafe {
            let get = libcrypto.function::<Default>(c"OSSL_LIB_CTX_get0_global_default")?;
            Some(get())
        });
        own.is_some() && own == default
    }

    /// Tells the threads that call from asynchronous jobs.
    #[cfg(target_os = "linux")]
    pub(crate) fn jobs(&self) -> Jobs {
        Jobs::of(self.libcrypto().as_ref())
    }

    /// Has a function called when libcrypto begins to clean up. The function stays where it is:
    /// this module isn't unloaded.
    pub(super) fn at_clean_up(&self, function: extern "C" fn()) {
        type AtExit = unsafe extern "C" fn(extern "C" fn()) -> c_int;
        // SAFETY: the type is that of <openssl/crypto.h>.
        let at_exit = self
            .libcrypto()
            .and_then(|libcrypto| unsafe { libcrypto.function::<AtExit>(c"OPENSSL_atexit") });
        // SAFETY: the type of `at_exit` is that of <openssl/crypto.h>, and the function stays as
        // long as this module.
        if at_exit.is_none_or(|at_exit| unsafe { at_exit(function) } == 0) {
            log::debug!("libcrypto's clean-up will not be noticed");
        }
    }

    fn libcrypto(&self) -> Option<Libcrypto> {
        let function = self.get_params?;
        // SAFETY: the function is the core's.
        unsafe { Libcrypto::holding(address(function)) }
    }

    /// Puts one error on the calling thread's queue. `function` is the name of the C-level function
    /// that fails.
    pub(crate) fn raise(&self, function: &CStr, error: &Error) {
        let (Some(new_error), Some(set_error_debug), Some(vset_error)) =
            (self.new_error, self.set_error_debug, self.vset_error)
        else {
            return;
        };
        let of_ours = [
            Reason::WrongSignature,
            Reason::OtherPublicKey,
            Reason::Internal,
        ];
        if of_ours.contains(&error.reason()) {
            // The client has told what it knows itself.
            log::error!("{error}");
        }
        // OpenSSL drops a longer text as a whole.
        let text = managed_hsm::fit(&error.to_string(), MAX_ERROR_DATA).replace('%', "%%");
        let text = CString::new(text).unwrap_or_default();
        // SAFETY: the handle is the core's own; all strings end with NUL and the core copies them.
        // Every '%' is doubled, so the argument list is never read.
        unsafe {
            new_error(self.handle);
            set_error_debug(self.handle, c"akv_provider".as_ptr(), 0, function.as_ptr());
            let (code, arguments) = (error.reason().code(), NO_ARGUMENTS.as_ptr().cast());
            vset_error(self.handle, code, text.as_ptr(), arguments);
        }
    }
}

/// The texts of our reason codes, as `OSSL_FUNC_provider_get_reason_strings` returns them.
pub(crate) static REASON_STRINGS: [Item; REASONS.len() + 1] = {
    const END: Item = Item {
        id: 0,
        text: std::ptr::null(),
    };
    let mut items = [END; REASONS.len() + 1];
    let mut i = 0;
    while i < REASONS.len() {
        let (reason, text) = REASONS[i];
        items[i] = Item {
            id: reason.code(),
            text: text.as_ptr(),
        };
        i += 1;
    }
    items
};
