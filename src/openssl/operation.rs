//! Operations under way: with a key of ours, or with a software key that another provider carries
//! out.

use std::ffi::{CStr, c_int, c_void};
use std::sync::Arc;

use hsm_module::Owned;
use hsm_module::dispatch::Id;

use super::boundary;
use super::ffi::Param;
use super::foreign::ForeignContext;
use super::functions::{ContextParams, InContext};
use super::keymgmt::Keydata;
use crate::error::Error;
use crate::key::KeyHandle;
use crate::provider::Provider;

/// What an operation's context of ours has to offer.
pub(super) trait Own {
    /// The operation.
    type Operation: InContext;
    /// The provider that the context belongs to.
    fn provider(&self) -> &Arc<Provider>;
    /// A copy that goes its own way.
    fn duplicate(&self) -> Self;
}

/// What OpenSSL's context of an operation points to.
pub(super) struct Operation<C: Own> {
    pub(super) own: C,
    pub(super) foreign: Option<ForeignContext<C::Operation>>,
}

/// What OpenSSL returns of an operation that a key's provider doesn't have.
const NOT_OFFERED: c_int = -2;

/// Who begins an operation.
pub(super) enum Begin<'a> {
    /// We do, with this key; None is the key of last time.
    Own(Option<&'a KeyHandle>),
    /// Another provider does, with its key object; NULL is the key of last time.
    Foreign(*mut c_void),
}

impl<C: Own> Operation<C> {
    /// The pointer for OpenSSL to a new context.
    pub(super) fn start(own: C) -> *mut c_void {
        Owned::hand_out(Self { own, foreign: None })
    }

    /// Decides by the key who carries out the operation that begins. `foreign` makes another
    /// provider's context.
    pub(super) fn begin<'a>(
        &mut self,
        key: Option<&'a Keydata>,
        foreign: impl FnOnce(&C, &Keydata) -> Option<ForeignContext<C::Operation>>,
    ) -> Result<Begin<'a>, Error> {
        match key.map(|key| (key, key.foreign())) {
            None if self.foreign.is_some() => Ok(Begin::Foreign(std::ptr::null_mut())),
            None => Ok(Begin::Own(None)),
            Some((key, None)) => {
                self.foreign = None;
                Ok(Begin::Own(Some(&key.own)))
            }
            Some((key, Some(software))) => {
                self.foreign = foreign(&self.own, key);
                match &self.foreign {
                    Some(foreign) => Ok(Begin::Foreign(foreign.key_object(software))),
                    None => Err(Error::NotOffered),
                }
            }
        }
    }

    /// Begins an operation: by `own` with a key of ours, by `theirs` with another provider's key,
    /// which gives None where that provider has no such function.
    ///
    /// # Safety
    /// `context` is NULL or a live context of ours, used by one thread at a time.
    pub(super) unsafe fn init(
        context: *mut c_void,
        function: &CStr,
        key: Option<&Keydata>,
        foreign: impl FnOnce(&C, &Keydata) -> Option<ForeignContext<C::Operation>>,
        theirs: impl FnOnce(&ForeignContext<C::Operation>, *mut c_void) -> Option<c_int>,
        own: impl FnOnce(&mut C, Option<&KeyHandle>) -> Result<(), Error>,
    ) -> c_int {
        // SAFETY: the caller promises a context of ours, used by one thread at a time.
        let Some(operation) = (unsafe { Owned::<Self>::borrow_mut(context) }) else {
            return 0;
        };
        let core = operation.own.provider().core;
        boundary::call(&core, function, || {
            match (operation.begin(key, foreign)?, &operation.foreign) {
                (Begin::Foreign(key), Some(foreign)) => {
                    Ok(theirs(foreign, key).unwrap_or_else(|| {
                        core.raise(function, &Error::NotOffered);
                        NOT_OFFERED
                    }))
                }
                (Begin::Own(key), _) => own(&mut operation.own, key).map(|()| 1),
                (Begin::Foreign(_), None) => Err(Error::NotOffered),
            }
        })
    }

    /// Goes on with an operation: by `own`, at the panic and error boundary, or by `theirs`.
    ///
    /// # Safety
    /// `context` is NULL or a live context of ours, used by one thread at a time.
    pub(super) unsafe fn with(
        context: *mut c_void,
        function: &CStr,
        theirs: impl FnOnce(&ForeignContext<C::Operation>) -> c_int,
        own: impl FnOnce(&mut C) -> Result<c_int, Error>,
    ) -> c_int {
        // SAFETY: the caller promises a context of ours, used by one thread at a time.
        let Some(operation) = (unsafe { Owned::<Self>::borrow_mut(context) }) else {
            return 0;
        };
        let core = operation.own.provider().core;
        boundary::call(&core, function, || match &operation.foreign {
            Some(foreign) => Ok(theirs(foreign)),
            None => own(&mut operation.own),
        })
    }

    /// # Safety
    /// `context` is NULL or a live context of ours.
    pub(super) unsafe fn params_table(
        context: *mut c_void,
        id: Id<C::Operation, ContextParams>,
        own: &'static [Param],
    ) -> *const Param {
        // SAFETY: the caller promises NULL or a live context of ours.
        let operation = unsafe { Owned::<Self>::borrow(context) };
        match operation.and_then(|operation| operation.foreign.as_ref()) {
            Some(foreign) => foreign.table(id),
            None => own.as_ptr(),
        }
    }

    /// # Safety
    /// `context` is NULL or a live context of ours, which no other thread is changing.
    pub(super) unsafe fn duplicate(context: *const c_void) -> *mut c_void {
        boundary::quietly(|| {
            // SAFETY: the caller promises NULL or a live context of ours that no other thread is
            // changing.
            let operation = unsafe { Owned::<Self>::borrow(context) }?;
            let foreign = match &operation.foreign {
                Some(foreign) => Some(foreign.duplicate()?),
                None => None,
            };
            let own = operation.own.duplicate();
            Some(Owned::hand_out(Self { own, foreign }))
        })
    }

    /// # Safety
    /// `context` is NULL or a live context of ours, which is given back here.
    pub(super) unsafe fn free(context: *mut c_void) {
        boundary::quietly(|| {
            // SAFETY: the caller gives back a context of ours, once.
            drop(unsafe { Owned::<Self>::take_back(context) });
            Some(1)
        });
    }
}
