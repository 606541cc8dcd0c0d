//! `--query`: what of the output is wanted, as a JMESPath expression.

mod functions;
pub(crate) mod note;

use jmespath::ast::Ast;
use jmespath::{ErrorReason, Expression, JmespathError};
use serde_json::Value;

use crate::output::one_line;

/// An expression that is well-formed.
pub(crate) type Query = Expression<'static>;

/// What makes levels in an expression, each of which takes stack.
const OPERATORS: [char; 7] = ['(', '[', '{', '!', '.', '|', '&'];
/// More than anybody types.
const MOST: usize = 100;

/// Reads an expression. What is wrong with one is told with the place.
pub(crate) fn query(text: &str) -> Result<Query, String> {
    if text.matches(OPERATORS).count() > MOST {
        return Err(format!("it has more than {MOST} operators"));
    }
    let compiled = jmespath::compile(text).map_err(|error| shown(&error))?;
    match functions::unknown(compiled.as_ast()) {
        None => Ok(compiled),
        Some((name, offset)) => Err(placed(
            text,
            offset,
            &format!("there is no function '{name}'"),
        )),
    }
}

/// What an expression finds in a value. The error says why it can't be applied to this one.
pub(crate) fn find(query: &Query, value: &Value) -> Result<Value, String> {
    let failed = |problem: &str| format!("--query '{}': {problem}", one_line(query.as_str()));
    let found = query
        .search(value)
        .map_err(|error| failed(&shown(&error)))?;
    serde_json::to_value(&*found)
        .map_err(|error| failed(&format!("what it finds has no form: {error}")))
}

/// The parts that a part of an expression is made of, in their order.
fn parts(of: &Ast) -> Vec<&Ast> {
    match of {
        Ast::Function { args: all, .. } | Ast::MultiList { elements: all, .. } => {
            all.iter().collect()
        }
        Ast::MultiHash { elements, .. } => elements.iter().map(|pair| &pair.value).collect(),
        Ast::Subexpr { lhs, rhs, .. }
        | Ast::Comparison { lhs, rhs, .. }
        | Ast::Projection { lhs, rhs, .. }
        | Ast::And { lhs, rhs, .. }
        | Ast::Or { lhs, rhs, .. }
        | Ast::Condition {
            predicate: lhs,
            then: rhs,
            ..
        } => vec![lhs, rhs],
        Ast::Expref { ast: node, .. }
        | Ast::Flatten { node, .. }
        | Ast::Not { node, .. }
        | Ast::ObjectValues { node, .. } => vec![node],
        Ast::Field { .. }
        | Ast::Identity { .. }
        | Ast::Index { .. }
        | Ast::Literal { .. }
        | Ast::Slice { .. } => Vec::new(),
    }
}

/// An error in one line, with the place in the expression.
fn shown(error: &JmespathError) -> String {
    let reason = match &error.reason {
        ErrorReason::Parse(reason) => reason.clone(),
        ErrorReason::Runtime(reason) => reason.to_string(),
    };
    placed(&error.expression, error.offset, &reason)
}

fn placed(expression: &str, offset: usize, reason: &str) -> String {
    let rest: String = expression.chars().skip(offset).collect();
    let place = match rest.trim().is_empty() {
        true => "at its end".to_owned(),
        false => format!("at character {}, '{}'", offset + 1, one_line(&rest)),
    };
    let reason = one_line(reason.trim_end_matches('.'));
    format!("{place}: {reason} (JMESPath, as in az --query)")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_asked_for_is_found() {
        let keys = json!([
            {"name": "web", "enabled": true, "tags": {"owner": "me"}},
            {"name": "old", "enabled": false, "tags": {}},
        ]);
        for (text, expected) in [
            ("[].name", json!(["web", "old"])),
            ("[?enabled].name | [0]", json!("web")),
            (
                "[].{n: name, o: tags.owner}",
                json!([{"n": "web", "o": "me"}, {"n": "old", "o": null}]),
            ),
            ("length(@)", json!(2)),
            ("[0].nothing", json!(null)),
            ("sort_by(@, &name)[].name", json!(["old", "web"])),
        ] {
            assert_eq!(
                find(&query(text).unwrap(), &keys).unwrap(),
                expected,
                "{text}"
            );
        }
    }

    #[test]
    fn an_expression_is_as_deep_as_there_is_stack_for() {
        for (open, inner, close) in [("(", "@", ")"), ("!", "@", ""), ("a.", "b", "")] {
            let text = open.repeat(MOST) + inner + &close.repeat(MOST);
            assert!(query(&text).is_ok(), "{open}");
            let told = query(&open.repeat(60_000)).unwrap_err();
            assert!(told.contains("more than 100 operators"), "{told}");
        }
    }

    #[test]
    fn an_expression_that_is_wrong_is_told_with_its_place() {
        for (text, place) in [
            ("[?name=='web'", "at its end"),
            ("keys[}", "at character 6, '}'"),
            ("a.", "at its end"),
        ] {
            let told = query(text).unwrap_err();
            assert!(told.starts_with(place), "{text}: {told}");
        }
        let text = "length(`1`)";
        let told = find(&query(text).unwrap(), &json!([])).unwrap_err();
        assert!(
            told.contains("at character 7") && told.contains(text),
            "{told}"
        );
    }

    #[test]
    fn a_function_that_there_is_not_is_told_before_anything_is_done() {
        for (text, place) in [
            ("nothing(@)", "at character 8, '(@)'"),
            ("[?a && nothing(b)].c | [0]", "at character 15, '(b)].c"),
            ("{a: length(b), c: sort_by(@, &nothing(d))}", "at character"),
            ("a.*[][?b > nothing(c)]", "at character"),
            ("!(a || [b, nothing(@)])", "at character"),
        ] {
            let told = query(text).unwrap_err();
            let words = "there is no function 'nothing'";
            assert!(told.starts_with(place) && told.contains(words), "{told}");
        }
    }
}
