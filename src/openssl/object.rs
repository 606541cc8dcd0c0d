//! Keys on their way from a store or a decoder to key management.
//!
//! OpenSSL carries only a reference between them: some bytes that mean something to us alone
//! (provider-object(7)).

use std::ffi::{CString, c_void};
use std::sync::Arc;

use hsm_keys::Key;
use hsm_module::input::bytes;
use managed_hsm::KeyUri;

use super::core::Core;
use super::ffi::{self, Callback};
use super::params::ParamList;
use crate::error::Error;
use crate::key::KeyHandle;
use crate::names;
use crate::provider::Provider;

/// Gives a key to OpenSSL. Returns what its callback returns.
///
/// # Safety
/// OpenSSL passed the callback and its argument for the call under way.
pub(super) unsafe fn hand_out_key(
    provider: &Arc<Provider>,
    key: Key,
    callback: Callback,
    argument: *mut c_void,
) -> std::ffi::c_int {
    let handle = KeyHandle::new(Arc::clone(provider), Arc::new(key));
    // The reference is this handle's address: key management's `load` makes its own handle from it.
    let reference = (&raw const handle as usize).to_ne_bytes();
    let mut params = ParamList::default()
        .integer(c"type", ffi::OBJECT_PKEY)
        .utf8(c"data-type", names::of_key_type(handle.key_type))
        .octets(c"reference", &reference);
    // SAFETY: OpenSSL's callback takes the list and its own argument, and keeps neither.
    let take = |params| unsafe { callback(params, argument) };
    params.with(|params| provider.core.without_remains(|| take(params)))
}

/// Gives the URI of a key to OpenSSL. Returns what its callback returns.
///
/// # Safety
/// OpenSSL passed the callback and its argument for the call under way.
pub(super) unsafe fn hand_out_name(
    core: &Core,
    uri: &KeyUri,
    callback: Callback,
    argument: *mut c_void,
) -> std::ffi::c_int {
    let uri = CString::new(uri.to_string()).unwrap_or_default();
    let mut params = ParamList::default()
        .integer(c"type", ffi::OBJECT_NAME)
        .utf8(c"data", &uri)
        .utf8(c"desc", c"key in Azure Managed HSM");
    // SAFETY: OpenSSL's callback takes the list and its own argument, and keeps neither.
    let take = |params| unsafe { callback(params, argument) };
    // OpenSSL 3.5 and newer try the name as octets first.
    params.with(|params| core.without_remains(|| take(params)))
}

/// The handle that a reference made by [`hand_out_key`] names.
///
/// # Safety
/// `reference` is what [`hand_out_key`] passed to OpenSSL, and that call has not returned.
pub(super) unsafe fn dereference<'a>(
    reference: *const c_void,
    len: usize,
) -> Result<&'a KeyHandle, Error> {
    // SAFETY: the caller promises the bytes that `hand_out_key` passes to OpenSSL for the length of
    // its call.
    let reference = unsafe { bytes(reference.cast(), len) };
    let address = <[u8; size_of::<usize>()]>::try_from(reference)
        .map(usize::from_ne_bytes)
        .map_err(|_| Error::Internal("a key reference has the wrong length".to_owned()))?;
    // SAFETY: the address is that of a live handle, which only this provider's own `load` makes.
    unsafe { (address as *const KeyHandle).as_ref() }
        .ok_or_else(|| Error::Internal("a key reference is NULL".to_owned()))
}
