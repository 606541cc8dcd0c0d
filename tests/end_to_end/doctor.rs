//! `akv doctor` on set-ups that are broken in one place each: the step that fails, and what it says
//! to do.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use crate::support::{EC_P256, Hsm, Loading};

const TARGET: &str = "managedhsm:MyHSM:k";

fn report(hsm: &Hsm, target: &str) -> (Value, bool) {
    let outcome = hsm.akv(&["doctor", target, "--samples", "3", "--json"]);
    let text = outcome.text();
    let json = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
    (json, outcome.is_success())
}

/// Checks that the set-up fails at a step, and that what is told holds the words.
#[track_caller]
fn fails(hsm: &Hsm, step: &str, words: &[&str]) {
    let (report, is_good) = report(hsm, TARGET);
    assert!(!is_good, "{report:#}");
    assert_eq!(report["first_failure"], step, "{report:#}");
    let steps = report["steps"].as_array().expect("steps");
    let failed = steps
        .iter()
        .find(|one| one["status"] == "failed")
        .expect("one failed");
    let told = format!("{} {}", failed["detail"], failed["remedy"]).to_lowercase();
    for word in words {
        assert!(told.contains(&word.to_lowercase()), "{word}: {told}");
    }
}

fn hsm() -> Hsm {
    Hsm::with_keys(&[("k", EC_P256)])
}

/// A folder that is all of PATH, with one program in it or none.
fn only_program(hsm: &mut Hsm, name: &str, script: &str) {
    let folder = hsm.file("path");
    fs::create_dir_all(&folder).expect("a folder");
    let path = folder.join(name);
    fs::write(&path, format!("#!/bin/sh\n{script}\n")).expect("a program");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("it may be run");
    hsm.set("PATH", folder.to_str().expect("text"));
}

/// A port that gives every connection the same answer. Lives as long as the tests do.
fn answering(status: &'static str) -> u16 {
    answering_with(move |_| status.to_owned())
}

/// A port whose answer to a request is what this makes of it. Lives as long as the tests do.
fn answering_with(status: impl Fn(&str) -> String + Send + 'static) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a connection");
            let mut request = [0; 1024];
            let len = stream.read(&mut request).unwrap_or_default();
            let status = status(&String::from_utf8_lossy(&request[..len]));
            let _ = write!(stream, "{status}\r\nContent-Length: 0\r\n\r\n");
        }
    });
    port
}

#[test]
fn all_is_well_where_it_is() {
    let hsm = hsm();
    let configuration = hsm.path("akv.cnf");
    let mut command = hsm.akv_command(&["doctor", TARGET, "--json"]);
    let output = command
        .env("OPENSSL_CONF", configuration)
        .output()
        .expect("akv runs");
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert!(output.status.success(), "{report:#}");
    assert_eq!(report["status"], "ok");
    assert_eq!(report["warnings"], 0, "{report:#}");
    let steps = report["steps"].as_array().expect("steps");
    let names: Vec<&str> = steps
        .iter()
        .filter_map(|step| step["step"].as_str())
        .collect();
    let expected = [
        "openssl",
        "module",
        "provider",
        "activation",
        "configuration",
        "endpoint",
        "name-resolution",
        "connection",
        "tls",
        "service",
        "credential",
        "clock",
        "read-key",
        "sign",
        "latency",
    ];
    assert_eq!(names, expected, "{report:#}");
    assert!(
        steps.iter().all(|step| step["status"] == "ok"),
        "{report:#}"
    );

    let endpoint = steps.iter().find(|step| step["step"] == "endpoint");
    let detail = endpoint.expect("the step")["detail"]
        .as_str()
        .unwrap_or_default();
    for words in [
        "AZURE_MANAGEDHSM_URL leads requests to https://localhost:",
        "not to https://myhsm.managedhsm.azure.net",
    ] {
        assert!(detail.contains(words), "{words}: {detail}");
    }

    // For people, and without a key.
    let text = hsm.akv(&["doctor"]).succeeds();
    assert!(
        text.contains("warning  activation") && text.contains("-> give programs"),
        "{text}"
    );
}

#[test]
fn each_step_is_shown_when_it_is_known_and_all_again_as_a_table() {
    let mut hsm = hsm();
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = silent.local_addr().expect("an address").port();
    let real = hsm.variable("AZURE_MANAGEDHSM_URL").to_owned();
    hsm.set("AZURE_MANAGEDHSM_URL", &format!("https://localhost:{port}"));
    let mut command = hsm.akv_command(&["doctor", TARGET]);
    command
        .env("AKV_CONNECT_TIMEOUT", "5")
        .stdout(Stdio::piped());
    let mut doctor = command.spawn().expect("akv runs");
    let mut lines = BufReader::new(doctor.stdout.take().expect("a pipe")).lines();
    let mut next = || lines.next().expect("a line").expect("text");
    while !next().starts_with("ok       connection") {}
    // The silence that follows has not ended yet.
    assert!(doctor.try_wait().expect("it is there").is_none());
    while !next().starts_with("failed   tls") {}
    assert_eq!(doctor.wait().expect("it ends").code(), Some(1));

    hsm.set("AZURE_MANAGEDHSM_URL", &real);
    let text = hsm.akv(&["doctor", TARGET, "--samples", "3"]).succeeds();
    assert!(!text.contains('\u{1b}'), "{text}");
    let (steps, table) = text.split_once("For an issue:").expect("a table");
    for words in ["All is well", "It works, with 1 warning"] {
        assert_eq!(steps.contains(words), words.contains("warning"), "{text}");
    }
    assert!(
        steps.contains("Not tried: the PKCS#11 module: akv doctor --pkcs11"),
        "{text}"
    );
    assert!(
        table.contains("| step | status | detail |\n|---|---|---|\n| openssl | ok | "),
        "{text}"
    );
    assert!(
        table.contains("| activation | warning | ") && table.contains("| latency | ok | 3 req")
    );
    let mut command = hsm.akv_command(&["doctor"]);
    let output = command
        .env("CLICOLOR_FORCE", "1")
        .output()
        .expect("akv runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("\u{1b}[1m\u{1b}[32mok"), "{text}");
}

#[test]
fn openssl_and_its_modules_are_looked_at() {
    let mut hsm = hsm();
    only_program(&mut hsm, "something", "exit 0");
    fails(
        &hsm,
        "openssl",
        &["'openssl' does not run", "install OpenSSL 3"],
    );
    only_program(&mut hsm, "openssl", "echo 'OpenSSL 1.1.1w  11 Sep 2023'");
    fails(&hsm, "openssl", &["1.1.1w", "has no providers"]);
    hsm.unset("PATH");

    let modules = hsm.path("modules");
    let empty = hsm.path("empty");
    fs::create_dir(&empty).expect("a folder");
    hsm.set("OPENSSL_MODULES", &empty);
    fails(
        &hsm,
        "module",
        &["akv_provider.so", "OPENSSL_MODULES", "No such file"],
    );
    fs::write(format!("{empty}/akv_provider.so"), "not a library").expect("a file");
    fails(&hsm, "provider", &["does not load", "architecture"]);
    hsm.set("OPENSSL_MODULES", &modules);
}

#[test]
fn the_configuration_is_looked_at() {
    let mut hsm = hsm();
    let write = |hsm: &mut Hsm, providers: &str, own: &str| {
        let module = hsm.path("modules/akv_provider.so");
        let text = format!(
            "openssl_conf = a\n[a]\nproviders = b\n[b]\n{providers}akv_provider = akv\n[on]\nactivate = 1\n\
             [akv]\nmodule = {module}\n{own}\n"
        );
        let file = hsm.write("broken.cnf", text);
        hsm.set("OPENSSL_CONF", &file);
    };
    write(&mut hsm, "", "activate = 1");
    fails(&hsm, "activation", &["not OpenSSL's own", "akv env"]);
    write(&mut hsm, "default = on\n", "");
    fails(
        &hsm,
        "activation",
        &["does not activate it", "activate = 1"],
    );
    write(
        &mut hsm,
        "default = on\n",
        "activate = 1\nmax-connexions = 3",
    );
    fails(
        &hsm,
        "configuration",
        &["max-connexions", "no such setting"],
    );
    write(
        &mut hsm,
        "default = on\n",
        "activate = 1\nmax-connections = many",
    );
    fails(&hsm, "configuration", &["max-connections", "many"]);
    let missing = hsm.path("missing.cnf");
    hsm.set("OPENSSL_CONF", &missing);
    fails(
        &hsm,
        "configuration",
        &["missing.cnf", "can't be read", "OPENSSL_CONF"],
    );
    hsm.unset("OPENSSL_CONF");
    hsm.set("AKV_OPERATION_TIMEOUT", "soon");
    fails(&hsm, "configuration", &["AKV_OPERATION_TIMEOUT", "soon"]);
    hsm.unset("AKV_OPERATION_TIMEOUT");
    hsm.set("AKV_CA_FILE", "/no/such/ca.pem");
    fails(&hsm, "configuration", &["AKV_CA_FILE", "/no/such/ca.pem"]);
}

#[test]
fn the_way_to_the_service_is_looked_at() {
    let mut hsm = hsm();
    let real = hsm.variable("AZURE_MANAGEDHSM_URL").to_owned();
    hsm.set("AKV_CONNECT_TIMEOUT", "2");
    hsm.set("AZURE_MANAGEDHSM_URL", "https://hsm.invalid");
    hsm.set("AKV_ENDPOINTS", "MyHSM=https://named.invalid");
    fails(&hsm, "name-resolution", &["named.invalid has no address"]);
    let text = hsm.akv(&["doctor", "managedhsm:MyHSM"]).text();
    let words = "AKV_ENDPOINTS leads requests to https://named.invalid, and not to";
    assert!(text.contains(words), "{text}");
    hsm.unset("AKV_ENDPOINTS");
    fails(
        &hsm,
        "name-resolution",
        &["hsm.invalid has no address", "name servers"],
    );

    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = silent.local_addr().expect("an address").port();
    hsm.set("AZURE_MANAGEDHSM_URL", &format!("https://localhost:{port}"));
    fails(&hsm, "tls", &["no answer within 2 s"]);
    drop(silent);
    fails(&hsm, "connection", &["refused", "nothing listens there"]);

    let plain = answering("HTTP/1.1 400 Bad Request");
    hsm.set(
        "AZURE_MANAGEDHSM_URL",
        &format!("https://localhost:{plain}"),
    );
    fails(&hsm, "tls", &["does not speak TLS"]);

    // A proxy that wants to know who comes.
    let proxy = answering("HTTP/1.1 407 Proxy Authentication Required");
    hsm.set("AZURE_MANAGEDHSM_URL", &real);
    hsm.set("HTTPS_PROXY", &format!("http://127.0.0.1:{proxy}"));
    fails(&hsm, "connection", &["407", "HTTPS_PROXY"]);
    hsm.set("HTTPS_PROXY", "http://127.0.0.1:9");
    fails(
        &hsm,
        "connection",
        &["the proxy 127.0.0.1", "refused", "HTTPS_PROXY"],
    );
    hsm.set("NO_PROXY", "localhost");
    assert!(report(&hsm, TARGET).1);
}

#[test]
fn a_proxy_that_repeats_its_password_does_not_have_it_shown() {
    let mut hsm = hsm();
    let proxy = answering_with(|request| {
        let login = request.split_once("Proxy-Authorization: ");
        let login = login.and_then(|(_, login)| login.lines().next());
        let login = login.expect("the proxy is told who comes");
        format!("HTTP/1.1 407 No {login}, jo:hun%20ter!, jo:hun ter!, hun ter! \u{1b}[31m")
    });
    hsm.set(
        "HTTPS_PROXY",
        &format!("http://jo:hun%20ter!@127.0.0.1:{proxy}"),
    );
    for form in [&[][..], &["--json"]] {
        let told = hsm.akv(&[&["doctor", TARGET], form].concat()).text();
        assert!(told.contains("407 No Basic …, "), "{told}");
        for secret in ["am86aHVuIHRlciE", "hun%20ter!", "hun ter!", "\u{1b}"] {
            assert!(!told.contains(secret), "{told}");
        }
    }
}

#[test]
fn tls_is_looked_at() {
    let mut hsm = hsm();
    let real = hsm.variable("AZURE_MANAGEDHSM_URL").to_owned();
    let emulator_ca = hsm.variable("AKV_CA_FILE").to_owned();
    let make = |hsm: &Hsm, name: &str| {
        let files = (
            hsm.path(&format!("{name}.key")),
            hsm.path(&format!("{name}.crt")),
        );
        let line = format!(
            "req -x509 -newkey rsa:2048 -nodes -keyout {} -out {} -days 30 -subj /CN={name} -addext subjectAltName=DNS:{name}",
            files.0, files.1
        );
        hsm.openssl_line(Loading::Plain, &line).succeeds();
        files
    };
    let (other_key, other) = make(&hsm, "other.example");
    hsm.set("AKV_CA_FILE", &other);
    fails(
        &hsm,
        "tls",
        &[
            "UnknownIssuer",
            "it presents CN=managed-hsm-emulator",
            "AKV_CA_FILE",
        ],
    );

    let server = hsm.serve_tls(Loading::Plain, &["-key", &other_key, "-cert", &other]);
    let port = server
        .address
        .rsplit(':')
        .next()
        .expect("a port")
        .to_owned();
    let url = format!("https://localhost:{port}");
    hsm.set("AZURE_MANAGEDHSM_URL", &url);
    fails(&hsm, "tls", &["not valid for name", "another host"]);
    drop(server);

    let (key, certificate) = make(&hsm, "localhost");
    hsm.set("AKV_CA_FILE", &certificate);
    let line = ["-key", &key, "-cert", &certificate, "-groups", "P-256"];
    let server = hsm.serve_tls(Loading::Plain, &line);
    let port = server
        .address
        .rsplit(':')
        .next()
        .expect("a port")
        .to_owned();
    hsm.set("AZURE_MANAGEDHSM_URL", &format!("https://localhost:{port}"));
    fails(
        &hsm,
        "service",
        &["200", "an HSM answers 401", "check that this address"],
    );
    hsm.set("AKV_REQUIRE_POST_QUANTUM", "yes");
    fails(&hsm, "tls", &["X25519MLKEM768", "AKV_REQUIRE_POST_QUANTUM"]);

    hsm.set("AZURE_MANAGEDHSM_URL", &real);
    hsm.set("AKV_CA_FILE", &emulator_ca);
    assert!(report(&hsm, TARGET).1);
}

/// A token that nobody signed. The doctor sends it nowhere if it can't fit.
fn token(claims: &str) -> String {
    let encode = |text: &str| URL_SAFE_NO_PAD.encode(text);
    format!(
        "{}.{}.{}",
        encode(r#"{"alg":"none"}"#),
        encode(claims),
        encode("signature")
    )
}

#[test]
fn the_credential_is_looked_at() {
    let mut hsm = hsm();
    let good = hsm.variable("AZURE_CLI_ACCESS_TOKEN").to_owned();
    let audience = "https://managedhsm.azure.net";
    for (claims, words) in [
        (
            r#"{"aud":"https://vault.azure.net"}"#.to_owned(),
            ["https://vault.azure.net", "az account get-access-token"],
        ),
        (
            format!(r#"{{"aud":"{audience}","tid":"99999999-0000-0000-0000-000000000000"}}"#),
            ["99999999", "az login --tenant"],
        ),
        (
            format!(r#"{{"aud":"{audience}","nbf":4000000000}}"#),
            ["not good before", "clock"],
        ),
        (
            format!(r#"{{"aud":"{audience}","exp":1600000000}}"#),
            ["expired at 2020", "AZURE_CLI_ACCESS_TOKEN"],
        ),
    ] {
        let before = hsm.requests().len();
        hsm.set("AZURE_CLI_ACCESS_TOKEN", &token(&claims));
        let step = if words[1] == "clock" {
            "clock"
        } else {
            "credential"
        };
        fails(&hsm, step, &words);
        // One request without a token, to see who is there.
        assert_eq!(hsm.requests().len() - before, 1);
    }
    hsm.set(
        "AZURE_CLI_ACCESS_TOKEN",
        &token(&format!(r#"{{"aud":"{audience}"}}"#)),
    );
    fails(&hsm, "read-key", &["401", "AccessToken", "akv token"]);

    hsm.unset("AZURE_CLI_ACCESS_TOKEN");
    hsm.set("AZURE_TOKEN_CREDENTIALS", "EnvironmentCredential");
    fails(
        &hsm,
        "credential",
        &["AZURE_CLIENT_SECRET is not set", "akv docs authentication"],
    );
    hsm.log_in();
    hsm.set("AZURE_CLIENT_SECRET", "not-the-secret");
    fails(
        &hsm,
        "credential",
        &["AADSTS7000215", "ClientSecretCredential"],
    );

    hsm.unset("AZURE_CLIENT_SECRET");
    hsm.set("AZURE_CLI_ACCESS_TOKEN", &good);
    assert!(report(&hsm, TARGET).1);
}

#[test]
fn each_permission_and_property_of_a_key_is_looked_at() {
    let folder = tempfile::tempdir().expect("a folder");
    let principals = folder.path().join("principals.json");
    let nobody = "33333333-0000-0000-0000-000000000009";
    let text =
        format!(r#"[{{"client_id":"{nobody}","object_id":"{nobody}","client_secret":"s3cret"}}]"#);
    fs::write(&principals, text).expect("a file");
    let mut hsm = Hsm::start_with(&["--principals", principals.to_str().expect("text")]);
    fails(&hsm, "read-key", &["KeyNotFound", "akv keys list"]);
    hsm.create(
        "k",
        r#"{"kty":"EC-HSM","crv":"P-256","key_ops":["verify"]}"#,
    );
    fails(&hsm, "sign", &["key_ops", "--operations verify,sign"]);
    hsm.update("k", r#"{"key_ops":["sign","verify"]}"#);
    assert!(report(&hsm, TARGET).1);
    hsm.update("k", r#"{"attributes":{"enabled":false}}"#);
    fails(&hsm, "sign", &["disabled", "akv keys set", "--enabled"]);
    hsm.update("k", r#"{"attributes":{"enabled":true}}"#);

    let owner = hsm.environment.clone();
    hsm.log_in();
    hsm.set("AZURE_CLIENT_ID", nobody);
    hsm.set("AZURE_CLIENT_SECRET", "s3cret");
    fails(
        &hsm,
        "read-key",
        &["403", "akv roles assign", nobody, "/keys/k"],
    );
    hsm.environment = owner;
    assert!(report(&hsm, TARGET).1);
}

#[test]
fn an_hsm_that_is_not_well_is_told_from_a_set_up_that_is_wrong() {
    for (fault, step, words) in [
        (
            "throttled,operation=sign",
            "sign",
            ["429", "spread the load"],
        ),
        (
            "unavailable,operation=sign",
            "sign",
            ["503", "the service's message"],
        ),
        (
            "wrong-value,operation=sign",
            "sign",
            ["signature", "endpoint"],
        ),
        (
            "malformed-json,operation=k",
            "read-key",
            ["endpoint", "proxy"],
        ),
    ] {
        let mut hsm = Hsm::start_with(&["--fault", fault]);
        hsm.create("k", EC_P256);
        hsm.set("AKV_MAX_RETRIES", "0");
        fails(&hsm, step, &words);
    }
}
