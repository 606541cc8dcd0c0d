//! Text that is never shown, not even where somebody else repeats it.

use std::borrow::Cow;
use std::fmt;
use std::sync::{Arc, LazyLock, Weak};

use arc_swap::ArcSwap;
use zeroize::Zeroizing;

/// A shorter text is no secret, and would be found in every sentence.
const SHORTEST: usize = 6;
/// The shortest part of a token that is looked for by itself.
const SHORTEST_PART: usize = 16;

/// All secrets that there are in this process. No lock: a fork may come at any time.
static KNOWN: LazyLock<ArcSwap<Vec<Weak<Zeroizing<String>>>>> = LazyLock::new(ArcSwap::default);

/// A number with the most significant byte first, or a key, which is wiped when it goes.
pub type SecretBytes = Zeroizing<Vec<u8>>;

/// A password, a token or the like. It is wiped from memory when dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Arc<Zeroizing<String>>);

impl Secret {
    /// Takes a secret.
    pub fn new(text: String) -> Self {
        let secret = Arc::new(Zeroizing::new(text));
        if secret.len() >= SHORTEST {
            KNOWN.rcu(|known| {
                let others = known.iter().filter(|other| other.strong_count() > 0);
                let mut all: Vec<_> = others.cloned().collect();
                all.push(Arc::downgrade(&secret));
                all
            });
        }
        Self(secret)
    }

    /// The secret itself.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// A text with "…" in place of each secret of this process, and of each long part of a token (RFC
/// 7519).
pub fn without_secrets(text: &str) -> Cow<'_, str> {
    let mut text = Cow::Borrowed(text);
    let known = KNOWN.load();
    for secret in known.iter().filter_map(Weak::upgrade) {
        let parts = secret.split('.').filter(|part| part.len() >= SHORTEST_PART);
        for part in std::iter::once(secret.as_str()).chain(parts) {
            if text.contains(part) {
                text = Cow::Owned(text.replace(part, "…"));
            }
        }
    }
    text
}
