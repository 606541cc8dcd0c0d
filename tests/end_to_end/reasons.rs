//! The reasons of errors on OpenSSL's queue, which some programs show and nothing else: each is met
//! by what somebody can do, or it is said here why it isn't.

use std::collections::BTreeSet;
use std::fs;

use crate::forged_key_files::{forged, public};
use crate::support::{EC_P256, Hsm, Loading, RSA_2048, openssl_version, uri};

/// Reasons that no test here meets.
const UNMET: [(&str, &str); 6] = [
    (
        "no thread for requests",
        "the system has no thread or descriptor left",
    ),
    ("internal error", "a fault of the provider"),
    (
        "operation not offered with this software key",
        "it takes a third provider that has a part of the operations, as in `neighbours`",
    ),
    (
        "signature without a digest name not supported by the HSM",
        "a service that doesn't pad only, which the emulator does",
    ),
    (
        "strength of random bytes too high",
        "libcrypto asks for 256 bits at most",
    ),
    (
        "output failed",
        "libcrypto keeps what is written, and its file says that there is no room",
    ),
];

/// Checks that a refusal has its reason.
#[track_caller]
fn is_refused(hsm: &Hsm, line: &str, reason: &str) {
    let text = hsm.openssl_line(Loading::AkvFirst, line).fails_with(&[]);
    let named = format!(":{reason}:");
    assert!(
        text.contains(&named),
        "{line}: '{reason}' is expected\n{text}"
    );
}

#[test]
fn what_the_hsm_answers_has_its_reason() {
    let mut hsm = Hsm::start_with(&[
        "--fault",
        "internal-error,path=/keys/broken",
        "--fault",
        "malformed-json,path=/keys/noise",
        "--fault",
        "throttled,path=/keys/busy",
        "--fault",
        "silence,path=/keys/slow",
        "--fault",
        "wrong-value,operation=sign,path=/keys/wrong",
    ]);
    hsm.create("wrong", EC_P256);
    hsm.create("rsa", RSA_2048);
    let off = r#"{"kty":"EC-HSM","crv":"P-256","attributes":{"enabled":false}}"#;
    hsm.create("off", off);
    let input = hsm.write("input", [7; 32]);
    let sign = |key| format!("dgst -sha256 -sign {} -out /dev/null {input}", uri(key));
    let load = |key| format!("pkey -noout -in {}", uri(key));
    is_refused(&hsm, &sign("off"), "forbidden by the HSM");
    is_refused(&hsm, &sign("wrong"), "wrong signature from the HSM");
    let other = public(&hsm.public_key(Loading::AkvFirst, &uri("rsa")));
    hsm.create("rsa-2", RSA_2048);
    let file = forged(&hsm, "rsa-2", other);
    is_refused(
        &hsm,
        &format!("dgst -sha256 -sign {file} -out /dev/null {input}"),
        "public key of the key file not that of the HSM",
    );
    hsm.set("AKV_MAX_RETRIES", "0");
    is_refused(&hsm, &load("broken"), "request refused by the HSM");
    is_refused(&hsm, &load("noise"), "answer of the HSM not usable");
    is_refused(&hsm, &load("busy"), "too many requests to the HSM");
    hsm.set("AKV_OPERATION_TIMEOUT", "2");
    is_refused(&hsm, &load("slow"), "no answer from the HSM in time");
}

#[test]
fn settings_and_credentials_that_fail_have_their_reason() {
    let mut hsm = Hsm::with_keys(&[("ec", EC_P256)]);
    let load = format!("pkey -noout -in {}", uri("ec"));
    hsm.set("AKV_MAX_RETRIES", "perhaps");
    is_refused(&hsm, &load, "invalid settings");
    hsm.unset("AKV_MAX_RETRIES");
    is_refused(
        &hsm,
        &format!("{load} -propquery fips=yes"),
        "left out by the property query",
    );
    hsm.log_in();
    hsm.set("AZURE_CLIENT_SECRET", "another");
    is_refused(&hsm, &load, "credential gave no access token");
}

#[test]
fn what_a_key_is_not_for_has_its_reason() {
    let hsm = Hsm::with_keys(&[("rsa", RSA_2048), ("ec", EC_P256)]);
    let short = hsm.write("short", [7; 10]);
    let make = "genpkey -propquery provider=akv_provider -pkeyopt uri:managedhsm:MyHSM:new";
    for (line, reason) in [
        (
            format!("{make} -algorithm EC -pkeyopt group:P-224"),
            "curve not supported by the HSM",
        ),
        (
            format!("{make} -algorithm RSA -pkeyopt primes:3"),
            "invalid parameter",
        ),
        (
            format!("pkey -in {} -aes256 -passout pass:x", uri("ec")),
            "key file not encrypted",
        ),
        (
            format!("ec -in {} -conv_form compressed", uri("ec")),
            "key format fixed",
        ),
        (
            format!("pkeyutl -decrypt -inkey {} -in {short}", uri("rsa")),
            "invalid input length",
        ),
    ] {
        is_refused(&hsm, &line, reason);
    }
}

#[test]
fn keys_of_ml_dsa_are_refused_with_their_reason() {
    let mut hsm = Hsm::start();
    let preview = "2026-05-01-preview";
    hsm.create("ml", r#"{"kty":"AKP-HSM","alg":"ML-DSA-44"}"#);
    let load = format!("pkey -noout -in {}", uri("ml"));
    is_refused(&hsm, &load, "not in this version of the service's API");
    hsm.set("AKV_API_VERSION", preview);
    if openssl_version() < (3, 5) {
        return is_refused(&hsm, &load, "not in this version of OpenSSL");
    }
    let message = hsm.write("message", "a message");
    let sign = format!(
        "pkeyutl -sign -inkey {} -rawin -in {message} -out /dev/null -pkeyopt",
        uri("ml")
    );
    let long = format!("{sign} hexcontext-string:{}", "07".repeat(256));
    is_refused(&hsm, &long, "context string too long");
    is_refused(
        &hsm,
        &format!("{sign} deterministic:1"),
        "deterministic signature not supported by the HSM",
    );
}

#[test]
fn what_only_the_c_interface_meets_has_its_reason() {
    let aes = r#"{"kty":"oct-HSM","key_size":256}"#;
    let hsm = Hsm::with_keys(&[("rsa", RSA_2048), ("ec", EC_P256), ("aes", aes)]);
    let program = hsm.compile("reasons");
    let told = hsm
        .run(&program, &[&uri("rsa"), &uri("ec"), &uri("aes")])
        .succeeds();
    let everywhere = [
        ("padding of TLS", "RSA key exchange refused"),
        ("small buffer", "output buffer too small"),
        ("public part", "no private key"),
        ("another public part", "invalid key"),
        (
            "nonce that is no random one",
            "deterministic signature not supported by the HSM",
        ),
        ("no other provider", "no provider for software keys"),
        ("search", "search not supported by the HSM"),
    ];
    let of_aes = [
        (
            "own initialisation vector",
            "own initial value not supported by the HSM",
        ),
        (
            "own initial value",
            "own initial value not supported by the HSM",
        ),
        ("pieces", "message in pieces not supported by the HSM"),
        (
            "length of the initialisation vector",
            "cipher length not supported by the HSM",
        ),
        ("length of the tag", "tag length not supported by the HSM"),
        ("no tag", "tag missing before the ciphertext"),
        ("additional data", "operation not initialised"),
    ];
    let count = match openssl_version() < (3, 5) {
        true => 0,
        false => of_aes.len(),
    };
    for (what, reason) in everywhere.iter().chain(&of_aes[..count]) {
        let line = told
            .lines()
            .find(|line| line.starts_with(&format!("{what}:")));
        let line = line.unwrap_or_else(|| panic!("'{what}' is not told\n{told}"));
        assert!(line.contains(&format!("[{reason}]")), "{line}");
    }
}

/// No reason is forgotten when one is added.
#[test]
fn each_reason_is_met_by_a_test_or_is_known_not_to_be() {
    let read = |path: &str| fs::read_to_string(path).expect("a source");
    let source = read("src/error.rs");
    let (_, reasons) = source.split_once("\nreasons! {").expect("the reasons");
    let (reasons, _) = reasons.split_once("\n}\n").expect("their end");
    let known: BTreeSet<&str> = reasons.split('"').skip(1).step_by(2).collect();
    assert!(known.len() > 50, "{known:?}");
    let tests =
        ["reasons", "errors", "store"].map(|name| read(&format!("tests/end_to_end/{name}.rs")));
    let (_, here) = tests[0]
        .split_once("/// Checks that a refusal")
        .expect("the tests");
    for reason in known {
        let unmet = UNMET.iter().any(|(one, _)| *one == reason);
        let is_met = [here, &tests[1], &tests[2]].iter().any(|test| {
            test.contains(&format!("\"{reason}\"")) || test.contains(&format!(":{reason}:"))
        });
        assert!(is_met != unmet, "'{reason}' is met: {is_met}");
    }
}
