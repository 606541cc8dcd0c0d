//! The client: what may be asked of a Managed HSM.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use http::Method;
use url::{Origin, Url};
use zeroize::Zeroizing;

use crate::algorithm::{EncryptionAlgorithm, SignatureAlgorithm};
use crate::caller::{Caller, Job, Place, Slot, Threads};
use crate::credential::kind::CredentialKind;
use crate::error::Error;
use crate::event_loop;
use crate::forks::Work;
use crate::http::exchange::Http;
use crate::io::IoThread;
use crate::key::{Key, KeyAction, KeyId, KeyItem, NewKey};
use crate::lanes::Lanes;
use crate::obstacle::Obstacle;
use crate::request::{Request, at};
use crate::settings::client::Settings;
use crate::token::AccessToken;
use crate::transport::Transport;
use crate::uri::{KeyName, KeyUri, Vault};
use crate::wire;

/// The version of the service's API that all requests name.
const API_VERSION: &str = "api-version=7.4";

/// How much longer than its deadline a caller waits for the I/O thread to say so.
const GRACE: Duration = Duration::from_secs(1);

/// The most random bytes that one request gives.
const MAX_RANDOM: usize = 128;

/// A client of Managed HSM. It may be used from several threads, and in processes forked from the one that made it.
pub struct Client {
    inner: Arc<Inner>,
    caller: Box<dyn Caller>,
}

/// What the I/O thread needs of a client, too.
struct Inner {
    settings: Settings,
    session: ArcSwapOption<Session>,
}

/// How to encrypt.
#[derive(Clone, Copy, Debug)]
pub struct Encryption<'a> {
    /// The algorithm.
    pub algorithm: EncryptionAlgorithm,
    /// The initialisation vector of AES-CBC, 16 bytes. For AES-GCM the HSM makes it.
    pub iv: Option<&'a [u8]>,
    /// Data that AES-GCM authenticates and doesn't encrypt.
    pub aad: Option<&'a [u8]>,
}

/// What encryption gave.
#[derive(Clone, Debug)]
pub struct Encrypted {
    /// The ciphertext.
    pub ciphertext: Vec<u8>,
    /// The initialisation vector that was used, for AES.
    pub iv: Option<Vec<u8>>,
    /// The authentication tag of AES-GCM.
    pub tag: Option<Vec<u8>>,
}

/// How to decrypt.
#[derive(Clone, Copy, Debug)]
pub struct Decryption<'a> {
    /// The algorithm.
    pub algorithm: EncryptionAlgorithm,
    /// The initialisation vector, for AES.
    pub iv: Option<&'a [u8]>,
    /// Data that AES-GCM authenticates and doesn't encrypt.
    pub aad: Option<&'a [u8]>,
    /// The authentication tag of AES-GCM.
    pub tag: Option<&'a [u8]>,
}

/// A listing of keys, asked for page by page.
#[derive(Debug)]
pub struct KeyPages {
    vault: Vault,
    next: Option<Url>,
    /// Where the pages were that came.
    seen: HashSet<Url>,
    /// How long it took to get them.
    spent: Duration,
}

impl KeyPages {
    /// Asks for the next page. None: there is none.
    ///
    /// # Errors
    /// As for every request; and the page points to another host for the next one, which would get the token. The listing
    /// has ended then.
    pub fn next_page(&mut self, client: &Client) -> Result<Option<Vec<KeyItem>>, Error> {
        let Some(url) = self.next.take() else {
            return Ok(None);
        };
        let request = Request {
            operation: "list keys of",
            vault: self.vault.clone(),
            key: self.vault.to_string().into(),
            method: Method::GET,
            algorithm: None,
            url: url.clone(),
            body: None,
            repeatable: true,
        };
        let limit = client.inner.settings.operation_timeout;
        if self.spent >= limit {
            let (pages, seconds) = (self.seen.len(), limit.as_secs_f64());
            return Err(request.bad_answer(format!(
                "the listing has not ended after {pages} pages and {seconds} s, the time that an operation may take \
                 (AKV_OPERATION_TIMEOUT)"
            )));
        }
        let started = Instant::now();
        self.seen.insert(url.clone());
        let vault = self.vault.clone();
        let endpoints = client.inner.settings.endpoints_of(&vault).into_iter();
        let endpoints: Vec<_> = endpoints.map(Url::origin).collect();
        let again = request.clone();
        let (items, next) = client.ask(request, move |body| {
            let (items, next) = wire::key_page(body, &vault)?;
            let next = next.map(|next| following(&url, &next, &endpoints));
            let next = next.transpose()?;
            Ok((items, next))
        })?;
        self.spent += started.elapsed();
        if next.as_ref().is_some_and(|next| self.seen.contains(next)) {
            let problem = "its nextLink leads to a page that came before";
            return Err(again.bad_answer(problem.to_owned()));
        }
        self.next = next;
        Ok(Some(items))
    }
}

/// The address of the page after the one at `url`. The vault's other `endpoints` may have answered, with their own.
fn following(url: &Url, next: &str, endpoints: &[Origin]) -> Result<Url, String> {
    let next = url
        .join(next)
        .map_err(|error| format!("its nextLink is not a URL ({error})"))?;
    if next.origin() != url.origin() && !endpoints.contains(&next.origin()) {
        return Err("its nextLink leads to another host".to_owned());
    }
    Ok(at(url, &next))
}

/// The client's connections in one process.
struct Session {
    process: u32,
    lanes: Lanes,
    transport: Transport,
}

impl Client {
    /// A client that has done nothing yet: it opens connections at its first request.
    pub fn new(settings: Settings) -> Self {
        Self::called_by(settings, Threads)
    }

    /// The same for callers that may be on fibres, or on threads with small stacks.
    pub fn called_by(settings: Settings, caller: impl Caller + 'static) -> Self {
        Self {
            inner: Arc::new(Inner {
                settings,
                session: ArcSwapOption::empty(),
            }),
            caller: Box::new(caller),
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
            vault: uri.vault.clone(),
            key: uri.to_string().into(),
            method: Method::GET,
            algorithm: None,
            url: self.url(&uri.vault, &path)?,
            body: None,
            repeatable: true,
        };
        let (uri, url) = (uri.clone(), request.url.clone());
        self.ask(request, move |body| wire::key(body, &uri, &url))
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
        let name = algorithm.jwa_name();
        let request = operation(key, KeyAction::Sign, name, digest, &[]);
        let asked = (key.key.clone(), key.version.clone());
        self.ask(request, move |body| Ok(wire::value(body, &asked)?.to_vec()))
    }

    /// Has the HSM encrypt.
    ///
    /// # Errors
    /// As for every request: [`Error`] says which.
    pub fn encrypt(
        &self,
        key: &KeyId,
        encryption: &Encryption<'_>,
        plaintext: &[u8],
    ) -> Result<Encrypted, Error> {
        let name = encryption.algorithm.jwa_name();
        let further = [("iv", encryption.iv), ("aad", encryption.aad)];
        let request = operation(key, KeyAction::Encrypt, name, plaintext, &further);
        let asked = (key.key.clone(), key.version.clone());
        self.ask(request, move |body| {
            let result = wire::result(body, &asked)?;
            Ok(Encrypted {
                ciphertext: result.value.to_vec(),
                iv: result.iv,
                tag: result.tag,
            })
        })
    }

    /// Has the HSM decrypt.
    ///
    /// # Errors
    /// As for every request: [`Error`] says which.
    pub fn decrypt(
        &self,
        key: &KeyId,
        decryption: &Decryption<'_>,
        ciphertext: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, Error> {
        let name = decryption.algorithm.jwa_name();
        let further = [
            ("iv", decryption.iv),
            ("aad", decryption.aad),
            ("tag", decryption.tag),
        ];
        let request = operation(key, KeyAction::Decrypt, name, ciphertext, &further);
        let asked = (key.key.clone(), key.version.clone());
        self.ask(request, move |body| Ok(wire::result(body, &asked)?.value))
    }

    /// Has the HSM wrap (encrypt) a symmetric key.
    ///
    /// # Errors
    /// As for every request: [`Error`] says which.
    pub fn wrap_key(
        &self,
        key: &KeyId,
        algorithm: EncryptionAlgorithm,
        plain: &[u8],
    ) -> Result<Vec<u8>, Error> {
        let name = algorithm.jwa_name();
        let request = operation(key, KeyAction::WrapKey, name, plain, &[]);
        let asked = (key.key.clone(), key.version.clone());
        self.ask(request, move |body| Ok(wire::value(body, &asked)?.to_vec()))
    }

    /// Has the HSM unwrap (decrypt) a symmetric key.
    ///
    /// # Errors
    /// As for every request: [`Error`] says which.
    pub fn unwrap_key(
        &self,
        key: &KeyId,
        algorithm: EncryptionAlgorithm,
        wrapped: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, Error> {
        let name = algorithm.jwa_name();
        let request = operation(key, KeyAction::UnwrapKey, name, wrapped, &[]);
        let asked = (key.key.clone(), key.version.clone());
        self.ask(request, move |body| wire::value(body, &asked))
    }

    /// Makes a key. Sent once only: a second request would make a second version.
    ///
    /// # Errors
    /// As for every request: [`Error`] says which.
    pub fn create_key(&self, vault: &Vault, name: &KeyName, key: &NewKey) -> Result<Key, Error> {
        let uri = KeyUri {
            vault: vault.clone(),
            key: name.clone(),
            version: None,
        };
        let request = Request {
            operation: "create key",
            vault: vault.clone(),
            key: uri.to_string().into(),
            method: Method::POST,
            algorithm: None,
            url: self.url(vault, &format!("/keys/{name}/create"))?,
            body: Some(Bytes::from_owner(wire::create_request(key))),
            repeatable: false,
        };
        let url = request.url.clone();
        self.ask(request, move |body| wire::key(body, &uri, &url))
    }

    /// Deletes a key with all its versions. It can be recovered until the HSM purges it.
    ///
    /// # Errors
    /// As for every request: [`Error`] says which.
    pub fn delete_key(&self, vault: &Vault, name: &KeyName) -> Result<(), Error> {
        let request = Request {
            operation: "delete key",
            vault: vault.clone(),
            key: format!("{vault}:{name}").into(),
            method: Method::DELETE,
            algorithm: None,
            url: self.url(vault, &format!("/keys/{name}"))?,
            body: None,
            repeatable: false,
        };
        self.ask(request, |_| Ok(()))
    }

    /// All keys of an HSM. No request is made before the first page is asked for.
    ///
    /// # Errors
    /// The vault's name makes no address.
    pub fn keys(&self, vault: &Vault) -> Result<KeyPages, Error> {
        Ok(KeyPages {
            vault: vault.clone(),
            next: Some(self.url(vault, "/keys")?),
            seen: HashSet::new(),
            spent: Duration::ZERO,
        })
    }

    /// Random bytes, made by the HSM.
    ///
    /// # Errors
    /// As for every request: [`Error`] says which.
    pub fn random_bytes(&self, vault: &Vault, len: usize) -> Result<Zeroizing<Vec<u8>>, Error> {
        let mut random = Zeroizing::new(Vec::with_capacity(len));
        while random.len() < len {
            let count = MAX_RANDOM.min(len - random.len());
            let request = Request {
                operation: "get random bytes from",
                vault: vault.clone(),
                key: vault.to_string().into(),
                method: Method::POST,
                algorithm: None,
                url: self.url(vault, "/rng")?,
                body: Some(Bytes::from_owner(wire::random_request(count))),
                repeatable: true,
            };
            let more = self.ask(request, move |body| wire::random_bytes(body, count))?;
            random.extend_from_slice(&more);
        }
        Ok(random)
    }

    /// A token for the service that keeps a vault's keys, and the credential that gave it: the one that requests to the vault
    /// have.
    ///
    /// # Errors
    /// As for every request that needs a token: [`Error`] says which.
    pub fn access_token(&self, vault: &Vault) -> Result<(CredentialKind, AccessToken), Error> {
        let vault = vault.clone();
        let late = Error::Timeout {
            operation: "get an access token for",
            key: vault.to_string(),
            endpoint: self.inner.settings.cloud_of(&vault).audience(vault.service),
            after: self.inner.settings.operation_timeout,
            earlier: None,
        };
        self.on_io_thread(late, None, |inner, _| async move {
            inner.session()?.transport.access_token(&vault).await
        })
    }

    /// Ends this process's I/O thread within half a second, and with it all connections. The next request of any
    /// client starts another.
    pub fn shutdown() {
        IoThread::stop();
    }

    /// Closes the connections, once the requests under way are done, and forgets the tokens. Another request opens new ones.
    pub fn close(&self) {
        self.inner.close();
    }

    fn url(&self, vault: &Vault, path: &str) -> Result<Url, Error> {
        let mut url = self.inner.settings.address(vault)?;
        url.set_path(path);
        url.set_query(Some(API_VERSION));
        Ok(url)
    }

    /// Sends a request and waits for what `read` makes of the answer.
    fn ask<T: Send + 'static>(
        &self,
        request: Request,
        read: impl Fn(&[u8]) -> Result<T, String> + Send + Sync + 'static,
    ) -> Result<T, Error> {
        let (operation, key) = (request.operation, Arc::clone(&request.key));
        let outcome = match self.caller.place() {
            Place::Thread => self.inner.ask(&request, read),
            Place::SmallStack => self.ask_io_thread(request, read, None),
            Place::Job(job) => self.ask_io_thread(request, read, Some(job.as_ref())),
        };
        if let Err(error) = &outcome {
            error.log(operation, &key);
        }
        outcome
    }

    /// Has the I/O thread send a request.
    fn ask_io_thread<T: Send + 'static>(
        &self,
        request: Request,
        read: impl Fn(&[u8]) -> Result<T, String> + Send + Sync + 'static,
        job: Option<&dyn Job>,
    ) -> Result<T, Error> {
        let late = self.inner.late(&request);
        self.on_io_thread(late, job, |inner, deadline| async move {
            inner.ask_from_io_thread(&request, deadline, read).await
        })
    }

    /// Has the I/O thread do `work` by a deadline; `late`: it didn't. Nothing deep runs on the caller's stack.
    fn on_io_thread<T, F>(
        &self,
        late: Error,
        job: Option<&dyn Job>,
        work: impl FnOnce(Arc<Inner>, Instant) -> F + Send + 'static,
    ) -> Result<T, Error>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Error>> + Send,
    {
        let deadline = Instant::now() + self.inner.settings.operation_timeout;
        let slot = Slot::new();
        let completion = Completion {
            slot: Some(Arc::clone(&slot)),
            wake: job.map(Job::wake),
        };
        let (inner, too_late) = (Arc::clone(&self.inner), late.clone());
        IoThread::current()?.spawn(move || async move {
            let outcome = event_loop::timeout_at(deadline, work(inner, deadline)).await;
            completion.finish(outcome.unwrap_or(Err(too_late)));
        });
        slot.wait(job, deadline + GRACE).unwrap_or(Err(late))
    }
}

/// A request for an operation with a key, which is safe to repeat.
fn operation(
    key: &KeyId,
    action: KeyAction,
    algorithm: &'static str,
    value: &[u8],
    further: &[(&str, Option<&[u8]>)],
) -> Request {
    Request {
        operation: action.words(),
        vault: key.vault.clone(),
        key: Arc::clone(&key.prepared.name),
        method: Method::POST,
        algorithm: Some(algorithm),
        url: key.url(action).clone(),
        body: Some(Bytes::from_owner(wire::operation_request(
            algorithm, value, further,
        ))),
        repeatable: true,
    }
}

/// Sees to it that a caller hears of its request even when the I/O thread ends before the request does.
struct Completion<T> {
    slot: Option<Arc<Slot<T>>>,
    wake: Option<Box<dyn FnOnce() + Send>>,
}

impl<T> Completion<T> {
    fn finish(mut self, outcome: Result<T, Error>) {
        self.fill(outcome);
    }

    fn fill(&mut self, outcome: Result<T, Error>) {
        if let Some(slot) = self.slot.take() {
            slot.fill(outcome);
        }
        if let Some(wake) = self.wake.take() {
            wake();
        }
    }
}

impl<T> Drop for Completion<T> {
    fn drop(&mut self) {
        self.fill(Err(Error::Io(
            "it ended before the request did; try again".to_owned(),
        )));
    }
}

impl Inner {
    fn ask<T>(
        &self,
        request: &Request,
        read: impl Fn(&[u8]) -> Result<T, String>,
    ) -> Result<T, Error> {
        let deadline = Instant::now() + self.settings.operation_timeout;
        let session = self.session()?;
        let outcome = session.lanes.run(&request.url, deadline, async |http| {
            session.send(http, request, deadline, read).await
        });
        let (result, _) = outcome.unwrap_or_else(|| Err(self.late(request)))?;
        Ok(result)
    }

    async fn ask_from_io_thread<T>(
        &self,
        request: &Request,
        deadline: Instant,
        read: impl Fn(&[u8]) -> Result<T, String>,
    ) -> Result<T, Error> {
        let session = self.session()?;
        let lane = session.lanes.borrow().await?;
        let mut outcome = session.send(&lane.http, request, deadline, &read).await;
        if matches!(
            &outcome,
            Err(Error::Connect {
                obstacle: Obstacle::NoHttp2,
                ..
            })
        ) {
            lane.unshare();
            let lane = session.lanes.borrow().await?;
            outcome = session.send(&lane.http, request, deadline, &read).await;
        } else if let Ok((_, is_http2)) = &outcome
            && !lane.is_shared()
        {
            lane.discovered(*is_http2);
        }
        drop(lane);
        let (result, _) = outcome?;
        Ok(result)
    }

    fn close(&self) {
        if let Some(session) = self.session.swap(None) {
            session.let_go();
        }
    }

    fn late(&self, request: &Request) -> Error {
        request.late(self.settings.operation_timeout, None)
    }

    /// This process's session; makes it if there is none.
    fn session(&self) -> Result<Arc<Session>, Error> {
        let process = std::process::id();
        let seen = self.session.load_full();
        if let Some(session) = &seen
            && session.process == process
        {
            return Ok(Arc::clone(session));
        }
        let _work = Work::begin();
        let tls = self.settings.tls()?;
        let made = Arc::new(Session {
            process,
            transport: Transport::new(self.settings.clone(), &tls),
            lanes: Lanes::new(&self.settings, tls),
        });
        let previous = self
            .session
            .compare_and_swap(&seen, Some(Arc::clone(&made)));
        match previous.as_ref() {
            // Another thread of this process was faster.
            Some(other) if other.process == process => return Ok(Arc::clone(other)),
            _ => {}
        }
        if let Some(session) = seen {
            session.let_go();
        }
        Ok(made)
    }
}

impl Session {
    /// Sends a request, and reads the answer; with it comes whether the server spoke HTTP/2. By HTTP/1.1, what can't be read
    /// may be something that the server had sent before, unasked: then it is asked again on another connection, once.
    async fn send<T>(
        &self,
        http: &Http,
        request: &Request,
        deadline: Instant,
        read: impl Fn(&[u8]) -> Result<T, String>,
    ) -> Result<(T, bool), Error> {
        let send = || self.transport.send(http, &self.lanes, request, deadline);
        let mut answer = send().await?;
        let mut result = read(&answer.body);
        if result.is_err() && request.repeatable && answer.may_be_anothers {
            http.forget_kept();
            answer = send().await?;
            result = read(&answer.body);
        }
        let result = result.map_err(|problem| request.bad_answer(problem))?;
        Ok((result, answer.is_http2))
    }

    /// Drops the session, unless it is the parent's: then it stays as it is, for the sake of the parent's sockets.
    fn let_go(self: Arc<Self>) {
        if self.process != std::process::id() {
            std::mem::forget(self);
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.close();
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client")
            .field("endpoint", &self.inner.settings.endpoint)
            .finish_non_exhaustive()
    }
}
