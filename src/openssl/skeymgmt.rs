//! Dispatch table of secret key management (provider-skeymgmt(7), OpenSSL 3.5 and newer).

use std::ffi::{c_char, c_int, c_void};

use hsm_module::dispatch::Entry;
use hsm_module::{Owned, table};

use super::boundary;
use super::entry::provider;
use super::ffi::{Callback, Param};
use super::foreign::ForeignSecretKey;
use super::functions::{self, Skeymgmt};
use super::params::ParamsIn;
use crate::error::Error;
use crate::generation;
use crate::skey::{SecretKey, tables};

pub(super) const AES: &[Entry<Skeymgmt>] = table![
    functions::SKEYMGMT_FREE => free,
    functions::SKEYMGMT_IMPORT => import,
    functions::SKEYMGMT_EXPORT => export,
    functions::SKEYMGMT_GENERATE => generate,
    functions::SKEYMGMT_GET_KEY_ID => get_key_id,
    functions::SKEYMGMT_IMP_SETTABLE_PARAMS => imp_settable_params,
    functions::SKEYMGMT_GEN_SETTABLE_PARAMS => gen_settable_params,
];

/// What OpenSSL's `keydata` of a secret key points to: a key of ours, or a software key that is
/// another provider's.
pub(super) enum SecretKeydata {
    Own(SecretKey),
    Foreign(ForeignSecretKey),
}

/// The key behind a `keydata`.
///
/// # Safety
/// `keydata` is NULL or came from this module, and has not been freed.
pub(super) unsafe fn secret_keydata<'a>(keydata: *const c_void) -> Option<&'a SecretKeydata> {
    // SAFETY: the caller keeps the holder's contract. A key is shared by threads, so nothing
    // borrows it to change it.
    unsafe { Owned::borrow(keydata) }
}

unsafe extern "C" fn free(keydata: *mut c_void) {
    boundary::quietly(|| {
        // SAFETY: OpenSSL gives back a keydata of ours, once.
        drop(unsafe { Owned::<SecretKeydata>::take_back(keydata) });
        Some(1)
    });
}

unsafe extern "C" fn import(
    context: *mut c_void,
    selection: c_int,
    params: *const Param,
) -> *mut c_void {
    // SAFETY: OpenSSL passes our context back.
    let provider = unsafe { provider(context) };
    boundary::call(&provider.core, c"skeymgmt_import", || {
        // SAFETY: OpenSSL passes a parameter list.
        if let Some(own) = SecretKey::import(&provider, unsafe { ParamsIn::new(params) })? {
            return Ok(Owned::hand_out(SecretKeydata::Own(own)));
        }
        let foreign = ForeignSecretKey::import(&provider.neighbours, selection, params);
        let foreign = foreign.ok_or(Error::NoSoftwareKeys)?;
        Ok(Owned::hand_out(SecretKeydata::Foreign(foreign)))
    })
}

unsafe extern "C" fn generate(context: *mut c_void, params: *const Param) -> *mut c_void {
    // SAFETY: OpenSSL passes our context back.
    let provider = unsafe { provider(context) };
    boundary::call(&provider.core, c"skeymgmt_generate", || {
        // SAFETY: OpenSSL passes a parameter list.
        if let Some(own) = SecretKey::generate(&provider, unsafe { ParamsIn::new(params) })? {
            return Ok(Owned::hand_out(SecretKeydata::Own(own)));
        }
        let foreign = ForeignSecretKey::generate(&provider.neighbours, params);
        let foreign = foreign.ok_or_else(generation::no_name)?;
        Ok(Owned::hand_out(SecretKeydata::Foreign(foreign)))
    })
}

/// Nobody can have the bytes of a key in the HSM.
unsafe extern "C" fn export(
    keydata: *mut c_void,
    selection: c_int,
    callback: Callback,
    argument: *mut c_void,
) -> c_int {
    boundary::quietly(|| {
        // SAFETY: OpenSSL passes our keydata.
        match unsafe { secret_keydata(keydata) }? {
            SecretKeydata::Own(_) => None,
            SecretKeydata::Foreign(foreign) => Some(foreign.export(selection, callback, argument)),
        }
    })
}

unsafe extern "C" fn get_key_id(keydata: *mut c_void) -> *const c_char {
    boundary::quietly(|| {
        // SAFETY: OpenSSL passes our keydata.
        Some(Some(match unsafe { secret_keydata(keydata) }? {
            SecretKeydata::Own(own) => own.name.as_ptr(),
            SecretKeydata::Foreign(foreign) => foreign.key_id(),
        }))
    })
    .unwrap_or(std::ptr::null())
}

unsafe extern "C" fn imp_settable_params(_context: *mut c_void) -> *const Param {
    tables::IMPORT.as_ptr()
}

unsafe extern "C" fn gen_settable_params(_context: *mut c_void) -> *const Param {
    generation::tables::SECRET.as_ptr()
}
