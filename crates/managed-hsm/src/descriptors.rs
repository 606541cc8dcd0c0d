//! Descriptors that are still ours.
//!
//! Programs close descriptors that they didn't open: a daemon all above 2, say. The numbers then belong to nobody, or to files and
//! sockets of the program's. What had them is left alone from then on: not read, not written, not closed.
//!
//! A socket is known by its inode. An event loop's descriptors have none of their own, but the kernel knows what an epoll instance
//! watches by number and file: asking it to watch something in the way it is watched already succeeds for that file only.

#[cfg(unix)]
use std::os::fd::{AsFd, AsRawFd};

/// A file, whatever numbers lead to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileId {
    #[cfg(unix)]
    device: u64,
    #[cfg(unix)]
    inode: u64,
}

#[cfg(unix)]
impl FileId {
    pub(crate) fn of(file: &impl AsFd) -> rustix::io::Result<Self> {
        let stat = rustix::fs::fstat(file)?;
        Ok(Self {
            device: stat.st_dev,
            inode: stat.st_ino,
        })
    }

    /// Whether a descriptor still stands for the file.
    pub(crate) fn is_of(&self, file: &impl AsFd) -> bool {
        Self::of(file).is_ok_and(|now| now == *self)
    }
}

#[cfg(not(unix))]
impl FileId {
    pub(crate) fn of<F>(_: &F) -> std::io::Result<Self> {
        Ok(Self {})
    }

    pub(crate) fn is_of<F>(&self, _: &F) -> bool {
        true
    }
}

/// An error, with what to do about it where there are too many descriptors.
pub(crate) fn explained(error: std::io::Error) -> std::io::Error {
    #[cfg(unix)]
    if let Some(rustix::io::Errno::MFILE | rustix::io::Errno::NFILE) =
        rustix::io::Errno::from_io_error(&error)
    {
        let text = format!(
            "{error}: raise the limit of open files (ulimit -n, or LimitNOFILE= of a systemd unit)"
        );
        return std::io::Error::new(error.kind(), text);
    }
    error
}

/// Takes the numbers 0, 1 and 2 as far as they are free, so that nothing gets them that is opened meanwhile. They are the program's:
/// it writes to standard output and error even where it has closed them.
pub(crate) struct Standard {
    #[cfg(unix)]
    taken: Vec<(FileId, std::os::unix::net::UnixDatagram)>,
    /// The next free number.
    #[cfg(unix)]
    next: std::os::fd::RawFd,
}

#[cfg(unix)]
impl Standard {
    pub(crate) fn take() -> std::io::Result<Self> {
        let mut taken = Vec::new();
        loop {
            let socket = std::os::unix::net::UnixDatagram::unbound()?;
            let next = socket.as_raw_fd();
            if next > 2 {
                return Ok(Self { taken, next });
            }
            taken.push((FileId::of(&socket)?, socket));
        }
    }
}

#[cfg(unix)]
impl Drop for Standard {
    fn drop(&mut self) {
        for (id, socket) in self.taken.drain(..) {
            // The program may have put something in its place.
            if !id.is_of(&socket) {
                std::mem::forget(socket);
            }
        }
    }
}

#[cfg(not(unix))]
impl Standard {
    pub(crate) fn take() -> std::io::Result<Self> {
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

#[cfg(target_os = "linux")]
pub(crate) use epoll::LoopFiles;
#[cfg(target_os = "linux")]
pub use epoll::{EpollControl, EpollRequest, set_epoll_control};
#[cfg(not(target_os = "linux"))]
pub(crate) use unknown::LoopFiles;

#[cfg(target_os = "linux")]
mod epoll {
    use std::io;
    use std::ops::Range;
    use std::os::fd::{AsRawFd, OwnedFd, RawFd};
    use std::os::unix::net::UnixDatagram;
    use std::sync::{Arc, OnceLock};

    use arc_swap::ArcSwapOption;
    use rustix::event::epoll;
    use tokio::runtime::Runtime;

    use super::Standard;

    /// What epoll_ctl(2) is to do.
    #[derive(Clone, Copy, Debug)]
    pub enum EpollRequest {
        /// Watch what isn't watched.
        Add,
        /// Watch otherwise what is watched.
        Modify,
    }

    /// Calls epoll_ctl(2) with numbers that may be anybody's: what is to be done, the epoll instance, what it is to watch, for which
    /// events and with which data. Whether it succeeded.
    pub type EpollControl = fn(EpollRequest, RawFd, RawFd, u32, u64) -> bool;

    static CONTROL: OnceLock<EpollControl> = OnceLock::new();

    /// Has event loops looked after from now on, by a function that needs code that isn't safe. A program without it closes no
    /// descriptors that it didn't open.
    pub fn set_epoll_control(control: EpollControl) {
        let _ = CONTROL.set(control);
    }

    /// How tokio watches what wakes an event loop.
    const WAKER_EVENTS: u32 = epoll::EventFlags::IN
        .union(epoll::EventFlags::RDHUP)
        .union(epoll::EventFlags::ET)
        .bits();
    const WAKER_DATA: u64 = 0;

    /// How many numbers from the first free one on are looked at first for what was just opened.
    const NEAR: RawFd = 64;
    const FAR: RawFd = 1 << 16;

    /// A socket that does nothing and that all event loops of a process watch, and an epoll instance to watch what wakes them.
    #[derive(Debug)]
    struct Watch {
        process: u32,
        socket: UnixDatagram,
        epoll: OwnedFd,
    }

    static WATCH: ArcSwapOption<Watch> = ArcSwapOption::const_empty();

    impl Watch {
        fn current(control: EpollControl) -> io::Result<Arc<Self>> {
            let seen = WATCH.load_full();
            if let Some(watch) = &seen
                && watch.process == std::process::id()
                && watch.is_intact(control)
            {
                return Ok(Arc::clone(watch));
            }
            let made = Arc::new(Self::new()?);
            // What was there before is another process's, or was closed: its numbers may be anybody's.
            std::mem::forget(seen);
            WATCH.store(Some(Arc::clone(&made)));
            Ok(made)
        }

        fn new() -> io::Result<Self> {
            let socket = UnixDatagram::unbound()?;
            let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
            let nothing = epoll::EventData::new_u64(0);
            epoll::add(&epoll, &socket, nothing, epoll::EventFlags::empty())?;
            Ok(Self {
                process: std::process::id(),
                socket,
                epoll,
            })
        }

        fn is_intact(&self, control: EpollControl) -> bool {
            let (epoll, socket) = (self.epoll.as_raw_fd(), self.socket.as_raw_fd());
            control(EpollRequest::Modify, epoll, socket, 0, 0)
        }
    }

    /// The descriptors of an event loop.
    #[derive(Debug)]
    pub(crate) struct LoopFiles {
        control: EpollControl,
        watch: Arc<Watch>,
        /// The epoll instance has two numbers: one to wait, one to register with.
        epolls: [RawFd; 2],
        waker: RawFd,
    }

    impl LoopFiles {
        /// Those of an event loop that was made while `standard` was held. None: nobody looks after them.
        pub(crate) fn of(runtime: &Runtime, standard: &Standard) -> io::Result<Option<Self>> {
            let Some(&control) = CONTROL.get() else {
                return Ok(None);
            };
            let watch = Watch::current(control)?;
            let _context = runtime.enter();
            let registered = tokio::net::UnixDatagram::unbound()?;
            let numbers = || {
                let near: Range<RawFd> = standard.next..standard.next + NEAR;
                near.chain(3..FAR)
            };
            let modify = EpollRequest::Modify;
            let known = registered.as_raw_fd();
            let watches = |epoll: &RawFd| control(modify, *epoll, known, 0, 0);
            let found = numbers().find(watches).and_then(|first| {
                let second = numbers().find(|epoll| *epoll != first && watches(epoll))?;
                let is_waker = |number: &RawFd| {
                    let is_other = *number != known;
                    is_other && control(modify, first, *number, WAKER_EVENTS, WAKER_DATA)
                };
                Some(([first, second], numbers().find(is_waker)?))
            });
            let Some((epolls, waker)) = found else {
                log::debug!("the descriptors of an event loop were not found");
                return Ok(None);
            };
            let socket = watch.socket.as_raw_fd();
            control(EpollRequest::Add, epolls[0], socket, 0, 0);
            control(EpollRequest::Add, watch.epoll.as_raw_fd(), waker, 0, 0);
            Ok(Some(Self {
                control,
                watch,
                epolls,
                waker,
            }))
        }

        /// Whether that is so of the one that is always used.
        pub(crate) fn may_wait(&self) -> bool {
            let socket = self.watch.socket.as_raw_fd();
            (self.control)(EpollRequest::Modify, self.epolls[0], socket, 0, 0)
        }

        /// Whether they are all still what they were.
        pub(crate) fn are_intact(&self) -> bool {
            let watches = |epoll, number| (self.control)(EpollRequest::Modify, epoll, number, 0, 0);
            let socket = self.watch.socket.as_raw_fd();
            self.epolls.into_iter().all(|epoll| watches(epoll, socket))
                && watches(self.watch.epoll.as_raw_fd(), self.waker)
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod unknown {
    use super::Standard;

    /// Nobody looks after the descriptors of an event loop.
    #[derive(Debug)]
    pub(crate) struct LoopFiles;

    impl LoopFiles {
        pub(crate) fn of(
            _: &tokio::runtime::Runtime,
            _: &Standard,
        ) -> std::io::Result<Option<Self>> {
            Ok(None)
        }

        pub(crate) fn may_wait(&self) -> bool {
            true
        }

        pub(crate) fn are_intact(&self) -> bool {
            true
        }
    }
}
