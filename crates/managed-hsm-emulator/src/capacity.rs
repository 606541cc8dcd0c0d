//! What an HSM can do in a second, and how long it takes to answer, for rehearsals of throttling
//! and of slow tails.

use std::str::FromStr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use openssl::rand::rand_bytes;

/// Seconds of work that are there at once for who was idle.
const BURST: f64 = 1.0;

/// What an HSM or a vault can do.
#[derive(Debug)]
pub(crate) struct Capacity {
    /// By the partitions of an HSM, which share it; or by a vault, which has one.
    work: Bucket,
    /// Of role definitions and assignments, whatever the number of partitions.
    roles: Bucket,
}

/// What a request takes of it.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Cost {
    /// Seconds of a partition, which comes to it sooner or later.
    Work(f64),
    /// Seconds of a vault, which refuses what is too much.
    Limited(f64),
    /// Seconds of an HSM's role management, which refuses what is too much.
    Roles(f64),
}

impl Capacity {
    pub(crate) fn new(partitions: u32) -> Self {
        Self {
            work: Bucket::new(f64::from(partitions)),
            roles: Bucket::new(1.0),
        }
    }

    /// After how long a request is carried out. None: it is refused.
    pub(crate) fn admit(&self, cost: Cost) -> Option<Duration> {
        match cost {
            Cost::Work(seconds) => Some(self.work.wait(seconds)),
            Cost::Limited(seconds) => self.work.take(seconds).then_some(Duration::ZERO),
            Cost::Roles(seconds) => self.roles.take(seconds).then_some(Duration::ZERO),
        }
    }
}

/// A token bucket, of seconds of work.
#[derive(Debug)]
struct Bucket {
    /// Seconds of work that are done in a second.
    rate: f64,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Seconds of work that can be taken now; below zero, those that are promised already.
    left: f64,
    at: Instant,
}

impl Bucket {
    fn new(rate: f64) -> Self {
        Self {
            rate,
            state: Mutex::new(State {
                left: BURST * rate,
                at: Instant::now(),
            }),
        }
    }

    /// Takes work if it is there to be taken.
    fn take(&self, seconds: f64) -> bool {
        let mut state = self.filled();
        if state.left < seconds {
            return false;
        }
        state.left -= seconds;
        true
    }

    /// Takes work, and tells after how long it is there.
    fn wait(&self, seconds: f64) -> Duration {
        let mut state = self.filled();
        state.left -= seconds;
        Duration::from_secs_f64((-state.left / self.rate).max(0.0))
    }

    fn filled(&self) -> MutexGuard<'_, State> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let regained = now.duration_since(state.at).as_secs_f64() * self.rate;
        state.left = (state.left + regained).min(BURST * self.rate);
        state.at = now;
        state
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
        let bucket = Bucket::new(2.0);
        assert!(bucket.take(1.5));
        assert!(!bucket.take(1.0));
        std::thread::sleep(Duration::from_millis(300));
        assert!(bucket.take(1.0));
    }

    #[test]
    fn work_of_an_hsm_waits_and_its_role_management_is_refused() {
        let capacity = Capacity::new(2);
        let waits = [2.0, 1.0, 3.0].map(|seconds| capacity.admit(Cost::Work(seconds)).unwrap());
        let expected = [0.0, 0.5, 2.0];
        for (wait, expected) in waits.into_iter().zip(expected) {
            assert!((wait.as_secs_f64() - expected).abs() < 0.1, "{waits:?}");
        }
        assert!(capacity.admit(Cost::Limited(0.1)).is_none());
        assert!(capacity.admit(Cost::Roles(1.0)).is_some());
        assert!(capacity.admit(Cost::Roles(0.2)).is_none());
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
