//! Requests of every form, and many clients at a time.

mod requests;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use openssl::pkey::PKey;
use openssl::rsa::Rsa;
use serde_json::{Value, json};

use crate::full_backups::{certificate, finished};
use crate::release::{attest, policy};
use crate::running::Emulator;
use requests::{Known, PATHS, Random};

/// Requests that `any_request_is_answered` sends, unless AKV_FUZZ_REQUESTS says otherwise.
const REQUESTS: u64 = 2000;
/// What they are drawn from, unless AKV_FUZZ_SEED says otherwise.
const SEED: u64 = 0x5EED;
/// Uploads that `any_security_domain_is_answered` tries.
const DOMAINS: u64 = 300;
/// Seconds that `no_client_of_many_loses_anything` lasts, unless AKV_LOAD_SECONDS says otherwise.
const LOAD_SECONDS: u64 = 5;
const CLIENTS: usize = 64;

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |text| text.parse().expect(variable))
}

/// Keys, an attestation, storage and certificates that are right, for what can only be asked with
/// them.
async fn known(emulator: &Emulator) -> Known {
    let create = async |name: &str, body: Value| {
        let made = emulator.post(&format!("/keys/{name}/create"), body).await;
        made.success()
    };
    create("anchor", json!({"kty": "EC"})).await;
    create("akp", json!({"kty": "AKP-HSM", "alg": "ML-DSA-44"})).await;
    create("ec", json!({"kty": "EC"})).await;
    create("oct", json!({"kty": "oct"})).await;
    let body = json!({"kty": "EC", "attributes": {"exportable": true}, "release_policy": policy()});
    create("exportable", body).await;
    emulator.set_rotation_policy("ec").await;
    create("b", json!({"kty": "EC"})).await;
    let backup = emulator.post("/keys/b/backup", json!({})).await.success();
    emulator.delete("/keys/b").await.success();
    emulator.delete("/deletedkeys/b").await;
    let secure = json!(["secureWrapKey", "secureUnwrapKey"]);
    let body = json!({"kty": "oct-HSM", "key_ops": secure, "release_policy": policy()});
    create("secure", body).await;
    let wrap = json!({"alg": "A256KW"});
    let wrapped = emulator.post("/keys/secure/securewrapkey", wrap).await;
    let key = Rsa::generate(2048).unwrap();
    let target = attest(emulator, &key, false).await;
    let sign = json!({"external_mu": "A".repeat(86)});
    let signed = emulator.post("/keys/akp/sign", sign).await.success();
    let certificate = certificate(&PKey::from_rsa(key).unwrap());
    let container = format!("{}/backups", emulator.url);
    let storage = json!({"storageResourceUri": container, "token": "sas"});
    let begun = emulator.post("/backup", storage.clone()).await;
    let done = finished(emulator, begun).await;
    let folder = done["azureStorageBlobContainerUri"].as_str().unwrap();
    let folder = folder.rsplit_once('/').unwrap().1;
    let restore = json!({"sasTokenParameters": storage, "folderToRestore": folder});
    let begun = emulator.call("PUT", "/restore", Some(restore)).await;
    let rotate = json!({"action": {"type": "Rotate"}, "trigger": {"timeAfterCreate": "P2Y"}});
    Known::from([
        ("actions", json!([rotate])),
        ("backup", backup["value"].clone()),
        ("block", json!("A".repeat(22))),
        ("ca", json!([certificate["x5c"][0]])),
        (
            "certificates",
            json!([certificate, certificate, certificate]),
        ),
        ("container", json!(container)),
        ("digest", json!("A".repeat(43))),
        ("enabled", json!({"enabled": true})),
        ("exportable", json!({"exportable": true})),
        ("external", json!({"external_key": {"id": "ec-1"}})),
        ("folder", json!(folder)),
        ("job", begun.json()["jobId"].clone()),
        ("jwk", json!({"kty": "oct", "k": "A".repeat(43)})),
        ("release_policy", policy()),
        ("required", json!(2)),
        ("secure", secure),
        ("signature", signed["value"].clone()),
        ("storage", storage),
        ("tags", json!({"a": "b"})),
        ("target", json!(target)),
        ("true", json!(true)),
        ("wrapped", wrapped.success()["value"].clone()),
    ])
}

/// Sends a request, which has to get an answer that isn't the emulator's failure, and which says
/// what is wrong if something is. Returns the status.
async fn answered(
    emulator: &Emulator,
    (method, path): (&str, &str),
    body: Option<String>,
    place: &str,
) -> u16 {
    let what = format!("{place}: {method} {path} {body:?}");
    let sent = emulator.send_owned(method, path, body);
    let answer = tokio::time::timeout(Duration::from_secs(60), sent).await;
    let answer = answer.unwrap_or_else(|_| panic!("no answer: {what}"));
    assert!(answer.status.as_u16() < 500, "{}: {what}", answer.body);
    if !answer.status.is_success() && !path.starts_with("/generate-test-token") {
        let (_, code, message) = answer.error();
        assert!(!code.is_empty() && !message.is_empty(), "{what}");
    }
    if answer.status.is_success() && !answer.body.is_empty() {
        // Which looks at its values, too.
        answer.json();
    }
    answer.status.as_u16()
}

#[tokio::test]
async fn any_request_is_answered() {
    let folder = tempfile::tempdir().unwrap();
    let emulator = Emulator::start(folder.path());
    let known = known(&emulator).await;
    let seed = number("AKV_FUZZ_SEED", SEED);
    let count = number("AKV_FUZZ_REQUESTS", REQUESTS);
    let mut random = Random(seed);
    let mut statuses = BTreeMap::<u16, u64>::new();
    let mut reached = BTreeSet::new();
    for index in 0..count {
        let row = random.below(PATHS.len());
        let (method, row_path, members) = PATHS[row];
        let path = requests::path(&mut random, &known, row_path);
        let body = match method {
            "GET" | "DELETE" => None,
            _ => requests::body(&mut random, &known, members),
        };
        let place = format!("seed {seed}, request {index}");
        let status = answered(&emulator, (method, &path), body, &place).await;
        *statuses.entry(status).or_default() += 1;
        if (200..300).contains(&status) {
            reached.insert(row);
        }
    }
    emulator.get("/keys/anchor").await.success();
    println!("answers by status: {statuses:?}");
    let missed = (0..PATHS.len()).filter(|row| !reached.contains(row));
    let missed = missed.map(|row| PATHS[row]).filter(requests::is_reached);
    let missed: Vec<_> = missed.collect();
    println!("without a success: {missed:?}");
    // Other requests may miss a row by chance.
    if (seed, count) == (SEED, REQUESTS) {
        assert!(missed.is_empty(), "{missed:?}");
    }
}

/// An HSM without keys takes a security domain, whatever it is made of.
#[tokio::test]
async fn any_security_domain_is_answered() {
    let folder = tempfile::tempdir().unwrap();
    let emulator = Emulator::start(folder.path());
    let certificate = certificate(&PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap());
    let wanted = json!({"certificates": [certificate, certificate, certificate], "required": 2});
    let downloaded = emulator.post("/securitydomain/download", wanted).await;
    let mut domain: Value = serde_json::from_str(downloaded.json()["value"].as_str().unwrap())
        .expect("a domain is JSON");
    // As who puts the shares together has it, though not for this HSM's transfer key.
    domain["WrappedKey"] = domain["SharedKeys"]["enc_shares"][0].clone();
    let domain = domain.to_string();
    let seed = number("AKV_FUZZ_SEED", SEED);
    let mut random = Random(seed);
    for index in 0..DOMAINS {
        let body = json!({"value": requests::damaged(&mut random, &domain)}).to_string();
        let place = format!("seed {seed}, request {index}");
        let asked = ("POST", "/securitydomain/upload");
        let status = answered(&emulator, asked, Some(body), &place).await;
        assert_eq!(status, 400, "{place}");
    }
    // It is the HSM that it was.
    let create = json!({"kty": "EC"});
    emulator.post("/keys/k/create", create).await.success();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_client_of_many_loses_anything() {
    let folder = tempfile::tempdir().unwrap();
    let emulator = Emulator::start_with(folder.path(), &["--control-port", "0"]);
    let end = Instant::now() + Duration::from_secs(number("AKV_LOAD_SECONDS", LOAD_SECONDS));
    let emulator = std::sync::Arc::new(emulator);
    let clients: Vec<_> = (0..CLIENTS)
        .map(|index| {
            let emulator = std::sync::Arc::clone(&emulator);
            tokio::spawn(async move {
                let client = emulator.another_client();
                let mut versions = 0_u64;
                let mut signatures = 0_u64;
                while Instant::now() < end {
                    // At most 100 versions of a key.
                    let key = format!("/keys/load-{index}-{}", versions / 100);
                    let create = json!({"kty": "EC", "tags": {"n": versions.to_string()}});
                    let path = format!("{key}/create");
                    let created = emulator.post_by(&client, &path, &create).await.success();
                    versions += 1;
                    let kid = created["key"]["kid"].as_str().unwrap().to_owned();
                    for _ in 0..10 {
                        let sign = json!({"alg": "ES256", "value": "A".repeat(43)});
                        let path = format!("{key}/sign");
                        let signed = emulator.post_by(&client, &path, &sign).await.success();
                        assert_eq!(signed["kid"], kid);
                        signatures += 1;
                    }
                }
                (index, versions, signatures)
            })
        })
        .collect();
    let mut done = Vec::new();
    for client in clients {
        done.push(client.await.unwrap());
    }
    let signatures: u64 = done.iter().map(|(_, _, signatures)| signatures).sum();
    let created: u64 = done.iter().map(|(_, versions, _)| versions).sum();
    println!("{CLIENTS} clients: {created} keys made, {signatures} signatures");
    let (_, metrics) = emulator.control("GET", "/metrics", "").await;
    for (operation, count) in [("create", created), ("sign", signatures)] {
        let line = format!(
            "mhsm_requests_total{{hsm=\"default\",operation=\"{operation}\",status=\"200\"}} {count}"
        );
        assert!(
            metrics.lines().any(|found| found == line),
            "{line}: {metrics}"
        );
    }
    std::sync::Arc::into_inner(emulator).unwrap().kill();

    let emulator = Emulator::start(folder.path());
    for (index, versions, _) in done {
        let last = versions - 1;
        let path = format!("/keys/load-{index}-{}", last / 100);
        let kept = emulator.get(&path).await.success();
        assert_eq!(kept["tags"]["n"], last.to_string(), "{path}");
    }
}
