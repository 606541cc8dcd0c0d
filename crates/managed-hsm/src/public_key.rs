//! Public keys, from the service or from a program. One that is here was checked: it may be shown,
//! handed on, and verified with.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256K1_SHA256_FIXED, ECDSA_P384_SHA384_FIXED,
    ECDSA_P521_SHA512_FIXED, ParsedPublicKey, VerificationAlgorithm,
};

use crate::key::Curve;
use crate::ml_dsa::ParameterSet;
use crate::number::{self, minimal};

/// The public part of a key. Made by [`PublicKey::rsa`], [`PublicKey::ec`] and
/// [`PublicKey::ml_dsa`] only, which check it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PublicKey {
    /// An RSA key: modulus and public exponent, most significant byte first, without leading zeros.
    #[non_exhaustive]
    Rsa {
        /// Modulus.
        n: Vec<u8>,
        /// Public exponent.
        e: Vec<u8>,
    },
    /// A point, each coordinate of the curve's length.
    #[non_exhaustive]
    Ec {
        /// The curve.
        curve: Curve,
        /// x coordinate.
        x: Vec<u8>,
        /// y coordinate.
        y: Vec<u8>,
    },
    /// A key of ML-DSA.
    #[non_exhaustive]
    MlDsa {
        /// The parameter set.
        set: ParameterSet,
        /// The key as FIPS 204 encodes it (algorithm 22).
        key: Vec<u8>,
    },
    /// A symmetric key, which has no public part.
    Oct,
}

/// Why numbers are no public key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PublicKeyError {
    /// The modulus is too short to be safe, or too long to be worked with.
    #[error("the modulus has {0} bits instead of 2048 to 16384")]
    ModulusLength(usize),
    /// A product of two large primes is odd.
    #[error("the modulus is even")]
    EvenModulus,
    /// The public exponent is 1 or even, or has more than 64 bits.
    #[error("the public exponent is not an odd number from 3 on, of 64 bits at most")]
    Exponent,
    /// The coordinates are not below the field's prime, or don't fulfil the curve's equation.
    #[error("the coordinates are no point of the curve {}", .0.jwk_name())]
    NotOnCurve(Curve),
    /// Each parameter set has public keys of one length, and every value of them is one.
    #[error("a public key of {set} has {} bytes, {got} were given", set.public_key_len())]
    MlDsaLength {
        /// The parameter set.
        set: ParameterSet,
        /// The length of what was given, in bytes.
        got: usize,
    },
}

/// Lengths of a modulus, in bits. The service makes 2048 to 4096; OpenSSL verifies with no longer
/// ones.
const MODULUS_BITS: std::ops::RangeInclusive<usize> = 2048..=16384;

impl PublicKey {
    /// An RSA key, from numbers with the most significant byte first.
    ///
    /// # Errors
    /// The numbers are no public key: [`PublicKeyError`] says why.
    pub fn rsa(n: Vec<u8>, e: Vec<u8>) -> Result<Self, PublicKeyError> {
        let (n, e) = (minimal(&n).to_vec(), minimal(&e).to_vec());
        let bits = n.len() * 8 - n.first().map_or(0, |byte| byte.leading_zeros() as usize);
        if !MODULUS_BITS.contains(&bits) {
            return Err(PublicKeyError::ModulusLength(bits));
        }
        if !is_odd(&n) {
            return Err(PublicKeyError::EvenModulus);
        }
        if !is_odd(&e) || e == [1] || e.len() > 8 {
            return Err(PublicKeyError::Exponent);
        }
        Ok(Self::Rsa { n, e })
    }

    /// A point of a curve, from coordinates with the most significant byte first.
    ///
    /// # Errors
    /// The coordinates are no point of the curve.
    pub fn ec(curve: Curve, x: Vec<u8>, y: Vec<u8>) -> Result<Self, PublicKeyError> {
        let no_point = || PublicKeyError::NotOnCurve(curve);
        let padded = |coordinate: Vec<u8>| {
            let padded = number::padded(&coordinate, curve.coordinate_len())?;
            Some(padded.to_vec())
        };
        let (x, y) = padded(x).zip(padded(y)).ok_or_else(no_point)?;
        let point = [&[4], &x[..], &y].concat();
        // The library looks at range and equation. The point at infinity has no coordinates.
        ParsedPublicKey::new(verification(curve), point).map_err(|_| no_point())?;
        Ok(Self::Ec { curve, x, y })
    }

    /// A key of ML-DSA, as FIPS 204 encodes it.
    ///
    /// # Errors
    /// It has the length of another parameter set's, or of none's.
    pub fn ml_dsa(set: ParameterSet, key: Vec<u8>) -> Result<Self, PublicKeyError> {
        match key.len() == set.public_key_len() {
            true => Ok(Self::MlDsa { set, key }),
            false => Err(PublicKeyError::MlDsaLength {
                set,
                got: key.len(),
            }),
        }
    }
}

fn verification(curve: Curve) -> &'static dyn VerificationAlgorithm {
    match curve {
        Curve::P256 => &ECDSA_P256_SHA256_FIXED,
        Curve::P384 => &ECDSA_P384_SHA384_FIXED,
        Curve::P521 => &ECDSA_P521_SHA512_FIXED,
        Curve::P256K => &ECDSA_P256K1_SHA256_FIXED,
    }
}

fn is_odd(number: &[u8]) -> bool {
    number.last().is_some_and(|byte| byte & 1 == 1)
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P256K1_SHA256_FIXED_SIGNING,
        ECDSA_P384_SHA384_FIXED_SIGNING, ECDSA_P521_SHA512_FIXED_SIGNING, EcdsaKeyPair, KeyPair,
    };

    use super::*;

    fn point(curve: Curve) -> (Vec<u8>, Vec<u8>) {
        let algorithm = match curve {
            Curve::P256 => &ECDSA_P256_SHA256_FIXED_SIGNING,
            Curve::P384 => &ECDSA_P384_SHA384_FIXED_SIGNING,
            Curve::P521 => &ECDSA_P521_SHA512_FIXED_SIGNING,
            Curve::P256K => &ECDSA_P256K1_SHA256_FIXED_SIGNING,
        };
        let pair = EcdsaKeyPair::generate(algorithm).unwrap();
        let (x, y) = pair.public_key().as_ref()[1..].split_at(curve.coordinate_len());
        (x.to_vec(), y.to_vec())
    }

    #[test]
    fn points_are_on_their_curve() {
        for curve in Curve::ALL {
            let (x, y) = point(curve);
            assert!(PublicKey::ec(curve, x.clone(), y.clone()).is_ok());
            let len = curve.coordinate_len();
            let longer = [&[0; 5][..], &x].concat();
            assert!(PublicKey::ec(curve, longer, y.clone()).is_ok());
            let mut off = y.clone();
            off[len - 1] ^= 1;
            let zero = vec![0; len];
            let largest = vec![0xff; len];
            for (x, y) in [
                (x.clone(), off),
                (y.clone(), x.clone()),
                (zero.clone(), zero.clone()),
                (vec![], vec![]),
                (largest.clone(), y.clone()),
                (x.clone(), largest),
                ([&[1], &x[..]].concat(), y),
            ] {
                let refused = PublicKey::ec(curve, x, y);
                assert_eq!(refused, Err(PublicKeyError::NotOnCurve(curve)));
            }
            // Another curve's.
            for other in Curve::ALL.into_iter().filter(|other| *other != curve) {
                let (x, y) = point(other);
                assert!(PublicKey::ec(curve, x, y).is_err());
            }
        }
    }

    #[test]
    fn rsa_keys_have_a_long_odd_modulus_and_an_odd_exponent() {
        let modulus = |bits: usize, last: u8| {
            let mut n = vec![0xff; bits.div_ceil(8)];
            n[0] >>= n.len() * 8 - bits;
            *n.last_mut().unwrap() = last;
            n
        };
        let good = |n: Vec<u8>, e: &[u8]| PublicKey::rsa(n, e.to_vec());
        let f4: &[u8] = &[1, 0, 1];
        for bits in [2048, 3072, 4096, 16384] {
            assert!(good(modulus(bits, 1), f4).is_ok());
        }
        for bits in [0, 512, 1024, 2047, 16385] {
            let n = if bits == 0 {
                vec![0; 256]
            } else {
                modulus(bits, 1)
            };
            assert_eq!(good(n, f4), Err(PublicKeyError::ModulusLength(bits)));
        }
        assert_eq!(good(modulus(2048, 2), f4), Err(PublicKeyError::EvenModulus));
        for e in [&[][..], &[0], &[1], &[0, 1], &[2], &[1, 0, 0], &[1; 9]] {
            assert_eq!(good(modulus(2048, 1), e), Err(PublicKeyError::Exponent));
        }
        assert!(good(modulus(2048, 1), &[0, 3]).is_ok());
    }
}
