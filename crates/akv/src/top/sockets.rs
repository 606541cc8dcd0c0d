//! Asks the processes at their sockets. Whoever may write to the folder may have put one there, so
//! each gets little time and little room, and what it says is foreign.

use std::io::{ErrorKind, Read};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use managed_hsm::metrics::Snapshot;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketType, connect, socket};

use super::Look;
use crate::failure::Failure;

/// How long one is waited for, and how much it may say, in bytes.
const PATIENCE: Duration = Duration::from_secs(1);
const MOST: u64 = 16 << 20;
/// How many are asked at the same time.
const AT_ONCE: usize = 64;

/// Asks all processes that have a socket in the folder.
pub(super) fn look(folder: &Path) -> Result<Look, Failure> {
    let entries = std::fs::read_dir(folder).map_err(|error| Failure::read(folder, error))?;
    let is_socket = |path: &PathBuf| {
        let is_named_so = path.extension().is_some_and(|end| end == "sock");
        let kind = path.symlink_metadata();
        is_named_so && kind.is_ok_and(|it| it.file_type().is_socket())
    };
    let paths = entries.flatten().map(|entry| entry.path());
    let mut paths: Vec<PathBuf> = paths.filter(is_socket).collect();
    paths.sort();
    let mut look = Look {
        at: SystemTime::now(),
        processes: Vec::new(),
        silent: Vec::new(),
    };
    for some in paths.chunks(AT_ONCE) {
        let answers = std::thread::scope(|scope| {
            let asked: Vec<_> = some.iter().map(|path| scope.spawn(|| ask(path))).collect();
            let joined = asked.into_iter().map(|thread| thread.join());
            joined
                .map(|joined| joined.unwrap_or_else(|_| Err("it can't be read".to_owned())))
                .collect::<Vec<_>>()
        });
        for (path, answer) in some.iter().zip(answers) {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            match answer {
                Ok(snapshot) => look.processes.push(snapshot),
                Err(problem) => look.silent.push((name.into_owned(), problem)),
            }
        }
    }
    Ok(look)
}

/// What one says, or why it doesn't.
fn ask(path: &Path) -> Result<Snapshot, String> {
    let stream = open(path).map_err(|errno| match errno {
        Errno::CONNREFUSED => "its process has ended".to_owned(),
        Errno::ACCESS => "it is another user's: ask as that user, or as root".to_owned(),
        Errno::AGAIN => "it does not answer".to_owned(),
        other => std::io::Error::from(other).to_string(),
    })?;
    let mut text = Vec::new();
    let until = Instant::now() + PATIENCE;
    let late = || "it does not answer".to_owned();
    let mut part = vec![0; 64 << 10];
    loop {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(late());
        }
        stream
            .set_read_timeout(Some(left))
            .map_err(|error| error.to_string())?;
        match (&stream).read(&mut part) {
            Ok(0) => break,
            Ok(count) => text.extend_from_slice(&part[..count]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Err(late()),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error.to_string()),
        }
        if text.len() as u64 > MOST {
            return Err("what it says has no end".to_owned());
        }
    }
    serde_json::from_slice(&text)
        .map_err(|_| "what it says is not what this version of akv reads".to_owned())
}

/// Connects, without waiting for one that doesn't listen just now.
fn open(path: &Path) -> rustix::io::Result<UnixStream> {
    let stream = UnixStream::from(socket(AddressFamily::UNIX, SocketType::STREAM, None)?);
    stream.set_nonblocking(true).map_err(|_| Errno::IO)?;
    connect(&stream, &SocketAddrUnix::new(path)?)?;
    stream.set_nonblocking(false).map_err(|_| Errno::IO)?;
    Ok(stream)
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::net::UnixListener;

    use super::*;

    const GOOD: &str = r#"{"front_end":"akv_provider","version":"1","pid":7,"program":"nginx",
        "started":1.5,"bounds":[0.1],"operations":[],"tokens":[],"connections":[]}"#;

    #[test]
    fn who_answers_is_shown_and_who_does_not_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let bind = |name: &str| UnixListener::bind(folder.path().join(name)).unwrap();
        let answers = [("good", GOOD), ("other", "{}")].map(|(name, answer)| {
            let listener = bind(&format!("{name}.sock"));
            std::thread::spawn(move || {
                let (mut stream, _) = listener.accept().unwrap();
                stream.write_all(answer.as_bytes()).unwrap();
            })
        });
        drop(bind("ended.sock"));
        let _silent = bind("silent.sock");
        std::fs::write(folder.path().join("file.sock"), "").unwrap();
        let began = Instant::now();
        let look = look(folder.path()).unwrap();
        assert!(began.elapsed() < 20 * PATIENCE);
        for answer in answers {
            answer.join().unwrap();
        }
        assert_eq!(look.processes.len(), 1);
        assert_eq!(
            (look.processes[0].pid, look.processes[0].program.raw()),
            (7, "nginx")
        );
        let silent: Vec<(&str, &str)> = (look.silent.iter())
            .map(|(name, problem)| (name.as_str(), problem.as_str()))
            .collect();
        assert_eq!(
            silent,
            [
                ("ended.sock", "its process has ended"),
                (
                    "other.sock",
                    "what it says is not what this version of akv reads"
                ),
                ("silent.sock", "it does not answer"),
            ]
        );
        assert!(super::look(&folder.path().join("none")).is_err());
    }
}
