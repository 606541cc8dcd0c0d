//! Secure wrap and unwrap, with OpenSSL in the place of the attested environment.

use openssl::bn::BigNum;
use openssl::encrypt::Encrypter;
use openssl::hash::MessageDigest;
use openssl::pkey::{PKey, Private};
use openssl::rsa::{Padding, Rsa};
use serde_json::{Value, json};

use crate::release::{attest, decode, encode, policy, unwrap};
use crate::running::{Answer, Emulator};

const PREVIEW: &str = "2026-01-01-preview";

const OPERATIONS: [&str; 2] = ["secureWrapKey", "secureUnwrapKey"];

async fn call(emulator: &Emulator, version: &str, path: &str, body: Value) -> Answer {
    let path = format!("{path}?api-version={version}");
    emulator.call("POST", &path, Some(body)).await
}

/// Makes a key for secure wrap, besides what `more` says of it.
async fn create(emulator: &Emulator, name: &str, more: Value) -> Answer {
    let mut body = json!({"key_ops": OPERATIONS, "release_policy": policy()});
    let members = more.as_object().unwrap().clone();
    body.as_object_mut().unwrap().extend(members);
    call(emulator, PREVIEW, &format!("/keys/{name}/create"), body).await
}

async fn wrap(emulator: &Emulator, name: &str, alg: &str) -> Answer {
    let path = format!("/keys/{name}/securewrapkey");
    call(emulator, PREVIEW, &path, json!({"alg": alg})).await
}

/// What the environment with a token and a key has in the end.
async fn received(
    emulator: &Emulator,
    name: &str,
    wrapped: &Value,
    (token, key): (&str, &PKey<Private>),
) -> Vec<u8> {
    let path = format!("/keys/{name}/secureunwrapkey");
    let body = json!({"alg": wrapped["alg"], "value": wrapped["value"], "target": token});
    let unwrapped = call(emulator, PREVIEW, &path, body).await.success();
    let members: Vec<&String> = unwrapped.as_object().unwrap().keys().collect();
    assert_eq!(members, ["alg", "kid", "value"]);
    assert_eq!(unwrapped["alg"], wrapped["alg"]);
    unwrap(&decode(&unwrapped["value"]), key, MessageDigest::sha1())
}

#[tokio::test]
async fn a_key_is_made_wrapped_and_given_to_the_attested_environment_only() {
    let folder = tempfile::tempdir().unwrap();
    let emulator = Emulator::start(folder.path());
    let environment = Rsa::generate(2048).unwrap();
    let token = attest(&emulator, &environment, false).await;
    let environment = PKey::from_rsa(environment).unwrap();
    let rsa = json!({"kty": "RSA-HSM"});
    create(&emulator, "rsa", rsa).await.success();
    for bits in [128, 192, 256] {
        let oct = json!({"kty": "oct-HSM", "key_size": bits});
        let made = create(&emulator, &format!("oct{bits}"), oct).await;
        assert_eq!(made.success()["key"]["key_ops"], json!(OPERATIONS));
    }
    for (name, alg, len) in [
        ("rsa", "RSA-OAEP-256", 256),
        ("oct128", "A128KW", 40),
        ("oct192", "A192KW", 40),
        ("oct256", "A256KW", 40),
        ("oct128", "A128KWPAD", 40),
        ("oct192", "A192KWPAD", 40),
        ("oct256", "A256KWPAD", 40),
        ("oct192", "CKM_AES_KEY_WRAP", 40),
        ("oct256", "CKM_AES_KEY_WRAP_PAD", 40),
    ] {
        let wrapped = wrap(&emulator, name, alg).await.success();
        let members: Vec<&String> = wrapped.as_object().unwrap().keys().collect();
        assert_eq!(members, ["alg", "kid", "value"]);
        assert_eq!(wrapped["alg"], alg);
        assert_eq!(decode(&wrapped["value"]).len(), len, "{alg}");
        let target = (token.as_str(), &environment);
        let once = received(&emulator, name, &wrapped, target).await;
        assert_eq!(once.len(), 32, "{alg}");
        assert_eq!(once, received(&emulator, name, &wrapped, target).await);
        let other = wrap(&emulator, name, alg).await.success();
        assert_ne!(once, received(&emulator, name, &other, target).await);
    }
}

#[tokio::test]
async fn what_is_wrapped_securely_comes_out_in_no_other_way() {
    let folder = tempfile::tempdir().unwrap();
    let emulator = Emulator::start(folder.path());
    let environment = Rsa::generate(2048).unwrap();
    let good = attest(&emulator, &environment, false).await;
    let debugged = attest(&emulator, &environment, true).await;
    create(&emulator, "k", json!({"kty": "RSA-HSM"}))
        .await
        .success();
    let wrapped = wrap(&emulator, "k", "RSA-OAEP-256").await.success();
    let value = &wrapped["value"];
    let (signed, signature) = good.rsplit_once('.').unwrap();
    let foreign = format!("{signed}.{}", "A".repeat(signature.len()));
    let unwrapping =
        |target: &str| json!({"alg": "RSA-OAEP-256", "value": value, "target": target});
    for (action, body, status, expected) in [
        (
            "secureunwrapkey",
            unwrapping(&debugged),
            403,
            "does not meet",
        ),
        (
            "secureunwrapkey",
            unwrapping(&foreign),
            403,
            "cannot be verified",
        ),
        ("secureunwrapkey", unwrapping(""), 403, "cannot be verified"),
        (
            "secureunwrapkey",
            json!({"alg": "RSA-OAEP-256", "value": value}),
            400,
            "'target' is required",
        ),
        (
            "secureunwrapkey",
            json!({"alg": "RSA-OAEP-256", "target": good}),
            400,
            "'value' is required",
        ),
        (
            "secureunwrapkey",
            json!({"alg": "RSA-OAEP-256", "value": encode(&[1; 256]), "target": good}),
            400,
            "'value'",
        ),
        (
            "secureunwrapkey",
            json!({"alg": "RSA-OAEP", "value": value, "target": good}),
            400,
            "RSA-OAEP",
        ),
        ("securewrapkey", json!({}), 400, "'alg' is required"),
        ("securewrapkey", json!({"alg": "A256KW"}), 400, "A256KW"),
        ("securewrapkey", json!({"alg": "A256GCM"}), 400, "A256GCM"),
        (
            "unwrapkey",
            unwrapping(&good),
            403,
            "unwrapKey is not permitted",
        ),
        (
            "decrypt",
            unwrapping(&good),
            403,
            "decrypt is not permitted",
        ),
        ("release", json!({"target": good}), 403, "not permitted"),
    ] {
        let path = format!("/keys/k/{action}");
        let refused = call(&emulator, PREVIEW, &path, body.clone()).await;
        assert_eq!(refused.status, status, "{body}: {}", refused.body);
        assert!(refused.body.contains(expected), "{body}: {}", refused.body);
    }
    // What nobody has published something about isn't taken for granted.
    let mut body = unwrapping(&good);
    body["applicationTrustedIssuer"] = json!("https://issuer.example");
    let path = "/keys/k/secureunwrapkey";
    let refused = call(&emulator, "2026-07-01-preview", path, body).await;
    assert_eq!(refused.status, 400);
    assert!(refused.body.contains("applicationTrustedIssuer"));
}

#[tokio::test]
async fn a_key_for_it_has_a_policy_and_stays_where_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let emulator = Emulator::start(folder.path());
    let rsa = json!({"kty": "RSA-HSM"});
    for (more, expected) in [
        (
            json!({"kty": "RSA-HSM", "release_policy": null}),
            "must have release policy",
        ),
        (
            json!({"kty": "oct-HSM", "attributes": {"exportable": true}}),
            "must not be exportable",
        ),
        (json!({"kty": "EC-HSM"}), "secureWrapKey"),
    ] {
        let refused = create(&emulator, "k", more).await;
        assert_eq!(refused.status, 400, "{}", refused.body);
        assert!(refused.body.contains(expected), "{}", refused.body);
    }
    // A change can't get around that.
    let plain = json!({"kty": "RSA-HSM"});
    emulator.post("/keys/plain/create", plain).await.success();
    let path = format!("/keys/plain?api-version={PREVIEW}");
    let body = json!({"key_ops": OPERATIONS});
    let refused = emulator.call("PATCH", &path, Some(body)).await;
    assert_eq!(refused.status, 400);
    assert!(refused.body.contains("must have release policy"));
    let body = json!({"key_ops": OPERATIONS, "release_policy": policy()});
    let changed = emulator.call("PATCH", &path, Some(body)).await.success();
    assert_eq!(changed["key"]["key_ops"], json!(OPERATIONS));
    wrap(&emulator, "plain", "RSA-OAEP-256").await.success();
    // Others have none of it.
    create(
        &emulator,
        "other",
        json!({"kty": "RSA-HSM", "key_ops": ["wrapKey", "unwrapKey"], "release_policy": null}),
    )
    .await
    .success();
    let refused = wrap(&emulator, "other", "RSA-OAEP-256").await;
    assert_eq!(refused.status, 403);
    assert!(refused.body.contains("secureWrapKey is not permitted"));
    // Versions before know neither.
    let mut body = rsa.clone();
    body["key_ops"] = json!(OPERATIONS);
    body["release_policy"] = policy();
    let refused = call(&emulator, "2025-07-01", "/keys/old/create", body).await;
    assert_eq!(refused.status, 400);
    for action in ["securewrapkey", "secureunwrapkey"] {
        let path = format!("/keys/plain/{action}");
        let refused = call(&emulator, "2025-07-01", &path, json!({})).await;
        assert_eq!(
            (refused.status.as_u16(), refused.error().1.as_str()),
            (400, "NotSupported")
        );
    }
}

#[tokio::test]
async fn the_wrapped_key_is_what_the_policy_key_opens() {
    let folder = tempfile::tempdir().unwrap();
    let emulator = Emulator::start(folder.path());
    // A program wraps a key of its own with the public part: it is unwrapped like one made there.
    let made = create(&emulator, "k", json!({"kty": "RSA-HSM"})).await;
    let jwk = made.success()["key"].clone();
    let number = |name: &str| BigNum::from_slice(&decode(&jwk[name])).unwrap();
    let public = Rsa::from_public_components(number("n"), number("e")).unwrap();
    let public = PKey::from_rsa(public).unwrap();
    let mut encrypter = Encrypter::new(&public).unwrap();
    encrypter.set_rsa_padding(Padding::PKCS1_OAEP).unwrap();
    encrypter.set_rsa_oaep_md(MessageDigest::sha256()).unwrap();
    encrypter.set_rsa_mgf1_md(MessageDigest::sha256()).unwrap();
    let mut value = vec![0; 256];
    let len = encrypter.encrypt(&[9; 32], &mut value).unwrap();
    assert_eq!(len, 256);
    let environment = Rsa::generate(3072).unwrap();
    let token = attest(&emulator, &environment, false).await;
    let environment = PKey::from_rsa(environment).unwrap();
    let wrapped = json!({"alg": "RSA-OAEP-256", "value": encode(&value)});
    let received = received(&emulator, "k", &wrapped, (&token, &environment)).await;
    assert_eq!(received, [9; 32]);
}
