//! Entra ID: applications with a secret, a certificate, or a token of another issuer.

use std::sync::Arc;

use azure_core::cloud::{CloudConfiguration, CustomConfiguration};
use azure_core::credentials::TokenCredential;
use azure_core::http::{
    ClientMethodOptions, ClientOptions, ExponentialRetryOptions, RetryOptions, Transport,
};
use azure_core::time::Duration;
use azure_identity::{
    ClientAssertion, ClientAssertionCredential, ClientAssertionCredentialOptions,
    ClientSecretCredential, ClientSecretCredentialOptions,
};
use url::Url;

use super::certificate;
use super::http::{AzureTransport, IdentityHttp};
use super::source::{Failure, TokenRequest};
use crate::causes::{chained, sources};
use crate::files::{self, shown_path};
use crate::foreign::shown;
use crate::secret::Secret;
use crate::settings::credentials::{
    CLIENT_CERTIFICATE, CLIENT_ID, CLIENT_SECRET, CredentialSettings, FEDERATED_TOKEN_FILE,
    TENANT_ID,
};
use crate::settings::setting::Setting;
use crate::token::AccessToken;

/// What azure_core says before the cause.
const NOT_TRIED_AGAIN: [&str; 2] = [
    "retry policy expired and the request will no longer be retried",
    "non-transport error occurred which will not be retried",
];

/// How often a request for a token is sent again, within two seconds or so if nobody listens.
const MAX_RETRIES: u32 = 4;
/// Doubled before each of them, with up to 256 ms more: 100, 200, 400 and 800 ms.
const INITIAL_DELAY: Duration = Duration::milliseconds(50);

pub(super) async fn by_secret(
    settings: &CredentialSettings,
    http: &IdentityHttp,
    request: &TokenRequest<'_>,
) -> Result<AccessToken, Failure> {
    let secret = required(settings.client_secret.as_ref(), &CLIENT_SECRET)?;
    let application = Application::of(settings, request)?;
    let credential = ClientSecretCredential::new(
        &application.tenant,
        application.client.clone(),
        secret.expose().to_owned().into(),
        Some(ClientSecretCredentialOptions {
            client_options: application.client_options(http, request),
        }),
    );
    token(credential.map_err(refused)?.as_ref(), request).await
}

pub(super) async fn by_certificate(
    settings: &CredentialSettings,
    http: &IdentityHttp,
    request: &TokenRequest<'_>,
) -> Result<AccessToken, Failure> {
    let path = settings.client_certificate.as_ref();
    let path = required(path, &CLIENT_CERTIFICATE)?;
    let application = Application::of(settings, request)?;
    let password = settings.client_certificate_password.as_ref();
    let certificate = certificate::read(path, password).map_err(Failure::Refused)?;
    let endpoint = format!(
        "{}{}/oauth2/v2.0/token",
        application.authority, application.tenant
    );
    let assertion = certificate
        .assertion(
            &application.client,
            &endpoint,
            settings.send_certificate_chain,
        )
        .map_err(Failure::Refused)?;
    application.by_assertion(assertion, http, request).await
}

pub(super) async fn by_federated_token(
    settings: &CredentialSettings,
    http: &IdentityHttp,
    request: &TokenRequest<'_>,
) -> Result<AccessToken, Failure> {
    let path = settings.federated_token_file.as_ref();
    let path = required(path, &FEDERATED_TOKEN_FILE)?;
    let application = Application::of(settings, request)?;
    // Each time: its writer renews it.
    let refused = |problem: &str| {
        Failure::Refused(format!(
            "the federated token file '{}' {problem}",
            shown_path(path)
        ))
    };
    let text = files::read_text(path).map_err(|problem| refused(&problem))?;
    let text = std::str::from_utf8(&text).map_err(|_| refused("is not UTF-8"))?;
    if text.trim().is_empty() {
        return Err(refused("is empty"));
    }
    let assertion = Secret::new(text.trim().to_owned());
    application.by_assertion(assertion, http, request).await
}

fn required<'a, T>(value: Option<&'a T>, setting: &'static Setting) -> Result<&'a T, Failure> {
    value.ok_or(Failure::Unset(setting))
}

/// An application, and where it logs in.
struct Application {
    tenant: String,
    client: String,
    /// With a slash at its end.
    authority: Url,
}

impl Application {
    fn of(settings: &CredentialSettings, request: &TokenRequest<'_>) -> Result<Self, Failure> {
        let authority = settings.authority.clone();
        Ok(Self {
            tenant: required(settings.tenant_id.as_ref(), &TENANT_ID)?.clone(),
            client: required(settings.client_id.as_ref(), &CLIENT_ID)?.clone(),
            authority: authority.unwrap_or_else(|| request.cloud.authority()),
        })
    }

    fn client_options(&self, http: &IdentityHttp, request: &TokenRequest<'_>) -> ClientOptions {
        let mut cloud = CustomConfiguration::default();
        cloud.authority_host = self.authority.to_string();
        ClientOptions {
            transport: Some(Transport::new(AzureTransport::to_tokens(
                &http.entra,
                &self.authority,
                request.claims,
            ))),
            // Somebody may be waiting, and is to hear of it.
            retry: RetryOptions::exponential(ExponentialRetryOptions {
                initial_delay: INITIAL_DELAY,
                max_retries: MAX_RETRIES,
                ..ExponentialRetryOptions::default()
            }),
            cloud: Some(Arc::new(CloudConfiguration::from(cloud))),
            ..ClientOptions::default()
        }
    }

    async fn by_assertion(
        &self,
        assertion: Secret,
        http: &IdentityHttp,
        request: &TokenRequest<'_>,
    ) -> Result<AccessToken, Failure> {
        let credential = ClientAssertionCredential::new(
            self.tenant.clone(),
            self.client.clone(),
            Assertion(assertion),
            Some(ClientAssertionCredentialOptions {
                client_options: self.client_options(http, request),
            }),
        );
        token(credential.map_err(refused)?.as_ref(), request).await
    }
}

/// What proves who the application is, for as long as it may be repeated in an answer.
#[derive(Debug)]
struct Assertion(Secret);

#[async_trait::async_trait]
impl ClientAssertion for Assertion {
    async fn secret(&self, _: Option<ClientMethodOptions<'_>>) -> azure_core::Result<String> {
        Ok(self.0.expose().to_owned())
    }
}

/// Has a credential of azure_identity fetch a token.
pub(super) async fn token(
    credential: &dyn TokenCredential,
    request: &TokenRequest<'_>,
) -> Result<AccessToken, Failure> {
    let token = credential.get_token(&[&request.scope()], None).await;
    let token = token.map_err(refused)?;
    let expires_at = std::time::SystemTime::from(token.expires_on);
    AccessToken::new(token.token.secret())
        .map(|access| access.expiring_at(expires_at))
        .ok_or_else(|| {
            Failure::Refused("its token has characters that are never in one".to_owned())
        })
}

fn refused(error: azure_core::Error) -> Failure {
    Failure::Refused(said(&error))
}

/// What an error of azure_identity says with its causes, but for [`NOT_TRIED_AGAIN`].
pub(super) fn said(error: &azure_core::Error) -> String {
    let texts = sources(error)
        .into_iter()
        .map(|source| own_words(&source.to_string()));
    chained(texts.filter(|text| !NOT_TRIED_AGAIN.contains(&text.as_str())))
}

/// What azure_identity says, without its name before it and a link after it.
fn own_words(text: &str) -> String {
    let text = text.split("To troubleshoot").next().unwrap_or_default();
    let text = text
        .split_once(" authentication failed.")
        .map_or(text, |(_, text)| text);
    shown(text)
}
