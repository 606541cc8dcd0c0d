//! Encryption and decryption, and symmetric keys wrapped and unwrapped, in the HSM.

use zeroize::Zeroizing;

use crate::algorithm::EncryptionAlgorithm;
use crate::api_version::Feature;
use crate::client::{Client, operation};
use crate::error::Error;
use crate::key::{KeyAction, KeyId};
use crate::request::Request;
use crate::wire;

/// How to encrypt.
#[derive(Clone, Copy, Debug)]
pub struct Encryption<'a> {
    /// The algorithm.
    pub algorithm: EncryptionAlgorithm,
    /// The initialisation vector of AES-CBC, 16 bytes. For AES-GCM the HSM makes it.
    pub iv: Option<&'a [u8]>,
    /// Data that AES-GCM authenticates and doesn't encrypt.
    pub aad: Option<&'a [u8]>,
}

/// What encryption gave.
#[derive(Clone, Debug)]
pub struct Encrypted {
    /// The ciphertext.
    pub ciphertext: Vec<u8>,
    /// The initialisation vector that was used, for AES.
    pub iv: Option<Vec<u8>>,
    /// The authentication tag of AES-GCM.
    pub tag: Option<Vec<u8>>,
}

/// How to decrypt.
#[derive(Clone, Copy, Debug)]
pub struct Decryption<'a> {
    /// The algorithm.
    pub algorithm: EncryptionAlgorithm,
    /// The initialisation vector, for AES.
    pub iv: Option<&'a [u8]>,
    /// Data that AES-GCM authenticates and doesn't encrypt.
    pub aad: Option<&'a [u8]>,
    /// The authentication tag of AES-GCM.
    pub tag: Option<&'a [u8]>,
}

impl Client {
    /// Has the HSM encrypt.
    pub fn encrypt(
        &self,
        key: &KeyId,
        encryption: &Encryption<'_>,
        plaintext: &[u8],
    ) -> Result<Encrypted, Error> {
        let (algorithm, len) = (encryption.algorithm, plaintext.len());
        let name = algorithm.jwa_name();
        let further = [("iv", encryption.iv), ("aad", encryption.aad)];
        let mut request = operation(key, KeyAction::Encrypt, name, plaintext, &further)?;
        self.raise_for_algorithm(&mut request, algorithm)?;
        let asked = (key.key.clone(), key.version.clone());
        self.ask(request, move |body| {
            let result = wire::result(body, &asked)?;
            let encrypted = Encrypted {
                ciphertext: result.value.to_vec(),
                iv: result.iv,
                tag: result.tag,
            };
            algorithm.check_encrypted(len, &encrypted)?;
            Ok(encrypted)
        })
    }

    /// Has the HSM decrypt.
    pub fn decrypt(
        &self,
        key: &KeyId,
        decryption: &Decryption<'_>,
        ciphertext: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, Error> {
        let (algorithm, len) = (decryption.algorithm, ciphertext.len());
        let name = algorithm.jwa_name();
        let further = [
            ("iv", decryption.iv),
            ("aad", decryption.aad),
            ("tag", decryption.tag),
        ];
        let mut request = operation(key, KeyAction::Decrypt, name, ciphertext, &further)?;
        self.raise_for_algorithm(&mut request, algorithm)?;
        let asked = (key.key.clone(), key.version.clone());
        self.ask(request, move |body| {
            let plaintext = wire::result(body, &asked)?.value;
            algorithm.check_plaintext(len, &plaintext)?;
            Ok(plaintext)
        })
    }

    /// Has the HSM wrap (encrypt) a symmetric key.
    pub fn wrap_key(
        &self,
        key: &KeyId,
        algorithm: EncryptionAlgorithm,
        plain: &[u8],
    ) -> Result<Vec<u8>, Error> {
        let name = algorithm.jwa_name();
        let mut request = operation(key, KeyAction::WrapKey, name, plain, &[])?;
        self.raise_for_algorithm(&mut request, algorithm)?;
        let (asked, len) = ((key.key.clone(), key.version.clone()), plain.len());
        self.ask(request, move |body| {
            let wrapped = wire::value(body, &asked)?.to_vec();
            algorithm.check_ciphertext(len, &wrapped)?;
            Ok(wrapped)
        })
    }

    /// Has the HSM unwrap (decrypt) a symmetric key.
    pub fn unwrap_key(
        &self,
        key: &KeyId,
        algorithm: EncryptionAlgorithm,
        wrapped: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, Error> {
        let name = algorithm.jwa_name();
        let mut request = operation(key, KeyAction::UnwrapKey, name, wrapped, &[])?;
        self.raise_for_algorithm(&mut request, algorithm)?;
        let (asked, len) = ((key.key.clone(), key.version.clone()), wrapped.len());
        self.ask(request, move |body| {
            let plain = wire::value(body, &asked)?;
            algorithm.check_plaintext(len, &plain)?;
            Ok(plain)
        })
    }

    /// Has a request to encrypt or to decrypt name a version of the API that knows the algorithm.
    fn raise_for_algorithm(
        &self,
        request: &mut Request,
        algorithm: EncryptionAlgorithm,
    ) -> Result<(), Error> {
        match algorithm {
            EncryptionAlgorithm::Rsa1_5
            | EncryptionAlgorithm::RsaOaep
            | EncryptionAlgorithm::RsaOaep256 => Ok(()),
            EncryptionAlgorithm::CkmAesKeyWrapPad => {
                self.raise(request, Feature::AesKeyWrapMechanisms)
            }
            _ => self.raise(request, Feature::SymmetricKeys),
        }
    }
}
