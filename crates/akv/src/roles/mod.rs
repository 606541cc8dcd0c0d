//! `akv roles`: who may do what in an HSM, and where.

mod assignments;
mod definition;

use std::collections::HashMap;

use clap::{Args, Subcommand};
use managed_hsm::{
    Client, Guid, RoleAssignment, RoleDefinition, RoleScope, StoreUri, UriError, Vault,
};

use self::assignments::{Assign, List, Remove};
use self::definition::{Define, Undefine};
use crate::failure::Failure;
use crate::output::Report;
use crate::session::only_hsm;

#[derive(Subcommand)]
#[command(after_help = "Examples:
  akv roles list managedhsm:MyHSM
  akv roles assign managedhsm:MyHSM:web --role 'Managed HSM Crypto User' \\
      --assignee 11111111-2222-3333-4444-555555555555")]
pub(crate) enum Roles {
    /// List who has which role where; or the roles that there are, and what they allow
    #[command(visible_alias = "ls")]
    List(List),
    /// Give a person, a group or an application a role
    #[command(aliases = ["create", "add"])]
    Assign(Assign),
    /// Take a role from a person, a group or an application
    #[command(visible_alias = "rm", alias = "delete")]
    Remove(Remove),
    /// Make a role of your own
    Define(Define),
    /// Remove a role of your own; who has it may do nothing by it any more
    Undefine(Undefine),
}

/// Where a role counts.
#[derive(Args)]
struct Place {
    /// managedhsm:<HSM>, or managedhsm:<HSM>:<key> for the scope of this key
    #[arg(value_name = "HSM", value_parser = target)]
    target: StoreUri,
    /// The scope, where no key is named: / (the whole HSM), /keys (all keys) or /keys/<key>
    #[arg(long)]
    scope: Option<RoleScope>,
}

fn target(text: &str) -> Result<StoreUri, String> {
    let target: StoreUri = text.parse().map_err(|error: UriError| error.to_string())?;
    match &target {
        StoreUri::Vault(vault) => only_hsm(vault)?,
        StoreUri::Key(uri) => only_hsm(&uri.vault)?,
    }
    Ok(target)
}

impl Place {
    fn vault(&self) -> &Vault {
        match &self.target {
            StoreUri::Vault(vault) => vault,
            StoreUri::Key(uri) => &uri.vault,
        }
    }

    /// The scope that is named: who is to have a role everywhere is said in so many words.
    fn scope(&self) -> Result<RoleScope, Failure> {
        self.named_scope()?.ok_or_else(|| {
            let vault = self.vault();
            Failure::usage(format!(
                "where is the role to count? Name a key, {vault}:<key>, or give --scope /keys for all keys, or \
                 --scope / for the whole HSM"
            ))
        })
    }

    fn named_scope(&self) -> Result<Option<RoleScope>, Failure> {
        match (&self.target, &self.scope) {
            (StoreUri::Vault(_), scope) => Ok(scope.clone()),
            (StoreUri::Key(uri), None) => Ok(Some(RoleScope::Key(uri.key.clone()))),
            (StoreUri::Key(uri), Some(scope)) => Err(Failure::usage(format!(
                "both {uri} and --scope {scope} say where the role counts: name the HSM alone with --scope"
            ))),
        }
    }
}

impl Roles {
    pub(crate) fn run(&self) -> Result<Report, Failure> {
        match self {
            Self::List(command) => command.run(),
            Self::Assign(command) => command.run(),
            Self::Remove(command) => command.run(),
            Self::Define(command) => command.run(),
            Self::Undefine(command) => command.run(),
        }
    }
}

/// Names that Microsoft's documents give roles, with those that the service gives them.
const DOCUMENTED_NAMES: [(&str, &str); 1] = [("Managed HSM Backup", "Managed HSM Backup User")];

/// All roles of an HSM, to find them by name.
struct Known(Vec<RoleDefinition>);

impl Known {
    fn ask(client: &Client, vault: &Vault) -> Result<Self, Failure> {
        Ok(Self(client.role_definitions(vault)?))
    }

    /// The role with a name, in any case and with or without 'Managed HSM', or with an id.
    fn find(&self, vault: &Vault, role: &str) -> Result<&RoleDefinition, Failure> {
        let by_id = |id: Guid| self.0.iter().find(|one| one.id == id);
        let found = match role.parse::<Guid>() {
            Ok(id) => by_id(id).into_iter().collect(),
            Err(_) => self.named(role),
        };
        // Somebody's own role may have the name that a document gives another.
        let found = match found.is_empty() {
            true => self.documented(role),
            false => found,
        };
        match found.as_slice() {
            [one] => Ok(one),
            [] => Err(Failure::not_found(format!(
                "{vault} has no role '{role}'; it has: {}",
                self.names().join(", ")
            ))),
            several => Err(Failure::told(format!(
                "{vault} has {} roles '{role}': name one by its id, which 'akv roles list {vault} --definitions' shows",
                several.len()
            ))),
        }
    }

    fn named(&self, name: &str) -> Vec<&RoleDefinition> {
        let exact = |one: &&RoleDefinition| one.name.raw() == name;
        let exact: Vec<_> = self.0.iter().filter(exact).collect();
        match exact.is_empty() {
            false => exact,
            true => {
                let like = |one: &&RoleDefinition| is_named(one.name.raw(), name);
                self.0.iter().filter(like).collect()
            }
        }
    }

    fn documented(&self, name: &str) -> Vec<&RoleDefinition> {
        let mut documented = DOCUMENTED_NAMES.iter();
        let known = documented.find(|(documented, _)| is_named(documented, name));
        known.map_or_else(Vec::new, |(_, name)| self.named(name))
    }

    fn names(&self) -> Vec<String> {
        let mut names: Vec<_> = self.0.iter().map(|role| role.name.to_string()).collect();
        names.sort();
        names
    }

    fn by_id(&self) -> HashMap<Guid, &RoleDefinition> {
        self.0.iter().map(|role| (role.id, role)).collect()
    }
}

/// Whether people mean a role by a name.
fn is_named(role: &str, name: &str) -> bool {
    let short = |name: &str| {
        let name = name.trim().to_ascii_lowercase();
        name.trim_start_matches("managed hsm ").to_owned()
    };
    short(role) == short(name)
}

/// Whether an assignment is at this scope, and neither above it nor below.
fn is_at(assignment: &RoleAssignment, scope: &RoleScope) -> bool {
    let at = assignment.scope.raw();
    at.parse::<RoleScope>().is_ok_and(|at| match (&at, scope) {
        (RoleScope::Key(one), RoleScope::Key(other)) => {
            one.as_str().eq_ignore_ascii_case(other.as_str())
        }
        (one, other) => one == other,
    })
}

#[cfg(test)]
mod tests {
    use managed_hsm::ForeignText;

    use super::*;

    #[test]
    fn a_role_of_ones_own_comes_before_one_that_documents_call_so() {
        let role = |name: &str| RoleDefinition {
            id: Guid::random(),
            name: ForeignText::new(name),
            description: ForeignText::new(""),
            is_custom: false,
            data_actions: Vec::new(),
            not_data_actions: Vec::new(),
        };
        let vault: Vault = "managedhsm:MyHSM".parse().unwrap();
        let backup_user = "Managed HSM Backup User";
        let found = |known: &[&str], name: &str| {
            let known = Known(known.iter().map(|name| role(name)).collect());
            known.find(&vault, name).unwrap().name.raw().to_owned()
        };
        assert_eq!(found(&[backup_user], "Backup"), backup_user);
        assert_eq!(found(&[backup_user, "Backup"], "Backup"), "Backup");
        assert_eq!(found(&[backup_user, "Backup"], "backup user"), backup_user);
    }

    #[test]
    fn a_role_is_found_by_the_names_that_people_give_it() {
        for name in [
            "Managed HSM Crypto User",
            "managed hsm crypto user",
            "Crypto User",
            " crypto user",
        ] {
            assert!(is_named("Managed HSM Crypto User", name), "{name}");
        }
        assert!(!is_named("Managed HSM Crypto User", "User"));
        assert!(!is_named(
            "Managed HSM Crypto User",
            "Managed HSM Crypto Officer"
        ));
    }
}
