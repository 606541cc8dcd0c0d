//! Certificates of a vault, as far as programs need them that use the key of one: imported with
//! their keys, and read. As documented; no recording is among those that the tests compare with.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use openssl::hash::MessageDigest;
use openssl::pkcs12::Pkcs12;
use openssl::pkey::{Id, PKey, Private};
use openssl::x509::X509;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::Call;
use super::failure::Failure;
use super::keys::{found, missing, new_metadata};
use super::reply::Reply;
use super::unconfirmed;
use crate::algorithm::encode_base64url;
use crate::keys::{KeyMaterial, KeyType};
use crate::store::{Key, KeyVersion};

#[derive(Deserialize)]
struct ImportRequest {
    /// PKCS#12 in base64, or PEM with key and certificate.
    value: Zeroizing<String>,
    pwd: Option<Zeroizing<String>>,
}

#[derive(Serialize)]
struct Bundle {
    attributes: Attributes,
    cer: String,
    id: String,
    kid: String,
    sid: String,
    x5t: String,
}

#[derive(Serialize)]
struct Attributes {
    created: i64,
    enabled: bool,
    updated: i64,
}

pub(super) fn import(call: &Call<'_>, name: &str) -> Result<Reply, Failure> {
    let request: ImportRequest = call.parse()?;
    let password = request.pwd.as_deref().map_or("", String::as_str);
    let (certificate, key) = parse(&request.value, password)
        .filter(|(certificate, key)| {
            certificate
                .public_key()
                .is_ok_and(|public| public.public_eq(key))
        })
        .ok_or_else(unconfirmed::certificate_not_usable)?;
    let kind = match key.id() {
        Id::RSA => KeyType::Rsa,
        Id::EC => KeyType::Ec,
        _ => return Err(unconfirmed::certificate_not_usable()),
    };
    let pkcs8 = key.private_key_to_pkcs8().map(Zeroizing::new);
    let material = pkcs8
        .ok()
        .and_then(|pkcs8| KeyMaterial::from_private_bytes(kind, &pkcs8).ok())
        .ok_or_else(unconfirmed::certificate_not_usable)?;
    let mut metadata = new_metadata(call, kind, true, None, None, None, None)?;
    let der = certificate.to_der();
    let der = der.map_err(|_| unconfirmed::certificate_not_usable())?;
    metadata.certificate = Some(STANDARD.encode(der));
    let added = call.store.add_version(name, material, metadata);
    let (key, version) =
        added.map_err(|error| Failure::from_store(call, error, name, missing(call, name, None)))?;
    let not_found = || Failure::certificate_not_found(name, None);
    bundle(call, &key, &version).unwrap_or_else(|| Err(not_found()))
}

fn parse(value: &str, password: &str) -> Option<(X509, PKey<Private>)> {
    if value.contains("-----BEGIN") {
        let certificate = X509::from_pem(value.as_bytes()).ok()?;
        return Some((
            certificate,
            PKey::private_key_from_pem(value.as_bytes()).ok()?,
        ));
    }
    let der = STANDARD.decode(value.trim()).ok()?;
    let parsed = Pkcs12::from_der(&der).ok()?.parse2(password).ok()?;
    Some((parsed.cert?, parsed.pkey?))
}

pub(super) fn get(call: &Call<'_>, name: &str, version: Option<&str>) -> Result<Reply, Failure> {
    let not_found = || Failure::certificate_not_found(name, version);
    let (key, version) = found(call, name, version).map_err(|_| not_found())?;
    bundle(call, &key, &version).unwrap_or_else(|| Err(not_found()))
}

/// None: the key is none of a certificate.
fn bundle(call: &Call<'_>, key: &Key, version: &KeyVersion) -> Option<Result<Reply, Failure>> {
    let metadata = &version.metadata;
    let cer = metadata.certificate.clone()?;
    let der = STANDARD.decode(&cer).ok()?;
    let digest = openssl::hash::hash(MessageDigest::sha1(), &der).ok()?;
    let url = |kind: &str| format!("https://{}/{kind}/{}/{}", call.host, key.name, version.id);
    Some(Reply::ok(&Bundle {
        attributes: Attributes {
            created: metadata.created,
            enabled: metadata.enabled,
            updated: metadata.updated,
        },
        cer,
        id: url("certificates"),
        kid: url("keys"),
        sid: url("secrets"),
        x5t: encode_base64url(&digest),
    }))
}
