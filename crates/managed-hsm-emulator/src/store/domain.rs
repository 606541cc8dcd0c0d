//! The security domain of an HSM: the key of its backups, and whether the HSM is activated.

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{Store, StoreError, read, write};
use crate::algorithm::{decode_base64url, encode_base64url};
use crate::error::Error;
use crate::seal::StorageKey;

/// The kind of the document, its name, and what its key is sealed for.
const DOMAIN: &str = "security domain";

#[derive(Serialize, Deserialize)]
struct Stored {
    /// Sealed, base64url.
    key: String,
    activated: bool,
}

/// A security domain in use.
pub(super) struct Domain {
    pub(super) key: StorageKey,
    pub(super) activated: bool,
}

impl Domain {
    pub(super) fn new(activated: bool) -> Result<Self, Error> {
        Ok(Self {
            key: StorageKey::generate()?,
            activated,
        })
    }
}

impl Store {
    /// Takes the domain of the database in use, or keeps the one that was made for a new HSM.
    pub(super) fn open_domain(&self) -> Result<(), Error> {
        let damaged = || Error::StoredKey(DOMAIN.to_owned());
        let Some(stored) = self.document::<Stored>(DOMAIN, DOMAIN) else {
            let stored = {
                let domain = read(&self.domain);
                self.stored(&domain.key, domain.activated)
            };
            let kept = stored.and_then(|stored| self.put(DOMAIN, DOMAIN, &stored));
            return kept.map_err(|error| Error::Store(error.to_string()));
        };
        let sealed = decode_base64url(&stored.key).ok_or_else(damaged)?;
        let key = self.storage_key.open_sealed(DOMAIN, &sealed);
        let key = key.and_then(|key| StorageKey::from_bytes(&key));
        *write(&self.domain) = Domain {
            key: key.ok_or_else(damaged)?,
            activated: stored.activated,
        };
        Ok(())
    }

    fn stored(&self, key: &StorageKey, activated: bool) -> Result<Stored, StoreError> {
        let sealed = self.storage_key.seal(DOMAIN, key.as_bytes())?;
        Ok(Stored {
            key: encode_base64url(&sealed),
            activated,
        })
    }

    pub(crate) fn is_activated(&self) -> bool {
        let domain = read(&self.domain);
        domain.activated
    }

    /// The secret of the domain, for whom it is to be downloaded.
    pub(crate) fn domain_secret(&self) -> Zeroizing<Vec<u8>> {
        let domain = read(&self.domain);
        domain.key.as_bytes().to_vec().into()
    }

    /// Activates the HSM with the domain that it has, or with another's. Returns false if it has
    /// keys, which would not belong to the other's.
    pub(crate) fn activate(&self, secret: Option<&[u8]>) -> Result<bool, StoreError> {
        let own = self.domain_secret();
        let key = StorageKey::from_bytes(secret.unwrap_or(&own));
        let key = key.ok_or(StoreError::ForeignBackup)?;
        let stored = self.stored(&key, true)?;
        let is_free = || secret.is_none() || !self.has_keys();
        let is_done = self.put_if(DOMAIN, DOMAIN, &stored, is_free)?;
        if is_done {
            *write(&self.domain) = Domain {
                key,
                activated: true,
            };
        }
        Ok(is_done)
    }

    /// Encrypts for all HSMs of the domain.
    pub(super) fn seal_for_domain(&self, what: &str, plain: &[u8]) -> Result<Vec<u8>, StoreError> {
        let domain = read(&self.domain);
        Ok(domain.key.seal(what, plain)?)
    }

    pub(super) fn open_of_domain(&self, what: &str, sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let domain = read(&self.domain);
        domain.key.open_sealed(what, sealed)
    }
}
