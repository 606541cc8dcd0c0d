//! Dispatch tables of key management (provider-keymgmt(7)).

use std::ffi::{c_char, c_int, c_void};
use std::sync::Arc;

use super::boundary;
use super::entry::provider;
use super::ffi::{self, Callback, Dispatch, Param, SELECT_DOMAIN_PARAMETERS, SELECT_PUBLIC_KEY};
use super::params::{ParamsIn, ParamsOut};
use super::store::dereference;
use crate::key::{KeyHandle, KeyType};
use crate::keymgmt::{self, tables};

/// The table of a key type: what differs between types comes first.
macro_rules! table {
    ($new:ident, $load:ident, $gettable:ident, $types:ident, $operation:ident) => {
        &[
            Dispatch::new(ffi::KEYMGMT_NEW, $new as *const c_void),
            Dispatch::new(ffi::KEYMGMT_LOAD, $load as *const c_void),
            Dispatch::new(ffi::KEYMGMT_GETTABLE_PARAMS, $gettable as *const c_void),
            Dispatch::new(ffi::KEYMGMT_IMPORT_TYPES, $types as *const c_void),
            Dispatch::new(ffi::KEYMGMT_EXPORT_TYPES, $types as *const c_void),
            Dispatch::new(
                ffi::KEYMGMT_QUERY_OPERATION_NAME,
                $operation as *const c_void,
            ),
            Dispatch::new(ffi::KEYMGMT_FREE, free as *const c_void),
            Dispatch::new(ffi::KEYMGMT_GET_PARAMS, get_params as *const c_void),
            Dispatch::new(ffi::KEYMGMT_HAS, has as *const c_void),
            Dispatch::new(ffi::KEYMGMT_VALIDATE, validate as *const c_void),
            Dispatch::new(ffi::KEYMGMT_MATCH, matches as *const c_void),
            Dispatch::new(ffi::KEYMGMT_IMPORT, import as *const c_void),
            Dispatch::new(ffi::KEYMGMT_EXPORT, export as *const c_void),
            Dispatch::new(ffi::KEYMGMT_DUP, dup as *const c_void),
            Dispatch::END,
        ]
    };
}

pub(super) static RSA: &[Dispatch] =
    table!(new_rsa, load_rsa, gettable_rsa, types_rsa, operation_rsa);
pub(super) static EC: &[Dispatch] = table!(new_ec, load_ec, gettable_ec, types_ec, operation_ec);

/// The handle behind a `keydata`.
///
/// # Safety
/// `keydata` is NULL or came from this module, and has not been freed.
pub(super) unsafe fn handle<'a>(keydata: *const c_void) -> Option<&'a KeyHandle> {
    // SAFETY: the caller's promise. A handle is shared by threads, so only shared references are made of it.
    unsafe { keydata.cast::<KeyHandle>().as_ref() }
}

fn into_keydata(handle: KeyHandle) -> *mut c_void {
    Box::into_raw(Box::new(handle)).cast()
}

unsafe extern "C" fn new_rsa(context: *mut c_void) -> *mut c_void {
    // SAFETY: OpenSSL passes our context back.
    unsafe { new(context, KeyType::Rsa) }
}

unsafe extern "C" fn new_ec(context: *mut c_void) -> *mut c_void {
    // SAFETY: OpenSSL passes our context back.
    unsafe { new(context, KeyType::Ec) }
}

/// # Safety
/// `context` is the provider's context.
unsafe fn new(context: *mut c_void, key_type: KeyType) -> *mut c_void {
    boundary::quietly(|| {
        // SAFETY: the caller's promise.
        let provider = unsafe { provider(context) };
        Some(into_keydata(KeyHandle::empty(provider, key_type)))
    })
}

unsafe extern "C" fn load_rsa(reference: *const c_void, len: usize) -> *mut c_void {
    // SAFETY: OpenSSL passes on the reference that our store gave it.
    unsafe { load(reference, len, KeyType::Rsa) }
}

unsafe extern "C" fn load_ec(reference: *const c_void, len: usize) -> *mut c_void {
    // SAFETY: OpenSSL passes on the reference that our store gave it.
    unsafe { load(reference, len, KeyType::Ec) }
}

/// # Safety
/// `reference` is one that our store made, during its call.
unsafe fn load(reference: *const c_void, len: usize, key_type: KeyType) -> *mut c_void {
    boundary::quietly(|| {
        // SAFETY: the caller's promise.
        let loaded = unsafe { dereference(reference, len) }.ok()?;
        let key = loaded.key().filter(|_| loaded.key_type == key_type)?;
        Some(into_keydata(KeyHandle::new(
            Arc::clone(&loaded.provider),
            Arc::clone(key),
        )))
    })
}

unsafe extern "C" fn free(keydata: *mut c_void) {
    boundary::quietly(|| {
        if !keydata.is_null() {
            // SAFETY: the pointer came from `into_keydata`, and OpenSSL gives it back once.
            drop(unsafe { Box::from_raw(keydata.cast::<KeyHandle>()) });
        }
        Some(1)
    });
}

unsafe extern "C" fn dup(keydata: *const c_void, selection: c_int) -> *mut c_void {
    boundary::quietly(|| {
        // SAFETY: OpenSSL passes our keydata.
        let from = unsafe { handle(keydata) }?;
        let copy = KeyHandle::empty(Arc::clone(&from.provider), from.key_type);
        let whole = from
            .key()
            .filter(|_| selection & (SELECT_PUBLIC_KEY | SELECT_DOMAIN_PARAMETERS) != 0);
        Some(into_keydata(match whole {
            Some(key) => KeyHandle::new(Arc::clone(&from.provider), Arc::clone(key)),
            None => copy,
        }))
    })
}

unsafe extern "C" fn get_params(keydata: *const c_void, params: *mut Param) -> c_int {
    // SAFETY: OpenSSL passes our keydata.
    let Some(handle) = (unsafe { handle(keydata) }) else {
        return 0;
    };
    boundary::call(&handle.provider.core, c"keymgmt_get_params", || {
        // SAFETY: OpenSSL passes a parameter list.
        keymgmt::get_params(handle, &mut unsafe { ParamsOut::new(params) })?;
        Ok(1)
    })
}

unsafe extern "C" fn gettable_rsa(_context: *mut c_void) -> *const Param {
    tables::RSA_GETTABLE.as_ptr()
}

unsafe extern "C" fn gettable_ec(_context: *mut c_void) -> *const Param {
    tables::EC_GETTABLE.as_ptr()
}

unsafe extern "C" fn has(keydata: *const c_void, selection: c_int) -> c_int {
    // SAFETY: OpenSSL passes our keydata.
    boundary::quietly(|| Some(keymgmt::has(unsafe { handle(keydata) }?, selection).into()))
}

/// A key that was loaded or imported was checked then; what is left to see is whether all that is selected is there.
unsafe extern "C" fn validate(keydata: *const c_void, selection: c_int, _check: c_int) -> c_int {
    // SAFETY: the same contract.
    unsafe { has(keydata, selection) }
}

unsafe extern "C" fn matches(a: *const c_void, b: *const c_void, selection: c_int) -> c_int {
    boundary::quietly(|| {
        // SAFETY: OpenSSL passes two of our keydata.
        let (a, b) = unsafe { (handle(a), handle(b)) };
        Some(keymgmt::matches(a?, b?, selection).into())
    })
}

unsafe extern "C" fn import(keydata: *mut c_void, selection: c_int, params: *const Param) -> c_int {
    boundary::quietly(|| {
        // SAFETY: OpenSSL passes our keydata.
        let handle = unsafe { handle(keydata) }?;
        // SAFETY: OpenSSL passes a parameter list.
        keymgmt::import(handle, selection, unsafe { ParamsIn::new(params) }).map(|()| 1)
    })
}

unsafe extern "C" fn export(
    keydata: *const c_void,
    selection: c_int,
    callback: Callback,
    argument: *mut c_void,
) -> c_int {
    boundary::quietly(|| {
        // SAFETY: OpenSSL passes our keydata.
        let mut list = keymgmt::export(unsafe { handle(keydata) }?, selection)?;
        // SAFETY: OpenSSL's callback takes the list and its own argument, and keeps neither.
        Some(list.with(|params| unsafe { callback(params, argument) }))
    })
}

unsafe extern "C" fn types_rsa(selection: c_int) -> *const Param {
    if selection & SELECT_PUBLIC_KEY != 0 {
        tables::RSA_PUBLIC.as_ptr()
    } else {
        tables::NOTHING.as_ptr()
    }
}

unsafe extern "C" fn types_ec(selection: c_int) -> *const Param {
    if selection & SELECT_PUBLIC_KEY != 0 {
        tables::EC_PUBLIC.as_ptr()
    } else if selection & SELECT_DOMAIN_PARAMETERS != 0 {
        tables::EC_DOMAIN.as_ptr()
    } else {
        tables::NOTHING.as_ptr()
    }
}

unsafe extern "C" fn operation_rsa(_operation: c_int) -> *const c_char {
    c"RSA".as_ptr()
}

unsafe extern "C" fn operation_ec(operation: c_int) -> *const c_char {
    match operation {
        ffi::OP_SIGNATURE => c"ECDSA".as_ptr(),
        ffi::OP_KEYEXCH => c"ECDH".as_ptr(),
        _ => c"EC".as_ptr(),
    }
}
