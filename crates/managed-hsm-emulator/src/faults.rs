//! Faults on demand: what a service and the network to it do on bad days, for as many requests, or as large a share of
//! them, as asked.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::capacity::random_share;
use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use serde::{Deserialize, Serialize};

/// The text of 429.
pub(crate) const THROTTLED: &str = "Request was not processed because too many requests were received. Reason: VaultRequestTypeLimitReached";

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FaultKind {
    /// 429 without Retry-After, as the service answers.
    Throttled,
    /// 429 with Retry-After: 1.
    ThrottledRetryAfter,
    /// 500.
    InternalError,
    /// 503.
    Unavailable,
    /// 401 that asks for a new token with certain claims, as continuous access evaluation does.
    ClaimsChallenge,
    /// The connection ends without an answer, and without the request being carried out.
    Drop,
    /// The connection ends in the middle of the answer's body.
    HalfBody,
    /// An answer of 200 that isn't JSON.
    MalformedJson,
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
}

impl FaultKind {
    const ALL: [Self; 13] = [
        Self::Throttled,
        Self::ThrottledRetryAfter,
        Self::InternalError,
        Self::Unavailable,
        Self::ClaimsChallenge,
        Self::Drop,
        Self::HalfBody,
        Self::MalformedJson,
        Self::WrongLength,
        Self::WrongValue,
        Self::SlowFirstByte,
        Self::SlowBody,
        Self::Close,
    ];

    fn name(self) -> String {
        let name = serde_json::to_value(self).unwrap_or_default();
        name.as_str().unwrap_or_default().to_owned()
    }

    /// Whether the request is not even carried out.
    fn comes_first(self) -> bool {
        matches!(
            self,
            Self::Throttled
                | Self::ThrottledRetryAfter
                | Self::InternalError
                | Self::Unavailable
                | Self::ClaimsChallenge
                | Self::Drop
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
    /// Milliseconds, for the slow kinds.
    #[serde(default = "one_second")]
    pub delay_ms: u64,
}

fn one_second() -> u64 {
    1000
}

impl std::str::FromStr for Fault {
    type Err = String;

    /// `kind[,operation=sign][,path=/keys/k][,count=3][,share=0.1][,delay_ms=500]`
    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = text.split(',');
        let name = parts.next().unwrap_or_default();
        let kind = FaultKind::ALL.into_iter().find(|kind| kind.name() == name);
        let kind = kind.ok_or_else(|| {
            let known: Vec<String> = FaultKind::ALL.into_iter().map(FaultKind::name).collect();
            format!("there is no fault '{name}'; there are {}", known.join(", "))
        })?;
        let mut fault = Self {
            kind,
            operation: None,
            path: None,
            count: None,
            share: None,
            delay_ms: one_second(),
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
                other => {
                    return Err(format!(
                        "there is no '{other}'; there are operation, path, count, share, delay_ms"
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
        match self.share {
            Some(share) if !(0.0..=1.0).contains(&share) => {
                Err(format!("a share is from 0 to 1, and not {share}"))
            }
            _ => Ok(()),
        }
    }

    fn meets(&self, path: &str) -> bool {
        let last = path
            .trim_end_matches('/')
            .rsplit('/')
            .next()
            .unwrap_or_default();
        let operation = self.operation.as_deref();
        let begins = self.path.as_deref();
        self.count != Some(0)
            && operation.is_none_or(|operation| operation.eq_ignore_ascii_case(last))
            && begins.is_none_or(|begin| path.starts_with(begin))
            && self.share.is_none_or(|share| random_share() < share)
    }
}

/// The faults that are set.
#[derive(Debug, Default)]
pub(crate) struct Faults(Mutex<Vec<Fault>>);

/// What a request meets.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Met {
    kind: FaultKind,
    delay: Duration,
}

impl Faults {
    pub(crate) fn new(faults: Vec<Fault>) -> Self {
        Self(Mutex::new(faults))
    }

    pub(crate) fn list(&self) -> Vec<Fault> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub(crate) fn add(&self, fault: Fault) {
        let mut faults = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        faults.push(fault);
    }

    pub(crate) fn clear(&self) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
    }

    /// The first fault that a request for `path` meets; it counts as met.
    pub(crate) fn meet(&self, path: &str) -> Option<Met> {
        let mut faults = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let fault = faults.iter_mut().find(|fault| fault.meets(path))?;
        if let Some(count) = &mut fault.count {
            *count -= 1;
        }
        let met = Met {
            kind: fault.kind,
            delay: Duration::from_millis(fault.delay_ms),
        };
        faults.retain(|fault| fault.count != Some(0));
        Some(met)
    }
}

impl Met {
    pub(crate) fn drops(self) -> bool {
        self.kind == FaultKind::Drop
    }

    /// The answer in place of carrying the request out: status, code, text and whether to tell when to come again.
    pub(crate) fn instead(self) -> Option<(StatusCode, &'static str, &'static str, bool)> {
        if !self.kind.comes_first() {
            return None;
        }
        Some(match self.kind {
            FaultKind::Throttled => (StatusCode::TOO_MANY_REQUESTS, "Throttled", THROTTLED, false),
            FaultKind::ThrottledRetryAfter => {
                (StatusCode::TOO_MANY_REQUESTS, "Throttled", THROTTLED, true)
            }
            FaultKind::ClaimsChallenge => (
                StatusCode::UNAUTHORIZED,
                "Unauthorized",
                "The token lacks claims that the challenge names.",
                false,
            ),
            FaultKind::Unavailable => (
                StatusCode::SERVICE_UNAVAILABLE,
                "ServiceUnavailable",
                "The service is temporarily unavailable.",
                false,
            ),
            _ => (
                StatusCode::INTERNAL_SERVER_ERROR,
                "InternalServerError",
                "An internal error occurred.",
                false,
            ),
        })
    }

    /// Whether the answer asks for claims in a new token.
    pub(crate) fn asks_for_claims(self) -> bool {
        self.kind == FaultKind::ClaimsChallenge
    }

    /// The answer as the fault leaves it.
    pub(crate) async fn spoil(self, response: Response) -> Response {
        if self.kind == FaultKind::SlowFirstByte {
            tokio::time::sleep(self.delay).await;
            return response;
        }
        let (mut parts, body) = response.into_parts();
        if self.kind == FaultKind::Close {
            parts
                .headers
                .insert(header::CONNECTION, HeaderValue::from_static("close"));
            return Response::from_parts(parts, body);
        }
        let body = axum::body::to_bytes(body, usize::MAX)
            .await
            .unwrap_or_default();
        let body = match self.kind {
            FaultKind::HalfBody => {
                parts
                    .headers
                    .insert(header::CONTENT_LENGTH, body.len().into());
                let half = body.slice(..body.len() / 2);
                let broken = std::io::Error::other("a fault that was asked for");
                Body::from_stream(futures_util::stream::iter([Ok(half), Err(broken)]))
            }
            FaultKind::MalformedJson => Body::from(r#"{"value":"#),
            FaultKind::WrongLength => Body::from(changed(&body, |value| {
                value.pop();
            })),
            FaultKind::WrongValue => Body::from(changed(&body, |value| {
                if let Some(byte) = value.last_mut() {
                    *byte ^= 1;
                }
            })),
            FaultKind::SlowBody => {
                parts
                    .headers
                    .insert(header::CONTENT_LENGTH, body.len().into());
                Body::from_stream(slowly(body, self.delay))
            }
            _ => Body::from(body),
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
        assert!(faults.meet("/keys/a/0/sign").is_some_and(Met::drops));
        assert!(faults.meet("/keys/a/sign/").is_some());
        assert!(faults.meet("/keys/a/sign").is_none());
        assert!(faults.list().is_empty());
    }
}
