//! Message authentication (HMAC), which the HSM does with its symmetric keys, and verifies.
//! Messages go there as they are.

use cryptoki_sys::{CKR_DATA_LEN_RANGE, CKR_KEY_SIZE_RANGE};
use managed_hsm::MacAlgorithm;

use crate::error::{Error, Purpose};
use crate::message::{LONGEST, check_len};
use crate::token::Token;
use crate::token::objects::StoredKey;

/// Refuses a key that is known to be shorter than the digest: the service would. One whose tag says
/// so may be longer.
pub(crate) fn check_key(algorithm: MacAlgorithm, key: &StoredKey) -> Result<(), Error> {
    match key.known_bits().and_then(|_| too_short(algorithm, key)) {
        Some(refusal) => Err(refusal),
        None => Ok(()),
    }
}

/// The error for a key that is too short, as far as the HSM or its tag tells.
fn too_short(algorithm: MacAlgorithm, key: &StoredKey) -> Option<Error> {
    let least = algorithm.mac_len();
    let len = key.value_len().filter(|len| *len < least)?;
    Some(Error::because(
        CKR_KEY_SIZE_RANGE,
        format!(
            "key {} has {len} bytes: {} takes keys of {least} bytes or more",
            key.name(),
            algorithm.jwa_name()
        ),
    ))
}

/// A request that failed.
fn failure(
    token: &Token,
    key: &StoredKey,
    algorithm: MacAlgorithm,
    purpose: Purpose,
    error: &managed_hsm::Error,
) -> Error {
    let is_refused = matches!(error, managed_hsm::Error::Service { status: 400, .. });
    let short = too_short(algorithm, key).filter(|_| is_refused);
    short.unwrap_or_else(|| token.refusal(purpose, error))
}

/// Has the HSM authenticate a message.
pub(crate) fn make(
    token: &Token,
    key: &StoredKey,
    algorithm: MacAlgorithm,
    message: &[u8],
) -> Result<Vec<u8>, Error> {
    check_len(message.len(), LONGEST, CKR_DATA_LEN_RANGE)?;
    let id = key.require_hsm_id()?;
    let made = token.ask(|client| client.mac(id, algorithm, message))?;
    made.map_err(|error| failure(token, key, algorithm, Purpose::Sign, &error))
}

/// Has the HSM verify a MAC.
pub(crate) fn verify(
    token: &Token,
    key: &StoredKey,
    algorithm: MacAlgorithm,
    message: &[u8],
    mac: &[u8],
) -> Result<bool, Error> {
    check_len(message.len(), LONGEST, CKR_DATA_LEN_RANGE)?;
    let id = key.require_hsm_id()?;
    let verified = token.ask(|client| client.verify_mac(id, algorithm, message, mac))?;
    verified.map_err(|error| failure(token, key, algorithm, Purpose::Verify, &error))
}
