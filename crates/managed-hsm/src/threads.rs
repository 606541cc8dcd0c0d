//! Threads of the client's own, which take no signal that is meant for the application.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{Builder, JoinHandle, Scope, ScopedJoinHandle};

use crate::error::Error;
use crate::forks;

/// As much as Rust's threads have by default, unless RUST_MIN_STACK says otherwise: see
/// [`crate::environment`].
const STACK: usize = 2 << 20;

/// Starts a thread that blocks all signals but those of its own faults.
///
/// A signal to a process goes to any thread that doesn't block it. A server such as nginx waits for
/// its signals in sigsuspend(2); what one of our threads took instead would not wake it.
pub(crate) fn start<T: Send + 'static>(
    name: &str,
    body: impl FnOnce() -> T + Send + 'static,
) -> io::Result<JoinHandle<T>> {
    // A thread begins with the signals blocked that are blocked in the one that starts it.
    let _blocked = signals::Blocked::new()?;
    builder(name).spawn(body)
}

/// The same for a thread that is waited for, and may borrow from who does.
///
/// # Errors
/// It can't be started.
pub fn start_within<'scope, T: Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    name: &str,
    body: impl FnOnce() -> T + Send + 'scope,
) -> io::Result<ScopedJoinHandle<'scope, T>> {
    let _blocked = signals::Blocked::new()?;
    builder(name).spawn_scoped(scope, body)
}

/// How many threads of ours last, in the upper half: in which process, by [`forks::generation`].
static LASTING: AtomicU64 = AtomicU64::new(0);

/// The thread that has it lasts until the process ends, but keeps it from ending no more than
/// others of its kind: see [`are_alone`]. To be had by that thread itself.
pub(crate) struct Lasting {
    /// The process's, as [`LASTING`] has it.
    process: u64,
}

impl Lasting {
    pub(crate) fn begin() -> Self {
        let process = process();
        count(process, 1);
        Self { process }
    }
}

impl Drop for Lasting {
    fn drop(&mut self) {
        count(self.process, -1);
    }
}

fn process() -> u64 {
    ((forks::generation() as u64) & 0xffff_ffff) << 32
}

/// Notes that there are more or fewer. What a parent has is none of its child's.
fn count(of: u64, more: i64) {
    let counted = |all: u64| {
        let known = if all & !0xffff_ffff == of { all } else { of };
        Some(known.saturating_add_signed(more).max(of))
    };
    let _ = LASTING.fetch_update(Ordering::SeqCst, Ordering::SeqCst, counted);
}

/// How many threads of ours last in this process.
#[cfg(target_os = "linux")]
fn lasting() -> u64 {
    let all = LASTING.load(Ordering::SeqCst);
    if all & !0xffff_ffff == process() {
        all & 0xffff_ffff
    } else {
        0
    }
}

/// Whether the threads that ask, which [last](Lasting), are the last ones of a process whose first
/// thread has ended, as `pthread_exit` in `main` does it. The process ends with its last thread,
/// and one of ours takes no signal that would end it. No file is opened for that: its number might
/// be one that the application waits for.
#[cfg(target_os = "linux")]
pub(crate) fn are_alone() -> bool {
    use std::os::unix::fs::MetadataExt;

    // It is there, but names no program once the first thread has ended: proc(5).
    let program = std::fs::read_link("/proc/self/exe");
    if !program.is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
        return false;
    }
    // Two links of the folder itself, and one of each thread's: the first one, and ours.
    let expected = 3 + lasting();
    std::fs::metadata("/proc/self/task").is_ok_and(|threads| threads.nlink() == expected)
}

/// Nothing tells.
#[cfg(not(target_os = "linux"))]
pub(crate) fn are_alone() -> bool {
    false
}

fn builder(name: &str) -> Builder {
    Builder::new().name(name.to_owned()).stack_size(STACK)
}

/// Does what takes more of a stack than a fibre has: here if there is room, else on a thread of its
/// own, for which the caller waits.
///
/// # Errors
/// The thread can't be started.
pub fn with_room<T: Send>(has_room: bool, body: impl FnOnce() -> T + Send) -> Result<T, Error> {
    if has_room {
        return Ok(body());
    }
    let outcome = std::thread::scope(|scope| {
        start_within(scope, "akv-room", body).map(ScopedJoinHandle::join)
    });
    match outcome {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(panic)) => std::panic::resume_unwind(panic),
        Err(error) => Err(Error::Io(format!("a thread can't be started: {error}"))),
    }
}

#[cfg(unix)]
mod signals {
    use std::io;

    use nix::sys::signal::{SigSet, SigmaskHow, Signal};

    /// What a thread does to itself: a handler of the application may want to tell of it.
    const FAULTS: [Signal; 7] = [
        Signal::SIGABRT,
        Signal::SIGBUS,
        Signal::SIGFPE,
        Signal::SIGILL,
        Signal::SIGSEGV,
        Signal::SIGSYS,
        Signal::SIGTRAP,
    ];

    /// This thread's signals are blocked until this goes.
    pub(super) struct Blocked {
        before: SigSet,
    }

    impl Blocked {
        pub(super) fn new() -> io::Result<Self> {
            let mut signals = SigSet::all();
            for fault in FAULTS {
                signals.remove(fault);
            }
            let before = signals.thread_swap_mask(SigmaskHow::SIG_BLOCK)?;
            Ok(Self { before })
        }
    }

    impl Drop for Blocked {
        fn drop(&mut self) {
            // The set was this thread's just now.
            let _ = self.before.thread_set_mask();
        }
    }
}

/// There are no such signals.
#[cfg(not(unix))]
mod signals {
    pub(super) struct Blocked;

    impl Blocked {
        pub(super) fn new() -> std::io::Result<Self> {
            Ok(Self)
        }
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    /// The signals that this thread blocks, as bits from signal 1 on.
    fn blocked() -> u64 {
        let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("SigBlk:"));
        u64::from_str_radix(line.unwrap().trim(), 16).unwrap()
    }

    #[test]
    fn a_thread_of_ours_takes_no_signal_and_who_starts_it_keeps_its_own() {
        let before = blocked();
        let there = start("akv-test", blocked).unwrap().join().unwrap();
        assert_eq!(blocked(), before);
        for signal in [
            libc_signal("SIGTERM"),
            libc_signal("SIGCHLD"),
            libc_signal("SIGPIPE"),
        ] {
            assert_ne!(there & (1 << (signal - 1)), 0, "{signal}");
        }
        assert_eq!(there & (1 << (libc_signal("SIGSEGV") - 1)), 0);
    }

    #[test]
    fn what_needs_room_is_done_here_or_on_a_thread_that_takes_no_signal() {
        let here = std::thread::current().id();
        let (id, there) = with_room(true, || (std::thread::current().id(), blocked())).unwrap();
        assert_eq!((id, there), (here, blocked()));
        let (id, there) = with_room(false, || (std::thread::current().id(), blocked())).unwrap();
        assert_ne!(id, here);
        assert_ne!(there & (1 << (libc_signal("SIGTERM") - 1)), 0);
        let panics = || with_room(false, || -> () { panic!("as it is") });
        assert!(std::panic::catch_unwind(panics).is_err());
    }

    fn libc_signal(name: &str) -> i32 {
        name.parse::<nix::sys::signal::Signal>().unwrap() as i32
    }
}
