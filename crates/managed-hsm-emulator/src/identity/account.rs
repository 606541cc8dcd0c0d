//! Who may log in: the owner, and the principals of a file.

use std::path::Path;

use openssl::pkey::{PKey, Public};
use openssl::x509::X509;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

use crate::error::Error;
use crate::json;
use crate::token::{OWNER_CLIENT, PRINCIPAL, issuer};

/// What a foreign issuer's tokens have to be for, unless a credential says otherwise.
const EXCHANGE: &str = "api://AzureADTokenExchange";

/// Someone who may log in.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Account {
    /// The application's id.
    pub(super) client_id: String,
    /// What roles are assigned to.
    pub(super) object_id: String,
    #[serde(default)]
    pub(super) client_secret: Option<String>,
    /// Secrets that it had before.
    #[serde(default)]
    pub(super) expired_client_secrets: Vec<String>,
    /// The application's, by whose keys its assertions are signed; in PEM.
    #[serde(default, deserialize_with = "certificates")]
    pub(super) certificates: Vec<X509>,
    #[serde(default)]
    pub(super) federated_credentials: Vec<FederatedCredential>,
    /// Object ids of groups.
    #[serde(default)]
    pub(super) groups: Vec<String>,
    /// Whether it is a managed identity of this machine.
    #[serde(default)]
    pub(super) managed_identity: bool,
    /// Of a managed identity, `/subscriptions/…/userAssignedIdentities/…`.
    #[serde(default)]
    pub(super) resource_id: Option<String>,
    /// Roles to begin with.
    #[serde(default)]
    pub(crate) roles: Vec<RoleGrant>,
}

/// Whose tokens are as good as the application's own credentials.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FederatedCredential {
    pub(super) issuer: String,
    pub(super) subject: String,
    #[serde(default = "exchange")]
    pub(super) audience: String,
    /// The issuer's, in PEM, as keys or as certificates. The emulator knows its own.
    #[serde(default, deserialize_with = "public_keys")]
    pub(super) keys: Vec<PKey<Public>>,
}

/// A role by its name or id, at a scope.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RoleGrant {
    pub(crate) role: String,
    #[serde(default = "top")]
    pub(crate) scope: String,
}

fn top() -> String {
    "/".to_owned()
}

fn exchange() -> String {
    EXCHANGE.to_owned()
}

impl Account {
    /// The owner of all HSMs and vaults, who also is the identity that the machine has from the
    /// start.
    pub(super) fn owner(secret: &str) -> Self {
        Self {
            client_id: OWNER_CLIENT.to_owned(),
            object_id: PRINCIPAL.to_owned(),
            client_secret: Some(secret.to_owned()),
            expired_client_secrets: Vec::new(),
            certificates: Vec::new(),
            federated_credentials: Vec::new(),
            groups: Vec::new(),
            managed_identity: true,
            resource_id: None,
            roles: Vec::new(),
        }
    }

    pub(crate) fn object_id(&self) -> &str {
        &self.object_id
    }
}

/// The principals of a file.
///
/// # Errors
/// It can't be read, or is not a list of principals.
pub(super) fn read(path: &Path) -> Result<Vec<Account>, Error> {
    let unusable = |problem| Error::Principals {
        path: path.to_owned(),
        problem,
    };
    let text = std::fs::read_to_string(path).map_err(Error::file("read", path))?;
    let listed: Vec<Account> =
        json::read(text.as_bytes()).map_err(|error| unusable(error.to_string()))?;
    for account in &listed {
        let mut credentials = account.federated_credentials.iter();
        let without = credentials.find(|known| known.keys.is_empty() && known.issuer != issuer());
        if let Some(FederatedCredential { issuer, .. }) = without {
            return Err(unusable(format!(
                "the federated credential of {} for the issuer {issuer} has no keys to check the issuer's tokens with",
                account.client_id
            )));
        }
    }
    Ok(listed)
}

fn certificates<'de, D: Deserializer<'de>>(input: D) -> Result<Vec<X509>, D::Error> {
    let all = Vec::<String>::deserialize(input)?;
    let read = |pem: &String| X509::from_pem(pem.as_bytes());
    let read: Result<_, _> = all.iter().map(read).collect();
    read.map_err(|_| D::Error::custom("a certificate of an application is not in PEM"))
}

fn public_keys<'de, D: Deserializer<'de>>(input: D) -> Result<Vec<PKey<Public>>, D::Error> {
    let all = Vec::<String>::deserialize(input)?;
    let read = |pem: &String| {
        let of_certificate = || X509::from_pem(pem.as_bytes())?.public_key();
        PKey::public_key_from_pem(pem.as_bytes()).or_else(|_| of_certificate())
    };
    let read: Result<_, _> = all.iter().map(read).collect();
    read.map_err(|_| {
        D::Error::custom("a key of an issuer is neither a key nor a certificate in PEM")
    })
}
