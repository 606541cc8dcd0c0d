//! Lists, page by page. A page's token says after which entry the next one begins, so that keys
//! made or deleted meanwhile neither repeat nor hide others.

use super::Call;
use super::body::{Item, Page};
use super::failure::Failure;
use super::reply::Reply;
use super::unconfirmed;
use crate::algorithm::{decode_base64url, encode_base64url};
use crate::service::Service;

const PAGE: usize = 25;

pub(super) fn keys(call: &Call<'_>) -> Result<Reply, Failure> {
    key_list(call, false, "keys")
}

pub(super) fn deleted_keys(call: &Call<'_>) -> Result<Reply, Failure> {
    key_list(call, true, "deletedkeys")
}

fn key_list(call: &Call<'_>, deleted: bool, path: &str) -> Result<Reply, Failure> {
    let window = Window::of(call)?;
    // One more tells whether there is another page.
    let keys = call.store.list(deleted, window.after, window.size + 1);
    let entries = keys
        .iter()
        .map(|key| (key.sequence, || Item::key(call, key)));
    page(call, path, &window, entries)
}

pub(super) fn versions(call: &Call<'_>, name: &str) -> Result<Reply, Failure> {
    // A key that isn't there has none, as recorded.
    let key = call.store.active(name);
    let key = key.as_deref();
    let name = key.map_or(name, |key| key.name.as_str());
    let entries = key.into_iter().flat_map(|key| {
        let versions = (1..).zip(key.versions());
        versions.map(move |(ordinal, version)| (ordinal, move || Item::version(call, key, version)))
    });
    let window = Window::of(call)?;
    page(call, &format!("keys/{name}/versions"), &window, entries)
}

/// What part of a list is asked for.
struct Window {
    /// The position that it comes after.
    after: i64,
    size: usize,
}

impl Window {
    fn of(call: &Call<'_>) -> Result<Self, Failure> {
        let size = match call.query.max_results.as_deref() {
            None => PAGE,
            Some(text) => text
                .parse()
                .ok()
                .filter(|size| (1..=PAGE).contains(size))
                .ok_or_else(unconfirmed::max_results)?,
        };
        let after = match &call.query.skip_token {
            None => 0,
            Some(token) => position(token).ok_or_else(unconfirmed::skip_token)?,
        };
        Ok(Self { after, size })
    }
}

/// The entries that the query asks for, out of those with their growing positions.
fn page<F: FnOnce() -> Item>(
    call: &Call<'_>,
    path: &str,
    window: &Window,
    entries: impl Iterator<Item = (i64, F)>,
) -> Result<Reply, Failure> {
    let (after, size) = (window.after, window.size);
    let mut rest = entries
        .skip_while(|(position, _)| *position <= after)
        .peekable();
    let mut value = Vec::new();
    let mut last = after;
    while value.len() < size
        && let Some((position, item)) = rest.next()
    {
        last = position;
        value.push(item());
    }
    let next_link = rest.peek().is_some().then(|| {
        let token = encode_base64url(last.to_string().as_bytes());
        next_link(call, path, &token, call.query.max_results.as_deref())
    });
    let next_link = match call.service {
        Service::ManagedHsm => next_link.map(Some),
        Service::KeyVault => Some(next_link),
    };
    Reply::ok(&Page { next_link, value })
}

/// As recorded: an HSM's has the path of the request, and the size also if that is the usual one
/// (azure-sdk-for-net, `ManagedHsmLiveTests/GetDeletedKeys`); a vault's names the port even where
/// it goes without saying, and has the version.
fn next_link(call: &Call<'_>, path: &str, token: &str, asked: Option<&str>) -> String {
    let host = call.host;
    match call.service {
        Service::ManagedHsm => {
            let usual = PAGE.to_string();
            let size = asked.unwrap_or(&usual);
            let path = call.path;
            format!("https://{host}{path}?maxresults={size}&$skiptoken={token}")
        }
        Service::KeyVault => {
            let size = asked.map_or(String::new(), |asked| format!("&maxresults={asked}"));
            let port = if host.contains(':') { "" } else { ":443" };
            let version = call.query.api_version();
            format!("https://{host}{port}/{path}?api-version={version}&$skiptoken={token}{size}")
        }
    }
}

fn position(token: &str) -> Option<i64> {
    String::from_utf8(decode_base64url(token)?)
        .ok()?
        .parse()
        .ok()
}
