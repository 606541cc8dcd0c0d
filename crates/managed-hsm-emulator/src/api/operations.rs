//! Operations with a key's secret: sign and verify, encrypt and decrypt, wrap and unwrap; and
//! random bytes.

use std::sync::Arc;

use openssl::rand::rand_bytes;
use zeroize::Zeroizing;

use super::Call;
use super::body::{
    EncryptionResult, OperationRequest, OperationResult, RandomRequest, RandomResult, version_url,
};
use super::failure::Failure;
use super::keys::missing;
use super::ml_dsa;
use super::reply::Reply;
use super::unconfirmed;
use crate::algorithm::{Digest, Scheme, SignatureAlgorithm, decode_base64url, encode_base64url};
use crate::clock::unix_seconds;
use crate::encryption::{self, Ciphertext, EncryptionAlgorithm};
use crate::keys::KeyError;
use crate::service::Service;
use crate::store::{Key, KeyVersion, Metadata};

pub(super) fn sign(call: &Call<'_>, name: &str, version: Option<&str>) -> Result<Reply, Failure> {
    let request: OperationRequest = call.parse()?;
    let (key, version) = usable(call, name, version, "sign")?;
    if let Some(ml_dsa) = ml_dsa::key(call, &version, &request)? {
        return Reply::ok(&OperationResult {
            alg: None,
            kid: Some(version_url(call.host, &key, &version)),
            value: encode_base64url(&ml_dsa::sign(ml_dsa, &request)?),
        });
    }
    let algorithm = algorithm(call, &request)?;
    let digest = binary("value", request.value())?;
    let signed = version.material.sign(algorithm, &digest);
    let signature = signed.map_err(|error| failed(&error, "value", algorithm, &version))?;
    Reply::ok(&OperationResult {
        alg: told(call, algorithm.name),
        kid: Some(version_url(call.host, &key, &version)),
        value: encode_base64url(&signature),
    })
}

pub(super) fn verify(call: &Call<'_>, name: &str, version: Option<&str>) -> Result<Reply, Failure> {
    let request: OperationRequest = call.parse()?;
    let (key, version) = usable(call, name, version, "verify")?;
    if let Some(ml_dsa) = ml_dsa::key(call, &version, &request)? {
        return Reply::ok(&OperationResult {
            alg: None,
            kid: None,
            value: ml_dsa::verify(ml_dsa, &request)?,
        });
    }
    let algorithm = algorithm(call, &request)?;
    let digest = binary("digest", request.digest.as_deref())?;
    let signature = binary("value", request.value())?;
    let verified = version.material.verify(algorithm, &digest, &signature);
    let value = verified.map_err(|error| failed(&error, "digest", algorithm, &version))?;
    Reply::ok(&OperationResult {
        alg: told(call, algorithm.name),
        kid: told(call, version_url(call.host, &key, &version)),
        value,
    })
}

pub(super) fn encrypt(
    call: &Call<'_>,
    name: &str,
    version: Option<&str>,
) -> Result<Reply, Failure> {
    encrypting(
        call,
        name,
        version,
        "encrypt",
        EncryptionAlgorithm::encrypts,
    )
}

pub(super) fn wrap_key(
    call: &Call<'_>,
    name: &str,
    version: Option<&str>,
) -> Result<Reply, Failure> {
    encrypting(call, name, version, "wrapKey", EncryptionAlgorithm::wraps)
}

pub(super) fn decrypt(
    call: &Call<'_>,
    name: &str,
    version: Option<&str>,
) -> Result<Reply, Failure> {
    decrypting(
        call,
        name,
        version,
        "decrypt",
        EncryptionAlgorithm::encrypts,
    )
}

pub(super) fn unwrap_key(
    call: &Call<'_>,
    name: &str,
    version: Option<&str>,
) -> Result<Reply, Failure> {
    decrypting(call, name, version, "unwrapKey", EncryptionAlgorithm::wraps)
}

fn encrypting(
    call: &Call<'_>,
    name: &str,
    version: Option<&str>,
    operation: &str,
    is_for_it: fn(EncryptionAlgorithm) -> bool,
) -> Result<Reply, Failure> {
    let request: OperationRequest = call.parse()?;
    let (key, version) = usable(call, name, version, operation)?;
    let algorithm = encryption_algorithm(call, &request, is_for_it)?;
    let plaintext = Zeroizing::new(binary("value", request.value())?);
    let iv = optional("iv", request.iv.as_deref())?;
    let aad = optional("aad", request.aad.as_deref())?;
    let encrypted = encryption::encrypt(&version.material, algorithm, &plaintext, iv, aad);
    let encrypted = encrypted.map_err(|error| not_done(&error, algorithm, &version))?;
    Reply::ok(&EncryptionResult {
        aad: encrypted.aad.as_deref().map(encode_base64url),
        alg: told(call, algorithm.name),
        iv: encrypted.iv.as_deref().map(encode_base64url),
        kid: version_url(call.host, &key, &version),
        tag: encrypted.tag.as_deref().map(encode_base64url),
        value: encode_base64url(&encrypted.value),
    })
}

fn decrypting(
    call: &Call<'_>,
    name: &str,
    version: Option<&str>,
    operation: &str,
    is_for_it: fn(EncryptionAlgorithm) -> bool,
) -> Result<Reply, Failure> {
    let request: OperationRequest = call.parse()?;
    let (key, version) = usable(call, name, version, operation)?;
    let algorithm = encryption_algorithm(call, &request, is_for_it)?;
    let ciphertext = Ciphertext {
        value: binary("value", request.value())?,
        iv: optional("iv", request.iv.as_deref())?,
        aad: optional("aad", request.aad.as_deref())?,
        tag: optional("tag", request.tag.as_deref())?,
    };
    let decrypted = encryption::decrypt(&version.material, algorithm, ciphertext);
    let plaintext = decrypted.map_err(|error| not_done(&error, algorithm, &version))?;
    Reply::ok(&OperationResult {
        alg: told(call, algorithm.name),
        kid: Some(version_url(call.host, &key, &version)),
        value: Zeroizing::new(encode_base64url(&plaintext)),
    })
}

/// What only Managed HSM tells.
fn told<T>(call: &Call<'_>, value: T) -> Option<T> {
    (call.service == Service::ManagedHsm).then_some(value)
}

fn encryption_algorithm(
    call: &Call<'_>,
    request: &OperationRequest,
    is_for_it: fn(EncryptionAlgorithm) -> bool,
) -> Result<EncryptionAlgorithm, Failure> {
    let name = named_algorithm(request)?;
    EncryptionAlgorithm::by_name(name)
        .filter(|algorithm| is_for_it(*algorithm))
        .filter(|algorithm| !algorithm.is_symmetric() || call.version.has_symmetric_keys())
        .filter(|algorithm| !algorithm.is_mechanism() || call.version.has_wrap_mechanisms())
        .ok_or_else(|| unconfirmed::algorithm(name))
}

pub(super) fn not_done(
    error: &KeyError,
    algorithm: EncryptionAlgorithm,
    version: &KeyVersion,
) -> Failure {
    match error {
        KeyError::Input(member) => unconfirmed::not_usable(member, algorithm.name),
        KeyError::Incompatible => {
            unconfirmed::incompatible_encryption(algorithm.name, version.metadata.kty())
        }
        _ => openssl_failed(error, algorithm.name),
    }
}

pub(super) fn random(call: &Call<'_>) -> Result<Reply, Failure> {
    let request: RandomRequest = call.parse()?;
    let count = request.count.unwrap_or_default();
    let count = usize::try_from(count)
        .ok()
        .filter(|count| (1..=128).contains(count))
        .ok_or_else(Failure::random_count)?;
    let mut bytes = vec![0; count];
    rand_bytes(&mut bytes).map_err(|_| unconfirmed::internal("no random bytes"))?;
    Reply::ok(&RandomResult {
        value: encode_base64url(&bytes),
    })
}

/// The version that a request names, if it may be used for `operation` now.
pub(super) fn usable(
    call: &Call<'_>,
    name: &str,
    version: Option<&str>,
    operation: &str,
) -> Result<(Arc<Key>, Arc<KeyVersion>), Failure> {
    let key = call.store.active(name);
    let key = key.ok_or_else(|| missing(call, name, None))?;
    let found = key.version(version).cloned();
    let version = found.ok_or_else(|| missing(call, name, version))?;
    permitted(&version.metadata, operation, unix_seconds())?;
    Ok((key, version))
}

fn permitted(metadata: &Metadata, operation: &str, now: i64) -> Result<(), Failure> {
    // There is no name for release among the operations of a key.
    if operation != "release" && !metadata.key_ops.iter().any(|allowed| allowed == operation) {
        return Err(unconfirmed::not_permitted(operation));
    }
    if !metadata.enabled {
        return Err(unconfirmed::disabled(operation));
    }
    // Outside its dates a key still does what makes old data readable and old signatures checkable.
    if [
        "verify",
        "decrypt",
        "unwrapKey",
        "secureUnwrapKey",
        "release",
    ]
    .contains(&operation)
    {
        return Ok(());
    }
    if metadata.nbf.is_some_and(|nbf| now < nbf) {
        return Err(unconfirmed::not_yet_valid(operation));
    }
    if metadata.exp.is_some_and(|exp| now >= exp) {
        return Err(unconfirmed::expired(operation));
    }
    Ok(())
}

fn algorithm(call: &Call<'_>, request: &OperationRequest) -> Result<SignatureAlgorithm, Failure> {
    let name = named_algorithm(request)?;
    SignatureAlgorithm::by_name(name)
        .filter(|algorithm| algorithm.scheme != Scheme::Hmac || call.version.has_hmac())
        .ok_or_else(|| unconfirmed::algorithm(name))
}

fn named_algorithm(request: &OperationRequest) -> Result<&str, Failure> {
    let name = request.alg.as_deref();
    name.ok_or_else(|| unconfirmed::missing_member("alg"))
}

pub(super) fn optional(member: &str, value: Option<&str>) -> Result<Option<Vec<u8>>, Failure> {
    value.map(|text| binary(member, Some(text))).transpose()
}

pub(super) fn binary(member: &str, value: Option<&str>) -> Result<Vec<u8>, Failure> {
    let text = value.ok_or_else(|| unconfirmed::missing_member(member))?;
    decode_base64url(text).ok_or_else(|| unconfirmed::not_base64url(member))
}

fn failed(
    error: &KeyError,
    member: &str,
    algorithm: SignatureAlgorithm,
    version: &KeyVersion,
) -> Failure {
    match error {
        KeyError::DigestLength(length) => {
            let required = algorithm.digest.map_or(0, Digest::bytes);
            unconfirmed::digest_length(member, *length, algorithm.name, required)
        }
        KeyError::TooShort(required) => unconfirmed::mac_key_size(algorithm.name, *required),
        KeyError::Incompatible => unconfirmed::incompatible(algorithm.name, version.metadata.kty()),
        KeyError::Input(member) => unconfirmed::not_usable(member, algorithm.name),
        KeyError::Invalid | KeyError::OpenSsl(_) => openssl_failed(error, algorithm.name),
    }
}

fn openssl_failed(error: &KeyError, algorithm: &str) -> Failure {
    crate::log::event(format_args!("{algorithm} failed: {error}"));
    unconfirmed::internal("OpenSSL refused the operation; the emulator's log says why")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::KeyType;

    #[test]
    fn a_key_is_used_only_for_its_operations_while_enabled_and_within_its_dates() {
        let metadata = Metadata {
            kind: KeyType::Ec,
            software: false,
            key_ops: vec!["sign".to_owned(), "verify".to_owned()],
            enabled: true,
            exportable: false,
            created: 0,
            updated: 0,
            nbf: Some(100),
            exp: Some(200),
            tags: None,
            release_policy: None,
            certificate: None,
            external_key: None,
            sent_crv: None,
        };
        assert!(permitted(&metadata, "sign", 100).is_ok());
        assert!(permitted(&metadata, "sign", 99).is_err());
        assert!(permitted(&metadata, "sign", 200).is_err());
        assert!(permitted(&metadata, "verify", 99).is_ok());
        assert!(permitted(&metadata, "verify", 200).is_ok());
        assert!(permitted(&metadata, "decrypt", 150).is_err());
        let decrypting = Metadata {
            key_ops: vec!["decrypt".to_owned()],
            ..metadata.clone()
        };
        assert!(permitted(&decrypting, "decrypt", 200).is_ok());
        let disabled = Metadata {
            enabled: false,
            ..metadata
        };
        assert!(permitted(&disabled, "verify", 150).is_err());
    }
}
