//! Reading, answering and making lists of `OSSL_PARAM`.
//!
//! The rules are those of OSSL_PARAM(3) and OSSL_PARAM_int(3): a value that was asked for without a
//! buffer gets its size in `return_size`, and a buffer that is too small is a failure.

mod input;
mod output;

use std::ffi::{CStr, CString, c_int, c_uint, c_void};

use super::ffi::{
    PARAM_INTEGER, PARAM_OCTET_STRING, PARAM_UNMODIFIED, PARAM_UNSIGNED_INTEGER, PARAM_UTF8_PTR,
    PARAM_UTF8_STRING, Param,
};
use crate::error::Error;

pub(crate) use input::ParamsIn;
pub(crate) use output::ParamsOut;

impl Param {
    pub(crate) const END: Self = Self::descriptor_of(std::ptr::null(), 0);

    const fn descriptor_of(key: *const std::ffi::c_char, data_type: c_uint) -> Self {
        Self {
            key,
            data_type,
            data: std::ptr::null_mut(),
            data_size: 0,
            return_size: PARAM_UNMODIFIED,
        }
    }

    /// Room for a pointer to a text.
    pub(super) fn text_pointer(key: &CStr, room: &mut *const std::ffi::c_char) -> Self {
        Self {
            data: std::ptr::from_mut(room).cast(),
            data_size: 0,
            ..Self::descriptor_of(key.as_ptr(), PARAM_UTF8_PTR)
        }
    }

    /// Room for a text.
    pub(crate) fn text_room(key: &'static CStr, room: &mut [u8]) -> Self {
        Self {
            data: room.as_mut_ptr().cast(),
            data_size: room.len(),
            ..Self::descriptor(key, PARAM_UTF8_STRING)
        }
    }

    /// An entry of a table that says which parameters there are.
    pub(crate) const fn descriptor(key: &'static CStr, data_type: c_uint) -> Self {
        Self::descriptor_of(key.as_ptr(), data_type)
    }
}

/// A table of descriptors for `gettable` and `settable` functions, built at compile time.
macro_rules! descriptors {
    ($($key:expr => $kind:ident),* $(,)?) => {
        &[
            $($crate::openssl::ffi::Param::descriptor($key, $crate::openssl::ffi::$kind),)*
            $crate::openssl::ffi::Param::END,
        ]
    };
}
pub(crate) use descriptors;

/// Several tables of descriptors as one, built at compile time.
macro_rules! joined {
    ($($part:expr),* $(,)?) => {{
        const LEN: usize = 1 $(+ $part.len() - 1)*;
        const JOINED: [$crate::openssl::ffi::Param; LEN] =
            $crate::openssl::params::join(&[$($part),*]);
        &JOINED
    }};
}
pub(crate) use joined;

/// The entries of tables, each of which ends with [`Param::END`], and one end: `N` in all.
pub(crate) const fn join<const N: usize>(tables: &[&[Param]]) -> [Param; N] {
    let mut joined = [Param::END; N];
    let (mut len, mut table) = (0, 0);
    while table < tables.len() {
        let mut entry = 0;
        while entry + 1 < tables[table].len() {
            joined[len] = tables[table][entry];
            len += 1;
            entry += 1;
        }
        table += 1;
    }
    joined
}

/// A table of descriptors that is made at run time.
pub(crate) struct ParamTable {
    entries: Vec<Param>,
    /// Those that are not static.
    _names: Vec<CString>,
}

// SAFETY: descriptors point to names that live as long as the table and to no data, and are never
// written.
unsafe impl Send for ParamTable {}
// SAFETY: a table is never written, and what it points to lives as long as it does.
unsafe impl Sync for ParamTable {}

impl ParamTable {
    /// The entries of two tables, of which the second may go.
    ///
    /// # Safety
    /// Both end with a NULL key, and the names of the first live for ever.
    pub(crate) unsafe fn join(a: *const Param, b: *const Param) -> Self {
        // SAFETY: the caller promises lists that end with a NULL key.
        let (a, b) = unsafe { (list(a), list(b)) };
        let mut entries = a.to_vec();
        let mut names = Vec::with_capacity(b.len());
        for entry in b {
            // SAFETY: the key of an entry before the end is a NUL-terminated string.
            let name = unsafe { CStr::from_ptr(entry.key) }.to_owned();
            entries.push(Param {
                key: name.as_ptr(),
                ..*entry
            });
            names.push(name);
        }
        entries.push(Param::END);
        Self {
            entries,
            _names: names,
        }
    }

    pub(crate) fn as_ptr(&self) -> *const Param {
        self.entries.as_ptr()
    }
}

/// A list of parameters that we pass to OpenSSL. It owns the values.
#[derive(Default)]
pub(crate) struct ParamList {
    values: Vec<(&'static CStr, c_uint, Vec<u8>)>,
}

impl ParamList {
    pub(crate) fn integer(mut self, key: &'static CStr, value: c_int) -> Self {
        self.values
            .push((key, PARAM_INTEGER, value.to_ne_bytes().to_vec()));
        self
    }

    pub(crate) fn utf8(mut self, key: &'static CStr, value: &CStr) -> Self {
        self.values
            .push((key, PARAM_UTF8_STRING, value.to_bytes_with_nul().to_vec()));
        self
    }

    pub(crate) fn octets(mut self, key: &'static CStr, value: &[u8]) -> Self {
        self.values.push((key, PARAM_OCTET_STRING, value.to_vec()));
        self
    }

    /// `value`: most significant byte first.
    pub(crate) fn unsigned_bytes(mut self, key: &'static CStr, value: &[u8]) -> Self {
        let mut bytes = value.to_vec();
        if cfg!(target_endian = "little") {
            bytes.reverse();
        }
        self.values.push((key, PARAM_UNSIGNED_INTEGER, bytes));
        self
    }

    /// Calls `f` with the list in OpenSSL's form; the pointer is good only during the call.
    pub(crate) fn with<R>(&mut self, f: impl FnOnce(*const Param) -> R) -> R {
        let mut params: Vec<Param> = self
            .values
            .iter_mut()
            .map(|(key, data_type, value)| Param {
                key: key.as_ptr(),
                data_type: *data_type,
                data: value.as_mut_ptr().cast::<c_void>(),
                data_size: value.len() - usize::from(*data_type == PARAM_UTF8_STRING),
                return_size: PARAM_UNMODIFIED,
            })
            .collect();
        params.push(Param::END);
        f(params.as_ptr())
    }
}

/// # Safety
/// `params` is NULL or a readable list that ends with a NULL key, for as long as `'a`.
unsafe fn list<'a>(params: *const Param) -> &'a [Param] {
    if params.is_null() {
        return &[];
    }
    let mut len = 0;
    // SAFETY: the caller's list ends with a NULL key, and the walk stops there.
    while !unsafe { &*params.add(len) }.key.is_null() {
        len += 1;
    }
    // SAFETY: `len` entries were just read.
    unsafe { std::slice::from_raw_parts(params, len) }
}

fn has_key(param: &Param, key: &CStr) -> bool {
    // SAFETY: entries before the end of a list have a NUL-terminated key.
    !param.key.is_null() && unsafe { CStr::from_ptr(param.key) } == key
}

fn wrong(key: &CStr, problem: &str) -> Error {
    Error::parameter(key.to_string_lossy(), problem)
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn param<T>(key: &'static CStr, data_type: c_uint, value: &mut T) -> Param {
        Param {
            key: key.as_ptr(),
            data_type,
            data: std::ptr::from_mut(value).cast(),
            data_size: size_of::<T>(),
            return_size: PARAM_UNMODIFIED,
        }
    }

    #[test]
    fn a_list_reads_back_what_was_put_in() {
        let mut list = ParamList::default()
            .integer(c"i", -1)
            .utf8(c"s", c"text")
            .octets(c"o", &[9, 8])
            .unsigned_bytes(c"u", &[1, 0, 1]);
        list.with(|params| {
            // SAFETY: the list lives during the call.
            let params = unsafe { ParamsIn::new(params) };
            assert_eq!(params.integer(c"i").unwrap(), Some(-1));
            assert_eq!(params.utf8(c"s").unwrap(), Some("text"));
            assert_eq!(params.octets(c"o").unwrap(), Some(&[9u8, 8][..]));
            assert_eq!(params.unsigned_bytes(c"u").unwrap(), Some(vec![1, 0, 1]));
        });
    }
}
