//! HTTP: one request at a time, its answer read and judged.

use std::borrow::Cow;
use std::error::Error as StdError;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use reqwest::header::{
    AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE,
};
use reqwest::{Method, StatusCode};
use rustls::ClientConfig;
use url::Url;
use zeroize::Zeroizing;

use crate::cloud::{Cloud, Service};
use crate::credential::{Chain, CredentialKind};
use crate::error::Error;
use crate::health::{Down, Health};
use crate::settings::Settings;
use crate::token::AccessToken;
use crate::tokens::{Held, Tokens};
use crate::uri::Vault;
use crate::wire;

/// The largest answer that is read, in bytes.
const MAX_ANSWER: usize = 1 << 20;

/// The longest random pause before the first attempt after one that failed, and before any.
const FIRST_PAUSE: Duration = Duration::from_millis(25);
const LONGEST_PAUSE: Duration = Duration::from_secs(4);

/// How often a connection that is refused is tried again: for one to two seconds in all.
const MAX_REFUSALS: u32 = 4;

/// A request, with what its errors and its log line say about it.
#[derive(Clone)]
pub(crate) struct Request {
    pub(crate) operation: &'static str,
    /// Who gets the request, and a token for it.
    pub(crate) vault: Vault,
    pub(crate) key: String,
    pub(crate) algorithm: Option<&'static str>,
    pub(crate) method: Method,
    pub(crate) url: Url,
    pub(crate) body: Option<Zeroizing<Vec<u8>>>,
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
        let path = self.url[url::Position::BeforePath..].to_owned();
        // An endpoint is a URL with a host, and what stood behind one can stand behind another.
        request.url = endpoint.join(&path).unwrap_or_else(|_| self.url.clone());
        request
    }

    fn down(&self, down: Down) -> Error {
        Error::Down {
            operation: self.operation,
            key: self.key.clone(),
            endpoint: self.endpoint(),
            lasts: down.lasts,
            problem: down.problem,
        }
    }

    fn log(&self, status: &str, started: Instant, request_id: &str, retries: u32) {
        log::info!(
            "{} {} algorithm={} status={status} ms={} request_id={request_id} retries={retries}",
            self.operation,
            self.key,
            self.algorithm.unwrap_or("none"),
            started.elapsed().as_millis(),
        );
    }

    pub(crate) fn bad_answer(&self, problem: String) -> Error {
        Error::Response {
            operation: self.operation,
            key: self.key.clone(),
            endpoint: self.endpoint(),
            problem,
        }
    }
}

/// How requests are sent, and the tokens for them.
pub(crate) struct Transport {
    settings: Settings,
    chain: Arc<Chain>,
    /// Those of each service and cloud that was asked: one or two.
    tokens: Mutex<Vec<(Service, Cloud, Arc<Tokens>)>>,
    health: Health,
}

/// An answer, all of it read.
struct Answer {
    status: StatusCode,
    body: Zeroizing<Vec<u8>>,
    request_id: String,
    claims: Option<String>,
    retry_after: Option<Duration>,
}

/// Why there is no answer.
struct Lost {
    error: Error,
    retry: Retry,
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
}

impl Transport {
    pub(crate) fn new(settings: Settings, tls: &ClientConfig) -> Result<Self, Error> {
        Ok(Self {
            chain: Arc::new(Chain::new(&settings, tls)?),
            tokens: Mutex::default(),
            health: Health::default(),
            settings,
        })
    }

    /// Sends a request, and returns the body of a 200 answer. What passes (a lost connection, too many requests, an outage) is
    /// tried again while the deadline allows it; another token is tried once if the service refuses the first.
    pub(crate) async fn send(
        &self,
        http: &reqwest::Client,
        request: &Request,
        deadline: Instant,
    ) -> Result<Zeroizing<Vec<u8>>, Error> {
        let tokens = self.tokens(&request.vault);
        let mut held = tokens.current().await?;
        let mut replaced = false;
        let mut retries = 0;
        let mut request = Cow::Borrowed(request);
        self.choose(&mut request, false)
            .map_err(|down| request.down(down))?;
        loop {
            let started = Instant::now();
            let outcome = exchange(http, &request, &held).await;
            self.note(&request, &outcome, retries);
            let (status, id) = match &outcome {
                Ok(answer) => (answer.status.as_str(), answer.request_id.as_str()),
                Err(_) => ("none", "none"),
            };
            if log::log_enabled!(log::Level::Info) {
                request.log(status, started, &held.token.redact(id), retries);
            }
            let (retry, retry_after) = match &outcome {
                Ok(answer) if answer.status == StatusCode::OK => (Retry::No, None),
                Ok(answer) if answer.status == StatusCode::UNAUTHORIZED && !replaced => {
                    let claims = answer.claims.as_deref();
                    if let Some(other) = tokens.replace(&held, claims).await? {
                        held = other;
                        replaced = true;
                        continue;
                    }
                    (Retry::No, None)
                }
                Ok(answer) => (answer.retry(), answer.retry_after),
                Err(lost) => (lost.retry, None),
            };
            let may_repeat = match retry {
                Retry::No => false,
                Retry::IfRepeatable => request.repeatable,
                Retry::Elsewhere | Retry::Yes => true,
            };
            let pause = if may_repeat && retries < self.settings.max_retries {
                let is_silent = outcome.is_err();
                self.pause(&mut request, retry, is_silent, retries, retry_after)
            } else {
                None
            };
            if let Some(pause) = pause.filter(|pause| Instant::now() + *pause < deadline) {
                retries += 1;
                tokio::time::sleep(pause).await;
                continue;
            }
            return match outcome {
                Ok(answer) if answer.status == StatusCode::OK => Ok(answer.body),
                Ok(answer) => Err(refused(&request, &answer, &held)),
                Err(lost) => Err(lost.error),
            };
        }
    }

    /// Leads a request to the endpoint that is to be asked. True: to another than before, which is well.
    fn choose(&self, request: &mut Cow<'_, Request>, has_failed: bool) -> Result<bool, Down> {
        if self.health.is_all_well() {
            return Ok(false);
        }
        let known = self.settings.endpoints_of(&request.vault);
        let failed = has_failed.then_some(&request.url);
        let now = Instant::now();
        let (chosen, is_well) = self.health.choose(&known, &request.url, failed, now)?;
        if chosen.origin() == request.url.origin() {
            return Ok(false);
        }
        let other = request.at(chosen);
        *request = Cow::Owned(other);
        Ok(is_well)
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
        if self.choose(request, true).ok()? {
            return Some(Duration::ZERO);
        }
        match retry {
            Retry::Elsewhere => None,
            // Nobody listens there: long enough for a restart, and no longer, since a person may be waiting.
            Retry::Yes if is_silent && retries >= MAX_REFUSALS => None,
            _ => {
                let at_least = if is_silent { 0.5 } else { 0.0 };
                Some(pause(retries, at_least, retry_after))
            }
        }
    }

    /// Notes what an attempt tells about its endpoint.
    fn note(&self, request: &Request, outcome: &Result<Answer, Lost>, retries: u32) {
        let problem = match outcome {
            Ok(answer) if answer.status.is_server_error() => {
                format!("it answers HTTP {}", answer.status.as_u16())
            }
            Ok(_) => return self.health.is_well(&request.url),
            // A kept connection that was closed meanwhile, mostly.
            Err(lost) if retries == 0 && lost.retry == Retry::IfRepeatable => return,
            Err(lost) => lost.error.problem(),
        };
        self.health.is_ill(&request.url, problem, Instant::now());
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
async fn exchange(http: &reqwest::Client, request: &Request, held: &Held) -> Result<Answer, Lost> {
    let response = attempt(http, request, &held.header).await;
    let response = response.map_err(|error| Lost {
        retry: retry_after(&error),
        error: unreachable(request, &error),
    })?;
    let status = response.status();
    let request_id = header(&response, "x-ms-request-id");
    let claims = claims(response.headers());
    let retry_after = wanted_pause(response.headers());
    Ok(Answer {
        status,
        body: read(response, request).await?,
        request_id,
        claims,
        retry_after,
    })
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

/// `Retry-After` in seconds, as the service gives it (RFC 9110, section 10.2.3).
fn wanted_pause(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers
        .get(RETRY_AFTER)?
        .to_str()
        .ok()?
        .trim()
        .parse()
        .ok()?;
    Some(Duration::from_secs(seconds))
}

/// Whether a request without an answer may be sent again.
fn retry_after(error: &reqwest::Error) -> Retry {
    use std::io::ErrorKind::{
        ConnectionAborted, ConnectionRefused, ConnectionReset, UnexpectedEof,
    };
    if error.is_timeout() {
        return match error.is_connect() {
            true => Retry::Elsewhere,
            false => Retry::No,
        };
    }
    if connection_was_lost(error) {
        return Retry::IfRepeatable;
    }
    let passing = [
        ConnectionAborted,
        ConnectionRefused,
        ConnectionReset,
        UnexpectedEof,
    ];
    match error.is_connect() && has_io_error(error, &passing) {
        true => Retry::Yes,
        false => Retry::No,
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

async fn attempt(
    http: &reqwest::Client,
    request: &Request,
    authorization: &HeaderValue,
) -> reqwest::Result<reqwest::Response> {
    let mut builder = http
        .request(request.method.clone(), request.url.clone())
        .header(AUTHORIZATION, authorization.clone());
    if let Some(body) = &request.body {
        builder = builder
            .header(CONTENT_TYPE, "application/json")
            .body(body.to_vec());
    }
    builder.send().await
}

/// Reads an answer's body, up to a limit.
async fn read(
    mut response: reqwest::Response,
    request: &Request,
) -> Result<Zeroizing<Vec<u8>>, Lost> {
    let lost = |problem: String, retry: Retry| Lost {
        error: request.bad_answer(problem),
        retry,
    };
    // Room for all of it where its length is told: a buffer that grows leaves copies behind.
    let told = response.content_length().unwrap_or(0) as usize;
    let mut body = Zeroizing::new(Vec::with_capacity(told.min(MAX_ANSWER)));
    loop {
        match response.chunk().await {
            Ok(None) => return Ok(body),
            Ok(Some(chunk)) if body.len() + chunk.len() <= MAX_ANSWER => {
                body.extend_from_slice(&chunk)
            }
            Ok(Some(_)) => {
                let problem = format!("it is longer than {MAX_ANSWER} bytes");
                return Err(lost(problem, Retry::No));
            }
            Err(error) => {
                let problem = format!("it ends too early ({})", chain(&error));
                return Err(lost(problem, Retry::IfRepeatable));
            }
        }
    }
}

/// What the service's refusal means.
fn refused(request: &Request, answer: &Answer, held: &Held) -> Error {
    let (operation, key) = (request.operation, request.key.clone());
    let shown = |text: String| one_line(&held.token.redact(&text));
    let (status, request_id) = (answer.status, shown(answer.request_id.clone()));
    let found = wire::service_error(&answer.body);
    let found = found.map(|(code, message)| (shown(code), shown(message)));
    if status == StatusCode::UNAUTHORIZED {
        let message = found.map_or_else(|| "no reason given".to_owned(), |(_, message)| message);
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

/// A text of the service's, fit for an error message: one line, of bounded length.
pub(crate) fn one_line(text: &str) -> String {
    let visible = |character: char| {
        if character.is_control() {
            ' '
        } else {
            character
        }
    };
    text.chars().take(1024).map(visible).collect()
}

/// What it means that no answer came.
fn unreachable(request: &Request, error: &reqwest::Error) -> Error {
    let endpoint = request.endpoint();
    Error::connect(request.operation, &request.key, &endpoint, chain(error))
}

/// Whether a kept connection turned out to be closed, so that the request can be sent again on another.
fn connection_was_lost(error: &reqwest::Error) -> bool {
    use std::io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    let lost = [
        BrokenPipe,
        ConnectionAborted,
        ConnectionReset,
        UnexpectedEof,
    ];
    let is_cut_short = |source: &(dyn StdError + 'static)| {
        let text = source.to_string();
        text.contains("connection closed before message completed")
    };
    let in_use = !error.is_connect();
    in_use && (has_io_error(error, &lost) || sources(error).into_iter().any(is_cut_short))
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

/// An error and its causes, outermost first.
fn sources<'a>(error: &'a (dyn StdError + 'static)) -> Vec<&'a (dyn StdError + 'static)> {
    let mut all = vec![error];
    let mut next = error.source();
    while let Some(source) = next {
        all.push(source);
        next = source.source();
    }
    all
}

/// An error with all its causes. A cause that only repeats the last is left out.
pub(crate) fn chain(error: &(dyn StdError + 'static)) -> String {
    let mut texts: Vec<String> = Vec::new();
    for source in sources(error)
        .into_iter()
        .skip(usize::from(error.source().is_some()))
    {
        let text = source.to_string();
        if !texts.iter().any(|earlier| earlier.contains(&text)) {
            texts.push(text);
        }
    }
    texts.join(": ")
}

fn header(response: &reqwest::Response, name: &str) -> String {
    let value = response
        .headers()
        .get(name)
        .and_then(|value| value.to_str().ok());
    value.unwrap_or("none").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "eyJhbGciOiJub25lIn0.e30.c2ln";

    fn request() -> Request {
        Request {
            operation: "sign with",
            vault: "MyHSM".parse().unwrap(),
            key: "managedhsm:MyHSM:k".to_owned(),
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
            let answer = Answer {
                status,
                body: Zeroizing::new(body),
                request_id: "request-1".to_owned(),
                claims: None,
                retry_after: None,
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
                body: Zeroizing::default(),
                request_id: String::new(),
                claims: None,
                retry_after: None,
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
