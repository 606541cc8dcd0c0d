//! What is sent again, how often, and what is not.
#![allow(
    clippy::disallowed_methods,
    reason = "a test reads the audit log of its own emulator"
)]

use std::time::{Duration, Instant};

use managed_hsm::{Curve, Error, NewKey, NewKeyKind};
use serde_json::Value;
use testing::ReservedPort;
use testing::emulator::Options;

use crate::support::{Hsm, load, meeting, says, sign, signs, soon, vault};

/// A signature that meets a fault twice comes of the third request.
#[track_caller]
fn is_retried(fault: &str) -> Hsm {
    let (hsm, client, key) = meeting(&format!("{fault},operation=sign,count=2"), |_| {});
    signs(&client, &key);
    assert_eq!(hsm.count("sign"), 3);
    hsm
}

#[test]
fn a_request_timeout_is_retried() {
    is_retried("request-timeout");
}

#[test]
fn throttling_is_retried_on_the_same_connection() {
    let hsm = is_retried("throttled");
    assert_eq!(hsm.connections(), 1);
}

/// So that what a program did can be found in Azure's audit log.
#[test]
fn each_request_has_a_name_in_the_audit_log_whatever_its_attempts() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("audit.log");
    let hsm = Hsm::start_with(Options {
        audit_log: Some(file.clone()),
        ..Options::default()
    });
    let client = hsm.client();
    let key = load(&client);
    hsm.fault("throttled,operation=sign,count=2");
    signs(&client, &key);
    signs(&client, &key);
    let log = std::fs::read_to_string(&file).expect("an audit log");
    let records = log
        .lines()
        .map(|line| serde_json::from_str(line).expect("a record"));
    let ids: Vec<String> = records
        .filter(|record: &Value| record["operationName"] == "KeySign")
        .map(|record| record["correlationId"].as_str().expect("a name").to_owned())
        .collect();
    let [first, second, third, other] = &ids[..] else {
        panic!("{ids:?}");
    };
    assert!(
        first == second && second == third && third != other,
        "{ids:?}"
    );
    let group = |id: &String| id.split('-').map(str::len).collect::<Vec<_>>();
    assert_eq!(group(first), [8, 4, 4, 4, 12], "a UUID");
}

#[test]
fn an_internal_error_is_retried() {
    is_retried("internal-error");
}

#[test]
fn a_bad_gateway_is_retried() {
    is_retried("bad-gateway");
}

#[test]
fn an_unavailable_service_is_retried() {
    is_retried("unavailable");
}

#[test]
fn a_gateway_timeout_is_retried() {
    is_retried("gateway-timeout");
}

#[test]
fn a_reset_is_retried_on_another_connection() {
    let hsm = is_retried("reset");
    assert_eq!(hsm.connections(), 3);
}

#[test]
fn a_closed_connection_is_retried_on_another_one() {
    let hsm = is_retried("drop");
    assert_eq!(hsm.connections(), 3);
}

#[test]
fn a_lost_answer_of_an_operation_is_retried() {
    is_retried("lost-answer");
}

#[test]
fn half_an_answer_is_retried() {
    is_retried("half-body");
}

#[test]
fn a_connection_that_is_reset_before_tls_is_opened_again() {
    let hsm = Hsm::start();
    hsm.fault("connection-reset,count=2");
    let client = hsm.client();
    load(&client);
    assert_eq!((hsm.count("k"), hsm.connections()), (1, 3));
}

#[test]
fn a_request_is_sent_again_as_often_as_the_setting_says() {
    for max_retries in [0, 1, 3] {
        let hsm = Hsm::start();
        let client = hsm.client_with(|settings| settings.max_retries = max_retries);
        let key = load(&client);
        hsm.fault("throttled,operation=sign");
        let error = sign(&client, &key).expect_err("it is throttled");
        assert!(
            matches!(error, Error::Service { status: 429, .. }),
            "{error}"
        );
        assert_eq!(hsm.count("sign"), max_retries as usize + 1);
    }
}

/// How often a request is sent that is throttled once, with a header in the answer.
#[track_caller]
fn sent_with(header: &str) -> usize {
    let hsm = Hsm::start();
    let client = hsm.client();
    let key = load(&client);
    let fault = serde_json::json!({
        "kind": "throttled", "operation": "sign", "count": 1, "header": header,
    });
    hsm.fault(&fault.to_string());
    let outcome = soon(|| sign(&client, &key));
    let sent = hsm.count("sign");
    assert_eq!(outcome.is_ok(), sent == 2, "{outcome:?}");
    sent
}

#[test]
fn seconds_of_retry_after_are_waited_for_unless_they_are_too_many() {
    assert_eq!(sent_with("Retry-After: 0"), 2);
    assert_eq!(sent_with("Retry-After: 3000"), 1);
}

#[test]
fn a_date_of_retry_after_is_waited_for_unless_it_is_too_late() {
    assert_eq!(sent_with("Retry-After: Sun, 06 Nov 1994 08:49:37 GMT"), 2);
    assert_eq!(sent_with("Retry-After: Fri, 31 Dec 2100 23:59:59 GMT"), 1);
}

#[test]
fn milliseconds_are_waited_for_unless_they_are_too_many() {
    for name in ["retry-after-ms", "x-ms-retry-after-ms"] {
        assert_eq!(sent_with(&format!("{name}: 1")), 2);
        assert_eq!(sent_with(&format!("{name}: 3000000")), 1);
    }
}

fn new_key() -> NewKey {
    NewKey {
        kind: NewKeyKind::Ec(Curve::P256),
        ..NewKey::default()
    }
}

#[test]
fn a_key_is_not_created_again_where_it_may_have_been_created() {
    for fault in ["lost-answer", "reset", "unavailable", "half-body"] {
        let hsm = Hsm::start();
        let client = hsm.client();
        // The connection is there, so that it isn't lost before the request is sent.
        load(&client);
        let before = hsm.count("create");
        hsm.fault(&format!("{fault},operation=create"));
        let name = "new".parse().expect("a name");
        let created = client.create_key(&vault(), &name, &new_key());
        assert!(created.is_err(), "{fault}");
        assert_eq!(hsm.count("create") - before, 1, "{fault}");
    }
}

#[test]
fn a_key_is_created_again_where_it_was_certainly_not_created() {
    let hsm = Hsm::start();
    let client = hsm.client();
    let before = hsm.count("create");
    hsm.fault("throttled,operation=create,count=2");
    let name = "new".parse().expect("a name");
    let created = client.create_key(&vault(), &name, &new_key());
    assert_eq!(created.expect("a key").id.key.as_str(), "new");
    assert_eq!(hsm.count("create") - before, 3);
}

#[test]
fn a_key_is_not_deleted_again_where_it_may_have_been_deleted() {
    let hsm = Hsm::start();
    let client = hsm.client();
    load(&client);
    let before = hsm.count("k");
    hsm.fault("lost-answer,operation=k");
    let name = "k".parse().expect("a name");
    let error = client.delete_key(&vault(), &name).expect_err("no answer");
    assert!(matches!(error, Error::Undecided { .. }), "{error:?}");
    says(
        &error,
        &["no answer from", "may have been done", "look before"],
    );
    assert_eq!(hsm.count("k") - before, 1);
    // What never came there was not done.
    hsm.emulator.stop();
    let error = client
        .delete_key(&vault(), &name)
        .expect_err("nobody is there");
    assert!(!error.to_string().contains("may have been done"), "{error}");
}

#[test]
fn what_the_service_refuses_is_asked_once() {
    let hsm = Hsm::start();
    let client = hsm.client();
    let missing = client.get_key(&crate::support::uri("none"));
    assert!(matches!(missing, Err(Error::Service { status: 404, .. })));
    assert_eq!(hsm.count("none"), 1);
}

#[test]
fn bytes_that_are_not_http_are_asked_for_once() {
    let (hsm, client, key) = meeting("garbage,operation=sign", |_| {});
    let error = sign(&client, &key).expect_err("it makes no sense");
    says(&error, &["not HTTP", "does not speak HTTP"]);
    assert_eq!(hsm.count("sign"), 1);
}

/// For longer than an outage has to last.
#[test]
fn what_fails_in_the_hsm_with_one_key_keeps_nobody_from_others() {
    let (hsm, client, key) = meeting("internal-error,operation=sign", |settings| {
        settings.max_retries = 0;
    });
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(6) {
        let error = sign(&client, &key).expect_err("it fails");
        assert_eq!(error.status(), Some(500), "{error}");
        std::thread::sleep(Duration::from_millis(100));
    }
    load(&client);
    drop(hsm);
}

#[test]
fn a_refused_connection_is_given_up_long_before_the_deadline() {
    let hsm = Hsm::start();
    let port = ReservedPort::take();
    let client = hsm.client_with(|settings| {
        settings.endpoint = Some(port.url().parse().expect("a URL"));
        settings.max_retries = 100;
    });
    let error = soon(|| client.get_key(&crate::support::uri("k"))).expect_err("nobody listens");
    assert!(matches!(error, Error::Connect { .. }), "{error}");
    says(&error, &["refused", &port.url(), "nothing listens there"]);
}
