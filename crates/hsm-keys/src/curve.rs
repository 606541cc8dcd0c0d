//! The service's elliptic curves: their names and domain parameters.

use aws_lc_rs::digest::{SHA256, SHA384, SHA512};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256K1_SHA256_FIXED, ECDSA_P384_SHA384_FIXED,
    ECDSA_P521_SHA512_FIXED, VerificationAlgorithm,
};
use managed_hsm::{Curve, SignatureAlgorithm};

/// A curve and how signatures on it are asked for and checked.
pub struct EcCurve {
    /// Its name in X9.62 or SEC 2.
    pub name: &'static str,
    aliases: &'static [&'static str],
    /// Content octets of the curve's object identifier.
    pub oid: &'static [u8],
    /// The name that NIST gave the curve.
    pub nist_name: Option<&'static str>,
    /// Length of the field's prime, in bits.
    pub bits: usize,
    /// Security strength in bits, as NIST SP 800-57 part 1 estimates it.
    pub security_bits: usize,
    /// Length of a coordinate, of r and of s, in bytes.
    pub coordinate_len: usize,
    /// The prime of its field.
    pub prime: &'static [u8],
    /// Its equation is y² = x³ + ax + b.
    pub a: &'static [u8],
    /// The constant of the equation.
    pub b: &'static [u8],
    /// The generator of its group, uncompressed.
    pub generator: &'static [u8],
    /// How many points there are.
    pub order: &'static [u8],
    /// What `b` was made from, where it was.
    pub seed: Option<&'static [u8]>,
    pub(crate) algorithm: SignatureAlgorithm,
    pub(crate) fixed_digest: &'static aws_lc_rs::digest::Algorithm,
    pub(crate) verification: &'static dyn VerificationAlgorithm,
    /// What the client calls it.
    pub curve: Curve,
}

impl std::fmt::Debug for EcCurve {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
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
        name: "prime256v1",
        aliases: &["P-256", "secp256r1", "1.2.840.10045.3.1.7"],
        oid: &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07],
        nist_name: Some("P-256"),
        bits: 256,
        security_bits: 128,
        coordinate_len: 32,
        prime: &hex::<32>(b"ffffffff00000001000000000000000000000000ffffffffffffffffffffffff"),
        a: &hex::<32>(b"ffffffff00000001000000000000000000000000fffffffffffffffffffffffc"),
        b: &hex::<32>(b"5ac635d8aa3a93e7b3ebbd55769886bc651d06b0cc53b0f63bce3c3e27d2604b"),
        generator: &hex::<65>(b"046b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c2964fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5"),
        order: &hex::<32>(b"ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551"),
        seed: Some(&hex::<20>(b"c49d360886e704936a6678e1139d26b7819f7e90")),
        algorithm: SignatureAlgorithm::Es256,
        fixed_digest: &SHA256,
        verification: &ECDSA_P256_SHA256_FIXED,
        curve: Curve::P256,
    },
    EcCurve {
        name: "secp384r1",
        aliases: &["P-384", "1.3.132.0.34"],
        oid: &[0x2b, 0x81, 0x04, 0x00, 0x22],
        nist_name: Some("P-384"),
        bits: 384,
        security_bits: 192,
        coordinate_len: 48,
        prime: &hex::<48>(b"fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffeffffffff0000000000000000ffffffff"),
        a: &hex::<48>(b"fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffeffffffff0000000000000000fffffffc"),
        b: &hex::<48>(b"b3312fa7e23ee7e4988e056be3f82d19181d9c6efe8141120314088f5013875ac656398d8a2ed19d2a85c8edd3ec2aef"),
        generator: &hex::<97>(b"04aa87ca22be8b05378eb1c71ef320ad746e1d3b628ba79b9859f741e082542a385502f25dbf55296c3a545e3872760ab73617de4a96262c6f5d9e98bf9292dc29f8f41dbd289a147ce9da3113b5f0b8c00a60b1ce1d7e819d7a431d7c90ea0e5f"),
        order: &hex::<48>(b"ffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec196accc52973"),
        seed: Some(&hex::<20>(b"a335926aa319a27a1d00896a6773a4827acdac73")),
        algorithm: SignatureAlgorithm::Es384,
        fixed_digest: &SHA384,
        verification: &ECDSA_P384_SHA384_FIXED,
        curve: Curve::P384,
    },
    EcCurve {
        name: "secp521r1",
        aliases: &["P-521", "1.3.132.0.35"],
        oid: &[0x2b, 0x81, 0x04, 0x00, 0x23],
        nist_name: Some("P-521"),
        bits: 521,
        security_bits: 256,
        coordinate_len: 66,
        prime: &hex::<66>(b"01ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"),
        a: &hex::<66>(b"01fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffc"),
        b: &hex::<66>(b"0051953eb9618e1c9a1f929a21a0b68540eea2da725b99b315f3b8b489918ef109e156193951ec7e937b1652c0bd3bb1bf073573df883d2c34f1ef451fd46b503f00"),
        generator: &hex::<133>(b"0400c6858e06b70404e9cd9e3ecb662395b4429c648139053fb521f828af606b4d3dbaa14b5e77efe75928fe1dc127a2ffa8de3348b3c1856a429bf97e7e31c2e5bd66011839296a789a3bc0045c8a5fb42c7d1bd998f54449579b446817afbd17273e662c97ee72995ef42640c550b9013fad0761353c7086a272c24088be94769fd16650"),
        order: &hex::<66>(b"01fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffa51868783bf2f966b7fcc0148f709a5d03bb5c9b8899c47aebb6fb71e91386409"),
        seed: Some(&hex::<20>(b"d09e8800291cb85396cc6717393284aaa0da64ba")),
        algorithm: SignatureAlgorithm::Es512,
        fixed_digest: &SHA512,
        verification: &ECDSA_P521_SHA512_FIXED,
        curve: Curve::P521,
    },
    EcCurve {
        name: "secp256k1",
        aliases: &["P-256K", "1.3.132.0.10"],
        oid: &[0x2b, 0x81, 0x04, 0x00, 0x0a],
        nist_name: None,
        bits: 256,
        security_bits: 128,
        coordinate_len: 32,
        prime: &hex::<32>(b"fffffffffffffffffffffffffffffffffffffffffffffffffffffffefffffc2f"),
        a: &hex::<32>(b"0000000000000000000000000000000000000000000000000000000000000000"),
        b: &hex::<32>(b"0000000000000000000000000000000000000000000000000000000000000007"),
        generator: &hex::<65>(b"0479be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798483ada7726a3c4655da4fbfc0e1108a8fd17b448a68554199c47d08ffb10d4b8"),
        order: &hex::<32>(b"fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141"),
        seed: None,
        algorithm: SignatureAlgorithm::Es256K,
        fixed_digest: &SHA256,
        verification: &ECDSA_P256K1_SHA256_FIXED,
        curve: Curve::P256K,
    },
];

impl EcCurve {
    /// The curve that the client calls so.
    pub fn of(curve: Curve) -> &'static Self {
        match curve {
            Curve::P256 => &CURVES[0],
            Curve::P384 => &CURVES[1],
            Curve::P521 => &CURVES[2],
            Curve::P256K => &CURVES[3],
        }
    }

    /// The curve with a name of X9.62, SEC 2 or NIST, or with an object identifier.
    pub fn by_name(name: &str) -> Option<&'static Self> {
        CURVES.iter().find(|curve| {
            curve.name.eq_ignore_ascii_case(name)
                || curve
                    .aliases
                    .iter()
                    .any(|alias| alias.eq_ignore_ascii_case(name))
        })
    }

    /// The curve with an object identifier, given as its content octets.
    pub(crate) fn by_oid(oid: &[u8]) -> Option<&'static Self> {
        CURVES.iter().find(|curve| curve.oid == oid)
    }

    /// A digest in the fixed length that the HSM takes. ECDSA uses the leftmost bits of a digest as
    /// a number (FIPS 186-5, section 6.4.1): a longer digest is cut, a shorter one gets leading
    /// zeros. None: more bits of a longer one count than the HSM takes.
    pub fn fit(&self, digest: &[u8]) -> Option<Vec<u8>> {
        let len = self.digest_len();
        if digest.len() > len && len * 8 < self.bits {
            return None;
        }
        let kept = &digest[..digest.len().min(len)];
        let mut fitted = vec![0; len - kept.len()];
        fitted.extend_from_slice(kept);
        Some(fitted)
    }

    /// The length of an uncompressed point, in bytes.
    pub fn point_len(&self) -> usize {
        1 + 2 * self.coordinate_len
    }

    /// The length of the digests that the HSM takes, in bytes.
    pub fn digest_len(&self) -> usize {
        self.fixed_digest.output_len
    }
}

/// The bytes that lower-case hexadecimal digits stand for.
const fn hex<const LEN: usize>(digits: &[u8]) -> [u8; LEN] {
    const fn value(digit: u8) -> u8 {
        match digit {
            b'0'..=b'9' => digit - b'0',
            _ => digit - b'a' + 10,
        }
    }
    assert!(digits.len() == 2 * LEN);
    let mut bytes = [0; LEN];
    let mut i = 0;
    while i < LEN {
        bytes[i] = value(digits[2 * i]) << 4 | value(digits[2 * i + 1]);
        i += 1;
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_curve_is_found_by_what_the_service_calls_it() {
        for curve in Curve::ALL {
            assert_eq!(EcCurve::of(curve).curve, curve);
            let name = curve.jwk_name();
            assert_eq!(EcCurve::by_name(name), Some(EcCurve::of(curve)));
        }
    }

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
