//! Configuration files: the TLS Offload Library's own, and each kind of mistake.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::support::{Hsm, VALIDATE};

/// As that library installs it, with all that is known of it.
const OFFLOAD: &str = r#"{
    "tokens": [{"slotId": 1, "protocol": "https://", "uri": "managedhsm.azure.net",
        "resourceName": "ContosoMHSM", "resourceType": "mhsm"}],
    "msi": {"identityMSI": true, "MSIClientID": "", "enableIMDSCache": true},
    "options": {"DisableTLSAuthentication": false},
    "log": {"directory": "/var/log", "module": {"P11Interfaces": false, "FunctionLevelTrace": false,
        "Curl": {"Level": "Off", "DisplayAsHex": false}},
        "flag": {"CloseFileAfterWrite": false, "SendToFile": true, "SendToStdOut": false,
            "SendToStdErr": false, "IncludeProcessId": true, "IncludeThreadId": true, "IncludePINs": false}},
    "ConnectionCache": {"Disable": false, "MaxConnections": 20}
}"#;

#[test]
fn the_offload_librarys_own_file_is_good() {
    let hsm = Hsm::start();
    let file = hsm.write("mhsm-pkcs11.conf", OFFLOAD);
    let told = hsm.tool(VALIDATE, &["--file", &file]).succeeds();
    assert_eq!(told, format!("SUCCESS: Parsing {file}\n"));
    let told = hsm.akv(&format!("pkcs11 check --config {file}")).succeeds();
    assert_eq!(told, "The module can use its configuration.\n");
    let info = hsm
        .akv(&format!("pkcs11 info --config {file} --json"))
        .json();
    assert_eq!(info["slots"][0]["slot"], 1);
    assert_eq!(info["slots"][0]["token"]["label"], "ContosoMHSM");
}

#[test]
fn each_kind_of_mistake_is_named_with_its_place() {
    let mut hsm = Hsm::start();
    // It would take the place of the address in the file.
    hsm.unset("AZURE_MANAGEDHSM_URL");
    let token = |text: &str| format!(r#"{{"tokens":[{{"resourceName":"abc",{text}}}]}}"#);
    for (text, words) in [
        (
            "{".to_owned(),
            "is not JSON: EOF while parsing an object at line 1",
        ),
        ("[]".to_owned(), "is not a JSON object"),
        ("{}".to_owned(), "'tokens' in"),
        (r#"{"tokens":[{}]}"#.to_owned(), "'tokens[0].resourceName'"),
        (
            r#"{"tokens":[{"resourceName":"a"}]}"#.to_owned(),
            "'tokens[0].resourceName'",
        ),
        (
            r#"{"tokens":[7]}"#.to_owned(),
            "it is not an array of objects",
        ),
        (token(r#""slotid":"one""#), "'tokens[0].slotid'"),
        (token(r#""slotid":-1"#), "it is not a number from 0 to"),
        (
            token(r#""resourceType":"disk""#),
            "'disk' is neither mhsm nor vault",
        ),
        (token(r#""protocol":"http://""#), "'tokens[0].protocol'"),
        (token(r#""uri":"a b""#), "'tokens[0].uri'"),
        (token(r#""endpoint":"http://x""#), "'tokens[0].endpoint'"),
        (token(r#""keys":["a_b"]"#), "'tokens[0].keys'"),
        (
            token(r#""listing":"often""#),
            "'often' is neither never nor allowed",
        ),
        (token(r#""login":1"#), "'tokens[0].login'"),
        (token(r#""maxRetries":1000"#), "'maxRetries' in tokens[0]"),
        (
            token(r#""credential":"magic""#),
            "'credential' in tokens[0]",
        ),
        (
            r#"{"tokens":[{"resourceName":"abc","slotid":1},{"resourceName":"def","slotid":1}]}"#
                .to_owned(),
            "there is another slot 1",
        ),
        (
            r#"{"tokens":[{"resourceName":"abc"}],"msi":{"identityMSI":"yes"}}"#.to_owned(),
            "'msi.identityMSI'",
        ),
        (
            r#"{"tokens":[{"resourceName":"abc"}],"ConnectionCache":[]}"#.to_owned(),
            "'ConnectionCache'",
        ),
        (
            r#"{"tokens":[{"resourceName":"abc"}],"log":{"module":{"curl":{"Level":1}}}}"#
                .to_owned(),
            "'log.module.curl.Level'",
        ),
        (
            r#"{"tokens":[{"resourceName":"abc"}],"refreshSeconds":-1}"#.to_owned(),
            "'refreshSeconds'",
        ),
        (
            r#"{"tokens":[{"resourceName":"abc"}],"random":"dice"}"#.to_owned(),
            "'random'",
        ),
        (
            r#"{"tokens":[{"resourceName":"abc"}],"logins":{"cu1":7}}"#.to_owned(),
            "'logins.cu1'",
        ),
    ] {
        let file = hsm.write("mhsm-pkcs11.conf", &text);
        let told = hsm.tool(VALIDATE, &["--file", &file]);
        let first = format!("FAILED: Parsing {file}\nERROR: ");
        let told = told.fails_with(&[&first, words, "mhsm-pkcs11.conf"]);
        assert_eq!(told.lines().count(), 2, "{text}: {told}");
        let check = hsm.akv(&format!("pkcs11 check --config {file}"));
        check.fails_with(&["failed   ", words]);
    }
}

#[test]
fn a_file_that_no_program_could_work_with_is_not_good() {
    let mut hsm = Hsm::start();
    // Variables go before the file.
    hsm.unset("AKV_CA_FILE");
    hsm.unset("AZURE_CLI_ACCESS_TOKEN");
    let log = |folder: &str| {
        format!(
            r#"{{"tokens":[{{"resourceName":"abc"}}],"log":{{"directory":"{folder}",
                "flags":{{"SendToFile":true}},"module":{{"P11Interfaces":true}}}}}}"#
        )
    };
    let token = |text: &str| format!(r#"{{"tokens":[{{"resourceName":"abc",{text}}}]}}"#);
    for (text, words) in [
        (log("/nowhere"), "/nowhere/MHSM-PKCS11-"),
        (
            token(r#""caFile":"/nowhere/ca.pem""#),
            "'/nowhere/ca.pem' can't be read",
        ),
        (token(r#""caFile":"/dev/null""#), "'/dev/null' "),
        (
            token(r#""clientId":"1","tenantId":"2","clientCertificate":"/nowhere/key.pem""#),
            "'/nowhere/key.pem' can't be read",
        ),
        (
            r#"{"tokens":[{"resourceName":"abc","resourceType":"vault"}],"random":"hsm"}"#
                .to_owned(),
            "a key vault has no random bytes",
        ),
    ] {
        let file = hsm.write("mhsm-pkcs11.conf", &text);
        let first = format!("FAILED: Parsing {file}\nERROR: ");
        hsm.tool(VALIDATE, &["--file", &file])
            .fails_with(&[&first, words]);
        hsm.akv(&format!("pkcs11 check --config {file}"))
            .fails_with(&["failed   ", words, "can't use all of its configuration"]);
    }
    let folder = hsm.file("log");
    fs::create_dir(&folder).unwrap();
    let file = hsm.write("mhsm-pkcs11.conf", &log(folder.to_str().unwrap()));
    let told = hsm.tool(VALIDATE, &["--file", &file]).succeeds();
    assert_eq!(told, format!("SUCCESS: Parsing {file}\n"));
}

#[test]
fn what_is_wrong_in_several_tokens_is_all_told() {
    let hsm = Hsm::start();
    let file = hsm.write(
        "mhsm-pkcs11.conf",
        r#"{"tokens":[{"slotid":1,"resourceName":"a"},{"slotid":2,"resourceName":"good"},
            {"slotid":3,"resourceName":"abc","label":7}]}"#,
    );
    let told = hsm.tool(VALIDATE, &["--file", &file]);
    told.fails_with(&[
        "ERROR: slot 1: 'tokens[0].resourceName'",
        "ERROR: slot 3: 'tokens[2].label'",
    ]);
    let check = hsm.akv(&format!("pkcs11 check --config {file} --json"));
    let json: serde_json::Value = serde_json::from_str(&check.fails_with(&[])).unwrap();
    assert_eq!(json["valid"], false);
    assert_eq!(json["problems"].as_array().map(Vec::len), Some(2), "{json}");
    assert_eq!(json["slots"][1]["has_token"], true, "{json}");
}

#[test]
fn what_is_not_honoured_and_what_is_not_known_are_warnings() {
    let hsm = Hsm::start();
    let file = hsm.write(
        "mhsm-pkcs11.conf",
        r#"{"tokens":[{"resourceName":"abc","colour":"red"}],"options":{"disabletlsauthentication":true},
            "log":{"flags":{"IncludePINs":true}},"ConnectionCache":{"Disable":true}}"#,
    );
    let told = hsm.tool(VALIDATE, &["--file", &file]).succeeds();
    assert!(told.starts_with("SUCCESS: Parsing "), "{told}");
    for words in [
        "WARNING: 'options.DisableTLSAuthentication'",
        "WARNING: 'log.flags.IncludePINs'",
        "no such settings: 'tokens[0].colour'",
    ] {
        assert!(told.contains(words), "{words}: {told}");
    }
    let json = hsm
        .akv(&format!("pkcs11 check --config {file} --json"))
        .json();
    assert_eq!(json["warnings"].as_array().map(Vec::len), Some(3), "{json}");
}

#[test]
fn what_stands_in_the_wrong_place_is_told_with_the_right_one() {
    let hsm = Hsm::start();
    let file = hsm.write(
        "mhsm-pkcs11.conf",
        r#"{"tokens":[{"resourceName":"abc","allowDelete":true}],"label":"mine","Listing":"never",
            "identityMSI":false,"msi":{}}"#,
    );
    let told = hsm.tool(VALIDATE, &["--file", &file]).succeeds();
    for words in [
        "'tokens[0].allowDelete' (it belongs at the top of the file)",
        "'label' (it belongs into a token, in 'tokens')",
        "'Listing' (it belongs into a token, in 'tokens')",
        "'identityMSI' (it belongs into 'msi')",
    ] {
        assert!(told.contains(words), "{words}: {told}");
    }
}

#[test]
fn files_that_are_not_there_or_that_others_can_write_are_refused() {
    let hsm = Hsm::start();
    let gone = hsm.file("gone.conf");
    let gone = gone.to_str().unwrap();
    hsm.tool(VALIDATE, &["--file", gone])
        .fails_with(&["FAILED: Parsing", "gone.conf"]);
    let file = hsm.write("mhsm-pkcs11.conf", OFFLOAD);
    fs::set_permissions(&file, fs::Permissions::from_mode(0o666)).unwrap();
    hsm.tool(VALIDATE, &["--file", &file])
        .fails_with(&["chmod go-w"]);
    hsm.akv(&format!("pkcs11 list --config {file}"))
        .fails_with(&[
            "C_Initialize: CKR_FUNCTION_FAILED",
            "can be written by others",
            "-> correct the configuration file",
        ]);
    // What is no file of a configuration's size is told as such, and not waited for.
    let [fifo, folder, huge] = ["fifo", "folder", "huge"].map(|name| hsm.file(name));
    let status = Command::new("mkfifo").arg(&fifo).status();
    assert!(status.expect("mkfifo runs").success());
    fs::create_dir(&folder).unwrap();
    let mebibytes = 1 << 20;
    let file = fs::File::create(&huge).unwrap();
    file.set_len(5 * mebibytes).unwrap();
    for (path, words) in [
        (fifo.as_path(), "is not a regular file"),
        (&folder, "is not a regular file"),
        (Path::new("/dev/zero"), "is not a regular file"),
        (&huge, "is longer than 4194304 bytes"),
    ] {
        let path = path.to_str().unwrap();
        let problem = format!("the configuration file '{path}' {words}");
        let began = Instant::now();
        hsm.tool(VALIDATE, &["--file", path])
            .fails_with(&[&format!("FAILED: Parsing {path}"), &problem]);
        hsm.akv(&format!("pkcs11 list --config {path}"))
            .fails_with(&["C_Initialize: CKR_FUNCTION_FAILED", &problem]);
        // Whoever waits for a FIFO or for the end of a device waits without end.
        assert!(began.elapsed() < Duration::from_secs(60), "{path}");
    }
    hsm.tool(VALIDATE, &[])
        .fails_with(&["Usage: mhsm_p11_validate_config_file"]);
}

#[test]
fn mistakes_are_told_here_and_failures_in_the_log_where_there_is_one() {
    let mut hsm = Hsm::start();
    let file = hsm.write("mhsm-pkcs11.conf", r#"{"tokens":[{"resourceName":7}]}"#);
    for name in ["AKV_LOG_LEVEL", "AKV_LOG_FILE"] {
        let value = match name {
            "AKV_LOG_FILE" => hsm.file("akv.log").into_os_string(),
            _ => "debug".into(),
        };
        hsm.set(name, value);
        hsm.tool(VALIDATE, &["--file", &file])
            .fails_with(&["ERROR: slot 0: 'tokens[0].resourceName'"]);
    }
    hsm.set("AZURE_CLI_ACCESS_TOKEN", "e30.e30.c2ln");
    hsm.akv("pkcs11 list").fails_with(&[
        "C_FindObjectsInit: CKR_DEVICE_ERROR: the log says why",
        "-> check the way",
    ]);
    let log = fs::read_to_string(hsm.file("akv.log")).unwrap();
    assert!(log.contains("HTTP 401"), "{log}");
}

/// Of the log the environment goes before the file, in a program as well.
#[test]
fn a_check_starts_the_module_with_the_log_that_a_program_would_have() {
    let mut hsm = Hsm::start();
    let log = |folder: &str| {
        format!(
            r#"{{"tokens":[{{"resourceName":"abc"}}],"log":{{"directory":"{folder}",
                "flags":{{"SendToFile":true}},"module":{{"P11Interfaces":true}}}}}}"#
        )
    };
    let good = hsm.write("good.conf", r#"{"tokens":[{"resourceName":"abc"}]}"#);
    let bad = hsm.write("bad.conf", &log("/nowhere"));
    let checks = |hsm: &Hsm, file: &str| hsm.akv(&format!("pkcs11 check --config {file}"));
    let refuses = ["failed   ", "can't use all of its configuration"];

    hsm.set("AKV_LOG_LEVEL", "debug");
    hsm.set("AKV_LOG_FILE", "/nowhere/akv.log");
    let told = checks(&hsm, &good).fails_with(&refuses);
    assert!(told.contains("/nowhere/akv.log"), "{told}");
    hsm.tool(VALIDATE, &["--file", &good])
        .fails_with(&["ERROR: ", "/nowhere/akv.log"]);
    let written = hsm.file("akv.log");
    hsm.set("AKV_LOG_FILE", written.clone());
    for file in [&good, &bad] {
        let told = checks(&hsm, file).succeeds();
        assert_eq!(told, "The module can use its configuration.\n");
    }
    let calls = fs::read_to_string(&written).unwrap();
    assert!(calls.contains("C_Initialize"), "{calls}");
    // To standard error, where its lines are nobody's mistakes.
    hsm.unset("AKV_LOG_FILE");
    checks(&hsm, &good).succeeds();
    hsm.unset("AKV_LOG_LEVEL");
    let told = checks(&hsm, &bad).fails_with(&refuses);
    assert!(told.contains("/nowhere/MHSM-PKCS11-"), "{told}");
}

#[test]
fn without_a_file_and_without_an_hsm_that_is_told() {
    let mut hsm = Hsm::start();
    hsm.unset("AZURE_MANAGEDHSM_URL");
    for command in ["check", "list"] {
        let told = hsm.akv(&format!("pkcs11 {command}"));
        told.fails_with(&["set AZURE_MANAGEDHSM_URL to its address"]);
    }
}
