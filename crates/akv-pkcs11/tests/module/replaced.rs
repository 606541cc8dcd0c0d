//! Versions of keys whose public key changes, which they never do: an HSM that tells so, or who
//! stands before it, has nothing done with another key than the program has found.

use cryptoki::error::RvError;
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::Session;
use serde_json::Value;

use crate::support::{Hsm, code, initialized, makes_calls, only, session};

const RSA: &str = r#"{"kty":"RSA-HSM","key_size":2048}"#;
const SIGNATURE: Mechanism<'_> = Mechanism::Sha256RsaPkcs;
const PRIVATE: Attribute = Attribute::Class(ObjectClass::PRIVATE_KEY);

fn label(text: &str) -> Attribute {
    Attribute::Label(text.into())
}

/// Has the HSM make the key `web`. Returns what it would say if the key had the public key of
/// another.
fn web(hsm: &Hsm) -> Value {
    hsm.rest.create("other", RSA);
    hsm.rest.create("web", RSA);
    let other = hsm.rest.call("GET", "/keys/other", "");
    let mut lie = hsm.rest.call("GET", "/keys/web", "");
    lie["key"]["n"] = other["key"]["n"].clone();
    lie
}

/// Has the next request whose path begins so meet a fault.
fn fault(hsm: &Hsm, mut fault: Value, path: &str) {
    fault["path"] = path.into();
    fault["count"] = 1.into();
    let faults = &hsm.emulator.faults;
    faults.add(&fault.to_string()).expect("a fault");
}

/// The private and the public object of `web`, for which the HSM is asked each time.
fn find(session: &Session) -> [ObjectHandle; 2] {
    let found = session.find_objects(&[label("web")]).unwrap();
    assert_eq!(found.len(), 2);
    let is_private = |object: &ObjectHandle| {
        let class = session.get_attributes(*object, &[AttributeType::Class]);
        class.unwrap() == [PRIVATE]
    };
    let private = found.iter().position(is_private).expect("one of them");
    [found[private], found[1 - private]]
}

fn modulus(session: &Session, key: ObjectHandle) -> Vec<Attribute> {
    session
        .get_attributes(key, &[AttributeType::Modulus])
        .unwrap()
}

type Outcomes = Vec<Result<(), cryptoki::error::Error>>;

/// Uses the handles by which the program has found the key. The HSM says another public key of it
/// as soon as it is asked again.
fn use_handles(session: &Session, step: &str, [private, public]: [ObjectHandle; 2]) -> Outcomes {
    let rename = |object| session.update_attributes(object, &[label("renamed")]);
    match step {
        "search" => {
            let again = find(session);
            assert!(!again.contains(&private) && !again.contains(&public));
            assert_ne!(modulus(session, private), modulus(session, again[0]));
            session.sign(&SIGNATURE, again[0], b"x").unwrap();
            let secret = [
                Attribute::Class(ObjectClass::SECRET_KEY),
                Attribute::KeyType(KeyType::AES),
            ];
            let pkcs1 = Mechanism::RsaPkcs;
            let unwrapped = session.unwrap_key(&pkcs1, private, &[1; 256], &secret);
            vec![
                session.decrypt(&pkcs1, private, &[1; 256]).map(drop),
                unwrapped.map(drop),
                rename(private),
                rename(public),
                session.destroy_object(public),
                session.destroy_object(private),
            ]
        }
        "operation" => {
            session.sign_init(&SIGNATURE, private).unwrap();
            session.sign_update(b"x").unwrap();
            find(session);
            vec![session.sign_final().map(drop)]
        }
        "set" | "answer" => vec![rename(private)],
        "destroy" => vec![session.destroy_object(private)],
        "hide" => vec![session.destroy_object(public)],
        other => panic!("{other}"),
    }
}

/// Nobody checks the signatures, and keys may be deleted: it is the module that refuses.
#[test]
fn a_handle_never_follows_a_version_whose_public_key_changes() {
    if !makes_calls() {
        let mut hsm = Hsm::start();
        let lie = serde_json::json!({"kind": "other-body", "body": web(&hsm).to_string()});
        hsm.configure(
            r#"{"tokens":[{"resourceName":"localhost"}],"refreshSeconds":0,"allowDelete":true,
                "verifySignatures":false}"#,
        );
        for step in ["search", "operation", "set", "destroy", "hide", "answer"] {
            match step {
                // The lie is the answer to the change.
                "answer" => {
                    let nothing = serde_json::json!({"kind": "slow-first-byte", "delay_ms": 1});
                    fault(&hsm, nothing, "/keys/web/");
                    fault(&hsm, lie.clone(), "/keys/web/");
                }
                _ => fault(&hsm, lie.clone(), "/keys/web"),
            }
            hsm.set("TEST_STEP", step);
            let before = hsm.requests().len();
            let told = hsm.run();
            let words = "has another public key in the HSM now";
            assert!(told.contains(words), "{step}: {told}");
            let requests = hsm.requests().split_off(before);
            let asked: Vec<_> = requests
                .iter()
                .filter(|request| request.method != "GET")
                .map(|request| (request.method.as_str(), request.is("sign")))
                .collect();
            match step {
                "search" => assert_eq!(asked, [("POST", true)]),
                "answer" => assert_eq!(asked, [("PATCH", false)]),
                _ => assert_eq!(asked, [], "{step}"),
            }
        }
        return;
    }
    let pkcs11 = initialized();
    let session = session(&pkcs11);
    let found = find(&session);
    let public_key = modulus(&session, found[0]);
    let step = std::env::var("TEST_STEP").unwrap();
    for outcome in use_handles(&session, &step, found) {
        assert_eq!(code(outcome), RvError::DeviceError, "{step}");
    }
    // From now on it is known.
    let signature = session.sign(&SIGNATURE, found[0], b"x");
    assert_eq!(code(signature), RvError::DeviceError, "{step}");
    assert_eq!(modulus(&session, found[0]), public_key);
}

/// Deletion is of a name with all its versions, which may be another key's by now.
#[test]
fn a_key_that_was_made_anew_is_not_destroyed_by_a_handle_of_the_one_before() {
    const EC: &str = r#"{"kty":"EC-HSM","crv":"P-256"}"#;
    if !makes_calls() {
        let mut hsm = Hsm::start();
        hsm.rest.create("k", EC);
        hsm.set("TEST_URL", hsm.rest.url.clone());
        hsm.set("TEST_CA", hsm.rest.ca.clone());
        hsm.set("AKV_ALLOW_DELETE", "yes");
        hsm.run();
        let key = hsm.rest.call("GET", "/keys/k", "");
        return assert!(key["key"]["kid"].is_string(), "{key}");
    }
    let rest = crate::keys::rest();
    let pkcs11 = initialized();
    let session = session(&pkcs11);
    let key = only(&session, &[label("k"), PRIVATE]);
    rest.call("DELETE", "/keys/k", "");
    rest.call("DELETE", "/deletedkeys/k", "");
    rest.create("k", EC);
    let destroyed = session.destroy_object(key);
    assert_eq!(code(destroyed), RvError::ObjectHandleInvalid);
}

/// All versions go with a key, so a handle of an earlier one is no handle of what would be deleted.
#[test]
fn a_key_is_destroyed_by_a_handle_of_its_newest_version_alone() {
    if !makes_calls() {
        let mut hsm = Hsm::start();
        hsm.set("TEST_URL", hsm.rest.url.clone());
        hsm.set("TEST_CA", hsm.rest.ca.clone());
        // Also while a list counts that is older than the version.
        for seconds in [0, 3600] {
            hsm.configure(&format!(
                r#"{{"tokens":[{{"resourceName":"localhost"}}],"refreshSeconds":{seconds},
                    "allowDelete":true}}"#
            ));
            hsm.rest.create("k", r#"{"kty":"EC-HSM","crv":"P-256"}"#);
            let told = hsm.run();
            assert!(told.contains("look for the key again"), "{told}");
            let deleted = hsm.rest.call("GET", "/deletedkeys/k", "");
            assert!(deleted["recoveryId"].is_string(), "{deleted}");
            hsm.rest.call("DELETE", "/deletedkeys/k", "");
        }
        return;
    }
    let rest = crate::keys::rest();
    let pkcs11 = initialized();
    let session = session(&pkcs11);
    let template = [label("k"), PRIVATE];
    session.find_objects(&[PRIVATE]).unwrap();
    let old = only(&session, &template);
    rest.rotate("k");
    let refuse = || {
        let refused = session.destroy_object(old);
        assert_eq!(code(refused), RvError::ActionProhibited);
        session.sign(&Mechanism::Ecdsa, old, &[1; 32]).unwrap();
    };
    refuse();
    let new = only(&session, &template);
    refuse();
    session.destroy_object(new).unwrap();
    assert_eq!(session.find_objects(&template).unwrap(), []);
}
