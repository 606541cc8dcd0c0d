//! What ends a wait: a socket that can be read from once it was rung.
//!
//! The kernel's event counters (eventfd) would do, but all have the same inode: one of the
//! program's in the place of ours couldn't be told from it.

use std::io;

use crate::descriptors::{Own, Standard};

#[cfg(unix)]
type Datagrams = std::os::unix::net::UnixDatagram;
#[cfg(not(unix))]
type Datagrams = std::net::UdpSocket;

/// A socket to wait for, and one to ring it by. Those that are the program's by now are left alone.
#[derive(Debug)]
pub struct Bell {
    near: Own<Datagrams>,
    /// None: `near` is connected with itself.
    far: Option<Own<Datagrams>>,
}

impl Bell {
    /// # Errors
    /// There are too many descriptors.
    pub fn new() -> io::Result<Self> {
        let _standard = Standard::take()?;
        #[cfg(target_os = "linux")]
        if let Ok(alone) = Self::alone() {
            return Ok(alone);
        }
        Self::pair()
    }

    /// One descriptor is enough, since asynchronous jobs may be many. The kernel finds a name for
    /// the socket, and lets nobody send to it who isn't connected with it: itself.
    #[cfg(target_os = "linux")]
    fn alone() -> io::Result<Self> {
        use rustix::net::{SocketAddrUnix, bind};
        let near = Datagrams::unbound()?;
        bind(&near, &SocketAddrUnix::new_unnamed())?;
        near.connect_addr(&near.local_addr()?)?;
        Self::of(near, None)
    }

    #[cfg(unix)]
    fn pair() -> io::Result<Self> {
        let (near, far) = Datagrams::pair()?;
        Self::of(near, Some(far))
    }

    #[cfg(not(unix))]
    fn pair() -> io::Result<Self> {
        let any = (std::net::Ipv4Addr::LOCALHOST, 0);
        let (near, far) = (Datagrams::bind(any)?, Datagrams::bind(any)?);
        near.connect(far.local_addr()?)?;
        far.connect(near.local_addr()?)?;
        Self::of(near, Some(far))
    }

    fn of(near: Datagrams, far: Option<Datagrams>) -> io::Result<Self> {
        near.set_nonblocking(true)?;
        if let Some(far) = &far {
            far.set_nonblocking(true)?;
        }
        Ok(Self {
            near: Own::new(near)?,
            far: far.map(Own::new).transpose()?,
        })
    }

    fn far(&self) -> &Own<Datagrams> {
        self.far.as_ref().unwrap_or(&self.near)
    }

    /// Whether the program has closed nothing of it.
    #[must_use]
    pub fn is_ours(&self) -> bool {
        self.near.get().is_ok() && self.far().get().is_ok()
    }

    /// Ends the wait.
    pub fn ring(&self) {
        if let Ok(far) = self.far().get() {
            // One byte is as good as several.
            let _ = far.send(&[0]);
        }
    }

    /// Takes back that it was rung. Whether it is still ours to be taken from.
    pub fn clear(&self) -> bool {
        let near = self.near.get();
        if let Ok(near) = near {
            // Of one that the program has shut down nothing comes, again and again.
            while near.recv(&mut [0]).is_ok_and(|count| count > 0) {}
        }
        near.is_ok()
    }

    /// What is ready once it was rung: to be waited for, and nothing else.
    pub fn descriptor(&self) -> &Datagrams {
        self.near.unchecked()
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    use std::net::Shutdown;

    use super::*;

    fn is_ready(bell: &Bell) -> bool {
        let mut asked = [PollFd::new(bell.descriptor(), PollFlags::IN)];
        poll(&mut asked, Some(&Timespec::default())).unwrap() > 0
    }

    #[test]
    fn it_is_ready_from_when_it_was_rung_until_it_is_cleared() {
        for make in [Bell::alone, Bell::pair] {
            let bell = make().unwrap();
            assert!(!is_ready(&bell));
            // More often than there is room for.
            (0..1000).for_each(|_| bell.ring());
            assert!(is_ready(&bell));
            assert!(bell.clear() && !is_ready(&bell));
            bell.descriptor().shutdown(Shutdown::Both).unwrap();
            assert!(bell.clear());
        }
    }

    #[test]
    fn nobody_else_rings_it() {
        let bell = Bell::alone().unwrap();
        let other = Datagrams::unbound().unwrap();
        let address = bell.descriptor().local_addr().unwrap();
        assert!(other.send_to_addr(&[0], &address).is_err());
        assert!(!is_ready(&bell));
    }
}
