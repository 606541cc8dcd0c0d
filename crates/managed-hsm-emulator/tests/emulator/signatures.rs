//! Signatures of every algorithm, checked with OpenSSL from nothing but the public key in the
//! answers.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use openssl::bn::BigNum;
use openssl::ec::{EcGroup, EcKey};
use openssl::ecdsa::EcdsaSig;
use openssl::hash::{MessageDigest, hash};
use openssl::nid::Nid;
use openssl::pkey::PKey;
use openssl::rsa::{Padding, Rsa};
use openssl::sign::{RsaPssSaltlen, Verifier};
use serde_json::{Value, json};

use crate::running::Emulator;
use crate::vaults::Vault;

const MESSAGE: &[u8] = b"what is signed";

fn digest_of(algorithm: &str) -> MessageDigest {
    match algorithm.trim_end_matches('K') {
        name if name.ends_with("256") => MessageDigest::sha256(),
        name if name.ends_with("384") => MessageDigest::sha384(),
        _ => MessageDigest::sha512(),
    }
}

fn encode(bytes: &[u8]) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

fn decode(value: &Value) -> Vec<u8> {
    BASE64_URL_SAFE_NO_PAD
        .decode(value.as_str().unwrap())
        .unwrap()
}

fn number(value: &Value) -> BigNum {
    BigNum::from_slice(&decode(value)).unwrap()
}

fn rsa_verifies(jwk: &Value, algorithm: &str, signature: &[u8]) -> bool {
    let rsa = Rsa::from_public_components(number(&jwk["n"]), number(&jwk["e"])).unwrap();
    let key = PKey::from_rsa(rsa).unwrap();
    let mut verifier = Verifier::new(digest_of(algorithm), &key).unwrap();
    if algorithm.starts_with("PS") {
        verifier.set_rsa_padding(Padding::PKCS1_PSS).unwrap();
        verifier
            .set_rsa_pss_saltlen(RsaPssSaltlen::DIGEST_LENGTH)
            .unwrap();
    }
    verifier.verify_oneshot(signature, MESSAGE).unwrap()
}

fn ec_verifies(jwk: &Value, algorithm: &str, signature: &[u8]) -> bool {
    let (nid, width) = match jwk["crv"].as_str().unwrap() {
        "P-256" => (Nid::X9_62_PRIME256V1, 32),
        "P-256K" => (Nid::SECP256K1, 32),
        "P-384" => (Nid::SECP384R1, 48),
        _ => (Nid::SECP521R1, 66),
    };
    assert_eq!(signature.len(), 2 * width);
    let group = EcGroup::from_curve_name(nid).unwrap();
    let (x, y) = (number(&jwk["x"]), number(&jwk["y"]));
    let key = EcKey::from_public_key_affine_coordinates(&group, &x, &y).unwrap();
    let (r, s) = signature.split_at(width);
    let (r, s) = (
        BigNum::from_slice(r).unwrap(),
        BigNum::from_slice(s).unwrap(),
    );
    let digest = hash(digest_of(algorithm), MESSAGE).unwrap();
    EcdsaSig::from_private_components(r, s)
        .unwrap()
        .verify(&digest, &key)
        .unwrap()
}

#[tokio::test]
async fn every_algorithm_makes_signatures_that_openssl_and_the_hsm_verify() {
    let folder = tempfile::tempdir().unwrap();
    let emulator = Emulator::start(folder.path());
    for (name, body, algorithms) in [
        (
            "rsa",
            json!({"kty": "RSA"}),
            &["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"][..],
        ),
        ("p256", json!({"kty": "EC", "crv": "P-256"}), &["ES256"]),
        ("p256k", json!({"kty": "EC", "crv": "P-256K"}), &["ES256K"]),
        ("p384", json!({"kty": "EC", "crv": "P-384"}), &["ES384"]),
        ("p521", json!({"kty": "EC", "crv": "P-521"}), &["ES512"]),
    ] {
        let made = emulator
            .post(&format!("/keys/{name}/create"), body)
            .await
            .success();
        let jwk = &made["key"];
        for &algorithm in algorithms {
            let digest = encode(&hash(digest_of(algorithm), MESSAGE).unwrap());
            let sign = json!({"alg": algorithm, "value": digest});
            let signed = emulator
                .post(&format!("/keys/{name}//sign"), sign)
                .await
                .success();
            assert_eq!(
                (&signed["alg"], &signed["kid"]),
                (&json!(algorithm), &jwk["kid"])
            );
            let signature = decode(&signed["value"]);
            let verifies = if name == "rsa" {
                rsa_verifies
            } else {
                ec_verifies
            };
            assert!(verifies(jwk, algorithm, &signature), "{algorithm}");

            let mut forged = signature.clone();
            forged[9] ^= 1;
            for (value, expected) in [(&signature, true), (&forged, false)] {
                let body = json!({"alg": algorithm, "digest": digest, "value": encode(value)});
                let verified = emulator
                    .post(&format!("/keys/{name}/verify"), body)
                    .await
                    .success();
                assert_eq!(verified["value"], expected, "{algorithm}");
            }
        }
    }
}

#[tokio::test]
async fn an_imported_key_signs_as_itself() {
    let folder = tempfile::tempdir().unwrap();
    let emulator = Emulator::start(folder.path());
    let rsa = Rsa::generate(2048).unwrap();
    let member = |number: Option<&openssl::bn::BigNumRef>| encode(&number.unwrap().to_vec());
    let key = json!({
        "kty": "RSA", "n": encode(&rsa.n().to_vec()), "e": encode(&rsa.e().to_vec()),
        "d": encode(&rsa.d().to_vec()), "p": member(rsa.p()), "q": member(rsa.q()),
        "dp": member(rsa.dmp1()), "dq": member(rsa.dmq1()), "qi": member(rsa.iqmp()),
    });
    let imported = emulator
        .call("PUT", "/keys/k", Some(json!({"key": key})))
        .await
        .success();
    assert_eq!(imported["key"]["n"], key["n"]);
    let digest = encode(&hash(MessageDigest::sha256(), MESSAGE).unwrap());
    let sign = json!({"alg": "RS256", "value": digest});
    let signed = emulator.post("/keys/k/sign", sign).await.success();
    assert!(rsa_verifies(&key, "RS256", &decode(&signed["value"])));

    let mut inconsistent = key.clone();
    inconsistent["p"] = key["q"].clone();
    let refused = emulator
        .call("PUT", "/keys/k", Some(json!({"key": inconsistent})))
        .await;
    assert_eq!(refused.status, 400);
}

/// As recorded by azure-sdk-for-cpp, in `KeyVaultKeyClient.ImportKey`, of a vault.
#[tokio::test]
async fn a_vault_needs_no_private_exponent_and_shows_the_curve_of_an_rsa_key() {
    let folder = tempfile::tempdir().unwrap();
    let vault = Vault::start(folder.path(), &[]);
    let rsa = Rsa::generate(2048).unwrap();
    let number = |number: Option<&openssl::bn::BigNumRef>| encode(&number.unwrap().to_vec());
    let jwk = json!({
        "kty": "RSA", "key_ops": ["sign"], "crv": "P-521",
        "n": encode(&rsa.n().to_vec()), "e": encode(&rsa.e().to_vec()),
        "d": encode(&rsa.d().to_vec()[..73]), "p": number(rsa.p()), "q": number(rsa.q()),
        "dp": number(rsa.dmp1()), "dq": number(rsa.dmq1()), "qi": number(rsa.iqmp()),
    });
    let body = Some(json!({"key": jwk}));
    let made = vault.call("PUT", "/keys/k", body.clone()).await.success();
    for member in ["kty", "n", "e", "crv", "key_ops"] {
        assert_eq!(made["key"][member], jwk[member], "{member}");
    }
    let digest = encode(&hash(MessageDigest::sha256(), MESSAGE).unwrap());
    let sign = Some(json!({"alg": "RS256", "value": digest}));
    let signed = vault.call("POST", "/keys/k/sign", sign).await.success();
    assert!(rsa_verifies(&jwk, "RS256", &decode(&signed["value"])));
    // The primes still have to be those of the modulus.
    let mut other = jwk.clone();
    other["p"] = number(Rsa::generate(2048).unwrap().p()).into();
    let refused = vault
        .call("PUT", "/keys/o", Some(json!({"key": other})))
        .await;
    assert_eq!(refused.status, 400, "{}", refused.body);
    let refused = vault.emulator.call("PUT", "/keys/k", body).await;
    assert_eq!(refused.status, 400, "{}", refused.body);
}

/// The key, the value and the MAC are those of the recording net76_hs256_import_sign_verify.
#[tokio::test]
async fn an_imported_symmetric_key_makes_the_recorded_mac_in_versions_that_know_it() {
    let folder = tempfile::tempdir().unwrap();
    let emulator = Emulator::start(folder.path());
    let key = json!({"kty": "oct", "k": "pBZVALPctDgu2eVdVrBgNQlZ2-cIIN8mT0JDMENMD28"});
    let import = Some(json!({"key": key}));
    emulator.call("PUT", "/keys/k", import).await.success();
    let value = "fXYe7bL0QaXwk65meK-NlRE-ty0-bdHJBY4zMEc8eXc";
    let sign = json!({"alg": "HS256", "value": value});
    let path = |version| format!("/keys/k/sign?api-version={version}");
    for version in ["7.6-preview.2", "7.6", "2025-07-01"] {
        let signed = emulator.post(&path(version), sign.clone()).await.success();
        let recorded = "738mLG7DvsXC_8DYffVppi44X9I9E97Ep2m6b_r1F58";
        assert_eq!(signed["value"], recorded, "{version}");
    }
    for version in ["7.4", "7.6-preview.1"] {
        let (status, _, message) = emulator.post(&path(version), sign.clone()).await.error();
        assert_eq!(status, 400, "{version}");
        assert!(message.contains("HS256"), "{message}");
    }
}

#[tokio::test]
async fn a_key_signs_only_when_it_may() {
    let folder = tempfile::tempdir().unwrap();
    let emulator = Emulator::start(folder.path());
    let sign = json!({"alg": "ES256", "value": encode(&[0; 32])});
    for (attributes, key_ops, reason) in [
        (json!({"enabled": false}), json!(["sign"]), "disabled"),
        (json!({"exp": 1}), json!(["sign"]), "expired"),
        (
            json!({"nbf": 4_000_000_000_u32}),
            json!(["sign"]),
            "not yet valid",
        ),
        (
            json!({}),
            json!(["verify"]),
            "Operation sign is not permitted on this key.",
        ),
    ] {
        emulator
            .post("/keys/k/create", json!({"kty": "EC"}))
            .await
            .success();
        emulator.post("/keys/k/sign", sign.clone()).await.success();
        let change = json!({"attributes": attributes, "key_ops": key_ops});
        emulator
            .call("PATCH", "/keys/k", Some(change))
            .await
            .success();
        let (status, code, message) = emulator.post("/keys/k/sign", sign.clone()).await.error();
        assert_eq!((status, code.as_str()), (403, "Forbidden"), "{message}");
        assert!(message.contains(reason), "{message}");
    }
}

#[tokio::test]
async fn wrong_signing_requests_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let emulator = Emulator::start(folder.path());
    emulator
        .post("/keys/k/create", json!({"kty": "EC"}))
        .await
        .success();
    for (body, text) in [
        (
            json!({"alg": "ES256", "value": encode(&[0; 31])}),
            "Invalid length of 'value': 31 bytes. ES256 requires 32 bytes",
        ),
        (
            json!({"alg": "ES384", "value": encode(&[0; 48])}),
            "Key and signing algorithm are incompatible.",
        ),
        (
            json!({"alg": "RS256", "value": encode(&[0; 32])}),
            "Key and signing algorithm are incompatible.",
        ),
        (json!({"alg": "XX", "value": ""}), "XX"),
        (json!({"alg": "ES256"}), "value"),
        (json!({"alg": "ES256", "value": "***"}), "base64url"),
        (json!({"value": ""}), "alg"),
    ] {
        let (status, code, message) = emulator.post("/keys/k/sign", body).await.error();
        assert_eq!((status, code.as_str()), (400, "BadParameter"), "{message}");
        assert!(message.contains(text), "{message}");
    }
}

#[tokio::test]
async fn concurrent_clients_all_get_signatures_of_their_own_digest() {
    let folder = tempfile::tempdir().unwrap();
    let emulator = std::sync::Arc::new(Emulator::start(folder.path()));
    emulator
        .post("/keys/k/create", json!({"kty": "RSA"}))
        .await
        .success();
    let mut tasks = tokio::task::JoinSet::new();
    for client in 0..16_u8 {
        let emulator = emulator.clone();
        tasks.spawn(async move {
            let digest = encode(&[client; 32]);
            let sign = json!({"alg": "RS256", "value": digest});
            let signed = emulator.post("/keys/k/sign", sign).await.success();
            let verify = json!({"alg": "RS256", "digest": digest, "value": signed["value"]});
            emulator.post("/keys/k/verify", verify).await.success()["value"] == true
        });
    }
    while let Some(verified) = tasks.join_next().await {
        assert!(verified.unwrap());
    }
}
