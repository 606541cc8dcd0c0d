//! Dispatch tables of key management (provider-keymgmt(7)).

use std::ffi::{c_char, c_int, c_void};
use std::sync::{Arc, OnceLock};

use hsm_keys::KeyType;
use hsm_module::dispatch::Entry;
use hsm_module::{Owned, table};
use managed_hsm::ParameterSet;

use super::boundary;
use super::entry::provider;
use super::ffi::{
    self, Callback, Param, SELECT_ALL_PARAMETERS, SELECT_DOMAIN_PARAMETERS, SELECT_PRIVATE_KEY,
    SELECT_PUBLIC_KEY,
};
use super::foreign::{ForeignKey, Generation, NotDone, generation_params};
use super::functions;
use super::object::dereference;
use super::params::{ParamList, ParamTable, ParamsIn, ParamsOut};
use crate::error::Error;
use crate::generation::{self, Options};
use crate::key::KeyHandle;
use crate::keymgmt::{self, tables};
use crate::names;
use crate::provider::Provider;

/// Key types, for the tables below.
pub(super) const RSA: u8 = 0;
pub(super) const EC: u8 = 1;
pub(super) const AES: u8 = 2;
pub(super) const ML_DSA_44: u8 = 3;
pub(super) const ML_DSA_65: u8 = 4;
pub(super) const ML_DSA_87: u8 = 5;

pub(super) const fn key_type(number: u8) -> KeyType {
    match number {
        RSA => KeyType::Rsa,
        EC => KeyType::Ec,
        ML_DSA_44 => KeyType::MlDsa(ParameterSet::MlDsa44),
        ML_DSA_65 => KeyType::MlDsa(ParameterSet::MlDsa65),
        ML_DSA_87 => KeyType::MlDsa(ParameterSet::MlDsa87),
        _ => KeyType::Aes,
    }
}

/// The management of keys of a type.
pub(super) struct Management<const TYPE: u8>;

impl<const TYPE: u8> Management<TYPE> {
    pub(super) const FUNCTIONS: &'static [Entry<functions::Keymgmt>] = table![
        functions::KEYMGMT_NEW => new::<TYPE>,
        functions::KEYMGMT_LOAD => load::<TYPE>,
        functions::KEYMGMT_FREE => free,
        functions::KEYMGMT_DUP => dup,
        functions::KEYMGMT_GET_PARAMS => get_params,
        functions::KEYMGMT_GETTABLE_PARAMS => gettable::<TYPE>,
        functions::KEYMGMT_SET_PARAMS => set_params::<TYPE>,
        functions::KEYMGMT_SETTABLE_PARAMS => settable::<TYPE>,
        functions::KEYMGMT_QUERY_OPERATION_NAME => operation_name::<TYPE>,
        functions::KEYMGMT_HAS => has,
        functions::KEYMGMT_VALIDATE => validate,
        functions::KEYMGMT_MATCH => matches,
        functions::KEYMGMT_IMPORT => import,
        functions::KEYMGMT_IMPORT_TYPES => types::<TYPE>,
        functions::KEYMGMT_EXPORT => export,
        functions::KEYMGMT_EXPORT_TYPES => types::<TYPE>,
        functions::KEYMGMT_GEN_INIT => gen_init::<TYPE>,
        functions::KEYMGMT_GEN_SETTABLE_PARAMS => gen_settable::<TYPE>,
        functions::KEYMGMT_GEN_SET_TEMPLATE => gen_set_template,
        functions::KEYMGMT_GEN_SET_PARAMS => gen_set_params,
        functions::KEYMGMT_GEN => generate,
        functions::KEYMGMT_GEN_CLEANUP => gen_cleanup,
    ];
}

/// What OpenSSL's `keydata` points to: a key of ours, or a software key that is another provider's.
pub(super) struct Keydata {
    pub(super) own: KeyHandle,
    foreign: OnceLock<ForeignKey>,
}

impl Keydata {
    fn own(own: KeyHandle) -> *mut c_void {
        Owned::hand_out(Self {
            own,
            foreign: OnceLock::new(),
        })
    }

    fn wrap(provider: &Arc<Provider>, key_type: KeyType, foreign: ForeignKey) -> *mut c_void {
        let own = KeyHandle::empty(Arc::clone(provider), key_type);
        Owned::hand_out(Self {
            own,
            foreign: OnceLock::from(foreign),
        })
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
    // SAFETY: the caller keeps the holder's contract. A key is shared by threads, so nothing
    // borrows it to change it.
    unsafe { Owned::borrow(keydata) }
}

unsafe extern "C" fn new<const TYPE: u8>(context: *mut c_void) -> *mut c_void {
    boundary::quietly(|| {
        // SAFETY: OpenSSL passes our context back.
        let provider = unsafe { provider(context) };
        Some(Keydata::own(KeyHandle::empty(provider, key_type(TYPE))))
    })
}

unsafe extern "C" fn load<const TYPE: u8>(reference: *const c_void, len: usize) -> *mut c_void {
    boundary::quietly(|| {
        // SAFETY: OpenSSL passes on the reference that our store or decoder gave it, during its
        // call.
        let loaded = unsafe { dereference(reference, len) }.ok()?;
        let key = loaded.key().filter(|_| loaded.key_type == key_type(TYPE))?;
        Some(Keydata::own(KeyHandle::new(
            Arc::clone(&loaded.provider),
            Arc::clone(key),
        )))
    })
}

unsafe extern "C" fn free(keydata: *mut c_void) {
    boundary::quietly(|| {
        // SAFETY: OpenSSL gives back a keydata of ours, once.
        drop(unsafe { Owned::<Keydata>::take_back(keydata) });
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
pub(super) fn hand_over(own: &KeyHandle, selection: c_int) -> Option<ForeignKey> {
    let mut list = keymgmt::export(own, selection)?;
    list.with(|params| {
        ForeignKey::import(
            &own.provider.neighbours,
            names::of_key_type(own.key_type),
            selection,
            params,
        )
        .ok()
    })
}

unsafe extern "C" fn get_params(key: *mut c_void, params: *mut Param) -> c_int {
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

unsafe extern "C" fn gettable<const TYPE: u8>(_context: *mut c_void) -> *const Param {
    tables::gettable(key_type(TYPE)).as_ptr()
}

unsafe extern "C" fn set_params<const TYPE: u8>(key: *mut c_void, params: *const Param) -> c_int {
    // SAFETY: OpenSSL passes our keydata.
    let Some(key) = (unsafe { keydata(key) }) else {
        // Parameters that were copied from a key which has none. The default provider has no such
        // function where nothing can be set, which is a success.
        return tables::settable(key_type(TYPE)).is_none().into();
    };
    boundary::call(&key.own.provider.core, c"keymgmt_set_params", || {
        if let Some(foreign) = key.foreign() {
            return Ok(foreign.set_params(params));
        }
        // SAFETY: OpenSSL passes a parameter list.
        keymgmt::set_params(&key.own, unsafe { ParamsIn::new(params) })?;
        Ok(1)
    })
}

unsafe extern "C" fn settable<const TYPE: u8>(_context: *mut c_void) -> *const Param {
    table_or_null(tables::settable(key_type(TYPE)))
}

fn table_or_null(table: Option<&'static [Param]>) -> *const Param {
    table.map_or(std::ptr::null(), <[Param]>::as_ptr)
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

/// The numbers of a key of ours were checked when it was loaded or imported; what is left to see is
/// whether all that is selected is there, and belongs together.
unsafe extern "C" fn validate(key: *const c_void, selection: c_int, check: c_int) -> c_int {
    // SAFETY: OpenSSL passes our keydata.
    let Some(key) = (unsafe { keydata(key) }) else {
        return 0;
    };
    let core = &key.own.provider.core;
    boundary::call(core, c"keymgmt_validate", || match key.foreign() {
        Some(foreign) => Ok(foreign.validate(selection, check)),
        None => keymgmt::validate(&key.own, selection).map(c_int::from),
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

/// A key that comes in is a software key: it goes to another provider, which then does all with it
/// that we would not. What that one refuses is refused. We hold a public key only where there is no
/// other.
unsafe extern "C" fn import(key: *mut c_void, selection: c_int, params: *const Param) -> c_int {
    boundary::quietly(|| {
        // SAFETY: OpenSSL passes our keydata.
        let key = unsafe { keydata(key) }?;
        let neighbours = &key.own.provider.neighbours;
        match ForeignKey::import(
            neighbours,
            names::of_key_type(key.own.key_type),
            selection,
            params,
        ) {
            Ok(foreign) => key.foreign.set(foreign).is_ok().then_some(1),
            Err(NotDone::Refused) => None,
            Err(NotDone::NobodyThere) => {
                // SAFETY: OpenSSL passes a parameter list.
                let params = unsafe { ParamsIn::new(params) };
                keymgmt::import(&key.own, selection, params).map(|()| 1)
            }
        }
    })
}

unsafe extern "C" fn export(
    key: *mut c_void,
    selection: c_int,
    callback: Callback,
    argument: *mut c_void,
) -> c_int {
    boundary::quietly(|| {
        // SAFETY: OpenSSL passes our keydata.
        let key = unsafe { keydata(key) }?;
        // OpenSSL's own provider refuses to export nothing, which is all that these keys have of
        // parameters. Without, they couldn't be compared with a key that isn't here. (Those of RSA
        // can't be with it either: to OpenSSL's own provider the exponent is one.)
        let is_empty =
            selection == SELECT_DOMAIN_PARAMETERS && matches!(key.own.key_type, KeyType::MlDsa(_));
        let mut list = match key.foreign() {
            Some(_) if is_empty => ParamList::default(),
            Some(foreign) => return Some(foreign.export(selection, callback, argument)),
            None => keymgmt::export(&key.own, selection)?,
        };
        // SAFETY: OpenSSL's callback takes the list and its own argument, and keeps neither.
        Some(list.with(|params| unsafe { callback(params, argument) }))
    })
}

/// A key that is being made: in the HSM if the options name it there, else by another provider.
struct Generating {
    provider: Arc<Provider>,
    key_type: KeyType,
    /// Whether it is a key, and not parameters alone.
    makes_key: bool,
    options: Options,
    foreign: Option<Generation>,
}

unsafe extern "C" fn gen_init<const TYPE: u8>(
    context: *mut c_void,
    selection: c_int,
    params: *const Param,
) -> *mut c_void {
    // SAFETY: OpenSSL passes our context back.
    let provider = unsafe { provider(context) };
    let core = provider.core;
    boundary::call(&core, c"keymgmt_gen_init", || {
        let key_type = key_type(TYPE);
        let makes_key = selection & (SELECT_PUBLIC_KEY | SELECT_PRIVATE_KEY) != 0;
        let name = names::of_key_type(key_type);
        let foreign = match Generation::start(&provider.neighbours, name, selection, params) {
            Ok(foreign) => Some(foreign),
            // A key may still be one for the HSM. Parameters alone never are.
            Err(_) if makes_key => None,
            Err(NotDone::Refused) => return Ok(std::ptr::null_mut()),
            Err(NotDone::NobodyThere) => return Err(Error::NoSoftwareKeys),
        };
        let mut options = Options::default();
        // SAFETY: OpenSSL passes a parameter list or NULL.
        options.take(unsafe { ParamsIn::new(params) })?;
        Ok(Owned::hand_out(Generating {
            provider,
            key_type,
            makes_key,
            options,
            foreign,
        }))
    })
}

/// # Safety
/// `context` is what [`gen_init`] returned, and has not been cleaned up; one thread at a time uses
/// it.
unsafe fn generating<'a>(context: *mut c_void) -> Option<&'a mut Generating> {
    // SAFETY: the caller keeps the holder's contract, and promises that one thread uses the
    // generation.
    unsafe { Owned::borrow_mut(context) }
}

unsafe extern "C" fn gen_set_template(context: *mut c_void, template: *mut c_void) -> c_int {
    boundary::quietly(|| {
        // SAFETY: OpenSSL passes a generation and a keydata of ours.
        let (generating, template) = unsafe { (generating(context), keydata(template)) };
        let (generating, template) = (generating?, template?);
        generating.options.set_template(match template.foreign() {
            Some(foreign) => foreign.group(),
            None => keymgmt::group(&template.own),
        });
        let generation = generating.foreign.as_ref()?;
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
    // SAFETY: OpenSSL passes a generation of ours.
    let Some(generating) = (unsafe { generating(context) }) else {
        return 0;
    };
    let core = generating.provider.core;
    boundary::call(&core, c"keymgmt_gen_set_params", || {
        // SAFETY: OpenSSL passes a parameter list or NULL.
        generating.options.take(unsafe { ParamsIn::new(params) })?;
        let taken = match &generating.foreign {
            Some(generation) => generation.set_params(params),
            None => 1,
        };
        Ok(if generating.options.is_for_hsm() {
            1
        } else {
            taken
        })
    })
}

/// Our options and, where another provider makes such keys as well, its options.
unsafe extern "C" fn gen_settable<const TYPE: u8>(
    _context: *mut c_void,
    provider_context: *mut c_void,
) -> *const Param {
    boundary::quietly(|| {
        // SAFETY: OpenSSL passes our context.
        let provider = unsafe { provider(provider_context) };
        let key_type = key_type(TYPE);
        let theirs = generation_params(&provider.neighbours, names::of_key_type(key_type));
        if theirs.is_null() {
            return Some(
                match key_type {
                    KeyType::Rsa => generation::tables::RSA,
                    KeyType::Ec => generation::tables::EC,
                    KeyType::MlDsa(_) => generation::tables::OURS,
                    KeyType::Aes => generation::tables::AES,
                }
                .as_ptr(),
            );
        }
        let both = hsm_keys::once(&provider.generation_params[usize::from(TYPE)], || {
            // SAFETY: our table is static, and theirs is there as long as its provider, which is
            // active.
            unsafe { ParamTable::join(generation::tables::OURS.as_ptr(), theirs) }
        });
        Some(both.as_ptr())
    })
}

unsafe extern "C" fn generate(
    context: *mut c_void,
    callback: Option<Callback>,
    argument: *mut c_void,
) -> *mut c_void {
    // SAFETY: OpenSSL passes a generation of ours.
    let Some(generating) = (unsafe { generating(context) }) else {
        return std::ptr::null_mut();
    };
    let (provider, key_type) = (&generating.provider, generating.key_type);
    boundary::call(&provider.core, c"keymgmt_gen", || {
        if generating.options.is_for_hsm() {
            if !generating.makes_key {
                return Err(generation::no_parameters());
            }
            let key = generating.options.create(provider, key_type)?;
            return Ok(Keydata::own(KeyHandle::new(
                Arc::clone(provider),
                Arc::new(key),
            )));
        }
        generating.options.check_software_key()?;
        let generation = generating.foreign.as_ref().ok_or_else(|| match key_type {
            KeyType::Aes => generation::no_name(),
            _ => Error::NoSoftwareKeys,
        })?;
        // The other provider has put its own error on the queue if it made none.
        Ok(match generation.run(callback, argument) {
            Some(foreign) => Keydata::wrap(provider, key_type, foreign),
            None => std::ptr::null_mut(),
        })
    })
}

unsafe extern "C" fn gen_cleanup(context: *mut c_void) {
    boundary::quietly(|| {
        // SAFETY: OpenSSL gives back what `gen_init` handed out, once.
        drop(unsafe { Owned::<Generating>::take_back(context) });
        Some(1)
    });
}

unsafe extern "C" fn types<const TYPE: u8>(selection: c_int) -> *const Param {
    table_or_null(tables::importable(key_type(TYPE), selection))
}

unsafe extern "C" fn operation_name<const TYPE: u8>(operation: c_int) -> *const c_char {
    match (key_type(TYPE), operation) {
        (KeyType::Ec, ffi::OP_SIGNATURE) => c"ECDSA",
        (KeyType::Ec, ffi::OP_KEYEXCH) => c"ECDH",
        (key_type, _) => names::of_key_type(key_type),
    }
    .as_ptr()
}
