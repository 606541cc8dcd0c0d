//! The C types and numbers of `<openssl/core.h>`, `<openssl/core_dispatch.h>` and `<openssl/core_object.h>`.
//!
//! OpenSSL only ever appends to these, so one set of numbers serves every release from 3.0 on.

use std::ffi::{c_char, c_int, c_uint, c_void};

/// `OSSL_CORE_HANDLE`: the core's name for this provider.
#[repr(C)]
pub(crate) struct CoreHandle {
    _opaque: [u8; 0],
}

/// `OSSL_DISPATCH`: a numbered function.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Dispatch {
    pub(crate) function_id: c_int,
    pub(crate) function: *const c_void,
}

// SAFETY: a dispatch entry is an immutable pair of a number and the address of a function.
unsafe impl Sync for Dispatch {}

impl Dispatch {
    pub(crate) const END: Self = Self {
        function_id: 0,
        function: std::ptr::null(),
    };

    pub(crate) const fn new(function_id: c_int, function: *const c_void) -> Self {
        Self {
            function_id,
            function,
        }
    }
}

/// `OSSL_ALGORITHM`: an implementation with its names and properties.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Algorithm {
    pub(crate) names: *const c_char,
    pub(crate) properties: *const c_char,
    pub(crate) implementation: *const Dispatch,
    pub(crate) description: *const c_char,
}

// SAFETY: the pointers lead to static data that nobody writes.
unsafe impl Sync for Algorithm {}

impl Algorithm {
    pub(crate) const END: Self = Self {
        names: std::ptr::null(),
        properties: std::ptr::null(),
        implementation: std::ptr::null(),
        description: std::ptr::null(),
    };
}

/// `OSSL_PARAM`: a named value, passed in or asked for.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Param {
    pub(crate) key: *const c_char,
    pub(crate) data_type: c_uint,
    pub(crate) data: *mut c_void,
    pub(crate) data_size: usize,
    pub(crate) return_size: usize,
}

// SAFETY: only descriptor tables (no data pointer) are shared between threads; they are never written.
unsafe impl Sync for Param {}

/// `OSSL_ITEM`: a reason code with its text.
#[repr(C)]
pub(crate) struct Item {
    pub(crate) id: c_uint,
    pub(crate) text: *const c_char,
}

// SAFETY: the pointer leads to static text.
unsafe impl Sync for Item {}

/// `OSSL_CALLBACK`: takes a list of parameters.
pub(crate) type Callback = unsafe extern "C" fn(params: *const Param, arg: *mut c_void) -> c_int;

pub(crate) const PARAM_INTEGER: c_uint = 1;
pub(crate) const PARAM_UNSIGNED_INTEGER: c_uint = 2;
pub(crate) const PARAM_UTF8_STRING: c_uint = 4;
pub(crate) const PARAM_OCTET_STRING: c_uint = 5;
pub(crate) const PARAM_UTF8_PTR: c_uint = 6;
pub(crate) const PARAM_OCTET_PTR: c_uint = 7;
pub(crate) const PARAM_UNMODIFIED: usize = usize::MAX;

pub(crate) const OP_RAND: c_int = 5;
pub(crate) const OP_CIPHER: c_int = 2;
pub(crate) const OP_KEYMGMT: c_int = 10;
pub(crate) const OP_KEYEXCH: c_int = 11;
pub(crate) const OP_SIGNATURE: c_int = 12;
pub(crate) const OP_ASYM_CIPHER: c_int = 13;
pub(crate) const OP_SKEYMGMT: c_int = 15;
pub(crate) const OP_ENCODER: c_int = 20;
pub(crate) const OP_DECODER: c_int = 21;
pub(crate) const OP_STORE: c_int = 22;

pub(crate) const CORE_GET_PARAMS: c_int = 2;
pub(crate) const CORE_GET_LIBCTX: c_int = 4;
pub(crate) const CORE_NEW_ERROR: c_int = 5;
pub(crate) const CORE_SET_ERROR_DEBUG: c_int = 6;
pub(crate) const CORE_VSET_ERROR: c_int = 7;
pub(crate) const CORE_SET_ERROR_MARK: c_int = 8;
pub(crate) const CORE_CLEAR_LAST_ERROR_MARK: c_int = 9;
pub(crate) const CORE_POP_ERROR_TO_MARK: c_int = 10;

pub(crate) const BIO_READ_EX: c_int = 42;
pub(crate) const BIO_WRITE_EX: c_int = 43;
pub(crate) const BIO_GETS: c_int = 49;

pub(crate) const PROVIDER_REGISTER_CHILD_CB: c_int = 105;
pub(crate) const PROVIDER_GET0_PROVIDER_CTX: c_int = 108;
pub(crate) const PROVIDER_GET0_DISPATCH: c_int = 109;
pub(crate) const PROVIDER_UP_REF: c_int = 110;
pub(crate) const PROVIDER_FREE: c_int = 111;

pub(crate) const PROVIDER_TEARDOWN: c_int = 1024;
pub(crate) const PROVIDER_GETTABLE_PARAMS: c_int = 1025;
pub(crate) const PROVIDER_GET_PARAMS: c_int = 1026;
pub(crate) const PROVIDER_QUERY_OPERATION: c_int = 1027;
pub(crate) const PROVIDER_GET_REASON_STRINGS: c_int = 1029;
pub(crate) const PROVIDER_GET_CAPABILITIES: c_int = 1030;
pub(crate) const PROVIDER_SELF_TEST: c_int = 1031;

pub(crate) const RAND_NEWCTX: c_int = 1;
pub(crate) const RAND_FREECTX: c_int = 2;
pub(crate) const RAND_INSTANTIATE: c_int = 3;
pub(crate) const RAND_UNINSTANTIATE: c_int = 4;
pub(crate) const RAND_GENERATE: c_int = 5;
pub(crate) const RAND_RESEED: c_int = 6;
pub(crate) const RAND_ENABLE_LOCKING: c_int = 8;
pub(crate) const RAND_LOCK: c_int = 9;
pub(crate) const RAND_UNLOCK: c_int = 10;
pub(crate) const RAND_GETTABLE_CTX_PARAMS: c_int = 12;
pub(crate) const RAND_GET_CTX_PARAMS: c_int = 15;

pub(crate) const KEYMGMT_NEW: c_int = 1;
pub(crate) const KEYMGMT_GEN_INIT: c_int = 2;
pub(crate) const KEYMGMT_GEN_SET_TEMPLATE: c_int = 3;
pub(crate) const KEYMGMT_GEN_SET_PARAMS: c_int = 4;
pub(crate) const KEYMGMT_GEN_SETTABLE_PARAMS: c_int = 5;
pub(crate) const KEYMGMT_GEN: c_int = 6;
pub(crate) const KEYMGMT_GEN_CLEANUP: c_int = 7;
pub(crate) const KEYMGMT_LOAD: c_int = 8;
pub(crate) const KEYMGMT_FREE: c_int = 10;
pub(crate) const KEYMGMT_GET_PARAMS: c_int = 11;
pub(crate) const KEYMGMT_GETTABLE_PARAMS: c_int = 12;
pub(crate) const KEYMGMT_SET_PARAMS: c_int = 13;
pub(crate) const KEYMGMT_SETTABLE_PARAMS: c_int = 14;
pub(crate) const KEYMGMT_QUERY_OPERATION_NAME: c_int = 20;
pub(crate) const KEYMGMT_HAS: c_int = 21;
pub(crate) const KEYMGMT_VALIDATE: c_int = 22;
pub(crate) const KEYMGMT_MATCH: c_int = 23;
pub(crate) const KEYMGMT_IMPORT: c_int = 40;
pub(crate) const KEYMGMT_IMPORT_TYPES: c_int = 41;
pub(crate) const KEYMGMT_EXPORT: c_int = 42;
pub(crate) const KEYMGMT_EXPORT_TYPES: c_int = 43;
pub(crate) const KEYMGMT_DUP: c_int = 44;

pub(crate) const SELECT_PRIVATE_KEY: c_int = 0x01;
pub(crate) const SELECT_PUBLIC_KEY: c_int = 0x02;
pub(crate) const SELECT_DOMAIN_PARAMETERS: c_int = 0x04;
pub(crate) const SELECT_ALL_PARAMETERS: c_int = 0x84;
/// A key with all its parts.
pub(crate) const SELECT_ALL: c_int = 0x87;

pub(crate) const SIGNATURE_NEWCTX: c_int = 1;
pub(crate) const SIGNATURE_SIGN_INIT: c_int = 2;
pub(crate) const SIGNATURE_SIGN: c_int = 3;
pub(crate) const SIGNATURE_VERIFY_INIT: c_int = 4;
pub(crate) const SIGNATURE_VERIFY: c_int = 5;
pub(crate) const SIGNATURE_VERIFY_RECOVER_INIT: c_int = 6;
pub(crate) const SIGNATURE_VERIFY_RECOVER: c_int = 7;
pub(crate) const SIGNATURE_DIGEST_SIGN_INIT: c_int = 8;
pub(crate) const SIGNATURE_DIGEST_SIGN_UPDATE: c_int = 9;
pub(crate) const SIGNATURE_DIGEST_SIGN_FINAL: c_int = 10;
pub(crate) const SIGNATURE_DIGEST_SIGN: c_int = 11;
pub(crate) const SIGNATURE_DIGEST_VERIFY_INIT: c_int = 12;
pub(crate) const SIGNATURE_DIGEST_VERIFY_UPDATE: c_int = 13;
pub(crate) const SIGNATURE_DIGEST_VERIFY_FINAL: c_int = 14;
pub(crate) const SIGNATURE_DIGEST_VERIFY: c_int = 15;
pub(crate) const SIGNATURE_FREECTX: c_int = 16;
pub(crate) const SIGNATURE_DUPCTX: c_int = 17;
pub(crate) const SIGNATURE_GET_CTX_PARAMS: c_int = 18;
pub(crate) const SIGNATURE_GETTABLE_CTX_PARAMS: c_int = 19;
pub(crate) const SIGNATURE_SET_CTX_PARAMS: c_int = 20;
pub(crate) const SIGNATURE_SETTABLE_CTX_PARAMS: c_int = 21;
pub(crate) const SIGNATURE_GET_CTX_MD_PARAMS: c_int = 22;
pub(crate) const SIGNATURE_GETTABLE_CTX_MD_PARAMS: c_int = 23;
pub(crate) const SIGNATURE_SET_CTX_MD_PARAMS: c_int = 24;
pub(crate) const SIGNATURE_SETTABLE_CTX_MD_PARAMS: c_int = 25;
pub(crate) const SIGNATURE_QUERY_KEY_TYPES: c_int = 26;
pub(crate) const SIGNATURE_SIGN_MESSAGE_INIT: c_int = 27;
pub(crate) const SIGNATURE_SIGN_MESSAGE_UPDATE: c_int = 28;
pub(crate) const SIGNATURE_SIGN_MESSAGE_FINAL: c_int = 29;
pub(crate) const SIGNATURE_VERIFY_MESSAGE_INIT: c_int = 30;
pub(crate) const SIGNATURE_VERIFY_MESSAGE_UPDATE: c_int = 31;
pub(crate) const SIGNATURE_VERIFY_MESSAGE_FINAL: c_int = 32;

pub(crate) const ASYM_CIPHER_NEWCTX: c_int = 1;
pub(crate) const ASYM_CIPHER_ENCRYPT_INIT: c_int = 2;
pub(crate) const ASYM_CIPHER_ENCRYPT: c_int = 3;
pub(crate) const ASYM_CIPHER_DECRYPT_INIT: c_int = 4;
pub(crate) const ASYM_CIPHER_DECRYPT: c_int = 5;
pub(crate) const ASYM_CIPHER_FREECTX: c_int = 6;
pub(crate) const ASYM_CIPHER_DUPCTX: c_int = 7;
pub(crate) const ASYM_CIPHER_GET_CTX_PARAMS: c_int = 8;
pub(crate) const ASYM_CIPHER_GETTABLE_CTX_PARAMS: c_int = 9;
pub(crate) const ASYM_CIPHER_SET_CTX_PARAMS: c_int = 10;
pub(crate) const ASYM_CIPHER_SETTABLE_CTX_PARAMS: c_int = 11;

pub(crate) const STORE_OPEN: c_int = 1;
pub(crate) const STORE_SETTABLE_CTX_PARAMS: c_int = 3;
pub(crate) const STORE_SET_CTX_PARAMS: c_int = 4;
pub(crate) const STORE_LOAD: c_int = 5;
pub(crate) const STORE_EOF: c_int = 6;
pub(crate) const STORE_CLOSE: c_int = 7;
pub(crate) const STORE_DELETE: c_int = 9;

pub(crate) const DECODER_NEWCTX: c_int = 1;
pub(crate) const DECODER_FREECTX: c_int = 2;
pub(crate) const DECODER_DOES_SELECTION: c_int = 10;
pub(crate) const DECODER_DECODE: c_int = 11;

pub(crate) const ENCODER_NEWCTX: c_int = 1;
pub(crate) const ENCODER_FREECTX: c_int = 2;
pub(crate) const ENCODER_SET_CTX_PARAMS: c_int = 5;
pub(crate) const ENCODER_SETTABLE_CTX_PARAMS: c_int = 6;
pub(crate) const ENCODER_DOES_SELECTION: c_int = 10;
pub(crate) const ENCODER_ENCODE: c_int = 11;
pub(crate) const ENCODER_IMPORT_OBJECT: c_int = 20;
pub(crate) const ENCODER_FREE_OBJECT: c_int = 21;

pub(crate) const CIPHER_NEWCTX: c_int = 1;
pub(crate) const CIPHER_ENCRYPT_INIT: c_int = 2;
pub(crate) const CIPHER_DECRYPT_INIT: c_int = 3;
pub(crate) const CIPHER_UPDATE: c_int = 4;
pub(crate) const CIPHER_FINAL: c_int = 5;
pub(crate) const CIPHER_CIPHER: c_int = 6;
pub(crate) const CIPHER_FREECTX: c_int = 7;
pub(crate) const CIPHER_DUPCTX: c_int = 8;
pub(crate) const CIPHER_GET_PARAMS: c_int = 9;
pub(crate) const CIPHER_GET_CTX_PARAMS: c_int = 10;
pub(crate) const CIPHER_SET_CTX_PARAMS: c_int = 11;
pub(crate) const CIPHER_GETTABLE_PARAMS: c_int = 12;
pub(crate) const CIPHER_GETTABLE_CTX_PARAMS: c_int = 13;
pub(crate) const CIPHER_SETTABLE_CTX_PARAMS: c_int = 14;
pub(crate) const CIPHER_ENCRYPT_SKEY_INIT: c_int = 19;
pub(crate) const CIPHER_DECRYPT_SKEY_INIT: c_int = 20;

pub(crate) const SKEYMGMT_SELECT_SECRET_KEY: c_int = 2;
pub(crate) const SKEYMGMT_FREE: c_int = 1;
pub(crate) const SKEYMGMT_IMPORT: c_int = 2;
pub(crate) const SKEYMGMT_EXPORT: c_int = 3;
pub(crate) const SKEYMGMT_GENERATE: c_int = 4;
pub(crate) const SKEYMGMT_GET_KEY_ID: c_int = 5;
pub(crate) const SKEYMGMT_IMP_SETTABLE_PARAMS: c_int = 6;
pub(crate) const SKEYMGMT_GEN_SETTABLE_PARAMS: c_int = 7;

pub(crate) const OBJECT_NAME: c_int = 1;
pub(crate) const OBJECT_PKEY: c_int = 2;
