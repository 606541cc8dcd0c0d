//! Paths and queries, as leniently as the service reads them: any case, doubled and trailing
//! slashes.

use http::Method;
use percent_encoding::percent_decode_str;

use super::failure::Failure;
use super::versions::ApiVersion;
use super::{ekm, full_backup, security_domain, unconfirmed};
use crate::service::Service;

const MAX_NAME: usize = 127;

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Route {
    Keys,
    Key {
        name: String,
        version: Option<String>,
        action: KeyAction,
    },
    /// A certificate of a vault, with the version.
    Certificate(String, Option<String>),
    CertificateImport(String),
    DeletedKeys,
    Deleted(String),
    Purge(String),
    Recover(String),
    Random,
    Restore,
    Settings,
    Setting(String),
    SecurityDomain(security_domain::Action),
    FullBackup(full_backup::Action),
    Ekm(ekm::Action),
    /// Role definitions at a scope.
    Definitions(String),
    Definition(String, String),
    /// Role assignments at a scope.
    Assignments(String),
    Assignment(String, String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum KeyAction {
    Create,
    Import,
    Get,
    Update,
    Delete,
    Versions,
    Rotate,
    Sign,
    Backup,
    Policy,
    Verify,
    Encrypt,
    Decrypt,
    WrapKey,
    UnwrapKey,
    SecureWrapKey,
    SecureUnwrapKey,
    Release,
    Attestation,
}

impl Route {
    pub(super) fn parse(service: Service, method: &Method, path: &str) -> Result<Self, Failure> {
        let route = Self::parse_any(service, method, path)?;
        let in_vaults = match &route {
            Self::Random
            | Self::Settings
            | Self::Setting(_)
            | Self::SecurityDomain(_)
            | Self::FullBackup(_)
            | Self::Ekm(_)
            | Self::Definitions(_)
            | Self::Definition(..)
            | Self::Assignments(_)
            | Self::Assignment(..) => false,
            Self::Key {
                version, action, ..
            } => match action {
                KeyAction::Attestation | KeyAction::SecureWrapKey | KeyAction::SecureUnwrapKey => {
                    false
                }
                // What can't be a version is taken for an operation.
                KeyAction::Get => version.as_deref().is_none_or(is_version),
                _ => true,
            },
            Self::Certificate(_, version) => version.as_deref().is_none_or(is_version),
            _ => true,
        };
        match service {
            Service::KeyVault if !in_vaults => Err(unconfirmed::not_in_vaults(method, path)),
            _ => Ok(route),
        }
    }

    fn parse_any(service: Service, method: &Method, path: &str) -> Result<Self, Failure> {
        let segments: Vec<String> = path
            .split('/')
            .filter(|segment| !segment.is_empty())
            .map(|segment| percent_decode_str(segment).decode_utf8_lossy().into_owned())
            .collect();
        let lower: Vec<String> = segments
            .iter()
            .map(|segment| segment.to_ascii_lowercase())
            .collect();
        let lower: Vec<&str> = lower.iter().map(String::as_str).collect();
        let name = |index: usize| key_name(service, &segments[index]);
        match (method.as_str(), lower.as_slice()) {
            ("GET", ["keys"]) => Ok(Self::Keys),
            ("GET", ["deletedkeys"]) => Ok(Self::DeletedKeys),
            ("POST", ["rng"]) => Ok(Self::Random),
            ("POST", ["keys", "restore"]) => Ok(Self::Restore),
            (_, ["ekm", rest @ ..]) => ekm_route(method, rest, &segments, path),
            (_, ["securitydomain", ..]) => security_domain_route(method, &lower[1..], path),
            (_, ["backup" | "prebackup" | "restore" | "prerestore", ..]) => {
                full_backup_route(method, &lower, path)
            }
            ("PUT", ["keys", _, "restore"]) => {
                let action = full_backup::Action::RestoreKey(name(1)?);
                Ok(Self::FullBackup(action))
            }
            ("GET", ["settings"]) => Ok(Self::Settings),
            ("GET" | "PATCH", ["settings", _]) => Ok(Self::Setting(segments[1].clone())),
            (_, [.., "providers", "microsoft.authorization", _])
            | (_, [.., "providers", "microsoft.authorization", _, _]) => {
                role_route(service, method, path, &lower, &segments)
            }
            ("GET", ["certificates", _]) if service == Service::KeyVault => {
                Ok(Self::Certificate(name(1)?, None))
            }
            ("GET", ["certificates", _, version]) if service == Service::KeyVault => {
                Ok(Self::Certificate(name(1)?, Some((*version).to_owned())))
            }
            ("POST", ["certificates", _, "import"]) if service == Service::KeyVault => {
                Ok(Self::CertificateImport(name(1)?))
            }
            ("GET", ["deletedkeys", _]) => Ok(Self::Deleted(name(1)?)),
            ("DELETE", ["deletedkeys", _]) => Ok(Self::Purge(name(1)?)),
            ("POST", ["deletedkeys", _, "recover"]) => Ok(Self::Recover(name(1)?)),
            (_, ["keys", _, rest @ ..]) => {
                let name = name(1)?;
                let found = key_action(method, rest);
                let (version, action) = found.map_err(|failure| match service {
                    Service::KeyVault if !rest.is_empty() => {
                        unconfirmed::not_in_vaults(method, path)
                    }
                    _ => failure,
                })?;
                Ok(Self::Key {
                    name,
                    version: version.map(str::to_owned),
                    action,
                })
            }
            (_, ["keys" | "deletedkeys" | "rng" | "settings", ..]) => {
                Err(unconfirmed::method_not_allowed(method.as_str()))
            }
            _ => Err(unconfirmed::unknown_path(path)),
        }
    }
}

/// `/securitydomain/…`
fn security_domain_route(method: &Method, rest: &[&str], path: &str) -> Result<Route, Failure> {
    use security_domain::Action;
    let action = match (method.as_str(), rest) {
        ("POST", ["download"]) => Action::Download,
        ("GET", ["download", "pending"]) => Action::DownloadStatus,
        ("GET", ["upload"]) => Action::TransferKey,
        ("POST", ["upload"]) => Action::Upload,
        ("GET", ["upload", "pending"]) => Action::UploadStatus,
        (other, ["download" | "upload", ..]) => return Err(unconfirmed::method_not_allowed(other)),
        _ => return Err(unconfirmed::unknown_path(path)),
    };
    Ok(Route::SecurityDomain(action))
}

/// `/ekm/…`
fn ekm_route(
    method: &Method,
    rest: &[&str],
    segments: &[String],
    path: &str,
) -> Result<Route, Failure> {
    let last = segments.last().map_or("", String::as_str);
    let action = ekm::Action::parse(method, rest, last).map(Route::Ekm);
    action.ok_or_else(|| match rest {
        [] | ["create" | "certificate" | "check" | "privateendpoint", ..] => {
            unconfirmed::method_not_allowed(method.as_str())
        }
        _ => unconfirmed::unknown_path(path),
    })
}

/// `/backup`, `/restore`, what is asked before them, and how they go.
fn full_backup_route(method: &Method, lower: &[&str], path: &str) -> Result<Route, Failure> {
    use full_backup::Action;
    let action = match (method.as_str(), lower) {
        ("POST", ["backup"]) => Action::Backup,
        ("POST", ["prebackup"]) => Action::CheckBackup,
        ("PUT", ["restore"]) => Action::Restore,
        ("PUT", ["prerestore"]) => Action::CheckRestore,
        ("GET", ["backup", id, "pending"]) => Action::BackupStatus((*id).to_owned()),
        ("GET", ["restore", id, "pending"]) => Action::RestoreStatus((*id).to_owned()),
        (other, [_]) => return Err(unconfirmed::method_not_allowed(other)),
        _ => return Err(unconfirmed::unknown_path(path)),
    };
    Ok(Route::FullBackup(action))
}

/// `/<scope>/providers/Microsoft.Authorization/role{Definitions,Assignments}[/<name>]`
fn role_route(
    service: Service,
    method: &Method,
    path: &str,
    lower: &[&str],
    segments: &[String],
) -> Result<Route, Failure> {
    let unknown = || unconfirmed::unknown_path(path);
    let providers = lower
        .iter()
        .position(|segment| *segment == "providers")
        .ok_or_else(unknown)?;
    let scope = match &lower[..providers] {
        [] => "/".to_owned(),
        ["keys"] => "/keys".to_owned(),
        ["keys", _] => format!("/keys/{}", key_name(service, &segments[1])?),
        _ => return Err(unknown()),
    };
    let name = || segments[segments.len() - 1].clone();
    match (method.as_str(), &lower[providers + 2..]) {
        ("GET", ["roledefinitions"]) => Ok(Route::Definitions(scope)),
        ("GET", ["roleassignments"]) => Ok(Route::Assignments(scope)),
        ("GET" | "PUT" | "DELETE", ["roledefinitions", _]) => Ok(Route::Definition(scope, name())),
        ("GET" | "PUT" | "DELETE", ["roleassignments", _]) => Ok(Route::Assignment(scope, name())),
        (other, ["roledefinitions" | "roleassignments", ..]) => {
            Err(unconfirmed::method_not_allowed(other))
        }
        _ => Err(unknown()),
    }
}

fn key_action<'a>(
    method: &Method,
    rest: &[&'a str],
) -> Result<(Option<&'a str>, KeyAction), Failure> {
    match (method.as_str(), rest) {
        ("GET", []) => Ok((None, KeyAction::Get)),
        ("PUT", []) => Ok((None, KeyAction::Import)),
        ("PATCH", []) => Ok((None, KeyAction::Update)),
        ("DELETE", []) => Ok((None, KeyAction::Delete)),
        ("GET" | "PUT", ["rotationpolicy"]) => Ok((None, KeyAction::Policy)),
        ("POST", ["backup"]) => Ok((None, KeyAction::Backup)),
        ("GET", ["versions"]) => Ok((None, KeyAction::Versions)),
        ("GET", ["attestation"]) => Ok((None, KeyAction::Attestation)),
        ("GET", [version, "attestation"]) => Ok((Some(version), KeyAction::Attestation)),
        ("GET", [version]) => Ok((Some(version), KeyAction::Get)),
        ("PATCH", [version]) => Ok((Some(version), KeyAction::Update)),
        ("POST", ["create"]) => Ok((None, KeyAction::Create)),
        ("POST", ["rotate"]) => Ok((None, KeyAction::Rotate)),
        ("POST", []) => Err(Failure::operation_not_specified()),
        ("POST", [action]) => Ok((None, operation(action)?)),
        ("POST", [version, action]) => Ok((Some(version), operation(action)?)),
        _ => Err(unconfirmed::method_not_allowed(method.as_str())),
    }
}

fn operation(action: &str) -> Result<KeyAction, Failure> {
    match action {
        "sign" => Ok(KeyAction::Sign),
        "verify" => Ok(KeyAction::Verify),
        "encrypt" => Ok(KeyAction::Encrypt),
        "decrypt" => Ok(KeyAction::Decrypt),
        "wrapkey" => Ok(KeyAction::WrapKey),
        "unwrapkey" => Ok(KeyAction::UnwrapKey),
        "securewrapkey" => Ok(KeyAction::SecureWrapKey),
        "secureunwrapkey" => Ok(KeyAction::SecureUnwrapKey),
        "release" => Ok(KeyAction::Release),
        other => Err(Failure::action_not_supported(other)),
    }
}

/// Whether a segment of a path has the form of a version.
fn is_version(segment: &str) -> bool {
    segment.len() == 32 && segment.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn key_name(service: Service, segment: &str) -> Result<String, Failure> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    if segment.len() <= MAX_NAME && segment.bytes().all(allowed) {
        Ok(segment.to_owned())
    } else {
        Err(Failure::invalid_key_name(service, segment))
    }
}

/// The query's parameters that the API knows.
#[derive(Debug, Default)]
pub(super) struct Query {
    api_version: Option<String>,
    pub(super) max_results: Option<String>,
    pub(super) skip_token: Option<String>,
    pub(super) filter: Option<String>,
}

impl Query {
    pub(super) fn parse(query: &str) -> Self {
        let mut parsed = Self::default();
        for pair in query.split('&') {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let decode = |text: &str| {
                // A space may stand as a plus.
                let text = text.replace('+', " ");
                percent_decode_str(&text).decode_utf8_lossy().into_owned()
            };
            let slot = match decode(name).to_ascii_lowercase().as_str() {
                "api-version" => &mut parsed.api_version,
                "maxresults" => &mut parsed.max_results,
                "$skiptoken" => &mut parsed.skip_token,
                "$filter" => &mut parsed.filter,
                _ => continue,
            };
            *slot = Some(decode(value));
        }
        parsed
    }

    /// As it stands in the query.
    pub(super) fn api_version(&self) -> &str {
        self.api_version.as_deref().unwrap_or_default()
    }

    /// What it means.
    pub(super) fn version(&self, service: Service) -> Result<ApiVersion, Failure> {
        ApiVersion::of(self.api_version.as_deref(), service)
    }
}

#[cfg(test)]
mod documented;

#[cfg(test)]
mod tests {
    use super::*;

    fn key(version: Option<&str>, action: KeyAction) -> Route {
        Route::Key {
            name: "Key-1".to_owned(),
            version: version.map(str::to_owned),
            action,
        }
    }

    #[test]
    fn paths_are_read_in_every_form_that_clients_send() {
        for (method, path, expected) in [
            ("GET", "/keys", Route::Keys),
            ("GET", "/KEYS/", Route::Keys),
            ("GET", "/keys/Key-1/", key(None, KeyAction::Get)),
            ("GET", "/keys/Key-1/ab", key(Some("ab"), KeyAction::Get)),
            ("POST", "/keys/Key-1//sign", key(None, KeyAction::Sign)),
            (
                "POST",
                "/Keys/Key-1/AB/Sign",
                key(Some("ab"), KeyAction::Sign),
            ),
            ("POST", "/keys/Key%2D1/verify", key(None, KeyAction::Verify)),
            ("POST", "/keys/Key-1/create", key(None, KeyAction::Create)),
            (
                "GET",
                "/keys/Key-1/versions",
                key(None, KeyAction::Versions),
            ),
            ("PATCH", "/keys/Key-1/", key(None, KeyAction::Update)),
            ("POST", "/rng", Route::Random),
            (
                "POST",
                "/deletedKeys/k/recover",
                Route::Recover("k".to_owned()),
            ),
        ] {
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            let route = Route::parse(Service::ManagedHsm, &method, path);
            assert_eq!(route.ok(), Some(expected), "{path}");
        }
    }

    #[test]
    fn names_that_no_key_can_have_are_refused() {
        for name in ["key%21@%23$", "a_b", "a.b", "%2f", &"a".repeat(128)] {
            let path = format!("/keys/{name}");
            let parse = |service| Route::parse(service, &Method::GET, &path).unwrap_err();
            let message = parse(Service::ManagedHsm).message;
            assert_eq!(message, "Invalid key identifier or name", "{name}");
            let message = parse(Service::KeyVault).message;
            assert!(
                message.starts_with("The request URI contains an invalid name: "),
                "{name}"
            );
        }
    }
}
