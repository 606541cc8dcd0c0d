//! A key with its versions, and what is told about them.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::{Arc, OnceLock};

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::keys::{KeyMaterial, KeyType};

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
    /// The certificate whose key it is, DER in base64: a vault keeps both together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) certificate: Option<String>,
    /// The id of its material in an external key manager.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) external_key: Option<String>,
    /// The curve that an RSA key came with, which a vault shows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) sent_crv: Option<String>,
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
    /// The policy, JSON as the service writes it, as base64url.
    pub(crate) data: String,
    pub(crate) immutable: bool,
}

/// One version of a key.
#[derive(Clone)]
pub(crate) struct KeyVersion {
    pub(crate) id: String,
    pub(crate) metadata: Metadata,
    pub(crate) material: Arc<LazyMaterial>,
}

/// Key material that is parsed when it is first used: to parse thousands of keys takes seconds.
pub(crate) struct LazyMaterial {
    stored: Option<(KeyType, Zeroizing<Vec<u8>>)>,
    parsed: OnceLock<KeyMaterial>,
}

impl LazyMaterial {
    /// What [`KeyMaterial::to_private_bytes`] wrote.
    pub(super) fn stored(kind: KeyType, bytes: Zeroizing<Vec<u8>>) -> Self {
        Self {
            stored: Some((kind, bytes)),
            parsed: OnceLock::new(),
        }
    }

    fn parse(&self) -> KeyMaterial {
        let parsed = self.stored.as_ref().and_then(|(kind, bytes)| {
            let parsed = KeyMaterial::from_private_bytes(*kind, bytes);
            parsed
                .inspect_err(|error| {
                    crate::log::event(format_args!("a stored key can't be read: {error}"));
                })
                .ok()
        });
        // Its seal was right, so that somebody has changed what else the database tells of it.
        // Without a secret it does nothing.
        parsed.unwrap_or_else(|| KeyMaterial::from_oct(Zeroizing::default()))
    }
}

impl From<KeyMaterial> for LazyMaterial {
    fn from(material: KeyMaterial) -> Self {
        Self {
            stored: None,
            parsed: OnceLock::from(material),
        }
    }
}

impl Deref for LazyMaterial {
    type Target = KeyMaterial;

    fn deref(&self) -> &KeyMaterial {
        self.parsed.get_or_init(|| self.parse())
    }
}

/// A key with its versions, oldest first; there is always one.
#[derive(Clone)]
pub(crate) struct Key {
    /// Grows with each new key: the order of lists.
    pub(crate) sequence: i64,
    pub(crate) name: String,
    pub(crate) deletion: Option<Deletion>,
    pub(super) versions: Vec<Arc<KeyVersion>>,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
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
