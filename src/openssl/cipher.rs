//! Dispatch tables of ciphers (provider-cipher(7)) for keys in the HSM, OpenSSL 3.5 and newer.
//!
//! OpenSSL may pick these for software keys too, so a context leads another provider's along until
//! a key of ours comes.

use std::ffi::{CStr, c_int, c_void};
use std::sync::Arc;

use hsm_keys::Key;
use hsm_keys::aes::{Cipher, Mode};
use hsm_module::dispatch::{Entry, Id};
use hsm_module::input::{bytes, optional_bytes};
use hsm_module::{Output, Owned, table};

use super::boundary;
use super::cancellable::cancellable;
use super::entry::provider;
use super::ffi::Param;
use super::foreign::{ForeignContext, ForeignSecretKey};
use super::functions;
use super::params::{ParamsIn, ParamsOut};
use super::skeymgmt::{SecretKeydata, secret_keydata};
use crate::cipher::{self, Context, tables};
use crate::error::Error;

/// Modes, for the tables below.
pub(super) const WRAP: u8 = 0;
pub(super) const WRAP_PAD: u8 = 1;
pub(super) const CBC: u8 = 2;
pub(super) const GCM: u8 = 3;

const fn cipher(mode: u8, bits: u32) -> Cipher {
    let mode = match mode {
        WRAP => Mode::Wrap,
        WRAP_PAD => Mode::WrapPad,
        CBC => Mode::Cbc,
        _ => Mode::Gcm,
    };
    Cipher { mode, bits }
}

/// The functions of a cipher, and further ones.
macro_rules! functions {
    ($mode:ident, $bits:ident $(, $id:expr => $function:expr)*) => {
        table![
            functions::CIPHER_NEWCTX => newctx::<$mode, $bits>,
            functions::CIPHER_FREECTX => freectx,
            functions::CIPHER_DUPCTX => dupctx,
            functions::CIPHER_ENCRYPT_INIT => encrypt_init,
            functions::CIPHER_DECRYPT_INIT => decrypt_init,
            functions::CIPHER_ENCRYPT_SKEY_INIT => encrypt_skey_init,
            functions::CIPHER_DECRYPT_SKEY_INIT => decrypt_skey_init,
            functions::CIPHER_UPDATE => cancellable!(update: input),
            functions::CIPHER_FINAL => cancellable!(finish: no_input),
            functions::CIPHER_GET_PARAMS => get_params::<$mode, $bits>,
            functions::CIPHER_GETTABLE_PARAMS => gettable_params,
            functions::CIPHER_GET_CTX_PARAMS => get_ctx_params,
            functions::CIPHER_GETTABLE_CTX_PARAMS => gettable_ctx_params,
            functions::CIPHER_SET_CTX_PARAMS => set_ctx_params,
            functions::CIPHER_SETTABLE_CTX_PARAMS => settable_ctx_params,
            $($id => $function,)*
        ]
    };
}

/// A cipher.
pub(super) struct Aes<const MODE: u8, const BITS: u32>;

impl<const MODE: u8, const BITS: u32> Aes<MODE, BITS> {
    // What OpenSSL's own provider has not for a mode is not here: libcrypto would do otherwise what
    // it does with software keys.
    pub(super) const FUNCTIONS: &'static [Entry<functions::Cipher>] = match MODE {
        WRAP | WRAP_PAD => functions!(MODE, BITS),
        _ => functions!(MODE, BITS, functions::CIPHER_CIPHER => cancellable!(one_shot: input)),
    };
}

/// What OpenSSL's context of a cipher points to.
struct Ciphering {
    own: Context,
    /// The same cipher in another provider, if there is one.
    foreign: Option<ForeignContext<functions::Cipher>>,
    owner: Owner,
}

/// Whose the key is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Owner {
    /// There is none yet.
    Nobody,
    Ours,
    Theirs,
}

/// The key that an operation begins with.
enum Given<'a> {
    /// The key of last time, or none yet.
    None,
    Own(Arc<Key>),
    /// The bytes of a software key, which need not come from a key of OpenSSL's.
    Bytes(*const u8, usize),
    Foreign(&'a ForeignSecretKey),
}

/// What an operation begins with beside the key.
#[derive(Clone, Copy)]
struct Start {
    encrypting: bool,
    id: Id<functions::Cipher, functions::CipherInit>,
    iv: (*const u8, usize),
    params: *const Param,
}

impl Ciphering {
    /// The other provider's context, unless the key is one of ours.
    fn foreign(&self) -> Option<&ForeignContext<functions::Cipher>> {
        self.foreign.as_ref().filter(|_| self.owner != Owner::Ours)
    }

    /// Has the other provider do something, if there is one. What it says counts unless the key is
    /// one of ours.
    fn tell(
        &self,
        what: impl FnOnce(&ForeignContext<functions::Cipher>) -> c_int,
    ) -> Option<c_int> {
        let foreign = self.foreign.as_ref()?;
        if self.owner == Owner::Ours {
            self.own.provider.neighbours.quietly(|| what(foreign));
            return None;
        }
        Some(what(foreign))
    }

    /// Begins an operation, or goes on with its beginning: key, initialisation vector and
    /// parameters may come one after the other. Whose key it will be is not known until it comes,
    /// and may change with the next one, so both are told whatever comes without a key.
    ///
    /// # Safety
    /// What the operation begins with is what OpenSSL passed for this call.
    unsafe fn begin(&mut self, key: Given<'_>, start: Start) -> Result<c_int, Error> {
        let Start { id, iv, params, .. } = start;
        match key {
            Given::None => {}
            Given::Own(_) => self.change_owner(Owner::Ours),
            Given::Bytes(..) | Given::Foreign(_) => self.change_owner(Owner::Theirs),
        }
        let theirs = self.tell(|foreign| match key {
            Given::Foreign(key) => foreign.secret_init(id, key, iv, params),
            Given::Bytes(key, len) => foreign.cipher_init(id, (key, len), iv, params),
            _ => foreign.cipher_init(id, (std::ptr::null(), 0), iv, params),
        });
        if self.owner == Owner::Theirs {
            return theirs.ok_or(Error::NoSoftwareKeys);
        }
        let key = match key {
            Given::Own(key) => Some(key),
            _ => None,
        };
        // SAFETY: OpenSSL passes an IV of this length or NULL, and a parameter list or NULL.
        let (iv, params) = unsafe { (optional_bytes(iv.0, iv.1), ParamsIn::new(params)) };
        let own = self.own.init(start.encrypting, key, iv, params);
        theirs.map_or_else(|| own.map(|()| 1), Ok)
    }

    /// What was meant for the other one's key doesn't count for the next.
    fn change_owner(&mut self, owner: Owner) {
        if self.owner == Owner::Theirs || owner == Owner::Theirs {
            self.own.forget();
        }
        self.owner = owner;
    }
}

/// # Safety
/// `context` is NULL or a live context of ours, used by one thread at a time.
unsafe fn ciphering<'a>(context: *mut c_void) -> Option<&'a mut Ciphering> {
    // SAFETY: the caller keeps the holder's contract, and promises that one thread uses the
    // context.
    unsafe { Owned::borrow_mut(context) }
}

unsafe extern "C" fn newctx<const MODE: u8, const BITS: u32>(context: *mut c_void) -> *mut c_void {
    boundary::quietly(|| {
        // SAFETY: OpenSSL passes our context back.
        let provider = unsafe { provider(context) };
        let name = match MODE {
            WRAP => format!("AES-{BITS}-WRAP\0"),
            WRAP_PAD => format!("AES-{BITS}-WRAP-PAD\0"),
            CBC => format!("AES-{BITS}-CBC\0"),
            _ => format!("AES-{BITS}-GCM\0"),
        };
        let name = CStr::from_bytes_with_nul(name.as_bytes()).ok()?;
        let ciphering = Ciphering {
            foreign: ForeignContext::<functions::Cipher>::new(&provider.neighbours, name),
            own: Context::new(provider, cipher(MODE, BITS)),
            owner: Owner::Nobody,
        };
        Some(Owned::hand_out(ciphering))
    })
}

unsafe extern "C" fn freectx(context: *mut c_void) {
    boundary::quietly(|| {
        // SAFETY: OpenSSL gives back what `newctx` or `dupctx` handed out, once.
        drop(unsafe { Owned::<Ciphering>::take_back(context) });
        Some(1)
    });
}

unsafe extern "C" fn dupctx(context: *mut c_void) -> *mut c_void {
    boundary::quietly(|| {
        // SAFETY: OpenSSL passes a context of ours.
        let from = unsafe { ciphering(context) }?;
        let foreign = match &from.foreign {
            Some(foreign) => Some(foreign.duplicate()?),
            None => None,
        };
        let copy = Ciphering {
            own: from.own.clone(),
            foreign,
            owner: from.owner,
        };
        Some(Owned::hand_out(copy))
    })
}

macro_rules! init {
    ($raw:ident, $secret:ident, $id:ident, $encrypting:literal) => {
        unsafe extern "C" fn $raw(
            context: *mut c_void,
            key: *const u8,
            key_len: usize,
            iv: *const u8,
            iv_len: usize,
            params: *const Param,
        ) -> c_int {
            let key = match key.is_null() {
                true => Given::None,
                false => Given::Bytes(key, key_len),
            };
            let start = Start {
                encrypting: $encrypting,
                id: functions::$id,
                iv: (iv, iv_len),
                params,
            };
            // SAFETY: OpenSSL passes a context of ours, and the rest for this call.
            unsafe { begin(context, key, start, c"cipher_init") }
        }

        unsafe extern "C" fn $secret(
            context: *mut c_void,
            key: *mut c_void,
            iv: *const u8,
            iv_len: usize,
            params: *const Param,
        ) -> c_int {
            // SAFETY: OpenSSL passes a secret key of ours or NULL.
            let key = match unsafe { secret_keydata(key) } {
                None => Given::None,
                Some(SecretKeydata::Own(own)) => Given::Own(Arc::clone(&own.key)),
                Some(SecretKeydata::Foreign(foreign)) => Given::Foreign(foreign),
            };
            let start = Start {
                encrypting: $encrypting,
                id: functions::$id,
                iv: (iv, iv_len),
                params,
            };
            // SAFETY: OpenSSL passes a context of ours, and the rest for this call.
            unsafe { begin(context, key, start, c"cipher_skey_init") }
        }
    };
}

/// # Safety
/// As OpenSSL calls a function that begins an operation: a context of ours, and the rest for this
/// call.
unsafe fn begin(context: *mut c_void, key: Given<'_>, start: Start, function: &CStr) -> c_int {
    // SAFETY: the caller passes a context of ours.
    let Some(ciphering) = (unsafe { ciphering(context) }) else {
        return 0;
    };
    let core = ciphering.own.provider.core;
    // SAFETY: the caller passes on what OpenSSL passed for this call.
    boundary::call(&core, function, || unsafe { ciphering.begin(key, start) })
}

init!(encrypt_init, encrypt_skey_init, CIPHER_ENCRYPT_INIT, true);
init!(decrypt_init, decrypt_skey_init, CIPHER_DECRYPT_INIT, false);

/// Takes in some of the message, or additional data if there is no room for output. All of the
/// output comes here. `in_blocks`: as `EVP_Cipher` does, which has no input at the end.
///
/// # Safety
/// As OpenSSL calls an update function: a context of ours, output and input of these sizes, or
/// NULL.
unsafe fn take(
    context: *mut c_void,
    in_blocks: bool,
    (out, len, capacity): (*mut u8, *mut usize, usize),
    (input, input_len): (*const u8, usize),
) -> c_int {
    // SAFETY: the caller passes a context of ours.
    let Some(ciphering) = (unsafe { ciphering(context) }) else {
        return 0;
    };
    let core = ciphering.own.provider.core;
    boundary::call(&core, c"cipher_update", || {
        if let Some(foreign) = ciphering.foreign() {
            let id = match in_blocks {
                true => functions::CIPHER_CIPHER,
                false => functions::CIPHER_UPDATE,
            };
            return Ok(foreign.transform(id, out, len, capacity, input, input_len));
        }
        // The capacity is OpenSSL's guess, which may be more than the caller has, or less; what a
        // mode gives is in EVP_EncryptInit(3).
        let room = ciphering.own.max_output_len(input_len);
        // SAFETY: OpenSSL passes readable input of this size, and output that its caller made room
        // for.
        let (given, mut output) = unsafe { (bytes(input, input_len), Output::new(out, len, room)) };
        if in_blocks && input.is_null() {
            ciphering.own.end_blocks()?;
            output.put(&[])?;
            return Ok(1);
        }
        if out.is_null() {
            let len = match ciphering.own.asked_len(input_len)? {
                Some(len) => len,
                None => {
                    ciphering.own.authenticate(given)?;
                    input_len
                }
            };
            output.asks_for_size(len);
            return Ok(1);
        }
        let made = match in_blocks {
            true => ciphering.own.blocks(given)?,
            false => ciphering.own.update(given)?,
        };
        output.put(&made)?;
        Ok(1)
    })
}

unsafe extern "C" fn update(
    context: *mut c_void,
    out: *mut u8,
    len: *mut usize,
    capacity: usize,
    input: *const u8,
    input_len: usize,
) -> c_int {
    let (output, input) = ((out, len, capacity), (input, input_len));
    // SAFETY: OpenSSL passes a context of ours.
    unsafe { take(context, false, output, input) }
}

unsafe extern "C" fn one_shot(
    context: *mut c_void,
    out: *mut u8,
    len: *mut usize,
    capacity: usize,
    input: *const u8,
    input_len: usize,
) -> c_int {
    let (output, input) = ((out, len, capacity), (input, input_len));
    // SAFETY: OpenSSL passes a context of ours.
    unsafe { take(context, true, output, input) }
}

unsafe extern "C" fn finish(
    context: *mut c_void,
    out: *mut u8,
    len: *mut usize,
    capacity: usize,
) -> c_int {
    // SAFETY: OpenSSL passes a context of ours.
    let Some(ciphering) = (unsafe { ciphering(context) }) else {
        return 0;
    };
    let core = ciphering.own.provider.core;
    boundary::call(&core, c"cipher_final", || {
        if let Some(foreign) = ciphering.foreign() {
            return Ok(foreign.give(functions::CIPHER_FINAL, out, len, capacity));
        }
        // SAFETY: OpenSSL passes writable output of this size.
        let mut output = unsafe { Output::new(out, len, capacity) };
        output.put(&ciphering.own.finish()?)?;
        Ok(1)
    })
}

unsafe extern "C" fn get_params<const MODE: u8, const BITS: u32>(params: *mut Param) -> c_int {
    boundary::quietly(|| {
        // SAFETY: OpenSSL passes a parameter list.
        let mut params = unsafe { ParamsOut::new(params) };
        cipher::get_params(cipher(MODE, BITS), &mut params)
            .ok()
            .map(|()| 1)
    })
}

unsafe extern "C" fn gettable_params(_provider: *mut c_void) -> *const Param {
    tables::CIPHER.as_ptr()
}

unsafe extern "C" fn get_ctx_params(context: *mut c_void, params: *mut Param) -> c_int {
    // SAFETY: OpenSSL passes a context of ours.
    let Some(ciphering) = (unsafe { ciphering(context) }) else {
        return 0;
    };
    let core = ciphering.own.provider.core;
    boundary::call(&core, c"cipher_get_ctx_params", || {
        if let Some(foreign) = ciphering.foreign() {
            return Ok(foreign.get_params(functions::CIPHER_GET_CTX_PARAMS, params));
        }
        // SAFETY: OpenSSL passes a parameter list.
        let mut params = unsafe { ParamsOut::new(params) };
        ciphering.own.get_params(&mut params)?;
        Ok(1)
    })
}

unsafe extern "C" fn set_ctx_params(context: *mut c_void, params: *const Param) -> c_int {
    // SAFETY: OpenSSL passes a context of ours.
    let Some(ciphering) = (unsafe { ciphering(context) }) else {
        return 0;
    };
    let core = ciphering.own.provider.core;
    boundary::call(&core, c"cipher_set_ctx_params", || {
        // As in the beginning, both are told.
        // SAFETY: OpenSSL passes a parameter list or NULL.
        let own = ciphering.own.set_params(unsafe { ParamsIn::new(params) });
        let set = functions::CIPHER_SET_CTX_PARAMS;
        let theirs = ciphering.tell(|foreign| foreign.set_params(set, params));
        theirs.map_or_else(|| own.map(|()| 1), Ok)
    })
}

unsafe extern "C" fn gettable_ctx_params(
    context: *mut c_void,
    _provider: *mut c_void,
) -> *const Param {
    // SAFETY: OpenSSL passes a context of ours or NULL.
    match unsafe { ciphering(context) }.and_then(|ciphering| ciphering.foreign()) {
        Some(foreign) => foreign.table(functions::CIPHER_GETTABLE_CTX_PARAMS),
        None => tables::GETTABLE.as_ptr(),
    }
}

unsafe extern "C" fn settable_ctx_params(
    context: *mut c_void,
    _provider: *mut c_void,
) -> *const Param {
    // SAFETY: OpenSSL passes a context of ours or NULL.
    match unsafe { ciphering(context) }.and_then(|ciphering| ciphering.foreign()) {
        Some(foreign) => foreign.table(functions::CIPHER_SETTABLE_CTX_PARAMS),
        None => tables::SETTABLE.as_ptr(),
    }
}
