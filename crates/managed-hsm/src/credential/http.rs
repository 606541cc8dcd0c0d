//! HTTP to those who give tokens. Redirects are never followed, answers are bounded.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use azure_core::error::ErrorKind;
use azure_core::http::headers::{HeaderName, HeaderValue, Headers};
use azure_core::http::{AsyncRawResponse, Body, HttpClient, Request};
use bytes::Bytes;
use http::header::{ACCEPT, HOST, USER_AGENT};
use http::{HeaderMap, Method, StatusCode};
use http_body_util::Full;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use url::{Origin, Position, Url};

use super::answer::{of_entra, refusal_of_entra};
use super::runtime;
use crate::error::Error;
use crate::event_loop;
use crate::http::connector::Connector;
use crate::http::driver::drive;
use crate::http::failure::Failure;
use crate::http::message::{Answer, read};
use crate::settings::client::Settings;
use crate::warnings::Warnings;

/// HTTP to Entra ID, and to what is on this machine. Each request has a connection of its own:
/// whoever needs a token runs the event loop of a connection to the service, and the next one may
/// run another.
pub(crate) struct IdentityHttp {
    /// HTTPS only, through the proxy.
    pub(super) entra: Arc<Sender>,
    /// Managed identity: plain HTTP within the machine, never through a proxy.
    pub(super) local: Sender,
}

/// Sends requests, each once.
pub(super) struct Sender {
    connector: Connector,
    user_agent: http::HeaderValue,
    tls: TlsConnector,
    may_be_plain: bool,
    /// How long an answer may take; none: whoever asks sees to that.
    response_timeout: Option<Duration>,
    /// What came of the last request, unless that was good.
    seen: Mutex<Option<String>>,
}

impl IdentityHttp {
    pub(crate) fn new(settings: &Settings, tls: &ClientConfig) -> Self {
        let limit = Some(settings.response_timeout);
        let entra = Connector::new(settings, tls.clone());
        let local = Connector::direct(settings, tls.clone());
        Self {
            entra: Arc::new(Sender::new(settings, tls, entra, limit)),
            local: Sender {
                may_be_plain: true,
                ..Sender::new(settings, tls, local, limit)
            },
        }
    }

    /// Forgets what came of requests.
    pub(super) fn forget(&self) {
        for sender in [&*self.entra, &self.local] {
            sender.note(None);
        }
    }

    /// What has come of requests since, in words; nothing if all was good, or none was sent.
    pub(super) fn seen(&self) -> String {
        let seen = [&*self.entra, &self.local].map(|sender| {
            let seen = sender.seen.lock().unwrap_or_else(PoisonError::into_inner);
            seen.clone()
        });
        seen.into_iter().flatten().collect::<Vec<_>>().join("; ")
    }
}

impl Settings {
    /// HTTP for Microsoft's libraries: HTTPS to one host only, with [`Settings::tls`], the proxy
    /// and the time limit for connections, without redirects and repetitions.
    ///
    /// # Errors
    /// As [`Settings::tls`].
    pub fn azure_http(&self, endpoint: &Url) -> Result<Arc<dyn HttpClient>, Error> {
        let tls = self.tls()?;
        let connector = Connector::new(self, tls.clone());
        let http = Arc::new(Sender::new(self, &tls, connector, None));
        Ok(Arc::new(AzureTransport::to_any(&http, endpoint)))
    }
}

impl Sender {
    fn new(
        settings: &Settings,
        tls: &ClientConfig,
        connector: Connector,
        response_timeout: Option<Duration>,
    ) -> Self {
        Self {
            connector,
            user_agent: settings.front_end.user_agent.clone(),
            tls: TlsConnector::from(Arc::new(tls.clone())),
            may_be_plain: false,
            response_timeout,
            seen: Mutex::default(),
        }
    }

    pub(super) async fn get(&self, url: &Url, headers: HeaderMap) -> Result<Answer, Failure> {
        self.send(Method::GET, url, headers, Bytes::new()).await
    }

    fn note(&self, seen: Option<String>) {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = seen;
    }

    /// Of several requests in a row, the last that was answered tells more.
    fn note_asked(&self, host: &str) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.get_or_insert_with(|| format!("{host} does not answer"));
    }

    /// Sends a request, and reads the answer, within the time that the user allows for that.
    async fn send(
        &self,
        method: Method,
        url: &Url,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<Answer, Failure> {
        let host = host(url);
        self.note_asked(&host);
        let sent = self.send_unseen(method, url, headers, body);
        let outcome = match self.response_timeout {
            Some(limit) => match event_loop::timeout(limit, sent).await {
                Ok(outcome) => outcome,
                Err(_) => Err(Failure::Late(limit)),
            },
            None => sent.await,
        };
        if let Ok(answer) = &outcome {
            warn_of_trouble(&host, answer.status);
        }
        self.note(match &outcome {
            Ok(answer) if answer.status.is_success() => None,
            Ok(answer) => Some(format!("{host} answered HTTP {}", answer.status.as_u16())),
            Err(failure) => Some(problem(&host, failure)),
        });
        outcome
    }

    async fn send_unseen(
        &self,
        method: Method,
        url: &Url,
        mut headers: HeaderMap,
        body: Bytes,
    ) -> Result<Answer, Failure> {
        headers.insert(USER_AGENT, self.user_agent.clone());
        let anything = const { http::HeaderValue::from_static("*/*") };
        headers.entry(ACCEPT).or_insert(anything);
        let host = &url[Position::BeforeHost..Position::AfterPort];
        headers.insert(HOST, host.try_into().map_err(Failure::connect)?);
        let path = &url[Position::BeforePath..Position::AfterQuery];
        let mut request = http::Request::new(Full::new(body));
        *request.uri_mut() = path.try_into().map_err(Failure::connect)?;
        *request.method_mut() = method;
        *request.headers_mut() = headers;
        let connector = &self.connector;
        match url.scheme() {
            "https" => {
                let dialled = connector.in_time(connector.dial(&self.tls, url)).await?;
                exchange(dialled, request).await
            }
            _ if self.may_be_plain => {
                let dialled = connector.in_time(connector.dial_plainly(url)).await?;
                exchange(dialled, request).await
            }
            _ => Err(Failure::connect("it is not asked by plain HTTP")),
        }
    }
}

/// Says that a service has too much to do, or is in trouble: it is asked again, with a pause.
fn warn_of_trouble(host: &str, status: StatusCode) {
    static WARNINGS: Warnings = Warnings::new();
    let is_trouble = status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error();
    if is_trouble && let Some(unsaid) = WARNINGS.admit(Instant::now()) {
        log::warn!(unsaid; "{host} answered HTTP {} instead of giving a token", status.as_u16());
    }
}

async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    request: http::Request<Full<Bytes>>,
) -> Result<Answer, Failure> {
    let handshake = http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake.map_err(Failure::Exchange)?;
    drive(connection);
    let response = sender.send_request(request).await;
    read(response.map_err(Failure::Exchange)?, false).await
}

/// What is wrong with an answer, or why there is none, for a person.
pub(super) fn problem(host: &str, failure: &Failure) -> String {
    match failure {
        Failure::Body(_) | Failure::TooLong => {
            format!("the answer of {host} is no use: {failure}")
        }
        Failure::Late(_) => format!("{host}: {failure}"),
        _ => format!("{host} can't be reached: {failure}"),
    }
}

/// What Microsoft's libraries send their requests with: to one host and to no other, wherever its
/// answers lead (a listing's `nextLink`, say), since tokens and secrets are in them. Claims are
/// added here, since azure_identity's requests have no place for them.
#[derive(Debug)]
pub(super) struct AzureTransport {
    http: Arc<Sender>,
    origin: Origin,
    /// Whether the answers are those of a token service.
    gives_tokens: bool,
    claims: Option<String>,
}

impl AzureTransport {
    /// To a service that gives tokens.
    pub(super) fn to_tokens(
        http: &Arc<Sender>,
        endpoint: &Url,
        claims: Option<&str>,
    ) -> Arc<dyn HttpClient> {
        Arc::new(Self {
            gives_tokens: true,
            claims: claims.map(str::to_owned),
            ..Self::to_any(http, endpoint)
        })
    }

    fn to_any(http: &Arc<Sender>, endpoint: &Url) -> Self {
        runtime::set();
        Self {
            http: Arc::clone(http),
            origin: endpoint.origin(),
            gives_tokens: false,
            claims: None,
        }
    }
}

#[async_trait::async_trait]
impl HttpClient for AzureTransport {
    async fn execute_request(&self, request: &Request) -> azure_core::Result<AsyncRawResponse> {
        let other = |text: String| azure_core::Error::with_message(ErrorKind::Other, text);
        if request.url().origin() != self.origin {
            return Err(other(format!(
                "an answer of {} leads to another host, {}, which is not asked",
                self.origin.ascii_serialization(),
                host(request.url())
            )));
        }
        let method = Method::from_bytes(request.method().as_str().as_bytes());
        let method = method.map_err(|error| other(error.to_string()))?;
        let Body::Bytes(body) = request.body() else {
            return Err(other("a request has no stream as its body".to_owned()));
        };
        let mut body = zeroize::Zeroizing::new(body.to_vec());
        if let Some(claims) = &self.claims {
            let claims = url::form_urlencoded::Serializer::new(String::new())
                .append_pair("claims", claims)
                .finish();
            body.push(b'&');
            body.extend_from_slice(claims.as_bytes());
        }
        let mut headers = HeaderMap::new();
        for (name, value) in request.headers().iter() {
            let name = http::HeaderName::try_from(name.as_str());
            let name = name.map_err(|error| other(error.to_string()))?;
            let value = http::HeaderValue::try_from(value.as_str());
            headers.insert(name, value.map_err(|error| other(error.to_string()))?);
        }
        let (url, body) = (request.url(), Bytes::from_owner(body));
        let answer = self.http.send(method, url, headers, body).await;
        let answer = answer.map_err(|failure| {
            let kind = match failure {
                Failure::Body(_) | Failure::TooLong => ErrorKind::Io,
                _ => ErrorKind::Connection,
            };
            let text = problem(&host(url), &failure);
            azure_core::Error::with_error(kind, failure, text)
        })?;
        let mut body = answer.body.to_vec();
        if self.gives_tokens {
            let host = host(url);
            body = match answer.status.is_success() {
                true => of_entra(&body).map_err(|problem| {
                    other(format!("the answer of {host} is no use: {problem}"))
                })?,
                false => refusal_of_entra(&host, answer.status.as_u16(), &body),
            };
        }
        let headers = answer.headers.iter();
        let headers: std::collections::HashMap<HeaderName, HeaderValue> = headers
            .filter_map(|(name, value)| {
                let value = value.to_str().ok()?.to_owned();
                Some((name.as_str().to_owned().into(), value.into()))
            })
            .collect();
        Ok(AsyncRawResponse::from_bytes(
            answer.status.as_u16().into(),
            Headers::from(headers),
            body,
        ))
    }
}

impl std::fmt::Debug for Sender {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sender(…)")
    }
}

/// A URL's scheme, host and port.
pub(super) fn host(url: &Url) -> String {
    url.origin().ascii_serialization()
}
