//! Timers of event loops.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use pin_project_lite::pin_project;

use super::shared::{Shared, current};

/// Over at some time; never, if that is too far away to be told.
pub(crate) struct Sleep {
    until: Option<Instant>,
    /// Where it is known, once somebody waits for it.
    entry: Option<(Arc<Shared>, (Instant, u64))>,
}

/// Over after so long.
pub(crate) fn sleep(duration: Duration) -> Sleep {
    sleep_until(Instant::now().checked_add(duration))
}

fn sleep_until(until: Option<Instant>) -> Sleep {
    Sleep { until, entry: None }
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        let Some(until) = this.until else {
            return Poll::Pending;
        };
        if Instant::now() >= until {
            return Poll::Ready(());
        }
        let (shared, key) = this.entry.get_or_insert_with(|| {
            let shared = current();
            let mut state = shared.lock();
            state.last_timer += 1;
            let key = (until, state.last_timer);
            drop(state);
            (shared, key)
        });
        let previous = shared.lock().timers.insert(*key, context.waker().clone());
        drop(previous);
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some((shared, key)) = self.entry.take() {
            let waker = shared.lock().timers.remove(&key);
            drop(waker);
        }
    }
}

impl Shared {
    /// How long it is until the next timer is over.
    pub(super) fn until_timer(&self) -> Option<Duration> {
        let next = self.lock().timers.keys().next().map(|(until, _)| *until)?;
        Some(next.saturating_duration_since(Instant::now()))
    }

    /// Wakes who waits for timers that are over, in their order.
    pub(super) fn fire_timers(&self) {
        while let Some(waker) = self.due() {
            waker.wake();
        }
    }

    fn due(&self) -> Option<Waker> {
        let mut state = self.lock();
        let next = state.timers.first_entry()?;
        (next.key().0 <= Instant::now()).then(|| next.remove())
    }
}

/// The time was over first.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Elapsed;

pin_project! {
    /// Work that has so much time.
    pub(crate) struct Timeout<F> {
        #[pin]
        work: F,
        sleep: Sleep,
    }
}

/// Gives work so long.
pub(crate) fn timeout<F: Future>(duration: Duration, work: F) -> Timeout<F> {
    Timeout {
        work,
        sleep: sleep(duration),
    }
}

/// Gives work until then.
pub(crate) fn timeout_at<F: Future>(deadline: Instant, work: F) -> Timeout<F> {
    Timeout {
        work,
        sleep: sleep_until(Some(deadline)),
    }
}

impl<F: Future> Future for Timeout<F> {
    type Output = Result<F::Output, Elapsed>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        if let Poll::Ready(done) = this.work.poll(context) {
            return Poll::Ready(Ok(done));
        }
        Pin::new(this.sleep).poll(context).map(|()| Err(Elapsed))
    }
}

/// The timers as hyper wants them.
#[derive(Clone, Copy)]
pub(crate) struct Timer;

impl hyper::rt::Sleep for Sleep {}

impl hyper::rt::Timer for Timer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn hyper::rt::Sleep>> {
        Box::pin(sleep(duration))
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn hyper::rt::Sleep>> {
        Box::pin(sleep_until(Some(deadline)))
    }
}
