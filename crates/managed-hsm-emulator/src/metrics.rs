//! Counters, in the text format of Prometheus.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::service::Service;

/// Upper bounds of the histogram's buckets, in seconds.
const BUCKETS: [f64; 9] = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1.0];

/// What a request is counted as.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Request {
    /// `hsm` or `vault`.
    label: &'static str,
    name: String,
    operation: String,
    status: u16,
}

/// What has happened since the start.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    requests: Mutex<BTreeMap<Request, u64>>,
    /// By what they were got with.
    tokens_issued: Mutex<BTreeMap<&'static str, u64>>,
    /// By the error.
    tokens_refused: Mutex<BTreeMap<String, u64>>,
    buckets: [AtomicU64; BUCKETS.len() + 1],
    microseconds: AtomicU64,
    connections: AtomicU64,
    open: AtomicU64,
    handshakes: AtomicU64,
    failed_handshakes: AtomicU64,
}

impl Metrics {
    pub(crate) fn request(
        &self,
        service: Service,
        name: &str,
        operation: &str,
        status: u16,
        elapsed: Duration,
    ) {
        let label = match service {
            Service::ManagedHsm => "hsm",
            Service::KeyVault => "vault",
        };
        let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        let request = Request {
            label,
            name: name.to_owned(),
            operation: operation.to_owned(),
            status,
        };
        *requests.entry(request).or_default() += 1;
        drop(requests);
        let seconds = elapsed.as_secs_f64();
        let bucket = BUCKETS.iter().position(|bound| seconds <= *bound);
        self.buckets[bucket.unwrap_or(BUCKETS.len())].fetch_add(1, Ordering::Relaxed);
        let micros = u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX);
        self.microseconds.fetch_add(micros, Ordering::Relaxed);
    }

    pub(crate) fn token_issued(&self, grant: &'static str) {
        let tokens = self.tokens_issued.lock();
        let mut tokens = tokens.unwrap_or_else(PoisonError::into_inner);
        *tokens.entry(grant).or_default() += 1;
    }

    /// `error`: such as `AADSTS7000215`.
    pub(crate) fn token_refused(&self, error: &str) {
        let tokens = self.tokens_refused.lock();
        let mut tokens = tokens.unwrap_or_else(PoisonError::into_inner);
        *tokens.entry(error.to_owned()).or_default() += 1;
    }

    pub(crate) fn connection_opened(&self) {
        self.connections.fetch_add(1, Ordering::Relaxed);
        self.open.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn connection_closed(&self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
    }

    /// How many TCP connections were accepted.
    pub(crate) fn connections(&self) -> u64 {
        self.connections.load(Ordering::Relaxed)
    }

    /// How many of them are open.
    pub(crate) fn open_connections(&self) -> u64 {
        self.open.load(Ordering::Relaxed)
    }

    pub(crate) fn handshake(&self, succeeded: bool) {
        let counter = if succeeded {
            &self.handshakes
        } else {
            &self.failed_handshakes
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// The text format of Prometheus.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        self.write_requests(&mut text);
        self.write_tokens(&mut text);
        self.write_times(&mut text);
        self.write_connections(&mut text);
        text
    }

    fn write_requests(&self, text: &mut String) {
        let name = "mhsm_requests_total";
        head(text, name, "counter", "Requests answered.");
        let requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        for (request, count) in requests.iter() {
            let Request {
                label,
                name,
                operation,
                status,
            } = request;
            let _ = writeln!(
                text,
                "mhsm_requests_total{{{label}=\"{name}\",operation=\"{operation}\",status=\"{status}\"}} {count}"
            );
        }
    }

    fn write_tokens(&self, text: &mut String) {
        let name = "mhsm_tokens_issued_total";
        head(text, name, "counter", "Tokens that the token service gave.");
        let issued = self.tokens_issued.lock();
        for (grant, count) in issued.unwrap_or_else(PoisonError::into_inner).iter() {
            let _ = writeln!(text, "{name}{{grant=\"{grant}\"}} {count}");
        }
        let name = "mhsm_tokens_refused_total";
        let help = "Requests for a token that the token service refused.";
        head(text, name, "counter", help);
        let refused = self.tokens_refused.lock();
        for (error, count) in refused.unwrap_or_else(PoisonError::into_inner).iter() {
            let _ = writeln!(text, "{name}{{error=\"{error}\"}} {count}");
        }
    }

    fn write_times(&self, text: &mut String) {
        let name = "mhsm_request_seconds";
        head(text, name, "histogram", "Time to answer a request.");
        let mut below = 0;
        for (bound, bucket) in BUCKETS.iter().zip(&self.buckets) {
            below += load(bucket);
            let _ = writeln!(text, "{name}_bucket{{le=\"{bound}\"}} {below}");
        }
        below += load(&self.buckets[BUCKETS.len()]);
        let sum = load(&self.microseconds) as f64 / 1e6;
        let _ = writeln!(
            text,
            "{name}_bucket{{le=\"+Inf\"}} {below}\n{name}_sum {sum}\n{name}_count {below}"
        );
    }

    fn write_connections(&self, text: &mut String) {
        for (name, kind, help, counter) in [
            (
                "mhsm_connections_total",
                "counter",
                "TCP connections accepted.",
                &self.connections,
            ),
            (
                "mhsm_connections_open",
                "gauge",
                "TCP connections open.",
                &self.open,
            ),
            (
                "mhsm_tls_handshakes_total",
                "counter",
                "TLS handshakes completed.",
                &self.handshakes,
            ),
            (
                "mhsm_tls_handshakes_failed_total",
                "counter",
                "TLS handshakes that failed.",
                &self.failed_handshakes,
            ),
        ] {
            head(text, name, kind, help);
            let _ = writeln!(text, "{name} {}", load(counter));
        }
    }
}

fn load(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

/// What the format has before the values of a name.
fn head(text: &mut String, name: &str, kind: &str, help: &str) {
    let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
}
