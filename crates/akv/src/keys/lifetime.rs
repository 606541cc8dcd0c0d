//! From when on and until when a key may be used.

use std::sync::LazyLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use azure_core::time::OffsetDateTime;
use azure_security_keyvault_keys::models::KeyAttributes;

use crate::failure::Failure;
use crate::output::{self, before_year_10000};

/// What distances are counted from, so that two options with the same one name the same time.
static NOW: LazyLock<SystemTime> = LazyLock::new(SystemTime::now);

pub(crate) fn point_in_time(text: &str) -> Result<SystemTime, String> {
    let date = match text.len() {
        10 => format!("{text}T00:00:00Z"),
        _ => text.to_owned(),
    };
    if let Ok(at) = humantime::parse_rfc3339_weak(&date) {
        return Ok(at);
    }
    let later = humantime::parse_duration(text).map_err(|_| {
        "give 2026-12-31, 2026-12-31T23:59:59Z, or a time from now such as 90d".to_owned()
    })?;
    let at = NOW.checked_add(later);
    at.filter(|at| *at == before_year_10000(*at))
        .ok_or_else(|| "it is later than the year 9999".to_owned())
}

/// Both ends of the time in which a key may be used, where there are such.
#[derive(Clone, Copy, Default)]
pub(super) struct Lifetime {
    pub(super) not_before: Option<SystemTime>,
    pub(super) expires: Option<SystemTime>,
}

impl Lifetime {
    /// That of a key that is there.
    pub(super) fn of(attributes: Option<&KeyAttributes>) -> Self {
        let time = |at: OffsetDateTime| output::from_unix(at.unix_timestamp());
        Self {
            not_before: attributes.and_then(|these| these.not_before).map(time),
            expires: attributes.and_then(|these| these.expires).map(time),
        }
    }

    /// Refuses a time to be set that ends before it begins: the key could never be used, and the
    /// service is not known to refuse that.
    pub(super) fn check(self) -> Result<(), Failure> {
        self.check_with(Self::default())
    }

    /// The same where the end that isn't to be set is known to be that of the key.
    pub(super) fn check_with(self, key: Self) -> Result<(), Failure> {
        let begin = self.not_before.map(|at| ("--not-before", at));
        let end = self.expires.map(|at| ("--expires", at));
        if begin.is_none() && end.is_none() {
            return Ok(());
        }
        let begin = begin.or_else(|| Some(("the key's not_before", key.not_before?)));
        let end = end.or_else(|| Some(("the key's expires", key.expires?)));
        let (Some((begin_name, begin)), Some((end_name, end))) = (begin, end) else {
            return Ok(());
        };
        match seconds(begin) < seconds(end) {
            true => Ok(()),
            false => Err(Failure::usage(format!(
                "{end_name} ({}) is not later than {begin_name} ({}): the key could never be used; \
                 give a later --expires or an earlier --not-before",
                output::time(end),
                output::time(begin)
            ))),
        }
    }
}

/// As the service has times: without fractions.
fn seconds(at: SystemTime) -> u64 {
    at.duration_since(UNIX_EPOCH)
        .unwrap_or(Duration::ZERO)
        .as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_dates_or_distances() {
        let at = |text| point_in_time(text).map(output::time);
        assert_eq!(at("2026-12-31").unwrap(), "2026-12-31T00:00:00Z");
        assert_eq!(at("2026-12-31T23:59:59Z").unwrap(), "2026-12-31T23:59:59Z");
        assert!(point_in_time("90d").unwrap() > SystemTime::now());
        assert!(point_in_time("soon").is_err());
        for text in ["8000y", "500000000000y"] {
            let problem = point_in_time(text).unwrap_err();
            assert!(problem.contains("later than the year 9999"), "{problem}");
        }
        assert!(point_in_time("2026-13-31").is_err());
    }

    #[test]
    fn a_time_that_ends_before_it_begins_is_refused_by_both_its_ends() {
        let lifetime = |not_before: &str, expires: &str| {
            let at = |text: &str| match text {
                "" => None,
                text => Some(point_in_time(text).unwrap()),
            };
            Lifetime {
                not_before: at(not_before),
                expires: at(expires),
            }
        };
        let none = lifetime("", "");
        for (given, key) in [
            (("1d", "2d"), none),
            (("1h", "3601s"), none),
            (("2d", ""), none),
            (("", "1d"), none),
            (("", "3d"), lifetime("2d", "")),
            (("1d", ""), lifetime("3d", "2d")),
            // Both ends are replaced, or none is.
            (("1d", "2d"), lifetime("3d", "1h")),
            (("", ""), lifetime("2d", "1d")),
        ] {
            let (not_before, expires) = given;
            let refused = lifetime(not_before, expires).check_with(key).is_err();
            assert!(!refused, "{given:?}");
        }
        for (given, key, words) in [
            (
                ("2026-12-02", "2026-12-01"),
                none,
                "--expires (2026-12-01T00:00:00Z) is not later than --not-before \
                 (2026-12-02T00:00:00Z)",
            ),
            (("1d", "1d"), none, "is not later than --not-before"),
            (
                ("", "2026-12-01"),
                lifetime("2026-12-02", ""),
                "--expires (2026-12-01T00:00:00Z) is not later than the key's not_before \
                 (2026-12-02T00:00:00Z)",
            ),
            (
                ("2026-12-02", ""),
                lifetime("", "2026-12-02"),
                "the key's expires (2026-12-02T00:00:00Z) is not later than --not-before \
                 (2026-12-02T00:00:00Z)",
            ),
        ] {
            let (not_before, expires) = given;
            match lifetime(not_before, expires).check_with(key) {
                Err(Failure::Usage(problem)) => assert!(problem.contains(words), "{problem}"),
                _ => panic!("{given:?}"),
            }
        }
    }
}
