//! The REST APIs of Managed HSM and Key Vault: one HTTP request in, one answer out. `server` calls
//! [`answer`] for every request.
//!
//! What comes first is what the service checks first: the token (`pipeline`) before the path
//! (`dispatch`), the path before the body.

mod access;
mod audit;
mod body;
mod certificates;
mod cost;
mod dispatch;
mod ekm;
mod external;
mod failure;
mod filter;
mod full_backup;
mod import;
mod keys;
mod life_cycle;
mod lists;
mod ml_dsa;
mod operations;
mod order;
mod pipeline;
mod release;
mod reply;
mod roles;
mod route;
#[cfg(debug_assertions)]
mod schema;
mod secure_wrap;
mod security_domain;
mod settings;
mod transfer;
mod unconfirmed;
mod versions;

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::header;
use http::request::Parts;

use crate::clock::unix_seconds;
use crate::hold::Hold;
use crate::hsm::Shared;
use crate::log;
use crate::service::Service;
use crate::store::{Store, StoreError};
use failure::Failure;
use route::Query;
use versions::ApiVersion;

pub(crate) use pipeline::answer;

/// The connection that a request came on.
#[derive(Clone)]
pub(crate) struct Connection {
    pub(crate) number: u64,
    pub(crate) peer: SocketAddr,
    /// For faults that end it or change what it carries.
    pub(crate) hold: Arc<Hold>,
}

/// A request whose caller is known and whose path makes sense.
struct Call<'a> {
    shared: &'a Shared,
    service: Service,
    store: &'a Store,
    /// As the client addressed the HSM or vault, for the URLs in answers.
    host: &'a str,
    /// As the client wrote it.
    path: &'a str,
    query: &'a Query,
    version: ApiVersion,
    body: &'a Bytes,
}

impl Call<'_> {
    /// Keeps a document in the store.
    fn put(&self, kind: &str, name: &str, document: &impl serde::Serialize) -> Result<(), Failure> {
        let kept = self.store.put(kind, name, document);
        kept.map_err(|error| stored_badly(kind, &error))
    }

    /// Keeps a document if nothing speaks against it; `check` is asked while nobody else changes
    /// anything.
    fn put_checked(
        &self,
        kind: &str,
        name: &str,
        document: &impl serde::Serialize,
        check: impl FnOnce() -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let mut checked = Ok(());
        let kept = self.store.put_if(kind, name, document, || {
            checked = check();
            checked.is_ok()
        });
        kept.map_err(|error| stored_badly(kind, &error))?;
        checked
    }

    /// Forgets a document. Returns whether there was one: of several who remove it, one did.
    fn remove(&self, kind: &str, name: &str) -> Result<bool, Failure> {
        let removed = self.store.remove(kind, name);
        removed.map_err(|error| stored_badly(kind, &error))
    }
}

/// The second until which the status of a job says that it goes on: the one after the next, so that
/// a second passes at least. Jobs are done when they are answered, but the service's never are, and
/// clients ask for the status to find one that is in progress first.
fn end_of_job() -> i64 {
    unix_seconds() + 2
}

fn stored_badly(kind: &str, error: &StoreError) -> Failure {
    log::event(format_args!("storing a {kind} failed: {error}"));
    unconfirmed::internal("the change could not be stored; the emulator's log says why")
}

/// HTTP/1.1 names the host in a header, HTTP/2 in the pseudo-header `:authority`, which counts if
/// there are both.
fn host(parts: &Parts) -> &str {
    let authority = parts.uri.authority().map(|authority| authority.as_str());
    authority
        .or_else(|| parts.headers.get(header::HOST)?.to_str().ok())
        .unwrap_or("localhost")
}
