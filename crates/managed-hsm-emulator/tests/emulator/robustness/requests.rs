//! Requests that are drawn by the schema: most of them nearly right.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

/// xorshift64*: the same requests for the same seed.
pub(super) struct Random(pub(super) u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    pub(super) fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() >> 33).unwrap() % bound
    }

    pub(super) fn one_in(&mut self, bound: usize) -> bool {
        self.below(bound) == 0
    }

    pub(super) fn of<'a, T: ?Sized>(&mut self, choices: &[&'a T]) -> &'a T {
        choices[self.below(choices.len())]
    }
}

/// Values that are right, by the names that rows have for them: they are of the emulator that is
/// asked.
pub(super) type Known = BTreeMap<&'static str, Value>;

/// A method, a path and the members of the body: names, or with `=` what is right for them, which
/// `$` looks up among what is known.
pub(super) type Row = (&'static str, &'static str, &'static [&'static str]);

pub(super) const PATHS: [Row; 78] = [
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
    ("POST", "/keys/{k}/{v}/secureunwrapkey", &UNWRAP),
    ("POST", "/keys/{k}/release", &["target", "enc", "nonce"]),
    ("POST", "/keys/{k}/backup", &[]),
    ("POST", "/keys/{k}/rotate", &[]),
    ("POST", "/keys/restore", &["value=$backup"]),
    ("GET", "/keys/{k}/rotationpolicy", &[]),
    ("PUT", "/keys/{k}/rotationpolicy", &POLICY),
    ("GET", "/keys/{k}/{v}/attestation", &[]),
    ("GET", "/deletedkeys", &[]),
    ("GET", "/deletedkeys/{k}", &[]),
    ("POST", "/deletedkeys/{k}/recover", &[]),
    ("DELETE", "/deletedkeys/{k}", &[]),
    ("POST", "/rng", &["count=$required"]),
    ("PATCH", "/settings/{k}", &["value"]),
    ("PUT", "/keys/{auth}/roleAssignments/{v}", &["properties"]),
    ("PUT", "/{auth}/roleDefinitions/{v}", &["properties"]),
    ("DELETE", "/{auth}/roleDefinitions/{v}", &[]),
    ("POST", "/generate-test-token", &["issuer", "key", "claims"]),
    // Of keys that are there, since few that are made above are.
    (
        "POST",
        "/keys/new-ec/create",
        &["kty=EC", "tags=$tags", "crv=P-384"],
    ),
    ("PUT", "/keys/new-import", &["key=$jwk", "tags=$tags"]),
    ("PATCH", "/keys/ec", &["tags=$tags", "attributes=$enabled"]),
    ("POST", "/keys/ec/sign", &["alg=ES256", "value=$digest"]),
    (
        "POST",
        "/keys/ec/verify",
        &["alg=ES256", "digest=$digest", "value"],
    ),
    (
        "POST",
        "/keys/oct/encrypt",
        &["alg=A256GCM", "value", "aad=AAAA"],
    ),
    (
        "POST",
        "/keys/oct/decrypt",
        &["alg=A256CBC", "value=$block", "iv=$block"],
    ),
    ("POST", "/keys/oct/wrapkey", &["alg=A256KW", "value=$block"]),
    ("POST", "/keys/exportable/release", &["target"]),
    (
        "PUT",
        "/keys/ec/rotationpolicy",
        &["lifetimeActions=$actions"],
    ),
    ("POST", "/keys/ec/rotate", &[]),
    (
        "PATCH",
        "/settings/AllowKeyManagementOperationsThroughARM",
        &["value=true"],
    ),
    // ML-DSA, with members that go together and one that doesn't.
    (
        "POST",
        "/keys/new-akp/create",
        &["kty=AKP-HSM", "alg=ML-DSA-44"],
    ),
    ("POST", "/keys/akp/sign", &["external_mu"]),
    ("POST", "/keys/akp/sign", &["value", "context"]),
    ("POST", "/keys/akp/sign", &["external_mu", "context"]),
    (
        "POST",
        "/keys/akp/verify",
        &["external_mu", "value=$signature"],
    ),
    (
        "POST",
        "/keys/akp/verify",
        &["digest=AAAA", "context", "value=$signature"],
    ),
    (
        "POST",
        "/keys/akp/verify",
        &["digest=AAAA", "external_mu", "value"],
    ),
    ("POST", "/keys/akp/backup", &[]),
    ("GET", "/keys/akp/attestation", &[]),
    // A key for secure wrap, and one of an external key manager.
    (
        "POST",
        "/keys/new-secure/create",
        &["kty=oct-HSM", "key_ops=$secure", "release_policy"],
    ),
    ("POST", "/keys/secure/securewrapkey", &["alg=A256KW"]),
    (
        "POST",
        "/keys/secure/secureunwrapkey",
        &["alg=A256KW", "value=$wrapped", "target"],
    ),
    (
        "POST",
        "/keys/new-external/create",
        &["attributes=$external"],
    ),
    (
        "POST",
        "/keys/new-external/create",
        &["kty", "attributes=$external"],
    ),
    // Of the whole HSM. No storage is named by http://, which is asked over the network.
    ("POST", "/prebackup", &STORAGE),
    ("POST", "/backup", &STORAGE),
    ("PUT", "/prerestore", &RESTORE),
    ("PUT", "/restore", &RESTORE),
    (
        "PUT",
        "/keys/{k}/restore",
        &["sasTokenParameters=$storage", "folder=$folder"],
    ),
    ("GET", "/backup/{v}/pending", &[]),
    ("GET", "/restore/{job}/pending", &[]),
    (
        "POST",
        "/securitydomain/download",
        &["certificates=$certificates", "required=$required"],
    ),
    ("GET", "/securitydomain/download/pending", &[]),
    ("GET", "/securitydomain/upload", &[]),
    ("POST", "/securitydomain/upload", &["value"]),
    ("GET", "/ekm", &[]),
    ("PATCH", "/ekm", &CONNECTION),
    ("POST", "/ekm/create", &CONNECTION),
    ("DELETE", "/ekm", &[]),
    ("POST", "/ekm/check", &[]),
    (
        "POST",
        "/ekm/privateendpoint/{k}",
        &["privateLinkServiceId=pls"],
    ),
];
/// Whether 2000 requests make at least one of this row that is carried out: it needs no key that
/// may not be there, and its members don't exclude each other.
pub(super) fn is_reached((_, path, members): &Row) -> bool {
    let has = |member| members.contains(&member);
    let excluded = has("external_mu") && (has("context") || has("digest=AAAA"));
    let may_miss = ["{k}", "{v}"].iter().any(|name| path.contains(name));
    !may_miss && !excluded && *path != "/securitydomain/upload"
}

const CREATE: [&str; 9] = [
    "kty",
    "alg",
    "crv",
    "key_size",
    "key_ops",
    "tags",
    "attributes",
    "public_exponent",
    "release_policy",
];
const OPERATION: [&str; 8] = [
    "alg",
    "value",
    "digest",
    "iv",
    "aad",
    "tag",
    "external_mu",
    "context",
];
const UNWRAP: [&str; 3] = ["alg", "value", "target"];
const POLICY: [&str; 2] = ["attributes", "lifetimeActions"];
const STORAGE: [&str; 3] = [
    "storageResourceUri=$container",
    "token=sas",
    "useManagedIdentity=$true",
];
const RESTORE: [&str; 2] = ["sasTokenParameters=$storage", "folderToRestore=$folder"];
const CONNECTION: [&str; 4] = [
    "host=proxy.contoso.com",
    "path_prefix=/api/v1",
    "server_ca_certificates=$ca",
    "server_subject_common_name=proxy",
];
const TEXTS: [&str; 26] = [
    "",
    "EC",
    "RSA",
    "oct",
    "AKP",
    "P-256",
    "ES256",
    "PS256",
    "RSNULL",
    "A256KW",
    "A128GCM",
    "A256CBCPAD",
    "RSA-OAEP",
    "HS256",
    "ML-DSA-65",
    "sign",
    "secureWrapKey",
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
const NAMES: [&str; 26] = [
    "enabled",
    "exportable",
    "nbf",
    "exp",
    "external_key",
    "id",
    "data",
    "kty",
    "alg",
    "crv",
    "x",
    "y",
    "d",
    "k",
    "n",
    "e",
    "pub",
    "roleDefinitionId",
    "principalId",
    "permissions",
    "action",
    "trigger",
    "type",
    "timeAfterCreate",
    "x5c",
    "storageResourceUri",
];

/// Values that are right for some members, and wrong for others.
fn value(random: &mut Random, depth: usize) -> Value {
    match random.below(if depth == 0 { 8 } else { 10 }) {
        0 => Value::Null,
        1 => json!(random.one_in(2)),
        2 => json!(random.of(&[&-1_i64, &0, &1, &32, &128, &256, &64, &i64::MAX, &i64::MIN])),
        3 => json!(1e300),
        4 => json!("A".repeat(random.below(120))),
        5 => json!("x".repeat(random.below(9000))),
        6 | 7 => json!(random.of(&TEXTS)),
        8 => (0..random.below(4))
            .map(|_| value(random, depth - 1))
            .collect(),
        _ => {
            let members = (0..random.below(6)).map(|_| {
                let name = random.of(&NAMES).to_owned();
                (name, value(random, depth - 1))
            });
            Value::Object(members.collect::<Map<_, _>>())
        }
    }
}

/// What is right for a member, if that can be said.
fn right(random: &mut Random, known: &Known, member: &str) -> Option<Value> {
    if let Some((_, text)) = member.split_once('=') {
        return Some(match text.strip_prefix('$') {
            Some(name) => known[name].clone(),
            None => json!(text),
        });
    }
    Some(match member {
        "kty" => json!(random.of(&["EC", "oct-HSM", "EC-HSM", "oct", "AKP-HSM"])),
        "key_size" => json!(random.of(&[&128, &192, &256])),
        "alg" => json!(random.of(&["ES256", "A256KW", "A256GCM", "HS256", "RS256", "ML-DSA-44"])),
        "value" => json!("A".repeat(random.of(&[&22, &32, &43]).to_owned())),
        "external_mu" => json!("A".repeat(86)),
        "context" => json!("AA"),
        "attributes" => known[random.of(&["enabled", "exportable", "external"])].clone(),
        "release_policy" | "target" => known[member].clone(),
        _ => return None,
    })
}

pub(super) fn body(random: &mut Random, known: &Known, members: &[&str]) -> Option<String> {
    match random.below(20) {
        0 => return None,
        1 => return Some("{".to_owned()),
        2 => return Some("[".repeat(5000)),
        3 => return Some(value(random, 3).to_string()),
        _ => {}
    }
    let mut object = Map::new();
    let is_whole = random.one_in(3);
    for member in members {
        if is_whole || !random.one_in(4) {
            let right = right(random, known, member).filter(|_| is_whole || !random.one_in(3));
            let name = member.split('=').next().unwrap_or_default();
            object.insert(name.to_owned(), right.unwrap_or_else(|| value(random, 3)));
        }
    }
    Some(Value::Object(object).to_string())
}

/// A row's path, with a query now and then.
pub(super) fn path(random: &mut Random, known: &Known, path: &str) -> String {
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
    let mut path = path
        .replace("{auth}", "providers/Microsoft.Authorization")
        .replace("{job}", known["job"].as_str().unwrap_or_default())
        .replace("{k}", key)
        .replace("{v}", version);
    if random.one_in(3) {
        let query = random.of(&[
            "?api-version=7.1",
            "?api-version=7.4",
            "?api-version=1",
            "?api-version=2026-01-01-preview",
            "?api-version=2026-05-01-preview",
            "?maxresults=0",
            "?maxresults=-1&$skiptoken=x",
            "?%=%&&=",
            "?maxresults=99999999999999999999",
            "?api-version=2025-07-01&maxresults=2",
        ]);
        path.push_str(query);
    }
    path
}

/// One document or another in which a byte, a piece or a member is another.
pub(super) fn damaged(random: &mut Random, text: &str) -> String {
    let mut bytes = text.as_bytes().to_vec();
    for _ in 0..=random.below(3) {
        let at = random.below(bytes.len());
        let length = random.below(bytes.len() - at).min(90);
        match random.below(5) {
            0 => bytes[at] = b"A0.{}[]\",:_"[random.below(11)],
            1 => bytes.truncate(at.max(1)),
            2 => drop(bytes.drain(at..at + length)),
            3 => {
                let piece = bytes[at..at + length].to_vec();
                bytes.splice(at..at, piece);
            }
            _ => bytes.insert(at, b"A0.{}[]\",:_"[random.below(11)]),
        }
        if bytes.is_empty() {
            bytes.push(b'{');
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
