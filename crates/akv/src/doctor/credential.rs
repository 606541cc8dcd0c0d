//! Who logs in, for whom, and until when.

use std::time::{Duration, SystemTime};

use managed_hsm::{AccessToken, CredentialKind, Error, Vault};

use super::network::{Found, SET_CLOCK, UNUSUAL_SKEW};
use super::steps::{Status, Steps};
use crate::output;
use crate::session::Session;
use crate::token::{self, Claims};

/// A token that nobody renews and that ends sooner is worth a warning.
const SOON: Duration = Duration::from_secs(600);

/// The token that requests will have, if it will do.
pub(crate) struct Token {
    pub(crate) principal: String,
}

/// `found`: what the service said of itself.
pub(crate) fn check(
    steps: &mut Steps,
    session: &Session,
    vault: &Vault,
    found: Option<&Found>,
) -> Option<Token> {
    steps.doing("getting an access token");
    match session.client.access_token(vault) {
        Ok((kind, token)) => {
            let tenant = found.and_then(|found| found.tenant.as_deref());
            let judged = judge(steps, session, vault, tenant, kind, &token)?;
            let told_time = found.is_some_and(|found| found.told_time);
            (told_time || clock(steps, &token)).then_some(judged)
        }
        Err(error) => {
            let remedy = remedy(&error);
            steps.add("credential", Status::Failed, error.to_string(), remedy);
            None
        }
    }
}

/// Compares this machine's time with the token's, where the service didn't tell its own. False: it
/// can't be right.
fn clock(steps: &mut Steps, token: &AccessToken) -> bool {
    let Some(since) = Claims::of(token).and_then(|claims| claims.not_before()) else {
        steps.skip("clock", "neither the service nor the token tells a time");
        return true;
    };
    let early = since.duration_since(SystemTime::now()).unwrap_or_default();
    if early <= UNUSUAL_SKEW {
        steps.good(
            "clock",
            "this machine's time is within the token's".to_owned(),
        );
        return true;
    }
    let detail = format!(
        "the token is not good before {}, in {} s by this machine's clock, which is late",
        output::time(since),
        early.as_secs()
    );
    steps.add("clock", Status::Failed, detail, SET_CLOCK);
    false
}

fn remedy(error: &Error) -> String {
    match error {
        Error::NoCredential { .. } => {
            "log in with 'az login', or set up a credential for servers: see 'akv docs authentication'".to_owned()
        }
        Error::TokenExpired { credential, .. } => match credential {
            CredentialKind::AccessToken => {
                "set AZURE_CLI_ACCESS_TOKEN to a new token, or unset it and set up a credential that renews its tokens"
                    .to_owned()
            }
            _ => format!("see to it that {} gives new tokens", credential.name()),
        },
        Error::Credential { credential, .. } => format!(
            "check the settings of {} ('akv docs authentication'), or choose another with AZURE_TOKEN_CREDENTIALS",
            credential.name()
        ),
        Error::Timeout { .. } => {
            "check the way to Entra ID or to the metadata service from here: proxy, firewall".to_owned()
        }
        _ => "see 'akv docs authentication'".to_owned(),
    }
}

fn judge(
    steps: &mut Steps,
    session: &Session,
    vault: &Vault,
    tenant: Option<&str>,
    kind: CredentialKind,
    token: &AccessToken,
) -> Option<Token> {
    let claims = Claims::of(token).unwrap_or_default();
    let wanted = session.settings.cloud_of(vault).audience(vault.service);
    let is_other = |audience: &String| {
        audience.starts_with("https://") && audience.trim_end_matches('/') != wanted
    };
    if let Some(audience) = claims.audience().filter(is_other) {
        steps.add(
            "credential",
            Status::Failed,
            format!("the token of {} is for {audience}, and {vault} wants one for {wanted}", kind.name()),
            format!("get a token for {wanted}: az account get-access-token --resource {wanted}; or set AKV_CLOUD"),
        );
        return None;
    }
    if let (Some(own), Some(tenant)) = (claims.tenant(), tenant)
        && !own.eq_ignore_ascii_case(tenant)
    {
        steps.add(
            "credential",
            Status::Failed,
            format!("the token of {} is of tenant {own}, and {vault} belongs to tenant {tenant}", kind.name()),
            format!("log in to the other tenant: 'az login --tenant {tenant}', or AZURE_TENANT_ID={tenant}"),
        );
        return None;
    }
    let detail = format!(
        "{} for {}, until {}",
        kind.name(),
        claims.principal(),
        token::expiry(token)
    );
    let ends_soon = token
        .expires_at()
        .is_some_and(|at| at.duration_since(SystemTime::now()).unwrap_or_default() < SOON);
    match ends_soon && kind == CredentialKind::AccessToken {
        true => steps.add(
            "credential",
            Status::Warning,
            format!("{detail}; nobody renews it"),
            "set AZURE_CLI_ACCESS_TOKEN to a new token, or set up a credential that renews its tokens",
        ),
        false => steps.good_with("credential", detail, token::about(kind, token)),
    }
    Some(Token {
        principal: claims.principal(),
    })
}
