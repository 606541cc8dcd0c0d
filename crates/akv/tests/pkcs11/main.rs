//! `akv pkcs11`, `akv doctor --pkcs11` and the tools of the TLS Offload Library, with the real module,
//! against an emulator. `cargo build -p akv-pkcs11` must have run.

mod access;
mod configuration;
mod installation;
mod keys;
mod support;
