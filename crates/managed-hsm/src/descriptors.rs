//! Descriptors that are still ours.
//!
//! Programs close descriptors that they didn't open: a daemon all above 2, say. The numbers then
//! belong to nobody, or to files and sockets of the program's. What had them is left alone from
//! then on: not read, not written, not closed.
//!
//! A file is known by its inode. What a process has opened is its own: a child that goes on in the
//! middle of its parent's request, as one that was forked in a signal handler does, uses nothing of
//! it, and closes its copies of the numbers.

use std::io;
use std::sync::Arc;

use rustix::fd::AsFd;
#[cfg(unix)]
use rustix::fd::AsRawFd;

use crate::forks;

/// A file, whatever numbers lead to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileId {
    #[cfg(unix)]
    device: u64,
    #[cfg(unix)]
    inode: u64,
}

impl FileId {
    #[cfg(unix)]
    pub(crate) fn of(file: &impl AsFd) -> rustix::io::Result<Self> {
        let stat = rustix::fs::fstat(file)?;
        Ok(Self {
            device: stat.st_dev,
            inode: stat.st_ino,
        })
    }

    #[cfg(not(unix))]
    pub(crate) fn of(_: &impl AsFd) -> rustix::io::Result<Self> {
        Ok(Self {})
    }

    /// Whether a descriptor still stands for the file.
    pub(crate) fn is_of(&self, file: &impl AsFd) -> bool {
        Self::of(file).is_ok_and(|now| now == *self)
    }
}

/// A file with a descriptor of its own. Once that is another's it is left alone, also when it is
/// dropped.
#[derive(Debug)]
pub(crate) struct Own<T: AsFd> {
    /// Shared with nobody, but that is how to keep it from being dropped.
    file: Arc<T>,
    id: FileId,
    /// The [`forks::generation`] that has opened it.
    opened_by: usize,
}

impl<T: AsFd> Own<T> {
    pub(crate) fn new(file: T) -> io::Result<Self> {
        Ok(Self {
            id: FileId::of(&file)?,
            opened_by: forks::generation(),
            file: Arc::new(file),
        })
    }

    /// The file, if the descriptor still stands for it, and this process has opened it. To be
    /// called each time before the descriptor is used.
    pub(crate) fn get(&self) -> io::Result<&T> {
        let problem = match self.opened_by == forks::generation() {
            true if self.id.is_of(&*self.file) => return Ok(&self.file),
            true => "the program has closed a descriptor of ours",
            false => "a descriptor belongs to the process that this one was forked from",
        };
        Err(io::Error::new(io::ErrorKind::ConnectionAborted, problem))
    }

    /// The file, for what does no harm to another's.
    pub(crate) fn unchecked(&self) -> &T {
        &self.file
    }
}

impl<T: AsFd> Drop for Own<T> {
    fn drop(&mut self) {
        if !self.id.is_of(&*self.file) {
            // To drop it would close somebody else's file.
            std::mem::forget(Arc::clone(&self.file));
        }
    }
}

/// An error of a new socket, with what to do about it where there are too many descriptors, or
/// where such sockets are refused.
pub(crate) fn explained(error: io::Error) -> io::Error {
    #[cfg(unix)]
    {
        use rustix::io::Errno;
        let remedy = match Errno::from_io_error(&error) {
            Some(Errno::MFILE | Errno::NFILE) => {
                "raise the limit of open files (ulimit -n, or LimitNOFILE= of a systemd unit)"
            }
            Some(Errno::AFNOSUPPORT) => {
                "have a filter of system calls allow sockets of the family AF_UNIX (RestrictAddressFamilies=AF_UNIX AF_INET \
                 AF_INET6 of a systemd unit)"
            }
            _ => return error,
        };
        io::Error::new(error.kind(), format!("{error}: {remedy}"))
    }
    #[cfg(not(unix))]
    error
}

/// Takes the numbers 0, 1 and 2 as far as they are free, so that nothing gets them that is opened
/// meanwhile. They are the program's: it writes to standard output and error even where it has
/// closed them.
pub(crate) struct Standard {
    #[cfg(unix)]
    _taken: Vec<Own<std::os::unix::net::UnixDatagram>>,
}

#[cfg(unix)]
impl Standard {
    pub(crate) fn take() -> io::Result<Self> {
        let mut taken = Vec::new();
        loop {
            let socket = std::os::unix::net::UnixDatagram::unbound()?;
            if socket.as_raw_fd() > 2 {
                return Ok(Self { _taken: taken });
            }
            taken.push(Own::new(socket)?);
        }
    }
}

#[cfg(not(unix))]
impl Standard {
    pub(crate) fn take() -> io::Result<Self> {
        Ok(Self {})
    }
}

/// Does `work` with nothing of it getting the number of standard input, output or error.
pub(crate) async fn above_standard_only<T>(work: impl Future<Output = T>) -> T {
    let mut work = std::pin::pin!(work);
    std::future::poll_fn(|context| {
        // Where there is no descriptor left the work fails by itself.
        let _standard = Standard::take();
        work.as_mut().poll(context)
    })
    .await
}

#[cfg(all(test, unix))]
mod tests {
    use std::fs::File;
    use std::sync::atomic::{AtomicBool, Ordering};

    use rustix::fd::BorrowedFd;

    use super::*;

    /// What the program puts another file in the place of.
    struct Replaced {
        files: [File; 2],
        is_replaced: Arc<AtomicBool>,
        is_closed: Arc<AtomicBool>,
    }

    impl AsFd for Replaced {
        fn as_fd(&self) -> BorrowedFd<'_> {
            self.files[usize::from(self.is_replaced.load(Ordering::SeqCst))].as_fd()
        }
    }

    impl Drop for Replaced {
        fn drop(&mut self) {
            self.is_closed.store(true, Ordering::SeqCst);
        }
    }

    #[test]
    fn what_is_anothers_is_neither_used_nor_closed() {
        for replace in [false, true] {
            let flags: [Arc<AtomicBool>; 2] = Default::default();
            let [is_replaced, is_closed] = flags.clone();
            let file = Replaced {
                files: [(); 2].map(|()| tempfile::tempfile().unwrap()),
                is_replaced,
                is_closed,
            };
            let own = Own::new(file).unwrap();
            assert!(own.get().is_ok());
            flags[0].store(replace, Ordering::SeqCst);
            assert_eq!(own.get().is_err(), replace);
            drop(own);
            assert_eq!(flags[1].load(Ordering::SeqCst), !replace);
        }
    }
}
