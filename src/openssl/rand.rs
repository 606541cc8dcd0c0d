//! Dispatch table of the generator of random bytes (provider-rand(7)): all of them come from the
//! HSM.

use std::ffi::{CStr, c_int, c_uint, c_void};

use hsm_module::dispatch::Entry;
use hsm_module::{Counted, table};

use super::boundary;
use super::entry::provider;
use super::ffi::Param;
use super::functions::{self, Rand};
use super::params::{ParamsOut, descriptors};
use crate::error::{Error, Reason};
use crate::provider::Provider;

const STATE: &CStr = c"state";
const STRENGTH: &CStr = c"strength";
const MAX_REQUEST: &CStr = c"max_request";

/// `EVP_RAND_STATE_READY`
const READY: i64 = 1;
/// Bits: what the strongest of OpenSSL's generators have.
const HSM_STRENGTH: c_uint = 256;
/// Bytes that one call may ask for.
const LARGEST_REQUEST: i64 = 1 << 16;

pub(super) const GENERATOR: &[Entry<Rand>] = table![
    functions::RAND_NEWCTX => newctx,
    functions::RAND_FREECTX => freectx,
    functions::RAND_INSTANTIATE => instantiate,
    functions::RAND_UNINSTANTIATE => uninstantiate,
    functions::RAND_GENERATE => generate,
    functions::RAND_RESEED => reseed,
    functions::RAND_ENABLE_LOCKING => enable_locking,
    functions::RAND_LOCK => lock,
    functions::RAND_UNLOCK => unlock,
    functions::RAND_GETTABLE_CTX_PARAMS => gettable_ctx_params,
    functions::RAND_GET_CTX_PARAMS => get_ctx_params,
];

unsafe extern "C" fn newctx(
    context: *mut c_void,
    _parent: *mut c_void,
    _parent_calls: *const Entry<Rand>,
) -> *mut c_void {
    boundary::quietly(|| {
        // SAFETY: OpenSSL passes our context back.
        let provider = unsafe { provider(context) };
        Some(Counted::hand_out(provider))
    })
}

unsafe extern "C" fn freectx(context: *mut c_void) {
    boundary::quietly(|| {
        // SAFETY: OpenSSL gives back what `newctx` handed out, once.
        drop(unsafe { Counted::<Provider>::take_back(context) });
        Some(1)
    });
}

unsafe extern "C" fn instantiate(
    _context: *mut c_void,
    _strength: c_uint,
    _prediction_resistance: c_int,
    _personalisation: *const u8,
    _personalisation_len: usize,
    _params: *const Param,
) -> c_int {
    1
}

unsafe extern "C" fn uninstantiate(_context: *mut c_void) -> c_int {
    1
}

unsafe extern "C" fn generate(
    context: *mut c_void,
    out: *mut u8,
    len: usize,
    strength: c_uint,
    _prediction_resistance: c_int,
    _additional: *const u8,
    _additional_len: usize,
) -> c_int {
    // SAFETY: OpenSSL passes a context of ours.
    let Some(provider) = (unsafe { Counted::<Provider>::borrow(context) }) else {
        return 0;
    };
    boundary::call(&provider.core, c"rand_generate", || {
        if strength > HSM_STRENGTH {
            return Err(Error::refused(
                Reason::RandomStrength,
                format!("random bytes of strength {strength}"),
                "ask for 256 bits at most",
            ));
        }
        let vault = provider.configuration()?.own.random.as_ref();
        let vault =
            vault.ok_or_else(|| Error::Internal("no HSM is set for random bytes".into()))?;
        let client = provider.client()?;
        let random = client.random_bytes(vault, len).map_err(Error::Hsm)?;
        // SAFETY: OpenSSL passes `len` writable bytes, and that many were made.
        unsafe { std::ptr::copy_nonoverlapping(random.as_ptr(), out, random.len()) };
        Ok(1)
    })
}

unsafe extern "C" fn reseed(
    _context: *mut c_void,
    _prediction_resistance: c_int,
    _entropy: *const u8,
    _entropy_len: usize,
    _additional: *const u8,
    _additional_len: usize,
) -> c_int {
    1
}

/// The client is its own lock.
unsafe extern "C" fn enable_locking(_context: *mut c_void) -> c_int {
    1
}

unsafe extern "C" fn lock(_context: *mut c_void) -> c_int {
    1
}

unsafe extern "C" fn unlock(_context: *mut c_void) {}

unsafe extern "C" fn gettable_ctx_params(
    _context: *mut c_void,
    _provider: *mut c_void,
) -> *const Param {
    static TABLE: &[Param] = descriptors! {
        STATE => PARAM_INTEGER,
        STRENGTH => PARAM_UNSIGNED_INTEGER,
        MAX_REQUEST => PARAM_UNSIGNED_INTEGER,
    };
    TABLE.as_ptr()
}

unsafe extern "C" fn get_ctx_params(context: *mut c_void, params: *mut Param) -> c_int {
    // SAFETY: OpenSSL passes a context of ours.
    let Some(provider) = (unsafe { Counted::<Provider>::borrow(context) }) else {
        return 0;
    };
    boundary::call(&provider.core, c"rand_get_ctx_params", || {
        // SAFETY: OpenSSL passes a parameter list.
        let mut params = unsafe { ParamsOut::new(params) };
        params.set_integer(STATE, READY)?;
        params.set_integer(STRENGTH, HSM_STRENGTH.into())?;
        params.set_integer(MAX_REQUEST, LARGEST_REQUEST)?;
        Ok(1)
    })
}
