//! Asynchronous jobs: one thread carries many signatures while the HSM works.

use std::collections::HashSet;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::Stdio;

use crate::support::{EC_P256, Hsm, Loading, RSA_2048, Request, openssl_is_at_least, uri};

const JOBS: usize = 8;

/// An HSM that takes its time, so that jobs overlap. The first request of all goes alone, to find
/// out what the server speaks.
fn slow_hsm(options: &[&str]) -> Hsm {
    let hsm = Hsm::start_with(&[&["--latency-ms", "50"], options].concat());
    hsm.create("rsa", RSA_2048);
    hsm.create("p521", r#"{"kty":"EC-HSM","crv":"P-521"}"#);
    hsm
}

fn connections(requests: &[Request]) -> HashSet<u64> {
    let signatures = requests.iter().filter(|request| request.is_sign());
    signatures.map(|request| request.connection).collect()
}

#[test]
fn jobs_of_one_thread_are_under_way_at_the_same_time() {
    for protocol in [&[][..], &["--http1"]] {
        let hsm = slow_hsm(protocol);
        let program = hsm.compile("async");
        for key in ["rsa", "p521"] {
            for mode in ["fds", "callback", "spurious", "blocked", "abandon"] {
                let before = hsm.requests().len();
                let printed = hsm
                    .run(&program, &[&uri(key), &JOBS.to_string(), mode])
                    .succeeds();
                let connections = connections(&hsm.requests()[before..]).len();
                let carries_many = protocol.is_empty();
                match mode {
                    // One after the other: the first, and those after it.
                    "blocked" => assert_eq!(connections, 1 + usize::from(carries_many)),
                    // Those, and the one of the thread itself.
                    "abandon" if carries_many => assert!(connections <= 3, "{connections}"),
                    "abandon" => assert!(connections >= JOBS, "{connections}"),
                    _ => {
                        assert!(printed.contains(&format!("{JOBS} of {JOBS}")), "{printed}");
                        let expected = if carries_many { 2 } else { JOBS };
                        assert_eq!(connections, expected, "{mode} {protocol:?}");
                    }
                }
            }
        }
    }
}

/// libcrypto gives a job 32 KiB, and nothing tells who writes beyond them. Callers have to have
/// some of it, too.
#[test]
fn a_job_has_the_stack_for_every_operation() {
    // Since then a program may give the stacks.
    if !openssl_is_at_least(3, 5) {
        return;
    }
    let mut hsm = Hsm::with_keys(&[("rsa", RSA_2048), ("ec", EC_P256)]);
    hsm.set("AKV_API_VERSION", "2026-05-01-preview");
    let mut arguments = vec!["20480".to_owned()];
    for (key, digest) in [("rsa", "SHA256"), ("ec", "SHA256")] {
        arguments.extend([uri(key), digest.to_owned()]);
    }
    for set in ["ML-DSA-44", "ML-DSA-65", "ML-DSA-87"] {
        hsm.create(set, &format!(r#"{{"kty":"AKP-HSM","alg":"{set}"}}"#));
        arguments.extend([uri(set), "-".to_owned()]);
    }
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    hsm.run(&hsm.compile("job_stack"), &arguments).succeeds();
}

/// Whoever is asked next may speak HTTP/2, or not.
#[test]
fn a_server_may_change_what_it_speaks() {
    for (first, then) in [(&[][..], &["--http1"][..]), (&["--http1"], &[])] {
        let mut hsm = slow_hsm(first);
        let program = hsm.compile("async");
        let mut command = hsm.command(&program);
        let signing = command
            .args([&uri("rsa"), "8", "restart"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn();
        let mut signing = signing.expect("the program runs");
        let mut lines = BufReader::new(signing.stdout.take().expect("a pipe")).lines();
        assert_eq!(lines.next().expect("a line").expect("text"), "signed");
        hsm.stop();
        hsm.restart(then);
        let mut input = signing.stdin.take().expect("a pipe");
        input.write_all(b"\n").expect("it listens");
        assert!(signing.wait().expect("it ends").success(), "{first:?}");
    }
}

#[test]
fn jobs_leave_alone_what_has_the_numbers_of_their_descriptors_and_what_is_their_parents() {
    for protocol in [&[][..], &["--http1"]] {
        let hsm = slow_hsm(protocol);
        let program = hsm.compile("async");
        for mode in ["taken", "child"] {
            let arguments = [&uri("rsa"), &JOBS.to_string(), mode];
            hsm.run(&program, &arguments).succeeds();
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
    let mut hsm = slow_hsm(&["--http1"]);
    hsm.set("AKV_MAX_CONNECTIONS", "3");
    let program = hsm.compile("async");
    hsm.run(&program, &[&uri("rsa"), "16", "fds"]).succeeds();
    assert_eq!(connections(&hsm.requests()).len(), 3);
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
