//! `akv config`: programs have the provider by the openssl.cnf of their machine, and the file is
//! what it was when it is taken out.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};

use super::json;
use crate::support::{EC_P256, Hsm, Loading, Outcome, uri};

/// As Debian has it, in short: no provider is activated, and sections of others follow.
const DEBIAN: &str = "# OpenSSL example configuration file.\n.include = missing.cnf\n\
    HOME = .\nopenssl_conf = openssl_init\n\n[ openssl_init ]\nproviders = provider_sect\nssl_conf = ssl\n\n\
    [provider_sect]\ndefault = default_sect\n# legacy = legacy_sect\n\n[default_sect]\n# activate = 1\n\n\
    [ssl]\nsystem_default = tls\n[tls]\nMinProtocol = TLSv1.2\n[req]\ndistinguished_name = name\n[name]\nCN = it\n";

/// A command succeeds, and says so.
#[track_caller]
fn says(outcome: &Outcome, words: &str) {
    let text = outcome.succeeds();
    assert!(text.contains(words), "{text}");
}

#[test]
fn the_provider_is_turned_on_for_all_programs_and_off_again() {
    let hsm = Hsm::with_keys(&[("ec", EC_P256)]);
    let message = hsm.write("message", "hello");
    let public = hsm.public_key(Loading::AkvFirst, &uri("ec"));
    let settings = hsm.write("akv_provider.cnf", "# Of this machine.\nmax-retries = 3\n");
    for (name, text) in [
        ("debian", DEBIAN),
        ("empty", ""),
        (
            "ssl",
            "openssl_conf = a\n[a]\nssl_conf = b\n[b]\nsystem_default = t\n[t]\nMinProtocol = TLSv1.2\n",
        ),
        ("windows", "a = b\r\nopenssl_conf = c\r\n[c]\r\n"),
        ("unfinished", "[req]\nprompt = no"),
    ] {
        let file = hsm.write(name, text);
        fs::set_permissions(&file, Permissions::from_mode(0o640)).expect("it is ours");
        let link = hsm.path(&format!("{name}.cnf"));
        symlink(&file, &link).expect("a link");
        let run = |command: &str| hsm.akv_line(&format!("config {command} --file {link}"));
        let enabled = run(&format!("enable --settings {settings}"));
        says(&enabled, "and OpenSSL loads it");
        assert!(fs::symlink_metadata(&link).expect("a link").is_symlink());
        let mode = fs::metadata(&file).expect("a file").permissions().mode();
        assert_eq!(mode & 0o777, 0o640);
        let state = json(&hsm, &format!("config show --file {link}"));
        assert_eq!(state["state"], "enabled by 'akv config enable'");
        assert_eq!(state["settings"]["max-retries"], "3");

        // A program that knows nothing of the provider, and its own keys and hashes, too.
        let own = hsm.path(&format!("{name}.sig"));
        let with = |line: &str| {
            let mut openssl = hsm.command("openssl");
            openssl.env("OPENSSL_CONF", &link);
            openssl.args(line.split_whitespace());
            Outcome::of(openssl)
        };
        with(&format!(
            "dgst -sha256 -sign {} -out {own} {message}",
            uri("ec")
        ))
        .succeeds();
        with(&format!(
            "dgst -sha256 -verify {public} -signature {own} {message}"
        ))
        .succeeds();
        with("genpkey -algorithm EC -pkeyopt group:P-256").succeeds();

        // A second time nothing is changed.
        let enabled = fs::read(&file).expect("a file");
        says(&run("enable"), "already");
        assert_eq!(fs::read(&file).expect("a file"), enabled);
        says(&run("disable"), "any more");
        let left = fs::read_to_string(&file).expect("a file");
        assert_eq!(
            left.trim_end_matches('\n'),
            text.trim_end_matches('\n'),
            "{name}"
        );
        assert!(left == text || name == "unfinished", "{left}");
        says(&run("disable"), "doesn't have the provider");
        let state = json(&hsm, &format!("config show --file {link}"));
        assert_eq!(state["state"], "not enabled");
    }
}

#[test]
fn what_others_wrote_is_left_alone() {
    let hsm = Hsm::start();
    let by_hand = "openssl_conf = i\n[i]\nproviders = p\n[p]\nakv_provider = a\n[a]\nactivate = 1\ncloud = china\n";
    let file = hsm.write("by-hand.cnf", by_hand);
    for command in ["enable", "disable"] {
        let line = format!("config {command} --file {file}");
        says(&hsm.akv_line(&line), "by hand");
        assert_eq!(fs::read_to_string(&file).expect("a file"), by_hand);
    }

    // Settings that somebody has written between akv's lines.
    let file = hsm.write("settings.cnf", DEBIAN);
    hsm.akv_line(&format!("config enable --file {file}"))
        .succeeds();
    let text = fs::read_to_string(&file).expect("a file");
    let text = text.replace(
        "activate = 1\n[name]",
        "activate = 1\ncloud = china\n[name]",
    );
    fs::write(&file, &text).expect("it is ours");
    let disable = format!("config disable --file {file}");
    let refused = hsm.akv_line(&disable);
    refused.fails_with(&["cloud = china", "--force"]);
    assert_eq!(fs::read_to_string(&file).expect("a file"), text);
    let forced = hsm.akv_line(&format!("{disable} --force"));
    says(&forced, "Taken out with it: cloud = china");
    assert_eq!(fs::read_to_string(&file).expect("a file"), DEBIAN);
}

#[test]
fn a_file_by_which_the_provider_could_not_be_loaded_is_left_as_it_was() {
    let hsm = Hsm::start();
    let no_module = hsm.write("none.so", "no module");
    let misspelt = hsm.write("misspelt.cnf", "max-connexions = 3\n");
    let good = hsm.write("good.cnf", DEBIAN);
    let sectioned = hsm.write("sectioned.cnf", "[akv]\nmax-retries = 3\n");
    let broken = hsm.write("broken.cnf", "[req\n");
    let half = hsm.write("half.cnf", "# akv: begin. Once more.\n");
    for (file, options, words) in [
        (
            &good,
            format!("--module {no_module}"),
            "does not load the provider",
        ),
        (&good, "--module missing.so".to_owned(), "missing.so"),
        (&good, format!("--settings {misspelt}"), "max-connexions"),
        (&good, "--settings missing.cnf".to_owned(), "missing.cnf"),
        (&good, format!("--settings {sectioned}"), "[akv]"),
        (&broken, String::new(), "no ']'"),
        (&half, String::new(), "take them out by hand"),
    ] {
        let before = fs::read(file).expect("a file");
        let line = format!("config enable --file {file} {options}");
        hsm.akv_line(&line).fails_with(&[words]);
        assert_eq!(fs::read(file).expect("a file"), before, "{line}");
    }
    let missing = hsm.akv_line("config enable --file missing.cnf");
    missing.fails_with(&["missing.cnf", "No such file"]);
    assert_eq!(missing.code(), Some(3));
}
