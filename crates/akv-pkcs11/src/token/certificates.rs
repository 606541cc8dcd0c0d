//! A token's certificates: read from their files when these have changed, and each beside the
//! version of a key that it is of, which stays visible for it when the key is rotated.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use cryptoki_sys::{
    CK_OBJECT_HANDLE, CK_SESSION_HANDLE, CKR_OBJECT_HANDLE_INVALID, CKR_TOKEN_WRITE_PROTECTED,
};
use hsm_keys::PublicKey;
use managed_hsm::{Client, KeyId, KeyName, KeyUri, KeyVersion, Service};

use super::Token;
use super::loading::{MISS_AGE, Sought, is_absence};
use super::objects::StoredKey;
use super::table::Table;
use super::tags::{self, Half, Tags};
use crate::certificates::files::{self, Seen, Sources};
use crate::certificates::{Kept, StoredCertificate, X509};
use crate::error::{Error, Purpose};
use crate::locks::lock;
use crate::report;

/// What was read, and when.
#[derive(Debug, Default)]
pub(super) struct Filing {
    looked: Option<Instant>,
    seen: Vec<Seen>,
}

/// What was read of the files.
struct Reading {
    /// What the table had been told of files before ([`Table::filed`]).
    as_of: u64,
    seen: Vec<Seen>,
    found: Vec<StoredCertificate>,
    /// The files that can't be used, and why.
    problems: Vec<(PathBuf, String)>,
}

/// How often the files are read if certificates are written and destroyed meanwhile.
const READINGS: usize = 3;

/// A key whose versions are looked through for those that certificates are of.
struct Search {
    name: KeyName,
    newest: KeyVersion,
    /// Versions that are known already, and too old.
    known: Vec<KeyVersion>,
    /// The certificates that have no key, by what names them.
    missing: Vec<Vec<u8>>,
    /// Their public keys.
    wanted: Vec<PublicKey>,
}

/// Keys with a certificate each for which their versions were looked through in vain.
pub(super) type InVain = HashSet<(KeyName, KeyVersion, Vec<u8>)>;

impl Token {
    /// Where the certificates are.
    pub(crate) fn certificates(&self) -> &Sources {
        &self.settings.certificates
    }

    /// Sees to it that the certificates are as their files are.
    pub(crate) fn refresh_certificates(&self) {
        let sources = self.certificates();
        let is_fresh = |filing: &Filing| filing.looked.is_some_and(|at| at.elapsed() < MISS_AGE);
        if sources.is_empty() || is_fresh(&lock(&self.filing)) {
            return;
        }
        // Where others change them all the time, the next search looks again.
        for _ in 0..READINGS {
            let is_taken = match self.read_certificates() {
                Ok(Some(reading)) => self.take_reading(reading),
                Ok(None) => true,
                Err(problem) => {
                    warn(&format!("certificates that were known serve on: {problem}"));
                    true
                }
            };
            if is_taken {
                lock(&self.filing).looked = Some(Instant::now());
                return;
            }
        }
    }

    /// Reads the files. None: they are as they were.
    fn read_certificates(&self) -> Result<Option<Reading>, String> {
        let table = self.table();
        let seen = self.certificates().look()?;
        if lock(&self.filing).seen == seen {
            return Ok(None);
        }
        let known = table.certificates().iter();
        let known = known.filter_map(|known| known.file()).collect();
        let (filed, problems) = files::read(&seen, &known);
        Ok(Some(Reading {
            as_of: table.filed(),
            seen,
            found: filed.into_iter().map(StoredCertificate::from).collect(),
            problems,
        }))
    }

    /// Takes in what was read, unless a certificate was written or destroyed meanwhile, or another
    /// thread has taken in what it has read: that may be newer, and programs have its handles.
    /// Whether it is taken in.
    fn take_reading(&self, reading: Reading) -> bool {
        if self.table().filed() != reading.as_of {
            return false;
        }
        let (broken, texts): (Vec<PathBuf>, Vec<String>) = reading.problems.into_iter().unzip();
        let is_taken = self.change(|table| {
            let is_newest = table.filed() == reading.as_of;
            if is_newest {
                table.refile(reading.found, &broken);
            }
            is_newest
        });
        if is_taken {
            texts.iter().for_each(|text| warn(text));
            lock(&self.in_vain).clear();
            lock(&self.filing).seen = reading.seen;
        }
        is_taken
    }

    /// Takes in a certificate that a program has brought.
    pub(crate) fn take_certificate(&self, certificate: StoredCertificate) -> CK_OBJECT_HANDLE {
        self.change(|table| table.add_certificate(certificate))
    }

    /// A certificate as its file is just now: whoever changes a part of it is not to undo what
    /// other processes have changed.
    ///
    /// # Errors
    /// It is there no more, or another one is.
    pub(crate) fn reload_certificate(
        &self,
        certificate: &Arc<StoredCertificate>,
    ) -> Result<Arc<StoredCertificate>, Error> {
        let Kept::Written(path) = &certificate.place else {
            return Ok(Arc::clone(certificate));
        };
        let filed = files::written(path)
            .map_err(|problem| Error::because(CKR_TOKEN_WRITE_PROTECTED, problem))?;
        let Some(filed) = filed else {
            self.forget_certificate(certificate.handle);
            return Err(Error::code(CKR_OBJECT_HANDLE_INVALID));
        };
        let now = StoredCertificate {
            handle: certificate.handle,
            ..filed.into()
        };
        self.take_certificate(now.clone());
        Ok(Arc::new(now))
    }

    pub(crate) fn forget_certificate(&self, handle: CK_OBJECT_HANDLE) {
        self.change(|table| table.remove_certificates(|known| known.handle == handle));
    }

    /// Forgets the certificates that live as long as a session.
    pub(crate) fn forget_certificates_of(&self, session: CK_SESSION_HANDLE) {
        let is_of = |known: &StoredCertificate| known.session() == Some(session);
        if self.table().certificates().iter().any(|known| is_of(known)) {
            self.change(|table| table.remove_certificates(is_of));
        }
    }

    /// Sees to it that the certificates are known that a key vault keeps with the keys that fit.
    ///
    /// # Errors
    /// The vault can't be asked for all of them.
    pub(crate) fn load_vault_certificates(&self, sought: Sought<'_>) -> Result<(), Error> {
        if self.settings.vault.service != Service::KeyVault || !self.is_open() {
            return Ok(());
        }
        self.load(sought)?;
        let table = self.table();
        let is_old = |known: &StoredCertificate| match &known.place {
            Kept::Vault(id) => !table.newest(id.key.as_str()).is_some_and(|key| key.is(id)),
            _ => false,
        };
        if table.certificates().iter().any(|known| is_old(known)) {
            self.change(|table| table.remove_certificates(is_old));
        }
        let managed = table.candidates(sought).into_iter();
        let managed = managed.filter(|key| key.managed);
        let managed = managed.filter_map(|key| key.hsm_id().cloned());
        let managed: Vec<KeyId> = managed.filter(|id| !self.was_asked(id)).collect();
        match managed.is_empty() {
            true => Ok(()),
            false => self.ask(|client| self.fetch_certificates(client, &managed))?,
        }
    }

    fn was_asked(&self, id: &KeyId) -> bool {
        lock(&self.asked).contains(id)
    }

    /// Asks a key vault for the certificates of keys. One that this identity may not read is not
    /// asked for again.
    ///
    /// # Errors
    /// The vault can't be asked for one, or fails; the others are known.
    fn fetch_certificates(&self, client: &Client, keys: &[KeyId]) -> Result<(), Error> {
        let mut all = Ok(());
        let fetched = self.at_once(keys, |id| client.certificate(id));
        for (id, outcome) in keys.iter().zip(fetched) {
            let problem = match outcome {
                Ok(der) => match X509::read(&der) {
                    Ok(x509) => {
                        let place = Kept::Vault(id.clone());
                        self.take_certificate(StoredCertificate::new(x509, None, None, place));
                        None
                    }
                    Err(problem) => Some(format!("the certificate of {id} {problem}")),
                },
                Err(error) if is_absence(&error) => Some(error.to_string()),
                Err(error) => {
                    all = Err(self.refusal(Purpose::Find, &error));
                    continue;
                }
            };
            if let Some(problem) = problem {
                report::repeated_warning("certificates of the vault", &problem);
            }
            lock(&self.asked).insert(id.clone());
        }
        all
    }

    /// Sees to it that the keys of certificates are known, as far as a search depends on them. The
    /// certificates are there without the HSM, too.
    ///
    /// # Errors
    /// The HSM can't be asked for the keys.
    pub(crate) fn load_keys_of(
        &self,
        candidates: &[&Arc<StoredCertificate>],
        sought: Sought<'_>,
    ) -> Result<(), Error> {
        if candidates.is_empty() || !self.is_open() {
            return Ok(());
        }
        let is_told = sought.label.is_some() || sought.id.is_some();
        self.load(sought)?;
        let table = self.table();
        // Without its key it would be found by what others are found by.
        let is_uncertain = |certificate: &&Arc<StoredCertificate>| {
            let object = table.view(certificate);
            object.key.is_none() && sought.fits_certificate(&object)
        };
        match is_told && candidates.iter().any(is_uncertain) {
            true => self.load(Sought::default()),
            false => Ok(()),
        }
    }

    /// Has the earlier versions of keys that certificates are of be known as well: of one key, or
    /// of all that are known.
    ///
    /// # Errors
    /// The HSM does not answer.
    pub(super) fn keep_versions(&self, of: Option<&KeyName>) -> Result<(), Error> {
        let table = self.table();
        if !self.may_lack_versions(&table) {
            return Ok(());
        }
        let searches = self.searches(&table, of);
        if searches.is_empty() {
            if of.is_none() {
                self.settled.store(table.generation, Ordering::Relaxed);
            }
            return Ok(());
        }
        let asked = self.asking()?;
        let look =
            |client: &Client| self.at_once(&searches, |search| self.look_through(client, search));
        let found = asked.ask(look)?;
        for (search, outcome) in searches.iter().zip(found) {
            match outcome {
                Ok(keys) => self.learn(&asked, |table| {
                    for key in keys {
                        table.keep(key);
                    }
                })?,
                Err(error) if is_absence(&error) => {
                    let text =
                        format!("earlier versions of {} can't be read: {error}", search.name);
                    report::repeated_warning("versions that can't be read", &text);
                }
                Err(error) => return Err(self.refusal(Purpose::Find, &error)),
            }
            let missing = search.missing.iter().cloned();
            let looked = missing.map(|one| (search.name.clone(), search.newest.clone(), one));
            lock(&self.in_vain).extend(looked);
        }
        Ok(())
    }

    /// Whether there may be something to look through: not if nothing has changed since there
    /// wasn't.
    pub(super) fn may_lack_versions(&self, table: &Table) -> bool {
        if table.certificates().is_empty() {
            return false;
        }
        let is_settled = self.settled.load(Ordering::Relaxed) == table.generation;
        !is_settled || table.kept().any(|kept| self.is_old(table, kept))
    }

    fn is_old(&self, table: &Table, key: &StoredKey) -> bool {
        let refresh = u64::try_from(self.options.refresh.as_millis()).unwrap_or(u64::MAX);
        table.age(key) >= refresh
    }

    /// What has to be looked through.
    fn searches(&self, table: &Table, of: Option<&KeyName>) -> Vec<Search> {
        let without_key = table.certificates().iter().filter(|certificate| {
            !matches!(certificate.place, Kept::Session(_) | Kept::Vault(_))
                && table.key_of(certificate).is_none()
        });
        let without_key: Vec<_> = without_key.collect();
        let keys: Vec<_> = match of {
            Some(name) => table.newest(name.as_str()).into_iter().collect(),
            None => table.keys.values().collect(),
        };
        let keys = keys
            .into_iter()
            .filter_map(|key| Some((key, key.hsm_id()?)));
        let keys = keys.filter(|(key, id)| {
            key.session.is_none() && self.configured_version(&id.key).is_none()
        });
        let searches = keys.map(|(key, id)| {
            let missing = without_key.iter().filter(|certificate| {
                let at = (
                    id.key.clone(),
                    id.version.clone(),
                    certificate.fingerprint.clone(),
                );
                let public = certificate.x509.public.as_ref();
                public.is_some_and(|public| are_alike(public, key.public()))
                    && !lock(&self.in_vain).contains(&at)
            });
            let missing: Vec<_> = missing.collect();
            let kept = table.kept_versions(&id.key);
            let old = kept.iter().filter(|kept| self.is_old(table, kept));
            Search {
                name: id.key.clone(),
                newest: id.version.clone(),
                known: old
                    .filter_map(|kept| Some(kept.hsm_id()?.version.clone()))
                    .collect(),
                missing: missing.iter().map(|one| one.fingerprint.clone()).collect(),
                wanted: missing
                    .iter()
                    .filter_map(|one| one.x509.public.clone())
                    .collect(),
            }
        });
        let is_needed = |search: &Search| !(search.known.is_empty() && search.missing.is_empty());
        searches.filter(is_needed).collect()
    }

    /// The versions of a key, the newest first, until all certificates have theirs.
    fn look_through(
        &self,
        client: &Client,
        search: &Search,
    ) -> Result<Vec<StoredKey>, managed_hsm::Error> {
        let get = |version: &KeyVersion| {
            let as_of = self.tick();
            let got = client.get_key(&KeyUri {
                vault: self.settings.vault.clone(),
                key: search.name.clone(),
                version: Some(version.clone()),
            });
            got.map(|key| StoredKey::new(key, as_of))
        };
        let known = search.known.iter().map(get);
        let mut found = known.collect::<Result<Vec<_>, _>>()?;
        let mut wanted = search.wanted.clone();
        if wanted.is_empty() {
            return Ok(found);
        }
        let mut pages = client.versions(&self.settings.vault, &search.name)?;
        let mut versions = Vec::new();
        while let Some(page) = pages.next_page(client)? {
            versions.extend(page.into_iter().filter_map(|item| item.uri.version));
        }
        let earlier = versions
            .iter()
            .rev()
            .filter(|version| **version != search.newest);
        for version in earlier {
            let key = get(version)?;
            if wanted.contains(key.public()) {
                wanted.retain(|other| other != key.public());
                found.push(key);
            }
            if wanted.is_empty() {
                break;
            }
        }
        Ok(found)
    }
}

fn warn(problem: &str) {
    report::repeated_warning("certificates", problem);
}

/// Whether two keys may be versions of one: a rotation keeps type and size.
fn are_alike(one: &PublicKey, other: &PublicKey) -> bool {
    one.kind() == other.kind() && one.raw_signature_len() == other.raw_signature_len()
}

impl Sought<'_> {
    /// The same where an id is sought that no tag has: a version has that of its own public key if
    /// the one in its tags is that of an earlier version with a certificate.
    pub(super) fn without_strange_id<'a>(
        self,
        table: &Table,
        mut tags: impl Iterator<Item = &'a Tags>,
    ) -> Self {
        let Some(id) = self.id.filter(|_| !table.certificates().is_empty()) else {
            return self;
        };
        let is_told = tags.any(|tags| {
            let mut told = Half::BOTH
                .into_iter()
                .filter_map(|half| tags.read(half, "ID"));
            told.any(|text| tags::means(text, id))
        });
        match is_told {
            true => self,
            false => Self { id: None, ..self },
        }
    }
}

impl Table {
    /// Whether a version of a key fits.
    pub(super) fn has_version(&self, name: &KeyName, sought: Sought<'_>) -> bool {
        self.versions(name).any(|key| sought.fits(key))
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::path::Path;

    use super::*;
    use crate::token::examples;

    fn x509() -> X509 {
        let made = testing::Certificate::for_localhost().certificate;
        X509::read(&made.to_der().unwrap()).unwrap()
    }

    /// Whose certificates are in a folder, which programs write to.
    fn token(folder: &Path) -> Token {
        examples::token(Sources {
            places: Vec::new(),
            folder: Some(folder.to_owned()),
        })
    }

    fn refresh(token: &Token) {
        lock(&token.filing).looked = None;
        token.refresh_certificates();
    }

    fn write(token: &Token, folder: &Path, x509: &X509) -> (PathBuf, CK_OBJECT_HANDLE) {
        let path = files::write(folder, x509, None, None).unwrap();
        let place = Kept::Written(path.clone());
        let certificate = StoredCertificate::new(x509.clone(), None, None, place);
        (path, token.take_certificate(certificate))
    }

    #[test]
    fn what_was_read_before_a_change_does_not_undo_it() {
        let folder = tempfile::tempdir().unwrap();
        let (token, folder) = (token(folder.path()), folder.path());
        files::write(folder, &x509(), None, None).unwrap();
        let read = || token.read_certificates().unwrap().unwrap();
        let reading = read();
        let (path, handle) = write(&token, folder, &x509());
        assert!(!token.take_reading(reading));
        assert!(token.object(handle).is_ok());
        refresh(&token);
        assert!(token.object(handle).is_ok());
        assert_eq!(token.table().certificates().len(), 2);

        files::write(folder, &x509(), None, None).unwrap();
        let reading = read();
        files::remove(&path).unwrap();
        token.forget_certificate(handle);
        assert!(!token.take_reading(reading));
        assert_eq!(token.table().certificates().len(), 1);
        refresh(&token);
        assert_eq!(token.table().certificates().len(), 2);

        // Another thread has read more, and programs have handles of it.
        files::write(folder, &x509(), None, None).unwrap();
        let earlier = read();
        files::write(folder, &x509(), None, None).unwrap();
        assert!(token.take_reading(read()) && !token.take_reading(earlier));
        assert_eq!(token.table().certificates().len(), 4);
        assert!(token.read_certificates().unwrap().is_none());
    }

    #[test]
    fn a_file_of_a_folder_that_can_not_be_read_any_more_keeps_its_certificates() {
        let folder = tempfile::tempdir().unwrap();
        let (token, folder) = (token(folder.path()), folder.path());
        let path = files::write(folder, &x509(), None, None).unwrap();
        let text = fs::read(&path).unwrap();
        refresh(&token);
        let handle = token.table().certificates()[0].handle;
        // Too long to be read: root may read what others may not.
        let file = File::options().write(true).open(&path).unwrap();
        file.set_len(1 << 30).unwrap();
        refresh(&token);
        assert!(token.object(handle).is_ok());
        fs::write(&path, text).unwrap();
        refresh(&token);
        assert!(token.object(handle).is_ok());
        fs::remove_file(path).unwrap();
        refresh(&token);
        assert!(token.object(handle).is_err());
    }
}
