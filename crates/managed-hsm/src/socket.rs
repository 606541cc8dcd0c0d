//! A TCP connection, as far as it is still ours.
//!
//! Programs close descriptors that they didn't open: a daemon all above 2, say. The number then
//! belongs to nobody, or to a file or a socket of the program's. So no request is sent and nothing
//! is closed before it is seen to be the socket that was opened.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::event_loop::{Direction, Watched};

/// A TCP connection. Once its descriptor is another's it is left alone, also when it is dropped.
pub(crate) struct Socket {
    tcp: Arc<Watched>,
    /// Whether the last look found all that had come.
    is_drained: bool,
    records: Records,
    /// How many bytes have come since the last answer was complete, and how many may.
    came: usize,
    most: usize,
}

/// The largest answer that is read, in bytes.
pub(crate) const MAX_ANSWER: usize = 1 << 20;

/// The most bytes that come before there is a connection, or an answer: more than any takes. What
/// comes faster than it is looked at would otherwise keep its reader from ever looking at the time.
const MOST: usize = 4 * MAX_ANSWER;

impl Socket {
    /// `tcp` doesn't block, and is perhaps still to be connected: see [`Socket::connected`].
    pub(crate) fn new(tcp: TcpStream) -> io::Result<Self> {
        Ok(Self {
            tcp: Watched::new(tcp)?,
            is_drained: false,
            records: Records::default(),
            came: 0,
            most: MOST,
        })
    }

    /// Waits for the end of the attempt to connect, which has begun.
    pub(crate) async fn connected(self) -> io::Result<Self> {
        let mut has_waited = false;
        std::future::poll_fn(|context| self.poll_after(Direction::Write, context, &mut has_waited))
            .await;
        let tcp = self.tcp.get()?;
        match tcp.take_error()? {
            Some(error) => return Err(error),
            None => tcp.peer_addr()?,
        };
        tcp.set_nodelay(true)?;
        Ok(self)
    }

    /// Waits once.
    fn poll_after(
        &self,
        direction: Direction,
        context: &Context<'_>,
        has_waited: &mut bool,
    ) -> Poll<()> {
        if self.tcp.still_waits(direction, context.waker()) {
            return Poll::Pending;
        }
        if std::mem::replace(has_waited, true) {
            return Poll::Ready(());
        }
        self.tcp.wait(direction, context.waker());
        Poll::Pending
    }

    /// Does `work` as soon as the socket is ready for it, if it is still ours.
    fn poll<T>(
        &self,
        direction: Direction,
        context: &Context<'_>,
        mut work: impl FnMut(&TcpStream) -> io::Result<T>,
    ) -> Poll<io::Result<T>> {
        loop {
            if self.tcp.still_waits(direction, context.waker()) {
                return Poll::Pending;
            }
            match work(self.tcp.get()?) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.tcp.wait(direction, context.waker());
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                outcome => return Poll::Ready(outcome),
            }
        }
    }

    /// The same once a proxy has said where it leads: TLS begins here.
    pub(crate) fn tunnelled(mut self) -> Self {
        self.records = Records::default();
        self.came = 0;
        self
    }

    /// So many answers may be under way before one of them is complete.
    pub(crate) fn expect_answers(&mut self, count: usize) {
        self.most = count * MOST;
    }

    /// An answer is complete.
    pub(crate) fn end_answer(&mut self) {
        self.came = 0;
    }

    /// Notes what has come.
    fn pass(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.records.pass(bytes);
        self.came = self.came.saturating_add(bytes.len());
        match self.came > self.most {
            true => Err(io::Error::other("what the other side sends has no end")),
            false => Ok(()),
        }
    }

    /// Whether all TLS records that have begun have been read to their end.
    pub(crate) fn is_between_records(&self) -> bool {
        self.records == Records::default()
    }

    /// Whether something can be read, or the other side has ended the connection.
    pub(crate) fn has_unread(&self) -> io::Result<bool> {
        match self.tcp.get()?.peek(&mut [0]) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            looked => looked.map(|_| true),
        }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.tcp.leave();
    }
}

/// What is there now, without waiting.
impl Read for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.tcp.get()?.read(buffer)?;
        self.pass(&buffer[..count])?;
        Ok(count)
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if std::mem::take(&mut this.is_drained) {
            // To find nothing costs as much as to find something.
            this.tcp.wait(Direction::Read, context.waker());
            return Poll::Pending;
        }
        let room = buffer.initialize_unfilled();
        let count = ready!(this.poll(Direction::Read, context, |mut tcp| tcp.read(room)))?;
        this.is_drained = (1..room.len()).contains(&count);
        this.pass(&room[..count])?;
        buffer.advance(count);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll(Direction::Write, context, |mut tcp| tcp.write(bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll(Direction::Write, context, |mut tcp| {
            tcp.write_vectored(bytes)
        })
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.tcp.get()?.shutdown(std::net::Shutdown::Write))
    }
}

/// How far TLS records have come in: each is a header of five bytes, the last two of which tell how
/// many follow it.
#[derive(Debug, Default, PartialEq, Eq)]
struct Records {
    /// The bytes of a header that have come, and how many.
    header: ([u8; 5], usize),
    /// What is still to come of the record.
    left: usize,
}

impl Records {
    fn pass(&mut self, mut bytes: &[u8]) {
        while let Some((&byte, rest)) = bytes.split_first() {
            if self.left > 0 {
                let count = self.left.min(bytes.len());
                self.left -= count;
                bytes = &bytes[count..];
                continue;
            }
            let (header, come) = &mut self.header;
            header[*come] = byte;
            *come += 1;
            bytes = rest;
            if *come == header.len() {
                self.left = usize::from(u16::from_be_bytes([header[3], header[4]]));
                self.header = Default::default();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_followed_however_they_are_cut() {
        let record = |len: u8| [&[23, 3, 3, 0, len][..], &vec![7; len.into()]].concat();
        let bytes = [record(0), record(1), record(9)].concat();
        let ends = [5, 11, 25];
        for size in 1..bytes.len() {
            let mut records = Records::default();
            let mut at = 0;
            for piece in bytes.chunks(size) {
                records.pass(piece);
                at += piece.len();
                let is_end = ends.contains(&at);
                assert_eq!(records == Records::default(), is_end, "{size} {at}");
            }
        }
    }
}
