//! The functions that an expression names: one that there is not is told before anything is done.

use jmespath::ast::Ast;
use jmespath::{DEFAULT_RUNTIME, Runtime};

/// The first function that an expression names and that there is not, with its place.
pub(super) fn unknown(ast: &Ast) -> Option<(&str, usize)> {
    unknown_of(&DEFAULT_RUNTIME, ast)
}

fn unknown_of<'a>(known: &Runtime, ast: &'a Ast) -> Option<(&'a str, usize)> {
    let of = |ast: &'a Ast| unknown_of(known, ast);
    match ast {
        Ast::Function { name, offset, .. } if known.get_function(name).is_none() => {
            Some((name, *offset))
        }
        Ast::Function { args: all, .. } | Ast::MultiList { elements: all, .. } => {
            all.iter().find_map(of)
        }
        Ast::MultiHash { elements, .. } => elements.iter().find_map(|pair| of(&pair.value)),
        Ast::Subexpr { lhs, rhs, .. }
        | Ast::Comparison { lhs, rhs, .. }
        | Ast::Projection { lhs, rhs, .. }
        | Ast::And { lhs, rhs, .. }
        | Ast::Or { lhs, rhs, .. }
        | Ast::Condition {
            predicate: lhs,
            then: rhs,
            ..
        } => of(lhs).or_else(|| of(rhs)),
        Ast::Expref { ast: node, .. }
        | Ast::Flatten { node, .. }
        | Ast::Not { node, .. }
        | Ast::ObjectValues { node, .. } => of(node),
        Ast::Field { .. }
        | Ast::Identity { .. }
        | Ast::Index { .. }
        | Ast::Literal { .. }
        | Ast::Slice { .. } => None,
    }
}
