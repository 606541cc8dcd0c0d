//! From a request whose caller is known to the function that answers it: its path, what the caller
//! may do, what the HSM can do now.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Method;
use http::request::Parts;

use super::failure::Failure;
use super::reply::Reply;
use super::route::{KeyAction, Query, Route};
#[cfg(debug_assertions)]
use super::schema;
use super::versions::ApiVersion;
use super::{
    Call, access, certificates, cost, ekm, full_backup, host, import, keys, life_cycle, lists,
    operations, release, roles, secure_wrap, security_domain, settings, stored_badly, unconfirmed,
};
use crate::clock::unix_seconds;
use crate::hsm::Hsm;
use crate::log;
use crate::service::Service;
use crate::token::Principal;

/// Finds out what is asked for and whether the caller gets it, and carries it out when there is
/// room for it.
pub(super) async fn act(hsm: Arc<Hsm>, principal: Principal, parts: Parts, body: Bytes) -> Reply {
    let admitted = match admit(&hsm, &principal, &parts) {
        Ok(admitted) => admitted,
        Err(failure) => return failure.into(),
    };
    crate::pause::pause(admitted.wait).await;
    // On a thread of its own: operations with private keys, and SQLite, block.
    let acted = tokio::task::spawn_blocking(move || carry_out(&hsm, &parts, &body, admitted));
    match acted.await {
        Ok(Ok(reply)) => reply,
        Ok(Err(failure)) => failure.into(),
        Err(panic) => {
            log::event(format_args!("a request failed in the emulator: {panic}"));
            unconfirmed::internal("the emulator failed; its log says more").into()
        }
    }
}

/// A request that is to be carried out.
struct Admitted {
    query: Query,
    version: ApiVersion,
    route: Route,
    /// Until there is room for it.
    wait: Duration,
}

fn admit(hsm: &Hsm, principal: &Principal, parts: &Parts) -> Result<Admitted, Failure> {
    let query = Query::parse(parts.uri.query().unwrap_or_default());
    let version = query.version(hsm.service)?;
    let route = Route::parse(hsm.service, &parts.method, parts.uri.path())?;
    version.check(&route)?;
    authorise(hsm, principal, parts, &route)?;
    if !hsm.store.is_activated() && !matches!(route, Route::SecurityDomain(_)) {
        return Err(unconfirmed::not_activated());
    }
    let wait = match &hsm.capacity {
        None => Duration::ZERO,
        Some(capacity) => capacity
            .admit(cost::of(&route, &hsm.store, hsm.service))
            .ok_or_else(Failure::throttled)?,
    };
    Ok(Admitted {
        query,
        version,
        route,
        wait,
    })
}

fn carry_out(hsm: &Hsm, parts: &Parts, body: &Bytes, admitted: Admitted) -> Result<Reply, Failure> {
    let call = Call {
        shared: &hsm.shared,
        service: hsm.service,
        store: &hsm.store,
        host: host(parts),
        path: parts.uri.path(),
        query: &admitted.query,
        version: admitted.version,
        body,
    };
    let purged = hsm.store.purge_due(unix_seconds());
    purged.map_err(|error| stored_badly("purge", &error))?;
    #[cfg(debug_assertions)]
    let asked = schema::Asked {
        service: hsm.service,
        version: admitted.version,
    };
    #[cfg(debug_assertions)]
    let described = Described {
        status: schema::status(&admitted.route, &parts.method),
        body: schema::success(&admitted.route),
    };
    let reply = answer(&call, &parts.method, admitted.route)?;
    #[cfg(debug_assertions)]
    described.check(asked, &reply)?;
    Ok(reply)
}

/// What the API describes of a success.
#[cfg(debug_assertions)]
struct Described {
    status: http::StatusCode,
    body: Option<schema::Kind>,
}

#[cfg(debug_assertions)]
impl Described {
    /// Fails where a success is something else.
    fn check(self, asked: schema::Asked, reply: &Reply) -> Result<(), Failure> {
        let problem = match (self.body, reply.json()) {
            _ if reply.status != self.status => Err(format!("its status is {}", reply.status)),
            (Some(kind), Some(body)) => schema::check(kind, asked, body),
            (None, None) => Ok(()),
            (Some(_), None) => Err("nothing".to_owned()),
            (None, Some(_)) => Err("something where nothing is due".to_owned()),
        };
        problem.map_err(|problem| {
            unconfirmed::internal(&format!("the answer is not as described: {problem}"))
        })
    }
}

/// Refuses what the caller's roles don't permit.
fn authorise(
    hsm: &Hsm,
    principal: &Principal,
    parts: &Parts,
    route: &Route,
) -> Result<(), Failure> {
    let (action, scope) = access::needed(hsm.service, &parts.method, route);
    if hsm.permits(principal, action, &scope) {
        return Ok(());
    }
    let action = format!("{}{action}", access::prefix(hsm.service));
    Err(match hsm.service {
        Service::ManagedHsm => Failure::access_denied(&action, &scope),
        Service::KeyVault => Failure::access_denied_by_vault(&hsm.name, principal, &action, &scope),
    })
}

/// Has the module of the route's family answer.
fn answer(call: &Call<'_>, method: &Method, route: Route) -> Result<Reply, Failure> {
    let get = method == Method::GET;
    let put = method == Method::PUT;
    match route {
        Route::Keys => lists::keys(call),
        Route::DeletedKeys => lists::deleted_keys(call),
        Route::Certificate(name, version) => certificates::get(call, &name, version.as_deref()),
        Route::CertificateImport(name) => certificates::import(call, &name),
        Route::Random => operations::random(call),
        Route::Restore => life_cycle::restore(call),
        Route::Deleted(name) => keys::get_deleted(call, &name),
        Route::Purge(name) => keys::purge(call, &name),
        Route::Recover(name) => keys::recover(call, &name),
        Route::SecurityDomain(action) => security_domain::answer(call, action),
        Route::FullBackup(action) => full_backup::answer(call, action),
        Route::Ekm(action) => ekm::answer(call, action),
        Route::Settings => settings::list(call),
        Route::Setting(name) if get => settings::get(call, &name),
        Route::Setting(name) => settings::update(call, &name),
        Route::Definitions(_) => roles::definitions(call),
        Route::Definition(_, id) if get => roles::definition(call, &id),
        Route::Definition(_, id) if put => roles::set_definition(call, &id),
        Route::Definition(_, id) => roles::delete_definition(call, &id),
        Route::Assignments(scope) => roles::assignments(call, &scope),
        Route::Assignment(scope, id) if get => roles::assignment(call, &scope, &id),
        Route::Assignment(scope, id) if put => roles::assign(call, &scope, &id),
        Route::Assignment(scope, id) => roles::unassign(call, &scope, &id),
        Route::Key {
            name,
            version,
            action,
        } => {
            life_cycle::rotate_if_due(call, &name);
            with_key(call, &name, version.as_deref(), action, get)
        }
    }
}

/// Has a request for one key answered.
fn with_key(
    call: &Call<'_>,
    name: &str,
    version: Option<&str>,
    action: KeyAction,
    get: bool,
) -> Result<Reply, Failure> {
    match action {
        KeyAction::Create => keys::create(call, name),
        KeyAction::Import => import::import(call, name),
        KeyAction::Get => keys::get(call, name, version),
        KeyAction::Update => keys::update(call, name, version),
        KeyAction::Delete => keys::delete(call, name),
        KeyAction::Versions => lists::versions(call, name),
        KeyAction::Rotate => keys::rotate(call, name),
        KeyAction::Policy if get => life_cycle::policy(call, name),
        KeyAction::Policy => life_cycle::set_policy(call, name),
        KeyAction::Backup => life_cycle::backup(call, name),
        KeyAction::Sign => operations::sign(call, name, version),
        KeyAction::Verify => operations::verify(call, name, version),
        KeyAction::Encrypt => operations::encrypt(call, name, version),
        KeyAction::Decrypt => operations::decrypt(call, name, version),
        KeyAction::WrapKey => operations::wrap_key(call, name, version),
        KeyAction::UnwrapKey => operations::unwrap_key(call, name, version),
        KeyAction::SecureWrapKey => secure_wrap::wrap_key(call, name, version),
        KeyAction::SecureUnwrapKey => secure_wrap::unwrap_key(call, name, version),
        KeyAction::Release => release::release(call, name, version),
        KeyAction::Attestation => release::attestation(call, name, version),
    }
}
