//! Signatures made in the HSM, and checked here before anybody gets them.

use std::borrow::Cow;

use managed_hsm::{Client, KeyOperation, SignatureAlgorithm};

use crate::der;
use crate::digest_info;
use crate::error::Error;
use crate::key::{HsmKey, Key};
use crate::public_key::PublicKey;
use crate::rsa::RsaPublicKey;
use crate::scheme::Scheme;
use crate::verification::verify_raw;

/// How an answer of the HSM is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    /// It must be a signature by the key, as its public part tells.
    Signature,
    /// It must only have the length of one.
    LengthOnly,
}

/// A signature as the HSM gives it: for ECDSA r‖s, each of the length of a coordinate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawSignature {
    bytes: Vec<u8>,
    is_ecdsa: bool,
}

impl RawSignature {
    /// The signature as it is.
    pub fn into_raw(self) -> Vec<u8> {
        self.bytes
    }

    /// The signature as X.509 has it: for ECDSA an `ECDSA-Sig-Value` in DER, else as it is.
    pub fn into_der(self) -> Vec<u8> {
        match self.is_ecdsa {
            true => der::ecdsa_signature(&self.bytes),
            false => self.bytes,
        }
    }
}

/// Has the HSM sign `value`, a digest (or whatever the scheme pads), or μ of ML-DSA. The first
/// signature with a key of a key file is always checked: it proves that the public part in the file
/// is the key's.
///
/// # Errors
/// The key or the scheme can't do this, the request failed, or the answer did not pass the check.
pub fn sign(
    client: &Client,
    key: &Key,
    scheme: &Scheme,
    value: &[u8],
    check: Check,
) -> Result<RawSignature, Error> {
    let (algorithm, value) = request(&key.public, scheme, value)?;
    let hsm = key.private(KeyOperation::Sign)?;
    let bytes = client
        .sign(&hsm.id, algorithm, &value)
        .map_err(|error| refusal(hsm, &key.public, algorithm, error))?;
    let check = || checked(key, algorithm, &value, bytes, check);
    scheme.with_room(|| client.has_room(), check)?
}

/// What the HSM is asked for: the algorithm, and the value in the length that it takes.
fn request<'a>(
    public: &PublicKey,
    scheme: &Scheme,
    value: &'a [u8],
) -> Result<(SignatureAlgorithm, Cow<'a, [u8]>), Error> {
    let algorithm = scheme.algorithm(public)?;
    scheme.check_value(value)?;
    match (algorithm, public) {
        (SignatureAlgorithm::RsNull, PublicKey::Rsa(rsa)) => padded_only(rsa, value),
        (_, PublicKey::Ec(ec)) => Ok((algorithm, ec.fit(value)?.into())),
        _ => Ok((algorithm, value.into())),
    }
}

/// Bytes that no digest is named for. A DigestInfo of a hash function that the HSM knows comes to
/// the same as the digest in it.
fn padded_only<'a>(
    rsa: &RsaPublicKey,
    value: &'a [u8],
) -> Result<(SignatureAlgorithm, Cow<'a, [u8]>), Error> {
    if let Some((digest, value)) = digest_info::parse(value)
        && let Some((pkcs1, _)) = digest.rsa
    {
        return Ok((pkcs1, value.into()));
    }
    let most = rsa.len().saturating_sub(11);
    match value.len() > most {
        true => Err(Error::NoRoom {
            got: value.len(),
            most,
        }),
        false => Ok((SignatureAlgorithm::RsNull, value.into())),
    }
}

fn refusal(
    hsm: &HsmKey,
    public: &PublicKey,
    algorithm: SignatureAlgorithm,
    error: managed_hsm::Error,
) -> Error {
    match (algorithm, error) {
        (SignatureAlgorithm::RsNull, cause @ managed_hsm::Error::Service { status: 400, .. }) => {
            Error::NoRawSignatures(Box::new(cause))
        }
        (_, other) => hsm.refusal(public, other),
    }
}

/// Refuses an answer of the HSM that isn't a signature by the key.
fn checked(
    key: &Key,
    algorithm: SignatureAlgorithm,
    value: &[u8],
    bytes: Vec<u8>,
    check: Check,
) -> Result<RawSignature, Error> {
    let unproven = key.hsm.as_ref().filter(|hsm| !hsm.is_proven());
    let wrong = |problem: String| {
        Err(match unproven {
            Some(hsm) => hsm.disproved(format!("of the HSM's signature: {problem}")),
            None => Error::WrongSignature {
                key: key.id().map(ToString::to_string).unwrap_or_default(),
                problem,
            },
        })
    };
    let (expected, got) = (key.public.raw_signature_len(), bytes.len());
    if got != expected {
        return wrong(format!("it has {got} bytes instead of {expected}"));
    }
    if check == Check::Signature || unproven.is_some() {
        if !verify_raw(&key.public, &Scheme::of(algorithm), value, &bytes)? {
            return wrong("it does not verify with the key's public part".to_owned());
        }
        if let Some(hsm) = unproven {
            hsm.set_proven();
        }
    }
    Ok(RawSignature {
        bytes,
        is_ecdsa: matches!(key.public, PublicKey::Ec(_)),
    })
}

#[cfg(test)]
mod tests {
    use managed_hsm::Curve;

    use super::*;
    use crate::curve::EcCurve;
    use crate::digest::{DIGESTS, Digest};
    use crate::scheme::SaltLen;
    use crate::testdata::{MESSAGE, bytes, key};

    fn digest(name: &str) -> &'static Digest {
        Digest::by_name(name).unwrap()
    }

    #[test]
    fn the_hsm_is_asked_for_the_algorithm_of_padding_and_digest() {
        let rsa = key(2048, 65537);
        for digest in DIGESTS {
            let value = digest.of(MESSAGE);
            let pkcs1 = Scheme::Pkcs1 {
                digest: Some(digest),
            };
            let pss = Scheme::Pss {
                digest,
                mgf1: digest,
                salt_len: SaltLen::Any,
            };
            match digest.rsa {
                Some((rs, ps)) => {
                    for (scheme, algorithm) in [(pkcs1, rs), (pss, ps)] {
                        let asked = request(&rsa, &scheme, &value).unwrap();
                        assert_eq!(asked, (algorithm, Cow::from(&*value)));
                    }
                }
                None => {
                    for scheme in [pkcs1, pss] {
                        let error = request(&rsa, &scheme, &value).unwrap_err();
                        assert!(matches!(error, Error::RsaDigest(_)), "{error}");
                    }
                }
            }
        }
    }

    #[test]
    fn salts_and_masks_that_the_hsm_does_not_have_are_refused() {
        let rsa = key(2048, 65537);
        let asked = |mgf1, salt_len| {
            let scheme = Scheme::Pss {
                digest: digest("SHA256"),
                mgf1: digest(mgf1),
                salt_len,
            };
            request(&rsa, &scheme, &[0; 32]).map(|(algorithm, _)| algorithm)
        };
        for salt_len in [SaltLen::Any, SaltLen::Digest, SaltLen::Bytes(32)] {
            let algorithm = asked("SHA256", salt_len).unwrap();
            assert_eq!(algorithm, SignatureAlgorithm::Ps256);
        }
        for (salt_len, words) in [
            (SaltLen::Bytes(20), "a PSS salt of 20 bytes"),
            (
                SaltLen::Longest,
                "a PSS salt of the greatest possible length",
            ),
        ] {
            let error = asked("SHA256", salt_len).unwrap_err().to_string();
            assert!(error.starts_with(words), "{error}");
        }
        let error = asked("SHA1", SaltLen::Digest).unwrap_err();
        assert!(matches!(error, Error::Mgf1Digest { .. }), "{error}");
        let bare = request(&rsa, &Scheme::Bare, &[0; 256]);
        assert!(matches!(bare, Err(Error::BareSignature)));
    }

    #[test]
    fn a_digest_info_is_signed_as_its_digest_and_other_bytes_as_they_are() {
        let rsa = key(2048, 65537);
        let padded_only = Scheme::Pkcs1 { digest: None };
        for digest in DIGESTS {
            let value = digest.of(MESSAGE);
            let info = digest_info::encode(digest, &value);
            let (algorithm, asked) = request(&rsa, &padded_only, &info).unwrap();
            match digest.rsa {
                Some((rs, _)) => assert_eq!((algorithm, &*asked), (rs, &*value)),
                None => assert_eq!(
                    (algorithm, &*asked),
                    (SignatureAlgorithm::RsNull, &info[..])
                ),
            }
        }
        for len in [0, 1, 245] {
            let (algorithm, _) = request(&rsa, &padded_only, &vec![1; len]).unwrap();
            assert_eq!(algorithm, SignatureAlgorithm::RsNull);
        }
        let error = request(&rsa, &padded_only, &[1; 246]).unwrap_err();
        assert!(
            matches!(
                error,
                Error::NoRoom {
                    got: 246,
                    most: 245
                }
            ),
            "{error}"
        );
    }

    #[test]
    fn a_digest_is_fitted_to_the_curve() {
        let any = Scheme::Ecdsa { digest: None };
        for (curve, algorithm, len) in [
            (Curve::P256, SignatureAlgorithm::Es256, 32),
            (Curve::P256K, SignatureAlgorithm::Es256K, 32),
            (Curve::P384, SignatureAlgorithm::Es384, 48),
            (Curve::P521, SignatureAlgorithm::Es512, 64),
        ] {
            let curve = EcCurve::of(curve);
            let public = PublicKey::ec(curve, curve.generator).unwrap();
            let short = request(&public, &any, &[9; 20]).unwrap();
            let expected = [vec![0; len - 20], vec![9; 20]].concat();
            assert_eq!(short, (algorithm, expected.into()));
            let longer = request(&public, &any, &[9; 65]);
            assert_eq!(longer.is_ok(), len < 64, "{curve:?}");
        }
    }

    #[test]
    fn an_answer_that_is_no_signature_by_the_key_is_refused() {
        let value = digest("SHA256").of(MESSAGE);
        let good = bytes("pkcs1-sha256-2048-65537");
        let mut damaged = good.clone();
        damaged[100] ^= 1;
        let key = Key::from(key(2048, 65537));
        let answered = |bytes: &[u8], check| {
            checked(
                &key,
                SignatureAlgorithm::Rs256,
                &value,
                bytes.to_vec(),
                check,
            )
        };
        for check in [Check::Signature, Check::LengthOnly] {
            let signature = answered(&good, check).unwrap();
            assert_eq!(signature.clone().into_raw(), good);
            assert_eq!(signature.into_der(), good);
            for wrong in [&good[1..], &[&good[..], &[0]].concat(), &[]] {
                let error = answered(wrong, check).unwrap_err().to_string();
                assert!(error.contains("bytes instead of 256"), "{error}");
            }
        }
        let another = bytes("pkcs1-sha512");
        for wrong in [&damaged, &another] {
            let error = answered(wrong, Check::Signature).unwrap_err().to_string();
            assert!(error.contains("it does not verify"), "{error}");
            assert!(answered(wrong, Check::LengthOnly).is_ok());
        }
        let padded_only = SignatureAlgorithm::RsNull;
        let hello = bytes("pkcs1-hello");
        let check = |value: &[u8]| {
            checked(&key, padded_only, value, hello.clone(), Check::Signature).is_ok()
        };
        assert!(check(b"hello") && !check(b"hallo"));
    }

    #[test]
    fn a_pair_of_numbers_becomes_der() {
        let mut bytes = vec![0; 64];
        bytes[30..32].copy_from_slice(&[0x80, 1]);
        bytes[63] = 5;
        let raw = RawSignature {
            bytes: bytes.clone(),
            is_ecdsa: true,
        };
        assert_eq!(raw.clone().into_raw(), bytes);
        assert_eq!(raw.into_der(), [0x30, 8, 2, 3, 0, 0x80, 1, 2, 1, 5]);
    }
}
