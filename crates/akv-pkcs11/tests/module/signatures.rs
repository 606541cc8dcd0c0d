//! Signatures: made by every mechanism, verified by OpenSSL and by the module; and what goes wrong.

use cryptoki::error::RvError;
use cryptoki::mechanism::rsa::{PkcsMgfType, PkcsPssParams};
use cryptoki::mechanism::{Mechanism, MechanismType};
use cryptoki::object::{Attribute, AttributeType, ObjectClass, ObjectHandle};
use cryptoki::session::Session;
use openssl::bn::BigNum;
use openssl::ecdsa::EcdsaSig;
use openssl::hash::{MessageDigest, hash};
use openssl::pkey::{PKey, Public};
use openssl::rsa::Padding;
use openssl::sign::{RsaPssSaltlen, Verifier};

use crate::support::{Hsm, code, initialized, makes_calls, only, session};

const MESSAGE: &[u8] = b"what is signed";

fn pair(session: &Session, label: &str) -> (ObjectHandle, ObjectHandle) {
    let label = Attribute::Label(label.into());
    let find = |class| only(session, &[Attribute::Class(class), label.clone()]);
    (
        find(ObjectClass::PRIVATE_KEY),
        find(ObjectClass::PUBLIC_KEY),
    )
}

/// The public key as OpenSSL has it.
fn openssl_key(session: &Session, key: ObjectHandle) -> PKey<Public> {
    let info = session
        .get_attributes(key, &[AttributeType::PublicKeyInfo])
        .unwrap();
    let [Attribute::PublicKeyInfo(der)] = &info[..] else {
        panic!("{info:?}");
    };
    PKey::public_key_from_der(der).unwrap()
}

fn pss(digest: MechanismType, mgf: PkcsMgfType, len: u64) -> PkcsPssParams {
    PkcsPssParams {
        hash_alg: digest,
        mgf,
        s_len: len.into(),
    }
}

#[test]
fn rsa_signatures_verify() {
    if !makes_calls() {
        let hsm = Hsm::start();
        hsm.rest
            .create("rsa", r#"{"kty":"RSA-HSM","key_size":2048}"#);
        hsm.run();
        return assert_eq!(hsm.count("sign"), 12);
    }
    let pkcs11 = initialized();
    let session = session(&pkcs11);
    let (private, public) = pair(&session, "rsa");
    let key = openssl_key(&session, public);
    let (sha256, sha384, sha512) = (
        MessageDigest::sha256(),
        MessageDigest::sha384(),
        MessageDigest::sha512(),
    );
    let pss_of = |len: u64| match len {
        32 => pss(MechanismType::SHA256, PkcsMgfType::MGF1_SHA256, 32),
        48 => pss(MechanismType::SHA384, PkcsMgfType::MGF1_SHA384, 48),
        _ => pss(MechanismType::SHA512, PkcsMgfType::MGF1_SHA512, 64),
    };
    for (mechanism, digest, is_pss, is_hashed) in [
        (Mechanism::Sha256RsaPkcs, sha256, false, false),
        (Mechanism::Sha384RsaPkcs, sha384, false, false),
        (Mechanism::Sha512RsaPkcs, sha512, false, false),
        (Mechanism::Sha256RsaPkcsPss(pss_of(32)), sha256, true, false),
        (Mechanism::Sha384RsaPkcsPss(pss_of(48)), sha384, true, false),
        (Mechanism::Sha512RsaPkcsPss(pss_of(64)), sha512, true, false),
        (Mechanism::RsaPkcsPss(pss_of(32)), sha256, true, true),
        (Mechanism::RsaPkcsPss(pss_of(64)), sha512, true, true),
    ] {
        let data = match is_hashed {
            true => hash(digest, MESSAGE).unwrap().to_vec(),
            false => MESSAGE.to_vec(),
        };
        let signature = session.sign(&mechanism, private, &data).unwrap();
        let mut verifier = Verifier::new(digest, &key).unwrap();
        if is_pss {
            verifier.set_rsa_padding(Padding::PKCS1_PSS).unwrap();
            verifier.set_rsa_mgf1_md(digest).unwrap();
            let as_long = RsaPssSaltlen::DIGEST_LENGTH;
            verifier.set_rsa_pss_saltlen(as_long).unwrap();
        }
        verifier.update(MESSAGE).unwrap();
        assert!(verifier.verify(&signature).unwrap(), "{mechanism:?}");
        session
            .verify(&mechanism, public, &data, &signature)
            .unwrap();
        let mut damaged = signature.clone();
        damaged[17] ^= 1;
        for (signature, expected) in [
            (&damaged[..], RvError::SignatureInvalid),
            (&signature[1..], RvError::SignatureLenRange),
        ] {
            let verdict = session.verify(&mechanism, public, &data, signature);
            assert_eq!(code(verdict), expected);
        }
    }
    // A DigestInfo, as TLS 1.2 and libp11 have it.
    let info = [
        b"\x30\x31\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\x05\x00\x04\x20",
        &hash(sha256, MESSAGE).unwrap()[..],
    ]
    .concat();
    let signature = session.sign(&Mechanism::RsaPkcs, private, &info).unwrap();
    let mut verifier = Verifier::new(sha256, &key).unwrap();
    verifier.update(MESSAGE).unwrap();
    assert!(verifier.verify(&signature).unwrap());
    // Other bytes are signed as they are, though they be as long as a digest.
    for len in [32, 48, 64] {
        let bytes = vec![0x5a; len];
        let signature = session.sign(&Mechanism::RsaPkcs, private, &bytes).unwrap();
        let mut held = vec![0; signature.len()];
        let rsa = key.rsa().unwrap();
        let count = rsa.public_decrypt(&signature, &mut held, Padding::PKCS1);
        assert_eq!(&held[..count.unwrap()], &bytes[..]);
    }
}

#[test]
fn ecdsa_signatures_verify_with_any_hash_on_any_curve() {
    if !makes_calls() {
        let hsm = Hsm::start();
        for curve in ["P-256", "P-384", "P-521", "P-256K"] {
            hsm.rest
                .create(curve, &format!(r#"{{"kty":"EC-HSM","crv":"{curve}"}}"#));
        }
        hsm.run();
        return assert_eq!(hsm.count("sign"), 4 * 6);
    }
    let pkcs11 = initialized();
    let session = session(&pkcs11);
    for (curve, len) in [("P-256", 64), ("P-384", 96), ("P-521", 132), ("P-256K", 64)] {
        let (private, public) = pair(&session, curve);
        let key = openssl_key(&session, public).ec_key().unwrap();
        for (mechanism, digest) in [
            (Mechanism::EcdsaSha1, MessageDigest::sha1()),
            (Mechanism::EcdsaSha224, MessageDigest::sha224()),
            (Mechanism::EcdsaSha256, MessageDigest::sha256()),
            (Mechanism::EcdsaSha384, MessageDigest::sha384()),
            (Mechanism::EcdsaSha512, MessageDigest::sha512()),
            (Mechanism::Ecdsa, MessageDigest::sha256()),
        ] {
            let digest = hash(digest, MESSAGE).unwrap();
            let data = match mechanism {
                Mechanism::Ecdsa => &digest[..],
                _ => MESSAGE,
            };
            let signature = session.sign(&mechanism, private, data).unwrap();
            assert_eq!(signature.len(), len);
            let (r, s) = signature.split_at(len / 2);
            let number = |bytes| BigNum::from_slice(bytes).unwrap();
            let pair = EcdsaSig::from_private_components(number(r), number(s)).unwrap();
            assert!(pair.verify(&digest, &key).unwrap(), "{curve} {mechanism:?}");
            session
                .verify(&mechanism, public, data, &signature)
                .unwrap();
        }
    }
}

#[test]
fn a_message_may_come_in_parts_and_a_digest_is_made_here() {
    if !makes_calls() {
        let hsm = Hsm::start();
        hsm.rest.create("k", r#"{"kty":"RSA-HSM","key_size":2048}"#);
        hsm.run();
        return assert_eq!(hsm.count("sign"), 3);
    }
    let pkcs11 = initialized();
    let session = session(&pkcs11);
    let (private, public) = pair(&session, "k");
    let mechanism = Mechanism::Sha384RsaPkcs;
    session.sign_init(&mechanism, private).unwrap();
    for part in MESSAGE.chunks(3) {
        session.sign_update(part).unwrap();
    }
    let signature = session.sign_final().unwrap();
    assert_eq!(
        session.sign(&mechanism, private, MESSAGE).unwrap(),
        signature
    );
    session.verify_init(&mechanism, public).unwrap();
    session.verify_update(MESSAGE).unwrap();
    session.verify_final(&signature).unwrap();
    session
        .verify_signature_init(&mechanism, public, &signature)
        .unwrap();
    session.verify_signature_update(MESSAGE).unwrap();
    // The function of the other way to verify ends nothing.
    let other_way = session.verify_final(&signature);
    assert_eq!(code(other_way), RvError::OperationNotInitialized);
    session.verify_signature_final().unwrap();
    // An empty message needs no part.
    session.sign_init(&mechanism, private).unwrap();
    let empty = session.sign_final().unwrap();
    session.verify(&mechanism, public, b"", &empty).unwrap();

    let sha256 = hash(MessageDigest::sha256(), MESSAGE).unwrap();
    assert_eq!(
        session.digest(&Mechanism::Sha256, MESSAGE).unwrap(),
        *sha256
    );
    session.digest_init(&Mechanism::Sha256).unwrap();
    session.digest_update(&MESSAGE[..5]).unwrap();
    session.digest_update(&MESSAGE[5..]).unwrap();
    assert_eq!(session.digest_final().unwrap(), *sha256);
    session.digest_init(&Mechanism::Sha256).unwrap();
    assert_eq!(code(session.digest_key(private)), RvError::KeyIndigestible);
}

#[test]
fn a_call_that_fails_ends_its_operation() {
    if !makes_calls() {
        let hsm = Hsm::start();
        hsm.rest
            .create("rsa", r#"{"kty":"RSA-HSM","key_size":2048}"#);
        hsm.rest.create("ec", r#"{"kty":"EC-HSM","crv":"P-256"}"#);
        let told = hsm.run();
        let refused = "by CKM_SHA1_RSA_PKCS: use SHA-256, SHA-384 or SHA-512, or switch rsnull on";
        assert!(told.contains(refused), "{told}");
        return assert_eq!(hsm.count("sign"), 0);
    }
    let pkcs11 = initialized();
    let session = session(&pkcs11);
    let (rsa, rsa_public) = pair(&session, "rsa");
    let (ec, _) = pair(&session, "ec");
    let sha1 = pss(MechanismType::SHA1, PkcsMgfType::MGF1_SHA1, 20);
    let short = pss(MechanismType::SHA256, PkcsMgfType::MGF1_SHA256, 20);
    for (mechanism, key, expected) in [
        (Mechanism::Ecdsa, rsa, RvError::KeyTypeInconsistent),
        (Mechanism::Sha256RsaPkcs, ec, RvError::KeyTypeInconsistent),
        (
            Mechanism::Sha256RsaPkcs,
            rsa_public,
            RvError::KeyFunctionNotPermitted,
        ),
        (
            Mechanism::RsaPkcsPss(sha1),
            rsa,
            RvError::MechanismParamInvalid,
        ),
        (
            Mechanism::RsaPkcsPss(short),
            rsa,
            RvError::MechanismParamInvalid,
        ),
        (Mechanism::Sha1RsaPkcs, rsa, RvError::MechanismInvalid),
        (Mechanism::AesKeyGen, rsa, RvError::MechanismInvalid),
    ] {
        assert_eq!(
            code(session.sign_init(&mechanism, key)),
            expected,
            "{mechanism:?}"
        );
    }
    // What the HSM does not sign is verified all the same.
    let verdict = session.verify(&Mechanism::Sha1RsaPkcs, rsa_public, b"", &[1; 256]);
    assert_eq!(code(verdict), RvError::SignatureInvalid);
    session.sign_init(&Mechanism::RsaPkcs, rsa).unwrap();
    assert_eq!(
        code(session.sign_init(&Mechanism::RsaPkcs, rsa)),
        RvError::OperationActive
    );
    // What is hashed already may come in parts, but not without end.
    session.sign_update(&[1; 1024]).unwrap();
    assert_eq!(code(session.sign_update(b"x")), RvError::DataLenRange);
    assert_eq!(code(session.sign_final()), RvError::OperationNotInitialized);
    let too_long = session.sign(&Mechanism::RsaPkcs, rsa, &[1; 246]);
    assert_eq!(code(too_long), RvError::DataLenRange);
    let no_digest = session.sign(
        &Mechanism::RsaPkcsPss(pss(MechanismType::SHA256, PkcsMgfType::MGF1_SHA256, 32)),
        rsa,
        &[1; 31],
    );
    assert_eq!(code(no_digest), RvError::DataLenRange);
    session.sign_init(&Mechanism::Ecdsa, ec).unwrap();
}

#[test]
fn a_key_that_may_not_sign_is_named_with_the_reason() {
    if !makes_calls() {
        let hsm = Hsm::start();
        let rest = &hsm.rest;
        rest.create(
            "off",
            r#"{"kty":"EC-HSM","crv":"P-256","attributes":{"enabled":false}}"#,
        );
        rest.create(
            "past",
            r#"{"kty":"EC-HSM","crv":"P-256","attributes":{"exp":1000000000}}"#,
        );
        rest.create(
            "later",
            r#"{"kty":"EC-HSM","crv":"P-256","attributes":{"nbf":4102444800}}"#,
        );
        rest.create(
            "other",
            r#"{"kty":"EC-HSM","crv":"P-256","key_ops":["verify"]}"#,
        );
        let told = hsm.run();
        for words in [
            "key managedhsm:localhost:off?version=",
            "is disabled",
            "has expired on",
            "is not valid before",
            "does not permit 'sign' (its key_ops are: verify)",
        ] {
            assert!(told.contains(words), "{words}: {told}");
        }
        return assert_eq!(hsm.count("sign"), 0);
    }
    let pkcs11 = initialized();
    let session = session(&pkcs11);
    for label in ["off", "past", "later", "other"] {
        let (private, _) = pair(&session, label);
        let refused = code(session.sign(&Mechanism::Ecdsa, private, &[1; 32]));
        assert_eq!(refused, RvError::KeyFunctionNotPermitted, "{label}");
    }
}

/// As of one that was known to be usable: its attributes are nobody's to change.
#[test]
fn a_key_that_was_disabled_and_is_gone_is_told_to_be_gone() {
    if !makes_calls() {
        let mut hsm = Hsm::start();
        for name in ["off", "on"] {
            let version = hsm.rest.create(name, r#"{"kty":"EC-HSM","crv":"P-256"}"#);
            if name == "off" {
                let disabled = r#"{"attributes":{"enabled":false}}"#;
                let path = format!("/keys/off/{version}");
                hsm.rest.call("PATCH", &path, disabled);
            }
        }
        hsm.set("TEST_URL", hsm.rest.url.clone());
        hsm.set("TEST_CA", hsm.rest.ca.clone());
        let told = hsm.run();
        return assert!(!told.contains("change its attributes"), "{told}");
    }
    let rest = crate::keys::rest();
    let pkcs11 = initialized();
    let session = session(&pkcs11);
    let keys = ["off", "on"].map(|label| (label, pair(&session, label)));
    for (label, _) in keys {
        rest.call("DELETE", &format!("/keys/{label}"), "");
    }
    std::thread::sleep(std::time::Duration::from_millis(2100));
    for (label, (private, public)) in keys {
        let outcome = session.sign(&Mechanism::Ecdsa, private, &[1; 32]);
        assert_eq!(code(outcome), RvError::KeyHandleInvalid, "{label}");
        // What is known of the public key is enough.
        let verdict = session.verify(&Mechanism::Ecdsa, public, &[1; 32], &[1; 64]);
        assert_eq!(code(verdict), RvError::SignatureInvalid, "{label}");
    }
}

#[test]
fn other_hash_functions_are_signed_with_where_rsnull_is_switched_on() {
    if !makes_calls() {
        let mut hsm = Hsm::start();
        hsm.rest
            .create("rsa", r#"{"kty":"RSA-HSM","key_size":2048}"#);
        hsm.configure(r#"{"tokens":[{"resourceName":"localhost"}],"rsnull":true}"#);
        hsm.run();
        return assert_eq!(hsm.count("sign"), 2);
    }
    let pkcs11 = initialized();
    let slot = crate::support::slot(&pkcs11);
    let info = pkcs11
        .get_mechanism_info(slot, MechanismType::SHA1_RSA_PKCS)
        .unwrap();
    assert!(info.sign());
    let session = session(&pkcs11);
    let (private, public) = pair(&session, "rsa");
    let signature = session
        .sign(&Mechanism::Sha1RsaPkcs, private, MESSAGE)
        .unwrap();
    let key = openssl_key(&session, public);
    let mut verifier = Verifier::new(MessageDigest::sha1(), &key).unwrap();
    verifier.update(MESSAGE).unwrap();
    assert!(verifier.verify(&signature).unwrap());
    let bare = session
        .sign(&Mechanism::RsaPkcs, private, b"hello")
        .unwrap();
    session
        .verify(&Mechanism::RsaPkcs, public, b"hello", &bare)
        .unwrap();
}

/// Labels are no names: two keys may have the same, and each is used by its id.
#[test]
fn two_keys_of_one_label_are_both_found_and_told_apart_by_their_ids() {
    if !makes_calls() {
        let hsm = Hsm::start();
        for (name, id) in [("one", "01"), ("other", "02")] {
            let tags = format!(r#""p11_pri_CKA_LABEL":"web","p11_pri_CKA_ID":"{id}""#);
            let body = format!(r#"{{"kty":"EC-HSM","crv":"P-256","tags":{{{tags}}}}}"#);
            hsm.rest.create(name, &body);
        }
        hsm.run();
        let requests = hsm.requests();
        for name in ["one", "other"] {
            let signs = requests.iter().filter(|request| {
                request.is("sign") && request.path.starts_with(&format!("/keys/{name}/"))
            });
            assert_eq!(signs.count(), 1, "{name}: {requests:?}");
        }
        return;
    }
    let pkcs11 = initialized();
    let session = session(&pkcs11);
    let of_label = [
        Attribute::Class(ObjectClass::PRIVATE_KEY),
        Attribute::Label(b"web".to_vec()),
    ];
    assert_eq!(session.find_objects(&of_label).unwrap().len(), 2);
    for id in [1, 2] {
        let key = only(
            &session,
            &[&of_label[..], &[Attribute::Id(vec![id])]].concat(),
        );
        session.sign(&Mechanism::Ecdsa, key, &[id; 32]).unwrap();
    }
}
