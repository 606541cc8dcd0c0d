//! `akv`: command line for keys in Azure Managed HSM and Azure Key Vault.

#![forbid(unsafe_code)]
// It panics where standard error can't be written: see `standard_error`.
#![deny(clippy::print_stderr)]
// What stands before an argument is its help text, and shown as it is.
#![allow(rustdoc::invalid_html_tags, rustdoc::broken_intra_doc_links)]

mod bench;
mod cert;
mod config;
mod configuration;
mod docs;
mod doctor;
mod duration;
mod encryption;
mod env;
mod explain;
mod failure;
mod files;
mod import;
mod keys;
mod management;
mod manual;
mod openssl;
mod openssl_cnf;
mod operations;
mod output;
mod pkcs11;
mod progress;
mod query;
mod random;
mod render;
mod requests;
mod roles;
mod session;
mod settings;
mod shell;
mod signing;
mod standard_error;
mod standard_input;
mod standard_output;
mod times;
mod tips;
mod token;
mod top;
mod usage;
mod verbosity;
mod work;
mod wrapping;

#[cfg(test)]
mod tests;

use std::ffi::OsString;
use std::io::ErrorKind;
use std::process::ExitCode;

use clap::{ArgAction, Parser, Subcommand};
use managed_hsm::Client;

use crate::configuration::Configuration;
use crate::failure::{Ending, Failure};
use crate::output::{OutputOptions, Report};
use crate::pkcs11::offload::Tool;
use crate::verbosity::Verbosity;

/// The heading of the options that every command has, in its help.
pub(crate) const OF_ALL: &str = "Options of all commands";

/// Work with keys in Azure Managed HSM and Azure Key Vault.
///
/// Settings and credentials are those of the OpenSSL provider: environment variables, else its
/// section of openssl.cnf. A key is named by its URI: managedhsm:<HSM>:<key>[?version=<version>] or
/// keyvault:<vault>:<key>[?version=<version>].
#[derive(Parser)]
#[command(
    name = "akv",
    version,
    arg_required_else_help = true,
    disable_help_flag = true,
    after_help = "Examples:
  akv doctor managedhsm:MyHSM:web
  akv keys create managedhsm:MyHSM:web --type ec --curve P-256
  akv sign managedhsm:MyHSM:web contract.pdf --out contract.sig
  akv explain KeyNotFound"
)]
pub(crate) struct Arguments {
    #[command(flatten)]
    output: OutputOptions,
    #[command(flatten)]
    verbosity: Verbosity,
    /// Print help; -h prints less of it
    #[arg(long, short, global = true, action = ArgAction::Help, help_heading = OF_ALL)]
    help: Option<bool>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Check step by step that keys can be used from here, and say what to do where they can't
    Doctor(doctor::Doctor),
    /// Manage the keys of an HSM or a key vault; write key files
    #[command(subcommand, visible_alias = "key")]
    Keys(keys::Keys),
    /// Who may do what in an HSM, and where
    #[command(subcommand, visible_alias = "role")]
    Roles(roles::Roles),
    /// Settings of an HSM that the service keeps
    #[command(subcommand, visible_alias = "setting")]
    Settings(settings::Settings),
    /// Sign a file
    Sign(operations::Sign),
    /// Verify a file's signature, here, with the key's public part
    Verify(operations::Verify),
    /// Decrypt a file
    Decrypt(encryption::Decrypt),
    /// Encrypt a file
    Encrypt(encryption::Encrypt),
    /// Wrap (encrypt) a symmetric key
    Wrap(wrapping::Wrap),
    /// Unwrap (decrypt) a symmetric key
    Unwrap(wrapping::Unwrap),
    /// Random bytes, made by the HSM
    Random(random::Random),
    /// Certificates and requests for them, signed by the HSM
    #[command(subcommand)]
    Cert(cert::Cert),
    /// The PKCS#11 module: its keys, its configuration, what it can do
    #[command(subcommand)]
    Pkcs11(pkcs11::Pkcs11),
    /// Measure throughput and latency by concurrency
    Bench(bench::Bench),
    /// Say what an error means, and what to do about it
    Explain(explain::Explain),
    /// Show the documents, which come with this program
    Docs(docs::Docs),
    /// Print the OpenSSL configuration for the current settings
    Env(env::Env),
    /// Turn the provider on in openssl.cnf for all programs, and off again
    #[command(subcommand)]
    Config(config::Config),
    /// Say which credential gives tokens here, for whom and until when
    Token(token::Token),
    /// Show what the processes of this machine do with keys: rates, latency, errors
    Top(top::Top),
    /// Print the completions for a shell
    Completions(shell::Completions),
    /// Write the manual pages into a folder
    Man(manual::Man),
}

fn main() -> ExitCode {
    if has_raised_rights() {
        managed_hsm::environment::distrust();
    }
    let words: Vec<OsString> = std::env::args_os().collect();
    // A copy of this program under a tool's name starts itself again as `akv`.
    let is_akv = words.get(1).is_some_and(|word| word == "pkcs11");
    let tool = Tool::named(words.first().map(OsString::as_os_str)).filter(|_| !is_akv);
    let run = match tool {
        Some(tool) => tool.run().map(|report| (report, OutputOptions::default())),
        None => Arguments::try_parse_from(&words).map(Arguments::run),
    };
    let ended = match run {
        Err(error) => usage::tell(error, &words),
        Ok((outcome, output)) => tell(outcome, &output),
    };
    match (ended, tool) {
        (None, _) => ExitCode::SUCCESS,
        // Scripts know them by their library's statuses.
        (Some(_), Some(_)) => ExitCode::FAILURE,
        (Some(ending), None) => ending.into(),
    }
}

/// Tells what came of a command. None: all was well.
fn tell(outcome: Result<Report, Failure>, output: &OutputOptions) -> Option<Ending> {
    Client::shutdown();
    let mut report = match outcome {
        Ok(report) => report,
        Err(failure) => return Some(fail(&failure, output)),
    };
    let last = report.last.take();
    let done = match (report.print(output), last) {
        // Whoever reads has enough: `akv keys list ... | head -1`. What was found out stays so.
        (Err(Failure::Output(error)), None) if error.kind() == ErrorKind::BrokenPipe => Ok(None),
        (Ok(query), Some(last)) => last().map(|()| query),
        (printed, _) => printed,
    };
    if let Some(failure) = done.unwrap_or_else(Some) {
        return Some(fail(&failure, output));
    }
    (!report.is_good).then_some(Ending::No)
}

fn fail(failure: &Failure, output: &OutputOptions) -> Ending {
    match output.is_json() {
        true => standard_error::tell(render::json(&failure.json())),
        false => standard_error::tell_line(failure.text()),
    }
    failure.ending()
}

impl Arguments {
    fn run(self) -> (Result<Report, Failure>, OutputOptions) {
        (self.logged(), self.output)
    }

    fn logged(&self) -> Result<Report, Failure> {
        let level = self.verbosity.level();
        // A log starts once: without a level, when the command reads its settings.
        if level.is_some() {
            Configuration::load().start_log(level)?;
        }
        self.command.run(&self.output)
    }
}

/// Whether this program runs as somebody else than who started it.
fn has_raised_rights() -> bool {
    #[cfg(unix)]
    {
        use rustix::process::{getegid, geteuid, getgid, getuid};
        getuid() != geteuid() || getgid() != getegid()
    }
    #[cfg(not(unix))]
    false
}

impl Command {
    fn run(&self, output: &OutputOptions) -> Result<Report, Failure> {
        match self {
            Self::Doctor(command) => command.run(output),
            Self::Keys(command) => command.run(output),
            Self::Roles(command) => command.run(),
            Self::Settings(command) => command.run(),
            Self::Sign(command) => command.run(),
            Self::Verify(command) => command.run(),
            Self::Decrypt(command) => command.run(),
            Self::Encrypt(command) => command.run(output),
            Self::Random(command) => command.run(),
            Self::Wrap(command) => command.run(),
            Self::Unwrap(command) => command.run(),
            Self::Cert(command) => command.run(),
            Self::Pkcs11(command) => command.run(),
            Self::Bench(command) => command.run(),
            Self::Explain(command) => command.run(),
            Self::Env(command) => command.run(),
            Self::Config(command) => command.run(),
            Self::Token(command) => command.run(),
            Self::Top(command) => command.run(output),
            Self::Completions(command) => command.run(),
            Self::Docs(command) => command.run(),
            Self::Man(command) => command.run(),
        }
    }
}
