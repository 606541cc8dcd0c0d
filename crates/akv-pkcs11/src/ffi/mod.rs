//! PKCS#11's side: the functions that programs call, the tables that they find them in, and the
//! conversion of what they pass.

mod boundary;
pub(crate) mod convert;
mod functions;
pub(crate) mod parameters;
pub(crate) mod tables;
