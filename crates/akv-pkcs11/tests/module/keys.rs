//! Keys found, read, made, changed, destroyed; and the requests that it takes.

use cryptoki::error::RvError;
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, AttributeInfo, AttributeType, KeyType, ObjectClass};
use cryptoki::types::Date;
use testing::emulator::Options;

use crate::support::{Hsm, P256, code, initialized, makes_calls, only, session};

const RSA: &str = r#"{"kty":"RSA-HSM","key_size":2048}"#;
const EC: &str = r#"{"kty":"EC-HSM","crv":"P-256"}"#;
const AES: &str = r#"{"kty":"oct-HSM","key_size":256}"#;

fn label(text: &str) -> Attribute {
    Attribute::Label(text.as_bytes().to_vec())
}

#[test]
fn a_key_of_anybodys_is_found_by_its_name_with_one_request() {
    if !makes_calls() {
        let hsm = Hsm::start();
        hsm.rest.create("tlsKey", RSA);
        let before = hsm.requests().len();
        hsm.run();
        let requests = &hsm.requests()[before..];
        assert_eq!(requests.len(), 1, "{requests:?}");
        return assert!(requests[0].is("tlsKey"));
    }
    let pkcs11 = initialized();
    let session = session(&pkcs11);
    let private = [Attribute::Class(ObjectClass::PRIVATE_KEY), label("tlsKey")];
    let public = [Attribute::Class(ObjectClass::PUBLIC_KEY), label("tlsKey")];
    let (private, public) = (only(&session, &private), only(&session, &public));
    assert_ne!(private, public);
    assert_eq!(session.find_objects(&[label("tlsKey")]).unwrap().len(), 2);
    let types = [
        AttributeType::Class,
        AttributeType::KeyType,
        AttributeType::Id,
        AttributeType::ModulusBits,
        AttributeType::Sensitive,
        AttributeType::Extractable,
        AttributeType::Private,
        AttributeType::Sign,
        AttributeType::Verify,
        AttributeType::AlwaysAuthenticate,
    ];
    let of_private = session.get_attributes(private, &types).unwrap();
    for expected in [
        Attribute::Class(ObjectClass::PRIVATE_KEY),
        Attribute::KeyType(KeyType::RSA),
        Attribute::ModulusBits(2048.into()),
        Attribute::Sensitive(true),
        Attribute::Extractable(false),
        Attribute::Private(true),
        Attribute::Sign(true),
        Attribute::AlwaysAuthenticate(false),
    ] {
        assert!(of_private.contains(&expected), "{of_private:?}");
    }
    let of_public = session.get_attributes(public, &types).unwrap();
    assert!(
        of_public.contains(&Attribute::Verify(true)),
        "{of_public:?}"
    );
    // The id of both is SHA-1 of the public key, as certificates have it.
    let id = |attributes: &[Attribute]| {
        attributes.iter().find_map(|attribute| match attribute {
            Attribute::Id(id) => Some(id.clone()),
            _ => None,
        })
    };
    assert_eq!(id(&of_private).unwrap().len(), 20);
    assert_eq!(id(&of_private), id(&of_public));
    let secret = [AttributeType::PrivateExponent, AttributeType::Value];
    let told = session.get_attribute_info(private, &secret).unwrap();
    assert!(
        matches!(
            told[..],
            [AttributeInfo::Sensitive, AttributeInfo::TypeInvalid]
        ),
        "{told:?}"
    );
}

#[test]
fn a_whole_listing_is_asked_for_once() {
    if !makes_calls() {
        let hsm = Hsm::start();
        for n in 0..30 {
            hsm.rest.create(&format!("ec-{n}"), EC);
        }
        hsm.rest.create("rsa", RSA);
        hsm.rest.create("aes", AES);
        let before = hsm.requests().len();
        hsm.run();
        let requests = &hsm.requests()[before..];
        let lists = requests.iter().filter(|request| request.is("keys")).count();
        // Two pages, and each key.
        return assert_eq!((lists, requests.len()), (2, 2 + 32), "{requests:?}");
    }
    let pkcs11 = initialized();
    let session = session(&pkcs11);
    let found = |template: &[Attribute]| session.find_objects(template).unwrap().len();
    let of = |class| Attribute::Class(class);
    assert_eq!(found(&[of(ObjectClass::PRIVATE_KEY)]), 31);
    assert_eq!(found(&[of(ObjectClass::PUBLIC_KEY)]), 31);
    assert_eq!(
        found(&[of(ObjectClass::PUBLIC_KEY), Attribute::KeyType(KeyType::EC)]),
        30
    );
    assert_eq!(found(&[of(ObjectClass::SECRET_KEY)]), 1);
    assert_eq!(found(&[]), 63);
    assert_eq!(found(&[label("ec-7")]), 2);
    assert_eq!(found(&[label("ec-7"), Attribute::Token(false)]), 0);
    // Classes that an HSM has nothing of.
    for class in [ObjectClass::CERTIFICATE, ObjectClass::DATA] {
        assert_eq!(found(&[of(class)]), 0);
    }
    assert_eq!(found(&[of(ObjectClass::PROFILE)]), 3);
    let first = session.find_objects(&[label("ec-7")]).unwrap();
    assert_eq!(session.find_objects(&[label("ec-7")]).unwrap(), first);
    let id = session
        .get_attributes(first[0], &[AttributeType::Id])
        .unwrap();
    assert_eq!(found(&id), 2);
}

#[test]
fn a_key_that_another_process_has_just_made_is_found() {
    if !makes_calls() {
        let mut hsm = Hsm::start();
        hsm.rest.create("first", EC);
        hsm.set("TEST_URL", hsm.rest.url.clone());
        hsm.set("TEST_CA", hsm.rest.ca.clone());
        hsm.run();
        return;
    }
    let rest = rest();
    let pkcs11 = initialized();
    let session = session(&pkcs11);
    let tagged = [label("a label"), Attribute::Class(ObjectClass::PRIVATE_KEY)];
    assert_eq!(session.find_objects(&tagged).unwrap(), []);
    let body = r#"{"kty":"EC-HSM","crv":"P-256","tags":{"p11_pri_LABEL":"a label"}}"#;
    rest.create("second", body);
    std::thread::sleep(std::time::Duration::from_millis(2100));
    let second = only(&session, &tagged);
    // What others change meanwhile is not undone.
    rest.update(
        "second",
        r#"{"tags":{"p11_pri_LABEL":"a label","theirs":"1"}}"#,
    );
    let id = Attribute::Id(vec![7]);
    session
        .update_attributes(second, std::slice::from_ref(&id))
        .unwrap();
    let key = rest.call("GET", "/keys/second", "");
    assert_eq!(key["tags"]["theirs"], "1");
    assert_eq!(only(&session, &[id, label("a label")]), second);
    // A label of two keys is of two keys.
    let public = [
        Attribute::Token(true),
        label("a label"),
        Attribute::EcParams(P256.to_vec()),
    ];
    let private = [Attribute::Token(true), label("a label")];
    session
        .generate_key_pair(&Mechanism::EccKeyPairGen, &public, &private)
        .unwrap();
    assert_eq!(session.find_objects(&tagged).unwrap().len(), 2);
}

/// The emulator past the module, from the process that makes the calls.
pub(crate) fn rest() -> testing::Rest {
    testing::Rest {
        url: std::env::var("TEST_URL").unwrap(),
        ca: std::env::var("TEST_CA").unwrap().into(),
        token: std::env::var("AZURE_CLI_ACCESS_TOKEN").unwrap(),
    }
}

#[test]
fn threads_that_search_at_the_same_time_ask_for_one_list() {
    if !makes_calls() {
        let hsm = Hsm::start();
        for n in 0..10 {
            hsm.rest.create(&format!("ec-{n}"), EC);
        }
        let before = hsm.requests().len();
        hsm.run();
        let requests = &hsm.requests()[before..];
        return assert_eq!(requests.len(), 1 + 10, "{requests:?}");
    }
    let pkcs11 = initialized();
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                let session = session(&pkcs11);
                assert_eq!(session.find_objects(&[]).unwrap().len(), 20);
            });
        }
    });
}

#[test]
fn pairs_are_made_with_label_id_and_use_and_kept_so() {
    if !makes_calls() {
        let hsm = Hsm::start();
        hsm.run();
        // Another process finds the same.
        return assert_eq!(hsm.count("create"), 5);
    }
    let pkcs11 = initialized();
    let session = session(&pkcs11);
    let common = |id: u8| {
        [
            Attribute::Token(true),
            label("made"),
            Attribute::Id(vec![id]),
        ]
    };
    for (id, bits) in [(1, 2048u64), (2, 3072)] {
        let mut public = common(id).to_vec();
        public.extend([
            Attribute::ModulusBits(bits.into()),
            Attribute::PublicExponent(vec![1, 0, 1]),
            Attribute::Verify(true),
        ]);
        let mut private = common(id).to_vec();
        private.push(Attribute::Sign(true));
        session
            .generate_key_pair(&Mechanism::RsaPkcsKeyPairGen, &public, &private)
            .unwrap();
    }
    for (id, oid) in [
        (3, P256),
        (4, &[6, 5, 0x2b, 0x81, 4, 0, 0x22]),
        (5, &[6, 5, 0x2b, 0x81, 4, 0, 0x0a]),
    ] {
        let mut public = common(id).to_vec();
        public.push(Attribute::EcParams(oid.to_vec()));
        let (public, private) = session
            .generate_key_pair(&Mechanism::EccKeyPairGen, &public, &common(id))
            .unwrap();
        for object in [public, private] {
            let params = session
                .get_attributes(object, &[AttributeType::EcParams, AttributeType::EcPoint])
                .unwrap();
            assert!(params.contains(&Attribute::EcParams(oid.to_vec())));
            assert!(matches!(&params[1], Attribute::EcPoint(point) if point.starts_with(&[4])));
        }
    }
    let of_private = Attribute::Class(ObjectClass::PRIVATE_KEY);
    let all = session
        .find_objects(&[label("made"), of_private.clone()])
        .unwrap();
    assert_eq!(all.len(), 5);
    let second = only(&session, &[Attribute::Id(vec![2]), of_private]);
    let use_of = |types: &[AttributeType]| session.get_attributes(second, types).unwrap();
    assert_eq!(
        use_of(&[
            AttributeType::Sign,
            AttributeType::Decrypt,
            AttributeType::ModulusBits
        ]),
        [
            Attribute::Sign(true),
            Attribute::Decrypt(false),
            Attribute::ModulusBits(3072.into())
        ]
    );
}

#[test]
fn what_the_hsm_can_not_make_is_refused_with_the_reason() {
    if !makes_calls() {
        let hsm = Hsm::start();
        let told = hsm.run();
        for text in ["not of 1024", "CKA_EC_PARAMS", "CKA_MODULUS_BITS"] {
            assert!(told.contains(text), "{told}");
        }
        return assert_eq!(hsm.requests(), []);
    }
    let pkcs11 = initialized();
    let session = session(&pkcs11);
    let token = || Attribute::Token(true);
    for (mechanism, public, expected) in [
        (
            Mechanism::RsaPkcsKeyPairGen,
            vec![token(), Attribute::ModulusBits(1024.into())],
            RvError::KeySizeRange,
        ),
        (
            Mechanism::RsaPkcsKeyPairGen,
            vec![token()],
            RvError::TemplateIncomplete,
        ),
        (
            Mechanism::EccKeyPairGen,
            vec![token(), Attribute::EcParams(vec![6, 3, 0x2b, 0x65, 0x70])],
            RvError::CurveNotSupported,
        ),
        (
            Mechanism::EccKeyPairGen,
            vec![token(), Attribute::EcParams(vec![0x30, 0])],
            RvError::DomainParamsInvalid,
        ),
        (
            Mechanism::EccKeyPairGen,
            vec![
                Attribute::EcParams(P256.to_vec()),
                Attribute::KeyType(KeyType::RSA),
            ],
            RvError::TemplateInconsistent,
        ),
        (
            Mechanism::EccKeyPairGen,
            vec![
                Attribute::EcParams(P256.to_vec()),
                Attribute::EcPoint(vec![4]),
            ],
            RvError::AttributeReadOnly,
        ),
        (Mechanism::Sha256, vec![], RvError::MechanismInvalid),
    ] {
        let outcome = session.generate_key_pair(&mechanism, &public, &[token()]);
        assert_eq!(code(outcome), expected, "{public:?}");
    }
    let read_only = pkcs11
        .open_ro_session(crate::support::slot(&pkcs11))
        .unwrap();
    let public = [token(), Attribute::EcParams(P256.to_vec())];
    let outcome = read_only.generate_key_pair(&Mechanism::EccKeyPairGen, &public, &[token()]);
    assert_eq!(code(outcome), RvError::SessionReadOnly);
}

#[test]
fn label_id_use_and_dates_are_changed_in_the_hsm() {
    if !makes_calls() {
        let hsm = Hsm::start();
        let body = r#"{"kty":"EC-HSM","crv":"P-256","tags":{"mine":"stays"}}"#;
        hsm.rest.create("k", body);
        hsm.run();
        let key = hsm.rest.call("GET", "/keys/k", "");
        let tags = &key["tags"];
        assert_eq!(tags["mine"], "stays");
        assert_eq!(tags["p11_pri_CKA_LABEL"], "renamed");
        assert_eq!(tags["p11_pri_CKA_ID"], "0aff");
        assert_eq!(
            key["key"]["key_ops"],
            serde_json::json!(["verify", "deriveKey"])
        );
        return assert_eq!(key["attributes"]["exp"], 4_102_444_800i64);
    }
    let pkcs11 = initialized();
    let session = session(&pkcs11);
    let of_private = Attribute::Class(ObjectClass::PRIVATE_KEY);
    let key = only(&session, &[label("k"), of_private.clone()]);
    let change = [
        label("renamed"),
        Attribute::Id(vec![0x0a, 0xff]),
        Attribute::Sign(false),
        Attribute::EndDate(Date::new_from_str_slice("2099", "12", "31").unwrap()),
    ];
    session.update_attributes(key, &change).unwrap();
    assert_eq!(only(&session, &[label("renamed"), of_private]), key);
    let types = [
        AttributeType::Id,
        AttributeType::Sign,
        AttributeType::EndDate,
    ];
    let read = session.get_attributes(key, &types).unwrap();
    assert_eq!(read, change[1..]);
    // The other object keeps its label.
    only(
        &session,
        &[label("k"), Attribute::Class(ObjectClass::PUBLIC_KEY)],
    );
    for refused in [
        Attribute::Extractable(true),
        Attribute::ModulusBits(4096.into()),
    ] {
        let outcome = code(session.update_attributes(key, &[refused]));
        assert!(
            matches!(
                outcome,
                RvError::AttributeReadOnly | RvError::AttributeTypeInvalid
            ),
            "{outcome:?}"
        );
    }
    assert_eq!(
        code(session.sign(&Mechanism::Ecdsa, key, &[1; 32])),
        RvError::KeyFunctionNotPermitted
    );
}

#[test]
fn keys_are_destroyed_only_where_that_is_allowed() {
    if !makes_calls() {
        let mut hsm = Hsm::start();
        hsm.rest.create("k", EC);
        let told = hsm.run();
        assert!(told.contains("allowDelete"), "{told}");
        hsm.set("AKV_ALLOW_DELETE", "yes");
        hsm.run();
        let deleted = hsm.rest.call("GET", "/deletedkeys/k", "");
        return assert!(deleted["recoveryId"].is_string(), "{deleted}");
    }
    let is_allowed = std::env::var_os("AKV_ALLOW_DELETE").is_some();
    let pkcs11 = initialized();
    let session = session(&pkcs11);
    let private = only(
        &session,
        &[label("k"), Attribute::Class(ObjectClass::PRIVATE_KEY)],
    );
    let public = only(
        &session,
        &[label("k"), Attribute::Class(ObjectClass::PUBLIC_KEY)],
    );
    if !is_allowed {
        for key in [private, public] {
            assert_eq!(code(session.destroy_object(key)), RvError::ActionProhibited);
        }
        return;
    }
    session.destroy_object(public).unwrap();
    let kind = [AttributeType::KeyType];
    assert_eq!(
        code(session.get_attributes(public, &kind)),
        RvError::ObjectHandleInvalid
    );
    assert_eq!(session.find_objects(&[label("k")]).unwrap(), [private]);
    session.destroy_object(private).unwrap();
    assert_eq!(session.find_objects(&[label("k")]).unwrap(), []);
    assert_eq!(
        code(session.sign(&Mechanism::Ecdsa, private, &[1; 32])),
        RvError::KeyHandleInvalid
    );
    // Who made both objects destroys both, whichever comes first.
    let (public, private) = session
        .generate_key_pair(
            &Mechanism::EccKeyPairGen,
            &[Attribute::Token(true), Attribute::EcParams(P256.to_vec())],
            &[Attribute::Token(true)],
        )
        .unwrap();
    session.destroy_object(private).unwrap();
    let gone = code(session.get_attributes(public, &kind));
    assert_eq!(gone, RvError::ObjectHandleInvalid);
    session.destroy_object(public).unwrap();
    for key in [private, public] {
        let again = code(session.destroy_object(key));
        assert_eq!(again, RvError::ObjectHandleInvalid);
    }
}

#[test]
fn a_key_without_token_lives_as_long_as_its_session() {
    if !makes_calls() {
        let hsm = Hsm::start();
        hsm.run();
        return assert_eq!(
            hsm.rest.call("GET", "/keys", "")["value"],
            serde_json::json!([])
        );
    }
    let pkcs11 = initialized();
    let other = session(&pkcs11);
    let session = session(&pkcs11);
    let public = [Attribute::EcParams(P256.to_vec())];
    let (_, private) = session
        .generate_key_pair(&Mechanism::EccKeyPairGen, &public, &[])
        .unwrap();
    other.sign(&Mechanism::Ecdsa, private, &[1; 32]).unwrap();
    assert_eq!(
        other
            .get_attributes(private, &[AttributeType::Token])
            .unwrap(),
        [Attribute::Token(false)]
    );
    drop(session);
    assert_eq!(
        code(other.sign(&Mechanism::Ecdsa, private, &[1; 32])),
        RvError::KeyHandleInvalid
    );
}

/// As Java's keytool makes key pairs.
#[test]
fn a_key_of_a_session_stays_if_it_is_copied_into_the_token() {
    if !makes_calls() {
        let hsm = Hsm::start();
        hsm.run();
        let listed = hsm.rest.call("GET", "/keys", "");
        let keys = listed["value"].as_array().unwrap();
        assert_eq!(keys.len(), 1, "{listed}");
        assert_eq!(keys[0]["tags"]["p11_session"], serde_json::Value::Null);
        return assert_eq!(keys[0]["tags"]["p11_pri_CKA_ID"], "2a");
    }
    let pkcs11 = initialized();
    let other = session(&pkcs11);
    let session = session(&pkcs11);
    let public = [Attribute::EcParams(P256.to_vec())];
    let (of_public, of_session) = session
        .generate_key_pair(&Mechanism::EccKeyPairGen, &public, &[])
        .unwrap();
    let stay = [Attribute::Token(true), Attribute::Id(vec![42])];
    let copy = session.copy_object(of_session, &stay).unwrap();
    assert_ne!(copy, of_session);
    session
        .sign(&Mechanism::Ecdsa, of_session, &[1; 32])
        .unwrap();
    session.destroy_object(of_session).unwrap();
    for template in [&stay[1..], &[Attribute::Token(false)]] {
        let again = session.copy_object(copy, template);
        assert_eq!(code(again), RvError::ActionProhibited);
    }
    assert_eq!(
        code(session.get_attributes(of_public, &[AttributeType::Token])),
        RvError::ObjectHandleInvalid
    );
    drop(session);
    other.sign(&Mechanism::Ecdsa, copy, &[1; 32]).unwrap();
    assert_eq!(
        other.get_attributes(copy, &[AttributeType::Token]).unwrap(),
        [Attribute::Token(true)]
    );
}

#[test]
fn a_handle_goes_on_with_its_version_when_the_key_is_rotated() {
    if !makes_calls() {
        let mut hsm = Hsm::start_with(Options::default());
        hsm.configure(r#"{"tokens":[{"resourceName":"localhost"}],"refreshSeconds":0}"#);
        let first = hsm.rest.create("k", EC);
        hsm.set("TEST_URL", hsm.rest.url.clone());
        hsm.set("TEST_CA", hsm.rest.ca.clone());
        hsm.run();
        let requests = hsm.requests();
        let signed = requests.iter().filter(|request| request.is("sign"));
        let signed: Vec<bool> = signed
            .map(|request| request.path.contains(&first))
            .collect();
        return assert_eq!(signed, [true, true, false]);
    }
    let rest = rest();
    let pkcs11 = initialized();
    let session = session(&pkcs11);
    let template = [label("k"), Attribute::Class(ObjectClass::PRIVATE_KEY)];
    let old = only(&session, &template);
    let sign = |key| session.sign(&Mechanism::Ecdsa, key, &[1; 32]).unwrap();
    sign(old);
    rest.rotate("k");
    let new = only(&session, &template);
    assert_ne!(old, new);
    sign(old);
    sign(new);
}
