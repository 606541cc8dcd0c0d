//! Text that is never shown, not even where somebody else repeats it.

use std::borrow::Cow;
use std::fmt;
use std::iter;
use std::ops::Range;
use std::sync::{Arc, LazyLock, Weak};

use arc_swap::ArcSwap;
use url::form_urlencoded::byte_serialize;
use zeroize::Zeroizing;

use crate::foreign::start;

/// A shorter text is no secret, and would be found in every sentence.
const SHORTEST: usize = 6;
/// How much of a secret, in bytes, is looked for by itself. What others cut out of one is found by
/// such a piece, if it is its beginning or its end, or twice as long. Less would be found in names.
const PIECE: usize = 16;
/// What a JSON Web Token begins with, and how long its first part is at least.
pub(crate) const JWT: &str = "eyJ";
const SHORTEST_HEADER: usize = 16;

/// All secrets that there are in this process. No lock: a fork may come at any time.
static KNOWN: LazyLock<ArcSwap<Vec<Weak<Forms>>>> = LazyLock::new(ArcSwap::default);

/// A number with the most significant byte first, or a key, which is wiped when it goes.
pub type SecretBytes = Zeroizing<Vec<u8>>;

/// A password, a token or the like. It is wiped from memory when dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Arc<Forms>);

/// A secret as it is, and in the other forms in which requests have it.
#[derive(PartialEq, Eq)]
struct Forms {
    text: Zeroizing<String>,
    encoded: Vec<Zeroizing<String>>,
}

impl Secret {
    /// Takes a secret.
    pub fn new(text: String) -> Self {
        let mut encoded = vec![of_a_form(&text), of_json(&text)];
        encoded.retain(|form| **form != text);
        let text = Zeroizing::new(text);
        let secret = Arc::new(Forms { text, encoded });
        if secret.text.len() >= SHORTEST {
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
        &self.0.text
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// A text as a value of a form (`application/x-www-form-urlencoded`).
fn of_a_form(text: &str) -> Zeroizing<String> {
    let mut form = Zeroizing::new(String::with_capacity(3 * text.len()));
    form.extend(byte_serialize(text.as_bytes()));
    form
}

/// A text as it stands between the quotation marks of JSON.
fn of_json(text: &str) -> Zeroizing<String> {
    let mut json = Zeroizing::new(String::with_capacity(2 * text.len()));
    for character in text.chars() {
        match character {
            '"' | '\\' => json.extend(['\\', character]),
            other => json.push(other),
        }
    }
    json
}

/// A text with "…" in place of each secret of this process, in any form in which it is sent, of
/// what was cut out of one, and of whatever looks like a JSON Web Token (RFC 7519).
pub fn without_secrets(text: &str) -> Cow<'_, str> {
    let mut hidden: Vec<Range<usize>> = tokens(text).collect();
    for secret in KNOWN.load().iter().filter_map(Weak::upgrade) {
        for form in iter::once(&secret.text).chain(&secret.encoded) {
            hide(form, text, &mut hidden);
        }
    }
    if hidden.is_empty() {
        return Cow::Borrowed(text);
    }
    hidden.sort_unstable_by_key(|range| range.start);
    let (mut shown, mut end) = (String::with_capacity(text.len()), 0);
    for range in hidden {
        // Where one begins within another, or at its end, there is an ellipsis already.
        if range.start > end || shown.is_empty() {
            shown.push_str(&text[end..range.start]);
            shown.push('…');
        }
        end = end.max(range.end);
    }
    shown.push_str(&text[end..]);
    Cow::Owned(shown)
}

/// Whether a text has a whole secret of this process in it.
pub fn repeats_secret(text: &str) -> bool {
    let known = KNOWN.load();
    let mut known = known.iter().filter_map(Weak::upgrade);
    known.any(|secret| text.contains(&**secret.text))
}

/// Notes where a text has a secret, or what was cut out of it.
fn hide(secret: &str, text: &str, hidden: &mut Vec<Range<usize>>) {
    if secret.starts_with(JWT) {
        // Smaller pieces than its parts are found in much that is no secret: it is base64 of JSON.
        let parts = secret.split('.').filter(|part| part.len() >= PIECE);
        let all = iter::once(secret).chain(parts);
        // To look for a long text costs time also where there is no room for it.
        for part in all.filter(|part| part.len() <= text.len()) {
            let found = text.match_indices(part);
            hidden.extend(found.map(|(at, part)| at..at + part.len()));
        }
        return;
    }
    let len = PIECE.min(secret.len());
    let last = secret.len() - len;
    for at in (0..last).step_by(len).chain([last]) {
        let at = start(secret, at).len();
        for (found, _) in text.match_indices(start(&secret[at..], len)) {
            // With all that stands around the piece in both.
            let before = common(secret[..at].chars().rev(), text[..found].chars().rev());
            let after = common(secret[at..].chars(), text[found..].chars());
            hidden.push(found - before..found + after);
        }
    }
}

/// For how many bytes two texts are the same.
fn common(one: impl Iterator<Item = char>, other: impl Iterator<Item = char>) -> usize {
    let both = iter::zip(one, other).take_while(|(one, other)| one == other);
    both.map(|(character, _)| character.len_utf8()).sum()
}

/// Where a text has what looks like a JSON Web Token, or the beginning of one with some of its
/// claims. Each byte is looked at once, however many beginnings there are.
fn tokens(text: &str) -> impl Iterator<Item = Range<usize>> {
    let is_of_token = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.".contains(byte);
    let mut end = 0;
    text.as_bytes()
        .chunk_by(move |one, next| is_of_token(one) == is_of_token(next))
        .filter_map(move |run| {
            let start = end;
            end += run.len();
            let run = text[start..end].trim_end_matches('.');
            Some(start + token_start(run)?..start + run.len())
        })
}

/// Where in a text of the characters of tokens one begins.
fn token_start(run: &str) -> Option<usize> {
    let mut parts = run.split_inclusive('.').scan(0, |end, part| {
        let start = *end;
        *end += part.len();
        Some((start, part))
    });
    parts.find_map(|(start, part)| {
        let header = part.strip_suffix('.')?;
        let at = header.find(JWT)?;
        (header.len() - at >= SHORTEST_HEADER).then_some(start + at)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        without_secrets(text).into_owned()
    }

    #[test]
    fn a_secret_is_not_shown_in_any_form_in_which_it_is_sent() {
        for (secret, repeated) in [
            ("TOP~SECRET", "TOP~SECRET"),
            ("TOP~SECRET", "TOP%7ESECRET"),
            ("a+b/c=d e~f", "a%2Bb%2Fc%3Dd+e%7Ef"),
            ("a\"mark\\line", "a\\\"mark\\\\line"),
            ("geheim·ß", "geheim%C2%B7%C3%9F"),
            ("geheim·ß", "geheim·ß"),
        ] {
            let text = format!("client_secret={repeated}&scope=x");
            assert_eq!(shown(&text), text);
            let _known = Secret::new(secret.to_owned());
            assert_eq!(shown(&text), "client_secret=…&scope=x");
        }
    }

    #[test]
    fn what_was_cut_out_of_a_secret_is_not_shown() {
        let secret = "Qm8-Zr4tKx0vLw2pNs6dHj1fCg5bYk9eTa3mUi7o";
        let _known = Secret::new(secret.to_owned());
        for part in [
            &secret[..16],
            &secret[..25],
            &secret[24..],
            &secret[5..36],
            secret,
        ] {
            assert_eq!(shown(&format!("<{part}> <{part}>")), "<…> <…>", "{part}");
        }
        let twice = format!("{secret}{secret}");
        assert_eq!(shown(&twice), "…");
    }

    #[test]
    fn a_character_is_never_cut() {
        let _known = Secret::new("xéxxxxxxxxxxxxxéé".to_owned());
        // The last one begins with the same byte.
        assert_eq!(shown("(xéxxxxxxxxxxxxxéè)"), "(…è)");
    }

    #[test]
    fn data_that_shares_a_piece_with_a_token_stays_whole() {
        let token = "eyJhbGciOiJub25lIn0.eyJpc3MiOiJodHRwczovL3N0cy53aW5kb3dzLm5ldC8ifQ.c2ln";
        let _known = Secret::new(token.to_owned());
        let data = "eyJpc3MiOiJodHRwczovL3NoYXJlZC5hdHRlc3QifQ";
        assert_eq!(shown(data), data);
        let parts = "eyJpc3MiOiJodHRwczovL3N0cy53aW5kb3dzLm5ldC8ifQ";
        assert_eq!(shown(parts), "…");
    }

    #[test]
    fn whatever_looks_like_a_token_is_not_shown() {
        let header = "eyJ0eXAiOiJKV1QiLCJhbGciOiJSUzI1NiJ9";
        for token in [
            format!("{header}.eyJhdWQiOiJ4In0.c2lnbmF0dXJl"),
            format!("{header}.eyJhdWQi"),
        ] {
            assert_eq!(shown(&format!("Bearer {token}, 1.")), "Bearer …, 1.");
            assert_eq!(shown(&token), "…");
        }
        for text in ["eyJ.managedhsm.azure.net", header, "eyJ", "eyJ.", "é.eyJ.é"] {
            assert_eq!(shown(text), text);
        }
        assert_eq!(shown(&format!("é{header}.{header}é{header}.x.")), "é…é….");
        assert_eq!(shown(&format!("a.eyJ.b{header}.c")), "a.eyJ.b…");
    }

    /// Where each beginning of a token costs a look at all that follows, this takes hours.
    #[test]
    fn a_text_of_nothing_but_beginnings_of_tokens_is_looked_at_once() {
        let text = JWT.repeat(1 << 20);
        assert_eq!(shown(&text), text);
        assert_eq!(shown(&format!("{text}.x")), "…");
        let parts = "eyJ.".repeat(1 << 20);
        assert_eq!(shown(&parts), parts);
    }
}
