//! Addresses of hosts, by the system's resolver. It blocks, so a thread of its own does it while others watch the deadline; in
//! a process that may start no thread (servers limit themselves) whoever asks waits for it.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tokio::sync::oneshot;

use crate::descriptors::{self, Standard};
use crate::forks::Work;
use crate::threads;

/// The resolver of the HTTP clients that fetch tokens.
#[derive(Clone)]
pub(crate) struct Names;

impl Resolve for Names {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let addresses: Addrs = Box::new(addresses(name.as_str().to_owned()).await?);
            Ok(addresses)
        })
    }
}

/// The addresses of a host, found out by another thread if there may be one.
pub(crate) async fn addresses(host: String) -> io::Result<std::vec::IntoIter<SocketAddr>> {
    let (sender, receiver) = oneshot::channel();
    let asked = host.clone();
    let look_up_there = move || {
        let _work = Work::begin();
        // Nobody listens any more after the deadline.
        drop(sender.send(look_up(&asked)));
    };
    let started = threads::start("akv-names", look_up_there);
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

    #[tokio::test]
    async fn the_loopback_has_addresses_and_nobody_has_none() {
        let resolve = |host: &str| Names.resolve(host.parse().unwrap());
        let found: Vec<SocketAddr> = resolve("localhost").await.unwrap().collect();
        assert!(found.iter().all(|address| address.ip().is_loopback()));
        assert!(!found.is_empty());
        assert!(resolve("nobody.invalid").await.is_err());
    }
}
