//! What OpenSSL's `keydata` points to.

use std::sync::{Arc, OnceLock};

use hsm_keys::{Key, KeyType};

use crate::error::Error;
use crate::provider::Provider;

/// A key of this provider, or the room for one: it starts empty when OpenSSL is about to import a
/// public key.
#[derive(Debug)]
pub(crate) struct KeyHandle {
    pub(crate) provider: Arc<Provider>,
    pub(crate) key_type: KeyType,
    key: OnceLock<Arc<Key>>,
}

impl KeyHandle {
    /// A handle that waits for an import.
    pub(crate) fn empty(provider: Arc<Provider>, key_type: KeyType) -> Self {
        Self {
            provider,
            key_type,
            key: OnceLock::new(),
        }
    }

    /// A handle of a key.
    pub(crate) fn new(provider: Arc<Provider>, key: Arc<Key>) -> Self {
        Self {
            provider,
            key_type: key.public.key_type(),
            key: OnceLock::from(key),
        }
    }

    /// The key; an empty handle is an error.
    pub(crate) fn require(&self) -> Result<&Arc<Key>, Error> {
        self.key()
            .ok_or_else(|| Error::InvalidKey("the key object is empty".to_owned()))
    }

    /// The key, if there is one yet.
    pub(crate) fn key(&self) -> Option<&Arc<Key>> {
        self.key.get()
    }

    /// Sets the key; false if there is one already.
    pub(crate) fn fill(&self, key: Key) -> bool {
        self.key.set(Arc::new(key)).is_ok()
    }
}
