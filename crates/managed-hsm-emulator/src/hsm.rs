//! Who an HSM or a vault is: its keys, who may do what with them, how much it can do, and what it
//! shares with the others of the process.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use crate::attestation::Attester;
use crate::audit::AuditLog;
use crate::capacity::{Capacity, Latency};
use crate::error::Error;
use crate::faults::Faults;
use crate::identity::Identity;
use crate::metrics::Metrics;
use crate::requests::Requests;
use crate::roles::{
    Assignment, OWNER_ROLES, OWNER_VAULT_ROLE, built_in, permits, permits_in_vault,
};
use crate::service::Service;
use crate::store::{ASSIGNMENTS, DEFINITIONS, Rules, Store};
use crate::token::{PRINCIPAL, Principal, TokenKey};

/// One emulated HSM, or one vault.
pub(crate) struct Hsm {
    pub(crate) service: Service,
    pub(crate) name: String,
    pub(crate) store: Store,
    /// A vault's; an HSM's are in its store, where its API can change them.
    assignments: Vec<Assignment>,
    /// None: as much as the machine can do.
    pub(crate) capacity: Option<Capacity>,
    pub(crate) shared: Shared,
}

/// What all HSMs and vaults of an emulator have in common.
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) token_key: Arc<TokenKey>,
    pub(crate) attester: Arc<Attester>,
    /// Where the emulator's own blob storage lies.
    pub(crate) blobs: PathBuf,
    /// Held by the backup or restore that is in progress.
    pub(crate) one_backup: Arc<Mutex<()>>,
    pub(crate) identity: Arc<Identity>,
    /// How long every answer takes at least.
    pub(crate) latency: Option<Latency>,
    /// That each HSM has.
    pub(crate) partitions: Option<u32>,
    /// For the keys of each HSM.
    pub(crate) rules: Rules,
    pub(crate) faults: Faults,
    /// Of requests to all of them, if one is kept.
    pub(crate) audit: Option<Arc<AuditLog>>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) requests: Requests,
}

impl Hsm {
    /// An HSM or a vault whose owner may do everything, and others what they are granted to begin
    /// with.
    pub(crate) fn new(
        service: Service,
        name: &str,
        store: Store,
        shared: Shared,
    ) -> Result<Self, Error> {
        let capacity = shared.partitions.map(|partitions| match service {
            Service::ManagedHsm => Capacity::new(partitions),
            // A vault's limits don't depend on its size.
            Service::KeyVault => Capacity::new(1),
        });
        let mut hsm = Self {
            service,
            name: name.to_owned(),
            store,
            assignments: Vec::new(),
            capacity,
            shared,
        };
        let owner: &[&str] = match service {
            Service::KeyVault => &[OWNER_VAULT_ROLE],
            // Who has taken a role from the owner of an HSM means it.
            Service::ManagedHsm if hsm.assignments().is_empty() => &OWNER_ROLES,
            Service::ManagedHsm => &[],
        };
        for role in owner {
            hsm.grant(PRINCIPAL, role, "/")?;
        }
        let shared = hsm.shared.clone();
        for account in shared.identity.accounts() {
            for grant in &account.roles {
                let role = built_in(&grant.role);
                let (of, role) = role.ok_or_else(|| Error::Role(grant.role.clone()))?;
                if of == service {
                    hsm.grant(account.object_id(), role.id, &grant.scope)?;
                }
            }
        }
        Ok(hsm)
    }

    fn assignments(&self) -> Vec<Assignment> {
        match self.service {
            Service::ManagedHsm => self.store.documents(ASSIGNMENTS),
            Service::KeyVault => self.assignments.clone(),
        }
    }

    /// Assigns a role, unless it is assigned already.
    fn grant(&mut self, principal_id: &str, role_id: &str, scope: &str) -> Result<(), Error> {
        let same = |one: &Assignment| {
            one.principal_id == principal_id && one.role_id == role_id && one.scope == scope
        };
        if self.assignments().iter().any(same) {
            return Ok(());
        }
        let assignment = Assignment {
            id: uuid::Uuid::new_v4().to_string(),
            principal_id: principal_id.to_owned(),
            role_id: role_id.to_owned(),
            scope: scope.to_owned(),
        };
        match self.service {
            Service::ManagedHsm => {
                let kept = self.store.put(ASSIGNMENTS, &assignment.id, &assignment);
                kept.map_err(|error| Error::Store(error.to_string()))
            }
            Service::KeyVault => {
                self.assignments.push(assignment);
                Ok(())
            }
        }
    }

    /// Whether a principal may take a data action at a scope.
    pub(crate) fn permits(&self, principal: &Principal, action: &str, scope: &str) -> bool {
        match self.service {
            Service::ManagedHsm => {
                let custom = self.store.documents(DEFINITIONS);
                permits(&self.assignments(), &custom, principal, action, scope)
            }
            Service::KeyVault => permits_in_vault(&self.assignments, principal, action, scope),
        }
    }
}
