//! A token: an HSM or a key vault with an identity, and the keys that are known of it.

pub(crate) mod certificates;
pub(crate) mod credentials;
pub(crate) mod ending;
#[cfg(test)]
pub(crate) mod examples;
mod index;
mod listing;
pub(crate) mod loading;
mod loads;
pub(crate) mod objects;
mod reloading;
pub(crate) mod table;
pub(crate) mod tags;
pub(crate) mod turns;

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use arc_swap::{ArcSwap, ArcSwapOption};
use cryptoki_sys::{
    CK_OBJECT_HANDLE, CK_SESSION_HANDLE, CKR_ACTION_PROHIBITED, CKR_KEY_HANDLE_INVALID,
    CKR_OBJECT_HANDLE_INVALID, CKR_USER_NOT_LOGGED_IN,
};
use hsm_keys::Digest;
use hsm_module::ClientInUse;
use hsm_module::pipe_signal::Blocked;
use hsm_module::stack::AnyStack;
use managed_hsm::{Client, FrontEnd, KeyId, KeyUri, Service, Settings, Vault};

use self::certificates::{Filing, InVain};
use self::credentials::Login;
use self::listing::Listing;
use self::objects::{Object, StoredKey};
use self::table::Table;
use self::tags::Half;
use self::turns::{Turn, Turns};
use crate::attributes::KeyObject;
use crate::call_time;
use crate::configuration::{self, Options, TokenSettings};
use crate::error::{Error, Purpose};
use crate::locks::OneAtATime;

/// A token.
pub(crate) struct Token {
    settings: TokenSettings,
    options: Arc<Options>,
    serial: String,
    /// Who asks the HSM. None: nobody has logged in, or nothing was asked for yet.
    client: ArcSwapOption<Client>,
    login: Mutex<Login>,
    table: ArcSwap<Table>,
    /// Held by whoever makes another table.
    changing: OneAtATime,
    /// Tells which of two answers is the later one.
    clock: AtomicU64,
    listing: Mutex<Option<Listing>>,
    /// When the HSM has said that it has no such key, of one that is known here.
    doubted: Mutex<Option<Instant>>,
    loading: Turns,
    naming: Turns,
    updating: Turns,
    /// What is known of the certificates' files.
    filing: Mutex<Filing>,
    in_vain: Mutex<InVain>,
    /// The keys whose certificates a key vault has been asked for.
    asked: Mutex<HashSet<KeyId>>,
    /// The table whose certificates have their keys, as far as there are any.
    settled: AtomicU64,
}

/// A question to the HSM. Its answer is for the user who asks, and may be overtaken by others.
pub(crate) struct Asked {
    by: Arc<Client>,
    /// What is answered was so then or later, by the token's clock.
    pub(crate) at: u64,
}

impl Asked {
    /// Has `ask` ask it.
    pub(crate) fn ask<R>(&self, ask: impl FnOnce(&Client) -> R) -> Result<R, Error> {
        Token::ask_by(&self.by, ask)
    }

    /// The same once the HSM has changed something: no other answer tells of it before now.
    pub(crate) fn answered(self, token: &Token) -> Self {
        Self {
            at: token.tick(),
            ..self
        }
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Token({})", self.settings.vault)
    }
}

impl Token {
    pub(crate) fn new(settings: TokenSettings, options: Arc<Options>) -> Self {
        let table = match settings.certificates.is_empty() {
            true => Table::default(),
            false => Table::default().with_certificates(),
        };
        Self {
            serial: serial(&settings),
            settings,
            options,
            client: ArcSwapOption::empty(),
            login: Mutex::default(),
            table: ArcSwap::from_pointee(table),
            changing: OneAtATime::default(),
            clock: AtomicU64::new(1),
            listing: Mutex::default(),
            doubted: Mutex::default(),
            loading: Turns::default(),
            naming: Turns::default(),
            updating: Turns::default(),
            filing: Mutex::default(),
            in_vain: Mutex::default(),
            asked: Mutex::default(),
            settled: AtomicU64::new(0),
        }
    }

    pub(crate) fn vault(&self) -> &Vault {
        &self.settings.vault
    }

    pub(crate) fn label(&self) -> &str {
        &self.settings.label
    }

    pub(crate) fn model(&self) -> &'static str {
        match self.settings.vault.service {
            Service::ManagedHsm => "Managed HSM",
            Service::KeyVault => "Key Vault",
        }
    }

    /// The same for the same HSM, and another for each.
    pub(crate) fn serial(&self) -> &str {
        &self.serial
    }

    pub(crate) fn requires_login(&self) -> bool {
        self.settings.requires_login
    }

    pub(crate) fn options(&self) -> &Options {
        &self.options
    }

    /// Whether the program's PIN is the credential.
    pub(crate) fn by_pin(&self) -> bool {
        self.settings.by_pin
    }

    /// Has `ask` ask the HSM.
    ///
    /// # Errors
    /// Nobody has logged in, and somebody has to.
    pub(crate) fn ask<R>(&self, ask: impl FnOnce(&Client) -> R) -> Result<R, Error> {
        Self::ask_by(&self.in_this_call(&*self.lasting_client()?), ask)
    }

    fn ask_by<R>(client: &Client, ask: impl FnOnce(&Client) -> R) -> Result<R, Error> {
        let client = ClientInUse::new(|| Ok::<_, Error>(client))?;
        Ok(ask(&client))
    }

    /// Who asks the HSM now, whose requests end with the call that this thread is in.
    ///
    /// # Errors
    /// Nobody has logged in, and somebody has to.
    pub(crate) fn client(&self) -> Result<Arc<Client>, Error> {
        let client = self.lasting_client()?;
        Ok(Arc::new(self.in_this_call(&client)))
    }

    /// The same client, whose requests end with the call that this thread is in.
    fn in_this_call(&self, client: &Client) -> Client {
        client.until(call_time::end(self.operation_timeout()))
    }

    fn lasting_client(&self) -> Result<Arc<Client>, Error> {
        if let Some(client) = self.client.load_full() {
            return Ok(client);
        }
        if self.by_pin() {
            return Err(Error::code(CKR_USER_NOT_LOGGED_IN));
        }
        let made = Arc::new(new_client(self.settings.client.clone()));
        let none = None::<Arc<Client>>;
        let previous = self.client.compare_and_swap(&none, Some(Arc::clone(&made)));
        Ok(previous.as_ref().map_or(made, Arc::clone))
    }

    /// The next point in time by the token's clock.
    pub(crate) fn tick(&self) -> u64 {
        self.clock.fetch_add(1, Ordering::Relaxed)
    }

    /// Before the HSM is asked for what is to be taken into the table.
    ///
    /// # Errors
    /// Nobody has logged in, and somebody has to.
    pub(crate) fn asking(&self) -> Result<Asked, Error> {
        let (by, at) = (self.client()?, self.tick());
        Ok(Asked { by, at })
    }

    /// How long a thread may wait for others, in the call that it is in.
    fn patience(&self) -> Duration {
        call_time::left(self.operation_timeout())
    }

    /// Whether it is still the same one who asks.
    pub(crate) fn is_asked_by(&self, client: &Client) -> bool {
        let current = self.client.load();
        current
            .as_ref()
            .is_some_and(|current| current.is_same(client))
    }

    /// Whether the keys can be seen.
    pub(crate) fn is_open(&self) -> bool {
        !self.by_pin() || self.client.load().is_some()
    }

    /// A request that failed.
    pub(crate) fn refusal(&self, purpose: Purpose, error: &managed_hsm::Error) -> Error {
        if loading::is_not_found(error) {
            self.doubt();
        }
        Error::request(purpose, self.by_pin(), error)
    }

    /// An operation with a key that failed.
    pub(crate) fn failure(&self, purpose: Purpose, error: &hsm_keys::Error) -> Error {
        match error {
            hsm_keys::Error::Client(error) => self.refusal(purpose, error),
            error => Error::operation(purpose, error),
        }
    }

    /// What is known of the keys.
    pub(crate) fn table(&self) -> Arc<Table> {
        self.table.load_full()
    }

    /// Has `change` make another table of this one.
    fn change<R>(&self, change: impl FnOnce(&mut Table) -> R) -> R {
        self.replace(Table::next, change)
    }

    /// The same for keys that programs bring, where nothing changes of the HSM's.
    fn change_brought<R>(&self, change: impl FnOnce(&mut Table) -> R) -> R {
        self.replace(Table::clone, change)
    }

    fn replace<R>(&self, copy: fn(&Table) -> Table, change: impl FnOnce(&mut Table) -> R) -> R {
        self.changing.run(|| {
            let mut table = copy(&self.table.load());
            let result = change(&mut table);
            table.forget_handles();
            self.table.store(Arc::new(table));
            result
        })
    }

    /// Has `change` take an answer into the table.
    ///
    /// # Errors
    /// Who has asked has logged out meanwhile: nobody else is to see it.
    pub(crate) fn learn<R>(
        &self,
        asked: &Asked,
        change: impl FnOnce(&mut Table) -> R,
    ) -> Result<R, Error> {
        self.change(|table| match self.is_for_user(asked) {
            true => Ok(change(table)),
            false => Err(Error::code(CKR_USER_NOT_LOGGED_IN)),
        })
    }

    /// Whether an answer is for whoever is logged in now.
    fn is_for_user(&self, asked: &Asked) -> bool {
        !self.by_pin() || self.is_asked_by(&asked.by)
    }

    /// What a handle is of, for functions about objects.
    pub(crate) fn object(&self, handle: CK_OBJECT_HANDLE) -> Result<Object, Error> {
        let invalid = || Error::code(CKR_OBJECT_HANDLE_INVALID);
        let object = self.table.load().object(handle).cloned();
        match object.ok_or_else(invalid)? {
            Object::Key(key, _) if !self.is_visible(&key) => Err(invalid()),
            object => Ok(object),
        }
    }

    /// The key that a handle is of, for functions that use it.
    pub(crate) fn key(&self, handle: CK_OBJECT_HANDLE) -> Result<(Arc<StoredKey>, Half), Error> {
        match self.table.load().object(handle) {
            Some(Object::Key(key, half)) if self.is_visible(key) => Ok((Arc::clone(key), *half)),
            _ if !self.is_open() => Err(Error::code(CKR_USER_NOT_LOGGED_IN)),
            _ => Err(Error::code(CKR_KEY_HANDLE_INVALID)),
        }
    }

    /// Whether a key can be seen: those of the HSM by whoever may ask it.
    fn is_visible(&self, key: &StoredKey) -> bool {
        key.hsm_id().is_none() || self.is_open()
    }

    /// Whether there is such an object for programs.
    pub(crate) fn shows(&self, key: &StoredKey, half: Half) -> bool {
        self.is_visible(key) && key.shows(half) && (key.enabled || !self.settings.hides_disabled)
    }

    /// One of a key's objects, to be asked for attributes.
    pub(crate) fn view<'a>(&'a self, key: &'a StoredKey, half: Half) -> KeyObject<'a> {
        KeyObject {
            key,
            half,
            options: &self.options,
        }
    }

    /// Takes in a key that was just made. By the handles of one whose user has logged out meanwhile
    /// nothing is found, as by those of all keys of that user.
    pub(crate) fn add(
        &self,
        asked: &Asked,
        key: managed_hsm::Key,
        session: Option<CK_SESSION_HANDLE>,
    ) -> Arc<StoredKey> {
        let key = StoredKey::new(key, asked.at);
        self.change(|table| match self.is_for_user(asked) {
            true => table.add(key, session),
            false => Arc::new(key),
        })
    }

    /// Waits until no other thread of this process gives a key a name that it has looked for.
    pub(crate) fn turn_to_name(&self) -> Turn<'_> {
        self.naming.wait(self.patience())
    }

    /// Waits until no other thread of this process changes an object. The HSM takes all tags of a
    /// key at once, so whoever changes one has to have seen what the others were changed to.
    pub(crate) fn turn_to_update(&self) -> Turn<'_> {
        self.turn_to_update_within(self.patience())
    }

    /// The same for who has no longer than that.
    pub(crate) fn turn_to_update_within(&self, limit: Duration) -> Turn<'_> {
        self.updating.wait(limit)
    }

    /// Takes in a key that a program has brought.
    pub(crate) fn bring(&self, key: StoredKey) -> CK_OBJECT_HANDLE {
        self.change_brought(|table| table.add_brought(key))
    }

    /// Deletes a key with all its versions, or forgets one that a program has brought.
    ///
    /// # Errors
    /// As [`Self::delete_by`] has them.
    pub(crate) fn delete(&self, key: &StoredKey) -> Result<(), Error> {
        if key.hsm_id().is_none() {
            self.change_brought(|table| table.remove_brought(key));
            return Ok(());
        }
        if self.table().has_adopted(key) {
            self.change(|table| table.remove_handles(key));
            return Ok(());
        }
        self.delete_by(&self.client()?, key)
    }

    /// Has `client` delete a key of the HSM.
    ///
    /// # Errors
    /// It isn't the key any more that the program has a handle of, or that a session has made; or
    /// the HSM refuses. CKR_OBJECT_HANDLE_INVALID: there is none any more.
    pub(crate) fn delete_by(&self, client: &Arc<Client>, key: &StoredKey) -> Result<(), Error> {
        let name = &key.require_hsm_id()?.key;
        self.check_deletion(client, key)?;
        let vault = &self.settings.vault;
        let deleted = Self::ask_by(client, |client| client.delete_key(vault, name))?;
        deleted.map_err(|error| self.refusal(Purpose::Delete, &error))?;
        self.change(|table| table.remove(name.as_str(), self.tick()));
        Ok(())
    }

    /// Looks at a key just before it is deleted. All versions go with it, so that of the handle has
    /// to be the newest still; and what was made for a session may be the session's no more.
    fn check_deletion(&self, client: &Arc<Client>, key: &StoredKey) -> Result<(), Error> {
        let id = key.require_hsm_id()?;
        let asked = Asked {
            by: Arc::clone(client),
            at: self.tick(),
        };
        let get = |version| {
            let uri = KeyUri {
                vault: self.settings.vault.clone(),
                key: id.key.clone(),
                version,
            };
            let got = asked.ask(|client| client.get_key(&uri))?;
            got.map(|key| StoredKey::new(key, asked.at))
                .map_err(|error| self.refusal(Purpose::Delete, &error))
        };
        let newest = get(None)?;
        if !newest.is(id) {
            // It may be that the key of the handle is gone, and another has its name.
            get(Some(id.version.clone()))?;
            let version = newest.require_hsm_id()?.version.clone();
            let remedy = match self.configured_version(&id.key) {
                Some(_) => "the configuration names the older one, by which none is deleted",
                None => {
                    // The next search finds it, whatever is known of the list.
                    if newest.enabled {
                        self.learn(&asked, |table| table.add(newest, None))?;
                    }
                    "look for the key again, to delete it with all its versions"
                }
            };
            return Err(Error::because(
                CKR_ACTION_PROHIBITED,
                format!(
                    "key {} stays: its newest version is {version} now, which would be deleted \
                     with it; {remedy}",
                    key.name(),
                ),
            ));
        }
        let newest = self.unreplaced(&asked, key, newest)?;
        key.check_unadopted(&newest)
    }

    /// Deletes a key whose private object is destroyed. Its public object goes with it, and may be
    /// destroyed after it all the same.
    pub(crate) fn delete_by_private(&self, key: &StoredKey) -> Result<(), Error> {
        self.delete(key)?;
        self.change(|table| table.note_deletion(key));
        Ok(())
    }

    /// Destroys a public object that went with its private one. Whether it is one.
    pub(crate) fn destroy_gone(&self, handle: CK_OBJECT_HANDLE) -> bool {
        let is_gone = self.table.load().is_gone(handle);
        if is_gone {
            self.change(|table| table.remove_gone(handle));
        }
        is_gone
    }

    /// Changes a version of a key.
    pub(crate) fn update(
        &self,
        key: &StoredKey,
        update: &managed_hsm::Update,
    ) -> Result<Arc<StoredKey>, Error> {
        let (asked, updated) = self.updated(key, update)?;
        self.learn(&asked, |table| table.renew(updated, key.session))
    }

    /// Has a session's key outlive it.
    pub(crate) fn adopt(
        &self,
        key: &StoredKey,
        update: &managed_hsm::Update,
    ) -> Result<Arc<StoredKey>, Error> {
        let (asked, updated) = self.updated(key, update)?;
        self.learn(&asked, |table| table.adopt(updated))
    }

    /// Forgets one handle of a key.
    pub(crate) fn forget_handle(&self, handle: CK_OBJECT_HANDLE) {
        self.change(|table| table.remove_handle(handle));
    }

    /// Forgets the handles that keys have had in a session that they have outlived.
    pub(crate) fn forget_adopted(&self, session: CK_SESSION_HANDLE) {
        if self.table().has_keys_of(session) {
            self.change(|table| table.forget_adopted(session));
        }
    }

    /// The version of a key as the HSM has changed it.
    fn updated(
        &self,
        key: &StoredKey,
        update: &managed_hsm::Update,
    ) -> Result<(Asked, StoredKey), Error> {
        let uri = KeyUri::from(key.require_hsm_id()?.clone());
        let asked = self.asking()?;
        let updated = asked.ask(|client| client.update_key(&uri, update))?;
        let updated = updated.map_err(|error| self.refusal(Purpose::Update, &error))?;
        let asked = asked.answered(self);
        let updated = self.unreplaced(&asked, key, StoredKey::new(updated, asked.at))?;
        Ok((asked, updated))
    }

    /// What the HSM says of a version now, which a program has a handle of.
    ///
    /// # Errors
    /// The version has another public key now, which is no business of the handle's.
    pub(super) fn unreplaced(
        &self,
        asked: &Asked,
        key: &StoredKey,
        now: StoredKey,
    ) -> Result<StoredKey, Error> {
        if now.public() == key.public() {
            return Ok(now);
        }
        self.learn(asked, |table| table.renew(now, None))?;
        Err(key.replaced())
    }

    /// Lets go of connections and logins.
    pub(crate) fn close(&self) {
        self.forget_login();
        self.drop_client();
    }

    fn drop_client(&self) {
        // Connections say goodbye, perhaps to nobody.
        let _blocked = Blocked::new();
        self.client.store(None);
    }
}

/// What the client is told of the module.
pub(crate) const FRONT_END: FrontEnd = FrontEnd::new(
    concat!("akv_pkcs11/", env!("CARGO_PKG_VERSION")),
    configuration::FILE,
    configuration::SPELLING,
)
.with_metrics();

/// A client for threads with any stack.
fn new_client(settings: Settings) -> Client {
    let settings = Settings {
        front_end: FRONT_END,
        ..settings
    };
    Client::called_by(settings, AnyStack)
}

/// 16 digits of the SHA-256 of the host's name.
fn serial(settings: &TokenSettings) -> String {
    let address = settings.client.address(&settings.vault);
    let host = address
        .ok()
        .and_then(|url| url.host_str().map(str::to_ascii_lowercase));
    let host = host.unwrap_or_else(|| settings.vault.to_string());
    let hash = Digest::by_name("SHA256").map(|sha256| sha256.of(host.as_bytes()));
    let hash = hash.unwrap_or_default();
    tags::encode_id(&hash[..hash.len().min(8)])
}
