//! A key to work with: a public key and, for a key in the HSM, where the private one is.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use managed_hsm::{Client, KeyId, KeyOperation};

use crate::aes::SIZES;
use crate::error::Error;
use crate::public_key::PublicKey;

/// Where the private key is, and what it may do.
#[derive(Clone, Debug)]
pub struct HsmKey {
    /// The key, pinned to the version that was loaded.
    pub id: KeyId,
    /// What the service lets it do. None: nobody has asked the service.
    operations: Option<Arc<[KeyOperation]>>,
    /// An AES key's size in bits, once it is known.
    size: OnceLock<u32>,
    /// Whether the HSM has shown that the public part is this key's: one from a key file is not to
    /// be relied on before. Shared by all copies.
    is_proven: Arc<AtomicBool>,
}

impl HsmKey {
    /// What the service lets the key do, as it said. None: it was not asked.
    pub fn operations(&self) -> Option<&Arc<[KeyOperation]>> {
        self.operations.as_ref()
    }

    /// Whether the HSM has shown that the public part is this key's.
    pub fn is_proven(&self) -> bool {
        self.is_proven.load(Ordering::Relaxed)
    }

    /// Notes that the HSM has shown it.
    pub(crate) fn set_proven(&self) {
        self.is_proven.store(true, Ordering::Relaxed);
    }

    /// The error where the HSM has shown that the public part is another key's.
    pub(crate) fn disproved(&self, problem: String) -> Error {
        Error::OtherPublicKey {
            key: self.id.to_string(),
            problem,
        }
    }

    /// A refusal that comes of a wrong type, where a key file may have told it.
    pub(crate) fn refusal(&self, public: &PublicKey, error: managed_hsm::Error) -> Error {
        match error {
            managed_hsm::Error::Service { status: 400, .. } if !self.is_proven() => {
                Error::Unproven {
                    cause: Box::new(error),
                    kind: public.kind(),
                }
            }
            other => Error::Client(other),
        }
    }

    /// A symmetric key's size in bits, if it is known by now. Keys for HMAC have others than AES.
    pub fn size(&self) -> Option<u32> {
        self.size.get().copied()
    }

    /// Does something with an AES key by an algorithm for its size in bits. Versions of the API
    /// before 2026-01-01-preview don't tell the size, but refuse an algorithm for another; what
    /// worked is remembered. `likely`: what to try first; a size that AES doesn't have is none to
    /// go by. All tries have one deadline.
    ///
    /// # Errors
    /// The operation fails, whichever size the key has.
    pub fn by_size<T>(
        &self,
        client: &Client,
        likely: Option<u32>,
        operation: impl Fn(&Client, u32) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let is_of_aes = |bits: &&u32| SIZES.contains(bits);
        if let Some(bits) = self.size.get().filter(is_of_aes) {
            return operation(client, *bits);
        }
        let client = client.for_one_operation();
        let likely = likely.filter(|bits| SIZES.contains(bits));
        let others = SIZES.into_iter();
        let others = others.filter(|bits| likely != Some(*bits));
        let mut first_refusal = None;
        for bits in likely.into_iter().chain(others) {
            match operation(&client, bits) {
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

    /// The key's `key_ops`, for a person. None: the service was not asked.
    pub fn permitted(&self) -> Option<String> {
        self.operations.as_deref().map(listed)
    }
}

fn listed(operations: &[KeyOperation]) -> String {
    if operations.is_empty() {
        return "none".to_owned();
    }
    let names: Vec<String> = operations.iter().map(ToString::to_string).collect();
    managed_hsm::fit(&names.join(", "), 400)
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
        if let Some(bits) = key.properties.key_size {
            let _ = size.set(bits);
        }
        Self {
            public: key.public.into(),
            hsm: Some(HsmKey {
                id: key.id,
                operations: Some(key.operations.into()),
                size,
                is_proven: Arc::new(AtomicBool::new(true)),
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
    /// A version of a key with the public part that somebody else than the HSM has told. The HSM is
    /// not asked: whether the key is there, what it may do, and whether the public part is its own
    /// shows when it is used.
    pub(crate) fn told(id: KeyId, public: PublicKey) -> Self {
        Self {
            public,
            hsm: Some(HsmKey {
                id,
                operations: None,
                size: OnceLock::new(),
                is_proven: Arc::default(),
            }),
        }
    }

    /// Whether the public part can be relied on.
    pub fn is_proven(&self) -> bool {
        self.hsm.as_ref().is_none_or(HsmKey::is_proven)
    }

    /// Has the HSM show that the public part is the key's, unless it has. To be done before
    /// something is computed with the public part that nobody else checks.
    ///
    /// # Errors
    /// The request failed, or the HSM's key has another public part.
    pub fn prove(&self, client: &Client) -> Result<(), Error> {
        let Some(hsm) = self.hsm.as_ref().filter(|hsm| !hsm.is_proven()) else {
            return Ok(());
        };
        let found = client.get_key(&hsm.id.clone().into())?;
        if PublicKey::from(found.public) != self.public {
            return Err(hsm.disproved("the HSM has another one".to_owned()));
        }
        hsm.set_proven();
        Ok(())
    }

    /// Which key in the HSM it is, if it is one.
    pub fn id(&self) -> Option<&KeyId> {
        self.hsm.as_ref().map(|hsm| &hsm.id)
    }

    /// The same key without the way to the private one.
    pub fn without_private(self) -> Self {
        Self { hsm: None, ..self }
    }

    /// The key in the HSM, if there is one and its `key_ops` permit the operation, as far as is
    /// known: else the service refuses it.
    ///
    /// # Errors
    /// The key has no private part in an HSM, or its `key_ops` don't hold the operation.
    pub fn private(&self, operation: KeyOperation) -> Result<&HsmKey, Error> {
        let hsm = self.hsm.as_ref().ok_or(Error::MissingPrivateKey)?;
        match &hsm.operations {
            Some(operations) if !operations.contains(&operation) => Err(Error::NotPermitted {
                key: hsm.id.to_string(),
                operation: operation.to_string(),
                permitted: hsm.permitted().unwrap_or_default(),
            }),
            _ => Ok(hsm),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_are_listed_and_a_key_without_any_has_none() {
        let operations = [KeyOperation::Sign, KeyOperation::Verify];
        assert_eq!(listed(&operations), "sign, verify");
        assert_eq!(listed(&[]), "none");
    }
}
