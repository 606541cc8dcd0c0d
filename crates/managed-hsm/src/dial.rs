//! TCP connections to hosts that have several addresses: one that leads nowhere costs a quarter of
//! a second once, not the time that the system takes to give it up, for each connection (RFC 8305).

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::stream::{FuturesUnordered, StreamExt};

use crate::descriptors::{self, Standard};
use crate::event_loop;
use crate::resolver;
use crate::socket::Socket;

/// How long one address is tried alone before the next one is tried beside it.
const STAGGER: Duration = Duration::from_millis(250);

/// How long an address that didn't answer in time is tried last.
const MEMORY: Duration = Duration::from_secs(300);

/// Opens connections, and remembers which addresses lead nowhere.
#[derive(Clone)]
pub(crate) struct Dialler {
    dead: Arc<Mutex<Vec<(SocketAddr, Instant)>>>,
    stagger: Duration,
}

impl Default for Dialler {
    fn default() -> Self {
        Self {
            dead: Arc::default(),
            stagger: STAGGER,
        }
    }
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DialError {
    #[error("dns error")]
    Resolver(#[source] io::Error),
    #[error("tcp connect error")]
    Connect(#[source] io::Error),
}

impl Dialler {
    /// A connection to a host, whose name may be an address.
    pub(crate) async fn connect(&self, host: &str, port: u16) -> Result<Socket, DialError> {
        let addresses = match host.parse::<IpAddr>() {
            Ok(address) => vec![SocketAddr::new(address, port)],
            Err(_) => resolver::addresses(host.to_owned())
                .await
                .map_err(DialError::Resolver)?
                .map(|address| SocketAddr::new(address.ip(), port))
                .collect(),
        };
        let connected = self.race(self.in_order(addresses)).await;
        connected.map_err(|error| DialError::Connect(descriptors::explained(error)))
    }

    /// The addresses with the kinds of IP taking turns, and those last that led nowhere lately.
    fn in_order(&self, addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
        let is_first_kind = addresses.first().map(SocketAddr::is_ipv6);
        let (one, other): (Vec<_>, Vec<_>) = addresses
            .into_iter()
            .partition(|address| Some(address.is_ipv6()) == is_first_kind);
        let mut ordered = Vec::with_capacity(one.len() + other.len());
        let (mut one, mut other) = (one.into_iter(), other.into_iter());
        loop {
            let next = [one.next(), other.next()];
            if next == [None, None] {
                break;
            }
            ordered.extend(next.into_iter().flatten());
        }
        let mut dead = self.dead.lock().unwrap_or_else(PoisonError::into_inner);
        dead.retain(|(_, since)| since.elapsed() < MEMORY);
        ordered.sort_by_key(|address| dead.iter().any(|(known, _)| known == address));
        ordered
    }

    /// The first connection that is there. Each address gets a head start before the one after it.
    async fn race(&self, addresses: Vec<SocketAddr>) -> io::Result<Socket> {
        let mut waiting = addresses.into_iter();
        let mut attempts = FuturesUnordered::new();
        let mut under_way = Vec::new();
        let mut problem = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
        loop {
            if let Some(address) = waiting.next() {
                under_way.push(address);
                attempts.push(async move { (address, open(address).await) });
            } else if attempts.is_empty() {
                return Err(problem);
            }
            let patience = match waiting.len() {
                0 => Duration::MAX,
                _ => self.stagger,
            };
            let Ok(ended) = event_loop::timeout(patience, attempts.next()).await else {
                continue;
            };
            let Some((address, outcome)) = ended else {
                continue;
            };
            match outcome {
                Ok(socket) => {
                    self.note(&under_way, address);
                    return Ok(socket);
                }
                Err(error) => problem = error,
            }
        }
    }

    /// Notes which address led somewhere, and which that were tried before didn't.
    fn note(&self, tried: &[SocketAddr], good: SocketAddr) {
        let mut dead = self.dead.lock().unwrap_or_else(PoisonError::into_inner);
        dead.retain(|(known, _)| !tried.contains(known));
        let now = Instant::now();
        let before = tried.iter().take_while(|address| **address != good);
        for address in before {
            log::info!("{address} doesn't answer, {good} does");
            dead.push((*address, now));
        }
    }
}

async fn open(address: SocketAddr) -> io::Result<Socket> {
    let socket = {
        let _standard = Standard::take()?;
        let domain = socket2::Domain::for_address(address);
        socket2::Socket::new(domain, socket2::Type::STREAM, Some(socket2::Protocol::TCP))?
    };
    socket.set_nonblocking(true)?;
    match socket.connect(&address.into()) {
        Err(error) if !is_under_way(&error) => Err(error),
        _ => Socket::new(socket.into())?.connected().await,
    }
}

/// Whether an attempt to connect goes on.
fn is_under_way(error: &io::Error) -> bool {
    use rustix::io::Errno;
    matches!(
        Errno::from_io_error(error),
        Some(Errno::INPROGRESS | Errno::WOULDBLOCK | Errno::INTR)
    )
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpListener};

    use socket2::{Domain, Type};
    use testing::ReservedPort;

    use super::*;
    use crate::event_loop::EventLoop;

    /// Longer than any test takes.
    const FOR_EVER: Duration = Duration::from_secs(24 * 60 * 60);

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn the_kinds_of_addresses_take_turns() {
        let all = ["[::1]:1", "[::2]:1", "[::3]:1", "1.1.1.1:1"].map(address);
        let expected = ["[::1]:1", "1.1.1.1:1", "[::2]:1", "[::3]:1"].map(address);
        assert_eq!(Dialler::default().in_order(all.to_vec()), expected);
    }

    #[test]
    fn an_address_that_leads_nowhere_is_tried_last_from_then_on() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let good = listener.local_addr().unwrap();
        // A listener whose queue is full takes no further connection, and refuses none.
        let (full, _queue) = full_listener();
        let dialler = Dialler::default();
        let all = vec![full, good];
        let started = Instant::now();
        race(&dialler, dialler.in_order(all.clone())).expect("a connection");
        assert!(started.elapsed() >= STAGGER);

        assert_eq!(dialler.in_order(all.clone()), [good, full]);
        let patient = Dialler {
            stagger: FOR_EVER,
            ..dialler
        };
        race(&patient, patient.in_order(all)).expect("a connection");
    }

    #[test]
    fn the_next_address_is_tried_at_once_when_one_refuses() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let good = listener.local_addr().unwrap();
        let taken = ReservedPort::take();
        let url = url::Url::parse(&taken.url()).unwrap();
        let refusing = SocketAddr::from((Ipv4Addr::LOCALHOST, url.port().unwrap()));
        let dialler = Dialler {
            stagger: FOR_EVER,
            ..Dialler::default()
        };
        race(&dialler, vec![refusing, good]).expect("a connection");
        // Where none is good the error tells what the last one said.
        let error = race(&dialler, vec![refusing]).err().unwrap();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        assert!(race(&dialler, Vec::new()).is_err());
    }

    fn race(dialler: &Dialler, addresses: Vec<SocketAddr>) -> io::Result<Socket> {
        let mut events = EventLoop::new().unwrap();
        events.run(dialler.race(addresses))
    }

    /// An address at which connections are neither taken nor refused.
    fn full_listener() -> (SocketAddr, impl Sized) {
        let listener = socket2::Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        listener.bind(&address("127.0.0.1:0").into()).unwrap();
        listener.listen(1).unwrap();
        let full = listener.local_addr().unwrap().as_socket().unwrap();
        let mut queue = Vec::new();
        loop {
            match std::net::TcpStream::connect_timeout(&full, Duration::from_millis(100)) {
                Ok(connected) => queue.push(connected),
                Err(_) => return (full, (listener, queue)),
            }
        }
    }
}
