//! `akv token`: who logs in from here.

use std::time::SystemTime;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use clap::Args;
use managed_hsm::{AccessToken, CredentialKind, Service, Vault};
use serde::Deserialize;
use serde_json::json;
use zeroize::Zeroizing;

use crate::failure::Failure;
use crate::output::{self, Report, one_line};
use crate::progress::Spinner;
use crate::session::Session;

#[derive(Args)]
#[command(after_help = "Examples:
  akv token
  akv token keyvault:MyVault
  akv token --query expires -o tsv")]
pub(crate) struct Token {
    /// The HSM or key vault that the token is for [default: any HSM]
    #[arg(value_name = "HSM OR VAULT")]
    vault: Option<Vault>,
    /// Print the token itself. It lets whoever has it use your keys
    #[arg(long)]
    show: bool,
}

/// What a token says of itself. Nothing of it is checked here; the service does that.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Claims {
    #[serde(default)]
    oid: Option<String>,
    #[serde(default)]
    appid: Option<String>,
    #[serde(default)]
    azp: Option<String>,
    #[serde(default)]
    upn: Option<String>,
    #[serde(default)]
    unique_name: Option<String>,
    #[serde(default)]
    tid: Option<String>,
    #[serde(default)]
    aud: Option<String>,
    #[serde(default)]
    nbf: Option<i64>,
}

impl Claims {
    /// None: the token is no JSON Web Token.
    pub(crate) fn of(token: &AccessToken) -> Option<Self> {
        let payload = token.expose().split('.').nth(1)?;
        let payload = Zeroizing::new(URL_SAFE_NO_PAD.decode(payload).ok()?);
        serde_json::from_slice(&payload).ok()
    }

    fn shown(claim: &Option<String>) -> Option<String> {
        claim.as_deref().map(one_line)
    }

    /// The user's or the application's name, else its object id.
    pub(crate) fn principal(&self) -> String {
        let user = self.upn.as_ref().or(self.unique_name.as_ref());
        let application = self.appid.as_ref().or(self.azp.as_ref());
        let oid = self.oid.as_deref().unwrap_or("unknown");
        one_line(&match (user, application) {
            (Some(user), _) => format!("{user} (object {oid})"),
            (None, Some(application)) => format!("application {application} (object {oid})"),
            (None, None) => format!("object {oid}"),
        })
    }

    pub(crate) fn tenant(&self) -> Option<String> {
        Self::shown(&self.tid)
    }

    /// From when on it is good.
    pub(crate) fn not_before(&self) -> Option<SystemTime> {
        self.nbf.map(output::from_unix)
    }

    pub(crate) fn audience(&self) -> Option<String> {
        Self::shown(&self.aud)
    }
}

/// All that is known of a token without showing it.
pub(crate) fn about(kind: CredentialKind, token: &AccessToken) -> serde_json::Value {
    let claims = Claims::of(token).unwrap_or_default();
    let left = |at: SystemTime| at.duration_since(SystemTime::now()).unwrap_or_default();
    json!({
        "credential": kind.name(),
        "principal": claims.principal(),
        "object_id": Claims::shown(&claims.oid),
        "application_id": Claims::shown(&claims.appid).or_else(|| Claims::shown(&claims.azp)),
        "user": Claims::shown(&claims.upn).or_else(|| Claims::shown(&claims.unique_name)),
        "tenant": claims.tenant(),
        "audience": claims.audience(),
        "expires": token.expires_at().map(output::time),
        "seconds_left": token.expires_at().map(|at| left(at).as_secs()),
    })
}

/// How long a token is good for, for a sentence.
pub(crate) fn expiry(token: &AccessToken) -> String {
    match token.expires_at() {
        None => "an unknown time".to_owned(),
        Some(at) if at > output::before_year_10000(at) => "a time after the year 9999".to_owned(),
        Some(at) => {
            let left = at.duration_since(SystemTime::now()).unwrap_or_default();
            format!("{}, in {}", output::time(at), output::rough(left))
        }
    }
}

/// What stands for the HSM that nobody named: tokens are for a service of a cloud, not for one HSM.
pub(crate) fn any_hsm() -> Vault {
    format!("{}:any", Service::ManagedHsm)
        .parse()
        .expect("a constant name is valid")
}

impl Token {
    pub(crate) fn run(&self) -> Result<Report, Failure> {
        let _spinner = Spinner::start("logging in");
        let session = Session::start()?;
        let vault = self.vault.clone().unwrap_or_else(any_hsm);
        let (kind, token) = session.client.access_token(&vault)?;
        let claims = Claims::of(&token).unwrap_or_default();
        let unknown = || "unknown".to_owned();
        let mut json = about(kind, &token);
        let mut text = output::lines(&[
            ("Credential", kind.name().to_owned()),
            ("Principal", claims.principal()),
            ("Tenant", claims.tenant().unwrap_or_else(unknown)),
            ("Audience", claims.audience().unwrap_or_else(unknown)),
            ("Expires", expiry(&token)),
        ]);
        if self.show {
            json["token"] = token.expose().into();
            text = format!("{}\n", token.expose());
        }
        Ok(Report::new(text, json))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(payload: &str) -> AccessToken {
        let token = format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(payload));
        AccessToken::new(&token).unwrap()
    }

    fn claims(payload: &str) -> Option<Claims> {
        Claims::of(&token(payload))
    }

    #[test]
    fn a_life_beyond_all_dates_is_told_in_words() {
        let told = |exp: &str| expiry(&token(&format!(r#"{{"exp":{exp}}}"#)));
        assert!(told("253402300799").starts_with("9999-12-31T23:59:59Z, in "));
        for exp in ["253402300800", "1e18"] {
            assert_eq!(told(exp), "a time after the year 9999", "{exp}");
        }
        assert_eq!(told("1e30"), "an unknown time");
    }

    #[test]
    fn users_and_applications_are_told_apart() {
        let user = claims(r#"{"oid":"1","upn":"a@b.example","appid":"2"}"#).unwrap();
        assert_eq!(user.principal(), "a@b.example (object 1)");
        let application = claims(r#"{"oid":"1","azp":"2"}"#).unwrap();
        assert_eq!(application.principal(), "application 2 (object 1)");
        assert_eq!(claims("{}").unwrap().principal(), "object unknown");
        assert!(claims("no JSON").is_none());
    }
}
