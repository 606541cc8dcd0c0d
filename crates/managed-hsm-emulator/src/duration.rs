//! Durations of ISO 8601 as rotation policies have them: years, months and days.

use std::str::FromStr;

const DAY: i64 = 86_400;

/// Years, months and days; a month counts as 30 days and a year as 365.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Duration {
    days: i64,
}

impl Duration {
    pub(crate) fn seconds(self) -> i64 {
        self.days * DAY
    }
}

impl FromStr for Duration {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let mut rest = text.strip_prefix('P').ok_or(())?;
        let mut days: i64 = 0;
        let mut units = [('Y', 365), ('M', 30), ('D', 1)].into_iter();
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or(())?;
            let number: i64 = rest[..digits].parse().map_err(|_| ())?;
            let unit = rest[digits..].chars().next().ok_or(())?;
            // In this order, each once at most.
            let (_, factor) = units.find(|(known, _)| *known == unit).ok_or(())?;
            days = number
                .checked_mul(factor)
                .and_then(|more| days.checked_add(more))
                .filter(|days| *days < 1_000_000)
                .ok_or(())?;
            rest = &rest[digits + unit.len_utf8()..];
        }
        if days == 0 {
            Err(())
        } else {
            Ok(Self { days })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read() {
        for (text, days) in [("P90D", 90), ("P1Y", 365), ("P2M", 60), ("P1Y2M3D", 428)] {
            assert_eq!(
                text.parse::<Duration>().unwrap().seconds(),
                days * DAY,
                "{text}"
            );
        }
        for text in [
            "",
            "P",
            "90D",
            "P90",
            "PD",
            "P1D1Y",
            "P1D2D",
            "P-1D",
            "P1W",
            "PT1H",
            "P99999999999D",
            "P1\u{e9}",
        ] {
            assert!(text.parse::<Duration>().is_err(), "{text}");
        }
    }
}
