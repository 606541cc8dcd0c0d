//! OpenSSL's side of the boundary: the C types, and for each operation its dispatch table and the thin `extern "C"`
//! functions that turn pointers into references, call the safe module of the same name, and turn a `Result` into a
//! C return value with an error on OpenSSL's queue.

mod bio;
pub(crate) mod boundary;
pub(crate) mod core;
mod decoder;
pub(crate) mod entry;
pub(crate) mod ffi;
mod functions;
mod keymgmt;
pub(crate) mod neighbour;
mod object;
pub(crate) mod params;
mod signature;
mod store;
