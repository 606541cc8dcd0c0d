//! Versions that were found before their keys were rotated. Programs such as OpenSSH keep the id of
//! a key, and look for the key by it before each signature.

use std::cmp::Reverse;
use std::sync::Arc;

use hsm_keys::once;

use super::{Table, is_version, name_of};
use crate::token::Token;
use crate::token::index::Found;
use crate::token::loading::{Sought, is_not_found, serve_on};
use crate::token::objects::{Object, StoredKey};
use crate::token::tags::Half;

impl Token {
    /// Asks again for the earlier versions that would be found, if what is known of them is old: a
    /// list doesn't tell of them, and a key of the same name may have taken the place of theirs.
    pub(in crate::token) fn renew_earlier(&self, sought: Sought<'_>) {
        let table = self.table();
        for key in table.earlier(sought) {
            let Some(id) = key.hsm_id().filter(|_| !self.is_fresh(&table, key)) else {
                continue;
            };
            match self.fetch(&id.key, Some(id.version.clone())) {
                // Who has logged out meanwhile sees no keys at all.
                Ok((asked, now)) => drop(self.learn(&asked, |table| table.renew(now, None))),
                Err(error) if is_not_found(&error) => {
                    self.change(|table| table.remove_version(key));
                }
                Err(error) => {
                    serve_on(&error);
                    table.confirm(key);
                }
            }
        }
    }
}

impl Table {
    /// Those that have the id that is sought, where no version has it that is found by itself: of
    /// each key the one that was made last, which had it until then.
    pub(in crate::token) fn earlier(&self, sought: Sought<'_>) -> Vec<&Arc<StoredKey>> {
        let Some(id) = sought.id else {
            return Vec::new();
        };
        let mut found = self.indices().by_id.of(id);
        if found.any(|key| sought.is_just(key)) {
            return Vec::new();
        }
        let earlier = self.earlier_by_id().of(id);
        let mut earlier: Vec<_> = earlier.filter(|key| sought.is_just(key)).collect();
        earlier.sort_by_key(|key| (name_of(key), Reverse((key.created, key.handles))));
        earlier.dedup_by_key(|key| name_of(key));
        earlier
    }

    /// Whether one of the same key as another version is among them.
    pub(in crate::token) fn has_earlier(&self, of: &StoredKey, sought: Sought<'_>) -> bool {
        let mut earlier = self.earlier(sought).into_iter();
        earlier.any(|key| name_of(key) == name_of(of))
    }

    /// Whether a key that has the id is the one that is meant, whatever has changed in the HSM: an
    /// earlier version has the id of its public key for ever, but one in tags may be another key's
    /// by now.
    pub(in crate::token) fn is_sure(&self, key: &StoredKey) -> bool {
        let has_tag = |half: &Half| key.own_tagged_id(*half).is_some();
        !Half::BOTH.iter().any(has_tag) || !self.is_earlier(key)
    }

    fn earlier_by_id(&self) -> &Found {
        let earlier = self.objects.values().filter_map(|object| match object {
            Object::Key(key, Half::Private) if self.is_earlier(key) => Some(key),
            _ => None,
        });
        once(&self.indices().earlier_by_id, || Found::by_id(earlier))
    }

    /// Whether it is a version of one of the token's keys that isn't found by itself any more.
    fn is_earlier(&self, key: &StoredKey) -> bool {
        let Some(id) = key.hsm_id().filter(|_| key.session.is_none()) else {
            return false;
        };
        let mut found = self.versions(&id.key);
        !key.is_replaced() && !found.any(|found| is_version(found, key))
    }
}
