//! Threads, forks, and the calls that only programs in C can make.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, ObjectClass};
use testing::emulator::Options;

use crate::programs::skip;
use crate::support::{Hsm, import_aes, initialized, makes_calls, module, only, session, slot};

const EC: &str = r#"{"kty":"EC-HSM","crv":"P-256"}"#;

/// A program in C that stands beside this file, built.
pub(crate) fn program(hsm: &Hsm, name: &str) -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/module/{name}.c"));
    let program = hsm.file(name);
    let built = Command::new("cc")
        .args(["-std=gnu11", "-Wall", "-Werror", "-O1", "-g", "-o"])
        .args([&program, &source])
        .args(["-rdynamic", "-ldl", "-lpthread"])
        .output()
        .expect("a C compiler");
    let errors = String::from_utf8_lossy(&built.stderr);
    assert!(built.status.success(), "{errors}");
    program
}

fn run(name: &str) -> Hsm {
    run_with(Hsm::start(), name)
}

fn run_with(hsm: Hsm, name: &str) -> Hsm {
    hsm.rest.create("k", EC);
    let output = hsm
        .command(program(&hsm, name))
        .arg(module())
        .output()
        .expect("it runs");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{:?}\n{told}", output.status);
    hsm
}

#[test]
fn arguments_that_are_none_get_the_standards_answers() {
    let hsm = run("calls");
    assert_eq!(hsm.count("sign"), 1);
}

/// The HSM takes so long that what happens meanwhile does.
#[test]
fn a_session_is_used_while_an_operation_begins_in_it() {
    let hsm = Hsm::start_with(Options {
        latency: "2000".parse().ok(),
        ..Options::default()
    });
    hsm.rest.create(
        "k",
        r#"{"kty":"EC-HSM","crv":"P-256","key_ops":["verify"]}"#,
    );
    let output = hsm
        .command(program(&hsm, "begins"))
        .arg(module())
        .output()
        .expect("it runs");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{:?}\n{told}", output.status);
}

/// What Rust keeps for a thread has gone by then.
#[test]
fn programs_sign_after_a_threads_variables_have_gone() {
    let hsm = run("late");
    assert_eq!(hsm.count("sign"), 3);
}

#[test]
fn a_programs_own_allocator_is_left_alone() {
    let hsm = run("own_allocator");
    assert_eq!(hsm.count("sign"), 1);
}

#[test]
fn messages_are_signed_and_verified_one_after_another() {
    let hsm = run("messages");
    assert_eq!(hsm.count("sign"), 4);
    // The same by a mechanism that takes the message itself.
    let mut hsm = Hsm::start();
    hsm.set("AKV_API_VERSION", "2026-05-01-preview");
    hsm.rest
        .create("k", r#"{"kty":"AKP-HSM","alg":"ML-DSA-65"}"#);
    let output = hsm
        .command(program(&hsm, "messages"))
        .arg(module())
        .arg("ml-dsa")
        .output()
        .expect("it runs");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{:?}\n{told}", output.status);
    assert_eq!(hsm.count("sign"), 4);
}

#[test]
fn a_failure_that_nobody_hears_of_ends_no_process_and_is_not_waited_for() {
    let mut hsm = Hsm::start();
    hsm.configure("{ nonsense");
    let program = program(&hsm, "unheard");
    for standard_error in ["gone", "full"] {
        // What hangs is ended.
        let mut command = hsm.command("timeout");
        let status = command.arg("60").arg(&program).arg(module());
        let status = status.arg(standard_error).status().expect("it runs");
        assert!(status.success(), "{standard_error}: {status:?}");
    }
}

#[test]
fn encryption_answers_questions_for_sizes_and_ends_when_it_fails() {
    let hsm = Hsm::start();
    import_aes(&hsm.rest, "k", &[7; 32]);
    let output = hsm
        .command(program(&hsm, "encryption"))
        .arg(module())
        .output()
        .expect("it runs");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{:?}\n{told}", output.status);
    // A plaintext that was too long for the buffer is not asked for again.
    assert_eq!((hsm.count("encrypt"), hsm.count("decrypt")), (4, 4));
    assert_eq!((hsm.count("wrapkey"), hsm.count("unwrapkey")), (1, 1));
}

#[test]
fn what_was_signed_is_recovered_where_rsnull_is_switched_on() {
    let mut hsm = Hsm::start();
    hsm.rest.create("k", r#"{"kty":"RSA-HSM","key_size":2048}"#);
    let program = program(&hsm, "recover");
    let run = |hsm: &Hsm, further: &[&str]| {
        let output = hsm.command(&program).arg(module()).args(further).output();
        let output = output.expect("it runs");
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{:?}\n{told}", output.status);
    };
    run(&hsm, &["off"]);
    hsm.configure(r#"{"tokens":[{"slotid":0,"resourceName":"localhost"}],"rsnull":true}"#);
    run(&hsm, &[]);
    assert_eq!(hsm.count("sign"), 1);
}

#[test]
fn forty_children_of_a_process_that_signs_go_on() {
    let hsm = run("forks");
    assert!(hsm.count("sign") > 40);
}

#[test]
fn a_child_starts_the_module_first_where_that_is_demanded() {
    let mut hsm = Hsm::start();
    hsm.configure(r#"{"tokens":[{"slotid":0,"resourceName":"localhost"}],"afterFork":"strict"}"#);
    let hsm = run_with(hsm, "strict");
    assert_eq!(hsm.count("sign"), 3);
}

#[test]
fn a_child_starts_anew_with_what_its_parent_has_read() {
    let mut hsm = Hsm::start();
    hsm.rest.create("k", EC);
    let program = program(&hsm, "inherited");
    let text = r#"{"tokens":[{"slotid":0,"resourceName":"localhost"}]}"#;
    for is_named in [false, true] {
        let file = hsm.configure(text);
        let mut command = hsm.command(&program);
        command.arg(module());
        match is_named {
            true => command.arg(file).env_remove("MHSM_PKCS11_CONF"),
            false => command.arg("-"),
        };
        let output = command.output().expect("it runs");
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success(),
            "{is_named} {:?}\n{told}",
            output.status
        );
    }
    assert_eq!(hsm.count("sign"), 10);
}

#[test]
fn threads_sign_in_sessions_of_their_own() {
    if !makes_calls() {
        let hsm = Hsm::start();
        hsm.rest.create("k", EC);
        hsm.run();
        return assert_eq!(hsm.count("sign"), 16 * 10);
    }
    let pkcs11 = initialized();
    let first = session(&pkcs11);
    let template = [
        Attribute::Label(b"k".to_vec()),
        Attribute::Class(ObjectClass::PRIVATE_KEY),
    ];
    let key = only(&first, &template);
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                let own = pkcs11.open_ro_session(slot(&pkcs11)).unwrap();
                for _ in 0..10 {
                    own.sign(&Mechanism::EcdsaSha256, key, b"m").unwrap();
                }
            });
        }
    });
}

#[test]
fn signals_are_left_to_the_programs_threads_while_keys_are_loaded() {
    let hsm = Hsm::start_with(Options {
        latency: "20".parse().ok(),
        ..Options::default()
    });
    for number in 0..8 {
        hsm.rest.create(&format!("key-{number}"), EC);
    }
    run_with(hsm, "signals");
}

#[test]
fn threads_in_one_session_come_to_no_harm_nor_do_those_with_small_stacks() {
    let hsm = run("threads");
    assert!(hsm.count("sign") > 8);
}

#[test]
fn threads_that_do_different_things_at_a_time_come_to_no_harm() {
    let mut hsm = Hsm::start();
    hsm.wait_long();
    hsm.rest.create("k", EC);
    let program = program(&hsm, "races");
    for kind in ["own", "shared", "finalize", "close", "generate", "login"] {
        let output = hsm.command(&program).arg(module()).arg(kind).output();
        let output = output.expect("it runs");
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success(),
            "{kind} {:?}\n{told}",
            output.status
        );
    }
    // What was made for a session has gone with it.
    let requests = hsm.requests();
    let deleted = requests.iter().filter(|one| one.method == "DELETE").count();
    assert_eq!((hsm.count("create"), deleted), (7, 6));
}

#[test]
fn a_thread_that_does_nothing_but_sign_can_be_cancelled() {
    let hsm = run("cancel");
    assert!(hsm.count("sign") > 30);
}

#[test]
fn a_process_that_signs_may_end_in_any_way() {
    let hsm = Hsm::start();
    hsm.rest.create("k", EC);
    let program = program(&hsm, "ends");
    let times = match std::env::var_os("AKV_WHOLE") {
        Some(_) => 200,
        None => 50,
    };
    for way in ["exit", "return", "finalize", "dlclose"] {
        for _ in 0..times {
            let output = hsm.command(&program).arg(module()).arg(way).output();
            let output = output.expect("it runs");
            let told = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{way} {:?}\n{told}", output.status);
        }
    }
}

/// As many as p11tool makes for nine objects, in 2 µs each.
#[test]
fn attributes_are_read_without_delay() {
    let hsm = Hsm::start();
    for key in ["a", "b", "c", "d"] {
        hsm.rest.create(key, EC);
    }
    import_aes(&hsm.rest, "k", &[7; 32]);
    let output = hsm
        .command(program(&hsm, "attributes"))
        .arg(module())
        .output()
        .expect("it runs");
    let told = [output.stdout, output.stderr].concat();
    let told = String::from_utf8_lossy(&told).into_owned();
    assert!(output.status.success(), "{:?}\n{told}", output.status);
    eprintln!("a read of an attribute: {told}");
}

/// A setuid program, started by somebody else who sets its environment.
#[test]
fn a_program_with_raised_rights_takes_nothing_from_the_environment() {
    if !rustix::process::geteuid().is_root() {
        return skip("only root can give a program raised rights");
    }
    let hsm = Hsm::start();
    hsm.rest.create("k", EC);
    let program = program(&hsm, "threads");
    for (path, mode) in [(hsm.folder.path(), 0o755), (&program, 0o4755)] {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    }
    let run = |by: &str| {
        let output = hsm
            .command("setpriv")
            .args([&format!("--reuid={by}"), "--clear-groups"])
            .arg(&program)
            .arg(module())
            .output();
        let output = output.expect("it runs");
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.success(), told)
    };
    let (succeeds, told) = run("0");
    assert!(succeeds, "{told}");
    let (succeeds, told) = run("65534");
    assert!(
        !succeeds && told.contains("it is not known which HSM to ask: write /etc/mhsm-pkcs11.conf"),
        "{told}"
    );
    assert!(!told.contains("AZURE_"), "{told}");
}
