//! Software keys, left to the provider that they belong to.
//!
//! OpenSSL knows a key type by one name for all providers, and takes whichever implementation comes first: for a
//! generated key, a TLS peer's ephemeral key or an imported one, that can be ours, even when this provider is listed
//! last (an implementation that was used is remembered for its name alone). A provider for an HSM has no business with
//! such keys, so each is handed on to the next provider that implements its type, through the dispatch table that the
//! core shows of it (`provider_get0_dispatch`, provider-base(7)). The key then behaves as if we weren't there.

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::sync::{Arc, PoisonError, RwLock};

use super::boundary::Returned;
use super::ffi::{self, Algorithm, Callback, CoreHandle, Dispatch, Param};
use super::functions::Functions;
use super::params::ParamsIn;

type ProviderCallback = unsafe extern "C" fn(*const CoreHandle, *mut c_void) -> c_int;
type PropertiesCallback = unsafe extern "C" fn(*const c_char, *mut c_void) -> c_int;
type Register = unsafe extern "C" fn(
    *const CoreHandle,
    ProviderCallback,
    ProviderCallback,
    PropertiesCallback,
    *mut c_void,
) -> c_int;
type Deregister = unsafe extern "C" fn(*const CoreHandle);
type GetContext = unsafe extern "C" fn(*const CoreHandle) -> *mut c_void;
type GetDispatch = unsafe extern "C" fn(*const CoreHandle) -> *const Dispatch;
type Count = unsafe extern "C" fn(*const CoreHandle, c_int) -> c_int;
type GetCapabilities =
    unsafe extern "C" fn(*mut c_void, *const c_char, Callback, *mut c_void) -> c_int;
type QueryOperation = unsafe extern "C" fn(*mut c_void, c_int, *mut c_int) -> *const Algorithm;

/// The core's upcalls about other providers.
#[derive(Clone, Copy)]
struct Upcalls {
    register: Register,
    deregister: Deregister,
    context: GetContext,
    dispatch: GetDispatch,
    up_ref: Count,
    free: Count,
}

/// The other active providers of our library context.
pub(crate) struct Neighbours {
    own: *const CoreHandle,
    upcalls: Option<Upcalls>,
    active: RwLock<Vec<*const CoreHandle>>,
}

// SAFETY: handles are only passed back to the core, whose upcalls may be called from any thread.
unsafe impl Send for Neighbours {}
// SAFETY: as above; the list is behind a lock.
unsafe impl Sync for Neighbours {}

impl Neighbours {
    /// # Safety
    /// `table` is a dispatch table of the core that ends with function id 0, and `own` the handle that came with it.
    pub(crate) unsafe fn new(own: *const CoreHandle, table: *const Dispatch) -> Self {
        let functions = Functions(table);
        // SAFETY: the ids fix the functions' types (core_dispatch.h).
        let upcalls = unsafe {
            (|| {
                Some(Upcalls {
                    register: functions.get(ffi::PROVIDER_REGISTER_CHILD_CB)?,
                    deregister: functions.get(ffi::PROVIDER_DEREGISTER_CHILD_CB)?,
                    context: functions.get(ffi::PROVIDER_GET0_PROVIDER_CTX)?,
                    dispatch: functions.get(ffi::PROVIDER_GET0_DISPATCH)?,
                    up_ref: functions.get(ffi::PROVIDER_UP_REF)?,
                    free: functions.get(ffi::PROVIDER_FREE)?,
                })
            })()
        };
        Self {
            own,
            upcalls,
            active: RwLock::new(Vec::new()),
        }
    }

    /// Starts to follow which providers are active. Until [`Neighbours::forget`], the value must stay where it is.
    pub(crate) fn watch(&self) {
        if let Some(upcalls) = self.upcalls {
            let argument = std::ptr::from_ref(self).cast_mut().cast();
            // SAFETY: the callbacks have the types that the core expects, and the argument outlives the registration.
            unsafe {
                (upcalls.register)(self.own, appeared, vanished, properties_changed, argument)
            };
        }
    }

    /// Ends what [`Neighbours::watch`] began.
    pub(crate) fn forget(&self) {
        if let Some(upcalls) = self.upcalls {
            // SAFETY: the handle is our own.
            unsafe { (upcalls.deregister)(self.own) };
        }
    }

    /// Tells of the TLS groups on elliptic curves that other providers have, as ours. libssl takes a group only from the
    /// provider whose key management it found for it, and for EC keys that may be us.
    pub(crate) fn tls_groups(&self, callback: Callback, argument: *mut c_void) -> c_int {
        let mut relay = Relay { callback, argument };
        let relay = std::ptr::from_mut(&mut relay).cast();
        for provider in self.active() {
            // SAFETY: the id fixes the function's type.
            let capabilities =
                unsafe { provider.function::<GetCapabilities>(ffi::PROVIDER_GET_CAPABILITIES) };
            let Some(capabilities) = capabilities else {
                continue;
            };
            let context = provider.context();
            // SAFETY: the context is that provider's own, and the relay outlives the call.
            if unsafe { capabilities(context, TLS_GROUP.as_ptr(), relay_group, relay) } == 0 {
                return 0;
            }
        }
        1
    }

    /// The first other provider's implementation of an operation under a name.
    fn find(&self, operation: c_int, name: &CStr) -> Option<Arc<Implementation>> {
        self.active().into_iter().find_map(|provider| {
            // SAFETY: the id fixes the function's type.
            let query =
                unsafe { provider.function::<QueryOperation>(ffi::PROVIDER_QUERY_OPERATION) }?;
            let context = provider.context();
            let mut no_cache = 0;
            // SAFETY: the context is that provider's own.
            let algorithms = unsafe { query(context, operation, &mut no_cache) };
            // SAFETY: a provider answers with NULL or with a list that ends with a NULL name.
            let functions = unsafe { implementation(algorithms, name) }?;
            Some(Arc::new(Implementation {
                context,
                functions,
                _provider: provider,
            }))
        })
    }

    /// The active providers, each held from before the core can take it back.
    fn active(&self) -> Vec<Held> {
        let Some(upcalls) = self.upcalls else {
            return Vec::new();
        };
        let handles = self.active.read().unwrap_or_else(PoisonError::into_inner);
        handles
            .iter()
            .filter_map(|&handle| Held::new(handle, upcalls))
            .collect()
    }
}

/// The name of the capability that tells of TLS groups (provider-base(7)).
pub(super) const TLS_GROUP: &CStr = c"TLS-GROUP";

/// Where a group goes that another provider told of.
struct Relay {
    callback: Callback,
    argument: *mut c_void,
}

unsafe extern "C" fn relay_group(params: *const Param, relay: *mut c_void) -> c_int {
    // SAFETY: the argument is the one that `tls_groups` passed.
    let relay = unsafe { &*relay.cast::<Relay>() };
    // SAFETY: a capability is a parameter list.
    let algorithm = unsafe { ParamsIn::new(params) }.utf8(c"tls-group-alg");
    match algorithm {
        // SAFETY: OpenSSL's callback takes the list and its own argument.
        Ok(Some("EC")) => unsafe { (relay.callback)(params, relay.argument) },
        _ => 1,
    }
}

unsafe extern "C" fn appeared(provider: *const CoreHandle, neighbours: *mut c_void) -> c_int {
    // SAFETY: the argument is the one that `watch` registered.
    let neighbours = unsafe { &*neighbours.cast::<Neighbours>() };
    if provider != neighbours.own {
        let mut active = neighbours
            .active
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        if !active.contains(&provider) {
            active.push(provider);
        }
    }
    1
}

unsafe extern "C" fn vanished(provider: *const CoreHandle, neighbours: *mut c_void) -> c_int {
    // SAFETY: the argument is the one that `watch` registered.
    let neighbours = unsafe { &*neighbours.cast::<Neighbours>() };
    neighbours
        .active
        .write()
        .unwrap_or_else(PoisonError::into_inner)
        .retain(|known| *known != provider);
    1
}

unsafe extern "C" fn properties_changed(
    _properties: *const c_char,
    _neighbours: *mut c_void,
) -> c_int {
    1
}

/// A provider that can't be unloaded while the value lives.
struct Held {
    handle: *const CoreHandle,
    upcalls: Upcalls,
}

impl Held {
    fn new(handle: *const CoreHandle, upcalls: Upcalls) -> Option<Self> {
        // SAFETY: the handle is one that the core told us of and has not taken back.
        (unsafe { (upcalls.up_ref)(handle, 0) } != 0).then_some(Self { handle, upcalls })
    }
}

impl Held {
    fn context(&self) -> *mut c_void {
        // SAFETY: the provider lives while it is held.
        unsafe { (self.upcalls.context)(self.handle) }
    }

    /// # Safety
    /// `F` is the type of the function with this id (core_dispatch.h).
    unsafe fn function<F: Copy>(&self, id: c_int) -> Option<F> {
        // SAFETY: the provider lives while it is held.
        let table = unsafe { (self.upcalls.dispatch)(self.handle) };
        if table.is_null() {
            return None;
        }
        // SAFETY: the caller's promise; a provider's table ends with id 0.
        unsafe { Functions(table).get(id) }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // SAFETY: gives back the count that `new` took.
        unsafe { (self.upcalls.free)(self.handle, 0) };
    }
}

/// # Safety
/// `algorithms` is NULL or a list that ends with a NULL name.
unsafe fn implementation(algorithms: *const Algorithm, name: &CStr) -> Option<Functions> {
    let mut next = algorithms;
    loop {
        // SAFETY: the caller's promise; the walk stops at the end.
        let algorithm = unsafe { next.as_ref() }.filter(|algorithm| !algorithm.names.is_null())?;
        // SAFETY: an algorithm's names are a NUL-terminated string.
        let names = unsafe { CStr::from_ptr(algorithm.names) }.to_bytes();
        let mut names = names.split(|&byte| byte == b':');
        if names.any(|known| known.eq_ignore_ascii_case(name.to_bytes())) {
            return Some(Functions(algorithm.implementation));
        }
        // SAFETY: the entry just read was not the last one.
        next = unsafe { next.add(1) };
    }
}

/// Another provider's implementation of an algorithm.
struct Implementation {
    context: *mut c_void,
    functions: Functions,
    _provider: Held,
}

// SAFETY: a provider's context and tables may be used from any thread.
unsafe impl Send for Implementation {}
// SAFETY: as above.
unsafe impl Sync for Implementation {}

/// Calls a function of another provider's implementation: `call!(implementation, ID, (types) -> type, (arguments))`.
/// A function that isn't there fails.
macro_rules! call {
    ($implementation:expr, $id:expr, ($($type:ty),*) -> $returned:ty, ($($argument:expr),*)) => {{
        type Function = unsafe extern "C" fn($($type),*) -> $returned;
        // SAFETY: the id fixes the function's type (core_dispatch.h), which is the one written at the call.
        let function = unsafe { $implementation.functions.get::<Function>($id) };
        match function {
            // SAFETY: the implementation's own objects are passed, and what OpenSSL passed to us for this call.
            Some(function) => unsafe { function($($argument),*) },
            None => <$returned as Returned>::failure(),
        }
    }};
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

    /// Has another provider import a key of the named type.
    pub(super) fn import(
        neighbours: &Neighbours,
        key_type: &CStr,
        selection: c_int,
        params: *const Param,
    ) -> Option<Self> {
        let implementation = neighbours.find(ffi::OP_KEYMGMT, key_type)?;
        let keydata = call!(
            implementation, ffi::KEYMGMT_NEW, (*mut c_void) -> *mut c_void, (implementation.context)
        );
        let key = Self::wrap(&implementation, keydata)?;
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
            (self.keydata, selection, check)
        )
    }

    pub(super) fn matches(&self, other: &Self, selection: c_int) -> c_int {
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

    pub(super) fn get_params(&self, params: *mut Param) -> c_int {
        call!(
            self.implementation, ffi::KEYMGMT_GET_PARAMS, (*mut c_void, *mut Param) -> c_int,
            (self.keydata, params)
        )
    }

    pub(super) fn set_params(&self, params: *const Param) -> c_int {
        call!(
            self.implementation, ffi::KEYMGMT_SET_PARAMS, (*mut c_void, *const Param) -> c_int,
            (self.keydata, params)
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
        call!(
            self.implementation, ffi::KEYMGMT_GEN_SET_TEMPLATE, (*mut c_void, *mut c_void) -> c_int,
            (self.context, template.keydata)
        )
    }

    pub(super) fn set_params(&self, params: *const Param) -> c_int {
        call!(
            self.implementation, ffi::KEYMGMT_GEN_SET_PARAMS, (*mut c_void, *const Param) -> c_int,
            (self.context, params)
        )
    }

    pub(super) fn settable_params(&self) -> *const Param {
        call!(
            self.implementation, ffi::KEYMGMT_GEN_SETTABLE_PARAMS,
            (*mut c_void, *mut c_void) -> *const Param,
            (self.context, self.implementation.context)
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

/// A signature operation with a software key, in another provider.
pub(super) struct ForeignSignature {
    implementation: Arc<Implementation>,
    context: *mut c_void,
}

impl Drop for ForeignSignature {
    fn drop(&mut self) {
        call!(self.implementation, ffi::SIGNATURE_FREECTX, (*mut c_void) -> (), (self.context));
    }
}

impl ForeignSignature {
    pub(super) fn new(
        neighbours: &Neighbours,
        algorithm: &CStr,
        properties: Option<&CString>,
    ) -> Option<Self> {
        let implementation = neighbours.find(ffi::OP_SIGNATURE, algorithm)?;
        let properties = properties.map_or(std::ptr::null(), |properties| properties.as_ptr());
        let context = call!(
            implementation, ffi::SIGNATURE_NEWCTX, (*mut c_void, *const c_char) -> *mut c_void,
            (implementation.context, properties)
        );
        (!context.is_null()).then_some(Self {
            implementation,
            context,
        })
    }

    pub(super) fn duplicate(&self) -> Option<Self> {
        let context = call!(
            self.implementation, ffi::SIGNATURE_DUPCTX, (*mut c_void) -> *mut c_void, (self.context)
        );
        (!context.is_null()).then(|| Self {
            implementation: Arc::clone(&self.implementation),
            context,
        })
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

    /// Signs a digest.
    pub(super) fn sign(
        &self,
        out: *mut u8,
        len: *mut usize,
        capacity: usize,
        data: *const u8,
        data_len: usize,
    ) -> c_int {
        call!(
            self.implementation, ffi::SIGNATURE_SIGN,
            (*mut c_void, *mut u8, *mut usize, usize, *const u8, usize) -> c_int,
            (self.context, out, len, capacity, data, data_len)
        )
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
