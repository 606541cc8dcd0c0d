//! Software keys and the operations on them, carried out by the provider that they belong to.

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::sync::Arc;

use zeroize::Zeroizing;

use super::bio::CoreBio;
use super::boundary::Returned;
use super::ffi::{self, Callback, Param};
use super::neighbour::{Implementation, Neighbours};
use super::params::{ParamList, ParamsIn};

/// Calls a function of another provider's implementation: `call!(implementation, ID, (types) -> type, (arguments))`.
/// A function that isn't there fails, or returns what stands behind `or`.
macro_rules! call {
    ($implementation:expr, $id:expr, ($($type:ty),*) -> $returned:ty, ($($argument:expr),*)) => {
        call!(
            $implementation, $id, ($($type),*) -> $returned, ($($argument),*),
            or <$returned as Returned>::failure()
        )
    };
    ($implementation:expr, $id:expr, ($($type:ty),*) -> $returned:ty, ($($argument:expr),*), or $absent:expr) => {{
        type Function = unsafe extern "C" fn($($type),*) -> $returned;
        // SAFETY: the id fixes the function's type (core_dispatch.h), which is the one written at the call.
        let function = unsafe { $implementation.functions.get::<Function>($id) };
        match function {
            // SAFETY: the implementation's own objects are passed, and what OpenSSL passed to us for this call.
            Some(function) => unsafe { function($($argument),*) },
            None => $absent,
        }
    }};
}

/// What a function that isn't there returns where OpenSSL goes on without it.
const NOTHING_TO_DO: c_int = 1;

/// Why another provider has not imported a key.
pub(super) enum NotImported {
    NobodyThere,
    Refused,
}

/// A software key, in another provider.
pub(super) struct ForeignKey {
    implementation: Arc<Implementation>,
    pub(super) keydata: *mut c_void,
}

// SAFETY: key objects of a provider may be used from several threads (provider-keymgmt(7)).
unsafe impl Send for ForeignKey {}
// SAFETY: as above.
unsafe impl Sync for ForeignKey {}

impl Drop for ForeignKey {
    fn drop(&mut self) {
        call!(self.implementation, ffi::KEYMGMT_FREE, (*mut c_void) -> (), (self.keydata));
    }
}

impl ForeignKey {
    fn wrap(implementation: &Arc<Implementation>, keydata: *mut c_void) -> Option<Self> {
        (!keydata.is_null()).then(|| Self {
            implementation: Arc::clone(implementation),
            keydata,
        })
    }

    /// Has another provider import a key of the named type. OpenSSL imports a key mostly for an operation that is to begin,
    /// so the key goes where the core would go for the operation; where that one doesn't take it, or where the type has none,
    /// to the key management that the core would take.
    pub(super) fn import(
        neighbours: &Neighbours,
        key_type: &CStr,
        selection: c_int,
        params: *const Param,
    ) -> Result<Self, NotImported> {
        let operation = match key_type.to_bytes() {
            b"EC" => c"ECDSA",
            _ => key_type,
        };
        let signs = neighbours.find(ffi::OP_SIGNATURE, operation);
        let of_operation =
            signs.and_then(|signs| neighbours.find_beside(&signs, ffi::OP_KEYMGMT, key_type, &[]));
        let first = of_operation.or_else(|| neighbours.find(ffi::OP_KEYMGMT, key_type));
        let first = first.ok_or(NotImported::NobodyThere)?;
        if let Some(key) = Self::import_into(&first, selection, params) {
            return Ok(key);
        }
        let second = neighbours.find(ffi::OP_KEYMGMT, key_type);
        second
            .filter(|second| !second.is_beside(&first))
            .and_then(|second| Self::import_into(&second, selection, params))
            .ok_or(NotImported::Refused)
    }

    /// Has another provider's key management import a key.
    fn import_into(
        implementation: &Arc<Implementation>,
        selection: c_int,
        params: *const Param,
    ) -> Option<Self> {
        let keydata = call!(
            implementation, ffi::KEYMGMT_NEW, (*mut c_void) -> *mut c_void, (implementation.context)
        );
        let key = Self::wrap(implementation, keydata)?;
        let imported = call!(
            implementation, ffi::KEYMGMT_IMPORT, (*mut c_void, c_int, *const Param) -> c_int,
            (key.keydata, selection, params)
        );
        (imported != 0).then_some(key)
    }

    pub(super) fn has(&self, selection: c_int) -> c_int {
        call!(
            self.implementation, ffi::KEYMGMT_HAS, (*const c_void, c_int) -> c_int, (self.keydata, selection)
        )
    }

    pub(super) fn validate(&self, selection: c_int, check: c_int) -> c_int {
        call!(
            self.implementation, ffi::KEYMGMT_VALIDATE, (*const c_void, c_int, c_int) -> c_int,
            (self.keydata, selection, check), or NOTHING_TO_DO
        )
    }

    pub(super) fn matches(&self, other: &Self, selection: c_int) -> c_int {
        if !self.implementation.is_beside(&other.implementation) {
            let moved = other.moved_to(&self.implementation, selection);
            return moved.map_or(0, |moved| self.matches(&moved, selection));
        }
        call!(
            self.implementation, ffi::KEYMGMT_MATCH, (*const c_void, *const c_void, c_int) -> c_int,
            (self.keydata, other.keydata, selection)
        )
    }

    pub(super) fn export(
        &self,
        selection: c_int,
        callback: Callback,
        argument: *mut c_void,
    ) -> c_int {
        call!(
            self.implementation, ffi::KEYMGMT_EXPORT,
            (*const c_void, c_int, Callback, *mut c_void) -> c_int,
            (self.keydata, selection, callback, argument)
        )
    }

    /// The selected parts of the key as an object of another provider.
    fn moved_to(&self, implementation: &Arc<Implementation>, selection: c_int) -> Option<Self> {
        let mut moved = None;
        self.exported(selection, |params| {
            moved = Self::import_into(implementation, selection, params);
            c_int::from(moved.is_some())
        });
        moved
    }

    /// Calls `take` with the selected parts of the key.
    fn exported(&self, selection: c_int, mut take: impl FnMut(*const Param) -> c_int) -> c_int {
        unsafe extern "C" fn pass<F: FnMut(*const Param) -> c_int>(
            params: *const Param,
            take: *mut c_void,
        ) -> c_int {
            // SAFETY: the argument is the one below.
            let take = unsafe { &mut *take.cast::<F>() };
            take(params)
        }
        fn passing<F: FnMut(*const Param) -> c_int>(_: &F) -> Callback {
            pass::<F>
        }
        let callback = passing(&take);
        self.export(selection, callback, std::ptr::from_mut(&mut take).cast())
    }

    /// The name of an EC key's curve.
    pub(super) fn group(&self) -> Option<String> {
        let mut name = [0u8; 80];
        let mut params = [Param::text_room(c"group", &mut name), Param::END];
        if self.get_params(params.as_mut_ptr()) == 0 {
            return None;
        }
        let name = CStr::from_bytes_until_nul(&name).ok()?.to_str().ok()?;
        (!name.is_empty()).then(|| name.to_owned())
    }

    pub(super) fn get_params(&self, params: *mut Param) -> c_int {
        call!(
            self.implementation, ffi::KEYMGMT_GET_PARAMS, (*mut c_void, *mut Param) -> c_int,
            (self.keydata, params), or NOTHING_TO_DO
        )
    }

    pub(super) fn set_params(&self, params: *const Param) -> c_int {
        call!(
            self.implementation, ffi::KEYMGMT_SET_PARAMS, (*mut c_void, *const Param) -> c_int,
            (self.keydata, params), or NOTHING_TO_DO
        )
    }

    pub(super) fn duplicate(&self, selection: c_int) -> Option<Self> {
        let keydata = call!(
            self.implementation, ffi::KEYMGMT_DUP, (*const c_void, c_int) -> *mut c_void,
            (self.keydata, selection)
        );
        Self::wrap(&self.implementation, keydata)
    }
}

/// The generation of a software key, in another provider.
pub(super) struct Generation {
    implementation: Arc<Implementation>,
    context: *mut c_void,
}

impl Drop for Generation {
    fn drop(&mut self) {
        call!(self.implementation, ffi::KEYMGMT_GEN_CLEANUP, (*mut c_void) -> (), (self.context));
    }
}

impl Generation {
    pub(super) fn start(
        neighbours: &Neighbours,
        key_type: &CStr,
        selection: c_int,
        params: *const Param,
    ) -> Option<Self> {
        let implementation = neighbours.find(ffi::OP_KEYMGMT, key_type)?;
        let context = call!(
            implementation, ffi::KEYMGMT_GEN_INIT, (*mut c_void, c_int, *const Param) -> *mut c_void,
            (implementation.context, selection, params)
        );
        (!context.is_null()).then_some(Self {
            implementation,
            context,
        })
    }

    pub(super) fn set_template(&self, template: &ForeignKey) -> c_int {
        if !self.implementation.is_beside(&template.implementation) {
            let moved = template.moved_to(&self.implementation, ffi::SELECT_ALL_PARAMETERS);
            return moved.map_or(0, |moved| self.set_template(&moved));
        }
        call!(
            self.implementation, ffi::KEYMGMT_GEN_SET_TEMPLATE, (*mut c_void, *mut c_void) -> c_int,
            (self.context, template.keydata), or NOTHING_TO_DO
        )
    }

    pub(super) fn set_params(&self, params: *const Param) -> c_int {
        call!(
            self.implementation, ffi::KEYMGMT_GEN_SET_PARAMS, (*mut c_void, *const Param) -> c_int,
            (self.context, params)
        )
    }

    pub(super) fn run(&self, callback: *const c_void, argument: *mut c_void) -> Option<ForeignKey> {
        let keydata = call!(
            self.implementation, ffi::KEYMGMT_GEN,
            (*mut c_void, *const c_void, *mut c_void) -> *mut c_void,
            (self.context, callback, argument)
        );
        ForeignKey::wrap(&self.implementation, keydata)
    }
}

/// The parameters that key generation of a type takes, as the other provider says without a generation under way.
pub(super) fn generation_params(neighbours: &Neighbours, key_type: &CStr) -> *const Param {
    match neighbours.find(ffi::OP_KEYMGMT, key_type) {
        Some(implementation) => call!(
            implementation, ffi::KEYMGMT_GEN_SETTABLE_PARAMS,
            (*mut c_void, *mut c_void) -> *const Param,
            (std::ptr::null_mut(), implementation.context)
        ),
        None => std::ptr::null(),
    }
}

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
pub(super) struct ForeignContext {
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
    pub(super) fn key_object(&self, key: &ForeignKey) -> *mut c_void {
        self.moved
            .as_ref()
            .map_or(key.keydata, |moved| moved.keydata)
    }

    /// A context for signatures by a key, of the named type, with the named algorithm.
    pub(super) fn signature(
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
    pub(super) fn asym_cipher(
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
    pub(super) fn cipher(neighbours: &Neighbours, algorithm: &CStr) -> Option<Self> {
        let implementation = neighbours.find(ffi::OP_CIPHER, algorithm)?;
        let context = call!(
            implementation, ffi::CIPHER_NEWCTX, (*mut c_void) -> *mut c_void,
            (implementation.context)
        );
        Self::wrap(implementation, context, &CIPHER, None)
    }

    /// Starts with the bytes of a key.
    pub(super) fn cipher_init(
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
    pub(super) fn secret_init(
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

    pub(super) fn duplicate(&self) -> Option<Self> {
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

    pub(super) fn init(&self, id: c_int, key: *mut c_void, params: *const Param) -> c_int {
        call!(
            self.implementation, id, (*mut c_void, *mut c_void, *const Param) -> c_int,
            (self.context, key, params)
        )
    }

    pub(super) fn digest_init(
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
    pub(super) fn take(&self, id: c_int, data: *const u8, len: usize) -> c_int {
        call!(self.implementation, id, (*mut c_void, *const u8, usize) -> c_int, (self.context, data, len))
    }

    /// A function that hands out bytes.
    pub(super) fn give(&self, id: c_int, out: *mut u8, len: *mut usize, capacity: usize) -> c_int {
        call!(
            self.implementation, id, (*mut c_void, *mut u8, *mut usize, usize) -> c_int,
            (self.context, out, len, capacity)
        )
    }

    /// A function that makes bytes of bytes.
    pub(super) fn transform(
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
    pub(super) fn finish(&self, id: c_int) -> c_int {
        call!(self.implementation, id, (*mut c_void) -> c_int, (self.context))
    }

    /// Signs a message that comes whole, in two steps: not every provider has it in one.
    pub(super) fn digest_sign(
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
    pub(super) fn verify(
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
    pub(super) fn digest_verify(
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
    pub(super) fn params(&self, id: c_int, params: *mut Param) -> c_int {
        call!(self.implementation, id, (*mut c_void, *mut Param) -> c_int, (self.context, params))
    }

    /// A function that tells which parameters there are.
    pub(super) fn table(&self, id: c_int) -> *const Param {
        call!(
            self.implementation, id, (*mut c_void, *mut c_void) -> *const Param,
            (self.context, self.implementation.context)
        )
    }
}

/// An AES software key (`EVP_SKEY`), in another provider.
pub(super) struct ForeignSecretKey {
    implementation: Arc<Implementation>,
    keydata: *mut c_void,
}

// SAFETY: key objects of a provider may be used from several threads.
unsafe impl Send for ForeignSecretKey {}
// SAFETY: as above.
unsafe impl Sync for ForeignSecretKey {}

impl Drop for ForeignSecretKey {
    fn drop(&mut self) {
        call!(self.implementation, ffi::SKEYMGMT_FREE, (*mut c_void) -> (), (self.keydata));
    }
}

impl ForeignSecretKey {
    pub(super) fn import(
        neighbours: &Neighbours,
        selection: c_int,
        params: *const Param,
    ) -> Option<Self> {
        let implementation = neighbours.find(ffi::OP_SKEYMGMT, c"AES")?;
        let keydata = call!(
            implementation, ffi::SKEYMGMT_IMPORT, (*mut c_void, c_int, *const Param) -> *mut c_void,
            (implementation.context, selection, params)
        );
        (!keydata.is_null()).then_some(Self {
            implementation,
            keydata,
        })
    }

    pub(super) fn generate(neighbours: &Neighbours, params: *const Param) -> Option<Self> {
        let implementation = neighbours.find(ffi::OP_SKEYMGMT, c"AES")?;
        let keydata = call!(
            implementation, ffi::SKEYMGMT_GENERATE, (*mut c_void, *const Param) -> *mut c_void,
            (implementation.context, params)
        );
        (!keydata.is_null()).then_some(Self {
            implementation,
            keydata,
        })
    }

    pub(super) fn export(
        &self,
        selection: c_int,
        callback: Callback,
        argument: *mut c_void,
    ) -> c_int {
        call!(
            self.implementation, ffi::SKEYMGMT_EXPORT,
            (*mut c_void, c_int, Callback, *mut c_void) -> c_int,
            (self.keydata, selection, callback, argument)
        )
    }

    fn bytes(&self) -> Option<Zeroizing<Vec<u8>>> {
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

    pub(super) fn key_id(&self) -> *const c_char {
        call!(
            self.implementation, ffi::SKEYMGMT_GET_KEY_ID, (*mut c_void) -> *const c_char, (self.keydata)
        )
    }
}

/// Has another provider encode a key: its own, or, where that one has no such encoder, what that one tells of it. `encoder`: the key
/// type's name, and the properties that the encoder must have. `arguments`: the stream, the selection, and the caller's pass-phrase
/// callback with its argument.
pub(super) fn encode_foreign(
    neighbours: &Neighbours,
    (name, wanted): (&CStr, &[&str]),
    params: &mut ParamList,
    key: &ForeignKey,
    arguments: (*mut CoreBio, c_int, *const c_void, *mut c_void),
) -> c_int {
    let beside = neighbours.find_beside(&key.implementation, ffi::OP_ENCODER, name, wanted);
    let found = beside.or_else(|| neighbours.find_with(ffi::OP_ENCODER, name, wanted));
    let Some(implementation) = found else {
        return 0;
    };
    let context = call!(
        implementation, ffi::ENCODER_NEWCTX, (*mut c_void) -> *mut c_void, (implementation.context)
    );
    if context.is_null() {
        return 0;
    }
    params.with(|params| {
        call!(
            implementation, ffi::ENCODER_SET_CTX_PARAMS, (*mut c_void, *const Param) -> c_int,
            (context, params)
        )
    });
    let (output, selection, passphrase, passphrase_argument) = arguments;
    let encode = |object: *mut c_void| {
        call!(
            implementation, ffi::ENCODER_ENCODE,
            (*mut c_void, *mut CoreBio, *const c_void, *const Param, c_int, *const c_void, *mut c_void) -> c_int,
            (context, output, object, std::ptr::null(), selection, passphrase, passphrase_argument)
        )
    };
    let encoded = if implementation.is_beside(&key.implementation) {
        encode(key.keydata)
    } else {
        // A private key is written with the public one.
        let parts = match selection & ffi::SELECT_PRIVATE_KEY {
            0 => selection,
            _ => selection | ffi::SELECT_PUBLIC_KEY,
        };
        let mut object = std::ptr::null_mut();
        key.exported(parts, |params| {
            object = call!(
                implementation, ffi::ENCODER_IMPORT_OBJECT,
                (*mut c_void, c_int, *const Param) -> *mut c_void, (context, parts, params)
            );
            c_int::from(!object.is_null())
        });
        if object.is_null() {
            0
        } else {
            let encoded = encode(object);
            call!(implementation, ffi::ENCODER_FREE_OBJECT, (*mut c_void) -> (), (object));
            encoded
        }
    };
    call!(implementation, ffi::ENCODER_FREECTX, (*mut c_void) -> (), (context));
    encoded
}
