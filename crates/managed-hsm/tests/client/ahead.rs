//! Connections that are opened before they are needed.

#![cfg(target_os = "linux")]
#![allow(
    clippy::disallowed_methods,
    reason = "files of the process are read, and no settings"
)]

use std::time::{Duration, Instant};

use managed_hsm::{Client, KeyId};

use crate::support::{Hsm, LONG, load, sign, signs, uri, vault};

/// The key `k`, named without a request.
fn named(client: &Client, key: &KeyId) -> KeyId {
    let id = client.key_id(&vault(), &uri("k").key, &key.version);
    id.expect("an address")
}

/// Waits until there were so many connections, and nobody opens more ahead.
fn are_opened(hsm: &Hsm, count: u64) {
    let until = Instant::now() + LONG;
    while hsm.connections() < count || is_opening() {
        assert!(Instant::now() < until, "{} connections", hsm.connections());
        std::thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(hsm.connections(), count);
}

/// Whether this process has a thread that opens connections, for whichever test.
fn is_opening() -> bool {
    let threads = std::fs::read_dir("/proc/self/task").expect("there is this one");
    let names = threads.flatten().map(|thread| thread.path().join("comm"));
    names
        .filter_map(|name| std::fs::read(name).ok())
        .any(|name| name == b"akv-ahead\n")
}

#[test]
fn a_process_with_a_key_has_connections_and_a_token_before_it_signs() {
    let hsm = Hsm::start();
    let key = load(&hsm.client());
    let mut settings = hsm.login();
    settings.connections_ahead = 2;
    let client = Client::new(settings);
    let before = hsm.connections();
    let key = named(&client, &key);
    // One more asks for the token.
    are_opened(&hsm, before + 3);
    assert_eq!((hsm.count("token"), hsm.count("sign")), (1, 0));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| signs(&client, &key));
        }
    });
    assert_eq!((hsm.connections(), hsm.count("token")), (before + 3, 1));
}

#[test]
fn no_more_are_opened_than_there_may_be() {
    let hsm = Hsm::start();
    let key = load(&hsm.client());
    let client = hsm.client_with(|settings| {
        settings.connections_ahead = 5;
        settings.max_connections = 1;
    });
    let before = hsm.connections();
    let key = named(&client, &key);
    are_opened(&hsm, before + 1);
    signs(&client, &key);
    assert_eq!(hsm.connections(), before + 1);
}

#[test]
fn what_fails_ahead_keeps_no_operation_from_being_tried() {
    let hsm = Hsm::start();
    let key = load(&hsm.client());
    let mut settings = hsm.settings();
    settings.connections_ahead = 1;
    settings.credentials.access_token = None;
    let client = Client::new(settings);
    let key = named(&client, &key);
    let error = sign(&client, &key).expect_err("there is no token");
    assert!(
        error.to_string().contains("AZURE_CLI_ACCESS_TOKEN"),
        "{error}"
    );
}
