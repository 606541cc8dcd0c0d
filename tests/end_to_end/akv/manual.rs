//! The manual pages: their sections, their examples, and what another program says of them.

use std::fs;
use std::process::Command;

use testing::built;

use super::RSA_2048;
use crate::support::{EC_P256, Hsm, Loading, Outcome, skip, uri};

#[test]
fn manual_pages_tell_what_each_command_has_and_what_programs_load() {
    let hsm = Hsm::start();
    let folder = hsm.path("man");
    hsm.akv(&["man", &folder]).succeeds();
    let read = |page: &str| fs::read_to_string(format!("{folder}/{page}")).expect("a page");
    let mut count = 0;
    for section in ["man1", "man5", "man7"] {
        for page in fs::read_dir(format!("{folder}/{section}")).expect("a folder") {
            let page = page.expect("a page").file_name();
            let page = page.to_str().expect("text");
            has_sections(page, &read(&format!("{section}/{page}")));
            count += 1;
        }
    }
    assert!(count > 55, "{count}");
    for (page, words) in [
        (
            "man7/akv_provider.7",
            &["managedhsm:", "AKV_CA_FILE", "openssl_conf"][..],
        ),
        ("man7/akv_pkcs11.7", &["CKA_LABEL", "C_Login"]),
        ("man5/mhsm-pkcs11.conf.5", &["resourceName", "allowImport"]),
    ] {
        let text = read(page);
        for word in words {
            assert!(text.contains(word), "{page} lacks {word}: {text}");
        }
    }
    let mut emulator = Command::new(built::program("managed-hsm-emulator"));
    let status = emulator.args(["man", &folder]).status();
    assert!(status.expect("it starts").success());
    let text = read("man1/managed-hsm-emulator.1");
    assert!(text.contains("keys.sqlite3"), "{text}");
    lint(&folder);
}

/// Checks that a page has the sections that a reader looks for, and names no file of the sources.
fn has_sections(page: &str, text: &str) {
    let is_command = page.ends_with(".1");
    let of_its_kind = match is_command {
        true => "\"EXIT STATUS\"",
        false => "FILES",
    };
    for section in [
        "NAME",
        "SYNOPSIS",
        "DESCRIPTION",
        of_its_kind,
        "ENVIRONMENT",
        "EXAMPLES",
        "\"SEE ALSO\"",
    ] {
        let heading = format!("\n.SH {section}\n");
        assert!(text.contains(&heading), "{page} lacks {section}: {text}");
    }
    if is_command {
        // What is the same for all stands in one of them.
        let is_first = page == "akv.1";
        assert_eq!(text.contains("\n.SH FILES\n"), is_first, "{page}");
        assert_eq!(text.contains("AKV_CA_FILE"), is_first, "{page}");
    }
    let is_file = |word: &&str| {
        word.trim_matches(['.', ',', ':', ';', ')'])
            .ends_with(".md")
    };
    let files: Vec<&str> = text.split_whitespace().filter(is_file).collect();
    assert!(files.is_empty(), "{page}: {files:?}");
}

/// What a page's examples are: lines of a shell.
fn examples(page: &str) -> String {
    let (_, text) = page.split_once("\n.SH EXAMPLES\n.nf\n").expect("examples");
    let (text, _) = text.split_once("\n.fi\n").expect("their end");
    text.replace("\\-", "-")
        .replace("\\\\", "\\")
        .replace("\\&", "")
        + "\n"
}

#[test]
fn the_examples_of_the_providers_page_work_as_they_stand() {
    let hsm = Hsm::with_keys(&[("doc", RSA_2048), ("web", EC_P256)]);
    let folder = hsm.path("man");
    hsm.akv(&["man", &folder]).succeeds();
    let page = fs::read_to_string(format!("{folder}/man7/akv_provider.7")).expect("a page");
    hsm.write("contract.pdf", "a contract");
    let script = examples(&page);
    assert!(script.contains("-key managedhsm:MyHSM:web"), "{script}");
    let mut command = hsm.command("sh");
    // Programs of another root begin in its uppermost folder.
    let script = format!("cd '{}'\n{script}", hsm.path(""));
    command.args(["-euc", &script]);
    Outcome::of(command).succeeds();
    let request = hsm.path("web.csr");
    let text = hsm.openssl_line(
        Loading::Plain,
        &format!("req -in {request} -noout -verify -subject"),
    );
    assert!(text.succeeds().contains("www.example.com"));
    let public = hsm.public_key(Loading::AkvFirst, &uri("doc"));
    let (signature, contract) = (hsm.path("contract.sig"), hsm.path("contract.pdf"));
    hsm.verifies(&["-sha256"], &public, &signature, &contract);
}

/// Has another program judge the pages.
fn lint(folder: &str) {
    if !testing::is_there("mandoc") {
        return skip("mandoc is not installed: it does not look at the manual pages");
    }
    let mut pages = Vec::new();
    for section in fs::read_dir(folder).expect("a folder") {
        let files = fs::read_dir(section.expect("a folder").path()).expect("a folder");
        pages.extend(files.map(|page| page.expect("a page").path()));
    }
    assert!(pages.len() > 60, "{}", pages.len());
    let mut lint = Command::new("mandoc");
    let lint = lint.args(["-T", "lint", "-W", "warning"]).args(pages);
    let output = lint.output().expect("mandoc runs");
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    // They have no date on purpose.
    let told = told
        .lines()
        .filter(|line| !line.ends_with("missing date, using \"\": TH"));
    assert_eq!(told.collect::<Vec<_>>(), [""; 0]);
}
