//! What a name means: a label or an id that is spelt otherwise, and the case of letters.

use cryptoki::error::RvError;
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, AttributeType, ObjectClass, ObjectHandle};
use cryptoki::session::Session;

use crate::support::{Hsm, P256, code, initialized, makes_calls, only, session};

const PRIVATE: Attribute = Attribute::Class(ObjectClass::PRIVATE_KEY);

/// The variable that tells a test's program which version it has to find.
const VERSION: &str = "WANTED_VERSION";

const EC: &str = r#"{"kty":"EC-HSM","crv":"P-256"}"#;

/// Makes keys that have a tag each, by their names, and has the test's program look for them.
fn look_among(tag: &str, keys: &[(&str, &str)]) {
    let hsm = Hsm::start();
    for (name, value) in keys {
        let body = format!(r#"{{"kty":"EC-HSM","crv":"P-256","tags":{{"{tag}":"{value}"}}}}"#);
        hsm.rest.create(name, &body);
    }
    hsm.run();
}

fn label(text: &str) -> Attribute {
    Attribute::Label(text.into())
}

/// The labels of the private keys that a search finds.
fn found(session: &Session, sought: Attribute) -> Vec<String> {
    let keys = session.find_objects(&[PRIVATE, sought]).unwrap();
    let labels = keys.into_iter().map(|key| {
        let attributes = session.get_attributes(key, &[AttributeType::Label]);
        match &attributes.unwrap()[..] {
            [Attribute::Label(label)] => String::from_utf8(label.clone()).unwrap(),
            other => panic!("{other:?}"),
        }
    });
    let mut labels: Vec<String> = labels.collect();
    labels.sort();
    labels
}

#[test]
fn a_label_that_no_key_has_may_be_one_that_is_spelt_otherwise() {
    if !makes_calls() {
        let labels = [
            ("one", "1"),
            ("hex", "31"),
            ("base", "MQ=="),
            ("short", "3230"),
            ("coded", "746c734b6579"),
            ("exact", "tlsKey2"),
            ("coded-too", "746c734b657932"),
        ];
        return look_among("p11_pri_CKA_LABEL", &labels);
    }
    let pkcs11 = initialized();
    let session = session(&pkcs11);
    for (sought, labels) in [
        ("1", &["1"][..]),
        ("31", &["31"]),
        // So short a text is found in too much.
        ("20", &[]),
        // Only another program can have written it so.
        ("tlsKey", &["746c734b6579"]),
        ("tlsKey2", &["tlsKey2"]),
    ] {
        assert_eq!(found(&session, label(sought)), labels, "{sought}");
    }
}

/// Whatever was looked for before.
#[test]
fn a_label_that_is_a_keys_name_is_that_keys() {
    if !makes_calls() {
        return look_among("p11_pri_CKA_LABEL", &[("api", "api"), ("other", "api")]);
    }
    let pkcs11 = initialized();
    let session = session(&pkcs11);
    let mut before = Vec::new();
    for searches in [&[][..], &[PRIVATE]] {
        session.find_objects(searches).unwrap();
        let key = only(&session, &[PRIVATE, label("api")]);
        let ids = session.get_attributes(key, &[AttributeType::UniqueId]);
        before.extend(ids.unwrap());
    }
    assert_eq!(before[0], before[1]);
    let [Attribute::UniqueId(id), _] = &before[..] else {
        panic!("no id");
    };
    let id = String::from_utf8_lossy(id);
    assert!(id.contains("/api/"), "{id}");
    // It is of another kind, and in no session.
    let template = [label("api"), Attribute::EcParams(P256.to_vec())];
    let pair = session.generate_key_pair(&Mechanism::EccKeyPairGen, &template, &template[..1]);
    let of_session = [PRIVATE, label("api"), Attribute::Token(false)];
    assert_eq!(only(&session, &of_session), pair.unwrap().1);
}

#[test]
fn an_id_is_that_of_the_key_that_shows_it() {
    if !makes_calls() {
        let ids = [("text", "31"), ("hex", "3331"), ("long", "6d796b657931")];
        return look_among("p11_pri_CKA_ID", &ids);
    }
    let pkcs11 = initialized();
    let session = session(&pkcs11);
    for (id, labels) in [
        (&b"31"[..], &["hex"][..]),
        (b"1", &["text"]),
        (b"mykey1", &["long"]),
        (b"6d796b657931", &["long"]),
        (b"3331", &["hex"]),
        (b"20", &[]),
    ] {
        let sought = Attribute::Id(id.to_vec());
        assert_eq!(found(&session, sought), labels, "{id:?}");
    }
}

/// An HSM with two versions of the key `pinned`, and the first one's number.
fn pinned() -> (Hsm, String) {
    let mut hsm = Hsm::start();
    hsm.rest.create("pinned", EC);
    let first = hsm.rest.call("GET", "/keys/pinned", "");
    let kid = first["key"]["kid"].as_str().expect("a kid");
    let version = kid.rsplit('/').next().expect("a version").to_owned();
    hsm.rest.create("pinned", EC);
    hsm.set(VERSION, &version);
    (hsm, version)
}

/// A search finds one key, of the version that the configuration names.
fn finds_the_version(session: &Session, sought: Attribute) -> ObjectHandle {
    let version = std::env::var(VERSION).expect("it is set");
    let key = only(session, &[PRIVATE, sought]);
    let ids = session.get_attributes(key, &[AttributeType::UniqueId]);
    let [Attribute::UniqueId(id)] = &ids.unwrap()[..] else {
        panic!("no id");
    };
    let id = String::from_utf8_lossy(id);
    assert!(id.contains(&version), "{id}");
    key
}

#[test]
fn a_name_is_the_same_in_any_case_and_a_label_is_not() {
    if !makes_calls() {
        let (mut hsm, version) = pinned();
        hsm.configure(&format!(
            r#"{{"tokens":[{{"resourceName":"localhost","keys":["PINNED?version={}"]}}]}}"#,
            version.to_uppercase()
        ));
        hsm.run();
        return;
    }
    let pkcs11 = initialized();
    let session = session(&pkcs11);
    for sought in [label("pinned"), PRIVATE] {
        finds_the_version(&session, sought);
    }
    assert!(found(&session, label("PINNED")).is_empty());
}

#[test]
fn no_other_version_is_found_than_the_configuration_names() {
    if !makes_calls() {
        let (mut hsm, version) = pinned();
        hsm.configure(&format!(
            r#"{{"tokens":[{{"resourceName":"localhost","keys":["pinned?version={version}","p*"]}}],
                "allowDelete":true}}"#
        ));
        hsm.run();
        // All searches but the first know it.
        let requests = hsm.requests().into_iter();
        let asked = requests.filter(|request| request.path.ends_with(&version));
        assert_eq!(asked.count(), 1);
        hsm.set("TEST_DESTROY", "yes");
        let told = hsm.run();
        assert!(
            told.contains("the configuration names the older one"),
            "{told}"
        );
        let there = hsm.rest.call("GET", "/keys/pinned", "");
        return assert!(there["key"]["kid"].is_string(), "{there}");
    }
    let destroys = std::env::var_os("TEST_DESTROY").is_some();
    let pkcs11 = initialized();
    let session = session(&pkcs11);
    for _ in 0..2 {
        let key = finds_the_version(&session, Attribute::Token(true));
        if destroys {
            let refused = code(session.destroy_object(key));
            assert_eq!(refused, RvError::ActionProhibited);
        }
        finds_the_version(&session, label("pinned"));
    }
}
