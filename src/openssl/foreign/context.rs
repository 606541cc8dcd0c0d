//! Operations with software keys, in another provider.

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::sync::Arc;

use super::{ForeignKey, ForeignSecretKey, call};
use crate::openssl::ffi::{self, Param};
use crate::openssl::neighbour::{Implementation, Neighbours};

/// The numbers of the functions that make, copy and free an operation's contexts.
struct Life {
    free: c_int,
    duplicate: c_int,
}

static SIGNATURE: Life = Life {
    free: ffi::SIGNATURE_FREECTX,
    duplicate: ffi::SIGNATURE_DUPCTX,
};
static CIPHER: Life = Life {
    free: ffi::CIPHER_FREECTX,
    duplicate: ffi::CIPHER_DUPCTX,
};
static ASYM_CIPHER: Life = Life {
    free: ffi::ASYM_CIPHER_FREECTX,
    duplicate: ffi::ASYM_CIPHER_DUPCTX,
};

/// An operation with a software key, in another provider.
pub(in crate::openssl) struct ForeignContext {
    implementation: Arc<Implementation>,
    context: *mut c_void,
    life: &'static Life,
    /// The key as an object of the operation's provider, where that isn't the key's own.
    moved: Option<Arc<ForeignKey>>,
}

impl Drop for ForeignContext {
    fn drop(&mut self) {
        call!(self.implementation, self.life.free, (*mut c_void) -> (), (self.context));
    }
}

impl ForeignContext {
    fn wrap(
        implementation: Arc<Implementation>,
        context: *mut c_void,
        life: &'static Life,
        moved: Option<Arc<ForeignKey>>,
    ) -> Option<Self> {
        (!context.is_null()).then_some(Self {
            implementation,
            context,
            life,
            moved,
        })
    }

    /// Who carries out an operation with a key: as in OpenSSL, the provider that the core takes for the operation, if the key
    /// can be moved there, else the key's own.
    fn of_operation(
        neighbours: &Neighbours,
        (key, key_type): (&ForeignKey, &CStr),
        (operation, algorithm): (c_int, &CStr),
        query: Option<&str>,
    ) -> Option<(Arc<Implementation>, Option<Arc<ForeignKey>>)> {
        if let Some(taken) = neighbours.find_by_query(operation, algorithm, query) {
            if taken.is_beside(&key.implementation) {
                return Some((taken, None));
            }
            let there = neighbours.find_beside(&taken, ffi::OP_KEYMGMT, key_type, &[]);
            let moved = there.and_then(|there| key.moved_to(&there, ffi::SELECT_ALL));
            if let Some(moved) = moved {
                return Some((taken, Some(Arc::new(moved))));
            }
        }
        let own = neighbours.find_beside(&key.implementation, operation, algorithm, &[]);
        own.map(|own| (own, None))
    }

    /// The key object that the operation takes in place of the given one.
    pub(in crate::openssl) fn key_object(&self, key: &ForeignKey) -> *mut c_void {
        self.moved
            .as_ref()
            .map_or(key.keydata, |moved| moved.keydata)
    }

    /// A context for signatures by a key, of the named type, with the named algorithm.
    pub(in crate::openssl) fn signature(
        neighbours: &Neighbours,
        key: (&ForeignKey, &CStr),
        algorithm: &CStr,
        properties: Option<&CString>,
    ) -> Option<Self> {
        let query = properties.and_then(|query| query.to_str().ok());
        let operation = (ffi::OP_SIGNATURE, algorithm);
        let (implementation, moved) = Self::of_operation(neighbours, key, operation, query)?;
        let properties = properties.map_or(std::ptr::null(), |properties| properties.as_ptr());
        let context = call!(
            implementation, ffi::SIGNATURE_NEWCTX, (*mut c_void, *const c_char) -> *mut c_void,
            (implementation.context, properties)
        );
        Self::wrap(implementation, context, &SIGNATURE, moved)
    }

    /// A context for encryption and decryption by a key, of the named type, with the named algorithm.
    pub(in crate::openssl) fn asym_cipher(
        neighbours: &Neighbours,
        key: (&ForeignKey, &CStr),
        algorithm: &CStr,
    ) -> Option<Self> {
        let operation = (ffi::OP_ASYM_CIPHER, algorithm);
        let (implementation, moved) = Self::of_operation(neighbours, key, operation, None)?;
        let context = call!(
            implementation, ffi::ASYM_CIPHER_NEWCTX, (*mut c_void) -> *mut c_void,
            (implementation.context)
        );
        Self::wrap(implementation, context, &ASYM_CIPHER, moved)
    }

    /// A context for encryption and decryption by the named symmetric cipher.
    pub(in crate::openssl) fn cipher(neighbours: &Neighbours, algorithm: &CStr) -> Option<Self> {
        let implementation = neighbours.find(ffi::OP_CIPHER, algorithm)?;
        let context = call!(
            implementation, ffi::CIPHER_NEWCTX, (*mut c_void) -> *mut c_void,
            (implementation.context)
        );
        Self::wrap(implementation, context, &CIPHER, None)
    }

    /// Starts with the bytes of a key.
    pub(in crate::openssl) fn cipher_init(
        &self,
        id: c_int,
        (key, key_len): (*const u8, usize),
        (iv, iv_len): (*const u8, usize),
        params: *const Param,
    ) -> c_int {
        call!(
            self.implementation, id,
            (*mut c_void, *const u8, usize, *const u8, usize, *const Param) -> c_int,
            (self.context, key, key_len, iv, iv_len, params)
        )
    }

    /// Starts with a secret key: with its bytes, as the cipher need not know of such keys.
    pub(in crate::openssl) fn secret_init(
        &self,
        id: c_int,
        key: &ForeignSecretKey,
        iv: (*const u8, usize),
        params: *const Param,
    ) -> c_int {
        match key.bytes() {
            Some(bytes) => self.cipher_init(id, (bytes.as_ptr(), bytes.len()), iv, params),
            None => 0,
        }
    }

    pub(in crate::openssl) fn duplicate(&self) -> Option<Self> {
        let context = call!(
            self.implementation, self.life.duplicate, (*mut c_void) -> *mut c_void, (self.context)
        );
        Self::wrap(
            Arc::clone(&self.implementation),
            context,
            self.life,
            self.moved.clone(),
        )
    }

    pub(in crate::openssl) fn init(
        &self,
        id: c_int,
        key: *mut c_void,
        params: *const Param,
    ) -> c_int {
        call!(
            self.implementation, id, (*mut c_void, *mut c_void, *const Param) -> c_int,
            (self.context, key, params)
        )
    }

    pub(in crate::openssl) fn digest_init(
        &self,
        id: c_int,
        digest: *const c_char,
        key: *mut c_void,
        params: *const Param,
    ) -> c_int {
        call!(
            self.implementation, id, (*mut c_void, *const c_char, *mut c_void, *const Param) -> c_int,
            (self.context, digest, key, params)
        )
    }

    /// A function that takes bytes.
    pub(in crate::openssl) fn take(&self, id: c_int, data: *const u8, len: usize) -> c_int {
        call!(self.implementation, id, (*mut c_void, *const u8, usize) -> c_int, (self.context, data, len))
    }

    /// A function that hands out bytes.
    pub(in crate::openssl) fn give(
        &self,
        id: c_int,
        out: *mut u8,
        len: *mut usize,
        capacity: usize,
    ) -> c_int {
        call!(
            self.implementation, id, (*mut c_void, *mut u8, *mut usize, usize) -> c_int,
            (self.context, out, len, capacity)
        )
    }

    /// A function that makes bytes of bytes.
    pub(in crate::openssl) fn transform(
        &self,
        id: c_int,
        out: *mut u8,
        len: *mut usize,
        capacity: usize,
        data: *const u8,
        data_len: usize,
    ) -> c_int {
        call!(
            self.implementation, id,
            (*mut c_void, *mut u8, *mut usize, usize, *const u8, usize) -> c_int,
            (self.context, out, len, capacity, data, data_len)
        )
    }

    /// A function without arguments.
    pub(in crate::openssl) fn finish(&self, id: c_int) -> c_int {
        call!(self.implementation, id, (*mut c_void) -> c_int, (self.context))
    }

    /// Signs a message that comes whole, in two steps: not every provider has it in one.
    pub(in crate::openssl) fn digest_sign(
        &self,
        out: *mut u8,
        len: *mut usize,
        capacity: usize,
        data: *const u8,
        data_len: usize,
    ) -> c_int {
        // A call for the size must leave the message alone: it comes again.
        if !out.is_null() && self.take(ffi::SIGNATURE_DIGEST_SIGN_UPDATE, data, data_len) == 0 {
            return 0;
        }
        self.give(ffi::SIGNATURE_DIGEST_SIGN_FINAL, out, len, capacity)
    }

    /// Verifies a digest's signature.
    pub(in crate::openssl) fn verify(
        &self,
        signature: *const u8,
        len: usize,
        data: *const u8,
        data_len: usize,
    ) -> c_int {
        call!(
            self.implementation, ffi::SIGNATURE_VERIFY,
            (*mut c_void, *const u8, usize, *const u8, usize) -> c_int,
            (self.context, signature, len, data, data_len)
        )
    }

    /// Verifies the signature of a message that comes whole.
    pub(in crate::openssl) fn digest_verify(
        &self,
        signature: *const u8,
        len: usize,
        data: *const u8,
        data_len: usize,
    ) -> c_int {
        if self.take(ffi::SIGNATURE_DIGEST_VERIFY_UPDATE, data, data_len) == 0 {
            return 0;
        }
        self.take(ffi::SIGNATURE_DIGEST_VERIFY_FINAL, signature, len)
    }

    /// A function on a list of parameters.
    pub(in crate::openssl) fn params(&self, id: c_int, params: *mut Param) -> c_int {
        call!(self.implementation, id, (*mut c_void, *mut Param) -> c_int, (self.context, params))
    }

    /// A function that tells which parameters there are.
    pub(in crate::openssl) fn table(&self, id: c_int) -> *const Param {
        call!(
            self.implementation, id, (*mut c_void, *mut c_void) -> *const Param,
            (self.context, self.implementation.context)
        )
    }
}
