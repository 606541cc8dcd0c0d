//! Bearer tokens: JWTs (RFC 7519) signed with RS256 by a key of the data folder, and the check of
//! what callers send.

use openssl::hash::MessageDigest;
use openssl::pkey::{PKey, Private, Public};
use openssl::rand::rand_bytes;
use openssl::sign::{Signer, Verifier};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::algorithm::{decode_base64url, encode_base64url};
use crate::clock::unix_seconds;
use crate::data_dir::DataDir;
use crate::error::Error;
use crate::rsa;
use crate::service::Audience;

const FILE: &str = "token-key.pem";
const ATTESTATION_FILE: &str = "attestation-key.pem";

/// The audience of tokens for Managed HSM in the public cloud.
pub const AUDIENCE: &str = "https://managedhsm.azure.net";

/// The audience of tokens for Key Vault in the public cloud.
pub const VAULT_AUDIENCE: &str = "https://vault.azure.net";

/// The tenant that the 401 challenge and the tokens name.
pub const TENANT: &str = "00000000-0000-0000-0000-000000000000";

/// The principal of tokens minted by the command line: an administrator of the emulated HSM.
pub(crate) const PRINCIPAL: &str = "00000000-0000-0000-0000-000000000001";

/// The owner's application.
pub const OWNER_CLIENT: &str = "00000000-0000-0000-0000-000000000002";

/// The key's name in tokens and in the list of keys.
const KEY_ID: &str = "managed-hsm-emulator";

/// The issuer of the tokens.
pub(crate) fn issuer() -> String {
    format!("https://sts.windows.net/{TENANT}/")
}

/// The key that signs tokens. One folder's tokens are foreign to every other folder's emulator.
pub struct TokenKey {
    key: PKey<Private>,
}

/// Who calls: an application, a user or a managed identity, with the groups that it is in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Principal {
    pub(crate) object_id: String,
    /// The application that acts for it.
    pub(crate) client_id: String,
    pub(crate) groups: Vec<String>,
}

impl Principal {
    /// Whether an object id is this principal's or one of its groups'.
    pub(crate) fn is(&self, id: &str) -> bool {
        let mut own = std::iter::once(&self.object_id).chain(&self.groups);
        !id.is_empty() && own.any(|own| own.eq_ignore_ascii_case(id))
    }
}

/// Why a token was not accepted.
#[derive(Debug, PartialEq, Eq, Clone)]
pub(crate) enum TokenError {
    Malformed,
    Foreign,
    /// The token is for this.
    Audience(String),
    NotYetValid,
    Expired,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
}

/// When a token is valid.
#[derive(Deserialize)]
struct Times {
    exp: i64,
    nbf: Option<i64>,
}

#[derive(Serialize, Deserialize)]
struct Claims {
    #[serde(default)]
    appid: String,
    aud: String,
    exp: i64,
    #[serde(default)]
    iat: i64,
    #[serde(default)]
    iss: String,
    nbf: Option<i64>,
    #[serde(default)]
    groups: Vec<String>,
    #[serde(default)]
    oid: String,
    #[serde(default)]
    sub: String,
    #[serde(default)]
    tid: String,
    /// No two tokens are the same, those of one second neither.
    #[serde(default)]
    uti: String,
    #[serde(default)]
    ver: String,
}

impl TokenKey {
    /// Reads the folder's token key.
    ///
    /// # Errors
    /// [`Error::NeverServed`] when no emulator has made it yet; [`Error::File`] and
    /// [`Error::OpenSsl`] when it can't be read.
    pub fn read(data: &DataDir) -> Result<Self, Error> {
        Self::read_file(data, FILE)
    }

    fn read_file(data: &DataDir, file: &str) -> Result<Self, Error> {
        let pem = data
            .read(file)?
            .ok_or_else(|| Error::NeverServed(data.path().to_owned()))?;
        Ok(Self {
            key: PKey::private_key_from_pem(&pem)?,
        })
    }

    /// Reads the folder's token key, or makes it at first start.
    pub(crate) fn open(data: &DataDir) -> Result<Self, Error> {
        Self::open_file(data, FILE)
    }

    /// The key for attestations, made if it isn't there. It has to be another: anybody may have any
    /// claims attested.
    pub(crate) fn open_for_attestations(data: &DataDir) -> Result<Self, Error> {
        Self::open_file(data, ATTESTATION_FILE)
    }

    /// The same; none: it isn't there.
    pub(crate) fn read_for_attestations(data: &DataDir) -> Result<Option<Self>, Error> {
        match Self::read_file(data, ATTESTATION_FILE) {
            Err(Error::NeverServed(_)) => Ok(None),
            read => read.map(Some),
        }
    }

    fn open_file(data: &DataDir, file: &str) -> Result<Self, Error> {
        match Self::read_file(data, file) {
            Err(Error::NeverServed(_)) => {
                let key = Self::generate()?;
                data.write(file, &key.key.private_key_to_pem_pkcs8()?)?;
                Ok(key)
            }
            read => read,
        }
    }

    fn generate() -> Result<Self, Error> {
        Ok(Self {
            key: PKey::from_rsa(rsa::generate(2048, 65537)?)?,
        })
    }

    /// Mints a token for `audience` that expires `expires_in` seconds from now; a negative number
    /// makes one that has expired already.
    ///
    /// # Errors
    /// [`Error::OpenSsl`] when signing fails.
    pub fn mint(&self, audience: &str, expires_in: i64) -> Result<String, Error> {
        self.mint_for(PRINCIPAL, audience, expires_in)
    }

    /// As [`TokenKey::mint`], for a principal other than the owner of the HSM.
    ///
    /// # Errors
    /// [`Error::OpenSsl`] when signing fails.
    pub fn mint_for(
        &self,
        object_id: &str,
        audience: &str,
        expires_in: i64,
    ) -> Result<String, Error> {
        self.mint_with(object_id, OWNER_CLIENT, &[], audience, expires_in)
    }

    /// A token for a principal, by its application, with its groups.
    pub(crate) fn mint_with(
        &self,
        object_id: &str,
        client_id: &str,
        groups: &[String],
        audience: &str,
        expires_in: i64,
    ) -> Result<String, Error> {
        let now = unix_seconds();
        let exp = now.saturating_add(expires_in);
        let mut id = [0; 16];
        rand_bytes(&mut id)?;
        let claims = Claims {
            appid: client_id.to_owned(),
            aud: audience.to_owned(),
            exp,
            iat: now.min(exp),
            iss: issuer(),
            nbf: Some(now.min(exp)),
            groups: groups.to_vec(),
            oid: object_id.to_owned(),
            sub: object_id.to_owned(),
            tid: TENANT.to_owned(),
            uti: encode_base64url(&id),
            ver: "1.0".to_owned(),
        };
        self.sign_json(&self.header(), &claims)
    }

    /// The header of what this key signs.
    pub(crate) fn header(&self) -> serde_json::Value {
        serde_json::json!({"alg": "RS256", "kid": KEY_ID, "typ": "JWT"})
    }

    /// A JSON Web Signature (RFC 7515).
    pub(crate) fn sign_json(
        &self,
        header: &serde_json::Value,
        payload: &impl Serialize,
    ) -> Result<String, Error> {
        let part = |json: serde_json::Result<Vec<u8>>| json.map(|json| encode_base64url(&json));
        let signed = part(serde_json::to_vec(header))
            .and_then(|header| Ok(format!("{header}.{}", part(serde_json::to_vec(payload))?)))
            .map_err(std::io::Error::from)?;
        let mut signer = Signer::new(MessageDigest::sha256(), &self.key)?;
        let signature = signer.sign_oneshot_to_vec(signed.as_bytes())?;
        Ok(format!("{signed}.{}", encode_base64url(&signature)))
    }

    /// The public key as a JSON Web Key Set (RFC 7517).
    pub(crate) fn jwks(&self) -> Result<serde_json::Value, Error> {
        let rsa = self.key.rsa()?;
        Ok(serde_json::json!({"keys": [{
            "alg": "RS256",
            "e": encode_base64url(&rsa.e().to_vec()),
            "kid": KEY_ID,
            "kty": "RSA",
            "n": encode_base64url(&rsa.n().to_vec()),
            "use": "sig",
        }]}))
    }

    pub(crate) fn public(&self) -> Result<PKey<Public>, Error> {
        Ok(PKey::public_key_from_der(&self.key.public_key_to_der()?)?)
    }

    pub(crate) fn key(&self) -> &openssl::pkey::PKeyRef<Private> {
        &self.key
    }

    /// The claims of `token`, if this key signed it and it is valid now.
    pub(crate) fn verified<T: DeserializeOwned>(&self, token: &str) -> Result<T, TokenError> {
        let (signed, signature) = token.rsplit_once('.').ok_or(TokenError::Malformed)?;
        let (header, claims) = signed.split_once('.').ok_or(TokenError::Malformed)?;
        let header: Header = parse_part(header)?;
        let times: Times = parse_part(claims)?;
        let claims: T = parse_part(claims)?;
        let signature = decode_base64url(signature).ok_or(TokenError::Malformed)?;
        // Any other algorithm, "none" above all, would let the caller choose how weakly it is
        // checked.
        if header.alg != "RS256" || !self.signed(signed.as_bytes(), &signature) {
            return Err(TokenError::Foreign);
        }
        let now = unix_seconds();
        if times.exp <= now {
            return Err(TokenError::Expired);
        }
        if times.nbf.is_some_and(|nbf| nbf > now) {
            return Err(TokenError::NotYetValid);
        }
        Ok(claims)
    }

    /// Who sends `token`, if it is good now, and for `audience`.
    pub(crate) fn check(&self, token: &str, audience: Audience) -> Result<Principal, TokenError> {
        let claims: Claims = self.verified(token)?;
        if !audience.accepts(&claims.aud) {
            return Err(TokenError::Audience(claims.aud));
        }
        Ok(Principal {
            object_id: claims.oid,
            client_id: claims.appid,
            groups: claims.groups,
        })
    }

    fn signed(&self, data: &[u8], signature: &[u8]) -> bool {
        Verifier::new(MessageDigest::sha256(), &self.key)
            .and_then(|mut verifier| verifier.verify_oneshot(signature, data))
            .unwrap_or(false)
    }
}

fn parse_part<T: DeserializeOwned>(part: &str) -> Result<T, TokenError> {
    let json = decode_base64url(part).ok_or(TokenError::Malformed)?;
    serde_json::from_slice(&json).map_err(|_| TokenError::Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::Service;

    fn check(key: &TokenKey, token: &str) -> Result<Principal, TokenError> {
        key.check(token, Audience::at(Service::ManagedHsm, "localhost"))
    }

    #[test]
    fn a_minted_token_is_accepted_until_it_expires() {
        let key = TokenKey::generate().unwrap();
        let owner = check(&key, &key.mint(AUDIENCE, 60).unwrap()).unwrap();
        assert!(owner.is(PRINCIPAL) && !owner.is("") && !owner.is("other"));
        let slash = key.mint("https://managedhsm.azure.net/", 60).unwrap();
        assert!(check(&key, &slash).is_ok());
        let other = key.mint_for("other", AUDIENCE, 60).unwrap();
        assert!(check(&key, &other).unwrap().is("other"));
        assert_eq!(
            check(&key, &key.mint(AUDIENCE, -1).unwrap()),
            Err(TokenError::Expired)
        );
        assert_eq!(
            check(&key, &key.mint(AUDIENCE, i64::MIN).unwrap()),
            Err(TokenError::Expired)
        );
    }

    #[test]
    fn tokens_of_others_are_refused() {
        let key = TokenKey::generate().unwrap();
        let foreign = TokenKey::generate().unwrap().mint(AUDIENCE, 60).unwrap();
        assert_eq!(check(&key, &foreign), Err(TokenError::Foreign));
        let vault = key.mint(VAULT_AUDIENCE, 60).unwrap();
        let refused = TokenError::Audience(VAULT_AUDIENCE.to_owned());
        assert_eq!(check(&key, &vault), Err(refused));
        let audience = Audience::at(Service::KeyVault, "localhost");
        assert!(key.check(&vault, audience).is_ok());
    }

    #[test]
    fn an_unsigned_token_is_refused() {
        let key = TokenKey::generate().unwrap();
        let minted = key.mint(AUDIENCE, 60).unwrap();
        let claims = minted.split('.').nth(1).unwrap();
        let none = encode_base64url(br#"{"alg":"none"}"#);
        assert_eq!(
            check(&key, &format!("{none}.{claims}.")),
            Err(TokenError::Foreign)
        );
    }

    #[test]
    fn what_is_no_jwt_is_malformed() {
        let key = TokenKey::generate().unwrap();
        for token in ["", "a", "a.b", "a.b.c", "..", "e30.e30.", "a.b.c.d"] {
            assert_eq!(check(&key, token), Err(TokenError::Malformed), "{token}");
        }
    }
}
