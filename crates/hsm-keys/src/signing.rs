//! Signatures made in the HSM, and checked here before anybody gets them.

use std::borrow::Cow;

use managed_hsm::{Client, KeyOperation, SignatureAlgorithm};

use crate::der;
use crate::digest_info;
use crate::error::Error;
use crate::key::Key;
use crate::public_key::PublicKey;
use crate::rsa::RsaPublicKey;
use crate::scheme::Scheme;
use crate::verification::verify_raw;

/// How an answer of the HSM is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    /// It must be a signature by the key, as its public part tells.
    Signature,
    /// It must only have the length of one.
    LengthOnly,
}

/// A signature as the HSM gives it: for ECDSA r‖s, each of the length of a coordinate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawSignature {
    bytes: Vec<u8>,
    is_ecdsa: bool,
}

impl RawSignature {
    /// The signature as it is.
    pub fn into_raw(self) -> Vec<u8> {
        self.bytes
    }

    /// The signature as X.509 has it: for ECDSA an `ECDSA-Sig-Value` in DER, for RSA as it is.
    pub fn into_der(self) -> Vec<u8> {
        match self.is_ecdsa {
            true => der::ecdsa_signature(&self.bytes),
            false => self.bytes,
        }
    }
}

/// Has the HSM sign `value`, a digest (or whatever the scheme pads).
///
/// # Errors
/// The key or the scheme can't do this, the request failed, or the answer did not pass the check.
pub fn sign(
    client: &Client,
    key: &Key,
    scheme: &Scheme,
    value: &[u8],
    check: Check,
) -> Result<RawSignature, Error> {
    let (algorithm, value) = request(&key.public, scheme, value)?;
    let hsm = key.private(KeyOperation::Sign)?;
    let bytes = client
        .sign(&hsm.id, algorithm, &value)
        .map_err(|error| refusal(algorithm, error))?;
    checked(key, algorithm, &value, bytes, check)
}

/// What the HSM is asked for: the algorithm, and the value in the length that it takes.
fn request<'a>(
    public: &PublicKey,
    scheme: &Scheme,
    value: &'a [u8],
) -> Result<(SignatureAlgorithm, Cow<'a, [u8]>), Error> {
    let algorithm = scheme.algorithm(public)?;
    scheme.check_value(value)?;
    match (algorithm, public) {
        (SignatureAlgorithm::RsNull, PublicKey::Rsa(rsa)) => padded_only(rsa, value),
        (_, PublicKey::Ec(ec)) => match ec.curve.fit(value) {
            Some(fitted) => Ok((algorithm, fitted.into())),
            None => Err(Error::TooLongForCurve {
                curve: ec.curve.name,
                got: value.len(),
                most: ec.curve.digest_len(),
            }),
        },
        _ => Ok((algorithm, value.into())),
    }
}

/// Bytes that no digest is named for. A DigestInfo of a hash function that the HSM knows comes to
/// the same as the digest in it.
fn padded_only<'a>(
    rsa: &RsaPublicKey,
    value: &'a [u8],
) -> Result<(SignatureAlgorithm, Cow<'a, [u8]>), Error> {
    if let Some((digest, value)) = digest_info::parse(value)
        && let Some((pkcs1, _)) = digest.rsa
    {
        return Ok((pkcs1, value.into()));
    }
    let most = rsa.len().saturating_sub(11);
    match value.len() > most {
        true => Err(Error::NoRoom {
            got: value.len(),
            most,
        }),
        false => Ok((SignatureAlgorithm::RsNull, value.into())),
    }
}

fn refusal(algorithm: SignatureAlgorithm, error: managed_hsm::Error) -> Error {
    match (algorithm, error) {
        (SignatureAlgorithm::RsNull, cause @ managed_hsm::Error::Service { status: 400, .. }) => {
            Error::NoRawSignatures(cause)
        }
        (_, other) => Error::Client(other),
    }
}

/// Refuses an answer of the HSM that isn't a signature by the key.
fn checked(
    key: &Key,
    algorithm: SignatureAlgorithm,
    value: &[u8],
    bytes: Vec<u8>,
    check: Check,
) -> Result<RawSignature, Error> {
    let wrong = |problem: String| {
        Err(Error::WrongSignature {
            key: key.id().map(ToString::to_string).unwrap_or_default(),
            problem,
        })
    };
    let (expected, got) = (key.public.raw_signature_len(), bytes.len());
    if got != expected {
        return wrong(format!("it has {got} bytes instead of {expected}"));
    }
    if check == Check::Signature && !verify_raw(&key.public, &Scheme::of(algorithm), value, &bytes)?
    {
        return wrong("it does not verify with the key's public part".to_owned());
    }
    Ok(RawSignature {
        bytes,
        is_ecdsa: matches!(key.public, PublicKey::Ec(_)),
    })
}
