//! AES with a key in the HSM (`EVP_CipherInit_SKEY`): key wrap, CBC and GCM.
//!
//! The service takes a message whole. So all of it has to come in one `EVP_CipherUpdate`; GCM's
//! additional data, and when decrypting its tag, have to be set before that.

use std::ffi::CStr;
use std::sync::Arc;

use hsm_keys::Key;
use hsm_keys::aes::{BLOCK, Cipher, GCM_TAG_LEN, Mode, Parameters};
use zeroize::Zeroizing;

use crate::error::{Error, Reason};
use crate::openssl::params::{ParamsIn, ParamsOut};
use crate::provider::Provider;

const PADDING: &CStr = c"padding";
const KEY_LEN: &CStr = c"keylen";
const IV_LEN: &CStr = c"ivlen";
const BLOCK_SIZE: &CStr = c"blocksize";
const MODE: &CStr = c"mode";
const AEAD: &CStr = c"aead";
const CUSTOM_IV: &CStr = c"custom-iv";
const IV: &CStr = c"iv";
const UPDATED_IV: &CStr = c"updated-iv";
const TAG: &CStr = c"tag";
const TAG_LEN: &CStr = c"taglen";

/// What belongs to the records of TLS alone, which are not encrypted by keys in the HSM.
const TLS_RECORDS: [&CStr; 5] = [
    c"tlsaad",
    c"tlsaadpad",
    c"tls-version",
    c"tls-mac-size",
    c"tls-mac",
];
/// What has a part of GCM's initialisation vector fixed, and the rest counted.
const TLS_IV: [&CStr; 3] = [c"tlsivfixed", c"tlsivgen", c"tlsivinv"];

const OWN_IV_REMEDY: &str = "leave it out: the HSM makes the initialisation vector, and \
     EVP_CIPHER_CTX_get_updated_iv() gives it after the encryption";

/// Answers what is asked of a cipher, as the default provider would of its own.
pub(crate) fn get_params(cipher: Cipher, params: &mut ParamsOut<'_>) -> Result<(), Error> {
    // The numbers of EVP_CIPH_*_MODE in <openssl/evp.h>, and the block sizes that go with them.
    let (mode, block_size) = match cipher.mode {
        Mode::Cbc => (2, 16),
        Mode::Gcm => (6, 1),
        Mode::Wrap | Mode::WrapPad => (0x10002, 8),
    };
    params.set_integer(MODE, mode)?;
    params.set_integer(KEY_LEN, i64::from(cipher.bits) / 8)?;
    params.set_integer(IV_LEN, cipher.mode.iv_len() as i64)?;
    params.set_integer(BLOCK_SIZE, block_size)?;
    params.set_integer(AEAD, (cipher.mode == Mode::Gcm).into())?;
    params.set_integer(CUSTOM_IV, (cipher.mode != Mode::Cbc).into())?;
    for never in [c"cts", c"tls-multi", c"has-randkey", c"encrypt-then-mac"] {
        params.set_integer(never, 0)?;
    }
    Ok(())
}

/// The state of an operation with a key in the HSM.
#[derive(Clone)]
pub(crate) struct Context {
    pub(crate) provider: Arc<Provider>,
    cipher: Cipher,
    key: Option<Arc<Key>>,
    encrypting: bool,
    padding: bool,
    iv: Option<Vec<u8>>,
    aad: Vec<u8>,
    tag: Option<Vec<u8>>,
    /// The block that padding may have added, which OpenSSL has room for only at the end.
    last_block: Vec<u8>,
    message: Message,
    /// A parameter that came before the key, and that only a software key can have.
    foreign_param: Option<&'static CStr>,
}

/// What has become of the message.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Message {
    Open,
    Done,
    /// A part of it was refused, or the HSM failed. Without this the end would be that of an empty
    /// message, and say that all is well.
    Failed,
}

const AFTER_FAILURE: Error = Error::NotInitialised("this message has failed before: begin it anew");

impl Context {
    pub(crate) fn new(provider: Arc<Provider>, cipher: Cipher) -> Self {
        Self {
            provider,
            cipher,
            key: None,
            encrypting: true,
            padding: true,
            iv: None,
            aad: Vec::new(),
            tag: None,
            last_block: Vec::new(),
            message: Message::Open,
            foreign_param: None,
        }
    }

    /// Starts an operation. `key`: None means the key of last time, or that none has come yet: an
    /// initialisation vector waits for it. Never touches the network. After a failure there is no
    /// key: a program that goes on has not what it asked for.
    pub(crate) fn init(
        &mut self,
        encrypting: bool,
        key: Option<Arc<Key>>,
        iv: Option<&[u8]>,
        params: ParamsIn<'_>,
    ) -> Result<(), Error> {
        let begun = self.begin(encrypting, key, iv, params);
        if begun.is_err() {
            self.key = None;
        }
        begun
    }

    fn begin(
        &mut self,
        encrypting: bool,
        key: Option<Arc<Key>>,
        iv: Option<&[u8]>,
        params: ParamsIn<'_>,
    ) -> Result<(), Error> {
        let waiting = self.iv.take_if(|_| self.key.is_none());
        let iv = iv.map(<[u8]>::to_vec).or(waiting);
        self.key = key.or_else(|| self.key.take());
        (self.encrypting, self.message) = (encrypting, Message::Open);
        self.aad.clear();
        self.last_block.clear();
        if self.key.is_none() {
            // A software key may take what one in the HSM doesn't.
            self.iv = iv;
        } else {
            self.check_key()?;
            self.take_iv(iv)?;
            if self.cipher.mode == Mode::Gcm && encrypting {
                // Those of the last message are not this one's, which the HSM will make.
                (self.iv, self.tag) = (None, None);
            }
        }
        self.set_params(params)
    }

    /// Forgets the key and what came for it.
    pub(crate) fn forget(&mut self) {
        *self = Self {
            padding: self.padding,
            ..Self::new(Arc::clone(&self.provider), self.cipher)
        };
    }

    fn take_iv(&mut self, iv: Option<Vec<u8>>) -> Result<(), Error> {
        let Some(iv) = iv else { return Ok(()) };
        // Where one is refused, that of the last message doesn't stay in its place.
        self.iv = None;
        let mode = self.cipher.mode;
        match mode {
            Mode::Wrap | Mode::WrapPad if iv == mode.fixed_iv() => {}
            Mode::Wrap | Mode::WrapPad => {
                return Err(Error::unsupported(
                    Reason::InitialValue,
                    "AES key wrap with an initial value of one's own",
                    "leave it out",
                ));
            }
            Mode::Gcm if self.encrypting => {
                return Err(Error::unsupported(
                    Reason::InitialValue,
                    "AES-GCM encryption with an initialisation vector of one's own",
                    OWN_IV_REMEDY,
                ));
            }
            _ if iv.len() == mode.iv_len() => self.iv = Some(iv),
            _ => {
                return Err(Error::InputLength(format!(
                    "an initialisation vector of {} bytes is expected, {} were given",
                    mode.iv_len(),
                    iv.len()
                )));
            }
        }
        Ok(())
    }

    /// Refuses a key that may not do this, or has another size, as far as is known. To the HSM,
    /// `AES-*-WRAP-PAD` is the same for all sizes.
    fn check_key(&self) -> Result<(), Error> {
        let Some(key) = &self.key else { return Ok(()) };
        let hsm = key.private(self.cipher.mode.operation(self.encrypting))?;
        match hsm.size() {
            Some(bits) if bits != self.cipher.bits => Err(Error::InvalidKey(format!(
                "{} has {bits} bits, and the cipher is one for {}",
                hsm.id, self.cipher.bits
            ))),
            _ => Ok(()),
        }
    }

    /// Takes in additional data of GCM.
    pub(crate) fn authenticate(&mut self, aad: &[u8]) -> Result<(), Error> {
        if self.cipher.mode != Mode::Gcm || self.message != Message::Open {
            // Its end would be one without them.
            self.message = Message::Failed;
            return Err(Error::NotInitialised(
                "additional data belongs to AES-GCM, before the message",
            ));
        }
        self.aad.extend_from_slice(aad);
        Ok(())
    }

    /// The whole message through the HSM. No bytes are none of it, and change nothing.
    pub(crate) fn update(&mut self, input: &[u8]) -> Result<Zeroizing<Vec<u8>>, Error> {
        match input.is_empty() && !self.cipher.mode.wraps() {
            true => Ok(Zeroizing::default()),
            false => self.transform(input, self.padding),
        }
    }

    /// The whole message as `EVP_Cipher` takes it, which has blocks that are whole, and no padding.
    pub(crate) fn blocks(&mut self, input: &[u8]) -> Result<Zeroizing<Vec<u8>>, Error> {
        if self.cipher.mode == Mode::Cbc && !input.len().is_multiple_of(BLOCK) {
            self.message = Message::Failed;
            return Err(Error::InputLength(format!(
                "EVP_Cipher takes whole blocks of {BLOCK} bytes, {} bytes were given",
                input.len()
            )));
        }
        match input.is_empty() {
            true => Ok(Zeroizing::default()),
            false => self.transform(input, false),
        }
    }

    /// The end of the message as `EVP_Cipher` has it.
    pub(crate) fn end_blocks(&mut self) -> Result<(), Error> {
        match self.cipher.mode {
            Mode::Gcm => self.finish().map(drop),
            _ => Ok(()),
        }
    }

    fn transform(&mut self, input: &[u8], padding: bool) -> Result<Zeroizing<Vec<u8>>, Error> {
        match std::mem::replace(&mut self.message, Message::Failed) {
            Message::Open => {}
            Message::Done => {
                return Err(Error::unsupported(
                    Reason::MessageInPieces,
                    "a message in several pieces",
                    "pass all of it to one EVP_CipherUpdate",
                ));
            }
            Message::Failed => return Err(AFTER_FAILURE),
        }
        let key = self
            .key
            .clone()
            .ok_or(Error::NotInitialised("no key is set"))?;
        let client = self.provider.client()?;
        let parameters = Parameters {
            padding,
            iv: self.iv.as_deref(),
            aad: &self.aad,
            tag: self.tag.as_deref(),
        };
        let output = if self.encrypting {
            let encrypted = self.cipher.encrypt(&client, &key, &parameters, input)?;
            if self.cipher.mode == Mode::Gcm {
                (self.iv, self.tag) = (encrypted.iv, encrypted.tag);
            }
            let mut ciphertext = encrypted.ciphertext;
            if self.cipher.mode == Mode::Cbc && padding {
                let kept = ciphertext.len().saturating_sub(BLOCK);
                self.last_block = ciphertext.split_off(kept);
            }
            Zeroizing::new(ciphertext)
        } else {
            self.cipher.decrypt(&client, &key, &parameters, input)?
        };
        self.message = Message::Done;
        Ok(output)
    }

    /// How long the output of [`Context::update`] can be, where it can be asked for without the
    /// message: for keys. None: without room for output, the input is additional data.
    pub(crate) fn asked_len(&self, input_len: usize) -> Result<Option<usize>, Error> {
        if !self.cipher.mode.wraps() {
            return Ok(None);
        }
        match self.cipher.longest_output(self.encrypting, input_len) {
            None => Err(Error::InputLength(format!(
                "this cipher has no output for an input of {input_len} bytes"
            ))),
            known => Ok(known),
        }
    }

    /// Enough room for any output of [`Context::update`], in bytes.
    pub(crate) fn max_output_len(&self, input_len: usize) -> usize {
        self.cipher.max_output_len(input_len)
    }

    /// The end of the message, with what is left of the output.
    pub(crate) fn finish(&mut self) -> Result<Vec<u8>, Error> {
        match self.message {
            // Nothing but additional data, or nothing at all.
            Message::Open if !self.cipher.mode.wraps() => {
                self.transform(&[], self.padding)?;
            }
            Message::Open | Message::Done => {}
            Message::Failed => return Err(AFTER_FAILURE),
        }
        Ok(std::mem::take(&mut self.last_block))
    }

    /// Takes context parameters.
    pub(crate) fn set_params(&mut self, params: ParamsIn<'_>) -> Result<(), Error> {
        if let Some(padding) = params.integer(PADDING)? {
            self.padding = padding != 0;
        }
        if let Some(tag) = params.nullable_octets(TAG)? {
            self.tag = Some(tag.to_vec());
        }
        // A software key may have these, and other lengths; whether it is one is known only once
        // there is a key.
        let foreign = only_of_software_keys().find(|name| params.is_there(name));
        self.foreign_param = foreign.or(self.foreign_param);
        let Some(_) = self.key else { return Ok(()) };
        if let Some(name) = self.foreign_param.take() {
            return Err(of_software_keys(name));
        }
        if let Some(tag) = &self.tag
            && tag.len() != GCM_TAG_LEN
        {
            return Err(Error::unsupported(
                Reason::TagLength,
                format!("an AES-GCM tag of {} bytes", tag.len()),
                format!("use {GCM_TAG_LEN} bytes"),
            ));
        }
        let iv_len = self.cipher.mode.iv_len() as i64;
        if let Some(len) = params.integer(IV_LEN)?
            && len != iv_len
        {
            return Err(Error::unsupported(
                Reason::CipherLength,
                format!("{} {len} with this cipher", IV_LEN.to_string_lossy()),
                format!("leave it at {iv_len}"),
            ));
        }
        let key_len = i64::from(self.cipher.bits) / 8;
        match params.integer(KEY_LEN)? {
            Some(len) if len != key_len => Err(Error::parameter(
                "keylen",
                format!("the keys of this cipher have {key_len} bytes, not {len}"),
            )),
            _ => Ok(()),
        }
    }

    /// Answers what is asked of the context.
    pub(crate) fn get_params(&self, params: &mut ParamsOut<'_>) -> Result<(), Error> {
        params.set_integer(KEY_LEN, i64::from(self.cipher.bits) / 8)?;
        params.set_integer(IV_LEN, self.cipher.mode.iv_len() as i64)?;
        params.set_integer(PADDING, self.padding.into())?;
        params.set_integer(TAG_LEN, GCM_TAG_LEN as i64)?;
        // Whoever goes on with what is not answered goes on with whatever was in the buffer.
        if let Some(name) = only_of_software_keys().find(|name| params.wants(name)) {
            return Err(of_software_keys(name));
        }
        let mode = self.cipher.mode;
        let iv = match mode.wraps() {
            true => Some(mode.fixed_iv()),
            false => self.iv.as_deref(),
        };
        match iv {
            Some(iv) => {
                params.set_octets(IV, iv)?;
                params.set_octets(UPDATED_IV, iv)?;
            }
            None if params.wants(IV) || params.wants(UPDATED_IV) => {
                return Err(Error::NotInitialised(
                    "there is no initialisation vector yet: with AES-GCM, the HSM makes it when it encrypts",
                ));
            }
            None => {}
        }
        match &self.tag {
            Some(tag) => params.set_octets(TAG, tag),
            None if params.wants(TAG) => Err(Error::NotInitialised(
                "there is no tag yet: with AES-GCM, the HSM makes it when it encrypts",
            )),
            None => Ok(()),
        }
    }
}

fn only_of_software_keys() -> impl Iterator<Item = &'static CStr> {
    TLS_IV.into_iter().chain(TLS_RECORDS)
}

fn of_software_keys(name: &CStr) -> Error {
    let parameter = format!("the parameter '{}'", name.to_string_lossy());
    match TLS_IV.contains(&name) {
        true => Error::unsupported(Reason::InitialValue, parameter, OWN_IV_REMEDY),
        false => Error::parameter(
            name.to_string_lossy(),
            "keys in the HSM encrypt no records of TLS: leave it out",
        ),
    }
}

/// Tables of the parameters above.
pub(crate) mod tables {
    use super::*;
    use crate::openssl::ffi::Param;
    use crate::openssl::params::descriptors;

    pub(crate) static CIPHER: &[Param] = descriptors! {
        MODE => PARAM_UNSIGNED_INTEGER,
        KEY_LEN => PARAM_UNSIGNED_INTEGER,
        IV_LEN => PARAM_UNSIGNED_INTEGER,
        BLOCK_SIZE => PARAM_UNSIGNED_INTEGER,
        AEAD => PARAM_INTEGER,
        CUSTOM_IV => PARAM_INTEGER,
    };
    pub(crate) static GETTABLE: &[Param] = descriptors! {
        KEY_LEN => PARAM_UNSIGNED_INTEGER,
        IV_LEN => PARAM_UNSIGNED_INTEGER,
        PADDING => PARAM_UNSIGNED_INTEGER,
        IV => PARAM_OCTET_STRING,
        UPDATED_IV => PARAM_OCTET_STRING,
        TAG => PARAM_OCTET_STRING,
        TAG_LEN => PARAM_UNSIGNED_INTEGER,
    };
    // Not the key's length, which AES has by its name. CMS goes on with a random key where the
    // length of one can't be set, so that nobody learns from the error whether it was decrypted.
    pub(crate) static SETTABLE: &[Param] = descriptors! {
        IV_LEN => PARAM_UNSIGNED_INTEGER,
        PADDING => PARAM_UNSIGNED_INTEGER,
        TAG => PARAM_OCTET_STRING,
    };
}
