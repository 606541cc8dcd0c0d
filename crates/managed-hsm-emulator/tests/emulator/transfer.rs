//! Keys that come wrapped for a key of the HSM ("bring your own key"), with OpenSSL as the other
//! HSM.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use openssl::aes::{AesKey, wrap_key};
use openssl::ec::{EcGroup, EcKey};
use openssl::nid::Nid;
use openssl::pkey::PKey;
use openssl::rsa::Rsa;
use serde_json::{Value, json};
use testing::wrapped_for_transfer;

use crate::running::Emulator;

fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn decode(text: &str) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(text).unwrap()
}

/// A key of the HSM that others are wrapped for, with its public part and its name in blobs.
async fn exchange_key(emulator: &Emulator, name: &str) -> (Rsa<openssl::pkey::Public>, String) {
    let body = json!({"kty": "RSA-HSM", "key_size": 2048, "key_ops": ["import"]});
    let made = emulator
        .post(&format!("/keys/{name}/create"), body)
        .await
        .success();
    let number = |member: &str| {
        let bytes = decode(made["key"][member].as_str().unwrap());
        openssl::bn::BigNum::from_slice(&bytes).unwrap()
    };
    let public = Rsa::from_public_components(number("n"), number("e")).unwrap();
    let kid = made["key"]["kid"].as_str().unwrap().to_owned();
    (public, kid)
}

fn blob(kid: &str, ciphertext: &[u8]) -> Value {
    json!({
        "schema_version": "1.0.0",
        "header": {"kid": kid, "alg": "dir", "enc": "CKM_RSA_AES_KEY_WRAP"},
        "ciphertext": encode(ciphertext),
        "generator": "a test",
    })
}

fn body(kty: &str, blob: &Value) -> Option<Value> {
    let text = encode(blob.to_string().as_bytes());
    Some(json!({"key": {"kty": kty, "key_hsm": text}}))
}

#[tokio::test]
async fn keys_of_all_types_are_transferred_and_used() {
    let folder = tempfile::tempdir().unwrap();
    let emulator = Emulator::start(folder.path());
    let (public, kid) = exchange_key(&emulator, "kek").await;
    let rsa = PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap();
    let group = EcGroup::from_curve_name(Nid::SECP384R1).unwrap();
    let ec = PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap();
    for (kty, key) in [
        ("RSA-HSM", rsa.private_key_to_pkcs8().unwrap()),
        ("EC-HSM", ec.private_key_to_pkcs8().unwrap()),
        ("oct-HSM", vec![5; 32]),
    ] {
        let blob = blob(&kid, &wrapped_for_transfer(&public, &key));
        let made = emulator
            .call("PUT", "/keys/brought", body(kty, &blob))
            .await
            .success();
        assert_eq!(made["key"]["kty"], kty, "{made}");
        match kty {
            "RSA-HSM" => {
                let n = decode(made["key"]["n"].as_str().unwrap());
                assert_eq!(n, rsa.rsa().unwrap().n().to_vec());
            }
            "EC-HSM" => assert_eq!(made["key"]["crv"], "P-384"),
            _ => {
                let wrap = json!({"alg": "A256KW", "value": encode(&[1; 16])});
                let made = emulator.post("/keys/brought/wrapkey", wrap).await.success();
                let mut expected = [0; 24];
                let own = AesKey::new_encrypt(&[5; 32]).unwrap();
                wrap_key(&own, None, &mut expected, &[1; 16]).unwrap();
                assert_eq!(decode(made["value"].as_str().unwrap()), expected);
            }
        }
    }
}

/// `az keyvault key import --byok-file`: the file as it is, whatever its line ends, with the curve
/// that was asked for.
#[tokio::test]
async fn a_blob_is_taken_as_azure_cli_sends_it() {
    let folder = tempfile::tempdir().unwrap();
    let emulator = Emulator::start(folder.path());
    let (public, kid) = exchange_key(&emulator, "kek").await;
    let group = EcGroup::from_curve_name(Nid::SECP384R1).unwrap();
    let key = PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap();
    let pkcs8 = key.private_key_to_pkcs8().unwrap();
    let blob = blob(&kid, &wrapped_for_transfer(&public, &pkcs8));
    let file = format!("{blob:#}\r\n").replace("\n  ", "\r\n  ");
    let sent = |curve: Value| {
        json!({
            "Hsm": true,
            "key": {"kty": "EC-HSM", "key_ops": null, "crv": curve, "key_hsm": encode(file.as_bytes())},
            "attributes": {"enabled": true},
            "tags": null,
        })
    };
    for curve in [json!("P-384"), Value::Null] {
        let made = emulator
            .call("PUT", "/keys/brought", Some(sent(curve)))
            .await;
        let made = made.success();
        assert_eq!(made["key"]["crv"], "P-384");
        assert_eq!(
            made["key"]["key_ops"],
            json!(["verify", "deriveKey", "sign"])
        );
    }
    let another = sent(json!("P-256"));
    let refused = emulator.call("PUT", "/keys/brought", Some(another)).await;
    let (status, _, message) = refused.error();
    assert_eq!(status, 400);
    assert!(message.contains("another curve than crv"), "{message}");
}

#[tokio::test]
async fn a_blob_that_is_damaged_or_for_another_key_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let emulator = Emulator::start(folder.path());
    let (public, kid) = exchange_key(&emulator, "kek").await;
    let (other, _) = exchange_key(&emulator, "other").await;
    let usual = json!({"kty": "RSA-HSM"});
    let usual = emulator.post("/keys/usual/create", usual).await.success();
    let usual = usual["key"]["kid"].as_str().unwrap().to_owned();
    let good = wrapped_for_transfer(&public, &[5; 32]);
    let mut damaged = good.clone();
    *damaged.last_mut().unwrap() ^= 1;
    let with = |path: &str, value: &str| {
        let mut changed = blob(&kid, &good);
        *changed.pointer_mut(path).unwrap() = json!(value);
        changed
    };
    for (blob, words) in [
        (json!("text"), "is not JSON"),
        (with("/schema_version", "2.0.0"), "schema_version"),
        (with("/header/enc", "A256GCM"), "CKM_RSA_AES_KEY_WRAP"),
        (
            with("/header/kid", "https://x/keys/absent/1"),
            "no key of this HSM",
        ),
        (with("/header/kid", &usual), "no key for import"),
        (with("/ciphertext", "AAAA"), "not wrapped for the key"),
        (blob(&kid, &damaged), "not wrapped for the key"),
        (
            blob(&kid, &wrapped_for_transfer(&other, &[5; 32])),
            "not wrapped for the key",
        ),
        (
            blob(&kid, &wrapped_for_transfer(&public, &[5; 65])),
            "maximum size is 64",
        ),
    ] {
        let refused = emulator
            .call("PUT", "/keys/x", body("oct-HSM", &blob))
            .await;
        let (status, code, message) = refused.error();
        assert_eq!((status, code.as_str()), (400, "BadParameter"), "{message}");
        assert!(message.contains(words), "{words}: {message}");
    }
    let wrong_type = body("RSA-HSM", &blob(&kid, &good));
    let (status, _, message) = emulator.call("PUT", "/keys/x", wrong_type).await.error();
    assert!(
        status == 400 && message.contains("no key of the kty"),
        "{message}"
    );
    // The key that others are wrapped for does nothing else.
    let both = json!({"kty": "RSA-HSM", "key_ops": ["import", "sign"]});
    let (status, _, message) = emulator.post("/keys/x/create", both).await.error();
    assert!(
        status == 400 && message.contains("mutually exclusive"),
        "{message}"
    );
}
