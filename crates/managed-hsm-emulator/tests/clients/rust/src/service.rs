//! A client of the emulated HSM, and keys to use with it.

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

const HOST: &str = "rusthsm.managedhsm.azure.net";

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

/// Trusts the emulator's CA alone, and takes the HSM's host to the emulator.
pub(crate) fn http() -> reqwest::Client {
    let port = Url::parse(&emulator()).unwrap().port().unwrap();
    let ca = fs::read(variable("AKV_CA_FILE")).unwrap();
    reqwest::Client::builder()
        .tls_certs_only([reqwest::Certificate::from_pem(&ca).unwrap()])
        .resolve(HOST, SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
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
pub(crate) fn client_of(client_id: String, secret: String) -> Result<KeyClient> {
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
    KeyClient::new(&format!("https://{HOST}"), credential, Some(options))
}

/// A client that may do everything.
pub(crate) fn owner() -> Result<KeyClient> {
    client_of(variable("AZURE_CLIENT_ID"), variable("AZURE_CLIENT_SECRET"))
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

/// Every kind of key that a Managed HSM has.
pub(crate) fn every_kind() -> impl Iterator<Item = CreateKeyParameters> {
    let rsa = RSA_SIZES.into_iter().map(rsa);
    let ec = CURVES.into_iter().map(ec);
    rsa.chain(ec).chain(OCT_SIZES.into_iter().map(oct))
}

/// A key in the HSM: its name and version, and what the service told of it.
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
