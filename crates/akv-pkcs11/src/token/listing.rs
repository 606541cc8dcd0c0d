//! The list of keys: which of them are to be loaded, since they are not known as they are.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use managed_hsm::{KeyName, KeyVersion};

use super::Token;
use super::loading::Sought;
use super::table::Table;
use super::tags::Tags;
use crate::configuration::KeyPattern;
use crate::locks::lock;

/// Which keys there are, as far as the HSM or the configuration told, and when.
#[derive(Clone, Debug)]
pub(super) struct Listing {
    pub(super) at: Instant,
    /// When it was asked for, by the token's clock.
    pub(super) as_of: u64,
    pub(super) items: Arc<Vec<Listed>>,
    /// Those of them that aren't there for this identity, as was found out since.
    pub(super) absent: Arc<Mutex<HashSet<KeyName>>>,
}

/// A key in the list.
#[derive(Debug)]
pub(super) struct Listed {
    pub(super) name: KeyName,
    pub(super) version: Option<KeyVersion>,
    pub(super) updated: Option<i64>,
    pub(super) enabled: Option<bool>,
    /// Those that tell whether somebody looks for the key.
    pub(super) tags: Tags,
}

impl Token {
    /// The listed keys that may fit and are not known as they are.
    pub(super) fn wanted<'a>(&self, sought: Sought<'_>, listing: &'a Listing) -> Vec<&'a Listed> {
        let (table, absent) = (self.table(), lock(&listing.absent).clone());
        let tags = listing.items.iter().map(|item| &item.tags);
        let sought = sought.without_strange_id(&table, tags);
        let items = listing.items.iter();
        let is_there = |item: &&Listed| {
            !absent.contains(&item.name) && !table.was_removed(&item.name, listing.as_of)
        };
        let items = items.filter(|item| sought.may_fit(item)).filter(is_there);
        items
            .filter(|item| !is_known(&table, item, listing))
            .collect()
    }

    /// The configured keys, if they are all told by name: nobody needs to be asked for a list.
    pub(super) fn configured_names(&self) -> Option<Vec<Listed>> {
        let patterns = self.settings.keys.as_ref()?.iter();
        patterns
            .map(|pattern| match pattern {
                KeyPattern::Name(name, version) => Some(Listed {
                    name: name.clone(),
                    version: version.clone(),
                    updated: None,
                    enabled: None,
                    tags: Tags::default(),
                }),
                KeyPattern::Prefix(_) => None,
            })
            .collect()
    }
}

/// Whether a key of the list is known as the list has it.
fn is_known(table: &Table, item: &Listed, listing: &Listing) -> bool {
    let Some(known) = table.newest(item.name.as_str()) else {
        return false;
    };
    // The list tells when the newest version was changed, which another one's attributes don't.
    let updated = item.updated.filter(|_| item.version.is_none());
    let same = match updated {
        // What this process has changed since, or seen changed, is older in the list.
        Some(updated) if known.as_of > listing.as_of => known.was_updated(updated),
        // Times are in seconds: it may have been changed in the one in which it was loaded.
        Some(updated) => {
            known.updated == Some(updated)
                && item.enabled.is_none_or(|now| now == known.enabled)
                && known
                    .load
                    .stands(listing.at, known.tags.has_names(&item.tags))
        }
        // Told by name only: it counts for as long as the list does.
        None => known.as_of > listing.as_of,
    };
    if same {
        table.confirm(known);
    }
    same
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::{Duration, SystemTime};

    use managed_hsm::Properties;

    use super::*;
    use crate::token::examples;

    /// The HSM's clock has seconds, and of a change in the one in which a key was loaded a list
    /// tells nothing but labels and ids.
    #[test]
    fn a_key_that_had_just_been_changed_is_loaded_once_more() {
        let (start, now) = (Instant::now(), SystemTime::UNIX_EPOCH.elapsed().unwrap());
        // By the HSM's clock, which is ahead.
        let updated = i64::try_from(now.as_secs()).unwrap() + 60;
        let properties = |label: &str, updated| Properties {
            tags: BTreeMap::from([("p11_pri_CKA_LABEL".to_owned(), label.to_owned())]),
            updated: Some(updated),
            ..Properties::default()
        };
        let is_known = |table: &Table, label: &str, updated, later| {
            let item = Listed {
                name: "key".parse().unwrap(),
                version: None,
                updated: Some(updated),
                enabled: Some(true),
                tags: Tags::of_names(&properties(label, updated).tags),
            };
            let listing = Listing {
                at: start + Duration::from_secs(later),
                as_of: 10,
                items: Arc::default(),
                absent: Arc::default(),
            };
            is_known(table, &item, &listing)
        };
        let mut table = Table::default();
        let loaded = |updated| examples::described("key", 1, 1, properties("one", updated));
        table.add(loaded(updated), None);
        assert!(is_known(&table, "one", updated, 0));
        assert!(!is_known(&table, "one", updated, 3600) && !is_known(&table, "two", updated, 0));
        let long_ago = updated - 120;
        let mut table = Table::default();
        table.add(loaded(long_ago), None);
        assert!(is_known(&table, "one", long_ago, 3600));
        assert!(!is_known(&table, "two", long_ago, 0) && !is_known(&table, "one", updated, 0));
    }
}
