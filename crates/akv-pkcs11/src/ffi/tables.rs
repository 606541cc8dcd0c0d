//! The tables that programs find the functions in: one for each version of the interface. They are
//! there once: a program may compare them.

use std::ffi::{CStr, c_void};

use cryptoki_sys::{
    CK_FLAGS, CK_FUNCTION_LIST, CK_FUNCTION_LIST_3_0, CK_FUNCTION_LIST_3_2, CK_INTERFACE, CK_RV,
    CK_ULONG, CK_UTF8CHAR, CK_VERSION, CKF_INTERFACE_FORK_SAFE, CKR_FUNCTION_FAILED,
};

use super::boundary;
use super::convert::{self, InterfaceAsked, InterfacePlace, List};
use super::functions::*;
use crate::error::Error;
use crate::report;

/// A table of the functions with these names.
macro_rules! table {
    ($table:ident, $type:ident, ($major:literal, $minor:literal), $($name:ident)*) => {
        static $table: $type = $type {
            version: CK_VERSION {
                major: $major,
                minor: $minor,
            },
            $($name: Some($name::LISTED),)*
        };
    };
}

/// The tables of all versions, each with the functions of those before it.
macro_rules! tables {
    ([$($v2:ident)*] [$($v3_0:ident)*] [$($v3_2:ident)*]) => {
        table!(LIST_2_40, CK_FUNCTION_LIST, (2, 40), $($v2)*);
        table!(LIST_3_0, CK_FUNCTION_LIST_3_0, (3, 0), $($v2)* $($v3_0)*);
        table!(LIST_3_2, CK_FUNCTION_LIST_3_2, (3, 2), $($v2)* $($v3_0)* $($v3_2)*);
    };
}

tables! {
    [
        C_Initialize C_Finalize C_GetInfo C_GetFunctionList C_GetSlotList C_GetSlotInfo C_GetTokenInfo
        C_GetMechanismList C_GetMechanismInfo C_InitToken C_InitPIN C_SetPIN C_OpenSession
        C_CloseSession C_CloseAllSessions C_GetSessionInfo C_GetOperationState C_SetOperationState
        C_Login C_Logout C_CreateObject C_CopyObject C_DestroyObject C_GetObjectSize
        C_GetAttributeValue C_SetAttributeValue C_FindObjectsInit C_FindObjects C_FindObjectsFinal
        C_EncryptInit C_Encrypt C_EncryptUpdate C_EncryptFinal C_DecryptInit C_Decrypt C_DecryptUpdate
        C_DecryptFinal C_DigestInit C_Digest C_DigestUpdate C_DigestKey C_DigestFinal C_SignInit
        C_Sign C_SignUpdate C_SignFinal C_SignRecoverInit C_SignRecover C_VerifyInit C_Verify
        C_VerifyUpdate C_VerifyFinal C_VerifyRecoverInit C_VerifyRecover C_DigestEncryptUpdate
        C_DecryptDigestUpdate C_SignEncryptUpdate C_DecryptVerifyUpdate C_GenerateKey
        C_GenerateKeyPair C_WrapKey C_UnwrapKey C_DeriveKey C_SeedRandom C_GenerateRandom
        C_GetFunctionStatus C_CancelFunction C_WaitForSlotEvent
    ]
    [
        C_GetInterfaceList C_GetInterface C_LoginUser C_SessionCancel C_MessageEncryptInit
        C_EncryptMessage C_EncryptMessageBegin C_EncryptMessageNext C_MessageEncryptFinal
        C_MessageDecryptInit C_DecryptMessage C_DecryptMessageBegin C_DecryptMessageNext
        C_MessageDecryptFinal C_MessageSignInit C_SignMessage C_SignMessageBegin C_SignMessageNext
        C_MessageSignFinal C_MessageVerifyInit C_VerifyMessage C_VerifyMessageBegin
        C_VerifyMessageNext C_MessageVerifyFinal
    ]
    [
        C_EncapsulateKey C_DecapsulateKey C_VerifySignatureInit C_VerifySignature
        C_VerifySignatureUpdate C_VerifySignatureFinal C_GetSessionValidationFlags C_AsyncComplete
        C_AsyncGetID C_AsyncJoin C_WrapKeyAuthenticated C_UnwrapKeyAuthenticated
    ]
}

/// What this module has beside the standard: why the last call failed, since PKCS#11 has no texts.
#[repr(C)]
struct AkvFunctionList {
    version: CK_VERSION,
    last_error: unsafe extern "C" fn(*mut CK_UTF8CHAR, *mut CK_ULONG) -> CK_RV,
}

static AKV_LIST: AkvFunctionList = AkvFunctionList {
    version: CK_VERSION { major: 1, minor: 0 },
    last_error,
};

/// The cause of the calling thread's last failure that had one: UTF-8, without a NUL.
///
/// # Safety
/// As PKCS#11 has it: `len` is NULL or the room of `text`, if that isn't NULL.
unsafe extern "C" fn last_error(text: *mut CK_UTF8CHAR, len: *mut CK_ULONG) -> CK_RV {
    boundary::call("last_error", || {
        // SAFETY: a program's pointer is NULL, or leads to what its count says (PKCS#11).
        let mut output = unsafe { convert::output(text, len) };
        output.put(report::last().as_bytes())
    })
}

/// An interface: nobody writes it, though C has no word for that.
struct Interface {
    version: (u8, u8),
    name: &'static CStr,
    interface: CK_INTERFACE,
}

// SAFETY: what its pointers lead to is static, and never written.
unsafe impl Sync for Interface {}

const fn interface<T>(name: &'static CStr, version: (u8, u8), list: &'static T) -> Interface {
    Interface {
        version,
        name,
        interface: CK_INTERFACE {
            pInterfaceName: name.as_ptr().cast::<CK_UTF8CHAR>().cast_mut(),
            pFunctionList: std::ptr::from_ref(list).cast::<c_void>().cast_mut(),
            flags: CKF_INTERFACE_FORK_SAFE,
        },
    }
}

const STANDARD: &CStr = c"PKCS 11";

/// The interfaces, the one to use unless another is asked for first.
static INTERFACES: [Interface; 4] = [
    interface(STANDARD, (3, 2), &LIST_3_2),
    interface(STANDARD, (3, 0), &LIST_3_0),
    interface(STANDARD, (2, 40), &LIST_2_40),
    interface(c"Vendor akv_provider", (1, 0), &AKV_LIST),
];

exported! {
    /// The entry point of all versions.
    ///
    /// # Safety
    /// As PKCS#11 has it: `list` is NULL or a place for a pointer.
    C_GetFunctionList(list: *mut *mut CK_FUNCTION_LIST) => {
        boundary::call("C_GetFunctionList", || {
            // SAFETY: a program's pointer is NULL, or leads to what its count says (PKCS#11).
            let mut place = unsafe { convert::place(list) };
            place.put((&raw const LIST_2_40).cast_mut())
        })
    }
}

exported! {
    /// # Safety
    /// As PKCS#11 has it: `count` is NULL or the room of `list`, if that isn't NULL.
    C_GetInterfaceList(list: *mut CK_INTERFACE, count: *mut CK_ULONG) => {
        boundary::call("C_GetInterfaceList", || {
            // SAFETY: a program's pointer is NULL, or leads to what its count says (PKCS#11).
            let mut list: List<'_, CK_INTERFACE> = unsafe { convert::list(list, count) };
            list.put(&INTERFACES.each_ref().map(|interface| interface.interface))
        })
    }
}

exported! {
    /// # Safety
    /// As PKCS#11 has it: `name` is NULL or a text, `version` NULL or a version, `interface` NULL
    /// or a place for a pointer.
    C_GetInterface(
        name: *mut CK_UTF8CHAR,
        version: *mut CK_VERSION,
        interface: *mut *mut CK_INTERFACE,
        flags: CK_FLAGS,
    ) => {
        boundary::call("C_GetInterface", || {
            // SAFETY: a program's pointer is NULL, or leads to what its count says (PKCS#11).
            let (asked, place) = unsafe {
                (
                    convert::interface_asked(name, version, flags),
                    convert::place(interface),
                )
            };
            get_interface(&asked, place)
        })
    }
}

/// The versions of the standard's interface, the oldest first.
pub(crate) fn versions() -> Vec<String> {
    let standard = INTERFACES.iter().rev();
    let standard = standard.filter(|interface| interface.name == STANDARD);
    standard
        .map(|Interface { version, .. }| format!("{}.{}", version.0, version.1))
        .collect()
}

fn get_interface(asked: &InterfaceAsked, mut place: InterfacePlace<'_>) -> Result<(), Error> {
    place.check()?;
    let known_flags = asked.flags & !CKF_INTERFACE_FORK_SAFE == 0;
    let found = INTERFACES.iter().find(|interface| {
        known_flags
            && asked
                .name
                .as_deref()
                .is_none_or(|name| name == interface.name.to_bytes())
            && asked
                .version
                .is_none_or(|version| version == interface.version)
    });
    match found {
        Some(found) => place.put((&raw const found.interface).cast_mut()),
        None => Err(Error::code(CKR_FUNCTION_FAILED)),
    }
}
