//! Answers as they leave: status, the service's headers, and compact JSON.

use std::net::SocketAddr;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderValue, Method, StatusCode};
use axum::response::Response;
use serde::Serialize;

use super::body::{ErrorBody, ErrorMembers};
use super::failure::Failure;
use crate::token::{AUDIENCE, TENANT};

const REGION: &str = "emulator";
const BUILD_VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), "-emulator");

/// An answer before the headers that every answer has.
pub(super) struct Reply {
    pub(super) status: StatusCode,
    content: Content,
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
        })
    }

    pub(super) fn created(body: &impl Serialize) -> Result<Self, Failure> {
        Ok(Self {
            status: StatusCode::CREATED,
            ..Self::ok(body)?
        })
    }

    pub(super) fn no_content() -> Self {
        Self {
            status: StatusCode::NO_CONTENT,
            content: Content::Empty,
        }
    }

    /// What a caller without a token gets; the body is as odd as recorded.
    pub(super) fn challenge(method: &Method) -> Self {
        let content = if method == Method::GET {
            Content::Json(b"OK".to_vec())
        } else {
            Content::Empty
        };
        Self {
            status: StatusCode::UNAUTHORIZED,
            content,
        }
    }

    pub(super) fn into_response(
        self,
        method: &Method,
        request_id: &str,
        peer: SocketAddr,
        elapsed: Duration,
    ) -> Response {
        let body = match self.content {
            Content::Empty => Vec::new(),
            Content::Json(json) => json,
            Content::Failure(failure) => error_body(&failure, request_id),
        };
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        for (name, value) in [
            ("cache-control", "no-cache"),
            ("content-security-policy", "default-src 'self'"),
            ("content-type", "application/json; charset=utf-8"),
            (
                "strict-transport-security",
                "max-age=31536000; includeSubDomains",
            ),
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "SAMEORIGIN"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        let mut insert = |name: &'static str, value: String| {
            if let Ok(value) = HeaderValue::try_from(value) {
                headers.insert(name, value);
            }
        };
        insert("x-ms-request-id", request_id.to_owned());
        insert("x-ms-server-latency", elapsed.as_millis().to_string());
        if method == Method::GET {
            insert("x-ms-build-version", BUILD_VERSION.to_owned());
        }
        if self.status.is_success() {
            insert("x-ms-keyvault-region", REGION.to_owned());
            insert("x-ms-keyvault-network-info", network_info(peer));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            insert("www-authenticate", challenge());
        }
        response
    }
}

/// Where a token is to be had, and for what.
pub(super) fn challenge() -> String {
    format!(
        "Bearer authorization=\"https://login.microsoftonline.com/{TENANT}\", resource=\"{AUDIENCE}\""
    )
}

impl From<Failure> for Reply {
    fn from(failure: Failure) -> Self {
        Self {
            status: failure.status,
            content: Content::Failure(failure),
        }
    }
}

fn error_body(failure: &Failure, request_id: &str) -> Vec<u8> {
    let body = ErrorBody {
        error: ErrorMembers {
            code: failure.code,
            message: format!("{} (Activity ID: {request_id})", failure.message),
        },
    };
    serde_json::to_vec(&body).unwrap_or_default()
}

fn network_info(peer: SocketAddr) -> String {
    let family = if peer.is_ipv4() { "Ipv4" } else { "Ipv6" };
    format!(
        "conn_type={family};addr={};act_addr_fam={family};",
        peer.ip()
    )
}
