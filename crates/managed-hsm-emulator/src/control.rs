//! The control port: faults, the server certificate and the lifetime of tokens to set, and counters
//! to read. Plain HTTP on the loopback, without tokens.

use std::convert::Infallible;
use std::sync::Arc;

use http::{HeaderValue, Method, StatusCode, header};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::faults::Faults;
use crate::identity::Identity;
use crate::message::{Request, Response, answer_to, read, whole};
use crate::metrics::Metrics;
use crate::tls::{ServerTls, Shown};

/// What the port controls.
#[derive(Clone)]
pub(crate) struct Controlled {
    pub(crate) faults: Faults,
    pub(crate) identity: Arc<Identity>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) tls: Arc<ServerTls>,
}

/// Serves the control port until it is aborted.
pub(crate) async fn serve(listener: TcpListener, controlled: Controlled) {
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = connections.join_next() => continue,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                crate::log::event(format_args!("the control port failed: {error}"));
                return;
            }
        };
        let controlled = controlled.clone();
        connections.spawn(async move {
            let service = service_fn(move |request: Request| {
                let (controlled, method) = (controlled.clone(), request.method().clone());
                async move {
                    let answer = controlled.answer(request).await;
                    Ok::<_, Infallible>(answer_to(&method, answer))
                }
            });
            let builder = auto::Builder::new(TokioExecutor::new());
            let _ = builder
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

/// What the port has to offer.
#[derive(Clone, Copy)]
enum Resource {
    Faults,
    Certificate,
    TokenLifetime,
    Metrics,
}

impl Resource {
    fn at(path: &str) -> Option<Self> {
        match path {
            "/faults" => Some(Self::Faults),
            "/certificate" => Some(Self::Certificate),
            "/token-lifetime" => Some(Self::TokenLifetime),
            "/metrics" => Some(Self::Metrics),
            _ => None,
        }
    }

    /// The methods that there are, as the header `Allow` names them.
    fn methods(self) -> &'static str {
        match self {
            Self::Faults => "GET,HEAD,POST,DELETE",
            Self::Certificate | Self::TokenLifetime => "GET,HEAD,PUT",
            Self::Metrics => "GET,HEAD",
        }
    }
}

impl Controlled {
    async fn answer(&self, request: Request) -> Response {
        let (parts, body) = request.into_parts();
        let Some(resource) = Resource::at(parts.uri.path()) else {
            return empty(StatusCode::NOT_FOUND);
        };
        let Ok(body) = read(body).await else {
            return empty(StatusCode::PAYLOAD_TOO_LARGE);
        };
        let Ok(body) = std::str::from_utf8(&body) else {
            return empty(StatusCode::BAD_REQUEST);
        };
        let get = [Method::GET, Method::HEAD].contains(&parts.method);
        match (resource, parts.method.as_str()) {
            (Resource::Faults, _) if get => json(StatusCode::OK, &self.faults.list()),
            (Resource::Faults, "POST") => match self.faults.add(body) {
                Ok(()) => json(StatusCode::CREATED, &self.faults.list()),
                Err(problem) => refused(&problem),
            },
            (Resource::Faults, "DELETE") => {
                self.faults.clear();
                empty(StatusCode::NO_CONTENT)
            }
            (Resource::Certificate, _) if get => self.certificate(),
            (Resource::Certificate, "PUT") => self.set_certificate(body),
            (Resource::TokenLifetime, _) if get => self.lifetime(),
            (Resource::TokenLifetime, "PUT") => match body.trim().parse() {
                Ok(seconds) => {
                    self.identity.set_lifetime(seconds);
                    self.lifetime()
                }
                Err(_) => refused("the body is a whole number of seconds"),
            },
            (Resource::Metrics, _) if get => {
                let kind = "text/plain; version=0.0.4";
                response(StatusCode::OK, kind, self.metrics.text())
            }
            (resource, _) => {
                let mut response = empty(StatusCode::METHOD_NOT_ALLOWED);
                let allowed = HeaderValue::from_static(resource.methods());
                response.headers_mut().insert(header::ALLOW, allowed);
                response
            }
        }
    }

    fn lifetime(&self) -> Response {
        let seconds = self.identity.lifetime();
        json(StatusCode::OK, &serde_json::json!({"seconds": seconds}))
    }

    fn certificate(&self) -> Response {
        let shown = self.tls.shown();
        json(StatusCode::OK, &serde_json::json!({"shown": shown}))
    }

    fn set_certificate(&self, body: &str) -> Response {
        let Ok(shown) = serde_json::from_value::<Shown>(body.trim().into()) else {
            return refused("the body is renewed, expired, other-host or other-authority");
        };
        match self.tls.show(shown) {
            Ok(()) => self.certificate(),
            Err(error) => refused(&error.to_string()),
        }
    }
}

fn refused(problem: &str) -> Response {
    let body = serde_json::json!({ "error": problem });
    json(StatusCode::BAD_REQUEST, &body)
}

fn json(status: StatusCode, body: &impl serde::Serialize) -> Response {
    let text = serde_json::to_string(body).unwrap_or_default();
    response(status, "application/json", text)
}

fn response(status: StatusCode, kind: &'static str, text: String) -> Response {
    let mut response = Response::new(whole(text));
    *response.status_mut() = status;
    let kind = HeaderValue::from_static(kind);
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

fn empty(status: StatusCode) -> Response {
    let mut response = Response::new(whole(""));
    *response.status_mut() = status;
    response
}
