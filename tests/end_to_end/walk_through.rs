//! The commands of documents that are to be typed one after the other, typed.

use std::collections::BTreeSet;
use std::fs;
use std::net::TcpListener;
use std::process::Command;

use testing::built;

use crate::support::{Hsm, Outcome, openssl_is_at_least, program, skip};

/// The blocks of a document that a shell runs. A test of the documents sees to it that this is done
/// for each that has some (tests/documentation.rs).
fn blocks_in(document: &'static str) -> Vec<&'static str> {
    blocks_of(document, "sh")
}

/// The blocks of a document in a language.
fn blocks_of<'a>(document: &'a str, language: &str) -> Vec<&'a str> {
    let fence = format!("```{language}\n");
    let blocks = document.split(fence.as_str()).skip(1);
    blocks
        .map(|rest| rest.split("```").next().unwrap_or_default())
        .collect()
}

/// Types blocks one after the other, in the test's folder; the first command that fails ends them.
fn typed(hsm: &Hsm, blocks: &[&str]) -> Outcome {
    Outcome::of(typing(hsm, blocks))
}

/// What types blocks: a shell that finds this project's programs, as if they were installed. What
/// it leaves running ends with it.
fn typing(hsm: &Hsm, blocks: &[&str]) -> Command {
    let end = "trap 'kill $(jobs -p) 2>/dev/null || true' EXIT\n";
    let mut command = hsm.limited(&["bash".into()]);
    let [akv, _] = ["akv", "managed-hsm-emulator"].map(built::program);
    let folders = [akv.parent().expect("its folder").to_owned()];
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path = folders.into_iter().chain(std::env::split_paths(&path));
    command
        .args(["-euo", "pipefail", "-c", &[end, &blocks.concat()].concat()])
        .env("PATH", std::env::join_paths(path).expect("folders"))
        .env("XDG_DATA_HOME", hsm.file("data"))
        .current_dir(hsm.file(""));
    command
}

/// The text with a free port in the place of one that may be somebody else's here.
fn with_a_free_port(text: &str, named: &str) -> String {
    let port = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr());
    let port = port.expect("a free port").port().to_string();
    assert!(text.contains(named));
    text.replace(named, &port)
}

#[test]
fn the_readmes_commands_work_as_they_stand() {
    let blocks = blocks_in(include_str!("../../README.md"));
    let text = with_a_free_port(&blocks.concat(), "8443");
    // For the folder and the module: the emulator is the block's own.
    let hsm = Hsm::start();
    let mut command = typing(&hsm, &[&text]);
    for (name, _) in &hsm.environment {
        command.env_remove(name);
    }
    let text = Outcome::of(command).succeeds();
    for words in [
        "Name: managedhsm:MyHSM:myaeskey",
        "Verified OK",
        "The same text comes back.",
        "The same key comes back.",
        "Signature Verified Successfully",
        "New, TLSv1.3",
    ] {
        assert!(text.contains(words), "no {words}: {text}");
    }
    assert!(hsm.requests().is_empty(), "it asked another emulator");
    let log = fs::read_to_string(hsm.file("emulator.log")).expect("the log");
    for operation in ["sign", "decrypt", "wrapkey", "unwrapkey"] {
        let asked = format!("/{operation} status=200 ");
        assert!(log.contains(&asked), "{operation}: {log}");
    }
    let is_first_signature =
        |line: &str| line.contains("path=/keys/newkey/") && line.contains("/sign status=200 ");
    assert!(log.lines().any(is_first_signature), "{log}");
}

#[test]
fn the_examples_of_the_command_line_work_one_after_the_other() {
    let blocks = blocks_in(include_str!("../../docs/akv.md"));
    assert!(blocks.len() > 6, "{}", blocks.len());
    let hsm = Hsm::start();
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
    let blocks = blocks_in(include_str!("../../docs/faq.md"));
    assert!(blocks.len() > 10, "{}", blocks.len());
    let hsm = Hsm::start();
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
    let blocks = blocks_in(include_str!("../../docs/cloud-hsm.md"));
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

#[test]
fn the_commands_of_pages_with_a_few_of_them_work() {
    let pages = [
        (include_str!("../../docs/algorithms.md"), "create"),
        (include_str!("../../docs/applications.md"), "/keys/web"),
        (include_str!("../../docs/azure.md"), "sign"),
    ];
    for (document, asked) in pages {
        let blocks = blocks_in(document);
        assert!(!blocks.is_empty());
        let hsm = Hsm::start();
        typed(&hsm, &blocks).succeeds();
        let requests = hsm.requests();
        let is_asked = requests.iter().any(|one| one.path.contains(asked));
        assert!(is_asked, "{asked} of {blocks:?}");
    }
}

/// Whether all of these programs are there. If one is not, says that the test is skipped.
fn are_there(programs: &[&str]) -> bool {
    let missing = programs.iter().find(|name| !testing::is_there(name));
    if let Some(name) = missing {
        skip(&format!("the document's commands: {name} is not installed"));
    }
    missing.is_none()
}

#[test]
fn the_emulators_audit_log_is_read_as_the_page_on_deployment_says() {
    let blocks = blocks_in(include_str!("../../docs/deployment.md"));
    assert_eq!(blocks.len(), 1);
    if are_there(&["jq"]) {
        let text = typed(&Hsm::start(), &blocks).succeeds();
        assert!(text.contains("\"akv/0.1.0"), "{text}");
    }
}

#[test]
fn the_commands_of_the_page_on_pkcs11_work_one_after_the_other() {
    let blocks = blocks_in(include_str!("../../docs/pkcs11.md"));
    assert!(blocks.len() > 4, "{}", blocks.len());
    if !are_there(&[
        "pkcs11-tool",
        "p11tool",
        "ssh-keygen",
        "certutil",
        "modutil",
    ]) {
        return;
    }
    let module = built::pkcs11_module().to_str().expect("a path is text");
    // Without a configuration the token has the name of the emulator's host.
    let text = blocks
        .concat()
        .replace("/usr/lib/libmhsm-pkcs11.so", module)
        .replace("token=MyHSM", "token=localhost")
        .replace("-h MyHSM", "-h localhost");
    let hsm = Hsm::start();
    typed(&hsm, &[&text]).succeeds();
    for name in ["signature", "user-cert.pub"] {
        assert!(hsm.file(name).exists(), "no {name}");
    }
    let signatures = hsm.requests().iter().filter(|one| one.is_sign()).count();
    assert!(signatures >= 4, "{signatures}");
    let request = fs::read_to_string(hsm.file("request.pem")).expect("NSS's request");
    assert!(
        request.contains("BEGIN NEW CERTIFICATE REQUEST"),
        "{request}"
    );
}

#[test]
fn the_commands_of_the_page_on_post_quantum_keys_work_one_after_the_other() {
    if !openssl_is_at_least(3, 5) {
        return;
    }
    let blocks = blocks_in(include_str!("../../docs/post-quantum.md"));
    assert_eq!(blocks.len(), 2);
    let text = with_a_free_port(&blocks.concat(), "4433");
    let hsm = Hsm::start();
    typed(&hsm, &[&openssl_under_test(), &text]).succeeds();
    // For a certificate, and for a handshake that the client verified.
    for key in ["/keys/pq/", "/keys/ec/"] {
        let requests = hsm.requests();
        let signed = requests
            .iter()
            .filter(|one| one.is_sign() && one.path.starts_with(key));
        assert_eq!(signed.count(), 2, "{key}");
    }
}

/// Makes `openssl` the one under test, where that is another than this machine's.
fn openssl_under_test() -> String {
    let line = program("openssl");
    let [chroot, root, name] = line.as_slice() else {
        return String::new();
    };
    let [chroot, root, name] = [chroot, root, name].map(|word| word.to_str().expect("text"));
    let enter = format!("sh -c 'cd \"$0\" && exec {name} \"$@\"' \"$PWD\" \"$@\"");
    format!("openssl() {{ {chroot} '{root}' {enter}; }}\n")
}

/// Each by itself: a data folder has one emulator at a time.
#[test]
fn each_block_of_the_emulators_readme_works_by_itself() {
    let document = include_str!("../../crates/managed-hsm-emulator/README.md");
    let blocks = blocks_in(document);
    assert!(blocks.len() > 4, "{}", blocks.len());
    for block in blocks {
        let mut text = block.to_owned();
        for port in ["8444", "9090"] {
            if text.contains(port) {
                text = with_a_free_port(&text, port);
            }
        }
        let hsm = Hsm::start();
        let mut command = typing(&hsm, &[&text]);
        for (name, _) in &hsm.environment {
            command.env_remove(name);
        }
        Outcome::of(command).succeeds();
        assert!(
            hsm.requests().is_empty(),
            "it asked another emulator: {text}"
        );
    }
}

#[test]
fn the_configurations_that_documents_show_load_the_provider() {
    let documents = [
        include_str!("../../README.md"),
        include_str!("../../docs/configuration.md"),
    ];
    for document in documents {
        let blocks = blocks_of(document, "ini");
        let is_whole = |block: &&&str| block.contains("openssl_conf = ");
        let whole = blocks.iter().find(is_whole).expect("a whole file");
        let hsm = Hsm::start();
        let logs = hsm.file("");
        let text = whole.replace(
            "/var/log",
            logs.to_str().expect("text").trim_end_matches('/'),
        );
        let file = hsm.write("shown.cnf", text);
        let mut command = hsm.command("openssl");
        command
            .args(["list", "-providers"])
            .env("OPENSSL_CONF", file);
        let listed = Outcome::of(command).succeeds();
        assert!(listed.contains("Azure Managed HSM provider"), "{listed}");
    }
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
