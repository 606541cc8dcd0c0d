//! All keys of an HSM, and deletion.

use crate::support::{AES_256, EC_P256, Hsm, LOADINGS, Loading, RSA_2048, uri};

/// Whether storeutl found something. Newer releases say nothing of having found nothing.
fn found_any(text: &str) -> bool {
    text.contains("Total found:") && !text.contains("Total found: 0")
}

#[test]
fn an_hsm_lists_the_names_of_its_keys() {
    let hsm = Hsm::with_keys(&[("rsa", RSA_2048), ("ec", EC_P256), ("aes", AES_256)]);
    for loading in LOADINGS {
        for store in ["managedhsm:MyHSM", "akv:vault=MyHSM"] {
            let names = hsm.openssl(loading, &["storeutl", store]).succeeds();
            for name in ["rsa", "ec", "aes"] {
                assert!(names.contains(&format!("Name: {}\n", uri(name))), "{names}");
            }
            assert!(names.contains("Total found: 3"), "{names}");
            let keys = hsm
                .openssl(loading, &["storeutl", "-keys", store])
                .succeeds();
            assert_eq!(keys, names);
            // The keys behind the names.
            let keys = hsm
                .openssl(loading, &["storeutl", "-r", "-keys", store])
                .succeeds();
            assert_eq!(keys.matches("BEGIN AKV PROVIDER URI").count(), 3, "{keys}");
            let public = hsm.openssl(loading, &["storeutl", "-public", store]).text();
            if !public.contains("Unknown option") && !public.contains("Unrecognized") {
                assert!(!public.contains("PROVIDER URI"), "{public}");
            }
            let certificates = hsm
                .openssl(loading, &["storeutl", "-certs", store])
                .succeeds();
            assert!(!found_any(&certificates), "{certificates}");
        }
    }
}

/// Names of an HSM without one of a key, as an empty variable leaves them.
const NAMELESS: [&str; 9] = [
    "managedhsm:MyHSM",
    "managedhsm:MyHSM:",
    "managedhsm:MyHSM:?version=",
    "managedhsm:MyHSM:?version=0123456789abcdef0123456789abcdef",
    "akv:vault=MyHSM",
    "akv:vault=MyHSM,name=",
    "akv:vault=MyHSM,name=,version=",
    "https://MyHSM.managedhsm.azure.net",
    "https://MyHSM.managedhsm.azure.net/keys/",
];

#[test]
fn no_key_is_taken_from_a_uri_without_a_key_name() {
    let hsm = Hsm::with_keys(&[("rsa", RSA_2048), ("ec", EC_P256)]);
    let message = hsm.write("message", [7; 32]);
    let out = hsm.path("out");
    let program = hsm.compile("first_key");
    let missing = &["the key name is missing"];
    for nameless in NAMELESS {
        let shown = hsm.run(&program, &[nameless]).succeeds();
        assert_eq!(shown.matches(missing[0]).count(), 3, "{shown}");
        // From 3.5 on, libcrypto leaves errors of its own behind where it takes a name.
        assert!(!shown.contains("incompatible type"), "{shown}");
        hsm.akv(&["keys", "show", nameless]).fails_with(missing);
        hsm.akv(&["sign", nameless, &message]).fails_with(missing);
        hsm.akv(&["key", "pem", nameless]).fails_with(missing);
        let der = [
            &[0x1a, 21][..],
            b"AKV Provider URI v1.0",
            &[0x0c, nameless.len() as u8],
            nameless.as_bytes(),
        ]
        .concat();
        let file = hsm.write(
            "nameless.der",
            [&[0x30, der.len() as u8], &der[..]].concat(),
        );
        for loading in LOADINGS {
            let commands: [&[&str]; 7] = [
                &["dgst", "-sha256", "-sign", nameless, "-out", &out, &message],
                &["req", "-new", "-key", nameless, "-subj", "/CN=x"],
                &["pkey", "-in", nameless, "-text", "-noout"],
                &["pkey", "-pubin", "-in", nameless, "-noout"],
                &[
                    "dgst",
                    "-sha256",
                    "-verify",
                    nameless,
                    "-signature",
                    &message,
                    &message,
                ],
                &["pkeyutl", "-sign", "-inkey", nameless, "-in", &message],
                &[
                    "genpkey",
                    "-propquery",
                    "provider=akv_provider",
                    "-algorithm",
                    "EC",
                    "-pkeyopt",
                    &format!("uri:{nameless}"),
                ],
            ];
            for command in commands {
                hsm.openssl(loading, command).fails_with(missing);
            }
            hsm.openssl(loading, &["pkey", "-inform", "DER", "-in", &file, "-noout"])
                .fails_with(&[]);
        }
    }
    let requests = hsm.requests();
    assert!(requests.iter().all(|request| !request.is_sign()));
    assert!(
        !requests
            .iter()
            .any(|request| request.path == "/keys/ec" && request.method == "GET")
    );
}

#[test]
fn whoever_may_not_list_keys_is_told_that_the_name_is_missing() {
    let mut hsm = Hsm::start();
    hsm.set("AZURE_CLI_ACCESS_TOKEN", "not-a-token");
    for option in ["-sign", "-verify"] {
        let message = hsm.write("message", "");
        let command = [
            "dgst",
            option,
            "managedhsm:MyHSM",
            "-signature",
            &message,
            &message,
        ];
        hsm.openssl(Loading::AkvFirst, &command)
            .fails_with(&["401", "the key name is missing"]);
    }
}

#[test]
fn a_listing_of_names_loads_no_key_and_asks_page_by_page() {
    let hsm = Hsm::start();
    for number in 0..30 {
        hsm.create(&format!("key-{number}"), EC_P256);
    }
    let before = hsm.requests().len();
    let names = hsm
        .openssl(Loading::AkvFirst, &["storeutl", "managedhsm:MyHSM"])
        .succeeds();
    assert!(names.contains("Total found: 30"), "{names}");
    let requests = hsm.requests().split_off(before);
    assert_eq!(requests.len(), 2, "30 keys are two pages: {requests:?}");
    assert!(requests.iter().all(|request| request.path == "/keys"));
}

#[test]
fn an_empty_hsm_and_a_token_without_rights_are_told_apart() {
    let mut hsm = Hsm::start();
    let names = hsm
        .openssl(Loading::AkvFirst, &["storeutl", "managedhsm:MyHSM"])
        .succeeds();
    assert!(!found_any(&names), "{names}");
    hsm.set("AZURE_CLI_ACCESS_TOKEN", "not-a-token");
    hsm.openssl(Loading::AkvFirst, &["storeutl", "managedhsm:MyHSM"])
        .fails_with(&["401", "list"]);
}

#[test]
fn a_key_is_deleted_only_when_the_settings_allow_it() {
    let mut hsm = Hsm::with_keys(&[("key", EC_P256)]);
    let program = hsm.compile("delete");
    if !hsm.run_or_skip(&program, &["probe"]) {
        return;
    }
    hsm.run(&program, &[&uri("key")]).fails_with(&[
        "key",
        "allow-delete",
        "AKV_ALLOW_DELETE",
        ":deletion not allowed:",
    ]);
    assert_eq!(hsm.key("key")["attributes"]["enabled"], true);
    hsm.set("AKV_ALLOW_DELETE", "yes");
    let version = format!("{}?version={}", uri("key"), "0".repeat(32));
    hsm.run(&program, &[&version])
        .fails_with(&[":deletion of one version not supported by the HSM:"]);
    hsm.run(&program, &[&uri("key")]).succeeds();
    hsm.run(&program, &[&uri("key")])
        .fails_with(&["404", "KeyNotFound"]);
    assert!(
        hsm.requests()
            .iter()
            .any(|request| request.method == "DELETE")
    );
}

/// OpenSSL 3.0 calls what isn't there, where a loader can't be attached.
#[test]
fn a_store_cant_be_attached_to_a_bio_and_says_so() {
    let hsm = Hsm::start();
    let program = hsm.compile("attach");
    let printed = hsm
        .run(&program, &["managedhsm", "akv", "keyvault"])
        .succeeds();
    let refusals = printed.matches("and not from a BIO").count();
    let unregistered = printed.matches("unregistered scheme").count();
    assert!(refusals == 3 || unregistered == 3, "{printed}");
}
