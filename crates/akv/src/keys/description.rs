//! How keys are described: by what the service tells of them.

use std::collections::HashMap;

use azure_core::http::Response;
use azure_core::time::OffsetDateTime;
use azure_security_keyvault_keys::models::{JsonWebKey, Key, KeyAttributes};
use managed_hsm::{KeyName, KeyUri, KeyVersion, Vault};
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::output::{self, Report, lines};

/// A key of the service's as ours: `https://<host>/keys/<name>[/<version>]`.
pub(super) fn identified(vault: &Vault, kid: Option<&str>) -> Result<KeyUri, Failure> {
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
        _ => Err(unusable(vault, kid)),
    }
}

/// The same, of an answer that has to be about this key, and this version if it names one.
pub(super) fn asked_for(uri: &KeyUri, kid: Option<&str>) -> Result<KeyUri, Failure> {
    let told = identified(&uri.vault, kid)?;
    let is_same = |one: &str, other: &str| one.eq_ignore_ascii_case(other);
    let has_version = |asked: &KeyVersion| {
        let version = told.version.as_ref();
        version.is_some_and(|version| is_same(version.as_str(), asked.as_str()))
    };
    match is_same(told.key.as_str(), uri.key.as_str())
        && uri.version.as_ref().is_none_or(has_version)
    {
        true => Ok(told),
        false => Err(unusable(&uri.vault, kid)),
    }
}

fn unusable(vault: &Vault, kid: Option<&str>) -> Failure {
    Failure::Answer(format!(
        "the answer of {vault} can't be used: it names a key '{}'",
        output::one_line(kid.unwrap_or_default())
    ))
}

/// A key that the service told of.
pub(super) struct Told {
    key: Key,
    // Microsoft's types have no members for these yet.
    /// That of a key of ML-DSA.
    algorithm: Option<String>,
    /// That of a symmetric key, in bits.
    size: Option<usize>,
    /// The id of a key that an external key manager has.
    external: Option<String>,
}

impl Told {
    pub(super) fn read(answer: Response<Key>) -> azure_core::Result<Self> {
        let body = answer.into_body();
        Ok(Self::parse(&body)?)
    }

    fn kid(&self) -> Option<&str> {
        self.key.key.as_ref()?.kid.as_deref()
    }

    fn parse(body: &[u8]) -> serde_json::Result<Self> {
        let json: Value = serde_json::from_slice(body)?;
        let attributes = &json["attributes"];
        let size = attributes["key_size"].as_u64();
        let external = attributes["external_key"]["id"].as_str();
        Ok(Self {
            key: serde_json::from_slice(body)?,
            algorithm: json["key"]["alg"].as_str().map(output::one_line),
            size: size.and_then(|bits| usize::try_from(bits).ok()),
            external: external.map(output::one_line),
        })
    }
}

/// What the service tells of a key that was asked for.
pub(super) fn shown(asked: &KeyUri, told: &Told) -> Result<Report, Failure> {
    asked_for(asked, told.kid())?;
    shown_as_named(&asked.vault, told)
}

/// What the service tells of a key that has the name which the service knows.
pub(super) fn shown_as_named(vault: &Vault, told: &Told) -> Result<Report, Failure> {
    let key = &told.key;
    let jwk = key.key.clone().unwrap_or_default();
    let uri = identified(vault, told.kid())?;
    let kid = output::one_line(jwk.kid.as_deref().unwrap_or_default());
    let version = uri.version.as_ref().map(ToString::to_string);
    let operations: Vec<String> = jwk.key_ops.iter().flatten().cloned().collect();
    let attributes = key.attributes.clone().unwrap_or_default();
    let (name, size) = key_type(&jwk);
    let size = size.or_else(|| told.size.map(Size::Bits));
    let mut json = json!({
        "key": uri.to_string(),
        "name": uri.key.as_str(),
        "type": name,
        "operations": operations,
        "version": version,
        "kid": kid,
        "tags": key.tags.clone().unwrap_or_default(),
    });
    if let Some(algorithm) = &told.algorithm {
        json["algorithm"] = algorithm.as_str().into();
    }
    let described = match (&size, &told.algorithm) {
        (Some(Size::Bits(bits)), _) => {
            json["bits"] = (*bits).into();
            format!("{name}, {bits} bits")
        }
        (Some(Size::Curve(curve)), _) => {
            json["curve"] = curve.as_str().into();
            format!("{name}, {curve}")
        }
        (None, Some(algorithm)) => format!("{name}, {algorithm}"),
        (None, None) => name,
    };
    if let Some(id) = &told.external {
        json["external_key"] = id.as_str().into();
    }
    add_attributes(&mut json, Some(&attributes));
    let all = [
        ("Key", uri.to_string()),
        ("Type", described),
        ("External key", told.external.clone().unwrap_or_default()),
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
    let number = managed_hsm::number::minimal(number);
    let first = number.first().map_or(0, |first| first.leading_zeros());
    number.len() * 8 - first as usize
}

pub(super) fn add_attributes(json: &mut Value, attributes: Option<&KeyAttributes>) {
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

pub(super) fn rfc3339(at: Option<OffsetDateTime>) -> Option<String> {
    at.map(|at| output::time(output::from_unix(at.unix_timestamp())))
}

pub(super) fn shown_time(at: Option<OffsetDateTime>) -> String {
    rfc3339(at).unwrap_or_default()
}

pub(super) fn yes_or_no(value: bool) -> String {
    if value { "yes" } else { "no" }.to_owned()
}

pub(super) fn shown_tags(tags: Option<&HashMap<String, String>>) -> String {
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

    fn key(jwk: &str) -> Told {
        let kid = format!("https://myhsm.managedhsm.azure.net/keys/k/{VERSION}");
        let body = format!(
            r#"{{"attributes":{{"enabled":true,"created":1700000000}},
                "key":{{"kid":"{kid}","key_ops":["sign","deriveKey"],{jwk}}}}}"#
        );
        Told::parse(body.as_bytes()).unwrap()
    }

    #[test]
    fn a_key_is_shown_with_its_type_and_size() {
        let uri = "managedhsm:MyHSM:k".parse().unwrap();
        for (jwk, expected, name) in [
            (
                r#""kty":"RSA-HSM","n":"AH8B","e":"AQAB""#,
                "RSA, 15 bits",
                "RSA",
            ),
            (r#""kty":"EC-HSM","crv":"P-521""#, "EC, P-521", "EC"),
            (r#""kty":"oct-HSM""#, "oct", "oct"),
            (
                r#""kty":"AKP-HSM","alg":"ML-DSA-65","pub":"AA""#,
                "AKP, ML-DSA-65",
                "AKP",
            ),
        ] {
            let report = shown(&uri, &key(jwk)).unwrap();
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
    fn an_answer_about_another_key_or_version_is_refused() {
        let of = |uri: &str| shown(&uri.parse().unwrap(), &key(r#""kty":"oct-HSM""#));
        for uri in [
            "managedhsm:MyHSM:k",
            "managedhsm:MyHSM:K",
            &format!("managedhsm:MyHSM:k?version={VERSION}"),
        ] {
            assert!(of(uri).is_ok(), "{uri}");
        }
        let other = VERSION.replace('f', "e");
        for uri in [
            "managedhsm:MyHSM:other",
            &format!("managedhsm:MyHSM:k?version={other}"),
        ] {
            let refused = of(uri).map(|_| ()).unwrap_err().to_string();
            assert!(refused.contains("names a key 'https://"), "{refused}");
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
}
