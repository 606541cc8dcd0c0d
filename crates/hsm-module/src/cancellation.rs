//! Keeps pthread_cancel(3) from ending a thread in the middle of our code.
//!
//! The C library cancels a thread by unwinding its stack, from within a system call that waits.
//! Rust's frames can't be unwound so, and the process would end. So cancelling is put off as long
//! as our code runs. Functions that may have waited for the HSM are cancellation points once that
//! code has returned, as is whatever waits for a network: a thread that does nothing but sign ends,
//! too.

use std::cell::Cell;
use std::marker::PhantomData;

/// This thread isn't cancelled until this goes.
#[derive(Debug)]
pub struct Uncancelled {
    /// Whether it was this value that saw to it.
    is_first: bool,
    /// Whether it may be cancelled is a thread's own affair.
    _of_this_thread: PhantomData<*const ()>,
}

impl Uncancelled {
    /// Puts cancelling off, unless it is already.
    #[allow(clippy::new_without_default, reason = "it does something")]
    pub fn new() -> Self {
        Self {
            is_first: state::disable(),
            _of_this_thread: PhantomData,
        }
    }

    /// Runs what does something else in this thread, such as other jobs while one is paused, as if
    /// nothing were put off.
    pub fn except<R>(other: impl FnOnce() -> R) -> R {
        let was_disabled = state::enable();
        let result = other();
        if was_disabled {
            state::disable();
        }
        result
    }
}

impl Drop for Uncancelled {
    fn drop(&mut self) {
        if self.is_first {
            state::enable();
        }
    }
}

/// A function for a program in C that is a cancellation point after it has done its work:
/// `cancellable!(function(parameter: Type, …) -> Type)`.
#[macro_export]
macro_rules! cancellable {
    ($function:ident($($parameter:ident: $type:ty),* $(,)?) -> $returned:ty) => {{
        unsafe extern "C-unwind" fn point($($parameter: $type),*) -> $returned {
            // SAFETY: the caller passes what the function takes, and keeps the promises that it
            // asks for.
            let result = unsafe { $function($($parameter),*) };
            $crate::cancellation::end_if_cancelled();
            result
        }
        point
    }};
}

thread_local! {
    /// Whether this thread has used the client since it was last looked.
    static HAS_ASKED: Cell<bool> = const { Cell::new(false) };
}

/// Notes that this thread may have waited for the HSM. Work with software keys makes no
/// cancellation point.
pub fn has_asked() {
    HAS_ASKED.set(true);
}

/// Ends this thread if it was cancelled while it asked the HSM. Nothing that has to be dropped may
/// be in the frames from here to the program's.
pub fn end_if_cancelled() {
    if HAS_ASKED.take() {
        state::end_if_cancelled();
    }
}

#[cfg(unix)]
mod state {
    use std::cell::Cell;
    use std::ffi::c_int;

    #[cfg(target_vendor = "apple")]
    const ENABLE: c_int = 1;
    #[cfg(target_vendor = "apple")]
    const DISABLE: c_int = 0;
    #[cfg(not(target_vendor = "apple"))]
    const ENABLE: c_int = 0;
    #[cfg(not(target_vendor = "apple"))]
    const DISABLE: c_int = 1;

    unsafe extern "C" {
        fn pthread_setcancelstate(state: c_int, before: *mut c_int) -> c_int;
    }

    unsafe extern "C-unwind" {
        fn pthread_testcancel();
    }

    pub(super) fn end_if_cancelled() {
        // SAFETY: it takes nothing. That it may unwind is in its ABI.
        unsafe { pthread_testcancel() };
    }

    thread_local! {
        /// Whether cancelling is put off, and by us.
        static IS_OURS: Cell<bool> = const { Cell::new(false) };
    }

    fn set(state: c_int) -> c_int {
        let mut before = DISABLE;
        // SAFETY: there is room for the state before. To enable it cancels nothing: the function is
        // no cancellation point, and the application decides about threads that are cancelled at
        // any point.
        unsafe { pthread_setcancelstate(state, &raw mut before) };
        before
    }

    /// Whether the thread could be cancelled before.
    pub(super) fn disable() -> bool {
        let could_be = set(DISABLE) == ENABLE;
        if could_be {
            IS_OURS.set(true);
        }
        could_be
    }

    /// Undoes `disable`, if there is something to undo. Whether there was.
    pub(super) fn enable() -> bool {
        let is_ours = IS_OURS.replace(false);
        if is_ours {
            set(ENABLE);
        }
        is_ours
    }
}

/// There is no such thing.
#[cfg(not(unix))]
mod state {
    pub(super) fn end_if_cancelled() {}

    pub(super) fn disable() -> bool {
        false
    }

    pub(super) fn enable() -> bool {
        false
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::ffi::c_int;

    use super::*;

    unsafe extern "C" {
        fn pthread_setcancelstate(state: c_int, before: *mut c_int) -> c_int;
    }

    /// Whether this thread can be cancelled.
    fn can_be() -> bool {
        let mut before = 0;
        // SAFETY: there is room for the state, which is set back to what it was.
        unsafe {
            pthread_setcancelstate(0, &raw mut before);
            pthread_setcancelstate(before, std::ptr::null_mut());
        }
        before == 0
    }

    #[test]
    fn cancelling_is_put_off_as_long_as_the_outermost_wants_it() {
        assert!(can_be());
        let outer = Uncancelled::new();
        drop(Uncancelled::new());
        assert!(!can_be());
        Uncancelled::except(|| assert!(can_be()));
        assert!(!can_be());
        drop(outer);
        assert!(can_be());
    }

    #[test]
    fn a_function_that_asked_nobody_is_no_cancellation_point() {
        unsafe extern "C" fn double(number: c_int) -> c_int {
            2 * number
        }
        let point: unsafe extern "C-unwind" fn(c_int) -> c_int =
            crate::cancellable!(double(number: c_int) -> c_int);
        has_asked();
        // SAFETY: the function takes any small number. Nobody cancels this thread.
        assert_eq!(unsafe { point(4) }, 8);
        assert!(!HAS_ASKED.get());
    }
}
