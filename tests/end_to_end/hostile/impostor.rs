//! A TLS server that answers what a test says, and what leads clients to it.

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
use openssl::ssl::{
    Ssl, SslConnector, SslContext, SslContextBuilder, SslMethod, SslStream, SslVerifyMode,
    SslVersion,
};
use openssl::x509::extension::SubjectAlternativeName;
use openssl::x509::{X509, X509NameBuilder};

use super::KEY;
use crate::support::{EC_P256, Hsm, Loading, Outcome};

/// A TLS server that gives every request the same answer. It goes on as long as the tests do.
pub(crate) struct Impostor {
    pub(super) certificate: Vec<u8>,
    pub(super) port: u16,
    /// All requests that it got, as they were sent.
    pub(super) heard: Arc<Mutex<String>>,
}

/// What a server shows of itself in a handshake.
pub(crate) struct Guise {
    /// Whom its certificate is for.
    pub(super) host: &'static str,
    /// The certificate's begin and end, in seconds from now.
    pub(super) valid: [i64; 2],
    /// The only version of TLS that it speaks; none: 1.2 and 1.3.
    pub(super) version: Option<SslVersion>,
    /// Its cipher suites up to TLS 1.2.
    pub(super) ciphers: &'static str,
}

impl Default for Guise {
    fn default() -> Self {
        Self {
            host: "localhost",
            valid: [-60, 2 * 24 * 3600],
            version: None,
            ciphers: "DEFAULT",
        }
    }
}

/// How a server answers a request: all of it, in pieces without an end, or otherwise.
pub(crate) type Answer =
    Arc<dyn Fn(&mut SslStream<TcpStream>, &[u8]) -> std::io::Result<()> + Send + Sync>;

/// The same bytes for each request.
pub(super) fn always(bytes: impl Into<Vec<u8>>) -> Answer {
    let bytes = bytes.into();
    Arc::new(move |tls, _| tls.write_all(&bytes))
}

/// A head, and then a piece again and again until nobody listens.
pub(super) fn endless(head: &'static str, piece: Vec<u8>) -> Answer {
    Arc::new(move |tls, _| {
        tls.write_all(head.as_bytes())?;
        loop {
            tls.write_all(&piece)?;
        }
    })
}

impl Impostor {
    pub(super) fn start(host: &'static str, answer: String) -> Self {
        let guise = Guise {
            host,
            ..Guise::default()
        };
        Self::disguised(&guise, always(answer))
    }

    pub(crate) fn disguised(guise: &Guise, answer: Answer) -> Self {
        let key = PKey::from_rsa(Rsa::generate(2048).expect("a key")).expect("a key");
        let mut name = X509NameBuilder::new().expect("a name");
        name.append_entry_by_text("CN", "impostor").expect("a name");
        let name = name.build();
        let mut serial = BigNum::new().expect("a number");
        serial
            .rand(120, MsbOption::MAYBE_ZERO, false)
            .expect("a number");
        let now = std::time::UNIX_EPOCH.elapsed().expect("a clock").as_secs() as i64;
        let mut builder = X509::builder().expect("a certificate");
        let certificate = (|| {
            builder.set_version(2)?;
            builder.set_serial_number(&*serial.to_asn1_integer()?)?;
            builder.set_subject_name(&name)?;
            builder.set_issuer_name(&name)?;
            builder.set_not_before(&*Asn1Time::from_unix(now + guise.valid[0])?)?;
            builder.set_not_after(&*Asn1Time::from_unix(now + guise.valid[1])?)?;
            builder.set_pubkey(&key)?;
            let context = builder.x509v3_context(None, None);
            let names = SubjectAlternativeName::new()
                .dns(guise.host)
                .build(&context)?;
            builder.append_extension(names)?;
            builder.sign(&key, MessageDigest::sha256())
        })();
        certificate.expect("a certificate can be made");
        let certificate = builder.build();
        let mut context = SslContext::builder(SslMethod::tls_server()).expect("TLS");
        context.set_private_key(&key).expect("the key fits");
        context
            .set_certificate(&certificate)
            .expect("the certificate fits");
        restrict(&mut context, guise).expect("OpenSSL can do that");
        let context = context.build();
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let heard = Arc::new(Mutex::new(String::new()));
        let notes = Arc::clone(&heard);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let ssl = Ssl::new(&context).expect("TLS");
                // Who does not trust it leaves during the handshake.
                let Ok(mut tls) = ssl.accept(stream.expect("a connection")) else {
                    continue;
                };
                let mut request = [0; 8192];
                while let Ok(count @ 1..) = tls.read(&mut request) {
                    let text = String::from_utf8_lossy(&request[..count]);
                    notes.lock().expect("nobody panics").push_str(&text);
                    if answer(&mut tls, &request[..count]).is_err() {
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

    /// Has a client that takes everything say hello, to show that the server is one.
    pub(super) fn greet(&self) -> String {
        let mut connector = SslConnector::builder(SslMethod::tls_client()).expect("TLS");
        let anything = Guise {
            version: None,
            ciphers: "ALL:COMPLEMENTOFALL",
            ..Guise::default()
        };
        restrict(&mut connector, &anything).expect("OpenSSL can do that");
        connector.set_verify(SslVerifyMode::NONE);
        let stream = TcpStream::connect(("127.0.0.1", self.port)).expect("it listens");
        let mut tls = connector
            .build()
            .connect("localhost", stream)
            .expect("it takes every version and every cipher");
        tls.write_all(b"hello").expect("it reads");
        let mut first = [0];
        tls.read_exact(&mut first).expect("it answers");
        let session = tls.ssl();
        let cipher = session.current_cipher().expect("there is one").name();
        format!("{} {cipher}", session.version_str())
    }

    pub(super) fn heard(&self) -> String {
        self.heard.lock().expect("nobody panics").clone()
    }
}

/// Versions and cipher suites, among them those that OpenSSL doesn't take by itself.
fn restrict(
    context: &mut SslContextBuilder,
    guise: &Guise,
) -> Result<(), openssl::error::ErrorStack> {
    context.set_security_level(0);
    context.set_min_proto_version(Some(guise.version.unwrap_or(SslVersion::TLS1_1)))?;
    context.set_max_proto_version(guise.version)?;
    context.set_cipher_list(guise.ciphers)
}

/// An emulator, and its environment led to an impostor instead, whose certificate is trusted as
/// well.
pub(super) fn led_to(answer: impl FnOnce(&str) -> String) -> (Hsm, Impostor) {
    let hsm = Hsm::with_keys(&[("k", EC_P256)]);
    let answer = answer(hsm.variable("AZURE_MANAGEDHSM_URL"));
    let impostor = Impostor::start("localhost", answer);
    (lead(hsm, &impostor), impostor)
}

/// The environment of an emulator, led to an impostor instead, whose certificate is trusted as
/// well.
pub(crate) fn lead(mut hsm: Hsm, impostor: &Impostor) -> Hsm {
    trust(&mut hsm, impostor);
    hsm.set(
        "AZURE_MANAGEDHSM_URL",
        &format!("https://localhost:{}", impostor.port),
    );
    hsm.set("AKV_MAX_RETRIES", "0");
    hsm
}

pub(super) fn trust(hsm: &mut Hsm, impostor: &Impostor) {
    let mut trusted = fs::read(hsm.variable("AKV_CA_FILE")).expect("a CA");
    trusted.extend_from_slice(&impostor.certificate);
    let file = hsm.write("trusted.pem", trusted);
    hsm.set("AKV_CA_FILE", &file);
}

/// The part of the token that nobody could guess.
pub(crate) fn secret(hsm: &Hsm) -> String {
    let token = hsm.variable("AZURE_CLI_ACCESS_TOKEN");
    token
        .rsplit('.')
        .next()
        .expect("a token has parts")
        .to_owned()
}

/// Has the key loaded and listed by the provider, and by `akv` in both of its ways. All must fail
/// with the words, and show nothing of the token.
pub(super) fn refusals(hsm: &Hsm, words: &[&str]) {
    let secret = secret(hsm);
    let all: [Outcome; 5] = [
        hsm.openssl(Loading::AkvFirst, &["pkey", "-in", KEY, "-noout"]),
        hsm.openssl(
            Loading::AkvFirst,
            &["storeutl", "-keys", "managedhsm:MyHSM"],
        ),
        hsm.akv(&["key", "pem", KEY]),
        hsm.akv(&["keys", "show", KEY]),
        hsm.akv(&["keys", "list", "managedhsm:MyHSM"]),
    ];
    for outcome in all {
        let text = outcome.fails_with(words);
        assert!(!text.contains(&secret), "{text}");
    }
}

pub(crate) fn answer(status: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {length}\r\n\r\n{body}")
}
