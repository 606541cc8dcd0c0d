//! The HSM's connection to an external key manager, by that one's proxy. The emulator stands for
//! the proxy and for the key manager: nothing is ever asked outside, and keys of `external` are
//! there whether or not there is a connection.

mod private_endpoint;

use http::Method;
use openssl::x509::X509;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::failure::Failure;
use super::reply::Reply;
use super::unconfirmed::ekm as refused;
use super::{Call, stored_badly, unconfirmed};
use crate::store::EKM_CONNECTIONS;

/// What the connection is kept under: an HSM has one.
const NAME: &str = "connection";

/// The host of a connection in this mode is the name of a private endpoint.
const BY_PRIVATE_ENDPOINT: &str = "PrivateEndpoint";
const MODES: [&str; 2] = ["Public", BY_PRIVATE_ENDPOINT];

/// What is done with the connection, or with a private endpoint that it goes by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Action {
    Get,
    Create,
    Update,
    Delete,
    /// What the HSM shows to the proxy.
    Certificate,
    /// Whether the proxy answers.
    Check,
    PrivateEndpoints,
    PrivateEndpoint(String),
    CreatePrivateEndpoint(String),
    DeletePrivateEndpoint(String),
    /// How the creation or the deletion of this id goes.
    PrivateEndpointStatus(String),
}

impl Action {
    /// By what follows `/ekm` in a path, in lower case, and its last segment as it is. None: there
    /// is no such thing.
    pub(super) fn parse(method: &Method, rest: &[&str], last: &str) -> Option<Self> {
        let name = || last.to_owned();
        Some(match (method.as_str(), rest) {
            ("GET", []) => Self::Get,
            ("PATCH", []) => Self::Update,
            ("DELETE", []) => Self::Delete,
            ("POST", ["create"]) => Self::Create,
            ("GET", ["certificate"]) => Self::Certificate,
            ("POST", ["check"]) => Self::Check,
            ("GET", ["privateendpoint"]) => Self::PrivateEndpoints,
            ("GET", ["privateendpoint", "operations", _]) => Self::PrivateEndpointStatus(name()),
            ("GET", ["privateendpoint", _]) => Self::PrivateEndpoint(name()),
            ("POST", ["privateendpoint", _]) => Self::CreatePrivateEndpoint(name()),
            ("DELETE", ["privateendpoint", _]) => Self::DeletePrivateEndpoint(name()),
            _ => return None,
        })
    }

    /// Whether it is about private endpoints, which came later.
    pub(super) fn is_of_private_endpoints(&self) -> bool {
        matches!(
            self,
            Self::PrivateEndpoints
                | Self::PrivateEndpoint(_)
                | Self::CreatePrivateEndpoint(_)
                | Self::DeletePrivateEndpoint(_)
                | Self::PrivateEndpointStatus(_)
        )
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Connection {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    connectivity_mode: Option<String>,
    host: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    path_prefix: Option<String>,
    /// DER, in base64.
    server_ca_certificates: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    server_subject_common_name: Option<String>,
}

/// A new connection, or what is to change of one.
#[derive(Deserialize)]
struct Request {
    connectivity_mode: Option<String>,
    host: Option<String>,
    path_prefix: Option<String>,
    server_ca_certificates: Option<Vec<String>>,
    server_subject_common_name: Option<String>,
}

pub(super) fn answer(call: &Call<'_>, action: Action) -> Result<Reply, Failure> {
    match action {
        Action::Get => shown(call, current(call)?),
        Action::Create => create(call),
        Action::Update => update(call),
        Action::Delete => delete(call),
        Action::Certificate => certificate(call),
        Action::Check => check(call),
        Action::PrivateEndpoints => private_endpoint::list(call),
        Action::PrivateEndpoint(name) => private_endpoint::get(call, &name),
        Action::CreatePrivateEndpoint(name) => private_endpoint::create(call, &name),
        Action::DeletePrivateEndpoint(name) => private_endpoint::delete(call, &name),
        Action::PrivateEndpointStatus(id) => private_endpoint::status(call, &id),
    }
}

fn find(call: &Call<'_>) -> Option<Connection> {
    call.store.document(EKM_CONNECTIONS, NAME)
}

fn current(call: &Call<'_>) -> Result<Connection, Failure> {
    find(call).ok_or_else(refused::no_connection)
}

fn shown(call: &Call<'_>, mut connection: Connection) -> Result<Reply, Failure> {
    if !call.version.has_private_endpoints() {
        connection.connectivity_mode = None;
    }
    Reply::ok(&connection)
}

fn create(call: &Call<'_>) -> Result<Reply, Failure> {
    let connection = merged(call, call.parse()?, None)?;
    call.put_checked(EKM_CONNECTIONS, NAME, &connection, || match find(call) {
        Some(_) => Err(refused::connection_exists()),
        None => has_its_endpoint(call, &connection),
    })?;
    shown(call, connection)
}

fn update(call: &Call<'_>) -> Result<Reply, Failure> {
    loop {
        let before = current(call)?;
        let after = merged(call, call.parse()?, Some(before.clone()))?;
        has_its_endpoint(call, &after)?;
        // What somebody else has changed meanwhile is not written over.
        let is_as_before = || find(call).as_ref() == Some(&before);
        let kept = call
            .store
            .put_if(EKM_CONNECTIONS, NAME, &after, is_as_before);
        if kept.map_err(|error| stored_badly("connection", &error))? {
            return shown(call, after);
        }
    }
}

fn delete(call: &Call<'_>) -> Result<Reply, Failure> {
    let connection = current(call)?;
    match call.remove(EKM_CONNECTIONS, NAME)? {
        true => shown(call, connection),
        false => Err(refused::no_connection()),
    }
}

/// A connection with what a request says, and for the rest what it was before.
fn merged(
    call: &Call<'_>,
    request: Request,
    before: Option<Connection>,
) -> Result<Connection, Failure> {
    let (host, certificates, before) = match before {
        None => (None, None, None),
        Some(it) => (
            Some(it.host.clone()),
            Some(it.server_ca_certificates.clone()),
            Some(it),
        ),
    };
    let before = before.as_ref();
    let missing = |member| move || unconfirmed::missing_member(member);
    let host = request.host.or(host).ok_or_else(missing("host"))?;
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-.:".contains(&byte);
    if host.is_empty() || !host.bytes().all(allowed) {
        return Err(refused::host(&host));
    }
    let certificates = request.server_ca_certificates.or(certificates);
    let certificates = certificates.ok_or_else(missing("server_ca_certificates"))?;
    if certificates.is_empty() || certificates.iter().any(|text| bytes(text).is_none()) {
        return Err(refused::ca_certificates());
    }
    let mode = request.connectivity_mode;
    let mode = mode.filter(|_| call.version.has_private_endpoints());
    if let Some(unknown) = mode.as_deref().filter(|mode| !MODES.contains(mode)) {
        return Err(refused::connectivity_mode(unknown));
    }
    Ok(Connection {
        connectivity_mode: mode.or_else(|| before?.connectivity_mode.clone()),
        host,
        path_prefix: request.path_prefix.or_else(|| before?.path_prefix.clone()),
        server_ca_certificates: certificates,
        server_subject_common_name: request
            .server_subject_common_name
            .or_else(|| before?.server_subject_common_name.clone()),
    })
}

fn bytes(text: &str) -> Option<Vec<u8>> {
    let bytes = openssl::base64::decode_block(text).ok();
    bytes.filter(|bytes| !bytes.is_empty())
}

/// Refuses a connection by a private endpoint that isn't there.
fn has_its_endpoint(call: &Call<'_>, connection: &Connection) -> Result<(), Failure> {
    if connection.connectivity_mode.as_deref() == Some(BY_PRIVATE_ENDPOINT) {
        private_endpoint::find(call, &connection.host)?;
    }
    Ok(())
}

/// Whether the connection goes by a private endpoint.
fn goes_by(call: &Call<'_>, endpoint: &str) -> bool {
    find(call).is_some_and(|connection| {
        connection.connectivity_mode.as_deref() == Some(BY_PRIVATE_ENDPOINT)
            && connection.host.eq_ignore_ascii_case(endpoint)
    })
}

/// A proxy asks for it before there can be a connection. Unconfirmed: that it is told then.
fn certificate(call: &Call<'_>) -> Result<Reply, Failure> {
    let unreadable = || unconfirmed::internal("there is no client certificate");
    let key = call.shared.attester.key().map_err(|_| unreadable())?;
    let chain = key.chain.x5c().map_err(|_| unreadable())?;
    Reply::ok(&json!({
        // Its own certificate comes first.
        "ca_certificates": chain.get(1..).unwrap_or_default(),
        "subject_common_name": key.chain.common_name().ok_or_else(unreadable)?,
    }))
}

/// Only here are the certificates read: a connection is made with any bytes, as the tests of
/// Microsoft's library for Go say and do.
fn check(call: &Call<'_>) -> Result<Reply, Failure> {
    let connection = current(call)?;
    let is_certificate =
        |text: &String| bytes(text).is_some_and(|der| X509::from_der(&der).is_ok());
    if !connection.server_ca_certificates.iter().all(is_certificate) {
        return Err(refused::ca_certificates());
    }
    let version = env!("CARGO_PKG_VERSION");
    Reply::ok(&json!({
        "api_version": "1.0",
        "ekm_product": format!("managed-hsm-emulator {version}"),
        "ekm_vendor": "managed-hsm-emulator",
        "proxy_name": format!("managed-hsm-emulator {version}"),
        "proxy_vendor": "managed-hsm-emulator",
    }))
}
