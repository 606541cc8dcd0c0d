//! The bodies of requests and answers about roles.

use serde::Deserialize;
use serde_json::json;

use super::{Page, page, parse};
use crate::foreign::ForeignText;
use crate::roles::{Guid, NewRole, RoleAssignment, RoleDefinition};

/// What the identifier of a role begins with where an assignment names it.
const DEFINITION: &str = "Microsoft.KeyVault/providers/Microsoft.Authorization/roleDefinitions/";

#[derive(Deserialize)]
struct Definition {
    name: ForeignText,
    properties: DefinitionProperties,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct DefinitionProperties {
    #[serde(default)]
    role_name: ForeignText,
    #[serde(default)]
    description: ForeignText,
    #[serde(rename = "type", default)]
    kind: ForeignText,
    #[serde(default)]
    permissions: Vec<Permission>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Permission {
    #[serde(default)]
    data_actions: Vec<ForeignText>,
    #[serde(default)]
    not_data_actions: Vec<ForeignText>,
}

#[derive(Deserialize)]
struct Assignment {
    name: ForeignText,
    properties: AssignmentProperties,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AssignmentProperties {
    principal_id: ForeignText,
    role_definition_id: ForeignText,
    scope: ForeignText,
}

/// The roles of a page of them, and the address of the next one.
pub(crate) fn definitions(body: &[u8]) -> Result<Page<RoleDefinition>, String> {
    page(body, Definition::read)
}

/// A role.
pub(crate) fn definition(body: &[u8]) -> Result<RoleDefinition, String> {
    parse::<Definition>(body)?.read()
}

/// The assignments of a page of them, and the address of the next one.
pub(crate) fn assignments(body: &[u8]) -> Result<Page<RoleAssignment>, String> {
    page(body, Assignment::read)
}

/// The assignment of this role to this principal.
pub(crate) fn assignment(
    body: &[u8],
    principal: Guid,
    role: Guid,
) -> Result<RoleAssignment, String> {
    let told = parse::<Assignment>(body)?.read()?;
    match told.is_of(principal, role) {
        true => Ok(told),
        false => Err(format!(
            "it tells of an assignment of {} to '{}'",
            told.role, told.principal
        )),
    }
}

/// Body of a request for a role.
pub(crate) fn definition_request(role: &NewRole) -> Vec<u8> {
    let permission = json!({
        "actions": [],
        "dataActions": role.data_actions,
        "notActions": [],
        "notDataActions": role.not_data_actions,
    });
    let properties = json!({
        "assignableScopes": ["/"],
        "description": role.description,
        "permissions": [permission],
        "roleName": role.name,
        "type": "CustomRole",
    });
    body(&json!({ "properties": properties }))
}

/// Body of a request for an assignment.
pub(crate) fn assignment_request(principal: Guid, role: Guid) -> Vec<u8> {
    body(&json!({ "properties": {
        "principalId": principal.to_string(),
        "roleDefinitionId": format!("{DEFINITION}{role}"),
    }}))
}

fn body(value: &serde_json::Value) -> Vec<u8> {
    value.to_string().into_bytes()
}

impl Definition {
    fn read(self) -> Result<RoleDefinition, String> {
        let properties = self.properties;
        let permissions = &properties.permissions;
        let allowed = permissions.iter().flat_map(|one| &one.data_actions);
        let data_actions = allowed.cloned().collect();
        // What one permission takes away, another may give.
        let stays_away = |action: &&ForeignText| !permissions.iter().any(|one| one.allows(action));
        let taken = permissions.iter().flat_map(|one| &one.not_data_actions);
        let not_data_actions = taken.filter(stays_away).cloned().collect();
        Ok(RoleDefinition {
            id: guid(&self.name)?,
            name: properties.role_name,
            description: properties.description,
            is_custom: properties.kind.raw() == "CustomRole",
            data_actions,
            not_data_actions,
        })
    }
}

impl Permission {
    fn allows(&self, action: &ForeignText) -> bool {
        let names = |list: &[ForeignText]| list.iter().any(|one| covers(one.raw(), action.raw()));
        names(&self.data_actions) && !names(&self.not_data_actions)
    }
}

/// Whether a data action, which may end with an asterisk, is or has in it another one.
fn covers(pattern: &str, action: &str) -> bool {
    let (pattern, action) = (pattern.to_ascii_lowercase(), action.to_ascii_lowercase());
    match pattern.strip_suffix('*') {
        Some(start) => action.starts_with(start),
        None => pattern == action,
    }
}

impl Assignment {
    fn read(self) -> Result<RoleAssignment, String> {
        let properties = self.properties;
        let role = properties.role_definition_id.raw().rsplit('/').next();
        Ok(RoleAssignment {
            id: guid(&self.name)?,
            principal: properties.principal_id,
            role: guid(&ForeignText::new(role.unwrap_or_default()))?,
            scope: properties.scope,
        })
    }
}

/// An identifier, which goes into the paths of requests.
fn guid(text: &ForeignText) -> Result<Guid, String> {
    let unusable = |problem| format!("it has an identifier that can't be used: {problem}");
    text.raw().parse().map_err(unusable)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_permission_takes_away_another_may_give() {
        let body = body(&json!({ "name": Guid::random().to_string(), "properties": {
            "permissions": [
                {"dataActions": ["keys/*"], "notDataActions": ["keys/delete", "keys/Create"]},
                {"dataActions": ["keys/create"], "notDataActions": ["keys/sign/action"]},
            ],
        }}));
        let role = definition(&body).unwrap();
        let texts = |list: &[ForeignText]| -> Vec<String> {
            list.iter().map(ToString::to_string).collect()
        };
        assert_eq!(texts(&role.data_actions), ["keys/*", "keys/create"]);
        assert_eq!(texts(&role.not_data_actions), ["keys/delete"]);
    }

    #[test]
    fn another_assignment_than_the_one_that_was_made_is_refused() {
        let (principal, role) = (Guid::random(), Guid::random());
        let body = json!({ "name": Guid::random().to_string(), "properties": {
            "principalId": principal.to_string().to_uppercase(),
            "roleDefinitionId": format!("{DEFINITION}{role}"),
            "scope": "/keys",
        }});
        let body = super::body(&body);
        assert!(assignment(&body, principal, role).is_ok());
        assert!(assignment(&body, Guid::random(), role).is_err());
        let refused = assignment(&body, principal, Guid::random()).unwrap_err();
        assert!(
            refused.contains("it tells of an assignment of"),
            "{refused}"
        );
    }
}
