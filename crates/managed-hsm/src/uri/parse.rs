//! The forms that a key's name has, read into its parts.

use percent_encoding::percent_decode_str;

use super::error::printable;
use super::names::{KeyName, KeyVersion, VaultName};
use crate::cloud::{Cloud, Service};

const FORMS: &str = "expected managedhsm:<HSM>:<key>, managedhsm:<HSM>:<key>?version=<version>, \
                     akv:vault=<HSM>,name=<key>,version=<version>, keyvault:<vault>:<key> \
                     or a key identifier, https://<HSM>.managedhsm.azure.net/keys/<key>/<version>";

/// What a URI names: a vault, and maybe a key in it.
pub(super) struct Named {
    pub(super) service: Service,
    /// The cloud, of a key identifier, whose host belongs to one.
    pub(super) cloud: Option<Cloud>,
    pub(super) vault: VaultName,
    pub(super) key: Option<KeyName>,
    pub(super) version: Option<KeyVersion>,
}

/// What a URI lacks that names no key.
pub(super) fn without_key() -> String {
    format!("the key name is missing; {FORMS}")
}

/// Reads a URI of any form.
pub(super) fn parse(uri: &str) -> Result<Named, String> {
    let Some((scheme, rest)) = uri.split_once(':') else {
        return Err(format!("it has no scheme; {FORMS}"));
    };
    if rest.contains('#') {
        return Err(format!("a fragment ('#') does not belong in it; {FORMS}"));
    }
    if scheme.eq_ignore_ascii_case("https") {
        return parse_identifier(rest);
    }
    if rest.starts_with("//") {
        return Err(format!("'//' does not belong after the scheme; {FORMS}"));
    }
    if let Some(service) = service(scheme) {
        return parse_of_service(service, rest);
    }
    if scheme.eq_ignore_ascii_case("akv") {
        return parse_attributes(None, rest);
    }
    let scheme = printable(scheme);
    Err(format!("the scheme '{scheme}' is unknown; {FORMS}"))
}

/// The service that a scheme names.
pub(super) fn service(scheme: &str) -> Option<Service> {
    let mut all = Service::ALL.into_iter();
    all.find(|service| scheme.eq_ignore_ascii_case(service.scheme()))
}

/// What follows `managedhsm:` or `keyvault:`: a path, attributes, or a key identifier.
fn parse_of_service(service: Service, rest: &str) -> Result<Named, String> {
    match rest.split_once(':') {
        Some((scheme, identifier)) if scheme.eq_ignore_ascii_case("https") => {
            let named = parse_identifier(identifier)?;
            match named.service == service {
                true => Ok(named),
                false => Err(format!(
                    "its host is one of '{}:', not of '{service}:'",
                    named.service
                )),
            }
        }
        _ if rest
            .split([':', '?', '/'])
            .next()
            .is_some_and(|first| first.contains('=')) =>
        {
            parse_attributes(Some(service), rest)
        }
        _ => parse_path(service, rest),
    }
}

/// `//<vault>.<domain>/keys/<key>[/<version>]`, as Azure shows it, after `https:`. Without a key it
/// is the address of the vault.
fn parse_identifier(rest: &str) -> Result<Named, String> {
    let address = rest.strip_prefix("//").unwrap_or(rest);
    if address.contains('?') {
        return Err(format!("a query ('?') does not belong in it; {FORMS}"));
    }
    let (host, path) = address.split_once('/').unwrap_or((address, ""));
    let host = host
        .strip_suffix(":443")
        .unwrap_or(host)
        .to_ascii_lowercase();
    let Some((cloud, service, vault)) = Cloud::with_vault(&host) else {
        return Err(format!(
            "the host '{}' belongs to no Managed HSM or key vault; where the setting of an \
             endpoint leads to it, write managedhsm:<HSM>:<key>",
            printable(&host)
        ));
    };
    // With the case that it has there: names are shown as people write them.
    let vault = &address[..vault.len()];
    let named = |key: Option<&str>, version: Option<&str>| {
        let mut named = build(service, vault, key, version)?;
        named.cloud = Some(cloud);
        Ok(named)
    };
    match path.trim_end_matches('/').split('/').collect::<Vec<_>>()[..] {
        [""] => named(None, None),
        ["keys"] => Err(without_key()),
        ["keys", key] => named(Some(key), None),
        ["keys", key, version] => named(Some(key), Some(version)),
        _ => Err(format!(
            "the path '/{}' is not that of a key; {FORMS}",
            printable(path)
        )),
    }
}

/// `<vault>[:<key>[/<version>][?version=<version>]]`
fn parse_path(service: Service, rest: &str) -> Result<Named, String> {
    let (path, query) = match rest.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (rest, None),
    };
    let (vault, key) = match path.split(':').collect::<Vec<_>>()[..] {
        [vault] => (vault, None),
        [vault, key] => (vault, Some(key)),
        _ => return Err(format!("it has too many parts separated by ':'; {FORMS}")),
    };
    let (key, after_key) = match key.and_then(|key| key.split_once('/')) {
        Some((key, version)) => (Some(key), Some(decode("version", version)?)),
        None => (key, None),
    };
    let version = match (after_key, query) {
        (Some(_), Some(_)) => return Err("the version is given twice".to_owned()),
        (Some(version), None) => Some(version),
        (None, query) => query.map(parse_query).transpose()?,
    };
    let vault = decode("vault name", vault)?;
    let key = key.map(|key| decode("key name", key)).transpose()?;
    build(service, &vault, key.as_deref(), version.as_deref())
}

/// `version=<version>`, the only parameter there is.
fn parse_query(query: &str) -> Result<String, String> {
    let mut version = None;
    for parameter in query.split('&') {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        if !name.eq_ignore_ascii_case("version") {
            return Err(format!(
                "the parameter '{}' is unknown; only 'version' may follow '?'",
                printable(name)
            ));
        }
        if version.replace(decode("version", value)?).is_some() {
            return Err("the parameter 'version' is given twice".to_owned());
        }
    }
    version.ok_or_else(|| "the parameter 'version' is missing after '?'".to_owned())
}

/// `vault=<vault>[,name=<key>][,version=<version>]`, in any order. After `akv:` also
/// `type=managedhsm` or `type=keyvault`; without it an HSM is meant.
fn parse_attributes(scheme: Option<Service>, rest: &str) -> Result<Named, String> {
    let (mut kind, mut vault, mut key, mut version) = (None, None, None, None);
    for attribute in rest.split(',') {
        let Some((name, value)) = attribute.split_once('=') else {
            return Err(format!(
                "'{}' is not of the form attribute=value; {FORMS}",
                printable(attribute)
            ));
        };
        let field = match name.to_ascii_lowercase().as_str() {
            "type" if scheme.is_none() => &mut kind,
            "vault" => &mut vault,
            "name" => &mut key,
            "version" => &mut version,
            _ => {
                let name = printable(name);
                return Err(format!("the attribute '{name}' is unknown; {FORMS}"));
            }
        };
        if field.replace(decode(name, value)?).is_some() {
            return Err(format!("the attribute '{name}' is given twice"));
        }
    }
    let kind = kind.map(|kind| {
        let unknown = || {
            let kind = printable(&kind);
            format!("the type '{kind}' is unknown: it is managedhsm or keyvault")
        };
        service(&kind).ok_or_else(unknown)
    });
    let service = scheme.or(kind.transpose()?).unwrap_or(Service::ManagedHsm);
    let vault = vault.ok_or_else(|| format!("the vault name is missing; {FORMS}"))?;
    build(service, &vault, key.as_deref(), version.as_deref())
}

fn build(
    service: Service,
    vault: &str,
    key: Option<&str>,
    version: Option<&str>,
) -> Result<Named, String> {
    // An empty variable leaves such a name.
    if key == Some("") {
        return Err(without_key());
    }
    Ok(Named {
        service,
        cloud: None,
        vault: VaultName::checked(vault)?,
        key: key.map(KeyName::checked).transpose()?,
        version: version.map(KeyVersion::checked).transpose()?,
    })
}

fn decode(part: &str, value: &str) -> Result<String, String> {
    let bytes = value.as_bytes();
    let broken = |at: &usize| {
        let digits = bytes.get(at + 1..at + 3);
        bytes[*at] == b'%' && !digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    };
    if (0..bytes.len()).any(|at| broken(&at)) {
        return Err(format!(
            "the {part} '{}' has a '%' without two hexadecimal digits",
            printable(value)
        ));
    }
    percent_decode_str(value)
        .decode_utf8()
        .map(|text| text.into_owned())
        .map_err(|_| format!("the {part} '{}' does not decode to UTF-8", printable(value)))
}
