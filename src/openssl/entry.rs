//! `OSSL_provider_init`, the provider's own functions and the table of what it offers.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::sync::Arc;

use hsm_module::dispatch::{Entry, Functions};
use hsm_module::pipe_signal::Blocked;
use hsm_module::{Counted, process, table};
use managed_hsm::{Client, ProviderSettings};

use super::core::{Core, REASON_STRINGS};
use super::ffi::{Algorithm, Callback, CoreHandle, Item, Param};
use super::functions::{self, Base};
use super::neighbour::{Neighbours, TLS, Tls};
use super::params::{ParamsOut, descriptors};
use super::{algorithms, boundary, instances};
use crate::configuration::Section;
use crate::provider::Provider;

const NAME: &CStr = c"name";
const VERSION: &CStr = c"version";
const BUILDINFO: &CStr = c"buildinfo";
const STATUS: &CStr = c"status";
const VERSION_TEXT: &CStr =
    match CStr::from_bytes_with_nul(concat!(env!("CARGO_PKG_VERSION"), "\0").as_bytes()) {
        Ok(text) => text,
        Err(_) => panic!("the version has a NUL"),
    };
static DISPATCH: &[Entry<Base>] = table![
    functions::PROVIDER_TEARDOWN => teardown,
    functions::PROVIDER_GETTABLE_PARAMS => gettable_params,
    functions::PROVIDER_GET_PARAMS => get_params,
    functions::PROVIDER_QUERY_OPERATION => query_operation,
    functions::PROVIDER_SELF_TEST => self_test,
    functions::PROVIDER_GET_REASON_STRINGS => get_reason_strings,
    functions::PROVIDER_GET_CAPABILITIES => get_capabilities,
];

/// The entry point that OpenSSL looks up in the module (provider-base(7)).
///
/// # Safety
/// Called by OpenSSL with its core handle, its dispatch table and places for ours.
#[unsafe(no_mangle)]
pub(super) unsafe extern "C" fn OSSL_provider_init(
    handle: *const c_void,
    core: *const c_void,
    out: *mut *const c_void,
    context: *mut *mut c_void,
) -> c_int {
    if core.is_null() || out.is_null() || context.is_null() {
        return 0;
    }
    boundary::quietly(|| {
        let handle = handle.cast::<CoreHandle>();
        process::is_loaded_into();
        // SAFETY: OpenSSL passes the table of its core's functions.
        let shown = unsafe { Functions::of(core.cast()) };
        // SAFETY: OpenSSL passes the handle and the table together.
        let core = unsafe { Core::new(handle, shown) };
        let keys = ProviderSettings::all().filter_map(|setting| setting.key);
        let values = keys.filter_map(|key| {
            let value = core.parameter(key)?.to_string_lossy().into_owned();
            Some((key, value))
        });
        let section = Section {
            values: values.collect(),
        };
        watch_for_the_end(&core);
        process::watch_for_forks();
        // SAFETY: OpenSSL passes the handle and the table together.
        let neighbours = unsafe { Neighbours::new(handle, shown, section.assume_fips()) };
        let provider = Arc::new(Provider::new(core, neighbours, section));
        provider.neighbours.watch(instances::add(&provider));
        // SAFETY: both places are OpenSSL's own, and were checked for NULL.
        unsafe {
            *context = Counted::hand_out(provider);
            *out = DISPATCH.as_ptr().cast();
        }
        Some(1)
    })
}

/// Where this provider's own functions are, by which another instance of it is known.
pub(super) fn dispatch() -> *const Entry<Base> {
    DISPATCH.as_ptr()
}

/// Has us hear of the end of the process, and of libcrypto's clean-up, which comes with that end or
/// before.
fn watch_for_the_end(core: &Core) {
    extern "C" fn clean_up() {
        boundary::quietly(|| {
            instances::clean_up();
            Client::shutdown();
            Some(())
        });
    }
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        core.at_clean_up(clean_up);
        process::watch_for_the_end(instances::clean_up);
    });
}

/// The provider behind a `provctx`.
///
/// # Safety
/// `context` is what `OSSL_provider_init` handed out, and teardown has not run.
pub(super) unsafe fn provider(context: *const c_void) -> Arc<Provider> {
    // SAFETY: the caller keeps the holder's contract: OpenSSL passes back what it was given, which
    // is not NULL.
    unsafe { Counted::share(context) }.expect("a provider context")
}

unsafe extern "C" fn teardown(context: *mut c_void) {
    boundary::quietly(|| {
        // SAFETY: OpenSSL gives back what `OSSL_provider_init` handed out, once.
        let provider = unsafe { Counted::<Provider>::take_back(context) }?;
        let was_last = instances::remove(&provider);
        let _blocked = Blocked::new();
        drop(provider);
        // The client's thread is the process's: it may serve another library context.
        if was_last {
            Client::shutdown();
        }
        Some(1)
    });
}

unsafe extern "C" fn gettable_params(_context: *mut c_void) -> *const Param {
    static TABLE: &[Param] = descriptors! {
        NAME => PARAM_UTF8_PTR,
        VERSION => PARAM_UTF8_PTR,
        BUILDINFO => PARAM_UTF8_PTR,
        STATUS => PARAM_INTEGER,
    };
    TABLE.as_ptr()
}

unsafe extern "C" fn get_params(context: *mut c_void, params: *mut Param) -> c_int {
    // SAFETY: OpenSSL passes our context back.
    let provider = unsafe { provider(context) };
    boundary::call(&provider.core, c"provider_get_params", || {
        // SAFETY: OpenSSL passes a parameter list.
        let mut params = unsafe { ParamsOut::new(params) };
        params.set_utf8(NAME, c"Azure Managed HSM provider")?;
        params.set_utf8(VERSION, VERSION_TEXT)?;
        params.set_utf8(BUILDINFO, VERSION_TEXT)?;
        params.set_integer(STATUS, 1)?;
        Ok(1)
    })
}

unsafe extern "C" fn query_operation(
    context: *mut c_void,
    operation: c_int,
    no_cache: *mut c_int,
) -> *const Algorithm {
    if !no_cache.is_null() {
        // SAFETY: OpenSSL passes a place for the answer.
        unsafe { *no_cache = 0 };
    }
    boundary::quietly(|| {
        // SAFETY: OpenSSL passes our context back.
        let provider = unsafe { provider(context) };
        Some(algorithms::of_operation(operation, &provider).map(<[Algorithm]>::as_ptr))
    })
    .unwrap_or(std::ptr::null())
}

/// `OSSL_PROVIDER_self_test`: are the settings good, and do our own computations give what they
/// should? The HSM is not asked.
unsafe extern "C" fn self_test(context: *mut c_void) -> c_int {
    // SAFETY: OpenSSL passes our context back.
    let provider = unsafe { provider(context) };
    boundary::call(&provider.core, c"provider_self_test", || {
        provider.configuration()?;
        hsm_keys::known_answers::run()?;
        Ok(1)
    })
}

unsafe extern "C" fn get_capabilities(
    context: *mut c_void,
    capability: *const c_char,
    callback: Callback,
    argument: *mut c_void,
) -> c_int {
    boundary::quietly(|| {
        // SAFETY: OpenSSL passes our context back.
        let provider = unsafe { provider(context) };
        // SAFETY: OpenSSL passes a NUL-terminated string.
        let capability = unsafe { CStr::from_ptr(capability) };
        let is_it = |of: &&Tls| {
            let name = of.capability.to_bytes();
            capability.to_bytes().eq_ignore_ascii_case(name)
        };
        let asked = TLS.iter().find(is_it);
        Some(asked.map_or(1, |of| provider.neighbours.tls(of, callback, argument)))
    })
}

unsafe extern "C" fn get_reason_strings(_context: *mut c_void) -> *const Item {
    REASON_STRINGS.as_ptr()
}
