//! What the commands that sign and verify have in common, and the names of algorithms on the
//! command line.

use std::fmt::Display;
use std::io::{self, Read};

use clap::Args;
use hsm_keys::{Hasher, PublicKey, Scheme};
use managed_hsm::{EncryptionAlgorithm, SignatureAlgorithm};

use crate::failure::Failure;

/// A signature algorithm by its name in JSON Web Algorithms, in any case.
pub(crate) fn signature_algorithm(name: &str) -> Result<SignatureAlgorithm, String> {
    by_name(signature_algorithms(), SignatureAlgorithm::jwa_name, name)
}

/// An encryption algorithm by its name, in any case.
pub(crate) fn encryption_algorithm(name: &str) -> Result<EncryptionAlgorithm, String> {
    let all = EncryptionAlgorithm::ALL.into_iter();
    by_name(all, EncryptionAlgorithm::jwa_name, name)
}

/// Those that commands sign files with.
pub(crate) fn signature_algorithms() -> impl Iterator<Item = SignatureAlgorithm> + Clone {
    SignatureAlgorithm::ALL.into_iter().filter(is_hashed)
}

/// The one of `all` that is called `name`, in any case.
pub(crate) fn by_name<T: Copy>(
    all: impl Iterator<Item = T> + Clone,
    name_of: impl Fn(T) -> &'static str,
    name: &str,
) -> Result<T, String> {
    let is_named = |algorithm: &T| name_of(*algorithm).eq_ignore_ascii_case(name);
    all.clone().find(is_named).ok_or_else(|| {
        let names: Vec<&str> = all.map(&name_of).collect();
        format!("there are {}", names.join(", "))
    })
}

/// The context of a signature.
#[derive(Args)]
pub(crate) struct Context {
    /// Context of a signature of ML-DSA, at most 255 bytes; who verifies has to give the same
    #[arg(long = "context", value_name = "TEXT", conflicts_with = "hexadecimal")]
    text: Option<String>,
    /// The same as hexadecimal
    #[arg(long = "hex-context", value_name = "HEX", value_parser = hexadecimal)]
    hexadecimal: Option<Hexadecimal>,
}

impl Context {
    pub(crate) fn bytes(&self) -> Option<&[u8]> {
        let hexadecimal = self.hexadecimal.as_ref().map(|bytes| bytes.0.as_slice());
        hexadecimal.or_else(|| self.text.as_deref().map(str::as_bytes))
    }
}

/// Bytes of the command line. A type of its own: clap takes `Vec` for several values.
#[derive(Clone, Debug)]
pub(crate) struct Hexadecimal(pub(crate) Vec<u8>);

pub(crate) fn hexadecimal(text: &str) -> Result<Hexadecimal, String> {
    let bad = || "give pairs of hexadecimal digits, such as 0a1b".to_owned();
    // Rust's numbers may have a sign.
    let is_digits = text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !is_digits || !text.len().is_multiple_of(2) {
        return Err(bad());
    }
    let byte = |at| u8::from_str_radix(&text[at..at + 2], 16).map_err(|_| bad());
    let bytes: Result<Vec<u8>, String> = (0..text.len()).step_by(2).map(byte).collect();
    bytes.map(Hexadecimal)
}

/// Bytes as such digits.
pub(crate) fn digits(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn is_hashed(algorithm: &SignatureAlgorithm) -> bool {
    algorithm.digest_len().is_some()
}

/// What an algorithm does, for a key that has it.
pub(crate) fn scheme(
    key: &dyn Display,
    public: &PublicKey,
    algorithm: SignatureAlgorithm,
) -> Result<Scheme, Failure> {
    let scheme = Scheme::of(algorithm);
    match scheme.algorithm(public) {
        Ok(found) if found == algorithm => Ok(scheme),
        _ => Err(Failure::told(format!(
            "{key} does not sign with {algorithm}: its type is {}",
            public.kind()
        ))),
    }
}

/// What hashes a message for a signature, with the context that ML-DSA may have.
pub(crate) fn hasher(
    scheme: &Scheme,
    public: &PublicKey,
    context: Option<&[u8]>,
) -> Result<Hasher, Failure> {
    match (context, public) {
        (Some(context), PublicKey::MlDsa(key)) => Ok(key.hasher(context)?),
        (Some(_), _) => Err(Failure::told(format!(
            "only signatures of ML-DSA have a context, and the key's type is {}: leave it out",
            public.kind()
        ))),
        (None, _) => scheme
            .hasher(public)?
            .ok_or_else(|| Failure::told("the algorithm has no hash function")),
    }
}

/// The digest of all that can be read; for ML-DSA the message representative.
pub(crate) fn digest(mut hasher: Hasher, input: &mut dyn Read) -> io::Result<Box<[u8]>> {
    let mut buffer = [0; 1 << 16];
    loop {
        match input.read(&mut buffer)? {
            0 => return Ok(hasher.finalize()),
            count => hasher.update(&buffer[..count]),
        }
    }
}

#[cfg(test)]
mod tests {
    use hsm_keys::EcCurve;
    use managed_hsm::{Curve, ParameterSet};

    use super::*;

    #[test]
    fn names_are_taken_in_any_case_and_wrong_ones_explained() {
        assert_eq!(
            signature_algorithm("es256k").unwrap(),
            SignatureAlgorithm::Es256K
        );
        assert!(signature_algorithm("RSNULL").unwrap_err().contains("PS512"));
        assert_eq!(
            encryption_algorithm("rsa-oaep-256").unwrap(),
            EncryptionAlgorithm::RsaOaep256
        );
        assert!(
            encryption_algorithm("ROT13")
                .unwrap_err()
                .contains("A256KW")
        );
    }

    #[test]
    fn hexadecimal_digits_come_in_pairs_and_without_a_sign() {
        assert_eq!(hexadecimal("0Aff").unwrap().0, [10, 255]);
        for wrong in ["a", "0x0a", "+a", "-1", "0a 1", "ä"] {
            assert!(hexadecimal(wrong).unwrap_err().contains("0a1b"), "{wrong}");
        }
    }

    #[test]
    fn a_key_signs_with_the_algorithms_of_its_type_and_curve_only() {
        let of_curve = |curve| {
            let curve = EcCurve::of(curve);
            PublicKey::ec(curve, curve.generator).unwrap()
        };
        let rsa = PublicKey::rsa(vec![0xff; 256], vec![3]).unwrap();
        for (public, own) in [
            (
                rsa,
                &["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"][..],
            ),
            (of_curve(Curve::P256), &["ES256"]),
            (of_curve(Curve::P256K), &["ES256K"]),
            (of_curve(Curve::P384), &["ES384"]),
            (of_curve(Curve::P521), &["ES512"]),
            (
                PublicKey::ml_dsa(ParameterSet::MlDsa65, &[7; 1952]).unwrap(),
                &["ML-DSA-65"],
            ),
            (PublicKey::Aes, &[]),
        ] {
            for algorithm in SignatureAlgorithm::ALL.into_iter().filter(is_hashed) {
                let is_own = own.contains(&algorithm.jwa_name());
                let found = scheme(&"k", &public, algorithm);
                assert_eq!(found.is_ok(), is_own, "{} {algorithm}", public.kind());
            }
        }
    }

    #[test]
    fn what_is_read_in_pieces_has_the_digest_of_the_whole() {
        let scheme = Scheme::of(SignatureAlgorithm::Es384);
        let curve = EcCurve::of(Curve::P384);
        let public = PublicKey::ec(curve, curve.generator).unwrap();
        let hasher = hasher(&scheme, &public, None).unwrap();
        let data = vec![7; (1 << 17) + 5];
        let expected = scheme.digest().unwrap().of(&data);
        assert_eq!(digest(hasher, &mut data.as_slice()).unwrap(), expected);
    }
}
