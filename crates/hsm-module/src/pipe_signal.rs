//! Keeps SIGPIPE and SIGXFSZ from a process whose application doesn't expect them.
//!
//! To write to a connection that the HSM has closed raises SIGPIPE, which by default ends the
//! process: rustls writes with writev(2), which has no flag against it. So does a line of the log
//! that is written to a pipe which nobody reads any more; and one beyond the size that files of the
//! process may have raises SIGXFSZ. How a process takes signals is the application's business, so
//! both are blocked for this thread and for as long as requests are under way or a line is written,
//! and taken off before they could be seen. Threads that are started meanwhile inherit the block
//! and keep it.

use std::marker::PhantomData;

/// Both signals are blocked in this thread until this goes.
#[derive(Debug)]
pub struct Blocked {
    /// Whether it was this value that blocked them.
    is_first: bool,
    /// The mask of signals is a thread's own.
    _of_this_thread: PhantomData<*const ()>,
}

impl Blocked {
    /// Blocks them, as far as they are not blocked already.
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

/// Does `work` with both signals blocked.
pub fn without(work: &mut dyn FnMut()) {
    let _blocked = Blocked::new();
    work();
}

#[cfg(unix)]
mod mask {
    use std::cell::Cell;
    use std::mem::MaybeUninit;

    /// What a write may raise.
    pub(super) const SIGNALS: [libc::c_int; 2] = [libc::SIGPIPE, libc::SIGXFSZ];

    thread_local! {
        /// Which of them are blocked, and by us.
        static OURS: Cell<[bool; SIGNALS.len()]> = const { Cell::new([false; SIGNALS.len()]) };
    }

    /// Whether one of them wasn't blocked before.
    pub(super) fn block() -> bool {
        let (set, mut old) = (set_of([true; SIGNALS.len()]), MaybeUninit::uninit());
        // SAFETY: the set is initialized, and there is room for the old one, which is initialized
        // if the call succeeds.
        let blocked = unsafe {
            if libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, old.as_mut_ptr()) != 0 {
                return false;
            }
            SIGNALS.map(|signal| libc::sigismember(old.as_ptr(), signal) == 0)
        };
        if !blocked.contains(&true) {
            return false;
        }
        OURS.set(blocked);
        true
    }

    /// Undoes `block`, if there is something to undo. Whether there was.
    pub(super) fn unblock() -> bool {
        let ours = OURS.take();
        if !ours.contains(&true) {
            return false;
        }
        let (set, now) = (
            set_of(ours),
            libc::timespec {
                tv_sec: 0,
                tv_nsec: 0,
            },
        );
        // SAFETY: the set and the time are initialized; NULL means that nothing more is wanted.
        // Without a pending signal the first call fails at once.
        unsafe {
            while libc::sigtimedwait(&raw const set, std::ptr::null_mut(), &raw const now) > 0 {}
            libc::pthread_sigmask(libc::SIG_UNBLOCK, &raw const set, std::ptr::null_mut());
        }
        true
    }

    fn set_of(wanted: [bool; SIGNALS.len()]) -> libc::sigset_t {
        let mut set = MaybeUninit::uninit();
        // SAFETY: the first call initializes the set.
        unsafe {
            libc::sigemptyset(set.as_mut_ptr());
            for (signal, _) in SIGNALS
                .iter()
                .zip(wanted)
                .filter(|(_, is_wanted)| *is_wanted)
            {
                libc::sigaddset(set.as_mut_ptr(), *signal);
            }
            set.assume_init()
        }
    }
}

/// There are no such signals.
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

    /// Whether this thread blocks both signals, rather than neither.
    pub(crate) fn is_blocked() -> bool {
        let mut set = std::mem::MaybeUninit::uninit();
        // SAFETY: without a new set the call only tells the present one.
        let are_blocked = unsafe {
            libc::pthread_sigmask(libc::SIG_BLOCK, std::ptr::null(), set.as_mut_ptr());
            mask::SIGNALS.map(|signal| libc::sigismember(set.as_ptr(), signal) == 1)
        };
        assert_eq!(are_blocked[0], are_blocked[1]);
        are_blocked[0]
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
    fn signals_that_were_raised_meanwhile_are_never_seen() {
        without(&mut || {
            for signal in mask::SIGNALS {
                // SAFETY: the thread sends itself a signal that it blocks.
                unsafe { libc::pthread_kill(libc::pthread_self(), signal) };
            }
        });
    }
}
