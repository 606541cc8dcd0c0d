//! Keys and their versions: all in memory for reading, every change first in SQLite.
//!
//! A change is committed to disk (WAL, `synchronous=FULL`) before memory shows it, so that what was answered with 200
//! outlives kill -9. Reads never touch SQLite. The one writer that this relies on is held by `data_dir`'s lock.

use std::collections::{BTreeMap, HashMap};
use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use openssl::error::ErrorStack;
use rusqlite::{Connection, params};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use zeroize::Zeroizing;

use crate::algorithm::{decode_base64url, encode_base64url};
use crate::clock::unix_seconds;
use crate::data_dir::DataDir;
use crate::error::Error;
use crate::keys::{KeyError, KeyMaterial, KeyType};
use crate::seal::StorageKey;

const FILE: &str = "keys.sqlite3";
const SCHEMA_VERSION: i64 = 2;
/// Version 1 lacked the table of documents.
const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS keys (
        sequence INTEGER PRIMARY KEY AUTOINCREMENT,
        name TEXT NOT NULL UNIQUE COLLATE NOCASE,
        deleted_date INTEGER,
        scheduled_purge_date INTEGER
    );
    CREATE TABLE IF NOT EXISTS versions (
        id TEXT PRIMARY KEY,
        key_sequence INTEGER NOT NULL REFERENCES keys (sequence) ON DELETE CASCADE,
        ordinal INTEGER NOT NULL,
        metadata TEXT NOT NULL,
        sealed_private BLOB NOT NULL,
        UNIQUE (key_sequence, ordinal)
    );
    CREATE TABLE IF NOT EXISTS documents (
        kind TEXT NOT NULL,
        name TEXT NOT NULL,
        body TEXT NOT NULL,
        PRIMARY KEY (kind, name)
    );
    PRAGMA user_version = 2;
";

/// Kinds of documents: what an HSM keeps besides keys, each under a name.
pub(crate) const ASSIGNMENTS: &str = "role assignment";
pub(crate) const DEFINITIONS: &str = "role definition";
pub(crate) const SETTINGS: &str = "setting";
/// By a key's name in lower case.
pub(crate) const POLICIES: &str = "rotation policy";

/// What a backup is sealed for, in place of a version.
const BACKUP: &str = "backup";

/// Days that a deleted key can be recovered.
pub(crate) const RETENTION_DAYS: i64 = 7;
/// The documented limit.
const MAX_VERSIONS: usize = 100;

/// What the service tells about a version, besides its public key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Metadata {
    pub(crate) kind: KeyType,
    /// Whether the key is outside of any HSM, as vaults may have them.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) software: bool,
    pub(crate) key_ops: Vec<String>,
    pub(crate) enabled: bool,
    pub(crate) exportable: bool,
    pub(crate) created: i64,
    pub(crate) updated: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) nbf: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) exp: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) tags: Option<BTreeMap<String, String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) release_policy: Option<ReleasePolicy>,
}

impl Metadata {
    /// The `kty` in answers.
    pub(crate) fn kty(&self) -> &'static str {
        self.kind.name(self.software)
    }
}

/// Under which attestation a key may be released.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ReleasePolicy {
    pub(crate) content_type: String,
    /// The policy, JSON with its members sorted, as base64url.
    pub(crate) data: String,
    pub(crate) immutable: bool,
}

/// One version of a key.
#[derive(Clone)]
pub(crate) struct KeyVersion {
    pub(crate) id: String,
    pub(crate) metadata: Metadata,
    pub(crate) material: Arc<KeyMaterial>,
}

/// A key with its versions, oldest first; there is always one.
#[derive(Clone)]
pub(crate) struct Key {
    /// Grows with each new key: the order of lists.
    pub(crate) sequence: i64,
    pub(crate) name: String,
    pub(crate) deletion: Option<Deletion>,
    versions: Vec<Arc<KeyVersion>>,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Deletion {
    pub(crate) date: i64,
    pub(crate) scheduled_purge_date: i64,
}

impl Key {
    pub(crate) fn newest(&self) -> &Arc<KeyVersion> {
        // `Store` never keeps a key without versions.
        &self.versions[self.versions.len() - 1]
    }

    pub(crate) fn versions(&self) -> &[Arc<KeyVersion>] {
        &self.versions
    }

    /// The version named `id`, or the newest.
    pub(crate) fn version(&self, id: Option<&str>) -> Option<&Arc<KeyVersion>> {
        match id {
            None => Some(self.newest()),
            Some(id) => self
                .versions
                .iter()
                .find(|version| version.id.eq_ignore_ascii_case(id)),
        }
    }
}

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

/// All keys of one HSM.
pub(crate) struct Store {
    database: Mutex<Connection>,
    storage_key: StorageKey,
    /// By name in lower case, since names differ by more than case.
    keys: RwLock<HashMap<String, Arc<Key>>>,
    documents: RwLock<BTreeMap<(String, String), Value>>,
}

/// A key as it stands in a backup.
#[derive(Serialize, Deserialize)]
struct Backup {
    name: String,
    versions: Vec<BackupVersion>,
}

#[derive(Serialize, Deserialize)]
struct BackupVersion {
    id: String,
    metadata: Metadata,
    /// base64url.
    private: Zeroizing<String>,
}

impl Store {
    /// Opens the folder's database, or makes it; reads and parses every key.
    pub(crate) fn open(data: &DataDir) -> Result<Self, Error> {
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
        migrate(&database)?;
        let keys = load(&database, &storage_key)?;
        let documents = load_documents(&database)?;
        Ok(Self {
            database: Mutex::new(database),
            storage_key,
            keys: RwLock::new(keys),
            documents: RwLock::new(documents),
        })
    }

    /// The key `name`, unless it is deleted.
    pub(crate) fn active(&self, name: &str) -> Option<Arc<Key>> {
        self.find(name).filter(|key| key.deletion.is_none())
    }

    /// The deleted key `name`.
    pub(crate) fn deleted(&self, name: &str) -> Option<Arc<Key>> {
        self.find(name).filter(|key| key.deletion.is_some())
    }

    /// The keys that are deleted, or those that are not, in the order in which they were made.
    pub(crate) fn list(&self, deleted: bool) -> Vec<Arc<Key>> {
        let mut keys: Vec<_> = self
            .keys
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .values()
            .filter(|key| key.deletion.is_some() == deleted)
            .cloned()
            .collect();
        keys.sort_by_key(|key| key.sequence);
        keys
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
            material: Arc::new(material),
        });

        let mut database = self.writer();
        let existing = self.find(name);
        if let Some(newest) = newest {
            let key = existing.as_ref().ok_or(StoreError::NotFound)?;
            if key.newest().id != newest {
                return Err(StoreError::Superseded);
            }
        }
        let ordinal = match &existing {
            Some(key) if key.deletion.is_some() => return Err(StoreError::Deleted),
            Some(key) if key.versions.len() >= MAX_VERSIONS => {
                return Err(StoreError::TooManyVersions);
            }
            Some(key) => key.versions.len(),
            None => 0,
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
            scheduled_purge_date: date + RETENTION_DAYS * 86_400,
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
        self.erase(&mut database, &key)
    }

    /// Removes the deleted keys whose retention has ended by `now`, as the service does.
    pub(crate) fn purge_due(&self, now: i64) -> Result<(), StoreError> {
        let due = |key: &Arc<Key>| {
            let deletion = key.deletion;
            deletion.is_some_and(|deletion| deletion.scheduled_purge_date <= now)
        };
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        if !keys.values().any(due) {
            return Ok(());
        }
        drop(keys);
        let mut database = self.writer();
        for key in self.list(true).iter().filter(|key| due(key)) {
            self.erase(&mut database, key)?;
        }
        Ok(())
    }

    /// A key with its versions and its rotation policy, which must not come back with another key of the name.
    fn erase(&self, database: &mut Connection, key: &Key) -> Result<(), StoreError> {
        let name = key.name.to_ascii_lowercase();
        let transaction = database.transaction()?;
        transaction.execute("DELETE FROM keys WHERE sequence = ?1", [key.sequence])?;
        transaction.execute(
            "DELETE FROM documents WHERE kind = ?1 AND name = ?2",
            params![POLICIES, name],
        )?;
        transaction.commit()?;
        let mut documents = self
            .documents
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        documents.remove(&(POLICIES.to_owned(), name.clone()));
        let mut keys = self.keys.write().unwrap_or_else(PoisonError::into_inner);
        keys.remove(&name);
        Ok(())
    }

    /// All versions of a key in a form that only this HSM can read.
    pub(crate) fn back_up(&self, name: &str) -> Result<Vec<u8>, StoreError> {
        let key = self.active(name).ok_or(StoreError::NotFound)?;
        let version = |version: &Arc<KeyVersion>| {
            Ok::<_, StoreError>(BackupVersion {
                id: version.id.clone(),
                metadata: version.metadata.clone(),
                private: encode_base64url(&version.material.to_private_bytes()?).into(),
            })
        };
        let backup = Backup {
            name: key.name.clone(),
            versions: key
                .versions()
                .iter()
                .map(version)
                .collect::<Result<_, _>>()?,
        };
        let plain = Zeroizing::new(serde_json::to_vec(&backup)?);
        Ok(self.storage_key.seal(BACKUP, &plain)?)
    }

    /// Brings a key back from a backup, with the names of its versions.
    pub(crate) fn restore(&self, blob: &[u8]) -> Result<Arc<Key>, StoreError> {
        let opened = self.storage_key.open_sealed(BACKUP, blob);
        let backup: Backup = opened
            .and_then(|json| serde_json::from_slice(&json).ok())
            .ok_or(StoreError::ForeignBackup)?;
        let mut database = self.writer();
        if let Some(key) = self.find(&backup.name) {
            return Err(match key.deletion {
                Some(_) => StoreError::Deleted,
                None => StoreError::Exists,
            });
        }
        let transaction = database.transaction()?;
        transaction.execute("INSERT INTO keys (name) VALUES (?1)", [&backup.name])?;
        let sequence = transaction.last_insert_rowid();
        let mut versions = Vec::new();
        for (ordinal, version) in backup.versions.into_iter().enumerate() {
            let private = decode_base64url(&version.private).map(Zeroizing::new);
            let private = private.ok_or(StoreError::ForeignBackup)?;
            let material = KeyMaterial::from_private_bytes(version.metadata.kind, &private)?;
            let sealed = self.storage_key.seal(&version.id, &private)?;
            transaction.execute(
                "INSERT INTO versions (id, key_sequence, ordinal, metadata, sealed_private) VALUES (?1, ?2, ?3, ?4, ?5)",
                params![
                    version.id,
                    sequence,
                    i64::try_from(ordinal).unwrap_or(i64::MAX),
                    serde_json::to_string(&version.metadata)?,
                    sealed
                ],
            )?;
            versions.push(Arc::new(KeyVersion {
                id: version.id,
                metadata: version.metadata,
                material: Arc::new(material),
            }));
        }
        if versions.is_empty() {
            return Err(StoreError::ForeignBackup);
        }
        transaction.commit()?;
        Ok(self.publish(Key {
            sequence,
            name: backup.name,
            deletion: None,
            versions,
        }))
    }

    /// A document, if there is one of this name.
    pub(crate) fn document<T: DeserializeOwned>(&self, kind: &str, name: &str) -> Option<T> {
        let documents = self
            .documents
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        let body = documents.get(&(kind.to_owned(), name.to_owned()))?;
        T::deserialize(body).ok()
    }

    /// All documents of a kind, by name.
    pub(crate) fn documents<T: DeserializeOwned>(&self, kind: &str) -> Vec<T> {
        let documents = self
            .documents
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        let of_kind = documents.iter().filter(|((known, _), _)| known == kind);
        of_kind
            .filter_map(|(_, body)| T::deserialize(body).ok())
            .collect()
    }

    /// Keeps a document, in place of one of the same name.
    pub(crate) fn put(
        &self,
        kind: &str,
        name: &str,
        document: &impl Serialize,
    ) -> Result<(), StoreError> {
        let body = serde_json::to_value(document)?;
        let database = self.writer();
        database.execute(
            "INSERT OR REPLACE INTO documents (kind, name, body) VALUES (?1, ?2, ?3)",
            params![kind, name, body.to_string()],
        )?;
        let mut documents = self
            .documents
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        documents.insert((kind.to_owned(), name.to_owned()), body);
        Ok(())
    }

    /// Forgets a document.
    pub(crate) fn remove(&self, kind: &str, name: &str) -> Result<(), StoreError> {
        let database = self.writer();
        database.execute(
            "DELETE FROM documents WHERE kind = ?1 AND name = ?2",
            params![kind, name],
        )?;
        let mut documents = self
            .documents
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        documents.remove(&(kind.to_owned(), name.to_owned()));
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

    fn find(&self, name: &str) -> Option<Arc<Key>> {
        self.keys
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&name.to_ascii_lowercase())
            .cloned()
    }

    /// Held over every change, so that what a change reads is still true when it writes.
    fn writer(&self) -> MutexGuard<'_, Connection> {
        self.database.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn publish(&self, key: Key) -> Arc<Key> {
        let key = Arc::new(key);
        self.keys
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(key.name.to_ascii_lowercase(), key.clone());
        key
    }
}

fn migrate(database: &Connection) -> Result<(), Error> {
    let version: i64 = database.pragma_query_value(None, "user_version", |row| row.get(0))?;
    match version {
        // One transaction: a crash leaves either no schema or all of it.
        0 | 1 => Ok(database.execute_batch(&format!("BEGIN; {SCHEMA} COMMIT;"))?),
        SCHEMA_VERSION => Ok(()),
        newer => Err(Error::SchemaTooNew(newer)),
    }
}

fn load_documents(database: &Connection) -> Result<BTreeMap<(String, String), Value>, Error> {
    let mut statement = database.prepare("SELECT kind, name, body FROM documents")?;
    let mut rows = statement.query([])?;
    let mut documents = BTreeMap::new();
    while let Some(row) = rows.next()? {
        let (kind, name, body): (String, String, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
        let body = serde_json::from_str(&body).map_err(|_| Error::StoredKey(name.clone()))?;
        documents.insert((kind, name), body);
    }
    Ok(documents)
}

fn load(
    database: &Connection,
    storage_key: &StorageKey,
) -> Result<HashMap<String, Arc<Key>>, Error> {
    let mut statement = database.prepare(
        "SELECT sequence, name, deleted_date, scheduled_purge_date, id, metadata, sealed_private
         FROM keys JOIN versions ON key_sequence = sequence ORDER BY sequence, ordinal",
    )?;
    let mut rows = statement.query([])?;
    let mut keys: HashMap<String, Key> = HashMap::new();
    while let Some(row) = rows.next()? {
        let name: String = row.get(1)?;
        let date: Option<i64> = row.get(2)?;
        let purge: Option<i64> = row.get(3)?;
        let sequence = row.get(0)?;
        let version = open_version(
            row.get(4)?,
            &row.get::<_, String>(5)?,
            &row.get::<_, Vec<u8>>(6)?,
            storage_key,
        )?;
        keys.entry(name.to_ascii_lowercase())
            .or_insert_with(|| Key {
                sequence,
                name,
                deletion: date
                    .zip(purge)
                    .map(|(date, scheduled_purge_date)| Deletion {
                        date,
                        scheduled_purge_date,
                    }),
                versions: Vec::new(),
            })
            .versions
            .push(Arc::new(version));
    }
    Ok(keys
        .into_iter()
        .map(|(name, key)| (name, Arc::new(key)))
        .collect())
}

fn open_version(
    id: String,
    metadata: &str,
    sealed: &[u8],
    storage_key: &StorageKey,
) -> Result<KeyVersion, Error> {
    let opened = serde_json::from_str::<Metadata>(metadata)
        .ok()
        .and_then(|metadata| {
            let secret = storage_key.open_sealed(&id, sealed)?;
            let material = KeyMaterial::from_private_bytes(metadata.kind, &secret).ok()?;
            Some((metadata, material))
        });
    let Some((metadata, material)) = opened else {
        return Err(Error::StoredKey(id));
    };
    Ok(KeyVersion {
        id,
        metadata,
        material: Arc::new(material),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::Curve;

    fn metadata() -> Metadata {
        Metadata {
            kind: KeyType::Ec,
            software: false,
            key_ops: vec!["sign".to_owned()],
            enabled: true,
            exportable: false,
            created: 1,
            updated: 1,
            nbf: None,
            exp: None,
            tags: None,
            release_policy: None,
        }
    }

    fn add(store: &Store, name: &str) -> Result<String, StoreError> {
        let material = KeyMaterial::generate_ec(Curve::P256).unwrap();
        store
            .add_version(name, material, metadata())
            .map(|(_, version)| version.id.clone())
    }

    #[test]
    fn a_reopened_store_has_every_version_change_and_deletion() {
        let folder = tempfile::tempdir().unwrap();
        let data = DataDir::resolve(Some(folder.path().to_owned())).unwrap();
        let store = Store::open(&data).unwrap();
        let first = add(&store, "Key").unwrap();
        let second = add(&store, "kEY").unwrap();
        add(&store, "gone").unwrap();
        store
            .update_version("key", Some(&first), |metadata| {
                metadata.enabled = false;
                Ok(())
            })
            .unwrap();
        store.delete("gone").unwrap();
        drop(store);

        let store = Store::open(&data).unwrap();
        let key = store.active("key").unwrap();
        assert_eq!(key.name, "Key");
        assert_eq!(key.newest().id, second);
        assert!(!key.version(Some(&first)).unwrap().metadata.enabled);
        assert!(store.active("gone").is_none());
        assert!(matches!(add(&store, "gone"), Err(StoreError::Deleted)));
        store.recover("gone").unwrap();
        store.delete("gone").unwrap();
        store.purge("gone").unwrap();
        add(&store, "gone").unwrap();
    }

    #[test]
    fn a_deleted_key_is_gone_with_its_rotation_policy_when_its_retention_ends() {
        let folder = tempfile::tempdir().unwrap();
        let data = DataDir::resolve(Some(folder.path().to_owned())).unwrap();
        let store = Store::open(&data).unwrap();
        for name in ["kept", "Gone"] {
            add(&store, name).unwrap();
            let name = name.to_ascii_lowercase();
            store.put(POLICIES, &name, &"policy").unwrap();
        }
        let deletion = store.delete("gone").unwrap().deletion.unwrap();
        assert_eq!(
            deletion.scheduled_purge_date - deletion.date,
            RETENTION_DAYS * 86_400
        );
        store.purge_due(deletion.scheduled_purge_date - 1).unwrap();
        assert!(store.deleted("gone").is_some());
        store.purge_due(deletion.scheduled_purge_date).unwrap();
        for store in [store, Store::open(&data).unwrap()] {
            assert!(store.deleted("gone").is_none());
            assert!(store.active("kept").is_some());
            let policy = |name| store.document::<String>(POLICIES, name);
            assert_eq!((policy("gone"), policy("kept").is_some()), (None, true));
        }
    }

    #[test]
    fn of_two_rotations_of_the_same_version_one_is_made() {
        let folder = tempfile::tempdir().unwrap();
        let data = DataDir::resolve(Some(folder.path().to_owned())).unwrap();
        let store = Store::open(&data).unwrap();
        let first = add(&store, "k").unwrap();
        let rotate = || {
            let material = KeyMaterial::generate_ec(Curve::P256).unwrap();
            store.add_version_after("k", &first, material, metadata())
        };
        rotate().unwrap();
        assert!(matches!(rotate(), Err(StoreError::Superseded)));
        assert_eq!(store.active("k").unwrap().versions().len(), 2);
    }

    #[test]
    fn a_database_of_the_first_schema_is_brought_up_to_date() {
        let folder = tempfile::tempdir().unwrap();
        let data = DataDir::resolve(Some(folder.path().to_owned())).unwrap();
        let store = Store::open(&data).unwrap();
        let id = add(&store, "k").unwrap();
        drop(store);
        let database = Connection::open(data.file(FILE)).unwrap();
        let older = "DROP TABLE documents; PRAGMA user_version = 1;";
        database.execute_batch(older).unwrap();
        drop(database);
        let store = Store::open(&data).unwrap();
        assert_eq!(store.active("k").unwrap().newest().id, id);
        store.put(SETTINGS, "s", &"true").unwrap();
    }

    #[test]
    fn a_newer_schema_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let data = DataDir::resolve(Some(folder.path().to_owned())).unwrap();
        drop(Store::open(&data).unwrap());
        Connection::open(data.file(FILE))
            .unwrap()
            .pragma_update(None, "user_version", 9)
            .unwrap();
        assert!(matches!(Store::open(&data), Err(Error::SchemaTooNew(9))));
    }
}
