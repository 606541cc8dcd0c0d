//! Signature algorithms by their JOSE names (RFC 7518, section 3.1, and RFC 8812 for ES256K), and
//! the service's base64url.

use base64::Engine;
use base64::alphabet::URL_SAFE;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use openssl::md::{Md, MdRef};

use crate::curve::Curve;

const BASE64URL: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new()
        .with_encode_padding(false)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// base64url without padding, as every binary value on the wire.
pub(crate) fn encode_base64url(bytes: &[u8]) -> String {
    BASE64URL.encode(bytes)
}

/// base64url, padded or not.
pub(crate) fn decode_base64url(text: &str) -> Option<Vec<u8>> {
    BASE64URL.decode(text).ok()
}

/// A signature algorithm of the sign and verify operations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SignatureAlgorithm {
    pub(crate) name: &'static str,
    pub(crate) scheme: Scheme,
    /// The digest that is signed. None: any bytes that there is room for.
    pub(crate) digest: Option<Digest>,
}

/// How a digest becomes a signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scheme {
    /// RSASSA-PKCS1-v1_5.
    Pkcs1,
    /// RSASSA-PSS with MGF1 of the same digest and a salt as long as it.
    Pss,
    /// PKCS#1 v1.5 padding around the caller's bytes, without a DigestInfo.
    Pkcs1Padding,
    /// HMAC with a symmetric key.
    Hmac,
    /// ECDSA on one curve, the signature as r‖s.
    Ecdsa(Curve),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Digest {
    Sha256,
    Sha384,
    Sha512,
}

impl Digest {
    pub(crate) fn bytes(self) -> usize {
        match self {
            Self::Sha256 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
        }
    }

    pub(crate) fn md(self) -> &'static MdRef {
        match self {
            Self::Sha256 => Md::sha256(),
            Self::Sha384 => Md::sha384(),
            Self::Sha512 => Md::sha512(),
        }
    }
}

const fn algorithm(name: &'static str, scheme: Scheme, digest: Digest) -> SignatureAlgorithm {
    SignatureAlgorithm {
        name,
        scheme,
        digest: Some(digest),
    }
}

/// Every signature algorithm. RSNULL is here although the service was once reported to refuse it.
pub(crate) const SIGNATURE_ALGORITHMS: [SignatureAlgorithm; 14] = [
    algorithm("RS256", Scheme::Pkcs1, Digest::Sha256),
    algorithm("RS384", Scheme::Pkcs1, Digest::Sha384),
    algorithm("RS512", Scheme::Pkcs1, Digest::Sha512),
    algorithm("PS256", Scheme::Pss, Digest::Sha256),
    algorithm("PS384", Scheme::Pss, Digest::Sha384),
    algorithm("PS512", Scheme::Pss, Digest::Sha512),
    algorithm("ES256", Scheme::Ecdsa(Curve::P256), Digest::Sha256),
    algorithm("ES256K", Scheme::Ecdsa(Curve::P256K), Digest::Sha256),
    algorithm("ES384", Scheme::Ecdsa(Curve::P384), Digest::Sha384),
    algorithm("ES512", Scheme::Ecdsa(Curve::P521), Digest::Sha512),
    algorithm("HS256", Scheme::Hmac, Digest::Sha256),
    algorithm("HS384", Scheme::Hmac, Digest::Sha384),
    algorithm("HS512", Scheme::Hmac, Digest::Sha512),
    SignatureAlgorithm {
        name: "RSNULL",
        scheme: Scheme::Pkcs1Padding,
        digest: None,
    },
];

impl SignatureAlgorithm {
    pub(crate) fn by_name(name: &str) -> Option<Self> {
        SIGNATURE_ALGORITHMS
            .into_iter()
            .find(|algorithm| algorithm.name == name)
    }
}
