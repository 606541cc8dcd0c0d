//! What takes the place of a plaintext whose padding is wrong: RSA with the padding of PKCS#1 v1.5
//! must not tell whoever sends ciphertexts which of them are well padded (Bleichenbacher's attack).
//! The bytes look random, have a length that looks so too, and are the same whenever the ciphertext
//! comes again, in forked processes as well.

use std::sync::OnceLock;

use aws_lc_rs::hmac;
use cryptoki_sys::CKR_FUNCTION_FAILED;
use zeroize::Zeroizing;

use crate::error::Error;
use crate::random;
use crate::report;

/// Nobody outside the process knows it.
static SECRET: OnceLock<hmac::Key> = OnceLock::new();

/// Makes the secret, before there are children that have to have the same.
///
/// # Errors
/// There are no random bytes.
pub(crate) fn prepare() -> Result<(), Error> {
    if SECRET.get().is_some() {
        return Ok(());
    }
    let mut secret = Zeroizing::new([0; 32]);
    random::fill(&mut *secret)?;
    let _ = SECRET.set(hmac::Key::new(hmac::HMAC_SHA256, &*secret));
    Ok(())
}

/// The bytes for a ciphertext: `len`, or a number up to `most` that depends on the ciphertext too.
pub(crate) fn instead_of(
    key: &str,
    ciphertext: &[u8],
    len: Option<usize>,
    most: usize,
) -> Result<Zeroizing<Vec<u8>>, Error> {
    prepare()?;
    let secret = SECRET
        .get()
        .ok_or_else(|| Error::code(CKR_FUNCTION_FAILED))?;
    let block = |number: u32| {
        let mut context = hmac::Context::with_key(secret);
        context.update(&number.to_be_bytes());
        context.update(&(key.len() as u64).to_be_bytes());
        context.update(key.as_bytes());
        context.update(ciphertext);
        context.sign()
    };
    let len = len.unwrap_or_else(|| {
        let first = block(0).as_ref()[..8].try_into().unwrap_or_default();
        let range = most as u64 + 1;
        usize::try_from(u64::from_be_bytes(first) % range).unwrap_or_default()
    });
    let mut bytes = Zeroizing::new(Vec::with_capacity(len));
    for number in 1.. {
        let room = len - bytes.len();
        if room == 0 {
            break;
        }
        let block = block(number);
        bytes.extend_from_slice(&block.as_ref()[..room.min(block.as_ref().len())]);
    }
    Ok(bytes)
}

/// Tells the owner of the program, who sees no error, what the HSM has refused. Whoever sends
/// ciphertexts sees nothing of it.
pub(crate) fn tell(refusal: &hsm_keys::Error) {
    report::repeated_warning(
        "rejected ciphertexts",
        &format!(
            "{refusal}; as for a wrong padding, the program was given bytes that look random \
             (rsaPkcs1Decrypt in the configuration)"
        ),
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_ciphertext_gives_the_same_bytes_and_another_others() {
        let bytes = |key, ciphertext: &[u8], len| instead_of(key, ciphertext, len, 245).unwrap();
        assert_eq!(bytes("k", b"one", None), bytes("k", b"one", None));
        assert_ne!(bytes("k", b"one", None), bytes("l", b"one", None));
        assert_eq!(bytes("k", b"one", Some(48)).len(), 48);
        let lengths: Vec<usize> = (0..200u8).map(|n| bytes("k", &[n], None).len()).collect();
        assert!(lengths.iter().all(|len| *len <= 245));
        // Short and long ones are there.
        assert!(lengths.iter().any(|len| *len < 60) && lengths.iter().any(|len| *len > 180));
    }
}
