//! Secure wrap and unwrap: a new AES key, wrapped by a key of the HSM, which only attested
//! environments get. Unconfirmed: that what they get is encrypted to them, in the form of a
//! release, and that a key for these operations may have others.

use openssl::hash::MessageDigest;
use openssl::rand::rand_bytes;
use serde::Deserialize;
use zeroize::Zeroizing;

use super::Call;
use super::body::{OperationResult, version_url};
use super::failure::Failure;
use super::operations::{binary, not_done, usable};
use super::release::environment;
use super::reply::Reply;
use super::unconfirmed;
use crate::algorithm::encode_base64url;
use crate::encryption::{self, Ciphertext, EncryptionAlgorithm};

/// Length of the keys that are made, in bytes.
const KEY_BYTES: usize = 32;

#[derive(Deserialize)]
struct WrapRequest {
    alg: Option<String>,
}

#[derive(Deserialize)]
struct UnwrapRequest {
    alg: Option<String>,
    value: Option<String>,
    target: Option<String>,
    #[serde(rename = "applicationTrustedIssuer")]
    trusted_issuer: Option<String>,
}

pub(super) fn wrap_key(
    call: &Call<'_>,
    name: &str,
    version: Option<&str>,
) -> Result<Reply, Failure> {
    let request: WrapRequest = call.parse()?;
    let (key, version) = usable(call, name, version, "secureWrapKey")?;
    let algorithm = algorithm(request.alg.as_deref())?;
    let mut made = Zeroizing::new(vec![0; KEY_BYTES]);
    rand_bytes(&mut made).map_err(|_| unconfirmed::internal("no random bytes"))?;
    let wrapped = encryption::encrypt(&version.material, algorithm, &made, None, None);
    let wrapped = wrapped.map_err(|error| not_done(&error, algorithm, &version))?;
    Reply::ok(&OperationResult {
        alg: Some(algorithm.name),
        kid: Some(version_url(call.host, &key, &version)),
        value: encode_base64url(&wrapped.value),
    })
}

pub(super) fn unwrap_key(
    call: &Call<'_>,
    name: &str,
    version: Option<&str>,
) -> Result<Reply, Failure> {
    let request: UnwrapRequest = call.parse()?;
    let (key, version) = usable(call, name, version, "secureUnwrapKey")?;
    let algorithm = algorithm(request.alg.as_deref())?;
    if call.version.has_trusted_issuers() && request.trusted_issuer.is_some() {
        return Err(unconfirmed::trusted_issuer());
    }
    let wrapped = Ciphertext {
        value: binary("value", request.value.as_deref())?,
        ..Ciphertext::default()
    };
    // Before the key is used: who is no such environment learns nothing of what it sent.
    let target = request.target.as_deref();
    let environment = environment(call, &version, target, "secureUnwrapKey")?;
    let unwrapped = encryption::decrypt(&version.material, algorithm, wrapped);
    let unwrapped = unwrapped.map_err(|error| not_done(&error, algorithm, &version))?;
    let value = environment.encrypt(&unwrapped, MessageDigest::sha1())?;
    Reply::ok(&OperationResult {
        alg: Some(algorithm.name),
        kid: Some(version_url(call.host, &key, &version)),
        value: encode_base64url(&value),
    })
}

fn algorithm(name: Option<&str>) -> Result<EncryptionAlgorithm, Failure> {
    let name = name.ok_or_else(|| unconfirmed::missing_member("alg"))?;
    EncryptionAlgorithm::of_secure_wrap(name).ok_or_else(|| unconfirmed::algorithm(name))
}
