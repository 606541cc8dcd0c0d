//! `akv pkcs11`, `akv doctor --pkcs11` and the tools of the TLS Offload Library, with the real
//! module, against an emulator. `cargo build --workspace` must have run.
#![cfg(target_os = "linux")]

mod access;
mod configuration;
mod installation;
mod keys;
mod support;
