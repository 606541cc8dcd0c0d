//! Requests and answers.

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, HeaderName, USER_AGENT};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body as _, Incoming};
use url::{Position, Url};
use zeroize::Zeroizing;

use super::failure::Failure;
use crate::foreign::ForeignText;
use crate::socket::MAX_ANSWER;

/// What the service calls each of its answers.
pub(crate) const REQUEST_ID: &str = "x-ms-request-id";

/// What the client calls its request: the service's audit log has it as `correlationId`.
const CLIENT_REQUEST_ID: HeaderName = HeaderName::from_static("x-ms-client-request-id");

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const ANYTHING: HeaderValue = HeaderValue::from_static("*/*");

/// What is sent.
pub(crate) struct Message<'a> {
    pub(crate) method: &'a Method,
    pub(crate) url: &'a Url,
    pub(crate) user_agent: &'a HeaderValue,
    /// None: the request has no name.
    pub(crate) client_request_id: Option<&'a HeaderValue>,
    /// None: the request has no token.
    pub(crate) authorization: Option<&'a HeaderValue>,
    /// JSON.
    pub(crate) body: Option<&'a Bytes>,
    /// Whether sending it twice does no more than sending it once.
    pub(crate) repeatable: bool,
}

/// An answer, all of it read.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Zeroizing<Vec<u8>>,
    pub(crate) is_http2: bool,
}

impl Answer {
    /// What the service calls it.
    pub(crate) fn request_id(&self) -> ForeignText {
        let id = self.headers.get(REQUEST_ID);
        ForeignText::new(id.and_then(|id| id.to_str().ok()).unwrap_or("none"))
    }
}

impl Message<'_> {
    pub(super) fn request(&self, is_http2: bool) -> http::Request<Full<Bytes>> {
        let authority = &self.url[Position::BeforeHost..Position::AfterPort];
        let path = &self.url[Position::BeforePath..Position::AfterQuery];
        let mut request = http::Request::new(Full::new(self.body.cloned().unwrap_or_default()));
        *request.method_mut() = self.method.clone();
        // What is a part of a URL is one of a URI.
        let mut parts = http::uri::Parts::default();
        parts.path_and_query = PathAndQuery::try_from(path).ok();
        if is_http2 {
            parts.scheme = Some(Scheme::HTTPS);
            parts.authority = Authority::try_from(authority).ok();
        }
        *request.uri_mut() = Uri::from_parts(parts).unwrap_or_default();
        let headers = request.headers_mut();
        if !is_http2 && let Ok(host) = HeaderValue::from_str(authority) {
            headers.insert(HOST, host);
        }
        if let Some(authorization) = self.authorization {
            headers.insert(AUTHORIZATION, authorization.clone());
        }
        headers.insert(USER_AGENT, self.user_agent.clone());
        if let Some(id) = self.client_request_id {
            headers.insert(CLIENT_REQUEST_ID, id.clone());
        }
        headers.insert(ACCEPT, ANYTHING);
        if self.body.is_some() {
            headers.insert(CONTENT_TYPE, JSON);
        }
        request
    }
}

/// Reads an answer, up to a limit.
pub(crate) async fn read(response: Response<Incoming>, is_http2: bool) -> Result<Answer, Failure> {
    let (head, mut body) = response.into_parts();
    // Room for all of it where its length is told: a buffer that grows leaves copies behind.
    let told = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    let mut bytes = Zeroizing::new(Vec::with_capacity(told.min(MAX_ANSWER)));
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(Failure::Body)?.into_data() else {
            continue;
        };
        if bytes.len() + data.len() > MAX_ANSWER {
            return Err(Failure::TooLong);
        }
        bytes.extend_from_slice(&data);
    }
    Ok(Answer {
        status: head.status,
        headers: head.headers,
        body: bytes,
        is_http2,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::front_end::{FrontEnd, Spelling};

    #[test]
    fn a_request_says_who_asks_and_whom() {
        let front_end = FrontEnd::new("program/1", "program.conf", Spelling::Hyphens);
        let url = Url::parse("https://hsm:8443/keys/k?api-version=7.4").unwrap();
        let message = Message {
            method: &Method::GET,
            url: &url,
            user_agent: &front_end.user_agent,
            client_request_id: Some(&HeaderValue::from_static("a name")),
            authorization: Some(&HeaderValue::from_static("Bearer token")),
            body: None,
            repeatable: true,
        };
        let by_http1 = message.request(false);
        assert_eq!(by_http1.uri(), "/keys/k?api-version=7.4");
        assert_eq!(by_http1.headers()[HOST], "hsm:8443");
        let by_http2 = message.request(true);
        assert_eq!(by_http2.uri(), url.as_str());
        assert!(!by_http2.headers().contains_key(HOST));
        for request in [by_http1, by_http2] {
            assert_eq!(request.headers()[USER_AGENT], "program/1");
            assert_eq!(request.headers()[AUTHORIZATION], "Bearer token");
            assert_eq!(request.headers()["x-ms-client-request-id"], "a name");
        }
    }
}
