//! What can be done with an RSA public key: checking signatures and encrypting (RFC 8017).

use std::sync::OnceLock;

use aws_lc_rs::digest::{Digest as FixedDigest, SHA256, SHA384, SHA512};
use aws_lc_rs::rsa::{
    OAEP_SHA1_MGF1SHA1, OAEP_SHA256_MGF1SHA256, OaepPublicEncryptingKey, Pkcs1PublicEncryptingKey,
    PublicEncryptingKey,
};
use aws_lc_rs::signature::{
    ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384,
    RSA_PKCS1_2048_8192_SHA512, RSA_PSS_2048_8192_SHA256, RSA_PSS_2048_8192_SHA384,
    RSA_PSS_2048_8192_SHA512, RsaParameters,
};
use managed_hsm::SignatureAlgorithm;
use num_bigint::BigUint;

use crate::der;
use crate::digest::Digest;
use crate::key::once;

/// A way to encrypt that the HSM can undo.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RsaEncryption {
    Pkcs1,
    OaepSha1,
    OaepSha256,
}

impl RsaEncryption {
    /// How many bytes of the modulus are not for the message (RFC 8017, sections 7.1.1 and 7.2.1).
    pub(crate) fn overhead(self) -> usize {
        match self {
            Self::Pkcs1 => 11,
            Self::OaepSha1 => 2 * 20 + 2,
            Self::OaepSha256 => 2 * 32 + 2,
        }
    }
}

/// An RSA public key.
#[derive(Clone, Debug)]
pub(crate) struct RsaPublicKey {
    /// Modulus, most significant byte first, no leading zeros.
    pub(crate) n: Vec<u8>,
    /// Public exponent, most significant byte first, no leading zeros.
    pub(crate) e: Vec<u8>,
    /// For each of the service's algorithms, once it was asked for; none: the library doesn't take such keys.
    parsed: Box<[OnceLock<Option<ParsedPublicKey>>; 6]>,
}

impl PartialEq for RsaPublicKey {
    fn eq(&self, other: &Self) -> bool {
        self.n == other.n && self.e == other.e
    }
}

impl Eq for RsaPublicKey {}

impl RsaPublicKey {
    /// From modulus and public exponent that were checked, most significant byte first, no leading zeros.
    pub(crate) fn new(n: Vec<u8>, e: Vec<u8>) -> Self {
        Self {
            n,
            e,
            parsed: Default::default(),
        }
    }

    /// Whether `signature` is one over `digest` by one of the service's algorithms. None: the library can't tell.
    pub(crate) fn verify_by(
        &self,
        algorithm: SignatureAlgorithm,
        digest: &[u8],
        signature: &[u8],
    ) -> Option<bool> {
        let (place, hash, parameters): (_, _, &'static RsaParameters) = match algorithm {
            SignatureAlgorithm::Rs256 => (0, &SHA256, &RSA_PKCS1_2048_8192_SHA256),
            SignatureAlgorithm::Rs384 => (1, &SHA384, &RSA_PKCS1_2048_8192_SHA384),
            SignatureAlgorithm::Rs512 => (2, &SHA512, &RSA_PKCS1_2048_8192_SHA512),
            SignatureAlgorithm::Ps256 => (3, &SHA256, &RSA_PSS_2048_8192_SHA256),
            SignatureAlgorithm::Ps384 => (4, &SHA384, &RSA_PSS_2048_8192_SHA384),
            SignatureAlgorithm::Ps512 => (5, &SHA512, &RSA_PSS_2048_8192_SHA512),
            _ => return None,
        };
        let parse = || ParsedPublicKey::new(parameters, self.pkcs1()).ok();
        let key = once(&self.parsed[place], parse).as_ref()?;
        let digest = FixedDigest::import_less_safe(digest, hash).ok()?;
        Some(key.verify_digest_sig(&digest, signature).is_ok())
    }

    /// Length of the modulus in bytes, which is the length of each signature and ciphertext.
    pub(crate) fn len(&self) -> usize {
        self.n.len()
    }

    /// Length of the modulus in bits.
    pub(crate) fn bits(&self) -> usize {
        self.n.len() * 8
            - self
                .n
                .first()
                .map_or(0, |byte| byte.leading_zeros() as usize)
    }

    /// Security strength in bits, as NIST SP 800-57 part 1 estimates it and OpenSSL reports it.
    pub(crate) fn security_bits(&self) -> usize {
        match self.bits() {
            0..1024 => 0,
            1024..2048 => 80,
            2048..3072 => 112,
            3072..4096 => 128,
            4096..6144 => 152,
            6144..7680 => 176,
            7680..8192 => 192,
            8192..15360 => 200,
            _ => 256,
        }
    }

    /// `RSAPublicKey` (RFC 8017, appendix A.1.1), DER.
    pub(crate) fn pkcs1(&self) -> Vec<u8> {
        der::sequence(&[
            &der::unsigned_integer(&self.n),
            &der::unsigned_integer(&self.e),
        ])
    }

    /// `SubjectPublicKeyInfo` (RFC 3279, section 2.3.1), DER.
    pub(crate) fn spki(&self) -> Vec<u8> {
        const RSA_ENCRYPTION: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
        let algorithm = der::sequence(&[&der::object_identifier(RSA_ENCRYPTION), der::NULL]);
        der::sequence(&[&algorithm, &der::bit_string(&self.pkcs1())])
    }

    /// Encrypts. None: the key or the message can't be used with this scheme.
    pub(crate) fn encrypt(&self, scheme: RsaEncryption, plaintext: &[u8]) -> Option<Vec<u8>> {
        let key = PublicEncryptingKey::from_der(&self.spki()).ok()?;
        let mut room = vec![0; self.len()];
        let oaep = match scheme {
            RsaEncryption::Pkcs1 => {
                let key = Pkcs1PublicEncryptingKey::new(key).ok()?;
                return Some(key.encrypt(plaintext, &mut room).ok()?.to_vec());
            }
            RsaEncryption::OaepSha1 => &OAEP_SHA1_MGF1SHA1,
            RsaEncryption::OaepSha256 => &OAEP_SHA256_MGF1SHA256,
        };
        let key = OaepPublicEncryptingKey::new(key).ok()?;
        Some(key.encrypt(oaep, plaintext, &mut room, None).ok()?.to_vec())
    }

    /// Whether `signature` is the PKCS#1 v1.5 signature over `message`, the encoded DigestInfo.
    pub(crate) fn verify_pkcs1(&self, message: &[u8], signature: &[u8]) -> bool {
        let Some(padding) = self
            .len()
            .checked_sub(message.len() + 3)
            .filter(|len| *len >= 8)
        else {
            return false;
        };
        let mut expected = vec![0x00, 0x01];
        expected.resize(2 + padding, 0xff);
        expected.push(0x00);
        expected.extend_from_slice(message);
        self.recover(signature)
            .is_some_and(|encoded| encoded == expected)
    }

    /// Whether `signature` is a PSS signature over `digest`, made by `hash` and with MGF1 by `mgf1`. `salt_len`:
    /// None accepts any length.
    pub(crate) fn verify_pss(
        &self,
        hash: &Digest,
        mgf1: &Digest,
        salt_len: Option<usize>,
        digest: &[u8],
        signature: &[u8],
    ) -> bool {
        self.recover(signature).is_some_and(|encoded| {
            pss_is_consistent(&encoded, self.bits() - 1, hash, mgf1, salt_len, digest)
        })
    }

    /// The number whose signature this is, as long as the modulus. None: `signature` has another length or is not
    /// below the modulus.
    pub(crate) fn recover(&self, signature: &[u8]) -> Option<Vec<u8>> {
        let (n, e) = (
            BigUint::from_bytes_be(&self.n),
            BigUint::from_bytes_be(&self.e),
        );
        let number = BigUint::from_bytes_be(signature);
        if signature.len() != self.len() || number >= n {
            return None;
        }
        let recovered = number.modpow(&e, &n).to_bytes_be();
        let mut encoded = vec![0; self.len() - recovered.len()];
        encoded.extend_from_slice(&recovered);
        Some(encoded)
    }
}

/// The message in a block padded by EMSA-PKCS1-v1_5 (RFC 8017, section 9.2): 0, 1, eight or more 0xff, 0, message.
pub(crate) fn unpad_pkcs1(block: &[u8]) -> Option<&[u8]> {
    let padded = block.strip_prefix(&[0, 1])?;
    let padding = padded.iter().take_while(|&&byte| byte == 0xff).count();
    match padded[padding..].split_first()? {
        (0, message) if padding >= 8 => Some(message),
        _ => None,
    }
}

/// EMSA-PSS-VERIFY of RFC 8017, section 9.1.2, with `bits` the length of the encoded message in bits.
fn pss_is_consistent(
    encoded: &[u8],
    bits: usize,
    hash: &Digest,
    mgf1: &Digest,
    salt_len: Option<usize>,
    digest: &[u8],
) -> bool {
    let len = bits.div_ceil(8);
    let (leading, encoded) = encoded.split_at(encoded.len() - len);
    if leading.iter().any(|&byte| byte != 0) || len < hash.len + 2 || encoded[len - 1] != 0xbc {
        return false;
    }
    let (masked, rest) = encoded.split_at(len - hash.len - 1);
    let h = &rest[..hash.len];
    let unused = 8 * len - bits;
    let top_mask = 0xffu8.checked_shr(unused as u32).unwrap_or(0);
    if masked[0] & !top_mask != 0 {
        return false;
    }
    let mut db: Vec<u8> = masked
        .iter()
        .zip(mgf1_mask(mgf1, h, masked.len()))
        .map(|(a, b)| a ^ b)
        .collect();
    db[0] &= top_mask;
    let Some(one) = db.iter().position(|&byte| byte != 0) else {
        return false;
    };
    let salt = &db[one + 1..];
    if db[one] != 1 || salt_len.is_some_and(|len| len != salt.len()) {
        return false;
    }
    let expected = hash.of(&[&[0; 8], digest, salt].concat());
    *expected == *h
}

/// MGF1 of RFC 8017, appendix B.2.1.
fn mgf1_mask(hash: &Digest, seed: &[u8], len: usize) -> Vec<u8> {
    let mut mask = Vec::with_capacity(len + hash.len);
    for counter in 0u32.. {
        if mask.len() >= len {
            break;
        }
        mask.extend_from_slice(&hash.of(&[seed, &counter.to_be_bytes()].concat()));
    }
    mask.truncate(len);
    mask
}

/// AlgorithmIdentifier of a PKCS#1 v1.5 signature (RFC 8017, appendix A.2.4): the parameters are NULL.
pub(crate) fn pkcs1_algorithm_id(digest: &Digest) -> Vec<u8> {
    der::sequence(&[&der::object_identifier(digest.rsa_oid), der::NULL])
}

/// AlgorithmIdentifier of a PSS signature (RFC 8017, appendix A.2.3). Values equal to the DEFAULT (SHA-1, MGF1 with
/// SHA-1, 20 bytes of salt) are left out, as DER demands.
pub(crate) fn pss_algorithm_id(digest: &Digest, mgf1: &Digest, salt_len: usize) -> Vec<u8> {
    const RSASSA_PSS: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0a];
    const MGF1: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x08];
    let hash_id =
        |digest: &Digest| der::sequence(&[&der::object_identifier(digest.oid), der::NULL]);
    let mut parameters = Vec::new();
    if digest.name() != "SHA1" {
        parameters.push(der::explicit(0, &hash_id(digest)));
    }
    if mgf1.name() != "SHA1" {
        let mgf = der::sequence(&[&der::object_identifier(MGF1), &hash_id(mgf1)]);
        parameters.push(der::explicit(1, &mgf));
    }
    if salt_len != 20 {
        parameters.push(der::explicit(
            2,
            &der::unsigned_integer(&salt_len.to_be_bytes()),
        ));
    }
    let parameters: Vec<&[u8]> = parameters.iter().map(Vec::as_slice).collect();
    der::sequence(&[
        &der::object_identifier(RSASSA_PSS),
        &der::sequence(&parameters),
    ])
}
