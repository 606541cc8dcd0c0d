//! The token service: logging in by secret, by assertion and as a managed identity, and what is
//! refused.

mod endpoints;
mod managed;

use std::fs;
use std::path::Path;

use openssl::asn1::Asn1Time;
use openssl::hash::MessageDigest;
use openssl::pkey::{PKey, Private};
use openssl::rsa::{Padding, Rsa};
use openssl::sign::{RsaPssSaltlen, Signer};
use openssl::x509::{X509, X509Name};
use serde_json::{Value, json};

use self::managed::ask;
use crate::running::{Answer, Emulator, program, text};

const TENANT: &str = "00000000-0000-0000-0000-000000000000";
const APP: &str = "aaaaaaaa-0000-0000-0000-000000000001";
const PRINCIPAL: &str = "aaaaaaaa-0000-0000-0000-000000000002";
const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
const SCOPE: (&str, &str) = ("scope", "https%3A%2F%2Fmanagedhsm.azure.net%2F.default");
const GRANT: (&str, &str) = ("grant_type", "client_credentials");
const FAR: u64 = 4_000_000_000;

async fn log_in(emulator: &Emulator, tenant: &str, form: &[(&str, &str)]) -> Answer {
    let pairs = form.iter().map(|(name, value)| format!("{name}={value}"));
    let body = pairs.collect::<Vec<_>>().join("&");
    let path = format!("/{tenant}/oauth2/v2.0/token");
    emulator.send("POST", &path, None, Some(body)).await
}

/// Logs the application in by an assertion.
async fn assert_with(emulator: &Emulator, assertion: &str) -> Answer {
    let kind = ("client_assertion_type", ASSERTION_TYPE);
    let assertion = ("client_assertion", assertion);
    let form = [GRANT, ("client_id", APP), kind, assertion, SCOPE];
    log_in(emulator, TENANT, &form).await
}

fn assert_refused(answer: &Answer, status: u16, words: &[&str]) {
    assert_eq!(answer.status, status, "{}", answer.body);
    let description = answer.json()["error_description"]
        .as_str()
        .unwrap()
        .to_owned();
    for words in words {
        assert!(description.contains(words), "{words}: {description}");
    }
}

/// An emulator with one principal besides the owner.
fn with_principal(folder: &Path, principal: Value, arguments: &[&str]) -> Emulator {
    let file = folder.join("principals.json");
    fs::write(&file, json!([principal]).to_string()).unwrap();
    let arguments = [&["--principals", file.to_str().unwrap()], arguments].concat();
    Emulator::start_with(folder, &arguments)
}

fn base64url(bytes: &[u8]) -> String {
    let engine = base64::engine::general_purpose::URL_SAFE_NO_PAD;
    base64::Engine::encode(&engine, bytes)
}

fn rsa_key() -> PKey<Private> {
    PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap()
}

/// Of a key, by itself, from now for so many days.
fn certificate(key: &PKey<Private>, days: u32) -> X509 {
    let mut name = X509Name::builder().unwrap();
    name.append_entry_by_text("CN", "a test").unwrap();
    let name = name.build();
    let mut builder = X509::builder().unwrap();
    builder.set_subject_name(&name).unwrap();
    builder.set_issuer_name(&name).unwrap();
    builder.set_pubkey(key).unwrap();
    let start = Asn1Time::from_unix(1_600_000_000).unwrap();
    builder.set_not_before(&start).unwrap();
    let end = match days {
        0 => Asn1Time::from_unix(1_600_000_001).unwrap(),
        days => Asn1Time::days_from_now(days).unwrap(),
    };
    builder.set_not_after(&end).unwrap();
    builder.sign(key, MessageDigest::sha256()).unwrap();
    builder.build()
}

fn signed(key: &PKey<Private>, header: &Value, claims: &Value) -> String {
    let part = |json: &Value| base64url(json.to_string().as_bytes());
    let signed = format!("{}.{}", part(header), part(claims));
    let mut signer = Signer::new(MessageDigest::sha256(), key).unwrap();
    if header["alg"] == "PS256" {
        signer.set_rsa_padding(Padding::PKCS1_PSS).unwrap();
        signer
            .set_rsa_pss_saltlen(RsaPssSaltlen::DIGEST_LENGTH)
            .unwrap();
    }
    let signature = signer.sign_oneshot_to_vec(signed.as_bytes()).unwrap();
    format!("{signed}.{}", base64url(&signature))
}

/// What an application claims of itself.
fn own_claims(emulator: &Emulator) -> Value {
    let aud = format!("{}/{TENANT}/oauth2/v2.0/token", emulator.url);
    json!({"aud": aud, "iss": APP, "sub": APP, "jti": "1", "nbf": 1, "exp": FAR})
}

fn x5t(certificate: &X509, digest: MessageDigest) -> String {
    base64url(&certificate.digest(digest).unwrap())
}

#[tokio::test]
async fn applications_log_in_by_their_secret_and_have_their_roles() {
    let folder = tempfile::tempdir().unwrap();
    let principal = json!({
        "client_id": APP, "object_id": PRINCIPAL, "client_secret": "s3cret",
        "roles": [{"role": "Managed HSM Crypto Auditor"}],
    });
    let emulator = with_principal(folder.path(), principal, &["--token-lifetime", "77"]);
    let right = ("client_secret", "s3cret");
    let form = [GRANT, ("client_id", APP), right, SCOPE];
    let answer = log_in(&emulator, TENANT, &form).await.success();
    assert_eq!(
        (&answer["expires_in"], &answer["token_type"]),
        (&json!(77), &json!("Bearer"))
    );
    let token = answer["access_token"].as_str().unwrap();
    let allowed = emulator.call_with(token, "GET", "/keys", None).await;
    allowed.success();
    let denied = emulator
        .call_with(token, "POST", "/rng", Some(json!({"count": 1})))
        .await;
    assert_eq!(denied.status, 403);
    let client = ("client_id", APP);
    for (tenant, form, status, code) in [
        (
            "other",
            vec![GRANT, client, right, SCOPE],
            400,
            "AADSTS90002: ",
        ),
        (
            TENANT,
            vec![GRANT, ("client_id", "none"), right, SCOPE],
            400,
            "AADSTS700016: ",
        ),
        (
            TENANT,
            vec![GRANT, client, ("client_secret", "wrong"), SCOPE],
            401,
            "AADSTS7000215: ",
        ),
        (TENANT, vec![GRANT, client, SCOPE], 401, "AADSTS7000218: "),
        (
            TENANT,
            vec![GRANT, client, right, ("scope", "all")],
            400,
            "AADSTS70011: ",
        ),
        (
            TENANT,
            vec![GRANT, client, ("client_assertion", "a.b.c"), SCOPE],
            400,
            "AADSTS900144: ",
        ),
        (
            TENANT,
            vec![("grant_type", "password")],
            400,
            "AADSTS70003: ",
        ),
    ] {
        let answer = log_in(&emulator, tenant, &form).await;
        assert_refused(&answer, status, &[code]);
    }
    let answer = log_in(&emulator, "other", &[GRANT]).await.json();
    for name in ["error", "timestamp", "trace_id", "correlation_id"] {
        assert!(answer[name].is_string(), "{name}: {answer}");
    }
    assert_eq!(answer["error_codes"], json!([90002]));
}

#[tokio::test]
async fn applications_log_in_by_a_registered_certificate() {
    let folder = tempfile::tempdir().unwrap();
    let (key, other, old) = (rsa_key(), rsa_key(), rsa_key());
    let registered = certificate(&key, 30);
    let expired = certificate(&old, 0);
    let pem = |certificate: &X509| text(&certificate.to_pem().unwrap());
    let principal = json!({
        "client_id": APP, "object_id": PRINCIPAL, "certificates": [pem(&expired), pem(&registered)],
        "roles": [{"role": "Managed HSM Crypto User"}],
    });
    let emulator = with_principal(folder.path(), principal, &["--control-port", "0"]);
    let claims = own_claims(&emulator);
    let sha1 = json!(x5t(&registered, MessageDigest::sha1()));
    let sha256 = json!(x5t(&registered, MessageDigest::sha256()));
    for header in [
        json!({"alg": "RS256", "typ": "JWT", "x5t": sha1}),
        json!({"alg": "PS256", "typ": "JWT", "x5t#S256": sha256}),
        json!({"alg": "PS256", "typ": "JWT", "x5t#S256": sha256, "x5t": "AA"}),
    ] {
        let answer = assert_with(&emulator, &signed(&key, &header, &claims)).await;
        let token = answer.success()["access_token"]
            .as_str()
            .unwrap()
            .to_owned();
        let body = Some(json!({"count": 1}));
        emulator
            .call_with(&token, "POST", "/rng", body)
            .await
            .success();
    }
    // Azure's own address is good as an audience, too.
    let mut azure = claims.clone();
    azure["aud"] = json!(format!("https://login.microsoftonline.com/{TENANT}/v2.0"));
    let header = json!({"alg": "PS256", "x5t#S256": sha256});
    assert_with(&emulator, &signed(&key, &header, &azure))
        .await
        .success();

    let with = |name: &str, value: Value| {
        let mut claims = claims.clone();
        claims[name] = value;
        claims
    };
    let unknown =
        json!({"alg": "PS256", "x5t#S256": x5t(&certificate(&other, 30), MessageDigest::sha256())});
    let expired = json!({"alg": "PS256", "x5t#S256": x5t(&expired, MessageDigest::sha256())});
    for (assertion, words) in [
        (
            signed(&other, &unknown, &claims),
            &[
                "AADSTS700027: ",
                "is not registered on application",
                "The key was not found.",
            ][..],
        ),
        (
            signed(&key, &json!({"alg": "RS256"}), &claims),
            &["AADSTS700027: ", "The key was not found."],
        ),
        (
            signed(&other, &header, &claims),
            &["AADSTS700027: ", "invalid signature", "did not match"],
        ),
        (
            signed(&key, &json!({"alg": "RS512", "x5t#S256": sha256}), &claims),
            &["AADSTS700027: ", "invalid signature"],
        ),
        (signed(&old, &expired, &claims), &["AADSTS1000502: "]),
        (
            signed(&key, &header, &with("exp", json!(1_700_000_000))),
            &[
                "AADSTS700024: ",
                "assertion valid from 1970-01-01T00:00:01",
                "expiry time of assertion 2023-11-14T22:13:20",
            ],
        ),
        (
            signed(&key, &header, &with("nbf", json!(FAR))),
            &["AADSTS700024: "],
        ),
        (
            signed(&key, &header, &with("exp", Value::Null)),
            &["AADSTS700024: "],
        ),
        (
            signed(
                &key,
                &header,
                &with("aud", json!("https://example.com/x/v2.0")),
            ),
            &["AADSTS700023: "],
        ),
        (
            signed(&key, &header, &with("sub", json!("another"))),
            &["AADSTS700021: "],
        ),
        ("a.b.c".to_owned(), &["AADSTS50027: "]),
    ] {
        assert_refused(&assert_with(&emulator, &assertion).await, 401, words);
    }
    // The text names the certificate that the application signed with.
    let stranger = certificate(&other, 30);
    let thumbprint = stranger.digest(MessageDigest::sha1()).unwrap();
    let thumbprint = thumbprint.iter().map(|byte| format!("{byte:02X}"));
    let thumbprint = thumbprint.collect::<String>();
    let thumbprint = format!("Thumbprint of key used by client: '{thumbprint}'");
    let header = json!({"alg": "RS256", "x5t": x5t(&stranger, MessageDigest::sha1())});
    let answer = assert_with(&emulator, &signed(&other, &header, &claims)).await;
    assert_refused(&answer, 401, &["AADSTS700027: ", &thumbprint]);
    let (_, metrics) = emulator.control("GET", "/metrics", "").await;
    for line in [
        "mhsm_tokens_issued_total{grant=\"certificate\"} 4",
        "mhsm_tokens_refused_total{error=\"AADSTS700027\"} 5",
        "mhsm_tokens_refused_total{error=\"AADSTS700024\"} 3",
    ] {
        assert!(
            metrics.lines().any(|found| found == line),
            "{line}: {metrics}"
        );
    }
}

#[tokio::test]
async fn tokens_of_a_registered_issuer_are_as_good_as_a_secret() {
    let folder = tempfile::tempdir().unwrap();
    let (key, other) = (rsa_key(), rsa_key());
    let subject = "system:serviceaccount:Web:signer";
    let principal = json!({
        "client_id": APP, "object_id": PRINCIPAL,
        "federated_credentials": [
            {"issuer": "https://oidc.example", "subject": subject, "keys": [text(&key.public_key_to_pem().unwrap())]},
            // The emulator's own tokens.
            {"issuer": format!("https://sts.windows.net/{TENANT}/"), "subject": "an-identity"},
        ],
    });
    let emulator = with_principal(folder.path(), principal, &["--control-port", "0"]);
    let claims = json!({
        "iss": "https://oidc.example", "sub": subject, "aud": "api://AzureADTokenExchange", "exp": FAR,
    });
    let header = json!({"alg": "RS256", "kid": "any"});
    let with = |name: &str, value: &str| {
        let mut claims = claims.clone();
        claims[name] = json!(value);
        signed(&key, &header, &claims)
    };
    assert_with(&emulator, &signed(&key, &header, &claims))
        .await
        .success();
    let own = ["--audience", "api://AzureADTokenExchange", "--principal"];
    let token = |subject| emulator.token(&[&own[..], &[subject]].concat());
    assert_with(&emulator, &token("an-identity"))
        .await
        .success();
    let mut expired = claims.clone();
    expired["exp"] = json!(1_700_000_000);
    for (assertion, words) in [
        (
            with("iss", "https://oidc.example/"),
            &["AADSTS700211: ", "issuer 'https://oidc.example/'"][..],
        ),
        (
            with("sub", "somebody"),
            &[
                "AADSTS700213: ",
                "assertion subject 'somebody'. Check your federated",
            ],
        ),
        (
            with("sub", &subject.to_lowercase()),
            &["AADSTS7002138: ", "case-insensitive"],
        ),
        (token("somebody"), &["AADSTS700213: "]),
        (
            with("aud", "api://other"),
            &["AADSTS700212: ", "audience 'api://other'"],
        ),
        (signed(&other, &header, &claims), &["AADSTS50013: "]),
        (
            signed(&key, &json!({"alg": "PS256"}), &claims),
            &["AADSTS50013: "],
        ),
        (signed(&key, &header, &expired), &["AADSTS700024: "]),
    ] {
        assert_refused(&assert_with(&emulator, &assertion).await, 401, words);
    }
    // The owner's application has none at all.
    let owner = "00000000-0000-0000-0000-000000000002";
    let assertion = signed(&key, &header, &claims);
    let kind = ("client_assertion_type", ASSERTION_TYPE);
    let form = [
        GRANT,
        ("client_id", owner),
        kind,
        ("client_assertion", &assertion),
        SCOPE,
    ];
    let answer = log_in(&emulator, TENANT, &form).await;
    let words = ["AADSTS70021: ", "Assertion Issuer: 'https://oidc.example'"];
    assert_refused(&answer, 400, &words);
    let (_, metrics) = emulator.control("GET", "/metrics", "").await;
    let issued = "mhsm_tokens_issued_total{grant=\"federated\"} 2";
    assert!(metrics.lines().any(|line| line == issued), "{metrics}");
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
async fn the_lifetime_of_tokens_can_be_changed_while_it_runs() {
    let folder = tempfile::tempdir().unwrap();
    let arguments = ["--control-port", "0", "--token-lifetime", "5"];
    let emulator = Emulator::start_with(folder.path(), &arguments);
    let secret = exported(&emulator, "AZURE_CLIENT_SECRET");
    let owner = ("client_id", "00000000-0000-0000-0000-000000000002");
    let form = [GRANT, owner, ("client_secret", &secret), SCOPE];
    let (status, seconds) = emulator.control("GET", "/token-lifetime", "").await;
    assert_eq!((status, seconds.as_str()), (200, r#"{"seconds":5}"#));
    // Of 0 seconds, so that no clock decides.
    for (seconds, status) in [("0", 401), ("3600", 200)] {
        let set = emulator.control("PUT", "/token-lifetime", seconds).await;
        assert_eq!(set, (200, format!("{{\"seconds\":{seconds}}}")));
        let answer = log_in(&emulator, TENANT, &form).await.success();
        assert_eq!(answer["expires_in"].to_string(), seconds);
        let token = answer["access_token"].as_str().unwrap();
        let answer = emulator.call_with(token, "GET", "/keys", None).await;
        assert_eq!(answer.status, status, "{}", answer.body);
    }
    assert_eq!(
        emulator.control("PUT", "/token-lifetime", "long").await.0,
        400
    );
}

#[tokio::test]
async fn the_token_service_meets_the_faults_that_name_it() {
    let folder = tempfile::tempdir().unwrap();
    let arguments = ["--control-port", "0", "--metadata-port", "0"];
    let emulator = Emulator::start_with(folder.path(), &arguments);
    let secret = exported(&emulator, "AZURE_CLIENT_SECRET");
    let owner = ("client_id", "00000000-0000-0000-0000-000000000002");
    let form = [GRANT, owner, ("client_secret", &secret), SCOPE];
    let url = format!(
        "{}/metadata/identity/oauth2/token?api-version=2018-02-01&resource=https://vault.azure.net",
        emulator.further["metadata"]
    );
    let metadata = Some(("Metadata", "true"));
    for (kind, status) in [
        ("throttled", 429),
        ("internal-error", 500),
        ("unavailable", 503),
    ] {
        let fault = format!("{kind},path=/{TENANT}/oauth2,count=1");
        emulator.control("POST", "/faults", &fault).await;
        let answer = log_in(&emulator, TENANT, &form).await;
        assert_refused(&answer, status, &["AADSTS900"]);
        assert!(!answer.headers.contains_key("retry-after"));
        log_in(&emulator, TENANT, &form).await.success();

        let fault = format!("{kind},path=/metadata,count=1");
        emulator.control("POST", "/faults", &fault).await;
        log_in(&emulator, TENANT, &form).await.success();
        assert_eq!(ask(&url, metadata).await.0, status);
        assert_eq!(ask(&url, metadata).await.0, 200);
    }
    let fault = "throttled-retry-after,operation=token,count=1";
    emulator.control("POST", "/faults", fault).await;
    let answer = log_in(&emulator, TENANT, &form).await;
    assert_eq!(answer.headers["retry-after"], "1");
    let fault = "slow-first-byte,operation=token,count=1,delay_ms=300";
    emulator.control("POST", "/faults", fault).await;
    let start = std::time::Instant::now();
    log_in(&emulator, TENANT, &form).await.success();
    assert!(start.elapsed().as_millis() >= 290);
    let fault = "drop,operation=token,count=1";
    emulator.control("POST", "/faults", fault).await;
    let request = reqwest::Client::new().get(&url).header("Metadata", "true");
    assert!(request.send().await.is_err());
    // What names neither is for the HSM: nobody would reach it who can't log in.
    emulator
        .control("POST", "/faults", "unavailable,count=1")
        .await;
    log_in(&emulator, TENANT, &form).await.success();
    assert_eq!(emulator.get("/keys").await.status, 503);
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
            r#"[{"client_id": "a", "object_id": "b", "certificates": ["x"]}]"#,
            "a certificate",
        ),
        (
            r#"[{"client_id": "a", "object_id": "b", "federated_credentials": [{"issuer": "i", "subject": "s", "keys": ["x"]}]}]"#,
            "a key of an issuer",
        ),
        (
            r#"[{"client_id": "a", "object_id": "b", "federated_credentials": [{"issuer": "i", "subject": "s"}]}]"#,
            "has no keys",
        ),
        (
            r#"[{"client_id": "a", "object_id": "b", "roles": [{"role": "King"}]}]"#,
            "King",
        ),
    ] {
        let file = folder.path().join("principals.json");
        fs::write(&file, contents).unwrap();
        let mut serve = program("serve", &data);
        let output = serve.arg("--principals").arg(&file).output().unwrap();
        let message = text(&output.stderr);
        assert!(
            !output.status.success() && message.contains(words),
            "{message}"
        );
    }
}

fn exported(emulator: &Emulator, name: &str) -> String {
    let exports = text(&emulator.run("env", &["--identity"]).stdout);
    let start = format!("export {name}='");
    let mut lines = exports.lines();
    let value = lines.find_map(|line| line.strip_prefix(&start)).unwrap();
    value.trim_end_matches('\'').to_owned()
}
