//! Credentials: who asks the service, and where tokens come from.
//!
//! azure_identity has the credentials of Entra ID and of the command-line tools, and no chain of them; ours tries them in
//! the order that Microsoft documents for its default credential, after what is at hand without asking anybody.

mod certificate;
mod entra;
mod http;
mod managed_identity;
mod runtime;
mod settings;
mod tools;

use std::sync::OnceLock;

use rustls::ClientConfig;

pub use self::settings::{CredentialSettings, ManagedIdentityId};

pub(crate) use self::http::azure_http;

use self::http::IdentityHttp;
use crate::cloud::Cloud;
use crate::environment;
use crate::error::Error;
use crate::settings::Settings;
use crate::token::AccessToken;

/// A source of tokens, in the order in which they are tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CredentialKind {
    /// A token in AZURE_CLI_ACCESS_TOKEN.
    AccessToken,
    /// A file with a token, which somebody else renews.
    TokenFile,
    /// An application with a client secret.
    ClientSecret,
    /// An application with a client certificate.
    ClientCertificate,
    /// An application with a token of another issuer: Kubernetes's workload identity.
    WorkloadIdentity,
    /// The identity of the machine or App Service that this runs on.
    ManagedIdentity,
    /// Whoever is logged in to the Azure CLI.
    AzureCli,
    /// Whoever is logged in to the Azure Developer CLI.
    AzureDeveloperCli,
    /// Whoever is logged in to Azure PowerShell.
    AzurePowerShell,
}

impl CredentialKind {
    /// All of them, in the order in which they are tried.
    pub const ALL: [Self; 9] = [
        Self::AccessToken,
        Self::TokenFile,
        Self::ClientSecret,
        Self::ClientCertificate,
        Self::WorkloadIdentity,
        Self::ManagedIdentity,
        Self::AzureCli,
        Self::AzureDeveloperCli,
        Self::AzurePowerShell,
    ];

    /// The name that selects it. Microsoft's libraries have the same for those that they share.
    pub const fn name(self) -> &'static str {
        match self {
            Self::AccessToken => "AccessToken",
            Self::TokenFile => "TokenFile",
            Self::ClientSecret => "ClientSecretCredential",
            Self::ClientCertificate => "ClientCertificateCredential",
            Self::WorkloadIdentity => "WorkloadIdentityCredential",
            Self::ManagedIdentity => "ManagedIdentityCredential",
            Self::AzureCli => "AzureCliCredential",
            Self::AzureDeveloperCli => "AzureDeveloperCliCredential",
            Self::AzurePowerShell => "AzurePowerShellCredential",
        }
    }

    /// Whether another token than the last can be had from it.
    pub(crate) const fn is_renewable(self) -> bool {
        !matches!(self, Self::AccessToken)
    }

    /// Whether a failure lets the next credential be tried: a person's tools may well be there and not logged in.
    const fn is_developers(self) -> bool {
        matches!(
            self,
            Self::AzureCli | Self::AzureDeveloperCli | Self::AzurePowerShell
        )
    }

    /// What to do when the service doesn't accept its tokens.
    pub(crate) const fn remedy(self) -> &'static str {
        match self {
            Self::AccessToken => {
                "set AZURE_CLI_ACCESS_TOKEN to a new one, from 'az account get-access-token --resource \
                 https://managedhsm.azure.net --query accessToken -o tsv'"
            }
            Self::TokenFile => "have a new token written to the token file",
            Self::ClientSecret | Self::ClientCertificate | Self::WorkloadIdentity => {
                "check AZURE_TENANT_ID (it must be the tenant of the HSM) and AKV_CLOUD"
            }
            Self::ManagedIdentity => {
                "check that the identity is of the HSM's tenant, and AKV_CLOUD"
            }
            Self::AzureCli => "log in to the tenant of the HSM with 'az login --tenant <tenant>'",
            Self::AzureDeveloperCli => {
                "log in to the tenant of the HSM with 'azd auth login --tenant-id <tenant>'"
            }
            Self::AzurePowerShell => {
                "log in to the tenant of the HSM with 'Connect-AzAccount -Tenant <tenant>'"
            }
        }
    }
}

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
    fn scope(&self) -> String {
        format!("{}/.default", self.audience)
    }
}

/// Why a source gave no token. The texts hold no secret.
#[derive(Debug)]
enum Failure {
    /// It is not set up, or not there.
    Unavailable(String),
    /// It is there, and said no.
    Refused(String),
}

/// All sources that are to be tried. The first that gives a token is asked from then on.
pub(crate) struct Chain {
    settings: CredentialSettings,
    http: IdentityHttp,
    chosen: OnceLock<CredentialKind>,
}

impl Chain {
    /// Asks nobody yet.
    pub(crate) fn new(settings: &Settings, tls: &ClientConfig) -> Self {
        Self {
            settings: settings.credentials.clone(),
            http: IdentityHttp::new(settings, tls),
            chosen: OnceLock::new(),
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
        })
    }

    async fn ask(
        &self,
        kind: CredentialKind,
        request: &TokenRequest<'_>,
        alone: bool,
    ) -> Result<AccessToken, Failure> {
        let settings = &self.settings;
        if kind.is_developers() && !environment::is_trusted() {
            return Err(Failure::Unavailable(
                "a program with raised rights starts no other".to_owned(),
            ));
        }
        match kind {
            CredentialKind::AccessToken => settings.access_token.clone().ok_or_else(|| {
                Failure::Unavailable("AZURE_CLI_ACCESS_TOKEN is not set".to_owned())
            }),
            CredentialKind::TokenFile => settings.read_token_file(),
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
