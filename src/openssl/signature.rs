//! Dispatch tables of signatures (provider-signature(7)).

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::sync::Arc;

use hsm_keys::{DIGESTS, Digest, KeyType};
use hsm_module::dispatch::Entry;
use hsm_module::input::bytes;
use hsm_module::{Output, table};

use super::boundary;
use super::cancellable::cancellable;
use super::entry::provider;
use super::ffi::Param;
use super::foreign::ForeignContext;
use super::functions;
use super::keymgmt::{Keydata, key_type, keydata};
use super::operation::{Operation, Own};
use super::params::{ParamsIn, ParamsOut};
use crate::error::Error;
use crate::names;
use crate::provider::Provider;
use crate::signature::{Context, Purpose, tables};

/// In place of a digest's index: the caller names the digest.
pub(super) const ANY: usize = usize::MAX;
/// The key type of an algorithm, for the tables below.
pub(super) use super::keymgmt::{EC, ML_DSA_44, ML_DSA_65, ML_DSA_87, RSA};

/// The functions of RSA or ECDSA that both kinds of algorithms have, and further ones. What
/// OpenSSL's own provider has not for a type of keys is not there: libcrypto would do otherwise
/// what it does with software keys.
macro_rules! functions {
    ($type:ident, $digest:expr, $($id:expr => $function:expr,)*) => {
        table![
            functions::SIGNATURE_NEWCTX => new::<$type, { $digest }>,
            functions::SIGNATURE_FREECTX => free,
            functions::SIGNATURE_DUPCTX => dup,
            functions::SIGNATURE_SIGN_INIT => sign_init,
            functions::SIGNATURE_SIGN => cancellable!(sign: input),
            functions::SIGNATURE_VERIFY_INIT => verify_init,
            functions::SIGNATURE_VERIFY => verify,
            functions::SIGNATURE_GET_CTX_PARAMS => get_ctx_params,
            functions::SIGNATURE_GETTABLE_CTX_PARAMS => gettable::<$type>,
            functions::SIGNATURE_SET_CTX_PARAMS => set_ctx_params,
            functions::SIGNATURE_SETTABLE_CTX_PARAMS => settable::<$type, { $digest }>,
            $($id => $function,)*
        ]
    };
    // RSA gives back what it has signed.
    (recovering $type:ident, $digest:expr, $($others:tt)*) => {
        match $type {
            RSA => functions!(
                $type, $digest,
                functions::SIGNATURE_VERIFY_RECOVER_INIT => verify_recover_init,
                functions::SIGNATURE_VERIFY_RECOVER => cancellable!(verify_recover: input),
                $($others)*
            ),
            _ => functions!($type, $digest, $($others)*),
        }
    };
}

/// The algorithm `RSA` or `ECDSA`, to which the caller names a digest. A message that comes whole
/// is given to them in two steps by libcrypto, which finishes a copy of the context.
pub(super) struct WithAnyDigest<const TYPE: u8>;

impl<const TYPE: u8> WithAnyDigest<TYPE> {
    pub(super) const FUNCTIONS: &'static [Entry<functions::Signature>] = functions!(recovering
        TYPE, ANY,
        functions::SIGNATURE_DIGEST_SIGN_INIT => digest_sign_init,
        functions::SIGNATURE_DIGEST_SIGN_UPDATE => digest_sign_update,
        functions::SIGNATURE_DIGEST_SIGN_FINAL => cancellable!(digest_sign_final: no_input),
        functions::SIGNATURE_DIGEST_VERIFY_INIT => digest_verify_init,
        functions::SIGNATURE_DIGEST_VERIFY_UPDATE => digest_verify_update,
        functions::SIGNATURE_DIGEST_VERIFY_FINAL => digest_verify_final,
        functions::SIGNATURE_GET_CTX_MD_PARAMS => get_ctx_md_params,
        functions::SIGNATURE_GETTABLE_CTX_MD_PARAMS => ctx_md_params,
        functions::SIGNATURE_SET_CTX_MD_PARAMS => set_ctx_md_params,
        functions::SIGNATURE_SETTABLE_CTX_MD_PARAMS => ctx_md_params,
    );
}

/// An algorithm that has its digest in its name, such as `RSA-SHA256` (OpenSSL 3.4 and newer).
/// `DIGEST` is the digest's index in [`DIGESTS`].
pub(super) struct WithDigest<const TYPE: u8, const DIGEST: usize>;

impl<const TYPE: u8, const DIGEST: usize> WithDigest<TYPE, DIGEST> {
    pub(super) const FUNCTIONS: &'static [Entry<functions::Signature>] = functions!(recovering
        TYPE, DIGEST,
        functions::SIGNATURE_QUERY_KEY_TYPES => key_types::<TYPE>,
        functions::SIGNATURE_SIGN_MESSAGE_INIT => sign_message_init,
        functions::SIGNATURE_SIGN_MESSAGE_UPDATE => sign_message_update,
        functions::SIGNATURE_SIGN_MESSAGE_FINAL => cancellable!(sign_message_final: no_input),
        functions::SIGNATURE_VERIFY_MESSAGE_INIT => verify_message_init,
        functions::SIGNATURE_VERIFY_MESSAGE_UPDATE => verify_message_update,
        functions::SIGNATURE_VERIFY_MESSAGE_FINAL => verify_message_final,
    );
}

/// ML-DSA (OpenSSL 3.5 and newer), which has no digest. `TYPE` is that of the key.
pub(super) struct MlDsa<const TYPE: u8>;

impl<const TYPE: u8> MlDsa<TYPE> {
    pub(super) const FUNCTIONS: &'static [Entry<functions::Signature>] = table![
        functions::SIGNATURE_NEWCTX => new::<TYPE, ANY>,
        functions::SIGNATURE_FREECTX => free,
        functions::SIGNATURE_DUPCTX => dup,
        functions::SIGNATURE_SIGN => cancellable!(sign: input),
        functions::SIGNATURE_SIGN_MESSAGE_INIT => sign_message_init,
        functions::SIGNATURE_SIGN_MESSAGE_UPDATE => sign_message_update,
        functions::SIGNATURE_SIGN_MESSAGE_FINAL => cancellable!(sign_message_final: no_input),
        functions::SIGNATURE_VERIFY => verify,
        functions::SIGNATURE_VERIFY_MESSAGE_INIT => verify_message_init,
        functions::SIGNATURE_VERIFY_MESSAGE_UPDATE => verify_message_update,
        functions::SIGNATURE_VERIFY_MESSAGE_FINAL => verify_message_final,
        functions::SIGNATURE_DIGEST_SIGN_INIT => digest_sign_init,
        functions::SIGNATURE_DIGEST_SIGN_UPDATE => digest_sign_update,
        functions::SIGNATURE_DIGEST_SIGN_FINAL => cancellable!(digest_sign_final: no_input),
        functions::SIGNATURE_DIGEST_SIGN => cancellable!(digest_sign: input),
        functions::SIGNATURE_DIGEST_VERIFY_INIT => digest_verify_init,
        functions::SIGNATURE_DIGEST_VERIFY_UPDATE => digest_verify_update,
        functions::SIGNATURE_DIGEST_VERIFY_FINAL => digest_verify_final,
        functions::SIGNATURE_DIGEST_VERIFY => digest_verify,
        functions::SIGNATURE_GET_CTX_PARAMS => get_ctx_params,
        functions::SIGNATURE_GETTABLE_CTX_PARAMS => gettable::<TYPE>,
        functions::SIGNATURE_SET_CTX_PARAMS => set_ctx_params,
        functions::SIGNATURE_SETTABLE_CTX_PARAMS => settable::<TYPE, ANY>,
    ];
}

/// A signature context of ours, with what another provider's would need.
struct State {
    context: Context,
    properties: Option<CString>,
}

type Signature = Operation<State>;
type Foreign = ForeignContext<functions::Signature>;

impl Own for State {
    type Operation = functions::Signature;

    fn provider(&self) -> &Arc<Provider> {
        &self.context.provider
    }

    fn duplicate(&self) -> Self {
        Self {
            context: self.context.duplicate(),
            properties: self.properties.clone(),
        }
    }
}

unsafe extern "C" fn new<const TYPE: u8, const DIGEST: usize>(
    context: *mut c_void,
    properties: *const c_char,
) -> *mut c_void {
    boundary::quietly(|| {
        // SAFETY: OpenSSL passes our provider context back.
        let provider = unsafe { provider(context) };
        let properties =
            // SAFETY: OpenSSL passes a string or NULL.
            (!properties.is_null()).then(|| unsafe { CStr::from_ptr(properties) }.to_owned());
        Some(Signature::start(State {
            context: Context::new(provider, key_type(TYPE), DIGESTS.get(DIGEST)),
            properties,
        }))
    })
}

unsafe extern "C" fn free(context: *mut c_void) {
    // SAFETY: OpenSSL gives a context of ours back.
    unsafe { Signature::free(context) }
}

unsafe extern "C" fn dup(context: *mut c_void) -> *mut c_void {
    // SAFETY: OpenSSL passes a context of ours.
    unsafe { Signature::duplicate(context) }
}

/// Another provider's context for the same algorithm.
fn foreign(state: &State, key: &Keydata) -> Option<Foreign> {
    let algorithm = match (key.own.key_type, state.context.fixed_digest()) {
        (KeyType::Rsa, None) => c"RSA".to_owned(),
        (KeyType::Rsa, Some(digest)) => fixed_name("RSA", digest),
        (KeyType::Ec, None) => c"ECDSA".to_owned(),
        (KeyType::Ec, Some(digest)) => fixed_name("ECDSA", digest),
        (of @ KeyType::MlDsa(_), _) => names::of_key_type(of).to_owned(),
        (KeyType::Aes, _) => return None,
    };
    let neighbours = &key.own.provider.neighbours;
    Foreign::new(
        neighbours,
        (key.foreign()?, names::of_key_type(key.own.key_type)),
        &algorithm,
        state.properties.as_ref(),
    )
}

fn fixed_name(algorithm: &str, digest: &Digest) -> CString {
    CString::new(format!("{algorithm}-{}", digest.name())).unwrap_or_default()
}

macro_rules! init {
    ($name:ident, $id:ident, $start:expr) => {
        unsafe extern "C" fn $name(
            context: *mut c_void,
            key: *mut c_void,
            params: *const Param,
        ) -> c_int {
            let theirs = |foreign: &Foreign, key| foreign.init(functions::$id, key, params);
            // SAFETY: OpenSSL passes a context of ours, a key of ours or NULL, and a parameter list
            // or NULL.
            unsafe {
                let (key, params) = (keydata(key), ParamsIn::new(params));
                let own =
                    |state: &mut State, key: Option<&_>| $start(&mut state.context, key, params);
                Signature::init(context, name!($name), key, foreign, theirs, own)
            }
        }
    };
}

macro_rules! digest_init {
    ($name:ident, $id:ident, $purpose:expr) => {
        unsafe extern "C" fn $name(
            context: *mut c_void,
            digest: *const c_char,
            key: *mut c_void,
            params: *const Param,
        ) -> c_int {
            let theirs =
                |foreign: &Foreign, key| foreign.digest_init(functions::$id, digest, key, params);
            // SAFETY: OpenSSL passes a context of ours, a key of ours or NULL, a name or NULL, and
            // a parameter list or NULL.
            unsafe {
                let (key, params) = (keydata(key), ParamsIn::new(params));
                let own = |state: &mut State, key: Option<&_>| {
                    let digest = boundary::text("digest", digest)?;
                    state.context.digest_init($purpose, digest, key, params)
                };
                Signature::init(context, name!($name), key, foreign, theirs, own)
            }
        }
    };
}

macro_rules! update {
    ($name:ident, $id:ident) => {
        unsafe extern "C" fn $name(context: *mut c_void, data: *const u8, len: usize) -> c_int {
            let own = |state: &mut State| {
                // SAFETY: OpenSSL passes `len` readable bytes.
                let data = unsafe { bytes(data, len) };
                state.context.update(data).map(|()| 1)
            };
            let theirs = |foreign: &Foreign| foreign.take(functions::$id, data, len);
            // SAFETY: OpenSSL passes a context of ours.
            unsafe { Signature::with(context, name!($name), theirs, own) }
        }
    };
}

/// A function that hands out a signature over the message taken in.
macro_rules! finish {
    ($name:ident, $id:ident) => {
        unsafe extern "C" fn $name(
            context: *mut c_void,
            out: *mut u8,
            len: *mut usize,
            capacity: usize,
        ) -> c_int {
            let own = |state: &mut State| {
                // SAFETY: OpenSSL passes writable output of this size.
                let output = unsafe { Output::new(out, len, capacity) };
                hand_out(&mut state.context, output, Context::sign_message)
            };
            let theirs = |foreign: &Foreign| foreign.give(functions::$id, out, len, capacity);
            // SAFETY: OpenSSL passes a context of ours.
            unsafe { Signature::with(context, name!($name), theirs, own) }
        }
    };
}

/// The name of a function for the error queue.
macro_rules! name {
    ($name:ident) => {
        CStr::from_bytes_with_nul(concat!("signature_", stringify!($name), "\0").as_bytes())
            .unwrap_or_default()
    };
}

init!(
    sign_init,
    SIGNATURE_SIGN_INIT,
    |context: &mut Context, key, params| { context.init(Purpose::Sign, key, params) }
);
init!(
    verify_init,
    SIGNATURE_VERIFY_INIT,
    |context: &mut Context, key, params| { context.init(Purpose::Verify, key, params) }
);
init!(
    verify_recover_init,
    SIGNATURE_VERIFY_RECOVER_INIT,
    |context: &mut Context, key, params| { context.init(Purpose::Recover, key, params) }
);
init!(
    sign_message_init,
    SIGNATURE_SIGN_MESSAGE_INIT,
    |context: &mut Context, key, params| { context.message_init(Purpose::Sign, key, params) }
);
init!(
    verify_message_init,
    SIGNATURE_VERIFY_MESSAGE_INIT,
    |context: &mut Context, key, params| { context.message_init(Purpose::Verify, key, params) }
);
digest_init!(digest_sign_init, SIGNATURE_DIGEST_SIGN_INIT, Purpose::Sign);
digest_init!(
    digest_verify_init,
    SIGNATURE_DIGEST_VERIFY_INIT,
    Purpose::Verify
);
update!(digest_sign_update, SIGNATURE_DIGEST_SIGN_UPDATE);
update!(digest_verify_update, SIGNATURE_DIGEST_VERIFY_UPDATE);
update!(sign_message_update, SIGNATURE_SIGN_MESSAGE_UPDATE);
update!(verify_message_update, SIGNATURE_VERIFY_MESSAGE_UPDATE);
finish!(digest_sign_final, SIGNATURE_DIGEST_SIGN_FINAL);
finish!(sign_message_final, SIGNATURE_SIGN_MESSAGE_FINAL);

/// Answers a call for a signature's size, or makes the signature by `sign` and hands it out.
fn hand_out(
    context: &mut Context,
    mut out: Output<usize>,
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
    let own = |state: &mut State| {
        // SAFETY: OpenSSL passes readable input and writable output of these sizes.
        let (tbs, output) = unsafe { (bytes(tbs, tbs_len), Output::new(out, len, capacity)) };
        state.context.expect_whole()?;
        hand_out(&mut state.context, output, |context| context.sign(tbs))
    };
    let theirs = |foreign: &Foreign| {
        foreign.transform(functions::SIGNATURE_SIGN, out, len, capacity, tbs, tbs_len)
    };
    // SAFETY: OpenSSL passes a context of ours.
    unsafe { Signature::with(context, name!(sign), theirs, own) }
}

unsafe extern "C" fn digest_sign(
    context: *mut c_void,
    out: *mut u8,
    len: *mut usize,
    capacity: usize,
    tbs: *const u8,
    tbs_len: usize,
) -> c_int {
    let own = |state: &mut State| {
        // SAFETY: OpenSSL passes readable input and writable output of these sizes.
        let (tbs, output) = unsafe { (bytes(tbs, tbs_len), Output::new(out, len, capacity)) };
        hand_out(&mut state.context, output, |context| {
            context.sign_whole(tbs)
        })
    };
    let theirs = |foreign: &Foreign| foreign.digest_sign(out, len, capacity, tbs, tbs_len);
    // SAFETY: OpenSSL passes a context of ours.
    unsafe { Signature::with(context, name!(digest_sign), theirs, own) }
}

unsafe extern "C" fn verify(
    context: *mut c_void,
    given: *const u8,
    len: usize,
    tbs: *const u8,
    tbs_len: usize,
) -> c_int {
    let own = |state: &mut State| {
        // SAFETY: OpenSSL passes readable input of these sizes.
        let (signature, tbs) = unsafe { (bytes(given, len), bytes(tbs, tbs_len)) };
        state.context.verify(signature, tbs).map(c_int::from)
    };
    let theirs = |foreign: &Foreign| foreign.verify(given, len, tbs, tbs_len);
    // SAFETY: OpenSSL passes a context of ours.
    unsafe { Signature::with(context, name!(verify), theirs, own) }
}

unsafe extern "C" fn verify_recover(
    context: *mut c_void,
    out: *mut u8,
    len: *mut usize,
    capacity: usize,
    given: *const u8,
    given_len: usize,
) -> c_int {
    let own = |state: &mut State| {
        // SAFETY: OpenSSL passes readable input and writable output of these sizes.
        let (signature, mut output) =
            unsafe { (bytes(given, given_len), Output::new(out, len, capacity)) };
        if !output.asks_for_size(state.context.max_recovered_len()?) {
            output.put(&state.context.recover(signature)?)?;
        }
        Ok(1)
    };
    let theirs = |foreign: &Foreign| {
        let id = functions::SIGNATURE_VERIFY_RECOVER;
        foreign.transform(id, out, len, capacity, given, given_len)
    };
    // SAFETY: OpenSSL passes a context of ours.
    unsafe { Signature::with(context, name!(verify_recover), theirs, own) }
}

unsafe extern "C" fn digest_verify_final(
    context: *mut c_void,
    given: *const u8,
    len: usize,
) -> c_int {
    let own = |state: &mut State| {
        // SAFETY: OpenSSL passes readable input of this size.
        let signature = unsafe { bytes(given, len) };
        state.context.verify_message(signature).map(c_int::from)
    };
    let theirs =
        |foreign: &Foreign| foreign.take(functions::SIGNATURE_DIGEST_VERIFY_FINAL, given, len);
    // SAFETY: OpenSSL passes a context of ours.
    unsafe { Signature::with(context, name!(digest_verify_final), theirs, own) }
}

unsafe extern "C" fn verify_message_final(context: *mut c_void) -> c_int {
    let own = |state: &mut State| state.context.verify_given().map(c_int::from);
    let theirs = |foreign: &Foreign| foreign.finish(functions::SIGNATURE_VERIFY_MESSAGE_FINAL);
    // SAFETY: OpenSSL passes a context of ours.
    unsafe { Signature::with(context, name!(verify_message_final), theirs, own) }
}

unsafe extern "C" fn digest_verify(
    context: *mut c_void,
    given: *const u8,
    len: usize,
    tbs: *const u8,
    tbs_len: usize,
) -> c_int {
    let own = |state: &mut State| {
        // SAFETY: OpenSSL passes readable input of these sizes.
        let (signature, tbs) = unsafe { (bytes(given, len), bytes(tbs, tbs_len)) };
        state.context.verify_whole(signature, tbs).map(c_int::from)
    };
    let theirs = |foreign: &Foreign| foreign.digest_verify(given, len, tbs, tbs_len);
    // SAFETY: OpenSSL passes a context of ours.
    unsafe { Signature::with(context, name!(digest_verify), theirs, own) }
}

unsafe extern "C" fn key_types<const TYPE: u8>() -> *mut *const c_char {
    struct Names([*const c_char; 2]);
    // SAFETY: the pointers lead to static text.
    unsafe impl Sync for Names {}
    static RSA_KEYS: Names = Names([c"RSA".as_ptr(), std::ptr::null()]);
    static EC_KEYS: Names = Names([c"EC".as_ptr(), std::ptr::null()]);
    let names = if TYPE == RSA { &RSA_KEYS } else { &EC_KEYS };
    // In C the list could be written to, but nobody does.
    names.0.as_ptr().cast_mut()
}

unsafe extern "C" fn get_ctx_params(context: *mut c_void, params: *mut Param) -> c_int {
    let own = |state: &mut State| {
        // SAFETY: OpenSSL passes a parameter list.
        let mut params = unsafe { ParamsOut::new(params) };
        state.context.get_params(&mut params).map(|()| 1)
    };
    let theirs =
        |foreign: &Foreign| foreign.get_params(functions::SIGNATURE_GET_CTX_PARAMS, params);
    // SAFETY: OpenSSL passes a context of ours.
    unsafe { Signature::with(context, name!(get_ctx_params), theirs, own) }
}

unsafe extern "C" fn set_ctx_params(context: *mut c_void, params: *const Param) -> c_int {
    let own = |state: &mut State| {
        // SAFETY: OpenSSL passes a parameter list or NULL.
        let params = unsafe { ParamsIn::new(params) };
        state.context.set_params(params).map(|()| 1)
    };
    let theirs =
        |foreign: &Foreign| foreign.set_params(functions::SIGNATURE_SET_CTX_PARAMS, params);
    // SAFETY: OpenSSL passes a context of ours.
    unsafe { Signature::with(context, name!(set_ctx_params), theirs, own) }
}

/// Our digests have no parameters.
unsafe extern "C" fn get_ctx_md_params(context: *mut c_void, params: *mut Param) -> c_int {
    let theirs =
        |foreign: &Foreign| foreign.get_params(functions::SIGNATURE_GET_CTX_MD_PARAMS, params);
    // SAFETY: OpenSSL passes a context of ours.
    unsafe { Signature::with(context, name!(get_ctx_md_params), theirs, |_| Ok(1)) }
}

unsafe extern "C" fn set_ctx_md_params(context: *mut c_void, params: *const Param) -> c_int {
    let theirs =
        |foreign: &Foreign| foreign.set_params(functions::SIGNATURE_SET_CTX_MD_PARAMS, params);
    // SAFETY: OpenSSL passes a context of ours.
    unsafe { Signature::with(context, name!(set_ctx_md_params), theirs, |_| Ok(1)) }
}

unsafe extern "C" fn ctx_md_params(_context: *mut c_void) -> *const Param {
    tables::NOTHING.as_ptr()
}

unsafe extern "C" fn gettable<const TYPE: u8>(
    context: *mut c_void,
    _provider: *mut c_void,
) -> *const Param {
    let own = match TYPE {
        RSA => tables::RSA_GETTABLE,
        EC => tables::EC_GETTABLE,
        _ => tables::ML_DSA_GETTABLE,
    };
    // SAFETY: OpenSSL passes a context of ours or NULL.
    unsafe { Signature::params_table(context, functions::SIGNATURE_GETTABLE_CTX_PARAMS, own) }
}

unsafe extern "C" fn settable<const TYPE: u8, const DIGEST: usize>(
    context: *mut c_void,
    _provider: *mut c_void,
) -> *const Param {
    let own = match (TYPE, DIGEST) {
        (RSA, ANY) => tables::RSA_SETTABLE,
        (EC, ANY) => tables::EC_SETTABLE,
        (ML_DSA_44 | ML_DSA_65 | ML_DSA_87, _) => tables::ML_DSA_SETTABLE,
        _ => tables::FIXED_SETTABLE,
    };
    // SAFETY: OpenSSL passes a context of ours or NULL.
    unsafe { Signature::params_table(context, functions::SIGNATURE_SETTABLE_CTX_PARAMS, own) }
}
