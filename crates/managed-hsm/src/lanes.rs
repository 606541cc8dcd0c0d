//! Lanes: a bounded number of connections to the service, each carrying one request at a time.
//!
//! A lane is a connection with the event loop that drives it, and whoever takes the lane runs that loop on its own thread. So
//! a request costs no hand-over to another thread and back, which would be most of its CPU time; and an HTTP client's
//! pool, which opens a connection for a request that finds none idle and keeps it even when another became idle
//! first, has nothing to choose. The TLS configuration, with the system's trust store and the session cache, is shared.
//!
//! Who finds no lane free waits in line, first come first served.

use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::{Duration, Instant};

use rustls::ClientConfig;
use tokio::runtime::Runtime;
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
    free: Mutex<Vec<Lane>>,
}

/// A connection and its event loop.
struct Lane {
    http: reqwest::Client,
    /// Always there but while the lane is dropped.
    runtime: Option<Runtime>,
    used: Instant,
}

impl Drop for Lane {
    fn drop(&mut self) {
        // A name look-up may be under way in a thread of its own: nobody waits for it.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// A lane in use; free again when dropped.
struct Taken<'a> {
    lane: Option<Lane>,
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

    /// Does `work` on this thread with the client of a lane, as soon as one is free. None: not done by the deadline.
    pub(crate) fn run<T>(
        &self,
        deadline: Instant,
        work: impl AsyncFnOnce(&reqwest::Client) -> Result<T, Error>,
    ) -> Option<Result<T, Error>> {
        let permit = match self.permits.try_acquire() {
            Ok(permit) => permit,
            Err(_) => wait(self.permits.acquire(), deadline)?.ok()?,
        };
        let taken = match self.take(permit) {
            Ok(taken) => taken,
            Err(error) => return Some(Err(error)),
        };
        let lane = taken.lane.as_ref()?;
        lane.runtime
            .as_ref()?
            .block_on(async { tokio::time::timeout_at(deadline.into(), work(&lane.http)).await })
            .ok()
    }

    fn take<'a>(&'a self, permit: SemaphorePermit<'a>) -> Result<Taken<'a>, Error> {
        let free = self.free().pop();
        let lane = match free {
            Some(lane) => lane,
            None => self.open()?,
        };
        Ok(Taken {
            lane: Some(lane),
            lanes: self,
            _permit: permit,
        })
    }

    fn open(&self) -> Result<Lane, Error> {
        let unavailable =
            |problem: String| Error::Io(format!("no connection can be set up: {problem}"));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            // For name look-ups alone.
            .max_blocking_threads(1)
            .thread_keep_alive(Duration::from_millis(10))
            .thread_name("akv-dns")
            .build()
            .map_err(|error| unavailable(error.to_string()))?;
        Ok(Lane {
            http: self
                .client()
                .map_err(|error| unavailable(error.to_string()))?,
            runtime: Some(runtime),
            used: Instant::now(),
        })
    }

    /// An HTTP client for one connection.
    pub(crate) fn client(&self) -> reqwest::Result<reqwest::Client> {
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

    fn free(&self) -> std::sync::MutexGuard<'_, Vec<Lane>> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        // Before the permit is given back, so that whoever gets it finds the lane.
        let Some(mut lane) = self.lane.take() else {
            return;
        };
        lane.used = Instant::now();
        let mut free = self.lanes.free();
        free.push(lane);
        // The one that was idle longest is the first.
        let idle = free
            .first()
            .filter(|lane| lane.used.elapsed() > IDLE_TIMEOUT);
        let closed = idle.is_some().then(|| free.remove(0));
        drop(free);
        drop(closed);
    }
}

/// Wakes a thread that waits.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Waits on this thread for what needs no event loop. None: the deadline came first.
fn wait<T>(work: impl Future<Output = T>, deadline: Instant) -> Option<T> {
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut context = Context::from_waker(&waker);
    let mut work = pin!(work);
    loop {
        if let Poll::Ready(done) = work.as_mut().poll(&mut context) {
            return Some(done);
        }
        let left = deadline.checked_duration_since(Instant::now())?;
        std::thread::park_timeout(left);
    }
}
