//! Lanes: a bounded number of connections to the service, each carrying one request at a time.
//!
//! A lane is a connection with the event loop that drives it, and whoever takes the lane runs that loop on its own thread. So
//! a request costs no hand-over to another thread and back, which would be most of its CPU time; and an HTTP client's
//! pool, which opens a connection for a request that finds none idle and keeps it even when another became idle
//! first, has nothing to choose. Threads that can't do so have lanes driven by the I/O thread. The TLS configuration, with the
//! system's trust store and the session cache, is shared.
//!
//! Who finds no lane free waits in line, first come first served.

use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::{Duration, Instant};

use rustls::ClientConfig;
use tokio::runtime::Runtime;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::error::Error;
use crate::names::Names;
use crate::settings::Settings;

/// How long a connection is kept without a request.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);

/// All lanes of a client in one process.
pub(crate) struct Lanes {
    tls: ClientConfig,
    proxy: Option<reqwest::Proxy>,
    connect_timeout: Duration,
    max: usize,
    permits: Semaphore,
    /// Only threads of the process that made it lock this.
    idle: Mutex<Idle>,
}

/// Lanes that carry no request, the ones used last at the end.
#[derive(Default)]
struct Idle {
    /// With an event loop of their own.
    own: Vec<Lane>,
    /// Driven by the I/O thread.
    io: Vec<reqwest::Client>,
    /// How many connections there may be: idle ones and those in use.
    open: usize,
}

impl Idle {
    /// A lane for a thread that drives it. None: one is to be made, and is counted already.
    fn own_lane(&mut self, max: usize) -> Option<Lane> {
        let lane = self.own.pop();
        if lane.is_none() && !(self.open >= max && self.io.pop().is_some()) {
            self.open += 1;
        }
        lane
    }

    /// The same for the I/O thread. As many connections as there may be are kept, so one of the other kind may have to go.
    fn io_lane(&mut self, max: usize) -> Option<reqwest::Client> {
        let lane = self.io.pop();
        if lane.is_none() && !(self.open >= max && self.own.pop().is_some()) {
            self.open += 1;
        }
        lane
    }
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

/// A lane of the I/O thread in use; free again when dropped.
pub(crate) struct Borrowed<'a> {
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
            max: settings.max_connections.max(1),
            permits: Semaphore::new(settings.max_connections.max(1)),
            idle: Mutex::default(),
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

    /// A lane of the I/O thread, as soon as one is free.
    pub(crate) async fn borrow(&self) -> Result<Borrowed<'_>, Error> {
        let permit = self.permits.acquire().await;
        let _permit = permit.map_err(|error| Error::Io(error.to_string()))?;
        let free = self.idle().io_lane(self.max);
        let http = match free {
            Some(http) => http,
            None => self.counted(self.client())?,
        };
        Ok(Borrowed {
            http,
            lanes: self,
            _permit,
        })
    }

    fn take<'a>(&'a self, permit: SemaphorePermit<'a>) -> Result<Taken<'a>, Error> {
        let free = self.idle().own_lane(self.max);
        let lane = match free {
            Some(lane) => lane,
            None => self.counted(self.open())?,
        };
        Ok(Taken {
            lane: Some(lane),
            lanes: self,
            _permit: permit,
        })
    }

    /// A lane that was counted before it was there.
    fn counted<T>(&self, made: Result<T, Error>) -> Result<T, Error> {
        if made.is_err() {
            self.idle().open -= 1;
        }
        made
    }

    fn open(&self) -> Result<Lane, Error> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            // For name look-ups alone.
            .max_blocking_threads(1)
            .thread_keep_alive(Duration::from_millis(10))
            .thread_name("akv-dns")
            .build()
            .map_err(|error| Error::Io(error.to_string()))?;
        Ok(Lane {
            http: self.client()?,
            runtime: Some(runtime),
            used: Instant::now(),
        })
    }

    /// An HTTP client for one connection.
    fn client(&self) -> Result<reqwest::Client, Error> {
        let mut builder = reqwest::Client::builder().no_proxy();
        if let Some(proxy) = &self.proxy {
            builder = builder.proxy(proxy.clone());
        }
        builder
            .tls_backend_preconfigured(self.tls.clone())
            .dns_resolver(Names)
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
            .map_err(|error| Error::Io(format!("no HTTP client can be made: {error}")))
    }

    fn idle(&self) -> MutexGuard<'_, Idle> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        // Before the permit is given back, so that whoever gets it finds the lane.
        let Some(mut lane) = self.lane.take() else {
            return;
        };
        lane.used = Instant::now();
        let mut idle = self.lanes.idle();
        idle.own.push(lane);
        // The one that was idle longest is the first.
        let first = idle.own.first();
        let closed = match first.is_some_and(|lane| lane.used.elapsed() > IDLE_TIMEOUT) {
            true => {
                idle.open -= 1;
                Some(idle.own.remove(0))
            }
            false => None,
        };
        drop(idle);
        drop(closed);
    }
}

impl Drop for Borrowed<'_> {
    fn drop(&mut self) {
        self.lanes.idle().io.push(self.http.clone());
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
