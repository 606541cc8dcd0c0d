//! The list of keys, when it is asked for anew, and where the HSM is never asked for it: what a
//! process has handles of is forgotten only if the HSM has it no more.

use std::thread::sleep;
use std::time::Duration;

use cryptoki::error::RvError;
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, AttributeType, ObjectClass, ObjectHandle};
use cryptoki::session::Session;
use testing::emulator::Request;

use crate::keys::rest;
use crate::support::{Hsm, P256, code, initialized, makes_calls, only, session};

const EC: &str = r#"{"kty":"EC-HSM","crv":"P-256"}"#;
const PRIVATE: Attribute = Attribute::Class(ObjectClass::PRIVATE_KEY);

/// How old a list has to be for what is missing in it to be looked for again, and a key to be
/// forgotten that isn't in it.
const SETTLED: Duration = Duration::from_millis(2200);

fn label(text: &str) -> Attribute {
    Attribute::Label(text.into())
}

/// An HSM with the keys `pinned` and `pinned-too`, and a module that asks for its list each second,
/// as far as `of_token` has it.
fn hsm(of_token: &str) -> Hsm {
    let mut hsm = Hsm::start();
    hsm.rest.create("pinned", EC);
    hsm.rest.create("pinned-too", EC);
    hsm.set("TEST_URL", hsm.rest.url.clone());
    hsm.set("TEST_CA", hsm.rest.ca.clone());
    configure(&mut hsm, of_token);
    hsm
}

fn configure(hsm: &mut Hsm, of_token: &str) {
    hsm.configure(&format!(
        r#"{{"tokens":[{{"resourceName":"localhost"{of_token}}}],"refreshSeconds":1}}"#
    ));
}

fn generate(session: &Session, stays: bool) -> ObjectHandle {
    let stays = Attribute::Token(stays);
    let public = [Attribute::EcParams(P256.to_vec()), stays.clone()];
    let made = session.generate_key_pair(&Mechanism::EccKeyPairGen, &public, &[stays]);
    made.unwrap().1
}

fn sign(session: &Session, key: ObjectHandle) {
    session.sign(&Mechanism::Ecdsa, key, &[1; 32]).unwrap();
}

#[test]
fn a_list_that_does_not_name_a_key_makes_no_handle_of_it_invalid() {
    const OF_TOKENS: [&str; 5] = [
        "",
        r#","listing":"never""#,
        r#","listing":"never","keys":["pinned"]"#,
        r#","keys":["pinned"]"#,
        r#","keys":["pin*"]"#,
    ];
    if !makes_calls() {
        let mut hsm = hsm("");
        for (made_before, of_token) in OF_TOKENS.into_iter().enumerate() {
            configure(&mut hsm, of_token);
            let told = hsm.run();
            // Only the key that is to stay is missed by later processes.
            let warnings = told.matches("is none of those that the token's keys names");
            let expected = usize::from(of_token.contains(r#""keys""#));
            assert_eq!(warnings.count(), expected, "{of_token}: {told}");
            let keys = hsm.rest.call("GET", "/keys", "");
            let keys = keys["value"].as_array().expect("a list");
            // The session's is deleted, the other one stays.
            assert_eq!(keys.len(), 2 + made_before + 1, "{of_token}: {keys:?}");
            let mut tags = keys.iter().map(|key| &key["tags"]["p11_session"]);
            assert!(tags.all(serde_json::Value::is_null), "{of_token}: {keys:?}");
        }
        return;
    }
    let pkcs11 = initialized();
    let other = session(&pkcs11);
    let session = session(&pkcs11);
    let pinned = only(&session, &[label("pinned"), PRIVATE]);
    let (made, of_session) = (generate(&session, true), generate(&session, false));
    let keys = [pinned, made, of_session];
    for _ in 0..2 {
        sleep(SETTLED);
        let found = session.find_objects(&[PRIVATE]).unwrap();
        for key in keys {
            assert!(found.contains(&key));
            sign(&session, key);
        }
    }
    drop(session);
    let told = other.get_attributes(of_session, &[AttributeType::Token]);
    assert_eq!(code(told), RvError::ObjectHandleInvalid);
    sign(&other, made);
}

/// One page comes late, and what is made meanwhile is not in the list.
#[test]
fn a_key_that_is_made_while_the_list_is_on_its_way_keeps_its_handles() {
    if !makes_calls() {
        let mut hsm = hsm("");
        hsm.wait_long();
        let late = "slow-body,operation=keys,count=1,delay_ms=3500";
        let added = hsm.emulator.faults.add(late);
        added.expect("a fault");
        return drop(hsm.run());
    }
    let pkcs11 = initialized();
    let made = std::thread::scope(|scope| {
        let searching = scope.spawn(|| {
            let session = session(&pkcs11);
            session.find_objects(&[PRIVATE]).unwrap().len()
        });
        sleep(Duration::from_millis(500));
        let session = session(&pkcs11);
        let made = generate(&session, true);
        sign(&session, made);
        assert!(searching.join().unwrap() >= 2);
        made
    });
    sign(&session(&pkcs11), made);
}

#[test]
fn a_key_that_the_hsm_has_no_more_is_forgotten_however_keys_are_found() {
    if !makes_calls() {
        for of_token in ["", r#","listing":"never""#, r#","keys":["pin*"]"#] {
            let hsm = hsm(of_token);
            hsm.run();
            let requests = hsm.requests();
            let mut paths = requests.iter().map(|request| request.path.as_str());
            let is_list = |path: &str| path.ends_with("/keys");
            assert_eq!(
                paths.any(is_list),
                !of_token.contains("never"),
                "{of_token}"
            );
        }
        return;
    }
    let pkcs11 = initialized();
    let session = session(&pkcs11);
    let template = [label("pinned"), PRIVATE];
    let key = only(&session, &template);
    rest().call("DELETE", "/keys/pinned", "");
    sleep(SETTLED);
    session.find_objects(&[PRIVATE]).unwrap();
    assert_eq!(session.find_objects(&template).unwrap(), []);
    let told = session.get_attributes(key, &[AttributeType::Token]);
    assert_eq!(code(told), RvError::ObjectHandleInvalid);
    // A search for all has been no list of what there is.
    only(&session, &[label("pinned-too"), PRIVATE]);
}

/// Searches of every kind by a program that has keys told anew once a day.
#[test]
fn what_the_hsm_says_it_has_no_more_is_looked_for_again_by_the_next_search() {
    if !makes_calls() {
        for use_of_key in ["sign", "rename"] {
            for by in ["label", "id", "class"] {
                let mut hsm = hsm("");
                hsm.configure(
                    r#"{"tokens":[{"resourceName":"localhost"}],"refreshSeconds":86400}"#,
                );
                hsm.set("TEST_USE", use_of_key);
                hsm.set("TEST_BY", by);
                hsm.run();
                let requests = hsm.requests();
                let lists = requests.iter().filter(|one| one.path.ends_with("/keys"));
                assert!(lists.count() <= 3, "{use_of_key} {by}");
            }
        }
        return;
    }
    let pkcs11 = initialized();
    let session = session(&pkcs11);
    let by_name = [label("pinned"), PRIVATE];
    let old = only(&session, &by_name);
    let id = session.get_attributes(old, &[AttributeType::Id]).unwrap();
    let template = match std::env::var("TEST_BY").unwrap().as_str() {
        "label" => by_name.to_vec(),
        "id" => [&id[..], &[PRIVATE]].concat(),
        _ => vec![PRIVATE],
    };
    let (use_of_key, refusal): (fn(&Session, ObjectHandle) -> _, _) =
        match std::env::var("TEST_USE").unwrap().as_str() {
            "sign" => (
                |session, key| session.sign(&Mechanism::Ecdsa, key, &[1; 32]).map(drop),
                RvError::KeyHandleInvalid,
            ),
            _ => (
                |session, key| session.update_attributes(key, &[label("renamed")]),
                RvError::ObjectHandleInvalid,
            ),
        };
    let before = session.find_objects(&template).unwrap();
    assert!(before.contains(&old));
    let rest = rest();
    rest.call("DELETE", "/keys/pinned", "");
    rest.call("DELETE", "/deletedkeys/pinned", "");
    // The list tells when a key was made in seconds.
    sleep(Duration::from_secs(1));
    rest.create("pinned", EC);
    assert_eq!(code(use_of_key(&session, old)), refusal);
    let found = session.find_objects(&template).unwrap();
    assert!(!found.contains(&old), "{template:?}");
    // Another key has another id.
    let new = found.into_iter().find(|key| !before.contains(key));
    let new = new.unwrap_or_else(|| only(&session, &by_name));
    use_of_key(&session, new).unwrap();
    // That the old one is refused again has no more lists asked for than one each two seconds.
    for _ in 0..5 {
        assert_eq!(code(use_of_key(&session, old)), refusal);
        assert!(session.find_objects(&[PRIVATE]).unwrap().contains(&new));
    }
}

#[test]
fn a_key_that_is_disabled_meanwhile_is_hidden_and_keeps_its_handles() {
    if !makes_calls() {
        return drop(hsm(r#","showDisabled":false"#).run());
    }
    let pkcs11 = initialized();
    let session = session(&pkcs11);
    let count = || session.find_objects(&[PRIVATE]).unwrap().len();
    assert_eq!(count(), 2);
    let key = only(&session, &[label("pinned"), PRIVATE]);
    let enable = |enabled: bool| {
        let body = format!(r#"{{"attributes":{{"enabled":{enabled}}}}}"#);
        rest().update("pinned", &body);
        sleep(SETTLED);
    };
    enable(false);
    assert_eq!(count(), 1);
    let refused = session.sign(&Mechanism::Ecdsa, key, &[1; 32]);
    assert_eq!(code(refused), RvError::KeyFunctionNotPermitted);
    enable(true);
    assert_eq!(count(), 2);
    assert_eq!(only(&session, &[label("pinned"), PRIVATE]), key);
    sign(&session, key);
}

/// The HSM tells in seconds when a key was changed.
#[test]
fn what_is_changed_in_the_second_in_which_a_key_was_loaded_is_found() {
    if !makes_calls() {
        let hsm = hsm("");
        hsm.run();
        let requests = hsm.requests();
        let loads = |name| {
            let of_key = |request: &&Request| request.path.split('/').nth(2) == Some(name);
            let loads = requests.iter().filter(of_key);
            loads.filter(|request| request.method == "GET").count()
        };
        // One that had just been changed is loaded once more, and then no more.
        for name in ["tagged", "rotated", "idle"] {
            assert!(loads(name) <= 2, "{name}: {requests:?}");
        }
        return;
    }
    let pkcs11 = initialized();
    let session = session(&pkcs11);
    let since = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap();
    sleep(Duration::from_nanos(
        1_000_000_000 - u64::from(since.subsec_nanos()),
    ));
    for name in ["tagged", "rotated", "idle"] {
        rest().create(name, EC);
    }
    assert_eq!(session.find_objects(&[PRIVATE]).unwrap().len(), 5);
    let rotated = only(&session, &[label("rotated"), PRIVATE]);
    rest().create("rotated", EC);
    rest().update("tagged", r#"{"tags":{"p11_pri_CKA_LABEL":"named"}}"#);
    for _ in 0..3 {
        sleep(SETTLED);
        assert_eq!(session.find_objects(&[PRIVATE]).unwrap().len(), 5);
        only(&session, &[label("named"), PRIVATE]);
        assert_ne!(only(&session, &[label("rotated"), PRIVATE]), rotated);
    }
}

/// An HSM with the keys `pinned` and `pinned-too`, and a module that keeps its list.
fn hsm_with_lasting_list() -> Hsm {
    let mut hsm = hsm("");
    hsm.configure(r#"{"tokens":[{"resourceName":"localhost"}],"allowDelete":true}"#);
    hsm
}

/// The list is older than the changes.
#[test]
fn no_search_asks_for_a_key_again_that_this_process_has_changed() {
    if !makes_calls() {
        let hsm = hsm_with_lasting_list();
        hsm.run();
        let requests = hsm.requests();
        let of_key = |request: &&Request| request.path.split('/').nth(2) == Some("pinned");
        let asked: Vec<_> = requests.iter().filter(of_key).collect();
        // It is made, loaded since it is in the list, and asked for before each change.
        let changes = asked.iter().filter(|request| request.method == "PATCH");
        assert_eq!((asked.len(), changes.count()), (6, 2), "{asked:?}");
        return;
    }
    let pkcs11 = initialized();
    let session = session(&pkcs11);
    let found = session.find_objects(&[PRIVATE]).unwrap();
    let pinned = only(&session, &[label("pinned"), PRIVATE]);
    for text in ["one", "two"] {
        // Times are in seconds.
        sleep(Duration::from_millis(1100));
        session.update_attributes(pinned, &[label(text)]).unwrap();
        for _ in 0..2 {
            let again = session.find_objects(&[PRIVATE]).unwrap();
            assert_eq!(again.len(), found.len());
            assert_eq!(only(&session, &[label(text), PRIVATE]), pinned);
        }
    }
}

#[test]
fn no_search_asks_for_a_key_that_this_process_has_deleted() {
    if !makes_calls() {
        let hsm = hsm_with_lasting_list();
        let told = hsm.run();
        assert!(!told.contains("akv_pkcs11: "), "{told}");
        let requests = hsm.requests();
        let deletions = requests.iter().filter(|request| request.method == "DELETE");
        assert_eq!(deletions.count(), 2);
        let last = requests.last().map(|request| request.method.as_str());
        return assert_eq!(last, Some("DELETE"), "{requests:?}");
    }
    let pkcs11 = initialized();
    let other = session(&pkcs11);
    let session = session(&pkcs11);
    let (stays, _) = (generate(&session, true), generate(&session, false));
    let count = |count| {
        assert_eq!(other.find_objects(&[PRIVATE]).unwrap().len(), count);
    };
    count(4);
    other.destroy_object(stays).unwrap();
    count(3);
    drop(session);
    count(2);
}
