//! What follows from an attempt to have a request answered. Nothing is done here.

use std::error::Error as StdError;
use std::io::ErrorKind::{
    BrokenPipe, ConnectionAborted, ConnectionRefused, ConnectionReset, NotConnected, UnexpectedEof,
};
use std::time::Duration;

use http::StatusCode;
use url::Url;

use crate::causes::{is_by_io, sources};
use crate::challenge::claims;
use crate::health::Down;
use crate::http::failure::Failure;
use crate::http::message::Answer;
use crate::retry_after::wanted_pause;
use crate::stream::Fault;

/// The longest random pause before the first attempt after one that failed, and before any.
const FIRST_PAUSE: Duration = Duration::from_millis(25);
const LONGEST_PAUSE: Duration = Duration::from_secs(4);

/// How often a connection that is refused is tried again: for one to two seconds in all.
const MAX_REFUSALS: u32 = 4;

/// How an attempt ended.
pub(crate) type Outcome = Result<Answer, Failure>;

/// An attempt that has ended, and what counts for the next one.
pub(crate) struct Attempt<'a> {
    pub(crate) outcome: &'a Outcome,
    /// How often the request was sent again before.
    pub(crate) retries: u32,
    /// How often it may be, by the settings.
    pub(crate) max_retries: u32,
    /// Whether doing it twice does no more than doing it once.
    pub(crate) is_repeatable: bool,
    /// Whether the token has been replaced already.
    pub(crate) is_token_replaced: bool,
    /// The time until the deadline.
    pub(crate) left: Duration,
    /// Makes the share of a random pause that is waited for, from 0 to 1.
    pub(crate) share: fn() -> f64,
}

/// Which endpoint a request would go to now.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// The one that it has.
    Same,
    /// Another one, which is healthy.
    Healthy(Url),
    /// Another one, which is not healthy either.
    Unhealthy(Url),
    /// None before another request has found out whether the outage is over.
    Wait(Down),
}

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The answer is there.
    Done,
    /// The request is sent again with another token, which has these claims, if there is one.
    Renew(Option<String>),
    /// The request is sent again after a pause, to another endpoint if there is one here.
    Again { after: Duration, at: Option<Url> },
    /// It failed for good.
    Fail,
}

/// Whether a request may be sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Repetition {
    Never,
    /// If doing it twice does no more than doing it once: it may have been done.
    IfRepeatable,
    /// It was not done, and another attempt at the same endpoint would take as long again.
    Elsewhere,
    /// It was not done.
    Always,
}

/// What is to be done after an attempt. `next` is asked only if the request may be sent again to
/// any endpoint.
pub(crate) fn judge(attempt: &Attempt<'_>, next: impl FnOnce() -> Result<Next, Down>) -> Verdict {
    if let Ok(answer) = attempt.outcome {
        match answer.status {
            // 201: a role or an assignment was made.
            StatusCode::OK | StatusCode::CREATED => return Verdict::Done,
            StatusCode::UNAUTHORIZED if !attempt.is_token_replaced => {
                return Verdict::Renew(claims(&answer.headers));
            }
            _ => {}
        }
    }
    let again = match attempt.may_be_repeated() {
        false => None,
        true if attempt.is_excused() => Some((attempt.pause(), None)),
        true => next().ok().and_then(|next| attempt.followed_by(next)),
    };
    match again.filter(|(after, _)| *after < attempt.left) {
        Some((after, at)) => Verdict::Again { after, at },
        None => Verdict::Fail,
    }
}

impl Attempt<'_> {
    /// What the attempt tells about the health of its endpoint, if anything.
    pub(crate) fn shows_health(&self) -> Option<bool> {
        match self.outcome {
            Ok(answer) => match answer.status.as_u16() {
                502..=504 => Some(false),
                // One key or one operation may be all that is broken.
                500.. => None,
                _ => Some(true),
            },
            Err(Failure::NoHttp2) => None,
            Err(_) if self.is_excused() => None,
            Err(_) => Some(false),
        }
    }

    /// Whether the connection was lost at the first attempt: a kept one that was closed meanwhile,
    /// mostly, which tells nothing about the endpoint.
    fn is_excused(&self) -> bool {
        let is_lost = matches!(self.outcome, Err(failure) if !matches!(failure, Failure::Late(_)));
        is_lost && self.retries == 0 && repetition(self.outcome) == Repetition::IfRepeatable
    }

    fn may_be_repeated(&self) -> bool {
        let may = match repetition(self.outcome) {
            Repetition::Never => false,
            Repetition::IfRepeatable => self.is_repeatable,
            Repetition::Elsewhere | Repetition::Always => true,
        };
        may && self.retries < self.max_retries
    }

    /// The pause, and the other endpoint if it is to be asked. None: the request is not sent again.
    fn followed_by(&self, next: Next) -> Option<(Duration, Option<Url>)> {
        let repetition = repetition(self.outcome);
        let other = match next {
            Next::Healthy(other) => return Some((Duration::ZERO, Some(other))),
            Next::Unhealthy(other) => Some(other),
            Next::Same | Next::Wait(_) => None,
        };
        let is_refused = repetition == Repetition::Always && self.outcome.is_err();
        match repetition {
            Repetition::Elsewhere => None,
            // Nobody listens there: long enough for a restart, and no longer, since a person may be
            // waiting.
            _ if is_refused && self.retries >= MAX_REFUSALS => None,
            _ => Some((self.pause(), other)),
        }
    }

    /// How long to wait: what the service asks for, and a random share of a limit that doubles
    /// twice each time, so that clients that were thrown back together don't come again together.
    /// Where nobody answers it is half of the limit at least; but a first failure, which mostly is
    /// of a kept connection that was closed meanwhile, costs next to nothing.
    fn pause(&self) -> Duration {
        let at_least = match self.outcome {
            Err(_) if !self.is_excused() => 0.5,
            _ => 0.0,
        };
        let limit = match self.retries {
            0 => FIRST_PAUSE,
            retries => LONGEST_PAUSE.min(FIRST_PAUSE * 4u32.saturating_pow(retries)),
        };
        let answer = self.outcome.as_ref().ok();
        let wanted = answer.and_then(|answer| wanted_pause(&answer.headers));
        wanted.unwrap_or_default() + limit.mul_f64(at_least + (1.0 - at_least) * (self.share)())
    }
}

/// Whether a request may be sent again after such an attempt.
pub(crate) fn repetition(outcome: &Outcome) -> Repetition {
    match outcome {
        Ok(answer) => match answer.status.as_u16() {
            429 => Repetition::Always,
            408 | 500 | 502 | 503 | 504 => Repetition::IfRepeatable,
            _ => Repetition::Never,
        },
        Err(failure) => after_failure(failure),
    }
}

fn after_failure(failure: &Failure) -> Repetition {
    let passing = [
        BrokenPipe,
        ConnectionAborted,
        ConnectionRefused,
        ConnectionReset,
        // Reset as soon as it was there, before it was looked at.
        NotConnected,
        UnexpectedEof,
    ];
    let error: &(dyn StdError + 'static) = match failure {
        Failure::ConnectTimeout => return Repetition::Elsewhere,
        Failure::Body(_) | Failure::Fault(Fault::Unasked) | Failure::Late(_) => {
            return Repetition::IfRepeatable;
        }
        Failure::Exchange(error) if is_lost_connection(error) => return Repetition::IfRepeatable,
        Failure::NoHttp2
        | Failure::TooLong
        | Failure::Fault(Fault::Endless)
        | Failure::Exchange(_) => return Repetition::Never,
        Failure::Connect(error) => error.as_ref(),
        Failure::Tls(error) => error,
        Failure::Unsent(error) => error,
    };
    match is_by_io(error, &passing) {
        true => Repetition::Always,
        // Whatever it is, another endpoint may not have it.
        false => Repetition::Elsewhere,
    }
}

/// Whether a connection was closed before the answer was there.
fn is_lost_connection(error: &hyper::Error) -> bool {
    let lost = [
        BrokenPipe,
        ConnectionAborted,
        ConnectionReset,
        UnexpectedEof,
    ];
    let by_http2 = |source: &(dyn StdError + 'static)| {
        let error = source.downcast_ref::<h2::Error>();
        error.is_some_and(|error| error.is_io() || error.is_go_away() || error.is_reset())
    };
    // A timeout is of HTTP/2: the server doesn't answer pings.
    error.is_incomplete_message()
        || error.is_canceled()
        || error.is_closed()
        || error.is_timeout()
        || is_by_io(error, &lost)
        || sources(error).into_iter().any(by_http2)
}

#[cfg(test)]
mod tests {
    use std::io;

    use http::HeaderMap;
    use zeroize::Zeroizing;

    use super::*;

    const MILLISECOND: Duration = Duration::from_millis(1);

    fn answer(status: u16) -> Outcome {
        Ok(Answer {
            status: StatusCode::from_u16(status).unwrap(),
            headers: HeaderMap::new(),
            body: Zeroizing::default(),
            is_http2: false,
        })
    }

    /// An answer that asks for so many seconds.
    fn wanting(status: u16, seconds: u32) -> Outcome {
        let mut answer = answer(status)?;
        let seconds = seconds.to_string().parse().unwrap();
        answer.headers.insert("retry-after", seconds);
        Ok(answer)
    }

    fn refused() -> Outcome {
        Err(Failure::connect(io::Error::from(ConnectionRefused)))
    }

    /// A connection that was lost after it had been there.
    fn lost() -> Outcome {
        Err(Failure::Fault(Fault::Unasked))
    }

    fn late() -> Outcome {
        Err(Failure::Late(Duration::from_secs(10)))
    }

    fn other() -> Url {
        "https://other.example".parse().unwrap()
    }

    /// A first attempt at something that may be done twice, with a minute left and without chance.
    fn first(outcome: &Outcome) -> Attempt<'_> {
        Attempt {
            outcome,
            retries: 0,
            max_retries: 6,
            is_repeatable: true,
            is_token_replaced: false,
            left: Duration::from_secs(60),
            share: || 1.0,
        }
    }

    fn after(milliseconds: u32) -> Verdict {
        Verdict::Again {
            after: milliseconds * MILLISECOND,
            at: None,
        }
    }

    #[test]
    fn each_status_has_its_consequence() {
        for (status, repeatable, once_only) in [
            (200, Verdict::Done, Verdict::Done),
            (201, Verdict::Done, Verdict::Done),
            (302, Verdict::Fail, Verdict::Fail),
            (400, Verdict::Fail, Verdict::Fail),
            (401, Verdict::Renew(None), Verdict::Renew(None)),
            (403, Verdict::Fail, Verdict::Fail),
            (404, Verdict::Fail, Verdict::Fail),
            (409, Verdict::Fail, Verdict::Fail),
            (408, after(25), Verdict::Fail),
            (429, after(25), after(25)),
            (500, after(25), Verdict::Fail),
            (501, Verdict::Fail, Verdict::Fail),
            (502, after(25), Verdict::Fail),
            (503, after(25), Verdict::Fail),
            (504, after(25), Verdict::Fail),
        ] {
            let outcome = answer(status);
            let judged = |is_repeatable| {
                let attempt = Attempt {
                    is_repeatable,
                    ..first(&outcome)
                };
                judge(&attempt, || Ok(Next::Same))
            };
            assert_eq!(judged(true), repeatable, "{status}");
            assert_eq!(judged(false), once_only, "{status}");
        }
    }

    #[test]
    fn each_failure_has_its_consequence() {
        let unreachable = || Err(Failure::connect("no route"));
        let reset = || Err(Failure::connect(io::Error::from(NotConnected)));
        let elsewhere = || Verdict::Again {
            after: Duration::ZERO,
            at: Some(other()),
        };
        for (outcome, repeatable, once_only, with_another_endpoint) in [
            (refused(), after(25), after(25), elsewhere()),
            (reset(), after(25), after(25), elsewhere()),
            (unreachable(), Verdict::Fail, Verdict::Fail, elsewhere()),
            (
                Err(Failure::ConnectTimeout),
                Verdict::Fail,
                Verdict::Fail,
                elsewhere(),
            ),
            (
                Err(Failure::Tls(UnexpectedEof.into())),
                after(25),
                after(25),
                elsewhere(),
            ),
            (
                Err(Failure::Tls(io::Error::other("bad certificate"))),
                Verdict::Fail,
                Verdict::Fail,
                elsewhere(),
            ),
            (late(), after(25), Verdict::Fail, elsewhere()),
            // It tells nothing about its endpoint, which is asked once more.
            (lost(), after(25), Verdict::Fail, after(25)),
            (
                Err(Failure::Fault(Fault::Endless)),
                Verdict::Fail,
                Verdict::Fail,
                Verdict::Fail,
            ),
            (
                Err(Failure::TooLong),
                Verdict::Fail,
                Verdict::Fail,
                Verdict::Fail,
            ),
            (
                Err(Failure::NoHttp2),
                Verdict::Fail,
                Verdict::Fail,
                Verdict::Fail,
            ),
        ] {
            let attempt = first(&outcome);
            let failure = format!("{:?}", outcome.as_ref().err());
            let judged = judge(&attempt, || Ok(Next::Same));
            assert_eq!(judged, repeatable, "{failure}");
            let judged = judge(&attempt, || Ok(Next::Healthy(other())));
            assert_eq!(judged, with_another_endpoint, "{failure}");
            let attempt = Attempt {
                is_repeatable: false,
                ..attempt
            };
            let judged = judge(&attempt, || Ok(Next::Same));
            assert_eq!(judged, once_only, "{failure}");
        }
    }

    #[test]
    fn tries_come_to_an_end() {
        for (outcome, retries, is_last) in [
            (answer(503), 5, false),
            (answer(503), 6, true),
            (late(), 5, false),
            (late(), 6, true),
            (lost(), 6, true),
            (refused(), MAX_REFUSALS - 1, false),
            (refused(), MAX_REFUSALS, true),
        ] {
            let attempt = Attempt {
                retries,
                ..first(&outcome)
            };
            let judged = judge(&attempt, || Ok(Next::Same));
            assert_eq!(judged == Verdict::Fail, is_last, "{retries}: {judged:?}");
        }
        // Another endpoint may not refuse.
        let outcome = refused();
        let attempt = Attempt {
            retries: MAX_REFUSALS,
            ..first(&outcome)
        };
        let judged = judge(&attempt, || Ok(Next::Healthy(other())));
        assert_ne!(judged, Verdict::Fail);
    }

    #[test]
    fn what_the_deadline_leaves_no_time_for_is_not_tried() {
        for (outcome, left, expected) in [
            (answer(503), 26, after(25)),
            (answer(503), 25, Verdict::Fail),
            (wanting(429, 7), 7_026, after(7_025)),
            (wanting(429, 7), 7_025, Verdict::Fail),
            (refused(), 25, Verdict::Fail),
            (lost(), 25, Verdict::Fail),
        ] {
            let attempt = Attempt {
                left: left * MILLISECOND,
                ..first(&outcome)
            };
            assert_eq!(judge(&attempt, || Ok(Next::Same)), expected, "{left}");
        }
    }

    #[test]
    fn another_endpoint_is_asked_at_once_if_it_is_healthy_and_after_a_pause_if_not() {
        let outcome = wanting(503, 7);
        let down = Down {
            lasts: Duration::from_secs(6),
            problem: "silence".to_owned(),
        };
        let at = |milliseconds: u32, at| Verdict::Again {
            after: milliseconds * MILLISECOND,
            at,
        };
        for (next, expected) in [
            (Ok(Next::Same), at(7_025, None)),
            (Ok(Next::Healthy(other())), at(0, Some(other()))),
            (Ok(Next::Unhealthy(other())), at(7_025, Some(other()))),
            (Ok(Next::Wait(down.clone())), at(7_025, None)),
            (Err(down), Verdict::Fail),
        ] {
            assert_eq!(judge(&first(&outcome), || next), expected);
        }
    }

    #[test]
    fn a_token_is_replaced_once_and_has_the_claims_that_are_wanted() {
        let mut outcome = answer(401);
        let replaced = Attempt {
            is_token_replaced: true,
            ..first(&outcome)
        };
        assert_eq!(judge(&replaced, || Ok(Next::Same)), Verdict::Fail);
        if let Ok(answer) = &mut outcome {
            let wanted = r#"Bearer error="insufficient_claims", claims="e30=""#;
            let wanted = wanted.parse().unwrap();
            answer.headers.insert("www-authenticate", wanted);
        }
        let judged = judge(&first(&outcome), || Ok(Next::Same));
        assert_eq!(judged, Verdict::Renew(Some("{}".to_owned())));
    }

    #[test]
    fn the_health_of_an_endpoint_is_shown_by_what_it_does_itself() {
        for (outcome, retries, expected) in [
            (answer(200), 0, Some(true)),
            (answer(401), 0, Some(true)),
            (answer(429), 0, Some(true)),
            (answer(500), 0, None),
            (answer(501), 0, None),
            (answer(502), 0, Some(false)),
            (answer(503), 0, Some(false)),
            (answer(504), 0, Some(false)),
            (refused(), 0, Some(false)),
            (late(), 0, Some(false)),
            (lost(), 0, None),
            (lost(), 1, Some(false)),
            (Err(Failure::NoHttp2), 0, None),
        ] {
            let attempt = Attempt {
                retries,
                ..first(&outcome)
            };
            assert_eq!(attempt.shows_health(), expected, "{retries}");
        }
    }

    #[test]
    fn pauses_are_random_and_grow_to_a_limit_beyond_what_the_service_wants() {
        let pause = |outcome: &Outcome, retries, share: fn() -> f64| {
            let attempt = Attempt {
                retries,
                share,
                ..first(outcome)
            };
            attempt.pause()
        };
        for (retries, limit) in [
            (0, 25),
            (1, 100),
            (2, 400),
            (3, 1600),
            (4, 4000),
            (40, 4000),
        ] {
            let limit = limit * MILLISECOND;
            assert_eq!(pause(&answer(503), retries, || 0.0), Duration::ZERO);
            assert_eq!(pause(&answer(503), retries, || 0.5), limit / 2);
            assert_eq!(pause(&answer(503), retries, || 1.0), limit);
            let wanted = Duration::from_secs(7);
            assert_eq!(pause(&wanting(503, 7), retries, || 1.0), wanted + limit);
            assert_eq!(pause(&refused(), retries, || 0.0), limit / 2);
            assert_eq!(pause(&refused(), retries, || 1.0), limit);
        }
        assert_eq!(pause(&lost(), 0, || 0.0), Duration::ZERO);
        // For a restart one has to wait.
        let least = (0..MAX_REFUSALS).map(|retries| pause(&refused(), retries, || 0.0));
        assert!(least.sum::<Duration>() >= Duration::from_secs(1));
    }
}
