//! Several endpoints of one vault: which is asked, and when another one is.

use std::time::Duration;

use managed_hsm::{Client, Error, Settings};
use testing::ReservedPort;
use testing::emulator::Shown;
use url::Url;

use crate::support::{Hsm, load, sign, signs, soon, uri, vault};

/// Two emulators with the same keys.
pub(crate) struct Replicas {
    pub(crate) first: Hsm,
    pub(crate) second: Hsm,
}

impl Replicas {
    pub(crate) fn start() -> Self {
        Self {
            first: Hsm::start(),
            second: Hsm::start(),
        }
    }

    /// Settings with both, the first preferred.
    pub(crate) fn settings(&self) -> Settings {
        let urls = [&self.first.emulator.url, &self.second.emulator.url];
        self.settings_with(&urls.map(String::as_str))
    }

    fn settings_with(&self, urls: &[&str]) -> Settings {
        let endpoint = |url: &&str| (vault(), url.parse::<Url>().expect("a URL"));
        Settings {
            endpoints: urls.iter().map(endpoint).collect(),
            ..self.first.settings()
        }
    }

    fn signatures(&self) -> (usize, usize) {
        (self.first.count("sign"), self.second.count("sign"))
    }
}

#[test]
fn the_first_endpoint_is_asked_as_long_as_it_answers() {
    let hsms = Replicas::start();
    let client = Client::new(hsms.settings());
    let key = load(&client);
    for _ in 0..3 {
        signs(&client, &key);
    }
    assert_eq!(hsms.signatures(), (3, 0));
    assert_eq!(hsms.second.connections(), 0);
}

#[test]
fn the_next_endpoint_is_asked_when_one_is_unavailable() {
    let hsms = Replicas::start();
    let client = Client::new(hsms.settings());
    let key = load(&client);
    hsms.first.fault("unavailable,operation=sign,count=1");
    signs(&client, &key);
    assert_eq!(hsms.signatures(), (1, 1));
}

#[test]
fn an_endpoint_that_failed_is_left_alone_for_a_while() {
    let hsms = Replicas::start();
    let client = Client::new(hsms.settings());
    let key = load(&client);
    hsms.first.fault("unavailable,operation=sign");
    for _ in 0..20 {
        signs(&client, &key);
    }
    let (first, second) = hsms.signatures();
    assert_eq!(second, 20);
    // The failure, and what finds out whether it is over: once a second at most.
    assert!((1..10).contains(&first), "{first}");
}

#[test]
fn an_endpoint_where_nobody_listens_is_passed_over() {
    let hsms = Replicas::start();
    let port = ReservedPort::take();
    let client = Client::new(hsms.settings_with(&[&port.url(), &hsms.second.emulator.url]));
    let key = soon(|| load(&client));
    signs(&client, &key);
    assert_eq!(hsms.signatures(), (0, 1));
}

#[test]
fn an_endpoint_that_does_not_shake_hands_is_passed_over() {
    let hsms = Replicas::start();
    hsms.first.fault("no-handshake");
    let client = Client::new(Settings {
        connect_timeout: Duration::from_secs(2),
        ..hsms.settings()
    });
    soon(|| load(&client));
    assert_eq!((hsms.first.count("k"), hsms.second.count("k")), (0, 1));
}

#[test]
fn an_endpoint_with_another_hosts_certificate_gets_no_request() {
    let hsms = Replicas::start();
    let shown = hsms.first.emulator.show_certificate(Shown::OtherHost);
    shown.expect("a certificate");
    let client = Client::new(hsms.settings());
    load(&client);
    assert_eq!((hsms.first.count("k"), hsms.second.count("k")), (0, 1));
}

#[test]
fn another_endpoint_is_not_asked_for_what_one_refused() {
    let hsms = Replicas::start();
    let client = Client::new(hsms.settings());
    let missing = client.get_key(&uri("none"));
    assert!(matches!(missing, Err(Error::Service { status: 404, .. })));
    assert_eq!(
        (hsms.first.count("none"), hsms.second.count("none")),
        (1, 0)
    );
}

#[test]
fn where_no_endpoint_answers_each_is_asked_and_the_error_comes_soon() {
    let hsms = Replicas::start();
    let client = Client::new(Settings {
        max_retries: 3,
        ..hsms.settings()
    });
    let key = load(&client);
    for hsm in [&hsms.first, &hsms.second] {
        hsm.fault("unavailable,operation=sign");
    }
    let error = soon(|| sign(&client, &key)).expect_err("both are unavailable");
    assert!(
        matches!(error, Error::Service { status: 503, .. }),
        "{error}"
    );
    let (first, second) = hsms.signatures();
    assert!(first > 0 && second > 0, "{first} {second}");
    assert_eq!(first + second, 4);
}
