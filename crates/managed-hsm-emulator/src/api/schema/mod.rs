//! Answers as Microsoft's OpenAPI descriptions have them, as a table of our own. A build with debug
//! assertions holds each of its answers against it, so that every test suite that asks an emulator
//! tests this too.

mod values;

use http::{Method, StatusCode};
use serde_json::Value;

use super::failure::MALFORMED_BACKUP_IN_VAULT;
use super::route::{KeyAction, Route};
use super::versions::{
    ApiVersion, HMAC_SINCE, KEY_SIZE_SINCE, ML_DSA_SINCE, PLATFORM_SINCE, PRIVATE_ENDPOINTS_SINCE,
    RELEASE_SINCE, RETENTION_SINCE,
};
use super::{ekm, full_backup, security_domain};
use crate::service::Service;

/// What a value is.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    Text,
    /// One of these texts, each with when it is there.
    OneOf(&'static [(&'static str, Presence)]),
    Number,
    Bool,
    /// Members of any name, which are texts.
    Texts,
    List(&'static Self),
    Object(&'static [Member]),
    /// Null, or else.
    Maybe(&'static Self),
    /// Anything in versions of the API before this one.
    AnyBefore(&'static str, &'static Self),
}

use Kind::{AnyBefore, Bool, List, Maybe, Number, Object, OneOf, Text, Texts};

/// A member of an object.
type Member = (&'static str, Presence, Kind);

/// When an object has a member.
#[derive(Clone, Copy)]
pub(super) enum Presence {
    Always,
    Sometimes,
    /// Sometimes, from this version of the API on.
    Since(&'static str),
    /// Sometimes, in a vault from this version of the API on.
    InVaultsSince(&'static str),
}

use Presence::{Always, InVaultsSince, Since, Sometimes};

/// Who answers, in which version of the API.
#[derive(Clone, Copy)]
pub(super) struct Asked {
    pub(super) service: Service,
    pub(super) version: ApiVersion,
}

impl Asked {
    fn is_told(self, since: &str) -> bool {
        self.service == Service::ManagedHsm || self.version.is_since(since)
    }
}

const ATTRIBUTES: Kind = Object(&[
    (
        "attestation",
        Since(HMAC_SINCE),
        Object(&[
            ("certificatePemFile", Sometimes, Text),
            ("privateKeyAttestation", Sometimes, Text),
            ("publicKeyAttestation", Sometimes, Text),
            ("version", Sometimes, Text),
        ]),
    ),
    ("created", Always, Number),
    ("enabled", Always, Bool),
    ("exp", Sometimes, Number),
    ("exportable", InVaultsSince(RELEASE_SINCE), Bool),
    (
        "external_key",
        Since(KEY_SIZE_SINCE),
        Object(&[("id", Always, Text)]),
    ),
    ("hsmPlatform", Since(PLATFORM_SINCE), Text),
    ("key_size", Since(KEY_SIZE_SINCE), Number),
    ("nbf", Sometimes, Number),
    ("recoverableDays", InVaultsSince(RETENTION_SINCE), Number),
    ("recoveryLevel", Always, values::RECOVERY_LEVEL),
    ("updated", Always, Number),
]);

const BUNDLE: Kind = Object(&[
    ("attributes", Always, ATTRIBUTES),
    ("deletedDate", Sometimes, Number),
    (
        "key",
        Always,
        Object(&[
            ("alg", Since(ML_DSA_SINCE), values::PARAMETER_SET),
            ("crv", Sometimes, values::CURVE),
            ("e", Sometimes, Text),
            ("key_ops", Sometimes, List(&values::KEY_OPERATION)),
            ("kid", Always, Text),
            ("kty", Always, values::KEY_TYPE),
            ("n", Sometimes, Text),
            ("pub", Since(ML_DSA_SINCE), Text),
            ("x", Sometimes, Text),
            ("y", Sometimes, Text),
        ]),
    ),
    ("managed", Sometimes, Bool),
    ("recoveryId", Sometimes, Text),
    (
        "release_policy",
        InVaultsSince(RELEASE_SINCE),
        AnyBefore(
            RELEASE_SINCE,
            &Object(&[
                ("contentType", Always, Text),
                ("data", Always, Text),
                ("immutable", Sometimes, Bool),
            ]),
        ),
    ),
    ("scheduledPurgeDate", Sometimes, Number),
    ("tags", Sometimes, Texts),
]);

const LIST: Kind = Object(&[
    ("nextLink", Sometimes, Maybe(&Text)),
    (
        "value",
        Always,
        List(&Object(&[
            ("attributes", Always, ATTRIBUTES),
            ("deletedDate", Sometimes, Number),
            ("kid", Always, Text),
            ("managed", Sometimes, Bool),
            ("recoveryId", Sometimes, Text),
            ("scheduledPurgeDate", Sometimes, Number),
            ("tags", Sometimes, Texts),
        ])),
    ),
]);

const SIGNED: Kind = Object(&[
    ("alg", Sometimes, values::SIGNATURE),
    ("kid", Always, Text),
    ("value", Always, Text),
]);

const ENCRYPTED: Kind = Object(&[
    ("aad", Sometimes, Text),
    ("alg", Sometimes, values::ENCRYPTION),
    ("iv", Sometimes, Text),
    ("kid", Always, Text),
    ("tag", Sometimes, Text),
    ("value", Always, Text),
]);

const WRAPPED_SECURELY: Kind = Object(&[
    ("alg", Sometimes, values::SECURE_WRAPPING),
    ("kid", Always, Text),
    ("value", Always, Text),
]);

const VERIFIED: Kind = Object(&[
    ("alg", Sometimes, values::SIGNATURE),
    ("kid", Sometimes, Text),
    ("value", Always, Bool),
]);

const VALUE: Kind = Object(&[("value", Always, Text)]);

const POLICY: Kind = Object(&[
    (
        "attributes",
        Always,
        Maybe(&Object(&[
            ("created", Sometimes, Number),
            ("expiryTime", Sometimes, Text),
            ("updated", Sometimes, Number),
        ])),
    ),
    ("id", Sometimes, Text),
    (
        "lifetimeActions",
        Sometimes,
        List(&Object(&[
            (
                "action",
                Always,
                Object(&[("type", Always, values::ROTATION_ACTION)]),
            ),
            (
                "trigger",
                Always,
                Object(&[
                    ("timeAfterCreate", Sometimes, Text),
                    ("timeBeforeExpiry", Sometimes, Text),
                ]),
            ),
        ])),
    ),
]);

const SETTING: Kind = Object(&[
    ("name", Always, Text),
    ("type", Sometimes, values::SETTING_TYPE),
    ("value", Always, Text),
]);

const DEFINITION: Kind = Object(&[
    ("id", Always, Text),
    ("name", Always, Text),
    (
        "properties",
        Always,
        Object(&[
            ("assignableScopes", Always, List(&Text)),
            ("description", Always, Text),
            (
                "permissions",
                Always,
                List(&Object(&[
                    ("actions", Always, List(&Text)),
                    ("dataActions", Always, List(&Text)),
                    ("notActions", Always, List(&Text)),
                    ("notDataActions", Always, List(&Text)),
                ])),
            ),
            ("roleName", Always, Text),
            ("type", Always, values::ROLE_TYPE),
        ]),
    ),
    ("type", Always, values::ROLE_DEFINITION),
]);

const ASSIGNMENT: Kind = Object(&[
    ("id", Always, Text),
    ("name", Always, Text),
    (
        "properties",
        Always,
        Object(&[
            ("principalId", Always, Text),
            ("roleDefinitionId", Always, Text),
            ("scope", Always, Text),
        ]),
    ),
    ("type", Always, Text),
]);

const JOB: Kind = Object(&[
    ("azureStorageBlobContainerUri", Sometimes, Maybe(&Text)),
    ("endTime", Always, Maybe(&Number)),
    (
        "error",
        Always,
        Maybe(&Object(&[
            ("code", Always, Text),
            ("message", Always, Text),
        ])),
    ),
    ("jobId", Always, Text),
    ("startTime", Always, Number),
    ("status", Always, values::JOB_STATUS),
    ("statusDetails", Always, Maybe(&Text)),
]);

const TRANSFER_KEY: Kind = Object(&[
    ("key_format", Sometimes, Text),
    ("transfer_key", Always, Text),
]);

const DOMAIN_STATUS: Kind = Object(&[
    ("status", Always, values::DOMAIN_STATUS),
    ("status_details", Always, Maybe(&Text)),
]);

const EKM_CONNECTION: Kind = Object(&[
    (
        "connectivity_mode",
        Since(PRIVATE_ENDPOINTS_SINCE),
        values::CONNECTIVITY_MODE,
    ),
    ("host", Always, Text),
    ("path_prefix", Sometimes, Text),
    ("server_ca_certificates", Always, List(&Text)),
    ("server_subject_common_name", Sometimes, Text),
]);

const EKM_CERTIFICATE: Kind = Object(&[
    ("ca_certificates", Always, List(&Text)),
    ("subject_common_name", Always, Text),
]);

const EKM_PROXY: Kind = Object(&[
    ("api_version", Always, Text),
    ("ekm_product", Always, Text),
    ("ekm_vendor", Always, Text),
    ("proxy_name", Always, Text),
    ("proxy_vendor", Always, Text),
]);

const EKM_ENDPOINT: Kind = Object(&[
    ("location", Sometimes, Text),
    ("name", Sometimes, Text),
    (
        "privateLinkServiceConnectionState",
        Sometimes,
        Object(&[
            ("actionsRequired", Sometimes, Text),
            ("description", Sometimes, Text),
            ("status", Sometimes, Text),
        ]),
    ),
    (
        "properties",
        Sometimes,
        Object(&[
            ("privateLinkServiceConnectionName", Sometimes, Text),
            ("privateLinkServiceId", Sometimes, Text),
        ]),
    ),
    ("provisioningState", Sometimes, Text),
]);

const EKM_OPERATION: Kind = Object(&[
    ("endTime", Sometimes, Number),
    ("jobId", Sometimes, Text),
    ("operationType", Sometimes, values::ENDPOINT_OPERATION),
    ("privateEndpointName", Sometimes, Text),
    ("startTime", Sometimes, Number),
    ("status", Sometimes, values::ENDPOINT_STATUS),
    ("statusDetails", Sometimes, Text),
]);

const CERTIFICATE: Kind = Object(&[
    (
        "attributes",
        Always,
        Object(&[
            ("created", Always, Number),
            ("enabled", Always, Bool),
            ("updated", Always, Number),
        ]),
    ),
    ("cer", Always, Text),
    ("id", Always, Text),
    ("kid", Always, Text),
    ("sid", Sometimes, Text),
    ("x5t", Sometimes, Text),
]);

const ERROR: Kind = Object(&[(
    "error",
    Always,
    Object(&[
        ("code", Always, Text),
        // Of the same form, and recorded with a code alone.
        (
            "innererror",
            Sometimes,
            Object(&[("code", Always, Text), ("message", Sometimes, Text)]),
        ),
        ("message", Always, Text),
    ]),
)]);

/// The status of an operation's success.
pub(super) fn status(route: &Route, method: &Method) -> StatusCode {
    use {ekm::Action as Ekm, full_backup::Action as Backup, security_domain::Action as Domain};
    match route {
        Route::Purge(_) => StatusCode::NO_CONTENT,
        Route::Definition(..) | Route::Assignment(..) if method == Method::PUT => {
            StatusCode::CREATED
        }
        Route::FullBackup(Backup::BackupStatus(_) | Backup::RestoreStatus(_)) => StatusCode::OK,
        Route::FullBackup(_)
        | Route::SecurityDomain(Domain::Download | Domain::Upload)
        | Route::Ekm(Ekm::CreatePrivateEndpoint(_) | Ekm::DeletePrivateEndpoint(_)) => {
            StatusCode::ACCEPTED
        }
        _ => StatusCode::OK,
    }
}

/// What a success of an operation is. None: it answers with nothing.
pub(super) fn success(route: &Route) -> Option<Kind> {
    Some(match route {
        Route::Keys | Route::DeletedKeys => LIST,
        Route::Restore | Route::Deleted(_) | Route::Recover(_) => BUNDLE,
        Route::Certificate(..) | Route::CertificateImport(_) => CERTIFICATE,
        Route::Purge(_) => return None,
        Route::Random => VALUE,
        Route::Settings => Object(&[("settings", Always, List(&SETTING))]),
        Route::Setting(_) => SETTING,
        Route::Definitions(_) => Object(&[("value", Always, List(&DEFINITION))]),
        Route::Definition(..) => DEFINITION,
        Route::Assignments(_) => Object(&[("value", Always, List(&ASSIGNMENT))]),
        Route::Assignment(..) => ASSIGNMENT,
        Route::FullBackup(_) => JOB,
        Route::Ekm(action) => of_ekm(action),
        Route::SecurityDomain(action) => match action {
            security_domain::Action::Download => VALUE,
            security_domain::Action::TransferKey => TRANSFER_KEY,
            security_domain::Action::DownloadStatus
            | security_domain::Action::Upload
            | security_domain::Action::UploadStatus => DOMAIN_STATUS,
        },
        Route::Key { action, .. } => match action {
            KeyAction::Versions => LIST,
            KeyAction::Backup | KeyAction::Release => VALUE,
            KeyAction::Policy => POLICY,
            KeyAction::Verify => VERIFIED,
            KeyAction::Sign => SIGNED,
            KeyAction::Encrypt | KeyAction::Decrypt | KeyAction::WrapKey | KeyAction::UnwrapKey => {
                ENCRYPTED
            }
            KeyAction::SecureWrapKey | KeyAction::SecureUnwrapKey => WRAPPED_SECURELY,
            KeyAction::Create
            | KeyAction::Import
            | KeyAction::Get
            | KeyAction::Update
            | KeyAction::Delete
            | KeyAction::Rotate
            | KeyAction::Attestation => BUNDLE,
        },
    })
}

fn of_ekm(action: &ekm::Action) -> Kind {
    use ekm::Action;
    match action {
        Action::Get | Action::Create | Action::Update | Action::Delete => EKM_CONNECTION,
        Action::Certificate => EKM_CERTIFICATE,
        Action::Check => EKM_PROXY,
        Action::PrivateEndpoints => Object(&[("value", Always, List(&EKM_ENDPOINT))]),
        Action::PrivateEndpoint(_) => EKM_ENDPOINT,
        Action::CreatePrivateEndpoint(_)
        | Action::DeletePrivateEndpoint(_)
        | Action::PrivateEndpointStatus(_) => EKM_OPERATION,
    }
}

/// Says what of an error is not as described, or as all of a service's errors were recorded.
pub(super) fn check_error(
    service: Service,
    status: StatusCode,
    request_id: &str,
    body: &[u8],
) -> Result<(), String> {
    if !status.is_client_error() && !status.is_server_error() {
        return Err(format!("{status} is no status of an error"));
    }
    let version = ApiVersion::NEWEST;
    check(ERROR, Asked { service, version }, body)?;
    let value: Value = serde_json::from_slice(body).unwrap_or_default();
    let error = &value["error"];
    let text = |member: &str| error[member].as_str().unwrap_or_default();
    let (code, message) = (text("code"), text("message"));
    let is_word = !code.is_empty() && code.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if !is_word && code != MALFORMED_BACKUP_IN_VAULT {
        return Err(format!("the code '{code}' is no word"));
    }
    let activity = format!(" (Activity ID: {request_id})");
    let told = message.strip_suffix(&activity);
    match (service, told) {
        _ if told.unwrap_or(message).trim().is_empty() => Err("there is no message".to_owned()),
        (Service::ManagedHsm, None) => Err("the message has no activity id".to_owned()),
        (Service::ManagedHsm, Some(_)) if error.get("innererror").is_some() => {
            Err("only vaults tell an innererror".to_owned())
        }
        (Service::KeyVault, Some(_)) => Err("a vault tells no activity id".to_owned()),
        _ => Ok(()),
    }
}

/// Says where a body is not as described.
pub(super) fn check(kind: Kind, asked: Asked, body: &[u8]) -> Result<(), String> {
    let value = serde_json::from_slice(body).map_err(|error| format!("no JSON: {error}"))?;
    is(kind, asked, &value, "")
}

fn is(kind: Kind, asked: Asked, value: &Value, place: &str) -> Result<(), String> {
    let fits = match kind {
        Text => value.is_string(),
        OneOf(values) => return is_one_of(values, asked, value, place),
        Number => value.is_i64(),
        Bool => value.is_boolean(),
        Texts => value
            .as_object()
            .is_some_and(|members| members.values().all(Value::is_string)),
        AnyBefore(first, _) if !asked.version.is_since(first) => true,
        AnyBefore(_, kind) => return is(*kind, asked, value, place),
        Maybe(_) if value.is_null() => true,
        Maybe(kind) => return is(*kind, asked, value, place),
        List(kind) => {
            let values = value.as_array();
            let values = values.ok_or_else(|| format!("{place} is no list"))?;
            for (index, value) in values.iter().enumerate() {
                is(*kind, asked, value, &format!("{place}[{index}]"))?;
            }
            true
        }
        Object(described) => return is_object(described, asked, value, place),
    };
    match fits {
        true => Ok(()),
        false => Err(format!("{place} is of another type")),
    }
}

fn is_one_of(
    values: &[(&str, Presence)],
    asked: Asked,
    value: &Value,
    place: &str,
) -> Result<(), String> {
    let found = values.iter().find(|(name, _)| value == name);
    match found {
        None => Err(format!("{place} is {value}, which the API doesn't have")),
        Some((name, Since(first))) if !asked.version.is_since(first) => {
            Err(format!("{place} is {name}, which came with {first}"))
        }
        Some((name, InVaultsSince(first))) if !asked.is_told(first) => {
            Err(format!("{place} is {name}, which came with {first}"))
        }
        Some(_) => Ok(()),
    }
}

fn is_object(described: &[Member], asked: Asked, value: &Value, place: &str) -> Result<(), String> {
    let members = value.as_object();
    let members = members.ok_or_else(|| format!("{place} is no object"))?;
    for (name, presence, kind) in described {
        match (members.get(*name), presence) {
            (None, Always) => return Err(format!("{place} has no {name}")),
            (None, _) => {}
            (Some(_), Since(first)) if !asked.version.is_since(first) => {
                return Err(format!("{place} has {name}, which came with {first}"));
            }
            (Some(_), InVaultsSince(first)) if !asked.is_told(first) => {
                return Err(format!("{place} has {name}, which came with {first}"));
            }
            (Some(value), _) => is(*kind, asked, value, &format!("{place}.{name}"))?,
        }
    }
    let unknown = members
        .keys()
        .find(|member| !described.iter().any(|(name, ..)| name == member));
    match unknown {
        None => Ok(()),
        Some(member) => Err(format!("{place} has the member {member}")),
    }
}

#[cfg(test)]
mod tests;
