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
        // Times are in seconds: it may have been disabled in the one in which it was loaded.
        Some(updated) => {
            known.updated == Some(updated) && item.enabled.is_none_or(|now| now == known.enabled)
        }
        // Told by name only: it counts for as long as the list does.
        None => known.as_of > listing.as_of,
    };
    if same {
        table.confirm(known);
    }
    same
}
