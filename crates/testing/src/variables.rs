//! What a program under test finds in its environment: what the test says, and nothing of the
//! person's who runs it.

use std::ffi::OsString;
use std::path::Path;
use std::process::{Command, Stdio};

/// Longer than any program takes that works, also where much else runs; more is a hang.
pub const TIME_LIMIT_SECONDS: &str = "300";

/// Beginnings of the names that programs of ours, and of Azure's, look at.
const LOOKED_AT: [&str; 6] = ["AZURE_", "AKV_", "MHSM_", "IDENTITY_", "XDG_", "OPENSSL_"];

/// Variables for the programs that a test starts.
#[derive(Debug, Default)]
pub struct Variables(Vec<(OsString, OsString)>);

impl Variables {
    /// Those by which an emulator is found, with its owner's token.
    #[cfg(feature = "emulator")]
    #[must_use]
    pub fn of(emulator: &crate::emulator::Handle) -> Self {
        let mut variables = Self::default();
        variables.set("AZURE_MANAGEDHSM_URL", emulator.url.clone());
        variables.set("AKV_CA_FILE", emulator.ca.clone());
        variables.set("AZURE_CLI_ACCESS_TOKEN", emulator.token.clone());
        variables
    }

    /// Sets a variable.
    pub fn set(&mut self, name: &str, value: impl Into<OsString>) {
        self.unset(name);
        self.0.push((name.into(), value.into()));
    }

    /// Leaves a variable out.
    pub fn unset(&mut self, name: &str) {
        self.0.retain(|(known, _)| known != name);
    }

    /// A program that finds these variables. It is ended where it takes too long.
    #[must_use]
    pub fn command(&self, program: &Path, folder: &Path) -> Command {
        let mut command = Command::new("timeout");
        command.arg(TIME_LIMIT_SECONDS).arg(program);
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy();
            if LOOKED_AT.iter().any(|prefix| text.starts_with(prefix)) {
                command.env_remove(name);
            }
        }
        command
            .envs(self.0.iter().cloned())
            .stdin(Stdio::null())
            .current_dir(folder);
        command
    }
}
