//! The connection pool: a bounded number of connections to the service, each carrying one request
//! at a time.
//!
//! With a connection comes the event loop that drives it, and whoever takes both runs that loop on
//! its own thread. So a request costs no hand-over to another thread and back, which would be most
//! of its CPU time. A request that finds no connection idle takes the one that becomes idle first,
//! where pools of HTTP libraries open one more. Such a connection speaks HTTP/1.1, which costs less
//! than HTTP/2 where requests don't overlap.
//!
//! Threads that can't drive one have connections driven by the I/O thread; where the server offers
//! HTTP/2, one such connection carries all their requests at once. The TLS configuration, with the
//! system's trust store and the session cache, is shared.
//!
//! Who finds no connection free waits in a queue, first come first served. Connections that are not
//! used are closed by the I/O thread, since those who drove them may never come again.

use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::{Duration, Instant};

use rustls::ClientConfig;
use tokio::sync::{AcquireError, Semaphore, SemaphorePermit};
use url::Url;

use crate::ending;
use crate::error::Error;
use crate::event_loop::{self, EventLoop, timeout, timeout_at};
use crate::forks::Work;
use crate::http::connector::Connector;
use crate::http::exchange::{Http, Protocol};
use crate::io::IoThread;
use crate::settings::client::Settings;

/// How long requests wait for the one that finds out what the server speaks: it may have gone to an
/// HSM that doesn't answer.
const DISCOVERY_PATIENCE: Duration = Duration::from_millis(500);

/// All connections of a client in one process.
pub(crate) struct Pool {
    connector: Arc<Connector>,
    max: usize,
    permits: Semaphore,
    idle_timeout: Duration,
    /// Only threads of the process that made it lock this.
    idle: Arc<Mutex<Idle>>,
    /// Held by the first request of the I/O thread, which finds out what the server speaks; the
    /// others wait for that, for a while.
    discovery: Semaphore,
    is_discovered: AtomicBool,
}

/// Connections that carry no request, the ones used last at the end.
#[derive(Default)]
struct Idle {
    /// With an event loop of their own.
    own: Vec<Driven>,
    /// Driven by the I/O thread.
    io: Vec<Arc<Http>>,
    /// Driven by the I/O thread, for many requests at once: there is one once the server was seen
    /// to speak HTTP/2.
    shared: Option<Arc<Http>>,
    /// How many connections there may be: idle ones, those in use and the shared one.
    open: usize,
    /// Whether the I/O thread closes those that are not used, or can't.
    is_swept: bool,
}

/// A connection that had to go. Dropped where no lock is held.
type Closed = (Option<Driven>, Option<Arc<Http>>);

impl Idle {
    /// A connection for a thread that drives it. Without one it is to be made, and is counted
    /// already.
    fn driven(&mut self, url: &Url, max: usize) -> Result<Driven, Closed> {
        let suits = |driven: &Driven| driven.http.suits(url);
        match self.own.iter().rposition(suits) {
            Some(at) => Ok(self.own.remove(at)),
            None => Err(self.count_another(max)),
        }
    }

    /// The same for the I/O thread.
    fn borrowed(&mut self, max: usize) -> Result<Arc<Http>, Closed> {
        self.io.pop().ok_or_else(|| self.count_another(max))
    }

    /// Counts another connection. As many as there may be are kept, so one that isn't used may have
    /// to go for it.
    fn count_another(&mut self, max: usize) -> Closed {
        if self.open < max {
            self.open += 1;
            return (None, None);
        }
        if !self.own.is_empty() {
            return (Some(self.own.remove(0)), None);
        }
        let http = self.io.pop().or_else(|| self.shared.take());
        if http.is_none() {
            self.open += 1;
        }
        (None, http)
    }
}

impl Idle {
    /// Takes out those of threads that drive them which have not been used for so long.
    fn expire_own(&mut self, timeout: Duration) -> Vec<Driven> {
        // The one that was idle longest is the first.
        let is_fresh = |driven: &Driven| driven.used.elapsed() < timeout;
        let expired = self.own.iter().position(is_fresh).unwrap_or(self.own.len());
        self.open -= expired;
        self.own.drain(..expired).collect()
    }

    /// Closes those of the I/O thread which have not been used for so long as they are kept.
    fn expire_borrowed(&mut self) {
        let count = self.io.len();
        self.io.retain(|http| http.close_idle().is_some());
        self.open -= count - self.io.len();
    }

    /// When the one that was idle longest was used.
    fn oldest(&self) -> Option<Instant> {
        let own = self.own.first().map(|driven| driven.used);
        let borrowed = self.io.iter().chain(&self.shared);
        let borrowed = borrowed.filter_map(|http| http.close_idle());
        borrowed.chain(own).min()
    }

    /// How many lead to a host, or are in use, wherever to.
    fn leading_to(&self, url: &Url) -> usize {
        let others = self.own.iter().filter(|driven| !driven.http.suits(url));
        self.open - others.count()
    }

    /// Whether the I/O thread has still to be told to close them. It counts as told.
    fn needs_sweep(&mut self) -> bool {
        !std::mem::replace(&mut self.is_swept, true)
    }
}

/// The I/O thread closes connections that are not used, until this goes.
struct Sweep {
    idle: Weak<Mutex<Idle>>,
    timeout: Duration,
}

impl Sweep {
    /// Ends when no connection is left, or nobody has the pool any more.
    async fn run(mut self) {
        let mut pause = self.timeout;
        loop {
            event_loop::sleep(pause).await;
            let Some(idle) = self.idle.upgrade() else {
                return;
            };
            let mut locked = lock(&idle);
            let closed = locked.expire_own(self.timeout);
            locked.expire_borrowed();
            let oldest = locked.oldest();
            // Under the same lock, so that the next one that becomes idle has another sweep begin.
            locked.is_swept = oldest.is_some();
            drop(locked);
            drop(closed);
            let Some(oldest) = oldest else {
                return self.idle = Weak::new();
            };
            pause = self.timeout.saturating_sub(oldest.elapsed());
        }
    }
}

impl Drop for Sweep {
    fn drop(&mut self) {
        // The I/O thread ended before the sweep did: the next connection that becomes idle begins
        // another.
        if let Some(idle) = self.idle.upgrade() {
            lock(&idle).is_swept = false;
        }
    }
}

/// A connection and its event loop.
struct Driven {
    http: Arc<Http>,
    events: EventLoop,
    used: Instant,
}

/// A connection in use; free again when dropped.
struct Taken<'a> {
    driven: Option<Driven>,
    pool: &'a Pool,
    _permit: SemaphorePermit<'a>,
}

/// A connection of the I/O thread in use; free again when dropped.
pub(crate) struct Borrowed<'a> {
    pub(crate) http: Arc<Http>,
    pool: &'a Pool,
    /// None: the connection is shared.
    permit: Option<SemaphorePermit<'a>>,
    _discovery: Option<SemaphorePermit<'a>>,
}

/// Room for one more connection, until dropped.
pub(crate) struct Spare<'a> {
    pool: &'a Pool,
    _permit: SemaphorePermit<'a>,
}

impl Pool {
    /// Opens nothing yet.
    pub(crate) fn new(settings: &Settings, tls: ClientConfig) -> Self {
        Self {
            connector: Arc::new(Connector::new(settings, tls)),
            max: settings.max_connections.max(1),
            permits: Semaphore::new(settings.max_connections.max(1)),
            idle_timeout: settings.idle_timeout,
            idle: Arc::default(),
            discovery: Semaphore::new(1),
            is_discovered: AtomicBool::new(false),
        }
    }

    /// Does `work` on this thread with a connection, as soon as one is free. None: not done by the
    /// deadline.
    pub(crate) fn run<T>(
        &self,
        url: &Url,
        deadline: Instant,
        work: impl AsyncFnOnce(&Http) -> Result<T, Error>,
    ) -> Option<Result<T, Error>> {
        let permit = match self.permits.try_acquire() {
            Ok(permit) => permit,
            Err(_) => wait(self.permits.acquire(), deadline)?.ok()?,
        };
        let _work = Work::begin();
        if let Err(error) = ending::make_generator() {
            return Some(Err(error));
        }
        let mut taken = match self.take(url, permit) {
            Ok(taken) => taken,
            Err(error) => return Some(Err(error)),
        };
        let driven = taken.driven.as_mut()?;
        let work = timeout_at(deadline, work(&driven.http));
        driven.events.run(work).ok()
    }

    /// Does `work` on this thread with new connections, until so many lead to a host or are in use,
    /// and ends with the first failure. None: not done by the deadline.
    pub(crate) fn fill(
        &self,
        count: usize,
        url: &Url,
        deadline: Instant,
        work: impl AsyncFn(&Http) -> Result<(), Error>,
    ) -> Option<Result<(), Error>> {
        let _work = Work::begin();
        if let Err(error) = ending::make_generator() {
            return Some(Err(error));
        }
        while self.idle().leading_to(url) < count.min(self.max) {
            // All that there may be are in use.
            let Ok(permit) = self.permits.try_acquire() else {
                break;
            };
            let _closed = self.idle().count_another(self.max);
            let driven = match self.counted(self.open()) {
                Ok(driven) => driven,
                Err(error) => return Some(Err(error)),
            };
            let mut taken = Taken {
                driven: Some(driven),
                pool: self,
                _permit: permit,
            };
            let driven = taken.driven.as_mut()?;
            let work = timeout_at(deadline, work(&driven.http));
            if let Err(error) = driven.events.run(work).ok()? {
                return Some(Err(error));
            }
        }
        Some(Ok(()))
    }

    /// A connection of the I/O thread, as soon as one is free.
    pub(crate) async fn borrow(&self) -> Result<Borrowed<'_>, Error> {
        let closed =
            |error: AcquireError| Error::Io(format!("the connection pool is closed ({error})"));
        let mut discovery = None;
        if !self.is_discovered.load(Ordering::Acquire) {
            let first = timeout(DISCOVERY_PATIENCE, self.discovery.acquire()).await;
            let first = first.ok().transpose().map_err(closed)?;
            // The one that had it before may have found out.
            discovery = first.filter(|_| !self.is_discovered.load(Ordering::Acquire));
        }
        let borrowed = |http, permit| Borrowed {
            http,
            pool: self,
            permit,
            _discovery: discovery,
        };
        if let Some(http) = self.shared() {
            return Ok(borrowed(http, None));
        }
        let permit = self.permits.acquire().await.map_err(closed)?;
        let free = {
            let mut idle = self.idle();
            match &idle.shared {
                // Made while this one waited.
                Some(http) => return Ok(borrowed(http.clone(), None)),
                None => idle.borrowed(self.max),
            }
        };
        let http = match free {
            Ok(http) => http,
            Err(_closed) => self.http(Protocol::Any),
        };
        Ok(borrowed(http, Some(permit)))
    }

    fn shared(&self) -> Option<Arc<Http>> {
        self.idle().shared.clone()
    }

    /// Room for one more connection, if there is any now.
    pub(crate) fn spare(&self) -> Option<Spare<'_>> {
        let permit = self.permits.try_acquire().ok()?;
        let _closed = self.idle().count_another(self.max);
        Some(Spare {
            pool: self,
            _permit: permit,
        })
    }

    fn take<'a>(&'a self, url: &Url, permit: SemaphorePermit<'a>) -> Result<Taken<'a>, Error> {
        let free = self.idle().driven(url, self.max);
        let driven = match free {
            Ok(driven) => driven,
            Err(_closed) => self.counted(self.open())?,
        };
        Ok(Taken {
            driven: Some(driven),
            pool: self,
            _permit: permit,
        })
    }

    /// A connection that was counted before it was there.
    fn counted<T>(&self, made: Result<T, Error>) -> Result<T, Error> {
        if made.is_err() {
            self.idle().open -= 1;
        }
        made
    }

    fn open(&self) -> Result<Driven, Error> {
        let events = EventLoop::new().map_err(|error| {
            Error::Io(format!("there is no event loop for a connection: {error}"))
        })?;
        Ok(Driven {
            http: self.http(Protocol::Http1),
            events,
            used: Instant::now(),
        })
    }

    fn http(&self, protocol: Protocol) -> Arc<Http> {
        Arc::new(Http::new(&self.connector, protocol))
    }

    fn idle(&self) -> MutexGuard<'_, Idle> {
        lock(&self.idle)
    }

    /// Has the I/O thread close connections that are not used. A process that can start no thread
    /// closes them when it uses others.
    fn sweep(&self) {
        let mut sweep = Sweep {
            idle: Arc::downgrade(&self.idle),
            timeout: self.idle_timeout,
        };
        match IoThread::current() {
            Ok(thread) => thread.spawn(move || sweep.run()),
            Err(error) => {
                log::debug!("nobody closes connections that are not used: {error}");
                // Nor is that tried for each of them.
                sweep.idle = Weak::new();
            }
        }
    }
}

fn lock(idle: &Mutex<Idle>) -> MutexGuard<'_, Idle> {
    idle.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        // Before the permit is given back, so that whoever gets it finds the connection.
        let Some(mut driven) = self.driven.take() else {
            return;
        };
        driven.used = Instant::now();
        let mut idle = self.pool.idle();
        if std::thread::panicking() {
            // Nobody knows what state it is in.
            idle.open -= 1;
            return std::mem::forget(driven);
        }
        idle.own.push(driven);
        let closed = idle.expire_own(self.pool.idle_timeout);
        let needs_sweep = !idle.own.is_empty() && idle.needs_sweep();
        drop(idle);
        drop(closed);
        if needs_sweep {
            self.pool.sweep();
        }
    }
}

impl Borrowed<'_> {
    /// Whether others use the connection at the same time.
    pub(crate) fn is_shared(&self) -> bool {
        self.permit.is_none()
    }

    /// The server was seen to speak HTTP/2, or not to. If it does, one connection carries all
    /// requests from now on.
    pub(crate) fn discovered(&self, speaks_http2: bool) {
        if speaks_http2 && self.pool.shared().is_none() {
            let http = self.pool.http(Protocol::Http2);
            let mut idle = self.pool.idle();
            if idle.shared.is_none() {
                idle.shared = Some(http);
                idle.open += 1;
            }
        }
        self.pool.is_discovered.store(true, Ordering::Release);
    }

    /// No connection carries several requests any more.
    pub(crate) fn unshare(&self) {
        let mut idle = self.pool.idle();
        if idle
            .shared
            .take_if(|shared| Arc::ptr_eq(shared, &self.http))
            .is_some()
        {
            idle.open -= 1;
        }
    }
}

impl Drop for Borrowed<'_> {
    fn drop(&mut self) {
        let mut idle = self.pool.idle();
        match idle.shared {
            _ if self.is_shared() => {}
            None => idle.io.push(self.http.clone()),
            // It isn't needed any more.
            Some(_) => idle.open -= 1,
        }
        let needs_sweep = idle.needs_sweep();
        drop(idle);
        if needs_sweep {
            self.pool.sweep();
        }
    }
}

impl Drop for Spare<'_> {
    fn drop(&mut self) {
        self.pool.idle().open -= 1;
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

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;

    #[test]
    fn a_sweep_that_ends_with_its_thread_is_begun_again() {
        let idle = Arc::<Mutex<Idle>>::default();
        assert!(lock(&idle).needs_sweep());
        assert!(!lock(&idle).needs_sweep());
        drop(Sweep {
            idle: Arc::downgrade(&idle),
            timeout: Duration::ZERO,
        });
        assert!(lock(&idle).needs_sweep());
    }

    #[test]
    fn a_connection_whose_use_panicked_is_never_used_again() {
        let settings = Settings::default();
        let pool = Pool::new(&settings, settings.tls().unwrap());
        let url = "https://localhost".parse().unwrap();
        let deadline = Instant::now() + Duration::from_secs(60);
        let counts = || {
            let idle = pool.idle();
            (idle.own.len(), idle.open, pool.permits.available_permits())
        };
        // Its address tells one connection from another: it is never freed.
        let used = || {
            let of = async |http: &Http| Ok(std::ptr::from_ref(http).addr());
            pool.run(&url, deadline, of).unwrap().unwrap()
        };
        let first = used();
        assert_eq!((used(), counts()), (first, (1, 1, pool.max)));
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            let work = async |_: &Http| -> Result<(), Error> { panic!("the test's own") };
            pool.run(&url, deadline, work)
        }));
        assert!(panicked.is_err());
        assert_eq!(counts(), (0, 0, pool.max));
        assert_ne!(used(), first);
        assert_eq!(counts(), (1, 1, pool.max));
    }

    #[test]
    fn nobody_waits_long_for_a_request_that_finds_nothing_out() {
        let settings = Settings::default();
        let tls = settings.tls().unwrap();
        let pool = Pool::new(&settings, tls);
        let both = async {
            let _first = pool.borrow().await.unwrap();
            let second = timeout(DISCOVERY_PATIENCE * 20, pool.borrow());
            assert!(second.await.unwrap().is_ok());
        };
        EventLoop::new().unwrap().run(both);
    }
}
