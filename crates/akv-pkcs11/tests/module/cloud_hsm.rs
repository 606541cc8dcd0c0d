//! What users of Azure Cloud HSM have: its sample application, compiled from its document as it
//! stands, and the commands that the document shows.

use std::path::{Path, PathBuf};
use std::process::Command;

use testing::emulator::OWNER_CLIENT;

use crate::programs::is_there;
use crate::support::{Hsm, module};

/// The user of the document.
const USER: &str = "cu1";

fn document() -> String {
    let file = package().join("tests/cloud_hsm/integrating-pkcs11.md");
    std::fs::read_to_string(file).expect("the document")
}

fn package() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// An emulator that the document's user logs in to, by a secret.
fn hsm() -> (Hsm, String) {
    let mut hsm = Hsm::start();
    hsm.unset("AZURE_CLI_ACCESS_TOKEN");
    let url = hsm.emulator.url.clone();
    hsm.set("AZURE_AUTHORITY_HOST", url);
    hsm.configure(&format!(
        r#"{{"tokens":[{{"slotid":1,"resourceName":"localhost"}}],
            "logins":{{"{USER}":{{"clientId":"{OWNER_CLIENT}"}}}}}}"#
    ));
    let secret = hsm.emulator.client_secret().expect("it has a secret");
    (hsm, secret)
}

/// The blocks of the chapter's code that end with a brace too many: it stands at the end of a page,
/// in the middle of a function.
const BROKEN_PAGES: [usize; 2] = [10, 13];

/// The sample application: the code of its chapter, which stands in several blocks.
fn sample_application(hsm: &Hsm) -> PathBuf {
    let text = document();
    let (_, chapter) = text
        .split_once("## Linux Example:")
        .expect("the chapter of the program");
    let mut blocks: Vec<&str> = chapter.split("```").skip(1).step_by(2).collect();
    for broken in BROKEN_PAGES {
        let block = blocks[broken].trim_end();
        blocks[broken] = block.strip_suffix('}').expect("a brace too many");
    }
    let source = hsm.file("cust_p11_app.c");
    std::fs::write(&source, blocks.concat()).unwrap();
    let program = hsm.file("cust_p11_app");
    // As the document has it, in a folder that has pkcs11_headers in it.
    std::os::unix::fs::symlink(package().join("pkcs11_headers"), hsm.file("pkcs11_headers"))
        .unwrap();
    let built = Command::new("gcc")
        .arg("-o")
        .args([&program, &source])
        .arg("-ldl")
        .output()
        .expect("gcc runs");
    let errors = String::from_utf8_lossy(&built.stderr);
    assert!(built.status.success() && errors.is_empty(), "{errors}");
    program
}

#[test]
fn the_sample_application_runs_unchanged() {
    if !is_there("gcc") {
        return;
    }
    let (hsm, secret) = hsm();
    let program = sample_application(&hsm);
    let run = |user: &str, password: &str| {
        let output = hsm
            .command(&program)
            .args(["-s", user, "-p", password, "-l"])
            .arg(module())
            .output()
            .expect("it runs");
        assert!(output.status.success());
        let told = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(!told.contains(&secret), "{told}");
        told
    };
    for user in [USER, OWNER_CLIENT] {
        let told = run(user, &secret);
        assert!(told.contains("Add Your PKCS#11 Code Here"), "{told}");
        for word in ["failed", "ERROR", "Error", "doesn't", "Call through"] {
            assert!(!told.contains(word), "{word}: {told}");
        }
    }
    let told = run(USER, "user1234");
    assert!(told.contains("[ERROR] Failed C_Login"), "{told}");
    assert!(!told.contains("Add Your PKCS#11 Code Here"), "{told}");
}

/// The document's commands as a shell has them: it names a file of Windows.
fn commands() -> Vec<Vec<String>> {
    let text = document();
    let lines = text
        .lines()
        .filter_map(|line| line.split_once("pkcs11-tool.exe "));
    lines
        .map(|(_, arguments)| {
            let (before, rest) = arguments.split_once('"').expect("the module's file");
            let (_, after) = rest.split_once('"').expect("its end");
            let words = |text: &str| -> Vec<String> {
                let text = text.trim_end_matches('*');
                text.split_whitespace().map(str::to_owned).collect()
            };
            let module = module().to_str().expect("text").to_owned();
            [words(before), vec![module], words(after)].concat()
        })
        .collect()
}

#[test]
fn the_documents_key_pair_is_generated_with_its_flags_and_without() {
    if !is_there("pkcs11-tool") {
        return;
    }
    let (hsm, secret) = hsm();
    let pin = format!("{USER}:{secret}");
    let all = commands();
    assert_eq!(all.len(), 2);
    let command = all
        .into_iter()
        .find(|words| words.iter().any(|word| word == "--keypairgen"))
        .expect("the command for a key pair");
    let optional = ["--sensitive", "--private"];
    for leaves_out in [false, true] {
        let words: Vec<_> = command
            .iter()
            .filter(|word| !leaves_out || !optional.contains(&word.as_str()))
            .map(|word| match word.as_str() {
                "cu1:user1234" => &pin,
                _ => word,
            })
            .collect();
        let output = hsm.command("pkcs11-tool").args(&words).output().unwrap();
        let told = [output.stdout, output.stderr].concat();
        let told = String::from_utf8_lossy(&told).into_owned();
        assert!(output.status.success(), "{words:?}: {told}");
        for line in [
            "Key pair generated:",
            "Private Key Object; EC",
            "Usage:      sign",
            "Access:     sensitive, always sensitive, never extract",
            "Public Key Object; EC  EC_POINT 256 bits",
            "EC_PARAMS:  06082a8648ce3d030107",
            "Usage:      verify",
        ] {
            assert!(told.contains(line), "{line}: {told}");
        }
    }
    assert_eq!(hsm.count("create"), 2);
}
