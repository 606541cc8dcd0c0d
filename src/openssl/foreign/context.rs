//! Operations with software keys, in another provider.

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::sync::Arc;

use hsm_module::dispatch::Id;

use super::{ForeignKey, ForeignSecretKey, call};
use crate::openssl::ffi::Param;
use crate::openssl::functions::{
    self, AsymCipher, Cipher, CipherInit, ContextParams, DigestInit, Finish, GetParams, Give,
    InContext, Init, SetParams, Signature, Take, Transform,
};
use crate::openssl::neighbour::{Implementation, Neighbours};

/// Who carries out an operation, and the key as an object of theirs where that isn't the key's own
/// provider.
type Carrier<O> = (Arc<Implementation<O>>, Option<Arc<ForeignKey>>);

/// An operation with a software key, in another provider.
pub(in crate::openssl) struct ForeignContext<O: InContext> {
    implementation: Arc<Implementation<O>>,
    context: *mut c_void,
    /// The key as an object of the operation's provider, where that isn't the key's own.
    moved: Option<Arc<ForeignKey>>,
}

impl<O: InContext> Drop for ForeignContext<O> {
    fn drop(&mut self) {
        call!(self.implementation, O::FREE, (self.context));
    }
}

impl<O: InContext> ForeignContext<O> {
    fn wrap(
        implementation: Arc<Implementation<O>>,
        context: *mut c_void,
        moved: Option<Arc<ForeignKey>>,
    ) -> Option<Self> {
        (!context.is_null()).then(|| Self {
            implementation,
            context,
            moved,
        })
    }

    /// Who carries out an operation with a key: as in OpenSSL, the provider that the core takes for
    /// the operation, if the key can be moved there, else the key's own.
    fn of_operation(
        neighbours: &Neighbours,
        (key, key_type): (&ForeignKey, &CStr),
        algorithm: &CStr,
        query: Option<&str>,
    ) -> Option<Carrier<O>> {
        if let Some(taken) = neighbours.find_by_query(algorithm, query) {
            if taken.is_beside(&key.implementation) {
                return Some((taken, None));
            }
            let there = neighbours.find_beside(&taken, key_type, &[]);
            let moved = there.and_then(|there| key.moved_to(&there, key.parts()));
            if let Some(moved) = moved {
                return Some((taken, Some(Arc::new(moved))));
            }
        }
        let own = neighbours.find_beside(&key.implementation, algorithm, &[]);
        own.map(|own| (own, None))
    }

    /// The key object that the operation takes in place of the given one.
    pub(in crate::openssl) fn key_object(&self, key: &ForeignKey) -> *mut c_void {
        self.moved
            .as_ref()
            .map_or(key.keydata, |moved| moved.keydata)
    }

    pub(in crate::openssl) fn duplicate(&self) -> Option<Self> {
        let context = call!(self.implementation, O::DUPLICATE, (self.context));
        Self::wrap(
            Arc::clone(&self.implementation),
            context,
            self.moved.clone(),
        )
    }

    /// Begins an operation. None: the provider has no such operation.
    pub(in crate::openssl) fn init(
        &self,
        id: Id<O, Init>,
        key: *mut c_void,
        params: *const Param,
    ) -> Option<c_int> {
        let begun = call!(self.implementation, id, (self.context, key, params), or return None);
        Some(begun)
    }

    /// A function that takes bytes.
    pub(in crate::openssl) fn take(&self, id: Id<O, Take>, data: *const u8, len: usize) -> c_int {
        call!(self.implementation, id, (self.context, data, len))
    }

    /// A function that hands out bytes.
    pub(in crate::openssl) fn give(
        &self,
        id: Id<O, Give>,
        out: *mut u8,
        len: *mut usize,
        capacity: usize,
    ) -> c_int {
        call!(self.implementation, id, (self.context, out, len, capacity))
    }

    /// A function that makes bytes of bytes.
    pub(in crate::openssl) fn transform(
        &self,
        id: Id<O, Transform>,
        out: *mut u8,
        len: *mut usize,
        capacity: usize,
        data: *const u8,
        data_len: usize,
    ) -> c_int {
        call!(
            self.implementation,
            id,
            (self.context, out, len, capacity, data, data_len)
        )
    }

    /// A function without arguments.
    pub(in crate::openssl) fn finish(&self, id: Id<O, Finish>) -> c_int {
        call!(self.implementation, id, (self.context))
    }

    /// A function that answers a list of parameters.
    pub(in crate::openssl) fn get_params(&self, id: Id<O, GetParams>, params: *mut Param) -> c_int {
        call!(self.implementation, id, (self.context, params))
    }

    /// A function that takes a list of parameters.
    pub(in crate::openssl) fn set_params(
        &self,
        id: Id<O, SetParams>,
        params: *const Param,
    ) -> c_int {
        call!(self.implementation, id, (self.context, params))
    }

    /// A function that tells which parameters there are.
    pub(in crate::openssl) fn table(&self, id: Id<O, ContextParams>) -> *const Param {
        call!(
            self.implementation,
            id,
            (self.context, self.implementation.context)
        )
    }
}

impl ForeignContext<Signature> {
    /// A context for signatures by a key, of the named type, with the named algorithm.
    pub(in crate::openssl) fn new(
        neighbours: &Neighbours,
        key: (&ForeignKey, &CStr),
        algorithm: &CStr,
        properties: Option<&CString>,
    ) -> Option<Self> {
        let query = properties.and_then(|query| query.to_str().ok());
        let (implementation, moved) = Self::of_operation(neighbours, key, algorithm, query)?;
        let properties = properties.map_or(std::ptr::null(), |properties| properties.as_ptr());
        let context = call!(
            implementation,
            functions::SIGNATURE_NEWCTX,
            (implementation.context, properties)
        );
        Self::wrap(implementation, context, moved)
    }

    /// Begins an operation with a digest. None: the provider has no such operation.
    pub(in crate::openssl) fn digest_init(
        &self,
        id: Id<Signature, DigestInit>,
        digest: *const c_char,
        key: *mut c_void,
        params: *const Param,
    ) -> Option<c_int> {
        let begun = call!(
            self.implementation,
            id,
            (self.context, digest, key, params),
            or return None
        );
        Some(begun)
    }

    /// Whether messages are only taken whole.
    fn takes_whole_messages_only(&self) -> bool {
        let functions = self.implementation.functions;
        functions
            .get(functions::SIGNATURE_DIGEST_SIGN_UPDATE)
            .is_none()
    }

    /// Signs a message that comes whole, in two steps where there are two: not every provider has
    /// it in one.
    pub(in crate::openssl) fn digest_sign(
        &self,
        out: *mut u8,
        len: *mut usize,
        capacity: usize,
        data: *const u8,
        data_len: usize,
    ) -> c_int {
        if self.takes_whole_messages_only() {
            let id = functions::SIGNATURE_DIGEST_SIGN;
            return self.transform(id, out, len, capacity, data, data_len);
        }
        // A call for the size must leave the message alone: it comes again.
        if !out.is_null() && self.take(functions::SIGNATURE_DIGEST_SIGN_UPDATE, data, data_len) == 0
        {
            return 0;
        }
        self.give(functions::SIGNATURE_DIGEST_SIGN_FINAL, out, len, capacity)
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
            self.implementation,
            functions::SIGNATURE_VERIFY,
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
        if self.takes_whole_messages_only() {
            return call!(
                self.implementation,
                functions::SIGNATURE_DIGEST_VERIFY,
                (self.context, signature, len, data, data_len)
            );
        }
        if self.take(functions::SIGNATURE_DIGEST_VERIFY_UPDATE, data, data_len) == 0 {
            return 0;
        }
        self.take(functions::SIGNATURE_DIGEST_VERIFY_FINAL, signature, len)
    }
}

impl ForeignContext<AsymCipher> {
    /// A context for encryption and decryption by a key, of the named type, with the named
    /// algorithm.
    pub(in crate::openssl) fn new(
        neighbours: &Neighbours,
        key: (&ForeignKey, &CStr),
        algorithm: &CStr,
    ) -> Option<Self> {
        let (implementation, moved) = Self::of_operation(neighbours, key, algorithm, None)?;
        let context = call!(
            implementation,
            functions::ASYM_CIPHER_NEWCTX,
            (implementation.context)
        );
        Self::wrap(implementation, context, moved)
    }
}

impl ForeignContext<Cipher> {
    /// A context for encryption and decryption by the named symmetric cipher.
    pub(in crate::openssl) fn new(neighbours: &Neighbours, algorithm: &CStr) -> Option<Self> {
        let implementation = neighbours.find::<Cipher>(algorithm)?;
        let context = call!(
            implementation,
            functions::CIPHER_NEWCTX,
            (implementation.context)
        );
        Self::wrap(implementation, context, None)
    }

    /// Starts with the bytes of a key.
    pub(in crate::openssl) fn cipher_init(
        &self,
        id: Id<Cipher, CipherInit>,
        (key, key_len): (*const u8, usize),
        (iv, iv_len): (*const u8, usize),
        params: *const Param,
    ) -> c_int {
        call!(
            self.implementation,
            id,
            (self.context, key, key_len, iv, iv_len, params)
        )
    }

    /// Starts with a secret key: with its bytes, as the cipher need not know of such keys.
    pub(in crate::openssl) fn secret_init(
        &self,
        id: Id<Cipher, CipherInit>,
        key: &ForeignSecretKey,
        iv: (*const u8, usize),
        params: *const Param,
    ) -> c_int {
        match key.bytes() {
            Some(bytes) => self.cipher_init(id, (bytes.as_ptr(), bytes.len()), iv, params),
            None => 0,
        }
    }
}
