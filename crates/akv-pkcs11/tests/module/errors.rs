//! What goes wrong at the HSM: the code that a program gets, and the line that a person gets.

use std::path::Path;
use std::time::{Duration, Instant};

use cryptoki::error::RvError;
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, AttributeType, ObjectClass};
use cryptoki::session::{Session, UserType};
use cryptoki::types::AuthPin;
use testing::ReservedPort;
use testing::emulator::{AUDIENCE, Options};

use crate::support::{Hsm, code, initialized, makes_calls, only, session};

const EC: &str = r#"{"kty":"EC-HSM","crv":"P-256"}"#;
const CLIENT: &str = "33333333-0000-0000-0000-000000000001";

/// Longer than a process or a thread takes to do its part.
const PATIENCE: Duration = Duration::from_secs(60);

fn private(label: &str) -> [Attribute; 2] {
    [
        Attribute::Label(label.into()),
        Attribute::Class(ObjectClass::PRIVATE_KEY),
    ]
}

fn sign(session: &Session, label: &str) -> Result<Vec<u8>, cryptoki::error::Error> {
    session.sign(&Mechanism::Ecdsa, only(session, &private(label)), &[1; 32])
}

/// Looks for lines with these words: there are some, and no more than one a second.
fn told_once_a_second(told: &str, words: &str, started: Instant) {
    let count = told.lines().filter(|line| line.contains(words)).count();
    let most = 1 + usize::try_from(started.elapsed().as_secs()).expect("it is no year");
    assert!((1..=most).contains(&count), "{count}: {told}");
}

/// Waits for another process or thread, which makes a file when it has done its part.
pub(crate) fn wait_for(file: &Path) {
    let began = Instant::now();
    while !file.exists() {
        assert!(began.elapsed() < PATIENCE, "no {}", file.display());
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// An emulator with two keys, and a principal with these roles for whom the module asks.
fn hsm_with_roles(folder: &Path, roles: &str) -> Hsm {
    let file = folder.join("principals.json");
    let principals = format!(
        r#"[{{"client_id":"{CLIENT}","object_id":"33333333-0000-0000-0000-000000000002",
            "client_secret":"s3cret-of-tests","expired_client_secrets":["s3cret-of-before"],
            "roles":[{roles}]}}]"#
    );
    std::fs::write(&file, principals).unwrap();
    let mut hsm = Hsm::start_with(Options {
        principals: Some(file),
        ..Options::default()
    });
    hsm.rest.create("tlsKey", EC);
    hsm.rest.create("other", EC);
    hsm.unset("AZURE_CLI_ACCESS_TOKEN");
    let url = hsm.emulator.url.clone();
    hsm.set("AZURE_AUTHORITY_HOST", url);
    hsm
}

fn log_in(session: &Session) {
    let pin = AuthPin::new(format!("{CLIENT}:s3cret-of-tests").into());
    session.login(UserType::User, Some(&pin)).unwrap();
}

#[test]
fn an_expired_secret_is_told_from_a_wrong_one() {
    let folder = tempfile::tempdir().unwrap();
    if !makes_calls() {
        let hsm = hsm_with_roles(folder.path(), "");
        let told = hsm.run();
        for words in ["AADSTS7000222", "expired", "AADSTS7000215"] {
            assert!(told.contains(words), "{told}");
        }
        return assert!(!told.contains("s3cret"), "{told}");
    }
    let pkcs11 = initialized();
    let session = session(&pkcs11);
    for (secret, expected) in [
        ("s3cret-of-before", RvError::PinExpired),
        ("s3cret-of-nobody", RvError::PinIncorrect),
    ] {
        let pin = AuthPin::new(format!("{CLIENT}:{secret}").into());
        let outcome = session.login(UserType::User, Some(&pin));
        assert_eq!(code(outcome), expected, "{secret}");
    }
    log_in(&session);
}

/// The granular approach of the TLS Offload Library.
#[test]
fn whoever_may_read_all_keys_and_use_one_is_told_so_of_the_others() {
    if !makes_calls() {
        let folder = tempfile::tempdir().unwrap();
        let roles = r#"{"role":"Managed HSM Crypto Auditor","scope":"/keys"},
                       {"role":"Managed HSM Crypto User","scope":"/keys/tlsKey"}"#;
        let hsm = hsm_with_roles(folder.path(), roles);
        let told = hsm.run();
        for words in [
            "C_Sign: ",
            "HTTP 403",
            ":other",
            "request id",
            "ask for a role",
        ] {
            assert!(told.contains(words), "{told}");
        }
        return assert!(!told.contains("s3cret"), "{told}");
    }
    let pkcs11 = initialized();
    let session = session(&pkcs11);
    log_in(&session);
    let all = session.find_objects(&[Attribute::Class(ObjectClass::PRIVATE_KEY)]);
    assert_eq!(all.unwrap().len(), 2);
    sign(&session, "tlsKey").unwrap();
    let refused = code(sign(&session, "other"));
    assert_eq!(refused, RvError::KeyFunctionNotPermitted);
}

#[test]
fn whoever_may_read_one_key_finds_it_by_its_label() {
    if !makes_calls() {
        let folder = tempfile::tempdir().unwrap();
        let roles = r#"{"role":"Managed HSM Crypto User","scope":"/keys/tlsKey"}"#;
        let hsm = hsm_with_roles(folder.path(), roles);
        let told = hsm.run();
        return assert!(
            told.contains("C_FindObjectsInit: ") && told.contains("403"),
            "{told}"
        );
    }
    let pkcs11 = initialized();
    let session = session(&pkcs11);
    log_in(&session);
    sign(&session, "tlsKey").unwrap();
    // That some keys can't be seen is not told as "there are none".
    for template in [&private("other")[..], &[]] {
        let refused = code(session.find_objects(template));
        assert_eq!(refused, RvError::FunctionFailed);
    }
}

#[test]
fn whoever_may_read_one_key_finds_an_earlier_version_by_its_label_and_id() {
    if !makes_calls() {
        let folder = tempfile::tempdir().unwrap();
        let roles = r#"{"role":"Managed HSM Crypto User","scope":"/keys/tlsKey"}"#;
        let mut hsm = hsm_with_roles(folder.path(), roles);
        hsm.configure(r#"{"tokens":[{"resourceName":"localhost"}],"refreshSeconds":0}"#);
        hsm.set("TEST_URL", hsm.rest.url.clone());
        hsm.set("TEST_CA", hsm.rest.ca.clone());
        hsm.set("TEST_TOKEN", hsm.rest.token.clone());
        return drop(hsm.run());
    }
    let pkcs11 = initialized();
    let session = session(&pkcs11);
    log_in(&session);
    let by_label = private("tlsKey");
    let earlier = only(&session, &by_label);
    let id = session
        .get_attributes(earlier, &[AttributeType::Id])
        .unwrap();
    let by_both = [&by_label[..], &id].concat();
    let owner = testing::Rest {
        url: std::env::var("TEST_URL").unwrap(),
        ca: std::env::var("TEST_CA").unwrap().into(),
        token: std::env::var("TEST_TOKEN").unwrap(),
    };
    owner.rotate("tlsKey");
    assert_ne!(only(&session, &by_label), earlier);
    assert_eq!(only(&session, &by_both), earlier);
}

#[test]
fn keys_that_can_not_be_read_are_left_out_and_told_of() {
    if !makes_calls() {
        let folder = tempfile::tempdir().unwrap();
        let roles = r#"{"role":"Managed HSM Crypto User","scope":"/keys/tlsKey"}"#;
        let mut hsm = hsm_with_roles(folder.path(), roles);
        hsm.configure(
            r#"{"tokens":[{"resourceName":"localhost","keys":["tlsKey","other","gone"]}]}"#,
        );
        let told = hsm.run();
        assert!(
            told.contains("2 of the keys can't be read, such as: "),
            "{told}"
        );
        return assert!(told.contains("HTTP 403"), "{told}");
    }
    let pkcs11 = initialized();
    let session = session(&pkcs11);
    log_in(&session);
    // Also by each search that comes after the one that has found that out.
    for class in [
        ObjectClass::PRIVATE_KEY,
        ObjectClass::PUBLIC_KEY,
        ObjectClass::PRIVATE_KEY,
    ] {
        let all = session.find_objects(&[Attribute::Class(class)]);
        assert_eq!(all.unwrap().len(), 1);
    }
    let nowhere = session.find_objects(&[Attribute::Id(vec![7; 20])]);
    assert!(nowhere.unwrap().is_empty());
    sign(&session, "tlsKey").unwrap();
}

/// The service may have keys of types that are new: they don't hide the others. One that is sought
/// by its name is an error with the reason, as is an HSM that has no others.
#[test]
fn a_key_that_is_not_understood_hides_no_other() {
    if !makes_calls() {
        let mut hsm = Hsm::start();
        hsm.rest.create("tlsKey", EC);
        hsm.rest.create("new", EC);
        hsm.configure(r#"{"tokens":[{"resourceName":"localhost"}],"maxRetries":0}"#);
        hsm.emulator
            .faults
            .add("malformed-json,path=/keys/new")
            .expect("a fault");
        hsm.set("TEST_FOUND", "1");
        let told = hsm.run();
        let words = "1 of the keys can't be read, such as: load key managedhsm:localhost:new";
        assert!(told.contains(words), "{told}");
        hsm.rest.call("DELETE", "/keys/tlsKey", "");
        hsm.set("TEST_FOUND", "none");
        hsm.run();
        return;
    }
    let pkcs11 = initialized();
    let session = session(&pkcs11);
    let by_name = session.find_objects(&private("new"));
    assert_eq!(code(by_name), RvError::DeviceError);
    let all = session.find_objects(&private("new")[1..]);
    match std::env::var("TEST_FOUND").unwrap().as_str() {
        "1" => assert_eq!(all.unwrap().len(), 1),
        _ => assert_eq!(code(all), RvError::DeviceError),
    }
}

#[test]
fn an_hsm_that_is_away_is_a_device_error_told_once_a_second() {
    if !makes_calls() {
        let mut hsm = Hsm::start();
        hsm.rest.create("k", EC);
        let nobody = ReservedPort::take();
        hsm.set("AZURE_MANAGEDHSM_URL", nobody.url());
        // A search that ended by its deadline would be another failure, and be told as well.
        hsm.set("AKV_MAX_RETRIES", "0");
        let started = Instant::now();
        let told = hsm.run();
        told_once_a_second(&told, "C_FindObjectsInit", started);
        return assert!(told.contains("Connection refused"), "{told}");
    }
    let pkcs11 = initialized();
    let session = session(&pkcs11);
    for _ in 0..10 {
        let outcome = session.find_objects(&private("k"));
        assert_eq!(code(outcome), RvError::DeviceError);
    }
}

/// Each refusal has ids of its own, which make no other failure of it. A log has every request that
/// failed besides, as the provider's has.
#[test]
fn a_refusal_that_comes_again_is_told_once_a_second_in_a_log_as_well() {
    if !makes_calls() {
        let mut hsm = Hsm::start();
        hsm.rest.create("k", EC);
        hsm.set("AKV_MAX_RETRIES", "0");
        hsm.emulator
            .faults
            .add("internal-error,operation=sign")
            .expect("a fault");
        let started = Instant::now();
        let told = hsm.run();
        told_once_a_second(&told, "akv_pkcs11: C_Sign: sign with managedhsm:", started);
        assert_eq!(
            told.matches("HTTP 500").count(),
            told.matches("C_Sign: ").count()
        );
        hsm.set("AKV_LOG_LEVEL", "error");
        let started = Instant::now();
        let told = hsm.run();
        told_once_a_second(&told, "] C_Sign: sign with managedhsm:", started);
        let requests = told.lines().filter(|line| line.contains(" request_id="));
        return assert_eq!(requests.count(), 50, "{told}");
    }
    let pkcs11 = initialized();
    let session = session(&pkcs11);
    for _ in 0..50 {
        assert_eq!(code(sign(&session, "k")), RvError::DeviceError);
    }
}

#[test]
fn a_request_that_the_service_is_too_slow_for_is_a_device_error() {
    if !makes_calls() {
        let mut hsm = Hsm::start();
        hsm.rest.create("k", EC);
        hsm.set("AKV_MAX_RETRIES", "0");
        hsm.emulator
            .faults
            .add("request-timeout,operation=sign")
            .expect("a fault");
        let told = hsm.run();
        return assert!(told.contains("HTTP 408"), "{told}");
    }
    let pkcs11 = initialized();
    let outcome = sign(&session(&pkcs11), "k");
    assert_eq!(code(outcome), RvError::DeviceError);
}

#[test]
fn keys_that_are_known_serve_on_while_the_hsm_gives_no_list() {
    if !makes_calls() {
        let mut hsm = Hsm::start();
        hsm.rest.create("k", EC);
        hsm.configure(
            r#"{"tokens":[{"resourceName":"localhost"}],"refreshSeconds":0,"maxRetries":0}"#,
        );
        let (faults, folder) = (hsm.emulator.faults.clone(), hsm.folder.path().to_owned());
        hsm.set("TEST_FOLDER", folder.clone());
        let after_the_first = std::thread::spawn(move || {
            wait_for(&folder.join("has-found"));
            faults
                .add("internal-error,operation=keys")
                .expect("a fault");
            std::fs::write(folder.join("has-fault"), "").expect("a file");
        });
        let started = Instant::now();
        let told = hsm.run();
        after_the_first.join().expect("it has set the fault");
        return told_once_a_second(&told, "serve on", started);
    }
    let folder = std::env::var_os("TEST_FOLDER").expect("the test sets it");
    let folder = Path::new(&folder);
    let pkcs11 = initialized();
    let session = session(&pkcs11);
    assert_eq!(session.find_objects(&[]).unwrap().len(), 2);
    std::fs::write(folder.join("has-found"), "").unwrap();
    wait_for(&folder.join("has-fault"));
    for _ in 0..5 {
        assert_eq!(session.find_objects(&[]).unwrap().len(), 2);
    }
}

#[test]
fn an_answer_that_is_no_signature_is_a_device_error_and_no_signature() {
    if !makes_calls() {
        let hsm = Hsm::start();
        hsm.rest.create("k", EC);
        for fault in ["wrong-value", "wrong-length", "malformed-json"] {
            hsm.emulator.faults.clear();
            hsm.emulator
                .faults
                .add(&format!("{fault},operation=sign"))
                .unwrap();
            let told = hsm.run();
            assert!(told.contains("C_Sign: "), "{fault}: {told}");
        }
        return;
    }
    let pkcs11 = initialized();
    let session = session(&pkcs11);
    assert_eq!(code(sign(&session, "k")), RvError::DeviceError);
}

#[test]
fn a_token_that_has_expired_asks_for_another_login_or_is_a_device_error() {
    if !makes_calls() {
        let mut hsm = Hsm::start();
        hsm.rest.create("k", EC);
        let old = hsm.emulator.mint(AUDIENCE, -10).expect("a token");
        hsm.set("AZURE_CLI_ACCESS_TOKEN", old);
        let told = hsm.run();
        assert!(told.contains("expired at"), "{told}");
        hsm.unset("AZURE_CLI_ACCESS_TOKEN");
        let short = hsm.emulator.mint(AUDIENCE, 6).expect("a token");
        hsm.set("TEST_TOKEN", short);
        hsm.run();
        return;
    }
    let pkcs11 = initialized();
    let session = session(&pkcs11);
    let Ok(token) = std::env::var("TEST_TOKEN") else {
        let outcome = session.find_objects(&private("k"));
        return assert_eq!(code(outcome), RvError::DeviceError);
    };
    let pin = AuthPin::new(token.into());
    session.login(UserType::User, Some(&pin)).unwrap();
    let key = only(&session, &private("k"));
    let sign = || session.sign(&Mechanism::Ecdsa, key, &[1; 32]);
    sign().unwrap();
    let refused = std::iter::repeat_with(sign).find(Result::is_err);
    assert_eq!(code(refused.unwrap()), RvError::UserNotLoggedIn);
    // As GnuTLS does then.
    session.logout().unwrap();
    let outcome = session.login(UserType::User, Some(&pin));
    assert_eq!(code(outcome), RvError::PinExpired);
}

/// p11-kit loads the module into programs that want none of it, so that standard error hears of a
/// mistake and not of what was never set up.
#[test]
fn who_looks_for_a_token_that_is_not_there_is_told_why() {
    if !makes_calls() {
        let mut hsm = Hsm::start();
        let url = hsm.emulator.url.clone();
        hsm.unset("AZURE_MANAGEDHSM_URL");
        assert!(!hsm.run().contains("akv pkcs11 check"));
        let tells = |hsm: &Hsm, words: &str| {
            let told = hsm.run();
            assert_eq!(told.matches(words).count(), 1, "{told}");
            told
        };
        hsm.set("AKV_LOG_LEVEL", "warn");
        let told = tells(
            &hsm,
            "it is not known which HSM to ask: set AZURE_MANAGEDHSM_URL",
        );
        assert!(told.contains("akv pkcs11 check"), "{told}");
        hsm.unset("AKV_LOG_LEVEL");
        hsm.set("AZURE_MANAGEDHSM_URL", url);
        hsm.set("AKV_CA_FILE", "/nowhere/ca.pem");
        tells(&hsm, "the setting AKV_CA_FILE");
        return;
    }
    let pkcs11 = initialized();
    for _ in 0..3 {
        assert_eq!(pkcs11.get_slots_with_token().unwrap(), []);
    }
}
