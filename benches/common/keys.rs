//! Kinds of keys whose signatures are measured.

use std::process::Command;

use cryptoki::mechanism::Mechanism;
use cryptoki::mechanism::dsa::{HedgeType, SignAdditionalContext};
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::rsa::Rsa;
use openssl::sign::Signer;
use testing::Outcome;

/// What is signed with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeyKind {
    Ec,
    Rsa,
    MlDsa,
}

impl KeyKind {
    pub(crate) fn by_name(name: &str) -> Self {
        let all = [Self::Ec, Self::Rsa, Self::MlDsa];
        let mut all = all.into_iter();
        all.find(|kind| kind.name() == name)
            .expect("a key: ec, rsa or ml-dsa")
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ec => "ec",
            Self::Rsa => "rsa",
            Self::MlDsa => "ml-dsa",
        }
    }

    /// The body of the request that makes one.
    pub(crate) fn creation(self) -> &'static str {
        match self {
            Self::Ec => r#"{"kty":"EC-HSM","crv":"P-256"}"#,
            Self::Rsa => r#"{"kty":"RSA-HSM","key_size":2048}"#,
            Self::MlDsa => r#"{"kty":"AKP-HSM","alg":"ML-DSA-65"}"#,
        }
    }

    /// The body of a request for a signature.
    pub(crate) fn request(self) -> String {
        let digest = "A".repeat(43);
        match self {
            Self::Ec => format!(r#"{{"alg":"ES256","value":"{digest}"}}"#),
            Self::Rsa => format!(r#"{{"alg":"RS256","value":"{digest}"}}"#),
            Self::MlDsa => format!(r#"{{"external_mu":"{}"}}"#, "A".repeat(86)),
        }
    }

    /// The version of the service's API that has it.
    pub(crate) fn api_version(self) -> &'static str {
        match self {
            Self::Ec | Self::Rsa => "7.4",
            Self::MlDsa => "2026-05-01-preview",
        }
    }

    pub(crate) fn mechanism(self) -> Mechanism<'static> {
        match self {
            Self::Ec => Mechanism::EcdsaSha256,
            Self::Rsa => Mechanism::Sha256RsaPkcs,
            Self::MlDsa => {
                let preferred = SignAdditionalContext::new(HedgeType::Preferred, None);
                Mechanism::MlDsa(preferred)
            }
        }
    }

    pub(crate) fn software(self) -> PKey<Private> {
        let key = match self {
            Self::Ec => {
                let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).expect("P-256");
                PKey::from_ec_key(EcKey::generate(&group).expect("a key"))
            }
            Self::Rsa => PKey::from_rsa(Rsa::generate(2048).expect("a key")),
            Self::MlDsa => {
                let mut make = Command::new("openssl");
                make.args(["genpkey", "-algorithm", "ML-DSA-65"]);
                PKey::private_key_from_pem(Outcome::of(make).succeeds().as_bytes())
            }
        };
        key.expect("a key")
    }

    pub(crate) fn signer(self, key: &PKey<Private>) -> Signer<'_> {
        let signer = match self {
            Self::Ec | Self::Rsa => Signer::new(MessageDigest::sha256(), key),
            Self::MlDsa => Signer::new_without_digest(key),
        };
        signer.expect("a signer")
    }

    /// Whether libcrypto knows such keys here: ML-DSA is there from 3.5 on.
    pub(crate) fn is_known_to_openssl(self) -> bool {
        self != Self::MlDsa || openssl::version::number() >= 0x3050_0000
    }
}
