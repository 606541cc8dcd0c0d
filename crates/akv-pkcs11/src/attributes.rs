//! The attributes of keys: one table, with where each value comes from, and what a template may
//! say.

use std::borrow::Cow;

use cryptoki_sys::*;
use hsm_keys::aes::SIZES;
use hsm_keys::{KeyType, PublicKey, der};
use managed_hsm::KeyOperation;

use crate::certificates::name_of_certificates;
use crate::configuration::Options;
use crate::error::Error;
use crate::mechanisms::{Kind, MECHANISMS, Mechanism};
use crate::ml_dsa;
use crate::template;
use crate::token::objects::{SecretKey, StoredKey};
use crate::token::tags::Half;

/// The value of an attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    Flag(bool),
    Number(CK_ULONG),
    Numbers(Vec<CK_ULONG>),
    Bytes(Vec<u8>),
}

/// Why an attribute has no value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Missing {
    /// It is private, and stays in the HSM.
    Sensitive,
    /// Such objects don't have it.
    NotThere,
}

impl Value {
    /// As programs get it.
    pub(crate) fn bytes(&self) -> Cow<'_, [u8]> {
        match self {
            Self::Flag(flag) => Cow::Borrowed(if *flag { &[1] } else { &[0] }),
            Self::Number(number) => number.to_ne_bytes().to_vec().into(),
            Self::Numbers(numbers) => {
                let bytes = numbers.iter().flat_map(|number| number.to_ne_bytes());
                bytes.collect::<Vec<u8>>().into()
            }
            Self::Bytes(bytes) => Cow::Borrowed(bytes),
        }
    }
}

/// One of the two objects that a key is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KeyObject<'a> {
    pub(crate) key: &'a StoredKey,
    pub(crate) half: Half,
    pub(crate) options: &'a Options,
}

/// Who has made a key for a session: the process and the host. A search for it, with any value or
/// none, finds such keys of other processes as well, which no other search does.
pub(crate) const CKA_AKV_SESSION: CK_ATTRIBUTE_TYPE = CKA_VENDOR_DEFINED | 0x0041_4b56;
/// When the HSM has made a key, in seconds since 1970.
pub(crate) const CKA_AKV_CREATED: CK_ATTRIBUTE_TYPE = CKA_AKV_SESSION + 1;

/// An attribute.
pub(crate) struct Attribute {
    type_: CK_ATTRIBUTE_TYPE,
    name: &'static str,
    get: fn(&KeyObject<'_>) -> Result<Value, Missing>,
    pub(crate) rule: Rule,
}

/// What a template for a new key, or for a change of one, may say of an attribute.
#[derive(Clone, Debug)]
pub(crate) enum Rule {
    /// The label: kept in a tag.
    Label,
    /// The id: kept in a tag.
    Id,
    /// What the key may be used for.
    Usage(KeyOperation),
    /// The first day of its use.
    Start,
    /// The last day of its use.
    End,
    /// It makes the new key what it is, and never changes.
    Given,
    /// It is as it is. Another value is ignored, with a warning, unless templates are taken
    /// strictly.
    Fixed,
    /// Nobody sets it.
    Never,
}

macro_rules! attributes {
    ($($type:ident $rule:expr, $get:expr;)*) => {
        /// All attributes of keys.
        static ATTRIBUTES: &[Attribute] = &[$(Attribute {
            type_: $type,
            name: stringify!($type),
            get: $get,
            rule: $rule,
        }),*];
    };
}

use Half::{Private, Public};
use Rule::{End, Fixed, Given, Id, Label, Never, Start, Usage};

attributes! {
    CKA_CLASS Given, |object| Ok(Value::Number(match object.half {
        Private if object.key.is_secret() => CKO_SECRET_KEY,
        Private => CKO_PRIVATE_KEY,
        Public => CKO_PUBLIC_KEY,
    }));
    CKA_TOKEN Given, |object| {
        Ok(Value::Flag(object.key.session.is_none() && object.key.maker().is_none()))
    };
    CKA_PRIVATE Fixed, |object| Ok(Value::Flag(object.half == Private));
    CKA_LABEL Label, |object| bytes(object.key.label(object.half).as_bytes());
    CKA_UNIQUE_ID Never, |object| {
        let (key, is_public) = (object.key, object.half == Public);
        // No two objects have the same, and a copy of a session's is there beside it.
        bytes(match (key.hsm_id(), key.session) {
            (Some(_), None) if is_public => format!("{}#public", key.kid),
            (Some(_), None) => key.kid.to_string(),
            (Some(_), Some(_)) if is_public => format!("{}#session-public", key.kid),
            (Some(_), Some(_)) => format!("{}#session", key.kid),
            (None, _) => unique_id(key.handle(object.half)),
        }.as_bytes())
    };
    CKA_AKV_SESSION Never, |object| match object.key.maker() {
        Some(maker) => bytes(maker.as_bytes()),
        None => Err(Missing::NotThere),
    };
    CKA_AKV_CREATED Never, |object| match object.key.created {
        Some(created) => Ok(Value::Number(CK_ULONG::try_from(created).unwrap_or_default())),
        None => Err(Missing::NotThere),
    };
    CKA_KEY_TYPE Given, |object| Ok(Value::Number(match object.key.is_secret() {
        true => object.key.secret_kind(),
        false => key_type(object.key.public().key_type()),
    }));
    CKA_ID Id, |object| bytes(&object.key.id(object.half));
    CKA_START_DATE Start, |object| bytes(&day(object.key.not_before));
    // The key is good until the second that the service names.
    CKA_END_DATE End, |object| bytes(&day(object.key.expires.map(|at| at.saturating_sub(1))));
    CKA_DERIVE Fixed, |object| Ok(Value::Flag(object.key.may_derive()));
    CKA_LOCAL Never, |object| Ok(Value::Flag(object.key.is_born_in_hsm()));
    CKA_KEY_GEN_MECHANISM Never, |object| {
        Ok(Value::Number(match object.key.public().key_type() {
            _ if !object.key.is_born_in_hsm() => CK_UNAVAILABLE_INFORMATION,
            KeyType::Ec => CKM_EC_KEY_PAIR_GEN,
            KeyType::MlDsa(_) => CKM_ML_DSA_KEY_PAIR_GEN,
            KeyType::Aes if object.key.secret_kind() == CKK_AES => CKM_AES_KEY_GEN,
            KeyType::Aes => CKM_GENERIC_SECRET_KEY_GEN,
            KeyType::Rsa => CKM_RSA_PKCS_KEY_PAIR_GEN,
        }))
    };
    // The module has no objects of validations that the bits could mean.
    CKA_OBJECT_VALIDATION_FLAGS Never, |_| Ok(Value::Number(0));
    CKA_ALLOWED_MECHANISMS Fixed, |object| Ok(Value::Numbers(allowed_mechanisms(object)));
    CKA_MODIFIABLE Fixed, |object| Ok(Value::Flag(object.key.hsm_id().is_some()));
    CKA_COPYABLE Fixed, |_| Ok(Value::Flag(false));
    CKA_DESTROYABLE Fixed, |object| {
        let is_session_key = object.key.session.is_some() || object.key.maker().is_some();
        Ok(Value::Flag(object.options.allow_delete || is_session_key))
    };
    CKA_SUBJECT Fixed, |object| match object.key.is_secret() {
        false => Ok(Value::Bytes(Vec::new())),
        true => Err(Missing::NotThere),
    };
    CKA_PUBLIC_KEY_INFO Fixed, |object| object.key.public().spki().map(Value::Bytes).ok_or(Missing::NotThere);

    CKA_SIGN Usage(KeyOperation::Sign), |object| used_for(object, Private, &KeyOperation::Sign);
    CKA_SIGN_RECOVER Fixed, |object| match object.half {
        Private if object.key.is_secret() => Err(Missing::NotThere),
        Private => Ok(Value::Flag(
            object.options.rsnull
                && object.key.permits(&KeyOperation::Sign)
                && object.key.public().key_type() == KeyType::Rsa,
        )),
        Public => Err(Missing::NotThere),
    };
    CKA_DECRYPT Usage(KeyOperation::Decrypt), |object| used_for(object, Private, &KeyOperation::Decrypt);
    CKA_UNWRAP Usage(KeyOperation::UnwrapKey), |object| {
        used_for_import(object, Private, &KeyOperation::UnwrapKey)
    };
    CKA_SENSITIVE Fixed, |object| of_private(object, true, |secret| secret.sensitive);
    CKA_ALWAYS_SENSITIVE Fixed, |object| {
        of_private(object, object.key.is_born_in_hsm(), |_| false)
    };
    CKA_EXTRACTABLE Fixed, |object| of_private(object, false, |secret| secret.extractable);
    CKA_NEVER_EXTRACTABLE Fixed, |object| {
        of_private(object, object.key.is_never_extractable(), |_| false)
    };
    CKA_ALWAYS_AUTHENTICATE Fixed, |object| match object.key.is_secret() {
        false => of_private(object, false, |_| false),
        true => Err(Missing::NotThere),
    };
    // The service has no such mechanism.
    CKA_DECAPSULATE Fixed, |object| match object.key.is_secret() {
        false => of_private(object, false, |_| false),
        true => Err(Missing::NotThere),
    };
    CKA_WRAP_WITH_TRUSTED Fixed, |object| of_private(object, false, |_| false);

    CKA_VERIFY Usage(KeyOperation::Verify), |object| used_for(object, Public, &KeyOperation::Verify);
    CKA_VERIFY_RECOVER Fixed, |object| match object.half {
        Public => Ok(Value::Flag(
            object.key.permits(&KeyOperation::Verify)
                && object.key.public().key_type() == KeyType::Rsa,
        )),
        Private => Err(Missing::NotThere),
    };
    CKA_ENCRYPT Usage(KeyOperation::Encrypt), |object| used_for(object, Public, &KeyOperation::Encrypt);
    CKA_WRAP Usage(KeyOperation::WrapKey), |object| {
        used_for_import(object, Public, &KeyOperation::WrapKey)
    };
    CKA_ENCAPSULATE Fixed, |object| match object.half {
        Public => Ok(Value::Flag(false)),
        Private => Err(Missing::NotThere),
    };
    CKA_TRUSTED Fixed, |object| match object.half {
        Private if !object.key.is_secret() => Err(Missing::NotThere),
        Public | Private => Ok(Value::Flag(false)),
    };

    CKA_VALUE_LEN Given, |object| match object.key.value_len() {
        Some(len) if object.key.is_secret() => Ok(Value::Number(len as CK_ULONG)),
        _ => Err(Missing::NotThere),
    };
    CKA_MODULUS Never, |object| match object.key.public() {
        PublicKey::Rsa(rsa) => bytes(rsa.modulus()),
        _ => Err(Missing::NotThere),
    };
    CKA_MODULUS_BITS Given, |object| match object.key.public() {
        PublicKey::Rsa(rsa) => Ok(Value::Number(rsa.bits() as CK_ULONG)),
        _ => Err(Missing::NotThere),
    };
    CKA_PUBLIC_EXPONENT Given, |object| match object.key.public() {
        PublicKey::Rsa(rsa) => bytes(rsa.exponent()),
        _ => Err(Missing::NotThere),
    };
    CKA_EC_PARAMS Given, |object| match object.key.public() {
        PublicKey::Ec(ec) => Ok(Value::Bytes(der::object_identifier(ec.curve.oid))),
        _ => Err(Missing::NotThere),
    };
    CKA_EC_POINT Never, |object| match object.key.public() {
        PublicKey::Ec(ec) => Ok(Value::Bytes(der::octet_string(ec.point()))),
        _ => Err(Missing::NotThere),
    };

    CKA_PARAMETER_SET Given, |object| match object.key.public() {
        PublicKey::MlDsa(key) => Ok(Value::Number(ml_dsa::number(key.set))),
        _ => Err(Missing::NotThere),
    };

    CKA_VALUE Never, |object| match (&object.key.secret, object.key.public()) {
        (Some(secret), _) if secret.extractable && !secret.sensitive => bytes(&secret.value),
        (_, PublicKey::Aes) => Err(Missing::Sensitive),
        (_, PublicKey::MlDsa(key)) if object.half == Public => bytes(key.bytes()),
        (_, PublicKey::MlDsa(_)) => Err(Missing::Sensitive),
        _ => secret(object, KeyType::Ec),
    };
    CKA_SEED Never, |object| match (object.key.public(), object.half) {
        (PublicKey::MlDsa(_), Private) => Err(Missing::Sensitive),
        _ => Err(Missing::NotThere),
    };
    CKA_PRIVATE_EXPONENT Never, |object| secret(object, KeyType::Rsa);
    CKA_PRIME_1 Never, |object| secret(object, KeyType::Rsa);
    CKA_PRIME_2 Never, |object| secret(object, KeyType::Rsa);
    CKA_EXPONENT_1 Never, |object| secret(object, KeyType::Rsa);
    CKA_EXPONENT_2 Never, |object| secret(object, KeyType::Rsa);
    CKA_COEFFICIENT Never, |object| secret(object, KeyType::Rsa);
}

impl Attribute {
    /// The attribute of a type, if keys have it.
    pub(crate) fn find(type_: CK_ATTRIBUTE_TYPE) -> Option<&'static Self> {
        ATTRIBUTES.iter().find(|attribute| attribute.type_ == type_)
    }

    /// The same for a template, which has no other attributes.
    pub(crate) fn require(type_: CK_ATTRIBUTE_TYPE) -> Result<&'static Self, Error> {
        let unknown = || format!("keys don't have {}", name(type_));
        Self::find(type_).ok_or_else(|| Error::because(CKR_ATTRIBUTE_TYPE_INVALID, unknown()))
    }
}

/// An attribute's name, for sentences.
pub(crate) fn name(type_: CK_ATTRIBUTE_TYPE) -> Cow<'static, str> {
    let of_key = || Attribute::find(type_).map(|attribute| attribute.name);
    match of_key().or_else(|| name_of_certificates(type_)) {
        Some(name) => name.into(),
        None => format!("the attribute 0x{type_:x}").into(),
    }
}

impl KeyObject<'_> {
    /// The value of an attribute.
    pub(crate) fn get(&self, type_: CK_ATTRIBUTE_TYPE) -> Result<Value, Missing> {
        let attribute = Attribute::find(type_).ok_or(Missing::NotThere)?;
        (attribute.get)(self)
    }

    /// Whether an attribute has a value that a program looks for.
    pub(crate) fn has(&self, type_: CK_ATTRIBUTE_TYPE, sought: &[u8]) -> bool {
        match type_ {
            CKA_LABEL => self.key.has_label(self.half, sought),
            CKA_ID => self.key.has_id(self.half, sought),
            CKA_AKV_SESSION if sought.is_empty() => self.key.maker().is_some(),
            _ => self.get(type_).is_ok_and(|value| *value.bytes() == *sought),
        }
    }

    /// Whether it may be used for what an attribute says.
    pub(crate) fn is(&self, type_: CK_ATTRIBUTE_TYPE) -> bool {
        self.get(type_) == Ok(Value::Flag(true))
    }
}

/// What tells an object that only this process has from all others: no handle is used twice.
pub(crate) fn unique_id(handle: CK_OBJECT_HANDLE) -> String {
    format!("object {handle}")
}

fn bytes(bytes: &[u8]) -> Result<Value, Missing> {
    Ok(Value::Bytes(bytes.to_vec()))
}

/// A day; without one it is empty.
fn day(at: Option<i64>) -> Vec<u8> {
    at.map(template::date).unwrap_or_default()
}

/// What holds for all keys in the HSM, and is told of others.
fn of_private(
    object: &KeyObject<'_>,
    in_hsm: bool,
    of: fn(&SecretKey) -> bool,
) -> Result<Value, Missing> {
    match object.half {
        Private => Ok(Value::Flag(object.key.secret.as_deref().map_or(in_hsm, of))),
        Public => Err(Missing::NotThere),
    }
}

fn used_for(
    object: &KeyObject<'_>,
    half: Half,
    operation: &KeyOperation,
) -> Result<Value, Missing> {
    match object.half == half || object.key.is_secret() {
        true => Ok(Value::Flag(object.key.permits(operation))),
        false => Err(Missing::NotThere),
    }
}

/// The same of a key that keys are wrapped for to be imported: the service has another name for
/// that.
fn used_for_import(
    object: &KeyObject<'_>,
    half: Half,
    operation: &KeyOperation,
) -> Result<Value, Missing> {
    match object.half == half && object.key.permits(&KeyOperation::Import) {
        true => Ok(Value::Flag(true)),
        false => used_for(object, half, operation),
    }
}

fn secret(object: &KeyObject<'_>, of: KeyType) -> Result<Value, Missing> {
    let has_it = object.half == Private && object.key.public().key_type() == of;
    Err(match has_it {
        true => Missing::Sensitive,
        false => Missing::NotThere,
    })
}

pub(crate) const fn key_type(of: KeyType) -> CK_KEY_TYPE {
    match of {
        KeyType::Rsa => CKK_RSA,
        KeyType::Ec => CKK_EC,
        KeyType::MlDsa(_) => CKK_ML_DSA,
        KeyType::Aes => CKK_AES,
    }
}

/// What the key can do by its type and its permissions; without any, what its type can do: an empty
/// list would mean more.
fn allowed_mechanisms(object: &KeyObject<'_>) -> Vec<CK_MECHANISM_TYPE> {
    let len = object.key.value_len();
    let of_type = MECHANISMS.iter().filter(|mechanism| {
        object.key.secret.is_none()
            && mechanism.takes(object.key.public())
            && match mechanism.kind {
                Kind::Signature(..) => object.half == Public || mechanism.can_sign(object.options),
                Kind::RsaAes | Kind::MlDsa => true,
                Kind::Mac(algorithm) => len.is_none_or(|len| len >= algorithm.mac_len()),
                // Longer ones are there to authenticate.
                Kind::Aes(_) => {
                    len.is_none_or(|len| SIZES.iter().any(|bits| *bits as usize == 8 * len))
                }
                _ => mechanism.encrypts(),
            }
    });
    let permits = |operations: &[KeyOperation]| {
        let mut operations = operations.iter();
        operations.any(|operation| object.key.permits(operation))
    };
    let signs = permits(&[KeyOperation::Sign, KeyOperation::Verify]);
    let encrypts = permits(&[
        KeyOperation::Encrypt,
        KeyOperation::Decrypt,
        KeyOperation::WrapKey,
        KeyOperation::UnwrapKey,
    ]);
    let imports = permits(&[KeyOperation::Import]);
    let permitted = of_type.clone().filter(|mechanism| match mechanism.kind {
        Kind::RsaAes => imports,
        _ if encrypts && mechanism.encrypts() => true,
        _ => signs && mechanism.is_signature(),
    });
    let types = |mechanism: &Mechanism| mechanism.type_;
    let permitted: Vec<_> = permitted.map(types).collect();
    match permitted.is_empty() {
        true => of_type.map(types).collect(),
        false => permitted,
    }
}
