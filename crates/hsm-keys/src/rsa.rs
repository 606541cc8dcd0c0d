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
use crate::encryption::RsaEncryption;
use crate::once::once;
use crate::pss;

/// The object identifier of RSA keys (RFC 3279, section 2.3.1).
pub(crate) const RSA_ENCRYPTION: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];

/// An RSA public key.
#[derive(Clone, Debug)]
pub struct RsaPublicKey {
    n: Vec<u8>,
    e: Vec<u8>,
    /// For each of the service's algorithms, once one was asked for.
    parsed: OnceLock<Box<[Parsed; 6]>>,
}

/// As the library has it, once it was asked for. None: the library doesn't take such keys.
type Parsed = OnceLock<Option<ParsedPublicKey>>;

impl PartialEq for RsaPublicKey {
    fn eq(&self, other: &Self) -> bool {
        self.n == other.n && self.e == other.e
    }
}

impl Eq for RsaPublicKey {}

impl RsaPublicKey {
    /// From a modulus and a public exponent that were checked.
    pub(crate) fn new(n: Vec<u8>, e: Vec<u8>) -> Self {
        Self {
            n,
            e,
            parsed: OnceLock::new(),
        }
    }

    /// Modulus, most significant byte first, without leading zeros.
    pub fn modulus(&self) -> &[u8] {
        &self.n
    }

    /// Public exponent, most significant byte first, without leading zeros.
    pub fn exponent(&self) -> &[u8] {
        &self.e
    }

    /// Whether `signature` is one over `digest` by one of the service's algorithms. None: the
    /// library can't tell.
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
        let parsed = once(&self.parsed, Default::default);
        let key = once(&parsed[place], parse).as_ref()?;
        let digest = FixedDigest::import_less_safe(digest, hash).ok()?;
        Some(key.verify_digest_sig(&digest, signature).is_ok())
    }

    /// Length of the modulus in bytes, which is the length of each signature and ciphertext.
    #[allow(clippy::len_without_is_empty)] // No modulus is empty.
    pub fn len(&self) -> usize {
        self.n.len()
    }

    /// Length of the modulus in bits.
    pub fn bits(&self) -> usize {
        self.n.len() * 8
            - self
                .n
                .first()
                .map_or(0, |byte| byte.leading_zeros() as usize)
    }

    /// Security strength in bits, as NIST SP 800-57 part 1 estimates it and OpenSSL reports it.
    pub fn security_bits(&self) -> usize {
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
    pub fn pkcs1(&self) -> Vec<u8> {
        der::sequence(&[
            &der::unsigned_integer(&self.n),
            &der::unsigned_integer(&self.e),
        ])
    }

    /// `SubjectPublicKeyInfo` (RFC 3279, section 2.3.1), DER.
    pub fn spki(&self) -> Vec<u8> {
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

    /// Whether `signature` is a PSS signature over `digest`, made by `hash` and with MGF1 by
    /// `mgf1`. `salt_len`: None accepts any length.
    pub(crate) fn verify_pss(
        &self,
        hash: &Digest,
        mgf1: &Digest,
        salt_len: Option<usize>,
        digest: &[u8],
        signature: &[u8],
    ) -> bool {
        self.recover(signature).is_some_and(|encoded| {
            pss::is_consistent(&encoded, self.bits() - 1, hash, mgf1, salt_len, digest)
        })
    }

    /// The number whose signature this is, as long as the modulus. None: `signature` has another
    /// length or is not below the modulus.
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

/// The message in a block padded by EMSA-PKCS1-v1_5 (RFC 8017, section 9.2): 0, 1, eight or more
/// 0xff, 0, message.
pub(crate) fn unpad_pkcs1(block: &[u8]) -> Option<&[u8]> {
    let padded = block.strip_prefix(&[0, 1])?;
    let padding = padded.iter().take_while(|&&byte| byte == 0xff).count();
    match padded[padding..].split_first()? {
        (0, message) if padding >= 8 => Some(message),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testdata::{bytes, rsa_key};

    const KEYS: [(usize, u32); 3] = [(2048, 65537), (2048, 3), (2050, 65537)];

    /// A number minus or plus one.
    fn next_to(number: &[u8], up: bool) -> Vec<u8> {
        let number = BigUint::from_bytes_be(number);
        match up {
            true => number + 1u8,
            false => number - 1u8,
        }
        .to_bytes_be()
    }

    #[test]
    fn lengths_are_those_of_the_modulus() {
        for (bits, exponent) in KEYS {
            let key = rsa_key(bits, exponent);
            assert_eq!((key.bits(), key.len()), (bits, bits.div_ceil(8)));
            assert_eq!(key.security_bits(), 112);
            assert_eq!(BigUint::from_bytes_be(key.exponent()), exponent.into());
        }
    }

    #[test]
    fn a_number_that_is_no_signature_is_not_recovered() {
        for (bits, exponent) in KEYS {
            let key = rsa_key(bits, exponent);
            let signature = bytes(&format!("pkcs1-sha256-{bits}-{exponent}"));
            assert_eq!(key.recover(&signature).unwrap().len(), key.len());
            let modulus = key.modulus();
            for refused in [
                &[][..],
                &signature[1..],
                &signature[..signature.len() - 1],
                &[&[0], &signature[..]].concat(),
                &[&signature[..], &[0]].concat(),
                modulus,
                &next_to(modulus, true),
                &vec![0xff; key.len()],
            ] {
                assert_eq!(key.recover(refused), None);
            }
            // The largest number below an odd modulus, to an odd power, is itself.
            let largest = next_to(modulus, false);
            assert_eq!(key.recover(&largest), Some(largest));
            let zero = vec![0; key.len()];
            assert_eq!(key.recover(&zero), Some(zero));
        }
    }

    #[test]
    fn nobody_forges_by_the_cube_root_of_a_small_exponent() {
        // What an exponent of 3 makes of a small number is its cube, without the modulus.
        let key = rsa_key(2048, 3);
        let mut root = vec![0; key.len()];
        root[key.len() - 1] = 2;
        let mut cube = vec![0; key.len()];
        cube[key.len() - 1] = 8;
        assert_eq!(key.recover(&root), Some(cube));
        assert!(!key.verify_pkcs1(&[8], &root));
        // Bleichenbacher's forgery of 2006: the block begins well, and rubbish follows the message.
        let message = [0x30; 51];
        let mut block = [&[0, 1][..], &[0xff; 8], &[0], &message].concat();
        block.resize(key.len(), 0xff);
        let root = BigUint::from_bytes_be(&block).cbrt().to_bytes_be();
        let mut forged = vec![0; key.len() - root.len()];
        forged.extend_from_slice(&root);
        let recovered = key.recover(&forged).unwrap();
        assert!(recovered.starts_with(&block[..60]), "{recovered:02x?}");
        assert!(!key.verify_pkcs1(&message, &forged));
        assert_ne!(unpad_pkcs1(&recovered), Some(&message[..]));
    }

    #[test]
    fn padding_of_pkcs1_is_taken_off_only_where_it_is_whole() {
        let padded = |len| [&[0, 1][..], &vec![0xff; len], &[0], b"abc"].concat();
        assert_eq!(unpad_pkcs1(&padded(8)), Some(&b"abc"[..]));
        assert_eq!(unpad_pkcs1(&padded(200)), Some(&b"abc"[..]));
        let good = padded(8);
        let mut type_2 = good.clone();
        type_2[1] = 2;
        let mut other_byte = good.clone();
        other_byte[4] = 0xfe;
        for refused in [
            &[][..],
            &padded(7),
            &good[1..],
            &good[..10],
            &type_2,
            &other_byte,
        ] {
            assert_eq!(unpad_pkcs1(refused), None, "{refused:02x?}");
        }
        assert_eq!(unpad_pkcs1(&good[..11]), Some(&b""[..]));
    }

    #[test]
    fn the_library_answers_for_the_algorithms_of_the_service_only() {
        let key = rsa_key(2048, 65537);
        let digest = Digest::by_name("SHA256").unwrap().of(b"abc");
        let signature = bytes("pkcs1-sha256-2048-65537");
        let verified = |algorithm| key.verify_by(algorithm, &digest, &signature);
        assert_eq!(verified(SignatureAlgorithm::Rs256), Some(true));
        assert_eq!(verified(SignatureAlgorithm::Ps256), Some(false));
        assert_eq!(verified(SignatureAlgorithm::RsNull), None);
        assert_eq!(verified(SignatureAlgorithm::Es256), None);
        // A digest of another length.
        assert_eq!(verified(SignatureAlgorithm::Rs512), None);
    }
}
