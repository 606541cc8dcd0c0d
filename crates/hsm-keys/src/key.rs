//! A key to work with: a public key and, for a key in the HSM, where the private one is.

use std::sync::{Arc, OnceLock};

use managed_hsm::{KeyId, KeyOperation};

use crate::error::Error;
use crate::public_key::PublicKey;

/// Where the private key is, and what it may do.
#[derive(Clone, Debug)]
pub struct HsmKey {
    /// The key, pinned to the version that was loaded.
    pub id: KeyId,
    /// What the service lets it do.
    pub operations: Arc<[KeyOperation]>,
    /// An AES key's size in bits, once it is known.
    size: OnceLock<u32>,
}

impl HsmKey {
    /// An AES key's size in bits, if it is known by now.
    pub fn size(&self) -> Option<u32> {
        self.size.get().copied()
    }

    /// Does something with an AES key by an algorithm for its size in bits. Versions of the API
    /// before 2026-01-01-preview don't tell the size, but refuse an algorithm for another; what
    /// worked is remembered. `likely`: what to try first.
    ///
    /// # Errors
    /// The operation fails, whichever size the key has.
    pub fn by_size<T>(
        &self,
        likely: Option<u32>,
        operation: impl Fn(u32) -> Result<T, Error>,
    ) -> Result<T, Error> {
        if let Some(bits) = self.size.get() {
            return operation(*bits);
        }
        let others = [256, 128, 192].into_iter();
        let others = others.filter(|bits| likely != Some(*bits));
        let mut first_refusal = None;
        for bits in likely.into_iter().chain(others) {
            match operation(bits) {
                Ok(done) => {
                    let _ = self.size.set(bits);
                    return Ok(done);
                }
                Err(error @ Error::Client(managed_hsm::Error::Service { status: 400, .. })) => {
                    first_refusal.get_or_insert(error);
                }
                Err(error) => return Err(error),
            }
        }
        Err(first_refusal.unwrap_or(Error::MissingPrivateKey))
    }

    /// The key's `key_ops`, for a person.
    pub fn permitted(&self) -> String {
        let names: Vec<String> = self.operations.iter().map(ToString::to_string).collect();
        managed_hsm::fit(&names.join(", "), 400)
    }
}

/// A key. Shared by all who use it; never changed.
#[derive(Clone, Debug)]
pub struct Key {
    /// The public part.
    pub public: PublicKey,
    /// None: the key is a public key only.
    pub hsm: Option<HsmKey>,
}

impl From<managed_hsm::Key> for Key {
    /// The key that the HSM answered with.
    fn from(key: managed_hsm::Key) -> Self {
        let size = OnceLock::new();
        // A size that AES doesn't have is none to go by.
        if let Some(bits @ (128 | 192 | 256)) = key.properties.key_size {
            let _ = size.set(bits);
        }
        Self {
            public: key.public.into(),
            hsm: Some(HsmKey {
                id: key.id,
                operations: key.operations.into(),
                size,
            }),
        }
    }
}

impl From<PublicKey> for Key {
    /// A key without a private one.
    fn from(public: PublicKey) -> Self {
        Self { public, hsm: None }
    }
}

impl Key {
    /// Which key in the HSM it is, if it is one.
    pub fn id(&self) -> Option<&KeyId> {
        self.hsm.as_ref().map(|hsm| &hsm.id)
    }

    /// The same key without the way to the private one.
    pub fn without_private(self) -> Self {
        Self { hsm: None, ..self }
    }

    /// The key in the HSM, if there is one and its `key_ops` permit the operation.
    ///
    /// # Errors
    /// The key has no private part in an HSM, or its `key_ops` don't hold the operation.
    pub fn private(&self, operation: KeyOperation) -> Result<&HsmKey, Error> {
        let hsm = self.hsm.as_ref().ok_or(Error::MissingPrivateKey)?;
        if hsm.operations.contains(&operation) {
            return Ok(hsm);
        }
        Err(Error::NotPermitted {
            key: hsm.id.to_string(),
            operation: operation.to_string(),
            permitted: hsm.permitted(),
        })
    }
}
