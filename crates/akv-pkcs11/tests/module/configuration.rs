//! The configuration file: the TLS Offload Library's as it is, several HSMs, and each kind of
//! mistake.

use std::os::unix::fs::PermissionsExt;

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::RvError;
use cryptoki::mechanism::{Mechanism, MechanismType};
use cryptoki::object::{Attribute, ObjectClass};
use cryptoki::session::UserType;
use cryptoki::types::AuthPin;
use testing::emulator::{Options, ServedName};

use crate::support::{Hsm, P256, code, initialized, makes_calls, module, only, session};

const EC: &str = r#"{"kty":"EC-HSM","crv":"P-256"}"#;

/// The file of the TLS Offload Library, with what its own dump spells otherwise.
const OFFLOAD: &str = r#"{
  "tokens": [{"slotid": 1, "protocol": "https://", "uri": "managedhsm.azure.net",
              "resourceName": "MyHSM", "resourceType": "mhsm"}],
  "msi": {"identityMSI": false, "MSIClientID": "", "enableIMDSCache": true},
  "options": {"DisableTLSAuthentication": true},
  "log": {"directory": "/var/log", "module": {"P11Interfaces": false, "FunctionLevelTrace": false,
            "Curl": {"Level": "Off", "DisplayAsHex": false}},
          "flags": {"CloseFileAfterWrite": false, "SendToFile": true, "SendToStdOut": false,
            "SendToStdErr": false, "IncludeProcessId": true, "IncludeThreadId": true, "IncludePINs": true}},
  "ConnectionCache": {"Disable": false, "MaxConnections": 3},
  "unheardOf": 1
}"#;

#[test]
fn the_tls_offload_librarys_file_is_taken_as_it_is() {
    if !makes_calls() {
        let mut hsm = Hsm::start();
        hsm.rest.create("k", EC);
        hsm.configure(OFFLOAD);
        let told = hsm.run();
        for words in ["DisableTLSAuthentication", "IncludePINs", "'unheardOf'"] {
            assert!(told.contains(words), "{told}");
        }
        assert!(!told.contains("enableIMDSCache"), "{told}");
        return assert_eq!(hsm.count("sign"), 1);
    }
    let pkcs11 = initialized();
    let slots = pkcs11.get_slots_with_token().unwrap();
    let ids: Vec<u64> = slots.iter().map(cryptoki::slot::Slot::id).collect();
    assert_eq!(ids, [1]);
    assert_eq!(pkcs11.get_token_info(slots[0]).unwrap().label(), "MyHSM");
    sign_with_k(&pkcs11);
}

fn sign_with_k(pkcs11: &Pkcs11) {
    let session = session(pkcs11);
    let key = only(
        &session,
        &[
            Attribute::Label(b"k".to_vec()),
            Attribute::Class(ObjectClass::PRIVATE_KEY),
        ],
    );
    session.sign(&Mechanism::Ecdsa, key, &[1; 32]).unwrap();
}

#[test]
fn no_idle_connection_is_kept_where_the_file_says_so() {
    if !makes_calls() {
        let mut hsm = Hsm::start();
        hsm.rest.create("k", EC);
        for keeps_none in [false, true] {
            hsm.configure(
                &OFFLOAD.replace("\"Disable\": false", &format!("\"Disable\": {keeps_none}")),
            );
            let (before, requests) = (hsm.emulator.connections(), hsm.requests().len());
            let told = hsm.run();
            assert!(!told.contains("'ConnectionCache.Disable'"), "{told}");
            let requests = hsm.requests().len() - requests;
            // One loads the key, three sign with it.
            assert_eq!(requests, 4);
            let expected = if keeps_none { 4 } else { 1 };
            assert_eq!(hsm.emulator.connections() - before, expected);
        }
        return;
    }
    let pkcs11 = initialized();
    let session = session(&pkcs11);
    let label = Attribute::Label(b"k".to_vec());
    let class = Attribute::Class(ObjectClass::PRIVATE_KEY);
    let key = only(&session, &[label, class]);
    for _ in 0..3 {
        session.sign(&Mechanism::Ecdsa, key, &[1; 32]).unwrap();
    }
}

#[test]
fn an_error_names_a_setting_as_this_modules_users_have_it() {
    if !makes_calls() {
        let mut hsm = Hsm::start();
        hsm.set("AKV_CA_FILE", "/nowhere/ca.pem");
        let check = |hsm: &Hsm| {
            let told = hsm.run();
            assert!(
                told.contains("AKV_CA_FILE (or 'caFile' in mhsm-pkcs11.conf)"),
                "{told}"
            );
            assert!(told.contains("/nowhere/ca.pem"), "{told}");
            assert!(!told.contains("openssl.cnf"), "{told}");
        };
        check(&hsm);
        hsm.unset("AKV_CA_FILE");
        hsm.configure(r#"{"tokens":[{"resourceName":"localhost","caFile":"/nowhere/ca.pem"}]}"#);
        return check(&hsm);
    }
    // No request could be made, so there is no token: whoever looks for it is told why.
    let pkcs11 = initialized();
    let slot = pkcs11.get_all_slots().unwrap()[0];
    assert_eq!(code(pkcs11.get_token_info(slot)), RvError::TokenNotPresent);
}

#[test]
fn a_trace_is_written_where_the_file_says_and_has_no_secret() {
    if !makes_calls() {
        let mut hsm = Hsm::start();
        hsm.rest.create("k", EC);
        hsm.unset("AZURE_CLI_ACCESS_TOKEN");
        let token = hsm.emulator.token.clone();
        hsm.set("TEST_TOKEN", token.clone());
        // How a line looks is for the variable to say, with the file's log, too.
        for (format, first) in [("text", "["), ("json", "{")] {
            let folder = hsm.folder.path().join(format);
            std::fs::create_dir(&folder).unwrap();
            let text = OFFLOAD
                .replace("\"P11Interfaces\": false", "\"P11Interfaces\": true")
                .replace("/var/log", folder.to_str().expect("text"));
            hsm.configure(&text);
            hsm.set("AKV_LOG_FORMAT", format);
            hsm.run();
            let files = std::fs::read_dir(&folder).unwrap();
            let mut names = files.map(|file| file.unwrap().path());
            let log = names.find(|path| path.extension().is_some_and(|end| end == "log"));
            let log = std::fs::read_to_string(log.expect("a log")).unwrap();
            for words in [
                "slot 1: managedhsm:MyHSM at https://localhost",
                "C_Login",
                "C_FindObjectsInit",
                "C_Sign",
                "C_Logout: 0x101",
            ] {
                assert!(log.contains(words), "{words}: {log}");
            }
            assert!(log.lines().all(|line| line.starts_with(first)), "{log}");
            assert!(!log.contains(&token), "{log}");
        }
        return;
    }
    let pkcs11 = initialized();
    let session = session(&pkcs11);
    let pin = AuthPin::new(std::env::var("TEST_TOKEN").unwrap().into());
    session.login(UserType::User, Some(&pin)).unwrap();
    let label = Attribute::Label(b"k".to_vec());
    let key = only(
        &session,
        &[label, Attribute::Class(ObjectClass::PRIVATE_KEY)],
    );
    session.sign(&Mechanism::Ecdsa, key, &[1; 32]).unwrap();
    session.logout().unwrap();
    assert_eq!(code(session.logout()), RvError::UserNotLoggedIn);
}

#[test]
fn each_slot_has_its_own_hsm() {
    if !makes_calls() {
        let name = |text: &str| -> ServedName { text.parse().unwrap() };
        let mut hsm = Hsm::start_with(Options {
            hsms: vec![name("FirstHSM:0"), name("SecondHSM:0")],
            ..Options::default()
        });
        let url = |wanted: &str| {
            let further = hsm.emulator.further.iter();
            let found = further.filter(|(name, _)| name.eq_ignore_ascii_case(wanted));
            found.map(|(_, url)| url.clone()).next()
        };
        let first = url("FirstHSM").unwrap_or_else(|| hsm.emulator.url.clone());
        let second = url("SecondHSM").unwrap_or_else(|| hsm.emulator.url.clone());
        assert_ne!(first, second);
        hsm.unset("AZURE_MANAGEDHSM_URL");
        hsm.configure(&format!(
            r#"{{"tokens":[{{"slotid":7,"resourceName":"FirstHSM","endpoint":"{first}"}},
                {{"slotid":9,"resourceName":"SecondHSM","endpoint":"{second}","label":"the second"}},
                {{"slotid":11,"resourceName":"no_name"}}]}}"#
        ));
        let told = hsm.run();
        return assert!(told.contains("'tokens[2].resourceName'"), "{told}");
    }
    let pkcs11 = initialized();
    let slots = pkcs11.get_slots_with_token().unwrap();
    assert_eq!(slots.len(), 2);
    assert_eq!(pkcs11.get_all_slots().unwrap().len(), 3);
    let bad = pkcs11.get_all_slots().unwrap()[2];
    assert_eq!(code(pkcs11.open_ro_session(bad)), RvError::TokenNotPresent);
    let token = pkcs11.get_token_info(slots[1]).unwrap();
    assert_eq!(token.label(), "the second");
    let sessions = [0, 1].map(|at| pkcs11.open_rw_session(slots[at]).unwrap());
    let public = [
        Attribute::Token(true),
        Attribute::Label(b"in the first".to_vec()),
        Attribute::EcParams(P256.to_vec()),
    ];
    let (_, key) = sessions[0]
        .generate_key_pair(
            &Mechanism::EccKeyPairGen,
            &public,
            &[Attribute::Token(true)],
        )
        .unwrap();
    assert_eq!(sessions[1].find_objects(&[]).unwrap(), []);
    let elsewhere = sessions[1].sign(&Mechanism::Ecdsa, key, &[1; 32]);
    assert_eq!(code(elsewhere), RvError::KeyHandleInvalid);
}

#[test]
fn named_keys_need_no_right_to_list() {
    if !makes_calls() {
        let mut hsm = Hsm::start();
        for name in ["one", "two", "three"] {
            hsm.rest.create(name, EC);
        }
        hsm.configure(r#"{"tokens":[{"resourceName":"localhost","keys":["one","two"]}]}"#);
        let before = hsm.requests().len();
        hsm.run();
        let requests = &hsm.requests()[before..];
        assert_eq!(requests.len(), 2, "{requests:?}");
        return assert_eq!(hsm.count("keys"), 0);
    }
    let pkcs11 = initialized();
    let session = session(&pkcs11);
    assert_eq!(session.find_objects(&[]).unwrap().len(), 4);
    let three = [Attribute::Label(b"three".to_vec())];
    assert_eq!(session.find_objects(&three).unwrap(), []);
    assert_eq!(session.find_objects(&[]).unwrap().len(), 4);
}

#[test]
fn each_mistake_is_named_with_its_place() {
    let cases = [
        ("{", "is not JSON"),
        ("[]", "is not a JSON object"),
        ("{}", "'tokens'"),
        (r#"{"tokens":5}"#, "'tokens'"),
        (
            r#"{"tokens":[{"resourceName":"abc","RESOURCENAME":"abd"}]}"#,
            "has the key 'RESOURCENAME' twice at line 1",
        ),
        (
            r#"{"tokens":[{"resourceName":"abc"}],"allowDelete":false,"allowDelete":true}"#,
            "has the key 'allowDelete' twice at line 1",
        ),
        (r#"{"tokens":[{"slotid":"one"}]}"#, "'tokens[0].slotid'"),
        (
            r#"{"tokens":[{"slotid":1,"resourceName":"abc"},{"slotid":1,"resourceName":"abc"}]}"#,
            "there is another slot 1",
        ),
        (
            r#"{"tokens":[{"resourceName":"abc"}],"random":"dice"}"#,
            "'dice' is neither hsm nor local",
        ),
        (
            r#"{"tokens":[{"resourceName":"abc"}],"allowDelete":"yes"}"#,
            "'allowDelete'",
        ),
        (
            r#"{"tokens":[{"resourceName":"abc"}],"logins":{"cu1":{}}}"#,
            "'logins.cu1.clientId'",
        ),
        (
            r#"{"tokens":[{"resourceName":"abc"}],"logins":{"cu:1":{"clientId":"1"}}}"#,
            "'logins.cu:1'",
        ),
        (
            r#"{"tokens":[{"resourceName":"abc"}],"logins":{"c":{"clientId":"1","tenantId":"../x"}}}"#,
            "'logins.c.tenantId'",
        ),
        (
            r#"{"tokens":[{"resourceName":"abc"}],"msi":{"identityMSI":"yes"}}"#,
            "'msi.identityMSI'",
        ),
        (r#"{"tokens":[{"resourceName":"abc"}],"msi":[]}"#, "'msi'"),
        (
            r#"{"tokens":[{"resourceName":"abc"}],"options":{"DisableTLSAuthentication":1}}"#,
            "'options.DisableTLSAuthentication'",
        ),
        (
            r#"{"tokens":[{"resourceName":"abc"}],"ConnectionCache":{"Disable":1}}"#,
            "'ConnectionCache.Disable'",
        ),
        (
            r#"{"tokens":[{"resourceName":"abc"}],"ConnectionCache":{"MaxConnections":"many"}}"#,
            "'maxConnections' in ConnectionCache",
        ),
        (
            r#"{"tokens":[{"resourceName":"abc","maxRetries":1}],"maxRetries":1000}"#,
            "'maxRetries' in ",
        ),
    ];
    if !makes_calls() {
        let mut hsm = Hsm::start();
        for (text, words) in cases {
            hsm.configure(text);
            let told = hsm.run();
            assert!(told.contains(words), "{text}: {told}");
        }
        let path = hsm.configure(r#"{"tokens":[{"resourceName":"localhost"}]}"#);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o666)).unwrap();
        let told = hsm.run();
        return assert!(told.contains("chmod go-w"), "{told}");
    }
    let pkcs11 = Pkcs11::new(module()).unwrap();
    let args = CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK);
    assert_eq!(code(pkcs11.initialize(args)), RvError::FunctionFailed);
}

#[test]
fn a_label_that_two_tokens_have_is_told() {
    if !makes_calls() {
        let mut hsm = Hsm::start();
        for (second, is_told) in [("", true), (r#","label":"other""#, false)] {
            hsm.configure(&format!(
                r#"{{"tokens":[{{"slotid":3,"resourceName":"localhost"}},
                    {{"slotid":4,"resourceName":"localhost"{second}}}]}}"#
            ));
            let told = hsm.run();
            for words in ["'tokens[1].label' in ", "slot 3 is 'localhost' as well"] {
                assert_eq!(told.contains(words), is_told, "{told}");
            }
        }
        return;
    }
    assert_eq!(initialized().get_slots_with_token().unwrap().len(), 2);
}

#[test]
fn two_tokens_that_a_variable_leads_to_one_address_are_told() {
    if !makes_calls() {
        let mut hsm = Hsm::start();
        let url = hsm.emulator.url.clone();
        let own = format!(r#","endpoint":"{url}""#).replace("localhost", "127.0.0.1");
        for (name, endpoint, is_told) in [
            ("another", "", true),
            ("another", own.as_str(), false),
            ("LOCALHOST", r#","label":"other""#, false),
        ] {
            hsm.configure(&format!(
                r#"{{"tokens":[{{"resourceName":"localhost"}},{{"resourceName":"{name}"{endpoint}}}]}}"#
            ));
            let told = hsm.run();
            let words = "as is 'localhost' in slot 0, so that both have the same keys";
            assert_eq!(told.contains(words), is_told, "{name}{endpoint}: {told}");
        }
        return;
    }
    assert_eq!(initialized().get_slots_with_token().unwrap().len(), 2);
}

#[test]
fn a_token_of_no_use_leaves_its_slot_empty() {
    let cases = [
        (r#"{"slotid":0}"#, "'tokens[0].resourceName'"),
        (
            r#"{"resourceName":"abc","resourceType":"disk"}"#,
            "'disk' is neither mhsm nor vault",
        ),
        (
            r#"{"resourceName":"abc","protocol":"http://"}"#,
            "never sent in the clear",
        ),
        (
            r#"{"resourceName":"abc","endpoint":"http://x"}"#,
            "'tokens[0].endpoint'",
        ),
        (
            r#"{"resourceName":"abc","endpoint":"https://me:hunter2@x"}"#,
            "it is not https://<host>[:<port>]",
        ),
        (
            r#"{"resourceName":"abc","keys":["a_b"]}"#,
            "'tokens[0].keys'",
        ),
        (r#"{"resourceName":"abc","keys":[]}"#, "it names no key"),
        (
            r#"{"resourceName":"abc","keys":["web","b*","WEB"]}"#,
            "it names 'WEB' twice",
        ),
        (
            r#"{"resourceName":"abc","maxRetries":1000}"#,
            "'maxRetries' in tokens[0]",
        ),
        (
            r#"{"resourceName":"abc","credential":"magic"}"#,
            "'credential' in tokens[0]",
        ),
    ];
    if !makes_calls() {
        let mut hsm = Hsm::start();
        for (token, words) in cases {
            hsm.configure(&format!(r#"{{"tokens":[{token}]}}"#));
            let told = hsm.run();
            assert!(told.contains(words), "{token}: {told}");
            assert!(!told.contains("hunter2"), "{told}");
        }
        return;
    }
    let pkcs11 = initialized();
    assert_eq!(pkcs11.get_slots_with_token().unwrap(), []);
    assert_eq!(pkcs11.get_all_slots().unwrap().len(), 1);
}

#[test]
fn disabled_keys_are_hidden_where_that_is_asked_for() {
    if !makes_calls() {
        let mut hsm = Hsm::start();
        let off = r#"{"kty":"EC-HSM","crv":"P-256","attributes":{"enabled":false}}"#;
        hsm.rest.create("off", off);
        hsm.rest.create("on", EC);
        hsm.configure(r#"{"tokens":[{"resourceName":"localhost","showDisabled":false}]}"#);
        hsm.run();
        return;
    }
    let pkcs11 = initialized();
    let session = session(&pkcs11);
    let found = |label: &[u8]| session.find_objects(&[Attribute::Label(label.into())]);
    assert_eq!(found(b"off").unwrap(), []);
    assert_eq!(session.find_objects(&[]).unwrap().len(), 2);
    assert_eq!(found(b"on").unwrap().len(), 2);
}

#[test]
fn keys_of_a_key_vault_are_keys_like_others() {
    if !makes_calls() {
        let mut hsm = Hsm::start_with(Options {
            vaults: vec!["MyVault:0".parse().unwrap()],
            ..Options::default()
        });
        let further = hsm.emulator.further.iter();
        let found = further.filter(|(name, _)| name.eq_ignore_ascii_case("vault MyVault"));
        let url = found.map(|(_, url)| url.clone()).next().expect("its port");
        let token = hsm
            .emulator
            .mint(testing::emulator::VAULT_AUDIENCE, 3600)
            .expect("a token");
        hsm.set("AZURE_CLI_ACCESS_TOKEN", token);
        hsm.unset("AZURE_MANAGEDHSM_URL");
        hsm.configure(&format!(
            r#"{{"tokens":[{{"resourceName":"MyVault","resourceType":"vault","endpoint":"{url}"}}]}}"#
        ));
        let told = hsm.run();
        assert!(told.contains("a key vault has no secret keys"), "{told}");
        return assert_eq!([hsm.count("sign"), hsm.count("create")], [1, 1]);
    }
    let pkcs11 = initialized();
    let session = session(&pkcs11);
    // It has no secret keys, and so no mechanisms for them.
    let aes = [Attribute::Token(true), Attribute::ValueLen(32.into())];
    let made = session.generate_key(&Mechanism::AesKeyGen, &aes);
    assert_eq!(code(made), RvError::MechanismInvalid);
    let slot = pkcs11.get_slots_with_token().unwrap()[0];
    let mechanisms = pkcs11.get_mechanism_list(slot).unwrap();
    assert!(mechanisms.contains(&MechanismType::ECDSA));
    for absent in [MechanismType::AES_KEY_GEN, MechanismType::AES_GCM] {
        assert!(!mechanisms.contains(&absent), "{absent}");
        let info = pkcs11.get_mechanism_info(slot, absent);
        assert_eq!(code(info), RvError::MechanismInvalid);
    }
    let public = [Attribute::Token(true), Attribute::EcParams(P256.to_vec())];
    let (_, key) = session
        .generate_key_pair(
            &Mechanism::EccKeyPairGen,
            &public,
            &[Attribute::Token(true)],
        )
        .unwrap();
    session.sign(&Mechanism::Ecdsa, key, &[1; 32]).unwrap();
}

#[test]
fn choices_do_what_they_say() {
    if !makes_calls() {
        let mut hsm = Hsm::start();
        hsm.configure(
            r#"{"tokens":[{"resourceName":"localhost"}],"random":"hsm","keyNames":"label",
                "strictTemplates":true,"verifySignatures":false,"allowDelete":true,
                "sessionKeys":"refuse"}"#,
        );
        hsm.emulator
            .faults
            .add("wrong-value,operation=sign")
            .expect("a fault");
        let told = hsm.run();
        assert!(told.contains("there is a key by-label already"), "{told}");
        assert!(told.contains("CKA_SENSITIVE"), "{told}");
        assert_eq!(hsm.count("rng"), 2);
        let deleted = hsm.rest.call("GET", "/deletedkeys/by-label", "");
        return assert!(deleted["recoveryId"].is_string());
    }
    let pkcs11 = initialized();
    let session = session(&pkcs11);
    // More than one request gives.
    session.generate_random_vec(200).unwrap();
    let public = [
        Attribute::Token(true),
        Attribute::Label(b"by-label".to_vec()),
        Attribute::EcParams(P256.to_vec()),
    ];
    let generate = |private: &[Attribute]| {
        session.generate_key_pair(&Mechanism::EccKeyPairGen, &public, private)
    };
    let (_, key) = generate(&public[..2]).unwrap();
    assert_eq!(code(generate(&public[..2])), RvError::FunctionFailed);
    let open = [Attribute::Token(true), Attribute::Sensitive(false)];
    assert_eq!(code(generate(&open)), RvError::TemplateInconsistent);
    let of_session = [Attribute::Token(false)];
    assert_eq!(code(generate(&of_session)), RvError::TemplateInconsistent);
    // The HSM's answer is damaged, and nobody looks.
    session.sign(&Mechanism::Ecdsa, key, &[1; 32]).unwrap();
    session.destroy_object(key).unwrap();
}

/// A daemon goes to another folder than it was started in, where files of the same names are
/// somebody else's.
#[test]
fn files_are_those_of_the_folder_in_which_the_module_is_initialised() {
    if !makes_calls() {
        let mut hsm = Hsm::start();
        hsm.rest.create("k", EC);
        std::fs::copy(&hsm.rest.ca, hsm.file("own-ca.pem")).unwrap();
        std::fs::create_dir(hsm.file("other")).unwrap();
        std::fs::write(hsm.file("other/own-ca.pem"), "not a certificate").unwrap();
        hsm.unset("AKV_CA_FILE");
        hsm.configure(r#"{"tokens":[{"resourceName":"localhost"}],"caFile":"own-ca.pem"}"#);
        hsm.set("TEST_FOLDER", hsm.file(""));
        hsm.run();
        return assert_eq!(hsm.count("sign"), 1);
    }
    let folder = std::env::var_os("TEST_FOLDER").expect("the test sets it");
    std::env::set_current_dir(&folder).unwrap();
    let pkcs11 = initialized();
    std::env::set_current_dir("other").unwrap();
    sign_with_k(&pkcs11);
}

/// A file that can't be read for now is no mistake, and the next operation succeeds.
#[test]
fn a_process_without_descriptors_left_works_once_it_has_some() {
    if !makes_calls() {
        let mut hsm = Hsm::start();
        hsm.rest.create("k", EC);
        hsm.unset("MHSM_PKCS11_CONF");
        hsm.set("AKV_CA_FILE", hsm.rest.ca.clone());
        hsm.run();
        return assert_eq!(hsm.count("sign"), 1);
    }
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let few = rustix::process::Rlimit {
        current: Some(64),
        ..limit
    };
    rustix::process::setrlimit(rustix::process::Resource::Nofile, few).unwrap();
    let pkcs11 = Pkcs11::new(module()).unwrap();
    let all: Vec<_> = std::iter::from_fn(|| std::fs::File::open("/dev/null").ok()).collect();
    let arguments = CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK);
    pkcs11.initialize(arguments).unwrap();
    drop(all);
    sign_with_k(&pkcs11);
}
