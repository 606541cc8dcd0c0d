//! A connection to a host, and requests on it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderValue, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::TokioIo;
use tokio_rustls::TlsConnector;
use url::Url;

use super::connector::Connector;
use super::driver::drive;
use super::failure::Failure;
use super::host::endpoint;
use super::liveness::Liveness;
use super::message::{Answer, Message, REQUEST_ID, read};
use crate::event_loop::{Executor, Timer};
use crate::metrics::{self, OpenConnection};
use crate::seen::Seen;
use crate::stream::{Fault, Stream};

/// How often an HTTP/2 connection is tried while answers are outstanding, and how long that may
/// take: many wait for it.
const PING: Duration = Duration::from_secs(2);
const PING_TIMEOUT: Duration = Duration::from_secs(3);

/// A connection.
pub(super) struct Connection {
    /// Those that are shared have it in common.
    liveness: Arc<Liveness>,
    /// As [`endpoint`] has it.
    pub(super) endpoint: String,
    sender: Sender,
    stream: Stream,
    /// The names of its answers.
    seen: Seen,
    pub(super) used: Instant,
    /// None: nobody counts. Those that are shared have it in common.
    counted: Option<Arc<OpenConnection>>,
}

enum Sender {
    Http1(http1::SendRequest<Full<Bytes>>),
    Http2(http2::SendRequest<Full<Bytes>>),
}

impl Connection {
    /// Opens one.
    pub(super) async fn open(
        connector: &Connector,
        tls: &TlsConnector,
        url: &Url,
    ) -> Result<Self, Failure> {
        let dialled = connector.in_time(connector.dial(tls, url)).await;
        let needs_http2 = tls.config().alpn_protocols == [b"h2"];
        let stream = match dialled {
            // Servers say so by an alert, or by nothing; another attempt tells what else it was.
            Err(Failure::Tls(_)) if needs_http2 => return Err(Failure::NoHttp2),
            dialled => dialled?,
        };
        let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        if needs_http2 && !is_http2 {
            return Err(Failure::NoHttp2);
        }
        let stream = Stream::new(stream, is_http2);
        let io = TokioIo::new(stream.clone());
        let sender = if is_http2 {
            let mut builder = http2::Builder::new(Executor);
            builder
                .timer(Timer)
                .keep_alive_interval(PING)
                .keep_alive_timeout(PING_TIMEOUT);
            let (sender, connection) = builder.handshake(io).await.map_err(Failure::Exchange)?;
            drive(connection);
            Sender::Http2(sender)
        } else {
            let (sender, connection) = http1::handshake(io).await.map_err(Failure::Exchange)?;
            drive(connection);
            Sender::Http1(sender)
        };
        Ok(Self {
            liveness: Arc::default(),
            endpoint: endpoint(url).to_owned(),
            sender,
            stream,
            seen: Seen::default(),
            used: Instant::now(),
            counted: metrics::opened(endpoint(url)),
        })
    }

    /// Whether it can carry another request, and has carried one within this time.
    pub(super) fn is_good(&self, idle_timeout: Duration) -> bool {
        let is_closed = match &self.sender {
            Sender::Http1(sender) => sender.is_closed(),
            Sender::Http2(sender) => sender.is_closed(),
        };
        let is_sound = !is_closed && self.stream.fault().is_none();
        is_sound
            && self.liveness.is_alive()
            && self.seen.has_room()
            && self.used.elapsed() < idle_timeout
    }

    /// Whether it is the same connection.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.liveness, &other.liveness)
    }

    /// The same connection for another request, if it can carry several.
    pub(super) fn share(&self) -> Option<Self> {
        match &self.sender {
            Sender::Http1(_) => None,
            Sender::Http2(sender) => Some(Self {
                liveness: Arc::clone(&self.liveness),
                endpoint: self.endpoint.clone(),
                sender: Sender::Http2(sender.clone()),
                stream: self.stream.clone(),
                seen: Seen::default(),
                used: Instant::now(),
                counted: self.counted.clone(),
            }),
        }
    }

    /// Sends a request, and reads the answer.
    pub(super) async fn exchange(&mut self, message: &Message<'_>) -> Result<Answer, Failure> {
        let waiting = self.liveness.wait();
        let answer = match self.send(message).await {
            Ok(response) => self.read(response).await,
            Err(failure) => Err(failure),
        };
        waiting.end();
        answer
    }

    /// Sends a request, and waits for the head of the answer.
    async fn send(&mut self, message: &Message<'_>) -> Result<Response<Incoming>, Failure> {
        let is_http2 = matches!(self.sender, Sender::Http2(_));
        let request = message.request(is_http2);
        let sent = match &mut self.sender {
            Sender::Http1(sender) => {
                sender.ready().await.map_err(Failure::Unsent)?;
                self.stream.begin();
                sender.try_send_request(request).await
            }
            Sender::Http2(sender) => {
                sender.ready().await.map_err(Failure::Unsent)?;
                sender.try_send_request(request).await
            }
        };
        sent.map_err(|mut error| {
            let is_unsent = error.take_message().is_some() || self.stream.is_unsent();
            match self.stream.fault() {
                _ if is_unsent => Failure::Unsent(error.into_error()),
                Some(fault) => Failure::Fault(fault),
                None => Failure::Exchange(error.into_error()),
            }
        })
    }

    /// Reads the answer. Only then the connection may carry another request, if [it is
    /// good](Self::is_good) for one. What came may answer another request, or none.
    async fn read(&mut self, response: Response<Incoming>) -> Result<Answer, Failure> {
        let is_http2 = matches!(self.sender, Sender::Http2(_));
        let answer = read(response, is_http2).await;
        if answer.is_ok() {
            self.stream.end();
        }
        if let Some(fault) = self.stream.fault() {
            return Err(Failure::Fault(fault));
        }
        let answer = answer?;
        let names = answer.headers.get_all(REQUEST_ID).iter();
        // By HTTP/2 the stream tells.
        match is_http2
            || is_of_one(&answer.headers) && self.seen.admits(names.map(HeaderValue::as_bytes))
        {
            true => Ok(answer),
            false => Err(Failure::Fault(Fault::Unasked)),
        }
    }
}

/// Whether a head is that of one answer. Where the bytes of two are mixed, the second begins within
/// a line of the first, and what says how long an answer is and of what type is there twice.
fn is_of_one(headers: &HeaderMap) -> bool {
    let count = |name| headers.get_all(name).iter().count();
    count(CONTENT_LENGTH) + count(TRANSFER_ENCODING) <= 1 && count(CONTENT_TYPE) <= 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_with_two_lengths_or_types_is_of_two_answers() {
        let of = |lines: &[(&'static str, &'static str)]| {
            let mut headers = HeaderMap::new();
            for (name, value) in lines {
                headers.append(*name, HeaderValue::from_static(value));
            }
            is_of_one(&headers)
        };
        let (length, chunked) = (("content-length", "2"), ("transfer-encoding", "chunked"));
        let json = ("content-type", "application/json");
        assert!(of(&[]) && of(&[json, length]) && of(&[json, chunked]));
        assert!(!of(&[json, length, length]));
        assert!(!of(&[json, length, chunked]));
        assert!(!of(&[length, json, json]));
    }
}
