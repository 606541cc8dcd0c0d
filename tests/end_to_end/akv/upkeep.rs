//! `akv keys set`, `backup`, `restore` and `purge`.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::json;

use super::roles::{APPLICATION, PRINCIPAL, with_an_application};
use super::{AES_256, RSA_2048, json as answer, names};
use crate::support::{EC_P256, Hsm, uri};

#[test]
fn a_key_is_changed_and_what_was_not_named_stays() {
    let hsm = Hsm::with_keys(&[("k", RSA_2048)]);
    let message = hsm.write("message", "hello");
    let sign = || hsm.akv(&["sign", &uri("k"), &message]);
    let changed = answer(
        &hsm,
        "keys set managedhsm:MyHSM:k --operations sign,verify --expires 2099-12-31 --tag a=1 --tag b=2",
    );
    assert_eq!(changed["operations"], json!(["sign", "verify"]));
    assert_eq!(changed["expires"], "2099-12-31T00:00:00Z");
    assert_eq!(changed["enabled"], true);
    sign().succeeds();

    let changed = answer(
        &hsm,
        "keys set managedhsm:MyHSM:k --disabled --tag b=3 --untag a",
    );
    assert_eq!(changed["enabled"], false);
    assert_eq!(changed["tags"], json!({"b": "3"}));
    assert_eq!(changed["expires"], "2099-12-31T00:00:00Z");
    assert_eq!(changed["operations"], json!(["sign", "verify"]));
    sign().fails_with(&["403"]);
    hsm.akv_line("key set managedhsm:MyHSM:k --enabled")
        .succeeds();
    sign().succeeds();
    hsm.akv_line("keys set managedhsm:MyHSM:k --not-before 1h")
        .succeeds();
    sign().fails_with(&["403"]);

    // A version alone, and what can't be.
    let first = changed["version"].as_str().expect("a version").to_owned();
    hsm.create("k", RSA_2048);
    let old = format!("keys set managedhsm:MyHSM:k?version={first} --ops verify");
    assert_eq!(answer(&hsm, &old)["version"], first.as_str());
    let newest = answer(&hsm, "keys show managedhsm:MyHSM:k");
    assert_ne!(newest["operations"], json!(["verify"]));
    for (line, words) in [
        (
            "keys set managedhsm:MyHSM:k",
            &["--operations", "--enabled"][..],
        ),
        (
            "keys set managedhsm:MyHSM:k --enabled --disabled",
            &["cannot be used with"],
        ),
        (
            "keys set managedhsm:MyHSM:k --untag nothing",
            &["no tag 'nothing'", "akv keys show"],
        ),
        (
            "keys set managedhsm:MyHSM:none --enabled",
            &["404", "change key"],
        ),
        (
            "keys set managedhsm:MyHSM:k --expires never",
            &["2026-12-31"],
        ),
    ] {
        hsm.akv_line(line).fails_with(words);
    }
}

#[test]
fn a_key_that_would_end_before_it_begins_is_neither_made_nor_left_so() {
    let hsm = Hsm::with_keys(&[("k", RSA_2048)]);
    let file = hsm.write("aes", [7; 32]);
    let told = [
        "--expires (2098-01-01T00:00:00Z) is not later than --not-before (2099-01-01T00:00:00Z)",
        "the key could never be used",
    ];
    let before = hsm.requests().len();
    let refused = |line: &str, words: &[&str]| {
        let refused = hsm.akv_line(line);
        refused.fails_with(words);
        assert_eq!(refused.code(), Some(2), "{line}");
    };
    for verb in [
        "set managedhsm:MyHSM:k",
        "set managedhsm:MyHSM:k --tag a=1",
        "create managedhsm:MyHSM:new --type rsa",
        "create managedhsm:MyHSM:k --type rsa --if-absent",
        &format!("import managedhsm:MyHSM:new {file} --aes"),
    ] {
        let line = format!("keys {verb} --not-before 2099-01-01");
        refused(&format!("{line} --expires 2098-01-01"), &told);
        refused(&format!("{line} --expires 2099-01-01"), &told[1..]);
    }
    refused(
        "keys set managedhsm:MyHSM:k --expires 1d --not-before 1d",
        &told[1..],
    );
    assert_eq!(hsm.requests().len(), before);

    // Of the key's own other end the HSM is asked.
    let line = "keys set managedhsm:MyHSM:k --not-before 2099-01-01";
    hsm.akv_line(line).succeeds();
    let words = "is not later than the key's not_before (2099-01-01T00:00:00Z)";
    for further in ["", " --tag a=1", " --enabled"] {
        let line = format!("keys set managedhsm:MyHSM:k --expires 2098-01-01{further}");
        refused(&line, &[words]);
    }
    let shown = answer(&hsm, "keys show managedhsm:MyHSM:k");
    assert_eq!(
        (&shown["expires"], &shown["tags"]),
        (&json!(null), &json!({}))
    );
    let line = "keys set managedhsm:MyHSM:k --expires 2100-01-01 --tag a=1";
    hsm.akv_line(line).succeeds();
    let line = "keys set managedhsm:MyHSM:k --not-before 2100-01-01";
    refused(
        line,
        &["the key's expires (2100-01-01T00:00:00Z) is not later than --not-before"],
    );
    // Who replaces both ends needs to know neither.
    let before = hsm.requests().len();
    let line = "keys set managedhsm:MyHSM:k --not-before 2100-01-01 --expires 2101-01-01";
    hsm.akv_line(line).succeeds();
    let asked = hsm.requests().split_off(before);
    assert!(asked.iter().all(|one| one.method == "PATCH"), "{asked:?}");
}

/// Whoever may change a key and not read it can't compare its times.
#[test]
fn a_key_that_may_not_be_read_is_changed_all_the_same() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut hsm = with_an_application(folder.path());
    for line in [
        "roles define managedhsm:MyHSM --name Changer --actions keys/write/action".to_owned(),
        format!("roles assign managedhsm:MyHSM:web --role Changer --assignee {PRINCIPAL}"),
    ] {
        hsm.akv_line(&line).succeeds();
    }
    hsm.log_in();
    for (name, value) in APPLICATION {
        hsm.set(name, value);
    }
    hsm.unset("AZURE_CLI_ACCESS_TOKEN");
    hsm.akv_line("keys show managedhsm:MyHSM:web")
        .fails_with(&["403"]);
    let line = "keys set managedhsm:MyHSM:web --expires 2099-01-01";
    assert_eq!(answer(&hsm, line)["expires"], "2099-01-01T00:00:00Z");
    hsm.akv_line(&format!("{line} --tag a=1"))
        .fails_with(&["403", "load key"]);
}

#[test]
fn a_key_that_was_purged_comes_back_from_its_backup_and_from_nothing_else() {
    let hsm = Hsm::with_keys(&[("k", EC_P256), ("a", AES_256)]);
    let public = answer(&hsm, "keys show managedhsm:MyHSM:k");
    let file = hsm.path("k.backup");
    hsm.akv(&["keys", "backup", &uri("k"), "--out", &file])
        .succeeds();
    let mode = fs::metadata(&file)
        .expect("it is written")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    hsm.akv(&["keys", "backup", &uri("k"), "--out", &file])
        .fails_with(&["k.backup", "left alone"]);
    let piped = hsm.akv(&["keys", "backup", &uri("a"), "--out", "-"]);
    piped.succeeds();
    let piped = hsm.write("a.backup", piped.bytes());

    let restore = |file: &str| hsm.akv(&["keys", "restore", "managedhsm:MyHSM", file]);
    restore(&file).fails_with(&["409"]);
    hsm.akv_line("keys purge managedhsm:MyHSM:k")
        .fails_with(&["k is not purged", "--yes"]);
    hsm.akv_line("keys purge managedhsm:MyHSM:k --yes")
        .fails_with(&["purge key", "404"]);
    for key in ["k", "a"] {
        hsm.akv(&["keys", "rm", &uri(key), "--force"]).succeeds();
        hsm.akv(&["keys", "purge", &uri(key), "--yes"]).succeeds();
    }
    let deleted = answer(&hsm, "keys ls managedhsm:MyHSM --deleted");
    assert!(names(&deleted, "name").is_empty());
    hsm.akv_line("keys recover managedhsm:MyHSM:k")
        .fails_with(&["404"]);
    restore(&file).succeeds();
    restore(&piped).succeeds();
    let back = answer(&hsm, "keys show managedhsm:MyHSM:k");
    assert_eq!(back["version"], public["version"]);
    let message = hsm.write("message", "hello");
    hsm.akv(&["sign", &uri("k"), &message]).succeeds();

    // Another HSM has another security domain.
    let other = Hsm::start();
    other
        .akv(&["keys", "restore", "managedhsm:MyHSM", &file])
        .fails_with(&["restore a key into", "400", "different crypto domain"]);
    restore(&message).fails_with(&["400"]);
    hsm.akv_line("keys restore managedhsm:MyHSM:k /dev/null")
        .fails_with(&["it names a key"]);
    hsm.akv_line("keys restore managedhsm:MyHSM /no/such/file")
        .fails_with(&["/no/such/file", "No such file"]);
}

#[test]
fn keys_of_a_key_vault_are_kept_up_the_same_way() {
    let mut hsm = Hsm::start_with(&["--vault", "MyVault"]);
    for (name, value) in hsm.exports(&["--vault", "MyVault"]) {
        hsm.set(&name, &value);
    }
    let run = |line: &str| hsm.akv_line(line).succeeds();
    run("keys create keyvault:MyVault:k --type rsa --hsm");
    run("keys set keyvault:MyVault:k --operations sign,decrypt,verify --tag a=1 --expires 60d");
    let checked = run("keys check keyvault:MyVault:k --for sign,decrypt --samples 1");
    assert!(checked.contains("All is well"), "{checked}");
    let file = hsm.path("k.backup");
    run(&format!("keys backup keyvault:MyVault:k --out {file}"));
    run("keys delete keyvault:MyVault:k --yes");
    run("keys purge keyvault:MyVault:k --yes");
    run(&format!("keys restore keyvault:MyVault {file}"));
    let shown = run("keys show keyvault:MyVault:k");
    assert!(shown.contains("a=1"), "{shown}");
}
