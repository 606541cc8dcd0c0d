//! Roles of a Managed HSM: who may do what, and where. (Those of a key vault are managed by Azure
//! Resource Manager.)

use std::fmt;
use std::str::FromStr;

use azure_core::Uuid;
use bytes::Bytes;
use http::Method;

use crate::api_version::Feature;
use crate::client::Client;
use crate::error::Error;
use crate::foreign::{ForeignText, shown};
use crate::pages::Pages;
use crate::request::Request;
use crate::uri::{KeyName, Vault};
use crate::wire::{Page, roles as wire};

/// What the path of each role, and of each assignment of one, begins with behind its scope.
const AUTHORIZATION: &str = "/providers/Microsoft.Authorization";

/// What each data action of Managed HSM begins with.
pub const DATA_ACTION_PREFIX: &str = "Microsoft.KeyVault/managedHsm/";

/// The identifier of a principal, a role or an assignment: a GUID.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Guid(Uuid);

impl Guid {
    /// One that nothing has yet.
    pub fn random() -> Self {
        Self(Uuid::new_v4())
    }
}

impl fmt::Display for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Guid {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Uuid::try_parse(text).map(Self).map_err(|_| {
            format!(
                "'{}' is no GUID, such as 21dbd100-6940-42c2-9190-5d6cb909625b",
                shown(text)
            )
        })
    }
}

/// Where a role counts: in the place that is named, and in all below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RoleScope {
    /// `/`: the whole HSM.
    Hsm,
    /// `/keys`: all keys.
    Keys,
    /// `/keys/<name>`: one key.
    Key(KeyName),
}

impl RoleScope {
    fn path(&self, what: &str) -> String {
        match self {
            Self::Hsm => format!("{AUTHORIZATION}/{what}"),
            scope => format!("{scope}{AUTHORIZATION}/{what}"),
        }
    }
}

impl fmt::Display for RoleScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hsm => f.write_str("/"),
            Self::Keys => f.write_str("/keys"),
            Self::Key(name) => write!(f, "/keys/{name}"),
        }
    }
}

impl FromStr for RoleScope {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "/" => Ok(Self::Hsm),
            "/keys" | "/keys/" => Ok(Self::Keys),
            other => {
                let name = other.strip_prefix("/keys/").map(str::parse::<KeyName>);
                let name = name.ok_or_else(|| {
                    let text = shown(text);
                    format!("'{text}' is no scope: give /, /keys or /keys/<key>")
                })?;
                name.map(Self::Key).map_err(|error| error.to_string())
            }
        }
    }
}

/// A role: what a principal who has it may do.
#[derive(Clone, Debug)]
pub struct RoleDefinition {
    /// Its identifier.
    pub id: Guid,
    /// Its name, such as `Managed HSM Crypto User`.
    pub name: ForeignText,
    /// What it is for.
    pub description: ForeignText,
    /// Whether somebody made it; else each HSM has it.
    pub is_custom: bool,
    /// What it allows, each with [`DATA_ACTION_PREFIX`]; one may end with an asterisk.
    pub data_actions: Vec<ForeignText>,
    /// What of that it doesn't.
    pub not_data_actions: Vec<ForeignText>,
}

/// A role that somebody makes.
#[derive(Clone, Debug, Default)]
pub struct NewRole {
    /// Its name.
    pub name: String,
    /// What it is for.
    pub description: String,
    /// What it allows, each with [`DATA_ACTION_PREFIX`]; one may end with an asterisk.
    pub data_actions: Vec<String>,
    /// What of that it doesn't.
    pub not_data_actions: Vec<String>,
}

/// A role that a principal has somewhere.
#[derive(Clone, Debug)]
pub struct RoleAssignment {
    /// Its identifier.
    pub id: Guid,
    /// Who has the role: the object id of a person, a group, an application or a managed identity.
    pub principal: ForeignText,
    /// Which role.
    pub role: Guid,
    /// Where it counts.
    pub scope: ForeignText,
}

impl RoleAssignment {
    /// Whether it gives this role to this principal, wherever.
    pub fn is_of(&self, principal: Guid, role: Guid) -> bool {
        self.role == role && self.is_for(principal)
    }

    /// Whether it gives this principal a role.
    pub fn is_for(&self, principal: Guid) -> bool {
        let principal = principal.to_string();
        self.principal.raw().eq_ignore_ascii_case(&principal)
    }
}

/// What the HSM has of roles.
impl Client {
    /// All roles of an HSM: those that each HSM has, and those that were made in this one.
    pub fn role_definitions(&self, vault: &Vault) -> Result<Vec<RoleDefinition>, Error> {
        let path = RoleScope::Hsm.path("roleDefinitions");
        self.list(vault, &path, "list roles of", wire::definitions)
    }

    /// Makes a role, or replaces the one that has this identifier.
    pub fn define_role(
        &self,
        vault: &Vault,
        id: Guid,
        role: &NewRole,
    ) -> Result<RoleDefinition, Error> {
        let request = Request {
            method: Method::PUT,
            body: Some(Bytes::from(wire::definition_request(role))),
            // The same once more gives the same.
            repeatable: true,
            ..self.definition_request("define role of", vault, id)?
        };
        self.ask(request, wire::definition)
    }

    /// Removes a role that somebody made. Its assignments stay, and allow nothing any more.
    pub fn delete_role(&self, vault: &Vault, id: Guid) -> Result<(), Error> {
        let request = self.definition_request("delete role of", vault, id)?;
        self.ask(request, |_| Ok(()))
    }

    fn definition_request(
        &self,
        operation: &'static str,
        vault: &Vault,
        id: Guid,
    ) -> Result<Request, Error> {
        let path = RoleScope::Hsm.path("roleDefinitions");
        self.role_request(operation, vault, &format!("{path}/{id}"))
    }

    /// The assignments that count at a scope; at `/` and at `/keys` also those below, but for those
    /// at single keys.
    pub fn role_assignments(
        &self,
        vault: &Vault,
        scope: &RoleScope,
    ) -> Result<Vec<RoleAssignment>, Error> {
        let path = scope.path("roleAssignments");
        let operation = "list role assignments of";
        self.list(vault, &path, operation, wire::assignments)
    }

    /// Gives a principal a role at a scope. Sent once only: the service refuses it if the principal
    /// has the role there.
    pub fn assign_role(
        &self,
        vault: &Vault,
        scope: &RoleScope,
        principal: Guid,
        role: Guid,
    ) -> Result<RoleAssignment, Error> {
        let path = scope.path("roleAssignments");
        let path = format!("{path}/{}", Guid::random());
        let request = Request {
            method: Method::PUT,
            body: Some(Bytes::from(wire::assignment_request(principal, role))),
            ..self.role_request("assign role of", vault, &path)?
        };
        self.ask(request, move |body| wire::assignment(body, principal, role))
    }

    /// Takes an assignment back, which is at this scope or below it.
    pub fn remove_role_assignment(
        &self,
        vault: &Vault,
        scope: &RoleScope,
        id: Guid,
    ) -> Result<(), Error> {
        let path = scope.path("roleAssignments");
        let path = format!("{path}/{id}");
        let request = self.role_request("remove role assignment of", vault, &path)?;
        self.ask(request, |_| Ok(()))
    }

    /// All of a listing.
    fn list<T: Send + 'static>(
        &self,
        vault: &Vault,
        path: &str,
        operation: &'static str,
        read: fn(&[u8]) -> Result<Page<T>, String>,
    ) -> Result<Vec<T>, Error> {
        let first = self.role_request(operation, vault, path)?;
        Pages::begin(vault, first.url).all(self, operation, read)
    }

    /// A request to delete, and the frame of others. Sent once only.
    fn role_request(
        &self,
        operation: &'static str,
        vault: &Vault,
        path: &str,
    ) -> Result<Request, Error> {
        let mut request = Request {
            method: Method::DELETE,
            repeatable: false,
            ..Request::of_vault(operation, vault, self.url(vault, path)?)
        };
        self.raise(&mut request, Feature::Roles)?;
        Ok(request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_is_the_hsm_all_keys_or_one() {
        for (text, shown, path) in [
            ("/", "/", "/providers/Microsoft.Authorization/x"),
            (
                "/keys",
                "/keys",
                "/keys/providers/Microsoft.Authorization/x",
            ),
            (
                "/keys/",
                "/keys",
                "/keys/providers/Microsoft.Authorization/x",
            ),
            (
                "/keys/a-1",
                "/keys/a-1",
                "/keys/a-1/providers/Microsoft.Authorization/x",
            ),
        ] {
            let scope: RoleScope = text.parse().unwrap();
            assert_eq!(
                (scope.to_string(), scope.path("x")),
                (shown.to_owned(), path.to_owned())
            );
        }
        for text in ["", "keys", "/key", "/keys/a/b", "/keys/a_b", "//"] {
            assert!(text.parse::<RoleScope>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_guid_is_checked_and_written_in_one_form() {
        let id: Guid = "21DBD100-6940-42c2-9190-5d6cb909625b".parse().unwrap();
        assert_eq!(id.to_string(), "21dbd100-6940-42c2-9190-5d6cb909625b");
        assert_ne!(Guid::random(), Guid::random());
        let refused = "me@example.com".parse::<Guid>().unwrap_err();
        assert!(refused.contains("'me@example.com' is no GUID"), "{refused}");
    }
}
