//! HTTP to those who give tokens. Redirects are never followed, answers are bounded.

use std::sync::Arc;

use azure_core::error::ErrorKind;
use azure_core::http::headers::{HeaderName, HeaderValue, Headers};
use azure_core::http::{AsyncRawResponse, Body, HttpClient, Request};
use bytes::Bytes;
use http::header::{ACCEPT, HOST, USER_AGENT};
use http::{HeaderMap, Method};
use http_body_util::Full;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use serde::Deserialize;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use url::{Origin, Position, Url};

use super::runtime;
use crate::error::Error;
use crate::http::connector::Connector;
use crate::http::driver::drive;
use crate::http::failure::Failure;
use crate::http::message::{Answer, read};
use crate::settings::client::Settings;

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
}

impl IdentityHttp {
    pub(crate) fn new(settings: &Settings, tls: &ClientConfig) -> Self {
        let sender = |connector, may_be_plain| Sender {
            connector,
            user_agent: settings.front_end.user_agent.clone(),
            tls: TlsConnector::from(Arc::new(tls.clone())),
            may_be_plain,
        };
        let entra = Connector::new(settings, tls.clone());
        let local = Connector::direct(settings, tls.clone());
        Self {
            entra: Arc::new(sender(entra, false)),
            local: sender(local, true),
        }
    }
}

impl Settings {
    /// HTTP for Microsoft's libraries: HTTPS to one host only, with [`Settings::tls`], the proxy
    /// and the time limit for connections, without redirects and repetitions.
    ///
    /// # Errors
    /// As [`Settings::tls`].
    pub fn azure_http(&self, endpoint: &Url) -> Result<Arc<dyn HttpClient>, Error> {
        let http = IdentityHttp::new(self, &self.tls()?);
        Ok(AzureTransport::shared(&http.entra, endpoint, None))
    }
}

impl Sender {
    pub(super) async fn get(&self, url: &Url, headers: HeaderMap) -> Result<Answer, Failure> {
        self.send(Method::GET, url, headers, Bytes::new()).await
    }

    /// Sends a request, and reads the answer.
    async fn send(
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

/// The longest life of a token that is believed, in seconds: a century.
const LONGEST_LIFE: i64 = 3_155_760_000;

/// The life that an answer gives a token, if that is beyond belief. azure_identity adds it to the
/// time of day, and panics where no date is so far off.
fn unusable_life(body: &[u8]) -> Option<i64> {
    #[derive(Deserialize)]
    struct Token {
        expires_in: i64,
    }
    let token: Token = serde_json::from_slice(body).ok()?;
    let is_usable = (-LONGEST_LIFE..=LONGEST_LIFE).contains(&token.expires_in);
    (!is_usable).then_some(token.expires_in)
}

/// What is wrong with an answer, or why there is none, for a person.
pub(super) fn problem(host: &str, failure: &Failure) -> String {
    match failure {
        Failure::Body(_) | Failure::TooLong => {
            format!("the answer of {host} is no use: {failure}")
        }
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
    claims: Option<String>,
}

impl AzureTransport {
    pub(super) fn shared(
        http: &Arc<Sender>,
        endpoint: &Url,
        claims: Option<&str>,
    ) -> Arc<dyn HttpClient> {
        runtime::set();
        Arc::new(Self {
            http: Arc::clone(http),
            origin: endpoint.origin(),
            claims: claims.map(str::to_owned),
        })
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
        if let Some(life) = unusable_life(&answer.body) {
            return Err(other(format!(
                "the answer of {} is no use: its token expires in {life} s",
                host(url)
            )));
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
            answer.body.to_vec(),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_with_a_life_beyond_all_dates_is_refused() {
        let told = |life: i64| unusable_life(format!(r#"{{"expires_in":{life}}}"#).as_bytes());
        for life in [i64::MAX, i64::MIN, 999_999_999_999] {
            assert_eq!(told(life), Some(life));
        }
        for life in [-5, 0, 3599, LONGEST_LIFE] {
            assert_eq!(told(life), None);
        }
        assert_eq!(unusable_life(br#"{"error":"invalid_client"}"#), None);
    }
}
