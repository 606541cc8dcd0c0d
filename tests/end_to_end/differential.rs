//! The same key in the HSM and as a software key: what comes out is the same where it is
//! deterministic, and accepted by the other where it isn't.

use std::cell::RefCell;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::support::{Hsm, LOADINGS, Loading, openssl_version, skip, uri, whole};
use crate::vectors::{Cases, hex, jwk, output};

const KEYS: [(&str, &[&str]); 7] = [
    (
        "rsa-2048",
        &["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"],
    ),
    (
        "rsa-3072",
        &["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:3072"],
    ),
    (
        "rsa-4096",
        &["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:4096"],
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

fn is_rsa(key: &str) -> bool {
    key.starts_with("rsa")
}

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
fn what_counts_of_several_settings_is_the_same_with_either_key() {
    let hsm = Hsm::start();
    let program = hsm.compile("signature_steps");
    for (name, options) in KEYS
        .iter()
        .filter(|(name, _)| ["rsa-2048", "p256"].contains(name))
    {
        let pem = twin(&hsm, name, options);
        hsm.run(&program, &[&uri(name), &pem]).succeeds();
    }
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
                if !is_rsa(name) && command[0] != "pkey" {
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
                if !is_rsa(name) && !pss.is_empty() {
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
                // The default provider's PSS salt is as long as fits; identifiers are the same all
                // the same.
                ours.sort();
                theirs.sort();
                assert_eq!(ours, theirs, "{loading:?} {name} {pss:?}");
            }
        }
    }
}

/// What the HSM has of these settings.
fn is_possible(key: &str, padding: &str, hash: &str, salt: &str, mgf1: &str) -> bool {
    let len = match hash {
        "SHA256" => "32",
        "SHA384" => "48",
        "SHA512" => "64",
        _ => return !is_rsa(key),
    };
    !is_rsa(key)
        || padding == "pkcs1"
        || (["-", "digest", "auto-digestmax", len].contains(&salt) && ["-", hash].contains(&mgf1))
}

#[test]
fn signatures_of_all_kinds_are_those_of_the_software_key() {
    let hsm = Hsm::start();
    let program = hsm.compile("cases");
    let orders = ["akv_provider,default", "default,akv_provider"];
    let version = openssl_version();
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
        prop::sample::select(
            &[
                "-",
                "digest",
                "auto",
                "auto-digestmax",
                "max",
                "0",
                "20",
                "32",
                "48",
                "64",
            ][..],
        ),
        prop::sample::select(&["-", "-", "same", "SHA1", "SHA256", "SHA512"][..]),
        prop::sample::select(&["whole", "pieces", "digest", "message"][..]),
        prop::collection::vec(any::<u8>(), 0..300),
    );
    let mut runner = TestRunner::new(Config {
        cases: if whole() { 1500 } else { 300 },
        failure_persistence: None,
        ..Config::default()
    });
    let outcome = runner.run(
        &strategy,
        |(key, order, padding, hash, salt, mgf1, style, message)| {
            let name = KEYS[key].0;
            let padding = if is_rsa(name) { padding } else { "-" };
            let (salt, mgf1) = match (padding, mgf1) {
                // The default provider knows this name from OpenSSL 3.1 on.
                ("pss", _) if salt == "auto-digestmax" && version < (3, 1) => ("digest", "-"),
                ("pss", "same") => (salt, hash),
                ("pss", _) => (salt, mgf1),
                _ => ("-", "-"),
            };
            // No name is assigned to these for whole messages.
            let style = match (is_rsa(name), style, hash) {
                (false, "message", "SHA512-224" | "SHA512-256") => "whole",
                _ => style,
            };
            let case = format!("{padding} {hash} {salt} {mgf1} {style} {}", hex(&message));
            let answer = cases[key * orders.len() + order].borrow_mut().answer(&case);
            let expected = match is_possible(name, padding, hash, salt, mgf1) {
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
    if version < (3, 4) {
        skip("the style 'message' of the differential test: OpenSSL has it from 3.4 on");
    }
}

#[test]
fn what_one_key_encrypts_the_other_decrypts() {
    let hsm = Hsm::start();
    let program = hsm.compile("cases");
    let pems = KEYS[..3].iter().map(|(name, options)| {
        let pem = twin(&hsm, name, options);
        (*name, pem)
    });
    let keys: Vec<(&str, String)> = pems.collect();
    let orders = ["akv_provider,default", "default,akv_provider"];
    let cases = orders.map(|order| RefCell::new(Cases::start(&hsm, &program, &["crypt", order])));
    let strategy = (
        0..keys.len(),
        0..orders.len(),
        prop::sample::select(&["pkcs1", "oaep", "oaep"][..]),
        prop::sample::select(&["-", "SHA1", "SHA256", "SHA384", "SHA512"][..]),
        prop::sample::select(&["-", "-", "SHA1", "SHA256", "SHA384"][..]),
        prop::collection::vec(any::<u8>(), 0..=190),
        any::<bool>(),
    );
    let mut runner = TestRunner::new(Config {
        cases: if whole() { 400 } else { 100 },
        failure_persistence: None,
        ..Config::default()
    });
    let outcome = runner.run(
        &strategy,
        |(key, order, padding, hash, mgf1, message, ours_encrypts)| {
            let (name, pem) = &keys[key];
            let (ours, software) = (uri(name), pem.clone());
            let (hash, mgf1) = match padding {
                "oaep" => (hash, mgf1),
                _ => ("-", "-"),
            };
            let settings = format!("{padding} {hash} {mgf1}");
            let ask = |direction: &str, key: &str, input: &str| {
                let case = format!("{direction} {key} {settings} {input}");
                cases[order].borrow_mut().answer(&case)
            };
            let oaep = if hash == "-" { "SHA1" } else { hash };
            let equal = ["-", oaep].contains(&mgf1);
            let possible = padding == "pkcs1" || (equal && ["SHA1", "SHA256"].contains(&oaep));
            // What fits into 2048 bits with the longest hash here.
            let message = match oaep {
                "SHA384" | "SHA512" => &message[..message.len().min(126)],
                _ => &message[..],
            };
            let (by, with) = if ours_encrypts {
                (&ours, &software)
            } else {
                (&software, &ours)
            };
            let sealed = ask("encrypt", by, &hex(message));
            if possible {
                let sealed = sealed.strip_prefix('=').unwrap_or(&sealed);
                let opened = ask("decrypt", with, sealed);
                prop_assert_eq!(opened, output(message), "{} {}", name, settings);
            } else if ours_encrypts {
                prop_assert_eq!(sealed, "refused", "{} {}", name, settings);
            } else {
                let sealed = sealed.strip_prefix('=').unwrap_or(&sealed);
                let opened = ask("decrypt", with, sealed);
                prop_assert_eq!(opened, "refused", "{} {}", name, settings);
            }
            Ok(())
        },
    );
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
    let asked = hsm.requests();
    assert!(!asked.iter().any(|request| request.is("encrypt")));
    assert!(asked.iter().any(|request| request.is("decrypt")));
}

/// Where nothing of the HSM's is in the way, what is refused is what the default provider refuses.
#[test]
fn odd_settings_of_signatures_are_taken_or_refused_as_by_software_keys() {
    let hsm = Hsm::start();
    let pem = twin(&hsm, KEYS[0].0, KEYS[0].1);
    let key = uri(KEYS[0].0);
    let (nothing, digest) = (hsm.write("nothing", ""), hsm.write("digest", [7; 32]));
    // What PKCS#1 v1.5 makes of nothing.
    let empty = hsm.path("empty.sig");
    let line = format!("pkeyutl -sign -inkey {pem} -in {nothing} -out {empty}");
    hsm.openssl_line(Loading::Plain, &line).succeeds();
    // Nothing may be signed, and comes to the same.
    let by_hsm = hsm.path("empty-by-hsm.sig");
    let line = format!("pkeyutl -sign -inkey {key} -in {nothing} -out {by_hsm}");
    hsm.openssl_line(Loading::Config, &line).succeeds();
    let read = |path: &str| std::fs::read(path).expect("a signature");
    assert_eq!(read(&by_hsm), read(&empty));
    let signed = hsm.path("pss.sig");
    let pss = "-pkeyopt digest:sha256 -pkeyopt rsa_padding_mode:pss";
    let line = format!("pkeyutl -sign -inkey {pem} -in {digest} -out {signed} {pss}");
    hsm.openssl_line(Loading::Plain, &line).succeeds();
    let mut lines = vec![format!(
        "pkeyutl -verify -in {nothing} -sigfile {empty} -inkey"
    )];
    for salt in ["-1", "-2", "-3", "-4", "-5", "digest", "auto", "max"] {
        lines.push(format!(
            "pkeyutl -verify -in {digest} -sigfile {signed} {pss} -pkeyopt rsa_pss_saltlen:{salt} -inkey"
        ));
    }
    for line in lines {
        let software = hsm.openssl_line(Loading::Plain, &format!("{line} {pem}"));
        for loading in LOADINGS {
            let ours = hsm.openssl_line(loading, &format!("{line} {key}"));
            assert_eq!(
                ours.is_success(),
                software.is_success(),
                "{loading:?} {line}: {} {}",
                ours.text(),
                software.text()
            );
        }
    }
    // The hash is this provider's own, so a query for another's can't be met.
    let sign = format!("dgst -sha256 -sign {key} -sigopt properties:provider=nobody {digest}");
    hsm.openssl_line(Loading::Config, &sign)
        .fails_with(&["left out by the property query"]);
    let sign = format!("dgst -sha256 -sign {key} -sigopt properties:?provider=nobody {digest}");
    hsm.openssl_line(Loading::Config, &sign).succeeds();
}
