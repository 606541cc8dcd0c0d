//! What somebody gains who writes the key files that others load: nothing that a software key in
//! the place of the file wouldn't give. The URI leads to the HSM alone, and what the file tells of
//! the public key is not relied on before the HSM has shown it: a signature that doesn't verify
//! with it doesn't leave, nothing is encrypted for it, and nothing is verified with it.

use std::fs;

use hsm_keys::PublicKey;
use hsm_keys::key_file::KeyFile;
use managed_hsm::KeyUri;

use crate::support::{EC_P256, Hsm, LOADINGS, Loading, RSA_2048, uri};

const RSA_3072: &str = r#"{"kty":"RSA-HSM","key_size":3072}"#;
const EC_P384: &str = r#"{"kty":"EC-HSM","crv":"P-384"}"#;
const EC_P256K: &str = r#"{"kty":"EC-HSM","crv":"P-256K"}"#;

const KEYS: [(&str, &str); 7] = [
    ("rsa", RSA_2048),
    ("rsa-other", RSA_2048),
    ("rsa-3072", RSA_3072),
    ("ec", EC_P256),
    ("ec-other", EC_P256),
    ("p384", EC_P384),
    ("p256k", EC_P256K),
];

/// The public key in a file of PEM.
pub(crate) fn public(path: &str) -> PublicKey {
    // This process's libcrypto may be older than the one that wrote it, and know no such keys.
    let pem = fs::read_to_string(path).expect("a public key");
    let base64: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    let spki = openssl::base64::decode_block(&base64).expect("PEM");
    let public = PublicKey::from_spki(&spki).expect("numbers of a key");
    public.expect("a SubjectPublicKeyInfo")
}

/// A key file that names the newest version of a key, and another's public key.
pub(crate) fn forged(hsm: &Hsm, name: &str, public: PublicKey) -> String {
    let kid = hsm.key(name)["key"]["kid"].clone();
    let version = kid.as_str().and_then(|kid| kid.rsplit('/').next());
    let named: KeyUri = uri(name).parse().expect("a URI");
    let file = KeyFile::Version {
        vault: named.vault,
        key: named.key,
        version: version.expect("a version").parse().expect("a version"),
        public,
    };
    hsm.write("forged.pem", file.pem())
}

/// A software key of the attacker's: the file of the private key, and that of the public one.
fn attackers(hsm: &Hsm, algorithm: &str, option: &str) -> (String, String) {
    let (private, public) = (hsm.path("attacker.key"), hsm.path("attacker.pub"));
    let make = format!("genpkey -algorithm {algorithm} -pkeyopt {option} -out {private}");
    hsm.openssl_line(Loading::Plain, &make).succeeds();
    let show = format!("pkey -in {private} -pubout -out {public}");
    hsm.openssl_line(Loading::Plain, &show).succeeds();
    (private, public)
}

fn is_empty(path: &str) -> bool {
    fs::metadata(path).map_or(0, |file| file.len()) == 0
}

#[test]
fn no_signature_leaves_by_a_key_file_with_another_keys_public_key() {
    let mut hsm = Hsm::with_keys(&KEYS);
    let (message, signature) = (hsm.write("message", "a message"), hsm.path("signature"));
    let of = |hsm: &Hsm, name: &str| public(&hsm.public_key(Loading::AkvFirst, &uri(name)));
    const OTHER: &[&str] = &[
        "the public key in the key file is not that of key",
        "akv key pem",
    ];
    const TYPE: &[&str] = &["HTTP 400", "the key file is wrong", "akv key pem"];
    let before = of(&hsm, "ec");
    hsm.rotate("ec");
    let mut cases = vec![("ec", before, OTHER)];
    for (name, other, words) in [
        ("rsa", "rsa-other", OTHER),
        ("rsa", "rsa-3072", OTHER),
        ("rsa-3072", "rsa", OTHER),
        ("ec", "ec-other", OTHER),
        ("ec", "p384", TYPE),
        ("ec", "p256k", TYPE),
        ("p384", "ec", TYPE),
        ("ec", "rsa", TYPE),
        ("rsa", "ec", TYPE),
    ] {
        cases.push((name, of(&hsm, other), words));
    }
    // The setting makes no difference to the first signature.
    for checks in ["yes", "no"] {
        hsm.set("AKV_VERIFY_SIGNATURES", checks);
        for (name, public, words) in &cases {
            let file = forged(&hsm, name, public.clone());
            for loading in LOADINGS {
                for options in [
                    "",
                    "-sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:digest",
                ] {
                    if !options.is_empty() && !matches!(public, PublicKey::Rsa(_)) {
                        continue;
                    }
                    let line =
                        format!("dgst -sha256 -sign {file} {options} -out {signature} {message}");
                    let failed = hsm.openssl_line(loading, &line);
                    failed.fails_with(words);
                    assert!(is_empty(&signature), "{line}");
                }
            }
        }
    }
}

#[test]
fn a_true_key_file_signs_with_and_without_further_checks() {
    let mut hsm = Hsm::with_keys(&KEYS);
    let message = hsm.write("message", "a message");
    for checks in ["yes", "no"] {
        hsm.set("AKV_VERIFY_SIGNATURES", checks);
        for (name, _) in KEYS {
            let public = public(&hsm.public_key(Loading::AkvFirst, &uri(name)));
            let file = forged(&hsm, name, public);
            for line in [
                format!("dgst -sha256 -sign {file} -out /dev/null {message}"),
                format!("pkey -check -noout -in {file}"),
            ] {
                hsm.openssl_line(Loading::AkvFirst, &line).succeeds();
            }
        }
    }
}

#[test]
fn a_server_with_an_attackers_certificate_and_key_file_shows_no_signature() {
    let hsm = Hsm::with_keys(&KEYS);
    for (name, algorithm, option) in [
        ("rsa", "RSA", "rsa_keygen_bits:2048"),
        ("ec", "EC", "ec_paramgen_curve:P-256"),
    ] {
        let (private, key) = attackers(&hsm, algorithm, option);
        let certificate = hsm.certificate(Loading::Plain, &private, "attacker");
        let file = forged(&hsm, name, public(&key));
        for loading in LOADINGS {
            let server = hsm.serve_tls(loading, &["-cert", &certificate, "-key", &file]);
            hsm.connect_tls(Loading::Plain, &server, &["-CAfile", &certificate])
                .fails_with(&["alert"]);
            let errors = server.errors();
            assert!(errors.contains("is not that of key"), "{errors}");
        }
    }
}

#[test]
fn nothing_is_encrypted_for_or_verified_with_an_attackers_key() {
    let hsm = Hsm::with_keys(&KEYS);
    let (private, key) = attackers(&hsm, "RSA", "rsa_keygen_bits:2048");
    let (file, out) = (forged(&hsm, "rsa", public(&key)), hsm.path("out"));
    let secret = hsm.write("secret", [7; 32]);
    let (signature, signed) = (hsm.path("signature"), hsm.path("signed"));
    for line in [
        format!("dgst -sha256 -sign {private} -out {signature} {secret}"),
        format!("pkeyutl -sign -inkey {private} -in {secret} -out {signed}"),
    ] {
        hsm.openssl_line(Loading::Plain, &line).succeeds();
    }
    let told: &[&str] = &["is not that of key managedhsm:MyHSM:rsa?version="];
    for (line, words) in [
        (
            format!("pkeyutl -encrypt -inkey {file} -in {secret} -out {out}"),
            told,
        ),
        (
            format!("dgst -sha256 -prverify {file} -signature {signature} {secret}"),
            told,
        ),
        (
            format!("pkeyutl -verifyrecover -inkey {file} -in {signed} -out {out}"),
            told,
        ),
        (format!("pkey -check -noout -in {file}"), told),
        // OSSL_STORE drops what decoders say where a public key is expected.
        (
            format!("pkeyutl -encrypt -pubin -inkey {file} -in {secret} -out {out}"),
            &[],
        ),
        (
            format!("dgst -sha256 -verify {file} -signature {signature} {secret}"),
            &[],
        ),
    ] {
        for loading in LOADINGS {
            let text = hsm.openssl_line(loading, &line).fails_with(words);
            assert!(
                !text.contains("Verified OK") && is_empty(&out),
                "{line}: {text}"
            );
        }
    }
}

#[test]
fn a_wrong_public_key_changes_nothing_of_what_is_decrypted() {
    let hsm = Hsm::with_keys(&KEYS);
    let (secret, ciphertext) = (hsm.write("secret", [7; 32]), hsm.path("ciphertext"));
    let encrypt = ["pkeyutl", "-encrypt", "-inkey", &uri("rsa"), "-in", &secret];
    hsm.openssl(
        Loading::AkvFirst,
        &[&encrypt[..], &["-out", &ciphertext]].concat(),
    )
    .succeeds();
    let of = |name: &str| public(&hsm.public_key(Loading::AkvFirst, &uri(name)));
    let decrypted = |name: &str, other: &str| {
        let file = forged(&hsm, name, of(other));
        let line = format!("pkeyutl -decrypt -inkey {file} -in {ciphertext}");
        hsm.openssl_line(Loading::AkvFirst, &line)
    };
    // Only the private key counts, and that is the one which is named.
    let same = decrypted("rsa", "rsa-other");
    same.succeeds();
    assert_eq!(same.bytes(), [7; 32]);
    decrypted("rsa-other", "rsa").fails_with(&["HTTP 400"]);
    decrypted("rsa", "rsa-3072").fails_with(&["is not that of key", "akv key pem"]);
    decrypted("ec", "rsa").fails_with(&["HTTP 403", "decrypt"]);
}
