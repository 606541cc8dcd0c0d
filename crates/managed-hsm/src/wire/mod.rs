//! The bodies of requests and answers.

pub(crate) mod roles;
pub(crate) mod service_settings;

use std::borrow::Cow;
use std::collections::BTreeMap;

use base64::Engine;
use base64::alphabet::URL_SAFE;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::Deserialize;
use url::Url;
use zeroize::Zeroizing;

use crate::api_version::{ApiVersion, Feature};
use crate::foreign::{ForeignText, shown};
use crate::key::{Curve, Key, KeyId, KeyItem, KeyOperation, Life, NewKey, NewKeyKind, Update};
use crate::ml_dsa::ParameterSet;
use crate::properties::Properties;
use crate::public_key::PublicKey;
use crate::uri::{KeyName, KeyUri, KeyVersion, Vault};

/// base64url; never padded when written, either way when read.
pub(crate) const BASE64: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new()
        .with_encode_padding(false)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The items of a page of a listing, and the address of the page after it.
pub(crate) type Page<T> = (Vec<T>, Option<String>);

#[derive(Deserialize)]
struct KeyBundle {
    key: JsonWebKey,
    attributes: Option<Attributes>,
    tags: Option<BTreeMap<String, String>>,
    #[serde(default)]
    managed: bool,
}

#[derive(Deserialize)]
struct JsonWebKey {
    kid: ForeignText,
    kty: ForeignText,
    #[serde(default)]
    key_ops: Vec<ForeignText>,
    crv: Option<ForeignText>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
    alg: Option<ForeignText>,
    #[serde(rename = "pub")]
    public: Option<String>,
}

#[derive(Default, Deserialize)]
struct Attributes {
    enabled: Option<bool>,
    nbf: Option<i64>,
    exp: Option<i64>,
    created: Option<i64>,
    updated: Option<i64>,
    exportable: Option<bool>,
    key_size: Option<u32>,
    external_key: Option<ExternalKey>,
}

#[derive(Deserialize)]
struct ExternalKey {
    id: ForeignText,
}

impl Attributes {
    fn properties(&self, tags: Option<BTreeMap<String, String>>, managed: bool) -> Properties {
        Properties {
            tags: tags.unwrap_or_default(),
            not_before: self.nbf,
            expires: self.exp,
            created: self.created,
            updated: self.updated,
            exportable: self.exportable.unwrap_or(false),
            managed,
            key_size: self.key_size,
            external_key: self.external_key.as_ref().map(|key| key.id.clone()),
        }
    }
}

#[derive(Deserialize)]
struct OperationAnswer<'a> {
    kid: Option<ForeignText>,
    // Borrowed, so that plaintext has no further copy.
    #[serde(borrow)]
    value: Cow<'a, str>,
    #[serde(borrow)]
    iv: Option<Cow<'a, str>>,
    #[serde(borrow)]
    tag: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct Listing<T> {
    #[serde(default = "Vec::new")]
    value: Vec<T>,
    #[serde(rename = "nextLink")]
    next_link: Option<String>,
}

#[derive(Deserialize)]
struct ListedKey {
    kid: ForeignText,
    attributes: Option<Attributes>,
    tags: Option<BTreeMap<String, String>>,
    #[serde(default)]
    managed: bool,
}

#[derive(Deserialize)]
struct ErrorAnswer {
    error: ErrorBody,
}

#[derive(Deserialize)]
struct ErrorBody {
    code: ForeignText,
    message: ForeignText,
}

/// The service's error code and message, if the body holds them.
pub(crate) fn service_error(body: &[u8]) -> Option<(ForeignText, ForeignText)> {
    let answer: ErrorAnswer = serde_json::from_slice(body).ok()?;
    Some((answer.error.code, answer.error.message))
}

/// Body of a request with an algorithm, a value and, where they are given, further binary members.
pub(crate) fn operation_request(
    algorithm: &str,
    value: &[u8],
    further: &[(&str, Option<&[u8]>)],
) -> Zeroizing<Vec<u8>> {
    let further = further
        .iter()
        .filter_map(|(name, value)| Some((*name, (*value)?)));
    let members: Vec<_> = further.chain([("value", value)]).collect();
    body_of(&format!(r#""alg":"{algorithm}","#), &members)
}

/// Body of a request for a signature of ML-DSA over μ, which has no other members.
pub(crate) fn external_mu_request(mu: &[u8]) -> Zeroizing<Vec<u8>> {
    body_of("", &[("external_mu", mu)])
}

/// Body of a request for a secure wrap, which has only an algorithm.
pub(crate) fn algorithm_request(algorithm: &str) -> Zeroizing<Vec<u8>> {
    Zeroizing::new(format!(r#"{{"alg":"{algorithm}"}}"#).into_bytes())
}

/// Body of a request to unwrap a key for the environment that `target` attests.
pub(crate) fn secure_unwrap_request(
    algorithm: &str,
    wrapped: &[u8],
    target: &str,
) -> Zeroizing<Vec<u8>> {
    let target = serde_json::Value::from(target);
    let beginning = format!(r#""alg":"{algorithm}","target":{target},"#);
    body_of(&beginning, &[("value", wrapped)])
}

/// An object with binary members, the first of them behind what `beginning` says.
fn body_of(beginning: &str, members: &[(&str, &[u8])]) -> Zeroizing<Vec<u8>> {
    let binary: usize = members.iter().map(|(_, value)| value.len()).sum();
    // Room for all of it: a buffer that grows leaves copies behind.
    let mut body = String::with_capacity(binary / 3 * 4 + beginning.len() + 160);
    body.push('{');
    body.push_str(beginning);
    for (index, (name, value)) in members.iter().enumerate() {
        body.push_str(if index == 0 { "\"" } else { "\",\"" });
        body.push_str(name);
        body.push_str(r#"":""#);
        BASE64.encode_string(value, &mut body);
    }
    body.push_str("\"}");
    Zeroizing::new(body.into_bytes())
}

/// A version of a key.
pub(crate) type Asked = (KeyName, KeyVersion);

/// The result of an operation with a version of a key: what to keep of the answer. That of another
/// key, or of another version, is an error.
pub(crate) fn result(body: &[u8], (key, version): &Asked) -> Result<OperationResult, String> {
    let answer: OperationAnswer<'_> = parse(body)?;
    if let Some(kid) = answer.kid.as_ref().map(ForeignText::raw) {
        let mut parts = kid.rsplit('/');
        let (by_version, by_key) = (parts.next().unwrap_or_default(), parts.next());
        if !by_version.eq_ignore_ascii_case(version.as_str()) {
            return Err(match by_version {
                "" => "its kid names no version of the key".to_owned(),
                _ => format!("it is by version '{}' of the key", shown(by_version)),
            });
        }
        if let Some(by_key) = by_key.filter(|by| !by.eq_ignore_ascii_case(key.as_str())) {
            return Err(format!("it is by the key '{}'", shown(by_key)));
        }
    }
    let further = |name, value: &Option<Cow<'_, str>>| {
        value.as_deref().map(|value| bytes(name, value)).transpose()
    };
    Ok(OperationResult {
        value: Zeroizing::new(bytes("value", &answer.value)?),
        iv: further("iv", &answer.iv)?,
        tag: further("tag", &answer.tag)?,
    })
}

/// A result of an operation, which has to have a value.
pub(crate) fn value(body: &[u8], asked: &Asked) -> Result<Zeroizing<Vec<u8>>, String> {
    match result(body, asked)?.value {
        value if value.is_empty() => Err("its value is empty".to_owned()),
        value => Ok(value),
    }
}

/// What an operation gave.
pub(crate) struct OperationResult {
    pub(crate) value: Zeroizing<Vec<u8>>,
    pub(crate) iv: Option<Vec<u8>>,
    pub(crate) tag: Option<Vec<u8>>,
}

/// Body of a request for random bytes.
pub(crate) fn random_request(count: usize) -> Zeroizing<Vec<u8>> {
    Zeroizing::new(format!(r#"{{"count":{count}}}"#).into_bytes())
}

/// The random bytes in an answer.
pub(crate) fn random_bytes(body: &[u8], count: usize) -> Result<Zeroizing<Vec<u8>>, String> {
    let answer: OperationAnswer<'_> = parse(body)?;
    let value = Zeroizing::new(bytes("value", &answer.value)?);
    if value.len() != count {
        return Err(format!(
            "it has {} random bytes instead of {count}",
            value.len()
        ));
    }
    Ok(value)
}

/// Body of a request for a new key.
pub(crate) fn create_request(key: &NewKey) -> Zeroizing<Vec<u8>> {
    let mut body = serde_json::Map::new();
    let mut attributes = times(key.life);
    let kind = match &key.kind {
        NewKeyKind::Rsa {
            bits,
            public_exponent,
        } => {
            body.insert("key_size".to_owned(), (*bits).into());
            if let Some(exponent) = public_exponent {
                body.insert("public_exponent".to_owned(), (*exponent).into());
            }
            Some("RSA-HSM")
        }
        NewKeyKind::Ec(curve) => {
            body.insert("crv".to_owned(), curve.jwk_name().into());
            Some("EC-HSM")
        }
        NewKeyKind::MlDsa(set) => {
            body.insert("alg".to_owned(), set.name().into());
            Some("AKP-HSM")
        }
        NewKeyKind::Oct { bits } => {
            body.insert("key_size".to_owned(), (*bits).into());
            Some("oct-HSM")
        }
        NewKeyKind::External(id) => {
            let external = serde_json::json!({ "id": id.as_str() });
            attributes.insert("external_key".to_owned(), external);
            None
        }
    };
    if let Some(kind) = kind {
        body.insert("kty".to_owned(), kind.into());
    }
    if !key.operations.is_empty() {
        let names: Vec<String> = key.operations.iter().map(ToString::to_string).collect();
        body.insert("key_ops".to_owned(), names.into());
    }
    if key.exportable {
        attributes.insert("exportable".to_owned(), true.into());
    }
    if !attributes.is_empty() {
        body.insert("attributes".to_owned(), attributes.into());
    }
    if let Some(policy) = &key.release_policy {
        let data = BASE64.encode(policy);
        body.insert(
            "release_policy".to_owned(),
            serde_json::json!({ "data": data }),
        );
    }
    if !key.tags.is_empty() {
        let tags = key.tags.iter().cloned();
        let tags = tags.map(|(name, value)| (name, value.into()));
        body.insert("tags".to_owned(), serde_json::Value::Object(tags.collect()));
    }
    Zeroizing::new(serde_json::Value::Object(body).to_string().into_bytes())
}

/// The attributes that say from when and until when a key may be used, as far as that is told.
pub(crate) fn times(life: Life) -> serde_json::Map<String, serde_json::Value> {
    let times = [("nbf", life.not_before), ("exp", life.expires)];
    times
        .into_iter()
        .filter_map(|(name, time)| Some((name.to_owned(), time?.into())))
        .collect()
}

/// Body of a request to change a key.
pub(crate) fn update_request(update: &Update) -> Zeroizing<Vec<u8>> {
    let mut body = serde_json::Map::new();
    if let Some(operations) = &update.operations {
        let names: Vec<String> = operations.iter().map(ToString::to_string).collect();
        body.insert("key_ops".to_owned(), names.into());
    }
    let times = times(Life {
        not_before: update.not_before,
        expires: update.expires,
    });
    if !times.is_empty() {
        body.insert("attributes".to_owned(), times.into());
    }
    if let Some(tags) = &update.tags {
        body.insert("tags".to_owned(), serde_json::json!(tags));
    }
    Zeroizing::new(serde_json::Value::Object(body).to_string().into_bytes())
}

/// A page of a listing: its keys, and where the next page is.
pub(crate) fn key_page(body: &[u8], vault: &Vault) -> Result<Page<KeyItem>, String> {
    page(body, |item: ListedKey| {
        let mut path = item
            .kid
            .raw()
            .split("/keys/")
            .nth(1)
            .unwrap_or_default()
            .split('/');
        let unusable = |_| format!("its kid '{}' names no key", item.kid);
        let key = path.next().unwrap_or_default().parse().map_err(unusable)?;
        let version = path.next().map(str::parse).transpose().map_err(unusable)?;
        let attributes = item.attributes.unwrap_or_default();
        Ok(KeyItem {
            uri: KeyUri {
                vault: vault.clone(),
                key,
                version,
            },
            enabled: attributes.enabled.unwrap_or(true),
            properties: attributes.properties(item.tags, item.managed),
        })
    })
}

/// A page of a listing: what `read` makes of its items, and where the next page is.
fn page<'a, T: Deserialize<'a>, U>(
    body: &'a [u8],
    read: impl Fn(T) -> Result<U, String>,
) -> Result<Page<U>, String> {
    let page: Listing<T> = parse(body)?;
    let items = page.value.into_iter().map(read);
    let next = page.next_link.filter(|link| !link.is_empty());
    Ok((items.collect::<Result<_, String>>()?, next))
}

/// A key that the service told of.
pub(crate) enum Told {
    /// The key.
    Known(Box<Key>),
    /// It is of a kind that the version of the API in use can do nothing with.
    Lacks(Feature),
}

/// The key in an answer to a request for `uri` at `url`, which named `version` of the API.
pub(crate) fn key(
    body: &[u8],
    uri: &KeyUri,
    url: &Url,
    version: &ApiVersion,
) -> Result<Told, String> {
    let bundle: KeyBundle = parse(body)?;
    let jwk = bundle.key;
    let id = pinned(&jwk.kid, uri, url)?;
    if matches!(jwk.kty.raw(), "AKP-HSM" | "AKP") && version.with(Feature::MlDsa).is_none() {
        return Ok(Told::Lacks(Feature::MlDsa));
    }
    let attributes = bundle.attributes.unwrap_or_default();
    // Programs may show it: what is known already tells nothing.
    let kid = match jwk.kid.has_secret() {
        true => ForeignText::new(id.address()),
        false => jwk.kid.clone(),
    };
    Ok(Told::Known(Box::new(Key {
        id,
        kid,
        public: public_key(&jwk)?,
        operations: jwk.key_ops.into_iter().map(KeyOperation::from).collect(),
        enabled: attributes.enabled.unwrap_or(true),
        properties: attributes.properties(bundle.tags, bundle.managed),
    })))
}

/// The key that was asked for, with the name and the version that the answer has.
fn pinned(kid: &ForeignText, uri: &KeyUri, url: &Url) -> Result<KeyId, String> {
    // It is handed on as it is: programs may show it.
    if !kid.raw().bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(format!("its kid '{kid}' is not a URL"));
    }
    let mut segments = kid.raw().rsplit('/');
    let (version, name) = (
        segments.next().unwrap_or_default(),
        segments.next().unwrap_or_default(),
    );
    let version: KeyVersion = version
        .parse()
        .map_err(|_| format!("its kid '{kid}' has no version"))?;
    let name: KeyName = name
        .parse()
        .map_err(|_| format!("its kid '{kid}' has no key name"))?;
    if name != uri.key || uri.version.as_ref().is_some_and(|asked| *asked != version) {
        return Err(format!("its kid '{kid}' is another key's"));
    }
    Ok(KeyId::new(uri.vault.clone(), name, version, url))
}

fn public_key(jwk: &JsonWebKey) -> Result<PublicKey, String> {
    let field = |name: &str, value: &Option<String>| match value {
        Some(value) => bytes(name, value),
        None => Err(format!("the key has no '{name}'")),
    };
    match jwk.kty.raw() {
        "RSA-HSM" | "RSA" => PublicKey::rsa(field("n", &jwk.n)?, field("e", &jwk.e)?)
            .map_err(|error| format!("its 'n' and 'e' are not an RSA public key: {error}")),
        "EC-HSM" | "EC" => {
            let name = jwk.crv.clone().unwrap_or_default();
            let curve = Curve::from_jwk_name(name.raw())
                .ok_or_else(|| format!("the key's curve '{name}' is unknown"))?;
            PublicKey::ec(curve, field("x", &jwk.x)?, field("y", &jwk.y)?)
                .map_err(|error| format!("its 'x' and 'y' are not an EC public key: {error}"))
        }
        "AKP-HSM" | "AKP" => {
            let name = jwk.alg.clone().unwrap_or_default();
            let set = ParameterSet::by_name(name.raw())
                .ok_or_else(|| format!("the key's algorithm '{name}' is unknown"))?;
            PublicKey::ml_dsa(set, field("pub", &jwk.public)?)
                .map_err(|error| format!("its 'pub' is not a public key: {error}"))
        }
        "oct-HSM" | "oct" => Ok(PublicKey::Oct),
        _ => Err(format!("the key's type '{}' is unknown", jwk.kty)),
    }
}

fn parse<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, String> {
    serde_json::from_slice(body)
        // serde_json repeats what it can't use.
        .map_err(|error| {
            format!(
                "it is not the JSON that is expected ({})",
                shown(error.to_string())
            )
        })
}

fn bytes(name: &str, value: &str) -> Result<Vec<u8>, String> {
    BASE64
        .decode(value)
        .map_err(|_| format!("its '{name}' is not base64url"))
}

#[cfg(test)]
mod tests;
