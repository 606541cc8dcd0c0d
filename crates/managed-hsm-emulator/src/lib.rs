//! A local Azure Managed HSM, and Azure Key Vault, for development and continuous integration.
//!
//! The program `managed-hsm-emulator` answers the REST APIs of Managed HSM and Key Vault over HTTPS, with keys that are really kept and
//! used, tokens that it signs itself and a certificate of its own CA. It is **not** an HSM: keys lie in a file.
//!
//! `server` accepts connections and numbers them, `api` turns one HTTP request into one answer, `store` keeps keys,
//! `keys` and `algorithm` hold the cryptography, `token` the bearer tokens, `tls` the certificates.
#![forbid(unsafe_code)]

mod algorithm;
mod api;
mod attestation;
mod capacity;
mod clock;
mod control;
mod data_dir;
mod duration;
mod encryption;
mod endpoint;
mod error;
mod faults;
mod hosts;
mod identity;
mod keys;
mod line;
mod log;
mod metrics;
mod pause;
mod release_policy;
mod roles;
mod seal;
mod server;
mod service;
mod store;
mod tls;
mod token;

pub use capacity::Latency;
pub use data_dir::DataDir;
pub use endpoint::{Environment, identity_exports, vault_url, wait_until_ready};
pub use error::Error;
pub use faults::{Fault, FaultKind};
pub use hosts::ServedName;
pub use log::LogFormat;
pub use server::{ServeOptions, serve};
pub use token::{AUDIENCE, TokenKey, VAULT_AUDIENCE};
