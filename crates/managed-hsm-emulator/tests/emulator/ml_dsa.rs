//! Keys of ML-DSA, as the previews of 2026 have them. What is signed is judged by other libraries
//! than the emulator's own.

use aws_lc_rs::signature::{ML_DSA_44, ML_DSA_65, ML_DSA_87, UnparsedPublicKey};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use ml_dsa::{MlDsa44, MlDsa65, MlDsa87, MlDsaParams, Signature, VerifyingKey};
use serde_json::{Value, json};
use shake::{ExtendableOutput, Shake256, Update, XofReader};

use crate::running::{Answer, Emulator};

const PREVIEW: &str = "2026-05-01-preview";
const MESSAGE: &[u8] = b"what is signed";

/// Parameter sets, with the lengths of public keys and signatures.
const SETS: [(&str, usize, usize); 3] = [
    ("ML-DSA-44", 1312, 2420),
    ("ML-DSA-65", 1952, 3309),
    ("ML-DSA-87", 2592, 4627),
];

fn encode(bytes: &[u8]) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

fn decode(value: &Value) -> Vec<u8> {
    BASE64_URL_SAFE_NO_PAD
        .decode(value.as_str().unwrap())
        .unwrap()
}

fn shake256(parts: &[&[u8]]) -> [u8; 64] {
    let mut hash = Shake256::default();
    parts.iter().for_each(|part| hash.update(part));
    let mut out = [0; 64];
    hash.finalize_xof().read(&mut out);
    out
}

/// FIPS 204, sections 5.2 and 6.2.
fn mu(public: &[u8], context: &[u8], message: &[u8]) -> [u8; 64] {
    let length = [0, u8::try_from(context.len()).unwrap()];
    shake256(&[&shake256(&[public]), &length, context, message])
}

/// Whether a library takes a signature for that of a message.
fn verifies(set: &str, public: &[u8], context: &[u8], signature: &[u8]) -> bool {
    fn by<P: MlDsaParams>(public: &[u8], context: &[u8], signature: &[u8]) -> bool {
        let key = VerifyingKey::<P>::decode(&public.try_into().unwrap());
        let signature = Signature::<P>::try_from(signature);
        signature.is_ok_and(|signature| key.verify_with_context(MESSAGE, context, &signature))
    }
    match set {
        "ML-DSA-44" => by::<MlDsa44>(public, context, signature),
        "ML-DSA-65" => by::<MlDsa65>(public, context, signature),
        _ => by::<MlDsa87>(public, context, signature),
    }
}

/// The same by a third library, which has no contexts.
fn verifies_by_aws_lc(set: &str, public: &[u8], signature: &[u8]) -> bool {
    let algorithm = match set {
        "ML-DSA-44" => &ML_DSA_44,
        "ML-DSA-65" => &ML_DSA_65,
        _ => &ML_DSA_87,
    };
    let key = UnparsedPublicKey::new(algorithm, public);
    key.verify(MESSAGE, signature).is_ok()
}

/// A request that names a version of the API.
async fn call(emulator: &Emulator, version: &str, path: &str, body: Value) -> Answer {
    let path = format!("{path}?api-version={version}");
    emulator.call("POST", &path, Some(body)).await
}

async fn create(emulator: &Emulator, name: &str, set: &str) -> Value {
    let body = json!({"kty": "AKP-HSM", "alg": set});
    let path = format!("/keys/{name}/create");
    call(emulator, PREVIEW, &path, body).await.success()
}

async fn sign(emulator: &Emulator, key: &str, body: Value) -> Vec<u8> {
    let path = format!("/keys/{key}/sign");
    let signed = call(emulator, PREVIEW, &path, body).await.success();
    let members: Vec<&String> = signed.as_object().unwrap().keys().collect();
    assert_eq!(members, ["kid", "value"]);
    decode(&signed["value"])
}

async fn verify(emulator: &Emulator, key: &str, body: Value) -> bool {
    let path = format!("/keys/{key}/verify");
    let verified = call(emulator, PREVIEW, &path, body).await.success();
    assert_eq!(verified.as_object().unwrap().len(), 1);
    verified["value"].as_bool().unwrap()
}

#[tokio::test]
async fn both_forms_of_a_signature_are_good_for_other_libraries() {
    let folder = tempfile::tempdir().unwrap();
    let emulator = Emulator::start(folder.path());
    for (set, public_len, signature_len) in SETS {
        let key = create(&emulator, set, set).await["key"].clone();
        assert_eq!(
            (&key["kty"], &key["alg"], &key["key_ops"]),
            (&json!("AKP-HSM"), &json!(set), &json!(["sign", "verify"]))
        );
        let public = decode(&key["pub"]);
        assert_eq!(public.len(), public_len);
        for context in [&b""[..], b"x", &[7; 255]] {
            let mu = encode(&mu(&public, context, MESSAGE));
            let message = json!({"value": encode(MESSAGE), "context": encode(context)});
            let external = json!({"external_mu": mu});
            for body in [message, external] {
                let signature = sign(&emulator, set, body).await;
                assert_eq!(signature.len(), signature_len);
                assert!(verifies(set, &public, context, &signature), "{set}");
                let by_aws_lc = verifies_by_aws_lc(set, &public, &signature);
                assert_eq!(by_aws_lc, context.is_empty(), "{set}");
                let value = encode(&signature);
                let own = json!({"external_mu": mu, "value": value});
                assert!(verify(&emulator, set, own).await);
                let own = json!({
                    "digest": encode(MESSAGE), "context": encode(context), "value": value,
                });
                assert!(verify(&emulator, set, own).await);
                let other = json!({"digest": encode(b"another"), "value": value});
                assert!(!verify(&emulator, set, other).await);
                let cut = json!({"external_mu": mu, "value": encode(&signature[1..])});
                assert!(!verify(&emulator, set, cut).await);
            }
        }
        // Without a context it is empty.
        let signature = sign(&emulator, set, json!({"value": encode(MESSAGE)})).await;
        assert!(verifies_by_aws_lc(set, &public, &signature));
    }
}

#[tokio::test]
async fn members_that_exclude_each_other_and_wrong_lengths_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let emulator = Emulator::start(folder.path());
    create(&emulator, "k", "ML-DSA-44").await;
    call(&emulator, PREVIEW, "/keys/ec/create", json!({"kty": "EC"}))
        .await
        .success();
    let (mu, value) = (encode(&[1; 64]), encode(b"message"));
    for (operation, body, words) in [
        (
            "sign",
            json!({"external_mu": mu, "value": value}),
            "'value' must not be set",
        ),
        (
            "sign",
            json!({"external_mu": mu, "context": ""}),
            "'context' must not be set",
        ),
        (
            "sign",
            json!({"external_mu": mu, "alg": "ML-DSA-44"}),
            "'alg' must not be set",
        ),
        ("sign", json!({"external_mu": encode(&[1; 63])}), "63 bytes"),
        ("sign", json!({"external_mu": encode(&[1; 65])}), "65 bytes"),
        ("sign", json!({"external_mu": ""}), "0 bytes"),
        (
            "sign",
            json!({"external_mu": "!"}),
            "'external_mu' is not valid base64url",
        ),
        (
            "sign",
            json!({"value": value, "context": encode(&[1; 256])}),
            "256 bytes",
        ),
        (
            "sign",
            json!({"value": value, "alg": "ML-DSA-65"}),
            "incompatible",
        ),
        (
            "sign",
            json!({"value": value, "alg": "ES256"}),
            "incompatible",
        ),
        ("sign", json!({}), "'value' is required"),
        ("sign", json!({"context": ""}), "'value' is required"),
        (
            "verify",
            json!({"external_mu": mu, "digest": value, "value": value}),
            "'digest' must not be set",
        ),
        (
            "verify",
            json!({"external_mu": mu, "context": "", "value": value}),
            "'context' must not be set",
        ),
        ("verify", json!({"external_mu": mu}), "'value' is required"),
        ("verify", json!({"value": value}), "'digest' is required"),
        (
            "verify",
            json!({"digest": value, "context": encode(&[1; 256]), "value": value}),
            "256 bytes",
        ),
        (
            "encrypt",
            json!({"alg": "RSA-OAEP", "value": value}),
            "not permitted",
        ),
        (
            "verify",
            json!({"external_mu": encode(&[1; 63]), "value": value}),
            "63 bytes",
        ),
        (
            "verify",
            json!({"external_mu": encode(&[1; 65]), "value": value}),
            "65 bytes",
        ),
        (
            "verify",
            json!({"external_mu": "", "value": value}),
            "0 bytes",
        ),
        (
            "verify",
            json!({"external_mu": "!", "value": value}),
            "'external_mu' is not valid base64url",
        ),
        (
            "verify",
            json!({"external_mu": mu, "value": "!"}),
            "'value' is not valid base64url",
        ),
    ] {
        let path = format!("/keys/k/{operation}");
        let (status, _, message) = call(&emulator, PREVIEW, &path, body.clone()).await.error();
        assert!(message.contains(words), "{operation} {body}: {message}");
        let expected = if operation == "encrypt" { 403 } else { 400 };
        assert_eq!(status, expected, "{operation} {body}: {message}");
    }
    for body in [
        json!({"external_mu": mu}),
        json!({"alg": "ES256", "value": mu, "context": ""}),
    ] {
        let refused = call(&emulator, PREVIEW, "/keys/ec/sign", body).await;
        let (status, _, message) = refused.error();
        assert_eq!(status, 400);
        assert!(
            message.contains("only supported for ML-DSA (AKP)"),
            "{message}"
        );
    }
}

#[tokio::test]
async fn a_key_is_created_of_a_known_set_for_what_it_can_do() {
    let folder = tempfile::tempdir().unwrap();
    let emulator = Emulator::start(folder.path());
    for (body, words) in [
        (json!({"kty": "AKP-HSM"}), "'alg' is required"),
        (json!({"kty": "AKP", "alg": "ML-DSA-45"}), "ML-DSA-45"),
        (json!({"kty": "AKP", "alg": "ES256"}), "ES256"),
        (
            json!({"kty": "AKP", "alg": "ML-DSA-44", "key_ops": ["encrypt"]}),
            "encrypt",
        ),
    ] {
        let refused = call(&emulator, PREVIEW, "/keys/k/create", body).await;
        let (status, code, message) = refused.error();
        assert_eq!((status, code.as_str()), (400, "BadParameter"));
        assert!(message.contains(words), "{message}");
    }
    // An HSM has no other keys than its own.
    let made = call(
        &emulator,
        PREVIEW,
        "/keys/k/create",
        json!({"kty": "AKP", "alg": "ML-DSA-44", "key_ops": ["verify"]}),
    );
    let key = made.await.success()["key"].clone();
    assert_eq!(key["kty"], "AKP-HSM");
    let body = json!({"external_mu": encode(&[1; 64])});
    let (status, _, message) = call(&emulator, PREVIEW, "/keys/k/sign", body).await.error();
    assert_eq!(status, 403, "{message}");
    let jwk = json!({"key": {"kty": "AKP", "alg": "ML-DSA-44", "pub": key["pub"]}});
    let path = format!("/keys/i?api-version={PREVIEW}");
    let (status, _, message) = emulator.call("PUT", &path, Some(jwk)).await.error();
    assert_eq!(status, 400);
    assert!(message.contains("cannot be imported"), "{message}");
}

#[tokio::test]
async fn a_version_that_knows_no_such_keys_neither_makes_nor_uses_them() {
    let folder = tempfile::tempdir().unwrap();
    let emulator = Emulator::start(folder.path());
    create(&emulator, "k", "ML-DSA-65").await;
    for version in ["7.4", "2025-07-01", "2026-01-01-preview"] {
        for kty in ["AKP", "AKP-HSM"] {
            let body = json!({"kty": kty, "alg": "ML-DSA-65"});
            let refused = call(&emulator, version, "/keys/n/create", body).await;
            let (status, _, message) = refused.error();
            assert_eq!(status, 400);
            assert!(message.contains(kty), "{message}");
        }
        let path = format!("/keys/k?api-version={version}");
        let key = emulator.get(&path).await.success()["key"].clone();
        assert_eq!(key["kty"], "AKP-HSM");
        assert!(key["alg"].is_null() && key["pub"].is_null(), "{key}");
        for body in [
            json!({"external_mu": encode(&[1; 64])}),
            json!({"value": encode(&[1; 64])}),
            json!({"alg": "ES256", "value": encode(&[1; 32])}),
        ] {
            let refused = call(&emulator, version, "/keys/k/sign", body).await;
            assert_eq!(refused.error().0, 400);
        }
    }
    for version in [PREVIEW, "2026-07-01-preview"] {
        let path = format!("/keys/k?api-version={version}");
        let key = emulator.get(&path).await.success()["key"].clone();
        assert_eq!(key["alg"], "ML-DSA-65");
    }
}

#[tokio::test]
async fn a_key_lives_as_others_do() {
    let folder = tempfile::tempdir().unwrap();
    let emulator = Emulator::start(folder.path());
    let first = create(&emulator, "k", "ML-DSA-87").await["key"].clone();
    emulator.set_rotation_policy("k").await;
    let rotated = call(&emulator, PREVIEW, "/keys/k/rotate", json!({}));
    let second = rotated.await.success()["key"].clone();
    assert_eq!(second["alg"], "ML-DSA-87");
    assert_ne!(second["pub"], first["pub"]);
    let listed = emulator.get("/keys/k/versions").await.success();
    assert_eq!(listed["value"].as_array().unwrap().len(), 2);
    // The list of all keys has it, by whichever version of the API.
    for version in ["7.4", PREVIEW] {
        let path = format!("/keys?api-version={version}");
        let listed = emulator.get(&path).await.success();
        let [key] = listed["value"].as_array().unwrap().as_slice() else {
            panic!("{listed}");
        };
        let kid = second["kid"].as_str().unwrap();
        assert_eq!(key["kid"], kid.rsplit_once('/').unwrap().0);
        assert_eq!(key["attributes"]["enabled"], true);
    }
    let path = format!("{}/attestation?api-version={PREVIEW}", path_of(&second));
    let attested = emulator.get(&path).await.success();
    assert!(attested["attributes"]["attestation"]["publicKeyAttestation"].is_string());
    let backup = call(&emulator, PREVIEW, "/keys/k/backup", json!({}));
    let backup = backup.await.success()["value"].clone();
    emulator.delete("/keys/k").await.success();
    emulator.delete("/deletedkeys/k").await;
    let restored = call(
        &emulator,
        PREVIEW,
        "/keys/restore",
        json!({"value": backup}),
    );
    assert_eq!(restored.await.success()["key"]["pub"], second["pub"]);
    // Also the older one, and after a restart.
    assert!(emulator.stop().success());
    let emulator = Emulator::start(folder.path());
    for key in [first, second] {
        let public = decode(&key["pub"]);
        let path = format!("{}/sign", path_of(&key));
        let body = json!({"external_mu": encode(&mu(&public, b"", MESSAGE))});
        let signed = call(&emulator, PREVIEW, &path, body).await.success();
        let signature = decode(&signed["value"]);
        assert!(verifies("ML-DSA-87", &public, b"", &signature));
    }
}

/// `/keys/<name>/<version>`
fn path_of(key: &Value) -> String {
    let kid = key["kid"].as_str().unwrap();
    format!("/keys/{}", kid.split_once("/keys/").unwrap().1)
}

#[tokio::test]
async fn a_vault_signs_verifies_and_rotates_with_both_kinds() {
    let folder = tempfile::tempdir().unwrap();
    let emulator = Emulator::start_with(folder.path(), &["--vault", "contoso"]);
    let token = emulator.token(&["--audience", "https://vault.azure.net"]);
    let vault = &emulator.further["vault contoso"];
    let post = async |path: &str, body: Value| {
        let url = format!("{vault}{path}?api-version={PREVIEW}");
        emulator.call_with(&token, "POST", &url, Some(body)).await
    };
    for kty in ["AKP", "AKP-HSM"] {
        for (set, _, signature_len) in SETS {
            let key = format!("/keys/{kty}-{set}");
            let body = json!({"kty": kty, "alg": set});
            let made = post(&format!("{key}/create"), body).await.success();
            let public = decode(&made["key"]["pub"]);
            let mu = encode(&mu(&public, b"", MESSAGE));
            for body in [
                json!({"value": encode(MESSAGE)}),
                json!({"external_mu": mu}),
            ] {
                let signed = post(&format!("{key}/sign"), body).await.success();
                let signature = decode(&signed["value"]);
                assert_eq!(signature.len(), signature_len);
                assert!(verifies_by_aws_lc(set, &public, &signature), "{kty} {set}");
                for (message, verdict) in [(MESSAGE, "true"), (&b"another"[..], "false")] {
                    let body = json!({"digest": encode(message), "value": signed["value"]});
                    let verified = post(&format!("{key}/verify"), body).await;
                    assert_eq!(verified.body, format!(r#"{{"value":{verdict}}}"#));
                }
            }
            let rotated = post(&format!("{key}/rotate"), json!({})).await.success();
            let rotated = &rotated["key"];
            assert_eq!(
                (&rotated["kty"], &rotated["alg"]),
                (&made["key"]["kty"], &json!(set))
            );
            assert_eq!(rotated["kty"], kty);
            assert_ne!(rotated["pub"], made["key"]["pub"]);
        }
    }
}
