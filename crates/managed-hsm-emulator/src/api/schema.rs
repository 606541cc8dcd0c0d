//! Successes as Microsoft's OpenAPI descriptions have them, as a table of our own. A build with
//! debug assertions holds each of its answers against it, so that every test suite that asks an
//! emulator tests this too.

use serde_json::Value;

use super::route::{KeyAction, Route};
use super::security_domain;
use super::versions::{
    ApiVersion, HMAC_SINCE, KEY_SIZE_SINCE, ML_DSA_SINCE, PLATFORM_SINCE, RELEASE_SINCE,
    RETENTION_SINCE,
};

/// What a value is.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    Text,
    Number,
    Bool,
    /// Members of any name, which are texts.
    Texts,
    List(&'static Self),
    Object(&'static [Member]),
    /// Null, or else.
    Maybe(&'static Self),
}

use Kind::{Bool, List, Maybe, Number, Object, Text, Texts};

/// A member of an object.
type Member = (&'static str, Presence, Kind);

/// When an object has a member.
#[derive(Clone, Copy)]
pub(super) enum Presence {
    Always,
    Sometimes,
    /// Sometimes, from this version of the API on.
    Since(&'static str),
}

use Presence::{Always, Since, Sometimes};

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
    ("exportable", Since(RELEASE_SINCE), Bool),
    (
        "external_key",
        Since(KEY_SIZE_SINCE),
        Object(&[("id", Always, Text)]),
    ),
    ("hsmPlatform", Since(PLATFORM_SINCE), Text),
    ("key_size", Since(KEY_SIZE_SINCE), Number),
    ("nbf", Sometimes, Number),
    ("recoverableDays", Since(RETENTION_SINCE), Number),
    ("recoveryLevel", Always, Text),
    ("updated", Always, Number),
]);

const BUNDLE: Kind = Object(&[
    ("attributes", Always, ATTRIBUTES),
    ("deletedDate", Sometimes, Number),
    (
        "key",
        Always,
        Object(&[
            ("alg", Since(ML_DSA_SINCE), Text),
            ("crv", Sometimes, Text),
            ("e", Sometimes, Text),
            ("key_ops", Always, List(&Text)),
            ("kid", Always, Text),
            ("kty", Always, Text),
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
        Since(RELEASE_SINCE),
        Object(&[
            ("contentType", Always, Text),
            ("data", Always, Text),
            ("immutable", Sometimes, Bool),
        ]),
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

const RESULT: Kind = Object(&[
    ("aad", Sometimes, Text),
    ("alg", Sometimes, Text),
    ("iv", Sometimes, Text),
    ("kid", Always, Text),
    ("tag", Sometimes, Text),
    ("value", Always, Text),
]);

const VERIFIED: Kind = Object(&[
    ("alg", Sometimes, Text),
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
            ("action", Always, Object(&[("type", Always, Text)])),
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
    ("type", Sometimes, Text),
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
            ("type", Always, Text),
        ]),
    ),
    ("type", Always, Text),
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
    ("azureStorageBlobContainerUri", Sometimes, Text),
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
    ("status", Always, Text),
    ("statusDetails", Always, Maybe(&Text)),
]);

const TRANSFER_KEY: Kind = Object(&[
    ("key_format", Sometimes, Text),
    ("transfer_key", Always, Text),
]);

const DOMAIN_STATUS: Kind = Object(&[
    ("status", Always, Text),
    ("status_details", Always, Maybe(&Text)),
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
            KeyAction::Sign
            | KeyAction::Encrypt
            | KeyAction::Decrypt
            | KeyAction::WrapKey
            | KeyAction::UnwrapKey
            | KeyAction::SecureWrapKey
            | KeyAction::SecureUnwrapKey => RESULT,
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

/// Says where a body is not as described.
pub(super) fn check(kind: Kind, version: ApiVersion, body: &[u8]) -> Result<(), String> {
    let value = serde_json::from_slice(body).map_err(|error| format!("no JSON: {error}"))?;
    is(kind, version, &value, "")
}

fn is(kind: Kind, version: ApiVersion, value: &Value, place: &str) -> Result<(), String> {
    let fits = match kind {
        Text => value.is_string(),
        Number => value.is_i64(),
        Bool => value.is_boolean(),
        Texts => value
            .as_object()
            .is_some_and(|members| members.values().all(Value::is_string)),
        Maybe(_) if value.is_null() => true,
        Maybe(kind) => return is(*kind, version, value, place),
        List(kind) => {
            let values = value.as_array();
            let values = values.ok_or_else(|| format!("{place} is no list"))?;
            for (index, value) in values.iter().enumerate() {
                is(*kind, version, value, &format!("{place}[{index}]"))?;
            }
            true
        }
        Object(described) => return is_object(described, version, value, place),
    };
    match fits {
        true => Ok(()),
        false => Err(format!("{place} is of another type")),
    }
}

fn is_object(
    described: &[Member],
    version: ApiVersion,
    value: &Value,
    place: &str,
) -> Result<(), String> {
    let members = value.as_object();
    let members = members.ok_or_else(|| format!("{place} is no object"))?;
    for (name, presence, kind) in described {
        match (members.get(*name), presence) {
            (None, Always) => return Err(format!("{place} has no {name}")),
            (None, _) => {}
            (Some(_), Since(first)) if !version.is_since(first) => {
                return Err(format!("{place} has {name}, which came with {first}"));
            }
            (Some(value), _) => is(*kind, version, value, &format!("{place}.{name}"))?,
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
mod tests {
    use super::*;
    use crate::service::Service;

    fn checked(kind: Kind, version: &str, body: &str) -> Result<(), String> {
        let version = ApiVersion::of(Some(version), Service::ManagedHsm);
        check(kind, version.unwrap(), body.as_bytes())
    }

    #[test]
    fn what_is_not_as_described_is_found() {
        assert_eq!(checked(LIST, "7.4", r#"{"value":[]}"#), Ok(()));
        let list = r#"{"nextLink":null,"value":[]}"#;
        assert_eq!(checked(LIST, "7.4", list), Ok(()));
        for body in [
            "",
            "[]",
            "{}",
            r#"{"value":{}}"#,
            r#"{"value":[1]}"#,
            r#"{"value":[],"more":1}"#,
        ] {
            assert!(checked(LIST, "7.4", body).is_err(), "{body}");
        }
    }

    #[test]
    fn members_come_with_a_version() {
        let body = r#"{
            "attributes": {"created": 1, "enabled": true, "key_size": 256,
                           "recoveryLevel": "Recoverable", "updated": 1},
            "key": {"key_ops": [], "kid": "https://h/keys/k/v", "kty": "oct-HSM"}
        }"#;
        assert_eq!(checked(BUNDLE, "2026-01-01-preview", body), Ok(()));
        let refused = checked(BUNDLE, "2025-07-01", body).unwrap_err();
        assert!(refused.contains("key_size"), "{refused}");
    }
}
