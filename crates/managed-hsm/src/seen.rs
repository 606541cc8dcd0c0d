//! The names of the answers that a connection has had (`x-ms-request-id`). The service gives none
//! twice, so an answer whose name is known is a copy, and answers nothing that was asked since.

use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};

/// How many names are kept: a copy that comes later than that has been on its way for as many
/// requests.
const MOST: usize = 1024;

/// Names, as far as they have to be compared.
#[derive(Default)]
pub(crate) struct Seen {
    hasher: RandomState,
    names: VecDeque<u64>,
}

impl Seen {
    /// Notes a name. Whether it was new.
    pub(crate) fn is_new(&mut self, name: &[u8]) -> bool {
        let name = self.hasher.hash_one(name);
        if self.names.contains(&name) {
            return false;
        }
        if self.names.len() == MOST {
            self.names.pop_front();
        }
        self.names.push_back(name);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_known_however_long_ago_it_came() {
        let mut seen = Seen::default();
        let name = |number: usize| format!("name-{number}").into_bytes();
        assert!((0..MOST).all(|number| seen.is_new(&name(number))));
        assert!((0..MOST).all(|number| !seen.is_new(&name(number))));
        // No more are kept than so many.
        assert!(seen.is_new(&name(MOST)) && seen.is_new(&name(0)));
        assert_eq!(seen.names.len(), MOST);
    }
}
