//! `akv config`: the provider in the configuration of OpenSSL that all programs of a machine read.

mod block;

use std::io;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use managed_hsm::{ProviderSettings, files};
use serde_json::{Value, json};

use self::block::Parts;
use crate::configuration::{Configuration, PROVIDER};
use crate::failure::Failure;
use crate::files::replace_text;
use crate::openssl::{self, Providers};
use crate::openssl_cnf::{DEFAULT, Sections};
use crate::output::{Report, lines};

#[derive(Subcommand)]
#[command(after_help = "Examples:
  akv config show
  akv config enable")]
pub(crate) enum Config {
    /// Turn the provider on for all programs that read an openssl.cnf
    #[command(after_help = "Examples:
  akv config enable
  akv config enable --settings /etc/akv/akv_provider.cnf
  akv config enable --file /etc/pki/tls/openssl.cnf \\
      --module /opt/akv/akv_provider.so")]
    Enable(Enable),
    /// Take out of an openssl.cnf what 'akv config enable' wrote there
    #[command(after_help = "Example:\n  akv config disable")]
    Disable(Disable),
    /// Say which openssl.cnf OpenSSL reads, and what it says of the provider
    #[command(after_help = "Example:\n  akv config show")]
    Show(Show),
}

/// Which file.
#[derive(Args)]
struct Which {
    /// The file [default: the one that OpenSSL reads: OPENSSL_CONF, else openssl.cnf in OPENSSLDIR]
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
}

#[derive(Args)]
pub(crate) struct Enable {
    #[command(flatten)]
    which: Which,
    /// Path of the provider's module, for when it is not in OpenSSL's module folder
    #[arg(long, value_name = "FILE")]
    module: Option<PathBuf>,
    /// File with settings of the provider, each a line 'key = value', to be included
    #[arg(long, value_name = "FILE")]
    settings: Option<PathBuf>,
}

#[derive(Args)]
pub(crate) struct Disable {
    #[command(flatten)]
    which: Which,
    /// Take out settings, too, that somebody has written between akv's lines; they are printed
    #[arg(long)]
    force: bool,
}

#[derive(Args)]
pub(crate) struct Show {
    #[command(flatten)]
    which: Which,
}

impl Config {
    pub(crate) fn run(&self) -> Result<Report, Failure> {
        match self {
            Self::Enable(command) => command.run(),
            Self::Disable(command) => command.run(),
            Self::Show(command) => command.run(),
        }
    }
}

/// A configuration file, with akv's lines apart.
struct Opened {
    /// The file itself, where a link leads to it.
    file: PathBuf,
    shown: String,
    parts: Parts,
}

impl Which {
    fn open(&self) -> Result<Opened, Failure> {
        let named = match &self.file {
            Some(file) => Some(file.clone()),
            None => Configuration::default_file().map_err(Failure::not_found)?,
        };
        let named = named.ok_or_else(|| {
            Failure::not_found("nothing tells which openssl.cnf it is: name the file by --file")
        })?;
        let file = named
            .canonicalize()
            .map_err(|error| Failure::read(&named, error))?;
        let shown = file.display().to_string();
        let text = files::read(&file);
        let text = text.map_err(|problem| Failure::told(format!("{shown} {problem}")))?;
        let parts = Parts::of(&text);
        let parts = parts.map_err(|problem| Failure::told(format!("{shown}: {problem}")))?;
        Ok(Opened { file, shown, parts })
    }
}

impl Enable {
    fn run(&self) -> Result<Report, Failure> {
        let Opened { file, shown, parts } = self.which.open()?;
        if parts.own.is_some() {
            let text = format!(
                "{shown} has the provider already, by an earlier 'akv config enable': 'akv config disable' takes it out\n"
            );
            return Ok(told(text, &file, "unchanged"));
        }
        let sections = Sections::read(&file).map_err(Failure::told)?;
        let configuration = Configuration::of(file.clone(), &sections);
        if let Some(problem) = configuration.problem {
            return Err(Failure::told(problem));
        }
        if configuration.section.is_some() {
            let text =
                format!("{shown} has the provider already, written by hand: it is left alone\n");
            return Ok(told(text, &file, "unchanged"));
        }
        let (module, settings) = (self.module()?, self.settings()?);
        let own = block::lines(&sections, module.as_deref(), settings.as_deref())
            .map_err(|problem| Failure::told(format!("{shown}: {problem}")))?;
        let mut text = parts.others;
        if text.last().is_some_and(|last| *last != b'\n') {
            text.push(b'\n');
        }
        text.extend_from_slice(own.as_bytes());
        let check = check(&file, &text)?;
        replace_text(&file, &text)?;
        let text = format!(
            "{shown} has the provider now{check}. 'akv config disable' takes it out again.\n"
        );
        Ok(told(text, &file, "enabled"))
    }

    /// The module's path, where programs wouldn't find it without.
    fn module(&self) -> Result<Option<PathBuf>, Failure> {
        let Some(path) = &self.module else {
            return Ok(openssl::module_outside_the_default_folder(PROVIDER));
        };
        existing(path).map(Some)
    }

    /// The path of the file with settings, which have to be good ones.
    fn settings(&self) -> Result<Option<PathBuf>, Failure> {
        let Some(path) = &self.settings else {
            return Ok(None);
        };
        let path = existing(path)?;
        let sections = Sections::read(&path).map_err(Failure::told)?;
        if sections.last() != DEFAULT {
            return Err(Failure::usage(format!(
                "{} has the section [{}]: settings stand in no section there, each is a line 'key = value'",
                path.display(),
                managed_hsm::fit(sections.last(), 80)
            )));
        }
        let pairs = sections.section(DEFAULT);
        let keys = pairs
            .unwrap_or_default()
            .iter()
            .map(|(key, _)| key.as_str());
        ProviderSettings::check_keys(keys)?;
        Ok(Some(path))
    }
}

/// The absolute path of a file that is there.
fn existing(path: &Path) -> Result<PathBuf, Failure> {
    let absolute = std::path::absolute(path).map_err(|error| Failure::read(path, error))?;
    match absolute.metadata() {
        Ok(_) => Ok(absolute),
        Err(error) => Err(Failure::read(path, error)),
    }
}

/// Has OpenSSL load the provider by a configuration before anybody reads it, and all that it loads
/// by the one that there is. Returns what to add about that in a sentence.
fn check(file: &Path, text: &[u8]) -> Result<&'static str, Failure> {
    let failed = |error: io::Error| Failure::told(format!("no temporary file: {error}"));
    let mut trial = tempfile::NamedTempFile::new().map_err(failed)?;
    io::Write::write_all(&mut trial, text).map_err(failed)?;
    // akv reads it as OpenSSL does.
    let read = Configuration::read(trial.path().to_owned());
    if read.section.is_none() {
        return Err(Failure::told(read.problem.unwrap_or_else(|| {
            "the provider can't be named in this file".to_owned()
        })));
    }
    let (Ok(before), Ok(after)) = (
        openssl::providers_by(file),
        openssl::providers_by(trial.path()),
    ) else {
        return Ok(" (there is no openssl to try it with)");
    };
    let (loaded, before) = (Providers::read(&after), Providers::read(&before));
    let mut wanted: Vec<_> = before.names().collect();
    wanted.push(PROVIDER);
    let is_loaded = |wanted: &&str| loaded.names().any(|name| name == *wanted);
    match after.status.success() && wanted.iter().all(is_loaded) {
        true => Ok(", and OpenSSL loads it"),
        false => Err(Failure::told(format!(
            "by that file, which is left as it was, OpenSSL does not load the providers {}: {}",
            wanted.join(", "),
            managed_hsm::fit(String::from_utf8_lossy(&after.stderr).trim(), 1000)
        ))),
    }
}

impl Disable {
    fn run(&self) -> Result<Report, Failure> {
        let Opened { file, shown, parts } = self.which.open()?;
        if parts.own.is_none() {
            let text = match Configuration::read(file.clone()).section {
                Some(_) => format!("{shown} has the provider, written by hand: it is left alone\n"),
                None => format!("{shown} doesn't have the provider\n"),
            };
            return Ok(told(text, &file, "unchanged"));
        }
        let added = parts.added();
        if !added.is_empty() && !self.force {
            return Err(Failure::conflict(format!(
                "{shown} has settings between akv's lines, which would be lost: move them to a file for 'akv config enable --settings', or take them out with --force: {}",
                added.join("; ")
            )));
        }
        replace_text(&file, &parts.others)?;
        let mut text = format!("{shown} doesn't have the provider any more\n");
        for line in added {
            text += &format!("Taken out with it: {line}\n");
        }
        Ok(told(text, &file, "disabled"))
    }
}

impl Show {
    fn run(&self) -> Result<Report, Failure> {
        let Opened { file, shown, parts } = self.which.open()?;
        let read = Configuration::read(file.clone());
        if let Some(problem) = read.problem {
            return Err(Failure::told(problem));
        }
        let state = match (&read.section, parts.own) {
            (None, _) => "not enabled",
            (Some(_), Some(_)) => "enabled by 'akv config enable'",
            (Some(_), None) => "enabled by hand",
        };
        let settings = read.section.unwrap_or_default();
        let mut rows = vec![("file", shown), ("provider", state.to_owned())];
        let named = settings.iter();
        rows.extend(named.map(|(key, value)| (key.as_str(), value.clone())));
        let values = settings
            .iter()
            .map(|(key, value)| (key.clone(), json!(value)));
        let json = json!({
            "file": file,
            "state": state,
            "settings": values.collect::<serde_json::Map<_, Value>>(),
        });
        Ok(Report::new(lines(&rows), json))
    }
}

fn told(text: String, file: &Path, outcome: &str) -> Report {
    Report::new(text, json!({ "file": file, "outcome": outcome }))
}
