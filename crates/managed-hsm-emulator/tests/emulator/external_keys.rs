//! Keys whose material an external key manager has.

use serde_json::{Value, json};

use crate::running::{Answer, Emulator, call};

const PREVIEW: &str = "2026-01-01-preview";

fn external(id: &str) -> Value {
    json!({"attributes": {"external_key": {"id": id}}})
}

async fn create(emulator: &Emulator, name: &str, body: Value) -> Answer {
    let path = format!("/keys/{name}/create");
    call(emulator, "POST", PREVIEW, &path, Some(body)).await
}

async fn operate(emulator: &Emulator, path: &str, alg: &str, value: &Value) -> Value {
    let body = json!({"alg": alg, "value": value});
    let answer = call(emulator, "POST", PREVIEW, path, Some(body)).await;
    answer.success()["value"].clone()
}

#[tokio::test]
async fn such_a_key_is_made_shown_and_used_like_any_other() {
    let folder = tempfile::tempdir().unwrap();
    let emulator = Emulator::start(folder.path());
    for (name, id, kty) in [
        ("o", "external-key-reference-id", "oct-HSM"),
        ("r", "rsa-1", "RSA-HSM"),
        ("e", "ec-1", "EC-HSM"),
    ] {
        let made = create(&emulator, name, external(id)).await.success();
        assert_eq!(made["key"]["kty"], kty);
        assert_eq!(made["attributes"]["external_key"], json!({"id": id}));
    }
    let wrapped = operate(
        &emulator,
        "/keys/o/wrapkey",
        "A256KW",
        &json!("AAAAAAAAAAAAAAAAAAAAAA"),
    )
    .await;
    let digest = json!("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA");
    operate(&emulator, "/keys/r/sign", "RS256", &digest).await;
    operate(&emulator, "/keys/e/sign", "ES256", &digest).await;
    // The material is the key manager's: it outlives the key here, and the emulator's end.
    let deleted = call(&emulator, "DELETE", PREVIEW, "/keys/o", None).await;
    deleted.success();
    emulator.stop();
    let emulator = Emulator::start(folder.path());
    let again = create(&emulator, "o2", external("external-key-reference-id")).await;
    assert_eq!(again.success()["attributes"]["key_size"], 256);
    let plain = operate(&emulator, "/keys/o2/unwrapkey", "A256KW", &wrapped).await;
    assert_eq!(plain, "AAAAAAAAAAAAAAAAAAAAAA");
    // Another id is another key.
    create(&emulator, "o2", external("another")).await.success();
    let body = json!({"alg": "A256KW", "value": wrapped});
    let refused = call(&emulator, "POST", PREVIEW, "/keys/o2/unwrapkey", Some(body)).await;
    assert_eq!(refused.status, 400);
    // Lists tell it, and versions before tell nothing of it.
    let listed = call(&emulator, "GET", PREVIEW, "/keys", None)
        .await
        .success();
    let listed = listed["value"].as_array().unwrap();
    let ids = listed
        .iter()
        .map(|key| &key["attributes"]["external_key"]["id"]);
    assert_eq!(ids.collect::<Vec<_>>(), ["rsa-1", "ec-1", "another"]);
    let old = call(&emulator, "GET", "2025-07-01", "/keys/r", None)
        .await
        .success();
    assert!(old["attributes"].get("external_key").is_none());
}

#[tokio::test]
async fn what_the_key_manager_has_said_is_not_said_again() {
    let folder = tempfile::tempdir().unwrap();
    let emulator = Emulator::start(folder.path());
    let with = |member: &str, value: Value| {
        let mut body = external("k-1");
        body[member] = value;
        body
    };
    let exportable = json!({"attributes": {"external_key": {"id": "k"}, "exportable": true}});
    for (body, expected) in [
        (with("kty", json!("RSA-HSM")), "'kty' must not be set"),
        (with("key_size", json!(256)), "'key_size' must not be set"),
        (with("crv", json!("P-256")), "'crv' must not be set"),
        (with("alg", json!("ML-DSA-44")), "'alg' must not be set"),
        (exportable, "'exportable' must not be set"),
        (with("key_ops", json!(["import"])), "import"),
        (external(""), "Invalid external key id"),
        (external(&"a".repeat(65)), "Invalid external key id"),
        (external("a_b"), "Invalid external key id"),
        (
            json!({"attributes": {"external_key": {}}}),
            "Invalid external key id",
        ),
    ] {
        let refused = create(&emulator, "k", body.clone()).await;
        assert_eq!(refused.status, 400, "{body}: {}", refused.body);
        assert!(refused.body.contains(expected), "{body}: {}", refused.body);
    }
    create(&emulator, "k", external(&"a".repeat(64)))
        .await
        .success();
    // A key doesn't become one, or another's, later.
    emulator
        .post("/keys/own/create", json!({"kty": "EC-HSM"}))
        .await
        .success();
    for (method, path, body) in [
        ("PATCH", "/keys/own", external("k-1")),
        ("PATCH", "/keys/k", external("k-1")),
        (
            "PUT",
            "/keys/own",
            json!({"key": {"kty": "oct", "k": "AAAAAAAAAAAAAAAAAAAAAA"}, "attributes": {"external_key": {"id": "k-1"}}}),
        ),
    ] {
        let refused = call(&emulator, method, PREVIEW, path, Some(body)).await;
        assert_eq!(refused.status, 400, "{}", refused.body);
        assert!(refused.body.contains("only be set when a key is created"));
    }
    let policy = json!({"lifetimeActions": [{"action": {"type": "Rotate"}, "trigger": {"timeAfterCreate": "P2Y"}}]});
    let path = "/keys/k/rotationpolicy";
    call(&emulator, "PUT", PREVIEW, path, Some(policy))
        .await
        .success();
    let refused = call(&emulator, "POST", PREVIEW, "/keys/k/rotate", None).await;
    assert_eq!(refused.status, 400);
    assert!(refused.body.contains("cannot be rotated"));
    // Versions before know no such keys.
    let refused = call(
        &emulator,
        "POST",
        "2025-07-01",
        "/keys/old/create",
        Some(external("k-1")),
    )
    .await;
    assert!(refused.body.contains("kty is missing"), "{}", refused.body);
}
