//! What an HSM does not take: too many keys, too long tags, what it can't do at once; and deleted
//! keys that stay.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::running::{Emulator, program, text};

#[tokio::test]
async fn an_hsm_has_no_more_keys_than_it_can_have() {
    let folder = tempfile::tempdir().unwrap();
    let emulator = Emulator::start_with(folder.path(), &["--max-keys", "2", "--vault", "contoso"]);
    let body = json!({"kty": "oct"});
    let create = async |name: &str| {
        let path = format!("/keys/{name}/create");
        emulator.post(&path, body.clone()).await
    };
    create("a").await.success();
    let backup = emulator.post("/keys/a/backup", json!({})).await.success();
    create("b").await.success();
    let (status, code, message) = create("c").await.error();
    assert_eq!((status, code.as_str()), (400, "BadParameter"));
    assert!(message.contains("2 keys, which is the limit"), "{message}");
    // A version is no key, and a deleted key is one until it is purged.
    create("a").await.success();
    emulator.delete("/keys/b").await.success();
    assert_eq!(create("c").await.status, 400);
    assert_eq!(emulator.delete("/deletedkeys/b").await.status, 204);
    create("c").await.success();
    emulator.delete("/keys/a").await.success();
    assert_eq!(emulator.delete("/deletedkeys/a").await.status, 204);
    create("d").await.success();
    assert_eq!(emulator.post("/keys/restore", backup).await.status, 400);
    let token = emulator.token(&["--audience", "https://vault.azure.net"]);
    for name in ["a", "b", "c"] {
        let vault = &emulator.further["vault contoso"];
        let url = format!("{vault}/keys/{name}/create?api-version=7.4");
        let body = Some(json!({"kty": "EC"}));
        let made = emulator.call_with(&token, "POST", &url, body).await;
        made.success();
    }
}

/// The documented number, without making so many.
#[test]
fn an_hsm_can_have_5000_keys_unless_it_is_told_otherwise() {
    assert_eq!(managed_hsm_emulator::Options::default().max_keys, 5000);
    let folder = tempfile::tempdir().unwrap();
    let help = program("serve", folder.path()).arg("--help").output();
    let help = text(&help.unwrap().stdout);
    let mut options = help.split("\n      --");
    let about = options.find(|option| option.starts_with("max-keys "));
    let about = about.unwrap_or_else(|| panic!("{help}"));
    assert!(about.contains("[default: 5000]"), "{about}");
}

#[tokio::test]
async fn tags_have_names_and_values_of_up_to_256_characters() {
    let folder = tempfile::tempdir().unwrap();
    let emulator = Emulator::start(folder.path());
    for (name, value, status) in [(256, 256, 200), (257, 1, 400), (1, 257, 400)] {
        let tags = json!({"é".repeat(name): "é".repeat(value)});
        let body = json!({"kty": "EC", "tags": tags});
        let made = emulator.post("/keys/k/create", body).await;
        assert_eq!(made.status, status, "{}", made.body);
        let changed = emulator
            .call("PATCH", "/keys/k", Some(json!({"tags": tags})))
            .await;
        assert_eq!(changed.status, status, "{}", changed.body);
    }
}

#[tokio::test]
async fn an_hsm_with_too_much_to_do_gets_slower_and_refuses_only_role_management() {
    let folder = tempfile::tempdir().unwrap();
    let emulator = Emulator::start_with(folder.path(), &["--capacity", "1"]);
    // Each takes a second of a partition; the first is there at once.
    let create = |index| {
        let (path, emulator) = (format!("/keys/k{index}/create"), &emulator);
        async move { emulator.post(&path, json!({"kty": "EC"})).await }
    };
    let started = Instant::now();
    for answer in futures_util::future::join_all((0..4).map(create)).await {
        answer.success();
    }
    let took = started.elapsed();
    assert!(took >= Duration::from_millis(2900), "{took:?}");
    assert!(took < Duration::from_secs(20), "{took:?}");
    let list = || emulator.get("/providers/Microsoft.Authorization/roleDefinitions");
    let answers = futures_util::future::join_all((0..40).map(|_| list())).await;
    let (done, refused): (Vec<_>, Vec<_>) = answers
        .iter()
        .partition(|answer| answer.status.is_success());
    assert!(!done.is_empty() && !refused.is_empty());
    for answer in refused {
        assert_eq!(answer.status, 429, "{}", answer.body);
        assert_eq!(answer.error().1, "Throttled");
        assert!(!answer.headers.contains_key("retry-after"));
    }
    emulator.get("/keys").await.success();
}

#[tokio::test]
async fn deleted_keys_stay_as_long_as_was_asked_for() {
    for (arguments, level, days, purged) in [
        (vec![], "CustomizedRecoverable+Purgeable", 7, 204),
        (
            vec!["--retention-days", "90"],
            "Recoverable+Purgeable",
            90,
            204,
        ),
        (vec!["--purge-protection"], "CustomizedRecoverable", 7, 403),
        (
            vec!["--retention-days", "90", "--purge-protection"],
            "Recoverable",
            90,
            403,
        ),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let arguments = [&arguments[..], &["--vault", "contoso"]].concat();
        let emulator = Emulator::start_with(folder.path(), &arguments);
        let vault_token = emulator.token(&["--audience", "https://vault.azure.net"]);
        let hsm_token = emulator.token(&[]);
        let vault = emulator.further["vault contoso"].clone();
        for (base, token) in [(&emulator.url, &hsm_token), (&vault, &vault_token)] {
            let call = async |method: &str, path: &str, body: Option<Value>| {
                let url = format!("{base}{path}?api-version=7.4");
                emulator.call_with(token, method, &url, body).await
            };
            let made = call("POST", "/keys/k/create", Some(json!({"kty": "EC"}))).await;
            let attributes = &made.success()["attributes"];
            assert_eq!(attributes["recoveryLevel"], level);
            assert_eq!(attributes["recoverableDays"], days);
            let deleted = call("DELETE", "/keys/k", None).await.success();
            let time = |name: &str| deleted[name].as_i64().unwrap();
            let kept = time("scheduledPurgeDate") - time("deletedDate");
            assert_eq!(kept, days * 86_400);
            let answer = call("DELETE", "/deletedkeys/k", None).await;
            assert_eq!(answer.status, purged, "{level}: {}", answer.body);
            if purged == 403 {
                let (_, code, message) = answer.error();
                assert_eq!(code, "Forbidden");
                assert!(message.contains("purge protection is enabled"), "{message}");
                call("POST", "/deletedkeys/k/recover", None).await.success();
            }
        }
    }
}
