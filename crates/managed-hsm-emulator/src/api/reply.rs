//! Answers as they leave: status, the services' headers, and compact JSON.

use std::net::SocketAddr;
use std::time::Duration;

use http::{HeaderValue, Method, StatusCode};
use serde::Serialize;

use super::body::{ErrorBody, ErrorMembers, InnerError};
use super::failure::Failure;
use super::order;
#[cfg(debug_assertions)]
use super::schema;
use crate::clock::http_date_now;
#[cfg(debug_assertions)]
use crate::log;
use crate::message::{Response, whole};
use crate::service::{Audience, Service};
use crate::token::TENANT;

const REGION: &str = "emulator";
const BUILD_VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), "-emulator");

const COMMON_HEADERS: [(&str, &str); 3] = [
    ("cache-control", "no-cache"),
    ("content-type", "application/json; charset=utf-8"),
    ("x-content-type-options", "nosniff"),
];

const HSM_HEADERS: [(&str, &str); 3] = [
    ("content-security-policy", "default-src 'self'"),
    (
        "strict-transport-security",
        "max-age=31536000; includeSubDomains",
    ),
    ("x-frame-options", "SAMEORIGIN"),
];

const VAULT_HEADERS: [(&str, &str); 3] = [
    ("expires", "-1"),
    ("pragma", "no-cache"),
    (
        "strict-transport-security",
        "max-age=31536000;includeSubDomains",
    ),
];

/// An answer before the headers that every answer has.
pub(super) struct Reply {
    pub(super) status: StatusCode,
    content: Content,
    /// Where the status of what was begun is to be had, and after how many seconds.
    operation: Option<(String, u32)>,
}

enum Content {
    Empty,
    Json(Vec<u8>),
    /// Written with the request id, which the failure does not know.
    Failure(Failure),
}

impl Reply {
    pub(super) fn ok(body: &impl Serialize) -> Result<Self, Failure> {
        let json = serde_json::to_vec(body)
            .map_err(|_| super::unconfirmed::internal("the answer could not be written"))?;
        Ok(Self {
            status: StatusCode::OK,
            content: Content::Json(json),
            operation: None,
        })
    }

    pub(super) fn created(body: &impl Serialize) -> Result<Self, Failure> {
        Ok(Self {
            status: StatusCode::CREATED,
            ..Self::ok(body)?
        })
    }

    /// Of something that was begun, whose status is at a URL.
    pub(super) fn accepted(
        body: &impl Serialize,
        status_url: String,
        retry_after: u32,
    ) -> Result<Self, Failure> {
        Ok(Self {
            status: StatusCode::ACCEPTED,
            operation: Some((status_url, retry_after)),
            ..Self::ok(body)?
        })
    }

    pub(super) fn no_content() -> Self {
        Self {
            status: StatusCode::NO_CONTENT,
            content: Content::Empty,
            operation: None,
        }
    }

    /// What a probe gets: documented is that the body has four bytes. Unconfirmed: which.
    pub(super) fn healthy() -> Self {
        Self {
            status: StatusCode::OK,
            content: Content::Json(b"true".to_vec()),
            operation: None,
        }
    }

    /// What a caller without a token gets; an HSM's body is as odd as recorded.
    pub(super) fn challenge(service: Service, method: &Method) -> Self {
        if service == Service::KeyVault {
            return Failure::no_token_for_vault().into();
        }
        let content = if method == Method::GET {
            Content::Json(b"OK".to_vec())
        } else {
            Content::Empty
        };
        Self {
            status: StatusCode::UNAUTHORIZED,
            content,
            operation: None,
        }
    }

    /// The body of a success that has one.
    #[cfg(debug_assertions)]
    pub(super) fn json(&self) -> Option<&[u8]> {
        match &self.content {
            Content::Json(json) => Some(json),
            Content::Empty | Content::Failure(_) => None,
        }
    }

    /// `audience`: of the HSM or vault that answers.
    pub(super) fn into_response(
        self,
        audience: Audience,
        method: &Method,
        request_id: &str,
        peer: SocketAddr,
        elapsed: Duration,
    ) -> Response {
        let service = audience.service;
        let (status, body) = match self.content {
            Content::Empty => (self.status, Vec::new()),
            Content::Json(json) => (self.status, json),
            Content::Failure(failure) => error(service, &failure, request_id),
        };
        let body = match service {
            Service::ManagedHsm => body,
            Service::KeyVault => order::of_vault(body),
        };
        let mut response = Response::new(whole(body));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        let own: &[(&'static str, &'static str)] = match service {
            Service::ManagedHsm => &HSM_HEADERS,
            Service::KeyVault => &VAULT_HEADERS,
        };
        for (name, value) in COMMON_HEADERS.iter().chain(own) {
            headers.insert(*name, HeaderValue::from_static(value));
        }
        let mut insert = |name: &'static str, value: String| {
            if let Ok(value) = HeaderValue::try_from(value) {
                headers.insert(name, value);
            }
        };
        insert("x-ms-request-id", request_id.to_owned());
        if let Some((url, retry_after)) = self.operation {
            insert("azure-asyncoperation", url);
            insert("retry-after", retry_after.to_string());
        }
        match service {
            Service::ManagedHsm => {
                insert("x-ms-server-latency", elapsed.as_millis().to_string());
                if method == Method::GET {
                    insert("x-ms-build-version", BUILD_VERSION.to_owned());
                }
            }
            // An HSM was recorded without a date, a vault with one.
            Service::KeyVault => {
                insert("date", http_date_now());
                insert("x-ms-keyvault-service-version", BUILD_VERSION.to_owned());
            }
        }
        if status.is_success() || service == Service::KeyVault {
            insert("x-ms-keyvault-region", REGION.to_owned());
            insert("x-ms-keyvault-network-info", network_info(service, peer));
        }
        if status == StatusCode::UNAUTHORIZED {
            insert("www-authenticate", challenge(audience));
        }
        response
    }
}

/// Where a token is to be had, and for what.
pub(super) fn challenge(audience: Audience) -> String {
    format!(
        "Bearer authorization=\"{}/{TENANT}\", resource=\"{}\"",
        audience.authority(),
        audience.resource()
    )
}

impl From<Failure> for Reply {
    fn from(failure: Failure) -> Self {
        Self {
            status: failure.status,
            content: Content::Failure(failure),
            operation: None,
        }
    }
}

/// The status and the body of an error. In a build with debug assertions one that is not as the API
/// describes errors becomes one of the emulator's.
fn error(service: Service, failure: &Failure, request_id: &str) -> (StatusCode, Vec<u8>) {
    let body = error_body(service, failure, request_id);
    #[cfg(debug_assertions)]
    if let Err(problem) = schema::check_error(service, failure.status, request_id, &body) {
        log::event(format_args!("an error is not as described: {problem}"));
        return (StatusCode::INTERNAL_SERVER_ERROR, body);
    }
    (failure.status, body)
}

fn error_body(service: Service, failure: &Failure, request_id: &str) -> Vec<u8> {
    let in_vault = service == Service::KeyVault;
    let message = match in_vault {
        false => format!("{} (Activity ID: {request_id})", failure.message),
        true => failure.message.clone(),
    };
    let inner = failure.inner.filter(|_| in_vault);
    let body = ErrorBody {
        error: ErrorMembers {
            code: failure.code,
            innererror: inner.map(|code| InnerError { code }),
            message,
        },
    };
    serde_json::to_vec(&body).unwrap_or_default()
}

fn network_info(service: Service, peer: SocketAddr) -> String {
    let connection = if peer.is_ipv4() { "Ipv4" } else { "Ipv6" };
    let family = match (service, peer.is_ipv4()) {
        (Service::ManagedHsm, _) => connection,
        (Service::KeyVault, true) => "InterNetwork",
        (Service::KeyVault, false) => "InterNetworkV6",
    };
    format!(
        "conn_type={connection};addr={};act_addr_fam={family};",
        peer.ip()
    )
}
