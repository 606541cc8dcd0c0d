//! The generation of software keys, in another provider.

use std::ffi::{CStr, c_int, c_void};
use std::sync::Arc;

use super::{ForeignKey, NOTHING_TO_DO, NotDone, call};
use crate::openssl::ffi::{self, Callback, Param};
use crate::openssl::functions::{self, Keymgmt};
use crate::openssl::neighbour::{Implementation, Neighbours};

/// The generation of a software key, in another provider.
pub(in crate::openssl) struct Generation {
    implementation: Arc<Implementation<Keymgmt>>,
    context: *mut c_void,
}

impl Drop for Generation {
    fn drop(&mut self) {
        call!(
            self.implementation,
            functions::KEYMGMT_GEN_CLEANUP,
            (self.context)
        );
    }
}

impl Generation {
    pub(in crate::openssl) fn start(
        neighbours: &Neighbours,
        key_type: &CStr,
        selection: c_int,
        params: *const Param,
    ) -> Result<Self, NotDone> {
        let implementation = neighbours
            .find::<Keymgmt>(key_type)
            .ok_or(NotDone::NobodyThere)?;
        let context = call!(
            implementation,
            functions::KEYMGMT_GEN_INIT,
            (implementation.context, selection, params)
        );
        let started = (!context.is_null()).then(|| Self {
            implementation,
            context,
        });
        started.ok_or(NotDone::Refused)
    }

    pub(in crate::openssl) fn set_template(&self, template: &ForeignKey) -> c_int {
        if !self.implementation.is_beside(&template.implementation) {
            let moved = template.moved_to(&self.implementation, ffi::SELECT_ALL_PARAMETERS);
            return moved.map_or(0, |moved| self.set_template(&moved));
        }
        call!(
            self.implementation, functions::KEYMGMT_GEN_SET_TEMPLATE, (self.context, template.keydata), or NOTHING_TO_DO
        )
    }

    pub(in crate::openssl) fn set_params(&self, params: *const Param) -> c_int {
        call!(
            self.implementation,
            functions::KEYMGMT_GEN_SET_PARAMS,
            (self.context, params)
        )
    }

    pub(in crate::openssl) fn run(
        &self,
        callback: Option<Callback>,
        argument: *mut c_void,
    ) -> Option<ForeignKey> {
        let keydata = call!(
            self.implementation,
            functions::KEYMGMT_GEN,
            (self.context, callback, argument)
        );
        ForeignKey::wrap(&self.implementation, keydata)
    }
}

/// The parameters that key generation of a type takes, as the other provider says without a
/// generation under way.
pub(in crate::openssl) fn generation_params(
    neighbours: &Neighbours,
    key_type: &CStr,
) -> *const Param {
    match neighbours.find::<Keymgmt>(key_type) {
        Some(implementation) => call!(
            implementation,
            functions::KEYMGMT_GEN_SETTABLE_PARAMS,
            (std::ptr::null_mut(), implementation.context)
        ),
        None => std::ptr::null(),
    }
}
