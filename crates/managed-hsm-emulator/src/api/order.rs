//! The order of the members of a vault's answers, which isn't an HSM's. JSON has none, but who
//! compares texts sees it. As azure-sdk-for-js recorded it of vaults from 2019 to 2022, in its
//! `keys_client`, `cryptography_client` and `lro` suites. Unconfirmed: where `hsmPlatform`, `alg`
//! and `pub` stand, which came later, and `managed` beside `tags`, which no recording has together.

use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::Value;

/// All members, in one order: no two objects have the same ones in different orders.
const ORDER: [&str; 43] = [
    "recoveryId",
    "deletedDate",
    "scheduledPurgeDate",
    "id",
    "key",
    "kid",
    "sid",
    "x5t",
    "cer",
    "kty",
    "key_ops",
    "alg",
    "n",
    "e",
    "crv",
    "x",
    "y",
    "pub",
    "lifetimeActions",
    "trigger",
    "action",
    "attributes",
    "enabled",
    "nbf",
    "exp",
    "expiryTime",
    "created",
    "updated",
    "recoveryLevel",
    "recoverableDays",
    "exportable",
    "hsmPlatform",
    TAGS,
    "managed",
    "release_policy",
    "contentType",
    "data",
    "immutable",
    "value",
    "nextLink",
    "code",
    "message",
    "innererror",
];

/// The names in it are the caller's, and stay as they are.
const TAGS: &str = "tags";

/// An answer as a vault writes it. What isn't JSON stays as it is.
pub(super) fn of_vault(answer: Vec<u8>) -> Vec<u8> {
    let value: Option<Value> = serde_json::from_slice(&answer).ok();
    let ordered = value.and_then(|value| serde_json::to_vec(&Ordered(&value)).ok());
    ordered.unwrap_or(answer)
}

struct Ordered<'a>(&'a Value);

impl Serialize for Ordered<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let members = match self.0 {
            Value::Array(values) => return to.collect_seq(values.iter().map(Ordered)),
            Value::Object(members) => members,
            value => return value.serialize(to),
        };
        let place = |name: &str| ORDER.iter().position(|known| *known == name);
        let mut members: Vec<(&String, &Value)> = members.iter().collect();
        members.sort_by_key(|(name, _)| place(name).unwrap_or(ORDER.len()));
        let mut object = to.serialize_map(Some(members.len()))?;
        for (name, value) in members {
            match name.as_str() {
                TAGS => object.serialize_entry(name, value)?,
                _ => object.serialize_entry(name, &Ordered(value))?,
            }
        }
        object.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The texts are the recordings', shortened in their values only.
    #[test]
    fn members_stand_where_vaults_were_recorded_to_have_them() {
        for recorded in [
            r#"{"key":{"kid":"k","kty":"RSA","key_ops":["sign"],"n":"n","e":"AQAB"},"attributes":{"enabled":true,"nbf":1,"created":1,"updated":1,"recoveryLevel":"CustomizedRecoverable+Purgeable","recoverableDays":7}}"#,
            r#"{"recoveryId":"r","deletedDate":1,"scheduledPurgeDate":2,"key":{"kid":"k","kty":"EC","key_ops":["sign","verify"],"crv":"P-384","x":"x","y":"y"},"attributes":{"enabled":true,"created":1,"updated":1,"recoveryLevel":"Recoverable+Purgeable","recoverableDays":90}}"#,
            r#"{"key":{"kid":"k"},"attributes":{"enabled":true,"created":1,"updated":1,"recoveryLevel":"CustomizedRecoverable+Purgeable","recoverableDays":7,"exportable":true},"release_policy":{"contentType":"application/json; charset=utf-8","data":"e30","immutable":true}}"#,
            r#"{"value":[{"kid":"k","attributes":{"enabled":true,"nbf":1,"exp":2,"created":1,"updated":1,"recoveryLevel":"Recoverable+Purgeable"},"managed":true}],"nextLink":null}"#,
            r#"{"value":[{"recoveryId":"r","deletedDate":1,"scheduledPurgeDate":2,"kid":"k","attributes":{"enabled":true}}],"nextLink":"n"}"#,
            r#"{"id":"p","lifetimeActions":[{"trigger":{"timeAfterCreate":"P50D"},"action":{"type":"Rotate"}},{"trigger":{"timeBeforeExpiry":"P30D"},"action":{"type":"Notify"}}],"attributes":{"expiryTime":"P90D","created":1,"updated":1}}"#,
            r#"{"error":{"code":"Forbidden","message":"m","innererror":{"code":"SecretDisabled"}}}"#,
            r#"{"kid":"k","value":"v"}"#,
        ] {
            let sorted: Value = serde_json::from_str(recorded).unwrap();
            let ordered = of_vault(sorted.to_string().into_bytes());
            assert_eq!(String::from_utf8(ordered).unwrap(), recorded);
        }
    }

    #[test]
    fn the_names_of_tags_and_what_is_no_json_stay_as_they_are() {
        for text in [r#"{"tags":{"a":"1","key":"2","value":"3"}}"#, "OK", "true"] {
            assert_eq!(of_vault(text.as_bytes().to_vec()), text.as_bytes());
        }
    }
}
