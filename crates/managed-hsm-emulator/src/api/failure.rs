//! Errors with the codes and texts that were recorded from the service. Unrecorded ones are in `unconfirmed`.

use axum::http::StatusCode;

use super::unconfirmed;
use crate::faults::THROTTLED;
use crate::store::StoreError;

/// An answer other than success. The activity id is added where the answer is written.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) status: StatusCode,
    pub(super) code: &'static str,
    pub(super) message: String,
}

impl Failure {
    pub(super) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            code,
            message: message.into(),
        }
    }

    pub(super) fn bad_parameter(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "BadParameter", message)
    }

    pub(super) fn throttled() -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, "Throttled", THROTTLED)
    }

    pub(super) fn malformed_token() -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            "Unauthorized",
            "Error decoding or parsing JWT components",
        )
    }

    pub(super) fn invalid_key_name() -> Self {
        Self::bad_parameter("Invalid key identifier or name")
    }

    pub(super) fn key_type_missing() -> Self {
        Self::bad_parameter("JSON Web Key: kty is missing")
    }

    pub(super) fn invalid_key_size(bits: i64) -> Self {
        Self::bad_parameter(format!("Invalid key size: '{bits}'"))
    }

    pub(super) fn random_count() -> Self {
        Self::bad_parameter(
            "GetRandomBytesRequest: count cannot be greater than 128 or less than 1",
        )
    }

    /// `collection` is `keys` or `deletedkeys`.
    pub(super) fn key_not_found(
        host: &str,
        collection: &str,
        name: &str,
        version: Option<&str>,
    ) -> Self {
        let version = version.map_or(String::new(), |version| format!("/{version}"));
        Self::new(
            StatusCode::NOT_FOUND,
            "KeyNotFound",
            format!("Key not found: https://{host}/{collection}/{name}{version}"),
        )
    }

    /// Rotation repeats itself, as recorded.
    pub(super) fn key_to_rotate_not_found(host: &str, name: &str) -> Self {
        let failure = Self::key_not_found(host, "keys", name, None);
        Self {
            message: format!("Key not found: {}", failure.message),
            ..failure
        }
    }

    pub(super) fn access_denied(action: &str, scope: &str) -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            "AccessDenied",
            format!("Not authorized to access {action} on {scope}"),
        )
    }

    pub(super) fn malformed_backup() -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            "MalformedBackupBlob",
            "Backup blob belongs to a different crypto domain and cannot be used with this instance.",
        )
    }

    pub(super) fn from_restore(error: StoreError) -> Self {
        match error {
            StoreError::ForeignBackup => Self::malformed_backup(),
            StoreError::Exists => unconfirmed::key_exists(),
            other => Self::from_store(other, "of the backup", Self::malformed_backup()),
        }
    }

    pub(super) fn role_assignment_not_found() -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "RoleAssignmentNotFound",
            "Requested role assignment not found",
        )
    }

    pub(super) fn invalid_setting() -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            "InvalidSetting",
            "Invalid setting name. Please check the spelling of the setting name to update.",
        )
    }

    pub(super) fn immutable_policy() -> Self {
        Self::bad_parameter("Immutable Release policy cannot be modified")
    }

    pub(super) fn action_not_supported(action: &str) -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            "NotSupported",
            format!("action '{action}' not supported"),
        )
    }

    /// What a failed change of the store means to the caller; `missing` is the answer when the key is not there.
    pub(super) fn from_store(error: StoreError, name: &str, missing: Self) -> Self {
        match error {
            StoreError::NotFound => missing,
            StoreError::Deleted => unconfirmed::key_is_deleted(name),
            StoreError::TooManyVersions => unconfirmed::too_many_versions(),
            other => {
                crate::log::event(format_args!("storing the key {name} failed: {other}"));
                unconfirmed::internal("the key could not be stored; the emulator's log says why")
            }
        }
    }
}
