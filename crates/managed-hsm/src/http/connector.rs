//! What opens connections.

use std::time::Duration;

use http::Uri;
use http::uri::Scheme;
use hyper_util::client::proxy::matcher::Matcher;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use url::{Position, Url};

use super::failure::Failure;
use super::host::bare_host;
use crate::dial::Dialler;
use crate::event_loop;
use crate::settings::client::Settings;
use crate::socket::Socket;
use crate::tunnel;

/// Opens connections.
pub(crate) struct Connector {
    tcp: Dialler,
    proxy: Option<Matcher>,
    pub(super) tls: ClientConfig,
    timeout: Duration,
    /// How long a connection is kept without a request.
    pub(super) idle_timeout: Duration,
}

impl Connector {
    pub(crate) fn new(settings: &Settings, tls: ClientConfig) -> Self {
        Self {
            tcp: Dialler::default(),
            proxy: settings.proxy_matcher(),
            tls,
            timeout: settings.connect_timeout,
            idle_timeout: settings.idle_timeout,
        }
    }

    /// The same for what is never reached through a proxy.
    pub(crate) fn direct(settings: &Settings, tls: ClientConfig) -> Self {
        Self {
            proxy: None,
            ..Self::new(settings, tls)
        }
    }

    /// A TCP connection to a URL's host, on this machine.
    pub(crate) async fn dial_plainly(&self, url: &Url) -> Result<Socket, Failure> {
        let port = url.port_or_known_default().unwrap_or(80);
        let connected = self.tcp.connect(bare_host(url), port).await;
        connected.map_err(Failure::connect)
    }

    /// A TLS connection to a URL's host, perhaps through the proxy.
    pub(crate) async fn dial(
        &self,
        tls: &TlsConnector,
        url: &Url,
    ) -> Result<TlsStream<Socket>, Failure> {
        let authority = &url[Position::BeforeHost..Position::AfterPort];
        let uri = Uri::builder()
            .scheme(Scheme::HTTPS)
            .authority(authority)
            .path_and_query("/");
        let uri = uri.build().map_err(Failure::connect)?;
        let host = bare_host(url);
        let proxy = self.proxy.as_ref().and_then(|proxy| proxy.intercept(&uri));
        let port = url.port_or_known_default().unwrap_or(443);
        let socket = match proxy {
            None => {
                let connected = self.tcp.connect(host, port).await;
                connected.map_err(Failure::connect)?
            }
            Some(proxy) => {
                let target = format!("{}:{port}", &url[Position::BeforeHost..Position::AfterHost]);
                let tunnel = tunnel::open(&self.tcp, &proxy, &target).await;
                tunnel.map_err(Failure::connect)?
            }
        };
        let name = ServerName::try_from(host.to_owned()).map_err(Failure::connect)?;
        tls.connect(name, socket).await.map_err(Failure::Tls)
    }

    /// Gives a connection the time that the user allows for that.
    pub(crate) async fn in_time<T>(
        &self,
        dialled: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        let dialled = event_loop::timeout(self.timeout, dialled).await;
        dialled.unwrap_or(Err(Failure::ConnectTimeout))
    }
}
