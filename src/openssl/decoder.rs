//! Dispatch tables of the decoders of key files (provider-decoder(7)): PEM to DER, and DER to a
//! key.

use std::cell::RefCell;
use std::ffi::{CStr, c_int, c_void};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use hsm_keys::Key;
use hsm_keys::key_file::{KeyFile, MAX_LEN, read_der, read_pem};
use hsm_module::dispatch::Entry;
use hsm_module::table;

use super::bio::{Bio, CoreBio};
use super::boundary;
use super::entry::provider;
use super::ffi::{self, Callback, SELECT_PRIVATE_KEY};
use super::functions::{self, Decoder, Passphrase};
use super::keymgmt::key_type;
use super::object::hand_out_key;
use super::params::ParamList;
use crate::error::Error;
use crate::provider::Provider;

/// The name under which the PEM decoder passes content on to the DER decoders.
const STRUCTURE: &CStr = c"akv-uri";

macro_rules! functions_of {
    ($decode:expr) => {
        table![
            functions::DECODER_NEWCTX => newctx,
            functions::DECODER_FREECTX => freectx,
            functions::DECODER_DOES_SELECTION => does_selection,
            functions::DECODER_DECODE => $decode,
            functions::DECODER_EXPORT_OBJECT => export_object,
        ]
    };
}

pub(super) const PEM: &[Entry<Decoder>] = functions_of!(decode_pem);

/// The decoder of key files of keys of a type.
pub(super) struct Der<const TYPE: u8>;

impl<const TYPE: u8> Der<TYPE> {
    pub(super) const FUNCTIONS: &'static [Entry<Decoder>] = functions_of!(decode_der::<TYPE>);
}

/// A decoder needs no state of its own: its context is the provider's.
unsafe extern "C" fn newctx(context: *mut c_void) -> *mut c_void {
    context
}

unsafe extern "C" fn freectx(_context: *mut c_void) {}

unsafe extern "C" fn does_selection(_context: *mut c_void, _selection: c_int) -> c_int {
    1
}

/// For key management that is not ours, which gets no key of ours. libcrypto calls this without
/// looking whether there is one.
unsafe extern "C" fn export_object(
    _context: *mut c_void,
    _reference: *const c_void,
    _len: usize,
    _take: Callback,
    _argument: *mut c_void,
) -> c_int {
    0
}

/// What one decoder has loaded for others, which OSSL_DECODER calls in turn.
struct Loaded {
    /// None: it could not be loaded, as the decoder that tried has said.
    key: Option<Key>,
    /// Whose it is. Another library context has settings, credentials and an HSM of its own.
    by: Weak<Provider>,
    /// The content of the key file, what was asked of it, and when. None: OSSL_STORE doesn't say to
    /// the PEM decoder what it asks the others for.
    content: Vec<u8>,
    selection: Option<c_int>,
    at: Instant,
    /// The types whose decoders have seen it. One that comes again may belong to another operation,
    /// which may succeed where this one has failed.
    seen: Vec<u8>,
}

/// For how long a key waits for the decoder of its type: the next one that is called.
const LIFE: Duration = Duration::from_secs(1);

impl Loaded {
    fn new(
        provider: &Arc<Provider>,
        content: Vec<u8>,
        selection: Option<c_int>,
        key: Option<Key>,
    ) -> Self {
        Self {
            key,
            by: Arc::downgrade(provider),
            content,
            selection,
            at: Instant::now(),
            seen: Vec::new(),
        }
    }

    /// Whether it is what this provider's decoder of a type is to make a key of.
    fn is_for(
        &self,
        provider: &Arc<Provider>,
        content: &[u8],
        selection: c_int,
        type_: u8,
    ) -> bool {
        std::ptr::eq(self.by.as_ptr(), Arc::as_ptr(provider))
            && self.content == content
            && self.selection.is_none_or(|asked| asked == selection)
            && self.at.elapsed() < LIFE
            && (self.key.is_some() || !self.seen.contains(&type_))
    }

    /// Keeps it for the decoders of other types than this one.
    fn put_back(mut self, type_: u8) {
        self.seen.push(type_);
        keep(Some(self));
    }
}

thread_local! {
    /// What a DER decoder puts on the error queue is dropped by OSSL_STORE, what the PEM decoder
    /// puts there is not: so that one loads.
    static LOADED: RefCell<Option<Loaded>> = const { RefCell::new(None) };
}

/// Where the thread's variables have gone, as in functions of atexit(3), nothing is kept, and each
/// decoder loads for itself.
fn keep(loaded: Option<Loaded>) {
    let _ = LOADED.try_with(|kept| kept.replace(loaded));
}

fn take_kept() -> Option<Loaded> {
    LOADED.try_with(RefCell::take).ok().flatten()
}

/// An empty SEQUENCE, which is nobody's.
const NO_CONTENT: &[u8] = &[0x30, 0];

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
        let read = read_pem(|| input.line());
        if !matches!(read, Ok(None)) {
            content = Some(NO_CONTENT.to_vec());
        }
        let Some(read) = read? else { return Ok(None) };
        let file = read_der(&read)?;
        let none = || hsm_keys::Error::KeyFile("its content is none of a key file".to_owned());
        let file = file.ok_or_else(none)?;
        content = Some(read);
        load(&provider, &file, selection).map(Some)
    });
    let Some(content) = content else { return 1 };
    boundary::quietly(|| {
        let is_loaded = key.is_some();
        keep(Some(Loaded::new(&provider, content.clone(), None, key)));
        let mut params = ParamList::default()
            .integer(c"type", ffi::OBJECT_PKEY)
            .utf8(c"data-structure", STRUCTURE)
            .octets(c"data", &content);
        // Also where there is none: OSSL_STORE keeps errors about what somebody was to decode.
        // SAFETY: OpenSSL's callback takes the list and its own argument, and keeps neither.
        let outcome = params.with(|params| unsafe { object(params, object_argument) });
        keep(None);
        // libcrypto keeps what a decoder has said only where it fails.
        Some(if is_loaded { outcome } else { 0 })
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

/// Hands out keys of its own type and no other: who asks for one type looks for key management
/// among those of that type alone.
unsafe extern "C" fn decode_der<const TYPE: u8>(
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
        // SAFETY: OpenSSL passes a stream of its own for this call.
        let mut input = unsafe { Bio::new(input, provider.core.bio) };
        let Some(content) = input.element(MAX_LEN) else {
            return Ok(1);
        };
        let Some(file) = read_der(&content)? else {
            return Ok(1);
        };
        let known = take_kept();
        let known = known.filter(|known| known.is_for(&provider, &content, selection, TYPE));
        let mut loaded = match known {
            Some(known) => known,
            None => {
                let mut failure = None;
                let key = load(&provider, &file, selection);
                let key = key.map_err(|error| failure = Some(error)).ok();
                let loaded = Loaded::new(&provider, content, Some(selection), key);
                if let Some(failure) = failure {
                    loaded.put_back(TYPE);
                    return Err(failure);
                }
                loaded
            }
        };
        match loaded
            .key
            .take_if(|key| key.public.key_type() == key_type(TYPE))
        {
            // SAFETY: OpenSSL passes the callback with its own argument.
            Some(key) => Ok(unsafe { hand_out_key(&provider, key, object, object_argument) }),
            None => {
                let goes_on = loaded.key.is_some();
                loaded.put_back(TYPE);
                Ok(c_int::from(goes_on))
            }
        }
    })
}
