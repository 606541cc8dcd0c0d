//! What an HSM can do in a second, and how long it takes to answer, for rehearsals of throttling and of slow tails.

use std::str::FromStr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use openssl::rand::rand_bytes;

/// Work that an idle HSM takes at once, in seconds of a partition.
const BURST: f64 = 1.0;

/// A number of partitions that work is shared among, as a token bucket.
#[derive(Debug)]
pub(crate) struct Capacity {
    partitions: f64,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Seconds of work that can be taken now.
    left: f64,
    at: Instant,
}

impl Capacity {
    pub(crate) fn new(partitions: u32) -> Self {
        let partitions = f64::from(partitions);
        Self {
            partitions,
            state: Mutex::new(State {
                left: BURST * partitions,
                at: Instant::now(),
            }),
        }
    }

    /// Takes work of so many seconds of a partition, if it is there to be taken.
    pub(crate) fn take(&self, seconds: f64) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let regained = now.duration_since(state.at).as_secs_f64() * self.partitions;
        state.left = (state.left + regained).min(BURST * self.partitions);
        state.at = now;
        if state.left < seconds {
            return false;
        }
        state.left -= seconds;
        true
    }
}

/// How long an answer takes at least: always the same, or log-normal.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Latency {
    median: Duration,
    /// The 99th percentile.
    tail: Duration,
}

/// The 99th percentile of the standard normal distribution.
const Z99: f64 = 2.326;

impl FromStr for Latency {
    type Err = String;

    /// `MILLISECONDS`, or the median and the 99th percentile: `MILLISECONDS,MILLISECONDS`
    fn from_str(text: &str) -> Result<Self, String> {
        let (median, tail) = text.split_once(',').unwrap_or((text, text));
        let parse = |text: &str| {
            let number = text.parse().map(Duration::from_millis);
            number.map_err(|_| format!("'{text}' is not a number of milliseconds"))
        };
        let (median, tail) = (parse(median)?, parse(tail)?);
        if tail < median || (median.is_zero() && !tail.is_zero()) {
            return Err("the 99th percentile is at least the median, which is not 0".to_owned());
        }
        Ok(Self { median, tail })
    }
}

impl Latency {
    /// For one answer.
    pub(crate) fn sample(self) -> Duration {
        if self.tail == self.median {
            return self.median;
        }
        let sigma = (self.tail.as_secs_f64() / self.median.as_secs_f64()).ln() / Z99;
        self.median.mul_f64((sigma * normal()).exp())
    }
}

/// From the standard normal distribution, by Box and Muller.
fn normal() -> f64 {
    let (u, v) = (1.0 - random_share(), random_share());
    (-2.0 * u.max(f64::MIN_POSITIVE).ln()).sqrt() * (std::f64::consts::TAU * v).cos()
}

/// Uniform between 0 and 1.
pub(crate) fn random_share() -> f64 {
    let mut bytes = [0; 4];
    // Without randomness nothing else works here either.
    let _ = rand_bytes(&mut bytes);
    f64::from(u32::from_ne_bytes(bytes)) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_is_emptied_and_filled() {
        let capacity = Capacity::new(2);
        assert!(capacity.take(1.5));
        assert!(!capacity.take(1.0));
        std::thread::sleep(Duration::from_millis(300));
        assert!(capacity.take(1.0));
    }

    #[test]
    fn latencies_have_the_percentiles_asked_for() {
        let fixed: Latency = "20".parse().unwrap();
        assert_eq!(fixed.sample(), Duration::from_millis(20));
        let latency: Latency = "10,100".parse().unwrap();
        let mut samples: Vec<Duration> = (0..10_000).map(|_| latency.sample()).collect();
        samples.sort();
        let milliseconds = |index: usize| samples[index].as_secs_f64() * 1000.0;
        assert!((8.0..12.5).contains(&milliseconds(5_000)));
        assert!((75.0..133.0).contains(&milliseconds(9_900)));
        for text in ["", "x", "5,1", "0,5", "-1", "1,2,3"] {
            assert!(text.parse::<Latency>().is_err(), "{text}");
        }
    }
}
