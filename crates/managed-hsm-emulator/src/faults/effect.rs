//! What a fault does to the request or the connection that meets it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};
use http_body_util::{BodyExt, Collected};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{FaultKind, Met, THROTTLED};
use crate::hold::{Change, Hold, Tcp};
use crate::message::{Response, pieces, whole};

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

impl Met {
    /// What the request meets before it is carried out. Where nobody answers, the connection is
    /// ended, unless it is to stay.
    pub(crate) fn before(&self, hold: &Hold) -> Before {
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
            FaultKind::Drop => hold.cut(),
            FaultKind::Reset => hold.reset(),
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
            // A page of HTML takes the place of this text.
            FaultKind::BadGateway => answer(
                StatusCode::BAD_GATEWAY,
                "BadGateway",
                "There is no answer.",
                false,
            ),
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
    pub(crate) async fn greet(self, mut stream: Tcp, hold: &Hold) -> Option<Tcp> {
        const HELLO: usize = 16 * 1024;
        let mut hello = vec![0; HELLO];
        match self.kind {
            FaultKind::ConnectionReset => hold.reset(),
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
    pub(crate) async fn spoil(self, mut response: Response, hold: &Arc<Hold>) -> Response {
        if let Some((name, value)) = &self.header {
            response.headers_mut().insert(name, value.clone());
        }
        match self.kind {
            FaultKind::SlowFirstByte => {
                tokio::time::sleep(self.delay).await;
                return response;
            }
            FaultKind::LostAnswer => {
                hold.cut();
                return std::future::pending().await;
            }
            FaultKind::CloseIdle => {
                let (hold, delay) = (Arc::clone(hold), self.delay);
                tokio::spawn(async move {
                    tokio::time::sleep(delay).await;
                    hold.cut();
                });
                return response;
            }
            FaultKind::Garbage => hold.change(Change::Garbage),
            FaultKind::Twice => hold.change(Change::Twice),
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
            FaultKind::OtherBody => whole(self.body.clone().unwrap_or_default()),
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
