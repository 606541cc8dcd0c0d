//! What the PKCS#11 module costs besides signatures, with many keys: the first search for all of
//! them, the next one, an attribute, and the memory of a key.
//!
//! `cargo bench --bench pkcs11 -- [--keys 2000] [--latency 10] [--connections 20] [--json FILE]`
//!
//! What is promised is for 2,000 keys at 10 ms by 20 connections: limits.py compares.

mod common;

use std::time::Instant;

use cryptoki::object::{Attribute, AttributeType, ObjectClass};

use common::{Emulator, load_module, session};

/// Threads that make keys, each with a client of its own.
const MAKERS: usize = 8;

/// Reads of an attribute, to have a time that can be measured.
const READS: u32 = 20_000;

fn create_keys(emulator: &Emulator, count: usize) {
    let url = emulator.variable("AZURE_MANAGEDHSM_URL");
    let token = emulator.variable("AZURE_CLI_ACCESS_TOKEN");
    let ca = std::fs::read(emulator.variable("AKV_CA_FILE")).expect("the CA can be read");
    std::thread::scope(|scope| {
        for maker in 0..MAKERS {
            let ca = reqwest::Certificate::from_pem(&ca).expect("the CA is PEM");
            scope.spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()
                    .expect("a runtime");
                let client = reqwest::Client::builder()
                    .tls_certs_only([ca])
                    .no_proxy()
                    .build()
                    .expect("a client");
                for number in (maker..count).step_by(MAKERS) {
                    let request = client
                        .post(format!("{url}/keys/k{number}/create?api-version=7.4"))
                        .bearer_auth(token)
                        .header("content-type", "application/json")
                        .body(r#"{"kty":"EC-HSM","crv":"P-256"}"#);
                    let answer = runtime.block_on(request.send()).expect("an answer");
                    assert!(answer.status().is_success(), "{answer:?}");
                }
            });
        }
    });
}

/// The memory of this process in bytes, without what it has of files: the module's code, which is
/// read as it is first run.
fn memory() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find(|line| line.starts_with("RssAnon:"));
    let number = line.and_then(|line| line.split_whitespace().nth(1));
    1024 * number
        .and_then(|number| number.parse::<usize>().ok())
        .expect("a number")
}

fn main() {
    let (mut keys, mut latency, mut connections, mut json) =
        (2000, "10".to_owned(), "20".to_owned(), None);
    for (name, value) in common::options() {
        match name.as_str() {
            "--keys" => keys = value.parse().expect("a number"),
            "--latency" => latency = value,
            "--connections" => connections = value,
            "--json" => json = Some(value),
            other => panic!("unknown option {other}"),
        }
    }
    let emulator = Emulator::start(&["--latency-ms".to_owned(), latency.clone()], &[]);
    create_keys(&emulator, keys);
    // SAFETY: the threads that made the keys have ended.
    unsafe { std::env::set_var("AKV_MAX_CONNECTIONS", &connections) };
    let module = load_module(&emulator);
    let session = session(&module);
    let class = [Attribute::Class(ObjectClass::PRIVATE_KEY)];
    let search = || {
        let began = Instant::now();
        let found = session.find_objects(&class).expect("a search");
        assert_eq!(found.len(), keys);
        (began.elapsed().as_secs_f64(), found)
    };
    let before = memory();
    let (first, found) = search();
    let a_key = memory().saturating_sub(before) / keys;
    let (next, _) = search();
    let began = Instant::now();
    for read in 0..READS {
        let object = found[read as usize % found.len()];
        let value = session.get_attributes(object, &[AttributeType::Label]);
        assert_eq!(value.expect("an attribute").len(), 1);
    }
    let attribute = began.elapsed().as_secs_f64() / f64::from(READS);
    println!("{keys} keys at {latency} ms and {connections} connections");
    println!("first search: {first:.2} s; next: {:.3} ms", next * 1e3);
    println!(
        "{a_key} bytes a key (with connections); an attribute (two calls): {:.2} us",
        attribute * 1e6
    );
    if let Some(path) = json {
        let line = serde_json::json!({
            "keys": keys, "latency_ms": latency, "connections": connections, "first_s": first, "next_ms": next * 1e3,
            "bytes_a_key": a_key, "attribute_us": attribute * 1e6,
        });
        std::fs::write(path, format!("{line}\n")).expect("the report can be written");
    }
}
