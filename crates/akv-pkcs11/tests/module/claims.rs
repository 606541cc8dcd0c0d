//! What the documents say of the module and no other test holds: that each function is there,
//! which configuration counts and what it does, how many connections there are.

use std::collections::HashSet;
use std::path::Path;

use cryptoki::error::RvError;
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, ObjectClass};
use cryptoki_sys::{CK_FUNCTION_LIST_3_2, CK_VERSION};
use testing::emulator::Options;

use crate::processes::program;
use crate::programs::skip;
use crate::support::{Hsm, P256, code, initialized, makes_calls, module, only, session, slot};

const EC: &str = r#"{"kty":"EC-HSM","crv":"P-256"}"#;

/// How many functions PKCS#11 3.2 has: the table is a version, padded to a pointer's size, and
/// pointers.
const FUNCTIONS: usize = size_of::<CK_FUNCTION_LIST_3_2>() / size_of::<usize>()
    - size_of::<CK_VERSION>().div_ceil(size_of::<usize>());

/// Runs the program with further arguments. Returns whether it succeeds, and what it says.
fn run(hsm: &Hsm, program: &Path, further: &[&str]) -> (bool, String) {
    let mut command = hsm.command(program);
    command.arg(module()).arg(FUNCTIONS.to_string());
    let output = command.args(further).output().expect("it runs");
    let told = [output.stdout, output.stderr].concat();
    let told = String::from_utf8_lossy(&told).into_owned();
    (output.status.success(), told)
}

#[test]
fn every_function_is_there_and_answers_before_the_start_and_to_zeros() {
    assert_eq!(FUNCTIONS, 104);
    let hsm = Hsm::start();
    let (succeeds, told) = run(&hsm, &program(&hsm, "every"), &[]);
    assert!(succeeds, "{told}");
    assert_eq!(hsm.requests(), []);
}

#[test]
fn the_first_configuration_file_that_is_there_counts() {
    let mut hsm = Hsm::start();
    let every = program(&hsm, "every");
    let folder = hsm.file("xdg");
    std::fs::create_dir(&folder).unwrap();
    let write = |path: &Path, slot: u32| {
        let text = format!(r#"{{"tokens":[{{"slotid":{slot},"resourceName":"localhost"}}]}}"#);
        std::fs::write(path, text).unwrap();
    };
    let named = hsm.file("named.conf");
    write(&folder.join("mhsm-pkcs11.conf"), 5);
    write(&hsm.file("variable.conf"), 6);
    write(&named, 7);
    let starts_with = |hsm: &Hsm, argument: &str, slot: u32| {
        let (succeeds, told) = run(hsm, &every, &[argument]);
        assert!(
            succeeds && told.contains(&format!("slot {slot}\n")),
            "{told}"
        );
    };
    let named = named.to_str().expect("text");
    // Without any file there is one token, in slot 0.
    if !Path::new("/etc/mhsm-pkcs11.conf").exists() {
        starts_with(&hsm, "", 0);
    }
    hsm.set("XDG_CONFIG_HOME", folder);
    starts_with(&hsm, "", 5);
    hsm.set("MHSM_PKCS11_CONF", hsm.file("variable.conf"));
    starts_with(&hsm, "", 6);
    for prefix in ["", "conf=", "config=", "configuration="] {
        starts_with(&hsm, &format!("{prefix}{named}"), 7);
    }
}

#[test]
fn a_configuration_file_of_another_user_is_refused() {
    if !rustix::process::geteuid().is_root() {
        return skip("only root can give a file to another user");
    }
    let hsm = Hsm::start();
    let file = hsm.file("others.conf");
    std::fs::write(&file, r#"{"tokens":[{"resourceName":"localhost"}]}"#).unwrap();
    std::os::unix::fs::chown(&file, Some(65534), None).unwrap();
    let (succeeds, told) = run(&hsm, &program(&hsm, "every"), &[file.to_str().unwrap()]);
    assert!(
        !succeeds && told.contains("belongs to user 65534, who is neither root nor the user"),
        "{told}"
    );
}

/// Sixteen threads with sessions of their own wait for three connections.
#[test]
fn there_are_no_more_connections_than_the_configuration_allows() {
    if !makes_calls() {
        let mut hsm = Hsm::start_with(Options {
            latency: "20".parse().ok(),
            ..Options::default()
        });
        hsm.wait_long();
        hsm.rest.create("k", EC);
        hsm.configure(
            r#"{"tokens":[{"resourceName":"localhost","keys":["k"]}],
                "ConnectionCache":{"MaxConnections":3}}"#,
        );
        let before = hsm.requests().len();
        hsm.run();
        let requests = hsm.requests().split_off(before);
        let connections: HashSet<u64> = requests.iter().map(|one| one.connection).collect();
        assert!(connections.len() <= 3, "{connections:?}");
        let signed = requests.iter().filter(|one| one.is("sign")).count();
        return assert_eq!(signed, 16 * 5);
    }
    let pkcs11 = initialized();
    let first = session(&pkcs11);
    let key = only(&first, &[Attribute::Class(ObjectClass::PRIVATE_KEY)]);
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                let own = pkcs11.open_ro_session(slot(&pkcs11)).unwrap();
                for _ in 0..5 {
                    own.sign(&Mechanism::EcdsaSha256, key, b"m").unwrap();
                }
            });
        }
    });
}

#[test]
fn a_token_is_known_by_its_hosts_name_and_has_no_raw_rsa() {
    if !makes_calls() {
        let hsm = Hsm::start();
        hsm.rest.create("k", r#"{"kty":"RSA-HSM","key_size":2048}"#);
        hsm.run();
        let asked = hsm.requests();
        return assert!(asked.iter().all(|request| !request.is("sign")));
    }
    let pkcs11 = initialized();
    let token = pkcs11.get_token_info(slot(&pkcs11)).unwrap();
    let hash = openssl::sha::sha256(b"localhost");
    let digits: String = hash[..8].iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(token.serial_number(), digits);
    let session = session(&pkcs11);
    let key = |class| only(&session, &[Attribute::Class(class)]);
    let (private, public) = (key(ObjectClass::PRIVATE_KEY), key(ObjectClass::PUBLIC_KEY));
    let raw = Mechanism::RsaX509;
    for outcome in [
        session.sign_init(&raw, private),
        session.decrypt_init(&raw, private),
        session.verify_init(&raw, public),
        session.encrypt_init(&raw, public),
    ] {
        assert_eq!(code(outcome), RvError::MechanismInvalid);
    }
}

/// The standard has room for 32 bytes, however many characters they are.
#[test]
fn a_label_of_more_than_32_bytes_leaves_its_slot_without_a_token() {
    let (fits, too_long) = ("é".repeat(16), "é".repeat(17));
    if !makes_calls() {
        let mut hsm = Hsm::start();
        hsm.configure(&format!(
            r#"{{"tokens":[{{"resourceName":"localhost","label":"{too_long}"}},
                {{"resourceName":"localhost","label":"{fits}"}}]}}"#
        ));
        let told = hsm.run();
        return assert!(told.contains("it has more than 32 bytes"), "{told}");
    }
    let pkcs11 = initialized();
    assert_eq!(pkcs11.get_all_slots().unwrap().len(), 2);
    let slots = pkcs11.get_slots_with_token().unwrap();
    let ids: Vec<u64> = slots.iter().map(cryptoki::slot::Slot::id).collect();
    assert_eq!(ids, [1]);
    let token = pkcs11.get_token_info(slots[0]).unwrap();
    assert_eq!(token.label(), fits);
}

#[test]
fn where_keys_of_sessions_are_refused_all_keys_are_made_to_stay() {
    if !makes_calls() {
        let mut hsm = Hsm::start();
        hsm.configure(r#"{"tokens":[{"resourceName":"localhost"}],"sessionKeys":"refuse"}"#);
        let told = hsm.run();
        let words = "(sessionKeys): set CKA_TOKEN to true";
        assert!(told.contains(words), "{told}");
        return assert_eq!(hsm.count("create"), 2);
    }
    let pkcs11 = initialized();
    let session = session(&pkcs11);
    let make = |token: &[Attribute]| {
        let public = [token, &[Attribute::EcParams(P256.to_vec())]].concat();
        let secret = [token, &[Attribute::ValueLen(32.into())]].concat();
        let pair = session.generate_key_pair(&Mechanism::EccKeyPairGen, &public, token);
        let key = session.generate_key(&Mechanism::AesKeyGen, &secret);
        [pair.map(drop), key.map(drop)]
    };
    for token in [&[][..], &[Attribute::Token(false)]] {
        for outcome in make(token) {
            assert_eq!(code(outcome), RvError::TemplateInconsistent);
        }
    }
    for outcome in make(&[Attribute::Token(true)]) {
        outcome.unwrap();
    }
}

#[test]
fn a_slow_signature_is_asked_for_twice_where_the_configuration_says_so() {
    if !makes_calls() {
        for (hedging, sent) in [(false, 1), (true, 2)] {
            let mut hsm = Hsm::start();
            hsm.wait_long();
            hsm.rest.create("k", EC);
            hsm.rest.create("slow", EC);
            hsm.configure(&format!(
                r#"{{"tokens":[{{"resourceName":"localhost","hedging":{hedging}}}]}}"#
            ));
            let fault = "slow-first-byte,operation=sign,path=/keys/slow,count=1,delay_ms=2000";
            hsm.emulator.faults.add(fault).expect("a fault");
            hsm.run();
            let requests = hsm.requests();
            let of_slow = requests
                .iter()
                .filter(|one| one.is("sign") && one.path.starts_with("/keys/slow/"));
            assert_eq!(of_slow.count(), sent, "{hedging}");
        }
        return;
    }
    let pkcs11 = initialized();
    let session = session(&pkcs11);
    let sign = |label: &str| {
        let private = Attribute::Class(ObjectClass::PRIVATE_KEY);
        let key = only(&session, &[Attribute::Label(label.into()), private]);
        session.sign(&Mechanism::Ecdsa, key, &[1; 32]).unwrap();
    };
    // How long a signature takes is known once there were so many.
    (0..20).for_each(|_| sign("k"));
    sign("slow");
}
