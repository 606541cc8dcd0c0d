//! A process's socket, at which `akv top` asks what has been counted. Each connection gets that
//! once, and is closed.

use std::io::Write as _;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FileType, Mode, lstat, unlink};
use rustix::io::Errno;
use rustix::net::{SocketAddrUnix, bind, listen};
use socket2::{Domain, Socket, Type};

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
        let socket = socket()?;
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

/// A socket at which nothing is waited for, and that programs don't inherit.
fn socket() -> rustix::io::Result<OwnedFd> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None).and_then(|socket| {
        socket.set_nonblocking(true)?;
        Ok(socket)
    });
    let errno = |error| Errno::from_io_error(&error).unwrap_or(Errno::IO);
    socket.map(OwnedFd::from).map_err(errno)
}

/// Whether somebody would answer. Nothing is waited for.
fn is_listened_at(path: &Path) -> bool {
    let (Ok(socket), Ok(address)) = (socket(), SocketAddrUnix::new(path)) else {
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

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::io::Read;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn set_mode(path: &Path, mode: u32) {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn a_socket_is_for_its_user_and_never_where_others_may_remove_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("akv_test-1.sock");
        for (mode, is_safe) in [(0o700, true), (0o755, true), (0o1777, true), (0o777, false)] {
            set_mode(folder.path(), mode);
            let listener = Listener::at(&path);
            assert_eq!(listener.is_ok(), is_safe, "{mode:o}");
            if let Ok(listener) = listener {
                let own = std::fs::metadata(&path).unwrap().permissions().mode();
                assert_eq!(own & 0o7777, 0o600);
                listener.remove();
            }
            assert!(!path.exists());
        }
    }

    #[test]
    fn what_is_at_its_path_is_replaced_only_if_nobody_listens() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("akv_test-1.sock");
        drop(UnixListener::bind(&path).unwrap());
        let listener = Listener::at(&path).unwrap();
        assert!(Listener::at(&path).is_err() && listener.is_there());
        // Another's in its place is left alone.
        std::fs::remove_file(&path).unwrap();
        let other = UnixListener::bind(&path).unwrap();
        assert!(!listener.is_there());
        listener.remove();
        assert!(path.exists());
        drop(other);
        let target = folder.path().join("target");
        let link = folder.path().join("akv_test-2.sock");
        symlink(&target, &link).unwrap();
        assert!(Listener::at(&link).is_err() && !target.exists());
    }

    #[test]
    fn who_asks_is_told_once_and_who_does_not_read_is_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("akv_test-1.sock");
        let listener = Listener::at(&path).unwrap();
        let mut asking = UnixStream::connect(&path).unwrap();
        listener.answer(|| b"told".to_vec());
        let mut text = String::new();
        asking.read_to_string(&mut text).unwrap();
        assert_eq!(text, "told");
        let _idle = UnixStream::connect(&path).unwrap();
        let began = Instant::now();
        listener.answer(|| vec![b'x'; 8 << 20]);
        assert!(began.elapsed() < 20 * PATIENCE);
    }

    #[test]
    fn sockets_that_were_left_are_removed_when_they_are_old() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let names = ["akv_test-1.sock", "akv_other-1.sock", "akv_test-x.sock"];
        for name in names {
            drop(UnixListener::bind(path(name)).unwrap());
        }
        let _alive = UnixListener::bind(path("akv_test-2.sock")).unwrap();
        sweep(folder.path(), "akv_test");
        assert!(path("akv_test-1.sock").exists());
        let old = Timespec {
            tv_sec: 1000,
            tv_nsec: 0,
        };
        let times = rustix::fs::Timestamps {
            last_access: old,
            last_modification: old,
        };
        for name in [&names[..], &["akv_test-2.sock"]].concat() {
            let flags = rustix::fs::AtFlags::SYMLINK_NOFOLLOW;
            rustix::fs::utimensat(rustix::fs::CWD, path(name), &times, flags).unwrap();
        }
        sweep(folder.path(), "akv_test");
        assert!(!path("akv_test-1.sock").exists());
        for name in ["akv_other-1.sock", "akv_test-x.sock", "akv_test-2.sock"] {
            assert!(path(name).exists(), "{name}");
        }
    }
}
