//! The REST APIs of Managed HSM and Key Vault: one HTTP request in, one answer out. `server` calls [`answer`] for every request.
//!
//! What comes first is what the service checks first: the token (`pipeline`) before the path (`dispatch`), the path before the body.

mod access;
mod body;
mod certificates;
mod cost;
mod dispatch;
mod failure;
mod import;
mod keys;
mod life_cycle;
mod lists;
mod operations;
mod pipeline;
mod release;
mod reply;
mod roles;
mod route;
mod settings;
mod transfer;
mod unconfirmed;

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::header;
use http::request::Parts;

use crate::hsm::Shared;
use crate::line::Line;
use crate::log;
use crate::service::Service;
use crate::store::{Store, StoreError};
use failure::Failure;
use route::Query;

pub(crate) use pipeline::answer;

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

/// HTTP/1.1 names the host in a header, HTTP/2 in the pseudo-header `:authority`.
fn host(parts: &Parts) -> &str {
    parts
        .headers
        .get(header::HOST)
        .and_then(|host| host.to_str().ok())
        .or_else(|| parts.uri.authority().map(|authority| authority.as_str()))
        .unwrap_or("localhost")
}
