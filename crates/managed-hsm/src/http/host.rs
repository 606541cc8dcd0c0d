//! Hosts as they stand in URLs.

use url::{Position, Url};

/// The host of a URL.
pub(crate) fn bare_host(url: &Url) -> &str {
    without_brackets(url.host_str().unwrap_or_default())
}

/// A host as it stands in a URL or a URI, where an address of IPv6 is in brackets.
pub(crate) fn without_brackets(host: &str) -> &str {
    host.trim_start_matches('[').trim_end_matches(']')
}

/// What stands before the path of a URL: which host and port it leads to.
pub(crate) fn endpoint(url: &Url) -> &str {
    &url[..Position::BeforePath]
}
