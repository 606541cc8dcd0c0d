//! A key as the provider holds it: a public key and, for a key in the HSM, where the private one is.

use std::ffi::CStr;
use std::sync::{Arc, OnceLock};

use aws_lc_rs::digest::{Digest as FixedDigest, SHA256, SHA384, SHA512};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256K1_SHA256_FIXED, ECDSA_P384_SHA384_FIXED,
    ECDSA_P521_SHA512_FIXED, ParsedPublicKey, VerificationAlgorithm,
};
use managed_hsm::{Curve, EncryptionAlgorithm, KeyId, KeyOperation, SignatureAlgorithm};

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
    /// As the library has it, once it was asked for; none: it is no point of the curve.
    parsed: OnceLock<Option<ParsedPublicKey>>,
}

impl PartialEq for EcPublicKey {
    fn eq(&self, other: &Self) -> bool {
        self.curve == other.curve && self.point == other.point
    }
}

impl Eq for EcPublicKey {}

/// A curve and how signatures on it are asked for and checked.
pub(crate) struct EcCurve {
    /// OpenSSL's name.
    pub(crate) name: &'static CStr,
    aliases: &'static [&'static str],
    /// Content octets of the curve's object identifier.
    pub(crate) oid: &'static [u8],
    /// The name that NIST gave the curve.
    pub(crate) nist_name: Option<&'static str>,
    pub(crate) bits: usize,
    pub(crate) security_bits: usize,
    /// Length of a coordinate, of r and of s, in bytes.
    pub(crate) coordinate_len: usize,
    /// How many points there are.
    pub(crate) order: &'static [u8],
    pub(crate) algorithm: SignatureAlgorithm,
    fixed_digest: &'static aws_lc_rs::digest::Algorithm,
    verification: &'static dyn VerificationAlgorithm,
    pub(crate) curve: Curve,
}

impl std::fmt::Debug for EcCurve {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.name.to_string_lossy())
    }
}

impl PartialEq for EcCurve {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for EcCurve {}

static CURVES: [EcCurve; 4] = [
    EcCurve {
        name: c"prime256v1",
        aliases: &["P-256", "secp256r1", "1.2.840.10045.3.1.7"],
        oid: &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07],
        nist_name: Some("P-256"),
        bits: 256,
        security_bits: 128,
        coordinate_len: 32,
        order: &[
            0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
            0xff, 0xff, 0xbc, 0xe6, 0xfa, 0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2,
            0xfc, 0x63, 0x25, 0x51,
        ],
        algorithm: SignatureAlgorithm::Es256,
        fixed_digest: &SHA256,
        verification: &ECDSA_P256_SHA256_FIXED,
        curve: Curve::P256,
    },
    EcCurve {
        name: c"secp384r1",
        aliases: &["P-384", "1.3.132.0.34"],
        oid: &[0x2b, 0x81, 0x04, 0x00, 0x22],
        nist_name: Some("P-384"),
        bits: 384,
        security_bits: 192,
        coordinate_len: 48,
        order: &[
            0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
            0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xc7, 0x63, 0x4d, 0x81,
            0xf4, 0x37, 0x2d, 0xdf, 0x58, 0x1a, 0x0d, 0xb2, 0x48, 0xb0, 0xa7, 0x7a, 0xec, 0xec,
            0x19, 0x6a, 0xcc, 0xc5, 0x29, 0x73,
        ],
        algorithm: SignatureAlgorithm::Es384,
        fixed_digest: &SHA384,
        verification: &ECDSA_P384_SHA384_FIXED,
        curve: Curve::P384,
    },
    EcCurve {
        name: c"secp521r1",
        aliases: &["P-521", "1.3.132.0.35"],
        oid: &[0x2b, 0x81, 0x04, 0x00, 0x23],
        nist_name: Some("P-521"),
        bits: 521,
        security_bits: 256,
        coordinate_len: 66,
        order: &[
            0x01, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
            0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
            0xff, 0xff, 0xff, 0xff, 0xff, 0xfa, 0x51, 0x86, 0x87, 0x83, 0xbf, 0x2f, 0x96, 0x6b,
            0x7f, 0xcc, 0x01, 0x48, 0xf7, 0x09, 0xa5, 0xd0, 0x3b, 0xb5, 0xc9, 0xb8, 0x89, 0x9c,
            0x47, 0xae, 0xbb, 0x6f, 0xb7, 0x1e, 0x91, 0x38, 0x64, 0x09,
        ],
        algorithm: SignatureAlgorithm::Es512,
        fixed_digest: &SHA512,
        verification: &ECDSA_P521_SHA512_FIXED,
        curve: Curve::P521,
    },
    EcCurve {
        name: c"secp256k1",
        aliases: &["P-256K", "1.3.132.0.10"],
        oid: &[0x2b, 0x81, 0x04, 0x00, 0x0a],
        nist_name: None,
        bits: 256,
        security_bits: 128,
        coordinate_len: 32,
        order: &[
            0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
            0xff, 0xfe, 0xba, 0xae, 0xdc, 0xe6, 0xaf, 0x48, 0xa0, 0x3b, 0xbf, 0xd2, 0x5e, 0x8c,
            0xd0, 0x36, 0x41, 0x41,
        ],
        algorithm: SignatureAlgorithm::Es256K,
        fixed_digest: &SHA256,
        verification: &ECDSA_P256K1_SHA256_FIXED,
        curve: Curve::P256K,
    },
];

impl EcCurve {
    /// The curve with one of OpenSSL's names.
    pub(crate) fn by_name(name: &str) -> Option<&'static Self> {
        CURVES.iter().find(|curve| {
            curve.name.to_bytes().eq_ignore_ascii_case(name.as_bytes())
                || curve
                    .aliases
                    .iter()
                    .any(|alias| alias.eq_ignore_ascii_case(name))
        })
    }

    /// A digest as the fixed length that the HSM takes. ECDSA uses the leftmost bits of a digest as a number (FIPS 186-5,
    /// section 6.4.1): a longer one is cut, a shorter one gets leading zeros. None: of a longer one more bits count than the HSM takes.
    pub(crate) fn fit(&self, digest: &[u8]) -> Option<Vec<u8>> {
        let len = self.digest_len();
        if digest.len() > len && len * 8 < self.bits {
            return None;
        }
        let kept = &digest[..digest.len().min(len)];
        let mut fitted = vec![0; len - kept.len()];
        fitted.extend_from_slice(kept);
        Some(fitted)
    }

    /// The length of the digests that the HSM takes, in bytes.
    pub(crate) fn digest_len(&self) -> usize {
        self.fixed_digest.output_len
    }
}

impl EcPublicKey {
    /// From an uncompressed point.
    pub(crate) fn new(curve: &'static EcCurve, point: Vec<u8>) -> Self {
        Self {
            curve,
            point,
            parsed: OnceLock::new(),
        }
    }

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
        names.join(", ")
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
    pub(crate) fn from_hsm(key: managed_hsm::Key) -> Result<Self, Error> {
        let public = match key.public {
            managed_hsm::PublicKey::Rsa { n, e } => PublicKey::Rsa(RsaPublicKey::new(n, e)),
            managed_hsm::PublicKey::Ec { curve, x, y } => {
                let curve = CURVES.iter().find(|known| known.curve == curve);
                let curve = curve.ok_or_else(|| {
                    Error::InvalidKey(format!("the curve of {} is unknown", key.id))
                })?;
                PublicKey::Ec(EcPublicKey::new(curve, [&[4], &x[..], &y].concat()))
            }
            managed_hsm::PublicKey::Oct => PublicKey::Aes,
        };
        Ok(Self {
            public,
            hsm: Some(HsmKey {
                id: key.id,
                operations: key.operations,
                key_wrap: OnceLock::new(),
            }),
        })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_cut_only_where_what_is_cut_does_not_count() {
        let fitted = |curve: &str, len: usize| {
            let curve = EcCurve::by_name(curve).unwrap();
            curve.fit(&vec![0x5a; len]).map(|fitted| fitted.len())
        };
        for (curve, len) in [
            ("P-256", 32),
            ("P-384", 48),
            ("P-521", 64),
            ("secp256k1", 32),
        ] {
            for given in [0, 20, len] {
                assert_eq!(fitted(curve, given), Some(len), "{curve} {given}");
            }
            let longer = (curve != "P-521").then_some(len);
            assert_eq!(fitted(curve, len + 1), longer, "{curve}");
        }
    }
}
