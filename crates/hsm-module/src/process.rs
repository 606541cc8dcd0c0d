//! The process that the module is loaded into: its rights, its forks, its end.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use managed_hsm::LogSettings;

use crate::boundary;

/// To be called when the module is loaded: notes whether the process has standard error, and takes nothing from the
/// environment of a program whose rights are not those of whoever started it.
pub fn is_loaded_into() {
    managed_hsm::logging::has_stderr();
    if has_raised_rights() {
        managed_hsm::environment::distrust();
    }
}

/// Starts the log of the module whose crate is named, once in the process.
///
/// # Errors
/// A file that can't be written: the error names where it comes from.
pub fn start_log(settings: LogSettings, module: &str) -> Result<(), managed_hsm::Error> {
    managed_hsm::logging::start(settings, &[module, env!("CARGO_CRATE_NAME")])
}

/// Whether this process got rights that whoever started it lacks (setuid, setgid, file capabilities): what libcrypto asks, too.
#[cfg(target_os = "linux")]
fn has_raised_rights() -> bool {
    // SAFETY: it looks up a number in what the kernel told the process, and takes no pointer.
    unsafe { libc::getauxval(libc::AT_SECURE) != 0 }
}

/// Whether this process got rights that whoever started it lacks.
#[cfg(any(
    target_os = "macos",
    target_os = "freebsd",
    target_os = "openbsd",
    target_os = "netbsd"
))]
fn has_raised_rights() -> bool {
    // SAFETY: it takes nothing, and can't fail.
    unsafe { libc::issetugid() != 0 }
}

/// There are no such programs.
#[cfg(windows)]
fn has_raised_rights() -> bool {
    false
}

/// Has `before` called at the end of the process, and the client told of that end, before the libraries within this module hear of
/// it. Only the first call counts.
pub fn watch_for_the_end(before: fn()) {
    static BEFORE: OnceLock<fn()> = OnceLock::new();
    extern "C" fn end() {
        let _ = boundary::run(|| BEFORE.get().map(|before| before()));
        let _ = boundary::run(managed_hsm::process_ends);
    }
    // SAFETY: the function takes nothing and doesn't unwind. It stays where it is until it was called: the C library calls it
    // before this module is unloaded, too.
    if BEFORE.set(before).is_ok() && unsafe { libc::atexit(end) } != 0 {
        log::debug!("the end of the process will not be noticed");
    }
}

/// How many forks, since the module began to watch for them, lie between the process that it was loaded into and this one.
static GENERATION: AtomicUsize = AtomicUsize::new(0);

/// Tells a process from its children: the number differs from what it was before a fork, if
/// [`watch_for_forks`] was called by then.
pub fn generation() -> usize {
    GENERATION.load(Ordering::Relaxed)
}

/// What a front end does about forks beside the client, whose locks it may hold meanwhile. All are called on the thread that
/// forks.
#[derive(Clone, Copy, Debug)]
pub struct AtFork {
    /// Before the fork, when no thread is at work in the client any more.
    pub before: fn(),
    /// In the parent.
    pub in_parent: fn(),
    /// In the child.
    pub in_child: fn(),
}

impl AtFork {
    /// Nothing.
    pub const NOTHING: Self = Self {
        before: || (),
        in_parent: || (),
        in_child: || (),
    };
}

/// Has the client hear of each fork, and the front end. Only the first call counts.
#[cfg(unix)]
pub fn watch_for_forks(own: AtFork) {
    use managed_hsm::forks;
    static OWN: OnceLock<AtFork> = OnceLock::new();
    fn with_own(act: impl FnOnce(&AtFork)) {
        let _ = boundary::run(|| OWN.get().map(act));
    }
    extern "C" fn before() {
        forks::before_fork();
        with_own(|own| (own.before)());
    }
    extern "C" fn in_parent() {
        with_own(|own| (own.in_parent)());
        forks::after_fork_in_parent();
    }
    extern "C" fn in_child() {
        GENERATION.fetch_add(1, Ordering::Relaxed);
        with_own(|own| (own.in_child)());
        forks::after_fork_in_child();
    }
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let _ = OWN.set(own);
        // SAFETY: the functions take nothing and don't unwind. They stay where they are while the C library knows them: it
        // forgets them when this module is unloaded.
        let error = unsafe { libc::pthread_atfork(Some(before), Some(in_parent), Some(in_child)) };
        if error != 0 {
            log::debug!("forks will not be noticed");
        }
    });
}

/// There are no forks.
#[cfg(not(unix))]
pub fn watch_for_forks(_own: AtFork) {}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    /// What a child of this process says by its exit status.
    fn in_child(tell: fn() -> u8) -> i32 {
        // SAFETY: the child does nothing but look at numbers and end, without the C library's handlers.
        match unsafe { libc::fork() } {
            0 => {
                let status = tell();
                // SAFETY: it takes a number, and ends the child.
                unsafe { libc::_exit(status.into()) }
            }
            child => {
                let mut status = 0;
                // SAFETY: the child is this process's own, and there is room for its status.
                assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
                libc::WEXITSTATUS(status)
            }
        }
    }

    #[test]
    fn a_child_is_told_from_its_parent_and_the_front_end_hears_of_each_fork() {
        static SEEN: AtomicUsize = AtomicUsize::new(0);
        fn see(by: usize) {
            SEEN.fetch_add(by, Ordering::SeqCst);
        }
        watch_for_forks(AtFork {
            before: || see(1),
            in_parent: || see(10),
            in_child: || see(100),
        });
        let parent = generation();
        let told = in_child(|| match SEEN.load(Ordering::SeqCst) {
            101 => generation() as u8,
            _ => 99,
        });
        assert_eq!(told, parent as i32 + 1);
        assert_eq!(generation(), parent);
        assert_eq!(SEEN.load(Ordering::SeqCst), 11);
    }

    #[test]
    fn a_program_without_raised_rights_is_trusted() {
        is_loaded_into();
        assert!(managed_hsm::environment::is_trusted());
    }
}
