//! The functions that an expression names: one that there is not is told before anything is done.

use jmespath::ast::Ast;
use jmespath::{DEFAULT_RUNTIME, Runtime};

use super::parts;

/// The first function that an expression names and that there is not, with its place.
pub(super) fn unknown(ast: &Ast) -> Option<(&str, usize)> {
    unknown_of(&DEFAULT_RUNTIME, ast)
}

fn unknown_of<'a>(known: &Runtime, ast: &'a Ast) -> Option<(&'a str, usize)> {
    match ast {
        Ast::Function { name, offset, .. } if known.get_function(name).is_none() => {
            Some((name, *offset))
        }
        ast => parts(ast)
            .into_iter()
            .find_map(|part| unknown_of(known, part)),
    }
}
