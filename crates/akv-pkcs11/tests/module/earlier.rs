//! Versions that were found before their keys were rotated: by their ids alone, and only where no
//! other key is meant by them.

use std::thread::sleep;
use std::time::Duration;

use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, AttributeType, ObjectHandle};
use cryptoki::session::Session;

use crate::authority::Authority;
use crate::certificates::{EC, PRIVATE, bytes, label, write};
use crate::keys::rest;
use crate::support::{Hsm, initialized, makes_calls, only, session};

/// A search that finds nothing asks for a new list once the list is older than this.
const SETTLED: Duration = Duration::from_millis(2200);

/// An EC key with this id in its tags.
fn tagged(id: &str) -> String {
    format!(
        r#"{{"kty":"EC-HSM","crv":"P-256",
            "tags":{{"p11_pri_CKA_ID":"{id}","p11_pub_CKA_ID":"{id}"}}}}"#
    )
}

fn id_of(session: &Session, key: ObjectHandle) -> Attribute {
    Attribute::Id(bytes(session, key, AttributeType::Id))
}

/// The version of a key that a handle is of.
fn version(session: &Session, key: ObjectHandle) -> String {
    let names = session.get_attributes(key, &[AttributeType::UniqueId]);
    let [Attribute::UniqueId(name)] = &names.unwrap()[..] else {
        panic!("no name");
    };
    let name = std::str::from_utf8(name).unwrap();
    name.rsplit('/').next().unwrap().to_owned()
}

/// An HSM that the calling process reaches past the module, too.
fn hsm(settings: &str) -> Hsm {
    let mut hsm = Hsm::start();
    hsm.set("TEST_URL", hsm.rest.url.clone());
    hsm.set("TEST_CA", hsm.rest.ca.clone());
    hsm.configure(&format!(
        r#"{{"tokens":[{{"resourceName":"localhost"}}]{settings}}}"#
    ));
    hsm
}

/// OpenSSH keeps the id of a key, and looks for it before each signature.
#[test]
fn an_earlier_version_is_found_by_its_id_alone_and_as_long_as_its_key_is_there() {
    if !makes_calls() {
        let hsm = hsm(r#","refreshSeconds":0"#);
        let first = hsm.rest.create("web", EC);
        hsm.rest.create("other", EC);
        hsm.run();
        let requests = hsm.requests();
        let signed = requests.iter().filter(|request| request.is("sign"));
        let signed: Vec<bool> = signed
            .map(|request| request.path.contains(&first))
            .collect();
        return assert_eq!(signed, [true, true, false], "{requests:?}");
    }
    let rest = rest();
    let pkcs11 = initialized();
    let session = session(&pkcs11);
    let sign = |key| session.sign(&Mechanism::Ecdsa, key, &[1; 32]).unwrap();
    let by_label = [PRIVATE, label("web")];
    let earlier = only(&session, &by_label);
    let id = Attribute::Id(bytes(&session, earlier, AttributeType::Id));
    let by_id = [PRIVATE, id.clone(), Attribute::Sign(true)];
    let by_both = [PRIVATE, id.clone(), label("web")];
    sign(earlier);
    rest.rotate("web");
    for sought in [&by_id, &by_both] {
        assert_eq!(only(&session, sought), earlier);
    }
    sign(only(&session, &by_id));
    let newest = only(&session, &by_label);
    assert_ne!(newest, earlier);
    sign(newest);
    // Its public object is found by the id as well.
    assert_eq!(
        session
            .find_objects(std::slice::from_ref(&id))
            .unwrap()
            .len(),
        2
    );
    assert_eq!(session.find_objects(&[PRIVATE]).unwrap().len(), 2);
    let of_none = [PRIVATE, id, label("other")];
    assert_eq!(session.find_objects(&of_none).unwrap(), []);
    rest.call("DELETE", "/keys/web", "");
    assert_eq!(session.find_objects(&by_id).unwrap(), []);
    assert_eq!(session.find_objects(&by_both).unwrap(), []);
}

#[test]
fn of_several_earlier_versions_with_one_id_the_last_is_found() {
    if !makes_calls() {
        return drop(hsm(r#","refreshSeconds":0"#).run());
    }
    let rest = rest();
    let pkcs11 = initialized();
    let session = session(&pkcs11);
    let by_id = [PRIVATE, Attribute::Id(vec![0x0b])];
    let last = [0, 1, 2].map(|_| {
        let made = rest.create("web", &tagged("0b"));
        assert_eq!(version(&session, only(&session, &by_id)), made);
        // The list tells when a key was changed in seconds.
        sleep(Duration::from_secs(1));
        made
    });
    rest.create("web", EC);
    assert_eq!(version(&session, only(&session, &by_id)), last[2]);
}

/// A tag's id is a name that is given to another key, and not what a version is known by.
#[test]
fn an_id_that_another_key_has_got_finds_that_key() {
    if !makes_calls() {
        return drop(hsm(r#","refreshSeconds":86400"#).run());
    }
    let rest = rest();
    rest.create("before", &tagged("0b"));
    let pkcs11 = initialized();
    let session = session(&pkcs11);
    let by_id = [PRIVATE, Attribute::Id(vec![0x0b])];
    let before = only(&session, &by_id);
    rest.create("before", EC);
    sleep(SETTLED);
    let unknown = [PRIVATE, Attribute::Id(vec![0x0c])];
    assert_eq!(session.find_objects(&unknown).unwrap(), []);
    assert_eq!(only(&session, &by_id), before);
    let now = rest.create("now", &tagged("0b"));
    sleep(SETTLED);
    assert_eq!(version(&session, only(&session, &by_id)), now);
}

/// The newest version has the id of its own where the one in the tags is that of an earlier one,
/// which has a certificate.
#[test]
fn an_earlier_version_keeps_the_id_of_its_public_key() {
    if !makes_calls() {
        let mut hsm = hsm("");
        hsm.rest.create("web", &tagged("0b"));
        let leaf = Authority::new().issue_for(&hsm.rest, "web", 1);
        write(&hsm.file("web.pem"), &[&leaf]);
        hsm.rest.rotate("web");
        hsm.configure(&format!(
            r#"{{"tokens":[{{"resourceName":"localhost","certificates":[{:?}]}}],
                "refreshSeconds":0}}"#,
            hsm.file("web.pem")
        ));
        return drop(hsm.run());
    }
    let rest = rest();
    let pkcs11 = initialized();
    let session = session(&pkcs11);
    let of_certificate = only(&session, &[PRIVATE, Attribute::Id(vec![0x0b])]);
    let both = session.find_objects(&[PRIVATE, label("web")]).unwrap();
    let earlier = both.into_iter().find(|key| *key != of_certificate).unwrap();
    let id = id_of(&session, earlier);
    rest.rotate("web");
    for _ in 0..3 {
        assert_eq!(only(&session, &[PRIVATE, id.clone()]), earlier);
        assert_eq!(id_of(&session, earlier), id);
    }
    let newest = session.find_objects(&[PRIVATE, label("web")]).unwrap();
    assert_eq!(newest.len(), 2);
    assert!(!newest.contains(&earlier));
    session.sign(&Mechanism::Ecdsa, earlier, &[1; 32]).unwrap();
}

/// One that was made before may have been loaded after it, for its certificate.
#[test]
fn the_last_that_had_an_id_is_found_whichever_was_loaded_first() {
    if !makes_calls() {
        let mut hsm = hsm("");
        hsm.rest.create("web", &tagged("0b"));
        let folder = hsm.file("certificates");
        std::fs::create_dir(&folder).unwrap();
        let leaf = Authority::new().issue_for(&hsm.rest, "web", 1);
        write(&folder.join("web.pem"), &[&leaf]);
        hsm.set("TEST_FOLDER", folder.clone());
        hsm.configure(&format!(
            r#"{{"tokens":[{{"resourceName":"localhost","certificates":[{folder:?}]}}],
                "refreshSeconds":0}}"#
        ));
        // When a version was made is told in seconds.
        sleep(Duration::from_secs(1));
        hsm.rest.create("web", &tagged("0b"));
        return drop(hsm.run());
    }
    let folder = std::env::var_os("TEST_FOLDER").expect("the test sets it");
    let rest = rest();
    let pkcs11 = initialized();
    let session = session(&pkcs11);
    assert_eq!(session.find_objects(&[PRIVATE]).unwrap().len(), 2);
    std::fs::remove_file(std::path::Path::new(&folder).join("web.pem")).unwrap();
    sleep(SETTLED);
    let last = only(&session, &[PRIVATE]);
    rest.create("web", EC);
    sleep(SETTLED);
    assert_ne!(only(&session, &[PRIVATE]), last);
    let by_id = [PRIVATE, Attribute::Id(vec![0x0b])];
    assert_eq!(only(&session, &by_id), last);
}
