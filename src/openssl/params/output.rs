//! The parameters that OpenSSL asks for.

use std::ffi::{CStr, c_int, c_void};

use super::super::ffi::{
    PARAM_INTEGER, PARAM_OCTET_PTR, PARAM_OCTET_STRING, PARAM_REAL, PARAM_UNSIGNED_INTEGER,
    PARAM_UTF8_PTR, PARAM_UTF8_STRING, Param,
};
use super::{has_key, list, wrong};
use crate::error::Error;

/// The parameters that OpenSSL asks for.
pub(crate) struct ParamsOut<'a>(&'a mut [Param]);

impl ParamsOut<'_> {
    /// # Safety
    /// `params` is NULL or a list that ends with a NULL key; the list and the buffers it points to
    /// are writable, and used by nobody else, while the value lives.
    pub(crate) unsafe fn new(params: *mut Param) -> Self {
        // SAFETY: the caller promises NULL or a list that ends with a NULL key, which nobody else
        // uses.
        let len = unsafe { list(params) }.len();
        if len == 0 {
            return Self(&mut []);
        }
        // SAFETY: `len` entries were just counted, and the caller promises that they are writable
        // and nobody else's.
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

    /// Answers an integer, if it is asked for: as a floating-point number, too, as libcrypto does.
    pub(crate) fn set_integer(&mut self, key: &CStr, value: i64) -> Result<(), Error> {
        let Some(param) = self.find(key) else {
            return Ok(());
        };
        if param.data_type == PARAM_REAL {
            return put_real(param, value)
                .ok_or_else(|| wrong(key, "a floating-point number has eight bytes"));
        }
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
    /// As a signed one it has a byte more for the sign, as in libcrypto.
    pub(crate) fn set_unsigned_bytes(&mut self, key: &CStr, value: &[u8]) -> Result<(), Error> {
        let Some(param) = self.find(key) else {
            return Ok(());
        };
        let with_sign = match param.data_type {
            PARAM_UNSIGNED_INTEGER => None,
            PARAM_INTEGER => Some([&[0], value].concat()),
            _ => {
                return Err(wrong(
                    key,
                    "it is an unsigned number, something else was asked for",
                ));
            }
        };
        let value = with_sign.as_deref().unwrap_or(value);
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

    /// Answers a text that is not static, if it is asked for: as a text of the caller's own and not
    /// as a pointer.
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

/// Writes an integer as a floating-point number. None: the buffer is of another size.
fn put_real(param: &mut Param, value: i64) -> Option<()> {
    param.return_size = size_of::<f64>();
    if param.data.is_null() {
        return Some(());
    }
    if param.data_size != size_of::<f64>() {
        return None;
    }
    // SAFETY: the list's owner promised a writable buffer of `data_size` bytes, which are eight.
    unsafe { param.data.cast::<f64>().write_unaligned(value as f64) };
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
        // SAFETY: the list's owner promised a writable buffer of `data_size` bytes, which has room
        // for one byte more.
        unsafe { param.data.cast::<u8>().add(value.len()).write(0) };
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use std::ffi::c_long;

    use super::super::tests::param;
    use super::*;

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
    fn an_integer_is_answered_as_a_floating_point_number_of_eight_bytes() {
        let (mut double, mut single) = (0f64, 0f32);
        let mut params = [
            param(c"a", PARAM_REAL, &mut double),
            param(c"b", PARAM_REAL, &mut single),
            Param::descriptor(c"c", PARAM_REAL),
        ];
        let mut out = ParamsOut(&mut params);
        out.set_integer(c"a", 2048).unwrap();
        assert!(out.set_integer(c"b", 2048).is_err());
        out.set_integer(c"c", 2048).unwrap();
        assert_eq!(params.map(|param| param.return_size)[2], 8);
        assert_eq!((double, single), (2048.0, 0.0));
    }

    #[test]
    fn an_unsigned_number_is_answered_as_a_signed_one_where_the_sign_has_room() {
        let (mut exact, mut roomy) = ([0u8; 2], [0xeeu8; 4]);
        let mut params = [
            param(c"exact", PARAM_INTEGER, &mut exact),
            param(c"roomy", PARAM_INTEGER, &mut roomy),
            Param::descriptor(c"size", PARAM_INTEGER),
        ];
        let mut out = ParamsOut(&mut params);
        assert!(out.set_unsigned_bytes(c"exact", &[0x80, 1]).is_err());
        out.set_unsigned_bytes(c"roomy", &[0x80, 1]).unwrap();
        out.set_unsigned_bytes(c"size", &[0x80, 1]).unwrap();
        assert_eq!(params.map(|param| param.return_size), [3, 4, 3]);
        assert_eq!(i32::from_ne_bytes(roomy), 0x8001);
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
}
