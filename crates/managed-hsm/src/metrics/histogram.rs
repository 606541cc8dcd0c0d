//! How long operations took, as Prometheus' histograms have it: how many took no longer than each
//! of some times.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The times, in microseconds. An HSM in the same region signs within 5 to 30 ms, so that they are
/// closest there.
const BOUNDS: [u64; 18] = [
    1_000, 2_500, 5_000, 7_500, 10_000, 15_000, 20_000, 30_000, 50_000, 75_000, 100_000, 250_000,
    500_000, 1_000_000, 2_500_000, 5_000_000, 10_000_000, 30_000_000,
];

/// The times in seconds.
pub(super) fn bounds() -> impl Iterator<Item = f64> {
    BOUNDS.iter().map(|bound| *bound as f64 / 1e6)
}

/// Durations that are counted by any thread.
#[derive(Debug, Default)]
pub(super) struct Histogram {
    /// How many took no longer than the bound of the same place, and longer than the one before;
    /// the last: longer than all.
    counts: [AtomicU64; BOUNDS.len() + 1],
    /// In microseconds.
    sum: AtomicU64,
}

impl Histogram {
    pub(super) fn count(&self, duration: Duration) {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        let place = BOUNDS.partition_point(|bound| *bound < micros);
        self.counts[place].fetch_add(1, Ordering::Relaxed);
        self.sum.fetch_add(micros, Ordering::Relaxed);
    }

    /// How many there are of each, and all together in seconds.
    pub(super) fn read(&self) -> (Vec<u64>, f64) {
        let counts = self.counts.iter();
        let sum = self.sum.load(Ordering::Relaxed) as f64 / 1e6;
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        (counts.map(read).collect(), sum)
    }
}

/// The time that so large a share of all took no longer than, in seconds, as Prometheus'
/// `histogram_quantile` has it: within a range all are taken for evenly spread. None: there are
/// none.
pub(super) fn quantile(bounds: &[f64], counts: &[u64], share: f64) -> Option<f64> {
    let all: u64 = counts
        .iter()
        .fold(0, |all, count| all.saturating_add(*count));
    if all == 0 {
        return None;
    }
    let rank = share * all as f64;
    let (mut before, mut from) = (0, 0.0);
    for (bound, count) in bounds.iter().zip(counts) {
        let until = before + count;
        if *count > 0 && until as f64 >= rank {
            let part = (rank - before as f64) / *count as f64;
            return Some(from + (bound - from) * part.clamp(0.0, 1.0));
        }
        (before, from) = (until, *bound);
    }
    // Longer than all that are told apart.
    Some(from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_counted_at_the_first_bound_that_it_does_not_exceed() {
        let histogram = Histogram::default();
        for micros in [0, 1_000, 1_001, 30_000_000, 30_000_001] {
            histogram.count(Duration::from_micros(micros));
        }
        let (counts, sum) = histogram.read();
        assert_eq!(counts.len(), bounds().count() + 1);
        assert_eq!((counts[0], counts[1]), (2, 1));
        assert_eq!(counts[17..], [1, 1]);
        assert_eq!(counts.iter().sum::<u64>(), 5);
        assert!((sum - 60.002_002).abs() < 1e-9, "{sum}");
    }

    #[test]
    fn quantiles_are_those_of_prometheus() {
        let bounds = [1.0, 2.0, 4.0];
        let close = |counts: &[u64], share, expected: Option<f64>| {
            let found = quantile(&bounds, counts, share);
            let differs = found.zip(expected).map(|(found, it)| (found - it).abs());
            assert_eq!(found.is_some(), expected.is_some());
            assert!(differs.unwrap_or_default() < 1e-9, "{found:?} {expected:?}");
        };
        close(&[0, 0, 0, 0], 0.5, None);
        close(&[10, 0, 0, 0], 0.5, Some(0.5));
        close(&[0, 10, 0, 0], 0.99, Some(1.99));
        close(&[5, 0, 5, 0], 0.5, Some(1.0));
        close(&[5, 0, 5, 0], 0.75, Some(3.0));
        close(&[0, 0, 0, 7], 0.5, Some(4.0));
    }

    #[test]
    fn bounds_ascend() {
        assert!(BOUNDS.is_sorted());
    }
}
