//! The security domain: downloaded to activate an HSM, and uploaded to one that is to read the
//! backups of another.

use openssl::pkey::{PKey, Public};
use openssl::x509::X509;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::Call;
use super::failure::Failure;
use super::reply::Reply;
use super::{end_of_job, stored_badly, unconfirmed};
use crate::algorithm::encode_base64url;
use crate::attestation::AttestationKey;
use crate::clock::unix_seconds;
use crate::security_domain::{Recipient, lock, unlock};
use crate::store::JOBS;

/// How many recipients there can be, and how many of them can be required.
const RECIPIENTS: std::ops::RangeInclusive<usize> = 3..=10;
const REQUIRED: std::ops::RangeInclusive<usize> = 2..=10;

/// What the ends of the last download and of the last upload are kept under.
const DOWNLOAD: &str = "securitydomain/download";
const UPLOAD: &str = "securitydomain/upload";

/// What is done with a security domain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    Download,
    DownloadStatus,
    TransferKey,
    Upload,
    UploadStatus,
}

#[derive(Deserialize)]
struct DownloadRequest {
    certificates: Vec<Certificate>,
    required: Option<usize>,
}

#[derive(Deserialize)]
struct Certificate {
    x5c: Vec<String>,
}

#[derive(Serialize, Deserialize)]
struct Value {
    value: String,
}

pub(super) fn answer(call: &Call<'_>, action: Action) -> Result<Reply, Failure> {
    match action {
        Action::Download => download(call),
        Action::Upload => upload(call),
        Action::TransferKey => transfer_key(call),
        Action::DownloadStatus => status(call, DOWNLOAD),
        Action::UploadStatus => status(call, UPLOAD),
    }
}

/// How a download or an upload goes.
fn status(call: &Call<'_>, kind: &str) -> Result<Reply, Failure> {
    let end: Option<i64> = call.store.document(JOBS, kind);
    Reply::ok(&match end.is_some_and(|end| end > unix_seconds()) {
        true => in_progress(),
        false => json!({"status": "Success", "status_details": null}),
    })
}

fn in_progress() -> serde_json::Value {
    json!({"status": "InProgress", "status_details": null})
}

fn download(call: &Call<'_>) -> Result<Reply, Failure> {
    let request: DownloadRequest = call.parse()?;
    let required = request.required.unwrap_or(*REQUIRED.start());
    let count = request.certificates.len();
    if !RECIPIENTS.contains(&count) || !REQUIRED.contains(&required) || required > count {
        return Err(unconfirmed::domain_quorum(count, required));
    }
    let recipients = request.certificates.iter().map(recipient);
    let recipients: Vec<Recipient> = recipients
        .collect::<Option<_>>()
        .ok_or_else(unconfirmed::domain_certificate)?;
    let secret = call.store.domain_secret();
    let value = lock(&secret, &recipients, required)
        .map_err(|_| unconfirmed::internal("the security domain could not be encrypted"))?;
    let activated = call.store.activate(None);
    activated.map_err(|error| stored_badly("security domain", &error))?;
    let pending = format!("https://{}/securitydomain/download/pending", call.host);
    call.put(JOBS, DOWNLOAD, &end_of_job())?;
    Reply::accepted(&Value { value }, pending, 0)
}

/// An RSA certificate that a share is encrypted to.
fn recipient(certificate: &Certificate) -> Option<Recipient> {
    let der = openssl::base64::decode_block(certificate.x5c.first()?).ok()?;
    let key: PKey<Public> = X509::from_der(&der).ok()?.public_key().ok()?;
    (key.rsa().is_ok() && key.bits() >= 2048).then(|| Recipient {
        key,
        thumbprint: encode_base64url(&openssl::sha::sha256(&der)),
    })
}

fn attester<'a>(call: &'a Call<'_>) -> Result<&'a AttestationKey, Failure> {
    let key = call.shared.attester.key();
    key.map_err(|_| unconfirmed::internal("there is no transfer key"))
}

/// What a domain is encrypted to for its way here; as clients read it, a key as a text in JSON.
fn transfer_key(call: &Call<'_>) -> Result<Reply, Failure> {
    let attester = attester(call)?;
    let x5c = attester.chain.x5c();
    let x5c = x5c.map_err(|_| unconfirmed::internal("the transfer key could not be written"))?;
    let der = x5c
        .first()
        .and_then(|text| openssl::base64::decode_block(text).ok());
    let der = der.unwrap_or_default();
    let rsa = attester.key.key().rsa();
    let rsa = rsa.map_err(|_| unconfirmed::internal("the transfer key is not RSA"))?;
    let key = json!({
        "alg": "RSA-OAEP-256",
        "e": encode_base64url(&rsa.e().to_vec()),
        "key_ops": ["verify", "encrypt", "wrapKey"],
        "kid": "managed-hsm-emulator transfer key",
        "kty": "RSA",
        "n": encode_base64url(&rsa.n().to_vec()),
        "x5c": x5c,
        "x5t": encode_base64url(&openssl::sha::sha1(&der)),
        "x5t#S256": encode_base64url(&openssl::sha::sha256(&der)),
    });
    Reply::ok(&json!({"key_format": "jwk", "transfer_key": key.to_string()}))
}

fn upload(call: &Call<'_>) -> Result<Reply, Failure> {
    let request: Value = call.parse()?;
    if call.store.has_keys() {
        return Err(unconfirmed::domain_in_use());
    }
    let secret = unlock(&request.value, attester(call)?.key.key());
    let secret = secret.ok_or_else(unconfirmed::domain_not_readable)?;
    let activated = call.store.activate(Some(&secret));
    // A key may have been made meanwhile.
    if !activated.map_err(|error| stored_badly("security domain", &error))? {
        return Err(unconfirmed::domain_in_use());
    }
    let pending = format!("https://{}/securitydomain/upload/pending", call.host);
    call.put(JOBS, UPLOAD, &end_of_job())?;
    Reply::accepted(&in_progress(), pending, 0)
}
