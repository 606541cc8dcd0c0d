//! Keys that live as long as a session, and what is left of them when a process dies.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use cryptoki::error::RvError;
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, AttributeType, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, UserType};
use testing::Rest;

use crate::errors::wait_for;
use crate::keys::rest;
use crate::processes::program;
use crate::support::{Hsm, P256, code, initialized, makes_calls, module, only, session};

/// Who has made a key for a session, and when: the module's own attributes.
const MAKER: AttributeType = AttributeType::VendorDefined(0x8041_4b56);
const CREATED: AttributeType = AttributeType::VendorDefined(0x8041_4b57);

const PRIVATE: Attribute = Attribute::Class(ObjectClass::PRIVATE_KEY);

/// A process that ends without C_Finalize, and another one that looks for what it has left.
#[test]
fn what_a_crash_leaves_behind_is_seen_by_whoever_sweeps_and_by_nobody_else() {
    if !makes_calls() {
        let mut hsm = Hsm::start();
        hsm.set("TEST_STEP", "crash");
        hsm.run();
        let keys = hsm.rest.call("GET", "/keys", "");
        let tags = keys["value"][0]["tags"]["p11_session"].clone();
        let maker = tags.as_str().expect("it is marked");
        let (process, host) = maker.split_once('@').expect("process and host");
        assert!(
            process.parse::<u32>().is_ok() && !host.is_empty(),
            "{maker}"
        );
        hsm.set("TEST_STEP", "look");
        hsm.run();
        let keys = hsm.rest.call("GET", "/keys", "");
        return assert_eq!(keys["value"].as_array().map(Vec::len), Some(1), "{keys}");
    }
    let pkcs11 = initialized();
    let session = session(&pkcs11);
    if std::env::var_os("TEST_STEP").unwrap() == "crash" {
        let public = [Attribute::EcParams(P256.to_vec())];
        let pair = session.generate_key_pair(&Mechanism::EccKeyPairGen, &public, &[]);
        let (_, private) = pair.unwrap();
        assert_eq!(session.find_objects(&[PRIVATE]).unwrap(), [private]);
        // Nothing of the module's is asked to go.
        std::mem::forget((session, pkcs11));
        return;
    }
    for template in [
        &[][..],
        &[PRIVATE],
        &[Attribute::Token(false)],
        &[Attribute::Token(true)],
    ] {
        assert_eq!(session.find_objects(template).unwrap(), [], "{template:?}");
    }
    let marked = [Attribute::VendorDefined((MAKER, Vec::new())), PRIVATE];
    let found = session.find_objects(&marked).unwrap();
    assert_eq!(found.len(), 1);
    let told = [AttributeType::Token, AttributeType::Destroyable, CREATED];
    let told = session.get_attributes(found[0], &told).unwrap();
    assert_eq!(
        told[..2],
        [Attribute::Token(false), Attribute::Destroyable(true)]
    );
    let Attribute::VendorDefined((_, created)) = &told[2] else {
        panic!("{told:?}");
    };
    let created = u64::from_ne_bytes(created[..].try_into().unwrap());
    let now = std::time::SystemTime::UNIX_EPOCH
        .elapsed()
        .unwrap()
        .as_secs();
    assert!((now - 60..=now).contains(&created), "{created}");
    session.destroy_object(found[0]).unwrap();
    assert_eq!(session.find_objects(&marked).unwrap(), []);
    // One to stay.
    let public = [Attribute::Token(true), Attribute::EcParams(P256.to_vec())];
    let stay = [Attribute::Token(true)];
    session
        .generate_key_pair(&Mechanism::EccKeyPairGen, &public, &stay)
        .unwrap();
}

/// What a session of this process has is known here.
#[test]
fn a_search_for_what_sessions_have_asks_nothing() {
    if !makes_calls() {
        let hsm = Hsm::start();
        hsm.rest.create("k", r#"{"kty":"EC-HSM","crv":"P-256"}"#);
        let before = hsm.requests().len();
        hsm.run();
        let requests = &hsm.requests()[before..];
        let asked = requests.iter().filter(|request| !request.is("create"));
        // The key goes with its session, if it is still the session's.
        let asked: Vec<&str> = asked.map(|request| request.method.as_str()).collect();
        return assert_eq!(asked, ["GET", "DELETE"], "{requests:?}");
    }
    let pkcs11 = initialized();
    let session = session(&pkcs11);
    let of_sessions = [Attribute::Token(false), PRIVATE];
    assert_eq!(session.find_objects(&of_sessions).unwrap(), []);
    let public = [Attribute::EcParams(P256.to_vec())];
    let pair = session.generate_key_pair(&Mechanism::EccKeyPairGen, &public, &[]);
    let (_, private) = pair.unwrap();
    assert_eq!(session.find_objects(&of_sessions).unwrap(), [private]);
}

/// Whoever sweeps may have looked before the key was adopted.
#[test]
fn a_key_that_was_adopted_meanwhile_is_not_swept() {
    if !makes_calls() {
        let mut hsm = Hsm::start();
        let marked = r#"{"kty":"EC-HSM","crv":"P-256","tags":{"p11_session":"1@elsewhere"}}"#;
        hsm.rest.create("adopted", marked);
        hsm.set("TEST_URL", hsm.rest.url.clone());
        hsm.set("TEST_CA", hsm.rest.ca.clone());
        // Whoever may delete keys has not meant this one either.
        for allows_delete in ["no", "yes"] {
            hsm.set("AKV_ALLOW_DELETE", allows_delete);
            hsm.rest
                .update("adopted", r#"{"tags":{"p11_session":"1@elsewhere"}}"#);
            let told = hsm.run();
            assert!(told.contains("is a session's no more"), "{told}");
            let key = hsm.rest.call("GET", "/keys/adopted", "");
            assert!(key["key"]["kid"].is_string(), "{key}");
        }
        return;
    }
    let rest = rest();
    let pkcs11 = initialized();
    let session = session(&pkcs11);
    let marked = [Attribute::VendorDefined((MAKER, Vec::new())), PRIVATE];
    let found = session.find_objects(&marked).unwrap();
    rest.update("adopted", r#"{"tags":{}}"#);
    assert_eq!(
        code(session.destroy_object(found[0])),
        RvError::ActionProhibited
    );
}

/// Whatever is done by the handles that a key has had in its session, it is not the session's any
/// more, and stays when that ends.
#[test]
fn an_adopted_key_stays_whichever_of_its_handles_is_used() {
    let uses = ["copy", "refused copy", "set", "destroy"];
    if !makes_calls() {
        let mut hsm = Hsm::start();
        for use_ in uses {
            hsm.set("TEST_STEP", use_);
            hsm.run();
            let keys = hsm.rest.call("GET", "/keys", "");
            let keys = keys["value"].as_array().expect("a list");
            assert_eq!(keys.len(), 1, "{use_}: {keys:?}");
            assert_eq!(keys[0]["tags"]["p11_session"], serde_json::Value::Null);
            let name = keys[0]["kid"]
                .as_str()
                .and_then(|kid| kid.rsplit('/').next());
            let path = format!("/keys/{}", name.expect("it has a name"));
            hsm.rest.call("DELETE", &path, "");
        }
        return;
    }
    let pkcs11 = initialized();
    let other = session(&pkcs11);
    let session = session(&pkcs11);
    let template = [Attribute::EcParams(P256.to_vec())];
    let (public, private) = session
        .generate_key_pair(&Mechanism::EccKeyPairGen, &template, &[])
        .unwrap();
    let stay = [Attribute::Token(true)];
    // Alone it would make the private one stay.
    let refused = session.copy_object(public, &stay);
    assert_eq!(code(refused), RvError::ActionProhibited);
    let copy = session.copy_object(private, &stay).unwrap();
    match std::env::var("TEST_STEP").unwrap().as_str() {
        "copy" => {
            let of_public = session.copy_object(public, &stay).unwrap();
            let copies = [copy, of_public];
            for object in copies {
                let told = session.get_attributes(object, &[AttributeType::Token]);
                assert_eq!(told.unwrap(), stay);
            }
            let mut found = session.find_objects(&stay).unwrap();
            found.sort_unstable_by_key(|object| *object != copy);
            assert_eq!(found, copies);
        }
        "refused copy" => {
            let wrong = [Attribute::Token(true), Attribute::Sensitive(false)];
            let refused = code(session.copy_object(private, &wrong));
            assert_eq!(refused, RvError::AttributeReadOnly);
        }
        "set" => {
            let label = |text: &str| [Attribute::Label(text.into())];
            session.update_attributes(copy, &label("set")).unwrap();
            // It would be the copy that is changed.
            let refused = session.update_attributes(private, &label("of session"));
            assert_eq!(code(refused), RvError::ActionProhibited);
            let told = session.get_attributes(copy, &[AttributeType::Label]);
            assert_eq!(told.unwrap(), label("set"));
            let unique = |object| session.get_attributes(object, &[AttributeType::UniqueId]);
            let ids = [private, public, copy].map(|object| unique(object).unwrap());
            assert!(ids[0] != ids[2] && ids[0] != ids[1], "{ids:?}");
        }
        "destroy" => session.destroy_object(public).unwrap(),
        other => panic!("{other}"),
    }
    drop(session);
    for object in [public, private] {
        let told = other.get_attributes(object, &[AttributeType::Token]);
        assert_eq!(code(told), RvError::ObjectHandleInvalid);
    }
    other.sign(&Mechanism::Ecdsa, copy, &[1; 32]).unwrap();
    assert_eq!(other.find_objects(&stay).unwrap().len(), 2);
}

/// What happens outside the process to a key, which a session of the process has made, and
/// what the process does then.
const OUTSIDE: [(&str, &str); 10] = [
    ("version", "end"),
    ("version", "destroy"),
    ("version", "search"),
    ("untagged", "end"),
    ("untagged", "destroy"),
    ("untagged", "destroy public"),
    ("another's", "log out"),
    // It is loaded again before the session ends.
    ("another's", "destroy public"),
    ("another's", "search"),
    ("made anew", "end"),
];

/// The name of the only key that the HSM has.
fn only_name(rest: &Rest) -> String {
    let keys = rest.call("GET", "/keys", "");
    let keys = keys["value"].as_array().expect("a list");
    assert_eq!(keys.len(), 1, "{keys:?}");
    let kid = keys[0]["kid"].as_str().expect("it has a name");
    let name = kid.rsplit('/').next().expect("a URI has parts");
    name.to_owned()
}

/// Deletes a key, so that nothing of it is left.
fn purge(rest: &Rest, name: &str) {
    rest.call("DELETE", &format!("/keys/{name}"), "");
    rest.call("DELETE", &format!("/deletedkeys/{name}"), "");
}

/// With or without the right to delete keys: a session that ends takes away what is its own.
#[test]
fn a_key_that_is_the_sessions_no_more_outlives_it() {
    const EC: &str = r#"{"kty":"EC-HSM","crv":"P-256"}"#;
    if !makes_calls() {
        let mut hsm = Hsm::start();
        hsm.set("TEST_URL", hsm.rest.url.clone());
        hsm.set("TEST_CA", hsm.rest.ca.clone());
        for allows_delete in [false, true] {
            hsm.configure(&format!(
                r#"{{"tokens":[{{"resourceName":"localhost"}}],"refreshSeconds":0,
                    "allowDelete":{allows_delete}}}"#
            ));
            for (outside, inside) in OUTSIDE {
                hsm.set("TEST_STEP", format!("{outside}, {inside}"));
                let told = hsm.run();
                let why = match outside {
                    "version" => "its newest version is ",
                    "made anew" => "",
                    _ => "is a session's no more",
                };
                assert!(told.contains(why), "{outside}, {inside}: {told}");
                let outlives = told.contains("a key outlives its session: ");
                assert_eq!(outlives, !why.is_empty(), "{outside}, {inside}: {told}");
                let name = only_name(&hsm.rest);
                let versions = hsm.rest.call("GET", &format!("/keys/{name}/versions"), "");
                let count = versions["value"].as_array().map(Vec::len);
                let expected = if outside == "version" { 2 } else { 1 };
                assert_eq!(count, Some(expected), "{outside}, {inside}: {versions}");
                let key = hsm.rest.call("GET", &format!("/keys/{name}"), "");
                assert_eq!(key["tags"]["p11_pub_hidden"], serde_json::Value::Null);
                purge(&hsm.rest, &name);
            }
        }
        return;
    }
    let rest = rest();
    let pkcs11 = initialized();
    let other = session(&pkcs11);
    let session = session(&pkcs11);
    session.login(UserType::User, None).unwrap();
    let step = std::env::var("TEST_STEP").unwrap();
    let (outside, inside) = step.split_once(", ").unwrap();
    let public = [Attribute::EcParams(P256.to_vec())];
    let (public, private) = session
        .generate_key_pair(&Mechanism::EccKeyPairGen, &public, &[])
        .unwrap();
    let name = only_name(&rest);
    let shop = [Attribute::Label(name.clone().into()), PRIVATE];
    match outside {
        "version" => drop(rest.create(&name, EC)),
        "untagged" => rest.update(&name, r#"{"tags":{"theirs":"1"}}"#),
        "another's" => rest.update(&name, r#"{"tags":{"p11_session":"1@elsewhere"}}"#),
        _ => {
            purge(&rest, &name);
            rest.create(&name, EC);
        }
    }
    let newest = (inside == "search").then(|| only(&session, &shop));
    match inside {
        "destroy" => assert_eq!(
            code(session.destroy_object(private)),
            RvError::ActionProhibited
        ),
        "destroy public" => assert_eq!(
            code(session.destroy_object(public)),
            RvError::ActionProhibited
        ),
        "log out" => session.logout().unwrap(),
        _ => {}
    }
    drop(session);
    // The handles go with the session all the same, and those of the key that stays are others.
    for object in [public, private] {
        let told = other.get_attributes(object, &[AttributeType::Token]);
        assert_eq!(code(told), RvError::ObjectHandleInvalid, "{step}");
    }
    if outside == "another's" {
        return assert_eq!(other.find_objects(&shop).unwrap(), [], "{step}");
    }
    let found = only(&other, &shop);
    assert!(newest.is_none_or(|newest| newest == found), "{step}");
    let told = other.get_attributes(found, &[AttributeType::Token]);
    assert_eq!(told.unwrap(), [Attribute::Token(true)], "{step}");
    other.sign(&Mechanism::Ecdsa, found, &[1; 32]).unwrap();
}

/// A child that goes on with its parent's session has the parent's key stay.
#[test]
fn a_key_that_a_child_has_adopted_outlives_the_parents_session() {
    let hsm = Hsm::start();
    let output = hsm
        .command(program(&hsm, "adopted"))
        .arg(module())
        .output()
        .expect("it runs");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{:?}: {told}", output.status);
    assert!(told.contains("is a session's no more"), "{told}");
    let keys = hsm.rest.call("GET", "/keys", "");
    let keys = keys["value"].as_array().expect("a list");
    assert_eq!(keys.len(), 1, "{keys:?}");
    assert_eq!(keys[0]["tags"]["p11_session"], serde_json::Value::Null);
}

/// Also where the HSM doesn't do its part: who sweeps does it later. A call waits for all keys as
/// long as for one, and the end of the module hardly at all.
#[test]
fn handles_end_with_their_session_and_no_call_waits_for_each_key() {
    const TIMEOUT: Duration = Duration::from_secs(4);
    const COUNT: usize = 3;
    if !makes_calls() {
        let mut hsm = Hsm::start();
        hsm.configure(&format!(
            r#"{{"tokens":[{{"resourceName":"localhost"}}],"operationTimeout":{}}}"#,
            TIMEOUT.as_secs()
        ));
        let folder = hsm.folder.path().to_owned();
        hsm.set("TEST_FOLDER", folder.clone());
        for step in ["close", "log out", "finalize"] {
            hsm.set("TEST_STEP", step);
            let (faults, folder) = (hsm.emulator.faults.clone(), folder.clone());
            let hangs = std::thread::spawn(move || {
                let made = folder.join(format!("{step}-made"));
                wait_for(&made);
                // Who asks for each key once asks no more.
                let fault = format!("silence,path=/keys/p11-,count={COUNT}");
                faults.add(&fault).expect("a fault");
                std::fs::rename(made, folder.join(format!("{step}-hangs"))).expect("a file");
            });
            let told = hsm.run();
            hangs.join().expect("it has set the fault");
            let lines = told.lines().filter(|line| line.contains("akv_pkcs11: "));
            let lines: Vec<_> = lines.collect();
            assert_eq!(lines.len(), 1, "{step}: {told}");
            for words in ["3 keys outlive their session", "'akv pkcs11 sweep'"] {
                assert!(lines[0].contains(words), "{step}: {told}");
            }
        }
        let keys = hsm.rest.call("GET", "/keys", "");
        let count = keys["value"].as_array().map(Vec::len);
        return assert_eq!(count, Some(3 * COUNT), "{keys}");
    }
    let pkcs11 = initialized();
    let other = session(&pkcs11);
    let session = session(&pkcs11);
    session.login(UserType::User, None).unwrap();
    let template = [Attribute::EcParams(P256.to_vec())];
    let pairs = [(); COUNT].map(|()| {
        let pair = session.generate_key_pair(&Mechanism::EccKeyPairGen, &template, &[]);
        pair.unwrap()
    });
    let step = std::env::var("TEST_STEP").unwrap();
    let folder = PathBuf::from(std::env::var_os("TEST_FOLDER").unwrap());
    std::fs::write(folder.join(format!("{step}-made")), "").unwrap();
    wait_for(&folder.join(format!("{step}-hangs")));
    let began = Instant::now();
    match &*step {
        "close" => session.close().unwrap(),
        "log out" => session.logout().unwrap(),
        _ => {
            pkcs11.finalize().unwrap();
            let limit = TIMEOUT / 2;
            return assert!(began.elapsed() < limit, "{:?}", began.elapsed());
        }
    }
    let taken = began.elapsed();
    assert!(taken < 2 * TIMEOUT, "{step}: {taken:?}");
    are_no_more(&other, &pairs);
    let marked = [Attribute::VendorDefined((MAKER, Vec::new())), PRIVATE];
    let found = other.find_objects(&marked).unwrap();
    assert!(found.len() >= COUNT, "{step}");
    let told = other.get_attributes(found[0], &[AttributeType::Token]);
    assert_eq!(told.unwrap(), [Attribute::Token(false)], "{step}");
}

/// Neither the handles of keys nor any others that only who sweeps asks for.
fn are_no_more(session: &Session, pairs: &[(ObjectHandle, ObjectHandle)]) {
    for (public, private) in pairs {
        for object in [*public, *private] {
            let told = session.get_attributes(object, &[AttributeType::Token]);
            assert_eq!(code(told), RvError::ObjectHandleInvalid);
        }
        let signed = session.sign(&Mechanism::Ecdsa, *private, &[1; 32]);
        assert_eq!(code(signed), RvError::KeyHandleInvalid);
    }
    // Nor do they come back by the list, as anything but what another process has left.
    for further in [
        &[][..],
        &[Attribute::Token(true)],
        &[Attribute::Token(false)],
    ] {
        let template = [&[PRIVATE], further].concat();
        assert_eq!(session.find_objects(&template).unwrap(), []);
    }
}

/// Nothing stays, and so nothing is told.
#[test]
fn a_sessions_key_that_somebody_has_deleted_is_no_reason_for_a_warning() {
    if !makes_calls() {
        let mut hsm = Hsm::start();
        hsm.set("TEST_URL", hsm.rest.url.clone());
        hsm.set("TEST_CA", hsm.rest.ca.clone());
        let told = hsm.run();
        return assert!(!told.contains("akv_pkcs11: "), "{told}");
    }
    let pkcs11 = initialized();
    let session = session(&pkcs11);
    generate(&session, &[], false);
    let rest = rest();
    let name = only_name(&rest);
    rest.call("DELETE", &format!("/keys/{name}"), "");
}

/// A pair on P-256, to stay or not.
fn generate(session: &Session, further: &[Attribute], stays: bool) -> (ObjectHandle, ObjectHandle) {
    let both = [&[Attribute::Token(stays)], further].concat();
    let public = [&[Attribute::EcParams(P256.to_vec())], &both[..]].concat();
    let made = session.generate_key_pair(&Mechanism::EccKeyPairGen, &public, &both);
    made.unwrap()
}

/// The name of a deleted key is kept from all others, for as long as the key can be recovered.
#[test]
fn a_sessions_key_takes_no_name_away() {
    let tmp = [Attribute::Label(b"tmp".to_vec())];
    if !makes_calls() {
        let mut hsm = Hsm::start();
        hsm.configure(r#"{"tokens":[{"resourceName":"localhost"}],"keyNames":"label"}"#);
        hsm.run();
        return assert_eq!(only_name(&hsm.rest), "tmp");
    }
    let pkcs11 = initialized();
    for _ in 0..2 {
        let session = session(&pkcs11);
        let (public, private) = generate(&session, &tmp, false);
        for object in [public, private] {
            let told = session.get_attributes(object, &[AttributeType::Label]);
            assert_eq!(told.unwrap(), tmp);
        }
        // By its label it is found all the same.
        assert_eq!(only(&session, &[tmp[0].clone(), PRIVATE]), private);
    }
    generate(&session(&pkcs11), &tmp, true);
}

/// The HSM has made it: nobody else can have given a key its name.
#[test]
fn a_key_is_there_though_the_answer_is_lost_that_tells_of_it() {
    if !makes_calls() {
        let mut hsm = Hsm::start();
        hsm.set("TEST_STEP", "once");
        let fault = "lost-answer,operation=create,count=2";
        hsm.emulator.faults.add(fault).expect("a fault");
        let told = hsm.run();
        assert!(!told.contains("akv_pkcs11: "), "{told}");
        purge(&hsm.rest, &only_name(&hsm.rest));
        // Where nothing can be told of it, it is named.
        hsm.set("TEST_STEP", "always");
        hsm.set("AKV_OPERATION_TIMEOUT", "5");
        let fault = "lost-answer,path=/keys/p11-";
        hsm.emulator.faults.add(fault).expect("a fault");
        let told = hsm.run();
        let name = only_name(&hsm.rest);
        let words = format!("the key {name} may have been made all the same: 'akv pkcs11 sweep'");
        return assert!(told.contains(&words), "{told}");
    }
    let pkcs11 = initialized();
    let session = session(&pkcs11);
    if std::env::var("TEST_STEP").unwrap() == "always" {
        let public = [Attribute::EcParams(P256.to_vec())];
        let made = session.generate_key_pair(&Mechanism::EccKeyPairGen, &public, &[]);
        return assert_eq!(code(made), RvError::DeviceError);
    }
    for stays in [false, true] {
        let (_, private) = generate(&session, &[], stays);
        session.sign(&Mechanism::Ecdsa, private, &[1; 32]).unwrap();
    }
}
