//! Failures that pass: what is tried again, and what must not be.

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
        let verify = [
            "dgst",
            "-sha256",
            "-verify",
            &public,
            "-signature",
            &signature,
            &message,
        ];
        hsm.openssl(Loading::Plain, &verify).succeeds();
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
