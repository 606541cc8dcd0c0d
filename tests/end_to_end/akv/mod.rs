//! The `akv` command: what it does in the HSM is looked at with `openssl`, and the other way round.

mod authority;
mod check;
mod completions;
mod config;
mod first_tries;
mod forms;
mod keys;
mod manual;
mod roles;
mod secure_wrap;
mod upkeep;
mod verbs;
mod written;

use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::Value;

use crate::support::{EC_P256, Hsm, Loading, uri};

const RSA_2048: &str = r#"{"kty":"RSA-HSM","key_size":2048}"#;
const AES_256: &str = r#"{"kty":"oct-HSM","key_size":256}"#;

/// What a command says as JSON.
#[track_caller]
fn json(hsm: &Hsm, line: &str) -> Value {
    let text = hsm.akv_line(&format!("{line} --output json")).succeeds();
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{line}: {error}: {text}"))
}

fn names(list: &Value, field: &str) -> Vec<String> {
    let rows = list.as_array().expect("a listing is an array");
    let name = |row: &Value| row[field].as_str().expect("a name").to_owned();
    rows.iter().map(name).collect()
}

#[test]
fn signatures_are_those_that_openssl_makes_and_checks() {
    let hsm = Hsm::with_keys(&[("rsa", RSA_2048), ("ec", EC_P256)]);
    let message = hsm.write("message", vec![7; 100_000]);
    let pss = [
        "-sigopt",
        "rsa_padding_mode:pss",
        "-sigopt",
        "rsa_pss_saltlen:digest",
    ];
    for (key, algorithm, hash, options) in [
        ("rsa", "RS256", "-sha256", &[][..]),
        ("rsa", "RS512", "-sha512", &[]),
        ("rsa", "PS256", "-sha256", &pss),
        ("rsa", "ps384", "-sha384", &pss),
        ("ec", "ES256", "-sha256", &[]),
    ] {
        let public = hsm.public_key(Loading::AkvFirst, &uri(key));
        let signature = hsm.path(&format!("{algorithm}.sig"));
        let (ours, theirs) = (hsm.path("ours"), hsm.path("theirs"));
        let sign = [
            "sign",
            &uri(key),
            &message,
            "--algorithm",
            algorithm,
            "--out",
        ];
        hsm.akv(&[&sign[..], &[&signature]].concat()).succeeds();
        let checks = [&[hash], options].concat();
        hsm.verifies(&checks, &public, &signature, &message);

        // A signature by the provider, checked by akv.
        let make = ["dgst", hash, "-sign", &uri(key), "-out", &theirs];
        hsm.openssl(
            Loading::AkvFirst,
            &[&make[..], options, &[&message]].concat(),
        )
        .succeeds();
        let verify = |file: &str, signature: &str| {
            hsm.akv(&[
                "verify",
                &uri(key),
                file,
                "--algorithm",
                algorithm,
                "--signature",
                signature,
            ])
        };
        verify(&message, &theirs).succeeds();
        let mut damaged = fs::read(&signature).expect("a signature");
        *damaged.last_mut().expect("it is not empty") ^= 1;
        fs::write(&ours, damaged).expect("it can be written");
        verify(&message, &ours).fails_with(&["NOT valid"]);
        verify(&theirs, &signature).fails_with(&["NOT valid"]);
        fs::remove_file(theirs).expect("it was there");
    }

    let raw = hsm.path("raw.sig");
    hsm.akv(&["sign", &uri("ec"), &message, "--raw", "--out", &raw])
        .succeeds();
    assert_eq!(fs::read(&raw).expect("a signature").len(), 64);
    hsm.akv(&["verify", &uri("ec"), &message, "--raw", "--signature", &raw])
        .succeeds();
    hsm.akv(&["verify", &uri("ec"), &message, "--signature", &raw])
        .fails_with(&["--raw"]);
    hsm.akv(&["sign", &uri("ec"), &message, "--algorithm", "RS256"])
        .fails_with(&["ec"]);
    hsm.akv(&["sign", &uri("rsa"), &message, "--algorithm", "HS256"])
        .fails_with(&["there are RS256"]);
}

#[test]
fn a_signature_that_does_not_verify_is_not_handed_out() {
    let hsm = Hsm::start_with(&["--fault", "wrong-value,operation=sign"]);
    hsm.create("ec", EC_P256);
    let message = hsm.write("message", "hello");
    let out = hsm.path("signature");
    hsm.akv(&["sign", &uri("ec"), &message, "--out", &out])
        .fails_with(&["signature"]);
    assert!(!std::path::Path::new(&out).exists());
}

#[test]
fn secrets_are_written_for_their_owner_only_and_over_nothing() {
    let hsm = Hsm::with_keys(&[("rsa", RSA_2048), ("aes", AES_256)]);
    let public = hsm.public_key(Loading::AkvFirst, &uri("rsa"));
    let (plain, encrypted, out) = (
        hsm.write("plain", "attack at dawn"),
        hsm.path("encrypted"),
        hsm.path("decrypted"),
    );
    hsm.openssl_line(
        Loading::Plain,
        &format!(
            "pkeyutl -encrypt -pubin -inkey {public} -in {plain} -out {encrypted} -pkeyopt rsa_padding_mode:oaep \
             -pkeyopt rsa_oaep_md:sha256"
        ),
    )
    .succeeds();
    let decrypted = hsm.akv(&["decrypt", &uri("rsa"), &encrypted, "--out", &out]);
    decrypted.succeeds();
    assert!(!decrypted.text().contains("attack"), "{}", decrypted.text());
    assert_eq!(fs::read(&out).expect("it was written"), b"attack at dawn");
    let mode = fs::metadata(&out)
        .expect("it is there")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    hsm.akv(&["decrypt", &uri("rsa"), &encrypted, "--out", &out])
        .fails_with(&["decrypted", "exists", "name another file"]);

    let wrapped = hsm.path("wrapped");
    hsm.akv(&["wrap", &uri("aes"), &plain, "--out", &wrapped])
        .succeeds();
    let unwrapped = hsm.path("unwrapped");
    hsm.akv(&["unwrap", &uri("aes"), &wrapped, "--out", &unwrapped])
        .succeeds();
    assert_eq!(
        fs::read(&unwrapped).expect("it was written"),
        b"attack at dawn"
    );
    let mut damaged = fs::read(&wrapped).expect("a wrapped key");
    damaged[3] ^= 1;
    let damaged = hsm.write("damaged", damaged);
    hsm.akv(&["unwrap", &uri("aes"), &damaged, "--out", &hsm.path("x")])
        .fails_with(&["400"]);
    hsm.akv(&["decrypt", &uri("aes"), &wrapped, "--out", &hsm.path("x")])
        .fails_with(&["--algorithm"]);
}

#[test]
fn certificates_and_requests_are_what_openssl_takes_for_valid() {
    let hsm = Hsm::with_keys(&[("rsa", RSA_2048), ("ec", EC_P256), ("aes", AES_256)]);
    for key in ["rsa", "ec"] {
        let (certificate, request) = (
            hsm.path(&format!("{key}.pem")),
            hsm.path(&format!("{key}.csr")),
        );
        let line = "--subject CN=localhost,O=Example --san DNS:localhost --san IP:127.0.0.1 --out";
        hsm.akv_line(&format!(
            "cert self-signed {} {line} {certificate} --days 3",
            uri(key)
        ))
        .succeeds();
        hsm.akv_line(&format!("cert csr {} {line} {request}", uri(key)))
            .succeeds();
        let run = |line: String| hsm.openssl_line(Loading::Plain, &line).succeeds();
        run(format!(
            "verify -x509_strict -verify_hostname localhost -CAfile {certificate} {certificate}"
        ));
        // RFC 5280, 4.2.1.1, has the extension in every certificate but a CA's own.
        let issuer = run(format!(
            "x509 -in {certificate} -noout -ext authorityKeyIdentifier"
        ));
        assert!(
            issuer.contains("X509v3 Authority Key Identifier"),
            "{issuer}"
        );
        let text = run(format!("req -in {request} -noout -verify -text"));
        assert!(
            text.contains("DNS:localhost, IP Address:127.0.0.1"),
            "{text}"
        );

        // With its key it serves TLS.
        let server = hsm.serve_tls(
            Loading::AkvFirst,
            &["-cert", &certificate, "-key", &uri(key)],
        );
        hsm.connect_tls(
            Loading::Plain,
            &server,
            &["-CAfile", &certificate, "-verify_hostname", "localhost"],
        )
        .succeeds();
    }
    hsm.akv_line("cert csr managedhsm:MyHSM:aes --subject CN=x")
        .fails_with(&["aes", "symmetric"]);
    hsm.akv_line("cert csr managedhsm:MyHSM:ec --subject x")
        .fails_with(&["CN=www.example.com"]);
    hsm.akv_line("cert csr managedhsm:MyHSM:ec --subject CN=x --san y")
        .fails_with(&["DNS:"]);
    hsm.akv_line("cert csr managedhsm:MyHSM:ec --subject CN=x --algorithm RS256")
        .fails_with(&["does not sign with RS256", "its type is P-256"]);
}

#[test]
fn the_configuration_that_is_printed_serves_openssl() {
    let hsm = Hsm::with_keys(&[("ec", EC_P256)]);
    // The provider's own settings, too.
    let own = [("AKV_VERIFY_SIGNATURES", "no"), ("AKV_LOG_LEVEL", "error")];
    let output = hsm
        .akv_command(&["env"])
        .envs(own)
        .output()
        .expect("akv runs");
    let text = String::from_utf8(output.stdout).expect("text");
    assert!(
        !text.contains(hsm.variable("AZURE_CLI_ACCESS_TOKEN")),
        "{text}"
    );
    for line in ["verify-signatures = no\n", "log-level = error\n"] {
        assert!(text.contains(line), "{text}");
    }
    let configuration = hsm.write("printed.cnf", text);
    let mut command = hsm.command("openssl");
    command
        .args(["pkey", "-in", &uri("ec"), "-noout", "-text_pub"])
        .env("OPENSSL_CONF", &configuration)
        .env_remove("AZURE_MANAGEDHSM_URL")
        .env_remove("AKV_CA_FILE");
    assert!(command.output().expect("openssl runs").status.success());

    // The same file serves akv.
    for arguments in [
        ["keys", "show", &uri("ec")].as_slice(),
        &["doctor", &uri("ec")],
    ] {
        let mut command = hsm.akv_command(arguments);
        command
            .env("OPENSSL_CONF", &configuration)
            .env_remove("AZURE_MANAGEDHSM_URL")
            .env_remove("AKV_CA_FILE");
        let output = command.output().expect("akv runs");
        assert!(
            output.status.success(),
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }

    // What the provider would refuse is not written down.
    let mut command = hsm.akv_command(&["env"]);
    let output = command.env("AKV_ALLOW_DELETE", "maybe").output();
    let output = output.expect("akv runs");
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        !output.status.success() && errors.contains("AKV_ALLOW_DELETE"),
        "{errors}"
    );
}

#[test]
fn the_token_is_shown_only_when_asked_for() {
    let hsm = Hsm::with_keys(&[("ec", EC_P256)]);
    let token = hsm.variable("AZURE_CLI_ACCESS_TOKEN");
    let shown = hsm.akv(&["token", "--show"]).succeeds();
    assert_eq!(shown.trim(), token);
    let about = json(&hsm, "token");
    assert_eq!(about["credential"], "AccessToken");
    assert_eq!(about["audience"], "https://managedhsm.azure.net");
    let message = hsm.write("message", "hello");
    let signature = token.rsplit('.').next().expect("a token has parts");
    for line in [
        "token".to_owned(),
        "env".to_owned(),
        "keys list managedhsm:MyHSM".to_owned(),
        "keys show managedhsm:MyHSM:ec --json".to_owned(),
        "keys show managedhsm:MyHSM:none".to_owned(),
        "doctor managedhsm:MyHSM:ec --json".to_owned(),
        "bench managedhsm:MyHSM:ec --seconds 0.1 --concurrency 2".to_owned(),
        format!("sign managedhsm:MyHSM:ec {message}"),
    ] {
        let words: Vec<&str> = line.split(' ').collect();
        let mut command = hsm.akv_command(&words);
        let output = command.env("RUST_LOG", "trace").output().expect("akv runs");
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text);
        assert!(!text.contains(signature), "{line}: {text}");
    }
}

#[test]
fn throughput_is_told_by_concurrency() {
    let hsm = Hsm::with_keys(&[("ec", EC_P256), ("aes", AES_256)]);
    let measured = json(
        &hsm,
        "bench managedhsm:MyHSM:ec --concurrency 1,3 --seconds 0.3",
    );
    let rows = measured["measurements"].as_array().expect("measurements");
    assert_eq!(rows.len(), 2);
    let counted: u64 = rows
        .iter()
        .map(|row| row["operations"].as_u64().expect("a number"))
        .sum();
    assert!(
        rows.iter()
            .all(|row| row["errors"] == 0 && row["p99_ms"].is_number())
    );
    let signed = hsm
        .requests()
        .iter()
        .filter(|request| request.is_sign())
        .count() as u64;
    assert_eq!(signed, counted);
    for operation in ["get", "wrap", "unwrap"] {
        let line = format!(
            "bench managedhsm:MyHSM:aes --operation {operation} --concurrency 2 --seconds 0.1"
        );
        let text = hsm.akv_line(&line).succeeds();
        assert!(text.contains("Throughput by concurrency"), "{text}");
    }
}

#[test]
fn shells_have_what_they_need() {
    let hsm = Hsm::start();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = hsm.akv(&["completions", shell]).succeeds();
        assert!(
            script.contains("doctor") && script.contains("self-signed"),
            "{shell}"
        );
        if shell == "bash" {
            let file = hsm.write("completions", script);
            let check = std::process::Command::new("bash")
                .args(["-n", &file])
                .status();
            assert!(check.expect("bash runs").success());
        }
    }
}

#[test]
fn what_cannot_be_done_is_told_with_its_reason() {
    let hsm = Hsm::with_keys(&[("ec", EC_P256)]);
    for (line, words) in [
        ("", &["Usage"][..]),
        ("frobnicate", &["frobnicate", "--help"]),
        ("keys show", &["<URI>"]),
        (
            "keys show file:/etc/passwd",
            &["file", "managedhsm:<HSM>:<key>"],
        ),
        (
            "keys show managedhsm:MyHSM:no-such-key",
            &["404", "KeyNotFound", "no-such-key"],
        ),
        ("keys create managedhsm:MyHSM:x", &["--type"]),
        (
            "keys create managedhsm:MyHSM:x --type rsa --curve P-256",
            &["curve"],
        ),
        (
            "keys create managedhsm:MyHSM:x --type ec --size 2048",
            &["size"],
        ),
        (
            "keys create managedhsm:MyHSM:x --type rsa --size 1000",
            &["2048, 3072 or 4096"],
        ),
        (
            "keys create managedhsm:MyHSM:x --type rsa --expires soon",
            &["2026-12-31"],
        ),
        (
            "keys rotate managedhsm:MyHSM:ec",
            &["akv keys rotation-policy set", "akv keys create"],
        ),
        (
            "keys rotate managedhsm:MyHSM:ec?version=0123456789abcdef0123456789abcdef",
            &["names a version"],
        ),
        (
            "keys import managedhsm:MyHSM:x /no/such/file",
            &["/no/such/file", "No such file"],
        ),
        (
            "keys list managedhsm:MyHSM:ec --deleted",
            &["leave out the name of the key"],
        ),
        ("keys list managedhsm:a/../b", &["a/../b"]),
        ("sign managedhsm:MyHSM:ec /no/such/file", &["/no/such/file"]),
        ("bench managedhsm:MyHSM:ec --seconds 0", &["0.1 to 3600"]),
    ] {
        hsm.akv_line(line).fails_with(words);
    }
}

#[test]
fn a_dash_is_standard_output_wherever_something_is_written() {
    let hsm = Hsm::with_keys(&[("rsa", RSA_2048), ("ec", EC_P256)]);
    let secret = hsm.write("secret", [7; 32]);
    let message = hsm.write("message", "text");
    let run = |arguments: &[&str]| {
        let mut command = hsm.akv_command(arguments);
        command.current_dir(hsm.file(""));
        let outcome = crate::support::Outcome::of(command);
        outcome.succeeds();
        assert!(!hsm.file("-").exists(), "{arguments:?}");
        outcome.bytes().to_vec()
    };
    let (rsa, ec) = ("managedhsm:MyHSM:rsa", "managedhsm:MyHSM:ec");
    let wrapped = run(&["wrap", rsa, &secret, "--out", "-"]);
    assert_eq!(wrapped.len(), 256);
    let wrapped = hsm.write("wrapped", wrapped);
    for operation in ["unwrap", "decrypt"] {
        let algorithm = ["--algorithm", "RSA-OAEP-256"];
        let plain = run(&[&[operation, rsa, &wrapped, "--out", "-"], &algorithm[..]].concat());
        assert_eq!(plain, [7; 32], "{operation}");
    }
    let signature = run(&["sign", ec, &message, "--out", "-"]);
    assert_eq!(signature[0], 0x30);
    for arguments in [
        &["key", "pem", ec, "--out", "-"][..],
        &["cert", "csr", ec, "--subject", "CN=x", "--out", "-"],
        &["cert", "self-signed", ec, "--subject", "CN=x", "--out", "-"],
    ] {
        let pem = run(arguments);
        assert!(pem.starts_with(b"-----BEGIN "), "{arguments:?}");
    }
    hsm.akv(&["wrap", rsa, &secret, "--out", "-", "--json"])
        .fails_with(&["'--out -' and JSON"]);
    hsm.akv(&["verify", ec, "-", "--signature", "-"])
        .fails_with(&["can't both be standard input"]);
}

#[test]
fn what_was_typed_is_shown_in_one_line_that_nothing_hides_in() {
    let hsm = Hsm::start();
    let evil = "x\u{1b}]0;pwned\u{7}\u{202e}\u{9b}31m\nforged: line";
    let lines = [
        vec![evil.to_owned()],
        vec!["keys".to_owned(), evil.to_owned()],
        vec!["doctor".to_owned(), format!("--{evil}")],
        vec!["doctor".to_owned(), format!("--samples={evil}")],
        vec!["doctor".to_owned(), format!("--output={evil}")],
        vec!["doctor".to_owned(), format!("managedhsm:{evil}")],
        vec![
            "cert".to_owned(),
            "csr".to_owned(),
            "managedhsm:MyHSM:k".to_owned(),
            format!("--san=IP:{evil}"),
        ],
        vec!["key".to_owned(), "pem".to_owned(), evil.to_owned()],
    ];
    for line in lines {
        let arguments: Vec<&str> = line.iter().map(String::as_str).collect();
        let outcome = hsm.akv(&arguments);
        let told = outcome.text();
        assert!(!outcome.is_success() && told.contains("pwned"), "{told}");
        let is_hidden = |character: char| {
            character != '\n' && (character.is_control() || character == '\u{202e}')
        };
        assert!(!told.contains(is_hidden), "{told:?}");
        assert!(
            told.lines().all(|line| !line.starts_with("forged")),
            "{told}"
        );
    }
}
