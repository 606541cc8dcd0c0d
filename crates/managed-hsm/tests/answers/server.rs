//! An HSM that answers as the scripts have it. What it is to sign or to decrypt it turns around.

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use futures_util::future::poll_fn;
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use testing::Certificate;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use url::Url;

/// The coordinates of a point on P-256, its generator (SEC 2, 2.4.2): a key has to be one.
const GENERATOR: (&str, &str) = (
    "axfR8uEsQkf4vOblY6RA8ncDfYEt6zOg9KE5RdiYwpY",
    "T-NC4v4af5uO5-tKfA-eFivOM1drMV7Oy7ZAaDe_UfU",
);

/// Answers; twice at once; twice with a pause; late; too late, when nobody waits any more; and then
/// says that the connection was idle too long, with and without closing it; and then closes it;
/// closes it without an answer; twice with a pause, one of them with a name and the other without.
pub(crate) const HTTP1: &str = "abcdefghik";

/// Follows a letter if the answer has no name.
pub(crate) const NAMELESS: char = '0';

/// Answers; late; too late; and closes the connection; closes it without an answer; refuses the
/// stream; announces the end.
pub(crate) const HTTP2: &str = "adehilm";

/// Answers before all of the request is there.
pub(crate) const EARLY: char = 'j';

/// Answers neither this request nor any other one of the connection, but pings. By HTTP/2.
pub(crate) const SILENT: char = 'n';

/// Long enough that whoever asked has gone on to something else.
pub(crate) const SHORT: Duration = Duration::from_millis(3);

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Offer {
    Http1,
    /// HTTP/1.1, and no answer has a name, whatever the scripts say.
    Nameless,
    Http2,
}

pub(crate) struct Server {
    port: u16,
    folder: tempfile::TempDir,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    /// How many requests came for each key.
    came: Mutex<HashMap<String, usize>>,
    /// Those for which something is still to be sent, after their answer.
    unfinished: Mutex<Vec<String>>,
    answers: AtomicUsize,
    is_nameless: bool,
    random: AtomicUsize,
    connections: AtomicUsize,
    has_spoken_http2: AtomicBool,
}

struct Request {
    path: String,
    body: Vec<u8>,
}

pub(crate) fn turned(value: &[u8]) -> Vec<u8> {
    value.iter().rev().copied().collect()
}

impl Server {
    pub(crate) fn start(offer: Offer) -> Self {
        let identity = Certificate::for_localhost();
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("ca.pem"), identity.pem()).expect("a file");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let certificate = identity.certificate.to_der().expect("DER");
        let chain = vec![CertificateDer::from(certificate)];
        let key = identity.key.private_key_to_pkcs8().expect("DER");
        let key = PrivateKeyDer::try_from(key).expect("a key");
        let mut tls = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
            .expect("TLS");
        tls.alpn_protocols = match offer {
            Offer::Http1 | Offer::Nameless => vec![b"http/1.1".to_vec()],
            Offer::Http2 => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
        };
        let state = Arc::new(State {
            is_nameless: offer == Offer::Nameless,
            ..State::default()
        });
        let (told, shared) = (std::sync::mpsc::channel(), Arc::clone(&state));
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            runtime.expect("an event loop").block_on(async {
                let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
                let port = listener.local_addr().expect("an address").port();
                told.0.send(port).expect("somebody waits");
                let acceptor = TlsAcceptor::from(Arc::new(tls));
                loop {
                    let (tcp, _) = listener.accept().await.expect("a connection");
                    tokio::spawn(serve(tcp, acceptor.clone(), Arc::clone(&shared)));
                }
            });
        });
        Self {
            port: told.1.recv().expect("a port"),
            folder,
            state,
        }
    }

    pub(crate) fn url(&self) -> Url {
        let url = format!("https://localhost:{}", self.port);
        url.parse().expect("a URL")
    }

    pub(crate) fn ca_file(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// Waits until nothing more will be sent for a key.
    pub(crate) fn wait_for_all(&self, key: &str) {
        let is_unfinished = || {
            let unfinished = self.state.unfinished.lock().expect("no panic");
            unfinished.iter().any(|other| other == key)
        };
        let until = Instant::now() + Duration::from_secs(60);
        while is_unfinished() {
            assert!(Instant::now() < until, "{key}: more is still to be sent");
            std::thread::sleep(SHORT);
        }
    }

    pub(crate) fn connections(&self) -> usize {
        self.state.connections.load(Ordering::SeqCst)
    }

    pub(crate) fn has_spoken_http2(&self) -> bool {
        self.state.has_spoken_http2.load(Ordering::SeqCst)
    }
}

async fn serve(tcp: TcpStream, acceptor: TlsAcceptor, state: Arc<State>) -> Option<()> {
    tcp.set_nodelay(true).ok()?;
    let tls = acceptor.accept(tcp).await.ok()?;
    state.connections.fetch_add(1, Ordering::SeqCst);
    match tls.get_ref().1.alpn_protocol() {
        Some(b"h2") => {
            state.has_spoken_http2.store(true, Ordering::SeqCst);
            serve_http2(tls, &state).await
        }
        _ => serve_http1(tls, &state).await.ok(),
    }
}

async fn serve_http1(mut tls: TlsStream<TcpStream>, state: &State) -> io::Result<()> {
    let mut unread = Vec::new();
    loop {
        let head = head(&mut tls, &mut unread).await?;
        let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "))
            .map_or(0, |length| length.parse().expect("a number"));
        let (act, is_named) = state.act(&path);
        if act == EARLY && length > 0 {
            let early = json!({ "kid": kid(&path), "value": "ZWFybHk" });
            tls.write_all(&state.message(&early, is_named)).await?;
            tls.flush().await?;
            tokio::time::sleep(super::PATIENCE).await;
        }
        while unread.len() < length {
            read(&mut tls, &mut unread).await?;
        }
        let body = unread.drain(..length).collect();
        let request = Request { path, body };
        let answer = state.answer(&request);
        let other = state.message(&answer, !is_named);
        let answer = state.message(&answer, is_named);
        let then = match act {
            'b' => {
                tls.write_all(&[&answer[..], &answer].concat()).await?;
                continue;
            }
            'c' => answer.clone(),
            'k' => other,
            'd' => {
                tokio::time::sleep(SHORT).await;
                Vec::new()
            }
            'e' => {
                tokio::time::sleep(super::PATIENCE + SHORT * 4).await;
                Vec::new()
            }
            'f' => idle("408 Request Timeout", "Connection: close\r\n"),
            'g' => idle("400 Bad Request", ""),
            'h' => {
                tls.write_all(&answer).await?;
                return tls.shutdown().await;
            }
            'i' => return Ok(()),
            _ => Vec::new(),
        };
        let unfinished = (!then.is_empty()).then(|| Unfinished::new(state, key(&request.path)));
        tls.write_all(&answer).await?;
        tls.flush().await?;
        if !then.is_empty() {
            tokio::time::sleep(SHORT).await;
            tls.write_all(&then).await?;
            tls.flush().await?;
        }
        if act == 'f' {
            tokio::time::sleep(SHORT).await;
            return tls.shutdown().await;
        }
        drop(unfinished);
    }
}

/// While it lives, something is still to be sent for a key.
struct Unfinished<'a>(&'a State, &'a str);

impl<'a> Unfinished<'a> {
    fn new(state: &'a State, key: &'a str) -> Self {
        let mut all = state.unfinished.lock().expect("no panic");
        all.push(key.to_owned());
        drop(all);
        Self(state, key)
    }
}

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        let mut all = self.0.unfinished.lock().expect("no panic");
        let index = all.iter().position(|key| key == self.1);
        all.swap_remove(index.expect("it is there"));
    }
}

async fn head(tls: &mut TlsStream<TcpStream>, unread: &mut Vec<u8>) -> io::Result<String> {
    loop {
        let end = unread.windows(4).position(|four| four == b"\r\n\r\n");
        if let Some(end) = end {
            let head: Vec<u8> = unread.drain(..end + 4).collect();
            return Ok(String::from_utf8_lossy(&head).to_lowercase());
        }
        read(tls, unread).await?;
    }
}

async fn read(tls: &mut TlsStream<TcpStream>, unread: &mut Vec<u8>) -> io::Result<()> {
    match tls.read_buf(unread).await? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(()),
    }
}

fn http(status: &str, headers: &str, body: &str) -> Vec<u8> {
    let len = body.len();
    format!("HTTP/1.1 {status}\r\nContent-Length: {len}\r\n{headers}\r\n{body}").into_bytes()
}

/// What load balancers say on connections that are idle.
fn idle(status: &str, headers: &str) -> Vec<u8> {
    http(
        status,
        headers,
        r#"{"error":{"code":"Idle","message":"too long"}}"#,
    )
}

async fn serve_http2(tls: TlsStream<TcpStream>, state: &Arc<State>) -> Option<()> {
    let mut connection = h2::server::handshake(tls).await.ok()?;
    let (ends, mut end) = tokio::sync::mpsc::channel(1);
    let is_silent = Arc::new(AtomicBool::new(false));
    loop {
        let accepted = tokio::select! {
            accepted = connection.accept() => accepted,
            act = end.recv() => match act {
                Some('m') => {
                    connection.graceful_shutdown();
                    continue;
                }
                // What was said before goes out first.
                _ => {
                    let _ = tokio::time::timeout(SHORT, poll_fn(|context| connection.poll_closed(context))).await;
                    return None;
                }
            },
        };
        let (request, mut respond) = accepted?.ok()?;
        let (state, ends) = (Arc::clone(state), ends.clone());
        let is_silent = Arc::clone(&is_silent);
        tokio::spawn(async move {
            let path = request.uri().path().to_owned();
            let mut body = Vec::new();
            let mut stream = request.into_body();
            while let Some(Ok(data)) = stream.data().await {
                body.extend_from_slice(&data);
            }
            let (act, _) = state.act(&path);
            if act == SILENT {
                is_silent.store(true, Ordering::SeqCst);
            }
            if is_silent.load(Ordering::SeqCst) {
                return std::future::pending().await;
            }
            let answer = state.answer(&Request { path, body }).to_string();
            match act {
                'd' => tokio::time::sleep(SHORT).await,
                'e' => tokio::time::sleep(super::PATIENCE + SHORT * 4).await,
                'i' => {
                    let _ = ends.send('i').await;
                    return;
                }
                'l' => return respond.send_reset(h2::Reason::REFUSED_STREAM),
                _ => {}
            }
            let head = http::Response::new(());
            if let Ok(mut body) = respond.send_response(head, false) {
                let _ = body.send_data(Bytes::from(answer), true);
            }
            if matches!(act, 'h' | 'm') {
                let _ = ends.send(act).await;
            }
        });
    }
}

/// The key that a path names; none: it is of the HSM as a whole.
fn key(path: &str) -> &str {
    let rest = path.strip_prefix("/keys/").unwrap_or_default();
    rest.split(['/', '?']).next().unwrap_or_default()
}

fn kid(path: &str) -> String {
    format!("https://localhost/keys/{}/{}", key(path), "1".repeat(32))
}

impl State {
    /// What the key's script says about the next request for it, and whether the answer has a name.
    fn act(&self, path: &str) -> (char, bool) {
        let mut came = self.came.lock().expect("no panic");
        let count = came.entry(key(path).to_owned()).or_default();
        let mut script = key(path).chars().peekable();
        let mut act = ('a', true);
        for _ in 0..=*count {
            let letter = script.next().unwrap_or('a');
            act = (letter, script.next_if_eq(&NAMELESS).is_none());
        }
        *count += 1;
        act
    }

    /// An answer, as the service gives it with a name of its own (`x-ms-request-id`), or without.
    fn message(&self, answer: &Value, is_named: bool) -> Vec<u8> {
        let id = self.answers.fetch_add(1, Ordering::SeqCst);
        let header = match is_named && !self.is_nameless {
            true => format!("x-ms-request-id: {id}\r\n"),
            false => String::new(),
        };
        http("200 OK", &header, &answer.to_string())
    }

    fn answer(&self, request: &Request) -> Value {
        let path = &request.path;
        let sent: Value = serde_json::from_slice(&request.body).unwrap_or_default();
        if path.starts_with("/rng") {
            let next = self.random.fetch_add(1, Ordering::SeqCst);
            let bytes = [[7; 8], next.to_be_bytes()].concat();
            return json!({ "value": URL_SAFE_NO_PAD.encode(bytes) });
        }
        if key(path).is_empty() {
            return json!({ "value": [{ "kid": "https://localhost/keys/listed" }] });
        }
        if let Some(value) = sent["value"].as_str() {
            let value = turned(&URL_SAFE_NO_PAD.decode(value).expect("base64"));
            return json!({ "kid": kid(path), "value": URL_SAFE_NO_PAD.encode(value) });
        }
        json!({
            "key": {
                "kid": kid(path), "kty": "EC-HSM", "crv": "P-256", "key_ops": ["sign"],
                "x": GENERATOR.0, "y": GENERATOR.1,
            },
            "attributes": { "enabled": true },
        })
    }
}
