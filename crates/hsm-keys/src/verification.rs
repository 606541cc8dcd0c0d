//! Signatures checked here, with the public key alone. The HSM is never asked.

use crate::der;
use crate::digest::Digest;
use crate::digest_info;
use crate::error::Error;
use crate::public_key::PublicKey;
use crate::rsa::{self, RsaPublicKey};
use crate::scheme::{SaltLen, Scheme};

/// Whether `signature` is the key's over `value`, which is what [`sign`](crate::sign) takes. One of
/// ECDSA is an `ECDSA-Sig-Value` in DER.
///
/// # Errors
/// The key is of another type, or the value is no digest of the hash function that is named.
pub fn verify(
    public: &PublicKey,
    scheme: &Scheme,
    value: &[u8],
    signature: &[u8],
) -> Result<bool, Error> {
    match public {
        PublicKey::Ec(ec) => {
            match der::parse_ecdsa_signature(signature, ec.curve.coordinate_len) {
                Some(raw) => verify_raw(public, scheme, value, &raw),
                // For the errors that there may be.
                None => verify_raw(public, scheme, value, &[]),
            }
        }
        _ => verify_raw(public, scheme, value, signature),
    }
}

/// The same where a signature of ECDSA is r‖s.
///
/// # Errors
/// As [`verify`].
pub fn verify_raw(
    public: &PublicKey,
    scheme: &Scheme,
    value: &[u8],
    signature: &[u8],
) -> Result<bool, Error> {
    match (scheme, public) {
        (Scheme::Ecdsa { .. }, PublicKey::Ec(ec)) => {
            scheme.check_value(value)?;
            Ok(ec.verify_fixed(&ec.fit(value)?, signature))
        }
        (Scheme::MlDsa(set), PublicKey::MlDsa(key)) if key.set == *set => {
            scheme.check_value(value)?;
            Ok(key.verify_mu(value, signature))
        }
        (Scheme::Ecdsa { .. } | Scheme::MlDsa(_), _)
        | (_, PublicKey::Ec(_) | PublicKey::MlDsa(_) | PublicKey::Aes) => {
            Err(scheme.wrong_key(public))
        }
        (_, PublicKey::Rsa(rsa)) => {
            scheme.check_value(value)?;
            Ok(verify_rsa(rsa, scheme, value, signature))
        }
    }
}

fn verify_rsa(public: &RsaPublicKey, scheme: &Scheme, value: &[u8], signature: &[u8]) -> bool {
    match *scheme {
        Scheme::Ecdsa { .. } | Scheme::MlDsa(_) => false,
        Scheme::Bare => public.recover(signature).as_deref() == Some(value),
        Scheme::Pkcs1 { digest: None } => public.verify_pkcs1(value, signature),
        Scheme::Pkcs1 {
            digest: Some(digest),
        } => digest
            .rsa
            .and_then(|(pkcs1, _)| public.verify_by(pkcs1, value, signature))
            .unwrap_or_else(|| public.verify_pkcs1(&digest_info::encode(digest, value), signature)),
        Scheme::Pss {
            digest,
            mgf1,
            salt_len,
        } => {
            let salt_len = match salt_len {
                SaltLen::Any => None,
                SaltLen::Digest => Some(digest.len),
                SaltLen::Longest => Some(longest_salt(public, digest)),
                SaltLen::Bytes(len) => Some(len),
            };
            // The library knows what the HSM knows, and is faster.
            digest
                .rsa
                .filter(|_| mgf1 == digest && salt_len == Some(digest.len))
                .and_then(|(_, pss)| public.verify_by(pss, value, signature))
                .unwrap_or_else(|| public.verify_pss(digest, mgf1, salt_len, value, signature))
        }
    }
}

fn longest_salt(public: &RsaPublicKey, digest: &Digest) -> usize {
    ((public.bits() - 1).div_ceil(8)).saturating_sub(digest.len + 2)
}

/// What an RSA signature was made of: the digest where one is named (its `DigestInfo` is checked
/// and taken off), else all that the padding holds.
///
/// # Errors
/// The signature holds no such thing, or is by another key.
pub fn recover(public: &PublicKey, scheme: &Scheme, signature: &[u8]) -> Result<Vec<u8>, Error> {
    let not_recovered = |problem: &str| Error::NotRecovered(problem.to_owned());
    let PublicKey::Rsa(rsa) = public else {
        return Err(scheme.wrong_key(public));
    };
    let block = rsa
        .recover(signature)
        .ok_or_else(|| not_recovered("it is not as long as the key, or not below its modulus"))?;
    let digest = match scheme {
        Scheme::Bare => return Ok(block),
        Scheme::Pkcs1 { digest } => digest,
        Scheme::Ecdsa { .. } | Scheme::Pss { .. } | Scheme::MlDsa(_) => {
            return Err(not_recovered("it holds nothing of what was signed"));
        }
    };
    let message =
        rsa::unpad_pkcs1(&block).ok_or_else(|| not_recovered("its padding is not PKCS#1 v1.5"))?;
    let Some(digest) = digest else {
        return Ok(message.to_vec());
    };
    match digest_info::parse(message) {
        Some((found, value)) if found == *digest => Ok(value.to_vec()),
        _ => Err(not_recovered(&format!(
            "it holds no DigestInfo of {}",
            digest.name()
        ))),
    }
}

#[cfg(test)]
mod tests {
    use managed_hsm::Curve;

    use super::*;
    use crate::curve::EcCurve;
    use crate::testdata::{MESSAGE, bytes, key};

    fn digest(name: &str) -> &'static Digest {
        Digest::by_name(name).unwrap()
    }

    fn pkcs1(name: &str) -> Scheme {
        Scheme::Pkcs1 {
            digest: Some(digest(name)),
        }
    }

    fn pss(name: &str, mgf1: &str, salt_len: SaltLen) -> Scheme {
        Scheme::Pss {
            digest: digest(name),
            mgf1: digest(mgf1),
            salt_len,
        }
    }

    /// Whether a signature of the test data verifies over the message.
    fn verifies(public: &PublicKey, scheme: &Scheme, signature: &[u8]) -> bool {
        let value = scheme.digest().unwrap().of(MESSAGE);
        let is_valid = verify(public, scheme, &value, signature).unwrap();
        assert_eq!(
            verify_raw(public, scheme, &value, signature).unwrap(),
            is_valid
        );
        let other = scheme.digest().unwrap().of(b"another message");
        assert!(!verify(public, scheme, &other, signature).unwrap());
        is_valid
    }

    #[test]
    fn signatures_of_every_kind_by_openssl_verify_and_damaged_ones_do_not() {
        use SaltLen::{Any, Bytes, Digest, Longest};
        let mut cases = vec![
            (2048, 65537, pkcs1("SHA1"), "pkcs1-sha1".to_owned()),
            (2048, 65537, pkcs1("SHA512"), "pkcs1-sha512".to_owned()),
            (
                2048,
                65537,
                pkcs1("SHA512-256"),
                "pkcs1-sha512-256".to_owned(),
            ),
            (
                2048,
                65537,
                pss("SHA256", "SHA256", Bytes(0)),
                "pss-sha256-0".to_owned(),
            ),
            (
                2048,
                65537,
                pss("SHA512", "SHA512", Bytes(64)),
                "pss-sha512-64".to_owned(),
            ),
            (
                2048,
                65537,
                pss("SHA256", "SHA1", Bytes(20)),
                "pss-sha256-mgf1-sha1-20".to_owned(),
            ),
        ];
        for (bits, e) in [(2048, 65537), (2048, 3), (2050, 65537)] {
            let name = |kind| format!("{kind}-{bits}-{e}");
            cases.push((bits, e, pkcs1("SHA256"), name("pkcs1-sha256")));
            for salt_len in [Any, Digest, Bytes(32)] {
                let scheme = pss("SHA256", "SHA256", salt_len);
                cases.push((bits, e, scheme, name("pss-sha256-digest")));
            }
            for salt_len in [Any, Longest] {
                let scheme = pss("SHA256", "SHA256", salt_len);
                cases.push((bits, e, scheme, name("pss-sha256-max")));
            }
        }
        for (bits, e, scheme, name) in cases {
            let (public, signature) = (key(bits, e), bytes(&name));
            assert!(verifies(&public, &scheme, &signature), "{name} {scheme:?}");
            for at in [0, 1, 100, signature.len() - 1] {
                let mut damaged = signature.clone();
                damaged[at] ^= 1;
                assert!(!verifies(&public, &scheme, &damaged), "{name} {at}");
            }
            let longer = [&[0], &signature[..]].concat();
            for refused in [&[][..], &signature[1..], &longer] {
                assert!(!verifies(&public, &scheme, refused), "{name}");
            }
        }
    }

    #[test]
    fn a_signature_of_another_scheme_key_or_salt_is_none() {
        let public = key(2048, 65537);
        let (padded, salted) = (bytes("pkcs1-sha256-2048-65537"), bytes("pss-sha256-0"));
        let (rs, ps) = (pkcs1("SHA256"), |salt_len| {
            pss("SHA256", "SHA256", salt_len)
        });
        assert!(!verifies(&public, &rs, &salted));
        for salt_len in [SaltLen::Any, SaltLen::Digest] {
            assert!(!verifies(&public, &ps(salt_len), &padded));
        }
        assert!(verifies(&public, &ps(SaltLen::Any), &salted));
        for salt_len in [SaltLen::Digest, SaltLen::Longest, SaltLen::Bytes(1)] {
            assert!(!verifies(&public, &ps(salt_len), &salted), "{salt_len:?}");
        }
        let mgf1 = bytes("pss-sha256-mgf1-sha1-20");
        assert!(!verifies(&public, &ps(SaltLen::Any), &mgf1));
        assert!(!verifies(&key(2048, 3), &rs, &padded));
        assert!(!verifies(&key(2050, 65537), &rs, &padded));
        assert!(!verifies(&public, &pkcs1("SHA3-256"), &padded));
    }

    #[test]
    fn bytes_without_a_digest_are_verified_as_they_are() {
        let public = key(2048, 65537);
        let padded_only = Scheme::Pkcs1 { digest: None };
        let hello = bytes("pkcs1-hello");
        assert!(verify(&public, &padded_only, b"hello", &hello).unwrap());
        for other in [&b""[..], b"hell", b"hello\0", &[0; 250], &[0; 256]] {
            assert!(!verify(&public, &padded_only, other, &hello).unwrap());
        }
        let info = digest_info::encode(digest("SHA256"), &digest("SHA256").of(MESSAGE));
        let signature = bytes("pkcs1-sha256-2048-65537");
        assert!(verify(&public, &padded_only, &info, &signature).unwrap());
        let block = [&[0][..], &[b'Z'; 255]].concat();
        let bare = bytes("bare-block");
        assert!(verify(&public, &Scheme::Bare, &block, &bare).unwrap());
        assert!(!verify(&public, &Scheme::Bare, &block[1..], &bare).unwrap());
        assert!(!verify(&public, &Scheme::Bare, b"", &bare).unwrap());
        assert!(!verify(&public, &Scheme::Bare, b"", b"").unwrap());
    }

    #[test]
    fn a_value_that_is_no_digest_and_a_key_of_another_type_are_errors() {
        let rsa = key(2048, 65537);
        let curve = EcCurve::of(Curve::P256);
        let ec = PublicKey::ec(curve, curve.generator).unwrap();
        let ecdsa = Scheme::Ecdsa {
            digest: Some(digest("SHA256")),
        };
        for (public, scheme) in [
            (&rsa, pkcs1("SHA256")),
            (&rsa, pss("SHA256", "SHA256", SaltLen::Any)),
            (&ec, ecdsa),
        ] {
            for len in [0, 31, 33, 64] {
                let error = verify(public, &scheme, &vec![0; len], &[0; 256]).unwrap_err();
                let expected = Error::DigestLength {
                    digest: "SHA256",
                    expected: 32,
                    got: len,
                };
                assert_eq!(error.to_string(), expected.to_string());
            }
        }
        for (public, scheme) in [
            (&rsa, ecdsa),
            (&ec, pkcs1("SHA256")),
            (&ec, Scheme::Bare),
            (&PublicKey::Aes, ecdsa),
            (&PublicKey::Aes, pkcs1("SHA256")),
        ] {
            let error = verify(public, &scheme, &[0; 32], &[0; 256]).unwrap_err();
            assert!(matches!(error, Error::WrongKeyType { .. }), "{error}");
        }
    }

    #[test]
    fn what_was_signed_is_recovered_from_padding_that_holds_it() {
        let public = key(2048, 65537);
        let recovered = |scheme: &Scheme, name: &str| recover(&public, scheme, &bytes(name));
        let padded_only = Scheme::Pkcs1 { digest: None };
        let value = digest("SHA256").of(MESSAGE).to_vec();
        let info = digest_info::encode(digest("SHA256"), &value);
        let signature = "pkcs1-sha256-2048-65537";
        assert_eq!(recovered(&pkcs1("SHA256"), signature).unwrap(), value);
        assert_eq!(recovered(&padded_only, signature).unwrap(), info);
        assert_eq!(recovered(&padded_only, "pkcs1-hello").unwrap(), b"hello");
        assert_eq!(recovered(&Scheme::Bare, "bare-block").unwrap().len(), 256);
        for (scheme, name, words) in [
            (pkcs1("SHA1"), signature, "no DigestInfo of SHA1"),
            (pkcs1("SHA256"), "pkcs1-hello", "no DigestInfo"),
            (padded_only, "pss-sha256-0", "its padding is not"),
            (
                pss("SHA256", "SHA256", SaltLen::Any),
                "pss-sha256-0",
                "nothing of what",
            ),
            (padded_only, "modulus-2048-65537", "not below its modulus"),
        ] {
            let error = recovered(&scheme, name).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
        assert!(recover(&PublicKey::Aes, &padded_only, &[]).is_err());
    }

    #[test]
    fn ecdsa_takes_a_digest_of_any_length_unless_one_is_named() {
        use aws_lc_rs::rand::SystemRandom;
        use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};

        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        let curve = EcCurve::of(Curve::P256);
        let public = PublicKey::ec(curve, pair.public_key().as_ref()).unwrap();
        let raw = pair.sign(&SystemRandom::new(), MESSAGE).unwrap();
        let (raw, value) = (raw.as_ref(), digest("SHA256").of(MESSAGE));
        let any = Scheme::Ecdsa { digest: None };
        assert!(verify_raw(&public, &any, &value, raw).unwrap());
        assert!(verify(&public, &any, &value, &der::ecdsa_signature(raw)).unwrap());
        // Each form for itself.
        assert!(!verify(&public, &any, &value, raw).unwrap());
        let encoded = der::ecdsa_signature(raw);
        assert!(!verify_raw(&public, &any, &value, &encoded).unwrap());
        // What lies beyond the leftmost bits does not count.
        let longer = [&value[..], &[1, 2, 3]].concat();
        assert!(verify_raw(&public, &any, &longer, raw).unwrap());
        assert!(!verify_raw(&public, &any, &value[1..], raw).unwrap());
    }

    /// The library takes the digests that the HSM takes. That says nothing of a signature.
    #[test]
    fn a_digest_that_counts_for_more_than_the_library_takes_is_an_error() {
        use aws_lc_rs::signature::{ECDSA_P521_SHA512_FIXED_SIGNING, EcdsaKeyPair, KeyPair};

        let pair = EcdsaKeyPair::generate(&ECDSA_P521_SHA512_FIXED_SIGNING).unwrap();
        let public = PublicKey::ec(EcCurve::of(Curve::P521), pair.public_key().as_ref()).unwrap();
        let any = Scheme::Ecdsa { digest: None };
        let of = |len| verify_raw(&public, &any, &vec![1; len], &[1; 132]);
        assert!(!of(64).unwrap());
        for len in [65, 66, 100] {
            let refused = of(len);
            assert!(
                matches!(refused, Err(Error::TooLongForCurve { got, most: 64, .. }) if got == len),
                "{refused:?}"
            );
        }
    }
}
