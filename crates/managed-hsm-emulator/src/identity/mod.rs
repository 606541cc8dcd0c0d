//! A token service beside the HSM: what Microsoft's identity libraries ask of Entra ID, of the
//! instance metadata service and of App Service. It listens where the HSM does, under paths that
//! the HSM has not.
//!
//! Principals are those of a file (`serve --principals FILE`), besides the owner of the HSM, whose
//! secret lies in the data folder.

mod account;
mod assertion;
mod form;
mod managed;
mod refusal;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderValue, Method, StatusCode};
use openssl::rand::rand_bytes;
use serde_json::{Value, json};

use crate::algorithm::encode_base64url;
use crate::attestation::{Attester, TestToken};
use crate::clock::unix_seconds;
use crate::data_dir::DataDir;
use crate::error::Error;
use crate::message::{Response, whole};
use crate::metrics::Metrics;
use crate::token::{TENANT, TokenKey};
use form::Form;
use refusal::Refusal;

pub(crate) use account::Account;
pub(crate) use managed::is_for as is_for_managed_identities;

/// The owner's secret.
const SECRET_FILE: &str = "client-secret";
/// Seconds that a token lives unless it is told otherwise, as Entra ID has it.
const DEFAULT_LIFETIME: i64 = 3599;
/// Names of tenants that nobody can log in to with an application's own credentials.
const SEVERAL_TENANTS: [&str; 3] = ["common", "organizations", "consumers"];
/// RFC 7523, section 2.2.
const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// The two forms of Entra ID's OAuth endpoints: the first is asked for a resource, the second for a
/// scope.
#[derive(Debug, Clone, Copy)]
enum Protocol {
    V1,
    V2,
}

impl Protocol {
    /// What a token is asked for.
    fn audience(self, form: &Form) -> Result<&str, Refusal> {
        let is_address = |text: &&str| text.starts_with("https://") || text.starts_with("api://");
        match self {
            Self::V1 => {
                let resource = form.get("resource").ok_or_else(Refusal::no_resource_v1)?;
                let audience = Some(resource).filter(is_address);
                audience.ok_or_else(|| Refusal::resource(resource))
            }
            Self::V2 => {
                let scope = form.get("scope").unwrap_or_default();
                let audience = scope
                    .split(' ')
                    .find_map(|scope| scope.strip_suffix("/.default"));
                let audience = audience.filter(is_address);
                audience.ok_or_else(|| Refusal::scope(scope))
            }
        }
    }

    /// The first has numbers as texts, and more of them.
    fn answer(self, token: &str, lifetime: i64, audience: &str) -> Value {
        match self {
            Self::V1 => {
                let now = unix_seconds();
                json!({
                    "token_type": "Bearer",
                    "expires_in": lifetime.to_string(),
                    "ext_expires_in": lifetime.to_string(),
                    "expires_on": now.saturating_add(lifetime).to_string(),
                    "not_before": now.to_string(),
                    "resource": audience,
                    "access_token": token,
                })
            }
            Self::V2 => json!({
                "token_type": "Bearer",
                "expires_in": lifetime,
                "ext_expires_in": lifetime,
                "access_token": token,
            }),
        }
    }

    /// What stands in the paths of its endpoints.
    fn part_of_path(self) -> &'static str {
        match self {
            Self::V1 => "",
            Self::V2 => "/v2.0",
        }
    }
}

/// Whether a path is one of the token service's for some method.
fn is_known(segments: &[&str]) -> bool {
    matches!(
        segments,
        [_, "oauth2", "token"]
            | [_, "oauth2", "v2.0", "token"]
            | [_, ".well-known", "openid-configuration"]
            | [_, "v2.0", ".well-known", "openid-configuration"]
            | [_, "discovery", "keys"]
            | [_, "discovery", "v2.0", "keys"]
            | ["common", "discovery", "instance"]
            | ["metadata", "identity", "oauth2", "token"]
            | ["msi", "token"]
            | ["generate-test-token"]
    )
}

/// By what a token was got, for the counters.
#[derive(Debug, Clone, Copy)]
enum Grant {
    Secret,
    Certificate,
    Federated,
    InstanceMetadata,
    AppService,
}

impl Grant {
    fn name(self) -> &'static str {
        match self {
            Self::Secret => "client_secret",
            Self::Certificate => "certificate",
            Self::Federated => "federated",
            Self::InstanceMetadata => "imds",
            Self::AppService => "app_service",
        }
    }
}

/// Whether a path is the token service's, and not the HSM's: all that is under a tenant is.
pub(crate) fn is_for(path: &str) -> bool {
    if managed::is_for(path) {
        return true;
    }
    let segments: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    let is_key = |first: &str| ["keys", "deletedkeys"].contains(&first);
    match segments.as_slice() {
        ["generate-test-token"] => true,
        [
            first,
            "oauth2" | "discovery" | "v2.0" | ".well-known",
            _,
            ..,
        ] => !is_key(first),
        [first, ..] => is_tenant(first),
        [] => false,
    }
}

/// Whether a segment of a path stands for a tenant: its id, or one of the names of several. Others,
/// such as domains, do before what only the token service has.
fn is_tenant(segment: &str) -> bool {
    // With hyphens; without them it would be the version of a key.
    (segment.contains('-') && uuid::Uuid::try_parse(segment).is_ok())
        || SEVERAL_TENANTS.contains(&segment)
}

/// The token service.
pub(crate) struct Identity {
    accounts: Vec<Account>,
    /// Seconds that a token lives.
    lifetime: AtomicI64,
    /// What App Service's endpoint wants to see in the header X-IDENTITY-HEADER.
    identity_header: String,
    metrics: Arc<Metrics>,
}

impl Identity {
    /// The owner, and the principals of a file.
    ///
    /// # Errors
    /// The file can't be read, or is not a list of principals.
    pub(crate) fn open(
        data: &DataDir,
        principals: Option<&Path>,
        lifetime: Option<i64>,
        metrics: Arc<Metrics>,
    ) -> Result<Self, Error> {
        let secret = Self::owner_secret(data)?;
        let mut accounts = vec![Account::owner(&secret)];
        if let Some(path) = principals {
            accounts.extend(account::read(path)?);
        }
        Ok(Self {
            accounts,
            lifetime: AtomicI64::new(lifetime.unwrap_or(DEFAULT_LIFETIME)),
            identity_header: secret,
            metrics,
        })
    }

    /// The owner's secret, made at first start.
    pub(crate) fn owner_secret(data: &DataDir) -> Result<String, Error> {
        if let Some(contents) = data.read(SECRET_FILE)? {
            return String::from_utf8(contents)
                .map_err(|_| Error::StoredKey(SECRET_FILE.to_owned()));
        }
        let mut random = [0; 24];
        rand_bytes(&mut random)?;
        let secret = encode_base64url(&random);
        data.write(SECRET_FILE, secret.as_bytes())?;
        Ok(secret)
    }

    pub(crate) fn accounts(&self) -> &[Account] {
        &self.accounts
    }

    /// Seconds that a token lives.
    pub(crate) fn lifetime(&self) -> i64 {
        self.lifetime.load(Ordering::Relaxed)
    }

    /// For tokens from now on.
    pub(crate) fn set_lifetime(&self, seconds: i64) {
        self.lifetime.store(seconds, Ordering::Relaxed);
    }

    /// The answer to a request whose path is the token service's.
    pub(crate) fn answer(
        &self,
        key: &TokenKey,
        attester: &Attester,
        host: &str,
        parts: &Parts,
        body: &Bytes,
    ) -> Response {
        let path = parts.uri.path();
        let segments: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        let answer = match (parts.method.clone(), segments.as_slice()) {
            (Method::POST, [tenant, "oauth2", "v2.0", "token"]) => {
                self.log_in(key, host, tenant, body, Protocol::V2)
            }
            (Method::POST, [tenant, "oauth2", "token"]) => {
                self.log_in(key, host, tenant, body, Protocol::V1)
            }
            (Method::GET, [tenant, "v2.0", ".well-known", "openid-configuration"]) => {
                Ok(configuration(host, tenant, Protocol::V2))
            }
            (Method::GET, [tenant, ".well-known", "openid-configuration"]) => {
                Ok(configuration(host, tenant, Protocol::V1))
            }
            (Method::GET, [_, "discovery", "keys"] | [_, "discovery", "v2.0", "keys"]) => {
                key.jwks().map_err(|_| Refusal::failed())
            }
            (Method::GET, ["common", "discovery", "instance"]) => Ok(instances(host)),
            (Method::GET, ["metadata", "identity", "oauth2", "token"]) => {
                self.instance_metadata(key, &parts.headers, parts.uri.query())
            }
            (Method::GET, ["msi", "token"]) => {
                self.app_service(key, &parts.headers, parts.uri.query())
            }
            (Method::GET | Method::POST, ["generate-test-token"]) => {
                test_token(attester, host, body)
            }
            (_, segments) if is_known(segments) => Err(Refusal::method()),
            _ => Err(Refusal::unknown_path(path)),
        };
        match answer {
            Ok(body) => respond(StatusCode::OK, &body),
            Err(refusal) => {
                self.metrics.token_refused(&refusal.name());
                respond(refusal.status, &refusal.body())
            }
        }
    }

    /// The client credentials flow: by a secret, or by an assertion.
    fn log_in(
        &self,
        key: &TokenKey,
        host: &str,
        tenant: &str,
        body: &Bytes,
        protocol: Protocol,
    ) -> Result<Value, Refusal> {
        let form = Form::parse(body);
        if SEVERAL_TENANTS.contains(&tenant) {
            return Err(Refusal::several_tenants());
        }
        if tenant != TENANT {
            return Err(Refusal::tenant(tenant));
        }
        if form.get("grant_type") != Some("client_credentials") {
            return Err(Refusal::grant());
        }
        let client = form.get("client_id").unwrap_or_default();
        let account = self
            .accounts
            .iter()
            .find(|account| account.client_id == client);
        let account = account.ok_or_else(|| Refusal::client(client))?;
        let grant = match (form.get("client_secret"), form.get("client_assertion")) {
            (Some(secret), _) => {
                let is = |known: &String| {
                    known.len() == secret.len()
                        && openssl::memcmp::eq(known.as_bytes(), secret.as_bytes())
                };
                let is_empty = secret.is_empty();
                match &account.client_secret {
                    Some(known) if !is_empty && is(known) => Grant::Secret,
                    _ if account.expired_client_secrets.iter().any(is) => {
                        return Err(Refusal::expired_secret(client));
                    }
                    _ => return Err(Refusal::secret(client)),
                }
            }
            (None, Some(_)) if form.get("client_assertion_type") != Some(ASSERTION_TYPE) => {
                return Err(Refusal::assertion_type());
            }
            (None, Some(assertion)) => assertion::check(account, assertion, key, host)?,
            (None, None) => return Err(Refusal::no_credential()),
        };
        let audience = protocol.audience(&form)?;
        let token = self.token(key, account, audience, grant)?;
        Ok(protocol.answer(&token, self.lifetime(), audience))
    }

    fn token(
        &self,
        key: &TokenKey,
        account: &Account,
        audience: &str,
        grant: Grant,
    ) -> Result<String, Refusal> {
        let minted = key.mint_with(
            &account.object_id,
            &account.client_id,
            &account.groups,
            audience.trim_end_matches('/'),
            self.lifetime(),
        );
        let token = minted.map_err(|_| Refusal::failed())?;
        self.metrics.token_issued(grant.name());
        Ok(token)
    }
}

/// What a fault that was asked for puts in place of an answer.
pub(crate) fn by_fault(path: &str, status: StatusCode) -> Response {
    let refusal = Refusal::by_fault(path, status);
    respond(refusal.status, &refusal.body())
}

/// An attestation for tests of key release, under the path of the service that Microsoft's own
/// tests ask.
fn test_token(attester: &Attester, host: &str, body: &Bytes) -> Result<Value, Refusal> {
    let wanted = match body.is_empty() {
        true => TestToken::default(),
        false => crate::json::read(body).map_err(|error| Refusal::test_token(&error))?,
    };
    let attester = attester.key().map_err(|_| Refusal::failed())?;
    let token = wanted.answer(&attester.key, host);
    token.map_err(|_| Refusal::failed())
}

fn configuration(host: &str, tenant: &str, protocol: Protocol) -> Value {
    let authority = format!("https://{host}/{tenant}");
    let part = protocol.part_of_path();
    json!({
        "authorization_endpoint": format!("{authority}/oauth2{part}/authorize"),
        "claims_supported": ["aud", "exp", "iat", "iss", "nbf", "oid", "sub", "tid"],
        "id_token_signing_alg_values_supported": ["RS256"],
        "issuer": format!("{authority}{part}"),
        "jwks_uri": format!("{authority}/discovery{part}/keys"),
        "response_types_supported": ["code", "token"],
        "subject_types_supported": ["pairwise"],
        "token_endpoint": format!("{authority}/oauth2{part}/token"),
        "token_endpoint_auth_methods_supported": ["client_secret_post", "private_key_jwt"],
    })
}

fn instances(host: &str) -> Value {
    json!({
        "api-version": "1.1",
        "metadata": [{"aliases": [host], "preferred_cache": host, "preferred_network": host}],
        "tenant_discovery_endpoint": format!("https://{host}/{TENANT}/v2.0/.well-known/openid-configuration"),
    })
}

fn respond(status: StatusCode, body: &Value) -> Response {
    let mut response = Response::new(whole(body.to_string()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(
        "content-type",
        HeaderValue::from_static("application/json; charset=utf-8"),
    );
    headers.insert(
        "cache-control",
        HeaderValue::from_static("no-store, no-cache"),
    );
    response
}
