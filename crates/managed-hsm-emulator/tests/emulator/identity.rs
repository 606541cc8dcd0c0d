//! The token service: logging in by secret, by assertion and as a managed identity, and what is refused.

use std::fs;

use openssl::hash::MessageDigest;
use openssl::pkey::PKey;
use openssl::rsa::Rsa;
use openssl::sign::Signer;
use serde_json::{Value, json};

use crate::running::{Answer, Emulator, text};

const TENANT: &str = "00000000-0000-0000-0000-000000000000";
const APP: &str = "aaaaaaaa-0000-0000-0000-000000000001";
const PRINCIPAL: &str = "aaaaaaaa-0000-0000-0000-000000000002";

async fn log_in(emulator: &Emulator, tenant: &str, form: &[(&str, &str)]) -> Answer {
    let pairs = form.iter().map(|(name, value)| format!("{name}={value}"));
    let body = pairs.collect::<Vec<_>>().join("&");
    let path = format!("/{tenant}/oauth2/v2.0/token");
    emulator.send("POST", &path, None, Some(body)).await
}

fn base64url(bytes: &[u8]) -> String {
    let engine = base64::engine::general_purpose::URL_SAFE_NO_PAD;
    base64::Engine::encode(&engine, bytes)
}

#[tokio::test]
async fn applications_log_in_and_have_their_roles() {
    let folder = tempfile::tempdir().unwrap();
    let key = PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap();
    let pem = text(&key.public_key_to_pem().unwrap());
    let principals = json!([{
        "client_id": APP, "object_id": PRINCIPAL, "client_secret": "s3cret", "assertion_keys": [pem],
        "roles": [{"role": "Managed HSM Crypto Auditor"}],
    }]);
    let file = folder.path().join("principals.json");
    fs::write(&file, principals.to_string()).unwrap();
    let file = file.to_str().unwrap();
    let emulator = Emulator::start_with(
        folder.path(),
        &["--principals", file, "--token-lifetime", "7"],
    );
    let scope = ("scope", "https%3A%2F%2Fmanagedhsm.azure.net%2F.default");
    let grant = ("grant_type", "client_credentials");
    let claims = json!({"exp": 4_000_000_000_u64, "aud": "x"}).to_string();
    let signed = format!(
        "{}.{}",
        base64url(br#"{"alg":"RS256"}"#),
        base64url(claims.as_bytes())
    );
    let mut signer = Signer::new(MessageDigest::sha256(), &key).unwrap();
    let signature = signer.sign_oneshot_to_vec(signed.as_bytes()).unwrap();
    let assertion = format!("{signed}.{}", base64url(&signature));
    for credential in [
        ("client_secret", "s3cret"),
        ("client_assertion", &assertion),
    ] {
        let form = [grant, ("client_id", APP), credential, scope];
        let answer = log_in(&emulator, TENANT, &form).await.success();
        assert_eq!(
            (&answer["expires_in"], &answer["token_type"]),
            (&json!(7), &json!("Bearer"))
        );
        let token = answer["access_token"].as_str().unwrap();
        assert_eq!(
            emulator.call_with(token, "GET", "/keys", None).await.status,
            200
        );
        let denied = emulator
            .call_with(token, "POST", "/rng", Some(json!({"count": 1})))
            .await;
        assert_eq!(denied.status, 403);
    }
    for (tenant, form, status, code) in [
        (
            "other",
            vec![
                grant,
                ("client_id", APP),
                ("client_secret", "s3cret"),
                scope,
            ],
            400,
            "AADSTS90002",
        ),
        (
            TENANT,
            vec![
                grant,
                ("client_id", "none"),
                ("client_secret", "s3cret"),
                scope,
            ],
            400,
            "AADSTS700016",
        ),
        (
            TENANT,
            vec![grant, ("client_id", APP), ("client_secret", "wrong"), scope],
            401,
            "AADSTS7000215",
        ),
        (
            TENANT,
            vec![
                grant,
                ("client_id", APP),
                ("client_assertion", "a.b.c"),
                scope,
            ],
            401,
            "AADSTS700027",
        ),
        (
            TENANT,
            vec![grant, ("client_id", APP), scope],
            401,
            "AADSTS7000218",
        ),
        (
            TENANT,
            vec![
                grant,
                ("client_id", APP),
                ("client_secret", "s3cret"),
                ("scope", "all"),
            ],
            400,
            "AADSTS70011",
        ),
        (TENANT, vec![("grant_type", "password")], 400, "AADSTS70003"),
    ] {
        let answer = log_in(&emulator, tenant, &form).await;
        assert_eq!(answer.status, status, "{code}: {}", answer.body);
        let description = answer.json()["error_description"]
            .as_str()
            .unwrap()
            .to_owned();
        assert!(
            description.starts_with(&format!("{code}: ")),
            "{description}"
        );
    }
}

#[tokio::test]
async fn documents_of_discovery_name_the_token_service() {
    let folder = tempfile::tempdir().unwrap();
    let emulator = Emulator::start(folder.path());
    let path = format!("/{TENANT}/v2.0/.well-known/openid-configuration");
    let answer = emulator.send("GET", &path, None, None).await.success();
    let expected = format!("{}/{TENANT}/oauth2/v2.0/token", emulator.url);
    assert_eq!(answer["token_endpoint"], Value::String(expected));
    let keys = answer["jwks_uri"]
        .as_str()
        .unwrap()
        .strip_prefix(&emulator.url)
        .unwrap();
    let keys = emulator.send("GET", keys, None, None).await.success();
    assert_eq!(keys["keys"][0]["kty"], "RSA");
    let instances = emulator
        .send("GET", "/common/discovery/instance", None, None)
        .await
        .success();
    assert!(
        instances["tenant_discovery_endpoint"]
            .as_str()
            .unwrap()
            .starts_with(&emulator.url)
    );
}

#[tokio::test]
async fn managed_identities_need_their_header() {
    let folder = tempfile::tempdir().unwrap();
    let emulator = Emulator::start(folder.path());
    let query = "resource=https%3A%2F%2Fmanagedhsm.azure.net&api-version=2018-02-01";
    for path in ["/metadata/identity/oauth2/token", "/msi/token"] {
        let answer = emulator
            .send("GET", &format!("{path}?{query}"), None, None)
            .await;
        assert!(answer.status.is_client_error(), "{}", answer.body);
    }
    let exports = text(&emulator.run("env", &["--identity"]).stdout);
    for name in [
        "AZURE_TENANT_ID",
        "AZURE_CLIENT_SECRET",
        "IDENTITY_ENDPOINT",
        "SSL_CERT_FILE",
    ] {
        assert!(exports.contains(&format!("export {name}='")), "{exports}");
    }
}

#[test]
fn principals_that_make_no_sense_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    for (contents, words) in [
        ("{}", "principals"),
        (
            r#"[{"client_id": "a", "object_id": "b", "colour": 1}]"#,
            "colour",
        ),
        (
            r#"[{"client_id": "a", "object_id": "b", "assertion_keys": ["x"]}]"#,
            "assertion key",
        ),
        (
            r#"[{"client_id": "a", "object_id": "b", "roles": [{"role": "King"}]}]"#,
            "King",
        ),
    ] {
        let file = folder.path().join("principals.json");
        fs::write(&file, contents).unwrap();
        let mut serve = crate::running::program("serve", &data);
        let output = serve.arg("--principals").arg(&file).output().unwrap();
        let message = text(&output.stderr);
        assert!(
            !output.status.success() && message.contains(words),
            "{message}"
        );
    }
}
