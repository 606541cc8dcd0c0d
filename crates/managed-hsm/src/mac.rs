//! Message authentication by symmetric keys of the HSM.

use serde::Deserialize;

use crate::api_version::Feature;
use crate::client::{Client, operation};
use crate::error::Error;
use crate::key::{KeyAction, KeyId};
use crate::wire;

/// HMAC with a hash function (RFC 7518, section 3.2): the key is at least as long as the digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MacAlgorithm {
    /// HMAC with SHA-256.
    Hs256,
    /// HMAC with SHA-384.
    Hs384,
    /// HMAC with SHA-512.
    Hs512,
}

#[derive(Deserialize)]
struct Verdict {
    value: bool,
}

impl MacAlgorithm {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Hs256, Self::Hs384, Self::Hs512];

    /// The algorithm's name in requests and answers.
    pub const fn jwa_name(self) -> &'static str {
        match self {
            Self::Hs256 => "HS256",
            Self::Hs384 => "HS384",
            Self::Hs512 => "HS512",
        }
    }

    /// Length of the MAC in bytes.
    pub const fn mac_len(self) -> usize {
        match self {
            Self::Hs256 => 32,
            Self::Hs384 => 48,
            Self::Hs512 => 64,
        }
    }
}

impl Client {
    /// Has the HSM authenticate a message, which goes there as it is.
    pub fn mac(
        &self,
        key: &KeyId,
        algorithm: MacAlgorithm,
        message: &[u8],
    ) -> Result<Vec<u8>, Error> {
        let name = algorithm.jwa_name();
        let mut request = operation(key, KeyAction::Sign, name, message, &[])?;
        self.raise(&mut request, Feature::Hmac)?;
        let asked = (key.key.clone(), key.version.clone());
        self.ask(request, move |body| {
            let mac = wire::value(body, &asked)?.to_vec();
            match mac.len() == algorithm.mac_len() {
                true => Ok(mac),
                false => Err(format!(
                    "its MAC has {} bytes instead of {}",
                    mac.len(),
                    algorithm.mac_len()
                )),
            }
        })
    }

    /// Asks the HSM whether a MAC is the key's for a message.
    pub fn verify_mac(
        &self,
        key: &KeyId,
        algorithm: MacAlgorithm,
        message: &[u8],
        mac: &[u8],
    ) -> Result<bool, Error> {
        let name = algorithm.jwa_name();
        let further = [("digest", Some(message))];
        let mut request = operation(key, KeyAction::Verify, name, mac, &further)?;
        self.raise(&mut request, Feature::Hmac)?;
        self.ask(request, |body| {
            let verdict: Result<Verdict, _> = serde_json::from_slice(body);
            verdict
                .map(|verdict| verdict.value)
                .map_err(|_| "it does not say whether the MAC is good".to_owned())
        })
    }
}
