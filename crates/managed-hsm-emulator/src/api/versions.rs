//! API versions: which there are, and what came with which.

use super::failure::Failure;
use super::full_backup::Action;
use super::route::{KeyAction, Route};
use super::unconfirmed;
use crate::service::Service;

/// The version that only Key Vault ever had.
const OLD_VAULT_VERSION: &str = "2016-10-01";

/// Versions that real clients were seen to use, or that the API's description has, oldest first.
const API_VERSIONS: [&str; 21] = [
    "7.0",
    "7.1-preview",
    RETENTION_SINCE,
    HSM_SINCE,
    "7.2",
    RELEASE_SINCE,
    "7.3",
    SETTINGS_SINCE,
    "7.4",
    PLATFORM_SINCE,
    "7.5",
    CHECKS_SINCE,
    HMAC_SINCE,
    "7.6",
    "2025-06-01-preview",
    "2025-07-01",
    KEY_SIZE_SINCE,
    "2026-03-01-preview",
    "2026-04-01",
    ML_DSA_SINCE,
    PRIVATE_ENDPOINTS_SINCE,
];

/// The first version whose keys have `recoverableDays` in a vault.
pub(super) const RETENTION_SINCE: &str = "7.1";
/// The first version with symmetric keys in an HSM, AES, roles, backups and security domains.
pub(super) const HSM_SINCE: &str = "7.2-preview";
/// The first version with rotation, release and random bytes, and with exportable keys in a vault.
pub(super) const RELEASE_SINCE: &str = "7.3-preview";
/// The first version with settings.
const SETTINGS_SINCE: &str = "7.4-preview.1";
/// The first version in which vaults tell what their keys are kept in.
pub(super) const PLATFORM_SINCE: &str = "7.5-preview.1";
/// The first version that tells whether a full backup or restore would succeed.
const CHECKS_SINCE: &str = "7.6-preview.1";
/// The first version with HS256, HS384 and HS512, with CKM_AES_KEY_WRAP and CKM_AES_KEY_WRAP_PAD,
/// and with key attestation.
pub(super) const HMAC_SINCE: &str = "7.6-preview.2";
/// The first version that tells the size of symmetric keys, wraps keys for attested environments,
/// and has external keys and connections to their managers.
pub(super) const KEY_SIZE_SINCE: &str = "2026-01-01-preview";
/// The first version with keys of ML-DSA.
pub(super) const ML_DSA_SINCE: &str = "2026-05-01-preview";

/// The first version with private endpoints to managers of external keys, and in which an
/// unwrapping may name an issuer of attestations.
pub(super) const PRIVATE_ENDPOINTS_SINCE: &str = "2026-07-01-preview";

/// The version that a request is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ApiVersion(usize);

impl ApiVersion {
    pub(super) const NEWEST: Self = Self(API_VERSIONS.len() - 1);

    /// A request without a version is one of the newest. An HSM's `nextLink` has no version, so
    /// that none is no fault there; a vault's has one.
    pub(super) fn of(asked: Option<&str>, service: Service) -> Result<Self, Failure> {
        let in_vault = service == Service::KeyVault;
        let Some(asked) = asked else {
            return match in_vault {
                true => Err(unconfirmed::no_api_version()),
                false => Ok(Self::NEWEST),
            };
        };
        if in_vault && asked == OLD_VAULT_VERSION {
            return Ok(Self(0));
        }
        let known = API_VERSIONS.iter().position(|known| *known == asked);
        known
            .map(Self)
            .ok_or_else(|| unconfirmed::api_version(asked))
    }

    pub(super) fn is_since(self, first: &str) -> bool {
        API_VERSIONS[..=self.0].contains(&first)
    }

    pub(super) fn has_retention(self) -> bool {
        self.is_since(RETENTION_SINCE)
    }

    /// Whether there are symmetric keys in an HSM, and AES.
    pub(super) fn has_symmetric_keys(self) -> bool {
        self.is_since(HSM_SINCE)
    }

    pub(super) fn has_release(self) -> bool {
        self.is_since(RELEASE_SINCE)
    }

    pub(super) fn has_platform(self) -> bool {
        self.is_since(PLATFORM_SINCE)
    }

    pub(super) fn has_hmac(self) -> bool {
        self.is_since(HMAC_SINCE)
    }

    pub(super) fn has_wrap_mechanisms(self) -> bool {
        self.is_since(HMAC_SINCE)
    }

    pub(super) fn has_key_size(self) -> bool {
        self.is_since(KEY_SIZE_SINCE)
    }

    pub(super) fn has_external_keys(self) -> bool {
        self.is_since(KEY_SIZE_SINCE)
    }

    pub(super) fn has_secure_wrap(self) -> bool {
        self.is_since(KEY_SIZE_SINCE)
    }

    pub(super) fn has_trusted_issuers(self) -> bool {
        self.is_since(PRIVATE_ENDPOINTS_SINCE)
    }

    pub(super) fn has_private_endpoints(self) -> bool {
        self.is_since(PRIVATE_ENDPOINTS_SINCE)
    }

    pub(super) fn has_ml_dsa(self) -> bool {
        self.is_since(ML_DSA_SINCE)
    }

    /// Refuses what came with a later version.
    pub(super) fn check(self, route: &Route) -> Result<(), Failure> {
        let (since, action) = match route {
            Route::Random => (RELEASE_SINCE, "rng"),
            Route::SecurityDomain(_) => (HSM_SINCE, "securitydomain"),
            Route::FullBackup(Action::CheckBackup | Action::CheckRestore) => {
                (CHECKS_SINCE, "prebackup")
            }
            Route::FullBackup(_) => (HSM_SINCE, "backup"),
            Route::Ekm(action) if action.is_of_private_endpoints() => {
                (PRIVATE_ENDPOINTS_SINCE, "privateendpoint")
            }
            Route::Ekm(_) => (KEY_SIZE_SINCE, "ekm"),
            Route::Settings | Route::Setting(_) => (SETTINGS_SINCE, "settings"),
            Route::Definitions(_) | Route::Definition(..) => (HSM_SINCE, "roleDefinitions"),
            Route::Assignments(_) | Route::Assignment(..) => (HSM_SINCE, "roleAssignments"),
            Route::Key { action, .. } => match action {
                KeyAction::Rotate => (RELEASE_SINCE, "rotate"),
                KeyAction::Policy => (RELEASE_SINCE, "rotationpolicy"),
                KeyAction::Release => (RELEASE_SINCE, "release"),
                KeyAction::SecureWrapKey => (KEY_SIZE_SINCE, "securewrapkey"),
                KeyAction::SecureUnwrapKey => (KEY_SIZE_SINCE, "secureunwrapkey"),
                KeyAction::Attestation => (HMAC_SINCE, "attestation"),
                _ => return Ok(()),
            },
            _ => return Ok(()),
        };
        match self.is_since(since) {
            true => Ok(()),
            // As recorded when rotation had not come yet.
            false => Err(Failure::action_not_supported(action)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_known_to_hsms_and_vaults() {
        for (asked, in_hsm, in_vault) in [
            (None, true, false),
            (Some("7.0"), true, true),
            (Some("7.1"), true, true),
            (Some("7.4"), true, true),
            (Some("2025-07-01"), true, true),
            (Some("2026-07-01-preview"), true, true),
            (Some("2016-10-01"), false, true),
            (Some("6.0"), false, false),
            (Some(""), false, false),
        ] {
            let accepted = |service| ApiVersion::of(asked, service).is_ok();
            assert_eq!(accepted(Service::ManagedHsm), in_hsm, "{asked:?}");
            assert_eq!(accepted(Service::KeyVault), in_vault, "{asked:?}");
        }
    }

    #[test]
    fn hmac_came_with_a_preview_of_7_6() {
        for (asked, known) in [
            (Some("7.4"), false),
            (Some("7.6-preview.1"), false),
            (Some("7.6-preview.2"), true),
            (Some("7.6"), true),
            (Some("2025-07-01"), true),
            (None, true),
        ] {
            let version = ApiVersion::of(asked, Service::ManagedHsm).unwrap();
            assert_eq!(version.has_hmac(), known, "{asked:?}");
        }
    }

    #[test]
    fn ml_dsa_came_with_a_preview_of_2026() {
        for (asked, known) in [
            ("7.4", false),
            ("2025-07-01", false),
            ("2026-01-01-preview", false),
            ("2026-05-01-preview", true),
            ("2026-07-01-preview", true),
        ] {
            let version = ApiVersion::of(Some(asked), Service::ManagedHsm).unwrap();
            assert_eq!(version.has_ml_dsa(), known, "{asked}");
        }
    }
}
