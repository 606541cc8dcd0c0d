//! Tables of the parameters of keys: what can be read, set and imported.
//!
//! OpenSSL asks for them without a key, so they tell of software keys that another provider holds
//! for us as well, and name all that the default provider's keys of a type have.

use super::*;
use crate::openssl::ffi::{Param, SELECT_OTHER_PARAMETERS};
use crate::openssl::params::{descriptors, joined};

const RSA_KEY: &[Param] = descriptors! {
    RSA_N => PARAM_UNSIGNED_INTEGER,
    RSA_E => PARAM_UNSIGNED_INTEGER,
    c"d" => PARAM_UNSIGNED_INTEGER,
    c"rsa-factor1" => PARAM_UNSIGNED_INTEGER,
    c"rsa-factor2" => PARAM_UNSIGNED_INTEGER,
    c"rsa-factor3" => PARAM_UNSIGNED_INTEGER,
    c"rsa-factor4" => PARAM_UNSIGNED_INTEGER,
    c"rsa-factor5" => PARAM_UNSIGNED_INTEGER,
    c"rsa-factor6" => PARAM_UNSIGNED_INTEGER,
    c"rsa-factor7" => PARAM_UNSIGNED_INTEGER,
    c"rsa-factor8" => PARAM_UNSIGNED_INTEGER,
    c"rsa-factor9" => PARAM_UNSIGNED_INTEGER,
    c"rsa-factor10" => PARAM_UNSIGNED_INTEGER,
    c"rsa-exponent1" => PARAM_UNSIGNED_INTEGER,
    c"rsa-exponent2" => PARAM_UNSIGNED_INTEGER,
    c"rsa-exponent3" => PARAM_UNSIGNED_INTEGER,
    c"rsa-exponent4" => PARAM_UNSIGNED_INTEGER,
    c"rsa-exponent5" => PARAM_UNSIGNED_INTEGER,
    c"rsa-exponent6" => PARAM_UNSIGNED_INTEGER,
    c"rsa-exponent7" => PARAM_UNSIGNED_INTEGER,
    c"rsa-exponent8" => PARAM_UNSIGNED_INTEGER,
    c"rsa-exponent9" => PARAM_UNSIGNED_INTEGER,
    c"rsa-exponent10" => PARAM_UNSIGNED_INTEGER,
    c"rsa-coefficient1" => PARAM_UNSIGNED_INTEGER,
    c"rsa-coefficient2" => PARAM_UNSIGNED_INTEGER,
    c"rsa-coefficient3" => PARAM_UNSIGNED_INTEGER,
    c"rsa-coefficient4" => PARAM_UNSIGNED_INTEGER,
    c"rsa-coefficient5" => PARAM_UNSIGNED_INTEGER,
    c"rsa-coefficient6" => PARAM_UNSIGNED_INTEGER,
    c"rsa-coefficient7" => PARAM_UNSIGNED_INTEGER,
    c"rsa-coefficient8" => PARAM_UNSIGNED_INTEGER,
    c"rsa-coefficient9" => PARAM_UNSIGNED_INTEGER,
};
const EC_PRIVATE: &[Param] = descriptors! {
    PRIVATE => PARAM_UNSIGNED_INTEGER,
};
const EC_PUBLIC: &[Param] = descriptors! {
    PUB => PARAM_OCTET_STRING,
};
const EC_DOMAIN: &[Param] = descriptors! {
    GROUP => PARAM_UTF8_STRING,
    ENCODING => PARAM_UTF8_STRING,
    POINT_FORMAT => PARAM_UTF8_STRING,
    FIELD_TYPE => PARAM_UTF8_STRING,
    PRIME => PARAM_UNSIGNED_INTEGER,
    A => PARAM_UNSIGNED_INTEGER,
    B => PARAM_UNSIGNED_INTEGER,
    GENERATOR => PARAM_OCTET_STRING,
    ORDER => PARAM_UNSIGNED_INTEGER,
    COFACTOR => PARAM_UNSIGNED_INTEGER,
    SEED => PARAM_OCTET_STRING,
    DECODED_FROM_EXPLICIT => PARAM_INTEGER,
};
const EC_OTHER: &[Param] = descriptors! {
    COFACTOR_ECDH => PARAM_INTEGER,
    INCLUDE_PUBLIC => PARAM_INTEGER,
};
const ML_DSA_KEY: &[Param] = descriptors! {
    SEED => PARAM_OCTET_STRING,
    PUB => PARAM_OCTET_STRING,
    PRIVATE => PARAM_OCTET_STRING,
};
/// What can be read of every key that signs.
const SIGNER: &[Param] = descriptors! {
    BITS => PARAM_INTEGER,
    SECURITY_BITS => PARAM_INTEGER,
    MAX_SIZE => PARAM_INTEGER,
    SECURITY_CATEGORY => PARAM_INTEGER,
};
const DIGEST: &[Param] = descriptors! {
    DEFAULT_DIGEST => PARAM_UTF8_STRING,
};
/// Of EC keys only; the last six are of curves over binary fields.
const EC_DETAILS: &[Param] = descriptors! {
    FIELD_DEGREE => PARAM_INTEGER,
    ENCODED_PUB => PARAM_OCTET_STRING,
    QX => PARAM_UNSIGNED_INTEGER,
    QY => PARAM_UNSIGNED_INTEGER,
    c"m" => PARAM_INTEGER,
    c"basis-type" => PARAM_UTF8_STRING,
    c"tp" => PARAM_INTEGER,
    c"k1" => PARAM_INTEGER,
    c"k2" => PARAM_INTEGER,
    c"k3" => PARAM_INTEGER,
};
const ML_DSA_DETAILS: &[Param] = descriptors! {
    MANDATORY_DIGEST => PARAM_UTF8_STRING,
};

const AES: &[Param] = descriptors! {
    MAX_SIZE => PARAM_INTEGER,
};
const EC_SETTABLE: &[Param] = descriptors! {
    COFACTOR_ECDH => PARAM_INTEGER,
    ENCODED_PUB => PARAM_OCTET_STRING,
    ENCODING => PARAM_UTF8_STRING,
    POINT_FORMAT => PARAM_UTF8_STRING,
    SEED => PARAM_OCTET_STRING,
    INCLUDE_PUBLIC => PARAM_INTEGER,
    c"group-check" => PARAM_UTF8_STRING,
};

/// What can be read of keys of a type.
pub(crate) fn gettable(key_type: KeyType) -> &'static [Param] {
    match key_type {
        KeyType::Rsa => joined!(SIGNER, DIGEST, RSA_KEY),
        KeyType::Ec => joined!(
            SIGNER, DIGEST, EC_DETAILS, EC_DOMAIN, EC_PUBLIC, EC_PRIVATE, EC_OTHER
        ),
        KeyType::MlDsa(_) => joined!(SIGNER, ML_DSA_DETAILS, ML_DSA_KEY),
        KeyType::Aes => AES,
    }
}

/// What can be set of keys of a type. None: nothing can.
pub(crate) fn settable(key_type: KeyType) -> Option<&'static [Param]> {
    (key_type == KeyType::Ec).then_some(EC_SETTABLE)
}

/// Of what the selected parts of a key of this type consist. None: it has none of them.
pub(crate) fn importable(key_type: KeyType, selection: i32) -> Option<&'static [Param]> {
    /// By the sum of 1 for the private part, 2 for the public one, 4 for the curve and 8 for the
    /// rest.
    const EC_PARTS: [&[Param]; 16] = [
        joined!(),
        joined!(EC_PRIVATE),
        joined!(EC_PUBLIC),
        joined!(EC_PRIVATE, EC_PUBLIC),
        joined!(EC_DOMAIN),
        joined!(EC_PRIVATE, EC_DOMAIN),
        joined!(EC_PUBLIC, EC_DOMAIN),
        joined!(EC_PRIVATE, EC_PUBLIC, EC_DOMAIN),
        joined!(EC_OTHER),
        joined!(EC_PRIVATE, EC_OTHER),
        joined!(EC_PUBLIC, EC_OTHER),
        joined!(EC_PRIVATE, EC_PUBLIC, EC_OTHER),
        joined!(EC_DOMAIN, EC_OTHER),
        joined!(EC_PRIVATE, EC_DOMAIN, EC_OTHER),
        joined!(EC_PUBLIC, EC_DOMAIN, EC_OTHER),
        joined!(EC_PRIVATE, EC_PUBLIC, EC_DOMAIN, EC_OTHER),
    ];
    let selected = |part: i32| selection & part != 0;
    let pair = selected(SELECT_PRIVATE_KEY | SELECT_PUBLIC_KEY);
    match key_type {
        KeyType::Rsa => pair.then_some(RSA_KEY),
        KeyType::MlDsa(_) => pair.then_some(ML_DSA_KEY),
        KeyType::Ec => {
            let parts = [
                SELECT_PRIVATE_KEY,
                SELECT_PUBLIC_KEY,
                SELECT_DOMAIN_PARAMETERS,
                SELECT_OTHER_PARAMETERS,
            ];
            let sum = (0..4).map(|bit| usize::from(selected(parts[bit])) << bit);
            Some(EC_PARTS[sum.sum::<usize>()]).filter(|table| table.len() > 1)
        }
        KeyType::Aes => None,
    }
}
