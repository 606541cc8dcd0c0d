//! Client assertions (RFC 7523): JSON Web Tokens that an application signs with the key of a
//! certificate, or that a foreign issuer gave it.

use openssl::asn1::Asn1Time;
use openssl::hash::MessageDigest;
use openssl::pkey::{PKeyRef, Public};
use openssl::rsa::Padding;
use openssl::sign::{RsaPssSaltlen, Verifier};
use openssl::x509::{X509, X509Ref};
use serde_json::Value;

use super::Grant;
use super::account::Account;
use super::refusal::Refusal;
use crate::algorithm::decode_base64url;
use crate::clock::unix_seconds;
use crate::token::{TokenKey, issuer};

/// Whether `assertion` is as good as the application's password, and what sort of credential it is.
///
/// `token_key` is the emulator's own, whose tokens may be federated too; `host` is the token
/// service's.
pub(super) fn check(
    account: &Account,
    assertion: &str,
    token_key: &TokenKey,
    host: &str,
) -> Result<Grant, Refusal> {
    let assertion = Assertion::parse(assertion).ok_or_else(Refusal::malformed_assertion)?;
    if assertion.claim("iss") == account.client_id {
        by_certificate(account, &assertion, host)?;
        Ok(Grant::Certificate)
    } else {
        by_federation(account, &assertion, token_key)?;
        Ok(Grant::Federated)
    }
}

struct Assertion<'a> {
    header: Value,
    claims: Value,
    signed: &'a str,
    signature: Vec<u8>,
}

impl<'a> Assertion<'a> {
    fn parse(assertion: &'a str) -> Option<Self> {
        let (signed, signature) = assertion.rsplit_once('.')?;
        let (header, claims) = signed.split_once('.')?;
        let json =
            |part| -> Option<Value> { serde_json::from_slice(&decode_base64url(part)?).ok() };
        Some(Self {
            header: json(header)?,
            claims: json(claims)?,
            signed,
            signature: decode_base64url(signature)?,
        })
    }

    fn claim(&self, name: &str) -> &str {
        self.claims[name].as_str().unwrap_or_default()
    }

    /// Whether a key made the signature, by one of the algorithms named.
    fn is_signed_by(&self, key: &PKeyRef<Public>, algorithms: &[&str]) -> bool {
        let algorithm = self.header["alg"].as_str().unwrap_or_default();
        let verify = || {
            let mut verifier = Verifier::new(MessageDigest::sha256(), key)?;
            if algorithm == "PS256" {
                verifier.set_rsa_padding(Padding::PKCS1_PSS)?;
                verifier.set_rsa_pss_saltlen(RsaPssSaltlen::DIGEST_LENGTH)?;
                verifier.set_rsa_mgf1_md(MessageDigest::sha256())?;
            }
            verifier.verify_oneshot(&self.signature, self.signed.as_bytes())
        };
        algorithms.contains(&algorithm) && verify().unwrap_or(false)
    }

    fn check_times(&self) -> Result<(), Refusal> {
        let time = |name: &str| self.claims[name].as_f64();
        let now = unix_seconds() as f64;
        let began = time("nbf").is_none_or(|nbf| nbf <= now);
        if began && time("exp").is_some_and(|exp| exp > now) {
            return Ok(());
        }
        let seconds = |name| time(name).unwrap_or_default() as i64;
        Err(Refusal::assertion_out_of_time(
            seconds("nbf"),
            seconds("exp"),
        ))
    }
}

fn by_certificate(account: &Account, assertion: &Assertion<'_>, host: &str) -> Result<(), Refusal> {
    let client = &account.client_id;
    if assertion.claim("sub") != client {
        return Err(Refusal::assertion_of_another(client));
    }
    let certificate = registered(account, &assertion.header);
    let certificate = certificate
        .ok_or_else(|| Refusal::certificate_not_registered(client, named(&assertion.header)))?;
    let key = certificate.public_key();
    let signed = key.is_ok_and(|key| assertion.is_signed_by(&key, &["RS256", "PS256"]));
    if !signed {
        let thumbprint = hex(&thumbprint(certificate, MessageDigest::sha1()));
        let (start, end) = (certificate.not_before(), certificate.not_after());
        let found = format!("Start={start}, End={end}");
        return Err(Refusal::assertion_signature(client, &thumbprint, &found));
    }
    let now = Asn1Time::from_unix(unix_seconds()).map_err(|_| Refusal::failed())?;
    if certificate.not_after() < now || certificate.not_before() > now {
        return Err(Refusal::certificate_out_of_time());
    }
    assertion.check_times()?;
    match is_token_service(assertion.claim("aud"), host) {
        true => Ok(()),
        false => Err(Refusal::assertion_audience()),
    }
}

/// The certificate that a header means, by its thumbprint: `x5t#S256`, or `x5t`, which is of SHA-1.
fn registered<'a>(account: &'a Account, header: &Value) -> Option<&'a X509> {
    let (thumbprint_named, digest) = named(header)?;
    let mut certificates = account.certificates.iter();
    certificates.find(|known| thumbprint(known, digest) == thumbprint_named)
}

/// The thumbprint in a header, and what it is of.
fn named(header: &Value) -> Option<(Vec<u8>, MessageDigest)> {
    let member = |name: &str| decode_base64url(header[name].as_str()?);
    let strong = member("x5t#S256").map(|named| (named, MessageDigest::sha256()));
    strong.or_else(|| Some((member("x5t")?, MessageDigest::sha1())))
}

fn thumbprint(certificate: &X509Ref, digest: MessageDigest) -> Vec<u8> {
    let digest = certificate.digest(digest);
    digest.map_or(Vec::new(), |digest| digest.to_vec())
}

/// As the service writes thumbprints.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02X}")).collect()
}

/// Whether an audience is a token endpoint, or the issuer that it stands for: here, or where it is
/// in Azure.
fn is_token_service(aud: &str, host: &str) -> bool {
    let hosts = [
        host,
        "login.microsoftonline.com",
        "login.microsoftonline.us",
        "login.chinacloudapi.cn",
        "login.windows.net",
        "sts.windows.net",
    ];
    let rest = aud.strip_prefix("https://").unwrap_or_default();
    rest.split_once('/').is_some_and(|(found, path)| {
        let ends = path
            .split_once('/')
            .map(|(_tenant, end)| end.trim_end_matches('/'));
        let ends = ends.unwrap_or_default();
        hosts.contains(&found) && ["oauth2/v2.0/token", "oauth2/token", "v2.0", ""].contains(&ends)
    })
}

fn by_federation(
    account: &Account,
    assertion: &Assertion<'_>,
    token_key: &TokenKey,
) -> Result<(), Refusal> {
    let [iss, sub, aud] = ["iss", "sub", "aud"].map(|name| assertion.claim(name));
    if account.federated_credentials.is_empty() {
        return Err(Refusal::no_federation(iss, sub, aud));
    }
    let mut fitting: Vec<_> = account.federated_credentials.iter().collect();
    fitting.retain(|known| known.issuer == iss);
    if fitting.is_empty() {
        return Err(Refusal::federation_issuer(iss));
    }
    let mut subjects = fitting.iter().map(|known| &known.subject);
    let in_another_case = subjects.any(|subject| subject.eq_ignore_ascii_case(sub));
    fitting.retain(|known| known.subject == sub);
    if fitting.is_empty() {
        return Err(Refusal::federation_subject(sub, in_another_case));
    }
    fitting.retain(|known| known.audience == aud);
    if fitting.is_empty() {
        return Err(Refusal::federation_audience(aud));
    }
    let own = (iss == issuer()).then(|| token_key.public()).transpose();
    let own = own.map_err(|_| Refusal::failed())?;
    let mut keys = fitting.iter().flat_map(|known| &known.keys).chain(&own);
    // No other algorithm is taken from foreign issuers.
    if !keys.any(|key| assertion.is_signed_by(key, &["RS256"])) {
        return Err(Refusal::federation_signature());
    }
    assertion.check_times()
}
