//! What every request goes through, whatever it asks for: faults, authentication, latency, counters
//! and the log.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, StatusCode, Version, header};
use hyper::body::Incoming;

use super::audit::{Asked, CLIENT_REQUEST_ID};
use super::dispatch::act;
use super::failure::Failure;
use super::reply::Reply;
use super::{Connection, host, unconfirmed};
use crate::faults::{Before, Faults, Met, Refused};
use crate::hosts::Behind;
use crate::hsm::{Hsm, Shared};
use crate::identity;
use crate::log;
use crate::message::{NotRead, Request, Response, read};
use crate::requests::{self, Recorded};
use crate::service::{Address, Audience, Service};
use crate::token::{Principal, TokenError, TokenKey};

/// A request that has come, for those who are told of it: the log, and tests.
struct Arrived {
    connection: Connection,
    recorded: Recorded,
    start: Instant,
    method: Method,
    path: String,
    request_id: String,
}

impl Arrived {
    fn new(shared: &Shared, connection: Connection, parts: &Parts) -> Self {
        let (method, path) = (meant(parts), parts.uri.path().to_owned());
        let recorded = shared.requests.record(|| requests::Request {
            connection: connection.number,
            method: method.clone(),
            path: path.clone(),
            version: parts.version,
            status: None,
        });
        Self {
            connection,
            recorded,
            start: Instant::now(),
            method,
            path,
            request_id: uuid::Uuid::new_v4().to_string(),
        }
    }

    /// Tells how it is answered, and after how long.
    fn answered(&self, status: StatusCode, elapsed: Duration) {
        self.recorded.answered(status.as_u16());
        log::request(&log::RequestLine {
            connection: self.connection.number,
            method: self.method.as_str(),
            path: &self.path,
            status: status.as_u16(),
            milliseconds: elapsed.as_millis(),
            request_id: &self.request_id,
        });
    }
}

/// The method of a request, or another one that its header names: for clients that can send none
/// but GET and POST. Documented of a POST, with both names for the header.
fn meant(parts: &Parts) -> Method {
    let mut named = ["x-http-method", "x-http-request"]
        .iter()
        .filter_map(|name| parts.headers.get(*name));
    let instead = named.find_map(|name| Method::from_bytes(name.as_bytes()).ok());
    match instead {
        Some(instead) if parts.method == Method::POST => instead,
        _ => parts.method.clone(),
    }
}

/// Answers a request by the HSM or vault that it is for, or by the token service.
pub(crate) async fn answer(behind: Behind, connection: Connection, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let arrived = Arrived::new(behind.shared(), connection, &parts);
    if let Behind::ManagedIdentities(shared) = &behind
        && identity::is_for_managed_identities(&arrived.path)
    {
        return log_in(shared, &arrived, parts, body).await;
    }
    let host_named = host(&parts);
    if !is_addressed(&parts) {
        return answer_without_hsm(&arrived, host_named, unconfirmed::host_header());
    }
    let Some(hsm) = behind.of_host(host_named) else {
        let service = service_of(host_named);
        let failure = unconfirmed::not_served(service, host_named);
        return answer_without_hsm(&arrived, host_named, failure);
    };
    if hsm.service == Service::KeyVault && asks_for_health(&arrived) {
        let audience = Audience::at(hsm.service, host_named);
        return answer_anybody(&arrived, audience, Reply::healthy());
    }
    match identity::is_for(&arrived.path) {
        true => log_in(&hsm.shared, &arrived, parts, body).await,
        false => answer_by(hsm, &arrived, parts, body).await,
    }
}

/// Whether a request says, once, whom it is for (RFC 9112, section 3.2).
fn is_addressed(parts: &Parts) -> bool {
    let hosts = parts.headers.get_all(header::HOST).iter().count();
    match parts.version {
        Version::HTTP_11 => hosts == 1,
        Version::HTTP_2 => parts.uri.authority().is_some() || hosts == 1,
        _ => hosts <= 1,
    }
}

fn service_of(host: &str) -> Service {
    Address::parse(host).map_or(Service::ManagedHsm, |address| address.service)
}

/// The answer where no HSM or vault is meant.
fn answer_without_hsm(arrived: &Arrived, host: &str, failure: Failure) -> Response {
    let audience = Audience::at(service_of(host), host);
    answer_anybody(arrived, audience, failure.into())
}

/// Whether a probe asks, without a token or a version of the API. Documented of vaults
/// (private-link-diagnostics), and of HSMs nowhere.
fn asks_for_health(arrived: &Arrived) -> bool {
    let path = arrived.path.trim_matches('/');
    arrived.method == Method::GET && path.eq_ignore_ascii_case("healthstatus")
}

/// An answer that asks nobody who they are.
fn answer_anybody(arrived: &Arrived, audience: Audience, reply: Reply) -> Response {
    arrived.recorded.answered(reply.status.as_u16());
    reply.into_response(
        audience,
        &arrived.method,
        &arrived.request_id,
        arrived.connection.peer,
        Duration::ZERO,
    )
}

/// The answer of an HSM or a vault.
async fn answer_by(
    hsm: &Arc<Hsm>,
    arrived: &Arrived,
    mut parts: Parts,
    body: Incoming,
) -> Response {
    parts.method = arrived.method.clone();
    let shared = &hsm.shared;
    let (method, path, hold) = (&arrived.method, &arrived.path, &arrived.connection.hold);
    let audience = Audience::at(hsm.service, host(&parts));
    let authenticated = authenticate(&shared.token_key, audience, &parts.headers);
    let client_request_id = parts.headers.get(CLIENT_REQUEST_ID).cloned();
    // Libraries send their first request only to be challenged; that is not the one to meet a
    // fault.
    let fault = match &authenticated {
        Ok(_) => shared.faults.meet(path),
        Err(_) => None,
    };
    let audited = shared.audit.as_ref().map(|log| {
        let asked = Asked::new(hsm, &parts, arrived.connection.peer.ip());
        (log, asked, authenticated.as_ref().ok().cloned())
    });
    let instead = refused(fault.as_ref(), &arrived.connection).await;
    let mut is_read = true;
    let reply = match (authenticated, instead) {
        (Err(refusal), _) => refusal.reply(audience, method),
        (Ok(_), Some(it)) => Failure::new(it.status, it.code, it.text).into(),
        (Ok(principal), None) => match read(body).await {
            Err(problem) => {
                is_read = false;
                unread(problem)
            }
            Ok(body) => act(Arc::clone(hsm), principal, parts, body).await,
        },
    };
    if let Some(latency) = shared.latency {
        crate::pause::pause(latency.sample().saturating_sub(arrived.start.elapsed())).await;
    }
    let (elapsed, status) = (arrived.start.elapsed(), reply.status);
    let peer = arrived.connection.peer;
    let mut response = reply.into_response(audience, method, &arrived.request_id, peer, elapsed);
    tell_when_to_come_again(&mut response, instead);
    if let (Service::KeyVault, Some(id)) = (hsm.service, client_request_id) {
        // As recorded, whether or not the caller asks for it; HSMs were not recorded to do so.
        response.headers_mut().insert(CLIENT_REQUEST_ID, id);
    }
    if !is_read {
        // What is left of the body is not read, so the connection can't carry another request.
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(header::CONNECTION, close);
    }
    if fault.as_ref().is_some_and(Met::asks_for_claims) {
        unconfirmed::ask_for_claims(response.headers_mut(), audience);
    }
    let (operation, code) = (operation_of(method, path), status.as_u16());
    let metrics = &shared.metrics;
    metrics.request(hsm.service, &hsm.name, operation, code, elapsed);
    arrived.answered(status, elapsed);
    if let Some((log, asked, principal)) = audited {
        let id = &arrived.request_id;
        log.write(&asked.record(hsm, principal.as_ref(), id, status, elapsed));
    }
    match fault {
        Some(fault) => fault.spoil(response, hold).await,
        None => response,
    }
}

fn unread(problem: NotRead) -> Reply {
    match problem {
        NotRead::Whole => unconfirmed::body_not_read().into(),
        NotRead::InTime => unconfirmed::body_too_slow().into(),
    }
}

/// What a request is counted as: the action of a key, or the collection.
fn operation_of(method: &Method, path: &str) -> &'static str {
    let lower = path.to_ascii_lowercase();
    let last = lower
        .trim_end_matches('/')
        .rsplit('/')
        .next()
        .unwrap_or_default();
    let known = [
        "create",
        "sign",
        "verify",
        "encrypt",
        "decrypt",
        "wrapkey",
        "unwrapkey",
        "securewrapkey",
        "secureunwrapkey",
        "backup",
        "restore",
        "rotate",
        "rotationpolicy",
        "versions",
        "rng",
        "recover",
        "release",
        "attestation",
    ];
    match known.into_iter().find(|known| *known == last) {
        Some(operation) => operation,
        None if lower.contains("/providers/") => "roles",
        None if lower.starts_with("/settings") => "settings",
        None if lower.starts_with("/deletedkeys") => "deletedkeys",
        None if *method == Method::GET => "get",
        None if *method == Method::DELETE => "delete",
        None if *method == Method::PATCH => "update",
        None if *method == Method::PUT => "import",
        None => "other",
    }
}

/// What a fault answers in place of carrying a request out. Where it answers nothing, this never
/// ends.
async fn refused(fault: Option<&Met>, connection: &Connection) -> Option<Refused> {
    match fault?.before(&connection.hold) {
        Before::Nothing => None,
        Before::Answer(refused) => Some(refused),
        Before::NoAnswer => std::future::pending().await,
    }
}

fn tell_when_to_come_again(response: &mut Response, refused: Option<Refused>) {
    if refused.is_some_and(|refused| refused.retry_after) {
        let headers = response.headers_mut();
        headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    }
}

/// The answer of the token service.
async fn log_in(shared: &Shared, arrived: &Arrived, parts: Parts, body: Incoming) -> Response {
    let fault = fault_of_token_service(&shared.faults, &arrived.path);
    let instead = refused(fault.as_ref(), &arrived.connection).await;
    let body = read(body).await.unwrap_or_default();
    let (key, attester) = (&shared.token_key, &shared.attester);
    let mut response = match instead {
        Some(refused) => identity::by_fault(&arrived.path, refused.status),
        None => shared
            .identity
            .answer(key, attester, host(&parts), &parts, &body),
    };
    tell_when_to_come_again(&mut response, instead);
    arrived.answered(response.status(), arrived.start.elapsed());
    match fault {
        Some(fault) => fault.spoil(response, &arrived.connection.hold).await,
        None => response,
    }
}

/// What a request for a token meets: only faults that name its path or its last part. Others are
/// for HSMs and vaults, which nobody would reach who can't log in.
fn fault_of_token_service(faults: &Faults, path: &str) -> Option<Met> {
    let last = path.trim_end_matches('/').rsplit('/').next();
    let last = last.unwrap_or_default();
    let named = faults.list().into_iter().any(|fault| {
        let by_path = fault.path.is_some_and(|begin| path.starts_with(&begin));
        by_path
            || fault
                .operation
                .is_some_and(|name| name.eq_ignore_ascii_case(last))
    });
    named.then(|| faults.meet(path)).flatten()
}

/// Why a caller is not let in.
enum Refusal {
    NoToken,
    BadToken(TokenError),
}

impl Refusal {
    fn reply(&self, audience: Audience, method: &Method) -> Reply {
        match (self, audience.service) {
            (Self::NoToken, service) => Reply::challenge(service, method),
            (Self::BadToken(error), Service::KeyVault) => {
                unconfirmed::token_refused_by_vault(error, audience).into()
            }
            (Self::BadToken(TokenError::Malformed), _) => Failure::malformed_token().into(),
            (Self::BadToken(error), _) => unconfirmed::token_refused(error, audience).into(),
        }
    }
}

fn authenticate(
    key: &TokenKey,
    audience: Audience,
    headers: &HeaderMap,
) -> Result<Principal, Refusal> {
    let token = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, token)| token.trim())
        .ok_or(Refusal::NoToken)?;
    key.check(token, audience).map_err(Refusal::BadToken)
}
