//! Keys that live as long as a session, and those of them that were given to the token.

use std::collections::HashSet;
use std::sync::Arc;

use cryptoki_sys::CK_SESSION_HANDLE;
use managed_hsm::{KeyName, KeyVersion};

use super::{Table, is_version, name_of};
use crate::token::objects::{Object, StoredKey};
use crate::token::tags::Half;

impl Table {
    /// Takes in a session's key that is to stay: it gets handles of its own, and those that it had
    /// go with the session.
    pub(crate) fn adopt(&mut self, key: StoredKey) -> Arc<StoredKey> {
        self.keys_mut().remove(&*name_of(&key));
        self.add(key, None)
    }

    /// Whether a session's key has been adopted.
    pub(crate) fn has_adopted(&self, key: &StoredKey) -> bool {
        let is_adopted = |object: &Object| match object {
            Object::Key(known, _) => known.session.is_none() && is_version(known, key),
            Object::Certificate(_) | Object::Profile(_) => false,
        };
        key.session.is_some() && self.objects.values().any(is_adopted)
    }

    /// The keys that were made for a session, or that a program has brought, also where somebody
    /// else has made another version meanwhile. Adopted ones are there twice.
    pub(crate) fn keys_of_sessions(&self) -> impl Iterator<Item = &Arc<StoredKey>> {
        let objects = self.objects.iter().chain(&self.brought);
        objects.filter_map(|(handle, object)| {
            let Object::Key(key, _) = object else {
                return None;
            };
            let main = match key.hsm_id() {
                Some(_) => Half::Private,
                None => key.half_of_brought(),
            };
            (key.session.is_some() && key.handle(main) == *handle).then_some(key)
        })
    }

    /// Whether there are handles of keys that were made for a session.
    pub(crate) fn has_keys_of(&self, session: CK_SESSION_HANDLE) -> bool {
        self.objects.values().any(|object| match object {
            Object::Key(key, _) => key.session == Some(session),
            Object::Certificate(_) | Object::Profile(_) => false,
        })
    }

    /// Forgets the handles that adopted keys have had in their session.
    pub(crate) fn forget_adopted(&mut self, session: CK_SESSION_HANDLE) {
        let keys = self.objects.values().filter_map(|object| match object {
            Object::Key(key, _) => Some(key),
            Object::Certificate(_) | Object::Profile(_) => None,
        });
        let (of_sessions, of_token): (Vec<_>, Vec<_>) = keys.partition(|key| key.session.is_some());
        let of_token: HashSet<_> = of_token
            .into_iter()
            .filter_map(|key| version_of(key))
            .collect();
        let is_adopted = |key: &&Arc<StoredKey>| {
            let is_there = |version| of_token.contains(&version);
            key.session == Some(session) && version_of(key).is_some_and(is_there)
        };
        let adopted: Vec<_> = of_sessions
            .into_iter()
            .filter(is_adopted)
            .cloned()
            .collect();
        adopted.iter().for_each(|key| self.remove_handles(key));
    }
}

/// Which version of a key of the HSM it is.
fn version_of(key: &StoredKey) -> Option<(&KeyName, &KeyVersion)> {
    key.hsm_id().map(|id| (&id.key, &id.version))
}
