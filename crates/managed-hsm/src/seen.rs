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
    /// Notes what an answer is called: by one name, or by several that parties on the way have
    /// given it. Whether it is the answer to what was asked last, and to nothing else that was
    /// asked on this connection.
    pub(crate) fn admits<'a>(&mut self, names: impl IntoIterator<Item = &'a [u8]>) -> bool {
        let names = names
            .into_iter()
            .flat_map(|names| names.split(|b| *b == b','));
        let names = names.map(<[u8]>::trim_ascii).filter(|name| is_name(name));
        let names: Vec<u64> = names.map(|name| self.hasher.hash_one(name)).collect();
        let is_admitted = match names.is_empty() {
            false => names.iter().all(|name| !self.names.contains(name)),
            true => self.names.is_empty() && !self.is_over,
        };
        self.is_over |= !is_admitted || names.is_empty();
        self.names.extend(names);
        self.is_over |= self.names.len() >= MOST;
        is_admitted
    }

    /// Whether another request could be told from those that were.
    pub(crate) fn has_room(&self) -> bool {
        !self.is_over
    }
}

/// Whether it is a word. What holds blanks is none: where the bytes of two answers are mixed the
/// head of one, `HTTP/1.1 200 OK`, may begin within the name of the other.
fn is_name(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(u8::is_ascii_graphic)
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
            assert!(seen.admits([&name(number)[..]]));
        }
        // None was forgotten, and there is no request that another could answer.
        assert!(!seen.has_room());
        assert!((0..MOST).all(|number| !seen.admits([&name(number)[..]])));
    }

    #[test]
    fn an_answer_without_a_name_is_the_first_and_the_last_of_its_connection() {
        let mut seen = Seen::default();
        assert!(seen.admits([]));
        assert!(!seen.has_room());
        assert!(!seen.admits([]));

        let mut seen = Seen::default();
        assert!(seen.admits([&b"name"[..]]) && seen.has_room());
        assert!(!seen.admits([]));
        assert!(!seen.has_room());

        let mut seen = Seen::default();
        assert!(seen.admits([&b"name"[..]]));
        assert!(!seen.admits([&b"name"[..]]));
        assert!(!seen.has_room());
    }

    #[test]
    fn none_of_several_names_may_have_come_before() {
        let mut seen = Seen::default();
        assert!(seen.admits([&b"one"[..], b"of-a-proxy"]));
        assert!(seen.admits([&b"two, of-another-proxy"[..]]));
        assert!(seen.has_room());
        assert!(!seen.admits([&b"three, one"[..]]));
        assert!(!seen.has_room());
    }

    #[test]
    fn a_name_that_goes_over_into_another_answer_is_none() {
        let mixed: &[u8] = b"c3e6e2b8-d5cd-4811-aedb-52eddHTTP/1.1 200 OK";
        let mut seen = Seen::default();
        assert!(seen.admits([&b"name"[..]]));
        assert!(!seen.admits([mixed]));

        let mut seen = Seen::default();
        assert!(seen.admits([&b""[..]]));
        assert!(!seen.has_room());
    }
}
