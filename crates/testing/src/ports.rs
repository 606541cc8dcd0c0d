//! Ports of the loopback that behave in a certain way for as long as a test holds them.

use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::OwnedFd;

use rustix::net::{AddressFamily, SocketType, bind, getsockname, socket};

/// A port that is taken, and where nobody listens: connections to it are refused.
#[derive(Debug)]
pub struct RefusingPort {
    _socket: OwnedFd,
    number: u16,
}

impl RefusingPort {
    /// Takes one that was free.
    #[must_use]
    pub fn take() -> Self {
        let taken = socket(AddressFamily::INET, SocketType::STREAM, None).expect("a socket");
        bind(&taken, &SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).expect("a free port");
        let address = getsockname(&taken).expect("it has an address");
        let address = SocketAddr::try_from(address).expect("it is an IP address");
        Self {
            _socket: taken,
            number: address.port(),
        }
    }

    /// `https://localhost:PORT`
    #[must_use]
    pub fn url(&self) -> String {
        format!("https://localhost:{}", self.number)
    }
}
