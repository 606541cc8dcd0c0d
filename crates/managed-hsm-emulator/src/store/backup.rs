//! Backups: a key with all its versions, sealed for the HSMs of a security domain.

use std::sync::Arc;

use rusqlite::{Transaction, params};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{Deletion, Key, KeyVersion, Metadata, Store, StoreError};
use crate::algorithm::{decode_base64url, encode_base64url};
use crate::keys::KeyMaterial;

/// What a backup is sealed for, in place of a version.
const BACKUP: &str = "backup";

/// A key as it stands in a backup.
#[derive(Serialize, Deserialize)]
pub(super) struct Backup {
    pub(super) name: String,
    /// Deleted keys are in backups of whole HSMs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) deletion: Option<Deletion>,
    versions: Vec<BackupVersion>,
}

#[derive(Serialize, Deserialize)]
struct BackupVersion {
    id: String,
    metadata: Metadata,
    /// base64url.
    private: Zeroizing<String>,
}

impl Backup {
    pub(super) fn of(key: &Key) -> Result<Self, StoreError> {
        let version = |version: &Arc<KeyVersion>| {
            Ok::<_, StoreError>(BackupVersion {
                id: version.id.clone(),
                metadata: version.metadata.clone(),
                private: encode_base64url(&version.material.to_private_bytes()?).into(),
            })
        };
        Ok(Self {
            name: key.name.clone(),
            deletion: key.deletion,
            versions: key
                .versions()
                .iter()
                .map(version)
                .collect::<Result<_, _>>()?,
        })
    }

    /// How many there are.
    pub(super) fn versions(&self) -> usize {
        self.versions.len()
    }
}

impl Store {
    /// All versions of a key in a form that only HSMs of the same security domain can read.
    pub(crate) fn back_up(&self, name: &str) -> Result<Vec<u8>, StoreError> {
        let key = self.active(name).ok_or(StoreError::NotFound)?;
        let plain = Zeroizing::new(serde_json::to_vec(&Backup::of(&key)?)?);
        self.seal_for_domain(BACKUP, &plain)
    }

    /// Brings a key back from a backup, with the names of its versions.
    pub(crate) fn restore(&self, blob: &[u8]) -> Result<Arc<Key>, StoreError> {
        let opened = self.open_of_domain(BACKUP, blob);
        let backup: Backup = opened
            .and_then(|json| serde_json::from_slice(&json).ok())
            .ok_or(StoreError::ForeignBackup)?;
        self.restore_key(backup)
    }

    /// Brings a key back, unless there is one of its name.
    pub(super) fn restore_key(&self, backup: Backup) -> Result<Arc<Key>, StoreError> {
        let mut database = self.writer();
        if let Some(key) = self.find(&backup.name) {
            return Err(match key.deletion {
                Some(_) => StoreError::Deleted,
                None => StoreError::Exists,
            });
        }
        self.check_room()?;
        let transaction = database.transaction()?;
        let key = self.insert(&transaction, backup)?;
        transaction.commit()?;
        Ok(self.publish(key))
    }

    /// Writes a key of a backup.
    pub(super) fn insert(
        &self,
        transaction: &Transaction<'_>,
        backup: Backup,
    ) -> Result<Key, StoreError> {
        let deletion = backup.deletion;
        transaction.execute(
            "INSERT INTO keys (name, deleted_date, scheduled_purge_date) VALUES (?1, ?2, ?3)",
            params![
                backup.name,
                deletion.map(|deletion| deletion.date),
                deletion.map(|deletion| deletion.scheduled_purge_date)
            ],
        )?;
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
                material: Arc::new(material.into()),
            }));
        }
        if versions.is_empty() {
            return Err(StoreError::ForeignBackup);
        }
        Ok(Key {
            sequence,
            name: backup.name,
            deletion,
            versions,
        })
    }
}
