//! Microsoft's Rust crates against the emulator, over HTTPS with normal verification.
//!
//! The environment is that of `managed-hsm-emulator env --identity`. A name of the service's own
//! domain leads to the emulator's address and port, so that the crates see a host that they trust.
#![cfg(test)]

mod errors;
mod judge;
mod keys;
mod operations;
mod policies;
mod service;
