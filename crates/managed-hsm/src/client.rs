//! The client: what may be asked of a Managed HSM.

use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use reqwest::Method;
use url::Url;

use crate::algorithm::SignatureAlgorithm;
use crate::error::Error;
use crate::io::IoThread;
use crate::key::{Key, KeyId};
use crate::settings::Settings;
use crate::transport::{Request, Transport};
use crate::uri::{KeyUri, KeyVersion, VaultName};
use crate::wire;

/// The version of the service's API that all requests name.
const API_VERSION: &str = "api-version=7.4";

/// How much longer than its deadline a caller waits for the I/O thread to say so.
const GRACE: Duration = Duration::from_secs(1);

/// A client of Managed HSM. It may be used from several threads, and in processes forked from the one that made it.
pub struct Client {
    settings: Settings,
    session: ArcSwapOption<Session>,
}

/// The client's connections in one process.
struct Session {
    thread: Arc<IoThread>,
    transport: Transport,
}

impl Client {
    /// A client that has done nothing yet: it opens connections at its first request.
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            session: ArcSwapOption::empty(),
        }
    }

    /// Asks for a key's public part and properties: of the version that `uri` names, or of the newest.
    ///
    /// # Errors
    /// As for every request: [`Error`] says which.
    pub fn get_key(&self, uri: &KeyUri) -> Result<Key, Error> {
        let path = match &uri.version {
            Some(version) => format!("/keys/{}/{version}", uri.key),
            None => format!("/keys/{}", uri.key),
        };
        let request = Request {
            operation: "load key",
            key: uri.to_string(),
            method: Method::GET,
            url: self.url(&uri.vault, &path),
            body: None,
        };
        let uri = uri.clone();
        self.ask(request, move |body| wire::key(body, &uri))
    }

    /// Has the HSM sign a digest of [`SignatureAlgorithm::digest_len`] bytes. Returns the signature as the service gives
    /// it: for RSA a number as long as the modulus, for EC r‖s. It is not checked here.
    ///
    /// # Errors
    /// As for every request: [`Error`] says which.
    pub fn sign(
        &self,
        key: &KeyId,
        algorithm: SignatureAlgorithm,
        digest: &[u8],
    ) -> Result<Vec<u8>, Error> {
        let version: &KeyVersion = &key.version;
        let request = Request {
            operation: "sign with",
            key: key.to_string(),
            method: Method::POST,
            url: self.url(&key.vault, &format!("/keys/{}/{version}/sign", key.name)),
            body: Some(wire::sign_request(algorithm, digest)),
        };
        let key = key.clone();
        self.ask(request, move |body| wire::signature(body, &key))
    }

    /// Ends this process's I/O thread within half a second, and with it all connections. The next request of any
    /// client starts another.
    pub fn shutdown() {
        IoThread::stop();
    }

    fn url(&self, vault: &VaultName, path: &str) -> Url {
        let mut url = self.settings.endpoint.clone().unwrap_or_else(|| {
            // A checked vault name makes a valid host.
            Url::parse(&format!("https://{vault}.managedhsm.azure.net")).expect("a host name")
        });
        url.set_path(path);
        url.set_query(Some(API_VERSION));
        url
    }

    /// Sends a request from the I/O thread and waits for what `read` makes of the answer.
    fn ask<T: Send + 'static>(
        &self,
        request: Request,
        read: impl FnOnce(&[u8]) -> Result<T, String> + Send + 'static,
    ) -> Result<T, Error> {
        let session = self.session()?;
        let thread = Arc::clone(&session.thread);
        let after = self.settings.operation_timeout;
        let late = Error::Timeout {
            operation: request.operation,
            key: request.key.clone(),
            endpoint: request.endpoint(),
            after,
        };
        let timed_out = late.clone();
        let (done, answer) = sync_channel(1);
        thread.spawn(async move {
            let exchange = async {
                let body = session.transport.send(&request).await?;
                read(&body).map_err(|problem| request.bad_answer(problem))
            };
            let outcome = tokio::time::timeout(after, exchange)
                .await
                .unwrap_or(Err(timed_out));
            // Nobody listens any more when the caller has given up.
            let _ = done.send(outcome);
        })?;
        answer.recv_timeout(after + GRACE).unwrap_or(Err(late))
    }

    /// This process's session; makes it if there is none.
    fn session(&self) -> Result<Arc<Session>, Error> {
        let thread = IoThread::current()?;
        let seen = self.session.load_full();
        if let Some(session) = &seen
            && Arc::ptr_eq(&session.thread, &thread)
        {
            return Ok(Arc::clone(session));
        }
        let made = Arc::new(Session {
            thread,
            transport: Transport::new(self.settings.clone())?,
        });
        let previous = self
            .session
            .compare_and_swap(&seen, Some(Arc::clone(&made)));
        match previous.as_ref() {
            // Another thread of this process was faster.
            Some(other) if Arc::ptr_eq(&other.thread, &made.thread) => {
                return Ok(Arc::clone(other));
            }
            _ => {}
        }
        if let Some(session) = seen {
            session.let_go();
        }
        Ok(made)
    }
}

impl Session {
    /// Drops the session, unless it is the parent's: then it stays as it is, for the sake of the parent's sockets.
    fn let_go(self: Arc<Self>) {
        if !self.thread.belongs_to_this_process() {
            std::mem::forget(self);
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        if let Some(session) = self.session.load_full() {
            session.let_go();
        }
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client")
            .field("endpoint", &self.settings.endpoint)
            .finish_non_exhaustive()
    }
}
