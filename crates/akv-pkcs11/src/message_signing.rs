//! The functions of PKCS#11 3.0 that sign and verify many messages with one key, whose mechanism is
//! told once. A message that fails is not the end of the others.

use std::sync::Arc;

use cryptoki_sys::*;

use crate::error::Error;
use crate::ffi::convert::{Bytes, MechanismIn, Output};
use crate::ffi::parameters::MessageIn;
use crate::message::Message;
use crate::module::Module;
use crate::operation::{self, Slot};
use crate::sessions::Session;
use crate::signing::Signing;
use crate::verifying::Verifying;

/// Signatures or verifications of messages, until the program ends them.
pub(crate) struct Messages<T> {
    /// What is done with each.
    way: Arc<T>,
    /// The message that comes in parts just now.
    begun: Option<Message>,
}

impl<T> Messages<T> {
    fn new(way: T) -> Self {
        Self {
            way: Arc::new(way),
            begun: None,
        }
    }
}

const SIGN: Slot<Messages<Signing>> = |operations| &mut operations.message_sign;
const VERIFY: Slot<Messages<Verifying>> = |operations| &mut operations.message_verify;

pub(crate) fn sign_init(
    module: &Arc<Module>,
    session: CK_SESSION_HANDLE,
    mechanism: Option<MechanismIn<'_>>,
    key: CK_OBJECT_HANDLE,
) -> Result<(), Error> {
    let session = module.session(session)?;
    operation::begin(&session, mechanism, SIGN, |given| {
        Signing::new(module, &session, given, key).map(Messages::new)
    })
}

pub(crate) fn sign_message(
    module: &Arc<Module>,
    session: CK_SESSION_HANDLE,
    parameter: MessageIn<'_>,
    data: Bytes<'_>,
    output: Output<'_>,
) -> Result<(), Error> {
    let session = module.session(session)?;
    let signing = between(&session, SIGN)?;
    parameter.check_none()?;
    signing.sign_whole(&session.token, data, output)
}

pub(crate) fn sign_begin(
    module: &Arc<Module>,
    session: CK_SESSION_HANDLE,
    parameter: MessageIn<'_>,
) -> Result<(), Error> {
    let session = module.session(session)?;
    begin(&session, SIGN, parameter, |signing| signing.message.anew())
}

/// Takes a part; the last one comes with a place for the length of the signature.
pub(crate) fn sign_next(
    module: &Arc<Module>,
    session: CK_SESSION_HANDLE,
    parameter: MessageIn<'_>,
    part: Bytes<'_>,
    mut output: Output<'_>,
) -> Result<(), Error> {
    let session = module.session(session)?;
    let (signing, mut message) = in_parts(&session, SIGN)?;
    parameter.check_none()?;
    if output.is_absent() {
        message.update(part.get()?)?;
        go_on(&session, SIGN, message);
        return Ok(());
    }
    let wanted = output.wanted(signing.len());
    if operation::goes_on(&wanted) {
        go_on(&session, SIGN, message);
        return wanted.map(drop);
    }
    wanted?;
    message.update(part.get()?)?;
    output.put(&signing.sign(&session.token, &message.finish())?)
}

pub(crate) fn sign_final(module: &Arc<Module>, session: CK_SESSION_HANDLE) -> Result<(), Error> {
    operation::take(&*module.session(session)?, SIGN).map(drop)
}

pub(crate) fn verify_init(
    module: &Arc<Module>,
    session: CK_SESSION_HANDLE,
    mechanism: Option<MechanismIn<'_>>,
    key: CK_OBJECT_HANDLE,
) -> Result<(), Error> {
    let session = module.session(session)?;
    operation::begin(&session, mechanism, VERIFY, |given| {
        Verifying::new(&session, given, key).map(Messages::new)
    })
}

pub(crate) fn verify_message(
    module: &Arc<Module>,
    session: CK_SESSION_HANDLE,
    parameter: MessageIn<'_>,
    data: Bytes<'_>,
    signature: Bytes<'_>,
) -> Result<(), Error> {
    let session = module.session(session)?;
    let verifying = between(&session, VERIFY)?;
    parameter.check_none()?;
    let value = verifying.message.whole(data.get()?)?;
    verifying.check(&session.token, &value, signature.get()?)
}

pub(crate) fn verify_begin(
    module: &Arc<Module>,
    session: CK_SESSION_HANDLE,
    parameter: MessageIn<'_>,
) -> Result<(), Error> {
    let session = module.session(session)?;
    begin(&session, VERIFY, parameter, |verifying| {
        verifying.message.anew()
    })
}

/// Takes a part; the last one comes with the signature.
pub(crate) fn verify_next(
    module: &Arc<Module>,
    session: CK_SESSION_HANDLE,
    parameter: MessageIn<'_>,
    part: Bytes<'_>,
    signature: Bytes<'_>,
) -> Result<(), Error> {
    let session = module.session(session)?;
    let (verifying, mut message) = in_parts(&session, VERIFY)?;
    parameter.check_none()?;
    message.update(part.get()?)?;
    match signature.get_optional()? {
        None => {
            go_on(&session, VERIFY, message);
            Ok(())
        }
        Some(signature) => verifying.check(&session.token, &message.finish(), signature),
    }
}

pub(crate) fn verify_final(module: &Arc<Module>, session: CK_SESSION_HANDLE) -> Result<(), Error> {
    operation::take(&*module.session(session)?, VERIFY).map(drop)
}

/// What is done with messages, if none is coming in parts.
fn between<T>(session: &Session, slot: Slot<Messages<T>>) -> Result<Arc<T>, Error> {
    match slot(&mut session.operations()) {
        None => Err(operation::not_initialized()),
        Some(Messages { begun: Some(_), .. }) => Err(Error::code(CKR_OPERATION_ACTIVE)),
        Some(messages) => Ok(Arc::clone(&messages.way)),
    }
}

fn begin<T>(
    session: &Session,
    slot: Slot<Messages<T>>,
    parameter: MessageIn<'_>,
    message: impl FnOnce(&T) -> Message,
) -> Result<(), Error> {
    let way = between(session, slot)?;
    parameter.check_none()?;
    go_on(session, slot, message(&way));
    Ok(())
}

/// Takes out the message that comes in parts: the call that fails is its end.
fn in_parts<T>(session: &Session, slot: Slot<Messages<T>>) -> Result<(Arc<T>, Message), Error> {
    let mut operations = session.operations();
    let messages = slot(&mut operations).as_mut();
    let messages = messages.ok_or_else(operation::not_initialized)?;
    let begun = messages.begun.take();
    let begun = begun.ok_or_else(operation::not_initialized)?;
    Ok((Arc::clone(&messages.way), begun))
}

/// Has more parts of a message come, unless all has ended meanwhile.
fn go_on<T>(session: &Session, slot: Slot<Messages<T>>, message: Message) {
    if let Some(messages) = slot(&mut session.operations()) {
        messages.begun = Some(message);
    }
}
