//! Requests on connections that are kept.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio_rustls::TlsConnector;
use url::Url;

use super::connection::Connection;
use super::connector::Connector;
use super::failure::Failure;
use super::host::endpoint;
use super::message::{Answer, Message};
use crate::stream::Fault;

/// What a connection speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    Http1,
    Http2,
    /// What the server prefers.
    Any,
}

/// What requests are sent with. It keeps a connection, or, where one carries many requests, one to
/// each host.
pub(crate) struct Http {
    connector: Arc<Connector>,
    tls: TlsConnector,
    kept: Mutex<Vec<Connection>>,
    /// Where one connection is to carry all requests to a host: held while it is opened.
    opening: Option<Mutex<Vec<(String, Opening)>>>,
}

type Opening = Arc<tokio::sync::Mutex<()>>;

impl Http {
    /// No connection is opened yet.
    pub(crate) fn new(connector: &Arc<Connector>, protocol: Protocol) -> Self {
        let mut tls = connector.tls.clone();
        tls.alpn_protocols = match protocol {
            Protocol::Http1 => vec![b"http/1.1".to_vec()],
            Protocol::Http2 => vec![b"h2".to_vec()],
            Protocol::Any => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
        };
        Self {
            connector: Arc::clone(connector),
            tls: TlsConnector::from(Arc::new(tls)),
            kept: Mutex::default(),
            opening: (protocol == Protocol::Http2).then(Mutex::default),
        }
    }

    /// Sends a request, on a kept connection if there is one that can take it now, and reads the
    /// answer.
    pub(crate) async fn exchange(&self, message: &Message<'_>) -> Result<Answer, Failure> {
        let endpoint = endpoint(message.url);
        loop {
            // The server may end an idle connection of HTTP/1.1 just when a request is on its way:
            // then the request is lost.
            let kept = self
                .take(endpoint)
                .filter(|_| message.repeatable || self.opening.is_some());
            let is_kept = kept.is_some();
            let mut connection = match kept {
                Some(connection) => connection,
                // In a place of its own: it is large, and all other requests would move it.
                None => Box::pin(self.open(message.url)).await?,
            };
            // What came on a kept connection was perhaps sent before the request: a copy of an
            // answer, or by a load balancer since the connection had been idle for too long.
            let may_start_anew = is_kept && message.repeatable;
            match connection.exchange(message).await {
                Ok(answer) => {
                    self.keep(connection);
                    return Ok(answer);
                }
                // It was closed, or something came on it, while nobody used it.
                Err(Failure::Unsent(_)) if is_kept => self.forget(&connection),
                Err(Failure::Fault(Fault::Unasked)) if may_start_anew => {}
                Err(failure) => return Err(failure),
            }
        }
    }

    /// Opens a connection to a URL's host for the next request, unless one is kept that can take
    /// it.
    pub(crate) async fn connect(&self, url: &Url) -> Result<(), Failure> {
        let connection = match self.take(endpoint(url)) {
            Some(connection) => connection,
            None => self.open(url).await?,
        };
        self.keep(connection);
        Ok(())
    }

    /// Whether a request to a host would use a connection that is there, or end none that leads
    /// elsewhere.
    pub(crate) fn suits(&self, url: &Url) -> bool {
        let kept = lock(&self.kept);
        kept.is_empty() || kept.iter().any(|kept| kept.endpoint == endpoint(url))
    }

    async fn open(&self, url: &Url) -> Result<Connection, Failure> {
        let endpoint = endpoint(url);
        let Some(opening) = self.opening(endpoint) else {
            return Connection::open(&self.connector, &self.tls, url).await;
        };
        let _first = opening.lock().await;
        // Somebody may have opened it meanwhile.
        if let Some(connection) = self.take(endpoint) {
            return Ok(connection);
        }
        let connection = Connection::open(&self.connector, &self.tls, url).await?;
        let shared = connection.share();
        self.keep(connection);
        shared.ok_or(Failure::NoHttp2)
    }

    fn opening(&self, endpoint: &str) -> Option<Opening> {
        let mut all = lock(self.opening.as_ref()?);
        if let Some((_, opening)) = all.iter().find(|(known, _)| known == endpoint) {
            return Some(Arc::clone(opening));
        }
        let opening = Opening::default();
        all.push((endpoint.to_owned(), Arc::clone(&opening)));
        Some(opening)
    }

    /// The kept connection to a host, if it can take a request. One to another host goes where only
    /// one is kept.
    fn take(&self, endpoint: &str) -> Option<Connection> {
        let mut kept = lock(&self.kept);
        if self.opening.is_none() {
            kept.retain(|kept| kept.endpoint == endpoint);
        }
        let at = kept.iter().position(|kept| kept.endpoint == endpoint)?;
        let connection = kept.swap_remove(at);
        if !connection.is_good(self.connector.idle_timeout) {
            return None;
        }
        match connection.share() {
            None => Some(connection),
            Some(shared) => {
                kept.push(connection);
                Some(shared)
            }
        }
    }

    /// Keeps a connection for the next request if it can carry one, unless a newer one is there.
    fn keep(&self, mut connection: Connection) {
        connection.used = Instant::now();
        if !connection.is_good(self.connector.idle_timeout) {
            return;
        }
        let mut kept = lock(&self.kept);
        match kept
            .iter_mut()
            .find(|kept| kept.endpoint == connection.endpoint)
        {
            None => kept.push(connection),
            Some(known) if known.is_same(&connection) => *known = connection,
            Some(_) => {}
        }
    }

    /// Closes what has not been used for so long. Returns when that which is left was used first.
    pub(crate) fn close_idle(&self) -> Option<Instant> {
        let mut kept = lock(&self.kept);
        let (left, closed) = std::mem::take(&mut *kept)
            .into_iter()
            .partition(|kept| kept.used.elapsed() < self.connector.idle_timeout);
        *kept = left;
        let oldest = kept.iter().map(|kept| kept.used).min();
        drop(kept);
        drop::<Vec<Connection>>(closed);
        oldest
    }

    fn forget(&self, connection: &Connection) {
        lock(&self.kept).retain(|kept| !kept.is_same(connection));
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
