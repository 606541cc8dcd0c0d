//! Why no token is given, as Entra ID, the instance metadata service and App Service say it. The
//! texts are those of reports of users and of Microsoft's documentation, as far as there are any;
//! a comment at each other one says that it is unconfirmed.

use http::StatusCode;
use openssl::hash::MessageDigest;
use serde_json::{Value, json};

use super::assertion::hex;
use crate::clock::{rfc3339_now, rfc3339_of};
use crate::json::JsonError;
use crate::token::{AUDIENCE, TENANT, VAULT_AUDIENCE};

const GRAPH: &str = "Please visit the Azure Portal, Graph Explorer or directly use MS Graph to see configured keys for app Id";
const FEDERATION: &str = "Check your federated identity credential Subject, Audience and Issuer against the presented assertion. https://learn.microsoft.com/entra/workload-id/workload-identity-federation";

pub(super) struct Refusal {
    pub(super) status: StatusCode,
    speaker: Speaker,
    text: String,
}

/// Who refuses, which makes the form.
enum Speaker {
    /// With the OAuth error, and the number after AADSTS.
    Entra(&'static str, u32),
    /// With its error.
    InstanceMetadata(&'static str),
    AppService,
}

impl Refusal {
    fn entra(status: StatusCode, error: &'static str, code: u32, text: impl Into<String>) -> Self {
        Self {
            status,
            speaker: Speaker::Entra(error, code),
            text: text.into(),
        }
    }

    fn bad(error: &'static str, code: u32, text: impl Into<String>) -> Self {
        Self::entra(StatusCode::BAD_REQUEST, error, code, text)
    }

    /// The application's credential won't do.
    fn credential(code: u32, text: impl Into<String>) -> Self {
        Self::entra(StatusCode::UNAUTHORIZED, "invalid_client", code, text)
    }

    fn metadata(status: StatusCode, error: &'static str, text: impl Into<String>) -> Self {
        Self {
            status,
            speaker: Speaker::InstanceMetadata(error),
            text: text.into(),
        }
    }

    fn app_service(status: StatusCode, text: impl Into<String>) -> Self {
        Self {
            status,
            speaker: Speaker::AppService,
            text: text.into(),
        }
    }

    /// What a fault that was asked for puts in place of an answer by the service of `path`.
    /// Unconfirmed: Entra ID's codes and texts, and the form of App Service's.
    pub(super) fn by_fault(path: &str, status: StatusCode) -> Self {
        match (path, status) {
            (path, _) if path.starts_with("/msi/") => {
                Self::app_service(status, "A fault of the emulator, as asked for")
            }
            (path, StatusCode::TOO_MANY_REQUESTS) if path.starts_with("/metadata/") => {
                Self::metadata(status, "too_many_requests", "Too many requests")
            }
            (path, _) if path.starts_with("/metadata/") => Self::metadata(
                status,
                "unknown",
                "Failed to retrieve token from the Active directory. For details see logs in <file path>",
            ),
            (_, StatusCode::TOO_MANY_REQUESTS) => Self::entra(
                status,
                "temporarily_unavailable",
                90055,
                "There are too many incoming requests.",
            ),
            _ => Self::entra(
                status,
                "temporarily_unavailable",
                90033,
                "A transient error has occurred. Please try again.",
            ),
        }
    }

    /// Unconfirmed: what follows the first sentence.
    pub(super) fn tenant(tenant: &str) -> Self {
        Self::bad(
            "invalid_request",
            90002,
            format!("Tenant '{tenant}' not found. This token service has the tenant {TENANT}."),
        )
    }

    /// The code is of reports of users.
    pub(super) fn several_tenants() -> Self {
        Self::bad(
            "invalid_request",
            50059,
            "No tenant-identifying information found in either the request or implied by any provided credentials.",
        )
    }

    /// Unconfirmed: that there is an OAuth error, its code and its text.
    pub(super) fn unknown_path(path: &str) -> Self {
        Self::entra(
            StatusCode::NOT_FOUND,
            "invalid_request",
            90007,
            format!("The token service has no endpoint '{path}'."),
        )
    }

    pub(super) fn no_resource_v1() -> Self {
        Self::bad(
            "invalid_request",
            900144,
            "The request body must contain the following parameter: 'resource'.",
        )
    }

    /// Unconfirmed: what follows the first sentence.
    pub(super) fn resource(resource: &str) -> Self {
        Self::bad(
            "invalid_resource",
            500011,
            format!(
                "The resource principal named {resource} was not found in the tenant named {TENANT}. It is {AUDIENCE} for Managed HSM, {VAULT_AUDIENCE} for Key Vault."
            ),
        )
    }

    /// The emulator's own: no service has this endpoint.
    pub(super) fn test_token(error: &JsonError) -> Self {
        let text = format!(
            "The body is not {{\"issuer\": …, \"key\": …, \"claims\": …}}: {error}. All members are optional."
        );
        Self::bad("invalid_request", 900144, text)
    }

    /// Unconfirmed: what follows the semicolon.
    pub(super) fn grant() -> Self {
        Self::bad(
            "unsupported_grant_type",
            70003,
            "The app requested an unsupported grant type; this token service has client_credentials.",
        )
    }

    pub(super) fn client(client: &str) -> Self {
        Self::bad(
            "unauthorized_client",
            700016,
            format!(
                "Application with identifier '{client}' was not found in the directory '{TENANT}'."
            ),
        )
    }

    pub(super) fn secret(client: &str) -> Self {
        Self::credential(
            7000215,
            format!(
                "Invalid client secret provided. Ensure the secret being sent in the request is the client secret value, not the client secret ID, for a secret added to app '{client}'."
            ),
        )
    }

    pub(super) fn expired_secret(client: &str) -> Self {
        Self::credential(
            7000222,
            format!(
                "The provided client secret keys for app '{client}' are expired. Visit the Azure portal to create new keys for your app."
            ),
        )
    }

    pub(super) fn no_credential() -> Self {
        Self::credential(
            7000218,
            "The request body must contain the following parameter: 'client_assertion' or 'client_secret'.",
        )
    }

    /// Unconfirmed: what follows the name of the parameter.
    pub(super) fn assertion_type() -> Self {
        Self::bad(
            "invalid_request",
            900144,
            "The request body must contain the following parameter: 'client_assertion_type', and it has to be 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer'.",
        )
    }

    /// Unconfirmed: that the text has no more than this sentence.
    pub(super) fn malformed_assertion() -> Self {
        Self::credential(50027, "JWT token is invalid or malformed.")
    }

    /// Unconfirmed: the wording.
    pub(super) fn assertion_of_another(client: &str) -> Self {
        Self::credential(
            700021,
            format!(
                "Client assertion application identifier doesn't match 'client_id' parameter '{client}'."
            ),
        )
    }

    /// `named` is what the assertion's header says of the certificate: a thumbprint, and of what.
    pub(super) fn certificate_not_registered(
        client: &str,
        named: Option<(Vec<u8>, MessageDigest)>,
    ) -> Self {
        let thumbprint = named.map_or(String::new(), |(thumbprint, _)| {
            format!("Thumbprint of key used by client: '{}', ", hex(&thumbprint))
        });
        Self::credential(
            700027,
            format!(
                "The certificate with identifier used to sign the client assertion is not registered on application. [Reason - The key was not found., {thumbprint}{GRAPH} '{client}'.]"
            ),
        )
    }

    pub(super) fn assertion_signature(client: &str, thumbprint: &str, found: &str) -> Self {
        Self::credential(
            700027,
            format!(
                "Client assertion contains an invalid signature. [Reason - The provided signature value did not match the expected signature value., Thumbprint of key used by client: '{thumbprint}', Found key '{found}', {GRAPH} '{client}'.]"
            ),
        )
    }

    pub(super) fn certificate_out_of_time() -> Self {
        Self::credential(
            1000502,
            "The provided certificate is not within its specified validity period.",
        )
    }

    /// In seconds since 1970.
    pub(super) fn assertion_out_of_time(nbf: i64, exp: i64) -> Self {
        Self::credential(
            700024,
            format!(
                "Client assertion is not within its valid time range. Current time: {}, assertion valid from {}, expiry time of assertion {}. Review the documentation at https://learn.microsoft.com/entra/identity-platform/certificate-credentials .",
                rfc3339_now(),
                rfc3339_of(nbf),
                rfc3339_of(exp)
            ),
        )
    }

    /// Unconfirmed: the reference at the end.
    pub(super) fn assertion_audience() -> Self {
        Self::credential(
            700023,
            "Client assertion audience claim does not match Realm issuer. Review the documentation at https://learn.microsoft.com/entra/identity-platform/certificate-credentials .",
        )
    }

    pub(super) fn no_federation(issuer: &str, subject: &str, audience: &str) -> Self {
        Self::bad(
            "invalid_request",
            70021,
            format!(
                "No matching federated identity record found for presented assertion. Assertion Issuer: '{issuer}'. Assertion Subject: '{subject}'. Assertion Audience: '{audience}'. https://learn.microsoft.com/entra/workload-id/workload-identity-federation"
            ),
        )
    }

    pub(super) fn federation_issuer(issuer: &str) -> Self {
        Self::federation(700211, "issuer", issuer)
    }

    pub(super) fn federation_audience(audience: &str) -> Self {
        Self::federation(700212, "audience", audience)
    }

    /// `in_another_case`: a credential has the subject but for upper and lower case.
    pub(super) fn federation_subject(subject: &str, in_another_case: bool) -> Self {
        match in_another_case {
            false => Self::federation(700213, "subject", subject),
            true => Self::credential(
                7002138,
                format!(
                    "No matching federated identity record found for presented assertion subject '{subject}'. The subject matches with case-insensitive comparison, but not with case-sensitive comparison. {FEDERATION}"
                ),
            ),
        }
    }

    fn federation(code: u32, what: &str, value: &str) -> Self {
        Self::credential(
            code,
            format!(
                "No matching federated identity record found for presented assertion {what} '{value}'. {FEDERATION}"
            ),
        )
    }

    /// Unconfirmed: that the text has no more than this sentence.
    pub(super) fn federation_signature() -> Self {
        Self::credential(
            50013,
            "Assertion failed signature validation. [Reason - The key was not found.]",
        )
    }

    /// Unconfirmed: what follows the first sentence, and where the scope stands in it.
    pub(super) fn scope(scope: &str) -> Self {
        Self::bad(
            "invalid_scope",
            70011,
            format!(
                "The provided value for the input parameter 'scope' is not valid: '{scope}'. It is {AUDIENCE}/.default for Managed HSM, {VAULT_AUDIENCE}/.default for Key Vault."
            ),
        )
    }

    pub(super) fn metadata_header() -> Self {
        Self::metadata(
            StatusCode::BAD_REQUEST,
            "bad_request_102",
            "Required metadata header not specified",
        )
    }

    /// Unconfirmed: the text of this one and the next two; the error is documented.
    pub(super) fn no_metadata_version() -> Self {
        Self::metadata(
            StatusCode::BAD_REQUEST,
            "invalid_request",
            "The query parameter 'api-version' is missing",
        )
    }

    pub(super) fn no_resource() -> Self {
        Self::metadata(
            StatusCode::BAD_REQUEST,
            "invalid_request",
            "Required query variable 'resource' is missing",
        )
    }

    pub(super) fn no_identity() -> Self {
        Self::metadata(
            StatusCode::BAD_REQUEST,
            "invalid_request",
            "Identity not found",
        )
    }

    /// Unconfirmed: status and text of this one and the next two.
    pub(super) fn identity_header() -> Self {
        Self::app_service(
            StatusCode::UNAUTHORIZED,
            "The header X-IDENTITY-HEADER is missing or wrong",
        )
    }

    pub(super) fn app_service_version(version: &str) -> Self {
        Self::app_service(
            StatusCode::BAD_REQUEST,
            format!("The api-version '{version}' is not supported; 2019-08-01 is"),
        )
    }

    pub(super) fn no_app_service_resource() -> Self {
        Self::app_service(
            StatusCode::BAD_REQUEST,
            "The query parameter 'resource' is missing",
        )
    }

    pub(super) fn no_app_service_identity() -> Self {
        Self::app_service(
            StatusCode::BAD_REQUEST,
            "No User Assigned or Delegated Managed Identity found for specified ClientId/ResourceId/PrincipalId.",
        )
    }

    /// Unconfirmed: the text.
    pub(super) fn method() -> Self {
        Self::entra(
            StatusCode::METHOD_NOT_ALLOWED,
            "invalid_request",
            900561,
            "The endpoint doesn't accept this method.",
        )
    }

    /// The emulator's own: nothing failed in Entra ID.
    pub(super) fn failed() -> Self {
        Self::entra(
            StatusCode::INTERNAL_SERVER_ERROR,
            "server_error",
            90033,
            "the emulator could not make a token",
        )
    }

    /// For the counters.
    pub(super) fn name(&self) -> String {
        match self.speaker {
            Speaker::Entra(_, code) => format!("AADSTS{code}"),
            Speaker::InstanceMetadata(error) => error.to_owned(),
            Speaker::AppService => self.status.as_u16().to_string(),
        }
    }

    pub(super) fn body(&self) -> Value {
        let (error, code) = match self.speaker {
            Speaker::InstanceMetadata(error) => {
                return json!({"error": error, "error_description": self.text});
            }
            Speaker::AppService => {
                return json!({"statusCode": self.status.as_u16(), "message": self.text});
            }
            Speaker::Entra(error, code) => (error, code),
        };
        let (trace, correlation) = (uuid::Uuid::new_v4(), uuid::Uuid::new_v4());
        let time = rfc3339_now();
        json!({
            "error": error,
            "error_description": format!(
                "AADSTS{code}: {} Trace ID: {trace} Correlation ID: {correlation} Timestamp: {time}", self.text
            ),
            "error_codes": [code],
            "timestamp": time,
            "trace_id": trace.to_string(),
            "correlation_id": correlation.to_string(),
            "error_uri": format!("https://login.microsoftonline.com/error?code={code}"),
        })
    }
}
