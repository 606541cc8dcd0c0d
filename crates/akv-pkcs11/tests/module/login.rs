//! Logging in: as whom the HSM is asked, and what a PIN may be.

use std::os::unix::fs::PermissionsExt;

use cryptoki::error::RvError;
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, ObjectClass};
use cryptoki::session::UserType;
use cryptoki::types::AuthPin;
use testing::emulator::{OWNER_CLIENT, Options, TENANT};

use crate::processes::program;
use crate::support::{Hsm, code, initialized, makes_calls, module, only, session, slot};

const EC: &str = r#"{"kty":"EC-HSM","crv":"P-256"}"#;

/// An emulator whose identity is the program's PIN.
pub(crate) fn hsm() -> Hsm {
    let mut hsm = Hsm::start_with(Options::default());
    hsm.rest.create("k", EC);
    hsm.unset("AZURE_CLI_ACCESS_TOKEN");
    let (url, secret) = (
        hsm.emulator.url.clone(),
        hsm.emulator.client_secret().unwrap(),
    );
    hsm.set("AZURE_AUTHORITY_HOST", url);
    hsm.set("TEST_SECRET", secret);
    let token = hsm.emulator.token.clone();
    hsm.set("TEST_TOKEN", token);
    hsm
}

fn variable(name: &str) -> String {
    std::env::var(name).expect("the test sets it")
}

fn pin(text: &str) -> AuthPin {
    AuthPin::new(text.into())
}

#[test]
fn a_pin_is_a_credential_in_any_of_its_forms() {
    if !makes_calls() {
        let mut hsm = hsm();
        hsm.set("MHSM_CLIENT_ID", OWNER_CLIENT);
        hsm.configure(&format!(
            r#"{{"tokens":[{{"slotId":4,"resourceName":"localhost"}}],
                "logins":{{"cu1":{{"clientId":"{OWNER_CLIENT}"}}}}}}"#
        ));
        let told = hsm.run();
        let secret = hsm.emulator.client_secret().unwrap();
        return assert!(!told.contains(&secret), "{told}");
    }
    let (secret, token) = (variable("TEST_SECRET"), variable("TEST_TOKEN"));
    let pkcs11 = initialized();
    assert_eq!(slot(&pkcs11).id(), 4);
    assert!(
        pkcs11
            .get_token_info(slot(&pkcs11))
            .unwrap()
            .login_required()
    );
    let session = session(&pkcs11);
    let template = [
        Attribute::Label(b"k".to_vec()),
        Attribute::Class(ObjectClass::PRIVATE_KEY),
    ];
    for text in [
        format!("{OWNER_CLIENT}:{secret}"),
        format!("{OWNER_CLIENT}@{TENANT}:{secret}"),
        format!("cu1:{secret}"),
        secret,
        token,
    ] {
        // Before the login there are no keys; that is no error.
        assert_eq!(session.find_objects(&template).unwrap(), []);
        session.login(UserType::User, Some(&pin(&text))).unwrap();
        let key = only(&session, &template);
        session.sign(&Mechanism::Ecdsa, key, &[1; 32]).unwrap();
        session.logout().unwrap();
        let after = session.sign(&Mechanism::Ecdsa, key, &[1; 32]);
        assert_eq!(code(after), RvError::UserNotLoggedIn);
    }
}

#[test]
fn a_wrong_pin_is_told_from_an_hsm_that_can_not_be_asked() {
    if !makes_calls() {
        let mut hsm = hsm();
        let told = hsm.run();
        for words in ["AADSTS7000215", "expected <client id>:<secret>"] {
            assert!(told.contains(words), "{told}");
        }
        assert!(!told.contains("not-the-secret"), "{told}");
        let nobody = testing::ReservedPort::take();
        hsm.set("AZURE_AUTHORITY_HOST", nobody.url());
        hsm.set("TEST_NOBODY", "yes");
        hsm.run();
        return;
    }
    let pkcs11 = initialized();
    let session = session(&pkcs11);
    if std::env::var_os("TEST_NOBODY").is_some() {
        let right = format!("{OWNER_CLIENT}:{}", variable("TEST_SECRET"));
        let outcome = session.login(UserType::User, Some(&pin(&right)));
        return assert_eq!(code(outcome), RvError::DeviceError);
    }
    for text in [
        format!("{OWNER_CLIENT}:not-the-secret"),
        "not-the-secret".to_owned(),
        "a b:not-the-secret".to_owned(),
        String::new(),
    ] {
        let outcome = session.login(UserType::User, Some(&pin(&text)));
        assert_eq!(code(outcome), RvError::PinIncorrect, "{text}");
    }
    assert_eq!(
        code(session.login(UserType::User, None)),
        RvError::PinIncorrect
    );
    // It can still be done right.
    let right = format!("{OWNER_CLIENT}:{}", variable("TEST_SECRET"));
    session.login(UserType::User, Some(&pin(&right))).unwrap();
}

/// What stands before the first colon of a PIN may be the beginning of a secret.
#[test]
fn no_part_of_a_secret_with_a_colon_is_told_or_sent_as_an_applications_id() {
    if !makes_calls() {
        let mut hsm = hsm();
        hsm.set("AKV_LOG_LEVEL", "trace");
        for (known, words) in [(true, "AADSTS7000215"), (false, "AADSTS700016")] {
            match known {
                true => hsm.set("MHSM_CLIENT_ID", OWNER_CLIENT),
                false => hsm.unset("MHSM_CLIENT_ID"),
            }
            let told = hsm.run();
            assert!(told.contains(words), "{known}: {told}");
            for part in ["TopSecretHalf1", "TheOtherHalf"] {
                assert!(!told.contains(part), "{known}: {told}");
            }
        }
        return;
    }
    let pkcs11 = initialized();
    let session = session(&pkcs11);
    for text in [
        "TopSecretHalf1:TheOtherHalf",
        "TopSecretHalf1@TopSecretHalf12:TheOtherHalf",
    ] {
        let outcome = session.login(UserType::User, Some(&pin(text)));
        assert!(outcome.is_err(), "{text}");
    }
    // An id of Entra ID's names an application whoever is known.
    let right = format!("{OWNER_CLIENT}@{TENANT}:{}", variable("TEST_SECRET"));
    session.login(UserType::User, Some(&pin(&right))).unwrap();
}

#[test]
fn a_users_name_is_an_application_whatever_its_id_is() {
    let mut hsm = hsm();
    hsm.set("MHSM_CLIENT_ID", OWNER_CLIENT);
    hsm.configure(&format!(
        r#"{{"tokens":[{{"resourceName":"localhost"}}],
            "logins":{{"cu1":{{"clientId":"{OWNER_CLIENT}"}}}}}}"#
    ));
    let secret = hsm.emulator.client_secret().unwrap();
    let whole = format!("{OWNER_CLIENT}@{TENANT}");
    let mut command = hsm.command(program(&hsm, "login_user"));
    command.arg(module());
    for (code, name) in [
        ("0", OWNER_CLIENT),
        ("0", &whole),
        ("0", "cu1"),
        ("0", ""),
        ("a0", "nobody"),
        ("a0", "no id"),
    ] {
        command.args([code, name, &secret]);
    }
    let output = command.output().expect("it runs");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{:?}\n{told}", output.status);
    for words in ["'nobody' was not found", "that is no application's id"] {
        assert!(told.contains(words), "{told}");
    }
    assert!(!told.contains(&secret), "{told}");
}

/// A library in somebody else's process has no business to start programs there.
#[test]
fn no_program_is_started_unless_its_credential_is_named() {
    if !makes_calls() {
        let mut hsm = Hsm::start();
        hsm.rest.create("k", r#"{"kty":"EC-HSM","crv":"P-256"}"#);
        hsm.unset("AZURE_CLI_ACCESS_TOKEN");
        let (tools, started) = (hsm.file("tools"), hsm.file("started"));
        std::fs::create_dir(&tools).unwrap();
        for name in ["az", "azd", "pwsh"] {
            let text = format!("#!/bin/sh\necho $0 >>{}\nexit 1\n", started.display());
            let tool = tools.join(name);
            std::fs::write(&tool, text).unwrap();
            std::fs::set_permissions(&tool, std::fs::Permissions::from_mode(0o755)).unwrap();
        }
        hsm.set("PATH", format!("{}:/usr/bin:/bin", tools.display()));
        // Something to be asked as, which fails, and all others after it.
        let nobody = testing::ReservedPort::take();
        hsm.set("IDENTITY_ENDPOINT", nobody.url());
        hsm.set("IDENTITY_HEADER", "x");
        hsm.set("AKV_OPERATION_TIMEOUT", "5");
        for (credential, is_started) in
            [("", false), (r#","credential":"AzureCliCredential""#, true)]
        {
            hsm.configure(&format!(
                r#"{{"tokens":[{{"resourceName":"localhost"{credential}}}]}}"#
            ));
            let told = hsm.run();
            assert_eq!(started.exists(), is_started, "{credential}: {told}");
        }
        return;
    }
    let pkcs11 = initialized();
    let refused = session(&pkcs11).find_objects(&[]);
    assert_eq!(code(refused), RvError::DeviceError);
}
