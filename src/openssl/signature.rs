//! Dispatch tables of signatures (provider-signature(7)).

use std::ffi::{CStr, CString, c_char, c_int, c_void};

use super::boundary::{self, Output};
use super::entry::provider;
use super::ffi::{self, Dispatch, Param};
use super::keymgmt::{Keydata, keydata};
use super::neighbour::ForeignSignature;
use super::params::{ParamsIn, ParamsOut};
use crate::error::Error;
use crate::key::{KeyHandle, KeyType};
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

unsafe extern "C" fn new_rsa(context: *mut c_void, properties: *const c_char) -> *mut c_void {
    // SAFETY: OpenSSL passes our provider context back, and a string or NULL.
    unsafe { new(context, properties, KeyType::Rsa) }
}

unsafe extern "C" fn new_ecdsa(context: *mut c_void, properties: *const c_char) -> *mut c_void {
    // SAFETY: OpenSSL passes our provider context back, and a string or NULL.
    unsafe { new(context, properties, KeyType::Ec) }
}

/// A signature context: an operation of ours, or one with a software key that another provider carries out.
struct State {
    own: Context,
    properties: Option<CString>,
    foreign: Option<ForeignSignature>,
}

/// # Safety
/// `context` is the provider's context, `properties` a string or NULL.
unsafe fn new(context: *mut c_void, properties: *const c_char, key_type: KeyType) -> *mut c_void {
    boundary::quietly(|| {
        // SAFETY: the caller's promise.
        let own = Context::new(unsafe { provider(context) }, key_type);
        // SAFETY: the caller's promise.
        let properties =
            (!properties.is_null()).then(|| unsafe { CStr::from_ptr(properties) }.to_owned());
        Some(
            State {
                own,
                properties,
                foreign: None,
            }
            .into_raw(),
        )
    })
}

impl State {
    fn into_raw(self) -> *mut c_void {
        Box::into_raw(Box::new(self)).cast()
    }

    /// Decides by the key who carries out the operation that begins. Returns the key of ours to begin it with (None: the
    /// key of last time), or the other provider's key object.
    fn begin<'a>(&mut self, key: Option<&'a Keydata>) -> Result<Begin<'a>, Error> {
        match key.map(|key| (key, key.foreign())) {
            None if self.foreign.is_some() => Ok(Begin::Foreign(std::ptr::null_mut())),
            None => Ok(Begin::Own(None)),
            Some((key, None)) => {
                self.foreign = None;
                Ok(Begin::Own(Some(&key.own)))
            }
            Some((key, Some(foreign))) => {
                let algorithm = match key.own.key_type {
                    KeyType::Rsa => c"RSA",
                    KeyType::Ec => c"ECDSA",
                };
                let neighbours = &key.own.provider.neighbours;
                self.foreign =
                    ForeignSignature::new(neighbours, algorithm, self.properties.as_ref());
                if self.foreign.is_none() {
                    return Err(Error::NoSoftwareKeys);
                }
                Ok(Begin::Foreign(foreign.keydata))
            }
        }
    }
}

enum Begin<'a> {
    Own(Option<&'a KeyHandle>),
    Foreign(*mut c_void),
}

unsafe extern "C" fn free(context: *mut c_void) {
    boundary::quietly(|| {
        if !context.is_null() {
            // SAFETY: the pointer came from `into_raw`, and OpenSSL gives it back once.
            drop(unsafe { Box::from_raw(context.cast::<State>()) });
        }
        Some(1)
    });
}

unsafe extern "C" fn dup(context: *mut c_void) -> *mut c_void {
    boundary::quietly(|| {
        // SAFETY: OpenSSL passes a context of ours, which no other thread is changing.
        let state = unsafe { context.cast::<State>().as_ref() }?;
        let foreign = match &state.foreign {
            Some(foreign) => Some(foreign.duplicate()?),
            None => None,
        };
        let (own, properties) = (state.own.duplicate(), state.properties.clone());
        Some(
            State {
                own,
                properties,
                foreign,
            }
            .into_raw(),
        )
    })
}

/// Calls `own` with our operation, at the panic and error boundary, or `foreign` with the other provider's.
///
/// # Safety
/// `context` is NULL or a live context of ours, used by one thread at a time.
unsafe fn with(
    context: *mut c_void,
    function: &CStr,
    foreign: impl FnOnce(&ForeignSignature) -> c_int,
    own: impl FnOnce(&mut Context) -> Result<c_int, Error>,
) -> c_int {
    // SAFETY: the caller's promise.
    let Some(state) = (unsafe { context.cast::<State>().as_mut() }) else {
        return 0;
    };
    let core = state.own.provider.core;
    boundary::call(&core, function, || match &state.foreign {
        Some(signature) => Ok(foreign(signature)),
        None => own(&mut state.own),
    })
}

macro_rules! init {
    ($name:ident, $id:expr, $purpose:expr) => {
        unsafe extern "C" fn $name(
            context: *mut c_void,
            key: *mut c_void,
            params: *const Param,
        ) -> c_int {
            // SAFETY: OpenSSL passes a context of ours, and a key of ours or NULL.
            let (state, key) = unsafe { (context.cast::<State>().as_mut(), keydata(key)) };
            let Some(state) = state else {
                return 0;
            };
            let core = state.own.provider.core;
            boundary::call(
                &core,
                name(concat!("signature_", stringify!($name), "\0")),
                || {
                    match (state.begin(key)?, &state.foreign) {
                        (Begin::Foreign(key), Some(signature)) => {
                            Ok(signature.init($id, key, params))
                        }
                        (Begin::Own(key), _) => {
                            // SAFETY: OpenSSL passes a parameter list or NULL.
                            let params = unsafe { ParamsIn::new(params) };
                            state.own.init($purpose, key, params).map(|()| 1)
                        }
                        (Begin::Foreign(_), None) => Err(Error::NoSoftwareKeys),
                    }
                },
            )
        }
    };
}

macro_rules! digest_init {
    ($name:ident, $id:expr, $purpose:expr) => {
        unsafe extern "C" fn $name(
            context: *mut c_void,
            digest: *const c_char,
            key: *mut c_void,
            params: *const Param,
        ) -> c_int {
            // SAFETY: OpenSSL passes a context of ours, and a key of ours or NULL.
            let (state, key) = unsafe { (context.cast::<State>().as_mut(), keydata(key)) };
            let Some(state) = state else {
                return 0;
            };
            let core = state.own.provider.core;
            boundary::call(
                &core,
                name(concat!("signature_", stringify!($name), "\0")),
                || {
                    match (state.begin(key)?, &state.foreign) {
                        (Begin::Foreign(key), Some(signature)) => {
                            Ok(signature.digest_init($id, digest, key, params))
                        }
                        (Begin::Own(key), _) => {
                            // SAFETY: OpenSSL passes a name or NULL.
                            let digest = unsafe { boundary::text("digest", digest) }?;
                            // SAFETY: OpenSSL passes a parameter list or NULL.
                            let params = unsafe { ParamsIn::new(params) };
                            state
                                .own
                                .digest_init($purpose, digest, key, params)
                                .map(|()| 1)
                        }
                        (Begin::Foreign(_), None) => Err(Error::NoSoftwareKeys),
                    }
                },
            )
        }
    };
}

macro_rules! update {
    ($name:ident, $id:expr) => {
        unsafe extern "C" fn $name(context: *mut c_void, data: *const u8, len: usize) -> c_int {
            let own = |context: &mut Context| {
                // SAFETY: OpenSSL passes `len` readable bytes.
                let data = unsafe { boundary::bytes(data, len) };
                context.update(data).map(|()| 1)
            };
            let foreign = |signature: &ForeignSignature| signature.take($id, data, len);
            // SAFETY: OpenSSL passes a context of ours.
            unsafe {
                with(
                    context,
                    name(concat!("signature_", stringify!($name), "\0")),
                    foreign,
                    own,
                )
            }
        }
    };
}

/// The name of a function for the error queue, from a literal that ends with NUL.
fn name(name: &'static str) -> &'static CStr {
    CStr::from_bytes_with_nul(name.as_bytes()).unwrap_or_default()
}

init!(sign_init, ffi::SIGNATURE_SIGN_INIT, Purpose::Sign);
init!(verify_init, ffi::SIGNATURE_VERIFY_INIT, Purpose::Verify);
digest_init!(
    digest_sign_init,
    ffi::SIGNATURE_DIGEST_SIGN_INIT,
    Purpose::Sign
);
digest_init!(
    digest_verify_init,
    ffi::SIGNATURE_DIGEST_VERIFY_INIT,
    Purpose::Verify
);
update!(digest_sign_update, ffi::SIGNATURE_DIGEST_SIGN_UPDATE);
update!(digest_verify_update, ffi::SIGNATURE_DIGEST_VERIFY_UPDATE);

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
    out: *mut u8,
    len: *mut usize,
    capacity: usize,
    tbs: *const u8,
    tbs_len: usize,
) -> c_int {
    let own = |context: &mut Context| {
        // SAFETY: OpenSSL passes readable input and writable output of these sizes.
        let (tbs, output) = unsafe {
            (
                boundary::bytes(tbs, tbs_len),
                Output::new(out, len, capacity),
            )
        };
        hand_out(context, output, |context| context.sign(tbs))
    };
    let foreign = |signature: &ForeignSignature| signature.sign(out, len, capacity, tbs, tbs_len);
    // SAFETY: OpenSSL passes a context of ours.
    unsafe { with(context, c"signature_sign", foreign, own) }
}

unsafe extern "C" fn digest_sign_final(
    context: *mut c_void,
    out: *mut u8,
    len: *mut usize,
    capacity: usize,
) -> c_int {
    let own = |context: &mut Context| {
        // SAFETY: OpenSSL passes writable output of this size.
        let output = unsafe { Output::new(out, len, capacity) };
        hand_out(context, output, |context| {
            let digest = context.finish()?;
            context.sign_digest(&digest)
        })
    };
    let foreign = |signature: &ForeignSignature| {
        signature.give(ffi::SIGNATURE_DIGEST_SIGN_FINAL, out, len, capacity)
    };
    // SAFETY: OpenSSL passes a context of ours.
    unsafe { with(context, c"signature_digest_sign_final", foreign, own) }
}

unsafe extern "C" fn digest_sign(
    context: *mut c_void,
    out: *mut u8,
    len: *mut usize,
    capacity: usize,
    tbs: *const u8,
    tbs_len: usize,
) -> c_int {
    let own = |context: &mut Context| {
        // SAFETY: OpenSSL passes readable input and writable output of these sizes.
        let (tbs, output) = unsafe {
            (
                boundary::bytes(tbs, tbs_len),
                Output::new(out, len, capacity),
            )
        };
        hand_out(context, output, |context| {
            context.update(tbs)?;
            let digest = context.finish()?;
            context.sign_digest(&digest)
        })
    };
    let foreign =
        |signature: &ForeignSignature| signature.digest_sign(out, len, capacity, tbs, tbs_len);
    // SAFETY: OpenSSL passes a context of ours.
    unsafe { with(context, c"signature_digest_sign", foreign, own) }
}

unsafe extern "C" fn verify(
    context: *mut c_void,
    given: *const u8,
    len: usize,
    tbs: *const u8,
    tbs_len: usize,
) -> c_int {
    let own = |context: &mut Context| {
        // SAFETY: OpenSSL passes readable input of these sizes.
        let (signature, tbs) =
            unsafe { (boundary::bytes(given, len), boundary::bytes(tbs, tbs_len)) };
        context.verify(signature, tbs).map(c_int::from)
    };
    let foreign = |signature: &ForeignSignature| signature.verify(given, len, tbs, tbs_len);
    // SAFETY: OpenSSL passes a context of ours.
    unsafe { with(context, c"signature_verify", foreign, own) }
}

unsafe extern "C" fn digest_verify_final(
    context: *mut c_void,
    given: *const u8,
    len: usize,
) -> c_int {
    let own = |context: &mut Context| {
        let digest = context.finish()?;
        // SAFETY: OpenSSL passes readable input of this size.
        let signature = unsafe { boundary::bytes(given, len) };
        context.verify_digest(signature, &digest).map(c_int::from)
    };
    let foreign = |signature: &ForeignSignature| {
        signature.take(ffi::SIGNATURE_DIGEST_VERIFY_FINAL, given, len)
    };
    // SAFETY: OpenSSL passes a context of ours.
    unsafe { with(context, c"signature_digest_verify_final", foreign, own) }
}

unsafe extern "C" fn digest_verify(
    context: *mut c_void,
    given: *const u8,
    len: usize,
    tbs: *const u8,
    tbs_len: usize,
) -> c_int {
    let own = |context: &mut Context| {
        // SAFETY: OpenSSL passes readable input of these sizes.
        let (signature, tbs) =
            unsafe { (boundary::bytes(given, len), boundary::bytes(tbs, tbs_len)) };
        context.update(tbs)?;
        let digest = context.finish()?;
        context.verify_digest(signature, &digest).map(c_int::from)
    };
    let foreign = |signature: &ForeignSignature| signature.digest_verify(given, len, tbs, tbs_len);
    // SAFETY: OpenSSL passes a context of ours.
    unsafe { with(context, c"signature_digest_verify", foreign, own) }
}

unsafe extern "C" fn get_ctx_params(context: *mut c_void, params: *mut Param) -> c_int {
    let own = |context: &mut Context| {
        // SAFETY: OpenSSL passes a parameter list.
        let mut params = unsafe { ParamsOut::new(params) };
        context.get_params(&mut params).map(|()| 1)
    };
    let foreign =
        |signature: &ForeignSignature| signature.params(ffi::SIGNATURE_GET_CTX_PARAMS, params);
    // SAFETY: OpenSSL passes a context of ours.
    unsafe { with(context, c"signature_get_ctx_params", foreign, own) }
}

unsafe extern "C" fn set_ctx_params(context: *mut c_void, params: *const Param) -> c_int {
    let own = |context: &mut Context| {
        // SAFETY: OpenSSL passes a parameter list or NULL.
        let params = unsafe { ParamsIn::new(params) };
        context.set_params(params).map(|()| 1)
    };
    let foreign = |signature: &ForeignSignature| {
        signature.params(ffi::SIGNATURE_SET_CTX_PARAMS, params.cast_mut())
    };
    // SAFETY: OpenSSL passes a context of ours.
    unsafe { with(context, c"signature_set_ctx_params", foreign, own) }
}

/// # Safety
/// `context` is NULL or a live context of ours.
unsafe fn params_table(context: *mut c_void, id: c_int, own: &'static [Param]) -> *const Param {
    // SAFETY: the caller's promise.
    let state = unsafe { context.cast::<State>().as_ref() };
    match state.and_then(|state| state.foreign.as_ref()) {
        Some(signature) => signature.table(id),
        None => own.as_ptr(),
    }
}

unsafe extern "C" fn gettable_rsa(context: *mut c_void, _provider: *mut c_void) -> *const Param {
    // SAFETY: OpenSSL passes a context of ours or NULL.
    unsafe {
        params_table(
            context,
            ffi::SIGNATURE_GETTABLE_CTX_PARAMS,
            tables::RSA_GETTABLE,
        )
    }
}

unsafe extern "C" fn settable_rsa(context: *mut c_void, _provider: *mut c_void) -> *const Param {
    // SAFETY: OpenSSL passes a context of ours or NULL.
    unsafe {
        params_table(
            context,
            ffi::SIGNATURE_SETTABLE_CTX_PARAMS,
            tables::RSA_SETTABLE,
        )
    }
}

unsafe extern "C" fn gettable_ecdsa(context: *mut c_void, _provider: *mut c_void) -> *const Param {
    // SAFETY: OpenSSL passes a context of ours or NULL.
    unsafe {
        params_table(
            context,
            ffi::SIGNATURE_GETTABLE_CTX_PARAMS,
            tables::EC_GETTABLE,
        )
    }
}

unsafe extern "C" fn settable_ecdsa(context: *mut c_void, _provider: *mut c_void) -> *const Param {
    // SAFETY: OpenSSL passes a context of ours or NULL.
    unsafe {
        params_table(
            context,
            ffi::SIGNATURE_SETTABLE_CTX_PARAMS,
            tables::EC_SETTABLE,
        )
    }
}
