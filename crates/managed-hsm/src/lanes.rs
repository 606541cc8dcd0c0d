//! Lanes: a bounded number of connections to the service, each carrying one request at a time.
//!
//! An HTTP client's pool opens a connection for a request that finds none idle, and keeps it even when another became idle
//! first; so 8 threads end up with more than 8 connections. Here each connection has a pool of its own, and a request takes
//! the lane that was used last. The TLS configuration, with the system's trust store and the session cache, is shared.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustls::ClientConfig;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls_platform_verifier::Verifier;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::error::Error;
use crate::settings::Settings;

/// How long a connection is kept without a request.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);

/// All lanes of a client in one process.
pub(crate) struct Lanes {
    tls: ClientConfig,
    connect_timeout: Duration,
    permits: Semaphore,
    /// Lanes that carry no request, the one used last at the end. Only threads of the process that made it lock this.
    free: Mutex<Vec<reqwest::Client>>,
}

/// A lane for one request; free again when dropped.
pub(crate) struct Lane<'a> {
    pub(crate) http: reqwest::Client,
    lanes: &'a Lanes,
    _permit: SemaphorePermit<'a>,
}

impl Lanes {
    /// Reads the trust store; opens nothing.
    pub(crate) fn new(settings: &Settings) -> Result<Self, Error> {
        Ok(Self {
            tls: tls(settings.ca_file.as_deref())?,
            connect_timeout: settings.connect_timeout,
            permits: Semaphore::new(settings.max_connections.max(1)),
            free: Mutex::default(),
        })
    }

    /// A lane, as soon as one is free.
    pub(crate) async fn take(&self) -> Result<Lane<'_>, Error> {
        let permit = self
            .permits
            .acquire()
            .await
            .map_err(|error| Error::Io(error.to_string()))?;
        let free = self
            .free
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop();
        let http = match free {
            Some(http) => http,
            None => self
                .open()
                .map_err(|error| Error::Io(format!("no HTTP client can be made: {error}")))?,
        };
        Ok(Lane {
            http,
            lanes: self,
            _permit: permit,
        })
    }

    fn open(&self) -> reqwest::Result<reqwest::Client> {
        reqwest::Client::builder()
            .tls_backend_preconfigured(self.tls.clone())
            .https_only(true)
            .http1_only()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .tcp_nodelay(true)
            .connect_timeout(self.connect_timeout)
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_max_idle_per_host(1)
            .user_agent(concat!("akv_provider/", env!("CARGO_PKG_VERSION")))
            .build()
    }
}

impl Drop for Lane<'_> {
    fn drop(&mut self) {
        // Before the permit is given back, so that whoever gets it finds the lane.
        self.lanes
            .free
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(self.http.clone());
    }
}

/// TLS 1.2 or 1.3, HTTP/1.1, certificates checked against the system's trust store and `ca_file`.
fn tls(ca_file: Option<&Path>) -> Result<ClientConfig, Error> {
    let unusable = |error: rustls::Error| Error::Io(format!("TLS can't be set up: {error}"));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = match ca_file {
        None => Verifier::new(Arc::clone(&provider)).map_err(unusable)?,
        Some(path) => Verifier::new_with_extra_roots(certificates(path)?, Arc::clone(&provider))
            .map_err(|error| {
                unusable_ca_file(format!(
                    "'{}' holds a certificate that can't be used: {error}",
                    path.display()
                ))
            })?,
    };
    let mut tls = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(unusable)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    tls.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(tls)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let pem = std::fs::read(path).map_err(|error| {
        unusable_ca_file(format!("'{}' can't be read: {error}", path.display()))
    })?;
    let certificates = CertificateDer::pem_slice_iter(&pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| {
            unusable_ca_file(format!(
                "'{}' is not a PEM file of certificates: {error}",
                path.display()
            ))
        })?;
    if certificates.is_empty() {
        return Err(unusable_ca_file(format!(
            "'{}' holds no PEM certificate",
            path.display()
        )));
    }
    Ok(certificates)
}

fn unusable_ca_file(problem: String) -> Error {
    Error::Settings {
        origin: "AKV_CA_FILE (or ca-file in openssl.cnf)".to_owned(),
        problem,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ca_file_that_is_no_use_is_an_error_that_names_the_variable() {
        let folder = std::env::temp_dir().join(format!("managed-hsm-ca-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let broken = "-----BEGIN CERTIFICATE-----\n*\n-----END CERTIFICATE-----\n";
        let no_certificate = "-----BEGIN CERTIFICATE-----\nAQID\n-----END CERTIFICATE-----\n";
        let cases = [
            ("missing", None, "can't be read"),
            ("empty", Some(""), "holds no PEM certificate"),
            ("broken", Some(broken), "is not a PEM file"),
            ("not-x509", Some(no_certificate), "can't be used"),
        ];
        for (name, content, expected) in cases {
            let path = folder.join(name);
            if let Some(content) = content {
                std::fs::write(&path, content).unwrap();
            }
            let message = tls(Some(&path)).unwrap_err().to_string();
            assert!(
                message.contains("AKV_CA_FILE") && message.contains(expected),
                "{name}: {message}"
            );
        }
        std::fs::remove_dir_all(folder).unwrap();
    }
}
