//! Logs, off unless the environment asks for them.

use std::fs::OpenOptions;
use std::sync::OnceLock;

use env_logger::{Builder, Env, Target};
use log::LevelFilter;

use crate::error::Error;

/// Starts to log, once in a process, as `RUST_LOG` (env_logger's filters), `AKV_LOG_LEVEL` (0 to 3, or off, error, warn,
/// info, debug, trace) and `AKV_LOG_FILE` (instead of stderr) say. A file without a level means `info`.
///
/// # Errors
/// A level that isn't one, or a file that can't be opened: the error names the variable.
pub(crate) fn start() -> Result<(), Error> {
    static OUTCOME: OnceLock<Result<(), (&'static str, String)>> = OnceLock::new();
    let outcome = OUTCOME.get_or_init(|| {
        let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        let (level, file) = (variable("AKV_LOG_LEVEL"), variable("AKV_LOG_FILE"));
        if level.is_none() && file.is_none() && variable("RUST_LOG").is_none() {
            return Ok(());
        }
        let mut builder = Builder::new();
        if let Some(level) = level {
            let level = parse(&level).ok_or_else(|| {
                (
                    "AKV_LOG_LEVEL",
                    format!("'{level}' is not 0 to 3, off, error, warn, info, debug or trace"),
                )
            })?;
            builder
                .filter_module("akv_provider", level)
                .filter_module("managed_hsm", level);
        } else if variable("RUST_LOG").is_none() {
            builder.filter_level(LevelFilter::Info);
        }
        builder.parse_env(Env::default());
        if let Some(path) = file {
            let file = OpenOptions::new().create(true).append(true).open(&path);
            let file = file.map_err(|error| {
                (
                    "AKV_LOG_FILE",
                    format!("'{path}' can't be written: {error}"),
                )
            })?;
            builder.target(Target::Pipe(Box::new(file)));
        }
        // A logger that is there already stays: this library may be loaded twice in a process.
        let _ = builder.try_init();
        Ok(())
    });
    outcome
        .clone()
        .map_err(|(name, problem)| Error::parameter(name, problem))
}

fn parse(level: &str) -> Option<LevelFilter> {
    match level {
        "0" => Some(LevelFilter::Error),
        "1" => Some(LevelFilter::Warn),
        "2" => Some(LevelFilter::Info),
        "3" => Some(LevelFilter::Debug),
        name => name.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_numbers_or_names() {
        assert_eq!(parse("3"), Some(LevelFilter::Debug));
        assert_eq!(parse("Trace"), Some(LevelFilter::Trace));
        assert_eq!(parse("4"), None);
        assert_eq!(parse("loud"), None);
    }
}
