//! An emulator that runs in threads of this process, from its start to the end of its [`Handle`].

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use hyper_util::server::graceful::GracefulShutdown;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinSet;

use crate::attestation::Attester;
use crate::audit::AuditLog;
use crate::capacity::Latency;
use crate::control::Controlled;
use crate::data_dir::DataDir;
use crate::endpoint::{Announcement, vault_url};
use crate::environment::Environment;
use crate::error::Error;
use crate::faults::{Fault, Faults};
use crate::hosts::{Behind, ServedName, open_all};
use crate::hsm::Shared;
use crate::identity::Identity;
use crate::metrics::Metrics;
use crate::requests::Requests;
use crate::server::{Server, accept, listen};
use crate::service::Service;
use crate::store::{Rules, SoftDelete};
use crate::tls::{ServerTls, Shown};
use crate::token::{AUDIENCE, TokenKey};

/// How long requests in flight may go on after [`Handle::stop`].
const STOP_TIMEOUT: Duration = Duration::from_secs(2);

/// Keys of an HSM of the service.
const DOCUMENTED_MAX_KEYS: usize = 5000;
/// Of a key of an HSM.
const DOCUMENTED_MAX_VERSIONS: usize = 100;

/// How to serve. The default is one HSM in a temporary folder, on any free port of the loopback.
#[derive(Debug, Clone)]
pub struct Options {
    /// The folder for keys, CA and tokens. None: a temporary one, which is removed at the end.
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
    /// Days that deleted keys can be recovered, 7 to 90.
    pub retention_days: u32,
    /// Whether deleted keys can't be purged before.
    pub purge_protection: bool,
    /// Whether an HSM that is made now has to be activated by a security domain.
    pub not_activated: bool,
    /// Keys that each HSM can have; a vault has no limit.
    pub max_keys: usize,
    /// A file that audit records are appended to, in Azure's form.
    pub audit_log: Option<PathBuf>,
    /// Faults to begin with.
    pub faults: Vec<Fault>,
    /// The port for faults and counters; 0 for any that is free. None: there is none.
    pub control_port: Option<u16>,
    /// The port for managed identities over plain HTTP; 0 for any that is free. None: there is
    /// none.
    pub metadata_port: Option<u16>,
    /// A file of principals that may log in, besides the owner.
    pub principals: Option<PathBuf>,
    /// Seconds that a token from the token service lives.
    pub token_lifetime: Option<i64>,
    /// Names for the server certificate, besides localhost and the service's own hosts.
    pub tls_server_names: Vec<String>,
    /// Whether [`Handle::requests`] has the requests. They are kept until the end.
    pub keep_requests: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            data_dir: None,
            listen: Ipv4Addr::LOCALHOST.into(),
            port: 0,
            latency: None,
            http1_only: false,
            partitions: None,
            max_connections: None,
            hsms: Vec::new(),
            vaults: Vec::new(),
            retention_days: 7,
            purge_protection: false,
            not_activated: false,
            max_keys: DOCUMENTED_MAX_KEYS,
            audit_log: None,
            faults: Vec::new(),
            control_port: None,
            metadata_port: None,
            principals: None,
            token_lifetime: None,
            tls_server_names: Vec::new(),
            keep_requests: true,
        }
    }
}

/// A running emulator. It ends when this is dropped: connections are closed, threads ended, a
/// temporary folder removed.
pub struct Handle {
    /// Where it is: `https://localhost:PORT`.
    pub url: String,
    /// The PEM file of the CA that signs its server certificate.
    pub ca: PathBuf,
    /// A bearer token of the owner for Managed HSM, good for a day.
    pub token: String,
    /// The requests that came, unless [`Options::keep_requests`] says no.
    pub requests: Requests,
    /// The faults that are set.
    pub faults: Faults,
    /// The URL of the control port, if there is one.
    pub control: Option<String>,
    /// Names and URLs of ports besides: an HSM's `NAME`, `vault NAME`, `metadata`.
    pub further: Vec<(String, String)>,
    data: DataDir,
    metrics: Arc<Metrics>,
    identity: Arc<Identity>,
    tls: Arc<ServerTls>,
    /// A message is for a graceful end; without one it ends at once.
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
    _temporary: Option<TempDir>,
}

/// Starts an emulator. It accepts connections when this returns.
///
/// # Errors
/// Whatever keeps it from starting: see [`Error`].
pub fn start(options: Options) -> Result<Handle, Error> {
    if !(7..=90).contains(&options.retention_days) {
        return Err(Error::RetentionDays(options.retention_days));
    }
    let temporary = match options.data_dir {
        Some(_) => None,
        None => Some(tempfile::Builder::new().permissions(private()).tempdir()?),
    };
    let folder = temporary.as_ref().map(|folder| folder.path().to_owned());
    let data = DataDir::resolve(options.data_dir.clone().or(folder))?;
    let lock = data.claim()?;
    // A killed emulator leaves its own behind; until this one accepts, nobody does.
    let _ = std::fs::remove_file(data.endpoint_file());
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let (ready, started) = mpsc::channel();
    let (stop, stopped) = oneshot::channel();
    let folder = data.clone();
    // A thread of its own drives it, so that the caller may be a task of another runtime.
    let thread = std::thread::Builder::new()
        .name("emulator".to_owned())
        .spawn(move || {
            let _lock = lock;
            run(runtime, &folder, options, &ready, stopped);
        })?;
    let Ok(running) = started.recv() else {
        let panic = thread.join().err();
        std::panic::resume_unwind(panic.unwrap_or_else(|| Box::new("the emulator has ended")));
    };
    let running = running?;
    Ok(Handle {
        url: running.url,
        ca: data.ca_file(),
        token: running.shared.token_key.mint(AUDIENCE, 86_400)?,
        requests: running.shared.requests,
        faults: running.shared.faults,
        control: running.control,
        further: running.further,
        data,
        metrics: running.shared.metrics,
        identity: running.shared.identity,
        tls: running.tls,
        stop: Some(stop),
        thread: Some(thread),
        _temporary: temporary,
    })
}

impl Handle {
    /// The folder that it serves from.
    #[must_use]
    pub fn data_dir(&self) -> &Path {
        self.data.path()
    }

    /// The environment in which programs use it as the owner.
    ///
    /// # Errors
    /// [`Error::File`] when the owner's secret can't be read.
    pub fn environment(&self) -> Result<Environment, Error> {
        let vault = vault_url(&self.data, None)?;
        Environment::with_identity(&self.data, &self.url, vault.as_deref())
    }

    /// A bearer token of the owner for an audience, which ends after so many seconds.
    ///
    /// # Errors
    /// [`Error::OpenSsl`] when it can't be signed.
    pub fn mint(&self, audience: &str, expires_in: i64) -> Result<String, Error> {
        TokenKey::read(&self.data)?.mint(audience, expires_in)
    }

    /// The owner's secret for the token service.
    ///
    /// # Errors
    /// [`Error::File`] when it can't be read.
    pub fn client_secret(&self) -> Result<String, Error> {
        Identity::owner_secret(&self.data)
    }

    /// How many TCP connections were accepted so far, over all ports.
    #[must_use]
    pub fn connections(&self) -> u64 {
        self.metrics.connections()
    }

    /// How many of them are open.
    #[must_use]
    pub fn open_connections(&self) -> u64 {
        self.metrics.open_connections()
    }

    /// Sets how many seconds tokens of the token service live from now on.
    pub fn set_token_lifetime(&self, seconds: i64) {
        self.identity.set_lifetime(seconds);
    }

    /// Shows another certificate to connections from now on.
    ///
    /// # Errors
    /// [`Error::OpenSsl`] and [`Error::Tls`] when it can't be made.
    pub fn show_certificate(&self, shown: Shown) -> Result<(), Error> {
        self.tls.show(shown)
    }

    /// Ends it once the requests in flight are answered, after two seconds at the latest.
    pub fn stop(mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // If it panicked, it has said so.
            let _ = thread.join();
        }
    }
}

/// What a start found out, for the handle.
struct Running {
    url: String,
    control: Option<String>,
    further: Vec<(String, String)>,
    shared: Shared,
    tls: Arc<ServerTls>,
}

/// Serves until the other end of `stopped` says so, or is gone.
fn run(
    runtime: Runtime,
    data: &DataDir,
    options: Options,
    ready: &mpsc::Sender<Result<Running, Error>>,
    stopped: oneshot::Receiver<()>,
) {
    let is_graceful = runtime.block_on(async {
        let graceful = Arc::new(GracefulShutdown::new());
        let opened = open(data, options, &graceful).await;
        let (running, mut accepting, announcement) = match opened {
            Ok(opened) => opened,
            Err(error) => {
                let _ = ready.send(Err(error));
                return false;
            }
        };
        let _ = ready.send(Ok(running));
        let is_graceful = stopped.await.is_ok();
        // First of all, so that nobody is sent to an emulator that is going.
        drop(announcement);
        accepting.shutdown().await;
        if is_graceful && let Some(graceful) = Arc::into_inner(graceful) {
            let _ = tokio::time::timeout(STOP_TIMEOUT, graceful.shutdown()).await;
        }
        is_graceful
    });
    if is_graceful {
        // A key generation that nobody waits for any more must not delay the exit.
        runtime.shutdown_background();
    }
}

/// Opens what is kept, listens, and accepts connections in tasks.
async fn open(
    data: &DataDir,
    options: Options,
    graceful: &Arc<GracefulShutdown>,
) -> Result<(Running, JoinSet<()>, Announcement), Error> {
    let tls = Arc::new(open_tls(data, &options)?);
    let shared = open_shared(data, &options)?;
    let (behind, own_ports) = open_all(data, &options.hsms, &options.vaults, &shared)?;
    let mut accepting = JoinSet::new();
    let control = match options.control_port {
        Some(port) => Some(control(port, &shared, &tls, &mut accepting).await?),
        None => None,
    };
    let listener = listen(options.listen, options.port).await?;
    let main_url = url(listener.local_addr()?);
    let mut listening = vec![(listener, behind)];
    let mut further = Vec::new();
    let mut vault_urls = Vec::new();
    for (name, port, hsm) in own_ports {
        let listener = listen(options.listen, port).await?;
        let url = url(listener.local_addr()?);
        match hsm.service {
            Service::ManagedHsm => further.push((name, url)),
            Service::KeyVault => {
                further.push((format!("vault {name}"), url.clone()));
                vault_urls.push((name, url));
            }
        }
        listening.push((listener, Behind::One(hsm)));
    }
    let mut metadata_url = None;
    if let Some(port) = options.metadata_port {
        let listener = listen(Ipv4Addr::LOCALHOST.into(), port).await?;
        let url = format!("http://{}", listener.local_addr()?);
        further.push(("metadata".to_owned(), url.clone()));
        metadata_url = Some(url);
        listening.push((listener, Behind::ManagedIdentities(shared.clone())));
    }
    let number = Arc::new(AtomicU64::new(0));
    for (listener, behind) in listening {
        let server = Server {
            behind,
            tls: Arc::clone(&tls),
            faults: shared.faults.clone(),
            metrics: Arc::clone(&shared.metrics),
            number: Arc::clone(&number),
            permits: options
                .max_connections
                .map(|most| Arc::new(Semaphore::new(most))),
        };
        accepting.spawn(accept(listener, server, Arc::clone(graceful)));
    }
    let announcement = Announcement::publish(
        data,
        &main_url,
        &vault_urls,
        metadata_url.as_deref(),
        control.as_deref(),
    )?;
    let running = Running {
        url: main_url,
        control,
        further,
        shared,
        tls,
    };
    Ok((running, accepting, announcement))
}

/// Serves the control port in a task. Returns its URL.
async fn control(
    port: u16,
    shared: &Shared,
    tls: &Arc<ServerTls>,
    accepting: &mut JoinSet<()>,
) -> Result<String, Error> {
    let controlled = Controlled {
        faults: shared.faults.clone(),
        identity: Arc::clone(&shared.identity),
        metrics: Arc::clone(&shared.metrics),
        tls: Arc::clone(tls),
    };
    let listener = listen(Ipv4Addr::LOCALHOST.into(), port).await?;
    let url = format!("http://{}", listener.local_addr()?);
    accepting.spawn(crate::control::serve(listener, controlled));
    Ok(url)
}

fn open_tls(data: &DataDir, options: &Options) -> Result<ServerTls, Error> {
    ServerTls::open(data, server_names(options), options.http1_only)
}

/// What the server's certificate is for, besides what each such certificate is.
fn server_names(options: &Options) -> Vec<String> {
    let mut names = options.tls_server_names.clone();
    if !options.listen.is_unspecified() {
        names.push(options.listen.to_string());
    }
    let served = options.hsms.iter().chain(&options.vaults);
    names.extend(served.map(|served| format!("{}.localhost", served.name)));
    names
}

fn open_shared(data: &DataDir, options: &Options) -> Result<Shared, Error> {
    let metrics: Arc<Metrics> = Arc::default();
    let principals = options.principals.as_deref();
    let lifetime = options.token_lifetime;
    let identity = Identity::open(data, principals, lifetime, Arc::clone(&metrics))?;
    let audit = options.audit_log.as_deref().map(AuditLog::open);
    let audit = audit.transpose()?.map(Arc::new);
    Ok(Shared {
        token_key: Arc::new(TokenKey::open(data)?),
        attester: Arc::new(Attester::open(data, server_names(options))?),
        blobs: data.file("blobs"),
        one_backup: Arc::default(),
        identity: Arc::new(identity),
        latency: options.latency,
        partitions: options.partitions,
        rules: Rules {
            soft_delete: SoftDelete {
                retention_days: options.retention_days,
                purge_protection: options.purge_protection,
            },
            activated: !options.not_activated,
            max_keys: Some(options.max_keys),
            max_versions: Some(DOCUMENTED_MAX_VERSIONS),
        },
        faults: Faults::new(options.faults.clone()),
        audit,
        metrics,
        requests: Requests::new(options.keep_requests),
    })
}

/// For the owner only.
fn private() -> std::fs::Permissions {
    std::os::unix::fs::PermissionsExt::from_mode(0o700)
}

/// With a name if there is one, which also is what a person expects to read. The certificate
/// carries each of these.
fn url(address: SocketAddr) -> String {
    let port = address.port();
    match address.ip() {
        // What localhost means everywhere; other addresses of the loopback have no name.
        IpAddr::V4(Ipv4Addr::LOCALHOST) => format!("https://localhost:{port}"),
        ip if ip.is_unspecified() => format!("https://localhost:{port}"),
        IpAddr::V4(ip) => format!("https://{ip}:{port}"),
        IpAddr::V6(ip) => format!("https://[{ip}]:{port}"),
    }
}
