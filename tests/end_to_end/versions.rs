//! Which OpenSSL is under test: the one that was asked for, and no other that happens to be there;
//! and what only newer ones have.

use crate::support::{Hsm, LOADINGS, Loading, openssl_is_at_least};

#[test]
fn the_openssl_under_test_is_the_one_that_was_asked_for() {
    let hsm = Hsm::start();
    let program = hsm
        .openssl(Loading::Plain, &["version"])
        .succeeds()
        .trim()
        .to_owned();
    // As in "OpenSSL 3.0.17 1 Jul 2025 (Library: OpenSSL 3.0.17 1 Jul 2025)".
    let (version, library) = program
        .trim_end_matches(')')
        .split_once(" (Library: ")
        .expect("openssl names its library");
    assert_eq!(version, library);
    if let Ok(wanted) = std::env::var("AKV_TEST_OPENSSL") {
        assert!(
            version.starts_with(&format!("OpenSSL {wanted}.")),
            "{wanted} was asked for, {version} is there"
        );
    }
    // Programs are compiled with the headers of that version, and find its library.
    let compiled = hsm.run(&hsm.compile("version"), &[]).succeeds();
    assert_eq!(compiled, format!("headers {version}\nlibrary {version}\n"));
}

#[test]
fn signature_algorithms_with_their_digest_in_the_name_are_offered() {
    if !openssl_is_at_least(3, 4) {
        return;
    }
    let hsm = Hsm::start();
    for loading in LOADINGS {
        let list = hsm
            .openssl_line(loading, "list -signature-algorithms")
            .succeeds();
        for name in ["RSA-SHA2-256", "RSA-SHA2-512", "ECDSA-SHA2-256"] {
            assert!(
                list.lines()
                    .any(|line| line.contains(name) && line.contains("@ akv_provider")),
                "{loading:?}: no {name} of akv_provider in\n{list}"
            );
        }
    }
}
