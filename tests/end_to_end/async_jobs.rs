//! Asynchronous jobs: one thread carries many signatures while the HSM works.

use std::collections::HashSet;

use crate::support::{EC_P256, Hsm, Loading, RSA_2048, uri};

const JOBS: usize = 8;

/// An HSM that takes its time, so that jobs overlap.
fn slow_hsm() -> Hsm {
    let hsm = Hsm::start_with(&["--latency-ms", "50"]);
    hsm.create("rsa", RSA_2048);
    hsm.create("p521", r#"{"kty":"EC-HSM","crv":"P-521"}"#);
    hsm
}

#[test]
fn jobs_of_one_thread_are_under_way_at_the_same_time() {
    let hsm = slow_hsm();
    let program = hsm.compile("async");
    for key in ["rsa", "p521"] {
        for mode in ["fds", "callback", "spurious", "blocked", "abandon"] {
            let before = hsm.requests().len();
            let printed = hsm
                .run(&program, &[&uri(key), &JOBS.to_string(), mode])
                .succeeds();
            let requests = &hsm.requests()[before..];
            let signatures = requests.iter().filter(|request| request.is_sign());
            let connections: HashSet<u64> = signatures.map(|request| request.connection).collect();
            match mode {
                // One after the other.
                "blocked" => assert_eq!(connections.len(), 1),
                "abandon" => assert!(connections.len() >= JOBS),
                _ => {
                    assert!(printed.contains(&format!("{JOBS} of {JOBS}")), "{printed}");
                    assert_eq!(connections.len(), JOBS);
                }
            }
        }
    }
}

#[test]
fn jobs_that_never_pause_leave_no_descriptor() {
    let hsm = Hsm::start();
    hsm.create("ec", r#"{"kty":"EC-HSM","crv":"P-256"}"#);
    let program = hsm.compile("async");
    hsm.run(&program, &[&uri("ec"), "64", "quick"]).succeeds();
}

#[test]
fn there_are_never_more_connections_than_are_allowed() {
    let mut hsm = slow_hsm();
    hsm.set("AKV_MAX_CONNECTIONS", "3");
    let program = hsm.compile("async");
    hsm.run(&program, &[&uri("rsa"), "16", "fds"]).succeeds();
    let requests = hsm.requests();
    let signatures = requests.iter().filter(|request| request.is_sign());
    let connections: HashSet<u64> = signatures.map(|request| request.connection).collect();
    assert_eq!(connections.len(), 3);
}

#[test]
fn a_server_with_asynchronous_handshakes_serves() {
    let hsm = Hsm::with_keys(&[("ec", EC_P256), ("rsa", RSA_2048)]);
    for key in ["ec", "rsa"] {
        let certificate = hsm.certificate(Loading::Config, &uri(key), key);
        for protocol in ["-tls1_2", "-tls1_3"] {
            let arguments = ["-async", "-key", &uri(key), "-cert", &certificate];
            let server = hsm.serve_tls(Loading::Config, &arguments);
            for _ in 0..3 {
                let arguments = [protocol, "-CAfile", certificate.as_str()];
                hsm.connect_tls(Loading::Plain, &server, &arguments)
                    .succeeds();
            }
        }
    }
}
