//! AES key wrap (RFC 3394) with a key in the HSM whose size nobody has told.

use managed_hsm::{Client, EncryptionAlgorithm, KeyOperation};
use zeroize::Zeroizing;

use crate::error::Error;
use crate::key::Key;

/// AES key wrap works on blocks of eight bytes and needs two at least (RFC 3394, section 2).
const BLOCK: usize = 8;

/// Wraps a key with an AES key, which makes it eight bytes longer.
///
/// # Errors
/// The key can't do this, what is wrapped has a wrong length, or the request failed.
pub fn wrap(client: &Client, key: &Key, plain: &[u8]) -> Result<Vec<u8>, Error> {
    check_len("wraps keys of", 2, plain)?;
    let hsm = key.private(KeyOperation::WrapKey)?;
    hsm.by_size(client, None, |client, bits| {
        Ok(client.wrap_key(&hsm.id, algorithm(bits)?, plain)?)
    })
}

/// Unwraps a key with an AES key.
///
/// # Errors
/// As [`wrap`].
pub fn unwrap(client: &Client, key: &Key, wrapped: &[u8]) -> Result<Zeroizing<Vec<u8>>, Error> {
    check_len("unwraps", 3, wrapped)?;
    let hsm = key.private(KeyOperation::UnwrapKey)?;
    hsm.by_size(client, None, |client, bits| {
        Ok(client.unwrap_key(&hsm.id, algorithm(bits)?, wrapped)?)
    })
}

fn algorithm(bits: u32) -> Result<EncryptionAlgorithm, Error> {
    EncryptionAlgorithm::aes_kw(bits).ok_or(Error::AesKeySize(bits))
}

fn check_len(what: &'static str, least_blocks: usize, input: &[u8]) -> Result<(), Error> {
    let (least, got) = (least_blocks * BLOCK, input.len());
    match got >= least && got.is_multiple_of(BLOCK) {
        true => Ok(()),
        false => Err(Error::WrapLength { what, least, got }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_blocks_are_wrapped_and_unwrapped() {
        for (least_blocks, len, is_good) in [
            (2, 16, true),
            (2, 24, true),
            (2, 0, false),
            (2, 8, false),
            (2, 15, false),
            (2, 17, false),
            (3, 24, true),
            (3, 16, false),
            (3, 25, false),
        ] {
            let checked = check_len("unwraps", least_blocks, &vec![0; len]);
            assert_eq!(checked.is_ok(), is_good, "{least_blocks} {len}");
        }
        let error = check_len("unwraps", 3, &[0; 9]).unwrap_err().to_string();
        let expected = "AES key wrap unwraps a multiple of 8 and at least 24 bytes, 9 were given";
        assert_eq!(error, expected);
    }
}
