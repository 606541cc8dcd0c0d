//! Standard input, when it is closed or can't be read, too.

use std::io::{self, Read};

/// Fails where reading would fail: the standard library takes that for an empty input.
pub(crate) fn open() -> io::Result<impl Read> {
    #[cfg(unix)]
    if start::is_unreadable() {
        // What a read would say.
        return Err(rustix::io::Errno::BADF.into());
    }
    Ok(io::stdin())
}

/// The standard library opens /dev/null for what is closed before `main` runs. So this looks
/// earlier.
#[cfg(unix)]
mod start {
    use std::sync::atomic::{AtomicBool, Ordering};

    use rustix::fs::OFlags;

    static IS_UNREADABLE: AtomicBool = AtomicBool::new(false);

    #[ctor::ctor]
    fn look() {
        let flags = rustix::fs::fcntl_getfl(rustix::stdio::stdin());
        let is_unreadable = flags.map_or(true, |flags| {
            flags.contains(OFlags::PATH) || flags & OFlags::RWMODE == OFlags::WRONLY
        });
        IS_UNREADABLE.store(is_unreadable, Ordering::Relaxed);
    }

    pub(super) fn is_unreadable() -> bool {
        IS_UNREADABLE.load(Ordering::Relaxed)
    }
}
