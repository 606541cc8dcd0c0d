//! End-to-end tests: the real `openssl` program and small C programs drive the provider against an emulator that
//! each test starts for itself. `cargo build --workspace` must have run.

mod c_programs;
mod commands;
mod ecdsa;
mod encodings;
mod errors;
mod key_files;
mod processes;
mod rsa;
mod software_keys;
mod support;
mod tls;
