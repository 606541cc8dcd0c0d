//! Attestations for tests: tokens that an attestation service would give to a trusted environment,
//! and the certificate that vouches for what the emulated HSM signs. Nothing here attests to
//! anything.

use std::sync::{Mutex, OnceLock, PoisonError};

use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::algorithm::encode_base64url;
use crate::clock::unix_seconds;
use crate::data_dir::DataDir;
use crate::error::Error;
use crate::rsa;
use crate::tls::attestation_chain;
use crate::token::TokenKey;

/// Seconds that a test token lives, as those of Azure Attestation.
const LIFETIME: i64 = 8 * 3600;

/// What a caller wants in a test token.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TestToken {
    /// The authority of the release policy; by default, the emulator's own address.
    issuer: Option<String>,
    /// The environment's RSA public key as a JSON Web Key; by default, one whose private key nobody
    /// has.
    key: Option<Value>,
    /// Claims to add.
    #[serde(default)]
    claims: Map<String, Value>,
}

impl TestToken {
    /// The token, as `{"token": …}`.
    pub(crate) fn answer(self, signer: &TokenKey, host: &str) -> Result<Value, Error> {
        let key = match self.key {
            Some(key) => key,
            None => throwaway_key()?,
        };
        let now = unix_seconds();
        let mut claims = self.claims;
        let issuer = self.issuer.unwrap_or_else(|| format!("https://{host}"));
        for (name, value) in [
            ("iss", json!(issuer)),
            ("iat", json!(now)),
            ("nbf", json!(now)),
            ("exp", json!(now + LIFETIME)),
            ("x-ms-runtime", json!({"keys": [key]})),
        ] {
            claims.insert(name.to_owned(), value);
        }
        // What the tests of Microsoft's libraries ask for in their policies.
        claims.entry("sdk-test").or_insert(json!(true));
        let token = signer.sign_json(&signer.header(), &claims)?;
        Ok(json!({"token": token}))
    }
}

fn throwaway_key() -> Result<Value, Error> {
    let rsa = rsa::generate(2048, 65537)?;
    Ok(json!({
        "e": encode_base64url(&rsa.e().to_vec()),
        "key_ops": ["encrypt"],
        "kid": "fake-release-key",
        "kty": "RSA",
        "n": encode_base64url(&rsa.n().to_vec()),
    }))
}

/// Signs attestations and released keys; security domains that are uploaded are encrypted to it.
/// Its key is made when it is first needed, since that takes as long as all the rest of a start.
pub(crate) struct Attester {
    data: DataDir,
    /// Of the server certificate.
    names: Vec<String>,
    made: OnceLock<AttestationKey>,
    making: Mutex<()>,
}

/// The key, and what vouches for it.
pub(crate) struct AttestationKey {
    pub(crate) key: TokenKey,
    pub(crate) chain: Chain,
}

impl Attester {
    /// Reads the folder's key if there is one.
    pub(crate) fn open(data: &DataDir, names: Vec<String>) -> Result<Self, Error> {
        let made = match TokenKey::read_for_attestations(data)? {
            Some(key) => OnceLock::from(AttestationKey::of(key, data, &names)?),
            None => OnceLock::new(),
        };
        Ok(Self {
            data: data.clone(),
            names,
            made,
            making: Mutex::default(),
        })
    }

    pub(crate) fn key(&self) -> Result<&AttestationKey, Error> {
        // One at a time, so that the folder has the key that is used.
        let _making = self.making.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(made) = self.made.get() {
            return Ok(made);
        }
        let key = TokenKey::open_for_attestations(&self.data)?;
        let made = AttestationKey::of(key, &self.data, &self.names)?;
        Ok(self.made.get_or_init(|| made))
    }
}

impl AttestationKey {
    fn of(key: TokenKey, data: &DataDir, names: &[String]) -> Result<Self, Error> {
        let chain = attestation_chain(data, key.key(), names)?;
        Ok(Self { key, chain })
    }
}

/// The certificates of the key that signs attestations and released keys: its own first, then the
/// CA's.
pub(crate) struct Chain(pub(crate) Vec<openssl::x509::X509>);

impl Chain {
    /// As the header `x5c` of a JSON Web Signature (RFC 7515, section 4.1.6).
    pub(crate) fn x5c(&self) -> Result<Vec<String>, Error> {
        let certificates = self.0.iter();
        certificates
            .map(|certificate| Ok(openssl::base64::encode_block(&certificate.to_der()?)))
            .collect()
    }

    /// Of the first one's subject.
    pub(crate) fn common_name(&self) -> Option<String> {
        let mut names = self
            .0
            .first()?
            .subject_name()
            .entries_by_nid(Nid::COMMONNAME);
        names.next()?.data().to_string().ok()
    }

    /// The hash of the first one.
    pub(crate) fn thumbprint(&self, hash: MessageDigest) -> Result<Vec<u8>, ErrorStack> {
        let first = self.0.first();
        first.map_or_else(|| Ok(Vec::new()), |one| Ok(one.digest(hash)?.to_vec()))
    }

    pub(crate) fn pem(&self) -> Result<Vec<u8>, Error> {
        let mut pem = Vec::new();
        for certificate in &self.0 {
            pem.extend(certificate.to_pem()?);
        }
        Ok(pem)
    }
}
