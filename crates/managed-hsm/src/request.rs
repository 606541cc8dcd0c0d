//! A request to the service, with what its errors and the log say about it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderValue, Method};
use url::Url;

use crate::error::Error;
use crate::foreign::ForeignText;
use crate::health::Down;
use crate::http::failure::Failure;
use crate::http::message::Answer;
use crate::obstacle::Obstacle;
use crate::uri::Vault;
use crate::warnings::Warnings;

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
    /// A request to read something of a vault, about no single key. It may be sent again.
    pub(crate) fn of_vault(operation: &'static str, vault: &Vault, url: Url) -> Self {
        Self {
            operation,
            vault: vault.clone(),
            key: vault.to_string().into(),
            algorithm: None,
            method: Method::GET,
            url,
            body: None,
            repeatable: true,
        }
    }

    /// The host and port that the request goes to.
    pub(crate) fn endpoint(&self) -> String {
        self.url.origin().ascii_serialization()
    }

    /// The same request to another endpoint.
    pub(crate) fn at(&self, endpoint: &Url) -> Self {
        let mut request = self.clone();
        request.url = at(endpoint, &self.url);
        request
    }

    /// Why it has no answer. `earlier`: how the attempt before ended.
    pub(crate) fn failed(&self, failure: &Failure, earlier: Option<String>) -> Error {
        match failure {
            Failure::Late(after) => self.late(*after, earlier),
            Failure::Body(_) | Failure::TooLong | Failure::Fault(_) => {
                self.bad_answer(failure.to_string())
            }
            _ => Error::Connect {
                operation: self.operation,
                key: self.key.to_string(),
                endpoint: self.endpoint(),
                problem: failure.to_string(),
                obstacle: Obstacle::of(failure),
            },
        }
    }

    pub(crate) fn late(&self, after: Duration, earlier: Option<String>) -> Error {
        Error::Timeout {
            operation: self.operation,
            key: self.key.to_string(),
            endpoint: self.endpoint(),
            after,
            earlier,
        }
    }

    pub(crate) fn down(&self, down: Down) -> Error {
        Error::Down {
            operation: self.operation,
            key: self.key.to_string(),
            endpoint: self.endpoint(),
            lasts: down.lasts,
            problem: down.problem,
        }
    }

    /// Says in the log how an attempt ended.
    pub(crate) fn log(
        &self,
        outcome: &Result<Answer, Failure>,
        id: Option<&HeaderValue>,
        started: Instant,
        retries: u32,
    ) {
        if !log::log_enabled!(log::Level::Info) {
            return;
        }
        let (status, request_id) = match outcome {
            Ok(answer) => (answer.status.as_str(), answer.request_id()),
            Err(_) => ("none", ForeignText::new("none")),
        };
        log::info!(
            operation = self.operation,
            key:% = self.key,
            algorithm = self.algorithm.unwrap_or("none"),
            status,
            ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
            request_id:% = request_id,
            client_request_id = id.and_then(|id| id.to_str().ok()).unwrap_or("none"),
            retries;
            "{} {}", self.operation, self.key
        );
    }

    /// Says that it failed, and is sent again.
    pub(crate) fn log_retry(&self, problem: &str, pause: Duration, retries: u32) {
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
        self.bad_refusal(None, problem)
    }

    /// The same of one that tells by its status alone that nothing was done.
    pub(crate) fn bad_refusal(&self, status: Option<u16>, problem: String) -> Error {
        Error::Response {
            operation: self.operation,
            key: self.key.to_string(),
            endpoint: self.endpoint(),
            problem,
            status,
        }
    }
}

/// What stands behind the host in `address`, at the host of `endpoint`. A path is never joined to a
/// URL: one that begins with two slashes would name another host.
pub(crate) fn at(endpoint: &Url, address: &Url) -> Url {
    let mut url = endpoint.clone();
    url.set_path(address.path());
    url.set_query(address.query());
    url
}
