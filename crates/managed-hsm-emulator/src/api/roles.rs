//! Role definitions and role assignments, at the scopes `/`, `/keys` and `/keys/<name>`.

use serde::{Deserialize, Serialize};

use super::Call;
use super::failure::Failure;
use super::filter::{self, Term};
use super::reply::Reply;
use super::unconfirmed;
use crate::roles::{
    Assignment, BUILT_IN_ROLES, CustomRole, PREFIX, Permission, covers, definition_id,
    is_single_key, role_id,
};
use crate::store::{ASSIGNMENTS, DEFINITIONS};

/// The documented limits: of an HSM, of each of the scopes `/` and `/keys`, of a key.
const MAX_CUSTOM_ROLES: usize = 50;
const MAX_ASSIGNMENTS: usize = 50;
const MAX_ASSIGNMENTS_OF_A_KEY: usize = 10;

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
    permissions: Vec<PermissionView>,
    role_name: String,
    #[serde(rename = "type")]
    kind: &'static str,
}

/// The actions that aren't data actions are Azure Resource Manager's; an HSM has none.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PermissionView {
    actions: [String; 0],
    data_actions: Vec<String>,
    not_actions: [String; 0],
    not_data_actions: Vec<String>,
}

impl From<Permission> for PermissionView {
    fn from(permission: Permission) -> Self {
        Self {
            actions: [],
            data_actions: permission.data_actions,
            not_actions: [],
            not_data_actions: permission.not_data_actions,
        }
    }
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
            permissions: vec![PermissionView::from(Permission {
                data_actions: role
                    .data_actions
                    .iter()
                    .map(|action| format!("{PREFIX}{action}"))
                    .collect(),
                not_data_actions: Vec::new(),
            })],
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
            permissions: role.permissions.into_iter().map(Into::into).collect(),
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
    let mut value: Vec<_> = built_in_views()
        .chain(custom.into_iter().map(custom_view))
        .collect();
    let filter = call.query.filter.as_deref();
    for term in filter::terms(filter)? {
        match term {
            // Every definition is of the whole HSM.
            Term::Function(name) if name == "atscopeandbelow" => {}
            Term::Equals(member, wanted) if member == "type" => value.retain(|view| {
                let kind = view.properties.kind;
                kind.trim_start_matches("AKV")
                    .eq_ignore_ascii_case(wanted.trim_start_matches("AKV"))
            }),
            Term::Equals(member, wanted) if member == "rolename" => {
                value.retain(|view| view.properties.role_name.eq_ignore_ascii_case(&wanted));
            }
            _ => return Err(unconfirmed::filter(filter.unwrap_or_default())),
        }
    }
    Reply::ok(&Listing { value })
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
        return Err(Failure::built_in_role());
    }
    if uuid::Uuid::try_parse(&id).is_err() {
        return Err(Failure::role_definition_name());
    }
    let request: DefinitionRequest = call.parse()?;
    let properties = request
        .properties
        .ok_or_else(|| unconfirmed::missing_member("properties"))?;
    let role = CustomRole {
        id,
        name: properties.role_name.unwrap_or_default(),
        description: properties.description.unwrap_or_default(),
        permissions: properties.permissions,
    };
    let is_unknown = |action: &&String| !action.starts_with(PREFIX);
    let permissions = role.permissions.iter();
    let unknown = permissions.flat_map(Permission::named).find(is_unknown);
    if let Some(action) = unknown {
        return Err(unconfirmed::data_action(action));
    }
    call.put_checked(DEFINITIONS, &role.id, &role, || {
        let all: Vec<CustomRole> = call.store.documents(DEFINITIONS);
        let others = all.iter().filter(|other| other.id != role.id);
        match others.count() < MAX_CUSTOM_ROLES {
            true => Ok(()),
            false => Err(unconfirmed::too_many_custom_roles()),
        }
    })?;
    Reply::created(&custom_view(role))
}

pub(super) fn delete_definition(call: &Call<'_>, id: &str) -> Result<Reply, Failure> {
    let id = role_id(id);
    if BUILT_IN_ROLES.iter().any(|role| role.id == id) {
        return Err(Failure::built_in_role());
    }
    let role = call.store.document::<CustomRole>(DEFINITIONS, &id);
    let role = role.ok_or_else(unconfirmed::role_definition_not_found)?;
    // Assignments of it stay, and grant nothing any more.
    match call.remove(DEFINITIONS, &id)? {
        true => Reply::ok(&custom_view(role)),
        false => Err(unconfirmed::role_definition_not_found()),
    }
}

/// What is assigned at a scope and above it; and below it, but for single keys.
pub(super) fn assignments(call: &Call<'_>, scope: &str) -> Result<Reply, Failure> {
    let mut value: Vec<Assignment> = call.store.documents(ASSIGNMENTS);
    value.retain(|one| {
        covers(&one.scope, scope) || (covers(scope, &one.scope) && !is_single_key(&one.scope))
    });
    let filter = call.query.filter.as_deref();
    for term in filter::terms(filter)? {
        match term {
            Term::Function(name) if name == "atscope" => {
                value.retain(|one| covers(&one.scope, scope));
            }
            Term::Equals(member, wanted) if member == "principalid" => {
                value.retain(|one| one.principal_id.eq_ignore_ascii_case(&wanted));
            }
            _ => return Err(unconfirmed::filter(filter.unwrap_or_default())),
        }
    }
    Reply::ok(&Listing {
        value: value.into_iter().map(assignment_view).collect(),
    })
}

/// What an assignment is kept under: an id is one's at its scope only.
fn kept_as(assignment: &Assignment) -> String {
    match assignment.scope.as_str() {
        "/" => assignment.id.clone(),
        scope => format!("{} {}", assignment.id, scope.to_ascii_lowercase()),
    }
}

/// The assignment at `scope`, or one below it. From below nobody reaches one, or whoever manages
/// the roles of one key could remove the HSM's administrator.
fn find(call: &Call<'_>, scope: &str, id: &str) -> Result<Assignment, Failure> {
    let mut found: Vec<Assignment> = call.store.documents(ASSIGNMENTS);
    found.retain(|one| one.id.eq_ignore_ascii_case(id) && covers(scope, &one.scope));
    let found = found.into_iter().min_by_key(|one| one.scope.len());
    found.ok_or_else(Failure::role_assignment_not_found)
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
    let assignment = Assignment {
        id,
        principal_id,
        role_id,
        scope: scope.to_owned(),
    };
    call.put_checked(ASSIGNMENTS, &kept_as(&assignment), &assignment, || {
        can_be_added(&assignment, &call.store.documents(ASSIGNMENTS))
    })?;
    Reply::created(&assignment_view(assignment))
}

/// Whether there is neither an equal assignment nor are there too many.
fn can_be_added(new: &Assignment, others: &[Assignment]) -> Result<(), Failure> {
    let same = |one: &str, two: &str| one.eq_ignore_ascii_case(two);
    let at_scope = others.iter().filter(|one| same(&one.scope, &new.scope));
    let is_twin =
        |one: &Assignment| same(&one.principal_id, &new.principal_id) && one.role_id == new.role_id;
    let mut twins = at_scope
        .clone()
        .filter(|one| one.id == new.id || is_twin(one));
    if twins.next().is_some() {
        return Err(Failure::role_assignment_exists());
    }
    let limit = match is_single_key(&new.scope) {
        true => MAX_ASSIGNMENTS_OF_A_KEY,
        false => MAX_ASSIGNMENTS,
    };
    match at_scope.count() < limit {
        true => Ok(()),
        false => Err(unconfirmed::too_many_assignments(&new.scope, limit)),
    }
}

pub(super) fn unassign(call: &Call<'_>, scope: &str, id: &str) -> Result<Reply, Failure> {
    let assignment = find(call, scope, id)?;
    let name = kept_as(&assignment);
    let is_there =
        |name: &str| call.store.document(ASSIGNMENTS, name).as_ref() == Some(&assignment);
    // Older data folders have each under its id alone.
    let removed = match is_there(&name) {
        true => call.remove(ASSIGNMENTS, &name)?,
        false if is_there(&assignment.id) => call.remove(ASSIGNMENTS, &assignment.id)?,
        false => false,
    };
    match removed {
        true => Reply::ok(&assignment_view(assignment)),
        false => Err(Failure::role_assignment_not_found()),
    }
}
