//! `akv roles` and `akv settings`.

use std::fs;

use serde_json::Value;

use super::{json as answer, names};
use crate::support::{EC_P256, Hsm, uri};

const CLIENT: &str = "66666666-0000-0000-0000-000000000001";
pub(super) const PRINCIPAL: &str = "66666666-0000-0000-0000-000000000002";

/// The variables by which the application logs in.
pub(super) const APPLICATION: [(&str, &str); 2] = [
    ("AZURE_CLIENT_ID", CLIENT),
    ("AZURE_CLIENT_SECRET", "s3cret"),
];

/// An HSM with two keys, and an application that has no role.
pub(super) fn with_an_application(folder: &std::path::Path) -> Hsm {
    let file = folder.join("principals.json");
    let principals = format!(
        r#"[{{"client_id":"{CLIENT}","object_id":"{PRINCIPAL}","client_secret":"s3cret"}}]"#
    );
    fs::write(&file, principals).expect("the principals can be written");
    let hsm = Hsm::start_with(&["--principals", file.to_str().expect("the path is text")]);
    hsm.create("web", EC_P256);
    hsm.create("other", EC_P256);
    hsm
}

/// Whether the application may sign with a key.
fn may_sign(hsm: &Hsm, key: &str) -> bool {
    let message = hsm.write("message", "hello");
    let mut command = hsm.akv_command(&["sign", &uri(key), &message]);
    for (name, value) in hsm.exports(&["--identity"]) {
        command.env(name, value);
    }
    command
        .env_remove("AZURE_CLI_ACCESS_TOKEN")
        .envs(APPLICATION);
    let output = command.output().expect("akv runs");
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        output.status.success() || errors.contains("403"),
        "{errors}"
    );
    output.status.success()
}

fn of_application(listed: &Value) -> Vec<&Value> {
    let rows = listed.as_array().expect("a listing is an array");
    let found = rows.iter().filter(|row| row["principal"] == PRINCIPAL);
    found.collect()
}

#[test]
fn whoever_is_given_a_role_may_do_what_it_allows_where_it_counts() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let hsm = with_an_application(folder.path());
    assert!(!may_sign(&hsm, "web"));
    let made = hsm.akv(&[
        "roles",
        "assign",
        &uri("web"),
        "--role",
        "Crypto User",
        "--assignee",
        PRINCIPAL,
        "--json",
    ]);
    let made: Value = serde_json::from_str(&made.succeeds()).expect("JSON");
    assert_eq!(made["role"], "Managed HSM Crypto User");
    assert_eq!(made["scope"], "/keys/web");
    assert!(may_sign(&hsm, "web") && !may_sign(&hsm, "other"));

    let again = [
        "roles",
        "assign",
        &uri("web"),
        "--role",
        "managed hsm crypto user",
        "--assignee",
        PRINCIPAL,
    ];
    hsm.akv(&again).fails_with(&["400", "RoleAssignmentExists"]);
    let same = hsm.akv(&[&again[..], &["--if-absent", "--json"]].concat());
    let same: Value = serde_json::from_str(&same.succeeds()).expect("JSON");
    assert_eq!(same["id"], made["id"]);
    let listed = answer(&hsm, "roles list managedhsm:MyHSM:web");
    assert_eq!(of_application(&listed).len(), 1);
    // Those at single keys are not seen from above.
    let listed = answer(&hsm, "role ls managedhsm:MyHSM");
    assert!(
        of_application(&listed).is_empty() && listed.as_array().is_some_and(|all| all.len() >= 3)
    );

    let remove = [
        "roles",
        "remove",
        "managedhsm:MyHSM",
        "--role",
        "Crypto User",
        "--assignee",
        PRINCIPAL,
    ];
    hsm.akv(&remove)
        .fails_with(&["where is the role to count", "--scope /keys"]);
    hsm.akv(&[&remove[..], &["--scope", "/"]].concat())
        .fails_with(&["does not have the role", "at the scope /", "akv roles list"]);
    hsm.akv(&[&remove[..], &["--scope", "/keys/web"]].concat())
        .succeeds();
    assert!(!may_sign(&hsm, "web"));
    let by_id = answer(
        &hsm,
        &format!(
            "roles assign managedhsm:MyHSM --scope /keys --role 21dbd100-6940-42c2-9190-5d6cb909625b --assignee {PRINCIPAL}"
        ),
    );
    assert!(may_sign(&hsm, "other"));
    let id = by_id["id"].as_str().expect("an id");
    hsm.akv_line(&format!(
        "roles rm managedhsm:MyHSM --scope /keys --id {id}"
    ))
    .succeeds();
    assert!(!may_sign(&hsm, "other"));
}

#[test]
fn a_role_of_ones_own_is_defined_changed_assigned_and_removed() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let hsm = with_an_application(folder.path());
    let define =
        "roles define managedhsm:MyHSM --name Signer --actions keys/read/action,keys/sign/action";
    let made = answer(&hsm, define);
    assert_eq!(made["type"], "custom");
    assert_eq!(
        made["data_actions"][1],
        "Microsoft.KeyVault/managedHsm/keys/sign/action"
    );
    hsm.akv_line(&format!(
        "roles assign managedhsm:MyHSM:web --role signer --assignee {PRINCIPAL}"
    ))
    .succeeds();
    assert!(may_sign(&hsm, "web"));
    assert_eq!(made["unknown_data_actions"], serde_json::json!([]));
    let misspelt = "roles define managedhsm:MyHSM --name Other --actions keys/sign,keys/*";
    let told = hsm.akv_line(misspelt).succeeds();
    assert!(
        told.contains("keys/sign: no role that each HSM has"),
        "{told}"
    );
    hsm.akv_line(define)
        .fails_with(&["has a role 'Signer' already", "--replace"]);
    let file = hsm.write(
        "role.json",
        r#"{"roleName":"Signer","description":"reads","actions":[],"assignableScopes":["/"],
            "dataActions":["Microsoft.KeyVault/managedHsm/keys/read/action"],"notDataActions":[]}"#,
    );
    let replaced = answer(
        &hsm,
        &format!("roles define managedhsm:MyHSM {file} --replace"),
    );
    assert_eq!(replaced["id"], made["id"]);
    assert!(!may_sign(&hsm, "web"));
    let shown = hsm.akv_line("roles list managedhsm:MyHSM --definitions --role Signer");
    let shown = shown.succeeds();
    assert!(shown.contains("custom  keys/read/action"), "{shown}");
    hsm.akv_line("roles undefine managedhsm:MyHSM Signer")
        .succeeds();
    let all = answer(&hsm, "roles list managedhsm:MyHSM --definitions");
    assert!(!names(&all, "name").contains(&"Signer".to_owned()));
    let left = hsm.akv_line("roles list managedhsm:MyHSM:web").succeeds();
    assert!(left.contains("(removed)"), "{left}");
}

#[test]
fn what_roles_can_not_be_is_told_with_what_to_type() {
    let hsm = Hsm::start();
    let assign = "roles assign managedhsm:MyHSM --role Signer --assignee";
    for (line, words) in [
        (
            format!("{assign} me@example.com"),
            &["no GUID", "az ad user show"][..],
        ),
        (
            format!("{assign} {PRINCIPAL} --scope /"),
            &["no role 'Signer'", "Managed HSM Crypto User"],
        ),
        (
            format!("{assign} {PRINCIPAL}"),
            &["where is the role to count", "--scope / for the whole HSM"],
        ),
        (
            format!("{assign} {PRINCIPAL} --scope web"),
            &["no scope", "/keys/<key>"],
        ),
        (
            "roles assign managedhsm:MyHSM --role Signer".to_owned(),
            &["--assignee"],
        ),
        (
            format!(
                "roles assign managedhsm:MyHSM:web --scope /keys --role x --assignee {PRINCIPAL}"
            ),
            &["where the role counts"],
        ),
        (
            "roles list keyvault:vault".to_owned(),
            &["key vault", "az role assignment"],
        ),
        ("roles remove managedhsm:MyHSM".to_owned(), &["--role"]),
        ("roles define managedhsm:MyHSM".to_owned(), &["--actions"]),
        (
            "roles define managedhsm:MyHSM --name x --actions a/b --not-actions".to_owned(),
            &["--not-actions"],
        ),
        (
            "roles define managedhsm:MyHSM /no/such/file".to_owned(),
            &["/no/such/file"],
        ),
        (
            "roles undefine managedhsm:MyHSM Administrator".to_owned(),
            &["each HSM has"],
        ),
        (
            "settings get managedhsm:MyHSM a/b".to_owned(),
            &["letters and digits"],
        ),
        (
            "settings get managedhsm:MyHSM Nothing".to_owned(),
            &["400", "InvalidSetting"],
        ),
        ("settings list keyvault:vault".to_owned(), &["key vault"]),
        (
            "settings set managedhsm:MyHSM AllowKeyManagementOperationsThroughARM perhaps"
                .to_owned(),
            &["400"],
        ),
    ] {
        hsm.akv_line(&line).fails_with(words);
    }
    let file = hsm.write(
        "role.json",
        r#"{"roleName":"x","actions":["*"],"dataActions":["y"]}"#,
    );
    hsm.akv(&["roles", "define", "managedhsm:MyHSM", &file])
        .fails_with(&["role.json", "'dataActions' alone"]);
}

#[test]
fn a_setting_of_the_hsm_is_listed_read_and_changed() {
    let hsm = Hsm::start();
    let name = "AllowKeyManagementOperationsThroughARM";
    let listed = answer(&hsm, "settings list managedhsm:MyHSM");
    assert_eq!(listed[0]["name"], name);
    assert_eq!(listed[0]["value"], "false");
    let set = answer(&hsm, &format!("settings set managedhsm:MyHSM {name} true"));
    assert_eq!(set["value"], "true");
    let shown = hsm
        .akv_line(&format!("setting get MyHSM {name}"))
        .succeeds();
    assert!(shown.contains("boolean  true"), "{shown}");
}
