//! TCP connections of which each use ends in time.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// The addresses of a host. The system's resolver knows no limit, so a thread of its own asks it,
/// for which nobody waits longer than `limit`.
pub(super) fn addresses(host: &str, port: u16, limit: Duration) -> io::Result<Vec<SocketAddr>> {
    let (sender, receiver) = mpsc::channel();
    let asked = host.to_owned();
    thread::Builder::new()
        .name("resolver".to_owned())
        .spawn(move || {
            let found = (asked.as_str(), port).to_socket_addrs();
            // Nobody listens any more after the limit.
            drop(sender.send(found.map(Iterator::collect)));
        })?;
    let found = receiver.recv_timeout(limit);
    found.unwrap_or_else(|_| Err(late(limit)))
}

fn late(limit: Duration) -> io::Error {
    let text = format!("no answer within {} s", limit.as_secs_f32());
    io::Error::new(ErrorKind::TimedOut, text)
}

/// A TCP connection that is used within a limit of time.
pub(super) struct Timed {
    tcp: TcpStream,
    limit: Duration,
    end: Instant,
}

impl Timed {
    /// A connection to the first of the addresses that takes it. An address that doesn't answer
    /// leaves the others their share of the time.
    pub(super) fn connect(addresses: &[SocketAddr], limit: Duration) -> io::Result<Self> {
        let end = Instant::now() + limit;
        let mut problem = io::Error::new(ErrorKind::NotFound, "the host has no address");
        for (address, waiting) in addresses.iter().zip((1..=addresses.len()).rev()) {
            let left = end.saturating_duration_since(Instant::now());
            let share = left.div_f64(waiting as f64);
            match TcpStream::connect_timeout(address, share.max(Duration::from_millis(1))) {
                Ok(tcp) => return Ok(Self { tcp, limit, end }),
                Err(error) if error.kind() == ErrorKind::TimedOut => problem = late(limit),
                Err(error) => problem = error,
            }
        }
        Err(problem)
    }

    /// Gives what follows this much time from now on.
    pub(super) fn allow(&mut self, limit: Duration) {
        self.limit = limit;
        self.end = Instant::now() + limit;
    }

    /// What `attempt` gives, which waits no longer than it is told.
    fn in_time(
        &mut self,
        mut attempt: impl FnMut(&mut TcpStream, Duration) -> io::Result<usize>,
    ) -> io::Result<usize> {
        loop {
            let left = self.end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(late(self.limit));
            }
            match attempt(&mut self.tcp, left) {
                Err(error) if is_no_end(error.kind()) => {}
                outcome => return outcome,
            }
        }
    }
}

/// Whether the attempt may be made again while there is time. Unix calls a limit that has passed
/// `WouldBlock`, Windows `TimedOut`.
fn is_no_end(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::Interrupted | ErrorKind::WouldBlock | ErrorKind::TimedOut
    )
}

impl Read for Timed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.in_time(|tcp, left| {
            tcp.set_read_timeout(Some(left))?;
            tcp.read(buffer)
        })
    }
}

impl Write for Timed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.in_time(|tcp, left| {
            tcp.set_write_timeout(Some(left))?;
            tcp.write(bytes)
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        self.tcp.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn a_server_that_says_nothing_or_little_is_left_in_time() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let limit = Duration::from_millis(200);
        let started = Instant::now();
        let mut stream = Timed::connect(&[address], limit).unwrap();
        let (mut server, _) = listener.accept().unwrap();
        let trickle = thread::spawn(move || while server.write_all(b"x").is_ok() {});
        let mut byte = [0];
        let error = loop {
            if let Err(error) = stream.read(&mut byte) {
                break error;
            }
        };
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        assert_eq!(error.to_string(), "no answer within 0.2 s");
        assert!(started.elapsed() >= limit);
        drop(stream);
        trickle.join().unwrap();
    }

    #[test]
    fn an_address_that_refuses_leaves_the_next_its_turn() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let gone = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let nobody = gone.local_addr().unwrap();
        drop(gone);
        let limit = Duration::from_secs(5);
        let good = listener.local_addr().unwrap();
        assert!(Timed::connect(&[nobody, good], limit).is_ok());
        let refused = Timed::connect(&[nobody], limit).err().unwrap();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
        assert!(Timed::connect(&[], limit).is_err());
    }

    #[test]
    fn names_have_addresses_or_an_error() {
        let limit = Duration::from_secs(5);
        let found = addresses("127.0.0.1", 443, limit).unwrap();
        assert_eq!(found, [SocketAddr::from(([127, 0, 0, 1], 443))]);
        assert!(addresses("nobody.invalid", 443, limit).is_err());
    }
}
