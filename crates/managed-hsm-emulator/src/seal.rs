//! Encryption of private keys at rest: AES-256-GCM under a key that lies beside the database.
//!
//! It keeps a database that was copied alone (a backup, an attached bug report) from giving keys
//! away. It is no defence against someone who can read the whole folder.

use openssl::error::ErrorStack;
use openssl::rand::rand_bytes;
use openssl::symm::{Cipher, decrypt_aead, encrypt_aead};
use zeroize::Zeroizing;

use crate::data_dir::DataDir;
use crate::error::Error;

const FILE: &str = "storage.key";
const NONCE: usize = 12;
const TAG: usize = 16;

/// The key that private keys are encrypted under.
pub(crate) struct StorageKey(Zeroizing<[u8; 32]>);

impl StorageKey {
    /// Reads the folder's storage key, or makes it at first start.
    pub(crate) fn open(data: &DataDir) -> Result<Self, Error> {
        let mut key = Zeroizing::new([0; 32]);
        if let Some(contents) = data.read(FILE)?.map(Zeroizing::new) {
            if contents.len() != key.len() {
                return Err(Error::StoredKey(FILE.to_owned()));
            }
            key.copy_from_slice(&contents);
            return Ok(Self(key));
        }
        rand_bytes(&mut *key)?;
        data.write(FILE, &*key)?;
        Ok(Self(key))
    }

    pub(crate) fn generate() -> Result<Self, ErrorStack> {
        let mut key = Zeroizing::new([0; 32]);
        rand_bytes(&mut *key)?;
        Ok(Self(key))
    }

    /// None: there are not as many bytes as a key has.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(|key| Self(Zeroizing::new(key)))
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &*self.0
    }

    /// Encrypts `plain` for the key version `version`: nonce, ciphertext, tag.
    pub(crate) fn seal(&self, version: &str, plain: &[u8]) -> Result<Vec<u8>, ErrorStack> {
        let mut nonce = [0; NONCE];
        rand_bytes(&mut nonce)?;
        let mut tag = [0; TAG];
        let cipher = Cipher::aes_256_gcm();
        let sealed = encrypt_aead(
            cipher,
            &*self.0,
            Some(&nonce),
            version.as_bytes(),
            plain,
            &mut tag,
        )?;
        Ok([&nonce[..], &sealed, &tag].concat())
    }

    /// Undoes [`Self::seal`]; `None` when the bytes were changed or belong to another version or
    /// key.
    pub(crate) fn open_sealed(&self, version: &str, sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let (nonce, rest) = sealed.split_at_checked(NONCE)?;
        let (ciphertext, tag) = rest.split_at_checked(rest.len().checked_sub(TAG)?)?;
        decrypt_aead(
            Cipher::aes_256_gcm(),
            &*self.0,
            Some(nonce),
            version.as_bytes(),
            ciphertext,
            tag,
        )
        .ok()
        .map(Zeroizing::new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sealed_bytes_open_only_for_their_version_and_unchanged() {
        let key = StorageKey(Zeroizing::new([7; 32]));
        let other = StorageKey(Zeroizing::new([8; 32]));
        let mut sealed = key.seal("v1", b"private").unwrap();
        assert_eq!(**key.open_sealed("v1", &sealed).unwrap(), *b"private");
        assert!(key.open_sealed("v2", &sealed).is_none());
        assert!(other.open_sealed("v1", &sealed).is_none());
        sealed[NONCE] ^= 1;
        assert!(key.open_sealed("v1", &sealed).is_none());
        assert!(key.open_sealed("v1", b"short").is_none());
    }
}
