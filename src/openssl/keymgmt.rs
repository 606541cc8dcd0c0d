//! Dispatch tables of key management (provider-keymgmt(7)).

use std::ffi::{c_char, c_int, c_void};
use std::sync::{Arc, OnceLock};

use super::boundary;
use super::entry::provider;
use super::ffi::{
    self, Callback, Dispatch, Param, SELECT_ALL_PARAMETERS, SELECT_DOMAIN_PARAMETERS,
    SELECT_PRIVATE_KEY, SELECT_PUBLIC_KEY,
};
use super::neighbour::{ForeignKey, Generation, generation_params};
use super::object::dereference;
use super::params::{ParamsIn, ParamsOut};
use crate::error::Error;
use crate::key::{KeyHandle, KeyType};
use crate::keymgmt::{self, tables};
use crate::provider::Provider;

/// The table of a key type: what differs between types comes first.
macro_rules! table {
    ($new:ident, $load:ident, $gettable:ident, $types:ident, $operation:ident, $gen_init:ident, $gen_settable:ident) => {
        &[
            Dispatch::new(ffi::KEYMGMT_NEW, $new as *const c_void),
            Dispatch::new(ffi::KEYMGMT_LOAD, $load as *const c_void),
            Dispatch::new(ffi::KEYMGMT_GETTABLE_PARAMS, $gettable as *const c_void),
            Dispatch::new(ffi::KEYMGMT_IMPORT_TYPES, $types as *const c_void),
            Dispatch::new(ffi::KEYMGMT_EXPORT_TYPES, $types as *const c_void),
            Dispatch::new(
                ffi::KEYMGMT_QUERY_OPERATION_NAME,
                $operation as *const c_void,
            ),
            Dispatch::new(ffi::KEYMGMT_GEN_INIT, $gen_init as *const c_void),
            Dispatch::new(
                ffi::KEYMGMT_GEN_SETTABLE_PARAMS,
                $gen_settable as *const c_void,
            ),
            Dispatch::new(
                ffi::KEYMGMT_GEN_SET_TEMPLATE,
                gen_set_template as *const c_void,
            ),
            Dispatch::new(ffi::KEYMGMT_GEN_SET_PARAMS, gen_set_params as *const c_void),
            Dispatch::new(ffi::KEYMGMT_GEN, generate as *const c_void),
            Dispatch::new(ffi::KEYMGMT_GEN_CLEANUP, gen_cleanup as *const c_void),
            Dispatch::new(ffi::KEYMGMT_FREE, free as *const c_void),
            Dispatch::new(ffi::KEYMGMT_GET_PARAMS, get_params as *const c_void),
            Dispatch::new(ffi::KEYMGMT_SET_PARAMS, set_params as *const c_void),
            Dispatch::new(
                ffi::KEYMGMT_SETTABLE_PARAMS,
                settable_params as *const c_void,
            ),
            Dispatch::new(ffi::KEYMGMT_HAS, has as *const c_void),
            Dispatch::new(ffi::KEYMGMT_VALIDATE, validate as *const c_void),
            Dispatch::new(ffi::KEYMGMT_MATCH, matches as *const c_void),
            Dispatch::new(ffi::KEYMGMT_IMPORT, import as *const c_void),
            Dispatch::new(ffi::KEYMGMT_EXPORT, export as *const c_void),
            Dispatch::new(ffi::KEYMGMT_DUP, dup as *const c_void),
            Dispatch::END,
        ]
    };
}

pub(super) static RSA: &[Dispatch] = table!(
    new_rsa,
    load_rsa,
    gettable_rsa,
    types_rsa,
    operation_rsa,
    gen_init_rsa,
    gen_settable_rsa
);
pub(super) static EC: &[Dispatch] = table!(
    new_ec,
    load_ec,
    gettable_ec,
    types_ec,
    operation_ec,
    gen_init_ec,
    gen_settable_ec
);

/// What OpenSSL's `keydata` points to: a key of ours, or a software key that is another provider's.
pub(super) struct Keydata {
    pub(super) own: KeyHandle,
    foreign: OnceLock<ForeignKey>,
}

impl Keydata {
    fn own(own: KeyHandle) -> *mut c_void {
        Box::into_raw(Box::new(Self {
            own,
            foreign: OnceLock::new(),
        }))
        .cast()
    }

    fn wrap(provider: &Arc<Provider>, key_type: KeyType, foreign: ForeignKey) -> *mut c_void {
        let own = KeyHandle::empty(Arc::clone(provider), key_type);
        Box::into_raw(Box::new(Self {
            own,
            foreign: OnceLock::from(foreign),
        }))
        .cast()
    }

    pub(super) fn foreign(&self) -> Option<&ForeignKey> {
        self.foreign.get()
    }
}

/// The key behind a `keydata`.
///
/// # Safety
/// `keydata` is NULL or came from this module, and has not been freed.
pub(super) unsafe fn keydata<'a>(keydata: *const c_void) -> Option<&'a Keydata> {
    // SAFETY: the caller's promise. A key is shared by threads, so only shared references are made of it.
    unsafe { keydata.cast::<Keydata>().as_ref() }
}

unsafe extern "C" fn new_rsa(context: *mut c_void) -> *mut c_void {
    // SAFETY: OpenSSL passes our context back.
    unsafe { new(context, KeyType::Rsa) }
}

unsafe extern "C" fn new_ec(context: *mut c_void) -> *mut c_void {
    // SAFETY: OpenSSL passes our context back.
    unsafe { new(context, KeyType::Ec) }
}

/// # Safety
/// `context` is the provider's context.
unsafe fn new(context: *mut c_void, key_type: KeyType) -> *mut c_void {
    boundary::quietly(|| {
        // SAFETY: the caller's promise.
        let provider = unsafe { provider(context) };
        Some(Keydata::own(KeyHandle::empty(provider, key_type)))
    })
}

unsafe extern "C" fn load_rsa(reference: *const c_void, len: usize) -> *mut c_void {
    // SAFETY: OpenSSL passes on the reference that our store gave it.
    unsafe { load(reference, len, KeyType::Rsa) }
}

unsafe extern "C" fn load_ec(reference: *const c_void, len: usize) -> *mut c_void {
    // SAFETY: OpenSSL passes on the reference that our store gave it.
    unsafe { load(reference, len, KeyType::Ec) }
}

/// # Safety
/// `reference` is one that our store made, during its call.
unsafe fn load(reference: *const c_void, len: usize, key_type: KeyType) -> *mut c_void {
    boundary::quietly(|| {
        // SAFETY: the caller's promise.
        let loaded = unsafe { dereference(reference, len) }.ok()?;
        let key = loaded.key().filter(|_| loaded.key_type == key_type)?;
        Some(Keydata::own(KeyHandle::new(
            Arc::clone(&loaded.provider),
            Arc::clone(key),
        )))
    })
}

unsafe extern "C" fn free(keydata: *mut c_void) {
    boundary::quietly(|| {
        if !keydata.is_null() {
            // SAFETY: the pointer came from a `Keydata` function, and OpenSSL gives it back once.
            drop(unsafe { Box::from_raw(keydata.cast::<Keydata>()) });
        }
        Some(1)
    });
}

unsafe extern "C" fn dup(from: *const c_void, selection: c_int) -> *mut c_void {
    boundary::quietly(|| {
        // SAFETY: OpenSSL passes our keydata.
        let from = unsafe { keydata(from) }?;
        let provider = &from.own.provider;
        if let Some(foreign) = from.foreign() {
            return Some(Keydata::wrap(
                provider,
                from.own.key_type,
                foreign.duplicate(selection)?,
            ));
        }
        let Some(key) = from.own.key() else {
            return Some(Keydata::own(KeyHandle::empty(
                Arc::clone(provider),
                from.own.key_type,
            )));
        };
        if selection & (SELECT_PUBLIC_KEY | SELECT_PRIVATE_KEY) != 0 {
            return Some(Keydata::own(KeyHandle::new(
                Arc::clone(provider),
                Arc::clone(key),
            )));
        }
        // Domain parameters alone are about to become a software key: a TLS peer's, say.
        Some(Keydata::wrap(
            provider,
            from.own.key_type,
            hand_over(&from.own, selection)?,
        ))
    })
}

/// The selected parts of one of our keys as a key of another provider.
fn hand_over(own: &KeyHandle, selection: c_int) -> Option<ForeignKey> {
    let mut list = keymgmt::export(own, selection)?;
    list.with(|params| {
        ForeignKey::import(
            &own.provider.neighbours,
            own.key_type.name(),
            selection,
            params,
        )
    })
}

unsafe extern "C" fn get_params(key: *const c_void, params: *mut Param) -> c_int {
    // SAFETY: OpenSSL passes our keydata.
    let Some(key) = (unsafe { keydata(key) }) else {
        return 0;
    };
    boundary::call(&key.own.provider.core, c"keymgmt_get_params", || {
        if let Some(foreign) = key.foreign() {
            return Ok(foreign.get_params(params));
        }
        // SAFETY: OpenSSL passes a parameter list.
        keymgmt::get_params(&key.own, &mut unsafe { ParamsOut::new(params) })?;
        Ok(1)
    })
}

unsafe extern "C" fn gettable_rsa(_context: *mut c_void) -> *const Param {
    tables::RSA_GETTABLE.as_ptr()
}

unsafe extern "C" fn gettable_ec(_context: *mut c_void) -> *const Param {
    tables::EC_GETTABLE.as_ptr()
}

/// Keys of ours can't be changed.
unsafe extern "C" fn set_params(key: *mut c_void, params: *const Param) -> c_int {
    // SAFETY: OpenSSL passes our keydata.
    boundary::quietly(|| Some(unsafe { keydata(key) }?.foreign()?.set_params(params)))
}

unsafe extern "C" fn settable_params(_context: *mut c_void) -> *const Param {
    tables::SETTABLE.as_ptr()
}

unsafe extern "C" fn has(key: *const c_void, selection: c_int) -> c_int {
    boundary::quietly(|| {
        // SAFETY: OpenSSL passes our keydata.
        let key = unsafe { keydata(key) }?;
        Some(match key.foreign() {
            Some(foreign) => foreign.has(selection),
            None => keymgmt::has(&key.own, selection).into(),
        })
    })
}

/// A key of ours was checked when it was loaded or imported; what is left to see is whether all that is selected is
/// there.
unsafe extern "C" fn validate(key: *const c_void, selection: c_int, check: c_int) -> c_int {
    boundary::quietly(|| {
        // SAFETY: OpenSSL passes our keydata.
        let key = unsafe { keydata(key) }?;
        Some(match key.foreign() {
            Some(foreign) => foreign.validate(selection, check),
            None => keymgmt::has(&key.own, selection).into(),
        })
    })
}

unsafe extern "C" fn matches(a: *const c_void, b: *const c_void, selection: c_int) -> c_int {
    boundary::quietly(|| {
        // SAFETY: OpenSSL passes two of our keydata.
        let (a, b) = unsafe { (keydata(a), keydata(b)) };
        let (a, b) = (a?, b?);
        Some(match (a.foreign(), b.foreign()) {
            (None, None) => keymgmt::matches(&a.own, &b.own, selection).into(),
            (Some(a), Some(b)) => a.matches(b, selection),
            // Only public parts and parameters can be compared across providers.
            (Some(foreign), None) => {
                hand_over(&b.own, selection & !SELECT_PRIVATE_KEY)?.matches(foreign, selection)
            }
            (None, Some(foreign)) => {
                hand_over(&a.own, selection & !SELECT_PRIVATE_KEY)?.matches(foreign, selection)
            }
        })
    })
}

/// What we can't hold, private keys above all, goes to another provider.
unsafe extern "C" fn import(key: *mut c_void, selection: c_int, params: *const Param) -> c_int {
    boundary::quietly(|| {
        // SAFETY: OpenSSL passes our keydata.
        let key = unsafe { keydata(key) }?;
        // SAFETY: OpenSSL passes a parameter list.
        if keymgmt::import(&key.own, selection, unsafe { ParamsIn::new(params) }).is_some() {
            return Some(1);
        }
        let foreign = ForeignKey::import(
            &key.own.provider.neighbours,
            key.own.key_type.name(),
            selection,
            params,
        )?;
        key.foreign.set(foreign).is_ok().then_some(1)
    })
}

unsafe extern "C" fn export(
    key: *const c_void,
    selection: c_int,
    callback: Callback,
    argument: *mut c_void,
) -> c_int {
    boundary::quietly(|| {
        // SAFETY: OpenSSL passes our keydata.
        let key = unsafe { keydata(key) }?;
        if let Some(foreign) = key.foreign() {
            return Some(foreign.export(selection, callback, argument));
        }
        let mut list = keymgmt::export(&key.own, selection)?;
        // SAFETY: OpenSSL's callback takes the list and its own argument, and keeps neither.
        Some(list.with(|params| unsafe { callback(params, argument) }))
    })
}

/// A software key that is being generated.
struct Generating {
    provider: Arc<Provider>,
    key_type: KeyType,
    generation: Generation,
}

unsafe extern "C" fn gen_init_rsa(
    context: *mut c_void,
    selection: c_int,
    params: *const Param,
) -> *mut c_void {
    // SAFETY: OpenSSL passes our context back.
    unsafe { gen_init(context, selection, params, KeyType::Rsa) }
}

unsafe extern "C" fn gen_init_ec(
    context: *mut c_void,
    selection: c_int,
    params: *const Param,
) -> *mut c_void {
    // SAFETY: OpenSSL passes our context back.
    unsafe { gen_init(context, selection, params, KeyType::Ec) }
}

/// # Safety
/// `context` is the provider's context.
unsafe fn gen_init(
    context: *mut c_void,
    selection: c_int,
    params: *const Param,
    key_type: KeyType,
) -> *mut c_void {
    // SAFETY: the caller's promise.
    let provider = unsafe { provider(context) };
    let core = provider.core;
    boundary::call(&core, c"keymgmt_gen_init", || {
        let generation =
            Generation::start(&provider.neighbours, key_type.name(), selection, params)
                .ok_or(Error::NoSoftwareKeys)?;
        Ok(Box::into_raw(Box::new(Generating {
            provider,
            key_type,
            generation,
        }))
        .cast())
    })
}

/// # Safety
/// `context` is what [`gen_init`] returned, and has not been cleaned up.
unsafe fn generating<'a>(context: *mut c_void) -> Option<&'a Generating> {
    // SAFETY: the caller's promise.
    unsafe { context.cast::<Generating>().as_ref() }
}

unsafe extern "C" fn gen_set_template(context: *mut c_void, template: *mut c_void) -> c_int {
    boundary::quietly(|| {
        // SAFETY: OpenSSL passes a generation and a keydata of ours.
        let (generating, template) = unsafe { (generating(context), keydata(template)) };
        let (generation, template) = (&generating?.generation, template?);
        Some(match template.foreign() {
            Some(foreign) => generation.set_template(foreign),
            None => generation.set_template(&hand_over(
                &template.own,
                SELECT_PUBLIC_KEY | SELECT_ALL_PARAMETERS,
            )?),
        })
    })
}

unsafe extern "C" fn gen_set_params(context: *mut c_void, params: *const Param) -> c_int {
    boundary::quietly(|| {
        // SAFETY: OpenSSL passes a generation of ours.
        let generating = unsafe { generating(context) }?;
        Some(generating.generation.set_params(params))
    })
}

unsafe extern "C" fn gen_settable_rsa(context: *mut c_void, provider: *mut c_void) -> *const Param {
    // SAFETY: OpenSSL passes a generation of ours or NULL, and our context.
    unsafe { gen_settable(context, provider, KeyType::Rsa) }
}

unsafe extern "C" fn gen_settable_ec(context: *mut c_void, provider: *mut c_void) -> *const Param {
    // SAFETY: OpenSSL passes a generation of ours or NULL, and our context.
    unsafe { gen_settable(context, provider, KeyType::Ec) }
}

/// # Safety
/// `context` is a generation of ours or NULL, and `provider_context` the provider's context.
unsafe fn gen_settable(
    context: *mut c_void,
    provider_context: *mut c_void,
    key_type: KeyType,
) -> *const Param {
    boundary::quietly(|| {
        // SAFETY: the caller's promise.
        if let Some(generating) = unsafe { generating(context) } {
            return Some(generating.generation.settable_params());
        }
        // SAFETY: the caller's promise.
        let provider = unsafe { provider(provider_context) };
        Some(generation_params(&provider.neighbours, key_type.name()))
    })
}

unsafe extern "C" fn generate(
    context: *mut c_void,
    callback: *const c_void,
    argument: *mut c_void,
) -> *mut c_void {
    boundary::quietly(|| {
        // SAFETY: OpenSSL passes a generation of ours.
        let generating = unsafe { generating(context) }?;
        let foreign = generating.generation.run(callback, argument)?;
        Some(Keydata::wrap(
            &generating.provider,
            generating.key_type,
            foreign,
        ))
    })
}

unsafe extern "C" fn gen_cleanup(context: *mut c_void) {
    boundary::quietly(|| {
        if !context.is_null() {
            // SAFETY: the pointer came from `gen_init`, and OpenSSL gives it back once.
            drop(unsafe { Box::from_raw(context.cast::<Generating>()) });
        }
        Some(1)
    });
}

unsafe extern "C" fn types_rsa(selection: c_int) -> *const Param {
    if selection & SELECT_PUBLIC_KEY != 0 {
        tables::RSA_PUBLIC.as_ptr()
    } else {
        tables::NOTHING.as_ptr()
    }
}

unsafe extern "C" fn types_ec(selection: c_int) -> *const Param {
    if selection & SELECT_PUBLIC_KEY != 0 {
        tables::EC_PUBLIC.as_ptr()
    } else if selection & SELECT_DOMAIN_PARAMETERS != 0 {
        tables::EC_DOMAIN.as_ptr()
    } else {
        tables::NOTHING.as_ptr()
    }
}

unsafe extern "C" fn operation_rsa(_operation: c_int) -> *const c_char {
    c"RSA".as_ptr()
}

unsafe extern "C" fn operation_ec(operation: c_int) -> *const c_char {
    match operation {
        ffi::OP_SIGNATURE => c"ECDSA".as_ptr(),
        ffi::OP_KEYEXCH => c"ECDH".as_ptr(),
        _ => c"EC".as_ptr(),
    }
}
