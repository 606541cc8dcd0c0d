//! Texts that the API's description enumerates. Those of a stored key have no version: a key that
//! was made in a newer version of the API is shown in older ones, too.

use super::Kind::{self, OneOf};
use super::Presence::{Since, Sometimes};
use crate::api::versions::{HMAC_SINCE, HSM_SINCE};

pub(super) const KEY_TYPE: Kind = OneOf(&[
    ("AKP", Sometimes),
    ("AKP-HSM", Sometimes),
    ("EC", Sometimes),
    ("EC-HSM", Sometimes),
    ("RSA", Sometimes),
    ("RSA-HSM", Sometimes),
    ("oct", Sometimes),
    ("oct-HSM", Sometimes),
]);

pub(super) const CURVE: Kind = OneOf(&[
    ("P-256", Sometimes),
    ("P-256K", Sometimes),
    ("P-384", Sometimes),
    ("P-521", Sometimes),
]);

/// Of ML-DSA.
pub(super) const PARAMETER_SET: Kind = OneOf(&[
    ("ML-DSA-44", Sometimes),
    ("ML-DSA-65", Sometimes),
    ("ML-DSA-87", Sometimes),
]);

/// `deriveKey` is no value of the description's, but recorded.
pub(super) const KEY_OPERATION: Kind = OneOf(&[
    ("decrypt", Sometimes),
    ("deriveKey", Sometimes),
    ("encrypt", Sometimes),
    ("export", Sometimes),
    ("import", Sometimes),
    ("secureUnwrapKey", Sometimes),
    ("secureWrapKey", Sometimes),
    ("sign", Sometimes),
    ("unwrapKey", Sometimes),
    ("verify", Sometimes),
    ("wrapKey", Sometimes),
]);

pub(super) const RECOVERY_LEVEL: Kind = OneOf(&[
    ("CustomizedRecoverable", Sometimes),
    ("CustomizedRecoverable+ProtectedSubscription", Sometimes),
    ("CustomizedRecoverable+Purgeable", Sometimes),
    ("Purgeable", Sometimes),
    ("Recoverable", Sometimes),
    ("Recoverable+ProtectedSubscription", Sometimes),
    ("Recoverable+Purgeable", Sometimes),
]);

pub(super) const SIGNATURE: Kind = OneOf(&[
    ("ES256", Sometimes),
    ("ES256K", Sometimes),
    ("ES384", Sometimes),
    ("ES512", Sometimes),
    ("HS256", Since(HMAC_SINCE)),
    ("HS384", Since(HMAC_SINCE)),
    ("HS512", Since(HMAC_SINCE)),
    ("PS256", Sometimes),
    ("PS384", Sometimes),
    ("PS512", Sometimes),
    ("RS256", Sometimes),
    ("RS384", Sometimes),
    ("RS512", Sometimes),
    ("RSNULL", Sometimes),
]);

/// Of encryption and of wrapping, which have the same names.
pub(super) const ENCRYPTION: Kind = OneOf(&[
    ("A128CBC", Since(HSM_SINCE)),
    ("A128CBCPAD", Since(HSM_SINCE)),
    ("A128GCM", Since(HSM_SINCE)),
    ("A128KW", Since(HSM_SINCE)),
    ("A192CBC", Since(HSM_SINCE)),
    ("A192CBCPAD", Since(HSM_SINCE)),
    ("A192GCM", Since(HSM_SINCE)),
    ("A192KW", Since(HSM_SINCE)),
    ("A256CBC", Since(HSM_SINCE)),
    ("A256CBCPAD", Since(HSM_SINCE)),
    ("A256GCM", Since(HSM_SINCE)),
    ("A256KW", Since(HSM_SINCE)),
    ("CKM_AES_KEY_WRAP", Since(HMAC_SINCE)),
    ("CKM_AES_KEY_WRAP_PAD", Since(HMAC_SINCE)),
    ("RSA-OAEP", Sometimes),
    ("RSA-OAEP-256", Sometimes),
    ("RSA1_5", Sometimes),
]);

pub(super) const SECURE_WRAPPING: Kind = OneOf(&[
    ("A128KW", Sometimes),
    ("A128KWPAD", Sometimes),
    ("A192KW", Sometimes),
    ("A192KWPAD", Sometimes),
    ("A256KW", Sometimes),
    ("A256KWPAD", Sometimes),
    ("CKM_AES_KEY_WRAP", Sometimes),
    ("CKM_AES_KEY_WRAP_PAD", Sometimes),
    ("RSA-OAEP-256", Sometimes),
]);

/// HSMs were recorded to write it small.
pub(super) const ROTATION_ACTION: Kind = OneOf(&[
    ("Notify", Sometimes),
    ("Rotate", Sometimes),
    ("rotate", Sometimes),
]);

pub(super) const SETTING_TYPE: Kind = OneOf(&[("boolean", Sometimes)]);
pub(super) const ROLE_TYPE: Kind =
    OneOf(&[("AKVBuiltInRole", Sometimes), ("CustomRole", Sometimes)]);
pub(super) const ROLE_DEFINITION: Kind =
    OneOf(&[("Microsoft.Authorization/roleDefinitions", Sometimes)]);

/// Of a backup or restore.
pub(super) const JOB_STATUS: Kind = OneOf(&[
    ("Canceled", Sometimes),
    ("Failed", Sometimes),
    ("InProgress", Sometimes),
    ("Succeeded", Sometimes),
]);

/// Of a security domain.
pub(super) const DOMAIN_STATUS: Kind = OneOf(&[
    ("Failed", Sometimes),
    ("InProgress", Sometimes),
    ("Success", Sometimes),
]);

pub(super) const CONNECTIVITY_MODE: Kind =
    OneOf(&[("PrivateEndpoint", Sometimes), ("Public", Sometimes)]);

/// What is done with a private endpoint.
pub(super) const ENDPOINT_OPERATION: Kind = OneOf(&[("Create", Sometimes), ("Delete", Sometimes)]);
pub(super) const ENDPOINT_STATUS: Kind = OneOf(&[
    ("Canceled", Sometimes),
    ("Failed", Sometimes),
    ("NotStarted", Sometimes),
    ("Running", Sometimes),
    ("Succeeded", Sometimes),
]);
