//! What a request costs of an HSM's capacity, by Microsoft's table of what one partition does in a second in the best case.

use super::route::{KeyAction, Route};
use crate::keys::{Curve, PublicMembers};
use crate::store::Store;

/// For what the table leaves out: as much as reading a key.
const OTHER: f64 = 1100.0;

/// Seconds of a partition.
pub(super) fn of(route: &Route, store: &Store) -> f64 {
    1.0 / per_second(route, store)
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
        PublicMembers::None if action == KeyAction::UnwrapKey => 1900.0,
        PublicMembers::None => 2100.0,
    }
}
