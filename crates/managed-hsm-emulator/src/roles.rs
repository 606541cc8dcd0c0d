//! Roles: what a principal may do, and where.
//!
//! The built-in roles of an HSM and their data actions are those that Azure CLI recorded from the
//! service (tests/emulator/recorded/cli_role.json), those of a vault are Microsoft's documented
//! ones. A principal may do what any of its role assignments allows whose scope covers the
//! resource.

use serde::{Deserialize, Serialize};

use crate::service::Service;
use crate::token::Principal;

/// What each data action of Managed HSM begins with.
pub(crate) const PREFIX: &str = "Microsoft.KeyVault/managedHsm/";
/// What each data action of Key Vault begins with.
pub(crate) const VAULT_PREFIX: &str = "Microsoft.KeyVault/vaults/";
const DEFINITION_PREFIX: &str =
    "Microsoft.KeyVault/providers/Microsoft.Authorization/roleDefinitions/";

/// A role that every HSM, or every vault, has.
pub(crate) struct BuiltInRole {
    pub(crate) id: &'static str,
    pub(crate) name: &'static str,
    /// Without the prefix; one may end with an asterisk.
    pub(crate) data_actions: &'static [&'static str],
}

/// The role that the owner has for every vault: enough for everything.
pub(crate) const OWNER_VAULT_ROLE: &str = "00482a5a-887f-4fb3-b363-3b7fe8e74483";

/// The roles that the owner of a new HSM has at its top: enough for everything.
pub(crate) const OWNER_ROLES: [&str; 3] = [
    "a290e904-7015-4bba-90c8-60543313cdb4",
    "515eb02d-2335-4d2d-92f2-b1cbdf9c3778",
    "21dbd100-6940-42c2-9190-5d6cb909625b",
];

pub(crate) static BUILT_IN_ROLES: [BuiltInRole; 9] = [
    BuiltInRole {
        id: "7b127d3c-77bd-4e3e-bbe0-dbb8971fa7f8",
        name: "Managed HSM Backup User",
        data_actions: &[
            "backup/start/action",
            "backup/status/action",
            "keys/backup/action",
        ],
    },
    // Documented; the recording is older.
    BuiltInRole {
        id: "6efe6056-5259-49d2-8b3d-d3d73544b20b",
        name: "Managed HSM Restore",
        data_actions: &[
            "keys/restore/action",
            "restore/start/action",
            "restore/status/action",
        ],
    },
    BuiltInRole {
        id: "33413926-3206-4cdd-b39a-83574fe37a17",
        name: "Managed HSM Crypto Service Encryption User",
        data_actions: &["keys/read/action", "keys/wrap/action", "keys/unwrap/action"],
    },
    BuiltInRole {
        id: "21dbd100-6940-42c2-9190-5d6cb909625c",
        name: "Managed HSM Crypto Service Release User",
        data_actions: &["keys/release/action"],
    },
    BuiltInRole {
        id: "2c18b078-7c48-4d3a-af88-5a3a1b3f82b3",
        name: "Managed HSM Crypto Auditor",
        data_actions: &[
            "roleAssignments/read/action",
            "roleDefinitions/read/action",
            "keys/read/action",
            "keys/deletedKeys/read/action",
        ],
    },
    BuiltInRole {
        id: "4bd23610-cdcf-4971-bdee-bdc562cc28e4",
        name: "Managed HSM Policy Administrator",
        data_actions: &[
            "roleDefinitions/read/action",
            "roleDefinitions/write/action",
            "roleDefinitions/delete/action",
            "roleAssignments/read/action",
            "roleAssignments/write/action",
            "roleAssignments/delete/action",
        ],
    },
    BuiltInRole {
        id: "21dbd100-6940-42c2-9190-5d6cb909625b",
        name: "Managed HSM Crypto User",
        data_actions: &[
            "roleDefinitions/read/action",
            "roleAssignments/read/action",
            "keys/read/action",
            "keys/write/action",
            "keys/delete",
            "keys/create",
            "keys/rotate/action",
            "keys/import/action",
            "keys/release/action",
            "keys/backup/action",
            "keys/restore/action",
            "keys/encrypt/action",
            "keys/decrypt/action",
            "keys/wrap/action",
            "keys/unwrap/action",
            "keys/sign/action",
            "keys/verify/action",
            "keys/derive/action",
            "rng/action",
        ],
    },
    BuiltInRole {
        id: "515eb02d-2335-4d2d-92f2-b1cbdf9c3778",
        name: "Managed HSM Crypto Officer",
        data_actions: &[
            "roleAssignments/delete/action",
            "roleAssignments/read/action",
            "roleAssignments/write/action",
            "roleDefinitions/read/action",
            "roleDefinitions/write/action",
            "roleDefinitions/delete/action",
            "keys/deletedKeys/read/action",
            "keys/deletedKeys/delete",
            "keys/deletedKeys/recover/action",
            "keys/export/action",
        ],
    },
    BuiltInRole {
        id: "a290e904-7015-4bba-90c8-60543313cdb4",
        name: "Managed HSM Administrator",
        data_actions: &[
            "roleAssignments/delete/action",
            "roleAssignments/read/action",
            "roleAssignments/write/action",
            "roleDefinitions/read/action",
            "roleDefinitions/write/action",
            "roleDefinitions/delete/action",
            "securitydomain/download/action",
            "securitydomain/download/read",
            "securitydomain/upload/action",
            "securitydomain/upload/read",
            "securitydomain/transferkey/read",
            "backup/start/action",
            "restore/start/action",
            "backup/status/action",
            "restore/status/action",
            "settings/read/action",
            "settings/write/action",
            // Unconfirmed, and later than the recording.
            "ekm/read/action",
            "ekm/write/action",
            "ekm/delete/action",
        ],
    },
];

/// The roles of Key Vault that grant something on keys. In Azure, roles of a vault are managed
/// through Azure Resource Manager, which is not emulated; principals have them from the file of
/// principals.
pub(crate) static VAULT_ROLES: [BuiltInRole; 6] = [
    BuiltInRole {
        id: OWNER_VAULT_ROLE,
        name: "Key Vault Administrator",
        data_actions: &["*"],
    },
    BuiltInRole {
        id: "14b46e9e-c2b7-41b4-b07b-48a6ebf60603",
        name: "Key Vault Crypto Officer",
        data_actions: &["keys/*", "keyrotationpolicies/*"],
    },
    BuiltInRole {
        id: "12338af0-0e69-4776-bea7-57ae8d297424",
        name: "Key Vault Crypto User",
        data_actions: &[
            "keys/read",
            "keys/update/action",
            "keys/backup/action",
            "keys/encrypt/action",
            "keys/decrypt/action",
            "keys/wrap/action",
            "keys/unwrap/action",
            "keys/sign/action",
            "keys/verify/action",
        ],
    },
    BuiltInRole {
        id: "e147488a-f6f5-4113-8e2d-b22465e65bf6",
        name: "Key Vault Crypto Service Encryption User",
        data_actions: &["keys/read", "keys/wrap/action", "keys/unwrap/action"],
    },
    BuiltInRole {
        id: "08bbd89e-9f13-488c-ac41-acfcb10c90ab",
        name: "Key Vault Crypto Service Release User",
        data_actions: &["keys/release/action"],
    },
    BuiltInRole {
        id: "21090545-7ca7-4776-b22c-e363652d74d2",
        name: "Key Vault Reader",
        data_actions: &["keys/read", "keyrotationpolicies/read", "certificates/read"],
    },
];

/// Names that roles have in Microsoft's documents and not in the recordings, with those that they
/// have there.
const DOCUMENTED_NAMES: [(&str, &str); 1] = [("Managed HSM Backup", "Managed HSM Backup User")];

/// A built-in role by its name or id, and the service whose it is.
pub(crate) fn built_in(name: &str) -> Option<(Service, &'static BuiltInRole)> {
    let documented = DOCUMENTED_NAMES
        .iter()
        .find(|(documented, _)| documented.eq_ignore_ascii_case(name));
    let name = documented.map_or(name, |(_, recorded)| recorded);
    let of = |service, roles: &'static [BuiltInRole]| {
        let found = roles.iter().find(|role| {
            role.id.eq_ignore_ascii_case(name) || role.name.eq_ignore_ascii_case(name)
        });
        found.map(|role| (service, role))
    };
    of(Service::ManagedHsm, &BUILT_IN_ROLES).or_else(|| of(Service::KeyVault, &VAULT_ROLES))
}

/// A role that somebody made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "StoredRole")]
pub(crate) struct CustomRole {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) description: String,
    pub(crate) permissions: Vec<Permission>,
}

/// Data actions that are allowed, less some of them.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Permission {
    pub(crate) data_actions: Vec<String>,
    pub(crate) not_data_actions: Vec<String>,
}

/// A role as data folders have it: in older ones it has one permission, without a list around it.
#[derive(Deserialize)]
struct StoredRole {
    id: String,
    name: String,
    description: String,
    permissions: Option<Vec<Permission>>,
    #[serde(flatten)]
    only: Permission,
}

impl From<StoredRole> for CustomRole {
    fn from(stored: StoredRole) -> Self {
        Self {
            id: stored.id,
            name: stored.name,
            description: stored.description,
            permissions: stored.permissions.unwrap_or_else(|| vec![stored.only]),
        }
    }
}

impl Permission {
    /// All data actions that it names.
    pub(crate) fn named(&self) -> impl Iterator<Item = &String> {
        self.data_actions.iter().chain(&self.not_data_actions)
    }

    fn allows(&self, action: &str) -> bool {
        let names = |list: &[String]| list.iter().any(|known| matches(known, action));
        names(&self.data_actions) && !names(&self.not_data_actions)
    }
}

/// A role, given to a principal at a scope: `/`, `/keys` or `/keys/<name>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Assignment {
    pub(crate) id: String,
    pub(crate) principal_id: String,
    pub(crate) role_id: String,
    pub(crate) scope: String,
}

/// The full identifier of a role definition.
pub(crate) fn definition_id(id: &str) -> String {
    format!("{DEFINITION_PREFIX}{id}")
}

/// The last part of a role definition's identifier, in whatever form a client sends it.
pub(crate) fn role_id(definition_id: &str) -> String {
    let last = definition_id.rsplit('/').next().unwrap_or_default();
    last.to_ascii_lowercase()
}

/// Whether a principal may do `action` (without [`VAULT_PREFIX`]) at `scope` of a vault.
pub(crate) fn permits_in_vault(
    assignments: &[Assignment],
    principal: &Principal,
    action: &str,
    scope: &str,
) -> bool {
    let mut counting = assignments
        .iter()
        .filter(|assignment| principal.is(&assignment.principal_id))
        .filter(|assignment| covers(&assignment.scope, scope));
    counting.any(|assignment| {
        let role = VAULT_ROLES
            .iter()
            .find(|role| role.id == assignment.role_id);
        role.is_some_and(|role| role.data_actions.iter().any(|known| matches(known, action)))
    })
}

/// Whether a principal may do `action` (without [`PREFIX`]) at `scope` of an HSM.
pub(crate) fn permits(
    assignments: &[Assignment],
    custom: &[CustomRole],
    principal: &Principal,
    action: &str,
    scope: &str,
) -> bool {
    let full = format!("{PREFIX}{action}");
    assignments
        .iter()
        .filter(|assignment| principal.is(&assignment.principal_id))
        .filter(|assignment| covers(&assignment.scope, scope))
        .any(|assignment| {
            let built_in = BUILT_IN_ROLES
                .iter()
                .find(|role| role.id == assignment.role_id);
            if let Some(role) = built_in {
                return role.data_actions.contains(&action);
            }
            let role = custom.iter().find(|role| role.id == assignment.role_id);
            // What one permission takes away, another may still give.
            role.is_some_and(|role| role.permissions.iter().any(|one| one.allows(&full)))
        })
}

/// Whether a scope is that of one key.
pub(crate) fn is_single_key(scope: &str) -> bool {
    scope.len() > "/keys/".len()
}

/// Whether what is assigned at `assigned` counts at `scope`.
pub(crate) fn covers(assigned: &str, scope: &str) -> bool {
    let (assigned, scope) = (assigned.to_ascii_lowercase(), scope.to_ascii_lowercase());
    assigned == "/" || scope == assigned || scope.starts_with(&format!("{assigned}/"))
}

/// Whether a data action's pattern, which may end with an asterisk, means an action.
fn matches(pattern: &str, action: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(start) => action
            .to_ascii_lowercase()
            .starts_with(&start.to_ascii_lowercase()),
        None => pattern.eq_ignore_ascii_case(action),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn principal(object_id: &str, groups: &[&str]) -> Principal {
        Principal {
            object_id: object_id.to_owned(),
            client_id: String::new(),
            groups: groups.iter().map(|&group| group.to_owned()).collect(),
        }
    }

    #[test]
    fn a_role_counts_for_its_principal_at_its_scope_and_below() {
        let assignment = |principal_id: &str, role: usize, scope: &str| Assignment {
            id: "1".to_owned(),
            principal_id: principal_id.to_owned(),
            role_id: OWNER_ROLES[role].to_owned(),
            scope: scope.to_owned(),
        };
        let assignments = [
            assignment("user", 2, "/keys/a"),
            assignment("group", 2, "/keys"),
        ];
        let may = |who: &Principal, action, scope| permits(&assignments, &[], who, action, scope);
        let user = principal("user", &[]);
        assert!(may(&user, "keys/sign/action", "/keys/a"));
        assert!(may(&user, "keys/sign/action", "/keys/A"));
        assert!(!may(&user, "keys/sign/action", "/keys/ab"));
        assert!(!may(&user, "keys/read/action", "/keys"));
        assert!(!may(&user, "keys/deletedKeys/delete", "/keys/a"));
        let member = principal("other", &["GROUP"]);
        assert!(may(&member, "keys/sign/action", "/keys/b"));
        assert!(!may(&member, "rng/action", "/"));
    }

    #[test]
    fn roles_of_a_vault_are_told_from_those_of_an_hsm() {
        let (service, role) = built_in("key vault crypto user").unwrap();
        assert_eq!(service, Service::KeyVault);
        assert!(
            built_in("Managed HSM Crypto User").is_some_and(|(of, _)| of == Service::ManagedHsm)
        );
        assert!(built_in("Key Vault King").is_none());
        let assignment = Assignment {
            id: "1".to_owned(),
            principal_id: "user".to_owned(),
            role_id: role.id.to_owned(),
            scope: "/keys/a".to_owned(),
        };
        let user = principal("user", &[]);
        let may = |action, scope| {
            permits_in_vault(std::slice::from_ref(&assignment), &user, action, scope)
        };
        assert!(may("keys/sign/action", "/keys/a"));
        assert!(!may("keys/sign/action", "/keys/b"));
        assert!(!may("keys/create/action", "/keys/a"));
    }

    #[test]
    fn a_custom_role_has_what_it_names_less_what_it_takes_away() {
        let permission = |actions: &str, not_actions: &[&str]| Permission {
            data_actions: vec![format!("{PREFIX}{actions}")],
            not_data_actions: not_actions
                .iter()
                .map(|one| format!("{PREFIX}{one}"))
                .collect(),
        };
        let role = CustomRole {
            id: "r".to_owned(),
            name: "Signer".to_owned(),
            description: String::new(),
            permissions: vec![
                permission("keys/*", &["keys/delete", "keys/create"]),
                permission("keys/create", &["keys/sign/action"]),
            ],
        };
        let assignment = Assignment {
            id: "1".to_owned(),
            principal_id: "user".to_owned(),
            role_id: "r".to_owned(),
            scope: "/".to_owned(),
        };
        let user = principal("user", &[]);
        let may = |action| {
            permits(
                std::slice::from_ref(&assignment),
                std::slice::from_ref(&role),
                &user,
                action,
                "/keys/k",
            )
        };
        assert!(may("keys/sign/action"));
        assert!(may("keys/create"));
        assert!(!may("keys/delete"));
        assert!(!may("rng/action"));
    }

    #[test]
    fn a_role_of_an_older_data_folder_is_read() {
        let stored = serde_json::json!({"id": "r", "name": "Signer", "description": "signs",
            "dataActions": ["a"], "notDataActions": ["b"]});
        let role: CustomRole = serde_json::from_value(stored).unwrap();
        let permission = Permission {
            data_actions: vec!["a".to_owned()],
            not_data_actions: vec!["b".to_owned()],
        };
        assert_eq!(role.permissions, [permission]);
        let again = serde_json::to_value(&role).unwrap();
        assert_eq!(serde_json::from_value::<CustomRole>(again).unwrap(), role);
    }
}
