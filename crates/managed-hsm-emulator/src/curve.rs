//! Curves of EC keys.

use openssl::ec::EcGroup;
use openssl::error::ErrorStack;
use openssl::nid::Nid;

/// A curve of EC keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Curve {
    P256,
    P256K,
    P384,
    P521,
}

impl Curve {
    pub(crate) const ALL: [Self; 4] = [Self::P256, Self::P256K, Self::P384, Self::P521];

    /// The `crv` of JOSE.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::P256 => "P-256",
            Self::P256K => "P-256K",
            Self::P384 => "P-384",
            Self::P521 => "P-521",
        }
    }

    pub(crate) fn by_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|curve| curve.name() == name)
    }

    pub(crate) fn nid(self) -> Nid {
        match self {
            Self::P256 => Nid::X9_62_PRIME256V1,
            Self::P256K => Nid::SECP256K1,
            Self::P384 => Nid::SECP384R1,
            Self::P521 => Nid::SECP521R1,
        }
    }

    /// Bytes of a coordinate, and of each half of a signature.
    pub(crate) fn field_bytes(self) -> usize {
        match self {
            Self::P256 | Self::P256K => 32,
            Self::P384 => 48,
            Self::P521 => 66,
        }
    }

    pub(crate) fn group(self) -> Result<EcGroup, ErrorStack> {
        EcGroup::from_curve_name(self.nid())
    }
}
