//! Keys and their versions: all in memory for reading, parsed when first used, every change first
//! in SQLite.
//!
//! A change is committed to disk (WAL, `synchronous=FULL`) before memory shows it, so that what was
//! answered with 200 outlives kill -9. Reads never touch SQLite. The one writer that this relies on
//! is held by `data_dir`'s lock.

mod backup;
mod documents;
mod domain;
mod full_backup;
mod index;
mod key;
mod loading;
mod rules;

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use openssl::error::ErrorStack;
use rusqlite::{Connection, params};
use serde_json::Value;

use crate::clock::unix_seconds;
use crate::data_dir::DataDir;
use crate::error::Error;
use crate::keys::{KeyError, KeyMaterial};
use crate::seal::StorageKey;
use domain::Domain;
use index::Index;

pub(crate) use full_backup::Restored;
pub(crate) use key::{Deletion, Key, KeyVersion, Metadata, ReleasePolicy};
pub(crate) use rules::{Rules, SoftDelete};

const FILE: &str = "keys.sqlite3";
/// Kinds of documents: what an HSM keeps besides keys, each under a name.
pub(crate) const ASSIGNMENTS: &str = "role assignment";
pub(crate) const DEFINITIONS: &str = "role definition";
pub(crate) const SETTINGS: &str = "setting";
/// Full backups and restores, by their ids.
pub(crate) const JOBS: &str = "job";
/// The connection to an external key manager.
pub(crate) const EKM_CONNECTIONS: &str = "ekm connection";
/// Private endpoints to external key managers, by their names in lower case.
pub(crate) const EKM_ENDPOINTS: &str = "ekm private endpoint";
/// How private endpoints were made and deleted, by the ids of these operations.
pub(crate) const EKM_OPERATIONS: &str = "ekm operation";
/// By a key's name in lower case.
pub(crate) const POLICIES: &str = "rotation policy";

/// Why a change was not made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    #[error("no such key")]
    NotFound,
    #[error("there is such a key already")]
    Exists,
    #[error("the backup is another HSM's")]
    ForeignBackup,
    #[error("the key is deleted and has to be recovered or purged first")]
    Deleted,
    #[error("the key has as many versions as a key can have")]
    TooManyVersions,
    #[error("there are as many keys as there can be: {0}")]
    TooManyKeys(usize),
    #[error("the key is protected from being purged")]
    PurgeProtected,
    #[error("another version came first")]
    Superseded,
    #[error("the release policy is immutable")]
    ImmutablePolicy,
    #[error("{0}")]
    Database(#[from] rusqlite::Error),
    #[error("{0}")]
    Encode(#[from] serde_json::Error),
    #[error("{0}")]
    Key(#[from] KeyError),
    #[error("{0}")]
    Seal(#[from] ErrorStack),
}

/// A panic in one request does not take what is behind a lock from the others.
fn read<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

fn write<T>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}

/// All keys of one HSM.
pub(crate) struct Store {
    database: Mutex<Connection>,
    storage_key: StorageKey,
    rules: Rules,
    domain: RwLock<Domain>,
    keys: RwLock<Index>,
    documents: RwLock<BTreeMap<(String, String), Value>>,
}

impl Store {
    /// Opens the folder's database, or makes it; reads every key.
    pub(crate) fn open(data: &DataDir, rules: Rules) -> Result<Self, Error> {
        let storage_key = StorageKey::open(data)?;
        let path = data.file(FILE);
        // SQLite would make it readable for all, and gives its journal the same mode.
        OpenOptions::new()
            .create(true)
            .append(true)
            .mode(0o600)
            .open(&path)
            .map_err(Error::file("open", &path))?;
        let database = Connection::open(&path)?;
        database.pragma_update(None, "journal_mode", "WAL")?;
        database.pragma_update(None, "synchronous", "FULL")?;
        database.pragma_update(None, "foreign_keys", "ON")?;
        loading::migrate(&database)?;
        let keys = loading::keys(&database, &storage_key)?;
        let documents = loading::documents(&database)?;
        let store = Self {
            database: Mutex::new(database),
            storage_key,
            rules,
            domain: RwLock::new(Domain::new(rules.activated)?),
            keys: RwLock::new(keys),
            documents: RwLock::new(documents),
        };
        store.open_domain()?;
        Ok(store)
    }

    pub(crate) fn soft_delete(&self) -> SoftDelete {
        self.rules.soft_delete
    }

    /// The key `name`, unless it is deleted.
    pub(crate) fn active(&self, name: &str) -> Option<Arc<Key>> {
        self.find(name).filter(|key| key.deletion.is_none())
    }

    /// The deleted key `name`.
    pub(crate) fn deleted(&self, name: &str) -> Option<Arc<Key>> {
        self.find(name).filter(|key| key.deletion.is_some())
    }

    /// Up to `count` keys that are deleted, or that are not, in the order in which they were made,
    /// from those after a sequence on.
    pub(crate) fn list(&self, deleted: bool, after: i64, count: usize) -> Vec<Arc<Key>> {
        let keys = read(&self.keys);
        keys.after(after)
            .filter(|key| key.deletion.is_some() == deleted)
            .take(count)
            .cloned()
            .collect()
    }

    /// Adds a version to the key `name`, and the key if there is none.
    pub(crate) fn add_version(
        &self,
        name: &str,
        material: KeyMaterial,
        metadata: Metadata,
    ) -> Result<(Arc<Key>, Arc<KeyVersion>), StoreError> {
        self.append(name, None, material, metadata)
    }

    /// Adds a version to the key `name`, unless `newest` no longer is its newest one.
    pub(crate) fn add_version_after(
        &self,
        name: &str,
        newest: &str,
        material: KeyMaterial,
        metadata: Metadata,
    ) -> Result<(Arc<Key>, Arc<KeyVersion>), StoreError> {
        self.append(name, Some(newest), material, metadata)
    }

    fn append(
        &self,
        name: &str,
        newest: Option<&str>,
        material: KeyMaterial,
        metadata: Metadata,
    ) -> Result<(Arc<Key>, Arc<KeyVersion>), StoreError> {
        let id = uuid::Uuid::new_v4().simple().to_string();
        let sealed = self.storage_key.seal(&id, &material.to_private_bytes()?)?;
        let encoded = serde_json::to_string(&metadata)?;
        let version = Arc::new(KeyVersion {
            id,
            metadata,
            material: Arc::new(material.into()),
        });

        let mut database = self.writer();
        let existing = self.find(name);
        if let Some(newest) = newest {
            let key = existing.as_ref().ok_or(StoreError::NotFound)?;
            if key.newest().id != newest {
                return Err(StoreError::Superseded);
            }
        }
        let most = self.rules.max_versions.unwrap_or(usize::MAX);
        let ordinal = match &existing {
            Some(key) if key.deletion.is_some() => return Err(StoreError::Deleted),
            Some(key) if key.versions.len() >= most => {
                return Err(StoreError::TooManyVersions);
            }
            Some(key) => key.versions.len(),
            None => {
                self.check_room()?;
                0
            }
        };
        let transaction = database.transaction()?;
        let sequence = match &existing {
            Some(key) => key.sequence,
            None => {
                transaction.execute("INSERT INTO keys (name) VALUES (?1)", [name])?;
                transaction.last_insert_rowid()
            }
        };
        transaction.execute(
            "INSERT INTO versions (id, key_sequence, ordinal, metadata, sealed_private) VALUES (?1, ?2, ?3, ?4, ?5)",
            params![version.id, sequence, i64::try_from(ordinal).unwrap_or(i64::MAX), encoded, sealed],
        )?;
        transaction.commit()?;

        let mut key = existing.map_or_else(
            || Key {
                sequence,
                name: name.to_owned(),
                deletion: None,
                versions: Vec::new(),
            },
            |key| Key::clone(&key),
        );
        key.versions.push(version.clone());
        Ok((self.publish(key), version))
    }

    /// Changes what is told about one version.
    pub(crate) fn update_version(
        &self,
        name: &str,
        id: Option<&str>,
        change: impl FnOnce(&mut Metadata) -> Result<(), StoreError>,
    ) -> Result<(Arc<Key>, Arc<KeyVersion>), StoreError> {
        let database = self.writer();
        let mut key = Key::clone(&*self.active(name).ok_or(StoreError::NotFound)?);
        let mut version = KeyVersion::clone(key.version(id).ok_or(StoreError::NotFound)?);
        change(&mut version.metadata)?;
        version.metadata.updated = unix_seconds();
        database.execute(
            "UPDATE versions SET metadata = ?1 WHERE id = ?2",
            params![serde_json::to_string(&version.metadata)?, version.id],
        )?;
        let version = Arc::new(version);
        for slot in &mut key.versions {
            if slot.id == version.id {
                *slot = version.clone();
            }
        }
        Ok((self.publish(key), version))
    }

    /// Deletes a key softly: it can be recovered until its purge date.
    pub(crate) fn delete(&self, name: &str) -> Result<Arc<Key>, StoreError> {
        let database = self.writer();
        let key = self.active(name).ok_or(StoreError::NotFound)?;
        let date = unix_seconds();
        let deletion = Deletion {
            date,
            scheduled_purge_date: date + self.rules.soft_delete.retention_seconds(),
        };
        self.set_deletion(&database, &key, Some(deletion))
    }

    /// Brings a deleted key back.
    pub(crate) fn recover(&self, name: &str) -> Result<Arc<Key>, StoreError> {
        let database = self.writer();
        let key = self.deleted(name).ok_or(StoreError::NotFound)?;
        self.set_deletion(&database, &key, None)
    }

    /// Removes a deleted key for good.
    pub(crate) fn purge(&self, name: &str) -> Result<(), StoreError> {
        let mut database = self.writer();
        let key = self.deleted(name).ok_or(StoreError::NotFound)?;
        if self.rules.soft_delete.purge_protection {
            return Err(StoreError::PurgeProtected);
        }
        self.erase(&mut database, &key)
    }

    /// Removes the deleted keys whose retention has ended by `now`, as the service does.
    pub(crate) fn purge_due(&self, now: i64) -> Result<(), StoreError> {
        let due = || {
            let keys = read(&self.keys);
            keys.due(now)
        };
        if due().is_empty() {
            return Ok(());
        }
        let mut database = self.writer();
        for key in due() {
            self.erase(&mut database, &key)?;
        }
        Ok(())
    }

    /// A key with its versions and its rotation policy, which must not come back with another key
    /// of the name.
    fn erase(&self, database: &mut Connection, key: &Key) -> Result<(), StoreError> {
        let name = key.name.to_ascii_lowercase();
        let transaction = database.transaction()?;
        transaction.execute("DELETE FROM keys WHERE sequence = ?1", [key.sequence])?;
        transaction.execute(
            "DELETE FROM documents WHERE kind = ?1 AND name = ?2",
            params![POLICIES, name],
        )?;
        transaction.commit()?;
        let mut documents = write(&self.documents);
        documents.remove(&(POLICIES.to_owned(), name));
        let mut keys = write(&self.keys);
        keys.remove(key);
        Ok(())
    }

    fn set_deletion(
        &self,
        database: &Connection,
        key: &Key,
        deletion: Option<Deletion>,
    ) -> Result<Arc<Key>, StoreError> {
        database.execute(
            "UPDATE keys SET deleted_date = ?1, scheduled_purge_date = ?2 WHERE sequence = ?3",
            params![
                deletion.map(|deletion| deletion.date),
                deletion.map(|deletion| deletion.scheduled_purge_date),
                key.sequence
            ],
        )?;
        Ok(self.publish(Key {
            deletion,
            ..key.clone()
        }))
    }

    /// What is known of a key of the external key manager, by a version of any key that names it.
    pub(crate) fn external_key(&self, id: &str) -> Option<Arc<key::LazyMaterial>> {
        let keys = read(&self.keys);
        let mut versions = keys.after(i64::MIN).flat_map(|key| key.versions().iter());
        let found = versions.find(|version| version.metadata.external_key.as_deref() == Some(id));
        found.map(|version| Arc::clone(&version.material))
    }

    /// Whether there are any, deleted ones among them.
    pub(crate) fn has_keys(&self) -> bool {
        let keys = read(&self.keys);
        keys.len() > 0
    }

    /// Refuses another key when there are as many as there can be.
    fn check_room(&self) -> Result<(), StoreError> {
        let keys = read(&self.keys);
        match self.rules.max_keys {
            Some(limit) if keys.len() >= limit => Err(StoreError::TooManyKeys(limit)),
            _ => Ok(()),
        }
    }

    fn find(&self, name: &str) -> Option<Arc<Key>> {
        read(&self.keys).get(name).cloned()
    }

    /// Held over every change, so that what a change reads is still true when it writes.
    fn writer(&self) -> MutexGuard<'_, Connection> {
        self.database.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn publish(&self, key: Key) -> Arc<Key> {
        let key = Arc::new(key);
        write(&self.keys).insert(Arc::clone(&key));
        key
    }
}

#[cfg(test)]
mod tests;
