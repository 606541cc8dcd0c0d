//! Faults on demand, counters, and the forms of the log.

use serde_json::{Value, json};

use crate::running::Emulator;

fn sign() -> Value {
    json!({"alg": "ES256", "value": "A".repeat(43)})
}

async fn with_key(folder: &std::path::Path, arguments: &[&str]) -> Emulator {
    let arguments = [&["--control-port", "0"], arguments].concat();
    let emulator = Emulator::start_with(folder, &arguments);
    emulator
        .post("/keys/k/create", json!({"kty": "EC"}))
        .await
        .success();
    emulator
}

#[tokio::test]
async fn faults_meet_as_many_requests_as_asked_and_then_all_is_well() {
    let folder = tempfile::tempdir().unwrap();
    let emulator = with_key(folder.path(), &[]).await;
    let path = "/keys/k/sign";
    for (kind, status, retry_after) in [
        ("request-timeout", 408, false),
        ("throttled", 429, false),
        ("throttled-retry-after", 429, true),
        ("internal-error", 500, false),
        ("unavailable", 503, false),
        ("unavailable-retry-after", 503, true),
        ("gateway-timeout", 504, false),
    ] {
        let fault = json!({"kind": kind, "operation": "sign", "count": 2}).to_string();
        assert_eq!(emulator.control("POST", "/faults", &fault).await.0, 201);
        for _ in 0..2 {
            emulator.get("/keys/k").await.success();
            let answer = emulator.post(path, sign()).await;
            assert_eq!(answer.status, status, "{kind}: {}", answer.body);
            assert_eq!(
                answer.headers.contains_key("retry-after"),
                retry_after,
                "{kind}"
            );
            answer.error();
        }
        emulator.post(path, sign()).await.success();
    }
    for kind in ["drop", "reset", "lost-answer", "half-body"] {
        emulator
            .control("POST", "/faults", &format!("{kind},count=1"))
            .await;
        assert!(emulator.try_post(path, &sign()).await.is_err(), "{kind}");
        emulator.post(path, sign()).await.success();
    }
    emulator
        .control("POST", "/faults", "malformed-json,count=1")
        .await;
    let answer = emulator.post(path, sign()).await;
    assert!(serde_json::from_str::<Value>(&answer.body).is_err());
    emulator
        .control("POST", "/faults", "wrong-length,count=1")
        .await;
    let short = emulator.post(path, sign()).await.success();
    assert_eq!(short["value"].as_str().unwrap().len(), 84);
    emulator
        .control("POST", "/faults", "wrong-value,count=1")
        .await;
    let wrong = emulator.post(path, sign()).await.success();
    let verify = json!({"alg": "ES256", "digest": "A".repeat(43), "value": wrong["value"]});
    let verified = emulator.post("/keys/k/verify", verify).await.success();
    assert_eq!(verified["value"], false);
    emulator.control("POST", "/faults", "close,count=1").await;
    emulator.post(path, sign()).await.success();
    for kind in ["slow-first-byte", "slow-body"] {
        emulator
            .control("POST", "/faults", &format!("{kind},count=1,delay_ms=300"))
            .await;
        let start = std::time::Instant::now();
        emulator.post(path, sign()).await.success();
        assert!(start.elapsed().as_millis() >= 290, "{kind}");
    }
    assert_eq!(emulator.control("GET", "/faults", "").await.1, "[]");
}

#[tokio::test]
async fn what_stands_between_a_client_and_the_service_has_faults_too() {
    let folder = tempfile::tempdir().unwrap();
    let emulator = with_key(folder.path(), &[]).await;
    let set = async |fault: &str| {
        let (status, body) = emulator.control("POST", "/faults", fault).await;
        assert_eq!(status, 201, "{body}");
    };
    set("bad-gateway,count=1").await;
    let answer = emulator.post("/keys/k/sign", sign()).await;
    assert!(answer.body.starts_with("<html>"));
    assert_eq!(answer.status, 502);
    set("huge-body,count=1").await;
    let answer = emulator.post("/keys/k/sign", sign()).await;
    assert!(answer.body.len() > 2 << 20);
    let ca = std::fs::read(emulator.data().join("ca.pem")).unwrap();
    let ca = reqwest::Certificate::from_pem(&ca).unwrap();
    let client = reqwest::Client::builder().add_root_certificate(ca);
    let client = client.http1_only().build().unwrap();
    let path = "/keys/k/sign";
    // A client closes a connection with an answer too many on it, so the next request goes well.
    for kind in ["twice", "close-idle"] {
        set(&format!("{kind},count=1,delay_ms=1")).await;
        for _ in 0..2 {
            emulator.post_by(&client, path, &sign()).await.success();
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
    }
    set("garbage,count=1").await;
    let request = client.post(format!("{}{path}", emulator.url));
    let request = request.header(
        "Authorization",
        format!("Bearer {}", emulator.token(&[]).trim()),
    );
    assert!(request.body(sign().to_string()).send().await.is_err());
    set("silence,count=1").await;
    let patience = std::time::Duration::from_millis(300);
    let path = "/keys/silent/create";
    let body = json!({"kty": "EC"});
    let silent = tokio::time::timeout(patience, emulator.try_post(path, &body)).await;
    assert!(silent.is_err(), "there was an answer");
    assert_eq!(emulator.get("/keys/silent").await.status, 404);
}

#[tokio::test]
async fn a_lost_answer_was_given_and_a_reset_request_was_not_carried_out() {
    let folder = tempfile::tempdir().unwrap();
    let emulator = with_key(folder.path(), &[]).await;
    for (kind, versions) in [("reset", 1), ("lost-answer", 2)] {
        let fault = format!("{kind},operation=create,count=1");
        emulator.control("POST", "/faults", &fault).await;
        let body = json!({"kty": "EC"});
        assert!(emulator.try_post("/keys/k/create", &body).await.is_err());
        let listed = emulator.get("/keys/k/versions").await.success();
        assert_eq!(listed["value"].as_array().unwrap().len(), versions);
    }
}

#[tokio::test]
async fn new_connections_meet_faults_of_their_own() {
    use std::io::{ErrorKind, Read, Write};
    let folder = tempfile::tempdir().unwrap();
    let emulator = with_key(folder.path(), &[]).await;
    let address = emulator.url.strip_prefix("https://").unwrap().to_owned();
    // What a client hears that says something and waits.
    let heard = |address: String| {
        let mut stream = std::net::TcpStream::connect(address).unwrap();
        let patience = std::time::Duration::from_millis(500);
        stream.set_read_timeout(Some(patience)).unwrap();
        let mut bytes = Vec::new();
        // A reset is told once, by whichever of them comes first.
        let said = stream.write_all(b"hello").err();
        let end = said.or_else(|| stream.read_to_end(&mut bytes).err());
        (end.map(|error| error.kind()), bytes)
    };
    for (kind, end, bytes) in [
        ("connection-reset", Some(ErrorKind::ConnectionReset), ""),
        ("broken-handshake", None, ""),
        ("garbage-handshake", None, "HTTP/1.1 400"),
        ("no-handshake", Some(ErrorKind::WouldBlock), ""),
    ] {
        let fault = format!("{kind},count=1");
        emulator.control("POST", "/faults", &fault).await;
        let heard = heard(address.clone());
        assert_eq!(heard.0, end, "{kind}");
        assert!(heard.1.starts_with(bytes.as_bytes()), "{kind}");
    }
    let (status, body) = emulator
        .control("POST", "/faults", "no-handshake,operation=sign")
        .await;
    assert_eq!(status, 400, "{body}");
    emulator.get("/keys/k").await.success();
}

#[tokio::test]
async fn faults_can_be_set_by_flag_seen_and_cleared() {
    let folder = tempfile::tempdir().unwrap();
    let emulator = with_key(folder.path(), &["--fault", "unavailable,path=/keys/k/sign"]).await;
    assert_eq!(emulator.post("/keys/k/sign", sign()).await.status, 503);
    let (_, listed) = emulator.control("GET", "/faults", "").await;
    assert!(listed.contains("unavailable"), "{listed}");
    assert_eq!(emulator.control("DELETE", "/faults", "").await.0, 204);
    emulator.post("/keys/k/sign", sign()).await.success();
    for wrong in [
        "fire",
        "{}",
        r#"{"kind":"drop","share":2}"#,
        r#"{"kind":"drop","colour":1}"#,
    ] {
        let (status, body) = emulator.control("POST", "/faults", wrong).await;
        assert_eq!(status, 400, "{wrong}: {body}");
    }
    let output = emulator.run("serve", &["--fault", "fire"]);
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        !output.status.success() && message.contains("half-body"),
        "{message}"
    );
}

#[tokio::test]
async fn a_dropped_request_is_not_carried_out() {
    let folder = tempfile::tempdir().unwrap();
    let emulator = with_key(folder.path(), &["--fault", "drop,operation=rotate"]).await;
    let before = emulator.get("/keys/k").await.success();
    assert!(
        emulator
            .try_post("/keys/k/rotate", &json!({}))
            .await
            .is_err()
    );
    assert_eq!(emulator.get("/keys/k").await.success(), before);
}

#[tokio::test]
async fn claims_are_asked_for_once_a_token_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let emulator = with_key(
        folder.path(),
        &[
            "--fault",
            "claims-challenge,path=/keys/k,operation=sign,count=1",
        ],
    )
    .await;
    // Without a token, the usual challenge.
    let answer = emulator.send("POST", "/keys/k/sign", None, None).await;
    let challenge = answer.headers["www-authenticate"].to_str().unwrap();
    assert!(!challenge.contains("claims"), "{challenge}");
    let answer = emulator.post("/keys/k/sign", sign()).await;
    assert_eq!(answer.status, 401);
    let challenge = answer.headers["www-authenticate"].to_str().unwrap();
    let claims = challenge.split_once("error=\"insufficient_claims\", claims=\"");
    let claims = claims.unwrap().1.trim_end_matches('"');
    let claims = openssl::base64::decode_block(claims).unwrap();
    let claims: Value = serde_json::from_slice(&claims).unwrap();
    assert_eq!(claims["access_token"]["nbf"]["essential"], true);
    emulator.post("/keys/k/sign", sign()).await.success();
}

#[tokio::test]
async fn counters_count() {
    let folder = tempfile::tempdir().unwrap();
    let emulator = with_key(folder.path(), &[]).await;
    for _ in 0..3 {
        emulator.post("/keys/k/sign", sign()).await.success();
    }
    emulator.get("/keys/none").await;
    let (status, text) = emulator.control("GET", "/metrics", "").await;
    assert_eq!(status, 200);
    for line in [
        "mhsm_requests_total{hsm=\"default\",operation=\"sign\",status=\"200\"} 3",
        "mhsm_requests_total{hsm=\"default\",operation=\"create\",status=\"200\"} 1",
        "mhsm_requests_total{hsm=\"default\",operation=\"get\",status=\"404\"} 1",
        "mhsm_request_seconds_count 5",
        "mhsm_connections_total 1",
        "mhsm_connections_open 1",
        "mhsm_tls_handshakes_total 1",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}: {text}");
    }
}

#[tokio::test]
async fn the_log_can_be_json() {
    let folder = tempfile::tempdir().unwrap();
    let emulator = with_key(folder.path(), &["--log-format", "json"]).await;
    let log = emulator.log();
    let line: Value = serde_json::from_str(log.lines().next().unwrap()).unwrap();
    assert_eq!(line["path"], "/keys/k/create");
    assert_eq!(line["status"], 200);
}

#[tokio::test]
async fn the_certificate_changes_when_it_is_told_to() {
    let folder = tempfile::tempdir().unwrap();
    let emulator = Emulator::start_with(folder.path(), &["--control-port", "0"]);
    let show = async |shown: &str| emulator.control("PUT", "/certificate", shown).await;
    for (shown, is_good) in [
        ("expired", false),
        ("other-host", false),
        ("other-authority", false),
        ("renewed", true),
    ] {
        assert_eq!(show(shown).await.0, 200);
        let (status, text) = emulator.control("GET", "/certificate", "").await;
        assert_eq!((status, text), (200, format!(r#"{{"shown":"{shown}"}}"#)));
        // A client of its own: the others keep their connections.
        let curl = std::process::Command::new("curl")
            .args(["--silent", "--output", "/dev/null", "--cacert"])
            .arg(folder.path().join("emulator/ca.pem"))
            .arg(format!("{}/keys?api-version=7.4", emulator.url))
            .status()
            .unwrap();
        // 60: the certificate can't be verified.
        assert_eq!(curl.code(), Some(if is_good { 0 } else { 60 }), "{shown}");
    }
    assert_eq!(show("self-made").await.0, 400);
}
