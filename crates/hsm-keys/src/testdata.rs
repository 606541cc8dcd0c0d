//! Keys and signatures for tests: testdata/rsa.txt, as testdata/make.sh has made it by `openssl`.

use crate::public_key::PublicKey;
use crate::rsa::RsaPublicKey;

/// The message that is signed.
pub(crate) const MESSAGE: &[u8] = b"abc";

/// The bytes with a name.
pub(crate) fn bytes(name: &str) -> Vec<u8> {
    let mut lines = include_str!("../testdata/rsa.txt").lines();
    let found = lines.find_map(|line| line.split_once(' ').filter(|(known, _)| *known == name));
    let (_, digits) = found.unwrap_or_else(|| panic!("{name} is not there"));
    (0..digits.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap())
        .collect()
}

/// A key, by the length of its modulus and its public exponent.
pub(crate) fn key(bits: usize, exponent: u32) -> PublicKey {
    let modulus = bytes(&format!("modulus-{bits}-{exponent}"));
    PublicKey::rsa(modulus, exponent.to_be_bytes().to_vec()).unwrap()
}

/// The same, as an RSA key.
pub(crate) fn rsa_key(bits: usize, exponent: u32) -> RsaPublicKey {
    match key(bits, exponent) {
        PublicKey::Rsa(rsa) => rsa,
        other => panic!("{other:?}"),
    }
}
