//! Secure wrap and unwrap. Who the environment is, and what it can read, the emulator's own tests
//! look at.

use managed_hsm::{Error, KeyId, KeyOperation, NewKey, NewKeyKind, SecureWrapAlgorithm};
use serde_json::json;

use crate::support::{Hsm, says, uri};

const PREVIEW: &str = "2026-01-01-preview";

/// A policy that lets in what the emulator's test tokens attest.
fn policy(hsm: &Hsm) -> Vec<u8> {
    let policy = json!({"version": "1.0.0", "anyOf": [
        {"authority": hsm.emulator.url, "allOf": [{"claim": "sdk-test", "equals": "true"}]}
    ]});
    policy.to_string().into_bytes()
}

fn new_key(hsm: &Hsm, kind: NewKeyKind) -> NewKey {
    NewKey {
        kind,
        operations: vec![KeyOperation::SecureWrapKey, KeyOperation::SecureUnwrapKey],
        release_policy: Some(policy(hsm)),
        ..NewKey::default()
    }
}

/// A test token of the emulator's, which attests an environment.
fn token(hsm: &Hsm) -> String {
    let answer = hsm.rest.call("POST", "/generate-test-token", "{}");
    answer["token"].as_str().expect("a token").to_owned()
}

#[test]
fn a_key_is_made_wrapped_and_unwrapped_for_an_environment() {
    let hsm = Hsm::start();
    let client = hsm.client_with(|settings| settings.api_version = PREVIEW.parse().expect("one"));
    let token = token(&hsm);
    let (rsa, oct) = (NewKeyKind::default(), NewKeyKind::Oct { bits: 192 });
    let make = |name: &str, kind| -> KeyId {
        let uri = uri(name);
        let made = client.create_key(&uri.vault, &uri.key, &new_key(&hsm, kind));
        let made = made.expect("it is made");
        assert_eq!(made.operations.len(), 2);
        assert!(made.permits(KeyOperation::SecureUnwrapKey));
        made.id
    };
    let (rsa, oct) = (make("r", rsa), make("o", oct));
    for algorithm in SecureWrapAlgorithm::ALL {
        let key = match algorithm {
            SecureWrapAlgorithm::RsaOaep256 => &rsa,
            SecureWrapAlgorithm::A128Kw
            | SecureWrapAlgorithm::A128KwPad
            | SecureWrapAlgorithm::A256Kw
            | SecureWrapAlgorithm::A256KwPad => {
                let error = client.secure_wrap_key(&oct, algorithm);
                let error = error.expect_err("the key has another size");
                says(
                    &error,
                    &["make and wrap a key with", ":o", algorithm.jwa_name()],
                );
                continue;
            }
            _ => &oct,
        };
        let wrapped = client.secure_wrap_key(key, algorithm).expect("one is made");
        let unwrapped = client.secure_unwrap_key(key, algorithm, &wrapped, &token);
        // Encrypted to the environment's RSA key of 2048 bits, with a key of 32 bytes behind it.
        assert_eq!(unwrapped.expect("it is unwrapped").len(), 256 + 40);
        let error = client.secure_unwrap_key(key, algorithm, &wrapped, "no \"token");
        let error = error.expect_err("nothing is attested");
        says(
            &error,
            &["unwrap a key for an environment with", "403", "attestation"],
        );
    }
}

#[test]
fn an_older_version_does_neither_and_the_setting_is_named() {
    let hsm = Hsm::start();
    for version in ["7.4", "2025-07-01"] {
        let client =
            hsm.client_with(|settings| settings.api_version = version.parse().expect("one"));
        let key = client.get_key(&uri("k")).expect("it is there").id;
        let before = hsm.emulator.requests.list().len();
        let algorithm = SecureWrapAlgorithm::RsaOaep256;
        let wrapped = client.secure_wrap_key(&key, algorithm);
        let unwrapped = client.secure_unwrap_key(&key, algorithm, &[1], "t");
        for error in [wrapped.expect_err("none"), unwrapped.expect_err("none")] {
            assert!(matches!(error, Error::ApiVersion { .. }), "{error}");
            let named = format!("requests name {version}");
            says(
                &error,
                &["a key", "secure wrap", PREVIEW, &named, "AKV_API_VERSION"],
            );
        }
        assert_eq!(hsm.emulator.requests.list().len(), before);
    }
}
