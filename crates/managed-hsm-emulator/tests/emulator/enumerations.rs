//! Values that the API's description enumerates, in every answer that a test reads. The emulator
//! checks its answers' members and their types by itself; not these.

use serde_json::{Map, Value};

const TYPES: [&str; 8] = [
    "AKP", "AKP-HSM", "EC", "EC-HSM", "RSA", "RSA-HSM", "oct", "oct-HSM",
];
const CURVES: [&str; 4] = ["P-256", "P-256K", "P-384", "P-521"];
const ALGORITHMS: [&str; 3] = ["ML-DSA-44", "ML-DSA-65", "ML-DSA-87"];
/// `deriveKey` is no value of the description's, but recorded.
const OPERATIONS: [&str; 11] = [
    "decrypt",
    "deriveKey",
    "encrypt",
    "export",
    "import",
    "secureUnwrapKey",
    "secureWrapKey",
    "sign",
    "unwrapKey",
    "verify",
    "wrapKey",
];
const RECOVERY_LEVELS: [&str; 7] = [
    "CustomizedRecoverable",
    "CustomizedRecoverable+ProtectedSubscription",
    "CustomizedRecoverable+Purgeable",
    "Purgeable",
    "Recoverable",
    "Recoverable+ProtectedSubscription",
    "Recoverable+Purgeable",
];
/// HSMs were recorded to write it small.
const ACTIONS: [&str; 3] = ["Notify", "Rotate", "rotate"];
const ROLE_TYPES: [&str; 2] = ["AKVBuiltInRole", "CustomRole"];
/// Of a private endpoint, of a backup or restore, and of a security domain.
const ENDPOINT: [&str; 5] = ["Canceled", "Failed", "NotStarted", "Running", "Succeeded"];
const JOB: [&str; 4] = ["Canceled", "Failed", "InProgress", "Succeeded"];
const DOMAIN: [&str; 3] = ["Failed", "InProgress", "Success"];

/// Which values a member of this object has, if the description says so.
fn values(object: &Map<String, Value>, member: &str) -> Option<&'static [&'static str]> {
    // A JSON Web Key of the service's, which is told by its identifier.
    let is_key = object.contains_key("kid") && object.contains_key("kty");
    Some(match member {
        "kty" if is_key => &TYPES,
        "crv" if is_key => &CURVES,
        "alg" if is_key && object.contains_key("pub") => &ALGORITHMS,
        "key_ops" if is_key => &OPERATIONS,
        "recoveryLevel" => &RECOVERY_LEVELS,
        "roleType" => &ROLE_TYPES,
        "status" if object.contains_key("operationType") => &ENDPOINT,
        "status" if object.contains_key("jobId") => &JOB,
        "status" if object.contains_key("status_details") => &DOMAIN,
        _ => return None,
    })
}

/// Says where a value is none of those that there are.
pub(crate) fn check(answer: &Value) -> Result<(), String> {
    match answer {
        Value::Array(values) => values.iter().try_for_each(check),
        Value::Object(object) => object.iter().try_for_each(|(member, value)| {
            if let Some(known) = values(object, member) {
                one_of(member, value, known)?;
            }
            if member == "action" && object.contains_key("trigger") {
                one_of("action.type", &value["type"], &ACTIONS)?;
            }
            check(value)
        }),
        _ => Ok(()),
    }
}

/// A text, or a list of texts.
fn one_of(member: &str, value: &Value, known: &[&str]) -> Result<(), String> {
    let is_known = |value: &Value| value.as_str().is_some_and(|text| known.contains(&text));
    let fits = match value {
        Value::Array(values) => values.iter().all(is_known),
        value => is_known(value),
    };
    match fits {
        true => Ok(()),
        false => Err(format!("{member} is {value}, which the API doesn't have")),
    }
}

#[test]
fn values_that_are_none_of_the_enumerated_are_found() {
    let key = |member: &str, value: &str| {
        format!(r#"{{"value":[{{"key":{{"kid":"k","kty":"EC","{member}":{value}}}}}]}}"#)
    };
    for (answer, is_fine) in [
        (key("crv", r#""P-256K""#), true),
        (key("crv", r#""SECP256K1""#), false),
        (key("crv", "null"), false),
        (key("kty", r#""oct-HSM""#), true),
        (key("kty", r#""OCT""#), false),
        (key("key_ops", r#"["sign","deriveKey"]"#), true),
        (key("key_ops", r#"["sign","Sign"]"#), false),
        (
            r#"{"attributes":{"recoveryLevel":"Recoverable"}}"#.into(),
            true,
        ),
        (
            r#"{"attributes":{"recoveryLevel":"recoverable"}}"#.into(),
            false,
        ),
        (r#"{"jobId":"1","status":"Succeeded"}"#.into(), true),
        (r#"{"jobId":"1","status":"Success"}"#.into(), false),
        (r#"{"status_details":null,"status":"Success"}"#.into(), true),
        (
            r#"{"status_details":null,"status":"Succeeded"}"#.into(),
            false,
        ),
        (
            r#"[{"trigger":{},"action":{"type":"Rotate"}}]"#.into(),
            true,
        ),
        (
            r#"[{"trigger":{},"action":{"type":"ROTATE"}}]"#.into(),
            false,
        ),
        (r#"{"properties":{"roleType":"BuiltInRole"}}"#.into(), false),
    ] {
        let found = check(&serde_json::from_str(&answer).unwrap());
        assert_eq!(found.is_ok(), is_fine, "{answer}: {found:?}");
    }
}
