//! What is read from the database when a store is opened.

use std::collections::BTreeMap;
use std::sync::Arc;

use rusqlite::Connection;
use serde_json::Value;

use super::index::Index;
use super::key::LazyMaterial;
use super::{Deletion, Key, KeyVersion, Metadata};
use crate::error::Error;
use crate::seal::StorageKey;

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

/// Brings a database to the present schema.
pub(super) fn migrate(database: &Connection) -> Result<(), Error> {
    let version: i64 = database.pragma_query_value(None, "user_version", |row| row.get(0))?;
    match version {
        // One transaction: a crash leaves either no schema or all of it.
        0 | 1 => Ok(database.execute_batch(&format!("BEGIN; {SCHEMA} COMMIT;"))?),
        SCHEMA_VERSION => Ok(()),
        newer => Err(Error::SchemaTooNew(newer)),
    }
}

/// All documents, by kind and name.
pub(super) fn documents(database: &Connection) -> Result<BTreeMap<(String, String), Value>, Error> {
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

/// All keys.
pub(super) fn keys(database: &Connection, storage_key: &StorageKey) -> Result<Index, Error> {
    let mut statement = database.prepare(
        "SELECT sequence, name, deleted_date, scheduled_purge_date, id, metadata, sealed_private
         FROM keys JOIN versions ON key_sequence = sequence ORDER BY sequence, ordinal",
    )?;
    let mut rows = statement.query([])?;
    let mut index = Index::default();
    // Its versions follow each other.
    let mut current: Option<Key> = None;
    while let Some(row) = rows.next()? {
        let sequence = row.get(0)?;
        let date: Option<i64> = row.get(2)?;
        let purge: Option<i64> = row.get(3)?;
        let version = open_version(
            row.get(4)?,
            &row.get::<_, String>(5)?,
            &row.get::<_, Vec<u8>>(6)?,
            storage_key,
        )?;
        let mut key = match current.take() {
            Some(key) if key.sequence == sequence => key,
            before => {
                if let Some(before) = before {
                    index.insert(Arc::new(before));
                }
                Key {
                    sequence,
                    name: row.get(1)?,
                    deletion: date
                        .zip(purge)
                        .map(|(date, scheduled_purge_date)| Deletion {
                            date,
                            scheduled_purge_date,
                        }),
                    versions: Vec::new(),
                }
            }
        };
        key.versions.push(Arc::new(version));
        current = Some(key);
    }
    if let Some(last) = current {
        index.insert(Arc::new(last));
    }
    Ok(index)
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
            let material = LazyMaterial::stored(metadata.kind, secret);
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
