//! AES software keys, in another provider.

use std::ffi::{c_char, c_int, c_void};
use std::sync::Arc;

use zeroize::Zeroizing;

use super::call;
use crate::openssl::ffi::{self, Callback, Param};
use crate::openssl::functions::{self, Skeymgmt};
use crate::openssl::neighbour::{Implementation, Neighbours};
use crate::openssl::params::ParamsIn;

/// An AES software key (`EVP_SKEY`), in another provider.
pub(in crate::openssl) struct ForeignSecretKey {
    pub(super) implementation: Arc<Implementation<Skeymgmt>>,
    keydata: *mut c_void,
}

// SAFETY: key objects of a provider may be used from several threads.
unsafe impl Send for ForeignSecretKey {}
// SAFETY: key objects of a provider may be used from several threads at once.
unsafe impl Sync for ForeignSecretKey {}

impl Drop for ForeignSecretKey {
    fn drop(&mut self) {
        call!(
            self.implementation,
            functions::SKEYMGMT_FREE,
            (self.keydata)
        );
    }
}

impl ForeignSecretKey {
    fn wrap(implementation: Arc<Implementation<Skeymgmt>>, keydata: *mut c_void) -> Option<Self> {
        (!keydata.is_null()).then(|| Self {
            implementation,
            keydata,
        })
    }

    pub(in crate::openssl) fn import(
        neighbours: &Neighbours,
        selection: c_int,
        params: *const Param,
    ) -> Option<Self> {
        let implementation = neighbours.find::<Skeymgmt>(c"AES")?;
        let keydata = call!(
            implementation,
            functions::SKEYMGMT_IMPORT,
            (implementation.context, selection, params)
        );
        Self::wrap(implementation, keydata)
    }

    pub(in crate::openssl) fn generate(
        neighbours: &Neighbours,
        params: *const Param,
    ) -> Option<Self> {
        let implementation = neighbours.find::<Skeymgmt>(c"AES")?;
        let keydata = call!(
            implementation,
            functions::SKEYMGMT_GENERATE,
            (implementation.context, params)
        );
        Self::wrap(implementation, keydata)
    }

    pub(in crate::openssl) fn export(
        &self,
        selection: c_int,
        callback: Callback,
        argument: *mut c_void,
    ) -> c_int {
        call!(
            self.implementation,
            functions::SKEYMGMT_EXPORT,
            (self.keydata, selection, callback, argument)
        )
    }

    pub(super) fn bytes(&self) -> Option<Zeroizing<Vec<u8>>> {
        unsafe extern "C" fn take(params: *const Param, bytes: *mut c_void) -> c_int {
            // SAFETY: the argument is the one that is passed below.
            let bytes = unsafe { &mut *bytes.cast::<Zeroizing<Vec<u8>>>() };
            // SAFETY: another provider passes a parameter list.
            match unsafe { ParamsIn::new(params) }.octets(c"raw-bytes") {
                Ok(Some(found)) => {
                    bytes.extend_from_slice(found);
                    1
                }
                _ => 0,
            }
        }
        let mut bytes = Zeroizing::new(Vec::with_capacity(64));
        let argument = std::ptr::from_mut(&mut bytes).cast();
        (self.export(ffi::SKEYMGMT_SELECT_SECRET_KEY, take, argument) != 0).then_some(bytes)
    }

    pub(in crate::openssl) fn key_id(&self) -> *const c_char {
        call!(
            self.implementation,
            functions::SKEYMGMT_GET_KEY_ID,
            (self.keydata)
        )
    }
}
