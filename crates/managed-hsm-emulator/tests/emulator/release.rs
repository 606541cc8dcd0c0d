//! Secure key release, judged by OpenSSL in the place of the trusted environment; key attestation.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use openssl::cipher::Cipher;
use openssl::cipher_ctx::{CipherCtx, CipherCtxFlags};
use openssl::encrypt::Decrypter;
use openssl::hash::MessageDigest;
use openssl::pkey::{PKey, Private};
use openssl::rsa::{Padding, Rsa};
use openssl::sign::Verifier;
use openssl::stack::Stack;
use openssl::x509::store::X509StoreBuilder;
use openssl::x509::verify::X509VerifyParam;
use openssl::x509::{X509, X509PurposeId, X509StoreContext, X509VerifyResult};
use serde_json::{Value, json};

use crate::running::Emulator;
use crate::vaults::Vault;

const ISSUER: &str = "https://attestation.example";

pub(crate) fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

pub(crate) fn decode(value: &Value) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(value.as_str().unwrap()).unwrap()
}

pub(crate) fn policy() -> Value {
    let policy = json!({"version": "1.0.0", "anyOf": [
        {"authority": ISSUER, "allOf": [{"claim": "tee.debug", "equals": "false"}]}
    ]});
    json!({"data": encode(policy.to_string().as_bytes())})
}

async fn create(emulator: &Emulator, name: &str, kty: &str) {
    let body = json!({"kty": kty, "attributes": {"exportable": true}, "release_policy": policy()});
    let path = format!("/keys/{name}/create");
    emulator.post(&path, body).await.success();
}

fn start(folder: &std::path::Path) -> Emulator {
    Emulator::start_with(folder, &["--tls-server-name", "hsm.example"])
}

/// An attestation of an environment that has `key`.
pub(crate) async fn attest(emulator: &Emulator, key: &Rsa<Private>, debug: bool) -> String {
    let jwk = json!({
        "kty": "RSA",
        "kid": "tee-key",
        "n": encode(&key.n().to_vec()),
        "e": encode(&key.e().to_vec()),
    });
    let wanted = json!({"issuer": ISSUER, "key": jwk, "claims": {"tee": {"debug": debug}}});
    let answer = emulator.post("/generate-test-token", wanted).await;
    answer.success()["token"].as_str().unwrap().to_owned()
}

/// The payload of a JSON Web Signature whose certificates lead to the emulator's CA.
fn verified(emulator: &Emulator, signed: &str) -> Value {
    verified_with_header(emulator, signed).1
}

/// Its header and its payload.
fn verified_with_header(emulator: &Emulator, signed: &str) -> (Value, Value) {
    let (content, signature) = signed.rsplit_once('.').unwrap();
    let (header, payload) = content.split_once('.').unwrap();
    let json = |part: &str| serde_json::from_slice(&decode(&json!(part))).unwrap();
    let header: Value = json(header);
    let chain: Vec<X509> = header["x5c"]
        .as_array()
        .unwrap()
        .iter()
        .map(|der| X509::from_der(&STANDARD.decode(der.as_str().unwrap()).unwrap()).unwrap())
        .collect();
    let ca = X509::from_pem(&std::fs::read(emulator.data().join("ca.pem")).unwrap()).unwrap();
    assert_eq!(chain[1].to_der().unwrap(), ca.to_der().unwrap());
    assert!(chain[0].verify(&ca.public_key().unwrap()).unwrap());
    // As Microsoft's container for releases checks it: it is a server's of the HSM's name.
    for name in ["localhost", "contoso.managedhsm.azure.net", "hsm.example"] {
        is_servers(&chain[0], &ca, name).unwrap();
    }
    is_servers(&chain[0], &ca, "other.example").unwrap_err();
    let sha256 = openssl::sha::sha256(&chain[0].to_der().unwrap());
    assert_eq!(header["x5t#S256"], encode(&sha256));
    let key = chain[0].public_key().unwrap();
    let mut verifier = Verifier::new(MessageDigest::sha256(), &key).unwrap();
    let good = verifier.verify_oneshot(&decode(&json!(signature)), content.as_bytes());
    assert!(good.unwrap());
    (header, json(payload))
}

/// Whether a certificate is good for TLS with a server of a name.
fn is_servers(certificate: &X509, ca: &X509, name: &str) -> Result<(), X509VerifyResult> {
    let mut parameters = X509VerifyParam::new().unwrap();
    parameters.set_host(name).unwrap();
    let purpose = X509PurposeId::SSL_SERVER;
    parameters.set_purpose(purpose).unwrap();
    let mut store = X509StoreBuilder::new().unwrap();
    store.set_param(&parameters).unwrap();
    store.add_cert(ca.clone()).unwrap();
    let (store, others) = (store.build(), Stack::new().unwrap());
    let mut context = X509StoreContext::new().unwrap();
    let verify = |context: &mut openssl::x509::X509StoreContextRef| {
        context
            .verify_cert()
            .map(|is_good| (is_good, context.error()))
    };
    match context.init(&store, certificate, &others, verify).unwrap() {
        (true, _) => Ok(()),
        (false, error) => Err(error),
    }
}

/// What the environment does with the transferred key.
pub(crate) fn unwrap(ciphertext: &[u8], key: &PKey<Private>, hash: MessageDigest) -> Vec<u8> {
    let (encrypted, wrapped) = ciphertext.split_at(key.size());
    let mut decrypter = Decrypter::new(key).unwrap();
    decrypter.set_rsa_padding(Padding::PKCS1_OAEP).unwrap();
    decrypter.set_rsa_oaep_md(hash).unwrap();
    decrypter.set_rsa_mgf1_md(hash).unwrap();
    let mut aes = vec![0; key.size()];
    let len = decrypter.decrypt(encrypted, &mut aes).unwrap();
    assert_eq!(len, 32);
    let cipher = Cipher::fetch(None, "AES-256-WRAP-PAD", None).unwrap();
    let mut context = CipherCtx::new().unwrap();
    context.set_flags(CipherCtxFlags::FLAG_WRAP_ALLOW);
    let started = context.decrypt_init(Some(&cipher), Some(&aes[..32]), None);
    started.unwrap();
    let mut secret = Vec::new();
    context.cipher_update_vec(wrapped, &mut secret).unwrap();
    secret
}

#[tokio::test]
async fn a_released_key_is_the_key() {
    let folder = tempfile::tempdir().unwrap();
    let emulator = start(folder.path());
    let environment = Rsa::generate(2048).unwrap();
    let token = attest(&emulator, &environment, false).await;
    let environment = PKey::from_rsa(environment).unwrap();
    for (kty, enc, hash) in [
        ("EC", "CKM_RSA_AES_KEY_WRAP", MessageDigest::sha1()),
        ("RSA", "RSA_AES_KEY_WRAP_256", MessageDigest::sha256()),
        ("EC", "RSA_AES_KEY_WRAP_384", MessageDigest::sha384()),
    ] {
        let name = enc.replace('_', "-");
        create(&emulator, &name, kty).await;
        let body = json!({"target": token, "nonce": "once", "enc": enc});
        let path = format!("/keys/{name}/release?api-version=7.4");
        let released = emulator.post(&path, body).await.success();
        let payload = verified(&emulator, released["value"].as_str().unwrap());
        let kid = format!("{}/keys/{name}", emulator.url);
        assert_eq!(
            payload["request"],
            json!({"api-version": "7.4", "enc": enc, "kid": kid, "nonce": "once"})
        );
        let jwk = &payload["response"]["key"]["key"];
        let transferred: Value = serde_json::from_slice(&decode(&jwk["key_hsm"])).unwrap();
        assert_eq!(
            transferred["header"],
            json!({"alg": "dir", "enc": enc, "kid": "tee-key"})
        );
        let secret = unwrap(&decode(&transferred["ciphertext"]), &environment, hash);
        let key = PKey::private_key_from_pkcs8(&secret).unwrap();
        match kty {
            "RSA" => assert_eq!(decode(&jwk["n"]), key.rsa().unwrap().n().to_vec()),
            _ => {
                let public = key.public_key_to_der().unwrap();
                assert!(public.ends_with(&[decode(&jwk["x"]), decode(&jwk["y"])].concat()));
            }
        }
    }
}

fn members(object: &Value) -> Vec<&String> {
    object.as_object().unwrap().keys().collect()
}

/// As recorded by azure-sdk-for-go (`TestReleaseKey/MHSM`), azure-sdk-for-net (`ReleaseCreatedKey`)
/// and azure-sdk-for-java (`releaseKey`).
#[tokio::test]
async fn a_released_key_has_the_form_that_was_recorded() {
    let folder = tempfile::tempdir().unwrap();
    let emulator = start(folder.path());
    let environment = Rsa::generate(2048).unwrap();
    let token = attest(&emulator, &environment, false).await;
    for (kty, released_as) in [("EC-HSM", "EC"), ("RSA-HSM", "RSA")] {
        create(&emulator, released_as, kty).await;
        let path = format!("/keys/{released_as}");
        let key = emulator.get(&path).await.success();
        let kid = key["key"]["kid"].as_str().unwrap();
        let version = kid.rsplit_once('/').unwrap().1;
        for asked in [path.clone(), format!("{path}/{version}")] {
            let body = json!({"target": token});
            let path = format!("{asked}/release?api-version=7.4");
            let released = emulator.post(&path, body).await.success();
            let value = released["value"].as_str().unwrap();
            let (header, payload) = verified_with_header(&emulator, value);
            assert_eq!(members(&header), ["alg", "kid", "x5c", "x5t#S256"]);
            assert_eq!(header["kid"].as_str().unwrap().len(), 36);
            let request = json!({
                "api-version": "7.4",
                "enc": "CKM_RSA_AES_KEY_WRAP",
                "kid": format!("{}{asked}", emulator.url),
            });
            assert_eq!(payload["request"], request);
            // The key as it is shown, but for these two.
            let mut shown = payload["response"]["key"].clone();
            let wrapped = shown["key"]
                .as_object_mut()
                .unwrap()
                .remove("key_hsm")
                .unwrap();
            assert_eq!(shown["key"]["kty"], released_as);
            shown["key"]["kty"] = key["key"]["kty"].clone();
            assert_eq!(shown, key);
            let wrapped: Value = serde_json::from_slice(&decode(&wrapped)).unwrap();
            assert_eq!(
                members(&wrapped),
                ["ciphertext", "header", "schema_version"]
            );
            assert_eq!(wrapped["schema_version"], "1.0");
        }
    }
}

/// As recorded by azure-sdk-for-go, in `TestReleaseKey/KV`.
#[tokio::test]
async fn a_vault_releases_a_key_in_a_form_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let vault = Vault::start(folder.path(), &["--tls-server-name", "hsm.example"]);
    let environment = Rsa::generate(2048).unwrap();
    let token = attest(&vault.emulator, &environment, false).await;
    let policy = policy();
    let made =
        json!({"kty": "EC-HSM", "attributes": {"exportable": true}, "release_policy": policy});
    let made = vault.create("k", made).await;
    // In its own order, as recorded by azure-sdk-for-cpp (`CreateKeyWithReleasePolicyOptions`).
    let written = decode(&made["release_policy"]["data"]);
    let expected = format!(
        r#"{{"version":"1.0.0","anyOf":[{{"authority":"{ISSUER}","allOf":[{{"claim":"tee.debug","equals":"false"}}]}}]}}"#
    );
    assert_eq!(String::from_utf8(written).unwrap(), expected);
    let body = json!({"target": token});
    let released = vault.call("POST", "/keys/k/release", Some(body)).await;
    let released = released.success();
    let value = released["value"].as_str().unwrap();
    let (header, payload) = verified_with_header(&vault.emulator, value);
    let expected = ["alg", "kid", "typ", "x5c", "x5t", "x5t#S256"];
    assert_eq!(members(&header), expected);
    let sha1 = decode(&header["x5t"]);
    let hexadecimal = sha1.iter().map(|byte| format!("{byte:02X}"));
    assert_eq!(header["kid"], hexadecimal.collect::<String>());
    let kid = made["key"]["kid"].as_str().unwrap();
    let request = json!({
        "api-version": "7.4",
        "enc": "CKM_RSA_AES_KEY_WRAP",
        "kid": kid.rsplit_once('/').unwrap().0,
    });
    assert_eq!(payload["request"], request);
    assert_eq!(payload["response"]["key"]["key"]["kty"], "EC-HSM");
}

#[tokio::test]
async fn nothing_is_released_that_the_policy_does_not_let_out() {
    let folder = tempfile::tempdir().unwrap();
    let emulator = Emulator::start(folder.path());
    create(&emulator, "k", "EC").await;
    let plain = json!({"kty": "EC"});
    emulator.post("/keys/plain/create", plain).await.success();
    let environment = Rsa::generate(2048).unwrap();
    let good = attest(&emulator, &environment, false).await;
    let debugged = attest(&emulator, &environment, true).await;
    // As long as every signature, so that only the check of it can refuse this one.
    let (signed, signature) = good.rsplit_once('.').unwrap();
    let foreign = format!("{signed}.{}", "A".repeat(signature.len()));
    // The owner's bearer token is signed by the emulator too, but by another key.
    let bearer = emulator.run("token", &[]).stdout;
    let bearer = String::from_utf8(bearer).unwrap().trim().to_owned();
    for (name, body, status, about) in [
        ("k", json!({"target": debugged}), 403, "does not meet"),
        ("k", json!({"target": foreign}), 403, "cannot be verified"),
        ("k", json!({"target": bearer}), 403, "cannot be verified"),
        ("k", json!({"target": "x"}), 403, "cannot be verified"),
        ("k", json!({}), 400, "target"),
        ("k", json!({"target": good, "enc": "A256KW"}), 400, "A256KW"),
        ("plain", json!({"target": good}), 403, "release"),
    ] {
        let answer = emulator.post(&format!("/keys/{name}/release"), body).await;
        assert_eq!(answer.status, status, "{about}: {}", answer.body);
        assert!(answer.error().2.contains(about), "{}", answer.body);
    }
}

#[tokio::test]
async fn an_attestation_is_no_bearer_token() {
    let folder = tempfile::tempdir().unwrap();
    let emulator = Emulator::start(folder.path());
    let claims = json!({"claims": {
        "aud": "https://managedhsm.azure.net",
        "oid": "00000000-0000-0000-0000-000000000001",
    }});
    let token = emulator
        .post("/generate-test-token", claims)
        .await
        .success();
    let token = token["token"].as_str().unwrap();
    let answer = emulator.call_with(token, "GET", "/keys", None).await;
    assert_eq!(answer.status, 401, "{}", answer.body);
    let wrong = json!({"key_": 1});
    let answer = emulator.post("/generate-test-token", wrong).await;
    assert_eq!(answer.status, 400);
    assert!(answer.body.contains("key_"), "{}", answer.body);
}

#[tokio::test]
async fn a_key_comes_with_its_attestation() {
    let folder = tempfile::tempdir().unwrap();
    let emulator = start(folder.path());
    for (name, kty) in [("e", "EC"), ("o", "oct-HSM")] {
        let body = json!({"kty": kty, "key_size": (kty == "oct-HSM").then_some(256)});
        let path = format!("/keys/{name}/create");
        let created = emulator.post(&path, body).await.success();
        let kid = created["key"]["kid"].as_str().unwrap();
        let version = kid.rsplit('/').next().unwrap();
        for path in [
            format!("/keys/{name}/{version}/attestation"),
            format!("/keys/{name}//attestation"),
        ] {
            let answer = emulator.get(&path).await.success();
            assert_eq!(answer["key"], created["key"]);
            let attestation = &answer["attributes"]["attestation"];
            let pem = decode(&attestation["certificatePemFile"]);
            assert_eq!(X509::stack_from_pem(&pem).unwrap().len(), 2);
            let statement = decode(&attestation["privateKeyAttestation"]);
            let statement = verified(&emulator, std::str::from_utf8(&statement).unwrap());
            assert_eq!(statement["key"], created["key"]);
            assert_eq!(attestation["publicKeyAttestation"].is_null(), kty != "EC");
        }
    }
    let answer = emulator.get("/keys/none/attestation").await;
    assert_eq!(answer.error().1, "KeyNotFound");
}
