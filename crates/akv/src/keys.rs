//! `akv keys`: management, by Microsoft's client.

use std::collections::HashMap;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::time::SystemTime;

use azure_core::http::RequestContent;
use azure_core::time::OffsetDateTime;
use azure_security_keyvault_keys::models::{
    CreateKeyParameters, CurveName, DeletedKey, ImportKeyParameters, JsonWebKey, Key as AzureKey,
    KeyAttributes, KeyClientGetKeyOptions, KeyOperation, KeyReleasePolicy, KeyType,
};
use clap::{Args, Subcommand, ValueEnum};
use futures_util::TryStreamExt;
use managed_hsm::{KeyName, KeyUri, KeyVersion, Service, StoreUri, Vault};
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::files;
use crate::import;
use crate::output::{self, Report, lines, table};
use crate::progress::Spinner;
use crate::session::Session;

#[derive(Subcommand)]
pub(crate) enum Keys {
    /// List the keys of a vault, or the versions of a key
    List(List),
    /// Show a key's type, operations, attributes and version
    Show(Show),
    /// Create a key, or a new version of one
    Create(Create),
    /// Import a key from a file, or a new version of one
    Import(Import),
    /// Have the service make a new version of a key as its rotation policy does
    Rotate(Named),
    /// Delete a key with all its versions; it can be recovered until it is purged
    Delete(Delete),
    /// Recover a deleted key
    Recover(Named),
}

#[derive(Args)]
pub(crate) struct List {
    /// managedhsm:<HSM>, keyvault:<vault>, or a key, for its versions
    what: StoreUri,
    /// List the deleted keys that can be recovered
    #[arg(long)]
    deleted: bool,
}

#[derive(Args)]
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
pub(crate) struct Delete {
    /// The key
    uri: KeyUri,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

#[derive(Args)]
pub(crate) struct Create {
    /// The key
    uri: KeyUri,
    /// Its type
    #[arg(long = "type", value_enum, value_name = "TYPE")]
    kind: Kind,
    /// Bits of an RSA or AES key [default: 2048 for RSA, 256 for AES]
    #[arg(long, value_name = "BITS")]
    size: Option<i32>,
    /// Curve of an EC key
    #[arg(long, value_enum, value_name = "CURVE")]
    curve: Option<NamedCurve>,
    #[command(flatten)]
    properties: Properties,
    /// Operations that it may be used for, separated by commas [default: all of its type]
    #[arg(long, value_name = "OPERATIONS", value_delimiter = ',')]
    operations: Vec<String>,
    /// Release policy, a JSON file; the key may then be released to attested environments
    #[arg(long, value_name = "FILE")]
    release_policy: Option<PathBuf>,
}

#[derive(Args)]
pub(crate) struct Import {
    /// The key
    uri: KeyUri,
    /// File with the private key: PEM (PKCS#8, PKCS#1, SEC 1, not encrypted), DER, or a JSON Web Key; - is standard input
    file: PathBuf,
    /// The file holds an AES key of 16, 24 or 32 bytes as it is
    #[arg(long)]
    aes: bool,
    /// Operations that it may be used for, separated by commas [default: all of its type]
    #[arg(long, value_name = "OPERATIONS", value_delimiter = ',')]
    operations: Vec<String>,
    #[command(flatten)]
    properties: Properties,
}

/// What can be said of a key besides its type.
#[derive(Args)]
struct Properties {
    /// In a key vault: keep the key in an HSM (premium vaults only). Keys of a Managed HSM always are
    #[arg(long)]
    hsm: bool,
    /// Make it without letting it be used
    #[arg(long)]
    disabled: bool,
    /// From when on it may be used: 2026-12-31, 2026-12-31T23:59:59Z, or a time from now such as 12h
    #[arg(long, value_name = "TIME", value_parser = point_in_time)]
    not_before: Option<SystemTime>,
    /// Until when it may be used: 2026-12-31, 2026-12-31T23:59:59Z, or a time from now such as 90d
    #[arg(long, value_name = "TIME", value_parser = point_in_time)]
    expires: Option<SystemTime>,
    /// A name and value for people and programs; may be repeated
    #[arg(long = "tag", value_name = "NAME=VALUE", value_parser = tag)]
    tags: Vec<(String, String)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Kind {
    Rsa,
    Ec,
    /// Symmetric: AES
    Oct,
}

#[derive(Clone, Copy, ValueEnum)]
enum NamedCurve {
    #[value(name = "P-256")]
    P256,
    #[value(name = "P-384")]
    P384,
    #[value(name = "P-521")]
    P521,
    /// secp256k1
    #[value(name = "P-256K")]
    P256K,
}

fn point_in_time(text: &str) -> Result<SystemTime, String> {
    let date = match text.len() {
        10 => format!("{text}T00:00:00Z"),
        _ => text.to_owned(),
    };
    if let Ok(at) = humantime::parse_rfc3339_weak(&date) {
        return Ok(at);
    }
    let later = humantime::parse_duration(text).ok();
    later
        .and_then(|later| SystemTime::now().checked_add(later))
        .ok_or_else(|| {
            "give 2026-12-31, 2026-12-31T23:59:59Z, or a time from now such as 90d".to_owned()
        })
}

fn tag(text: &str) -> Result<(String, String), String> {
    let pair = text.split_once('=').filter(|(name, _)| !name.is_empty());
    let (name, value) = pair.ok_or_else(|| "give <name>=<value>".to_owned())?;
    Ok((name.to_owned(), value.to_owned()))
}

impl Keys {
    pub(crate) fn run(&self) -> Result<Report, Failure> {
        match self {
            Self::List(command) => command.run(),
            Self::Show(command) => command.run(),
            Self::Create(command) => command.run(),
            Self::Import(command) => command.run(),
            Self::Rotate(command) => command.rotate(),
            Self::Delete(command) => command.run(),
            Self::Recover(command) => command.recover(),
        }
    }
}

impl List {
    fn run(&self) -> Result<Report, Failure> {
        let _spinner = Spinner::start("listing keys");
        let session = Session::start()?;
        match &self.what {
            StoreUri::Vault(vault) if self.deleted => deleted_keys(&session, vault),
            StoreUri::Vault(vault) => keys(&session, vault),
            StoreUri::Key(_) if self.deleted => Err(Failure::told(
                "--deleted lists the deleted keys of a vault: name the vault alone",
            )),
            StoreUri::Key(uri) => versions(&session, uri),
        }
    }
}

/// A key or a version in a listing.
struct Row {
    uri: KeyUri,
    attributes: Option<KeyAttributes>,
    tags: Option<HashMap<String, String>>,
}

fn keys(session: &Session, vault: &Vault) -> Result<Report, Failure> {
    let management = session.management(vault)?;
    let pager = async {
        management
            .keys
            .list_key_properties(None)?
            .try_collect()
            .await
    };
    let found: Vec<_> = management.wait("list keys of", &vault.to_string(), pager)?;
    let rows = found.into_iter().map(|key| {
        Ok(Row {
            uri: identified(vault, key.kid.as_deref())?,
            attributes: key.attributes,
            tags: key.tags,
        })
    });
    listing("key", rows.collect::<Result<_, Failure>>()?)
}

fn versions(session: &Session, uri: &KeyUri) -> Result<Report, Failure> {
    let management = session.management(&uri.vault)?;
    let pager = async {
        let name = uri.key.as_str();
        let pager = management.keys.list_key_properties_versions(name, None)?;
        pager.try_collect().await
    };
    let found: Vec<_> = management.wait("list versions of", &uri.to_string(), pager)?;
    let rows = found.into_iter().map(|key| {
        Ok(Row {
            uri: identified(&uri.vault, key.kid.as_deref())?,
            attributes: key.attributes,
            tags: key.tags,
        })
    });
    let mut rows = rows.collect::<Result<Vec<Row>, Failure>>()?;
    rows.sort_by_key(|row| row.attributes.as_ref().and_then(|known| known.created));
    listing("version", rows)
}

/// The report of a listing, in the order given.
fn listing(what: &str, rows: Vec<Row>) -> Result<Report, Failure> {
    let json = rows.iter().map(|row| {
        let mut shown = json!({ "key": row.uri.to_string(), "name": row.uri.key.as_str() });
        if let Some(version) = &row.uri.version {
            shown["version"] = version.as_str().into();
        }
        add_attributes(&mut shown, row.attributes.as_ref());
        shown["tags"] = json!(row.tags.clone().unwrap_or_default());
        shown
    });
    let json: Vec<Value> = json.collect();
    let text = rows.iter().map(|row| {
        let attributes = row.attributes.clone().unwrap_or_default();
        let name = match &row.uri.version {
            Some(version) => version.to_string(),
            None => row.uri.key.to_string(),
        };
        vec![
            name,
            yes_or_no(attributes.enabled.unwrap_or(true)),
            shown_time(attributes.created),
            shown_time(attributes.expires),
            shown_tags(row.tags.as_ref()),
        ]
    });
    let text = table(
        &[what, "enabled", "created", "expires", "tags"],
        text.collect(),
    );
    Ok(Report::new(text, Value::Array(json)))
}

fn deleted_keys(session: &Session, vault: &Vault) -> Result<Report, Failure> {
    let management = session.management(vault)?;
    let pager = async {
        let pager = management.keys.list_deleted_key_properties(None)?;
        pager.try_collect().await
    };
    let found: Vec<_> = management.wait("list deleted keys of", &vault.to_string(), pager)?;
    let (mut text, mut json) = (Vec::new(), Vec::new());
    for key in found {
        let uri = identified(vault, key.kid.as_deref())?;
        text.push(vec![
            uri.key.to_string(),
            shown_time(key.deleted_date),
            shown_time(key.scheduled_purge_date),
        ]);
        json.push(json!({
            "key": uri.to_string(),
            "name": uri.key.as_str(),
            "deleted": rfc3339(key.deleted_date),
            "purged": rfc3339(key.scheduled_purge_date),
        }));
    }
    let text = table(&["key", "deleted", "purged"], text);
    Ok(Report::new(text, Value::Array(json)))
}

/// A key of the service's as ours: `https://<host>/keys/<name>[/<version>]`.
fn identified(vault: &Vault, kid: Option<&str>) -> Result<KeyUri, Failure> {
    let path = kid.and_then(|kid| kid.split_once("://")?.1.split_once('/'));
    let mut parts = path.map(|(_, path)| path.split('/')).into_iter().flatten();
    let collection = parts.next();
    let name = parts.next().and_then(|name| name.parse::<KeyName>().ok());
    let version = parts.next().map(str::parse::<KeyVersion>).transpose();
    match (collection, name, version) {
        (Some("keys" | "deletedkeys"), Some(key), Ok(version)) => Ok(KeyUri {
            vault: vault.clone(),
            key,
            version,
        }),
        _ => Err(Failure::told(format!(
            "the answer of {vault} can't be used: it names a key '{}'",
            output::one_line(kid.unwrap_or_default())
        ))),
    }
}

impl Show {
    fn run(&self) -> Result<Report, Failure> {
        let _spinner = Spinner::start("asking for the key");
        let session = Session::start()?;
        let management = session.management(&self.uri.vault)?;
        let request = async {
            let version = self.uri.version.as_ref().map(ToString::to_string);
            let options = KeyClientGetKeyOptions {
                key_version: version,
                ..KeyClientGetKeyOptions::default()
            };
            let name = self.uri.key.as_str();
            let answer = management.keys.get_key(name, Some(options)).await?;
            answer.into_model()
        };
        let key = management.wait("load key", &self.uri.to_string(), request)?;
        shown(&self.uri.vault, &key)
    }
}

impl Create {
    fn run(&self) -> Result<Report, Failure> {
        let _spinner = Spinner::start("creating the key");
        unversioned(&self.uri)?;
        let service = self.uri.vault.service;
        let in_hsm = service == Service::ManagedHsm || self.properties.hsm;
        let unfit = match (self.kind, self.size, self.curve) {
            (Kind::Ec, None, None) => {
                Some("an EC key needs --curve: P-256, P-384, P-521 or P-256K")
            }
            (Kind::Ec, Some(_), _) => Some("an EC key has a --curve and no --size"),
            (Kind::Rsa | Kind::Oct, _, Some(_)) => Some("only an EC key has a --curve"),
            (Kind::Oct, ..) if service == Service::KeyVault => {
                Some("a key vault keeps no symmetric keys; an HSM does")
            }
            _ => None,
        };
        if let Some(problem) = unfit {
            return Err(Failure::told(problem));
        }
        let policy = self.release_policy.as_ref().map(|path| files::read(path));
        let policy = policy.transpose()?;
        let parameters = CreateKeyParameters {
            kty: Some(match (self.kind, in_hsm) {
                (Kind::Rsa, true) => KeyType::RsaHsm,
                (Kind::Rsa, false) => KeyType::Rsa,
                (Kind::Ec, true) => KeyType::EcHsm,
                (Kind::Ec, false) => KeyType::Ec,
                (Kind::Oct, _) => KeyType::OctHsm,
            }),
            key_size: match self.kind {
                Kind::Rsa => Some(self.size.unwrap_or(2048)),
                Kind::Oct => Some(self.size.unwrap_or(256)),
                Kind::Ec => None,
            },
            curve: self.curve.map(NamedCurve::name),
            key_ops: match self.operations.is_empty() {
                true => None,
                false => Some(self.operations.iter().map(|name| operation(name)).collect()),
            },
            key_attributes: self.properties.attributes(policy.is_some()),
            release_policy: policy.map(|policy| KeyReleasePolicy {
                encoded_policy: Some(policy.to_vec()),
                ..KeyReleasePolicy::default()
            }),
            tags: self.properties.tags(),
            ..CreateKeyParameters::default()
        };
        let session = Session::start()?;
        let management = session.management(&self.uri.vault)?;
        let request = async {
            let name = self.uri.key.as_str();
            let answer = management
                .keys
                .create_key(name, parameters.try_into()?, None);
            answer.await?.into_model()
        };
        let key = management.wait("create key", &self.uri.to_string(), request)?;
        shown(&self.uri.vault, &key)
    }
}

impl Import {
    fn run(&self) -> Result<Report, Failure> {
        let _spinner = Spinner::start("importing the key");
        unversioned(&self.uri)?;
        let file = files::read(&self.file)?;
        let in_hsm = self.uri.vault.service == Service::ManagedHsm || self.properties.hsm;
        let mut key = match self.aes {
            true => import::aes_key(&file),
            false => import::private_key(&file, in_hsm),
        }
        .map_err(|problem| Failure::told(format!("{}: {problem}", self.file.display())))?;
        if !self.operations.is_empty() {
            key.0.key_ops = Some(self.operations.clone());
        }
        let body = key.into_body(|key: JsonWebKey| ImportKeyParameters {
            hsm: Some(in_hsm),
            key: Some(key),
            key_attributes: self.properties.attributes(false),
            tags: self.properties.tags(),
            ..ImportKeyParameters::default()
        })?;
        let session = Session::start()?;
        let management = session.management(&self.uri.vault)?;
        let request = async {
            let content: RequestContent<ImportKeyParameters> = body.into();
            let name = self.uri.key.as_str();
            let answer = management.keys.import_key(name, content, None);
            answer.await?.into_model()
        };
        let key = management.wait("import key", &self.uri.to_string(), request)?;
        shown(&self.uri.vault, &key)
    }
}

impl Named {
    fn rotate(&self) -> Result<Report, Failure> {
        let _spinner = Spinner::start("rotating the key");
        unversioned(&self.uri)?;
        let session = Session::start()?;
        let management = session.management(&self.uri.vault)?;
        let request = async {
            let answer = management.keys.rotate_key(self.uri.key.as_str(), None);
            answer.await?.into_model()
        };
        let key = management.wait("rotate key", &self.uri.to_string(), request)?;
        shown(&self.uri.vault, &key)
    }

    fn recover(&self) -> Result<Report, Failure> {
        let _spinner = Spinner::start("recovering the key");
        unversioned(&self.uri)?;
        let session = Session::start()?;
        let management = session.management(&self.uri.vault)?;
        let request = async {
            let answer = management
                .keys
                .recover_deleted_key(self.uri.key.as_str(), None);
            answer.await?.into_model()
        };
        let key = management.wait("recover key", &self.uri.to_string(), request)?;
        shown(&self.uri.vault, &key)
    }
}

impl Delete {
    fn run(&self) -> Result<Report, Failure> {
        unversioned(&self.uri)?;
        if !self.yes {
            confirm(&self.uri)?;
        }
        let _spinner = Spinner::start("deleting the key");
        let session = Session::start()?;
        let management = session.management(&self.uri.vault)?;
        let request = async {
            let answer = management.keys.delete_key(self.uri.key.as_str(), None);
            answer.await?.into_model()
        };
        let key: DeletedKey = management.wait("delete key", &self.uri.to_string(), request)?;
        let json = json!({
            "key": self.uri.to_string(),
            "deleted": rfc3339(key.deleted_date),
            "purged": rfc3339(key.scheduled_purge_date),
        });
        let text = lines(&[
            ("Deleted", self.uri.to_string()),
            ("Purged", shown_time(key.scheduled_purge_date)),
            ("Until then", format!("akv keys recover {}", self.uri)),
        ]);
        Ok(Report::new(text, json))
    }
}

/// Asks the person at the terminal.
fn confirm(uri: &KeyUri) -> Result<(), Failure> {
    if !std::io::stdin().is_terminal() {
        return Err(Failure::told(format!(
            "{uri} is not deleted: there is no terminal to ask at; give --yes to delete it"
        )));
    }
    eprint!("Delete {uri} with all its versions? Whatever uses it stops working. Type its name: ");
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    match answer.trim() == uri.key.as_str() {
        true => Ok(()),
        false => Err(Failure::told(format!("{uri} is not deleted"))),
    }
}

/// Operations on a key as a whole take no version.
fn unversioned(uri: &KeyUri) -> Result<(), Failure> {
    match &uri.version {
        None => Ok(()),
        Some(_) => Err(Failure::told(format!(
            "{uri} names a version: give the key alone"
        ))),
    }
}

impl Properties {
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

impl NamedCurve {
    fn name(self) -> CurveName {
        match self {
            Self::P256 => CurveName::P256,
            Self::P384 => CurveName::P384,
            Self::P521 => CurveName::P521,
            Self::P256K => CurveName::P256K,
        }
    }
}

/// An operation by its name; one that the service does not know it refuses.
fn operation(name: &str) -> KeyOperation {
    let Ok(operation) = name.parse();
    operation
}

/// What the service tells of a key.
fn shown(vault: &Vault, key: &AzureKey) -> Result<Report, Failure> {
    let jwk = key.key.clone().unwrap_or_default();
    let uri = identified(vault, jwk.kid.as_deref())?;
    let kid = output::one_line(jwk.kid.as_deref().unwrap_or_default());
    let version = uri.version.as_ref().map(ToString::to_string);
    let operations: Vec<String> = jwk.key_ops.iter().flatten().cloned().collect();
    let attributes = key.attributes.clone().unwrap_or_default();
    let (name, size) = key_type(&jwk);
    let mut json = json!({
        "key": uri.to_string(),
        "name": uri.key.as_str(),
        "type": name,
        "operations": operations,
        "version": version,
        "kid": kid,
        "tags": key.tags.clone().unwrap_or_default(),
    });
    let described = match &size {
        Some(Size::Bits(bits)) => {
            json["bits"] = (*bits).into();
            format!("{name}, {bits} bits")
        }
        Some(Size::Curve(curve)) => {
            json["curve"] = curve.as_str().into();
            format!("{name}, {curve}")
        }
        None => name,
    };
    add_attributes(&mut json, Some(&attributes));
    let all = [
        ("Key", uri.to_string()),
        ("Type", described),
        ("Operations", operations.join(", ")),
        ("Enabled", yes_or_no(attributes.enabled.unwrap_or(true))),
        ("Version", version.unwrap_or_default()),
        ("Created", shown_time(attributes.created)),
        ("Not before", shown_time(attributes.not_before)),
        ("Expires", shown_time(attributes.expires)),
        ("Tags", shown_tags(key.tags.as_ref())),
        ("Key id", kid),
    ];
    let told: Vec<_> = all
        .into_iter()
        .filter(|(_, value)| !value.is_empty())
        .collect();
    Ok(Report::new(lines(&told), json))
}

/// How large a key is.
enum Size {
    Bits(usize),
    Curve(String),
}

/// A key's type, without what says that it is in an HSM, and its size.
fn key_type(jwk: &JsonWebKey) -> (String, Option<Size>) {
    let name = jwk
        .kty
        .as_ref()
        .map(ToString::to_string)
        .unwrap_or_default();
    let name = name.trim_end_matches("-HSM").to_owned();
    let modulus = jwk.n.as_deref().map(bits).map(Size::Bits);
    let curve = jwk.crv.as_ref().map(|curve| Size::Curve(curve.to_string()));
    (output::one_line(&name), modulus.or(curve))
}

/// Length of a number without leading zeros.
fn bits(number: &[u8]) -> usize {
    let zeros = number.iter().take_while(|&&byte| byte == 0).count();
    let first = number.get(zeros).map_or(0, |first| first.leading_zeros());
    (number.len() - zeros) * 8 - first as usize
}

fn add_attributes(json: &mut Value, attributes: Option<&KeyAttributes>) {
    let attributes = attributes.cloned().unwrap_or_default();
    json["enabled"] = attributes.enabled.unwrap_or(true).into();
    json["exportable"] = attributes.exportable.unwrap_or(false).into();
    for (name, at) in [
        ("created", attributes.created),
        ("updated", attributes.updated),
        ("not_before", attributes.not_before),
        ("expires", attributes.expires),
    ] {
        json[name] = rfc3339(at).into();
    }
}

fn rfc3339(at: Option<OffsetDateTime>) -> Option<String> {
    at.map(|at| output::time(output::from_unix(at.unix_timestamp())))
}

fn shown_time(at: Option<OffsetDateTime>) -> String {
    rfc3339(at).unwrap_or_default()
}

fn yes_or_no(value: bool) -> String {
    if value { "yes" } else { "no" }.to_owned()
}

fn shown_tags(tags: Option<&HashMap<String, String>>) -> String {
    let mut pairs: Vec<String> = tags
        .into_iter()
        .flatten()
        .map(|(name, value)| output::one_line(&format!("{name}={value}")))
        .collect();
    pairs.sort();
    pairs.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const VERSION: &str = "0123456789abcdef0123456789abcdef";

    fn key(jwk: &str) -> AzureKey {
        let kid = format!("https://myhsm.managedhsm.azure.net/keys/k/{VERSION}");
        serde_json::from_str(&format!(
            r#"{{"attributes":{{"enabled":true,"created":1700000000}},
                "key":{{"kid":"{kid}","key_ops":["sign","deriveKey"],{jwk}}}}}"#
        ))
        .unwrap()
    }

    #[test]
    fn a_key_is_shown_with_its_type_and_size() {
        let vault = "MyHSM".parse().unwrap();
        for (jwk, expected, name) in [
            (
                r#""kty":"RSA-HSM","n":"AH8B","e":"AQAB""#,
                "RSA, 15 bits",
                "RSA",
            ),
            (r#""kty":"EC-HSM","crv":"P-521""#, "EC, P-521", "EC"),
            (r#""kty":"oct-HSM""#, "oct", "oct"),
        ] {
            let report = shown(&vault, &key(jwk)).unwrap();
            let (text, json) = (&report.text, &report.json);
            assert!(
                text.contains(&format!("Type        {expected}\n")),
                "{text}"
            );
            assert!(text.contains("Operations  sign, deriveKey\n"), "{text}");
            assert!(
                text.contains("Created     2023-11-14T22:13:20Z\n"),
                "{text}"
            );
            assert_eq!(json["type"], name);
            assert_eq!(json["version"], VERSION);
            assert_eq!(json["operations"], json!(["sign", "deriveKey"]));
        }
    }

    #[test]
    fn only_a_name_that_keeps_to_the_rules_is_taken_from_an_answer() {
        let vault: Vault = "keyvault:vault".parse().unwrap();
        let uri = identified(&vault, Some("https://h/keys/k")).unwrap();
        assert_eq!(uri.to_string(), "keyvault:vault:k");
        for kid in [
            None,
            Some("k"),
            Some("https://h/secrets/k"),
            Some("https://h/keys/a_b"),
        ] {
            assert!(identified(&vault, kid).is_err(), "{kid:?}");
        }
    }

    #[test]
    fn times_are_dates_or_distances() {
        let at = |text| point_in_time(text).map(output::time);
        assert_eq!(at("2026-12-31").unwrap(), "2026-12-31T00:00:00Z");
        assert_eq!(at("2026-12-31T23:59:59Z").unwrap(), "2026-12-31T23:59:59Z");
        assert!(point_in_time("90d").unwrap() > SystemTime::now());
        assert!(point_in_time("soon").is_err());
        assert!(point_in_time("2026-13-31").is_err());
    }
}
