//! The command line of the emulator.
#![forbid(unsafe_code)]

mod manual;
mod standard_output;

use std::ffi::OsString;
use std::io::Write;
use std::net::IpAddr;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use managed_hsm_emulator::{
    AUDIENCE, DataDir, Environment, Error, Fault, FaultKind, Handle, LEADING_ELSEWHERE, Latency,
    LogFormat, Options, ServedName, TokenKey, VAULT_AUDIENCE, log_to_stderr, start, vault_url,
    wait_until_ready,
};
use rustix::process::{Pid, Signal, kill_process};
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};

use crate::standard_output::{print, print_by};

/// A local Azure Managed HSM, and Azure Key Vault, for development and tests. It is not an HSM:
/// keys lie in a folder.
#[derive(Parser)]
#[command(
    name = "managed-hsm-emulator",
    version,
    after_help = "Examples:
  managed-hsm-emulator serve &
  eval \"$(managed-hsm-emulator env --wait 10)\"
  managed-hsm-emulator run -- pytest"
)]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve the REST APIs of Managed HSM and Key Vault over HTTPS until SIGTERM, SIGINT or SIGHUP
    Serve(Box<Serve>),
    /// Print shell exports for the running emulator: eval "$(managed-hsm-emulator env)"
    Env(Env),
    /// Serve while a command runs, which finds the emulator in its environment, as `env --identity`
    /// prints it; exits as the command does. Keys are kept in a temporary folder, unless --data-dir
    /// names one
    Run(Box<Run>),
    /// Print a bearer token
    Token(Token),
    /// Write the manual pages into a folder
    Man(Man),
}

#[derive(Args)]
struct Man {
    /// Folder to write man1/managed-hsm-emulator.1 and so on to
    folder: PathBuf,
}

#[derive(Args)]
struct Folder {
    /// Folder for keys, CA and tokens [default: $XDG_DATA_HOME/managed-hsm-emulator or
    /// ~/.local/share/managed-hsm-emulator]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
}

#[derive(Args)]
struct Serve {
    #[command(flatten)]
    folder: Folder,
    /// Address to listen on
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1")]
    listen: IpAddr,
    /// Port to listen on; 0 takes any free port
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// Milliseconds that every answer takes at least; with two numbers the median and the 99th
    /// percentile
    #[arg(long, value_name = "N[,P99]")]
    latency_ms: Option<Latency>,
    /// Speak HTTP/1.1 only, instead of HTTP/2 with clients that prefer it
    #[arg(long)]
    http1: bool,
    /// Give each HSM the documented capacity of so many partitions of the service, whose HSMs have
    /// 3, beyond which it gets slower, and each vault its documented limits, beyond which it
    /// answers with 429
    #[arg(long, value_name = "PARTITIONS", value_parser = clap::value_parser!(u32).range(1..=1000))]
    capacity: Option<u32>,
    /// Close further connections to a port that has so many
    #[arg(long, value_name = "N")]
    max_connections: Option<usize>,
    /// Serve an HSM of this name, with keys and roles of its own; may be repeated. It is addressed
    /// as NAME.managedhsm.azure.net or NAME.localhost, or by a port of its own. Without this, one
    /// HSM answers to every name
    #[arg(long, value_name = "NAME[:PORT]")]
    hsm: Vec<ServedName>,
    /// Serve a vault of Azure Key Vault of this name, with keys of its own; may be repeated. It is
    /// addressed as NAME.vault.azure.net or NAME.localhost, or by a port of its own, which it
    /// always has
    #[arg(long, value_name = "NAME[:PORT]")]
    vault: Vec<ServedName>,
    /// Days that deleted keys can be recovered
    #[arg(
        long,
        value_name = "DAYS",
        default_value_t = Options::default().retention_days,
        value_parser = clap::value_parser!(u32).range(7..=90)
    )]
    retention_days: u32,
    /// Let nobody purge deleted keys before that
    #[arg(long)]
    purge_protection: bool,
    /// Have HSMs that are new wait for their activation, by a download of their security domain or
    /// an upload of another's
    #[arg(long)]
    not_activated: bool,
    /// Keys that each HSM can have, deleted ones among them
    #[arg(long, value_name = "N", default_value_t = Options::default().max_keys)]
    max_keys: usize,
    #[arg(long, value_name = "FAULT", help = fault_help())]
    fault: Vec<Fault>,
    /// Port on the loopback for faults (/faults), the server certificate (/certificate), the
    /// lifetime of tokens (/token-lifetime) and counters (/metrics); 0 takes any free port
    #[arg(long, value_name = "PORT")]
    control_port: Option<u16>,
    /// Port on the loopback for managed identities, over plain HTTP as in Azure: the instance
    /// metadata service and App Service's endpoint; 0 takes any free port
    #[arg(long, value_name = "PORT")]
    metadata_port: Option<u16>,
    /// File to append a record of each request to, as Azure's diagnostic logs have it
    #[arg(long, value_name = "FILE")]
    audit_log: Option<PathBuf>,
    /// How the log on stderr is written [default: text; with `run` there is no log unless this is
    /// given]
    #[arg(long, value_enum)]
    log_format: Option<Format>,
    /// Keep keys in a temporary folder that is removed at the end
    #[arg(long, conflicts_with = "data_dir")]
    ephemeral: bool,
    /// JSON file of principals that may log in, besides the owner
    ///
    /// It is an array of objects, of which each has a "client_id" and an "object_id". It may have a
    /// "client_secret", and "roles" such as [{"role": "Managed HSM Crypto User", "scope":
    /// "/keys/demo"}]. The other members are "certificates", "groups",
    /// "federated_credentials", "expired_client_secrets", "managed_identity" and "resource_id".
    #[arg(long, value_name = "FILE")]
    principals: Option<PathBuf>,
    /// Seconds that a token from the token service lives [default: 3599]
    #[arg(long, value_name = "SECONDS")]
    token_lifetime: Option<i64>,
    /// A further DNS name or IP address for the server certificate; may be repeated
    #[arg(long, value_name = "NAME")]
    tls_server_name: Vec<String>,
}

#[derive(Args)]
struct Run {
    #[command(flatten)]
    serve: Serve,
    /// The command and its arguments, after --
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Format {
    /// name=value
    Text,
    /// A JSON object in each line
    Json,
}

#[derive(Clone, Copy, ValueEnum)]
enum Exports {
    /// export NAME='value'
    Shell,
    /// NAME=value, as $GITHUB_ENV and container programs take it
    Lines,
    /// A JSON object
    Json,
}

#[derive(Args)]
struct Env {
    #[command(flatten)]
    folder: Folder,
    /// Print the URL of this vault and a token for Key Vault [default: the first vault's URL, and a
    /// token for Managed HSM]
    #[arg(long, value_name = "NAME")]
    vault: Option<String>,
    /// Print what identity libraries need to log in as the owner, instead of a token
    #[arg(long)]
    identity: bool,
    /// How the variables are written
    #[arg(long, value_enum, default_value = "shell")]
    format: Exports,
    /// Seconds to wait for the emulator to accept connections
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    wait: u64,
    /// Seconds until the token expires
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 86_400,
        allow_negative_numbers = true
    )]
    expires_in: i64,
}

#[derive(Args)]
struct Token {
    #[command(flatten)]
    folder: Folder,
    /// Seconds until the token expires; a negative number makes an expired one
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 86_400,
        allow_negative_numbers = true
    )]
    expires_in: i64,
    /// The audience that the token is for; Key Vault's is https://vault.azure.net
    #[arg(long, default_value = AUDIENCE)]
    audience: String,
    /// The object id of the principal that the token is for [default: the owner, who may do
    /// everything]
    #[arg(long, value_name = "OBJECT_ID")]
    principal: Option<String>,
}

fn fault_help() -> String {
    format!(
        "A fault: kind[,operation=sign][,path=/keys/k][,count=3][,share=0.1][,delay_ms=500][,header=Name: value][,body=TEXT]; may be repeated. Kinds: {}",
        FaultKind::names()
    )
}

fn main() -> ExitCode {
    let outcome = match CommandLine::try_parse() {
        Ok(arguments) => run(arguments.command),
        Err(error) if error.use_stderr() => error.exit(),
        // Help, or the version.
        Err(help) => print_by(|| help.print()).map(|()| ExitCode::SUCCESS),
    };
    outcome.unwrap_or_else(|error| {
        let error = one_line(&error.to_string());
        let _ = writeln!(std::io::stderr(), "managed-hsm-emulator: {error}");
        ExitCode::FAILURE
    })
}

/// A text in one line without anything that a terminal obeys: names of files are in it.
fn one_line(text: &str) -> String {
    let mut shown = String::new();
    for character in text.chars() {
        match character {
            '"' | '\'' | '\\' => shown.push(character),
            other => shown.extend(other.escape_debug()),
        }
    }
    shown
}

fn run(command: Command) -> Result<ExitCode, Error> {
    match command {
        Command::Serve(arguments) => serve(*arguments)?,
        Command::Run(arguments) => return run_command(*arguments),
        Command::Env(arguments) => print_environment(arguments)?,
        Command::Token(arguments) => {
            let data = DataDir::resolve(arguments.folder.data_dir)?;
            let (key, audience) = (TokenKey::read(&data)?, &arguments.audience);
            let token = match &arguments.principal {
                None => key.mint(audience, arguments.expires_in)?,
                Some(principal) => key.mint_for(principal, audience, arguments.expires_in)?,
            };
            print(&format!("{token}\n"))?;
        }
        Command::Man(arguments) => manual::write(&arguments.folder)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn print_environment(arguments: Env) -> Result<(), Error> {
    let data = DataDir::resolve(arguments.folder.data_dir)?;
    let url = wait_until_ready(&data, Duration::from_secs(arguments.wait))?;
    let vault_url = vault_url(&data, arguments.vault.as_deref())?;
    let vault_url = vault_url.as_deref();
    let environment = match arguments.identity {
        true => Environment::with_identity(&data, &url, vault_url)?,
        false => {
            let audience = match arguments.vault {
                None => AUDIENCE,
                Some(_) => VAULT_AUDIENCE,
            };
            let token = TokenKey::read(&data)?.mint(audience, arguments.expires_in)?;
            Environment::with_token(&url, vault_url, &data.ca_file(), token)?
        }
    };
    print(&match arguments.format {
        Exports::Shell => environment.to_shell(),
        Exports::Lines => environment.to_lines()?,
        Exports::Json => environment.to_json(),
    })
}

/// Serves until SIGTERM, SIGINT or SIGHUP.
fn serve(mut arguments: Serve) -> Result<(), Error> {
    arguments.log_format.get_or_insert(Format::Text);
    runtime()?.block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut hangup = Hangup::new()?;
        let emulator = arguments.start()?;
        greet(&emulator);
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            () = hangup.recv() => {}
        }
        emulator.stop();
        Ok(())
    })
}

/// SIGHUP, unless it was ignored before, as nohup(1) has it.
struct Hangup(Option<tokio::signal::unix::Signal>);

impl Hangup {
    fn new() -> std::io::Result<Self> {
        let kind = SignalKind::hangup();
        Ok(Self(match is_ignored(kind) {
            true => None,
            false => Some(signal(kind)?),
        }))
    }

    async fn recv(&mut self) {
        match &mut self.0 {
            Some(signal) => signal.recv().await,
            None => std::future::pending().await,
        };
    }
}

/// Whether this process ignores a signal, as Linux tells (proc(5)).
fn is_ignored(kind: SignalKind) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask & (1 << (kind.as_raw_value() - 1)) != 0)
}

/// Serves until a command ends. SIGTERM and SIGHUP are passed on to it; SIGINT it gets itself, as a
/// terminal sends it to both.
fn run_command(mut arguments: Run) -> Result<ExitCode, Error> {
    arguments.serve.ephemeral = arguments.serve.folder.data_dir.is_none();
    let (program, options) = arguments.command.split_first().expect("clap requires it");
    runtime()?.block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut hangup = Hangup::new()?;
        let _interrupt = signal(SignalKind::interrupt())?;
        let emulator = arguments.serve.start()?;
        let mut command = tokio::process::Command::new(program);
        for name in LEADING_ELSEWHERE {
            command.env_remove(name);
        }
        let mut child = command
            .args(options)
            .envs(emulator.environment()?.variables())
            .spawn()
            .map_err(|source| Error::Command {
                program: program.clone(),
                source,
            })?;
        let status = loop {
            let passed_on = tokio::select! {
                status = child.wait() => break status?,
                _ = terminate.recv() => Signal::TERM,
                () = hangup.recv() => Signal::HUP,
            };
            let pid = child.id().and_then(|id| Pid::from_raw(id.try_into().ok()?));
            pid.map(|pid| kill_process(pid, passed_on));
        };
        emulator.stop();
        // As shells tell of a command that a signal ended.
        let code = status
            .code()
            .or_else(|| status.signal().map(|signal| 128 + signal));
        Ok(ExitCode::from(
            code.and_then(|code| code.try_into().ok()).unwrap_or(1),
        ))
    })
}

fn runtime() -> Result<Runtime, Error> {
    Ok(tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?)
}

impl Serve {
    fn start(self) -> Result<Handle, Error> {
        match self.log_format {
            Some(Format::Text) => log_to_stderr(LogFormat::Text),
            Some(Format::Json) => log_to_stderr(LogFormat::Json),
            None => {}
        }
        start(self.options()?)
    }

    fn options(self) -> Result<Options, Error> {
        let data_dir = match self.ephemeral {
            true => None,
            false => Some(DataDir::resolve(self.folder.data_dir)?.path().to_owned()),
        };
        Ok(Options {
            data_dir,
            listen: self.listen,
            port: self.port,
            latency: self.latency_ms,
            http1_only: self.http1,
            partitions: self.capacity,
            max_connections: self.max_connections,
            principals: self.principals,
            token_lifetime: self.token_lifetime,
            tls_server_names: self.tls_server_name,
            hsms: self.hsm,
            vaults: self.vault,
            retention_days: self.retention_days,
            purge_protection: self.purge_protection,
            not_activated: self.not_activated,
            audit_log: self.audit_log,
            max_keys: self.max_keys,
            faults: self.fault,
            control_port: self.control_port,
            metadata_port: self.metadata_port,
            keep_requests: false,
        })
    }
}

fn greet(emulator: &Handle) {
    let mut further = String::new();
    if let Some(url) = &emulator.control {
        further.push_str(&format!("\ncontrol: {url}"));
    }
    for (name, url) in &emulator.further {
        further.push_str(&format!("\n{name}: {url}"));
    }
    // Nobody may be reading; the endpoint file says the same.
    let _ = writeln!(
        std::io::stdout().lock(),
        "managed-hsm-emulator: this is not an HSM; keys lie in {}. For development and tests only.\n{}{further}",
        emulator.data_dir().display(),
        emulator.url
    );
}

#[cfg(test)]
mod tests {
    use super::one_line;

    #[test]
    fn an_error_is_one_line_with_nothing_that_a_terminal_obeys() {
        assert_eq!(one_line("'a\\b' \"é\""), "'a\\b' \"é\"");
        assert_eq!(one_line("a\nb\u{1b}[31m"), "a\\nb\\u{1b}[31m");
    }
}
