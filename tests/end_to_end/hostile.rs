//! A token goes to the HSM and to nobody else, whatever the HSM, the network or a proxy says.
//!
//! An impostor here is a TLS server that says what it likes; what it points to is an emulator, whose log tells whether
//! anybody came.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use openssl::asn1::Asn1Time;
use openssl::bn::{BigNum, MsbOption};
use openssl::hash::MessageDigest;
use openssl::pkey::PKey;
use openssl::rsa::Rsa;
use openssl::ssl::{SslAcceptor, SslMethod};
use openssl::x509::extension::SubjectAlternativeName;
use openssl::x509::{X509, X509NameBuilder};

use crate::support::{EC_P256, Hsm, Loading, Outcome};

const KEY: &str = "managedhsm:MyHSM:k";

/// A TLS server that gives every request the same answer. It goes on as long as the tests do.
struct Impostor {
    certificate: Vec<u8>,
    port: u16,
    /// All requests that it got, as they were sent.
    heard: Arc<Mutex<String>>,
}

impl Impostor {
    /// `host`: whom its certificate is for. `answer`: head and body.
    fn start(host: &str, answer: String) -> Self {
        let key = PKey::from_rsa(Rsa::generate(2048).expect("a key")).expect("a key");
        let mut name = X509NameBuilder::new().expect("a name");
        name.append_entry_by_text("CN", "impostor").expect("a name");
        let name = name.build();
        let mut serial = BigNum::new().expect("a number");
        serial
            .rand(120, MsbOption::MAYBE_ZERO, false)
            .expect("a number");
        let mut builder = X509::builder().expect("a certificate");
        let certificate = (|| {
            builder.set_version(2)?;
            builder.set_serial_number(&*serial.to_asn1_integer()?)?;
            builder.set_subject_name(&name)?;
            builder.set_issuer_name(&name)?;
            builder.set_not_before(&*Asn1Time::days_from_now(0)?)?;
            builder.set_not_after(&*Asn1Time::days_from_now(2)?)?;
            builder.set_pubkey(&key)?;
            let context = builder.x509v3_context(None, None);
            let names = SubjectAlternativeName::new().dns(host).build(&context)?;
            builder.append_extension(names)?;
            builder.sign(&key, MessageDigest::sha256())
        })();
        certificate.expect("a certificate can be made");
        let certificate = builder.build();
        let mut acceptor =
            SslAcceptor::mozilla_intermediate_v5(SslMethod::tls_server()).expect("TLS");
        acceptor.set_private_key(&key).expect("the key fits");
        acceptor
            .set_certificate(&certificate)
            .expect("the certificate fits");
        let acceptor = acceptor.build();
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let heard = Arc::new(Mutex::new(String::new()));
        let notes = Arc::clone(&heard);
        thread::spawn(move || {
            for stream in listener.incoming() {
                // Who does not trust it leaves during the handshake.
                let Ok(mut tls) = acceptor.accept(stream.expect("a connection")) else {
                    continue;
                };
                let mut request = [0; 8192];
                while let Ok(count @ 1..) = tls.read(&mut request) {
                    let text = String::from_utf8_lossy(&request[..count]);
                    notes.lock().expect("nobody panics").push_str(&text);
                    if tls.write_all(answer.as_bytes()).is_err() {
                        break;
                    }
                }
            }
        });
        Self {
            certificate: certificate.to_pem().expect("PEM"),
            port,
            heard,
        }
    }

    fn heard(&self) -> String {
        self.heard.lock().expect("nobody panics").clone()
    }
}

/// An emulator, and its environment led to an impostor instead, whose certificate is trusted as well.
fn led_to(answer: impl FnOnce(&str) -> String) -> (Hsm, Impostor) {
    let mut hsm = Hsm::with_keys(&[("k", EC_P256)]);
    let impostor = Impostor::start("localhost", answer(hsm.variable("AZURE_MANAGEDHSM_URL")));
    trust(&mut hsm, &impostor);
    hsm.set(
        "AZURE_MANAGEDHSM_URL",
        &format!("https://localhost:{}", impostor.port),
    );
    hsm.set("AKV_MAX_RETRIES", "0");
    (hsm, impostor)
}

fn trust(hsm: &mut Hsm, impostor: &Impostor) {
    let mut trusted = fs::read(hsm.variable("AKV_CA_FILE")).expect("a CA");
    trusted.extend_from_slice(&impostor.certificate);
    let file = hsm.write("trusted.pem", trusted);
    hsm.set("AKV_CA_FILE", &file);
}

/// The part of the token that nobody could guess.
fn secret(hsm: &Hsm) -> String {
    let token = hsm.variable("AZURE_CLI_ACCESS_TOKEN");
    token
        .rsplit('.')
        .next()
        .expect("a token has parts")
        .to_owned()
}

/// Has the key loaded and listed by the provider, and by `akv` in both of its ways. All must fail, and show nothing of the token.
fn refusals(hsm: &Hsm) {
    let secret = secret(hsm);
    let all: [Outcome; 5] = [
        hsm.openssl(Loading::AkvFirst, &["pkey", "-in", KEY, "-noout"]),
        hsm.openssl(
            Loading::AkvFirst,
            &["storeutl", "-keys", "managedhsm:MyHSM"],
        ),
        hsm.akv(&["key", "pem", KEY, "--pin"]),
        hsm.akv(&["keys", "show", KEY]),
        hsm.akv(&["keys", "list", "managedhsm:MyHSM"]),
    ];
    for outcome in all {
        let text = outcome.fails_with(&[]);
        assert!(!text.contains(&secret), "{text}");
    }
}

fn answer(status: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {length}\r\n\r\n{body}")
}

#[test]
fn redirects_are_not_followed() {
    for status in [
        "301 Moved",
        "302 Found",
        "303 See Other",
        "307 Temporary",
        "308 Permanent",
    ] {
        let (hsm, impostor) = led_to(|target| {
            answer(
                status,
                &format!("Location: {target}/keys/k?api-version=7.4\r\n"),
                "",
            )
        });
        let before = hsm.requests().len();
        refusals(&hsm);
        assert!(impostor.heard().contains("GET /keys/k?"), "{status}");
        assert_eq!(hsm.requests().len(), before, "{status} was followed");
    }
}

#[test]
fn the_next_page_is_looked_for_on_the_same_host_only() {
    for (next, words) in [
        ("TARGET/keys?api-version=7.4&$skiptoken=a", "another host"),
        ("//TARGETHOST/keys?api-version=7.4", "list keys of"),
        ("https://localhost@TARGETHOST/keys", "another host"),
        ("http://TARGETHOST/keys", "non-TLS"),
    ] {
        let (hsm, impostor) = led_to(|target| {
            let host = target.trim_start_matches("https://");
            let next = next.replace("TARGETHOST", host).replace("TARGET", target);
            let body = format!(r#"{{"value":[],"nextLink":"{next}"}}"#);
            answer("200 OK", "Content-Type: application/json\r\n", &body)
        });
        let before = hsm.requests().len();
        let listed = hsm.openssl(
            Loading::AkvFirst,
            &["storeutl", "-keys", "managedhsm:MyHSM"],
        );
        listed.fails_with(&["nextLink", "another host"]);
        let managed = hsm.akv(&["keys", "list", "managedhsm:MyHSM"]);
        let text = managed.fails_with(&[words]);
        assert!(!text.contains(&secret(&hsm)), "{text}");
        assert!(impostor.heard().contains("GET /keys?"));
        assert_eq!(hsm.requests().len(), before, "{next} was followed");
    }
}

#[test]
fn a_challenge_decides_neither_who_gives_tokens_nor_what_for() {
    let (mut hsm, impostor) = led_to(|target| {
        let challenge = format!(
            "WWW-Authenticate: Bearer authorization=\"{target}/11111111-0000-0000-0000-000000000000\", \
             resource=\"https://vault.azure.net\"\r\n"
        );
        answer("401 Unauthorized", &challenge, "")
    });
    let before = hsm.requests().len();
    refusals(&hsm);
    assert_eq!(hsm.requests().len(), before, "the challenge led elsewhere");
    assert!(!impostor.heard().contains("vault.azure.net"));

    // An application's secret goes to Entra ID as the settings have it, and nowhere else.
    let url = hsm.variable("AZURE_MANAGEDHSM_URL").to_owned();
    let ca = hsm.variable("AKV_CA_FILE").to_owned();
    hsm.log_in();
    hsm.set("AZURE_MANAGEDHSM_URL", &url);
    hsm.set("AKV_CA_FILE", &ca);
    hsm.openssl(Loading::AkvFirst, &["pkey", "-in", KEY, "-noout"])
        .fails_with(&["401"]);
    hsm.akv(&["keys", "show", KEY]).fails_with(&["401"]);
    assert!(
        !impostor
            .heard()
            .contains(hsm.variable("AZURE_CLIENT_SECRET"))
    );
}

#[test]
fn a_server_whose_certificate_does_not_fit_hears_nothing() {
    // A name server that lies leads to a host that can't show a certificate for the name; one that is on the path shows its own.
    for (host, is_trusted) in [("elsewhere.example", true), ("localhost", false)] {
        let mut hsm = Hsm::with_keys(&[("k", EC_P256)]);
        let impostor = Impostor::start(host, answer("200 OK", "", "{}"));
        if is_trusted {
            trust(&mut hsm, &impostor);
        }
        let url = format!("https://localhost:{}", impostor.port);
        hsm.set("AZURE_MANAGEDHSM_URL", &url);
        hsm.set("AKV_MAX_RETRIES", "0");
        refusals(&hsm);
        assert_eq!(impostor.heard(), "", "{host}");

        // The same for where tokens come from.
        hsm.log_in();
        let target = hsm.variable("AZURE_MANAGEDHSM_URL").to_owned();
        hsm.set("AZURE_AUTHORITY_HOST", &url);
        hsm.openssl(Loading::AkvFirst, &["pkey", "-in", KEY, "-noout"])
            .fails_with(&["ClientSecretCredential"]);
        assert_eq!(impostor.heard(), "", "{host} in the place of {target}");
    }
}

/// A proxy that connects to where it is told, or to where it likes. Notes all that it can read.
struct Proxy {
    port: u16,
    seen: Arc<Mutex<Vec<u8>>>,
}

impl Proxy {
    fn start(instead: Option<u16>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let notes = Arc::clone(&seen);
        thread::spawn(move || {
            for client in listener.incoming() {
                let notes = Arc::clone(&notes);
                thread::spawn(move || relay(client.expect("a connection"), instead, &notes));
            }
        });
        Self { port, seen }
    }

    fn seen(&self) -> String {
        String::from_utf8_lossy(&self.seen.lock().expect("nobody panics")).into_owned()
    }
}

/// Answers CONNECT, and passes bytes on in both directions until one side ends.
fn relay(mut client: TcpStream, instead: Option<u16>, notes: &Mutex<Vec<u8>>) -> Option<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        client.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
    }
    notes
        .lock()
        .expect("nobody panics")
        .extend_from_slice(&head);
    let text = String::from_utf8_lossy(&head).into_owned();
    let named = text.strip_prefix("CONNECT ")?.split(' ').next()?.to_owned();
    let target = instead.map_or(named, |port| format!("localhost:{port}"));
    let mut server = TcpStream::connect(target).ok()?;
    client
        .write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")
        .ok()?;
    let (mut back, mut to) = (server.try_clone().ok()?, client.try_clone().ok()?);
    thread::spawn(move || std::io::copy(&mut back, &mut to));
    let mut buffer = [0; 4096];
    while let Ok(count @ 1..) = client.read(&mut buffer) {
        notes
            .lock()
            .expect("nobody panics")
            .extend_from_slice(&buffer[..count]);
        server.write_all(&buffer[..count]).ok()?;
    }
    server.shutdown(std::net::Shutdown::Both).ok()
}

#[test]
fn a_proxy_sees_the_host_and_no_token() {
    let mut hsm = Hsm::with_keys(&[("k", EC_P256)]);
    let proxy = Proxy::start(None);
    let address = format!("http://user:pass@127.0.0.1:{}", proxy.port);
    hsm.set("HTTPS_PROXY", &address);
    for loading in [Loading::AkvFirst, Loading::Config] {
        hsm.openssl(loading, &["pkey", "-in", KEY, "-noout"])
            .succeeds();
    }
    hsm.akv(&["keys", "show", KEY]).succeeds();
    let doctor = hsm.akv(&["doctor", KEY]).succeeds();
    assert!(doctor.contains("the proxy 127.0.0.1"), "{doctor}");
    let seen = proxy.seen();
    assert!(seen.starts_with("CONNECT localhost:"), "{seen}");
    // user:pass, for the proxy alone.
    assert!(seen.contains("Basic dXNlcjpwYXNz"), "{seen}");
    assert!(
        !seen.contains("Bearer") && !seen.contains(&secret(&hsm)),
        "{seen}"
    );

    // Tokens are fetched through it too, unless NO_PROXY names the host.
    hsm.log_in();
    hsm.set("HTTPS_PROXY", &address);
    hsm.openssl(Loading::AkvFirst, &["pkey", "-in", KEY, "-noout"])
        .succeeds();
    let seen = proxy.seen();
    assert!(
        !seen.contains(hsm.variable("AZURE_CLIENT_SECRET")),
        "{seen}"
    );
    hsm.set("NO_PROXY", "localhost");
    hsm.openssl(Loading::AkvFirst, &["pkey", "-in", KEY, "-noout"])
        .succeeds();
    hsm.akv(&["keys", "show", KEY]).succeeds();
    assert_eq!(proxy.seen(), seen);
}

#[test]
fn a_proxy_cannot_put_another_server_in_the_place_of_the_hsm() {
    let mut hsm = Hsm::with_keys(&[("k", EC_P256)]);
    let impostor = Impostor::start("localhost", answer("200 OK", "", "{}"));
    let proxy = Proxy::start(Some(impostor.port));
    hsm.set("HTTPS_PROXY", &format!("http://127.0.0.1:{}", proxy.port));
    hsm.set("AKV_MAX_RETRIES", "0");
    refusals(&hsm);
    assert_eq!(impostor.heard(), "");
}

#[test]
fn a_server_without_post_quantum_key_exchange_is_refused_where_it_is_required() {
    let (mut hsm, impostor) = led_to(|_| answer("404 Not Found", "", "{}"));
    hsm.set("AKV_REQUIRE_POST_QUANTUM", "yes");
    refusals(&hsm);
    // OpenSSL has had X25519MLKEM768 since 3.5.
    let is_old = openssl::version::number() < 0x3050_0000;
    assert_eq!(impostor.heard().is_empty(), is_old);

    // The emulator has it.
    let mut hsm = Hsm::with_keys(&[("k", EC_P256)]);
    hsm.set("AKV_REQUIRE_POST_QUANTUM", "yes");
    hsm.set("AKV_LOG_LEVEL", "debug");
    let text = hsm
        .openssl(Loading::AkvFirst, &["pkey", "-in", KEY, "-noout"])
        .text();
    assert!(text.contains("X25519MLKEM768"), "{text}");
    hsm.akv(&["keys", "show", KEY]).succeeds();
}
