//! Managed identity: of App Service (and Functions, Container Apps), or of a virtual machine by its
//! instance metadata service.
//!
//! azure_identity has these, too, but reads the environment at each request, when a server's worker
//! may have lost it; it knows no other address of the metadata service, and waits long where there
//! is none.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use url::Url;

use super::answer::{of_metadata_service, reason};
use super::http::{IdentityHttp, Sender, host, problem};
use super::source::{Failure, TokenRequest};
use crate::event_loop;
use crate::settings::credentials::{CredentialSettings, ManagedIdentityId};
use crate::token::AccessToken;

const IMDS: &str = "http://169.254.169.254";
const IMDS_PATH: &str = "/metadata/identity/oauth2/token";
const IMDS_VERSION: &str = "2018-02-01";
const APP_SERVICE_VERSION: &str = "2019-08-01";

/// How long an answer of the metadata service may take when it isn't known whether there is one.
const PROBE_TIMEOUT: Duration = Duration::from_secs(1);

/// How often it is asked in all when it answers that it can't say yet, and how long to wait first.
const ATTEMPTS: u32 = 5;
const FIRST_DELAY: Duration = Duration::from_millis(400);

/// Asks for a token. `alone`: no other credential is to be tried, so there is no need to find out
/// whether this one is there.
pub(super) async fn token(
    settings: &CredentialSettings,
    http: &IdentityHttp,
    request: &TokenRequest<'_>,
    alone: bool,
) -> Result<AccessToken, Failure> {
    let id = settings.managed_identity.clone().or_else(|| {
        let client_id = settings.client_id.clone();
        client_id.map(ManagedIdentityId::Client)
    });
    if let Some(endpoint) = &settings.identity_endpoint {
        let Some(header) = &settings.identity_header else {
            return Err(Failure::Unavailable(
                "IDENTITY_ENDPOINT is set without IDENTITY_HEADER; Azure Arc is not supported"
                    .to_owned(),
            ));
        };
        let url = app_service(endpoint, request, id.as_ref())?;
        let mut header = HeaderValue::from_str(header.expose()).map_err(|_| {
            Failure::Unavailable("IDENTITY_HEADER can't be sent in a header".to_owned())
        })?;
        header.set_sensitive(true);
        let header = (HeaderName::from_static("x-identity-header"), header);
        return ask(&http.local, header, &url).await;
    }
    let url = imds(settings.imds_host.as_ref(), request, id.as_ref())?;
    if !alone {
        probe(http, &url).await?;
        http.forget();
    }
    let header = (
        HeaderName::from_static("metadata"),
        HeaderValue::from_static("true"),
    );
    ask(&http.local, header, &url).await
}

fn app_service(
    endpoint: &str,
    request: &TokenRequest<'_>,
    id: Option<&ManagedIdentityId>,
) -> Result<Url, Failure> {
    let url = Url::parse(endpoint).ok();
    let url = url.filter(|url| matches!(url.scheme(), "http" | "https"));
    let mut url =
        url.ok_or_else(|| Failure::Unavailable("IDENTITY_ENDPOINT is not a URL".to_owned()))?;
    let mut query = url.query_pairs_mut();
    query.append_pair("api-version", APP_SERVICE_VERSION);
    query.append_pair("resource", request.audience);
    match id {
        Some(ManagedIdentityId::Client(id)) => query.append_pair("client_id", id),
        Some(ManagedIdentityId::Object(id)) => query.append_pair("principal_id", id),
        Some(ManagedIdentityId::Resource(id)) => query.append_pair("mi_res_id", id),
        None => &mut query,
    };
    drop(query);
    Ok(url)
}

fn imds(
    host: Option<&Url>,
    request: &TokenRequest<'_>,
    id: Option<&ManagedIdentityId>,
) -> Result<Url, Failure> {
    let default = || Url::parse(IMDS).expect("a constant URL is valid");
    let mut url = host.cloned().unwrap_or_else(default);
    if !url.path().contains("oauth2/token") {
        url.set_path(IMDS_PATH);
    }
    let mut query = url.query_pairs_mut();
    query.append_pair("api-version", IMDS_VERSION);
    query.append_pair("resource", request.audience);
    match id {
        Some(ManagedIdentityId::Client(id)) => query.append_pair("client_id", id),
        Some(ManagedIdentityId::Object(id)) => query.append_pair("object_id", id),
        Some(ManagedIdentityId::Resource(id)) => query.append_pair("msi_res_id", id),
        None => &mut query,
    };
    drop(query);
    Ok(url)
}

/// Whether there is a metadata service of Azure's: it refuses a request without the header Metadata
/// at once, with 400. Other clouds have other things at the same address.
async fn probe(http: &IdentityHttp, url: &Url) -> Result<(), Failure> {
    let asked = http.local.get(url, HeaderMap::new());
    let host = host(url);
    match event_loop::timeout(PROBE_TIMEOUT, asked).await {
        Ok(Ok(answer)) if answer.status == StatusCode::BAD_REQUEST => Ok(()),
        Ok(Ok(answer)) => Err(Failure::Unavailable(format!(
            "what answers at {host} is not Azure's instance metadata service (HTTP {})",
            answer.status.as_u16()
        ))),
        Ok(Err(failure)) => Err(nobody(&host, &failure.to_string())),
        Err(_) => {
            let seconds = PROBE_TIMEOUT.as_secs();
            Err(nobody(&host, &format!("no answer within {seconds} s")))
        }
    }
}

fn nobody(host: &str, problem: &str) -> Failure {
    Failure::Unavailable(format!(
        "no instance metadata service answers at {host} ({problem})"
    ))
}

async fn ask(
    http: &Sender,
    (name, value): (HeaderName, HeaderValue),
    url: &Url,
) -> Result<AccessToken, Failure> {
    let headers = HeaderMap::from_iter([(name, value)]);
    let host = host(url);
    let mut delay = FIRST_DELAY;
    for attempt in 1.. {
        let problem = match http.get(url, headers.clone()).await {
            Ok(answer) => {
                let (status, body) = (answer.status, answer.body);
                if status == StatusCode::OK {
                    return of_metadata_service(&body).map_err(|problem| {
                        Failure::Refused(format!("the answer of {host} is no use: {problem}"))
                    });
                }
                let reason = reason(&body).unwrap_or_else(|| "no reason given".to_owned());
                let problem = format!("{host} answered HTTP {}: {reason}", status.as_u16());
                // Documented as passing: 404, 410 (an update is under way), 429 and all of 5xx.
                let passing =
                    status.is_server_error() || matches!(status.as_u16(), 404 | 410 | 429);
                if !passing {
                    return Err(Failure::Refused(problem));
                }
                problem
            }
            Err(failure) => problem(&host, &failure),
        };
        if attempt == ATTEMPTS {
            return Err(Failure::Refused(problem));
        }
        event_loop::sleep(delay).await;
        delay *= 2;
    }
    unreachable!("the last attempt returns")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cloud::Cloud;

    const REQUEST: TokenRequest<'_> = TokenRequest {
        audience: "https://managedhsm.azure.net",
        cloud: Cloud::Public,
        claims: None,
    };

    #[test]
    fn each_identity_is_asked_for_as_documented() {
        let id = |id: fn(String) -> ManagedIdentityId| Some(id("x/y".to_owned()));
        for (id, of_imds, of_app_service) in [
            (None, "", ""),
            (
                id(ManagedIdentityId::Client),
                "&client_id=x%2Fy",
                "&client_id=x%2Fy",
            ),
            (
                id(ManagedIdentityId::Object),
                "&object_id=x%2Fy",
                "&principal_id=x%2Fy",
            ),
            (
                id(ManagedIdentityId::Resource),
                "&msi_res_id=x%2Fy",
                "&mi_res_id=x%2Fy",
            ),
        ] {
            let url = imds(None, &REQUEST, id.as_ref()).unwrap();
            let resource = "https%3A%2F%2Fmanagedhsm.azure.net";
            assert_eq!(
                url.as_str(),
                format!("{IMDS}{IMDS_PATH}?api-version=2018-02-01&resource={resource}{of_imds}")
            );
            let url = app_service("http://127.0.0.1:41/msi/token", &REQUEST, id.as_ref()).unwrap();
            assert_eq!(
                url.as_str(),
                format!(
                    "http://127.0.0.1:41/msi/token?api-version=2019-08-01&resource={resource}{of_app_service}"
                )
            );
        }
    }
}
