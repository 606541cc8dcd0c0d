//! The names of the answers that a connection of HTTP/1.1 has had (`x-ms-request-id`).
//!
//! Nothing else in an answer says which request it answers. The service gives no name twice, so an
//! answer with a known one is a copy. One without any may be a copy, or what a load balancer says:
//! it counts only as the first on its connection, and ends that, since a copy of it couldn't be
//! told from the next.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};

/// How many names a connection has before it ends, so that none is ever forgotten: as many as a
/// table of 4,096 places holds.
const MOST: usize = 3_584;

/// Names, as far as they have to be compared.
#[derive(Default)]
pub(crate) struct Seen {
    hasher: RandomState,
    names: HashSet<u64>,
    is_over: bool,
}

impl Seen {
    /// Notes the name of an answer. Whether it is the answer to what was asked last, and to nothing
    /// else that was asked on this connection.
    pub(crate) fn admits(&mut self, name: Option<&[u8]>) -> bool {
        let is_admitted = match name {
            Some(name) => self.names.insert(self.hasher.hash_one(name)),
            None => self.names.is_empty() && !self.is_over,
        };
        self.is_over |= !is_admitted || name.is_none() || self.names.len() == MOST;
        is_admitted
    }

    /// Whether another request could be told from those that were.
    pub(crate) fn has_room(&self) -> bool {
        !self.is_over
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_known_however_long_ago_it_came() {
        let mut seen = Seen::default();
        let name = |number: usize| format!("name-{number}").into_bytes();
        for number in 0..MOST {
            assert!(seen.has_room());
            assert!(seen.admits(Some(&name(number))));
        }
        // None was forgotten, and there is no request that another could answer.
        assert!(!seen.has_room());
        assert!((0..MOST).all(|number| !seen.admits(Some(&name(number)))));
    }

    #[test]
    fn an_answer_without_a_name_is_the_first_and_the_last_of_its_connection() {
        let mut seen = Seen::default();
        assert!(seen.admits(None));
        assert!(!seen.has_room());
        assert!(!seen.admits(None));

        let mut seen = Seen::default();
        assert!(seen.admits(Some(b"name")) && seen.has_room());
        assert!(!seen.admits(None));
        assert!(!seen.has_room());

        let mut seen = Seen::default();
        assert!(seen.admits(Some(b"name")));
        assert!(!seen.admits(Some(b"name")));
        assert!(!seen.has_room());
    }
}
