//! The one place where Rust's results and panics become OpenSSL's return values and errors.

use std::ffi::{CStr, c_int, c_void};

use hsm_module::boundary::run;

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

/// Runs `body`. An error or a panic goes on OpenSSL's queue under the name `function`, and the
/// failure value is returned.
pub(crate) fn call<R: Returned>(
    core: &Core,
    function: &CStr,
    body: impl FnOnce() -> Result<R, Error>,
) -> R {
    let error = match run(body) {
        Ok(Ok(value)) => return value,
        Ok(Err(error)) => error,
        Err(panic) => Error::Internal(panic.to_string()),
    };
    // Formatting an error must not take the process down either.
    let _ = run(|| core.raise(function, &error));
    R::failure()
}

/// As [`call`] where a refusal is an answer, not an error: nothing goes on the queue.
pub(crate) fn quietly<R: Returned>(body: impl FnOnce() -> Option<R>) -> R {
    run(body).ok().flatten().unwrap_or_else(R::failure)
}

/// The text at `text`, if it isn't NULL.
///
/// # Safety
/// `text` is NULL or a NUL-terminated string that nobody writes for as long as `'a`.
pub(crate) unsafe fn text<'a>(
    name: &str,
    text: *const std::ffi::c_char,
) -> Result<Option<&'a str>, Error> {
    // SAFETY: the caller promises NULL or a NUL-terminated string that nobody writes.
    unsafe { hsm_module::input::text(text) }
        .map_err(|_| Error::parameter(name, "the text is not UTF-8"))
}
