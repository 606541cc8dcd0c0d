//! Sessions: who has one, and what goes on in it.

use std::collections::HashMap;
use std::ffi::c_void;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use cryptoki_sys::*;

use crate::digests::Digesting;
use crate::encrypting::Encrypting;
use crate::error::Error;
use crate::ffi::convert::{Bytes, Output, Place};
use crate::locks::{Locked, lock};
use crate::message_encryption::MessageEncrypting;
use crate::message_signing::Messages;
use crate::module::{Module, new_handle};
use crate::signing::Signing;
use crate::token::Token;
use crate::token::ending::{self, Ended};
use crate::token::objects::{Object, StoredKey};
use crate::token::tags::Half;
use crate::verifying::Verifying;

/// How long the end of the module waits for the HSM, which has to be no end of the program's.
const LAST_MOMENT: Duration = Duration::from_millis(500);

/// A session.
pub(crate) struct Session {
    pub(crate) handle: CK_SESSION_HANDLE,
    slot: CK_SLOT_ID,
    pub(crate) token: Arc<Token>,
    is_read_write: bool,
    operations: Mutex<Operations>,
}

/// What goes on in a session. An operation is taken out by the call that ends it, so one that fails
/// leaves none behind.
#[derive(Default)]
pub(crate) struct Operations {
    /// What is found and was not handed out yet, the last first.
    pub(crate) search: Option<Vec<CK_OBJECT_HANDLE>>,
    pub(crate) sign: Option<Signing>,
    pub(crate) sign_recover: Option<Signing>,
    pub(crate) verify: Option<Verifying>,
    pub(crate) verify_recover: Option<Verifying>,
    pub(crate) digest: Option<Digesting>,
    pub(crate) encrypt: Option<Encrypting>,
    pub(crate) decrypt: Option<Encrypting>,
    pub(crate) message_encrypt: Option<MessageEncrypting>,
    pub(crate) message_decrypt: Option<MessageEncrypting>,
    pub(crate) message_sign: Option<Messages<Signing>>,
    pub(crate) message_verify: Option<Messages<Verifying>>,
}

impl Operations {
    /// Whether something cryptographic goes on.
    fn are_active(&self) -> bool {
        self.sign.is_some()
            || self.sign_recover.is_some()
            || self.verify.is_some()
            || self.verify_recover.is_some()
            || self.digest.is_some()
            || self.encrypt.is_some()
            || self.decrypt.is_some()
            || self.message_encrypt.is_some()
            || self.message_decrypt.is_some()
            || self.message_sign.is_some()
            || self.message_verify.is_some()
    }
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Session({})", self.handle)
    }
}

impl Session {
    /// What goes on; no other thread of the session comes between.
    pub(crate) fn operations(&self) -> Locked<'_, Operations> {
        lock(&self.operations)
    }

    /// Refuses what would change the token, if the session is for reading.
    pub(crate) fn check_read_write(&self) -> Result<(), Error> {
        match self.is_read_write {
            true => Ok(()),
            false => Err(Error::code(CKR_SESSION_READ_ONLY)),
        }
    }

    fn state(&self) -> CK_STATE {
        match (self.is_read_write, self.token.is_logged_in()) {
            (false, false) => CKS_RO_PUBLIC_SESSION,
            (false, true) => CKS_RO_USER_FUNCTIONS,
            (true, false) => CKS_RW_PUBLIC_SESSION,
            (true, true) => CKS_RW_USER_FUNCTIONS,
        }
    }
}

/// All sessions.
#[derive(Debug, Default)]
pub(crate) struct Sessions {
    open: Mutex<HashMap<CK_SESSION_HANDLE, Arc<Session>>>,
}

impl Sessions {
    /// How many sessions a slot has, and how many of them may write.
    pub(crate) fn count(&self, slot: CK_SLOT_ID) -> (CK_ULONG, CK_ULONG) {
        let open = lock(&self.open);
        let of_slot = || open.values().filter(|session| session.slot == slot);
        let read_write = of_slot().filter(|session| session.is_read_write).count();
        (of_slot().count() as CK_ULONG, read_write as CK_ULONG)
    }

    /// Has `act` done if a slot has no session, and before anybody can open one there.
    fn unless_any(&self, slot: CK_SLOT_ID, act: impl FnOnce()) {
        let open = lock(&self.open);
        if !open.values().any(|session| session.slot == slot) {
            act();
        }
    }

    /// Takes out the sessions that are to be closed.
    fn close(&self, is_to_be: impl Fn(&Session) -> bool) -> Vec<Arc<Session>> {
        let mut open = lock(&self.open);
        let closed: Vec<_> = open
            .values()
            .filter(|session| is_to_be(session))
            .cloned()
            .collect();
        for session in &closed {
            open.remove(&session.handle);
        }
        closed
    }
}

impl Module {
    /// A session.
    pub(crate) fn session(&self, handle: CK_SESSION_HANDLE) -> Result<Arc<Session>, Error> {
        let open = lock(&self.sessions.open);
        let session = open.get(&handle).cloned();
        session.ok_or_else(|| Error::code(CKR_SESSION_HANDLE_INVALID))
    }

    /// Ends all sessions and logins, without waiting for an HSM that does not answer.
    pub(crate) fn close(&self) {
        self.close_sessions(|_| true, Some(LAST_MOMENT));
        for slot in &self.slots {
            if let Ok(token) = &slot.token {
                token.close();
            }
        }
    }

    /// Closes sessions. `limit`: how long that may take; by default as long as an operation.
    fn close_sessions(
        &self,
        is_to_be: impl Fn(&Session) -> bool,
        limit: Option<Duration>,
    ) -> usize {
        let closed = self.sessions.close(is_to_be);
        let sessions: Vec<&Session> = closed.iter().map(|session| &**session).collect();
        self.clear_away(&sessions, limit);
        closed.len()
    }

    /// Takes away what has lived as long as sessions that are closed; with the last one of a token
    /// its login ends, and not that of whoever opens the next one.
    fn clear_away(&self, closed: &[&Session], limit: Option<Duration>) {
        let mut ended = Vec::new();
        for session in closed {
            let is_of = |key: &StoredKey| key.session == Some(session.handle);
            ended.extend(self.end_handles(&session.token, limit, is_of));
            session.token.forget_adopted(session.handle);
            session.token.forget_certificates_of(session.handle);
        }
        ending::delete(&ended);
        for session in closed {
            self.sessions
                .unless_any(session.slot, || session.token.forget_login());
        }
    }

    /// Takes away the handles of keys that were made for a session, or that a program has brought.
    /// Returns those that are to be deleted in the HSM: a forked child leaves its parent's there.
    fn end_handles<'a>(
        &self,
        token: &'a Token,
        limit: Option<Duration>,
        is_to_be: impl Fn(&StoredKey) -> bool,
    ) -> impl Iterator<Item = Ended<'a>> {
        let until = Instant::now() + limit.unwrap_or_else(|| token.operation_timeout());
        let ended = token.end_handles(is_to_be).into_iter();
        ended
            .filter(|key| self.has_made(key))
            .map(move |key| Ended { token, key, until })
    }

    /// Logs the user of a token out. Private objects of its sessions go, too: the standard has it
    /// so, and nobody could delete them in the HSM afterwards.
    pub(crate) fn log_out(&self, token: &Token) {
        let is_to_be = |key: &StoredKey| key.session.is_some() && key.shows(Half::Private);
        let ended: Vec<_> = self.end_handles(token, None, is_to_be).collect();
        ending::delete(&ended);
        token.forget_login();
    }

    /// Sees to it that nothing is left of what a call has brought for its session, or of its login,
    /// if another thread has closed the session meanwhile: who closes it can't have seen that.
    ///
    /// # Errors
    /// It was closed.
    pub(crate) fn check_open(&self, session: &Session) -> Result<(), Error> {
        self.is_open(session).then_some(()).ok_or_else(|| {
            self.clear_away(&[session], None);
            closed_meanwhile()
        })
    }

    /// Takes in a key that a program has brought for as long as its session.
    pub(crate) fn bring(
        &self,
        session: &Session,
        key: StoredKey,
    ) -> Result<CK_OBJECT_HANDLE, Error> {
        let handle = session.token.bring(key);
        self.check_open(session).map(|()| handle)
    }

    /// Whether nobody has closed a session.
    pub(crate) fn is_open(&self, session: &Session) -> bool {
        self.session(session.handle).is_ok()
    }
}

/// A session is no more that a call was made in.
pub(crate) fn closed_meanwhile() -> Error {
    Error::because(
        CKR_SESSION_CLOSED,
        "the session was closed, or its user logged out, while the call ran",
    )
}

pub(crate) fn open(
    module: &Arc<Module>,
    slot: CK_SLOT_ID,
    flags: CK_FLAGS,
    _application: *mut c_void,
    _notify: CK_NOTIFY,
    mut place: Place<'_, CK_SESSION_HANDLE>,
) -> Result<(), Error> {
    let token = Arc::clone(module.token(slot)?);
    if flags & CKF_SERIAL_SESSION == 0 {
        return Err(Error::code(CKR_SESSION_PARALLEL_NOT_SUPPORTED));
    }
    if flags & CKF_ASYNC_SESSION != 0 {
        return Err(Error::code(CKR_SESSION_ASYNC_NOT_SUPPORTED));
    }
    place.check()?;
    let handle = new_handle();
    let session = Arc::new(Session {
        handle,
        slot,
        token,
        is_read_write: flags & CKF_RW_SESSION != 0,
        operations: Mutex::default(),
    });
    lock(&module.sessions.open).insert(handle, session);
    place.put(handle)
}

pub(crate) fn close(module: &Arc<Module>, handle: CK_SESSION_HANDLE) -> Result<(), Error> {
    match module.close_sessions(|session| session.handle == handle, None) {
        0 => Err(Error::code(CKR_SESSION_HANDLE_INVALID)),
        _ => Ok(()),
    }
}

pub(crate) fn close_all(module: &Arc<Module>, slot: CK_SLOT_ID) -> Result<(), Error> {
    module.slot(slot)?;
    module.close_sessions(|session| session.slot == slot, None);
    Ok(())
}

pub(crate) fn get_info(
    module: &Arc<Module>,
    session: CK_SESSION_HANDLE,
    mut info: Place<'_, CK_SESSION_INFO>,
) -> Result<(), Error> {
    let session = module.session(session)?;
    let read_write = match session.is_read_write {
        true => CKF_RW_SESSION,
        false => 0,
    };
    info.put(CK_SESSION_INFO {
        slotID: session.slot,
        state: session.state(),
        flags: CKF_SERIAL_SESSION | read_write,
        ulDeviceError: 0,
    })
}

/// Ends the operations that the flags name; one that isn't there is ended already.
pub(crate) fn cancel(
    module: &Arc<Module>,
    session: CK_SESSION_HANDLE,
    flags: CK_FLAGS,
) -> Result<(), Error> {
    let session = module.session(session)?;
    let mut operations = session.operations();
    let is_named = |flag: CK_FLAGS| flags & flag != 0;
    if is_named(CKF_FIND_OBJECTS) {
        operations.search = None;
    }
    if is_named(CKF_SIGN) {
        operations.sign = None;
    }
    if is_named(CKF_SIGN_RECOVER) {
        operations.sign_recover = None;
    }
    if is_named(CKF_VERIFY) {
        operations.verify = None;
    }
    if is_named(CKF_VERIFY_RECOVER) {
        operations.verify_recover = None;
    }
    if is_named(CKF_DIGEST) {
        operations.digest = None;
    }
    if is_named(CKF_ENCRYPT) {
        operations.encrypt = None;
    }
    if is_named(CKF_DECRYPT) {
        operations.decrypt = None;
    }
    if is_named(CKF_MESSAGE_ENCRYPT) {
        operations.message_encrypt = None;
    }
    if is_named(CKF_MESSAGE_DECRYPT) {
        operations.message_decrypt = None;
    }
    if is_named(CKF_MESSAGE_SIGN) {
        operations.message_sign = None;
    }
    if is_named(CKF_MESSAGE_VERIFY) {
        operations.message_verify = None;
    }
    Ok(())
}

/// What goes on can't be saved: there are no keys here to go on with elsewhere.
pub(crate) fn get_operation_state(
    module: &Arc<Module>,
    session: CK_SESSION_HANDLE,
    _: Output<'_>,
) -> Result<(), Error> {
    let session = module.session(session)?;
    let is_active = session.operations().are_active();
    Err(Error::code(match is_active {
        true => CKR_STATE_UNSAVEABLE,
        false => CKR_OPERATION_NOT_INITIALIZED,
    }))
}

pub(crate) fn set_operation_state(
    module: &Arc<Module>,
    session: CK_SESSION_HANDLE,
    _: Bytes<'_>,
    _: CK_OBJECT_HANDLE,
    _: CK_OBJECT_HANDLE,
) -> Result<(), Error> {
    module.session(session)?;
    Err(Error::code(CKR_SAVED_STATE_INVALID))
}

/// Whether an object can be changed or destroyed in a session.
pub(crate) fn check_change(session: &Session, object: &Object) -> Result<(), Error> {
    match object {
        Object::Key(key, _) if key.session.is_some() => Ok(()),
        Object::Certificate(certificate) if certificate.session().is_some() => Ok(()),
        _ => session.check_read_write(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Else whoever opens a session, and logs in, would be logged out again.
    #[test]
    fn nobody_opens_a_session_while_the_login_of_the_last_one_ends() {
        let sessions = Sessions::default();
        let mut is_held = false;
        sessions.unless_any(0, || is_held = sessions.open.try_lock().is_err());
        assert!(is_held);
    }
}
