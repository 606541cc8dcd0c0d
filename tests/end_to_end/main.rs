//! End-to-end tests: the real `openssl` program and small C programs drive the provider against an emulator that
//! each test starts for itself. `cargo build --workspace` must have run.

mod akv;
mod algorithms;
mod answers;
mod async_jobs;
mod c_programs;
mod commands;
mod credentials;
mod decryption;
mod differential;
mod doctor;
mod ecdsa;
mod encodings;
mod errors;
mod faults;
mod foreign_text;
mod generation;
mod hostile;
mod isolation;
mod key_files;
mod key_wrap;
mod lifecycle;
mod memory;
mod neighbours;
mod processes;
mod raised_rights;
mod retries;
mod rsa;
mod settings;
mod software_keys;
mod store;
mod support;
mod tls;
mod vectors;
mod versions;
mod written_keys;
