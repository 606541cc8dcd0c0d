//! The mechanisms: one table, with what each takes and what does it.

use cryptoki_sys::*;
use hsm_keys::{Digest, PublicKey, SaltLen, Scheme};
use managed_hsm::{MacAlgorithm, ParameterSet, Service};

use crate::attributes::key_type;
use crate::configuration::{Options, RsaPkcs1Decrypt};
use crate::error::Error;
use crate::ffi::convert::MechanismIn;
use crate::message::Message;
use crate::ml_dsa;
use crate::token::tags::Half;

/// A mechanism.
#[derive(Debug)]
pub(crate) struct Mechanism {
    pub(crate) name: &'static str,
    pub(crate) type_: CK_MECHANISM_TYPE,
    pub(crate) kind: Kind,
}

/// What a mechanism does. Hash functions have the names of [`hsm_keys::DIGESTS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    RsaKeyPair,
    EcKeyPair,
    MlDsaKeyPair,
    AesKey,
    GenericKey,
    Digest(&'static str),
    /// Without a hash function: of what the program has hashed.
    Signature(Padding, Option<&'static str>),
    MlDsa,
    Mac(MacAlgorithm),
    RsaOaep,
    /// RSA-OAEP and AES key wrap: for keys that come to an HSM.
    RsaAes,
    Aes(AesMode),
}

/// A mode of AES.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AesMode {
    Cbc,
    CbcPad,
    /// The tag follows the ciphertext.
    Gcm,
    /// The same, with the initialisation vector before the ciphertext.
    GcmWithIv,
    Wrap,
    WrapPad,
}

/// How something is signed, and verified.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Signed {
    /// By a key pair.
    By(Scheme),
    /// By a symmetric key.
    Mac(MacAlgorithm),
}

/// How a signature is made of a digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Padding {
    Pkcs1,
    Pss,
    Ecdsa,
}

/// AES-GCM of Azure Cloud HSM and AWS CloudHSM: the initialisation vector precedes the ciphertext.
pub(crate) const CKM_CLOUDHSM_AES_GCM: CK_MECHANISM_TYPE = 0x8000_1087;

macro_rules! mechanisms {
    ($($type:ident $kind:expr;)*) => {
        /// All mechanisms that there are.
        pub(crate) static MECHANISMS: &[Mechanism] = &[$(Mechanism {
            name: stringify!($type),
            type_: $type,
            kind: $kind,
        }),*];
    };
}

use Kind::{Aes, Digest as Hashing, Signature};
use Padding::{Ecdsa, Pkcs1, Pss};

mechanisms! {
    CKM_RSA_PKCS_KEY_PAIR_GEN Kind::RsaKeyPair;
    CKM_EC_KEY_PAIR_GEN Kind::EcKeyPair;
    CKM_ML_DSA_KEY_PAIR_GEN Kind::MlDsaKeyPair;
    CKM_AES_KEY_GEN Kind::AesKey;
    CKM_GENERIC_SECRET_KEY_GEN Kind::GenericKey;
    // It encrypts as well.
    CKM_RSA_PKCS Signature(Pkcs1, None);
    CKM_RSA_PKCS_OAEP Kind::RsaOaep;
    CKM_RSA_AES_KEY_WRAP Kind::RsaAes;
    CKM_AES_CBC Aes(AesMode::Cbc);
    CKM_AES_CBC_PAD Aes(AesMode::CbcPad);
    CKM_AES_GCM Aes(AesMode::Gcm);
    CKM_CLOUDHSM_AES_GCM Aes(AesMode::GcmWithIv);
    CKM_AES_KEY_WRAP Aes(AesMode::Wrap);
    CKM_AES_KEY_WRAP_PAD Aes(AesMode::WrapPad);
    CKM_AES_KEY_WRAP_KWP Aes(AesMode::WrapPad);
    CKM_SHA256_RSA_PKCS Signature(Pkcs1, Some("SHA256"));
    CKM_SHA384_RSA_PKCS Signature(Pkcs1, Some("SHA384"));
    CKM_SHA512_RSA_PKCS Signature(Pkcs1, Some("SHA512"));
    CKM_RSA_PKCS_PSS Signature(Pss, None);
    CKM_SHA256_RSA_PKCS_PSS Signature(Pss, Some("SHA256"));
    CKM_SHA384_RSA_PKCS_PSS Signature(Pss, Some("SHA384"));
    CKM_SHA512_RSA_PKCS_PSS Signature(Pss, Some("SHA512"));
    CKM_ECDSA Signature(Ecdsa, None);
    CKM_ECDSA_SHA1 Signature(Ecdsa, Some("SHA1"));
    CKM_ECDSA_SHA224 Signature(Ecdsa, Some("SHA224"));
    CKM_ECDSA_SHA256 Signature(Ecdsa, Some("SHA256"));
    CKM_ECDSA_SHA384 Signature(Ecdsa, Some("SHA384"));
    CKM_ECDSA_SHA512 Signature(Ecdsa, Some("SHA512"));
    CKM_ECDSA_SHA3_224 Signature(Ecdsa, Some("SHA3-224"));
    CKM_ECDSA_SHA3_256 Signature(Ecdsa, Some("SHA3-256"));
    CKM_ECDSA_SHA3_384 Signature(Ecdsa, Some("SHA3-384"));
    CKM_ECDSA_SHA3_512 Signature(Ecdsa, Some("SHA3-512"));
    CKM_ML_DSA Kind::MlDsa;
    CKM_SHA256_HMAC Kind::Mac(MacAlgorithm::Hs256);
    CKM_SHA384_HMAC Kind::Mac(MacAlgorithm::Hs384);
    CKM_SHA512_HMAC Kind::Mac(MacAlgorithm::Hs512);
    CKM_SHA_1 Hashing("SHA1");
    CKM_SHA224 Hashing("SHA224");
    CKM_SHA256 Hashing("SHA256");
    CKM_SHA384 Hashing("SHA384");
    CKM_SHA512 Hashing("SHA512");
    CKM_SHA512_224 Hashing("SHA512-224");
    CKM_SHA512_256 Hashing("SHA512-256");
    CKM_SHA3_224 Hashing("SHA3-224");
    CKM_SHA3_256 Hashing("SHA3-256");
    CKM_SHA3_384 Hashing("SHA3-384");
    CKM_SHA3_512 Hashing("SHA3-512");
    // The HSM makes these by RSNULL only, where it is switched on, or not at all; they can be
    // verified.
    CKM_SHA1_RSA_PKCS Signature(Pkcs1, Some("SHA1"));
    CKM_SHA224_RSA_PKCS Signature(Pkcs1, Some("SHA224"));
    CKM_SHA3_224_RSA_PKCS Signature(Pkcs1, Some("SHA3-224"));
    CKM_SHA3_256_RSA_PKCS Signature(Pkcs1, Some("SHA3-256"));
    CKM_SHA3_384_RSA_PKCS Signature(Pkcs1, Some("SHA3-384"));
    CKM_SHA3_512_RSA_PKCS Signature(Pkcs1, Some("SHA3-512"));
    CKM_SHA1_RSA_PKCS_PSS Signature(Pss, Some("SHA1"));
    CKM_SHA224_RSA_PKCS_PSS Signature(Pss, Some("SHA224"));
    CKM_SHA3_224_RSA_PKCS_PSS Signature(Pss, Some("SHA3-224"));
    CKM_SHA3_256_RSA_PKCS_PSS Signature(Pss, Some("SHA3-256"));
    CKM_SHA3_384_RSA_PKCS_PSS Signature(Pss, Some("SHA3-384"));
    CKM_SHA3_512_RSA_PKCS_PSS Signature(Pss, Some("SHA3-512"));
}

/// The hash functions of mask generation.
const MASKS: [(CK_RSA_PKCS_MGF_TYPE, &str); 9] = [
    (CKG_MGF1_SHA1, "SHA1"),
    (CKG_MGF1_SHA224, "SHA224"),
    (CKG_MGF1_SHA256, "SHA256"),
    (CKG_MGF1_SHA384, "SHA384"),
    (CKG_MGF1_SHA512, "SHA512"),
    (CKG_MGF1_SHA3_224, "SHA3-224"),
    (CKG_MGF1_SHA3_256, "SHA3-256"),
    (CKG_MGF1_SHA3_384, "SHA3-384"),
    (CKG_MGF1_SHA3_512, "SHA3-512"),
];

const ENCRYPTION: CK_FLAGS = CKF_ENCRYPT | CKF_DECRYPT | CKF_WRAP | CKF_UNWRAP;

const SIGNING: CK_FLAGS = CKF_SIGN | CKF_MESSAGE_SIGN;
const VERIFICATION: CK_FLAGS = CKF_VERIFY | CKF_MESSAGE_VERIFY;

const EC_FLAGS: CK_FLAGS = CKF_EC_F_P | CKF_EC_OID | CKF_EC_CURVENAME | CKF_EC_UNCOMPRESS;

impl Mechanism {
    /// The mechanism of a type, if it is there.
    pub(crate) fn find(type_: CK_MECHANISM_TYPE) -> Option<&'static Self> {
        MECHANISMS.iter().find(|mechanism| mechanism.type_ == type_)
    }

    /// The least and the greatest size of keys in bits; None: it has no keys, or they have
    /// parameter sets in place of sizes.
    pub(crate) fn key_bits(&self) -> Option<(CK_ULONG, CK_ULONG)> {
        if let Kind::Mac(algorithm) = self.kind {
            return Some((8 * algorithm.mac_len() as CK_ULONG, 512));
        }
        Some(match self.key_type()? {
            CKK_RSA => (2048, 4096),
            CKK_EC => (256, 521),
            CKK_ML_DSA => return None,
            _ => (128, 256),
        })
    }

    /// The same as programs get it: the standard counts AES and MAC keys and public keys of ML-DSA
    /// in bytes, and has 0 without keys.
    pub(crate) fn key_sizes(&self) -> (CK_ULONG, CK_ULONG) {
        let (least, most) = self.key_bits().unwrap_or_default();
        let public_key_len = |set: ParameterSet| set.public_key_len() as CK_ULONG;
        match self.kind {
            Kind::MlDsaKeyPair | Kind::MlDsa => (
                public_key_len(ParameterSet::MlDsa44),
                public_key_len(ParameterSet::MlDsa87),
            ),
            Kind::AesKey | Aes(_) | Kind::Mac(_) => (least / 8, most / 8),
            _ => (least, most),
        }
    }

    /// Of which type its keys are.
    pub(crate) fn key_type(&self) -> Option<CK_KEY_TYPE> {
        match self.kind {
            Kind::RsaKeyPair | Kind::RsaOaep | Kind::RsaAes | Signature(Pkcs1 | Pss, _) => {
                Some(CKK_RSA)
            }
            Kind::EcKeyPair | Signature(Ecdsa, _) => Some(CKK_EC),
            Kind::MlDsaKeyPair | Kind::MlDsa => Some(CKK_ML_DSA),
            Kind::AesKey | Kind::GenericKey | Kind::Mac(_) | Aes(_) => Some(CKK_AES),
            Hashing(_) => None,
        }
    }

    /// Whether a service has it: a key vault has no secret keys.
    pub(crate) fn is_of(&self, service: Service) -> bool {
        service == Service::ManagedHsm || self.key_type() != Some(CKK_AES)
    }

    /// Whether a key is of that type.
    pub(crate) fn takes(&self, key: &PublicKey) -> bool {
        self.key_type() == Some(key_type(key.key_type()))
    }

    /// What it may be used for.
    pub(crate) fn flags(&self, options: &Options) -> CK_FLAGS {
        let ec = match self.key_type() {
            Some(CKK_EC) => EC_FLAGS,
            _ => 0,
        };
        match self.kind {
            Kind::RsaKeyPair | Kind::EcKeyPair | Kind::MlDsaKeyPair => {
                CKF_HW | CKF_GENERATE_KEY_PAIR | ec
            }
            Kind::AesKey | Kind::GenericKey => CKF_HW | CKF_GENERATE,
            Hashing(_) => CKF_DIGEST,
            Kind::Mac(_) | Kind::MlDsa => CKF_HW | SIGNING | VERIFICATION,
            Kind::RsaOaep => CKF_HW | ENCRYPTION,
            Kind::RsaAes if options.allow_import => CKF_HW | CKF_WRAP | CKF_UNWRAP,
            Kind::RsaAes => CKF_WRAP,
            Aes(AesMode::Gcm) => CKF_HW | ENCRYPTION | CKF_MESSAGE_ENCRYPT | CKF_MESSAGE_DECRYPT,
            Aes(_) => CKF_HW | ENCRYPTION,
            Signature(..) => {
                let sign = match self.can_sign(options) {
                    true => CKF_HW | SIGNING,
                    false => 0,
                };
                let recover = match (self.type_, options.rsnull) {
                    (CKM_RSA_PKCS, true) => CKF_SIGN_RECOVER | CKF_VERIFY_RECOVER,
                    (CKM_RSA_PKCS, false) => CKF_VERIFY_RECOVER,
                    _ => 0,
                };
                let encryption = match (self.type_, options.rsa_pkcs1_decrypt) {
                    (CKM_RSA_PKCS, RsaPkcs1Decrypt::Deny) => CKF_ENCRYPT | CKF_WRAP,
                    (CKM_RSA_PKCS, _) => ENCRYPTION,
                    _ => 0,
                };
                sign | VERIFICATION | recover | encryption | ec
            }
        }
    }

    /// Whether signatures are made or verified by it.
    pub(crate) fn is_signature(&self) -> bool {
        matches!(self.kind, Signature(..) | Kind::Mac(_) | Kind::MlDsa)
    }

    /// Whether the HSM makes such signatures.
    pub(crate) fn can_sign(&self, options: &Options) -> bool {
        match self.kind {
            Signature(Ecdsa, _) | Signature(_, None) | Kind::Mac(_) | Kind::MlDsa => true,
            Signature(padding, Some(hash)) => {
                let is_known = Digest::by_name(hash).is_some_and(Digest::is_for_rsa);
                is_known || padding == Pkcs1 && options.rsnull
            }
            _ => false,
        }
    }

    /// Why it makes no signatures.
    pub(crate) fn refusal_to_sign(&self) -> Error {
        let remedy = match self.kind {
            Signature(Pkcs1, _) => "use SHA-256, SHA-384 or SHA-512, or switch rsnull on",
            Signature(..) => "use SHA-256, SHA-384 or SHA-512",
            _ => return Error::code(CKR_MECHANISM_INVALID),
        };
        let problem = format!("the HSM makes no signatures by {}: {remedy}", self.name);
        Error::because(CKR_MECHANISM_INVALID, problem)
    }

    /// Whether it encrypts and decrypts.
    pub(crate) fn encrypts(&self) -> bool {
        matches!(self.kind, Kind::RsaOaep | Aes(_)) || self.type_ == CKM_RSA_PKCS
    }

    /// The hash function of the message, where the mechanism has one.
    pub(crate) fn hash(&self) -> Option<&'static Digest> {
        match self.kind {
            Signature(_, Some(name)) | Hashing(name) => Digest::by_name(name),
            _ => None,
        }
    }

    /// How signatures are made and verified, with the parameter that a program passes, and a
    /// message of which nothing has come. The half of the key tells which of both is wanted.
    ///
    /// # Errors
    /// The mechanism makes no signatures by such a key, or has another parameter.
    pub(crate) fn signed(
        &self,
        given: &MechanismIn<'_>,
        public: &PublicKey,
        half: Half,
    ) -> Result<(Signed, Message), Error> {
        let (digest, parameter) = (self.hash(), given.parameter()?);
        let scheme = match (self.kind, public) {
            (Kind::MlDsa, PublicKey::MlDsa(key)) => {
                let message = Message::begun(ml_dsa::hasher(key, half, given)?);
                return Ok((Signed::By(Scheme::MlDsa(key.set)), message));
            }
            (Signature(Pss, _), _) => pss(digest, parameter)?,
            _ if !parameter.is_empty() => {
                return Err(parameter_invalid("the mechanism has no parameter"));
            }
            (Kind::Mac(algorithm), _) => {
                return Ok((Signed::Mac(algorithm), Message::unhashed()));
            }
            (Signature(Ecdsa, _), _) => Scheme::Ecdsa { digest },
            (Signature(Pkcs1, _), _) => Scheme::Pkcs1 { digest },
            _ => return Err(Error::code(CKR_MECHANISM_INVALID)),
        };
        Ok((Signed::By(scheme), Message::new(digest)))
    }
}

/// The hash function whose mechanism this is.
pub(crate) fn digest_of(type_: CK_MECHANISM_TYPE) -> Option<&'static Digest> {
    match Mechanism::find(type_)?.kind {
        Hashing(name) => Digest::by_name(name),
        _ => None,
    }
}

/// The hash function of a mask generation.
pub(crate) fn mask_of(type_: CK_RSA_PKCS_MGF_TYPE) -> Option<&'static Digest> {
    let (_, name) = MASKS.iter().find(|(known, _)| *known == type_)?;
    Digest::by_name(name)
}

pub(crate) fn parameter_invalid(problem: &str) -> Error {
    Error::because(CKR_MECHANISM_PARAM_INVALID, problem)
}

/// PSS by a `CK_RSA_PKCS_PSS_PARAMS`; `of_message` is the hash function of the mechanism itself.
fn pss(of_message: Option<&'static Digest>, parameter: &[u8]) -> Result<Scheme, Error> {
    let (words, rest) = parameter.as_chunks::<{ size_of::<CK_ULONG>() }>();
    let ([hash, mgf, salt_len], []) = (words, rest) else {
        return Err(parameter_invalid(
            "PSS has a CK_RSA_PKCS_PSS_PARAMS as its parameter",
        ));
    };
    let [hash, mgf, salt_len] = [hash, mgf, salt_len].map(|word| CK_ULONG::from_ne_bytes(*word));
    let (Some(digest), Some(mgf1)) = (digest_of(hash), mask_of(mgf)) else {
        return Err(parameter_invalid(
            "the hash functions of the PSS parameter are not known",
        ));
    };
    if of_message.is_some_and(|of_message| of_message != digest) {
        return Err(parameter_invalid(
            "the hash function of the PSS parameter is not the mechanism's",
        ));
    }
    Ok(Scheme::Pss {
        digest,
        mgf1,
        salt_len: SaltLen::Bytes(usize::try_from(salt_len).unwrap_or(usize::MAX)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_hash_function_of_the_table_is_known_and_no_mechanism_is_there_twice() {
        for mechanism in MECHANISMS {
            if let Hashing(_) | Signature(_, Some(_)) = mechanism.kind {
                assert!(mechanism.hash().is_some(), "{mechanism:?}");
            }
            let same = |other: &&Mechanism| other.type_ == mechanism.type_;
            assert_eq!(MECHANISMS.iter().filter(same).count(), 1, "{mechanism:?}");
        }
        assert!(
            MASKS
                .iter()
                .all(|(_, name)| Digest::by_name(name).is_some())
        );
    }

    #[test]
    fn a_pss_parameter_names_hash_mask_and_salt() {
        let parameter = |numbers: &[CK_ULONG]| {
            let bytes: Vec<u8> = numbers.iter().flat_map(|n| n.to_ne_bytes()).collect();
            bytes
        };
        let sha256 = Digest::by_name("SHA256");
        let good = pss(sha256, &parameter(&[CKM_SHA256, CKG_MGF1_SHA256, 32])).unwrap();
        let Scheme::Pss { salt_len, .. } = good else {
            panic!("{good:?}");
        };
        assert_eq!(salt_len, SaltLen::Bytes(32));
        for wrong in [
            &[CKM_SHA384, CKG_MGF1_SHA256, 32][..],
            &[CKM_RSA_PKCS, CKG_MGF1_SHA256, 32],
            &[CKM_SHA256, 99, 32],
            &[CKM_SHA256, CKG_MGF1_SHA256],
            &[],
        ] {
            let error = pss(sha256, &parameter(wrong)).unwrap_err();
            assert_eq!(error.code, CKR_MECHANISM_PARAM_INVALID, "{wrong:?}");
        }
    }
}
