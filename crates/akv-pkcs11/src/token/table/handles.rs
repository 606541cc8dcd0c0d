//! The handles of keys by the keys' names: a change may be of thousands of keys, and looks at all
//! objects once at most.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use cryptoki_sys::CK_OBJECT_HANDLE;

use super::{Table, is_same, is_version, name_of};
#[cfg(test)]
use crate::token::examples;
use crate::token::objects::{Object, StoredKey};

/// Made when a change first asks for it, and kept until the change is over. Handles in it may be
/// of nothing any more.
#[derive(Clone, Debug, Default)]
pub(super) struct Handles(Option<HashMap<String, Vec<CK_OBJECT_HANDLE>>>);

impl Handles {
    /// Notes a handle of a key.
    pub(super) fn note(&mut self, key: &StoredKey, handle: CK_OBJECT_HANDLE) {
        if let Some(handles) = &mut self.0 {
            let handles = handles.entry(name_of(key)).or_default();
            if !handles.contains(&handle) {
                handles.push(handle);
            }
        }
    }
}

impl Table {
    fn handles(&mut self) -> &mut HashMap<String, Vec<CK_OBJECT_HANDLE>> {
        let objects = &self.objects;
        self.handles.0.get_or_insert_with(|| {
            let mut handles: HashMap<String, Vec<_>> = HashMap::new();
            for (handle, object) in &**objects {
                #[cfg(test)]
                examples::note_look();
                if let Object::Key(key, _) = object {
                    handles.entry(name_of(key)).or_default().push(*handle);
                }
            }
            handles
        })
    }

    /// To be called once a change is over.
    pub(crate) fn forget_handles(&mut self) {
        self.handles = Handles::default();
    }

    /// The handles of a key, which are to be forgotten.
    pub(super) fn take_handles(&mut self, name: &str) -> Vec<CK_OBJECT_HANDLE> {
        self.handles().remove(name).unwrap_or_default()
    }

    /// The objects of all versions of a key that programs may have handles of.
    fn objects_of(&mut self, name: &str) -> impl Iterator<Item = &Arc<StoredKey>> {
        self.handles();
        let handles = self.handles.0.iter();
        let handles = handles.filter_map(|handles| handles.get(name)).flatten();
        let objects = handles.filter_map(|handle| self.objects.get(handle));
        objects.filter_map(|object| match object {
            Object::Key(key, _) => Some(key),
            Object::Certificate(_) | Object::Profile(_) => None,
        })
    }

    /// The same version as programs may have handles of it, among all that there are.
    pub(super) fn known(&mut self, same: &StoredKey) -> Option<Arc<StoredKey>> {
        let name = name_of(same);
        let mut known = self.objects_of(&name);
        known.find(|key| is_same(key, same)).map(Arc::clone)
    }

    /// Notes that the handles of a version that had another public key are not this key's.
    pub(super) fn replace(&mut self, key: &StoredKey) {
        let name = name_of(key);
        // Of a name that is new there are no handles, and many keys may be.
        if !self.keys.contains_key(&*name) {
            return;
        }
        for known in self.objects_of(&name) {
            if is_version(known, key) && known.public() != key.public() {
                known.is_replaced.store(true, Ordering::Relaxed);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::examples::looks;
    use crate::token::tags::Half;

    const KEYS: usize = 300;

    /// A version of all keys.
    fn loaded(version: usize, as_of: u64) -> impl Iterator<Item = StoredKey> {
        (0..KEYS).map(move |key| examples::key(&format!("key-{key}"), version, as_of))
    }

    /// Forks wait for a change, and not for long.
    #[test]
    fn a_change_of_many_keys_looks_at_each_object_a_few_times_at_most() {
        let mut table = Table::default();
        loaded(1, 1).for_each(|key| drop(table.add(key, None)));
        // Each has two objects, and so has each new version.
        let few = 8 * KEYS;
        let mut table = table.next();
        let rotated = looks(|| loaded(2, 2).for_each(|key| drop(table.add(key, None))));
        assert!(rotated <= few, "{rotated} looks for {KEYS} new versions");
        let mut table = table.next();
        let renewed = looks(|| loaded(1, 3).for_each(|key| drop(table.renew(key, None))));
        assert!(renewed <= few, "{renewed} looks for {KEYS} versions");
        let mut table = table.next();
        let kept = looks(|| loaded(1, 4).for_each(|key| drop(table.keep(key))));
        assert!(kept <= few, "{kept} looks for {KEYS} versions");
        let mut table = table.next();
        let gone = looks(|| {
            for key in 0..KEYS {
                table.remove(&format!("key-{key}"), u64::MAX);
            }
        });
        assert!(gone <= few, "{gone} looks for {KEYS} keys that are gone");
        let mut objects = table.objects.values();
        assert!(!objects.any(|object| matches!(object, Object::Key(..))));
    }

    /// The index is of one change, in which keys come and go.
    #[test]
    fn versions_are_found_by_their_handles_and_forgotten_ones_are_not() {
        let mut table = Table::default();
        let first = table.add(examples::key("key", 1, 1), None);
        let second = table.add(examples::key("KEY", 2, 2), None);
        let known = table.known(&examples::key("key", 1, 3)).unwrap();
        assert_eq!(known.handles, first.handles);
        table.remove_handles(&first);
        assert!(table.known(&examples::key("key", 1, 3)).is_none());
        table.remove("Key", 3);
        for key in [&first, &second] {
            assert!(table.object(key.handle(Half::Private)).is_none());
        }
        let again = table.add(examples::key("key", 1, 4), None);
        assert_ne!(again.handles, first.handles);
        let known = table.known(&examples::key("key", 1, 5)).unwrap();
        assert_eq!(known.handles, again.handles);
    }
}
