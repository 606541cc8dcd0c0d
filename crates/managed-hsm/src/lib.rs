//! Client for Azure Managed HSM and for keys in Azure Key Vault.
//!
//! A [`KeyUri`] names a key; [`Client::get_key`] loads its public part and pins its version;
//! [`Client::sign`] has the HSM sign a digest. The thread that asks drives a connection of the pool
//! until the answer is there; threads that can't do that have the I/O thread do it.
//!
//! ```no_run
//! use managed_hsm::{Client, Settings, SignatureAlgorithm};
//!
//! let client = Client::new(Settings::from_env()?);
//! let key = client.get_key(&"managedhsm:MyHSM:mykey".parse().unwrap())?;
//! let signature = client.sign(&key.id, SignatureAlgorithm::Rs256, &[0; 32])?;
//! # Ok::<(), managed_hsm::Error>(())
//! ```

#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::disallowed_methods))]

mod ahead;
mod algorithm;
mod api_version;
mod bell;
mod caller;
mod causes;
mod certificate;
mod challenge;
mod client;
mod cloud;
mod configuration;
mod credential;
mod descriptors;
mod dial;
mod encryption;
mod ending;
pub mod environment;
mod error;
mod event_loop;
mod external_key;
pub mod files;
mod foreign;
pub mod forks;
#[cfg(any(fuzzing, test))]
pub mod fuzzing;
mod health;
mod hedging;
mod http;
mod import;
mod io;
mod judgement;
mod key;
mod lengths;
pub mod logging;
mod mac;
pub mod metrics;
mod ml_dsa;
pub mod number;
mod obstacle;
mod pages;
mod pem;
mod pool;
mod properties;
mod public_key;
mod refusal;
mod request;
mod resolver;
mod retry_after;
mod roles;
mod secret;
mod secure_wrap;
mod seen;
mod service_settings;
mod session;
mod settings;
mod socket;
mod stream;
mod tenant;
mod threads;
mod tls;
mod token;
mod tokens;
mod transport;
mod tunnel;
mod update;
mod uri;
mod warnings;
mod wire;

pub use ahead::open_ahead_in_child;
pub use algorithm::{EncryptionAlgorithm, SignatureAlgorithm};
pub use api_version::{ApiVersion, Feature};
pub use bell::Bell;
pub use caller::{Caller, CallerKind, Job};
pub use client::{Client, KeyPages, MAX_INPUT};
pub use cloud::{Cloud, Service};
pub use configuration::ConfigurationFile;
pub use credential::kind::CredentialKind;
pub use encryption::{Decryption, Encrypted, Encryption};
pub use ending::{fill_randomly, process_ends, with_random_bytes};
pub use error::Error;
pub use event_loop::block_on;
pub use external_key::ExternalKeyId;
pub use foreign::{ForeignText, fit, fit_json, visible};
pub use http::failure::why_unanswered;
pub use import::{BroughtKey, KeyMaterial, TransferredKind, transfer_blob};
pub use key::{Curve, Key, KeyId, KeyItem, KeyOperation, Life, NewKey, NewKeyKind, Update};
pub use mac::MacAlgorithm;
pub use ml_dsa::ParameterSet;
pub use obstacle::Obstacle;
pub use pages::MAX_LISTED;
pub use properties::Properties;
pub use public_key::{PublicKey, PublicKeyError};
pub use roles::{DATA_ACTION_PREFIX, Guid, NewRole, RoleAssignment, RoleDefinition, RoleScope};
pub use secret::{Secret, SecretBytes, repeats_secret, without_secrets};
pub use secure_wrap::SecureWrapAlgorithm;
pub use service_settings::{ServiceSetting, ServiceSettingName};
pub use settings::client::Settings;
pub use settings::credentials::{CredentialSettings, ManagedIdentityId};
pub use settings::front_end::{FrontEnd, Spelling};
pub use settings::origin::Origin;
pub use settings::provider::{LogFormat, LogSettings, ProviderSettings};
pub use settings::proxy::Proxy;
pub use settings::setting::Setting;
pub use threads::{start_within, with_room};
pub use token::AccessToken;
pub use uri::{KeyName, KeyUri, KeyVersion, StoreUri, UriError, Vault, VaultName};
