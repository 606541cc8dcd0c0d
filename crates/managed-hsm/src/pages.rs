//! Listings, which the service gives page by page.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use url::{Origin, Url};

use crate::client::Client;
use crate::error::Error;
use crate::request::{Request, at};
use crate::uri::Vault;
use crate::wire::Page;

/// The most that a listing has. No vault that anybody lists within the time of an operation has as
/// many keys; one without an end would take all memory.
pub const MAX_LISTED: usize = 200_000;

/// A listing, asked for page by page.
#[derive(Debug)]
pub(crate) struct Pages {
    pub(crate) vault: Vault,
    next: Option<Url>,
    /// Where the pages were that came.
    seen: HashSet<Url>,
    /// How much was on them.
    listed: usize,
    /// How long it took to get them.
    spent: Duration,
}

impl Pages {
    /// A listing that begins at `url`, of which nothing has been asked for yet.
    pub(crate) fn begin(vault: &Vault, url: Url) -> Self {
        Self {
            vault: vault.clone(),
            next: Some(url),
            seen: HashSet::new(),
            listed: 0,
            spent: Duration::ZERO,
        }
    }

    /// Asks for the next page, of which `read` makes its items and the address of the page after
    /// it. None: there is none. After an error the listing has ended.
    pub(crate) fn next<T: Send + 'static>(
        &mut self,
        client: &Client,
        operation: &'static str,
        read: impl Fn(&[u8]) -> Result<Page<T>, String> + Send + Sync + 'static,
    ) -> Result<Option<Vec<T>>, Error> {
        let Some(url) = self.next.take() else {
            return Ok(None);
        };
        let request = Request::of_vault(operation, &self.vault, url.clone());
        let limit = client.sessions.settings.operation_timeout;
        if self.spent >= limit {
            let (pages, seconds) = (self.seen.len(), limit.as_secs_f64());
            return Err(request.bad_answer(format!(
                "the listing has not ended after {pages} pages and {seconds} s, the time that an operation may take \
                 (AKV_OPERATION_TIMEOUT)"
            )));
        }
        let started = Instant::now();
        self.seen.insert(url.clone());
        let endpoints = client.sessions.settings.endpoints_of(&self.vault);
        let endpoints: Vec<_> = endpoints.into_iter().map(Url::origin).collect();
        let again = request.clone();
        let (items, next) = client.ask(request, move |body| {
            let (items, next) = read(body)?;
            let next = next.map(|next| following(&url, &next, &endpoints));
            Ok((items, next.transpose()?))
        })?;
        self.spent += started.elapsed();
        if next.as_ref().is_some_and(|next| self.seen.contains(next)) {
            let problem = "its nextLink leads to a page that came before";
            return Err(again.bad_answer(problem.to_owned()));
        }
        self.listed += items.len();
        if self.listed > MAX_LISTED {
            return Err(again.bad_answer(format!("the listing has more than {MAX_LISTED} entries")));
        }
        self.next = next;
        Ok(Some(items))
    }

    /// All that is left of the listing.
    pub(crate) fn all<T: Send + 'static>(
        mut self,
        client: &Client,
        operation: &'static str,
        read: fn(&[u8]) -> Result<Page<T>, String>,
    ) -> Result<Vec<T>, Error> {
        let mut all = Vec::new();
        while let Some(more) = self.next(client, operation, read)? {
            all.extend(more);
        }
        Ok(all)
    }
}

/// The address of the page after the one at `url`. The vault's other `endpoints` may have answered,
/// with their own.
fn following(url: &Url, next: &str, endpoints: &[Origin]) -> Result<Url, String> {
    let next = url
        .join(next)
        .map_err(|error| format!("its nextLink is not a URL ({error})"))?;
    if next.origin() != url.origin() && !endpoints.contains(&next.origin()) {
        return Err("its nextLink leads to another host".to_owned());
    }
    Ok(at(url, &next))
}
