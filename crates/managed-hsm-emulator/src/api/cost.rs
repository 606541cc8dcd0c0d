//! What a request costs of an HSM's capacity, by Microsoft's table of what one partition does in a second in the best case; and
//! of a vault's, by the limits that Microsoft sets to the transactions of ten seconds.

use super::route::{KeyAction, Route};
use crate::keys::{Curve, PublicMembers};
use crate::service::Service;
use crate::store::Store;

/// For what the table leaves out: as much as reading a key.
const OTHER: f64 = 1100.0;

/// Seconds of a partition, or of a vault.
pub(super) fn of(route: &Route, store: &Store, service: Service) -> f64 {
    match service {
        Service::ManagedHsm => 1.0 / per_second(route, store),
        Service::KeyVault => 10.0 / in_vault_per_ten_seconds(route, store),
    }
}

/// By "Key transactions" of the service limits of Key Vault, which don't tell what is done with a key from what is read.
fn in_vault_per_ten_seconds(route: &Route, store: &Store) -> f64 {
    let Route::Key { name, action, .. } = route else {
        return 4000.0;
    };
    let key = store.active(name);
    let newest = key.as_deref().map(|key| key.newest());
    let software = newest.is_none_or(|version| version.metadata.software);
    if matches!(
        action,
        KeyAction::Create | KeyAction::Import | KeyAction::Rotate
    ) {
        return if software { 20.0 } else { 10.0 };
    }
    let in_hsm = match newest.map(|version| version.material.public()) {
        // As below.
        Some(PublicMembers::Rsa { n, .. }) if n.len() > 512 => 250.0,
        Some(PublicMembers::Rsa { n, .. }) if n.len() > 342 => 500.0,
        _ => 2000.0,
    };
    if software { 2.0 * in_hsm } else { in_hsm }
}

fn per_second(route: &Route, store: &Store) -> f64 {
    let Route::Key {
        name,
        version,
        action,
    } = route
    else {
        return match route {
            Route::Restore | Route::Purge(_) => 10.0,
            _ => OTHER,
        };
    };
    match action {
        KeyAction::Create | KeyAction::Import | KeyAction::Rotate => 1.0,
        KeyAction::Delete | KeyAction::Backup => 10.0,
        KeyAction::Sign | KeyAction::Decrypt | KeyAction::WrapKey | KeyAction::UnwrapKey => {
            let key = store.active(name);
            let found = key
                .as_deref()
                .and_then(|key| key.version(version.as_deref()));
            found.map_or(OTHER, |version| {
                with_key(*action, version.material.public())
            })
        }
        _ => OTHER,
    }
}

fn with_key(action: KeyAction, public: &PublicMembers) -> f64 {
    let signs = action == KeyAction::Sign;
    match public {
        // The length of the modulus in base64url: 342, 512 or 683.
        PublicMembers::Rsa { n, .. } => match (n.len(), signs) {
            (..=342, true) => 900.0,
            (..=342, false) => 1100.0,
            (..=512, true) => 340.0,
            (..=512, false) => 360.0,
            (_, true) => 150.0,
            (_, false) => 160.0,
        },
        PublicMembers::Ec { curve, .. } => match curve {
            Curve::P256 | Curve::P256K => 330.0,
            Curve::P384 => 160.0,
            Curve::P521 => 200.0,
        },
        // No figure was published: as ECDSA with P-256.
        PublicMembers::Akp { .. } => 330.0,
        PublicMembers::None if action == KeyAction::UnwrapKey => 1900.0,
        PublicMembers::None => 2100.0,
    }
}
