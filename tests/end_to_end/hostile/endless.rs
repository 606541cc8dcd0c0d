//! What a server says without an end: bytes, interim answers, blanks from time to time, pages.

use std::ffi::OsString;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use testing::built;

use super::KEY;
use super::impostor::{Answer, Guise, Impostor, answer, endless, lead, refusals};
use crate::support::{EC_P256, Hsm, Loading, Outcome, program};

#[test]
fn an_answer_that_is_too_long_or_has_no_end_is_cut_off() {
    const LENGTH: &str =
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 99999999999\r\n\r\n";
    const CHUNKS: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    const HEADERS: &str = "HTTP/1.1 200 OK\r\n";
    let chunk = [b"10000\r\n".to_vec(), vec![b' '; 0x10000], b"\r\n".to_vec()].concat();
    let header = format!("X-Filler: {}\r\n", "a".repeat(1000)).into_bytes();
    for (head, piece, words) in [
        (LENGTH, vec![b' '; 0x10000], "longer than"),
        (CHUNKS, chunk, "longer than"),
        (HEADERS, header, "too large"),
    ] {
        let impostor = Impostor::disguised(&Guise::default(), endless(head, piece));
        let hsm = lead(Hsm::with_keys(&[("k", EC_P256)]), &impostor);
        refusals(&hsm, &[words]);
        assert!(impostor.heard().contains("GET /keys/k?"));
    }
}

/// They come faster than they are looked at, and are cut off at once: neither the time of the
/// operation is waited for, nor is it spent on reading them.
#[test]
fn interim_answers_without_an_end_are_cut_off() {
    let interim = b"HTTP/1.1 100 Continue\r\n\r\n".repeat(1000);
    let impostor = Impostor::disguised(&Guise::default(), endless("", interim));
    let mut hsm = lead(Hsm::with_keys(&[("k", EC_P256)]), &impostor);
    let limit = Duration::from_secs(120);
    hsm.set("AKV_OPERATION_TIMEOUT", &limit.as_secs().to_string());
    let mut openssl = program("openssl");
    let words = "pkey -provider akv_provider -provider default -noout -in";
    openssl.extend(words.split(' ').map(OsString::from));
    let akv = vec![built::program("akv").into(), "key".into(), "pem".into()];
    for words in [openssl, akv] {
        let timed = r#"TIMEFORMAT='took %R %U %S'; time "$@""#;
        let mut line = ["bash", "-c", timed, "bash"].map(OsString::from).to_vec();
        line.extend(words);
        line.push(KEY.into());
        let told = Outcome::of(hsm.limited(&line)).fails_with(&["has no end"]);
        let line = told.lines().find_map(|line| line.strip_prefix("took "));
        let seconds = line.expect("bash tells the times").split(' ');
        let seconds: Vec<f64> = seconds.map(|text| text.parse().expect("seconds")).collect();
        let [elapsed, user, system] = seconds[..] else {
            panic!("{told}");
        };
        assert!(elapsed < limit.as_secs_f64() / 4.0, "{told}");
        assert!(user + system < 5.0, "{told}");
    }
}

/// Each page leads to another one, which has not been there before.
#[test]
fn a_listing_without_an_end_takes_no_longer_than_an_operation_may() {
    let count = AtomicUsize::new(0);
    let page: Answer = Arc::new(move |tls, request| {
        thread::sleep(Duration::from_millis(50));
        let request = String::from_utf8_lossy(request).to_lowercase();
        let host = request.lines().find_map(|line| line.strip_prefix("host: "));
        let (host, number) = (host.expect("a host"), count.fetch_add(1, Ordering::SeqCst));
        let next = format!("https://{host}/keys?api-version=7.4&$skiptoken={number}");
        let body = format!(r#"{{"value":[],"nextLink":"{next}"}}"#);
        let head = "Content-Type: application/json\r\n";
        tls.write_all(answer("200 OK", head, &body).as_bytes())
    });
    let impostor = Impostor::disguised(&Guise::default(), page);
    let mut hsm = lead(Hsm::with_keys(&[("k", EC_P256)]), &impostor);
    hsm.set("AKV_OPERATION_TIMEOUT", "2");
    let listed = hsm.openssl(
        Loading::AkvFirst,
        &["storeutl", "-keys", "managedhsm:MyHSM"],
    );
    listed.fails_with(&["list keys", "has not ended after", "AKV_OPERATION_TIMEOUT"]);
    for listing in ["keys list managedhsm:MyHSM", "keys list managedhsm:MyHSM:k"] {
        hsm.akv_line(listing).fails_with(&["list", "within 2 s"]);
    }
    assert!(impostor.heard().contains("$skiptoken=1"));
}

#[test]
fn an_answer_that_trickles_is_given_up_at_the_deadline() {
    let trickle: Answer = Arc::new(|tls, _| {
        tls.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{")?;
        loop {
            thread::sleep(Duration::from_millis(100));
            tls.write_all(b" ")?;
        }
    });
    let impostor = Impostor::disguised(&Guise::default(), trickle);
    let mut hsm = lead(Hsm::with_keys(&[("k", EC_P256)]), &impostor);
    hsm.set("AKV_OPERATION_TIMEOUT", "1");
    hsm.openssl(Loading::AkvFirst, &["pkey", "-in", KEY, "-noout"])
        .fails_with(&["within 1 s"]);
    hsm.akv(&["key", "pem", KEY]).fails_with(&["within 1 s"]);
}
