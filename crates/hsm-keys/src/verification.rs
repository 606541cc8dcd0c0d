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
            let fitted = ec.curve.fit(value);
            Ok(fitted.is_some_and(|fitted| ec.verify_fixed(&fitted, signature)))
        }
        (Scheme::Ecdsa { .. }, _) | (_, PublicKey::Ec(_) | PublicKey::Aes) => {
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
        // As in libcrypto, which takes a signature over nothing for one that holds nothing.
        _ if value.is_empty() => false,
        Scheme::Ecdsa { .. } => false,
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

/// What an RSA signature was made of: the digest where one is named (its `DigestInfo` is checked and
/// taken off), else all that the padding holds.
///
/// # Errors
/// There is no such thing in it.
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
        Scheme::Ecdsa { .. } | Scheme::Pss { .. } => {
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
