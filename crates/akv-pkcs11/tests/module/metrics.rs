//! Metrics of a process that has the module: its file and its socket.

use std::io::Read;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use cryptoki::error::RvError;
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, ObjectClass};
use serde_json::{Value, json};
use testing::prometheus::Metrics;

use crate::support::{Hsm, code, initialized, makes_calls, only, session};

/// Longer than anything takes that works.
const LONG: Duration = Duration::from_secs(60);

/// What comes of `look`, after a while.
fn eventually<T>(what: &str, look: impl Fn() -> Option<T>) -> T {
    let until = Instant::now() + LONG;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < until, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// This process's file of a kind.
fn own(folder: &str, suffix: &str) -> PathBuf {
    let configuration = std::env::var_os("MHSM_PKCS11_CONF").expect("it is set");
    let place = Path::new(&configuration).parent().expect("a folder");
    let name = format!("akv_pkcs11-{}{suffix}", std::process::id());
    place.join(folder).join(name)
}

/// What is told of the signatures at a socket.
fn signatures(socket: &Path) -> Option<Value> {
    let mut text = String::new();
    let mut stream = UnixStream::connect(socket).ok()?;
    stream.read_to_string(&mut text).expect("text");
    let told: Value = serde_json::from_str(&text).expect("JSON");
    let mut all = told["operations"].as_array().expect("a list").iter();
    all.find(|one| one["operation"] == "sign").cloned()
}

#[test]
fn signatures_are_counted_until_the_module_is_finalized() {
    if !makes_calls() {
        let mut hsm = Hsm::start();
        hsm.rest.create("k", r#"{"kty":"EC-HSM","crv":"P-256"}"#);
        for folder in ["files", "sockets"] {
            std::fs::create_dir(hsm.file(folder)).expect("a folder");
        }
        let text = json!({
            "metricsFolder": hsm.file("files"),
            "metricsSockets": hsm.file("sockets"),
            "maxRetries": 1,
            "tokens": [{"resourceName": "localhost"}],
        });
        hsm.configure(&text.to_string());
        // One is tried again; the next is tried again in vain.
        let fault = "throttled,operation=sign,count=3";
        hsm.emulator.faults.add(fault).expect("a fault");
        hsm.run();
        for folder in ["files", "sockets"] {
            let mut left = std::fs::read_dir(hsm.file(folder)).expect("a folder");
            assert!(left.next().is_none(), "{folder}");
        }
        return;
    }
    let (file, socket) = (own("files", ".prom"), own("sockets", ".sock"));
    let pkcs11 = initialized();
    let session = session(&pkcs11);
    let private = Attribute::Class(ObjectClass::PRIVATE_KEY);
    let key = only(&session, &[Attribute::Label("k".into()), private]);
    let sign = || session.sign(&Mechanism::Ecdsa, key, &[1; 32]);
    assert_eq!(code(sign()), RvError::DeviceError);
    for _ in 0..4 {
        sign().unwrap();
    }
    let counted = eventually("nobody answers", || signatures(&socket));
    let of = |of: &str, count: u64| json!({"of": of, "count": count});
    assert_eq!(
        counted["outcomes"],
        json!([of("ok", 4), of("Throttled", 1)])
    );
    assert_eq!(counted["retries"], json!([of("429", 2)]));
    assert_eq!(
        (&counted["hsm"], &counted["key"], &counted["throttled"]),
        (&json!("localhost"), &json!("k"), &json!(3))
    );
    let labels = [("front_end", "akv_pkcs11"), ("operation", "sign")];
    eventually("the file lacks signatures", || {
        let read = Metrics::read(&std::fs::read_to_string(&file).ok()?).expect("it is good");
        (read.sum("akv_operations_total", &labels) == Some(5.0)).then_some(())
    });
    drop(session);
    pkcs11.finalize().unwrap();
    assert!(!file.exists() && !socket.exists());
    // The program is not done: what it goes on to do is counted with the rest.
    let pkcs11 = initialized();
    let session = crate::support::session(&pkcs11);
    let key = only(
        &session,
        &[
            Attribute::Label("k".into()),
            Attribute::Class(ObjectClass::PRIVATE_KEY),
        ],
    );
    session.sign(&Mechanism::Ecdsa, key, &[1; 32]).unwrap();
    let counted = eventually("nobody answers", || signatures(&socket));
    assert_eq!(
        counted["outcomes"],
        json!([of("ok", 5), of("Throttled", 1)])
    );
}
