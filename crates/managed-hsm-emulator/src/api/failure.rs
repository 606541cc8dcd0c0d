//! Errors with the codes and texts that were recorded from the service. Unrecorded ones are in
//! `unconfirmed`.

use http::StatusCode;

use super::{Call, unconfirmed};
use crate::faults::THROTTLED;
use crate::service::Service;
use crate::store::StoreError;
use crate::token::{Principal, TENANT};

/// The one code that is no word.
pub(super) const MALFORMED_BACKUP_IN_VAULT: &str = "Malformed backup blob";

/// An answer other than success. The activity id, which only Managed HSM tells, is added where the
/// answer is written.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) status: StatusCode,
    pub(super) code: &'static str,
    /// What Key Vault adds to the code of some failures.
    pub(super) inner: Option<&'static str>,
    pub(super) message: String,
}

impl Failure {
    pub(super) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            code,
            inner: None,
            message: message.into(),
        }
    }

    pub(super) fn with_inner(self, code: &'static str) -> Self {
        Self {
            inner: Some(code),
            ..self
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

    pub(super) fn no_token_for_vault() -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            "Unauthorized",
            "AKV10000: Request is missing a Bearer or PoP token.",
        )
    }

    pub(super) fn wrong_audience_for_vault(expected: &str, found: &str) -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            "Unauthorized",
            format!("AKV10022: Invalid audience. Expected {expected}, found: {found}."),
        )
    }

    pub(super) fn invalid_key_name(service: Service, name: &str) -> Self {
        match service {
            Service::ManagedHsm => Self::bad_parameter("Invalid key identifier or name"),
            Service::KeyVault => {
                Self::bad_parameter(format!("The request URI contains an invalid name: {name}"))
            }
        }
    }

    /// A vault's answer to so many members of a new key that can't be; the gap in it was recorded,
    /// and once for each of two (azure-sdk-for-java, `KeyClientTest.createKeyNullType`).
    pub(super) fn invalid_properties(count: usize) -> Self {
        Self::bad_parameter("Property  has invalid value\r\n".repeat(count))
    }

    /// A vault's answer to the symmetric keys that it doesn't have, as users report it
    /// (azure-sdk-for-java#31588).
    pub(super) fn no_symmetric_keys(kty: &str) -> Self {
        Self::bad_parameter(format!("Invalid kty value: {kty}")).with_inner("KeyTypeNotSupported")
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
        call: &Call<'_>,
        collection: &str,
        name: &str,
        version: Option<&str>,
    ) -> Self {
        let host = call.host;
        let version = version.map_or(String::new(), |version| format!("/{version}"));
        let message = match (call.service, collection) {
            (Service::ManagedHsm, _) => {
                format!("Key not found: https://{host}/{collection}/{name}{version}")
            }
            (Service::KeyVault, "deletedkeys") => format!("Deleted Key not found: {name}"),
            (Service::KeyVault, _) => format!(
                "A key with (name/id) {name}{version} was not found in this key vault. If you recently deleted this key you may be able to recover it using the correct recovery command. For help resolving this issue, please see https://go.microsoft.com/fwlink/?linkid=2125182"
            ),
        };
        Self::new(StatusCode::NOT_FOUND, "KeyNotFound", message)
    }

    /// A vault's, as users report it.
    pub(super) fn certificate_not_found(name: &str, version: Option<&str>) -> Self {
        let version = version.map_or(String::new(), |version| format!("/versions/{version}"));
        let message = format!(
            "A certificate with (name/id) {name}{version} was not found in this key vault. If you recently deleted this certificate you may be able to recover it using the correct recovery command. For help resolving this issue, please see https://go.microsoft.com/fwlink/?linkid=2125182"
        );
        Self::new(StatusCode::NOT_FOUND, "CertificateNotFound", message)
    }

    /// An HSM's rotation repeats itself, as recorded.
    pub(super) fn key_to_rotate_not_found(call: &Call<'_>, name: &str) -> Self {
        let failure = Self::key_not_found(call, "keys", name, None);
        match call.service {
            Service::ManagedHsm => Self {
                message: format!("Key not found: {}", failure.message),
                ..failure
            },
            Service::KeyVault => failure,
        }
    }

    /// A vault names itself as a resource of Azure Resource Manager, in a subscription that isn't
    /// one.
    pub(super) fn access_denied_by_vault(
        vault: &str,
        principal: &Principal,
        action: &str,
        scope: &str,
    ) -> Self {
        let (appid, oid) = (&principal.client_id, &principal.object_id);
        let key = Some(scope).filter(|scope| scope.starts_with("/keys/"));
        let resource = format!(
            "/subscriptions/{TENANT}/resourcegroups/emulator/providers/microsoft.keyvault/vaults/{vault}{}",
            key.unwrap_or_default()
        );
        let message = format!(
            "Caller is not authorized to perform action on resource.\r\nIf role assignments, deny assignments or role definitions were changed recently, please observe propagation time.\r\nCaller: appid={appid};oid={oid};iss=https://sts.windows.net/{TENANT}/\r\nAction: '{action}'\r\nResource: '{resource}'\r\nAssignment: (not found)\r\nDenyAssignmentId: null\r\nDecisionReason: null \r\nVault: {vault};location=emulator\r\n"
        );
        Self::new(StatusCode::FORBIDDEN, "Forbidden", message).with_inner("ForbiddenByRbac")
    }

    pub(super) fn access_denied(action: &str, scope: &str) -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            "AccessDenied",
            format!("Not authorized to access {action} on {scope}"),
        )
    }

    /// A vault's is recorded of what is no backup (azure-sdk-for-java,
    /// `KeyClientTest.restoreKeyFromMalformedBackup`), spaces in its code and all.
    pub(super) fn malformed_backup(service: Service) -> Self {
        let (code, message) = match service {
            Service::ManagedHsm => (
                "MalformedBackupBlob",
                "Backup blob belongs to a different crypto domain and cannot be used with this instance.",
            ),
            Service::KeyVault => (MALFORMED_BACKUP_IN_VAULT, "Backup blob is corrupt."),
        };
        Self::new(StatusCode::BAD_REQUEST, code, message)
    }

    pub(super) fn from_restore(call: &Call<'_>, error: StoreError) -> Self {
        match error {
            StoreError::ForeignBackup => Self::malformed_backup(call.service),
            StoreError::Exists => unconfirmed::key_exists(),
            other => {
                let missing = Self::malformed_backup(call.service);
                Self::from_store(call, other, "of the backup", missing)
            }
        }
    }

    /// Recorded by azure-sdk-for-java, in
    /// `KeyVaultAccessControlClientTest.createExistingRoleAssignmentThrows`.
    pub(super) fn role_assignment_exists() -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            "RoleAssignmentExists",
            "The role assignment already exists.",
        )
    }

    /// This and the next are recorded by azure-sdk-for-js (`setRoleDefinition`).
    pub(super) fn built_in_role() -> Self {
        Self::bad_parameter(
            "Cannot re-use the name/GUID matching that of a built-in role. Please use a unique role ID.",
        )
    }

    pub(super) fn role_definition_name() -> Self {
        Self::bad_parameter("Role definition name must be a GUID")
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

    pub(super) fn immutable_policy(service: Service) -> Self {
        Self::bad_parameter(match service {
            Service::ManagedHsm => "Immutable Release policy cannot be modified",
            Service::KeyVault => "AKV.SKR.1020: Immutable Key Release Policy cannot be modified.",
        })
    }

    pub(super) fn exportable_without_policy(service: Service) -> Self {
        Self::bad_parameter(match service {
            Service::ManagedHsm => "Exportable keys must have release policy",
            Service::KeyVault => "AKV.SKR.1004: Exportable keys must have release policy.",
        })
    }

    pub(super) fn policy_without_exportable(service: Service) -> Self {
        Self::bad_parameter(match service {
            Service::ManagedHsm => "Non-exportable keys must not have release policy",
            Service::KeyVault => "AKV.SKR.1005: Non-exportable keys must not have release policy",
        })
    }

    /// A vault's answer in versions of the API that know no exportable keys.
    pub(super) fn exportable_too_early() -> Self {
        Self::bad_parameter(
            "AKV.SKR.1001: The exportable attribute is only supported with premium vaults and API version >= '7.3-preview'.",
        )
    }

    pub(super) fn release_policy_without_version() -> Self {
        Self::bad_parameter("Key Release Policy: missing 'version' property")
    }

    pub(super) fn symmetric_key_too_large() -> Self {
        Self::bad_parameter("JSON Web Key: k property of oct key is too large, maximum size is 64")
    }

    /// A vault's answer to an import whose key has no type.
    pub(super) fn not_a_jwk() -> Self {
        Self::bad_parameter("The property \"key\" must be a valid JsonWebKey object.")
    }

    /// A vault's is as users report it.
    fn purge_protected(service: Service) -> Self {
        let what = match service {
            Service::ManagedHsm => return unconfirmed::purge_protected_in_hsm(),
            Service::KeyVault => {
                "Operation \"purge\" is not allowed because purge protection is enabled for this vault. Key Vault service will automatically purge it after the retention period has passed."
            }
        };
        Self::new(StatusCode::FORBIDDEN, "Forbidden", what)
    }

    /// A vault asks for a deleted key to recover as for any.
    pub(super) fn key_to_recover_not_found(call: &Call<'_>, name: &str) -> Self {
        let collection = match call.service {
            Service::ManagedHsm => "deletedkeys",
            Service::KeyVault => "keys",
        };
        Self::key_not_found(call, collection, name, None)
    }

    /// Also where the name of a key is empty, so that what follows is taken for it. Recorded of a
    /// vault (azure-sdk-for-java, `KeyClientTest.createKeyEmptyName`); of an HSM that suite expects
    /// the status.
    pub(super) fn operation_not_specified() -> Self {
        Self::bad_parameter("Operation not specified")
    }

    pub(super) fn action_not_supported(action: &str) -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            "NotSupported",
            format!("action '{action}' not supported"),
        )
    }

    /// What a failed change of the store means to the caller; `missing` is the answer when the key
    /// is not there.
    pub(super) fn from_store(
        call: &Call<'_>,
        error: StoreError,
        name: &str,
        missing: Self,
    ) -> Self {
        match error {
            StoreError::NotFound => missing,
            StoreError::Deleted => unconfirmed::key_is_deleted(name),
            StoreError::TooManyVersions => unconfirmed::too_many_versions(),
            StoreError::TooManyKeys(limit) => unconfirmed::too_many_keys(limit),
            StoreError::PurgeProtected => Self::purge_protected(call.service),
            StoreError::ImmutablePolicy => Self::immutable_policy(call.service),
            other => {
                crate::log::event(format_args!("storing the key {name} failed: {other}"));
                unconfirmed::internal("the key could not be stored; the emulator's log says why")
            }
        }
    }
}
