//! HTTP to those who give tokens. Redirects are never followed, answers are bounded.

use std::sync::Arc;

use azure_core::error::ErrorKind;
use azure_core::http::headers::{HeaderName, HeaderValue, Headers};
use azure_core::http::{AsyncRawResponse, Body, HttpClient, Method, Request};
use rustls::ClientConfig;
use url::{Origin, Url};

use crate::error::Error;
use crate::http::{AGENT, chain};
use crate::names::Names;
use crate::settings::Settings;
use crate::tls;

/// The largest answer that is read, in bytes.
const MAX_ANSWER: usize = 1 << 18;

/// Clients for Entra ID and for what is on this machine.
pub(crate) struct IdentityHttp {
    /// HTTPS only, through the proxy.
    pub(super) entra: reqwest::Client,
    /// Managed identity: plain HTTP within the machine, never through a proxy.
    pub(super) local: reqwest::Client,
}

impl IdentityHttp {
    pub(crate) fn new(settings: &Settings, tls: &ClientConfig) -> reqwest::Result<Self> {
        let builder = || {
            reqwest::Client::builder()
                .tls_backend_preconfigured(tls.clone())
                .dns_resolver(Names)
                .no_proxy()
                .redirect(reqwest::redirect::Policy::none())
                .retry(reqwest::retry::never())
                .connect_timeout(settings.connect_timeout)
                // Whoever needs a token runs the event loop of a connection; the next one may run another.
                .pool_max_idle_per_host(0)
                .http1_only()
                .user_agent(AGENT)
        };
        let mut entra = builder().https_only(true);
        if let Some(proxy) = settings.proxy() {
            entra = entra.proxy(proxy);
        }
        Ok(Self {
            entra: entra.build()?,
            local: builder().build()?,
        })
    }
}

/// HTTPS for Microsoft's libraries, to one host only.
pub(crate) fn azure_http(
    settings: &Settings,
    endpoint: &Url,
) -> Result<Arc<dyn HttpClient>, Error> {
    let tls = tls::client_config(settings)?;
    let http = IdentityHttp::new(settings, &tls)
        .map_err(|error| Error::Io(format!("no HTTP client can be made: {error}")))?;
    Ok(AzureTransport::shared(&http.entra, endpoint, None))
}

/// Reads an answer's body, up to a limit. The error is for a person.
pub(super) async fn read(
    mut response: reqwest::Response,
) -> Result<zeroize::Zeroizing<Vec<u8>>, String> {
    let told = response.content_length().unwrap_or(0) as usize;
    let mut body = zeroize::Zeroizing::new(Vec::with_capacity(told.min(MAX_ANSWER)));
    loop {
        match response.chunk().await {
            Ok(None) => return Ok(body),
            Ok(Some(chunk)) if body.len() + chunk.len() <= MAX_ANSWER => {
                body.extend_from_slice(&chunk);
            }
            Ok(Some(_)) => return Err(format!("the answer is longer than {MAX_ANSWER} bytes")),
            Err(error) => return Err(format!("the answer ends too early ({})", chain(&error))),
        }
    }
}

/// What Microsoft's libraries send their requests with: to one host and to no other, wherever its answers lead (a listing's
/// `nextLink`, say), since tokens and secrets are in them. Claims are added here, since azure_identity's requests have no place for
/// them.
#[derive(Debug)]
pub(super) struct AzureTransport {
    http: reqwest::Client,
    origin: Origin,
    claims: Option<String>,
}

impl AzureTransport {
    pub(super) fn shared(
        http: &reqwest::Client,
        endpoint: &Url,
        claims: Option<&str>,
    ) -> Arc<dyn HttpClient> {
        Arc::new(Self {
            http: http.clone(),
            origin: endpoint.origin(),
            claims: claims.map(str::to_owned),
        })
    }
}

#[async_trait::async_trait]
impl HttpClient for AzureTransport {
    async fn execute_request(&self, request: &Request) -> azure_core::Result<AsyncRawResponse> {
        let other = |text: String| azure_core::Error::with_message(ErrorKind::Other, text);
        if request.url().origin() != self.origin {
            return Err(other(format!(
                "an answer of {} leads to another host, {}, which is not asked",
                self.origin.ascii_serialization(),
                host(request.url())
            )));
        }
        let method = match request.method() {
            Method::Get => reqwest::Method::GET,
            Method::Post => reqwest::Method::POST,
            Method::Delete => reqwest::Method::DELETE,
            Method::Head => reqwest::Method::HEAD,
            Method::Patch => reqwest::Method::PATCH,
            Method::Put => reqwest::Method::PUT,
            method => return Err(other(format!("{method} is not a method that is known"))),
        };
        let Body::Bytes(body) = request.body() else {
            return Err(other("a request has no stream as its body".to_owned()));
        };
        let mut body = zeroize::Zeroizing::new(body.to_vec());
        if let Some(claims) = &self.claims {
            let claims = url::form_urlencoded::Serializer::new(String::new())
                .append_pair("claims", claims)
                .finish();
            body.push(b'&');
            body.extend_from_slice(claims.as_bytes());
        }
        let mut builder = self.http.request(method, Url::clone(request.url()));
        for (name, value) in request.headers().iter() {
            builder = builder.header(name.as_str(), value.as_str());
        }
        let sent = builder.body(body.to_vec()).send().await;
        let response = sent.map_err(|error| {
            azure_core::Error::with_message(
                ErrorKind::Connection,
                format!(
                    "{} can't be reached: {}",
                    host(request.url()),
                    chain(&error)
                ),
            )
        })?;
        let status = response.status().as_u16().into();
        let headers = response.headers().iter();
        let headers: std::collections::HashMap<HeaderName, HeaderValue> = headers
            .filter_map(|(name, value)| {
                let value = value.to_str().ok()?.to_owned();
                Some((name.as_str().to_owned().into(), value.into()))
            })
            .collect();
        let body = read(response)
            .await
            .map_err(|text| azure_core::Error::with_message(ErrorKind::Io, text))?;
        Ok(AsyncRawResponse::from_bytes(
            status,
            Headers::from(headers),
            body.to_vec(),
        ))
    }
}

/// A URL's scheme, host and port.
pub(super) fn host(url: &Url) -> String {
    url.origin().ascii_serialization()
}
