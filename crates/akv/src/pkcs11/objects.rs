//! Keys as objects of PKCS#11: listed, and made.

use std::collections::BTreeMap;

use clap::ValueEnum;
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{
    Attribute, AttributeType, KeyType, MlDsaParameterSetType, ObjectClass, ParameterSetType,
};
use cryptoki::session::Session;
use cryptoki::types::{Date, Ulong};
use hsm_keys::{EcCurve, der};
use managed_hsm::{Curve, ParameterSet};
use serde::{Deserialize, Serialize};

use super::calls::FailedCall;
use super::rows::kid_of;

/// A key to make.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct NewKey {
    pub(super) kind: NewKind,
    pub(super) label: String,
    pub(super) id: Option<Vec<u8>>,
    pub(super) usage: Vec<Usage>,
}

#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub(super) enum NewKind {
    Rsa(usize),
    /// The curve by its name in the service.
    Ec(NamedCurve),
    /// ML-DSA with this parameter set.
    MlDsa(NamedSet),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Deserialize, Serialize)]
pub(super) enum NamedSet {
    #[value(name = "44")]
    MlDsa44,
    #[value(name = "65")]
    MlDsa65,
    #[value(name = "87")]
    MlDsa87,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Deserialize, Serialize)]
pub(super) enum NamedCurve {
    #[value(name = "P-256")]
    P256,
    /// secp256k1
    #[value(name = "P-256K")]
    P256K,
    #[value(name = "P-384")]
    P384,
    #[value(name = "P-521")]
    P521,
}

/// What a key may be used for; the private key for the first of a pair of words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Deserialize, Serialize)]
pub(super) enum Usage {
    Sign,
    Verify,
    Decrypt,
    Encrypt,
    Unwrap,
    Wrap,
}

/// A key, with what its objects say.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(super) struct KeyFacts {
    pub(super) slot: u64,
    pub(super) label: String,
    /// Hexadecimal digits.
    pub(super) id: String,
    pub(super) kind: String,
    pub(super) usage: Vec<String>,
    /// The service's identifier of the version.
    pub(super) kid: String,
    pub(super) starts: Option<String>,
    pub(super) ends: Option<String>,
}

/// All keys, each with what both of its objects say.
pub(super) fn keys(session: &Session, slot: u64) -> Result<Vec<KeyFacts>, FailedCall> {
    let mut found: BTreeMap<(String, String), KeyFacts> = BTreeMap::new();
    for object in session.find_objects(&[])? {
        let attributes = session.get_attributes(object, SHOWN)?;
        let Some(facts) = key(slot, &attributes) else {
            continue;
        };
        let place = (facts.kid.clone(), facts.label.clone());
        match found.get_mut(&place) {
            None => {
                found.insert(place, facts);
            }
            Some(known) => {
                let further = facts.usage.into_iter();
                let further = further.filter(|usage| !known.usage.contains(usage));
                let further: Vec<String> = further.collect();
                known.usage.extend(further);
            }
        }
    }
    Ok(found.into_values().collect())
}

/// What is shown of a key.
const SHOWN: &[AttributeType] = &[
    AttributeType::Class,
    AttributeType::Label,
    AttributeType::Id,
    AttributeType::UniqueId,
    AttributeType::KeyType,
    AttributeType::ModulusBits,
    AttributeType::EcParams,
    AttributeType::ParameterSet,
    AttributeType::StartDate,
    AttributeType::EndDate,
    AttributeType::Sign,
    AttributeType::Verify,
    AttributeType::Decrypt,
    AttributeType::Encrypt,
    AttributeType::Unwrap,
    AttributeType::Wrap,
];

/// None: the object is no key.
fn key(slot: u64, attributes: &[Attribute]) -> Option<KeyFacts> {
    let mut facts = KeyFacts {
        slot,
        ..KeyFacts::default()
    };
    let mut is_key = false;
    let (mut bits, mut curve, mut set) = (None, None, None);
    for attribute in attributes {
        let used_for = match attribute {
            Attribute::Sign(true) => Some("sign"),
            Attribute::Verify(true) => Some("verify"),
            Attribute::Decrypt(true) => Some("decrypt"),
            Attribute::Encrypt(true) => Some("encrypt"),
            Attribute::Unwrap(true) => Some("unwrap"),
            Attribute::Wrap(true) => Some("wrap"),
            _ => None,
        };
        facts.usage.extend(used_for.map(str::to_owned));
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        match attribute {
            Attribute::Class(class) => {
                is_key = [
                    ObjectClass::PRIVATE_KEY,
                    ObjectClass::PUBLIC_KEY,
                    ObjectClass::SECRET_KEY,
                ]
                .contains(class);
            }
            Attribute::Label(label) => facts.label = text(label),
            Attribute::Id(id) => {
                facts.id = id.iter().map(|byte| format!("{byte:02x}")).collect();
            }
            Attribute::UniqueId(id) => facts.kid = kid_of(&text(id)).to_owned(),
            Attribute::KeyType(of) => facts.kind = type_name(*of),
            Attribute::ModulusBits(count) => bits = Some(**count),
            Attribute::EcParams(params) => curve = curve_name(params),
            Attribute::ParameterSet(number) => set = parameter_set(*number),
            Attribute::StartDate(date) if !date.is_empty() => facts.starts = Some(day(date)),
            Attribute::EndDate(date) if !date.is_empty() => facts.ends = Some(day(date)),
            _ => {}
        }
    }
    if let Some(bits) = bits {
        facts.kind += &format!(" {bits}");
    }
    if let Some(curve) = curve {
        facts.kind += &format!(" {curve}");
    }
    if let Some(set) = set {
        facts.kind = set.name().to_owned();
    }
    is_key.then_some(facts)
}

fn type_name(of: KeyType) -> String {
    match of {
        KeyType::RSA => "RSA".to_owned(),
        KeyType::EC => "EC".to_owned(),
        KeyType::AES => "AES".to_owned(),
        other => other.to_string(),
    }
}

impl NamedSet {
    const ALL: [Self; 3] = [Self::MlDsa44, Self::MlDsa65, Self::MlDsa87];

    const fn set(self) -> ParameterSet {
        match self {
            Self::MlDsa44 => ParameterSet::MlDsa44,
            Self::MlDsa65 => ParameterSet::MlDsa65,
            Self::MlDsa87 => ParameterSet::MlDsa87,
        }
    }

    /// Its number in PKCS#11.
    fn number(self) -> ParameterSetType {
        ParameterSetType::from(match self {
            Self::MlDsa44 => MlDsaParameterSetType::ML_DSA_44,
            Self::MlDsa65 => MlDsaParameterSetType::ML_DSA_65,
            Self::MlDsa87 => MlDsaParameterSetType::ML_DSA_87,
        })
    }
}

/// The parameter set with a number of PKCS#11's.
fn parameter_set(number: ParameterSetType) -> Option<ParameterSet> {
    let mut sets = NamedSet::ALL.into_iter();
    Some(sets.find(|set| set.number() == number)?.set())
}

/// The curve's name in the service.
fn curve_name(params: &[u8]) -> Option<String> {
    let curves = [
        NamedCurve::P256,
        NamedCurve::P256K,
        NamedCurve::P384,
        NamedCurve::P521,
    ];
    let found = curves.iter().find(|curve| curve.params() == params)?;
    let value = found.to_possible_value()?;
    Some(value.get_name().to_owned())
}

/// 2026-12-31
fn day(date: &Date) -> String {
    let text = |digits| String::from_utf8_lossy(digits).into_owned();
    let (year, month, day) = (text(&date.year), text(&date.month), text(&date.day));
    format!("{year}-{month}-{day}")
}

impl NamedCurve {
    fn params(self) -> Vec<u8> {
        let curve = EcCurve::of(match self {
            Self::P256 => Curve::P256,
            Self::P256K => Curve::P256K,
            Self::P384 => Curve::P384,
            Self::P521 => Curve::P521,
        });
        der::object_identifier(curve.oid)
    }
}

pub(super) fn create(session: &Session, slot: u64, new: &NewKey) -> Result<KeyFacts, FailedCall> {
    let mut common = vec![
        Attribute::Token(true),
        Attribute::Label(new.label.clone().into_bytes()),
    ];
    common.extend(new.id.clone().map(Attribute::Id));
    let (mut public, mut private) = (common.clone(), common);
    let is = |usage| new.usage.contains(&usage);
    public.extend([
        Attribute::Verify(is(Usage::Verify)),
        Attribute::Encrypt(is(Usage::Encrypt)),
        Attribute::Wrap(is(Usage::Wrap)),
    ]);
    private.extend([
        Attribute::Private(true),
        Attribute::Sensitive(true),
        Attribute::Sign(is(Usage::Sign)),
        Attribute::Decrypt(is(Usage::Decrypt)),
        Attribute::Unwrap(is(Usage::Unwrap)),
    ]);
    let mechanism = match new.kind {
        NewKind::Rsa(bits) => {
            let bits = Ulong::try_from(bits)?;
            public.push(Attribute::ModulusBits(bits));
            public.push(Attribute::PublicExponent(vec![1, 0, 1]));
            Mechanism::RsaPkcsKeyPairGen
        }
        NewKind::Ec(curve) => {
            public.push(Attribute::EcParams(curve.params()));
            Mechanism::EccKeyPairGen
        }
        NewKind::MlDsa(set) => {
            public.push(Attribute::ParameterSet(set.number()));
            Mechanism::MlDsaKeyPairGen
        }
    };
    let (public, private) = session.generate_key_pair(&mechanism, &public, &private)?;
    let mut made = KeyFacts::default();
    for object in [private, public] {
        let attributes = session.get_attributes(object, SHOWN)?;
        let facts = key(slot, &attributes).unwrap_or_default();
        let usage = [made.usage, facts.usage.clone()].concat();
        made = KeyFacts { usage, ..facts };
    }
    Ok(made)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_of_ml_dsa_is_shown_by_its_parameter_set() {
        let attributes = [
            Attribute::Class(ObjectClass::PRIVATE_KEY),
            Attribute::KeyType(KeyType::ML_DSA),
            Attribute::ParameterSet(MlDsaParameterSetType::ML_DSA_65.into()),
        ];
        assert_eq!(key(0, &attributes).unwrap().kind, "ML-DSA-65");
    }

    #[test]
    fn curves_are_told_by_their_parameters() {
        for (curve, name) in [
            (NamedCurve::P256, "P-256"),
            (NamedCurve::P256K, "P-256K"),
            (NamedCurve::P384, "P-384"),
            (NamedCurve::P521, "P-521"),
        ] {
            assert_eq!(curve_name(&curve.params()).as_deref(), Some(name));
        }
        assert_eq!(curve_name(&[6, 1, 0]), None);
    }
}
