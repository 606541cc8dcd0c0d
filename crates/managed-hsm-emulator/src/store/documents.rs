//! Documents: what an HSM keeps besides keys, each under a kind and a name.

use rusqlite::params;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Store, StoreError, read, write};

impl Store {
    /// A document, if there is one of this name.
    pub(crate) fn document<T: DeserializeOwned>(&self, kind: &str, name: &str) -> Option<T> {
        let documents = read(&self.documents);
        let body = documents.get(&(kind.to_owned(), name.to_owned()))?;
        T::deserialize(body).ok()
    }

    /// All documents of a kind, by name.
    pub(crate) fn documents<T: DeserializeOwned>(&self, kind: &str) -> Vec<T> {
        let documents = read(&self.documents);
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
        self.put_if(kind, name, document, || true).map(drop)
    }

    /// Does so if `is_wanted`, which is asked while nobody else changes anything. Returns what it
    /// said.
    pub(crate) fn put_if(
        &self,
        kind: &str,
        name: &str,
        document: &impl Serialize,
        is_wanted: impl FnOnce() -> bool,
    ) -> Result<bool, StoreError> {
        let body = serde_json::to_value(document)?;
        let database = self.writer();
        if !is_wanted() {
            return Ok(false);
        }
        database.execute(
            "INSERT OR REPLACE INTO documents (kind, name, body) VALUES (?1, ?2, ?3)",
            params![kind, name, body.to_string()],
        )?;
        let mut documents = write(&self.documents);
        documents.insert((kind.to_owned(), name.to_owned()), body);
        Ok(true)
    }

    /// Forgets a document. Returns whether there was one.
    pub(crate) fn remove(&self, kind: &str, name: &str) -> Result<bool, StoreError> {
        self.remove_if(kind, name, || true)
    }

    /// Does so if `is_wanted`, which is asked while nobody else changes anything.
    pub(crate) fn remove_if(
        &self,
        kind: &str,
        name: &str,
        is_wanted: impl FnOnce() -> bool,
    ) -> Result<bool, StoreError> {
        let database = self.writer();
        if !is_wanted() {
            return Ok(false);
        }
        database.execute(
            "DELETE FROM documents WHERE kind = ?1 AND name = ?2",
            params![kind, name],
        )?;
        let mut documents = write(&self.documents);
        let removed = documents.remove(&(kind.to_owned(), name.to_owned()));
        Ok(removed.is_some())
    }
}
