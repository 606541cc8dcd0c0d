//! What to do about a call that failed.

/// The remedy for each code that the module gives for a reason of its own. `docs/pkcs11.md` has
/// all.
pub(super) const REMEDIES: &[(&str, &str)] = &[
    (
        "CKR_ARGUMENTS_BAD",
        "the program passes what PKCS#11 does not allow; report it to its maker",
    ),
    (
        "CKR_SLOT_ID_INVALID",
        "name a slot of the configuration file; 'akv pkcs11 info' lists them",
    ),
    (
        "CKR_TOKEN_NOT_PRESENT",
        "correct the token's settings; 'akv pkcs11 check' names each mistake",
    ),
    (
        "CKR_USER_NOT_LOGGED_IN",
        "log in: set MHSM_CLIENT_ID and MHSM_CLIENT_SECRET, name a file with --pin-file, or have a managed identity",
    ),
    (
        "CKR_PIN_INCORRECT",
        "set MHSM_CLIENT_ID and MHSM_CLIENT_SECRET to an application and its secret, or name a file with \
         --pin-file that holds <client id>:<secret>",
    ),
    (
        "CKR_PIN_EXPIRED",
        "give the application a new secret: az ad app credential reset --id <client id>",
    ),
    (
        "CKR_PIN_LOCKED",
        "there is no security officer: roles are assigned in Azure",
    ),
    (
        "CKR_KEY_FUNCTION_NOT_PERMITTED",
        "assign the role 'Managed HSM Crypto User' at /keys/<key name> to who asks, and see that the key is \
         enabled and may sign: 'akv keys show' tells",
    ),
    (
        "CKR_TOKEN_WRITE_PROTECTED",
        "assign the role 'Managed HSM Crypto User' at /keys to who asks",
    ),
    (
        "CKR_KEY_HANDLE_INVALID",
        "search for the key again: it has been deleted",
    ),
    (
        "CKR_OBJECT_HANDLE_INVALID",
        "search for the object again: it has been deleted",
    ),
    (
        "CKR_TEMPLATE_INCONSISTENT",
        "leave out of the template what the HSM does not do; docs/pkcs11.md says what a key may be told",
    ),
    (
        "CKR_TEMPLATE_INCOMPLETE",
        "put into the public key's template what the message names",
    ),
    (
        "CKR_ATTRIBUTE_VALUE_INVALID",
        "correct the value that the message names",
    ),
    (
        "CKR_KEY_SIZE_RANGE",
        "RSA keys have 2048, 3072 or 4096 bits",
    ),
    (
        "CKR_CURVE_NOT_SUPPORTED",
        "choose P-256, P-256K, P-384 or P-521",
    ),
    (
        "CKR_MECHANISM_PARAM_INVALID",
        "PSS takes SHA-256, SHA-384 or SHA-512, the same for MGF1, and a salt as long as the digest",
    ),
    (
        "CKR_DEVICE_ERROR",
        "check the way to the HSM: akv doctor managedhsm:<HSM>:<key>",
    ),
    (
        "CKR_FUNCTION_FAILED",
        "follow what the message says; to list keys the HSM demands keys/read at /keys, unless the token's 'keys' \
         names them",
    ),
    (
        "CKR_GENERAL_ERROR",
        "this is a fault of the module: report it with the log, AKV_LOG_LEVEL=debug",
    ),
];

/// What to do about a function that failed with a code.
pub(super) fn of(function: &str, code: &str) -> &'static str {
    if function == "C_Initialize" {
        return "correct the configuration file, or name another with --config; docs/pkcs11.md says what it may hold";
    }
    let found = REMEDIES.iter().find(|(known, _)| *known == code);
    found.map_or("docs/pkcs11.md says what the code means", |(_, remedy)| {
        remedy
    })
}
