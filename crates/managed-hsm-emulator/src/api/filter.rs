//! `$filter` of lists, as far as clients use it: terms that are joined by `and`.

use super::failure::Failure;
use super::unconfirmed;

/// What an entry has to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Term {
    /// A function without arguments, such as `atScope()`; in lower case, without its brackets.
    Function(String),
    /// A member, in lower case, and what it equals.
    Equals(String, String),
}

/// Reads a filter; none has no terms.
pub(super) fn terms(filter: Option<&str>) -> Result<Vec<Term>, Failure> {
    let text = filter.unwrap_or_default().trim();
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let words: Vec<&str> = text.split_whitespace().collect();
    let terms = words.split(|word| word.eq_ignore_ascii_case("and"));
    let terms: Option<Vec<Term>> = terms.map(term).collect();
    terms.ok_or_else(|| unconfirmed::filter(text))
}

fn term(words: &[&str]) -> Option<Term> {
    match words {
        [function] => {
            let name = function.strip_suffix("()")?;
            Some(Term::Function(name.to_ascii_lowercase()))
        }
        [member, operator, value @ ..] if operator.eq_ignore_ascii_case("eq") => {
            let value = value.join(" ");
            let value = value
                .strip_prefix('\'')
                .and_then(|value| value.strip_suffix('\''))
                .unwrap_or(&value);
            Some(Term::Equals(member.to_ascii_lowercase(), value.to_owned()))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_are_functions_and_equalities() {
        let equals = |member: &str, value: &str| Term::Equals(member.to_owned(), value.to_owned());
        let at_scope = Term::Function("atscope".to_owned());
        for (text, expected) in [
            ("", Some(vec![])),
            ("atScope()", Some(vec![at_scope.clone()])),
            (
                "principalId eq 'a-b'",
                Some(vec![equals("principalid", "a-b")]),
            ),
            (
                "roleName eq 'My role'",
                Some(vec![equals("rolename", "My role")]),
            ),
            (
                "atScope() AND principalId eq a",
                Some(vec![at_scope, equals("principalid", "a")]),
            ),
            ("atScope", None),
            ("principalId ne 'a'", None),
            ("atScope() and", None),
        ] {
            assert_eq!(terms(Some(text)).ok(), expected, "{text}");
        }
    }
}
