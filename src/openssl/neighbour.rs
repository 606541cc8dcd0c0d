//! Software keys, left to the provider that they belong to.
//!
//! OpenSSL knows a key type by one name for all providers, and takes whichever implementation comes first: for a
//! generated key, a TLS peer's ephemeral key or an imported one, that can be ours, even when this provider is listed
//! last (an implementation that was used is remembered for its name alone). A provider for an HSM has no business with
//! such keys, so each is handed on to the next provider that implements its type, through the dispatch table that the
//! core shows of it (`provider_get0_dispatch`, provider-base(7)). The key then behaves as if we weren't there.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::sync::{Arc, PoisonError, RwLock};

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
    pub(super) fn find(&self, operation: c_int, name: &CStr) -> Option<Arc<Implementation>> {
        self.find_with(operation, name, &[])
    }

    /// The first other provider's implementation of an operation under a name, whose properties hold all of `wanted`.
    pub(super) fn find_with(
        &self,
        operation: c_int,
        name: &CStr,
        wanted: &[&str],
    ) -> Option<Arc<Implementation>> {
        let mut active = self.active().into_iter();
        active.find_map(|provider| provider.implementation(operation, name, wanted))
    }

    /// The same of the provider that another implementation is of, which alone can read its objects.
    pub(super) fn find_beside(
        &self,
        other: &Implementation,
        operation: c_int,
        name: &CStr,
        wanted: &[&str],
    ) -> Option<Arc<Implementation>> {
        let active = self.active().into_iter();
        active
            .filter(|provider| provider.handle == other.provider.handle)
            .find_map(|provider| provider.implementation(operation, name, wanted))
    }

    /// The active providers, each held from before the core can take it back. This one under another name isn't one: it would ask us in turn.
    fn active(&self) -> Vec<Held> {
        let Some(upcalls) = self.upcalls else {
            return Vec::new();
        };
        let handles = self.active.read().unwrap_or_else(PoisonError::into_inner);
        handles
            .iter()
            .filter_map(|&handle| Held::new(handle, upcalls))
            .filter(|provider| provider.dispatch() != super::entry::dispatch())
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

    /// What the provider has for an operation under a name, with the properties that are wanted.
    fn implementation(
        self,
        operation: c_int,
        name: &CStr,
        wanted: &[&str],
    ) -> Option<Arc<Implementation>> {
        // SAFETY: the id fixes the function's type.
        let query = unsafe { self.function::<QueryOperation>(ffi::PROVIDER_QUERY_OPERATION) }?;
        let context = self.context();
        let mut no_cache = 0;
        // SAFETY: the context is that provider's own.
        let algorithms = unsafe { query(context, operation, &mut no_cache) };
        // SAFETY: a provider answers with NULL or with a list that ends with a NULL name.
        let functions = unsafe { implementation(algorithms, name, wanted) }?;
        Some(Arc::new(Implementation {
            context,
            functions,
            provider: self,
        }))
    }

    fn dispatch(&self) -> *const Dispatch {
        // SAFETY: the provider lives while it is held.
        unsafe { (self.upcalls.dispatch)(self.handle) }
    }

    /// # Safety
    /// `F` is the type of the function with this id (core_dispatch.h).
    unsafe fn function<F: Copy>(&self, id: c_int) -> Option<F> {
        let table = self.dispatch();
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
unsafe fn implementation(
    algorithms: *const Algorithm,
    name: &CStr,
    wanted: &[&str],
) -> Option<Functions> {
    let mut next = algorithms;
    loop {
        // SAFETY: the caller's promise; the walk stops at the end.
        let algorithm = unsafe { next.as_ref() }.filter(|algorithm| !algorithm.names.is_null())?;
        // SAFETY: an algorithm's names are a NUL-terminated string.
        let names = unsafe { CStr::from_ptr(algorithm.names) }.to_bytes();
        let mut names = names.split(|&byte| byte == b':');
        if names.any(|known| known.eq_ignore_ascii_case(name.to_bytes()))
            // SAFETY: an algorithm's properties are NULL or a NUL-terminated string.
            && unsafe { has_properties(algorithm.properties, wanted) }
        {
            return Some(Functions(algorithm.implementation));
        }
        // SAFETY: the entry just read was not the last one.
        next = unsafe { next.add(1) };
    }
}

/// Another provider's implementation of an algorithm.
pub(super) struct Implementation {
    pub(super) context: *mut c_void,
    pub(super) functions: Functions,
    provider: Held,
}

impl Implementation {
    /// Whether both are of one provider, which can read the objects of either.
    pub(super) fn is_beside(&self, other: &Self) -> bool {
        self.provider.handle == other.provider.handle
    }
}

// SAFETY: a provider's context and tables may be used from any thread.
unsafe impl Send for Implementation {}
// SAFETY: as above.
unsafe impl Sync for Implementation {}

/// # Safety
/// `properties` is NULL or a NUL-terminated string.
unsafe fn has_properties(properties: *const c_char, wanted: &[&str]) -> bool {
    if wanted.is_empty() {
        return true;
    }
    if properties.is_null() {
        return false;
    }
    // SAFETY: the caller's promise.
    let Ok(properties) = unsafe { CStr::from_ptr(properties) }.to_str() else {
        return false;
    };
    wanted.iter().all(|wanted| {
        let mut known = properties.split(',').map(str::trim);
        known.any(|known| known.eq_ignore_ascii_case(wanted))
    })
}
