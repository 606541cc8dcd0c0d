//! Lanes: a bounded number of connections to the service, each carrying one request at a time.
//!
//! An HTTP client's pool opens a connection for a request that finds none idle, and keeps it even when another became idle
//! first; so 8 threads end up with more than 8 connections. Here each connection has a pool of its own, and a request takes
//! the lane that was used last. The TLS configuration, with the system's trust store and the session cache, is shared.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rustls::ClientConfig;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::error::Error;
use crate::settings::Settings;

/// How long a connection is kept without a request.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);

/// All lanes of a client in one process.
pub(crate) struct Lanes {
    tls: ClientConfig,
    proxy: Option<reqwest::Proxy>,
    connect_timeout: Duration,
    permits: Semaphore,
    /// Lanes that carry no request, the one used last at the end. Only threads of the process that made it lock this.
    free: Mutex<Vec<reqwest::Client>>,
}

/// A lane for one request; free again when dropped.
pub(crate) struct Lane<'a> {
    pub(crate) http: reqwest::Client,
    lanes: &'a Lanes,
    _permit: SemaphorePermit<'a>,
}

impl Lanes {
    /// Opens nothing yet.
    pub(crate) fn new(settings: &Settings, tls: ClientConfig) -> Self {
        Self {
            tls,
            proxy: settings.proxy(),
            connect_timeout: settings.connect_timeout,
            permits: Semaphore::new(settings.max_connections.max(1)),
            free: Mutex::default(),
        }
    }

    /// A lane, as soon as one is free.
    pub(crate) async fn take(&self) -> Result<Lane<'_>, Error> {
        let permit = self
            .permits
            .acquire()
            .await
            .map_err(|error| Error::Io(error.to_string()))?;
        let free = self
            .free
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop();
        let http = match free {
            Some(http) => http,
            None => self
                .open()
                .map_err(|error| Error::Io(format!("no HTTP client can be made: {error}")))?,
        };
        Ok(Lane {
            http,
            lanes: self,
            _permit: permit,
        })
    }

    fn open(&self) -> reqwest::Result<reqwest::Client> {
        let mut builder = reqwest::Client::builder().no_proxy();
        if let Some(proxy) = &self.proxy {
            builder = builder.proxy(proxy.clone());
        }
        builder
            .tls_backend_preconfigured(self.tls.clone())
            .https_only(true)
            .http1_only()
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .tcp_nodelay(true)
            .connect_timeout(self.connect_timeout)
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_max_idle_per_host(1)
            .user_agent(concat!("akv_provider/", env!("CARGO_PKG_VERSION")))
            .build()
    }
}

impl Drop for Lane<'_> {
    fn drop(&mut self) {
        // Before the permit is given back, so that whoever gets it finds the lane.
        self.lanes
            .free
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(self.http.clone());
    }
}
