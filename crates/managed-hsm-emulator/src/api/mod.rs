//! The REST APIs of Managed HSM and Key Vault: one HTTP request in, one answer out. `server` calls [`answer`] for every request.
//!
//! What comes first is what the service checks first: the token before the path, the path before the body.

mod access;
mod body;
mod cost;
mod failure;
mod import;
mod keys;
mod life_cycle;
mod lists;
mod operations;
mod release;
mod reply;
mod roles;
mod route;
mod settings;
mod unconfirmed;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::Response;

use crate::attestation::Chain;
use crate::capacity::{Capacity, Latency};
use crate::clock::unix_seconds;
use crate::error::Error;
use crate::faults::{Before, Faults, Met, Refused};
use crate::hosts::Behind;
use crate::identity::{self, Identity};
use crate::metrics::Metrics;

use crate::line::Line;
use crate::log;
use crate::roles::{
    Assignment, OWNER_ROLES, OWNER_VAULT_ROLE, built_in, permits, permits_in_vault,
};
use crate::service::{Address, Audience, Service};
use crate::store::{ASSIGNMENTS, DEFINITIONS, Store, StoreError};
use crate::token::{PRINCIPAL, Principal, TokenError, TokenKey};
use failure::Failure;
use reply::Reply;
use route::{KeyAction, Query, Route};

/// More than the largest body that any operation needs.
const BODY_LIMIT: usize = 1024 * 1024;

/// One emulated HSM, or one vault.
pub(crate) struct Hsm {
    service: Service,
    name: String,
    store: Store,
    /// A vault's; an HSM's are in its store, where its API can change them.
    assignments: Vec<Assignment>,
    /// None: as much as the machine can do.
    capacity: Option<Capacity>,
    shared: Shared,
}

/// What all HSMs and vaults of a process have in common.
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) token_key: Arc<TokenKey>,
    /// Signs attestations and released keys.
    pub(crate) attester: Arc<TokenKey>,
    /// Of `attester`.
    pub(crate) chain: Arc<Chain>,
    pub(crate) identity: Arc<Identity>,
    /// How long every answer takes at least.
    pub(crate) latency: Option<Latency>,
    /// That each HSM has.
    pub(crate) partitions: Option<u32>,
    pub(crate) faults: Arc<Faults>,
    pub(crate) metrics: Arc<Metrics>,
}

/// The connection that a request came on.
#[derive(Clone)]
pub(crate) struct Connection {
    pub(crate) number: u64,
    pub(crate) peer: SocketAddr,
    /// For faults that end it or change what it carries.
    pub(crate) line: Arc<Line>,
}

/// A request whose caller is known and whose path makes sense.
struct Call<'a> {
    shared: &'a Shared,
    service: Service,
    store: &'a Store,
    /// As the client addressed the HSM or vault, for the URLs in answers.
    host: &'a str,
    query: &'a Query,
    body: &'a Bytes,
}

/// Answers a request by the HSM or vault that it is for.
pub(crate) async fn answer(behind: Behind, connection: Connection, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    if let Behind::ManagedIdentities(shared) = &behind
        && identity::is_for_managed_identities(parts.uri.path())
    {
        return log_in(shared, connection, parts, body).await;
    }
    let Some(hsm) = behind.of_host(host(&parts)).cloned() else {
        let id = uuid::Uuid::new_v4().to_string();
        let host = host(&parts);
        let service = Address::parse(host).map_or(Service::ManagedHsm, |address| address.service);
        let failure = unconfirmed::not_served(service, host);
        return Reply::from(failure).into_response(
            Audience::at(service, host),
            &parts.method,
            &id,
            connection.peer,
            Duration::ZERO,
        );
    };
    answer_by(hsm, connection, Request::from_parts(parts, body)).await
}

/// Answers a request and logs it.
async fn answer_by(hsm: Arc<Hsm>, connection: Connection, request: Request) -> Response {
    let start = Instant::now();
    let request_id = uuid::Uuid::new_v4().to_string();
    let (parts, body) = request.into_parts();
    let (method, path) = (parts.method.clone(), parts.uri.path().to_owned());
    if identity::is_for(&path) {
        return log_in(&hsm.shared, connection, parts, body).await;
    }
    let shared = &hsm.shared;
    let audience = Audience::at(hsm.service, host(&parts));
    let authenticated = authenticate(&shared.token_key, audience, &parts.headers);
    // Libraries send their first request only to be challenged; that is not the one to meet a fault.
    let fault = authenticated
        .as_ref()
        .ok()
        .and_then(|_| shared.faults.meet(&path));
    let instead = refused(fault, &connection).await;
    let reply = match (authenticated, instead) {
        (Err(refusal), _) => refusal.reply(audience, &method),
        (Ok(_), Some(it)) => Failure::new(it.status, it.code, it.text).into(),
        (Ok(principal), None) => match axum::body::to_bytes(body, BODY_LIMIT).await {
            Err(_) => Reply::from(unconfirmed::body_not_read()),
            Ok(body) => act(hsm.clone(), principal, parts, body).await,
        },
    };
    if let Some(latency) = shared.latency {
        crate::pause::pause(latency.sample().saturating_sub(start.elapsed())).await;
    }
    let elapsed = start.elapsed();
    let status = reply.status;
    let mut response =
        reply.into_response(audience, &method, &request_id, connection.peer, elapsed);
    tell_when_to_come_again(&mut response, instead);
    if status == StatusCode::PAYLOAD_TOO_LARGE {
        // What is left of the body is not read, so the connection can't carry another request.
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(header::CONNECTION, close);
    }
    if fault.is_some_and(Met::asks_for_claims) {
        unconfirmed::ask_for_claims(response.headers_mut(), audience);
    }
    let operation = operation_of(&method, &path);
    shared
        .metrics
        .request(hsm.service, &hsm.name, operation, status.as_u16(), elapsed);
    log::request(&log::RequestLine {
        connection: connection.number,
        method: method.as_str(),
        path: &path,
        status: status.as_u16(),
        milliseconds: elapsed.as_millis(),
        request_id: &request_id,
    });
    match fault {
        Some(fault) => fault.spoil(response, &connection.line).await,
        None => response,
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

/// What a fault answers in place of carrying a request out. Where it answers nothing, this never ends.
async fn refused(fault: Option<Met>, connection: &Connection) -> Option<Refused> {
    match fault?.before(&connection.line) {
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

/// A request for a token.
async fn log_in(shared: &Shared, connection: Connection, parts: Parts, body: Body) -> Response {
    let start = Instant::now();
    let request_id = uuid::Uuid::new_v4().to_string();
    let path = parts.uri.path();
    let fault = fault_of_token_service(&shared.faults, path);
    let instead = refused(fault, &connection).await;
    let body = axum::body::to_bytes(body, BODY_LIMIT)
        .await
        .unwrap_or_default();
    let (key, attester) = (&shared.token_key, &shared.attester);
    let mut response = match instead {
        Some(refused) => identity::by_fault(path, refused.status),
        None => shared
            .identity
            .answer(key, attester, host(&parts), &parts, &body),
    };
    tell_when_to_come_again(&mut response, instead);
    log::request(&log::RequestLine {
        connection: connection.number,
        method: parts.method.as_str(),
        path,
        status: response.status().as_u16(),
        milliseconds: start.elapsed().as_millis(),
        request_id: &request_id,
    });
    match fault {
        Some(fault) => fault.spoil(response, &connection.line).await,
        None => response,
    }
}

/// What a request for a token meets: only faults that name its path or its last part. Others are for HSMs and vaults, which
/// nobody would reach who can't log in.
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

/// Private-key operations and SQLite block, so that they have a thread of their own.
async fn act(hsm: Arc<Hsm>, principal: Principal, parts: Parts, body: Bytes) -> Reply {
    let acted = tokio::task::spawn_blocking(move || dispatch(&hsm, &principal, &parts, &body));
    match acted.await {
        Ok(Ok(reply)) => reply,
        Ok(Err(failure)) => failure.into(),
        Err(panic) => {
            log::event(format_args!("a request failed in the emulator: {panic}"));
            unconfirmed::internal("the emulator failed; its log says more").into()
        }
    }
}

fn dispatch(
    hsm: &Hsm,
    principal: &Principal,
    parts: &Parts,
    body: &Bytes,
) -> Result<Reply, Failure> {
    let query = Query::parse(parts.uri.query().unwrap_or_default());
    query.check_api_version(hsm.service)?;
    let call = Call {
        shared: &hsm.shared,
        service: hsm.service,
        store: &hsm.store,
        host: host(parts),
        query: &query,
        body,
    };
    let route = Route::parse(hsm.service, &parts.method, parts.uri.path())?;
    let (action, scope) = access::needed(hsm.service, &parts.method, &route);
    if !hsm.permits(principal, action, &scope) {
        let action = format!("{}{action}", access::prefix(hsm.service));
        return Err(match hsm.service {
            Service::ManagedHsm => Failure::access_denied(&action, &scope),
            Service::KeyVault => {
                Failure::access_denied_by_vault(&hsm.name, principal, &action, &scope)
            }
        });
    }
    if let Some(capacity) = &hsm.capacity
        && !capacity.take(cost::of(&route, &hsm.store, hsm.service))
    {
        return Err(Failure::throttled());
    }
    let purged = hsm.store.purge_due(unix_seconds());
    purged.map_err(|error| stored_badly("purge", &error))?;
    let get = parts.method == Method::GET;
    let put = parts.method == Method::PUT;
    match route {
        Route::Keys => lists::keys(&call),
        Route::DeletedKeys => lists::deleted_keys(&call),
        Route::Random => operations::random(&call),
        Route::Restore => life_cycle::restore(&call),
        Route::Deleted(name) => keys::get_deleted(&call, &name),
        Route::Purge(name) => keys::purge(&call, &name),
        Route::Recover(name) => keys::recover(&call, &name),
        Route::Settings => settings::list(&call),
        Route::Setting(name) if get => settings::get(&call, &name),
        Route::Setting(name) => settings::update(&call, &name),
        Route::Definitions(_) => roles::definitions(&call),
        Route::Definition(_, id) if get => roles::definition(&call, &id),
        Route::Definition(_, id) if put => roles::set_definition(&call, &id),
        Route::Definition(_, id) => roles::delete_definition(&call, &id),
        Route::Assignments(scope) => roles::assignments(&call, &scope),
        Route::Assignment(scope, id) if get => roles::assignment(&call, &scope, &id),
        Route::Assignment(scope, id) if put => roles::assign(&call, &scope, &id),
        Route::Assignment(scope, id) => roles::unassign(&call, &scope, &id),
        Route::Key {
            name,
            version,
            action,
        } => {
            life_cycle::rotate_if_due(&call, &name);
            let version = version.as_deref();
            match action {
                KeyAction::Create => keys::create(&call, &name),
                KeyAction::Import => import::import(&call, &name),
                KeyAction::Get => keys::get(&call, &name, version),
                KeyAction::Update => keys::update(&call, &name, version),
                KeyAction::Delete => keys::delete(&call, &name),
                KeyAction::Versions => lists::versions(&call, &name),
                KeyAction::Rotate => keys::rotate(&call, &name),
                KeyAction::Policy if get => life_cycle::policy(&call, &name),
                KeyAction::Policy => life_cycle::set_policy(&call, &name),
                KeyAction::Backup => life_cycle::backup(&call, &name),
                KeyAction::Sign => operations::sign(&call, &name, version),
                KeyAction::Verify => operations::verify(&call, &name, version),
                KeyAction::Encrypt => operations::encrypt(&call, &name, version),
                KeyAction::Decrypt => operations::decrypt(&call, &name, version),
                KeyAction::WrapKey => operations::wrap_key(&call, &name, version),
                KeyAction::UnwrapKey => operations::unwrap_key(&call, &name, version),
                KeyAction::Release => release::release(&call, &name, version),
                KeyAction::Attestation => release::attestation(&call, &name, version),
            }
        }
    }
}

impl Call<'_> {
    /// Keeps a document in the store.
    fn put(&self, kind: &str, name: &str, document: &impl serde::Serialize) -> Result<(), Failure> {
        let kept = self.store.put(kind, name, document);
        kept.map_err(|error| stored_badly(kind, &error))
    }

    fn remove(&self, kind: &str, name: &str) -> Result<(), Failure> {
        let removed = self.store.remove(kind, name);
        removed.map_err(|error| stored_badly(kind, &error))
    }
}

fn stored_badly(kind: &str, error: &StoreError) -> Failure {
    log::event(format_args!("storing a {kind} failed: {error}"));
    unconfirmed::internal("the change could not be stored; the emulator's log says why")
}

impl Hsm {
    /// An HSM or a vault whose owner may do everything, and others what they are granted to begin with.
    pub(crate) fn new(
        service: Service,
        name: &str,
        store: Store,
        shared: Shared,
    ) -> Result<Self, Error> {
        let capacity = shared.partitions.map(|partitions| match service {
            Service::ManagedHsm => Capacity::new(partitions),
            // A vault's limits don't depend on its size.
            Service::KeyVault => Capacity::new(1),
        });
        let mut hsm = Self {
            service,
            name: name.to_owned(),
            store,
            assignments: Vec::new(),
            capacity,
            shared,
        };
        let owner: &[&str] = match service {
            Service::KeyVault => &[OWNER_VAULT_ROLE],
            // Who has taken a role from the owner of an HSM means it.
            Service::ManagedHsm if hsm.assignments().is_empty() => &OWNER_ROLES,
            Service::ManagedHsm => &[],
        };
        for role in owner {
            hsm.grant(PRINCIPAL, role, "/")?;
        }
        let shared = hsm.shared.clone();
        for account in shared.identity.accounts() {
            for grant in &account.roles {
                let role = built_in(&grant.role);
                let (of, role) = role.ok_or_else(|| Error::Role(grant.role.clone()))?;
                if of == service {
                    hsm.grant(account.object_id(), role.id, &grant.scope)?;
                }
            }
        }
        Ok(hsm)
    }

    pub(crate) fn service(&self) -> Service {
        self.service
    }

    fn assignments(&self) -> Vec<Assignment> {
        match self.service {
            Service::ManagedHsm => self.store.documents(ASSIGNMENTS),
            Service::KeyVault => self.assignments.clone(),
        }
    }

    /// Assigns a role, unless it is assigned already.
    fn grant(&mut self, principal_id: &str, role_id: &str, scope: &str) -> Result<(), Error> {
        let same = |one: &Assignment| {
            one.principal_id == principal_id && one.role_id == role_id && one.scope == scope
        };
        if self.assignments().iter().any(same) {
            return Ok(());
        }
        let assignment = Assignment {
            id: uuid::Uuid::new_v4().to_string(),
            principal_id: principal_id.to_owned(),
            role_id: role_id.to_owned(),
            scope: scope.to_owned(),
        };
        match self.service {
            Service::ManagedHsm => {
                let kept = self.store.put(ASSIGNMENTS, &assignment.id, &assignment);
                kept.map_err(|error| Error::Store(error.to_string()))
            }
            Service::KeyVault => {
                self.assignments.push(assignment);
                Ok(())
            }
        }
    }

    fn permits(&self, principal: &Principal, action: &str, scope: &str) -> bool {
        match self.service {
            Service::ManagedHsm => {
                let custom = self.store.documents(DEFINITIONS);
                permits(&self.assignments(), &custom, principal, action, scope)
            }
            Service::KeyVault => permits_in_vault(&self.assignments, principal, action, scope),
        }
    }
}

/// HTTP/1.1 names the host in a header, HTTP/2 in the pseudo-header `:authority`.
fn host(parts: &Parts) -> &str {
    parts
        .headers
        .get(header::HOST)
        .and_then(|host| host.to_str().ok())
        .or_else(|| parts.uri.authority().map(|authority| authority.as_str()))
        .unwrap_or("localhost")
}
