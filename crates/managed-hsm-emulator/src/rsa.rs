//! New RSA keys.

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use openssl::bn::{BigNum, BigNumContext};
use openssl::error::ErrorStack;
use openssl::pkey::{PKey, Private};
use openssl::rsa::Rsa;
use zeroize::Zeroizing;

/// A new RSA key of `bits`. aws-lc makes one in a third of the time that OpenSSL 3.0 takes; it has
/// not all sizes and exponents, and where it fails it tells no reason, which OpenSSL does.
pub(crate) fn generate(bits: u32, exponent: u32) -> Result<Rsa<Private>, ErrorStack> {
    match generated_by_aws_lc(bits, exponent) {
        Some(pkcs8) => PKey::private_key_from_pkcs8(pkcs8.as_ref())?.rsa(),
        None => Rsa::generate_with_e(bits, BigNum::from_u32(exponent)?.as_ref()),
    }
}

/// The private exponent of a key, those of its primes, and its coefficient, by what they follow
/// from: `d`, `dp`, `dq` and `qi` of RFC 8017, section 3.2.
pub(crate) fn exponents(
    e: &[u8],
    p: &[u8],
    q: &[u8],
) -> Result<[Zeroizing<Vec<u8>>; 4], ErrorStack> {
    let mut context = BigNumContext::new_secure()?;
    let number = BigNum::from_slice;
    let (e, p, q) = (number(e)?, number(p)?, number(q)?);
    let one = BigNum::from_u32(1)?;
    let mut less = [BigNum::new_secure()?, BigNum::new_secure()?];
    less[0].checked_sub(&p, &one)?;
    less[1].checked_sub(&q, &one)?;
    let (mut order, mut d) = (BigNum::new_secure()?, BigNum::new_secure()?);
    order.checked_mul(&less[0], &less[1], &mut context)?;
    d.mod_inverse(&e, &order, &mut context)?;
    let (mut dp, mut dq) = (BigNum::new_secure()?, BigNum::new_secure()?);
    dp.nnmod(&d, &less[0], &mut context)?;
    dq.nnmod(&d, &less[1], &mut context)?;
    let mut qi = BigNum::new_secure()?;
    qi.mod_inverse(&q, &p, &mut context)?;
    Ok([d, dp, dq, qi].map(|number| number.to_vec().into()))
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
            let (p, q) = (key.p().unwrap().to_vec(), key.q().unwrap().to_vec());
            let [_, dp, dq, qi] = exponents(&key.e().to_vec(), &p, &q).unwrap();
            assert_eq!(*dp, key.dmp1().unwrap().to_vec());
            assert_eq!(*dq, key.dmq1().unwrap().to_vec());
            assert_eq!(*qi, key.iqmp().unwrap().to_vec());
        }
    }
}
