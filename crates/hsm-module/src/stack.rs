//! The stack that a call runs on, which may be too small for a request: that of a fibre (HAProxy,
//! libcrypto's asynchronous jobs), of a thread with little of it (musl, stunnel), or of a thread
//! that has used most of it.

use managed_hsm::{Caller, CallerKind};

/// Threads of a program's, whatever their stacks: a request runs on the caller's if there is room.
#[derive(Debug)]
pub struct AnyStack;

impl Caller for AnyStack {
    fn kind(&self) -> CallerKind {
        kind()
    }
}

/// What the stack of the present call is like, where the call may block its thread.
pub fn kind() -> CallerKind {
    match has_room() {
        true => CallerKind::Thread,
        false => CallerKind::SmallStack,
    }
}

/// Whether the stack of the present call has room for a request, and for what takes as much.
///
/// How a stack's bounds are found out is not known here: they are taken to be far.
#[cfg(not(target_os = "linux"))]
pub fn has_room() -> bool {
    true
}

#[cfg(target_os = "linux")]
pub use linux::has_room;

#[cfg(target_os = "linux")]
mod linux {
    use std::cell::OnceCell;
    use std::mem::MaybeUninit;
    use std::ops::Range;

    /// What a request takes of a stack at most: HTTP, TLS and JSON, with a margin for builds
    /// without optimization.
    const ROOM: usize = 256 * 1024;

    /// Whether the stack of the present call has room for a request, and for what takes as much.
    pub fn has_room() -> bool {
        thread_local! {
            static STACK: OnceCell<Option<Range<usize>>> = const { OnceCell::new() };
        }
        let here = 0u8;
        let here = (&raw const here).addr();
        STACK.with(|stack| match stack.get_or_init(stack_of_thread) {
            // A stack elsewhere is a fibre of the program's.
            Some(stack) => stack.contains(&here) && here - stack.start >= ROOM,
            None => false,
        })
    }

    /// The addresses of this thread's stack.
    fn stack_of_thread() -> Option<Range<usize>> {
        let mut attributes = MaybeUninit::<libc::pthread_attr_t>::uninit();
        let (mut start, mut size) = (std::ptr::null_mut(), 0);
        // SAFETY: the attributes are initialized by the first call, read by the second and given
        // back by the third; there is room for both results.
        let known = unsafe {
            if libc::pthread_getattr_np(libc::pthread_self(), attributes.as_mut_ptr()) != 0 {
                return None;
            }
            let known =
                libc::pthread_attr_getstack(attributes.as_ptr(), &raw mut start, &raw mut size)
                    == 0;
            libc::pthread_attr_destroy(attributes.as_mut_ptr());
            known
        };
        known.then(|| start.addr()..start.addr() + size)
    }
}

#[cfg(all(test, target_os = "linux", not(miri)))]
mod tests {
    use super::*;

    fn on_stack_of(size: usize) -> bool {
        let builder = std::thread::Builder::new().stack_size(size);
        let thread = builder.spawn(|| matches!(kind(), CallerKind::Thread));
        thread.unwrap().join().unwrap()
    }

    #[test]
    fn a_request_runs_where_there_is_room() {
        assert!(on_stack_of(2 << 20));
        assert!(!on_stack_of(128 << 10));
    }

    #[cfg(target_env = "gnu")]
    #[test]
    fn a_fibre_is_no_place_for_a_request_however_large_its_stack_is() {
        use std::mem::MaybeUninit;
        use std::sync::atomic::{AtomicBool, Ordering};
        static HAS_ROOM: AtomicBool = AtomicBool::new(true);
        extern "C" fn look() {
            HAS_ROOM.store(matches!(kind(), CallerKind::Thread), Ordering::SeqCst);
        }
        let mut stack = vec![0u8; 1 << 20];
        let (mut here, mut fibre) = (MaybeUninit::uninit(), MaybeUninit::uninit());
        // SAFETY: both contexts are initialized before they are used; the fibre has a stack, takes
        // nothing and returns to this context.
        unsafe {
            assert_eq!(libc::getcontext(fibre.as_mut_ptr()), 0);
            let fibre: &mut libc::ucontext_t = fibre.assume_init_mut();
            fibre.uc_stack.ss_sp = stack.as_mut_ptr().cast();
            fibre.uc_stack.ss_size = stack.len();
            fibre.uc_link = here.as_mut_ptr();
            libc::makecontext(fibre, look, 0);
            assert_eq!(libc::swapcontext(here.as_mut_ptr(), fibre), 0);
        }
        assert!(!HAS_ROOM.load(Ordering::SeqCst));
    }
}
