//! HTTP: one request at a time, its answer read and judged.

use std::borrow::Cow;
use std::error::Error as StdError;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use bytes::Bytes;
use http::header::{RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, Method, StatusCode};
use rustls::ClientConfig;
use url::Url;

use crate::causes::sources;
use crate::cloud::{Cloud, Service};
use crate::credential::chain::Chain;
use crate::credential::kind::CredentialKind;
use crate::error::Error;
use crate::event_loop;
use crate::foreign::ForeignText;
use crate::health::{Choice, Down, Health};
use crate::hedging::Hedging;
use crate::http::exchange::Http;
use crate::http::failure::Failure;
use crate::http::message::{Answer, Message, REQUEST_ID};
use crate::lanes::Lanes;
use crate::settings::client::Settings;
use crate::stream::Fault;
use crate::token::AccessToken;
use crate::tokens::{Held, Tokens};
use crate::uri::Vault;
use crate::warnings::Warnings;
use crate::wire;

/// The longest random pause before the first attempt after one that failed, and before any.
const FIRST_PAUSE: Duration = Duration::from_millis(25);
const LONGEST_PAUSE: Duration = Duration::from_secs(4);

/// How often a connection that is refused is tried again: for one to two seconds in all.
const MAX_REFUSALS: u32 = 4;

/// How long a request waits, during an outage, for another one that is about to find out whether it is over; and how often it looks.
const PATIENCE: Duration = Duration::from_millis(500);
const LOOK: Duration = Duration::from_millis(10);

/// A request, with what its errors and its log line say about it.
#[derive(Clone)]
pub(crate) struct Request {
    pub(crate) operation: &'static str,
    /// Who gets the request, and a token for it.
    pub(crate) vault: Vault,
    pub(crate) key: Arc<str>,
    pub(crate) algorithm: Option<&'static str>,
    pub(crate) method: Method,
    pub(crate) url: Url,
    /// Overwritten when nobody needs it any more.
    pub(crate) body: Option<Bytes>,
    /// Whether sending it twice does no more than sending it once.
    pub(crate) repeatable: bool,
}

impl Request {
    /// The host and port that the request goes to.
    pub(crate) fn endpoint(&self) -> String {
        self.url.origin().ascii_serialization()
    }

    /// The same request to another endpoint.
    fn at(&self, endpoint: &Url) -> Self {
        let mut request = self.clone();
        request.url = at(endpoint, &self.url);
        request
    }

    pub(crate) fn late(&self, after: Duration) -> Error {
        Error::Timeout {
            operation: self.operation,
            key: self.key.to_string(),
            endpoint: self.endpoint(),
            after,
            earlier: None,
        }
    }

    fn down(&self, down: Down) -> Error {
        Error::Down {
            operation: self.operation,
            key: self.key.to_string(),
            endpoint: self.endpoint(),
            lasts: down.lasts,
            problem: down.problem,
        }
    }

    fn log(&self, status: &str, started: Instant, request_id: &ForeignText, retries: u32) {
        log::info!(
            operation = self.operation,
            key:% = self.key,
            algorithm = self.algorithm.unwrap_or("none"),
            status,
            ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
            request_id:% = request_id,
            retries;
            "{} {}", self.operation, self.key
        );
    }

    /// Says that it failed, and is sent again.
    fn log_retry(&self, problem: &str, pause: Duration, retries: u32) {
        static WARNINGS: Warnings = Warnings::new();
        if let Some(unsaid) = WARNINGS.admit(Instant::now()) {
            log::warn!(
                operation = self.operation,
                key:% = self.key,
                pause_ms = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX),
                retries,
                unsaid;
                "{} {}: {problem}; it is tried again", self.operation, self.key
            );
        }
    }

    pub(crate) fn bad_answer(&self, problem: String) -> Error {
        Error::Response {
            operation: self.operation,
            key: self.key.to_string(),
            endpoint: self.endpoint(),
            problem,
        }
    }
}

/// What stands behind the host in `address`, at the host of `endpoint`. A path is never joined to a URL: one that begins with two
/// slashes would name another host.
pub(crate) fn at(endpoint: &Url, address: &Url) -> Url {
    let mut url = endpoint.clone();
    url.set_path(address.path());
    url.set_query(address.query());
    url
}

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

/// Where a request is led to.
enum Way {
    /// Where it was to go.
    Same,
    /// To another endpoint, which is well.
    Other,
    /// Nowhere before another request has found out something.
    Wait(Down),
}

/// Why there is no answer.
struct Lost {
    error: Error,
    retry: Retry,
    /// Whether the connection was lost after it had been there.
    was_connected: bool,
    /// Whether there was none, perhaps since the server doesn't speak HTTP/2 and was not asked for anything else.
    lacks_http2: bool,
}

/// A request that failed for good.
pub(crate) struct Failed {
    pub(crate) error: Error,
    /// Whether it was not sent, perhaps since the server doesn't speak HTTP/2.
    pub(crate) lacks_http2: bool,
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self {
            error,
            lacks_http2: false,
        }
    }
}

/// Whether a request may be sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Retry {
    No,
    /// If doing it twice does no more than doing it once: it may have been done.
    IfRepeatable,
    /// It was not done, and another attempt at the same place would take as long again.
    Elsewhere,
    /// It was not done.
    Yes,
}

impl Answer {
    fn retry(&self) -> Retry {
        match self.status.as_u16() {
            429 => Retry::Yes,
            408 | 500 | 502 | 503 | 504 => Retry::IfRepeatable,
            _ => Retry::No,
        }
    }

    fn request_id(&self) -> ForeignText {
        let id = self.headers.get(REQUEST_ID);
        ForeignText::new(id.and_then(|id| id.to_str().ok()).unwrap_or("none"))
    }
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

    /// Sends a request, and returns the answer if it is a 200. What passes (a lost connection, too many requests, an outage) is
    /// tried again while the deadline allows it; another token is tried once if the service refuses the first.
    pub(crate) async fn send(
        &self,
        http: &Http,
        lanes: &Lanes,
        request: &Request,
        deadline: Instant,
    ) -> Result<Answer, Failed> {
        let tokens = self.tokens(&request.vault);
        let mut held = tokens.current().await?;
        let mut replaced = false;
        let mut retries = 0;
        let mut earlier = None;
        let mut request = Cow::Borrowed(request);
        self.find_way(&mut request).await?;
        loop {
            let started = Instant::now();
            let (outcome, other) = self.attempt(http, lanes, &request, &held, deadline).await;
            if log::log_enabled!(log::Level::Info) {
                let (status, id) = match &outcome {
                    Ok(answer) => (answer.status.as_str(), answer.request_id()),
                    Err(_) => ("none", ForeignText::new("none")),
                };
                request.log(status, started, &id, retries);
            }
            let (retry, retry_after) = match &outcome {
                Ok(answer) if answer.status == StatusCode::OK => (Retry::No, None),
                Ok(answer) if answer.status == StatusCode::UNAUTHORIZED && !replaced => {
                    let claims = claims(&answer.headers);
                    if let Some(other) = tokens.replace(&held, claims.as_deref()).await? {
                        held = other;
                        replaced = true;
                        continue;
                    }
                    (Retry::No, None)
                }
                Ok(answer) => (answer.retry(), wanted_pause(&answer.headers)),
                Err(lost) => (lost.retry, None),
            };
            // A kept connection that was closed meanwhile, mostly: it tells nothing about the endpoint.
            let is_excused = retries == 0 && matches!(&outcome, Err(lost) if lost.was_connected);
            let is_told = !matches!(&outcome, Err(lost) if lost.lacks_http2);
            if !is_excused && is_told {
                self.note(other.as_ref().unwrap_or(&request), &outcome);
            }
            let may_repeat = match retry {
                Retry::No => false,
                Retry::IfRepeatable => request.repeatable,
                Retry::Elsewhere | Retry::Yes => true,
            };
            let pause = if !may_repeat || retries >= self.settings.max_retries {
                None
            } else if is_excused {
                Some(pause(0, 0.0, None))
            } else {
                let is_silent = outcome.is_err();
                self.pause(&mut request, retry, is_silent, retries, retry_after)
            };
            if let Some(pause) = pause.filter(|pause| Instant::now() + *pause < deadline) {
                retries += 1;
                let problem = problem(&outcome);
                request.log_retry(&problem, pause, retries);
                earlier = Some(problem);
                event_loop::sleep(pause).await;
                continue;
            }
            return match outcome {
                Ok(answer) if answer.status == StatusCode::OK => Ok(answer),
                Ok(answer) => {
                    let asked = other.as_ref().unwrap_or(&request);
                    Err(refused(asked, &answer, &held).into())
                }
                Err(lost) => Err(Failed {
                    error: lost.error.preceded_by(earlier),
                    lacks_http2: lost.lacks_http2,
                }),
            };
        }
    }

    /// Sends a request once, or, if it takes long and the user wants that, twice at the same time. With the outcome comes the request to
    /// another endpoint, if it is that one's.
    async fn attempt(
        &self,
        http: &Http,
        lanes: &Lanes,
        request: &Request,
        held: &Held,
        deadline: Instant,
    ) -> (Result<Answer, Lost>, Option<Request>) {
        let (Some(hedging), Some(algorithm)) = (&self.hedging, request.algorithm) else {
            return (self.exchange(http, request, held, deadline).await, None);
        };
        let started = Instant::now();
        let mut first = pin!(self.exchange(http, request, held, deadline));
        let delay = hedging.delay(algorithm);
        let mut asked = None;
        let outcome = match delay {
            None => first.await,
            Some(delay) => match event_loop::timeout(delay, first.as_mut()).await {
                Ok(outcome) => outcome,
                Err(_) => match lanes.spare().filter(|_| hedging.take()) {
                    None => first.await,
                    Some(_spare) => {
                        log::debug!("{} {} is sent again", request.operation, request.key);
                        let other = self.elsewhere(request);
                        let second = self.exchange(http, &other, held, deadline);
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
    async fn exchange(
        &self,
        http: &Http,
        request: &Request,
        held: &Held,
        deadline: Instant,
    ) -> Result<Answer, Lost> {
        let limit = Instant::now() + self.settings.response_timeout;
        // What may not be sent again is waited for.
        let (until, after) = match request.repeatable && limit < deadline {
            true => (limit, self.settings.response_timeout),
            false => (deadline, self.settings.operation_timeout),
        };
        match event_loop::timeout_at(until, exchange(http, request, held)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(Lost {
                error: request.late(after),
                retry: Retry::IfRepeatable,
                was_connected: false,
                lacks_http2: false,
            }),
        }
    }

    /// The same request to another endpoint that is well, if there is one.
    fn elsewhere<'a>(&self, request: &'a Request) -> Cow<'a, Request> {
        let known = self.settings.endpoints_of(&request.vault);
        let here = request.url.origin();
        let others = known.into_iter().filter(|other| other.origin() != here);
        match others
            .into_iter()
            .find(|other| self.health.is_known_well(other))
        {
            Some(other) => Cow::Owned(request.at(other)),
            None => Cow::Borrowed(request),
        }
    }

    /// Leads a new request to the endpoint that is to be asked; waits for a moment if another request is about to find out which.
    async fn find_way(&self, request: &mut Cow<'_, Request>) -> Result<(), Error> {
        let patience = Instant::now() + PATIENCE;
        loop {
            match self.lead(request, false) {
                Ok(Way::Same | Way::Other) => return Ok(()),
                Ok(Way::Wait(_)) if Instant::now() < patience => event_loop::sleep(LOOK).await,
                Ok(Way::Wait(down)) | Err(down) => return Err(request.down(down)),
            }
        }
    }

    /// Leads a request to the endpoint that is to be asked.
    fn lead(&self, request: &mut Cow<'_, Request>, has_failed: bool) -> Result<Way, Down> {
        if self.health.is_all_well() {
            return Ok(Way::Same);
        }
        let known = self.settings.endpoints_of(&request.vault);
        let failed = has_failed.then_some(&request.url);
        let choice = self
            .health
            .choose(&known, &request.url, failed, Instant::now())?;
        let (chosen, way) = match choice {
            Choice::Well(chosen) => (chosen, Way::Other),
            Choice::Ill(chosen) => (chosen, Way::Same),
            Choice::Wait(down) => return Ok(Way::Wait(down)),
        };
        if chosen.origin() == request.url.origin() {
            return Ok(Way::Same);
        }
        let other = request.at(chosen);
        *request = Cow::Owned(other);
        Ok(way)
    }

    /// How long to wait before a request that failed is sent again, perhaps to another endpoint, which it is led to. None: it isn't.
    fn pause(
        &self,
        request: &mut Cow<'_, Request>,
        retry: Retry,
        is_silent: bool,
        retries: u32,
        retry_after: Option<Duration>,
    ) -> Option<Duration> {
        match (self.lead(request, true).ok()?, retry) {
            (Way::Other, _) => Some(Duration::ZERO),
            (_, Retry::Elsewhere) => None,
            // Nobody listens there: long enough for a restart, and no longer, since a person may be waiting.
            (_, Retry::Yes) if is_silent && retries >= MAX_REFUSALS => None,
            _ => {
                let at_least = if is_silent { 0.5 } else { 0.0 };
                Some(pause(retries, at_least, retry_after))
            }
        }
    }

    /// Notes what an attempt tells about its endpoint.
    fn note(&self, request: &Request, outcome: &Result<Answer, Lost>) {
        match outcome {
            Ok(answer) if !answer.status.is_server_error() => self.health.is_well(&request.url),
            _ => self
                .health
                .is_ill(&request.url, problem(outcome), Instant::now()),
        }
    }

    /// A token for a vault that is good now, and the credential that gave it.
    pub(crate) async fn access_token(
        &self,
        vault: &Vault,
    ) -> Result<(CredentialKind, AccessToken), Error> {
        let held = self.tokens(vault).current().await?;
        Ok((held.kind, held.token.clone()))
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

/// Sends a request with a token, and reads the answer.
async fn exchange(http: &Http, request: &Request, held: &Held) -> Result<Answer, Lost> {
    let message = Message {
        method: &request.method,
        url: &request.url,
        authorization: &held.header,
        body: request.body.as_ref(),
        repeatable: request.repeatable,
    };
    http.exchange(&message).await.map_err(|failure| {
        let problem = failure.to_string();
        let retry = retry_after(&failure);
        Lost {
            retry,
            was_connected: retry == Retry::IfRepeatable,
            lacks_http2: matches!(failure, Failure::NoHttp2),
            error: match failure {
                Failure::Body(_) | Failure::TooLong | Failure::Fault(_) => {
                    request.bad_answer(problem)
                }
                _ => {
                    let endpoint = request.endpoint();
                    Error::connect(request.operation, &request.key, &endpoint, problem)
                }
            },
        }
    })
}

/// What comes first of two attempts: an answer other than of a server in trouble; else the second outcome. And whether it is that of `two`.
async fn first_answer(
    mut one: Pin<&mut impl Future<Output = Result<Answer, Lost>>>,
    mut two: Pin<&mut impl Future<Output = Result<Answer, Lost>>>,
) -> (Result<Answer, Lost>, bool) {
    let is_good = |outcome: &Result<Answer, Lost>| {
        outcome
            .as_ref()
            .is_ok_and(|answer| answer.retry() == Retry::No)
    };
    tokio::select! {
        outcome = &mut one => if is_good(&outcome) { (outcome, false) } else { (two.await, true) },
        outcome = &mut two => if is_good(&outcome) { (outcome, true) } else { (one.await, false) },
    }
}

/// How long to wait before an attempt: what the service asks for, and a random share, at least so much, of a limit that doubles twice
/// each time, so that clients that were thrown back together don't come again together. A kept connection that was closed
/// meanwhile, which is what a first failure mostly is, costs next to nothing.
fn pause(retries: u32, at_least: f64, wanted: Option<Duration>) -> Duration {
    let limit = match retries {
        0 => FIRST_PAUSE,
        _ => LONGEST_PAUSE.min(FIRST_PAUSE * 4u32.saturating_pow(retries)),
    };
    let mut random = [0; 4];
    // Without random bytes it is the limit.
    let share = match aws_lc_rs::rand::fill(&mut random) {
        Ok(()) => f64::from(u32::from_le_bytes(random)) / f64::from(u32::MAX),
        Err(_) => 1.0,
    };
    wanted.unwrap_or_default() + limit.mul_f64(at_least + (1.0 - at_least) * share)
}

/// What an answer asks for, as far as anybody would wait for it.
fn wanted_pause(headers: &HeaderMap) -> Option<Duration> {
    const LONGEST: Duration = Duration::from_secs(3600);
    told_pause(headers).map(|pause| pause.min(LONGEST))
}

/// What an answer tells in `Retry-After` (RFC 9110, section 10.2.3), or in milliseconds as some of Azure's services do.
fn told_pause(headers: &HeaderMap) -> Option<Duration> {
    let text = |name: &str| Some(headers.get(name)?.to_str().ok()?.trim());
    let milliseconds = |name: &str| text(name)?.parse().ok().map(Duration::from_millis);
    if let Some(pause) = ["retry-after-ms", "x-ms-retry-after-ms"]
        .into_iter()
        .find_map(milliseconds)
    {
        return Some(pause);
    }
    let wanted = text(RETRY_AFTER.as_str())?;
    if let Ok(seconds) = wanted.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(wanted).ok()?;
    Some(date.duration_since(SystemTime::now()).unwrap_or_default())
}

/// Whether a request without an answer may be sent again.
fn retry_after(failure: &Failure) -> Retry {
    use std::io::ErrorKind::{
        BrokenPipe, ConnectionAborted, ConnectionRefused, ConnectionReset, UnexpectedEof,
    };
    let passing = [
        BrokenPipe,
        ConnectionAborted,
        ConnectionRefused,
        ConnectionReset,
        UnexpectedEof,
    ];
    let error: &(dyn StdError + 'static) = match failure {
        Failure::ConnectTimeout => return Retry::Elsewhere,
        Failure::NoHttp2 => return Retry::No,
        Failure::Body(_) => return Retry::IfRepeatable,
        Failure::TooLong | Failure::Fault(Fault::Endless) => return Retry::No,
        Failure::Fault(Fault::Unasked) => return Retry::IfRepeatable,
        Failure::Exchange(error) if connection_was_lost(error) => return Retry::IfRepeatable,
        Failure::Exchange(_) => return Retry::No,
        Failure::Connect(error) => error.as_ref(),
        Failure::Tls(error) => error,
    };
    match has_io_error(error, &passing) {
        true => Retry::Yes,
        // Whatever it is, another endpoint may not have it.
        false => Retry::Elsewhere,
    }
}

/// The claims that a challenge wants to be in the token, as JSON (error="insufficient_claims"). Nothing else of a challenge is
/// looked at: who gives tokens, and for whom, is not for the one who asks to say.
fn claims(headers: &HeaderMap) -> Option<String> {
    let challenge = headers.get(WWW_AUTHENTICATE)?.to_str().ok()?;
    if !challenge.contains("insufficient_claims") {
        return None;
    }
    let encoded = challenge.split_once("claims=\"")?.1.split_once('"')?.0;
    let encoded = encoded.trim_end_matches('=');
    let decoded = STANDARD_NO_PAD.decode(encoded);
    let decoded = decoded.or_else(|_| URL_SAFE_NO_PAD.decode(encoded)).ok()?;
    let text = String::from_utf8(decoded).ok()?;
    serde_json::from_str::<serde::de::IgnoredAny>(&text).ok()?;
    Some(text)
}

/// How an attempt ended that was no success, in a few words.
fn problem(outcome: &Result<Answer, Lost>) -> String {
    match outcome {
        Ok(answer) => format!("it answers HTTP {}", answer.status.as_u16()),
        Err(lost) => lost.error.problem(),
    }
}

/// What the service's refusal means.
fn refused(request: &Request, answer: &Answer, held: &Held) -> Error {
    let (operation, key) = (request.operation, request.key.to_string());
    let (status, request_id) = (answer.status, answer.request_id());
    let found = wire::service_error(&answer.body);
    if status == StatusCode::UNAUTHORIZED {
        let message = found.map(|(_, message)| message);
        let message = message.unwrap_or_else(|| ForeignText::new("no reason given"));
        return Error::Unauthorized {
            operation,
            key,
            message,
            request_id,
            credential: held.kind,
        };
    }
    match found {
        Some((code, message)) => Error::Service {
            operation,
            key,
            status: status.as_u16(),
            code,
            message,
            request_id,
        },
        None => request.bad_answer(format!(
            "HTTP {status} without an error that can be read (request id {request_id})"
        )),
    }
}

/// Whether a connection was closed before the answer was there.
fn connection_was_lost(error: &hyper::Error) -> bool {
    use std::io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
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
        || has_io_error(error, &lost)
        || sources(error).into_iter().any(by_http2)
}

/// Whether an error is, or is caused by, one of input and output of one of these kinds.
fn has_io_error(error: &(dyn StdError + 'static), kinds: &[std::io::ErrorKind]) -> bool {
    sources(error).into_iter().any(|source| {
        let mut next = source.downcast_ref::<std::io::Error>();
        while let Some(error) = next {
            if kinds.contains(&error.kind()) {
                return true;
            }
            // An error within another (as TLS handshakes have them) is not among its sources.
            next = error.get_ref().and_then(|inner| inner.downcast_ref());
        }
        false
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use zeroize::Zeroizing;

    const SECRET: &str = "eyJhbGciOiJub25lIn0.e30.c2ln";

    fn request() -> Request {
        Request {
            operation: "sign with",
            vault: "MyHSM".parse().unwrap(),
            key: "managedhsm:MyHSM:k".into(),
            algorithm: Some("RS256"),
            repeatable: true,
            method: Method::POST,
            url: Url::parse("https://myhsm.managedhsm.azure.net/keys/k/1/sign").unwrap(),
            body: None,
        }
    }

    #[test]
    fn a_refusal_keeps_what_the_service_says_and_never_the_token() {
        let token = AccessToken::new(SECRET).unwrap();
        let held = Held::new(CredentialKind::AccessToken, token).unwrap();
        let json = |code: &str, message: &str| {
            format!(r#"{{"error":{{"code":"{code}","message":"{message}"}}}}"#).into_bytes()
        };
        let cases = [
            (
                404,
                json("KeyNotFound", "Key not found: https://h/keys/k"),
                "KeyNotFound: Key not found",
            ),
            (
                403,
                json("AccessDenied", "Not authorized"),
                "Managed HSM Crypto User",
            ),
            (
                403,
                json(
                    "Forbidden",
                    "Operation sign is not allowed on a disabled key.",
                ),
                "enabled",
            ),
            (
                401,
                json("Unauthorized", &format!("bad token {SECRET}")),
                "bad token …",
            ),
            (401, b"OK".to_vec(), "AZURE_CLI_ACCESS_TOKEN"),
            (400, json(SECRET, "a\\nb"), "HTTP 400 …: a b"),
            (502, b"<html>".to_vec(), "HTTP 502"),
        ];
        for (status, body, expected) in cases {
            let status = StatusCode::from_u16(status).unwrap();
            let mut headers = HeaderMap::new();
            headers.insert("x-ms-request-id", "request-1".parse().unwrap());
            let answer = Answer {
                status,
                headers,
                body: Zeroizing::new(body),
                is_http2: false,
                may_be_anothers: false,
            };
            let error = refused(&request(), &answer, &held);
            let message = error.to_string();
            assert!(message.contains(expected), "{message}");
            assert!(
                message.contains("request-1") && message.contains("managedhsm:MyHSM:k"),
                "{message}"
            );
            assert!(
                !format!("{error:?} {message}").contains(SECRET),
                "{message}"
            );
        }
    }

    #[test]
    fn pauses_are_random_and_grow_to_a_limit_beyond_what_the_service_wants() {
        for (retries, limit) in [
            (0, 25),
            (1, 100),
            (2, 400),
            (3, 1600),
            (4, 4000),
            (40, 4000),
        ] {
            let pauses: Vec<Duration> = (0..32).map(|_| pause(retries, 0.0, None)).collect();
            let limit = Duration::from_millis(limit);
            assert!(pauses.iter().all(|pause| *pause <= limit), "{pauses:?}");
            assert!(pauses.iter().any(|pause| *pause > limit / 8), "{pauses:?}");
            assert!(pauses.iter().any(|pause| *pause != pauses[0]));
        }
        // For a restart one has to wait.
        let least: Duration = (0..MAX_REFUSALS)
            .map(|retries| pause(retries, 0.5, None))
            .sum();
        assert!(least >= Duration::from_secs(1), "{least:?}");
        assert!(pause(0, 0.0, Some(Duration::from_secs(7))) >= Duration::from_secs(7));
    }

    #[test]
    fn the_pause_that_is_wanted_may_be_told_in_several_ways() {
        let wanted = |name: &'static str, value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(name, value.parse().unwrap());
            wanted_pause(&headers)
        };
        let seconds = |count| Some(Duration::from_secs(count));
        assert_eq!(wanted("retry-after", " 7 "), seconds(7));
        // No clock goes that far.
        assert_eq!(wanted("retry-after", &u64::MAX.to_string()), seconds(3600));
        assert_eq!(wanted("x-ms-retry-after-ms", "2000"), seconds(2));
        assert_eq!(
            wanted("retry-after", "Sun, 06 Nov 1994 08:49:37 GMT"),
            seconds(0)
        );
        let later = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(60));
        assert!(wanted("retry-after", &later) > seconds(50));
        for nothing in ["", "-1", "soon", "1e3"] {
            assert_eq!(wanted("retry-after", nothing), None);
        }
    }

    #[test]
    fn an_error_within_another_is_found() {
        use std::io::{Error, ErrorKind};
        let inner = Error::from(ErrorKind::ConnectionReset);
        let outer = Error::other(Error::other(inner));
        assert!(has_io_error(&outer, &[ErrorKind::ConnectionReset]));
        assert!(!has_io_error(&outer, &[ErrorKind::ConnectionRefused]));
    }

    #[test]
    fn only_what_passes_is_tried_again() {
        for (status, retry) in [
            (200, Retry::No),
            (400, Retry::No),
            (401, Retry::No),
            (403, Retry::No),
            (404, Retry::No),
            (409, Retry::No),
            (408, Retry::IfRepeatable),
            (429, Retry::Yes),
            (500, Retry::IfRepeatable),
            (502, Retry::IfRepeatable),
            (503, Retry::IfRepeatable),
            (504, Retry::IfRepeatable),
        ] {
            let answer = Answer {
                status: StatusCode::from_u16(status).unwrap(),
                headers: HeaderMap::new(),
                body: Zeroizing::default(),
                is_http2: false,
                may_be_anothers: false,
            };
            assert_eq!(answer.retry(), retry, "{status}");
        }
    }

    #[test]
    fn claims_are_taken_from_a_challenge_and_nothing_else() {
        let challenge = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(WWW_AUTHENTICATE, text.parse().unwrap());
            claims(&headers)
        };
        let wanted = r#"{"access_token":{"nbf":{"essential":true}}}"#;
        let encoded = base64::engine::general_purpose::STANDARD.encode(wanted);
        let text = format!(
            r#"Bearer realm="", authorization_uri="https://evil.example/", error="insufficient_claims", claims="{encoded}""#
        );
        assert_eq!(challenge(&text).as_deref(), Some(wanted));
        for text in [
            r#"Bearer authorization="https://login.microsoftonline.com/t", resource="https://managedhsm.azure.net""#,
            r#"Bearer error="insufficient_claims""#,
            r#"Bearer error="insufficient_claims", claims="*""#,
            r#"Bearer error="insufficient_claims", claims="AAAA""#,
            r#"Bearer error="insufficient_claims", claims="e30"#,
        ] {
            assert_eq!(challenge(text), None, "{text}");
        }
    }
}
