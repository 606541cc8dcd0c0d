//! The commands of documents that are to be typed one after the other, typed.

use std::collections::BTreeSet;
use std::net::TcpListener;

use testing::built;

use crate::support::{EC_P256, Hsm, Outcome, RSA_2048};

/// The blocks of a document's section that a shell runs.
fn blocks(document: &'static str, section: &str) -> Vec<&'static str> {
    let (_, text) = document.split_once(section).expect("the section");
    blocks_in(text.split("\n## ").next().unwrap_or_default())
}

/// The blocks of a text that a shell runs.
fn blocks_in(text: &'static str) -> Vec<&'static str> {
    let blocks = text.split("```sh\n").skip(1);
    blocks
        .map(|rest| rest.split("```").next().unwrap_or_default())
        .collect()
}

/// Types blocks one after the other, in the test's folder; the first command that fails ends them.
fn typed(hsm: &Hsm, blocks: &[&str]) -> Outcome {
    let mut command = hsm.limited(&["bash".into()]);
    let akv = built::program("akv");
    let folders = [akv.parent().expect("its folder").to_owned()];
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path = folders.into_iter().chain(std::env::split_paths(&path));
    command
        .args(["-euo", "pipefail", "-c", &blocks.concat()])
        .env("PATH", std::env::join_paths(path).expect("folders"))
        .current_dir(hsm.file(""));
    Outcome::of(command)
}

#[test]
fn the_readmes_commands_work_as_they_stand() {
    let blocks = blocks(include_str!("../../README.md"), "## Use\n");
    let [block] = blocks.as_slice() else {
        panic!("the README has {} blocks to paste", blocks.len());
    };
    // The README's port may be somebody else's here.
    let port = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr());
    let port = port.expect("a free port").port().to_string();
    assert!(block.contains("8443"));
    let block = block.replace("8443", &port);
    // What a command that fails leaves behind ends with the shell.
    let end = "trap 'kill $(jobs -p) 2>/dev/null || true' EXIT\n";
    let hsm = Hsm::start();
    let text = typed(&hsm, &[end, &block]).succeeds();
    for words in [
        "Name: managedhsm:MyHSM:myaeskey",
        "Verified OK",
        "The same key comes back.",
        "New, TLSv1.3",
    ] {
        assert!(text.contains(words), "no {words}: {text}");
    }
    for operation in ["sign", "decrypt", "wrapkey", "unwrapkey"] {
        let requests = hsm.requests();
        let asked = requests.iter().filter(|one| one.is(operation)).count();
        assert!(asked > 0, "{operation}");
    }
    assert_eq!(hsm.key("newkey")["key"]["crv"], "P-256");
}

#[test]
fn the_examples_of_the_command_line_work_one_after_the_other() {
    let blocks = blocks_in(include_str!("../../docs/akv.md"));
    assert!(blocks.len() > 6, "{}", blocks.len());
    // The first examples list what is there.
    let hsm = Hsm::with_keys(&[("web", EC_P256)]);
    let text = typed(&hsm, &blocks).succeeds();
    for words in [
        "All is well",
        "the signature is valid",
        "Signer",
        "404 KeyNotFound",
    ] {
        assert!(text.contains(words), "no {words}: {text}");
    }
    for operation in ["rotate", "backup", "restore", "recover", "sign", "decrypt"] {
        let requests = hsm.requests();
        let asked = requests.iter().filter(|one| one.is(operation)).count();
        assert!(asked > 0, "{operation}");
    }
    assert_eq!(hsm.key("ca")["key"]["crv"], "P-384");
}

#[test]
fn the_commands_among_questions_and_answers_work() {
    let document = include_str!("../../docs/faq.md");
    let sections = [
        "## Keys and files\n",
        "## OpenSSL\n",
        "## Servers\n",
        "## Azure\n",
    ];
    let blocks = sections.map(|section| blocks(document, section)).concat();
    assert!(blocks.len() > 10, "{}", blocks.len());
    let hsm = Hsm::with_keys(&[("web", EC_P256), ("doc", RSA_2048)]);
    let text = typed(&hsm, &blocks).succeeds();
    for words in [
        "It works, with",
        "Verified OK",
        "the signature is valid",
        "NIST CURVE: P-256",
    ] {
        assert!(text.contains(words), "no {words}: {text}");
    }
    assert_eq!(hsm.key("fresh")["key"]["crv"], "P-256");
}

#[test]
fn the_quick_start_for_users_of_cloud_hsm_works_as_it_stands() {
    let document = include_str!("../../docs/cloud-hsm.md");
    let blocks = blocks(document, "## The quick start, step by step\n");
    assert!(blocks.len() > 10, "{}", blocks.len());
    let hsm = Hsm::start();
    let text = typed(&hsm, &blocks).succeeds();
    for words in [
        "Managed HSM Crypto User",
        "RSA, 2048 bits",
        "EC, P-521",
        "All is well",
        "Throughput by concurrency",
        "CKR_PIN_INCORRECT (0xa0)",
    ] {
        assert!(text.contains(words), "no {words}: {text}");
    }
    // That it took place in the HSM.
    for operation in [
        "sign",
        "wrapkey",
        "unwrapkey",
        "backup",
        "restore",
        "recover",
    ] {
        let asked = hsm
            .requests()
            .iter()
            .filter(|one| one.is(operation))
            .count();
        assert!(asked > 0, "{operation}");
    }
    assert_eq!(hsm.key("aes256")["tags"]["owner"], "cu1");
    assert_eq!(hsm.key("ecc14")["key"]["crv"], "P-521");
}

/// The commands of a line without its options and arguments.
fn commands(line: &str) -> Vec<&str> {
    let words = line.split_whitespace();
    let is_command = |word: &&str| {
        word.bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
    };
    words.take_while(is_command).collect()
}

#[test]
fn every_command_that_users_of_cloud_hsm_are_told_of_is_there() {
    let hsm = Hsm::start();
    let document = include_str!("../../docs/cloud-hsm.md");
    let spans = document.split('`').skip(1).step_by(2);
    let typed = document.lines();
    let lines = spans
        .chain(typed)
        .filter_map(|line| line.strip_prefix("akv "));
    let told: BTreeSet<Vec<&str>> = lines.map(commands).collect();
    assert!(told.len() > 20, "{told:?}");
    for words in told {
        let help = hsm.akv(&[&words[..], &["--help"]].concat()).succeeds();
        let usage = format!("Usage: akv {}", words.join(" "));
        assert!(help.contains(&usage), "{words:?}: {help}");
    }
}
