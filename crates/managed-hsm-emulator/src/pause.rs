//! Pauses that end on time: an answer's latency is measured by others, and the event loop's own
//! timers only know milliseconds.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::{Condvar, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

static TIMER: LazyLock<Timer> = LazyLock::new(Timer::start);

/// The pauses that are under way, and a thread that ends them.
struct Timer {
    pauses: Mutex<BinaryHeap<Reverse<Pause>>>,
    another: Condvar,
}

struct Pause {
    until: Instant,
    end: oneshot::Sender<()>,
}

impl PartialEq for Pause {
    fn eq(&self, other: &Self) -> bool {
        self.until == other.until
    }
}

impl Eq for Pause {}

impl PartialOrd for Pause {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Pause {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.until.cmp(&other.until)
    }
}

impl Timer {
    fn start() -> Self {
        // Without a thread nobody ends a pause: see [`pause`].
        let thread = std::thread::Builder::new().name("timer".to_owned());
        let _ = thread.spawn(|| TIMER.run());
        Self {
            pauses: Mutex::default(),
            another: Condvar::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, BinaryHeap<Reverse<Pause>>> {
        self.pauses.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self) {
        let mut pauses = self.lock();
        loop {
            let now = Instant::now();
            while let Some(first) = pauses.peek()
                && first.0.until <= now
            {
                if let Some(Reverse(pause)) = pauses.pop() {
                    // Nobody waits if the request was given up.
                    let _ = pause.end.send(());
                }
            }
            let left = pauses.peek().map(|first| first.0.until - now);
            let waited = self
                .another
                .wait_timeout(pauses, left.unwrap_or(Duration::from_secs(3600)));
            pauses = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// Ends after so long.
pub(crate) async fn pause(duration: Duration) {
    if duration.is_zero() {
        return;
    }
    let until = Instant::now() + duration;
    let (end, ended) = oneshot::channel();
    {
        let mut pauses = TIMER.lock();
        let is_first = pauses.peek().is_none_or(|first| until < first.0.until);
        pauses.push(Reverse(Pause { until, end }));
        if is_first {
            TIMER.another.notify_one();
        }
    }
    // The event loop's timer, in case that there is no thread.
    let _ = tokio::time::timeout(duration + Duration::from_millis(100), ended).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_pause_is_never_too_short() {
        for microseconds in [0, 1, 300, 2_500, 10_000] {
            let (started, duration) = (Instant::now(), Duration::from_micros(microseconds));
            pause(duration).await;
            assert!(started.elapsed() >= duration);
        }
    }

    #[tokio::test]
    async fn a_shorter_pause_ends_while_a_longer_one_lasts() {
        let long = tokio::spawn(pause(Duration::from_secs(3600)));
        pause(Duration::from_millis(20)).await;
        assert!(!long.is_finished());
        long.abort();
    }
}
