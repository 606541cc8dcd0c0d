//! How operations go on in a session. The call that ends one takes it out of the session, so a call
//! that fails leaves none behind; one that only asks for a size, or whose buffer is too small,
//! leaves it there.

use cryptoki_sys::{CKR_OPERATION_ACTIVE, CKR_OPERATION_NOT_INITIALIZED};

use crate::error::Error;
use crate::ffi::convert::{MechanismIn, Output, Wanted};
use crate::sessions::{Operations, Session};

/// Which of a session's operations.
pub(crate) type Slot<T> = fn(&mut Operations) -> &mut Option<T>;

/// Begins an operation by a mechanism, where nothing goes on. Without a mechanism the program ends
/// what does.
pub(crate) fn begin<T>(
    session: &Session,
    mechanism: Option<MechanismIn<'_>>,
    slot: Slot<T>,
    make: impl FnOnce(&MechanismIn<'_>) -> Result<T, Error>,
) -> Result<(), Error> {
    match mechanism {
        Some(given) => begin_with(session, slot, || make(&given)),
        None => {
            *slot(&mut session.operations()) = None;
            Ok(())
        }
    }
}

/// Begins what `make` makes, where nothing goes on. That may ask the HSM, so the session is not
/// locked meanwhile: other threads use it, and a forked child, which has none of them, does too.
pub(crate) fn begin_with<T>(
    session: &Session,
    slot: Slot<T>,
    make: impl FnOnce() -> Result<T, Error>,
) -> Result<(), Error> {
    let is_active = || Err(Error::code(CKR_OPERATION_ACTIVE));
    if slot(&mut session.operations()).is_some() {
        return is_active();
    }
    let made = make()?;
    match slot(&mut session.operations()) {
        // Another thread has begun one meanwhile.
        Some(_) => is_active(),
        none => {
            *none = Some(made);
            Ok(())
        }
    }
}

/// Takes an operation out of the session.
pub(crate) fn take<T>(session: &Session, slot: Slot<T>) -> Result<T, Error> {
    let taken = slot(&mut session.operations()).take();
    taken.ok_or_else(not_initialized)
}

/// Takes out an operation that a result of `len` bytes ends. None: the call has asked for the size.
pub(crate) fn take_for<T>(
    session: &Session,
    slot: Slot<T>,
    output: &mut Output<'_>,
    len: impl FnOnce(&T) -> usize,
) -> Result<Option<T>, Error> {
    let mut operations = session.operations();
    let operation = slot(&mut operations);
    let taken = operation.take().ok_or_else(not_initialized)?;
    let wanted = output.wanted(len(&taken));
    match goes_on(&wanted) {
        true => {
            *operation = Some(taken);
            wanted.map(|_| None)
        }
        false => wanted.map(|_| Some(taken)),
    }
}

/// Has an operation take what comes in parts. That may take long, so the session is not locked
/// meanwhile, as in [`begin_with`].
pub(crate) fn update<T>(
    session: &Session,
    slot: Slot<T>,
    take_part: impl FnOnce(&mut T) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut taken = take(session, slot)?;
    take_part(&mut taken)?;
    slot(&mut session.operations()).get_or_insert(taken);
    Ok(())
}

/// Whether a call that ends so has not ended its operation.
pub(crate) fn goes_on(outcome: &Result<Wanted, Error>) -> bool {
    match outcome {
        Ok(wanted) => *wanted == Wanted::Size,
        Err(error) => error.is_too_small(),
    }
}

pub(crate) fn not_initialized() -> Error {
    Error::code(CKR_OPERATION_NOT_INITIALIZED)
}
