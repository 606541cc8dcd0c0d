//! `akv roles define` and `undefine`: roles of one's own.

use std::path::PathBuf;

use clap::Args;
use managed_hsm::{DATA_ACTION_PREFIX, ForeignText, Guid, NewRole, RoleDefinition, Vault};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Known;
use crate::failure::Failure;
use crate::files;
use crate::output::{Report, lines, one_line};
use crate::progress::Spinner;
use crate::session::{Session, managed_hsm};

#[derive(Args)]
#[command(group = clap::ArgGroup::new("what").required(true),
    override_usage = "akv roles define [OPTIONS] <HSM> <FILE>\n       akv roles define [OPTIONS] <HSM> --name <NAME> --actions <ACTIONS>", after_help = "Examples:
  akv roles define managedhsm:MyHSM --name Signer \\
      --actions keys/read/action,keys/sign/action
  akv roles define managedhsm:MyHSM role.json

What role.json may hold:
  {\"roleName\": \"Signer\",
   \"dataActions\": [\"Microsoft.KeyVault/managedHsm/keys/sign/action\"]}

All data actions: akv roles list managedhsm:MyHSM --definitions")]
pub(crate) struct Define {
    /// The HSM: managedhsm:<HSM>
    #[arg(value_name = "HSM", value_parser = managed_hsm)]
    hsm: Vault,
    /// JSON file with the role as az keyvault takes it: roleName, description, dataActions,
    /// notDataActions; - is standard input
    #[arg(group = "what")]
    file: Option<PathBuf>,
    /// Its name [default: that of the file]
    #[arg(long, required_unless_present = "file")]
    name: Option<String>,
    /// Data actions that it allows, separated by commas: keys/sign/action or
    /// Microsoft.KeyVault/managedHsm/keys/sign/action
    #[arg(
        long,
        visible_alias = "data-actions",
        value_name = "ACTIONS",
        value_delimiter = ',',
        group = "what"
    )]
    actions: Vec<String>,
    /// Data actions that it does not allow, of those that end with an asterisk in --actions
    #[arg(
        long,
        visible_alias = "not-data-actions",
        value_name = "ACTIONS",
        value_delimiter = ',',
        requires = "actions"
    )]
    not_actions: Vec<String>,
    /// What it is for [default: that of the file]
    #[arg(long)]
    description: Option<String>,
    /// Change a role of this name, if there is one
    #[arg(long, visible_alias = "force")]
    replace: bool,
}

#[derive(Args)]
#[command(after_help = "Example:\n  akv roles undefine managedhsm:MyHSM Signer")]
pub(crate) struct Undefine {
    /// The HSM: managedhsm:<HSM>
    #[arg(value_name = "HSM", value_parser = managed_hsm)]
    hsm: Vault,
    /// The role: its name or id
    role: String,
}

/// A role in a file, as Microsoft's tools have it.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct InFile {
    #[serde(alias = "Name", alias = "name", alias = "RoleName")]
    role_name: Option<String>,
    #[serde(alias = "Description")]
    description: Option<String>,
    #[serde(alias = "DataActions")]
    data_actions: Vec<String>,
    #[serde(alias = "NotDataActions")]
    not_data_actions: Vec<String>,
    // What Azure's roles have besides; an HSM's have none of it.
    #[serde(alias = "Actions")]
    actions: Vec<String>,
    #[serde(alias = "NotActions")]
    not_actions: Vec<String>,
    #[serde(alias = "AssignableScopes")]
    assignable_scopes: Vec<String>,
    role_type: Option<String>,
    #[serde(alias = "Id", alias = "id", alias = "type")]
    _told: Option<Value>,
}

impl InFile {
    fn read(json: &[u8]) -> Result<Self, String> {
        // An array would do as well.
        let role = serde_json::from_slice(json).map(Value::Object);
        let role: Self = role
            .and_then(serde_json::from_value)
            .map_err(|error| format!("it holds no role: {}", one_line(&error.to_string())))?;
        if !role.actions.is_empty() || !role.not_actions.is_empty() {
            return Err(
                "it has 'actions', which are those of Azure Resource Manager: an HSM's roles have 'dataActions' alone"
                    .to_owned(),
            );
        }
        if role.assignable_scopes.iter().any(|scope| scope != "/") {
            return Err(
                "an HSM's role can be assigned everywhere: 'assignableScopes' is [\"/\"]"
                    .to_owned(),
            );
        }
        match role.role_type.as_deref() {
            None | Some("CustomRole") => Ok(role),
            Some(_) => Err("'roleType' is CustomRole for roles that are made".to_owned()),
        }
    }
}

impl Define {
    pub(super) fn run(&self) -> Result<Report, Failure> {
        let role = self.role()?;
        let _spinner = Spinner::start("defining the role");
        let client = Session::start()?.client;
        let known = Known::ask(&client, &self.hsm)?;
        let same = known.0.iter().find(|one| one.name.raw() == role.name);
        let id = match same {
            None => Guid::random(),
            Some(one) if one.is_custom && self.replace => one.id,
            Some(one) if one.is_custom => {
                return Err(Failure::conflict(format!(
                    "{} has a role '{}' already: give --replace to change it, or another name",
                    self.hsm, one.name
                )));
            }
            Some(one) => {
                return Err(Failure::told(format!(
                    "'{}' is a role that each HSM has, and can't be changed: give another name",
                    one.name
                )));
            }
        };
        let made = client.define_role(&self.hsm, id, &role)?;
        let mut rows = vec![
            ("Role", made.name.to_string()),
            ("Id", made.id.to_string()),
            ("Allows", shown_actions(&made).join(", ")),
        ];
        let mut json = json_of_role(&made);
        let unknown = unknown_actions(&role, &known);
        json["unknown_data_actions"] = json!(unknown);
        if !unknown.is_empty() {
            let list = unknown.join(", ");
            let text = format!("{list}: no role that each HSM has allows this; is it misspelt?");
            rows.push(("Unknown", text));
        }
        Ok(Report::new(lines(&rows), json))
    }

    /// The role that is asked for.
    fn role(&self) -> Result<NewRole, Failure> {
        let given = match &self.file {
            Some(path) => InFile::read(&files::read_text(path)?)
                .map_err(|problem| Failure::told(format!("{}: {problem}", path.display())))?,
            None => InFile {
                data_actions: self.actions.clone(),
                not_data_actions: self.not_actions.clone(),
                ..InFile::default()
            },
        };
        let name = self.name.clone().or(given.role_name);
        let name = name.filter(|name| !name.trim().is_empty());
        let name = name.ok_or_else(|| {
            Failure::usage("the role has no name: give --name, or 'roleName' in the file")
        })?;
        if given.data_actions.is_empty() {
            return Err(Failure::usage(
                "the role allows nothing: give --actions, or 'dataActions' in the file",
            ));
        }
        let description = self.description.clone().or(given.description);
        let whole = |actions: Vec<String>| actions.into_iter().map(whole_action).collect();
        Ok(NewRole {
            name,
            description: description.unwrap_or_default(),
            data_actions: whole(given.data_actions),
            not_data_actions: whole(given.not_data_actions),
        })
    }
}

/// The data actions of a role that none of the roles has which each HSM has: these have them all,
/// as far as documents tell.
fn unknown_actions(role: &NewRole, known: &Known) -> Vec<String> {
    let built_in = known.0.iter().filter(|role| !role.is_custom);
    let all: Vec<_> = built_in.flat_map(|role| &role.data_actions).collect();
    let is_known = |action: &str| {
        let mut all = all.iter();
        action.ends_with('*') || all.any(|one| one.raw().eq_ignore_ascii_case(action))
    };
    let unknown = role.data_actions.iter().filter(|action| !is_known(action));
    unknown.cloned().collect()
}

/// A data action with what each begins with.
fn whole_action(action: String) -> String {
    let start = action.get(..DATA_ACTION_PREFIX.len());
    match start.filter(|start| start.eq_ignore_ascii_case(DATA_ACTION_PREFIX)) {
        Some(start) => format!("{DATA_ACTION_PREFIX}{}", &action[start.len()..]),
        None => format!("{DATA_ACTION_PREFIX}{action}"),
    }
}

impl Undefine {
    pub(super) fn run(&self) -> Result<Report, Failure> {
        let _spinner = Spinner::start("removing the role");
        let client = Session::start()?.client;
        let known = Known::ask(&client, &self.hsm)?;
        let role = known.find(&self.hsm, &self.role)?;
        if !role.is_custom {
            return Err(Failure::told(format!(
                "'{}' is a role that each HSM has, and can't be removed",
                role.name
            )));
        }
        client.delete_role(&self.hsm, role.id)?;
        let text = lines(&[("Removed", role.name.to_string())]);
        Ok(Report::new(text, json_of_role(role)))
    }
}

/// What a role allows, and what of that it doesn't, without what all actions begin with.
pub(super) fn shown_actions(role: &RoleDefinition) -> Vec<String> {
    let short = |action: &ForeignText| {
        let action = action.to_string();
        let short = action.strip_prefix(DATA_ACTION_PREFIX);
        short.map(str::to_owned).unwrap_or(action)
    };
    let allowed = role.data_actions.iter().map(short);
    let not = role.not_data_actions.iter();
    let not = not.map(|action| format!("not {}", short(action)));
    allowed.chain(not).collect()
}

pub(super) fn json_of_role(role: &RoleDefinition) -> Value {
    json!({
        "id": role.id.to_string(),
        "name": role.name,
        "description": role.description,
        "type": if role.is_custom { "custom" } else { "built-in" },
        "data_actions": role.data_actions,
        "not_data_actions": role.not_data_actions,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_actions_are_taken_with_and_without_what_all_begin_with() {
        let whole = "Microsoft.KeyVault/managedHsm/keys/sign/action";
        for given in [
            "keys/sign/action",
            whole,
            "microsoft.keyvault/managedhsm/keys/sign/action",
        ] {
            assert_eq!(whole_action(given.to_owned()), whole);
        }
    }

    #[test]
    fn a_role_of_azure_resource_manager_is_told_from_an_hsms() {
        let good = br#"{"Name":"Signer","roleType":"CustomRole","assignableScopes":["/"],
                        "actions":[],"dataActions":["keys/sign/action"]}"#;
        assert_eq!(InFile::read(good).unwrap().role_name.unwrap(), "Signer");
        for (json, words) in [
            (&br#"{"actions":["*/read"]}"#[..], "dataActions"),
            (
                br#"{"assignableScopes":["/subscriptions/x"]}"#,
                "assignableScopes",
            ),
            (br#"{"dataAction":["x"]}"#, "unknown field"),
            (b"[]", "no role"),
        ] {
            let problem = InFile::read(json).err().unwrap();
            assert!(problem.contains(words), "{problem}");
        }
    }
}
