//! ML-DSA, as PKCS#11 3.2 has it. What the HSM signs is judged by the module, by AWS-LC, and by the
//! HSM itself, which verifies with a third library.

use std::io::Write;

use aws_lc_rs::signature::{
    ML_DSA_44, ML_DSA_65, ML_DSA_87, UnparsedPublicKey, VerificationAlgorithm,
};
use cryptoki::error::RvError;
use cryptoki::mechanism::dsa::{HedgeType, SignAdditionalContext};
use cryptoki::mechanism::{Mechanism, MechanismType};
use cryptoki::object::{
    Attribute, AttributeInfo, AttributeType, KeyType, MlDsaParameterSetType, ObjectClass,
    ObjectHandle, ParameterSetType,
};
use cryptoki::session::Session;
use cryptoki::types::Ulong;

use crate::support::{Hsm, base64url, code, initialized, makes_calls, only, session, slot};

const PREVIEW: &str = "2026-05-01-preview";
/// Where the process that makes the calls leaves what the HSM is to verify.
const LEFT: &str = "TEST_SIGNATURES";

/// A parameter set, with the lengths of public keys and signatures.
struct Set {
    name: &'static str,
    number: MlDsaParameterSetType,
    public_len: usize,
    signature_len: usize,
    other: &'static dyn VerificationAlgorithm,
}

const SETS: [Set; 3] = [
    Set {
        name: "ML-DSA-44",
        number: MlDsaParameterSetType::ML_DSA_44,
        public_len: 1312,
        signature_len: 2420,
        other: &ML_DSA_44,
    },
    Set {
        name: "ML-DSA-65",
        number: MlDsaParameterSetType::ML_DSA_65,
        public_len: 1952,
        signature_len: 3309,
        other: &ML_DSA_65,
    },
    Set {
        name: "ML-DSA-87",
        number: MlDsaParameterSetType::ML_DSA_87,
        public_len: 2592,
        signature_len: 4627,
        other: &ML_DSA_87,
    },
];

/// An HSM with a key of each set, which has the set's name.
fn hsm() -> Hsm {
    let mut hsm = Hsm::start();
    for set in SETS {
        let body = format!(r#"{{"kty":"AKP-HSM","alg":"{}"}}"#, set.name);
        hsm.rest.create(set.name, &body);
    }
    hsm.set("AKV_API_VERSION", PREVIEW);
    hsm
}

fn pair(session: &Session, label: &str) -> (ObjectHandle, ObjectHandle) {
    let find = |class| {
        let label = Attribute::Label(label.into());
        only(session, &[Attribute::Class(class), label])
    };
    (
        find(ObjectClass::PRIVATE_KEY),
        find(ObjectClass::PUBLIC_KEY),
    )
}

fn ml_dsa(hedge: HedgeType, context: Option<&[u8]>) -> Mechanism<'_> {
    Mechanism::MlDsa(SignAdditionalContext::new(hedge, context))
}

fn value(session: &Session, public: ObjectHandle) -> Vec<u8> {
    match &session
        .get_attributes(public, &[AttributeType::Value])
        .unwrap()[..]
    {
        [Attribute::Value(value)] => value.clone(),
        other => panic!("{other:?}"),
    }
}

/// Asks the HSM about what the calls have left. Returns how much that was.
fn ask_hsm(hsm: &Hsm, left: &str) -> usize {
    for line in left.lines() {
        let [key, context, message, value] = line.split(' ').collect::<Vec<_>>()[..] else {
            panic!("{line}");
        };
        let body = serde_json::json!({"digest": message, "context": context, "value": value});
        let path = format!("/keys/{key}/verify");
        let answer = hsm.rest.call("POST", &path, &body.to_string());
        assert_eq!(answer["value"], true, "{key} {context}");
    }
    left.lines().count()
}

#[test]
fn signatures_of_each_parameter_set_and_context_verify_everywhere() {
    const CONTEXTS: [Option<&[u8]>; 4] = [None, Some(b""), Some(b"x"), Some(&[7; 255])];
    if !makes_calls() {
        let mut hsm = hsm();
        let left = hsm.file("signatures");
        hsm.set(LEFT, left.clone());
        hsm.run();
        let signed = SETS.len() * CONTEXTS.len() * 3;
        assert_eq!(hsm.count("sign"), signed);
        let left = std::fs::read_to_string(left).expect("what the calls have left");
        return assert_eq!(ask_hsm(&hsm, &left), signed);
    }
    let path = std::env::var_os(LEFT).expect("the test sets it");
    let mut left = std::fs::File::create(path).unwrap();
    let pkcs11 = initialized();
    let session = session(&pkcs11);
    let long = vec![b'm'; 300_000];
    for set in SETS {
        let (private, public) = pair(&session, set.name);
        let key = UnparsedPublicKey::new(set.other, value(&session, public));
        for context in CONTEXTS {
            let way = ml_dsa(HedgeType::Preferred, context);
            for message in [&b""[..], b"what is signed", &long] {
                let signature = session.sign(&way, private, message).unwrap();
                assert_eq!(signature.len(), set.signature_len);
                let by_other = key.verify(message, &signature).is_ok();
                let is_plain = context.is_none_or(<[u8]>::is_empty);
                assert_eq!(by_other, is_plain, "{}", set.name);
                verify_in_every_way(&session, (&way, public), message, &signature);
                let context = base64url(context.unwrap_or_default());
                let (message, value) = (base64url(message), base64url(&signature));
                writeln!(left, "{} {context} {message} {value}", set.name).unwrap();
            }
        }
    }
}

/// Whole, in parts, and with the signature first; and not what is wrong.
fn verify_in_every_way(
    session: &Session,
    (way, public): (&Mechanism<'_>, ObjectHandle),
    message: &[u8],
    signature: &[u8],
) {
    session.verify(way, public, message, signature).unwrap();
    session.verify_init(way, public).unwrap();
    for part in message.chunks(70_000) {
        session.verify_update(part).unwrap();
    }
    session.verify_final(signature).unwrap();
    let other = ml_dsa(HedgeType::Preferred, Some(b"another context"));
    let mut damaged = signature.to_vec();
    damaged[40] ^= 1;
    let more = [message, b"!"].concat();
    for (way, message, signature, expected) in [
        (way, message, &damaged[..], RvError::SignatureInvalid),
        (way, &more, signature, RvError::SignatureInvalid),
        (&other, message, signature, RvError::SignatureInvalid),
        (way, message, &signature[1..], RvError::SignatureLenRange),
    ] {
        let verdict = session.verify(way, public, message, signature);
        assert_eq!(code(verdict), expected);
    }
}

#[test]
fn messages_in_parts_come_to_the_same_as_whole_ones() {
    if !makes_calls() {
        let hsm = hsm();
        hsm.run();
        return assert_eq!(hsm.count("sign"), 6);
    }
    let pkcs11 = initialized();
    let session = session(&pkcs11);
    let message = vec![b'm'; 1 << 20];
    let (private, public) = pair(&session, "ML-DSA-65");
    for context in [None, Some(&b"a context"[..])] {
        let way = ml_dsa(HedgeType::Required, context);
        for len in [1 << 20, 65_537, 1000] {
            session.sign_init(&way, private).unwrap();
            for part in message.chunks(len) {
                session.sign_update(part).unwrap();
            }
            let signature = session.sign_final().unwrap();
            session.verify(&way, public, &message, &signature).unwrap();
            let short = session.verify(&way, public, &message[1..], &signature);
            assert_eq!(code(short), RvError::SignatureInvalid);
        }
    }
}

#[test]
fn what_a_signature_cannot_be_told_is_refused() {
    if !makes_calls() {
        let hsm = hsm();
        hsm.rest.create("ec", r#"{"kty":"EC-HSM","crv":"P-256"}"#);
        let told = hsm.run();
        for words in ["the same signature each time", "255", "256"] {
            assert!(told.contains(words), "{words}: {told}");
        }
        return assert_eq!(hsm.count("sign"), 1);
    }
    let pkcs11 = initialized();
    let session = session(&pkcs11);
    let (private, public) = pair(&session, "ML-DSA-44");
    let (ec, _) = pair(&session, "ec");
    let plain = ml_dsa(HedgeType::Preferred, None);
    let signature = session.sign(&plain, private, b"m").unwrap();
    let long = ml_dsa(HedgeType::Preferred, Some(&[7; 256]));
    let same = ml_dsa(HedgeType::DeterministicRequired, None);
    for (way, key, expected) in [
        (&long, private, RvError::MechanismParamInvalid),
        (&same, private, RvError::MechanismParamInvalid),
        (&plain, public, RvError::KeyFunctionNotPermitted),
        (&plain, ec, RvError::KeyTypeInconsistent),
        (&Mechanism::Ecdsa, private, RvError::KeyTypeInconsistent),
        (&Mechanism::RsaPkcs, private, RvError::KeyTypeInconsistent),
    ] {
        let refused = session.sign(way, key, b"m");
        assert_eq!(code(refused), expected, "{way:?}");
    }
    let refused = session.verify(&long, public, b"m", &signature);
    assert_eq!(code(refused), RvError::MechanismParamInvalid);
    // How it was hedged doesn't concern whoever verifies.
    session.verify(&same, public, b"m", &signature).unwrap();
    let refused = session.verify(&plain, private, b"m", &signature);
    assert_eq!(code(refused), RvError::KeyFunctionNotPermitted);
}

#[test]
fn a_wrong_signature_of_the_hsm_is_not_handed_out() {
    if !makes_calls() {
        let hsm = hsm();
        for fault in ["wrong-value", "wrong-length"] {
            hsm.emulator.faults.clear();
            let fault = format!("{fault},operation=sign");
            hsm.emulator.faults.add(&fault).unwrap();
            let told = hsm.run();
            assert!(told.contains("C_Sign: "), "{fault}: {told}");
        }
        return;
    }
    let pkcs11 = initialized();
    let session = session(&pkcs11);
    let (private, _) = pair(&session, "ML-DSA-87");
    let way = ml_dsa(HedgeType::Preferred, None);
    let refused = session.sign(&way, private, b"m");
    assert_eq!(code(refused), RvError::DeviceError);
}

#[test]
fn keys_are_found_with_their_attributes_and_brought_to_verify_with() {
    if !makes_calls() {
        return drop(hsm().run());
    }
    let pkcs11 = initialized();
    let session = session(&pkcs11);
    for set in SETS {
        let sought = [
            Attribute::KeyType(KeyType::ML_DSA),
            Attribute::ParameterSet(set.number.into()),
        ];
        assert_eq!(session.find_objects(&sought).unwrap().len(), 2);
        let (private, public) = pair(&session, set.name);
        let value = value(&session, public);
        assert_eq!(value.len(), set.public_len);
        for object in [private, public] {
            let told = session.get_attributes(
                object,
                &[
                    AttributeType::KeyType,
                    AttributeType::ParameterSet,
                    AttributeType::KeyGenMechanism,
                    AttributeType::AllowedMechanisms,
                    AttributeType::PublicKeyInfo,
                ],
            );
            let told = told.unwrap();
            assert_eq!(told[..2], sought);
            assert_eq!(
                told[2..4],
                [
                    Attribute::KeyGenMechanism(MechanismType::ML_DSA_KEY_PAIR_GEN),
                    Attribute::AllowedMechanisms(vec![MechanismType::ML_DSA]),
                ]
            );
            let Attribute::PublicKeyInfo(info) = &told[4] else {
                panic!("{told:?}");
            };
            // 22 bytes go before the key in RFC 9881's form.
            assert_eq!((info.len(), &info[22..]), (set.public_len + 22, &value[..]));
        }
        let hidden = [AttributeType::Value, AttributeType::Seed];
        let hidden = session.get_attribute_info(private, &hidden).unwrap();
        let is_hidden = |info: &AttributeInfo| matches!(info, AttributeInfo::Sensitive);
        assert!(hidden.iter().all(is_hidden), "{hidden:?}");
        let brought = [
            Attribute::Class(ObjectClass::PUBLIC_KEY),
            Attribute::KeyType(KeyType::ML_DSA),
            Attribute::ParameterSet(set.number.into()),
            Attribute::Value(value),
        ];
        let way = ml_dsa(HedgeType::Preferred, Some(b"x"));
        let signature = session.sign(&way, private, b"m").unwrap();
        let own = session.create_object(&brought).unwrap();
        session.verify(&way, own, b"m", &signature).unwrap();
        let without_set = [brought[0].clone(), brought[1].clone(), brought[3].clone()];
        let refused = session.create_object(&without_set);
        assert_eq!(code(refused), RvError::TemplateIncomplete);
    }
    let cut = [
        Attribute::Class(ObjectClass::PUBLIC_KEY),
        Attribute::KeyType(KeyType::ML_DSA),
        Attribute::ParameterSet(MlDsaParameterSetType::ML_DSA_44.into()),
        Attribute::Value(vec![7; 1311]),
    ];
    let refused = session.create_object(&cut);
    assert_eq!(code(refused), RvError::AttributeValueInvalid);
}

#[test]
fn key_pairs_are_made_in_the_hsm() {
    if !makes_calls() {
        let mut hsm = Hsm::start();
        hsm.configure(&format!(
            r#"{{"tokens":[{{"resourceName":"localhost"}}],"apiVersion":"{PREVIEW}","keyNames":"label"}}"#
        ));
        hsm.run();
        for set in SETS {
            let made = hsm.rest.call("GET", &format!("/keys/{}", set.name), "");
            assert_eq!(
                (&made["key"]["alg"], &made["key"]["kty"]),
                (&set.name.into(), &"AKP-HSM".into())
            );
        }
        return assert_eq!(hsm.count("create"), SETS.len());
    }
    let pkcs11 = initialized();
    let session = session(&pkcs11);
    let way = Mechanism::MlDsaKeyPairGen;
    for set in SETS {
        let common = [
            Attribute::Token(true),
            Attribute::Label(set.name.into()),
            Attribute::Id(vec![7]),
        ];
        let (mut public, mut private) = (common.to_vec(), common.to_vec());
        public.extend([
            Attribute::ParameterSet(set.number.into()),
            Attribute::Verify(true),
        ]);
        private.push(Attribute::Sign(true));
        let made = session.generate_key_pair(&way, &public, &private);
        let (public, private) = made.unwrap();
        assert_eq!(pair(&session, set.name), (private, public));
        let way = ml_dsa(HedgeType::Preferred, None);
        let signature = session.sign(&way, private, b"m").unwrap();
        session.verify(&way, public, b"m", &signature).unwrap();
    }
    for type_ in [MechanismType::ML_DSA_KEY_PAIR_GEN, MechanismType::ML_DSA] {
        let info = pkcs11.get_mechanism_info(slot(&pkcs11), type_).unwrap();
        assert_eq!((info.min_key_size(), info.max_key_size()), (1312, 2592));
        let is_pair = type_ == MechanismType::ML_DSA_KEY_PAIR_GEN;
        assert_eq!(
            (info.generate_key_pair(), info.sign(), info.verify()),
            (is_pair, !is_pair, !is_pair)
        );
    }
    refused_templates(&session);
}

fn refused_templates(session: &Session) {
    let token = || Attribute::Token(true);
    let set = |number: MlDsaParameterSetType| Attribute::ParameterSet(number.into());
    let unknown = ParameterSetType::try_from(Ulong::from(9)).unwrap();
    let (small, large) = (
        set(MlDsaParameterSetType::ML_DSA_44),
        set(MlDsaParameterSetType::ML_DSA_87),
    );
    let bits = Attribute::ModulusBits(2048.into());
    for (public, private, expected) in [
        (vec![token()], vec![token()], RvError::TemplateIncomplete),
        (
            vec![token(), Attribute::ParameterSet(unknown)],
            vec![token()],
            RvError::AttributeValueInvalid,
        ),
        (
            vec![token(), small.clone()],
            vec![token(), large],
            RvError::TemplateInconsistent,
        ),
        (
            vec![token(), small.clone(), bits.clone()],
            vec![token()],
            RvError::TemplateInconsistent,
        ),
        (
            vec![token(), small.clone(), Attribute::KeyType(KeyType::EC)],
            vec![token()],
            RvError::TemplateInconsistent,
        ),
    ] {
        let refused = session.generate_key_pair(&Mechanism::MlDsaKeyPairGen, &public, &private);
        assert_eq!(code(refused), expected, "{public:?} {private:?}");
    }
    let of_rsa = session.generate_key_pair(
        &Mechanism::RsaPkcsKeyPairGen,
        &[token(), bits, small],
        &[token()],
    );
    assert_eq!(code(of_rsa), RvError::TemplateInconsistent);
}

#[test]
fn without_the_preview_such_keys_are_not_there_and_making_one_names_the_setting() {
    if !makes_calls() {
        let mut hsm = hsm();
        hsm.unset("AKV_API_VERSION");
        // Whether or not the HSM has others.
        hsm.set("TEST_STEP", "alone");
        let told = hsm.run();
        assert!(told.contains("of the keys can't be read"), "{told}");
        hsm.set("TEST_STEP", "beside another");
        hsm.rest.create("ec", r#"{"kty":"EC-HSM","crv":"P-256"}"#);
        let told = hsm.run();
        return assert!(told.contains("api-version"), "{told}");
    }
    let pkcs11 = initialized();
    let session = session(&pkcs11);
    let sought = [Attribute::KeyType(KeyType::ML_DSA)];
    assert_eq!(session.find_objects(&sought).unwrap(), []);
    if std::env::var("TEST_STEP").unwrap() == "alone" {
        return assert_eq!(session.find_objects(&[]).unwrap(), []);
    }
    pair(&session, "ec");
    let public = [
        Attribute::Token(true),
        Attribute::ParameterSet(MlDsaParameterSetType::ML_DSA_65.into()),
    ];
    let refused = session.generate_key_pair(&Mechanism::MlDsaKeyPairGen, &public, &public[..1]);
    assert_eq!(code(refused), RvError::FunctionFailed);
}
