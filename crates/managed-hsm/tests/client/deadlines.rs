//! Each deadline: what the emulator saw before it, and that nobody waits much longer.

use std::time::{Duration, Instant};

use managed_hsm::{Client, Curve, Error, NewKey, NewKeyKind, Settings};

use crate::support::{Hsm, LONG, SmallStacks, load, meeting, says, sign, signs, soon, uri, vault};

/// Long enough for any answer that comes at once, also on a busy machine.
const SHORT: Duration = Duration::from_secs(2);

#[test]
fn a_request_without_an_answer_is_sent_again_on_another_connection() {
    let (hsm, client, key) = meeting("silence,operation=sign,count=1", |settings| {
        settings.response_timeout = SHORT
    });
    soon(|| signs(&client, &key));
    let sent = hsm.requests("sign");
    assert_eq!(sent.len(), 2);
    assert_eq!((sent[0].status, sent[1].status), (None, Some(200)));
    assert_ne!(sent[0].connection, sent[1].connection);
}

#[test]
fn an_answer_that_is_too_slow_is_asked_for_again() {
    let (hsm, client, key) = meeting(
        "slow-body,operation=sign,count=1,delay_ms=600000",
        |settings| settings.response_timeout = SHORT,
    );
    soon(|| signs(&client, &key));
    assert_eq!(hsm.count("sign"), 2);
}

#[test]
fn an_operation_ends_with_its_deadline_whatever_may_still_be_tried() {
    let hsm = Hsm::start();
    let client = hsm.client_with(|settings| {
        settings.operation_timeout = SHORT;
        settings.response_timeout = SHORT / 4;
        settings.max_retries = 100;
    });
    let key = load(&client);
    hsm.fault("silence,operation=sign");
    let error = soon(|| sign(&client, &key)).expect_err("nobody answers");
    assert!(matches!(error, Error::Timeout { .. }), "{error}");
    // Four fit in.
    let sent = hsm.count("sign");
    assert!((2..=4).contains(&sent), "{sent}");
}

/// Whoever has less time for several requests than the settings give to each.
#[test]
fn a_request_ends_when_its_caller_has_no_more_time() {
    let hsm = Hsm::start();
    let settings = || Settings {
        operation_timeout: LONG,
        response_timeout: LONG,
        ..hsm.settings()
    };
    let key = load(&hsm.client());
    hsm.fault("silence,operation=sign");
    for client in [
        Client::new(settings()),
        Client::called_by(settings(), SmallStacks),
    ] {
        let error = soon(|| sign(&client.until(Instant::now() + SHORT), &key));
        match error.expect_err("nobody answers") {
            Error::Timeout { after, .. } => assert!(after <= SHORT, "{after:?}"),
            other => panic!("{other}"),
        }
    }
}

#[test]
fn an_operation_of_several_requests_has_one_deadline() {
    let hsm = Hsm::start();
    let client = hsm.client_with(|settings| settings.operation_timeout = SHORT);
    load(&client);
    hsm.fault("slow-first-byte,operation=rng,delay_ms=700");
    let began = Instant::now();
    let random = client.random_bytes(&vault(), 10 * 128);
    let error = random.expect_err("ten times 0.7 s are too much");
    assert!(matches!(error, Error::Timeout { .. }), "{error}");
    assert!(began.elapsed() < SHORT + SHORT / 2);
    assert_eq!(hsm.count("rng"), 3);

    hsm.fault("slow-first-byte,operation=k,delay_ms=1200");
    let one = client.for_one_operation();
    one.get_key(&uri("k")).expect("it is in time");
    let late = one.get_key(&uri("k")).expect_err("the time is over");
    assert!(matches!(late, Error::Timeout { .. }), "{late}");
    client.get_key(&uri("k")).expect("it has its own time");
}

/// How late a caller is depends on the machine, too, but not each time.
#[test]
fn a_deadline_is_kept_to_a_tenth_of_a_second() {
    const TIMEOUT: Duration = Duration::from_millis(500);
    let hsm = Hsm::start();
    let settings = || Settings {
        operation_timeout: TIMEOUT,
        ..hsm.settings()
    };
    let key = load(&hsm.client());
    hsm.fault("silence,operation=sign");
    for client in [
        Client::new(settings()),
        Client::called_by(settings(), SmallStacks),
    ] {
        let is_kept = (0..20).any(|_| {
            let began = Instant::now();
            let error = sign(&client, &key).expect_err("nobody answers");
            assert!(matches!(error, Error::Timeout { .. }), "{error}");
            let late = began.elapsed().checked_sub(TIMEOUT);
            late.expect("it waits until then") < Duration::from_millis(100)
        });
        assert!(is_kept, "twenty operations were late");
    }
}

#[test]
fn what_may_not_be_repeated_has_all_the_time_of_its_operation() {
    let hsm = Hsm::start();
    let client = hsm.client_with(|settings| {
        settings.operation_timeout = SHORT;
        settings.response_timeout = SHORT / 8;
    });
    let before = hsm.count("create");
    hsm.fault("silence,operation=create");
    let key = NewKey {
        kind: NewKeyKind::Ec(Curve::P256),
        ..NewKey::default()
    };
    let created = soon(|| client.create_key(&vault(), &"new".parse().expect("a name"), &key));
    match created.as_ref().map_err(Error::reason) {
        Err(Error::Timeout { after, .. }) => assert_eq!(*after, SHORT),
        other => panic!("{other:?}"),
    }
    assert_eq!(hsm.count("create") - before, 1);
}

#[test]
fn a_connection_that_does_not_come_about_is_not_waited_for_twice() {
    let hsm = Hsm::start();
    let client = hsm.client_with(|settings| settings.connect_timeout = SHORT / 4);
    hsm.fault("no-handshake");
    let error = soon(|| client.get_key(&uri("k"))).expect_err("nobody says hello");
    says(&error, &["timed out", "firewalls"]);
    assert_eq!((hsm.count("k"), hsm.connections()), (0, 1));
}

#[test]
fn a_slow_handshake_is_waited_for() {
    let hsm = Hsm::start();
    hsm.fault("slow-handshake,count=1,delay_ms=300");
    load(&hsm.client());
    assert_eq!(hsm.connections(), 1);
}

#[test]
fn a_retry_that_the_deadline_leaves_no_time_for_is_not_made() {
    let (hsm, client, key) = meeting(
        "unavailable,operation=sign,header=Retry-After: 20",
        |settings| settings.operation_timeout = LONG / 4,
    );
    let error = sign(&client, &key).expect_err("it is unavailable");
    assert!(
        matches!(error, Error::Service { status: 503, .. }),
        "{error}"
    );
    assert_eq!(hsm.count("sign"), 1);
}

#[test]
fn callers_with_small_stacks_have_the_same_deadline() {
    let hsm = Hsm::start();
    let settings = Settings {
        operation_timeout: SHORT,
        ..hsm.settings()
    };
    let client = Client::called_by(settings, SmallStacks);
    let key = load(&client);
    hsm.fault("silence,operation=sign");
    let error = soon(|| sign(&client, &key)).expect_err("nobody answers");
    assert!(matches!(error, Error::Timeout { .. }), "{error}");
    assert_eq!(hsm.count("sign"), 1);
}
