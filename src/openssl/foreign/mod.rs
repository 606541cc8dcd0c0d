//! Software keys and the operations on them, carried out by the provider that they belong to.

mod context;
mod encoder;
mod generation;
mod key;
mod secret_key;

use std::ffi::c_int;

pub(super) use self::context::ForeignContext;
pub(super) use self::encoder::{EncoderArguments, encode_foreign};
pub(super) use self::generation::{Generation, generation_params};
pub(super) use self::key::{ForeignKey, NotDone};
pub(super) use self::secret_key::ForeignSecretKey;

/// Calls a function of another provider's implementation: `call!(implementation, ID, (arguments))`.
/// A function that isn't there fails, or returns what stands behind `or`.
macro_rules! call {
    ($implementation:expr, $id:expr, ($($argument:expr),*)) => {
        call!($implementation, $id, ($($argument),*), or crate::openssl::boundary::Returned::failure())
    };
    ($implementation:expr, $id:expr, ($($argument:expr),*), or $absent:expr) => {
        match $implementation.functions.get($id) {
            // SAFETY: the implementation's own objects are passed, and what OpenSSL passed to us
            // for this call.
            Some(function) => unsafe { function($($argument),*) },
            None => $absent,
        }
    };
}

/// What a function that isn't there returns where OpenSSL goes on without it.
const NOTHING_TO_DO: c_int = 1;

use call;
