//! Logs, off unless the environment asks for them.

use std::fs::OpenOptions;
use std::sync::OnceLock;

use env_logger::{Builder, Env, Target};
use log::{LevelFilter, Log, Metadata, Record};
use managed_hsm::LogSettings;
use managed_hsm::forks::Work;

use crate::error::Error;

/// A logger whose lock is held by nobody when the process forks.
struct Logger(env_logger::Logger);

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.0.enabled(metadata)
    }

    fn log(&self, record: &Record<'_>) {
        let _work = Work::begin();
        self.0.log(record);
    }

    fn flush(&self) {
        self.0.flush();
    }
}

/// Starts to log, once in a process, as `RUST_LOG` (env_logger's filters) and the settings say. A file without a level means
/// `info`.
///
/// # Errors
/// A file that can't be opened: the error names where it comes from.
pub(crate) fn start(settings: LogSettings) -> Result<(), Error> {
    static OUTCOME: OnceLock<Result<(), managed_hsm::Error>> = OnceLock::new();
    let outcome = OUTCOME.get_or_init(|| {
        let LogSettings { level, file } = settings;
        let filters = std::env::var("RUST_LOG").is_ok_and(|filters| !filters.is_empty());
        if level.is_none() && file.is_none() && !filters {
            return Ok(());
        }
        let mut builder = Builder::new();
        if let Some(level) = level {
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
                let problem = format!("'{}' can't be written: {error}", path.display());
                managed_hsm::Error::setting(&origin, &problem)
            })?;
            builder.target(Target::Pipe(Box::new(file)));
        }
        let logger = Logger(builder.build());
        let level = logger.0.filter();
        // A logger that is there already stays: this library may be loaded twice in a process.
        if log::set_boxed_logger(Box::new(logger)).is_ok() {
            log::set_max_level(level);
        }
        Ok(())
    });
    outcome.clone().map_err(Error::Settings)
}
