//! The forms of the output, `--query`, exit statuses, and errors for programs.

use std::fs;

use serde_json::{Value, json};

use super::{RSA_2048, json as answer};
use crate::support::{EC_P256, Hsm, Outcome, uri};

fn keys() -> Hsm {
    let hsm = Hsm::with_keys(&[("doc", RSA_2048), ("web", EC_P256)]);
    hsm.akv_line("keys set managedhsm:MyHSM:web --tag owner=me")
        .succeeds();
    hsm
}

#[test]
fn the_same_data_come_in_every_form() {
    let hsm = keys();
    let run = |line: &str| hsm.akv_line(line).succeeds();
    let listed = answer(&hsm, "keys list managedhsm:MyHSM");
    let created = listed[1]["created"].as_str().expect("a time");
    for form in ["json", "JSON", "jsonc"] {
        let line = format!("keys list managedhsm:MyHSM -o {form}");
        assert_eq!(
            serde_json::from_str::<Value>(&run(&line)).expect("JSON"),
            listed
        );
    }
    let tsv = run("keys list managedhsm:MyHSM -o tsv");
    let rows: Vec<Vec<&str>> = tsv.lines().map(|line| line.split('\t').collect()).collect();
    // In the order of their names: created, enabled, expires, exportable, key, name, not_before,
    // tags, updated.
    let [
        created_cell,
        enabled,
        expires,
        exportable,
        key,
        name,
        _,
        tags,
        _,
    ] = rows[1][..]
    else {
        panic!("{tsv}");
    };
    assert_eq!((created_cell, enabled, expires), (created, "True", "None"));
    assert_eq!((exportable, name, tags), ("False", "web", ""));
    assert_eq!(key, "managedhsm:MyHSM:web");
    let yaml = run("keys list managedhsm:MyHSM -o yaml");
    for line in [
        "name: web\n",
        "enabled: true\n",
        "owner: me\n",
        "expires: null\n",
    ] {
        assert!(yaml.contains(line), "{yaml}");
    }
    assert_eq!(run("keys list managedhsm:MyHSM -o none"), "");
    let table = run("keys list managedhsm:MyHSM");
    assert!(table.starts_with("key  enabled"), "{table}");
    assert_eq!(run("keys list managedhsm:MyHSM -o table"), table);

    // A file's contents have standard output for themselves.
    for form in ["json", "yaml", "tsv", "none"] {
        let line = format!("key pem managedhsm:MyHSM:web --out - -o {form}");
        let told = hsm.akv_line(&line);
        match told.is_success() {
            // As text it has a place in each form.
            true => assert!(form == "none" || told.text().contains("BEGIN"), "{form}"),
            false => panic!("{}", told.text()),
        }
        let line = format!("keys backup managedhsm:MyHSM:web --out - -o {form}");
        hsm.akv_line(&line)
            .fails_with(&["can't both have standard output"]);
    }
    hsm.akv_line("keys list managedhsm:MyHSM -o xml")
        .fails_with(&["table, json, tsv, yaml, none"]);
}

#[test]
fn what_is_asked_for_is_taken_from_the_output() {
    let hsm = keys();
    let list = |options: &[&str]| {
        let line = [&["keys", "list", "managedhsm:MyHSM"], options].concat();
        hsm.akv(&line)
    };
    assert_eq!(
        list(&["--query", "[].name", "-o", "tsv"]).succeeds(),
        "doc\nweb\n"
    );
    let owned = list(&["--query", "[?tags.owner=='me'].key | [0]", "-o", "tsv"]);
    assert_eq!(owned.succeeds(), "managedhsm:MyHSM:web\n");
    // Data is JSON unless another form is named.
    let named: Value = serde_json::from_str(&list(&["--query", "[].name"]).succeeds()).unwrap();
    assert_eq!(named, json!(["doc", "web"]));
    assert_eq!(
        list(&["--query", "[].{name: name, on: enabled}", "-o", "table"]).succeeds(),
        "name  on\ndoc   true\nweb   true\n"
    );
    assert_eq!(
        list(&["--query", "[0].nothing", "-o", "tsv"]).succeeds(),
        ""
    );
    assert_eq!(
        list(&["--query", "[].name", "-o", "yaml"]).succeeds(),
        "- doc\n- web\n"
    );
    for (query, place) in [
        ("[?name=='web'", "at its end"),
        ("[].}", "at character 4"),
        ("nothing(@)", "nothing"),
    ] {
        let told = list(&["--query", query]);
        assert_eq!(told.code(), Some(2), "{query}");
        told.fails_with(&[place, "JMESPath", query]);
    }
}

/// Checks how a command ends, and that programs are told the same as JSON.
#[track_caller]
fn ends(hsm: &Hsm, line: &str, status: i32, code: &str) -> Value {
    let plain = hsm.akv_line(line);
    assert_eq!(plain.code(), Some(status), "{line}: {}", plain.text());
    let told = hsm.akv_line(&format!("{line} -o json"));
    assert_eq!(told.code(), Some(status), "{line}: {}", told.text());
    let json = errors(&told);
    let error = &json["error"];
    assert_eq!(error["code"], code, "{line}: {json}");
    assert_eq!(error["exit_status"], status, "{line}: {json}");
    assert!(!error["message"].as_str().expect("a message").is_empty());
    assert!(told.bytes().is_empty(), "{line}");
    error.clone()
}

/// What stands on standard error, as JSON.
#[track_caller]
fn errors(outcome: &Outcome) -> Value {
    let text = outcome.errors();
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[test]
fn the_exit_status_tells_what_kind_of_failure_it_was() {
    let mut hsm = keys();
    let message = hsm.write("message", "hello");
    let signature = hsm.path("signature");
    let web = uri("web");
    hsm.akv(&["sign", &web, &message, "--out", &signature])
        .succeeds();
    let verify = [
        "verify",
        &web,
        &message,
        "--signature",
        &message,
        "-o",
        "json",
    ];
    let refuted = hsm.akv(&verify);
    // No failure: an answer, on standard output.
    assert_eq!(refuted.code(), Some(1));
    let told: Value = serde_json::from_slice(refuted.bytes()).expect("JSON");
    assert_eq!(told["valid"], false);
    let check = hsm.akv_line("keys check managedhsm:MyHSM:web --type rsa --samples 0");
    assert_eq!(check.code(), Some(1));

    ends(&hsm, "keys list managedhsm:MyHSM --frob", 2, "Usage");
    ends(&hsm, "keys list --nothing", 2, "Usage");
    ends(&hsm, "keys create managedhsm:MyHSM:x --type ec", 2, "Usage");
    let sign = |file: &str| format!("sign managedhsm:MyHSM:web {file}");
    let missing = ends(&hsm, "keys show managedhsm:MyHSM:none", 3, "KeyNotFound");
    assert_eq!(missing["http_status"], 404);
    assert!(
        missing["request_id"].as_str().expect("an id").len() > 8,
        "{missing}"
    );
    let remedy = missing["remedy"].as_str().expect("a remedy");
    assert!(remedy.contains("check the key's name"), "{missing}");
    let words = missing["message"].as_str().expect("a message");
    assert!(!words.contains("check the key's name"), "{missing}");
    ends(&hsm, &sign("/no/such/file"), 3, "ReadFailed");
    ends(
        &hsm,
        "keys set managedhsm:MyHSM:web --untag nothing",
        3,
        "NotFound",
    );
    let again = format!("{} --out {signature}", sign(&message));
    ends(&hsm, &again, 6, "Conflict");
    let backup = hsm.path("backup");
    hsm.akv(&["keys", "backup", &web, "--out", &backup])
        .succeeds();
    let there = hsm.akv(&["keys", "restore", "managedhsm:MyHSM", &backup]);
    assert_eq!(there.code(), Some(6), "{}", there.text());
    ends(
        &hsm,
        &format!("decrypt managedhsm:MyHSM:web {message} --out x"),
        7,
        "Failed",
    );

    hsm.set("AKV_OPERATION_TIMEOUT", "soon");
    ends(&hsm, "keys show managedhsm:MyHSM:web", 2, "InvalidSetting");
    hsm.unset("AKV_OPERATION_TIMEOUT");
    let token = hsm.variable("AZURE_CLI_ACCESS_TOKEN").to_owned();
    hsm.set("AZURE_CLI_ACCESS_TOKEN", "e30.e30.e30");
    ends(&hsm, "keys show managedhsm:MyHSM:web", 4, "Unauthorized");
    hsm.unset("AZURE_CLI_ACCESS_TOKEN");
    hsm.set("AZURE_TOKEN_CREDENTIALS", "EnvironmentCredential");
    let alone = ends(&hsm, "keys show managedhsm:MyHSM:web", 4, "NoCredential");
    assert!(alone["remedy"].is_string(), "{alone}");
    hsm.unset("AZURE_TOKEN_CREDENTIALS");
    hsm.set("AZURE_CLI_ACCESS_TOKEN", &token);
    hsm.set("AZURE_MANAGEDHSM_URL", "https://localhost:9");
    let away = ends(&hsm, &sign(&message), 5, "Unreachable");
    assert!(
        away["remedy"].to_string().contains("nothing listens there"),
        "{away}"
    );
    assert_eq!(away["request_id"], Value::Null);
    assert_eq!(fs::read(&message).expect("it is there"), b"hello");
}

/// A second version is what comes of a command that is repeated since its query was wrong.
#[test]
fn what_was_done_before_a_query_failed_is_told_in_full() {
    let hsm = keys();
    let create = "keys create managedhsm:MyHSM:new --type ec --curve P-256 --query";
    for query in ["nothing(@)", "[?name=='web'", "sort_by(@,&nothing(x))"] {
        assert_eq!(hsm.akv_line(&format!("{create} {query}")).code(), Some(2));
    }
    hsm.akv_line("keys show managedhsm:MyHSM:new")
        .fails_with(&["404"]);
    let told = hsm.akv_line(&format!("{create} sort_by(@,&x)"));
    assert_eq!(told.code(), Some(7), "{}", told.text());
    let whole: Value = serde_json::from_slice(told.bytes()).expect("JSON");
    assert_eq!(whole["name"], "new");
    let error = &errors(&told)["error"];
    assert_eq!(
        (&error["code"], &error["exit_status"]),
        (&json!("QueryFailed"), &json!(7))
    );
    let message = error["message"].as_str().expect("a message");
    for words in [
        "is done, and need not be repeated",
        "--query 'sort_by(@,&x)'",
    ] {
        assert!(message.contains(words), "{message}");
    }
    let shown = answer(&hsm, "keys show managedhsm:MyHSM:new");
    assert_eq!(shown["key"], whole["key"]);

    // Nothing is encrypted for what wouldn't be told; and a signature has its file.
    let message = hsm.write("message", "hello");
    let file = hsm.path("signature");
    let line = format!("sign managedhsm:MyHSM:web {message} --out {file} --query abs(@) -o tsv");
    let told = hsm.akv_line(&line);
    assert_eq!(told.code(), Some(7), "{}", told.text());
    assert!(
        told.errors().contains("akv: the command is done"),
        "{}",
        told.text()
    );
    assert!(String::from_utf8_lossy(told.bytes()).contains(&file));
    assert!(!fs::read(&file).expect("it is there").is_empty());
}

#[test]
fn whoever_has_no_role_is_refused_and_told_so_as_json() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut hsm = super::roles::with_an_application(folder.path());
    hsm.log_in();
    for (name, value) in super::roles::APPLICATION {
        hsm.set(name, value);
    }
    hsm.unset("AZURE_CLI_ACCESS_TOKEN");
    let refused = ends(&hsm, "keys show managedhsm:MyHSM:web", 4, "AccessDenied");
    assert_eq!(refused["http_status"], 403);
    assert!(refused["remedy"].to_string().contains("role"), "{refused}");
}
