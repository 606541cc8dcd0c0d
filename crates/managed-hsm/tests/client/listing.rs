//! Lists of keys, page by page.

use std::time::Duration;

use managed_hsm::{Client, Error, KeyItem};
use testing::emulator::Options;

use crate::support::{Hsm, says, soon, vault};

/// All pages.
fn list(client: &Client) -> Result<Vec<Vec<KeyItem>>, Error> {
    let mut pages = client.keys(&vault())?;
    std::iter::from_fn(|| pages.next_page(client).transpose()).collect()
}

/// The error of a list whose first page leads to `next`.
fn led_to(hsm: &Hsm, next: &str) -> Error {
    let page = serde_json::json!({"value": [], "nextLink": next}).to_string();
    let fault = serde_json::json!({"kind": "other-body", "operation": "keys", "body": page});
    hsm.fault(&fault.to_string());
    list(&hsm.client()).expect_err("it leads nowhere")
}

#[test]
fn all_pages_are_asked_for_and_each_once() {
    let hsm = Hsm::start();
    let client = hsm.client();
    for number in 0..30 {
        hsm.rest
            .create(&format!("k{number}"), r#"{"kty":"EC-HSM","crv":"P-256"}"#);
    }
    let pages = list(&client).expect("pages");
    let lengths: Vec<usize> = pages.iter().map(Vec::len).collect();
    assert_eq!(lengths, [25, 6]);
    let mut names: Vec<String> = pages
        .concat()
        .iter()
        .map(|item| item.uri.key.to_string())
        .collect();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), 31);
    assert_eq!(hsm.count("keys"), 2);
    assert_eq!(
        hsm.requests("keys")[0].connection,
        hsm.requests("keys")[1].connection
    );
}

#[test]
fn a_listing_of_more_than_any_vault_has_takes_no_more_memory() {
    let hsm = Hsm::start();
    // As many as an answer has room for.
    let one = serde_json::json!({ "kid": "https://h/keys/a" });
    let page = vec![one; 30_000];
    for number in 0..8 {
        let next = format!("{}/keys?page={number}", hsm.emulator.url);
        let body = serde_json::json!({ "value": page, "nextLink": next }).to_string();
        let fault = serde_json::json!({
            "kind": "other-body", "operation": "keys", "count": 1, "body": body,
        });
        hsm.fault(&fault.to_string());
    }
    let error = list(&hsm.client()).expect_err("it has no end");
    says(&error, &["more than 200000 entries"]);
    assert_eq!(hsm.count("keys"), 7);
}

#[test]
fn nothing_is_asked_before_the_first_page_is_wanted() {
    let hsm = Hsm::start();
    let client = hsm.client();
    let _pages = client.keys(&vault()).expect("an address");
    assert_eq!(hsm.connections(), 0);
}

#[test]
fn a_page_is_asked_for_again_after_a_failure_that_passes() {
    let hsm = Hsm::start();
    hsm.fault("unavailable,operation=keys,count=1");
    assert_eq!(list(&hsm.client()).expect("a page").concat().len(), 1);
    assert_eq!(hsm.count("keys"), 2);
}

#[test]
fn a_link_to_another_host_is_not_followed() {
    let hsm = Hsm::start();
    let other = Hsm::start();
    for next in [
        format!("{}/keys?api-version=7.4", other.emulator.url),
        "//evil.example/keys".to_owned(),
        "http://localhost/keys".to_owned(),
    ] {
        says(&led_to(&hsm, &next), &["nextLink leads to another host"]);
    }
    assert_eq!((hsm.count("keys"), other.connections()), (3, 0));
}

#[test]
fn a_link_back_to_a_page_that_came_before_ends_the_list() {
    let hsm = Hsm::start();
    let next = format!("{}/keys?api-version=7.4", hsm.emulator.url);
    says(&led_to(&hsm, &next), &["leads to a page that came before"]);
    assert_eq!(hsm.count("keys"), 1);
}

#[test]
fn a_link_that_is_no_url_ends_the_list() {
    let hsm = Hsm::start();
    says(&led_to(&hsm, "https://["), &["nextLink is not a URL"]);
}

/// Each page leads to one that has not been there before, as pages do that never end.
#[test]
fn a_list_without_an_end_takes_no_longer_than_an_operation_may() {
    // So many that the deadline comes first, whatever else the machine does.
    let page = |number: usize| {
        let next = format!("/keys?api-version=7.4&page={number}");
        let page = serde_json::json!({"value": [], "nextLink": next}).to_string();
        let fault = serde_json::json!({
            "kind": "other-body", "operation": "keys", "count": 1, "body": page,
        });
        serde_json::from_value(fault).expect("a fault")
    };
    let hsm = Hsm::start_with(Options {
        latency: Some("100".parse().expect("milliseconds")),
        faults: (0..50).map(page).collect(),
        ..Options::default()
    });
    let client = hsm.client_with(|settings| settings.operation_timeout = Duration::from_secs(2));
    let error = soon(|| list(&client)).expect_err("it has no end");
    let pages = hsm.count("keys");
    says(
        &error,
        &[&format!("has not ended after {pages} pages and 2 s")],
    );
    assert!((2..=20).contains(&pages), "{pages}");
}
