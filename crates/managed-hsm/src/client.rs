//! The client: what may be asked of a Managed HSM.

use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
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
            algorithm: None,
            url: self.url(&uri.vault, &path)?,
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
            url: self.url(&key.vault, &format!("/keys/{}/{version}/sign", key.key))?,
            algorithm: Some(algorithm),
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

    fn url(&self, vault: &VaultName, path: &str) -> Result<Url, Error> {
        let mut url = match &self.settings.endpoint {
            Some(endpoint) => endpoint.clone(),
            None => vault.default_endpoint()?,
        };
        url.set_path(path);
        url.set_query(Some(API_VERSION));
        Ok(url)
    }

    /// Sends a request and waits for what `read` makes of the answer.
    fn ask<T: Send + 'static>(
        &self,
        request: Request,
        read: impl FnOnce(&[u8]) -> Result<T, String> + Send + 'static,
    ) -> Result<T, Error> {
        let late = self.late(&request);
        let (done, answer) = sync_channel(1);
        // Nobody listens any more when the caller has given up.
        let on_done = Box::new(move |outcome| drop(done.send(outcome)));
        self.submit(request, read, on_done);
        match answer.recv_timeout(self.settings.operation_timeout + GRACE) {
            Ok(outcome) => outcome,
            Err(RecvTimeoutError::Timeout) => Err(late),
            Err(RecvTimeoutError::Disconnected) => Err(ended()),
        }
    }

    /// Has the I/O thread send a request. `on_done` is called exactly once with what `read` makes of the answer: on the
    /// I/O thread, or on the caller's if the request can't be handed over.
    fn submit<T: Send + 'static>(
        &self,
        request: Request,
        read: impl FnOnce(&[u8]) -> Result<T, String> + Send + 'static,
        on_done: OnDone<T>,
    ) {
        let done = Completion(Some(on_done));
        let session = match self.session() {
            Ok(session) => session,
            Err(error) => return done.finish(Err(error)),
        };
        let late = self.late(&request);
        let deadline = self.settings.operation_timeout;
        let thread = Arc::clone(&session.thread);
        thread.spawn(async move {
            let exchange = async {
                let body = session.transport.send(&request).await?;
                read(&body).map_err(|problem| request.bad_answer(problem))
            };
            let outcome = tokio::time::timeout(deadline, exchange).await;
            done.finish(outcome.unwrap_or(Err(late)));
        });
    }

    fn late(&self, request: &Request) -> Error {
        Error::Timeout {
            operation: request.operation,
            key: request.key.clone(),
            endpoint: request.endpoint(),
            after: self.settings.operation_timeout,
        }
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

/// What is called with the outcome of a request.
type OnDone<T> = Box<dyn FnOnce(Result<T, Error>) + Send>;

/// Sees to it that a caller hears of its request even when the I/O thread ends before the request does.
struct Completion<T>(Option<OnDone<T>>);

impl<T> Completion<T> {
    fn finish(mut self, outcome: Result<T, Error>) {
        if let Some(on_done) = self.0.take() {
            on_done(outcome);
        }
    }
}

impl<T> Drop for Completion<T> {
    fn drop(&mut self) {
        if let Some(on_done) = self.0.take() {
            on_done(Err(ended()));
        }
    }
}

fn ended() -> Error {
    Error::Io("it ended before the request did; try again".to_owned())
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
