//! Hedging: a request that takes longer than most did lately is sent a second time, and the first
//! answer counts.
//!
//! It is for operations with a key, which may be done twice, and at most one in twenty of them is,
//! so that a service that slows down under its load gets little more of it.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How many of the last times are looked at.
const RECENT: usize = 128;
/// How many have to be known.
const ENOUGH: usize = 20;
/// The share of requests that may be sent twice, and how many may be at once after a quiet time.
const SHARE: f64 = 0.05;
const BURST: f64 = 5.0;

/// What is known about how long operations take, and how many more may be sent twice.
#[derive(Default)]
pub(crate) struct Hedging {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// By algorithm: an RSA signature takes longer than one with EC.
    recent: Vec<(&'static str, Recent)>,
    /// How many requests may be sent twice now.
    credit: f64,
}

#[derive(Default)]
struct Recent {
    times: Vec<Duration>,
    /// Where the next time goes once there are [`RECENT`].
    next: usize,
    slow: Option<Duration>,
}

impl Recent {
    fn add(&mut self, time: Duration) {
        match self.times.get_mut(self.next) {
            Some(oldest) => *oldest = time,
            None => self.times.push(time),
        }
        self.next = (self.next + 1) % RECENT;
        // Not each time: it is a sort.
        if self.times.len() >= ENOUGH && self.next.is_multiple_of(4) {
            let mut sorted = self.times.clone();
            sorted.sort_unstable();
            self.slow = sorted.get(sorted.len() * 95 / 100).copied();
        }
    }
}

impl Hedging {
    /// How long an operation may take before it is sent again: longer than 95 % of the last ones
    /// took. None: nobody knows yet.
    pub(crate) fn delay(&self, algorithm: &'static str) -> Option<Duration> {
        let state = self.lock();
        let known = state.recent.iter().find(|(known, _)| *known == algorithm);
        known.and_then(|(_, recent)| recent.slow)
    }

    /// Whether one more operation may be sent twice now. It counts as sent.
    pub(crate) fn take(&self) -> bool {
        let mut state = self.lock();
        let may = state.credit >= 1.0;
        if may {
            state.credit -= 1.0;
        }
        may
    }

    /// Notes how long an operation took.
    pub(crate) fn note(&self, algorithm: &'static str, time: Duration) {
        let mut state = self.lock();
        state.credit = (state.credit + SHARE).min(BURST);
        let at = state
            .recent
            .iter()
            .position(|(known, _)| *known == algorithm);
        let at = at.unwrap_or_else(|| {
            state.recent.push((algorithm, Recent::default()));
            state.recent.len() - 1
        });
        state.recent[at].1.add(time);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLISECOND: Duration = Duration::from_millis(1);

    #[test]
    fn slower_than_most_of_the_last_ones_is_slow() {
        let hedging = Hedging::default();
        assert_eq!(hedging.delay("RS256"), None);
        for time in 1..=100 {
            hedging.note("RS256", time * MILLISECOND);
        }
        assert_eq!(hedging.delay("RS256"), Some(96 * MILLISECOND));
        assert_eq!(hedging.delay("ES256"), None);
        // What was long ago is forgotten.
        for _ in 0..RECENT {
            hedging.note("RS256", 7 * MILLISECOND);
        }
        assert_eq!(hedging.delay("RS256"), Some(7 * MILLISECOND));
    }

    #[test]
    fn one_request_in_twenty_is_sent_twice_at_most() {
        let hedging = Hedging::default();
        assert!(!hedging.take());
        let mut twice = 0;
        for _ in 0..1_000 {
            hedging.note("ES256", MILLISECOND);
            twice += usize::from(hedging.take());
        }
        assert!((48..=50).contains(&twice), "{twice}");
        for _ in 0..1_000 {
            hedging.note("ES256", MILLISECOND);
        }
        let burst = (0..100).filter(|_| hedging.take()).count();
        assert_eq!(burst, BURST as usize);
    }
}
