//! Dispatch table of the store loader (provider-storemgmt(7)).

use std::ffi::{CStr, c_char, c_int, c_void};
use std::sync::Arc;

use hsm_module::dispatch::Entry;
use hsm_module::{Owned, table};

use super::bio::CoreBio;
use super::boundary;
use super::cancellable::cancellable;
use super::entry::provider;
use super::ffi::{Callback, Param};
use super::functions::{self, Passphrase, Store};
use super::object::{hand_out_key, hand_out_name};
use super::params::{ParamsIn, descriptors};
use crate::store::{self, Expected, Loader, Object};

const EXPECT: &CStr = c"expect";
const PROPERTIES: &CStr = c"properties";
/// What `OSSL_STORE_find` looks for.
const SEARCHED: [&CStr; 6] = [
    c"subject",
    c"issuer",
    c"serial",
    c"digest",
    c"fingerprint",
    c"alias",
];

pub(super) const LOADER: &[Entry<Store>] = table![
    functions::STORE_OPEN => open,
    functions::STORE_ATTACH => attach,
    functions::STORE_SETTABLE_CTX_PARAMS => settable_ctx_params,
    functions::STORE_SET_CTX_PARAMS => set_ctx_params,
    functions::STORE_LOAD => cancellable!(load(
        context: *mut c_void,
        object: Callback,
        object_arg: *mut c_void,
        passphrase: Passphrase,
        passphrase_arg: *mut c_void,
    )),
    functions::STORE_EOF => eof,
    functions::STORE_CLOSE => close,
    functions::STORE_DELETE => delete,
];

unsafe extern "C" fn open(context: *mut c_void, uri: *const c_char) -> *mut c_void {
    // SAFETY: OpenSSL passes our context back.
    let provider = unsafe { provider(context) };
    let core = provider.core;
    boundary::call(&core, c"store_open", || {
        // SAFETY: OpenSSL passes a NUL-terminated string.
        let uri = unsafe { boundary::text("uri", uri) }?;
        let loader = Loader::open(provider, uri.unwrap_or_default())?;
        Ok(Owned::hand_out(loader))
    })
}

/// OpenSSL 3.0 calls it without asking whether there is one.
unsafe extern "C" fn attach(context: *mut c_void, _input: *mut CoreBio) -> *mut c_void {
    // SAFETY: OpenSSL passes our context back.
    let core = unsafe { provider(context) }.core;
    boundary::call(&core, c"store_attach", || Err(store::no_attachment()))
}

/// # Safety
/// `loader` is what [`open`] returned, and has not been closed; the store uses it in one thread at
/// a time.
unsafe fn loader<'a>(loader: *mut c_void) -> Option<&'a mut Loader> {
    // SAFETY: the caller keeps the holder's contract, and promises that one thread uses the loader.
    unsafe { Owned::borrow_mut(loader) }
}

unsafe extern "C" fn settable_ctx_params(_context: *mut c_void) -> *const Param {
    static TABLE: &[Param] = descriptors! {
        EXPECT => PARAM_INTEGER,
        PROPERTIES => PARAM_UTF8_STRING,
    };
    TABLE.as_ptr()
}

unsafe extern "C" fn set_ctx_params(context: *mut c_void, params: *const Param) -> c_int {
    // SAFETY: OpenSSL passes the loader of `open`.
    let Some(loader) = (unsafe { loader(context) }) else {
        return 0;
    };
    let core = loader.provider.core;
    boundary::call(&core, c"store_set_ctx_params", || {
        // SAFETY: OpenSSL passes a parameter list.
        let params = unsafe { ParamsIn::new(params) };
        if SEARCHED.iter().any(|name| params.is_there(name)) {
            return Err(store::no_search());
        }
        if let Some(info_type) = params.integer(EXPECT)? {
            loader.expect(Expected::from_info_type(info_type));
        }
        if let Some(query) = params.nullable_utf8(PROPERTIES)? {
            loader.query = Some(query.to_owned());
        }
        Ok(1)
    })
}

unsafe extern "C" fn load(
    context: *mut c_void,
    object: Callback,
    object_arg: *mut c_void,
    _passphrase: Passphrase,
    _passphrase_arg: *mut c_void,
) -> c_int {
    // SAFETY: OpenSSL passes the loader of `open`.
    let Some(loader) = (unsafe { loader(context) }) else {
        return 0;
    };
    let core = loader.provider.core;
    boundary::call(&core, c"store_load", || {
        if loader.is_at_end() {
            return Ok(0);
        }
        let provider = Arc::clone(&loader.provider);
        Ok(match loader.load()? {
            None => 0,
            // SAFETY: OpenSSL passes the callback with its own argument.
            Some(Object::Key(key)) => unsafe { hand_out_key(&provider, key, object, object_arg) },
            // SAFETY: OpenSSL passes the callback with its own argument.
            Some(Object::Name(uri)) => unsafe { hand_out_name(&core, &uri, object, object_arg) },
            Some(Object::LastName(uri, remark)) => {
                // SAFETY: OpenSSL passes the callback with its own argument.
                let taken = unsafe { hand_out_name(&core, &uri, object, object_arg) };
                core.raise(c"store_load", &remark);
                taken
            }
        })
    })
}

unsafe extern "C" fn eof(context: *mut c_void) -> c_int {
    // SAFETY: OpenSSL passes the loader of `open`.
    let loader = unsafe { loader(context) };
    loader.is_none_or(|loader| loader.is_at_end()).into()
}

unsafe extern "C" fn close(context: *mut c_void) -> c_int {
    boundary::quietly(|| {
        // SAFETY: OpenSSL gives back what `open` handed out, once.
        drop(unsafe { Owned::<Loader>::take_back(context) });
        Some(1)
    })
}

unsafe extern "C" fn delete(
    context: *mut c_void,
    uri: *const c_char,
    _params: *const Param,
    _passphrase: Passphrase,
    _passphrase_arg: *mut c_void,
) -> c_int {
    // SAFETY: OpenSSL passes our context back.
    let provider = unsafe { provider(context) };
    boundary::call(&provider.core, c"store_delete", || {
        // SAFETY: OpenSSL passes a NUL-terminated string.
        let uri = unsafe { boundary::text("uri", uri) }?;
        store::delete(&provider, uri.unwrap_or_default())?;
        Ok(1)
    })
}
