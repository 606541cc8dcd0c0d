//! The table of what writes keys.

use std::ffi::CStr;

use super::{AES, Algorithm, EC, ML_DSA_44, ML_DSA_65, ML_DSA_87, RSA, algorithm};
use crate::openssl::{encoder, keymgmt};

macro_rules! encoder {
    ($names:expr, $type:ident, $structure:ident, pem, $properties:literal) => {
        encoder!($names, $type, $structure, true, $properties)
    };
    ($names:expr, $type:ident, $structure:ident, der, $properties:literal) => {
        encoder!($names, $type, $structure, false, $properties)
    };
    ($names:expr, $type:ident, $structure:ident, $pem:literal, $properties:literal) => {
        algorithm(
            $names,
            $properties,
            encoder::Encoding::<{ keymgmt::$type }, { encoder::$structure }, { $pem }>::FUNCTIONS,
            c"keys in Azure Managed HSM, for files and people",
        )
    };
}

/// The encoders up to OpenSSL 3.4.
pub(super) const ALL: &[Algorithm] = &[
    encoder!(RSA, RSA, TEXT, der, c"provider=akv_provider,akv_provider.hsm=yes,fips=yes,output=text"),
    // libcrypto takes the last that fits: one that encrypts only where that is asked for.
    encoder!(
        RSA,
        RSA,
        ENCRYPTED,
        der,
        c"provider=akv_provider,akv_provider.hsm=yes,fips=yes,output=der,structure=EncryptedPrivateKeyInfo"
    ),
    encoder!(
        RSA,
        RSA,
        ENCRYPTED,
        pem,
        c"provider=akv_provider,akv_provider.hsm=yes,fips=yes,output=pem,structure=EncryptedPrivateKeyInfo"
    ),
    encoder!(
        RSA,
        RSA,
        SPKI,
        der,
        c"provider=akv_provider,akv_provider.hsm=yes,fips=yes,output=der,structure=SubjectPublicKeyInfo"
    ),
    encoder!(
        RSA,
        RSA,
        SPKI,
        pem,
        c"provider=akv_provider,akv_provider.hsm=yes,fips=yes,output=pem,structure=SubjectPublicKeyInfo"
    ),
    encoder!(
        RSA,
        RSA,
        TYPE_SPECIFIC,
        der,
        c"provider=akv_provider,akv_provider.hsm=yes,fips=yes,output=der,structure=type-specific"
    ),
    encoder!(
        RSA,
        RSA,
        TYPE_SPECIFIC,
        pem,
        c"provider=akv_provider,akv_provider.hsm=yes,fips=yes,output=pem,structure=type-specific"
    ),
    encoder!(
        RSA,
        RSA,
        TYPE_SPECIFIC,
        der,
        c"provider=akv_provider,akv_provider.hsm=yes,fips=yes,output=der,structure=pkcs1"
    ),
    encoder!(
        RSA,
        RSA,
        TYPE_SPECIFIC,
        pem,
        c"provider=akv_provider,akv_provider.hsm=yes,fips=yes,output=pem,structure=pkcs1"
    ),
    encoder!(
        RSA,
        RSA,
        PRIVATE,
        der,
        c"provider=akv_provider,akv_provider.hsm=yes,fips=yes,output=der,structure=PrivateKeyInfo"
    ),
    encoder!(
        RSA,
        RSA,
        PRIVATE,
        pem,
        c"provider=akv_provider,akv_provider.hsm=yes,fips=yes,output=pem,structure=PrivateKeyInfo"
    ),
    encoder!(EC, EC, TEXT, der, c"provider=akv_provider,akv_provider.hsm=yes,fips=yes,output=text"),
    // libcrypto takes the last that fits: one that encrypts only where that is asked for.
    encoder!(
        EC,
        EC,
        ENCRYPTED,
        der,
        c"provider=akv_provider,akv_provider.hsm=yes,fips=yes,output=der,structure=EncryptedPrivateKeyInfo"
    ),
    encoder!(
        EC,
        EC,
        ENCRYPTED,
        pem,
        c"provider=akv_provider,akv_provider.hsm=yes,fips=yes,output=pem,structure=EncryptedPrivateKeyInfo"
    ),
    encoder!(
        EC,
        EC,
        SPKI,
        der,
        c"provider=akv_provider,akv_provider.hsm=yes,fips=yes,output=der,structure=SubjectPublicKeyInfo"
    ),
    encoder!(
        EC,
        EC,
        SPKI,
        pem,
        c"provider=akv_provider,akv_provider.hsm=yes,fips=yes,output=pem,structure=SubjectPublicKeyInfo"
    ),
    encoder!(
        EC,
        EC,
        TYPE_SPECIFIC,
        der,
        c"provider=akv_provider,akv_provider.hsm=yes,fips=yes,output=der,structure=type-specific"
    ),
    encoder!(
        EC,
        EC,
        TYPE_SPECIFIC,
        pem,
        c"provider=akv_provider,akv_provider.hsm=yes,fips=yes,output=pem,structure=type-specific"
    ),
    encoder!(
        EC,
        EC,
        PRIVATE,
        der,
        c"provider=akv_provider,akv_provider.hsm=yes,fips=yes,output=der,structure=PrivateKeyInfo"
    ),
    encoder!(
        EC,
        EC,
        PRIVATE,
        pem,
        c"provider=akv_provider,akv_provider.hsm=yes,fips=yes,output=pem,structure=PrivateKeyInfo"
    ),
    encoder!(AES, AES, TEXT, der, c"provider=akv_provider,akv_provider.hsm=yes,fips=yes,output=text"),
    encoder!(
        AES,
        AES,
        PRIVATE,
        der,
        c"provider=akv_provider,akv_provider.hsm=yes,fips=yes,output=der,structure=PrivateKeyInfo"
    ),
    encoder!(
        AES,
        AES,
        PRIVATE,
        pem,
        c"provider=akv_provider,akv_provider.hsm=yes,fips=yes,output=pem,structure=PrivateKeyInfo"
    ),
    Algorithm::END,
];

/// The encoders of OpenSSL 3.5 and newer.
pub(super) static ALL_3_5: [Algorithm; ALL.len() + 3 * FORMS] = {
    let mut table = [Algorithm::END; _];
    let mut i = 0;
    while i < FORMS {
        table[i] = ml_dsa::<{ keymgmt::ML_DSA_44 }>(ML_DSA_44)[i];
        table[FORMS + i] = ml_dsa::<{ keymgmt::ML_DSA_65 }>(ML_DSA_65)[i];
        table[2 * FORMS + i] = ml_dsa::<{ keymgmt::ML_DSA_87 }>(ML_DSA_87)[i];
        i += 1;
    }
    let mut i = 0;
    while i < ALL.len() {
        table[3 * FORMS + i] = ALL[i];
        i += 1;
    }
    table
};

const FORMS: usize = 7;

/// The encoders of ML-DSA keys, whose order is that of the others.
const fn ml_dsa<const TYPE: u8>(names: &'static CStr) -> [Algorithm; FORMS] {
    macro_rules! form {
        ($structure:ident, $pem:literal, $properties:literal) => {
            algorithm(
                names,
                $properties,
                encoder::Encoding::<TYPE, { encoder::$structure }, { $pem }>::FUNCTIONS,
                c"keys in Azure Managed HSM, for files and people",
            )
        };
    }
    [
        form!(
            TEXT,
            false,
            c"provider=akv_provider,akv_provider.hsm=yes,fips=yes,output=text"
        ),
        form!(
            ENCRYPTED,
            false,
            c"provider=akv_provider,akv_provider.hsm=yes,fips=yes,output=der,structure=EncryptedPrivateKeyInfo"
        ),
        form!(
            ENCRYPTED,
            true,
            c"provider=akv_provider,akv_provider.hsm=yes,fips=yes,output=pem,structure=EncryptedPrivateKeyInfo"
        ),
        form!(
            SPKI,
            false,
            c"provider=akv_provider,akv_provider.hsm=yes,fips=yes,output=der,structure=SubjectPublicKeyInfo"
        ),
        form!(
            SPKI,
            true,
            c"provider=akv_provider,akv_provider.hsm=yes,fips=yes,output=pem,structure=SubjectPublicKeyInfo"
        ),
        form!(
            PRIVATE,
            false,
            c"provider=akv_provider,akv_provider.hsm=yes,fips=yes,output=der,structure=PrivateKeyInfo"
        ),
        form!(
            PRIVATE,
            true,
            c"provider=akv_provider,akv_provider.hsm=yes,fips=yes,output=pem,structure=PrivateKeyInfo"
        ),
    ]
}
