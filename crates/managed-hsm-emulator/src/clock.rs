//! Wall-clock time, in the forms that the service shows: seconds since 1970 in bodies, RFC 3339 in
//! the log, HTTP's own in headers.

use std::time::{SystemTime, UNIX_EPOCH};

/// Seconds since 1970-01-01T00:00:00Z.
pub(crate) fn unix_seconds() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |elapsed| {
            i64::try_from(elapsed.as_secs()).unwrap_or(i64::MAX)
        })
}

/// Now, as `2026-01-31T23:59:59.123Z`.
pub(crate) fn rfc3339_now() -> String {
    let elapsed = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    rfc3339(elapsed.as_secs(), elapsed.subsec_millis())
}

/// A time in seconds since 1970, or 1970 for what is before; as [`rfc3339_now`].
pub(crate) fn rfc3339_of(seconds: i64) -> String {
    // The year 9999 is as far as the form goes.
    rfc3339(u64::try_from(seconds).unwrap_or(0).min(253_402_300_799), 0)
}

/// Now, as `Sun, 06 Nov 1994 08:49:37 GMT` (RFC 9110, section 5.6.7).
pub(crate) fn http_date_now() -> String {
    http_date(u64::try_from(unix_seconds()).unwrap_or_default())
}

fn http_date(seconds: u64) -> String {
    // The first of 1970 was a Thursday.
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let days = seconds / 86_400;
    let (year, month, day) = civil_date(days);
    let name = |names: &[&'static str], index: u64| names[usize::try_from(index).unwrap_or(0)];
    let (weekday, month) = (name(&DAYS, days % 7), name(&MONTHS, month - 1));
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{weekday}, {day:02} {month} {year:04} {hour:02}:{minute:02}:{second:02} GMT")
}

fn rfc3339(seconds: u64, milliseconds: u32) -> String {
    let (year, month, day) = civil_date(seconds / 86_400);
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milliseconds:03}Z")
}

/// The proleptic Gregorian date of a day counted from 1970-01-01, by Howard Hinnant's
/// `civil_from_days`.
fn civil_date(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let day_of_era = shifted % 146_097;
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 {
        march_month + 3
    } else {
        march_month - 9
    };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_that_callers_invent_have_a_form_too() {
        assert_eq!(rfc3339_of(-1), "1970-01-01T00:00:00.000Z");
        assert_eq!(rfc3339_of(i64::MAX), "9999-12-31T23:59:59.000Z");
    }

    #[test]
    fn times_read_as_http_has_them() {
        for (seconds, expected) in [
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"),
            (951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT"),
        ] {
            assert_eq!(http_date(seconds), expected);
        }
    }

    #[test]
    fn times_read_as_rfc_3339() {
        for (seconds, expected) in [
            (0, "1970-01-01T00:00:00.007Z"),
            (951_782_400, "2000-02-29T00:00:00.007Z"),
            (1_680_041_180, "2023-03-28T22:06:20.007Z"),
            (4_102_444_799, "2099-12-31T23:59:59.007Z"),
        ] {
            assert_eq!(rfc3339(seconds, 7), expected);
        }
    }
}
