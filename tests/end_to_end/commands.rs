//! The commands of `openssl`, in every order of providers, with an RSA and an EC key.

use crate::support::{EC_P256, Hsm, LOADINGS, Loading, RSA_2048, uri};

const KEYS: [(&str, &str); 2] = [("rsa", RSA_2048), ("ec", EC_P256)];

/// Runs a check with every key under every way to load the provider.
fn everywhere(check: impl Fn(&Hsm, Loading, &str, &str)) {
    let hsm = Hsm::with_keys(&KEYS);
    hsm.write("message", "a message to sign\n");
    for loading in LOADINGS {
        for (name, _) in KEYS {
            check(&hsm, loading, name, &uri(name));
        }
    }
}

#[test]
fn pkey_writes_the_public_key() {
    everywhere(|hsm, loading, name, uri| {
        let pem = hsm.public_key(loading, uri);
        let text = hsm.openssl(
            Loading::Plain,
            &["pkey", "-pubin", "-in", &pem, "-noout", "-text"],
        );
        let expected = if name == "rsa" {
            "(2048 bit)"
        } else {
            "prime256v1"
        };
        assert!(text.succeeds().contains(expected), "{}", text.text());
    });
}

#[test]
fn pkey_prints_a_uri_as_a_public_key() {
    everywhere(|hsm, loading, name, uri| {
        let printed = hsm
            .openssl(loading, &["pkey", "-in", uri, "-pubin", "-noout", "-text"])
            .succeeds();
        let expected = if name == "rsa" {
            "(2048 bit)"
        } else {
            "prime256v1"
        };
        assert!(printed.contains(expected), "{printed}");
    });
}

#[test]
fn storeutl_lists_both_halves_of_the_key_by_one_request() {
    everywhere(|hsm, loading, name, uri| {
        let before = hsm.requests().len();
        let text = hsm.openssl(loading, &["storeutl", uri]).text();
        assert!(text.contains("Total found: 2"), "{loading:?} {uri}: {text}");
        for half in ["0: Pkey", "1: Public key"] {
            assert!(text.contains(half), "{loading:?} {uri}: {text}");
        }
        let path = format!("/keys/{name}");
        let loads = hsm.requests().split_off(before);
        assert_eq!(loads.iter().filter(|one| one.path == path).count(), 1);
    });
}

#[test]
fn storeutl_finds_a_public_key_or_a_key_and_no_certificate() {
    let hsm = Hsm::with_keys(&KEYS);
    for loading in LOADINGS {
        for (name, _) in KEYS {
            for (option, found) in [("-keys", 1), ("-certs", 0), ("-crls", 0)] {
                let text = hsm
                    .openssl(loading, &["storeutl", "-noout", option, &uri(name)])
                    .text();
                // Newer releases say nothing of having found nothing.
                let told = text.contains(&format!("Total found: {found}"));
                let silent = found == 0 && !text.contains("Total found");
                assert!(told || silent, "{loading:?} {name} {option}: {text}");
            }
        }
    }
}

#[test]
fn req_makes_a_request_that_verifies() {
    everywhere(|hsm, loading, name, uri| {
        let csr = hsm.path("request.csr");
        let subject = format!("/O=Test/CN={name}");
        hsm.openssl(
            loading,
            &["req", "-new", "-key", uri, "-subj", &subject, "-out", &csr],
        )
        .succeeds();
        for verifier in [Loading::Plain, loading] {
            let text = hsm.openssl(verifier, &["req", "-in", &csr, "-verify", "-noout"]);
            text.succeeds();
            assert!(
                text.text().to_lowercase().contains("verify ok"),
                "{}",
                text.text()
            );
        }
    });
}

#[test]
fn req_x509_makes_a_self_signed_certificate() {
    everywhere(|hsm, loading, name, uri| {
        let certificate = hsm.certificate(loading, uri, name);
        for verifier in [Loading::Plain, loading] {
            let arguments = [
                "verify",
                "-check_ss_sig",
                "-CAfile",
                &certificate,
                &certificate,
            ];
            hsm.openssl(verifier, &arguments).succeeds();
        }
    });
}

#[test]
fn a_ca_in_the_hsm_issues_certificates() {
    let hsm = Hsm::with_keys(&KEYS);
    for loading in LOADINGS {
        for (name, _) in KEYS {
            let ca = hsm.path("ca.crt");
            hsm.openssl(
                loading,
                &[
                    "req",
                    "-new",
                    "-x509",
                    "-key",
                    &uri(name),
                    "-subj",
                    "/CN=CA",
                    "-addext",
                    "basicConstraints=critical,CA:TRUE",
                    "-out",
                    &ca,
                ],
            )
            .succeeds();
            let (key, csr, certificate) = (
                hsm.path("leaf.key"),
                hsm.path("leaf.csr"),
                hsm.path("leaf.crt"),
            );
            hsm.openssl(
                Loading::Plain,
                &[
                    "req", "-new", "-newkey", "rsa:2048", "-noenc", "-keyout", &key, "-subj",
                    "/CN=leaf", "-out", &csr,
                ],
            )
            .succeeds();
            hsm.openssl(
                loading,
                &[
                    "x509",
                    "-req",
                    "-in",
                    &csr,
                    "-CA",
                    &ca,
                    "-CAkey",
                    &uri(name),
                    "-days",
                    "5",
                    "-out",
                    &certificate,
                ],
            )
            .succeeds();
            hsm.openssl(Loading::Plain, &["verify", "-CAfile", &ca, &certificate])
                .succeeds();
        }
    }
}

#[test]
fn dgst_signs_with_each_hash_and_padding() {
    everywhere(|hsm, loading, name, uri| {
        let public = hsm.public_key(loading, uri);
        let paddings: &[&[&str]] = if name == "rsa" {
            &[&[], &["-sigopt", "rsa_padding_mode:pss"]]
        } else {
            &[&[]]
        };
        let (message, signature) = (hsm.path("message"), hsm.path("signature"));
        for hash in ["-sha256", "-sha384", "-sha512"] {
            for padding in paddings {
                let sign = ["dgst", hash, "-sign", uri, "-out", &signature];
                hsm.openssl(loading, &[&sign, *padding, &[&message]].concat())
                    .succeeds();
                // With plain openssl; then with the URI in the place of the public key.
                for (verifier, key) in [(Loading::Plain, public.as_str()), (loading, uri)] {
                    let verify = ["dgst", hash, "-verify", key, "-signature", &signature];
                    let outcome = hsm.openssl(verifier, &[&verify, *padding, &[&message]].concat());
                    assert!(
                        outcome.succeeds().contains("Verified OK"),
                        "{}",
                        outcome.text()
                    );
                }
            }
        }
    });
}

#[test]
fn a_uri_as_public_key_refuses_a_signature_over_something_else() {
    everywhere(|hsm, loading, _, uri| {
        let (message, other) = (hsm.path("message"), hsm.write("other", "another message\n"));
        let signature = hsm.path("signature");
        hsm.openssl(
            loading,
            &[
                "dgst", "-sha256", "-sign", uri, "-out", &signature, &message,
            ],
        )
        .succeeds();
        hsm.openssl(
            loading,
            &[
                "dgst",
                "-sha256",
                "-verify",
                uri,
                "-signature",
                &signature,
                &other,
            ],
        )
        .fails_with(&["verification failure"]);
    });
}

#[test]
fn pkeyutl_signs_a_digest() {
    everywhere(|hsm, loading, name, uri| {
        let public = hsm.public_key(loading, uri);
        let signature = hsm.path("signature");
        for (hash, length) in [("sha256", 32), ("sha384", 48), ("sha512", 64)] {
            let digest = hsm.write("digest", vec![0x5a; length]);
            let named = format!("digest:{hash}");
            let options: &[&[&str]] = if name == "rsa" {
                &[
                    // The bytes as they are.
                    &[],
                    &["-pkeyopt", &named],
                    &["-pkeyopt", &named, "-pkeyopt", "rsa_padding_mode:pss"],
                    &[
                        "-pkeyopt",
                        &named,
                        "-pkeyopt",
                        "rsa_padding_mode:pss",
                        "-pkeyopt",
                        "rsa_pss_saltlen:digest",
                    ],
                ]
            } else {
                &[&["-pkeyopt", &named], &[]]
            };
            for options in options {
                let sign = [
                    "pkeyutl", "-sign", "-inkey", uri, "-in", &digest, "-out", &signature,
                ];
                hsm.openssl(loading, &[&sign, *options].concat()).succeeds();
                for (verifier, key) in [(Loading::Plain, public.as_str()), (loading, uri)] {
                    let verify = [
                        "pkeyutl", "-verify", "-pubin", "-inkey", key, "-in", &digest, "-sigfile",
                        &signature,
                    ];
                    let outcome = hsm.openssl(verifier, &[&verify, *options].concat());
                    outcome.succeeds();
                    assert!(
                        outcome.text().contains("Verified Successfully"),
                        "{}",
                        outcome.text()
                    );
                }
            }
        }
    });
}

#[test]
fn bytes_without_the_name_of_a_digest_are_signed_as_they_are_or_not_at_all() {
    let hsm = Hsm::with_keys(&[("rsa", RSA_2048)]);
    let key = uri("rsa");
    let (signature, recovered) = (hsm.path("signature"), hsm.path("recovered"));
    for loading in LOADINGS {
        let public = hsm.public_key(loading, &key);
        for len in [1, 20, 32, 36, 48, 64] {
            let input = hsm.write("input", vec![0x5a; len]);
            let sign = [
                "pkeyutl", "-sign", "-inkey", &key, "-in", &input, "-out", &signature,
            ];
            hsm.openssl(loading, &sign).succeeds();
            for (judge, key) in [(Loading::Plain, public.as_str()), (loading, &key)] {
                let with = ["-pubin", "-inkey", key];
                let verify = ["pkeyutl", "-verify", "-in", &input, "-sigfile", &signature];
                hsm.openssl(judge, &[&verify[..], &with].concat())
                    .succeeds();
                let recover = [
                    "pkeyutl",
                    "-verifyrecover",
                    "-in",
                    &signature,
                    "-out",
                    &recovered,
                ];
                hsm.openssl(judge, &[&recover[..], &with].concat())
                    .succeeds();
                assert_eq!(std::fs::read(&recovered).expect("bytes"), vec![0x5a; len]);
            }
        }
        // A signature of the digest in a DigestInfo is none of its bytes.
        let digest = hsm.write("digest", [0x5a; 32]);
        let sign = [
            "pkeyutl", "-sign", "-inkey", &key, "-in", &digest, "-out", &signature,
        ];
        hsm.openssl(
            loading,
            &[&sign[..], &["-pkeyopt", "digest:sha256"]].concat(),
        )
        .succeeds();
        let verify = [
            "pkeyutl", "-verify", "-pubin", "-inkey", &key, "-in", &digest,
        ];
        let verify = [&verify[..], &["-sigfile", &signature]].concat();
        hsm.openssl(loading, &verify).fails_with(&[]);

        let sign = [
            "pkeyutl", "-sign", "-inkey", &key, "-in", &digest, "-out", &signature,
        ];
        let pss = ["-pkeyopt", "rsa_padding_mode:pss"];
        hsm.openssl(loading, &[&sign[..], &pss].concat())
            .fails_with(&["PSS needs", "-pkeyopt digest:"]);
        hsm.openssl(loading, &[&verify[..], &pss].concat())
            .fails_with(&[]);
    }
}

#[test]
fn pkeyutl_signs_a_message_with_rawin() {
    everywhere(|hsm, loading, _, uri| {
        let public = hsm.public_key(loading, uri);
        let (message, signature) = (hsm.path("message"), hsm.path("signature"));
        let raw = ["-rawin", "-digest", "sha256", "-in", &message];
        let sign = ["pkeyutl", "-sign", "-inkey", uri, "-out", &signature];
        hsm.openssl(loading, &[&sign[..], &raw].concat()).succeeds();
        let verify = [
            "pkeyutl", "-verify", "-pubin", "-inkey", &public, "-sigfile", &signature,
        ];
        hsm.openssl(Loading::Plain, &[&verify[..], &raw].concat())
            .succeeds();
    });
}

#[test]
fn cms_signs_messages() {
    everywhere(|hsm, loading, name, uri| {
        let certificate = hsm.certificate(loading, uri, name);
        let (message, signed) = (hsm.path("message"), hsm.path("signed.cms"));
        let paddings: &[&[&str]] = if name == "rsa" {
            &[&[], &["-keyopt", "rsa_padding_mode:pss"]]
        } else {
            &[&[]]
        };
        for hash in ["sha256", "sha384", "sha512"] {
            for padding in paddings {
                let sign = [
                    "cms",
                    "-sign",
                    "-binary",
                    "-nodetach",
                    "-md",
                    hash,
                    "-in",
                    &message,
                    "-signer",
                    &certificate,
                    "-inkey",
                    uri,
                    "-outform",
                    "DER",
                    "-out",
                    &signed,
                ];
                hsm.openssl(loading, &[&sign[..], padding].concat())
                    .succeeds();
                let verify = [
                    "cms",
                    "-verify",
                    "-binary",
                    "-inform",
                    "DER",
                    "-in",
                    &signed,
                    "-CAfile",
                    &certificate,
                    "-purpose",
                    "any",
                ];
                let verified = hsm.openssl(Loading::Plain, &verify);
                assert_eq!(verified.succeeds(), "a message to sign\n");
            }
        }
    });
}

#[test]
fn a_uri_with_a_version_signs_with_that_version() {
    let hsm = Hsm::start();
    hsm.write("message", "a message to sign\n");
    for (name, body) in KEYS {
        let old = hsm.create(name, body);
        let new = hsm.rotate(name);
        assert_ne!(old, new);
        let pinned = format!("managedhsm:MyHSM:{name}?version={old}");
        let keyed = format!("akv:vault=MyHSM,name={name},version={old}");
        let old_public = hsm.public_key(Loading::AkvFirst, &pinned);
        let new_public = hsm.public_key(Loading::AkvFirst, &uri(name));
        let (message, signature) = (hsm.path("message"), hsm.path("signature"));
        for (signer, public, version) in [
            (pinned, &old_public, &old),
            (keyed, &old_public, &old),
            (uri(name), &new_public, &new),
        ] {
            hsm.openssl(
                Loading::AkvFirst,
                &[
                    "dgst", "-sha256", "-sign", &signer, "-out", &signature, &message,
                ],
            )
            .succeeds();
            hsm.verifies(&["-sha256"], public, &signature, &message);
            let last = hsm.requests().pop().expect("there was a request");
            assert_eq!(last.path, format!("/keys/{name}/{version}/sign"));
        }
    }
}

#[test]
fn nothing_is_logged_unless_asked_for() {
    let mut hsm = Hsm::with_keys(&KEYS);
    let message = hsm.write("message", "a message to sign\n");
    let uri = uri("ec");
    let signature = hsm.path("signature");
    let arguments = [
        "dgst", "-sha256", "-sign", &uri, "-out", &signature, &message,
    ];
    let quiet = hsm.openssl(Loading::AkvFirst, &arguments);
    quiet.succeeds();
    assert_eq!(quiet.text(), "");

    hsm.set("RUST_LOG", "akv_provider=debug,managed_hsm=debug");
    let token = hsm.variable("AZURE_CLI_ACCESS_TOKEN").to_owned();
    let loud = hsm.openssl(Loading::AkvFirst, &arguments);
    loud.succeeds();
    assert!(!loud.text().is_empty());
    assert!(!loud.text().contains(&token), "the token is in the log");

    let log = hsm.path("akv.log");
    hsm.set("AKV_LOG_FILE", &log);
    let filed = hsm.openssl(Loading::AkvFirst, &arguments);
    filed.succeeds();
    assert_eq!(filed.text(), "");
    let written = std::fs::read_to_string(&log).expect("the log file exists");
    assert!(
        !written.is_empty() && !written.contains(&token),
        "{written}"
    );
}

#[test]
fn the_provider_tells_its_name_version_and_status() {
    let hsm = Hsm::start();
    for loading in LOADINGS {
        let text = hsm
            .openssl(loading, &["list", "-providers", "-verbose"])
            .succeeds();
        for part in [
            "akv_provider",
            "Azure Managed HSM",
            env!("CARGO_PKG_VERSION"),
            "status: active",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }
}
