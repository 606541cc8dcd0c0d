//! Points of elliptic curves that programs bring, in each form that X9.62 has.

use cryptoki::error::RvError;
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass};
use hsm_keys::der::{bit_string, object_identifier, sequence};
use openssl::bn::BigNumContext;
use openssl::ec::{EcGroup, EcKey, PointConversionForm};
use openssl::ecdsa::EcdsaSig;
use openssl::nid::Nid;
use openssl::pkey::Private;

use crate::import::{ALLOWED, CURVES, of_ec};
use crate::support::{Hsm, code, initialized, makes_calls, session};

/// The forms that are taken.
const TAKEN: [PointConversionForm; 2] = [
    PointConversionForm::COMPRESSED,
    PointConversionForm::UNCOMPRESSED,
];

/// 1.2.840.10045.2.1
const EC_PUBLIC_KEY: &[u8] = b"\x2a\x86\x48\xce\x3d\x02\x01";

fn pair(nid: Nid) -> EcKey<Private> {
    let group = EcGroup::from_curve_name(nid).unwrap();
    EcKey::generate(&group).unwrap()
}

fn point(key: &EcKey<Private>, form: PointConversionForm) -> Vec<u8> {
    let mut context = BigNumContext::new().unwrap();
    let point = key.public_key().to_bytes(key.group(), form, &mut context);
    point.unwrap()
}

/// As an OCTET STRING, and as it is, which programs of old give.
fn encodings(point: &[u8]) -> [Vec<u8>; 2] {
    let long = (point.len() > 127).then_some(0x81);
    let len = u8::try_from(point.len()).unwrap();
    let header = [4].into_iter().chain(long).chain([len]);
    [
        header.chain(point.iter().copied()).collect(),
        point.to_vec(),
    ]
}

/// A public key for this session.
fn public(params: &[u8], point: &[u8]) -> Vec<Attribute> {
    vec![
        Attribute::Class(ObjectClass::PUBLIC_KEY),
        Attribute::KeyType(KeyType::EC),
        Attribute::Token(false),
        Attribute::EcParams(params.to_vec()),
        Attribute::EcPoint(point.to_vec()),
    ]
}

#[test]
fn a_point_that_is_compressed_is_the_key_that_the_whole_one_is() {
    if !makes_calls() {
        return drop(Hsm::start().run());
    }
    let pkcs11 = initialized();
    let session = session(&pkcs11);
    for (nid, params) in CURVES {
        let key = pair(nid);
        let signature = EcdsaSig::sign(&[7; 32], &key).unwrap();
        let len = usize::try_from(key.group().degree().div_ceil(8)).unwrap();
        let half = |number: &openssl::bn::BigNumRef| {
            let len = i32::try_from(len).unwrap();
            number.to_vec_padded(len).unwrap()
        };
        let raw = [half(signature.r()), half(signature.s())].concat();
        let whole = point(&key, PointConversionForm::UNCOMPRESSED);
        for form in TAKEN {
            let algorithm = sequence(&[&object_identifier(EC_PUBLIC_KEY), params]);
            let info = sequence(&[&algorithm, &bit_string(&point(&key, form))]);
            for given in encodings(&point(&key, form)) {
                let mut template = public(params, &given);
                template.push(Attribute::PublicKeyInfo(info.clone()));
                let object = session.create_object(&template).unwrap();
                let told = session.get_attributes(object, &[AttributeType::EcPoint]);
                let [expected, _] = encodings(&whole);
                assert_eq!(told.unwrap(), [Attribute::EcPoint(expected)], "{nid:?}");
                let verify = |digest| session.verify(&Mechanism::Ecdsa, object, digest, &raw);
                verify(&[7; 32]).unwrap();
                assert_eq!(code(verify(&[8; 32])), RvError::SignatureInvalid);
            }
        }
    }
}

#[test]
fn a_point_that_can_not_be_used_is_refused_and_told_why() {
    if !makes_calls() {
        // Of a kind of failures one a second is told.
        for (what, words) in [
            (
                "hybrid",
                "the point is in hybrid form: give it uncompressed",
            ),
            ("short", "in no form that a point of the curve P-256 has"),
            ("rootless", "no point of the curve P-256"),
        ] {
            let mut hsm = Hsm::start();
            hsm.set("TEST_POINTS", what);
            let told = hsm.run();
            assert!(told.contains(words), "{what}: {told}");
        }
        return;
    }
    let pkcs11 = initialized();
    let session = session(&pkcs11);
    let what = std::env::var("TEST_POINTS").unwrap();
    for (nid, params) in CURVES {
        let key = pair(nid);
        let compressed = point(&key, PointConversionForm::COMPRESSED);
        let points = match what.as_str() {
            "hybrid" => vec![point(&key, PointConversionForm::HYBRID)],
            "short" => vec![
                vec![0],
                compressed[1..].to_vec(),
                compressed[..compressed.len() - 1].to_vec(),
            ],
            // An x beyond the field's prime.
            _ => vec![[&[2][..], &vec![0xff; compressed.len() - 1]].concat()],
        };
        for point in points {
            for given in encodings(&point) {
                let refused = session.create_object(&public(params, &given));
                let expected = RvError::AttributeValueInvalid;
                assert_eq!(code(refused), expected, "{nid:?} {given:x?}");
            }
        }
    }
}

#[test]
fn the_point_of_a_private_key_that_is_imported_may_be_compressed_too() {
    if !makes_calls() {
        let mut hsm = Hsm::start();
        hsm.configure(ALLOWED);
        let told = hsm.run();
        assert!(told.contains("hybrid form"), "{told}");
        let keys = hsm.rest.call("GET", "/keys", "");
        return assert_eq!(keys["value"].as_array().unwrap().len(), 16, "{keys}");
    }
    let pkcs11 = initialized();
    let session = session(&pkcs11);
    for (nid, params) in CURVES {
        let [key, other] = [(); 2].map(|()| pair(nid));
        let create = |given: Vec<u8>| {
            let scalar = key.private_key().to_vec();
            session.create_object(&of_ec(params, scalar, &[Attribute::EcPoint(given)]))
        };
        for given in encodings(&point(&key, PointConversionForm::HYBRID)) {
            assert_eq!(code(create(given)), RvError::AttributeValueInvalid);
        }
        for form in TAKEN {
            for given in encodings(&point(&key, form)) {
                create(given).unwrap();
            }
            for given in encodings(&point(&other, form)) {
                assert_eq!(code(create(given)), RvError::TemplateInconsistent);
            }
        }
    }
}
