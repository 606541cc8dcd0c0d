//! Tables of the parameters of signature operations.

use super::*;
use crate::openssl::ffi::Param;
use crate::openssl::params::descriptors;

pub(crate) static RSA_GETTABLE: &[Param] = descriptors! {
    ALGORITHM_ID => PARAM_OCTET_STRING,
    DIGEST => PARAM_UTF8_STRING,
    PAD_MODE => PARAM_UTF8_STRING,
    SALT_LEN => PARAM_UTF8_STRING,
    MGF1_DIGEST => PARAM_UTF8_STRING,
};
pub(crate) static RSA_SETTABLE: &[Param] = descriptors! {
    DIGEST => PARAM_UTF8_STRING,
    PROPERTIES => PARAM_UTF8_STRING,
    PAD_MODE => PARAM_UTF8_STRING,
    SALT_LEN => PARAM_UTF8_STRING,
    MGF1_DIGEST => PARAM_UTF8_STRING,
    MGF1_PROPERTIES => PARAM_UTF8_STRING,
};
pub(crate) static EC_GETTABLE: &[Param] = descriptors! {
    ALGORITHM_ID => PARAM_OCTET_STRING,
    DIGEST => PARAM_UTF8_STRING,
    DIGEST_SIZE => PARAM_UNSIGNED_INTEGER,
};
pub(crate) static EC_SETTABLE: &[Param] = descriptors! {
    DIGEST => PARAM_UTF8_STRING,
    DIGEST_SIZE => PARAM_UNSIGNED_INTEGER,
    PROPERTIES => PARAM_UTF8_STRING,
};
pub(crate) static ML_DSA_GETTABLE: &[Param] = descriptors! {
    ALGORITHM_ID => PARAM_OCTET_STRING,
};
pub(crate) static ML_DSA_SETTABLE: &[Param] = descriptors! {
    SIGNATURE => PARAM_OCTET_STRING,
    ml_dsa::CONTEXT_STRING => PARAM_OCTET_STRING,
    ml_dsa::MESSAGE_ENCODING => PARAM_INTEGER,
    ml_dsa::MU => PARAM_INTEGER,
    ml_dsa::DETERMINISTIC => PARAM_INTEGER,
    ml_dsa::TEST_ENTROPY => PARAM_OCTET_STRING,
};
/// Of an algorithm with its digest in its name.
pub(crate) static FIXED_SETTABLE: &[Param] = descriptors! {
    SIGNATURE => PARAM_OCTET_STRING,
};
pub(crate) static NOTHING: &[Param] = descriptors! {};
