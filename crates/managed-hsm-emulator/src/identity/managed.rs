//! Managed identities, as a virtual machine's instance metadata service and App Service give tokens
//! for them.

use http::{HeaderMap, HeaderValue};
use serde_json::{Value, json};

use super::account::Account;
use super::form::Form;
use super::refusal::Refusal;
use super::{Grant, Identity};
use crate::clock::unix_seconds;
use crate::token::TokenKey;

/// The one version of App Service's endpoint that has the header.
const APP_SERVICE_VERSION: &str = "2019-08-01";

/// Whether a path is of the endpoints for managed identities, which Azure serves over plain HTTP.
pub(crate) fn is_for(path: &str) -> bool {
    let segments: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    matches!(
        segments.as_slice(),
        ["metadata", "identity", "oauth2", "token"] | ["msi", "token"]
    )
}

impl Identity {
    /// `/metadata/identity/oauth2/token` of the instance metadata service.
    pub(super) fn instance_metadata(
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
        let query = Form::parse(query.unwrap_or_default().as_bytes());
        query
            .get("api-version")
            .ok_or_else(Refusal::no_metadata_version)?;
        let resource = query.get("resource").ok_or_else(Refusal::no_resource)?;
        let account = self
            .managed_identity(&query)
            .ok_or_else(Refusal::no_identity)?;
        let (lifetime, now) = (self.lifetime(), unix_seconds());
        Ok(json!({
            "access_token": self.token(key, account, resource, Grant::InstanceMetadata)?,
            "client_id": account.client_id,
            "expires_in": lifetime.to_string(),
            "expires_on": now.saturating_add(lifetime).to_string(),
            "ext_expires_in": lifetime.to_string(),
            "not_before": now.to_string(),
            "resource": resource,
            "token_type": "Bearer",
        }))
    }

    /// The endpoint that App Service and Functions have.
    pub(super) fn app_service(
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
        let query = Form::parse(query.unwrap_or_default().as_bytes());
        let version = query.get("api-version").unwrap_or_default();
        if version != APP_SERVICE_VERSION {
            return Err(Refusal::app_service_version(version));
        }
        let resource = query.get("resource");
        let resource = resource.ok_or_else(Refusal::no_app_service_resource)?;
        let account = self.managed_identity(&query);
        let account = account.ok_or_else(Refusal::no_app_service_identity)?;
        Ok(json!({
            "access_token": self.token(key, account, resource, Grant::AppService)?,
            "client_id": account.client_id,
            "expires_on": unix_seconds().saturating_add(self.lifetime()).to_string(),
            "resource": resource,
            "token_type": "Bearer",
        }))
    }

    /// The identity that a query asks for; without a name, the machine's own.
    fn managed_identity(&self, query: &Form) -> Option<&Account> {
        let any = |names: &[&str]| names.iter().find_map(|name| query.get(name));
        let client = any(&["client_id"]);
        let object = any(&["object_id", "principal_id"]);
        let resource = any(&["msi_res_id", "mi_res_id"]);
        let mut identities = self
            .accounts
            .iter()
            .filter(|account| account.managed_identity);
        identities.find(|account| {
            let id = account.resource_id.as_deref().unwrap_or_default();
            client.is_none_or(|client| account.client_id.eq_ignore_ascii_case(client))
                && object.is_none_or(|object| account.object_id.eq_ignore_ascii_case(object))
                && resource.is_none_or(|resource| id.eq_ignore_ascii_case(resource))
        })
    }
}
