//! New RSA keys.

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use openssl::bn::BigNum;
use openssl::error::ErrorStack;
use openssl::pkey::{PKey, Private};
use openssl::rsa::Rsa;

/// A new RSA key of `bits`. aws-lc makes one in a third of the time that OpenSSL 3.0 takes; it has
/// not all sizes and exponents, and where it fails it tells no reason, which OpenSSL does.
pub(crate) fn generate(bits: u32, exponent: u32) -> Result<Rsa<Private>, ErrorStack> {
    match generated_by_aws_lc(bits, exponent) {
        Some(pkcs8) => PKey::private_key_from_pkcs8(pkcs8.as_ref())?.rsa(),
        None => Rsa::generate_with_e(bits, BigNum::from_u32(exponent)?.as_ref()),
    }
}

fn generated_by_aws_lc(bits: u32, exponent: u32) -> Option<Pkcs8V1Der<'static>> {
    let size = match (bits, exponent) {
        (2048, 65537) => KeySize::Rsa2048,
        (3072, 65537) => KeySize::Rsa3072,
        (4096, 65537) => KeySize::Rsa4096,
        _ => return None,
    };
    KeyPair::generate(size).ok()?.as_der().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_have_the_size_and_the_exponent_that_were_asked_for_and_are_sound() {
        for (bits, exponent) in [(1024, 65537), (2048, 3), (2048, 65537), (3072, 65537)] {
            let key = generate(bits, exponent).unwrap();
            assert_eq!(key.n().num_bits().unsigned_abs(), bits);
            assert_eq!(key.e(), &*BigNum::from_u32(exponent).unwrap());
            assert!(key.check_key().unwrap());
            assert!(key.p().is_some() && key.q().is_some());
        }
    }
}
