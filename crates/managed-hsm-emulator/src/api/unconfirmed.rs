//! Answers that no public recording of the service confirms: codes and texts are as documented, or
//! as Key Vault has them, or a guess. When a recording turns up, the text moves to `failure`.
//!
//! What is unconfirmed and no text stands where it is done, with a comment that says `Unconfirmed`:
//!
//! - `api/access.rs`, `roles.rs`: the data actions of the connection to an external key manager,
//!   and which role has them
//! - `api/audit.rs`: operations of audit records that aren't about keys, and results that aren't
//!   successes
//! - `api/body.rs`: what a version of the API without ML-DSA tells of such a key, and what 7.1 and
//!   7.2 tell of a release policy
//! - `api/cost.rs`: what a signature of ML-DSA costs of an HSM's capacity
//! - `api/ekm/mod.rs`: that the certificate for the proxy is told before there is a connection
//! - `api/external.rs`: types, operations and rotation of external keys
//! - `api/full_backup.rs`: how many versions the restore of a key with several counts, and what is
//!   told besides a code of an address without a container
//! - `api/keys.rs`: that a vault leaves the authorities of a release policy as they are
//! - `api/ml_dsa.rs`: what such a version says to a signature, and whether a request may name the
//!   algorithm
//! - `api/order.rs`: where `hsmPlatform`, `alg` and `pub` stand among a vault's members, and
//!   `managed` beside `tags`
//! - `api/release.rs`: the form of key attestations, and what a released symmetric key is called
//! - `api/reply.rs`: the four bytes of a vault's health
//! - `api/secure_wrap.rs`: in which form an environment gets an unwrapped key, and which operations
//!   such a key has
//! - `identity/refusal.rs`: texts of Entra ID, of the instance metadata service and of App Service
//!   that no report and no document has
//! - `keys.rs`: that new EC keys have `deriveKey` in each version of the API, and that an HSM makes
//!   `AKP-HSM` of `AKP`
//!
//! The README names them by subject. A test holds this list to the sources.

pub(super) mod ekm;

use http::{HeaderMap, HeaderValue, Method, StatusCode, header};

use super::failure::Failure;
use super::reply::challenge;
use crate::clock::unix_seconds;
use crate::json::JsonError;
use crate::service::{Audience, Service};
use crate::token::TokenError;

pub(super) fn token_refused(error: &TokenError, audience: Audience) -> Failure {
    let message = match error {
        TokenError::Malformed => "Error decoding or parsing JWT components".to_owned(),
        TokenError::Foreign => {
            "Error validating token: the signature is not by a trusted issuer".to_owned()
        }
        TokenError::Audience(found) => format!(
            "Error validating token: the audience is not {}, but {found}",
            audience.resource()
        ),
        TokenError::NotYetValid => "Error validating token: the token is not yet valid".to_owned(),
        TokenError::Expired => "Error validating token: the token has expired".to_owned(),
    };
    Failure::new(StatusCode::UNAUTHORIZED, "Unauthorized", message)
}

/// The codes are from reports of users: `AKV10046`, and those of the library that the service
/// checks tokens with.
pub(super) fn token_refused_by_vault(error: &TokenError, audience: Audience) -> Failure {
    let message = match error {
        TokenError::Audience(found) => {
            return Failure::wrong_audience_for_vault(&audience.resource(), found);
        }
        TokenError::Malformed => "Error validating token: IDX12741",
        TokenError::Foreign => "AKV10046: Unable to resolve the key used for signature validation.",
        TokenError::NotYetValid => "Error validating token: IDX10222",
        TokenError::Expired => "Error validating token: IDX10223",
    };
    Failure::new(StatusCode::UNAUTHORIZED, "Unauthorized", message)
}

/// Continuous access evaluation: the token has to be newer than now.
pub(super) fn ask_for_claims(headers: &mut HeaderMap, audience: Audience) {
    let now = unix_seconds().to_string();
    let claims = serde_json::json!({"access_token": {"nbf": {"essential": true, "value": now}}});
    let claims = openssl::base64::encode_block(claims.to_string().as_bytes());
    let challenge = format!(
        "{}, error=\"insufficient_claims\", claims=\"{claims}\"",
        challenge(audience)
    );
    if let Ok(challenge) = HeaderValue::try_from(challenge) {
        headers.insert(header::WWW_AUTHENTICATE, challenge);
    }
}

/// The services' hosts have no answer at all for an HSM or a vault that isn't there; DNS doesn't
/// know them.
pub(super) fn not_served(service: Service, host: &str) -> Failure {
    let (code, what, option) = match service {
        Service::ManagedHsm => ("HsmNotFound", "HSM", "--hsm"),
        Service::KeyVault => ("VaultNotFound", "vault", "--vault"),
    };
    let message = format!("This emulator serves no {what} under '{host}'; name it with {option}");
    Failure::new(StatusCode::NOT_FOUND, code, message)
}

/// Random bytes, settings, roles and attestations are Managed HSM's only. The text is as users
/// report it of segments that are no version.
pub(super) fn not_in_vaults(method: &Method, path: &str) -> Failure {
    let operation = path.trim_matches('/').rsplit('/').next();
    Failure::bad_parameter(format!(
        "Method {method} does not allow operation '{}'",
        operation.unwrap_or_default()
    ))
}

pub(super) fn no_api_version() -> Failure {
    Failure::bad_parameter("api-version must be specified")
}

pub(super) fn body_not_read() -> Failure {
    Failure::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        "BadParameter",
        "The request body is larger than 1 MiB or was not sent in full.",
    )
}

pub(super) fn body_not_understood(error: &JsonError) -> Failure {
    Failure::bad_parameter(format!("Error parsing the JSON of the request: {error}"))
}

pub(super) fn internal(message: &str) -> Failure {
    Failure::new(
        StatusCode::INTERNAL_SERVER_ERROR,
        "InternalServerError",
        message,
    )
}

pub(super) fn unknown_path(path: &str) -> Failure {
    Failure::new(
        StatusCode::NOT_FOUND,
        "NotFound",
        format!("Resource not found: {path}"),
    )
}

pub(super) fn method_not_allowed(method: &str) -> Failure {
    Failure::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "MethodNotAllowed",
        format!("The method {method} is not allowed on this resource."),
    )
}

pub(super) fn api_version(version: &str) -> Failure {
    Failure::bad_parameter(format!(
        "The specified version ({version}) is not recognized. Consider using the latest supported version (2026-04-01)."
    ))
}

pub(super) fn max_results() -> Failure {
    Failure::bad_parameter("maxresults has to be a number from 1 to 25.")
}

pub(super) fn skip_token() -> Failure {
    Failure::bad_parameter("The $skiptoken is not one of this HSM.")
}

pub(super) fn key_is_deleted(name: &str) -> Failure {
    Failure::new(
        StatusCode::CONFLICT,
        "Conflict",
        format!(
            "Key {name} is currently in a deleted but recoverable state, and its name cannot be reused; in this state, the key can only be recovered or purged."
        ),
    )
    .with_inner("ObjectIsDeletedButRecoverable")
}

pub(super) fn too_many_versions() -> Failure {
    Failure::bad_parameter("The key has 100 versions, which is the limit.")
}

pub(super) fn too_many_tags() -> Failure {
    Failure::bad_parameter("A key can have at most 15 tags.")
}

pub(super) fn tag_too_long(limit: usize) -> Failure {
    Failure::bad_parameter(format!(
        "The name and the value of a tag can have at most {limit} characters."
    ))
}

pub(super) fn too_many_keys(limit: usize) -> Failure {
    Failure::bad_parameter(format!(
        "The HSM has {limit} keys, which is the limit; this emulator's is set by --max-keys."
    ))
}

pub(super) fn too_many_custom_roles() -> Failure {
    Failure::new(
        StatusCode::BAD_REQUEST,
        "RoleDefinitionLimitExceeded",
        "The HSM has 50 custom role definitions, which is the limit.",
    )
}

pub(super) fn too_many_assignments(scope: &str, limit: usize) -> Failure {
    Failure::new(
        StatusCode::BAD_REQUEST,
        "RoleAssignmentLimitExceeded",
        format!("There are {limit} role assignments at {scope}, which is the limit."),
    )
}

pub(super) fn filter(text: &str) -> Failure {
    Failure::bad_parameter(format!("The $filter '{text}' is not supported."))
}

pub(super) fn purge_protected_in_hsm() -> Failure {
    forbidden(
        "Operation purge is not allowed because purge protection is enabled for this HSM."
            .to_owned(),
    )
}

/// That it is refused is documented.
pub(super) fn rotation_without_policy() -> Failure {
    Failure::bad_parameter("You must set a key rotation policy first")
}

pub(super) fn import_with_others() -> Failure {
    Failure::bad_parameter(
        "The key operation 'import' is mutually exclusive with all other key operations.",
    )
}

pub(super) fn not_activated() -> Failure {
    forbidden(
        "The HSM is not activated: its security domain has to be downloaded, or another's uploaded."
            .to_owned(),
    )
}

pub(super) fn domain_quorum(certificates: usize, required: usize) -> Failure {
    Failure::bad_parameter(format!(
        "A security domain has 3 to 10 certificates, of which 2 to 10 are required: {certificates} and {required} were asked for."
    ))
}

pub(super) fn domain_certificate() -> Failure {
    Failure::bad_parameter(
        "Each certificate has an x5c that begins with a certificate of an RSA key of 2048 bits at least.",
    )
}

pub(super) fn domain_not_readable() -> Failure {
    Failure::bad_parameter("The security domain is not encrypted to this HSM's transfer key.")
}

pub(super) fn domain_in_use() -> Failure {
    Failure::new(
        StatusCode::CONFLICT,
        "Conflict",
        "The HSM has keys in its own security domain, so that no other can be uploaded.",
    )
}

pub(super) fn backup_in_progress() -> Failure {
    Failure::new(
        StatusCode::CONFLICT,
        "Conflict",
        "Another backup or restore is in progress.",
    )
}

pub(super) fn no_such_job(id: &str) -> Failure {
    Failure::new(
        StatusCode::NOT_FOUND,
        "JobNotFound",
        format!("There is no backup or restore '{id}'."),
    )
}

pub(super) fn storage_uri(uri: &str) -> Failure {
    Failure::bad_parameter(format!(
        "'{uri}' is no container: one, or a folder in it, is named by https://, the storage's host and a path, and by http:// for storage that this emulator is to reach over HTTP."
    ))
}

pub(super) fn host_header() -> Failure {
    Failure::bad_parameter("A request has one Host header (RFC 9112, section 3.2).")
}

pub(super) fn body_too_slow() -> Failure {
    Failure::new(
        StatusCode::REQUEST_TIMEOUT,
        "RequestTimeout",
        "The request body did not come in time.",
    )
}

pub(super) fn key_exists() -> Failure {
    Failure::new(
        StatusCode::CONFLICT,
        "Conflict",
        "A key with the name of the backed up key already exists.",
    )
}

pub(super) fn role_definition_not_found() -> Failure {
    Failure::new(
        StatusCode::NOT_FOUND,
        "RoleDefinitionNotFound",
        "Requested role definition not found",
    )
}

pub(super) fn data_action(action: &str) -> Failure {
    Failure::bad_parameter(format!("Invalid data action: '{action}'"))
}

pub(super) fn not_a_guid(text: &str) -> Failure {
    Failure::bad_parameter(format!("The name '{text}' is not a GUID."))
}

pub(super) fn setting_value(value: &str) -> Failure {
    Failure::bad_parameter(format!("Invalid setting value: '{value}'"))
}

pub(super) fn duration(text: &str) -> Failure {
    Failure::bad_parameter(format!("Invalid duration: '{text}'"))
}

pub(super) fn lifetime_action(kind: &str) -> Failure {
    Failure::bad_parameter(format!("Invalid lifetime action type: '{kind}'"))
}

pub(super) fn lifetime_actions() -> Failure {
    Failure::bad_parameter("A key rotation policy has at most one lifetime action.")
}

pub(super) fn trigger() -> Failure {
    Failure::bad_parameter(
        "A lifetime action has either a timeAfterCreate or a timeBeforeExpiry as its trigger.",
    )
}

pub(super) fn policy_period(what: &str, days: i64) -> Failure {
    Failure::bad_parameter(format!(
        "Key rotation policy: {what} must be at least {days} days."
    ))
}

pub(super) fn release_policy() -> Failure {
    Failure::bad_parameter("The release policy is not valid JSON, encoded with base64url.")
}

pub(super) fn attestation_not_verified() -> Failure {
    forbidden("Target environment attestation statement cannot be verified.".to_owned())
        .with_inner("AccessDenied")
}

pub(super) fn policy_not_met() -> Failure {
    forbidden(
        "Target environment attestation does not meet key release policy requirements.".to_owned(),
    )
    .with_inner("AccessDenied")
}

/// That such keys have a release policy and are not exportable is documented.
pub(super) fn secure_wrap_without_policy() -> Failure {
    Failure::bad_parameter("Keys for secure wrap and unwrap must have release policy")
}

pub(super) fn exportable_at_creation_only() -> Failure {
    Failure::bad_parameter("Property 'exportable' can only be set when a key is created.")
}

/// That an id has these characters, and at most so many, is documented.
pub(super) fn external_key_id() -> Failure {
    Failure::bad_parameter(
        "Invalid external key id: it must be 1-64 characters of the set [a-zA-Z0-9-].",
    )
}

pub(super) fn external_key_in_vault() -> Failure {
    Failure::bad_parameter("External keys are only supported by Managed HSM.")
}

pub(super) fn external_key_at_creation_only() -> Failure {
    Failure::bad_parameter("Property 'external_key' can only be set when a key is created.")
}

pub(super) fn external_key_rotation() -> Failure {
    Failure::bad_parameter(
        "An external key cannot be rotated: create a new version with another external key id.",
    )
}

pub(super) fn secure_wrap_exportable() -> Failure {
    Failure::bad_parameter("Keys for secure wrap and unwrap must not be exportable")
}

pub(super) fn trusted_issuer() -> Failure {
    Failure::bad_parameter(
        "The emulator does not support the property 'applicationTrustedIssuer': nothing is published about it.",
    )
}

pub(super) fn attestation_without_key() -> Failure {
    Failure::bad_parameter(
        "Target environment attestation statement has no RSA key to encrypt to in x-ms-runtime.",
    )
}

pub(super) fn key_type(kty: &str) -> Failure {
    Failure::bad_parameter(format!("JSON Web Key: kty '{kty}' is not supported"))
}

pub(super) fn key_operation(operation: &str, kty: &str) -> Failure {
    Failure::bad_parameter(format!(
        "Invalid key operation: '{operation}' is none of a key of type '{kty}'"
    ))
}

pub(super) fn curve(name: &str) -> Failure {
    Failure::bad_parameter(format!("Invalid curve: '{name}'"))
}

pub(super) fn public_exponent(exponent: i64) -> Failure {
    Failure::bad_parameter(format!("Invalid public exponent: '{exponent}'"))
}

pub(super) fn invalid_jwk(member: &str) -> Failure {
    Failure::bad_parameter(format!(
        "JSON Web Key: {member} is missing or not valid base64url"
    ))
}

pub(super) fn transfer_blob(problem: &str) -> Failure {
    Failure::bad_parameter(format!("The key transfer blob cannot be used: {problem}."))
}

pub(super) fn certificate_not_usable() -> Failure {
    Failure::bad_parameter(
        "The specified value is neither PKCS#12 nor PEM with a certificate and its private key.",
    )
}

/// That a key is at least as long as the digest is RFC 7518's rule (section 3.2).
pub(super) fn mac_key_size(algorithm: &str, required: usize) -> Failure {
    Failure::bad_parameter(format!(
        "Key and signing algorithm are incompatible. {algorithm} requires a key of {required} bytes or more."
    ))
}

pub(super) fn inconsistent_jwk() -> Failure {
    Failure::bad_parameter("JSON Web Key: the members do not make a valid key")
}

/// The description of the API has no member for the private part of such a key.
pub(super) fn import_of_akp() -> Failure {
    Failure::bad_parameter("JSON Web Key: a key of type AKP cannot be imported")
}

pub(super) fn missing_member(member: &str) -> Failure {
    Failure::bad_parameter(format!("Property '{member}' is required."))
}

pub(super) fn not_base64url(member: &str) -> Failure {
    Failure::bad_parameter(format!("Property '{member}' is not valid base64url."))
}

pub(super) fn algorithm(name: &str) -> Failure {
    Failure::bad_parameter(format!("Invalid algorithm: '{name}'"))
}

pub(super) fn incompatible(algorithm: &str, kty: &str) -> Failure {
    Failure::bad_parameter(format!(
        "Key and signing algorithm are incompatible. Key of type '{kty}' cannot be used with {algorithm}."
    ))
}

pub(super) fn incompatible_encryption(algorithm: &str, kty: &str) -> Failure {
    Failure::bad_parameter(format!(
        "Key and encryption algorithm are incompatible. Key of type '{kty}', or of this size, cannot be used with {algorithm}."
    ))
}

pub(super) fn not_usable(member: &str, algorithm: &str) -> Failure {
    Failure::bad_parameter(format!(
        "Property '{member}' cannot be used with {algorithm} and this key."
    ))
}

pub(super) fn digest_length(
    member: &str,
    length: usize,
    algorithm: &str,
    required: usize,
) -> Failure {
    Failure::bad_parameter(format!(
        "Invalid length of '{member}': {length} bytes. {algorithm} requires {required} bytes, encoded with base64url."
    ))
}

/// One member excludes another.
pub(super) fn excluded(member: &str, by: &str) -> Failure {
    Failure::bad_parameter(format!(
        "Property '{member}' must not be set when '{by}' is specified."
    ))
}

pub(super) fn external_mu_length(length: usize) -> Failure {
    Failure::bad_parameter(format!(
        "Invalid length of 'external_mu': {length} bytes. It must be exactly 64 bytes, encoded with base64url."
    ))
}

pub(super) fn context_length(length: usize) -> Failure {
    Failure::bad_parameter(format!(
        "Invalid length of 'context': {length} bytes. It must be 0-255 bytes, encoded with base64url."
    ))
}

pub(super) fn only_for_akp(member: &str) -> Failure {
    Failure::bad_parameter(format!(
        "Property '{member}' is only supported for ML-DSA (AKP) keys."
    ))
}

pub(super) fn not_permitted(operation: &str) -> Failure {
    forbidden(format!(
        "Operation {operation} is not permitted on this key."
    ))
    .with_inner("KeyOperationForbidden")
}

pub(super) fn disabled(operation: &str) -> Failure {
    forbidden(format!(
        "Operation {operation} is not allowed on a disabled key."
    ))
    .with_inner("KeyDisabled")
}

pub(super) fn expired(operation: &str) -> Failure {
    forbidden(format!(
        "Operation {operation} is not allowed on an expired key."
    ))
    .with_inner("KeyExpired")
}

pub(super) fn not_yet_valid(operation: &str) -> Failure {
    forbidden(format!(
        "Operation {operation} is not allowed on a key that is not yet valid."
    ))
    .with_inner("KeyNotYetValid")
}

fn forbidden(message: String) -> Failure {
    Failure::new(StatusCode::FORBIDDEN, "Forbidden", message)
}
