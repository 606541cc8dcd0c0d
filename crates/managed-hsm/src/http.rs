//! HTTP over TLS connections that are kept: one by HTTP/1.1 carries one request at a time, one by HTTP/2 many.
//!
//! hyper does the talking. A request here is only sent and answered: no redirects, no repetitions but where a kept connection
//! turns out to be closed before anything of the request was sent.

use std::error::Error as StdError;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, USER_AGENT};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body as _, Incoming};
use hyper::client::conn::{http1, http2};
use hyper_util::client::proxy::matcher::Matcher;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use url::{Position, Url};
use zeroize::Zeroizing;

use crate::dial::Dialler;
use crate::event_loop::{self, Executor, Timer};
use crate::foreign::shown;
use crate::seen::Seen;
use crate::settings::Settings;
use crate::socket::Socket;
use crate::stream::{Fault, Stream};
use crate::tunnel;

/// How long a connection is kept without a request.
pub(crate) const IDLE_TIMEOUT: Duration = Duration::from_secs(60);

/// How often an HTTP/2 connection is tried while answers are outstanding, and how long that may take: many wait for it.
const PING: Duration = Duration::from_secs(2);
const PING_TIMEOUT: Duration = Duration::from_secs(3);

/// The largest answer that is read, in bytes.
pub(crate) const MAX_ANSWER: usize = 1 << 20;

/// What the service calls each of its answers.
pub(crate) const REQUEST_ID: &str = "x-ms-request-id";

/// Who asks, as requests say it.
pub(crate) const AGENT: &str = concat!("akv_provider/", env!("CARGO_PKG_VERSION"));
const JSON: HeaderValue = HeaderValue::from_static("application/json");
const ANYTHING: HeaderValue = HeaderValue::from_static("*/*");

/// What a connection speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    Http1,
    Http2,
    /// What the server prefers.
    Any,
}

/// What is sent.
pub(crate) struct Message<'a> {
    pub(crate) method: &'a Method,
    pub(crate) url: &'a Url,
    pub(crate) authorization: &'a HeaderValue,
    /// JSON.
    pub(crate) body: Option<&'a Bytes>,
    /// Whether sending it twice does no more than sending it once.
    pub(crate) repeatable: bool,
}

/// An answer, all of it read.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Zeroizing<Vec<u8>>,
    pub(crate) is_http2: bool,
    /// Whether it may have been sent before its request: on a connection of HTTP/1.1 that was there already.
    pub(crate) may_be_anothers: bool,
}

impl Answer {
    /// Whether it is a refusal that the service would have named.
    fn is_of_no_service(&self) -> bool {
        self.status.is_client_error() && !self.headers.contains_key(REQUEST_ID)
    }
}

/// Why there is no answer.
#[derive(Debug)]
pub(crate) enum Failure {
    /// No connection could be had.
    Connect(Box<dyn StdError + Send + Sync>),
    /// There was one, but not by TLS.
    Tls(std::io::Error),
    /// Nor within the time that the user allows for that.
    ConnectTimeout,
    /// TLS failed, or speaks of something else, where nothing but HTTP/2 was asked for.
    NoHttp2,
    /// The connection failed, or what came is not HTTP.
    Exchange(hyper::Error),
    /// The answer ends too early.
    Body(hyper::Error),
    /// The answer is longer than [`MAX_ANSWER`].
    TooLong,
    /// What came can't be told to be the answer.
    Fault(Fault),
}

impl Failure {
    pub(crate) fn connect(error: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self::Connect(error.into())
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let of = |f: &mut std::fmt::Formatter<'_>, error| f.write_str(&causes(error));
        match self {
            Self::Connect(error) => of(f, error.as_ref()),
            Self::Tls(error) => write!(f, "the TLS handshake failed: {}", causes(error)),
            Self::ConnectTimeout => f.write_str("the connection timed out"),
            Self::NoHttp2 => f.write_str("the server doesn't speak HTTP/2"),
            Self::Exchange(error) => of(f, error),
            Self::Body(error) => write!(f, "it ends too early ({})", causes(error)),
            Self::TooLong => write!(f, "it is longer than {MAX_ANSWER} bytes"),
            Self::Fault(fault) => fault.fmt(f),
        }
    }
}

/// Opens connections.
pub(crate) struct Connector {
    tcp: Dialler,
    proxy: Option<Matcher>,
    tls: ClientConfig,
    timeout: Duration,
}

impl Connector {
    pub(crate) fn new(settings: &Settings, tls: ClientConfig) -> Self {
        Self {
            tcp: Dialler::default(),
            proxy: settings.proxy_matcher(),
            tls,
            timeout: settings.connect_timeout,
        }
    }

    /// The same for what is never reached through a proxy.
    pub(crate) fn direct(settings: &Settings, tls: ClientConfig) -> Self {
        Self {
            proxy: None,
            ..Self::new(settings, tls)
        }
    }

    /// What requests are sent with; no connection is opened yet.
    pub(crate) fn http(self: &Arc<Self>, protocol: Protocol) -> Http {
        let mut tls = self.tls.clone();
        tls.alpn_protocols = match protocol {
            Protocol::Http1 => vec![b"http/1.1".to_vec()],
            Protocol::Http2 => vec![b"h2".to_vec()],
            Protocol::Any => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
        };
        Http {
            connector: Arc::clone(self),
            tls: TlsConnector::from(Arc::new(tls)),
            kept: Mutex::default(),
            opening: (protocol == Protocol::Http2).then(Mutex::default),
        }
    }

    /// A TCP connection to a URL's host, on this machine.
    pub(crate) async fn dial_plainly(&self, url: &Url) -> Result<Socket, Failure> {
        let port = url.port_or_known_default().unwrap_or(80);
        let connected = self.tcp.connect(bare_host(url), port).await;
        connected.map_err(Failure::connect)
    }

    /// A TLS connection to a URL's host, perhaps through the proxy.
    pub(crate) async fn dial(
        &self,
        tls: &TlsConnector,
        url: &Url,
    ) -> Result<TlsStream<Socket>, Failure> {
        let authority = &url[Position::BeforeHost..Position::AfterPort];
        let uri = Uri::builder()
            .scheme(Scheme::HTTPS)
            .authority(authority)
            .path_and_query("/");
        let uri = uri.build().map_err(Failure::connect)?;
        let host = bare_host(url);
        let proxy = self.proxy.as_ref().and_then(|proxy| proxy.intercept(&uri));
        let port = url.port_or_known_default().unwrap_or(443);
        let socket = match proxy {
            None => {
                let connected = self.tcp.connect(host, port).await;
                connected.map_err(Failure::connect)?
            }
            Some(proxy) => {
                let target = format!("{}:{port}", &url[Position::BeforeHost..Position::AfterHost]);
                let tunnel = tunnel::open(&self.tcp, &proxy, &target).await;
                tunnel.map_err(Failure::connect)?
            }
        };
        let name = ServerName::try_from(host.to_owned()).map_err(Failure::connect)?;
        tls.connect(name, socket).await.map_err(Failure::Tls)
    }

    /// Gives a connection the time that the user allows for that.
    pub(crate) async fn in_time<T>(
        &self,
        dialled: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        let dialled = event_loop::timeout(self.timeout, dialled).await;
        dialled.unwrap_or(Err(Failure::ConnectTimeout))
    }

    async fn open(&self, tls: &TlsConnector, url: &Url) -> Result<Connection, Failure> {
        let dialled = self.in_time(self.dial(tls, url)).await;
        let needs_http2 = tls.config().alpn_protocols == [b"h2"];
        let stream = match dialled {
            // Servers say so by an alert, or by nothing; another attempt tells what else it was.
            Err(Failure::Tls(_)) if needs_http2 => return Err(Failure::NoHttp2),
            dialled => dialled?,
        };
        let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        if needs_http2 && !is_http2 {
            return Err(Failure::NoHttp2);
        }
        let stream = Stream::new(stream, is_http2);
        let io = TokioIo::new(stream.clone());
        let sender = if is_http2 {
            let mut builder = http2::Builder::new(Executor);
            builder
                .timer(Timer)
                .keep_alive_interval(PING)
                .keep_alive_timeout(PING_TIMEOUT);
            let (sender, connection) = builder.handshake(io).await.map_err(Failure::Exchange)?;
            drive(connection);
            Sender::Http2(sender)
        } else {
            let (sender, connection) = http1::handshake(io).await.map_err(Failure::Exchange)?;
            drive(connection);
            Sender::Http1(sender)
        };
        Ok(Connection {
            id: Arc::default(),
            endpoint: endpoint(url).to_owned(),
            sender,
            stream,
            seen: Seen::default(),
            used: Instant::now(),
        })
    }
}

/// Has the event loop move a connection's bytes.
pub(crate) fn drive(connection: impl Future<Output = hyper::Result<()>> + Send + 'static) {
    event_loop::spawn(async move {
        if let Err(error) = connection.await {
            log::debug!("a connection ended: {}", causes(&error));
        }
    });
}

struct Connection {
    /// Which one it is: those that are shared have it in common.
    id: Arc<()>,
    /// As [`endpoint`] has it.
    endpoint: String,
    sender: Sender,
    stream: Stream,
    /// The names of its answers.
    seen: Seen,
    used: Instant,
}

enum Sender {
    Http1(http1::SendRequest<Full<Bytes>>),
    Http2(http2::SendRequest<Full<Bytes>>),
}

/// A request that was not answered, and whether nothing of it was sent.
struct Unanswered {
    error: hyper::Error,
    is_unsent: bool,
}

impl Connection {
    fn is_good(&self) -> bool {
        let is_closed = match &self.sender {
            Sender::Http1(sender) => sender.is_closed(),
            Sender::Http2(sender) => sender.is_closed(),
        };
        !is_closed && self.stream.fault().is_none() && self.used.elapsed() < IDLE_TIMEOUT
    }

    /// The same connection for another request, if it can carry several.
    fn share(&self) -> Option<Self> {
        match &self.sender {
            Sender::Http1(_) => None,
            Sender::Http2(sender) => Some(Self {
                id: Arc::clone(&self.id),
                endpoint: self.endpoint.clone(),
                sender: Sender::Http2(sender.clone()),
                stream: self.stream.clone(),
                seen: Seen::default(),
                used: Instant::now(),
            }),
        }
    }

    async fn send(&mut self, message: &Message<'_>) -> Result<Response<Incoming>, Unanswered> {
        let is_http2 = matches!(self.sender, Sender::Http2(_));
        let request = message.request(is_http2);
        let unsent = |error| Unanswered {
            error,
            is_unsent: true,
        };
        let sent = match &mut self.sender {
            Sender::Http1(sender) => {
                sender.ready().await.map_err(unsent)?;
                self.stream.begin();
                sender.try_send_request(request).await
            }
            Sender::Http2(sender) => {
                sender.ready().await.map_err(unsent)?;
                sender.try_send_request(request).await
            }
        };
        sent.map_err(|mut error| Unanswered {
            is_unsent: error.take_message().is_some() || self.stream.is_unsent(),
            error: error.into_error(),
        })
    }
}

impl Connection {
    /// Reads the answer. Only then the connection may carry another request.
    async fn read(&mut self, response: Response<Incoming>) -> Result<Answer, Failure> {
        let is_http2 = matches!(self.sender, Sender::Http2(_));
        let answer = read(response, is_http2).await;
        if answer.is_ok() {
            self.stream.end();
        }
        if let Some(fault) = self.stream.fault() {
            return Err(Failure::Fault(fault));
        }
        let answer = answer?;
        match answer.headers.get(REQUEST_ID) {
            Some(name) if !is_http2 && !self.seen.is_new(name.as_bytes()) => {
                Err(Failure::Fault(Fault::Unasked))
            }
            _ => Ok(answer),
        }
    }

    fn failure(&self, unanswered: Unanswered) -> Failure {
        match self.stream.fault() {
            // Nothing was asked of this server yet, as if there were no connection.
            _ if unanswered.is_unsent => Failure::connect(unanswered.error),
            Some(fault) => Failure::Fault(fault),
            None => Failure::Exchange(unanswered.error),
        }
    }
}

impl Message<'_> {
    fn request(&self, is_http2: bool) -> http::Request<Full<Bytes>> {
        let authority = &self.url[Position::BeforeHost..Position::AfterPort];
        let path = &self.url[Position::BeforePath..Position::AfterQuery];
        let mut request = http::Request::new(Full::new(self.body.cloned().unwrap_or_default()));
        *request.method_mut() = self.method.clone();
        // What is a part of a URL is one of a URI.
        let mut parts = http::uri::Parts::default();
        parts.path_and_query = PathAndQuery::try_from(path).ok();
        if is_http2 {
            parts.scheme = Some(Scheme::HTTPS);
            parts.authority = Authority::try_from(authority).ok();
        }
        *request.uri_mut() = Uri::from_parts(parts).unwrap_or_default();
        let headers = request.headers_mut();
        if !is_http2 && let Ok(host) = HeaderValue::from_str(authority) {
            headers.insert(HOST, host);
        }
        headers.insert(AUTHORIZATION, self.authorization.clone());
        headers.insert(USER_AGENT, const { HeaderValue::from_static(AGENT) });
        headers.insert(ACCEPT, ANYTHING);
        if self.body.is_some() {
            headers.insert(CONTENT_TYPE, JSON);
        }
        request
    }
}

/// What requests are sent with. It keeps a connection, or, where one carries many requests, one to each host.
pub(crate) struct Http {
    connector: Arc<Connector>,
    tls: TlsConnector,
    kept: Mutex<Vec<Connection>>,
    /// Where one connection is to carry all requests to a host: held while it is opened.
    opening: Option<Mutex<Vec<(String, Opening)>>>,
}

type Opening = Arc<tokio::sync::Mutex<()>>;

impl Http {
    /// Sends a request, on a kept connection if there is one that can take it now, and reads the answer.
    pub(crate) async fn exchange(&self, message: &Message<'_>) -> Result<Answer, Failure> {
        let endpoint = endpoint(message.url);
        loop {
            // The server may end an idle connection of HTTP/1.1 just when a request is on its way: then the request is lost.
            let kept = self
                .take(endpoint)
                .filter(|_| message.repeatable || self.opening.is_some());
            let is_kept = kept.is_some();
            let mut connection = match kept {
                Some(connection) => connection,
                None => self.open(message.url).await?,
            };
            // What came on a kept connection was perhaps sent before the request.
            let may_start_anew = is_kept && message.repeatable;
            match connection.send(message).await {
                Ok(response) => match connection.read(response).await {
                    Err(Failure::Fault(Fault::Unasked)) if may_start_anew => {}
                    // By a load balancer, about the connection: it had been idle for too long.
                    Ok(answer) if may_start_anew && answer.is_of_no_service() => {}
                    answer => {
                        let mut answer = answer?;
                        answer.may_be_anothers = is_kept && !answer.is_http2;
                        self.keep(connection);
                        return Ok(answer);
                    }
                },
                // It was closed, or something came on it, while nobody used it.
                Err(unanswered) if is_kept && unanswered.is_unsent => self.forget(&connection),
                Err(unanswered) => match connection.failure(unanswered) {
                    Failure::Fault(Fault::Unasked) if may_start_anew => {}
                    failure => return Err(failure),
                },
            }
        }
    }

    /// Whether a request to a host would use a connection that is there, or end none that leads elsewhere.
    pub(crate) fn suits(&self, url: &Url) -> bool {
        let kept = lock(&self.kept);
        kept.is_empty() || kept.iter().any(|kept| kept.endpoint == endpoint(url))
    }

    async fn open(&self, url: &Url) -> Result<Connection, Failure> {
        let endpoint = endpoint(url);
        let Some(opening) = self.opening(endpoint) else {
            return self.connector.open(&self.tls, url).await;
        };
        let _first = opening.lock().await;
        // Somebody may have opened it meanwhile.
        if let Some(connection) = self.take(endpoint) {
            return Ok(connection);
        }
        let connection = self.connector.open(&self.tls, url).await?;
        let shared = connection.share();
        self.keep(connection);
        shared.ok_or(Failure::NoHttp2)
    }

    fn opening(&self, endpoint: &str) -> Option<Opening> {
        let mut all = lock(self.opening.as_ref()?);
        if let Some((_, opening)) = all.iter().find(|(known, _)| known == endpoint) {
            return Some(Arc::clone(opening));
        }
        let opening = Opening::default();
        all.push((endpoint.to_owned(), Arc::clone(&opening)));
        Some(opening)
    }

    /// The kept connection to a host, if it can take a request. One to another host goes where only one is kept.
    fn take(&self, endpoint: &str) -> Option<Connection> {
        let mut kept = lock(&self.kept);
        if self.opening.is_none() {
            kept.retain(|kept| kept.endpoint == endpoint);
        }
        let at = kept.iter().position(|kept| kept.endpoint == endpoint)?;
        let connection = kept.swap_remove(at);
        if !connection.is_good() {
            return None;
        }
        match connection.share() {
            None => Some(connection),
            Some(shared) => {
                kept.push(connection);
                Some(shared)
            }
        }
    }

    /// Keeps a connection for the next request, unless a newer one is there.
    fn keep(&self, mut connection: Connection) {
        connection.used = Instant::now();
        let mut kept = lock(&self.kept);
        match kept
            .iter_mut()
            .find(|kept| kept.endpoint == connection.endpoint)
        {
            None => kept.push(connection),
            Some(known) if Arc::ptr_eq(&known.id, &connection.id) => *known = connection,
            Some(_) => {}
        }
    }

    /// Has the next request open a connection.
    pub(crate) fn forget_kept(&self) {
        lock(&self.kept).clear();
    }

    fn forget(&self, connection: &Connection) {
        lock(&self.kept).retain(|kept| !Arc::ptr_eq(&kept.id, &connection.id));
    }
}

/// The host of a URL.
fn bare_host(url: &Url) -> &str {
    without_brackets(url.host_str().unwrap_or_default())
}

/// A host as it stands in a URL or a URI, where an address of IPv6 is in brackets.
pub(crate) fn without_brackets(host: &str) -> &str {
    host.trim_start_matches('[').trim_end_matches(']')
}

/// What stands before the path of a URL: which host and port it leads to.
fn endpoint(url: &Url) -> &str {
    &url[..Position::BeforePath]
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Reads an answer, up to a limit.
pub(crate) async fn read(response: Response<Incoming>, is_http2: bool) -> Result<Answer, Failure> {
    let (head, mut body) = response.into_parts();
    // Room for all of it where its length is told: a buffer that grows leaves copies behind.
    let told = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    let mut bytes = Zeroizing::new(Vec::with_capacity(told.min(MAX_ANSWER)));
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(Failure::Body)?.into_data() else {
            continue;
        };
        if bytes.len() + data.len() > MAX_ANSWER {
            return Err(Failure::TooLong);
        }
        bytes.extend_from_slice(&data);
    }
    Ok(Answer {
        status: head.status,
        headers: head.headers,
        body: bytes,
        is_http2,
        may_be_anothers: false,
    })
}

/// An error and its causes, outermost first.
pub(crate) fn sources<'a>(
    error: &'a (dyn StdError + 'static),
) -> Vec<&'a (dyn StdError + 'static)> {
    let mut all = vec![error];
    let mut next = error.source();
    while let Some(source) = next {
        all.push(source);
        next = source.source();
    }
    all
}

/// An error with all its causes. A cause that only repeats the last is left out.
pub(crate) fn causes(error: &(dyn StdError + 'static)) -> String {
    chained(sources(error).into_iter().map(ToString::to_string))
}

/// Texts in a row, without those that only repeat an earlier one. They may hold what a server, its certificate or a proxy says.
pub(crate) fn chained(all: impl Iterator<Item = String>) -> String {
    let mut texts: Vec<String> = Vec::new();
    for text in all {
        if !texts.iter().any(|earlier| earlier.contains(&text)) {
            texts.push(text);
        }
    }
    shown(texts.join(": "))
}
