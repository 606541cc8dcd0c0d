//! Standard output, when it is closed, too.

use std::io::{self, Write};

/// Writes all of it. Nothing is said of nothing: a command that prints nothing needs no output.
pub(crate) fn write(contents: &[u8]) -> io::Result<()> {
    if contents.is_empty() {
        return Ok(());
    }
    check()?;
    let mut out = io::stdout().lock();
    out.write_all(contents)?;
    out.flush()
}

/// Fails if standard output was closed when the program started.
pub(crate) fn check() -> io::Result<()> {
    #[cfg(unix)]
    if start::is_closed() {
        // What a write would say.
        return Err(rustix::io::Errno::BADF.into());
    }
    Ok(())
}

/// The standard library opens /dev/null for what is closed before `main` runs, and what
/// is written would be lost without a word. So this looks earlier.
#[cfg(unix)]
mod start {
    use std::sync::atomic::{AtomicBool, Ordering};

    static IS_CLOSED: AtomicBool = AtomicBool::new(false);

    #[ctor::ctor]
    fn look() {
        let is_closed = rustix::io::fcntl_getfd(rustix::stdio::stdout()).is_err();
        IS_CLOSED.store(is_closed, Ordering::Relaxed);
    }

    pub(super) fn is_closed() -> bool {
        IS_CLOSED.load(Ordering::Relaxed)
    }
}
