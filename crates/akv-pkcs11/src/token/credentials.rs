//! Logging in: the program's PIN becomes a credential of Entra ID.

use std::sync::Arc;

use cryptoki_sys::{
    CK_USER_TYPE, CKR_DEVICE_ERROR, CKR_FUNCTION_FAILED, CKR_PIN_EXPIRED, CKR_PIN_INCORRECT,
    CKR_USER_ALREADY_LOGGED_IN, CKU_USER,
};
use managed_hsm::{AccessToken, Client, CredentialKind, Guid, Secret, Settings};

use super::table::Table;
use super::{Token, new_client};
use crate::certificates::Kept;
use crate::configuration::usual_application;
use crate::error::Error;
use crate::locks::lock;

/// Who is logged in.
#[derive(Debug, Default)]
pub(crate) struct Login {
    user: Option<CK_USER_TYPE>,
    /// What is not shown as long as the login lasts, though it was sent as an application's id: a
    /// secret is known for as long as somebody holds it.
    _hidden: Vec<Secret>,
}

/// What a PIN is.
#[derive(Debug)]
enum Pin {
    /// A bearer token.
    Token(AccessToken),
    /// The secret of an application; the tenant if it is told.
    Secret {
        application: Application,
        secret: Secret,
    },
}

/// Whose secret a PIN is.
#[derive(Debug)]
struct Application {
    client: String,
    tenant: Option<String>,
    /// The texts that name it, if they may as well be the beginning of a secret.
    hidden: Vec<Secret>,
}

/// The length of a GUID with its hyphens, as the ids of Entra ID's applications are written.
const GUID_LEN: usize = 36;

/// Codes of Entra ID for secrets, applications and tenants that are wrong.
const WRONG: [&str; 8] = [
    "AADSTS7000215",
    "AADSTS7000216",
    "AADSTS700016",
    "AADSTS7000218",
    "AADSTS90002",
    "AADSTS900023",
    "AADSTS700038",
    "AADSTS50034",
];
/// And for secrets that were good once.
const EXPIRED: [&str; 2] = ["AADSTS7000222", "AADSTS700024"];

impl Token {
    /// Whether the user is logged in.
    pub(crate) fn is_logged_in(&self) -> bool {
        lock(&self.login).user.is_some()
    }

    /// Logs the user in; `name` is the application, if the program tells it apart from its secret.
    /// Where the credential is another than the PIN, any PIN will do, and none.
    ///
    /// # Errors
    /// The PIN is wrong or has expired, Entra ID can't be asked, or somebody is logged in.
    pub(crate) fn log_in(&self, name: Option<&[u8]>, pin: &[u8]) -> Result<(), Error> {
        let (client, hidden) = match self.by_pin() {
            true => {
                let (client, hidden) = self.client_by_pin(name, pin)?;
                (Some(client), hidden)
            }
            false => (None, Vec::new()),
        };
        let mut login = lock(&self.login);
        // Another thread may have been faster, perhaps as somebody else.
        if login.user.is_some() {
            return Err(Error::code(CKR_USER_ALREADY_LOGGED_IN));
        }
        if let Some(client) = client {
            self.client.store(Some(Arc::new(client)));
        }
        *login = Login {
            user: Some(CKU_USER),
            _hidden: hidden,
        };
        Ok(())
    }

    /// Logs the user out. The secret is wiped, and other users see nothing that this one has seen,
    /// by its handles neither. Where no login is needed, none guards the keys, and handles stay.
    pub(crate) fn forget_login(&self) {
        *lock(&self.login) = Login::default();
        if self.table().has_secrets() {
            self.change_brought(Table::forget_secrets);
        }
        if self.by_pin() {
            self.drop_client();
            *lock(&self.listing) = None;
            self.change(Table::forget);
            lock(&self.in_vain).clear();
            // Others may not see the vault's.
            lock(&self.asked).clear();
            self.change(|table| {
                table.remove_certificates(|known| matches!(known.place, Kept::Vault(_)));
            });
        }
    }

    /// The client that asks with a PIN's token or secret, and what is not to be shown meanwhile.
    fn client_by_pin(
        &self,
        name: Option<&[u8]>,
        pin: &[u8],
    ) -> Result<(Client, Vec<Secret>), Error> {
        let mut settings = self.settings.client.clone();
        let mut not_shown = Vec::new();
        match self.parse(name, pin)? {
            Pin::Token(token) => {
                settings.credentials.selection = vec![CredentialKind::AccessToken];
                settings.credentials.access_token = Some(token);
            }
            Pin::Secret {
                application,
                secret,
            } => {
                not_shown = application.hidden;
                let tenant = match application
                    .tenant
                    .or_else(|| settings.credentials.tenant_id.clone())
                {
                    Some(tenant) => tenant,
                    None => self.tenant(&settings)?,
                };
                settings.credentials.selection = vec![CredentialKind::ClientSecret];
                settings.credentials.client_id = Some(application.client);
                settings.credentials.tenant_id = Some(tenant);
                settings.credentials.client_secret = Some(secret);
            }
        }
        let client = new_client(settings);
        let token = Self::ask_by(&self.in_this_call(&client), |client| {
            client.access_token(&self.settings.vault)
        })?;
        token.map_err(|error| failed_login(&error))?;
        Ok((client, not_shown))
    }

    /// The tenant of the HSM, as the HSM says.
    fn tenant(&self, settings: &Settings) -> Result<String, Error> {
        let client = self.in_this_call(&new_client(settings.clone()));
        let tenant = Self::ask_by(&client, |client| client.tenant(&self.settings.vault))?;
        tenant.map_err(|error| Error::because(CKR_DEVICE_ERROR, error.to_string()))
    }

    /// What a PIN is, by its form.
    fn parse(&self, name: Option<&[u8]>, pin: &[u8]) -> Result<Pin, Error> {
        let wrong = |problem: &str| {
            Error::because(
                CKR_PIN_INCORRECT,
                format!(
                    "the PIN {problem}: expected <client id>:<secret>, <client id>@<tenant>:<secret>, \
                     an access token, or the secret of the application MHSM_CLIENT_ID"
                ),
            )
        };
        let text = std::str::from_utf8(pin).map_err(|_| wrong("is not UTF-8"))?;
        if text.is_empty() {
            return Err(wrong("is empty, and there is no other credential"));
        }
        let of = |application: Application, secret: &str| Pin::Secret {
            application,
            secret: Secret::new(secret.to_owned()),
        };
        if let Some(name) = name {
            let name = std::str::from_utf8(name).ok();
            let named = name.and_then(|name| self.named(name).or_else(|| application(name)));
            return match named {
                Some(application) => Ok(of(application, text)),
                None => Err(wrong(
                    "comes with a user's name that is no application's id",
                )),
            };
        }
        if text.starts_with("eyJ") && text.matches('.').count() == 2 {
            let token = AccessToken::new(text);
            return token.map(Pin::Token).ok_or_else(|| wrong("is no token"));
        }
        let usual = usual_application(&self.settings.client.credentials);
        let named = text
            .split_once(':')
            .filter(|(_, secret)| !secret.is_empty())
            .and_then(|(name, secret)| Some((self.first_part(name, usual.as_deref())?, secret)));
        match (named, usual) {
            (Some((application, secret)), _) => Ok(of(application, secret)),
            (None, Some(client)) => {
                let application = Application {
                    client,
                    tenant: None,
                    hidden: Vec::new(),
                };
                Ok(of(application, text))
            }
            (None, None) => Err(wrong("does not tell whose secret it is")),
        }
    }

    /// An application by its name in `logins`.
    fn named(&self, name: &str) -> Option<Application> {
        let (client, tenant) = self.options.logins.get(name)?;
        Some(Application {
            client: client.clone(),
            tenant: tenant.clone(),
            hidden: Vec::new(),
        })
    }

    /// The application that stands before a PIN's first colon, if one does: a secret may have a
    /// colon, too. Where it is known whose secret a PIN is, only what can be nothing else names
    /// another. Else what may be the beginning of a secret is tried, and not shown.
    fn first_part(&self, name: &str, usual: Option<&str>) -> Option<Application> {
        if let Some(application) = self.named(name) {
            return Some(application);
        }
        let found = application(name)?;
        let is_certain = found.client.len() == GUID_LEN && found.client.parse::<Guid>().is_ok();
        match usual {
            Some(usual) if !is_certain && found.client != usual => None,
            None if !is_certain => {
                let parts = [Some(&found.client), found.tenant.as_ref()];
                let hidden = parts.into_iter().flatten();
                Some(Application {
                    hidden: hidden.cloned().map(Secret::new).collect(),
                    ..found
                })
            }
            _ => Some(found),
        }
    }
}

/// An application by its id, which a tenant may follow.
fn application(text: &str) -> Option<Application> {
    let (client, tenant) = match text.split_once('@') {
        Some((client, tenant)) => (client, Some(tenant)),
        None => (text, None),
    };
    (is_plain(client) && tenant.is_none_or(is_plain)).then(|| Application {
        client: client.to_owned(),
        tenant: tenant.map(str::to_owned),
        hidden: Vec::new(),
    })
}

/// Whether a text can be the id of an application or a tenant; the tenant's becomes a part of a
/// path.
pub(crate) fn is_plain(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().any(|byte| byte.is_ascii_alphanumeric())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.'))
}

/// Why there is no token: only what Entra ID says of the secret is the PIN's fault.
fn failed_login(error: &managed_hsm::Error) -> Error {
    use managed_hsm::Error as E;
    let text = error.to_string();
    let has = |codes: &[&str]| codes.iter().any(|code| has_code(&text, code));
    let code = match error {
        E::TokenExpired { .. } => CKR_PIN_EXPIRED,
        E::Credential { .. } | E::NoCredential { .. } if has(&EXPIRED) => CKR_PIN_EXPIRED,
        E::Credential { .. } | E::NoCredential { .. } if has(&WRONG) => CKR_PIN_INCORRECT,
        E::Settings { .. } => CKR_FUNCTION_FAILED,
        _ => CKR_DEVICE_ERROR,
    };
    Error::because(code, text)
}

/// Whether a text names a code, and not a longer one that begins so.
fn has_code(text: &str, code: &str) -> bool {
    text.match_indices(code)
        .any(|(at, _)| !text[at + code.len()..].starts_with(|next: char| next.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use cryptoki_sys::CK_RV;

    use super::*;

    #[test]
    fn wrong_secrets_are_told_from_expired_ones_and_from_trouble() {
        let code = |problem: &str| -> CK_RV {
            failed_login(&managed_hsm::Error::Credential {
                credential: CredentialKind::ClientSecret,
                problem: problem.to_owned(),
            })
            .code
        };
        for (problem, expected) in [
            ("AADSTS7000215: Invalid client secret", CKR_PIN_INCORRECT),
            ("AADSTS700016: Application not found", CKR_PIN_INCORRECT),
            ("AADSTS7000222: The secret has expired", CKR_PIN_EXPIRED),
            ("AADSTS90033: A transient error", CKR_DEVICE_ERROR),
            ("AADSTS7000160: of another kind", CKR_DEVICE_ERROR),
            ("can't reach login.microsoftonline.com", CKR_DEVICE_ERROR),
        ] {
            assert_eq!(code(problem), expected, "{problem}");
        }
    }
}
