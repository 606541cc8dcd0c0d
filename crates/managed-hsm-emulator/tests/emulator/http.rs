//! HTTP as it goes over the line, byte by byte: what client libraries leave no choice in.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use openssl::ssl::{SslConnector, SslMethod, SslStream};

use crate::running::Emulator;

/// A connection of HTTP/1.1.
fn connect(emulator: &Emulator) -> SslStream<TcpStream> {
    connect_by(emulator, b"\x08http/1.1")
}

/// A connection of a protocol, in the form of ALPN.
fn connect_by(emulator: &Emulator, protocol: &[u8]) -> SslStream<TcpStream> {
    let mut connector = SslConnector::builder(SslMethod::tls()).unwrap();
    connector.set_alpn_protos(protocol).unwrap();
    connector
        .set_ca_file(emulator.data().join("ca.pem"))
        .unwrap();
    let stream = TcpStream::connect(address(emulator)).unwrap();
    let limit = Some(Duration::from_secs(40));
    stream.set_read_timeout(limit).unwrap();
    connector.build().connect("localhost", stream).unwrap()
}

fn address(emulator: &Emulator) -> String {
    let authority = emulator.url.strip_prefix("https://").unwrap();
    authority.replace("localhost", "127.0.0.1")
}

/// All that comes until the other side ends the connection.
fn rest(stream: &mut SslStream<TcpStream>) -> String {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    // However it ends: with TLS's farewell or without.
    while let Ok(read @ 1..) = stream.read(&mut buffer) {
        bytes.extend_from_slice(&buffer[..read]);
    }
    String::from_utf8(bytes).unwrap()
}

fn answer(emulator: &Emulator, request: &str) -> String {
    let mut stream = connect(emulator);
    stream.write_all(request.as_bytes()).unwrap();
    rest(&mut stream)
}

/// As documented for clients that can send none but GET and POST.
#[tokio::test]
async fn a_post_stands_for_the_method_that_its_header_names() {
    let folder = tempfile::tempdir().unwrap();
    let emulator = Emulator::start(folder.path());
    let body = serde_json::json!({"kty": "EC"});
    emulator.post("/keys/k/create", body).await.success();
    let token = emulator.token(&[]);
    let status = |line: &str, header: &str, body: &str| {
        let length = body.len();
        let request = format!(
            "{line} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n{header}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
        );
        let answer = answer(&emulator, &request);
        answer.split(' ').nth(1).unwrap().to_owned()
    };
    let change = r#"{"tags":{"a":"b"}}"#;
    for (line, header, body, expected) in [
        ("POST /keys/k", "X-HTTP-METHOD: GET", "", "200"),
        ("POST /keys/k/", "x-http-method: PATCH", change, "200"),
        ("POST /keys/k", "X-HTTP-REQUEST: DELETE", "", "200"),
        ("GET /deletedkeys/k", "X-HTTP-METHOD: DELETE", "", "200"),
        ("POST /deletedkeys/k", "X-HTTP-METHOD: DELETE", "", "204"),
        ("POST /keys/k", "X-HTTP-METHOD: GET", "", "404"),
        ("POST /keys", "X-HTTP-METHOD: (", "", "405"),
    ] {
        assert_eq!(status(line, header, body), expected, "{line} {header}");
    }
}

/// As documented in Microsoft's private-link-diagnostics.
#[tokio::test]
async fn a_vault_tells_a_probe_that_it_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let emulator = Emulator::start_with(folder.path(), &["--vault", "contoso"]);
    let vault = &emulator.further["vault contoso"];
    for path in ["/healthstatus", "/HealthStatus/?api-version=7.4"] {
        let url = format!("{vault}{path}");
        let answer = emulator.send("GET", &url, None, None).await;
        assert_eq!((answer.status.as_u16(), answer.body.len()), (200, 4));
        let network = &answer.headers["x-ms-keyvault-network-info"];
        assert!(network.to_str().unwrap().contains("act_addr_fam="));
        let of_hsm = emulator.send("GET", path, None, None).await;
        assert_eq!(of_hsm.status, 401);
    }
    let url = format!("{vault}/healthstatus");
    let answer = emulator.send("POST", &url, None, None).await;
    assert_eq!(answer.status, 401);
}

#[test]
fn names_of_headers_are_written_as_the_service_writes_them() {
    let folder = tempfile::tempdir().unwrap();
    let emulator = Emulator::start(folder.path());
    let post = "POST /common/oauth2/v2.0/token HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    let get = "GET /keys HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    for request in [post, get] {
        let answer = answer(&emulator, request);
        assert!(answer.contains("\r\nContent-Length: "), "{answer}");
        assert!(answer.contains("\r\nContent-Type: "), "{answer}");
    }
    let refused = answer(&emulator, get);
    for name in [
        "WWW-Authenticate",
        "X-Frame-Options",
        "x-ms-request-id",
        "x-ms-server-latency",
    ] {
        assert!(
            refused.contains(&format!("\r\n{name}: ")),
            "{name}: {refused}"
        );
    }
}

/// As in each recording; RFC 9110 has a 204 without a length.
#[tokio::test]
async fn a_purge_is_answered_with_the_length_of_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let emulator = Emulator::start(folder.path());
    let body = serde_json::json!({"kty": "EC"});
    emulator.post("/keys/k/create", body).await.success();
    emulator.delete("/keys/k").await.success();
    let token = emulator.token(&[]);
    let head = |line: &str, more: &str| {
        format!("{line} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n{more}\r\n")
    };
    // The connection goes on after it.
    let purge = head("DELETE /deletedkeys/k?api-version=7.4", "");
    let get = head("GET /keys", "Connection: close\r\n");
    let answers = answer(&emulator, &format!("{purge}{get}"));
    let (first, second) = answers.split_once("\r\n\r\n").unwrap();
    assert!(first.starts_with("HTTP/1.1 204 "), "{answers}");
    assert!(first.contains("\r\nContent-Length: 0"), "{answers}");
    assert!(first.contains("\r\nx-ms-keyvault-region: "), "{answers}");
    assert!(second.starts_with("HTTP/1.1 200 "), "{answers}");
    assert!(second.ends_with("{\"value\":[]}"), "{answers}");
}

#[test]
fn a_request_names_one_host() {
    let folder = tempfile::tempdir().unwrap();
    let emulator = Emulator::start(folder.path());
    for (hosts, status) in [
        ("", "400"),
        ("Host: localhost\r\nHost: localhost\r\n", "400"),
        (
            "Host: localhost\r\nhost: contoso.managedhsm.azure.net\r\n",
            "400",
        ),
        ("Host: localhost\r\n", "401"),
    ] {
        for path in ["/keys", "/common/oauth2/token"] {
            let method = if path == "/keys" { "GET" } else { "POST" };
            let request = format!("{method} {path} HTTP/1.1\r\n{hosts}Connection: close\r\n\r\n");
            let answer = answer(&emulator, &request);
            let status = if path == "/keys" { status } else { "400" };
            assert!(
                answer.starts_with(&format!("HTTP/1.1 {status} ")),
                "{request}{answer}"
            );
        }
    }
}

/// Idle connections are none of these: what a client keeps for its next request stays open.
#[test]
fn half_a_request_is_not_waited_for_longer_than_30_seconds() {
    let folder = tempfile::tempdir().unwrap();
    let emulator = Emulator::start(folder.path());
    let token = emulator.token(&[]);
    let head = format!(
        "POST /rng HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\nContent-Length: 11\r\n"
    );
    let whole = format!("{head}\r\n{{\"count\":1}}");
    let half_head = head.clone();
    let half_body = format!("{head}\r\n{{\"cou");
    let endless = "POST /rng HTTP/1.1\r\nHost: localhost\r\n".to_owned();
    let started = Instant::now();
    let mut idle = connect(&emulator);
    idle.write_all(whole.as_bytes()).unwrap();
    std::thread::scope(|scope| {
        for (what, begin, status) in [
            ("nothing of TLS", None, None),
            ("half a head", Some(half_head), None),
            ("a letter a second", Some(endless), None),
            ("half a body", Some(half_body), Some("408")),
        ] {
            let emulator = &emulator;
            scope.spawn(move || {
                let Some(begin) = begin else {
                    let mut stream = TcpStream::connect(address(emulator)).unwrap();
                    stream.write_all(b"\x16\x03").unwrap();
                    assert!(
                        matches!(stream.read(&mut [0; 16]), Ok(0) | Err(_)),
                        "{what}"
                    );
                    let took = started.elapsed();
                    assert!(took < Duration::from_secs(30), "{what}: {took:?}");
                    return;
                };
                let mut stream = connect(emulator);
                stream.write_all(begin.as_bytes()).unwrap();
                if what == "a letter a second" {
                    while stream.write_all(b"X").is_ok() && started.elapsed().as_secs() < 35 {
                        std::thread::sleep(Duration::from_secs(1));
                    }
                }
                let answer = rest(&mut stream);
                let took = started.elapsed();
                assert!(took < Duration::from_secs(30), "{what}: {took:?}");
                match status {
                    None => assert_eq!(answer, "", "{what}"),
                    Some(status) => assert!(answer.contains(status), "{what}: {answer}"),
                }
            });
        }
        // The second of two requests, when the first has been answered.
        scope.spawn(|| {
            let mut stream = connect(&emulator);
            stream.write_all(whole.as_bytes()).unwrap();
            assert!(stream.read(&mut [0; 8192]).unwrap() > 0);
            stream.write_all(head.as_bytes()).unwrap();
            rest(&mut stream);
            assert!(started.elapsed() < Duration::from_secs(30));
        });
    });
    // It has been idle for as long.
    idle.write_all(whole.as_bytes()).unwrap();
    let mut buffer = vec![0; 8192];
    let mut answers = String::new();
    while answers.matches("HTTP/1.1 200 ").count() < 2 {
        let read = idle.read(&mut buffer).unwrap();
        assert!(read > 0, "{answers}");
        answers.push_str(std::str::from_utf8(&buffer[..read]).unwrap());
    }
}

/// As above, in HTTP/2's frames.
#[test]
fn half_a_frame_is_not_waited_for_longer_than_30_seconds() {
    const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let folder = tempfile::tempdir().unwrap();
    let emulator = Emulator::start(folder.path());
    let frame = |kind: u8, flags: u8, stream: u8, payload: &[u8]| {
        let length = u8::try_from(payload.len()).unwrap();
        [&[0, 0, length, kind, flags, 0, 0, 0, stream][..], payload].concat()
    };
    let begin = [PREFACE, &frame(4, 0, 0, &[])].concat();
    let after = |rest: &[u8]| [begin.as_slice(), rest].concat();
    // `:method: GET`, in a head that is to go on in another frame.
    let open_head = frame(1, 0, 1, &[0x82]);
    let long_head = [0, 1, 0, 1, 4, 0, 0, 0, 1, 0x82];
    let started = Instant::now();
    let mut idle = connect_by(&emulator, b"\x02h2");
    idle.write_all(&begin).unwrap();
    std::thread::scope(|scope| {
        for (what, sent) in [
            ("half a preface", PREFACE[..10].to_vec()),
            ("half a frame's header", after(&open_head[..4])),
            ("half a frame", after(&long_head)),
            ("a head without its end", after(&open_head)),
        ] {
            let emulator = &emulator;
            scope.spawn(move || {
                let mut stream = connect_by(emulator, b"\x02h2");
                stream.write_all(&sent).unwrap();
                while let Ok(1..) = stream.read(&mut [0; 4096]) {}
                let took = started.elapsed();
                assert!(took < Duration::from_secs(30), "{what}: {took:?}");
                assert!(took > Duration::from_secs(10), "{what}: {took:?}");
            });
        }
        // A byte a second of a head of 256.
        scope.spawn(|| {
            let mut stream = connect_by(&emulator, b"\x02h2");
            stream.write_all(&after(&long_head)).unwrap();
            while stream.write_all(&[0x82]).is_ok() {
                assert!(started.elapsed() < Duration::from_secs(30));
                std::thread::sleep(Duration::from_secs(1));
            }
        });
    });
    // What has been idle for as long still answers a ping, by one with the flag of an answer.
    let ping = frame(6, 0, 0, b"12345678");
    idle.write_all(&ping).unwrap();
    let pong = frame(6, 1, 0, b"12345678");
    let mut came = Vec::new();
    while !came.windows(pong.len()).any(|bytes| bytes == pong) {
        let mut buffer = [0; 4096];
        let read = idle.read(&mut buffer).unwrap();
        assert!(read > 0, "{came:?}");
        came.extend_from_slice(&buffer[..read]);
    }
}
