//! One request: its token, its attempts, its answer or its error.

use std::borrow::Cow;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use http::{HeaderValue, StatusCode};
use rustls::ClientConfig;
use url::Url;

use crate::cloud::{Cloud, Service};
use crate::credential::chain::Chain;
use crate::credential::kind::CredentialKind;
use crate::ending::fill_randomly;
use crate::error::Error;
use crate::event_loop;
use crate::health::{Choice, Down, Health};
use crate::hedging::Hedging;
use crate::http::exchange::Http;
use crate::http::failure::Failure;
use crate::http::message::{Answer, Message};
use crate::judgement::{Attempt, Next, Outcome, Repetition, Verdict, judge, repetition};
use crate::metrics::{self, Again};
use crate::pool::Pool;
use crate::refusal::refused;
use crate::request::Request;
use crate::settings::client::Settings;
use crate::token::AccessToken;
use crate::tokens::{Held, Tokens};
use crate::uri::Vault;

/// How long a request waits, during an outage, for another one that is about to find out whether it
/// is over; and how often it looks.
const PATIENCE: Duration = Duration::from_millis(500);
const LOOK: Duration = Duration::from_millis(10);

/// How requests are sent, and the tokens for them.
pub(crate) struct Transport {
    settings: Settings,
    chain: Arc<Chain>,
    /// Those of each service and cloud that was asked: one or two.
    tokens: Mutex<Vec<(Service, Cloud, Arc<Tokens>)>>,
    health: Health,
    /// None: the user doesn't want it.
    hedging: Option<Hedging>,
}

/// A request as it is sent, perhaps more than once.
#[derive(Clone, Copy)]
struct Sent<'a> {
    request: &'a Request,
    /// None: no random bytes are to be had for one.
    id: Option<&'a HeaderValue>,
    held: &'a Held,
    deadline: Instant,
}

impl Transport {
    pub(crate) fn new(settings: Settings, tls: &ClientConfig) -> Self {
        Self {
            chain: Arc::new(Chain::new(&settings, tls)),
            tokens: Mutex::default(),
            health: Health::default(),
            hedging: settings.hedging.then(Hedging::default),
            settings,
        }
    }

    /// Sends a request, and returns the answer if it is a 200. What passes (a lost connection, too
    /// many requests, an outage) is tried again while the deadline allows it; another token is
    /// tried once if the service refuses the first.
    pub(crate) async fn send(
        &self,
        http: &Http,
        pool: &Pool,
        request: &Request,
        deadline: Instant,
    ) -> Result<Answer, Error> {
        let tokens = self.tokens(&request.vault);
        let mut held = match tokens.alive() {
            Some(held) => held,
            None => self.by(deadline, tokens.current()).await?,
        };
        let mut is_token_replaced = false;
        let mut retries = 0;
        let mut earlier = None;
        let mut request = self.led(request).await?;
        let id = client_request_id();
        loop {
            let started = Instant::now();
            let sent = Sent {
                request: &request,
                id: id.as_ref(),
                held: &held,
                deadline,
            };
            let (outcome, other) = self.attempt(http, pool, sent).await;
            request.log(&outcome, id.as_ref(), started, retries);
            count_throttling(&request, &outcome);
            let asked = other.as_ref().unwrap_or(&request);
            let attempt = Attempt {
                outcome: &outcome,
                retries,
                max_retries: self.settings.max_retries,
                is_repeatable: request.repeatable,
                is_token_replaced,
                left: deadline.saturating_duration_since(Instant::now()),
                share: random_share,
            };
            self.note_health(asked, &attempt);
            let verdict = judge(&attempt, || self.next(&request, true));
            let failed = |outcome| match outcome {
                Ok(answer) => refused(asked, &answer, held.kind, tokens.audience()),
                Err(failure) => request.failed(&failure, earlier.clone()),
            };
            match verdict {
                Verdict::Done => return outcome.map_err(|failure| failed(Err(failure))),
                Verdict::Fail => return Err(failed(outcome)),
                Verdict::Renew(claims) => {
                    let other = tokens.replace(&held, claims.as_deref());
                    let Some(other) = self.by(deadline, other).await? else {
                        return Err(failed(outcome));
                    };
                    metrics::sent_again(&request.key, request.operation, Again::Token);
                    held = other;
                    is_token_replaced = true;
                }
                Verdict::Again { after, at } => {
                    retries += 1;
                    metrics::sent_again(&request.key, request.operation, why(&outcome));
                    let problem = problem(&outcome);
                    request.log_retry(&problem, after, retries);
                    earlier = Some(problem);
                    if let Some(endpoint) = at {
                        request = Cow::Owned(request.at(&endpoint));
                    }
                    event_loop::sleep(after).await;
                }
            }
        }
    }

    /// Sends a request once, or, if it takes long and the user wants that, twice at the same time.
    /// With the outcome comes the request to another endpoint, if it is that one's.
    async fn attempt(
        &self,
        http: &Http,
        pool: &Pool,
        sent: Sent<'_>,
    ) -> (Outcome, Option<Request>) {
        let request = sent.request;
        let (Some(hedging), Some(algorithm)) = (&self.hedging, request.algorithm) else {
            return (self.exchange(http, sent).await, None);
        };
        let started = Instant::now();
        let mut first = pin!(self.exchange(http, sent));
        let delay = hedging.delay(algorithm);
        let mut asked = None;
        let outcome = match delay {
            None => first.await,
            Some(delay) => match event_loop::timeout(delay, first.as_mut()).await {
                Ok(outcome) => outcome,
                Err(_) => match pool.spare().filter(|_| hedging.take()) {
                    None => first.await,
                    Some(_spare) => {
                        log::debug!("{} {} is sent again", request.operation, request.key);
                        metrics::sent_again(&request.key, request.operation, Again::Hedged);
                        let other = self.elsewhere(request);
                        let second = self.exchange(
                            http,
                            Sent {
                                request: &other,
                                ..sent
                            },
                        );
                        let (outcome, is_second) = first_answer(first, pin!(second)).await;
                        asked = is_second.then(|| other.into_owned());
                        outcome
                    }
                },
            },
        };
        if outcome
            .as_ref()
            .is_ok_and(|answer| answer.status == StatusCode::OK)
        {
            hedging.note(algorithm, started.elapsed());
        }
        (outcome, asked)
    }

    /// Sends a request, and reads the answer, within the time that the user allows for that.
    async fn exchange(&self, http: &Http, sent: Sent<'_>) -> Outcome {
        let (request, deadline) = (sent.request, sent.deadline);
        let limit = Instant::now() + self.settings.response_timeout;
        // What may not be sent again is waited for.
        let (until, after) = match request.repeatable && limit < deadline {
            true => (limit, self.settings.response_timeout),
            false => (deadline, self.settings.operation_timeout),
        };
        let message = Message {
            method: &request.method,
            url: &request.url,
            user_agent: &self.settings.front_end.user_agent,
            client_request_id: sent.id,
            authorization: Some(&sent.held.header),
            body: request.body.as_ref(),
            repeatable: request.repeatable,
        };
        let exchange = event_loop::timeout_at(until, http.exchange(&message));
        exchange.await.unwrap_or(Err(Failure::Late(after)))
    }

    /// The same request to another endpoint that is healthy, if there is one.
    fn elsewhere<'a>(&self, request: &'a Request) -> Cow<'a, Request> {
        let known = self.settings.endpoints_of(&request.vault);
        let here = request.url.origin();
        let others = known.into_iter().filter(|other| other.origin() != here);
        match others
            .into_iter()
            .find(|other| self.health.is_known_healthy(other))
        {
            Some(other) => Cow::Owned(request.at(other)),
            None => Cow::Borrowed(request),
        }
    }

    /// A new request, to the endpoint that is to be asked. If another request is about to find out
    /// which that is, this one waits for it, but not for long.
    async fn led<'a>(&self, request: &'a Request) -> Result<Cow<'a, Request>, Error> {
        let patience = Instant::now() + PATIENCE;
        loop {
            match self.next(request, false) {
                Ok(Next::Same) => return Ok(Cow::Borrowed(request)),
                Ok(Next::Healthy(endpoint) | Next::Unhealthy(endpoint)) => {
                    return Ok(Cow::Owned(request.at(&endpoint)));
                }
                Ok(Next::Wait(_)) if Instant::now() < patience => event_loop::sleep(LOOK).await,
                Ok(Next::Wait(down)) | Err(down) => return Err(request.down(down)),
            }
        }
    }

    /// The endpoint that is to be asked.
    fn next(&self, request: &Request, has_failed: bool) -> Result<Next, Down> {
        if self.health.is_all_healthy() {
            return Ok(Next::Same);
        }
        let known = self.settings.endpoints_of(&request.vault);
        let failed = has_failed.then_some(&request.url);
        let now = Instant::now();
        let choice = self.health.choose(&known, &request.url, failed, now)?;
        let is_other = |chosen: &Url| chosen.origin() != request.url.origin();
        Ok(match choice {
            Choice::Healthy(chosen) if is_other(chosen) => Next::Healthy(chosen.clone()),
            Choice::Unhealthy(chosen) if is_other(chosen) => Next::Unhealthy(chosen.clone()),
            Choice::Healthy(_) | Choice::Unhealthy(_) => Next::Same,
            Choice::Wait(down) => Next::Wait(down),
        })
    }

    /// Notes what an attempt tells about its endpoint.
    fn note_health(&self, request: &Request, attempt: &Attempt<'_>) {
        match attempt.shows_health() {
            None => {}
            Some(true) => self.health.note_healthy(&request.url),
            Some(false) => {
                let problem = problem(attempt.outcome);
                self.health
                    .note_unhealthy(&request.url, problem, Instant::now());
            }
        }
    }

    /// A token for a vault that is good now, and the credential that gave it.
    pub(crate) async fn access_token(
        &self,
        vault: &Vault,
        deadline: Instant,
    ) -> Result<(CredentialKind, AccessToken), Error> {
        let held = self.by(deadline, self.tokens(vault).current()).await?;
        Ok((held.kind, held.token.clone()))
    }

    /// What comes of asking for a token a little before the operation's deadline, so that whoever
    /// waits hears what those who give tokens have said.
    async fn by<T>(
        &self,
        deadline: Instant,
        token: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let after = deadline.saturating_duration_since(Instant::now()) * 19 / 20;
        let outcome = event_loop::timeout(after, token).await;
        outcome.unwrap_or_else(|_| Err(self.chain.late(self.settings.operation_timeout)))
    }

    /// Why there is no token for a vault when the time of an operation is over. None: there is one.
    pub(crate) fn without_token(&self, vault: &Vault) -> Option<Error> {
        let is_there = self.tokens(vault).is_there();
        (!is_there).then(|| self.chain.late(self.settings.operation_timeout))
    }

    /// The tokens for a vault.
    fn tokens(&self, vault: &Vault) -> Arc<Tokens> {
        let (service, cloud) = (vault.service, self.settings.cloud_of(vault));
        let mut all = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, _, tokens)) = all.iter().find(|(s, c, _)| (*s, *c) == (service, cloud)) {
            return Arc::clone(tokens);
        }
        let (chain, deadline) = (Arc::clone(&self.chain), self.settings.operation_timeout);
        let tokens = Tokens::new(chain, cloud.audience(service), cloud, deadline);
        all.push((service, cloud, Arc::clone(&tokens)));
        tokens
    }
}

/// What comes first of two attempts: an answer other than of a server in trouble; else the second
/// outcome. And whether it is that of `two`.
async fn first_answer(
    mut one: Pin<&mut impl Future<Output = Outcome>>,
    mut two: Pin<&mut impl Future<Output = Outcome>>,
) -> (Outcome, bool) {
    let is_good = |outcome: &Outcome| outcome.is_ok() && repetition(outcome) == Repetition::Never;
    tokio::select! {
        outcome = &mut one => if is_good(&outcome) { (outcome, false) } else { (two.await, true) },
        outcome = &mut two => if is_good(&outcome) { (outcome, true) } else { (one.await, false) },
    }
}

/// A name for a request, whoever sends it: a UUID, the same for all its attempts.
fn client_request_id() -> Option<HeaderValue> {
    let mut random = [0; 16];
    fill_randomly(&mut random).ok()?;
    let id = uuid::Builder::from_random_bytes(random).into_uuid();
    HeaderValue::try_from(id.to_string()).ok()
}

/// A random number from 0 to 1. Without random bytes it is 1.
fn random_share() -> f64 {
    let mut random = [0; 4];
    match fill_randomly(&mut random) {
        Ok(()) => f64::from(u32::from_le_bytes(random)) / f64::from(u32::MAX),
        Err(_) => 1.0,
    }
}

/// Counts an answer that says that there are too many requests.
fn count_throttling(request: &Request, outcome: &Outcome) {
    let throttles = |answer: &Answer| answer.status == StatusCode::TOO_MANY_REQUESTS;
    if outcome.as_ref().is_ok_and(throttles) {
        metrics::throttled(&request.key, request.operation);
    }
}

/// Why a request is sent again after such an attempt.
fn why(outcome: &Outcome) -> Again {
    match outcome {
        Ok(answer) => Again::Status(answer.status.as_u16()),
        Err(Failure::Late(_) | Failure::ConnectTimeout) => Again::Late,
        Err(_) => Again::Connection,
    }
}

/// How an attempt ended that was no success, in a few words.
fn problem(outcome: &Outcome) -> String {
    match outcome {
        Ok(answer) => format!("it answers HTTP {}", answer.status.as_u16()),
        Err(failure) => failure.to_string(),
    }
}
