//! Records of the audit log, in the form that Azure writes for each of the services in the category
//! `AuditEvent`.

use std::time::Duration;

use http::request::Parts;
use http::{HeaderMap, Method, StatusCode, header};
use serde_json::{Value, json};

use super::ekm;
use super::full_backup;
use super::host;
use super::route::{KeyAction, Query, Route};
use super::security_domain;
use crate::clock::rfc3339_now;
use crate::hsm::Hsm;
use crate::service::Service;
use crate::token::{Principal, TENANT};

pub(super) const CLIENT_REQUEST_ID: &str = "x-ms-client-request-id";

/// What a record is made of before the request is carried out.
pub(super) struct Asked {
    operation: String,
    version: String,
    uri: String,
    client: String,
    client_request_id: Option<String>,
    caller: String,
}

impl Asked {
    pub(super) fn new(hsm: &Hsm, parts: &Parts, caller: std::net::IpAddr) -> Self {
        let query = parts.uri.query();
        let route = Route::parse(hsm.service, &parts.method, parts.uri.path());
        let text = query.map_or(String::new(), |query| format!("?{query}"));
        Self {
            operation: route.map_or_else(
                |_| "Unknown".to_owned(),
                |route| name(&route, &parts.method),
            ),
            version: Query::parse(query.unwrap_or_default())
                .api_version()
                .to_owned(),
            uri: format!("https://{}{}{text}", host(parts), parts.uri.path()),
            client: header_text(&parts.headers, header::USER_AGENT.as_str()).unwrap_or_default(),
            client_request_id: header_text(&parts.headers, CLIENT_REQUEST_ID),
            caller: caller.to_string(),
        }
    }

    /// The record of the answer. None is the principal of a caller whose token is missing or wrong.
    pub(super) fn record(
        self,
        hsm: &Hsm,
        principal: Option<&Principal>,
        request_id: &str,
        status: StatusCode,
        elapsed: Duration,
    ) -> Value {
        let operation = match status {
            StatusCode::UNAUTHORIZED => "Authentication".to_owned(),
            _ => self.operation.clone(),
        };
        match hsm.service {
            Service::ManagedHsm => {
                self.of_hsm(hsm, &operation, principal, request_id, status, elapsed)
            }
            Service::KeyVault => self.of_vault(hsm, &operation, principal, status, elapsed),
        }
    }

    fn of_hsm(
        self,
        hsm: &Hsm,
        operation: &str,
        principal: Option<&Principal>,
        request_id: &str,
        status: StatusCode,
        elapsed: Duration,
    ) -> Value {
        let identity = principal.map_or_else(
            || json!({}),
            |principal| {
                json!({"claim": {
                    "appid": principal.client_id,
                    "http_schemas_microsoft_com_identity": {
                        "claims": {"objectidentifier": principal.object_id},
                    },
                }})
            },
        );
        json!({
            "TenantId": TENANT,
            "time": rfc3339_now(),
            "resourceId": resource_id("MANAGEDHSMS", &hsm.name),
            "operationName": operation,
            "operationVersion": self.version,
            "category": "AuditEvent",
            "resultType": result(status),
            "properties": {"PoolType": "M-HSM", "sku_Family": "B", "sku_Name": "Standard_B1"},
            "durationMs": whole_milliseconds(elapsed),
            "callerIpAddress": self.caller,
            // As a text in JSON.
            "identity": identity.to_string(),
            "clientInfo": self.client,
            "correlationId": self.client_request_id.unwrap_or_else(|| request_id.to_owned()),
            "subnetId": "(unknown)",
            "httpStatusCode": status.as_u16(),
            "PoolName": hsm.name,
            "requestUri": self.uri,
            "resourceGroup": "emulator",
            "resourceProvider": "MICROSOFT.KEYVAULT",
            "resource": hsm.name,
            "resourceType": "managedHSMs",
        })
    }

    fn of_vault(
        self,
        hsm: &Hsm,
        operation: &str,
        principal: Option<&Principal>,
        status: StatusCode,
        elapsed: Duration,
    ) -> Value {
        let identity = principal.map_or_else(
            || json!({"claim": {}}),
            |principal| {
                json!({"claim": {
                    "appid": principal.client_id,
                    "http://schemas.microsoft.com/identity/claims/objectidentifier": principal.object_id,
                }})
            },
        );
        let id = self.uri.split('?').next().unwrap_or_default();
        json!({
            "time": rfc3339_now(),
            "resourceId": resource_id("VAULTS", &hsm.name),
            "operationName": operation,
            "operationVersion": self.version,
            "category": "AuditEvent",
            "resultType": result(status),
            "resultSignature": status.canonical_reason().unwrap_or_default(),
            "resultDescription": "",
            "durationMs": whole_milliseconds(elapsed).to_string(),
            "callerIpAddress": self.caller,
            "correlationId": self.client_request_id.unwrap_or_default(),
            "identity": identity,
            "properties": {
                "clientInfo": self.client,
                "requestUri": self.uri,
                "id": id,
                "httpStatusCode": status.as_u16(),
            },
        })
    }
}

fn header_text(headers: &HeaderMap, name: &str) -> Option<String> {
    Some(headers.get(name)?.to_str().ok()?.to_owned())
}

fn resource_id(kind: &str, name: &str) -> String {
    format!(
        "/SUBSCRIPTIONS/{TENANT}/RESOURCEGROUPS/EMULATOR/PROVIDERS/MICROSOFT.KEYVAULT/{kind}/{}",
        name.to_uppercase()
    )
}

/// Unconfirmed: what isn't a success.
fn result(status: StatusCode) -> &'static str {
    if status.is_success() {
        "Success"
    } else {
        "Failure"
    }
}

fn whole_milliseconds(elapsed: Duration) -> u64 {
    u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)
}

/// The name of an operation: those of keys as documented, the others in their way. Unconfirmed: the
/// others.
fn name(route: &Route, method: &Method) -> String {
    let by_method = |what: &str| match *method {
        Method::GET => format!("{what}Get"),
        Method::DELETE => format!("{what}Delete"),
        Method::PATCH => format!("{what}Update"),
        _ => format!("{what}Create"),
    };
    let fixed = match route {
        Route::Setting(_) => return by_method("Setting"),
        Route::Definition(..) => return by_method("RoleDefinition"),
        Route::Assignment(..) => return by_method("RoleAssignment"),
        Route::Key { action, .. } => of_key(*action, method),
        Route::Keys => "KeyList",
        Route::DeletedKeys => "KeyListDeleted",
        Route::Deleted(_) => "KeyGetDeleted",
        Route::Purge(_) => "KeyPurge",
        Route::Recover(_) => "KeyRecover",
        Route::Restore => "KeyRestore",
        Route::Random => "RandomBytesGet",
        Route::Settings => "SettingList",
        Route::CertificateImport(_) => "CertificateImport",
        Route::Certificate(..) => "CertificateGet",
        Route::Definitions(_) => "RoleDefinitionList",
        Route::Assignments(_) => "RoleAssignmentList",
        Route::SecurityDomain(action) => match action {
            security_domain::Action::Download => "SecurityDomainDownload",
            security_domain::Action::DownloadStatus => "SecurityDomainDownloadStatusGet",
            security_domain::Action::TransferKey => "SecurityDomainTransferKeyGet",
            security_domain::Action::Upload => "SecurityDomainUpload",
            security_domain::Action::UploadStatus => "SecurityDomainUploadStatusGet",
        },
        Route::FullBackup(action) => match action {
            full_backup::Action::Backup => "BackupCreate",
            full_backup::Action::CheckBackup => "BackupCheck",
            full_backup::Action::BackupStatus(_) => "BackupStatusGet",
            full_backup::Action::Restore => "RestoreCreate",
            full_backup::Action::CheckRestore => "RestoreCheck",
            full_backup::Action::RestoreKey(_) => "SelectiveRestoreCreate",
            full_backup::Action::RestoreStatus(_) => "RestoreStatusGet",
        },
        Route::Ekm(action) => match action {
            ekm::Action::Get => "EkmConnectionGet",
            ekm::Action::Create => "EkmConnectionCreate",
            ekm::Action::Update => "EkmConnectionUpdate",
            ekm::Action::Delete => "EkmConnectionDelete",
            ekm::Action::Certificate => "EkmCertificateGet",
            ekm::Action::Check => "EkmConnectionCheck",
            ekm::Action::PrivateEndpoints => "EkmPrivateEndpointList",
            ekm::Action::PrivateEndpoint(_) => "EkmPrivateEndpointGet",
            ekm::Action::CreatePrivateEndpoint(_) => "EkmPrivateEndpointCreate",
            ekm::Action::DeletePrivateEndpoint(_) => "EkmPrivateEndpointDelete",
            ekm::Action::PrivateEndpointStatus(_) => "EkmPrivateEndpointStatusGet",
        },
    };
    fixed.to_owned()
}

fn of_key(action: KeyAction, method: &Method) -> &'static str {
    match action {
        KeyAction::Create => "KeyCreate",
        KeyAction::Import => "KeyImport",
        KeyAction::Get => "KeyGet",
        KeyAction::Update => "KeyUpdate",
        KeyAction::Delete => "KeyDelete",
        KeyAction::Versions => "KeyListVersions",
        KeyAction::Rotate => "KeyRotate",
        KeyAction::Sign => "KeySign",
        KeyAction::Backup => "KeyBackup",
        KeyAction::Policy if method == Method::GET => "KeyRotationPolicyGet",
        KeyAction::Policy => "KeyRotationPolicySet",
        KeyAction::Verify => "KeyVerify",
        KeyAction::Encrypt => "KeyEncrypt",
        KeyAction::Decrypt => "KeyDecrypt",
        KeyAction::WrapKey => "KeyWrap",
        KeyAction::UnwrapKey => "KeyUnwrap",
        KeyAction::SecureWrapKey => "KeySecureWrap",
        KeyAction::SecureUnwrapKey => "KeySecureUnwrap",
        KeyAction::Release => "KeyRelease",
        KeyAction::Attestation => "KeyGetAttestation",
    }
}
