//! The C types and numbers of `<openssl/core.h>`, `<openssl/core_dispatch.h>` and
//! `<openssl/core_object.h>`, but for those of functions, which are in `functions`.
//!
//! OpenSSL only ever appends to these, so one set of numbers serves every release from 3.0 on.

use std::ffi::{c_char, c_int, c_uint, c_void};

/// `OSSL_CORE_HANDLE`: the core's name for this provider.
#[repr(C)]
pub(crate) struct CoreHandle {
    _opaque: [u8; 0],
}

/// `OSSL_ALGORITHM`: an implementation with its names and properties.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Algorithm {
    pub(crate) names: *const c_char,
    pub(crate) properties: *const c_char,
    /// The dispatch table, of the operation that the algorithm was asked for.
    pub(crate) implementation: *const c_void,
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

// SAFETY: only descriptor tables (no data pointer) are shared between threads; they are never
// written.
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

pub(crate) const OP_CIPHER: c_int = 2;
pub(crate) const OP_RAND: c_int = 5;
pub(crate) const OP_KEYMGMT: c_int = 10;
pub(crate) const OP_KEYEXCH: c_int = 11;
pub(crate) const OP_SIGNATURE: c_int = 12;
pub(crate) const OP_ASYM_CIPHER: c_int = 13;
pub(crate) const OP_SKEYMGMT: c_int = 15;
pub(crate) const OP_ENCODER: c_int = 20;
pub(crate) const OP_DECODER: c_int = 21;
pub(crate) const OP_STORE: c_int = 22;

pub(crate) const PARAM_INTEGER: c_uint = 1;
pub(crate) const PARAM_UNSIGNED_INTEGER: c_uint = 2;
pub(crate) const PARAM_REAL: c_uint = 3;
pub(crate) const PARAM_UTF8_STRING: c_uint = 4;
pub(crate) const PARAM_OCTET_STRING: c_uint = 5;
pub(crate) const PARAM_UTF8_PTR: c_uint = 6;
pub(crate) const PARAM_OCTET_PTR: c_uint = 7;
pub(crate) const PARAM_UNMODIFIED: usize = usize::MAX;

pub(crate) const SELECT_PRIVATE_KEY: c_int = 0x01;
pub(crate) const SELECT_PUBLIC_KEY: c_int = 0x02;
pub(crate) const SELECT_DOMAIN_PARAMETERS: c_int = 0x04;
pub(crate) const SELECT_OTHER_PARAMETERS: c_int = 0x80;
pub(crate) const SELECT_ALL_PARAMETERS: c_int = 0x84;
/// A key with all its parts.
pub(crate) const SELECT_ALL: c_int = 0x87;

pub(crate) const SKEYMGMT_SELECT_SECRET_KEY: c_int = 2;

pub(crate) const OBJECT_NAME: c_int = 1;
pub(crate) const OBJECT_PKEY: c_int = 2;
