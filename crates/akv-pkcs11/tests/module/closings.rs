//! What is left of sessions that are closed, and of users who are logged out, also while a call is
//! under way.

use std::io::Write;
use std::process::Stdio;
use std::time::Duration;

use cryptoki::error::RvError;
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, AttributeType};
use cryptoki::session::{Session, UserType};
use cryptoki::types::AuthPin;
use testing::emulator::OWNER_CLIENT;

use crate::login;
use crate::processes::program;
use crate::support::{Hsm, P256, code, initialized, makes_calls, module, session};

/// The keys in the HSM that were made for a session.
fn left_behind(hsm: &Hsm) -> usize {
    let keys = hsm.rest.call("GET", "/keys", "");
    let keys = keys["value"].as_array().expect("a list");
    let marked = keys
        .iter()
        .filter(|key| key["tags"]["p11_session"].is_string());
    marked.count()
}

/// Has a call made that waits for the answer to `operation`, and what ends its session meanwhile.
fn end_meanwhile(call: &str, end: &str, by_pin: bool, operation: &str) {
    let (hsm, pin) = match by_pin {
        true => {
            let hsm = login::hsm();
            let secret = hsm.emulator.client_secret().expect("it has one");
            (hsm, format!("{OWNER_CLIENT}:{secret}"))
        }
        false => (Hsm::start(), String::new()),
    };
    let fault = format!("slow-first-byte,operation={operation},count=1,delay_ms=3000");
    hsm.emulator.faults.add(&fault).expect("a fault");
    let requests = &hsm.emulator.requests;
    let before = requests.list().len();
    let mut process = hsm
        .command(program(&hsm, "closed"))
        .arg(module())
        .args([call, end, &pin])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it runs");
    let is_asked = requests.wait_until(Duration::from_secs(60), |requests| {
        let mut new = requests.iter().skip(before);
        new.any(|request| request.is(operation))
    });
    assert!(is_asked, "{call}: the HSM was not asked");
    let mut input = process.stdin.take().expect("a pipe");
    input.write_all(b"\n").expect("it reads");
    let output = process.wait_with_output().expect("it ends");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{call}, {end}: {told}");
    assert_eq!(left_behind(&hsm), 0, "{call}, {end}: {told}");
}

/// Who closes the session can't have seen the key.
#[test]
fn a_key_whose_session_ends_while_it_is_made_is_not_left_behind() {
    end_meanwhile("pair", "close", false, "create");
    end_meanwhile("secret", "close all", false, "create");
    // The credential goes with the session, or before it.
    end_meanwhile("pair", "close", true, "create");
    end_meanwhile("pair", "log out", true, "create");
}

/// Else whoever opens the next session would be somebody without having told the PIN.
#[test]
fn a_login_whose_session_is_closed_meanwhile_is_none() {
    end_meanwhile("login", "close all", true, "token");
}

/// A child that goes on with what it has inherited takes away what it has made itself, and not what
/// its parent has.
#[test]
fn a_child_leaves_nothing_of_its_own_behind() {
    let hsm = Hsm::start();
    let output = hsm
        .command(program(&hsm, "child_sessions"))
        .arg(module())
        .output()
        .expect("it runs");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{:?}: {told}", output.status);
    assert_eq!(left_behind(&hsm), 0, "{told}");
}

fn log_in(session: &Session) {
    let secret = std::env::var("TEST_SECRET").expect("the test sets it");
    let pin = AuthPin::new(format!("{OWNER_CLIENT}:{secret}").into());
    session.login(UserType::User, Some(&pin)).unwrap();
}

/// The standard has private objects of a session end with the login, and handles of private ones
/// stay invalid whoever logs in afterwards.
#[test]
fn a_logout_is_the_end_of_sessions_keys_and_of_handles() {
    if !makes_calls() {
        let mut hsm = login::hsm();
        hsm.set("TEST_BY_PIN", "yes");
        hsm.run();
        assert_eq!(left_behind(&hsm), 0);
        let mut hsm = Hsm::start();
        hsm.set("TEST_BY_PIN", "no");
        hsm.run();
        return assert_eq!(left_behind(&hsm), 0);
    }
    let is_by_pin = std::env::var("TEST_BY_PIN").unwrap() == "yes";
    let pkcs11 = initialized();
    let session = session(&pkcs11);
    let log_in = || match is_by_pin {
        true => log_in(&session),
        false => session.login(UserType::User, None).unwrap(),
    };
    log_in();
    let template = [Attribute::EcParams(P256.to_vec())];
    let pair = |further: &[Attribute]| {
        let public = [&template, further].concat();
        let made = session.generate_key_pair(&Mechanism::EccKeyPairGen, &public, further);
        made.unwrap().1
    };
    let (of_session, before) = (pair(&[]), pair(&[Attribute::Token(true)]));
    session.logout().unwrap();
    log_in();
    let told = |object| session.get_attributes(object, &[AttributeType::UniqueId]);
    assert_eq!(code(told(of_session)), RvError::ObjectHandleInvalid);
    if !is_by_pin {
        // No login guards the others.
        return drop(told(before).unwrap());
    }
    assert_eq!(code(told(before)), RvError::ObjectHandleInvalid);
    // Each is there once, by another handle.
    let found = session.find_objects(&[Attribute::Token(true)]).unwrap();
    assert!(!found.is_empty() && !found.contains(&before));
    let names = found
        .iter()
        .map(|object| format!("{:?}", told(*object).unwrap()));
    let names: std::collections::HashSet<String> = names.collect();
    assert_eq!(names.len(), found.len());
}
