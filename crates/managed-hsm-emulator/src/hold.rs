//! What carries a connection, so that a fault can reach it: end it in the middle, reset it, or
//! change what is written.

use std::borrow::Cow;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::Notify;

use crate::spelling::as_the_service;

/// What a client reads that isn't HTTP.
const GARBAGE: &[u8] = b"\x00\x16\x03garbage that a fault asked for\r\n\r\n\xff\xfe";

/// What becomes of the next bytes that are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    /// Others, which aren't HTTP, are written in their place.
    Garbage,
    /// They are written twice.
    Twice,
}

/// A hold on a connection, shared by those that serve its requests.
#[derive(Debug, Default)]
pub(crate) struct Hold {
    end: Notify,
    resets: AtomicBool,
    change: Mutex<Option<Change>>,
}

impl Hold {
    /// Ends the connection at once, without a word in TLS or HTTP.
    pub(crate) fn cut(&self) {
        self.end.notify_one();
    }

    /// The same by a TCP reset.
    pub(crate) fn reset(&self) {
        self.resets.store(true, Ordering::Relaxed);
        self.cut();
    }

    /// Changes what is written next.
    pub(crate) fn change(&self, change: Change) {
        *self.change.lock().unwrap_or_else(PoisonError::into_inner) = Some(change);
    }

    /// Waits until the connection is to end.
    pub(crate) async fn is_cut(&self) {
        self.end.notified().await;
    }

    fn take_change(&self) -> Option<Change> {
        let mut change = self.change.lock().unwrap_or_else(PoisonError::into_inner);
        change.take()
    }
}

/// A TCP connection that ends as its hold says.
#[derive(Debug)]
pub(crate) struct Tcp {
    stream: TcpStream,
    hold: Arc<Hold>,
}

impl Tcp {
    pub(crate) fn new(stream: TcpStream, hold: Arc<Hold>) -> Self {
        Self { stream, hold }
    }
}

impl Drop for Tcp {
    fn drop(&mut self) {
        if self.hold.resets.load(Ordering::Relaxed) {
            // Nothing is lost if the system refuses: the connection ends all the same.
            let _ = self.stream.set_zero_linger();
        }
    }
}

impl AsyncRead for Tcp {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Tcp {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// A stream of HTTP whose bytes are changed as its hold says, and heads as the service writes them.
#[derive(Debug)]
pub(crate) struct Changed<S> {
    stream: S,
    hold: Arc<Hold>,
    /// Bytes that were taken and are still to be written.
    pending: Vec<u8>,
}

impl<S> Changed<S> {
    pub(crate) fn new(stream: S, hold: Arc<Hold>) -> Self {
        Self {
            stream,
            hold,
            pending: Vec::new(),
        }
    }
}

impl<S: AsyncWrite + Unpin> Changed<S> {
    fn poll_pending(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.pending.is_empty() {
            let written = ready!(Pin::new(&mut self.stream).poll_write(cx, &self.pending))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.pending.drain(..written);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Changed<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Changed<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_pending(cx))?;
        let written = as_the_service(buf);
        match (self.hold.take_change(), &written) {
            (None, Cow::Borrowed(_)) => return Pin::new(&mut self.stream).poll_write(cx, buf),
            (None, Cow::Owned(_)) => self.pending = written.into_owned(),
            (Some(Change::Garbage), _) => self.pending.extend_from_slice(GARBAGE),
            (Some(Change::Twice), _) => self.pending = [&written[..], &written].concat(),
        }
        // What can't be written now is written before anything else, or at the next flush.
        let _ = self.poll_pending(cx)?;
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_pending(cx))?;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_pending(cx))?;
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
