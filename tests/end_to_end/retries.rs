//! Failures that pass: what is tried again, and what must not be.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use crate::support::{EC_P256, Hsm, Loading, Outcome, provider_messages, uri};

fn sign(hsm: &Hsm) -> Outcome {
    let (message, signature) = (hsm.write("message", "to be signed"), hsm.path("signature"));
    let sign = [
        "dgst",
        "-sha256",
        "-sign",
        &uri("k"),
        "-out",
        &signature,
        &message,
    ];
    hsm.openssl(Loading::Config, &sign)
}

fn generate(hsm: &Hsm) -> Outcome {
    let key = format!("uri:{}", uri("new"));
    let curve = "ec_paramgen_curve:P-256";
    let properties = ["-propquery", "provider=akv_provider"];
    let generate = [
        "genpkey",
        "-algorithm",
        "EC",
        "-pkeyopt",
        curve,
        "-pkeyopt",
        &key,
    ];
    hsm.openssl(
        Loading::Config,
        &[&generate[..], &properties, &["-out", "/dev/null"]].concat(),
    )
}

fn hsm(fault: &str) -> Hsm {
    let hsm = Hsm::start_with(&["--fault", fault]);
    hsm.create("k", EC_P256);
    hsm
}

#[test]
fn a_signature_is_had_in_spite_of_failures_that_pass() {
    for kind in [
        "throttled",
        "throttled-retry-after",
        "internal-error",
        "unavailable",
        "drop",
        "half-body",
        "close",
    ] {
        let hsm = hsm(&format!("{kind},operation=sign,count=2"));
        sign(&hsm).succeeds();
        let public = hsm.public_key(Loading::Config, &uri("k"));
        let (message, signature) = (hsm.path("message"), hsm.path("signature"));
        hsm.verifies(&["-sha256"], &public, &signature, &message);
    }
}

#[test]
fn a_failure_that_stays_ends_in_one_error_when_all_attempts_are_used_up() {
    let mut hsm = hsm("throttled,operation=sign");
    hsm.set("AKV_MAX_RETRIES", "2");
    let outcome = sign(&hsm);
    let text = outcome.text();
    assert!(!outcome.is_success());
    assert_eq!(provider_messages(&text).len(), 1, "{text}");
    assert!(text.contains("429") && text.contains("Throttled"), "{text}");
    let signs = hsm
        .requests()
        .iter()
        .filter(|request| request.is_sign())
        .count();
    assert_eq!(signs, 3);
}

#[test]
fn nobody_waits_longer_than_the_deadline_for_another_attempt() {
    // The service asks for longer than there is time.
    let mut hsm = hsm("throttled-retry-after,operation=sign");
    hsm.set("AKV_OPERATION_TIMEOUT", "0.5");
    let text = sign(&hsm).text();
    assert!(text.contains("429"), "{text}");
    let signs = hsm
        .requests()
        .iter()
        .filter(|request| request.is_sign())
        .count();
    assert_eq!(signs, 1);
}

#[test]
fn an_answer_that_does_not_come_is_told_with_what_came_before() {
    let mut hsm = Hsm::start_with(&[
        "--fault",
        "unavailable,operation=sign,count=1",
        "--fault",
        "silence,operation=sign",
    ]);
    hsm.create("k", EC_P256);
    hsm.set("AKV_OPERATION_TIMEOUT", "2");
    sign(&hsm).fails_with(&["no answer from", "an attempt before: it answers HTTP 503"]);
}

/// The emulator's log has the requests that it answered: not the one whose connection it dropped.
#[test]
fn a_key_is_made_once_only() {
    for (kind, requests) in [
        ("internal-error", 1),
        ("drop", 0),
        ("unavailable", 1),
        ("throttled", 2),
    ] {
        let hsm = hsm(&format!("{kind},path=/keys/new,count=1"));
        let outcome = generate(&hsm);
        assert_eq!(
            outcome.is_success(),
            requests == 2,
            "{kind}: {}",
            outcome.text()
        );
        let made = hsm
            .requests()
            .into_iter()
            .filter(|request| request.path == "/keys/new/create");
        assert_eq!(made.count(), requests, "{kind}");
    }
}

#[test]
fn another_endpoint_of_the_same_hsm_takes_over() {
    let mut first = Hsm::with_keys(&[("k", EC_P256)]);
    let url = first.variable("AZURE_MANAGEDHSM_URL").to_owned();
    let token = first.variable("AZURE_CLI_ACCESS_TOKEN").to_owned();
    // A replica: the same HSM at another address.
    first.stop();
    let replica = Hsm::replica_of(&first);
    let key = "managedhsm:MyHSM:k";
    let mut client = Hsm::start();
    client.set("AKV_CA_FILE", replica.variable("AKV_CA_FILE"));
    client.set("AZURE_CLI_ACCESS_TOKEN", &token);
    client.unset("AZURE_MANAGEDHSM_URL");
    let other = replica.variable("AZURE_MANAGEDHSM_URL");
    let endpoints = format!("MyHSM={url} MyHSM={other}");
    client.set("AKV_ENDPOINTS", &endpoints);

    // Nobody listens at the first one.
    client
        .openssl(Loading::AkvFirst, &["pkey", "-in", key, "-noout"])
        .succeeds();
    client.akv(&["key", "pem", key]).succeeds();
    let asked = replica.requests().len();
    assert!(asked >= 2, "{asked}");

    // A server goes on when the endpoint that it uses goes away, and when it comes back.
    let certificate = client.certificate(Loading::AkvFirst, key, "k");
    let server = client.serve_tls(Loading::AkvFirst, &["-key", key, "-cert", &certificate]);
    let shake_hands = || {
        for _ in 0..5 {
            let page = client.connect_tls(Loading::Plain, &server, &["-CAfile", &certificate]);
            assert!(page.is_success(), "{}\n{}", page.text(), server.errors());
        }
    };
    shake_hands();
    first.restart(&[]);
    shake_hands();
    drop(replica);
    shake_hands();
    assert!(first.requests().iter().any(|request| request.is_sign()));
}

#[test]
fn an_outage_is_told_at_once() {
    let mut hsm = Hsm::with_keys(&[("k", EC_P256)]);
    let certificate = hsm.certificate(Loading::AkvFirst, "managedhsm:MyHSM:k", "k");
    hsm.set("AKV_LOG_LEVEL", "info");
    let server = hsm.serve_tls(
        Loading::AkvFirst,
        &["-key", "managedhsm:MyHSM:k", "-cert", &certificate],
    );
    hsm.stop();
    let started = Instant::now();
    while !server.errors().contains("has not been healthy for") {
        assert!(
            started.elapsed() < Duration::from_secs(60),
            "{}",
            server.errors()
        );
        hsm.connect_tls(Loading::Plain, &server, &["-CAfile", &certificate])
            .fails_with(&[]);
    }
    let text = server.errors();
    assert!(
        text.contains("is not healthy") && text.contains("refused"),
        "{text}"
    );
}

#[test]
fn an_old_failure_is_no_outage() {
    // Long enough ago that it would be one if it had gone on.
    let mut hsm = Hsm::start_with(&[
        "--latency-ms",
        "50",
        "--fault",
        "unavailable,operation=sign,count=1",
    ]);
    hsm.create("k", EC_P256);
    hsm.set("AKV_MAX_RETRIES", "0");
    let program = hsm.compile("burst");
    hsm.run(&program, &["managedhsm:MyHSM:k", "6", "8"])
        .succeeds();
}

#[test]
fn an_answer_that_does_not_come_is_asked_for_again() {
    let mut hsm = hsm("slow-first-byte,operation=sign,count=2,delay_ms=60000");
    hsm.set("AKV_OPERATION_TIMEOUT", "20");
    sign(&hsm).fails_with(&["no answer", "within 20 s"]);
    let mut hsm = self::hsm("slow-first-byte,operation=sign,count=2,delay_ms=60000");
    hsm.set("AKV_OPERATION_TIMEOUT", "20");
    hsm.set("AKV_RESPONSE_TIMEOUT", "0.5");
    sign(&hsm).succeeds();
}

/// Creating a key is not sent again.
#[test]
fn an_answer_that_must_not_be_asked_for_again_is_waited_for() {
    let mut hsm = hsm("slow-first-byte,path=/keys/new,count=1,delay_ms=1500");
    hsm.set("AKV_RESPONSE_TIMEOUT", "0.5");
    generate(&hsm).succeeds();
    let made = hsm
        .requests()
        .into_iter()
        .filter(|request| request.path == "/keys/new/create");
    assert_eq!(made.count(), 1);
}

#[test]
fn an_operation_that_takes_longer_than_others_did_is_sent_twice() {
    for (hedging, works) in [("no", false), ("yes", true)] {
        let fault = "slow-first-byte,operation=sign,path=/keys/slow,count=1,delay_ms=60000";
        let mut hsm = hsm(fault);
        hsm.create("slow", EC_P256);
        hsm.set("AKV_OPERATION_TIMEOUT", "5");
        hsm.set("AKV_HEDGING", hedging);
        let program = hsm.compile("two_keys");
        let outcome = hsm.run(&program, &[&uri("k"), "40", &uri("slow")]);
        assert_eq!(outcome.is_success(), works, "{}", outcome.text());
        // One request in twenty at most: two of those with the first key, and this one.
        let requests = hsm.requests();
        let signs = requests.iter().filter(|request| request.is_sign());
        let connections: HashSet<u64> = signs.map(|request| request.connection).collect();
        assert!(connections.len() <= 4, "{connections:?}");
    }
}
