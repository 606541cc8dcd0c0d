//! What holds for every Managed HSM, the emulated one and Azure's: run with these three variables
//! set, the same tests ask a real HSM.
//!
//! | variable | value |
//! |---|---|
//! | `CONTRACT_HSM_URL` | `https://<name>.managedhsm.azure.net` |
//! | `CONTRACT_HSM_TOKEN` | a token of a Crypto User and Crypto Officer at `/` |
//! | `CONTRACT_KEY_PREFIX` | begins the names of the keys that the tests make, delete and purge |
//!
//! `cargo test -p managed-hsm-emulator --test emulator contract`. Each test says on stderr whom it
//! asked.

use std::io::Write;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use openssl::bn::BigNum;
use openssl::ec::{EcGroup, EcKey};
use openssl::ecdsa::EcdsaSig;
use openssl::nid::Nid;
use openssl::pkey::PKey;
use openssl::rsa::Rsa;
use openssl::sign::Verifier;
use reqwest::{Client, Method};
use serde_json::{Value, json};

use crate::running::{Answer, Emulator};

const VARIABLES: [&str; 3] = [
    "CONTRACT_HSM_URL",
    "CONTRACT_HSM_TOKEN",
    "CONTRACT_KEY_PREFIX",
];

/// Whom a test asks.
enum Target {
    /// With the folder that it keeps its keys in, which goes when the test ends.
    Emulated(Emulator, #[expect(dead_code)] tempfile::TempDir),
    Real {
        url: String,
        token: String,
        client: Client,
    },
}

struct Contract {
    target: Target,
    prefix: String,
}

impl Contract {
    fn of(test: &str) -> Self {
        let set = VARIABLES.map(|name| std::env::var(name).ok().filter(|value| !value.is_empty()));
        let (target, prefix) = match set {
            [Some(url), Some(token), Some(prefix)] => {
                let url = url.trim_end_matches('/').to_owned();
                let client = Client::new();
                (Target::Real { url, token, client }, prefix)
            }
            [None, None, None] => {
                let folder = tempfile::tempdir().unwrap();
                let emulator = Emulator::start(folder.path());
                (Target::Emulated(emulator, folder), "contract".to_owned())
            }
            // Half a set-up must not look like a run against a real HSM.
            _ => panic!(
                "set all of {VARIABLES:?} to ask a real HSM, or none of them to ask the emulator"
            ),
        };
        let asked = match &target {
            Target::Emulated(emulator, _) => format!("the emulator at {}", emulator.url),
            Target::Real { url, .. } => format!("the real HSM at {url}"),
        };
        // The test harness keeps what eprintln! writes to itself when a test succeeds.
        #[expect(clippy::explicit_write)]
        writeln!(std::io::stderr(), "contract: {test} asks {asked}").unwrap();
        Self { target, prefix }
    }

    fn key(&self, name: &str) -> String {
        format!("{}-{name}-{}", self.prefix, std::process::id())
    }

    fn url(&self) -> &str {
        match &self.target {
            Target::Emulated(emulator, _) => &emulator.url,
            Target::Real { url, .. } => url,
        }
    }

    async fn call(&self, method: &str, path: &str, body: Option<Value>) -> Answer {
        let separator = if path.contains('?') { '&' } else { '?' };
        let path = match path.contains("skiptoken") {
            true => path.to_owned(),
            false => format!("{path}{separator}api-version=7.4"),
        };
        match &self.target {
            Target::Emulated(emulator, _) => emulator.call(method, &path, body).await,
            Target::Real { url, token, client } => {
                let method = Method::from_bytes(method.as_bytes()).unwrap();
                let mut request = client.request(method, format!("{url}{path}"));
                request = request.bearer_auth(token);
                if let Some(body) = body {
                    request = request.header("Content-Type", "application/json");
                    request = request.body(body.to_string());
                }
                answer(request.send().await.unwrap()).await
            }
        }
    }

    async fn post(&self, path: &str, body: Value) -> Answer {
        self.call("POST", path, Some(body)).await
    }

    async fn get(&self, path: &str) -> Answer {
        self.call("GET", path, None).await
    }

    async fn create(&self, name: &str, body: Value) -> Value {
        let path = format!("/keys/{}/create", self.key(name));
        self.post(&path, body).await.success()
    }

    /// A real HSM deletes and purges in its own time.
    async fn remove(&self, name: &str) {
        let key = self.key(name);
        let path = format!("/keys/{key}");
        self.call("DELETE", &path, None).await.success();
        let path = format!("/deletedkeys/{key}");
        for _ in 0..30 {
            if self.call("DELETE", &path, None).await.status == 204 {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        }
        panic!("{key} could not be purged; do it by hand");
    }
}

async fn answer(response: reqwest::Response) -> Answer {
    Answer {
        status: response.status(),
        headers: response.headers().clone(),
        body: response.text().await.unwrap(),
    }
}

fn decode(value: &Value) -> Vec<u8> {
    let text = value.as_str().unwrap();
    BASE64_URL_SAFE_NO_PAD.decode(text).unwrap()
}

fn encode(bytes: &[u8]) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

fn number(value: &Value) -> BigNum {
    BigNum::from_slice(&decode(value)).unwrap()
}

fn members(value: &Value) -> Vec<&str> {
    value
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect()
}

#[tokio::test]
async fn without_a_token_the_caller_is_told_where_to_get_one() {
    let contract = Contract::of("challenge");
    for (method, body) in [("GET", "OK"), ("POST", ""), ("PUT", ""), ("DELETE", "")] {
        let answer = match &contract.target {
            Target::Emulated(emulator, _) => emulator.send(method, "/keys/k", None, None).await,
            Target::Real { url, client, .. } => {
                let method = Method::from_bytes(method.as_bytes()).unwrap();
                let request = client.request(method, format!("{url}/keys/k"));
                answer(request.send().await.unwrap()).await
            }
        };
        assert_eq!((answer.status.as_u16(), answer.body.as_str()), (401, body));
        let challenge = answer.headers["www-authenticate"].to_str().unwrap();
        assert!(
            challenge.starts_with("Bearer authorization=\"https://"),
            "{challenge}"
        );
        assert!(
            challenge.contains(", resource=\"https://managedhsm."),
            "{challenge}"
        );
    }
}

#[tokio::test]
async fn keys_of_every_kind_have_the_members_of_their_kind() {
    let contract = Contract::of("kinds of keys");
    for (name, body, key_members) in [
        (
            "rsa",
            json!({"kty": "RSA"}),
            &["e", "key_ops", "kid", "kty", "n"][..],
        ),
        (
            "ec",
            json!({"kty": "EC"}),
            &["crv", "key_ops", "kid", "kty", "x", "y"],
        ),
        (
            "oct",
            json!({"kty": "oct", "key_size": 256}),
            &["key_ops", "kid", "kty"],
        ),
    ] {
        let made = contract.create(name, body.clone()).await;
        assert_eq!(members(&made), ["attributes", "key"], "{made}");
        assert_eq!(members(&made["key"]), key_members, "{made}");
        let attributes = [
            "created",
            "enabled",
            "exportable",
            "recoverableDays",
            "recoveryLevel",
            "updated",
        ];
        assert_eq!(members(&made["attributes"]), attributes, "{made}");
        let kty = format!("{}-HSM", body["kty"].as_str().unwrap());
        assert_eq!(made["key"]["kty"], kty);
        let kid = made["key"]["kid"].as_str().unwrap();
        let start = format!("{}/keys/{}/", contract.url(), contract.key(name));
        let version = kid.strip_prefix(start.as_str()).unwrap();
        assert!(version.len() == 32 && version.bytes().all(|byte| byte.is_ascii_hexdigit()));
        let path = format!("/keys/{}/{version}", contract.key(name));
        let read = contract.get(&path).await.success();
        assert_eq!(read["key"]["kid"], made["key"]["kid"]);
        contract.remove(name).await;
    }
}

#[tokio::test]
async fn signatures_verify_with_the_public_key_that_is_shown() {
    let contract = Contract::of("signatures");
    let digest = openssl::sha::sha256(b"message");
    let sign = |alg| json!({"alg": alg, "value": encode(&digest)});

    let ec = contract
        .create("es", json!({"kty": "EC", "crv": "P-256"}))
        .await;
    let path = format!("/keys/{}/sign", contract.key("es"));
    let signed = contract.post(&path, sign("ES256")).await.success();
    assert_eq!(members(&signed), ["alg", "kid", "value"]);
    let signature = decode(&signed["value"]);
    assert_eq!(signature.len(), 64);
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
    let (x, y) = (number(&ec["key"]["x"]), number(&ec["key"]["y"]));
    let key = EcKey::from_public_key_affine_coordinates(&group, &x, &y).unwrap();
    let half = |range: std::ops::Range<usize>| BigNum::from_slice(&signature[range]).unwrap();
    let parsed = EcdsaSig::from_private_components(half(0..32), half(32..64)).unwrap();
    assert!(parsed.verify(&digest, &key).unwrap());
    contract.remove("es").await;

    let rsa = contract.create("rs", json!({"kty": "RSA"})).await;
    let name = contract.key("rs");
    let signed = contract
        .post(&format!("/keys/{name}/sign"), sign("RS256"))
        .await
        .success();
    let key =
        Rsa::from_public_components(number(&rsa["key"]["n"]), number(&rsa["key"]["e"])).unwrap();
    let key = PKey::from_rsa(key).unwrap();
    let mut verifier = Verifier::new(openssl::hash::MessageDigest::sha256(), &key).unwrap();
    assert!(
        verifier
            .verify_oneshot(&decode(&signed["value"]), b"message")
            .unwrap()
    );
    for (value, expected) in [
        (signed["value"].clone(), true),
        (json!(encode(&[1; 256])), false),
    ] {
        let verify = json!({"alg": "RS256", "digest": encode(&digest), "value": value});
        let verified = contract
            .post(&format!("/keys/{name}/verify"), verify)
            .await
            .success();
        assert_eq!(verified["value"], expected);
    }
    contract.remove("rs").await;
}

#[tokio::test]
async fn what_is_encrypted_or_wrapped_comes_back() {
    let contract = Contract::of("encryption");
    contract.create("rsa-enc", json!({"kty": "RSA"})).await;
    contract
        .create("oct-enc", json!({"kty": "oct", "key_size": 256}))
        .await;
    let plaintext = encode(&[7; 32]);
    for (key, algorithm, forth, back, more) in [
        ("rsa-enc", "RSA-OAEP-256", "encrypt", "decrypt", json!({})),
        ("rsa-enc", "RSA1_5", "wrapkey", "unwrapkey", json!({})),
        ("oct-enc", "A256KW", "wrapkey", "unwrapkey", json!({})),
        (
            "oct-enc",
            "A256CBCPAD",
            "encrypt",
            "decrypt",
            json!({"iv": encode(&[1; 16])}),
        ),
        (
            "oct-enc",
            "A256GCM",
            "encrypt",
            "decrypt",
            json!({"aad": encode(b"aad")}),
        ),
    ] {
        let mut request = more;
        request["alg"] = json!(algorithm);
        request["value"] = json!(plaintext);
        let name = contract.key(key);
        let mut encrypted = contract
            .post(&format!("/keys/{name}/{forth}"), request)
            .await
            .success();
        assert_ne!(encrypted["value"], plaintext, "{algorithm}");
        encrypted.as_object_mut().unwrap().remove("kid");
        let decrypted = contract
            .post(&format!("/keys/{name}/{back}"), encrypted)
            .await
            .success();
        assert_eq!(members(&decrypted), ["alg", "kid", "value"], "{algorithm}");
        assert_eq!(decrypted["value"], plaintext, "{algorithm}");
    }
    contract.remove("rsa-enc").await;
    contract.remove("oct-enc").await;
}

#[tokio::test]
async fn versions_are_listed_oldest_first_over_pages_that_need_no_version_of_the_api() {
    let contract = Contract::of("versions");
    let mut made = Vec::new();
    for _ in 0..3 {
        made.push(contract.create("versions", json!({"kty": "EC"})).await["key"]["kid"].clone());
    }
    let mut path = format!("/keys/{}/versions?maxresults=1", contract.key("versions"));
    let mut listed = Vec::new();
    loop {
        let page = contract.get(&path).await.success();
        listed.extend(
            page["value"]
                .as_array()
                .unwrap()
                .iter()
                .map(|item| item["kid"].clone()),
        );
        assert!(listed.len() <= made.len());
        match page["nextLink"].as_str() {
            Some(link) => path = link.strip_prefix(contract.url()).unwrap().to_owned(),
            None => break,
        }
    }
    assert_eq!(listed, made);
    contract.remove("versions").await;
}

#[tokio::test]
async fn a_deleted_key_can_be_recovered_and_a_purged_one_restored_from_its_backup() {
    let contract = Contract::of("deletion");
    let made = contract
        .create("deleted", json!({"kty": "EC", "tags": {"a": "b"}}))
        .await;
    let name = contract.key("deleted");
    let blob = contract
        .post(&format!("/keys/{name}/backup"), json!({}))
        .await
        .success();
    assert_eq!(members(&blob), ["value"]);
    let deleted = contract
        .call("DELETE", &format!("/keys/{name}"), None)
        .await
        .success();
    let added = ["deletedDate", "recoveryId", "scheduledPurgeDate"];
    assert!(
        added
            .iter()
            .all(|member| members(&deleted).contains(member)),
        "{deleted}"
    );
    assert_eq!(
        contract.get(&format!("/keys/{name}")).await.error().1,
        "KeyNotFound"
    );
    let recovered = contract
        .post(&format!("/deletedkeys/{name}/recover"), json!({}))
        .await;
    assert_eq!(recovered.success()["key"]["kid"], made["key"]["kid"]);
    contract.remove("deleted").await;
    let restored = contract.post("/keys/restore", blob).await.success();
    assert_eq!(
        (&restored["key"]["x"], &restored["tags"]),
        (&made["key"]["x"], &made["tags"])
    );
    contract.remove("deleted").await;
}

#[tokio::test]
async fn a_rotation_policy_dates_the_next_version() {
    let contract = Contract::of("rotation");
    let made = contract.create("rotated", json!({"kty": "EC"})).await;
    let name = contract.key("rotated");
    let action = json!({"action": {"type": "rotate"}, "trigger": {"timeAfterCreate": "P30D"}});
    let policy = json!({"attributes": {"expiryTime": "P90D"}, "lifetimeActions": [action]});
    let path = format!("/keys/{name}/rotationpolicy");
    contract.call("PUT", &path, Some(policy)).await.success();
    let policy = contract.get(&path).await.success();
    assert_eq!(policy["attributes"]["expiryTime"], "P90D");
    assert_eq!(policy["lifetimeActions"], json!([action]));
    let rotated = contract
        .post(&format!("/keys/{name}/rotate"), json!({}))
        .await
        .success();
    assert_ne!(rotated["key"]["kid"], made["key"]["kid"]);
    let attributes = &rotated["attributes"];
    let lifetime = attributes["exp"].as_i64().unwrap() - attributes["created"].as_i64().unwrap();
    assert_eq!(lifetime, 90 * 86_400);
    contract.remove("rotated").await;
}

#[tokio::test]
async fn random_bytes_are_as_many_as_asked_for() {
    let contract = Contract::of("random bytes");
    for count in [1, 128] {
        let random = contract
            .post("/rng", json!({"count": count}))
            .await
            .success();
        assert_eq!(decode(&random["value"]).len(), count);
    }
}

#[tokio::test]
async fn built_in_roles_have_the_recorded_names() {
    let contract = Contract::of("roles");
    let path = "/providers/Microsoft.Authorization/roleDefinitions";
    let listed = contract.get(path).await.success();
    let names: Vec<_> = listed["value"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|role| role["properties"]["type"] == "AKVBuiltInRole")
        .map(|role| role["properties"]["roleName"].as_str().unwrap())
        .collect();
    for name in [
        "Managed HSM Administrator",
        "Managed HSM Crypto Officer",
        "Managed HSM Crypto User",
    ] {
        assert!(names.contains(&name), "{names:?}");
    }
}

#[tokio::test]
async fn errors_have_the_recorded_codes_and_texts() {
    let contract = Contract::of("errors");
    let none = contract.key("none");
    for (method, path, body, status, code, text) in [
        (
            "GET",
            format!("/keys/{none}"),
            None,
            404,
            "KeyNotFound",
            "Key not found: ",
        ),
        (
            "GET",
            "/keys/key%21@%23$".to_owned(),
            None,
            400,
            "BadParameter",
            "Invalid key identifier or name",
        ),
        (
            "POST",
            format!("/keys/{none}/create"),
            Some(json!({"kty": "oct-HSM", "key_size": 64})),
            400,
            "BadParameter",
            "Invalid key size: '64'",
        ),
        (
            "POST",
            "/rng".to_owned(),
            Some(json!({"count": 129})),
            400,
            "BadParameter",
            "GetRandomBytesRequest: count cannot be greater than 128 or less than 1",
        ),
        (
            "GET",
            "/settings/NoSuchSetting".to_owned(),
            None,
            400,
            "InvalidSetting",
            "Invalid setting name.",
        ),
    ] {
        if path.starts_with("/settings") && matches!(contract.target, Target::Real { .. }) {
            // It takes an administrator, which the token need not be of.
            continue;
        }
        let answer = contract.call(method, &path, body).await;
        let id = answer.headers["x-ms-request-id"]
            .to_str()
            .unwrap()
            .to_owned();
        let (got, got_code, message) = answer.error();
        assert_eq!(
            (got, got_code.as_str()),
            (status, code),
            "{method} {path}: {message}"
        );
        assert!(message.starts_with(text), "{message}");
        assert!(
            message.ends_with(&format!(" (Activity ID: {id})")),
            "{message}"
        );
    }
}
