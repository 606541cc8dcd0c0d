//! Accepts connections, with TLS but for managed identities, numbers them, and serves HTTP/1.1 and HTTP/2 on them until the process is told to stop.

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::response::Response;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Semaphore;

use crate::api::{self, Connection, Hsm, Shared};
use crate::capacity::Latency;
use crate::control::Controlled;
use crate::data_dir::DataDir;
use crate::endpoint::Announcement;
use crate::error::Error;
use crate::faults::{Fault, Faults};
use crate::hosts::{Behind, ByName, ServedName};
use crate::identity::Identity;
use crate::line::{Changed, Tcp};
use crate::log::LogFormat;
use crate::metrics::Metrics;
use crate::service::Service;
use crate::store::Store;
use crate::tls::ServerTls;
use crate::token::TokenKey;

const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(30);
/// How long requests in flight may go on after the signal to stop.
const STOP_TIMEOUT: Duration = Duration::from_secs(2);
/// After a failed accept (out of file descriptors), so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How to serve.
#[derive(Debug, Clone)]
pub struct ServeOptions {
    /// The folder, or `None` for the default.
    pub data_dir: Option<PathBuf>,
    /// The address to listen on.
    pub listen: IpAddr,
    /// The port to listen on; 0 for any that is free.
    pub port: u16,
    /// How long every answer takes at least.
    pub latency: Option<Latency>,
    /// Whether HTTP/2 is not offered.
    pub http1_only: bool,
    /// Partitions of the service's documented capacity that each HSM has; None: no limit.
    pub partitions: Option<u32>,
    /// Connections that each port keeps; None: no limit.
    pub max_connections: Option<usize>,
    /// The HSMs to serve; empty: one, under every name.
    pub hsms: Vec<ServedName>,
    /// The vaults to serve.
    pub vaults: Vec<ServedName>,
    /// Faults to begin with.
    pub faults: Vec<Fault>,
    /// The port for faults and counters; 0 for any that is free. None: there is none.
    pub control_port: Option<u16>,
    /// The port for managed identities over plain HTTP; 0 for any that is free. None: there is none.
    pub metadata_port: Option<u16>,
    /// How the log is written.
    pub log_format: LogFormat,
    /// A file of principals that may log in, besides the owner.
    pub principals: Option<PathBuf>,
    /// Seconds that a token from the token service lives.
    pub token_lifetime: Option<i64>,
    /// Names for the server certificate, besides localhost and the service's own hosts.
    pub tls_server_names: Vec<String>,
}

/// Serves until SIGTERM or SIGINT.
///
/// # Errors
/// Whatever keeps it from starting: see [`Error`].
pub fn serve(options: ServeOptions) -> Result<(), Error> {
    crate::log::set_format(options.log_format);
    let data = DataDir::resolve(options.data_dir.clone())?;
    let _lock = data.claim()?;
    // A killed emulator leaves its own behind; until this one accepts, nobody does.
    let _ = std::fs::remove_file(data.endpoint_file());
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let served = runtime.block_on(accept_until_stopped(&data, options));
    // A key generation that nobody waits for any more must not delay the exit.
    runtime.shutdown_background();
    served
}

async fn accept_until_stopped(data: &DataDir, options: ServeOptions) -> Result<(), Error> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut names = options.tls_server_names;
    if !options.listen.is_unspecified() {
        names.push(options.listen.to_string());
    }
    let served = options.hsms.iter().chain(&options.vaults);
    names.extend(served.map(|served| format!("{}.localhost", served.name)));
    let tls = Arc::new(ServerTls::open(data, names, options.http1_only)?);
    let metrics: Arc<Metrics> = Arc::default();
    let identity = Identity::open(
        data,
        options.principals.as_deref(),
        options.token_lifetime,
        Arc::clone(&metrics),
    )?;
    let attester = TokenKey::open_for_attestations(data)?;
    let chain = crate::tls::attestation_chain(data, attester.key())?;
    let shared = Shared {
        token_key: Arc::new(TokenKey::open(data)?),
        attester: Arc::new(attester),
        chain: Arc::new(chain),
        identity: Arc::new(identity),
        latency: options.latency,
        partitions: options.partitions,
        faults: Arc::new(Faults::new(options.faults)),
        metrics,
    };
    let (behind, own_ports) = open_all(data, &options.hsms, &options.vaults, &shared)?;
    let control = match options.control_port {
        Some(port) => {
            let controlled = Controlled {
                faults: Arc::clone(&shared.faults),
                identity: Arc::clone(&shared.identity),
                metrics: Arc::clone(&shared.metrics),
                tls: Arc::clone(&tls),
            };
            Some(crate::control::serve(port, controlled).await?)
        }
        None => None,
    };
    let listener = listen(options.listen, options.port).await?;
    let main_url = url(listener.local_addr()?);
    let mut listening = vec![(listener, behind)];
    let mut own_urls = Vec::new();
    let mut vault_urls = Vec::new();
    for (name, port, hsm) in own_ports {
        let listener = listen(options.listen, port).await?;
        let url = url(listener.local_addr()?);
        match hsm.service() {
            Service::ManagedHsm => own_urls.push((name, url)),
            Service::KeyVault => {
                own_urls.push((format!("vault {name}"), url.clone()));
                vault_urls.push((name, url));
            }
        }
        listening.push((listener, Behind::One(hsm)));
    }
    let mut metadata_url = None;
    if let Some(port) = options.metadata_port {
        let listener = listen(Ipv4Addr::LOCALHOST.into(), port).await?;
        let url = format!("http://{}", listener.local_addr()?);
        own_urls.push(("metadata".to_owned(), url.clone()));
        metadata_url = Some(url);
        listening.push((listener, Behind::ManagedIdentities(shared.clone())));
    }
    let announcement =
        Announcement::publish(data, &main_url, &vault_urls, metadata_url.as_deref())?;
    greet(&main_url, data, control.as_deref(), &own_urls);

    let graceful = Arc::new(GracefulShutdown::new());
    let number = Arc::new(AtomicU64::new(0));
    let accepting: Vec<_> = listening
        .into_iter()
        .map(|(listener, behind)| {
            let server = Server {
                behind,
                tls: Arc::clone(&tls),
                faults: Arc::clone(&shared.faults),
                metrics: Arc::clone(&shared.metrics),
                number: Arc::clone(&number),
                places: options
                    .max_connections
                    .map(|places| Arc::new(Semaphore::new(places))),
            };
            tokio::spawn(accept(listener, server, Arc::clone(&graceful)))
        })
        .collect();
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    // First of all, so that nobody is sent to an emulator that is going.
    drop(announcement);
    for task in accepting {
        task.abort();
        let _ = task.await;
    }
    if let Some(graceful) = Arc::into_inner(graceful) {
        let _ = tokio::time::timeout(STOP_TIMEOUT, graceful.shutdown()).await;
    }
    Ok(())
}

/// A name, the port of its own that it is to have, and the HSM or vault.
type OwnPort = (String, u16, Arc<Hsm>);

/// The HSMs and vaults to serve, and those of them that have ports of their own. A vault always has one: nothing else leads to
/// it without its name.
fn open_all(
    data: &DataDir,
    hsms: &[ServedName],
    vaults: &[ServedName],
    shared: &Shared,
) -> Result<(Behind, Vec<OwnPort>), Error> {
    let mut own_ports = Vec::new();
    let mut open = |service, served: &ServedName, port: Option<u16>| {
        let folder = match service {
            Service::ManagedHsm => "hsms",
            Service::KeyVault => "vaults",
        };
        let name = &served.name;
        let folder = DataDir::resolve(Some(data.path().join(folder).join(name)))?;
        folder.make()?;
        let store = Store::open(&folder)?;
        let hsm = Arc::new(Hsm::new(service, name, store, shared.clone())?);
        if let Some(port) = port {
            own_ports.push((name.clone(), port, Arc::clone(&hsm)));
        }
        Ok::<_, Error>((name.clone(), hsm))
    };
    for (names, option) in [(hsms, "--hsm"), (vaults, "--vault")] {
        for (index, ServedName { name, .. }) in names.iter().enumerate() {
            if names[..index].iter().any(|before| before.name == *name) {
                return Err(Error::NameTwice(name.clone(), option));
            }
        }
    }
    let mut others = Vec::new();
    for hsm in hsms {
        others.push(open(Service::ManagedHsm, hsm, hsm.port)?);
    }
    let first = match others.first() {
        Some((_, first)) => Arc::clone(first),
        None => {
            let store = Store::open(data)?;
            let hsm = Hsm::new(Service::ManagedHsm, "default", store, shared.clone())?;
            Arc::new(hsm)
        }
    };
    for vault in vaults {
        others.push(open(Service::KeyVault, vault, vault.port.or(Some(0)))?);
    }
    let by_name = ByName {
        first,
        first_is_every_hsm: hsms.is_empty(),
        others,
    };
    Ok((Behind::Named(Arc::new(by_name)), own_ports))
}

async fn listen(ip: IpAddr, port: u16) -> Result<TcpListener, Error> {
    let address = SocketAddr::new(ip, port);
    TcpListener::bind(address)
        .await
        .map_err(|source| Error::Listen { address, source })
}

/// What a connection needs.
#[derive(Clone)]
struct Server {
    behind: Behind,
    tls: Arc<ServerTls>,
    faults: Arc<Faults>,
    metrics: Arc<Metrics>,
    /// Of connections, counted over all ports.
    number: Arc<AtomicU64>,
    /// For connections of this port.
    places: Option<Arc<Semaphore>>,
}

async fn accept(listener: TcpListener, server: Server, graceful: Arc<GracefulShutdown>) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                let place = match server.places.clone().map(Semaphore::try_acquire_owned) {
                    None => None,
                    Some(Ok(place)) => Some(place),
                    Some(Err(_)) => {
                        crate::log::event(format_args!("{peer}: one connection too many"));
                        continue;
                    }
                };
                let connection = Connection {
                    number: server.number.fetch_add(1, Ordering::Relaxed) + 1,
                    peer,
                    line: Arc::default(),
                };
                let (server, watcher) = (server.clone(), graceful.watcher());
                tokio::spawn(async move {
                    let _place = place;
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
    let mut stream = Tcp::new(stream, Arc::clone(&connection.line));
    if let Some(fault) = server.faults.meet_connection() {
        match fault.greet(stream, &connection.line).await {
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
    let tls = Changed::new(tls, Arc::clone(&connection.line));
    serve_http(tls, connection, server.behind, watcher).await;
}

async fn serve_http(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    connection: Connection,
    behind: Behind,
    watcher: Watcher,
) {
    let line = Arc::clone(&connection.line);
    let router = Router::new()
        .fallback(
            move |State(behind): State<Behind>,
                  request: Request|
                  -> std::pin::Pin<Box<dyn Future<Output = Response> + Send>> {
                Box::pin(api::answer(behind, connection.clone(), request))
            },
        )
        .with_state(behind);
    let mut builder = auto::Builder::new(TokioExecutor::new());
    // The service sends no Date.
    builder.http1().auto_date_header(false);
    builder.http2().auto_date_header(false);
    let served = builder
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router))
        .into_owned();
    // Clients close and reset connections as they like; that is not worth a line.
    tokio::select! {
        _ = watcher.watch(served) => {}
        // A fault that was asked for.
        () = line.is_cut() => {}
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

/// The name that the certificate carries for the loopback, which also is what a person expects to read.
fn url(address: SocketAddr) -> String {
    let port = address.port();
    match address.ip() {
        ip if ip.is_loopback() || ip.is_unspecified() => format!("https://localhost:{port}"),
        IpAddr::V4(ip) => format!("https://{ip}:{port}"),
        IpAddr::V6(ip) => format!("https://[{ip}]:{port}"),
    }
}

fn greet(url: &str, data: &DataDir, control: Option<&str>, own_urls: &[(String, String)]) {
    let mut further = control.map_or(String::new(), |url| format!("\ncontrol: {url}"));
    for (name, url) in own_urls {
        further.push_str(&format!("\n{name}: {url}"));
    }
    // Nobody may be reading; the endpoint file says the same.
    let _ = writeln!(
        std::io::stdout().lock(),
        "managed-hsm-emulator: this is not an HSM; keys lie in {}. For development and tests only.\n{url}{further}",
        data.path().display()
    );
}
