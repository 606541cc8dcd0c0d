//! Settings from `openssl.cnf` and from the environment, random bytes, the log, and what the
//! provider says of itself.

use std::fs;

use crate::support::{EC_P256, Hsm, Loading, uri};

/// An `openssl.cnf` with further lines in the provider's section.
fn config(hsm: &Hsm, lines: &str, sections: &str) -> String {
    let standard = fs::read_to_string(hsm.file("akv.cnf")).expect("a configuration file");
    let text = standard.replace("[openssl]\n", &format!("[openssl]\n{sections}"));
    hsm.write("with-settings.cnf", format!("{text}{lines}\n"))
}

#[test]
fn a_setting_in_the_file_counts_and_the_environment_wins() {
    let mut hsm = Hsm::with_keys(&[("ec", EC_P256)]);
    let endpoint = hsm.variable("AZURE_MANAGEDHSM_URL").to_owned();
    let ca_file = hsm.variable("AKV_CA_FILE").to_owned();
    hsm.unset("AZURE_MANAGEDHSM_URL");
    hsm.unset("AKV_CA_FILE");
    let path = config(
        &hsm,
        &format!("endpoint = {endpoint}\nca-file = {ca_file}"),
        "",
    );
    hsm.set("OPENSSL_CONF", &path);
    let load = ["pkey", "-in", &uri("ec"), "-noout"];
    hsm.openssl(Loading::Plain, &load).succeeds();
    hsm.set("AZURE_MANAGEDHSM_URL", "https://localhost:1");
    hsm.openssl(Loading::Plain, &load)
        .fails_with(&["localhost:1"]);
}

#[test]
fn bad_values_and_unknown_keys_are_named_with_their_place() {
    let mut hsm = Hsm::with_keys(&[("ec", EC_P256)]);
    let load = ["pkey", "-in", &uri("ec"), "-noout"];
    for (line, words) in [
        (
            "max-connexions = 3",
            &["'max-connexions' in openssl.cnf", "max-connections"][..],
        ),
        (
            "max-connections = 0",
            &["'max-connections' in openssl.cnf", "'0'"],
        ),
        (
            "operation-timeout = soon",
            &["'operation-timeout' in openssl.cnf", "'soon'"],
        ),
        (
            "allow-delete = perhaps",
            &["'allow-delete' in openssl.cnf", "'perhaps'"],
        ),
        (
            "endpoint = http://localhost",
            &["'endpoint' in openssl.cnf", "https"],
        ),
        (
            "log-level = loud",
            &["'log-level' in openssl.cnf", "'loud'"],
        ),
        ("ca-file = /nowhere", &["/nowhere", "ca-file"]),
    ] {
        let path = config(&hsm, line, "");
        hsm.set("OPENSSL_CONF", &path);
        let own: Vec<(String, String)> = hsm.environment.clone();
        if line.starts_with("endpoint") {
            hsm.unset("AZURE_MANAGEDHSM_URL");
        }
        if line.starts_with("ca-file") {
            hsm.unset("AKV_CA_FILE");
        }
        hsm.openssl(Loading::Plain, &load).fails_with(words);
        hsm.environment = own;
    }
    hsm.unset("OPENSSL_CONF");
    for (variable, value) in [
        ("AKV_MAX_CONNECTIONS", "none"),
        ("AKV_OPERATION_TIMEOUT", "0"),
        ("AKV_CONNECT_TIMEOUT", "1h"),
        ("AKV_ALLOW_DELETE", "2"),
        ("AKV_LOG_LEVEL", "7"),
    ] {
        hsm.set(variable, value);
        hsm.openssl(Loading::AkvFirst, &load)
            .fails_with(&[variable, value]);
        hsm.unset(variable);
    }
}

/// Who waits for its end would wait for ever.
#[cfg(unix)]
#[test]
fn a_configuration_out_of_a_fifo_is_read_once() {
    let mut hsm = Hsm::with_keys(&[("ec", EC_P256)]);
    let text = fs::read(config(&hsm, "max-connections = 3", "")).expect("a configuration file");
    let fifo = hsm.path("fifo.cnf");
    assert!(hsm.run("mkfifo", &[&fifo]).is_success());
    hsm.set("OPENSSL_CONF", &fifo);
    let writer = std::thread::spawn(move || fs::write(fifo, text));
    hsm.openssl(Loading::Plain, &["pkey", "-in", &uri("ec"), "-noout"])
        .succeeds();
    writer.join().unwrap().expect("it was read");
}

/// Each library context has the settings of the file that it was configured by.
#[test]
fn the_default_file_says_nothing_of_a_context_with_a_file_of_its_own() {
    let mut hsm = Hsm::with_keys(&[("ec", EC_P256)]);
    let text = fs::read_to_string(config(&hsm, "max-connections = 3", "")).unwrap();
    let own = hsm.write("own.cnf", &text);
    let program = hsm.compile("other_config");
    for further in ["max-connexions = 3\n", "log-level = none\n[none]\nx = y\n"] {
        let bad = hsm.write("bad.cnf", format!("{text}{further}"));
        hsm.set("OPENSSL_CONF", &bad);
        hsm.run(&program, &[&own, &uri("ec")]).succeeds();
        // The same file, by the same way: now it is this context's.
        let word = further.split(' ').next().unwrap();
        hsm.run(&program, &[&bad, &uri("ec")]).fails_with(&[word]);
    }
}

#[test]
fn other_commands_go_on_with_a_bad_setting() {
    let mut hsm = Hsm::start();
    let path = config(&hsm, "max-connexions = 3", "");
    hsm.set("OPENSSL_CONF", &path);
    hsm.openssl(Loading::Plain, &["rand", "-hex", "8"])
        .succeeds();
    hsm.openssl(
        Loading::Plain,
        &["genpkey", "-algorithm", "EC", "-pkeyopt", "group:P-256"],
    )
    .succeeds();
}

#[test]
fn each_request_has_one_line_in_the_log_and_nothing_secret() {
    let mut hsm = Hsm::with_keys(&[("ec", EC_P256)]);
    let (message, log) = (hsm.write("message", "text"), hsm.path("provider.log"));
    let path = config(&hsm, &format!("log-level = info\nlog-file = {log}"), "");
    hsm.set("OPENSSL_CONF", &path);
    let before = hsm.requests().len();
    let sign = [
        "dgst",
        "-sha256",
        "-sign",
        &uri("ec"),
        "-out",
        "/dev/null",
        &message,
    ];
    hsm.openssl(Loading::Plain, &sign).succeeds();
    let requests = hsm.requests().split_off(before);
    let text = fs::read_to_string(&log).expect("the log was written");
    assert_eq!(text.lines().count(), requests.len(), "{text}");
    for word in [
        "ES256",
        "status=200",
        "ms=",
        "request_id=",
        "retries=0",
        &uri("ec"),
    ] {
        assert!(text.contains(word), "{word}: {text}");
    }
    assert!(!text.contains(hsm.variable("AZURE_CLI_ACCESS_TOKEN")));
}

#[test]
fn random_bytes_come_from_the_hsm_only_when_the_settings_say_so() {
    let mut hsm = Hsm::start();
    let list = ["list", "-random-generators"];
    let generators = hsm.openssl(Loading::AkvFirst, &list).succeeds();
    assert!(!generators.contains("AKV-RANDOM"), "{generators}");
    let random = "random = random\n";
    let path = config(
        &hsm,
        "random = MyHSM\n[random]\nrandom = AKV-RANDOM",
        random,
    );
    hsm.set("OPENSSL_CONF", &path);
    let before = hsm.requests().len();
    let first = hsm
        .openssl(Loading::Plain, &["rand", "-hex", "300"])
        .succeeds();
    let second = hsm
        .openssl(Loading::Plain, &["rand", "-hex", "300"])
        .succeeds();
    assert_eq!(first.trim().len(), 600);
    assert_ne!(first, second);
    let requests = hsm.requests().split_off(before);
    assert!(requests.len() >= 6 && requests.iter().all(|request| request.path == "/rng"));
    hsm.stop();
    hsm.openssl(Loading::Plain, &["rand", "-hex", "8"])
        .fails_with(&["random bytes", "MyHSM"]);
}

#[test]
fn the_provider_names_itself_and_tests_itself() {
    let hsm = Hsm::start();
    let providers = hsm
        .openssl(Loading::AkvFirst, &["list", "-providers", "-verbose"])
        .succeeds();
    for line in ["name: Azure Managed HSM provider", "status: active"] {
        assert!(providers.contains(line), "{providers}");
    }
    for (what, word) in [
        ("-store-loaders", "managedhsm @ akv_provider"),
        ("-signature-algorithms", "ECDSA @ akv_provider"),
        ("-asymcipher-algorithms", "AES @ akv_provider"),
        ("-encoders", "akv_provider"),
        ("-decoders", "akv_provider"),
        ("-key-managers", "akv_provider"),
    ] {
        let listed = hsm.openssl(Loading::AkvFirst, &["list", what]).succeeds();
        assert!(listed.contains(word), "{what}: {listed}");
    }
    let program = hsm.compile("self_test");
    hsm.run(&program, &[]).succeeds();
}

#[test]
fn a_self_test_finds_a_bad_setting() {
    let mut hsm = Hsm::start();
    let program = hsm.compile("self_test");
    hsm.set("AKV_MAX_CONNECTIONS", "0");
    hsm.run(&program, &[]).fails_with(&["AKV_MAX_CONNECTIONS"]);
}
