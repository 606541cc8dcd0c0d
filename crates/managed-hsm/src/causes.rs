//! The text of an error with its causes.

use std::error::Error as StdError;
use std::io;

use crate::foreign::shown;

/// An error and its causes, outermost first.
pub(crate) fn sources<'a>(
    error: &'a (dyn StdError + 'static),
) -> Vec<&'a (dyn StdError + 'static)> {
    let mut all = vec![error];
    let mut last = error;
    while let Some(next) = within(last).or_else(|| last.source()) {
        all.push(next);
        last = next;
    }
    all
}

/// The error that one of input and output was made of. It is not among its sources.
fn within<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a (dyn StdError + 'static)> {
    let inner = error.downcast_ref::<io::Error>()?.get_ref()?;
    Some(inner)
}

/// Whether an error is, or is caused by, one of input and output of one of these kinds.
pub(crate) fn is_by_io(error: &(dyn StdError + 'static), kinds: &[io::ErrorKind]) -> bool {
    sources(error).into_iter().any(|source| {
        let error = source.downcast_ref::<io::Error>();
        error.is_some_and(|error| kinds.contains(&error.kind()))
    })
}

/// An error with all its causes. A cause that only repeats the last is left out.
pub(crate) fn causes(error: &(dyn StdError + 'static)) -> String {
    chained(sources(error).into_iter().map(ToString::to_string))
}

/// Texts in a row, without those that only repeat an earlier one. They may hold what a server, its
/// certificate or a proxy says.
pub(crate) fn chained(all: impl Iterator<Item = String>) -> String {
    let mut texts: Vec<String> = Vec::new();
    for text in all {
        if !texts.iter().any(|earlier| earlier.contains(&text)) {
            texts.push(text);
        }
    }
    shown(texts.join(": "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_within_another_is_found_and_told_once() {
        let inner = io::Error::from(io::ErrorKind::ConnectionReset);
        let text = inner.to_string();
        let outer = io::Error::other(io::Error::other(inner));
        assert!(is_by_io(&outer, &[io::ErrorKind::ConnectionReset]));
        assert!(!is_by_io(&outer, &[io::ErrorKind::ConnectionRefused]));
        assert_eq!(causes(&outer), text);
    }
}
