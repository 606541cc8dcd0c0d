//! A TLS connection that ties answers to requests.
//!
//! By HTTP/1.1 nothing in an answer says which request it answers: it is the next bytes that come.
//! So bytes count as an answer only if they come after a request was sent whole, and nothing may be
//! there when one is: an answer that came twice, too early or unasked (load balancers send 408 and
//! 400 to connections that are idle) would be taken for the answer to another request. A connection
//! on which that happens carries no request any more.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use rustls::ClientConnection;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::client::TlsStream;

use crate::socket::{MAX_ANSWER, Socket};

/// The most bytes that are read before an answer is complete: twice what an answer may have, for
/// the sake of its head and of what stands between its chunks.
pub(crate) const MAX_BYTES: usize = 2 * MAX_ANSWER;

/// How many answers of that size HTTP/2 may have under way before one of them is complete.
const MAX_ANSWERS: usize = 16;

/// How often a look reads what is not for us but for TLS: tickets and new keys.
const MAX_LOOKS: usize = 8;

/// A connection; hyper has one handle to it, and whoever sends requests the other.
#[derive(Clone)]
pub(crate) struct Stream(Arc<Mutex<Inner>>);

struct Inner {
    tls: TlsStream<Socket>,
    phase: Phase,
    /// How many bytes have come since the last answer was complete.
    came: usize,
    fault: Option<Fault>,
}

/// Where a connection stands between two requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// No request is outstanding.
    Idle,
    /// A request is to be sent, and nothing of it has been.
    Ready,
    /// Something of it has.
    Sending,
    /// All of it has.
    Sent,
    /// Requests and answers are told apart by HTTP/2.
    Many,
}

/// Why a connection carries no request any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Something came that is no answer to a request.
    Unasked,
    /// An answer has no end.
    Endless,
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unasked => f.write_str("the server sent what nobody had asked for"),
            Self::Endless => f.write_str("the answer has no end"),
        }
    }
}

impl Stream {
    pub(crate) fn new(mut tls: TlsStream<Socket>, is_http2: bool) -> Self {
        if is_http2 {
            tls.get_mut().0.expect_answers(MAX_ANSWERS);
        }
        Self(Arc::new(Mutex::new(Inner {
            tls,
            phase: match is_http2 {
                true => Phase::Many,
                false => Phase::Idle,
            },
            came: 0,
            fault: None,
        })))
    }

    /// A request is about to be sent.
    pub(crate) fn begin(&self) {
        let mut inner = self.lock();
        if inner.phase == Phase::Idle {
            inner.phase = Phase::Ready;
        }
    }

    /// Its answer has been read to its end.
    pub(crate) fn end(&self) {
        let mut inner = self.lock();
        inner.came = 0;
        inner.tls.get_mut().0.end_answer();
        match inner.phase {
            Phase::Sent => inner.phase = Phase::Idle,
            Phase::Many => {}
            // The answer came before the request was sent.
            _ => inner.fault = Some(Fault::Unasked),
        }
    }

    /// Whether nothing of the request was sent.
    pub(crate) fn is_unsent(&self) -> bool {
        self.lock().phase == Phase::Ready
    }

    pub(crate) fn fault(&self) -> Option<Fault> {
        self.lock().fault
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Notes a fault, and makes an error of it that ends the connection.
    fn fail(&mut self, fault: Fault) -> io::Error {
        self.fault = Some(fault);
        io::Error::new(io::ErrorKind::ConnectionAborted, fault.to_string())
    }

    /// Makes sure that nothing has come, nor the end.
    fn look(&mut self) -> io::Result<()> {
        for _ in 0..MAX_LOOKS {
            let (socket, tls) = self.tls.get_mut();
            let state = processed(tls)?;
            if state.plaintext_bytes_to_read() > 0 {
                return Err(self.fail(Fault::Unasked));
            }
            if state.peer_has_closed() {
                return Err(closed());
            }
            if !socket.has_unread()? {
                return match socket.is_between_records() {
                    true => Ok(()),
                    false => Err(self.fail(Fault::Unasked)),
                };
            }
            match tls.read_tls(socket) {
                Ok(0) => return Err(closed()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        Err(self.fail(Fault::Unasked))
    }
}

fn processed(tls: &mut ClientConnection) -> io::Result<rustls::IoState> {
    tls.process_new_packets()
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

/// The server closed the connection while nobody used it.
fn closed() -> io::Error {
    io::ErrorKind::UnexpectedEof.into()
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut inner = self.lock();
        let before = buffer.filled().len();
        ready!(Pin::new(&mut inner.tls).poll_read(context, buffer))?;
        let count = buffer.filled().len() - before;
        if count > 0 && !matches!(inner.phase, Phase::Sent | Phase::Many) {
            buffer.set_filled(before);
            return Poll::Ready(Err(inner.fail(Fault::Unasked)));
        }
        inner.came = inner.came.saturating_add(count);
        let most = match inner.phase {
            Phase::Many => MAX_ANSWERS * MAX_BYTES,
            _ => MAX_BYTES,
        };
        if inner.came > most {
            buffer.set_filled(before);
            return Poll::Ready(Err(inner.fail(Fault::Endless)));
        }
        Poll::Ready(Ok(()))
    }
}

impl Stream {
    /// Before something is written: a request goes out only where nothing has come.
    fn before_writing(inner: &mut Inner) -> io::Result<()> {
        if inner.phase == Phase::Ready {
            inner.look()?;
            inner.phase = Phase::Sending;
        }
        Ok(())
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut inner = self.lock();
        Self::before_writing(&mut inner)?;
        Pin::new(&mut inner.tls).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut inner = self.lock();
        Self::before_writing(&mut inner)?;
        Pin::new(&mut inner.tls).poll_write_vectored(context, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.lock().tls.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut inner = self.lock();
        ready!(Pin::new(&mut inner.tls).poll_flush(context))?;
        // hyper flushes when it has written head and body: both are far smaller than what it
        // gathers before.
        if inner.phase == Phase::Sending {
            inner.phase = Phase::Sent;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.lock().tls).poll_shutdown(context)
    }
}
