//! Key files that hold a URI, for programs that take a key only from a file.

use std::fs;

use crate::support::{EC_P256, Hsm, LOADINGS, Loading, RSA_2048, uri};

const KEYS: [(&str, &str); 2] = [("rsa", RSA_2048), ("ec", EC_P256)];

/// Writes key files with plain openssl's own DER encoder: returns the PEM file and the DER file.
fn key_files(hsm: &Hsm, name: &str, version: &str, uri: &str) -> (String, String) {
    let config = format!("asn1=SEQUENCE:file\n[file]\na=VISIBLE:{version}\nb=UTF8:{uri}\n");
    let config = hsm.write(&format!("{name}.cnf"), config);
    let der = hsm.path(&format!("{name}.der"));
    hsm.openssl(
        Loading::Plain,
        &["asn1parse", "-genconf", &config, "-noout", "-out", &der],
    )
    .succeeds();
    let text = hsm
        .openssl(Loading::Plain, &["base64", "-in", &der])
        .succeeds();
    let pem = format!("-----BEGIN AKV PROVIDER URI-----\n{text}-----END AKV PROVIDER URI-----\n");
    (hsm.write(&format!("{name}.pem"), pem), der)
}

#[test]
fn a_key_file_serves_as_the_key_with_one_request() {
    let hsm = Hsm::with_keys(&KEYS);
    let message = hsm.write("message", "a message to sign\n");
    for (name, _) in KEYS {
        let public = hsm.public_key(Loading::AkvFirst, &uri(name));
        let (pem, der) = key_files(&hsm, name, "AKV Provider URI v1.0", &uri(name));
        for loading in LOADINGS {
            for file in [&pem, &der] {
                let before = hsm.requests().len();
                let signature = hsm.path("signature");
                hsm.openssl(
                    loading,
                    &[
                        "dgst", "-sha256", "-sign", file, "-out", &signature, &message,
                    ],
                )
                .succeeds();
                assert_eq!(hsm.requests().len() - before, 2, "a key and a signature");
                let verify = [
                    "dgst",
                    "-sha256",
                    "-verify",
                    &public,
                    "-signature",
                    &signature,
                    &message,
                ];
                hsm.openssl(Loading::Plain, &verify).succeeds();
            }
        }
    }
}

#[test]
fn a_certificate_and_its_key_file_may_share_a_file() {
    let hsm = Hsm::with_keys(&KEYS);
    for (name, _) in KEYS {
        let certificate = hsm.certificate(Loading::AkvFirst, &uri(name), name);
        let (pem, _) = key_files(&hsm, name, "AKV Provider URI v1.0", &uri(name));
        let read = |path: &str| fs::read_to_string(path).expect("a file just written");
        let both = hsm.write(
            "both.pem",
            format!("a comment\n{}\n{}", read(&certificate), read(&pem)),
        );
        for loading in LOADINGS {
            let server = hsm.serve_tls(loading, &["-cert", &both, "-key", &both]);
            hsm.connect_tls(Loading::Plain, &server, &["-CAfile", &certificate])
                .succeeds();
        }
    }
}

#[test]
fn software_keys_in_files_are_read_as_ever() {
    let hsm = Hsm::start();
    let key = hsm.path("software.pem");
    for loading in LOADINGS {
        hsm.openssl(
            Loading::Plain,
            &[
                "genpkey",
                "-algorithm",
                "EC",
                "-pkeyopt",
                "group:P-256",
                "-out",
                &key,
            ],
        )
        .succeeds();
        hsm.openssl(loading, &["pkey", "-in", &key, "-noout", "-check"])
            .succeeds();
    }
}

#[test]
fn a_key_file_that_cannot_be_used_says_why() {
    let hsm = Hsm::with_keys(&[("ec", EC_P256)]);
    let cases = [
        ("AKV Provider URI v9", uri("ec"), "version 'v9' is unknown"),
        (
            "AKV Provider URI v1.0",
            "managedhsm:My_HSM:ec".to_owned(),
            "vault name 'My_HSM'",
        ),
        ("AKV Provider URI v1.0", uri("nosuchkey"), "KeyNotFound"),
    ];
    for (version, uri, expected) in cases {
        let (pem, der) = key_files(&hsm, "bad", version, &uri);
        hsm.openssl(Loading::AkvFirst, &["pkey", "-in", &pem, "-noout"])
            .fails_with(&["akv_provider", expected]);
        // OSSL_STORE drops what decoders of DER say.
        hsm.openssl(Loading::AkvFirst, &["pkey", "-in", &der, "-noout"])
            .fails_with(&["Could not "]);
    }
}
