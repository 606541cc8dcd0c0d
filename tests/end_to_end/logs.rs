//! The log: what is told at which level, in which form, and that nobody waits for its reader.

use std::fs;
use std::io::Write;
use std::process::Command;

use serde_json::Value;

use crate::support::{EC_P256, Hsm, Loading, Outcome, uri};

fn sign_command(hsm: &Hsm) -> Command {
    let (message, signature) = (hsm.write("message", "text"), hsm.path("signature"));
    let mut command = hsm.command("openssl");
    let loading = ["-provider", "akv_provider", "-provider", "default"];
    command
        .args(["dgst", "-sha256", "-sign", &uri("k")])
        .args(["-out", &signature])
        .args(loading)
        .arg(message);
    command
}

/// A FIFO that nobody has opened.
fn make_fifo(hsm: &Hsm) -> String {
    let fifo = hsm.path("fifo");
    let made = Command::new("mkfifo").arg(&fifo).status();
    assert!(made.expect("mkfifo runs").success());
    fifo
}

/// The lines of a log in JSON, as they stand in a file.
fn lines(path: &str) -> Vec<Value> {
    let text = fs::read_to_string(path).expect("a log");
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}")))
        .collect()
}

#[test]
fn a_failed_operation_is_an_error_and_a_repeated_attempt_a_warning() {
    let mut hsm = Hsm::start_with(&["--fault", "throttled,operation=sign,count=2"]);
    hsm.create("k", EC_P256);
    hsm.set("AKV_LOG_FORMAT", "json");
    let log = hsm.path("log");
    hsm.set("AKV_LOG_FILE", &log);
    hsm.set("AKV_LOG_LEVEL", "warn");
    Outcome::of(sign_command(&hsm)).succeeds();
    let warnings = lines(&log);
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    for (retries, line) in (1..).zip(&warnings) {
        assert_eq!(
            (&line["level"], &line["retries"]),
            (&"WARN".into(), &retries.into())
        );
        let message = line["message"].as_str().expect("a message");
        assert!(
            message.contains("429") && message.contains(&uri("k")),
            "{message}"
        );
    }
    fs::remove_file(&log).expect("it was made");

    // Of the provider, and of akv in both of its ways.
    hsm.set("AKV_LOG_LEVEL", "error");
    let load = ["pkey", "-in", &uri("none"), "-noout"];
    let failed = [
        hsm.openssl(Loading::AkvFirst, &load),
        hsm.akv(&["key", "pem", &uri("none")]),
        hsm.akv(&["keys", "show", &uri("none")]),
    ];
    for outcome in &failed {
        outcome.fails_with(&["KeyNotFound"]);
    }
    let errors = lines(&log);
    assert_eq!(errors.len(), failed.len(), "{errors:?}");
    for line in errors {
        assert_eq!(
            (&line["level"], &line["status"]),
            (&"ERROR".into(), &"404".into())
        );
        assert!(line["pid"].is_u64() && line["time"].is_string(), "{line}");
        assert!(
            line["key"]
                .as_str()
                .is_some_and(|key| key.contains(":none")),
            "{line}"
        );
        assert!(
            line["request_id"].as_str().is_some_and(|id| id.len() > 8),
            "{line}"
        );
    }
}

#[test]
fn requests_have_their_fields_in_json_and_every_line_its_process() {
    let mut hsm = Hsm::with_keys(&[("k", EC_P256)]);
    let log = hsm.path("log");
    hsm.set("AKV_LOG_FILE", &log);
    Outcome::of(sign_command(&hsm)).succeeds();
    let text = fs::read_to_string(&log).expect("a log");
    for line in text.lines() {
        let head = line.split(']').next().expect("a head");
        let pid = head.rsplit(' ').next().expect("words");
        assert!(pid.parse::<u32>().is_ok(), "{line}");
    }
    fs::remove_file(&log).expect("it was made");
    hsm.set("AKV_LOG_FORMAT", "json");
    Outcome::of(sign_command(&hsm)).succeeds();
    let lines = lines(&log);
    let signed = lines.iter().find(|line| line["operation"] == "sign with");
    let signed = signed.expect("a line");
    assert_eq!(
        (&signed["algorithm"], &signed["status"], &signed["retries"]),
        (&"ES256".into(), &"200".into(), &0.into())
    );
    assert!(signed["ms"].is_u64(), "{signed}");
}

#[test]
fn a_log_that_nobody_reads_stops_no_signature() {
    let mut hsm = Hsm::with_keys(&[("k", EC_P256)]);
    hsm.set("RUST_LOG", "trace");
    hsm.set("AKV_OPERATION_TIMEOUT", "10");
    for by_akv in [false, true] {
        let (reader, mut writer) = std::io::pipe().expect("a pipe");
        // As much as a pipe holds.
        writer.write_all(&[b'x'; 65536]).expect("it has room");
        let mut command = match by_akv {
            false => sign_command(&hsm),
            true => hsm.akv_command(&["sign", &uri("k"), &hsm.write("message", "text")]),
        };
        command.stdout(std::process::Stdio::null()).stderr(writer);
        let status = command.status().expect("it runs");
        assert!(status.success(), "{status}");
        drop(reader);
    }
    let fifo = make_fifo(&hsm);
    hsm.set("AKV_LOG_FILE", &fifo);
    Outcome::of(sign_command(&hsm)).succeeds();
}

/// A line about a wrong signature is written when the request is over.
#[test]
fn a_log_that_can_not_be_written_ends_no_process() {
    let mut hsm = Hsm::start_with(&["--fault", "wrong-value,operation=sign"]);
    hsm.create("k", EC_P256);
    let program = hsm.compile("log_signals");
    for level in ["error", "trace"] {
        hsm.set("AKV_LOG_LEVEL", level);
        hsm.set("AKV_LOG_FILE", "/dev/stderr");
        hsm.run(&program, &[&uri("k"), "pipe"]).succeeds();
        hsm.set("AKV_LOG_FILE", &hsm.path("log"));
        hsm.run(&program, &[&uri("k"), "size"]).succeeds();
    }
}

#[test]
fn a_log_file_is_made_for_its_owner_and_not_through_a_link() {
    use std::os::unix::fs::{MetadataExt, symlink};
    let mut hsm = Hsm::with_keys(&[("k", EC_P256)]);
    let (log, link) = (hsm.path("log"), hsm.path("link"));
    symlink(&log, &link).expect("a link");
    hsm.set("AKV_LOG_FILE", &link);
    let words = ["AKV_LOG_FILE", "symbolic link"];
    Outcome::of(sign_command(&hsm)).fails_with(&words);
    hsm.akv(&["keys", "show", &uri("k")]).fails_with(&words);
    assert!(!hsm.file("log").exists());
    hsm.set("AKV_LOG_FILE", &log);
    hsm.akv(&["keys", "list", "managedhsm:MyHSM"]).succeeds();
    hsm.akv(&["sign", &uri("k"), &hsm.write("message", "text")])
        .succeeds();
    let made = fs::metadata(&log).expect("a log");
    assert!(made.mode() & 0o777 == 0o600 && made.len() > 0);
}

#[test]
fn a_file_of_settings_that_never_ends_is_refused_at_once() {
    let mut hsm = Hsm::with_keys(&[("k", EC_P256)]);
    let fifo = make_fifo(&hsm);
    let environment = hsm.environment.clone();
    for path in [fifo.as_str(), "/dev/zero", "/"] {
        for (variable, credential) in [
            ("AKV_TOKEN_FILE", Some("TokenFile")),
            ("AKV_CA_FILE", None),
            (
                "AZURE_CLIENT_CERTIFICATE_PATH",
                Some("ClientCertificateCredential"),
            ),
            (
                "AZURE_FEDERATED_TOKEN_FILE",
                Some("WorkloadIdentityCredential"),
            ),
        ] {
            hsm.environment = environment.clone();
            if let Some(credential) = credential {
                hsm.unset("AZURE_CLI_ACCESS_TOKEN");
                hsm.set("AZURE_TOKEN_CREDENTIALS", credential);
                hsm.set("AZURE_TENANT_ID", "11111111-2222-3333-4444-555555555555");
                hsm.set("AZURE_CLIENT_ID", "11111111-2222-3333-4444-555555555555");
            }
            hsm.set(variable, path);
            let words = [path, "is not a regular file"];
            Outcome::of(sign_command(&hsm)).fails_with(&words);
            hsm.akv(&["key", "pem", &uri("k")]).fails_with(&words);
        }
    }
    // In the place of the system's certificates: the file, and one of those in a folder.
    let folder = hsm.file("certificates");
    fs::create_dir(&folder).expect("a folder");
    let linked = folder.join("12345678.0");
    std::os::unix::fs::symlink(&fifo, &linked).expect("a link");
    for (variable, value, path) in [
        ("SSL_CERT_FILE", fifo.as_str(), fifo.as_str()),
        ("SSL_CERT_FILE", "/dev/zero", "/dev/zero"),
        (
            "SSL_CERT_DIR",
            folder.to_str().expect("UTF-8"),
            "12345678.0",
        ),
    ] {
        hsm.environment = environment.clone();
        hsm.set(variable, value);
        let words = [variable, path, "is not a regular file"];
        Outcome::of(sign_command(&hsm)).fails_with(&words);
        hsm.akv(&["key", "pem", &uri("k")]).fails_with(&words);
    }
    // What akv reads of OpenSSL's; the doctor has OpenSSL read it, too.
    hsm.environment = environment;
    hsm.set("OPENSSL_CONF", &fifo);
    hsm.akv(&["keys", "list", "managedhsm:MyHSM"])
        .fails_with(&["OPENSSL_CONF", "is not a regular file"]);
    hsm.akv(&["doctor", "managedhsm:MyHSM"])
        .fails_with(&[&fifo, "is not a regular file"]);
}

#[test]
fn nothing_is_a_configuration_as_it_is_to_openssl() {
    let mut hsm = Hsm::with_keys(&[("k", EC_P256)]);
    hsm.set("OPENSSL_CONF", "/dev/null");
    hsm.akv(&["key", "pem", &uri("k")]).succeeds();
    let told = hsm.akv(&["doctor", "managedhsm:MyHSM"]);
    let told = told.text();
    assert!(told.contains("/dev/null; set: "), "{told}");
}

#[test]
fn files_of_windows_editors_are_read() {
    let mut hsm = Hsm::with_keys(&[("k", EC_P256)]);
    let windows = |text: &str| format!("\u{feff}{}\r\n", text.trim_end().replace('\n', "\r\n"));
    let token = windows(hsm.variable("AZURE_CLI_ACCESS_TOKEN"));
    let ca = windows(&fs::read_to_string(hsm.variable("AKV_CA_FILE")).expect("a CA"));
    let key = hsm.akv(&["key", "pem", &uri("k")]).succeeds();
    let (token_file, ca_file) = (hsm.write("token", &token), hsm.write("ca.pem", ca));
    let key_file = hsm.write("key.pem", windows(&key));
    hsm.set("AKV_CA_FILE", &ca_file);
    let (message, signature) = (hsm.write("message", "text"), hsm.path("signature"));
    let sign = [
        "dgst", "-sha256", "-sign", &key_file, "-out", &signature, &message,
    ];
    // The token in the variable has the mark, and the line's end.
    hsm.set("AZURE_CLI_ACCESS_TOKEN", &token);
    hsm.openssl(Loading::AkvFirst, &sign).succeeds();
    hsm.unset("AZURE_CLI_ACCESS_TOKEN");
    hsm.set("AKV_TOKEN_FILE", &token_file);
    hsm.openssl(Loading::AkvFirst, &sign).succeeds();
    hsm.akv(&["keys", "show", &uri("k")]).succeeds();
    let utf_16 = |text: &str| -> Vec<u8> {
        let units = text.encode_utf16();
        units.flat_map(u16::to_le_bytes).collect()
    };
    // What akv is given: JSON, and keys in PEM.
    let role = windows(r#"{"roleName":"Signer","dataActions":["keys/sign/action"]}"#);
    let role_file = hsm.write("role.json", &role);
    let define = ["roles", "define", "managedhsm:MyHSM", &role_file];
    hsm.akv(&define).succeeds();
    hsm.write("role.json", utf_16(&role));
    hsm.akv(&define)
        .fails_with(&["role.json is UTF-16", "save it as UTF-8"]);
    let own = hsm.path("own.pem");
    let make = format!("genpkey -algorithm EC -pkeyopt group:P-256 -out {own}");
    hsm.openssl_line(Loading::Plain, &make).succeeds();
    let pem = windows(&fs::read_to_string(&own).expect("a key"));
    hsm.write("own.pem", pem);
    hsm.akv(&["keys", "import", &uri("own"), &own]).succeeds();

    hsm.write("token", utf_16(&token));
    hsm.openssl(Loading::AkvFirst, &sign)
        .fails_with(&["is UTF-16", "save it as UTF-8"]);
}

#[test]
fn where_standard_error_is_closed_no_log_gets_into_the_files_of_the_program() {
    let mut hsm = Hsm::with_keys(&[("k", EC_P256)]);
    let public = hsm.public_key(Loading::AkvFirst, &uri("k"));
    let (message, signature) = (hsm.write("message", "text"), hsm.path("signature"));
    hsm.set("AKV_LOG_LEVEL", "info");
    let mut command = hsm.command("sh");
    command
        .args([
            "-c",
            r#"exec "$@" 2>&-"#,
            "sh",
            "openssl",
            "dgst",
            "-sha256",
        ])
        .args(["-provider", "akv_provider", "-provider", "default"])
        .args(["-sign", &uri("k"), "-out", &signature, &message]);
    Outcome::of(command).succeeds();
    hsm.verifies(&["-sha256"], &public, &signature, &message);
}

#[test]
fn where_the_program_closes_standard_error_later_its_own_files_get_no_log_and_its_logs_do() {
    let mut hsm = Hsm::with_keys(&[("k", EC_P256)]);
    hsm.set("AKV_LOG_LEVEL", "trace");
    let program = hsm.compile("standard_error");
    for (what, is_log) in [("data", false), ("log", true)] {
        let file = hsm.path(what);
        hsm.run(&program, &[&uri("k"), &file, what]).succeeds();
        let written = fs::read_to_string(file).expect("it is there");
        assert_eq!(!written.is_empty(), is_log, "{what}: {written}");
    }
}

/// Each library context has settings of its own, and the process one log.
#[test]
fn log_settings_of_a_second_library_context_are_warned_of() {
    let hsm = Hsm::with_keys(&[("ec", EC_P256)]);
    let (first, second) = (hsm.path("first.log"), hsm.path("second.log"));
    let configs = [&first, &second].map(|log| {
        let text = fs::read_to_string(hsm.path("akv.cnf")).expect("a configuration");
        let name = format!("{log}.cnf");
        fs::write(&name, format!("{text}log-file = {log}\n")).expect("it is written");
        name
    });
    let program = hsm.compile("two_logs");
    hsm.run(&program, &[&uri("ec"), &configs[0], &configs[1]])
        .succeeds();
    let log = fs::read_to_string(first).expect("a log");
    let ineffective = format!("log-file = {second} has no effect");
    assert_eq!(log.matches(&ineffective).count(), 1, "{log}");
    assert!(!fs::exists(second).expect("a folder"));
}
