//! Random bytes: made here, or in the HSM where the configuration says so.

use std::sync::Arc;

use cryptoki_sys::{CK_SESSION_HANDLE, CKR_FUNCTION_FAILED};

use crate::error::{Error, Purpose};
use crate::ffi::convert::{Bytes, Filled};
use crate::module::Module;

/// A seed is taken, and not needed: an error would fail programs that mean well.
pub(crate) fn seed(
    module: &Arc<Module>,
    session: CK_SESSION_HANDLE,
    seed: Bytes<'_>,
) -> Result<(), Error> {
    module.session(session)?;
    seed.get().map(drop)
}

pub(crate) fn generate(
    module: &Arc<Module>,
    session: CK_SESSION_HANDLE,
    output: Filled<'_>,
) -> Result<(), Error> {
    let session = module.session(session)?;
    let token = &session.token;
    if !module.options.random_from_hsm {
        return output.fill(fill);
    }
    output.fill(|bytes| {
        let random = token.ask(|client| client.random_bytes(token.vault(), bytes.len()))?;
        let random = random.map_err(|error| token.refusal(Purpose::Random, &error))?;
        bytes.copy_from_slice(&random);
        Ok(())
    })
}

/// Fills with random bytes that are made here.
///
/// # Errors
/// There are none, for a reason that is told.
pub(crate) fn fill(bytes: &mut [u8]) -> Result<(), Error> {
    managed_hsm::fill_randomly(bytes)
        .map_err(|error| Error::because(CKR_FUNCTION_FAILED, error.to_string()))
}
