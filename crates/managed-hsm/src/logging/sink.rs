//! Where the lines of a log go. No line is ever waited for: a pipe, a terminal or a socket that
//! takes no more gets none, and is told later how many it missed. The queue is the system's own (a
//! pipe's is 64 KiB on Linux), so nothing is left to write when the process ends, nothing is lost
//! or doubled by a fork, and no thread is needed.

use std::path::Path;

use crate::forks::ProcessId;

#[cfg(not(unix))]
use others::Target;
#[cfg(unix)]
use unix::Target;

/// A log's file, or standard error.
pub(super) struct Sink {
    target: Target,
    /// The one whose lines are not written whole, or lost.
    process: ProcessId,
    /// What was not written of a line whose beginning was.
    rest: Vec<u8>,
    /// How many lines were not taken since the last that was.
    lost: u64,
}

impl Sink {
    /// Standard error, whatever that is when a line is written.
    pub(super) fn stderr() -> Self {
        Self::to(Target::stderr())
    }

    /// A file that is appended to. The error is what follows its name in a sentence.
    pub(super) fn file(path: &Path) -> Result<Self, String> {
        Target::file(path).map(Self::to)
    }

    fn to(target: Target) -> Self {
        Self {
            target,
            process: ProcessId::current(),
            rest: Vec::new(),
            lost: 0,
        }
    }

    /// Writes a line, or counts it as lost. `note` makes the line that says how many were.
    pub(super) fn write(&mut self, line: &[u8], note: impl FnOnce(u64) -> Vec<u8>) {
        if !self.process.is_current() {
            // What the parent has begun, and what it has lost, is for the parent to write.
            (self.process, self.lost) = (ProcessId::current(), 0);
            self.rest.clear();
        }
        self.drain();
        let told = self.lost == 0 || self.put(&note(self.lost));
        if told {
            self.lost = 0;
        }
        if !told || !self.put(line) {
            self.lost += 1;
        }
    }

    /// Writes a line; false: nothing of it. What is left of one that was begun comes before the
    /// next.
    fn put(&mut self, line: &[u8]) -> bool {
        if !self.rest.is_empty() {
            return false;
        }
        self.rest = line.to_vec();
        self.drain();
        if self.rest.len() == line.len() {
            self.rest.clear();
            return false;
        }
        true
    }

    /// Writes what is left, as much as is taken.
    fn drain(&mut self) {
        while !self.rest.is_empty() {
            match self.target.try_write(&self.rest) {
                Ok(written @ 1..) => drop(self.rest.drain(..written)),
                Ok(0) | Err(_) => return,
            }
        }
    }
}

#[cfg(not(unix))]
mod others {
    //! Files are files, and standard error is written to as it is.

    use std::fs::{File, OpenOptions};
    use std::io::{self, Write};
    use std::path::Path;

    pub(super) struct Target(Option<File>);

    impl Target {
        pub(super) fn stderr() -> Self {
            Self(None)
        }

        #[allow(clippy::disallowed_methods, reason = "a log is written")]
        pub(super) fn file(path: &Path) -> Result<Self, String> {
            let file = OpenOptions::new().create(true).append(true).open(path);
            let file = file.map_err(|error| format!("can't be written: {error}"))?;
            Ok(Self(Some(file)))
        }

        pub(super) fn try_write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            match &mut self.0 {
                Some(file) => file.write(bytes),
                None => io::stderr().write(bytes),
            }
        }
    }
}

#[cfg(unix)]
mod unix {
    //! Descriptors that are written to without waiting.

    use std::os::fd::{AsFd, BorrowedFd, IntoRawFd, OwnedFd};
    use std::path::{Path, PathBuf};

    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    use rustix::fs::{FileType, Mode, OFlags, fstat, open};
    use rustix::io::{Errno, Result, write};
    use rustix::net::{SendFlags, send};

    use super::super::standard::Standard;
    use crate::descriptors::FileId;

    const FLAGS: OFlags = OFlags::WRONLY
        .union(OFlags::NONBLOCK)
        .union(OFlags::NOCTTY)
        .union(OFlags::CLOEXEC);

    pub(super) enum Target {
        /// 1 or 2, which are the application's: it may put anything else there at any time.
        Standard(Standard),
        File(LogFile),
    }

    /// A log file of ours.
    pub(super) struct LogFile {
        path: PathBuf,
        /// None: a FIFO that nobody reads yet, or a file that can't be opened just now.
        opened: Option<(OwnedFd, FileId)>,
    }

    impl Target {
        pub(super) fn stderr() -> Self {
            Self::Standard(Standard::Error)
        }

        pub(super) fn file(path: &Path) -> std::result::Result<Self, String> {
            // Links of the system's to what a process has open already; others' are not followed.
            match path.to_str() {
                Some("/dev/stderr" | "/proc/self/fd/2" | "/dev/fd/2") => return Ok(Self::stderr()),
                Some("/dev/stdout" | "/proc/self/fd/1" | "/dev/fd/1") => {
                    return Ok(Self::Standard(Standard::Output));
                }
                _ => {}
            }
            let mut file = LogFile {
                path: path.to_owned(),
                opened: None,
            };
            match file.open() {
                // A FIFO without a reader.
                Ok(()) | Err(Errno::NXIO) => Ok(Self::File(file)),
                Err(Errno::LOOP | Errno::MLINK) => Err(
                    "is a symbolic link, which a log is not written through: name the file itself"
                        .to_owned(),
                ),
                Err(Errno::INVAL) => Err("is no file that a log can be appended to".to_owned()),
                Err(error) => {
                    let error = std::io::Error::from(error);
                    Err(format!("can't be written: {error}"))
                }
            }
        }

        /// Writes what is taken without waiting.
        pub(super) fn try_write(&mut self, bytes: &[u8]) -> Result<usize> {
            match self {
                Self::Standard(standard) => to_standard(*standard, bytes),
                Self::File(file) => write(file.descriptor()?, bytes),
            }
        }
    }

    impl LogFile {
        /// The file's descriptor, which is opened anew if it is not ours any more.
        fn descriptor(&mut self) -> Result<BorrowedFd<'_>> {
            if let Some((descriptor, identity)) = self.opened.take() {
                match identity.is_of(&descriptor) {
                    true => self.opened = Some((descriptor, identity)),
                    // Somebody else's by now, who is the one to close it.
                    false => drop(descriptor.into_raw_fd()),
                }
            }
            if self.opened.is_none() {
                self.open()?;
            }
            let opened = self.opened.as_ref();
            opened
                .map(|(descriptor, _)| descriptor.as_fd())
                .ok_or(Errno::BADF)
        }

        /// Puts another file at the descriptor's number.
        #[cfg(test)]
        pub(super) fn replace_by(&mut self, other: &std::fs::File) {
            let (descriptor, _) = self.opened.as_mut().expect("it is open");
            rustix::io::dup2(other, descriptor).expect("there is room");
        }

        fn open(&mut self) -> Result<()> {
            let flags = FLAGS | OFlags::APPEND | OFlags::CREATE | OFlags::NOFOLLOW;
            let descriptor = open(&self.path, flags, Mode::RUSR | Mode::WUSR)?;
            let kind = FileType::from_raw_mode(fstat(&descriptor)?.st_mode);
            if !matches!(
                kind,
                FileType::RegularFile | FileType::Fifo | FileType::CharacterDevice
            ) {
                return Err(Errno::INVAL);
            }
            // The application's standard descriptors stay free for it if it has closed them.
            let descriptor = rustix::io::fcntl_dupfd_cloexec(&descriptor, 3)?;
            let identity = FileId::of(&descriptor)?;
            self.opened = Some((descriptor, identity));
            Ok(())
        }
    }

    /// Whether it waits is a property that the application, and those it shares the descriptor
    /// with, rely on. So a pipe or a terminal is opened once more, for us alone; where that can't
    /// be done it is asked whether it has room for a line.
    fn to_standard(standard: Standard, bytes: &[u8]) -> Result<usize> {
        use std::os::fd::AsRawFd;
        let (descriptor, kind) = standard.now()?;
        match kind {
            FileType::Socket => {
                let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
                return send(descriptor, bytes, flags);
            }
            FileType::Fifo | FileType::CharacterDevice => {}
            _ => return write(descriptor, bytes),
        }
        let path = format!("/proc/self/fd/{}", descriptor.as_raw_fd());
        match open(path, FLAGS, Mode::empty()) {
            Ok(own) => write(own, bytes),
            Err(_) => {
                let mut ready = [PollFd::from_borrowed_fd(descriptor, PollFlags::OUT)];
                poll(&mut ready, Some(&Timespec::default()))?;
                match ready[0].revents().contains(PollFlags::OUT) {
                    true => write(descriptor, bytes),
                    false => Err(Errno::AGAIN),
                }
            }
        }
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::io::Read;
    use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, symlink};

    use rustix::fs::{CWD, FileType, Mode, OFlags, mknodat};

    use super::*;

    fn note(lost: u64) -> Vec<u8> {
        format!("lost {lost}\n").into_bytes()
    }

    #[test]
    fn a_log_that_nobody_reads_loses_lines_and_says_so_later() {
        let folder = tempfile::tempdir().unwrap();
        let fifo = folder.path().join("log");
        mknodat(CWD, &fifo, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        let mut sink = Sink::file(&fifo).unwrap();
        sink.write(b"nobody is there\n", note);
        let mut reader = std::fs::OpenOptions::new()
            .read(true)
            .custom_flags(OFlags::NONBLOCK.bits().cast_signed())
            .open(&fifo)
            .unwrap();
        let line = [&[b'x'; 999][..], b"\n"].concat();
        for _ in 0..1000 {
            sink.write(&line, note);
        }
        let lost = sink.lost;
        assert!((800..1000).contains(&lost), "{lost}");
        let mut read = vec![0; 1 << 20];
        let count = reader.read(&mut read).unwrap();
        sink.write(b"the last\n", note);
        let more = reader.read(&mut read[count..]).unwrap();
        let text = String::from_utf8(read[..count + more].to_vec()).unwrap();
        assert!(text.starts_with("lost 1\nxxx"), "{}", &text[..20]);
        assert!(text.ends_with(&format!("\nlost {lost}\nthe last\n")));
        let whole =
            |line: &str| line.len() == 999 || line.starts_with("lost") || line == "the last";
        assert!(text.lines().all(whole));
    }

    #[test]
    fn a_child_writes_nothing_of_what_its_parent_has_begun_or_lost() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let mut sink = Sink::file(&log).unwrap();
        (sink.process, sink.lost) = (ProcessId::of_a_parent(), 7);
        sink.rest = b"of a line\n".to_vec();
        sink.write(b"of the child\n", note);
        sink.rest = b"of a line\n".to_vec();
        sink.write(b"and another\n", note);
        let text = std::fs::read_to_string(&log).unwrap();
        assert_eq!(text, "of the child\nof a line\nand another\n");
    }

    #[test]
    fn a_log_file_is_its_owners_and_no_link() {
        let folder = tempfile::tempdir().unwrap();
        let (file, link) = (folder.path().join("log"), folder.path().join("link"));
        symlink(&file, &link).unwrap();
        let problem = Sink::file(&link).err().unwrap();
        assert!(
            problem.contains("symbolic link") && !file.exists(),
            "{problem}"
        );
        Sink::file(&file).unwrap().write(b"line\n", note);
        let mode = std::fs::metadata(&file).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(Sink::file(folder.path()).is_err());
        assert!(Sink::file(Path::new("/dev/null")).is_ok());
        assert!(Sink::file(Path::new("/dev/stderr")).is_ok());
    }

    #[test]
    fn a_descriptor_that_is_somebody_elses_by_now_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let (log, other) = (folder.path().join("log"), folder.path().join("other"));
        let mut sink = Sink::file(&log).unwrap();
        sink.write(b"one\n", note);
        let Target::File(opened) = &mut sink.target else {
            panic!("a file")
        };
        // As if the application had closed it, and opened its own file at the same number.
        opened.replace_by(&std::fs::File::create(&other).unwrap());
        sink.write(b"two\n", note);
        assert_eq!(std::fs::read(&log).unwrap(), b"one\ntwo\n");
        assert_eq!(std::fs::read(&other).unwrap(), b"");
    }
}
