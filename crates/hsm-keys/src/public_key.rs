//! Public keys, in the form that signatures are checked with.

use std::sync::OnceLock;

use aws_lc_rs::digest::Digest as FixedDigest;
use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::signature::ParsedPublicKey;
use managed_hsm::{EncryptionAlgorithm, ParameterSet, SignatureAlgorithm};

use crate::curve::EcCurve;
use crate::der;
use crate::error::Error;
use crate::ml_dsa::{self, MlDsaPublicKey};
use crate::once::once;
use crate::rsa::{RSA_ENCRYPTION, RsaPublicKey};

/// The object identifier of EC keys (RFC 5480, section 2.1.1).
const EC_PUBLIC_KEY: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];

/// A key's type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyType {
    /// RSA.
    Rsa,
    /// A point on an elliptic curve.
    Ec,
    /// ML-DSA, with a parameter set.
    MlDsa(ParameterSet),
    /// A symmetric key of AES.
    Aes,
}

/// Why bytes are no public key that can be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PublicKeyError {
    /// The numbers are none.
    #[error(transparent)]
    Numbers(#[from] managed_hsm::PublicKeyError),
    /// RFC 5480 forbids the form of X9.62 that has y and what tells it from -y.
    #[error("the point is in hybrid form: give it uncompressed, 04 || X || Y")]
    HybridPoint,
    /// It may be a point in no form, or one of another curve.
    #[error(
        "the point is in no form that a point of the curve {} has: give it uncompressed, \
         04 || X || Y, which is {} bytes",
        .0.curve.jwk_name(),
        .0.point_len()
    )]
    PointForm(&'static EcCurve),
}

/// A public key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PublicKey {
    /// RSA.
    Rsa(RsaPublicKey),
    /// A point on an elliptic curve.
    Ec(EcPublicKey),
    /// ML-DSA.
    MlDsa(MlDsaPublicKey),
    /// An AES key has no public part.
    Aes,
}

/// A point on one of the HSM's curves.
#[derive(Clone, Debug)]
pub struct EcPublicKey {
    /// The curve.
    pub curve: &'static EcCurve,
    /// The point, uncompressed (SEC 1, section 2.3.3): 4, x, y.
    point: Vec<u8>,
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
    /// A digest in the length that the curve's algorithm takes; see [`EcCurve::fit`].
    pub(crate) fn fit(&self, digest: &[u8]) -> Result<Vec<u8>, Error> {
        self.curve
            .fit(digest)
            .ok_or_else(|| Error::TooLongForCurve {
                curve: self.curve.name,
                got: digest.len(),
                most: self.curve.digest_len(),
            })
    }

    /// Whether `raw` (r‖s) is a signature over `fitted`, a digest of the length that the curve's
    /// algorithm takes.
    pub(crate) fn verify_fixed(&self, fitted: &[u8], raw: &[u8]) -> bool {
        let parse = || ParsedPublicKey::new(self.curve.verification, &self.point).ok();
        let Some(key) = once(&self.parsed, parse) else {
            return false;
        };
        FixedDigest::import_less_safe(fitted, self.curve.fixed_digest)
            .and_then(|digest| key.verify_digest_sig(&digest, raw))
            .is_ok()
    }

    /// The point, uncompressed (SEC 1, section 2.3.3): 4, x, y.
    pub fn point(&self) -> &[u8] {
        &self.point
    }

    /// `SubjectPublicKeyInfo` (RFC 5480), DER.
    pub fn spki(&self) -> Vec<u8> {
        self.spki_of(&self.point)
    }

    /// The same with the point compressed, as RFC 5480 lets programs write it.
    pub(crate) fn compressed_spki(&self) -> Vec<u8> {
        let (x, y) = self.coordinates();
        let is_odd = y.last().map_or(0, |byte| byte & 1);
        self.spki_of(&[&[2 | is_odd], x].concat())
    }

    pub(crate) fn spki_of(&self, point: &[u8]) -> Vec<u8> {
        let algorithm = der::sequence(&[
            &der::object_identifier(EC_PUBLIC_KEY),
            &der::object_identifier(self.curve.oid),
        ]);
        der::sequence(&[&algorithm, &der::bit_string(point)])
    }

    /// The coordinates, each of the curve's length.
    pub fn coordinates(&self) -> (&[u8], &[u8]) {
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
            managed_hsm::PublicKey::MlDsa { set, key, .. } => {
                Self::MlDsa(MlDsaPublicKey::new(set, key))
            }
            managed_hsm::PublicKey::Oct => Self::Aes,
        }
    }
}

impl PublicKey {
    /// An RSA key, from modulus and public exponent with the most significant byte first.
    ///
    /// # Errors
    /// The numbers are no public key: [`PublicKeyError`] says why.
    pub fn rsa(n: Vec<u8>, e: Vec<u8>) -> Result<Self, PublicKeyError> {
        Ok(managed_hsm::PublicKey::rsa(n, e)?.into())
    }

    /// A point of a curve (SEC 1, section 2.3.3): uncompressed (4, x, y), or compressed (2 or 3,
    /// x).
    ///
    /// # Errors
    /// The bytes have another form, or are no point of the curve.
    pub fn ec(curve: &'static EcCurve, point: &[u8]) -> Result<Self, PublicKeyError> {
        let (whole, compressed) = (curve.point_len(), 1 + curve.coordinate_len);
        let point = match point.first() {
            Some(4) if point.len() == whole => point.to_vec(),
            Some(2 | 3) if point.len() == compressed => decompressed(curve, point)?,
            Some(6 | 7) if point.len() == whole => return Err(PublicKeyError::HybridPoint),
            _ => return Err(PublicKeyError::PointForm(curve)),
        };
        let (x, y) = point[1..].split_at(curve.coordinate_len);
        Ok(managed_hsm::PublicKey::ec(curve.curve, x.to_vec(), y.to_vec())?.into())
    }

    /// A key of ML-DSA, as FIPS 204 encodes it.
    ///
    /// # Errors
    /// It has the length of another parameter set's, or of none's.
    pub fn ml_dsa(set: ParameterSet, key: &[u8]) -> Result<Self, PublicKeyError> {
        Ok(managed_hsm::PublicKey::ml_dsa(set, key.to_vec())?.into())
    }

    /// A `SubjectPublicKeyInfo` in DER. Of a key there is one encoding only, the one that
    /// [`Self::spki`] gives; a point has a second one, which is compressed. None: it is something
    /// else, or a key of a type that the HSM doesn't have.
    ///
    /// # Errors
    /// Its numbers are no public key: [`PublicKeyError`] says why.
    pub fn from_spki(spki: &[u8]) -> Result<Option<Self>, PublicKeyError> {
        let public = parse_spki(spki).transpose()?;
        Ok(public.filter(|public| match public {
            Self::Ec(ec) => ec.spki() == spki || ec.compressed_spki() == spki,
            other => other.spki().as_deref() == Some(spki),
        }))
    }

    /// The key's type.
    pub fn key_type(&self) -> KeyType {
        match self {
            Self::Rsa(_) => KeyType::Rsa,
            Self::Ec(_) => KeyType::Ec,
            Self::MlDsa(key) => KeyType::MlDsa(key.set),
            Self::Aes => KeyType::Aes,
        }
    }

    /// The key's type or curve, for sentences.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Rsa(_) => "RSA",
            Self::Ec(ec) => ec.curve.curve.jwk_name(),
            Self::MlDsa(key) => key.set.name(),
            Self::Aes => "symmetric",
        }
    }

    /// `SubjectPublicKeyInfo`, DER. None: there is no public part.
    pub fn spki(&self) -> Option<Vec<u8>> {
        match self {
            Self::Rsa(rsa) => Some(rsa.spki()),
            Self::Ec(ec) => Some(ec.spki()),
            Self::MlDsa(key) => Some(key.spki()),
            Self::Aes => None,
        }
    }

    /// The length of a raw signature, in bytes: the modulus' length, that of r‖s, or that of the
    /// parameter set.
    pub fn raw_signature_len(&self) -> usize {
        match self {
            Self::Rsa(rsa) => rsa.len(),
            Self::Ec(ec) => 2 * ec.curve.coordinate_len,
            Self::MlDsa(key) => key.set.signature_len(),
            Self::Aes => 0,
        }
    }

    /// The longest signature, in bytes, where that of ECDSA is in DER.
    pub fn max_signature_len(&self) -> usize {
        match self {
            Self::Rsa(rsa) => rsa.len(),
            Self::Ec(ec) => der::ecdsa_signature_max_len(ec.curve.coordinate_len, ec.curve.bits),
            Self::MlDsa(key) => key.set.signature_len(),
            Self::Aes => 0,
        }
    }

    /// What the key signs with unless something else is asked for: PKCS#1 v1.5 with SHA-256, ECDSA
    /// with the hash function that belongs to the curve, or ML-DSA. None: it can't sign.
    pub fn usual_signature(&self) -> Option<SignatureAlgorithm> {
        match self {
            Self::Rsa(_) => Some(SignatureAlgorithm::Rs256),
            Self::Ec(ec) => Some(ec.curve.algorithm),
            Self::MlDsa(key) => Some(SignatureAlgorithm::MlDsa(key.set)),
            Self::Aes => None,
        }
    }

    /// What keys are wrapped with unless something else is asked for. AES keys of every size have
    /// the same. None: it can't wrap.
    pub fn usual_wrapping(&self) -> Option<EncryptionAlgorithm> {
        match self {
            Self::Rsa(_) => Some(EncryptionAlgorithm::RsaOaep256),
            Self::Ec(_) | Self::MlDsa(_) => None,
            Self::Aes => Some(EncryptionAlgorithm::CkmAesKeyWrapPad),
        }
    }
}

/// A point that was compressed, with both coordinates. The library finds y.
fn decompressed(curve: &EcCurve, point: &[u8]) -> Result<Vec<u8>, PublicKeyError> {
    let spki = ParsedPublicKey::new(curve.verification, point)
        .ok()
        .and_then(|key| key.as_der().ok())
        .ok_or(managed_hsm::PublicKeyError::NotOnCurve(curve.curve))?;
    // The point is what comes last, and the library always writes it whole.
    let spki = spki.as_ref();
    Ok(spki[spki.len().saturating_sub(curve.point_len())..].to_vec())
}

/// Finds the numbers in a `SubjectPublicKeyInfo`. What else stands there is not looked at.
fn parse_spki(spki: &[u8]) -> Option<Result<PublicKey, PublicKeyError>> {
    let (body, _) = der::read(der::SEQUENCE, spki)?;
    let (algorithm, body) = der::read(der::SEQUENCE, body)?;
    let (bits, _) = der::read(der::BIT_STRING, body)?;
    let (_unused_bits, key) = bits.split_first()?;
    let (identifier, parameters) = der::read(der::OBJECT_IDENTIFIER, algorithm)?;
    if identifier == RSA_ENCRYPTION {
        let (numbers, _) = der::read(der::SEQUENCE, key)?;
        let (n, numbers) = der::read(der::INTEGER, numbers)?;
        let (e, _) = der::read(der::INTEGER, numbers)?;
        return Some(PublicKey::rsa(n.to_vec(), e.to_vec()));
    }
    if identifier == EC_PUBLIC_KEY {
        let (curve, _) = der::read(der::OBJECT_IDENTIFIER, parameters)?;
        return Some(PublicKey::ec(EcCurve::by_oid(curve)?, key));
    }
    let mut sets = ParameterSet::ALL.into_iter();
    let set = sets.find(|set| ml_dsa::object_identifier(*set) == identifier)?;
    Some(PublicKey::ml_dsa(set, key))
}

#[cfg(test)]
mod tests {
    use managed_hsm::Curve;

    use super::*;

    #[test]
    fn the_generator_of_each_curve_is_a_point_and_its_neighbours_are_none() {
        for curve in Curve::ALL.map(EcCurve::of) {
            let Ok(PublicKey::Ec(key)) = PublicKey::ec(curve, curve.generator) else {
                panic!("{curve:?}");
            };
            let (x, y) = key.coordinates();
            assert_eq!([&[4], x, y].concat(), key.point());
            assert!(key.spki().ends_with(key.point()));
            let mut off = curve.generator.to_vec();
            *off.last_mut().unwrap() ^= 1;
            let largest = [&[4][..], &vec![0xff; 2 * x.len()]].concat();
            for point in [&off, &largest] {
                assert_eq!(PublicKey::ec(curve, point), Err(off_curve(curve)));
            }
        }
    }

    fn off_curve(curve: &EcCurve) -> PublicKeyError {
        managed_hsm::PublicKeyError::NotOnCurve(curve.curve).into()
    }

    #[test]
    fn a_compressed_point_is_the_same_as_the_whole_one() {
        // SEC 2 lists the generators in both forms.
        for (curve, sign) in [
            (Curve::P256, 3),
            (Curve::P384, 3),
            (Curve::P521, 2),
            (Curve::P256K, 2),
        ] {
            let curve = EcCurve::of(curve);
            let whole = PublicKey::ec(curve, curve.generator).unwrap();
            let PublicKey::Ec(ec) = &whole else {
                panic!("{curve:?}");
            };
            let (x, y) = ec.coordinates();
            let compressed = [&[sign], x].concat();
            assert_eq!(PublicKey::ec(curve, &compressed), Ok(whole.clone()));
            let Ok(PublicKey::Ec(negative)) = PublicKey::ec(curve, &[&[sign ^ 1], x].concat())
            else {
                panic!("{curve:?}");
            };
            assert_eq!(negative.coordinates().0, x);
            assert_ne!(negative.coordinates().1, y);
            assert_eq!(ec.compressed_spki(), ec.spki_of(&compressed));
            for spki in [ec.spki(), ec.compressed_spki()] {
                assert_eq!(PublicKey::from_spki(&spki), Ok(Some(whole.clone())));
            }
            let largest = [&[2][..], &vec![0xff; x.len()]].concat();
            assert_eq!(PublicKey::ec(curve, &largest), Err(off_curve(curve)));
            // Of about every second number there is no root.
            let rootless = (0..=255).filter(|last| {
                let mut other = compressed.clone();
                *other.last_mut().unwrap() = *last;
                PublicKey::ec(curve, &other) == Err(off_curve(curve))
            });
            assert!((64..192).contains(&rootless.count()), "{curve:?}");
        }
    }

    #[test]
    fn a_point_in_another_form_is_refused_for_that() {
        for curve in Curve::ALL.map(EcCurve::of) {
            let numbers = &curve.generator[1..];
            let x = &numbers[..curve.coordinate_len];
            for form in [6, 7] {
                let refused = PublicKey::ec(curve, &[&[form], numbers].concat());
                assert_eq!(refused, Err(PublicKeyError::HybridPoint));
            }
            let compressed = [&[2], x].concat();
            for point in [
                &[][..],
                &[0],
                &[4],
                numbers,
                &[&[4], x].concat(),
                &[&[2], numbers].concat(),
                &[&[5], numbers].concat(),
                &[&[6], x].concat(),
                &compressed[..compressed.len() - 1],
                &[&compressed[..], &[0]].concat(),
            ] {
                let refused = PublicKey::ec(curve, point);
                assert_eq!(refused, Err(PublicKeyError::PointForm(curve)), "{point:?}");
            }
        }
        let told = PublicKeyError::PointForm(EcCurve::of(Curve::P521)).to_string();
        assert!(
            told.contains("P-521") && told.contains("133 bytes"),
            "{told}"
        );
    }

    #[test]
    fn signatures_have_the_known_lengths() {
        for (curve, raw, longest) in [
            (Curve::P256, 64, 72),
            (Curve::P384, 96, 104),
            (Curve::P521, 132, 139),
            (Curve::P256K, 64, 72),
        ] {
            let curve = EcCurve::of(curve);
            let key = PublicKey::ec(curve, curve.generator).unwrap();
            assert_eq!(
                (key.raw_signature_len(), key.max_signature_len()),
                (raw, longest)
            );
        }
        let rsa = PublicKey::rsa(vec![0xff; 384], vec![3]).unwrap();
        assert_eq!(
            (rsa.raw_signature_len(), rsa.max_signature_len()),
            (384, 384)
        );
    }
}
