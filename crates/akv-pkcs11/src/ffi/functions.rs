//! The functions that programs call: one line for each, with the conversion of its arguments and
//! the ordinary function that does it.

use std::ffi::c_void;

use cryptoki_sys::*;

use super::{boundary, convert};
use crate::error::Error;
use crate::{
    digests, encrypting, find, general, key_pairs, login, message_encryption, message_signing,
    objects, random, secret_keys, sessions, signing, slots, verifying,
};

/// A function that programs call. One that has asked the HSM is a cancellation point once it is
/// done, as whatever waits for a network is: nothing that has to be dropped is in its frame.
macro_rules! exported {
    ($(#[$attribute:meta])* $name:ident($($argument:tt: $type:ty),* $(,)?) => $code:expr) => {
        $(#[$attribute])*
        #[unsafe(no_mangle)]
        pub(super) unsafe extern "C-unwind" fn $name($($argument: $type),*) -> CK_RV {
            let code = $code;
            hsm_module::cancellation::end_if_cancelled();
            code
        }

        #[allow(non_snake_case, reason = "it is called as the function is")]
        pub(super) mod $name {
            use super::*;

            type Exported = unsafe extern "C-unwind" fn($($type),*) -> CK_RV;
            type Listed = unsafe extern "C" fn($($type),*) -> CK_RV;

            /// The function as `cryptoki-sys` has it in its tables, for programs in C.
            pub(in crate::ffi) const LISTED: Listed = {
                // SAFETY: the types differ in whether Rust's code may be unwound that calls by
                // them. None does.
                unsafe { std::mem::transmute::<Exported, Listed>(super::$name) }
            };
        }
    };
}
pub(super) use exported;

/// A function of PKCS#11 for each line: its arguments, each with its conversion, and what is called
/// with the module and what they become.
macro_rules! functions {
    ($($name:ident($($kind:ident($($argument:ident: $type:ty),+)),* $(,)?) => $target:path;)*) => {$(
        exported! {
            /// See PKCS#11.
            ///
            /// # Safety
            /// As PKCS#11 has it: a pointer is NULL, or leads to as many elements of its type as
            /// its count says.
            $name($($($argument: $type),+),*) => {
                boundary::call_initialized(stringify!($name), |module| {
                    // SAFETY: a program's pointer is NULL, or leads to what its count says
                    // (PKCS#11).
                    $target(module $(, unsafe { convert::$kind($($argument),+) })*)
                })
            }
        }
    )*};
}

/// A function of PKCS#11 for each line that always gives the same answer.
macro_rules! answers {
    ($($name:ident($($type:ty),* $(,)?) => $code:ident;)*) => {$(
        exported! {
            /// See PKCS#11.
            ///
            /// # Safety
            /// Nothing is looked at.
            $name($(_: $type),*) => {
                boundary::call_initialized(stringify!($name), |_| Err(Error::code($code)))
            }
        }
    )*};
}

/// The same for functions of sessions, which have to be there: that there is none is told first.
macro_rules! answers_in_sessions {
    ($($name:ident($($type:ty),* $(,)?) => $code:ident;)*) => {$(
        exported! {
            /// See PKCS#11.
            ///
            /// # Safety
            /// Nothing is looked at but the session's handle.
            $name(session: CK_SESSION_HANDLE $(, _: $type)*) => {
                boundary::call_initialized(stringify!($name), |module| {
                    module.session(session)?;
                    Err(Error::code($code))
                })
            }
        }
    )*};
}

exported! {
    /// Starts the module.
    ///
    /// # Safety
    /// As PKCS#11 has it: NULL, or a CK_C_INITIALIZE_ARGS.
    C_Initialize(args: *mut c_void) => {
        boundary::call("C_Initialize", || {
            // SAFETY: a program's pointer is NULL, or leads to what its count says (PKCS#11).
            general::initialize(unsafe { convert::initialize_args(args) })
        })
    }
}

functions! {
    // General.
    C_Finalize(place(reserved: *mut c_void)) => general::finalize;
    C_GetInfo(place(info: *mut CK_INFO)) => general::get_info;

    // Slots and tokens.
    C_GetSlotList(
        flag(present: CK_BBOOL),
        list(slots: *mut CK_SLOT_ID, count: *mut CK_ULONG),
    ) => slots::get_slot_list;
    C_GetSlotInfo(value(slot: CK_SLOT_ID), place(info: *mut CK_SLOT_INFO)) => slots::get_slot_info;
    C_GetTokenInfo(
        value(slot: CK_SLOT_ID),
        place(info: *mut CK_TOKEN_INFO),
    ) => slots::get_token_info;
    C_GetMechanismList(
        value(slot: CK_SLOT_ID),
        list(mechanisms: *mut CK_MECHANISM_TYPE, count: *mut CK_ULONG),
    ) => slots::get_mechanism_list;
    C_GetMechanismInfo(
        value(slot: CK_SLOT_ID),
        value(mechanism: CK_MECHANISM_TYPE),
        place(info: *mut CK_MECHANISM_INFO),
    ) => slots::get_mechanism_info;
    C_InitToken(
        value(slot: CK_SLOT_ID),
        value(pin: *mut CK_UTF8CHAR),
        value(pin_len: CK_ULONG),
        value(label: *mut CK_UTF8CHAR),
    ) => slots::init_token;
    C_WaitForSlotEvent(
        value(flags: CK_FLAGS),
        place(slot: *mut CK_SLOT_ID),
        place(reserved: *mut c_void),
    ) => slots::wait_for_slot_event;

    // Sessions.
    C_OpenSession(
        value(slot: CK_SLOT_ID),
        value(flags: CK_FLAGS),
        value(application: *mut c_void),
        value(notify: CK_NOTIFY),
        place(session: *mut CK_SESSION_HANDLE),
    ) => sessions::open;
    C_CloseSession(value(session: CK_SESSION_HANDLE)) => sessions::close;
    C_CloseAllSessions(value(slot: CK_SLOT_ID)) => sessions::close_all;
    C_GetSessionInfo(
        value(session: CK_SESSION_HANDLE),
        place(info: *mut CK_SESSION_INFO),
    ) => sessions::get_info;
    C_SessionCancel(value(session: CK_SESSION_HANDLE), value(flags: CK_FLAGS)) => sessions::cancel;
    C_GetOperationState(
        value(session: CK_SESSION_HANDLE),
        output(state: *mut CK_BYTE, len: *mut CK_ULONG),
    ) => sessions::get_operation_state;
    C_SetOperationState(
        value(session: CK_SESSION_HANDLE),
        bytes(state: *mut CK_BYTE, len: CK_ULONG),
        value(encryption_key: CK_OBJECT_HANDLE),
        value(authentication_key: CK_OBJECT_HANDLE),
    ) => sessions::set_operation_state;

    // Login.
    C_Login(
        value(session: CK_SESSION_HANDLE),
        value(user: CK_USER_TYPE),
        bytes(pin: *mut CK_UTF8CHAR, len: CK_ULONG),
    ) => login::login;
    C_LoginUser(
        value(session: CK_SESSION_HANDLE),
        value(user: CK_USER_TYPE),
        bytes(pin: *mut CK_UTF8CHAR, pin_len: CK_ULONG),
        bytes(name: *mut CK_UTF8CHAR, name_len: CK_ULONG),
    ) => login::login_user;
    C_Logout(value(session: CK_SESSION_HANDLE)) => login::logout;

    // Objects.
    C_CreateObject(
        value(session: CK_SESSION_HANDLE),
        template(template: *mut CK_ATTRIBUTE, count: CK_ULONG),
        place(object: *mut CK_OBJECT_HANDLE),
    ) => objects::create;
    C_CopyObject(
        value(session: CK_SESSION_HANDLE),
        value(object: CK_OBJECT_HANDLE),
        template(template: *mut CK_ATTRIBUTE, count: CK_ULONG),
        place(copied: *mut CK_OBJECT_HANDLE),
    ) => objects::copy;
    C_DestroyObject(
        value(session: CK_SESSION_HANDLE),
        value(object: CK_OBJECT_HANDLE),
    ) => objects::destroy;
    C_GetObjectSize(
        value(session: CK_SESSION_HANDLE),
        value(object: CK_OBJECT_HANDLE),
        place(size: *mut CK_ULONG),
    ) => objects::get_size;
    C_GetAttributeValue(
        value(session: CK_SESSION_HANDLE),
        value(object: CK_OBJECT_HANDLE),
        template(template: *mut CK_ATTRIBUTE, count: CK_ULONG),
    ) => objects::get_attributes;
    C_SetAttributeValue(
        value(session: CK_SESSION_HANDLE),
        value(object: CK_OBJECT_HANDLE),
        template(template: *mut CK_ATTRIBUTE, count: CK_ULONG),
    ) => objects::set_attributes;

    // Search.
    C_FindObjectsInit(
        value(session: CK_SESSION_HANDLE),
        template(template: *mut CK_ATTRIBUTE, count: CK_ULONG),
    ) => find::init;
    C_FindObjects(
        value(session: CK_SESSION_HANDLE),
        batch(objects: *mut CK_OBJECT_HANDLE, room: CK_ULONG, count: *mut CK_ULONG),
    ) => find::find;
    C_FindObjectsFinal(value(session: CK_SESSION_HANDLE)) => find::finish;

    // Signatures.
    C_SignInit(
        value(session: CK_SESSION_HANDLE),
        mechanism(mechanism: *mut CK_MECHANISM),
        value(key: CK_OBJECT_HANDLE),
    ) => signing::sign_init;
    C_Sign(
        value(session: CK_SESSION_HANDLE),
        bytes(data: *mut CK_BYTE, data_len: CK_ULONG),
        output(signature: *mut CK_BYTE, signature_len: *mut CK_ULONG),
    ) => signing::sign;
    C_SignUpdate(
        value(session: CK_SESSION_HANDLE),
        bytes(part: *mut CK_BYTE, len: CK_ULONG),
    ) => signing::sign_update;
    C_SignFinal(
        value(session: CK_SESSION_HANDLE),
        output(signature: *mut CK_BYTE, len: *mut CK_ULONG),
    ) => signing::sign_final;
    C_SignRecoverInit(
        value(session: CK_SESSION_HANDLE),
        mechanism(mechanism: *mut CK_MECHANISM),
        value(key: CK_OBJECT_HANDLE),
    ) => signing::sign_recover_init;
    C_SignRecover(
        value(session: CK_SESSION_HANDLE),
        bytes(data: *mut CK_BYTE, data_len: CK_ULONG),
        output(signature: *mut CK_BYTE, signature_len: *mut CK_ULONG),
    ) => signing::sign_recover;

    // Verification.
    C_VerifyInit(
        value(session: CK_SESSION_HANDLE),
        mechanism(mechanism: *mut CK_MECHANISM),
        value(key: CK_OBJECT_HANDLE),
    ) => verifying::verify_init;
    C_Verify(
        value(session: CK_SESSION_HANDLE),
        bytes(data: *mut CK_BYTE, data_len: CK_ULONG),
        bytes(signature: *mut CK_BYTE, signature_len: CK_ULONG),
    ) => verifying::verify;
    C_VerifyUpdate(
        value(session: CK_SESSION_HANDLE),
        bytes(part: *mut CK_BYTE, len: CK_ULONG),
    ) => verifying::verify_update;
    C_VerifyFinal(
        value(session: CK_SESSION_HANDLE),
        bytes(signature: *mut CK_BYTE, len: CK_ULONG),
    ) => verifying::verify_final;
    C_VerifyRecoverInit(
        value(session: CK_SESSION_HANDLE),
        mechanism(mechanism: *mut CK_MECHANISM),
        value(key: CK_OBJECT_HANDLE),
    ) => verifying::verify_recover_init;
    C_VerifyRecover(
        value(session: CK_SESSION_HANDLE),
        bytes(signature: *mut CK_BYTE, signature_len: CK_ULONG),
        output(data: *mut CK_BYTE, data_len: *mut CK_ULONG),
    ) => verifying::verify_recover;
    C_VerifySignatureInit(
        value(session: CK_SESSION_HANDLE),
        mechanism(mechanism: *mut CK_MECHANISM),
        value(key: CK_OBJECT_HANDLE),
        bytes(signature: *mut CK_BYTE, len: CK_ULONG),
    ) => verifying::verify_signature_init;
    C_VerifySignature(
        value(session: CK_SESSION_HANDLE),
        bytes(data: *mut CK_BYTE, len: CK_ULONG),
    ) => verifying::verify_signature;
    C_VerifySignatureUpdate(
        value(session: CK_SESSION_HANDLE),
        bytes(part: *mut CK_BYTE, len: CK_ULONG),
    ) => verifying::verify_signature_update;
    C_VerifySignatureFinal(value(session: CK_SESSION_HANDLE)) => verifying::verify_signature_final;

    // Signatures of messages.
    C_MessageSignInit(
        value(session: CK_SESSION_HANDLE),
        mechanism(mechanism: *mut CK_MECHANISM),
        value(key: CK_OBJECT_HANDLE),
    ) => message_signing::sign_init;
    C_SignMessage(
        value(session: CK_SESSION_HANDLE),
        message(parameter: *mut c_void, parameter_len: CK_ULONG),
        bytes(data: *mut CK_BYTE, data_len: CK_ULONG),
        output(signature: *mut CK_BYTE, signature_len: *mut CK_ULONG),
    ) => message_signing::sign_message;
    C_SignMessageBegin(
        value(session: CK_SESSION_HANDLE),
        message(parameter: *mut c_void, parameter_len: CK_ULONG),
    ) => message_signing::sign_begin;
    C_SignMessageNext(
        value(session: CK_SESSION_HANDLE),
        message(parameter: *mut c_void, parameter_len: CK_ULONG),
        bytes(part: *mut CK_BYTE, part_len: CK_ULONG),
        output(signature: *mut CK_BYTE, signature_len: *mut CK_ULONG),
    ) => message_signing::sign_next;
    C_MessageSignFinal(value(session: CK_SESSION_HANDLE)) => message_signing::sign_final;
    C_MessageVerifyInit(
        value(session: CK_SESSION_HANDLE),
        mechanism(mechanism: *mut CK_MECHANISM),
        value(key: CK_OBJECT_HANDLE),
    ) => message_signing::verify_init;
    C_VerifyMessage(
        value(session: CK_SESSION_HANDLE),
        message(parameter: *mut c_void, parameter_len: CK_ULONG),
        bytes(data: *mut CK_BYTE, data_len: CK_ULONG),
        bytes(signature: *mut CK_BYTE, signature_len: CK_ULONG),
    ) => message_signing::verify_message;
    C_VerifyMessageBegin(
        value(session: CK_SESSION_HANDLE),
        message(parameter: *mut c_void, parameter_len: CK_ULONG),
    ) => message_signing::verify_begin;
    C_VerifyMessageNext(
        value(session: CK_SESSION_HANDLE),
        message(parameter: *mut c_void, parameter_len: CK_ULONG),
        bytes(part: *mut CK_BYTE, part_len: CK_ULONG),
        bytes(signature: *mut CK_BYTE, signature_len: CK_ULONG),
    ) => message_signing::verify_next;
    C_MessageVerifyFinal(value(session: CK_SESSION_HANDLE)) => message_signing::verify_final;

    // Encryption.
    C_EncryptInit(
        value(session: CK_SESSION_HANDLE),
        mechanism(mechanism: *mut CK_MECHANISM),
        value(key: CK_OBJECT_HANDLE),
    ) => encrypting::encrypt_init;
    C_Encrypt(
        value(session: CK_SESSION_HANDLE),
        bytes(input: *mut CK_BYTE, input_len: CK_ULONG),
        output(result: *mut CK_BYTE, result_len: *mut CK_ULONG),
    ) => encrypting::encrypt;
    C_EncryptUpdate(
        value(session: CK_SESSION_HANDLE),
        bytes(part: *mut CK_BYTE, part_len: CK_ULONG),
        output(result: *mut CK_BYTE, result_len: *mut CK_ULONG),
    ) => encrypting::encrypt_update;
    C_EncryptFinal(
        value(session: CK_SESSION_HANDLE),
        output(result: *mut CK_BYTE, result_len: *mut CK_ULONG),
    ) => encrypting::encrypt_final;
    C_DecryptInit(
        value(session: CK_SESSION_HANDLE),
        mechanism(mechanism: *mut CK_MECHANISM),
        value(key: CK_OBJECT_HANDLE),
    ) => encrypting::decrypt_init;
    C_Decrypt(
        value(session: CK_SESSION_HANDLE),
        bytes(input: *mut CK_BYTE, input_len: CK_ULONG),
        output(result: *mut CK_BYTE, result_len: *mut CK_ULONG),
    ) => encrypting::decrypt;
    C_DecryptUpdate(
        value(session: CK_SESSION_HANDLE),
        bytes(part: *mut CK_BYTE, part_len: CK_ULONG),
        output(result: *mut CK_BYTE, result_len: *mut CK_ULONG),
    ) => encrypting::decrypt_update;
    C_DecryptFinal(
        value(session: CK_SESSION_HANDLE),
        output(result: *mut CK_BYTE, result_len: *mut CK_ULONG),
    ) => encrypting::decrypt_final;
    C_MessageEncryptInit(
        value(session: CK_SESSION_HANDLE),
        mechanism(mechanism: *mut CK_MECHANISM),
        value(key: CK_OBJECT_HANDLE),
    ) => message_encryption::encrypt_init;
    C_EncryptMessage(
        value(session: CK_SESSION_HANDLE),
        message(parameter: *mut c_void, parameter_len: CK_ULONG),
        bytes(aad: *mut CK_BYTE, aad_len: CK_ULONG),
        bytes(input: *mut CK_BYTE, input_len: CK_ULONG),
        output(result: *mut CK_BYTE, result_len: *mut CK_ULONG),
    ) => message_encryption::encrypt_message;
    C_EncryptMessageBegin(
        value(session: CK_SESSION_HANDLE),
        message(parameter: *mut c_void, parameter_len: CK_ULONG),
        bytes(aad: *mut CK_BYTE, aad_len: CK_ULONG),
    ) => message_encryption::encrypt_begin;
    C_EncryptMessageNext(
        value(session: CK_SESSION_HANDLE),
        message(parameter: *mut c_void, parameter_len: CK_ULONG),
        bytes(input: *mut CK_BYTE, input_len: CK_ULONG),
        output(result: *mut CK_BYTE, result_len: *mut CK_ULONG),
        value(flags: CK_FLAGS),
    ) => message_encryption::encrypt_next;
    C_MessageEncryptFinal(
        value(session: CK_SESSION_HANDLE),
    ) => message_encryption::encrypt_final;
    C_MessageDecryptInit(
        value(session: CK_SESSION_HANDLE),
        mechanism(mechanism: *mut CK_MECHANISM),
        value(key: CK_OBJECT_HANDLE),
    ) => message_encryption::decrypt_init;
    C_DecryptMessage(
        value(session: CK_SESSION_HANDLE),
        message(parameter: *mut c_void, parameter_len: CK_ULONG),
        bytes(aad: *mut CK_BYTE, aad_len: CK_ULONG),
        bytes(input: *mut CK_BYTE, input_len: CK_ULONG),
        output(result: *mut CK_BYTE, result_len: *mut CK_ULONG),
    ) => message_encryption::decrypt_message;
    C_DecryptMessageBegin(
        value(session: CK_SESSION_HANDLE),
        message(parameter: *mut c_void, parameter_len: CK_ULONG),
        bytes(aad: *mut CK_BYTE, aad_len: CK_ULONG),
    ) => message_encryption::decrypt_begin;
    C_DecryptMessageNext(
        value(session: CK_SESSION_HANDLE),
        message(parameter: *mut c_void, parameter_len: CK_ULONG),
        bytes(input: *mut CK_BYTE, input_len: CK_ULONG),
        output(result: *mut CK_BYTE, result_len: *mut CK_ULONG),
        value(flags: CK_FLAGS),
    ) => message_encryption::decrypt_next;
    C_MessageDecryptFinal(
        value(session: CK_SESSION_HANDLE),
    ) => message_encryption::decrypt_final;

    // Digests.
    C_DigestInit(
        value(session: CK_SESSION_HANDLE),
        mechanism(mechanism: *mut CK_MECHANISM),
    ) => digests::init;
    C_Digest(
        value(session: CK_SESSION_HANDLE),
        bytes(data: *mut CK_BYTE, data_len: CK_ULONG),
        output(digest: *mut CK_BYTE, digest_len: *mut CK_ULONG),
    ) => digests::digest;
    C_DigestUpdate(
        value(session: CK_SESSION_HANDLE),
        bytes(part: *mut CK_BYTE, len: CK_ULONG),
    ) => digests::update;
    C_DigestKey(value(session: CK_SESSION_HANDLE), value(key: CK_OBJECT_HANDLE)) => digests::key;
    C_DigestFinal(
        value(session: CK_SESSION_HANDLE),
        output(digest: *mut CK_BYTE, len: *mut CK_ULONG),
    ) => digests::finish;

    // Keys.
    C_GenerateKeyPair(
        value(session: CK_SESSION_HANDLE),
        mechanism(mechanism: *mut CK_MECHANISM),
        template(public: *mut CK_ATTRIBUTE, public_count: CK_ULONG),
        template(private: *mut CK_ATTRIBUTE, private_count: CK_ULONG),
        place(public_key: *mut CK_OBJECT_HANDLE),
        place(private_key: *mut CK_OBJECT_HANDLE),
    ) => key_pairs::generate;
    C_GenerateKey(
        value(session: CK_SESSION_HANDLE),
        mechanism(mechanism: *mut CK_MECHANISM),
        template(template: *mut CK_ATTRIBUTE, count: CK_ULONG),
        place(key: *mut CK_OBJECT_HANDLE),
    ) => secret_keys::generate;
    C_WrapKey(
        value(session: CK_SESSION_HANDLE),
        mechanism(mechanism: *mut CK_MECHANISM),
        value(wrapping_key: CK_OBJECT_HANDLE),
        value(key: CK_OBJECT_HANDLE),
        output(result: *mut CK_BYTE, result_len: *mut CK_ULONG),
    ) => secret_keys::wrap;
    C_UnwrapKey(
        value(session: CK_SESSION_HANDLE),
        mechanism(mechanism: *mut CK_MECHANISM),
        value(unwrapping_key: CK_OBJECT_HANDLE),
        bytes(wrapped: *mut CK_BYTE, wrapped_len: CK_ULONG),
        template(template: *mut CK_ATTRIBUTE, count: CK_ULONG),
        place(key: *mut CK_OBJECT_HANDLE),
    ) => secret_keys::unwrap;

    // Random bytes.
    C_SeedRandom(
        value(session: CK_SESSION_HANDLE),
        bytes(seed: *mut CK_BYTE, len: CK_ULONG),
    ) => random::seed;
    C_GenerateRandom(
        value(session: CK_SESSION_HANDLE),
        filled(data: *mut CK_BYTE, len: CK_ULONG),
    ) => random::generate;
}

answers! {
    // The standard has them give this answer whatever they are asked.
    C_GetFunctionStatus(CK_SESSION_HANDLE) => CKR_FUNCTION_NOT_PARALLEL;
    C_CancelFunction(CK_SESSION_HANDLE) => CKR_FUNCTION_NOT_PARALLEL;
}

answers_in_sessions! {
    C_InitPIN(*mut CK_UTF8CHAR, CK_ULONG) => CKR_FUNCTION_NOT_SUPPORTED;
    C_SetPIN(
        *mut CK_UTF8CHAR, CK_ULONG, *mut CK_UTF8CHAR, CK_ULONG,
    ) => CKR_FUNCTION_NOT_SUPPORTED;
    C_DigestEncryptUpdate(
        *mut CK_BYTE, CK_ULONG, *mut CK_BYTE, *mut CK_ULONG,
    ) => CKR_FUNCTION_NOT_SUPPORTED;
    C_DecryptDigestUpdate(
        *mut CK_BYTE, CK_ULONG, *mut CK_BYTE, *mut CK_ULONG,
    ) => CKR_FUNCTION_NOT_SUPPORTED;
    C_SignEncryptUpdate(
        *mut CK_BYTE, CK_ULONG, *mut CK_BYTE, *mut CK_ULONG,
    ) => CKR_FUNCTION_NOT_SUPPORTED;
    C_DecryptVerifyUpdate(
        *mut CK_BYTE, CK_ULONG, *mut CK_BYTE, *mut CK_ULONG,
    ) => CKR_FUNCTION_NOT_SUPPORTED;
    C_DeriveKey(
        *mut CK_MECHANISM, CK_OBJECT_HANDLE, *mut CK_ATTRIBUTE, CK_ULONG,
        *mut CK_OBJECT_HANDLE,
    ) => CKR_MECHANISM_INVALID;
    C_EncapsulateKey(
        *mut CK_MECHANISM, CK_OBJECT_HANDLE, *mut CK_ATTRIBUTE, CK_ULONG,
        *mut CK_BYTE, *mut CK_ULONG, *mut CK_OBJECT_HANDLE,
    ) => CKR_MECHANISM_INVALID;
    C_DecapsulateKey(
        *mut CK_MECHANISM, CK_OBJECT_HANDLE, *mut CK_ATTRIBUTE, CK_ULONG,
        *mut CK_BYTE, CK_ULONG, *mut CK_OBJECT_HANDLE,
    ) => CKR_MECHANISM_INVALID;
    C_GetSessionValidationFlags(
        CK_SESSION_VALIDATION_FLAGS_TYPE, *mut CK_FLAGS,
    ) => CKR_FUNCTION_NOT_SUPPORTED;
    C_AsyncComplete(
        *mut CK_UTF8CHAR, *mut CK_ASYNC_DATA,
    ) => CKR_FUNCTION_NOT_SUPPORTED;
    C_AsyncGetID(*mut CK_UTF8CHAR, *mut CK_ULONG) => CKR_FUNCTION_NOT_SUPPORTED;
    C_AsyncJoin(
        *mut CK_UTF8CHAR, CK_ULONG, *mut CK_BYTE, CK_ULONG,
    ) => CKR_FUNCTION_NOT_SUPPORTED;
    C_WrapKeyAuthenticated(
        *mut CK_MECHANISM, CK_OBJECT_HANDLE, CK_OBJECT_HANDLE, *mut CK_BYTE,
        CK_ULONG, *mut CK_BYTE, *mut CK_ULONG,
    ) => CKR_FUNCTION_NOT_SUPPORTED;
    C_UnwrapKeyAuthenticated(
        *mut CK_MECHANISM, CK_OBJECT_HANDLE, *mut CK_BYTE, CK_ULONG,
        *mut CK_ATTRIBUTE, CK_ULONG, *mut CK_BYTE, CK_ULONG, *mut CK_OBJECT_HANDLE,
    ) => CKR_FUNCTION_NOT_SUPPORTED;
}
