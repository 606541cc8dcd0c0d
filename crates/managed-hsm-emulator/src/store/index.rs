//! The keys in memory, in each order in which they are asked for: no request looks at all of them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::Key;

/// All keys of a store.
#[derive(Default)]
pub(super) struct Index {
    /// In lower case, since names differ by more than case.
    by_name: HashMap<String, Arc<Key>>,
    by_sequence: BTreeMap<i64, Arc<Key>>,
    /// Of deleted keys: when they are to be purged, and their sequence.
    purges: BTreeSet<(i64, i64)>,
}

impl Index {
    pub(super) fn get(&self, name: &str) -> Option<&Arc<Key>> {
        self.by_name.get(&name.to_ascii_lowercase())
    }

    pub(super) fn len(&self) -> usize {
        self.by_name.len()
    }

    /// Takes a key in, in place of what was known of it.
    pub(super) fn insert(&mut self, key: Arc<Key>) {
        self.remove(&key);
        if let Some(deletion) = key.deletion {
            let purge = (deletion.scheduled_purge_date, key.sequence);
            self.purges.insert(purge);
        }
        self.by_sequence.insert(key.sequence, Arc::clone(&key));
        self.by_name.insert(key.name.to_ascii_lowercase(), key);
    }

    pub(super) fn remove(&mut self, key: &Key) {
        let known = self.by_name.remove(&key.name.to_ascii_lowercase());
        let Some(known) = known else {
            return;
        };
        self.by_sequence.remove(&known.sequence);
        if let Some(deletion) = known.deletion {
            let purge = (deletion.scheduled_purge_date, known.sequence);
            self.purges.remove(&purge);
        }
    }

    /// The keys that were made after another, in that order.
    pub(super) fn after(&self, sequence: i64) -> impl Iterator<Item = &Arc<Key>> {
        let keys = self.by_sequence.range(sequence.saturating_add(1)..);
        keys.map(|(_, key)| key)
    }

    /// The deleted keys whose time has come by `now`.
    pub(super) fn due(&self, now: i64) -> Vec<Arc<Key>> {
        let due = self.purges.range(..=(now, i64::MAX));
        due.filter_map(|(_, sequence)| self.by_sequence.get(sequence).cloned())
            .collect()
    }
}
