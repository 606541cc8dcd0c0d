//! As whom the HSM is asked, and what that identity may do: both approaches of the TLS Offload
//! Library.

use std::path::Path;

use serde_json::json;
use testing::ReservedPort;
use testing::emulator::OWNER_CLIENT;

use crate::support::{CREATE, Hsm, LIST, is_there};

const MAKER: &str = "33333333-0000-0000-0000-000000000001";
const SERVER: &str = "33333333-0000-0000-0000-000000000002";
const SERVER_OBJECT: &str = "33333333-0000-0000-0000-000000000012";
const MACHINE: &str = "33333333-0000-0000-0000-000000000003";
const CRYPTO_USER: &str = "21dbd100-6940-42c2-9190-5d6cb909625b";

/// An emulator with who makes keys, who uses them, and an identity of the machine without a role.
fn hsm() -> Hsm {
    let principals = json!([
        {"client_id": MAKER, "object_id": "33333333-0000-0000-0000-000000000011",
         "client_secret": "secret-of-maker",
         "roles": [{"role": "Managed HSM Crypto User", "scope": "/keys"}]},
        {"client_id": SERVER, "object_id": SERVER_OBJECT, "client_secret": "secret-of-server"},
        {"client_id": MACHINE, "object_id": "33333333-0000-0000-0000-000000000013",
         "managed_identity": true},
    ]);
    Hsm::start_with_principals(&principals.to_string())
}

/// Creates a key. Returns its name.
fn create(hsm: &Hsm, label: &str, arguments: &[&str]) -> String {
    let key = [&["--EC", "P-256", "--label", label], arguments].concat();
    let told = hsm.tool(CREATE, &key).succeeds();
    let line = told
        .lines()
        .find_map(|line| line.strip_prefix("Key Name: "));
    line.expect("a name").to_owned()
}

/// Assigns a role to the server's identity.
fn assign(hsm: &Hsm, role: &str, scope: &str, id: &str) {
    let properties = json!({"properties": {
        "roleDefinitionId":
            format!("Microsoft.KeyVault/providers/Microsoft.Authorization/roleDefinitions/{role}"),
        "principalId": SERVER_OBJECT,
    }});
    let path = format!("{scope}/providers/Microsoft.Authorization/roleAssignments/{id}");
    hsm.rest.call("PUT", &path, &properties.to_string());
}

fn sign(hsm: &Hsm, id: &str) -> testing::Outcome {
    let module = testing::built::program("libakv_pkcs11.so");
    let data = hsm.write("data", "0123456789abcdef0123456789abcdef");
    let pin = format!("{SERVER}:secret-of-server");
    let arguments = [
        "--module",
        module.to_str().expect("text"),
        "--sign",
        "--mechanism",
        "ECDSA",
        "--id",
        id,
        "--login",
        "--pin",
        &pin,
        "--input-file",
        &data,
        "--output-file",
        "signature",
    ];
    hsm.run(Path::new("pkcs11-tool"), &arguments)
}

/// The granular approach: one identity makes keys; the other may read all keys, and use one.
#[test]
fn the_granular_approach_lets_the_server_find_all_keys_and_use_one() {
    let mut hsm = hsm();
    // The module is told nothing of an identity: each program has its own.
    hsm.unset("AZURE_CLI_ACCESS_TOKEN");
    hsm.log_in(MAKER, "secret-of-maker");
    let (tls, other) = (create(&hsm, "tlsKey", &[]), create(&hsm, "other", &[]));
    hsm.log_in(SERVER, "secret-of-server");
    // Before anything is assigned.
    hsm.tool(LIST, &[]).fails_with(&[
        "C_FindObjectsInit: CKR_FUNCTION_FAILED",
        "HTTP 403",
        "keys/read at /keys",
    ]);
    let reader = "55555555-0000-0000-0000-000000000001";
    let definition = json!({"properties": {
        "roleName": "TLS Library User Read Role", "description": "Grant Read access to keys",
        "type": "CustomRole", "assignableScopes": ["/"],
        "permissions": [{"actions": [], "notActions": [], "notDataActions": [],
            "dataActions": ["Microsoft.KeyVault/managedHsm/keys/read/action"]}],
    }});
    let path = format!("/providers/Microsoft.Authorization/roleDefinitions/{reader}");
    hsm.rest.call("PUT", &path, &definition.to_string());
    assign(
        &hsm,
        reader,
        "/keys",
        "55555555-0000-0000-0000-000000000002",
    );
    let scope = format!("/keys/{tls}");
    assign(
        &hsm,
        CRYPTO_USER,
        &scope,
        "55555555-0000-0000-0000-000000000003",
    );

    let listed = hsm.tool(LIST, &[]).succeeds();
    assert!(listed.contains(&tls) && listed.contains(&other), "{listed}");
    let refused = hsm.tool(CREATE, &["--RSA", "2K", "--label", "x"]);
    let refused = refused.fails_with(&[
        "C_GenerateKeyPair: CKR_TOKEN_WRITE_PROTECTED",
        "HTTP 403",
        "'Managed HSM Crypto User' at /keys",
    ]);
    assert!(!refused.contains("secret-of"), "{refused}");
    if is_there("pkcs11-tool") {
        // pkcs11-tool has no heed of labels where it signs.
        let keys = hsm.akv("pkcs11 list --json").json();
        let id = |name: &str| {
            let found = keys.as_array()?.iter().find(|key| key["name"] == name)?;
            found["id"].as_str()
        };
        sign(&hsm, id(&tls).expect("its id")).succeeds();
        let told = sign(&hsm, id(&other).expect("its id"));
        told.fails_with(&["CKR_KEY_FUNCTION_NOT_PERMITTED", "HTTP 403", &other]);
    }
}

/// The permissive approach: one identity does all.
#[test]
fn the_permissive_approach_lets_one_identity_make_and_find_keys() {
    let mut hsm = hsm();
    // Whatever else the environment has: the tool asks as the application that it is told.
    hsm.set("AZURE_CLI_ACCESS_TOKEN", "e30.e30.c2ln");
    hsm.log_in(MAKER, "secret-of-maker");
    let name = create(&hsm, "tlsKey", &[]);
    assert!(hsm.tool(LIST, &[]).succeeds().contains(&name));
    let found = hsm.akv("pkcs11 list --json").json();
    assert_eq!(found[0]["name"], name.as_str());
}

#[test]
fn a_pin_comes_from_a_file_too() {
    let mut hsm = hsm();
    let secret = hsm.emulator.client_secret().unwrap();
    let pin = hsm.write("pin", &format!("{OWNER_CLIENT}:{secret}\n"));
    hsm.unset("AZURE_CLI_ACCESS_TOKEN");
    hsm.akv(&format!("pkcs11 list --pin-file {pin}")).succeeds();
    for (pin, words) in [
        ("owner-without-a-secret", "whose secret it is"),
        (
            "33333333-0000-0000-0000-000000000001:wrong",
            "AADSTS7000215",
        ),
    ] {
        let pin = hsm.write("pin", pin);
        let told = hsm.akv(&format!("pkcs11 list --pin-file {pin}"));
        let told = told.fails_with(&["C_Login: CKR_PIN_INCORRECT", words, "--pin-file"]);
        assert!(
            !told.contains("owner-without") && !told.contains(":wrong"),
            "{told}"
        );
    }
    // Standard input has it once, and each token asks for it.
    let pin = hsm.write("pin", &format!("{OWNER_CLIENT}:{secret}\n"));
    let token = |slot| format!(r#"{{"slotid":{slot},"resourceName":"localhost"}}"#);
    let tokens = format!(r#"{{"tokens":[{},{}]}}"#, token(1), token(2));
    let config = hsm.write("two.conf", &tokens);
    let line = format!(
        "{} pkcs11 list --config {config} --pin-file - <{pin}",
        env!("CARGO_BIN_EXE_akv")
    );
    let told = hsm.run(Path::new("/bin/sh"), &["-c", &line]);
    assert!(!told.succeeds().contains("CKR_"));
    // Without any.
    hsm.akv("pkcs11 list").fails_with(&[
        "the PIN is empty",
        "set MHSM_CLIENT_ID and MHSM_CLIENT_SECRET",
    ]);
    let told = hsm.akv("pkcs11 list --identity --pin-file pin");
    told.fails_with(&["cannot be used with"]);
}

#[test]
fn an_identity_that_is_not_used_is_told() {
    let mut hsm = hsm();
    let token = hsm.write("token", &hsm.emulator.token);
    hsm.unset("AZURE_CLI_ACCESS_TOKEN");
    let config = format!(r#"{{"tokens":[{{"resourceName":"localhost","tokenFile":"{token}"}}]}}"#);
    let config = hsm.write("mhsm-pkcs11.conf", &config);
    hsm.set("MHSM_PKCS11_CONF", config);
    hsm.log_in(MAKER, "not-asked-for");
    let told = hsm.akv("pkcs11 list");
    told.succeeds();
    let text = told.text();
    assert!(
        text.contains("the PIN was not asked for and not used"),
        "{text}"
    );
}

#[test]
fn the_managed_identity_of_this_machine_makes_keys() {
    let mut hsm = hsm();
    hsm.unset("AZURE_CLI_ACCESS_TOKEN");
    let url = hsm.emulator.url.clone();
    hsm.set("AZURE_POD_IDENTITY_AUTHORITY_HOST", url);
    // As the TLS Offload Library has it: an application that is named as well is not asked for.
    hsm.log_in(SERVER, "not-the-secret");
    let name = create(&hsm, "tlsKey", &["--identity"]);
    assert!(hsm.tool(LIST, &["--identity"]).succeeds().contains(&name));
    // Another identity, whose client id the configuration file has, though it does not switch it
    // on.
    for (id, words) in [
        (MACHINE, "HTTP 403"),
        ("99999999-0000-0000-0000-000000000000", "Identity not found"),
    ] {
        let config = hsm.write(
            "mhsm-pkcs11.conf",
            &format!(
                r#"{{"tokens":[{{"resourceName":"localhost"}}],
                    "msi":{{"identityMSI":false,"MSIClientID":"{id}"}}}}"#
            ),
        );
        hsm.set("MHSM_PKCS11_CONF", config);
        let told = hsm.tool(CREATE, &["--EC", "P-256", "--label", "x", "--identity"]);
        told.fails_with(&["C_GenerateKeyPair: ", words]);
    }
}

#[test]
fn where_there_is_no_managed_identity_that_is_told() {
    let mut hsm = hsm();
    let nobody = ReservedPort::take();
    hsm.set("AZURE_POD_IDENTITY_AUTHORITY_HOST", nobody.url());
    // Which would do, if --identity did not say otherwise.
    let told = hsm.tool(CREATE, &["--RSA", "2K", "--label", "x", "--identity"]);
    told.fails_with(&[
        "C_GenerateKeyPair: CKR_DEVICE_ERROR",
        "ManagedIdentityCredential",
        "leave --identity out",
        "MSIClientID",
    ]);
    let none = hsm.tool(LIST, &[]).succeeds();
    assert_eq!(none, "", "nothing was made");
}

#[test]
fn the_doctor_checks_the_module_in_the_place_of_the_provider() {
    let mut hsm = hsm();
    create(&hsm, "tlsKey", &[]);
    let told = hsm.akv("doctor --pkcs11").succeeds();
    for words in ["pkcs11-module  ", "slot 0: localhost", "1 keys can be seen"] {
        assert!(told.contains(words), "{words}: {told}");
    }
    assert!(!told.contains("activation"), "{told}");
    hsm.unset("AZURE_CLI_ACCESS_TOKEN");
    let told = hsm.akv("doctor --pkcs11").text();
    for words in ["skipped  pkcs11-keys  ", "  the token asks for a PIN"] {
        assert!(told.contains(words), "{words}: {told}");
    }
    hsm.log_in(SERVER, "not-the-secret");
    let told = hsm.akv("doctor --pkcs11");
    told.fails_with(&[
        "failed   pkcs11-keys",
        "C_Login: CKR_PIN_INCORRECT",
        "AADSTS7000215",
    ]);
    hsm.unset("AZURE_MANAGEDHSM_URL");
    let told = hsm.akv("doctor --pkcs11");
    told.fails_with(&["failed   pkcs11-token", "set AZURE_MANAGEDHSM_URL"]);
}
