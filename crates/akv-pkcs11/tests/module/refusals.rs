//! What a program, or the system, takes from the module while it works: random bytes, memory that
//! a result is to go to, and standard error.

use std::process::Output;

use crate::processes::program;
use crate::support::{Hsm, import_aes, module};

const EC: &str = r#"{"kty":"EC-HSM","crv":"P-256"}"#;
const RSA: &str = r#"{"kty":"RSA-HSM","key_size":2048}"#;

/// Runs a program in C, which ends well. Returns what it says on standard error.
fn run(hsm: &Hsm, name: &str, arguments: &[&str]) -> String {
    let program = program(hsm, name);
    let output = hsm.command(program).arg(module()).args(arguments).output();
    let Output { status, stderr, .. } = output.expect("it runs");
    let told = String::from_utf8_lossy(&stderr).into_owned();
    assert!(status.success(), "{arguments:?} {status:?}\n{told}");
    told
}

/// AWS-LC would end the process.
#[test]
fn a_process_that_is_refused_random_bytes_goes_on_and_is_told_by_each_function() {
    for (call, key) in [
        ("start", EC),
        ("random", EC),
        ("pair", EC),
        ("sign", EC),
        ("encrypt", RSA),
        ("child", EC),
        ("child by clone", EC),
    ] {
        let hsm = Hsm::start();
        hsm.rest.create("k", key);
        let told = run(&hsm, "no_random", &[call]);
        assert!(told.contains("allow getrandom"), "{call}: {told}");
    }
}

#[test]
fn a_place_for_an_initialisation_vector_that_is_gone_is_an_error_and_no_crash() {
    let hsm = Hsm::start();
    import_aes(&hsm.rest, "k", &[7; 32]);
    let told = run(&hsm, "places", &[]);
    assert!(told.contains("has not kept the 12 zero bytes"), "{told}");
    let told = run(&hsm, "places", &["refused"]);
    assert!(told.contains("allow process_vm_readv"), "{told}");
}

#[test]
fn what_the_module_says_goes_to_standard_error_and_to_no_other_file_of_that_number() {
    for has_log in [false, true] {
        for (what, is_told) in [
            ("data", false),
            ("connection", false),
            ("log", true),
            ("appended", true),
            ("both", true),
        ] {
            let mut hsm = Hsm::start();
            hsm.configure(&format!(
                r#"{{"tokens":[{{"resourceName":"localhost","certificates":[{:?}]}}]}}"#,
                hsm.folder.path()
            ));
            if has_log {
                hsm.set("RUST_LOG", "trace");
            }
            let file = hsm.file("file");
            std::fs::write(&file, "").expect("a file");
            run(
                &hsm,
                "standard_error",
                &[what, file.to_str().expect("text")],
            );
            let written = std::fs::read_to_string(&file).expect("it is there");
            let lines = written.matches("C_GenerateKeyPair: ").count();
            match is_told {
                // By the process, by its child, and after another start.
                true => assert!(lines >= 3, "{what} {has_log}: {written}"),
                false => assert_eq!(written, "", "{what} {has_log}"),
            }
        }
    }
}
