//! Text from outside, made fit to show.
//!
//! Whoever answers may be hostile, or repeat what was sent to it. Shown as it is, its text moves
//! the cursor of a terminal, makes lines of its own in a log, reverses what a person reads, tells a
//! token, or crowds out all else.

use std::borrow::Cow;
use std::fmt::{self, Write as _};
use std::hash::{Hash, Hasher};

use serde_core::{Deserialize, Deserializer, Serialize, Serializer};

use crate::secret::without_secrets;

/// The most that is shown of one text, in bytes.
const LONGEST: usize = 400;

/// Text from the service, or from another program. Its own form is for comparing and reading only.
/// What is shown of it is settled when it comes: a token may be gone by the time that an error is
/// shown.
#[derive(Clone)]
pub struct ForeignText(Kept);

#[derive(Clone)]
enum Kept {
    /// Text without secrets.
    Plain(String),
    /// Text with one. Behind a pointer, so that errors stay small.
    WithSecret(Box<Both>),
}

#[derive(Clone)]
struct Both {
    raw: String,
    /// What is shown instead.
    shown: String,
}

impl ForeignText {
    /// Takes a text.
    pub fn new(text: impl Into<String>) -> Self {
        let raw = text.into();
        let shown = match without_secrets(&raw) {
            Cow::Borrowed(_) => None,
            Cow::Owned(text) => Some(text),
        };
        Self(match shown {
            None => Kept::Plain(raw),
            Some(shown) => Kept::WithSecret(Box::new(Both { raw, shown })),
        })
    }

    /// The text as it came, to be compared or read. It is not fit to be shown: there may be a
    /// secret in it.
    pub fn raw(&self) -> &str {
        match &self.0 {
            Kept::Plain(text) => text,
            Kept::WithSecret(both) => &both.raw,
        }
    }

    /// Whether there was a secret in it when it came, or what is also a part of a name.
    pub(crate) const fn has_secret(&self) -> bool {
        matches!(self.0, Kept::WithSecret(_))
    }
}

impl Default for ForeignText {
    fn default() -> Self {
        Self(Kept::Plain(String::new()))
    }
}

impl PartialEq for ForeignText {
    fn eq(&self, other: &Self) -> bool {
        self.raw() == other.raw()
    }
}

impl Eq for ForeignText {}

impl Hash for ForeignText {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.raw().hash(state);
    }
}

impl fmt::Display for ForeignText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match &self.0 {
            Kept::Plain(text) => text,
            Kept::WithSecret(both) => &both.shown,
        };
        f.write_str(&fit(text, LONGEST))
    }
}

impl<'de> Deserialize<'de> for ForeignText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::new)
    }
}

/// As it is shown.
impl Serialize for ForeignText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl fmt::Debug for ForeignText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

/// A text in one line of so many bytes at most, with nothing in it that a terminal obeys, that
/// changes the direction of writing, or that is a secret of this process. White space becomes
/// blanks; all else that can't be seen is escaped; an ellipsis stands for what is cut.
pub fn fit(text: &str, longest: usize) -> String {
    // Before anything is cut: nobody would find the beginning of a secret that ends there.
    visible(&without_secrets(text), longest)
}

/// The same of a text that holds no secret, or of a name that isn't one for being a part of it.
pub fn visible(text: &str, longest: usize) -> String {
    let mut is_cut = false;
    let mut shown = String::new();
    // An escape is cut as a whole.
    let mut whole = 0;
    for character in text.trim().chars() {
        whole = shown.len();
        match character {
            '\t' | '\n' | '\r' => shown.push(' '),
            // Those are escaped elsewhere only for the sake of quoting.
            '"' | '\'' | '\\' => shown.push(character),
            // Combining marks, too: a hundred of them cover the lines above.
            other => shown.extend(other.escape_debug()),
        }
        if shown.len() > longest {
            is_cut = true;
            break;
        }
    }
    if is_cut {
        let room = start(&shown, longest.saturating_sub('…'.len_utf8())).len();
        shown.truncate(whole.min(room));
        shown.push('…');
    }
    shown
}

/// JSON in which nothing is hidden: what a person could not see is escaped. What it means stays the
/// same.
pub fn fit_json(json: &str) -> String {
    let mut shown = String::with_capacity(json.len());
    for character in json.chars() {
        match character {
            '\n' | '"' | '\'' | '\\' => shown.push(character),
            other => match other.escape_debug().len() {
                1 => shown.push(other),
                _ => {
                    let mut units = [0; 2];
                    for unit in other.encode_utf16(&mut units) {
                        let _ = write!(shown, "\\u{unit:04x}");
                    }
                }
            },
        }
    }
    shown
}

/// So many bytes of a text, or a few less: no character is cut.
pub(crate) fn start(text: &str, longest: usize) -> &str {
    let mut end = longest.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// What a text shows as: for texts that are not kept.
pub(crate) fn shown<'a>(text: impl Into<Cow<'a, str>>) -> String {
    fit(&text.into(), LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::AccessToken;

    #[test]
    fn what_a_terminal_obeys_or_a_reader_cannot_see_is_escaped() {
        for (text, expected) in [
            (
                "plain 'text' \"é\" 漢字 a\\b",
                "plain 'text' \"é\" 漢字 a\\b",
            ),
            ("a\u{1b}[2J\r\nb\tc", "a\\u{1b}[2J  b c"),
            ("\u{9b}31m\u{7f}\0", "\\u{9b}31m\\u{7f}\\0"),
            (
                "a\u{202e}b\u{2066}c\u{200f}d",
                "a\\u{202e}b\\u{2066}c\\u{200f}d",
            ),
            ("\u{feff}\u{2028}\u{200b}x", "\\u{feff}\\u{2028}\\u{200b}x"),
            ("e\u{301}\u{302}", "e\\u{301}\\u{302}"),
        ] {
            assert_eq!(ForeignText::new(text).to_string(), expected);
        }
    }

    #[test]
    fn it_is_bounded_whatever_it_is_made_of() {
        for character in ["a", "é", "漢", "\u{1b}", "\u{202e}", "\u{10ffff}", "\n."] {
            for count in [1, 50, 399, 400, 401, 100_000] {
                let shown = ForeignText::new(character.repeat(count)).to_string();
                assert!(
                    shown.len() <= LONGEST,
                    "{character:?} {count}: {}",
                    shown.len()
                );
                assert!(!shown.is_empty());
            }
        }
        assert_eq!(fit("abcdefgh", 6), "abc…");
    }

    #[test]
    fn a_token_is_not_shown_and_neither_are_its_parts() {
        let text = "an-opaque-token.with-some-parts.c2lnbmF0dXJlLW9mLWl0";
        let token = AccessToken::new(text).unwrap();
        let echo = format!("Bearer {text} or {}", &text[16..]);
        let shown = ForeignText::new(&echo);
        drop(token);
        assert_eq!(shown.to_string(), "Bearer … or …");
        assert_eq!(format!("{shown:?}"), "\"Bearer … or …\"");
        assert_eq!(shown.raw(), echo);
        assert_eq!(shown, ForeignText::new(&echo));
        assert_eq!(ForeignText::new(&echo).to_string(), echo);
    }

    #[test]
    fn a_secret_that_ends_behind_what_is_shown_is_not_shown_in_part() {
        let _secret = AccessToken::new("0123456789abcdefghijklmnopqrstuvwxyz").unwrap();
        for blanks in [LONGEST - 9, LONGEST - 7, 1 << 16] {
            for before in ["x".repeat(blanks), " ".repeat(blanks)] {
                let text = format!("{before}0123456789abcdefghijklmnopqrstuvwxyz.");
                for shown in [fit(&text, LONGEST), ForeignText::new(&*text).to_string()] {
                    assert!(!shown.contains('0'), "{shown}");
                }
            }
        }
    }

    #[test]
    fn json_means_the_same_and_has_nothing_hidden() {
        let value = serde_json::json!({ "kid": "a\u{1b}\u{9b}\u{202e}\u{10ffff}'\"\\é" });
        let shown = fit_json(&format!("{value:#}"));
        assert_eq!(
            serde_json::from_str::<serde_json::Value>(&shown).unwrap(),
            value
        );
        assert!(
            !shown.contains(['\u{9b}', '\u{202e}', '\u{10ffff}']),
            "{shown}"
        );
    }
}
