//! How long an answer asks to wait before the request is sent again.

use std::time::{Duration, SystemTime};

use http::HeaderMap;
use http::header::RETRY_AFTER;

/// What an answer asks for, as far as anybody would wait for it.
pub(crate) fn wanted_pause(headers: &HeaderMap) -> Option<Duration> {
    const LONGEST: Duration = Duration::from_secs(3600);
    told_pause(headers).map(|pause| pause.min(LONGEST))
}

/// What an answer tells in `Retry-After` (RFC 9110, section 10.2.3), or in milliseconds as some of
/// Azure's services do.
fn told_pause(headers: &HeaderMap) -> Option<Duration> {
    let text = |name: &str| Some(headers.get(name)?.to_str().ok()?.trim());
    let milliseconds = |name: &str| text(name)?.parse().ok().map(Duration::from_millis);
    if let Some(pause) = ["retry-after-ms", "x-ms-retry-after-ms"]
        .into_iter()
        .find_map(milliseconds)
    {
        return Some(pause);
    }
    let wanted = text(RETRY_AFTER.as_str())?;
    if let Ok(seconds) = wanted.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(wanted).ok()?;
    Some(date.duration_since(SystemTime::now()).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_that_is_wanted_may_be_told_in_several_ways() {
        let wanted = |name: &'static str, value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(name, value.parse().unwrap());
            wanted_pause(&headers)
        };
        let seconds = |count| Some(Duration::from_secs(count));
        assert_eq!(wanted("retry-after", " 7 "), seconds(7));
        // No clock goes that far.
        assert_eq!(wanted("retry-after", &u64::MAX.to_string()), seconds(3600));
        assert_eq!(wanted("x-ms-retry-after-ms", "2000"), seconds(2));
        assert_eq!(
            wanted("retry-after", "Sun, 06 Nov 1994 08:49:37 GMT"),
            seconds(0)
        );
        let later = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(60));
        assert!(wanted("retry-after", &later) > seconds(50));
        for nothing in ["", "-1", "soon", "1e3"] {
            assert_eq!(wanted("retry-after", nothing), None);
        }
    }
}
