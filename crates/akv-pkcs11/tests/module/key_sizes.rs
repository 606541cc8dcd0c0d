//! How long symmetric keys are: the service doesn't tell, and a tag may say what isn't so.

use cryptoki::error::RvError;
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, AttributeInfo, AttributeType, KeyType, ObjectClass};

use crate::support::{Hsm, code, import_aes, initialized, makes_calls, only, session};

const KEY: [u8; 64] = [0x5a; 64];
const IV: [u8; 16] = [1; 16];
const SECRET: Attribute = Attribute::Class(ObjectClass::SECRET_KEY);

fn label(text: &str) -> Attribute {
    Attribute::Label(text.as_bytes().to_vec())
}

/// Whoever makes a key where there is none would make a second one.
#[test]
fn that_a_size_can_not_be_asked_for_is_not_told_as_there_is_no_such_key() {
    if !makes_calls() {
        let mut hsm = Hsm::start();
        import_aes(&hsm.rest, "a256", &KEY[..32]);
        let signs = r#"{"kty":"oct-HSM","key_size":256,"key_ops":["sign"]}"#;
        hsm.rest.create("signs", signs);
        hsm.configure(r#"{"tokens":[{"resourceName":"localhost"}],"maxRetries":0}"#);
        for fault in ["unavailable", "drop"] {
            hsm.emulator.faults.clear();
            let fault = format!("{fault},operation=wrapkey");
            hsm.emulator.faults.add(&fault).expect("a fault");
            let told = hsm.run();
            for function in ["C_FindObjectsInit: ", "C_GetAttributeValue: "] {
                assert!(told.contains(function), "{fault}: {told}");
            }
        }
        return;
    }
    let pkcs11 = initialized();
    let session = session(&pkcs11);
    let sought = |name| [SECRET, label(name), Attribute::ValueLen(32.into())];
    let refused = code(session.find_objects(&sought("a256")));
    assert_eq!(refused, RvError::DeviceError);
    let key = only(&session, &[SECRET, label("a256")]);
    let asked = |key, type_| session.get_attribute_info(key, &[type_]);
    let refused = code(asked(key, AttributeType::ValueLen));
    assert_eq!(refused, RvError::DeviceError);
    asked(key, AttributeType::Label).unwrap();
    // What nobody can tell, whether the HSM is there or not, has no such value.
    assert_eq!(session.find_objects(&sought("signs")).unwrap(), []);
    let key = only(&session, &[SECRET, label("signs")]);
    let told = asked(key, AttributeType::ValueLen).unwrap();
    assert!(matches!(told[..], [AttributeInfo::TypeInvalid]), "{told:?}");
}

/// Anybody may have written it.
#[test]
fn a_tag_that_is_wrong_makes_no_key_unusable() {
    if !makes_calls() {
        let hsm = Hsm::start();
        for told in [16, 48, 64] {
            let name = format!("told{told}");
            import_aes(&hsm.rest, &name, &KEY[..32]);
            let tags = format!(r#"{{"tags":{{"p11_pri_CKA_VALUE_LEN":"{told}"}}}}"#);
            hsm.rest.update(&name, &tags);
        }
        return drop(hsm.run());
    }
    let pkcs11 = initialized();
    let session = session(&pkcs11);
    for told in [16u64, 48, 64] {
        let key = only(&session, &[SECRET, label(&format!("told{told}"))]);
        let len = || session.get_attributes(key, &[AttributeType::ValueLen]);
        assert_eq!(len().unwrap(), [Attribute::ValueLen(told.into())]);
        if told == 16 {
            session.sign(&Mechanism::Sha256Hmac, key, b"x").unwrap();
        }
        for mechanism in [
            Mechanism::AesCbc(IV),
            Mechanism::AesKeyWrap,
            Mechanism::AesKeyWrapPad,
        ] {
            let ciphertext = session.encrypt(&mechanism, key, &[7; 16]).unwrap();
            let plaintext = session.decrypt(&mechanism, key, &ciphertext).unwrap();
            assert_eq!(plaintext, [7; 16], "{told} {mechanism:?}");
        }
        // What the HSM has shown counts from then on.
        assert_eq!(len().unwrap(), [Attribute::ValueLen(32.into())]);
    }
}

/// With such a version of the API the service tells the sizes of all symmetric keys.
#[test]
fn a_size_that_the_service_tells_is_not_asked_for_in_another_way() {
    if !makes_calls() {
        let mut hsm = Hsm::start();
        import_aes(&hsm.rest, "long", &KEY);
        hsm.configure(
            r#"{"tokens":[{"resourceName":"localhost"}],"apiVersion":"2026-01-01-preview"}"#,
        );
        let told = hsm.run();
        assert!(told.contains("has 64 bytes, as the service says"), "{told}");
        hsm.configure(r#"{"tokens":[{"resourceName":"localhost"}],"apiVersion":"7.4"}"#);
        hsm.set("TEST_UNTOLD", "yes");
        hsm.run();
        // What it refuses for each size of AES, and once more for the operation.
        return assert_eq!(hsm.count("wrapkey"), 6);
    }
    let pkcs11 = initialized();
    let session = session(&pkcs11);
    let long = [SECRET, label("long")];
    let by_len = [SECRET, Attribute::ValueLen(64.into())];
    let found = session.find_objects(&by_len).unwrap();
    let key = only(&session, &long);
    let len = || session.get_attribute_info(key, &[AttributeType::ValueLen]);
    if std::env::var_os("TEST_UNTOLD").is_some() {
        assert_eq!(found, []);
        assert!(matches!(len().unwrap()[..], [AttributeInfo::TypeInvalid]));
        return;
    }
    assert_eq!(found, [key]);
    assert!(matches!(len().unwrap()[..], [AttributeInfo::Available(_)]));
    let refused = code(session.encrypt(&Mechanism::AesKeyWrap, key, &[7; 16]));
    assert_eq!(refused, RvError::KeySizeRange);
}

#[test]
fn a_key_that_is_longer_than_aes_has_them_only_authenticates() {
    if !makes_calls() {
        let mut hsm = Hsm::start();
        hsm.configure(r#"{"tokens":[{"resourceName":"localhost"}],"allowImport":true}"#);
        let told = hsm.run();
        return assert!(told.contains("has 64 bytes, as its tag says"), "{told}");
    }
    let pkcs11 = initialized();
    let session = session(&pkcs11);
    let brought = [
        SECRET,
        Attribute::KeyType(KeyType::GENERIC_SECRET),
        Attribute::Token(true),
        Attribute::Value(KEY.to_vec()),
    ];
    let key = session.create_object(&brought).unwrap();
    let allowed = session.get_attribute_info(key, &[AttributeType::AllowedMechanisms]);
    let allowed = allowed.unwrap();
    // The three of HMAC.
    let len = 3 * size_of::<u64>();
    assert!(
        matches!(allowed[..], [AttributeInfo::Available(is)] if is == len),
        "{allowed:?}"
    );
    session.sign(&Mechanism::Sha512Hmac, key, b"x").unwrap();
    for mechanism in [Mechanism::AesCbc(IV), Mechanism::AesKeyWrap] {
        let refused = code(session.encrypt(&mechanism, key, &[7; 16]));
        assert_eq!(refused, RvError::KeySizeRange, "{mechanism:?}");
    }
    let refused = code(session.decrypt(&Mechanism::AesCbc(IV), key, &[7; 16]));
    assert_eq!(refused, RvError::KeySizeRange);
    let of_session = [
        SECRET,
        Attribute::KeyType(KeyType::AES),
        Attribute::Value(vec![1; 16]),
    ];
    let own = session.create_object(&of_session).unwrap();
    let refused = code(session.wrap_key(&Mechanism::AesKeyWrap, key, own));
    assert_eq!(refused, RvError::WrappingKeySizeRange);
    let refused = session.unwrap_key(&Mechanism::AesKeyWrap, key, &[7; 24], &of_session[..2]);
    assert_eq!(code(refused), RvError::UnwrappingKeySizeRange);
}
