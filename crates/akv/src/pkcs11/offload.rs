//! The tools of the TLS Offload Library, by their names and with the output that scripts look for.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use clap::builder::PossibleValuesParser;
use clap::{ArgGroup, Args, Command, CommandFactory, Parser};

use super::calls::Task;
use super::objects::{NamedCurve, NamedSet, NewKey, NewKind, Usage};
use super::process::{Identity, Place};
use super::{check, rows};
use crate::failure::Failure;
use crate::output::{Report, one_line};

/// One of the tools.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tool {
    CreateKey,
    ListKeys,
    ValidateConfigFile,
}

impl Tool {
    /// The tool that is meant by the name that a program was called by.
    pub(crate) fn named(program: Option<&OsStr>) -> Option<Self> {
        let name = Path::new(program?).file_stem()?.to_str()?;
        match name {
            "mhsm_p11_create_key" => Some(Self::CreateKey),
            "mhsm_p11_list_keys" => Some(Self::ListKeys),
            "mhsm_p11_validate_config_file" => Some(Self::ValidateConfigFile),
            _ => None,
        }
    }

    /// The command lines of all tools.
    pub(crate) fn commands() -> [Command; 3] {
        [
            CreateKey::command(),
            ListKeys::command(),
            ValidateConfigFile::command(),
        ]
    }

    /// Does what the arguments say.
    pub(crate) fn run(self) -> Result<Result<Report, Failure>, clap::Error> {
        Ok(match self {
            Self::CreateKey => CreateKey::try_parse()?.run(),
            Self::ListKeys => ListKeys::try_parse()?.run(),
            Self::ValidateConfigFile => ValidateConfigFile::try_parse()?.run(),
        })
    }
}

/// Make a key pair for TLS in the Managed HSM.
///
/// The HSM is asked as the application MHSM_CLIENT_ID with the secret MHSM_CLIENT_SECRET, as the
/// managed identity with --identity, else with the credential of the configuration.
#[derive(Parser)]
#[command(
    name = "mhsm_p11_create_key",
    version,
    arg_required_else_help = true,
    group(ArgGroup::new("type").required(true).args(["rsa", "ec", "ml_dsa"])),
    after_help = "Examples:
  mhsm_p11_create_key --RSA 2K --label web
  mhsm_p11_create_key --EC P-256 --label web --slot 1"
)]
struct CreateKey {
    /// RSA key of this size
    #[arg(long = "RSA", value_name = "SIZE", value_parser = PossibleValuesParser::new(["2K", "3K", "4K"]))]
    rsa: Option<String>,
    /// EC key on this curve
    #[arg(long = "EC", value_name = "CURVE", value_enum)]
    ec: Option<NamedCurve>,
    /// Key of ML-DSA with this parameter set, where apiVersion names a preview of the service
    #[arg(long = "ML-DSA", value_name = "SET", value_enum)]
    ml_dsa: Option<NamedSet>,
    /// CKA_LABEL of the private and the public key
    #[arg(long)]
    label: String,
    #[command(flatten)]
    common: Common,
}

#[derive(Args)]
struct Common {
    /// Ask as the managed identity of this machine
    #[arg(long)]
    identity: bool,
    /// Slot [default: the only one]
    #[arg(long, value_name = "N")]
    slot: Option<u64>,
    /// The module [default: the one beside this program, or where the package akv-pkcs11 or
    /// ubuntubuild.sh installs it]
    #[arg(long, value_name = "FILE")]
    module: Option<PathBuf>,
}

impl Common {
    fn place(&self) -> Place {
        Place {
            module: self.module.clone(),
            config: None,
        }
    }

    fn identity(&self) -> Identity {
        Identity {
            identity: self.identity,
            pin_file: None,
        }
    }
}

impl CreateKey {
    fn run(&self) -> Result<Report, Failure> {
        let kind = match (self.rsa.as_deref(), self.ec, self.ml_dsa) {
            (Some("2K"), ..) => NewKind::Rsa(2048),
            (Some("3K"), ..) => NewKind::Rsa(3072),
            (Some(_), ..) => NewKind::Rsa(4096),
            (None, Some(curve), _) => NewKind::Ec(curve),
            (None, None, Some(set)) => NewKind::MlDsa(set),
            (None, None, None) => return Err(Failure::usage("name --RSA, --EC or --ML-DSA")),
        };
        let identity = self.common.identity();
        let task = Task::Create {
            slot: self.common.slot,
            pin: identity.pin()?,
            key: NewKey {
                kind,
                label: self.label.clone(),
                id: None,
                usage: vec![Usage::Sign, Usage::Verify],
            },
        };
        let told = self.common.place().ask(&task, &identity)?;
        let json = rows::json(&told.answer.keys);
        let text = told.answer.keys.iter().map(|key| {
            format!(
                "Key is generated successfully.\nManaged HSM Key ID: {}\nKey Name: {}\n",
                one_line(&key.kid),
                one_line(key.name())
            )
        });
        Ok(Report::new(text.collect::<String>(), json))
    }
}

/// List the keys of the Managed HSM.
#[derive(Parser)]
#[command(
    name = "mhsm_p11_list_keys",
    version,
    after_help = "Example:
  mhsm_p11_list_keys --slot 1"
)]
struct ListKeys {
    #[command(flatten)]
    common: Common,
}

impl ListKeys {
    fn run(&self) -> Result<Report, Failure> {
        let identity = self.common.identity();
        let task = Task::List {
            slot: self.common.slot,
            pin: identity.pin()?,
        };
        let told = self.common.place().ask(&task, &identity)?;
        let blocks = told.answer.keys.iter().map(|key| {
            format!(
                "Key Name: {}\nManaged HSM Key ID: {}\nLabel: {}\nType: {}\nSlot: {}\n",
                one_line(key.name()),
                one_line(&key.kid),
                one_line(&key.label),
                one_line(&key.kind),
                key.slot
            )
        });
        let blocks: Vec<String> = blocks.collect();
        Ok(Report {
            is_good: told.answer.failed_slots.is_empty(),
            ..Report::new(blocks.join("\n"), rows::json(&told.answer.keys))
        })
    }
}

/// Check a configuration file.
#[derive(Parser)]
#[command(
    name = "mhsm_p11_validate_config_file",
    version,
    arg_required_else_help = true,
    after_help = "Example:
  mhsm_p11_validate_config_file --file /etc/mhsm-pkcs11.conf"
)]
struct ValidateConfigFile {
    /// The configuration file
    #[arg(long, value_name = "FILE")]
    file: PathBuf,
    /// The module [default: the one beside this program, or where the package akv-pkcs11 or
    /// ubuntubuild.sh installs it]
    #[arg(long, value_name = "FILE")]
    module: Option<PathBuf>,
}

impl ValidateConfigFile {
    fn run(&self) -> Result<Report, Failure> {
        let place = Place {
            module: self.module.clone(),
            config: Some(self.file.clone()),
        };
        let verdict = check::check(&place)?;
        let file = self.file.display().to_string();
        let word = match verdict.is_good() {
            true => "SUCCESS",
            false => "FAILED",
        };
        let mut text = format!("{word}: Parsing {}\n", one_line(&file));
        for line in verdict.told.problems() {
            text += &format!("ERROR: {line}\n");
        }
        for line in verdict.told.warnings() {
            text += &format!("WARNING: {line}\n");
        }
        let mut report = Report::new(text, verdict.json());
        report.is_good = verdict.is_good();
        Ok(report)
    }
}
