//! Reading, answering and making lists of `OSSL_PARAM`.
//!
//! The rules are those of OSSL_PARAM(3) and OSSL_PARAM_int(3): a value that was asked for without a buffer gets its
//! size in `return_size`, and a buffer that is too small is a failure.

use std::ffi::{CStr, CString, c_int, c_uint, c_void};

use super::ffi::{
    PARAM_INTEGER, PARAM_OCTET_PTR, PARAM_OCTET_STRING, PARAM_UNMODIFIED, PARAM_UNSIGNED_INTEGER,
    PARAM_UTF8_PTR, PARAM_UTF8_STRING, Param,
};
use crate::error::Error;

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

/// A table of descriptors that is made at run time.
pub(crate) struct ParamTable {
    entries: Vec<Param>,
    /// Those that are not static.
    _names: Vec<CString>,
}

// SAFETY: descriptors point to names that live as long as the table and to no data, and are never written.
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

/// The parameters that OpenSSL passes in.
#[derive(Clone, Copy)]
pub(crate) struct ParamsIn<'a>(&'a [Param]);

impl<'a> ParamsIn<'a> {
    /// # Safety
    /// `params` is NULL or a list that ends with a NULL key; it and what it points to are readable and not written
    /// for as long as `'a`.
    pub(crate) unsafe fn new(params: *const Param) -> Self {
        // SAFETY: the caller promises NULL or a list that ends with a NULL key, which nobody writes for as long as `'a`.
        Self(unsafe { list(params) })
    }

    #[cfg(test)]
    pub(crate) fn from_slice(params: &'a [Param]) -> Self {
        Self(params)
    }

    fn find(&self, key: &CStr) -> Option<&'a Param> {
        self.0.iter().find(|param| has_key(param, key))
    }

    /// The text of a UTF-8 parameter.
    pub(crate) fn utf8(&self, key: &CStr) -> Result<Option<&'a str>, Error> {
        let Some(param) = self.find(key) else {
            return Ok(None);
        };
        if param.data.is_null() {
            return Err(wrong(key, "the value is NULL"));
        }
        let text = match param.data_type {
            // SAFETY: `new`'s caller promised readable data of `data_size` bytes.
            PARAM_UTF8_STRING => unsafe {
                std::slice::from_raw_parts(param.data.cast::<u8>(), param.data_size)
            },
            PARAM_UTF8_PTR => {
                // SAFETY: data of this type is a pointer to a string (OSSL_PARAM(3)).
                let pointer = unsafe {
                    param
                        .data
                        .cast::<*const std::ffi::c_char>()
                        .read_unaligned()
                };
                if pointer.is_null() {
                    return Err(wrong(key, "the value is NULL"));
                }
                // SAFETY: the pointer read just now leads to a NUL-terminated string (OSSL_PARAM(3)).
                unsafe { CStr::from_ptr(pointer) }.to_bytes()
            }
            _ => return Err(wrong(key, "a text is expected")),
        };
        // Some callers count the terminator, or a whole buffer, into the size.
        let text = text.split(|&byte| byte == 0).next().unwrap_or_default();
        std::str::from_utf8(text)
            .map(Some)
            .map_err(|_| wrong(key, "the text is not UTF-8"))
    }

    /// The text of a UTF-8 parameter that may be NULL, which means none.
    pub(crate) fn nullable_utf8(&self, key: &CStr) -> Result<Option<&'a str>, Error> {
        match self.find(key) {
            Some(param) if param.data.is_null() => Ok(None),
            _ => self.utf8(key),
        }
    }

    /// The value of an integer parameter of any width.
    pub(crate) fn integer(&self, key: &CStr) -> Result<Option<i64>, Error> {
        let Some(param) = self.find(key) else {
            return Ok(None);
        };
        let bytes = big_endian(param).ok_or_else(|| wrong(key, "an integer is expected"))?;
        let negative =
            param.data_type == PARAM_INTEGER && bytes.first().is_some_and(|byte| byte & 0x80 != 0);
        let fill = if negative { 0xff } else { 0 };
        let excess = bytes.len().saturating_sub(8);
        if bytes[..excess].iter().any(|&byte| byte != fill) {
            return Err(wrong(key, "the number is too large"));
        }
        let mut wide = [fill; 8];
        let bytes = &bytes[excess..];
        wide[8 - bytes.len()..].copy_from_slice(bytes);
        let value = i64::from_be_bytes(wide);
        if !negative && value < 0 {
            return Err(wrong(key, "the number is too large"));
        }
        Ok(Some(value))
    }

    /// The bytes of an unsigned number of any width, most significant first, without leading zeros.
    pub(crate) fn unsigned_bytes(&self, key: &CStr) -> Result<Option<Vec<u8>>, Error> {
        let Some(param) = self.find(key) else {
            return Ok(None);
        };
        if param.data_type != PARAM_UNSIGNED_INTEGER {
            return Err(wrong(key, "an unsigned number is expected"));
        }
        let bytes =
            big_endian(param).ok_or_else(|| wrong(key, "an unsigned number is expected"))?;
        let zeros = bytes.iter().take_while(|&&byte| byte == 0).count();
        Ok(Some(bytes[zeros..].to_vec()))
    }

    /// The bytes of an octet string.
    pub(crate) fn octets(&self, key: &CStr) -> Result<Option<&'a [u8]>, Error> {
        let Some(param) = self.find(key) else {
            return Ok(None);
        };
        if param.data_type != PARAM_OCTET_STRING || param.data.is_null() {
            return Err(wrong(key, "an octet string is expected"));
        }
        // SAFETY: `new`'s caller promised readable data of `data_size` bytes.
        Ok(Some(unsafe {
            std::slice::from_raw_parts(param.data.cast(), param.data_size)
        }))
    }

    /// The bytes of an octet string that may be NULL, which means none.
    pub(crate) fn nullable_octets(&self, key: &CStr) -> Result<Option<&'a [u8]>, Error> {
        match self.find(key) {
            Some(param) if param.data.is_null() => Ok(None),
            _ => self.octets(key),
        }
    }

    /// Whether the parameter is there as a text (and not, say, as a number).
    pub(crate) fn is_text(&self, key: &CStr) -> bool {
        self.find(key)
            .is_some_and(|param| matches!(param.data_type, PARAM_UTF8_STRING | PARAM_UTF8_PTR))
    }
}

/// The parameters that OpenSSL asks for.
pub(crate) struct ParamsOut<'a>(&'a mut [Param]);

impl ParamsOut<'_> {
    /// # Safety
    /// `params` is NULL or a list that ends with a NULL key; the list and the buffers it points to are writable, and
    /// used by nobody else, while the value lives.
    pub(crate) unsafe fn new(params: *mut Param) -> Self {
        // SAFETY: the caller promises NULL or a list that ends with a NULL key, which nobody else uses.
        let len = unsafe { list(params) }.len();
        if len == 0 {
            return Self(&mut []);
        }
        // SAFETY: `len` entries were just counted, and the caller promises that they are writable and nobody else's.
        Self(unsafe { std::slice::from_raw_parts_mut(params, len) })
    }

    fn find(&mut self, key: &CStr) -> Option<&mut Param> {
        self.0.iter_mut().find(|param| has_key(param, key))
    }

    /// Whether the parameter is asked for as a text.
    pub(crate) fn wants_text(&mut self, key: &CStr) -> bool {
        self.find(key)
            .is_some_and(|param| matches!(param.data_type, PARAM_UTF8_STRING | PARAM_UTF8_PTR))
    }

    /// Whether the parameter is asked for as a pointer to octets.
    pub(crate) fn wants_pointer(&mut self, key: &CStr) -> bool {
        self.find(key)
            .is_some_and(|param| param.data_type == PARAM_OCTET_PTR)
    }

    /// Answers a pointer to no octets, if it is asked for.
    pub(crate) fn set_empty_pointer(&mut self, key: &CStr) -> Result<(), Error> {
        let Some(param) = self.find(key) else {
            return Ok(());
        };
        if param.data_type != PARAM_OCTET_PTR {
            return Err(wrong(
                key,
                "it is a pointer to octets, something else was asked for",
            ));
        }
        param.return_size = 0;
        if !param.data.is_null() {
            // SAFETY: data of this type is room for a pointer.
            unsafe {
                param
                    .data
                    .cast::<*const c_void>()
                    .write_unaligned(std::ptr::null())
            };
        }
        Ok(())
    }

    /// Whether the parameter is asked for.
    pub(crate) fn wants(&mut self, key: &CStr) -> bool {
        self.find(key).is_some()
    }

    /// Answers an integer, if it is asked for.
    pub(crate) fn set_integer(&mut self, key: &CStr, value: i64) -> Result<(), Error> {
        let Some(param) = self.find(key) else {
            return Ok(());
        };
        if !matches!(param.data_type, PARAM_INTEGER | PARAM_UNSIGNED_INTEGER) {
            return Err(wrong(key, "it is an integer, something else was asked for"));
        }
        if param.data_type == PARAM_UNSIGNED_INTEGER && value < 0 {
            return Err(wrong(key, "the value is negative"));
        }
        if param.data.is_null() {
            param.return_size = size_of::<c_int>();
            return Ok(());
        }
        let fill = if value < 0 { 0xff } else { 0 };
        let bytes = value.to_be_bytes();
        let significant = bytes
            .iter()
            .take_while(|&&byte| byte == fill)
            .count()
            .min(7);
        put_number(param, &bytes[significant..], fill)
            .ok_or_else(|| wrong(key, "the buffer is too small"))
    }

    /// Answers an unsigned number given by its bytes, most significant first, if it is asked for.
    pub(crate) fn set_unsigned_bytes(&mut self, key: &CStr, value: &[u8]) -> Result<(), Error> {
        let Some(param) = self.find(key) else {
            return Ok(());
        };
        if param.data_type != PARAM_UNSIGNED_INTEGER {
            return Err(wrong(
                key,
                "it is an unsigned number, something else was asked for",
            ));
        }
        if param.data.is_null() {
            param.return_size = value.len().max(1);
            return Ok(());
        }
        put_number(param, value, 0).ok_or_else(|| wrong(key, "the buffer is too small"))
    }

    /// Answers a text, if it is asked for.
    pub(crate) fn set_utf8(&mut self, key: &CStr, value: &'static CStr) -> Result<(), Error> {
        let Some(param) = self.find(key) else {
            return Ok(());
        };
        let text = value.to_bytes();
        match param.data_type {
            PARAM_UTF8_PTR => {
                param.return_size = text.len();
                if !param.data.is_null() {
                    // SAFETY: data of this type is room for a pointer; the text is static.
                    unsafe {
                        param
                            .data
                            .cast::<*const std::ffi::c_char>()
                            .write_unaligned(value.as_ptr())
                    };
                }
                Ok(())
            }
            PARAM_UTF8_STRING => {
                put_bytes(param, text, true).ok_or_else(|| wrong(key, "the buffer is too small"))
            }
            _ => Err(wrong(key, "it is a text, something else was asked for")),
        }
    }

    /// Answers a text that is not static, if it is asked for: as a text of the caller's own and not as a pointer.
    pub(crate) fn set_text(&mut self, key: &CStr, value: &str) -> Result<(), Error> {
        let Some(param) = self.find(key) else {
            return Ok(());
        };
        if param.data_type != PARAM_UTF8_STRING {
            return Err(wrong(key, "it is a text, something else was asked for"));
        }
        put_bytes(param, value.as_bytes(), true)
            .ok_or_else(|| wrong(key, "the buffer is too small"))
    }

    /// Answers an octet string, if it is asked for.
    pub(crate) fn set_octets(&mut self, key: &CStr, value: &[u8]) -> Result<(), Error> {
        let Some(param) = self.find(key) else {
            return Ok(());
        };
        if param.data_type != PARAM_OCTET_STRING {
            return Err(wrong(
                key,
                "it is an octet string, something else was asked for",
            ));
        }
        put_bytes(param, value, false).ok_or_else(|| wrong(key, "the buffer is too small"))
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

/// An integer's bytes, most significant first.
fn big_endian(param: &Param) -> Option<Vec<u8>> {
    if !matches!(param.data_type, PARAM_INTEGER | PARAM_UNSIGNED_INTEGER) || param.data.is_null() {
        return None;
    }
    // SAFETY: the list's owner promised readable data of `data_size` bytes.
    let mut bytes =
        unsafe { std::slice::from_raw_parts(param.data.cast::<u8>(), param.data_size) }.to_vec();
    if cfg!(target_endian = "little") {
        bytes.reverse();
    }
    Some(bytes)
}

/// Writes a number of any width, filled up with `fill`. None: the buffer is too small.
fn put_number(param: &mut Param, big_endian: &[u8], fill: u8) -> Option<()> {
    // A signed buffer must also hold the sign bit.
    let sign_spill = param.data_type == PARAM_INTEGER
        && big_endian
            .first()
            .is_some_and(|byte| (byte & 0x80 != 0) != (fill != 0));
    let needed = big_endian.len().max(1) + usize::from(sign_spill);
    param.return_size = needed;
    if param.data_size < needed {
        return None;
    }
    let mut bytes = vec![fill; param.data_size];
    bytes[param.data_size - big_endian.len()..].copy_from_slice(big_endian);
    if cfg!(target_endian = "little") {
        bytes.reverse();
    }
    // SAFETY: the list's owner promised a writable buffer of `data_size` bytes.
    unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), param.data.cast(), bytes.len()) };
    param.return_size = param.data_size;
    Some(())
}

/// Writes bytes, for a text with a terminator where there is room. None: the buffer is too small.
fn put_bytes(param: &mut Param, value: &[u8], terminate: bool) -> Option<()> {
    param.return_size = value.len();
    if param.data.is_null() {
        return Some(());
    }
    if param.data_size < value.len() {
        return None;
    }
    // SAFETY: the list's owner promised a writable buffer of `data_size` bytes.
    unsafe { std::ptr::copy_nonoverlapping(value.as_ptr(), param.data.cast(), value.len()) };
    if terminate && param.data_size > value.len() {
        // SAFETY: the list's owner promised a writable buffer of `data_size` bytes, which has room for one byte more.
        unsafe { param.data.cast::<u8>().add(value.len()).write(0) };
    }
    Some(())
}

fn wrong(key: &CStr, problem: &str) -> Error {
    Error::parameter(key.to_string_lossy(), problem)
}

#[cfg(test)]
mod tests {
    use std::ffi::c_long;

    use super::*;

    fn param<T>(key: &'static CStr, data_type: c_uint, value: &mut T) -> Param {
        Param {
            key: key.as_ptr(),
            data_type,
            data: std::ptr::from_mut(value).cast(),
            data_size: size_of::<T>(),
            return_size: PARAM_UNMODIFIED,
        }
    }

    #[test]
    fn integers_of_every_width_are_read() {
        let (mut narrow, mut wide, mut unsigned) = (-3i32, i64::MIN, 7u8);
        let params = [
            param(c"narrow", PARAM_INTEGER, &mut narrow),
            param(c"wide", PARAM_INTEGER, &mut wide),
            param(c"unsigned", PARAM_UNSIGNED_INTEGER, &mut unsigned),
        ];
        let params = ParamsIn::from_slice(&params);
        assert_eq!(params.integer(c"narrow").unwrap(), Some(-3));
        assert_eq!(params.integer(c"wide").unwrap(), Some(i64::MIN));
        assert_eq!(params.integer(c"unsigned").unwrap(), Some(7));
        assert_eq!(params.integer(c"absent").unwrap(), None);
    }

    #[test]
    fn an_unsigned_number_beyond_the_signed_range_is_refused() {
        let mut value = u64::MAX;
        let params = [param(c"n", PARAM_UNSIGNED_INTEGER, &mut value)];
        assert!(ParamsIn::from_slice(&params).integer(c"n").is_err());
    }

    #[test]
    fn an_integer_is_answered_in_the_width_asked_for() {
        let (mut int, mut long, mut byte) = (c_int::default(), c_long::default(), 0u8);
        let mut params = [
            param(c"a", PARAM_INTEGER, &mut int),
            param(c"b", PARAM_INTEGER, &mut long),
            param(c"c", PARAM_UNSIGNED_INTEGER, &mut byte),
        ];
        let mut out = ParamsOut(&mut params);
        out.set_integer(c"a", -4).unwrap();
        out.set_integer(c"b", 1 << 31).unwrap();
        assert!(out.set_integer(c"c", 256).is_err());
        assert_eq!(params[0].return_size, size_of::<c_int>());
        assert_eq!((int, long), (-4, 1 << 31));
    }

    #[test]
    fn a_pointer_is_answered_where_a_pointer_is_asked_for_and_nowhere_else() {
        let mut small = *b"abc";
        let mut room: *const std::ffi::c_char = small.as_ptr().cast();
        for (data_type, data, is_answered) in [
            (PARAM_OCTET_STRING, small.as_mut_ptr().cast(), false),
            (PARAM_INTEGER, small.as_mut_ptr().cast(), false),
            (PARAM_OCTET_PTR, (&raw mut room).cast(), true),
        ] {
            let mut params = [
                Param {
                    data,
                    data_size: 3,
                    ..Param::descriptor(c"oaep-label", data_type)
                },
                Param::END,
            ];
            // SAFETY: the list ends with a NULL key, and nobody else uses its buffers.
            let mut params = unsafe { ParamsOut::new(params.as_mut_ptr()) };
            let answer = params.set_empty_pointer(c"oaep-label");
            assert_eq!(answer.is_ok(), is_answered, "{data_type}");
        }
        assert!(room.is_null() && small == *b"abc");
    }

    #[test]
    fn a_missing_buffer_gets_the_size_and_a_small_one_is_refused() {
        let mut room = [0u8; 3];
        let mut params = [
            Param::descriptor(c"size", PARAM_OCTET_STRING),
            param(c"small", PARAM_OCTET_STRING, &mut room),
        ];
        let mut out = ParamsOut(&mut params);
        out.set_octets(c"size", &[1, 2, 3, 4]).unwrap();
        assert!(out.set_octets(c"small", &[1, 2, 3, 4]).is_err());
        assert_eq!((params[0].return_size, params[1].return_size), (4, 4));
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
