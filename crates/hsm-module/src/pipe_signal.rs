//! Keeps SIGPIPE from a process whose application doesn't expect it.
//!
//! To write to a connection that the HSM has closed raises SIGPIPE, which by default ends the
//! process: rustls writes with writev(2), which has no flag against it. How a process takes signals
//! is the application's business, so the signal is blocked for this thread and for as long as
//! requests are under way, and taken off before it could be seen. Threads that are started
//! meanwhile inherit the block and keep it.

use std::marker::PhantomData;

/// SIGPIPE is blocked in this thread until this goes.
#[derive(Debug)]
pub struct Blocked {
    /// Whether it was this value that blocked it.
    is_first: bool,
    /// The mask of signals is a thread's own.
    _of_this_thread: PhantomData<*const ()>,
}

impl Blocked {
    /// Blocks it, unless it is blocked already.
    #[allow(clippy::new_without_default, reason = "it does something")]
    pub fn new() -> Self {
        Self {
            is_first: mask::block(),
            _of_this_thread: PhantomData,
        }
    }

    /// Runs what does something else in this thread, such as other jobs while one is paused, as if
    /// nothing were blocked.
    pub fn except<R>(other: impl FnOnce() -> R) -> R {
        let was_blocked = mask::unblock();
        let result = other();
        if was_blocked {
            mask::block();
        }
        result
    }
}

impl Drop for Blocked {
    fn drop(&mut self) {
        if self.is_first {
            mask::unblock();
        }
    }
}

#[cfg(unix)]
mod mask {
    use std::cell::Cell;
    use std::mem::MaybeUninit;

    thread_local! {
        /// Whether SIGPIPE is blocked, and by us.
        static IS_OURS: Cell<bool> = const { Cell::new(false) };
    }

    /// Whether it wasn't blocked before.
    pub(super) fn block() -> bool {
        let (set, mut old) = (sigpipe(), MaybeUninit::uninit());
        // SAFETY: the set is initialized, and there is room for the old one, which is initialized
        // if the call succeeds.
        let was_blocked = unsafe {
            if libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, old.as_mut_ptr()) != 0 {
                return false;
            }
            libc::sigismember(old.as_ptr(), libc::SIGPIPE) == 1
        };
        if !was_blocked {
            IS_OURS.set(true);
        }
        !was_blocked
    }

    /// Undoes `block`, if there is something to undo. Whether there was.
    pub(super) fn unblock() -> bool {
        if !IS_OURS.replace(false) {
            return false;
        }
        let (set, now) = (
            sigpipe(),
            libc::timespec {
                tv_sec: 0,
                tv_nsec: 0,
            },
        );
        // SAFETY: the set and the time are initialized; NULL means that nothing more is wanted.
        // Without a pending signal the first call fails at once.
        unsafe {
            libc::sigtimedwait(&raw const set, std::ptr::null_mut(), &raw const now);
            libc::pthread_sigmask(libc::SIG_UNBLOCK, &raw const set, std::ptr::null_mut());
        }
        true
    }

    fn sigpipe() -> libc::sigset_t {
        let mut set = MaybeUninit::uninit();
        // SAFETY: the first call initializes the set.
        unsafe {
            libc::sigemptyset(set.as_mut_ptr());
            libc::sigaddset(set.as_mut_ptr(), libc::SIGPIPE);
            set.assume_init()
        }
    }
}

/// There is no such signal.
#[cfg(not(unix))]
mod mask {
    pub(super) fn block() -> bool {
        false
    }

    pub(super) fn unblock() -> bool {
        false
    }
}

#[cfg(all(test, unix))]
pub(crate) mod tests {
    use super::*;

    /// Whether this thread blocks SIGPIPE.
    pub(crate) fn is_blocked() -> bool {
        let mut set = std::mem::MaybeUninit::uninit();
        // SAFETY: without a new set the call only tells the present one.
        unsafe {
            libc::pthread_sigmask(libc::SIG_BLOCK, std::ptr::null(), set.as_mut_ptr());
            libc::sigismember(set.as_ptr(), libc::SIGPIPE) == 1
        }
    }

    #[test]
    fn the_signal_is_blocked_as_long_as_the_outermost_wants_it() {
        assert!(!is_blocked());
        let outer = Blocked::new();
        drop(Blocked::new());
        assert!(is_blocked());
        Blocked::except(|| {
            assert!(!is_blocked());
            let _other = Blocked::new();
            assert!(is_blocked());
        });
        assert!(is_blocked());
        drop(outer);
        assert!(!is_blocked());
        Blocked::except(|| assert!(!is_blocked()));
        assert!(!is_blocked());
    }

    #[test]
    fn a_signal_that_was_raised_meanwhile_is_never_seen() {
        let blocked = Blocked::new();
        // SAFETY: the thread sends itself a signal that it blocks.
        unsafe { libc::pthread_kill(libc::pthread_self(), libc::SIGPIPE) };
        drop(blocked);
    }
}
