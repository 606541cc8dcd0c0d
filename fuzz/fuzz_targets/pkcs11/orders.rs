//! What PKCS#11 says of the order of calls, kept beside the module: which sessions are open, who is
//! logged in, and what goes on in each session. Every answer of the module has to fit.

use std::collections::HashMap;

use cryptoki_sys::*;

/// What goes on in a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    Search,
    Sign,
    SignRecover,
    Verify,
    /// The signature comes first. It takes the place of the other verification.
    VerifySignature,
    VerifyRecover,
    Digest,
    Encrypt,
    Decrypt,
    MessageSign,
    MessageVerify,
    MessageEncrypt,
    MessageDecrypt,
}

/// What a call does with its operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    Begin,
    /// Without a mechanism: an end that is asked for.
    Cancel,
    /// With all that there is, as `C_Sign`.
    Whole,
    Part,
    /// After all parts, as `C_SignFinal`.
    Last,
    /// One of many messages, whole.
    Message,
    MessageBegin,
    MessagePart,
    MessageLast,
    /// After all messages, or a search.
    End,
}

/// How far an operation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Begun,
    /// Parts have come: of the message, or of one of many messages.
    InParts,
}

#[derive(Default)]
pub struct Session {
    is_read_write: bool,
    operations: HashMap<Operation, (Operation, State)>,
}

#[derive(Default)]
pub struct Orders {
    sessions: HashMap<CK_SESSION_HANDLE, Session>,
    is_logged_in: bool,
}

impl Operation {
    /// Which one it shares its place in a session with.
    fn place(self) -> Self {
        match self {
            Self::VerifySignature => Self::Verify,
            other => other,
        }
    }

    /// The flag by which `C_SessionCancel` names it.
    fn flag(self) -> CK_FLAGS {
        match self {
            Self::Search => CKF_FIND_OBJECTS,
            Self::Sign => CKF_SIGN,
            Self::SignRecover => CKF_SIGN_RECOVER,
            Self::Verify | Self::VerifySignature => CKF_VERIFY,
            Self::VerifyRecover => CKF_VERIFY_RECOVER,
            Self::Digest => CKF_DIGEST,
            Self::Encrypt => CKF_ENCRYPT,
            Self::Decrypt => CKF_DECRYPT,
            Self::MessageSign => CKF_MESSAGE_SIGN,
            Self::MessageVerify => CKF_MESSAGE_VERIFY,
            Self::MessageEncrypt => CKF_MESSAGE_ENCRYPT,
            Self::MessageDecrypt => CKF_MESSAGE_DECRYPT,
        }
    }

    /// Whether a question for the size of the end counts as a part: what comes in parts is held.
    fn holds_parts(self) -> bool {
        matches!(self, Self::Encrypt | Self::Decrypt)
    }
}

/// Whether a call that has to do with an operation leaves it as it was: it has asked for a size, or
/// has too small a buffer.
fn leaves(code: CK_RV, asks: bool) -> bool {
    code == CKR_BUFFER_TOO_SMALL || code == CKR_OK && asks
}

impl Orders {
    pub fn opened(&mut self, session: CK_SESSION_HANDLE, flags: CK_FLAGS) {
        let opened = Session {
            is_read_write: flags & CKF_RW_SESSION != 0,
            ..Session::default()
        };
        let known = self.sessions.insert(session, opened);
        assert!(known.is_none(), "a handle is given out twice");
    }

    /// A session is closed, or would be; with the last one its login ends.
    pub fn closed(&mut self, session: CK_SESSION_HANDLE, code: CK_RV) {
        let was_open = self.sessions.remove(&session).is_some();
        assert_eq!(code == CKR_OK, was_open, "closing gives {code:#x}");
        if self.sessions.is_empty() {
            self.is_logged_in = false;
        }
    }

    pub fn all_closed(&mut self) {
        *self = Self::default();
    }

    pub fn logged_in(&mut self, session: CK_SESSION_HANDLE, user: CK_USER_TYPE, code: CK_RV) {
        self.check_session(session, code);
        let known = code == CKR_USER_ALREADY_LOGGED_IN;
        assert!(!known || self.is_logged_in, "nobody is logged in");
        if code == CKR_OK {
            assert!(user == CKU_USER && !self.is_logged_in);
            self.is_logged_in = true;
        }
    }

    pub fn logged_out(&mut self, session: CK_SESSION_HANDLE, code: CK_RV) {
        self.check_session(session, code);
        let expected = match (self.sessions.contains_key(&session), self.is_logged_in) {
            (false, _) => CKR_SESSION_HANDLE_INVALID,
            (true, false) => CKR_USER_NOT_LOGGED_IN,
            (true, true) => CKR_OK,
        };
        assert_eq!(code, expected, "C_Logout");
        if code == CKR_OK {
            self.is_logged_in = false;
        }
    }

    /// The state that a session has to tell.
    pub fn check_state(&self, session: CK_SESSION_HANDLE, code: CK_RV, info: &CK_SESSION_INFO) {
        self.check_session(session, code);
        let Some(known) = self.sessions.get(&session) else {
            return;
        };
        let expected = match (known.is_read_write, self.is_logged_in) {
            (false, false) => CKS_RO_PUBLIC_SESSION,
            (false, true) => CKS_RO_USER_FUNCTIONS,
            (true, false) => CKS_RW_PUBLIC_SESSION,
            (true, true) => CKS_RW_USER_FUNCTIONS,
        };
        assert_eq!((code, info.state), (CKR_OK, expected));
    }

    /// A session that is not open is told, and no other; one that may write is never told that it
    /// can't.
    pub fn check_session(&self, session: CK_SESSION_HANDLE, code: CK_RV) {
        let known = self.sessions.get(&session);
        match code {
            CKR_SESSION_HANDLE_INVALID => assert!(known.is_none(), "the session is open"),
            // Arguments are looked at first by some.
            CKR_ARGUMENTS_BAD => {}
            CKR_SESSION_READ_ONLY => {
                let is_read_only = known.is_some_and(|session| !session.is_read_write);
                assert!(is_read_only, "the session may write");
            }
            _ => assert!(
                known.is_some(),
                "the session is closed, and gives {code:#x}"
            ),
        }
    }

    /// `C_SessionCancel`: what isn't there is ended already.
    pub fn cancelled(&mut self, session: CK_SESSION_HANDLE, flags: CK_FLAGS, code: CK_RV) {
        self.check_session(session, code);
        if let Some(session) = self.sessions.get_mut(&session) {
            assert_eq!(code, CKR_OK, "C_SessionCancel");
            let is_named = |operation: &Operation| flags & operation.flag() != 0;
            session
                .operations
                .retain(|operation, _| !is_named(operation));
        }
    }

    /// `C_GetOperationState`: nothing can be saved, and there may be nothing to save.
    pub fn check_saving(&self, session: CK_SESSION_HANDLE, code: CK_RV) {
        self.check_session(session, code);
        if let Some(session) = self.sessions.get(&session) {
            let mut goes_on = session.operations.keys();
            let expected = match goes_on.any(|operation| *operation != Operation::Search) {
                true => CKR_STATE_UNSAVEABLE,
                false => CKR_OPERATION_NOT_INITIALIZED,
            };
            assert_eq!(code, expected, "C_GetOperationState");
        }
    }

    /// A call was made for an operation; `asks`: for the size of its result only.
    pub fn called(
        &mut self,
        session: CK_SESSION_HANDLE,
        operation: Operation,
        call: Call,
        asks: bool,
        code: CK_RV,
    ) {
        self.check_session(session, code);
        let Some(session) = self.sessions.get_mut(&session) else {
            return;
        };
        let place = operation.place();
        let before = session.operations.get(&place).copied();
        // The functions of another way to verify find nothing that they could go on with.
        let own = before.filter(|(known, _)| *known == operation);
        let own = own.map(|(_, state)| state);
        let after = match call {
            Call::Begin => begun(before, operation, code),
            Call::Cancel if code == CKR_OK => None,
            Call::Cancel => before,
            Call::Whole | Call::Part | Call::Last => {
                after_part(own, operation, call, asks, code).map(|state| (operation, state))
            }
            Call::End => {
                let expected = own.map_or(CKR_OPERATION_NOT_INITIALIZED, |_| CKR_OK);
                assert_eq!(code, expected, "{operation:?} ends");
                None
            }
            Call::Message | Call::MessageBegin | Call::MessagePart | Call::MessageLast => {
                after_message(own, call, asks, code).map(|state| (operation, state))
            }
        };
        match after {
            Some(after) => session.operations.insert(place, after),
            None => session.operations.remove(&place),
        };
    }
}

/// Only one operation of a kind goes on in a session.
fn begun(
    before: Option<(Operation, State)>,
    operation: Operation,
    code: CK_RV,
) -> Option<(Operation, State)> {
    match code {
        CKR_OK => assert_eq!(before, None, "a second {operation:?} begins"),
        CKR_OPERATION_ACTIVE => assert!(before.is_some(), "no {operation:?} goes on"),
        _ => {}
    }
    match code {
        CKR_OK => Some((operation, State::Begun)),
        _ => before,
    }
}

/// What is left of an operation by a call that goes on with it, or ends it.
fn after_part(
    before: Option<State>,
    operation: Operation,
    call: Call,
    asks: bool,
    code: CK_RV,
) -> Option<State> {
    let what = (operation, call);
    let is_unknown = code == CKR_OPERATION_NOT_INITIALIZED;
    match (before, call) {
        (None, _) => assert!(is_unknown, "{what:?} without a beginning gives {code:#x}"),
        // What came in parts has no whole; a question for its size does no harm.
        (Some(State::InParts), Call::Whole) => {
            let is_refused = is_unknown || code == CKR_ARGUMENTS_BAD;
            assert!(is_refused || leaves(code, asks), "{what:?}: {code:#x}");
        }
        _ => assert!(!is_unknown, "{what:?} goes on, and is not known"),
    }
    let before = before?;
    match call {
        Call::Part if code == CKR_OK && asks => Some(before),
        Call::Part => (code == CKR_OK).then_some(State::InParts),
        _ if !leaves(code, asks) => None,
        Call::Last if operation.holds_parts() => Some(State::InParts),
        _ => Some(before),
    }
}

/// The same for one message of many: a failure ends the message, and not the others.
fn after_message(before: Option<State>, call: Call, asks: bool, code: CK_RV) -> Option<State> {
    let begins = matches!(call, Call::Message | Call::MessageBegin);
    let expected = match (before, begins) {
        (None, _) | (Some(State::Begun), false) => Some(CKR_OPERATION_NOT_INITIALIZED),
        (Some(State::InParts), true) => Some(CKR_OPERATION_ACTIVE),
        _ => None,
    };
    match expected {
        Some(expected) => assert_eq!(code, expected, "{call:?} in {before:?}"),
        None => assert!(
            !matches!(code, CKR_OPERATION_NOT_INITIALIZED | CKR_OPERATION_ACTIVE),
            "{call:?} in {before:?} gives {code:#x}"
        ),
    }
    let before = before?;
    Some(match call {
        _ if expected.is_some() => before,
        Call::MessageBegin if code == CKR_OK => State::InParts,
        Call::MessagePart if code == CKR_OK || code == CKR_BUFFER_TOO_SMALL => State::InParts,
        Call::MessageLast if leaves(code, asks) => State::InParts,
        _ => State::Begun,
    })
}
