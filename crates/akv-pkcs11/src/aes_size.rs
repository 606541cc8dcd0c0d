//! How long the HSM's symmetric keys are: most versions of the service's API don't tell, and refuse
//! what is for another size. A key's tag may tell, and anybody may have written that.

use std::sync::atomic::Ordering;

use cryptoki_sys::{
    CK_RV, CKR_KEY_SIZE_RANGE, CKR_UNWRAPPING_KEY_SIZE_RANGE, CKR_WRAPPING_KEY_SIZE_RANGE,
};
use hsm_keys::KeyType;
use hsm_keys::aes::{BLOCK, Cipher, Mode, Parameters, SIZES};
use managed_hsm::{Client, KeyOperation};

use crate::ciphers::is_bad_request;
use crate::error::{Error, Purpose};
use crate::token::Token;
use crate::token::objects::StoredKey;

/// Finds out how long an AES key is, if that is not known and the key may do something to tell.
///
/// # Errors
/// The HSM can't be asked, or fails. That it refuses is none: the size can't be known then.
pub(crate) fn learn_size(token: &Token, key: &StoredKey) -> Result<(), Error> {
    let is_told = key.value_len().is_some() || token.knows_of_hidden_size(key);
    if key.public().key_type() != KeyType::Aes || is_told {
        return Ok(());
    }
    let mode = match key {
        _ if key.permits(&KeyOperation::WrapKey) => Mode::Wrap,
        _ if key.permits(&KeyOperation::Encrypt) => Mode::Gcm,
        _ => return Ok(()),
    };
    let parameters = Parameters {
        padding: false,
        iv: None,
        aad: &[],
        tag: None,
    };
    let asked = by_size(token, key, mode, Purpose::Encrypt, |client, key, cipher| {
        cipher.encrypt(client, key, &parameters, &[0; BLOCK])
    });
    match asked {
        Err(error) if error.is_refusal() => {
            let cause = error.cause.unwrap_or_default();
            key.hides_size
                .store(token.table().now() + 1, Ordering::Relaxed);
            log::debug!("the size of key {} stays unknown: {cause}", key.name());
            Ok(())
        }
        outcome => outcome.map(drop),
    }
}

/// Has the HSM work by the algorithm for the key's size.
pub(crate) fn by_size<T>(
    token: &Token,
    key: &StoredKey,
    mode: Mode,
    purpose: Purpose,
    operation: impl Fn(&Client, &hsm_keys::Key, Cipher) -> Result<T, hsm_keys::Error>,
) -> Result<T, Error> {
    let of_hsm = key.to_use()?;
    let told = key.told_bits();
    let done = token.ask(|client| {
        let run = |client: &Client, bits| operation(client, of_hsm, Cipher { mode, bits });
        match (&of_hsm.hsm, mode) {
            (None, _) => Err(hsm_keys::Error::MissingPrivateKey),
            // It is the same for all sizes.
            (Some(_), Mode::WrapPad) => run(client, 256),
            (Some(hsm), _) => hsm.by_size(client, told, run),
        }
    })?;
    let (size, teller) = match key.known_bits() {
        None => (told, "its tag"),
        known => (known, "the service"),
    };
    done.map_err(|error| match size {
        Some(bits) if !SIZES.contains(&bits) && is_bad_request(&error) => Error::because(
            wrong_size(purpose),
            format!(
                "key {} has {} bytes, as {teller} says, and keys of AES have 16, 24 or 32: {error}",
                key.name(),
                bits / 8
            ),
        ),
        _ => token.failure(purpose, &error),
    })
}

/// The code for a key whose size can't be.
const fn wrong_size(purpose: Purpose) -> CK_RV {
    match purpose {
        Purpose::Wrap => CKR_WRAPPING_KEY_SIZE_RANGE,
        Purpose::Unwrap => CKR_UNWRAPPING_KEY_SIZE_RANGE,
        _ => CKR_KEY_SIZE_RANGE,
    }
}
