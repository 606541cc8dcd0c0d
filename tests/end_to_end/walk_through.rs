//! The commands of documents that are to be typed one after the other, typed.

use testing::built;

use crate::support::{Hsm, Outcome};

/// The blocks of a document's section that a shell runs.
fn blocks(document: &'static str, section: &str) -> Vec<&'static str> {
    let (_, text) = document.split_once(section).expect("the section");
    let text = text.split("\n## ").next().unwrap_or_default();
    let blocks = text.split("```sh\n").skip(1);
    blocks
        .map(|rest| rest.split("```").next().unwrap_or_default())
        .collect()
}

#[test]
fn the_quick_start_for_users_of_cloud_hsm_works_as_it_stands() {
    let document = include_str!("../../docs/cloud-hsm.md");
    let blocks = blocks(document, "## The quick start, step by step\n");
    assert!(blocks.len() > 10, "{}", blocks.len());
    let hsm = Hsm::start();
    let mut command = hsm.limited(&["bash".into()]);
    let akv = built::program("akv");
    let folders = [akv.parent().expect("its folder").to_owned()];
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path = folders.into_iter().chain(std::env::split_paths(&path));
    command
        .args(["-euo", "pipefail", "-c", &blocks.concat()])
        .env("PATH", std::env::join_paths(path).expect("folders"))
        .current_dir(hsm.file(""));
    let text = Outcome::of(command).succeeds();
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
