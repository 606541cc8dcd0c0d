//! Which endpoint of a vault is asked, and whether any is: the first that is well; while none is, each is tried again from
//! time to time; and an outage that lasts is told at once rather than after each request's own attempts.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use url::{Origin, Url};

/// For how long an endpoint that doesn't answer is tried by every request: a restart takes less.
const OUTAGE: Duration = Duration::from_secs(5);
/// How often an endpoint that is not well is tried by one request, for whoever has another endpoint or would be told at once.
const FIRST_PROBE: Duration = Duration::from_secs(1);
const LAST_PROBE: Duration = Duration::from_secs(30);

/// Endpoints that are not well.
#[derive(Default)]
pub(crate) struct Health {
    /// Whether there are any: all that most requests look at.
    is_any_ill: AtomicBool,
    ill: Mutex<Vec<Ill>>,
}

struct Ill {
    origin: Origin,
    /// Of the first failure after the last success.
    since: Instant,
    /// What failed last.
    problem: String,
    next_probe: Instant,
    interval: Duration,
}

/// Nobody is to be asked now.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Down {
    /// For how long no endpoint has been well.
    pub(crate) lasts: Duration,
    /// What failed last at the one that was well last.
    pub(crate) problem: String,
}

impl Health {
    /// Whether every endpoint is well, as far as anybody knows.
    pub(crate) fn is_all_well(&self) -> bool {
        !self.is_any_ill.load(Ordering::Relaxed)
    }

    /// Chooses among endpoints, which stand in order of preference; the only one if there are none. `failed` has just failed.
    /// The choice comes with whether it is well, as far as anybody knows.
    pub(crate) fn choose<'a>(
        &self,
        endpoints: &[&'a Url],
        only: &'a Url,
        failed: Option<&Url>,
        now: Instant,
    ) -> Result<(&'a Url, bool), Down> {
        let endpoints = match endpoints.is_empty() {
            true => &[only],
            false => endpoints,
        };
        let mut ill = self.lock();
        for endpoint in endpoints {
            let origin = endpoint.origin();
            match ill.iter_mut().find(|ill| ill.origin == origin) {
                None => return Ok((endpoint, true)),
                Some(due) if due.next_probe <= now => {
                    due.next_probe = now + due.interval;
                    due.interval = (due.interval * 2).min(LAST_PROBE);
                    return Ok((endpoint, false));
                }
                Some(_) => {}
            }
        }
        let state = |endpoint: &&'a Url| {
            let origin = endpoint.origin();
            ill.iter().find(|ill| ill.origin == origin)
        };
        let known = endpoints
            .iter()
            .filter_map(|endpoint| Some((*endpoint, state(endpoint)?)));
        let Some((last, ill)) = known.max_by_key(|(_, ill)| ill.since) else {
            return Ok((only, true));
        };
        let lasts = now.duration_since(ill.since);
        if lasts >= OUTAGE {
            return Err(Down {
                lasts,
                problem: ill.problem.clone(),
            });
        }
        // Whoever has just failed tries the next one, in a circle; others the one that was well last.
        let next = failed.and_then(|failed| {
            let at = endpoints
                .iter()
                .position(|endpoint| endpoint.origin() == failed.origin())?;
            endpoints.get((at + 1) % endpoints.len())
        });
        Ok((next.copied().unwrap_or(last), false))
    }

    /// Notes that an endpoint answered.
    pub(crate) fn is_well(&self, endpoint: &Url) {
        if self.is_any_ill.load(Ordering::Relaxed) {
            let origin = endpoint.origin();
            let mut ill = self.lock();
            if ill.iter().any(|ill| ill.origin == origin) {
                log::info!("{} answers again", origin.ascii_serialization());
            }
            ill.retain(|ill| ill.origin != origin);
            self.is_any_ill.store(!ill.is_empty(), Ordering::Relaxed);
        }
    }

    /// Notes that an endpoint did not answer, or said that it is not well.
    pub(crate) fn is_ill(&self, endpoint: &Url, problem: String, now: Instant) {
        let origin = endpoint.origin();
        let mut ill = self.lock();
        if let Some(known) = ill.iter_mut().find(|ill| ill.origin == origin) {
            known.problem = problem;
            return;
        }
        log::warn!("{} is not well: {problem}", origin.ascii_serialization());
        ill.push(Ill {
            origin,
            since: now,
            problem,
            next_probe: now + FIRST_PROBE,
            interval: FIRST_PROBE,
        });
        self.is_any_ill.store(true, Ordering::Relaxed);
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Ill>> {
        self.ill.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        text.parse().unwrap()
    }

    /// What is chosen so many milliseconds after the start, by its host.
    fn chosen(health: &Health, endpoints: &[&Url], start: Instant, milliseconds: u64) -> String {
        let now = start + Duration::from_millis(milliseconds);
        let only = url("https://only.example");
        match health.choose(endpoints, &only, None, now) {
            Ok((endpoint, _)) => endpoint.host_str().unwrap().to_owned(),
            Err(down) => format!("{} {}", down.lasts.as_millis(), down.problem),
        }
    }

    fn is_ill(health: &Health, endpoint: &Url, start: Instant, milliseconds: u64) {
        let now = start + Duration::from_millis(milliseconds);
        health.is_ill(endpoint, "silence".to_owned(), now);
    }

    #[test]
    fn the_first_endpoint_that_is_well_is_asked_and_the_others_are_probed() {
        let (one, two) = (url("https://one"), url("https://two"));
        let (health, start) = (Health::default(), Instant::now());
        assert!(health.is_all_well());
        is_ill(&health, &one, start, 0);
        // One request after a second, the next one as long after that, then twice as long.
        for (at, expected) in [
            (10, "two"),
            (1_000, "one"),
            (1_010, "two"),
            (2_010, "one"),
            (3_900, "two"),
        ] {
            assert_eq!(chosen(&health, &[&one, &two], start, at), expected, "{at}");
        }
        health.is_well(&one);
        assert!(health.is_all_well());
        assert_eq!(chosen(&health, &[&one, &two], start, 4_000), "one");
    }

    #[test]
    fn an_outage_is_told_at_once_after_a_while_and_ends_with_an_answer() {
        let only = url("https://only.example");
        let (health, start) = (Health::default(), Instant::now());
        for at in [0, 100, 900, 1_500, 4_900] {
            is_ill(&health, &only, start, at);
            assert_eq!(chosen(&health, &[], start, at), "only.example");
        }
        assert_eq!(chosen(&health, &[], start, 5_100), "5100 silence");
        // From time to time one request finds out.
        let probes = (5_200..120_000).step_by(100);
        let probes = probes.filter(|at| chosen(&health, &[], start, *at) == "only.example");
        let probes = probes.count();
        assert!((4..=7).contains(&probes), "{probes}");
        health.is_well(&only);
        assert_eq!(chosen(&health, &[], start, 120_000), "only.example");
    }

    #[test]
    fn where_none_is_well_the_one_that_was_well_last_is_asked() {
        let (one, two) = (url("https://one"), url("https://two"));
        let (health, start) = (Health::default(), Instant::now());
        is_ill(&health, &one, start, 0);
        is_ill(&health, &two, start, 500);
        assert_eq!(chosen(&health, &[&one, &two], start, 600), "two");
        assert_eq!(chosen(&health, &[&two, &one], start, 600), "two");
        // Unless it has failed just now.
        let now = start + Duration::from_millis(600);
        for (failed, next) in [(&one, &two), (&two, &one)] {
            let choice = health.choose(&[&one, &two], &one, Some(failed), now);
            assert_eq!(choice, Ok((next, false)));
        }
    }
}
