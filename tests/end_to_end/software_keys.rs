//! Software keys, peers' keys and random numbers go on working as if the provider weren't there,
//! wherever it stands.

use std::collections::BTreeSet;

use crate::support::{EC_P256, Hsm, LOADINGS, Loading, RSA_2048, uri};

/// `genpkey` options of each kind of key, and whether `dgst` can sign with it.
const KINDS: [(&str, &[&str], bool); 10] = [
    (
        "p256",
        &["-algorithm", "EC", "-pkeyopt", "group:P-256"],
        true,
    ),
    (
        "p384",
        &["-algorithm", "EC", "-pkeyopt", "group:P-384"],
        true,
    ),
    (
        "p521",
        &["-algorithm", "EC", "-pkeyopt", "group:P-521"],
        true,
    ),
    (
        "secp256k1",
        &["-algorithm", "EC", "-pkeyopt", "group:secp256k1"],
        true,
    ),
    (
        "p224",
        &["-algorithm", "EC", "-pkeyopt", "group:P-224"],
        true,
    ),
    (
        "brainpool",
        &["-algorithm", "EC", "-pkeyopt", "group:brainpoolP256r1"],
        true,
    ),
    (
        "rsa",
        &["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"],
        true,
    ),
    (
        "rsa-pss",
        &["-algorithm", "RSA-PSS", "-pkeyopt", "rsa_keygen_bits:2048"],
        true,
    ),
    ("x25519", &["-algorithm", "X25519"], false),
    ("ed25519", &["-algorithm", "ED25519"], false),
];

#[test]
fn keys_of_every_kind_are_made_and_sign() {
    let hsm = Hsm::start();
    let message = hsm.write("message", "a message to sign\n");
    let signature = hsm.path("signature");
    let mut failures = Vec::new();
    for loading in LOADINGS {
        for (name, options, signs) in KINDS {
            let key = hsm.path(name);
            let made = hsm.openssl(loading, &[&["genpkey", "-out", &key], options].concat());
            if !made.is_success() {
                failures.push(format!("{loading:?} genpkey {name}: {}", made.text()));
                continue;
            }
            if !signs {
                continue;
            }
            let public = hsm
                .openssl(Loading::Plain, &["pkey", "-in", &key, "-pubout"])
                .succeeds();
            let public = hsm.write("public.pem", public);
            let sign = [
                "dgst", "-sha256", "-sign", &key, "-out", &signature, &message,
            ];
            let verify = [
                "dgst",
                "-sha256",
                "-verify",
                &public,
                "-signature",
                &signature,
                &message,
            ];
            for (what, outcome) in [
                ("sign", hsm.openssl(loading, &sign)),
                ("verify with the provider", hsm.openssl(loading, &verify)),
                ("verify", hsm.openssl(Loading::Plain, &verify)),
            ] {
                if !outcome.is_success() {
                    failures.push(format!("{loading:?} {what} {name}: {}", outcome.text()));
                }
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn software_keys_use_what_the_hsm_cannot_do() {
    let hsm = Hsm::start();
    let message = hsm.write("message", "a message to sign\n");
    let signature = hsm.path("signature");
    let rsa = hsm.path("rsa.key");
    let ec = hsm.path("ec.key");
    hsm.openssl(
        Loading::Plain,
        &["genpkey", "-algorithm", "RSA", "-out", &rsa],
    )
    .succeeds();
    hsm.openssl(
        Loading::Plain,
        &[
            "genpkey",
            "-algorithm",
            "EC",
            "-pkeyopt",
            "group:P-256",
            "-out",
            &ec,
        ],
    )
    .succeeds();
    let cases: [(&str, &[&str]); 8] = [
        (&rsa, &["-sha1"]),
        (&rsa, &["-sha224"]),
        (&rsa, &["-sha3-256"]),
        (&rsa, &["-md5"]),
        (
            &rsa,
            &[
                "-sha256",
                "-sigopt",
                "rsa_padding_mode:pss",
                "-sigopt",
                "rsa_pss_saltlen:20",
            ],
        ),
        (&rsa, &["-sha256", "-sigopt", "rsa_padding_mode:x931"]),
        (&ec, &["-sha1"]),
        (&ec, &["-sha512"]),
    ];
    let mut failures = Vec::new();
    for loading in LOADINGS {
        for (key, options) in &cases {
            let sign = ["dgst", "-sign", key, "-out", &signature];
            let verify = ["dgst", "-prverify", key, "-signature", &signature];
            for (what, arguments) in [("sign", &sign), ("verify", &verify)] {
                let outcome =
                    hsm.openssl(loading, &[&arguments[..], options, &[&message]].concat());
                if !outcome.is_success() {
                    failures.push(format!(
                        "{loading:?} {what} {options:?}: {}",
                        outcome.text()
                    ));
                }
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn requests_certificates_and_encryption_work_with_software_keys() {
    let hsm = Hsm::start();
    let message = hsm.write("message", "a secret message\n");
    for loading in LOADINGS {
        for kind in [
            &["rsa:2048"][..],
            &["ec", "-pkeyopt", "ec_paramgen_curve:P-256"],
        ] {
            let (key, certificate) = (hsm.path("software.key"), hsm.path("software.crt"));
            let request = [
                "req",
                "-x509",
                "-noenc",
                "-keyout",
                &key,
                "-out",
                &certificate,
            ];
            let rest = ["-subj", "/CN=software", "-newkey"];
            hsm.openssl(loading, &[&request[..], &rest, kind].concat())
                .succeeds();
            hsm.openssl(
                Loading::Plain,
                &["verify", "-CAfile", &certificate, &certificate],
            )
            .succeeds();
            let sealed = hsm.path("sealed.cms");
            let encrypt = [
                "cms",
                "-encrypt",
                "-aes-128-cbc",
                "-binary",
                "-in",
                &message,
                "-out",
                &sealed,
                &certificate,
            ];
            hsm.openssl(loading, &encrypt).succeeds();
            let decrypt = ["cms", "-decrypt", "-binary", "-in", &sealed, "-inkey", &key];
            assert_eq!(
                hsm.openssl(loading, &decrypt).succeeds(),
                "a secret message\n"
            );
        }
    }
}

#[test]
fn keys_agree_on_secrets() {
    let hsm = Hsm::start();
    let make = |name: &str| {
        let key = hsm.path(name);
        let options = ["-algorithm", "EC", "-pkeyopt", "group:P-256"];
        hsm.openssl(
            Loading::Plain,
            &[&["genpkey", "-out", &key], &options[..]].concat(),
        )
        .succeeds();
        let public = hsm
            .openssl(Loading::Plain, &["pkey", "-in", &key, "-pubout"])
            .succeeds();
        (key, hsm.write(&format!("{name}.pub"), public))
    };
    let ((one, one_public), (two, two_public)) = (make("one"), make("two"));
    for loading in LOADINGS {
        let derive = |key: &str, peer: &str| {
            let outcome = hsm.openssl(
                loading,
                &["pkeyutl", "-derive", "-inkey", key, "-peerkey", peer],
            );
            outcome.succeeds();
            outcome.bytes().to_vec()
        };
        assert_eq!(derive(&one, &two_public), derive(&two, &one_public));
    }
}

#[test]
fn tls_with_software_keys_works() {
    let hsm = Hsm::start();
    for kind in [
        &["rsa:2048"][..],
        &["ec", "-pkeyopt", "ec_paramgen_curve:P-256"],
    ] {
        let (key, certificate) = (hsm.path("software.key"), hsm.path("software.crt"));
        let request = [
            "req",
            "-x509",
            "-noenc",
            "-keyout",
            &key,
            "-out",
            &certificate,
        ];
        let rest = [
            "-subj",
            "/CN=software",
            "-addext",
            "subjectAltName=DNS:localhost",
            "-newkey",
        ];
        hsm.openssl(Loading::Plain, &[&request[..], &rest, kind].concat())
            .succeeds();
        for loading in LOADINGS {
            let server = hsm.serve_tls(loading, &["-cert", &certificate, "-key", &key]);
            for version in ["-tls1_2", "-tls1_3"] {
                for group in ["P-256", "X25519"] {
                    for client in [Loading::Plain, loading] {
                        let groups = crate::tls::groups_for(group);
                        let arguments = ["-CAfile", &certificate, version, "-groups", &groups];
                        hsm.connect_tls(client, &server, &arguments).succeeds();
                    }
                }
            }
        }
    }
}

#[test]
fn random_numbers_and_hashes_work() {
    let hsm = Hsm::start();
    let message = hsm.write("message", "abc");
    for loading in LOADINGS {
        assert_eq!(
            hsm.openssl(loading, &["rand", "-hex", "16"])
                .succeeds()
                .trim()
                .len(),
            32
        );
        let digest = hsm
            .openssl(loading, &["dgst", "-sha256", "-r", &message])
            .succeeds();
        assert!(
            digest.starts_with("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
        );
    }
}

#[test]
fn without_a_network_software_keys_work() {
    let mut hsm = Hsm::with_keys(&[("rsa", RSA_2048), ("ec", EC_P256)]);
    hsm.stop();
    for variable in [
        "AZURE_MANAGEDHSM_URL",
        "AKV_CA_FILE",
        "AZURE_CLI_ACCESS_TOKEN",
    ] {
        hsm.unset(variable);
    }
    let key = hsm.path("rsa.key");
    hsm.openssl(
        Loading::Plain,
        &["genpkey", "-algorithm", "RSA", "-out", &key],
    )
    .succeeds();
    for loading in LOADINGS {
        hsm.openssl(loading, &["req", "-new", "-key", &key, "-subj", "/CN=x"])
            .succeeds();
    }
}

#[test]
fn a_software_key_and_an_hsm_key_serve_one_process() {
    let hsm = Hsm::with_keys(&[("rsa", RSA_2048), ("ec", EC_P256)]);
    let ca = hsm.certificate(Loading::AkvFirst, &uri("ec"), "ca");
    let (key, csr) = (hsm.path("leaf.key"), hsm.path("leaf.csr"));
    for loading in LOADINGS {
        // The request is made, and its own signature checked, by a process that also signs with the
        // HSM.
        let request = [
            "req", "-new", "-newkey", "rsa:2048", "-noenc", "-keyout", &key, "-subj", "/CN=leaf",
        ];
        hsm.openssl(loading, &[&request[..], &["-out", &csr]].concat())
            .succeeds();
        let sign = [
            "x509",
            "-req",
            "-in",
            &csr,
            "-CA",
            &ca,
            "-CAkey",
            &uri("ec"),
        ];
        hsm.openssl(loading, &sign).succeeds();
    }
}

#[test]
fn what_is_refused_with_software_keys_is_refused_likewise_with_the_provider() {
    let hsm = Hsm::start();
    let program = hsm.compile("software_refusals");
    let lines = |order: &str| hsm.run(&program, &[order]).succeeds();
    let without = lines("default");
    for order in ["akv_provider,default", "default,akv_provider"] {
        assert_eq!(lines(order), without, "{order}");
    }
}

/// Programs look up what a type of keys has before they read, set or import it.
#[test]
fn the_tables_of_software_keys_name_what_they_name_without_the_provider() {
    let hsm = Hsm::start();
    let program = hsm.compile("key_tables");
    let lines = |order: &str| -> BTreeSet<String> {
        let printed = hsm.run(&program, &[order]).succeeds();
        printed.lines().map(str::to_owned).collect()
    };
    let (without, with) = (lines("default"), lines("akv_provider,default"));
    let lost: Vec<_> = without.difference(&with).collect();
    assert!(lost.is_empty(), "only without the provider: {lost:#?}");
    // Generation takes our own options too, and keys tell on all versions what they tell on the
    // newest.
    let more: Vec<_> = with
        .difference(&without)
        .filter(|line| !line.contains(" settable for generation: "))
        .filter(|line| !line.ends_with(" gettable: security-category of type 1"))
        .filter(|line| *line != "EC gettable: field-degree of type 1")
        .collect();
    assert!(more.is_empty(), "only with the provider: {more:#?}");
}
