//! A file with a token, which somebody else renews.

use super::source::Failure;
use crate::files::{self, shown_path};
use crate::settings::credentials::{CredentialSettings, TOKEN_FILE};
use crate::token::AccessToken;

/// Reads the file.
pub(super) fn token(settings: &CredentialSettings) -> Result<AccessToken, Failure> {
    let Some(path) = &settings.token_file else {
        return Err(Failure::Unset(&TOKEN_FILE));
    };
    let refused = |problem: &str| {
        Failure::Refused(format!("the token file '{}' {problem}", shown_path(path)))
    };
    let text = files::read_text(path).map_err(|problem| refused(&problem))?;
    let token = std::str::from_utf8(&text).ok().and_then(AccessToken::new);
    let token = token.ok_or_else(|| refused("does not hold a token and nothing else"))?;
    match token.is_cut() {
        false => Ok(token),
        true => Err(refused("holds the beginning of a token only")),
    }
}
