//! The forms in which people have the name of a key: by each of them the provider, `akv` and key
//! files mean the same version of the same key.

use std::fs;

use crate::support::{EC_P256, Hsm, Loading, RSA_2048, uri};

/// The names of the key `rsa`: of this version, or of the newest, which is it.
fn of_hsm(version: &str) -> Vec<String> {
    let named = [
        "managedhsm:MyHSM:rsa",
        "MANAGEDHSM:MyHSM:rsa",
        "managedhsm:MyHSM:%72sa",
        "managedhsm:vault=MyHSM,name=rsa",
        "akv:vault=MyHSM,name=rsa",
        "AKV:Name=rsa,VAULT=MyHSM",
        "akv:type=managedhsm,vault=MyHSM,name=rsa",
        "https://MyHSM.managedhsm.azure.net/keys/rsa",
        "https://myhsm.managedhsm.azure.net:443/keys/rsa/",
        "managedhsm:https://myhsm.managedhsm.azure.net/keys/rsa",
    ];
    let pinned = [
        format!("managedhsm:MyHSM:rsa?version={version}"),
        format!("managedhsm:MyHSM:rsa/{version}"),
        format!("managedhsm:vault=MyHSM,name=rsa,version={version}"),
        format!("akv:version={version},vault=MyHSM,name=rsa"),
        format!("akv:type=managedhsm,vault=MyHSM,name=rsa,version={version}"),
        format!("https://MyHSM.managedhsm.azure.net/keys/rsa/{version}"),
        format!("managedhsm:https://myhsm.managedhsm.azure.net/keys/rsa/{version}"),
    ];
    named.map(str::to_owned).into_iter().chain(pinned).collect()
}

/// The same of the key `v` of a key vault.
fn of_vault(version: &str) -> [String; 8] {
    [
        "keyvault:MyVault:v".to_owned(),
        format!("keyvault:MyVault:v/{version}"),
        format!("keyvault:MyVault:v?version={version}"),
        "keyvault:vault=MyVault,name=v".to_owned(),
        format!("akv:type=keyvault,vault=MyVault,name=v,version={version}"),
        "https://MyVault.vault.azure.net/keys/v".to_owned(),
        format!("https://myvault.vault.azure.net/keys/v/{version}"),
        format!("keyvault:https://myvault.vault.azure.net/keys/v/{version}"),
    ]
}

/// Checks that a name is the version with the public key: in the provider, in `akv`, and in a key
/// file of either form.
fn names(hsm: &Hsm, name: &str, version: &str, public: &str) {
    let shown = |key: &str| {
        let shown = hsm.openssl(Loading::AkvFirst, &["pkey", "-in", key, "-pubout"]);
        shown.succeeds()
    };
    assert_eq!(shown(name), public, "{name}");
    let told = hsm.akv(&["--json", "keys", "show", name]).succeeds();
    assert!(told.contains(version), "{name}: {told}");
    let files = [
        &["key", "pem", name][..],
        &["key", "pem", "--uri-only", name],
    ];
    let [whole, uri_only] = files.map(|line| hsm.akv(line).succeeds());
    for (content, at) in [(&whole, "whole.pem"), (&uri_only, "uri.pem")] {
        assert_eq!(shown(&hsm.write(at, content)), public, "{name}");
    }
    // Whatever the name, there is one file for the key.
    let once = hsm.write("once.pem", &whole);
    let again = hsm.openssl(Loading::AkvFirst, &["pkey", "-in", &once]);
    assert_eq!(again.succeeds(), whole, "{name}");
}

#[test]
fn each_form_of_a_name_is_the_same_key_everywhere() {
    let hsm = Hsm::start();
    let version = hsm.create("rsa", RSA_2048);
    let public = hsm.public_key(Loading::AkvFirst, &uri("rsa"));
    let public = fs::read_to_string(public).expect("a public key");
    for name in of_hsm(&version) {
        names(&hsm, &name, &version, &public);
    }
}

#[test]
fn each_form_of_a_name_of_a_key_vault_is_the_same_key_everywhere() {
    let mut hsm = Hsm::start_with(&["--vault", "MyVault"]);
    for (name, value) in hsm.exports(&["--vault", "MyVault"]) {
        hsm.set(&name, &value);
    }
    hsm.create_in("AZURE_KEYVAULT_URL", "v", r#"{"kty":"EC","crv":"P-256"}"#);
    let name = "keyvault:MyVault:v";
    let public = hsm.public_key(Loading::AkvFirst, name);
    let public = fs::read_to_string(public).expect("a public key");
    let text = hsm.openssl(Loading::AkvFirst, &["pkey", "-in", name, "-noout", "-text"]);
    let text = text.succeeds();
    let version = text.lines().find_map(|line| line.strip_prefix("Version: "));
    for name in of_vault(version.expect("a version")) {
        names(&hsm, &name, version.expect("a version"), &public);
    }
}

#[test]
fn a_new_key_is_named_in_each_form_without_a_version() {
    let hsm = Hsm::start();
    let forms = [
        "managedhsm:MyHSM:n0",
        "managedhsm:vault=MyHSM,name=n1",
        "akv:type=managedhsm,vault=MyHSM,name=n2",
        "https://MyHSM.managedhsm.azure.net/keys/n3",
    ];
    for (number, form) in forms.into_iter().enumerate() {
        let option = format!("uri:{form}");
        let line = ["genpkey", "-algorithm", "EC", "-pkeyopt", &option];
        hsm.openssl(Loading::AkvFirst, &line).succeeds();
        assert_eq!(hsm.key(&format!("n{number}"))["key"]["crv"], "P-256");
    }
    let version = hsm.create("old", EC_P256);
    let option = format!("uri:managedhsm:MyHSM:old/{version}");
    let line = ["genpkey", "-algorithm", "EC", "-pkeyopt", &option];
    hsm.openssl(Loading::AkvFirst, &line)
        .fails_with(&["the HSM chooses the version"]);
}
