//! What the service's refusal of a request means.

use http::StatusCode;

use crate::credential::kind::CredentialKind;
use crate::error::Error;
use crate::foreign::ForeignText;
use crate::http::message::Answer;
use crate::request::Request;
use crate::wire;

/// What the service's refusal means. `audience` is whom the token was to be for.
pub(crate) fn refused(
    request: &Request,
    answer: &Answer,
    credential: CredentialKind,
    audience: &str,
) -> Error {
    let (operation, key) = (request.operation, request.key.to_string());
    let (status, request_id) = (answer.status, answer.request_id());
    let found = wire::service_error(&answer.body);
    if status == StatusCode::UNAUTHORIZED {
        let message = found.map(|(_, message)| message);
        let message = message.unwrap_or_else(|| ForeignText::new("no reason given"));
        return Error::Unauthorized {
            operation,
            key,
            message,
            request_id,
            credential,
            remedy: credential.remedy(audience),
        };
    }
    match found {
        Some((code, message)) => Error::Service {
            operation,
            key,
            status: status.as_u16(),
            code,
            message,
            request_id,
        },
        None => request.bad_refusal(
            Some(status.as_u16()),
            format!("HTTP {status} without an error that can be read (request id {request_id})"),
        ),
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, Method};
    use url::Url;
    use zeroize::Zeroizing;

    use super::*;
    use crate::token::AccessToken;

    const SECRET: &str = "eyJhbGciOiJub25lIn0.e30.c2ln";

    fn request() -> Request {
        Request {
            operation: "sign with",
            vault: "MyHSM".parse().unwrap(),
            key: "managedhsm:MyHSM:k".into(),
            algorithm: Some("RS256"),
            repeatable: true,
            method: Method::POST,
            url: Url::parse("https://myhsm.managedhsm.azure.net/keys/k/1/sign").unwrap(),
            body: None,
        }
    }

    #[test]
    fn a_refusal_keeps_what_the_service_says_and_never_the_token() {
        // As long as it is there it is taken out.
        let _token = AccessToken::new(SECRET);
        let json = |code: &str, message: &str| {
            format!(r#"{{"error":{{"code":"{code}","message":"{message}"}}}}"#).into_bytes()
        };
        let cases = [
            (
                404,
                json("KeyNotFound", "Key not found: https://h/keys/k"),
                "KeyNotFound: Key not found",
            ),
            (
                403,
                json("AccessDenied", "Not authorized"),
                "Managed HSM Crypto User",
            ),
            (
                403,
                json(
                    "Forbidden",
                    "Operation sign is not allowed on a disabled key.",
                ),
                "enabled",
            ),
            (
                401,
                json("Unauthorized", &format!("bad token {SECRET}")),
                "bad token …",
            ),
            (401, b"OK".to_vec(), "--resource https://a "),
            (400, json(SECRET, "a\\nb"), "HTTP 400 …: a b"),
            (502, b"<html>".to_vec(), "HTTP 502"),
        ];
        for (status, body, expected) in cases {
            let status = StatusCode::from_u16(status).unwrap();
            let mut headers = HeaderMap::new();
            headers.insert("x-ms-request-id", "request-1".parse().unwrap());
            let answer = Answer {
                status,
                headers,
                body: Zeroizing::new(body),
                is_http2: false,
            };
            let error = refused(
                &request(),
                &answer,
                CredentialKind::AccessToken,
                "https://a",
            );
            let message = error.to_string();
            assert!(message.contains(expected), "{message}");
            assert!(
                message.contains("request-1") && message.contains("managedhsm:MyHSM:k"),
                "{message}"
            );
            assert!(
                !format!("{error:?} {message}").contains(SECRET),
                "{message}"
            );
        }
    }
}
