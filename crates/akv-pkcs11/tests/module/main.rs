//! The module as programs have it: loaded from its file, against an emulator whose requests are
//! looked at. Each test's calls are made in a process of their own.

mod authority;
mod certificate_programs;
mod certificates;
mod claims;
mod closings;
mod cloud_hsm;
mod compared;
mod configuration;
mod differential;
mod encrypted_messages;
mod encryption;
mod errors;
mod import;
mod key_sizes;
mod keys;
mod lists;
mod login;
mod macs;
mod ml_dsa;
mod named;
mod processes;
mod programs;
mod renewals;
mod replaced;
mod secret_keys;
mod sequences;
mod server_traces;
mod servers;
mod session_keys;
mod sessions;
mod signatures;
mod support;
mod templates;
mod traces;
mod vectors;
