//! Which error comes of what, and what it says.

use managed_hsm::{
    AccessToken, Client, Decryption, Encryption, EncryptionAlgorithm, Error, KeyUri, MAX_INPUT,
    MacAlgorithm,
};
use testing::emulator::{AUDIENCE, DataDir, TokenKey};

use crate::support::{Hsm, load, meeting, says, sign, signs, uri};

/// The error of a signature whose answer has another body.
fn answered(body: &str) -> (Hsm, Error) {
    let hsm = Hsm::start();
    let client = hsm.client();
    let key = load(&client);
    let fault = serde_json::json!({"kind": "other-body", "operation": "sign", "body": body});
    hsm.fault(&fault.to_string());
    let error = sign(&client, &key).expect_err("the answer makes no sense");
    assert!(matches!(error, Error::Response { .. }), "{error}");
    (hsm, error)
}

/// The error of a signature with a fault.
fn met(fault: &str) -> Error {
    let (_hsm, client, key) = meeting(&format!("{fault},operation=sign"), |_| {});
    sign(&client, &key).expect_err("there is a fault")
}

/// The error of a signature with a key that was changed after it was loaded.
fn changed(change: &str) -> Error {
    let hsm = Hsm::start();
    let client = hsm.client();
    let key = load(&client);
    hsm.rest.update("k", change);
    let error = sign(&client, &key).expect_err("the key may not sign");
    assert!(
        matches!(error, Error::Service { status: 403, .. }),
        "{error}"
    );
    assert_eq!(hsm.count("sign"), 1);
    error
}

#[test]
fn a_key_that_is_not_there_is_named() {
    let hsm = Hsm::start();
    let error = hsm
        .client()
        .get_key(&uri("none"))
        .expect_err("it is not there");
    says(
        &error,
        &[
            "managedhsm:MyHSM:none",
            "404 KeyNotFound",
            "check the key's name",
        ],
    );
}

#[test]
fn a_version_that_is_not_there_is_named() {
    let hsm = Hsm::start();
    let version = "0".repeat(32);
    let uri: KeyUri = format!("managedhsm:MyHSM:k?version={version}")
        .parse()
        .expect("a URI");
    let error = hsm.client().get_key(&uri).expect_err("it is not there");
    says(&error, &["404 KeyNotFound", &version]);
}

#[test]
fn a_deleted_key_is_not_there() {
    let hsm = Hsm::start();
    let client = hsm.client();
    let key = load(&client);
    client
        .delete_key(&key.vault, &key.key)
        .expect("it is deleted");
    says(
        &sign(&client, &key).expect_err("it is gone"),
        &["KeyNotFound"],
    );
}

#[test]
fn a_principal_without_a_role_is_told_which_one_to_ask_for() {
    let hsm = Hsm::start();
    let data = DataDir::resolve(Some(hsm.emulator.data_dir().to_owned())).expect("a folder");
    let nobody = "55555555-0000-0000-0000-000000000001";
    let token = TokenKey::read(&data)
        .expect("a key")
        .mint_for(nobody, AUDIENCE, 600);
    let mut settings = hsm.settings();
    settings.credentials.access_token = AccessToken::new(&token.expect("a token"));
    let error = Client::new(settings)
        .get_key(&uri("k"))
        .expect_err("no role");
    says(&error, &["403 AccessDenied", "Managed HSM Crypto User"]);
    assert_eq!(hsm.count("k"), 1);
}

#[test]
fn a_disabled_key_is_refused() {
    let error = changed(r#"{"attributes":{"enabled":false}}"#);
    says(&error, &["disabled key", "attributes (enabled, nbf, exp)"]);
}

#[test]
fn an_expired_key_is_refused() {
    let error = changed(r#"{"attributes":{"exp":1000000000}}"#);
    says(
        &error,
        &["HTTP 403 Forbidden", "attributes (enabled, nbf, exp)"],
    );
}

#[test]
fn a_key_that_is_not_yet_valid_is_refused() {
    let error = changed(r#"{"attributes":{"nbf":4000000000}}"#);
    says(
        &error,
        &["HTTP 403 Forbidden", "attributes (enabled, nbf, exp)"],
    );
}

#[test]
fn a_key_without_the_operation_is_refused() {
    says(&changed(r#"{"key_ops":["verify"]}"#), &["key_ops", "sign"]);
}

#[test]
fn malformed_json_is_an_answer_that_makes_no_sense() {
    let error = met("malformed-json");
    assert!(matches!(error, Error::Response { .. }), "{error}");
    says(
        &error,
        &["JSON", "check that this address is a Managed HSM"],
    );
}

#[test]
fn a_page_of_a_proxy_is_no_answer_of_the_hsm() {
    let error = met("bad-gateway");
    says(&error, &["HTTP 502", "without an error that can be read"]);
}

#[test]
fn an_answer_that_is_too_long_is_not_read_to_its_end() {
    let (hsm, client, key) = meeting("huge-body,operation=sign", |_| {});
    let error = sign(&client, &key).expect_err("it is too long");
    assert!(matches!(error, Error::Response { .. }), "{error}");
    says(&error, &["longer than 1048576 bytes"]);
    assert_eq!(hsm.count("sign"), 1);
}

#[test]
fn an_answer_that_always_ends_in_the_middle_is_an_error_in_the_end() {
    let (hsm, client, key) = meeting("half-body,operation=sign", |settings| {
        settings.max_retries = 2
    });
    let error = sign(&client, &key).expect_err("no answer is whole");
    // Whether half of the answer arrives before the end of the connection does is for the network
    // to say.
    let is_fitting = matches!(error, Error::Response { .. } | Error::Connect { .. });
    assert!(is_fitting, "{error}");
    assert_eq!(hsm.count("sign"), 3);
}

#[test]
fn a_signature_by_another_version_is_not_taken() {
    let kid = format!("https://localhost/keys/k/{}", "1".repeat(32));
    let body = serde_json::json!({"kid": kid, "value": "AAAA"}).to_string();
    let (_, error) = answered(&body);
    says(&error, &["by version '1111"]);
}

#[test]
fn a_signature_by_another_key_is_not_taken() {
    let hsm = Hsm::start();
    let client = hsm.client();
    let key = load(&client);
    let kid = format!("https://localhost/keys/other/{}", key.version);
    let body = serde_json::json!({"kid": kid, "value": "AAAA"}).to_string();
    let fault = serde_json::json!({"kind": "other-body", "operation": "sign", "body": body});
    hsm.fault(&fault.to_string());
    let error = sign(&client, &key).expect_err("it is another key's");
    says(&error, &["by the key 'other'"]);
}

#[test]
fn an_empty_value_is_no_signature() {
    let (_, error) = answered(r#"{"value":""}"#);
    says(&error, &["its value is empty"]);
}

#[test]
fn an_answer_of_another_kind_is_an_error() {
    for body in ["[]", "{}", "null", r#"{"value":7}"#, r#"{"value":"*"}"#] {
        answered(body);
    }
}

#[test]
fn a_point_that_is_not_on_the_curve_is_no_key() {
    let hsm = Hsm::start();
    let body = serde_json::json!({"key": {
        "kid": format!("https://localhost/keys/k/{}", "1".repeat(32)),
        "kty": "EC-HSM", "crv": "P-256", "x": "A".repeat(43), "y": "A".repeat(43),
    }});
    let fault = serde_json::json!({
        "kind": "other-body", "operation": "k", "body": body.to_string(),
    });
    hsm.fault(&fault.to_string());
    let error = hsm.client().get_key(&uri("k")).expect_err("it is no key");
    assert!(matches!(error, Error::Response { .. }), "{error}");
}

#[test]
fn an_input_that_is_too_long_is_not_sent() {
    let hsm = Hsm::start();
    let client = hsm.client();
    let key = load(&client);
    let mac = |len| client.mac(&key, MacAlgorithm::Hs256, &vec![0; len]);
    let error = mac(MAX_INPUT + 1).expect_err("it is too long");
    says(
        &error,
        &[
            "1048577 bytes",
            "1048576 at most",
            "sign with managedhsm:MyHSM:k",
        ],
    );
    assert_eq!(hsm.count("sign"), 0);
    // What an EC key can't do. Where the machine is busy it may be sent again.
    let error = mac(MAX_INPUT).expect_err("it is sent");
    assert!(matches!(error, Error::Service { .. }), "{error}");
    assert_ne!(hsm.count("sign"), 0);
}

#[test]
fn too_few_random_bytes_are_not_taken() {
    let hsm = Hsm::start();
    hsm.fault("wrong-length,operation=rng");
    let client = hsm.client();
    let bytes = client.random_bytes(&crate::support::vault(), 16);
    says(
        &bytes.expect_err("a byte is missing"),
        &["15 random bytes instead of 16"],
    );
}

/// Whoever asks has room for as much as the algorithm gives.
#[test]
fn what_an_algorithm_cannot_have_given_is_not_taken() {
    use EncryptionAlgorithm::{A256Cbc, A256CbcPad, A256Gcm, A256Kw, CkmAesKeyWrapPad};
    let hsm = Hsm::start();
    hsm.rest.create("a", r#"{"kty":"oct-HSM","key_size":256}"#);
    let client = hsm.client();
    let key = client.get_key(&uri("a")).expect("it is there").id;
    // Zeros, in base64url.
    let bytes = |len: usize| "A".repeat((len * 4).div_ceil(3));
    let kid = format!("https://localhost/keys/{}/{}", key.key, key.version);
    let answer = |operation: &str, further: &[(&str, usize)], len: usize| {
        let mut body = serde_json::json!({"kid": kid, "value": bytes(len)});
        for (name, len) in further {
            body[*name] = bytes(*len).into();
        }
        let fault = serde_json::json!({
            "kind": "other-body", "operation": operation, "body": body.to_string(), "count": 1,
        });
        hsm.fault(&fault.to_string());
    };
    let refused = |error: Error, expected: &str| {
        assert!(matches!(error, Error::Response { .. }), "{error}");
        says(&error, &[expected]);
    };
    let full = [("iv", 12), ("tag", 16)];
    for (algorithm, len, further, got, expected) in [
        (A256Cbc, 64, &full[..], 80, "80 bytes instead of 64"),
        (A256CbcPad, 64, &full, 64, "64 bytes instead of 80"),
        (A256Gcm, 64, &full, 20, "20 bytes instead of 64"),
        (A256Gcm, 64, &[], 64, "0 bytes and its tag 0"),
        (
            A256Gcm,
            64,
            &[("iv", 16), ("tag", 16)],
            64,
            "16 bytes and its tag 16",
        ),
    ] {
        answer("encrypt", further, got);
        let iv = (algorithm != A256Gcm).then_some(&[7; 16][..]);
        let encryption = Encryption {
            algorithm,
            iv,
            aad: None,
        };
        let encrypted = client.encrypt(&key, &encryption, &vec![7; len]);
        refused(encrypted.expect_err("it is no ciphertext"), expected);
    }
    // The answers to these have another body, and a status that says that all is well.
    for (algorithm, got, expected) in [
        (A256Cbc, 30, "30 bytes instead of 64"),
        (A256CbcPad, 63, "63 bytes instead of 64 to 79"),
        (A256CbcPad, 80, "80 bytes instead of 64 to 79"),
        (A256Gcm, 20, "20 bytes instead of 64"),
    ] {
        let (iv, aad) = ((algorithm != A256Gcm).then_some(&[7; 16][..]), None);
        let encryption = Encryption { algorithm, iv, aad };
        let encrypted = client.encrypt(&key, &encryption, &[7; 64]);
        let encrypted = encrypted.expect("it is encrypted");
        let (iv, tag) = (iv.or(encrypted.iv.as_deref()), encrypted.tag.as_deref());
        let decryption = Decryption {
            algorithm,
            iv,
            aad,
            tag,
        };
        answer("decrypt", &[], got);
        let decrypted = client.decrypt(&key, &decryption, &encrypted.ciphertext);
        refused(decrypted.expect_err("it is no plaintext"), expected);
    }
    for (algorithm, got, expected) in [
        (A256Kw, 48, "48 bytes instead of 32"),
        (CkmAesKeyWrapPad, 24, "24 bytes instead of 25 to 32"),
    ] {
        let wrapped = client.wrap_key(&key, algorithm, &[7; 32]);
        answer("unwrapkey", &[], got);
        let unwrapped = client.unwrap_key(&key, algorithm, &wrapped.expect("it is wrapped"));
        refused(unwrapped.expect_err("it is no key"), expected);
        answer("wrapkey", &[], got);
        let wrapped = client.wrap_key(&key, algorithm, &[7; 32]);
        let error = wrapped.expect_err("it is no wrapped key");
        refused(error, "bytes instead of 40");
    }
}

#[test]
fn a_loaded_key_stays_with_its_version_when_there_is_a_newer_one() {
    let hsm = Hsm::start();
    let client = hsm.client();
    let old = load(&client);
    let newer = hsm.rest.create("k", r#"{"kty":"EC-HSM","crv":"P-256"}"#);
    assert_ne!(old.version.as_str(), newer);
    signs(&client, &old);
    assert_eq!(load(&client).version.as_str(), newer);
    let named: KeyUri = old.clone().into();
    assert_eq!(client.get_key(&named).expect("a key").id, old);
    let path = &hsm.requests("sign")[0].path;
    assert!(path.contains(old.version.as_str()), "{path}");
}
