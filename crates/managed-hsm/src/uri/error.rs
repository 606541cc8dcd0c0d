//! Why the text of a URI, or of a name in one, was refused.

/// Why a key URI was refused: the URI, the part at fault, and the form that is expected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid key URI '{uri}': {problem}")]
pub struct UriError {
    uri: String,
    problem: String,
}

impl UriError {
    pub(super) fn new(uri: &str, problem: impl Into<String>) -> Self {
        Self {
            uri: printable(uri),
            problem: problem.into(),
        }
    }
}

/// Text from outside, fit for an error message: one line, of bounded length.
pub(super) fn printable(text: &str) -> String {
    const LIMIT: usize = 160;
    let mut shown: String = text
        .chars()
        .take(LIMIT)
        .flat_map(char::escape_debug)
        .collect();
    if text.chars().nth(LIMIT).is_some() {
        shown.push('…');
    }
    shown
}
