//! Digests, which are computed here.

use std::sync::Arc;

use cryptoki_sys::{
    CK_OBJECT_HANDLE, CK_SESSION_HANDLE, CKR_KEY_HANDLE_INVALID, CKR_KEY_INDIGESTIBLE,
    CKR_MECHANISM_INVALID, CKR_MECHANISM_PARAM_INVALID,
};

use crate::error::Error;
use crate::ffi::convert::{Bytes, MechanismIn, Output};
use crate::mechanisms::{Kind, Mechanism};
use crate::message::Message;
use crate::module::Module;
use crate::operation::{self, Slot};

/// A digest in progress.
pub(crate) struct Digesting {
    message: Message,
    len: usize,
}

impl Digesting {
    fn len(&self) -> usize {
        self.len
    }
}

const DIGEST: Slot<Digesting> = |operations| &mut operations.digest;

pub(crate) fn init(
    module: &Arc<Module>,
    session: CK_SESSION_HANDLE,
    mechanism: Option<MechanismIn<'_>>,
) -> Result<(), Error> {
    let session = module.session(session)?;
    operation::begin(&session, mechanism, DIGEST, |given| {
        let hash = match Mechanism::find(given.type_) {
            Some(mechanism) if matches!(mechanism.kind, Kind::Digest(_)) => mechanism.hash(),
            _ => None,
        };
        let hash = hash.ok_or_else(|| Error::code(CKR_MECHANISM_INVALID))?;
        if !given.parameter()?.is_empty() {
            return Err(Error::code(CKR_MECHANISM_PARAM_INVALID));
        }
        Ok(Digesting {
            message: Message::new(Some(hash)),
            len: hash.len,
        })
    })
}

pub(crate) fn digest(
    module: &Arc<Module>,
    session: CK_SESSION_HANDLE,
    data: Bytes<'_>,
    mut output: Output<'_>,
) -> Result<(), Error> {
    let session = module.session(session)?;
    let Some(digesting) = operation::take_for(&session, DIGEST, &mut output, Digesting::len)?
    else {
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
    operation::update(&session, DIGEST, |digesting| {
        digesting.message.update(part.get()?)
    })
}

/// Nothing of a key is here that could be hashed.
pub(crate) fn key(
    module: &Arc<Module>,
    session: CK_SESSION_HANDLE,
    key: CK_OBJECT_HANDLE,
) -> Result<(), Error> {
    let session = module.session(session)?;
    operation::take(&session, DIGEST)?;
    let known = session.token.key(key);
    known.map_err(|_| Error::code(CKR_KEY_HANDLE_INVALID))?;
    Err(Error::code(CKR_KEY_INDIGESTIBLE))
}

pub(crate) fn finish(
    module: &Arc<Module>,
    session: CK_SESSION_HANDLE,
    mut output: Output<'_>,
) -> Result<(), Error> {
    let session = module.session(session)?;
    match operation::take_for(&session, DIGEST, &mut output, Digesting::len)? {
        None => Ok(()),
        Some(mut digesting) => output.put(&digesting.message.finish()),
    }
}
