//! Keys that programs bring to stay, where the configuration allows that: with their private parts,
//! or wrapped for a key of the HSM. All others are born in the HSM.

use cryptoki_sys::*;
use hsm_keys::{EcCurve, EcPair, KeyType, PublicKey};
use managed_hsm::{KeyMaterial, SecretBytes, TransferredKind, transfer_blob};

use crate::attributes::name;
use crate::error::Error;
use crate::fixed::{NewKeyFacts, Origin, read_only};
use crate::key_pairs::{NewKeyTemplate, Source, curve};
use crate::objects::{bare_point, told_by};
use crate::rsa_aes::RsaAes;
use crate::secret_keys::check_vault;
use crate::sessions::Session;
use crate::template::{self, Template};
use crate::token::objects::StoredKey;
use crate::token::tags::Half;

/// The attributes that an RSA key is brought by.
const OF_RSA: [CK_ATTRIBUTE_TYPE; 8] = [
    CKA_MODULUS,
    CKA_PUBLIC_EXPONENT,
    CKA_PRIVATE_EXPONENT,
    CKA_PRIME_1,
    CKA_PRIME_2,
    CKA_EXPONENT_1,
    CKA_EXPONENT_2,
    CKA_COEFFICIENT,
];

/// Whether an attribute holds a key itself, or what follows from it.
fn is_material(type_: CK_ATTRIBUTE_TYPE) -> bool {
    const OTHERS: [CK_ATTRIBUTE_TYPE; 6] = [
        CKA_EC_PARAMS,
        CKA_EC_POINT,
        CKA_VALUE,
        CKA_VALUE_LEN,
        CKA_PUBLIC_KEY_INFO,
        CKA_MODULUS_BITS,
    ];
    OF_RSA.contains(&type_) || OTHERS.contains(&type_)
}

/// Those of them that a key of a type is brought by.
const fn brought_by(of: KeyType) -> &'static [CK_ATTRIBUTE_TYPE] {
    match of {
        KeyType::Rsa => &OF_RSA,
        KeyType::Ec => &[CKA_EC_PARAMS, CKA_VALUE],
        KeyType::Aes => &[CKA_VALUE, CKA_VALUE_LEN],
        KeyType::MlDsa(_) => &[],
    }
}

/// Has the HSM take in the key in a template.
pub(crate) fn create(
    session: &Session,
    template: &Template<'_>,
) -> Result<CK_OBJECT_HANDLE, Error> {
    check_allowed(session, template)?;
    let (of, material) = match (template.number(CKA_CLASS)?, template.number(CKA_KEY_TYPE)?) {
        (Some(CKO_PRIVATE_KEY), Some(CKK_RSA)) => (KeyType::Rsa, rsa(template)?),
        (Some(CKO_PRIVATE_KEY), Some(CKK_EC)) => (KeyType::Ec, ec(template)?),
        (Some(CKO_SECRET_KEY), Some(CKK_AES | CKK_GENERIC_SECRET)) => {
            check_vault(session, CKR_ATTRIBUTE_VALUE_INVALID)?;
            (KeyType::Aes, secret(template)?)
        }
        (_, None) => return Err(template::incomplete(CKA_KEY_TYPE)),
        _ => {
            return Err(template::invalid(
                CKA_KEY_TYPE,
                "the HSM imports RSA, EC and AES keys",
            ));
        }
    };
    check_material(template, of, &material)?;
    let len = match &material {
        KeyMaterial::Oct(value) => Some(value.len()),
        _ => None,
    };
    take_in(session, template, of, len, material)
}

/// Has the HSM unwrap a key and keep it: one that is wrapped by CKM_RSA_AES_KEY_WRAP for a key of
/// the HSM that may `import`. Neither this process nor any other sees it.
pub(crate) fn transfer(
    session: &Session,
    template: &Template<'_>,
    exchange_key: &StoredKey,
    wrapped: &[u8],
) -> Result<CK_OBJECT_HANDLE, Error> {
    check_allowed(session, template)?;
    let (of, kind) = match (template.number(CKA_CLASS)?, template.number(CKA_KEY_TYPE)?) {
        (Some(CKO_PRIVATE_KEY), Some(CKK_RSA)) => (KeyType::Rsa, TransferredKind::Rsa),
        (Some(CKO_PRIVATE_KEY), Some(CKK_EC)) => (KeyType::Ec, TransferredKind::Ec),
        (Some(CKO_SECRET_KEY), Some(CKK_AES | CKK_GENERIC_SECRET)) => {
            check_vault(session, CKR_ATTRIBUTE_VALUE_INVALID)?;
            (KeyType::Aes, TransferredKind::Oct)
        }
        (None, _) => return Err(template::incomplete(CKA_CLASS)),
        (_, None) => return Err(template::incomplete(CKA_KEY_TYPE)),
        _ => {
            return Err(template::invalid(
                CKA_KEY_TYPE,
                "the HSM takes in RSA, EC and AES keys",
            ));
        }
    };
    let len = match of {
        KeyType::Aes => Some(wrapped_len(template, exchange_key, wrapped)?),
        _ => None,
    };
    // What the key is, it says itself (PKCS#11, table of attributes, footnote 6).
    let is_told = |type_| is_material(type_) && (type_ != CKA_VALUE_LEN || len.is_none());
    if let Some((type_, _)) = template.iter().find(|(type_, _)| is_told(*type_)) {
        return Err(read_only(type_));
    }
    let material = KeyMaterial::Transfer {
        kind,
        blob: transfer_blob(&exchange_key.kid, wrapped),
    };
    take_in(session, template, of, len, material)
}

/// Refuses what the configuration does not allow, and what would not stay.
fn check_allowed(session: &Session, template: &Template<'_>) -> Result<(), Error> {
    if !session.token.options().allow_import {
        return Err(Error::because(
            CKR_ATTRIBUTE_VALUE_INVALID,
            "keys are born in the HSM: generate one with CKA_TOKEN true there, or allow imports with \
             allowImport in the configuration file",
        ));
    }
    if template.flag(CKA_TOKEN)? != Some(true) {
        return Err(Error::because(
            CKR_TEMPLATE_INCONSISTENT,
            "a private key is imported to stay: set CKA_TOKEN to true",
        ));
    }
    session.check_read_write()
}

fn take_in(
    session: &Session,
    template: &Template<'_>,
    of: KeyType,
    len: Option<usize>,
    material: KeyMaterial,
) -> Result<CK_OBJECT_HANDLE, Error> {
    let options = session.token.options();
    let mut wanted = NewKeyTemplate::default();
    let new = NewKeyFacts {
        options,
        of,
        is_to_stay: true,
        from: Origin::Imported,
    };
    wanted.read(new, Half::Private, &template.without(is_material))?;
    if of == KeyType::Aes {
        wanted.note_secret(template.number(CKA_KEY_TYPE)?, len);
    }
    wanted.note_import();
    let made = wanted.make(session, options, Source::Brought(material), None)?;
    Ok(made.handle(Half::Private))
}

/// Refuses what a template says of the key that it has, and that isn't so.
fn check_material(
    template: &Template<'_>,
    of: KeyType,
    material: &KeyMaterial,
) -> Result<(), Error> {
    let public = public_of(material)?;
    let further = template
        .iter()
        .filter(|(type_, _)| is_material(*type_) && !brought_by(of).contains(type_));
    for (type_, value) in further {
        // A SubjectPublicKeyInfo may be left empty.
        let is_so = match (type_, &public) {
            (CKA_PUBLIC_KEY_INFO, Some(public)) => {
                if value.is_empty() || told_by(value)?.as_ref() == Some(public) {
                    continue;
                }
                return Err(template::invalid(type_, "it is another key's, or none"));
            }
            (CKA_MODULUS_BITS, Some(PublicKey::Rsa(rsa))) => {
                template::number(type_, value)? == rsa.bits() as CK_ULONG
            }
            (CKA_EC_POINT, Some(PublicKey::Ec(ec))) => {
                let told = PublicKey::ec(ec.curve, bare_point(ec.curve, value))
                    .map_err(|error| template::invalid(type_, &error.to_string()))?;
                Some(&told) == public.as_ref()
            }
            _ => {
                return Err(Error::because(
                    CKR_TEMPLATE_INCONSISTENT,
                    format!("keys of this type have no {}", name(type_)),
                ));
            }
        };
        if !is_so {
            return Err(template::of_another_key(type_));
        }
    }
    Ok(())
}

/// The public key of what a template has; None: it is a secret key.
fn public_of(material: &KeyMaterial) -> Result<Option<PublicKey>, Error> {
    let public = match material {
        KeyMaterial::Rsa { n, e, .. } => PublicKey::rsa(n.clone(), e.clone()),
        KeyMaterial::Ec { curve, x, y, .. } => {
            PublicKey::ec(EcCurve::of(*curve), &[&[4], &x[..], y].concat())
        }
        KeyMaterial::Oct(_) | KeyMaterial::Transfer { .. } => return Ok(None),
    };
    let public = public.map(Some);
    public.map_err(|error| Error::because(CKR_ATTRIBUTE_VALUE_INVALID, error.to_string()))
}

fn required(template: &Template<'_>, type_: CK_ATTRIBUTE_TYPE) -> Result<SecretBytes, Error> {
    let value = template.bytes(type_).filter(|value| !value.is_empty());
    let value = value.ok_or_else(|| template::incomplete(type_))?;
    Ok(SecretBytes::new(value.to_vec()))
}

fn rsa(template: &Template<'_>) -> Result<KeyMaterial, Error> {
    let part = |type_| required(template, type_);
    Ok(KeyMaterial::Rsa {
        n: part(CKA_MODULUS)?.to_vec(),
        e: part(CKA_PUBLIC_EXPONENT)?.to_vec(),
        d: part(CKA_PRIVATE_EXPONENT)?,
        p: part(CKA_PRIME_1)?,
        q: part(CKA_PRIME_2)?,
        dp: part(CKA_EXPONENT_1)?,
        dq: part(CKA_EXPONENT_2)?,
        qi: part(CKA_COEFFICIENT)?,
    })
}

/// The service wants the point as well, which private keys of PKCS#11 don't have.
fn ec(template: &Template<'_>) -> Result<KeyMaterial, Error> {
    let curve = curve(template)?;
    let given = required(template, CKA_VALUE)?;
    let pair = EcPair::of_scalar(curve, &given);
    let EcPair { d, x, y } =
        pair.ok_or_else(|| template::invalid(CKA_VALUE, "it is no private key of the curve"))?;
    Ok(KeyMaterial::Ec {
        curve: curve.curve,
        x,
        y,
        d,
    })
}

fn secret(template: &Template<'_>) -> Result<KeyMaterial, Error> {
    let value = required(template, CKA_VALUE)?;
    match secret_lengths(template)?.contains(&value.len()) {
        true => Ok(KeyMaterial::Oct(value)),
        false => Err(template::invalid(
            CKA_VALUE,
            "it has not the length that the key's type or CKA_VALUE_LEN says",
        )),
    }
}

/// How many bytes a secret key may have: as its type says, and as the template does.
fn secret_lengths(template: &Template<'_>) -> Result<Vec<usize>, Error> {
    // The service has keys of other lengths for authentication.
    let of_type: &[usize] = match template.number(CKA_KEY_TYPE)? {
        Some(CKK_AES) => &[16, 24, 32],
        _ => &[16, 24, 32, 48, 64],
    };
    let told = template.number(CKA_VALUE_LEN)?;
    let lengths = of_type.iter().copied();
    Ok(lengths
        .filter(|len| told.is_none_or(|told| told == *len as CK_ULONG))
        .collect())
}

/// How many bytes a wrapped secret key is taken to have. Nobody but the HSM sees it: of the eight
/// lengths that are padded to the same, those of keys are one.
fn wrapped_len(
    template: &Template<'_>,
    exchange_key: &StoredKey,
    wrapped: &[u8],
) -> Result<usize, Error> {
    let mut lengths = secret_lengths(template)?.into_iter();
    let fitting = lengths.find(|len| RsaAes::output_len(exchange_key, *len) == wrapped.len());
    fitting.ok_or_else(|| {
        Error::because(
            CKR_WRAPPED_KEY_LEN_RANGE,
            "what is wrapped has not the length that the key's type or CKA_VALUE_LEN says",
        )
    })
}
