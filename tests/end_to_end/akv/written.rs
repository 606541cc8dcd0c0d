//! What `akv` writes: nothing is lost without a word, whatever standard output is, and a file that
//! is written over keeps who may read it.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use testing::built;

use super::{AES_256, RSA_2048};
use crate::support::{EC_P256, Hsm, Loading, Outcome, uri};

/// Runs `akv` with its standard output where a shell's redirection leads it.
fn redirected(hsm: &Hsm, redirection: &str, line: &str) -> Outcome {
    let script = format!(r#""$@" {redirection}"#);
    let mut command = hsm.limited(&["sh".into(), "-c".into(), script.into(), "sh".into()]);
    command
        .arg(built::program("akv"))
        .args(line.split_whitespace());
    Outcome::of(command)
}

/// Commands that print something, of each kind.
fn printing(hsm: &Hsm) -> Vec<String> {
    let message = hsm.write("message", "text");
    let key = uri("ec");
    [
        "keys list managedhsm:MyHSM",
        "keys list managedhsm:MyHSM -o json",
        "keys show managedhsm:MyHSM:ec -o tsv",
        "keys public managedhsm:MyHSM:ec",
        "keys pem managedhsm:MyHSM:ec",
        "keys pem managedhsm:MyHSM:ec --out -",
        "cert self-signed managedhsm:MyHSM:ec --subject CN=a",
        "cert csr managedhsm:MyHSM:ec --subject CN=a",
        "roles list managedhsm:MyHSM",
        "settings list managedhsm:MyHSM",
        "random managedhsm:MyHSM",
        "explain 403",
        "env",
        "token",
        "completions bash",
        "doctor managedhsm:MyHSM:ec",
        "--help",
        "--version",
        "keys list --help",
    ]
    .into_iter()
    .map(str::to_owned)
    .chain([
        format!("sign {key} {message}"),
        format!("verify {key} {message} --signature {message}"),
        format!("encrypt {} {message}", uri("rsa")),
        format!("wrap {} {message}", uri("rsa")),
    ])
    .collect()
}

#[test]
fn output_that_gets_nowhere_is_an_error_and_a_reader_that_has_enough_is_none() {
    let hsm = Hsm::with_keys(&[("ec", EC_P256), ("rsa", RSA_2048)]);
    for line in printing(&hsm) {
        for (redirection, words) in [
            (">/dev/full", "No space left on device"),
            (">&-", "Bad file descriptor"),
        ] {
            let failed = redirected(&hsm, redirection, &line);
            failed.fails_with(&["the output can't be written", words]);
            assert_eq!(failed.code(), Some(7), "{line} {redirection}");
        }
        // Nobody reads: `true` ends at once.
        let quiet = redirected(&hsm, "| true", &line);
        assert_eq!(quiet.succeeds() + &quiet.errors(), "", "{line}");
    }
    // What has nothing to print needs no output.
    let out = hsm.path("out.pem");
    let line = format!("keys pem managedhsm:MyHSM:ec --out {out}");
    redirected(&hsm, ">&-", &line).succeeds();
    assert!(
        fs::read_to_string(&out)
            .expect("a file")
            .starts_with("-----BEGIN")
    );
    redirected(&hsm, ">&-", "keys show managedhsm:MyHSM:ec -o none").succeeds();
}

/// A signature of nothing, say, would be taken for one of what was to come.
#[test]
fn an_input_that_can_not_be_read_is_not_an_empty_one() {
    let hsm = Hsm::with_keys(&[("rsa", RSA_2048)]);
    let (out, writable) = (hsm.path("out"), hsm.path("writable"));
    for command in ["sign", "encrypt", "wrap"] {
        let line = format!("{command} {} - --out {out}", uri("rsa"));
        for redirection in ["<&-", &format!("0>{writable}")] {
            redirected(&hsm, redirection, &line).fails_with(&["Bad file descriptor"]);
        }
    }
    let line = format!("wrap {} - --out {out}", uri("rsa"));
    redirected(&hsm, "</dev/null", &line).fails_with(&["the key is empty"]);
    assert!(!std::path::Path::new(&out).exists());
    let line = format!("sign {} - --out {out}", uri("rsa"));
    redirected(&hsm, "</dev/null", &line).succeeds();
}

/// The exit status is what is left to tell.
#[test]
fn an_error_that_nobody_hears_of_has_its_status_all_the_same() {
    let hsm = Hsm::with_keys(&[("ec", EC_P256)]);
    for redirection in ["2>/dev/full", "2>&-", ">/dev/full 2>/dev/full"] {
        for (line, status) in [
            ("keys show managedhsm:MyHSM:none", 3),
            ("keys show managedhsm:MyHSM:none -o json", 3),
            ("keys show", 2),
            ("keys show -o json", 2),
        ] {
            let failed = redirected(&hsm, redirection, line);
            assert_eq!(failed.code(), Some(status), "{line} {redirection}");
        }
    }
    for line in ["--help", "keys list managedhsm:MyHSM"] {
        let failed = redirected(&hsm, ">/dev/full 2>/dev/full", line);
        assert_eq!(failed.code(), Some(7), "{line}");
    }
}

#[test]
fn a_signature_that_is_not_valid_is_told_by_the_status_also_where_nobody_reads() {
    let hsm = Hsm::with_keys(&[("ec", EC_P256)]);
    let message = hsm.write("message", "text");
    let line = format!("verify {} {message} --signature {message}", uri("ec"));
    // The pipe's reader is gone before anything is written; the status leaves by another.
    let script = r#"status=$( { { sleep 1; "$@"; echo $? >&3; } | true; } 3>&1 ); exit "$status""#;
    let mut command = hsm.limited(&["sh".into(), "-c".into(), script.into(), "sh".into()]);
    command
        .arg(built::program("akv"))
        .args(line.split_whitespace());
    let ended = Outcome::of(command);
    assert_eq!(ended.code(), Some(1), "{}", ended.text());
}

#[test]
fn what_encryption_makes_besides_is_never_lost() {
    let hsm = Hsm::with_keys(&[("aes", AES_256)]);
    let (plain, out) = (
        hsm.write("plain", "attack at dawn!!"),
        hsm.path("encrypted"),
    );
    let line = format!("encrypt {} {plain} --out {out}", uri("aes"));
    for (options, word) in [
        ("--algorithm A256GCM -o none", "iv"),
        ("--algorithm A256GCM --query algorithm", "iv"),
        ("--algorithm A256GCM --query iv", "tag"),
        ("--algorithm A256CBCPAD -o none", "iv"),
        ("--algorithm A256CBCPAD --query bytes", "iv"),
    ] {
        let refused = hsm.akv_line(&format!("{line} {options}"));
        refused.fails_with(&["nothing was encrypted", &format!("need the {word}")]);
        assert_eq!(refused.code(), Some(2), "{options}");
        assert!(fs::metadata(&out).is_err(), "{options}");
    }
    let iv = "000102030405060708090a0b0c0d0e0f";
    for options in [
        "--algorithm A256GCM --query [iv,tag]",
        "--algorithm A256GCM -o tsv",
        "--algorithm A256CBCPAD --query iv",
        &format!("--algorithm A256CBCPAD --iv {iv} -o none"),
    ] {
        hsm.akv_line(&format!("{line} {options} --force"))
            .succeeds();
        assert!(fs::metadata(&out).is_ok(), "{options}");
    }
}

#[test]
fn a_file_that_is_written_over_keeps_who_may_read_it() {
    let hsm = Hsm::with_keys(&[("ec", EC_P256), ("rsa", RSA_2048)]);
    let mode = |path: &str| fs::metadata(path).expect("a file").permissions().mode() & 0o7777;
    for before in [0o600, 0o400, 0o640, 0o755] {
        let path = hsm.write("out.pem", "before");
        fs::set_permissions(&path, Permissions::from_mode(before)).expect("it is ours");
        let line = format!("keys pem managedhsm:MyHSM:ec --out {path} --force");
        hsm.akv_line(&line).succeeds();
        assert_eq!(mode(&path), before, "{before:o}");
        assert!(
            fs::read_to_string(&path)
                .expect("a file")
                .starts_with("-----BEGIN")
        );
        fs::remove_file(path).expect("it is there");
    }
    // A secret is for its owner alone, whoever could read what was there.
    let plain = hsm.write("plain", "attack at dawn");
    let encrypted = hsm.path("encrypted");
    let line = format!("encrypt {} {plain} --out {encrypted}", uri("rsa"));
    hsm.akv_line(&line).succeeds();
    for (before, after) in [(0o644, 0o600), (0o400, 0o400)] {
        let path = hsm.write("secret", "before");
        fs::set_permissions(&path, Permissions::from_mode(before)).expect("it is ours");
        let line = format!("decrypt {} {encrypted} --out {path} --force", uri("rsa"));
        hsm.akv_line(&line).succeeds();
        assert_eq!(mode(&path), after, "{before:o}");
        assert_eq!(fs::read(&path).expect("a file"), b"attack at dawn");
        fs::remove_file(path).expect("it is there");
    }
    // Names as long as they may be, and nothing is left beside them.
    let folder = hsm.path("folder");
    fs::create_dir(&folder).expect("a folder");
    let path = format!("{folder}/{}", "x".repeat(255));
    for force in ["", "--force", "--force"] {
        let line = format!("keys pem managedhsm:MyHSM:ec --out {path} {force}");
        hsm.akv_line(&line).succeeds();
    }
    assert_eq!(fs::read_dir(&folder).expect("a folder").count(), 1);
    let line = format!("pkey -in {path} -pubout");
    hsm.openssl_line(Loading::AkvFirst, &line).succeeds();
}
