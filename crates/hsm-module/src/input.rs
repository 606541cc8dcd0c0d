//! What a program in C passes in, as references.

use std::ffi::{CStr, c_char};
use std::str::Utf8Error;

/// The bytes at `data`: none where it is NULL or the length is 0.
///
/// # Safety
/// `data` is NULL or points to `len` readable bytes that nobody writes for as long as `'a`.
pub unsafe fn bytes<'a>(data: *const u8, len: usize) -> &'a [u8] {
    // SAFETY: the caller's promise is that of `optional_bytes`.
    unsafe { optional_bytes(data, len) }.unwrap_or_default()
}

/// The bytes at `data`; None where it is NULL.
///
/// # Safety
/// `data` is NULL or points to `len` readable bytes that nobody writes for as long as `'a`.
pub unsafe fn optional_bytes<'a>(data: *const u8, len: usize) -> Option<&'a [u8]> {
    if data.is_null() {
        return None;
    }
    if len == 0 {
        return Some(&[]);
    }
    // SAFETY: the caller promises `len` readable bytes that nobody writes; the pointer is not NULL.
    Some(unsafe { std::slice::from_raw_parts(data, len) })
}

/// The text at `text`; None where it is NULL.
///
/// # Errors
/// The text is not UTF-8.
///
/// # Safety
/// `text` is NULL or a NUL-terminated string that nobody writes for as long as `'a`.
pub unsafe fn text<'a>(text: *const c_char) -> Result<Option<&'a str>, Utf8Error> {
    if text.is_null() {
        return Ok(None);
    }
    // SAFETY: the caller promises a NUL-terminated string that nobody writes.
    unsafe { CStr::from_ptr(text) }.to_str().map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn null_and_nothing_are_told_apart_only_where_that_is_asked_for() {
        let given = [1u8, 2];
        // SAFETY: the array has as many bytes; NULL is allowed.
        unsafe {
            assert_eq!(bytes(given.as_ptr(), 2), [1, 2]);
            assert_eq!(optional_bytes(given.as_ptr(), 0), Some(&[][..]));
            assert!(bytes(std::ptr::null(), 9).is_empty());
            assert_eq!(optional_bytes(std::ptr::null(), 9), None);
        }
    }

    #[test]
    fn a_text_is_utf_8_or_refused() {
        // SAFETY: the strings end with NUL; NULL is allowed.
        unsafe {
            assert_eq!(text(c"é".as_ptr()), Ok(Some("é")));
            assert_eq!(text(std::ptr::null()), Ok(None));
            assert!(text(c"\xff".as_ptr()).is_err());
        }
    }
}
