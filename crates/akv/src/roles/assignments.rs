//! `akv roles list`, `assign` and `remove`.

use clap::Args;
use managed_hsm::{Client, Guid, RoleAssignment, RoleDefinition, RoleScope, Vault};
use serde_json::{Value, json};

use super::definition::json_of_role;
use super::{Known, Place, is_at};
use crate::failure::Failure;
use crate::output::{Report, lines, table};
use crate::progress::Spinner;
use crate::session::Session;

#[derive(Args)]
#[command(after_help = "Examples:
  akv roles list managedhsm:MyHSM
  akv roles list managedhsm:MyHSM:web
  akv roles list managedhsm:MyHSM \\
      --assignee 11111111-2222-3333-4444-555555555555
  akv roles list managedhsm:MyHSM --definitions")]
pub(crate) struct List {
    #[command(flatten)]
    place: Place,
    /// Only what this person, group or application has, by its object id
    #[arg(long, visible_alias = "principal", value_name = "OBJECT ID", value_parser = principal)]
    assignee: Option<Guid>,
    /// Only who has this role: its name or id
    #[arg(long)]
    role: Option<String>,
    /// List the roles that there are, and what each allows
    #[arg(long, conflicts_with_all = ["assignee", "scope"])]
    definitions: bool,
}

#[derive(Args)]
#[command(after_help = "Examples:
  akv roles assign managedhsm:MyHSM:web --role 'Managed HSM Crypto User' \\
      --assignee 11111111-2222-3333-4444-555555555555
  akv roles assign managedhsm:MyHSM --scope /keys --role 'Crypto Auditor' \\
      --assignee $(az ad signed-in-user show --query id -o tsv)")]
pub(crate) struct Assign {
    #[command(flatten)]
    place: Place,
    /// The role: its name, such as 'Managed HSM Crypto User', or its id
    #[arg(long)]
    role: String,
    /// Who is to have it: the object id of a person, a group, an application (of its service
    /// principal) or a managed identity
    #[arg(long, visible_aliases = ["principal", "assignee-object-id"], value_name = "OBJECT ID",
          value_parser = principal)]
    assignee: Guid,
    /// Do nothing if the principal has the role there
    #[arg(long)]
    if_absent: bool,
}

#[derive(Args)]
#[command(after_help = "Examples:
  akv roles remove managedhsm:MyHSM:web --role 'Managed HSM Crypto User' \\
      --assignee 11111111-2222-3333-4444-555555555555
  akv roles remove managedhsm:MyHSM:web --id <id of the assignment>")]
pub(crate) struct Remove {
    #[command(flatten)]
    place: Place,
    /// The role: its name or id
    #[arg(long, required_unless_present = "id", requires = "assignee")]
    role: Option<String>,
    /// Who has it, by its object id
    #[arg(long, visible_aliases = ["principal", "assignee-object-id"], value_name = "OBJECT ID",
          value_parser = principal, requires = "role")]
    assignee: Option<Guid>,
    /// The assignment by its own id
    #[arg(long, value_name = "ID", conflicts_with_all = ["role", "assignee"])]
    id: Option<Guid>,
}

/// The object id of a principal.
fn principal(text: &str) -> Result<Guid, String> {
    text.parse().map_err(|problem: String| {
        let of = match text.contains('@') {
            true => "az ad user show --id <name> --query id",
            false => "az ad sp show --id <client id> --query id, az ad group show, az ad user show",
        };
        format!("{problem}: give the object id, which Entra ID tells ({of})")
    })
}

impl List {
    pub(super) fn run(&self) -> Result<Report, Failure> {
        let _spinner = Spinner::start("asking for roles");
        let (vault, scope) = (self.place.vault(), self.place.named_scope()?);
        let scope = scope.unwrap_or(RoleScope::Hsm);
        let client = Session::start()?.client;
        let known = Known::ask(&client, vault)?;
        let role = self.role.as_ref().map(|role| known.find(vault, role));
        let role = role.transpose()?;
        if self.definitions {
            return Ok(definitions(&known, role));
        }
        let mut all = client.role_assignments(vault, &scope)?;
        all.retain(|one| {
            let is_theirs = self.assignee.is_none_or(|id| one.is_for(id));
            is_theirs && role.is_none_or(|role| role.id == one.role)
        });
        Ok(listing(&all, &known))
    }
}

fn definitions(known: &Known, only: Option<&RoleDefinition>) -> Report {
    let chosen = known.0.iter();
    let chosen = chosen.filter(|role| only.is_none_or(|only| only.id == role.id));
    let (mut rows, mut json) = (Vec::new(), Vec::new());
    for role in chosen {
        let kind = if role.is_custom { "custom" } else { "built-in" };
        let actions = super::definition::shown_actions(role);
        for (at, action) in actions.iter().enumerate() {
            let mut row = match at {
                0 => vec![role.name.to_string(), role.id.to_string(), kind.to_owned()],
                _ => vec![String::new(); 3],
            };
            row.push(action.clone());
            rows.push(row);
        }
        json.push(json_of_role(role));
    }
    let text = table(&["role", "id", "type", "allows"], rows);
    Report::new(text, Value::Array(json))
}

fn listing(all: &[RoleAssignment], known: &Known) -> Report {
    let roles = known.by_id();
    let name = |one: &RoleAssignment| match roles.get(&one.role) {
        Some(role) => role.name.to_string(),
        None => format!("{} (removed)", one.role),
    };
    let rows = all.iter().map(|one| {
        vec![
            one.principal.to_string(),
            name(one),
            one.scope.to_string(),
            one.id.to_string(),
        ]
    });
    let text = table(&["principal", "role", "scope", "id"], rows.collect());
    let json = all.iter().map(|one| json_of(one, &name(one)));
    Report::new(text, Value::Array(json.collect()))
}

fn json_of(assignment: &RoleAssignment, role: &str) -> Value {
    json!({
        "id": assignment.id.to_string(),
        "principal": assignment.principal,
        "role": role,
        "role_id": assignment.role.to_string(),
        "scope": assignment.scope,
    })
}

/// The assignment of a role to a principal at a scope, if there is one.
fn find(
    client: &Client,
    vault: &Vault,
    scope: &RoleScope,
    principal: Guid,
    role: Guid,
) -> Result<Option<RoleAssignment>, Failure> {
    let all = client.role_assignments(vault, scope)?;
    let is_meant = |one: &RoleAssignment| one.is_of(principal, role) && is_at(one, scope);
    Ok(all.into_iter().find(is_meant))
}

impl Assign {
    pub(super) fn run(&self) -> Result<Report, Failure> {
        let _spinner = Spinner::start("assigning the role");
        let (vault, scope) = (self.place.vault(), self.place.scope()?);
        let client = Session::start()?.client;
        let known = Known::ask(&client, vault)?;
        let role = known.find(vault, &self.role)?;
        let there = match self.if_absent {
            true => find(&client, vault, &scope, self.assignee, role.id)?,
            false => None,
        };
        let assigned = match there {
            Some(there) => there,
            None => client.assign_role(vault, &scope, self.assignee, role.id)?,
        };
        let text = lines(&[
            ("Principal", assigned.principal.to_string()),
            ("Role", role.name.to_string()),
            ("Scope", assigned.scope.to_string()),
            ("Id", assigned.id.to_string()),
        ]);
        Ok(Report::new(
            text,
            json_of(&assigned, &role.name.to_string()),
        ))
    }
}

impl Remove {
    pub(super) fn run(&self) -> Result<Report, Failure> {
        let _spinner = Spinner::start("removing the assignment");
        let (vault, scope) = (self.place.vault(), self.place.scope()?);
        let client = Session::start()?.client;
        let id = match (self.id, &self.role, self.assignee) {
            (Some(id), ..) => id,
            (None, Some(role), Some(assignee)) => {
                let known = Known::ask(&client, vault)?;
                let role = known.find(vault, role)?;
                let found = find(&client, vault, &scope, assignee, role.id)?;
                let told = || {
                    Failure::not_found(format!(
                        "{assignee} does not have the role '{}' at the scope {scope} itself: 'akv roles list {vault} \
                         --scope {scope} --assignee {assignee}' tells what it has, and where",
                        role.name
                    ))
                };
                found.ok_or_else(told)?.id
            }
            _ => return Err(Failure::usage("give --role with --assignee, or --id")),
        };
        client.remove_role_assignment(vault, &scope, id)?;
        let text = lines(&[("Removed", id.to_string())]);
        let json = json!({ "id": id.to_string(), "scope": scope.to_string() });
        Ok(Report::new(text, json))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_no_object_id_is_told_how_to_find_it() {
        let refused = principal("me@example.com").unwrap_err();
        assert!(
            refused.contains("no GUID") && refused.contains("az ad user show"),
            "{refused}"
        );
        let refused = principal("web-server").unwrap_err();
        assert!(refused.contains("az ad sp show"), "{refused}");
    }
}
