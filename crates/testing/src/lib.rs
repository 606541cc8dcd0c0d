//! What tests, benchmarks and fuzzers share: emulators in this process and as programs,
//! certificates, and what was built.
//!
//! Whatever fails here panics: there is nothing that a test could do about it.
#![forbid(unsafe_code)]

pub mod built;
mod certificate;
mod outcome;
mod ports;
mod program;
pub mod prometheus;
mod rest;
mod skips;
mod transfer;
mod variables;

pub use certificate::Certificate;
#[cfg(feature = "emulator")]
pub use managed_hsm_emulator as emulator;
pub use outcome::Outcome;
pub use ports::ReservedPort;
pub use program::{Program, exports};
pub use rest::Rest;
pub use skips::{is_there, skip};
pub use transfer::wrapped_for_transfer;
pub use variables::{TIME_LIMIT_SECONDS, Variables};
