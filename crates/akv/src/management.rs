//! Microsoft's client for keys, logged in as the provider is: its tokens come from the provider's
//! own chain of credentials, its requests go out with the provider's TLS settings.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use azure_core::credentials::{AccessToken, TokenCredential, TokenRequestOptions};
use azure_core::error::ErrorKind;
use azure_core::http::headers::HeaderName;
use azure_core::http::{ClientOptions, RetryOptions, Transport};
use azure_core::time::OffsetDateTime;
use azure_security_keyvault_keys::{KeyClient, KeyClientOptions};
use managed_hsm::{
    ApiVersion, Client, CredentialKind, Error, ForeignText, Obstacle, Settings, Vault,
    why_unanswered,
};
use serde::Deserialize;

use crate::failure::Failure;
use crate::output::before_year_10000;
use crate::requests::Logged;
use crate::times::WithinYears;

/// How long a token without a known end counts as good; the service says when it isn't.
const UNKNOWN_LIFE: Duration = Duration::from_secs(300);

/// Microsoft's client for one vault.
pub(crate) struct Management {
    credential: Arc<Credential>,
    endpoint: String,
    deadline: Duration,
    /// The client itself.
    pub(crate) keys: KeyClient,
}

/// The provider's chain of credentials, as Microsoft's libraries want it.
struct Credential {
    client: Arc<Client>,
    vault: Vault,
    /// Whom tokens for it are to be for.
    audience: String,
    /// Whose token was given last, and the token, which is taken out of errors.
    last: Mutex<Option<(CredentialKind, managed_hsm::AccessToken)>>,
}

/// What makes a key or a version of one, of which a second one is made if it is repeated.
const MAKES_KEYS: [&str; 4] = [
    "create key",
    "import key",
    "rotate key",
    "restore a key into",
];

impl Management {
    /// Asks nobody yet.
    pub(crate) fn new(
        settings: &Settings,
        client: &Arc<Client>,
        vault: &Vault,
    ) -> Result<Self, Failure> {
        let credential = Arc::new(Credential {
            client: Arc::clone(client),
            vault: vault.clone(),
            audience: settings.cloud_of(vault).audience(vault.service),
            last: Mutex::default(),
        });
        let endpoint = settings.address(vault)?;
        let options = KeyClientOptions {
            api_version: api_version(settings),
            client_options: ClientOptions {
                // A second request to create or rotate makes a second version.
                retry: RetryOptions::none(),
                transport: Some(Transport::new(Arc::new(WithinYears(Arc::new(Logged(
                    settings.azure_http(&endpoint)?,
                )))))),
                ..ClientOptions::default()
            },
            // An endpoint of the user's own has a name of its own. Which token goes there is not
            // for the challenge to say: see `Credential`.
            verify_challenge_resource: Some(settings.endpoint_of(vault).is_none()),
        };
        let token: Arc<dyn TokenCredential> = Arc::clone(&credential) as _;
        let keys = KeyClient::new(endpoint.as_str(), token, Some(options))
            .map_err(|error| Failure::told(format!("no client for {vault}: {error}")))?;
        Ok(Self {
            credential,
            endpoint: endpoint.origin().ascii_serialization(),
            deadline: settings.operation_timeout,
            keys,
        })
    }

    /// Waits for a request. `operation` and `key` say in errors what was asked for.
    pub(crate) fn wait<T>(
        &self,
        operation: &'static str,
        key: &str,
        request: impl Future<Output = azure_core::Result<T>>,
    ) -> Result<T, Failure> {
        let outcome = match managed_hsm::block_on(self.deadline, request) {
            Err(error) => Err(Error::Io(format!("there is no event loop: {error}"))),
            Ok(Some(outcome)) => outcome.map_err(|error| self.explained(operation, key, error)),
            Ok(None) => Err(Error::Timeout {
                operation,
                key: key.to_owned(),
                endpoint: self.endpoint.clone(),
                after: self.deadline,
                earlier: None,
            }),
        };
        outcome.map_err(|error| {
            let error = match MAKES_KEYS.contains(&operation) {
                true => error.sent_once(),
                false => error,
            };
            error.log(operation, key);
            Failure::Hsm(error)
        })
    }

    /// The error as the provider's client would tell it.
    fn explained(&self, operation: &'static str, key: &str, error: azure_core::Error) -> Error {
        if let Some(own) = error.downcast_ref::<Error>() {
            return own.clone();
        }
        let last = self.credential.last();
        match error.kind() {
            ErrorKind::HttpResponse {
                status,
                raw_response,
                ..
            } => {
                let response = raw_response.as_deref();
                let id = HeaderName::from_static("x-ms-request-id");
                let request_id =
                    response.and_then(|response| response.headers().get_optional_str(&id));
                let told = response.and_then(|response| service_error(response.body()));
                let (code, message) = told
                    .unwrap_or_else(|| ("without a code".to_owned(), "no reason given".to_owned()));
                let (code, message) = (ForeignText::new(code), ForeignText::new(message));
                let request_id = ForeignText::new(request_id.unwrap_or("none"));
                let key = key.to_owned();
                match (u16::from(*status), &last) {
                    (401, Some((credential, _))) => Error::Unauthorized {
                        operation,
                        key,
                        message,
                        request_id,
                        credential: *credential,
                        remedy: credential.remedy(&self.credential.audience),
                    },
                    (status, _) => Error::Service {
                        operation,
                        key,
                        status,
                        code,
                        message,
                        request_id,
                    },
                }
            }
            ErrorKind::Connection => Error::Connect {
                operation,
                key: key.to_owned(),
                endpoint: self.endpoint.clone(),
                problem: why_unanswered(&error),
                obstacle: Obstacle::of(&error),
            },
            _ => Error::Response {
                operation,
                key: key.to_owned(),
                endpoint: self.endpoint.clone(),
                problem: why_unanswered(&error),
                status: match error.kind() {
                    ErrorKind::Io | ErrorKind::DataConversion => None,
                    // Nothing was sent yet but a question for the challenge.
                    _ => Some(401),
                },
            },
        }
    }
}

/// Code and message of the service's error.
fn service_error(body: &[u8]) -> Option<(String, String)> {
    #[derive(Deserialize)]
    struct Body {
        error: Told,
    }
    #[derive(Deserialize)]
    struct Told {
        code: String,
        message: String,
    }
    let body: Body = serde_json::from_slice(body).ok()?;
    Some((body.error.code, body.error.message))
}

/// The version of the API that requests name: the library's own, unless the settings name a later
/// one.
fn api_version(settings: &Settings) -> String {
    let own = KeyClientOptions::default().api_version;
    let is_later = own
        .parse::<ApiVersion>()
        .is_ok_and(|own| own < settings.api_version);
    match is_later {
        true => settings.api_version.to_string(),
        false => own,
    }
}

impl Credential {
    fn last(&self) -> Option<(CredentialKind, managed_hsm::AccessToken)> {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.clone()
    }
}

impl std::fmt::Debug for Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credential")
            .field("vault", &self.vault)
            .finish_non_exhaustive()
    }
}

#[async_trait::async_trait]
impl TokenCredential for Credential {
    /// The provider's token for the vault's service, whatever scope a challenge named: who is to
    /// get a token for what is not for the one who asks to say.
    async fn get_token(
        &self,
        _scopes: &[&str],
        _options: Option<TokenRequestOptions<'_>>,
    ) -> azure_core::Result<AccessToken> {
        // It blocks, which keeps nobody else waiting.
        let outcome = self.client.access_token(&self.vault);
        let (kind, token) =
            outcome.map_err(|error| azure_core::Error::new(ErrorKind::Credential, error))?;
        let expires = token
            .expires_at()
            .unwrap_or_else(|| SystemTime::now() + UNKNOWN_LIFE);
        let expires = OffsetDateTime::from(before_year_10000(expires));
        let given = AccessToken::new(token.expose().to_owned(), expires);
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some((kind, token));
        Ok(given)
    }
}
