//! Keys that programs have brought for as long as their sessions.

use std::sync::Arc;

use cryptoki_sys::CK_OBJECT_HANDLE;

use super::Table;
use crate::token::objects::{Object, StoredKey};

impl Table {
    /// Such keys.
    pub(super) fn brought_keys(&self) -> impl Iterator<Item = &Arc<StoredKey>> {
        self.brought.values().filter_map(|object| match object {
            Object::Key(key, _) => Some(key),
            Object::Certificate(_) | Object::Profile(_) => None,
        })
    }

    /// Takes in a key that a program has brought.
    pub(crate) fn add_brought(&mut self, key: StoredKey) -> CK_OBJECT_HANDLE {
        let (half, key) = (key.half_of_brought(), Arc::new(key));
        let handle = key.handle(half);
        self.brought.insert(handle, Object::Key(key, half));
        handle
    }

    /// Forgets a key that a program has brought.
    pub(crate) fn remove_brought(&mut self, key: &StoredKey) {
        self.brought.remove(&key.handle(key.half_of_brought()));
    }

    /// Whether there are secret keys that programs have brought.
    pub(crate) fn has_secrets(&self) -> bool {
        self.brought_keys().any(|key| key.secret.is_some())
    }

    /// Forgets the secret keys that programs have brought.
    pub(crate) fn forget_secrets(&mut self) {
        self.brought.retain(|_, object| match object {
            Object::Key(key, _) => key.secret.is_none(),
            Object::Certificate(_) | Object::Profile(_) => true,
        });
    }
}

#[cfg(test)]
mod tests {
    use hsm_keys::PublicKey;
    use zeroize::Zeroizing;

    use super::*;
    use crate::token::objects::SecretKey;

    /// Programs bring the public keys of their peers in the midst of handshakes, and search.
    #[test]
    fn what_a_program_brings_costs_nothing_for_each_key_of_the_hsm() {
        let before = Table::default();
        let mut table = before.clone();
        let secret = SecretKey {
            kind: 0,
            value: Zeroizing::new(vec![1]),
            sensitive: false,
            extractable: true,
        };
        let given = (String::new(), Vec::new());
        let key = StoredKey::brought(PublicKey::Aes, Some(secret), 1, given, Vec::new());
        let handle = table.add_brought(key);
        assert!(table.object(handle).is_some() && before.object(handle).is_none());
        let is_left_alone = |table: &Table| {
            Arc::ptr_eq(&table.keys, &before.keys)
                && Arc::ptr_eq(&table.objects, &before.objects)
                && Arc::ptr_eq(&table.index, &before.index)
                && table.generation == before.generation
        };
        assert!(is_left_alone(&table));
        table.forget_secrets();
        assert!(table.object(handle).is_none() && is_left_alone(&table));
    }
}
