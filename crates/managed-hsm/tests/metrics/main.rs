//! Metrics of a client's process: what an emulator was asked, counted in the process's file and at
//! its socket. All tests are of one process, which has one of each.

#![forbid(unsafe_code)]
#![cfg(unix)]
#![allow(
    clippy::disallowed_methods,
    reason = "the files that a process writes are read"
)]

use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use managed_hsm::metrics::{Operations, Snapshot};
use managed_hsm::{
    AccessToken, Client, CredentialKind, FrontEnd, Key, Settings, SignatureAlgorithm, Spelling,
};
use tempfile::TempDir;
use testing::Rest;
use testing::emulator::{Handle, Options, start};
use testing::prometheus::Metrics;

/// Longer than anything takes that works.
const LONG: Duration = Duration::from_secs(60);

/// The folders of this process, and the test that uses it.
static FOLDERS: Mutex<Option<TempDir>> = Mutex::new(None);

struct Test {
    emulator: Handle,
    client: Client,
    folders: MutexGuard<'static, Option<TempDir>>,
}

impl Test {
    /// An emulator, and a client of it. `change` makes settings of the usual ones.
    fn start(change: impl FnOnce(&mut Settings)) -> Self {
        let mut folders = FOLDERS.lock().unwrap_or_else(PoisonError::into_inner);
        let folder = folders.get_or_insert_with(|| {
            let folder = tempfile::tempdir().expect("a folder");
            for name in ["files", "sockets"] {
                std::fs::create_dir(folder.path().join(name)).expect("a folder");
            }
            folder
        });
        let emulator = start(Options::default()).expect("the emulator starts");
        let front_end = FrontEnd::new("akv_test/1.2", "test.conf", Spelling::Hyphens);
        let mut settings = Settings {
            front_end: front_end.with_metrics(),
            endpoint: Some(emulator.url.parse().expect("a URL")),
            ca_file: Some(emulator.ca.clone()),
            metrics_folder: Some(folder.path().join("files")),
            metrics_sockets: Some(folder.path().join("sockets")),
            ..Settings::default()
        };
        settings.credentials.selection = vec![CredentialKind::AccessToken];
        settings.credentials.access_token = AccessToken::new(&emulator.token);
        change(&mut settings);
        Self {
            emulator,
            client: Client::new(settings),
            folders,
        }
    }

    /// A new key. Each test has its own, since all are counted together.
    fn key(&self, name: &str) -> Key {
        Rest::of(&self.emulator).create(name, r#"{"kty":"EC-HSM","crv":"P-256"}"#);
        let uri = format!("managedhsm:MyHSM:{name}");
        self.client
            .get_key(&uri.parse().expect("a URI"))
            .expect("the key")
    }

    fn sign(&self, key: &Key) -> Result<Vec<u8>, managed_hsm::Error> {
        self.client
            .sign(&key.id, SignatureAlgorithm::Es256, &[7; 32])
    }

    fn path(&self, folder: &str, suffix: &str) -> PathBuf {
        let folders = self.folders.as_ref().expect("they are there");
        let name = format!("akv_test-{}{suffix}", std::process::id());
        folders.path().join(folder).join(name)
    }

    fn file(&self) -> PathBuf {
        self.path("files", ".prom")
    }

    fn socket(&self) -> PathBuf {
        self.path("sockets", ".sock")
    }

    /// What is told at the socket.
    fn snapshot(&self) -> Snapshot {
        let socket = self.socket();
        let stream = eventually(|| UnixStream::connect(&socket).ok());
        let mut text = String::new();
        (&stream).read_to_string(&mut text).expect("text");
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    /// What was done with a key.
    fn operations(&self, key: &str, operation: &str) -> Operations {
        let all = self.snapshot().operations.into_iter();
        let is_it = |it: &Operations| it.key.raw() == key && it.operation.raw() == operation;
        let mut found = all.filter(is_it);
        found.next().expect("there are such")
    }
}

/// What comes of `look`, after a while.
fn eventually<T>(look: impl Fn() -> Option<T>) -> T {
    let until = Instant::now() + LONG;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < until, "it does not come");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn pairs(counts: &[managed_hsm::metrics::Count]) -> Vec<(&str, u64)> {
    counts.iter().map(|it| (it.of.raw(), it.count)).collect()
}

#[test]
fn operations_retries_and_throttling_are_counted_as_they_were() {
    let test = Test::start(|settings| settings.max_retries = 2);
    let key = test.key("counted");
    let fault = |text: &str| test.emulator.faults.add(text).expect("a fault");
    for _ in 0..5 {
        test.sign(&key).expect("a signature");
    }
    // Two are tried again, and come to a signature.
    fault("throttled,count=2");
    test.sign(&key).expect("a signature");
    fault("unavailable,count=1");
    test.sign(&key).expect("a signature");
    // Three are too many.
    fault("throttled,count=3");
    test.sign(&key).expect_err("no signature");
    let signing = test.operations("counted", "sign");
    assert_eq!(pairs(&signing.outcomes), [("ok", 7), ("Throttled", 1)]);
    assert_eq!(pairs(&signing.retries), [("429", 4), ("503", 1)]);
    assert_eq!((signing.throttled, signing.failed()), (5, 1));
    assert_eq!(signing.durations.iter().sum::<u64>(), 8);
    assert_eq!(signing.version.raw(), key.id.version.as_str());
    assert_eq!(
        pairs(&test.operations("counted", "load_key").outcomes),
        [("ok", 1)]
    );

    let labels = [("key", "counted"), ("operation", "sign"), ("hsm", "MyHSM")];
    let file = test.file();
    let read = eventually(|| {
        let read = Metrics::read(&std::fs::read_to_string(&file).ok()?).expect("it is good");
        (read.sum("akv_operations_total", &labels) == Some(8.0)).then_some(read)
    });
    for (name, more, expected) in [
        ("akv_operations_total", ("outcome", "ok"), 7.0),
        ("akv_operations_total", ("outcome", "Throttled"), 1.0),
        ("akv_request_retries_total", ("reason", "429"), 4.0),
        ("akv_request_retries_total", ("reason", "503"), 1.0),
        ("akv_throttled_total", ("front_end", "akv_test"), 5.0),
        (
            "akv_operation_duration_seconds_count",
            ("operation", "sign"),
            8.0,
        ),
    ] {
        let labels = [&labels[..], &[more]].concat();
        assert_eq!(read.sum(name, &labels), Some(expected), "{name} {more:?}");
    }
    let mode = |path: &PathBuf| {
        std::fs::metadata(path)
            .expect("a file")
            .permissions()
            .mode()
    };
    assert_eq!(mode(&file) & 0o7777, 0o644);
    assert_eq!(mode(&test.socket()) & 0o7777, 0o600);
}

#[test]
fn connections_and_tokens_are_counted() {
    let test = Test::start(|_| ());
    let key = test.key("connected");
    test.sign(&key).expect("a signature");
    let endpoint = test.emulator.url.trim_end_matches('/').to_owned();
    let of_this = |snapshot: Snapshot| {
        let all = snapshot.connections.into_iter();
        let mut found = all.filter(|it| endpoint.ends_with(it.endpoint.raw()));
        found.next().expect("it is there")
    };
    let host = of_this(test.snapshot());
    assert_eq!((host.opened, host.open), (1, 1));
    let tokens = test.snapshot().tokens;
    assert_eq!(tokens.len(), 1, "{tokens:?}");
    assert!(pairs(&tokens[0].renewals).iter().all(|(of, _)| *of == "ok"));
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let now = now.expect("a time").as_secs();
    assert!(tokens[0].expires.is_some_and(|at| at > now), "{tokens:?}");
    test.client.close();
    eventually(|| (of_this(test.snapshot()).open == 0).then_some(()));
}

#[test]
fn files_go_with_the_thread_and_come_again_with_the_next_operation() {
    let test = Test::start(|_| ());
    let key = test.key("again");
    let (file, socket) = (test.file(), test.socket());
    let are_there = || (file.exists() && socket.exists()).then_some(());
    eventually(are_there);
    Client::shutdown();
    assert!(!file.exists() && !socket.exists());
    test.sign(&key).expect("a signature");
    eventually(are_there);
    assert_eq!(test.operations("again", "load_key").total(), 1);
    // Whoever takes the socket's file away, or the other, gets another.
    std::fs::remove_file(&socket).expect("it is there");
    std::fs::remove_file(&file).expect("it is there");
    eventually(are_there);
}

#[test]
fn who_asks_and_never_reads_holds_up_nobody() {
    let test = Test::start(|_| ());
    let key = test.key("held");
    let socket = test.socket();
    let idle: Vec<_> = (0..20)
        .filter_map(|_| eventually(|| Some(UnixStream::connect(&socket).ok())))
        .collect();
    for _ in 0..3 {
        test.sign(&key).expect("a signature");
    }
    assert_eq!(test.operations("held", "sign").total(), 3);
    drop(idle);
}
