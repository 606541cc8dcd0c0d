//! Which endpoint of a vault is asked, and whether any is: the first that is healthy, while the
//! others are probed from time to time. While none is healthy, and has not been for a while, one
//! request finds out whether that is still so, those that come meanwhile wait for it briefly, and
//! all others are told at once.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use url::{Origin, Url};

/// For how long an endpoint that doesn't answer is tried by every request: a restart takes less.
const OUTAGE: Duration = Duration::from_secs(5);
/// How often one request tries whether an outage is over.
const PROBE: Duration = Duration::from_secs(1);
/// How often, at the least, an endpoint that is not healthy is tried while another one is: from
/// once a second on, ever more rarely.
const RAREST_PROBE: Duration = Duration::from_secs(30);

/// Endpoints that are not healthy.
#[derive(Default)]
pub(crate) struct Health {
    /// Whether there are any: all that most requests look at.
    is_any_unhealthy: AtomicBool,
    unhealthy: Mutex<Vec<Unhealthy>>,
}

struct Unhealthy {
    origin: Origin,
    /// Of the first failure after the last success.
    since: Instant,
    /// What failed last.
    problem: String,
    /// When a request to it failed last, or was sent to find out.
    tried: Instant,
    /// Whether nobody knows yet how that request ended.
    is_probed: bool,
    /// How long after that one the next is sent while another endpoint is healthy.
    interval: Duration,
}

impl Unhealthy {
    fn probe(&mut self, now: Instant) {
        self.tried = now;
        self.is_probed = true;
    }
}

/// Whom to ask.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Choice<'a> {
    /// This endpoint, which is healthy as far as anybody knows.
    Healthy(&'a Url),
    /// This one, though it is not healthy.
    Unhealthy(&'a Url),
    /// Another request is about to find out; else nobody.
    Wait(Down),
}

/// Nobody is to be asked now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Down {
    /// For how long no endpoint has been healthy.
    pub(crate) lasts: Duration,
    /// What failed last at the one that was healthy last.
    pub(crate) problem: String,
}

impl Health {
    /// Whether every endpoint is healthy, as far as anybody knows.
    pub(crate) fn is_all_healthy(&self) -> bool {
        !self.is_any_unhealthy.load(Ordering::Relaxed)
    }

    /// Whether an endpoint is healthy, as far as anybody knows.
    pub(crate) fn is_known_healthy(&self, endpoint: &Url) -> bool {
        let origin = endpoint.origin();
        self.is_all_healthy()
            || self
                .lock()
                .iter()
                .all(|unhealthy| unhealthy.origin != origin)
    }

    /// Chooses among endpoints, which stand in order of preference; the only one if there are none.
    /// `failed` has just failed.
    pub(crate) fn choose<'a>(
        &self,
        endpoints: &[&'a Url],
        only: &'a Url,
        failed: Option<&Url>,
        now: Instant,
    ) -> Result<Choice<'a>, Down> {
        let endpoints = match endpoints.is_empty() {
            true => &[only],
            false => endpoints,
        };
        let mut unhealthy = self.lock();
        let state = |endpoint: &&Url| {
            let origin = endpoint.origin();
            unhealthy
                .iter()
                .position(|unhealthy| unhealthy.origin == origin)
        };
        let states: Vec<Option<usize>> = endpoints.iter().map(state).collect();
        let healthy = states.iter().position(Option::is_none);
        let states = states.into_iter().flatten();
        let known: Vec<(&Url, usize)> = endpoints.iter().copied().zip(states).collect();
        let Some(healthy) = healthy else {
            return among_unhealthy(&mut unhealthy, &known, only, failed, now);
        };
        // Those before it are preferred.
        let due = known.iter().take(healthy).find(|(_, state)| {
            let state = &unhealthy[*state];
            now.duration_since(state.tried) >= state.interval
        });
        let Some((endpoint, state)) = due else {
            return Ok(Choice::Healthy(endpoints[healthy]));
        };
        let state = &mut unhealthy[*state];
        state.interval = (state.interval * 2).min(RAREST_PROBE);
        state.probe(now);
        Ok(Choice::Unhealthy(endpoint))
    }

    /// Notes that an endpoint answered.
    pub(crate) fn note_healthy(&self, endpoint: &Url) {
        if self.is_any_unhealthy.load(Ordering::Relaxed) {
            let origin = endpoint.origin();
            let mut unhealthy = self.lock();
            if unhealthy.iter().any(|unhealthy| unhealthy.origin == origin) {
                log::info!("{} answers again", origin.ascii_serialization());
            }
            unhealthy.retain(|unhealthy| unhealthy.origin != origin);
            self.is_any_unhealthy
                .store(!unhealthy.is_empty(), Ordering::Relaxed);
        }
    }

    /// Notes that an endpoint did not answer, or said that it is not healthy.
    pub(crate) fn note_unhealthy(&self, endpoint: &Url, problem: String, now: Instant) {
        let origin = endpoint.origin();
        let mut unhealthy = self.lock();
        if let Some(known) = unhealthy
            .iter_mut()
            .find(|unhealthy| unhealthy.origin == origin)
        {
            known.problem = problem;
            known.tried = now;
            known.is_probed = false;
            return;
        }
        log::warn!("{} is not healthy: {problem}", origin.ascii_serialization());
        unhealthy.push(Unhealthy {
            origin,
            since: now,
            problem,
            tried: now,
            is_probed: false,
            interval: PROBE,
        });
        self.is_any_unhealthy.store(true, Ordering::Relaxed);
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Unhealthy>> {
        self.unhealthy
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Chooses among `known` endpoints, none of which is healthy. With each comes where its state is.
fn among_unhealthy<'a>(
    states: &mut [Unhealthy],
    known: &[(&'a Url, usize)],
    only: &'a Url,
    failed: Option<&Url>,
    now: Instant,
) -> Result<Choice<'a>, Down> {
    let age = |states: &[Unhealthy], state: usize| now.duration_since(states[state].tried);
    // Nobody has looked for a while: that it was so then doesn't make it an outage now.
    if known.iter().all(|(_, state)| age(states, *state) > OUTAGE) {
        for (_, state) in known {
            states[*state].since = now;
        }
    }
    let latest = known.iter().max_by_key(|(_, state)| states[*state].since);
    let Some((last, latest)) = latest else {
        return Ok(Choice::Healthy(only));
    };
    let lasts = now.duration_since(states[*latest].since);
    if lasts < OUTAGE {
        // Whoever has just failed tries the next one, in a circle; others the one that was healthy
        // last.
        let next = failed.and_then(|failed| {
            let is_it = |(known, _): &(&Url, usize)| known.origin() == failed.origin();
            let at = known.iter().position(is_it)?;
            known.get((at + 1) % known.len())
        });
        return Ok(Choice::Unhealthy(next.map_or(last, |(next, _)| next)));
    }
    let down = Down {
        lasts,
        problem: states[*latest].problem.clone(),
    };
    if failed.is_some() {
        return Err(down);
    }
    let is_probed =
        |(_, state): &(&Url, usize)| states[*state].is_probed && age(states, *state) < PROBE;
    if known.iter().any(is_probed) {
        return Ok(Choice::Wait(down));
    }
    match known.iter().max_by_key(|(_, state)| age(states, *state)) {
        Some((endpoint, state)) if age(states, *state) >= PROBE => {
            states[*state].probe(now);
            Ok(Choice::Unhealthy(endpoint))
        }
        _ => Err(down),
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
            Ok(Choice::Healthy(endpoint) | Choice::Unhealthy(endpoint)) => {
                endpoint.host_str().unwrap().to_owned()
            }
            Ok(Choice::Wait(_)) => "wait".to_owned(),
            Err(down) => format!("{} {}", down.lasts.as_millis(), down.problem),
        }
    }

    fn note_unhealthy(health: &Health, endpoint: &Url, start: Instant, milliseconds: u64) {
        let now = start + Duration::from_millis(milliseconds);
        health.note_unhealthy(endpoint, "silence".to_owned(), now);
    }

    #[test]
    fn the_first_endpoint_that_is_well_is_asked_and_the_others_are_probed() {
        let (one, two) = (url("https://one"), url("https://two"));
        let (health, start) = (Health::default(), Instant::now());
        assert!(health.is_all_healthy());
        note_unhealthy(&health, &one, start, 0);
        // One request after a second, then each time after twice as long.
        for (at, expected) in [
            (10, "two"),
            (1_000, "one"),
            (1_010, "two"),
            (2_010, "two"),
            (3_010, "one"),
            (6_900, "two"),
        ] {
            assert_eq!(chosen(&health, &[&one, &two], start, at), expected, "{at}");
        }
        health.note_healthy(&one);
        assert!(health.is_all_healthy());
        assert_eq!(chosen(&health, &[&one, &two], start, 7_000), "one");
    }

    #[test]
    fn an_outage_is_told_at_once_after_a_while_and_ends_with_an_answer() {
        let only = url("https://only.example");
        let (health, start) = (Health::default(), Instant::now());
        for at in [0, 100, 900, 1_500, 4_900] {
            note_unhealthy(&health, &only, start, at);
            assert_eq!(chosen(&health, &[], start, at), "only.example");
        }
        // Less than a second after a failure nobody is sent there.
        assert_eq!(chosen(&health, &[], start, 5_100), "5100 silence");
        // Each second one request finds out, and the others wait for it.
        for second in [6, 8, 10, 14] {
            let at = second * 1_000;
            assert_eq!(chosen(&health, &[], start, at), "only.example", "{at}");
            assert_eq!(chosen(&health, &[], start, at + 10), "wait", "{at}");
            note_unhealthy(&health, &only, start, at + 20);
            let told = format!("{} silence", at + 30);
            assert_eq!(chosen(&health, &[], start, at + 30), told);
            let failed = health.choose(&[], &only, Some(&only), start + Duration::from_millis(at));
            assert!(failed.is_err());
        }
        // Also where the one who was to find out has been given up.
        for at in [16_000, 17_000] {
            assert_eq!(chosen(&health, &[], start, at), "only.example", "{at}");
        }
        assert_eq!(chosen(&health, &[], start, 17_010), "wait");
        health.note_healthy(&only);
        for at in [17_020, 17_020] {
            assert_eq!(chosen(&health, &[], start, at), "only.example");
        }
    }

    #[test]
    fn what_nobody_has_looked_at_for_a_while_is_no_outage() {
        let only = url("https://only.example");
        let (health, start) = (Health::default(), Instant::now());
        for at in [0, 6_000] {
            note_unhealthy(&health, &only, start, at);
        }
        assert_eq!(chosen(&health, &[], start, 6_100), "6100 silence");
        // Everybody may ask again, for as long as at first.
        for at in [60_000, 60_010, 64_900] {
            assert_eq!(chosen(&health, &[], start, at), "only.example", "{at}");
            note_unhealthy(&health, &only, start, at);
        }
        assert_eq!(chosen(&health, &[], start, 65_100), "5100 silence");
    }

    #[test]
    fn the_endpoint_that_was_tried_longest_ago_is_probed_in_an_outage_of_all() {
        let (one, two) = (url("https://one"), url("https://two"));
        let (health, start) = (Health::default(), Instant::now());
        for at in [0, 3_000] {
            note_unhealthy(&health, &one, start, at);
            note_unhealthy(&health, &two, start, at + 500);
        }
        assert_eq!(chosen(&health, &[&one, &two], start, 6_000), "one");
        assert_eq!(chosen(&health, &[&one, &two], start, 6_010), "wait");
        note_unhealthy(&health, &one, start, 6_020);
        assert_eq!(chosen(&health, &[&one, &two], start, 6_030), "two");
        health.note_healthy(&two);
        assert_eq!(chosen(&health, &[&one, &two], start, 6_040), "two");
    }

    #[test]
    fn where_none_is_well_the_one_that_was_well_last_is_asked() {
        let (one, two) = (url("https://one"), url("https://two"));
        let (health, start) = (Health::default(), Instant::now());
        note_unhealthy(&health, &one, start, 0);
        note_unhealthy(&health, &two, start, 500);
        assert_eq!(chosen(&health, &[&one, &two], start, 600), "two");
        assert_eq!(chosen(&health, &[&two, &one], start, 600), "two");
        // Unless it has failed just now.
        let now = start + Duration::from_millis(600);
        for (failed, next) in [(&one, &two), (&two, &one)] {
            let choice = health.choose(&[&one, &two], &one, Some(failed), now);
            assert_eq!(choice, Ok(Choice::Unhealthy(next)));
        }
    }
}
