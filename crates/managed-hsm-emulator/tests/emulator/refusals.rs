//! What is refused, in the words of each service: where an HSM and a vault differ, and where JSON
//! is of a wrong form.

use serde_json::{Value, json};

use crate::running::{Answer, Emulator};

/// An emulator with a vault, and who asks either of the two.
struct Both {
    emulator: Emulator,
    vault: String,
    token: String,
}

impl Both {
    fn start(folder: &std::path::Path) -> Self {
        let emulator = Emulator::start_with(folder, &["--vault", "contoso"]);
        Self {
            vault: emulator.further["vault contoso"].clone(),
            token: emulator.token(&["--audience", "https://vault.azure.net"]),
            emulator,
        }
    }

    async fn vault(&self, method: &str, path: &str, body: Option<Value>) -> Answer {
        let separator = if path.contains('?') {
            ""
        } else {
            "?api-version=7.4"
        };
        let url = format!("{}{path}{separator}", self.vault);
        self.emulator
            .call_with(&self.token, method, &url, body)
            .await
    }

    async fn hsm(&self, method: &str, path: &str, body: Option<Value>) -> Answer {
        self.emulator.call(method, path, body).await
    }
}

/// {"version":"1.0.0","anyOf":[]}
const POLICY: &str = "eyJ2ZXJzaW9uIjoiMS4wLjAiLCJhbnlPZiI6W119";

#[tokio::test]
async fn hsms_and_vaults_refuse_in_their_own_words() {
    let folder = tempfile::tempdir().unwrap();
    let both = Both::start(folder.path());
    let policy = json!({"data": POLICY, "immutable": true});
    let exportable = json!({"kty": "EC-HSM", "attributes": {"exportable": true}});
    let released =
        json!({"kty": "EC-HSM", "attributes": {"exportable": true}, "release_policy": policy});
    for name in ["hsm", "vault"] {
        let made = match name {
            "hsm" => {
                both.hsm("POST", "/keys/k/create", Some(released.clone()))
                    .await
            }
            _ => {
                both.vault("POST", "/keys/k/create", Some(released.clone()))
                    .await
            }
        };
        made.success();
    }
    let not_found = "A key with (name/id) none was not found in this key vault. If you recently deleted this key you may be able to recover it using the correct recovery command. For help resolving this issue, please see https://go.microsoft.com/fwlink/?linkid=2125182";
    let changed = json!({"release_policy": {"data": POLICY}});
    let unpaired = json!({"kty": "EC-HSM", "release_policy": {"data": POLICY}});
    let without_version = json!({"kty": "EC-HSM", "attributes": {"exportable": true}, "release_policy": {"data": "e30"}});
    for (method, path, body, status, in_hsm, in_vault) in [
        (
            "POST",
            "/keys/x/create",
            Some(exportable.clone()),
            400,
            "Exportable keys must have release policy",
            "AKV.SKR.1004: Exportable keys must have release policy.",
        ),
        (
            "POST",
            "/keys/x/create",
            Some(unpaired),
            400,
            "Non-exportable keys must not have release policy",
            "AKV.SKR.1005: Non-exportable keys must not have release policy",
        ),
        (
            "POST",
            "/keys/x/create",
            Some(without_version),
            400,
            "Key Release Policy: missing 'version' property",
            "Key Release Policy: missing 'version' property",
        ),
        (
            "PATCH",
            "/keys/k",
            Some(changed),
            400,
            "Immutable Release policy cannot be modified",
            "AKV.SKR.1020: Immutable Key Release Policy cannot be modified.",
        ),
        (
            "PUT",
            "/keys/x",
            Some(json!({"key": {}})),
            400,
            "JSON Web Key: kty is missing",
            "The property \"key\" must be a valid JsonWebKey object.",
        ),
        (
            "POST",
            "/keys//create",
            Some(json!({"kty": "RSA-HSM"})),
            400,
            "Operation not specified",
            "Operation not specified",
        ),
        (
            "POST",
            "/keys/restore",
            Some(json!({"value": "bm9uLWV4aXN0aW5n"})),
            400,
            "Backup blob belongs to a different crypto domain and cannot be used with this instance.",
            "Backup blob is corrupt.",
        ),
        (
            "POST",
            "/deletedkeys/none/recover",
            None,
            404,
            &format!("Key not found: {}/deletedkeys/none", both.emulator.url),
            not_found,
        ),
        (
            "DELETE",
            "/deletedkeys/none",
            None,
            404,
            &format!("Key not found: {}/deletedkeys/none", both.emulator.url),
            "Deleted Key not found: none",
        ),
    ] {
        let (got, _, message) = both.hsm(method, path, body.clone()).await.error();
        let message = message.split(" (Activity ID: ").next().unwrap().to_owned();
        assert_eq!((got, message.as_str()), (status, in_hsm), "{method} {path}");
        let (got, _, message) = both.vault(method, path, body).await.error();
        assert_eq!(
            (got, message.as_str()),
            (status, in_vault),
            "{method} {path}"
        );
    }
    let old = both
        .vault("POST", "/keys/x/create?api-version=7.2", Some(exportable))
        .await;
    let (_, _, message) = old.error();
    assert!(message.starts_with("AKV.SKR.1001: "), "{message}");
}

#[tokio::test]
async fn a_vault_says_access_denied_where_it_does_not_release() {
    let folder = tempfile::tempdir().unwrap();
    let both = Both::start(folder.path());
    let body = json!({
        "kty": "EC-HSM", "attributes": {"exportable": true}, "release_policy": {"data": POLICY},
    });
    both.vault("POST", "/keys/k/create", Some(body))
        .await
        .success();
    let attested = both
        .emulator
        .post("/generate-test-token", json!({}))
        .await
        .success();
    for target in [json!("not an attestation"), attested["token"].clone()] {
        let body = Some(json!({"target": target}));
        let answer = both.vault("POST", "/keys/k/release", body).await;
        assert_eq!(answer.status, 403, "{}", answer.body);
        let error = &answer.json()["error"];
        assert_eq!(error["code"], "Forbidden");
        assert_eq!(error["innererror"], json!({"code": "AccessDenied"}));
    }
}

/// As recorded by azure-sdk-for-java (`restoreKeyFromMalformedBackup`).
#[tokio::test]
async fn the_code_of_a_vault_for_what_is_no_backup_has_three_words() {
    let folder = tempfile::tempdir().unwrap();
    let both = Both::start(folder.path());
    for value in ["bm9uLWV4aXN0aW5n", "*"] {
        let body = Some(json!({"value": value}));
        let answer = both.vault("POST", "/keys/restore", body.clone()).await;
        let (status, code, message) = answer.error();
        assert_eq!((status, code.as_str()), (400, "Malformed backup blob"));
        assert_eq!(message, "Backup blob is corrupt.");
        let answer = both.hsm("POST", "/keys/restore", body).await;
        assert_eq!(answer.error().1, "MalformedBackupBlob");
    }
}

/// As recorded by azure-sdk-for-java (`createKeyNullType`) of two members that can't be, and as
/// users report it of `oct`.
#[tokio::test]
async fn a_vault_refuses_what_can_be_no_key_once_for_each_member() {
    let folder = tempfile::tempdir().unwrap();
    let both = Both::start(folder.path());
    let once = "Property  has invalid value\r\n";
    let twice = once.repeat(2);
    for (body, inner, message) in [
        (
            json!({"attributes": {}, "public_exponent": 0}),
            None,
            twice.as_str(),
        ),
        (json!({}), None, once),
        (json!({"kty": "RSA", "public_exponent": 0}), None, once),
        (json!({"kty": "oct-HSM"}), None, once),
        (
            json!({"kty": "oct"}),
            Some("KeyTypeNotSupported"),
            "Invalid kty value: oct",
        ),
    ] {
        let answer = both.vault("POST", "/keys/k/create", Some(body)).await;
        let (status, code, told) = answer.error();
        assert_eq!((status, code.as_str()), (400, "BadParameter"));
        assert_eq!(told, message);
        let told = &answer.json()["error"]["innererror"]["code"];
        assert_eq!(told.as_str(), inner);
    }
}

#[tokio::test]
async fn older_versions_of_a_vault_tell_less_of_a_key() {
    let folder = tempfile::tempdir().unwrap();
    let both = Both::start(folder.path());
    both.vault("POST", "/keys/k/create", Some(json!({"kty": "EC"})))
        .await
        .success();
    for (version, days, exportable, platform) in [
        ("2016-10-01", false, false, false),
        ("7.0", false, false, false),
        ("7.1", true, false, false),
        ("7.2", true, false, false),
        ("7.3", true, true, false),
        ("7.4", true, true, false),
        ("7.5", true, true, true),
        ("2025-07-01", true, true, true),
    ] {
        let path = format!("/keys/k?api-version={version}");
        let key = both.vault("GET", &path, None).await.success();
        let has = |name: &str| key["attributes"].get(name).is_some();
        assert_eq!(has("recoverableDays"), days, "{version}");
        assert_eq!(has("exportable"), exportable, "{version}");
        assert_eq!(has("hsmPlatform"), platform, "{version}");
    }
}

#[tokio::test]
async fn older_versions_of_a_vault_tell_nothing_of_a_release_policy() {
    let folder = tempfile::tempdir().unwrap();
    let both = Both::start(folder.path());
    let body = json!({
        "kty": "EC-HSM", "attributes": {"exportable": true}, "release_policy": {"data": POLICY},
    });
    both.hsm("POST", "/keys/k/create", Some(body.clone()))
        .await
        .success();
    both.vault("POST", "/keys/k/create", Some(body))
        .await
        .success();
    let decoded = json!({"version": "1.0.0", "anyOf": []});
    for (version, is_told) in [("7.0", false), ("7.2", false), ("7.3", true), ("7.4", true)] {
        let path = format!("/keys/k?api-version={version}");
        let key = both.vault("GET", &path, None).await.success();
        assert_eq!(key.get("release_policy").is_some(), is_told, "{version}");
        // As azure-cli recorded it of an HSM in 7.0 (`test_keyvault_hsm_key_release_policy`).
        let key = both.hsm("GET", &path, None).await.success();
        let is_decoded = key["release_policy"] == decoded;
        assert_eq!(is_decoded, !is_told, "{version}");
    }
}

#[tokio::test]
async fn a_key_of_a_vault_has_as_many_versions_as_are_made() {
    let folder = tempfile::tempdir().unwrap();
    let both = Both::start(folder.path());
    // One more than a key of an HSM can have.
    for _ in 0..101 {
        let body = Some(json!({"kty": "EC"}));
        both.vault("POST", "/keys/k/create", body).await.success();
    }
}

#[tokio::test]
async fn a_vault_tells_what_its_keys_are_kept_in() {
    let folder = tempfile::tempdir().unwrap();
    let both = Both::start(folder.path());
    for (kty, platform) in [("EC", "0"), ("EC-HSM", "2")] {
        let path = format!("/keys/{kty}/create?api-version=7.5");
        let body = Some(json!({"kty": kty}));
        let made = both.vault("POST", &path, body.clone()).await.success();
        assert_eq!(made["attributes"]["hsmPlatform"], platform);
        let made = both.hsm("POST", &path, body).await.success();
        assert!(made["attributes"].get("hsmPlatform").is_none());
    }
    let listed = both.vault("GET", "/keys?api-version=7.5", None).await;
    let listed = listed.success();
    assert_eq!(listed["value"][0]["attributes"]["hsmPlatform"], "0");
}

#[tokio::test]
async fn a_vault_gives_the_callers_own_id_of_a_request_back() {
    let folder = tempfile::tempdir().unwrap();
    let both = Both::start(folder.path());
    let client = both.emulator.another_client();
    for (token, status) in [(both.token.as_str(), 200), ("none", 401)] {
        let request = client.get(format!("{}/keys?api-version=7.4", both.vault));
        let request = request.bearer_auth(token);
        let request = request.header("x-ms-client-request-id", "an id");
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), status);
        assert_eq!(answer.headers()["x-ms-client-request-id"], "an id");
    }
    let answer = both.vault("GET", "/keys", None).await;
    assert!(!answer.headers.contains_key("x-ms-client-request-id"));
}

#[tokio::test]
async fn a_vault_takes_what_is_no_version_for_an_operation() {
    let folder = tempfile::tempdir().unwrap();
    let both = Both::start(folder.path());
    let unknown = "0".repeat(32);
    for (collection, code) in [
        ("keys", "KeyNotFound"),
        ("certificates", "CertificateNotFound"),
    ] {
        for version in ["latest", "0123", &"0".repeat(31), &"g".repeat(32)] {
            let path = format!("/{collection}/k/{version}");
            let refused = both.vault("GET", &path, None).await.error();
            let text = format!("Method GET does not allow operation '{version}'");
            assert_eq!(refused, (400, "BadParameter".to_owned(), text));
        }
        let path = format!("/{collection}/k/{unknown}");
        let (status, found, _) = both.vault("GET", &path, None).await.error();
        assert_eq!((status, found.as_str()), (404, code));
    }
}

#[tokio::test]
async fn a_rotation_policy_that_was_read_can_be_sent_back() {
    let folder = tempfile::tempdir().unwrap();
    let both = Both::start(folder.path());
    let (create, path) = (json!({"kty": "EC-HSM"}), "/keys/k/rotationpolicy");
    both.hsm("POST", "/keys/k/create", Some(create.clone()))
        .await
        .success();
    both.vault("POST", "/keys/k/create", Some(create))
        .await
        .success();
    // The first is that of a key for which nobody has set one.
    for _ in 0..2 {
        let policy = both.hsm("GET", path, None).await.success();
        both.hsm("PUT", path, Some(policy)).await.success();
        let policy = both.vault("GET", path, None).await.success();
        both.vault("PUT", path, Some(policy)).await.success();
    }
}

#[tokio::test]
async fn a_key_that_is_not_there_has_no_versions() {
    let folder = tempfile::tempdir().unwrap();
    let both = Both::start(folder.path());
    let answer = both.hsm("GET", "/keys/none/versions", None).await;
    assert_eq!(
        (answer.status.as_u16(), answer.body.as_str()),
        (200, r#"{"value":[]}"#)
    );
    let answer = both.vault("GET", "/keys/none/versions", None).await;
    let expected = r#"{"value":[],"nextLink":null}"#;
    assert_eq!(
        (answer.status.as_u16(), answer.body.as_str()),
        (200, expected)
    );
}

#[tokio::test]
async fn arrays_are_not_taken_for_objects_and_no_error_names_a_type_of_the_program() {
    let folder = tempfile::tempdir().unwrap();
    let both = Both::start(folder.path());
    for path in ["/keys/k/create", "/keys/oct/create"] {
        let kty = if path.contains("oct") { "oct" } else { "EC" };
        both.hsm("POST", path, Some(json!({"kty": kty})))
            .await
            .success();
    }
    both.vault("POST", "/keys/k/create", Some(json!({"kty": "EC"})))
        .await
        .success();
    both.emulator.set_rotation_policy("k").await;
    let policy = both
        .hsm("GET", "/keys/k/rotationpolicy", None)
        .await
        .success();
    let id = "00000000-0000-0000-0000-000000000001";
    let assignment = format!("/providers/Microsoft.Authorization/roleAssignments/{id}");
    let definition = format!("/providers/Microsoft.Authorization/roleDefinitions/{id}");
    let setting = "/settings/AllowKeyManagementOperationsThroughARM";
    for (method, path, body) in [
        ("POST", "/rng", json!([16])),
        ("POST", "/rng", json!("16")),
        ("POST", "/rng", json!(null)),
        ("POST", "/rng", json!({"count": "16"})),
        ("POST", "/rng", json!({"count": 1.5})),
        ("PUT", "/keys/k/rotationpolicy", json!([])),
        ("PUT", "/keys/k/rotationpolicy", json!({"attributes": []})),
        (
            "PUT",
            "/keys/k/rotationpolicy",
            json!({"lifetimeActions": {}}),
        ),
        (
            "PUT",
            "/keys/k/rotationpolicy",
            json!({"lifetimeActions": [[]]}),
        ),
        (
            "PUT",
            "/keys/k/rotationpolicy",
            json!({"lifetimeActions": [{"action": []}]}),
        ),
        (
            "PUT",
            "/keys/k/rotationpolicy",
            json!({"lifetimeActions": [{"trigger": {}}]}),
        ),
        ("POST", "/keys/k/create", json!(["EC"])),
        (
            "POST",
            "/keys/k/create",
            json!({"kty": "EC", "attributes": [true]}),
        ),
        (
            "POST",
            "/keys/k/create",
            json!({"kty": "EC", "tags": ["a"]}),
        ),
        (
            "POST",
            "/keys/k/create",
            json!({"kty": "EC", "tags": {"a": 1}}),
        ),
        (
            "POST",
            "/keys/k/create",
            json!({"kty": "EC", "key_ops": "sign"}),
        ),
        (
            "POST",
            "/keys/k/create",
            json!({"kty": "EC", "release_policy": [1]}),
        ),
        ("POST", "/keys/k/create", json!({"kty": 5})),
        ("PATCH", "/keys/k", json!([])),
        ("PATCH", "/keys/k", json!({"attributes": []})),
        (
            "PUT",
            "/keys/x",
            json!([null, null, {"kty": "oct", "k": "AAAAAAAAAAAAAAAAAAAAAA"}]),
        ),
        ("PUT", "/keys/x", json!({"key": ["oct"]})),
        ("POST", "/keys/k/sign", json!(["ES256", "A".repeat(43)])),
        ("POST", "/keys/oct/encrypt", json!(["A256GCM", "AAAA"])),
        ("POST", "/keys/k/release", json!([])),
        ("POST", "/keys/restore", json!(["AAAA"])),
        ("PATCH", setting, json!(["true"])),
        ("PUT", &assignment, json!([[id, id]])),
        ("PUT", &assignment, json!({"properties": [id, id]})),
        ("PUT", &definition, json!([])),
        ("PUT", &definition, json!({"properties": ["n", "d", []]})),
        (
            "PUT",
            &definition,
            json!({"properties": {"permissions": [[]]}}),
        ),
    ] {
        let hsm_only = path.starts_with("/rng")
            || path.contains("oct")
            || path.contains("/settings")
            || path.contains("providers");
        let mut answers = vec![both.hsm(method, path, Some(body.clone())).await];
        if !hsm_only {
            answers.push(both.vault(method, path, Some(body.clone())).await);
        }
        for answer in answers {
            let (status, code, message) = answer.error();
            let what = format!("{method} {path} {body}: {message}");
            assert_eq!((status, code.as_str()), (400, "BadParameter"), "{what}");
            for name in [
                "Request", "struct", "i64", "Vec", "Option", "sequence", "Policy", "Jwk",
            ] {
                let text = message.replace("JSON of the request", "");
                assert!(!text.contains(name), "{what}");
            }
        }
    }
    let kept = both
        .hsm("GET", "/keys/k/rotationpolicy", None)
        .await
        .success();
    assert_eq!(kept, policy);
    for body in [
        json!([]),
        json!({"claims": []}),
        json!({"issuer": 5}),
        json!({"colour": 1}),
    ] {
        let answer = both.emulator.post("/generate-test-token", body).await;
        assert!(!answer.body.contains("struct") && !answer.body.contains("TestToken"));
    }
}

#[tokio::test]
async fn symmetric_keys_of_up_to_64_bytes_are_imported() {
    let folder = tempfile::tempdir().unwrap();
    let emulator = Emulator::start(folder.path());
    let engine = base64::engine::general_purpose::URL_SAFE_NO_PAD;
    for (length, status) in [
        (16, 200),
        (20, 200),
        (33, 200),
        (64, 200),
        (65, 400),
        (512, 400),
    ] {
        let k = base64::Engine::encode(&engine, vec![7_u8; length]);
        let body = Some(json!({"key": {"kty": "oct-HSM", "k": k}}));
        let imported = emulator.call("PUT", "/keys/k", body).await;
        assert_eq!(imported.status, status, "{length}: {}", imported.body);
        if status == 400 {
            let (_, code, message) = imported.error();
            let text = "JSON Web Key: k property of oct key is too large, maximum size is 64";
            assert_eq!(code, "BadParameter");
            assert!(message.starts_with(text), "{message}");
            continue;
        }
        // A key for HMAC is at least as long as the digest; AES has its own sizes.
        let sign = json!({"alg": "HS256", "value": "A".repeat(43)});
        let signed = emulator.post("/keys/k/sign", sign).await;
        let expected = if length >= 32 { 200 } else { 400 };
        assert_eq!(signed.status, expected, "{length}: {}", signed.body);
        let wrap = json!({"alg": "CKM_AES_KEY_WRAP", "value": "A".repeat(43)});
        let wrapped = emulator.post("/keys/k/wrapkey", wrap).await;
        let expected = if length == 16 { 200 } else { 400 };
        assert_eq!(wrapped.status, expected, "{length}: {}", wrapped.body);
    }
}

#[tokio::test]
async fn a_key_that_imports_does_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let both = Both::start(folder.path());
    for (key_ops, status) in [
        (json!(["import"]), 200),
        (json!(["import", "decrypt"]), 400),
        (json!(["wrapKey", "import", "unwrapKey"]), 400),
    ] {
        let body = json!({"kty": "RSA-HSM", "key_ops": key_ops});
        for answer in [
            both.hsm("POST", "/keys/kek/create", Some(body.clone()))
                .await,
            both.vault("POST", "/keys/kek/create", Some(body)).await,
            both.hsm("PATCH", "/keys/kek", Some(json!({"key_ops": key_ops})))
                .await,
        ] {
            assert_eq!(answer.status, status, "{key_ops}: {}", answer.body);
            if status == 400 {
                assert!(
                    answer.body.contains("mutually exclusive"),
                    "{}",
                    answer.body
                );
            }
        }
    }
}
