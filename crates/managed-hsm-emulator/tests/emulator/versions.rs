//! What each version of the API knows.

use serde_json::{Value, json};

use crate::running::Emulator;

const VERSIONS: [&str; 11] = [
    "7.0",
    "7.1",
    "7.2",
    "7.3",
    "7.4",
    "7.5",
    "7.6",
    "2025-07-01",
    "2026-01-01-preview",
    "2026-04-01",
    "2026-07-01-preview",
];

fn at(version: &str, path: &str) -> String {
    format!("{path}?api-version={version}")
}

/// As recorded in 7.0 by azure-cli (`test_keyvault_hsm_key_download` and others), in 7.1 by
/// azure-sdk-for-net (`CreateKeyWithOptions`), in 7.2 by azure-sdk-for-java
/// (`createRsaKeyWithPublicExponent`).
#[tokio::test]
async fn an_hsm_tells_the_same_attributes_in_older_versions() {
    let folder = tempfile::tempdir().unwrap();
    let emulator = Emulator::start(folder.path());
    for version in ["7.0", "7.1", "7.2", "7.3-preview", "7.4"] {
        let at = |path: &str| format!("{path}?api-version={version}");
        let body = json!({"kty": "EC"});
        let made = emulator.post(&at("/keys/k/create"), body).await.success();
        let keys = emulator.get(&at("/keys")).await.success();
        let versions = emulator.get(&at("/keys/k/versions")).await.success();
        let shown = emulator.get(&at("/keys/k/")).await.success();
        let deleted = emulator.delete(&at("/keys/k")).await.success();
        let all_deleted = emulator.get(&at("/deletedkeys")).await.success();
        let lists = [&keys, &versions, &all_deleted].map(|list| &list["value"][0]);
        for key in lists.into_iter().chain([&made, &shown, &deleted]) {
            let attributes = &key["attributes"];
            assert_eq!(attributes["exportable"], false, "{version}: {key}");
            assert_eq!(attributes["recoverableDays"], 7, "{version}: {key}");
        }
        emulator.delete(&at("/deletedkeys/k")).await;
    }
}

#[tokio::test]
async fn keys_live_in_every_version_of_the_api() {
    let folder = tempfile::tempdir().unwrap();
    let emulator = Emulator::start(folder.path());
    for (index, version) in VERSIONS.iter().enumerate() {
        let kinds = [
            (json!({"kty": "RSA-HSM"}), "RS256", "wrapkey", "RSA-OAEP"),
            (json!({"kty": "EC-HSM", "crv": "P-384"}), "ES384", "", ""),
            (
                json!({"kty": "oct-HSM", "key_size": 256}),
                "",
                "wrapkey",
                "A256KW",
            ),
        ];
        for (number, (kind, signs, wrap, wraps)) in kinds.into_iter().enumerate() {
            let key = format!("/keys/k{index}-{number}");
            let call = async |method: &str, path: &str, body: Option<Value>| {
                let path = at(version, &format!("{key}{path}"));
                emulator.call(method, &path, body).await
            };
            let made = call("POST", "/create", Some(kind.clone())).await;
            if number == 2 && index < 2 {
                assert_eq!(made.status, 400, "{version}: {}", made.body);
                continue;
            }
            made.success();
            call("GET", "", None).await.success();
            call("GET", "/versions", None).await.success();
            let changed = call("PATCH", "", Some(json!({"tags": {"a": "b"}}))).await;
            changed.success();
            if !signs.is_empty() {
                let digest = "A".repeat(if number == 0 { 43 } else { 64 });
                let body = json!({"alg": signs, "value": digest});
                call("POST", "/sign", Some(body)).await.success();
            }
            if !wrap.is_empty() {
                let body = json!({"alg": wraps, "value": "A".repeat(43)});
                call("POST", &format!("/{wrap}"), Some(body))
                    .await
                    .success();
            }
            let backup = call("POST", "/backup", None).await.success();
            call("DELETE", "", None).await.success();
            let deleted = at(version, &format!("/deletedkeys/k{index}-{number}"));
            emulator.get(&deleted).await.success();
            assert_eq!(emulator.delete(&deleted).await.status, 204);
            let restored = emulator.post(&at(version, "/keys/restore"), backup).await;
            restored.success();
        }
        emulator.get(&at(version, "/keys")).await.success();
        emulator.get(&at(version, "/deletedkeys")).await.success();
    }
    for version in ["6.0", "7.7", "2016-10-01", "2025-07-02", "latest"] {
        let (status, _, message) = emulator.get(&at(version, "/keys")).await.error();
        assert_eq!(status, 400);
        assert!(message.contains(version), "{message}");
    }
}

#[tokio::test]
async fn older_versions_do_not_know_what_came_later() {
    let folder = tempfile::tempdir().unwrap();
    let emulator = Emulator::start(folder.path());
    let create = json!({"kty": "EC"});
    emulator.post("/keys/k/create", create).await.success();
    emulator.set_rotation_policy("k").await;
    let roles = "/providers/Microsoft.Authorization/roleDefinitions";
    for (method, path, body, last_without, first_with) in [
        ("POST", "/keys/k/rotate", None, "7.2", "7.3"),
        ("GET", "/keys/k/rotationpolicy", None, "7.2", "7.3"),
        ("POST", "/rng", Some(json!({"count": 1})), "7.2", "7.3"),
        ("GET", "/settings", None, "7.3", "7.4"),
        ("GET", "/keys/k/attestation", None, "7.5", "7.6"),
        ("GET", roles, None, "7.1", "7.2"),
    ] {
        let refused = emulator
            .call(method, &at(last_without, path), body.clone())
            .await;
        let (status, code, _) = refused.error();
        assert_eq!((status, code.as_str()), (400, "NotSupported"), "{path}");
        let done = emulator.call(method, &at(first_with, path), body).await;
        done.success();
    }
}

#[tokio::test]
async fn algorithms_of_symmetric_keys_come_with_a_version() {
    let folder = tempfile::tempdir().unwrap();
    let emulator = Emulator::start(folder.path());
    let create = json!({"kty": "oct-HSM", "key_size": 256});
    emulator.post("/keys/k/create", create).await.success();
    for (algorithm, last_without, first_with) in [
        ("A256KW", "7.1", "7.2"),
        ("CKM_AES_KEY_WRAP", "7.6-preview.1", "7.6-preview.2"),
        ("CKM_AES_KEY_WRAP_PAD", "7.5", "7.6"),
    ] {
        let mut body = json!({"alg": algorithm, "value": "A".repeat(43)});
        for operation in ["/keys/k/wrapkey", "/keys/k/unwrapkey"] {
            let path = at(last_without, operation);
            let refused = emulator.post(&path, body.clone()).await;
            let (status, code, message) = refused.error();
            assert_eq!((status, code.as_str()), (400, "BadParameter"), "{path}");
            assert!(message.contains(algorithm), "{message}");
            let path = at(first_with, operation);
            let done = emulator.post(&path, body.clone()).await.success();
            body["value"] = done["value"].clone();
        }
        assert_eq!(body["value"], "A".repeat(43), "{algorithm}");
    }
}
