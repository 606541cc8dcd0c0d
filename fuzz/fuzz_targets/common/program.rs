//! An input as a program for libcrypto: lists of parameters as it describes them.

// Each target uses a part of it.
#![allow(dead_code)]

use std::ffi::{CStr, c_char, c_int, c_void};
use std::ptr::{null, null_mut};

// Links libcrypto.
use openssl_sys as _;

#[path = "input.rs"]
mod input;
pub use input::Program;

impl Program<'_> {
    pub fn params(&mut self) -> Params {
        let mut params = Params::default();
        for _ in 0..self.byte() % 5 {
            let key = self.choose(KEYS);
            match self.byte() % 8 {
                0 => params.integer(key, i64::from(self.byte() as i8)),
                1 => {
                    let value = self.bytes().to_vec();
                    params.push(key, UNSIGNED, value);
                }
                2 => {
                    let value = self.bytes().to_vec();
                    params.push(key, UTF8, value);
                }
                3 => {
                    let value = self.bytes().to_vec();
                    params.push(key, OCTETS, value);
                }
                4 => params.push(key, UTF8, vec![]),
                5 => {
                    let len = self.choose(&[0, 1, 4, 8, 64, 600]);
                    let kind = self.choose(&[UNSIGNED, UTF8, OCTETS, INTEGER]);
                    params.push(key, kind, vec![0; len]);
                }
                6 => params.null(key, self.choose(&[UNSIGNED, UTF8, OCTETS, INTEGER])),
                _ => {
                    let value = self.choose(TEXTS);
                    params.push(key, UTF8, value.to_bytes().to_vec());
                }
            }
        }
        params
    }
}

const INTEGER: u32 = 1;
const UNSIGNED: u32 = 2;
const UTF8: u32 = 4;
const OCTETS: u32 = 5;

const KEYS: &[&CStr] = &[
    c"digest",
    c"pad-mode",
    c"saltlen",
    c"mgf1-digest",
    c"properties",
    c"algorithm-id",
    c"signature",
    c"size",
    c"oaep-label",
    c"mgf1-digest-props",
    c"implicit-rejection",
    c"tls-client-version",
    c"tls-negotiated-version",
    c"bits",
    c"security-bits",
    c"max-size",
    c"default-digest",
    c"mandatory-digest",
    c"encoded-pub-key",
    c"pub",
    c"qx",
    c"qy",
    c"group",
    c"n",
    c"e",
    c"d",
    c"order",
    c"cofactor",
    c"point-format",
    c"encoding",
    c"include-public",
    c"uri",
    c"vault",
    c"name",
    c"key-ops",
    c"exportable",
    c"release-policy",
    c"tags",
    c"padding",
    c"keylen",
    c"ivlen",
    c"iv",
    c"updated-iv",
    c"tag",
    c"taglen",
    c"expect",
    c"status",
    c"context-string",
    c"message-encoding",
    c"mu",
    c"deterministic",
    c"test-entropy",
    c"nobody knows this one",
];

const TEXTS: &[&CStr] = &[
    c"SHA256",
    c"SHA1",
    c"SHA512",
    c"sha3-384",
    c"MD5",
    c"pss",
    c"pkcs1",
    c"oaep",
    c"none",
    c"x931",
    c"digest",
    c"max",
    c"auto",
    c"auto-digestmax",
    c"-4",
    c"P-256",
    c"P-521",
    c"secp256k1",
    c"managedhsm:MyHSM:fuzzed",
    c"managedhsm:MyHSM",
    c"fuzzed",
    c"sign,verify",
    c"yes",
    c"a=b",
    c"provider=default",
    c"?provider=akv_provider",
];

/// How large a buffer is, where `len` bytes were asked for: too small, just right, or large.
pub fn room(mode: u8, len: usize) -> usize {
    let room = match mode & 7 {
        0 => 0,
        1 => 1,
        2 => len.saturating_sub(1),
        3 | 4 if len > 0 => len,
        _ => 700,
    };
    assert!(room < 100_000, "a size of {room}");
    room
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct Param {
    key: *const c_char,
    data_type: u32,
    pub data: *mut c_void,
    pub data_size: usize,
    pub return_size: usize,
}

/// Each value is an allocation of its own. Texts have a terminator that is not counted, as
/// OSSL_PARAM(3) wants it.
#[derive(Default)]
pub struct Params {
    params: Vec<Param>,
    values: Vec<Box<[u8]>>,
}

impl Params {
    pub fn integer(&mut self, key: &CStr, value: i64) {
        self.push(key, INTEGER, value.to_ne_bytes().to_vec());
    }

    pub fn null(&mut self, key: &CStr, data_type: u32) {
        self.push(key, data_type, vec![]);
        if let Some(param) = self.params.last_mut() {
            param.data = null_mut();
        }
    }

    pub fn push(&mut self, key: &CStr, data_type: u32, mut value: Vec<u8>) {
        let data_size = value.len();
        if data_type == UTF8 {
            value.push(0);
        }
        let mut value: Box<[u8]> = value.into();
        self.params.push(Param {
            key: key.as_ptr(),
            data_type,
            data: value.as_mut_ptr().cast(),
            data_size,
            return_size: usize::MAX,
        });
        self.values.push(value);
    }

    /// In OpenSSL's form, good as long as this lives.
    pub fn list(&mut self) -> *mut Param {
        self.params.retain(|param| !param.key.is_null());
        self.params.push(Param {
            key: null(),
            data_type: 0,
            data: null_mut(),
            data_size: 0,
            return_size: 0,
        });
        self.params.as_mut_ptr()
    }
}

/// libcrypto with the provider and the default one in a library context of its own.
pub struct Libcrypto {
    pub context: *mut c_void,
    pub provider: *mut c_void,
}

unsafe extern "C" {
    fn OSSL_LIB_CTX_new() -> *mut c_void;
    fn OSSL_PROVIDER_add_builtin(
        context: *mut c_void,
        name: *const c_char,
        init: akv_provider::fuzzing::Entry,
    ) -> c_int;
    fn OSSL_PROVIDER_load(context: *mut c_void, name: *const c_char) -> *mut c_void;
    fn ERR_get_error_all(
        file: *mut *const c_char,
        line: *mut c_int,
        function: *mut *const c_char,
        data: *mut *const c_char,
        flags: *mut c_int,
    ) -> u64;
}

// SAFETY: a library context may be used by every thread.
unsafe impl Send for Libcrypto {}
// SAFETY: a library context may be used by several threads at once.
unsafe impl Sync for Libcrypto {}

impl Libcrypto {
    pub fn new(names: [&CStr; 2], entry: akv_provider::fuzzing::Entry) -> Self {
        assert!(
            std::env::var_os("AZURE_MANAGEDHSM_URL").is_some(),
            "this target needs an emulator: run scripts/fuzz.sh"
        );
        // SAFETY: the functions are called as their manual pages want it.
        unsafe {
            let context = OSSL_LIB_CTX_new();
            assert_eq!(
                OSSL_PROVIDER_add_builtin(context, c"akv_provider".as_ptr(), entry),
                1
            );
            let loaded = names.map(|name| OSSL_PROVIDER_load(context, name.as_ptr()));
            assert!(loaded.iter().all(|provider| !provider.is_null()));
            let ours = names.iter().position(|name| *name == c"akv_provider");
            Self {
                context,
                provider: loaded[ours.expect("it is among them")],
            }
        }
    }
}

/// Empties the error queue. A panic in the provider is an error on it, and a find.
pub fn check_errors() {
    loop {
        let (mut data, mut flags) = (null(), 0);
        // SAFETY: the places are good; the text lives until the next call.
        unsafe {
            if ERR_get_error_all(null_mut(), null_mut(), null_mut(), &mut data, &mut flags) == 0 {
                return;
            }
            if data.is_null() {
                continue;
            }
            let text = CStr::from_ptr(data).to_string_lossy();
            assert!(!text.contains("internal error"), "{text}");
        }
    }
}
