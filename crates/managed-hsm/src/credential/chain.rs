//! Which credential is asked: the first that gives a token.

use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use rustls::ClientConfig;

use super::http::IdentityHttp;
use super::kind::CredentialKind;
use super::source::{Failure, TokenRequest};
use super::{entra, managed_identity, token_file, tools};
use crate::environment;
use crate::error::Error;
use crate::settings::client::Settings;
use crate::settings::credentials::{ACCESS_TOKEN, CredentialSettings};
use crate::settings::front_end::FrontEnd;
use crate::token::AccessToken;

/// All sources that are to be tried. The first that gives a token is asked from then on.
pub(crate) struct Chain {
    settings: CredentialSettings,
    front_end: FrontEnd,
    http: IdentityHttp,
    chosen: OnceLock<CredentialKind>,
    /// Who was asked last.
    asked: Mutex<CredentialKind>,
}

impl Chain {
    /// Asks nobody yet.
    pub(crate) fn new(settings: &Settings, tls: &ClientConfig) -> Self {
        let first = settings.credentials.selected().first().copied();
        Self {
            settings: settings.credentials.clone(),
            front_end: settings.front_end.clone(),
            http: IdentityHttp::new(settings, tls),
            chosen: OnceLock::new(),
            asked: Mutex::new(first.unwrap_or(CredentialKind::AccessToken)),
        }
    }

    /// Why there is no token when time is up: what whoever is being asked has said until then.
    pub(crate) fn late(&self, after: Duration) -> Error {
        let asked = *self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        let mut problem = format!("none came within {:.1} s", after.as_secs_f32());
        let seen = self.http.seen();
        if !seen.is_empty() {
            problem += &format!(" ({seen})");
        }
        Error::Credential {
            credential: asked,
            problem,
        }
    }

    /// A token, from whoever gives one.
    pub(crate) async fn token(
        &self,
        request: &TokenRequest<'_>,
    ) -> Result<(CredentialKind, AccessToken), Error> {
        let selected = match self.chosen.get() {
            Some(chosen) => std::slice::from_ref(chosen),
            None => self.settings.selected(),
        };
        let mut tried = Vec::new();
        for &kind in selected {
            let alone = selected.len() == 1;
            match self.ask(kind, request, alone).await {
                Ok(token) => {
                    log::debug!("{} gives tokens for {}", kind.name(), request.audience);
                    let _ = self.chosen.set(kind);
                    return Ok((kind, token));
                }
                Err(Failure::Unset(setting)) => {
                    let problem = self.front_end.missing(setting);
                    tried.push(format!("{}: {problem}", kind.name()));
                }
                Err(Failure::Unavailable(problem)) => {
                    tried.push(format!("{}: {problem}", kind.name()));
                }
                Err(Failure::Refused(problem)) if kind.is_developers() && !alone => {
                    tried.push(format!("{}: {problem}", kind.name()));
                }
                Err(Failure::Refused(problem)) => {
                    return Err(Error::Credential {
                        credential: kind,
                        problem,
                    });
                }
            }
        }
        Err(Error::NoCredential {
            audience: request.audience.to_owned(),
            tried: tried.join("; "),
            remedy: self.front_end.how_to_log_in(request.audience),
        })
    }

    /// Notes who is asked. What the same one has said before may be all that is known when time is
    /// up; what others have said is forgotten.
    fn note_asked(&self, kind: CredentialKind) {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        if std::mem::replace(&mut *asked, kind) != kind {
            self.http.forget();
        }
    }

    async fn ask(
        &self,
        kind: CredentialKind,
        request: &TokenRequest<'_>,
        alone: bool,
    ) -> Result<AccessToken, Failure> {
        let settings = &self.settings;
        self.note_asked(kind);
        if kind.is_developers() && !environment::is_trusted() {
            return Err(Failure::Unavailable(
                "a program with raised rights starts no other".to_owned(),
            ));
        }
        match kind {
            CredentialKind::AccessToken => {
                let token = settings.access_token.clone();
                token.ok_or(Failure::Unset(&ACCESS_TOKEN))
            }
            CredentialKind::TokenFile => token_file::token(settings),
            CredentialKind::ClientSecret => entra::by_secret(settings, &self.http, request).await,
            CredentialKind::ClientCertificate => {
                entra::by_certificate(settings, &self.http, request).await
            }
            CredentialKind::WorkloadIdentity => {
                entra::by_federated_token(settings, &self.http, request).await
            }
            CredentialKind::ManagedIdentity => {
                managed_identity::token(settings, &self.http, request, alone).await
            }
            CredentialKind::AzureCli => tools::azure_cli(settings, request).await,
            CredentialKind::AzureDeveloperCli => {
                tools::azure_developer_cli(settings, request).await
            }
            CredentialKind::AzurePowerShell => tools::azure_power_shell(settings, request).await,
        }
    }
}
