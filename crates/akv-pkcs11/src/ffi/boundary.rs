//! The one place where Rust's results and panics become return values of PKCS#11.

use std::sync::{Arc, Once};

use cryptoki_sys::{CK_RV, CKR_CRYPTOKI_NOT_INITIALIZED, CKR_GENERAL_ERROR, CKR_OK};
use hsm_module::{boundary, process};

use crate::call_time;
use crate::error::Error;
use crate::module::{self, Module};
use crate::report;

/// Runs `body`. What an error or a panic has to say goes to [`report`].
pub(super) fn call(function: &'static str, body: impl FnOnce() -> Result<(), Error>) -> CK_RV {
    // Whichever function is the first.
    static LOADED: Once = Once::new();
    LOADED.call_once(process::is_loaded_into);
    let error = match boundary::run(|| call_time::within_one_call(body)) {
        Ok(Ok(())) => {
            let _ = boundary::run(|| log::debug!("{function}"));
            return CKR_OK;
        }
        Ok(Err(error)) => error,
        Err(panic) => Error::because(
            CKR_GENERAL_ERROR,
            format!("internal error, please report it: {panic}"),
        ),
    };
    // To say what happened must not take the process down either.
    let _ = boundary::run(|| {
        log::debug!("{function}: 0x{:x}", error.code);
        report::failure(function, &error);
    });
    error.code
}

/// The same for functions that need the module to be initialised. A call that fails since another
/// thread has ended the module meanwhile says that.
pub(super) fn call_initialized(
    function: &'static str,
    body: impl FnOnce(&Arc<Module>) -> Result<(), Error>,
) -> CK_RV {
    call(function, || {
        let module = module::current()?;
        body(&module).map_err(|error| match module.is_current() {
            true => error,
            false => Error {
                code: CKR_CRYPTOKI_NOT_INITIALIZED,
                ..error
            },
        })
    })
}
