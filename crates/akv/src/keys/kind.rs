//! Types and curves of keys by their names on the command line.

use azure_security_keyvault_keys::models::{CurveName, KeyType};
use clap::ValueEnum;
use managed_hsm::{Curve, ParameterSet, PublicKey};

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Kind {
    Rsa,
    /// As the service and Azure's command line name it: in an HSM, of a key vault too
    #[value(hide = true)]
    RsaHsm,
    Ec,
    /// The same for EC
    #[value(hide = true)]
    EcHsm,
    /// Symmetric: AES
    #[value(aliases = ["aes", "oct-hsm"])]
    Oct,
    #[value(name = "ml-dsa-44")]
    MlDsa44,
    #[value(name = "ml-dsa-65")]
    MlDsa65,
    #[value(name = "ml-dsa-87")]
    MlDsa87,
}

impl Kind {
    pub(super) fn key_type(self, in_hsm: bool) -> KeyType {
        match (self, in_hsm) {
            (Self::RsaHsm, _) | (Self::Rsa, true) => KeyType::RsaHsm,
            (Self::Rsa, false) => KeyType::Rsa,
            (Self::EcHsm, _) | (Self::Ec, true) => KeyType::EcHsm,
            (Self::Ec, false) => KeyType::Ec,
            (Self::Oct, _) => KeyType::OctHsm,
            (Self::MlDsa44 | Self::MlDsa65 | Self::MlDsa87, true) => {
                KeyType::UnknownValue("AKP-HSM".to_owned())
            }
            (Self::MlDsa44 | Self::MlDsa65 | Self::MlDsa87, false) => {
                KeyType::UnknownValue("AKP".to_owned())
            }
        }
    }

    /// Its name on the command line.
    pub(super) fn name(self) -> String {
        let value = self.to_possible_value();
        value.map_or_else(String::new, |value| value.get_name().to_owned())
    }

    /// Whether the name itself says that the key is to be in an HSM.
    pub(super) fn names_an_hsm(self) -> bool {
        matches!(self, Self::RsaHsm | Self::EcHsm)
    }

    pub(super) fn is_ec(self) -> bool {
        matches!(self, Self::Ec | Self::EcHsm)
    }

    /// Whether a key is of this type.
    pub(super) fn is_of(self, public: &PublicKey) -> bool {
        match public {
            PublicKey::Rsa { .. } => matches!(self, Self::Rsa | Self::RsaHsm),
            PublicKey::Ec { .. } => self.is_ec(),
            PublicKey::MlDsa { set, .. } => self.ml_dsa() == Some(*set),
            PublicKey::Oct => self == Self::Oct,
        }
    }

    /// Why a key of this type can't have so many bits.
    pub(super) fn misfit(self, bits: i32) -> Option<&'static str> {
        let (sizes, problem): (&[i32], _) = match self {
            Self::Rsa | Self::RsaHsm => (
                &[2048, 3072, 4096],
                "an RSA key has a --size of 2048, 3072 or 4096 bits",
            ),
            Self::Oct => (
                &[128, 192, 256],
                "an AES key has a --size of 128, 192 or 256 bits",
            ),
            Self::Ec | Self::EcHsm => (&[], "an EC key has a --curve and no --size"),
            Self::MlDsa44 | Self::MlDsa65 | Self::MlDsa87 => {
                (&[], "a key of ML-DSA has no --size: its type says all")
            }
        };
        (!sizes.contains(&bits)).then_some(problem)
    }

    /// The parameter set of ML-DSA, if it is one.
    pub(super) fn ml_dsa(self) -> Option<ParameterSet> {
        match self {
            Self::MlDsa44 => Some(ParameterSet::MlDsa44),
            Self::MlDsa65 => Some(ParameterSet::MlDsa65),
            Self::MlDsa87 => Some(ParameterSet::MlDsa87),
            Self::Rsa | Self::RsaHsm | Self::Ec | Self::EcHsm | Self::Oct => None,
        }
    }
}

#[derive(Clone, Copy, ValueEnum)]
pub(super) enum NamedCurve {
    #[value(name = "P-256", aliases = ["p256", "prime256v1", "secp256r1"])]
    P256,
    #[value(name = "P-384", aliases = ["p384", "secp384r1"])]
    P384,
    #[value(name = "P-521", aliases = ["p521", "secp521r1"])]
    P521,
    /// secp256k1
    #[value(name = "P-256K", aliases = ["p256k", "secp256k1"])]
    P256K,
}

impl NamedCurve {
    /// Whether a key is on this curve.
    pub(super) fn is_of(self, public: &PublicKey) -> bool {
        let curve = match self {
            Self::P256 => Curve::P256,
            Self::P384 => Curve::P384,
            Self::P521 => Curve::P521,
            Self::P256K => Curve::P256K,
        };
        matches!(public, PublicKey::Ec { curve: own, .. } if *own == curve)
    }

    pub(super) fn name(self) -> CurveName {
        match self {
            Self::P256 => CurveName::P256,
            Self::P384 => CurveName::P384,
            Self::P521 => CurveName::P521,
            Self::P256K => CurveName::P256K,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_that_names_an_hsm_is_never_a_software_key() {
        for (name, in_hsm, expected) in [
            ("RSA-HSM", false, KeyType::RsaHsm),
            ("ec-hsm", false, KeyType::EcHsm),
            ("rsa", true, KeyType::RsaHsm),
            ("rsa", false, KeyType::Rsa),
            ("aes", true, KeyType::OctHsm),
        ] {
            let kind = Kind::from_str(name, true).unwrap();
            assert_eq!(kind.key_type(in_hsm), expected, "{name}");
        }
    }

    #[test]
    fn only_sizes_that_there_are_fit() {
        for (kind, bits) in [(Kind::Rsa, 3072), (Kind::RsaHsm, 2048), (Kind::Oct, 192)] {
            assert_eq!(kind.misfit(bits), None);
        }
        for (kind, bits) in [(Kind::Rsa, 1024), (Kind::Oct, 512), (Kind::EcHsm, 256)] {
            assert!(kind.misfit(bits).is_some(), "{kind:?}");
        }
    }
}
