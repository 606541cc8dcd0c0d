//! What a request costs of an HSM's capacity, by Microsoft's table of what one partition does in a
//! second in the best case; and of a vault's, by the limits that Microsoft sets to the transactions
//! of ten seconds.

use super::full_backup::Action;
use super::route::{KeyAction, Route};
use crate::capacity::Cost;
use crate::curve::Curve;
use crate::keys::{KeyMaterial, PublicMembers, Secret};
use crate::service::Service;
use crate::store::Store;

/// For what the table leaves out: as much as reading a key.
const OTHER: f64 = 1100.0;

/// Operations of role management in a second that an HSM carries out.
const ROLE_OPERATIONS: f64 = 5.0;

pub(super) fn of(route: &Route, store: &Store, service: Service) -> Cost {
    match (service, route) {
        (Service::KeyVault, _) => Cost::Limited(10.0 / in_vault_per_ten_seconds(route, store)),
        (
            Service::ManagedHsm,
            Route::Definitions(_)
            | Route::Definition(..)
            | Route::Assignments(_)
            | Route::Assignment(..),
        ) => Cost::Roles(1.0 / ROLE_OPERATIONS),
        (Service::ManagedHsm, _) => Cost::Work(1.0 / per_second(route, store)),
    }
}

/// By "Key transactions" of the service limits of Key Vault, which don't tell what is done with a
/// key from what is read.
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
            Route::FullBackup(Action::Backup | Action::Restore | Action::RestoreKey(_)) => 1.0,
            _ => OTHER,
        };
    };
    match action {
        KeyAction::Create | KeyAction::Import | KeyAction::Rotate => 1.0,
        KeyAction::Delete | KeyAction::Backup => 10.0,
        KeyAction::Sign
        | KeyAction::Verify
        | KeyAction::Encrypt
        | KeyAction::Decrypt
        | KeyAction::WrapKey
        | KeyAction::UnwrapKey
        | KeyAction::SecureWrapKey
        | KeyAction::SecureUnwrapKey => {
            let key = store.active(name);
            let found = key
                .as_deref()
                .and_then(|key| key.version(version.as_deref()));
            found.map_or(OTHER, |version| with_key(*action, &version.material))
        }
        _ => OTHER,
    }
}

/// By "Throughput" in Microsoft's guidance on scaling.
fn with_key(action: KeyAction, key: &KeyMaterial) -> f64 {
    match (key.public(), key.secret()) {
        (PublicMembers::Rsa { n, .. }, _) => {
            let by_size = match action {
                KeyAction::Sign => [900.0, 340.0, 150.0],
                KeyAction::Verify => [3400.0, 3400.0, 3700.0],
                KeyAction::Encrypt => [2800.0, 2700.0, 2300.0],
                KeyAction::WrapKey | KeyAction::SecureWrapKey => [2200.0, 1900.0, 1900.0],
                _ => [1100.0, 360.0, 160.0],
            };
            // The length of the modulus in base64url: 342, 512 or 683.
            by_size[match n.len() {
                ..=342 => 0,
                343..=512 => 1,
                _ => 2,
            }]
        }
        (PublicMembers::Ec { curve, .. }, _) => match (curve, action) {
            (Curve::P256 | Curve::P256K, KeyAction::Verify) => 130.0,
            (Curve::P384, KeyAction::Verify) => 82.0,
            (Curve::P521, KeyAction::Verify) => 28.0,
            (Curve::P256 | Curve::P256K, _) => 330.0,
            (Curve::P384, _) => 160.0,
            (Curve::P521, _) => 200.0,
        },
        (PublicMembers::None, Secret::Oct(bytes)) => match (action, bytes.len()) {
            (KeyAction::WrapKey | KeyAction::SecureWrapKey, _) => 2100.0,
            (KeyAction::UnwrapKey | KeyAction::SecureUnwrapKey, ..=16) => 1800.0,
            (KeyAction::UnwrapKey | KeyAction::SecureUnwrapKey, 17..=24) => 1900.0,
            (KeyAction::UnwrapKey | KeyAction::SecureUnwrapKey, _) => 2200.0,
            _ => OTHER,
        },
        // Unconfirmed, because no figure was published: as ECDSA with P-256.
        (PublicMembers::Akp { .. }, _) => 330.0,
        _ => OTHER,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_take_what_is_documented_for_the_key() {
        use KeyAction::{Decrypt, Encrypt, Sign, UnwrapKey, Verify, WrapKey};
        let rsa = |bits| KeyMaterial::generate_rsa(bits, 65537).unwrap();
        let ec = |curve| KeyMaterial::generate_ec(curve).unwrap();
        let oct = |bits| KeyMaterial::generate_oct(bits).unwrap();
        let by_rsa = [Sign, Verify, Encrypt, Decrypt, WrapKey, UnwrapKey];
        for (key, actions, expected) in [
            (rsa(2048), &by_rsa[..], "900 3400 2800 1100 2200 1100"),
            (rsa(3072), &by_rsa, "340 3400 2700 360 1900 360"),
            (rsa(4096), &by_rsa, "150 3700 2300 160 1900 160"),
            (ec(Curve::P256), &[Sign, Verify], "330 130"),
            (ec(Curve::P256K), &[Sign, Verify], "330 130"),
            (ec(Curve::P384), &[Sign, Verify], "160 82"),
            (ec(Curve::P521), &[Sign, Verify], "200 28"),
            (oct(128), &[WrapKey, UnwrapKey], "2100 1800"),
            (oct(192), &[WrapKey, UnwrapKey], "2100 1900"),
            (oct(256), &[WrapKey, UnwrapKey], "2100 2200"),
        ] {
            let figures = actions
                .iter()
                .map(|action| with_key(*action, &key).to_string());
            assert_eq!(figures.collect::<Vec<_>>().join(" "), expected);
        }
    }
}
