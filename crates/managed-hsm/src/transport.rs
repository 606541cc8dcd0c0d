//! HTTP: one request at a time, its answer read and judged.

use std::error::Error as StdError;
use std::time::{Instant, SystemTime};

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use reqwest::{Certificate, Method, StatusCode};
use tokio::sync::Semaphore;
use url::Url;

use crate::error::Error;
use crate::settings::Settings;
use crate::wire;

/// The largest answer that is read, in bytes.
const MAX_ANSWER: usize = 1 << 20;

/// A request, with what its errors and its log line say about it.
pub(crate) struct Request {
    pub(crate) operation: &'static str,
    pub(crate) key: String,
    pub(crate) method: Method,
    pub(crate) url: Url,
    pub(crate) body: Option<Vec<u8>>,
}

impl Request {
    /// The host and port that the request goes to.
    pub(crate) fn endpoint(&self) -> String {
        self.url.origin().ascii_serialization()
    }

    pub(crate) fn bad_answer(&self, problem: String) -> Error {
        Error::Response {
            operation: self.operation,
            key: self.key.clone(),
            endpoint: self.endpoint(),
            problem,
        }
    }
}

/// Connections to the service, and the token for it.
pub(crate) struct Transport {
    http: reqwest::Client,
    permits: Semaphore,
    settings: Settings,
}

impl Transport {
    pub(crate) fn new(settings: Settings) -> Result<Self, Error> {
        let mut builder = reqwest::Client::builder()
            .https_only(true)
            .http1_only()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .tls_version_min(reqwest::tls::Version::TLS_1_2)
            .tcp_nodelay(true)
            .connect_timeout(settings.connect_timeout)
            .pool_max_idle_per_host(settings.max_connections)
            .user_agent(concat!("akv_provider/", env!("CARGO_PKG_VERSION")));
        if let Some(path) = &settings.ca_file {
            builder = builder.tls_certs_merge(certificates(path)?);
        }
        let http = builder.build().map_err(|error| Error::Io(chain(&error)))?;
        Ok(Self {
            http,
            permits: Semaphore::new(settings.max_connections),
            settings,
        })
    }

    /// Sends a request that is safe to repeat, and returns the body of a 200 answer. Sent again, once, if the
    /// connection is lost before an answer.
    pub(crate) async fn send(&self, request: &Request) -> Result<Vec<u8>, Error> {
        let authorization = self.authorization()?;
        let _permit = self
            .permits
            .acquire()
            .await
            .map_err(|error| Error::Io(error.to_string()))?;
        let started = Instant::now();
        let mut outcome = self.attempt(request, &authorization).await;
        let lost = |error: &reqwest::Error| !error.is_timeout() && connection_was_lost(error);
        if outcome.as_ref().is_err_and(lost) {
            outcome = self.attempt(request, &authorization).await;
        }
        let response = outcome.map_err(|error| unreachable(request, &error))?;
        let status = response.status();
        let request_id = header(&response, "x-ms-request-id");
        let body = read(response, request).await;
        log::debug!(
            "{} {} status={} ms={} request_id={request_id}",
            request.operation,
            request.key,
            status.as_u16(),
            started.elapsed().as_millis(),
        );
        let body = body?;
        if status == StatusCode::OK {
            Ok(body)
        } else {
            Err(refused(request, status, &body, request_id))
        }
    }

    async fn attempt(
        &self,
        request: &Request,
        authorization: &HeaderValue,
    ) -> reqwest::Result<reqwest::Response> {
        let mut builder = self
            .http
            .request(request.method.clone(), request.url.clone())
            .header(AUTHORIZATION, authorization.clone());
        if let Some(body) = &request.body {
            builder = builder
                .header(CONTENT_TYPE, "application/json")
                .body(body.clone());
        }
        builder.send().await
    }

    fn authorization(&self) -> Result<HeaderValue, Error> {
        let token = self.settings.access_token.as_ref().ok_or(Error::NoToken)?;
        if let Some(at) = token.expires_at().filter(|at| *at <= SystemTime::now()) {
            return Err(Error::TokenExpired {
                at: humantime::format_rfc3339_seconds(at).to_string(),
            });
        }
        let mut value = HeaderValue::from_str(&token.bearer()).map_err(|_| Error::NoToken)?;
        value.set_sensitive(true);
        Ok(value)
    }
}

fn certificates(path: &std::path::Path) -> Result<Vec<Certificate>, Error> {
    let invalid = |problem: String| Error::Settings {
        variable: "AKV_CA_FILE",
        problem,
    };
    let pem = std::fs::read(path)
        .map_err(|error| invalid(format!("'{}' can't be read: {error}", path.display())))?;
    let certificates = Certificate::from_pem_bundle(&pem).map_err(|error| {
        invalid(format!(
            "'{}' is not a PEM file of certificates: {}",
            path.display(),
            chain(&error)
        ))
    })?;
    if certificates.is_empty() {
        return Err(invalid(format!(
            "'{}' holds no PEM certificate",
            path.display()
        )));
    }
    Ok(certificates)
}

/// Reads an answer's body, up to a limit.
async fn read(mut response: reqwest::Response, request: &Request) -> Result<Vec<u8>, Error> {
    let mut body = Vec::new();
    loop {
        match response.chunk().await {
            Ok(None) => return Ok(body),
            Ok(Some(chunk)) if body.len() + chunk.len() <= MAX_ANSWER => {
                body.extend_from_slice(&chunk)
            }
            Ok(Some(_)) => {
                return Err(request.bad_answer(format!("it is longer than {MAX_ANSWER} bytes")));
            }
            Err(error) => {
                return Err(request.bad_answer(format!("it ends too early ({})", chain(&error))));
            }
        }
    }
}

/// What the service's refusal means.
fn refused(request: &Request, status: StatusCode, body: &[u8], request_id: String) -> Error {
    let (operation, key) = (request.operation, request.key.clone());
    let found = wire::service_error(body);
    if status == StatusCode::UNAUTHORIZED {
        let message = found.map_or_else(|| "no reason given".to_owned(), |(_, message)| message);
        return Error::Unauthorized {
            operation,
            key,
            message,
            request_id,
        };
    }
    match found {
        Some((code, message)) => Error::Service {
            operation,
            key,
            status: status.as_u16(),
            code,
            message,
            request_id,
        },
        None => request.bad_answer(format!(
            "HTTP {status} without an error that can be read (request id {request_id})"
        )),
    }
}

/// What it means that no answer came.
fn unreachable(request: &Request, error: &reqwest::Error) -> Error {
    let problem = chain(error);
    let remedies = [
        (
            "UnknownIssuer",
            "its certificate is not signed by a CA that is trusted here; if it is the right server, set AKV_CA_FILE to \
             the CA's certificate",
        ),
        (
            "certificate",
            "its certificate was refused; check the address and this machine's clock",
        ),
        (
            "dns",
            "check the vault's name, and the name servers of this machine",
        ),
        (
            "lookup",
            "check the vault's name, and the name servers of this machine",
        ),
        (
            "refused",
            "nothing listens there; check AZURE_MANAGEDHSM_URL, or start the emulator",
        ),
    ];
    let remedy = remedies
        .iter()
        .find(|(part, _)| problem.contains(part))
        .map_or(
            "check the network between this machine and the HSM",
            |(_, remedy)| remedy,
        );
    Error::Connect {
        operation: request.operation,
        key: request.key.clone(),
        endpoint: request.endpoint(),
        problem,
        remedy,
    }
}

/// Whether a kept connection turned out to be closed, so that the request can be sent again on another.
fn connection_was_lost(error: &reqwest::Error) -> bool {
    use std::io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    !error.is_connect()
        && sources(error).into_iter().any(|source| {
            source
                .to_string()
                .contains("connection closed before message completed")
                || source
                    .downcast_ref::<std::io::Error>()
                    .is_some_and(|error| {
                        matches!(
                            error.kind(),
                            BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof
                        )
                    })
        })
}

/// An error and its causes, outermost first.
fn sources<'a>(error: &'a (dyn StdError + 'static)) -> Vec<&'a (dyn StdError + 'static)> {
    let mut all = vec![error];
    let mut next = error.source();
    while let Some(source) = next {
        all.push(source);
        next = source.source();
    }
    all
}

/// An error with all its causes. A cause that only repeats the last is left out.
fn chain(error: &(dyn StdError + 'static)) -> String {
    let mut texts: Vec<String> = Vec::new();
    for source in sources(error)
        .into_iter()
        .skip(usize::from(error.source().is_some()))
    {
        let text = source.to_string();
        if !texts.iter().any(|earlier| earlier.contains(&text)) {
            texts.push(text);
        }
    }
    texts.join(": ")
}

fn header(response: &reqwest::Response, name: &str) -> String {
    let value = response
        .headers()
        .get(name)
        .and_then(|value| value.to_str().ok());
    value.unwrap_or("none").to_owned()
}
