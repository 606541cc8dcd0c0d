//! Secure key release, and the attestation of a key.

use openssl::bn::BigNum;
use openssl::encrypt::Encrypter;
use openssl::hash::MessageDigest;
use openssl::pkey::{PKey, Public};
use openssl::rand::rand_bytes;
use openssl::rsa::{Padding, Rsa};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::Call;
use super::body::{Bundle, key_url};
use super::failure::Failure;
use super::keys::found;
use super::operations::usable;
use super::reply::Reply;
use super::unconfirmed;
use crate::algorithm::{decode_base64url, encode_base64url};
use crate::attestation::Chain;
use crate::encryption::{self, EncryptionAlgorithm};
use crate::error::Error;
use crate::keys::KeyMaterial;
use crate::release_policy;
use crate::service::Service;
use crate::store::KeyVersion;

/// How a released key is encrypted when the request does not say: AES key wrap with padding, of
/// RFC 5649, under an AES key of 256 bits, which is encrypted by RSA-OAEP with this hash.
const DEFAULT_ENCRYPTION: &str = "CKM_RSA_AES_KEY_WRAP";

#[derive(Deserialize)]
struct ReleaseRequest {
    target: Option<String>,
    nonce: Option<String>,
    enc: Option<String>,
}

#[derive(Serialize)]
struct ReleaseResult {
    value: String,
}

pub(super) fn release(
    call: &Call<'_>,
    name: &str,
    version: Option<&str>,
) -> Result<Reply, Failure> {
    let request: ReleaseRequest = call.parse()?;
    // Recorded by azure-sdk-for-go (`TestReleaseKey`), as is all of the answer.
    let asked_for = match version {
        None => key_url(call.host, name),
        Some(version) => format!("{}/{version}", key_url(call.host, name)),
    };
    let (key, version) = usable(call, name, version, "release")?;
    if !version.metadata.exportable {
        return Err(unconfirmed::not_permitted("release"));
    }
    let enc = request.enc.as_deref().unwrap_or(DEFAULT_ENCRYPTION);
    let hash = match enc {
        DEFAULT_ENCRYPTION => MessageDigest::sha1(),
        "RSA_AES_KEY_WRAP_256" => MessageDigest::sha256(),
        "RSA_AES_KEY_WRAP_384" => MessageDigest::sha384(),
        other => return Err(unconfirmed::algorithm(other)),
    };
    let environment = environment(call, &version, request.target.as_deref(), "release")?;
    let secret = version.material.to_private_bytes();
    let secret = secret.map_err(|_| unconfirmed::internal("the key has no form to release"))?;
    let ciphertext = environment.encrypt(&secret, hash)?;
    let transferred = json!({
        "ciphertext": encode_base64url(&ciphertext),
        "header": {"alg": "dir", "enc": enc, "kid": environment.kid},
        "schema_version": "1.0",
    });
    let mut bundle = json(&Bundle::new(call, &key, &version))?;
    bundle["key"]["key_hsm"] = json!(encode_base64url(transferred.to_string().as_bytes()));
    // Out of an HSM it is no key of one; a vault goes on calling it so. Unconfirmed: of symmetric
    // keys.
    if call.service == Service::ManagedHsm {
        bundle["key"]["kty"] = json!(version.metadata.kty().trim_end_matches("-HSM"));
    }
    let mut asked = json!({
        "api-version": call.query.api_version(),
        "enc": enc,
        "kid": asked_for,
    });
    if let Some(nonce) = request.nonce {
        asked["nonce"] = json!(nonce);
    }
    let payload = json!({"request": asked, "response": {"key": bundle}});
    Reply::ok(&ReleaseResult {
        value: signed(call, &payload)?,
    })
}

/// The key with an attestation: a statement in the emulator's own form, signed by the emulator.
/// Unconfirmed: the form.
pub(super) fn attestation(
    call: &Call<'_>,
    name: &str,
    version: Option<&str>,
) -> Result<Reply, Failure> {
    let (key, version) = found(call, name, version)?;
    let mut bundle = json(&Bundle::new(call, &key, &version))?;
    let statement = |of: &str| {
        let statement = json!({
            "attestationOf": of,
            "attributes": bundle["attributes"],
            "key": bundle["key"],
            "issuer": "managed-hsm-emulator: this is not an HSM",
        });
        Ok::<_, Failure>(encode_base64url(signed(call, &statement)?.as_bytes()))
    };
    let attester = call.shared.attester.key().map_err(failed)?;
    let pem = attester.chain.pem().map_err(failed)?;
    let mut attestation = json!({
        "certificatePemFile": encode_base64url(&pem),
        "privateKeyAttestation": statement("private key")?,
        "version": "1.0",
    });
    if bundle["key"]["kty"] != "oct-HSM" {
        attestation["publicKeyAttestation"] = json!(statement("public key")?);
    }
    bundle["attributes"]["attestation"] = attestation;
    Reply::ok(&bundle)
}

/// A JSON Web Signature by the emulator's key, with the certificates that lead to its CA.
fn signed(call: &Call<'_>, payload: &Value) -> Result<String, Failure> {
    let sign = || {
        let attester = call.shared.attester.key()?;
        let header = header(call.service, &attester.chain)?;
        attester.key.sign_json(&header, payload)
    };
    sign().map_err(failed)
}

/// The header of such a signature, which names its key by the certificate.
fn header(service: Service, chain: &Chain) -> Result<Value, Error> {
    let sha256 = chain.thumbprint(MessageDigest::sha256())?;
    let mut header = json!({
        "alg": "RS256",
        "x5c": chain.x5c()?,
        "x5t#S256": encode_base64url(&sha256),
    });
    match service {
        Service::ManagedHsm => {
            let id = uuid::Uuid::from_slice(sha256.get(..16).unwrap_or_default());
            header["kid"] = json!(id.unwrap_or_default().to_string());
        }
        Service::KeyVault => {
            let sha1 = chain.thumbprint(MessageDigest::sha1())?;
            let hexadecimal = sha1.iter().map(|byte| format!("{byte:02X}"));
            header["kid"] = json!(hexadecimal.collect::<String>());
            header["typ"] = json!("JWT");
            header["x5t"] = json!(encode_base64url(&sha1));
        }
    }
    Ok(header)
}

fn failed(error: Error) -> Failure {
    crate::log::event(format_args!("signing failed: {error}"));
    unconfirmed::internal("signing failed; the emulator's log says why")
}

fn json(value: &impl Serialize) -> Result<Value, Failure> {
    serde_json::to_value(value).map_err(|_| unconfirmed::internal("an answer without a JSON form"))
}

/// An attested environment, by the key that it decrypts with.
pub(super) struct Environment {
    key: PKey<Public>,
    kid: String,
}

/// The environment that an attestation is about, if it meets the release policy of a key that is
/// asked for `operation`.
pub(super) fn environment(
    call: &Call<'_>,
    version: &KeyVersion,
    target: Option<&str>,
    operation: &str,
) -> Result<Environment, Failure> {
    let policy = version.metadata.release_policy.as_ref();
    let policy = policy.ok_or_else(|| unconfirmed::not_permitted(operation))?;
    let policy = decode_base64url(&policy.data)
        .and_then(|json| serde_json::from_slice::<Value>(&json).ok())
        .ok_or_else(unconfirmed::release_policy)?;
    let target = target.ok_or_else(|| unconfirmed::missing_member("target"))?;
    let attester = call.shared.attester.key().map_err(failed)?;
    let attested: Value = attester
        .key
        .verified(target)
        .map_err(|_| unconfirmed::attestation_not_verified())?;
    let issuer = attested["iss"].as_str().unwrap_or_default();
    if !release_policy::is_met(&policy, issuer, &attested) {
        return Err(unconfirmed::policy_not_met());
    }
    environment_key(&attested).ok_or_else(unconfirmed::attestation_without_key)
}

/// The RSA key of the attested environment that is there to encrypt with.
fn environment_key(attested: &Value) -> Option<Environment> {
    let keys = attested["x-ms-runtime"]["keys"].as_array()?;
    let usable = |jwk: &&Value| {
        let signs = ["use", "key_use"].iter().any(|name| jwk[*name] == "sig");
        jwk["kty"] == "RSA" && !signs
    };
    let jwk = keys.iter().find(usable)?;
    let number = |name: &str| BigNum::from_slice(&decode_base64url(jwk[name].as_str()?)?).ok();
    let rsa = Rsa::from_public_components(number("n")?, number("e")?).ok()?;
    let kid = jwk["kid"].as_str().unwrap_or_default().to_owned();
    let key = PKey::from_rsa(rsa).ok()?;
    Some(Environment { key, kid })
}

impl Environment {
    /// Encrypts a secret, so that only the environment can read it.
    pub(super) fn encrypt(&self, secret: &[u8], hash: MessageDigest) -> Result<Vec<u8>, Failure> {
        transfer(secret, &self.key, hash).map_err(|_| unconfirmed::attestation_without_key())
    }
}

/// `CKM_RSA_AES_KEY_WRAP` of PKCS#11 v3.0, section 2.1.21: an AES key encrypted by RSA-OAEP, then
/// the key, wrapped by it. Key pairs are wrapped as PKCS#8, AES keys as they are.
fn transfer(
    secret: &[u8],
    environment: &PKey<Public>,
    hash: MessageDigest,
) -> Result<Vec<u8>, crate::keys::KeyError> {
    let mut aes = Zeroizing::new(vec![0; 32]);
    rand_bytes(&mut aes)?;
    let mut encrypter = Encrypter::new(environment)?;
    encrypter.set_rsa_padding(Padding::PKCS1_OAEP)?;
    encrypter.set_rsa_oaep_md(hash)?;
    encrypter.set_rsa_mgf1_md(hash)?;
    let mut ciphertext = vec![0; encrypter.encrypt_len(&aes)?];
    let len = encrypter.encrypt(&aes, &mut ciphertext)?;
    ciphertext.truncate(len);
    let wrapping = EncryptionAlgorithm::by_name("CKM_AES_KEY_WRAP_PAD")
        .ok_or(crate::keys::KeyError::Incompatible)?;
    let aes = KeyMaterial::from_oct(aes);
    let wrapped = encryption::encrypt(&aes, wrapping, secret, None, None)?;
    ciphertext.extend(wrapped.value);
    Ok(ciphertext)
}
