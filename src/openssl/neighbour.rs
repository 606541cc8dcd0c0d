//! Software keys, left to the provider that they belong to.
//!
//! OpenSSL knows a key type by one name for all providers, and takes whichever implementation comes
//! first: for a generated key, a TLS peer's ephemeral key or an imported one, that can be ours,
//! even when this provider is listed last (an implementation that was used is remembered for its
//! name alone). A provider for an HSM has no business with such keys, so each is handed on to the
//! provider that OpenSSL would take if this one weren't there, through the dispatch table that the
//! core shows of it (`provider_get0_dispatch`, provider-base(7)). The key then behaves as if we
//! weren't there.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Once, PoisonError, RwLock};

use hsm_module::dispatch::{Entry, Functions};

use super::fetch::Fetcher;
use super::ffi::{Algorithm, Callback, CoreHandle, Param};
use super::functions::{
    self, Base, CountProvider, GetContext, GetDispatch, Keymgmt, Operation, RegisterChild,
};
use super::instances;
use super::params::ParamsIn;

/// The core's upcalls about other providers.
#[derive(Clone, Copy)]
struct Upcalls {
    register: RegisterChild,
    context: GetContext,
    dispatch: GetDispatch,
    up_ref: CountProvider,
    free: CountProvider,
}

/// The query for this provider's algorithms: all of them have this property (property(7)), and no
/// others.
const OURS: &str = "akv_provider.hsm=yes";
/// The query for all but them.
const NOT_OURS: &str = "akv_provider.hsm!=yes";

/// The other active providers of our library context.
pub(crate) struct Neighbours {
    own: *const CoreHandle,
    upcalls: Option<Upcalls>,
    /// Tells which provider the core would take. None: where that can't be asked, the first one is
    /// taken that we were told of.
    fetcher: Option<Fetcher>,
    /// Whether our algorithms are found by `fips=yes`.
    assume_fips: bool,
    told_of: RwLock<Vec<*const CoreHandle>>,
    told_anew: Once,
    /// Our number among the instances of this provider.
    instance: AtomicUsize,
}

// SAFETY: handles are only passed back to the core, whose upcalls may be called from any thread.
unsafe impl Send for Neighbours {}
// SAFETY: the core's upcalls may be called from any thread, and the list of handles is behind a
// lock.
unsafe impl Sync for Neighbours {}

impl Neighbours {
    /// # Safety
    /// `shown` are the core's functions, and `own` the handle that came with them.
    pub(super) unsafe fn new(
        own: *const CoreHandle,
        shown: Functions<functions::Core>,
        assume_fips: bool,
    ) -> Self {
        let upcalls = || {
            Some(Upcalls {
                register: shown.get(functions::PROVIDER_REGISTER_CHILD_CB)?,
                context: shown.get(functions::PROVIDER_GET0_PROVIDER_CTX)?,
                dispatch: shown.get(functions::PROVIDER_GET0_DISPATCH)?,
                up_ref: shown.get(functions::PROVIDER_UP_REF)?,
                free: shown.get(functions::PROVIDER_FREE)?,
            })
        };
        Self {
            own,
            upcalls: upcalls(),
            // SAFETY: the caller promises that both came together.
            fetcher: unsafe { Fetcher::new(own, shown) },
            assume_fips,
            told_of: RwLock::new(Vec::new()),
            told_anew: Once::new(),
            instance: AtomicUsize::new(0),
        }
    }

    /// Starts to follow which providers are active, for the instance of this number. The core does
    /// so as long as the library context lives.
    pub(crate) fn watch(&self, instance: usize) {
        self.instance.store(instance, Ordering::Relaxed);
        self.ask_to_be_told();
    }

    /// Has the core tell of all providers that are active now or will be. To ask twice does no
    /// harm: each is noted once.
    fn ask_to_be_told(&self) {
        if let Some(upcalls) = self.upcalls {
            let instance = self.instance.load(Ordering::Relaxed);
            let argument = std::ptr::without_provenance_mut(instance);
            // SAFETY: the callbacks have the types that the core expects, and take the argument for
            // a number.
            unsafe {
                (upcalls.register)(self.own, appeared, vanished, properties_changed, argument)
            };
        }
    }

    /// Keeps this provider loaded for good.
    pub(crate) fn keep_own(&self) {
        if let Some(upcalls) = self.upcalls {
            // SAFETY: the handle is our own, and this instance has not been torn down.
            unsafe { (upcalls.up_ref)(self.own, 0) };
        }
    }

    /// Tells of what the provider of software keys has for TLS, as ours: groups on elliptic curves,
    /// or signatures of ML-DSA. libssl takes them only from the provider whose key management it
    /// found for them, and for such keys that may be us.
    pub(crate) fn tls(&self, of: &'static Tls, callback: Callback, argument: *mut c_void) -> c_int {
        let Some(keys) = self.find::<Keymgmt>(of.key_type) else {
            return 1;
        };
        let capabilities = keys.provider.functions();
        let capabilities =
            capabilities.and_then(|known| known.get(functions::PROVIDER_GET_CAPABILITIES));
        let Some(capabilities) = capabilities else {
            return 1;
        };
        let mut relay = Relay {
            of,
            callback,
            argument,
        };
        let relay = std::ptr::from_mut(&mut relay).cast();
        // SAFETY: the context is that provider's own, and the relay outlives the call.
        unsafe { capabilities(keys.context, of.capability.as_ptr(), relay_ours, relay) }
    }

    /// Whether a program finds our key management: by the default properties and, if there is one,
    /// a query of its own. So it is taken to be where that can't be asked.
    pub(crate) fn finds_ours(&self, query: Option<&str>) -> bool {
        let query = [OURS]
            .into_iter()
            .chain(query)
            .collect::<Vec<_>>()
            .join(",");
        self.fetcher
            .as_ref()
            .is_none_or(|fetcher| fetcher.fetch(Keymgmt::NUMBER, c"EC", &query).is_some())
    }

    /// Whether the default properties leave out no provider for what it doesn't say of itself, as
    /// `fips=yes` does.
    pub(super) fn are_all_eligible(&self) -> bool {
        !self.assume_fips && self.finds_ours(None)
    }

    /// Another provider's implementation of an operation under a name.
    pub(super) fn find<O: Operation>(&self, name: &CStr) -> Option<Arc<Implementation<O>>> {
        self.find_with(name, &[])
    }

    /// Another provider's implementation of an operation under a name, whose properties hold all of
    /// `wanted`.
    pub(super) fn find_with<O: Operation>(
        &self,
        name: &CStr,
        wanted: &[&str],
    ) -> Option<Arc<Implementation<O>>> {
        match self.fetcher {
            Some(_) => self.fetch(name, wanted, None),
            None => self.first_told_of(name, wanted, Some),
        }
    }

    /// Another provider's implementation of an operation under a name, by a program's own property
    /// query.
    pub(super) fn find_by_query<O: Operation>(
        &self,
        name: &CStr,
        query: Option<&str>,
    ) -> Option<Arc<Implementation<O>>> {
        match self.fetcher {
            Some(_) => self.fetch(name, &[], query),
            None => self.first_told_of(name, &[], Some),
        }
    }

    /// What the core would take if we weren't there. Where our own algorithms pass for FIPS, it may
    /// have been asked for FIPS, so such an implementation goes first.
    fn fetch<O: Operation>(
        &self,
        name: &CStr,
        wanted: &[&str],
        query: Option<&str>,
    ) -> Option<Arc<Implementation<O>>> {
        let others: Vec<&str> = [query.unwrap_or_default(), NOT_OURS]
            .iter()
            .chain(wanted)
            .filter(|part| !part.is_empty())
            .copied()
            .collect();
        let with = |more: &[&str]| {
            let query = [&others, more].concat().join(",");
            let method = self.fetcher.as_ref()?.fetch(O::NUMBER, name, &query)?;
            Held::new(method.provider(), self.upcalls?)?.implementation(name, wanted)
        };
        let fips = self.assume_fips.then(|| with(&["fips=yes"])).flatten();
        fips.or_else(|| with(&[]))
    }

    /// The same of the provider that another implementation is of, which alone can read its
    /// objects.
    pub(super) fn find_beside<O: Operation, P: Operation>(
        &self,
        other: &Implementation<P>,
        name: &CStr,
        wanted: &[&str],
    ) -> Option<Arc<Implementation<O>>> {
        let provider = Held::new(other.provider.handle, self.upcalls?)?;
        provider.implementation(name, wanted)
    }

    /// The same, where the core can't be asked: the first thing that can be made of what the active
    /// providers have that we were told of. The core doesn't tell of those that it falls back to.
    /// They are active when something is looked for, and are told of when we ask to be told anew.
    pub(super) fn first_told_of<O: Operation, T>(
        &self,
        name: &CStr,
        wanted: &[&str],
        mut make: impl FnMut(Arc<Implementation<O>>) -> Option<T>,
    ) -> Option<T> {
        let mut find = || {
            let mut others = self.told_of().into_iter();
            others.find_map(|provider| provider.implementation(name, wanted).and_then(&mut make))
        };
        find().or_else(|| {
            self.told_anew.call_once(|| self.ask_to_be_told());
            find()
        })
    }

    /// Takes away what a call leaves on the error queue.
    pub(super) fn quietly<T>(&self, call: impl FnOnce() -> T) -> T {
        match &self.fetcher {
            Some(fetcher) => fetcher.quietly(call),
            None => call(),
        }
    }

    /// The active providers that we were told of, each held from before the core can take it back.
    /// This one under another name is left out: it would ask us in turn.
    fn told_of(&self) -> Vec<Held> {
        let Some(upcalls) = self.upcalls else {
            return Vec::new();
        };
        let handles = self.told_of.read().unwrap_or_else(PoisonError::into_inner);
        handles
            .iter()
            .filter_map(|&handle| Held::new(handle, upcalls))
            .filter(|provider| provider.dispatch() != super::entry::dispatch())
            .collect()
    }
}

/// A capability that libssl asks for (provider-base(7)).
pub(crate) struct Tls {
    /// Its name.
    pub(super) capability: &'static CStr,
    /// The type of the keys that it is about.
    key_type: &'static CStr,
    /// The parameter that tells which keys an entry is for, and how its text begins.
    algorithm: (&'static CStr, &'static str),
}

/// What we have of it.
pub(super) static TLS: [Tls; 2] = [
    Tls {
        capability: c"TLS-GROUP",
        key_type: c"EC",
        algorithm: (c"tls-group-alg", "EC"),
    },
    Tls {
        capability: c"TLS-SIGALG",
        key_type: c"ML-DSA-65",
        algorithm: (c"tls-sigalg-name", "ML-DSA-"),
    },
];

/// Where an entry goes that another provider told of.
struct Relay {
    of: &'static Tls,
    callback: Callback,
    argument: *mut c_void,
}

unsafe extern "C" fn relay_ours(params: *const Param, relay: *mut c_void) -> c_int {
    // SAFETY: the argument is the one that `tls` passed.
    let relay = unsafe { &*relay.cast::<Relay>() };
    // SAFETY: a capability is a parameter list.
    let list = unsafe { ParamsIn::new(params) };
    let (name, beginning) = relay.of.algorithm;
    match list.utf8(name) {
        // SAFETY: OpenSSL's callback takes the list and its own argument.
        Ok(Some(algorithm)) if algorithm.starts_with(beginning) => unsafe {
            (relay.callback)(params, relay.argument)
        },
        _ => 1,
    }
}

unsafe extern "C" fn appeared(provider: *const CoreHandle, instance: *mut c_void) -> c_int {
    instances::with(instance.addr(), |own| {
        let neighbours = &own.neighbours;
        if provider == neighbours.own {
            return;
        }
        let mut told_of = neighbours
            .told_of
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        if !told_of.contains(&provider) {
            told_of.push(provider);
        }
    });
    1
}

unsafe extern "C" fn vanished(provider: *const CoreHandle, instance: *mut c_void) -> c_int {
    instances::with(instance.addr(), |own| {
        own.neighbours
            .told_of
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .retain(|known| *known != provider);
    });
    1
}

unsafe extern "C" fn properties_changed(
    _properties: *const c_char,
    _instance: *mut c_void,
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
        (unsafe { (upcalls.up_ref)(handle, 0) } != 0).then(|| Self { handle, upcalls })
    }
}

impl Held {
    fn context(&self) -> *mut c_void {
        // SAFETY: the provider lives while it is held.
        unsafe { (self.upcalls.context)(self.handle) }
    }

    /// What the provider has for an operation under a name, with the properties that are wanted.
    fn implementation<O: Operation>(
        self,
        name: &CStr,
        wanted: &[&str],
    ) -> Option<Arc<Implementation<O>>> {
        let query = self.functions()?.get(functions::PROVIDER_QUERY_OPERATION)?;
        let context = self.context();
        let mut no_cache = 0;
        // SAFETY: the context is that provider's own.
        let algorithms = unsafe { query(context, O::NUMBER, &mut no_cache) };
        // SAFETY: a provider answers with NULL or with a list of the operation's algorithms that
        // ends with a NULL name.
        let functions = unsafe { functions_of(algorithms, name, wanted) }?;
        Some(Arc::new(Implementation {
            context,
            functions,
            provider: self,
        }))
    }

    fn dispatch(&self) -> *const Entry<Base> {
        // SAFETY: the provider lives while it is held.
        unsafe { (self.upcalls.dispatch)(self.handle) }
    }

    /// What the provider shows the core.
    fn functions(&self) -> Option<Functions<Base>> {
        let table = self.dispatch();
        // SAFETY: a provider's table is one of the functions that each provider has, and stays
        // while it is held.
        (!table.is_null()).then(|| unsafe { Functions::of(table) })
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // SAFETY: gives back the count that `new` took.
        unsafe { (self.upcalls.free)(self.handle, 0) };
    }
}

/// # Safety
/// `algorithms` is NULL or a list of a provider's algorithms for the operation, which ends with a
/// NULL name.
unsafe fn functions_of<O: Operation>(
    algorithms: *const Algorithm,
    name: &CStr,
    wanted: &[&str],
) -> Option<Functions<O>> {
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
            // SAFETY: the algorithm is one for the operation, whose functions its table has.
            return Some(unsafe { Functions::of(algorithm.implementation.cast()) });
        }
        // SAFETY: the entry just read was not the last one.
        next = unsafe { next.add(1) };
    }
}

/// Another provider's implementation of an algorithm, for an operation.
pub(super) struct Implementation<O> {
    pub(super) context: *mut c_void,
    pub(super) functions: Functions<O>,
    provider: Held,
}

impl<O: Operation> Implementation<O> {
    /// Whether both are of one provider, which can read the objects of either.
    pub(super) fn is_beside<P: Operation>(&self, other: &Implementation<P>) -> bool {
        self.provider.handle == other.provider.handle
    }
}

// SAFETY: a provider's context and tables may be used from any thread.
unsafe impl<O> Send for Implementation<O> {}
// SAFETY: a provider's context and tables may be used from several threads at once.
unsafe impl<O> Sync for Implementation<O> {}

/// # Safety
/// `properties` is NULL or a NUL-terminated string.
unsafe fn has_properties(properties: *const c_char, wanted: &[&str]) -> bool {
    if wanted.is_empty() {
        return true;
    }
    if properties.is_null() {
        return false;
    }
    // SAFETY: the caller promises a NUL-terminated string where it isn't NULL.
    let Ok(properties) = unsafe { CStr::from_ptr(properties) }.to_str() else {
        return false;
    };
    wanted.iter().all(|wanted| {
        let mut known = properties.split(',').map(str::trim);
        known.any(|known| known.eq_ignore_ascii_case(wanted))
    })
}
