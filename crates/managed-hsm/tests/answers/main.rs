//! Every answer belongs to its request, whatever a server sends, when, and how often.
//!
//! The name of a key is a script: a letter says what the server does with the first request for the
//! key, the next letter with the second, and so on. A letter with `0` behind it is an answer
//! without a name. All short scripts are tried, with connections that are kept from one script to
//! the next.

mod server;

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use managed_hsm::{
    AccessToken, Caller, CallerKind, Client, Decryption, Encryption, EncryptionAlgorithm, Error,
    KeyUri, NewKey, Settings, SignatureAlgorithm,
};
use server::{Offer, Server, turned};

/// How long a client waits for an answer before it asks again.
const PATIENCE: Duration = Duration::from_millis(150);
/// After so long without an answer a client takes the service to be down.
const OUTAGE: Duration = Duration::from_secs(5);
/// How long an operation may take.
const LONGEST: Duration = Duration::from_secs(60);

/// Callers whose requests the I/O thread sends.
struct SmallStacks;

impl Caller for SmallStacks {
    fn kind(&self) -> CallerKind {
        CallerKind::SmallStack
    }
}

fn client_with(server: &Server, by_io_thread: bool, patience: Duration) -> Client {
    let mut settings = Settings {
        endpoint: Some(server.url()),
        ca_file: Some(server.ca_file()),
        response_timeout: patience,
        operation_timeout: LONGEST,
        max_retries: 40,
        ..Settings::default()
    };
    settings.credentials.access_token = AccessToken::new("token");
    match by_io_thread {
        true => Client::called_by(settings, SmallStacks),
        false => Client::new(settings),
    }
}

/// Ends the scripts in which the client waits between its requests.
const IDLE: &str = "-idle";

/// A value that nobody else sends.
fn fresh() -> [u8; 32] {
    static NEXT: AtomicUsize = AtomicUsize::new(1);
    let mut value = [0x5a; 32];
    let next = NEXT.fetch_add(1, Ordering::Relaxed);
    value[..8].copy_from_slice(&next.to_be_bytes());
    value
}

/// One request of each kind, with the key that follows a script.
fn all_operations(server: &Server, client: &Client, script: &str) -> Result<(), Error> {
    let uri: KeyUri = format!("managedhsm:MyHSM:{script}").parse().expect("a URI");
    let key = client.get_key(&uri)?;
    assert_eq!(key.id.key.as_str(), script);
    // What is sent late finds the client in the middle of another request, or idle.
    let pause = || {
        if script.ends_with(IDLE) {
            server.wait_for_all(script);
        }
    };
    pause();
    let algorithm = EncryptionAlgorithm::RsaOaep256;
    let decryption = Decryption {
        algorithm,
        iv: None,
        aad: None,
        tag: None,
    };
    let encryption = Encryption {
        algorithm,
        iv: None,
        aad: None,
    };
    let mut random = Vec::new();
    for round in 0..2 {
        let value = fresh();
        let plaintext = client.decrypt(&key.id, &decryption, &value)?;
        assert_eq!(*plaintext, turned(&value), "{script} {round}: decrypt");
        pause();
        let value = fresh();
        let signature = client.sign(&key.id, SignatureAlgorithm::Es256, &value)?;
        assert_eq!(signature, turned(&value), "{script} {round}: sign");
        pause();
        let value = fresh();
        let unwrapped = client.unwrap_key(&key.id, algorithm, &value)?;
        assert_eq!(*unwrapped, turned(&value), "{script} {round}: unwrap");
        pause();
        let value = fresh();
        let wrapped = client.wrap_key(&key.id, algorithm, &value)?;
        assert_eq!(wrapped, turned(&value), "{script} {round}: wrap");
        pause();
        let value = fresh();
        let encrypted = client.encrypt(&key.id, &encryption, &value)?;
        assert_eq!(
            encrypted.ciphertext,
            turned(&value),
            "{script} {round}: encrypt"
        );
        pause();
        random.push(client.random_bytes(&uri.vault, 16)?.to_vec());
        let page = client.keys(&uri.vault)?.next_page(client)?;
        assert_eq!(page.map(|keys| keys.len()), Some(1), "{script} {round}");
    }
    // The server gives no bytes twice.
    assert_ne!(random[0], random[1], "{script}");
    Ok(())
}

/// All operations, and anew by a client with twice the patience where a machine that is busy didn't
/// answer in time, again and again: that is no wrong result. Once nothing has gone well for so long
/// that the client takes the service to be down, its error is that of the attempt.
fn patiently(server: &Server, client: &mut Client, by_io_thread: bool, script: &str) {
    let mut patience = PATIENCE;
    loop {
        let began = Instant::now();
        let error = match all_operations(server, client, script) {
            Ok(()) => return,
            Err(error) => error,
        };
        let is_of_busy = match error {
            Error::Timeout { .. } | Error::Down { .. } => true,
            Error::Connect { .. } => began.elapsed() >= OUTAGE,
            _ => false,
        };
        assert!(is_of_busy && patience < LONGEST, "{script}: {error}");
        patience *= 2;
        *client = client_with(server, by_io_thread, patience);
    }
}

/// All scripts of so many letters; of HTTP/1.1 with a name and without for each of them.
fn scripts(offer: Offer, letters: &str, len: usize) -> Vec<String> {
    let mut steps: Vec<String> = letters.chars().map(String::from).collect();
    if offer == Offer::Http1 {
        let nameless = letters.chars();
        steps.extend(nameless.map(|letter| format!("{letter}{}", server::NAMELESS)));
    }
    let mut all = vec![String::new()];
    for _ in 0..len {
        let longer = |script: &String| {
            let longer = steps.iter().map(|step| format!("{script}{step}"));
            longer.collect::<Vec<_>>()
        };
        all = all.iter().flat_map(longer).collect();
    }
    all
}

fn try_all(offer: Offer, by_io_thread: bool, letters: &str, len: usize) {
    let server = Server::start(offer);
    let left = Mutex::new(scripts(offer, letters, len));
    std::thread::scope(|scope| {
        for _ in 0..24 {
            scope.spawn(|| {
                let mut client = client_with(&server, by_io_thread, PATIENCE);
                loop {
                    let Some(script) = left.lock().expect("no panic").pop() else {
                        return;
                    };
                    let idle = format!("{script}{IDLE}");
                    for script in [script, idle] {
                        patiently(&server, &mut client, by_io_thread, &script);
                    }
                }
            });
        }
    });
    assert_eq!(
        server.has_spoken_http2(),
        offer == Offer::Http2 && by_io_thread
    );
}

#[test]
fn over_connections_that_callers_drive() {
    try_all(Offer::Http1, false, server::HTTP1, 2);
}

#[test]
fn over_connections_on_which_answers_have_no_names() {
    for by_io_thread in [false, true] {
        try_all(Offer::Nameless, by_io_thread, server::HTTP1, 2);
    }
}

#[test]
fn over_connections_of_http1_that_the_io_thread_drives() {
    try_all(Offer::Http1, true, server::HTTP1, 2);
}

#[test]
fn over_http2() {
    try_all(Offer::Http2, true, server::HTTP2, 3);
}

#[test]
fn a_connection_of_http2_that_answers_pings_alone_carries_no_other_request() {
    let server = Server::start(Offer::Http2);
    let client = client_with(&server, true, PATIENCE);
    let script = format!("a{}a{}a", server::SILENT, server::SILENT);
    for _ in 0..2 {
        all_operations(&server, &client, &script).expect("answers");
    }
    // A busy machine may not have answered another one in time.
    assert!(server.has_spoken_http2() && server.connections() >= 3);
}

#[test]
fn a_connection_on_which_answers_have_no_names_carries_one_request() {
    let server = Server::start(Offer::Nameless);
    for by_io_thread in [false, true] {
        let client = client_with(&server, by_io_thread, LONGEST);
        let before = server.connections();
        // Whether a copy comes or not, and whether it comes in time or not.
        let uri = format!("managedhsm:MyHSM:cda{by_io_thread}");
        let key = client.get_key(&uri.parse().expect("a URI")).expect("a key");
        for _ in 0..2 {
            let value = fresh();
            let signature = client.sign(&key.id, SignatureAlgorithm::Es256, &value);
            assert_eq!(signature.expect("a signature"), turned(&value));
        }
        assert_eq!(server.connections() - before, 3);
    }
}

#[test]
fn an_answer_to_a_request_that_is_still_being_sent_is_none() {
    let server = Server::start(Offer::Http1);
    for by_io_thread in [false, true] {
        let client = client_with(&server, by_io_thread, LONGEST);
        // The key is loaded by the first request.
        let script = format!("a{}{by_io_thread}", server::EARLY);
        let uri: KeyUri = format!("managedhsm:MyHSM:{script}").parse().expect("a URI");
        client.get_key(&uri).expect("a key");
        // More than the sockets on the way hold.
        let key = NewKey {
            release_policy: Some(vec![7; 16 << 20]),
            ..NewKey::default()
        };
        let made = client.create_key(&uri.vault, &uri.key, &key);
        let problem = made.expect_err("it is not asked for again").to_string();
        assert!(problem.contains("nobody had asked for"), "{problem}");
    }
}

#[test]
fn tickets_and_new_keys_of_tls_do_not_cost_a_connection() {
    let server = Server::start(Offer::Http1);
    let client = client_with(&server, false, LONGEST);
    for _ in 0..4 {
        all_operations(&server, &client, "aaa").expect("answers");
    }
    assert_eq!(server.connections(), 1);
}
