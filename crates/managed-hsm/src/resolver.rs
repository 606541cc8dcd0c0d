//! The resolver: addresses of hosts, by the system's resolver. It blocks, so a thread of its own
//! does it while others watch the deadline; in a process that may start no thread (servers limit
//! themselves) whoever asks waits for it.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};

use tokio::sync::oneshot;

use crate::descriptors::{self, Standard};
use crate::forks::Work;
use crate::threads;

/// The addresses of a host, found out by another thread if there may be one.
pub(crate) async fn addresses(host: String) -> io::Result<std::vec::IntoIter<SocketAddr>> {
    let (sender, receiver) = oneshot::channel();
    let asked = host.clone();
    let look_up_there = move || {
        let _work = Work::begin();
        // Nobody listens any more after the deadline.
        drop(sender.send(look_up(&asked)));
    };
    let started = threads::start("akv-resolver", look_up_there);
    let found = match started {
        Ok(_) => receiver.await.map_err(io::Error::other)?,
        Err(error) => {
            log::debug!("no thread for a name look-up ({error})");
            look_up(&host)
        }
    };
    Ok(found?.into_iter())
}

/// The addresses of a host. Their port stands for none: the client puts in the URL's.
fn look_up(host: &str) -> io::Result<Vec<SocketAddr>> {
    let _standard = Standard::take().map_err(descriptors::explained)?;
    let found: Vec<SocketAddr> = (host, 0).to_socket_addrs()?.collect();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event_loop::EventLoop;

    #[test]
    fn the_loopback_has_addresses_and_nobody_has_none() {
        let mut events = EventLoop::new().unwrap();
        let mut resolve = |host: &str| events.run(addresses(host.to_owned()));
        let found: Vec<SocketAddr> = resolve("localhost").unwrap().collect();
        assert!(found.iter().all(|address| address.ip().is_loopback()));
        assert!(!found.is_empty());
        assert!(resolve("nobody.invalid").is_err());
    }
}
