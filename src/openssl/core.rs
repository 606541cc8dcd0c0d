//! The functions that OpenSSL's core hands us at load time: here, its error queue.

use std::ffi::{CStr, CString, c_char, c_int, c_void};

use super::bio::BioFunctions;
use super::ffi::{self, CoreHandle, Dispatch, Item};
use super::functions::Functions;
use crate::error::{Error, Reason};

type NewError = unsafe extern "C" fn(*const CoreHandle);
type SetErrorDebug = unsafe extern "C" fn(*const CoreHandle, *const c_char, c_int, *const c_char);
/// The last argument stands for a C `va_list`; see [`NO_ARGUMENTS`].
type VsetError = unsafe extern "C" fn(*const CoreHandle, u32, *const c_char, *const c_void);

/// What is passed for a `va_list`. The format string never holds a conversion, so the list is only ever copied. In
/// each ABI that we build for, a `va_list` parameter is a pointer or a structure of at most 32 bytes that is passed
/// by its address.
static NO_ARGUMENTS: [u64; 8] = [0; 8];

/// The core's handle for this provider, with the upcalls that report errors.
#[derive(Clone, Copy)]
pub(crate) struct Core {
    handle: *const CoreHandle,
    new_error: Option<NewError>,
    set_error_debug: Option<SetErrorDebug>,
    vset_error: Option<VsetError>,
    pub(super) bio: BioFunctions,
}

// SAFETY: the handle is only passed back to the core, whose upcalls may be called from any thread.
unsafe impl Send for Core {}
// SAFETY: as above; the structure itself is immutable.
unsafe impl Sync for Core {}

impl Core {
    /// Picks the upcalls out of the core's dispatch table.
    ///
    /// # Safety
    /// `table` is a dispatch table that ends with function id 0, and `handle` the core handle that came with it.
    pub(crate) unsafe fn from_dispatch(handle: *const CoreHandle, table: *const Dispatch) -> Self {
        let table = Functions(table);
        // SAFETY: the ids fix the functions' types (core_dispatch.h); the `va_list` is explained at `NO_ARGUMENTS`.
        unsafe {
            Self {
                handle,
                new_error: table.get(ffi::CORE_NEW_ERROR),
                set_error_debug: table.get(ffi::CORE_SET_ERROR_DEBUG),
                vset_error: table.get(ffi::CORE_VSET_ERROR),
                bio: BioFunctions {
                    read: table.get(ffi::BIO_READ_EX),
                    gets: table.get(ffi::BIO_GETS),
                },
            }
        }
    }

    /// Puts one error on the calling thread's queue. `function` is the name of the C-level function that fails.
    pub(crate) fn raise(&self, function: &CStr, error: &Error) {
        let (Some(new_error), Some(set_error_debug), Some(vset_error)) =
            (self.new_error, self.set_error_debug, self.vset_error)
        else {
            return;
        };
        let text = error
            .to_string()
            .replace('\0', "\u{fffd}")
            .replace('%', "%%");
        let text = CString::new(text).unwrap_or_default();
        // SAFETY: the handle is the core's own; all strings end with NUL and the core copies them.
        unsafe { new_error(self.handle) };
        // SAFETY: as above.
        unsafe { set_error_debug(self.handle, c"akv_provider".as_ptr(), 0, function.as_ptr()) };
        // SAFETY: as above; every '%' is doubled, so the argument list is never read.
        unsafe {
            vset_error(
                self.handle,
                error.reason() as u32,
                text.as_ptr(),
                NO_ARGUMENTS.as_ptr().cast(),
            );
        }
    }
}

macro_rules! reasons {
    ($($reason:ident => $text:literal),* $(,)?) => {
        /// The texts of our reason codes, as `OSSL_FUNC_provider_get_reason_strings` returns them.
        pub(crate) static REASON_STRINGS: &[Item] = &[
            $(Item { id: Reason::$reason as u32, text: $text.as_ptr() },)*
            Item { id: 0, text: std::ptr::null() },
        ];
    };
}

reasons! {
    InvalidUri => c"invalid key URI",
    HsmRequestFailed => c"HSM request failed",
    InvalidSettings => c"invalid settings",
    InvalidParameter => c"invalid parameter",
    NotSupportedByHsm => c"not supported by the HSM",
    OperationNotPermitted => c"operation not permitted on this key",
    MissingPrivateKey => c"no private key",
    InvalidKey => c"invalid key",
    NotInitialised => c"operation not initialised",
    BufferTooSmall => c"output buffer too small",
    InvalidDigestLength => c"invalid digest length",
    WrongSignature => c"wrong signature from the HSM",
    NoSoftwareKeys => c"no provider for software keys",
    Internal => c"internal error",
}
