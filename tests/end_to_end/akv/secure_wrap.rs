//! `akv wrap --secure` and `akv unwrap --secure`, with OpenSSL's library as the environment.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use openssl::cipher::Cipher;
use openssl::cipher_ctx::{CipherCtx, CipherCtxFlags};
use openssl::rsa::{Padding, Rsa};
use serde_json::json;

use super::json as answer;
use crate::support::{Hsm, uri};

const ISSUER: &str = "https://attestation.example";

/// The release policy of the keys that wrap, and a token that meets it for the environment with
/// `key`.
pub(super) fn policy_and_token(hsm: &Hsm, key: &Rsa<openssl::pkey::Private>) -> (String, String) {
    let policy = json!({"version": "1.0.0", "anyOf": [
        {"authority": ISSUER, "allOf": [{"claim": "sdk-test", "equals": "true"}]}
    ]});
    let jwk = json!({
        "kty": "RSA",
        "n": URL_SAFE_NO_PAD.encode(key.n().to_vec()),
        "e": URL_SAFE_NO_PAD.encode(key.e().to_vec()),
    });
    let token = hsm.attest(&json!({"issuer": ISSUER, "key": jwk}));
    (
        hsm.write("policy.json", policy.to_string()),
        // As a shell's redirection leaves it.
        hsm.write("token", format!("{token}\n")),
    )
}

/// What the environment makes of what it gets, which is as `CKM_RSA_AES_KEY_WRAP` has it.
fn received(given: &[u8], environment: &Rsa<openssl::pkey::Private>) -> Vec<u8> {
    let (encrypted, wrapped) = given.split_at(256);
    let mut aes = [0; 256];
    let len = environment.private_decrypt(encrypted, &mut aes, Padding::PKCS1_OAEP);
    assert_eq!(len.expect("it is the environment's"), 32);
    let cipher = Cipher::fetch(None, "AES-256-WRAP-PAD", None).expect("a cipher");
    let mut context = CipherCtx::new().expect("a context");
    context.set_flags(CipherCtxFlags::FLAG_WRAP_ALLOW);
    let begun = context.decrypt_init(Some(&cipher), Some(&aes[..32]), None);
    begun.expect("it begins");
    let mut key = Vec::new();
    let done = context.cipher_update_vec(wrapped, &mut key);
    done.expect("it is unwrapped");
    key
}

#[test]
fn a_key_is_made_and_wrapped_in_the_hsm_for_an_attested_environment() {
    let hsm = Hsm::start();
    let environment = Rsa::generate(2048).expect("a key");
    let (policy, token) = policy_and_token(&hsm, &environment);
    let operations = "secureWrapKey,secureUnwrapKey";
    let create = |key: &str, options: &str| {
        format!(
            "keys create managedhsm:MyHSM:{key} {options} --operations {operations} \
             --release-policy {policy}"
        )
    };
    for (key, options, default) in [
        ("rsa", "--type rsa", "RSA-OAEP-256"),
        ("oct", "--type oct --size 256", "CKM_AES_KEY_WRAP_PAD"),
    ] {
        let made = answer(&hsm, &create(key, options));
        assert_eq!(made["exportable"], false);
        for algorithm in [None, Some(if key == "rsa" { default } else { "a256kwpad" })] {
            let option = algorithm.map(|name| format!("--algorithm {name}"));
            let option = option.unwrap_or_default();
            let wrapped = hsm.path(&format!("{key}{}.wrapped", option.len()));
            let told = answer(
                &hsm,
                &format!("wrap --secure managedhsm:MyHSM:{key} {option} --out {wrapped}"),
            );
            let named = algorithm.unwrap_or(default).to_uppercase();
            assert_eq!(told["algorithm"], named.as_str());
            let given = hsm.path(&format!("{key}{}.given", option.len()));
            let line = format!(
                "unwrap --secure managedhsm:MyHSM:{key} {wrapped} --attestation {token} {option} \
                 --out {given}"
            );
            hsm.akv_line(&line).succeeds();
            let mode = fs::metadata(&given).expect("it was written").permissions();
            assert_eq!(mode.mode() & 0o777, 0o600);
            let key = received(&fs::read(&given).expect("a file"), &environment);
            assert_eq!(key.len(), 32);
        }
    }
}

#[test]
fn what_is_missing_or_wrong_is_named_before_the_hsm_is_asked() {
    let hsm = Hsm::with_keys(&[("k", r#"{"kty":"RSA-HSM"}"#)]);
    let environment = Rsa::generate(2048).expect("a key");
    let (_, token) = policy_and_token(&hsm, &environment);
    let (file, key) = (hsm.write("wrapped", [7; 256]), uri("k"));
    for (arguments, words) in [
        (&["wrap", &key][..], &["<FILE>"][..]),
        (
            &["wrap", "--secure", &key, &file],
            &["--secure", "cannot be used"],
        ),
        (
            &["unwrap", "--secure", &key, &file, "--out", "x"],
            &["--attestation"],
        ),
        (
            &["unwrap", &key, &file, "--attestation", &token, "--out", "x"],
            &["--secure"],
        ),
        (
            &[
                "unwrap",
                "--secure",
                &key,
                &file,
                "--attestation",
                &file,
                "--out",
                "x",
            ],
            &["wrapped holds no attestation", "three parts"],
        ),
        (
            &[
                "unwrap",
                "--secure",
                &key,
                "-",
                "--attestation",
                "-",
                "--out",
                "x",
            ],
            &["can't both be standard input"],
        ),
        (
            &["wrap", &key, &file, "--algorithm", "A256KWPAD"],
            &["--algorithm 'A256KWPAD'", "there are", "A256KW"],
        ),
    ] {
        let before = hsm.requests().len();
        hsm.akv(arguments).fails_with(words);
        assert_eq!(hsm.requests().len(), before, "{arguments:?}");
    }
    hsm.akv(&["wrap", "--secure", &key, "--algorithm", "RSA1_5"])
        .fails_with(&["--algorithm 'RSA1_5'", "RSA-OAEP-256, A128KW"]);
    hsm.akv(&["wrap", "--secure", &key])
        .fails_with(&["make and wrap a key with", "secureWrapKey is not permitted"]);
}
