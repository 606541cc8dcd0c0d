//! Faults on demand: what a service and the network to it do on bad days, for as many requests, or as large a share of
//! them, as asked.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::capacity::random_share;
use crate::line::{Change, Line, Tcp};
use crate::message::{Response, pieces, whole};
use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode, header};
use http_body_util::{BodyExt, Collected};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// The text of 429.
pub(crate) const THROTTLED: &str = "Request was not processed because too many requests were received. Reason: VaultRequestTypeLimitReached";

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FaultKind {
    /// 408.
    RequestTimeout,
    /// 429 without Retry-After, as the service answers.
    Throttled,
    /// 429 with Retry-After: 1.
    ThrottledRetryAfter,
    /// 500.
    InternalError,
    /// 502 with a page of HTML, as proxies and load balancers answer.
    BadGateway,
    /// 503.
    Unavailable,
    /// 503 with Retry-After: 1.
    UnavailableRetryAfter,
    /// 504.
    GatewayTimeout,
    /// 401 that asks for a new token with certain claims, as continuous access evaluation does.
    ClaimsChallenge,
    /// The connection ends without an answer, and without the request being carried out.
    Drop,
    /// The same by a TCP reset.
    Reset,
    /// The request isn't carried out, and the connection stays open without an answer.
    Silence,
    /// The request is carried out, and the connection ends without an answer.
    LostAnswer,
    /// The connection ends in the middle of the answer's body.
    HalfBody,
    /// An answer of 200 that isn't JSON.
    MalformedJson,
    /// An answer that isn't HTTP.
    Garbage,
    /// The answer comes twice.
    Twice,
    /// An answer of 200 with 2 MiB of blanks behind it.
    HugeBody,
    /// A value (a signature, say) that is a byte short.
    WrongLength,
    /// A value with a bit changed.
    WrongValue,
    /// The answer begins `delay_ms` late.
    SlowFirstByte,
    /// The answer's body takes `delay_ms`.
    SlowBody,
    /// The connection is closed after the answer.
    Close,
    /// The connection is closed without notice `delay_ms` after the answer.
    CloseIdle,
    /// A new connection is reset before TLS begins.
    ConnectionReset,
    /// A new connection ends when the client has said hello.
    BrokenHandshake,
    /// The client's hello is answered by HTTP without TLS.
    GarbageHandshake,
    /// The client's hello is not answered, and the connection stays open.
    NoHandshake,
    /// TLS begins `delay_ms` late.
    SlowHandshake,
}

impl FaultKind {
    const ALL: [Self; 29] = [
        Self::RequestTimeout,
        Self::Throttled,
        Self::ThrottledRetryAfter,
        Self::InternalError,
        Self::BadGateway,
        Self::Unavailable,
        Self::UnavailableRetryAfter,
        Self::GatewayTimeout,
        Self::ClaimsChallenge,
        Self::Drop,
        Self::Reset,
        Self::Silence,
        Self::LostAnswer,
        Self::HalfBody,
        Self::MalformedJson,
        Self::Garbage,
        Self::Twice,
        Self::HugeBody,
        Self::WrongLength,
        Self::WrongValue,
        Self::SlowFirstByte,
        Self::SlowBody,
        Self::Close,
        Self::CloseIdle,
        Self::ConnectionReset,
        Self::BrokenHandshake,
        Self::GarbageHandshake,
        Self::NoHandshake,
        Self::SlowHandshake,
    ];

    /// The names of all kinds, separated by commas.
    #[must_use]
    pub fn names() -> String {
        Self::ALL.map(Self::name).join(", ")
    }

    fn name(self) -> String {
        let name = serde_json::to_value(self).unwrap_or_default();
        name.as_str().unwrap_or_default().to_owned()
    }

    /// Whether it is new connections that meet it, and not requests.
    fn is_of_connections(self) -> bool {
        matches!(
            self,
            Self::ConnectionReset
                | Self::BrokenHandshake
                | Self::GarbageHandshake
                | Self::NoHandshake
                | Self::SlowHandshake
        )
    }
}

/// What a request meets before it is carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Before {
    /// Nothing.
    Nothing,
    /// It isn't carried out, and this is the answer.
    Answer(Refused),
    /// It isn't carried out, and nobody answers.
    NoAnswer,
}

/// An answer in place of carrying a request out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(crate) status: StatusCode,
    pub(crate) code: &'static str,
    pub(crate) text: &'static str,
    /// Whether it tells when to come again.
    pub(crate) retry_after: bool,
}

/// A fault, and which requests it meets.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// What goes wrong.
    pub kind: FaultKind,
    /// The last part of the path of the requests, such as `sign`; none: all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<String>,
    /// How the path of the requests begins, such as `/keys/mykey`; none: all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// How many requests are left to meet; none: no end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
    /// The share of requests that it meets, from 0 to 1; none: each.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub share: Option<f64>,
    /// Milliseconds, for the kinds that have to do with time.
    #[serde(default = "one_second")]
    pub delay_ms: u64,
    /// A header that the answer has besides, `Name: value`. It takes the place of one of the same name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<String>,
}

fn one_second() -> u64 {
    1000
}

impl std::str::FromStr for Fault {
    type Err = String;

    /// `kind[,operation=sign][,path=/keys/k][,count=3][,share=0.1][,delay_ms=500][,header=Name: value]`
    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = text.split(',');
        let name = parts.next().unwrap_or_default();
        let kind = FaultKind::ALL.into_iter().find(|kind| kind.name() == name);
        let kind = kind.ok_or_else(|| {
            let known = FaultKind::names();
            format!("there is no fault '{name}'; there are {known}")
        })?;
        let mut fault = Self {
            kind,
            operation: None,
            path: None,
            count: None,
            share: None,
            delay_ms: one_second(),
            header: None,
        };
        for part in parts {
            let (name, value) = part
                .split_once('=')
                .ok_or_else(|| format!("'{part}' is not of the form name=value"))?;
            let bad = || format!("'{value}' can't be the {name} of a fault");
            match name {
                "operation" => fault.operation = Some(value.to_owned()),
                "path" => fault.path = Some(value.to_owned()),
                "count" => fault.count = Some(value.parse().map_err(|_| bad())?),
                "share" => fault.share = Some(value.parse().map_err(|_| bad())?),
                "delay_ms" => fault.delay_ms = value.parse().map_err(|_| bad())?,
                "header" => fault.header = Some(value.to_owned()),
                other => {
                    return Err(format!(
                        "there is no '{other}'; there are operation, path, count, share, delay_ms, header"
                    ));
                }
            }
        }
        fault.check().map(|()| fault)
    }
}

impl Fault {
    /// Whether it makes sense.
    pub(crate) fn check(&self) -> Result<(), String> {
        if self.kind.is_of_connections() && (self.operation.is_some() || self.path.is_some()) {
            return Err(format!(
                "{} meets connections, which have neither an operation nor a path",
                self.kind.name()
            ));
        }
        if let Some(text) = &self.header {
            parse_header(text)?;
        }
        match self.share {
            Some(share) if !(0.0..=1.0).contains(&share) => {
                Err(format!("a share is from 0 to 1, and not {share}"))
            }
            _ => Ok(()),
        }
    }

    fn meets(&self, whom: Whom<'_>) -> bool {
        let fits = match whom {
            Whom::Connection => self.kind.is_of_connections(),
            Whom::Request(path) => !self.kind.is_of_connections() && self.is_for(path),
        };
        fits && self.count != Some(0) && self.share.is_none_or(|share| random_share() < share)
    }

    fn is_for(&self, path: &str) -> bool {
        let last = path
            .trim_end_matches('/')
            .rsplit('/')
            .next()
            .unwrap_or_default();
        let operation = self.operation.as_deref();
        let begins = self.path.as_deref();
        operation.is_none_or(|operation| operation.eq_ignore_ascii_case(last))
            && begins.is_none_or(|begin| path.starts_with(begin))
    }
}

/// `Name: value`
fn parse_header(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let bad = || format!("'{text}' can't be a header; it is written Name: value");
    let (name, value) = text.split_once(':').ok_or_else(bad)?;
    let name = HeaderName::from_bytes(name.trim().as_bytes()).map_err(|_| bad())?;
    let value = HeaderValue::from_str(value.trim()).map_err(|_| bad())?;
    Ok((name, value))
}

/// Who may meet a fault.
#[derive(Debug, Clone, Copy)]
enum Whom<'a> {
    Connection,
    /// By its path.
    Request(&'a str),
}

/// The faults that are set; a clone sets the same ones.
#[derive(Clone, Debug, Default)]
pub struct Faults(Arc<Mutex<Vec<Fault>>>);

/// What a request meets.
#[derive(Debug, Clone)]
pub(crate) struct Met {
    kind: FaultKind,
    delay: Duration,
    header: Option<(HeaderName, HeaderValue)>,
}

impl Faults {
    pub(crate) fn new(faults: Vec<Fault>) -> Self {
        Self(Arc::new(Mutex::new(faults)))
    }

    /// Those that are left to meet.
    #[must_use]
    pub fn list(&self) -> Vec<Fault> {
        self.lock().clone()
    }

    /// Sets one more, told as JSON or in the form of the flag `--fault`.
    ///
    /// # Errors
    /// What is wrong with the text.
    pub fn add(&self, text: &str) -> Result<(), String> {
        let fault: Fault = match text.trim_start().starts_with('{') {
            true => serde_json::from_str(text).map_err(|error| error.to_string())?,
            false => text.trim().parse()?,
        };
        fault.check()?;
        self.lock().push(fault);
        Ok(())
    }

    /// Ends all of them.
    pub fn clear(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Fault>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The first fault that a request for `path` meets; it counts as met.
    pub(crate) fn meet(&self, path: &str) -> Option<Met> {
        self.meet_as(Whom::Request(path))
    }

    /// The first fault that a new connection meets; it counts as met.
    pub(crate) fn meet_connection(&self) -> Option<Met> {
        self.meet_as(Whom::Connection)
    }

    fn meet_as(&self, whom: Whom<'_>) -> Option<Met> {
        let mut faults = self.lock();
        let fault = faults.iter_mut().find(|fault| fault.meets(whom))?;
        if let Some(count) = &mut fault.count {
            *count -= 1;
        }
        let met = Met {
            kind: fault.kind,
            delay: Duration::from_millis(fault.delay_ms),
            // It was checked when it was set.
            header: fault
                .header
                .as_deref()
                .and_then(|text| parse_header(text).ok()),
        };
        faults.retain(|fault| fault.count != Some(0));
        Some(met)
    }
}

impl Met {
    /// What the request meets before it is carried out. Where nobody answers, the connection is ended, unless it is to stay.
    pub(crate) fn before(&self, line: &Line) -> Before {
        let answer = |status, code, text, retry_after| {
            Before::Answer(Refused {
                status,
                code,
                text,
                retry_after,
            })
        };
        let unavailable = "The service is temporarily unavailable.";
        match self.kind {
            FaultKind::Drop => line.cut(),
            FaultKind::Reset => line.reset(),
            _ => {}
        }
        match self.kind {
            FaultKind::Drop | FaultKind::Reset | FaultKind::Silence => Before::NoAnswer,
            FaultKind::RequestTimeout => answer(
                StatusCode::REQUEST_TIMEOUT,
                "RequestTimeout",
                "The request took too long.",
                false,
            ),
            FaultKind::Throttled | FaultKind::ThrottledRetryAfter => answer(
                StatusCode::TOO_MANY_REQUESTS,
                "Throttled",
                THROTTLED,
                self.kind == FaultKind::ThrottledRetryAfter,
            ),
            FaultKind::InternalError => answer(
                StatusCode::INTERNAL_SERVER_ERROR,
                "InternalServerError",
                "An internal error occurred.",
                false,
            ),
            FaultKind::BadGateway => answer(StatusCode::BAD_GATEWAY, "", "", false),
            FaultKind::Unavailable | FaultKind::UnavailableRetryAfter => answer(
                StatusCode::SERVICE_UNAVAILABLE,
                "ServiceUnavailable",
                unavailable,
                self.kind == FaultKind::UnavailableRetryAfter,
            ),
            FaultKind::GatewayTimeout => answer(
                StatusCode::GATEWAY_TIMEOUT,
                "GatewayTimeout",
                unavailable,
                false,
            ),
            FaultKind::ClaimsChallenge => answer(
                StatusCode::UNAUTHORIZED,
                "Unauthorized",
                "The token lacks claims that the challenge names.",
                false,
            ),
            _ => Before::Nothing,
        }
    }

    /// Whether the answer asks for claims in a new token.
    pub(crate) fn asks_for_claims(&self) -> bool {
        self.kind == FaultKind::ClaimsChallenge
    }

    /// What a new connection meets. None: the connection is over.
    pub(crate) async fn greet(self, mut stream: Tcp, line: &Line) -> Option<Tcp> {
        const HELLO: usize = 16 * 1024;
        let mut hello = vec![0; HELLO];
        match self.kind {
            FaultKind::ConnectionReset => line.reset(),
            FaultKind::BrokenHandshake => {
                let _ = stream.read(&mut hello).await;
            }
            FaultKind::GarbageHandshake => {
                let _ = stream.read(&mut hello).await;
                let page = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n";
                let _ = stream.write_all(page).await;
            }
            // Until the client has had enough.
            FaultKind::NoHandshake => while matches!(stream.read(&mut hello).await, Ok(1..)) {},
            FaultKind::SlowHandshake => {
                tokio::time::sleep(self.delay).await;
                return Some(stream);
            }
            _ => return Some(stream),
        }
        None
    }

    /// The answer as the fault leaves it.
    pub(crate) async fn spoil(self, mut response: Response, line: &Arc<Line>) -> Response {
        if let Some((name, value)) = &self.header {
            response.headers_mut().insert(name, value.clone());
        }
        match self.kind {
            FaultKind::SlowFirstByte => {
                tokio::time::sleep(self.delay).await;
                return response;
            }
            FaultKind::LostAnswer => {
                line.cut();
                return std::future::pending().await;
            }
            FaultKind::CloseIdle => {
                let (line, delay) = (Arc::clone(line), self.delay);
                tokio::spawn(async move {
                    tokio::time::sleep(delay).await;
                    line.cut();
                });
                return response;
            }
            FaultKind::Garbage => line.change(Change::Garbage),
            FaultKind::Twice => line.change(Change::Twice),
            _ => {}
        }
        if self.kind == FaultKind::Close {
            let close = HeaderValue::from_static("close");
            response.headers_mut().insert(header::CONNECTION, close);
            return response;
        }
        self.spoil_body(response).await
    }

    /// The answer with another body.
    async fn spoil_body(&self, response: Response) -> Response {
        let (mut parts, body) = response.into_parts();
        let body = body.collect().await;
        let body = body.map(Collected::to_bytes).unwrap_or_default();
        let body = match self.kind {
            FaultKind::HalfBody => {
                parts
                    .headers
                    .insert(header::CONTENT_LENGTH, body.len().into());
                let half = body.slice(..body.len() / 2);
                let broken = std::io::Error::other("a fault that was asked for");
                pieces(futures_util::stream::iter([Ok(half), Err(broken)]))
            }
            FaultKind::MalformedJson => whole(r#"{"value":"#),
            FaultKind::BadGateway => {
                let html = HeaderValue::from_static("text/html");
                parts.headers.insert(header::CONTENT_TYPE, html);
                whole("<html><body><h1>502 Bad Gateway</h1></body></html>")
            }
            FaultKind::HugeBody => {
                const BLANKS: usize = 2 << 20;
                whole([&body[..], &vec![b' '; BLANKS]].concat())
            }
            FaultKind::WrongLength => whole(changed(&body, |value| {
                value.pop();
            })),
            FaultKind::WrongValue => whole(changed(&body, |value| {
                if let Some(byte) = value.last_mut() {
                    *byte ^= 1;
                }
            })),
            FaultKind::SlowBody => {
                parts
                    .headers
                    .insert(header::CONTENT_LENGTH, body.len().into());
                pieces(slowly(body, self.delay))
            }
            _ => whole(body),
        };
        Response::from_parts(parts, body)
    }
}

/// An answer whose binary `value` is changed; one without is left alone.
fn changed(body: &Bytes, change: impl FnOnce(&mut Vec<u8>)) -> Bytes {
    let parsed = serde_json::from_slice::<serde_json::Value>(body);
    let Ok(mut json) = parsed else {
        return body.clone();
    };
    let value = json["value"]
        .as_str()
        .and_then(crate::algorithm::decode_base64url);
    let Some(mut value) = value else {
        return body.clone();
    };
    change(&mut value);
    json["value"] = crate::algorithm::encode_base64url(&value).into();
    json.to_string().into()
}

/// A body in ten pieces, over a time.
fn slowly(
    body: Bytes,
    time: Duration,
) -> impl futures_util::Stream<Item = Result<Bytes, std::io::Error>> {
    const PIECES: usize = 10;
    let size = body.len().div_ceil(PIECES).max(1);
    let pause = time / PIECES as u32;
    futures_util::stream::unfold(body, move |mut rest| async move {
        if rest.is_empty() {
            return None;
        }
        tokio::time::sleep(pause).await;
        let piece = rest.split_to(size.min(rest.len()));
        Some((Ok(piece), rest))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_read_and_wrong_ones_are_named() {
        let fault: Fault = "throttled,operation=sign,count=2,share=0.5"
            .parse()
            .unwrap();
        assert_eq!(fault.kind, FaultKind::Throttled);
        assert_eq!((fault.count, fault.share), (Some(2), Some(0.5)));
        for (text, words) in [
            ("fire", "half-body"),
            ("drop,count", "name=value"),
            ("drop,count=many", "many"),
            ("drop,share=2", "0 to 1"),
            ("drop,colour=red", "colour"),
            ("no-handshake,operation=sign", "neither"),
        ] {
            let message = text.parse::<Fault>().unwrap_err();
            assert!(message.contains(words), "{message}");
        }
    }

    #[test]
    fn a_fault_meets_what_it_is_for_as_often_as_it_is_told() {
        let faults = Faults::new(vec![
            "drop,operation=sign,path=/keys/a,count=2".parse().unwrap(),
        ]);
        assert!(faults.meet("/keys/b/sign").is_none());
        assert!(faults.meet("/keys/a/verify").is_none());
        assert!(faults.meet("/keys/a/0/sign").is_some());
        assert!(faults.meet("/keys/a/sign/").is_some());
        assert!(faults.meet("/keys/a/sign").is_none());
        assert!(faults.list().is_empty());
    }

    #[test]
    fn connections_and_requests_meet_their_own_faults() {
        let faults = Faults::new(vec![
            "no-handshake,count=1".parse().unwrap(),
            "drop,count=1".parse().unwrap(),
        ]);
        assert_eq!(faults.meet("/keys/a").unwrap().kind, FaultKind::Drop);
        assert!(faults.meet("/keys/a").is_none());
        let met = faults.meet_connection().unwrap();
        assert_eq!(met.kind, FaultKind::NoHandshake);
        assert!(faults.meet_connection().is_none());
    }
}
