//! `akv keys check` and `akv explain`, and the operations that `akv bench` measures.

use serde_json::Value;

use super::{AES_256, RSA_2048, json as answer};
use crate::support::{EC_P256, Hsm};

/// What `akv keys check` finds: whether all is well, and its steps.
fn checked(hsm: &Hsm, line: &str) -> (bool, Value) {
    let outcome = hsm.akv_line(&format!("keys check {line} --json"));
    let text = String::from_utf8_lossy(outcome.bytes()).into_owned();
    let report: Value =
        serde_json::from_str(&text).unwrap_or_else(|_| panic!("{}", outcome.text()));
    assert_eq!(report["failed"] == 0, outcome.is_success(), "{text}");
    (outcome.is_success(), report["steps"].clone())
}

fn step<'a>(steps: &'a Value, name: &str) -> &'a Value {
    let all = steps.as_array().expect("steps");
    let found = all.iter().find(|step| step["step"] == name);
    found.unwrap_or_else(|| panic!("no step {name}: {steps}"))
}

#[test]
fn a_key_that_is_fit_is_shown_to_be_so_by_using_it() {
    let hsm = Hsm::with_keys(&[("ec", EC_P256), ("rsa", RSA_2048), ("aes", AES_256)]);
    let (is_fit, steps) = checked(&hsm, "managedhsm:MyHSM:ec --curve P-256 --samples 3");
    assert!(is_fit, "{steps}");
    for name in [
        "enabled",
        "not-before",
        "expires",
        "type",
        "sign",
        "latency",
    ] {
        assert_eq!(step(&steps, name)["status"], "ok", "{name}");
    }
    let made = hsm
        .requests()
        .iter()
        .filter(|request| request.is_sign())
        .count();
    assert_eq!(made, 4);
    let (is_fit, steps) = checked(
        &hsm,
        "managedhsm:MyHSM:rsa --for sign,decrypt,unwrap,wrap,encrypt --type rsa --size 2048 --samples 0",
    );
    assert!(is_fit, "{steps}");
    assert_eq!(step(&steps, "latency")["status"], "skipped");
    let (is_fit, steps) = checked(
        &hsm,
        "managedhsm:MyHSM:aes --for wrap,unwrap,encrypt,decrypt --type oct --size 256 --samples 1",
    );
    assert!(is_fit, "{steps}");
    let size = step(&steps, "type")["detail"].to_string();
    assert!(size.contains("256 bits"), "{size}");
    for operation in ["decrypt", "unwrapkey", "encrypt", "wrapkey"] {
        assert!(
            hsm.requests().iter().any(|request| request.is(operation)),
            "{operation}"
        );
    }
}

#[test]
fn each_point_in_which_a_key_is_unfit_has_its_remedy_and_the_remedy_helps() {
    let hsm = Hsm::with_keys(&[("k", RSA_2048)]);
    let key = "managedhsm:MyHSM:k";
    let run = |line: &str| hsm.akv_line(line).succeeds();
    let fails = |options: &str, name: &str, words: &[&str]| {
        let (is_fit, steps) = checked(&hsm, &format!("{key} {options} --samples 0"));
        let step = step(&steps, name);
        assert!(!is_fit && step["status"] == "failed", "{name}: {steps}");
        let told = format!("{} {}", step["detail"], step["remedy"]);
        for word in words {
            assert!(told.contains(word), "{name}: {told}");
        }
        step["remedy"].as_str().expect("a remedy").to_owned()
    };
    // What a remedy says to type, typed.
    let follow = |remedy: &str| {
        let (_, line) = remedy.split_once("akv ").expect("a command");
        run(line);
    };
    run("keys set managedhsm:MyHSM:k --disabled");
    let remedy = fails("", "enabled", &["is disabled"]);
    follow(&remedy);
    run("keys set managedhsm:MyHSM:k --operations verify");
    let remedy = fails("", "sign", &["key_ops", "verify,sign"]);
    follow(&remedy);
    run("keys set managedhsm:MyHSM:k --not-before 2h");
    let remedy = fails("", "not-before", &["--not-before"]);
    fails("", "sign", &["403"]);
    follow(&remedy);
    run("keys set managedhsm:MyHSM:k --expires 10d");
    let (is_fit, steps) = checked(&hsm, key);
    assert!(
        is_fit && step(&steps, "expires")["status"] == "warning",
        "{steps}"
    );
    let remedy = fails("--valid-for 90d", "expires", &["9 days from now"]);
    let (_, line) = remedy.rsplit_once("akv ").expect("a command");
    run(line);
    let (is_fit, steps) = checked(&hsm, &format!("{key} --valid-for 90d"));
    assert!(is_fit, "{steps}");
    fails(
        "--type ec --curve P-384",
        "type",
        &["RSA, 2048 bits", "--type ec --curve P-384"],
    );
    fails("--size 3072", "type", &["akv keys create", "--size 3072"]);
    fails(
        "--type rsa --curve P-256",
        "type",
        &["RSA", "--curve P-256"],
    );
    fails("--for decrypt", "decrypt", &["key_ops", "decrypt"]);
    let (is_fit, steps) = checked(&hsm, "managedhsm:MyHSM:none");
    assert!(
        !is_fit
            && step(&steps, "read-key")["remedy"]
                .to_string()
                .contains("akv keys list")
    );
    hsm.akv_line("keys check managedhsm:MyHSM:k --for fly")
        .fails_with(&["fly", "unwrap"]);
}

#[test]
fn what_is_measured_has_its_algorithm_and_its_size() {
    let hsm = Hsm::with_keys(&[("rsa", RSA_2048), ("aes", AES_256), ("ec", EC_P256)]);
    let mut counted = 0;
    for (line, name, path) in [
        ("rsa --algorithm PS384 --bytes 100000", "sign PS384", "sign"),
        (
            "rsa --mode decrypt --mechanism RSA-OAEP",
            "decrypt RSA-OAEP",
            "decrypt",
        ),
        ("rsa --operation unwrap", "unwrap RSA-OAEP-256", "unwrapkey"),
        (
            "aes --operation decrypt --bytes 4096",
            "decrypt A256GCM",
            "decrypt",
        ),
        (
            "aes --algorithm A256CBCPAD --data-size 100",
            "encrypt A256CBCPAD",
            "encrypt",
        ),
        (
            "aes --operation wrap --algorithm A256KW",
            "wrap A256KW",
            "wrapkey",
        ),
        ("aes --operation random --bytes 128", "random", "rng"),
    ] {
        let line = format!("bench managedhsm:MyHSM:{line} --threads 2 --seconds 0.2");
        let before = hsm.requests().iter().filter(|one| one.is(path)).count();
        let measured = answer(&hsm, &line);
        assert_eq!(measured["operation"], name);
        let row = &measured["measurements"][0];
        assert_eq!(row["errors"], 0, "{line}: {row}");
        let operations = row["operations"].as_u64().expect("a number");
        let asked = hsm.requests().iter().filter(|one| one.is(path)).count() - before;
        // What is decrypted by AES is encrypted first, after the size is found.
        assert!(
            operations > 0 && asked as u64 >= operations,
            "{line}: {asked} {row}"
        );
        counted += operations;
    }
    assert!(counted > 0);
    for (line, words) in [
        ("ec --operation decrypt", &["does not encrypt"][..]),
        ("ec --algorithm RS256", &["can't sign so", "P-256"]),
        ("rsa --algorithm DES", &["there are", "A256GCM"]),
        ("rsa --operation decrypt --bytes 5000", &["bytes fit"]),
        (
            "rsa --operation decrypt --algorithm RS256",
            &["can't decrypt so"],
        ),
    ] {
        hsm.akv_line(&format!("bench managedhsm:MyHSM:{line} --seconds 0.1"))
            .fails_with(words);
    }
}

/// Beside those of RSA and EC keys; what is hashed here is the message, whatever its size.
#[test]
fn signatures_of_ml_dsa_keys_are_measured() {
    let hsm = crate::ml_dsa::hsm();
    for (set, bytes) in [("ML-DSA-44", 1), ("ML-DSA-65", 32), ("ML-DSA-87", 100_000)] {
        let before = hsm.requests().iter().filter(|one| one.is_sign()).count();
        let key = crate::support::uri(set);
        let line = format!("bench {key} --bytes {bytes} --concurrency 1,2 --seconds 0.2");
        let measured = answer(&hsm, &line);
        assert_eq!(measured["operation"], format!("sign {set}"));
        let rows = measured["measurements"].as_array().expect("rows").iter();
        let counted = rows.map(|row| {
            assert_eq!(row["errors"], 0, "{row}");
            row["operations"].as_u64().expect("a number")
        });
        let counted: u64 = counted.sum();
        let asked = hsm.requests().iter().filter(|one| one.is_sign()).count() - before;
        assert!(counted > 0, "{measured}");
        assert_eq!(asked as u64, counted, "{measured}");
    }
    for (line, words) in [
        ("ML-DSA-65 --operation encrypt", &["does not encrypt"][..]),
        (
            "ML-DSA-65 --operation wrap",
            &["can't wrap so", "ML-DSA-65"],
        ),
        ("ML-DSA-65 --algorithm ES256", &["can't sign so"]),
        ("ML-DSA-65 --algorithm ML-DSA-44", &["can't sign so"]),
    ] {
        hsm.akv_line(&format!("bench managedhsm:MyHSM:{line} --seconds 0.1"))
            .fails_with(words);
    }
}

#[test]
fn an_error_that_was_printed_is_explained() {
    let hsm = Hsm::with_keys(&[("k", EC_P256)]);
    let printed = hsm
        .akv_line("keys show managedhsm:MyHSM:none")
        .fails_with(&["KeyNotFound"]);
    for (asked, words) in [
        ("KeyNotFound", &["akv keys list --deleted"][..]),
        ("404", &["KeyNotFound", "RoleAssignmentNotFound"]),
        ("0xa4", &["CKR_PIN_LOCKED (0xa4)", "akv roles assign"]),
        ("CKR_FUNCTION_FAILED", &["from a search", "elsewhere"]),
        ("CKR_HOST_MEMORY", &["0x2", "does not give by itself"]),
        (
            "error:40000006",
            &["too many requests to the HSM", "akv bench"],
        ),
        (printed.as_str(), &["404 KeyNotFound"]),
    ] {
        let told = hsm.akv(&["explain", asked]).succeeds();
        for word in words {
            assert!(told.contains(word), "{asked}: {told}");
        }
    }
    let json = hsm.akv(&["explain", "0xa4", "--json"]).succeeds();
    let json: Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(json[0]["document"], "pkcs11");
    // More of it is in a document, which the command that is named shows.
    let more = hsm.akv(&["explain", "0xa4"]).succeeds();
    assert!(more.contains("akv docs pkcs11"), "{more}");
    let page = hsm.akv(&["docs", "pkcs11"]).succeeds();
    assert!(page.starts_with("# The PKCS#11 module"), "{page}");
    let section = hsm.akv(&["docs", "pkcs11#errors"]).succeeds();
    assert!(section.starts_with("## Errors") && section.contains("CKR_PIN_LOCKED"));
    assert!(hsm.akv(&["docs"]).succeeds().contains("troubleshooting"));
    hsm.akv(&["docs", "none"]).fails_with(&["no page 'none'"]);
    hsm.akv(&["docs", "pkcs11#none"])
        .fails_with(&["no section 'none'"]);
    hsm.akv(&["explain", "a fine day"])
        .fails_with(&["no error is known by 'a fine day'", "CKR_PIN_INCORRECT"]);
}
