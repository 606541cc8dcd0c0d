//! Keys that programs bring to stay: with their private parts, or wrapped for a key of the HSM.

use cryptoki::error::RvError;
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass};
use openssl::bn::BigNumRef;
use openssl::ec::{EcGroup, EcKey};
use openssl::ecdsa::EcdsaSig;
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::rsa::Rsa;
use openssl::sign::Verifier;
use testing::wrapped_for_transfer;

use crate::authority::public_key;
use crate::processes::program;
use crate::support::{Hsm, base64url, code, initialized, makes_calls, module, only, session};

pub(crate) const ALLOWED: &str = r#"{"tokens":[{"resourceName":"localhost"}],"allowImport":true}"#;

pub(crate) const CURVES: [(Nid, &[u8]); 4] = [
    (
        Nid::X9_62_PRIME256V1,
        &[6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7],
    ),
    (Nid::SECP384R1, &[6, 5, 0x2b, 0x81, 4, 0, 0x22]),
    (Nid::SECP521R1, &[6, 5, 0x2b, 0x81, 4, 0, 0x23]),
    (Nid::SECP256K1, &[6, 5, 0x2b, 0x81, 4, 0, 0x0a]),
];

fn label(text: &str) -> Attribute {
    Attribute::Label(text.as_bytes().to_vec())
}

fn of_rsa(key: &Rsa<Private>, further: &[Attribute]) -> Vec<Attribute> {
    let number = |number: Option<&BigNumRef>| number.expect("it is there").to_vec();
    let own = [
        Attribute::Class(ObjectClass::PRIVATE_KEY),
        Attribute::KeyType(KeyType::RSA),
        Attribute::Token(true),
        Attribute::Modulus(key.n().to_vec()),
        Attribute::PublicExponent(key.e().to_vec()),
        Attribute::PrivateExponent(key.d().to_vec()),
        Attribute::Prime1(number(key.p())),
        Attribute::Prime2(number(key.q())),
        Attribute::Exponent1(number(key.dmp1())),
        Attribute::Exponent2(number(key.dmq1())),
        Attribute::Coefficient(number(key.iqmp())),
    ];
    [&own[..], further].concat()
}

pub(crate) fn of_ec(params: &[u8], scalar: Vec<u8>, further: &[Attribute]) -> Vec<Attribute> {
    let own = [
        Attribute::Class(ObjectClass::PRIVATE_KEY),
        Attribute::KeyType(KeyType::EC),
        Attribute::Token(true),
        Attribute::EcParams(params.to_vec()),
        Attribute::Value(scalar),
    ];
    [&own[..], further].concat()
}

fn of_aes(value: &[u8], further: &[Attribute]) -> Vec<Attribute> {
    let own = [
        Attribute::Class(ObjectClass::SECRET_KEY),
        Attribute::KeyType(KeyType::AES),
        Attribute::Token(true),
        Attribute::Value(value.to_vec()),
    ];
    [&own[..], further].concat()
}

#[test]
fn keys_of_all_types_are_imported_and_used_where_that_is_allowed() {
    if !makes_calls() {
        let mut hsm = Hsm::start();
        hsm.configure(ALLOWED);
        hsm.run();
        assert_eq!(hsm.count("create"), 0);
        let keys = hsm.rest.call("GET", "/keys", "");
        return assert_eq!(keys["value"].as_array().unwrap().len(), 6, "{keys}");
    }
    let pkcs11 = initialized();
    let session = session(&pkcs11);
    let rsa = Rsa::generate(2048).unwrap();
    let names = [
        label("brought"),
        Attribute::Id(vec![1, 2]),
        Attribute::Sign(true),
    ];
    // Numbers with leading zeros, as some programs have them.
    let template = of_rsa(&rsa, &names).into_iter().map(|attribute| {
        let padded = |number: Vec<u8>| [vec![0; 3], number].concat();
        match attribute {
            Attribute::Modulus(number) => Attribute::Modulus(padded(number)),
            Attribute::PublicExponent(number) => Attribute::PublicExponent(padded(number)),
            Attribute::PrivateExponent(number) => Attribute::PrivateExponent(padded(number)),
            Attribute::Prime1(number) => Attribute::Prime1(padded(number)),
            Attribute::Coefficient(number) => Attribute::Coefficient(padded(number)),
            other => other,
        }
    });
    let template: Vec<Attribute> = template.collect();
    let private = session.create_object(&template).unwrap();
    let signature = session
        .sign(&Mechanism::Sha256RsaPkcs, private, b"text")
        .unwrap();
    let judge = PKey::from_rsa(rsa).unwrap();
    let mut verifier = Verifier::new(MessageDigest::sha256(), &judge).unwrap();
    assert!(verifier.verify_oneshot(&signature, b"text").unwrap());
    // It wasn't born there, and does only what it was told to do.
    let types = [
        AttributeType::Local,
        AttributeType::AlwaysSensitive,
        AttributeType::NeverExtractable,
        AttributeType::Sensitive,
        AttributeType::Extractable,
        AttributeType::Decrypt,
        AttributeType::Id,
    ];
    let expected = [
        Attribute::Local(false),
        Attribute::AlwaysSensitive(false),
        Attribute::NeverExtractable(false),
        Attribute::Sensitive(true),
        Attribute::Extractable(false),
        Attribute::Decrypt(false),
        Attribute::Id(vec![1, 2]),
    ];
    assert_eq!(session.get_attributes(private, &types).unwrap(), expected);
    only(
        &session,
        &[Attribute::Class(ObjectClass::PRIVATE_KEY), label("brought")],
    );

    for (nid, params) in CURVES {
        let group = EcGroup::from_curve_name(nid).unwrap();
        let key = EcKey::generate(&group).unwrap();
        let brought = of_ec(params, key.private_key().to_vec(), &[]);
        let private = session.create_object(&brought).unwrap();
        let raw = session.sign(&Mechanism::Ecdsa, private, &[7; 32]).unwrap();
        let number = |bytes| openssl::bn::BigNum::from_slice(bytes).unwrap();
        let (r, s) = raw.split_at(raw.len() / 2);
        let signature = EcdsaSig::from_private_components(number(r), number(s)).unwrap();
        assert!(signature.verify(&[7; 32], &key).unwrap(), "{nid:?}");
    }
    let value = [3; 24];
    let key = session
        .create_object(&of_aes(&value, &[label("aes")]))
        .unwrap();
    let len = session
        .get_attributes(key, &[AttributeType::ValueLen])
        .unwrap();
    assert_eq!(len, [Attribute::ValueLen(24.into())]);
    let mechanism = Mechanism::AesCbcPad([1; 16]);
    let sealed = session.encrypt(&mechanism, key, b"text").unwrap();
    let cipher = openssl::symm::Cipher::aes_192_cbc();
    let opened = openssl::symm::decrypt(cipher, &value, Some(&[1; 16]), &sealed).unwrap();
    assert_eq!(opened, b"text");
}

#[test]
fn what_is_not_allowed_or_no_key_is_refused_with_the_reason() {
    if !makes_calls() {
        let mut hsm = Hsm::start();
        let told = hsm.run();
        assert!(told.contains("allowImport"), "{told}");
        hsm.configure(ALLOWED);
        hsm.set("TEST_ALLOWED", "yes");
        let told = hsm.run();
        for words in [
            "set CKA_TOKEN to true",
            "lacks CKA_PRIME_1",
            "no private key of the curve",
        ] {
            assert!(told.contains(words), "{words}: {told}");
        }
        let keys = hsm.rest.call("GET", "/keys", "");
        return assert_eq!(keys["value"], serde_json::json!([]));
    }
    let pkcs11 = initialized();
    let session = session(&pkcs11);
    let rsa = of_rsa(&Rsa::generate(2048).unwrap(), &[]);
    if std::env::var_os("TEST_ALLOWED").is_none() {
        for template in [&rsa, &of_aes(&[1; 16], &[])] {
            let refused = session.create_object(template);
            assert_eq!(code(refused), RvError::AttributeValueInvalid);
        }
        return;
    }
    let without = |type_: AttributeType| {
        let kept = rsa.iter().filter(|of| of.attribute_type() != type_);
        kept.cloned().collect::<Vec<_>>()
    };
    let with = |attribute: Attribute| {
        let others = without(attribute.attribute_type());
        [others, vec![attribute]].concat()
    };
    let (_, p256) = CURVES[0];
    for (template, expected) in [
        // Of a kind of failures one a second is told.
        (
            of_ec(p256, vec![0xff; 32], &[]),
            RvError::AttributeValueInvalid,
        ),
        (with(Attribute::Token(false)), RvError::TemplateInconsistent),
        (without(AttributeType::Prime1), RvError::TemplateIncomplete),
        (without(AttributeType::KeyType), RvError::TemplateIncomplete),
        (
            with(Attribute::KeyType(KeyType::DSA)),
            RvError::AttributeValueInvalid,
        ),
        // What does not belong together, the HSM finds out.
        (
            with(Attribute::Prime1(vec![7; 128])),
            RvError::AttributeValueInvalid,
        ),
        (
            of_ec(p256, vec![1; 33], &[]),
            RvError::AttributeValueInvalid,
        ),
        (
            of_ec(&[6, 3, 0x2b, 0x65, 0x70], vec![1; 32], &[]),
            RvError::CurveNotSupported,
        ),
        (of_aes(&[1; 20], &[]), RvError::AttributeValueInvalid),
        (
            of_aes(&[1; 16], &[Attribute::ValueLen(32.into())]),
            RvError::AttributeValueInvalid,
        ),
    ] {
        assert_eq!(
            code(session.create_object(&template)),
            expected,
            "{expected:?}"
        );
    }
    let read_only = pkcs11
        .open_ro_session(crate::support::slot(&pkcs11))
        .unwrap();
    assert_eq!(
        code(read_only.create_object(&rsa)),
        RvError::SessionReadOnly
    );
}

/// What follows from a key may be told with it, and nothing else.
#[test]
fn what_a_template_says_of_the_key_in_it_has_to_be_so() {
    if !makes_calls() {
        let mut hsm = Hsm::start();
        hsm.configure(ALLOWED);
        let told = hsm.run();
        assert!(told.contains("keys of this type have no CKA_"), "{told}");
        let keys = hsm.rest.call("GET", "/keys", "");
        return assert_eq!(keys["value"].as_array().unwrap().len(), 3, "{keys}");
    }
    let pkcs11 = initialized();
    let session = session(&pkcs11);
    let rsa = Rsa::generate(2048).unwrap();
    let of_rsa = |further: Attribute| of_rsa(&rsa, &[further]);
    let info = PKey::from_rsa(rsa.clone()).unwrap().public_key_to_der();
    let info = info.unwrap();
    let (nid, params) = CURVES[0];
    let group = EcGroup::from_curve_name(nid).unwrap();
    let [ec, other] = [(); 2].map(|()| EcKey::generate(&group).unwrap());
    let of_ec = |further: Attribute| {
        of_ec(
            params,
            ec.private_key().to_vec_padded(32).unwrap(),
            &[further],
        )
    };
    let point = |key: &EcKey<Private>| {
        let form = openssl::ec::PointConversionForm::UNCOMPRESSED;
        let mut context = openssl::bn::BigNumContext::new().unwrap();
        let bytes = key.public_key().to_bytes(&group, form, &mut context);
        [&[4, 65], &bytes.unwrap()[..]].concat()
    };
    let ec_info = PKey::from_ec_key(ec.clone()).unwrap().public_key_to_der();
    let both = [
        &of_rsa(Attribute::ModulusBits(2048.into()))[..],
        &[Attribute::PublicKeyInfo(info.clone())],
    ];
    for good in [
        both.concat(),
        of_ec(Attribute::EcPoint(point(&ec))),
        of_ec(Attribute::PublicKeyInfo(ec_info.unwrap())),
    ] {
        session.create_object(&good).unwrap();
    }
    let inconsistent = RvError::TemplateInconsistent;
    let invalid = RvError::AttributeValueInvalid;
    for (wrong, expected) in [
        (of_rsa(Attribute::ModulusBits(4096.into())), inconsistent),
        (of_rsa(Attribute::PublicKeyInfo(vec![0x30, 0])), invalid),
        (of_rsa(Attribute::EcPoint(point(&ec))), inconsistent),
        (of_rsa(Attribute::EcParams(params.to_vec())), inconsistent),
        (of_rsa(Attribute::ValueLen(16.into())), inconsistent),
        (of_ec(Attribute::EcPoint(point(&other))), inconsistent),
        (of_ec(Attribute::PublicKeyInfo(info)), invalid),
        (of_ec(Attribute::Modulus(vec![7])), inconsistent),
        (of_ec(Attribute::ModulusBits(256.into())), inconsistent),
        (
            of_aes(&[3; 16], &[Attribute::Modulus(vec![7])]),
            inconsistent,
        ),
        (
            of_aes(&[3; 16], &[Attribute::PublicKeyInfo(vec![0x30, 0])]),
            inconsistent,
        ),
    ] {
        let refused = session.create_object(&wrong);
        assert_eq!(code(refused), expected, "{:?}", wrong.last());
    }
}

/// An HSM with a key that others are wrapped for.
fn with_exchange_key() -> Hsm {
    let hsm = Hsm::start();
    hsm.rest.create(
        "k",
        r#"{"kty":"RSA-HSM","key_size":2048,"key_ops":["import"]}"#,
    );
    hsm
}

fn run(hsm: &Hsm, arguments: &[&str]) -> String {
    let output = hsm
        .command(program(hsm, "import"))
        .arg(module())
        .args(arguments)
        .output()
        .expect("it runs");
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        output.status.success(),
        "{:?} {arguments:?}\n{told}",
        output.status
    );
    told
}

#[test]
fn keys_are_transferred_wrapped_for_a_key_of_the_hsm() {
    let mut hsm = with_exchange_key();
    hsm.configure(ALLOWED);
    run(&hsm, &[]);
    let public = public_key(&hsm.rest, "k").rsa().unwrap();
    let rsa = PKey::from_rsa(Rsa::generate(3072).unwrap()).unwrap();
    let group = EcGroup::from_curve_name(Nid::SECP384R1).unwrap();
    let ec = PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap();
    for (kind, key) in [
        ("rsa", rsa.private_key_to_pkcs8().unwrap()),
        ("ec", ec.private_key_to_pkcs8().unwrap()),
        ("aes", vec![5; 16]),
    ] {
        std::fs::write(hsm.file("wrapped"), wrapped_for_transfer(&public, &key)).unwrap();
        run(&hsm, &["wrapped", kind, "0"]);
    }
    let keys = hsm.rest.call("GET", "/keys", "");
    let keys = keys["value"].as_array().unwrap();
    let brought = keys
        .iter()
        .filter(|key| key["tags"]["p11_pri_CKA_LABEL"] == "brought");
    let mut kinds: Vec<String> = brought
        .map(|key| {
            let name = key["kid"].as_str().unwrap().rsplit('/').next().unwrap();
            let key = hsm.rest.call("GET", &format!("/keys/{name}"), "");
            assert_eq!(key["tags"]["p11_pri_CKA_LOCAL"], "0", "{key}");
            if key["key"]["kty"] == "RSA-HSM" {
                let modulus = public_key(&hsm.rest, name).rsa().unwrap().n().to_vec();
                assert_eq!(modulus, rsa.rsa().unwrap().n().to_vec());
            }
            key["key"]["kty"].as_str().unwrap().to_owned()
        })
        .collect();
    kinds.sort();
    assert_eq!(kinds, ["EC-HSM", "RSA-HSM", "oct-HSM", "oct-HSM"]);
}

#[test]
fn a_transfer_that_is_damaged_or_not_allowed_is_refused() {
    let mut hsm = with_exchange_key();
    let public = public_key(&hsm.rest, "k").rsa().unwrap();
    let good = wrapped_for_transfer(&public, &[5; 16]);
    std::fs::write(hsm.file("good"), &good).unwrap();
    let told = run(&hsm, &["good", "aes", "13"]);
    assert!(told.contains("allowImport"), "{told}");
    hsm.configure(ALLOWED);
    let mut damaged = good.clone();
    *damaged.last_mut().unwrap() ^= 1;
    std::fs::write(hsm.file("damaged"), &damaged).unwrap();
    run(&hsm, &["damaged", "aes", "110"]);
    // An AES key is no RSA key.
    run(&hsm, &["good", "rsa", "110"]);
    std::fs::write(hsm.file("short"), &good[..100]).unwrap();
    run(&hsm, &["short", "aes", "112"]);
    // A key that may do other things is none to wrap for.
    hsm.rest.create("k", r#"{"kty":"RSA-HSM","key_size":2048}"#);
    let told = run(&hsm, &["good", "aes", "68"]);
    assert!(told.contains("'import' alone"), "{told}");
}

/// An attested environment may get it.
#[test]
fn a_key_that_may_be_released_is_not_never_extractable() {
    if !makes_calls() {
        let hsm = Hsm::start();
        hsm.rest.create("kept", r#"{"kty":"EC-HSM","crv":"P-256"}"#);
        let claim = r#"{"claim":"x-ms-attestation-type","equals":"sevsnpvm"}"#;
        let policy = format!(
            r#"{{"version":"1.0.0",
                "anyOf":[{{"authority":"https://a.example/","allOf":[{claim}]}}]}}"#
        );
        let body = serde_json::json!({
            "kty": "EC-HSM", "crv": "P-256", "attributes": {"exportable": true},
            "release_policy": {"data": base64url(policy.as_bytes())},
        });
        hsm.rest.create("released", &body.to_string());
        return drop(hsm.run());
    }
    let pkcs11 = initialized();
    let session = session(&pkcs11);
    for (name, never) in [("kept", true), ("released", false)] {
        let key = only(
            &session,
            &[
                Attribute::Label(name.into()),
                Attribute::Class(ObjectClass::PRIVATE_KEY),
            ],
        );
        let types = [AttributeType::NeverExtractable, AttributeType::Extractable];
        let told = session.get_attributes(key, &types).unwrap();
        let expected = [
            Attribute::NeverExtractable(never),
            Attribute::Extractable(false),
        ];
        assert_eq!(told, expected, "{name}");
    }
}
