//! The modes of AES that the HSM has. It takes a message whole.

use managed_hsm::{Client, Decryption, Encrypted, Encryption, EncryptionAlgorithm, KeyOperation};
use zeroize::Zeroizing;

use crate::error::Error;
use crate::key::Key;

/// The only length of GCM's tag that the service has, in bytes.
pub const GCM_TAG_LEN: usize = 16;
/// The length of AES' blocks, in bytes.
pub const BLOCK: usize = 16;
/// The sizes of AES' keys in bits, the usual one first.
pub const SIZES: [u32; 3] = [256, 128, 192];

/// A mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Key wrap (RFC 3394).
    Wrap,
    /// Key wrap with padding (RFC 5649).
    WrapPad,
    /// CBC, with PKCS#7 padding or without.
    Cbc,
    /// GCM, for which the HSM makes the initialisation vector.
    Gcm,
}

impl Mode {
    /// Whether it is made for keys.
    pub fn wraps(self) -> bool {
        matches!(self, Self::Wrap | Self::WrapPad)
    }

    /// The length of the initialisation vector, in bytes.
    pub fn iv_len(self) -> usize {
        match self {
            Self::Cbc => BLOCK,
            Self::Gcm => 12,
            Self::Wrap | Self::WrapPad => self.fixed_iv().len(),
        }
    }

    /// The only initial value of key wrap that the service has; other modes have none.
    pub fn fixed_iv(self) -> &'static [u8] {
        match self {
            // RFC 3394, section 2.2.3.1.
            Self::Wrap => &[0xa6; 8],
            // RFC 5649, section 3.
            Self::WrapPad => &[0xa6, 0x59, 0x59, 0xa6],
            Self::Cbc | Self::Gcm => &[],
        }
    }

    /// What a key must be permitted to do.
    pub fn operation(self, encrypting: bool) -> KeyOperation {
        match (self.wraps(), encrypting) {
            (true, true) => KeyOperation::WrapKey,
            (true, false) => KeyOperation::UnwrapKey,
            (false, true) => KeyOperation::Encrypt,
            (false, false) => KeyOperation::Decrypt,
        }
    }
}

/// A mode with a key size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cipher {
    /// The mode.
    pub mode: Mode,
    /// The key size.
    pub bits: u32,
}

/// What belongs to a message.
#[derive(Clone, Copy, Debug)]
pub struct Parameters<'a> {
    /// Whether CBC pads.
    pub padding: bool,
    /// The initialisation vector; GCM has none when encrypting.
    pub iv: Option<&'a [u8]>,
    /// Data that GCM authenticates and doesn't encrypt.
    pub aad: &'a [u8],
    /// GCM's tag, when decrypting.
    pub tag: Option<&'a [u8]>,
}

impl Cipher {
    /// The longest output for `input_len` bytes, in bytes; that of CBC without the padding.
    pub fn max_output_len(self, input_len: usize) -> usize {
        match self.mode {
            Mode::Wrap => input_len + 8,
            Mode::WrapPad => input_len.next_multiple_of(8) + 8,
            Mode::Cbc | Mode::Gcm => input_len,
        }
    }

    /// The longest output for `input_len` bytes, in bytes, when encrypting with padding, or when
    /// decrypting. None: there is no such input.
    pub fn longest_output(self, encrypting: bool, input_len: usize) -> Option<usize> {
        let algorithm = self.algorithm(true).ok()?;
        let lens = match encrypting {
            true => algorithm.ciphertext_lens(input_len),
            false => algorithm.plaintext_lens(input_len),
        };
        lens.map(|lens| *lens.end())
    }

    /// Encrypts a message, or wraps a key, in the HSM.
    ///
    /// # Errors
    /// The key has no private part, a parameter that the mode needs is missing, or the request
    /// failed.
    pub fn encrypt(
        self,
        client: &Client,
        key: &Key,
        parameters: &Parameters<'_>,
        plaintext: &[u8],
    ) -> Result<Encrypted, Error> {
        let id = key.id().ok_or(Error::MissingPrivateKey)?;
        let algorithm = self.algorithm(parameters.padding)?;
        if self.mode.wraps() {
            return Ok(Encrypted {
                ciphertext: client.wrap_key(id, algorithm, plaintext)?,
                iv: None,
                tag: None,
            });
        }
        let encryption = Encryption {
            algorithm,
            iv: match self.mode {
                Mode::Gcm => None,
                _ => Some(required_iv(parameters)?),
            },
            aad: optional(parameters.aad),
        };
        Ok(client.encrypt(id, &encryption, plaintext)?)
    }

    /// Decrypts a message, or unwraps a key, in the HSM.
    ///
    /// # Errors
    /// The key has no private part, a parameter that the mode needs is missing, or the request
    /// failed.
    pub fn decrypt(
        self,
        client: &Client,
        key: &Key,
        parameters: &Parameters<'_>,
        ciphertext: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, Error> {
        let id = key.id().ok_or(Error::MissingPrivateKey)?;
        let algorithm = self.algorithm(parameters.padding)?;
        if self.mode.wraps() {
            return Ok(client.unwrap_key(id, algorithm, ciphertext)?);
        }
        if self.mode == Mode::Gcm && parameters.tag.is_none() {
            return Err(Error::TagMissing);
        }
        let decryption = Decryption {
            algorithm,
            iv: Some(required_iv(parameters)?),
            aad: optional(parameters.aad),
            tag: parameters.tag,
        };
        Ok(client.decrypt(id, &decryption, ciphertext)?)
    }

    fn algorithm(self, padding: bool) -> Result<EncryptionAlgorithm, Error> {
        match (self.mode, padding) {
            (Mode::Wrap, _) => EncryptionAlgorithm::aes_kw(self.bits),
            (Mode::WrapPad, _) => Some(EncryptionAlgorithm::CkmAesKeyWrapPad),
            (Mode::Gcm, _) => EncryptionAlgorithm::aes_gcm(self.bits),
            (Mode::Cbc, true) => EncryptionAlgorithm::aes_cbc_pad(self.bits),
            (Mode::Cbc, false) => EncryptionAlgorithm::aes_cbc(self.bits),
        }
        .ok_or(Error::AesKeySize(self.bits))
    }
}

fn required_iv<'a>(parameters: &Parameters<'a>) -> Result<&'a [u8], Error> {
    parameters.iv.ok_or(Error::InitialisationVectorMissing)
}

fn optional(aad: &[u8]) -> Option<&[u8]> {
    Some(aad).filter(|aad| !aad.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_mode_and_size_has_its_algorithm() {
        use EncryptionAlgorithm::{
            A128CbcPad, A128Kw, A192Cbc, A192Gcm, A256Gcm, A256Kw, CkmAesKeyWrapPad,
        };
        for (mode, bits, padding, algorithm) in [
            (Mode::Wrap, 128, true, A128Kw),
            (Mode::Wrap, 256, false, A256Kw),
            (Mode::WrapPad, 192, true, CkmAesKeyWrapPad),
            (Mode::Cbc, 128, true, A128CbcPad),
            (Mode::Cbc, 192, false, A192Cbc),
            (Mode::Gcm, 192, true, A192Gcm),
            (Mode::Gcm, 256, false, A256Gcm),
        ] {
            let found = Cipher { mode, bits }.algorithm(padding).unwrap();
            assert_eq!(found, algorithm);
        }
        for mode in [Mode::Wrap, Mode::Cbc, Mode::Gcm] {
            let refused = Cipher { mode, bits: 512 }.algorithm(true);
            assert!(matches!(refused, Err(Error::AesKeySize(512))), "{mode:?}");
        }
    }

    #[test]
    fn a_length_is_one_of_the_mode_and_the_direction() {
        for (mode, encrypting, len, expected) in [
            (Mode::Wrap, true, 32, Some(40)),
            (Mode::Wrap, true, 20, None),
            (Mode::Wrap, false, 40, Some(32)),
            (Mode::WrapPad, true, 20, Some(32)),
            (Mode::WrapPad, true, 0, None),
            (Mode::WrapPad, false, 32, Some(24)),
            (Mode::Cbc, true, 32, Some(48)),
            (Mode::Gcm, false, 5, Some(5)),
        ] {
            let cipher = Cipher { mode, bits: 256 };
            assert_eq!(cipher.longest_output(encrypting, len), expected);
        }
    }

    #[test]
    fn only_wrapping_makes_longer() {
        for (mode, len, expected) in [
            (Mode::Wrap, 16, 24),
            (Mode::WrapPad, 0, 8),
            (Mode::WrapPad, 9, 24),
            (Mode::Cbc, 32, 32),
            (Mode::Gcm, 5, 5),
        ] {
            assert_eq!(Cipher { mode, bits: 256 }.max_output_len(len), expected);
        }
    }
}
