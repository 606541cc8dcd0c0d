//! The same calls to SoftHSM2 and to this module: the answers agree, or the difference has a
//! reason. Other sequences of calls are tried each time; AKV_SAMPLE repeats those of a run.

use std::cell::Cell;
use std::path::Path;
use std::time::SystemTime;

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
use cryptoki_sys::*;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed, TestRunner};

use crate::programs::is_there;
use crate::sequences::{ATTRIBUTES, LONGEST, PADDED, Step, TO_VERIFY, reason, sequences};
use crate::support::{Hsm, P256, code, initialized, makes_calls, module, slot};

pub(crate) const SOFTHSM: &str = "/usr/lib/softhsm/libsofthsm2.so";
const MESSAGE: &[u8] = b"thirty-two bytes to be signed ok";

/// The variable by which the process that makes the calls knows what to begin with.
const SEED: &str = "TEST_SEED";
/// Sequences of calls.
const SEQUENCES: u32 = 1000;

/// A module under test, with a pair of keys of each type.
struct Side {
    pkcs11: Pkcs11,
    slot: Slot,
    /// For the calls that `cryptoki` makes only together with others.
    functions: &'static CK_FUNCTION_LIST,
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

/// The functions of a module that is loaded already.
fn functions(module: &Path) -> &'static CK_FUNCTION_LIST {
    // SAFETY: it is loaded, so that no code of it runs now.
    let library = unsafe { cryptoki_sys::Pkcs11::new(module) }.unwrap();
    // It stays, as the module does.
    let library = Box::leak(Box::new(library));
    let mut list = std::ptr::null_mut();
    // SAFETY: the list has a place.
    let code = unsafe { library.C_GetFunctionList(&raw mut list) };
    assert_eq!(code, CKR_OK);
    // SAFETY: it is the module's, which stays.
    unsafe { &*list }
}

impl Side {
    fn of(pkcs11: Pkcs11, slot: Slot, module: &Path) -> Self {
        let session = pkcs11.open_rw_session(slot).unwrap();
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
            pkcs11,
            slot,
            functions: functions(module),
            keys: [rsa.0, rsa.1, ec.0, ec.1, aes],
            signatures,
            ciphertexts,
        }
    }
}

fn number(type_: CK_ATTRIBUTE_TYPE, value: CK_ULONG) -> (CK_ATTRIBUTE_TYPE, Vec<u8>) {
    (type_, value.to_ne_bytes().to_vec())
}

/// What is sought.
fn template(which: usize) -> Vec<(CK_ATTRIBUTE_TYPE, Vec<u8>)> {
    let label = |text: &[u8]| (CKA_LABEL, text.to_vec());
    match which % 10 {
        0 => vec![number(CKA_CLASS, CKO_PRIVATE_KEY)],
        1 => vec![number(CKA_CLASS, CKO_PUBLIC_KEY)],
        2 => vec![number(CKA_CLASS, CKO_SECRET_KEY), label(b"pair")],
        3 => vec![label(b"pair")],
        4 => vec![label(b"pai")],
        5 => vec![number(CKA_KEY_TYPE, CKK_RSA)],
        6 => vec![
            number(CKA_KEY_TYPE, CKK_EC),
            number(CKA_CLASS, CKO_PRIVATE_KEY),
        ],
        7 => vec![(CKA_TOKEN, vec![0])],
        TO_VERIFY => vec![(CKA_VERIFY, vec![1]), label(b"pair")],
        _ => vec![number(CKA_CLASS, CKO_CERTIFICATE)],
    }
}

fn cipher(number: usize) -> Mechanism<'static> {
    let oaep = |hash, mgf| PkcsOaepParams::new(hash, mgf, PkcsOaepSource::empty());
    match number % 6 {
        0 => Mechanism::RsaPkcs,
        1 => Mechanism::RsaPkcsOaep(oaep(MechanismType::SHA1, PkcsMgfType::MGF1_SHA1)),
        2 => Mechanism::AesCbc([7; 16]),
        PADDED => Mechanism::AesCbcPad([7; 16]),
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

    fn open(&self) -> Session {
        self.pkcs11.open_rw_session(self.slot).unwrap()
    }
}

/// The two sessions of a sequence; the calls are the first one's.
struct Sessions<'a> {
    side: &'a Side,
    session: Session,
    other: Session,
}

impl<'a> Sessions<'a> {
    fn of(side: &'a Side) -> Self {
        Self {
            side,
            session: side.open(),
            other: side.open(),
        }
    }

    /// What a call gives: the length of its result, or how many there are, or its code.
    fn call(&mut self, step: Step) -> Result<usize, RvError> {
        match step {
            Step::Switch => {
                std::mem::swap(&mut self.session, &mut self.other);
                Ok(0)
            }
            Step::Reopen => {
                self.session = self.side.open();
                Ok(0)
            }
            Step::FindInit(which) => self.find_init(&template(which)),
            Step::Find(most) => self.find(most),
            Step::FindFinal => self.find_final(),
            Step::Read(k, which) => self.read(k, ATTRIBUTES[which % ATTRIBUTES.len()]),
            _ => self.operate(step),
        }
    }

    fn find_init(&self, template: &[(CK_ATTRIBUTE_TYPE, Vec<u8>)]) -> Result<usize, RvError> {
        let attribute = |(type_, value): &(CK_ATTRIBUTE_TYPE, Vec<u8>)| CK_ATTRIBUTE {
            type_: *type_,
            pValue: value.as_ptr().cast_mut().cast(),
            ulValueLen: value.len() as CK_ULONG,
        };
        let mut template: Vec<_> = template.iter().map(attribute).collect();
        let len = template.len() as CK_ULONG;
        let init = self.side.functions.C_FindObjectsInit.unwrap();
        // SAFETY: the template is as long as it says, and so are its values, which are only read.
        let code = unsafe { init(self.session.handle(), template.as_mut_ptr(), len) };
        told(code, 0)
    }

    fn find(&self, most: usize) -> Result<usize, RvError> {
        let (mut found, mut count) = ([0; LONGEST], 0);
        let most = most.min(LONGEST) as CK_ULONG;
        let find = self.side.functions.C_FindObjects.unwrap();
        let session = self.session.handle();
        // SAFETY: there is room for so many.
        let code = unsafe { find(session, found.as_mut_ptr(), most, &raw mut count) };
        told(code, count)
    }

    fn find_final(&self) -> Result<usize, RvError> {
        let end = self.side.functions.C_FindObjectsFinal.unwrap();
        // SAFETY: it takes a number.
        let code = unsafe { end(self.session.handle()) };
        told(code, 0)
    }

    fn read(&self, k: usize, type_: AttributeType) -> Result<usize, RvError> {
        let info = self
            .session
            .get_attribute_info(self.side.keys[k % 5], &[type_]);
        match info.unwrap()[0] {
            AttributeInfo::Available(len) => Ok(len),
            AttributeInfo::Sensitive => Err(RvError::AttributeSensitive),
            AttributeInfo::TypeInvalid => Err(RvError::AttributeTypeInvalid),
            ref other => panic!("{type_}: {other:?}"),
        }
    }

    /// Calls of operations with keys, and of digests.
    fn operate(&self, step: Step) -> Result<usize, RvError> {
        let Self { side, session, .. } = self;
        let key = |number: usize| side.keys[number % 4];
        let any = |number: usize| side.keys[number % 5];
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
                .verify(&mechanism(m), key(k), data(d), &side.signature(s))
                .map(nothing),
            Step::VerifyUpdate(d) => session.verify_update(data(d)).map(nothing),
            Step::VerifyFinal(s) => session.verify_final(&side.signature(s)).map(nothing),
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
                .decrypt(&cipher(m), any(k), side.ciphertext(c))
                .map(|plaintext| plaintext.len()),
            Step::DecryptUpdate(c) => session
                .decrypt_update(side.ciphertext(c))
                .map(|part| part.len()),
            Step::DecryptFinal => session.decrypt_final().map(|part| part.len()),
            other => unreachable!("{other:?} has its own function"),
        };
        outcome.map_err(|error| match error {
            Error::Pkcs11(code, _) => code,
            other => panic!("{step:?}: {other}"),
        })
    }
}

/// A code as `cryptoki` has it, or a count.
fn told(code: CK_RV, count: CK_ULONG) -> Result<usize, RvError> {
    match code {
        CKR_OK => Ok(usize::try_from(count).unwrap()),
        CKR_OPERATION_ACTIVE => Err(RvError::OperationActive),
        CKR_OPERATION_NOT_INITIALIZED => Err(RvError::OperationNotInitialized),
        other => panic!("a search: {other:#x}"),
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
        hsm.set(SEED, seed().to_string());
        let told = hsm.run();
        return eprintln!("{}", told.lines().last().unwrap_or_default());
    }
    let seed = std::env::var(SEED).unwrap().parse().unwrap();
    let pkcs11 = initialized();
    let slot = slot(&pkcs11);
    let ours = Side::of(pkcs11, slot, module());
    let (reference, slot, logged_in) = softhsm();
    let theirs = Side::of(reference, slot, Path::new(SOFTHSM));
    let counts = Counts::default();
    let config = Config {
        cases: SEQUENCES,
        rng_seed: RngSeed::Fixed(seed),
        failure_persistence: None,
        ..Config::default()
    };
    TestRunner::new(config)
        .run(&sequences(), |steps| same(&ours, &theirs, &steps, &counts))
        .unwrap_or_else(|error| panic!("{error}"));
    let (agreed, differed) = (counts.agreed.get(), counts.differed.get());
    assert!(agreed > 2000, "{agreed} calls agree, {differed} differ");
    same_attributes(&ours, &theirs);
    same_wrapping(&ours, &theirs);
    drop(logged_in);
    eprintln!("{agreed} calls agree with SoftHSM2, {differed} differ for a reason");
}

/// What to begin with: another number each time, unless AKV_SAMPLE says which.
fn seed() -> u64 {
    let seed = match std::env::var("AKV_SAMPLE") {
        Ok(seed) => seed.parse().expect("AKV_SAMPLE is a number"),
        Err(_) => {
            let now = SystemTime::UNIX_EPOCH.elapsed().expect("it is past 1970");
            now.as_secs() << 30 | u64::from(now.subsec_nanos())
        }
    };
    eprintln!("sequences of calls: AKV_SAMPLE={seed}");
    seed
}

#[derive(Default)]
struct Counts {
    agreed: Cell<usize>,
    differed: Cell<usize>,
}

/// Makes the calls of a sequence on both sides, up to the first difference that they may have.
fn same(ours: &Side, theirs: &Side, steps: &[Step], counts: &Counts) -> Result<(), TestCaseError> {
    // Nothing is left of what was before.
    let (mut ours, mut theirs) = (Sessions::of(ours), Sessions::of(theirs));
    for (index, &step) in steps.iter().enumerate() {
        let one = ours.call(step);
        let is_deadly = match (step, &one) {
            // SoftHSM 2.6 takes keys of other types until they are used, and crashes then.
            (_, Err(RvError::KeyTypeInconsistent)) => true,
            // Its size of the end of nothing is less than 0.
            (Step::DecryptFinal, Err(RvError::EncryptedDataLenRange)) => true,
            _ => false,
        };
        if is_deadly {
            counts.differed.set(counts.differed.get() + 1);
            break;
        }
        let other = theirs.call(step);
        if one.as_ref().ok() == other.as_ref().ok() && format!("{one:?}") == format!("{other:?}") {
            counts.agreed.set(counts.agreed.get() + 1);
            continue;
        }
        counts.differed.set(counts.differed.get() + 1);
        prop_assert!(
            reason(&steps[..index], step, &one, &other).is_some(),
            "{step:?}: ours {one:?}, SoftHSM's {other:?}"
        );
        if !matches!(step, Step::Read(..)) {
            break;
        }
    }
    Ok(())
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
    let available = |side: &Side, key| {
        let told = side.open().get_attribute_info(key, &ATTRIBUTES).unwrap();
        let lengths = told.into_iter().map(|info| match info {
            AttributeInfo::Available(len) => format!("{len} bytes"),
            other => format!("{other:?}"),
        });
        ATTRIBUTES
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
        let (session, keys) = (side.open(), &side.keys);
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
