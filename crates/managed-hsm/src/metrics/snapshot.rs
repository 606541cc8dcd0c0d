//! What a process has counted, at one moment: as it goes over a socket, and is read by `akv top`.
//! Whoever reads it doesn't know who wrote it, so that all text in it is foreign.

use serde::{Deserialize, Serialize};

use super::histogram;
use crate::foreign::ForeignText;

/// What a process has counted since it began to.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Snapshot {
    /// Which module it is: `akv_provider` or `akv_pkcs11`.
    pub front_end: ForeignText,
    /// The module's version.
    pub version: ForeignText,
    /// The process.
    pub pid: u32,
    /// The program, by the name of its file.
    pub program: ForeignText,
    /// When it began to count, in seconds since 1970.
    pub started: f64,
    /// The times that durations are told apart by, in seconds.
    pub bounds: Vec<f64>,
    /// Operations, by key and kind.
    pub operations: Vec<Operations>,
    /// Tokens, by what they are for.
    pub tokens: Vec<Tokens>,
    /// Connections, by where they lead.
    pub connections: Vec<Connections>,
}

/// Operations of one kind with one key.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Operations {
    /// The HSM; a key vault's name has `keyvault:` before it.
    pub hsm: ForeignText,
    /// The key; empty for what is asked of an HSM as a whole.
    pub key: ForeignText,
    /// The key's version; empty where none is named.
    pub version: ForeignText,
    /// The kind, such as `sign`.
    pub operation: ForeignText,
    /// How many came to each outcome: `ok`, or the error's code.
    pub outcomes: Vec<Count>,
    /// How often their requests were sent again, by the reason.
    pub retries: Vec<Count>,
    /// How many answers of the service said that there are too many requests.
    pub throttled: u64,
    /// How many took no longer than the bound of the same place, and longer than the one before;
    /// the last: longer than all.
    pub durations: Vec<u64>,
    /// How long all of them took together.
    pub seconds: f64,
}

/// Tokens for one service.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Tokens {
    /// What they are for.
    pub audience: ForeignText,
    /// How many attempts to get one came to each outcome.
    pub renewals: Vec<Count>,
    /// When the last one expires, in seconds since 1970. None: it doesn't say, or there is none.
    pub expires: Option<u64>,
}

/// Connections to one host.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Connections {
    /// Where they lead: `https://<host>[:<port>]`.
    pub endpoint: ForeignText,
    /// How many were opened.
    pub opened: u64,
    /// How many are open.
    pub open: u64,
}

/// How many there are of something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Count {
    /// What.
    pub of: ForeignText,
    /// How many.
    pub count: u64,
}

impl Operations {
    /// How many operations ended.
    pub fn total(&self) -> u64 {
        total(&self.outcomes)
    }

    /// How many of them failed.
    pub fn failed(&self) -> u64 {
        let failures = self.outcomes.iter().filter(|count| count.of.raw() != OK);
        failures.fold(0, |all, one| all.saturating_add(one.count))
    }
}

/// How many there are of all.
pub fn total(counts: &[Count]) -> u64 {
    counts
        .iter()
        .fold(0, |all, one| all.saturating_add(one.count))
}

/// The time that so large a share of durations did not exceed, in seconds: see
/// [`Snapshot::bounds`] and [`Operations::durations`].
pub fn quantile(bounds: &[f64], durations: &[u64], share: f64) -> Option<f64> {
    histogram::quantile(bounds, durations, share)
}

/// The outcome of what succeeded.
pub(super) const OK: &str = "ok";
