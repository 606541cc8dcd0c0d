//! The text of an error with its causes.

use std::error::Error as StdError;

use crate::foreign::shown;

/// An error and its causes, outermost first.
pub(crate) fn sources<'a>(
    error: &'a (dyn StdError + 'static),
) -> Vec<&'a (dyn StdError + 'static)> {
    let mut all = vec![error];
    let mut next = error.source();
    while let Some(source) = next {
        all.push(source);
        next = source.source();
    }
    all
}

/// An error with all its causes. A cause that only repeats the last is left out.
pub(crate) fn causes(error: &(dyn StdError + 'static)) -> String {
    chained(sources(error).into_iter().map(ToString::to_string))
}

/// Texts in a row, without those that only repeat an earlier one. They may hold what a server, its certificate or a proxy says.
pub(crate) fn chained(all: impl Iterator<Item = String>) -> String {
    let mut texts: Vec<String> = Vec::new();
    for text in all {
        if !texts.iter().any(|earlier| earlier.contains(&text)) {
            texts.push(text);
        }
    }
    shown(texts.join(": "))
}
