//! Clients of the emulated HSM and of the emulated vault, and keys to use with them.

use std::env;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use azure_core::Result;
use azure_core::error::{Error, ErrorKind};
use azure_core::http::{ClientOptions, RetryOptions, Transport, Url};
use azure_identity::{ClientSecretCredential, ClientSecretCredentialOptions};
use azure_security_keyvault_keys::models::{
    CreateKeyParameters, CurveName, JsonWebKey, Key, KeyRotationPolicy, KeyRotationPolicyAction,
    KeyRotationPolicyAttributes, KeyType, LifetimeAction, LifetimeActionTrigger,
    LifetimeActionType,
};
use azure_security_keyvault_keys::{KeyClient, KeyClientOptions, ResourceExt};

/// What the emulator serves, each under a name of its service's own domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Service {
    ManagedHsm,
    /// As scripts/clients.sh names it.
    Vault,
}

impl Service {
    pub(crate) const ALL: [Self; 2] = [Self::ManagedHsm, Self::Vault];

    fn host(self) -> &'static str {
        match self {
            Self::ManagedHsm => "rusthsm.managedhsm.azure.net",
            Self::Vault => "rustvault.vault.azure.net",
        }
    }

    /// A client that may do everything.
    pub(crate) fn owner(self) -> Result<KeyClient> {
        let (id, secret) = ("AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET");
        client_at(self, variable(id), variable(secret))
    }

    /// Every kind of key that it has, of RSA.
    pub(crate) fn rsa_kinds(self) -> Vec<CreateKeyParameters> {
        self.with_software_keys(RSA_SIZES.map(rsa), KeyType::Rsa)
    }

    /// Every kind of key that it has, on curves.
    pub(crate) fn ec_kinds(self) -> Vec<CreateKeyParameters> {
        self.with_software_keys(CURVES.map(ec), KeyType::Ec)
    }

    /// Every kind of key that it has.
    pub(crate) fn kinds(self) -> Vec<CreateKeyParameters> {
        let oct = match self {
            Self::ManagedHsm => OCT_SIZES.map(oct).to_vec(),
            Self::Vault => vec![],
        };
        [self.rsa_kinds(), self.ec_kinds(), oct].concat()
    }

    /// A vault has the same as software keys, too.
    fn with_software_keys<const N: usize>(
        self,
        keys: [CreateKeyParameters; N],
        kty: KeyType,
    ) -> Vec<CreateKeyParameters> {
        let software = keys.clone().map(|key| CreateKeyParameters {
            kty: Some(kty.clone()),
            ..key
        });
        match self {
            Self::ManagedHsm => keys.to_vec(),
            Self::Vault => [keys, software].concat(),
        }
    }
}

pub(crate) const RSA_SIZES: [i32; 3] = [2048, 3072, 4096];
pub(crate) const OCT_SIZES: [i32; 3] = [128, 192, 256];
pub(crate) const CURVES: [CurveName; 4] = [
    CurveName::P256,
    CurveName::P256K,
    CurveName::P384,
    CurveName::P521,
];

pub(crate) fn variable(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| panic!("{name} is not set: see scripts/clients.sh"))
}

/// Where the emulator really is.
pub(crate) fn emulator() -> String {
    variable("AZURE_MANAGEDHSM_URL")
}

/// Trusts the emulator's CA alone, and takes the hosts of the services to the emulator.
pub(crate) fn http() -> reqwest::Client {
    let port = Url::parse(&emulator()).unwrap().port().unwrap();
    let ca = fs::read(variable("AKV_CA_FILE")).unwrap();
    let mut builder = reqwest::Client::builder();
    for service in Service::ALL {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        builder = builder.resolve(service.host(), address);
    }
    builder
        .tls_certs_only([reqwest::Certificate::from_pem(&ca).unwrap()])
        .build()
        .unwrap()
}

fn options() -> ClientOptions {
    ClientOptions {
        transport: Some(Transport::new(Arc::new(http()))),
        retry: RetryOptions::none(),
        ..Default::default()
    }
}

/// A client that logs in by a client secret, at AZURE_AUTHORITY_HOST.
fn client_at(service: Service, client_id: String, secret: String) -> Result<KeyClient> {
    let credential = ClientSecretCredential::new(
        &variable("AZURE_TENANT_ID"),
        client_id,
        secret.into(),
        Some(ClientSecretCredentialOptions {
            client_options: options(),
        }),
    )?;
    let options = KeyClientOptions {
        client_options: options(),
        ..Default::default()
    };
    let url = format!("https://{}", service.host());
    KeyClient::new(&url, credential, Some(options))
}

/// One of the HSM, who logs in so.
pub(crate) fn client_of(client_id: String, secret: String) -> Result<KeyClient> {
    client_at(Service::ManagedHsm, client_id, secret)
}

/// A client of the HSM that may do everything.
pub(crate) fn owner() -> Result<KeyClient> {
    Service::ManagedHsm.owner()
}

pub(crate) fn new_name() -> String {
    format!("key-{}", uuid::Uuid::new_v4())
}

pub(crate) fn rsa(bits: i32) -> CreateKeyParameters {
    CreateKeyParameters {
        kty: Some(KeyType::RsaHsm),
        key_size: Some(bits),
        ..Default::default()
    }
}

pub(crate) fn ec(curve: CurveName) -> CreateKeyParameters {
    CreateKeyParameters {
        kty: Some(KeyType::EcHsm),
        curve: Some(curve),
        ..Default::default()
    }
}

pub(crate) fn oct(bits: i32) -> CreateKeyParameters {
    CreateKeyParameters {
        kty: Some(KeyType::OctHsm),
        key_size: Some(bits),
        ..Default::default()
    }
}

/// A key in the HSM or vault: its name and version, and what the service told of it.
pub(crate) struct Made {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) jwk: JsonWebKey,
}

impl Made {
    pub(crate) fn of(key: Key) -> Result<Self> {
        let id = key.resource_id()?;
        Ok(Self {
            name: id.name,
            version: id.version.expect("a key's id has its version"),
            jwk: key.key.expect("a key"),
        })
    }
}

pub(crate) async fn make(client: &KeyClient, parameters: CreateKeyParameters) -> Result<Made> {
    let made = client
        .create_key(&new_name(), parameters.try_into()?, None)
        .await?;
    Made::of(made.into_model()?)
}

/// Has a key rotate 30 days after it is made, and expire after 90.
pub(crate) async fn set_rotation_policy(
    client: &KeyClient,
    name: &str,
) -> Result<KeyRotationPolicy> {
    let policy = KeyRotationPolicy {
        attributes: Some(KeyRotationPolicyAttributes {
            expiry_time: Some("P90D".to_owned()),
            ..Default::default()
        }),
        lifetime_actions: Some(vec![LifetimeAction {
            action: Some(LifetimeActionType {
                type_prop: Some(KeyRotationPolicyAction::Rotate),
            }),
            trigger: Some(LifetimeActionTrigger {
                time_after_create: Some("P30D".to_owned()),
                ..Default::default()
            }),
        }]),
        ..Default::default()
    };
    let set = client.update_key_rotation_policy(name, policy.try_into()?, None);
    set.await?.into_model()
}

/// The status and the code of an answer that the SDK takes for an error.
pub(crate) fn refusal(error: &Error) -> (u16, &str) {
    match error.kind() {
        ErrorKind::HttpResponse {
            status, error_code, ..
        } => (u16::from(*status), error_code.as_deref().unwrap_or("")),
        other => panic!("not an answer of the service but {other}: {error}"),
    }
}
