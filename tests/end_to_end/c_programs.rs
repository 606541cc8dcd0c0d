//! What only the C interface shows: comparing, duplicating and asking keys, contexts that are used
//! again.

use crate::credentials::stand_in;
use crate::support::{EC_P256, Hsm, Loading, RSA_2048, sample, skip, uri, whole};

#[test]
fn keys_and_contexts_answer_as_those_of_the_default_provider() {
    let hsm = Hsm::with_keys(&[("rsa", RSA_2048), ("ec", EC_P256), ("other", EC_P256)]);
    let program = hsm.compile("pkey_eq");
    for key in ["rsa", "ec"] {
        let certificate = hsm.certificate(Loading::DefaultFirst, &uri(key), key);
        let public = hsm.public_key(Loading::DefaultFirst, &uri(key));
        for order in ["akv_provider,default", "default,akv_provider"] {
            for properties in ["", "?provider=akv_provider"] {
                let arguments = [
                    &uri(key),
                    certificate.as_str(),
                    &public,
                    &uri("other"),
                    order,
                    properties,
                ];
                hsm.run(&program, &arguments).succeeds();
            }
        }
    }
}

#[test]
fn keys_tell_all_that_those_of_the_default_provider_tell_and_certify_in_memory() {
    let keys = ["P-256", "P-384", "P-521", "P-256K"].map(|curve| {
        let body = format!(r#"{{"kty":"EC-HSM","crv":"{curve}"}}"#);
        (curve.to_lowercase(), body)
    });
    let hsm = Hsm::with_keys(&[("rsa", RSA_2048)]);
    let mut uris = vec![uri("rsa")];
    for (name, body) in &keys {
        hsm.create(name, body);
        uris.push(uri(name));
    }
    for program in ["parameters", "certificate"].map(|name| hsm.compile(name)) {
        for order in ["akv_provider,default", "default,akv_provider"] {
            let mut arguments = vec![order];
            arguments.extend(uris.iter().map(String::as_str));
            hsm.run(&program, &arguments).succeeds();
        }
    }
}

/// OpenSSL's own provider takes the hybrid form; ours, where it is alone, does not.
#[test]
fn public_keys_are_made_of_points_that_are_whole_or_compressed() {
    let hsm = Hsm::start();
    let program = hsm.compile("point_forms");
    for (providers, hybrid) in [
        ("akv_provider", "refused"),
        ("akv_provider,default", "taken"),
        ("default,akv_provider", "taken"),
    ] {
        hsm.run(&program, &[providers, hybrid]).succeeds();
    }
}

/// The program that frees in all orders, and its arguments: the key, and a software key.
fn orders(hsm: &Hsm) -> (String, [String; 2]) {
    hsm.create("ec", EC_P256);
    let file = hsm.path("software.pem");
    let make = "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out";
    hsm.openssl_line(Loading::Plain, &format!("{make} {file}"))
        .succeeds();
    (hsm.compile("orders"), [uri("ec"), file])
}

/// So many parts, one after the other: each has its limit of time. A prime, so that the orders of a
/// part have no end in common.
const PARTS: usize = 23;

#[test]
fn everything_may_be_freed_in_any_order_before_and_after_libcryptos_clean_up() {
    let hsm = Hsm::start();
    let (program, [key, file]) = orders(&hsm);
    for part in sample((0..PARTS).collect(), PARTS) {
        let (step, first) = (PARTS.to_string(), part.to_string());
        let printed = hsm.run(&program, &[&key, &file, &step, &first]).succeeds();
        eprintln!("{}", printed.trim());
    }
}

/// Some of these orders under valgrind, by which each process takes a hundred times as long. The
/// end of one with an invalid access is not good.
#[test]
fn no_order_of_freeing_reads_what_is_not_there() {
    let mut hsm = Hsm::start();
    if !hsm.run("valgrind", &["--version"]).is_success() {
        return skip("orders of freeing under valgrind: valgrind is not installed here");
    }
    // However slow it is.
    for kind in ["CONNECT", "RESPONSE", "OPERATION"] {
        hsm.set(&format!("AKV_{kind}_TIMEOUT"), "300");
    }
    let (program, [key, file]) = orders(&hsm);
    let (step, firsts) = match whole() {
        true => ("1009", &["0", "199", "398", "597", "796"][..]),
        false => ("2003", &["0"][..]),
    };
    for first in firsts {
        let valgrind = ["--quiet", "--error-exitcode=99", &program];
        let arguments = [&valgrind[..], &[&key, &file, step, first]].concat();
        let printed = hsm.run("valgrind", &arguments).succeeds();
        eprintln!("{}", printed.trim());
    }
}

#[test]
fn signature_algorithms_take_messages_in_one_and_in_pieces() {
    let hsm = Hsm::with_keys(&[("rsa", RSA_2048), ("ec", EC_P256)]);
    let program = hsm.compile("message");
    for order in ["akv_provider,default", "default,akv_provider"] {
        for (key, algorithm) in [
            ("rsa", "RSA-SHA256"),
            ("rsa", "RSA-SHA384"),
            ("rsa", "RSA-SHA2-512"),
            ("ec", "ECDSA-SHA1"),
            ("ec", "ECDSA-SHA256"),
            ("ec", "ECDSA-SHA384"),
            ("ec", "ECDSA-SHA3-512"),
        ] {
            if !hsm.run_or_skip(&program, &[&uri(key), algorithm, order]) {
                return;
            }
        }
    }
}

#[test]
fn descriptors_that_the_program_closes_are_left_alone_and_others_opened() {
    let hsm = Hsm::with_keys(&[("rsa", RSA_2048)]);
    let program = hsm.compile("descriptors");
    hsm.run(&program, &[&uri("rsa")]).succeeds();
}

#[test]
fn descriptors_that_the_program_takes_away_during_a_wait_are_left_alone_and_missed_soon() {
    let hsm = Hsm::start_with(&["--latency-ms", "400"]);
    hsm.create("rsa", RSA_2048);
    let program = hsm.compile("descriptors");
    let printed = hsm.run(&program, &[&uri("rsa"), "during"]).succeeds();
    eprintln!("{}", printed.trim());
}

#[test]
fn descriptors_that_the_program_takes_away_while_a_tool_prints_are_left_alone() {
    let mut hsm = Hsm::with_keys(&[("rsa", RSA_2048)]);
    let token = hsm.variable("AZURE_CLI_ACCESS_TOKEN").to_owned();
    hsm.unset("AZURE_CLI_ACCESS_TOKEN");
    hsm.set("TOKEN_FOR_TEST", &token);
    hsm.set("AZURE_TOKEN_CREDENTIALS", "AzurePowerShellCredential");
    let tool = "echo WARNING: the numbers are taken meanwhile; sleep 0.5\n\
                echo \"{\\\"token\\\":\\\"$TOKEN_FOR_TEST\\\",\\\"expiresOn\\\":4070908800}\"";
    stand_in(&mut hsm, "pwsh", tool);
    let program = hsm.compile("descriptors");
    hsm.run(&program, &[&uri("rsa"), "tool"]).succeeds();
}

#[test]
fn a_thread_that_signs_may_be_cancelled() {
    let hsm = Hsm::with_keys(&[("ec", EC_P256)]);
    let program = hsm.compile("cancel");
    hsm.run(&program, &[&uri("ec")]).succeeds();
}
