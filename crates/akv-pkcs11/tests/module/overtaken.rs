//! What is known of a key, and overtaken: by others who change it, by this process while an answer
//! is on its way, or by another user.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::Duration;

use cryptoki::context::Pkcs11;
use cryptoki::error::RvError;
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, AttributeType, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, UserType};
use cryptoki::types::AuthPin;
use testing::emulator::{AUDIENCE, DataDir, Request, TokenKey};

use crate::keys::rest;
use crate::support::{Hsm, P256, code, initialized, makes_calls, only, session};

const EC: &str = r#"{"kty":"EC-HSM","crv":"P-256"}"#;
const PRIVATE: Attribute = Attribute::Class(ObjectClass::PRIVATE_KEY);

/// How old what is known has to be for the HSM to be asked again.
const OLD: Duration = Duration::from_millis(2200);

/// How late the answer is that is overtaken, and when others begin.
const LATE: &str = "slow-body,operation=k,count=1,delay_ms=3000";
const MEANWHILE: Duration = Duration::from_millis(1000);

fn label(text: &str) -> Attribute {
    Attribute::Label(text.into())
}

/// An HSM with the key `k`, whose list is good for a day.
fn hsm(settings: &str) -> Hsm {
    let mut hsm = Hsm::start();
    hsm.rest.create("k", EC);
    hsm.set("TEST_URL", hsm.rest.url.clone());
    hsm.set("TEST_CA", hsm.rest.ca.clone());
    hsm.configure(&format!(
        r#"{{"tokens":[{{"resourceName":"localhost"}}],"refreshSeconds":86400{settings}}}"#
    ));
    hsm
}

fn key(session: &Session) -> ObjectHandle {
    only(session, &[label("k"), PRIVATE])
}

fn sign(session: &Session, key: ObjectHandle) -> Result<Vec<u8>, cryptoki::error::Error> {
    session.sign(&Mechanism::Ecdsa, key, &[1; 32])
}

#[test]
fn tags_of_others_stay_as_they_are() {
    const STATEMENT: &str = "eyJhbGciOiJFUzI1NiIsInR5cCI6IkpXVCJ9.eyJvd25lciI6IngifQ.c2lnbg";
    if !makes_calls() {
        let hsm = hsm("");
        let tags = format!(r#"{{"tags":{{"statement":"{STATEMENT}"}}}}"#);
        hsm.rest.update("k", &tags);
        hsm.run();
        let told = hsm.rest.call("GET", "/keys/k", "");
        assert_eq!(told["tags"]["statement"], STATEMENT);
        assert_eq!(told["tags"]["p11_pri_CKA_LABEL"], "another");
        return;
    }
    let pkcs11 = initialized();
    let session = session(&pkcs11);
    let renamed = session.update_attributes(key(&session), &[label("another")]);
    renamed.unwrap();
}

#[test]
fn a_program_is_not_shown_a_secret_that_a_tag_repeats() {
    if !makes_calls() {
        let hsm = hsm("");
        let token = &hsm.rest.token[..200];
        let tags = format!(r#"{{"tags":{{"p11_pri_CKA_LABEL":"is {token}"}}}}"#);
        hsm.rest.update("k", &tags);
        return drop(hsm.run());
    }
    let pkcs11 = initialized();
    let session = session(&pkcs11);
    let key = only(&session, &[PRIVATE]);
    let told = session.get_attributes(key, &[AttributeType::Label]);
    assert_eq!(told.unwrap(), [label("is …")]);
}

#[test]
fn what_a_program_sets_is_set_though_it_was_known_to_be_so() {
    if !makes_calls() {
        let hsm = hsm("");
        hsm.run();
        let told = hsm.rest.call("GET", "/keys/k", "");
        assert_eq!(told["tags"]["p11_pri_CKA_LABEL"], "k");
        let operations = told["key"]["key_ops"].as_array().unwrap();
        assert!(!operations.contains(&"sign".into()), "{operations:?}");
        return;
    }
    let pkcs11 = initialized();
    let session = session(&pkcs11);
    rest().update("k", r#"{"key_ops":["verify"]}"#);
    let key = key(&session);
    let body = r#"{"key_ops":["sign","verify"],"tags":{"p11_pri_CKA_LABEL":"theirs"}}"#;
    rest().update("k", body);
    let wanted = [label("k"), Attribute::Sign(false)];
    session.update_attributes(key, &wanted).unwrap();
    assert_eq!(
        session
            .get_attributes(key, &[AttributeType::Label, AttributeType::Sign])
            .unwrap(),
        wanted
    );
}

#[test]
fn a_key_that_could_not_be_used_is_used_once_the_hsm_lets_it_be() {
    if !makes_calls() {
        let hsm = hsm("");
        hsm.run();
        // Of the version: one that sees it forbidden, one that sees it permitted.
        let requests = hsm.requests();
        let of_version =
            |request: &&Request| request.method == "GET" && request.path.starts_with("/keys/k/");
        assert_eq!(requests.iter().filter(of_version).count(), 6);
        return;
    }
    let pkcs11 = initialized();
    let session = session(&pkcs11);
    let permitted = |key| code(sign(&session, key).map(drop)) != RvError::KeyFunctionNotPermitted;
    for (forbids, permits) in [
        (
            r#"{"attributes":{"enabled":false}}"#,
            r#"{"attributes":{"enabled":true}}"#,
        ),
        (
            r#"{"attributes":{"exp":1000000000}}"#,
            r#"{"attributes":{"exp":4000000000}}"#,
        ),
        (
            r#"{"key_ops":["verify"]}"#,
            r#"{"key_ops":["sign","verify"]}"#,
        ),
    ] {
        rest().update("k", forbids);
        // What it was loaded with is seen by setting something.
        let key = key(&session);
        session.update_attributes(key, &[label("k")]).unwrap();
        for _ in 0..3 {
            assert!(!permitted(key), "{forbids}");
        }
        rest().update("k", permits);
        sleep(OLD);
        sign(&session, key).unwrap_or_else(|error| panic!("{permits}: {error}"));
    }
}

/// A search by a thread of its own, whose answer comes late; `meanwhile` is done before that.
fn overtaken(pkcs11: &Pkcs11, meanwhile: impl FnOnce()) {
    std::thread::scope(|scope| {
        let searching = scope.spawn(|| {
            let session = session(pkcs11);
            // It may fail: what it asked for may be gone.
            let _ = session.find_objects(&[label("k"), PRIVATE]);
        });
        sleep(MEANWHILE);
        meanwhile();
        assert!(!searching.is_finished(), "the answer was not late");
        searching.join().unwrap();
    });
}

/// Has the calls made, and the HSM have each fault that they ask for.
fn run_with_faults(hsm: &mut Hsm) {
    let (wish, ended) = (hsm.file("wish"), AtomicBool::new(false));
    hsm.set("TEST_WISH", wish.clone());
    let hsm = &*hsm;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !ended.load(Ordering::Relaxed) {
                if let Ok(fault) = std::fs::read_to_string(&wish) {
                    hsm.emulator.faults.add(&fault).expect("a fault");
                    std::fs::remove_file(&wish).expect("it was there");
                }
                sleep(Duration::from_millis(10));
            }
        });
        let _end = End(&ended);
        hsm.run();
    });
}

/// Ends a thread when this goes.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn wish(fault: &str) {
    let path = PathBuf::from(std::env::var_os("TEST_WISH").expect("the test sets it"));
    let new = path.with_extension("new");
    std::fs::write(&new, fault).expect("a file");
    std::fs::rename(&new, &path).expect("a file");
    while path.exists() {
        sleep(Duration::from_millis(10));
    }
}

/// An HSM whose keys are looked for one by one, anew each second, with time for late answers.
fn hsm_by_name(settings: &str) -> Hsm {
    let mut hsm = hsm("");
    hsm.wait_long();
    hsm.configure(&format!(
        r#"{{"tokens":[{{"resourceName":"localhost","listing":"never"}}],
            "refreshSeconds":1{settings}}}"#
    ));
    hsm
}

#[test]
fn a_key_that_is_destroyed_while_an_answer_is_on_its_way_stays_destroyed() {
    if !makes_calls() {
        return run_with_faults(&mut hsm_by_name(r#","allowDelete":true"#));
    }
    let pkcs11 = initialized();
    let own = session(&pkcs11);
    let key = key(&own);
    sleep(OLD);
    wish(LATE);
    overtaken(&pkcs11, || own.destroy_object(key).unwrap());
    assert_eq!(own.find_objects(&[PRIVATE]).unwrap(), []);
    let told = own.get_attributes(key, &[AttributeType::Token]);
    assert_eq!(code(told), RvError::ObjectHandleInvalid);
}

#[test]
fn what_is_set_while_an_answer_is_on_its_way_stays_set() {
    if !makes_calls() {
        return run_with_faults(&mut hsm_by_name(""));
    }
    let pkcs11 = initialized();
    let own = session(&pkcs11);
    let key = key(&own);
    sleep(OLD);
    wish(LATE);
    overtaken(&pkcs11, || {
        own.update_attributes(key, &[label("renamed")]).unwrap();
    });
    let told = own.get_attributes(key, &[AttributeType::Label]);
    assert_eq!(told.unwrap(), [label("renamed")]);
}

#[test]
fn what_one_user_has_asked_for_is_not_shown_to_the_next() {
    if !makes_calls() {
        let mut hsm = Hsm::start();
        hsm.rest.create("k", EC);
        hsm.wait_long();
        hsm.unset("AZURE_CLI_ACCESS_TOKEN");
        hsm.set("TEST_TOKEN", hsm.emulator.token.clone());
        let data = DataDir::resolve(Some(hsm.emulator.data_dir().to_owned())).unwrap();
        let nobody = "55555555-0000-0000-0000-000000000001";
        let minted = TokenKey::read(&data)
            .unwrap()
            .mint_for(nobody, AUDIENCE, 600);
        hsm.set("TEST_NOBODY", minted.unwrap());
        hsm.emulator.faults.add(LATE).expect("a fault");
        return drop(hsm.run());
    }
    let pkcs11 = initialized();
    let own = session(&pkcs11);
    let log_in = |variable| {
        let pin = AuthPin::new(std::env::var(variable).unwrap().into());
        own.login(UserType::User, Some(&pin)).unwrap();
    };
    log_in("TEST_TOKEN");
    overtaken(&pkcs11, || {
        own.logout().unwrap();
        log_in("TEST_NOBODY");
    });
    let found = own.find_objects(&[label("k"), PRIVATE]);
    assert!(found.is_err() || found.unwrap().is_empty());
    own.logout().unwrap();
    log_in("TEST_TOKEN");
    sign(&own, key(&own)).unwrap();
}

/// Just after it was loaded: the list that is asked for then is no proof.
#[test]
fn a_key_that_is_deleted_just_after_it_was_found_is_found_no_more_once_it_fails() {
    if !makes_calls() {
        return drop(hsm("").run());
    }
    let pkcs11 = initialized();
    let session = session(&pkcs11);
    let found = only(&session, &[PRIVATE]);
    rest().call("DELETE", "/keys/k", "");
    assert_eq!(code(sign(&session, found)), RvError::KeyHandleInvalid);
    assert_eq!(session.find_objects(&[PRIVATE]).unwrap(), []);
    assert_eq!(session.find_objects(&[label("k"), PRIVATE]).unwrap(), []);
}

#[test]
fn a_search_by_label_is_served_by_what_is_known_while_the_hsm_fails() {
    if !makes_calls() {
        let mut hsm = hsm_by_name("");
        hsm.set("AKV_OPERATION_TIMEOUT", "2");
        return run_with_faults(&mut hsm);
    }
    let pkcs11 = initialized();
    let session = session(&pkcs11);
    let known = key(&session);
    wish("internal-error");
    sleep(OLD);
    assert_eq!(key(&session), known);
    let unknown = session.find_objects(&[label("unknown"), PRIVATE]);
    assert_eq!(code(unknown), RvError::DeviceError);
}

#[test]
fn of_two_keys_of_one_name_that_are_made_at_once_one_is_refused() {
    if !makes_calls() {
        let hsm = hsm(r#","keyNames":"label""#);
        hsm.run();
        let versions = hsm.rest.call("GET", "/keys/twin/versions", "");
        assert_eq!(versions["value"].as_array().map(Vec::len), Some(1));
        return;
    }
    let pkcs11 = initialized();
    let make = || {
        let session = session(&pkcs11);
        let template = [label("twin"), Attribute::Token(true)];
        let public = [&template[..], &[Attribute::EcParams(P256.to_vec())]].concat();
        session
            .generate_key_pair(&Mechanism::EccKeyPairGen, &public, &template)
            .is_ok()
    };
    let made: Vec<bool> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(make)).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    });
    assert_eq!(made.iter().filter(|made| **made).count(), 1);
}

/// The HSM takes all tags of a key at once.
#[test]
fn of_two_changes_that_threads_make_at_once_none_is_lost() {
    if !makes_calls() {
        return drop(hsm("").run());
    }
    let pkcs11 = initialized();
    let own = session(&pkcs11);
    let key = key(&own);
    for round in 0..20 {
        let wanted = [
            label(&format!("label {round}")),
            Attribute::Id(vec![round; 4]),
        ];
        std::thread::scope(|scope| {
            for attribute in &wanted {
                let one = std::slice::from_ref(attribute);
                scope.spawn(|| session(&pkcs11).update_attributes(key, one).unwrap());
            }
        });
        let told = own.get_attributes(key, &[AttributeType::Label, AttributeType::Id]);
        assert_eq!(told.unwrap(), wanted);
    }
}

/// The look at the key, just before it is deleted, is answered late.
#[test]
fn a_sessions_key_that_is_copied_while_it_is_destroyed_is_there_or_the_copy_is_refused() {
    if !makes_calls() {
        let mut hsm = hsm("");
        hsm.wait_long();
        return run_with_faults(&mut hsm);
    }
    let pkcs11 = initialized();
    let (own, other) = (session(&pkcs11), session(&pkcs11));
    let public = [Attribute::EcParams(P256.to_vec())];
    let made = own.generate_key_pair(&Mechanism::EccKeyPairGen, &public, &[]);
    let (_, private) = made.unwrap();
    wish("slow-body,path=/keys/p11-,count=1,delay_ms=3000");
    let copied = std::thread::scope(|scope| {
        let destroying = scope.spawn(|| session(&pkcs11).destroy_object(private).unwrap());
        sleep(MEANWHILE);
        let copied = other.copy_object(private, &[Attribute::Token(true)]);
        destroying.join().unwrap();
        copied
    });
    if let Ok(copy) = copied {
        sign(&other, copy).unwrap();
    }
}
