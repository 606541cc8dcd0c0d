//! Algorithms: their names on the command line, and what is done with them here rather than in the HSM.

use std::io::Read;

use aws_lc_rs::digest::{self, Digest};
use aws_lc_rs::signature::{
    self, EcdsaVerificationAlgorithm, ParsedPublicKey, RsaParameters, RsaPublicKeyComponents,
};
use der::asn1::UintRef;
use der::{Decode, Encode, Sequence};
use managed_hsm::{Client, Curve, EncryptionAlgorithm, Key, PublicKey, SignatureAlgorithm};

use crate::failure::Failure;

/// A signature algorithm by its name in JSON Web Algorithms, in any case.
pub(crate) fn signature_algorithm(name: &str) -> Result<SignatureAlgorithm, String> {
    let mut all = SignatureAlgorithm::ALL.into_iter().filter(is_hashed);
    all.find(|algorithm| algorithm.jwa_name().eq_ignore_ascii_case(name))
        .ok_or_else(|| {
            let all = SignatureAlgorithm::ALL.into_iter().filter(is_hashed);
            let names: Vec<&str> = all.map(SignatureAlgorithm::jwa_name).collect();
            format!("there are {}", names.join(", "))
        })
}

/// An encryption algorithm by its name, in any case.
pub(crate) fn encryption_algorithm(name: &str) -> Result<EncryptionAlgorithm, String> {
    let mut all = EncryptionAlgorithm::ALL.into_iter();
    all.find(|algorithm| algorithm.jwa_name().eq_ignore_ascii_case(name))
        .ok_or_else(|| {
            let names = EncryptionAlgorithm::ALL.map(EncryptionAlgorithm::jwa_name);
            format!("there are {}", names.join(", "))
        })
}

fn is_hashed(algorithm: &SignatureAlgorithm) -> bool {
    algorithm.digest_len().is_some()
}

/// What a key signs with unless it is told otherwise: PKCS#1 v1.5 with SHA-256 as `openssl dgst` has it, ECDSA with the hash
/// that belongs to the curve. None: it can't sign.
pub(crate) fn usual_signature(public: &PublicKey) -> Option<SignatureAlgorithm> {
    match public {
        PublicKey::Rsa { .. } => Some(SignatureAlgorithm::Rs256),
        PublicKey::Ec { curve, .. } => Some(match curve {
            Curve::P256 => SignatureAlgorithm::Es256,
            Curve::P384 => SignatureAlgorithm::Es384,
            Curve::P521 => SignatureAlgorithm::Es512,
            Curve::P256K => SignatureAlgorithm::Es256K,
        }),
        PublicKey::Oct => None,
    }
}

/// What keys are wrapped with unless it is told otherwise. AES keys of every size have the same.
pub(crate) fn usual_wrapping(public: &PublicKey) -> Option<EncryptionAlgorithm> {
    match public {
        PublicKey::Rsa { .. } => Some(EncryptionAlgorithm::RsaOaep256),
        PublicKey::Ec { .. } => None,
        PublicKey::Oct => Some(EncryptionAlgorithm::CkmAesKeyWrapPad),
    }
}

/// The algorithm's digest of all that can be read.
pub(crate) fn digest(
    algorithm: SignatureAlgorithm,
    input: &mut dyn Read,
) -> std::io::Result<Digest> {
    let mut context = digest::Context::new(hash(algorithm));
    let mut buffer = [0; 1 << 16];
    loop {
        match input.read(&mut buffer)? {
            0 => return Ok(context.finish()),
            count => context.update(&buffer[..count]),
        }
    }
}

fn hash(algorithm: SignatureAlgorithm) -> &'static digest::Algorithm {
    match algorithm.digest_len() {
        Some(48) => &digest::SHA384,
        Some(64) => &digest::SHA512,
        _ => &digest::SHA256,
    }
}

/// Whether an algorithm's signatures are a pair of numbers.
pub(crate) fn is_ecdsa(algorithm: SignatureAlgorithm) -> bool {
    algorithm.jwa_name().starts_with("ES")
}

/// Has the HSM sign. The signature, as the HSM gives it, is the key's: a wrong one is never handed out.
pub(crate) fn sign(
    client: &Client,
    key: &Key,
    algorithm: SignatureAlgorithm,
    digest: &Digest,
) -> Result<Vec<u8>, Failure> {
    // What the key can't do is told before the HSM is asked.
    let verifies = |signature: &[u8]| verifies(&key.public, algorithm, true, digest, signature);
    verifies(&[]).map_err(|problem| Failure::told(format!("{}: {problem}", key.id)))?;
    let signature = client.sign(&key.id, algorithm, digest.as_ref())?;
    match verifies(&signature).map_err(Failure::Told)? {
        true => Ok(signature),
        false => Err(Failure::told(format!(
            "the signature that the HSM gave for {} does not verify: nothing is written; check that the endpoint is the \
             HSM, and that nothing between here and there changes answers",
            key.id
        ))),
    }
}

/// An ECDSA signature as X.509 and OpenSSL have it.
#[derive(Sequence)]
struct EcdsaSignature<'a> {
    r: UintRef<'a>,
    s: UintRef<'a>,
}

/// r‖s as DER.
pub(crate) fn ecdsa_to_der(raw: &[u8]) -> Result<Vec<u8>, String> {
    let (r, s) = raw.split_at(raw.len() / 2);
    let number = |bytes| UintRef::new(bytes).map_err(|error| error.to_string());
    let signature = EcdsaSignature {
        r: number(r)?,
        s: number(s)?,
    };
    signature.to_der().map_err(|error| error.to_string())
}

/// Whether a text of bytes is one DER-encoded ECDSA signature.
pub(crate) fn is_ecdsa_der(signature: &[u8]) -> bool {
    EcdsaSignature::from_der(signature).is_ok()
}

/// Whether a signature is the key's. ECDSA: DER, or r‖s if it is `raw`.
///
/// # Errors
/// The key can't have made a signature with this algorithm.
pub(crate) fn verifies(
    public: &PublicKey,
    algorithm: SignatureAlgorithm,
    raw: bool,
    digest: &Digest,
    signature: &[u8],
) -> Result<bool, String> {
    let unfit = || format!("a {} key does not sign with {algorithm}", kind(public));
    let unusable = |error: &dyn std::fmt::Display| format!("the key can't be used: {error}");
    let parsed = match public {
        PublicKey::Rsa { n, e, .. } => RsaPublicKeyComponents { n, e }
            .to_parsed_public_key(rsa(algorithm).ok_or_else(unfit)?)
            .map_err(|error| unusable(&error))?,
        PublicKey::Ec { curve, x, y, .. } => {
            let point = [&[4], &x[..], &y[..]].concat();
            ParsedPublicKey::new(ecdsa(*curve, algorithm, raw).ok_or_else(unfit)?, point)
                .map_err(|error| unusable(&error))?
        }
        PublicKey::Oct => return Err(unfit()),
    };
    Ok(parsed.verify_digest_sig(digest, signature).is_ok())
}

fn rsa(algorithm: SignatureAlgorithm) -> Option<&'static RsaParameters> {
    use SignatureAlgorithm::{Ps256, Ps384, Ps512, Rs256, Rs384, Rs512};
    Some(match algorithm {
        Rs256 => &signature::RSA_PKCS1_2048_8192_SHA256,
        Rs384 => &signature::RSA_PKCS1_2048_8192_SHA384,
        Rs512 => &signature::RSA_PKCS1_2048_8192_SHA512,
        Ps256 => &signature::RSA_PSS_2048_8192_SHA256,
        Ps384 => &signature::RSA_PSS_2048_8192_SHA384,
        Ps512 => &signature::RSA_PSS_2048_8192_SHA512,
        _ => return None,
    })
}

fn ecdsa(
    curve: Curve,
    algorithm: SignatureAlgorithm,
    raw: bool,
) -> Option<&'static EcdsaVerificationAlgorithm> {
    use SignatureAlgorithm::{Es256, Es256K, Es384, Es512};
    Some(match (curve, algorithm, raw) {
        (Curve::P256, Es256, false) => &signature::ECDSA_P256_SHA256_ASN1,
        (Curve::P256, Es256, true) => &signature::ECDSA_P256_SHA256_FIXED,
        (Curve::P384, Es384, false) => &signature::ECDSA_P384_SHA384_ASN1,
        (Curve::P384, Es384, true) => &signature::ECDSA_P384_SHA384_FIXED,
        (Curve::P521, Es512, false) => &signature::ECDSA_P521_SHA512_ASN1,
        (Curve::P521, Es512, true) => &signature::ECDSA_P521_SHA512_FIXED,
        (Curve::P256K, Es256K, false) => &signature::ECDSA_P256K1_SHA256_ASN1,
        (Curve::P256K, Es256K, true) => &signature::ECDSA_P256K1_SHA256_FIXED,
        _ => return None,
    })
}

/// A key's type for sentences.
pub(crate) fn kind(public: &PublicKey) -> &'static str {
    match public {
        PublicKey::Rsa { .. } => "RSA",
        PublicKey::Ec { curve, .. } => curve.jwk_name(),
        PublicKey::Oct => "symmetric",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_of_numbers_becomes_der_without_leading_zeros() {
        let mut raw = [0; 64];
        raw[30..32].copy_from_slice(&[0x80, 1]);
        raw[63] = 5;
        let der = ecdsa_to_der(&raw).unwrap();
        assert_eq!(der, [0x30, 8, 2, 3, 0, 0x80, 1, 2, 1, 5]);
        assert!(is_ecdsa_der(&der) && !is_ecdsa_der(&raw));
    }

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
}
