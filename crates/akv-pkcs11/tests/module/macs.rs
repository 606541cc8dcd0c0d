//! HMAC, which the HSM does with its symmetric keys.

use cryptoki::error::RvError;
use cryptoki::mechanism::{Mechanism, MechanismType};
use cryptoki::object::{Attribute, AttributeType, KeyType};
use openssl::hash::MessageDigest;
use openssl::pkey::PKey;
use openssl::sign::Signer;

use crate::support::{Hsm, code, import_aes, initialized, makes_calls, only, session, slot};

const MECHANISMS: [(Mechanism<'static>, usize); 3] = [
    (Mechanism::Sha256Hmac, 32),
    (Mechanism::Sha384Hmac, 48),
    (Mechanism::Sha512Hmac, 64),
];

fn label(text: &str) -> Attribute {
    Attribute::Label(text.as_bytes().to_vec())
}

fn value(len: usize) -> Vec<u8> {
    (0..len).map(|byte| byte as u8).collect()
}

fn judged(len: usize, message: &[u8], digest_len: usize) -> Vec<u8> {
    let digest = match digest_len {
        32 => MessageDigest::sha256(),
        48 => MessageDigest::sha384(),
        _ => MessageDigest::sha512(),
    };
    let key = PKey::hmac(&value(len)).unwrap();
    let mut signer = Signer::new(digest, &key).unwrap();
    signer.sign_oneshot_to_vec(message).unwrap()
}

#[test]
fn messages_are_authenticated_and_verified_in_the_hsm() {
    if !makes_calls() {
        let hsm = Hsm::start();
        for len in [32, 48, 64] {
            import_aes(&hsm.rest, &format!("k{len}"), &value(len));
        }
        hsm.run();
        return assert!(hsm.count("sign") >= 6 && hsm.count("verify") >= 12);
    }
    let pkcs11 = initialized();
    let session = session(&pkcs11);
    let long = vec![0x5a; 100_000];
    for (mechanism, len) in &MECHANISMS {
        let key = only(&session, &[label(&format!("k{len}"))]);
        for message in [&b"a message"[..], &[], &long] {
            let mac = session.sign(mechanism, key, message).unwrap();
            assert_eq!(mac, judged(*len, message, *len), "{mechanism:?}");
            session.verify(mechanism, key, message, &mac).unwrap();
            let mut wrong = mac.clone();
            wrong[0] ^= 1;
            let refused = session.verify(mechanism, key, message, &wrong);
            assert_eq!(code(refused), RvError::SignatureInvalid);
            let short = session.verify(mechanism, key, message, &mac[1..]);
            assert_eq!(code(short), RvError::SignatureLenRange);
        }
        // In parts.
        session.sign_init(mechanism, key).unwrap();
        for part in long.chunks(30_000) {
            session.sign_update(part).unwrap();
        }
        let mac = session.sign_final().unwrap();
        assert_eq!(mac, judged(*len, &long, *len));
        session.verify_init(mechanism, key).unwrap();
        session.verify_update(&long).unwrap();
        session.verify_final(&mac).unwrap();
    }
    let info = pkcs11
        .get_mechanism_info(slot(&pkcs11), MechanismType::SHA256_HMAC)
        .unwrap();
    assert!(info.sign() && info.verify() && info.hardware() && !info.digest());
}

#[test]
fn keys_that_are_too_short_or_not_for_that_are_refused() {
    if !makes_calls() {
        let hsm = Hsm::start();
        import_aes(&hsm.rest, "k32", &value(32));
        hsm.rest.create("ec", r#"{"kty":"EC-HSM","crv":"P-256"}"#);
        hsm.rest.create(
            "wraps",
            r#"{"kty":"oct-HSM","key_size":256,"key_ops":["wrapKey"]}"#,
        );
        let told = hsm.run();
        return assert!(told.contains("takes keys of 48 bytes or more"), "{told}");
    }
    let pkcs11 = initialized();
    let session = session(&pkcs11);
    let key = only(&session, &[label("k32")]);
    let sign = |mechanism: &Mechanism<'_>, key, message: &[u8]| {
        code(session.sign(mechanism, key, message))
    };
    // Its length isn't known before it was asked for: the service refuses it.
    assert_eq!(
        sign(&Mechanism::Sha384Hmac, key, b"x"),
        RvError::FunctionFailed
    );
    session
        .get_attributes(key, &[AttributeType::ValueLen])
        .unwrap();
    assert_eq!(
        sign(&Mechanism::Sha384Hmac, key, b"x"),
        RvError::KeySizeRange
    );
    let long = vec![0; (1 << 19) + 1];
    assert_eq!(
        sign(&Mechanism::Sha256Hmac, key, &long),
        RvError::DataLenRange
    );
    let of_pair = [
        label("ec"),
        Attribute::Class(cryptoki::object::ObjectClass::PRIVATE_KEY),
    ];
    let ec = only(&session, &of_pair);
    assert_eq!(
        sign(&Mechanism::Sha256Hmac, ec, b"x"),
        RvError::KeyTypeInconsistent
    );
    let wraps = only(&session, &[label("wraps")]);
    assert_eq!(
        sign(&Mechanism::Sha256Hmac, wraps, b"x"),
        RvError::KeyFunctionNotPermitted
    );
    let refused = session.verify(&Mechanism::Sha256Hmac, wraps, b"x", &[0; 32]);
    assert_eq!(code(refused), RvError::KeyFunctionNotPermitted);
}

#[test]
fn a_generic_key_is_made_to_authenticate() {
    if !makes_calls() {
        let hsm = Hsm::start();
        return drop(hsm.run());
    }
    let pkcs11 = initialized();
    let session = session(&pkcs11);
    let template = [
        Attribute::Token(true),
        Attribute::KeyType(KeyType::GENERIC_SECRET),
        Attribute::ValueLen(32.into()),
        Attribute::Sign(true),
        Attribute::Verify(true),
    ];
    let made = session.generate_key(&Mechanism::GenericSecretKeyGen, &template);
    let key = made.unwrap();
    let types = [
        AttributeType::Sign,
        AttributeType::Verify,
        AttributeType::Encrypt,
    ];
    let expected = [
        Attribute::Sign(true),
        Attribute::Verify(true),
        Attribute::Encrypt(false),
    ];
    assert_eq!(session.get_attributes(key, &types).unwrap(), expected);
    let mac = session.sign(&Mechanism::Sha256Hmac, key, b"x").unwrap();
    session
        .verify(&Mechanism::Sha256Hmac, key, b"x", &mac)
        .unwrap();
}
