//! The same calls to SoftHSM2 and to this module: the answers agree, or the difference has a
//! reason.

use std::path::Path;

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error, RvError};
use cryptoki::mechanism::rsa::{PkcsMgfType, PkcsOaepParams, PkcsOaepSource, PkcsPssParams};
use cryptoki::mechanism::{Mechanism, MechanismType};
use cryptoki::object::{
    Attribute, AttributeInfo, AttributeType, KeyType, ObjectClass, ObjectHandle,
};
use cryptoki::session::{Session, UserType};
use cryptoki::slot::Slot;
use cryptoki::types::AuthPin;

use crate::programs::is_there;
use crate::support::{Hsm, P256, code, initialized, makes_calls, session};

pub(crate) const SOFTHSM: &str = "/usr/lib/softhsm/libsofthsm2.so";
const MESSAGE: &[u8] = b"thirty-two bytes to be signed ok";

/// A module under test, with a pair of keys of each type.
struct Side {
    session: Session,
    /// Two of RSA, two of EC, and one of AES.
    keys: [ObjectHandle; 5],
    signatures: [Vec<u8>; 2],
    ciphertexts: [Vec<u8>; 4],
}

fn softhsm() -> (Pkcs11, Slot, Session) {
    let pkcs11 = Pkcs11::new(SOFTHSM).unwrap();
    pkcs11
        .initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK))
        .unwrap();
    let pin = AuthPin::new("1234".into());
    let slot = pkcs11.get_all_slots().unwrap()[0];
    pkcs11.init_token(slot, &pin, "reference").unwrap();
    let slot = pkcs11.get_slots_with_token().unwrap()[0];
    let session = pkcs11.open_rw_session(slot).unwrap();
    session.login(UserType::So, Some(&pin)).unwrap();
    session.init_pin(&pin).unwrap();
    session.logout().unwrap();
    session.login(UserType::User, Some(&pin)).unwrap();
    (pkcs11, slot, session)
}

impl Side {
    fn of(session: Session) -> Self {
        let label = || Attribute::Label(b"pair".to_vec());
        let public = |own: &[Attribute]| {
            let common = [Attribute::Token(true), label(), Attribute::Verify(true)];
            [&common[..], own].concat()
        };
        let private = [
            Attribute::Token(true),
            Attribute::Private(true),
            Attribute::Sensitive(true),
            label(),
            Attribute::Sign(true),
        ];
        let decrypting = [Attribute::Decrypt(true), Attribute::Unwrap(true)];
        let rsa = session
            .generate_key_pair(
                &Mechanism::RsaPkcsKeyPairGen,
                &public(&[
                    Attribute::ModulusBits(2048.into()),
                    Attribute::PublicExponent(vec![1, 0, 1]),
                    Attribute::Encrypt(true),
                    Attribute::Wrap(true),
                ]),
                &[&private[..], &decrypting].concat(),
            )
            .unwrap();
        let ec = session
            .generate_key_pair(
                &Mechanism::EccKeyPairGen,
                &public(&[Attribute::EcParams(P256.to_vec())]),
                &private,
            )
            .unwrap();
        let signatures = [
            session.sign(&Mechanism::RsaPkcs, rsa.1, MESSAGE).unwrap(),
            session.sign(&Mechanism::Ecdsa, ec.1, MESSAGE).unwrap(),
        ];
        let aes = [
            Attribute::Token(true),
            label(),
            Attribute::ValueLen(32.into()),
            Attribute::Encrypt(true),
            Attribute::Decrypt(true),
            Attribute::Wrap(true),
            Attribute::Unwrap(true),
        ];
        let aes = session.generate_key(&Mechanism::AesKeyGen, &aes).unwrap();
        let encrypt = |number, key| {
            let encrypted = session.encrypt(&cipher(number), key, &MESSAGE[..20]);
            encrypted.unwrap()
        };
        let whole = session.encrypt(&cipher(2), aes, MESSAGE).unwrap();
        let ciphertexts = [encrypt(0, rsa.0), encrypt(1, rsa.0), whole, encrypt(3, aes)];
        Self {
            session,
            keys: [rsa.0, rsa.1, ec.0, ec.1, aes],
            signatures,
            ciphertexts,
        }
    }
}

/// A call.
#[derive(Clone, Copy, Debug)]
enum Step {
    SignInit(usize, usize),
    Sign(usize, usize, usize),
    SignUpdate(usize),
    SignFinal,
    VerifyInit(usize, usize),
    /// The last: which of the signatures, or one that is too short, or damaged.
    Verify(usize, usize, usize, usize),
    VerifyUpdate(usize),
    VerifyFinal(usize),
    DigestInit(usize),
    Digest(usize, usize),
    DigestUpdate(usize),
    DigestFinal,
    EncryptInit(usize, usize),
    Encrypt(usize, usize, usize),
    EncryptUpdate(usize),
    EncryptFinal,
    DecryptInit(usize, usize),
    /// The last: which of the ciphertexts, or one that is too short.
    Decrypt(usize, usize, usize),
    DecryptUpdate(usize),
    DecryptFinal,
}

fn cipher(number: usize) -> Mechanism<'static> {
    let oaep = |hash, mgf| PkcsOaepParams::new(hash, mgf, PkcsOaepSource::empty());
    match number % 6 {
        0 => Mechanism::RsaPkcs,
        1 => Mechanism::RsaPkcsOaep(oaep(MechanismType::SHA1, PkcsMgfType::MGF1_SHA1)),
        2 => Mechanism::AesCbc([7; 16]),
        3 => Mechanism::AesCbcPad([7; 16]),
        4 => Mechanism::RsaPkcsKeyPairGen,
        _ => Mechanism::Sha256,
    }
}

fn mechanism(number: usize) -> Mechanism<'static> {
    let pss = |hash, mgf, len: u64| PkcsPssParams {
        hash_alg: hash,
        mgf,
        s_len: len.into(),
    };
    match number % 7 {
        0 => Mechanism::RsaPkcs,
        1 => Mechanism::Sha256RsaPkcs,
        2 => Mechanism::Ecdsa,
        3 => Mechanism::RsaPkcsPss(pss(MechanismType::SHA256, PkcsMgfType::MGF1_SHA256, 32)),
        4 => Mechanism::Sha384RsaPkcsPss(pss(MechanismType::SHA384, PkcsMgfType::MGF1_SHA384, 48)),
        5 => Mechanism::Sha512RsaPkcs,
        _ => Mechanism::AesKeyGen,
    }
}

fn digest(number: usize) -> Mechanism<'static> {
    match number % 4 {
        0 => Mechanism::Sha1,
        1 => Mechanism::Sha256,
        2 => Mechanism::Sha512,
        _ => Mechanism::RsaPkcs,
    }
}

fn data(number: usize) -> &'static [u8] {
    match number % 4 {
        0 => MESSAGE,
        1 => &MESSAGE[..5],
        2 => b"",
        _ => &[9; 300],
    }
}

impl Side {
    fn signature(&self, number: usize) -> Vec<u8> {
        let mut signature = self.signatures[number % 2].clone();
        match number / 2 % 3 {
            0 => {}
            1 => signature[9] ^= 1,
            _ => signature.truncate(40),
        }
        signature
    }

    fn ciphertext(&self, number: usize) -> &[u8] {
        match number % 5 {
            4 => &self.ciphertexts[0][..40],
            of => &self.ciphertexts[of],
        }
    }

    /// What a call gives: the length of its result, or its code.
    fn call(&self, step: Step) -> Result<usize, RvError> {
        let session = &self.session;
        let key = |number: usize| self.keys[number % 4];
        let any = |number: usize| self.keys[number % 5];
        let nothing = |(): ()| 0;
        let outcome = match step {
            Step::SignInit(m, k) => session.sign_init(&mechanism(m), key(k)).map(nothing),
            Step::Sign(m, k, d) => session
                .sign(&mechanism(m), key(k), data(d))
                .map(|signature| signature.len()),
            Step::SignUpdate(d) => session.sign_update(data(d)).map(nothing),
            Step::SignFinal => session.sign_final().map(|signature| signature.len()),
            Step::VerifyInit(m, k) => session.verify_init(&mechanism(m), key(k)).map(nothing),
            Step::Verify(m, k, d, s) => session
                .verify(&mechanism(m), key(k), data(d), &self.signature(s))
                .map(nothing),
            Step::VerifyUpdate(d) => session.verify_update(data(d)).map(nothing),
            Step::VerifyFinal(s) => session.verify_final(&self.signature(s)).map(nothing),
            Step::DigestInit(m) => session.digest_init(&digest(m)).map(nothing),
            Step::Digest(m, d) => session
                .digest(&digest(m), data(d))
                .map(|digest| digest.len()),
            Step::DigestUpdate(d) => session.digest_update(data(d)).map(nothing),
            Step::DigestFinal => session.digest_final().map(|digest| digest.len()),
            Step::EncryptInit(m, k) => session.encrypt_init(&cipher(m), any(k)).map(nothing),
            Step::Encrypt(m, k, d) => session
                .encrypt(&cipher(m), any(k), data(d))
                .map(|ciphertext| ciphertext.len()),
            Step::EncryptUpdate(d) => session.encrypt_update(data(d)).map(|part| part.len()),
            Step::EncryptFinal => session.encrypt_final().map(|part| part.len()),
            Step::DecryptInit(m, k) => session.decrypt_init(&cipher(m), any(k)).map(nothing),
            Step::Decrypt(m, k, c) => session
                .decrypt(&cipher(m), any(k), self.ciphertext(c))
                .map(|plaintext| plaintext.len()),
            Step::DecryptUpdate(c) => session
                .decrypt_update(self.ciphertext(c))
                .map(|part| part.len()),
            Step::DecryptFinal => session.decrypt_final().map(|part| part.len()),
        };
        outcome.map_err(|error| match error {
            Error::Pkcs11(code, _) => code,
            other => panic!("{step:?}: {other}"),
        })
    }
}

/// Numbers that look random, and are the same each time.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 33) as usize % below
    }

    fn step(&mut self, family: usize) -> Step {
        let mut next = |below| self.next(below);
        match (family, next(4)) {
            (0, 0) => Step::SignInit(next(7), next(4)),
            (0, 1) => Step::Sign(next(7), next(4), next(4)),
            (0, 2) => Step::SignUpdate(next(4)),
            (0, _) => Step::SignFinal,
            (1, 0) => Step::VerifyInit(next(7), next(4)),
            (1, 1) => Step::Verify(next(7), next(4), next(4), next(6)),
            (1, 2) => Step::VerifyUpdate(next(4)),
            (1, _) => Step::VerifyFinal(next(6)),
            (3, 0) => Step::EncryptInit(next(6), next(5)),
            (3, 1) => Step::Encrypt(next(6), next(5), next(4)),
            (3, 2) => Step::EncryptUpdate(next(4)),
            (3, _) => Step::EncryptFinal,
            (4, 0) => Step::DecryptInit(next(6), next(5)),
            (4, 1) => Step::Decrypt(next(6), next(5), next(5)),
            (4, 2) => Step::DecryptUpdate(next(5)),
            (4, _) => Step::DecryptFinal,
            (_, 0) => Step::DigestInit(next(4)),
            (_, 1) => Step::Digest(next(4), next(4)),
            (_, 2) => Step::DigestUpdate(next(4)),
            (_, _) => Step::DigestFinal,
        }
    }
}

/// Why the answers differ, where they may. What comes after such a call differs as well.
fn reason(
    step: Step,
    ours: &Result<usize, RvError>,
    theirs: &Result<usize, RvError>,
) -> Option<&'static str> {
    use RvError as Rv;
    match (step, ours, theirs) {
        (
            Step::SignUpdate(_) | Step::VerifyUpdate(_),
            Ok(_) | Err(Rv::DataLenRange),
            Err(Rv::OperationNotInitialized),
        ) => Some("parts of what is hashed already are taken, as OpenSC's programs send them"),
        (
            Step::SignFinal | Step::VerifyFinal(_),
            Ok(_) | Err(_),
            Err(Rv::OperationNotInitialized),
        ) if !matches!(ours, Err(Rv::OperationNotInitialized)) => {
            Some("and so there is something to finish, be it empty")
        }
        (
            _,
            Err(Rv::MechanismInvalid | Rv::KeyFunctionNotPermitted),
            Err(Rv::MechanismInvalid | Rv::KeyTypeInconsistent | Rv::KeyFunctionNotPermitted),
        ) => Some("of several mistakes another one is told first"),
        (_, Err(Rv::DataLenRange), Err(_)) | (Step::Sign(..), Err(Rv::DataLenRange), Ok(_)) => {
            Some("a length that can't be signed is told as such")
        }
        (Step::EncryptUpdate(_) | Step::DecryptUpdate(_), Ok(0), Ok(_)) => {
            Some("the HSM takes a message whole: all comes out at the end")
        }
        (
            Step::EncryptUpdate(_)
            | Step::DecryptUpdate(_)
            | Step::EncryptFinal
            | Step::DecryptFinal,
            _,
            Err(Rv::FunctionNotSupported),
        ) => Some("parts are taken of RSA's messages as well"),
        (Step::Decrypt(m, ..), Ok(_), Err(Rv::GeneralError)) if m % 6 == 0 => {
            Some("nobody learns whether a padding of PKCS#1 v1.5 is good")
        }
        (
            Step::Decrypt(..) | Step::DecryptFinal,
            Err(Rv::EncryptedDataInvalid | Rv::EncryptedDataLenRange),
            Err(Rv::GeneralError | Rv::EncryptedDataLenRange | Rv::EncryptedDataInvalid),
        ) => Some("what can't be decrypted is told as such"),
        _ => None,
    }
}

#[test]
fn answers_are_softhsms_or_differ_for_a_reason() {
    if !is_there(SOFTHSM) {
        return;
    }
    if !makes_calls() {
        let mut hsm = Hsm::start();
        let tokens = hsm.file("tokens");
        std::fs::create_dir(&tokens).unwrap();
        let configuration = hsm.file("softhsm2.conf");
        write_configuration(&configuration, &tokens);
        hsm.set("SOFTHSM2_CONF", configuration);
        let told = hsm.run();
        return eprintln!("{}", told.lines().last().unwrap_or_default());
    }
    let pkcs11 = initialized();
    let (reference, slot, logged_in) = softhsm();
    let mut ours = Side::of(session(&pkcs11));
    let mut theirs = Side::of(reference.open_rw_session(slot).unwrap());
    let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15);
    let (mut agreed, mut differed) = (0, 0);
    for sequence in 0..1000 {
        let family = sequence % 5;
        // Nothing is left of what was before.
        ours.session = session(&pkcs11);
        theirs.session = reference.open_rw_session(slot).unwrap();
        let mut calls = Vec::new();
        for _ in 0..12 {
            let step = numbers.step(family);
            let one = ours.call(step);
            let is_deadly = match (step, &one) {
                // SoftHSM 2.6 takes keys of other types until they are used, and crashes then.
                (_, Err(RvError::KeyTypeInconsistent)) => true,
                // Its size of the end of nothing is less than 0.
                (Step::DecryptFinal, Err(RvError::EncryptedDataLenRange)) => true,
                _ => false,
            };
            if is_deadly {
                differed += 1;
                break;
            }
            let other = theirs.call(step);
            calls.push(step);
            if one.as_ref().ok() == other.as_ref().ok()
                && format!("{one:?}") == format!("{other:?}")
            {
                agreed += 1;
                continue;
            }
            differed += 1;
            assert!(
                reason(step, &one, &other).is_some(),
                "{calls:?}: ours {one:?}, SoftHSM's {other:?}"
            );
            break;
        }
    }
    assert!(agreed > 2000, "{agreed} calls agree, {differed} differ");
    same_attributes(&ours, &theirs);
    same_wrapping(&ours, &theirs);
    drop(logged_in);
    eprintln!("{agreed} calls agree with SoftHSM2, {differed} differ for a reason");
}

pub(crate) fn write_configuration(path: &Path, tokens: &Path) {
    let text = format!(
        "directories.tokendir = {}\nobjectstore.backend = file\nlog.level = ERROR\n",
        tokens.display()
    );
    std::fs::write(path, text).unwrap();
}

/// The kinds of keys and their sizes agree, and which attributes there are.
fn same_attributes(ours: &Side, theirs: &Side) {
    let types = [
        AttributeType::Class,
        AttributeType::KeyType,
        AttributeType::Token,
        AttributeType::Private,
        AttributeType::Label,
        AttributeType::Sign,
        AttributeType::Verify,
        AttributeType::Sensitive,
        AttributeType::AlwaysSensitive,
        AttributeType::Extractable,
        AttributeType::NeverExtractable,
        AttributeType::Local,
        AttributeType::KeyGenMechanism,
        AttributeType::Modulus,
        AttributeType::ModulusBits,
        AttributeType::PublicExponent,
        AttributeType::EcParams,
        AttributeType::EcPoint,
        AttributeType::PrivateExponent,
        AttributeType::Value,
        AttributeType::ValueLen,
        AttributeType::Encrypt,
        AttributeType::Decrypt,
        AttributeType::Wrap,
        AttributeType::Unwrap,
    ];
    let available = |side: &Side, key| {
        let told = side.session.get_attribute_info(key, &types).unwrap();
        let lengths = told.into_iter().map(|info| match info {
            AttributeInfo::Available(len) => format!("{len} bytes"),
            other => format!("{other:?}"),
        });
        types
            .iter()
            .zip(lengths)
            .map(|(type_, len)| format!("{type_}: {len}"))
            .collect()
    };
    for (own, other) in ours.keys.iter().zip(theirs.keys) {
        let own: Vec<String> = available(ours, *own);
        let other: Vec<String> = available(theirs, other);
        for (own, other) in own.iter().zip(&other) {
            let is_more = other.ends_with("TypeInvalid") && own.ends_with("bytes");
            // We have them for whoever asks the private object of what is public.
            assert!(own == other || is_more, "ours {own}, SoftHSM's {other}");
        }
    }
}

/// Keys of a session are wrapped and unwrapped alike.
fn same_wrapping(ours: &Side, theirs: &Side) {
    let mine = [
        Attribute::Class(ObjectClass::SECRET_KEY),
        Attribute::KeyType(KeyType::AES),
        Attribute::Sensitive(false),
        Attribute::Extractable(true),
    ];
    let own = [&mine[..], &[Attribute::Value(MESSAGE[..16].to_vec())]].concat();
    let told = |side: &Side| {
        let Side { session, keys, .. } = side;
        let own = session.create_object(&own).unwrap();
        let mut told = Vec::new();
        for (mechanism, wrapping, unwrapping) in [
            (Mechanism::AesKeyWrap, 4, 4),
            (Mechanism::AesKeyWrapPad, 4, 4),
            (Mechanism::RsaPkcs, 0, 1),
            (cipher(1), 0, 1),
        ] {
            let wrapped = session.wrap_key(&mechanism, keys[wrapping], own).unwrap();
            let back = session.unwrap_key(&mechanism, keys[unwrapping], &wrapped, &mine);
            let value = session.get_attributes(back.unwrap(), &[AttributeType::Value]);
            told.push(format!("{} {:?}", wrapped.len(), value.unwrap()));
            let of_hsm = session.wrap_key(&mechanism, keys[wrapping], keys[1]);
            told.push(format!("{:?}", code(of_hsm)));
        }
        told
    };
    assert_eq!(told(ours), told(theirs));
}
