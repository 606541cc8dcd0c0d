//! RSA encryption: with the public key here, and decryption in the HSM.

use managed_hsm::{Client, Decryption, EncryptionAlgorithm, KeyOperation};
use zeroize::Zeroizing;

use crate::digest::Digest;
use crate::error::Error;
use crate::key::Key;
use crate::public_key::PublicKey;
use crate::rsa::RsaPublicKey;

/// A way to encrypt that the HSM can undo.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RsaEncryption {
    /// RSAES-PKCS1-v1_5 (RFC 8017, section 7.2).
    Pkcs1,
    /// RSAES-OAEP (RFC 8017, section 7.1) with SHA-1, and MGF1 with SHA-1.
    OaepSha1,
    /// RSAES-OAEP with SHA-256, and MGF1 with SHA-256.
    OaepSha256,
}

impl RsaEncryption {
    /// OAEP with these hash functions.
    ///
    /// # Errors
    /// The HSM does not have them.
    pub fn oaep(oaep: &Digest, mgf1: &Digest) -> Result<Self, Error> {
        match (oaep.name(), mgf1.name()) {
            ("SHA1", "SHA1") => Ok(Self::OaepSha1),
            ("SHA256", "SHA256") => Ok(Self::OaepSha256),
            (oaep, mgf1) => Err(Error::OaepHash { oaep, mgf1 }),
        }
    }

    /// The HSM's algorithm.
    pub fn algorithm(self) -> EncryptionAlgorithm {
        match self {
            Self::Pkcs1 => EncryptionAlgorithm::Rsa1_5,
            Self::OaepSha1 => EncryptionAlgorithm::RsaOaep,
            Self::OaepSha256 => EncryptionAlgorithm::RsaOaep256,
        }
    }

    /// How many bytes of the modulus are not for the message (RFC 8017, sections 7.1.1 and 7.2.1).
    fn overhead(self) -> usize {
        match self {
            Self::Pkcs1 => 11,
            Self::OaepSha1 => 2 * 20 + 2,
            Self::OaepSha256 => 2 * 32 + 2,
        }
    }
}

/// Encrypts with an RSA public key. The HSM is not asked.
///
/// # Errors
/// The key is of another type, or the plaintext does not fit into it.
pub fn encrypt(
    public: &PublicKey,
    scheme: RsaEncryption,
    plaintext: &[u8],
) -> Result<Vec<u8>, Error> {
    let rsa = require_rsa(public, "encrypt by RSA")?;
    let most = rsa.len().saturating_sub(scheme.overhead());
    if plaintext.len() > most {
        return Err(Error::PlaintextLength {
            most,
            got: plaintext.len(),
        });
    }
    rsa.encrypt(scheme, plaintext)
        .ok_or(Error::UnusableForEncryption)
}

/// Decrypts with an RSA key, in the HSM.
///
/// # Errors
/// The key can't do this, the ciphertext has a wrong length, or the request failed.
pub fn decrypt(
    client: &Client,
    key: &Key,
    scheme: RsaEncryption,
    ciphertext: &[u8],
) -> Result<Zeroizing<Vec<u8>>, Error> {
    let expected = require_rsa(&key.public, "decrypt by RSA")?.len();
    if ciphertext.len() != expected {
        return Err(Error::CiphertextLength {
            expected,
            got: ciphertext.len(),
        });
    }
    let decryption = Decryption {
        algorithm: scheme.algorithm(),
        iv: None,
        aad: None,
        tag: None,
    };
    let hsm = key.private(KeyOperation::Decrypt)?;
    Ok(client.decrypt(&hsm.id, &decryption, ciphertext)?)
}

fn require_rsa<'a>(public: &'a PublicKey, operation: &str) -> Result<&'a RsaPublicKey, Error> {
    match public {
        PublicKey::Rsa(rsa) => Ok(rsa),
        _ => Err(Error::WrongKeyType {
            kind: public.kind(),
            operation: operation.to_owned(),
        }),
    }
}
