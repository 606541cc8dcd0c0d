//! Standard output and standard error, which are the program's. It may close them and open files of
//! its own under their numbers, as daemons do, and no line belongs there. It may also redirect them
//! to a log of its own, and there all lines do.

#[cfg(not(unix))]
pub(super) use others::{had_stderr, look};
#[cfg(unix)]
pub(super) use unix::{Standard, had_stderr, look};

#[cfg(not(unix))]
mod others {
    /// They are what they were.
    pub(in super::super) fn look() {}

    pub(in super::super) fn had_stderr() -> bool {
        true
    }
}

#[cfg(unix)]
mod unix {
    use std::os::fd::BorrowedFd;
    use std::sync::OnceLock;

    use rustix::fs::{FileType, OFlags, Stat, fcntl_getfl, fstat, major, minor};
    use rustix::io::{Errno, Result};
    use rustix::stdio::{stderr, stdout};

    /// One of the two.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(in super::super) enum Standard {
        Output,
        Error,
    }

    /// What a number stood for: a file's device, inode and kind.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    struct What(u64, u64, FileType);

    impl What {
        fn is(stat: &Stat) -> Self {
            Self(
                stat.st_dev,
                stat.st_ino,
                FileType::from_raw_mode(stat.st_mode),
            )
        }
    }

    /// What both stood for when they were first looked at. None: the program had closed it.
    fn first() -> &'static [Option<What>; 2] {
        static FIRST: OnceLock<[Option<What>; 2]> = OnceLock::new();
        FIRST.get_or_init(|| [stdout(), stderr()].map(|one| fstat(one).ok().as_ref().map(What::is)))
    }

    /// Notes what both are, once: a library does so when it is loaded.
    pub(in super::super) fn look() {
        first();
    }

    /// Whether the process had standard error then.
    pub(in super::super) fn had_stderr() -> bool {
        first()[1].is_some()
    }

    impl Standard {
        /// The number, with what it stands for now, if lines may be written there.
        pub(in super::super) fn now(self) -> Result<(BorrowedFd<'static>, FileType)> {
            let (first, descriptor, other) = match self {
                Self::Output => (first()[0], stdout(), stderr()),
                Self::Error => (first()[1], stderr(), stdout()),
            };
            let stat = fstat(descriptor)?;
            match first.is_some_and(|first| takes_lines(first, &stat, descriptor, other)) {
                true => Ok((descriptor, FileType::from_raw_mode(stat.st_mode))),
                false => Err(Errno::BADF),
            }
        }
    }

    /// Whether lines belong to what a number stands for now: it is what it was at first, or it
    /// looks like a redirection. `other` is the other one of the two.
    fn takes_lines(
        first: What,
        stat: &Stat,
        descriptor: BorrowedFd<'_>,
        other: BorrowedFd<'_>,
    ) -> bool {
        let now = What::is(stat);
        if now == first {
            return true;
        }
        let Ok(flags) = fcntl_getfl(descriptor) else {
            return false;
        };
        let is_only_written = flags & OFlags::RWMODE == OFlags::WRONLY;
        let is_read_too = flags & OFlags::RWMODE == OFlags::RDWR;
        match now.2 {
            // A log, as freopen(3) and daemons open theirs; or a file that has been made the other
            // one as well, which none gets by chance. A program reads what it keeps its data in.
            FileType::RegularFile => {
                let is_both = || fstat(other).is_ok_and(|other| What::is(&other) == now);
                is_only_written || is_read_too && (flags.contains(OFlags::APPEND) || is_both())
            }
            FileType::Fifo => is_only_written,
            // daemon(3) opens /dev/null for both.
            FileType::CharacterDevice => {
                let is_null = (major(stat.st_rdev), minor(stat.st_rdev)) == (1, 3);
                is_only_written || is_read_too && (is_null || rustix::termios::isatty(descriptor))
            }
            // A connection of the program's, an event counter, a disk.
            _ => false,
        }
    }

    #[cfg(test)]
    mod tests {
        use std::fs::{File, OpenOptions};
        use std::os::fd::AsFd;
        use std::os::unix::net::UnixStream;
        use std::path::Path;

        use super::*;

        /// Whether lines go to what stands for a number by now, which was /dev/zero at first.
        fn takes(now: &impl AsFd, other: &impl AsFd) -> bool {
            let zero = File::open("/dev/zero").unwrap();
            let first = What::is(&fstat(zero).unwrap());
            takes_lines(first, &fstat(now).unwrap(), now.as_fd(), other.as_fd())
        }

        fn file(path: &Path, reads: bool, appends: bool) -> File {
            let mut options = OpenOptions::new();
            options.read(reads).write(true).append(appends).create(true);
            options.open(path).unwrap()
        }

        #[test]
        fn lines_go_to_what_looks_like_a_redirection_and_not_to_a_programs_own_files() {
            let folder = tempfile::tempdir().unwrap();
            let (path, null) = (folder.path().join("file"), Path::new("/dev/null"));
            let other = file(null, false, false);
            for (reads, appends, expected) in [
                (false, false, true),
                (false, true, true),
                (true, true, true),
                (true, false, false),
            ] {
                let now = file(&path, reads, appends);
                assert_eq!(takes(&now, &other), expected, "{reads} {appends}");
                // What is standard output as well was made so.
                assert!(takes(&now, &file(&path, false, false)));
            }
            assert!(!takes(&File::open(&path).unwrap(), &other));
            for reads in [false, true] {
                assert!(takes(&file(null, reads, false), &other));
            }
            let (reader, writer) = std::io::pipe().unwrap();
            assert!(takes(&writer, &other) && !takes(&reader, &other));
            let (connection, _peer) = UnixStream::pair().unwrap();
            assert!(!takes(&connection, &other) && !takes(&connection, &connection));
            #[cfg(target_os = "linux")]
            {
                let counter = rustix::event::eventfd(0, rustix::event::EventfdFlags::CLOEXEC);
                assert!(!takes(&counter.unwrap(), &other));
            }
        }

        #[test]
        fn what_was_there_at_first_takes_lines_whatever_it_is() {
            let (connection, _peer) = UnixStream::pair().unwrap();
            let first = What::is(&fstat(&connection).unwrap());
            let again = connection.try_clone().unwrap();
            let takes = |now: &UnixStream| {
                takes_lines(first, &fstat(now).unwrap(), now.as_fd(), now.as_fd())
            };
            assert!(takes(&again));
            let (another, _peer) = UnixStream::pair().unwrap();
            assert!(!takes(&another));
        }
    }
}
