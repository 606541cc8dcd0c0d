//! `akv completions` and `akv man`.

use std::path::PathBuf;

use clap::{Args, CommandFactory};
use clap_complete::Shell;
use serde_json::json;

use crate::Arguments;
use crate::failure::Failure;
use crate::output::Report;

#[derive(Args)]
#[command(after_help = "Example:\n  akv completions bash > /etc/bash_completion.d/akv")]
pub(crate) struct Completions {
    /// The shell
    shell: Shell,
}

#[derive(Args)]
#[command(after_help = "Example:\n  akv man /usr/local/share/man/man1")]
pub(crate) struct Man {
    /// Folder to write akv.1, akv-doctor.1 and so on to
    folder: PathBuf,
}

impl Completions {
    pub(crate) fn run(&self) -> Result<Report, Failure> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Arguments::command(), "akv", &mut script);
        let text = String::from_utf8_lossy(&script).into_owned();
        let about = json!({ "shell": self.shell.to_string(), "script": text });
        Ok(Report::new(text, about))
    }
}

impl Man {
    pub(crate) fn run(&self) -> Result<Report, Failure> {
        std::fs::create_dir_all(&self.folder)
            .and_then(|()| clap_mangen::generate_to(Arguments::command(), &self.folder))
            .map_err(|error| Failure::write(&self.folder, error))?;
        Ok(Report::new("", json!({ "folder": self.folder })))
    }
}
