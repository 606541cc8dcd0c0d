//! Processes, told from others that had the same number before them, or have it in another
//! container.

use std::fmt;

use rustix::process::{Pid, test_kill_process};

use crate::foreign::ForeignText;

/// A process, as a file of its own says which it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Process {
    pub(super) number: u32,
    /// When it was started, in ticks since the system was, and of which processes the number is
    /// one: its PID namespace. Empty: nothing tells.
    started: String,
    namespace: String,
}

impl Process {
    /// This one.
    pub(super) fn current() -> Self {
        let number = std::process::id();
        Self {
            number,
            started: started(number).unwrap_or_default(),
            namespace: namespace().unwrap_or_default(),
        }
    }

    /// Another one, if its [`Display`](fmt::Display) is this line.
    pub(super) fn parse(line: &str) -> Option<Self> {
        let words: Vec<&str> = line.split(' ').collect();
        let ["#", "process", number, "started", started, "in", namespace] = words[..] else {
            return None;
        };
        let told = |word: &str| match word {
            "?" => String::new(),
            word => word.to_owned(),
        };
        Some(Self {
            number: number.parse().ok()?,
            started: told(started),
            namespace: told(namespace),
        })
    }

    /// Whether it has ended. None: it can't be told from here, since numbers mean others there.
    pub(super) fn has_ended(&self) -> Option<bool> {
        if self.namespace.is_empty() || self.namespace != namespace()? {
            return None;
        }
        let number = i32::try_from(self.number).ok().and_then(Pid::from_raw)?;
        // Any other error says that it is there, and somebody else's.
        if test_kill_process(number) == Err(rustix::io::Errno::SRCH) {
            return Some(true);
        }
        // The number may be another's by now. Where that isn't shown it is taken for the same.
        let now = started(self.number)?;
        Some(!self.started.is_empty() && now != self.started)
    }
}

impl fmt::Display for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fn told(word: &str) -> &str {
            if word.is_empty() { "?" } else { word }
        }
        let Self { number, .. } = self;
        let (started, namespace) = (told(&self.started), told(&self.namespace));
        write!(f, "# process {number} started {started} in {namespace}")
    }
}

/// The name of this process's program, by its file.
pub(super) fn program() -> ForeignText {
    let path = std::env::current_exe().ok();
    let name = path.as_ref().and_then(|path| path.file_name());
    // What the system says of a file that was replaced by an update.
    let name = name.map(|name| name.to_string_lossy().replace(" (deleted)", ""));
    ForeignText::new(name.unwrap_or_else(|| "unknown".to_owned()))
}

/// When a process was started (proc_pid_stat(5)). What stands in brackets before it is the
/// program's own choice.
fn started(number: u32) -> Option<String> {
    let stat = small_file(&format!("/proc/{number}/stat"))?;
    let (_, fields) = stat.rsplit_once(')')?;
    Some(fields.split_whitespace().nth(19)?.to_owned())
}

/// The processes that numbers mean here: `pid:[4026531836]`, say.
fn namespace() -> Option<String> {
    let link = std::fs::read_link("/proc/self/ns/pid").ok()?;
    let name = link.into_os_string().into_string().ok()?;
    (!name.contains(' ')).then_some(name)
}

#[allow(clippy::disallowed_methods, reason = "the system's own file is small")]
fn small_file(path: &str) -> Option<String> {
    Some(String::from_utf8_lossy(&std::fs::read(path).ok()?).into_owned())
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_told_from_one_that_had_its_number() {
        let own = Process::current();
        assert_eq!(Process::parse(&own.to_string()), Some(own.clone()));
        assert_eq!(own.has_ended(), Some(false));
        let earlier = Process {
            started: "1".to_owned(),
            ..own.clone()
        };
        assert_eq!(earlier.has_ended(), Some(true));
        let elsewhere = Process {
            namespace: "pid:[1]".to_owned(),
            ..own
        };
        assert_eq!(elsewhere.has_ended(), None);
    }

    #[test]
    fn a_process_that_was_waited_for_has_ended() {
        let mut child = std::process::Command::new("sleep")
            .arg("60")
            .spawn()
            .unwrap();
        let process = Process {
            number: child.id(),
            started: started(child.id()).unwrap(),
            namespace: namespace().unwrap(),
        };
        assert_eq!(process.has_ended(), Some(false));
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(process.has_ended(), Some(true));
    }

    #[test]
    fn what_nothing_tells_is_marked() {
        let process = Process::parse("# process 7 started ? in ?").unwrap();
        assert_eq!(process.to_string(), "# process 7 started ? in ?");
        assert_eq!(process.has_ended(), None);
        for other in ["", "# HELP akv", "# process x started ? in ?"] {
            assert_eq!(Process::parse(other), None, "{other}");
        }
    }
}
