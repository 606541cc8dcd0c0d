//! Why a request has no answer.

use std::error::Error as StdError;
use std::time::Duration;

use crate::causes::{causes, sources};
use crate::socket::MAX_ANSWER;
use crate::stream::Fault;

/// Why there is no answer.
#[derive(Debug)]
pub(crate) enum Failure {
    /// No connection could be had.
    Connect(Box<dyn StdError + Send + Sync>),
    /// There was one, but not by TLS.
    Tls(std::io::Error),
    /// Nor within the time that the user allows for that.
    ConnectTimeout,
    /// TLS failed, or speaks of something else, where nothing but HTTP/2 was asked for.
    NoHttp2,
    /// The connection failed before anything of the request was sent.
    Unsent(hyper::Error),
    /// The connection failed, or what came is not HTTP.
    Exchange(hyper::Error),
    /// The answer ends too early.
    Body(hyper::Error),
    /// The answer is longer than [`MAX_ANSWER`].
    TooLong,
    /// What came can't be told to be the answer.
    Fault(Fault),
    /// It did not come within this time.
    Late(Duration),
}

impl Failure {
    pub(crate) fn connect(error: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self::Connect(error.into())
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let of = |f: &mut std::fmt::Formatter<'_>, error| f.write_str(&causes(error));
        match self {
            Self::Connect(error) => of(f, error.as_ref()),
            Self::Tls(error) => write!(f, "the TLS handshake failed: {}", causes(error)),
            Self::ConnectTimeout => f.write_str("the connection timed out"),
            Self::NoHttp2 => f.write_str("the server doesn't speak HTTP/2"),
            Self::Exchange(error) if error.is_parse() => {
                write!(f, "what answered is not HTTP ({})", causes(error))
            }
            Self::Exchange(error) | Self::Unsent(error) => of(f, error),
            Self::Body(error) => write!(f, "it ends too early ({})", causes(error)),
            Self::TooLong => write!(f, "it is longer than {MAX_ANSWER} bytes"),
            Self::Fault(fault) => fault.fmt(f),
            Self::Late(after) => write!(f, "no answer within {} s", after.as_secs_f32()),
        }
    }
}

impl StdError for Failure {}

/// Why a request of [`Settings::azure_http`](crate::Settings::azure_http) has no answer, for those
/// who say themselves whom they asked.
pub fn why_unanswered(error: &(dyn StdError + 'static)) -> String {
    let failed = sources(error)
        .into_iter()
        .find_map(|source| source.downcast_ref::<Failure>());
    failed.map_or_else(|| causes(error), ToString::to_string)
}
