//! `akv pkcs11`: keys as programs see them that load the PKCS#11 module.
//!
//! These commands load the module themselves, through the crate `cryptoki`: what they show is what
//! programs see, and configuration, tags and attributes are read in one place, the module.

mod calls;
mod check;
mod doctor;
mod module;
mod objects;
pub(crate) mod offload;
mod process;
mod rows;
mod sweep;

use clap::{Args, Subcommand, ValueEnum};
use serde_json::json;

use self::calls::{Calls, Task};
pub(crate) use self::doctor::check as doctor;
use self::objects::{NamedCurve, NamedSet, NewKey, NewKind, Usage};
use self::process::{Identity, Place};
use self::sweep::Sweep;
use crate::failure::Failure;
use crate::output::{Report, lines};
use crate::progress::Spinner;
use crate::signing::{Hexadecimal, hexadecimal};

#[derive(Subcommand)]
#[command(after_help = "Examples:
  akv pkcs11 check
  akv pkcs11 list")]
pub(crate) enum Pkcs11 {
    /// Make a key pair, with a label by which programs find it
    #[command(alias = "create")]
    CreateKey(CreateKey),
    /// List the keys that programs see: label, id, type, usage, name and version
    #[command(visible_alias = "ls")]
    List(List),
    /// Delete keys that were made for a session whose process has ended without taking them away
    Sweep(Sweep),
    /// Check the module's configuration, without asking the HSM
    Check(Check),
    /// Show the module, its slots and tokens, and what each mechanism does and where
    Info(Info),
    #[command(hide = true)]
    Calls(Calls),
}

#[derive(Args)]
#[command(after_help = "Example:\n  akv pkcs11 create-key --label web --type ec --curve P-256")]
pub(crate) struct CreateKey {
    /// Label of both objects
    #[arg(long)]
    label: String,
    /// Its type
    #[arg(long = "type", value_enum, ignore_case = true, value_name = "TYPE")]
    kind: Kind,
    /// Bits of an RSA key: 2048, 3072 or 4096 [default: 2048]
    #[arg(long, value_name = "BITS")]
    size: Option<usize>,
    /// Curve of an EC key
    #[arg(long, value_enum, ignore_case = true, value_name = "CURVE")]
    curve: Option<NamedCurve>,
    /// CKA_ID of both objects, in hexadecimal digits [default: the SHA-1 of the public key]
    #[arg(long, value_name = "HEX", value_parser = id)]
    id: Option<Hexadecimal>,
    /// What it may be used for, separated by commas
    #[arg(
        long,
        value_enum,
        value_name = "USAGE",
        value_delimiter = ',',
        default_value = "sign,verify"
    )]
    usage: Vec<Usage>,
    /// Slot [default: the only one]
    #[arg(long, value_name = "N")]
    slot: Option<u64>,
    #[command(flatten)]
    identity: Identity,
    #[command(flatten)]
    place: Place,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Kind {
    Rsa,
    Ec,
    #[value(name = "ml-dsa-44")]
    MlDsa44,
    #[value(name = "ml-dsa-65")]
    MlDsa65,
    #[value(name = "ml-dsa-87")]
    MlDsa87,
}

fn id(text: &str) -> Result<Hexadecimal, String> {
    match text.is_empty() {
        true => Err("give pairs of hexadecimal digits, such as 0a1b".to_owned()),
        false => hexadecimal(text),
    }
}

#[derive(Args)]
#[command(after_help = "Examples:
  akv pkcs11 list
  akv pkcs11 list --slot 1 -o json")]
pub(crate) struct List {
    /// Slot [default: all that have a token]
    #[arg(long, value_name = "N")]
    slot: Option<u64>,
    #[command(flatten)]
    identity: Identity,
    #[command(flatten)]
    place: Place,
}

#[derive(Args)]
#[command(after_help = "Examples:
  akv pkcs11 check
  akv pkcs11 check --config /etc/mhsm-pkcs11.conf")]
pub(crate) struct Check {
    #[command(flatten)]
    place: Place,
}

#[derive(Args)]
#[command(after_help = "Example:\n  akv pkcs11 info")]
pub(crate) struct Info {
    #[command(flatten)]
    place: Place,
}

impl Pkcs11 {
    pub(crate) fn run(&self) -> Result<Report, Failure> {
        match self {
            Self::CreateKey(command) => command.run(),
            Self::List(command) => command.run(),
            Self::Sweep(command) => command.run(),
            Self::Check(command) => command.run(),
            Self::Info(command) => command.run(),
            Self::Calls(command) => command.run(),
        }
    }
}

impl CreateKey {
    fn run(&self) -> Result<Report, Failure> {
        let _spinner = Spinner::start("making a key");
        let task = Task::Create {
            slot: self.slot,
            pin: self.identity.pin()?,
            key: NewKey {
                kind: self.kind()?,
                label: self.label.clone(),
                id: self.id.as_ref().map(|id| id.0.clone()),
                usage: self.usage.clone(),
            },
        };
        let told = self.place.ask(&task, &self.identity)?;
        let keys = &told.answer.keys;
        Ok(Report::new(rows::keys(keys), rows::json(keys)))
    }

    fn kind(&self) -> Result<NewKind, Failure> {
        let unfit = match (self.kind, self.size, self.curve) {
            (Kind::Rsa, size, None) => return Ok(NewKind::Rsa(size.unwrap_or(2048))),
            (Kind::Rsa, _, Some(_)) => "an RSA key has no curve",
            (Kind::Ec, None, Some(curve)) => return Ok(NewKind::Ec(curve)),
            (Kind::Ec, Some(_), _) => "an EC key has a curve, which is its size: leave --size out",
            (Kind::Ec, None, None) => "an EC key needs --curve: P-256, P-256K, P-384 or P-521",
            (Kind::MlDsa44, None, None) => return Ok(NewKind::MlDsa(NamedSet::MlDsa44)),
            (Kind::MlDsa65, None, None) => return Ok(NewKind::MlDsa(NamedSet::MlDsa65)),
            (Kind::MlDsa87, None, None) => return Ok(NewKind::MlDsa(NamedSet::MlDsa87)),
            (Kind::MlDsa44 | Kind::MlDsa65 | Kind::MlDsa87, ..) => {
                "a key of ML-DSA has neither --size nor --curve: its type says all"
            }
        };
        Err(Failure::usage(unfit))
    }
}

impl List {
    fn run(&self) -> Result<Report, Failure> {
        let _spinner = Spinner::start("listing keys");
        let task = Task::List {
            slot: self.slot,
            pin: self.identity.pin()?,
        };
        let told = self.place.ask(&task, &self.identity)?;
        let keys = &told.answer.keys;
        Ok(Report {
            is_good: told.answer.failed_slots.is_empty(),
            ..Report::new(rows::keys(keys), rows::json(keys))
        })
    }
}

impl Check {
    fn run(&self) -> Result<Report, Failure> {
        let verdict = check::check(&self.place)?;
        let summary = match verdict.is_good() {
            true => "The module can use its configuration.\n",
            false => {
                "The module can't use all of its configuration; 'akv docs pkcs11' says what it may hold.\n"
            }
        };
        let mut text = String::new();
        for line in verdict.told.problems() {
            text += &format!("failed   {line}\n");
        }
        for line in verdict.told.warnings() {
            text += &format!("warning  {line}\n");
        }
        let mut report = Report::new(text + summary, verdict.json());
        report.is_good = verdict.is_good();
        Ok(report)
    }
}

impl Info {
    fn run(&self) -> Result<Report, Failure> {
        let told = self.place.ask(&Task::Describe, &Identity::default())?;
        let answer = &told.answer;
        let mut text = String::new();
        // Versions are the same in all slots; a key vault has fewer mechanisms than an HSM.
        let whole = answer.slots.iter().filter(|slot| slot.token.is_some());
        let whole = whole.rev().max_by_key(|slot| slot.mechanisms.len());
        if let Some(library) = &answer.library {
            let library = format!("{} {}", library.description, library.version);
            let mut rows = vec![
                ("Module", told.module.display().to_string()),
                ("Library", library),
            ];
            rows.extend(whole.map(|slot| ("PKCS#11", slot.interfaces.join(", "))));
            text += &lines(&rows);
        }
        text += &format!("\n{}", rows::slots(&answer.slots));
        if let Some(slot) = whole {
            text += &format!("\n{}", rows::mechanisms(&slot.mechanisms));
            text += "\nUsers, PINs and their changes are Azure's: roles are assigned there.\n";
        }
        let slots = answer.slots.iter().map(|slot| {
            json!({
                "slot": slot.id,
                "description": slot.description,
                "token": slot.token,
                "login": rows::login(slot),
                "interfaces": slot.interfaces,
                "mechanisms": slot.mechanisms,
            })
        });
        let json = json!({
            "module": told.module,
            "library": answer.library,
            "slots": slots.collect::<Vec<_>>(),
        });
        Ok(Report::new(text, json))
    }
}
