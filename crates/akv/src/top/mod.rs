//! `akv top`: what the processes of this machine do with keys, live.

#[cfg(unix)]
mod screen;
#[cfg(unix)]
mod sockets;
mod view;

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use clap::Args;
use managed_hsm::metrics::Snapshot;

use crate::configuration::Configuration;
use crate::failure::Failure;
use crate::output::{OutputOptions, Report};

#[derive(Args)]
#[command(after_help = "Examples:
  akv top
  akv top --sockets /run/akv --interval 5
  akv top --json --query 'processes[].keys[?failed > `0`][]'")]
pub(crate) struct Top {
    /// The folder of the processes' sockets [default: the setting metrics-sockets]
    #[arg(long, value_name = "FOLDER")]
    sockets: Option<PathBuf>,
    /// Seconds between two looks
    #[arg(long, value_name = "SECONDS", default_value_t = 2.0, value_parser = seconds)]
    interval: f64,
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(seconds) if (0.2..=3600.0).contains(&seconds) => Ok(seconds),
        _ => Err("give a number from 0.2 to 3600".to_owned()),
    }
}

/// What was found in the folder at one time.
pub(crate) struct Look {
    at: SystemTime,
    processes: Vec<Snapshot>,
    /// Sockets that told nothing, and why.
    silent: Vec<(String, String)>,
}

impl Top {
    /// Shows a screen on a terminal. For programs, and where there is no terminal, it looks once.
    pub(crate) fn run(&self, output: &OutputOptions) -> Result<Report, Failure> {
        let folder = self.folder()?;
        if output.is_plain() && is_terminal() {
            watch(&folder, Duration::from_secs_f64(self.interval))?;
            return Ok(Report::new("", serde_json::Value::Null));
        }
        let look = look(&folder)?;
        Ok(Report::new(view::text(&look), view::json(&look)))
    }

    fn folder(&self) -> Result<PathBuf, Failure> {
        if let Some(folder) = &self.sockets {
            return Ok(folder.clone());
        }
        let configuration = Configuration::load();
        configuration.start_log(None)?;
        let folder = configuration.settings()?.metrics_sockets;
        folder.ok_or_else(|| {
            Failure::usage(
                "it is not known where the processes' sockets are: name their folder with --sockets, or set \
                 metrics-sockets (AKV_METRICS_SOCKETS), which has each process make one",
            )
        })
    }
}

#[cfg(unix)]
fn look(folder: &Path) -> Result<Look, Failure> {
    sockets::look(folder)
}

#[cfg(unix)]
fn watch(folder: &Path, interval: Duration) -> Result<(), Failure> {
    screen::watch(folder, interval)
}

/// Whether there is a terminal to show a screen on, and keys to end it.
#[cfg(unix)]
fn is_terminal() -> bool {
    use std::io::{IsTerminal, stdin, stdout};
    let is_able = managed_hsm::environment::variable("TERM").is_some_and(|term| term != "dumb");
    is_able && stdin().is_terminal() && stdout().is_terminal()
}

#[cfg(not(unix))]
fn look(_: &Path) -> Result<Look, Failure> {
    Err(Failure::usage(
        "processes have no such sockets on this system",
    ))
}

#[cfg(not(unix))]
fn watch(folder: &Path, _: Duration) -> Result<(), Failure> {
    look(folder).map(drop)
}

#[cfg(not(unix))]
fn is_terminal() -> bool {
    false
}
