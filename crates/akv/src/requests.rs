//! The requests of Microsoft's client in the log, as the provider's own are.

use std::sync::Arc;
use std::time::Instant;

use azure_core::http::headers::{HeaderName, Headers};
use azure_core::http::{AsyncRawResponse, HttpClient, Request};
use managed_hsm::ForeignText;

/// HTTP that says in the log how each request ended.
#[derive(Debug)]
pub(crate) struct Logged(pub(crate) Arc<dyn HttpClient>);

#[async_trait::async_trait]
impl HttpClient for Logged {
    async fn execute_request(&self, request: &Request) -> azure_core::Result<AsyncRawResponse> {
        let started = Instant::now();
        let outcome = self.0.execute_request(request).await;
        if log::log_enabled!(log::Level::Info) {
            log(request, outcome.as_ref().ok(), started);
        }
        outcome
    }
}

/// The path may be the service's, which tells where the next page of a list is.
fn log(request: &Request, answer: Option<&AsyncRawResponse>, started: Instant) {
    let header = |headers: &Headers, name: &'static str| {
        let value = headers.get_optional_str(&HeaderName::from_static(name));
        ForeignText::new(value.unwrap_or("none"))
    };
    let status = answer.map(|answer| u16::from(answer.status()).to_string());
    let request_id = answer.map(|answer| header(answer.headers(), "x-ms-request-id"));
    log::info!(
        status = status.as_deref().unwrap_or("none"),
        ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
        request_id:% = request_id.unwrap_or_else(|| ForeignText::new("none")),
        client_request_id:% = header(request.headers(), "x-ms-client-request-id");
        "{} {}", request.method(), ForeignText::new(request.url().path())
    );
}
