//! A TCP connection, as far as it is still ours.
//!
//! Programs close descriptors that they didn't open: a daemon all above 2, say. The number then belongs to nobody, or to a file or a
//! socket of the program's. So no request is sent and nothing is closed before it is seen to be the socket that was opened.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::descriptors::FileId;

/// A TCP connection. Once its descriptor is another's it is left alone, also when it is dropped.
#[derive(Debug)]
pub(crate) struct Socket {
    /// Always there but while the socket is dropped.
    tcp: Option<TcpStream>,
    id: FileId,
    records: Records,
}

impl Socket {
    pub(crate) fn new(tcp: TcpStream) -> io::Result<Self> {
        Ok(Self {
            id: FileId::of(&tcp)?,
            tcp: Some(tcp),
            records: Records::default(),
        })
    }

    /// The same once a proxy has said where it leads: TLS begins here.
    pub(crate) fn tunnelled(mut self) -> Self {
        self.records = Records::default();
        self
    }

    /// Makes sure that the socket is still ours. To be called before each request: asking each time would cost more than the rest.
    pub(crate) fn check(&self) -> io::Result<()> {
        match self.tcp.as_ref().is_some_and(|tcp| self.id.is_of(tcp)) {
            true => Ok(()),
            false => Err(no_longer_ours()),
        }
    }

    fn tcp(&mut self) -> io::Result<Pin<&mut TcpStream>> {
        self.tcp.as_mut().map(Pin::new).ok_or_else(no_longer_ours)
    }

    /// Whether all TLS records that have begun have been read to their end.
    pub(crate) fn is_between_records(&self) -> bool {
        self.records == Records::default()
    }
}

fn no_longer_ours() -> io::Error {
    io::Error::new(
        io::ErrorKind::ConnectionAborted,
        "the program has closed the connection's descriptor",
    )
}

impl Drop for Socket {
    fn drop(&mut self) {
        if let Some(tcp) = self.tcp.take()
            && !self.id.is_of(&tcp)
        {
            // To drop it would close somebody else's file.
            std::mem::forget(tcp);
        }
    }
}

/// What is there now, without waiting.
impl io::Read for Socket {
    #[cfg(unix)]
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let tcp = self.tcp()?;
        let (count, _) = rustix::net::recv(&*tcp, &mut *buffer, rustix::net::RecvFlags::DONTWAIT)?;
        self.records.pass(&buffer[..count]);
        Ok(count)
    }

    #[cfg(not(unix))]
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.tcp()?.try_read(buffer)?;
        self.records.pass(&buffer[..count]);
        Ok(count)
    }
}

impl Socket {
    /// Whether something can be read, or the other side has ended the connection.
    #[cfg(unix)]
    pub(crate) fn has_unread(&mut self) -> io::Result<bool> {
        use rustix::net::RecvFlags;
        let looked = rustix::net::recv(
            &*self.tcp()?,
            &mut [0],
            RecvFlags::DONTWAIT | RecvFlags::PEEK,
        );
        match looked {
            Err(rustix::io::Errno::AGAIN) => Ok(false),
            looked => Ok(looked.map(|_| true)?),
        }
    }

    #[cfg(not(unix))]
    pub(crate) fn has_unread(&mut self) -> io::Result<bool> {
        Ok(true)
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        ready!(this.tcp()?.poll_read(context, buffer))?;
        this.records.pass(&buffer.filled()[before..]);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().tcp()?.poll_write(context, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().tcp()?.poll_write_vectored(context, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().tcp()?.poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.check()?;
        this.tcp()?.poll_shutdown(context)
    }
}

/// How far TLS records have come in: each is a header of five bytes, the last two of which tell how many follow it.
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
