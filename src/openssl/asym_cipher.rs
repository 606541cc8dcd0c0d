//! Dispatch tables of asymmetric ciphers (provider-asym_cipher(7)), among which OpenSSL 3 counts
//! all that `EVP_PKEY_encrypt` does: AES key wrap with an `EVP_PKEY` as well.

use std::ffi::{CStr, c_int, c_void};
use std::sync::Arc;

use hsm_keys::KeyType;
use hsm_module::dispatch::{Entry, Id};
use hsm_module::input::bytes;
use hsm_module::{Output, table};

use super::boundary;
use super::cancellable::cancellable;
use super::entry::provider;
use super::ffi::Param;
use super::foreign::ForeignContext;
use super::functions::{self, AsymCipher, Init};
use super::keymgmt::{Keydata, keydata};
use super::operation::{Operation, Own};
use super::params::{ParamsIn, ParamsOut};
use crate::asym_cipher::{Context, Purpose, tables};
use crate::names;
use crate::provider::Provider;

macro_rules! functions_of {
    ($new:ident, $gettable:ident, $settable:ident) => {
        table![
            functions::ASYM_CIPHER_NEWCTX => $new,
            functions::ASYM_CIPHER_FREECTX => free,
            functions::ASYM_CIPHER_DUPCTX => dup,
            functions::ASYM_CIPHER_ENCRYPT_INIT => encrypt_init,
            functions::ASYM_CIPHER_ENCRYPT => cancellable!(encrypt: input),
            functions::ASYM_CIPHER_DECRYPT_INIT => decrypt_init,
            functions::ASYM_CIPHER_DECRYPT => cancellable!(decrypt: input),
            functions::ASYM_CIPHER_GET_CTX_PARAMS => get_ctx_params,
            functions::ASYM_CIPHER_GETTABLE_CTX_PARAMS => $gettable,
            functions::ASYM_CIPHER_SET_CTX_PARAMS => set_ctx_params,
            functions::ASYM_CIPHER_SETTABLE_CTX_PARAMS => $settable,
        ]
    };
}

pub(super) const RSA: &[Entry<AsymCipher>] = functions_of!(new_rsa, gettable_rsa, settable_rsa);
pub(super) const AES: &[Entry<AsymCipher>] = functions_of!(new_aes, no_params, no_params);

type Cipher = Operation<Context>;

impl Own for Context {
    type Operation = AsymCipher;

    fn provider(&self) -> &Arc<Provider> {
        &self.provider
    }

    fn duplicate(&self) -> Self {
        self.duplicate()
    }
}

unsafe extern "C" fn new_rsa(context: *mut c_void) -> *mut c_void {
    // SAFETY: OpenSSL passes our provider context back.
    unsafe { new(context, KeyType::Rsa) }
}

unsafe extern "C" fn new_aes(context: *mut c_void) -> *mut c_void {
    // SAFETY: OpenSSL passes our provider context back.
    unsafe { new(context, KeyType::Aes) }
}

/// # Safety
/// `context` is the provider's context.
unsafe fn new(context: *mut c_void, key_type: KeyType) -> *mut c_void {
    boundary::quietly(|| {
        // SAFETY: the caller promises the provider's context.
        let provider = unsafe { provider(context) };
        Some(Cipher::start(Context::new(provider, key_type)))
    })
}

unsafe extern "C" fn free(context: *mut c_void) {
    // SAFETY: OpenSSL gives a context of ours back.
    unsafe { Cipher::free(context) }
}

unsafe extern "C" fn dup(context: *mut c_void) -> *mut c_void {
    // SAFETY: OpenSSL passes a context of ours.
    unsafe { Cipher::duplicate(context) }
}

fn foreign(_own: &Context, key: &Keydata) -> Option<ForeignContext<AsymCipher>> {
    let neighbours = &key.own.provider.neighbours;
    let name = names::of_key_type(key.own.key_type);
    ForeignContext::<AsymCipher>::new(neighbours, (key.foreign()?, name), name)
}

/// # Safety
/// As OpenSSL calls an init function: a context of ours, a key of ours or NULL, and a parameter
/// list or NULL.
unsafe fn init(
    context: *mut c_void,
    key: *mut c_void,
    params: *const Param,
    (name, id): (&CStr, Id<AsymCipher, Init>),
    purpose: Purpose,
) -> c_int {
    let theirs = |foreign: &ForeignContext<AsymCipher>, key| foreign.init(id, key, params);
    // SAFETY: the caller promises a context of ours, a key of ours or NULL, and a parameter list or
    // NULL.
    unsafe {
        let (key, params) = (keydata(key), ParamsIn::new(params));
        let own = |context: &mut Context, key: Option<&_>| context.init(purpose, key, params);
        Cipher::init(context, name, key, foreign, theirs, own)
    }
}

unsafe extern "C" fn encrypt_init(
    context: *mut c_void,
    key: *mut c_void,
    params: *const Param,
) -> c_int {
    let function = (
        c"asym_cipher_encrypt_init",
        functions::ASYM_CIPHER_ENCRYPT_INIT,
    );
    // SAFETY: OpenSSL calls an init function.
    unsafe { init(context, key, params, function, Purpose::Encrypt) }
}

unsafe extern "C" fn decrypt_init(
    context: *mut c_void,
    key: *mut c_void,
    params: *const Param,
) -> c_int {
    let function = (
        c"asym_cipher_decrypt_init",
        functions::ASYM_CIPHER_DECRYPT_INIT,
    );
    // SAFETY: OpenSSL calls an init function.
    unsafe { init(context, key, params, function, Purpose::Decrypt) }
}

unsafe extern "C" fn encrypt(
    context: *mut c_void,
    out: *mut u8,
    len: *mut usize,
    capacity: usize,
    input: *const u8,
    input_len: usize,
) -> c_int {
    let own = |context: &mut Context| {
        // SAFETY: OpenSSL passes readable input and writable output of these sizes.
        let (input, mut output) =
            unsafe { (bytes(input, input_len), Output::new(out, len, capacity)) };
        if !output.sized(context.max_output_len(input_len)?)? {
            output.put(&context.encrypt(input)?)?;
        }
        Ok(1)
    };
    let theirs = |foreign: &ForeignContext<AsymCipher>| {
        let id = functions::ASYM_CIPHER_ENCRYPT;
        foreign.transform(id, out, len, capacity, input, input_len)
    };
    // SAFETY: OpenSSL passes a context of ours.
    unsafe { Cipher::with(context, c"asym_cipher_encrypt", theirs, own) }
}

unsafe extern "C" fn decrypt(
    context: *mut c_void,
    out: *mut u8,
    len: *mut usize,
    capacity: usize,
    input: *const u8,
    input_len: usize,
) -> c_int {
    let own = |context: &mut Context| {
        // SAFETY: OpenSSL passes readable input and writable output of these sizes.
        let (input, mut output) =
            unsafe { (bytes(input, input_len), Output::new(out, len, capacity)) };
        if !output.asks_for_size(context.max_output_len(input_len)?) {
            output.put(&context.decrypt(input)?)?;
        }
        Ok(1)
    };
    let theirs = |foreign: &ForeignContext<AsymCipher>| {
        let id = functions::ASYM_CIPHER_DECRYPT;
        foreign.transform(id, out, len, capacity, input, input_len)
    };
    // SAFETY: OpenSSL passes a context of ours.
    unsafe { Cipher::with(context, c"asym_cipher_decrypt", theirs, own) }
}

unsafe extern "C" fn get_ctx_params(context: *mut c_void, params: *mut Param) -> c_int {
    let own = |context: &mut Context| {
        // SAFETY: OpenSSL passes a parameter list.
        let mut params = unsafe { ParamsOut::new(params) };
        context.get_params(&mut params).map(|()| 1)
    };
    let theirs = |foreign: &ForeignContext<AsymCipher>| {
        foreign.get_params(functions::ASYM_CIPHER_GET_CTX_PARAMS, params)
    };
    // SAFETY: OpenSSL passes a context of ours.
    unsafe { Cipher::with(context, c"asym_cipher_get_ctx_params", theirs, own) }
}

unsafe extern "C" fn set_ctx_params(context: *mut c_void, params: *const Param) -> c_int {
    let own = |context: &mut Context| {
        // SAFETY: OpenSSL passes a parameter list or NULL.
        let params = unsafe { ParamsIn::new(params) };
        context.set_params(params).map(|()| 1)
    };
    let theirs = |foreign: &ForeignContext<AsymCipher>| {
        foreign.set_params(functions::ASYM_CIPHER_SET_CTX_PARAMS, params)
    };
    // SAFETY: OpenSSL passes a context of ours.
    unsafe { Cipher::with(context, c"asym_cipher_set_ctx_params", theirs, own) }
}

unsafe extern "C" fn gettable_rsa(context: *mut c_void, _provider: *mut c_void) -> *const Param {
    let (id, own) = (
        functions::ASYM_CIPHER_GETTABLE_CTX_PARAMS,
        tables::RSA_GETTABLE,
    );
    // SAFETY: OpenSSL passes a context of ours or NULL.
    unsafe { Cipher::params_table(context, id, own) }
}

unsafe extern "C" fn settable_rsa(context: *mut c_void, _provider: *mut c_void) -> *const Param {
    let (id, own) = (
        functions::ASYM_CIPHER_SETTABLE_CTX_PARAMS,
        tables::RSA_SETTABLE,
    );
    // SAFETY: OpenSSL passes a context of ours or NULL.
    unsafe { Cipher::params_table(context, id, own) }
}

unsafe extern "C" fn no_params(_context: *mut c_void, _provider: *mut c_void) -> *const Param {
    tables::NOTHING.as_ptr()
}
