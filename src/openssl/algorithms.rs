//! The tables of what the provider offers (`OSSL_ALGORITHM`), all made at compile time: OpenSSL
//! remembers the first answer.

mod encoders;

use std::ffi::{CStr, c_int};

use hsm_keys::DIGESTS;
use hsm_module::dispatch::Entry;

use super::decoder::{self, Der};
use super::ffi::{self, Algorithm};
use super::functions::Operation;
use super::{asym_cipher, cipher, keymgmt, rand, signature, skeymgmt, store};
use crate::provider::Provider;

const RSA: &CStr = c"RSA:rsaEncryption:1.2.840.113549.1.1.1";
const EC: &CStr = c"EC:id-ecPublicKey:1.2.840.10045.2.1";
const AES: &CStr = c"AES";
const ML_DSA_44: &CStr = c"ML-DSA-44:MLDSA44:2.16.840.1.101.3.4.3.17:id-ml-dsa-44";
const ML_DSA_65: &CStr = c"ML-DSA-65:MLDSA65:2.16.840.1.101.3.4.3.18:id-ml-dsa-65";
const ML_DSA_87: &CStr = c"ML-DSA-87:MLDSA87:2.16.840.1.101.3.4.3.19:id-ml-dsa-87";
const ML_DSA_KEYS: &CStr = c"ML-DSA keys in Azure Managed HSM";
const ML_DSA_SIGNATURES: &CStr = c"ML-DSA signatures by Azure Managed HSM";
/// The properties of what the HSM does, and, by a setting, those that say that this is as FIPS 140
/// wants it.
const PROPERTIES: &CStr = c"provider=akv_provider,akv_provider.hsm=yes";
const FIPS_PROPERTIES: &CStr = c"provider=akv_provider,akv_provider.hsm=yes,fips=yes";
/// The properties of what only reads a URI. As with OpenSSL's own readers of files, that leaves
/// FIPS 140 alone.
const STORE_PROPERTIES: &CStr = c"provider=akv_provider,fips=yes";

/// What is offered for an operation of the HSM's.
pub(super) struct Offer {
    plain: &'static [Algorithm],
    fips: &'static [Algorithm],
}

macro_rules! offer {
    ($($algorithm:expr),* $(,)?) => {{
        const LEN: usize = [$(stringify!($algorithm)),*].len() + 1;
        static PLAIN: [Algorithm; LEN] = [$($algorithm,)* Algorithm::END];
        static FIPS: [Algorithm; LEN] = in_fips(PLAIN);
        Offer { plain: &PLAIN, fips: &FIPS }
    }};
}

const fn in_fips<const LEN: usize>(mut table: [Algorithm; LEN]) -> [Algorithm; LEN] {
    let mut i = 0;
    while i < LEN - 1 {
        table[i].properties = FIPS_PROPERTIES.as_ptr();
        i += 1;
    }
    table
}

const fn algorithm<O: Operation>(
    names: &'static CStr,
    properties: &'static CStr,
    functions: &'static [Entry<O>],
    description: &'static CStr,
) -> Algorithm {
    Algorithm {
        names: names.as_ptr(),
        properties: properties.as_ptr(),
        implementation: functions.as_ptr().cast(),
        description: description.as_ptr(),
    }
}

/// How many algorithms at the beginning of a table are ML-DSA's, which is there from OpenSSL 3.5
/// on.
const ML_DSA_ALGORITHMS: usize = 3;

static KEYMGMT: Offer = offer![
    algorithm(
        ML_DSA_44,
        PROPERTIES,
        keymgmt::Management::<{ keymgmt::ML_DSA_44 }>::FUNCTIONS,
        ML_DSA_KEYS,
    ),
    algorithm(
        ML_DSA_65,
        PROPERTIES,
        keymgmt::Management::<{ keymgmt::ML_DSA_65 }>::FUNCTIONS,
        ML_DSA_KEYS,
    ),
    algorithm(
        ML_DSA_87,
        PROPERTIES,
        keymgmt::Management::<{ keymgmt::ML_DSA_87 }>::FUNCTIONS,
        ML_DSA_KEYS,
    ),
    algorithm(
        RSA,
        PROPERTIES,
        keymgmt::Management::<{ keymgmt::RSA }>::FUNCTIONS,
        c"RSA keys in Azure Managed HSM",
    ),
    algorithm(
        EC,
        PROPERTIES,
        keymgmt::Management::<{ keymgmt::EC }>::FUNCTIONS,
        c"EC keys in Azure Managed HSM",
    ),
    algorithm(
        AES,
        PROPERTIES,
        keymgmt::Management::<{ keymgmt::AES }>::FUNCTIONS,
        c"AES keys in Azure Managed HSM",
    ),
];

static ASYM_CIPHER: Offer = offer![
    algorithm(
        RSA,
        PROPERTIES,
        asym_cipher::RSA,
        c"RSA decryption by Azure Managed HSM",
    ),
    algorithm(
        AES,
        PROPERTIES,
        asym_cipher::AES,
        c"AES key wrap by Azure Managed HSM",
    ),
];

const RSA_SIGNATURE: Algorithm = algorithm(
    RSA,
    PROPERTIES,
    signature::WithAnyDigest::<{ signature::RSA }>::FUNCTIONS,
    c"RSA signatures by Azure Managed HSM",
);
const ECDSA_SIGNATURE: Algorithm = algorithm(
    c"ECDSA",
    PROPERTIES,
    signature::WithAnyDigest::<{ signature::EC }>::FUNCTIONS,
    c"ECDSA signatures by Azure Managed HSM",
);

/// Signatures up to OpenSSL 3.3.
static SIGNATURE: Offer = offer![RSA_SIGNATURE, ECDSA_SIGNATURE];

/// The index of a digest in [`DIGESTS`].
const fn digest(name: &str) -> usize {
    let mut i = 0;
    loop {
        if equal(DIGESTS[i].name(), name) {
            return i;
        }
        i += 1;
    }
}

const fn equal(a: &str, b: &str) -> bool {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    let mut i = 0;
    while i < a.len() && i < b.len() && a[i] == b[i] {
        i += 1;
    }
    i == a.len() && i == b.len()
}

macro_rules! fixed {
    ($type:ident, $digest:literal, $names:literal) => {
        algorithm(
            $names,
            PROPERTIES,
            signature::WithDigest::<{ signature::$type }, { digest($digest) }>::FUNCTIONS,
            c"signatures by Azure Managed HSM",
        )
    };
}

/// Signatures from OpenSSL 3.4 on, where an algorithm can have its digest in its name. Older
/// releases take such names for those of digests.
static SIGNATURE_3_4: Offer = offer![
    algorithm(
        ML_DSA_44,
        PROPERTIES,
        signature::MlDsa::<{ signature::ML_DSA_44 }>::FUNCTIONS,
        ML_DSA_SIGNATURES,
    ),
    algorithm(
        ML_DSA_65,
        PROPERTIES,
        signature::MlDsa::<{ signature::ML_DSA_65 }>::FUNCTIONS,
        ML_DSA_SIGNATURES,
    ),
    algorithm(
        ML_DSA_87,
        PROPERTIES,
        signature::MlDsa::<{ signature::ML_DSA_87 }>::FUNCTIONS,
        ML_DSA_SIGNATURES,
    ),
    RSA_SIGNATURE,
    fixed!(
        RSA,
        "SHA1",
        c"RSA-SHA1:RSA-SHA-1:sha1WithRSAEncryption:1.2.840.113549.1.1.5"
    ),
    fixed!(
        RSA,
        "SHA224",
        c"RSA-SHA2-224:RSA-SHA224:sha224WithRSAEncryption:1.2.840.113549.1.1.14"
    ),
    fixed!(
        RSA,
        "SHA256",
        c"RSA-SHA2-256:RSA-SHA256:sha256WithRSAEncryption:1.2.840.113549.1.1.11"
    ),
    fixed!(
        RSA,
        "SHA384",
        c"RSA-SHA2-384:RSA-SHA384:sha384WithRSAEncryption:1.2.840.113549.1.1.12"
    ),
    fixed!(
        RSA,
        "SHA512",
        c"RSA-SHA2-512:RSA-SHA512:sha512WithRSAEncryption:1.2.840.113549.1.1.13"
    ),
    fixed!(
        RSA,
        "SHA512-224",
        c"RSA-SHA2-512/224:RSA-SHA512-224:sha512-224WithRSAEncryption:1.2.840.113549.1.1.15"
    ),
    fixed!(
        RSA,
        "SHA512-256",
        c"RSA-SHA2-512/256:RSA-SHA512-256:sha512-256WithRSAEncryption:1.2.840.113549.1.1.16"
    ),
    fixed!(
        RSA,
        "SHA3-224",
        c"RSA-SHA3-224:id-rsassa-pkcs1-v1_5-with-sha3-224:2.16.840.1.101.3.4.3.13"
    ),
    fixed!(
        RSA,
        "SHA3-256",
        c"RSA-SHA3-256:id-rsassa-pkcs1-v1_5-with-sha3-256:2.16.840.1.101.3.4.3.14"
    ),
    fixed!(
        RSA,
        "SHA3-384",
        c"RSA-SHA3-384:id-rsassa-pkcs1-v1_5-with-sha3-384:2.16.840.1.101.3.4.3.15"
    ),
    fixed!(
        RSA,
        "SHA3-512",
        c"RSA-SHA3-512:id-rsassa-pkcs1-v1_5-with-sha3-512:2.16.840.1.101.3.4.3.16"
    ),
    ECDSA_SIGNATURE,
    fixed!(
        EC,
        "SHA1",
        c"ECDSA-SHA1:ECDSA-SHA-1:ecdsa-with-SHA1:1.2.840.10045.4.1"
    ),
    fixed!(
        EC,
        "SHA224",
        c"ECDSA-SHA2-224:ECDSA-SHA224:ecdsa-with-SHA224:1.2.840.10045.4.3.1"
    ),
    fixed!(
        EC,
        "SHA256",
        c"ECDSA-SHA2-256:ECDSA-SHA256:ecdsa-with-SHA256:1.2.840.10045.4.3.2"
    ),
    fixed!(
        EC,
        "SHA384",
        c"ECDSA-SHA2-384:ECDSA-SHA384:ecdsa-with-SHA384:1.2.840.10045.4.3.3"
    ),
    fixed!(
        EC,
        "SHA512",
        c"ECDSA-SHA2-512:ECDSA-SHA512:ecdsa-with-SHA512:1.2.840.10045.4.3.4"
    ),
    fixed!(
        EC,
        "SHA3-224",
        c"ECDSA-SHA3-224:ecdsa_with_SHA3-224:id-ecdsa-with-sha3-224:2.16.840.1.101.3.4.3.9"
    ),
    fixed!(
        EC,
        "SHA3-256",
        c"ECDSA-SHA3-256:ecdsa_with_SHA3-256:id-ecdsa-with-sha3-256:2.16.840.1.101.3.4.3.10"
    ),
    fixed!(
        EC,
        "SHA3-384",
        c"ECDSA-SHA3-384:ecdsa_with_SHA3-384:id-ecdsa-with-sha3-384:2.16.840.1.101.3.4.3.11"
    ),
    fixed!(
        EC,
        "SHA3-512",
        c"ECDSA-SHA3-512:ecdsa_with_SHA3-512:id-ecdsa-with-sha3-512:2.16.840.1.101.3.4.3.12"
    ),
];

const ML_DSA_FILES: &CStr = c"key files of ML-DSA keys";
const KEY_FILE: &CStr = c"provider=akv_provider,fips=yes,input=der,structure=akv-uri";

/// The entries of ML-DSA are in nobody's way where there are no such keys.
static DECODER: &[Algorithm] = &[
    algorithm(
        c"DER",
        c"provider=akv_provider,fips=yes,input=pem",
        decoder::PEM,
        c"key files, PEM to DER",
    ),
    algorithm(
        RSA,
        KEY_FILE,
        Der::<{ keymgmt::RSA }>::FUNCTIONS,
        c"key files of RSA keys",
    ),
    algorithm(
        EC,
        KEY_FILE,
        Der::<{ keymgmt::EC }>::FUNCTIONS,
        c"key files of EC keys",
    ),
    algorithm(
        AES,
        KEY_FILE,
        Der::<{ keymgmt::AES }>::FUNCTIONS,
        c"key files of AES keys",
    ),
    algorithm(
        ML_DSA_44,
        KEY_FILE,
        Der::<{ keymgmt::ML_DSA_44 }>::FUNCTIONS,
        ML_DSA_FILES,
    ),
    algorithm(
        ML_DSA_65,
        KEY_FILE,
        Der::<{ keymgmt::ML_DSA_65 }>::FUNCTIONS,
        ML_DSA_FILES,
    ),
    algorithm(
        ML_DSA_87,
        KEY_FILE,
        Der::<{ keymgmt::ML_DSA_87 }>::FUNCTIONS,
        ML_DSA_FILES,
    ),
    Algorithm::END,
];

static STORE: &[Algorithm] = &[
    algorithm(
        c"managedhsm",
        STORE_PROPERTIES,
        store::LOADER,
        c"keys in Azure Managed HSM by managedhsm: URI",
    ),
    algorithm(
        c"keyvault",
        STORE_PROPERTIES,
        store::LOADER,
        c"keys in Azure Key Vault by keyvault: URI",
    ),
    algorithm(
        c"akv",
        STORE_PROPERTIES,
        store::LOADER,
        c"keys in Azure Managed HSM by akv: URI",
    ),
    algorithm(
        c"https",
        STORE_PROPERTIES,
        store::LOADER,
        c"keys in Azure Managed HSM and Key Vault by key identifier",
    ),
    Algorithm::END,
];

static SKEYMGMT: Offer = offer![algorithm(
    AES,
    PROPERTIES,
    skeymgmt::AES,
    c"AES keys in Azure Managed HSM",
),];

macro_rules! cipher {
    ($mode:ident, $bits:literal, $names:literal) => {
        algorithm(
            $names,
            PROPERTIES,
            cipher::Aes::<{ cipher::$mode }, $bits>::FUNCTIONS,
            c"AES by Azure Managed HSM",
        )
    };
}

static CIPHER: Offer = offer![
    cipher!(
        WRAP,
        128,
        c"AES-128-WRAP:id-aes128-wrap:AES128-WRAP:2.16.840.1.101.3.4.1.5"
    ),
    cipher!(
        WRAP,
        192,
        c"AES-192-WRAP:id-aes192-wrap:AES192-WRAP:2.16.840.1.101.3.4.1.25"
    ),
    cipher!(
        WRAP,
        256,
        c"AES-256-WRAP:id-aes256-wrap:AES256-WRAP:2.16.840.1.101.3.4.1.45"
    ),
    cipher!(
        WRAP_PAD,
        128,
        c"AES-128-WRAP-PAD:id-aes128-wrap-pad:AES128-WRAP-PAD:2.16.840.1.101.3.4.1.8"
    ),
    cipher!(
        WRAP_PAD,
        192,
        c"AES-192-WRAP-PAD:id-aes192-wrap-pad:AES192-WRAP-PAD:2.16.840.1.101.3.4.1.28"
    ),
    cipher!(
        WRAP_PAD,
        256,
        c"AES-256-WRAP-PAD:id-aes256-wrap-pad:AES256-WRAP-PAD:2.16.840.1.101.3.4.1.48"
    ),
    cipher!(CBC, 128, c"AES-128-CBC:AES128:2.16.840.1.101.3.4.1.2"),
    cipher!(CBC, 192, c"AES-192-CBC:AES192:2.16.840.1.101.3.4.1.22"),
    cipher!(CBC, 256, c"AES-256-CBC:AES256:2.16.840.1.101.3.4.1.42"),
    cipher!(
        GCM,
        128,
        c"AES-128-GCM:id-aes128-GCM:2.16.840.1.101.3.4.1.6"
    ),
    cipher!(
        GCM,
        192,
        c"AES-192-GCM:id-aes192-GCM:2.16.840.1.101.3.4.1.26"
    ),
    cipher!(
        GCM,
        256,
        c"AES-256-GCM:id-aes256-GCM:2.16.840.1.101.3.4.1.46"
    ),
];

static RAND: Offer = offer![algorithm(
    c"AKV-RANDOM",
    PROPERTIES,
    rand::GENERATOR,
    c"random bytes from Azure Managed HSM",
),];

/// The table of an operation. None: the provider has nothing to offer there.
pub(super) fn of_operation(operation: c_int, provider: &Provider) -> Option<&'static [Algorithm]> {
    let version = provider.core_version;
    let offer = match operation {
        ffi::OP_KEYMGMT => &KEYMGMT,
        ffi::OP_SIGNATURE if version >= (3, 4) => &SIGNATURE_3_4,
        ffi::OP_SIGNATURE => &SIGNATURE,
        ffi::OP_ASYM_CIPHER => &ASYM_CIPHER,
        // Older releases have no keys that such ciphers would be for.
        ffi::OP_SKEYMGMT => &SKEYMGMT,
        ffi::OP_CIPHER if version >= (3, 5) => &CIPHER,
        ffi::OP_RAND if provider.offers_random => &RAND,
        ffi::OP_ENCODER if version >= (3, 5) => return Some(&encoders::ALL_3_5),
        ffi::OP_ENCODER => return Some(encoders::ALL),
        ffi::OP_DECODER => return Some(DECODER),
        ffi::OP_STORE => return Some(STORE),
        _ => return None,
    };
    let table = match provider.assume_fips {
        true => offer.fips,
        false => offer.plain,
    };
    let begins_with_ml_dsa = operation == ffi::OP_KEYMGMT || std::ptr::eq(offer, &SIGNATURE_3_4);
    match begins_with_ml_dsa && version < (3, 5) {
        true => table.get(ML_DSA_ALGORITHMS..),
        false => Some(table),
    }
}
