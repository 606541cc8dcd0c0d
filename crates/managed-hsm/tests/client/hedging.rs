//! Operations that take long are sent a second time, if the user wants that.

use managed_hsm::{Client, KeyId, Settings};

use crate::endpoints::Replicas;
use crate::support::{Hsm, load, meeting, signs, soon};

/// How many signatures have to be known before one is slow, and earn one that is sent twice.
const KNOWN: usize = 20;

/// Much longer than a test waits.
const SLOW: &str = "slow-first-byte,operation=sign,count=1,delay_ms=600000";

fn hedging(settings: Settings) -> (Client, KeyId) {
    let client = Client::new(Settings {
        hedging: true,
        ..settings
    });
    let key = load(&client);
    for _ in 0..KNOWN {
        signs(&client, &key);
    }
    (client, key)
}

#[test]
fn a_slow_operation_is_sent_again_and_the_first_answer_counts() {
    let hsm = Hsm::start();
    let (client, key) = hedging(hsm.settings());
    hsm.fault(SLOW);
    soon(|| signs(&client, &key));
    let sent = hsm.requests("sign");
    assert_eq!(sent.len(), KNOWN + 2);
    assert_ne!(sent[KNOWN].connection, sent[KNOWN + 1].connection);
}

#[test]
fn the_second_request_goes_to_another_endpoint_if_there_is_one() {
    let hsms = Replicas::start();
    let (client, key) = hedging(hsms.settings());
    hsms.first.fault(SLOW);
    soon(|| signs(&client, &key));
    let counts = (hsms.first.count("sign"), hsms.second.count("sign"));
    assert_eq!(counts, (KNOWN + 1, 1));
}

#[test]
fn nothing_is_sent_twice_unless_the_user_wants_it() {
    let hsm = Hsm::start();
    let client = hsm.client();
    let key = load(&client);
    for _ in 0..KNOWN {
        signs(&client, &key);
    }
    hsm.fault("slow-first-byte,operation=sign,count=1,delay_ms=500");
    signs(&client, &key);
    assert_eq!(hsm.count("sign"), KNOWN + 1);
}

#[test]
fn nothing_is_sent_twice_before_it_is_known_how_long_it_takes() {
    let (hsm, client, key) = meeting(
        "slow-first-byte,operation=sign,count=1,delay_ms=500",
        |settings| settings.hedging = true,
    );
    signs(&client, &key);
    assert_eq!(hsm.count("sign"), 1);
}
