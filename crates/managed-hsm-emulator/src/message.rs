//! Requests and answers as the emulator handles them: hyper's, with one type of body.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, Limited, StreamBody};
use hyper::body::{Body as _, Frame, Incoming};

/// How long the head of a request may take to come, and how long its body: who sends slowly on
/// purpose is gone within 30 seconds.
pub(crate) const HALF_A_REQUEST: Duration = Duration::from_secs(14);
/// More than the largest body that any operation needs.
const BODY_LIMIT: usize = 1024 * 1024;

pub(crate) type Request = http::Request<Incoming>;
pub(crate) type Body = UnsyncBoxBody<Bytes, io::Error>;
pub(crate) type Response = http::Response<Body>;

/// A body that is there as a whole.
pub(crate) fn whole(body: impl Into<Bytes>) -> Body {
    Full::new(body.into())
        .map_err(|never| match never {})
        .boxed_unsync()
}

/// A body that comes piece by piece.
pub(crate) fn pieces(
    pieces: impl futures_util::Stream<Item = io::Result<Bytes>> + Send + 'static,
) -> Body {
    let frames = futures_util::StreamExt::map(pieces, |piece| piece.map(Frame::data));
    BodyExt::boxed_unsync(StreamBody::new(frames))
}

/// The answer to a request of this method: one to HEAD has a length and no body, which hyper sees
/// to only over HTTP/1.1.
pub(crate) fn answer_to(method: &Method, response: Response) -> Response {
    if method != Method::HEAD {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    if let Some(length) = body.size_hint().exact() {
        parts.headers.insert(header::CONTENT_LENGTH, length.into());
    }
    Response::from_parts(parts, whole(""))
}

/// Why a request's body is not there.
#[derive(Debug, Clone, Copy)]
pub(crate) enum NotRead {
    /// It is too long, or did not come whole.
    Whole,
    /// It did not come in time.
    InTime,
}

/// Reads a request's body.
pub(crate) async fn read(body: Incoming) -> Result<Bytes, NotRead> {
    let collected = Limited::new(body, BODY_LIMIT).collect();
    match tokio::time::timeout(HALF_A_REQUEST, collected).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(_)) => Err(NotRead::Whole),
        Err(_) => Err(NotRead::InTime),
    }
}
