//! Who is let in, and what the others are told.

use serde_json::json;

use crate::running::{Answer, Emulator, program, text};

fn assert_challenge(answer: &Answer) {
    assert_eq!(answer.status, 401);
    assert_eq!(
        answer.headers["www-authenticate"],
        "Bearer authorization=\"https://login.microsoftonline.com/00000000-0000-0000-0000-000000000000\", resource=\"https://managedhsm.azure.net\""
    );
}

#[tokio::test]
async fn a_request_without_token_is_challenged_before_anything_else_is_looked_at() {
    let folder = tempfile::tempdir().unwrap();
    let emulator = Emulator::start(folder.path());
    for (method, path, body) in [
        ("GET", "/keys", "OK"),
        ("GET", "/no/such/path?api-version=1", "OK"),
        ("POST", "/keys/bad%20name/create", ""),
        ("PUT", "/keys/a", ""),
        ("DELETE", "/keys/a", ""),
        ("POST", "/rng", ""),
    ] {
        let sent = (method == "POST").then(|| "not JSON".to_owned());
        let answer = emulator.send(method, path, None, sent).await;
        assert_challenge(&answer);
        assert_eq!(answer.body, body, "{method} {path}");
    }
}

#[tokio::test]
async fn bad_tokens_are_refused_and_the_error_names_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let emulator = Emulator::start(folder.path());
    let elsewhere = tempfile::tempdir().unwrap();
    let other = Emulator::start(elsewhere.path());
    let mint = |emulator: &Emulator, arguments: &[&str]| {
        text(&emulator.run("token", arguments).stdout)
            .trim()
            .to_owned()
    };
    for (token, reason) in [
        (
            "nonsense".to_owned(),
            "Error decoding or parsing JWT components (Activity ID: ",
        ),
        (mint(&emulator, &["--expires-in", "-1"]), "expired"),
        (
            mint(&emulator, &["--audience", "https://vault.azure.net"]),
            "audience",
        ),
        (mint(&other, &[]), "trusted issuer"),
    ] {
        let answer = emulator.send("GET", "/keys", Some(&token), None).await;
        assert_challenge(&answer);
        let (_, code, message) = answer.error();
        assert_eq!(code, "Unauthorized");
        assert!(message.contains(reason), "{message}");
        assert!(!emulator.log().contains(&token), "a token in the log");
    }
}

#[tokio::test]
async fn the_activity_id_of_an_error_is_the_request_id() {
    let folder = tempfile::tempdir().unwrap();
    let emulator = Emulator::start(folder.path());
    let answer = emulator.post("/rng", json!({"count": 129})).await;
    let id = answer.headers["x-ms-request-id"].to_str().unwrap();
    let (_, _, message) = answer.error();
    assert!(
        message.ends_with(&format!(" (Activity ID: {id})")),
        "{message}"
    );
    assert!(emulator.log().contains(&format!("request_id={id}")));
}

#[tokio::test]
async fn requests_on_one_kept_connection_share_its_number_in_the_log() {
    let folder = tempfile::tempdir().unwrap();
    let emulator = Emulator::start(folder.path());
    for _ in 0..3 {
        emulator.get("/keys?api-version=7.4").await.success();
    }
    let log = emulator.log();
    let lines: Vec<_> = log.lines().collect();
    assert_eq!(lines.len(), 3, "{log}");
    for line in lines {
        assert!(
            line.contains(" connection=1 method=GET path=/keys status=200 ms="),
            "{line}"
        );
    }
}

#[test]
fn no_token_is_minted_for_a_folder_that_was_never_served() {
    let folder = tempfile::tempdir().unwrap();
    let output = program("token", &folder.path().join("new"))
        .output()
        .unwrap();
    assert!(!output.status.success());
    assert!(text(&output.stderr).contains("managed-hsm-emulator serve"));
}
