//! OpenSSL's names, as C strings, of what `hsm-keys` knows.

use std::ffi::CStr;

use hsm_keys::{Digest, EcCurve, KeyType};
use managed_hsm::ParameterSet;

const DIGESTS: [&CStr; 11] = [
    c"SHA1",
    c"SHA224",
    c"SHA256",
    c"SHA384",
    c"SHA512",
    c"SHA512-224",
    c"SHA512-256",
    c"SHA3-224",
    c"SHA3-256",
    c"SHA3-384",
    c"SHA3-512",
];
const CURVES: [&CStr; 4] = [c"prime256v1", c"secp384r1", c"secp521r1", c"secp256k1"];

/// The name of a key type, as `OSSL_STORE` and `EVP_KEYMGMT` have it.
pub(crate) fn of_key_type(key_type: KeyType) -> &'static CStr {
    match key_type {
        KeyType::Rsa => c"RSA",
        KeyType::Ec => c"EC",
        KeyType::MlDsa(ParameterSet::MlDsa44) => c"ML-DSA-44",
        KeyType::MlDsa(ParameterSet::MlDsa65) => c"ML-DSA-65",
        KeyType::MlDsa(ParameterSet::MlDsa87) => c"ML-DSA-87",
        KeyType::Aes => c"AES",
    }
}

/// The name that a digest is answered with.
pub(crate) fn of_digest(digest: &Digest) -> &'static CStr {
    find(&DIGESTS, digest.name())
}

/// The name of a curve's group.
pub(crate) fn of_curve(curve: &EcCurve) -> &'static CStr {
    find(&CURVES, curve.name)
}

fn find(names: &[&'static CStr], name: &str) -> &'static CStr {
    let mut names = names.iter().copied();
    names
        .find(|known| known.to_bytes() == name.as_bytes())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use managed_hsm::Curve;

    use super::*;

    #[test]
    fn every_digest_and_every_curve_has_its_name() {
        for digest in hsm_keys::DIGESTS {
            assert_eq!(of_digest(digest).to_str(), Ok(digest.name()));
        }
        for curve in Curve::ALL.map(EcCurve::of) {
            assert_eq!(of_curve(curve).to_str(), Ok(curve.name));
        }
    }
}
