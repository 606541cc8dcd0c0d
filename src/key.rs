//! A key as the provider holds it: a public key and, for a key in the HSM, where the private one is.

use std::ffi::CStr;
use std::sync::{Arc, OnceLock};

use aws_lc_rs::digest::Digest as FixedDigest;
use aws_lc_rs::signature::ParsedPublicKey;
use managed_hsm::{EncryptionAlgorithm, KeyId, KeyOperation};

use crate::curve::EcCurve;
use crate::der;
use crate::error::Error;
use crate::provider::Provider;
use crate::rsa::RsaPublicKey;

/// A value that is made when it is first asked for, perhaps by several threads at a time: a child that is forked meanwhile would
/// wait for ever for the one that makes it.
pub(crate) fn once<T>(place: &OnceLock<T>, make: impl FnOnce() -> T) -> &T {
    match place.get() {
        Some(made) => made,
        None => {
            let made = make();
            place.get_or_init(|| made)
        }
    }
}

/// What `OSSL_STORE` and `EVP_KEYMGMT` call a key's type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeyType {
    Rsa,
    Ec,
    Aes,
}

impl KeyType {
    /// OpenSSL's name of the type.
    pub(crate) fn name(self) -> &'static CStr {
        match self {
            Self::Rsa => c"RSA",
            Self::Ec => c"EC",
            Self::Aes => c"AES",
        }
    }
}

/// A public key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum PublicKey {
    Rsa(RsaPublicKey),
    Ec(EcPublicKey),
    /// An AES key has no public part.
    Aes,
}

/// A point on one of the HSM's curves.
#[derive(Clone, Debug)]
pub(crate) struct EcPublicKey {
    pub(crate) curve: &'static EcCurve,
    /// The point, uncompressed (SEC 1, section 2.3.3): 4, x, y.
    pub(crate) point: Vec<u8>,
    /// As the library has it, once it was asked for.
    parsed: OnceLock<Option<ParsedPublicKey>>,
}

impl PartialEq for EcPublicKey {
    fn eq(&self, other: &Self) -> bool {
        self.curve == other.curve && self.point == other.point
    }
}

impl Eq for EcPublicKey {}

impl EcPublicKey {
    /// Whether `raw` (r‖s) is a signature over `fitted`, a digest of the length that the curve's algorithm takes.
    pub(crate) fn verify_fixed(&self, fitted: &[u8], raw: &[u8]) -> bool {
        let parse = || ParsedPublicKey::new(self.curve.verification, &self.point).ok();
        let Some(key) = once(&self.parsed, parse) else {
            return false;
        };
        FixedDigest::import_less_safe(fitted, self.curve.fixed_digest)
            .and_then(|digest| key.verify_digest_sig(&digest, raw))
            .is_ok()
    }

    /// Whether `signature` (an `ECDSA-Sig-Value`) is a signature over a digest of any length.
    pub(crate) fn verify(&self, digest: &[u8], signature: &[u8]) -> bool {
        der::parse_ecdsa_signature(signature, self.curve.coordinate_len)
            .zip(self.curve.fit(digest))
            .is_some_and(|(raw, fitted)| self.verify_fixed(&fitted, &raw))
    }

    /// `SubjectPublicKeyInfo` (RFC 5480), DER.
    pub(crate) fn spki(&self) -> Vec<u8> {
        const EC_PUBLIC_KEY: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
        let algorithm = der::sequence(&[
            &der::object_identifier(EC_PUBLIC_KEY),
            &der::object_identifier(self.curve.oid),
        ]);
        der::sequence(&[&algorithm, &der::bit_string(&self.point)])
    }

    /// The longest signature, in bytes.
    pub(crate) fn max_signature_len(&self) -> usize {
        der::ecdsa_signature_max_len(self.curve.coordinate_len, self.curve.bits)
    }

    /// The coordinates, each of the curve's length.
    pub(crate) fn coordinates(&self) -> (&[u8], &[u8]) {
        self.point[1..].split_at(self.curve.coordinate_len)
    }
}

impl From<managed_hsm::PublicKey> for PublicKey {
    /// From a public key that was checked.
    fn from(public: managed_hsm::PublicKey) -> Self {
        match public {
            managed_hsm::PublicKey::Rsa { n, e, .. } => Self::Rsa(RsaPublicKey::new(n, e)),
            managed_hsm::PublicKey::Ec { curve, x, y, .. } => Self::Ec(EcPublicKey {
                curve: EcCurve::of(curve),
                point: [&[4], &x[..], &y].concat(),
                parsed: OnceLock::new(),
            }),
            managed_hsm::PublicKey::Oct => Self::Aes,
        }
    }
}

impl PublicKey {
    /// The type under which OpenSSL knows the key.
    pub(crate) fn key_type(&self) -> KeyType {
        match self {
            Self::Rsa(_) => KeyType::Rsa,
            Self::Ec(_) => KeyType::Ec,
            Self::Aes => KeyType::Aes,
        }
    }

    /// The longest signature, in bytes.
    pub(crate) fn max_signature_len(&self) -> usize {
        match self {
            Self::Rsa(rsa) => rsa.len(),
            Self::Ec(ec) => ec.max_signature_len(),
            Self::Aes => 0,
        }
    }
}

/// Where the private key is, and what it may do.
#[derive(Clone, Debug)]
pub(crate) struct HsmKey {
    /// The key, pinned to the version that was loaded.
    pub(crate) id: KeyId,
    operations: Vec<KeyOperation>,
    /// The key wrap algorithm for an AES key's size, once it is known.
    key_wrap: OnceLock<EncryptionAlgorithm>,
}

impl HsmKey {
    /// Does something with an AES key by the key wrap algorithm for its size. The service doesn't tell the size, but refuses
    /// an algorithm for another; what worked is remembered.
    pub(crate) fn by_key_size<T>(
        &self,
        operation: impl Fn(EncryptionAlgorithm) -> Result<T, managed_hsm::Error>,
    ) -> Result<T, Error> {
        if let Some(algorithm) = self.key_wrap.get() {
            return operation(*algorithm).map_err(Error::Hsm);
        }
        let mut first_refusal = None;
        for algorithm in [
            EncryptionAlgorithm::A256Kw,
            EncryptionAlgorithm::A128Kw,
            EncryptionAlgorithm::A192Kw,
        ] {
            match operation(algorithm) {
                Ok(done) => {
                    let _ = self.key_wrap.set(algorithm);
                    return Ok(done);
                }
                Err(error @ managed_hsm::Error::Service { status: 400, .. }) => {
                    first_refusal.get_or_insert(error);
                }
                Err(error) => return Err(Error::Hsm(error)),
            }
        }
        Err(first_refusal.map_or(Error::MissingPrivateKey, Error::Hsm))
    }

    /// The key's `key_ops`, for a person.
    pub(crate) fn permitted(&self) -> String {
        let names: Vec<String> = self.operations.iter().map(ToString::to_string).collect();
        managed_hsm::fit(&names.join(", "), 400)
    }
}

/// A key: what an `EVP_PKEY` of this provider stands for. Shared by all who use it; never changed.
#[derive(Debug)]
pub(crate) struct Key {
    pub(crate) public: PublicKey,
    /// None: the key is a public key only.
    pub(crate) hsm: Option<HsmKey>,
}

impl Key {
    /// The key that the HSM answered with.
    pub(crate) fn from_hsm(key: managed_hsm::Key) -> Self {
        Self {
            public: key.public.into(),
            hsm: Some(HsmKey {
                id: key.id,
                operations: key.operations,
                key_wrap: OnceLock::new(),
            }),
        }
    }

    /// Which key in the HSM it is, if it is one.
    pub(crate) fn id(&self) -> Option<&KeyId> {
        self.hsm.as_ref().map(|hsm| &hsm.id)
    }

    /// The same key without the way to the private one.
    pub(crate) fn without_private(self) -> Self {
        Self { hsm: None, ..self }
    }

    /// The key in the HSM, if there is one and its `key_ops` permit the operation.
    pub(crate) fn private(&self, operation: KeyOperation) -> Result<&HsmKey, Error> {
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

/// What OpenSSL's `keydata` points to. Starts empty when OpenSSL is about to import a public key.
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
