//! Key Vault: what it has, and what it does other than Managed HSM. What is compared literally is
//! what the test suites of Microsoft's Go and JavaScript libraries recorded from vaults, and what
//! users reported.

use std::fs;

use serde_json::{Value, json};

use crate::running::{Answer, Emulator, text};

const VAULT: [&str; 2] = ["--vault", "Contoso"];
const AUDIENCE: &str = "https://vault.azure.net";

/// An emulator with the vault `contoso`, asked at the vault's port by its owner.
pub(crate) struct Vault {
    pub(crate) emulator: Emulator,
    url: String,
    token: String,
}

impl Vault {
    pub(crate) fn start(folder: &std::path::Path, arguments: &[&str]) -> Self {
        let arguments = [&VAULT, arguments].concat();
        let emulator = Emulator::start_with(folder, &arguments);
        let url = emulator.further["vault contoso"].clone();
        let token = emulator.token(&["--audience", AUDIENCE]);
        Self {
            emulator,
            url,
            token,
        }
    }

    async fn call_as(&self, token: &str, method: &str, path: &str, body: Option<Value>) -> Answer {
        let separator = if path.contains('?') { '&' } else { '?' };
        let url = format!("{}{path}{separator}api-version=7.4", self.url);
        self.emulator.call_with(token, method, &url, body).await
    }

    pub(crate) async fn call(&self, method: &str, path: &str, body: Option<Value>) -> Answer {
        self.call_as(&self.token, method, path, body).await
    }

    pub(crate) async fn create(&self, name: &str, body: Value) -> Value {
        let path = format!("/keys/{name}/create");
        self.call("POST", &path, Some(body)).await.success()
    }
}

#[tokio::test]
async fn a_vault_has_software_keys_and_keys_in_an_hsm_but_no_symmetric_ones() {
    let folder = tempfile::tempdir().unwrap();
    let vault = Vault::start(folder.path(), &[]);
    let rsa = [
        "encrypt",
        "decrypt",
        "sign",
        "verify",
        "wrapKey",
        "unwrapKey",
    ];
    for (kty, key_ops, exponent) in [
        ("RSA", json!(rsa), json!("AQAB")),
        ("RSA-HSM", json!(rsa), json!("AAEAAQ")),
        ("EC", json!(["sign", "verify"]), Value::Null),
        ("EC-HSM", json!(["sign", "verify"]), Value::Null),
    ] {
        let key = vault.create(kty, json!({"kty": kty})).await;
        assert_eq!(key["key"]["kty"], kty);
        assert_eq!(key["key"]["key_ops"], key_ops);
        assert_eq!(key["key"]["e"], exponent);
        let kid = format!("{}/keys/{kty}/", vault.url);
        assert!(key["key"]["kid"].as_str().unwrap().starts_with(&kid));
        let attributes = &key["attributes"];
        assert_eq!(
            attributes["recoveryLevel"],
            "CustomizedRecoverable+Purgeable"
        );
        // The kind survives rotation and backup.
        let path = format!("/keys/{kty}/rotate");
        let rotated = vault.call("POST", &path, None).await.success();
        assert_eq!(rotated["key"]["kty"], kty);
    }
    for kty in ["oct-HSM", "OKP"] {
        let body = json!({"kty": kty, "key_size": 256});
        let refused = vault.call("POST", "/keys/k/create", Some(body)).await;
        assert_eq!(refused.status, 400);
        assert_eq!(
            refused.body,
            r#"{"error":{"code":"BadParameter","message":"Property  has invalid value\r\n"}}"#
        );
    }
}

#[tokio::test]
async fn a_vault_has_keys_of_ml_dsa_of_both_kinds() {
    let folder = tempfile::tempdir().unwrap();
    let vault = Vault::start(folder.path(), &[]);
    for kty in ["AKP", "AKP-HSM"] {
        let path = format!("/keys/{kty}/create?api-version=2026-05-01-preview");
        let url = format!("{}{path}", vault.url);
        let body = json!({"kty": kty, "alg": "ML-DSA-44"});
        let made = vault
            .emulator
            .call_with(&vault.token, "POST", &url, Some(body));
        let key = made.await.success();
        assert_eq!(key["key"]["kty"], kty);
        assert_eq!(key["key"]["key_ops"], json!(["sign", "verify"]));
    }
    let body = json!({"kty": "AKP", "alg": "ML-DSA-44"});
    let refused = vault.call("POST", "/keys/k/create", Some(body)).await;
    assert_eq!(refused.status, 400);
}

#[tokio::test]
async fn an_imported_key_is_kept_where_the_request_says() {
    let folder = tempfile::tempdir().unwrap();
    let vault = Vault::start(folder.path(), &[]);
    let key = openssl::rsa::Rsa::generate(2048).unwrap();
    let number = |number: &openssl::bn::BigNumRef| base64url(&number.to_vec());
    let jwk = json!({
        "kty": "RSA", "n": number(key.n()), "e": number(key.e()), "d": number(key.d()),
        "p": number(key.p().unwrap()), "q": number(key.q().unwrap()),
        "dp": number(key.dmp1().unwrap()), "dq": number(key.dmq1().unwrap()), "qi": number(key.iqmp().unwrap()),
    });
    for (hsm, kty) in [
        (Value::Null, "RSA"),
        (json!(false), "RSA"),
        (json!(true), "RSA-HSM"),
    ] {
        let body = json!({"key": jwk, "Hsm": hsm});
        let imported = vault.call("PUT", "/keys/k", Some(body)).await.success();
        assert_eq!(imported["key"]["kty"], kty);
    }
}

#[tokio::test]
async fn results_tell_no_algorithm_and_signatures_verify() {
    let folder = tempfile::tempdir().unwrap();
    let vault = Vault::start(folder.path(), &[]);
    let made = Some(json!({"kty": "EC-HSM"}));
    let made = vault.call("POST", "/keys/ec/create", made).await.body;
    assert!(made.starts_with(r#"{"key":{"kid":"https:"#), "{made}");
    let members = |value: &Value| {
        let object = value.as_object().unwrap();
        object.keys().cloned().collect::<Vec<_>>()
    };
    let digest = base64url(&[7; 32]);
    let body = json!({"alg": "ES256", "value": digest});
    let signed = vault.call("POST", "/keys/ec/sign", Some(body)).await;
    let signed = signed.success();
    assert_eq!(members(&signed), ["kid", "value"]);
    let body = json!({"alg": "ES256", "digest": digest, "value": signed["value"]});
    let verified = vault.call("POST", "/keys/ec/verify", Some(body)).await;
    assert_eq!(verified.body, r#"{"value":true}"#);

    vault.create("rsa", json!({"kty": "RSA"})).await;
    for (there, back) in [("encrypt", "decrypt"), ("wrapkey", "unwrapkey")] {
        let body = json!({"alg": "RSA-OAEP-256", "value": "cGxhaW50ZXh0"});
        let path = format!("/keys/rsa/{there}");
        let encrypted = vault.call("POST", &path, Some(body)).await.success();
        assert_eq!(members(&encrypted), ["kid", "value"]);
        let body = json!({"alg": "RSA-OAEP-256", "value": encrypted["value"]});
        let path = format!("/keys/rsa/{back}");
        let decrypted = vault.call("POST", &path, Some(body)).await.success();
        assert_eq!(members(&decrypted), ["kid", "value"]);
        assert_eq!(decrypted["value"], "cGxhaW50ZXh0");
    }
}

#[tokio::test]
async fn a_vault_challenges_and_refuses_in_words_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let vault = Vault::start(folder.path(), &[]);
    let emulator = &vault.emulator;
    let keys = format!("{}/keys?api-version=7.4", vault.url);
    for method in ["GET", "POST"] {
        let answer = emulator.send(method, &keys, None, None).await;
        assert_eq!(answer.status, 401);
        assert_eq!(
            answer.headers["www-authenticate"],
            "Bearer authorization=\"https://login.windows.net/00000000-0000-0000-0000-000000000000\", resource=\"https://vault.azure.net\""
        );
        assert_eq!(
            answer.body,
            r#"{"error":{"code":"Unauthorized","message":"AKV10000: Request is missing a Bearer or PoP token."}}"#
        );
        for (name, value) in [
            ("cache-control", "no-cache"),
            ("content-type", "application/json; charset=utf-8"),
            ("expires", "-1"),
            ("pragma", "no-cache"),
            (
                "strict-transport-security",
                "max-age=31536000;includeSubDomains",
            ),
            ("x-content-type-options", "nosniff"),
            (
                "x-ms-keyvault-network-info",
                "conn_type=Ipv4;addr=127.0.0.1;act_addr_fam=InterNetwork;",
            ),
        ] {
            assert_eq!(answer.headers[name], value);
        }
        for name in [
            "x-ms-request-id",
            "x-ms-keyvault-region",
            "x-ms-keyvault-service-version",
        ] {
            assert!(answer.headers.contains_key(name), "{name}");
        }
        for name in ["x-ms-server-latency", "x-frame-options"] {
            assert!(!answer.headers.contains_key(name), "{name}");
        }
        let date = answer.headers["date"].to_str().unwrap();
        assert!(date.len() == 29 && date.ends_with(" GMT"), "{date}");
    }
    for (token, message) in [
        (
            emulator.token(&[]),
            "AKV10022: Invalid audience. Expected https://vault.azure.net, found: https://managedhsm.azure.net.",
        ),
        (
            emulator.token(&["--audience", AUDIENCE, "--expires-in", "-1"]),
            "Error validating token: IDX10223",
        ),
    ] {
        let answer = emulator.send("GET", &keys, Some(&token), None).await;
        let (status, code, found) = answer.error();
        assert_eq!((status, code.as_str()), (401, "Unauthorized"));
        assert_eq!(found, message);
        assert!(answer.headers.contains_key("www-authenticate"));
    }
    // And the other way round.
    let answer = emulator
        .send("GET", "/keys", Some(&vault.token), None)
        .await;
    assert_eq!(answer.status, 401);
    assert!(answer.error().2.contains("https://managedhsm.azure.net"));
}

#[tokio::test]
async fn errors_are_those_of_vaults() {
    let folder = tempfile::tempdir().unwrap();
    let vault = Vault::start(folder.path(), &[]);
    let missing = "A key with (name/id) none was not found in this key vault. If you recently deleted this key you may be able to recover it using the correct recovery command. For help resolving this issue, please see https://go.microsoft.com/fwlink/?linkid=2125182";
    vault.create("gone", json!({"kty": "EC"})).await;
    vault.call("DELETE", "/keys/gone", None).await.success();
    vault
        .create(
            "off",
            json!({"kty": "EC", "attributes": {"enabled": false}}),
        )
        .await;
    let create = Some(json!({"kty": "EC"}));
    let sign = Some(json!({"alg": "ES256", "value": base64url(&[7; 32])}));
    for (method, path, body, status, code, inner, message) in [
        ("GET", "/keys/none", None, 404, "KeyNotFound", None, missing),
        (
            "POST",
            "/keys/none/rotate",
            None,
            404,
            "KeyNotFound",
            None,
            missing,
        ),
        (
            "GET",
            "/deletedkeys/none",
            None,
            404,
            "KeyNotFound",
            None,
            "Deleted Key not found: none",
        ),
        (
            "POST",
            "/keys/key$%23()!/create",
            create.clone(),
            400,
            "BadParameter",
            None,
            "The request URI contains an invalid name: key$#()!",
        ),
        (
            "POST",
            "/keys/gone/create",
            create,
            409,
            "Conflict",
            Some("ObjectIsDeletedButRecoverable"),
            "Key gone is currently in a deleted but recoverable state, and its name cannot be reused; in this state, the key can only be recovered or purged.",
        ),
        (
            "POST",
            "/keys/off/sign",
            sign,
            403,
            "Forbidden",
            Some("KeyDisabled"),
            "Operation sign is not allowed on a disabled key.",
        ),
        (
            "POST",
            "/keys/off/decrypt",
            Some(json!({"alg": "RSA-OAEP", "value": "AA"})),
            403,
            "Forbidden",
            Some("KeyOperationForbidden"),
            "Operation decrypt is not permitted on this key.",
        ),
        (
            "POST",
            "/rng",
            Some(json!({"count": 1})),
            400,
            "BadParameter",
            None,
            "Method POST does not allow operation 'rng'",
        ),
    ] {
        let answer = vault.call(method, path, body).await;
        let (found_status, found_code, found) = answer.error();
        assert_eq!(
            (found_status, found_code.as_str()),
            (status, code),
            "{path}"
        );
        assert_eq!(found, message, "{path}");
        let expected = inner.map_or(Value::Null, |inner| json!({"code": inner}));
        assert_eq!(answer.json()["error"]["innererror"], expected, "{path}");
    }
    for path in [
        "/settings",
        "/providers/Microsoft.Authorization/roleAssignments",
        "/keys/off/attestation",
    ] {
        assert_eq!(vault.call("GET", path, None).await.status, 400, "{path}");
    }
    // An HSM takes a request without a version, a vault doesn't.
    let keys = format!("{}/keys", vault.url);
    let answer = vault.emulator.call_with(&vault.token, "GET", &keys, None);
    assert_eq!(answer.await.error().2, "api-version must be specified");
}

#[tokio::test]
async fn lists_of_a_vault_end_with_a_null() {
    let folder = tempfile::tempdir().unwrap();
    let vault = Vault::start(folder.path(), &[]);
    for name in ["a", "b"] {
        vault.create(name, json!({"kty": "EC"})).await;
    }
    let first = vault
        .call("GET", "/keys?maxresults=1", None)
        .await
        .success();
    let next = first["nextLink"].as_str().unwrap();
    assert!(next.contains("api-version=7.4&$skiptoken="), "{next}");
    let answer = vault.emulator.call_with(&vault.token, "GET", next, None);
    let last = answer.await.success();
    assert_eq!(last["value"].as_array().unwrap().len(), 1);
    assert_eq!(last.get("nextLink"), Some(&Value::Null));
}

#[tokio::test]
async fn rotation_policies_of_a_vault_notify() {
    let folder = tempfile::tempdir().unwrap();
    let vault = Vault::start(folder.path(), &[]);
    vault.create("k", json!({"kty": "EC-HSM"})).await;
    let path = "/keys/k/rotationpolicy";
    let notice = json!({"trigger": {"timeBeforeExpiry": "P30D"}, "action": {"type": "Notify"}});
    let none = vault.call("GET", path, None).await.success();
    assert_eq!(
        none,
        json!({"lifetimeActions": [notice], "attributes": null})
    );
    let rotate = |kind| json!({"action": {"type": kind}, "trigger": {"timeAfterCreate": "P30D"}});
    let body = json!({"attributes": {"expiryTime": "P90D"}, "lifetimeActions": [rotate("rotate")]});
    let set = vault.call("PUT", path, Some(body)).await.success();
    assert_eq!(set["lifetimeActions"], json!([rotate("Rotate"), notice]));
    assert_eq!(set["id"], format!("{}{path}", vault.url));
    let rotated = vault.call("POST", "/keys/k/rotate", None).await.success();
    let attributes = &rotated["attributes"];
    let time = |name: &str| attributes[name].as_i64().unwrap();
    assert_eq!(time("exp") - time("created"), 90 * 86_400);
}

#[tokio::test]
async fn roles_of_vaults_come_from_the_file_of_principals() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("principals.json");
    let principal = |number: u8, roles: Value| {
        let object_id = format!("00000000-0000-0000-0000-00000000010{number}");
        json!({"client_id": format!("app-{number}"), "object_id": object_id, "roles": roles})
    };
    let principals = json!([
        principal(
            1,
            json!([{"role": "Key Vault Crypto User", "scope": "/keys/a"}])
        ),
        principal(2, json!([{"role": "Key Vault Reader"}])),
        principal(3, json!([{"role": "Key Vault Crypto Officer"}])),
        principal(4, json!([{"role": "Managed HSM Crypto User"}])),
    ]);
    fs::write(&file, principals.to_string()).unwrap();
    let file = file.to_str().unwrap();
    let vault = Vault::start(folder.path(), &["--principals", file]);
    vault.create("a", json!({"kty": "EC"})).await;
    vault.create("b", json!({"kty": "EC"})).await;
    let sign = json!({"alg": "ES256", "value": base64url(&[7; 32])});
    let token = |number: &str| {
        let object_id = format!("00000000-0000-0000-0000-00000000010{number}");
        let arguments = ["--audience", AUDIENCE, "--principal", &object_id];
        vault.emulator.token(&arguments)
    };
    for (number, method, path, body, allowed) in [
        ("1", "POST", "/keys/a/sign", Some(sign.clone()), true),
        ("1", "POST", "/keys/b/sign", Some(sign.clone()), false),
        ("1", "GET", "/keys", None, false),
        ("2", "GET", "/keys", None, true),
        ("2", "GET", "/keys/b", None, true),
        ("2", "POST", "/keys/a/sign", Some(sign.clone()), false),
        (
            "3",
            "POST",
            "/keys/c/create",
            Some(json!({"kty": "EC"})),
            true,
        ),
        ("3", "DELETE", "/keys/c", None, true),
        ("3", "DELETE", "/deletedkeys/c", None, true),
        ("4", "POST", "/keys/a/sign", Some(sign.clone()), false),
    ] {
        let answer = vault.call_as(&token(number), method, path, body).await;
        assert_eq!(
            answer.status.is_success(),
            allowed,
            "{number} {path}: {}",
            answer.body
        );
        if !allowed {
            let (status, code, message) = answer.error();
            assert_eq!((status, code.as_str()), (403, "Forbidden"));
            assert_eq!(
                answer.json()["error"]["innererror"]["code"],
                "ForbiddenByRbac"
            );
            assert!(
                message.starts_with("Caller is not authorized to perform action on resource.\r\n")
            );
            assert!(
                message.contains("Action: 'Microsoft.KeyVault/vaults/keys/"),
                "{message}"
            );
            assert!(
                message.contains("/providers/microsoft.keyvault/vaults/contoso"),
                "{message}"
            );
        }
    }
}

#[tokio::test]
async fn vaults_are_told_from_hsms_by_host_and_each_cloud_has_its_audience() {
    let folder = tempfile::tempdir().unwrap();
    let arguments = [
        "--hsm", "contoso", "--vault", "contoso", "--vault", "fabrikam",
    ];
    let emulator = Emulator::start_with(folder.path(), &arguments);
    let at = |host: &str, path: &str| {
        let url = emulator.url.replace("localhost", host);
        format!("{url}{path}?api-version=7.4")
    };
    let vault = emulator.token(&["--audience", AUDIENCE]);
    let hsm = emulator.token(&[]);
    let create = || Some(json!({"kty": "EC"}));
    for (host, token, kty) in [
        ("contoso.vault.azure.net", &vault, "EC"),
        ("contoso.managedhsm.azure.net", &hsm, "EC-HSM"),
        ("fabrikam.vault.azure.net", &vault, "EC"),
    ] {
        let url = at(host, "/keys/k");
        let found = emulator.call_with(token, "GET", &url, None).await;
        assert_eq!(found.error().1, "KeyNotFound", "{host}");
        let url = at(host, "/keys/k/create");
        let key = emulator.call_with(token, "POST", &url, create()).await;
        assert_eq!(key.success()["key"]["kty"], kty, "{host}");
    }
    // Under localhost a name is the HSM's first.
    for (host, token) in [("contoso.localhost", &hsm), ("fabrikam.localhost", &vault)] {
        let url = at(host, "/keys/k");
        emulator.call_with(token, "GET", &url, None).await.success();
    }
    for service in ["vault", "managedhsm"] {
        for domain in ["usgovcloudapi.net", "azure.cn"] {
            let host = format!("contoso.{service}.{domain}");
            let resource = format!("https://{service}.{domain}");
            let url = at(&host, "/keys/k");
            let challenged = emulator.send("GET", &url, None, None).await;
            let challenge = challenged.headers["www-authenticate"].to_str().unwrap();
            assert!(
                challenge.ends_with(&format!("resource=\"{resource}\"")),
                "{challenge}"
            );
            let token = emulator.token(&["--audience", &resource]);
            let answer = emulator.call_with(&token, "GET", &url, None);
            answer.await.success();
            for other in [&vault, &hsm] {
                let refused = emulator.call_with(other, "GET", &url, None).await;
                assert_eq!(refused.status, 401, "{host}");
            }
        }
    }
    let nobody = at("nobody.vault.azure.net", "/keys");
    let (status, code, message) = emulator
        .call_with(&vault, "GET", &nobody, None)
        .await
        .error();
    assert_eq!((status, code.as_str()), (404, "VaultNotFound"));
    assert!(message.contains("--vault"), "{message}");
}

#[tokio::test]
async fn env_names_the_vault_and_has_a_token_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let vault = Vault::start(folder.path(), &["--vault", "fabrikam"]);
    let emulator = &vault.emulator;
    let exported = |arguments: &[&str], name: &str| {
        let exports = text(&emulator.run("env", arguments).stdout);
        let start = format!("export {name}='");
        let mut lines = exports.lines();
        let line = lines.find_map(|line| line.strip_prefix(&start)).unwrap();
        line.trim_end_matches('\'').to_owned()
    };
    for arguments in [&[][..], &["--identity"], &["--vault", "contoso"]] {
        assert_eq!(exported(arguments, "AZURE_KEYVAULT_URL"), vault.url);
        assert_eq!(exported(arguments, "AZURE_MANAGEDHSM_URL"), emulator.url);
    }
    let fabrikam = exported(&["--vault", "Fabrikam"], "AZURE_KEYVAULT_URL");
    assert_eq!(fabrikam, emulator.further["vault fabrikam"]);
    let token = exported(&["--vault", "fabrikam"], "AZURE_CLI_ACCESS_TOKEN");
    let keys = format!("{fabrikam}/keys?api-version=7.4");
    let answer = emulator.send("GET", &keys, Some(&token), None).await;
    answer.success();
    let output = emulator.run("env", &["--vault", "nobody"]);
    assert!(!output.status.success());
    assert!(text(&output.stderr).contains("no vault 'nobody'"));
}

#[tokio::test]
async fn keys_of_a_vault_outlive_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let vault = Vault::start(folder.path(), &[]);
    let before = vault.create("soft", json!({"kty": "RSA"})).await;
    vault.emulator.kill();
    let vault = Vault::start(folder.path(), &[]);
    let after = vault.call("GET", "/keys/soft", None).await.success();
    assert_eq!(after["key"]["n"], before["key"]["n"]);
    assert_eq!(after["key"]["kty"], "RSA");
}

#[tokio::test]
async fn a_vault_does_no_more_than_its_limits_and_says_so_as_vaults_do() {
    let folder = tempfile::tempdir().unwrap();
    let arguments = ["--capacity", "3", "--control-port", "0"];
    let vault = Vault::start(folder.path(), &arguments);
    // At once it takes what it may do in a second: two new software keys.
    let create = |index: usize| {
        let (path, vault) = (format!("/keys/k{index}/create"), &vault);
        async move { vault.call("POST", &path, Some(json!({"kty": "EC"}))).await }
    };
    let answers = futures_util::future::join_all((0..12).map(create)).await;
    let refused: Vec<_> = answers
        .iter()
        .filter(|answer| !answer.status.is_success())
        .collect();
    assert!(!refused.is_empty() && refused.len() < 12);
    for answer in refused {
        assert_eq!(answer.status, 429);
        assert_eq!(
            answer.body,
            r#"{"error":{"code":"Throttled","message":"Request was not processed because too many requests were received. Reason: VaultRequestTypeLimitReached"}}"#
        );
        assert!(!answer.headers.contains_key("retry-after"));
    }
    let (_, metrics) = vault.emulator.control("GET", "/metrics", "").await;
    let counted = "mhsm_requests_total{vault=\"contoso\",operation=\"create\",status=\"429\"}";
    assert!(metrics.contains(counted), "{metrics}");
}

fn base64url(bytes: &[u8]) -> String {
    let engine = base64::engine::general_purpose::URL_SAFE_NO_PAD;
    base64::Engine::encode(&engine, bytes)
}
