//! PSS, for whatever hash functions and salt length (RFC 8017, section 9.1).

use crate::digest::Digest;

/// EMSA-PSS-VERIFY of RFC 8017, section 9.1.2, with `bits` the length of the encoded message in
/// bits.
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

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(name: &str) -> &'static Digest {
        Digest::by_name(name).unwrap()
    }

    /// EMSA-PSS-ENCODE of RFC 8017, section 9.1.1, with `len` bytes of the key.
    fn encode(bits: usize, len: usize, hash: &Digest, mgf1: &Digest, salt: &[u8]) -> Vec<u8> {
        let encoded_len = bits.div_ceil(8);
        let h = hash.of(&[&[0; 8], &*hash.of(b"abc"), salt].concat());
        let mut db = vec![0; encoded_len - hash.len - salt.len() - 2];
        db.push(1);
        db.extend_from_slice(salt);
        let mask = mgf1_mask(mgf1, &h, db.len());
        db.iter_mut()
            .zip(mask)
            .for_each(|(byte, mask)| *byte ^= mask);
        db[0] &= 0xff >> (8 * encoded_len - bits);
        let mut block = vec![0; len - encoded_len];
        block.extend_from_slice(&db);
        block.extend_from_slice(&h);
        block.push(0xbc);
        block
    }

    #[test]
    fn a_block_of_every_length_is_consistent_and_damage_anywhere_is_seen() {
        let (hash, mgf1) = (digest("SHA256"), digest("SHA1"));
        let value = hash.of(b"abc");
        for modulus_bits in 1024..1041_usize {
            let (bits, len) = (modulus_bits - 1, modulus_bits.div_ceil(8));
            for salt_len in [0, 20, 32] {
                let block = encode(bits, len, hash, mgf1, &vec![7; salt_len]);
                let is_good =
                    |block: &[u8], salt| is_consistent(block, bits, hash, mgf1, salt, &value);
                assert!(is_good(&block, None), "{modulus_bits} {salt_len}");
                assert!(is_good(&block, Some(salt_len)));
                assert!(!is_good(&block, Some(salt_len + 1)));
                for at in 0..len {
                    let mut damaged = block.clone();
                    damaged[at] ^= 0x80;
                    assert!(!is_good(&damaged, None), "{modulus_bits} {salt_len} {at}");
                }
            }
        }
    }

    #[test]
    fn a_block_of_other_hash_functions_or_too_short_a_one_is_refused() {
        let (sha256, sha1) = (digest("SHA256"), digest("SHA1"));
        let block = encode(1023, 128, sha256, sha256, &[1; 32]);
        let value = sha256.of(b"abc");
        assert!(is_consistent(&block, 1023, sha256, sha256, None, &value));
        assert!(!is_consistent(&block, 1023, sha256, sha1, None, &value));
        let other = sha256.of(b"abd");
        assert!(!is_consistent(&block, 1023, sha256, sha256, None, &other));
        let sha512 = digest("SHA512");
        let value = sha512.of(b"abc");
        let short = [0xbc; 64];
        assert!(!is_consistent(&short, 511, sha512, sha512, None, &value));
    }
}
