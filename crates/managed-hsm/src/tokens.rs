//! The life of a token: fetched once, renewed ahead of its end, dropped when the service refuses
//! it.
//!
//! No request waits for a token while an old one lives: it is renewed in the background at half of
//! its life, by one renewal at a time. While renewals fail the old token serves on.

use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant, SystemTime};

use arc_swap::ArcSwapOption;
use http::HeaderValue;
use tokio::sync::{Mutex, Notify};

use crate::cloud::Cloud;
use crate::credential::chain::Chain;
use crate::credential::kind::CredentialKind;
use crate::credential::source::TokenRequest;
use crate::descriptors::above_standard_only;
use crate::error::Error;
use crate::event_loop;
use crate::io::IoThread;
use crate::metrics::Fetching;
use crate::token::AccessToken;

/// How soon a token that was just fetched is fetched again at the earliest.
const MIN_RENEWAL: Duration = Duration::from_secs(1);
/// How long to wait at most between renewals, and after one that failed.
const MAX_RENEWAL: Duration = Duration::from_secs(12 * 3600);
const MAX_RETRY: Duration = Duration::from_secs(60);
/// For how long requests that waited for the same token share its failure.
const FAILURE_LIFE: Duration = Duration::from_secs(1);
/// For how long a token that replaced a refused one, and is refused as well for the same reason, is
/// not replaced again; and how many in a row are replaced within that time, each for another
/// reason.
const REPLACEMENT_LIFE: Duration = Duration::from_secs(10);
const MOST_REPLACEMENTS: usize = 4;
/// How often a token file is looked at.
const FILE_CHECK: Duration = Duration::from_secs(1);

/// Tokens for one service of one cloud.
pub(crate) struct Tokens {
    chain: Arc<Chain>,
    audience: String,
    cloud: Cloud,
    /// How long a renewal may take.
    deadline: Duration,
    current: ArcSwapOption<Held>,
    /// Tells renewals that another token is there.
    replaced: Arc<Notify>,
    /// Held by whoever fetches.
    fetching: Mutex<Option<(Instant, Error)>>,
}

/// A token that is in use.
pub(crate) struct Held {
    pub(crate) token: AccessToken,
    pub(crate) header: HeaderValue,
    pub(crate) kind: CredentialKind,
    fetched: Instant,
    /// Why those before it were refused, one after the other: the claims that they lacked, if the
    /// service told any.
    refusals: Vec<Option<String>>,
}

impl Held {
    pub(crate) fn new(kind: CredentialKind, token: AccessToken) -> Result<Self, Error> {
        let bearer = token.bearer();
        let mut header = HeaderValue::from_str(&bearer).map_err(|_| Error::Credential {
            credential: kind,
            problem: "its token has characters that can't be in a header".to_owned(),
        })?;
        header.set_sensitive(true);
        Ok(Self {
            token,
            header,
            kind,
            fetched: Instant::now(),
            refusals: Vec::new(),
        })
    }

    /// How long it will be good for; none: nobody knows.
    fn remaining(&self) -> Option<Duration> {
        let at = self.token.expires_at()?;
        Some(at.duration_since(SystemTime::now()).unwrap_or_default())
    }

    fn is_alive(&self) -> bool {
        self.remaining().is_none_or(|left| !left.is_zero())
    }

    /// The same token, looked at just now.
    fn checked(&self) -> Self {
        Self {
            token: self.token.clone(),
            header: self.header.clone(),
            kind: self.kind,
            fetched: Instant::now(),
            refusals: self.refusals.clone(),
        }
    }

    /// Why tokens were refused, this one the last. None: it isn't the token that is wrong, and
    /// another would be refused as well.
    fn refused_for(&self, claims: Option<&str>) -> Option<Vec<Option<String>>> {
        let claims = claims.map(str::to_owned);
        if self.fetched.elapsed() >= REPLACEMENT_LIFE {
            return Some(vec![claims]);
        }
        let mut refusals = self.refusals.clone();
        let is_hopeless = match claims {
            None => !refusals.is_empty(),
            Some(_) => refusals.contains(&claims) || refusals.len() >= MOST_REPLACEMENTS,
        };
        refusals.push(claims);
        (!is_hopeless).then_some(refusals)
    }

    /// Whether its file is to be looked at again.
    fn is_to_be_checked(&self) -> bool {
        self.kind == CredentialKind::TokenFile && self.fetched.elapsed() >= FILE_CHECK
    }
}

impl Tokens {
    pub(crate) fn new(
        chain: Arc<Chain>,
        audience: String,
        cloud: Cloud,
        deadline: Duration,
    ) -> Arc<Self> {
        Arc::new(Self {
            chain,
            audience,
            cloud,
            deadline,
            current: ArcSwapOption::empty(),
            replaced: Arc::default(),
            fetching: Mutex::new(None),
        })
    }

    /// A token that is good now. Asks nobody while the last one is.
    pub(crate) async fn current(self: &Arc<Self>) -> Result<Arc<Held>, Error> {
        if let Some(held) = self.alive() {
            return Ok(held);
        }
        let mut failure = self.fetching.lock().await;
        if let Some(held) = self.alive() {
            return Ok(held);
        }
        if let Some(error) = recent(&failure) {
            return Err(error);
        }
        let fetched = match (self.fetch(None, Vec::new()).await, self.current.load_full()) {
            // A file that is just being replaced.
            (Err(error), Some(held)) if held.is_alive() => {
                log::warn!("the last token serves on: {error}");
                let held = Arc::new(held.checked());
                self.current.store(Some(Arc::clone(&held)));
                Ok(held)
            }
            (fetched, _) => fetched,
        };
        *failure = failure_of(&fetched);
        fetched
    }

    /// Another token than `refused`, which the service did not accept, with the claims that it
    /// wants. None: there is none, or it would not be accepted either.
    pub(crate) async fn replace(
        self: &Arc<Self>,
        refused: &Arc<Held>,
        claims: Option<&str>,
    ) -> Result<Option<Arc<Held>>, Error> {
        if !refused.kind.is_renewable() {
            return Ok(None);
        }
        let mut failure = self.fetching.lock().await;
        // Another request may have had the same answer first, and got another token or the same.
        let known = match self.current.load_full() {
            Some(held) if held.token.is_same(&refused.token) => held,
            Some(held) if held.is_alive() => return Ok(Some(held)),
            _ => Arc::clone(refused),
        };
        // Each request would fetch another.
        let claims = claims.filter(|_| refused.kind.heeds_claims());
        let Some(refusals) = known.refused_for(claims) else {
            return Ok(None);
        };
        if let Some(error) = recent(&failure) {
            return Err(error);
        }
        // Until there is another the refused one stays: it may be good for what others ask.
        let fetched = self.fetch(claims, refusals).await;
        *failure = failure_of(&fetched);
        let fetched = fetched?;
        // The same token would get the same answer.
        let is_other = claims.is_some() || !fetched.token.is_same(&refused.token);
        Ok(is_other.then_some(fetched))
    }

    /// The last token, while it is good.
    pub(crate) fn alive(&self) -> Option<Arc<Held>> {
        let held = self.current.load_full()?;
        (held.is_alive() && !held.is_to_be_checked()).then_some(held)
    }

    /// Whom they are for.
    pub(crate) fn audience(&self) -> &str {
        &self.audience
    }

    /// Whether there is a token that is good, as far as is known here.
    pub(crate) fn is_there(&self) -> bool {
        self.current
            .load()
            .as_ref()
            .is_some_and(|held| held.is_alive())
    }

    /// Fetches a token and keeps it. Only one is under way at a time: the caller holds `fetching`.
    async fn fetch(
        self: &Arc<Self>,
        claims: Option<&str>,
        refusals: Vec<Option<String>>,
    ) -> Result<Arc<Held>, Error> {
        let counted = Fetching::begin(&self.audience);
        let before = self.current.load_full();
        let fetched = self.fetch_uncounted(claims, refusals).await;
        match (&fetched, before) {
            // A file that has not changed, say.
            (Ok(held), Some(before)) if held.token.is_same(&before.token) => counted.forget(),
            (fetched, _) => {
                let outcome = fetched.as_ref();
                counted.end(outcome.map(|held| held.token.expires_at()));
            }
        }
        fetched
    }

    async fn fetch_uncounted(
        self: &Arc<Self>,
        claims: Option<&str>,
        refusals: Vec<Option<String>>,
    ) -> Result<Arc<Held>, Error> {
        let request = TokenRequest {
            audience: &self.audience,
            cloud: self.cloud,
            claims,
        };
        // In a place of its own: it is large, and each request that needs no token would move it.
        let token = Box::pin(self.chain.token(&request));
        let (kind, token) = above_standard_only(token).await?;
        let mut held = Held::new(kind, token)?;
        held.refusals = refusals;
        if !held.is_alive() {
            let at = held
                .token
                .expires_at()
                .map(|at| humantime::format_rfc3339_seconds(at.max(SystemTime::UNIX_EPOCH)));
            return Err(Error::TokenExpired {
                credential: kind,
                at: at.map_or_else(String::new, |at| at.to_string()),
                remedy: kind.remedy_of_expiry(&self.audience),
            });
        }
        let held = Arc::new(held);
        self.current.store(Some(Arc::clone(&held)));
        self.replaced.notify_waiters();
        if kind.is_renewable() && kind != CredentialKind::TokenFile {
            let replaced = Arc::clone(&self.replaced);
            spawn_renewal(Arc::downgrade(self), Arc::clone(&held), replaced);
        }
        Ok(held)
    }
}

/// How a token could not be had just now, to be shared.
fn failure_of(fetched: &Result<Arc<Held>, Error>) -> Option<(Instant, Error)> {
    let error = fetched.as_ref().err()?;
    Some((Instant::now(), error.clone()))
}

/// A failure that requests share.
fn recent(failure: &Option<(Instant, Error)>) -> Option<Error> {
    let (at, error) = failure.as_ref()?;
    (at.elapsed() < FAILURE_LIFE).then(|| error.clone())
}

/// Its own function, since a renewal starts the next one: the compiler can't look through the
/// circle.
fn spawn_renewal(tokens: Weak<Tokens>, held: Arc<Held>, replaced: Arc<Notify>) {
    let renewal: Pin<Box<dyn Future<Output = ()> + Send>> = Box::pin(renew(tokens, held, replaced));
    match IoThread::current() {
        Ok(thread) => thread.spawn(|| renewal),
        // Then whoever needs the next token fetches it.
        Err(error) => log::warn!("tokens are not renewed in the background: {error}"),
    }
}

/// Waits until half of a token's life is over, and fetches the next one; again and again while that
/// fails and the token lives.
async fn renew(tokens: Weak<Tokens>, held: Arc<Held>, replaced: Arc<Notify>) {
    let Some(remaining) = held.remaining() else {
        return;
    };
    let mut pause = (remaining / 2).clamp(MIN_RENEWAL, MAX_RENEWAL);
    loop {
        // Woken by another token, it ends at once.
        let _ = event_loop::timeout(pause, replaced.notified()).await;
        // Nobody needs tokens any more, or this one was replaced.
        let Some(tokens) = tokens.upgrade() else {
            return;
        };
        let mut failure = tokens.fetching.lock().await;
        let is_current = |current: &Arc<Held>| Arc::ptr_eq(current, &held);
        if !tokens.current.load_full().as_ref().is_some_and(is_current) {
            return;
        }
        let fetched = event_loop::timeout(tokens.deadline, tokens.fetch(None, Vec::new())).await;
        let problem = match fetched {
            Ok(Ok(_)) => {
                *failure = None;
                log::debug!("renewed the token for {}", tokens.audience);
                return;
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("no answer within {} s", tokens.deadline.as_secs_f32()),
        };
        let remaining = held.remaining().unwrap_or_default();
        log::warn!(
            "the token for {} was not renewed, and serves for another {} s: {problem}",
            tokens.audience,
            remaining.as_secs()
        );
        if remaining.is_zero() {
            return;
        }
        pause = (remaining / 4).clamp(MIN_RENEWAL, MAX_RETRY);
    }
}
