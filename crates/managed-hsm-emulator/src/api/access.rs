//! Which data action a request needs, and at which scope. The names differ between the services.

use http::Method;

use super::route::{KeyAction, Route};
use super::{ekm, full_backup, security_domain};
use crate::roles::{PREFIX, VAULT_PREFIX};
use crate::service::Service;

/// What all data actions of a service begin with.
pub(super) fn prefix(service: Service) -> &'static str {
    match service {
        Service::ManagedHsm => PREFIX,
        Service::KeyVault => VAULT_PREFIX,
    }
}

/// The data action, without what all begin with, and the scope.
pub(super) fn needed(service: Service, method: &Method, route: &Route) -> (&'static str, String) {
    let (action, scope) = in_hsm(method, route);
    match service {
        Service::ManagedHsm => (action, scope),
        Service::KeyVault => (in_vault(method, route), scope),
    }
}

fn in_hsm(method: &Method, route: &Route) -> (&'static str, String) {
    let keys = || "/keys".to_owned();
    let key = |name: &str| format!("/keys/{name}");
    let top = || "/".to_owned();
    let by_method = |read, write, delete| match *method {
        Method::GET => read,
        Method::DELETE => delete,
        _ => write,
    };
    match route {
        Route::Keys => ("keys/read/action", keys()),
        Route::DeletedKeys => ("keys/deletedKeys/read/action", keys()),
        Route::Deleted(name) => ("keys/deletedKeys/read/action", key(name)),
        Route::Purge(name) => ("keys/deletedKeys/delete", key(name)),
        Route::Recover(name) => ("keys/deletedKeys/recover/action", key(name)),
        Route::Random => ("rng/action", top()),
        Route::Restore => ("keys/restore/action", keys()),
        Route::SecurityDomain(action) => (of_security_domain(*action), top()),
        Route::FullBackup(action) => (of_full_backup(action), top()),
        Route::Ekm(action) => (of_ekm(action), top()),
        Route::Settings | Route::Setting(_) => (
            by_method(
                "settings/read/action",
                "settings/write/action",
                "settings/write/action",
            ),
            top(),
        ),
        Route::Definitions(scope) => ("roleDefinitions/read/action", scope.clone()),
        Route::Definition(scope, _) if method == Method::GET => {
            ("roleDefinitions/read/action", scope.clone())
        }
        // A definition counts in the whole HSM, from whatever scope it is changed.
        Route::Definition(..) => (
            by_method(
                "roleDefinitions/read/action",
                "roleDefinitions/write/action",
                "roleDefinitions/delete/action",
            ),
            top(),
        ),
        Route::Assignments(scope) | Route::Assignment(scope, _) => (
            by_method(
                "roleAssignments/read/action",
                "roleAssignments/write/action",
                "roleAssignments/delete/action",
            ),
            scope.clone(),
        ),
        // Only a vault has them.
        Route::Certificate(name, _) => ("certificates/read", format!("/certificates/{name}")),
        Route::CertificateImport(name) => (
            "certificates/import/action",
            format!("/certificates/{name}"),
        ),
        Route::Key { name, action, .. } => (of_key(method, *action), key(name)),
    }
}

fn of_security_domain(action: security_domain::Action) -> &'static str {
    use security_domain::Action;
    match action {
        Action::Download => "securitydomain/download/action",
        Action::DownloadStatus => "securitydomain/download/read",
        Action::TransferKey => "securitydomain/transferkey/read",
        Action::Upload => "securitydomain/upload/action",
        Action::UploadStatus => "securitydomain/upload/read",
    }
}

fn of_full_backup(action: &full_backup::Action) -> &'static str {
    use full_backup::Action;
    match action {
        Action::Backup | Action::CheckBackup => "backup/start/action",
        Action::BackupStatus(_) => "backup/status/action",
        Action::Restore | Action::RestoreKey(_) | Action::CheckRestore => "restore/start/action",
        Action::RestoreStatus(_) => "restore/status/action",
    }
}

/// Documented as `ekm/read`, `ekm/write` and `ekm/delete`. Unconfirmed: how a role writes them.
fn of_ekm(action: &ekm::Action) -> &'static str {
    use ekm::Action;
    match action {
        Action::Get
        | Action::Certificate
        | Action::Check
        | Action::PrivateEndpoints
        | Action::PrivateEndpoint(_)
        | Action::PrivateEndpointStatus(_) => "ekm/read/action",
        Action::Create
        | Action::Update
        | Action::CreatePrivateEndpoint(_)
        | Action::DeletePrivateEndpoint(_) => "ekm/write/action",
        Action::Delete => "ekm/delete/action",
    }
}

fn of_key(method: &Method, action: KeyAction) -> &'static str {
    match action {
        KeyAction::Create => "keys/create",
        KeyAction::Import => "keys/import/action",
        KeyAction::Get | KeyAction::Versions | KeyAction::Attestation => "keys/read/action",
        KeyAction::Policy if method == Method::GET => "keys/read/action",
        KeyAction::Policy | KeyAction::Update => "keys/write/action",
        KeyAction::Delete => "keys/delete",
        KeyAction::Rotate => "keys/rotate/action",
        KeyAction::Backup => "keys/backup/action",
        KeyAction::Sign => "keys/sign/action",
        KeyAction::Verify => "keys/verify/action",
        KeyAction::Encrypt => "keys/encrypt/action",
        KeyAction::Decrypt => "keys/decrypt/action",
        KeyAction::WrapKey | KeyAction::SecureWrapKey => "keys/wrap/action",
        KeyAction::UnwrapKey | KeyAction::SecureUnwrapKey => "keys/unwrap/action",
        KeyAction::Release => "keys/release/action",
    }
}

/// As Azure's built-in roles name them.
fn in_vault(method: &Method, route: &Route) -> &'static str {
    let Route::Key { action, .. } = route else {
        return match route {
            Route::Purge(_) => "keys/purge/action",
            Route::Recover(_) => "keys/recover/action",
            Route::Restore => "keys/restore/action",
            Route::Certificate(..) => "certificates/read",
            Route::CertificateImport(_) => "certificates/import/action",
            // Lists and deleted keys; there are no other routes in a vault.
            _ => "keys/read",
        };
    };
    match action {
        KeyAction::Create => "keys/create/action",
        KeyAction::Get | KeyAction::Versions => "keys/read",
        KeyAction::Policy if method == Method::GET => "keyrotationpolicies/read",
        KeyAction::Policy => "keyrotationpolicies/write",
        KeyAction::Update => "keys/update/action",
        // The others have the names that they have in an HSM.
        other => of_key(method, *other),
    }
}
