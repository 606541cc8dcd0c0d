//! Keys made in the HSM by `openssl genpkey`.

use crate::support::{Hsm, LOADINGS, Loading, openssl_version, uri};

#[test]
fn genpkey_makes_keys_of_every_type_in_the_hsm() {
    let hsm = Hsm::start();
    let cases: [(&str, &[&str], &str, usize); 6] = [
        ("RSA", &["rsa_keygen_bits:3072"], "RSA-HSM", 512),
        ("RSA", &[], "RSA-HSM", 342),
        ("EC", &["ec_paramgen_curve:P-384"], "P-384", 64),
        ("EC", &["ec_paramgen_curve:secp256k1"], "P-256K", 43),
        ("AES", &["bits:128"], "oct-HSM", 0),
        ("AES", &[], "oct-HSM", 0),
    ];
    for (number, loading) in LOADINGS.into_iter().enumerate() {
        for (case, (algorithm, options, kind, len)) in cases.into_iter().enumerate() {
            let name = format!("new-{number}-{case}");
            let target = format!("uri:{}", uri(&name));
            let mut arguments = vec!["genpkey", "-algorithm", algorithm];
            if loading != Loading::AkvFirst || algorithm == "AES" {
                arguments.extend(["-propquery", "provider=akv_provider"]);
            }
            let file = hsm.path("made.pem");
            arguments.extend(["-out", &file, "-pkeyopt", &target]);
            for option in options {
                arguments.extend(["-pkeyopt", option]);
            }
            if loading == Loading::DefaultFirst && algorithm != "AES" {
                // Only a query leads to a provider that isn't first.
                assert!(arguments.contains(&"-propquery"));
            }
            hsm.openssl(loading, &arguments).succeeds();
            let key = &hsm.key(&name)["key"];
            assert!(
                key["kty"] == kind || key["crv"] == kind,
                "{loading:?}: {key}"
            );
            let number = key["n"]
                .as_str()
                .or_else(|| key["x"].as_str())
                .unwrap_or_default();
            assert_eq!(number.len(), len, "{loading:?}: {key}");
            let handle = std::fs::read_to_string(&file).expect("a key file was written");
            assert!(handle.contains("AKV PROVIDER URI"), "{handle}");
        }
    }
}

#[test]
fn options_reach_the_hsm() {
    let hsm = Hsm::start();
    hsm.openssl(
        Loading::AkvFirst,
        &[
            "genpkey",
            "-algorithm",
            "RSA",
            "-pkeyopt",
            "vault:MyHSM",
            "-pkeyopt",
            "name:tagged",
            "-pkeyopt",
            "key-ops:sign,verify",
            "-pkeyopt",
            "tags:env=test, team=tls",
        ],
    )
    .succeeds();
    let bundle = hsm.key("tagged");
    assert_eq!(
        bundle["key"]["key_ops"],
        serde_json::json!(["sign", "verify"])
    );
    assert_eq!(
        bundle["tags"],
        serde_json::json!({"env": "test", "team": "tls"})
    );
}

#[test]
fn bad_options_are_refused_and_make_no_key() {
    let hsm = Hsm::start();
    let target = format!("uri:{}", uri("new"));
    let with_version = format!("{target}?version={}", "0".repeat(32));
    let before = hsm.requests().len();
    for (algorithm, options, words) in [
        (
            "RSA",
            &[target.as_str(), "rsa_keygen_bits:1024"][..],
            &["1024", "2048"][..],
        ),
        (
            "EC",
            &[&target, "ec_paramgen_curve:brainpoolP256r1"],
            &["brainpoolP256r1", "P-256"],
        ),
        ("AES", &[&target, "bits:100"], &["100", "256"]),
        ("AES", &[], &["uri"]),
        ("EC", &["ec_paramgen_curve:P-256", "tags:a=b"], &["uri"]),
        ("RSA", &["name:new"], &["vault"]),
        ("RSA", &[&with_version], &["version"]),
        ("RSA", &["uri:managedhsm:My_HSM:new"], &["My_HSM"]),
        ("RSA", &[&target, "key-ops:sing"], &["sing", "sign"]),
        (
            "RSA",
            &[&target, "tags:nothing"],
            &["nothing", "name=value"],
        ),
    ] {
        let query = ["-propquery", "provider=akv_provider"];
        let mut arguments = vec!["genpkey", "-algorithm", algorithm];
        if algorithm == "AES" {
            arguments.extend(query);
        }
        for option in options {
            arguments.extend(["-pkeyopt", option]);
        }
        hsm.openssl(Loading::AkvFirst, &arguments).fails_with(words);
    }
    assert_eq!(hsm.requests().len(), before, "a request was made");
}

#[test]
fn parameters_alone_make_no_key_in_the_hsm() {
    let hsm = Hsm::start();
    let target = format!("uri:{}", uri("new"));
    let before = hsm.requests().len();
    for (algorithm, options, words) in [
        (
            "EC",
            &["ec_paramgen_curve:P-256", target.as_str()][..],
            &["uri", "no parameters alone"][..],
        ),
        ("RSA", &[&target], &[]),
        ("AES", &[&target], &["no other provider"]),
    ] {
        let mut arguments = vec!["genpkey", "-genparam", "-algorithm", algorithm];
        if algorithm == "AES" {
            arguments.extend(["-propquery", "provider=akv_provider"]);
        }
        for option in options {
            arguments.extend(["-pkeyopt", option]);
        }
        hsm.openssl(Loading::AkvFirst, &arguments).fails_with(words);
    }
    assert_eq!(hsm.requests().len(), before, "a request was made");
}

#[test]
fn without_a_name_in_the_hsm_a_software_key_is_made() {
    let hsm = Hsm::start();
    let before = hsm.requests().len();
    for loading in LOADINGS {
        let pem = hsm
            .openssl(
                loading,
                &[
                    "genpkey",
                    "-algorithm",
                    "EC",
                    "-pkeyopt",
                    "ec_paramgen_curve:P-256",
                ],
            )
            .succeeds();
        assert!(pem.contains("BEGIN PRIVATE KEY"), "{pem}");
    }
    assert_eq!(hsm.requests().len(), before);
}

#[test]
fn options_count_in_whatever_order_they_come() {
    let hsm = Hsm::start();
    let target = format!("uri:{}", uri("new"));
    let generate = |options: &[&str]| {
        let mut arguments = vec!["genpkey", "-algorithm", "RSA", "-out", "/dev/null"];
        for option in options {
            arguments.extend(["-pkeyopt", option]);
        }
        hsm.openssl(Loading::AkvFirst, &arguments)
    };
    generate(&["rsa_keygen_pubexp:3", &target]).succeeds();
    assert_eq!(hsm.key("new")["key"]["e"], "Aw");
    for options in [
        ["rsa_keygen_primes:3", &target],
        [&target, "rsa_keygen_primes:3"],
    ] {
        generate(&options).fails_with(&["two primes"]);
    }
    for options in [
        ["rsa_keygen_pubexp:36893488147419103233", &target],
        [&target, "rsa_keygen_pubexp:36893488147419103233"],
    ] {
        generate(&options).fails_with(&["exponent"]);
    }
    if openssl_version() >= (3, 2) {
        let material = format!("dhkem-ikm:{}", "07".repeat(32));
        let ec = ["genpkey", "-algorithm", "EC", "-pkeyopt", "group:P-256"];
        let options = ["-pkeyopt", &material, "-pkeyopt", &target];
        let arguments = [&ec[..], &options].concat();
        let refused = hsm.openssl(Loading::AkvFirst, &arguments);
        refused.fails_with(&["dhkem-ikm", "random numbers of its own"]);
    }
}
