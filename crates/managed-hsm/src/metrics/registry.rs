//! What a process has counted. Whoever counts takes no lock, and allocates only at the first of a
//! kind: a fork may come at any time, and signatures may be many.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
#[cfg(unix)]
use arc_swap::ArcSwapOption;

use super::histogram::{Histogram, bounds};
#[cfg(unix)]
use super::listener::Listener;
#[cfg(unix)]
use super::reporter::Reporter;
use super::snapshot::{self, Count, OK, Snapshot};
use crate::foreign::{ForeignText, visible};
use crate::forks::ProcessId;

/// How many keys are told apart. Whoever makes keys without end is to fill neither memory nor
/// Prometheus; later ones are counted together.
const MOST_KEYS: usize = 1000;
/// The same of outcomes of a key's operation, hosts and audiences. The service names the outcomes.
const MOST_OUTCOMES: usize = 16;
const MOST_PLACES: usize = 64;
/// The longest name of an outcome, in bytes.
const LONGEST: usize = 64;
/// What those beyond are called.
const OTHER: &str = "other";

/// Why a request is sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Again {
    /// The service answered with this status.
    Status(u16),
    /// No answer came in time.
    Late,
    /// The connection was lost, or there was none.
    Connection,
    /// The service did not accept the token.
    Token,
    /// It takes longer than most: see [`crate::hedging`].
    Hedged,
}

impl Again {
    const ALL: [Self; 10] = [
        Self::Status(408),
        Self::Status(429),
        Self::Status(500),
        Self::Status(502),
        Self::Status(503),
        Self::Status(504),
        Self::Late,
        Self::Connection,
        Self::Token,
        Self::Hedged,
    ];

    fn name(self) -> String {
        match self {
            Self::Status(status) => return status.to_string(),
            Self::Late => "timeout",
            Self::Connection => "connection",
            Self::Token => "token",
            Self::Hedged => "hedged",
        }
        .to_owned()
    }
}

/// What one process has counted.
pub(super) struct Registry {
    pub(super) process: ProcessId,
    started: SystemTime,
    /// By the key's name, as requests have it.
    operations: ArcSwap<BTreeMap<Arc<str>, Vec<Arc<Operation>>>>,
    tokens: List<Token>,
    hosts: List<Host>,
    /// Whether a thread hands it out, or could not be started; the thread, and its socket.
    pub(super) is_reported: AtomicBool,
    #[cfg(unix)]
    pub(super) reporter: ArcSwapOption<Reporter>,
    #[cfg(unix)]
    pub(super) listener: ArcSwapOption<Listener>,
}

/// Operations of a kind with a key.
pub(super) struct Operation {
    /// The kind, as requests have it.
    words: &'static str,
    key: Names,
    succeeded: AtomicU64,
    failed: Outcomes,
    retries: [AtomicU64; Again::ALL.len()],
    throttled: AtomicU64,
    durations: Histogram,
}

/// Tokens for a service.
pub(super) struct Token {
    audience: String,
    outcomes: Outcomes,
    /// When the last one expires, in seconds since 1970; 0: nobody knows.
    expires: AtomicU64,
}

/// Connections to a host.
pub(super) struct Host {
    endpoint: String,
    opened: AtomicU64,
    open: AtomicUsize,
}

/// What a request's key is called.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Names {
    hsm: String,
    key: String,
    version: String,
}

impl Names {
    /// Of a URI: `managedhsm:<HSM>[:<key>[?version=<version>]]`.
    fn of(uri: &str) -> Self {
        let (name, version) = uri.split_once("?version=").unwrap_or((uri, ""));
        let (hsm, key) = match name.split_once(':') {
            Some((scheme, rest)) => {
                let (vault, key) = rest.split_once(':').unwrap_or((rest, ""));
                match scheme {
                    "managedhsm" => (vault.to_owned(), key),
                    _ => (format!("{scheme}:{vault}"), key),
                }
            }
            None => (name.to_owned(), ""),
        };
        Self {
            hsm,
            key: key.to_owned(),
            version: version.to_owned(),
        }
    }

    /// Of all keys beyond those that are told apart. No HSM's name is empty.
    fn of_others() -> Self {
        Self {
            hsm: String::new(),
            key: OTHER.to_owned(),
            version: String::new(),
        }
    }
}

/// The name of an operation for programs, by its words: "unwrap a key with" is `unwrap_key`.
fn name(words: &str) -> String {
    let left_out = ["a", "an", "the", "with", "of", "from", "to"];
    let kept = words.split(' ').filter(|word| !left_out.contains(word));
    kept.collect::<Vec<_>>().join("_").to_lowercase()
}

impl Registry {
    pub(super) fn new() -> Self {
        Self {
            process: ProcessId::current(),
            started: SystemTime::now(),
            operations: ArcSwap::default(),
            tokens: List::default(),
            hosts: List::default(),
            is_reported: AtomicBool::new(false),
            #[cfg(unix)]
            reporter: ArcSwapOption::empty(),
            #[cfg(unix)]
            listener: ArcSwapOption::empty(),
        }
    }

    /// Operations of a kind with a key.
    pub(super) fn operation(&self, key: &str, words: &'static str) -> Arc<Operation> {
        let find = |all: &BTreeMap<Arc<str>, Vec<Arc<Operation>>>, key: &str| {
            let kinds = all.get(key)?.iter();
            kinds.clone().find(|kind| kind.words == words).cloned()
        };
        if let Some(found) = find(&self.operations.load(), key) {
            return found;
        }
        // A key that is told apart stays so. No key's name is empty.
        let is_told = |all: &BTreeMap<_, _>| all.contains_key(key) || all.len() < MOST_KEYS;
        let key = if is_told(&self.operations.load()) {
            key
        } else {
            ""
        };
        if let Some(found) = find(&self.operations.load(), key) {
            return found;
        }
        self.operations.rcu(|all| {
            let mut more = BTreeMap::clone(all);
            if find(&more, key).is_none() {
                let names = match key {
                    "" => Names::of_others(),
                    key => Names::of(key),
                };
                let kinds = more.entry(key.into()).or_default();
                kinds.push(Arc::new(Operation::new(words, names)));
            }
            more
        });
        let found = find(&self.operations.load(), key);
        found.unwrap_or_else(|| Arc::new(Operation::new(words, Names::of_others())))
    }

    pub(super) fn token(&self, audience: &str) -> Arc<Token> {
        let make = |audience: &str| Token {
            audience: audience.to_owned(),
            outcomes: Outcomes::default(),
            expires: AtomicU64::new(0),
        };
        self.tokens
            .find_or_add(MOST_PLACES, audience, |token| &token.audience, make)
    }

    pub(super) fn host(&self, endpoint: &str) -> Arc<Host> {
        let make = |endpoint: &str| Host {
            endpoint: endpoint.to_owned(),
            opened: AtomicU64::new(0),
            open: AtomicUsize::new(0),
        };
        self.hosts
            .find_or_add(MOST_PLACES, endpoint, |host| &host.endpoint, make)
    }

    /// What has been counted so far.
    pub(super) fn snapshot(&self, front_end: &str, version: &str, program: &str) -> Snapshot {
        let since_1970 = self.started.duration_since(SystemTime::UNIX_EPOCH);
        let operations = self.operations.load();
        let kinds = operations.values().flatten();
        Snapshot {
            front_end: ForeignText::new(front_end),
            version: ForeignText::new(version),
            pid: std::process::id(),
            program: ForeignText::new(program),
            // A millisecond is enough, and has no end of digits.
            started: since_1970.unwrap_or_default().as_millis() as f64 / 1e3,
            bounds: bounds().collect(),
            operations: kinds.map(|kind| kind.snapshot()).collect(),
            tokens: self
                .tokens
                .0
                .load()
                .iter()
                .map(|it| it.snapshot())
                .collect(),
            connections: self.hosts.0.load().iter().map(|it| it.snapshot()).collect(),
        }
    }
}

impl Operation {
    fn new(words: &'static str, key: Names) -> Self {
        Self {
            words,
            key,
            succeeded: AtomicU64::new(0),
            failed: Outcomes::default(),
            retries: Default::default(),
            throttled: AtomicU64::new(0),
            durations: Histogram::default(),
        }
    }

    /// One has ended; `failure`: by which code.
    pub(super) fn ended(&self, took: Duration, failure: Option<String>) {
        self.durations.count(took);
        match failure {
            None => _ = self.succeeded.fetch_add(1, Ordering::Relaxed),
            Some(code) => self.failed.count(&code),
        }
    }

    pub(super) fn sent_again(&self, why: Again) {
        let place = Again::ALL.iter().position(|known| *known == why);
        if let Some(place) = place {
            self.retries[place].fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn throttled(&self) {
        self.throttled.fetch_add(1, Ordering::Relaxed);
    }

    fn snapshot(&self) -> snapshot::Operations {
        let (durations, seconds) = self.durations.read();
        let mut outcomes = self.failed.read();
        let succeeded = self.succeeded.load(Ordering::Relaxed);
        outcomes.insert(0, count(OK, succeeded));
        let retries = Again::ALL.iter().zip(&self.retries);
        let retries = retries.map(|(why, many)| count(&why.name(), many.load(Ordering::Relaxed)));
        snapshot::Operations {
            hsm: ForeignText::new(&self.key.hsm),
            key: ForeignText::new(&self.key.key),
            version: ForeignText::new(&self.key.version),
            operation: ForeignText::new(name(self.words)),
            outcomes,
            retries: retries.filter(|count| count.count > 0).collect(),
            throttled: self.throttled.load(Ordering::Relaxed),
            durations,
            seconds,
        }
    }
}

impl Token {
    /// An attempt to get one has ended: it expires at a time, if that is known, or there is none.
    pub(super) fn fetched(&self, outcome: Result<Option<SystemTime>, String>) {
        match outcome {
            Err(code) => self.outcomes.count(&code),
            Ok(expires) => {
                self.outcomes.count(OK);
                let at = expires.and_then(|at| at.duration_since(SystemTime::UNIX_EPOCH).ok());
                let at = at.map_or(0, |at| at.as_secs());
                self.expires.store(at, Ordering::Relaxed);
            }
        }
    }

    fn snapshot(&self) -> snapshot::Tokens {
        snapshot::Tokens {
            audience: ForeignText::new(&self.audience),
            renewals: self.outcomes.read(),
            expires: Some(self.expires.load(Ordering::Relaxed)).filter(|at| *at > 0),
        }
    }
}

impl Host {
    fn snapshot(&self) -> snapshot::Connections {
        snapshot::Connections {
            endpoint: ForeignText::new(&self.endpoint),
            opened: self.opened.load(Ordering::Relaxed),
            open: self.open.load(Ordering::Relaxed) as u64,
        }
    }
}

/// A connection that is counted as open until this goes.
pub(crate) struct OpenConnection(Arc<Host>);

impl OpenConnection {
    pub(super) fn to(host: Arc<Host>) -> Self {
        host.opened.fetch_add(1, Ordering::Relaxed);
        host.open.fetch_add(1, Ordering::Relaxed);
        Self(host)
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A few things that are found by name. What is there stays.
struct List<T>(ArcSwap<Vec<Arc<T>>>);

impl<T> Default for List<T> {
    fn default() -> Self {
        Self(ArcSwap::default())
    }
}

impl<T> List<T> {
    /// What has the name; where there are so many already, what is called [`OTHER`].
    fn find_or_add(
        &self,
        most: usize,
        wanted: &str,
        name: impl Fn(&T) -> &String,
        make: impl Fn(&str) -> T,
    ) -> Arc<T> {
        let find = |all: &[Arc<T>], wanted: &str| {
            let mut all = all.iter();
            all.find(|one| name(one) == wanted).cloned()
        };
        let all = self.0.load();
        if let Some(found) = find(&all, wanted) {
            return found;
        }
        let wanted = if all.len() < most { wanted } else { OTHER };
        if let Some(found) = find(&all, wanted) {
            return found;
        }
        self.0.rcu(|all| {
            let mut more = Vec::clone(all);
            if find(&more, wanted).is_none() {
                more.push(Arc::new(make(wanted)));
            }
            more
        });
        find(&self.0.load(), wanted).unwrap_or_else(|| Arc::new(make(wanted)))
    }
}

/// Outcomes, each with how many there were.
#[derive(Default)]
struct Outcomes(List<(String, AtomicU64)>);

impl Outcomes {
    fn count(&self, code: &str) {
        let make = |code: &str| (code.to_owned(), AtomicU64::new(0));
        let code = visible(code, LONGEST);
        let found = self
            .0
            .find_or_add(MOST_OUTCOMES, &code, |(code, _)| code, make);
        found.1.fetch_add(1, Ordering::Relaxed);
    }

    fn read(&self) -> Vec<Count> {
        let all = self.0.0.load();
        let all = all.iter();
        all.map(|one| count(&one.0, one.1.load(Ordering::Relaxed)))
            .collect()
    }
}

fn count(of: &str, count: u64) -> Count {
    Count {
        of: ForeignText::new(of),
        count,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLISECOND: Duration = Duration::from_millis(1);

    fn read(registry: &Registry) -> Snapshot {
        registry.snapshot("akv_test", "1", "program")
    }

    fn shown(counts: &[Count]) -> Vec<(String, u64)> {
        let counts = counts.iter();
        counts.map(|it| (it.of.to_string(), it.count)).collect()
    }

    #[test]
    fn operations_are_counted_by_key_kind_and_outcome() {
        let registry = Registry::new();
        let key = "managedhsm:MyHSM:k?version=0123";
        let signing = registry.operation(key, "sign with");
        signing.ended(MILLISECOND, None);
        signing.ended(MILLISECOND, Some("Throttled".to_owned()));
        signing.ended(MILLISECOND, None);
        signing.throttled();
        signing.sent_again(Again::Status(503));
        signing.sent_again(Again::Connection);
        signing.sent_again(Again::Connection);
        assert!(Arc::ptr_eq(&signing, &registry.operation(key, "sign with")));
        registry
            .operation("keyvault:V", "list keys of")
            .ended(MILLISECOND, None);
        let all = read(&registry).operations;
        let names = |it: &snapshot::Operations| {
            [&it.hsm, &it.key, &it.version, &it.operation].map(ToString::to_string)
        };
        assert_eq!(names(&all[0]), ["keyvault:V", "", "", "list_keys"]);
        assert_eq!(names(&all[1]), ["MyHSM", "k", "0123", "sign"]);
        let signing = &all[1];
        let pairs = |all: &[(&str, u64)]| -> Vec<(String, u64)> {
            let all = all.iter();
            all.map(|(of, count)| ((*of).to_owned(), *count)).collect()
        };
        assert_eq!(
            shown(&signing.outcomes),
            pairs(&[("ok", 2), ("Throttled", 1)])
        );
        assert_eq!(
            shown(&signing.retries),
            pairs(&[("503", 1), ("connection", 2)])
        );
        assert_eq!(
            (signing.throttled, signing.total(), signing.failed()),
            (1, 3, 1)
        );
        assert_eq!(signing.durations.iter().sum::<u64>(), 3);
    }

    #[test]
    fn keys_and_outcomes_without_end_are_counted_together() {
        let registry = Registry::new();
        for number in 0..MOST_KEYS + 7 {
            let key = format!("managedhsm:MyHSM:k{number}");
            registry
                .operation(&key, "sign with")
                .ended(MILLISECOND, None);
        }
        let first = registry.operation("managedhsm:MyHSM:k0", "load key");
        for number in 0..MOST_OUTCOMES + 5 {
            first.ended(MILLISECOND, Some(format!("Code{number}")));
        }
        let all = read(&registry).operations;
        assert_eq!(all.len(), MOST_KEYS + 2);
        let others: Vec<_> = all.iter().filter(|it| it.hsm.raw().is_empty()).collect();
        assert_eq!(others.len(), 1);
        assert_eq!((others[0].key.raw(), others[0].total()), ("other", 7));
        let first = all.iter().find(|it| it.operation.raw() == "load_key");
        let first = first.unwrap();
        assert_eq!(first.outcomes.len(), MOST_OUTCOMES + 2);
        let last = first.outcomes.last().unwrap();
        assert_eq!((last.of.raw(), last.count), ("other", 5));
    }

    #[test]
    fn what_the_service_calls_an_outcome_is_made_fit_to_show() {
        let registry = Registry::new();
        let long = format!("\u{1b}[2J{}", "x".repeat(1000));
        let loading = registry.operation("managedhsm:MyHSM:k", "load key");
        loading.ended(MILLISECOND, Some(long));
        let outcome = &read(&registry).operations[0].outcomes[1];
        let name = outcome.of.to_string();
        assert!(
            name.starts_with("\\u{1b}[2Jxxx") && name.len() <= LONGEST,
            "{name}"
        );
    }

    #[test]
    fn connections_are_open_until_they_go() {
        let registry = Registry::new();
        let opened = || OpenConnection::to(registry.host("https://hsm"));
        let kept = opened();
        drop(opened());
        let host = &read(&registry).connections[0];
        assert_eq!((host.opened, host.open), (2, 1));
        drop(kept);
        assert_eq!(read(&registry).connections[0].open, 0);
    }

    #[test]
    fn the_last_token_tells_when_it_expires() {
        let registry = Registry::new();
        let tokens = registry.token("https://managedhsm.azure.net");
        tokens.fetched(Err("Timeout".to_owned()));
        assert_eq!(read(&registry).tokens[0].expires, None);
        tokens.fetched(Ok(Some(SystemTime::UNIX_EPOCH + Duration::from_secs(77))));
        let tokens = &read(&registry).tokens[0];
        assert_eq!(tokens.expires, Some(77));
        assert_eq!(snapshot::total(&tokens.renewals), 2);
    }

    #[test]
    fn the_names_of_operations_have_no_small_words() {
        for (words, expected) in [
            ("sign with", "sign"),
            (
                "unwrap a key for an environment with",
                "unwrap_key_for_environment",
            ),
            ("get random bytes from", "get_random_bytes"),
            ("load the certificate of", "load_certificate"),
        ] {
            assert_eq!(name(words), expected);
        }
    }
}
