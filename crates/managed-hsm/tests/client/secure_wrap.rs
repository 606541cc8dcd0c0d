//! Secure wrap and unwrap. Who the environment is, and what it can read, the emulator's own tests
//! look at.

use managed_hsm::{
    BroughtKey, KeyId, KeyMaterial, KeyOperation, Life, NewKey, NewKeyKind, SecureWrapAlgorithm,
    Update,
};
use serde_json::json;

use crate::support::{Hsm, says, uri};

/// A policy that lets in what the emulator's test tokens attest.
fn policy(hsm: &Hsm) -> Vec<u8> {
    let policy = json!({"version": "1.0.0", "anyOf": [
        {"authority": hsm.emulator.url, "allOf": [{"claim": "sdk-test", "equals": "true"}]}
    ]});
    policy.to_string().into_bytes()
}

pub(crate) fn new_key(hsm: &Hsm, kind: NewKeyKind) -> NewKey {
    NewKey {
        kind,
        operations: vec![KeyOperation::SecureWrapKey, KeyOperation::SecureUnwrapKey],
        release_policy: Some(policy(hsm)),
        ..NewKey::default()
    }
}

/// A test token of the emulator's, which attests an environment.
pub(crate) fn token(hsm: &Hsm) -> String {
    let answer = hsm.rest.call("POST", "/generate-test-token", "{}");
    answer["token"].as_str().expect("a token").to_owned()
}

#[test]
fn a_key_is_made_wrapped_and_unwrapped_for_an_environment() {
    let hsm = Hsm::start();
    // Older than what such requests need, and name by themselves.
    let client = hsm.client();
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

/// Wherever a request gives a key these operations.
#[test]
fn a_key_gets_these_operations_by_the_version_that_knows_them() {
    let hsm = Hsm::start();
    for version in ["7.4", "2025-07-01", "2026-01-01-preview"] {
        let client =
            hsm.client_with(|settings| settings.api_version = version.parse().expect("one"));
        let uri = uri("w");
        let key = new_key(&hsm, NewKeyKind::default());
        let made = client.create_key(&uri.vault, &uri.key, &key);
        assert!(
            made.expect("it is made")
                .permits(KeyOperation::SecureWrapKey)
        );
        let update = Update {
            operations: Some(vec![KeyOperation::SecureUnwrapKey]),
            ..Update::default()
        };
        let changed = client.update_key(&uri, &update).expect("it is changed");
        assert_eq!(changed.operations, [KeyOperation::SecureUnwrapKey]);
        let brought = BroughtKey {
            material: KeyMaterial::Oct(vec![7; 32].into()),
            operations: vec![KeyOperation::SecureWrapKey],
            life: Life::default(),
            tags: Vec::new(),
        };
        let error = client.import_key(&uri.vault, &uri.key, &brought);
        // Not that there is no such operation.
        let error = error.expect_err("a key that is brought has no policy");
        says(&error, &["import key", "must have release policy"]);
    }
}
