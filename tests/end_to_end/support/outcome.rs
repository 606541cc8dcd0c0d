//! What programs did: their output, the requests that they led to, and servers among them.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Output};

use rustix::process::{Pid, Signal, kill_process};

/// A line of the emulator's request log.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) connection: u64,
    pub(crate) method: String,
    pub(crate) path: String,
}

impl Request {
    pub(super) fn parse(line: &str) -> Option<Self> {
        let field = |name: &str| {
            line.split(' ')
                .find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
        };
        Some(Self {
            connection: field("connection")?.parse().ok()?,
            method: field("method")?.to_owned(),
            path: field("path")?.to_owned(),
        })
    }

    /// Whether it is an operation of this name.
    pub(crate) fn is(&self, operation: &str) -> bool {
        self.path.ends_with(&format!("/{operation}"))
    }

    /// Whether it asks for a signature.
    pub(crate) fn is_sign(&self) -> bool {
        self.path.ends_with("/sign")
    }
}

/// What a program did.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(super) command: String,
    pub(super) output: Output,
}

impl Outcome {
    /// Runs a command to its end.
    pub(crate) fn of(mut command: Command) -> Self {
        let output = command.output().expect("the program starts");
        Self {
            command: shown(&command),
            output,
        }
    }

    /// Standard output, as bytes.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.output.stdout
    }

    /// Standard output and standard error, one after the other.
    pub(crate) fn text(&self) -> String {
        let both = [&self.output.stdout[..], &self.output.stderr[..]].concat();
        String::from_utf8_lossy(&both).into_owned()
    }

    /// Standard output of a program that must have ended well.
    #[track_caller]
    pub(crate) fn succeeds(&self) -> String {
        assert!(
            self.output.status.success(),
            "{}\n{}\n{}",
            self.command,
            self.output.status,
            self.text()
        );
        String::from_utf8_lossy(&self.output.stdout).into_owned()
    }

    /// Standard error.
    pub(crate) fn errors(&self) -> String {
        String::from_utf8_lossy(&self.output.stderr).into_owned()
    }

    /// The exit status; none: a signal ended it.
    pub(crate) fn code(&self) -> Option<i32> {
        self.output.status.code()
    }

    /// Whether the program ended well.
    pub(crate) fn is_success(&self) -> bool {
        self.output.status.success()
    }

    /// Checks that the program failed by itself (no hang, no signal), and that its output holds all
    /// the words, in any case. Returns the output.
    #[track_caller]
    pub(crate) fn fails_with(&self, words: &[&str]) -> String {
        let text = self.text();
        let code = self.output.status.code();
        assert!(
            code.is_some_and(|code| (1..124).contains(&code)),
            "{}\nended with {}, an error was expected\n{text}",
            self.command,
            self.output.status
        );
        let lower = text.to_lowercase();
        for word in words {
            assert!(
                lower.contains(&word.to_lowercase()),
                "{}\nthe message lacks '{word}':\n{text}",
                self.command
            );
        }
        text
    }
}

/// A command as it is shown in failures: without the environment, which has a token.
fn shown(command: &Command) -> String {
    let words = [command.get_program()]
        .into_iter()
        .chain(command.get_args());
    let words: Vec<_> = words.map(|word| word.to_string_lossy()).collect();
    words.join(" ")
}

/// A running `openssl s_server`. Stops when dropped.
pub(crate) struct TlsServer {
    pub(super) process: Child,
    pub(crate) address: String,
    pub(super) errors: PathBuf,
}

impl TlsServer {
    /// What it wrote to standard error.
    pub(crate) fn errors(&self) -> String {
        fs::read_to_string(&self.errors).unwrap_or_default()
    }
}

impl Drop for TlsServer {
    fn drop(&mut self) {
        // `timeout` passes SIGTERM on to the server; SIGKILL would leave the server behind. It may
        // have ended by itself.
        if let Ok(None) = self.process.try_wait() {
            kill_process(Pid::from_child(&self.process), Signal::TERM)
                .expect("it is a child of ours");
        }
        let _ = self.process.wait();
    }
}
