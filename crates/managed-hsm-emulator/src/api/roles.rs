//! Role definitions and role assignments, at the scopes `/`, `/keys` and `/keys/<name>`.

use serde::{Deserialize, Serialize};

use super::Call;
use super::failure::Failure;
use super::reply::Reply;
use super::unconfirmed;
use crate::roles::{
    Assignment, BUILT_IN_ROLES, CustomRole, PREFIX, covers, definition_id, role_id,
};
use crate::store::{ASSIGNMENTS, DEFINITIONS};

#[derive(Serialize)]
struct Listing<T> {
    value: Vec<T>,
}

#[derive(Serialize)]
struct DefinitionView {
    id: String,
    name: String,
    properties: DefinitionProperties,
    #[serde(rename = "type")]
    kind: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct DefinitionProperties {
    assignable_scopes: Vec<String>,
    description: String,
    permissions: [Permission; 1],
    role_name: String,
    #[serde(rename = "type")]
    kind: &'static str,
}

#[derive(Serialize, Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Permission {
    actions: Vec<String>,
    data_actions: Vec<String>,
    not_actions: Vec<String>,
    not_data_actions: Vec<String>,
}

#[derive(Serialize)]
struct AssignmentView {
    id: String,
    name: String,
    properties: AssignmentProperties,
    #[serde(rename = "type")]
    kind: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct AssignmentProperties {
    principal_id: String,
    role_definition_id: String,
    scope: String,
}

#[derive(Deserialize)]
struct AssignmentRequest {
    properties: Option<AssignmentRequestProperties>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AssignmentRequestProperties {
    role_definition_id: Option<String>,
    principal_id: Option<String>,
}

#[derive(Deserialize)]
struct DefinitionRequest {
    properties: Option<DefinitionRequestProperties>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct DefinitionRequestProperties {
    role_name: Option<String>,
    description: Option<String>,
    #[serde(default)]
    permissions: Vec<Permission>,
}

fn built_in_views() -> impl Iterator<Item = DefinitionView> {
    BUILT_IN_ROLES.iter().map(|role| DefinitionView {
        id: definition_id(role.id),
        name: role.id.to_owned(),
        properties: DefinitionProperties {
            assignable_scopes: vec!["/".to_owned()],
            description: String::new(),
            permissions: [Permission {
                data_actions: role
                    .data_actions
                    .iter()
                    .map(|action| format!("{PREFIX}{action}"))
                    .collect(),
                ..Permission::default()
            }],
            role_name: role.name.to_owned(),
            kind: "AKVBuiltInRole",
        },
        kind: "Microsoft.Authorization/roleDefinitions",
    })
}

fn custom_view(role: CustomRole) -> DefinitionView {
    DefinitionView {
        id: definition_id(&role.id),
        name: role.id,
        properties: DefinitionProperties {
            // Whatever was asked for, as reported in azure-rest-api-specs#23045.
            assignable_scopes: vec!["/".to_owned()],
            description: role.description,
            permissions: [Permission {
                data_actions: role.data_actions,
                not_data_actions: role.not_data_actions,
                ..Permission::default()
            }],
            role_name: role.name,
            kind: "CustomRole",
        },
        kind: "Microsoft.Authorization/roleDefinitions",
    }
}

fn assignment_view(assignment: Assignment) -> AssignmentView {
    AssignmentView {
        id: format!(
            "/providers/Microsoft.Authorization/roleAssignments/{}",
            assignment.id
        ),
        name: assignment.id,
        properties: AssignmentProperties {
            principal_id: assignment.principal_id,
            role_definition_id: definition_id(&assignment.role_id),
            scope: assignment.scope,
        },
        kind: "Microsoft.Authorization/roleAssignments",
    }
}

pub(super) fn definitions(call: &Call<'_>) -> Result<Reply, Failure> {
    let custom: Vec<CustomRole> = call.store.documents(DEFINITIONS);
    let value = built_in_views().chain(custom.into_iter().map(custom_view));
    Reply::ok(&Listing {
        value: value.collect(),
    })
}

pub(super) fn definition(call: &Call<'_>, id: &str) -> Result<Reply, Failure> {
    let id = role_id(id);
    if let Some(view) = built_in_views().find(|view| view.name == id) {
        return Reply::ok(&view);
    }
    let role = call.store.document(DEFINITIONS, &id);
    let role: CustomRole = role.ok_or_else(unconfirmed::role_definition_not_found)?;
    Reply::ok(&custom_view(role))
}

pub(super) fn set_definition(call: &Call<'_>, id: &str) -> Result<Reply, Failure> {
    let id = role_id(id);
    if BUILT_IN_ROLES.iter().any(|role| role.id == id) {
        return Err(unconfirmed::built_in_role());
    }
    let request: DefinitionRequest = call.parse()?;
    let properties = request
        .properties
        .ok_or_else(|| unconfirmed::missing_member("properties"))?;
    let known = call.store.document::<CustomRole>(DEFINITIONS, &id);
    let name = properties.role_name.filter(|name| !name.is_empty());
    let mut role = CustomRole {
        name: name
            .or_else(|| known.map(|role| role.name))
            .unwrap_or_else(|| id.clone()),
        id,
        description: properties.description.unwrap_or_default(),
        data_actions: Vec::new(),
        not_data_actions: Vec::new(),
    };
    for permission in properties.permissions {
        role.data_actions.extend(permission.data_actions);
        role.not_data_actions.extend(permission.not_data_actions);
    }
    let unknown = role
        .data_actions
        .iter()
        .find(|action| !action.starts_with(PREFIX));
    if let Some(action) = unknown {
        return Err(unconfirmed::data_action(action));
    }
    call.put(DEFINITIONS, &role.id, &role)?;
    Reply::created(&custom_view(role))
}

pub(super) fn delete_definition(call: &Call<'_>, id: &str) -> Result<Reply, Failure> {
    let id = role_id(id);
    if BUILT_IN_ROLES.iter().any(|role| role.id == id) {
        return Err(unconfirmed::built_in_role());
    }
    let assigned: Vec<Assignment> = call.store.documents(ASSIGNMENTS);
    if assigned.iter().any(|assignment| assignment.role_id == id) {
        return Err(unconfirmed::role_in_use());
    }
    let role = call.store.document::<CustomRole>(DEFINITIONS, &id);
    let role = role.ok_or_else(unconfirmed::role_definition_not_found)?;
    call.remove(DEFINITIONS, &id)?;
    Reply::ok(&custom_view(role))
}

/// What is assigned at a scope, above it and below it.
pub(super) fn assignments(call: &Call<'_>, scope: &str) -> Result<Reply, Failure> {
    let all: Vec<Assignment> = call.store.documents(ASSIGNMENTS);
    let near = all
        .into_iter()
        .filter(|one| covers(&one.scope, scope) || covers(scope, &one.scope));
    Reply::ok(&Listing {
        value: near.map(assignment_view).collect(),
    })
}

/// An assignment at `scope` or below it. From below nobody reaches one, or whoever manages the roles of one key could
/// remove the HSM's administrator.
fn find(call: &Call<'_>, scope: &str, id: &str) -> Result<Assignment, Failure> {
    let found = call.store.document(ASSIGNMENTS, &id.to_ascii_lowercase());
    found
        .filter(|found: &Assignment| covers(scope, &found.scope))
        .ok_or_else(Failure::role_assignment_not_found)
}

pub(super) fn assignment(call: &Call<'_>, scope: &str, id: &str) -> Result<Reply, Failure> {
    Reply::ok(&assignment_view(find(call, scope, id)?))
}

pub(super) fn assign(call: &Call<'_>, scope: &str, id: &str) -> Result<Reply, Failure> {
    let id = id.to_ascii_lowercase();
    if uuid::Uuid::try_parse(&id).is_err() {
        return Err(unconfirmed::not_a_guid(&id));
    }
    let request: AssignmentRequest = call.parse()?;
    let properties = request
        .properties
        .ok_or_else(|| unconfirmed::missing_member("properties"))?;
    let required = |value: Option<String>, member| {
        value
            .filter(|value| !value.is_empty())
            .ok_or_else(|| unconfirmed::missing_member(member))
    };
    let principal_id = required(properties.principal_id, "principalId")?;
    let role_id = role_id(&required(
        properties.role_definition_id,
        "roleDefinitionId",
    )?);
    let known = BUILT_IN_ROLES.iter().any(|role| role.id == role_id);
    if !known
        && call
            .store
            .document::<CustomRole>(DEFINITIONS, &role_id)
            .is_none()
    {
        return Err(unconfirmed::role_definition_not_found());
    }
    let all: Vec<Assignment> = call.store.documents(ASSIGNMENTS);
    let twin = all.iter().any(|one| {
        one.id == id
            || (one.principal_id == principal_id && one.role_id == role_id && one.scope == scope)
    });
    if twin {
        return Err(unconfirmed::role_assignment_exists());
    }
    let assignment = Assignment {
        id,
        principal_id,
        role_id,
        scope: scope.to_owned(),
    };
    call.put(ASSIGNMENTS, &assignment.id, &assignment)?;
    Reply::created(&assignment_view(assignment))
}

pub(super) fn unassign(call: &Call<'_>, scope: &str, id: &str) -> Result<Reply, Failure> {
    let assignment = find(call, scope, id)?;
    call.remove(ASSIGNMENTS, &assignment.id)?;
    Reply::ok(&assignment_view(assignment))
}
