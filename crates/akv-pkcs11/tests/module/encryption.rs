//! Encryption and decryption: what the module makes is undone by OpenSSL and the other way round;
//! what goes wrong ends the operation.

use cryptoki::error::RvError;
use cryptoki::mechanism::aead::GcmParams;
use cryptoki::mechanism::rsa::{PkcsMgfType, PkcsOaepParams, PkcsOaepSource};
use cryptoki::mechanism::vendor_defined::VendorDefinedMechanism;
use cryptoki::mechanism::{Mechanism, MechanismType};
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::Session;
use openssl::aes::{AesKey, wrap_key};
use openssl::encrypt::{Decrypter, Encrypter};
use openssl::hash::MessageDigest;
use openssl::pkey::{PKey, Private, Public};
use openssl::rsa::{Padding, Rsa};
use openssl::symm::{Cipher, decrypt_aead, encrypt, encrypt_aead};

use crate::keys::rest;
use crate::support::{Hsm, code, import_aes, import_rsa, initialized, makes_calls, only, session};

pub(crate) const MESSAGE: &[u8] = b"what is encrypted";
pub(crate) const KEY: [u8; 32] = *b"an AES key that everybody knows.";
const IV: [u8; 16] = [9; 16];

pub(crate) fn key(session: &Session, label: &str, class: ObjectClass) -> ObjectHandle {
    only(
        session,
        &[Attribute::Label(label.into()), Attribute::Class(class)],
    )
}

/// Runs a test's calls with the AES key `a256` in the HSM.
pub(crate) fn run_with_aes() {
    let hsm = Hsm::start();
    import_aes(&hsm.rest, "a256", &KEY);
    hsm.run();
}

/// OpenSSL's padding for a mechanism.
fn oaep(hash: MechanismType, mgf: PkcsMgfType) -> Mechanism<'static> {
    let params = PkcsOaepParams::new(hash, mgf, PkcsOaepSource::empty());
    Mechanism::RsaPkcsOaep(params)
}

type Rule = (Mechanism<'static>, Padding, Option<MessageDigest>);

fn rsa_mechanisms() -> [Rule; 3] {
    [
        (Mechanism::RsaPkcs, Padding::PKCS1, None),
        (
            oaep(MechanismType::SHA1, PkcsMgfType::MGF1_SHA1),
            Padding::PKCS1_OAEP,
            Some(MessageDigest::sha1()),
        ),
        (
            oaep(MechanismType::SHA256, PkcsMgfType::MGF1_SHA256),
            Padding::PKCS1_OAEP,
            Some(MessageDigest::sha256()),
        ),
    ]
}

fn by_openssl(key: &PKey<Public>, (_, padding, digest): &Rule, plaintext: &[u8]) -> Vec<u8> {
    let mut encrypter = Encrypter::new(key).unwrap();
    encrypter.set_rsa_padding(*padding).unwrap();
    if let Some(digest) = digest {
        encrypter.set_rsa_oaep_md(*digest).unwrap();
        encrypter.set_rsa_mgf1_md(*digest).unwrap();
    }
    let mut ciphertext = vec![0; encrypter.encrypt_len(plaintext).unwrap()];
    let len = encrypter.encrypt(plaintext, &mut ciphertext).unwrap();
    ciphertext.truncate(len);
    ciphertext
}

fn undone_by_openssl(key: &PKey<Private>, rule: &Rule, ciphertext: &[u8]) -> Vec<u8> {
    let (_, padding, digest) = rule;
    let mut decrypter = Decrypter::new(key).unwrap();
    decrypter.set_rsa_padding(*padding).unwrap();
    if let Some(digest) = digest {
        decrypter.set_rsa_oaep_md(*digest).unwrap();
        decrypter.set_rsa_mgf1_md(*digest).unwrap();
    }
    let mut plaintext = vec![0; decrypter.decrypt_len(ciphertext).unwrap()];
    let len = decrypter.decrypt(ciphertext, &mut plaintext).unwrap();
    plaintext.truncate(len);
    plaintext
}

/// A private key that the test has as well.
fn rsa_of_both(hsm: &mut Hsm) {
    let rsa = Rsa::generate(2048).unwrap();
    import_rsa(&hsm.rest, "rsa", &rsa);
    let pem = hsm.file("rsa.pem");
    std::fs::write(&pem, rsa.private_key_to_pem().unwrap()).unwrap();
    hsm.set("TEST_KEY", pem);
}

fn private_key() -> PKey<Private> {
    let pem = std::fs::read(std::env::var_os("TEST_KEY").unwrap()).unwrap();
    PKey::private_key_from_pem(&pem).unwrap()
}

fn public_key() -> PKey<Public> {
    PKey::public_key_from_der(&private_key().public_key_to_der().unwrap()).unwrap()
}

#[test]
fn rsa_encrypts_here_and_decrypts_in_the_hsm() {
    if !makes_calls() {
        let mut hsm = Hsm::start();
        rsa_of_both(&mut hsm);
        hsm.run();
        return assert_eq!((hsm.count("encrypt"), hsm.count("decrypt")), (0, 9));
    }
    let pkcs11 = initialized();
    let session = session(&pkcs11);
    let private = key(&session, "rsa", ObjectClass::PRIVATE_KEY);
    let public = key(&session, "rsa", ObjectClass::PUBLIC_KEY);
    for rule in rsa_mechanisms() {
        let ciphertext = session.encrypt(&rule.0, public, MESSAGE).unwrap();
        assert_eq!(
            undone_by_openssl(&private_key(), &rule, &ciphertext),
            MESSAGE
        );
        assert_eq!(
            session.decrypt(&rule.0, private, &ciphertext).unwrap(),
            MESSAGE
        );
        for plaintext in [MESSAGE, b""] {
            let ciphertext = by_openssl(&public_key(), &rule, plaintext);
            session.decrypt_init(&rule.0, private).unwrap();
            let (one, other) = ciphertext.split_at(100);
            assert!(session.decrypt_update(one).unwrap().is_empty());
            assert!(session.decrypt_update(other).unwrap().is_empty());
            assert_eq!(session.decrypt_final().unwrap(), plaintext);
        }
    }
    // A key of the program's own encrypts as well.
    let rsa = private_key().rsa().unwrap();
    let brought = session
        .create_object(&[
            Attribute::Class(ObjectClass::PUBLIC_KEY),
            Attribute::KeyType(KeyType::RSA),
            Attribute::Modulus(rsa.n().to_vec()),
            Attribute::PublicExponent(rsa.e().to_vec()),
        ])
        .unwrap();
    let rule = &rsa_mechanisms()[2];
    let ciphertext = session.encrypt(&rule.0, brought, MESSAGE).unwrap();
    assert_eq!(
        undone_by_openssl(&private_key(), rule, &ciphertext),
        MESSAGE
    );
}

#[test]
fn what_the_hsm_could_not_decrypt_is_refused_when_it_begins() {
    if !makes_calls() {
        let mut hsm = Hsm::start();
        rsa_of_both(&mut hsm);
        hsm.rest.create("ec", r#"{"kty":"EC-HSM","crv":"P-256"}"#);
        let only_signs = r#"{"kty":"RSA-HSM","key_size":2048,"key_ops":["sign","verify"]}"#;
        hsm.rest.create("signs", only_signs);
        let told = hsm.run();
        assert!(told.contains("does not permit 'decrypt'"), "{told}");
        return assert_eq!(hsm.count("decrypt"), 0);
    }
    let pkcs11 = initialized();
    let session = session(&pkcs11);
    let of = |label, class| key(&session, label, class);
    let private = of("rsa", ObjectClass::PRIVATE_KEY);
    let public = of("rsa", ObjectClass::PUBLIC_KEY);
    let with_label = PkcsOaepParams::new(
        MechanismType::SHA256,
        PkcsMgfType::MGF1_SHA256,
        PkcsOaepSource::data_specified(b"label"),
    );
    let good = &rsa_mechanisms()[2].0;
    let ec = of("ec", ObjectClass::PRIVATE_KEY);
    let signs = of("signs", ObjectClass::PRIVATE_KEY);
    for (mechanism, key, expected) in [
        (
            &oaep(MechanismType::SHA384, PkcsMgfType::MGF1_SHA384),
            private,
            RvError::MechanismParamInvalid,
        ),
        (
            &oaep(MechanismType::SHA256, PkcsMgfType::MGF1_SHA1),
            private,
            RvError::MechanismParamInvalid,
        ),
        (
            &Mechanism::RsaPkcsOaep(with_label),
            private,
            RvError::MechanismParamInvalid,
        ),
        (
            &Mechanism::Sha256RsaPkcs,
            private,
            RvError::MechanismInvalid,
        ),
        (
            &Mechanism::AesCbc(IV),
            private,
            RvError::KeyTypeInconsistent,
        ),
        (good, ec, RvError::KeyTypeInconsistent),
        (good, public, RvError::KeyFunctionNotPermitted),
        (good, signs, RvError::KeyFunctionNotPermitted),
    ] {
        let outcome = session.decrypt_init(mechanism, key);
        assert_eq!(code(outcome), expected, "{mechanism:?}");
    }
    assert_eq!(
        code(session.encrypt_init(good, private)),
        RvError::KeyFunctionNotPermitted
    );
    // Lengths that can't be end the operation, before a request.
    session.decrypt_init(good, private).unwrap();
    assert_eq!(
        code(session.decrypt(good, private, &[1; 256])),
        RvError::OperationActive
    );
    session.decrypt_update(&[1; 255]).unwrap();
    assert_eq!(
        code(session.decrypt_final()),
        RvError::EncryptedDataLenRange
    );
    assert_eq!(
        code(session.decrypt_final()),
        RvError::OperationNotInitialized
    );
    let too_long = session.encrypt(good, public, &[1; 191]);
    assert_eq!(code(too_long), RvError::DataLenRange);
    assert_eq!(
        code(session.encrypt_final()),
        RvError::OperationNotInitialized
    );
}

/// As OpenSSL 3.2 does: whoever sends ciphertexts does not learn which are well padded.
#[test]
fn a_wrong_padding_of_pkcs1_gives_bytes_that_look_random() {
    if !makes_calls() {
        let mut hsm = Hsm::start();
        rsa_of_both(&mut hsm);
        for (setting, expected) in [
            ("implicit-rejection", "bytes"),
            ("plain", "error"),
            ("deny", "none"),
        ] {
            hsm.configure(&format!(
                r#"{{"tokens":[{{"resourceName":"localhost"}}],"rsaPkcs1Decrypt":"{setting}"}}"#
            ));
            hsm.set("TEST_EXPECTED", expected);
            let told = hsm.run();
            // The owner of the program learns what the HSM has refused.
            let is_told = told.contains("bytes that look random (rsaPkcs1Decrypt");
            assert_eq!(is_told, expected == "bytes", "{told}");
        }
        return;
    }
    let pkcs11 = initialized();
    let session = session(&pkcs11);
    let private = key(&session, "rsa", ObjectClass::PRIVATE_KEY);
    let info = pkcs11
        .get_mechanism_info(crate::support::slot(&pkcs11), MechanismType::RSA_PKCS)
        .unwrap();
    let expected = std::env::var("TEST_EXPECTED").unwrap();
    assert!(info.encrypt());
    assert_eq!(info.decrypt(), expected != "none");
    // More than the modulus, which no implementation takes for padding that might be good.
    try_wrong_padding(&session, private, &[0xff; 256], &expected);

    // Padding of a signature. An OpenSSL from 3.2 on, if the emulator has that, gives bytes of its
    // own, which the module leaves as they are.
    let block = [&[0, 1][..], &[0xff; 236], &[0], MESSAGE].concat();
    let mut ciphertext = vec![0; 256];
    let rsa = public_key().rsa().unwrap();
    let encrypted = rsa.public_encrypt(&block, &mut ciphertext, Padding::NONE);
    assert_eq!(encrypted.unwrap(), 256);
    let refuses = openssl::version::number() < 0x3020_0000;
    let expected = match expected.as_str() {
        "error" if !refuses => "the HSM's bytes",
        other => other,
    };
    try_wrong_padding(&session, private, &ciphertext, expected);
}

fn try_wrong_padding(session: &Session, private: ObjectHandle, ciphertext: &[u8], expected: &str) {
    let rules = rsa_mechanisms();
    let decrypted = session.decrypt(&rules[0].0, private, ciphertext);
    match expected {
        "bytes" => {
            let bytes = decrypted.unwrap();
            assert_ne!(bytes, MESSAGE);
            let again = session.decrypt(&rules[0].0, private, ciphertext).unwrap();
            assert_eq!(again, bytes);
            let secret = [
                Attribute::KeyType(KeyType::GENERIC_SECRET),
                Attribute::ValueLen(48.into()),
            ];
            let unwrapped = session.unwrap_key(&rules[0].0, private, ciphertext, &secret);
            let value = session.get_attributes(unwrapped.unwrap(), &[AttributeType::Value]);
            assert!(matches!(&value.unwrap()[..], [Attribute::Value(value)] if value.len() == 48));
        }
        "the HSM's bytes" => assert_ne!(decrypted.unwrap(), MESSAGE),
        "error" => assert_eq!(code(decrypted), RvError::EncryptedDataInvalid),
        _ => assert_eq!(code(decrypted), RvError::MechanismInvalid),
    }
    // OAEP is no such oracle.
    let oaep = session.decrypt(&rules[1].0, private, ciphertext);
    assert_eq!(code(oaep), RvError::EncryptedDataInvalid);
}

#[test]
fn aes_in_all_modes_is_openssls() {
    if !makes_calls() {
        let hsm = Hsm::start();
        for (name, len) in [("a128", 16), ("a192", 24), ("a256", 32)] {
            import_aes(&hsm.rest, name, &KEY[..len]);
        }
        hsm.run();
        return;
    }
    let pkcs11 = initialized();
    let session = session(&pkcs11);
    let data = [MESSAGE, &[0; 15]].concat();
    for (label, len, cbc, gcm) in [
        ("a128", 16, Cipher::aes_128_cbc(), Cipher::aes_128_gcm()),
        ("a192", 24, Cipher::aes_192_cbc(), Cipher::aes_192_gcm()),
        ("a256", 32, Cipher::aes_256_cbc(), Cipher::aes_256_gcm()),
    ] {
        let (key, value) = (key(&session, label, ObjectClass::SECRET_KEY), &KEY[..len]);
        let padded = encrypt(cbc, value, Some(&IV), MESSAGE).unwrap();
        // The size is found out, and then known.
        let told = session.encrypt(&Mechanism::AesCbcPad(IV), key, MESSAGE);
        assert_eq!(told.unwrap(), padded, "{label}");
        let back = session.decrypt(&Mechanism::AesCbcPad(IV), key, &padded);
        assert_eq!(back.unwrap(), MESSAGE);
        let whole = session.encrypt(&Mechanism::AesCbc(IV), key, &data).unwrap();
        assert_eq!(whole, encrypt(cbc, value, Some(&IV), &data).unwrap()[..32]);
        session.encrypt_init(&Mechanism::AesCbc(IV), key).unwrap();
        for part in data.chunks(7) {
            assert!(session.encrypt_update(part).unwrap().is_empty());
        }
        assert_eq!(session.encrypt_final().unwrap(), whole);
        assert_eq!(
            session
                .decrypt(&Mechanism::AesCbc(IV), key, &whole)
                .unwrap(),
            data
        );

        let mut room = [0; 40];
        let kek = AesKey::new_encrypt(value).unwrap();
        let wrapped = wrap_key(&kek, None, &mut room, &data).unwrap();
        let told = session.encrypt(&Mechanism::AesKeyWrap, key, &data).unwrap();
        assert_eq!(told, room[..wrapped]);
        assert_eq!(
            session.decrypt(&Mechanism::AesKeyWrap, key, &told).unwrap(),
            data
        );
        let told = session
            .encrypt(&Mechanism::AesKeyWrapPad, key, MESSAGE)
            .unwrap();
        assert_eq!(told.len(), 32);
        assert_eq!(
            session
                .decrypt(&Mechanism::AesKeyWrapPad, key, &told)
                .unwrap(),
            MESSAGE
        );

        for aad in [&b"header"[..], b""] {
            let mut iv = [0; 12];
            let params = GcmParams::new(&mut iv, aad, 128.into()).unwrap();
            let sealed = session
                .encrypt(&Mechanism::AesGcm(params), key, MESSAGE)
                .unwrap();
            assert_ne!(iv, [0; 12]);
            let (ciphertext, tag) = sealed.split_at(MESSAGE.len());
            let opened = decrypt_aead(gcm, value, Some(&iv), aad, ciphertext, tag).unwrap();
            assert_eq!(opened, MESSAGE);
            let mut tag = [0; 16];
            let own = encrypt_aead(gcm, value, Some(&[5; 12]), aad, MESSAGE, &mut tag).unwrap();
            let mut iv = [5; 12];
            let params = GcmParams::new(&mut iv, aad, 128.into()).unwrap();
            let opened =
                session.decrypt(&Mechanism::AesGcm(params), key, &[&own[..], &tag].concat());
            assert_eq!(opened.unwrap(), MESSAGE);
        }
    }
}

/// As Cloud HSM's programs have it: the initialisation vector precedes the ciphertext.
#[test]
fn cloud_hsms_own_gcm_is_there() {
    if !makes_calls() {
        return run_with_aes();
    }
    let pkcs11 = initialized();
    let session = session(&pkcs11);
    let key = key(&session, "a256", ObjectClass::SECRET_KEY);
    let type_ = MechanismType::new_vendor_defined(0x8000_1087).unwrap();
    let params = GcmParams::new(&mut [], b"header", 128.into()).unwrap();
    let mechanism = Mechanism::VendorDefined(VendorDefinedMechanism::new(type_, Some(&params)));
    let sealed = session.encrypt(&mechanism, key, MESSAGE).unwrap();
    let (iv, rest) = sealed.split_at(12);
    let (ciphertext, tag) = rest.split_at(MESSAGE.len());
    let gcm = Cipher::aes_256_gcm();
    let opened = decrypt_aead(gcm, &KEY, Some(iv), b"header", ciphertext, tag).unwrap();
    assert_eq!(opened, MESSAGE);
    assert_eq!(session.decrypt(&mechanism, key, &sealed).unwrap(), MESSAGE);
    let mut damaged = sealed;
    damaged[14] ^= 1;
    assert_eq!(
        code(session.decrypt(&mechanism, key, &damaged)),
        RvError::EncryptedDataInvalid
    );
}

#[test]
fn parameters_that_the_hsm_has_no_use_for_are_refused() {
    if !makes_calls() {
        let hsm = Hsm::start();
        import_aes(&hsm.rest, "a256", &KEY);
        let told = hsm.run();
        assert!(told.contains("12 zero bytes"), "{told}");
        return assert_eq!((hsm.count("encrypt"), hsm.count("decrypt")), (0, 0));
    }
    let pkcs11 = initialized();
    let session = session(&pkcs11);
    let key = key(&session, "a256", ObjectClass::SECRET_KEY);
    for (encrypts, mut iv, bits) in [
        (true, vec![1; 12], 128u64),
        (true, vec![0; 16], 128),
        (true, vec![0; 12], 96),
        (false, vec![1; 16], 128),
        (false, vec![1; 12], 64),
    ] {
        let params = GcmParams::new(&mut iv, b"", bits.into()).unwrap();
        let mechanism = Mechanism::AesGcm(params);
        let outcome = match encrypts {
            true => session.encrypt_init(&mechanism, key),
            false => session.decrypt_init(&mechanism, key),
        };
        assert_eq!(code(outcome), RvError::MechanismParamInvalid);
    }
    for (mechanism, len) in [
        (Mechanism::AesCbc(IV), 17),
        (Mechanism::AesKeyWrap, 17),
        (Mechanism::AesKeyWrap, 8),
        (Mechanism::AesKeyWrapPad, 0),
        (Mechanism::AesCbcPad(IV), (1 << 19) + 1),
    ] {
        let outcome = session.encrypt(&mechanism, key, &vec![0; len]);
        assert_eq!(code(outcome), RvError::DataLenRange, "{mechanism:?}");
    }
    for (mechanism, len) in [
        (Mechanism::AesCbc(IV), 17),
        (Mechanism::AesCbcPad(IV), 0),
        (Mechanism::AesKeyWrap, 16),
        (Mechanism::AesKeyWrapPad, 8),
    ] {
        let outcome = session.decrypt(&mechanism, key, &vec![0; len]);
        assert_eq!(
            code(outcome),
            RvError::EncryptedDataLenRange,
            "{mechanism:?}"
        );
    }
    // What would be held without end is refused as it comes.
    session
        .encrypt_init(&Mechanism::AesCbcPad(IV), key)
        .unwrap();
    let part = vec![0; 1 << 18];
    session.encrypt_update(&part).unwrap();
    session.encrypt_update(&part).unwrap();
    assert_eq!(code(session.encrypt_update(&[1])), RvError::DataLenRange);
    assert_eq!(
        code(session.encrypt_final()),
        RvError::OperationNotInitialized
    );
    // None of a key of another type, and no signature by this one.
    assert_eq!(
        code(session.sign(&Mechanism::RsaPkcs, key, MESSAGE)),
        RvError::KeyTypeInconsistent
    );
}

/// A ciphertext is longer than its message, and as good as that.
#[test]
fn the_longest_message_is_decrypted_again_in_each_mode() {
    if !makes_calls() {
        return run_with_aes();
    }
    let pkcs11 = initialized();
    let session = session(&pkcs11);
    let key = key(&session, "a256", ObjectClass::SECRET_KEY);
    let type_ = MechanismType::new_vendor_defined(0x8000_1087).unwrap();
    let params = GcmParams::new(&mut [], b"", 128.into()).unwrap();
    let with_iv = Mechanism::VendorDefined(VendorDefinedMechanism::new(type_, Some(&params)));
    let mut iv = [0; 12];
    let gcm = Mechanism::AesGcm(GcmParams::new(&mut iv, b"", 128.into()).unwrap());
    let message = vec![7; 1 << 19];
    for (mechanism, overhead) in [
        (&Mechanism::AesCbc(IV), 0),
        (&Mechanism::AesCbcPad(IV), 16),
        (&gcm, 16),
        (&with_iv, 28),
        (&Mechanism::AesKeyWrap, 8),
        (&Mechanism::AesKeyWrapPad, 8),
    ] {
        let ciphertext = session.encrypt(mechanism, key, &message).unwrap();
        assert_eq!(ciphertext.len(), message.len() + overhead, "{mechanism:?}");
        let (one, other) = ciphertext.split_at(1 << 18);
        session.decrypt_init(mechanism, key).unwrap();
        session.decrypt_update(one).unwrap();
        session.decrypt_update(other).unwrap();
        assert!(session.decrypt_final().unwrap() == message, "{mechanism:?}");
        let decrypted = session.decrypt(mechanism, key, &ciphertext).unwrap();
        assert!(decrypted == message, "{mechanism:?}");
        let longer = [&ciphertext[..], &[0; 16]].concat();
        let refused = session.decrypt(mechanism, key, &longer);
        assert_eq!(code(refused), RvError::EncryptedDataLenRange);
        session.decrypt_init(mechanism, key).unwrap();
        let refused = session.decrypt_update(&longer);
        assert_eq!(code(refused), RvError::EncryptedDataLenRange);
    }
}

/// What goes wrong in the HSM and on the way to it has its code, and is the end of the operation.
#[test]
fn failures_of_the_hsm_have_their_codes() {
    if !makes_calls() {
        let mut hsm = Hsm::start();
        import_aes(&hsm.rest, "a256", &KEY);
        hsm.configure(
            r#"{"tokens":[{"resourceName":"localhost"}],"maxRetries":0,"refreshSeconds":0}"#,
        );
        hsm.set("TEST_URL", hsm.rest.url.clone());
        hsm.set("TEST_CA", hsm.rest.ca.clone());
        hsm.set("TEST_EXPECTED", "DeviceError");
        for fault in ["internal-error", "malformed-json", "wrong-length"] {
            hsm.emulator.faults.clear();
            let fault = format!("{fault},operation=encrypt");
            hsm.emulator.faults.add(&fault).expect("a fault");
            hsm.run();
        }
        hsm.emulator.faults.clear();
        hsm.set("TEST_EXPECTED", "KeyHandleInvalid");
        hsm.run();
        return;
    }
    let pkcs11 = initialized();
    let session = session(&pkcs11);
    let key = key(&session, "a256", ObjectClass::SECRET_KEY);
    let mechanism = Mechanism::AesCbcPad(IV);
    let expected = std::env::var("TEST_EXPECTED").unwrap();
    if expected == "KeyHandleInvalid" {
        rest().call("DELETE", "/keys/a256", "");
    }
    let outcome = code(session.encrypt(&mechanism, key, MESSAGE));
    assert_eq!(format!("{outcome:?}"), expected);
    assert_eq!(
        code(session.encrypt_final()),
        RvError::OperationNotInitialized
    );
    // The next one is as good as any.
    session.encrypt_init(&mechanism, key).unwrap();
    if expected != "KeyHandleInvalid" {
        return;
    }
    // A key that is gone has another code where it wraps, and where it unwraps.
    let kind = [
        Attribute::Class(ObjectClass::SECRET_KEY),
        Attribute::KeyType(KeyType::AES),
    ];
    let value = Attribute::Value(vec![7; 32]);
    let own = session.create_object(&[&kind[..], &[value]].concat());
    let wrapped = session.wrap_key(&Mechanism::AesKeyWrap, key, own.unwrap());
    assert_eq!(code(wrapped), RvError::WrappingKeyHandleInvalid);
    let unwrapped = session.unwrap_key(&Mechanism::AesKeyWrap, key, &[1; 40], &kind);
    assert_eq!(code(unwrapped), RvError::UnwrappingKeyHandleInvalid);
}
