//! What a cause of a failure is known by: its text without what differs from answer to answer. The
//! service ends its messages with an activity's id, Entra ID with three more ids and the time.

use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher, Hash, Hasher};

/// So many hexadecimal digits are an id.
const SHORTEST_ID: usize = 16;
/// And so many decimal ones, or the seconds since 1970.
const SHORTEST_NUMBER: usize = 9;
/// What a number of is a duration.
const UNITS: [&str; 7] = ["s", "ms", "us", "µs", "ns", "seconds", "milliseconds"];
/// What stands before a request's id, which may be any word.
const REQUEST_ID: [&str; 2] = ["request", "id"];

/// A number for all texts that tell the same cause.
pub(crate) fn hash_of(cause: &str) -> u64 {
    let mut hasher = BuildHasherDefault::<DefaultHasher>::default().build_hasher();
    let mut words = words(cause).peekable();
    let mut before = ["", ""];
    while let Some(word) = words.next() {
        let next = words.peek().copied().unwrap_or_default();
        match before == REQUEST_ID || differs(word, next) {
            true => '…'.hash(&mut hasher),
            false => word.hash(&mut hasher),
        }
        before = [before[1], word];
    }
    hasher.finish()
}

/// The words of a text. A time of day, a date, a number with a fraction and an address are one.
fn words(text: &str) -> impl Iterator<Item = &str> {
    let is_of_word = |letter: char| letter.is_alphanumeric() || "-.:_".contains(letter);
    let words = text.split(move |letter| !is_of_word(letter));
    let words = words.map(|word| word.trim_matches(['.', ':']));
    words.filter(|word| !word.is_empty())
}

/// Whether a word is another one in the next answer to the same request.
fn differs(word: &str, next: &str) -> bool {
    is_id(word) || is_time(word) || is_duration(word, next)
}

/// A GUID, or a number that nobody reads.
fn is_id(word: &str) -> bool {
    let digits = word.bytes().filter(|byte| *byte != b'-').count();
    let is_hex = word
        .bytes()
        .all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
    let is_decimal = word.bytes().all(|byte| byte.is_ascii_digit());
    is_hex && digits >= SHORTEST_ID || is_decimal && digits >= SHORTEST_NUMBER
}

/// A date, a time of day, or both, as RFC 3339 has them or with a blank between.
fn is_time(word: &str) -> bool {
    let begins = |form: &str| {
        let fits = |(byte, form): (u8, u8)| match form {
            b'0' => byte.is_ascii_digit(),
            form => byte == form,
        };
        word.len() >= form.len() && word.bytes().zip(form.bytes()).all(fits)
    };
    begins("0000-00-00") || begins("00:00:00")
}

/// A number of seconds or the like, in one word with them or before them.
fn is_duration(word: &str, next: &str) -> bool {
    let unit = word.trim_start_matches(|letter: char| letter.is_ascii_digit() || letter == '.');
    let is_of = |unit: &str| UNITS.contains(&unit);
    unit.len() < word.len() && (is_of(unit) || unit.is_empty() && is_of(next))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_same(one: &str, other: &str) -> bool {
        hash_of(one) == hash_of(other)
    }

    #[test]
    fn what_differs_from_answer_to_answer_makes_no_other_cause() {
        for (one, other) in [
            (
                "HTTP 403 (request id 1a-2): ask for a role",
                "HTTP 403 (request id xyz): ask for a role",
            ),
            (
                "denied (Activity ID: 2684ecce-7e05-11ec-a044-000d3a731e50) (request id a)",
                "denied (Activity ID: 032b6762-7e05-11ec-a044-000d3a731e50) (request id b)",
            ),
            (
                "AADSTS7000215: Invalid client secret. Trace ID: 2684ecce-7e05-11ec-a044-000d3a731e50 \
                 Correlation ID: 32b67627-e051-4eca-8044-000d3a731e50 Timestamp: 2026-11-29 10:28:01Z",
                "AADSTS7000215: Invalid client secret. Trace ID: 5684ecce-7e05-11ec-a044-000d3a731e50 \
                 Correlation ID: a2b67627-e051-4eca-8044-000d3a731e50 Timestamp: 2026-11-30 11:00:59Z",
            ),
            (
                "the access token of X expired at 2026-11-29T10:28:01Z: az login",
                "the access token of X expired at 2026-11-29T10:28:02.5Z: az login",
            ),
            (
                "has not been healthy for 12 s (refused)",
                "has not been healthy for 4711 s (refused)",
            ),
            ("took 1.5ms, 12s", "took 30ms, 1s"),
            (
                "ref 00af2b3c4d5e6f708192, since 1796034052",
                "ref 10af2b3c4d5e6f708192, since 1796034053",
            ),
        ] {
            assert!(is_same(one, other), "{one}");
        }
    }

    #[test]
    fn what_a_person_acts_upon_makes_another_cause() {
        for (one, other) in [
            ("HTTP 403 Forbidden", "HTTP 500 Forbidden"),
            ("AADSTS7000215: no", "AADSTS7000222: no"),
            (
                "load key managedhsm:a:p11-6a2155dc40c94367a0f97ab452dc216f",
                "load key managedhsm:a:p11-7a2155dc40c94367a0f97ab452dc216f",
            ),
            (
                "can't reach https://127.0.0.1:4433",
                "can't reach https://127.0.0.1:4434",
            ),
            ("can't reach 10.0.0.1", "can't reach 10.0.0.2"),
            ("there is no slot 4", "there is no slot 5"),
            ("3 keys", "4 keys"),
        ] {
            assert!(!is_same(one, other), "{one}");
        }
    }
}
