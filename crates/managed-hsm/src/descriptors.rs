//! Which file a descriptor stands for: programs close descriptors that they didn't open, and the numbers go to others.

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
    pub(crate) fn of(file: &impl std::os::fd::AsFd) -> std::io::Result<Self> {
        let stat = rustix::fs::fstat(file)?;
        Ok(Self {
            device: stat.st_dev,
            inode: stat.st_ino,
        })
    }

    /// Whether a descriptor still stands for the file.
    pub(crate) fn is_of(&self, file: &impl std::os::fd::AsFd) -> bool {
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

/// The same socket under a number above 2. What has the number of standard input, output or error is the program's: it writes there
/// even where it has closed them.
#[cfg(unix)]
pub(crate) fn above_standard(
    socket: tokio::net::TcpSocket,
) -> std::io::Result<tokio::net::TcpSocket> {
    use std::os::fd::AsRawFd;
    if socket.as_raw_fd() > 2 {
        return Ok(socket);
    }
    let above = rustix::io::fcntl_dupfd_cloexec(&socket, 3)?;
    Ok(tokio::net::TcpSocket::from_std_stream(above.into()))
}

#[cfg(not(unix))]
pub(crate) fn above_standard(
    socket: tokio::net::TcpSocket,
) -> std::io::Result<tokio::net::TcpSocket> {
    Ok(socket)
}
