//! The parts of the boundary that fuzz targets call.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::sync::atomic::{AtomicBool, Ordering};

use super::ffi::{
    PARAM_INTEGER, PARAM_OCTET_PTR, PARAM_OCTET_STRING, PARAM_UNSIGNED_INTEGER, PARAM_UTF8_PTR,
    PARAM_UTF8_STRING, Param,
};
use super::params::{ParamsIn, ParamsOut};

/// `OSSL_provider_init`.
pub type Entry = unsafe extern "C" fn(
    *const c_void,
    *const c_void,
    *mut *const c_void,
    *mut *mut c_void,
) -> c_int;

/// The module's entry point, for `OSSL_PROVIDER_add_builtin`.
pub fn entry() -> Entry {
    super::entry::OSSL_provider_init
}

/// Whether providers offer what they offer to the newest release.
static OFFERS_ALL: AtomicBool = AtomicBool::new(false);

/// The same of a provider that offers what it offers to OpenSSL 3.5, whichever release loads it:
/// for who calls its functions without libcrypto between.
pub fn entry_with_all() -> Entry {
    OFFERS_ALL.store(true, Ordering::Relaxed);
    entry()
}

/// The release that tables are for, where libcrypto is of another one.
pub(crate) fn version(of_core: (u32, u32)) -> (u32, u32) {
    match OFFERS_ALL.load(Ordering::Relaxed) {
        true => of_core.max((3, 5)),
        false => of_core,
    }
}

const KEYS: [&CStr; 4] = [c"digest", c"saltlen", c"n", c"tag"];
const TYPES: [u32; 8] = [
    PARAM_INTEGER,
    PARAM_UNSIGNED_INTEGER,
    PARAM_UTF8_STRING,
    PARAM_OCTET_STRING,
    PARAM_UTF8_PTR,
    PARAM_OCTET_PTR,
    3,
    0,
];

/// A list in OpenSSL's form, and what it points to. Each buffer is an allocation of its own, so
/// that a byte read or written beyond one is seen.
struct List {
    params: Vec<Param>,
    buffers: Vec<Box<[u8]>>,
    #[allow(
        clippy::vec_box,
        reason = "their addresses are handed out, and must stay"
    )]
    pointers: Vec<Box<*const c_char>>,
}

impl List {
    /// Of each entry: which key and which type (a byte), whether its data are NULL and how long
    /// they are (a byte), the data.
    fn read(mut data: &[u8]) -> Self {
        let mut list = Self {
            params: Vec::new(),
            buffers: Vec::new(),
            pointers: Vec::new(),
        };
        while let [kind, len, rest @ ..] = data {
            if list.params.len() == 16 {
                break;
            }
            let len_used = usize::from(len & 0x7f).min(rest.len());
            let (content, rest) = rest.split_at(len_used);
            data = rest;
            let data_type = TYPES[usize::from(kind >> 2 & 7)];
            let is_null = len & 0x80 != 0;
            list.push(KEYS[usize::from(kind & 3)], data_type, content, is_null);
        }
        list.params.push(Param::END);
        list
    }

    fn push(&mut self, key: &'static CStr, data_type: u32, content: &[u8], is_null: bool) {
        let mut param = Param::descriptor(key, data_type);
        param.data_size = content.len();
        if matches!(data_type, PARAM_UTF8_PTR | PARAM_OCTET_PTR) {
            let terminated: Box<[u8]> = content.iter().copied().chain([0]).collect();
            let text: *const c_char = if content.first() == Some(&0xff) {
                std::ptr::null()
            } else {
                terminated.as_ptr().cast()
            };
            self.buffers.push(terminated);
            let mut pointer = Box::new(text);
            param.data = std::ptr::from_mut(&mut *pointer).cast();
            self.pointers.push(pointer);
        } else {
            let mut buffer: Box<[u8]> = content.into();
            param.data = buffer.as_mut_ptr().cast();
            self.buffers.push(buffer);
        }
        if is_null {
            param.data = std::ptr::null_mut();
        }
        self.params.push(param);
    }
}

/// Reads a list as every type, answers it with every type, and reads what was answered.
pub fn params(data: &[u8]) {
    let mut list = List::read(data);
    // SAFETY: the list ends with a NULL key, and its buffers live as long as it does.
    let params = unsafe { ParamsIn::new(list.params.as_ptr()) };
    for key in KEYS {
        let _ = params.utf8(key);
        let _ = params.nullable_utf8(key);
        let integer = params.integer(key);
        if let Ok(Some(number)) = params.unsigned_bytes(key) {
            assert_ne!(number.first(), Some(&0));
            if let Ok(Some(integer)) = integer {
                let bytes = integer.to_be_bytes();
                assert!(bytes.ends_with(&number) && integer >= 0);
            }
        }
        let _ = params.octets(key);
        let _ = params.nullable_octets(key);
        let _ = params.is_text(key);
    }
    let content = data.get(..12).unwrap_or(data);
    let mut number = [0; 8];
    number[..content.len().min(8)].copy_from_slice(&content[..content.len().min(8)]);
    let number = i64::from_ne_bytes(number);
    for (key, value) in KEYS
        .into_iter()
        .zip([number, number >> 32, number >> 56, -1])
    {
        // SAFETY: the list ends with a NULL key, and its buffers live as long as it does; nobody
        // else uses it.
        let mut params = unsafe { ParamsOut::new(list.params.as_mut_ptr()) };
        let _ = params.wants(key) | params.wants_text(key) | params.wants_pointer(key);
        if params.set_integer(key, value).is_ok() {
            // SAFETY: the list ends with a NULL key, and its buffers live as long as it does.
            let back = unsafe { ParamsIn::new(list.params.as_ptr()) };
            if let Ok(Some(back)) = back.integer(key) {
                assert_eq!(back, value);
            }
        }
        // SAFETY: the list ends with a NULL key, and its buffers live as long as it does; nobody
        // else uses it.
        let mut params = unsafe { ParamsOut::new(list.params.as_mut_ptr()) };
        if params.set_unsigned_bytes(key, content).is_ok() {
            // SAFETY: the list ends with a NULL key, and its buffers live as long as it does.
            let back = unsafe { ParamsIn::new(list.params.as_ptr()) };
            if let Ok(Some(back)) = back.unsigned_bytes(key) {
                let zeros = content.iter().take_while(|&&byte| byte == 0).count();
                assert_eq!(back, &content[zeros..]);
            }
        }
        // SAFETY: the list ends with a NULL key, and its buffers live as long as it does; nobody
        // else uses it.
        let mut params = unsafe { ParamsOut::new(list.params.as_mut_ptr()) };
        let _ = params.set_octets(key, content);
        let _ = params.set_utf8(key, c"RSA-PSS");
        let _ = params.set_empty_pointer(key);
    }
}
