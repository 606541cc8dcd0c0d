//! Ports of the loopback that behave in a certain way for as long as a test holds them.

use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::OwnedFd;

use rustix::net::{
    AddressFamily, SocketFlags, SocketType, bind, getsockname, socket_with, sockopt,
};

/// A port that nobody else is given. Connections to it are refused, until a server listens there
/// that shares its address (SO_REUSEADDR), as nearly all do.
#[derive(Debug)]
pub struct ReservedPort {
    _socket: OwnedFd,
    number: u16,
}

impl ReservedPort {
    /// Takes one that was free.
    #[must_use]
    pub fn take() -> Self {
        // No program that a test starts meanwhile has it.
        let taken = socket_with(
            AddressFamily::INET,
            SocketType::STREAM,
            SocketFlags::CLOEXEC,
            None,
        )
        .expect("a socket");
        bind(&taken, &SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).expect("a free port");
        // Not before: the system would give it to others who share, too.
        sockopt::set_socket_reuseaddr(&taken, true).expect("it can be shared");
        let address = getsockname(&taken).expect("it has an address");
        let address = SocketAddr::try_from(address).expect("it is an IP address");
        Self {
            _socket: taken,
            number: address.port(),
        }
    }

    /// Its number.
    #[must_use]
    pub fn number(&self) -> u16 {
        self.number
    }

    /// `https://localhost:PORT`
    #[must_use]
    pub fn url(&self) -> String {
        format!("https://localhost:{}", self.number)
    }
}
