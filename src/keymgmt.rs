//! Key management: what OpenSSL may know of a key, and public keys going in and out.

pub(crate) mod tables;

use std::ffi::CStr;

use hsm_keys::{EcCurve, KeyType, MlDsaPublicKey, PublicKey};

use crate::error::{Error, Reason};
use crate::key::KeyHandle;
use crate::names;
use crate::openssl::ffi::{SELECT_DOMAIN_PARAMETERS, SELECT_PRIVATE_KEY, SELECT_PUBLIC_KEY};
use crate::openssl::params::{ParamList, ParamsIn, ParamsOut};

const BITS: &CStr = c"bits";
const SECURITY_BITS: &CStr = c"security-bits";
const MAX_SIZE: &CStr = c"max-size";
/// NIST's category of security against quantum computers; 0: none.
const SECURITY_CATEGORY: &CStr = c"security-category";
/// Empty: signatures are made of messages, and of no digest.
const MANDATORY_DIGEST: &CStr = c"mandatory-digest";
const DEFAULT_DIGEST: &CStr = c"default-digest";
pub(crate) const RSA_N: &CStr = c"n";
pub(crate) const RSA_E: &CStr = c"e";
pub(crate) const GROUP: &CStr = c"group";
pub(crate) const PUB: &CStr = c"pub";
const PRIVATE: &CStr = c"priv";
const ENCODED_PUB: &CStr = c"encoded-pub-key";
const QX: &CStr = c"qx";
const QY: &CStr = c"qy";
const FIELD_DEGREE: &CStr = c"field-degree";
const FIELD_TYPE: &CStr = c"field-type";
const PRIME: &CStr = c"p";
const A: &CStr = c"a";
const B: &CStr = c"b";
const GENERATOR: &CStr = c"generator";
const SEED: &CStr = c"seed";
const DECODED_FROM_EXPLICIT: &CStr = c"decoded-from-explicit";
const COFACTOR_ECDH: &CStr = c"use-cofactor-flag";
const ORDER: &CStr = c"order";
const COFACTOR: &CStr = c"cofactor";
const POINT_FORMAT: &CStr = c"point-format";
const ENCODING: &CStr = c"encoding";
const INCLUDE_PUBLIC: &CStr = c"include-public";

/// The longest wrapped key that programs are told to make room for, in bytes.
const MAX_WRAPPED: i64 = 4096;

/// Whether the handle has all that is selected.
pub(crate) fn has(handle: &KeyHandle, selection: i32) -> bool {
    match handle.key() {
        Some(key) => selection & SELECT_PRIVATE_KEY == 0 || key.hsm.is_some(),
        None => {
            selection & (SELECT_PRIVATE_KEY | SELECT_PUBLIC_KEY | SELECT_DOMAIN_PARAMETERS) == 0
        }
    }
}

/// Whether the handle has all that is selected. A pair of keys that a key file has told is only one
/// if the HSM says so.
pub(crate) fn validate(handle: &KeyHandle, selection: i32) -> Result<bool, Error> {
    if let Some(key) = handle.key()
        && selection & SELECT_PRIVATE_KEY != 0
    {
        handle.provider.prove(key)?;
    }
    Ok(has(handle, selection))
}

/// The name of an EC key's curve.
pub(crate) fn group(handle: &KeyHandle) -> Option<String> {
    match &handle.key()?.public {
        PublicKey::Ec(ec) => Some(ec.curve.name.to_owned()),
        _ => None,
    }
}

/// Whether two keys are the same as far as is selected. A private key in the HSM is the one of its
/// public key.
pub(crate) fn matches(a: &KeyHandle, b: &KeyHandle, selection: i32) -> bool {
    let (Some(a), Some(b)) = (a.key(), b.key()) else {
        return false;
    };
    if selection & (SELECT_PUBLIC_KEY | SELECT_PRIVATE_KEY) != 0 {
        return match &a.public {
            PublicKey::Aes => a.id().is_some() && a.id() == b.id(),
            public => *public == b.public,
        };
    }
    match (&a.public, &b.public) {
        (PublicKey::Rsa(_), PublicKey::Rsa(_)) => true,
        (PublicKey::Ec(a), PublicKey::Ec(b)) => a.curve == b.curve,
        (PublicKey::MlDsa(a), PublicKey::MlDsa(b)) => a.set == b.set,
        (PublicKey::Aes, PublicKey::Aes) => true,
        _ => false,
    }
}

/// Takes in a public key. None: it isn't one, or not one that the provider can hold; private parts
/// are always refused, so that software keys stay with the provider they came from.
pub(crate) fn import(handle: &KeyHandle, selection: i32, params: ParamsIn<'_>) -> Option<()> {
    if selection & SELECT_PRIVATE_KEY != 0 {
        return None;
    }
    let public = match handle.key_type {
        KeyType::Rsa => {
            let number = |key| {
                params
                    .unsigned_bytes(key)
                    .ok()?
                    .filter(|number| !number.is_empty())
            };
            PublicKey::rsa(number(RSA_N)?, number(RSA_E)?)
        }
        KeyType::Ec => {
            let curve = EcCurve::by_name(params.utf8(GROUP).ok()??)?;
            PublicKey::ec(curve, params.octets(PUB).ok()??)
        }
        KeyType::MlDsa(set) => PublicKey::ml_dsa(set, params.octets(PUB).ok()??),
        KeyType::Aes => return None,
    };
    handle.fill(public.ok()?.into()).then_some(())
}

/// The public key as parameters for another provider. None: there is no key, or private parts are
/// asked for, which nobody can have of a key in the HSM.
pub(crate) fn export(handle: &KeyHandle, selection: i32) -> Option<ParamList> {
    let key = handle.key()?;
    if selection & SELECT_PRIVATE_KEY != 0 && key.hsm.is_some() {
        return None;
    }
    let list = ParamList::default();
    Some(match &key.public {
        PublicKey::Rsa(rsa) if selection & SELECT_PUBLIC_KEY != 0 => list
            .unsigned_bytes(RSA_N, rsa.modulus())
            .unsigned_bytes(RSA_E, rsa.exponent()),
        PublicKey::Rsa(_) => list,
        PublicKey::Ec(ec) => {
            let list = list.utf8(GROUP, names::of_curve(ec.curve));
            if selection & SELECT_PUBLIC_KEY != 0 {
                list.octets(PUB, ec.point())
            } else {
                list
            }
        }
        PublicKey::MlDsa(ml_dsa) if selection & SELECT_PUBLIC_KEY != 0 => {
            list.octets(PUB, ml_dsa.bytes())
        }
        PublicKey::MlDsa(_) => list,
        PublicKey::Aes => return None,
    })
}

/// Answers what is asked of a key, as the default provider would.
pub(crate) fn get_params(handle: &KeyHandle, params: &mut ParamsOut<'_>) -> Result<(), Error> {
    let key = handle.require()?;
    if key.public == PublicKey::Aes {
        return params.set_integer(MAX_SIZE, MAX_WRAPPED);
    }
    params.set_integer(MAX_SIZE, key.public.max_signature_len() as i64)?;
    if let PublicKey::MlDsa(ml_dsa) = &key.public {
        return get_ml_dsa_params(ml_dsa, params);
    }
    params.set_utf8(DEFAULT_DIGEST, c"SHA256")?;
    params.set_integer(SECURITY_CATEGORY, 0)?;
    match &key.public {
        PublicKey::Rsa(rsa) => {
            params.set_integer(BITS, rsa.bits() as i64)?;
            params.set_integer(SECURITY_BITS, rsa.security_bits() as i64)?;
            params.set_unsigned_bytes(RSA_N, rsa.modulus())?;
            params.set_unsigned_bytes(RSA_E, rsa.exponent())
        }
        PublicKey::Ec(ec) => {
            let (x, y) = ec.coordinates();
            params.set_integer(BITS, ec.curve.bits as i64)?;
            params.set_integer(SECURITY_BITS, ec.curve.security_bits as i64)?;
            params.set_utf8(GROUP, names::of_curve(ec.curve))?;
            params.set_utf8(POINT_FORMAT, c"uncompressed")?;
            params.set_utf8(ENCODING, c"named_curve")?;
            params.set_octets(PUB, ec.point())?;
            params.set_octets(ENCODED_PUB, ec.point())?;
            params.set_unsigned_bytes(QX, x)?;
            params.set_unsigned_bytes(QY, y)?;
            get_domain_params(ec.curve, params)
        }
        PublicKey::MlDsa(_) | PublicKey::Aes => Ok(()),
    }
}

fn get_ml_dsa_params(key: &MlDsaPublicKey, params: &mut ParamsOut<'_>) -> Result<(), Error> {
    params.set_integer(BITS, 8 * key.bytes().len() as i64)?;
    params.set_integer(SECURITY_BITS, key.set.security_bits().into())?;
    params.set_integer(SECURITY_CATEGORY, key.set.security_category().into())?;
    params.set_utf8(MANDATORY_DIGEST, c"")?;
    params.set_octets(PUB, key.bytes())
}

fn get_domain_params(curve: &EcCurve, params: &mut ParamsOut<'_>) -> Result<(), Error> {
    params.set_integer(DECODED_FROM_EXPLICIT, 0)?;
    params.set_integer(COFACTOR_ECDH, 0)?;
    params.set_utf8(FIELD_TYPE, c"prime-field")?;
    params.set_integer(FIELD_DEGREE, curve.bits as i64)?;
    params.set_unsigned_bytes(PRIME, curve.prime)?;
    params.set_unsigned_bytes(A, curve.a)?;
    params.set_unsigned_bytes(B, curve.b)?;
    params.set_octets(GENERATOR, curve.generator)?;
    params.set_unsigned_bytes(ORDER, curve.order)?;
    // As all curves here have it.
    params.set_unsigned_bytes(COFACTOR, &[1])?;
    match curve.seed {
        Some(seed) => params.set_octets(SEED, seed),
        None => Ok(()),
    }
}

/// Takes settings of how a key is written. A key of ours can't be changed: what it is already is
/// accepted, and so is whether private keys are written with their public part, which a key file
/// has neither of.
pub(crate) fn set_params(handle: &KeyHandle, params: ParamsIn<'_>) -> Result<(), Error> {
    handle.require()?;
    let only = |key: &CStr, allowed: &str| match params.utf8(key)? {
        Some(value) if value != allowed => Err(Error::refused(
            Reason::KeyFormat,
            format!("'{value}' as {}", key.to_string_lossy()),
            format!("leave it at '{allowed}'"),
        )),
        _ => Ok(()),
    };
    only(POINT_FORMAT, "uncompressed")?;
    only(ENCODING, "named_curve")?;
    match params.octets(ENCODED_PUB)? {
        Some(_) => Err(Error::InvalidKey(
            "the public part of a key in the HSM can't be set".to_owned(),
        )),
        None => Ok(()),
    }
}
