//! The end of the process, while its threads still make requests.
//!
//! AWS-LC wipes the state of its random generators when the process ends. A thread that has one
//! waits from then on, which nobody notices; one that makes its first aborts the process. So a
//! thread makes its own before it does anything else, and none does once the end has begun.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use crate::error::Error;
use crate::metrics;

static HAS_BEGUN: AtomicBool = AtomicBool::new(false);
/// How many threads are making theirs.
static MAKING: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static IS_MADE: Cell<bool> = const { Cell::new(false) };
}

/// How often, and how long each time, the end waits for those threads. It takes them some
/// microseconds; a forked child may count some that it doesn't have.
const LOOKS: u32 = 100;
const LOOK: Duration = Duration::from_micros(200);

/// Before this thread does anything that needs random bytes.
pub(crate) fn make_generator() -> Result<(), Error> {
    if IS_MADE.get() {
        return Ok(());
    }
    look_for_random_bytes()?;
    MAKING.fetch_add(1, Ordering::SeqCst);
    let has_begun = HAS_BEGUN.load(Ordering::SeqCst);
    if !has_begun {
        let made = aws_lc_rs::rand::fill(&mut [0]);
        IS_MADE.set(made.is_ok());
    }
    MAKING.fetch_sub(1, Ordering::SeqCst);
    match has_begun {
        true => Err(Error::Io("it is ending".to_owned())),
        false => Ok(()),
    }
}

/// AWS-LC ends the process where the system refuses it random bytes.
#[cfg(target_os = "linux")]
fn look_for_random_bytes() -> Result<(), Error> {
    use rustix::io::Errno;
    use rustix::rand::{GetRandomFlags, getrandom};
    match getrandom(&mut [0u8], GetRandomFlags::NONBLOCK) {
        // AWS-LC waits for them, or reads a file where there is no such call.
        Ok(_) | Err(Errno::AGAIN | Errno::INTR | Errno::NOSYS) => Ok(()),
        Err(error) => Err(Error::Io(format!(
            "the system refuses it random bytes ({error}): have the filter of its system calls (seccomp) allow getrandom"
        ))),
    }
}

/// Elsewhere nobody filters what gives random bytes.
#[cfg(not(target_os = "linux"))]
fn look_for_random_bytes() -> Result<(), Error> {
    Ok(())
}

/// Says that the process is about to end, or this library to be taken out of it. Threads that have
/// made no request yet make none any more.
pub fn process_ends() {
    HAS_BEGUN.store(true, Ordering::SeqCst);
    metrics::stop_for_ever();
    for _ in 0..LOOKS {
        if MAKING.load(Ordering::SeqCst) == 0 {
            return;
        }
        std::thread::sleep(LOOK);
    }
}
