//! The control port: faults, the server certificate and the lifetime of tokens to set, and counters to read. Plain HTTP on the loopback, without tokens.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;

use crate::error::Error;
use crate::faults::{Fault, Faults};
use crate::identity::Identity;
use crate::metrics::Metrics;
use crate::tls::{ServerTls, Shown};

/// What the port controls.
#[derive(Clone)]
pub(crate) struct Controlled {
    pub(crate) faults: Arc<Faults>,
    pub(crate) identity: Arc<Identity>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) tls: Arc<ServerTls>,
}

/// Serves the control port until the process ends. Returns its URL.
pub(crate) async fn serve(port: u16, controlled: Controlled) -> Result<String, Error> {
    let address = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port);
    let listener = TcpListener::bind(address)
        .await
        .map_err(|source| Error::Listen { address, source })?;
    let url = format!("http://{}", listener.local_addr()?);
    let router = Router::new()
        .route("/faults", get(list).post(add).delete(clear))
        .route("/certificate", get(certificate).put(set_certificate))
        .route("/token-lifetime", get(lifetime).put(set_lifetime))
        .route("/metrics", get(metrics_text))
        .with_state(controlled);
    tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, router).await {
            crate::log::event(format_args!("the control port failed: {error}"));
        }
    });
    Ok(url)
}

async fn list(State(controlled): State<Controlled>) -> Response {
    json(StatusCode::OK, &controlled.faults.list())
}

async fn add(State(controlled): State<Controlled>, body: String) -> Response {
    // A fault as JSON, or in the form of the flag --fault.
    let fault = match body.trim_start().starts_with('{') {
        true => serde_json::from_str::<Fault>(&body).map_err(|error| error.to_string()),
        false => body.trim().parse::<Fault>(),
    };
    match fault.and_then(|fault| fault.check().map(|()| fault)) {
        Ok(fault) => {
            controlled.faults.add(fault);
            json(StatusCode::CREATED, &controlled.faults.list())
        }
        Err(problem) => refused(&problem),
    }
}

async fn clear(State(controlled): State<Controlled>) -> Response {
    controlled.faults.clear();
    StatusCode::NO_CONTENT.into_response()
}

async fn lifetime(State(controlled): State<Controlled>) -> Response {
    let seconds = controlled.identity.lifetime();
    json(StatusCode::OK, &serde_json::json!({"seconds": seconds}))
}

async fn set_lifetime(State(controlled): State<Controlled>, body: String) -> Response {
    match body.trim().parse() {
        Ok(seconds) => {
            controlled.identity.set_lifetime(seconds);
            lifetime(State(controlled)).await
        }
        Err(_) => refused("the body is a whole number of seconds"),
    }
}

async fn certificate(State(controlled): State<Controlled>) -> Response {
    let shown = controlled.tls.shown();
    json(StatusCode::OK, &serde_json::json!({"shown": shown}))
}

async fn set_certificate(State(controlled): State<Controlled>, body: String) -> Response {
    let shown = serde_json::from_value::<Shown>(body.trim().into());
    let Ok(shown) = shown else {
        return refused("the body is renewed, expired, other-host or other-authority");
    };
    match controlled.tls.show(shown) {
        Ok(()) => certificate(State(controlled)).await,
        Err(error) => refused(&error.to_string()),
    }
}

async fn metrics_text(State(controlled): State<Controlled>) -> Response {
    let kind = [(header::CONTENT_TYPE, "text/plain; version=0.0.4")];
    (kind, controlled.metrics.text()).into_response()
}

fn refused(problem: &str) -> Response {
    let body = serde_json::json!({ "error": problem });
    json(StatusCode::BAD_REQUEST, &body)
}

fn json(status: StatusCode, body: &impl serde::Serialize) -> Response {
    let text = serde_json::to_string(body).unwrap_or_default();
    (status, [(header::CONTENT_TYPE, "application/json")], text).into_response()
}
