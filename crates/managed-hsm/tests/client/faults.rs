//! Each fault of the emulator's, met by what the provider's campaign of faults has no operation
//! for: secure wrap and unwrap, and the making of keys for ML-DSA and of an external key manager.

use std::time::Duration;

use managed_hsm::{
    Client, Error, KeyId, KeyName, NewKey, NewKeyKind, ParameterSet, SecureWrapAlgorithm, Settings,
};

use crate::secure_wrap::{new_key, token};
use crate::support::{Hsm, says, uri, vault};

/// What becomes of an operation.
#[derive(Clone, Copy, Debug)]
enum Becomes {
    /// It is done by the first request.
    Done,
    /// It is done by the second one.
    Again,
    /// It fails without a second request, and nothing was done. These words say why.
    Fails(&'static str),
    /// It fails without a second request, and the HSM has done it.
    Lost(&'static str),
    /// It fails without a request.
    Unsent(&'static str),
}

use Becomes::{Again, Done, Fails, Lost, Unsent};

/// A fault, and what becomes of an operation that meets it once: of one that does no harm if it is
/// done twice, and of making a key.
const FAULTS: [(&str, Becomes, Becomes); 30] = [
    ("request-timeout", Again, Fails("HTTP 408")),
    ("throttled", Again, Again),
    ("throttled-retry-after", Again, Again),
    ("internal-error", Again, Fails("HTTP 500")),
    ("bad-gateway", Again, Fails("HTTP 502")),
    ("unavailable", Again, Fails("HTTP 503")),
    ("unavailable-retry-after", Again, Fails("HTTP 503")),
    ("gateway-timeout", Again, Fails("HTTP 504")),
    // The token is one that nobody can renew.
    ("claims-challenge", Fails("HTTP 401"), Fails("HTTP 401")),
    ("drop", Again, Fails("closed")),
    ("reset", Again, Fails("reset")),
    (SILENCE, Again, Fails("no answer from")),
    ("lost-answer", Again, Lost("closed")),
    ("half-body", Again, Lost("no answer from")),
    ("malformed-json", Fails("JSON"), Lost("JSON")),
    ("other-body,body={}", Fails("answer"), Lost("answer")),
    ("garbage", Fails("HTTP"), Lost("HTTP")),
    ("twice", Done, Done),
    ("huge-body", Fails("bytes"), Lost("bytes")),
    // Nobody but the environment can tell such values from right ones; a key's answer has none.
    ("wrong-length", Done, Done),
    ("wrong-value", Done, Done),
    ("slow-first-byte,delay_ms=300", Done, Done),
    ("slow-body,delay_ms=300", Done, Done),
    ("close", Done, Done),
    ("close-idle", Done, Done),
    ("connection-reset", Done, Done),
    ("broken-handshake", Done, Done),
    ("garbage-handshake", Unsent("TLS"), Unsent("TLS")),
    (NO_HANDSHAKE, Unsent("connect"), Unsent("connect")),
    ("slow-handshake,delay_ms=300", Done, Done),
];

/// Those that end when a client has waited for long enough.
const SILENCE: &str = "silence";
const NO_HANDSHAKE: &str = "no-handshake";

/// A client that has not been connected yet, and is patient where patience is not what is tried.
fn client(hsm: &Hsm, fault: &str) -> Client {
    let change = |settings: &mut Settings| {
        settings.api_version = "2026-05-01-preview".parse().expect("a version");
        match fault {
            SILENCE => {
                settings.response_timeout = Duration::from_secs(4);
                settings.operation_timeout = Duration::from_secs(8);
            }
            NO_HANDSHAKE => settings.connect_timeout = Duration::from_secs(2),
            _ => {}
        }
    };
    hsm.client_with(change)
}

/// Has an operation meet each fault. `is_done`: whether the HSM has done it.
fn meet_each(
    hsm: &Hsm,
    operation: &str,
    becomes: impl Fn(&(&str, Becomes, Becomes)) -> Becomes,
    work: impl Fn(&Client, usize) -> Result<(), Error>,
    is_done: impl Fn(usize) -> bool,
) {
    for (index, row) in FAULTS.iter().enumerate() {
        let (fault, becomes) = (row.0, becomes(row));
        let client = client(hsm, fault);
        let before = hsm.count(operation);
        // A connection is opened for no operation that the emulator would know of.
        let of = match fault.contains("handshake") || fault == "connection-reset" {
            true => String::new(),
            false => format!(",operation={operation}"),
        };
        hsm.fault(&format!("{fault},count=1{of}"));
        let outcome = work(&client, index);
        hsm.emulator.faults.clear();
        let requests = hsm.count(operation) - before;
        let (expected, words) = match becomes {
            Done => (1, None),
            Again => (2, None),
            Fails(words) | Lost(words) => (1, Some(words)),
            Unsent(words) => (0, Some(words)),
        };
        match (&outcome, words) {
            (Ok(()), None) => {}
            (Err(error), Some(words)) => says(error, &[words]),
            _ => panic!("{fault}: {becomes:?}, and not {outcome:?}"),
        }
        if let (Err(error), Lost(_)) = (&outcome, becomes) {
            says(error, &["it may have been done all the same"]);
        }
        assert_eq!(requests, expected, "{fault}: {outcome:?}");
        let is_made = !matches!(becomes, Fails(_) | Unsent(_));
        assert_eq!(is_done(index), is_made, "{fault}: {outcome:?}");
    }
}

/// An HSM with a key that wraps securely.
fn wrapping() -> (Hsm, Client, KeyId) {
    let hsm = Hsm::start();
    let client = client(&hsm, "");
    let uri = uri("w");
    let made = client.create_key(&uri.vault, &uri.key, &new_key(&hsm, NewKeyKind::default()));
    let key = made.expect("it is made").id;
    (hsm, client, key)
}

const ALGORITHM: SecureWrapAlgorithm = SecureWrapAlgorithm::RsaOaep256;

/// What such operations did is kept nowhere, so that there is nothing to look for.
fn as_told(row: &(&str, Becomes, Becomes)) -> Becomes {
    row.1
}

#[test]
fn a_secure_wrap_meets_each_fault() {
    let (hsm, good, key) = wrapping();
    let token = token(&hsm);
    let is_changed = |index: usize| FAULTS[index].0.starts_with("wrong-");
    let done = std::cell::Cell::new(false);
    meet_each(
        &hsm,
        "securewrapkey",
        as_told,
        |client, index| {
            done.set(false);
            let wrapped = client.secure_wrap_key(&key, ALGORITHM)?;
            done.set(true);
            // The HSM itself unwraps what came as it was made, and nothing else.
            let unwrapped = good.secure_unwrap_key(&key, ALGORITHM, &wrapped, &token);
            assert_eq!(unwrapped.is_err(), is_changed(index), "{unwrapped:?}");
            Ok(())
        },
        |_| done.get(),
    );
}

#[test]
fn a_secure_unwrap_meets_each_fault() {
    let (hsm, good, key) = wrapping();
    let token = token(&hsm);
    let wrapped = good.secure_wrap_key(&key, ALGORITHM);
    let wrapped = wrapped.expect("one is made");
    let done = std::cell::Cell::new(false);
    meet_each(
        &hsm,
        "secureunwrapkey",
        as_told,
        |client, index| {
            done.set(false);
            let unwrapped = client.secure_unwrap_key(&key, ALGORITHM, &wrapped, &token)?;
            done.set(true);
            let missing = usize::from(FAULTS[index].0 == "wrong-length");
            assert_eq!(unwrapped.len(), 256 + 40 - missing);
            Ok(())
        },
        |_| done.get(),
    );
}

/// Making a key of a kind meets each fault: each time another key is made, or none.
fn make(kind: impl Fn() -> NewKeyKind) {
    let hsm = Hsm::start();
    let good = client(&hsm, "");
    let name = |index: usize| -> KeyName { format!("new-{index}").parse().expect("a name") };
    meet_each(
        &hsm,
        "create",
        |row| row.2,
        |client, index| {
            let key = NewKey {
                kind: kind(),
                ..NewKey::default()
            };
            let made = client.create_key(&vault(), &name(index), &key)?;
            assert_eq!(made.id.key, name(index));
            Ok(())
        },
        |index| {
            let found = good.get_key(&uri(name(index).as_str()));
            match found {
                Err(Error::Service { status: 404, .. }) => false,
                found => found.is_ok_and(|key| key.id.key == name(index)),
            }
        },
    );
}

#[test]
fn the_making_of_an_ml_dsa_key_meets_each_fault() {
    make(|| NewKeyKind::MlDsa(ParameterSet::ALL[0]));
}

#[test]
fn the_making_of_an_external_key_meets_each_fault() {
    make(|| NewKeyKind::External("ec-7".parse().expect("an id")));
}
