//! Paths and queries, as leniently as the service reads them: any case, doubled and trailing slashes.

use http::Method;
use percent_encoding::percent_decode_str;

use super::failure::Failure;
use super::unconfirmed;
use crate::service::Service;

/// Versions that only Key Vault ever had.
const OLD_VAULT_VERSIONS: [&str; 3] = ["2016-10-01", "7.0", "7.1"];

/// Versions that real clients were seen to use, oldest first.
const API_VERSIONS: [&str; 16] = [
    "7.2-preview",
    "7.2",
    "7.3-preview",
    "7.3",
    "7.4-preview.1",
    "7.4",
    "7.5-preview.1",
    "7.5",
    "7.6-preview.1",
    HMAC_SINCE,
    "7.6",
    "2025-06-01-preview",
    "2025-07-01",
    KEY_SIZE_SINCE,
    ML_DSA_SINCE,
    "2026-07-01-preview",
];

/// The first version with HS256, HS384 and HS512.
const HMAC_SINCE: &str = "7.6-preview.2";

/// The first version that tells the size of symmetric keys.
const KEY_SIZE_SINCE: &str = "2026-01-01-preview";

/// The first version with keys of ML-DSA.
const ML_DSA_SINCE: &str = "2026-05-01-preview";

const MAX_NAME: usize = 127;

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Route {
    Keys,
    Key {
        name: String,
        version: Option<String>,
        action: KeyAction,
    },
    DeletedKeys,
    Deleted(String),
    Purge(String),
    Recover(String),
    Random,
    Restore,
    Settings,
    Setting(String),
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
            | Self::Definitions(_)
            | Self::Definition(..)
            | Self::Assignments(_)
            | Self::Assignment(..) => false,
            Self::Key { action, .. } => *action != KeyAction::Attestation,
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
            ("GET", ["settings"]) => Ok(Self::Settings),
            ("GET" | "PATCH", ["settings", _]) => Ok(Self::Setting(segments[1].clone())),
            (_, [.., "providers", "microsoft.authorization", _])
            | (_, [.., "providers", "microsoft.authorization", _, _]) => {
                role_route(service, method, path, &lower, &segments)
            }
            ("GET", ["deletedkeys", _]) => Ok(Self::Deleted(name(1)?)),
            ("DELETE", ["deletedkeys", _]) => Ok(Self::Purge(name(1)?)),
            ("POST", ["deletedkeys", _, "recover"]) => Ok(Self::Recover(name(1)?)),
            (_, ["keys", _, rest @ ..]) => {
                let name = name(1)?;
                let (version, action) = key_action(method, rest)?;
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
        "release" => Ok(KeyAction::Release),
        other => Err(Failure::action_not_supported(other)),
    }
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
}

impl Query {
    pub(super) fn parse(query: &str) -> Self {
        let mut parsed = Self::default();
        for pair in query.split('&') {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let decode = |text| percent_decode_str(text).decode_utf8_lossy().into_owned();
            let slot = match decode(name).to_ascii_lowercase().as_str() {
                "api-version" => &mut parsed.api_version,
                "maxresults" => &mut parsed.max_results,
                "$skiptoken" => &mut parsed.skip_token,
                _ => continue,
            };
            *slot = Some(decode(value));
        }
        parsed
    }

    pub(super) fn api_version(&self) -> &str {
        self.api_version.as_deref().unwrap_or_default()
    }

    /// An HSM's `nextLink` has no version, so that none is no fault there; a vault's has one.
    pub(super) fn check_api_version(&self, service: Service) -> Result<(), Failure> {
        let in_vault = service == Service::KeyVault;
        match self.api_version.as_deref() {
            None if in_vault => Err(unconfirmed::no_api_version()),
            None => Ok(()),
            Some(version) if API_VERSIONS.contains(&version) => Ok(()),
            Some(version) if in_vault && OLD_VAULT_VERSIONS.contains(&version) => Ok(()),
            Some(version) => Err(unconfirmed::api_version(version)),
        }
    }

    pub(super) fn knows_hmac(&self) -> bool {
        self.is_since(HMAC_SINCE)
    }

    pub(super) fn tells_key_size(&self) -> bool {
        self.is_since(KEY_SIZE_SINCE)
    }

    pub(super) fn knows_ml_dsa(&self) -> bool {
        self.is_since(ML_DSA_SINCE)
    }

    /// A request without a version is one of the newest.
    fn is_since(&self, first: &str) -> bool {
        let Some(asked) = &self.api_version else {
            return true;
        };
        let mut since = API_VERSIONS.iter().skip_while(|known| **known != first);
        since.any(|known| known == asked)
    }
}

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

    #[test]
    fn hmac_came_with_a_preview_of_7_6() {
        for (query, known) in [
            ("api-version=7.4", false),
            ("api-version=7.6-preview.1", false),
            ("api-version=7.6-preview.2", true),
            ("api-version=7.6", true),
            ("api-version=2025-07-01", true),
            ("", true),
        ] {
            assert_eq!(Query::parse(query).knows_hmac(), known, "{query}");
        }
    }

    #[test]
    fn ml_dsa_came_with_a_preview_of_2026() {
        for (version, known) in [
            ("7.4", false),
            ("2025-07-01", false),
            ("2026-01-01-preview", false),
            ("2026-05-01-preview", true),
            ("2026-07-01-preview", true),
        ] {
            let query = Query::parse(&format!("api-version={version}"));
            assert_eq!(query.knows_ml_dsa(), known, "{version}");
            assert!(query.check_api_version(Service::ManagedHsm).is_ok());
        }
    }

    #[test]
    fn a_next_link_needs_no_api_version() {
        for (query, in_hsm, in_vault) in [
            ("", true, false),
            ("maxresults=1&$skiptoken=x", true, false),
            ("api-version=7.4", true, true),
            ("API-Version=2025-07-01", true, true),
            ("api-version=7.1", false, true),
            ("api-version=6.0", false, false),
            ("api-version=", false, false),
        ] {
            let query = Query::parse(query);
            let accepted = |service| query.check_api_version(service).is_ok();
            assert_eq!(accepted(Service::ManagedHsm), in_hsm, "{query:?}");
            assert_eq!(accepted(Service::KeyVault), in_vault, "{query:?}");
        }
    }
}
