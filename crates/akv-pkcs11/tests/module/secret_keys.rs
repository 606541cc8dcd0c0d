//! Secret keys: made in the HSM, brought, wrapped and unwrapped.

use cryptoki::context::Pkcs11;
use cryptoki::error::RvError;
use cryptoki::mechanism::aead::GcmParams;
use cryptoki::mechanism::vendor_defined::VendorDefinedMechanism;
use cryptoki::mechanism::{Mechanism, MechanismType};
use cryptoki::object::{
    Attribute, AttributeInfo, AttributeType, KeyType, ObjectClass, ObjectHandle,
};
use cryptoki::session::{Session, UserType};
use cryptoki::types::AuthPin;
use openssl::aes::{AesKey, unwrap_key};
use openssl::rsa::{Padding, Rsa};
use openssl::symm::{Cipher, decrypt_aead};

use crate::support::{
    Hsm, code, import_aes, import_rsa, initialized, makes_calls, only, session, slot,
};

const KEK: [u8; 32] = *b"a key that wraps and is known ok";
const VALUE: [u8; 16] = *b"a session's own.";

fn label(text: &str) -> Attribute {
    Attribute::Label(text.as_bytes().to_vec())
}

fn value(session: &Session, key: ObjectHandle) -> Vec<u8> {
    let read = session
        .get_attributes(key, &[AttributeType::Value])
        .unwrap();
    match &read[..] {
        [Attribute::Value(value)] => value.clone(),
        other => panic!("{other:?}"),
    }
}

fn brought(further: &[Attribute]) -> Vec<Attribute> {
    let common = [
        Attribute::Class(ObjectClass::SECRET_KEY),
        Attribute::KeyType(KeyType::AES),
        Attribute::Value(VALUE.to_vec()),
        label("mine"),
    ];
    [&common[..], further].concat()
}

#[test]
fn aes_keys_are_made_in_the_hsm_and_found_again() {
    if !makes_calls() {
        let hsm = Hsm::start();
        let told = hsm.run();
        let ignored = "no key with CKA_SENSITIVE as the template has it; it is ignored";
        assert!(told.contains(ignored), "{told}");
        let listed = hsm.rest.call("GET", "/keys", "");
        let keys = listed["value"].as_array().unwrap();
        // That of the session is gone.
        assert_eq!(keys.len(), 4, "{listed}");
        let lengths = keys.iter().map(|key| &key["tags"]["p11_pri_CKA_VALUE_LEN"]);
        assert!(lengths.clone().any(|len| len == "24"), "{listed}");
        return;
    }
    let pkcs11 = initialized();
    let session = session(&pkcs11);
    for (len, name) in [(16u64, "short"), (24, "middle"), (32, "long")] {
        let template = [
            Attribute::Token(true),
            Attribute::ValueLen(len.into()),
            label(name),
            Attribute::Id(vec![len as u8]),
            Attribute::Encrypt(true),
            Attribute::Decrypt(true),
            // As OpenSC sends them.
            Attribute::Sensitive(false),
            Attribute::Private(false),
        ];
        let made = session
            .generate_key(&Mechanism::AesKeyGen, &template)
            .unwrap();
        let found = only(
            &session,
            &[Attribute::Class(ObjectClass::SECRET_KEY), label(name)],
        );
        assert_eq!(made, found);
        let types = [
            AttributeType::KeyType,
            AttributeType::ValueLen,
            AttributeType::Encrypt,
            AttributeType::Wrap,
            AttributeType::Sign,
            AttributeType::Sensitive,
            AttributeType::Extractable,
            AttributeType::Local,
            AttributeType::KeyGenMechanism,
        ];
        let expected = [
            Attribute::KeyType(KeyType::AES),
            Attribute::ValueLen(len.into()),
            Attribute::Encrypt(true),
            Attribute::Wrap(false),
            Attribute::Sign(false),
            Attribute::Sensitive(true),
            Attribute::Extractable(false),
            Attribute::Local(true),
            Attribute::KeyGenMechanism(MechanismType::AES_KEY_GEN),
        ];
        assert_eq!(session.get_attributes(made, &types).unwrap(), expected);
        let told = session
            .get_attribute_info(made, &[AttributeType::Value])
            .unwrap();
        assert!(matches!(told[..], [AttributeInfo::Sensitive]), "{told:?}");
        let padded = Mechanism::AesCbcPad([1; 16]);
        let ciphertext = session.encrypt(&padded, made, b"text").unwrap();
        assert_eq!(
            session.decrypt(&padded, made, &ciphertext).unwrap(),
            b"text"
        );
        assert_eq!(
            code(session.encrypt(&Mechanism::AesKeyWrap, made, &[0; 16])),
            RvError::KeyFunctionNotPermitted
        );
    }
    let generic = [
        Attribute::Token(true),
        Attribute::ValueLen(32.into()),
        Attribute::KeyType(KeyType::GENERIC_SECRET),
    ];
    let made = session
        .generate_key(&Mechanism::GenericSecretKeyGen, &generic)
        .unwrap();
    assert_eq!(
        session
            .get_attributes(made, &[AttributeType::KeyType])
            .unwrap(),
        [Attribute::KeyType(KeyType::GENERIC_SECRET)]
    );
    let of_session = [Attribute::ValueLen(32.into())];
    session
        .generate_key(&Mechanism::AesKeyGen, &of_session)
        .unwrap();
    for (template, expected) in [
        (vec![Attribute::Token(true)], RvError::TemplateIncomplete),
        (vec![Attribute::ValueLen(20.into())], RvError::KeySizeRange),
        (
            vec![
                Attribute::ValueLen(16.into()),
                Attribute::KeyType(KeyType::GENERIC_SECRET),
            ],
            RvError::TemplateInconsistent,
        ),
        (
            vec![
                Attribute::ValueLen(16.into()),
                Attribute::ModulusBits(2048.into()),
            ],
            RvError::TemplateInconsistent,
        ),
        (
            vec![
                Attribute::ValueLen(16.into()),
                Attribute::Class(ObjectClass::PRIVATE_KEY),
            ],
            RvError::TemplateInconsistent,
        ),
        (
            vec![
                Attribute::ValueLen(16.into()),
                Attribute::Value(vec![1; 16]),
            ],
            RvError::AttributeReadOnly,
        ),
    ] {
        let outcome = session.generate_key(&Mechanism::AesKeyGen, &template);
        assert_eq!(code(outcome), expected, "{template:?}");
    }
}

/// The service doesn't tell how long an AES key is.
#[test]
fn the_size_of_a_key_of_anybodys_is_found_out_once() {
    if !makes_calls() {
        let hsm = Hsm::start();
        import_aes(&hsm.rest, "a192", &KEK[..24]);
        hsm.run();
        // Two sizes before the right one, and none again.
        return assert_eq!(hsm.count("wrapkey"), 3);
    }
    let pkcs11 = initialized();
    let session = session(&pkcs11);
    let key = only(&session, &[label("a192")]);
    for _ in 0..2 {
        let types = [AttributeType::ValueLen, AttributeType::Id];
        let read = session.get_attributes(key, &types).unwrap();
        assert_eq!(read[0], Attribute::ValueLen(24.into()));
        assert!(matches!(&read[1], Attribute::Id(id) if id.len() == 16));
    }
    // All modes, of which the crate reads no list.
    let allowed = session.get_attribute_info(key, &[AttributeType::AllowedMechanisms]);
    let allowed = allowed.unwrap();
    let numbers = 7 * size_of::<u64>();
    assert!(
        matches!(allowed[..], [AttributeInfo::Available(len)] if len == numbers),
        "{allowed:?}"
    );
}

/// A search may name the size, too; it is found out of keys alone that all else fits.
#[test]
fn a_key_of_anybodys_is_found_by_its_size() {
    if !makes_calls() {
        let hsm = Hsm::start();
        for (name, len) in [("a192", 24), ("a256", 32)] {
            import_aes(&hsm.rest, name, &KEK[..len]);
        }
        hsm.run();
        return assert_eq!(hsm.count("wrapkey"), 3);
    }
    let pkcs11 = initialized();
    let session = session(&pkcs11);
    let sought = |len: u64| [label("a192"), Attribute::ValueLen(len.into())];
    assert_eq!(session.find_objects(&sought(32)).unwrap(), []);
    only(&session, &sought(24));
}

/// The standard's AES-CBC fills a key up with zeros, and takes off what lies behind its length.
#[test]
fn keys_of_any_length_are_wrapped_by_cbc_with_zeros_behind() {
    if !makes_calls() {
        let hsm = Hsm::start();
        import_aes(&hsm.rest, "kek", &KEK);
        return drop(hsm.run());
    }
    let pkcs11 = initialized();
    let session = session(&pkcs11);
    let kek = only(&session, &[label("kek")]);
    let cbc = Mechanism::AesCbc([2; 16]);
    for (kind, len) in [
        (KeyType::AES, 16),
        (KeyType::AES, 24),
        (KeyType::GENERIC_SECRET, 5),
        (KeyType::GENERIC_SECRET, 33),
    ] {
        let own = [
            Attribute::Class(ObjectClass::SECRET_KEY),
            Attribute::KeyType(kind),
            Attribute::Extractable(true),
        ];
        let bytes: Vec<u8> = (1..=len).collect();
        let key = [&own[..], &[Attribute::Value(bytes.clone())]].concat();
        let key = session.create_object(&key).unwrap();
        let wrapped = session.wrap_key(&cbc, kek, key).unwrap();
        let mut filled = bytes.clone();
        filled.resize(bytes.len().next_multiple_of(16), 0);
        assert_eq!(session.decrypt(&cbc, kek, &wrapped).unwrap(), filled);
        let told = [&own[..], &[Attribute::ValueLen(u64::from(len).into())]].concat();
        let back = session.unwrap_key(&cbc, kek, &wrapped, &told).unwrap();
        assert_eq!(value(&session, back), bytes);
    }
}

fn gcm<'a>(iv: &'a mut [u8]) -> Mechanism<'a> {
    Mechanism::AesGcm(GcmParams::new(iv, b"", 128.into()).unwrap())
}

#[test]
fn keys_of_a_session_are_wrapped_and_unwrapped_by_those_of_the_hsm() {
    if !makes_calls() {
        let mut hsm = Hsm::start();
        import_aes(&hsm.rest, "kek", &KEK);
        let rsa = Rsa::generate(2048).unwrap();
        import_rsa(&hsm.rest, "rsa", &rsa);
        let pem = hsm.file("rsa.pem");
        std::fs::write(&pem, rsa.private_key_to_pem().unwrap()).unwrap();
        hsm.set("TEST_KEY", pem);
        hsm.run();
        return;
    }
    let pkcs11 = initialized();
    let session = session(&pkcs11);
    let kek = only(&session, &[label("kek")]);
    let mine = session.create_object(&brought(&[])).unwrap();
    assert_eq!(value(&session, mine), VALUE);
    let unwrapped_as = [
        Attribute::Class(ObjectClass::SECRET_KEY),
        Attribute::KeyType(KeyType::AES),
        Attribute::Extractable(true),
    ];
    let unwrap = |mechanism: &Mechanism<'_>, key, wrapped: &[u8]| {
        let key = session.unwrap_key(mechanism, key, wrapped, &unwrapped_as);
        assert_eq!(value(&session, key.unwrap()), VALUE, "{mechanism:?}");
    };
    for mechanism in [
        Mechanism::AesKeyWrap,
        Mechanism::AesKeyWrapPad,
        Mechanism::AesCbc([2; 16]),
        Mechanism::AesCbcPad([2; 16]),
    ] {
        let wrapped = session.wrap_key(&mechanism, kek, mine).unwrap();
        unwrap(&mechanism, kek, &wrapped);
        if matches!(mechanism, Mechanism::AesKeyWrap) {
            let kek = AesKey::new_decrypt(&KEK).unwrap();
            let mut room = [0; 16];
            unwrap_key(&kek, None, &mut room, &wrapped).unwrap();
            assert_eq!(room, VALUE);
        }
        let damaged = [
            &wrapped[..wrapped.len() - 1],
            &[!wrapped[wrapped.len() - 1]],
        ]
        .concat();
        if !matches!(mechanism, Mechanism::AesCbc(_)) {
            let outcome = session.unwrap_key(&mechanism, kek, &damaged, &unwrapped_as);
            assert_eq!(code(outcome), RvError::WrappedKeyInvalid, "{mechanism:?}");
        }
    }
    let mut iv = [0; 12];
    let wrapped = session.wrap_key(&gcm(&mut iv), kek, mine).unwrap();
    unwrap(&gcm(&mut iv), kek, &wrapped);
    // Cloud HSM's own has the initialisation vector in it.
    let type_ = MechanismType::new_vendor_defined(0x8000_1087).unwrap();
    let params = GcmParams::new(&mut [], b"header", 128.into()).unwrap();
    let own = Mechanism::VendorDefined(VendorDefinedMechanism::new(type_, Some(&params)));
    let wrapped = session.wrap_key(&own, kek, mine).unwrap();
    assert_eq!(wrapped.len(), 12 + VALUE.len() + 16);
    let (iv, rest) = wrapped.split_at(12);
    let (ciphertext, tag) = rest.split_at(VALUE.len());
    let cipher = Cipher::aes_256_gcm();
    let opened = decrypt_aead(cipher, &KEK, Some(iv), b"header", ciphertext, tag);
    assert_eq!(opened.unwrap(), VALUE);
    unwrap(&own, kek, &wrapped);
    let damaged = [&wrapped[..20], &[!wrapped[20]], &wrapped[21..]].concat();
    let outcome = session.unwrap_key(&own, kek, &damaged, &unwrapped_as);
    assert_eq!(code(outcome), RvError::WrappedKeyInvalid);

    let find = |class| only(&session, &[label("rsa"), Attribute::Class(class)]);
    let (public, private) = (
        find(ObjectClass::PUBLIC_KEY),
        find(ObjectClass::PRIVATE_KEY),
    );
    let wrapped = session.wrap_key(&Mechanism::RsaPkcs, public, mine).unwrap();
    unwrap(&Mechanism::RsaPkcs, private, &wrapped);
    let pem = std::fs::read(std::env::var_os("TEST_KEY").unwrap()).unwrap();
    let rsa = Rsa::private_key_from_pem(&pem).unwrap();
    let mut room = vec![0; 256];
    let len = rsa
        .private_decrypt(&wrapped, &mut room, Padding::PKCS1)
        .unwrap();
    assert_eq!(room[..len], VALUE);

    // Keys of the HSM never leave it, and those that are not to be extracted stay here.
    for (key, expected) in [
        (kek, RvError::KeyUnextractable),
        (private, RvError::KeyUnextractable),
        (public, RvError::KeyNotWrappable),
    ] {
        let outcome = session.wrap_key(&Mechanism::AesKeyWrap, kek, key);
        assert_eq!(code(outcome), expected);
    }
    let stays = session
        .create_object(&brought(&[Attribute::Extractable(false)]))
        .unwrap();
    let outcome = session.wrap_key(&Mechanism::AesKeyWrap, kek, stays);
    assert_eq!(code(outcome), RvError::KeyUnextractable);
    let outcome = session.wrap_key(&Mechanism::AesKeyWrap, public, mine);
    assert_eq!(code(outcome), RvError::WrappingKeyTypeInconsistent);
    let outcome = session.unwrap_key(&Mechanism::RsaPkcs, kek, &wrapped, &unwrapped_as);
    assert_eq!(code(outcome), RvError::UnwrappingKeyTypeInconsistent);
    let into_token = [&unwrapped_as[..], &[Attribute::Token(true)]].concat();
    let outcome = session.unwrap_key(&Mechanism::RsaPkcs, private, &wrapped, &into_token);
    assert_eq!(code(outcome), RvError::TemplateInconsistent);
    let short = session.unwrap_key(&Mechanism::AesKeyWrap, kek, &[1; 16], &unwrapped_as);
    assert_eq!(code(short), RvError::WrappedKeyLenRange);
    // The session's own key does nothing else.
    let outcome = session.encrypt(&Mechanism::AesCbc([2; 16]), mine, &VALUE);
    assert_eq!(code(outcome), RvError::KeyFunctionNotPermitted);
}

#[test]
fn brought_keys_tell_their_value_only_where_they_may_and_go_with_their_session() {
    if !makes_calls() {
        let hsm = Hsm::start();
        hsm.run();
        return assert_eq!(hsm.count("create"), 0);
    }
    let pkcs11 = initialized();
    let other = session(&pkcs11);
    let session = session(&pkcs11);
    let open = session.create_object(&brought(&[])).unwrap();
    let secret = [Attribute::Sensitive(true), Attribute::Id(vec![7])];
    let secret = session.create_object(&brought(&secret)).unwrap();
    let told = |key| {
        session
            .get_attribute_info(key, &[AttributeType::Value])
            .unwrap()
    };
    assert!(matches!(told(open)[..], [AttributeInfo::Available(16)]));
    assert!(matches!(told(secret)[..], [AttributeInfo::Sensitive]));
    assert_eq!(
        other.find_objects(&[label("mine")]).unwrap(),
        [open, secret]
    );
    assert_eq!(only(&other, &[Attribute::Id(vec![7])]), secret);
    session.destroy_object(secret).unwrap();
    assert_eq!(only(&other, &[label("mine")]), open);
    let further = |further: &[Attribute]| code(session.create_object(&brought(further)));
    assert_eq!(
        further(&[Attribute::Token(true)]),
        RvError::AttributeValueInvalid
    );
    assert_eq!(
        further(&[Attribute::ValueLen(32.into())]),
        RvError::AttributeValueInvalid
    );
    let without = |type_: AttributeType| {
        let kept = brought(&[])
            .into_iter()
            .filter(|of| of.attribute_type() != type_);
        code(session.create_object(&kept.collect::<Vec<_>>()))
    };
    assert_eq!(without(AttributeType::Value), RvError::TemplateIncomplete);
    assert_eq!(without(AttributeType::KeyType), RvError::TemplateIncomplete);
    drop(session);
    let gone = other.get_attributes(open, &[AttributeType::Class]);
    assert_eq!(code(gone), RvError::ObjectHandleInvalid);
    goes_with_the_login(&pkcs11);
}

fn goes_with_the_login(pkcs11: &Pkcs11) {
    let session = pkcs11.open_rw_session(slot(pkcs11)).unwrap();
    session
        .login(UserType::User, Some(&AuthPin::new("x".into())))
        .unwrap();
    let key = session.create_object(&brought(&[])).unwrap();
    session.logout().unwrap();
    let gone = session.get_attributes(key, &[AttributeType::Class]);
    assert_eq!(code(gone), RvError::ObjectHandleInvalid);
}
