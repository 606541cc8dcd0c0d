//! Digests, which are computed here.

use std::sync::Arc;

use cryptoki_sys::{
    CK_OBJECT_HANDLE, CK_SESSION_HANDLE, CKR_KEY_INDIGESTIBLE, CKR_MECHANISM_INVALID,
    CKR_MECHANISM_PARAM_INVALID, CKR_OPERATION_ACTIVE, CKR_OPERATION_NOT_INITIALIZED,
};

use crate::error::Error;
use crate::ffi::convert::{Bytes, MechanismIn, Output, Wanted};
use crate::mechanisms::{Kind, Mechanism};
use crate::message::Message;
use crate::module::Module;
use crate::sessions::Session;

/// A digest in progress.
pub(crate) struct Digesting {
    message: Message,
    len: usize,
}

pub(crate) fn init(
    module: &Arc<Module>,
    session: CK_SESSION_HANDLE,
    mechanism: Option<MechanismIn<'_>>,
) -> Result<(), Error> {
    let session = module.session(session)?;
    let mut operations = session.operations();
    let Some(given) = mechanism else {
        operations.digest = None;
        return Ok(());
    };
    if operations.digest.is_some() {
        return Err(Error::code(CKR_OPERATION_ACTIVE));
    }
    let hash = match Mechanism::find(given.type_) {
        Some(mechanism) if matches!(mechanism.kind, Kind::Digest(_)) => mechanism.hash(),
        _ => None,
    };
    let hash = hash.ok_or_else(|| Error::code(CKR_MECHANISM_INVALID))?;
    if !given.parameter()?.is_empty() {
        return Err(Error::code(CKR_MECHANISM_PARAM_INVALID));
    }
    operations.digest = Some(Digesting {
        message: Message::new(Some(hash)),
        len: hash.len,
    });
    Ok(())
}

pub(crate) fn digest(
    module: &Arc<Module>,
    session: CK_SESSION_HANDLE,
    data: Bytes<'_>,
    mut output: Output<'_>,
) -> Result<(), Error> {
    let session = module.session(session)?;
    let Some(digesting) = wanted(&session, &mut output)? else {
        return Ok(());
    };
    output.put(&digesting.message.whole(data.get()?)?)
}

pub(crate) fn update(
    module: &Arc<Module>,
    session: CK_SESSION_HANDLE,
    part: Bytes<'_>,
) -> Result<(), Error> {
    let session = module.session(session)?;
    let mut operations = session.operations();
    let mut digesting = operations.digest.take().ok_or_else(not_initialized)?;
    digesting.message.update(part.get()?)?;
    operations.digest = Some(digesting);
    Ok(())
}

/// Nothing of a key is here that could be hashed.
pub(crate) fn key(
    module: &Arc<Module>,
    session: CK_SESSION_HANDLE,
    _: CK_OBJECT_HANDLE,
) -> Result<(), Error> {
    let session = module.session(session)?;
    let digesting = session.operations().digest.take();
    Err(Error::code(match digesting {
        Some(_) => CKR_KEY_INDIGESTIBLE,
        None => CKR_OPERATION_NOT_INITIALIZED,
    }))
}

pub(crate) fn finish(
    module: &Arc<Module>,
    session: CK_SESSION_HANDLE,
    mut output: Output<'_>,
) -> Result<(), Error> {
    let session = module.session(session)?;
    match wanted(&session, &mut output)? {
        None => Ok(()),
        Some(mut digesting) => output.put(&digesting.message.finish()),
    }
}

/// The operation, to be ended. None: the call has asked for the size.
fn wanted(session: &Session, output: &mut Output<'_>) -> Result<Option<Digesting>, Error> {
    let mut operations = session.operations();
    let digesting = operations.digest.take().ok_or_else(not_initialized)?;
    match output.wanted(digesting.len) {
        Ok(Wanted::Result) => Ok(Some(digesting)),
        Ok(Wanted::Size) => {
            operations.digest = Some(digesting);
            Ok(None)
        }
        Err(error) => {
            if error.is_too_small() {
                operations.digest = Some(digesting);
            }
            Err(error)
        }
    }
}

fn not_initialized() -> Error {
    Error::code(CKR_OPERATION_NOT_INITIALIZED)
}
