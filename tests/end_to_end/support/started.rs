//! What programs led to: requests, and servers that run.

use std::fs;
use std::path::PathBuf;
use std::process::Child;

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
