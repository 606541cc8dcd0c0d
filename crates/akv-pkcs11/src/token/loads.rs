//! When keys were loaded, and what may have changed since without a trace.
//!
//! The HSM tells in seconds when a key was changed. What was loaded in the second in which it was
//! changed may have been changed once more in that one, and the list of keys doesn't show it. Such
//! a key is loaded once more.

use std::time::{Duration, Instant, SystemTime};

/// How long after a change the next one may bear the same time, as far as this machine's clock and
/// the HSM's agree.
const TRACELESS: Duration = Duration::from_secs(2);

/// A load of a key.
#[derive(Clone, Copy, Debug)]
pub(super) struct Load {
    at: Instant,
    certainty: Certainty,
}

/// Whether a later change would bear another time than what was loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Certainty {
    /// No: it had been changed just before.
    Recent,
    /// Yes, if this machine's clock and the HSM's agree.
    ByClock,
    /// Yes, whatever the clocks: it was the same a while before.
    Unchanged,
}

impl Load {
    /// One that ends now. `updated`: when the key was changed, in seconds since 1970.
    pub(super) fn now(updated: Option<i64>) -> Self {
        Self::ending(Instant::now(), SystemTime::now(), updated)
    }

    fn ending(at: Instant, by_clock: SystemTime, updated: Option<i64>) -> Self {
        let since = by_clock.duration_since(SystemTime::UNIX_EPOCH);
        let seconds = since.map_or(0, |since| since.as_secs());
        let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
        let least = TRACELESS.as_secs().cast_signed();
        let is_recent = updated.is_some_and(|updated| seconds.saturating_sub(updated) < least);
        let certainty = match is_recent {
            true => Certainty::Recent,
            false => Certainty::ByClock,
        };
        Self { at, certainty }
    }

    /// The same, where an earlier load told the same time of the last change.
    pub(super) fn after(self, earlier: Self) -> Self {
        let between = self.at.saturating_duration_since(earlier.at);
        let is_unchanged = between >= TRACELESS || earlier.certainty == Certainty::Unchanged;
        match is_unchanged {
            true => Self {
                certainty: Certainty::Unchanged,
                ..self
            },
            false => self,
        }
    }

    /// Whether the key is as it was loaded, by a list that tells the same time of the last change.
    /// `listed`: when there was that list; `has_same_names`: whether it has the same labels and
    /// ids.
    pub(super) fn stands(self, listed: Instant, has_same_names: bool) -> bool {
        match self.certainty {
            Certainty::Recent => {
                has_same_names && listed.saturating_duration_since(self.at) < TRACELESS
            }
            Certainty::ByClock => has_same_names,
            Certainty::Unchanged => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn load(at: Instant, seconds_after_change: i64) -> Load {
        let clock = SystemTime::UNIX_EPOCH + 1000 * SECOND;
        Load::ending(at, clock, Some(1000 - seconds_after_change))
    }

    #[test]
    fn what_had_just_been_changed_is_loaded_once_more() {
        let start = Instant::now();
        // The HSM's clock may be ahead.
        for recent in [load(start, 0), load(start, 1), load(start, -60)] {
            assert!(recent.stands(start + SECOND, true) && !recent.stands(start, false));
            assert!(!recent.stands(start + 2 * SECOND, true));
            let again = load(start + 2 * SECOND, 0).after(recent);
            for names in [true, false] {
                assert!(again.stands(start + 3600 * SECOND, names));
            }
            // And so does one that comes just after.
            let third = load(start + 3 * SECOND, 1).after(again);
            assert!(third.stands(start + 3600 * SECOND, false));
        }
        let at_once = load(start + SECOND, 1).after(load(start, 0));
        assert!(!at_once.stands(start + 3 * SECOND, true));
    }

    #[test]
    fn what_was_changed_long_ago_is_loaded_again_only_for_other_names() {
        let start = Instant::now();
        for old in [load(start, 2), Load::ending(start, SystemTime::now(), None)] {
            assert!(old.stands(start + 3600 * SECOND, true) && !old.stands(start, false));
            let again = load(start + 2 * SECOND, 4).after(old);
            assert!(again.stands(start + 3 * SECOND, false));
        }
    }
}
