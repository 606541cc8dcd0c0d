//! Software keys and the operations on them, carried out by the provider that they belong to.

mod context;
mod encoder;
mod generation;
mod key;
mod secret_key;

use std::ffi::c_int;

pub(super) use self::context::ForeignContext;
pub(super) use self::encoder::encode_foreign;
pub(super) use self::generation::{Generation, generation_params};
pub(super) use self::key::{ForeignKey, NotImported};
pub(super) use self::secret_key::ForeignSecretKey;

/// Calls a function of another provider's implementation: `call!(implementation, ID, (types) -> type, (arguments))`.
/// A function that isn't there fails, or returns what stands behind `or`.
macro_rules! call {
    ($implementation:expr, $id:expr, ($($type:ty),*) -> $returned:ty, ($($argument:expr),*)) => {
        call!(
            $implementation, $id, ($($type),*) -> $returned, ($($argument),*),
            or <$returned as crate::openssl::boundary::Returned>::failure()
        )
    };
    ($implementation:expr, $id:expr, ($($type:ty),*) -> $returned:ty, ($($argument:expr),*), or $absent:expr) => {{
        type Function = unsafe extern "C" fn($($type),*) -> $returned;
        // SAFETY: the id fixes the function's type (core_dispatch.h), which is the one written at the call.
        let function = unsafe { $implementation.functions.get::<Function>($id) };
        match function {
            // SAFETY: the implementation's own objects are passed, and what OpenSSL passed to us for this call.
            Some(function) => unsafe { function($($argument),*) },
            None => $absent,
        }
    }};
}

/// What a function that isn't there returns where OpenSSL goes on without it.
const NOTHING_TO_DO: c_int = 1;

use call;
