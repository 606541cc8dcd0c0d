//! Logs, off unless the environment asks for them.

use std::fs::OpenOptions;
use std::sync::OnceLock;

use env_logger::{Builder, Env, Target};
use log::LevelFilter;
use managed_hsm::Origin;

use crate::error::Error;

/// A value with its origin.
type Found = Option<(String, Origin)>;

/// Starts to log, once in a process, as `RUST_LOG` (env_logger's filters), the level (0 to 3, or off, error, warn, info,
/// debug, trace) and the file (instead of stderr) say. A file without a level means `info`.
///
/// # Errors
/// A level that isn't one, or a file that can't be opened: the error names where it comes from.
pub(crate) fn start([level, file]: [Found; 2]) -> Result<(), Error> {
    static OUTCOME: OnceLock<Result<(), managed_hsm::Error>> = OnceLock::new();
    let outcome = OUTCOME.get_or_init(|| {
        let filters = std::env::var("RUST_LOG").is_ok_and(|filters| !filters.is_empty());
        if level.is_none() && file.is_none() && !filters {
            return Ok(());
        }
        let mut builder = Builder::new();
        if let Some((text, origin)) = level {
            let level = parse(text.trim()).ok_or_else(|| {
                let problem =
                    format!("'{text}' is not 0 to 3, off, error, warn, info, debug or trace");
                managed_hsm::Error::setting(&origin, &problem)
            })?;
            builder
                .filter_module("akv_provider", level)
                .filter_module("managed_hsm", level);
        } else if !filters {
            builder.filter_level(LevelFilter::Info);
        }
        builder.parse_env(Env::default());
        if let Some((path, origin)) = file {
            let file = OpenOptions::new().create(true).append(true).open(&path);
            let file = file.map_err(|error| {
                let problem = format!("'{path}' can't be written: {error}");
                managed_hsm::Error::setting(&origin, &problem)
            })?;
            builder.target(Target::Pipe(Box::new(file)));
        }
        // A logger that is there already stays: this library may be loaded twice in a process.
        let _ = builder.try_init();
        Ok(())
    });
    outcome.clone().map_err(Error::Settings)
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
