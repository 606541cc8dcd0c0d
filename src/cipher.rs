//! AES with a key in the HSM (`EVP_CipherInit_SKEY`): key wrap, CBC and GCM.
//!
//! The service takes a message whole. So all of it has to come in one `EVP_CipherUpdate`; GCM's additional data, and when
//! decrypting its tag, have to be set before that.

use std::ffi::CStr;
use std::sync::Arc;

use managed_hsm::{Decryption, Encryption, EncryptionAlgorithm, KeyOperation};
use zeroize::Zeroizing;

use crate::error::{Error, Reason};
use crate::key::Key;
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

/// The only length of GCM's initialisation vector, and of its tag, that the service has.
const GCM_IV_LEN: usize = 12;
const GCM_TAG_LEN: usize = 16;
const CBC_BLOCK: usize = 16;
/// RFC 3394, section 2.2.3.1, and RFC 5649, section 3.
const WRAP_IV: &[u8] = &[0xa6; 8];
const WRAP_PAD_IV: &[u8] = &[0xa6, 0x59, 0x59, 0xa6];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Wrap,
    WrapPad,
    Cbc,
    Gcm,
}

/// A cipher: a mode with a key size.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cipher {
    pub(crate) mode: Mode,
    pub(crate) bits: u32,
}

impl Cipher {
    fn block_size(self) -> i64 {
        match self.mode {
            Mode::Wrap | Mode::WrapPad => 8,
            Mode::Cbc => 16,
            Mode::Gcm => 1,
        }
    }

    fn iv_len(self) -> usize {
        match self.mode {
            Mode::Wrap => WRAP_IV.len(),
            Mode::WrapPad => WRAP_PAD_IV.len(),
            Mode::Cbc => 16,
            Mode::Gcm => GCM_IV_LEN,
        }
    }

    /// Answers what is asked of the cipher, as the default provider would of its own.
    pub(crate) fn get_params(self, params: &mut ParamsOut<'_>) -> Result<(), Error> {
        // The numbers of EVP_CIPH_*_MODE in <openssl/evp.h>.
        let mode = match self.mode {
            Mode::Cbc => 2,
            Mode::Gcm => 6,
            Mode::Wrap | Mode::WrapPad => 0x10002,
        };
        params.set_integer(MODE, mode)?;
        params.set_integer(KEY_LEN, i64::from(self.bits) / 8)?;
        params.set_integer(IV_LEN, self.iv_len() as i64)?;
        params.set_integer(BLOCK_SIZE, self.block_size())?;
        params.set_integer(AEAD, (self.mode == Mode::Gcm).into())?;
        params.set_integer(CUSTOM_IV, (self.mode != Mode::Cbc).into())?;
        for never in [c"cts", c"tls-multi", c"has-randkey", c"encrypt-then-mac"] {
            params.set_integer(never, 0)?;
        }
        Ok(())
    }
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
    finished: bool,
}

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
            finished: false,
        }
    }

    /// Starts an operation. `key`: None means the key of last time. Never touches the network.
    pub(crate) fn init(
        &mut self,
        encrypting: bool,
        key: Option<Arc<Key>>,
        iv: Option<&[u8]>,
        params: ParamsIn<'_>,
    ) -> Result<(), Error> {
        self.key = key.or_else(|| self.key.take());
        (self.encrypting, self.finished) = (encrypting, false);
        self.aad.clear();
        self.last_block.clear();
        self.check_permission()?;
        match (self.cipher.mode, iv) {
            (_, None) => {}
            (Mode::Wrap, Some(WRAP_IV)) | (Mode::WrapPad, Some(WRAP_PAD_IV)) => {}
            (Mode::Wrap | Mode::WrapPad, Some(_)) => {
                return Err(Error::unsupported(
                    Reason::InitialValue,
                    "AES key wrap with an initial value of one's own",
                    "leave it out",
                ));
            }
            (Mode::Gcm, Some(_)) if encrypting => {
                return Err(Error::unsupported(
                    Reason::InitialValue,
                    "AES-GCM encryption with an initialisation vector of one's own",
                    "leave it out: the HSM makes it, and EVP_CIPHER_CTX_get_updated_iv() gives it after the encryption",
                ));
            }
            (_, Some(iv)) if iv.len() == self.cipher.iv_len() => self.iv = Some(iv.to_vec()),
            (_, Some(iv)) => {
                return Err(Error::InputLength(format!(
                    "an initialisation vector of {} bytes is expected, {} were given",
                    self.cipher.iv_len(),
                    iv.len()
                )));
            }
        }
        self.set_params(params)
    }

    fn check_permission(&self) -> Result<(), Error> {
        let Some(key) = &self.key else { return Ok(()) };
        let wraps = matches!(self.cipher.mode, Mode::Wrap | Mode::WrapPad);
        let operation = match (wraps, self.encrypting) {
            (true, true) => KeyOperation::WrapKey,
            (true, false) => KeyOperation::UnwrapKey,
            (false, true) => KeyOperation::Encrypt,
            (false, false) => KeyOperation::Decrypt,
        };
        key.private(operation).map(drop)
    }

    /// Takes in additional data of GCM.
    pub(crate) fn authenticate(&mut self, aad: &[u8]) -> Result<(), Error> {
        if self.cipher.mode != Mode::Gcm || self.finished {
            return Err(Error::NotInitialised(
                "additional data belongs to AES-GCM, before the message",
            ));
        }
        self.aad.extend_from_slice(aad);
        Ok(())
    }

    /// The whole message through the HSM.
    pub(crate) fn update(&mut self, input: &[u8]) -> Result<Zeroizing<Vec<u8>>, Error> {
        if self.finished {
            return Err(Error::unsupported(
                Reason::MessageInPieces,
                "a message in several pieces",
                "pass all of it to one EVP_CipherUpdate",
            ));
        }
        let key = self
            .key
            .clone()
            .ok_or(Error::NotInitialised("no key is set"))?;
        let id = key.id().ok_or(Error::MissingPrivateKey)?;
        let algorithm = self.algorithm()?;
        let client = self.provider.client()?;
        let output = match (self.cipher.mode, self.encrypting) {
            (Mode::Wrap | Mode::WrapPad, true) => {
                let wrapped = client.wrap_key(id, algorithm, input);
                Zeroizing::new(wrapped.map_err(Error::Hsm)?)
            }
            (Mode::Wrap | Mode::WrapPad, false) => {
                let unwrapped = client.unwrap_key(id, algorithm, input);
                unwrapped.map_err(Error::Hsm)?
            }
            (_, true) => {
                let encryption = Encryption {
                    algorithm,
                    iv: self.required_iv()?,
                    aad: Some(self.aad.as_slice()).filter(|aad| !aad.is_empty()),
                };
                let encrypted = client.encrypt(id, &encryption, input);
                let encrypted = encrypted.map_err(Error::Hsm)?;
                if self.cipher.mode == Mode::Gcm {
                    (self.iv, self.tag) = (encrypted.iv, encrypted.tag);
                }
                let mut ciphertext = encrypted.ciphertext;
                if self.cipher.mode == Mode::Cbc && self.padding {
                    let kept = ciphertext.len().saturating_sub(CBC_BLOCK);
                    self.last_block = ciphertext.split_off(kept);
                }
                Zeroizing::new(ciphertext)
            }
            (_, false) => {
                let tag = self.tag.as_deref();
                if self.cipher.mode == Mode::Gcm && tag.is_none() {
                    return Err(Error::unsupported(
                        Reason::TagMissing,
                        "AES-GCM decryption before the tag is known",
                        "set the tag before the ciphertext is passed in",
                    ));
                }
                let decryption = Decryption {
                    algorithm,
                    iv: self.required_iv()?,
                    aad: Some(self.aad.as_slice()).filter(|aad| !aad.is_empty()),
                    tag,
                };
                let decrypted = client.decrypt(id, &decryption, input);
                decrypted.map_err(Error::Hsm)?
            }
        };
        self.finished = true;
        Ok(output)
    }

    /// The longest output of [`Context::update`], in bytes.
    pub(crate) fn max_output_len(&self, input_len: usize) -> usize {
        match self.cipher.mode {
            Mode::Wrap => input_len + 8,
            Mode::WrapPad => input_len.next_multiple_of(8) + 8,
            Mode::Cbc | Mode::Gcm => input_len,
        }
    }

    /// The end of the message, with what is left of the output.
    pub(crate) fn finish(&mut self) -> Result<Vec<u8>, Error> {
        let wraps = matches!(self.cipher.mode, Mode::Wrap | Mode::WrapPad);
        if !self.finished && !wraps {
            // Nothing but additional data, or nothing at all.
            self.update(&[])?;
        }
        Ok(std::mem::take(&mut self.last_block))
    }

    fn required_iv(&self) -> Result<Option<&[u8]>, Error> {
        match (&self.iv, self.cipher.mode, self.encrypting) {
            (_, Mode::Gcm, true) => Ok(None),
            (Some(iv), _, _) => Ok(Some(iv)),
            (None, _, _) => Err(Error::NotInitialised("no initialisation vector is set")),
        }
    }

    fn algorithm(&self) -> Result<EncryptionAlgorithm, Error> {
        let bits = self.cipher.bits;
        match (self.cipher.mode, self.padding) {
            (Mode::Wrap, _) => EncryptionAlgorithm::aes_kw(bits),
            (Mode::WrapPad, _) => Some(EncryptionAlgorithm::CkmAesKeyWrapPad),
            (Mode::Gcm, _) => EncryptionAlgorithm::aes_gcm(bits),
            (Mode::Cbc, true) => EncryptionAlgorithm::aes_cbc_pad(bits),
            (Mode::Cbc, false) => EncryptionAlgorithm::aes_cbc(bits),
        }
        .ok_or_else(|| Error::Internal(format!("AES has no keys of {bits} bits")))
    }

    /// Takes context parameters.
    pub(crate) fn set_params(&mut self, params: ParamsIn<'_>) -> Result<(), Error> {
        if let Some(padding) = params.integer(PADDING)? {
            self.padding = padding != 0;
        }
        if let Some(tag) = params.nullable_octets(TAG)? {
            self.tag = Some(tag.to_vec());
        }
        // A software key may have other lengths; whether it is one is known only once there is a key.
        let Some(_) = self.key else { return Ok(()) };
        if let Some(tag) = &self.tag
            && tag.len() != GCM_TAG_LEN
        {
            return Err(Error::unsupported(
                Reason::TagLength,
                format!("an AES-GCM tag of {} bytes", tag.len()),
                format!("use {GCM_TAG_LEN} bytes"),
            ));
        }
        let only = |key: &CStr, allowed: i64| match params.integer(key)? {
            Some(len) if len != allowed => Err(Error::unsupported(
                Reason::CipherLength,
                format!("{} {len} with this cipher", key.to_string_lossy()),
                format!("leave it at {allowed}"),
            )),
            _ => Ok(()),
        };
        only(IV_LEN, self.cipher.iv_len() as i64)?;
        only(KEY_LEN, i64::from(self.cipher.bits) / 8)
    }

    /// Answers what is asked of the context.
    pub(crate) fn get_params(&self, params: &mut ParamsOut<'_>) -> Result<(), Error> {
        params.set_integer(KEY_LEN, i64::from(self.cipher.bits) / 8)?;
        params.set_integer(IV_LEN, self.cipher.iv_len() as i64)?;
        params.set_integer(PADDING, self.padding.into())?;
        params.set_integer(TAG_LEN, GCM_TAG_LEN as i64)?;
        if let Some(iv) = &self.iv {
            params.set_octets(IV, iv)?;
            params.set_octets(UPDATED_IV, iv)?;
        }
        match &self.tag {
            Some(tag) => params.set_octets(TAG, tag),
            None => Ok(()),
        }
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
    pub(crate) static SETTABLE: &[Param] = descriptors! {
        KEY_LEN => PARAM_UNSIGNED_INTEGER,
        IV_LEN => PARAM_UNSIGNED_INTEGER,
        PADDING => PARAM_UNSIGNED_INTEGER,
        TAG => PARAM_OCTET_STRING,
    };
}
