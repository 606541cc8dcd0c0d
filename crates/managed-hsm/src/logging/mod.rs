//! The log of a process: of the provider in somebody else's program, and of `akv`. Off unless the
//! settings or `RUST_LOG` ask for it.
//!
//! Nobody waits for whoever reads the log, and no thread writes it: see `sink`.

mod line;
mod sink;
mod standard;

use std::sync::{Mutex, OnceLock, PoisonError};

use env_filter::{Builder, Filter};
use log::{LevelFilter, Log, Metadata, Record};

use self::sink::Sink;
use crate::environment;
use crate::error::Error;
use crate::foreign::fit;
use crate::forks::Work;
use crate::settings::provider::{LogFormat, LogSettings};

/// Writes a line, in the way of whoever starts the log: a library keeps off the signals that its
/// program doesn't expect.
pub type Around = fn(write: &mut dyn FnMut());

/// A logger whose lock is held by nobody when the process forks.
struct Logger {
    filter: Filter,
    format: LogFormat,
    around: Around,
    sink: Mutex<Sink>,
}

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.filter.enabled(metadata)
    }

    fn log(&self, record: &Record<'_>) {
        if !self.filter.matches(record) {
            return;
        }
        let line = line::of(record, self.format);
        let _work = Work::begin();
        let mut sink = self.sink.lock().unwrap_or_else(PoisonError::into_inner);
        (self.around)(&mut || sink.write(&line, |lost| line::of_lost(lost, self.format)));
    }

    fn flush(&self) {}
}

/// Whether the process had standard error when it was first asked. A program that had closed it
/// writes its own files under that number, where no log belongs; so a library asks when it is
/// loaded. What the number stands for later is looked at with each line.
pub fn has_stderr() -> bool {
    standard::look();
    standard::had_stderr()
}

/// Whether what a library says on standard error belongs to what that is now.
pub fn stderr_takes_lines() -> bool {
    #[cfg(unix)]
    let takes = standard::Standard::Error.now().is_ok();
    #[cfg(not(unix))]
    let takes = true;
    takes
}

/// Writes a line to standard error, if the process has that, for whoever keeps no log. Nobody waits
/// for whoever reads it: of what isn't taken the next line tells. What is in the line may be of
/// others, as names of files are: it is made fit to show, as in a log.
pub fn tell(line: &str, around: Around) {
    static SINK: OnceLock<Mutex<Sink>> = OnceLock::new();
    if !has_stderr() {
        return;
    }
    let line = told(line);
    let _work = Work::begin();
    let sink = SINK.get_or_init(|| Mutex::new(Sink::stderr()));
    let mut sink = sink.lock().unwrap_or_else(PoisonError::into_inner);
    let note = |lost| format!("({lost} lines were not taken before)\n").into_bytes();
    around(&mut || sink.write(&line, note));
}

/// What is written of a line, with its end.
fn told(line: &str) -> Vec<u8> {
    /// With its end it is no longer than what a pipe takes whole (PIPE_BUF, 4096 bytes).
    const LONGEST: usize = 4000;
    format!("{}\n", fit(line, LONGEST)).into_bytes()
}

/// Starts to log, once in a process, as the settings and `RUST_LOG` (env_logger's filters) say. A
/// file without a level means `info`. The log that is on warns of settings that come later and
/// differ, which have no effect. `crates` are those whose lines the level is for, beside this
/// one.
///
/// # Errors
/// A file that can't be written: the error names where it comes from.
pub fn start(settings: LogSettings, crates: &[&str], around: Around) -> Result<(), Error> {
    static OUTCOME: OnceLock<Result<(), Error>> = OnceLock::new();
    static FIRST: OnceLock<LogSettings> = OnceLock::new();
    tell_of_changes(FIRST.get_or_init(|| settings.clone()), &settings);
    let outcome = OUTCOME.get_or_init(|| {
        let filters = environment::variable("RUST_LOG").filter(|filters| !filters.is_empty());
        if settings.level.is_none() && settings.file.is_none() && filters.is_none() {
            return Ok(());
        }
        let mut filter = Builder::new();
        if let Some(level) = settings.level {
            for name in crates.iter().chain(&[env!("CARGO_CRATE_NAME")]) {
                filter.filter_module(name, level);
            }
        } else if filters.is_none() {
            filter.filter_level(LevelFilter::Info);
        }
        if let Some(filters) = filters {
            filter.parse(&filters.to_string_lossy());
        }
        let sink = match settings.file {
            None if !has_stderr() => return Ok(()),
            None => Sink::stderr(),
            Some((path, origin)) => Sink::file(&path).map_err(|problem| {
                Error::setting(
                    &origin,
                    &format!("'{}' {problem}", crate::files::shown_path(&path)),
                )
            })?,
        };
        let logger = Logger {
            filter: filter.build(),
            format: settings.format,
            around,
            sink: Mutex::new(sink),
        };
        let level = logger.filter.filter();
        // A logger that is there already stays: this library may be loaded twice in a process.
        if log::set_boxed_logger(Box::new(logger)).is_ok() {
            log::set_max_level(level);
        }
        Ok(())
    });
    outcome.clone()
}

/// Warns of settings that come after the log has begun and differ from the first: once of each.
fn tell_of_changes(first: &LogSettings, later: &LogSettings) {
    static TOLD: Mutex<Vec<String>> = Mutex::new(Vec::new());
    for change in changes(first, later) {
        let is_new = {
            let _work = Work::begin();
            let mut told = TOLD.lock().unwrap_or_else(PoisonError::into_inner);
            let is_new = !told.contains(&change);
            if is_new {
                told.push(change.clone());
            }
            is_new
        };
        if is_new {
            log::warn!(
                "{change} has no effect: a process has one log, by the settings that came first"
            );
        }
    }
}

/// The settings that somebody has made, and that are not those of the first.
fn changes(first: &LogSettings, later: &LogSettings) -> Vec<String> {
    let mut changes = Vec::new();
    if let Some(level) = later.level.filter(|_| later.level != first.level) {
        changes.push(format!("log-level = {}", level.as_str().to_lowercase()));
    }
    if let Some((path, _)) = &later.file
        && first.file.as_ref().is_none_or(|(first, _)| first != path)
    {
        changes.push(format!("log-file = {}", crate::files::shown_path(path)));
    }
    if later.format != LogFormat::default() && later.format != first.format {
        changes.push("log-format = json".to_owned());
    }
    changes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Secret;

    #[test]
    fn settings_that_come_later_are_told_where_they_were_made_and_differ() {
        let settings = |level, path: Option<&str>, format| LogSettings {
            level,
            file: path.map(|path| (path.into(), crate::Origin::Variable("AKV_LOG_FILE"))),
            format,
        };
        let first = settings(Some(LevelFilter::Info), Some("/tmp/a"), LogFormat::Json);
        let silent = LogSettings::default();
        let later = settings(Some(LevelFilter::Debug), Some("/tmp/b"), LogFormat::Text);
        assert!(changes(&first, &silent).is_empty());
        assert!(changes(&first, &first).is_empty());
        assert_eq!(
            changes(&first, &later),
            ["log-level = debug", "log-file = /tmp/b"]
        );
        assert_eq!(
            changes(&silent, &first),
            ["log-level = info", "log-file = /tmp/a", "log-format = json"]
        );
    }

    #[test]
    fn a_line_on_standard_error_is_one_line_with_nothing_that_a_terminal_obeys() {
        let _secret = Secret::new("correct-horse-battery".to_owned());
        for (line, expected) in [
            ("akv_pkcs11: plain 'text'", "akv_pkcs11: plain 'text'\n"),
            (
                "'x\nakv_pkcs11: C_Sign: forged\u{1b}[31m.pem'",
                "'x akv_pkcs11: C_Sign: forged\\u{1b}[31m.pem'\n",
            ),
            ("of correct-horse-battery", "of …\n"),
        ] {
            assert_eq!(String::from_utf8(told(line)).unwrap(), expected);
        }
        assert!(told(&"x\u{1b}".repeat(10_000)).len() <= 4096);
    }
}
