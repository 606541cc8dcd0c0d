//! Faults on demand: what a service and the network to it do on bad days, for as many requests, or
//! as large a share of them, as asked.

mod effect;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::{HeaderName, HeaderValue};
use serde::{Deserialize, Serialize};

use crate::capacity::random_share;
use crate::json;

pub(crate) use effect::{Before, Refused};

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
    /// The fault's `body` in place of the answer's own.
    OtherBody,
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
    const ALL: [Self; 30] = [
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
        Self::OtherBody,
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
    /// A header that the answer has besides, `Name: value`. It takes the place of one of the same
    /// name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<String>,
    /// The body, for the kind `other-body`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
}

fn one_second() -> u64 {
    1000
}

impl std::str::FromStr for Fault {
    type Err = String;

    /// `kind[,operation=sign][,path=/keys/k][,count=3][,share=0.1][,delay_ms=500][,header=Name: value][,body=TEXT]`
    ///
    /// A value with a comma in it can be told as JSON only.
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
            body: None,
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
                "body" => fault.body = Some(value.to_owned()),
                other => {
                    return Err(format!(
                        "there is no '{other}'; there are operation, path, count, share, delay_ms, header, body"
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
    body: Option<String>,
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
            true => json::read(text.as_bytes()).map_err(|error| error.to_string())?,
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
            body: fault.body.clone(),
        };
        faults.retain(|fault| fault.count != Some(0));
        Some(met)
    }
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
