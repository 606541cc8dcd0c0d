//! Dispatch tables of signatures (provider-signature(7)).

use std::ffi::{c_char, c_int, c_void};

use super::boundary::{self, Output};
use super::entry::provider;
use super::ffi::{self, Dispatch, Param};
use super::keymgmt::handle;
use super::params::{ParamsIn, ParamsOut};
use crate::error::Error;
use crate::key::KeyType;
use crate::signature::{Context, Purpose, tables};

/// The table of an algorithm: what differs between algorithms comes first.
macro_rules! table {
    ($new:ident, $gettable:ident, $settable:ident) => {
        &[
            Dispatch::new(ffi::SIGNATURE_NEWCTX, $new as *const c_void),
            Dispatch::new(
                ffi::SIGNATURE_GETTABLE_CTX_PARAMS,
                $gettable as *const c_void,
            ),
            Dispatch::new(
                ffi::SIGNATURE_SETTABLE_CTX_PARAMS,
                $settable as *const c_void,
            ),
            Dispatch::new(ffi::SIGNATURE_FREECTX, free as *const c_void),
            Dispatch::new(ffi::SIGNATURE_DUPCTX, dup as *const c_void),
            Dispatch::new(ffi::SIGNATURE_SIGN_INIT, sign_init as *const c_void),
            Dispatch::new(ffi::SIGNATURE_SIGN, sign as *const c_void),
            Dispatch::new(ffi::SIGNATURE_VERIFY_INIT, verify_init as *const c_void),
            Dispatch::new(ffi::SIGNATURE_VERIFY, verify as *const c_void),
            Dispatch::new(
                ffi::SIGNATURE_DIGEST_SIGN_INIT,
                digest_sign_init as *const c_void,
            ),
            Dispatch::new(
                ffi::SIGNATURE_DIGEST_SIGN_UPDATE,
                digest_sign_update as *const c_void,
            ),
            Dispatch::new(
                ffi::SIGNATURE_DIGEST_SIGN_FINAL,
                digest_sign_final as *const c_void,
            ),
            Dispatch::new(ffi::SIGNATURE_DIGEST_SIGN, digest_sign as *const c_void),
            Dispatch::new(
                ffi::SIGNATURE_DIGEST_VERIFY_INIT,
                digest_verify_init as *const c_void,
            ),
            Dispatch::new(
                ffi::SIGNATURE_DIGEST_VERIFY_UPDATE,
                digest_verify_update as *const c_void,
            ),
            Dispatch::new(
                ffi::SIGNATURE_DIGEST_VERIFY_FINAL,
                digest_verify_final as *const c_void,
            ),
            Dispatch::new(ffi::SIGNATURE_DIGEST_VERIFY, digest_verify as *const c_void),
            Dispatch::new(
                ffi::SIGNATURE_GET_CTX_PARAMS,
                get_ctx_params as *const c_void,
            ),
            Dispatch::new(
                ffi::SIGNATURE_SET_CTX_PARAMS,
                set_ctx_params as *const c_void,
            ),
            Dispatch::END,
        ]
    };
}

pub(super) static RSA: &[Dispatch] = table!(new_rsa, gettable_rsa, settable_rsa);
pub(super) static ECDSA: &[Dispatch] = table!(new_ecdsa, gettable_ecdsa, settable_ecdsa);

unsafe extern "C" fn new_rsa(context: *mut c_void, _properties: *const c_char) -> *mut c_void {
    // SAFETY: OpenSSL passes our provider context back.
    unsafe { new(context, KeyType::Rsa) }
}

unsafe extern "C" fn new_ecdsa(context: *mut c_void, _properties: *const c_char) -> *mut c_void {
    // SAFETY: OpenSSL passes our provider context back.
    unsafe { new(context, KeyType::Ec) }
}

/// # Safety
/// `context` is the provider's context.
unsafe fn new(context: *mut c_void, key_type: KeyType) -> *mut c_void {
    boundary::quietly(|| {
        // SAFETY: the caller's promise.
        let provider = unsafe { provider(context) };
        Some(into_raw(Context::new(provider, key_type)))
    })
}

fn into_raw(context: Context) -> *mut c_void {
    Box::into_raw(Box::new(context)).cast()
}

unsafe extern "C" fn free(context: *mut c_void) {
    boundary::quietly(|| {
        if !context.is_null() {
            // SAFETY: the pointer came from `into_raw`, and OpenSSL gives it back once.
            drop(unsafe { Box::from_raw(context.cast::<Context>()) });
        }
        Some(1)
    });
}

unsafe extern "C" fn dup(context: *mut c_void) -> *mut c_void {
    boundary::quietly(|| {
        // SAFETY: OpenSSL passes a context of ours, which no other thread is changing.
        let context = unsafe { context.cast::<Context>().as_ref() }?;
        Some(into_raw(context.duplicate()))
    })
}

/// Calls `body` with the context behind `context`, at the panic and error boundary.
///
/// # Safety
/// `context` is NULL or a live context of ours, used by one thread at a time.
unsafe fn with(
    context: *mut c_void,
    function: &std::ffi::CStr,
    body: impl FnOnce(&mut Context) -> Result<c_int, Error>,
) -> c_int {
    // SAFETY: the caller's promise.
    let Some(context) = (unsafe { context.cast::<Context>().as_mut() }) else {
        return 0;
    };
    let core = context.provider.core;
    boundary::call(&core, function, || body(context))
}

macro_rules! init {
    ($name:ident, $purpose:expr) => {
        unsafe extern "C" fn $name(
            context: *mut c_void,
            key: *mut c_void,
            params: *const Param,
        ) -> c_int {
            let body = |context: &mut Context| {
                // SAFETY: OpenSSL passes a key of ours or NULL, and a parameter list or NULL.
                let (key, params) = unsafe { (handle(key), ParamsIn::new(params)) };
                context.init($purpose, key, params).map(|()| 1)
            };
            // SAFETY: OpenSSL passes a context of ours.
            unsafe {
                with(
                    context,
                    concat_cstr(concat!("signature_", stringify!($name), "\0")),
                    body,
                )
            }
        }
    };
}

macro_rules! digest_init {
    ($name:ident, $purpose:expr) => {
        unsafe extern "C" fn $name(
            context: *mut c_void,
            digest: *const c_char,
            key: *mut c_void,
            params: *const Param,
        ) -> c_int {
            let body = |context: &mut Context| {
                // SAFETY: OpenSSL passes a name or NULL.
                let digest = unsafe { boundary::text("digest", digest) }?;
                // SAFETY: OpenSSL passes a key of ours or NULL, and a parameter list or NULL.
                let (key, params) = unsafe { (handle(key), ParamsIn::new(params)) };
                context
                    .digest_init($purpose, digest, key, params)
                    .map(|()| 1)
            };
            // SAFETY: OpenSSL passes a context of ours.
            unsafe {
                with(
                    context,
                    concat_cstr(concat!("signature_", stringify!($name), "\0")),
                    body,
                )
            }
        }
    };
}

macro_rules! update {
    ($name:ident) => {
        unsafe extern "C" fn $name(context: *mut c_void, data: *const u8, len: usize) -> c_int {
            let body = |context: &mut Context| {
                // SAFETY: OpenSSL passes `len` readable bytes.
                let data = unsafe { boundary::bytes(data, len) };
                context.update(data).map(|()| 1)
            };
            // SAFETY: OpenSSL passes a context of ours.
            unsafe {
                with(
                    context,
                    concat_cstr(concat!("signature_", stringify!($name), "\0")),
                    body,
                )
            }
        }
    };
}

/// The name of a function for the error queue, from a literal that ends with NUL.
fn concat_cstr(name: &'static str) -> &'static std::ffi::CStr {
    std::ffi::CStr::from_bytes_with_nul(name.as_bytes()).unwrap_or_default()
}

init!(sign_init, Purpose::Sign);
init!(verify_init, Purpose::Verify);
digest_init!(digest_sign_init, Purpose::Sign);
digest_init!(digest_verify_init, Purpose::Verify);
update!(digest_sign_update);
update!(digest_verify_update);

/// Answers a call for a signature's size, or makes the signature by `sign` and hands it out.
fn hand_out(
    context: &mut Context,
    mut out: Output,
    sign: impl FnOnce(&mut Context) -> Result<Vec<u8>, Error>,
) -> Result<c_int, Error> {
    if !out.sized(context.max_signature_len()?)? {
        out.put(&sign(context)?)?;
    }
    Ok(1)
}

unsafe extern "C" fn sign(
    context: *mut c_void,
    signature: *mut u8,
    len: *mut usize,
    capacity: usize,
    tbs: *const u8,
    tbs_len: usize,
) -> c_int {
    let body = |context: &mut Context| {
        // SAFETY: OpenSSL passes readable input and writable output of these sizes.
        let (tbs, out) = unsafe {
            (
                boundary::bytes(tbs, tbs_len),
                Output::new(signature, len, capacity),
            )
        };
        hand_out(context, out, |context| context.sign(tbs))
    };
    // SAFETY: OpenSSL passes a context of ours.
    unsafe { with(context, c"signature_sign", body) }
}

unsafe extern "C" fn digest_sign_final(
    context: *mut c_void,
    signature: *mut u8,
    len: *mut usize,
    capacity: usize,
) -> c_int {
    let body = |context: &mut Context| {
        // SAFETY: OpenSSL passes writable output of this size.
        let out = unsafe { Output::new(signature, len, capacity) };
        hand_out(context, out, |context| {
            let digest = context.finish()?;
            context.sign_digest(&digest)
        })
    };
    // SAFETY: OpenSSL passes a context of ours.
    unsafe { with(context, c"signature_digest_sign_final", body) }
}

unsafe extern "C" fn digest_sign(
    context: *mut c_void,
    signature: *mut u8,
    len: *mut usize,
    capacity: usize,
    tbs: *const u8,
    tbs_len: usize,
) -> c_int {
    let body = |context: &mut Context| {
        // SAFETY: OpenSSL passes readable input and writable output of these sizes.
        let (tbs, out) = unsafe {
            (
                boundary::bytes(tbs, tbs_len),
                Output::new(signature, len, capacity),
            )
        };
        hand_out(context, out, |context| {
            context.update(tbs)?;
            let digest = context.finish()?;
            context.sign_digest(&digest)
        })
    };
    // SAFETY: OpenSSL passes a context of ours.
    unsafe { with(context, c"signature_digest_sign", body) }
}

unsafe extern "C" fn verify(
    context: *mut c_void,
    signature: *const u8,
    len: usize,
    tbs: *const u8,
    tbs_len: usize,
) -> c_int {
    let body = |context: &mut Context| {
        // SAFETY: OpenSSL passes readable input of these sizes.
        let (signature, tbs) = unsafe {
            (
                boundary::bytes(signature, len),
                boundary::bytes(tbs, tbs_len),
            )
        };
        context.verify(signature, tbs).map(c_int::from)
    };
    // SAFETY: OpenSSL passes a context of ours.
    unsafe { with(context, c"signature_verify", body) }
}

unsafe extern "C" fn digest_verify_final(
    context: *mut c_void,
    signature: *const u8,
    len: usize,
) -> c_int {
    let body = |context: &mut Context| {
        let digest = context.finish()?;
        // SAFETY: OpenSSL passes readable input of this size.
        let signature = unsafe { boundary::bytes(signature, len) };
        context.verify_digest(signature, &digest).map(c_int::from)
    };
    // SAFETY: OpenSSL passes a context of ours.
    unsafe { with(context, c"signature_digest_verify_final", body) }
}

unsafe extern "C" fn digest_verify(
    context: *mut c_void,
    signature: *const u8,
    len: usize,
    tbs: *const u8,
    tbs_len: usize,
) -> c_int {
    let body = |context: &mut Context| {
        // SAFETY: OpenSSL passes readable input of these sizes.
        let (signature, tbs) = unsafe {
            (
                boundary::bytes(signature, len),
                boundary::bytes(tbs, tbs_len),
            )
        };
        context.update(tbs)?;
        let digest = context.finish()?;
        context.verify_digest(signature, &digest).map(c_int::from)
    };
    // SAFETY: OpenSSL passes a context of ours.
    unsafe { with(context, c"signature_digest_verify", body) }
}

unsafe extern "C" fn get_ctx_params(context: *mut c_void, params: *mut Param) -> c_int {
    let body = |context: &mut Context| {
        // SAFETY: OpenSSL passes a parameter list.
        let mut params = unsafe { ParamsOut::new(params) };
        context.get_params(&mut params).map(|()| 1)
    };
    // SAFETY: OpenSSL passes a context of ours.
    unsafe { with(context, c"signature_get_ctx_params", body) }
}

unsafe extern "C" fn set_ctx_params(context: *mut c_void, params: *const Param) -> c_int {
    let body = |context: &mut Context| {
        // SAFETY: OpenSSL passes a parameter list or NULL.
        let params = unsafe { ParamsIn::new(params) };
        context.set_params(params).map(|()| 1)
    };
    // SAFETY: OpenSSL passes a context of ours.
    unsafe { with(context, c"signature_set_ctx_params", body) }
}

unsafe extern "C" fn gettable_rsa(_context: *mut c_void, _provider: *mut c_void) -> *const Param {
    tables::RSA_GETTABLE.as_ptr()
}

unsafe extern "C" fn settable_rsa(_context: *mut c_void, _provider: *mut c_void) -> *const Param {
    tables::RSA_SETTABLE.as_ptr()
}

unsafe extern "C" fn gettable_ecdsa(_context: *mut c_void, _provider: *mut c_void) -> *const Param {
    tables::EC_GETTABLE.as_ptr()
}

unsafe extern "C" fn settable_ecdsa(_context: *mut c_void, _provider: *mut c_void) -> *const Param {
    tables::EC_SETTABLE.as_ptr()
}
