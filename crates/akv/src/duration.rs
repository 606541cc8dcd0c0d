//! Lengths of time on the command line.

use std::time::Duration;

/// A length of time, in words that people use.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text)
        .map_err(|_| "give a length of time such as 90d, 12h or 1year".to_owned())
}
