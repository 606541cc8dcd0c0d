//! Backups of a whole HSM: its keys, roles, settings and rotation policies, sealed for the HSMs of
//! its security domain.

use std::sync::Arc;

use rusqlite::params;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use zeroize::Zeroizing;

use super::backup::Backup;
use super::index::Index;
use super::{ASSIGNMENTS, DEFINITIONS, Key, POLICIES, SETTINGS, Store, StoreError, read, write};

/// What a full backup is sealed for.
const FULL_BACKUP: &str = "full backup";
/// Kinds of documents that are in it.
const KINDS: [&str; 4] = [ASSIGNMENTS, DEFINITIONS, SETTINGS, POLICIES];

#[derive(Serialize, Deserialize)]
struct FullBackup {
    keys: Vec<Backup>,
    /// Their kinds, names and bodies.
    documents: Vec<(String, String, Value)>,
}

/// What became of the versions of a key in a backup, and how many there are.
pub(crate) enum Restored {
    All(usize),
    /// There is such a key.
    Kept(usize),
}

impl Store {
    /// All that the HSM holds, as it is at one moment.
    pub(crate) fn back_up_all(&self) -> Result<Vec<u8>, StoreError> {
        let _unchanged = self.writer();
        let keys: Vec<Arc<Key>> = {
            let keys = read(&self.keys);
            keys.after(0).cloned().collect()
        };
        let documents = {
            let documents = read(&self.documents);
            let kept = documents
                .iter()
                .filter(|((kind, _), _)| KINDS.contains(&kind.as_str()));
            kept.map(|((kind, name), body)| (kind.clone(), name.clone(), body.clone()))
                .collect()
        };
        let backup = FullBackup {
            keys: keys
                .iter()
                .map(|key| Backup::of(key))
                .collect::<Result<_, _>>()?,
            documents,
        };
        let plain = Zeroizing::new(serde_json::to_vec(&backup)?);
        self.seal_for_domain(FULL_BACKUP, &plain)
    }

    /// Whether a blob is a full backup that this HSM can read.
    pub(crate) fn is_full_backup(&self, blob: &[u8]) -> bool {
        self.open_full_backup(blob).is_ok()
    }

    fn open_full_backup(&self, blob: &[u8]) -> Result<FullBackup, StoreError> {
        let opened = self.open_of_domain(FULL_BACKUP, blob);
        opened
            .and_then(|json| serde_json::from_slice(&json).ok())
            .ok_or(StoreError::ForeignBackup)
    }

    /// Puts a full backup in place of all that the HSM holds.
    pub(crate) fn restore_all(&self, blob: &[u8]) -> Result<(), StoreError> {
        let backup = self.open_full_backup(blob)?;
        let mut database = self.writer();
        let transaction = database.transaction()?;
        transaction.execute("DELETE FROM keys", [])?;
        let mut index = Index::default();
        for key in backup.keys {
            index.insert(Arc::new(self.insert(&transaction, key)?));
        }
        for kind in KINDS {
            transaction.execute("DELETE FROM documents WHERE kind = ?1", [kind])?;
        }
        for (kind, name, body) in &backup.documents {
            transaction.execute(
                "INSERT INTO documents (kind, name, body) VALUES (?1, ?2, ?3)",
                params![kind, name, body.to_string()],
            )?;
        }
        transaction.commit()?;
        let mut documents = write(&self.documents);
        documents.retain(|(kind, _), _| !KINDS.contains(&kind.as_str()));
        let restored = backup.documents.into_iter();
        documents.extend(restored.map(|(kind, name, body)| ((kind, name), body)));
        *write(&self.keys) = index;
        Ok(())
    }

    /// Brings one key back from a full backup. One that is there stays as it is.
    pub(crate) fn restore_one(&self, blob: &[u8], name: &str) -> Result<Restored, StoreError> {
        let backup = self.open_full_backup(blob)?;
        let mut keys = backup.keys.into_iter();
        let found = keys.find(|key| key.name.eq_ignore_ascii_case(name) && key.deletion.is_none());
        let found = found.ok_or(StoreError::NotFound)?;
        let versions = found.versions();
        match self.restore_key(found) {
            Ok(_) => Ok(Restored::All(versions)),
            Err(StoreError::Exists) => Ok(Restored::Kept(versions)),
            Err(error) => Err(error),
        }
    }
}
