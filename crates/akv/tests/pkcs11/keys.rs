//! Keys made and listed, and what is told of slots and mechanisms.

use serde_json::json;
use testing::ReservedPort;

use crate::support::{CREATE, Hsm, LIST};

/// Runs the tool, and checks the three lines that scripts look for. Returns the key's name.
fn create(hsm: &Hsm, arguments: &[&str]) -> String {
    let told = hsm.tool(CREATE, arguments).succeeds();
    let lines: Vec<&str> = told.lines().collect();
    let [first, second, third] = lines[..] else {
        panic!("{told}");
    };
    assert_eq!(first, "Key is generated successfully.");
    let kid = second.strip_prefix("Managed HSM Key ID: ").expect(second);
    let name = third.strip_prefix("Key Name: ").expect(third);
    let digits = name.strip_prefix("p11-").expect(name);
    let is_hex = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    assert!(digits.len() == 32 && is_hex, "{name}");
    let start = format!("{}/keys/{name}/", hsm.rest.url);
    let version = kid.strip_prefix(&start).expect(kid);
    assert_eq!(version.len(), 32, "{kid}");
    name.to_owned()
}

#[test]
fn the_tool_makes_keys_and_prints_the_three_lines_that_scripts_look_for() {
    let mut hsm = Hsm::start();
    // As the TLS Offload Library's users call it: without any credential but the application's.
    hsm.unset("AZURE_CLI_ACCESS_TOKEN");
    let secret = hsm.emulator.client_secret().unwrap();
    hsm.log_in(testing::emulator::OWNER_CLIENT, &secret);
    for (arguments, kind, size) in [
        (["--RSA", "2K"], "RSA-HSM", json!(256)),
        (["--RSA", "3K"], "RSA-HSM", json!(384)),
        (["--RSA", "4K"], "RSA-HSM", json!(512)),
        (["--EC", "P-256"], "EC-HSM", json!("P-256")),
        (["--EC", "P-256K"], "EC-HSM", json!("P-256K")),
        (["--EC", "P-384"], "EC-HSM", json!("P-384")),
        (["--EC", "P-521"], "EC-HSM", json!("P-521")),
    ] {
        let name = create(&hsm, &[&arguments[..], &["--label", "tls Key"]].concat());
        let made = hsm.rest.call("GET", &format!("/keys/{name}"), "");
        let key = &made["key"];
        assert_eq!(key["kty"], kind, "{made}");
        // Base64 without padding has four characters for three bytes.
        let bytes = key["n"].as_str().map_or(0, |n| n.len() * 3 / 4);
        match kind {
            "EC-HSM" => assert_eq!(key["crv"], size, "{made}"),
            _ => assert_eq!(json!(bytes), size, "{made}"),
        }
        assert_eq!(key["key_ops"], json!(["verify", "sign"]), "{made}");
        for half in ["pri", "pub"] {
            let tag = format!("p11_{half}_CKA_LABEL");
            assert_eq!(made["tags"][tag], "tls Key", "{made}");
        }
    }
    let listed = hsm.tool(LIST, &[]).succeeds();
    assert_eq!(listed.matches("Label: tls Key\n").count(), 7, "{listed}");
    assert_eq!(listed.matches("\nManaged HSM Key ID: https://").count(), 7);
    assert!(
        listed.starts_with("Key Name: p11-") && listed.contains("\nType: RSA 4096\nSlot: 0\n"),
        "{listed}"
    );
}

#[test]
fn the_tools_show_their_usage_and_refuse_what_they_do_not_know() {
    let hsm = Hsm::start();
    hsm.tool(CREATE, &[]).fails_with(&[
        "Usage: mhsm_p11_create_key",
        "--RSA",
        "2K, 3K, 4K",
        "--EC",
    ]);
    for (arguments, words) in [
        (&["--RSA", "1K", "--label", "x"][..], "2K, 3K, 4K"),
        (&["--EC", "P-224", "--label", "x"], "P-256, P-256K"),
        (&["--RSA", "2K"], "--label"),
        (&["--label", "x"], "--RSA"),
        (
            &["--RSA", "2K", "--EC", "P-256", "--label", "x"],
            "cannot be used with",
        ),
        (
            &["--RSA", "2K", "--label", "x", "--slot", "7"],
            "there is no slot 7; there are: 0",
        ),
    ] {
        hsm.tool(CREATE, arguments).fails_with(&[words]);
    }
    // What ran made nothing.
    assert_eq!(hsm.tool(LIST, &[]).succeeds(), "");
}

#[test]
fn half_an_identity_is_refused() {
    let mut hsm = Hsm::start();
    hsm.set("MHSM_CLIENT_ID", "a");
    let told = "MHSM_CLIENT_ID is set and MHSM_CLIENT_SECRET is not";
    hsm.tool(LIST, &[]).fails_with(&[told]);
    hsm.akv("pkcs11 list").fails_with(&[told]);
}

#[test]
fn people_make_keys_and_see_them_with_label_id_type_usage_name_and_version() {
    let hsm = Hsm::start();
    let made = hsm
        .akv("pkcs11 create-key --type ec --curve P-384 --label web --id 0a0B --json")
        .json();
    let key = &made[0];
    assert_eq!(
        (&key["label"], &key["id"], &key["type"]),
        (&json!("web"), &json!("0a0b"), &json!("EC P-384")),
        "{made}"
    );
    assert_eq!(key["usage"], json!(["sign", "verify"]), "{made}");
    let seal = "pkcs11 create-key --type rsa --label seal --usage decrypt,encrypt";
    hsm.akv(seal).succeeds();
    // One that PKCS#11 knows nothing of.
    let rsa = r#"{"kty":"RSA-HSM","key_size":2048,"attributes":{"exp":4102444800}}"#;
    let version = hsm.rest.create("plain", rsa);
    let listed = hsm.akv("pkcs11 list --output json").json();
    let listed = listed.as_array().expect("a list");
    assert_eq!(listed.len(), 3, "{listed:?}");
    let by_label = |label: &str| {
        let found = listed.iter().find(|key| key["label"] == label);
        found.unwrap_or_else(|| panic!("{label}: {listed:?}"))
    };
    assert_eq!(by_label("web"), key);
    assert_eq!(by_label("seal")["usage"], json!(["decrypt", "encrypt"]));
    let plain = by_label("plain");
    assert_eq!(plain["name"], "plain");
    assert_eq!(plain["version"], version.as_str());
    assert_eq!(plain["ends"], "2099-12-31");
    assert_eq!(plain["id"].as_str().map(str::len), Some(40), "{plain}");
    let table = hsm.akv("pkcs11 list").succeeds();
    assert!(table.starts_with("slot  label"), "{table}");
    assert_eq!(table.lines().count(), 4, "{table}");
}

#[test]
fn what_can_not_be_made_is_refused_with_what_to_do() {
    let hsm = Hsm::start();
    for (line, words) in [
        ("--type ec --label x", "needs --curve"),
        (
            "--type ec --curve P-256 --size 256 --label x",
            "leave --size out",
        ),
        ("--type rsa --curve P-256 --label x", "has no curve"),
        ("--type rsa --label x --id 0", "hexadecimal digits"),
        ("--type rsa --size 1024 --label x", "CKR_KEY_SIZE_RANGE"),
        ("--type rsa --label x --usage fly", "possible values"),
    ] {
        hsm.akv(&format!("pkcs11 create-key {line}"))
            .fails_with(&[words]);
    }
    let long = "x".repeat(300);
    let told = hsm.akv(&format!("pkcs11 create-key --type rsa --label {long}"));
    told.fails_with(&["C_GenerateKeyPair: CKR_", "CKA_LABEL", "longer than a tag"]);
}

#[test]
fn info_tells_slots_logins_and_what_is_done_where() {
    let mut hsm = Hsm::start();
    let url = hsm.emulator.url.clone();
    let info = hsm.akv("pkcs11 info --json").json();
    let slot = &info["slots"][0];
    assert_eq!(slot["token"]["label"], "localhost", "{info}");
    assert_eq!(slot["interfaces"], json!(["2.40", "3.0", "3.2"]), "{info}");
    assert_eq!(slot["token"]["login_required"], false, "{info}");
    let mechanisms = slot["mechanisms"].as_array().expect("mechanisms");
    let by_name = |name: &str| {
        let found = mechanisms.iter().find(|one| one["name"] == name);
        found.unwrap_or_else(|| panic!("{name}: {info}"))
    };
    let pss = by_name("CKM_SHA256_RSA_PKCS_PSS");
    assert_eq!(
        (&pss["in_hsm"], &pss["here"]),
        (
            &json!(["sign", "sign messages"]),
            &json!(["verify", "verify messages"])
        )
    );
    let mac = by_name("CKM_SHA256_HMAC");
    let all = ["sign", "sign messages", "verify", "verify messages"];
    assert_eq!(mac["in_hsm"], json!(all));
    assert_eq!(by_name("CKM_AES_CBC")["here"], json!([]));
    assert_eq!(by_name("CKM_SHA512")["here"], json!(["digest"]));
    assert_eq!(by_name("CKM_SHA1_RSA_PKCS_PSS")["in_hsm"], json!([]));
    let here = ["verify", "verify messages"];
    assert_eq!(by_name("CKM_SHA3_256_RSA_PKCS")["here"], json!(here));
    for name in ["CKM_CLOUDHSM_AES_GCM", "CKM_AES_KEY_WRAP_KWP"] {
        let told = ["decrypt", "unwrap", "encrypt", "wrap"];
        assert_eq!(by_name(name)["in_hsm"], json!(told), "{name}");
    }
    let gcm = by_name("CKM_AES_GCM")["in_hsm"].to_string();
    assert!(gcm.contains("encrypt messages"), "{gcm}");
    hsm.unset("AZURE_CLI_ACCESS_TOKEN");
    let config = hsm.write(
        "two.conf",
        &format!(
            r#"{{"tokens":[{{"slotid":4,"resourceName":"One","endpoint":"{url}"}},
                {{"slotid":9,"resourceName":"Two","endpoint":"{url}","label":"second"}}]}}"#
        ),
    );
    let text = hsm
        .akv(&format!("pkcs11 info --config {config}"))
        .succeeds();
    for words in [
        "One",
        "second",
        "by PIN",
        "2.40, 3.0, 3.2",
        "CKM_ECDSA ",
        "CKM_SHA3_512_RSA_PKCS_PSS",
    ] {
        assert!(text.contains(words), "{words}: {text}");
    }
    assert_eq!(
        hsm.emulator.requests.list().len(),
        0,
        "no request is needed"
    );
    // With two tokens a key is made in the one that is named.
    let secret = hsm.emulator.client_secret().unwrap();
    hsm.log_in(testing::emulator::OWNER_CLIENT, &secret);
    hsm.set("MHSM_PKCS11_CONF", config);
    let create = ["--EC", "P-256", "--label", "x"];
    let told = hsm.tool(CREATE, &create);
    told.fails_with(&["choose one with --slot: 4 (One), 9 (second)"]);
    create_in_slot(&hsm, &create, "9");
}

fn create_in_slot(hsm: &Hsm, create: &[&str], slot: &str) {
    let told = hsm.tool(CREATE, &[create, &["--slot", slot]].concat());
    assert!(told.succeeds().contains("Key Name: p11-"));
}

#[test]
fn the_slot_whose_hsm_is_away_is_named_and_hides_no_other() {
    let mut hsm = Hsm::start();
    hsm.rest.create("here", r#"{"kty":"EC-HSM","crv":"P-256"}"#);
    let (url, nobody) = (hsm.emulator.url.clone(), ReservedPort::take());
    let config = hsm.write(
        "two.conf",
        &format!(
            r#"{{"tokens":[{{"slotid":4,"resourceName":"One","endpoint":"{url}"}},
                {{"slotid":9,"resourceName":"Two","endpoint":"{}","operationTimeout":0.5}}]}}"#,
            nobody.url()
        ),
    );
    let told = hsm.akv(&format!("pkcs11 list --config {config}"));
    told.fails_with(&[
        "slot 9: C_FindObjectsInit: CKR_DEVICE_ERROR: ",
        "Connection refused",
        "akv doctor managedhsm:",
        "EC P-256  sign,verify  here",
    ]);
    hsm.akv(&format!("pkcs11 list --slot 4 --config {config}"))
        .succeeds();
    let told = hsm.akv(&format!("pkcs11 list --slot 9 --config {config}"));
    told.fails_with(&["slot 9: C_FindObjectsInit: CKR_DEVICE_ERROR: "]);
    hsm.set("MHSM_PKCS11_CONF", config);
    let told = hsm.tool(LIST, &[]);
    told.fails_with(&[
        "slot 9: C_FindObjectsInit: CKR_DEVICE_ERROR: ",
        "Key Name: here",
    ]);
}

#[test]
fn what_is_no_module_is_told() {
    let hsm = Hsm::start();
    let text = hsm.write("no-module.so", "text");
    let told = hsm.akv(&format!("pkcs11 list --module {text}"));
    told.fails_with(&["no-module.so", "file too short"]);
    let gone = hsm.file("gone.so");
    let told = hsm.akv(&format!("pkcs11 list --module {}", gone.display()));
    told.fails_with(&["gone.so", "can't be read"]);
}

#[test]
fn a_module_that_ends_the_process_is_told() {
    let hsm = Hsm::start();
    let source = hsm.write(
        "ends.c",
        "#include <stdlib.h>\nint C_GetFunctionList(void) { abort(); }\n",
    );
    let library = hsm.write("ends.so", "");
    let arguments = ["-shared", "-fPIC", "-o", &library, &source];
    hsm.run(std::path::Path::new("cc"), &arguments).succeeds();
    let told = hsm.akv(&format!("pkcs11 list --module {library}"));
    told.fails_with(&["ended the process that had loaded it", "signal: 6"]);
}

#[test]
fn keys_that_sessions_have_left_behind_are_swept() {
    let hsm = Hsm::start();
    for name in ["p11-left", "p11-also-left"] {
        let body = r#"{"kty":"EC-HSM","crv":"P-256","tags":{"p11_session":"4711@web-1"}}"#;
        hsm.rest.create(name, body);
    }
    hsm.rest.create(
        "stays",
        r#"{"kty":"EC-HSM","crv":"P-256","tags":{"p11_pri_LABEL":"x"}}"#,
    );
    let count = || {
        let keys = hsm.rest.call("GET", "/keys", "");
        keys["value"].as_array().expect("a list").len()
    };
    // They are young: somebody may be using them.
    let told = hsm.akv("pkcs11 sweep").succeeds();
    assert!(told.contains("older than 1day"), "{told}");
    assert_eq!(count(), 3);
    let told = hsm.akv("pkcs11 sweep --older-than 0s --dry-run").succeeds();
    assert!(
        told.contains("p11-left") && told.contains("4711@web-1"),
        "{told}"
    );
    assert!(
        told.contains("would be deleted") && !told.contains("stays"),
        "{told}"
    );
    assert_eq!(count(), 3);
    // No configuration names such keys.
    for of_token in [r#""keys":["stays"]"#, r#""listing":"never""#] {
        let text = format!(r#"{{"tokens":[{{"resourceName":"localhost",{of_token}}}]}}"#);
        let config = hsm.write("named.conf", &text);
        let line = format!("pkcs11 sweep --older-than 0s --dry-run --config {config}");
        let told = hsm.akv(&line).succeeds();
        assert!(
            told.contains("p11-left") && told.contains("p11-also-left"),
            "{told}"
        );
    }
    let told = hsm.akv("pkcs11 sweep --older-than 0s --output json").json();
    assert_eq!(told.as_array().map(Vec::len), Some(2), "{told}");
    assert_eq!(
        (&told[0]["deleted"], &told[0]["maker"]),
        (&json!(true), &json!("4711@web-1"))
    );
    assert_eq!(count(), 1);
    let listed = hsm.akv("pkcs11 list").succeeds();
    assert!(listed.contains("stays"), "{listed}");
    // It can be taken back.
    hsm.rest.call("POST", "/deletedkeys/p11-left/recover", "");
    assert_eq!(count(), 2);
}

/// Whoever sweeps may read all keys, and delete but some of them.
#[test]
fn a_key_that_can_not_be_deleted_does_not_keep_the_others_from_being_swept() {
    const SWEEPER: &str = "33333333-0000-0000-0000-000000000001";
    let role = |role, scope| json!({"role": role, "scope": scope});
    let principals = json!([{
        "client_id": SWEEPER, "object_id": "33333333-0000-0000-0000-000000000011",
        "client_secret": "secret-of-sweeper",
        "roles": [
            role("Managed HSM Crypto Auditor", "/keys"),
            role("Managed HSM Crypto User", "/keys/p11-1"),
            role("Managed HSM Crypto User", "/keys/p11-11"),
        ],
    }]);
    let mut hsm = Hsm::start_with_principals(&principals.to_string());
    hsm.unset("AZURE_CLI_ACCESS_TOKEN");
    hsm.log_in(SWEEPER, "secret-of-sweeper");
    let make = |name: &str| {
        let body = r#"{"kty":"EC-HSM","crv":"P-256","tags":{"p11_session":"4711@web-1"}}"#;
        hsm.rest.create(name, body)
    };
    let refused = ["p11-0", "p11-10", "p11-12"];
    for name in refused.iter().chain(&["p11-1", "p11-11"]) {
        make(name);
    }
    let left = || {
        let keys = hsm.rest.call("GET", "/keys", "");
        keys["value"].as_array().expect("a list").len()
    };
    let told = hsm.akv("pkcs11 sweep --older-than 0s");
    let told = told.fails_with(&[
        "deleted; akv keys recover takes it back",
        "can't be deleted",
    ]);
    assert_eq!(left(), refused.len(), "{told}");
    for name in refused {
        let start = format!("{name} stays: C_DestroyObject: CKR_TOKEN_WRITE_PROTECTED: ");
        let reason = told.lines().find(|line| line.starts_with(&start));
        let reason = reason.expect(&told);
        assert!(
            reason.contains("HTTP 403") && reason.contains(&format!(":{name}")),
            "{reason}"
        );
    }
    // The same for programs: what is left is told with its reason.
    make("p11-also");
    let told = hsm.akv("pkcs11 sweep --older-than 0s --json");
    let told = told.fails_with(&[
        "p11-also",
        "\"deleted\": false",
        "\"problem\": \"C_DestroyObject",
    ]);
    assert_eq!(
        told.matches("HTTP 403").count(),
        refused.len() + 1,
        "{told}"
    );
    hsm.akv("pkcs11 sweep --older-than 0s --dry-run").succeeds();
}

#[test]
fn a_slot_that_can_not_be_asked_does_not_keep_the_others_from_being_swept() {
    let mut hsm = Hsm::start();
    let body = r#"{"kty":"EC-HSM","crv":"P-256","tags":{"p11_session":"4711@web-1"}}"#;
    hsm.rest.create("p11-left", body);
    let nobody = [ReservedPort::take(), ReservedPort::take()];
    let file = hsm.write(
        "three.conf",
        &json!({"tokens": [
            {"slotid": 7, "resourceName": "away", "endpoint": nobody[0].url(), "maxRetries": 0},
            {"slotid": 8, "resourceName": "here", "endpoint": hsm.rest.url},
            {"slotid": 9, "resourceName": "gone", "endpoint": nobody[1].url(), "maxRetries": 0},
        ]})
        .to_string(),
    );
    hsm.set("MHSM_PKCS11_CONF", file);
    // Each with its own cause.
    let failed = "C_FindObjectsInit: CKR_DEVICE_ERROR: list keys of managedhsm:";
    let told = hsm.akv("pkcs11 sweep --older-than 0s").fails_with(&[
        &format!("not swept: slot 7: {failed}away: "),
        &format!("not swept: slot 9: {failed}gone: "),
        "p11-left",
        "deleted; akv keys recover takes it back",
    ]);
    let keys = hsm.rest.call("GET", "/keys", "");
    assert_eq!(keys["value"], json!([]), "{told}");
}

#[test]
fn keys_of_ml_dsa_are_made_by_both_commands() {
    let mut hsm = Hsm::start();
    hsm.set("AKV_API_VERSION", "2026-05-01-preview");
    for (argument, set) in [
        ("44", "ML-DSA-44"),
        ("65", "ML-DSA-65"),
        ("87", "ML-DSA-87"),
    ] {
        let name = create(&hsm, &["--ML-DSA", argument, "--label", "tls Key"]);
        let made = hsm.rest.call("GET", &format!("/keys/{name}"), "");
        assert_eq!(
            (&made["key"]["alg"], &made["key"]["key_ops"]),
            (&json!(set), &json!(["verify", "sign"])),
            "{made}"
        );
        let type_ = set.to_ascii_lowercase();
        let line = format!("pkcs11 create-key --type {type_} --label web --id 0a --json");
        let made = hsm.akv(&line).json();
        assert_eq!(
            (&made[0]["type"], &made[0]["label"], &made[0]["usage"]),
            (&json!(set), &json!("web"), &json!(["sign", "verify"])),
            "{made}"
        );
    }
    for further in ["--size 2048", "--curve P-256"] {
        let line = format!("pkcs11 create-key --type ml-dsa-65 --label x {further}");
        hsm.akv(&line).fails_with(&["neither --size nor --curve"]);
    }
    hsm.tool(CREATE, &["--ML-DSA", "66", "--label", "x"])
        .fails_with(&["44, 65, 87"]);
    // What only a preview has is told as such.
    hsm.unset("AKV_API_VERSION");
    hsm.tool(CREATE, &["--ML-DSA", "65", "--label", "x"])
        .fails_with(&["set api-version = 2026-05-01-preview"]);
}
