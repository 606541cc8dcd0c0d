//! A token service beside the HSM: what Microsoft's identity libraries ask of Entra ID, of the instance metadata service
//! and of App Service. It listens where the HSM does, under paths that the HSM has not.
//!
//! Principals are those of a file (`serve --principals FILE`), besides the owner of the HSM, whose secret lies in the data
//! folder.

use axum::body::{Body, Bytes};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::response::Response;
use openssl::hash::MessageDigest;
use openssl::pkey::{PKey, Public};
use openssl::rand::rand_bytes;
use openssl::rsa::Padding;
use openssl::sign::{RsaPssSaltlen, Verifier};
use percent_encoding::percent_decode_str;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::algorithm::{decode_base64url, encode_base64url};
use crate::attestation::TestToken;
use crate::clock::unix_seconds;
use crate::data_dir::DataDir;
use crate::error::Error;
use crate::token::{AUDIENCE, OWNER_CLIENT, PRINCIPAL, TENANT, TokenKey};

/// The owner's secret.
const SECRET_FILE: &str = "client-secret";
/// Seconds that a token lives unless it is told otherwise, as Entra ID has it.
const DEFAULT_LIFETIME: i64 = 3599;

/// Someone who may log in.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Account {
    /// The application's id.
    client_id: String,
    /// What roles are assigned to.
    object_id: String,
    #[serde(default)]
    client_secret: Option<String>,
    /// PEM public keys or certificates whose assertions are accepted: of the application's certificate, or of the issuer
    /// of its federated tokens.
    #[serde(default)]
    assertion_keys: Vec<String>,
    /// Object ids of groups.
    #[serde(default)]
    groups: Vec<String>,
    /// Whether it is a managed identity of this machine.
    #[serde(default)]
    managed_identity: bool,
    /// Roles to begin with.
    #[serde(default)]
    pub(crate) roles: Vec<RoleGrant>,
}

impl Account {
    pub(crate) fn object_id(&self) -> &str {
        &self.object_id
    }
}

/// A role by its name or id, at a scope.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RoleGrant {
    pub(crate) role: String,
    #[serde(default = "top")]
    pub(crate) scope: String,
}

fn top() -> String {
    "/".to_owned()
}

/// Whether a path is the token service's, and not the HSM's.
pub(crate) fn is_for(path: &str) -> bool {
    let segments: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    matches!(
        segments.as_slice(),
        [_, "oauth2", "v2.0", "token"]
            | [_, "v2.0", ".well-known", "openid-configuration"]
            | [_, ".well-known", "openid-configuration"]
            | [_, "discovery", "v2.0", "keys"]
            | ["common", "discovery", "instance"]
            | ["metadata", "identity", "oauth2", "token"]
            | ["msi", "token"]
            | ["generate-test-token"]
    )
}

/// The token service.
pub(crate) struct Identity {
    accounts: Vec<Account>,
    token_lifetime: i64,
    /// What App Service's endpoint wants to see in the header X-IDENTITY-HEADER.
    identity_header: String,
}

impl Identity {
    /// The owner, and the principals of a file.
    ///
    /// # Errors
    /// The file can't be read, or is not a list of principals.
    pub(crate) fn open(
        data: &DataDir,
        principals: Option<&std::path::Path>,
        token_lifetime: Option<i64>,
    ) -> Result<Self, Error> {
        let secret = Self::owner_secret(data)?;
        let mut accounts = vec![Account {
            client_id: OWNER_CLIENT.to_owned(),
            object_id: PRINCIPAL.to_owned(),
            client_secret: Some(secret.clone()),
            assertion_keys: Vec::new(),
            groups: Vec::new(),
            managed_identity: true,
            roles: Vec::new(),
        }];
        if let Some(path) = principals {
            let text = std::fs::read_to_string(path).map_err(Error::file("read", path))?;
            let listed: Vec<Account> =
                serde_json::from_str(&text).map_err(|error| unusable(path, error.to_string()))?;
            for account in &listed {
                for pem in &account.assertion_keys {
                    if public_key(pem).is_none() {
                        let problem = format!(
                            "an assertion key of {} is neither a PEM public key nor a certificate",
                            account.client_id
                        );
                        return Err(unusable(path, problem));
                    }
                }
            }
            accounts.extend(listed);
        }
        Ok(Self {
            accounts,
            token_lifetime: token_lifetime.unwrap_or(DEFAULT_LIFETIME),
            identity_header: secret,
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

    /// The answer to a request whose path is the token service's.
    pub(crate) fn answer(
        &self,
        key: &TokenKey,
        attester: &TokenKey,
        host: &str,
        parts: &Parts,
        body: &Bytes,
    ) -> Response {
        let path = parts.uri.path();
        let segments: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        let answer = match (parts.method.clone(), segments.as_slice()) {
            (Method::POST, [tenant, "oauth2", "v2.0", "token"]) => self.log_in(key, tenant, body),
            (Method::GET, [tenant, "v2.0", ".well-known", "openid-configuration"])
            | (Method::GET, [tenant, ".well-known", "openid-configuration"]) => {
                Ok(configuration(host, tenant))
            }
            (Method::GET, [_, "discovery", "v2.0", "keys"]) => {
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
            _ => Err(Refusal::method()),
        };
        let (status, body) = match answer {
            Ok(body) => (StatusCode::OK, body),
            Err(refusal) => (refusal.status, refusal.body()),
        };
        respond(status, &body)
    }

    /// The client credentials flow: by a secret, or by an assertion signed by a registered key.
    fn log_in(&self, key: &TokenKey, tenant: &str, body: &Bytes) -> Result<Value, Refusal> {
        let form = Form::parse(body);
        if tenant != TENANT && !["common", "organizations"].contains(&tenant) {
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
        match (form.get("client_secret"), form.get("client_assertion")) {
            (Some(secret), _) => {
                let known = account.client_secret.as_deref().unwrap_or_default();
                let same = known.len() == secret.len()
                    && openssl::memcmp::eq(known.as_bytes(), secret.as_bytes());
                if known.is_empty() || !same {
                    return Err(Refusal::secret(client));
                }
            }
            (None, Some(assertion)) => check_assertion(account, assertion)?,
            (None, None) => return Err(Refusal::no_credential()),
        }
        let scope = form.get("scope").unwrap_or_default();
        let audience = scope
            .split(' ')
            .find_map(|scope| scope.strip_suffix("/.default"))
            .filter(|audience| audience.starts_with("https://"))
            .ok_or_else(|| Refusal::scope(scope))?;
        let token = self.token(key, account, audience)?;
        Ok(json!({
            "token_type": "Bearer",
            "expires_in": self.token_lifetime,
            "ext_expires_in": self.token_lifetime,
            "access_token": token,
        }))
    }

    /// `/metadata/identity/oauth2/token` of the instance metadata service.
    fn instance_metadata(
        &self,
        key: &TokenKey,
        headers: &HeaderMap,
        query: Option<&str>,
    ) -> Result<Value, Refusal> {
        let metadata = headers
            .get("metadata")
            .and_then(|value| value.to_str().ok());
        if !metadata.is_some_and(|value| value.eq_ignore_ascii_case("true")) {
            return Err(Refusal::metadata_header());
        }
        self.managed_identity(key, query, true)
    }

    /// The endpoint that App Service and Functions have.
    fn app_service(
        &self,
        key: &TokenKey,
        headers: &HeaderMap,
        query: Option<&str>,
    ) -> Result<Value, Refusal> {
        let header = headers.get("x-identity-header");
        let header = header.map(HeaderValue::as_bytes).unwrap_or_default();
        let expected = self.identity_header.as_bytes();
        if header.len() != expected.len() || !openssl::memcmp::eq(header, expected) {
            return Err(Refusal::identity_header());
        }
        self.managed_identity(key, query, false)
    }

    fn managed_identity(
        &self,
        key: &TokenKey,
        query: Option<&str>,
        seconds_left: bool,
    ) -> Result<Value, Refusal> {
        let query = Form::parse(query.unwrap_or_default().as_bytes());
        let resource = query
            .get("resource")
            .filter(|resource| !resource.is_empty());
        let resource = resource.ok_or_else(Refusal::no_resource)?;
        let wanted = ["client_id", "object_id", "principal_id"].map(|name| query.get(name));
        let fits = |account: &&Account| match wanted {
            [Some(client), ..] => account.client_id == client,
            [_, Some(object), _] | [_, _, Some(object)] => account.object_id == object,
            _ => true,
        };
        let mut identities = self
            .accounts
            .iter()
            .filter(|account| account.managed_identity);
        let account = identities.find(fits).ok_or_else(Refusal::no_identity)?;
        let token = self.token(key, account, resource.trim_end_matches('/'))?;
        let mut answer = json!({
            "access_token": token,
            "client_id": account.client_id,
            "expires_on": (unix_seconds() + self.token_lifetime).to_string(),
            "resource": resource,
            "token_type": "Bearer",
        });
        if seconds_left {
            answer["expires_in"] = self.token_lifetime.to_string().into();
            answer["ext_expires_in"] = self.token_lifetime.to_string().into();
            answer["not_before"] = unix_seconds().to_string().into();
        }
        Ok(answer)
    }

    fn token(&self, key: &TokenKey, account: &Account, audience: &str) -> Result<String, Refusal> {
        let minted = key.mint_with(
            &account.object_id,
            &account.client_id,
            &account.groups,
            audience,
            self.token_lifetime,
        );
        minted.map_err(|_| Refusal::failed())
    }
}

/// An attestation for tests of key release, under the path of the service that Microsoft's own tests ask.
fn test_token(attester: &TokenKey, host: &str, body: &Bytes) -> Result<Value, Refusal> {
    let wanted = match body.is_empty() {
        true => TestToken::default(),
        false => serde_json::from_slice(body).map_err(|error| Refusal::test_token(&error))?,
    };
    wanted.answer(attester, host).map_err(|_| Refusal::failed())
}

fn unusable(path: &std::path::Path, problem: String) -> Error {
    Error::Principals {
        path: path.to_owned(),
        problem,
    }
}

/// A public key in PEM, or that of a certificate.
fn public_key(pem: &str) -> Option<PKey<Public>> {
    let of_certificate = || {
        openssl::x509::X509::from_pem(pem.as_bytes())
            .and_then(|certificate| certificate.public_key())
    };
    PKey::public_key_from_pem(pem.as_bytes())
        .or_else(|_| of_certificate())
        .ok()
}

/// A signed JSON Web Token (RFC 7523) for an application, by one of its keys, that has not expired.
fn check_assertion(account: &Account, assertion: &str) -> Result<(), Refusal> {
    let refused = || Refusal::assertion(&account.client_id);
    let (signed, signature) = assertion.rsplit_once('.').ok_or_else(refused)?;
    let (header, claims) = signed.split_once('.').ok_or_else(refused)?;
    let json = |part| -> Option<Value> { serde_json::from_slice(&decode_base64url(part)?).ok() };
    let (header, claims) = json(header).zip(json(claims)).ok_or_else(refused)?;
    let signature = decode_base64url(signature).ok_or_else(refused)?;
    let pss = match header["alg"].as_str() {
        Some("RS256") => false,
        Some("PS256") => true,
        _ => return Err(refused()),
    };
    let verified = account
        .assertion_keys
        .iter()
        .filter_map(|pem| public_key(pem))
        .any(|key| {
            let verify = || {
                let mut verifier = Verifier::new(MessageDigest::sha256(), &key)?;
                if pss {
                    verifier.set_rsa_padding(Padding::PKCS1_PSS)?;
                    verifier.set_rsa_pss_saltlen(RsaPssSaltlen::DIGEST_LENGTH)?;
                    verifier.set_rsa_mgf1_md(MessageDigest::sha256())?;
                }
                verifier.verify_oneshot(&signature, signed.as_bytes())
            };
            verify().unwrap_or(false)
        });
    let alive = claims["exp"]
        .as_f64()
        .is_some_and(|exp| exp > unix_seconds() as f64);
    if verified && alive {
        Ok(())
    } else {
        Err(refused())
    }
}

/// `application/x-www-form-urlencoded`, of a body or a query.
struct Form(Vec<(String, String)>);

impl Form {
    fn parse(text: &[u8]) -> Self {
        let text = String::from_utf8_lossy(text).replace('+', " ");
        let decode = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
        let pairs = text
            .split('&')
            .map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        Self(
            pairs
                .map(|(name, value)| (decode(name), decode(value)))
                .collect(),
        )
    }

    fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }
}

fn configuration(host: &str, tenant: &str) -> Value {
    let authority = format!("https://{host}/{tenant}");
    json!({
        "authorization_endpoint": format!("{authority}/oauth2/v2.0/authorize"),
        "claims_supported": ["aud", "exp", "iat", "iss", "nbf", "oid", "sub", "tid"],
        "id_token_signing_alg_values_supported": ["RS256"],
        "issuer": format!("{authority}/v2.0"),
        "jwks_uri": format!("{authority}/discovery/v2.0/keys"),
        "response_types_supported": ["code", "token"],
        "subject_types_supported": ["pairwise"],
        "token_endpoint": format!("{authority}/oauth2/v2.0/token"),
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
    let mut response = Response::new(Body::from(body.to_string()));
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

/// Why no token is given, as Entra ID says it.
struct Refusal {
    status: StatusCode,
    error: &'static str,
    /// The number after AADSTS; 0 where the metadata service answers.
    code: u32,
    text: String,
}

impl Refusal {
    fn new(status: StatusCode, error: &'static str, code: u32, text: impl Into<String>) -> Self {
        Self {
            status,
            error,
            code,
            text: text.into(),
        }
    }

    fn bad(error: &'static str, code: u32, text: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, error, code, text)
    }

    fn tenant(tenant: &str) -> Self {
        Self::bad(
            "invalid_request",
            90002,
            format!("Tenant '{tenant}' not found. This token service has the tenant {TENANT}."),
        )
    }

    fn test_token(error: &serde_json::Error) -> Self {
        let text = format!(
            "The body is not {{\"issuer\": …, \"key\": …, \"claims\": …}}: {error}. All members are optional."
        );
        Self::bad("invalid_request", 900144, text)
    }

    fn grant() -> Self {
        Self::bad(
            "unsupported_grant_type",
            70003,
            "The app requested an unsupported grant type; this token service has client_credentials.",
        )
    }

    fn client(client: &str) -> Self {
        Self::bad(
            "unauthorized_client",
            700016,
            format!(
                "Application with identifier '{client}' was not found in the directory '{TENANT}'."
            ),
        )
    }

    fn secret(client: &str) -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            "invalid_client",
            7000215,
            format!(
                "Invalid client secret provided. Ensure the secret being sent in the request is the client secret value, for a secret added to app '{client}'."
            ),
        )
    }

    fn assertion(client: &str) -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            "invalid_client",
            700027,
            format!(
                "The client assertion of app '{client}' failed validation: its signature is not by a registered key, or it has expired."
            ),
        )
    }

    fn no_credential() -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            "invalid_client",
            7000218,
            "The request body must contain the following parameter: 'client_assertion' or 'client_secret'.",
        )
    }

    fn scope(scope: &str) -> Self {
        Self::bad(
            "invalid_scope",
            70011,
            format!(
                "The provided value for the input parameter 'scope' is not valid: '{scope}'. It is {AUDIENCE}/.default for Managed HSM."
            ),
        )
    }

    fn metadata_header() -> Self {
        Self::bad(
            "invalid_request",
            0,
            "Required metadata header not specified",
        )
    }

    fn identity_header() -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            "unauthorized",
            0,
            "The header X-IDENTITY-HEADER is missing or wrong",
        )
    }

    fn no_resource() -> Self {
        Self::bad(
            "invalid_resource",
            0,
            "The query parameter 'resource' is missing",
        )
    }

    fn no_identity() -> Self {
        Self::bad("invalid_request", 0, "Identity not found")
    }

    fn method() -> Self {
        Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "invalid_request",
            900561,
            "The endpoint doesn't accept this method.",
        )
    }

    fn failed() -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "server_error",
            0,
            "the emulator could not make a token",
        )
    }

    fn body(&self) -> Value {
        if self.code == 0 {
            return json!({"error": self.error, "error_description": self.text});
        }
        let (trace, correlation) = (uuid::Uuid::new_v4(), uuid::Uuid::new_v4());
        let time = crate::clock::rfc3339_now();
        json!({
            "error": self.error,
            "error_description": format!(
                "AADSTS{}: {} Trace ID: {trace} Correlation ID: {correlation} Timestamp: {time}", self.code, self.text
            ),
            "error_codes": [self.code],
            "timestamp": time,
            "trace_id": trace.to_string(),
            "correlation_id": correlation.to_string(),
        })
    }
}
