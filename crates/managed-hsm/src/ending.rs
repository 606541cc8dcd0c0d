//! Random bytes of AWS-LC's, and the end of the process while its threads still need them.
//!
//! AWS-LC wipes the state of its random generators when the process ends. A thread that has one
//! waits from then on, which nobody notices; one that makes its first aborts the process. So a
//! thread makes its own before it does anything else, and none does once the end has begun.
//!
//! Where the system refuses it bytes for a new generator, or for one that a child has inherited, it
//! aborts the process as well. So whatever needs random bytes goes through here, which looks first.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use crate::error::Error;
use crate::forks::{self, Work};
use crate::metrics;

static HAS_BEGUN: AtomicBool = AtomicBool::new(false);
/// How many threads are making theirs.
static MAKING: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    /// The [`forks::generation`] in which this thread has made its own. A child takes fresh bytes
    /// for what it has inherited.
    static MADE_BY: Cell<Option<usize>> = const { Cell::new(None) };
}

/// How often, and how long each time, the end waits for those threads. It takes them some
/// microseconds; a forked child may count some that it doesn't have.
const LOOKS: u32 = 100;
const LOOK: Duration = Duration::from_micros(200);

/// How much comes in one piece, as AWS-LC has it. Forks wait for no more.
const PIECE: usize = 1 << 16;

/// Before this thread does anything that needs random bytes.
#[allow(clippy::disallowed_methods, reason = "it has looked")]
pub(crate) fn make_generator() -> Result<(), Error> {
    let process = forks::generation();
    if MADE_BY.get() == Some(process) {
        return Ok(());
    }
    look_for_random_bytes()?;
    MAKING.fetch_add(1, Ordering::SeqCst);
    let has_begun = HAS_BEGUN.load(Ordering::SeqCst);
    let made = has_begun || aws_lc_rs::rand::fill(&mut [0]).is_ok();
    if !has_begun && made {
        MADE_BY.set(Some(process));
    }
    MAKING.fetch_sub(1, Ordering::SeqCst);
    match (has_begun, made) {
        (true, _) => Err(Error::Io("it is ending".to_owned())),
        (false, true) => Ok(()),
        (false, false) => Err(no_bytes()),
    }
}

/// Does what has AWS-LC take random bytes. No fork comes between: AWS-LC has locks.
///
/// # Errors
/// The system refuses them, or the process is ending.
pub fn with_random_bytes<T>(work: impl FnOnce() -> T) -> Result<T, Error> {
    let _work = Work::begin();
    make_generator()?;
    Ok(work())
}

/// Fills with random bytes.
///
/// # Errors
/// As [`with_random_bytes`].
#[allow(clippy::disallowed_methods, reason = "it has looked")]
pub fn fill_randomly(bytes: &mut [u8]) -> Result<(), Error> {
    for piece in bytes.chunks_mut(PIECE) {
        with_random_bytes(|| aws_lc_rs::rand::fill(piece))?.map_err(|_| no_bytes())?;
    }
    Ok(())
}

fn no_bytes() -> Error {
    Error::Io("there are no random bytes".to_owned())
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
