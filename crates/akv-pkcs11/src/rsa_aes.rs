//! CKM_RSA_AES_KEY_WRAP: a key of one time is wrapped by RSA-OAEP, and by that one, with AES key
//! wrap with padding, the key itself, however long it is. So keys come to an HSM from another one.

use aws_lc_rs::key_wrap::{AES_128, AES_256, AesKek, KeyWrapPadded};
use cryptoki_sys::*;
use hsm_keys::{KeyType, RsaEncryption};
use managed_hsm::KeyOperation;
use zeroize::Zeroizing;

use crate::ciphers::Use;
use crate::error::{Error, Purpose};
use crate::ffi::convert::MechanismIn;
use crate::mechanisms::parameter_invalid;
use crate::oaep::oaep;
use crate::random;
use crate::rsa_size::check_rsa_size;
use crate::token::objects::StoredKey;
use crate::token::tags::Half;

/// The mechanism with its parameter.
pub(crate) struct RsaAes {
    /// The length of the key of one time, in bytes.
    aes_len: usize,
}

impl RsaAes {
    /// What a program passes.
    ///
    /// # Errors
    /// The parameter is not what the HSM takes: OAEP with SHA-1 twice, and an AES key of 128 or 256
    /// bits.
    pub(crate) fn new(given: &MechanismIn<'_>) -> Result<Self, Error> {
        let given = given.rsa_aes()?;
        if oaep(&given.oaep)? != RsaEncryption::OaepSha1 {
            return Err(parameter_invalid(
                "the HSM takes in keys that are wrapped by OAEP with SHA-1 and MGF1 with SHA-1",
            ));
        }
        match given.aes_bits {
            128 | 256 => Ok(Self {
                aes_len: usize::try_from(given.aes_bits).unwrap_or_default() / 8,
            }),
            _ => Err(parameter_invalid("ulAESKeyBits is 128 or 256")),
        }
    }

    /// Refuses a key that can't wrap or unwrap so. One that may `import` does nothing else.
    pub(crate) fn check_key(key: &StoredKey, half: Half, wraps: bool) -> Result<(), Error> {
        let (fitting, operation, wrong_type) = match wraps {
            true => (
                Half::Public,
                KeyOperation::WrapKey,
                CKR_WRAPPING_KEY_TYPE_INCONSISTENT,
            ),
            false => (
                Half::Private,
                KeyOperation::Import,
                CKR_UNWRAPPING_KEY_TYPE_INCONSISTENT,
            ),
        };
        if key.public().key_type() != KeyType::Rsa {
            return Err(Error::code(wrong_type));
        }
        if wraps {
            check_rsa_size(key, Use::Wrap)?;
        }
        key.to_use()?;
        let is_permitted = key.permits(&operation) || key.permits(&KeyOperation::Import);
        if half == fitting && is_permitted {
            return Ok(());
        }
        Err(Error::because(
            CKR_KEY_FUNCTION_NOT_PERMITTED,
            format!(
                "key {} does not permit 'import': make one whose key_ops are 'import' alone",
                key.name()
            ),
        ))
    }

    /// How long a wrapped key is.
    pub(crate) fn output_len(key: &StoredKey, len: usize) -> usize {
        key.public().raw_signature_len() + len.next_multiple_of(8) + 8
    }

    /// Wraps a key, with the public key alone.
    ///
    /// # Errors
    /// There are no random bytes, or nothing to wrap.
    pub(crate) fn wrap(&self, key: &StoredKey, value: &[u8]) -> Result<Vec<u8>, Error> {
        let failed = |_| Error::because(CKR_FUNCTION_FAILED, "the key can't be wrapped");
        let mut once = Zeroizing::new(vec![0; self.aes_len]);
        random::fill(&mut once)?;
        let mut wrapped = hsm_keys::encrypt(key.public(), RsaEncryption::OaepSha1, &once)
            .map_err(|error| Error::operation(Purpose::Wrap, &error))?;
        let cipher = match self.aes_len {
            16 => &AES_128,
            _ => &AES_256,
        };
        let wrapping = AesKek::new(cipher, &once).map_err(failed)?;
        let mut room = vec![0; value.len().next_multiple_of(8) + 8];
        let tail = wrapping
            .wrap_with_padding(value, &mut room)
            .map_err(failed)?;
        wrapped.extend_from_slice(tail);
        Ok(wrapped)
    }
}
