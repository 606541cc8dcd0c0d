//! The emulator as a program, for what has to outlive this process's own state, or is run by
//! others.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::built;

/// A running `managed-hsm-emulator serve`. It is killed when this is dropped.
#[derive(Debug)]
pub struct Program {
    process: Child,
    data: PathBuf,
}

impl Program {
    /// Starts one on the folder `data`, with further options of `serve`. Its log is added to the
    /// file `log`.
    #[must_use]
    pub fn start(data: &Path, log: &Path, options: &[&str]) -> Self {
        let log = File::options().create(true).append(true).open(log);
        let mut command = Self::command("serve", data, options);
        let process = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log.expect("a log file"))
            .spawn()
            .expect("the emulator starts");
        Self {
            process,
            data: data.to_owned(),
        }
    }

    /// A command of the program on a folder.
    #[must_use]
    pub fn command(name: &str, data: &Path, options: &[&str]) -> Command {
        let mut command = Command::new(built::program("managed-hsm-emulator"));
        command.arg(name).arg("--data-dir").arg(data).args(options);
        command
    }

    /// The variables that lead to it, once it accepts connections: what `env` exports, with further
    /// options of that command.
    #[must_use]
    pub fn exports(&self, options: &[&str]) -> Vec<(String, String)> {
        exports(&self.data, options)
    }

    /// Kills it.
    pub fn stop(&mut self) {
        // It may have ended by itself; there is nobody to tell.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The variables that lead to the emulator on a folder, once it accepts connections.
#[must_use]
pub fn exports(data: &Path, options: &[&str]) -> Vec<(String, String)> {
    let output = Program::command("env", data, &["--wait", "30"])
        .args(options)
        .output()
        .expect("the emulator runs");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let text = String::from_utf8(output.stdout).expect("exports are text");
    text.lines()
        .filter_map(|line| line.strip_prefix("export ")?.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.trim_matches('\'').to_owned()))
        .collect()
}
