//! Wrong inputs: each ends with an exit status, a message of its own, and without a hang.

use std::collections::HashSet;
use std::fs;
use std::net::TcpListener;

use crate::support::{EC_P256, Hsm, LOADINGS, Loading, RSA_2048, provider_messages, sample, uri};

/// Malformed URIs, each with words that its message must hold.
const MALFORMED: [(&str, &[&str]); 13] = [
    ("managedhsm:", &["managedhsm"]),
    ("managedhsm:MyHSM:", &["key"]),
    ("managedhsm::key", &["managedhsm::key", "name"]),
    ("managedhsm:My_HSM:key", &["My_HSM"]),
    ("managedhsm:MyHSM:ke_y", &["ke_y"]),
    ("managedhsm:MyHSM:key?version=123", &["123"]),
    ("managedhsm:MyHSM:key?colour=red", &["colour"]),
    ("managedhsm:MyHSM:%zz", &["%zz"]),
    ("akv:name=key", &["vault"]),
    ("akv:vault=My_HSM", &["My_HSM"]),
    ("akv:vault=MyHSM,name=key,colour=red", &["colour"]),
    (
        "https://myhsm.example.com/keys/key",
        &["myhsm.example.com", "belongs to no Managed HSM"],
    ),
    (
        "https://MyHSM.managedhsm.azure.cn/keys/key",
        &["managedhsm.azure.cn", "cloud = china"],
    ),
];

#[test]
fn every_malformed_uri_has_its_own_message() {
    let hsm = Hsm::start();
    let before = hsm.requests().len();
    for loading in LOADINGS {
        let mut seen = HashSet::new();
        for (uri, words) in MALFORMED {
            let text = hsm
                .openssl(loading, &["pkey", "-in", uri, "-noout"])
                .fails_with(&[words, &["akv_provider"][..]].concat());
            let messages = provider_messages(&text);
            assert_eq!(
                messages.len(),
                1,
                "one message is expected for {uri}:\n{text}"
            );
            assert!(
                seen.insert(messages[0].clone()),
                "{uri} has the message of another: {text}"
            );
        }
    }
    assert_eq!(
        hsm.requests().len(),
        before,
        "a malformed URI led to a request"
    );
}

#[test]
fn names_cannot_lead_a_request_to_another_host_or_path() {
    let mut hsm = Hsm::start();
    hsm.unset("AZURE_MANAGEDHSM_URL");
    // All requests would come by here.
    let proxy = TcpListener::bind("127.0.0.1:0").expect("a port");
    proxy.set_nonblocking(true).expect("a listener");
    let address = proxy.local_addr().expect("an address");
    hsm.set("HTTPS_PROXY", &format!("http://{address}"));
    hsm.set("AKV_OPERATION_TIMEOUT", "1");
    let vault_rule = "have 3 to 24 characters";
    let key_rule = "only letters, digits and hyphens";
    for (uri, name, rule) in [
        (
            "managedhsm:evil.example.com/:key",
            "evil.example.com/",
            vault_rule,
        ),
        (
            "managedhsm:evil.example.com%2f:key",
            "evil.example.com/",
            vault_rule,
        ),
        ("managedhsm:user@evil:key", "user@evil", vault_rule),
        ("managedhsm:evil%3a443:key", "evil:443", vault_rule),
        ("managedhsm:MyHSM:..%2fsecrets", "../secrets", key_rule),
        (
            "managedhsm:MyHSM:key%2f..%2fother",
            "key/../other",
            key_rule,
        ),
        ("managedhsm:MyHSM:key%00", "key\\0", key_rule),
        (
            "akv:vault=evil.example.com,name=key",
            "evil.example.com",
            vault_rule,
        ),
        ("managedhsm:ab:key", "ab", vault_rule),
        ("managedhsm:1MyHSM:key", "1MyHSM", vault_rule),
        (
            "managedhsm:MyHSMwithaverylongnamethatgoeson:key",
            "MyHSMwithaverylongnamethatgoeson",
            vault_rule,
        ),
    ] {
        hsm.openssl(Loading::AkvFirst, &["pkey", "-in", uri, "-noout"])
            .fails_with(&["akv_provider", &format!("'{name}' is not valid"), rule]);
        assert!(proxy.accept().is_err(), "{uri} led to a connection");
    }
    hsm.openssl(Loading::AkvFirst, &["pkey", "-in", &uri("key"), "-noout"])
        .fails_with(&["within 1 s"]);
    assert!(proxy.accept().is_ok(), "a good name leads to none either");
}

#[test]
fn where_no_ca_certificate_is_installed_the_error_says_what_to_install() {
    let mut hsm = Hsm::with_keys(&[("ec", EC_P256)]);
    hsm.unset("AKV_CA_FILE");
    // In the place of the system's.
    hsm.set("SSL_CERT_FILE", &hsm.write("no-certificate.pem", ""));
    let folder = hsm.path("no-certificates");
    fs::create_dir(&folder).expect("a folder");
    hsm.set("SSL_CERT_DIR", &folder);
    let words = [
        "no CA certificate can be read",
        "install the package ca-certificates",
        "AKV_CA_FILE ('ca-file' in openssl.cnf)",
    ];
    for loading in LOADINGS {
        let text = hsm
            .openssl(loading, &["pkey", "-in", &uri("ec"), "-noout"])
            .fails_with(&words);
        assert!(text.contains(":TLS can't be set up:"), "{text}");
    }
    hsm.akv(&["keys", "show", &uri("ec")]).fails_with(&words);
}

/// In `openssl.cnf` and in the environment.
#[test]
fn the_provider_hands_out_a_wrong_signature_only_where_it_is_told_not_to_look() {
    let mut hsm = Hsm::start_with(&["--fault", "wrong-value,operation=sign"]);
    let standard = fs::read_to_string(hsm.file("akv.cnf")).expect("a configuration file");
    let message = hsm.write("message", "to be signed");
    for (key, body) in [("rsa", RSA_2048), ("ec", EC_P256)] {
        hsm.create(key, body);
        let public = hsm.public_key(Loading::AkvFirst, &uri(key));
        for (in_file, in_environment, looks) in [
            (None, None, true),
            (Some("yes"), None, true),
            (Some("no"), Some("yes"), true),
            (Some("no"), None, false),
            (None, Some("no"), false),
        ] {
            let line = in_file.map_or_else(String::new, |value| {
                format!("verify-signatures = {value}\n")
            });
            let config = hsm.write("verify.cnf", format!("{standard}{line}"));
            hsm.set("OPENSSL_CONF", &config);
            match in_environment {
                Some(value) => hsm.set("AKV_VERIFY_SIGNATURES", value),
                None => hsm.unset("AKV_VERIFY_SIGNATURES"),
            }
            let out = hsm.path("signature");
            let sign = format!("dgst -sha256 -sign {} -out {out} {message}", uri(key));
            let signed = hsm.openssl_line(Loading::Plain, &sign);
            let handed_out = fs::read(&out).unwrap_or_default();
            if looks {
                signed.fails_with(&["akv_provider", "does not verify"]);
                assert_eq!(handed_out.len(), 0, "{key}");
                continue;
            }
            signed.succeeds();
            assert!(handed_out.len() >= 64, "{key}: {}", handed_out.len());
            let verify = format!("dgst -sha256 -verify {public} -signature {out} {message}");
            hsm.openssl_line(Loading::Plain, &verify)
                .fails_with(&["Verification failure"]);
            fs::remove_file(out).expect("it is there");
        }
    }
}

#[test]
fn loading_fails_with_the_cause_and_what_to_do() {
    /// What is wrong, how it is made so, the URI, and what the error must say.
    type Case = (
        &'static str,
        &'static dyn Fn(&mut Hsm),
        &'static str,
        &'static [&'static str],
    );
    let cases: [Case; 10] = [
        (
            "unknown key",
            &|_| {},
            "managedhsm:MyHSM:nosuchkey",
            &["404", "KeyNotFound", "nosuchkey"],
        ),
        (
            "unknown version",
            &|_| {},
            "managedhsm:MyHSM:ec?version=0123456789abcdef0123456789abcdef",
            &["404", "KeyNotFound", "0123456789abcdef0123456789abcdef"],
        ),
        (
            "no token",
            &|hsm| hsm.unset("AZURE_CLI_ACCESS_TOKEN"),
            "managedhsm:MyHSM:ec",
            &["AZURE_CLI_ACCESS_TOKEN"],
        ),
        (
            "empty token",
            &|hsm| hsm.set("AZURE_CLI_ACCESS_TOKEN", ""),
            "managedhsm:MyHSM:ec",
            &["AZURE_CLI_ACCESS_TOKEN"],
        ),
        (
            "expired token",
            &|hsm| hsm.use_token_expiring_in(-3600),
            "managedhsm:MyHSM:ec",
            &["token", "expired"],
        ),
        (
            "nonsense token",
            &|hsm| hsm.set("AZURE_CLI_ACCESS_TOKEN", "nonsense"),
            "managedhsm:MyHSM:ec",
            &["401", "token"],
        ),
        (
            "nobody there",
            &Hsm::stop,
            "managedhsm:MyHSM:ec",
            &["connect", "localhost"],
        ),
        (
            "certificate not trusted",
            &|hsm| hsm.unset("AKV_CA_FILE"),
            "managedhsm:MyHSM:ec",
            &["certificate", "AKV_CA_FILE"],
        ),
        (
            "CA file missing",
            &|hsm| hsm.set("AKV_CA_FILE", "/nonexistent/ca.pem"),
            "managedhsm:MyHSM:ec",
            &["AKV_CA_FILE", "/nonexistent/ca.pem"],
        ),
        (
            "plain http",
            &|hsm| hsm.set("AZURE_MANAGEDHSM_URL", "http://localhost:1"),
            "managedhsm:MyHSM:ec",
            &["AZURE_MANAGEDHSM_URL", "https"],
        ),
    ];
    let mut failures = Vec::new();
    for (what, prepare, uri, words) in cases {
        let mut hsm = Hsm::with_keys(&[("ec", EC_P256)]);
        let token = hsm.variable("AZURE_CLI_ACCESS_TOKEN").to_owned();
        prepare(&mut hsm);
        for loading in sample(LOADINGS.to_vec(), 2) {
            let outcome = hsm.openssl(loading, &["pkey", "-in", uri, "-noout"]);
            let text = outcome.text();
            let lower = text.to_lowercase();
            let missing: Vec<&&str> = words
                .iter()
                .filter(|word| !lower.contains(&word.to_lowercase()))
                .collect();
            if outcome.is_success()
                || !missing.is_empty()
                || provider_messages(&text).len() != 1
                || text.contains(&token)
            {
                failures.push(format!(
                    "{what}, {loading:?}: lacks {missing:?}, or not exactly one message:\n{text}"
                ));
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn errors_of_the_service_carry_its_request_id() {
    let hsm = Hsm::start();
    let text = hsm
        .openssl(
            Loading::AkvFirst,
            &["pkey", "-in", &uri("nosuchkey"), "-noout"],
        )
        .fails_with(&["KeyNotFound"]);
    let log = fs::read_to_string(hsm.file("requests.log")).expect("the log can be read");
    let id = log
        .lines()
        .last()
        .and_then(|line| line.split("request_id=").nth(1));
    let id = id.expect("the emulator logs request ids").trim();
    assert!(text.contains(id), "no request id {id} in {text}");
}

#[test]
fn signing_fails_with_the_cause_and_what_to_do() {
    let verify_only = r#"{"kty":"EC-HSM","crv":"P-256","key_ops":["verify"]}"#;
    let hsm = Hsm::with_keys(&[("verify-only", verify_only), ("disabled", EC_P256)]);
    hsm.update("disabled", r#"{"attributes":{"enabled":false}}"#);
    let message = hsm.write("message", "a message to sign\n");
    let signature = hsm.path("signature");
    for loading in LOADINGS {
        for (key, words) in [
            ("verify-only", &["sign", "key_ops", "verify-only"][..]),
            ("disabled", &["disabled", "403"]),
        ] {
            let text = hsm
                .openssl(
                    loading,
                    &[
                        "dgst",
                        "-sha256",
                        "-sign",
                        &uri(key),
                        "-out",
                        &signature,
                        &message,
                    ],
                )
                .fails_with(words);
            assert_eq!(
                provider_messages(&text).len(),
                1,
                "{loading:?} {key}: {text}"
            );
            let written = fs::metadata(&signature).map_or(0, |file| file.len());
            assert_eq!(written, 0, "{loading:?} {key}: a signature was written");
        }
    }
}

#[test]
fn a_symmetric_key_signs_nothing() {
    let hsm = Hsm::with_keys(&[("aes", r#"{"kty":"oct-HSM","key_size":256}"#)]);
    let message = hsm.write("message", "a message to sign\n");
    let before = hsm.requests().len();
    for loading in LOADINGS {
        let outcome = hsm.openssl(
            loading,
            &["dgst", "-sha256", "-sign", &uri("aes"), &message],
        );
        outcome.fails_with(&[":error:"]);
    }
    let requests = hsm.requests();
    assert!(requests[before..].iter().all(|request| !request.is_sign()));
}

/// Refusals, each with the reason that programs show which show nothing else: the command, its key,
/// and the reason.
#[test]
fn each_refusal_has_a_reason_of_its_own() {
    let verify_only = r#"{"kty":"RSA-HSM","key_size":2048,"key_ops":["verify"]}"#;
    let mut hsm = Hsm::with_keys(&[("rsa", RSA_2048), ("ec", EC_P256), ("v", verify_only)]);
    let input = hsm.write("input", [7; 32]);
    let block = hsm.write("block", [7; 256]);
    let sign = "dgst -sign managedhsm:MyHSM:rsa -out /dev/null".to_owned();
    let pss = format!("{sign} -sigopt rsa_padding_mode:pss");
    let pkeyutl = format!("pkeyutl -sign -inkey managedhsm:MyHSM:rsa -in {input}");
    let decrypt = format!("pkeyutl -decrypt -inkey managedhsm:MyHSM:rsa -in {block} -pkeyopt");
    let verify_recover = format!("pkeyutl -verifyrecover -inkey managedhsm:MyHSM:rsa -in {block}");
    let make = "genpkey -propquery provider=akv_provider -pkeyopt uri:managedhsm:MyHSM:new";
    let dgst = |line: &str, options: &str| format!("{line} {options} {input}");
    let cases = [
        (
            "pkey -in managedhsm:MyHSM:a_b".to_owned(),
            "invalid key URI",
        ),
        ("pkey -in managedhsm:MyHSM".to_owned(), "key name missing"),
        (
            "pkey -in managedhsm:MyHSM:none".to_owned(),
            "not found in the HSM",
        ),
        (
            dgst(&sign, "-sha1"),
            "RSA signature with this digest not supported by the HSM",
        ),
        (
            dgst(
                &pss.replace("pss", "pss -sigopt rsa_pss_saltlen:20"),
                "-sha256",
            ),
            "PSS salt length not supported by the HSM",
        ),
        (
            dgst(
                &pss.replace("pss", "pss -sigopt rsa_mgf1_md:sha512"),
                "-sha256",
            ),
            "other digest for MGF1 not supported by the HSM",
        ),
        (
            dgst(&pss.replace("pss", "none"), "-sha256"),
            "signature padding not supported by the HSM",
        ),
        (
            format!("{pkeyutl} -pkeyopt rsa_padding_mode:pss"),
            "name of the digest missing",
        ),
        (
            format!("{pkeyutl} -pkeyopt digest:sha512"),
            "invalid digest length",
        ),
        (format!("{pkeyutl} -pkeyopt digest:md5"), "unknown digest"),
        (
            format!("{decrypt} rsa_padding_mode:none"),
            "encryption padding not supported by the HSM",
        ),
        (
            format!("{decrypt} rsa_padding_mode:oaep -pkeyopt rsa_oaep_md:sha512"),
            "OAEP digest not supported by the HSM",
        ),
        (
            format!("{decrypt} rsa_padding_mode:oaep -pkeyopt rsa_oaep_label:00"),
            "OAEP label not supported by the HSM",
        ),
        (verify_recover, "nothing to recover from the signature"),
        (
            format!("{make} -algorithm RSA -pkeyopt rsa_keygen_bits:1024"),
            "key size not supported by the HSM",
        ),
        (
            "pkey -in managedhsm:MyHSM:ec -outform DER -out /dev/null -traditional".to_owned(),
            "private key stays in the HSM",
        ),
        (
            dgst(&sign.replace(":rsa", ":v"), "-sha256"),
            "operation not permitted on this key",
        ),
    ];
    let mut seen = HashSet::new();
    for (line, reason) in &cases {
        assert!(seen.insert(reason), "{reason} stands for two refusals");
        let text = hsm.openssl_line(Loading::AkvFirst, line).fails_with(&[]);
        let named = format!(":{reason}:");
        assert!(
            text.contains(&named),
            "{line}: '{reason}' is expected\n{text}"
        );
        // What goes wrong here isn't the HSM's doing.
        let is_local = !reason.contains("HSM");
        assert!(
            !is_local || !text.contains("not supported by Managed HSM"),
            "{text}"
        );
    }
    // Of the hashes that there are, those that fit.
    let text = hsm
        .openssl_line(Loading::AkvFirst, &format!("{pkeyutl} -pkeyopt digest:md5"))
        .fails_with(&["use one of SHA256, SHA384, SHA512"]);
    assert!(!text.contains("SHA1"), "{text}");
    let load = ["pkey", "-in", "managedhsm:MyHSM:rsa", "-noout"];
    hsm.set("AZURE_CLI_ACCESS_TOKEN", "nonsense");
    hsm.openssl(Loading::AkvFirst, &load)
        .fails_with(&[":access token not accepted by the HSM:"]);
    hsm.use_token_expiring_in(-3600);
    hsm.openssl(Loading::AkvFirst, &load)
        .fails_with(&[":access token expired:"]);
    hsm.unset("AZURE_CLI_ACCESS_TOKEN");
    hsm.openssl(Loading::AkvFirst, &load)
        .fails_with(&[":no credential for the HSM:"]);
    hsm.use_token_expiring_in(3600);
    hsm.stop();
    hsm.openssl(Loading::AkvFirst, &load)
        .fails_with(&[":HSM not reachable:"]);
}
