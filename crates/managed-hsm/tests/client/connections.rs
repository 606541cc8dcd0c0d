//! How many connections there are, what they speak, and what becomes of idle ones.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use http::Version;
use managed_hsm::{Client, KeyId, Settings};
use testing::emulator::Options;

use crate::support::{Hsm, LONG, SmallStacks, load, meeting, signs};

/// The connections that requests for signatures came on.
fn used(hsm: &Hsm) -> HashSet<u64> {
    let sent = hsm.requests("sign").into_iter();
    sent.map(|request| request.connection).collect()
}

/// Signs so often in each of so many threads.
fn sign_in_threads(client: &Client, key: &KeyId, threads: usize, times: usize) {
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| (0..times).for_each(|_| signs(client, key)));
        }
    });
}

#[test]
fn requests_one_after_the_other_share_a_connection_of_http1() {
    let hsm = Hsm::start();
    let client = hsm.client();
    let key = load(&client);
    for _ in 0..10 {
        signs(&client, &key);
    }
    assert_eq!(hsm.connections(), 1);
    let sent = hsm.requests("sign");
    let is_http1 = |version| version == Version::HTTP_11;
    assert!(sent.iter().all(|request| is_http1(request.version)));
}

#[test]
fn there_are_no_more_connections_than_the_setting_allows() {
    let (hsm, client, key) = meeting("slow-first-byte,operation=sign,delay_ms=20", |settings| {
        settings.max_connections = 2
    });
    sign_in_threads(&client, &key, 8, 2);
    assert_eq!(hsm.count("sign"), 16);
    assert_eq!(used(&hsm).len(), 2);
    assert!(hsm.connections() <= 2, "{}", hsm.connections());
}

#[test]
fn requests_at_the_same_time_have_a_connection_each() {
    let hsm = Hsm::start();
    let client = hsm.client();
    let key = load(&client);
    // Nobody answers before all are there.
    hsm.fault("slow-first-byte,operation=sign,delay_ms=2000");
    sign_in_threads(&client, &key, 4, 1);
    assert_eq!(used(&hsm).len(), 4);
}

#[test]
fn requests_of_small_stacks_share_a_connection_of_http2() {
    let hsm = Hsm::start();
    let client = Client::called_by(hsm.settings(), SmallStacks);
    let key = load(&client);
    sign_in_threads(&client, &key, 8, 5);
    assert_eq!(hsm.count("sign"), 40);
    assert_eq!(used(&hsm).len(), 1);
    let sent = hsm.requests("sign");
    let is_http2 = |version| version == Version::HTTP_2;
    assert!(sent.iter().all(|request| is_http2(request.version)));
}

#[test]
fn requests_of_small_stacks_go_by_http1_where_the_server_has_no_other() {
    let hsm = Hsm::start_with(Options {
        http1_only: true,
        ..Options::default()
    });
    let client = Client::called_by(hsm.settings(), SmallStacks);
    let key = load(&client);
    sign_in_threads(&client, &key, 4, 5);
    let sent = hsm.requests("sign");
    assert_eq!(sent.len(), 20);
    let is_http1 = |version| version == Version::HTTP_11;
    assert!(sent.iter().all(|request| is_http1(request.version)));
}

#[test]
fn a_reset_connection_of_http2_costs_its_requests_a_retry_only() {
    let hsm = Hsm::start();
    let client = Client::called_by(hsm.settings(), SmallStacks);
    let key = load(&client);
    signs(&client, &key);
    hsm.fault("reset,operation=sign,count=1");
    sign_in_threads(&client, &key, 4, 2);
    let answered = hsm.requests("sign").into_iter();
    let answered = answered.filter(|request| request.status == Some(200));
    assert!(answered.count() >= 9);
}

#[test]
fn a_task_of_another_event_loop_may_ask() {
    let hsm = Hsm::start();
    let client = hsm.client();
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    runtime.expect("an event loop").block_on(async {
        let key = load(&client);
        signs(&client, &key);
    });
    assert_eq!(hsm.count("sign"), 1);
}

#[test]
fn a_connection_that_the_server_closes_after_an_answer_costs_no_retry() {
    let (hsm, client, key) = meeting("close,operation=sign,count=1", |_| {});
    signs(&client, &key);
    signs(&client, &key);
    let sent = hsm.requests("sign");
    assert_eq!(sent.len(), 2);
    assert_ne!(sent[0].connection, sent[1].connection);
    assert_eq!(hsm.connections(), 2);
}

#[test]
fn a_connection_that_was_closed_while_it_was_idle_is_replaced() {
    let (hsm, client, key) = meeting("close-idle,operation=sign,count=1,delay_ms=0", |settings| {
        settings.max_retries = 1
    });
    signs(&client, &key);
    let until = Instant::now() + LONG;
    while hsm.emulator.open_connections() > 0 && Instant::now() < until {
        std::thread::yield_now();
    }
    assert_eq!(hsm.emulator.open_connections(), 0);
    signs(&client, &key);
    assert_eq!((hsm.count("sign"), hsm.connections()), (2, 2));
}

#[test]
fn a_closed_client_opens_another_connection_when_it_is_used_again() {
    let hsm = Hsm::start();
    let client = hsm.client();
    let key = load(&client);
    signs(&client, &key);
    client.close();
    signs(&client, &key);
    assert_eq!(hsm.connections(), 2);
}

#[test]
fn an_answer_that_comes_twice_is_not_taken_for_the_next_one() {
    let (_hsm, client, key) = meeting("twice,operation=k,count=1", |_| {});
    load(&client);
    signs(&client, &key);
    load(&client);
}

/// Waits until the emulator has no more connections than it had before the test.
fn all_are_closed(hsm: &Hsm, before: u64) {
    let began = Instant::now();
    while hsm.emulator.open_connections() > before {
        assert!(began.elapsed() < LONG, "a connection stays open");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn connections_are_closed_when_nobody_has_used_them_for_a_while() {
    let hsm = Hsm::start();
    for (is_small, idle_timeout) in [(false, 50), (true, 50), (false, 0), (true, 0)] {
        let settings = Settings {
            idle_timeout: Duration::from_millis(idle_timeout),
            ..hsm.settings()
        };
        let client = match is_small {
            false => Client::new(settings),
            true => Client::called_by(settings, SmallStacks),
        };
        let before = hsm.emulator.open_connections();
        let key = load(&client);
        // What is used after a pause is closed after another one.
        for _ in 0..3 {
            signs(&client, &key);
            all_are_closed(&hsm, before);
        }
    }
}
