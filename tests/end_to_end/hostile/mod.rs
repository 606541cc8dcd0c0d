//! A token goes to the HSM and to nobody else, whatever the HSM, the network or a proxy says.
//!
//! An impostor here is a TLS server that says what it likes; what it points to is an emulator,
//! whose log tells whether anybody came.

mod endless;
mod impostor;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use openssl::bn::BigNumContext;
use openssl::ec::{EcGroup, EcKey, PointConversionForm};
use openssl::nid::Nid;
use openssl::ssl::SslVersion;

pub(crate) use self::impostor::{Answer, Guise, Impostor, answer, lead, secret};
use self::impostor::{always, led_to, refusals, trust};
use crate::support::{EC_P256, Hsm, Loading, sample};

const KEY: &str = "managedhsm:MyHSM:k";

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
        refusals(&hsm, &[]);
        assert!(impostor.heard().contains("GET /keys/k?"), "{status}");
        assert_eq!(hsm.requests().len(), before, "{status} was followed");
    }
}

#[test]
fn a_path_that_begins_like_a_host_leads_nowhere_else() {
    let impostor = Impostor::disguised(&Guise::default(), always(b"".to_vec()));
    let other = format!("localhost:{}", impostor.port);
    let next = Arc::new(Mutex::new(String::new()));
    let page: Answer = {
        let (next, other) = (Arc::clone(&next), other.clone());
        Arc::new(move |tls, _| {
            let host = next.lock().expect("a host").clone();
            let body =
                format!(r#"{{"value":[],"nextLink":"https://{host}//{other}/keys?page=2"}}"#);
            let head = "Content-Type: application/json\r\n";
            tls.write_all(answer("200 OK", head, &body).as_bytes())
        })
    };
    let own = Impostor::disguised(&Guise::default(), page);
    *next.lock().expect("a host") = format!("localhost:{}", own.port);
    let mut hsm = lead(Hsm::with_keys(&[("k", EC_P256)]), &own);
    trust(&mut hsm, &impostor);
    hsm.openssl(
        Loading::AkvFirst,
        &["storeutl", "-keys", "managedhsm:MyHSM"],
    );
    hsm.akv(&["keys", "list", "managedhsm:MyHSM"]);
    assert!(own.heard().contains(&format!("GET //{other}/keys?")));
    assert_eq!(impostor.heard(), "");
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
    refusals(&hsm, &[]);
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
    // A name server that lies leads to a host that can't show a certificate for the name; one that
    // is on the path shows its own.
    for (host, is_trusted, words) in [
        ("elsewhere.example", true, "not valid for name"),
        ("localhost", false, "UnknownIssuer"),
    ] {
        let mut hsm = Hsm::with_keys(&[("k", EC_P256)]);
        let impostor = Impostor::start(host, answer("200 OK", "", "{}"));
        if is_trusted {
            trust(&mut hsm, &impostor);
        }
        let url = format!("https://localhost:{}", impostor.port);
        hsm.set("AZURE_MANAGEDHSM_URL", &url);
        hsm.set("AKV_MAX_RETRIES", "0");
        refusals(&hsm, &["certificate", words]);
        assert_eq!(impostor.heard(), "", "{host}");

        // The same for where tokens come from.
        hsm.log_in();
        let target = hsm.variable("AZURE_MANAGEDHSM_URL").to_owned();
        hsm.set("AZURE_AUTHORITY_HOST", &url);
        hsm.openssl(Loading::AkvFirst, &["pkey", "-in", KEY, "-noout"])
            .fails_with(&["ClientSecretCredential", "invalid peer certificate"]);
        assert_eq!(impostor.heard(), "", "{host} in the place of {target}");
    }
}

#[test]
fn what_is_not_todays_tls_is_refused_before_anything_is_said() {
    const YEAR: i64 = 365 * 24 * 3600;
    let cases: [(Guise, &str, &str); 6] = [
        (
            Guise {
                valid: [-YEAR, -60],
                ..Guise::default()
            },
            "TLSv1.3",
            "certificate expired",
        ),
        (
            Guise {
                valid: [3600, YEAR],
                ..Guise::default()
            },
            "TLSv1.3",
            "certificate not valid yet",
        ),
        (
            Guise {
                version: Some(SslVersion::TLS1_1),
                ciphers: "ALL",
                ..Guise::default()
            },
            "TLSv1.1",
            "ProtocolVersion",
        ),
        // No forward secrecy; a mode that padding oracles were found in; no encryption at all.
        (
            Guise {
                version: Some(SslVersion::TLS1_2),
                ciphers: "AES256-GCM-SHA384",
                ..Guise::default()
            },
            "TLSv1.2 AES256-GCM-SHA384",
            "HandshakeFailure",
        ),
        (
            Guise {
                version: Some(SslVersion::TLS1_2),
                ciphers: "ECDHE-RSA-AES256-SHA384",
                ..Guise::default()
            },
            "TLSv1.2 ECDHE-RSA-AES256-SHA384",
            "HandshakeFailure",
        ),
        (
            Guise {
                version: Some(SslVersion::TLS1_2),
                ciphers: "NULL-SHA256",
                ..Guise::default()
            },
            "TLSv1.2 NULL-SHA256",
            "HandshakeFailure",
        ),
    ];
    for (guise, what, words) in cases {
        let impostor = Impostor::disguised(&guise, always(answer("200 OK", "", "{}")));
        let hsm = lead(Hsm::with_keys(&[("k", EC_P256)]), &impostor);
        refusals(&hsm, &[words]);
        assert_eq!(impostor.heard(), "", "{what}: {words}");
        assert!(impostor.greet().contains(what), "{}", impostor.greet());
    }
}

#[test]
fn a_connection_that_is_broken_off_is_an_error_and_no_signal() {
    let break_off: Answer = Arc::new(|tls, _| {
        tls.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")?;
        let _ = tls.shutdown();
        // Without a word: what comes now is answered with RST.
        tls.get_ref().shutdown(Shutdown::Both)?;
        Err(std::io::ErrorKind::BrokenPipe.into())
    });
    let impostor = Impostor::disguised(&Guise::default(), break_off);
    let hsm = lead(Hsm::with_keys(&[("k", EC_P256)]), &impostor);
    let program = hsm.compile("broken_pipe");
    hsm.run(&program, &[KEY, "100"]).succeeds();
    // Not each time: an endpoint that fails so is left alone for a while.
    let count = impostor.heard().matches("GET /keys/k?").count();
    assert!(count > 1, "{count}");
}

#[test]
fn what_is_compressed_is_not_unpacked() {
    // Some thousand bytes that would be 4 MB.
    let bomb = {
        let hsm = Hsm::start();
        let zeros = hsm.write("zeros", vec![b' '; 4 << 20]);
        let packed = hsm.run("gzip", &["--best", "--stdout", &zeros]);
        packed.succeeds();
        packed.bytes().to_vec()
    };
    assert!(bomb.len() < 10_000);
    for encoding in ["gzip", "deflate", "br", "zstd"] {
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Encoding: {encoding}\r\nContent-Length: {}\r\n\r\n",
            bomb.len()
        );
        let impostor =
            Impostor::disguised(&Guise::default(), always([head.as_bytes(), &bomb].concat()));
        let hsm = lead(Hsm::with_keys(&[("k", EC_P256)]), &impostor);
        hsm.openssl(Loading::AkvFirst, &["pkey", "-in", KEY, "-noout"])
            .fails_with(&["not the JSON", "line 1 column 1"]);
        refusals(&hsm, &[]);
        let heard = impostor.heard().to_ascii_lowercase();
        assert!(
            heard.contains("get /keys/k?") && !heard.contains("accept-encoding"),
            "{heard}"
        );
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
    server.shutdown(Shutdown::Both).ok()
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
    refusals(&hsm, &[]);
    assert_eq!(impostor.heard(), "");
}

#[test]
fn a_server_without_post_quantum_key_exchange_is_refused_where_it_is_required() {
    let (mut hsm, impostor) = led_to(|_| answer("404 Not Found", "", "{}"));
    hsm.set("AKV_REQUIRE_POST_QUANTUM", "yes");
    refusals(&hsm, &[]);
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

/// Numbers in base64url that are no coordinates of a point and no RSA key, each with the words of
/// its refusal.
fn bad_public_keys() -> Vec<(String, &'static str)> {
    let encode = |number: &[u8]| URL_SAFE_NO_PAD.encode(number);
    let ec = |curve: &str, x: &[u8], y: &[u8]| {
        let (x, y) = (encode(x), encode(y));
        format!(r#""kty":"EC-HSM","crv":"{curve}","x":"{x}","y":"{y}""#)
    };
    let rsa = |n: &[u8], e: &[u8]| {
        let (n, e) = (encode(n), encode(e));
        format!(r#""kty":"RSA-HSM","n":"{n}","e":"{e}""#)
    };
    let mut bad = Vec::new();
    for (curve, nid, len) in [
        ("P-256", Nid::X9_62_PRIME256V1, 32),
        ("P-384", Nid::SECP384R1, 48),
        ("P-521", Nid::SECP521R1, 66),
        ("P-256K", Nid::SECP256K1, 32),
    ] {
        let group = EcGroup::from_curve_name(nid).expect("a curve");
        let key = EcKey::generate(&group).expect("a key");
        let mut context = BigNumContext::new().expect("a context");
        let point = key
            .public_key()
            .to_bytes(&group, PointConversionForm::UNCOMPRESSED, &mut context)
            .expect("a point");
        let (x, y) = point[1..].split_at(len);
        let mut off = y.to_vec();
        off[len - 1] ^= 1;
        let (zero, largest) = (vec![0; len], vec![0xff; len]);
        for (x, y) in [(x, &off[..]), (&zero, &zero), (&largest, y), (y, x)] {
            bad.push((ec(curve, x, y), "no point of the curve"));
        }
    }
    let (modulus, even) = ([0xff; 256], [0xfe; 256]);
    bad.push((rsa(&modulus[128..], &[1, 0, 1]), "1024 bits"));
    bad.push((rsa(&even, &[1, 0, 1]), "even"));
    for exponent in [&[1][..], &[2], &[], &[1; 9]] {
        bad.push((rsa(&modulus, exponent), "public exponent"));
    }
    bad
}

#[test]
fn what_is_no_public_key_is_neither_loaded_nor_shown() {
    for (numbers, words) in sample(bad_public_keys(), 4) {
        let (hsm, _impostor) = led_to(|_| {
            let version = "0123456789abcdef0123456789abcdef";
            let body = format!(
                r#"{{"key":{{"kid":"https://localhost/keys/k/{version}","key_ops":["sign","verify"],{numbers}}}}}"#
            );
            answer("200 OK", "Content-Type: application/json\r\n", &body)
        });
        let file = hsm.write("message", "a message");
        let uses: [&[&str]; 5] = [
            &["pkey", "-in", KEY, "-check", "-noout"],
            &["pkey", "-in", KEY, "-pubin", "-pubcheck", "-noout"],
            &["pkey", "-in", KEY, "-text_pub", "-noout"],
            &["pkey", "-in", KEY, "-pubout"],
            &[
                "dgst",
                "-sha256",
                "-verify",
                KEY,
                "-signature",
                &file,
                &file,
            ],
        ];
        for arguments in uses {
            let text = hsm
                .openssl(Loading::AkvFirst, arguments)
                .fails_with(&[words]);
            assert!(!text.contains("Key is valid"), "{text}");
        }
        hsm.akv(&["key", "pem", KEY]).fails_with(&[words]);
    }
}

#[test]
fn where_the_hsm_does_not_only_pad_the_error_asks_for_the_digest() {
    let json = "Content-Type: application/json\r\n";
    let n = URL_SAFE_NO_PAD.encode([0xff; 256]);
    let key = format!(
        r#"{{"key":{{"kid":"https://localhost/keys/k/0123456789abcdef0123456789abcdef","kty":"RSA-HSM","key_ops":["sign"],"n":"{n}","e":"AQAB"}}}}"#
    );
    let refusal = r#"{"error":{"code":"BadParameter","message":"RSNULL is not supported"}}"#;
    let answers = [
        answer("200 OK", json, &key),
        answer("400 Bad Request", json, refusal),
    ];
    for loading in [Loading::AkvFirst, Loading::DefaultFirst] {
        let (answers, count) = (answers.clone(), AtomicUsize::new(0));
        let in_turn: Answer = Arc::new(move |tls, _request| {
            let turn = count.fetch_add(1, Ordering::Relaxed);
            tls.write_all(answers[turn.min(1)].as_bytes())
        });
        let impostor = Impostor::disguised(&Guise::default(), in_turn);
        let hsm = lead(Hsm::with_keys(&[]), &impostor);
        let digest = hsm.write("digest", [7; 32]);
        hsm.openssl(
            loading,
            &["pkeyutl", "-sign", "-inkey", KEY, "-in", &digest],
        )
        .fails_with(&["RSNULL is not supported", "-pkeyopt digest:sha256"]);
        assert!(impostor.heard().contains("/sign?"));
    }
}
