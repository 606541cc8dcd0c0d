//! Keys as resources: versions, pages, deletion, and what is refused.

use serde_json::{Value, json};

use crate::running::Emulator;

#[tokio::test]
async fn lists_come_in_pages_that_follow_each_other_without_api_version() {
    let folder = tempfile::tempdir().unwrap();
    let emulator = Emulator::start(folder.path());
    for index in 0..28 {
        let path = format!("/keys/k{index}/create");
        emulator.post(&path, json!({"kty": "EC"})).await.success();
    }
    for (query, pages) in [("", 2), ("&maxresults=10", 3), ("&maxresults=7", 4)] {
        let mut path = format!("/keys?api-version=7.4{query}");
        let mut names = Vec::new();
        let mut count = 0;
        loop {
            let page = emulator.get(&path).await.success();
            count += 1;
            assert!(count <= pages, "{query}");
            for item in page["value"].as_array().unwrap() {
                let kid = item["kid"].as_str().unwrap();
                names.push(kid.rsplit_once('/').unwrap().1.to_owned());
            }
            match page["nextLink"].as_str() {
                Some(link) => path = link.strip_prefix(&emulator.url).unwrap().to_owned(),
                None => break,
            }
        }
        assert_eq!(count, pages, "{query}");
        assert_eq!(
            names,
            (0..28).map(|index| format!("k{index}")).collect::<Vec<_>>()
        );
    }
}

#[tokio::test]
async fn versions_are_listed_oldest_first_and_the_newest_is_the_key() {
    let folder = tempfile::tempdir().unwrap();
    let emulator = Emulator::start(folder.path());
    let mut kids = Vec::new();
    for path in ["/keys/k/create", "/keys/K/create", "/keys/k/rotate"] {
        if path.ends_with("rotate") {
            emulator.set_rotation_policy("k").await;
        }
        let made = emulator
            .post(path, json!({"kty": "EC", "crv": "P-384"}))
            .await
            .success();
        assert_eq!(made["key"]["crv"], "P-384");
        kids.push(made["key"]["kid"].clone());
    }
    let listed = emulator.get("/keys/k/versions").await.success();
    let listed: Vec<Value> = listed["value"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| item["kid"].clone())
        .collect();
    assert_eq!(listed, kids);
    assert_eq!(
        emulator.get("/keys/k//").await.success()["key"]["kid"],
        kids[2]
    );
}

#[tokio::test]
async fn a_deleted_key_can_be_recovered_until_it_is_purged() {
    let folder = tempfile::tempdir().unwrap();
    let emulator = Emulator::start(folder.path());
    let body = json!({"kty": "EC"});
    emulator
        .post("/keys/k/create", body.clone())
        .await
        .success();
    let deleted = emulator.delete("/keys/k").await.success();
    assert_eq!(
        deleted["recoveryId"],
        format!("{}/deletedkeys/k", emulator.url)
    );
    assert_eq!(emulator.get("/keys/k").await.status, 404);
    assert_eq!(
        emulator.post("/keys/k/create", body.clone()).await.status,
        409
    );
    let list = emulator.get("/deletedkeys").await.success();
    assert_eq!(list["value"].as_array().unwrap().len(), 1);
    emulator
        .post("/deletedkeys/k/recover", json!({}))
        .await
        .success();
    emulator.get("/keys/k").await.success();
    emulator.delete("/keys/k").await.success();
    let purged = emulator.delete("/deletedkeys/k").await;
    assert_eq!((purged.status.as_u16(), purged.body.as_str()), (204, ""));
    assert_eq!(emulator.get("/deletedkeys/k").await.status, 404);
    emulator.post("/keys/k/create", body).await.success();
}

#[tokio::test]
async fn keys_are_made_in_every_kind_and_size() {
    let folder = tempfile::tempdir().unwrap();
    let emulator = Emulator::start(folder.path());
    for (body, kty, modulus) in [
        (json!({"kty": "RSA"}), "RSA-HSM", Some(342)),
        (
            json!({"kty": "RSA-HSM", "key_size": 3072}),
            "RSA-HSM",
            Some(512),
        ),
        (
            json!({"kty": "RSA", "public_exponent": 3}),
            "RSA-HSM",
            Some(342),
        ),
        (json!({"kty": "EC-HSM", "crv": "P-256K"}), "EC-HSM", None),
        (json!({"kty": "oct", "key_size": 128}), "oct-HSM", None),
    ] {
        let made = emulator
            .post("/keys/k/create", body.clone())
            .await
            .success();
        assert_eq!(made["key"]["kty"], kty);
        assert_eq!(made["key"]["n"].as_str().map(str::len), modulus, "{body}");
        assert!(made["key"].get("d").is_none() && made["key"].get("k").is_none());
    }
}

/// As recorded by azure-sdk-for-net, in `ManagedHsmLiveTests/GetDeletedKeys`.
#[tokio::test]
async fn the_next_page_has_the_path_that_was_asked_for_and_a_size() {
    let folder = tempfile::tempdir().unwrap();
    let emulator = Emulator::start(folder.path());
    for number in 0..26 {
        let path = format!("/keys/k{number}/create");
        let body = json!({"kty": "oct"});
        emulator.post(&path, body).await.success();
    }
    for (path, query, expected) in [
        ("/keys", "", "/keys?maxresults=25&$skiptoken="),
        ("/keys/", "", "/keys/?maxresults=25&$skiptoken="),
        ("/keys/", "&maxresults=3", "/keys/?maxresults=3&$skiptoken="),
    ] {
        let asked = format!("{path}?api-version=7.3{query}");
        let page = emulator.get(&asked).await.success();
        let next = page["nextLink"].as_str().unwrap();
        let expected = format!("{}{expected}", emulator.url);
        assert!(next.starts_with(&expected), "{next}");
        emulator.get(next).await.success();
    }
}

#[tokio::test]
async fn an_rsa_key_has_the_public_exponent_that_was_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let emulator = Emulator::start(folder.path());
    for (exponent, e) in [
        (3, "Aw"),
        (5, "BQ"),
        (9, "CQ"),
        (17, "EQ"),
        (65537, "AQAB"),
        (4294967295_i64, "_____w"),
    ] {
        let body = json!({"kty": "RSA-HSM", "public_exponent": exponent});
        let made = emulator.post("/keys/k/create", body).await.success();
        assert_eq!(made["key"]["e"], e);
    }
    // The next version of a key has it, too.
    let body = json!({"kty": "RSA-HSM", "public_exponent": 17});
    emulator.post("/keys/r/create", body).await.success();
    emulator.set_rotation_policy("r").await;
    let rotated = emulator.post("/keys/r/rotate", json!({})).await.success();
    assert_eq!(rotated["key"]["e"], "EQ");
    for exponent in [-3, 0, 1, 2, 65536, 4294967297_i64] {
        let body = json!({"kty": "RSA-HSM", "public_exponent": exponent});
        let (status, code, _) = emulator.post("/keys/k/create", body).await.error();
        assert_eq!((status, code.as_str()), (400, "BadParameter"), "{exponent}");
    }
}

fn tags(count: usize) -> Value {
    let tags = (0..count).map(|number| (format!("tag-{number}"), json!("value")));
    Value::Object(tags.collect())
}

#[tokio::test]
async fn a_key_has_up_to_15_tags_and_100_versions() {
    let folder = tempfile::tempdir().unwrap();
    let emulator = Emulator::start(folder.path());
    let body = json!({"kty": "oct", "tags": tags(15)});
    for _ in 0..100 {
        let path = "/keys/k/create";
        emulator.post(path, body.clone()).await.success();
    }
    emulator.set_rotation_policy("k").await;
    for path in ["/keys/k/create", "/keys/k/rotate"] {
        let (status, _, message) = emulator.post(path, body.clone()).await.error();
        assert_eq!(status, 400);
        assert!(message.contains("100 versions"), "{message}");
    }
    // All of it fits into a backup that can be sent back.
    let blob = emulator.post("/keys/k/backup", json!({})).await.success();
    emulator.delete("/keys/k").await.success();
    assert_eq!(emulator.delete("/deletedkeys/k").await.status, 204);
    emulator.post("/keys/restore", blob).await.success();
}

#[tokio::test]
async fn nonsense_is_refused_with_an_error_that_says_what_is_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let emulator = Emulator::start(folder.path());
    emulator
        .post("/keys/k/create", json!({"kty": "EC"}))
        .await
        .success();
    for (method, path, body, status, text) in [
        (
            "POST",
            "/keys/a/create",
            Some(json!({})),
            400,
            "kty is missing",
        ),
        (
            "POST",
            "/keys/a/create",
            Some(json!({"kty": "DSA"})),
            400,
            "DSA",
        ),
        (
            "POST",
            "/keys/a/create",
            Some(json!({"kty": "RSA", "key_size": 64})),
            400,
            "Invalid key size: '64'",
        ),
        (
            "POST",
            "/keys/a/create",
            Some(json!({"kty": "RSA", "key_size": -1})),
            400,
            "'-1'",
        ),
        (
            "POST",
            "/keys/a/create",
            Some(json!({"kty": "EC", "crv": "P-192"})),
            400,
            "P-192",
        ),
        (
            "POST",
            "/keys/a/create",
            Some(json!({"kty": "EC", "key_ops": ["dance"]})),
            400,
            "dance",
        ),
        (
            "POST",
            "/keys/a/create",
            Some(json!({"kty": "EC", "key_ops": ["sign", "encrypt"]})),
            400,
            "'encrypt' is none of a key of type 'EC-HSM'",
        ),
        (
            "PATCH",
            "/keys/k",
            Some(json!({"key_ops": ["wrapKey"]})),
            400,
            "wrapKey",
        ),
        (
            "POST",
            "/keys/a/create",
            Some(json!({"kty": "EC", "tags": tags(16)})),
            400,
            "15 tags",
        ),
        ("POST", "/keys/a/create", Some(json!([])), 400, "JSON"),
        ("POST", "/keys/a/create", None, 400, "JSON"),
        (
            "POST",
            "/rng",
            Some(json!({"count": 0})),
            400,
            "count cannot be",
        ),
        ("POST", "/rng", Some(json!({"count": "x"})), 400, "JSON"),
        (
            "POST",
            "/keys/k/dance",
            Some(json!({})),
            400,
            "action 'dance' not supported",
        ),
        (
            "POST",
            "/keys/k/encrypt",
            Some(json!({"alg": "A256GCM", "value": "AA"})),
            403,
            "Operation encrypt is not permitted on this key",
        ),
        ("GET", "/keys?maxresults=0", None, 400, "maxresults"),
        ("GET", "/keys?$skiptoken=%ff", None, 400, "skiptoken"),
        ("GET", "/keys?api-version=1.0", None, 400, "1.0"),
        ("GET", "/keys/none", None, 404, "/keys/none"),
        ("GET", "/keys/k/0123", None, 404, "/keys/k/0123"),
        ("PATCH", "/keys/none", Some(json!({})), 404, "/keys/none"),
        ("GET", "/secrets", None, 404, "/secrets"),
        ("PUT", "/keys/k/versions", None, 405, "PUT"),
        ("HEAD", "/keys", None, 405, ""),
    ] {
        let answer = emulator.call(method, path, body).await;
        assert_eq!(answer.status, status, "{method} {path}: {}", answer.body);
        assert!(
            answer.body.contains(text),
            "{method} {path}: {}",
            answer.body
        );
    }
}

#[tokio::test]
async fn a_body_beyond_the_limit_is_refused_and_the_emulator_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let emulator = Emulator::start(folder.path());
    let body = json!({"kty": "EC", "padding": "x".repeat(2 << 20)});
    assert_eq!(emulator.post("/keys/k/create", body).await.status, 413);
    emulator.get("/keys").await.success();
}

/// As recorded by azure-sdk-for-go, in `TestUpdateKeyProperties_HSM`.
#[tokio::test]
async fn no_operations_are_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let emulator = Emulator::start(folder.path());
    let body = json!({"kty": "RSA", "key_ops": ["sign"]});
    emulator.post("/keys/k/create", body).await.success();
    let body = Some(json!({"key_ops": [], "tags": {"Tag1": "Val1"}}));
    let path = "/keys/k/?api-version=7.3-preview";
    let updated = emulator.call("PATCH", path, body).await.success();
    let deleted = emulator.delete("/keys/k").await.success();
    let shown = emulator.get("/deletedkeys/k").await.success();
    for key in [updated, deleted, shown] {
        let members: Vec<&String> = key["key"].as_object().unwrap().keys().collect();
        assert_eq!(members, ["e", "kid", "kty", "n"]);
        assert_eq!(key["tags"]["Tag1"], "Val1");
    }
    // So are no tags.
    emulator
        .post("/deletedkeys/k/recover", json!({}))
        .await
        .success();
    let body = Some(json!({"tags": {}}));
    let updated = emulator.call("PATCH", "/keys/k", body).await.success();
    let listed = emulator.get("/keys").await.success();
    for key in [&updated, &listed["value"][0]] {
        assert_eq!(key.get("tags"), None);
    }
}

#[tokio::test]
async fn the_size_of_a_symmetric_key_is_told_since_a_preview_of_2026() {
    let folder = tempfile::tempdir().unwrap();
    let emulator = Emulator::start(folder.path());
    for (name, body) in [
        ("a", json!({"kty": "oct-HSM", "key_size": 192})),
        ("e", json!({"kty": "EC-HSM"})),
    ] {
        let path = format!("/keys/{name}/create?api-version=7.4");
        emulator.post(&path, body).await.success();
    }
    for (version, told) in [
        ("7.4", Value::Null),
        ("2025-07-01", Value::Null),
        ("2026-01-01-preview", json!(192)),
        ("2026-05-01-preview", json!(192)),
    ] {
        let get = async |path: &str| {
            let path = format!("{path}?api-version={version}");
            emulator.get(&path).await.success()
        };
        assert_eq!(get("/keys/a").await["attributes"]["key_size"], told);
        let listed = get("/keys").await;
        assert_eq!(listed["value"][0]["attributes"]["key_size"], told);
        assert!(get("/keys/e").await["attributes"]["key_size"].is_null());
    }
}
