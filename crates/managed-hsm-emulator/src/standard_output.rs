//! What commands print, and the error when it can't be written: nothing is lost without a word.

use std::io::{self, ErrorKind, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use managed_hsm_emulator::Error;

/// Whether standard output was closed when the program started.
static IS_CLOSED: AtomicBool = AtomicBool::new(false);

/// The standard library opens /dev/null in the place of what is closed before `main` runs, so this
/// looks earlier.
#[ctor::ctor]
fn look() {
    let is_closed = rustix::io::fcntl_getfd(rustix::stdio::stdout()).is_err();
    IS_CLOSED.store(is_closed, Ordering::Relaxed);
}

/// Prints a text as a whole.
pub(crate) fn print(text: &str) -> Result<(), Error> {
    print_by(|| {
        let mut out = io::stdout().lock();
        out.write_all(text.as_bytes())?;
        out.flush()
    })
}

/// The same for what has a way of its own to be printed.
pub(crate) fn print_by(print: impl FnOnce() -> io::Result<()>) -> Result<(), Error> {
    let printed = match IS_CLOSED.load(Ordering::Relaxed) {
        // What a write would say.
        true => Err(rustix::io::Errno::BADF.into()),
        false => print(),
    };
    match printed {
        // Whoever reads has enough: `managed-hsm-emulator serve --help | head -1`.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        printed => printed.map_err(Error::Output),
    }
}
