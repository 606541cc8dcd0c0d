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
    /// The HSM has no OAEP with these hash functions.
    pub fn oaep(oaep: &Digest, mgf1: &Digest) -> Result<Self, Error> {
        match (oaep.name(), mgf1.name()) {
            ("SHA1", "SHA1") => Ok(Self::OaepSha1),
            ("SHA256", "SHA256") => Ok(Self::OaepSha256),
            (oaep, mgf1) => Err(Error::OaepHash { oaep, mgf1 }),
        }
    }

    /// The way to encrypt that the HSM has under the name of an algorithm. None: it is one of AES,
    /// which the HSM alone can do.
    pub fn of(algorithm: EncryptionAlgorithm) -> Option<Self> {
        let all = [Self::Pkcs1, Self::OaepSha1, Self::OaepSha256];
        all.into_iter().find(|way| way.algorithm() == algorithm)
    }

    /// The HSM's algorithm.
    pub fn algorithm(self) -> EncryptionAlgorithm {
        match self {
            Self::Pkcs1 => EncryptionAlgorithm::Rsa1_5,
            Self::OaepSha1 => EncryptionAlgorithm::RsaOaep,
            Self::OaepSha256 => EncryptionAlgorithm::RsaOaep256,
        }
    }

    /// The longest message for a key, in bytes.
    pub fn most(self, public: &PublicKey) -> usize {
        match public {
            PublicKey::Rsa(rsa) => rsa.len().saturating_sub(self.overhead()),
            _ => 0,
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

/// Encrypts with an RSA public key. The HSM is not asked: a public part that is not
/// [proven](crate::Key::prove) is not for this.
///
/// # Errors
/// The key is of another type, the plaintext does not fit into it, or there are no random bytes.
pub fn encrypt(
    public: &PublicKey,
    scheme: RsaEncryption,
    plaintext: &[u8],
) -> Result<Vec<u8>, Error> {
    let rsa = require_rsa(public, "encrypt by RSA")?;
    let most = scheme.most(public);
    if plaintext.len() > most {
        return Err(Error::PlaintextLength {
            most,
            got: plaintext.len(),
        });
    }
    managed_hsm::with_random_bytes(|| rsa.encrypt(scheme, plaintext))?
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
    check_len(client, key, ciphertext)?;
    let decryption = Decryption {
        algorithm: scheme.algorithm(),
        iv: None,
        aad: None,
        tag: None,
    };
    let hsm = key.private(KeyOperation::Decrypt)?;
    let decrypted = client.decrypt(&hsm.id, &decryption, ciphertext);
    check_plaintext(
        key,
        scheme,
        decrypted.map_err(|error| hsm.refusal(&key.public, error))?,
    )
}

/// Decrypts a symmetric key with an RSA key, in the HSM: the same as [`decrypt`], for keys that are
/// permitted to unwrap.
///
/// # Errors
/// As [`decrypt`].
pub fn unwrap_by_rsa(
    client: &Client,
    key: &Key,
    scheme: RsaEncryption,
    wrapped: &[u8],
) -> Result<Zeroizing<Vec<u8>>, Error> {
    check_len(client, key, wrapped)?;
    let hsm = key.private(KeyOperation::UnwrapKey)?;
    let unwrapped = client.unwrap_key(&hsm.id, scheme.algorithm(), wrapped);
    check_plaintext(
        key,
        scheme,
        unwrapped.map_err(|error| hsm.refusal(&key.public, error))?,
    )
}

/// What is decrypted depends on the private key alone; a wrong public part, as a key file may tell
/// it, could only refuse a ciphertext that the key has made.
fn check_len(client: &Client, key: &Key, ciphertext: &[u8]) -> Result<(), Error> {
    let expected = require_rsa(&key.public, "decrypt by RSA")?.len();
    if ciphertext.len() == expected {
        return Ok(());
    }
    key.prove(client)?;
    Err(Error::CiphertextLength {
        expected,
        got: ciphertext.len(),
    })
}

/// Refuses what can't have been encrypted: whoever asked may have no room for it.
fn check_plaintext(
    key: &Key,
    scheme: RsaEncryption,
    plaintext: Zeroizing<Vec<u8>>,
) -> Result<Zeroizing<Vec<u8>>, Error> {
    let (most, got) = (scheme.most(&key.public), plaintext.len());
    match got <= most {
        true => Ok(plaintext),
        false => Err(Error::WrongPlaintext {
            key: key.id().map(ToString::to_string).unwrap_or_default(),
            most,
            got,
        }),
    }
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

#[cfg(test)]
mod tests {
    use aws_lc_rs::rsa::{
        KeySize, OAEP_SHA1_MGF1SHA1, OAEP_SHA256_MGF1SHA256, OaepPrivateDecryptingKey,
        Pkcs1PrivateDecryptingKey, PrivateDecryptingKey,
    };
    use aws_lc_rs::signature::KeyPair;

    use super::*;
    use crate::{der, testdata};

    const SCHEMES: [(RsaEncryption, usize); 3] = [
        (RsaEncryption::Pkcs1, 245),
        (RsaEncryption::OaepSha1, 214),
        (RsaEncryption::OaepSha256, 190),
    ];

    fn undo(private: &PrivateDecryptingKey, scheme: RsaEncryption, ciphertext: &[u8]) -> Vec<u8> {
        let mut room = vec![0; 256];
        let oaep = match scheme {
            RsaEncryption::Pkcs1 => {
                let private = Pkcs1PrivateDecryptingKey::new(private.clone()).unwrap();
                return private.decrypt(ciphertext, &mut room).unwrap().to_vec();
            }
            RsaEncryption::OaepSha1 => &OAEP_SHA1_MGF1SHA1,
            RsaEncryption::OaepSha256 => &OAEP_SHA256_MGF1SHA256,
        };
        let private = OaepPrivateDecryptingKey::new(private.clone()).unwrap();
        let plaintext = private.decrypt(oaep, ciphertext, &mut room, None);
        plaintext.unwrap().to_vec()
    }

    #[test]
    fn the_private_key_undoes_each_encryption_up_to_the_longest_message() {
        use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
        use aws_lc_rs::rsa::KeyPair as RsaKeyPair;

        let private = PrivateDecryptingKey::generate(KeySize::Rsa2048).unwrap();
        let pkcs8: Pkcs8V1Der<'_> = private.as_der().unwrap();
        let pair = RsaKeyPair::from_pkcs8(pkcs8.as_ref()).unwrap();
        let public = pair.public_key();
        // RSAPublicKey: two INTEGERs, whose zeros are taken off.
        let (numbers, _) = der::read(der::SEQUENCE, public.as_ref()).unwrap();
        let (n, rest) = der::read(0x02, numbers).unwrap();
        let (e, _) = der::read(0x02, rest).unwrap();
        let public = PublicKey::rsa(n.to_vec(), e.to_vec()).unwrap();
        for (scheme, most) in SCHEMES {
            for len in [0, 1, 32, most] {
                let plaintext = vec![0x5a; len];
                let ciphertext = encrypt(&public, scheme, &plaintext).unwrap();
                assert_eq!(ciphertext.len(), 256);
                assert_eq!(undo(&private, scheme, &ciphertext), plaintext, "{scheme:?}");
                let again = encrypt(&public, scheme, &plaintext).unwrap();
                assert_ne!(again, ciphertext, "the padding is random");
            }
        }
    }

    #[test]
    fn what_does_not_fit_is_refused_with_what_does() {
        for (bits, exponent, longer) in [(2048, 65537, 0), (2048, 3, 0), (2050, 65537, 1)] {
            let public = testdata::key(bits, exponent);
            for (scheme, most) in SCHEMES {
                let most = most + longer;
                assert!(encrypt(&public, scheme, &vec![1; most]).is_ok());
                let error = encrypt(&public, scheme, &vec![1; most + 1]).unwrap_err();
                let expected = format!("at most {most} bytes fit");
                assert!(error.to_string().starts_with(&expected), "{error}");
            }
        }
        let error = encrypt(&PublicKey::Aes, RsaEncryption::Pkcs1, b"x").unwrap_err();
        assert!(matches!(error, Error::WrongKeyType { .. }), "{error}");
    }

    #[test]
    fn a_plaintext_longer_than_the_key_has_room_for_is_refused() {
        let key = Key::from(testdata::key(2048, 65537));
        for (scheme, most) in SCHEMES {
            let of = |len| check_plaintext(&key, scheme, vec![1; len].into());
            assert!(of(0).is_ok() && of(most).is_ok(), "{scheme:?}");
            let error = of(most + 1).unwrap_err().to_string();
            assert!(error.contains(&format!("at most {most} fit")), "{error}");
        }
    }

    #[test]
    fn oaep_has_the_same_hash_function_twice_and_one_of_two() {
        let oaep = |oaep, mgf1| {
            let named = |name| Digest::by_name(name).unwrap();
            RsaEncryption::oaep(named(oaep), named(mgf1))
        };
        let sha256 = oaep("SHA256", "SHA256").unwrap();
        assert_eq!(sha256.algorithm(), EncryptionAlgorithm::RsaOaep256);
        let sha1 = oaep("SHA1", "SHA1").unwrap();
        assert_eq!(sha1.algorithm(), EncryptionAlgorithm::RsaOaep);
        for (hash, mgf1) in [("SHA1", "SHA256"), ("SHA256", "SHA1"), ("SHA384", "SHA384")] {
            let error = oaep(hash, mgf1).unwrap_err().to_string();
            assert!(error.contains(hash) && error.contains(mgf1), "{error}");
        }
    }
}
