//! The one place where Rust's results and panics become C return values, and C pointers become references.

use std::any::Any;
use std::ffi::{CStr, c_int, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::cancellation::Uncancelled;
use super::core::Core;
use super::ffi::Param;
use crate::error::Error;

/// A C return type with the value that means failure.
pub(crate) trait Returned {
    fn failure() -> Self;
}

impl Returned for c_int {
    fn failure() -> Self {
        0
    }
}

impl<T> Returned for Option<T> {
    fn failure() -> Self {
        None
    }
}

impl Returned for () {
    fn failure() -> Self {}
}

impl Returned for *const Param {
    fn failure() -> Self {
        std::ptr::null()
    }
}

impl Returned for *const std::ffi::c_char {
    fn failure() -> Self {
        std::ptr::null()
    }
}

impl Returned for *mut c_void {
    fn failure() -> Self {
        std::ptr::null_mut()
    }
}

/// Runs `body`. An error or a panic goes on OpenSSL's queue under the name `function`, and the failure value is
/// returned.
pub(crate) fn call<R: Returned>(
    core: &Core,
    function: &CStr,
    body: impl FnOnce() -> Result<R, Error>,
) -> R {
    let _uncancelled = Uncancelled::new();
    let error = match catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(value)) => return value,
        Ok(Err(error)) => error,
        Err(panic) => Error::Internal(panic_text(&*panic)),
    };
    // Formatting an error must not take the process down either.
    let _ = catch_unwind(AssertUnwindSafe(|| core.raise(function, &error)));
    R::failure()
}

/// As [`call`] where a refusal is an answer, not an error: nothing goes on the queue.
pub(crate) fn quietly<R: Returned>(body: impl FnOnce() -> Option<R>) -> R {
    let _uncancelled = Uncancelled::new();
    catch_unwind(AssertUnwindSafe(body))
        .ok()
        .flatten()
        .unwrap_or_else(R::failure)
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    panic
        .downcast_ref::<&str>()
        .map(ToString::to_string)
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without a text".to_owned())
}

/// The bytes at `data`.
///
/// # Safety
/// `data` is NULL or points to `len` readable bytes that nobody writes for as long as `'a`.
pub(crate) unsafe fn bytes<'a>(data: *const u8, len: usize) -> &'a [u8] {
    if data.is_null() || len == 0 {
        return &[];
    }
    // SAFETY: the caller's promise.
    unsafe { std::slice::from_raw_parts(data, len) }
}

/// The text at `text`, if it isn't NULL.
///
/// # Safety
/// `text` is NULL or a NUL-terminated string that nobody writes for as long as `'a`.
pub(crate) unsafe fn text<'a>(
    name: &str,
    text: *const std::ffi::c_char,
) -> Result<Option<&'a str>, Error> {
    if text.is_null() {
        return Ok(None);
    }
    // SAFETY: the caller's promise.
    let text = unsafe { CStr::from_ptr(text) };
    text.to_str()
        .map(Some)
        .map_err(|_| Error::parameter(name, "the text is not UTF-8"))
}

/// Where OpenSSL wants an output: nowhere yet (it asks for the size), or in a buffer.
pub(crate) struct Output {
    data: *mut u8,
    capacity: usize,
    len: *mut usize,
}

impl Output {
    /// # Safety
    /// `len` points to a writable size; `data` is NULL or points to `capacity` writable bytes. Both stay so while the
    /// value lives.
    pub(crate) unsafe fn new(data: *mut u8, len: *mut usize, capacity: usize) -> Self {
        Self {
            data,
            capacity,
            len,
        }
    }

    /// Answers a call that asks for the size only. Returns whether it was one; if not, checks that `size` bytes fit.
    pub(crate) fn sized(&mut self, size: usize) -> Result<bool, Error> {
        if self.data.is_null() {
            self.set_len(size);
            return Ok(true);
        }
        if self.capacity < size {
            return Err(Error::BufferTooSmall {
                needed: size,
                available: self.capacity,
            });
        }
        Ok(false)
    }

    /// Answers a call that asks for the size only, with the most that there may be. Returns whether it was one.
    pub(crate) fn asks_for_size(&mut self, most: usize) -> bool {
        if self.data.is_null() {
            self.set_len(most);
        }
        self.data.is_null()
    }

    /// Hands out `value`.
    pub(crate) fn put(&mut self, value: &[u8]) -> Result<(), Error> {
        if self.capacity < value.len() {
            return Err(Error::BufferTooSmall {
                needed: value.len(),
                available: self.capacity,
            });
        }
        if !value.is_empty() {
            // SAFETY: `new`'s caller promised `capacity` writable bytes, and `value` is no longer than that.
            unsafe { std::ptr::copy_nonoverlapping(value.as_ptr(), self.data, value.len()) };
        }
        self.set_len(value.len());
        Ok(())
    }

    fn set_len(&mut self, len: usize) {
        // SAFETY: `new`'s caller promised a writable size.
        unsafe { *self.len = len };
    }
}
