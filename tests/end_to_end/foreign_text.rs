//! What the service says reaches a person and the log as one bounded line of characters that can be
//! seen, without the token, wherever it stands in the answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use crate::hostile::{Answer, Guise, Impostor, answer, lead, secret};
use crate::support::{EC_P256, Hsm, Loading, sample};

const KEY: &str = "managedhsm:MyHSM:k";

/// What a terminal obeys, a line of its own, and what changes the direction of writing.
const EVIL: &str =
    "\u{1b}]0;pwned\u{7}\u{1b}[31m\r\nforged line\u{202e}\u{2028}\u{9b}31m\u{7f} token=";

/// The longest line that anything prints, in bytes: a table's cells and a log line are bounded.
const LONGEST_LINE: usize = 4096;

/// A service that answers every request with the same, or, where there are two answers, with one
/// after the other.
fn service(answers: Vec<String>) -> Impostor {
    let next = AtomicUsize::new(0);
    let answer: Answer = Arc::new(move |tls, _request| {
        let turn = next.fetch_add(1, Ordering::Relaxed);
        std::io::Write::write_all(tls, answers[turn % answers.len()].as_bytes())
    });
    Impostor::disguised(&Guise::default(), answer)
}

/// The answer that a good HSM gives for the key, changed in some members of the key.
fn changed(hsm: &Hsm, members: Value) -> String {
    let mut bundle = hsm.key("k");
    for (name, value) in members.as_object().expect("members") {
        bundle["key"][name] = value.clone();
    }
    // A listing reads this one.
    bundle["value"] = json!([{ "kid": bundle["key"]["kid"] }]);
    good(&bundle)
}

fn good(body: &Value) -> String {
    let head = "Content-Type: application/json\r\n";
    answer("200 OK", head, &body.to_string())
}

/// All answers, each with a name.
fn answers(hsm: &Hsm) -> Vec<(&'static str, Vec<String>)> {
    let token = hsm.variable("AZURE_CLI_ACCESS_TOKEN");
    let evil = format!("{EVIL}{token}");
    let key = changed(hsm, json!({}));
    let kid = hsm.key("k")["key"]["kid"]
        .as_str()
        .expect("a kid")
        .to_owned();
    let refusal = json!({ "error": { "code": format!("Key{EVIL}"), "message": evil } });
    let id = format!(
        "x-ms-request-id: x\tretries=0] status=200 {token} {}\r\n",
        "Q".repeat(6000)
    );
    let signed =
        |kid: String, value: Value| vec![key.clone(), good(&json!({ "kid": kid, "value": value }))];
    vec![
        ("kid", vec![changed(hsm, json!({ "kid": evil }))]),
        (
            "a kid after a good one",
            vec![changed(hsm, json!({ "kid": format!("{kid}{evil}") }))],
        ),
        (
            "a long kid",
            vec![changed(hsm, json!({ "kid": "A".repeat(900_000) }))],
        ),
        ("crv", vec![changed(hsm, json!({ "crv": evil }))]),
        ("kty", vec![changed(hsm, json!({ "kty": evil }))]),
        (
            "key_ops",
            vec![changed(hsm, json!({ "key_ops": ["sign", evil] }))],
        ),
        (
            "the type of key_ops",
            vec![changed(hsm, json!({ "key_ops": evil }))],
        ),
        ("a coordinate", vec![changed(hsm, json!({ "x": evil }))]),
        (
            "a refusal",
            vec![answer("404 Not Found", "", &refusal.to_string())],
        ),
        ("no JSON", vec![answer("200 OK", "", &evil)]),
        (
            "a reason phrase",
            vec![answer("404 \u{202e}forged", "", "")],
        ),
        (
            "a request id",
            vec![answer("404 Not Found", &id, &refusal.to_string())],
        ),
        (
            "a good key's request id",
            vec![key.replacen("\r\n", &format!("\r\n{id}"), 1)],
        ),
        (
            "a signature's kid",
            signed(format!("{kid}{evil}"), json!("AAAA")),
        ),
        (
            "a signature's type",
            signed(kid.clone(), json!({ evil.clone(): 1 })),
        ),
        ("a signature", signed(kid, json!(evil))),
        ("a released key", vec![good(&json!({ "value": evil }))]),
        (
            "a token as a released key",
            vec![good(&json!({ "value": token }))],
        ),
        ("an attestation", vec![good(&attested(hsm, &evil))]),
    ]
}

/// The key with an attestation of this version.
fn attested(hsm: &Hsm, version: &str) -> Value {
    let mut bundle = hsm.key("k");
    bundle["attributes"]["attestation"] = json!({ "version": version });
    bundle
}

#[test]
fn what_the_service_says_is_shown_in_one_line_without_the_token() {
    let mut hsm = Hsm::with_keys(&[("k", EC_P256)]);
    let message = hsm.write("message", "hello");
    let attestation = hsm.write("attestation", "e30.e30.e30");
    let release = ["keys", "release", KEY, "--attestation", &attestation];
    let all = answers(&hsm);
    let environment = hsm.environment.clone();
    for (name, answers) in sample(all, 3) {
        hsm.environment = environment.clone();
        let impostor = service(answers);
        hsm = lead(hsm, &impostor);
        hsm.set("AKV_LOG_LEVEL", "debug");
        hsm.set("AKV_OPERATION_TIMEOUT", "5");
        let outcomes = [
            hsm.openssl(Loading::AkvFirst, &["pkey", "-in", KEY, "-text", "-noout"]),
            hsm.openssl(
                Loading::AkvFirst,
                &["dgst", "-sha256", "-sign", KEY, &message],
            ),
            hsm.openssl(
                Loading::AkvFirst,
                &["storeutl", "-keys", "managedhsm:MyHSM"],
            ),
            hsm.akv(&["keys", "show", KEY]),
            hsm.akv(&["keys", "show", KEY, "--json"]),
            hsm.akv(&["keys", "list", "managedhsm:MyHSM"]),
            hsm.akv(&["keys", "attestation", KEY]),
            hsm.akv(&["keys", "attestation", KEY, "--json"]),
            hsm.akv(&release),
            hsm.akv(&[&release[..], &["--json"]].concat()),
            hsm.akv(&["sign", KEY, &message]),
            hsm.akv(&["doctor", KEY]),
        ];
        for outcome in outcomes {
            let text = outcome.text();
            let problem = unfit(&text, &secret(&hsm));
            assert_eq!(problem, None, "{name}: {outcome:?}");
            // No error without a text.
            let is_told = text.lines().any(|line| {
                line.contains("managedhsm:MyHSM") && line.len() > "akv: managedhsm:MyHSM".len()
            });
            assert!(outcome.is_success() || is_told, "{name}: {outcome:?}");
        }
    }
}

/// What is wrong with a text.
fn unfit(text: &str, secret: &str) -> Option<String> {
    let hidden = |character: char| {
        character != '\n'
            && character != ' '
            && character.escape_debug().count() > 1
            && !matches!(character, '\'' | '"' | '\\')
    };
    if let Some(character) = text.chars().find(|character| hidden(*character)) {
        return Some(format!("it holds {character:?}"));
    }
    if text.contains(secret) {
        return Some("it holds the token".to_owned());
    }
    let mut lines = text.lines();
    lines.find_map(|line| {
        let forged = line.trim_start().starts_with("forged");
        let long = line.len() > LONGEST_LINE;
        (forged || long).then(|| format!("a line: {}", &line[..line.len().min(200)]))
    })
}
