//! How many warnings of a kind the log gets: an outage is told, and not once for each request of a
//! busy server.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// So many warnings are said in each such time.
const MOST: u32 = 10;
const EACH: Duration = Duration::from_secs(10);

/// Counts the warnings of a kind. No lock: a fork may come at any time.
pub(crate) struct Warnings {
    /// Which of the times it is.
    period: AtomicU64,
    said: AtomicU32,
    unsaid: AtomicU32,
}

impl Warnings {
    pub(crate) const fn new() -> Self {
        Self {
            period: AtomicU64::new(0),
            said: AtomicU32::new(0),
            unsaid: AtomicU32::new(0),
        }
    }

    /// Whether a warning is to be said now; if so, how many were not since the last one.
    pub(crate) fn admit(&self, now: Instant) -> Option<u32> {
        static START: LazyLock<Instant> = LazyLock::new(Instant::now);
        let since = now.saturating_duration_since(*START);
        let period = since.as_secs() / EACH.as_secs();
        if self.period.swap(period, Ordering::Relaxed) != period {
            self.said.store(0, Ordering::Relaxed);
        }
        if self.said.fetch_add(1, Ordering::Relaxed) < MOST {
            return Some(self.unsaid.swap(0, Ordering::Relaxed));
        }
        self.unsaid.fetch_add(1, Ordering::Relaxed);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_are_said_in_ten_seconds_and_the_others_counted() {
        let (warnings, start) = (Warnings::new(), Instant::now());
        let said = |at: Instant| {
            (0..25)
                .filter_map(|_| warnings.admit(at))
                .collect::<Vec<_>>()
        };
        assert_eq!(said(start), [0; 10]);
        let later = said(start + 2 * EACH);
        assert_eq!((later.len(), later[0], later[1]), (10, 15, 0));
    }
}
