//! What people watch who run servers with keys in an HSM: operations and their outcomes, how long
//! they took, what was sent again, throttling, tokens, connections.
//!
//! Off unless a setting says where it goes; then all that is done is one look at a flag. Each fact
//! is counted at one place, whichever the front end: where an operation ends, a request is sent
//! again, a token comes, a connection opens. See `registry` for how it is counted, and `reporter`
//! for who hands it out.

mod histogram;
mod registry;
mod snapshot;

#[cfg(unix)]
mod folder;
#[cfg(unix)]
mod handing_out;
#[cfg(unix)]
mod listener;
#[cfg(unix)]
mod process;
#[cfg(unix)]
mod prometheus;
#[cfg(unix)]
mod reporter;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Instant, SystemTime};

use arc_swap::ArcSwapOption;

use self::registry::Registry;
pub(crate) use self::registry::{Again, OpenConnection};
pub use self::snapshot::{Connections, Count, Operations, Snapshot, Tokens, quantile, total};
use crate::error::Error;
use crate::settings::client::Settings;

/// Whether anything is counted.
static IS_ON: AtomicBool = AtomicBool::new(false);
/// Whether the process ends.
static IS_OVER: AtomicBool = AtomicBool::new(false);
/// What this process has counted, or one that it was forked from.
static CURRENT: ArcSwapOption<Registry> = ArcSwapOption::const_empty();

/// Nothing is handed out, and so nothing is counted.
#[cfg(not(unix))]
mod handing_out {
    use std::sync::Arc;

    use crate::metrics::registry::Registry;
    use crate::settings::client::Settings;

    pub(super) fn plan(settings: &Settings) -> bool {
        if settings.metrics_folder.is_some() || settings.metrics_sockets.is_some() {
            log::warn!("metrics-folder and metrics-sockets have no effect on this system");
        }
        false
    }

    pub(super) fn report(_: &Arc<Registry>) {}

    pub(super) fn stop(_: &Registry) {}

    pub(super) fn let_go(_: &Registry) {}
}

/// Notes what a client is told of metrics. What comes first counts for the process, and for those
/// that it forks.
pub(crate) fn plan(settings: &Settings) {
    if handing_out::plan(settings) {
        IS_ON.store(true, Ordering::Relaxed);
    }
}

/// An operation begins. None: nothing is counted.
#[inline]
pub(crate) fn begin() -> Option<Instant> {
    is_on().then(Instant::now)
}

/// It has ended.
#[inline]
pub(crate) fn end<T>(
    begun: Option<Instant>,
    key: &str,
    operation: &'static str,
    outcome: &Result<T, Error>,
) {
    if let Some(begun) = begun {
        count_operation(begun, key, operation, outcome.as_ref().err());
    }
}

#[inline(never)]
fn count_operation(begun: Instant, key: &str, operation: &'static str, error: Option<&Error>) {
    let registry = registry();
    let counted = registry.operation(key, operation);
    counted.ended(begun.elapsed(), error.map(Error::code));
    if !IS_OVER.load(Ordering::Relaxed) {
        handing_out::report(&registry);
    }
}

/// A request for an operation is sent again.
pub(crate) fn sent_again(key: &str, operation: &'static str, why: Again) {
    if is_on() {
        registry().operation(key, operation).sent_again(why);
    }
}

/// The service says that there are too many requests.
pub(crate) fn throttled(key: &str, operation: &'static str) {
    if is_on() {
        registry().operation(key, operation).throttled();
    }
}

/// A connection to an endpoint is open.
pub(crate) fn opened(endpoint: &str) -> Option<Arc<OpenConnection>> {
    is_on().then(|| Arc::new(OpenConnection::to(registry().host(endpoint))))
}

/// An attempt to get a token. If nobody waits for its end, it took too long.
pub(crate) struct Fetching<'a> {
    audience: Option<&'a str>,
    outcome: Option<Result<Option<SystemTime>, String>>,
}

impl<'a> Fetching<'a> {
    pub(crate) fn begin(audience: &'a str) -> Self {
        Self {
            audience: is_on().then_some(audience),
            outcome: Some(Err("Timeout".to_owned())).filter(|_| is_on()),
        }
    }

    /// It has failed, or there is a token that expires at a time, if that is known.
    pub(crate) fn end(mut self, outcome: Result<Option<SystemTime>, &Error>) {
        self.outcome = Some(outcome.map_err(Error::code));
    }

    /// It has brought nothing new.
    pub(crate) fn forget(mut self) {
        self.audience = None;
    }
}

impl Drop for Fetching<'_> {
    fn drop(&mut self) {
        if let (Some(audience), Some(outcome)) = (self.audience, self.outcome.take()) {
            registry().token(audience).fetched(outcome);
        }
    }
}

/// Ends this process's thread for metrics, if it has one, within a bounded time, and removes its
/// file and its socket. The next operation starts another.
pub(crate) fn stop() {
    if !is_on() {
        return;
    }
    if let Some(registry) = CURRENT.load_full()
        && registry.process.is_current()
    {
        handing_out::stop(&registry);
    }
}

/// The same for ever: the process ends.
pub(crate) fn stop_for_ever() {
    IS_OVER.store(true, Ordering::Relaxed);
    stop();
}

fn is_on() -> bool {
    IS_ON.load(Ordering::Relaxed)
}

/// What this process has counted. A forked child begins anew, and drops nothing of its parent's.
fn registry() -> Arc<Registry> {
    loop {
        let seen = CURRENT.load();
        if let Some(registry) = seen.as_ref()
            && registry.process.is_current()
        {
            return Arc::clone(registry);
        }
        let made = Arc::new(Registry::new());
        let previous = CURRENT.compare_and_swap(&*seen, Some(Arc::clone(&made)));
        let is_replaced = match (previous.as_ref(), seen.as_ref()) {
            (Some(previous), Some(seen)) => Arc::ptr_eq(previous, seen),
            (None, None) => true,
            _ => false,
        };
        if !is_replaced {
            continue;
        }
        if let Some(of_parent) = seen.as_ref() {
            std::mem::forget(Arc::clone(of_parent));
            handing_out::let_go(of_parent);
        }
        return made;
    }
}
