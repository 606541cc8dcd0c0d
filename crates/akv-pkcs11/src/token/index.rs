//! What keys are found by without a look at each: labels, ids and public keys.

use std::borrow::Cow;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::sync::{Arc, OnceLock};

use hsm_keys::once;

use super::objects::StoredKey;
use super::tags::{self, Half};

/// Which keys have a label, an id, or a public key; made when it is first asked for.
#[derive(Debug, Default)]
pub(super) struct Index(OnceLock<Indices>);

impl Index {
    pub(super) fn get(&self, make: impl FnOnce() -> Indices) -> &Indices {
        once(&self.0, make)
    }
}

#[derive(Debug, Default)]
pub(super) struct Indices {
    pub(super) by_label: Found,
    pub(super) by_id: Found,
    /// Of versions that aren't found by themselves any more; made when it is first asked for.
    pub(super) earlier_by_id: OnceLock<Found>,
    /// Of keys that certificates may be of.
    pub(super) by_public: Found,
}

/// Keys by the hash values of their labels, of their ids, or of their public keys, in the order of
/// those. Two texts may have the same: whoever looks something up looks at what is found, too.
#[derive(Debug, Default)]
pub(super) struct Found(Vec<(u64, Arc<StoredKey>)>);

impl Found {
    fn insert(&mut self, hashes: impl IntoIterator<Item = u64>, key: &Arc<StoredKey>) {
        let hashes = hashes.into_iter();
        self.0.extend(hashes.map(|hash| (hash, Arc::clone(key))));
    }

    /// Keys by their ids.
    pub(super) fn by_id<'a>(keys: impl Iterator<Item = &'a Arc<StoredKey>>) -> Self {
        let mut by_id = Self::default();
        for key in keys {
            by_id.insert(hashes_of_ids(key), key);
        }
        by_id.sort();
        by_id
    }

    fn sort(&mut self) {
        self.0.sort_unstable_by_key(|(hash, _)| *hash);
    }

    /// The keys that may be those of a label, an id, or a public key.
    pub(super) fn of(&self, wanted: &[u8]) -> impl Iterator<Item = &Arc<StoredKey>> {
        let hash = hash(wanted);
        let start = self.0.partition_point(|(known, _)| *known < hash);
        let found = self.0[start..].iter();
        found
            .take_while(move |(known, _)| *known == hash)
            .map(|(_, key)| key)
    }
}

impl Indices {
    /// Those of keys. `has_certificates`: whether there are any, which are then looked for by
    /// public keys.
    pub(super) fn of<'a>(
        keys: impl Iterator<Item = &'a Arc<StoredKey>>,
        has_certificates: bool,
    ) -> Self {
        let mut indices = Self::default();
        for key in keys {
            indices.by_label.insert(hashes_of_labels(key), key);
            indices.by_id.insert(hashes_of_ids(key), key);
            if has_certificates && let Some(public) = key.public().spki() {
                indices.by_public.insert([hash(&public)], key);
            }
        }
        let Self {
            by_label,
            by_id,
            by_public,
            earlier_by_id: _,
        } = &mut indices;
        for found in [by_label, by_id, by_public] {
            found.sort();
        }
        indices
    }
}

fn hash(bytes: &[u8]) -> u64 {
    BuildHasherDefault::<DefaultHasher>::default().hash_one(bytes)
}

/// All labels that a key may be looked for by.
fn hashes_of_labels(key: &StoredKey) -> Vec<u64> {
    hashes(|half| {
        (
            key.label(half).into_owned().into_bytes().into(),
            key.tags.read(half, "LABEL"),
        )
    })
}

/// All ids that a key may be looked for by.
fn hashes_of_ids(key: &StoredKey) -> Vec<u64> {
    hashes(|half| (key.id(half), key.own_tagged_id(half)))
}

/// The hash values of what `names` has for each half: a name, and a tag with all that it may mean.
fn hashes<'a>(names: impl Fn(Half) -> (Cow<'a, [u8]>, Option<&'a str>)) -> Vec<u64> {
    let mut hashes = Vec::new();
    for half in Half::BOTH {
        let (name, tag) = names(half);
        hashes.push(hash(&name));
        if let Some(text) = tag {
            hashes.push(hash(text.as_bytes()));
            hashes.extend(tags::meanings(text).map(|meaning| hash(&meaning)));
        }
    }
    hashes.sort_unstable();
    hashes.dedup();
    hashes
}
