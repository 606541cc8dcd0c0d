//! Secure wrap and unwrap: keys that the HSM makes and wraps, and that only attested environments
//! get.

use std::fmt;
use std::str::FromStr;

use zeroize::Zeroizing;

use crate::api_version::Feature;
use crate::client::{Client, check_len, request};
use crate::error::Error;
use crate::key::{KeyAction, KeyId};
use crate::wire;

/// How such a key is wrapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecureWrapAlgorithm {
    /// RSA-OAEP with SHA-256.
    RsaOaep256,
    /// AES key wrap (RFC 3394) with a key of 128 bits.
    A128Kw,
    /// AES key wrap with a key of 192 bits.
    A192Kw,
    /// AES key wrap with a key of 256 bits.
    A256Kw,
    /// AES key wrap with padding (RFC 5649) with a key of 128 bits.
    A128KwPad,
    /// AES key wrap with padding with a key of 192 bits.
    A192KwPad,
    /// AES key wrap with padding with a key of 256 bits.
    A256KwPad,
    /// AES key wrap with a key of any size.
    CkmAesKeyWrap,
    /// AES key wrap with padding with a key of any size.
    CkmAesKeyWrapPad,
}

impl SecureWrapAlgorithm {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::RsaOaep256,
        Self::A128Kw,
        Self::A192Kw,
        Self::A256Kw,
        Self::A128KwPad,
        Self::A192KwPad,
        Self::A256KwPad,
        Self::CkmAesKeyWrap,
        Self::CkmAesKeyWrapPad,
    ];

    /// The algorithm's name in requests and answers.
    pub const fn jwa_name(self) -> &'static str {
        match self {
            Self::RsaOaep256 => "RSA-OAEP-256",
            Self::A128Kw => "A128KW",
            Self::A192Kw => "A192KW",
            Self::A256Kw => "A256KW",
            Self::A128KwPad => "A128KWPAD",
            Self::A192KwPad => "A192KWPAD",
            Self::A256KwPad => "A256KWPAD",
            Self::CkmAesKeyWrap => "CKM_AES_KEY_WRAP",
            Self::CkmAesKeyWrapPad => "CKM_AES_KEY_WRAP_PAD",
        }
    }
}

impl FromStr for SecureWrapAlgorithm {
    type Err = String;

    /// Takes a name in any case.
    fn from_str(name: &str) -> Result<Self, String> {
        let mut all = Self::ALL.into_iter();
        all.find(|algorithm| algorithm.jwa_name().eq_ignore_ascii_case(name))
            .ok_or_else(|| format!("there are {}", Self::ALL.map(Self::jwa_name).join(", ")))
    }
}

impl fmt::Display for SecureWrapAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.jwa_name())
    }
}

impl Client {
    /// Has the HSM make an AES key of 256 bits, and gives it wrapped. A key that wraps so has the
    /// operation `secureWrapKey`.
    ///
    /// # Errors
    /// [`Error::ApiVersion`]: requests name a version of the API that has no secure wrap.
    pub fn secure_wrap_key(
        &self,
        key: &KeyId,
        algorithm: SecureWrapAlgorithm,
    ) -> Result<Vec<u8>, Error> {
        let name = algorithm.jwa_name();
        let body = wire::algorithm_request(name);
        // Sent again after a loss: what was made for nobody is kept nowhere.
        let mut request = request(key, KeyAction::SecureWrapKey, name, body);
        self.raise(&mut request, Feature::SecureWrap)?;
        let asked = (key.key.clone(), key.version.clone());
        self.ask(request, move |body| Ok(wire::value(body, &asked)?.to_vec()))
    }

    /// Has the HSM unwrap such a key for an environment. `target` attests it: a token of the
    /// service for attestations that the key's release policy names. What comes back is given as
    /// the service sends it, which no public source describes; for the environment alone it is
    /// encrypted to it.
    ///
    /// # Errors
    /// [`Error::ApiVersion`]: requests name a version of the API that has no secure unwrap.
    pub fn secure_unwrap_key(
        &self,
        key: &KeyId,
        algorithm: SecureWrapAlgorithm,
        wrapped: &[u8],
        target: &str,
    ) -> Result<Zeroizing<Vec<u8>>, Error> {
        let name = algorithm.jwa_name();
        let len = wrapped.len().max(target.len());
        check_len(key, KeyAction::SecureUnwrapKey, len)?;
        let body = wire::secure_unwrap_request(name, wrapped, target);
        let mut request = request(key, KeyAction::SecureUnwrapKey, name, body);
        self.raise(&mut request, Feature::SecureWrap)?;
        let asked = (key.key.clone(), key.version.clone());
        self.ask(request, move |body| wire::value(body, &asked))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_taken_in_any_case_and_wrong_ones_explained() {
        for algorithm in SecureWrapAlgorithm::ALL {
            let name = algorithm.to_string();
            assert_eq!(name.parse(), Ok(algorithm));
            assert_eq!(name.to_lowercase().parse(), Ok(algorithm));
        }
        let problem = "RSA-OAEP".parse::<SecureWrapAlgorithm>().unwrap_err();
        assert!(problem.contains("A256KWPAD"), "{problem}");
    }
}
