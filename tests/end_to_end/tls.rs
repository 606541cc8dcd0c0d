//! TLS with keys in the HSM: `openssl s_server` and `s_client`, curl as a client that knows nothing
//! of the provider.

use crate::support::{EC_P256, Hsm, LOADINGS, Loading, RSA_2048, uri};

const KEYS: [(&str, &str); 2] = [("rsa", RSA_2048), ("ec", EC_P256)];
const VERSIONS: [(&str, &str); 2] = [("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")];

#[test]
fn a_server_signs_handshakes_of_tls_1_2_and_1_3() {
    let hsm = Hsm::with_keys(&KEYS);
    for loading in LOADINGS {
        for (name, _) in KEYS {
            let certificate = hsm.certificate(loading, &uri(name), name);
            let server = hsm.serve_tls(loading, &["-cert", &certificate, "-key", &uri(name)]);
            for (version, label) in VERSIONS {
                let client =
                    hsm.connect_tls(Loading::Plain, &server, &["-CAfile", &certificate, version]);
                client.succeeds();
                let text = client.text();
                for part in [label, "Verification: OK"] {
                    assert!(
                        text.contains(part),
                        "{loading:?} {name} {version}: {text}\n{}",
                        server.errors()
                    );
                }
            }
        }
    }
}

#[test]
fn a_server_signs_with_each_signature_algorithm_that_clients_ask_for() {
    let hsm = Hsm::with_keys(&KEYS);
    let cases: [(&str, &[&str]); 2] = [
        (
            "rsa",
            &[
                "RSA-PSS+SHA256",
                "RSA-PSS+SHA384",
                "RSA-PSS+SHA512",
                "RSA+SHA256",
                "RSA+SHA384",
                "RSA+SHA512",
            ],
        ),
        ("ec", &["ECDSA+SHA256", "ECDSA+SHA384", "ECDSA+SHA512"]),
    ];
    for (name, algorithms) in cases {
        let certificate = hsm.certificate(Loading::AkvFirst, &uri(name), name);
        let server = hsm.serve_tls(
            Loading::AkvFirst,
            &["-cert", &certificate, "-key", &uri(name), "-tls1_2"],
        );
        for algorithm in algorithms {
            hsm.connect_tls(
                Loading::Plain,
                &server,
                // The certificate's own signature is RSA+SHA256, which a client may not have asked
                // for.
                &["-CAfile", &certificate, "-tls1_2", "-sigalgs", algorithm],
            )
            .succeeds();
        }
    }
}

/// The group that a client prefers, and the one of the EC certificate: in TLS 1.2 a client must
/// list that too (RFC 8422, section 5.1.1).
pub(crate) fn groups_for(group: &str) -> String {
    match group {
        "P-256" => group.to_owned(),
        other => format!("{other}:P-256"),
    }
}

#[test]
fn a_server_agrees_on_each_group_with_its_clients() {
    let hsm = Hsm::with_keys(&KEYS);
    for (name, _) in KEYS {
        let certificate = hsm.certificate(Loading::AkvFirst, &uri(name), name);
        for loading in LOADINGS {
            let server = hsm.serve_tls(loading, &["-cert", &certificate, "-key", &uri(name)]);
            for (version, _) in VERSIONS {
                for group in ["P-256", "P-384", "P-521", "X25519"] {
                    let groups = groups_for(group);
                    let arguments = ["-CAfile", &certificate, version, "-groups", &groups];
                    hsm.connect_tls(Loading::Plain, &server, &arguments)
                        .succeeds();
                }
            }
        }
    }
}

#[test]
fn a_server_with_both_keys_serves_clients_of_either_kind() {
    let hsm = Hsm::with_keys(&KEYS);
    let rsa = hsm.certificate(Loading::AkvFirst, &uri("rsa"), "rsa");
    let ec = hsm.certificate(Loading::AkvFirst, &uri("ec"), "ec");
    let server = hsm.serve_tls(
        Loading::AkvFirst,
        &[
            "-cert",
            &rsa,
            "-key",
            &uri("rsa"),
            "-dcert",
            &ec,
            "-dkey",
            &uri("ec"),
        ],
    );
    for (certificate, cipher) in [
        (&rsa, "ECDHE-RSA-AES128-GCM-SHA256"),
        (&ec, "ECDHE-ECDSA-AES128-GCM-SHA256"),
    ] {
        let arguments = ["-CAfile", certificate, "-tls1_2", "-cipher", cipher];
        hsm.connect_tls(Loading::Plain, &server, &arguments)
            .succeeds();
    }
}

#[test]
fn a_client_certificate_may_have_its_key_in_the_hsm() {
    let hsm = Hsm::with_keys(&KEYS);
    for (name, _) in KEYS {
        let certificate = hsm.certificate(Loading::AkvFirst, &uri(name), name);
        let (server_key, server_certificate) = software_certificate(&hsm, "rsa:2048");
        for (version, _) in VERSIONS {
            let server = hsm.serve_tls(
                Loading::Plain,
                &[
                    "-cert",
                    &server_certificate,
                    "-key",
                    &server_key,
                    "-Verify",
                    "1",
                    "-CAfile",
                    &certificate,
                    "-verify_return_error",
                    version,
                ],
            );
            for loading in LOADINGS {
                let client = hsm.connect_tls(
                    loading,
                    &server,
                    &[
                        "-CAfile",
                        &server_certificate,
                        version,
                        "-cert",
                        &certificate,
                        "-key",
                        &uri(name),
                    ],
                );
                client.succeeds();
                // The page tells what the server saw.
                assert!(
                    client.text().contains("Client certificate"),
                    "{loading:?} {name} {version}: {}\n{}",
                    client.text(),
                    server.errors()
                );
            }
        }
    }
}

#[test]
fn a_certificate_of_another_key_is_refused() {
    let hsm = Hsm::with_keys(&[("one", EC_P256), ("other", EC_P256)]);
    let certificate = hsm.certificate(Loading::AkvFirst, &uri("one"), "one");
    for loading in LOADINGS {
        hsm.openssl(
            loading,
            &[
                "s_server",
                "-accept",
                "127.0.0.1:0",
                "-cert",
                &certificate,
                "-key",
                &uri("other"),
            ],
        )
        .fails_with(&["key values mismatch"]);
    }
}

#[test]
fn a_server_goes_on_with_the_version_it_loaded_when_the_key_is_rotated() {
    let hsm = Hsm::start();
    for (name, body) in KEYS {
        let loaded = hsm.create(name, body);
        let certificate = hsm.certificate(Loading::AkvFirst, &uri(name), name);
        let server = hsm.serve_tls(
            Loading::AkvFirst,
            &["-cert", &certificate, "-key", &uri(name)],
        );
        for (version, _) in VERSIONS {
            let before = hsm.requests().len();
            let rotated = hsm.rotate(name);
            assert_ne!(loaded, rotated);
            hsm.connect_tls(Loading::Plain, &server, &["-CAfile", &certificate, version])
                .succeeds();
            let signed: Vec<String> = hsm.requests()[before..]
                .iter()
                .filter(|request| request.is_sign())
                .map(|request| request.path.clone())
                .collect();
            assert_eq!(signed, [format!("/keys/{name}/{loaded}/sign")]);
        }
    }
}

#[test]
fn a_server_keeps_its_connection_to_the_hsm() {
    let hsm = Hsm::with_keys(&KEYS);
    let certificate = hsm.certificate(Loading::AkvFirst, &uri("ec"), "ec");
    let before = hsm.requests().len();
    let server = hsm.serve_tls(
        Loading::AkvFirst,
        &["-cert", &certificate, "-key", &uri("ec")],
    );
    for _ in 0..5 {
        hsm.connect_tls(Loading::Plain, &server, &["-CAfile", &certificate])
            .succeeds();
    }
    let mut connections: Vec<u64> = hsm.requests()[before..]
        .iter()
        .map(|request| request.connection)
        .collect();
    assert_eq!(connections.len(), 6, "one GET and five signatures");
    connections.dedup();
    assert_eq!(connections.len(), 1);
}

#[test]
fn a_failing_hsm_ends_the_handshake_with_an_error_in_the_log_of_the_server() {
    let mut hsm = Hsm::with_keys(&KEYS);
    let certificate = hsm.certificate(Loading::AkvFirst, &uri("ec"), "ec");
    let server = hsm.serve_tls(
        Loading::AkvFirst,
        &["-cert", &certificate, "-key", &uri("ec")],
    );
    hsm.stop();
    let client = hsm.connect_tls(Loading::Plain, &server, &["-CAfile", &certificate]);
    assert!(!client.is_success(), "{}", client.text());
    assert!(
        server.errors().contains("akv_provider") || server.errors().contains("connect"),
        "{}",
        server.errors()
    );
}

#[test]
fn curl_reads_a_page() {
    let hsm = Hsm::with_keys(&KEYS);
    for (name, _) in KEYS {
        let certificate = hsm.certificate(Loading::Config, &uri(name), name);
        let server = hsm.serve_tls(
            Loading::Config,
            &["-cert", &certificate, "-key", &uri(name)],
        );
        let port = server
            .address
            .rsplit(':')
            .next()
            .expect("an address has a port");
        for version in [&["--tls-max", "1.2"][..], &["--tlsv1.3"]] {
            let url = format!("https://localhost:{port}/");
            let arguments = [
                "--silent",
                "--show-error",
                "--fail",
                "--cacert",
                &certificate,
                &url,
            ];
            let page = hsm.run("curl", &[version, &arguments].concat()).succeeds();
            assert!(page.contains("s_server"), "{page}");
        }
    }
}

/// A software key and its self-signed certificate, made without the provider.
fn software_certificate(hsm: &Hsm, kind: &str) -> (String, String) {
    let (key, certificate) = (hsm.path("software.key"), hsm.path("software.crt"));
    hsm.openssl(
        Loading::Plain,
        &[
            "req",
            "-x509",
            "-newkey",
            kind,
            "-noenc",
            "-keyout",
            &key,
            "-out",
            &certificate,
            "-subj",
            "/CN=software",
            "-addext",
            "subjectAltName=DNS:localhost",
        ],
    )
    .succeeds();
    (key, certificate)
}
