//! Lists, page by page. A page's token says after which entry the next one begins, so that keys made or deleted
//! meanwhile neither repeat nor hide others.

use super::Call;
use super::body::{Item, Page};
use super::failure::Failure;
use super::keys::missing;
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
    let keys = call.store.list(deleted);
    let entries = keys
        .iter()
        .map(|key| (key.sequence, || Item::key(call, key)));
    page(call, path, entries)
}

pub(super) fn versions(call: &Call<'_>, name: &str) -> Result<Reply, Failure> {
    let key = call.store.active(name);
    let key = key.ok_or_else(|| missing(call, name, None))?;
    let key = &*key;
    let entries = (1..)
        .zip(key.versions())
        .map(|(ordinal, version)| (ordinal, || Item::version(call, key, version)));
    page(call, &format!("keys/{}/versions", key.name), entries)
}

/// The entries that the query asks for, out of all of them with their growing positions.
fn page<F: FnOnce() -> Item>(
    call: &Call<'_>,
    path: &str,
    entries: impl Iterator<Item = (i64, F)>,
) -> Result<Reply, Failure> {
    let asked = call.query.max_results.as_deref();
    let size = match asked {
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
        next_link(call, path, &token, asked)
    });
    let next_link = match call.service {
        Service::ManagedHsm => next_link.map(Some),
        Service::KeyVault => Some(next_link),
    };
    Reply::ok(&Page { next_link, value })
}

/// As recorded: a vault's names the port even where it goes without saying, and has the version.
fn next_link(call: &Call<'_>, path: &str, token: &str, asked: Option<&str>) -> String {
    let host = call.host;
    match call.service {
        Service::ManagedHsm => {
            let size = asked.map_or(String::new(), |asked| format!("maxresults={asked}&"));
            format!("https://{host}/{path}?{size}$skiptoken={token}")
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
