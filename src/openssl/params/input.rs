//! The parameters that OpenSSL passes in.

use std::ffi::CStr;

use super::super::ffi::{
    PARAM_INTEGER, PARAM_OCTET_STRING, PARAM_UNSIGNED_INTEGER, PARAM_UTF8_PTR, PARAM_UTF8_STRING,
    Param,
};
use super::{has_key, list, wrong};
use crate::error::Error;

/// The parameters that OpenSSL passes in.
#[derive(Clone, Copy)]
pub(crate) struct ParamsIn<'a>(&'a [Param]);

impl<'a> ParamsIn<'a> {
    /// # Safety
    /// `params` is NULL or a list that ends with a NULL key; it and what it points to are readable
    /// and not written for as long as `'a`.
    pub(crate) unsafe fn new(params: *const Param) -> Self {
        // SAFETY: the caller promises NULL or a list that ends with a NULL key, which nobody writes
        // for as long as `'a`.
        Self(unsafe { list(params) })
    }

    #[cfg(test)]
    pub(crate) fn from_slice(params: &'a [Param]) -> Self {
        Self(params)
    }

    fn find(&self, key: &CStr) -> Option<&'a Param> {
        self.0.iter().find(|param| has_key(param, key))
    }

    /// Whether the parameter is there at all.
    pub(crate) fn is_there(&self, key: &CStr) -> bool {
        self.find(key).is_some()
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
                // SAFETY: the pointer read just now leads to a NUL-terminated string
                // (OSSL_PARAM(3)).
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

#[cfg(test)]
mod tests {
    use super::super::tests::param;
    use super::*;

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
}
