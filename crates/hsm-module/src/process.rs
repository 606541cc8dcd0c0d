//! The process that the module is loaded into: its rights, its forks, its end.

#[cfg(target_os = "linux")]
use std::sync::atomic::AtomicBool;
use std::sync::{Once, OnceLock};

use managed_hsm::LogSettings;
pub use managed_hsm::forks::generation;

use crate::{boundary, pipe_signal};

/// To be called when the module is loaded: notes whether the process has standard error, and takes
/// nothing from the environment of a program whose rights are not those of whoever started it.
pub fn is_loaded_into() {
    managed_hsm::logging::has_stderr();
    tell_of_panics_on_standard_error_alone();
    if has_raised_rights() {
        managed_hsm::environment::distrust();
    }
}

/// Where the program has closed standard error, the number may be that of a file of its own.
fn tell_of_panics_on_standard_error_alone() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let tell = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if managed_hsm::logging::stderr_takes_lines() {
                tell(panic);
            }
        }));
    });
}

/// Starts the log of the module whose crate is named, once in the process. None of its lines raises
/// a signal.
///
/// # Errors
/// A file that can't be written: the error names where it comes from.
pub fn start_log(settings: LogSettings, module: &str) -> Result<(), managed_hsm::Error> {
    let crates = [module, env!("CARGO_CRATE_NAME")];
    managed_hsm::logging::start(settings, &crates, pipe_signal::without)
}

/// Whether this process got rights that whoever started it lacks (setuid, setgid, file
/// capabilities): what libcrypto asks, too.
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

/// Has `before` called at the end of the process, and the client told of that end, before the
/// libraries within this module hear of it. Only the first call counts.
pub fn watch_for_the_end(before: fn()) {
    static BEFORE: OnceLock<fn()> = OnceLock::new();
    extern "C" fn end() {
        let _ = boundary::run(|| BEFORE.get().map(|before| before()));
        let _ = boundary::run(managed_hsm::process_ends);
    }
    // SAFETY: the function takes nothing and doesn't unwind. It stays where it is until it was
    // called: the C library calls it before this module is unloaded, too.
    if BEFORE.set(before).is_ok() && unsafe { libc::atexit(end) } != 0 {
        log::debug!("the end of the process will not be noticed");
    }
}

/// Has the client hear of each fork. A front end that says when its own locks are held
/// ([`managed_hsm::forks::Work`]) has none of them held in a child.
#[cfg(unix)]
pub fn watch_for_forks() {
    use managed_hsm::forks;
    extern "C" fn before() {
        forks::before_fork();
    }
    extern "C" fn in_parent() {
        forks::after_fork_in_parent();
    }
    extern "C" fn in_child() {
        forks::after_fork_in_child();
        let _ = boundary::run(managed_hsm::open_ahead_in_child);
    }
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        #[cfg(target_os = "linux")]
        if let Some(mark) = mark_that_no_child_has() {
            forks::watch(mark);
        }
        // SAFETY: the functions take nothing and don't unwind. They stay where they are while the C
        // library knows them: it forgets them when this module is unloaded.
        let error = unsafe { libc::pthread_atfork(Some(before), Some(in_parent), Some(in_child)) };
        if error != 0 {
            log::debug!("forks will not be noticed");
        }
    });
}

/// A mark that is false in each process that is made of this one with a copy of its memory, by
/// fork(3) or by clone(2). None: the kernel is older than Linux 4.14, or there is no memory.
#[cfg(target_os = "linux")]
fn mark_that_no_child_has() -> Option<&'static AtomicBool> {
    let len = size_of::<AtomicBool>();
    let access = libc::PROT_READ | libc::PROT_WRITE;
    let kind = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    // SAFETY: the kernel finds a place for the page that is nobody else's. It has zeros, of which
    // the mark is made, here and in a child; and it is given back only where it isn't handed out.
    unsafe {
        let page = libc::mmap(std::ptr::null_mut(), len, access, kind, -1, 0);
        if page == libc::MAP_FAILED {
            return None;
        }
        if libc::madvise(page, len, libc::MADV_WIPEONFORK) != 0 {
            libc::munmap(page, len);
            return None;
        }
        Some(&*page.cast())
    }
}

/// There are no forks.
#[cfg(not(unix))]
pub fn watch_for_forks() {}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// Makes a child as libraries do.
    fn fork() -> libc::pid_t {
        // SAFETY: the child does nothing but look at numbers and end, without the C library's
        // handlers.
        unsafe { libc::fork() }
    }

    /// Makes one of which the C library knows nothing, as sandboxes do.
    fn clone() -> libc::pid_t {
        // SAFETY: the child does nothing but look at numbers and end, on a copy of this stack. It
        // asks for no numbers of threads.
        let child = unsafe { libc::syscall(libc::SYS_clone, libc::SIGCHLD, 0, 0, 0, 0) };
        child as libc::pid_t
    }

    /// What a child of this process says by its exit status.
    fn in_child(make: fn() -> libc::pid_t, tell: fn() -> u8) -> i32 {
        match make() {
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
    fn a_child_is_told_from_its_parent() {
        watch_for_forks();
        let parent = generation();
        for make in [fork, clone] {
            let child = in_child(make, || generation() as u8);
            assert_eq!(child, parent as i32 + 1);
            assert_eq!(generation(), parent);
        }
    }

    #[test]
    fn a_fork_waits_for_work_that_is_under_way() {
        use managed_hsm::forks::Work;
        static IS_OVER: AtomicUsize = AtomicUsize::new(0);
        watch_for_forks();
        let waits = || {
            IS_OVER.store(0, Ordering::SeqCst);
            let begun = std::sync::Barrier::new(2);
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    let _work = Work::begin();
                    begun.wait();
                    std::thread::sleep(std::time::Duration::from_millis(10));
                    IS_OVER.store(1, Ordering::SeqCst);
                });
                begun.wait();
                in_child(fork, || IS_OVER.load(Ordering::SeqCst) as u8) == 1
            })
        };
        // Not for long, and on a busy machine the work may take longer. A fork that doesn't wait
        // finds it under way each time.
        assert!((0..50).any(|_| waits()));
    }

    #[test]
    fn a_program_without_raised_rights_is_trusted() {
        is_loaded_into();
        assert!(managed_hsm::environment::is_trusted());
    }
}
