//! The same key in the HSM and as a software key: what comes out is the same where it is deterministic, and accepted by
//! the other where it isn't.

use std::cell::RefCell;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::support::{Hsm, LOADINGS, Loading, skip, uri};
use crate::vectors::{Cases, hex, jwk};

const KEYS: [(&str, &[&str]); 5] = [
    (
        "rsa",
        &["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"],
    ),
    ("p256", &["-algorithm", "EC", "-pkeyopt", "group:P-256"]),
    ("p384", &["-algorithm", "EC", "-pkeyopt", "group:P-384"]),
    ("p521", &["-algorithm", "EC", "-pkeyopt", "group:P-521"]),
    ("k256", &["-algorithm", "EC", "-pkeyopt", "group:secp256k1"]),
];
const HASHES: [&str; 11] = [
    "SHA1",
    "SHA224",
    "SHA256",
    "SHA384",
    "SHA512",
    "SHA512-224",
    "SHA512-256",
    "SHA3-224",
    "SHA3-256",
    "SHA3-384",
    "SHA3-512",
];

/// Makes a software key and brings it into the HSM too. Returns its file.
fn twin(hsm: &Hsm, name: &str, options: &[&str]) -> String {
    let (pem, der) = (
        hsm.path(&format!("{name}.pem")),
        hsm.path(&format!("{name}.der")),
    );
    let generate = [&["genpkey"][..], options, &["-out", &pem]].concat();
    hsm.openssl(Loading::Plain, &generate).succeeds();
    let convert = [
        "pkcs8", "-topk8", "-nocrypt", "-in", &pem, "-outform", "DER", "-out", &der,
    ];
    hsm.openssl(Loading::Plain, &convert).succeeds();
    hsm.import(name, &jwk(&std::fs::read(&der).expect("a private key")));
    pem
}

#[test]
fn commands_give_the_same_with_either_key() {
    let hsm = Hsm::start();
    let message = hsm.write("message", "a message\n");
    for (name, options) in KEYS {
        let pem = twin(&hsm, name, options);
        let key = uri(name);
        let deterministic: [&[&str]; 6] = [
            &["pkey", "-pubout"],
            &["pkey", "-noout", "-text_pub"],
            &["pkey", "-pubout", "-outform", "DER"],
            &["dgst", "-sha256"],
            &["dgst", "-sha512"],
            &["req", "-new", "-subj", "/CN=x/O=y"],
        ];
        for loading in LOADINGS {
            for command in deterministic {
                let with = |loading, key: &str| {
                    let arguments: Vec<&str> = match command[0] {
                        "pkey" => [command, &["-in", key]].concat(),
                        "dgst" => [command, &["-sign", key, &message]].concat(),
                        _ => [command, &["-key", key]].concat(),
                    };
                    let outcome = hsm.openssl(loading, &arguments);
                    outcome.succeeds();
                    outcome.bytes().to_vec()
                };
                // ECDSA is not deterministic.
                if name != "rsa" && command[0] != "pkey" {
                    continue;
                }
                let expected = with(Loading::Plain, &pem);
                assert_eq!(
                    with(loading, &key),
                    expected,
                    "{loading:?} {name} {command:?}"
                );
            }
            for pss in [&[][..], &["-sigopt", "rsa_padding_mode:pss"]] {
                if name != "rsa" && !pss.is_empty() {
                    continue;
                }
                let identifiers = |loading, key: &str| {
                    let request = ["req", "-x509", "-new", "-subj", "/CN=x", "-key", key];
                    let certificate = hsm.path("x.crt");
                    let arguments = [&request[..], pss, &["-out", &certificate]].concat();
                    hsm.openssl(loading, &arguments).succeeds();
                    let show = ["asn1parse", "-in", &certificate];
                    let text = hsm.openssl(Loading::Plain, &show).succeeds();
                    let objects = text.lines().filter(|line| line.contains("OBJECT"));
                    let names = objects.map(|line| line.rsplit(':').next().unwrap_or_default());
                    names.map(str::to_owned).collect::<Vec<_>>()
                };
                let mut ours = identifiers(loading, &key);
                let mut theirs = identifiers(Loading::Plain, &pem);
                // The default provider's PSS salt is as long as fits; identifiers are the same all the same.
                ours.sort();
                theirs.sort();
                assert_eq!(ours, theirs, "{loading:?} {name} {pss:?}");
            }
        }
    }
}

/// What the HSM has of these settings.
fn is_possible(key: &str, padding: &str, hash: &str, salt: &str) -> bool {
    let len = match hash {
        "SHA256" => "32",
        "SHA384" => "48",
        "SHA512" => "64",
        _ => return key != "rsa",
    };
    key != "rsa" || padding == "pkcs1" || ["-", "digest", len].contains(&salt)
}

#[test]
fn signatures_of_all_kinds_are_those_of_the_software_key() {
    let hsm = Hsm::start();
    let program = hsm.compile("cases");
    let orders = ["akv_provider,default", "default,akv_provider"];
    let mut cases = Vec::new();
    for (name, options) in KEYS {
        let pem = twin(&hsm, name, options);
        for order in orders {
            let arguments = ["sign", order, &uri(name), &pem];
            cases.push(RefCell::new(Cases::start(&hsm, &program, &arguments)));
        }
    }
    let strategy = (
        0..KEYS.len(),
        0..orders.len(),
        prop::sample::select(&["pkcs1", "pss"][..]),
        prop::sample::select(&HASHES[..]),
        prop::sample::select(&["-", "digest", "max", "0", "20", "32", "48", "64"][..]),
        prop::sample::select(&["whole", "pieces", "digest", "message"][..]),
        prop::collection::vec(any::<u8>(), 0..300),
    );
    let mut runner = TestRunner::new(Config {
        cases: 1500,
        failure_persistence: None,
        ..Config::default()
    });
    let outcome = runner.run(
        &strategy,
        |(key, order, padding, hash, salt, style, message)| {
            let name = KEYS[key].0;
            let padding = if name == "rsa" { padding } else { "-" };
            let salt = if padding == "pss" { salt } else { "-" };
            // No name is assigned to these for whole messages.
            let style = match (name, style, hash) {
                ("rsa", ..) => style,
                (_, "message", "SHA512-224" | "SHA512-256") => "whole",
                _ => style,
            };
            let case = format!("{padding} {hash} {salt} - {style} {}", hex(&message));
            let answer = cases[key * orders.len() + order].borrow_mut().answer(&case);
            let expected = match is_possible(name, padding, hash, salt) {
                true => "ok",
                false => "refused",
            };
            prop_assert_eq!(answer, expected, "{} {}", name, case);
            Ok(())
        },
    );
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
    let version = hsm.openssl(Loading::Plain, &["version"]).succeeds();
    if ["3.0.", "3.1.", "3.2.", "3.3."]
        .iter()
        .any(|old| version.contains(old))
    {
        skip("the style 'message' of the differential test: OpenSSL has it from 3.4 on");
    }
}
