//! What a name means: a label or an id that is spelt otherwise, and the case of letters.

use cryptoki::object::{Attribute, AttributeType, ObjectClass};
use cryptoki::session::Session;

use crate::support::{Hsm, initialized, makes_calls, session};

const PRIVATE: Attribute = Attribute::Class(ObjectClass::PRIVATE_KEY);

/// The variable that tells a test's program which version it has to find.
const VERSION: &str = "WANTED_VERSION";

fn ec(tags: &str) -> String {
    format!(r#"{{"kty":"EC-HSM","crv":"P-256","tags":{{{tags}}}}}"#)
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
        let hsm = Hsm::start();
        for (name, label) in [
            ("one", "1"),
            ("hex", "31"),
            ("base", "MQ=="),
            ("short", "3230"),
            ("coded", "746c734b6579"),
            ("exact", "tlsKey2"),
            ("coded-too", "746c734b657932"),
        ] {
            hsm.rest
                .create(name, &ec(&format!(r#""p11_pri_CKA_LABEL":"{label}""#)));
        }
        hsm.run();
        return;
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

#[test]
fn an_id_is_that_of_the_key_that_shows_it() {
    if !makes_calls() {
        let hsm = Hsm::start();
        for (name, id) in [("text", "31"), ("hex", "3331"), ("long", "6d796b657931")] {
            hsm.rest
                .create(name, &ec(&format!(r#""p11_pri_CKA_ID":"{id}""#)));
        }
        hsm.run();
        return;
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

#[test]
fn a_name_is_the_same_in_any_case_and_a_label_is_not() {
    if !makes_calls() {
        let mut hsm = Hsm::start();
        hsm.rest.create("pinned", &ec(""));
        let first = hsm.rest.call("GET", "/keys/pinned", "");
        let kid = first["key"]["kid"].as_str().expect("a kid");
        let version = kid.rsplit('/').next().expect("a version").to_owned();
        hsm.rest.create("pinned", &ec(""));
        hsm.configure(&format!(
            r#"{{"tokens":[{{"resourceName":"localhost","keys":["PINNED?version={}"]}}]}}"#,
            version.to_uppercase()
        ));
        hsm.set(VERSION, &version);
        hsm.run();
        return;
    }
    let version = std::env::var(VERSION).expect("it is set");
    let pkcs11 = initialized();
    let session = session(&pkcs11);
    for sought in [label("pinned"), PRIVATE] {
        let keys = session.find_objects(&[PRIVATE, sought]).unwrap();
        assert_eq!(keys.len(), 1);
        let ids = session.get_attributes(keys[0], &[AttributeType::UniqueId]);
        let [Attribute::UniqueId(id)] = &ids.unwrap()[..] else {
            panic!("no id");
        };
        let id = String::from_utf8_lossy(id);
        assert!(id.contains(&version), "{id}");
    }
    assert!(found(&session, label("PINNED")).is_empty());
}
