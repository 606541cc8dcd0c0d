//! Which RSA public keys encrypt: programs may bring longer ones.

use cryptoki_sys::{CKR_KEY_SIZE_RANGE, CKR_WRAPPING_KEY_SIZE_RANGE};
use hsm_keys::PublicKey;

use crate::ciphers::Use;
use crate::error::Error;
use crate::token::objects::StoredKey;

/// The longest RSA key that the library encrypts with, in bits. A program may bring a public key
/// that is longer, to verify with.
const MOST_RSA_BITS: usize = 8192;

/// Refuses a public key that the library doesn't encrypt with.
pub(crate) fn check_rsa_size(key: &StoredKey, of: Use) -> Result<(), Error> {
    let code = match of {
        Use::Encrypt => CKR_KEY_SIZE_RANGE,
        Use::Wrap => CKR_WRAPPING_KEY_SIZE_RANGE,
        Use::Decrypt | Use::Unwrap => return Ok(()),
    };
    match key.public() {
        PublicKey::Rsa(rsa) if rsa.bits() > MOST_RSA_BITS => Err(Error::because(
            code,
            format!(
                "the public key has {} bits: those of up to {MOST_RSA_BITS} bits encrypt",
                rsa.bits()
            ),
        )),
        _ => Ok(()),
    }
}
