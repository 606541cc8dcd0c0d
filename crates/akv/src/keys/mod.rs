//! `akv keys`: management, by Microsoft's client.

mod backup;
mod check;
mod deletion;
mod description;
mod kind;
mod lifetime;
mod listing;
mod pem;
mod public;
mod release;
mod rotation;
mod set;

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::SystemTime;

use azure_core::Bytes;
use azure_core::http::RequestContent;
use azure_core::time::OffsetDateTime;
use azure_security_keyvault_keys::models::{
    CreateKeyParameters, ImportKeyParameters, JsonWebKey, KeyAttributes, KeyClientGetKeyOptions,
    KeyOperation, KeyReleasePolicy,
};
use clap::{Args, Subcommand};
use managed_hsm::{ExternalKeyId, Feature, KeyUri, ParameterSet, PublicKey, Service};
use serde_json::json;

use self::backup::{Backup, Restore};
use self::check::Check;
use self::deletion::{Delete, Purge};
use self::description::{Told, shown};
use self::kind::{Kind, NamedCurve};
use self::lifetime::Lifetime;
pub(crate) use self::lifetime::point_in_time;
use self::listing::List;
use self::pem::Pem;
use self::public::Public;
use self::release::{Attestation, Release};
use self::rotation::{Rotate, RotationPolicy};
use self::set::Set;
use crate::failure::Failure;
use crate::files;
use crate::import;
use crate::output::{OutputOptions, Report};
use crate::progress::Spinner;
use crate::session::Session;

#[derive(Subcommand)]
#[command(after_help = "Examples:
  akv keys create managedhsm:MyHSM:web --type ec --curve P-256
  akv keys list managedhsm:MyHSM
  akv keys show managedhsm:MyHSM:web")]
pub(crate) enum Keys {
    /// List the keys of an HSM or key vault, its deleted keys, or the versions of a key
    #[command(visible_alias = "ls")]
    List(List),
    /// Show a key's type, operations, attributes and version
    #[command(aliases = ["get", "describe"])]
    Show(Show),
    /// Create a key, or a new version of one
    Create(Create),
    /// Import a key from a file, or a new version of one
    Import(Import),
    /// Say whether a key is fit for what it is wanted for: it is used once for that
    Check(Check),
    /// Change what a key may be used for, and until when; its tags
    #[command(aliases = ["update", "set-attributes"])]
    Set(Set),
    /// Have the service make a new version of a key as its rotation policy does
    Rotate(Rotate),
    /// When a key is rotated, and how long its versions last
    #[command(subcommand)]
    RotationPolicy(RotationPolicy),
    /// Delete a key with all its versions; it can be recovered until it is purged
    #[command(visible_alias = "rm", alias = "remove")]
    Delete(Delete),
    /// Recover a deleted key
    #[command(
        alias = "undelete",
        after_help = "Example:\n  akv keys recover managedhsm:MyHSM:web"
    )]
    Recover(Named),
    /// Destroy a deleted key forever
    Purge(Purge),
    /// Write a backup of a key with all its versions, which only this HSM's security domain opens
    Backup(Backup),
    /// Bring a key back from its backup
    Restore(Restore),
    /// Write a key file, for programs that read keys from files; it holds the URI of a version with
    /// its public key, and nothing secret
    Pem(Pem),
    /// Show the public part of a key, as PEM, JSON Web Key or for OpenSSH
    #[command(alias = "download")]
    Public(Public),
    /// Show the HSM's signed statement that a key is in it, which anybody can check
    #[command(alias = "get-attestation")]
    Attestation(Attestation),
    /// Have a key released to an attested environment, as its release policy allows
    Release(Release),
}

#[derive(Args)]
#[command(after_help = "Examples:
  akv keys show managedhsm:MyHSM:web
  akv keys show https://myhsm.managedhsm.azure.net/keys/web -o json
  akv keys show managedhsm:MyHSM:web --query expires -o tsv")]
pub(crate) struct Show {
    /// The key
    uri: KeyUri,
}

#[derive(Args)]
pub(crate) struct Named {
    /// The key
    uri: KeyUri,
}

#[derive(Args)]
#[command(after_help = "Examples:
  akv keys create managedhsm:MyHSM:web --type ec --curve P-256 \\
      --operations sign,verify --expires 365d
  akv keys create managedhsm:MyHSM:doc --type rsa --size 3072 --if-absent
  akv keys create managedhsm:MyHSM:aes --type oct")]
pub(crate) struct Create {
    /// The key
    uri: KeyUri,
    /// Its type
    #[arg(
        long = "type",
        visible_alias = "kty",
        value_enum,
        ignore_case = true,
        value_name = "TYPE",
        required_unless_present = "external_key",
        conflicts_with = "external_key"
    )]
    kind: Option<Kind>,
    /// Take the key with this id in the HSM's external key manager, whatever its type
    #[arg(long, value_name = "ID", conflicts_with_all = ["size", "curve"])]
    external_key: Option<ExternalKeyId>,
    /// Bits of an RSA or AES key [default: 2048 for RSA, 256 for AES]
    #[arg(long, value_name = "BITS")]
    size: Option<i32>,
    /// Curve of an EC key
    #[arg(long, value_enum, ignore_case = true, value_name = "CURVE")]
    curve: Option<NamedCurve>,
    /// Do nothing if there is a key of this name, of the type, size and curve that are named
    #[arg(long)]
    if_absent: bool,
    #[command(flatten)]
    properties: Properties,
    /// Release policy, a JSON file; the key may then be released to attested environments. A key
    /// with the operations secureWrapKey or secureUnwrapKey stays in the HSM instead, and what it
    /// wraps is given to them
    #[arg(long, value_name = "FILE")]
    release_policy: Option<PathBuf>,
}

#[derive(Args)]
#[command(after_help = "Examples:
  akv keys import managedhsm:MyHSM:web key.pem
  akv keys import managedhsm:MyHSM:aes key.bin --aes
  akv keys import managedhsm:MyHSM:brought key.byok --byok rsa")]
pub(crate) struct Import {
    /// The key
    uri: KeyUri,
    /// File with the private key: PEM (PKCS#8, PKCS#1, SEC 1, not encrypted), DER, or a JSON Web
    /// Key; - is standard input
    file: PathBuf,
    /// The file holds an AES key of 16, 24 or 32 bytes as it is
    #[arg(long, conflicts_with = "byok")]
    aes: bool,
    /// The file is a key transfer blob of another HSM, with a key of this type that is wrapped for
    /// a key of this one which may 'import' and nothing else
    #[arg(long, value_enum, ignore_case = true, value_name = "TYPE")]
    byok: Option<Kind>,
    #[command(flatten)]
    properties: Properties,
}

/// What can be said of a key besides its type.
#[derive(Args)]
struct Properties {
    /// Operations that it may be used for, separated by commas: sign, verify, encrypt, decrypt,
    /// wrapKey, unwrapKey and so on [default: all of its type]
    #[arg(
        long,
        visible_alias = "ops",
        value_name = "OPERATIONS",
        value_delimiter = ','
    )]
    operations: Vec<String>,
    /// In a key vault: keep the key in an HSM (premium vaults only). Keys of a Managed HSM always
    /// are
    #[arg(long)]
    hsm: bool,
    /// Make it without letting it be used
    #[arg(long)]
    disabled: bool,
    /// From when on it may be used: 2026-12-31, 2026-12-31T23:59:59Z, or a time from now such as
    /// 12h
    #[arg(long, value_name = "TIME", value_parser = point_in_time)]
    not_before: Option<SystemTime>,
    /// Until when it may be used: 2026-12-31, 2026-12-31T23:59:59Z, or a time from now such as 90d
    #[arg(long, value_name = "TIME", value_parser = point_in_time)]
    expires: Option<SystemTime>,
    /// A name and value for people and programs; may be repeated
    #[arg(long = "tag", value_name = "NAME=VALUE", value_parser = tag)]
    tags: Vec<(String, String)>,
}

fn tag(text: &str) -> Result<(String, String), String> {
    let pair = text.split_once('=').filter(|(name, _)| !name.is_empty());
    let (name, value) = pair.ok_or_else(|| "give <name>=<value>".to_owned())?;
    Ok((name.to_owned(), value.to_owned()))
}

impl Keys {
    pub(crate) fn run(&self, output: &OutputOptions) -> Result<Report, Failure> {
        match self {
            Self::List(command) => command.run(),
            Self::Show(command) => command.run(),
            Self::Create(command) => command.run(),
            Self::Import(command) => command.run(),
            Self::Check(command) => command.run(output),
            Self::Set(command) => command.run(),
            Self::Rotate(command) => command.run(),
            Self::RotationPolicy(command) => command.run(),
            Self::Delete(command) => command.run(),
            Self::Recover(command) => command.recover(),
            Self::Purge(command) => command.run(),
            Self::Backup(command) => command.run(),
            Self::Restore(command) => command.run(),
            Self::Pem(command) => command.run(),
            Self::Public(command) => command.run(),
            Self::Attestation(command) => command.run(),
            Self::Release(command) => command.run(),
        }
    }
}

impl Show {
    fn run(&self) -> Result<Report, Failure> {
        let _spinner = Spinner::start("asking for the key");
        show(&Session::start()?, &self.uri)
    }
}

/// What keys with these operations need: those for secure wrap or unwrap, which are not exportable.
fn secure_wrap<'a>(operations: impl IntoIterator<Item = &'a str>) -> Option<Feature> {
    let mut operations = operations.into_iter();
    let wraps = operations.any(|name| ["secureWrapKey", "secureUnwrapKey"].contains(&name));
    wraps.then_some(Feature::SecureWrap)
}

fn show(session: &Session, uri: &KeyUri) -> Result<Report, Failure> {
    let management = session.management(&uri.vault)?;
    let request = async {
        let options = KeyClientGetKeyOptions {
            key_version: uri.version.as_ref().map(ToString::to_string),
            ..KeyClientGetKeyOptions::default()
        };
        let answer = management.keys.get_key(uri.key.as_str(), Some(options));
        Told::read(answer.await?)
    };
    let key = management.wait("load key", &uri.to_string(), request)?;
    shown(uri, &key)
}

impl Create {
    fn run(&self) -> Result<Report, Failure> {
        let _spinner = Spinner::start("creating the key");
        unversioned(&self.uri)?;
        self.properties.lifetime().check()?;
        let service = self.uri.vault.service;
        let in_hsm = service == Service::ManagedHsm
            || self.properties.hsm
            || self.kind.is_some_and(Kind::names_an_hsm);
        if let Some(problem) = self.unfit() {
            return Err(Failure::usage(problem));
        }
        let session = Session::start()?;
        if self.if_absent && self.is_there(&session)? {
            return show(&session, &self.uri);
        }
        let features = [
            self.ml_dsa().map(|_| Feature::MlDsa),
            self.external_key.as_ref().map(|_| Feature::ExternalKeys),
            secure_wrap(self.properties.operations()),
        ];
        let features = features.into_iter().flatten();
        let management = session.management_with(features, "create key", &self.uri)?;
        let body = self.body(in_hsm)?;
        let request = async {
            let name = self.uri.key.as_str();
            let content: RequestContent<CreateKeyParameters> = body.into();
            let answer = management.keys.create_key(name, content, None);
            Told::read(answer.await?)
        };
        let key = management.wait("create key", &self.uri.to_string(), request)?;
        shown(&self.uri, &key)
    }

    /// Whether there is a key of this name. One of another kind is none that could be taken.
    fn is_there(&self, session: &Session) -> Result<bool, Failure> {
        let key = match session.client.get_key(&self.uri) {
            Ok(key) => key,
            Err(error) if error.status() == Some(404) => return Ok(false),
            Err(error) => return Err(error.into()),
        };
        let bits = match &key.public {
            PublicKey::Oct => key.properties.key_size,
            _ => {
                let own = hsm_keys::PublicKey::from(key.public.clone());
                u32::try_from(own.raw_signature_len() * 8).ok()
            }
        };
        let is_size = |wanted: i32| bits.is_none_or(|bits| u32::try_from(wanted) == Ok(bits));
        let is_as_wanted = self.kind.is_none_or(|kind| kind.is_of(&key.public))
            && self.curve.is_none_or(|curve| curve.is_of(&key.public))
            && self.size.is_none_or(is_size);
        match is_as_wanted {
            true => Ok(true),
            false => Err(Failure::conflict(format!(
                "{} is there, and of another type, size or curve: 'akv keys show {}' tells which; give another name",
                key.id, self.uri
            ))),
        }
    }

    /// Why there can be no such key.
    fn unfit(&self) -> Option<&'static str> {
        let in_vault = self.uri.vault.service == Service::KeyVault;
        let Some(kind) = self.kind else {
            return in_vault.then_some("a key vault has no external keys; an HSM does");
        };
        match (kind.is_ec(), self.size, self.curve) {
            (true, None, None) => Some("an EC key needs --curve: P-256, P-384, P-521 or P-256K"),
            (false, _, Some(_)) => Some("only an EC key has a --curve"),
            _ if in_vault && kind == Kind::Oct => {
                Some("a key vault keeps no symmetric keys; an HSM does")
            }
            (_, Some(bits), _) => kind.misfit(bits),
            _ => None,
        }
    }

    fn ml_dsa(&self) -> Option<ParameterSet> {
        self.kind.and_then(Kind::ml_dsa)
    }

    /// The body of the request.
    fn body(&self, in_hsm: bool) -> Result<Bytes, Failure> {
        let policy = self.release_policy.as_ref();
        let policy = policy.map(|path| files::read_text(path)).transpose()?;
        let wraps_securely = secure_wrap(self.properties.operations()).is_some();
        let is_exportable = policy.is_some() && !wraps_securely;
        let parameters = CreateKeyParameters {
            kty: self.kind.map(|kind| kind.key_type(in_hsm)),
            key_size: match self.kind {
                Some(Kind::Rsa | Kind::RsaHsm) => Some(self.size.unwrap_or(2048)),
                Some(Kind::Oct) => Some(self.size.unwrap_or(256)),
                _ => None,
            },
            curve: self.curve.map(NamedCurve::name),
            key_ops: match self.properties.operations.is_empty() {
                true => None,
                false => Some(self.properties.operations().map(operation).collect()),
            },
            key_attributes: self.properties.attributes(is_exportable),
            release_policy: policy.map(|policy| KeyReleasePolicy {
                encoded_policy: Some(policy.to_vec()),
                ..KeyReleasePolicy::default()
            }),
            tags: self.properties.tags(),
            ..CreateKeyParameters::default()
        };
        let unwritten = |error| Failure::told(format!("no request can be made: {error}"));
        let mut body = serde_json::to_value(parameters).map_err(unwritten)?;
        // Microsoft's types have no members for these yet.
        if let Some(set) = self.ml_dsa() {
            body["alg"] = set.name().into();
        }
        if let Some(id) = &self.external_key {
            body["attributes"]["external_key"] = json!({ "id": id.as_str() });
        }
        serde_json::to_vec(&body)
            .map(Bytes::from)
            .map_err(unwritten)
    }
}

impl Import {
    fn run(&self) -> Result<Report, Failure> {
        let _spinner = Spinner::start("importing the key");
        unversioned(&self.uri)?;
        self.properties.lifetime().check()?;
        let file = match self.aes {
            true => files::read(&self.file)?,
            false => files::read_text(&self.file)?,
        };
        let in_hsm = self.uri.vault.service == Service::ManagedHsm || self.properties.hsm;
        let mut key = match (self.aes, self.byok) {
            (true, _) => import::aes_key(&file),
            (false, Some(kind)) => import::transferred(&file, kind.key_type(true)),
            (false, None) => import::private_key(&file, in_hsm),
        }
        .map_err(|problem| Failure::told(format!("{}: {problem}", self.file.display())))?;
        if !self.properties.operations.is_empty() {
            let names = self.properties.operations().map(str::to_owned);
            key.0.key_ops = Some(names.collect());
        }
        let body = key.into_body(|key: JsonWebKey| ImportKeyParameters {
            hsm: Some(in_hsm),
            key: Some(key),
            key_attributes: self.properties.attributes(false),
            tags: self.properties.tags(),
            ..ImportKeyParameters::default()
        })?;
        let session = Session::start()?;
        let feature = secure_wrap(self.properties.operations());
        let management = session.management_with(feature, "import key", &self.uri)?;
        let request = async {
            let content: RequestContent<ImportKeyParameters> = body.into();
            let name = self.uri.key.as_str();
            let answer = management.keys.import_key(name, content, None);
            Told::read(answer.await?)
        };
        let key = management.wait("import key", &self.uri.to_string(), request)?;
        shown(&self.uri, &key)
    }
}

impl Named {
    fn recover(&self) -> Result<Report, Failure> {
        let _spinner = Spinner::start("recovering the key");
        unversioned(&self.uri)?;
        let session = Session::start()?;
        let management = session.management(&self.uri.vault)?;
        let request = async {
            let answer = management
                .keys
                .recover_deleted_key(self.uri.key.as_str(), None);
            Told::read(answer.await?)
        };
        let key = management.wait("recover key", &self.uri.to_string(), request)?;
        shown(&self.uri, &key)
    }
}

/// Operations on a key as a whole take no version.
fn unversioned(uri: &KeyUri) -> Result<(), Failure> {
    match &uri.version {
        None => Ok(()),
        Some(_) => Err(Failure::usage(format!(
            "{uri} names a version: give the key alone, {}:{}",
            uri.vault, uri.key
        ))),
    }
}

impl Properties {
    /// The names of operations, without the blanks that people put behind commas.
    fn operations(&self) -> impl Iterator<Item = &str> {
        self.operations.iter().map(|name| name.trim())
    }

    fn lifetime(&self) -> Lifetime {
        Lifetime {
            not_before: self.not_before,
            expires: self.expires,
        }
    }

    fn attributes(&self, exportable: bool) -> Option<KeyAttributes> {
        Some(KeyAttributes {
            enabled: Some(!self.disabled),
            not_before: self.not_before.map(OffsetDateTime::from),
            expires: self.expires.map(OffsetDateTime::from),
            exportable: exportable.then_some(true),
            ..KeyAttributes::default()
        })
    }

    fn tags(&self) -> Option<HashMap<String, String>> {
        let tags = self.tags.iter().cloned();
        (!self.tags.is_empty()).then(|| tags.collect())
    }
}

/// An operation by its name; one that the service does not know it refuses.
fn operation(name: &str) -> KeyOperation {
    let Ok(operation) = name.trim().parse();
    operation
}
