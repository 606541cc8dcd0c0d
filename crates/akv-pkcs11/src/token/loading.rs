//! How keys become known: as few requests as what a program looks for allows, and none that
//! somebody without the right to list keys would be refused.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use cryptoki_sys::{CKA_ID, CKA_LABEL};
use managed_hsm::{Client, KeyItem, KeyName, KeyUri, KeyVersion};

use super::listing::{Listed, Listing};
use super::objects::StoredKey;
use super::table::Table;
use super::tags::{self, Half, Tags};
use super::{Asked, Token};
use crate::call_time::CallTime;
use crate::certificates::CertificateObject;
use crate::configuration::KeyPattern;
use crate::error::{Error, Purpose};
use crate::locks::lock;
use crate::report;

/// A list of keys that finds nothing is asked for anew once it is so old: another process may just
/// have made the key.
pub(super) const MISS_AGE: Duration = Duration::from_secs(2);

/// What a program looks for, as far as it tells which keys to load.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sought<'a> {
    pub(crate) label: Option<&'a [u8]>,
    pub(crate) id: Option<&'a [u8]>,
}

impl Sought<'_> {
    fn is_all(&self) -> bool {
        self.label.is_none() && self.id.is_none()
    }

    /// Whether one of the key's objects fits.
    pub(crate) fn fits(&self, key: &StoredKey) -> bool {
        Half::BOTH.into_iter().any(|half| {
            self.label.is_none_or(|label| key.has_label(half, label))
                && self.id.is_none_or(|id| key.has_id(half, id))
        })
    }

    /// Whether one of the key's objects has just what is sought.
    pub(super) fn is_just(&self, key: &StoredKey) -> bool {
        Half::BOTH.into_iter().any(|half| key.has_just(half, *self))
    }

    /// Whether a certificate fits.
    pub(super) fn fits_certificate(&self, object: &CertificateObject<'_>) -> bool {
        self.label.is_none_or(|label| object.has(CKA_LABEL, label))
            && self.id.is_none_or(|id| object.has(CKA_ID, id))
    }

    /// Whether the key may fit, as far as its tags tell.
    pub(super) fn may_fit(&self, item: &Listed) -> bool {
        let tagged = |half, attribute| item.tags.read(half, attribute);
        Half::BOTH.into_iter().any(|half| {
            let label = self.label.is_none_or(|sought| match tagged(half, "LABEL") {
                Some(text) => tags::means(text, sought),
                None => item.name.as_str().as_bytes() == sought,
            });
            let id = self.id.is_none_or(|sought| {
                tagged(half, "ID").is_none_or(|text| tags::means(text, sought))
            });
            label && id
        })
    }
}

impl Token {
    /// Sees to it that the keys that fit are known.
    ///
    /// # Errors
    /// The HSM can't be asked, and nothing is known that could serve instead.
    pub(crate) fn load(&self, sought: Sought<'_>) -> Result<(), Error> {
        self.load_versions(sought)?;
        self.renew_earlier(sought);
        Ok(())
    }

    /// Whether what is known of a key is young enough to serve a search.
    pub(super) fn is_fresh(&self, table: &Table, key: &StoredKey) -> bool {
        u128::from(table.age(key)) < self.freshness().as_millis()
    }

    /// Sees to it that the versions that are found by themselves are known. An HSM that let the
    /// time of the call pass is not asked again.
    fn load_versions(&self, sought: Sought<'_>) -> Result<(), Error> {
        if let Some(label) = sought.label
            && self.load_by_name(sought, label)?
        {
            return Ok(());
        }
        if self.is_loaded(sought) {
            return Ok(());
        }
        let _turn = self.loading.wait(self.patience());
        let listing = self.listing(self.freshness())?;
        self.load_listed(sought, &listing)?;
        self.keep_versions(None)?;
        let is_old = listing.at.elapsed() >= MISS_AGE;
        let is_late = self.patience().is_zero();
        if sought.is_all() || !is_old || is_late || self.knows(sought) {
            return Ok(());
        }
        let listing = self.listing(MISS_AGE)?;
        self.load_listed(sought, &listing)?;
        self.keep_versions(None)
    }

    /// How old what is known may be, to serve a search: not older than the HSM's word that it has
    /// no such key, of one that is known.
    fn freshness(&self) -> Duration {
        let doubted = lock(&self.doubted).map(|at| at.elapsed());
        doubted.map_or(self.options.refresh, |age| age.min(self.options.refresh))
    }

    /// Whether the HSM was asked in vain for a symmetric key's size, not long ago: it may tell by
    /// now what it refused.
    pub(crate) fn knows_of_hidden_size(&self, key: &StoredKey) -> bool {
        let refresh = u64::try_from(self.options.refresh.as_millis()).unwrap_or(u64::MAX);
        match key.hides_size.load(Ordering::Relaxed) {
            0 => false,
            at => self.table().now().saturating_sub(at) < refresh,
        }
    }

    /// Has searches ask again. Of what was asked for just now they don't: a program that goes on
    /// with the handle of a key that is gone would have each of its searches list all keys.
    pub(super) fn doubt(&self) {
        let mut doubted = lock(&self.doubted);
        if doubted.is_none_or(|at| at.elapsed() >= MISS_AGE) {
            *doubted = Some(Instant::now());
        }
    }

    /// Whether all that may fit is known, and not too old.
    fn is_loaded(&self, sought: Sought<'_>) -> bool {
        let listing = lock(&self.listing).clone();
        listing.is_some_and(|listing| {
            let age = listing.at.elapsed();
            age < self.freshness()
                && !self.may_lack_versions(&self.table())
                && self.wanted(sought, &listing).is_empty()
                && (sought.is_all() || age < MISS_AGE || self.knows(sought))
        })
    }

    /// Whether there is a key that has just what is sought. Where there are only such that may be
    /// meant by it, the one that is meant may be new.
    fn knows(&self, sought: Sought<'_>) -> bool {
        let table = self.table();
        let mut candidates = table.candidates(sought).into_iter();
        candidates.any(|key| sought.is_just(key) && table.is_sure(key))
    }

    /// Looks for a key whose name is the label: one request, for which the right to read that key
    /// suffices. Whether that is the end of the search.
    fn load_by_name(&self, sought: Sought<'_>, label: &[u8]) -> Result<bool, Error> {
        let table = self.table();
        let name = std::str::from_utf8(label).ok();
        let name: Option<KeyName> = name.and_then(|name| name.parse().ok());
        let known = name.as_ref().and_then(|name| table.newest(name.as_str()));
        let fits = |key: &StoredKey| sought.fits(key) || table.has_earlier(key, sought);
        if known.is_some_and(|key| self.is_fresh(&table, key) && fits(key)) {
            return self.keep_versions(name.as_ref()).map(|()| true);
        }
        // One that nobody was asked for doesn't tell which keys there are.
        let tells = |listing: &Listing| !self.settings.never_lists || !listing.items.is_empty();
        let has_listing = lock(&self.listing)
            .as_ref()
            .is_some_and(|listing| listing.at.elapsed() < self.freshness() && tells(listing));
        let Some(name) = name.filter(|name| !has_listing && self.is_configured(name.as_str()))
        else {
            return Ok(false);
        };
        match self.get(&name, self.configured_version(&name)) {
            Ok(key) => {
                if !self.table().has_certificate(&key) {
                    self.keep_versions(Some(&name))?;
                }
                // It may have another id by now, and an earlier version the one in its tags.
                let table = self.table();
                let found = table.has_version(&name, sought) || table.has_earlier(&key, sought);
                Ok(found || self.settings.never_lists)
            }
            Err(error) if is_absence(&error) => Ok(self.settings.never_lists),
            Err(error) if known.is_some_and(|key| fits(key)) => {
                serve_on(&error);
                Ok(true)
            }
            Err(error) => Err(self.refusal(Purpose::Find, &error)),
        }
    }

    /// Whether the configuration lets a key be seen.
    pub(crate) fn is_configured(&self, name: &str) -> bool {
        let keys = self.settings.keys.as_ref();
        keys.is_none_or(|keys| keys.iter().any(|pattern| pattern.fits(name)))
    }

    pub(super) fn configured_version(&self, name: &KeyName) -> Option<KeyVersion> {
        let mut patterns = self.settings.keys.iter().flatten();
        patterns.find_map(|pattern| match pattern {
            KeyPattern::Name(known, version) if known == name => version.clone(),
            _ => None,
        })
    }

    /// Loads a key, or forgets one that the HSM has no more.
    fn get(
        &self,
        name: &KeyName,
        version: Option<KeyVersion>,
    ) -> Result<Arc<StoredKey>, managed_hsm::Error> {
        let began = self.tick();
        match self.fetch(name, version) {
            Ok((asked, key)) => self
                .learn(&asked, |table| table.add(key, None))
                .map_err(logged_out),
            Err(error) => {
                if is_not_found(&error) && self.table().newest(name.as_str()).is_some() {
                    self.change(|table| table.remove(name.as_str(), began));
                }
                Err(error)
            }
        }
    }

    /// Asks for a key.
    pub(super) fn fetch(
        &self,
        name: &KeyName,
        version: Option<KeyVersion>,
    ) -> Result<(Asked, StoredKey), managed_hsm::Error> {
        let uri = KeyUri {
            vault: self.settings.vault.clone(),
            key: name.clone(),
            version,
        };
        let asked = self.asking().map_err(logged_out)?;
        let loaded = asked.ask(|client| client.get_key(&uri));
        let key = StoredKey::new(loaded.map_err(logged_out)??, asked.at);
        Ok((asked, key))
    }

    /// The keys that there are, not older than told. One that can't be renewed serves on.
    fn listing(&self, refresh: Duration) -> Result<Listing, Error> {
        let known = lock(&self.listing).clone();
        if let Some(known) = &known
            && known.at.elapsed() < refresh
        {
            return Ok(known.clone());
        }
        let asked = self.asking()?;
        let items = match (self.configured_names(), self.settings.never_lists) {
            (Some(items), _) => Ok(items),
            (None, true) => Ok(Vec::new()),
            (None, false) => self.list(&asked),
        };
        let items = match (items, known) {
            (Ok(items), _) => items,
            (Err(error), Some(known)) => {
                serve_on(&error);
                return Ok(known);
            }
            (Err(error), None) => return Err(self.refusal(Purpose::Find, &error)),
        };
        let listing = Listing {
            at: Instant::now(),
            as_of: asked.at,
            items: Arc::new(items),
            absent: Arc::default(),
        };
        let mut known = lock(&self.listing);
        // Who logs out forgets it after the client.
        if self.is_for_user(&asked) {
            *known = Some(listing.clone());
        }
        Ok(listing)
    }

    /// Asks for the list of keys, and forgets those that the HSM has no more. The others stay, also
    /// where the configuration doesn't name them: this process may have made them.
    fn list(&self, asked: &Asked) -> Result<Vec<Listed>, managed_hsm::Error> {
        let began = self.table().now();
        let table = self.table();
        let is_shown = |item: &KeyItem| {
            let name = item.uri.key.as_str();
            // One that is known has to be known as disabled.
            let is_hidden = !item.enabled && self.settings.hides_disabled;
            self.is_configured(name) && (!is_hidden || table.newest(name).is_some())
        };
        let (items, names) = asked
            .ask(|client| self.list_by(client, is_shown))
            .map_err(logged_out)??;
        for name in self.forget_others(&names, began, asked) {
            // It is forgotten if it isn't there, and stays as it is known if that can't be told.
            let _ = self.get(&name, self.configured_version(&name));
        }
        Ok(items)
    }

    /// The keys that are wanted, and the names of all in lower case.
    fn list_by(
        &self,
        client: &Client,
        is_wanted: impl Fn(&KeyItem) -> bool,
    ) -> Result<(Vec<Listed>, HashSet<String>), managed_hsm::Error> {
        let mut pages = client.keys(&self.settings.vault)?;
        let (mut items, mut names) = (Vec::new(), HashSet::new());
        while let Some(page) = pages.next_page(client)? {
            names.extend(
                page.iter()
                    .map(|item| item.uri.key.as_str().to_ascii_lowercase()),
            );
            items.extend(page.into_iter().filter(&is_wanted).map(|item| Listed {
                version: self.configured_version(&item.uri.key),
                name: item.uri.key,
                updated: item.properties.updated,
                enabled: Some(item.enabled),
                tags: Tags::of_names(&item.properties.tags),
            }));
        }
        items.shrink_to_fit();
        Ok((items, names))
    }

    /// Keys whose names are missing in the list of all keys are not in the HSM any more. What was
    /// loaded or made since it was asked for, or just before, may be missing in it: the names of
    /// such keys are returned. `began`: when it was asked for, in milliseconds since the table was
    /// made.
    fn forget_others(&self, listed: &HashSet<String>, began: u64, asked: &Asked) -> Vec<KeyName> {
        let table = self.table();
        let margin = u64::try_from(MISS_AGE.as_millis()).unwrap_or(u64::MAX);
        let is_settled =
            |key: &StoredKey| key.checked.load(Ordering::Relaxed).saturating_add(margin) <= began;
        let missing = table.keys.iter().filter_map(|(name, key)| {
            // The session's end looks for its keys itself.
            let id = key.hsm_id().filter(|_| key.session.is_none())?;
            (!listed.contains(&**name)).then(|| (id.key.clone(), is_settled(key)))
        });
        let (gone, doubtful): (Vec<_>, Vec<_>) = missing.partition(|(_, is_settled)| *is_settled);
        if !gone.is_empty() {
            self.change(|table| {
                gone.iter()
                    .for_each(|(name, _)| table.remove(name.as_str(), asked.at));
            });
        }
        doubtful.into_iter().map(|(name, _)| name).collect()
    }

    /// Forgets keys that aren't there for this identity. One that may not be read is kept as long
    /// as it is a session's of this process, whose end deletes it.
    fn forget_absent(&self, asked: &Asked, failed: &[(KeyName, managed_hsm::Error)]) {
        let table = self.table();
        let is_gone = |(name, error): &&(KeyName, managed_hsm::Error)| {
            let known = table.newest(name.as_str());
            is_absence(error)
                && known.is_some_and(|key| key.session.is_none() || is_not_found(error))
        };
        let gone: Vec<_> = failed.iter().filter(is_gone).collect();
        if !gone.is_empty() {
            self.change(|table| {
                gone.iter()
                    .for_each(|(name, _)| table.remove(name.as_str(), asked.at));
            });
        }
    }

    /// Loads the listed keys that may fit, unless they are known as they are.
    fn load_listed(&self, sought: Sought<'_>, listing: &Listing) -> Result<(), Error> {
        let wanted = self.wanted(sought, listing);
        if wanted.is_empty() {
            return Ok(());
        }
        let absent = self.load_all(&self.asking()?, &wanted)?;
        lock(&listing.absent).extend(absent);
        Ok(())
    }

    /// Loads keys. Returns the names of those that aren't there for this identity.
    fn load_all(&self, asked: &Asked, wanted: &[&Listed]) -> Result<Vec<KeyName>, Error> {
        let (loaded, failed) = asked.ask(|client| self.get_all(client, wanted))?;
        self.learn(asked, |table| {
            for key in loaded {
                table.add(key, None);
            }
        })?;
        self.tell_failures(asked, failed)
    }

    /// Loads the keys of sessions, for whoever takes away what was left behind: also where the
    /// configuration tells which keys there are, since nobody names these.
    ///
    /// # Errors
    /// The HSM can't be asked, or gives no list.
    pub(crate) fn load_of_sessions(&self) -> Result<(), Error> {
        let asked = self.asking()?;
        let is_sessions = |item: &KeyItem| item.properties.tags.contains_key(tags::SESSION);
        let listed = asked.ask(|client| self.list_by(client, is_sessions))?;
        let (items, _) = listed.map_err(|error| self.refusal(Purpose::Find, &error))?;
        let wanted: Vec<&Listed> = items.iter().collect();
        self.load_all(&asked, &wanted).map(drop)
    }

    /// Asks for keys. What fails comes with its key.
    fn get_all(
        &self,
        client: &Client,
        wanted: &[&Listed],
    ) -> (Vec<StoredKey>, Vec<(KeyName, managed_hsm::Error)>) {
        let got = self.at_once(wanted, |item| {
            let as_of = self.tick();
            let got = client.get_key(&KeyUri {
                vault: self.settings.vault.clone(),
                key: item.name.clone(),
                version: item.version.clone(),
            });
            got.map(|key| StoredKey::new(key, as_of))
        });
        let (mut loaded, mut failed) = (Vec::new(), Vec::new());
        for (item, outcome) in wanted.iter().zip(got) {
            match outcome {
                Ok(key) => loaded.push(key),
                Err(error) => failed.push((item.name.clone(), error)),
            }
        }
        (loaded, failed)
    }

    /// Has `ask` ask about each of `items`, as many at a time as there may be connections. Returns
    /// the answers in the order of the items.
    pub(super) fn at_once<T: Sync, R: Send>(
        &self,
        items: &[T],
        ask: impl Fn(&T) -> R + Sync,
    ) -> Vec<R> {
        let next = Mutex::new(items.iter().enumerate());
        let time = CallTime::current();
        let work = || {
            let mut answers = Vec::new();
            loop {
                let item = lock(&next).next();
                let Some((at, item)) = item else {
                    return answers;
                };
                answers.push((at, time.run(|| ask(item))));
            }
        };
        let helpers = self.settings.client.max_connections.min(items.len());
        let mut answers = Vec::with_capacity(items.len());
        std::thread::scope(|scope| {
            // Without the thread the others do its work.
            let start = |_| managed_hsm::start_within(scope, "akv-load", work).ok();
            let started = (1..helpers).map_while(start);
            let started: Vec<_> = started.collect();
            answers.extend(work());
            for thread in started {
                match thread.join() {
                    Ok(more) => answers.extend(more),
                    Err(panic) => std::panic::resume_unwind(panic),
                }
            }
        });
        answers.sort_by_key(|(at, _)| *at);
        answers.into_iter().map(|(_, answer)| answer).collect()
    }

    /// A key that this identity may not read, that was deleted meanwhile, or whose description
    /// makes no sense here, such as one of a type that is new, is left out: its name is returned.
    /// That none of the token's can be had is a failure, as is an HSM that does not answer; but of
    /// keys that are gone, or that the version of the API doesn't have, there may be no others.
    fn tell_failures(
        &self,
        asked: &Asked,
        failed: Vec<(KeyName, managed_hsm::Error)>,
    ) -> Result<Vec<KeyName>, Error> {
        let lower = |(name, _): &(KeyName, _)| name.as_str().to_ascii_lowercase();
        let names: HashSet<String> = failed.iter().map(lower).collect();
        let table = self.table();
        let mut of_hsm = table.keys.iter().filter(|(_, key)| key.hsm_id().is_some());
        let none_is_left = of_hsm.all(|(name, _)| names.contains(&**name));
        let mut by_reason: HashMap<_, (usize, String)> = HashMap::new();
        for (_, error) in &failed {
            let is_of_one = is_absence(error) || is_not_understood(error);
            let is_no_key = is_not_found(error) || is_of_another_version(error);
            if !is_of_one || (none_is_left && !is_no_key) {
                return Err(self.refusal(Purpose::Find, error));
            }
            let seen = by_reason
                .entry(reason(error))
                .or_insert_with(|| (0, error.to_string()));
            seen.0 += 1;
        }
        self.forget_absent(asked, &failed);
        for (count, text) in by_reason.into_values() {
            let text = format!("{count} of the keys can't be read, such as: {text}");
            report::repeated_warning("keys that can't be read", &text);
        }
        Ok(failed.into_iter().map(|(name, _)| name).collect())
    }
}

pub(super) fn serve_on(error: &managed_hsm::Error) {
    let text = format!("the keys that were known serve on: {error}");
    report::repeated_warning("a list that fails", &text);
}

fn logged_out(_: Error) -> managed_hsm::Error {
    managed_hsm::Error::Io("the user has logged out meanwhile".to_owned())
}

/// What failures have in common that differ in their keys.
fn reason(error: &managed_hsm::Error) -> (u16, String) {
    match error {
        managed_hsm::Error::Service { status, code, .. } => (*status, code.raw().to_owned()),
        _ => (0, String::new()),
    }
}

/// Whether the key isn't there for this identity: absent, not to be read, or of a kind that the
/// version of the service's API in use doesn't have.
pub(super) fn is_absence(error: &managed_hsm::Error) -> bool {
    is_of_another_version(error) || matches!(error.status(), Some(403 | 404))
}

/// Whether the key is of a kind that the version of the service's API in use doesn't have.
fn is_of_another_version(error: &managed_hsm::Error) -> bool {
    matches!(error, managed_hsm::Error::ApiVersion { .. })
}

/// Whether an answer is none that this version of the module knows.
fn is_not_understood(error: &managed_hsm::Error) -> bool {
    matches!(error, managed_hsm::Error::Response { .. })
}

pub(super) fn is_not_found(error: &managed_hsm::Error) -> bool {
    matches!(error, managed_hsm::Error::Service { status: 404, .. })
}
