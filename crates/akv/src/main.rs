//! `akv`: command line for keys in Azure Managed HSM.

#![forbid(unsafe_code)]

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};
use managed_hsm::{Client, Error, Key, KeyUri, PublicKey, Settings, key_file};

/// Work with keys in Azure Managed HSM.
///
/// The access token is taken from AZURE_CLI_ACCESS_TOKEN. AZURE_MANAGEDHSM_URL replaces the HSM's address, and AKV_CA_FILE
/// names a PEM file with CA certificates to trust besides the system's.
#[derive(Parser)]
#[command(name = "akv", version, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Keys of an HSM
    #[command(subcommand)]
    Key(KeyCommand),
}

#[derive(Subcommand)]
enum KeyCommand {
    /// Show a key's type, operations and version
    Show(Show),
    /// Write a key file, for programs that read keys from files
    Pem(Pem),
}

#[derive(Args)]
struct Pem {
    /// The key: managedhsm:<vault>:<key>[?version=<version>] or akv:vault=<vault>,name=<key>[,version=<version>]
    uri: KeyUri,
    /// File to write instead of standard output; one that exists is left alone
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Ask the HSM for the newest version, and name it in the file
    #[arg(long)]
    pin: bool,
}

#[derive(Args)]
struct Show {
    /// The key: managedhsm:<vault>:<key>[?version=<version>] or akv:vault=<vault>,name=<key>[,version=<version>]
    uri: KeyUri,
    /// Form of the output
    #[arg(long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

#[derive(Clone, Copy, ValueEnum)]
enum Output {
    /// Aligned lines for people
    Table,
    /// JSON for programs
    Json,
}

fn main() -> ExitCode {
    // A malformed argument is a failure like every other: status 1, not clap's 2.
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(u8::from(error.use_stderr()));
        }
    };
    let outcome = match arguments.command {
        Command::Key(KeyCommand::Show(show)) => show.run(),
        Command::Key(KeyCommand::Pem(pem)) => pem.run(),
    };
    Client::shutdown();
    match outcome.and_then(|text| Ok(print(&text)?)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&error.to_string()),
    }
}

fn failed(message: &str) -> ExitCode {
    eprintln!("akv: {message}");
    ExitCode::FAILURE
}

fn print(text: &str) -> std::io::Result<()> {
    std::io::stdout().write_all(text.as_bytes())
}

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Hsm(#[from] Error),
    #[error("the output can't be written: {0}")]
    Output(#[from] std::io::Error),
    #[error("{0} can't be written: {1}")]
    File(String, std::io::Error),
}

impl Pem {
    /// Asks no HSM, unless a version is to be found.
    fn run(&self) -> Result<String, Failure> {
        let uri = match self.pin {
            true => Client::new(Settings::from_env()?)
                .get_key(&self.uri)?
                .id
                .into(),
            false => self.uri.clone(),
        };
        let pem = key_file::pem(&uri);
        let Some(path) = &self.out else {
            return Ok(pem);
        };
        std::fs::File::create_new(path)
            .and_then(|mut file| file.write_all(pem.as_bytes()))
            .map_err(|error| Failure::File(path.display().to_string(), error))?;
        Ok(String::new())
    }
}

impl Show {
    fn run(&self) -> Result<String, Failure> {
        let key = Client::new(Settings::from_env()?).get_key(&self.uri)?;
        Ok(match self.output {
            Output::Table => table(&key),
            Output::Json => json(&key),
        })
    }
}

fn table(key: &Key) -> String {
    let rows = [
        ("Key", key.id.to_string()),
        ("Type", key_type(&key.public)),
        ("Operations", operations(key).join(", ")),
        ("Enabled", if key.enabled { "yes" } else { "no" }.to_owned()),
        ("Version", key.id.version.to_string()),
        ("Key id", key.kid.clone()),
    ];
    let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    rows.iter()
        .map(|(name, value)| format!("{name:width$}  {value}\n"))
        .collect()
}

fn json(key: &Key) -> String {
    let mut shown = serde_json::json!({
        "key": key.id.to_string(),
        "operations": operations(key),
        "enabled": key.enabled,
        "version": key.id.version.as_str(),
        "kid": key.kid,
    });
    match &key.public {
        PublicKey::Rsa { n, .. } => {
            shown["type"] = "RSA".into();
            shown["bits"] = bits(n).into();
        }
        PublicKey::Ec { curve, .. } => {
            shown["type"] = "EC".into();
            shown["curve"] = curve.jwk_name().into();
        }
        PublicKey::Oct => shown["type"] = "oct".into(),
    }
    format!("{shown:#}\n")
}

fn key_type(public: &PublicKey) -> String {
    match public {
        PublicKey::Rsa { n, .. } => format!("RSA, {} bits", bits(n)),
        PublicKey::Ec { curve, .. } => format!("EC, {}", curve.jwk_name()),
        PublicKey::Oct => "symmetric".to_owned(),
    }
}

/// Length of a number without leading zeros.
fn bits(number: &[u8]) -> usize {
    let unused = number.first().map_or(0, |first| first.leading_zeros());
    number.len() * 8 - unused as usize
}

fn operations(key: &Key) -> Vec<String> {
    key.operations.iter().map(ToString::to_string).collect()
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;
    use managed_hsm::{Curve, KeyId, KeyOperation};

    use super::*;

    const VERSION: &str = "0123456789abcdef0123456789abcdef";

    fn key(public: PublicKey) -> Key {
        Key {
            id: KeyId {
                vault: "MyHSM".parse().unwrap(),
                key: "k".parse().unwrap(),
                version: VERSION.parse().unwrap(),
            },
            kid: format!("https://myhsm.managedhsm.azure.net/keys/k/{VERSION}"),
            public,
            operations: vec![KeyOperation::Sign, KeyOperation::Other("deriveKey".into())],
            enabled: true,
        }
    }

    #[test]
    fn the_command_line_is_well_formed() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn a_key_is_shown_with_its_type_and_size() {
        let mut n = vec![0xff; 256];
        n[0] = 0x7f;
        let ec = PublicKey::Ec {
            curve: Curve::P521,
            x: vec![1; 66],
            y: vec![1; 66],
        };
        let cases = [
            (
                PublicKey::Rsa {
                    n,
                    e: vec![1, 0, 1],
                },
                "RSA, 2047 bits",
            ),
            (ec, "EC, P-521"),
            (PublicKey::Oct, "symmetric"),
        ];
        for (public, expected) in cases {
            let shown = table(&key(public));
            assert!(
                shown.contains(&format!("Type        {expected}\n")),
                "{shown}"
            );
            assert!(shown.contains("Operations  sign, deriveKey\n"), "{shown}");
        }
    }

    #[test]
    fn json_holds_what_the_table_holds() {
        let shown: serde_json::Value = serde_json::from_str(&json(&key(PublicKey::Oct))).unwrap();
        assert_eq!(shown["version"], VERSION);
        assert_eq!(shown["type"], "oct");
        assert_eq!(
            shown["operations"],
            serde_json::json!(["sign", "deriveKey"])
        );
    }
}
