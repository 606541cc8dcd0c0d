//! Templates as the standard has them: what may not be in one is refused by the right code, and
//! what is not kept is told of.

use cryptoki::error::RvError;
use cryptoki::mechanism::{Mechanism, MechanismType};
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass};
use cryptoki::session::Session;
use cryptoki::types::Date;

use crate::support::{Hsm, P256, code, initialized, makes_calls, session};

/// A secret key that a program brings.
fn secret() -> Vec<Attribute> {
    vec![
        Attribute::Class(ObjectClass::SECRET_KEY),
        Attribute::KeyType(KeyType::AES),
        Attribute::Value(vec![7; 16]),
    ]
}

/// The public key of a pair, as a program brings it.
fn public(session: &Session) -> Vec<Attribute> {
    let (public, _) = pair(session, &[]).unwrap();
    let told = [AttributeType::EcParams, AttributeType::EcPoint];
    let mut template = session.get_attributes(public, &told).unwrap();
    template.push(Attribute::Class(ObjectClass::PUBLIC_KEY));
    template.push(Attribute::KeyType(KeyType::EC));
    template
}

type Pair = (
    cryptoki::object::ObjectHandle,
    cryptoki::object::ObjectHandle,
);

fn pair(session: &Session, further: &[Attribute]) -> Result<Pair, cryptoki::error::Error> {
    let public = [Attribute::Token(true), Attribute::EcParams(P256.to_vec())];
    let private = [&[Attribute::Token(true)], further].concat();
    session.generate_key_pair(&Mechanism::EccKeyPairGen, &public, &private)
}

/// Runs a test's calls with templates that may wish what isn't done, which is told in these words,
/// and with those that may not. `TEST_STRICT` says which: yes or no.
fn run_leniently_and_strictly(words: &str) {
    let mut hsm = Hsm::start();
    hsm.set("TEST_STRICT", "no");
    let told = hsm.run();
    assert!(told.contains(words), "{told}");
    hsm.configure(r#"{"tokens":[{"resourceName":"localhost"}],"strictTemplates":true}"#);
    hsm.set("TEST_STRICT", "yes");
    hsm.run();
}

#[test]
fn what_a_template_may_not_have_is_refused_by_its_code() {
    if !makes_calls() {
        return drop(Hsm::start().run());
    }
    let pkcs11 = initialized();
    let session = session(&pkcs11);
    let brought = public(&session);
    let vendor =
        |value| Attribute::VendorDefined((AttributeType::VendorDefined(0x9999_0001), value));
    for (wrong, expected) in [
        (
            Attribute::UniqueId(b"x".to_vec()),
            RvError::AttributeReadOnly,
        ),
        (Attribute::Local(true), RvError::AttributeReadOnly),
        (vendor(vec![1]), RvError::AttributeTypeInvalid),
    ] {
        let wrong = std::slice::from_ref(&wrong);
        let outcomes = [
            session.create_object(&[&secret(), wrong].concat()),
            session.create_object(&[&brought, wrong].concat()),
            pair(&session, wrong).map(|(public, _)| public),
        ];
        for outcome in outcomes {
            assert_eq!(code(outcome), expected, "{wrong:?}");
        }
    }
    let of_rsa = Attribute::ModulusBits(2048.into());
    let outcome = session.create_object(&[&secret()[..], std::slice::from_ref(&of_rsa)].concat());
    assert_eq!(code(outcome), RvError::TemplateInconsistent);
    let outcome = pair(&session, std::slice::from_ref(&of_rsa));
    assert_eq!(code(outcome), RvError::TemplateInconsistent);
    // What a brought public key has not, and what it has otherwise.
    for wrong in [
        of_rsa,
        Attribute::Modulus(vec![1; 256]),
        Attribute::PublicKeyInfo(vec![0x30, 0]),
        Attribute::KeyType(KeyType::EC_MONTGOMERY),
    ] {
        let outcome = session.create_object(&[&brought[..], std::slice::from_ref(&wrong)].concat());
        let code = code(outcome);
        let is_refused = matches!(
            code,
            RvError::TemplateInconsistent | RvError::AttributeValueInvalid
        );
        assert!(is_refused, "{wrong:?}: {code:?}");
    }
}

/// A new key of the service's has all uses, unless the request lists them.
#[test]
fn a_key_has_no_use_that_its_template_denies() {
    if !makes_calls() {
        let hsm = Hsm::start();
        let told = hsm.run();
        assert!(told.contains("leave nothing"), "{told}");
        assert_eq!(hsm.count("create"), 3);
        let keys = hsm.rest.call("GET", "/keys", "");
        let keys = keys["value"].as_array().expect("a list").iter();
        let names = keys.map(|key| key["kid"].as_str().expect("text").to_owned());
        let mut operations: Vec<String> = names
            .map(|kid| {
                let path = &kid[kid.find("/keys/").expect("a path")..];
                hsm.rest.call("GET", path, "")["key"]["key_ops"].to_string()
            })
            .collect();
        operations.sort();
        return assert_eq!(
            operations,
            [
                r#"["encrypt","decrypt","sign","verify","wrapKey"]"#,
                r#"["encrypt","decrypt","verify","wrapKey","unwrapKey"]"#,
                r#"["verify"]"#,
            ]
        );
    }
    let pkcs11 = initialized();
    let session = session(&pkcs11);
    let token = || Attribute::Token(true);
    let ec = [token(), Attribute::EcParams(P256.to_vec())];
    let of_ec = |public: &[Attribute], private: &[Attribute]| {
        let public = [&ec, public].concat();
        let private = [&[token()], private].concat();
        session.generate_key_pair(&Mechanism::EccKeyPairGen, &public, &private)
    };
    let (_, private) = of_ec(&[], &[Attribute::Sign(false)]).unwrap();
    let signature = session.sign(&Mechanism::Ecdsa, private, &[7; 32]);
    assert_eq!(code(signature), RvError::KeyFunctionNotPermitted);
    let rsa = [token(), Attribute::ModulusBits(2048.into())];
    let private = [token(), Attribute::Sign(false)];
    session
        .generate_key_pair(&Mechanism::RsaPkcsKeyPairGen, &rsa, &private)
        .unwrap();
    let aes = [
        token(),
        Attribute::ValueLen(32.into()),
        Attribute::Unwrap(false),
    ];
    session.generate_key(&Mechanism::AesKeyGen, &aes).unwrap();
    let nothing = of_ec(&[Attribute::Verify(false)], &[Attribute::Sign(false)]);
    assert_eq!(code(nothing), RvError::TemplateInconsistent);
}

/// The service lists `deriveKey` for new keys unless it is told what they are for.
#[test]
fn a_key_derives_only_where_its_template_says_nothing_of_it() {
    if !makes_calls() {
        return run_leniently_and_strictly("no key with CKA_DERIVE as");
    }
    let is_strict = std::env::var("TEST_STRICT").unwrap() == "yes";
    let pkcs11 = initialized();
    let session = session(&pkcs11);
    let aes = |further: &[Attribute]| {
        let template = [
            Attribute::Token(true),
            Attribute::ValueLen(32.into()),
            Attribute::KeyType(KeyType::GENERIC_SECRET),
        ];
        let template = [&template[..], further].concat();
        session.generate_key(&Mechanism::GenericSecretKeyGen, &template)
    };
    let derives = |key| {
        let told = session.get_attributes(key, &[AttributeType::Derive]);
        told.unwrap() == [Attribute::Derive(true)]
    };
    let (public, private) = pair(&session, &[]).unwrap();
    assert!(derives(public) && derives(private) && derives(aes(&[]).unwrap()));
    for wish in [false, true].map(Attribute::Derive) {
        let wish = std::slice::from_ref(&wish);
        let (ec, aes) = (pair(&session, wish), aes(wish));
        if is_strict && wish == [Attribute::Derive(true)] {
            assert_eq!(code(ec), RvError::TemplateInconsistent);
            assert_eq!(code(aes), RvError::TemplateInconsistent);
            continue;
        }
        let (ec, aes) = (ec.unwrap(), aes.unwrap());
        assert!(!derives(ec.0) && !derives(ec.1) && !derives(aes));
        // They are good for all else that such keys are.
        session.sign(&Mechanism::Ecdsa, ec.1, &[7; 32]).unwrap();
        session.sign(&Mechanism::Sha256Hmac, aes, b"m").unwrap();
    }
}

/// No object has both, so that nobody needs to be asked.
#[test]
fn a_search_for_two_values_of_an_attribute_finds_nothing() {
    if !makes_calls() {
        let hsm = Hsm::start();
        hsm.rest.create("k", r#"{"kty":"EC-HSM","crv":"P-256"}"#);
        let before = hsm.requests().len();
        hsm.run();
        return assert_eq!(hsm.requests().len(), before);
    }
    let pkcs11 = initialized();
    let session = session(&pkcs11);
    let label = |text: &str| Attribute::Label(text.into());
    let brought = [&secret()[..], &[label("k")]].concat();
    let brought = session.create_object(&brought).unwrap();
    let class = Attribute::Class;
    for two in [
        [label("k"), label("l")],
        [Attribute::Id(vec![1]), Attribute::Id(Vec::new())],
        [Attribute::Token(true), Attribute::Token(false)],
        [
            class(ObjectClass::SECRET_KEY),
            class(ObjectClass::PRIVATE_KEY),
        ],
        [class(ObjectClass::PROFILE), class(ObjectClass::CERTIFICATE)],
    ] {
        let found = session.find_objects(&two).unwrap();
        assert_eq!(found, [], "{two:?}");
    }
    // The same twice is the same.
    let own = [Attribute::Token(false), label("k"), label("k")];
    assert_eq!(session.find_objects(&own).unwrap(), [brought]);
}

/// The standard demands that no two objects of a session have the same.
#[test]
fn objects_are_told_apart() {
    if !makes_calls() {
        let hsm = Hsm::start();
        hsm.rest.create("k", r#"{"kty":"EC-HSM","crv":"P-256"}"#);
        return drop(hsm.run());
    }
    let pkcs11 = initialized();
    let session = session(&pkcs11);
    let brought = public(&session);
    // Both halves of a key of the HSM's, and what the module is like.
    let mut objects = session.find_objects(&[]).unwrap();
    assert!(objects.len() > 2);
    for template in [&secret(), &secret(), &brought, &brought] {
        objects.push(session.create_object(template).unwrap());
    }
    let told = objects.iter().map(|object| {
        let told = session.get_attributes(*object, &[AttributeType::UniqueId]);
        match &told.unwrap()[..] {
            [Attribute::UniqueId(id)] => id.clone(),
            other => panic!("{other:?}"),
        }
    });
    let told: std::collections::HashSet<Vec<u8>> = told.collect();
    assert_eq!(told.len(), objects.len());
    assert!(!told.contains(&b""[..]));
}

#[test]
fn what_is_not_kept_is_told_of_or_refused() {
    if !makes_calls() {
        return run_leniently_and_strictly("no key with CKA_ALLOWED_MECHANISMS");
    }
    let is_strict = std::env::var("TEST_STRICT").unwrap() == "yes";
    let pkcs11 = initialized();
    let session = session(&pkcs11);
    let restricted = Attribute::AllowedMechanisms(vec![MechanismType::ECDSA]);
    let brought = public(&session);
    let trusted = Attribute::Trusted(true);
    let open = Attribute::Private(false);
    let [changes, stays] = [true, false].map(Attribute::Modifiable);
    let with = |template: &[Attribute], further: &Attribute| {
        session.create_object(&[template, std::slice::from_ref(further)].concat())
    };
    with(&secret(), &stays).unwrap();
    with(&brought, &stays).unwrap();
    let of_public = [
        trusted,
        changes.clone(),
        Attribute::StartDate(day("2030")),
        Attribute::Encrypt(true),
        Attribute::Sign(true),
        Attribute::Sensitive(true),
    ];
    let mut outcomes = vec![
        pair(&session, &[restricted]).map(|(public, _)| public),
        with(&secret(), &open),
        with(&secret(), &changes),
    ];
    outcomes.extend(of_public.iter().map(|further| with(&brought, further)));
    for outcome in outcomes {
        match is_strict {
            true => assert_eq!(code(outcome), RvError::TemplateInconsistent),
            false => drop(outcome.unwrap()),
        }
    }
}

/// Nobody who asks for what the HSM doesn't do is left to think that it was done.
#[test]
fn no_wish_of_a_template_is_dropped_in_silence() {
    let wishes = [
        (Attribute::Destroyable(false), "CKA_DESTROYABLE"),
        (Attribute::Derive(true), "CKA_DERIVE"),
        (Attribute::SignRecover(true), "CKA_SIGN_RECOVER"),
        (Attribute::Subject(vec![0x30, 0]), "CKA_SUBJECT"),
        (
            Attribute::PublicKeyInfo(vec![0x30, 0]),
            "CKA_PUBLIC_KEY_INFO",
        ),
        (Attribute::Extractable(true), "CKA_EXTRACTABLE"),
    ];
    if !makes_calls() {
        let mut hsm = Hsm::start();
        let mut run = |is_strict: bool| {
            hsm.set("TEST_STRICT", is_strict.to_string());
            hsm.configure(&format!(
                r#"{{"tokens":[{{"resourceName":"localhost"}}],"allowDelete":true,
                    "strictTemplates":{is_strict}}}"#
            ));
            let told = hsm.run();
            (told, hsm.count("create"))
        };
        let (told, made) = run(false);
        for (_, name) in wishes {
            let words = format!("no key with {name} as");
            assert!(told.contains(&words), "{name}: {told}");
        }
        assert_eq!(made, 1);
        return assert_eq!(run(true).1, 1);
    }
    let is_strict = std::env::var("TEST_STRICT").unwrap() == "true";
    let pkcs11 = initialized();
    let session = session(&pkcs11);
    if is_strict {
        for (wish, name) in &wishes {
            let outcome = pair(&session, std::slice::from_ref(wish));
            assert_eq!(code(outcome), RvError::TemplateInconsistent, "{name}");
        }
    } else {
        let wishes = wishes.map(|(wish, _)| wish);
        pair(&session, &wishes).unwrap();
    }
    // What has not even the form of an answer: CKA_DESTROYABLE, and CKA_DERIVE.
    for (type_, value) in [(0x172, vec![1; 5]), (0x10c, Vec::new())] {
        let type_ = AttributeType::VendorDefined(type_);
        let outcome = pair(&session, &[Attribute::VendorDefined((type_, value))]);
        assert_eq!(code(outcome), RvError::AttributeValueInvalid);
    }
}

fn day(year: &str) -> Date {
    Date::new_from_str_slice(year, "01", "01").unwrap()
}

/// A key is never there without them.
#[test]
fn a_key_is_made_with_its_dates() {
    if !makes_calls() {
        let mut hsm = Hsm::start();
        hsm.configure(r#"{"tokens":[{"resourceName":"localhost"}],"allowImport":true}"#);
        hsm.run();
        let counts = [hsm.count("create"), hsm.requests().len()];
        // Two are made, one is imported, and nothing else is asked for.
        assert_eq!(counts, [2, 3], "{:?}", hsm.requests());
        let keys = hsm.rest.call("GET", "/keys", "");
        let keys = keys["value"].as_array().expect("a list").clone();
        assert_eq!(keys.len(), 3, "{keys:?}");
        for key in keys {
            let attributes = &key["attributes"];
            let times = ["nbf", "exp"].map(|name| attributes[name].as_i64());
            // From the first second of 2030 to the last one of the first day of 2040.
            assert_eq!(times, [Some(1_893_456_000), Some(2_208_988_800 + 86_400)]);
        }
        return;
    }
    let pkcs11 = initialized();
    let session = session(&pkcs11);
    let dated = [
        Attribute::Token(true),
        Attribute::StartDate(day("2030")),
        Attribute::EndDate(day("2040")),
    ];
    let (_, private) = pair(&session, &dated).unwrap();
    let secret_key = [&dated[..], &[Attribute::ValueLen(16.into())]].concat();
    let made = session.generate_key(&Mechanism::AesKeyGen, &secret_key);
    let brought = session.create_object(&[&secret(), &dated[..]].concat());
    for object in [private, made.unwrap(), brought.unwrap()] {
        let told = [AttributeType::StartDate, AttributeType::EndDate];
        let told = session.get_attributes(object, &told).unwrap();
        assert_eq!(told, dated[1..]);
    }
}

/// The HSM has one key for the two objects of a pair.
#[test]
fn templates_that_contradict_each_other_are_refused() {
    if !makes_calls() {
        let mut hsm = Hsm::start();
        hsm.set("TEST_STRICT", "no");
        let told = hsm.run();
        assert!(told.contains("no key with CKA_TOKEN as"), "{told}");
        assert_eq!(hsm.count("create"), 1);
        hsm.configure(r#"{"tokens":[{"resourceName":"localhost"}],"strictTemplates":true}"#);
        hsm.set("TEST_STRICT", "yes");
        hsm.run();
        return assert_eq!(hsm.count("create"), 1);
    }
    let is_strict = std::env::var("TEST_STRICT").unwrap() == "yes";
    let pkcs11 = initialized();
    let session = session(&pkcs11);
    let p384 = vec![6, 5, 0x2b, 0x81, 4, 0, 0x22];
    let (rsa, ec) = (Mechanism::RsaPkcsKeyPairGen, Mechanism::EccKeyPairGen);
    let of_ec = |further: Attribute| vec![Attribute::EcParams(P256.to_vec()), further];
    let (start, end) = (Attribute::StartDate, Attribute::EndDate);
    for (mechanism, public, private) in [
        (
            &ec,
            of_ec(Attribute::Token(true)),
            Attribute::EcParams(p384),
        ),
        (
            &rsa,
            vec![Attribute::ModulusBits(2048.into())],
            Attribute::ModulusBits(4096.into()),
        ),
        (&ec, of_ec(start(day("2030"))), start(day("2031"))),
        (&ec, of_ec(end(day("2030"))), end(day("2031"))),
        // It could never be used.
        (&ec, of_ec(start(day("2031"))), end(day("2030"))),
    ] {
        let outcome = session.generate_key_pair(mechanism, &public, &[private]);
        assert_eq!(code(outcome), RvError::TemplateInconsistent, "{public:?}");
    }
    let public = of_ec(Attribute::Token(true));
    let outcome = session.generate_key_pair(&ec, &public, &[Attribute::Token(false)]);
    if is_strict {
        return assert_eq!(code(outcome), RvError::TemplateInconsistent);
    }
    let (_, private) = outcome.unwrap();
    let never = [start(day("2031")), end(day("2030"))];
    let outcome = session.update_attributes(private, &never);
    assert_eq!(code(outcome), RvError::TemplateInconsistent);
    session.update_attributes(private, &never[1..]).unwrap();
    let outcome = session.update_attributes(private, &never[..1]);
    assert_eq!(code(outcome), RvError::TemplateInconsistent);
}

/// What PKCS#11 3.2 has for all keys is told and taken, though nothing is done by it.
#[test]
fn keys_have_the_common_attributes_of_3_2() {
    if !makes_calls() {
        let told = Hsm::start().run();
        let words = "no key with CKA_DECAPSULATE as";
        return assert!(told.contains(words), "{told}");
    }
    let pkcs11 = initialized();
    let session = session(&pkcs11);
    let (of_public, of_private) = (Attribute::Encapsulate(false), Attribute::Decapsulate(false));
    let validations = Attribute::ObjectValidationFlags(0.into());
    let public = [Attribute::EcParams(P256.to_vec()), of_public.clone()];
    let generate = |private: &[Attribute]| {
        session.generate_key_pair(&Mechanism::EccKeyPairGen, &public, private)
    };
    let (public, private) = generate(std::slice::from_ref(&of_private)).unwrap();
    for (object, own) in [(public, of_public), (private, of_private)] {
        let types = [own.attribute_type(), AttributeType::ObjectValidationFlags];
        let told = session.get_attributes(object, &types);
        assert_eq!(told.unwrap(), [own, validations.clone()]);
    }
    generate(&[Attribute::Decapsulate(true)]).unwrap();
    assert_eq!(code(generate(&[validations])), RvError::AttributeReadOnly);
}
