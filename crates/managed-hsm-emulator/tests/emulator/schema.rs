//! Answers as Microsoft's OpenAPI descriptions have them, as a table of our own. Each answer that a
//! test of this suite gets is held against it.

use serde_json::Value;

/// What a value is.
#[derive(Clone, Copy)]
enum Kind {
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

/// A member of an object: its name, whether it has to be there, what it is.
type Member = (&'static str, bool, Kind);

const ATTRIBUTES: Kind = Object(&[
    (
        "attestation",
        false,
        Object(&[
            ("certificatePemFile", false, Text),
            ("privateKeyAttestation", false, Text),
            ("publicKeyAttestation", false, Text),
            ("version", false, Text),
        ]),
    ),
    ("created", true, Number),
    ("enabled", true, Bool),
    ("exp", false, Number),
    ("exportable", false, Bool),
    ("external_key", false, Object(&[("id", true, Text)])),
    ("key_size", false, Number),
    ("nbf", false, Number),
    ("recoverableDays", false, Number),
    ("recoveryLevel", true, Text),
    ("updated", true, Number),
]);

const BUNDLE: Kind = Object(&[
    ("attributes", true, ATTRIBUTES),
    ("deletedDate", false, Number),
    (
        "key",
        true,
        Object(&[
            ("alg", false, Text),
            ("crv", false, Text),
            ("e", false, Text),
            ("key_ops", true, List(&Text)),
            ("kid", true, Text),
            ("kty", true, Text),
            ("n", false, Text),
            ("pub", false, Text),
            ("x", false, Text),
            ("y", false, Text),
        ]),
    ),
    ("managed", false, Bool),
    ("recoveryId", false, Text),
    (
        "release_policy",
        false,
        Object(&[
            ("contentType", true, Text),
            ("data", true, Text),
            ("immutable", false, Bool),
        ]),
    ),
    ("scheduledPurgeDate", false, Number),
    ("tags", false, Texts),
]);

const LIST: Kind = Object(&[
    ("nextLink", false, Maybe(&Text)),
    (
        "value",
        true,
        List(&Object(&[
            ("attributes", true, ATTRIBUTES),
            ("deletedDate", false, Number),
            ("kid", true, Text),
            ("managed", false, Bool),
            ("recoveryId", false, Text),
            ("scheduledPurgeDate", false, Number),
            ("tags", false, Texts),
        ])),
    ),
]);

const RESULT: Kind = Object(&[
    ("aad", false, Text),
    ("alg", false, Text),
    ("iv", false, Text),
    ("kid", true, Text),
    ("tag", false, Text),
    ("value", true, Text),
]);

const VERIFIED: Kind = Object(&[
    ("alg", false, Text),
    ("kid", false, Text),
    ("value", true, Bool),
]);

const VALUE: Kind = Object(&[("value", true, Text)]);

const POLICY: Kind = Object(&[
    (
        "attributes",
        true,
        Maybe(&Object(&[
            ("created", false, Number),
            ("expiryTime", false, Text),
            ("updated", false, Number),
        ])),
    ),
    ("id", false, Text),
    (
        "lifetimeActions",
        false,
        List(&Object(&[
            ("action", true, Object(&[("type", true, Text)])),
            (
                "trigger",
                true,
                Object(&[
                    ("timeAfterCreate", false, Text),
                    ("timeBeforeExpiry", false, Text),
                ]),
            ),
        ])),
    ),
]);

const SETTING: Kind = Object(&[
    ("name", true, Text),
    ("type", false, Text),
    ("value", true, Text),
]);

const DEFINITION: Kind = Object(&[
    ("id", true, Text),
    ("name", true, Text),
    (
        "properties",
        true,
        Object(&[
            ("assignableScopes", true, List(&Text)),
            ("description", true, Text),
            (
                "permissions",
                true,
                List(&Object(&[
                    ("actions", true, List(&Text)),
                    ("dataActions", true, List(&Text)),
                    ("notActions", true, List(&Text)),
                    ("notDataActions", true, List(&Text)),
                ])),
            ),
            ("roleName", true, Text),
            ("type", true, Text),
        ]),
    ),
    ("type", true, Text),
]);

const ASSIGNMENT: Kind = Object(&[
    ("id", true, Text),
    ("name", true, Text),
    (
        "properties",
        true,
        Object(&[
            ("principalId", true, Text),
            ("roleDefinitionId", true, Text),
            ("scope", true, Text),
        ]),
    ),
    ("type", true, Text),
]);

const JOB: Kind = Object(&[
    ("azureStorageBlobContainerUri", false, Text),
    ("endTime", true, Maybe(&Number)),
    (
        "error",
        true,
        Maybe(&Object(&[("code", true, Text), ("message", true, Text)])),
    ),
    ("jobId", true, Text),
    ("startTime", true, Number),
    ("status", true, Text),
    ("statusDetails", true, Maybe(&Text)),
]);

const DOMAIN_STATUS: Kind = Object(&[
    ("status", true, Text),
    ("status_details", true, Maybe(&Text)),
]);

const ERROR: Kind = Object(&[(
    "error",
    true,
    Object(&[
        ("code", true, Text),
        ("innererror", false, Object(&[("code", true, Text)])),
        ("message", true, Text),
    ]),
)]);

/// What a success of an operation is. None: it is no operation of an HSM or a vault.
fn success(method: &str, segments: &[&str]) -> Option<Kind> {
    let is_get = method == "GET";
    Some(match segments {
        ["keys"] | ["deletedkeys"] | ["keys", _, "versions"] => LIST,
        [.., "roledefinitions"] => Object(&[("value", true, List(&DEFINITION))]),
        [.., "roleassignments"] => Object(&[("value", true, List(&ASSIGNMENT))]),
        [.., "roledefinitions", _] => DEFINITION,
        [.., "roleassignments", _] => ASSIGNMENT,
        ["rng"] => VALUE,
        ["settings"] => Object(&[("settings", true, List(&SETTING))]),
        ["settings", _] => SETTING,
        ["backup" | "prebackup" | "restore" | "prerestore", ..] => JOB,
        ["securitydomain", "download"] => VALUE,
        ["securitydomain", "upload"] if is_get => {
            Object(&[("key_format", false, Text), ("transfer_key", true, Text)])
        }
        ["securitydomain", ..] => DOMAIN_STATUS,
        ["keys", _, "restore"] => JOB,
        ["keys", _, "backup"] | ["keys", _, .., "release"] => VALUE,
        ["keys", _, "rotationpolicy"] => POLICY,
        ["keys", _, .., "verify"] if !is_get => VERIFIED,
        [
            "keys",
            _,
            ..,
            "sign" | "encrypt" | "decrypt" | "wrapkey" | "unwrapkey" | "securewrapkey"
            | "secureunwrapkey",
        ] if !is_get => RESULT,
        ["keys" | "deletedkeys", ..] => BUNDLE,
        _ => return None,
    })
}

/// Panics if an answer is not as described.
pub(crate) fn check(method: &str, url: &str, status: u16, body: &str) {
    let path = url
        .split_once("://")
        .map_or(url, |(_, rest)| rest.find('/').map_or("", |at| &rest[at..]));
    let path = path
        .split('?')
        .next()
        .unwrap_or_default()
        .to_ascii_lowercase();
    let segments: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    let Some(described) = success(method, &segments) else {
        return;
    };
    let kind = match status {
        200..=202 => described,
        // A challenge of an HSM has no body of JSON.
        400..=599 if body.starts_with('{') => ERROR,
        _ => return,
    };
    let what = format!("{method} {path}: {status} {body}");
    let value = serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {what}"));
    if let Err(problem) = is(kind, &value, "") {
        panic!("{problem}, which is not as described: {what}");
    }
}

fn is(kind: Kind, value: &Value, place: &str) -> Result<(), String> {
    let fits = match kind {
        Text => value.is_string(),
        Number => value.is_i64(),
        Bool => value.is_boolean(),
        Texts => value
            .as_object()
            .is_some_and(|members| members.values().all(Value::is_string)),
        Maybe(_) if value.is_null() => true,
        Maybe(kind) => return is(*kind, value, place),
        List(kind) => {
            let values = value.as_array();
            let values = values.ok_or_else(|| format!("{place} is no list"))?;
            for (index, value) in values.iter().enumerate() {
                is(*kind, value, &format!("{place}[{index}]"))?;
            }
            true
        }
        Object(described) => return is_object(described, value, place),
    };
    match fits {
        true => Ok(()),
        false => Err(format!("{place} is {value}")),
    }
}

fn is_object(described: &[Member], value: &Value, place: &str) -> Result<(), String> {
    let members = value.as_object();
    let members = members.ok_or_else(|| format!("{place} is no object"))?;
    for (name, has_to_be, kind) in described {
        match members.get(*name) {
            None if *has_to_be => return Err(format!("{place} has no {name}")),
            None => {}
            Some(value) => is(*kind, value, &format!("{place}.{name}"))?,
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

#[test]
fn what_is_not_as_described_is_found() {
    let passes = |body: &'static str| {
        std::panic::catch_unwind(|| check("GET", "https://h/keys?a=b", 200, body)).is_ok()
    };
    assert!(passes(r#"{"value":[]}"#));
    assert!(passes(r#"{"nextLink":null,"value":[]}"#));
    for body in [
        "",
        "[]",
        "{}",
        r#"{"value":{}}"#,
        r#"{"value":[1]}"#,
        r#"{"value":[],"more":1}"#,
    ] {
        assert!(!passes(body), "{body}");
    }
}
