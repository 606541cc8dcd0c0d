//! Login and logout, which hold for all sessions of a token.

use std::sync::Arc;

use cryptoki_sys::{
    CK_SESSION_HANDLE, CK_USER_TYPE, CKR_OPERATION_NOT_INITIALIZED, CKR_PIN_INCORRECT,
    CKR_PIN_LOCKED, CKR_USER_ALREADY_LOGGED_IN, CKR_USER_NOT_LOGGED_IN, CKR_USER_TYPE_INVALID,
    CKU_CONTEXT_SPECIFIC, CKU_SO, CKU_USER,
};

use crate::error::Error;
use crate::ffi::convert::Bytes;
use crate::module::Module;
use crate::sessions::Session;

/// More bytes than any secret, token or name has.
const MAX_LEN: usize = 1 << 16;

pub(crate) fn login(
    module: &Arc<Module>,
    session: CK_SESSION_HANDLE,
    user: CK_USER_TYPE,
    pin: Bytes<'_>,
) -> Result<(), Error> {
    let session = module.session(session)?;
    log_in(module, &session, user, pin, None)
}

/// The same with a user's name: the application, whose secret is the PIN.
pub(crate) fn login_user(
    module: &Arc<Module>,
    session: CK_SESSION_HANDLE,
    user: CK_USER_TYPE,
    pin: Bytes<'_>,
    name: Bytes<'_>,
) -> Result<(), Error> {
    let session = module.session(session)?;
    let name = name.get()?;
    check_len(name)?;
    log_in(
        module,
        &session,
        user,
        pin,
        Some(name).filter(|name| !name.is_empty()),
    )
}

fn log_in(
    module: &Module,
    session: &Session,
    user: CK_USER_TYPE,
    pin: Bytes<'_>,
    name: Option<&[u8]>,
) -> Result<(), Error> {
    match user {
        CKU_USER if session.token.is_logged_in() => Err(Error::code(CKR_USER_ALREADY_LOGGED_IN)),
        CKU_USER => {
            let pin = pin.get_optional()?.unwrap_or_default();
            check_len(pin)?;
            session.token.log_in(name, pin)?;
            module.check_open(session)
        }
        CKU_SO => Err(Error::because(
            CKR_PIN_LOCKED,
            "there is no security officer here: roles are assigned in Azure",
        )),
        // No key asks for the PIN each time.
        CKU_CONTEXT_SPECIFIC => Err(Error::code(CKR_OPERATION_NOT_INITIALIZED)),
        _ => Err(Error::code(CKR_USER_TYPE_INVALID)),
    }
}

/// Refuses what is longer than any secret, before it is read.
fn check_len(text: &[u8]) -> Result<(), Error> {
    match text.len() <= MAX_LEN {
        true => Ok(()),
        false => Err(Error::because(
            CKR_PIN_INCORRECT,
            format!("the PIN or the user's name is longer than {MAX_LEN} bytes"),
        )),
    }
}

pub(crate) fn logout(module: &Arc<Module>, session: CK_SESSION_HANDLE) -> Result<(), Error> {
    let session = module.session(session)?;
    if !session.token.is_logged_in() {
        return Err(Error::code(CKR_USER_NOT_LOGGED_IN));
    }
    module.log_out(&session.token);
    Ok(())
}
