//! OpenSSL's side of the boundary: the C types, and for each operation its dispatch table and the
//! thin `extern "C"` functions that turn pointers into references, call the safe module of the same
//! name, and turn a `Result` into a C return value with an error on OpenSSL's queue.

mod algorithms;
mod asym_cipher;
#[cfg(target_os = "linux")]
pub(crate) mod async_job;
mod bio;
pub(crate) mod boundary;
mod cancellable;
mod cipher;
pub(crate) mod core;
mod decoder;
mod encoder;
pub(crate) mod entry;
mod fetch;
pub(crate) mod ffi;
mod foreign;
mod functions;
#[cfg(any(fuzzing, test))]
#[cfg_attr(test, allow(dead_code, reason = "tests only have it compiled"))]
pub(crate) mod fuzzing;
mod instances;
mod keymgmt;
pub(crate) mod libcrypto;
pub(crate) mod neighbour;
mod object;
mod operation;
pub(crate) mod params;
mod rand;
mod signature;
mod skeymgmt;
mod store;
