//! A process's socket, at which `akv top` asks what has been counted. Each connection gets that
//! once, and is closed.

use std::io::Write as _;
use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FileType, Mode, lstat, unlink};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use rustix::net::{bind, listen, socket_with};

use crate::descriptors::{Own, Standard};

/// How the name of a socket ends.
pub(super) const SUFFIX: &str = ".sock";

/// How long whoever asks is waited for, all in all.
const PATIENCE: Duration = Duration::from_millis(500);
/// How many may wait to be answered.
const BACKLOG: i32 = 16;
/// How old a socket that nobody listens at has to be to be removed: a new one begins like that.
const OLD: u64 = 60;

/// The listening socket. The descriptor may be the program's by now.
pub(super) struct Listener {
    path: PathBuf,
    /// The file that the path leads to.
    inode: u64,
    socket: Own<UnixListener>,
}

impl Listener {
    /// Listens at a path, for this user alone.
    pub(super) fn at(path: &Path) -> Result<Self, String> {
        check_folder(path)?;
        free(path)?;
        let _standard = Standard::take().map_err(|error| error.to_string())?;
        Self::bound(path).map_err(|error| std::io::Error::from(error).to_string())
    }

    fn bound(path: &Path) -> rustix::io::Result<Self> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        let mode = Mode::RUSR | Mode::WUSR;
        // Linux gives the file this mode; elsewhere it gets it when it is there.
        #[cfg(target_os = "linux")]
        rustix::fs::fchmod(&socket, mode)?;
        bind(&socket, &SocketAddrUnix::new(path)?)?;
        #[cfg(not(target_os = "linux"))]
        rustix::fs::chmod(path, mode)?;
        let _ = mode;
        listen(&socket, BACKLOG)?;
        let own = Own::new(UnixListener::from(socket));
        Ok(Self {
            path: path.to_owned(),
            inode: lstat(path)?.st_ino,
            socket: own.map_err(|_| Errno::BADF)?,
        })
    }

    /// Whether it is still ours, and found at its path.
    pub(super) fn is_there(&self) -> bool {
        self.socket.get().is_ok() && self.is_found()
    }

    fn is_found(&self) -> bool {
        lstat(&self.path).is_ok_and(|stat| stat.st_ino == self.inode)
    }

    /// What is ready when somebody asks: to be waited for, and nothing else.
    pub(super) fn descriptor(&self) -> &UnixListener {
        self.socket.unchecked()
    }

    /// Answers whoever asks.
    pub(super) fn answer(&self, text: impl Fn() -> Vec<u8>) {
        let Ok(_standard) = Standard::take() else {
            return;
        };
        // One that never stops asking is not to keep us from all else.
        for _ in 0..BACKLOG {
            let Ok(socket) = self.socket.get() else {
                return;
            };
            let Ok((stream, _)) = socket.accept() else {
                return;
            };
            if let Ok(stream) = Own::new(stream) {
                send(&stream, &text());
            }
        }
    }

    /// Removes the file.
    pub(super) fn remove(&self) {
        if self.is_found() {
            let _ = unlink(&self.path);
        }
    }
}

/// Sends all of it, as far as it is taken in time.
fn send(to: &Own<UnixStream>, mut text: &[u8]) {
    let until = Instant::now() + PATIENCE;
    while !text.is_empty()
        && let Ok(stream) = to.get()
        && stream.set_nonblocking(true).is_ok()
    {
        match (&*stream).write(text) {
            Ok(sent @ 1..) => text = &text[sent..],
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                let left = until.saturating_duration_since(Instant::now());
                if left.is_zero() || !wait(stream, PollFlags::OUT, left) {
                    return;
                }
            }
            Ok(0) | Err(_) => return,
        }
    }
}

/// Waits until a socket is ready. Whether it is.
fn wait(socket: &impl AsFd, flags: PollFlags, time: Duration) -> bool {
    let time = Timespec::try_from(time).unwrap_or_default();
    poll(&mut [PollFd::new(socket, flags)], Some(&time)).is_ok_and(|ready| ready > 0)
}

/// Others could put sockets of theirs in the place of ours where they may remove ours.
fn check_folder(path: &Path) -> Result<(), String> {
    let folder = path.parent().unwrap_or(path);
    let stat = rustix::fs::stat(folder);
    let stat = stat.map_err(|error| std::io::Error::from(error).to_string())?;
    let mode = Mode::from_raw_mode(stat.st_mode);
    match mode.contains(Mode::WOTH) && !mode.contains(Mode::SVTX) {
        true => Err(
            "everybody may write to its folder, and remove what others have there: give the folder the mode 0700, or 1777"
                .to_owned(),
        ),
        false => Ok(()),
    }
}

/// Removes what one of the same name has left.
fn free(path: &Path) -> Result<(), String> {
    match lstat(path) {
        Err(_) => Ok(()),
        Ok(stat) if FileType::from_raw_mode(stat.st_mode) != FileType::Socket => {
            Err("there is a file of this name that is no socket".to_owned())
        }
        Ok(_) if is_listened_at(path) => Err(
            "another process listens there, of a container with the same numbers of processes: give each container a \
             folder of its own"
                .to_owned(),
        ),
        Ok(_) => unlink(path).map_err(|error| std::io::Error::from(error).to_string()),
    }
}

/// Whether somebody would answer. Nothing is waited for.
fn is_listened_at(path: &Path) -> bool {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None);
    let (Ok(socket), Ok(address)) = (socket, SocketAddrUnix::new(path)) else {
        return true;
    };
    rustix::net::connect(&socket, &address) != Err(Errno::CONNREFUSED)
}

/// Removes sockets of a front end's that nobody listens at.
pub(super) fn sweep(folder: &Path, front_end: &str) {
    let _standard = Standard::take();
    let Ok(entries) = std::fs::read_dir(folder) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let number = name.to_str().and_then(|name| {
            let number = name.strip_prefix(front_end)?.strip_prefix('-')?;
            number.strip_suffix(SUFFIX)
        });
        let is_ours = number.is_some_and(|text| text.bytes().all(|b| b.is_ascii_digit()));
        let path = entry.path();
        if is_ours && is_old(&path) && !is_listened_at(&path) {
            let _ = unlink(&path);
        }
    }
}

/// Whether a socket was made long ago.
fn is_old(path: &Path) -> bool {
    let Ok(stat) = lstat(path) else {
        return false;
    };
    let now = std::time::SystemTime::now().duration_since(std::time::SystemTime::UNIX_EPOCH);
    let now = now.unwrap_or_default().as_secs();
    let made = u64::try_from(stat.st_mtime).unwrap_or(u64::MAX);
    FileType::from_raw_mode(stat.st_mode) == FileType::Socket && now.saturating_sub(made) >= OLD
}
