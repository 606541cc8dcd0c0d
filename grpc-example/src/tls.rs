//! Mutual TLS by OpenSSL within the process. A key file of the HSM loads like any other: the
//! provider comes from the openssl.cnf that `OPENSSL_CONF` names, and nothing here knows of it.

use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::task::{Context, Poll};

use openssl::error::ErrorStack;
use openssl::nid::Nid;
use openssl::ssl::{
    AlpnError, Ssl, SslAcceptor, SslConnector, SslFiletype, SslMethod, SslRef, SslVerifyMode,
    select_next_proto,
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::task::spawn_blocking;
use tokio_openssl::SslStream;
use tonic::transport::server::Connected;

/// HTTP/2, in the form of ALPN.
const HTTP2: &[u8] = b"\x02h2";

/// Files for mutual TLS.
#[derive(clap::Args, Clone, Debug)]
pub struct Files {
    /// PEM file with the CA that the other side's certificate is checked by
    #[arg(long)]
    pub ca: Option<PathBuf>,
    /// PEM file with the certificate of this side
    #[arg(long, requires = "key")]
    pub certificate: Option<PathBuf>,
    /// Its key: a PEM file, here with the URI of a key in the HSM
    #[arg(long, requires = "certificate")]
    pub key: Option<PathBuf>,
}

/// A server's side, which asks for the client's certificate and refuses others.
pub fn acceptor(files: &Files) -> Result<SslAcceptor, ErrorStack> {
    let mut builder = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls_server())?;
    if let (Some(certificate), Some(key)) = (&files.certificate, &files.key) {
        builder.set_certificate_chain_file(certificate)?;
        builder.set_private_key_file(key, SslFiletype::PEM)?;
        builder.check_private_key()?;
    }
    if let Some(ca) = &files.ca {
        builder.set_ca_file(ca)?;
    }
    builder.set_verify(SslVerifyMode::PEER | SslVerifyMode::FAIL_IF_NO_PEER_CERT);
    builder.set_session_id_context(b"greeter")?;
    builder.set_alpn_select_callback(|_, offered| {
        select_next_proto(HTTP2, offered).ok_or(AlpnError::ALERT_FATAL)
    });
    Ok(builder.build())
}

/// A client's side.
pub fn connector(files: &Files) -> Result<SslConnector, ErrorStack> {
    let mut builder = SslConnector::builder(SslMethod::tls_client())?;
    if let (Some(certificate), Some(key)) = (&files.certificate, &files.key) {
        builder.set_certificate_chain_file(certificate)?;
        builder.set_private_key_file(key, SslFiletype::PEM)?;
        builder.check_private_key()?;
    }
    if let Some(ca) = &files.ca {
        builder.set_ca_file(ca)?;
    }
    builder.set_alpn_protos(HTTP2)?;
    Ok(builder.build())
}

/// The handshake of a server.
pub async fn accept(acceptor: &SslAcceptor, socket: TcpStream) -> io::Result<Stream> {
    let ssl = Ssl::new(acceptor.context())?;
    handshake(ssl, socket, Side::Server).await
}

/// The handshake of a client with the server of that name.
pub async fn connect(
    connector: &SslConnector,
    name: &str,
    socket: TcpStream,
) -> io::Result<Stream> {
    let ssl = connector.configure()?.into_ssl(name)?;
    handshake(ssl, socket, Side::Client).await
}

enum Side {
    Client,
    Server,
}

/// OpenSSL waits for the HSM's signature in the handshake, so that happens on a thread that may
/// wait.
async fn handshake(ssl: Ssl, socket: TcpStream, side: Side) -> io::Result<Stream> {
    let mut stream = SslStream::new(ssl, socket)?;
    let runtime = Handle::current();
    let finished = spawn_blocking(move || {
        runtime.block_on(async move {
            match side {
                Side::Client => Pin::new(&mut stream).connect().await,
                Side::Server => Pin::new(&mut stream).accept().await,
            }
            .map(|()| Stream(stream))
        })
    });
    finished
        .await
        .map_err(io::Error::other)?
        .map_err(io::Error::other)
}

/// A connection after its handshake.
pub struct Stream(SslStream<TcpStream>);

/// Who the other side is: the common name of its certificate.
#[derive(Clone, Debug)]
pub struct Peer(pub String);

fn peer_name(ssl: &SslRef) -> Option<String> {
    let certificate = ssl.peer_certificate()?;
    let name = certificate
        .subject_name()
        .entries_by_nid(Nid::COMMONNAME)
        .next()?;
    let name = name.data().to_string();
    name.ok()
}

impl Connected for Stream {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        Peer(peer_name(self.0.ssl()).unwrap_or_default())
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, data)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}
