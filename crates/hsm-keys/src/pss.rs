//! PSS, for whatever hash functions and salt length (RFC 8017, section 9.1).

use crate::digest::Digest;

/// EMSA-PSS-VERIFY of RFC 8017, section 9.1.2, with `bits` the length of the encoded message in bits.
pub(crate) fn is_consistent(
    encoded: &[u8],
    bits: usize,
    hash: &Digest,
    mgf1: &Digest,
    salt_len: Option<usize>,
    digest: &[u8],
) -> bool {
    let len = bits.div_ceil(8);
    let (leading, encoded) = encoded.split_at(encoded.len() - len);
    if leading.iter().any(|&byte| byte != 0) || len < hash.len + 2 || encoded[len - 1] != 0xbc {
        return false;
    }
    let (masked, rest) = encoded.split_at(len - hash.len - 1);
    let h = &rest[..hash.len];
    let unused = 8 * len - bits;
    let top_mask = 0xffu8.checked_shr(unused as u32).unwrap_or(0);
    if masked[0] & !top_mask != 0 {
        return false;
    }
    let mut db: Vec<u8> = masked
        .iter()
        .zip(mgf1_mask(mgf1, h, masked.len()))
        .map(|(a, b)| a ^ b)
        .collect();
    db[0] &= top_mask;
    let Some(one) = db.iter().position(|&byte| byte != 0) else {
        return false;
    };
    let salt = &db[one + 1..];
    if db[one] != 1 || salt_len.is_some_and(|len| len != salt.len()) {
        return false;
    }
    let expected = hash.of(&[&[0; 8], digest, salt].concat());
    *expected == *h
}

/// MGF1 of RFC 8017, appendix B.2.1.
fn mgf1_mask(hash: &Digest, seed: &[u8], len: usize) -> Vec<u8> {
    let mut mask = Vec::with_capacity(len + hash.len);
    for counter in 0u32.. {
        if mask.len() >= len {
            break;
        }
        mask.extend_from_slice(&hash.of(&[seed, &counter.to_be_bytes()].concat()));
    }
    mask.truncate(len);
    mask
}
