//! A local Azure Managed HSM, and Azure Key Vault, for development and continuous integration.
//!
//! The program `managed-hsm-emulator` answers the REST APIs of Managed HSM and Key Vault over
//! HTTPS, with keys that are really kept and used, tokens that it signs itself and a certificate of
//! its own CA. It is **not** an HSM: keys lie in a file.
//!
//! [`start`] runs one in threads of this process until its [`Handle`] is dropped, which is how
//! tests have it; the program does no more than that.
//!
//! `emulator` opens what is kept and listens, `server` accepts connections and numbers them, `api`
//! turns one HTTP request into one answer, `store` keeps keys, `keys` and `algorithm` hold the
//! cryptography, `token` the bearer tokens, `tls` the certificates.
#![forbid(unsafe_code)]

mod algorithm;
mod api;
mod arrival;
mod attestation;
mod audit;
mod blobs;
mod capacity;
mod clock;
mod control;
mod curve;
mod data_dir;
mod duration;
mod emulator;
mod encryption;
mod endpoint;
mod environment;
mod error;
mod faults;
mod hold;
mod hosts;
mod hsm;
mod identity;
mod json;
mod keys;
mod log;
mod message;
mod metrics;
mod ml_dsa;
mod pause;
mod release_policy;
mod requests;
mod roles;
mod rsa;
mod seal;
mod security_domain;
mod server;
mod service;
mod spelling;
mod store;
mod tls;
mod token;

pub use capacity::Latency;
pub use data_dir::DataDir;
pub use emulator::{Handle, Options, start};
pub use endpoint::{vault_url, wait_until_ready};
pub use environment::{Environment, LEADING_ELSEWHERE};
pub use error::Error;
pub use faults::{Fault, FaultKind, Faults};
pub use hosts::ServedName;
pub use log::{LogFormat, log_to_stderr};
pub use requests::{Request, Requests};
pub use tls::Shown;
pub use token::{AUDIENCE, OWNER_CLIENT, TENANT, TokenKey, VAULT_AUDIENCE};
