//! Backups: a key with all its versions, sealed for the HSM that it is of.

use std::sync::Arc;

use rusqlite::params;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{Key, KeyVersion, Metadata, Store, StoreError};
use crate::algorithm::{decode_base64url, encode_base64url};
use crate::keys::KeyMaterial;

/// What a backup is sealed for, in place of a version.
const BACKUP: &str = "backup";

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
        self.check_room()?;
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
                material: Arc::new(material.into()),
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
}
