//! Dispatch tables of the decoders of key files (provider-decoder(7)): PEM to DER, and DER to a
//! key.

use std::cell::RefCell;
use std::ffi::{CStr, c_int, c_void};

use hsm_keys::Key;
use hsm_keys::key_file::{KeyFile, MAX_LEN, read_der, read_pem};
use hsm_module::dispatch::Entry;
use hsm_module::table;

use super::bio::{Bio, CoreBio};
use super::boundary;
use super::entry::provider;
use super::ffi::{self, Callback, SELECT_PRIVATE_KEY};
use super::functions::{self, Decoder, Passphrase};
use super::object::hand_out_key;
use super::params::ParamList;
use crate::error::Error;
use crate::provider::Provider;

/// The name under which the PEM decoder passes content on to the DER decoders.
const STRUCTURE: &CStr = c"akv-uri";

macro_rules! functions_of {
    ($decode:ident) => {
        table![
            functions::DECODER_NEWCTX => newctx,
            functions::DECODER_FREECTX => freectx,
            functions::DECODER_DOES_SELECTION => does_selection,
            functions::DECODER_DECODE => $decode,
        ]
    };
}

pub(super) const PEM: &[Entry<Decoder>] = functions_of!(decode_pem);
pub(super) const DER: &[Entry<Decoder>] = functions_of!(decode_der);

/// A decoder needs no state of its own: its context is the provider's.
unsafe extern "C" fn newctx(context: *mut c_void) -> *mut c_void {
    context
}

unsafe extern "C" fn freectx(_context: *mut c_void) {}

unsafe extern "C" fn does_selection(_context: *mut c_void, _selection: c_int) -> c_int {
    1
}

thread_local! {
    /// The key that the PEM decoder has loaded, or failed to load, for the DER decoders that
    /// OSSL_DECODER calls in turn from within its callback. What a DER decoder puts on the error
    /// queue is dropped by OSSL_STORE, what the PEM decoder puts there is not.
    static LOADED: RefCell<Option<Option<Key>>> = const { RefCell::new(None) };
}

unsafe extern "C" fn decode_pem(
    context: *mut c_void,
    input: *mut CoreBio,
    selection: c_int,
    object: Callback,
    object_argument: *mut c_void,
    _passphrase: Passphrase,
    _passphrase_argument: *mut c_void,
) -> c_int {
    // SAFETY: OpenSSL passes our context back.
    let provider = unsafe { provider(context) };
    let mut content = None;
    let key = boundary::call(&provider.core, c"decoder_decode_pem", || {
        // SAFETY: OpenSSL passes a stream of its own for this call.
        let mut input = unsafe { Bio::new(input, provider.core.bio) };
        content = read_pem(|| input.line())?;
        match content.as_deref().map(read_der).transpose()?.flatten() {
            Some(file) => load(&provider, &file, selection).map(Some),
            None => Ok(None),
        }
    });
    let Some(content) = content else { return 1 };
    boundary::quietly(|| {
        LOADED.set(Some(key));
        let mut params = ParamList::default()
            .integer(c"type", ffi::OBJECT_PKEY)
            .utf8(c"data-structure", STRUCTURE)
            .octets(c"data", &content);
        // SAFETY: OpenSSL's callback takes the list and its own argument, and keeps neither.
        let outcome = params.with(|params| unsafe { object(params, object_argument) });
        LOADED.set(None);
        Some(outcome)
    })
}

fn load(provider: &Provider, file: &KeyFile, selection: c_int) -> Result<Key, Error> {
    provider.check_query(None)?;
    let key = provider.load(file)?;
    if selection == 0 || selection & SELECT_PRIVATE_KEY != 0 {
        return Ok(key);
    }
    // Without its private part nothing would prove it later.
    provider.prove(&key)?;
    Ok(key.without_private())
}

unsafe extern "C" fn decode_der(
    context: *mut c_void,
    input: *mut CoreBio,
    selection: c_int,
    object: Callback,
    object_argument: *mut c_void,
    _passphrase: Passphrase,
    _passphrase_argument: *mut c_void,
) -> c_int {
    // SAFETY: OpenSSL passes our context back.
    let provider = unsafe { provider(context) };
    boundary::call(&provider.core, c"decoder_decode_der", || {
        let key = match LOADED.take() {
            Some(Some(key)) => key,
            // The PEM decoder has said why.
            Some(None) => return Ok(0),
            None => {
                // SAFETY: OpenSSL passes a stream of its own for this call.
                let mut input = unsafe { Bio::new(input, provider.core.bio) };
                let Some(content) = input.rest(MAX_LEN) else {
                    return Ok(1);
                };
                let Some(file) = read_der(&content)? else {
                    return Ok(1);
                };
                load(&provider, &file, selection)?
            }
        };
        // SAFETY: OpenSSL passes the callback with its own argument.
        Ok(unsafe { hand_out_key(&provider, key, object, object_argument) })
    })
}
