//! Certificates: found beside their keys, written and removed by programs.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use cryptoki::error::RvError;
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, AttributeType, CertificateType, ObjectClass, ObjectHandle};
use cryptoki::session::Session;
use openssl::x509::X509;

use crate::authority::Authority;
use crate::support::{Hsm, code, initialized, makes_calls, only, session, slot};

pub(crate) const RSA: &str = r#"{"kty":"RSA-HSM","key_size":2048}"#;
pub(crate) const EC: &str = r#"{"kty":"EC-HSM","crv":"P-256"}"#;

pub(crate) const CERTIFICATE: Attribute = Attribute::Class(ObjectClass::CERTIFICATE);
pub(crate) const PRIVATE: Attribute = Attribute::Class(ObjectClass::PRIVATE_KEY);

pub(crate) fn label(text: &str) -> Attribute {
    Attribute::Label(text.as_bytes().to_vec())
}

pub(crate) fn bytes(session: &Session, object: ObjectHandle, type_: AttributeType) -> Vec<u8> {
    let read = session.get_attributes(object, &[type_]).unwrap();
    match read.into_iter().next() {
        Some(
            Attribute::Id(value)
            | Attribute::Label(value)
            | Attribute::Value(value)
            | Attribute::Subject(value)
            | Attribute::Issuer(value)
            | Attribute::SerialNumber(value)
            | Attribute::PublicKeyInfo(value),
        ) => value,
        other => panic!("{type_:?}: {other:?}"),
    }
}

/// Writes certificates to a file, in which the process that makes the calls finds them as well.
pub(crate) fn write(path: &Path, certificates: &[&X509]) {
    let pem: Vec<u8> = certificates
        .iter()
        .flat_map(|certificate| certificate.to_pem().unwrap())
        .collect();
    std::fs::write(path, pem).unwrap();
}

/// The certificates of a file that a variable names.
pub(crate) fn read(variable: &str) -> Vec<X509> {
    let path = std::env::var_os(variable).expect("it is told");
    X509::stack_from_pem(&std::fs::read(path).unwrap()).unwrap()
}

/// A configuration with the one token, and what a test adds to it.
pub(crate) fn configure(hsm: &mut Hsm, of_token: &str) {
    hsm.configure(&format!(
        r#"{{"tokens":[{{"resourceName":"localhost",{of_token}}}]}}"#
    ));
}

/// An HSM with a key, whose certificate and its issuer's are in a file.
fn with_chain() -> Hsm {
    let mut hsm = Hsm::start();
    hsm.rest.create("ec", EC);
    let authority = Authority::new();
    let leaf = authority.issue_for(&hsm.rest, "ec", 1);
    write(&hsm.file("chain.pem"), &[&leaf, &authority.certificate]);
    hsm.set("TEST_CHAIN", hsm.file("chain.pem"));
    hsm
}

#[test]
fn certificates_are_found_beside_their_keys() {
    if !makes_calls() {
        let mut hsm = Hsm::start();
        let tagged = r#"{"kty":"RSA-HSM","key_size":2048,
            "tags":{"p11_pri_CKA_ID":"0b0c","p11_pri_CKA_LABEL":"web server"}}"#;
        hsm.rest.create("rsa", tagged);
        hsm.rest.create("ec", EC);
        let authority = Authority::new();
        let leaf = authority.issue_for(&hsm.rest, "rsa", 1000);
        let other = authority.issue_for(&hsm.rest, "ec", 200);
        write(&hsm.file("chain.pem"), &[&leaf, &authority.certificate]);
        let folder = hsm.file("more");
        std::fs::create_dir(&folder).unwrap();
        write(&folder.join("ec.pem"), &[&other]);
        // What is nothing of a certificate in a folder is left alone.
        std::fs::write(folder.join("README"), "these are certificates").unwrap();
        let key = authority.key.private_key_to_pem_pkcs8().unwrap();
        std::fs::write(folder.join("key.pem"), key).unwrap();
        let places = format!("[{:?},{folder:?}]", hsm.file("chain.pem"));
        configure(&mut hsm, &format!(r#""certificates":{places}"#));
        hsm.set("TEST_CHAIN", hsm.file("chain.pem"));
        let before = hsm.requests().len();
        hsm.run();
        let requests = &hsm.requests()[before..];
        // A list, the two keys, and the versions of the one that may be the CA's; a signature.
        return assert_eq!(requests.len(), 1 + 2 + 1 + 1, "{requests:?}");
    }
    let chain = read("TEST_CHAIN");
    let pkcs11 = initialized();
    let session = session(&pkcs11);
    assert_eq!(session.find_objects(&[CERTIFICATE]).unwrap().len(), 3);
    assert_eq!(session.find_objects(&[]).unwrap().len(), 3 + 4);
    let profiles = [Attribute::Class(ObjectClass::PROFILE)];
    assert_eq!(session.find_objects(&profiles).unwrap().len(), 4);

    // The leaf has its key's id and label.
    let der = chain[0].to_der().unwrap();
    let leaf = only(&session, &[Attribute::Value(der.clone())]);
    let key = only(&session, &[PRIVATE, label("web server")]);
    assert_eq!(bytes(&session, leaf, AttributeType::Id), [0x0b, 0x0c]);
    assert_eq!(bytes(&session, key, AttributeType::Id), [0x0b, 0x0c]);
    assert_eq!(bytes(&session, leaf, AttributeType::Label), b"web server");
    assert_eq!(bytes(&session, leaf, AttributeType::Value), der);
    for sought in [
        vec![label("web server")],
        vec![Attribute::Id(vec![0x0b, 0x0c])],
        vec![Attribute::Subject(
            chain[0].subject_name().to_der().unwrap(),
        )],
        vec![
            Attribute::Issuer(chain[0].issuer_name().to_der().unwrap()),
            Attribute::SerialNumber(vec![2, 2, 3, 0xe8]),
        ],
        // As Java has it.
        vec![Attribute::SerialNumber(vec![3, 0xe8])],
        vec![
            Attribute::Token(true),
            label("web server"),
            Attribute::Private(false),
        ],
    ] {
        let template = [&sought[..], &[CERTIFICATE]].concat();
        assert_eq!(only(&session, &template), leaf, "{sought:?}");
    }
    for sought in [
        label("web"),
        Attribute::Id(vec![0x0b]),
        Attribute::SerialNumber(vec![3]),
        Attribute::Token(false),
    ] {
        let found = session.find_objects(&[CERTIFICATE, sought.clone()]);
        assert_eq!(found.unwrap(), [], "{sought:?}");
    }
    let spki = chain[0].public_key().unwrap().public_key_to_der().unwrap();
    assert_eq!(bytes(&session, leaf, AttributeType::PublicKeyInfo), spki);

    // A CA's has no key here: it has the subject key identifier, and its name.
    let authority = only(&session, &[CERTIFICATE, label("the test's CA")]);
    let id = chain[1].subject_key_id().unwrap().as_slice().to_vec();
    assert_eq!(bytes(&session, authority, AttributeType::Id), id);
    // The issuer of one is the subject of the next: so Java goes up a chain.
    let issuer = bytes(&session, leaf, AttributeType::Issuer);
    assert_eq!(bytes(&session, authority, AttributeType::Subject), issuer);
    assert_eq!(
        only(&session, &[CERTIFICATE, Attribute::Subject(issuer)]),
        authority
    );
    // That of a key without tags has the id that both have by themselves.
    let ec = only(&session, &[PRIVATE, label("ec")]);
    let id = Attribute::Id(bytes(&session, ec, AttributeType::Id));
    let of_ec = only(&session, &[CERTIFICATE, id]);
    assert_eq!(bytes(&session, of_ec, AttributeType::Label), b"ec");
    session.sign(&Mechanism::Ecdsa, ec, &[1; 32]).unwrap();
}

#[test]
fn certificates_say_what_else_programs_ask_for() {
    if !makes_calls() {
        let mut hsm = with_chain();
        let text = format!(r#""certificates":[{:?}]"#, hsm.file("chain.pem"));
        configure(&mut hsm, &text);
        hsm.run();
        return;
    }
    let pkcs11 = initialized();
    let session = session(&pkcs11);
    let leaf = only(&session, &[CERTIFICATE, label("ec")]);
    let types = [
        AttributeType::CertificateType,
        AttributeType::Token,
        AttributeType::Private,
        AttributeType::Trusted,
        AttributeType::Modifiable,
        AttributeType::Destroyable,
    ];
    let expected = [
        Attribute::CertificateType(CertificateType::X_509),
        Attribute::Token(true),
        Attribute::Private(false),
        Attribute::Trusted(false),
        Attribute::Modifiable(false),
        Attribute::Destroyable(false),
    ];
    assert_eq!(session.get_attributes(leaf, &types).unwrap(), expected);
    let dates = [AttributeType::StartDate, AttributeType::EndDate];
    let dates = session.get_attributes(leaf, &dates).unwrap();
    assert!(
        matches!(&dates[..], [Attribute::StartDate(first), Attribute::EndDate(last)] if first != last),
        "{dates:?}"
    );
    let key = [AttributeType::KeyType, AttributeType::Modulus];
    let told = session.get_attribute_info(leaf, &key).unwrap();
    assert!(
        told.iter()
            .all(|info| matches!(info, cryptoki::object::AttributeInfo::TypeInvalid)),
        "{told:?}"
    );
    // What is only read is neither changed nor removed.
    assert_eq!(
        code(session.destroy_object(leaf)),
        RvError::ActionProhibited
    );
    let renamed = session.update_attributes(leaf, &[label("other")]);
    assert_eq!(code(renamed), RvError::ActionProhibited);
    let copied = session.copy_object(leaf, &[]);
    assert_eq!(code(copied), RvError::ActionProhibited);
    // It is no key.
    assert_eq!(
        code(session.sign(&Mechanism::Ecdsa, leaf, &[1; 32])),
        RvError::KeyHandleInvalid
    );
}

pub(crate) fn template(certificate: &X509, further: &[Attribute]) -> Vec<Attribute> {
    let own = [
        CERTIFICATE,
        Attribute::CertificateType(CertificateType::X_509),
        Attribute::Subject(certificate.subject_name().to_der().unwrap()),
        Attribute::Issuer(certificate.issuer_name().to_der().unwrap()),
        Attribute::Value(certificate.to_der().unwrap()),
    ];
    [&own[..], further].concat()
}

#[test]
fn programs_write_certificates_into_their_folder_and_remove_them() {
    if !makes_calls() {
        let mut hsm = with_chain();
        let folder = hsm.file("written");
        hsm.set("TEST_FOLDER", folder.clone());
        configure(&mut hsm, &format!(r#""certificateDirectory":{folder:?}"#));
        hsm.run();
        let mode = std::fs::metadata(&folder).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        return assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 0);
    }
    let chain = read("TEST_CHAIN");
    let folder = std::env::var_os("TEST_FOLDER").unwrap();
    let files = || {
        let entries = std::fs::read_dir(&folder).unwrap();
        let names = entries.map(|entry| entry.unwrap().path());
        names.collect::<Vec<_>>()
    };
    let pkcs11 = initialized();
    let other = session(&pkcs11);
    let session = session(&pkcs11);
    let token = Attribute::Token(true);
    let create = |certificate: &X509, further: &[Attribute]| {
        session.create_object(&template(certificate, further))
    };
    let ca = [token.clone(), label("root"), Attribute::Id(vec![7])];
    let ca = create(&chain[1], &ca).unwrap();
    let leaf = create(
        &chain[0],
        &[token.clone(), label("web"), Attribute::Id(vec![9])],
    )
    .unwrap();
    // The id is the key's, whatever the program says; a CA's is its own.
    let key = only(&other, &[PRIVATE, label("ec")]);
    let id = bytes(&other, key, AttributeType::Id);
    assert_eq!(bytes(&other, leaf, AttributeType::Id), id);
    assert_eq!(bytes(&other, leaf, AttributeType::Label), b"web");
    // It is found by both, and by what it was given together.
    for id in [&id[..], &[9]] {
        let by_id = [CERTIFICATE, Attribute::Id(id.to_vec())];
        assert_eq!(only(&other, &by_id), leaf, "{id:?}");
    }
    let given = [label("web"), Attribute::Id(vec![9])];
    assert_eq!(only(&other, &given), leaf);
    assert_eq!(bytes(&other, ca, AttributeType::Id), [7]);
    assert_eq!(only(&other, &[CERTIFICATE, Attribute::Id(vec![7])]), ca);
    assert_eq!(files().len(), 2);
    let written = files();
    let text = std::fs::read(&written[0]).unwrap();
    assert!(X509::from_pem(&text).is_ok(), "anybody can read it");
    // Once more is the same once.
    let again = create(
        &chain[1],
        &[token.clone(), label("root"), Attribute::Id(vec![7])],
    );
    assert_eq!((again.unwrap(), files().len()), (ca, 2));
    session
        .update_attributes(ca, &[label("the root"), Attribute::Id(vec![8])])
        .unwrap();
    assert_eq!(
        code(session.update_attributes(leaf, &[Attribute::Id(vec![8])])),
        RvError::AttributeReadOnly
    );

    // Another process finds it so.
    drop((session, other));
    pkcs11.finalize().unwrap();
    let pkcs11 = initialized();
    let session = crate::support::session(&pkcs11);
    let ca = only(&session, &[CERTIFICATE, label("the root")]);
    assert_eq!(bytes(&session, ca, AttributeType::Id), [8]);
    let leaf = only(&session, &[CERTIFICATE, label("web")]);
    let read_only = pkcs11.open_ro_session(slot(&pkcs11)).unwrap();
    assert_eq!(code(read_only.destroy_object(ca)), RvError::SessionReadOnly);
    assert_eq!(
        code(read_only.create_object(&template(&chain[0], std::slice::from_ref(&token)))),
        RvError::SessionReadOnly
    );
    session.destroy_object(ca).unwrap();
    session.destroy_object(leaf).unwrap();
    assert_eq!(session.find_objects(&[CERTIFICATE]).unwrap(), []);
    let gone = session.get_attributes(ca, &[AttributeType::Id]);
    assert_eq!(code(gone), RvError::ObjectHandleInvalid);
}

/// Who changes a part of it may have read it long before.
#[test]
fn what_another_process_has_changed_of_a_certificate_stays() {
    if !makes_calls() {
        let mut hsm = with_chain();
        let folder = hsm.file("written");
        hsm.set("TEST_FOLDER", folder.clone());
        configure(&mut hsm, &format!(r#""certificateDirectory":{folder:?}"#));
        hsm.run();
        return assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 0);
    }
    let authority = &read("TEST_CHAIN")[1];
    let pkcs11 = initialized();
    let session = session(&pkcs11);
    let given = [
        Attribute::Token(true),
        label("ours"),
        Attribute::Id(vec![7]),
    ];
    let certificate = session.create_object(&template(authority, &given)).unwrap();
    let folder = std::env::var_os("TEST_FOLDER").unwrap();
    let file = std::fs::read_dir(folder).unwrap().next().unwrap();
    let file = file.unwrap().path();
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace(": ours", ": theirs")).unwrap();
    let id = [Attribute::Id(vec![8])];
    session.update_attributes(certificate, &id).unwrap();
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(
        text.contains(": theirs\n") && text.contains(": 08\n"),
        "{text}"
    );
    assert_eq!(
        bytes(&session, certificate, AttributeType::Label),
        b"theirs"
    );
    // Also where it had for this process what it is to have.
    std::fs::write(&file, text.replace(": theirs", ": others'")).unwrap();
    let theirs = [label("theirs")];
    session.update_attributes(certificate, &theirs).unwrap();
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(text.contains(": theirs\n"), "{text}");
    // One that was removed does not come back.
    std::fs::remove_file(&file).unwrap();
    let gone = session.update_attributes(certificate, &[label("ours")]);
    assert_eq!(code(gone), RvError::ObjectHandleInvalid);
    let gone = session.get_attributes(certificate, &[AttributeType::Id]);
    assert_eq!(code(gone), RvError::ObjectHandleInvalid);
}

#[test]
fn a_certificate_without_token_lives_as_long_as_its_session_unless_it_is_copied() {
    if !makes_calls() {
        let mut hsm = with_chain();
        let folder = hsm.file("written");
        configure(&mut hsm, &format!(r#""certificateDirectory":{folder:?}"#));
        hsm.run();
        return assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 1);
    }
    let chain = read("TEST_CHAIN");
    let pkcs11 = initialized();
    let other = session(&pkcs11);
    let session = session(&pkcs11);
    let brought: Vec<_> = chain
        .iter()
        .map(|one| session.create_object(&template(one, &[])).unwrap())
        .collect();
    assert_eq!(only(&other, &[CERTIFICATE, label("ec")]), brought[0]);
    let of_token = [CERTIFICATE, Attribute::Token(true)];
    assert_eq!(other.find_objects(&of_token).unwrap(), []);
    let copy = session.copy_object(brought[1], &[Attribute::Token(true), label("kept")]);
    let copy = copy.unwrap();
    assert_ne!(copy, brought[1]);
    drop(session);
    let gone = other.get_attributes(brought[0], &[AttributeType::Id]);
    assert_eq!(code(gone), RvError::ObjectHandleInvalid);
    assert_eq!(other.find_objects(&[CERTIFICATE]).unwrap(), [copy]);
    assert_eq!(bytes(&other, copy, AttributeType::Label), b"kept");
}

#[test]
fn a_session_brings_the_same_certificate_twice_as_two_objects() {
    if !makes_calls() {
        return drop(with_chain().run());
    }
    let authority = &read("TEST_CHAIN")[1];
    let pkcs11 = initialized();
    let session = session(&pkcs11);
    let bring = |name| {
        let template = template(authority, &[label(name)]);
        session.create_object(&template).unwrap()
    };
    let (one, other) = (bring("one"), bring("other"));
    assert_ne!(one, other);
    assert_eq!(only(&session, &[CERTIFICATE, label("one")]), one);
    assert_eq!(only(&session, &[CERTIFICATE, label("other")]), other);
    session.update_attributes(one, &[label("first")]).unwrap();
    assert_eq!(bytes(&session, one, AttributeType::Label), b"first");
    assert_eq!(bytes(&session, other, AttributeType::Label), b"other");
    session.destroy_object(one).unwrap();
    assert_eq!(session.find_objects(&[CERTIFICATE]).unwrap(), [other]);
}

#[test]
fn what_is_no_certificate_or_has_no_place_is_refused_with_the_reason() {
    if !makes_calls() {
        let mut hsm = Hsm::start();
        let authority = Authority::new();
        write(
            &hsm.file("chain.pem"),
            &[&authority.certificate, &authority.certificate],
        );
        hsm.set("TEST_CHAIN", hsm.file("chain.pem"));
        let open = hsm.file("open");
        std::fs::create_dir(&open).unwrap();
        std::fs::set_permissions(&open, PermissionsExt::from_mode(0o777)).unwrap();
        hsm.configure(&format!(
            r#"{{"tokens":[{{"resourceName":"localhost"}},
                {{"resourceName":"localhost","certificateDirectory":{open:?}}}]}}"#
        ));
        let told = hsm.run();
        for words in [
            "certificateDirectory",
            "chmod go-w",
            "no X.509 certificate",
            "CKA_SUBJECT is not that of the certificate",
            "lacks CKA_VALUE",
        ] {
            assert!(told.contains(words), "{words}: {told}");
        }
        return assert_eq!(std::fs::read_dir(&open).unwrap().count(), 0);
    }
    let certificate = &read("TEST_CHAIN")[0];
    let pkcs11 = initialized();
    let slots = pkcs11.get_slots_with_token().unwrap();
    for slot in slots {
        let session = pkcs11.open_rw_session(slot).unwrap();
        let kept = template(certificate, &[Attribute::Token(true)]);
        let outcome = session.create_object(&kept);
        assert_eq!(code(outcome), RvError::TokenWriteProtected);
        // Of a kind of failures one a second is told.
        std::thread::sleep(std::time::Duration::from_millis(1100));
    }
    let session = session(&pkcs11);
    let without = |type_: AttributeType| {
        let all = template(certificate, &[]).into_iter();
        all.filter(|of| of.attribute_type() != type_)
            .collect::<Vec<_>>()
    };
    let with = |attribute: Attribute| {
        let others = without(attribute.attribute_type());
        [others, vec![attribute]].concat()
    };
    for (template, expected) in [
        (without(AttributeType::Value), RvError::TemplateIncomplete),
        (
            without(AttributeType::CertificateType),
            RvError::TemplateIncomplete,
        ),
        (
            with(Attribute::Value(vec![0x30, 0])),
            RvError::AttributeValueInvalid,
        ),
        (
            with(Attribute::Subject(vec![0x30, 0])),
            RvError::TemplateInconsistent,
        ),
        (
            with(Attribute::SerialNumber(vec![2, 1, 9])),
            RvError::TemplateInconsistent,
        ),
        (
            with(Attribute::Modulus(vec![1])),
            RvError::AttributeTypeInvalid,
        ),
        (
            with(Attribute::Private(true)),
            RvError::TemplateInconsistent,
        ),
        (
            with(Attribute::Trusted(true)),
            RvError::TemplateInconsistent,
        ),
    ] {
        assert_eq!(
            code(session.create_object(&template)),
            expected,
            "{template:?}"
        );
    }
}

/// Nobody who asks for what the token doesn't do is left to think that it was done.
#[test]
fn no_wish_for_a_certificate_is_dropped_in_silence() {
    let number = |number: u64| number.to_ne_bytes().to_vec();
    let wishes = [
        (0x170, vec![0], "CKA_MODIFIABLE"),
        (0x171, vec![0], "CKA_COPYABLE"),
        (0x172, vec![0], "CKA_DESTROYABLE"),
        (0x87, number(2), "CKA_CERTIFICATE_CATEGORY"),
        (0x88, number(1), "CKA_JAVA_MIDP_SECURITY_DOMAIN"),
        (0x110, b"19990101".to_vec(), "CKA_START_DATE"),
        (0x111, b"20000101".to_vec(), "CKA_END_DATE"),
    ];
    let of = |type_, value: &[u8]| {
        Attribute::VendorDefined((AttributeType::VendorDefined(type_), value.to_vec()))
    };
    if !makes_calls() {
        let mut hsm = with_chain();
        for is_strict in [false, true] {
            hsm.set("TEST_STRICT", is_strict.to_string());
            hsm.configure(&format!(
                r#"{{"tokens":[{{"resourceName":"localhost"}}],"strictTemplates":{is_strict}}}"#
            ));
            let told = hsm.run();
            for (_, _, name) in wishes.iter().filter(|_| !is_strict) {
                let words = format!("no certificate has {name} as");
                assert!(told.contains(&words), "{name}: {told}");
            }
        }
        return;
    }
    let is_strict = std::env::var("TEST_STRICT").unwrap() == "true";
    let leaf = &read("TEST_CHAIN")[0];
    let pkcs11 = initialized();
    let session = session(&pkcs11);
    let create = |attribute| session.create_object(&template(leaf, &[attribute]));
    for (type_, value, name) in &wishes {
        let outcome = create(of(*type_, value));
        match is_strict {
            true => assert_eq!(code(outcome), RvError::TemplateInconsistent, "{name}"),
            false => drop(outcome.unwrap()),
        }
    }

    // What is so, or is left to the token.
    let made = create(label("x")).unwrap();
    let first = session.get_attributes(made, &[AttributeType::StartDate]);
    create(first.unwrap().remove(0)).unwrap();
    for (type_, value) in [(0x170, &[1][..]), (0x87, &[0; 8]), (0x111, &[])] {
        create(of(type_, value)).unwrap();
    }
    for (type_, value) in [
        (0x170, vec![1; 2]),
        (0x172, vec![]),
        (0x87, vec![1]),
        (0x87, number(77)),
    ] {
        let outcome = create(of(type_, &value));
        assert_eq!(code(outcome), RvError::AttributeValueInvalid, "{type_:x}");
    }
}
