//! The client: what may be asked of a Managed HSM.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Method;
use url::Url;
use zeroize::Zeroizing;

use crate::algorithm::SignatureAlgorithm;
use crate::api_version::{ApiVersion, Feature};
use crate::caller::{Caller, CallerKind, Completion, Job, Slot, Threads};
use crate::credential::kind::CredentialKind;
use crate::error::Error;
use crate::event_loop;
use crate::io::IoThread;
use crate::key::{Key, KeyAction, KeyId, KeyItem, KeyOperation, NewKey, NewKeyKind};
use crate::metrics;
use crate::pages::Pages;
use crate::request::Request;
use crate::session::Sessions;
use crate::settings::client::Settings;
use crate::token::AccessToken;
use crate::uri::{KeyName, KeyUri, KeyVersion, Vault};
use crate::wire::{self, Told};

/// How much longer than its deadline a caller waits for the I/O thread to say so.
const GRACE: Duration = Duration::from_secs(1);

/// The longest input of an operation, in bytes: it goes to the HSM whole, and is encoded before. No
/// public source has a limit of the service's own.
pub const MAX_INPUT: usize = 1 << 20;

/// The most random bytes that one request gives.
const MAX_RANDOM: usize = 128;

/// A client of Managed HSM. It may be used from several threads, and in processes forked from the
/// one that made it.
///
/// # Errors
/// Each method that asks the service fails with the [`Error`] that says why: settings, credentials
/// or this process keep the request from being sent, no connection or no answer comes in time, the
/// service refuses what it is asked for, or its answer makes no sense. Where a method can fail for
/// another reason it says so.
pub struct Client {
    pub(crate) sessions: Arc<Sessions>,
    caller: Arc<dyn Caller>,
    /// When its requests end at the latest, whatever time the settings allow.
    end: Option<Instant>,
}

/// A listing of keys, asked for page by page.
#[derive(Debug)]
pub struct KeyPages(Pages);

impl KeyPages {
    /// Asks for the next page. None: there is none.
    ///
    /// # Errors
    /// The request failed, or the page names another host for the next one, which would get the
    /// token. The listing has ended then.
    pub fn next_page(&mut self, client: &Client) -> Result<Option<Vec<KeyItem>>, Error> {
        let vault = self.0.vault.clone();
        let read = move |body: &[u8]| wire::key_page(body, &vault);
        self.0.next(client, "list keys of", read)
    }
}

impl Client {
    /// A client that has done nothing yet: it opens connections at its first request.
    pub fn new(settings: Settings) -> Self {
        Self::called_by(settings, Threads)
    }

    /// The same for callers that may be on fibres, or on threads with small stacks.
    pub fn called_by(settings: Settings, caller: impl Caller + 'static) -> Self {
        Self {
            sessions: Arc::new(Sessions::new(settings)),
            caller: Arc::new(caller),
            end: None,
        }
    }

    /// The same client, with the same connections and tokens, whose requests end at a time if the
    /// settings would allow them more.
    pub fn until(&self, end: Instant) -> Self {
        Self {
            sessions: Arc::clone(&self.sessions),
            caller: Arc::clone(&self.caller),
            end: Some(end),
        }
    }

    /// This client for the requests of one operation that begins now: all of them have to be done
    /// by its deadline, however many they are.
    pub fn for_one_operation(&self) -> Self {
        self.until(Instant::now() + self.limit())
    }

    /// Whether both have the same connections and tokens.
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.sessions, &other.sessions)
    }

    /// How long a request may take from now on.
    pub(crate) fn limit(&self) -> Duration {
        let limit = self.sessions.settings.operation_timeout;
        let left = |end: Instant| end.saturating_duration_since(Instant::now());
        self.end.map_or(limit, |end| limit.min(left(end)))
    }

    /// Asks for a key's public part and properties: of the version that `uri` names, or of the
    /// newest.
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
        self.ask_for_key(request, uri.clone())
    }

    /// Names a version of a key for operations with it, without asking for it: whether it is there
    /// shows when it is used.
    ///
    /// # Errors
    /// The vault's name makes no address.
    pub fn key_id(
        &self,
        vault: &Vault,
        key: &KeyName,
        version: &KeyVersion,
    ) -> Result<KeyId, Error> {
        let url = self.url(vault, "/")?;
        self.sessions.expect_use(vault);
        let (vault, key, version) = (vault.clone(), key.clone(), version.clone());
        Ok(KeyId::new(vault, key, version, &url))
    }

    /// Has the HSM sign a digest, or μ of ML-DSA, of [`SignatureAlgorithm::digest_len`] bytes.
    /// Returns the signature as the service gives it: for RSA a number as long as the modulus, for
    /// EC r‖s, for ML-DSA as FIPS 204 encodes it. It is not checked here.
    pub fn sign(
        &self,
        key: &KeyId,
        algorithm: SignatureAlgorithm,
        digest: &[u8],
    ) -> Result<Vec<u8>, Error> {
        let name = algorithm.jwa_name();
        let request = match algorithm {
            // A key whose public part is known was loaded with a version that has such keys.
            SignatureAlgorithm::MlDsa(_) => {
                let body = wire::external_mu_request(digest);
                request(key, KeyAction::Sign, name, body)
            }
            _ => operation(key, KeyAction::Sign, name, digest, &[])?,
        };
        let asked = (key.key.clone(), key.version.clone());
        self.ask(request, move |body| Ok(wire::value(body, &asked)?.to_vec()))
    }

    /// Makes a key. Sent once only: a second request would make a second version.
    pub fn create_key(&self, vault: &Vault, name: &KeyName, key: &NewKey) -> Result<Key, Error> {
        let uri = KeyUri {
            vault: vault.clone(),
            key: name.clone(),
            version: None,
        };
        let mut request = Request {
            operation: "create key",
            vault: vault.clone(),
            key: uri.to_string().into(),
            method: Method::POST,
            algorithm: None,
            url: self.url(vault, &format!("/keys/{name}/create"))?,
            body: Some(Bytes::from_owner(wire::create_request(key))),
            repeatable: false,
        };
        match key.kind {
            NewKeyKind::MlDsa(_) => self.raise(&mut request, Feature::MlDsa)?,
            NewKeyKind::External(_) => self.raise(&mut request, Feature::ExternalKeys)?,
            NewKeyKind::Oct { .. } => self.raise(&mut request, Feature::SymmetricKeys)?,
            NewKeyKind::Rsa { .. } | NewKeyKind::Ec(_) => {}
        }
        self.raise_for(&mut request, &key.operations)?;
        self.ask_for_key(request, uri)
    }

    /// The version of the API that a request for a feature names, for a caller who asks for it by
    /// other means.
    ///
    /// # Errors
    /// Only previews have it, and the settings name none of them: [`Error::ApiVersion`] tells the
    /// setting. `operation` and `key` say in it what was asked for.
    pub fn require(
        &self,
        feature: Feature,
        operation: &'static str,
        key: &str,
    ) -> Result<ApiVersion, Error> {
        let version = self.sessions.settings.api_version.with(feature);
        version.ok_or_else(|| self.lacks(operation, key, feature))
    }

    /// Deletes a key with all its versions. It can be recovered until the HSM purges it.
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
        Ok(KeyPages(Pages::begin(vault, self.url(vault, "/keys")?)))
    }

    /// All versions of a key, the oldest first. No request is made before the first page is asked
    /// for.
    ///
    /// # Errors
    /// The vault's name makes no address.
    pub fn versions(&self, vault: &Vault, key: &KeyName) -> Result<KeyPages, Error> {
        let url = self.url(vault, &format!("/keys/{key}/versions"))?;
        Ok(KeyPages(Pages::begin(vault, url)))
    }

    /// Random bytes, made by the HSM.
    pub fn random_bytes(&self, vault: &Vault, len: usize) -> Result<Zeroizing<Vec<u8>>, Error> {
        let client = self.for_one_operation();
        let mut random = Zeroizing::new(Vec::with_capacity(len));
        while random.len() < len {
            let count = MAX_RANDOM.min(len - random.len());
            let url = self.url(vault, "/rng")?;
            let mut request = Request {
                method: Method::POST,
                body: Some(Bytes::from_owner(wire::random_request(count))),
                ..Request::of_vault("get random bytes from", vault, url)
            };
            self.raise(&mut request, Feature::Random)?;
            let more = client.ask(request, move |body| wire::random_bytes(body, count))?;
            random.extend_from_slice(&more);
        }
        Ok(random)
    }

    /// A token for the service that keeps a vault's keys, and the credential that gave it: the one
    /// that requests to the vault have.
    pub fn access_token(&self, vault: &Vault) -> Result<(CredentialKind, AccessToken), Error> {
        let vault = vault.clone();
        let late = Error::Timeout {
            operation: "get an access token for",
            key: vault.to_string(),
            endpoint: self
                .sessions
                .settings
                .cloud_of(&vault)
                .audience(vault.service),
            after: self.sessions.settings.operation_timeout,
            earlier: None,
        };
        let late = move |_: &Sessions| late.clone();
        self.on_io_thread(late, None, |sessions, deadline| async move {
            let session = sessions.session()?;
            session.transport.access_token(&vault, deadline).await
        })
    }

    /// Whether the stack of the present call is of the usual size: see [`Caller`].
    pub fn has_room(&self) -> bool {
        self.caller.has_room()
    }

    /// Ends this process's I/O thread within half a second, and with it all connections, and the
    /// thread for metrics in the same way. The next request of any client starts others.
    pub fn shutdown() {
        metrics::stop();
        IoThread::stop();
    }

    /// Closes the connections, once the requests under way are done, and forgets the tokens.
    /// Another request opens new ones.
    pub fn close(&self) {
        self.sessions.close();
    }

    pub(crate) fn url(&self, vault: &Vault, path: &str) -> Result<Url, Error> {
        let mut url = self.sessions.settings.address(vault)?;
        url.set_path(path);
        url.set_query(Some(&query(&self.sessions.settings.api_version)));
        Ok(url)
    }

    /// Has a request name a version of the API that has a feature.
    ///
    /// # Errors
    /// Only previews have it, and the settings name none of them.
    pub(crate) fn raise(&self, request: &mut Request, feature: Feature) -> Result<(), Error> {
        let version = self.require(feature, request.operation, &request.key)?;
        request.url.set_query(Some(&query(&version)));
        Ok(())
    }

    /// Has a request that says what a key may be used for name a version of the API that knows it.
    pub(crate) fn raise_for(
        &self,
        request: &mut Request,
        operations: &[KeyOperation],
    ) -> Result<(), Error> {
        let newer = [KeyOperation::SecureWrapKey, KeyOperation::SecureUnwrapKey];
        match operations.iter().any(|named| newer.contains(named)) {
            true => self.raise(request, Feature::SecureWrap),
            false => Ok(()),
        }
    }

    /// The version of the API that the settings name lacks a feature. Says so in the log as well.
    fn lacks(&self, operation: &'static str, key: &str, feature: Feature) -> Error {
        let error = Error::ApiVersion {
            operation,
            key: key.to_owned(),
            what: feature.words(),
            since: feature.since(),
            set: self.sessions.settings.api_version.to_string(),
        };
        error.log(operation, key);
        error
    }

    /// Sends a request that is answered with the key that `uri` names.
    pub(crate) fn ask_for_key(&self, request: Request, uri: KeyUri) -> Result<Key, Error> {
        let (operation, key) = (request.operation, Arc::clone(&request.key));
        let url = request.url.clone();
        let version = self.sessions.settings.api_version.clone();
        match self.ask(request, move |body| wire::key(body, &uri, &url, &version))? {
            Told::Known(key) => Ok(*key),
            Told::Lacks(feature) => Err(self.lacks(operation, &key, feature)),
        }
    }

    /// Sends a request and waits for what `read` makes of the answer.
    pub(crate) fn ask<T: Send + 'static>(
        &self,
        request: Request,
        read: impl Fn(&[u8]) -> Result<T, String> + Send + Sync + 'static,
    ) -> Result<T, Error> {
        self.sessions.expect_use(&request.vault);
        let begun = metrics::begin();
        let (operation, key) = (request.operation, Arc::clone(&request.key));
        let (limit, is_repeatable) = (self.limit(), request.repeatable);
        let mut outcome = match self.caller.kind() {
            CallerKind::Thread => self.sessions.ask(&request, Instant::now() + limit, read),
            CallerKind::SmallStack => self.ask_io_thread(request, read, None),
            CallerKind::Job(job) => self.ask_io_thread(request, read, Some(job.as_ref())),
        };
        if let Err(Error::Timeout { after, .. }) = &mut outcome
            && self.end.is_some()
        {
            *after = to_hundredths(limit).min(*after);
        }
        if !is_repeatable {
            outcome = outcome.map_err(Error::sent_once);
        }
        metrics::end(begun, &key, operation, &outcome);
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
        let request = Arc::new(request);
        let asked = Arc::clone(&request);
        let late = move |sessions: &Sessions| sessions.late(&asked);
        self.on_io_thread(late, job, |sessions, deadline| async move {
            sessions.ask_from_io_thread(&request, deadline, read).await
        })
    }

    /// Has the I/O thread do `work` by a deadline; `late` says why it didn't. Nothing deep runs on
    /// the caller's stack.
    fn on_io_thread<T, F>(
        &self,
        late: impl Fn(&Sessions) -> Error + Clone + Send + 'static,
        job: Option<&dyn Job>,
        work: impl FnOnce(Arc<Sessions>, Instant) -> F + Send + 'static,
    ) -> Result<T, Error>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Error>> + Send,
    {
        let deadline = Instant::now() + self.limit();
        let slot = Slot::new();
        let completion = Completion::new(&slot, job);
        let (sessions, too_late) = (Arc::clone(&self.sessions), late.clone());
        IoThread::current()?.spawn(move || async move {
            let work = work(Arc::clone(&sessions), deadline);
            let outcome = event_loop::timeout_at(deadline, work).await;
            completion.finish(outcome.unwrap_or_else(|_| Err(too_late(&sessions))));
        });
        let outcome = slot.wait(job, deadline + GRACE);
        outcome.unwrap_or_else(|| Err(late(&self.sessions)))
    }
}

/// A time as a sentence tells it.
fn to_hundredths(time: Duration) -> Duration {
    Duration::from_millis(10) * (time.as_secs_f32() * 100.0).round() as u32
}

/// A request for an operation with a key, which is safe to repeat.
///
/// # Errors
/// An input is longer than [`MAX_INPUT`].
pub(crate) fn operation(
    key: &KeyId,
    action: KeyAction,
    algorithm: &'static str,
    value: &[u8],
    further: &[(&str, Option<&[u8]>)],
) -> Result<Request, Error> {
    let further_lens = further
        .iter()
        .filter_map(|(_, value)| value.map(<[u8]>::len));
    check_len(key, action, further_lens.fold(value.len(), usize::max))?;
    let body = wire::operation_request(algorithm, value, further);
    Ok(request(key, action, algorithm, body))
}

/// Refuses an input that is longer than [`MAX_INPUT`].
pub(crate) fn check_len(key: &KeyId, action: KeyAction, len: usize) -> Result<(), Error> {
    if len <= MAX_INPUT {
        return Ok(());
    }
    let error = Error::TooLong {
        operation: action.words(),
        key: key.to_string(),
        len,
        most: MAX_INPUT,
    };
    error.log(action.words(), &key.prepared.name);
    Err(error)
}

/// The same with the body that is given.
pub(crate) fn request(
    key: &KeyId,
    action: KeyAction,
    algorithm: &'static str,
    body: Zeroizing<Vec<u8>>,
) -> Request {
    Request {
        operation: action.words(),
        vault: key.vault.clone(),
        key: Arc::clone(&key.prepared.name),
        method: Method::POST,
        algorithm: Some(algorithm),
        url: key.url(action).clone(),
        body: Some(Bytes::from_owner(body)),
        repeatable: true,
    }
}

/// What a request's address says of the version of the API.
fn query(version: &ApiVersion) -> String {
    format!("api-version={version}")
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client")
            .field("endpoint", &self.sessions.settings.endpoint)
            .finish_non_exhaustive()
    }
}
