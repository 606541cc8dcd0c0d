//! The functions of libcrypto that sequences of calls are made of.

use std::ffi::{CStr, c_char, c_int, c_uchar, c_void};
use std::sync::LazyLock;

use super::program::Param;

/// An object of libcrypto's, of whichever type.
pub type Pointer = *mut c_void;

type MessageInit = unsafe extern "C" fn(Pointer, Pointer, *const Param) -> c_int;
type MessageUpdate = unsafe extern "C" fn(Pointer, *const c_uchar, usize) -> c_int;

/// The functions that sign and verify messages, which libcrypto has from 3.4 on.
pub struct Messages {
    pub sign_init: MessageInit,
    pub sign_update: MessageUpdate,
    pub sign_final: unsafe extern "C" fn(Pointer, *mut c_uchar, *mut usize) -> c_int,
    pub verify_init: MessageInit,
    pub verify_update: MessageUpdate,
    pub verify_final: unsafe extern "C" fn(Pointer) -> c_int,
    pub set_signature: MessageUpdate,
}

pub static MESSAGES: LazyLock<Option<Messages>> = LazyLock::new(|| {
    // SAFETY: the name ends with a NUL; each address is that of the function with these types.
    let find = |name: &CStr| unsafe {
        let address = libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr());
        (!address.is_null()).then_some(address)
    };
    // SAFETY: as before.
    unsafe {
        Some(Messages {
            sign_init: std::mem::transmute::<Pointer, MessageInit>(find(
                c"EVP_PKEY_sign_message_init",
            )?),
            sign_update: std::mem::transmute::<Pointer, MessageUpdate>(find(
                c"EVP_PKEY_sign_message_update",
            )?),
            sign_final: std::mem::transmute::<
                Pointer,
                unsafe extern "C" fn(Pointer, *mut c_uchar, *mut usize) -> c_int,
            >(find(c"EVP_PKEY_sign_message_final")?),
            verify_init: std::mem::transmute::<Pointer, MessageInit>(find(
                c"EVP_PKEY_verify_message_init",
            )?),
            verify_update: std::mem::transmute::<Pointer, MessageUpdate>(find(
                c"EVP_PKEY_verify_message_update",
            )?),
            verify_final: std::mem::transmute::<Pointer, unsafe extern "C" fn(Pointer) -> c_int>(
                find(c"EVP_PKEY_verify_message_final")?,
            ),
            set_signature: std::mem::transmute::<Pointer, MessageUpdate>(find(
                c"EVP_PKEY_CTX_set_signature",
            )?),
        })
    }
});

unsafe extern "C" {
    pub fn OSSL_STORE_open_ex(
        uri: *const c_char,
        context: Pointer,
        properties: *const c_char,
        ui: Pointer,
        ui_data: Pointer,
        params: *const Param,
        post: Pointer,
        post_data: Pointer,
    ) -> Pointer;
    pub fn OSSL_STORE_expect(store: Pointer, kind: c_int) -> c_int;
    pub fn OSSL_STORE_load(store: Pointer) -> Pointer;
    pub fn OSSL_STORE_eof(store: Pointer) -> c_int;
    pub fn OSSL_STORE_close(store: Pointer) -> c_int;
    pub fn OSSL_STORE_INFO_get1_PKEY(info: Pointer) -> Pointer;
    pub fn OSSL_STORE_INFO_free(info: Pointer);
    pub fn EVP_PKEY_free(key: Pointer);
    pub fn EVP_PKEY_up_ref(key: Pointer) -> c_int;
    pub fn EVP_PKEY_dup(key: Pointer) -> Pointer;
    pub fn EVP_PKEY_get_size(key: Pointer) -> c_int;
    pub fn EVP_PKEY_eq(a: Pointer, b: Pointer) -> c_int;
    pub fn EVP_PKEY_get_params(key: Pointer, params: *mut Param) -> c_int;
    pub fn EVP_PKEY_set_params(key: Pointer, params: *mut Param) -> c_int;
    pub fn EVP_PKEY_todata(key: Pointer, selection: c_int, params: *mut *mut Param) -> c_int;
    pub fn OSSL_PARAM_free(params: *mut Param);
    pub fn EVP_PKEY_CTX_new_from_pkey(
        context: Pointer,
        key: Pointer,
        properties: *const c_char,
    ) -> Pointer;
    pub fn EVP_PKEY_CTX_new_from_name(
        context: Pointer,
        name: *const c_char,
        properties: *const c_char,
    ) -> Pointer;
    pub fn EVP_PKEY_CTX_free(context: Pointer);
    pub fn EVP_PKEY_CTX_dup(context: Pointer) -> Pointer;
    pub fn EVP_PKEY_CTX_set_params(context: Pointer, params: *const Param) -> c_int;
    pub fn EVP_PKEY_CTX_get_params(context: Pointer, params: *mut Param) -> c_int;
    pub fn EVP_PKEY_CTX_ctrl_str(
        context: Pointer,
        name: *const c_char,
        value: *const c_char,
    ) -> c_int;
    pub fn EVP_PKEY_sign_init_ex(context: Pointer, params: *const Param) -> c_int;
    pub fn EVP_PKEY_sign(
        context: Pointer,
        out: *mut c_uchar,
        len: *mut usize,
        data: *const c_uchar,
        data_len: usize,
    ) -> c_int;
    pub fn EVP_PKEY_verify_init_ex(context: Pointer, params: *const Param) -> c_int;
    pub fn EVP_PKEY_verify(
        context: Pointer,
        signature: *const c_uchar,
        len: usize,
        data: *const c_uchar,
        data_len: usize,
    ) -> c_int;
    pub fn EVP_PKEY_verify_recover_init_ex(context: Pointer, params: *const Param) -> c_int;
    pub fn EVP_PKEY_verify_recover(
        context: Pointer,
        out: *mut c_uchar,
        len: *mut usize,
        data: *const c_uchar,
        data_len: usize,
    ) -> c_int;
    pub fn EVP_PKEY_encrypt_init_ex(context: Pointer, params: *const Param) -> c_int;
    pub fn EVP_PKEY_encrypt(
        context: Pointer,
        out: *mut c_uchar,
        len: *mut usize,
        data: *const c_uchar,
        data_len: usize,
    ) -> c_int;
    pub fn EVP_PKEY_decrypt_init_ex(context: Pointer, params: *const Param) -> c_int;
    pub fn EVP_PKEY_decrypt(
        context: Pointer,
        out: *mut c_uchar,
        len: *mut usize,
        data: *const c_uchar,
        data_len: usize,
    ) -> c_int;
    pub fn EVP_PKEY_derive_init_ex(context: Pointer, params: *const Param) -> c_int;
    pub fn EVP_PKEY_keygen_init(context: Pointer) -> c_int;
    pub fn EVP_PKEY_generate(context: Pointer, key: *mut Pointer) -> c_int;
    pub fn EVP_PKEY_check(context: Pointer) -> c_int;
    pub fn EVP_PKEY_fromdata_init(context: Pointer) -> c_int;
    pub fn EVP_PKEY_fromdata(
        context: Pointer,
        key: *mut Pointer,
        selection: c_int,
        params: *mut Param,
    ) -> c_int;
    pub fn EVP_SIGNATURE_fetch(
        library: Pointer,
        name: *const c_char,
        properties: *const c_char,
    ) -> Pointer;
    pub fn EVP_SIGNATURE_free(algorithm: Pointer);
    pub fn EVP_MD_CTX_new() -> Pointer;
    pub fn EVP_MD_CTX_free(context: Pointer);
    pub fn EVP_MD_CTX_get_pkey_ctx(context: *const c_void) -> Pointer;
    pub fn EVP_MD_CTX_copy_ex(to: Pointer, from: *const c_void) -> c_int;
    pub fn EVP_DigestSignInit_ex(
        context: Pointer,
        pkey_context: *mut Pointer,
        digest: *const c_char,
        library: Pointer,
        properties: *const c_char,
        key: Pointer,
        params: *const Param,
    ) -> c_int;
    pub fn EVP_DigestVerifyInit_ex(
        context: Pointer,
        pkey_context: *mut Pointer,
        digest: *const c_char,
        library: Pointer,
        properties: *const c_char,
        key: Pointer,
        params: *const Param,
    ) -> c_int;
    pub fn EVP_DigestSignUpdate(context: Pointer, data: *const c_void, len: usize) -> c_int;
    pub fn EVP_DigestVerifyUpdate(context: Pointer, data: *const c_void, len: usize) -> c_int;
    pub fn EVP_DigestSignFinal(context: Pointer, out: *mut c_uchar, len: *mut usize) -> c_int;
    pub fn EVP_DigestVerifyFinal(context: Pointer, signature: *const c_uchar, len: usize) -> c_int;
    pub fn EVP_DigestSign(
        context: Pointer,
        out: *mut c_uchar,
        len: *mut usize,
        data: *const c_uchar,
        data_len: usize,
    ) -> c_int;
    pub fn EVP_DigestVerify(
        context: Pointer,
        signature: *const c_uchar,
        len: usize,
        data: *const c_uchar,
        data_len: usize,
    ) -> c_int;
    pub fn OSSL_DECODER_CTX_new_for_pkey(
        key: *mut Pointer,
        input: *const c_char,
        structure: *const c_char,
        key_type: *const c_char,
        selection: c_int,
        library: Pointer,
        properties: *const c_char,
    ) -> Pointer;
    pub fn OSSL_DECODER_CTX_free(context: Pointer);
    pub fn OSSL_DECODER_from_data(
        context: Pointer,
        data: *mut *const c_uchar,
        len: *mut usize,
    ) -> c_int;
    pub fn OSSL_ENCODER_CTX_new_for_pkey(
        key: Pointer,
        selection: c_int,
        output: *const c_char,
        structure: *const c_char,
        properties: *const c_char,
    ) -> Pointer;
    pub fn OSSL_ENCODER_CTX_free(context: Pointer);
    pub fn OSSL_ENCODER_to_data(
        context: Pointer,
        data: *mut *mut c_uchar,
        len: *mut usize,
    ) -> c_int;
    pub fn CRYPTO_free(pointer: Pointer, file: *const c_char, line: c_int);
}
