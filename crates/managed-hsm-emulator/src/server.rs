//! Accepts connections, with TLS but for managed identities, numbers them, and serves HTTP/1.1 and
//! HTTP/2 on them.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::io::InspectReader;

use crate::api::{self, Connection};
use crate::arrival::Arrival;
use crate::error::Error;
use crate::faults::Faults;
use crate::hold::{Changed, Tcp};
use crate::hosts::Behind;
use crate::message::{Request, answer_to};
use crate::metrics::Metrics;
use crate::tls::ServerTls;

const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(20);
/// After a failed accept (out of file descriptors), so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

pub(crate) async fn listen(ip: IpAddr, port: u16) -> Result<TcpListener, Error> {
    let address = SocketAddr::new(ip, port);
    TcpListener::bind(address)
        .await
        .map_err(|source| Error::Listen { address, source })
}

/// What a connection needs.
#[derive(Clone)]
pub(crate) struct Server {
    pub(crate) behind: Behind,
    pub(crate) tls: Arc<ServerTls>,
    pub(crate) faults: Faults,
    pub(crate) metrics: Arc<Metrics>,
    /// Of connections, counted over all ports.
    pub(crate) number: Arc<AtomicU64>,
    /// A permit for each connection that this port keeps.
    pub(crate) permits: Option<Arc<Semaphore>>,
}

/// Accepts the connections of a port until it is aborted.
pub(crate) async fn accept(listener: TcpListener, server: Server, graceful: Arc<GracefulShutdown>) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                let permit = match server.permits.clone().map(Semaphore::try_acquire_owned) {
                    None => None,
                    Some(Ok(permit)) => Some(permit),
                    Some(Err(_)) => {
                        crate::log::event(format_args!("{peer}: one connection too many"));
                        continue;
                    }
                };
                let connection = Connection {
                    number: server.number.fetch_add(1, Ordering::Relaxed) + 1,
                    peer,
                    hold: Arc::default(),
                };
                let (server, watcher) = (server.clone(), graceful.watcher());
                tokio::spawn(async move {
                    let _permit = permit;
                    serve_connection(stream, connection, server, watcher).await;
                });
            }
            Err(error) => {
                crate::log::event(format_args!("accept failed: {error}"));
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn serve_connection(
    stream: TcpStream,
    connection: Connection,
    server: Server,
    watcher: Watcher,
) {
    let metrics = &server.metrics;
    let _open = Open::new(metrics);
    // Answers are small, and a client waits for each: Nagle's algorithm would only delay them.
    let _ = stream.set_nodelay(true);
    if let Behind::ManagedIdentities(_) = &server.behind {
        return serve_http(stream, connection, server.behind, watcher).await;
    }
    let mut stream = Tcp::new(stream, Arc::clone(&connection.hold));
    if let Some(fault) = server.faults.meet_connection() {
        match fault.greet(stream, &connection.hold).await {
            Some(left) => stream = left,
            None => return,
        }
    }
    let tls =
        match tokio::time::timeout(HANDSHAKE_TIMEOUT, server.tls.acceptor().accept(stream)).await {
            Ok(Ok(tls)) => {
                metrics.handshake(true);
                tls
            }
            Ok(Err(error)) if error.kind() == std::io::ErrorKind::UnexpectedEof => return,
            Ok(Err(error)) => {
                metrics.handshake(false);
                crate::log::event(format_args!(
                    "connection {}: TLS handshake failed: {error}",
                    connection.number
                ));
                return;
            }
            Err(_) => return,
        };
    let tls = Changed::new(tls, Arc::clone(&connection.hold));
    serve_http(tls, connection, server.behind, watcher).await;
}

async fn serve_http(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    connection: Connection,
    behind: Behind,
    watcher: Watcher,
) {
    let hold = Arc::clone(&connection.hold);
    let arrival: Arc<Arrival> = Arc::default();
    let arriving = Arc::clone(&arrival);
    let stream = InspectReader::new(stream, move |bytes: &[u8]| arriving.received(bytes));
    let arriving = Arc::clone(&arrival);
    let service = service_fn(move |request: Request| {
        let in_flight = arriving.complete();
        let method = request.method().clone();
        let answer = api::answer(behind.clone(), connection.clone(), request);
        async move {
            let answer = answer.await;
            drop(in_flight);
            Ok::<_, Infallible>(answer_to(&method, answer))
        }
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    // A vault's answers have a date, an HSM's have none: `reply` sees to it.
    builder.http1().auto_date_header(false);
    // Over HTTP/1.1 the service writes `Content-Length`, and there are clients that read no other
    // form. Other names are put right where the bytes are written (`spelling`).
    builder.http1().title_case_headers(true);
    builder.http2().auto_date_header(false);
    let served = builder
        .serve_connection(TokioIo::new(stream), service)
        .into_owned();
    // Clients close and reset connections as they like; that is not worth a line.
    tokio::select! {
        _ = watcher.watch(served) => {}
        // A fault that was asked for.
        () = hold.is_cut() => {}
        () = arrival.is_overdue() => {}
    }
}

/// Counts a connection for as long as it is open.
struct Open(Arc<Metrics>);

impl Open {
    fn new(metrics: &Arc<Metrics>) -> Self {
        metrics.connection_opened();
        Self(Arc::clone(metrics))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.connection_closed();
    }
}
