//! How long what the HSM makes of an input has to be, as far as the algorithm alone tells it:
//! whoever asks has room for that, and an answer of another length is none.

use std::ops::RangeInclusive;

use crate::algorithm::EncryptionAlgorithm;
use crate::encryption::Encrypted;

const BLOCK: usize = 16;
const WRAP_BLOCK: usize = 8;
const GCM_IV_LEN: usize = 12;
const GCM_TAG_LEN: usize = 16;

impl EncryptionAlgorithm {
    /// How long the ciphertext of a plaintext of `len` bytes can be, or the wrapped key of a key.
    /// None: there is no such plaintext. RSA's depends on the key.
    pub fn ciphertext_lens(self, len: usize) -> Option<RangeInclusive<usize>> {
        let exactly = |len| len..=len;
        match Mode::of(self) {
            Mode::Rsa => Some(0..=usize::MAX),
            Mode::Gcm => Some(exactly(len)),
            Mode::Cbc => len.is_multiple_of(BLOCK).then(|| exactly(len)),
            Mode::CbcPad => Some(exactly((len / BLOCK + 1) * BLOCK)),
            // RFC 3394, section 2: two blocks at least.
            Mode::Wrap => (len >= 2 * WRAP_BLOCK && len.is_multiple_of(WRAP_BLOCK))
                .then(|| exactly(len + WRAP_BLOCK)),
            // RFC 5649, section 3: one byte at least.
            Mode::WrapPad => {
                (len > 0).then(|| exactly(len.next_multiple_of(WRAP_BLOCK) + WRAP_BLOCK))
            }
        }
    }

    /// How long the plaintext of a ciphertext of `len` bytes can be, or the key of a wrapped one.
    /// None: there is no such ciphertext. RSA's depends on the key.
    pub fn plaintext_lens(self, len: usize) -> Option<RangeInclusive<usize>> {
        let is_whole = |block: usize, least: usize| len >= least && len.is_multiple_of(block);
        match Mode::of(self) {
            Mode::Rsa => Some(0..=usize::MAX),
            Mode::Gcm => Some(len..=len),
            Mode::Cbc => is_whole(BLOCK, 0).then_some(len..=len),
            Mode::CbcPad => is_whole(BLOCK, BLOCK).then(|| len - BLOCK..=len - 1),
            Mode::Wrap => {
                is_whole(WRAP_BLOCK, 3 * WRAP_BLOCK).then(|| len - WRAP_BLOCK..=len - WRAP_BLOCK)
            }
            Mode::WrapPad => is_whole(WRAP_BLOCK, 2 * WRAP_BLOCK)
                .then(|| len - 2 * WRAP_BLOCK + 1..=len - WRAP_BLOCK),
        }
    }

    /// Refuses what can't be the ciphertext of a plaintext of `len` bytes.
    pub(crate) fn check_ciphertext(self, len: usize, ciphertext: &[u8]) -> Result<(), String> {
        check(self.ciphertext_lens(len), ciphertext)
    }

    /// Refuses what can't be the plaintext of a ciphertext of `len` bytes.
    pub(crate) fn check_plaintext(self, len: usize, plaintext: &[u8]) -> Result<(), String> {
        check(self.plaintext_lens(len), plaintext)
    }

    /// Refuses what nobody could decrypt, too.
    pub(crate) fn check_encrypted(self, len: usize, encrypted: &Encrypted) -> Result<(), String> {
        self.check_ciphertext(len, &encrypted.ciphertext)?;
        let len_of = |bytes: &Option<Vec<u8>>| bytes.as_ref().map_or(0, Vec::len);
        let (iv_len, tag_len) = (len_of(&encrypted.iv), len_of(&encrypted.tag));
        match Mode::of(self) {
            Mode::Gcm if (iv_len, tag_len) != (GCM_IV_LEN, GCM_TAG_LEN) => Err(format!(
                "its initialisation vector has {iv_len} bytes and its tag {tag_len}, instead of \
                 {GCM_IV_LEN} and {GCM_TAG_LEN}"
            )),
            _ => Ok(()),
        }
    }
}

fn check(lens: Option<RangeInclusive<usize>>, value: &[u8]) -> Result<(), String> {
    let got = value.len();
    match lens {
        Some(lens) if lens.contains(&got) => Ok(()),
        Some(lens) if lens.start() == lens.end() => Err(format!(
            "its value has {got} bytes instead of {}",
            lens.end()
        )),
        Some(lens) => Err(format!(
            "its value has {got} bytes instead of {} to {}",
            lens.start(),
            lens.end()
        )),
        None => Err(format!(
            "its value has {got} bytes, and nothing can be made of an input of that length"
        )),
    }
}

/// The algorithms without the keys' sizes, on which no length depends.
enum Mode {
    Rsa,
    Gcm,
    Cbc,
    CbcPad,
    Wrap,
    WrapPad,
}

impl Mode {
    const fn of(algorithm: EncryptionAlgorithm) -> Self {
        use EncryptionAlgorithm as E;
        match algorithm {
            E::Rsa1_5 | E::RsaOaep | E::RsaOaep256 => Self::Rsa,
            E::A128Gcm | E::A192Gcm | E::A256Gcm => Self::Gcm,
            E::A128Cbc | E::A192Cbc | E::A256Cbc => Self::Cbc,
            E::A128CbcPad | E::A192CbcPad | E::A256CbcPad => Self::CbcPad,
            E::A128Kw | E::A192Kw | E::A256Kw => Self::Wrap,
            E::CkmAesKeyWrapPad => Self::WrapPad,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use EncryptionAlgorithm::{A128Cbc, A192CbcPad, A256Gcm, A256Kw, CkmAesKeyWrapPad, RsaOaep};

    #[test]
    fn each_plaintext_has_one_length_of_ciphertext_which_leads_back_to_it() {
        for (algorithm, plaintext, ciphertext) in [
            (A128Cbc, 0, Some(0)),
            (A128Cbc, 32, Some(32)),
            (A128Cbc, 33, None),
            (A192CbcPad, 0, Some(16)),
            (A192CbcPad, 15, Some(16)),
            (A192CbcPad, 16, Some(32)),
            (A256Gcm, 5, Some(5)),
            (A256Kw, 8, None),
            (A256Kw, 16, Some(24)),
            (A256Kw, 20, None),
            (CkmAesKeyWrapPad, 0, None),
            (CkmAesKeyWrapPad, 1, Some(16)),
            (CkmAesKeyWrapPad, 8, Some(16)),
            (CkmAesKeyWrapPad, 9, Some(24)),
        ] {
            let lens = algorithm.ciphertext_lens(plaintext);
            assert_eq!(
                lens,
                ciphertext.map(|len| len..=len),
                "{algorithm} {plaintext}"
            );
            if let Some(len) = ciphertext {
                let back = algorithm.plaintext_lens(len);
                assert!(
                    back.is_some_and(|lens| lens.contains(&plaintext)),
                    "{algorithm}"
                );
            }
        }
        assert!(
            RsaOaep
                .ciphertext_lens(7)
                .is_some_and(|lens| lens.contains(&256))
        );
    }

    #[test]
    fn a_ciphertext_has_the_plaintexts_that_its_mode_can_have_encrypted() {
        for (algorithm, ciphertext, plaintext) in [
            (A128Cbc, 17, None),
            (A128Cbc, 32, Some(32..=32)),
            (A192CbcPad, 0, None),
            (A192CbcPad, 17, None),
            (A192CbcPad, 32, Some(16..=31)),
            (A256Gcm, 3, Some(3..=3)),
            (A256Kw, 16, None),
            (A256Kw, 25, None),
            (A256Kw, 40, Some(32..=32)),
            (CkmAesKeyWrapPad, 8, None),
            (CkmAesKeyWrapPad, 16, Some(1..=8)),
            (CkmAesKeyWrapPad, 17, None),
            (CkmAesKeyWrapPad, 40, Some(25..=32)),
        ] {
            assert_eq!(
                algorithm.plaintext_lens(ciphertext),
                plaintext,
                "{algorithm}"
            );
        }
    }
}
