//! Requests of every form, and many clients at a time.

use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

use crate::running::Emulator;

/// Requests that `any_request_is_answered` sends, unless AKV_FUZZ_REQUESTS says otherwise.
const REQUESTS: u64 = 2000;
/// Seconds that `no_client_of_many_loses_anything` lasts, unless AKV_LOAD_SECONDS says otherwise.
const LOAD_SECONDS: u64 = 5;
const CLIENTS: usize = 64;

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |text| text.parse().expect(variable))
}

/// xorshift64*: the same requests for the same seed.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() >> 33).unwrap() % bound
    }

    fn one_in(&mut self, bound: usize) -> bool {
        self.below(bound) == 0
    }

    fn of<'a, T: ?Sized>(&mut self, choices: &[&'a T]) -> &'a T {
        choices[self.below(choices.len())]
    }
}

const PATHS: [(&str, &str, &[&str]); 35] = [
    ("POST", "/keys/{k}/create", &CREATE),
    ("PUT", "/keys/{k}", &["key", "tags", "attributes"]),
    ("GET", "/keys/{k}", &[]),
    ("GET", "/keys/{k}/{v}", &[]),
    ("PATCH", "/keys/{k}", &CREATE),
    ("PATCH", "/keys/{k}/{v}", &CREATE),
    ("DELETE", "/keys/{k}", &[]),
    ("GET", "/keys", &[]),
    ("GET", "/keys/{k}/versions", &[]),
    ("POST", "/keys/{k}/sign", &OPERATION),
    ("POST", "/keys/{k}/{v}/sign", &OPERATION),
    ("POST", "/keys/{k}/verify", &OPERATION),
    ("POST", "/keys/{k}/encrypt", &OPERATION),
    ("POST", "/keys/{k}/decrypt", &OPERATION),
    ("POST", "/keys/{k}/wrapkey", &OPERATION),
    ("POST", "/keys/{k}/unwrapkey", &OPERATION),
    ("POST", "/keys/{k}/securewrapkey", &OPERATION),
    (
        "POST",
        "/keys/{k}/{v}/secureunwrapkey",
        &["alg", "value", "target"],
    ),
    ("POST", "/keys/{k}/release", &["target", "enc", "nonce"]),
    ("POST", "/keys/{k}/backup", &[]),
    ("POST", "/keys/{k}/rotate", &[]),
    ("POST", "/keys/restore", &["value"]),
    ("GET", "/keys/{k}/rotationpolicy", &[]),
    ("PUT", "/keys/{k}/rotationpolicy", &POLICY),
    ("GET", "/keys/{k}/{v}/attestation", &[]),
    ("GET", "/deletedkeys", &[]),
    ("GET", "/deletedkeys/{k}", &[]),
    ("POST", "/deletedkeys/{k}/recover", &[]),
    ("DELETE", "/deletedkeys/{k}", &[]),
    ("POST", "/rng", &["count"]),
    ("PATCH", "/settings/{k}", &["value"]),
    (
        "PUT",
        "/keys/providers/Microsoft.Authorization/roleAssignments/{v}",
        &["properties"],
    ),
    (
        "PUT",
        "/providers/Microsoft.Authorization/roleDefinitions/{v}",
        &["properties"],
    ),
    (
        "DELETE",
        "/providers/Microsoft.Authorization/roleDefinitions/{v}",
        &[],
    ),
    ("POST", "/generate-test-token", &["issuer", "key", "claims"]),
];
const CREATE: [&str; 8] = [
    "kty",
    "crv",
    "key_size",
    "key_ops",
    "tags",
    "attributes",
    "public_exponent",
    "release_policy",
];
const OPERATION: [&str; 6] = ["alg", "value", "digest", "iv", "aad", "tag"];
const POLICY: [&str; 2] = ["attributes", "lifetimeActions"];

/// Values that are right for some members, and wrong for others.
fn value(random: &mut Random, depth: usize) -> Value {
    let texts = [
        "",
        "EC",
        "RSA",
        "oct",
        "P-256",
        "ES256",
        "PS256",
        "RSNULL",
        "A256KW",
        "A128GCM",
        "A256CBCPAD",
        "RSA-OAEP",
        "HS256",
        "sign",
        "P90D",
        "rotate",
        "AAAA",
        "A",
        "=",
        "é\u{0}\u{1F511}",
        "../..",
        "AllowKeyManagementOperationsThroughARM",
        "true",
    ];
    match random.below(if depth == 0 { 8 } else { 10 }) {
        0 => Value::Null,
        1 => json!(random.one_in(2)),
        2 => json!(random.of(&[&-1_i64, &0, &1, &32, &128, &256, &64, &i64::MAX, &i64::MIN])),
        3 => json!(1e300),
        4 => json!("A".repeat(random.below(120))),
        5 => json!("x".repeat(random.below(9000))),
        6 | 7 => json!(random.of(&texts)),
        8 => (0..random.below(4))
            .map(|_| value(random, depth - 1))
            .collect(),
        _ => {
            let names = [
                "enabled",
                "exportable",
                "nbf",
                "exp",
                "data",
                "kty",
                "crv",
                "x",
                "y",
                "d",
                "k",
                "n",
                "e",
                "roleDefinitionId",
                "principalId",
                "permissions",
                "action",
                "trigger",
                "type",
                "timeAfterCreate",
            ];
            let members = (0..random.below(6)).map(|_| {
                let name = random.of(&names).to_owned();
                (name, value(random, depth - 1))
            });
            Value::Object(members.collect::<Map<_, _>>())
        }
    }
}

fn body(random: &mut Random, members: &[&str]) -> Option<String> {
    match random.below(20) {
        0 => return None,
        1 => return Some("{".to_owned()),
        2 => return Some("[".repeat(5000)),
        3 => return Some(value(random, 3).to_string()),
        _ => {}
    }
    let mut object = Map::new();
    for member in members {
        if !random.one_in(4) {
            let right = match *member {
                "kty" => Some(json!(random.of(&["EC", "oct-HSM", "EC-HSM", "oct"]))),
                "key_size" => Some(json!(random.of(&[&128, &192, &256]))),
                "alg" => Some(json!(
                    random.of(&["ES256", "A256KW", "A256GCM", "HS256", "RS256"])
                )),
                "value" => Some(json!("A".repeat(random.of(&[&22, &32, &43]).to_owned()))),
                _ => None,
            };
            let right = right.filter(|_| !random.one_in(3));
            let member = (*member).to_owned();
            object.insert(member, right.unwrap_or_else(|| value(random, 3)));
        }
    }
    Some(Value::Object(object).to_string())
}

#[tokio::test]
async fn any_request_is_answered() {
    let folder = tempfile::tempdir().unwrap();
    let emulator = Emulator::start(folder.path());
    emulator
        .post("/keys/anchor/create", json!({"kty": "EC"}))
        .await
        .success();
    let seed = number("AKV_FUZZ_SEED", 0x5EED);
    let mut random = Random(seed);
    let mut statuses = std::collections::BTreeMap::<u16, u64>::new();
    for index in 0..number("AKV_FUZZ_REQUESTS", REQUESTS) {
        let (method, path, members) = PATHS[random.below(PATHS.len())];
        let key = random.of(&["a", "b", "c", "d", "a-b", "..", "%00", "%2F", "é", "a_b"]);
        let version = random.of(&[
            "",
            "0",
            "ffffffffffffffffffffffffffffffff",
            "%",
            "create",
            "?",
            "🔑",
        ]);
        let mut path = path.replace("{k}", key).replace("{v}", version);
        if random.one_in(3) {
            let query = random.of(&[
                "?api-version=7.4",
                "?api-version=1",
                "?maxresults=0",
                "?maxresults=-1&$skiptoken=x",
                "?%=%&&=",
                "?maxresults=99999999999999999999",
                "?api-version=2025-07-01&maxresults=2",
            ]);
            path.push_str(query);
        }
        let body = match method {
            "GET" | "DELETE" => None,
            _ => body(&mut random, members),
        };
        let what = format!("seed {seed}, request {index}: {method} {path} {body:?}");
        let sent = emulator.send_owned(method, &path, body);
        let answer = tokio::time::timeout(Duration::from_secs(60), sent).await;
        let answer = answer.unwrap_or_else(|_| panic!("no answer: {what}"));
        assert!(answer.status.as_u16() < 500, "{}: {what}", answer.body);
        *statuses.entry(answer.status.as_u16()).or_default() += 1;
        if !answer.status.is_success() && !path.starts_with("/generate-test-token") {
            let (_, code, message) = answer.error();
            assert!(!code.is_empty() && !message.is_empty(), "{what}");
        }
    }
    emulator.get("/keys/anchor").await.success();
    println!("answers by status: {statuses:?}");
    // Or else the requests were too bad to reach anything.
    assert!(statuses[&200] > 100, "{statuses:?}");
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
