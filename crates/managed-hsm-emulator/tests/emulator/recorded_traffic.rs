//! Replays what was recorded from the service: same status, same headers, same members, same texts.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::running::{Answer, Emulator};

/// Members whose values differ from run to run; only their JSON types are compared.
const VARIABLE: [&str; 15] = [
    "created",
    "updated",
    "kid",
    "n",
    "x",
    "y",
    "value",
    "deletedDate",
    "scheduledPurgeDate",
    "recoveryId",
    "nextLink",
    // Their order differs from answer to answer, and EC keys got deriveKey after these recordings.
    "key_ops",
    "message",
    "exp",
    "nbf",
];

/// The name of each is its file's; in brackets the keys that the HSM held before, each name a version.
macro_rules! recordings {
    ($($name:ident $([$($key:literal)*])?)*) => {$(
        #[tokio::test]
        async fn $name() {
            let held: &[&str] = &[$($($key),*)?];
            replay(include_str!(concat!("recorded/", stringify!($name), ".json")), held).await;
        }
    )*};
}

mod is_answered_as_recorded {
    use super::replay;

    recordings! {
        go74_rsa_crud
        go74_ec_crud
        go74_sign_verify_es
        go74_list_keys["key4206922229" "key3126998794"]
        // The recording leaves out three of four equal requests to create a version.
        go74_list_versions["listkeyversions3188646711" "listkeyversions3188646711" "listkeyversions3188646711"]
        go74_rng
        go74_encrypt_decrypt_oct
        go74_encrypt_decrypt_rsa
        go74_wrap_unwrap
        net76_hs256_import_sign_verify
        go74_recover_deleted
        go74_import
        go_err_delete_key
        go_err_create_ec_key
        go_err_rng
        go_err_import
        net75_rsa_ps256_get_sign
    }
}

async fn replay(recording: &str, held: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    let emulator = Emulator::start(folder.path());
    for key in held {
        let path = format!("/keys/{key}/create");
        emulator.post(&path, json!({"kty": "EC"})).await.success();
    }
    let recording: Value = serde_json::from_str(recording).unwrap();
    // Versions and page tokens of the recording, and ours in their place.
    let mut ours: BTreeMap<String, String> = BTreeMap::new();
    for entry in recording["entries"].as_array().unwrap() {
        let (request, expected) = (&entry["request"], &entry["response"]);
        let method = request["method"].as_str().unwrap();
        let mut path = path_of(request["uri"].as_str().unwrap()).to_owned();
        for (recorded, own) in &ours {
            path = path.replace(recorded.as_str(), own);
        }
        let what = format!("{method} {path}");
        let mut body = (!request["body"].is_null()).then(|| request["body"].clone());
        for member in body.iter_mut().filter_map(Value::as_object_mut).flatten() {
            if let Some(own) = member.1.as_str().and_then(|text| ours.get(text)) {
                *member.1 = json!(own);
            }
        }
        let answer = if expected["status"] == 401 {
            emulator.send(method, &path, None, None).await
        } else {
            emulator.call(method, &path, body).await
        };
        assert_eq!(
            expected["status"],
            answer.status.as_u16(),
            "{what}: {}",
            answer.body
        );
        assert_eq!(
            header_names(&answer),
            recorded_header_names(expected),
            "{what}"
        );
        if expected["body"].is_null() {
            assert_eq!(answer.body, "", "{what}");
            continue;
        }
        let body = answer.json();
        assert_eq!(
            body.to_string(),
            answer.body,
            "{what}: compact, members sorted"
        );
        compare(&what, "", &expected["body"], &body);
        pair_names(&expected["body"], &body, &mut ours);
    }
}

/// What follows the host.
fn path_of(uri: &str) -> &str {
    let authority = uri.strip_prefix("https://").unwrap();
    &authority[authority.find('/').unwrap()..]
}

fn header_names(answer: &Answer) -> BTreeSet<String> {
    let names = answer.headers.keys().map(|name| name.as_str().to_owned());
    names.filter(|name| name != "content-length").collect()
}

fn recorded_header_names(response: &Value) -> BTreeSet<String> {
    let headers = response["headers"].as_object().unwrap();
    let names = headers.keys().map(|name| name.to_ascii_lowercase());
    names.filter(|name| name != "content-length").collect()
}

fn compare(what: &str, place: &str, expected: &Value, actual: &Value) {
    let member = place.rsplit('.').next().unwrap_or_default();
    match (expected, actual) {
        (Value::Object(expected), Value::Object(actual)) => {
            assert_eq!(
                expected.keys().collect::<Vec<_>>(),
                actual.keys().collect::<Vec<_>>(),
                "{what}: members of {place}"
            );
            for (name, value) in expected {
                compare(what, &format!("{place}.{name}"), value, &actual[name]);
            }
        }
        (Value::Array(expected), Value::Array(actual)) if member == "value" => {
            assert_eq!(expected.len(), actual.len(), "{what}: entries of {place}");
            for (expected, actual) in expected.iter().zip(actual) {
                compare(what, place, expected, actual);
            }
        }
        (Value::String(expected), Value::String(actual)) if member == "message" => {
            assert_eq!(comparable(expected), comparable(actual), "{what}");
        }
        _ if VARIABLE.contains(&member) => assert_eq!(
            std::mem::discriminant(expected),
            std::mem::discriminant(actual),
            "{what}: type of {place}"
        ),
        _ => assert_eq!(expected, actual, "{what}: {place}"),
    }
}

/// A message without the host and the activity id.
fn comparable(message: &str) -> String {
    let (text, activity) = message.rsplit_once(" (Activity ID: ").unwrap();
    assert!(activity.ends_with(')') && activity.len() == 37, "{message}");
    match text.split_once("https://") {
        Some((before, url)) => format!("{before}{}", &url[url.find('/').unwrap()..]),
        None => text.to_owned(),
    }
}

/// Notes which version, page, ciphertext or other binary of ours stands for a recorded one.
fn pair_names(expected: &Value, actual: &Value, ours: &mut BTreeMap<String, String>) {
    let last = |value: &Value, separator: &str| {
        let text = value.as_str()?;
        Some(text.rsplit_once(separator)?.1.to_owned())
    };
    for (place, separator) in [("/key/kid", "/"), ("/nextLink", "$skiptoken=")] {
        if let (Some(expected), Some(actual)) = (expected.pointer(place), actual.pointer(place)) {
            let pair = last(expected, separator).zip(last(actual, separator));
            let (recorded, own) = pair.unwrap();
            ours.insert(recorded, own);
        }
    }
    for member in ["value", "iv", "tag"] {
        let texts = expected[member].as_str().zip(actual[member].as_str());
        if let Some((recorded, own)) = texts {
            ours.insert(recorded.to_owned(), own.to_owned());
        }
    }
}
