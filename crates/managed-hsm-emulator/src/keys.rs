//! Key material: generation, import, and the operations with it. Nothing here knows of names,
//! versions or HTTP.

use openssl::bn::{BigNum, BigNumContext};
use openssl::ec::EcKey;
use openssl::ecdsa::EcdsaSig;
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::pkey::{PKey, Private};
use openssl::pkey_ctx::PkeyCtx;
use openssl::rand::rand_bytes;
use openssl::rsa::{Padding, Rsa};
use openssl::sign::{RsaPssSaltlen, Signer};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::algorithm::{Digest, Scheme, SignatureAlgorithm, encode_base64url};
use crate::curve::Curve;
use crate::ml_dsa::{MlDsaKey, ParameterSet};
use crate::rsa;
use crate::service::Service;

/// The operation of keys that others are wrapped for, to be imported.
pub(crate) const IMPORT: &str = "import";

/// The operations of keys that wrap other keys for attested environments only.
pub(crate) const SECURE_WRAP: [&str; 2] = ["secureWrapKey", "secureUnwrapKey"];

/// The kind of a key, without the `-HSM` of those that are in an HSM.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum KeyType {
    #[serde(rename = "RSA")]
    Rsa,
    #[serde(rename = "EC")]
    Ec,
    #[serde(rename = "oct")]
    Oct,
    /// Algorithm key pair: ML-DSA.
    #[serde(rename = "AKP")]
    Akp,
}

impl KeyType {
    /// Reads a `kty`, with or without `-HSM`.
    pub(crate) fn by_name(name: &str) -> Option<Self> {
        match name {
            "RSA" | "RSA-HSM" => Some(Self::Rsa),
            "EC" | "EC-HSM" => Some(Self::Ec),
            "oct" | "oct-HSM" => Some(Self::Oct),
            "AKP" | "AKP-HSM" => Some(Self::Akp),
            _ => None,
        }
    }

    /// The `kty` in answers. Unconfirmed: that an HSM makes `AKP-HSM` of `AKP`, as was recorded of
    /// the other types.
    pub(crate) fn name(self, software: bool) -> &'static str {
        match (self, software) {
            (Self::Rsa, false) => "RSA-HSM",
            (Self::Ec, false) => "EC-HSM",
            (Self::Oct, false) => "oct-HSM",
            (Self::Akp, false) => "AKP-HSM",
            (Self::Rsa, true) => "RSA",
            (Self::Ec, true) => "EC",
            (Self::Oct, true) => "oct",
            (Self::Akp, true) => "AKP",
        }
    }

    /// The operations of a key that was created without `key_ops`, in the order that was recorded.
    /// An EC key of an HSM has `deriveKey` in recordings since November of 2023, which are in
    /// 7.5-preview.1, and not in those until March of 2023, in 7.1 to 7.4. Unconfirmed: that the
    /// time makes the difference; no version's description has the name.
    pub(crate) fn default_operations(self, service: Service) -> &'static [&'static str] {
        match (self, service) {
            (Self::Rsa, Service::KeyVault) => &[
                "encrypt",
                "decrypt",
                "sign",
                "verify",
                "wrapKey",
                "unwrapKey",
            ],
            (Self::Ec, Service::KeyVault) | (Self::Akp, _) => &["sign", "verify"],
            (Self::Rsa, Service::ManagedHsm) => &[
                "wrapKey",
                "decrypt",
                "encrypt",
                "unwrapKey",
                "sign",
                "verify",
            ],
            (Self::Ec, Service::ManagedHsm) => &["verify", "deriveKey", "sign"],
            (Self::Oct, _) => &[
                "deriveKey",
                "wrapKey",
                "verify",
                "sign",
                "unwrapKey",
                "encrypt",
                "decrypt",
            ],
        }
    }

    /// Whether keys of this kind have an operation. `import` is a key that others are wrapped for,
    /// as recorded; which kinds take which names is as documented for the operations, no recording
    /// shows a refusal.
    pub(crate) fn has_operation(self, name: &str, service: Service) -> bool {
        let more: &[&str] = match self {
            Self::Rsa => &[IMPORT, "export"],
            Self::Ec | Self::Oct | Self::Akp => &["export"],
        };
        let wraps = matches!(self, Self::Rsa | Self::Oct) && service == Service::ManagedHsm;
        (wraps && SECURE_WRAP.contains(&name))
            || more.contains(&name)
            || self.default_operations(service).contains(&name)
    }
}

/// The public members of a JSON Web Key, as base64url.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PublicMembers {
    Rsa { n: String, e: String },
    Ec { curve: Curve, x: String, y: String },
    Akp { set: ParameterSet, public: String },
    None,
}

/// A key that has been parsed, ready for use.
pub(crate) struct KeyMaterial {
    secret: Secret,
    public: PublicMembers,
}

pub(crate) enum Secret {
    Rsa(PKey<Private>),
    Ec(Curve, EcKey<Private>),
    Oct(Zeroizing<Vec<u8>>),
    Akp(MlDsaKey),
}

/// Why an operation was not done.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeyError {
    #[error("the key does not fit the algorithm")]
    Incompatible,
    #[error("the digest has {0} bytes")]
    DigestLength(usize),
    #[error("the key is shorter than {0} bytes")]
    TooShort(usize),
    #[error("the member '{0}' can't be used")]
    Input(&'static str),
    #[error("the key is not valid")]
    Invalid,
    #[error("{0}")]
    OpenSsl(#[from] ErrorStack),
}

/// The members of an RSA key to import, big-endian.
pub(crate) struct RsaMembers {
    pub(crate) n: Zeroizing<Vec<u8>>,
    pub(crate) e: Zeroizing<Vec<u8>>,
    pub(crate) d: Zeroizing<Vec<u8>>,
    pub(crate) p: Zeroizing<Vec<u8>>,
    pub(crate) q: Zeroizing<Vec<u8>>,
    pub(crate) dp: Zeroizing<Vec<u8>>,
    pub(crate) dq: Zeroizing<Vec<u8>>,
    pub(crate) qi: Zeroizing<Vec<u8>>,
}

impl KeyMaterial {
    /// A new RSA key of `bits` with a public exponent.
    pub(crate) fn generate_rsa(bits: u32, exponent: u32) -> Result<Self, KeyError> {
        Self::from_rsa(rsa::generate(bits, exponent)?)
    }

    /// A new EC key.
    pub(crate) fn generate_ec(curve: Curve) -> Result<Self, KeyError> {
        let group = curve.group()?;
        Self::from_ec(curve, EcKey::generate(&group)?)
    }

    /// A new symmetric key.
    pub(crate) fn generate_oct(bits: u32) -> Result<Self, KeyError> {
        let mut bytes = Zeroizing::new(vec![0; bits as usize / 8]);
        rand_bytes(&mut bytes)?;
        Ok(Self::from_oct(bytes))
    }

    /// A new key pair of ML-DSA.
    pub(crate) fn generate_akp(set: ParameterSet) -> Result<Self, KeyError> {
        Ok(Self::from_akp(MlDsaKey::generate(set)?))
    }

    /// A new key of the same kind and size, for a rotation.
    pub(crate) fn generate_alike(&self) -> Result<Self, KeyError> {
        match &self.secret {
            Secret::Rsa(key) => {
                let rsa = key.rsa()?;
                let exponent = rsa
                    .e()
                    .to_dec_str()?
                    .parse()
                    .map_err(|_| KeyError::Invalid)?;
                Self::generate_rsa(key.bits(), exponent)
            }
            Secret::Ec(curve, _) => Self::generate_ec(*curve),
            Secret::Akp(key) => Self::generate_akp(key.set()),
            Secret::Oct(bytes) => {
                Self::generate_oct(u32::try_from(bytes.len() * 8).map_err(|_| KeyError::Invalid)?)
            }
        }
    }

    /// An RSA key from its members, which have to belong together.
    pub(crate) fn import_rsa(members: &RsaMembers) -> Result<Self, KeyError> {
        let number = |bytes: &[u8]| BigNum::from_slice(bytes);
        let rsa = Rsa::from_private_components(
            number(&members.n)?,
            number(&members.e)?,
            number(&members.d)?,
            number(&members.p)?,
            number(&members.q)?,
            number(&members.dp)?,
            number(&members.dq)?,
            number(&members.qi)?,
        )?;
        if !rsa.check_key().unwrap_or(false) {
            return Err(KeyError::Invalid);
        }
        Self::from_rsa(rsa)
    }

    /// An EC key from its point and scalar, which have to belong together.
    pub(crate) fn import_ec(curve: Curve, x: &[u8], y: &[u8], d: &[u8]) -> Result<Self, KeyError> {
        let group = curve.group()?;
        let number = BigNum::from_slice;
        let public = EcKey::from_public_key_affine_coordinates(
            &group,
            number(x)?.as_ref(),
            number(y)?.as_ref(),
        )
        .map_err(|_| KeyError::Invalid)?;
        let key = EcKey::from_private_components(&group, number(d)?.as_ref(), public.public_key())
            .map_err(|_| KeyError::Invalid)?;
        key.check_key().map_err(|_| KeyError::Invalid)?;
        Self::from_ec(curve, key)
    }

    /// Reads what [`Self::to_private_bytes`] wrote.
    pub(crate) fn from_private_bytes(kind: KeyType, bytes: &[u8]) -> Result<Self, KeyError> {
        match kind {
            KeyType::Rsa => Self::from_rsa(PKey::private_key_from_pkcs8(bytes)?.rsa()?),
            KeyType::Ec => {
                let key = PKey::private_key_from_pkcs8(bytes)?.ec_key()?;
                let nid = key.group().curve_name();
                let curve = Curve::ALL
                    .into_iter()
                    .find(|curve| Some(curve.nid()) == nid)
                    .ok_or(KeyError::Invalid)?;
                Self::from_ec(curve, key)
            }
            KeyType::Oct => Ok(Self::from_oct(bytes.to_vec().into())),
            KeyType::Akp => Ok(Self::from_akp(MlDsaKey::from_private_bytes(bytes)?)),
        }
    }

    /// The secret for storage: PKCS#8 (RFC 5958) for key pairs of OpenSSL's, the bare bytes for
    /// symmetric keys.
    pub(crate) fn to_private_bytes(&self) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        Ok(match &self.secret {
            Secret::Rsa(key) => key.private_key_to_pkcs8()?.into(),
            Secret::Ec(_, key) => PKey::from_ec_key(key.clone())?
                .private_key_to_pkcs8()?
                .into(),
            Secret::Oct(bytes) => bytes.clone(),
            Secret::Akp(key) => key.to_private_bytes(),
        })
    }

    fn from_rsa(rsa: Rsa<Private>) -> Result<Self, KeyError> {
        let public = PublicMembers::Rsa {
            n: encode_base64url(&rsa.n().to_vec()),
            e: encode_base64url(&rsa.e().to_vec()),
        };
        Ok(Self {
            secret: Secret::Rsa(PKey::from_rsa(rsa)?),
            public,
        })
    }

    fn from_ec(curve: Curve, key: EcKey<Private>) -> Result<Self, KeyError> {
        let (mut x, mut y) = (BigNum::new()?, BigNum::new()?);
        let mut context = BigNumContext::new()?;
        key.public_key()
            .affine_coordinates(key.group(), &mut x, &mut y, &mut context)?;
        let coordinate = |number: &BigNum| {
            let width = i32::try_from(curve.field_bytes()).unwrap_or(i32::MAX);
            Ok::<_, ErrorStack>(encode_base64url(&number.to_vec_padded(width)?))
        };
        let public = PublicMembers::Ec {
            curve,
            x: coordinate(&x)?,
            y: coordinate(&y)?,
        };
        Ok(Self {
            secret: Secret::Ec(curve, key),
            public,
        })
    }

    fn from_akp(key: MlDsaKey) -> Self {
        Self {
            public: PublicMembers::Akp {
                set: key.set(),
                public: encode_base64url(&key.public()),
            },
            secret: Secret::Akp(key),
        }
    }

    /// A symmetric key of the bytes given.
    pub(crate) fn from_oct(bytes: Zeroizing<Vec<u8>>) -> Self {
        Self {
            secret: Secret::Oct(bytes),
            public: PublicMembers::None,
        }
    }

    #[cfg(test)]
    pub(crate) fn kind(&self) -> KeyType {
        match self.secret {
            Secret::Rsa(_) => KeyType::Rsa,
            Secret::Ec(..) => KeyType::Ec,
            Secret::Oct(_) => KeyType::Oct,
            Secret::Akp(_) => KeyType::Akp,
        }
    }

    pub(crate) fn secret(&self) -> &Secret {
        &self.secret
    }

    /// The size of a symmetric key, in bits.
    pub(crate) fn secret_bits(&self) -> Option<usize> {
        match &self.secret {
            Secret::Oct(bytes) => Some(bytes.len() * 8),
            _ => None,
        }
    }

    pub(crate) fn public(&self) -> &PublicMembers {
        &self.public
    }

    /// Signs a digest: RSA as long as the modulus, ECDSA r‖s of fixed length.
    pub(crate) fn sign(
        &self,
        algorithm: SignatureAlgorithm,
        digest: &[u8],
    ) -> Result<Vec<u8>, KeyError> {
        check_length(algorithm, digest)?;
        match (&self.secret, algorithm.scheme) {
            (Secret::Oct(key), Scheme::Hmac) => hmac(key, algorithm, digest),
            (Secret::Rsa(key), Scheme::Pkcs1 | Scheme::Pss | Scheme::Pkcs1Padding) => {
                let mut context = PkeyCtx::new(key)?;
                context.sign_init()?;
                set_rsa_parameters(&mut context, algorithm)?;
                let mut signature = Vec::new();
                context
                    .sign_to_vec(digest, &mut signature)
                    .map_err(|_| KeyError::Input("value"))?;
                Ok(signature)
            }
            (Secret::Ec(curve, key), Scheme::Ecdsa(wanted)) if *curve == wanted => {
                let signature = EcdsaSig::sign(digest, key)?;
                let width = i32::try_from(curve.field_bytes()).unwrap_or(i32::MAX);
                let mut bytes = signature.r().to_vec_padded(width)?;
                bytes.extend(signature.s().to_vec_padded(width)?);
                Ok(bytes)
            }
            _ => Err(KeyError::Incompatible),
        }
    }

    /// Whether `signature` is this key's over `digest`.
    pub(crate) fn verify(
        &self,
        algorithm: SignatureAlgorithm,
        digest: &[u8],
        signature: &[u8],
    ) -> Result<bool, KeyError> {
        check_length(algorithm, digest)?;
        match (&self.secret, algorithm.scheme) {
            (Secret::Oct(key), Scheme::Hmac) => {
                let expected = hmac(key, algorithm, digest)?;
                Ok(expected.len() == signature.len() && openssl::memcmp::eq(&expected, signature))
            }
            (Secret::Rsa(key), Scheme::Pkcs1 | Scheme::Pss | Scheme::Pkcs1Padding) => {
                // RFC 8017, section 8.1.2, step 1. OpenSSL takes a PSS signature without its
                // leading zeros as well.
                if signature.len() != key.size() {
                    return Ok(false);
                }
                let mut context = PkeyCtx::new(key)?;
                context.verify_init()?;
                set_rsa_parameters(&mut context, algorithm)?;
                // OpenSSL reports a signature of the wrong padding as an error; it is just not
                // valid.
                Ok(context.verify(digest, signature).unwrap_or(false))
            }
            (Secret::Ec(curve, key), Scheme::Ecdsa(wanted)) if *curve == wanted => {
                if signature.len() != 2 * curve.field_bytes() {
                    return Ok(false);
                }
                let (r, s) = signature.split_at(curve.field_bytes());
                let signature = EcdsaSig::from_private_components(
                    BigNum::from_slice(r)?,
                    BigNum::from_slice(s)?,
                )?;
                Ok(signature.verify(digest, key).unwrap_or(false))
            }
            _ => Err(KeyError::Incompatible),
        }
    }
}

fn check_length(algorithm: SignatureAlgorithm, digest: &[u8]) -> Result<(), KeyError> {
    match algorithm.digest {
        // No public source has a limit for what is authenticated.
        _ if algorithm.scheme == Scheme::Hmac => Ok(()),
        Some(required) if digest.len() != required.bytes() => {
            Err(KeyError::DigestLength(digest.len()))
        }
        _ => Ok(()),
    }
}

/// RFC 2104, over the value as it was given.
fn hmac(key: &[u8], algorithm: SignatureAlgorithm, value: &[u8]) -> Result<Vec<u8>, KeyError> {
    if key.is_empty() {
        // A stored key that could not be read.
        return Err(KeyError::Incompatible);
    }
    let digest = match algorithm.digest {
        Some(Digest::Sha384) => MessageDigest::sha384(),
        Some(Digest::Sha512) => MessageDigest::sha512(),
        _ => MessageDigest::sha256(),
    };
    if key.len() < digest.size() {
        return Err(KeyError::TooShort(digest.size()));
    }
    let key = PKey::hmac(key)?;
    Ok(Signer::new(digest, &key)?.sign_oneshot_to_vec(value)?)
}

fn set_rsa_parameters(
    context: &mut PkeyCtx<Private>,
    algorithm: SignatureAlgorithm,
) -> Result<(), ErrorStack> {
    let Some(md) = algorithm.digest.map(Digest::md) else {
        return context.set_rsa_padding(Padding::PKCS1);
    };
    if algorithm.scheme == Scheme::Pss {
        context.set_rsa_padding(Padding::PKCS1_PSS)?;
        context.set_signature_md(md)?;
        context.set_rsa_mgf1_md(md)?;
        context.set_rsa_pss_saltlen(RsaPssSaltlen::DIGEST_LENGTH)
    } else {
        context.set_rsa_padding(Padding::PKCS1)?;
        context.set_signature_md(md)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::algorithm::SIGNATURE_ALGORITHMS;

    #[test]
    fn every_algorithm_signs_with_its_key_and_refuses_others() {
        let keys = [
            KeyMaterial::generate_rsa(2048, 65537).unwrap(),
            KeyMaterial::generate_ec(Curve::P256).unwrap(),
            KeyMaterial::generate_ec(Curve::P256K).unwrap(),
            KeyMaterial::generate_ec(Curve::P384).unwrap(),
            KeyMaterial::generate_ec(Curve::P521).unwrap(),
            KeyMaterial::from_oct(vec![7; 64].into()),
        ];
        for algorithm in SIGNATURE_ALGORITHMS {
            let digest = vec![0xa5; algorithm.digest.map_or(36, Digest::bytes)];
            let mut fitting = 0;
            for key in &keys {
                let signature = match key.sign(algorithm, &digest) {
                    Ok(signature) => signature,
                    Err(KeyError::Incompatible) => continue,
                    Err(error) => panic!("{}: {error}", algorithm.name),
                };
                fitting += 1;
                assert!(key.verify(algorithm, &digest, &signature).unwrap());
                let mut forged = signature.clone();
                forged[7] ^= 1;
                assert!(!key.verify(algorithm, &digest, &forged).unwrap());
                assert!(!key.verify(algorithm, &digest, &signature[1..]).unwrap());
                assert!(!key.verify(algorithm, &digest, b"").unwrap());
                assert_eq!(
                    matches!(
                        key.sign(algorithm, &digest[1..]),
                        Err(KeyError::DigestLength(_))
                    ),
                    algorithm.digest.is_some() && algorithm.scheme != Scheme::Hmac
                );
            }
            assert_eq!(fitting, 1, "{}", algorithm.name);
        }
    }

    #[test]
    fn a_mac_needs_a_key_as_long_as_its_digest() {
        for (name, least) in [("HS256", 32), ("HS384", 48), ("HS512", 64)] {
            let algorithm = SignatureAlgorithm::by_name(name).unwrap();
            for len in [16, 24, 32, 48, 64] {
                let key = KeyMaterial::from_oct(vec![1; len].into());
                let made = key.sign(algorithm, b"any message");
                assert_eq!(made.is_ok(), len >= least, "{name} {len}");
            }
        }
    }

    #[test]
    fn rsa_signatures_keep_their_leading_zeros() {
        let key = KeyMaterial::generate_rsa(2048, 65537).unwrap();
        for algorithm in SIGNATURE_ALGORITHMS {
            let Some(digest) = algorithm.digest.map(Digest::bytes) else {
                continue;
            };
            if !matches!(algorithm.scheme, Scheme::Pkcs1 | Scheme::Pss) {
                continue;
            }
            let (value, signature) = (0u32..)
                .map(|number| {
                    let mut value = vec![0; digest];
                    value[..4].copy_from_slice(&number.to_be_bytes());
                    let signature = key.sign(algorithm, &value).unwrap();
                    (value, signature)
                })
                .find(|(_, signature)| signature[0] == 0)
                .expect("one of 256");
            assert_eq!(signature.len(), 256);
            assert!(key.verify(algorithm, &value, &signature).unwrap());
            assert!(!key.verify(algorithm, &value, &signature[1..]).unwrap());
            let longer = [&[0], &signature[..]].concat();
            assert!(!key.verify(algorithm, &value, &longer).unwrap());
        }
    }

    #[test]
    fn stored_keys_come_back_the_same() {
        for key in [
            KeyMaterial::generate_rsa(2048, 3).unwrap(),
            KeyMaterial::generate_ec(Curve::P521).unwrap(),
            KeyMaterial::generate_oct(128).unwrap(),
            KeyMaterial::generate_akp(ParameterSet::MlDsa44).unwrap(),
            KeyMaterial::generate_akp(ParameterSet::MlDsa87).unwrap(),
        ] {
            let bytes = key.to_private_bytes().unwrap();
            let again = KeyMaterial::from_private_bytes(key.kind(), &bytes).unwrap();
            assert_eq!(again.public(), key.public());
            assert_eq!(again.to_private_bytes().unwrap(), bytes);
        }
    }

    #[test]
    fn an_imported_point_off_its_scalar_is_refused() {
        let key = KeyMaterial::generate_ec(Curve::P256).unwrap();
        let Secret::Ec(_, ec) = &key.secret else {
            panic!("an EC key")
        };
        let PublicMembers::Ec { x, y, .. } = key.public() else {
            panic!("an EC key")
        };
        let decode = |text| crate::algorithm::decode_base64url(text).unwrap();
        let (x, y, d) = (decode(x), decode(y), ec.private_key().to_vec());
        KeyMaterial::import_ec(Curve::P256, &x, &y, &d).unwrap();
        assert!(KeyMaterial::import_ec(Curve::P256, &x, &y, &[1]).is_err());
        assert!(KeyMaterial::import_ec(Curve::P256, &y, &x, &d).is_err());
        assert!(KeyMaterial::import_ec(Curve::P384, &x, &y, &d).is_err());
    }
}
