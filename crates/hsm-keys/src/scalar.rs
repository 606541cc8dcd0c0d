//! Private keys of curves, on their way into the HSM: the service wants the public part as well,
//! which files and programs don't always have.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P256K1_SHA256_FIXED_SIGNING,
    ECDSA_P384_SHA384_FIXED_SIGNING, ECDSA_P521_SHA512_FIXED_SIGNING, EcdsaKeyPair,
    EcdsaSigningAlgorithm, KeyPair,
};
use managed_hsm::{Curve, SecretBytes, number};

use crate::curve::EcCurve;
use crate::der;

/// An EC key pair.
#[derive(Clone, Debug)]
pub struct EcPair {
    /// The scalar, as long as a coordinate.
    pub d: SecretBytes,
    /// The coordinates of its point.
    pub x: Vec<u8>,
    /// As `x`.
    pub y: Vec<u8>,
}

impl EcPair {
    /// The pair of a scalar, with or without leading zeros. None: it is none of the curve.
    pub fn of_scalar(curve: &EcCurve, scalar: &[u8]) -> Option<Self> {
        let d = number::padded(scalar, curve.coordinate_len)?;
        let point = point(curve, &d)?;
        let (x, y) = point.get(1..)?.split_at(curve.coordinate_len);
        let (x, y) = (x.to_vec(), y.to_vec());
        Some(Self { d, x, y })
    }
}

/// The point that belongs to a scalar: 4, x, y. None: the scalar is none of the curve.
fn point(curve: &EcCurve, scalar: &[u8]) -> Option<Vec<u8>> {
    const EC_PUBLIC_KEY: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
    let algorithm: &'static EcdsaSigningAlgorithm = match curve.curve {
        Curve::P256 => &ECDSA_P256_SHA256_FIXED_SIGNING,
        Curve::P384 => &ECDSA_P384_SHA384_FIXED_SIGNING,
        Curve::P521 => &ECDSA_P521_SHA512_FIXED_SIGNING,
        Curve::P256K => &ECDSA_P256K1_SHA256_FIXED_SIGNING,
    };
    // RFC 5915 in RFC 5958: without the point, which the library works out.
    let key = der::sequence(&[&der::unsigned_integer(&[1]), &der::octet_string(scalar)]);
    let identifier = der::sequence(&[
        &der::object_identifier(EC_PUBLIC_KEY),
        &der::object_identifier(curve.oid),
    ]);
    let zero = der::unsigned_integer(&[0]);
    let pkcs8 = SecretBytes::new(der::sequence(&[
        &zero,
        &identifier,
        &der::octet_string(&SecretBytes::new(key)),
    ]));
    let pair = EcdsaKeyPair::from_pkcs8(algorithm, &pkcs8).ok()?;
    let point = pair.public_key().as_ref().to_vec();
    (point.len() == 1 + 2 * curve.coordinate_len).then_some(point)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scalar_has_its_point_on_each_curve() {
        for curve in Curve::ALL.map(EcCurve::of) {
            let pair = EcPair::of_scalar(curve, &[1]).unwrap();
            assert_eq!([&[4][..], &pair.x, &pair.y].concat(), curve.generator);
            assert_eq!(pair.d.len(), curve.coordinate_len);
            for none in [vec![], vec![0], vec![0xff; curve.coordinate_len]] {
                assert!(EcPair::of_scalar(curve, &none).is_none(), "{none:?}");
            }
            assert!(EcPair::of_scalar(curve, &vec![1; curve.coordinate_len + 1]).is_none());
        }
    }
}
