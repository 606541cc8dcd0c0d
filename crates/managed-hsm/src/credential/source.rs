//! What a source of tokens is asked for, and why it gives none.

use crate::cloud::Cloud;
use crate::settings::setting::Setting;

/// What a token is asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TokenRequest<'a> {
    /// The service: `https://managedhsm.azure.net`.
    pub(crate) audience: &'a str,
    pub(crate) cloud: Cloud,
    /// What the service wants to be in the token besides, as JSON.
    pub(crate) claims: Option<&'a str>,
}

impl TokenRequest<'_> {
    /// The same as OAuth has it.
    pub(crate) fn scope(&self) -> String {
        format!("{}/.default", self.audience)
    }
}

/// Why a source gave no token. The texts hold no secret.
#[derive(Clone, Debug)]
pub(crate) enum Failure {
    /// It lacks a setting.
    Unset(&'static Setting),
    /// It is not there.
    Unavailable(String),
    /// It is there, and said no.
    Refused(String),
}
