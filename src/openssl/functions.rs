//! The functions of `<openssl/core_dispatch.h>`: of each its number and its type, once. Dispatch
//! tables are made from them, and the core's and other providers' functions found by them.
//!
//! The functions that may wait for the HSM are cancellation points and so may unwind (`C-unwind`):
//! see [`hsm_module::cancellation`].

use std::ffi::{c_char, c_int, c_uint, c_void};

use hsm_module::dispatch::{Entry, Id, Interface};

use super::bio::CoreBio;
use super::ffi::{self, Algorithm, Callback, CoreHandle, Item, Param};

/// An operation that providers have implementations of, with its number.
pub(super) trait Operation: Interface {
    const NUMBER: c_int;
}

/// An operation that goes on in a context.
pub(super) trait InContext: Operation {
    const FREE: Id<Self, Free>;
    const DUPLICATE: Id<Self, Duplicate>;
}

macro_rules! functions {
    ($(#[$doc:meta])* $interface:ident: $($id:ident = $number:literal: $function:ty;)*) => {
        $(#[$doc])*
        pub(super) enum $interface {}
        impl Interface for $interface {}
        $(pub(super) const $id: Id<$interface, $function> = Id::new($number);)*
    };
}

macro_rules! operations {
    ($($interface:ident: $number:ident,)*) => {
        $(impl Operation for $interface { const NUMBER: c_int = ffi::$number; })*
    };
}

operations! {
    Cipher: OP_CIPHER,
    Rand: OP_RAND,
    Keymgmt: OP_KEYMGMT,
    Signature: OP_SIGNATURE,
    AsymCipher: OP_ASYM_CIPHER,
    Skeymgmt: OP_SKEYMGMT,
    Encoder: OP_ENCODER,
    Decoder: OP_DECODER,
    Store: OP_STORE,
}

/// Asks for a pass-phrase, if that can be asked for.
pub(super) type Passphrase = Option<
    unsafe extern "C" fn(*mut c_char, usize, *mut usize, *const Param, *mut c_void) -> c_int,
>;

/// Forms that several functions have.
pub(super) type New = unsafe extern "C" fn(provider: *mut c_void) -> *mut c_void;
pub(super) type Free = unsafe extern "C" fn(context: *mut c_void);
pub(super) type Duplicate = unsafe extern "C" fn(context: *mut c_void) -> *mut c_void;
pub(super) type Init =
    unsafe extern "C" fn(context: *mut c_void, key: *mut c_void, params: *const Param) -> c_int;
pub(super) type DigestInit = unsafe extern "C" fn(
    context: *mut c_void,
    digest: *const c_char,
    key: *mut c_void,
    params: *const Param,
) -> c_int;
pub(super) type CipherInit = unsafe extern "C" fn(
    context: *mut c_void,
    key: *const u8,
    key_len: usize,
    iv: *const u8,
    iv_len: usize,
    params: *const Param,
) -> c_int;
pub(super) type SecretInit = unsafe extern "C" fn(
    context: *mut c_void,
    key: *mut c_void,
    iv: *const u8,
    iv_len: usize,
    params: *const Param,
) -> c_int;
pub(super) type Take =
    unsafe extern "C" fn(context: *mut c_void, data: *const u8, len: usize) -> c_int;
pub(super) type Give = unsafe extern "C-unwind" fn(
    context: *mut c_void,
    out: *mut u8,
    len: *mut usize,
    capacity: usize,
) -> c_int;
pub(super) type Transform = unsafe extern "C-unwind" fn(
    context: *mut c_void,
    out: *mut u8,
    len: *mut usize,
    capacity: usize,
    data: *const u8,
    data_len: usize,
) -> c_int;
pub(super) type Verify = unsafe extern "C" fn(
    context: *mut c_void,
    signature: *const u8,
    len: usize,
    data: *const u8,
    data_len: usize,
) -> c_int;
pub(super) type Finish = unsafe extern "C" fn(context: *mut c_void) -> c_int;
pub(super) type GetParams = unsafe extern "C" fn(context: *mut c_void, params: *mut Param) -> c_int;
pub(super) type SetParams =
    unsafe extern "C" fn(context: *mut c_void, params: *const Param) -> c_int;
/// Tells which parameters there are. The context may be NULL.
pub(super) type ContextParams =
    unsafe extern "C" fn(context: *mut c_void, provider: *mut c_void) -> *const Param;
pub(super) type ProviderParams = unsafe extern "C" fn(provider: *mut c_void) -> *const Param;
pub(super) type Import = unsafe extern "C" fn(
    provider: *mut c_void,
    selection: c_int,
    params: *const Param,
) -> *mut c_void;
pub(super) type Export = unsafe extern "C" fn(
    key: *mut c_void,
    selection: c_int,
    callback: Callback,
    argument: *mut c_void,
) -> c_int;
pub(super) type DoesSelection =
    unsafe extern "C" fn(provider: *mut c_void, selection: c_int) -> c_int;

/// The core's functions on streams.
pub(super) type ReadEx =
    unsafe extern "C" fn(*mut CoreBio, data: *mut c_void, len: usize, read: *mut usize) -> c_int;
pub(super) type WriteEx = unsafe extern "C" fn(
    *mut CoreBio,
    data: *const c_void,
    len: usize,
    written: *mut usize,
) -> c_int;
pub(super) type Gets = unsafe extern "C" fn(*mut CoreBio, line: *mut c_char, len: c_int) -> c_int;

/// The core's functions on a provider, which it knows by a handle.
pub(super) type Upcall = unsafe extern "C" fn(*const CoreHandle) -> c_int;
pub(super) type GetCoreParams =
    unsafe extern "C" fn(*const CoreHandle, params: *mut Param) -> c_int;
pub(super) type GetContext = unsafe extern "C" fn(*const CoreHandle) -> *mut c_void;
pub(super) type GetDispatch = unsafe extern "C" fn(*const CoreHandle) -> *const Entry<Base>;
pub(super) type NewError = unsafe extern "C" fn(*const CoreHandle);
pub(super) type SetErrorDebug =
    unsafe extern "C" fn(*const CoreHandle, *const c_char, c_int, *const c_char);
/// The last argument stands for a C `va_list`: see `core`.
pub(super) type VsetError =
    unsafe extern "C" fn(*const CoreHandle, c_uint, *const c_char, *const c_void);
pub(super) type AboutProvider = unsafe extern "C" fn(*const CoreHandle, *mut c_void) -> c_int;
pub(super) type AboutProperties = unsafe extern "C" fn(*const c_char, *mut c_void) -> c_int;
pub(super) type RegisterChild = unsafe extern "C" fn(
    handle: *const CoreHandle,
    appeared: AboutProvider,
    vanished: AboutProvider,
    properties_changed: AboutProperties,
    argument: *mut c_void,
) -> c_int;
pub(super) type CountProvider =
    unsafe extern "C" fn(provider: *const CoreHandle, activates: c_int) -> c_int;

functions! {
    /// What the core shows a provider (provider-base(7)).
    Core:
    CORE_GET_PARAMS = 2: GetCoreParams;
    CORE_GET_LIBCTX = 4: GetContext;
    CORE_NEW_ERROR = 5: NewError;
    CORE_SET_ERROR_DEBUG = 6: SetErrorDebug;
    CORE_VSET_ERROR = 7: VsetError;
    CORE_SET_ERROR_MARK = 8: Upcall;
    CORE_CLEAR_LAST_ERROR_MARK = 9: Upcall;
    CORE_POP_ERROR_TO_MARK = 10: Upcall;
    BIO_READ_EX = 42: ReadEx;
    BIO_WRITE_EX = 43: WriteEx;
    BIO_GETS = 49: Gets;
    PROVIDER_REGISTER_CHILD_CB = 105: RegisterChild;
    PROVIDER_GET0_PROVIDER_CTX = 108: GetContext;
    PROVIDER_GET0_DISPATCH = 109: GetDispatch;
    PROVIDER_UP_REF = 110: CountProvider;
    PROVIDER_FREE = 111: CountProvider;
}

functions! {
    /// What a provider shows the core, about itself (provider-base(7)).
    Base:
    PROVIDER_TEARDOWN = 1024: Free;
    PROVIDER_GETTABLE_PARAMS = 1025: ProviderParams;
    PROVIDER_GET_PARAMS = 1026: GetParams;
    PROVIDER_QUERY_OPERATION = 1027:
        unsafe extern "C" fn(*mut c_void, c_int, *mut c_int) -> *const Algorithm;
    PROVIDER_GET_REASON_STRINGS = 1029: unsafe extern "C" fn(*mut c_void) -> *const Item;
    PROVIDER_GET_CAPABILITIES = 1030:
        unsafe extern "C" fn(*mut c_void, *const c_char, Callback, *mut c_void) -> c_int;
    PROVIDER_SELF_TEST = 1031: Finish;
}

functions! {
    /// Random bytes (provider-rand(7)).
    Rand:
    RAND_NEWCTX = 1:
        unsafe extern "C" fn(*mut c_void, *mut c_void, *const Entry<Rand>) -> *mut c_void;
    RAND_FREECTX = 2: Free;
    RAND_INSTANTIATE = 3:
        unsafe extern "C" fn(*mut c_void, c_uint, c_int, *const u8, usize, *const Param) -> c_int;
    RAND_UNINSTANTIATE = 4: Finish;
    RAND_GENERATE = 5:
        unsafe extern "C" fn(*mut c_void, *mut u8, usize, c_uint, c_int, *const u8, usize) -> c_int;
    RAND_RESEED = 6:
        unsafe extern "C" fn(*mut c_void, c_int, *const u8, usize, *const u8, usize) -> c_int;
    RAND_ENABLE_LOCKING = 8: Finish;
    RAND_LOCK = 9: Finish;
    RAND_UNLOCK = 10: Free;
    RAND_GETTABLE_CTX_PARAMS = 12: ContextParams;
    RAND_GET_CTX_PARAMS = 15: GetParams;
}

functions! {
    /// Key management (provider-keymgmt(7)).
    Keymgmt:
    KEYMGMT_NEW = 1: New;
    KEYMGMT_GEN_INIT = 2: Import;
    KEYMGMT_GEN_SET_TEMPLATE = 3: unsafe extern "C" fn(*mut c_void, *mut c_void) -> c_int;
    KEYMGMT_GEN_SET_PARAMS = 4: SetParams;
    KEYMGMT_GEN_SETTABLE_PARAMS = 5: ContextParams;
    KEYMGMT_GEN = 6:
        unsafe extern "C" fn(*mut c_void, Option<Callback>, *mut c_void) -> *mut c_void;
    KEYMGMT_GEN_CLEANUP = 7: Free;
    KEYMGMT_LOAD = 8: unsafe extern "C" fn(*const c_void, usize) -> *mut c_void;
    KEYMGMT_FREE = 10: Free;
    KEYMGMT_GET_PARAMS = 11: GetParams;
    KEYMGMT_GETTABLE_PARAMS = 12: ProviderParams;
    KEYMGMT_SET_PARAMS = 13: SetParams;
    KEYMGMT_SETTABLE_PARAMS = 14: ProviderParams;
    KEYMGMT_QUERY_OPERATION_NAME = 20: unsafe extern "C" fn(c_int) -> *const c_char;
    KEYMGMT_HAS = 21: unsafe extern "C" fn(*const c_void, c_int) -> c_int;
    KEYMGMT_VALIDATE = 22: unsafe extern "C" fn(*const c_void, c_int, c_int) -> c_int;
    KEYMGMT_MATCH = 23: unsafe extern "C" fn(*const c_void, *const c_void, c_int) -> c_int;
    KEYMGMT_IMPORT = 40: unsafe extern "C" fn(*mut c_void, c_int, *const Param) -> c_int;
    KEYMGMT_IMPORT_TYPES = 41: unsafe extern "C" fn(c_int) -> *const Param;
    KEYMGMT_EXPORT = 42: Export;
    KEYMGMT_EXPORT_TYPES = 43: unsafe extern "C" fn(c_int) -> *const Param;
    KEYMGMT_DUP = 44: unsafe extern "C" fn(*const c_void, c_int) -> *mut c_void;
}

functions! {
    /// Signatures (provider-signature(7)).
    Signature:
    SIGNATURE_NEWCTX = 1: unsafe extern "C" fn(*mut c_void, *const c_char) -> *mut c_void;
    SIGNATURE_SIGN_INIT = 2: Init;
    SIGNATURE_SIGN = 3: Transform;
    SIGNATURE_VERIFY_INIT = 4: Init;
    SIGNATURE_VERIFY = 5: Verify;
    SIGNATURE_VERIFY_RECOVER_INIT = 6: Init;
    SIGNATURE_VERIFY_RECOVER = 7: Transform;
    SIGNATURE_DIGEST_SIGN_INIT = 8: DigestInit;
    SIGNATURE_DIGEST_SIGN_UPDATE = 9: Take;
    SIGNATURE_DIGEST_SIGN_FINAL = 10: Give;
    SIGNATURE_DIGEST_SIGN = 11: Transform;
    SIGNATURE_DIGEST_VERIFY_INIT = 12: DigestInit;
    SIGNATURE_DIGEST_VERIFY_UPDATE = 13: Take;
    SIGNATURE_DIGEST_VERIFY_FINAL = 14: Take;
    SIGNATURE_DIGEST_VERIFY = 15: Verify;
    SIGNATURE_FREECTX = 16: Free;
    SIGNATURE_DUPCTX = 17: Duplicate;
    SIGNATURE_GET_CTX_PARAMS = 18: GetParams;
    SIGNATURE_GETTABLE_CTX_PARAMS = 19: ContextParams;
    SIGNATURE_SET_CTX_PARAMS = 20: SetParams;
    SIGNATURE_SETTABLE_CTX_PARAMS = 21: ContextParams;
    SIGNATURE_GET_CTX_MD_PARAMS = 22: GetParams;
    SIGNATURE_GETTABLE_CTX_MD_PARAMS = 23: ProviderParams;
    SIGNATURE_SET_CTX_MD_PARAMS = 24: SetParams;
    SIGNATURE_SETTABLE_CTX_MD_PARAMS = 25: ProviderParams;
    SIGNATURE_QUERY_KEY_TYPES = 26: unsafe extern "C" fn() -> *mut *const c_char;
    SIGNATURE_SIGN_MESSAGE_INIT = 27: Init;
    SIGNATURE_SIGN_MESSAGE_UPDATE = 28: Take;
    SIGNATURE_SIGN_MESSAGE_FINAL = 29: Give;
    SIGNATURE_VERIFY_MESSAGE_INIT = 30: Init;
    SIGNATURE_VERIFY_MESSAGE_UPDATE = 31: Take;
    SIGNATURE_VERIFY_MESSAGE_FINAL = 32: Finish;
}

impl InContext for Signature {
    const FREE: Id<Self, Free> = SIGNATURE_FREECTX;
    const DUPLICATE: Id<Self, Duplicate> = SIGNATURE_DUPCTX;
}

functions! {
    /// Encryption with an `EVP_PKEY` (provider-asym_cipher(7)).
    AsymCipher:
    ASYM_CIPHER_NEWCTX = 1: New;
    ASYM_CIPHER_ENCRYPT_INIT = 2: Init;
    ASYM_CIPHER_ENCRYPT = 3: Transform;
    ASYM_CIPHER_DECRYPT_INIT = 4: Init;
    ASYM_CIPHER_DECRYPT = 5: Transform;
    ASYM_CIPHER_FREECTX = 6: Free;
    ASYM_CIPHER_DUPCTX = 7: Duplicate;
    ASYM_CIPHER_GET_CTX_PARAMS = 8: GetParams;
    ASYM_CIPHER_GETTABLE_CTX_PARAMS = 9: ContextParams;
    ASYM_CIPHER_SET_CTX_PARAMS = 10: SetParams;
    ASYM_CIPHER_SETTABLE_CTX_PARAMS = 11: ContextParams;
}

impl InContext for AsymCipher {
    const FREE: Id<Self, Free> = ASYM_CIPHER_FREECTX;
    const DUPLICATE: Id<Self, Duplicate> = ASYM_CIPHER_DUPCTX;
}

functions! {
    /// Symmetric ciphers (provider-cipher(7)).
    Cipher:
    CIPHER_NEWCTX = 1: New;
    CIPHER_ENCRYPT_INIT = 2: CipherInit;
    CIPHER_DECRYPT_INIT = 3: CipherInit;
    CIPHER_UPDATE = 4: Transform;
    CIPHER_FINAL = 5: Give;
    CIPHER_CIPHER = 6: Transform;
    CIPHER_FREECTX = 7: Free;
    CIPHER_DUPCTX = 8: Duplicate;
    CIPHER_GET_PARAMS = 9: unsafe extern "C" fn(*mut Param) -> c_int;
    CIPHER_GET_CTX_PARAMS = 10: GetParams;
    CIPHER_SET_CTX_PARAMS = 11: SetParams;
    CIPHER_GETTABLE_PARAMS = 12: ProviderParams;
    CIPHER_GETTABLE_CTX_PARAMS = 13: ContextParams;
    CIPHER_SETTABLE_CTX_PARAMS = 14: ContextParams;
    CIPHER_ENCRYPT_SKEY_INIT = 19: SecretInit;
    CIPHER_DECRYPT_SKEY_INIT = 20: SecretInit;
}

impl InContext for Cipher {
    const FREE: Id<Self, Free> = CIPHER_FREECTX;
    const DUPLICATE: Id<Self, Duplicate> = CIPHER_DUPCTX;
}

functions! {
    /// Management of secret keys (provider-skeymgmt(7)).
    Skeymgmt:
    SKEYMGMT_FREE = 1: Free;
    SKEYMGMT_IMPORT = 2: Import;
    SKEYMGMT_EXPORT = 3: Export;
    SKEYMGMT_GENERATE = 4: unsafe extern "C" fn(*mut c_void, *const Param) -> *mut c_void;
    SKEYMGMT_GET_KEY_ID = 5: unsafe extern "C" fn(*mut c_void) -> *const c_char;
    SKEYMGMT_IMP_SETTABLE_PARAMS = 6: ProviderParams;
    SKEYMGMT_GEN_SETTABLE_PARAMS = 7: ProviderParams;
}

functions! {
    /// Encoders (provider-encoder(7)).
    Encoder:
    ENCODER_NEWCTX = 1: New;
    ENCODER_FREECTX = 2: Free;
    ENCODER_SET_CTX_PARAMS = 5: SetParams;
    ENCODER_SETTABLE_CTX_PARAMS = 6: ProviderParams;
    ENCODER_DOES_SELECTION = 10: DoesSelection;
    ENCODER_ENCODE = 11: unsafe extern "C" fn(
        *mut c_void, *mut CoreBio, *const c_void, *const Param, c_int, Passphrase, *mut c_void,
    ) -> c_int;
    ENCODER_IMPORT_OBJECT = 20: Import;
    ENCODER_FREE_OBJECT = 21: Free;
}

functions! {
    /// Decoders (provider-decoder(7)).
    Decoder:
    DECODER_NEWCTX = 1: New;
    DECODER_FREECTX = 2: Free;
    DECODER_DOES_SELECTION = 10: DoesSelection;
    DECODER_DECODE = 11: unsafe extern "C" fn(
        *mut c_void, *mut CoreBio, c_int, Callback, *mut c_void, Passphrase, *mut c_void,
    ) -> c_int;
    DECODER_EXPORT_OBJECT = 20: unsafe extern "C" fn(
        *mut c_void, *const c_void, usize, Callback, *mut c_void,
    ) -> c_int;
}

functions! {
    /// Stores (provider-storemgmt(7)).
    Store:
    STORE_OPEN = 1: unsafe extern "C" fn(*mut c_void, *const c_char) -> *mut c_void;
    STORE_ATTACH = 2: unsafe extern "C" fn(*mut c_void, *mut CoreBio) -> *mut c_void;
    STORE_SETTABLE_CTX_PARAMS = 3: ProviderParams;
    STORE_SET_CTX_PARAMS = 4: SetParams;
    STORE_LOAD = 5: unsafe extern "C-unwind" fn(
        *mut c_void, Callback, *mut c_void, Passphrase, *mut c_void,
    ) -> c_int;
    STORE_EOF = 6: Finish;
    STORE_CLOSE = 7: Finish;
    STORE_DELETE = 9: unsafe extern "C" fn(
        *mut c_void, *const c_char, *const Param, Passphrase, *mut c_void,
    ) -> c_int;
}
