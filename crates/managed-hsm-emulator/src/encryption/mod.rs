//! Encryption, decryption and key wrap with a key's secret.

use openssl::cipher::{Cipher, CipherRef};
use openssl::cipher_ctx::{CipherCtx, CipherCtxFlags};
use openssl::encrypt::{Decrypter, Encrypter};
use openssl::hash::MessageDigest;
use openssl::rand::rand_bytes;
use openssl::rsa::Padding;

use zeroize::Zeroizing;

use crate::keys::{KeyError, KeyMaterial, Secret};

/// Bytes of the initialisation vector and of the tag of AES-GCM, as the service has them.
const GCM_IV: usize = 12;
const GCM_TAG: usize = 16;
/// Bytes of the block of every cipher here, at most.
const MAX_BLOCK: usize = 16;
/// Bytes of the initialisation vector of AES-CBC.
const CBC_IV: usize = 16;

/// An algorithm of encrypt and decrypt, or of wrapkey and unwrapkey, or of both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct EncryptionAlgorithm {
    pub(crate) name: &'static str,
    scheme: Scheme,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scheme {
    RsaPkcs1,
    /// MGF1 with the same hash, no label.
    RsaOaep(Hash),
    /// RFC 3394, or RFC 5649 if padded. None: a key of any size.
    Wrap {
        bits: Option<usize>,
        padded: bool,
    },
    Gcm {
        bits: usize,
    },
    /// PKCS#7 if padded.
    Cbc {
        bits: usize,
        padded: bool,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hash {
    Sha1,
    Sha256,
}

const fn algorithm(name: &'static str, scheme: Scheme) -> EncryptionAlgorithm {
    EncryptionAlgorithm { name, scheme }
}

const fn wrap(bits: usize, padded: bool) -> Scheme {
    let bits = Some(bits);
    Scheme::Wrap { bits, padded }
}

const fn cbc(bits: usize, padded: bool) -> Scheme {
    Scheme::Cbc { bits, padded }
}

const ALGORITHMS: [EncryptionAlgorithm; 17] = [
    algorithm("RSA1_5", Scheme::RsaPkcs1),
    algorithm("RSA-OAEP", Scheme::RsaOaep(Hash::Sha1)),
    algorithm("RSA-OAEP-256", Scheme::RsaOaep(Hash::Sha256)),
    algorithm("A128KW", wrap(128, false)),
    algorithm("A192KW", wrap(192, false)),
    algorithm("A256KW", wrap(256, false)),
    algorithm(
        "CKM_AES_KEY_WRAP",
        Scheme::Wrap {
            bits: None,
            padded: false,
        },
    ),
    algorithm(
        "CKM_AES_KEY_WRAP_PAD",
        Scheme::Wrap {
            bits: None,
            padded: true,
        },
    ),
    algorithm("A128GCM", Scheme::Gcm { bits: 128 }),
    algorithm("A192GCM", Scheme::Gcm { bits: 192 }),
    algorithm("A256GCM", Scheme::Gcm { bits: 256 }),
    algorithm("A128CBC", cbc(128, false)),
    algorithm("A192CBC", cbc(192, false)),
    algorithm("A256CBC", cbc(256, false)),
    algorithm("A128CBCPAD", cbc(128, true)),
    algorithm("A192CBCPAD", cbc(192, true)),
    algorithm("A256CBCPAD", cbc(256, true)),
];

/// Those that only secure wrap and unwrap have.
const SECURE_WRAP_ONLY: [EncryptionAlgorithm; 3] = [
    algorithm("A128KWPAD", wrap(128, true)),
    algorithm("A192KWPAD", wrap(192, true)),
    algorithm("A256KWPAD", wrap(256, true)),
];

impl EncryptionAlgorithm {
    /// An algorithm of secure wrap and unwrap.
    pub(crate) fn of_secure_wrap(name: &str) -> Option<Self> {
        let mut own = SECURE_WRAP_ONLY.into_iter();
        let own = own.find(|algorithm| algorithm.name == name);
        own.or_else(|| {
            Self::by_name(name).filter(|algorithm| {
                matches!(
                    algorithm.scheme,
                    Scheme::Wrap { .. } | Scheme::RsaOaep(Hash::Sha256)
                )
            })
        })
    }

    pub(crate) fn by_name(name: &str) -> Option<Self> {
        ALGORITHMS
            .into_iter()
            .find(|algorithm| algorithm.name == name)
    }

    /// Whether it is one of symmetric keys.
    pub(crate) fn is_symmetric(self) -> bool {
        !matches!(self.scheme, Scheme::RsaPkcs1 | Scheme::RsaOaep(_))
    }

    /// Whether it goes by the name of a mechanism of PKCS#11, and takes a key of any size.
    pub(crate) fn is_mechanism(self) -> bool {
        matches!(self.scheme, Scheme::Wrap { bits: None, .. })
    }

    /// Whether it is one of encrypt and decrypt.
    pub(crate) fn encrypts(self) -> bool {
        !matches!(self.scheme, Scheme::Wrap { .. })
    }

    /// Whether it is one of wrapkey and unwrapkey.
    pub(crate) fn wraps(self) -> bool {
        !matches!(self.scheme, Scheme::Gcm { .. } | Scheme::Cbc { .. })
    }
}

/// What goes into decryption, and comes out of encryption.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Ciphertext {
    pub(crate) value: Vec<u8>,
    pub(crate) iv: Option<Vec<u8>>,
    pub(crate) aad: Option<Vec<u8>>,
    pub(crate) tag: Option<Vec<u8>>,
}

/// Encrypts or wraps. AES-GCM makes its own initialisation vector, AES-CBC takes the caller's.
pub(crate) fn encrypt(
    key: &KeyMaterial,
    algorithm: EncryptionAlgorithm,
    plaintext: &[u8],
    iv: Option<Vec<u8>>,
    aad: Option<Vec<u8>>,
) -> Result<Ciphertext, KeyError> {
    match (key.secret(), algorithm.scheme) {
        (Secret::Rsa(key), scheme @ (Scheme::RsaPkcs1 | Scheme::RsaOaep(_))) => {
            let mut encrypter = Encrypter::new(key)?;
            match scheme {
                Scheme::RsaOaep(hash) => {
                    encrypter.set_rsa_padding(Padding::PKCS1_OAEP)?;
                    encrypter.set_rsa_oaep_md(digest(hash))?;
                    encrypter.set_rsa_mgf1_md(digest(hash))?;
                }
                _ => encrypter.set_rsa_padding(Padding::PKCS1)?,
            }
            let mut value = vec![0; encrypter.encrypt_len(plaintext)?];
            let len = encrypter
                .encrypt(plaintext, &mut value)
                .map_err(|_| KeyError::Input("value"))?;
            value.truncate(len);
            Ok(Ciphertext {
                value,
                ..Ciphertext::default()
            })
        }
        (Secret::Oct(key), Scheme::Wrap { bits, padded }) => {
            fits(key, bits)?;
            let value = wrapping(key, padded, Direction::Encrypt, plaintext)?;
            Ok(Ciphertext {
                value,
                ..Ciphertext::default()
            })
        }
        (Secret::Oct(key), Scheme::Gcm { bits }) => {
            fits(key, Some(bits))?;
            let mut iv = vec![0; GCM_IV];
            rand_bytes(&mut iv)?;
            let mut context = CipherCtx::new()?;
            context.encrypt_init(Some(gcm(bits)), Some(key), Some(&iv))?;
            if let Some(aad) = &aad {
                context.cipher_update(aad, None)?;
            }
            let mut value = Vec::new();
            context.cipher_update_vec(plaintext, &mut value)?;
            context.cipher_final_vec(&mut value)?;
            let mut tag = vec![0; GCM_TAG];
            context.tag(&mut tag)?;
            Ok(Ciphertext {
                value,
                iv: Some(iv),
                aad,
                tag: Some(tag),
            })
        }
        (Secret::Oct(key), Scheme::Cbc { bits, padded }) => {
            fits(key, Some(bits))?;
            let iv = cbc_iv(iv)?;
            let value = chaining(key, bits, padded, Direction::Encrypt, plaintext, &iv)?;
            Ok(Ciphertext {
                value,
                iv: Some(iv),
                ..Ciphertext::default()
            })
        }
        _ => Err(KeyError::Incompatible),
    }
}

/// Decrypts or unwraps.
pub(crate) fn decrypt(
    key: &KeyMaterial,
    algorithm: EncryptionAlgorithm,
    ciphertext: Ciphertext,
) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    let value = ciphertext.value.as_slice();
    let plaintext = match (key.secret(), algorithm.scheme) {
        (Secret::Rsa(key), scheme @ (Scheme::RsaPkcs1 | Scheme::RsaOaep(_))) => {
            // RFC 8017, section 7.1.2, step 1. OpenSSL takes a ciphertext without its leading zeros
            // as well.
            if value.len() != key.size() {
                return Err(KeyError::Input("value"));
            }
            let mut decrypter = Decrypter::new(key)?;
            match scheme {
                Scheme::RsaOaep(hash) => {
                    decrypter.set_rsa_padding(Padding::PKCS1_OAEP)?;
                    decrypter.set_rsa_oaep_md(digest(hash))?;
                    decrypter.set_rsa_mgf1_md(digest(hash))?;
                }
                _ => decrypter.set_rsa_padding(Padding::PKCS1)?,
            }
            let mut plaintext = vec![0; decrypter.decrypt_len(value)?];
            let len = decrypter
                .decrypt(value, &mut plaintext)
                .map_err(|_| KeyError::Input("value"))?;
            plaintext.truncate(len);
            Ok(plaintext)
        }
        (Secret::Oct(key), Scheme::Wrap { bits, padded }) => {
            fits(key, bits)?;
            wrapping(key, padded, Direction::Decrypt, value)
        }
        (Secret::Oct(key), Scheme::Gcm { bits }) => {
            fits(key, Some(bits))?;
            let iv = ciphertext.iv.filter(|iv| iv.len() == GCM_IV);
            let iv = iv.ok_or(KeyError::Input("iv"))?;
            let tag = ciphertext.tag.filter(|tag| tag.len() == GCM_TAG);
            let tag = tag.ok_or(KeyError::Input("tag"))?;
            let mut context = CipherCtx::new()?;
            context.decrypt_init(Some(gcm(bits)), Some(key), Some(&iv))?;
            if let Some(aad) = &ciphertext.aad {
                context.cipher_update(aad, None)?;
            }
            let mut plaintext = Vec::new();
            context.cipher_update_vec(value, &mut plaintext)?;
            context.set_tag(&tag)?;
            let finished = context.cipher_final_vec(&mut plaintext);
            finished.map_err(|_| KeyError::Input("tag"))?;
            Ok(plaintext)
        }
        (Secret::Oct(key), Scheme::Cbc { bits, padded }) => {
            fits(key, Some(bits))?;
            let iv = cbc_iv(ciphertext.iv)?;
            chaining(key, bits, padded, Direction::Decrypt, value, &iv)
        }
        _ => Err(KeyError::Incompatible),
    };
    plaintext.map(Zeroizing::new)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Direction {
    Encrypt,
    Decrypt,
}

fn fits(key: &[u8], bits: Option<usize>) -> Result<(), KeyError> {
    match bits {
        Some(bits) if key.len() * 8 != bits => Err(KeyError::Incompatible),
        // One for HMAC may have any size.
        None if ![16, 24, 32].contains(&key.len()) => Err(KeyError::Incompatible),
        _ => Ok(()),
    }
}

fn digest(hash: Hash) -> MessageDigest {
    match hash {
        Hash::Sha1 => MessageDigest::sha1(),
        Hash::Sha256 => MessageDigest::sha256(),
    }
}

fn gcm(bits: usize) -> &'static CipherRef {
    match bits {
        128 => Cipher::aes_128_gcm(),
        192 => Cipher::aes_192_gcm(),
        _ => Cipher::aes_256_gcm(),
    }
}

fn cbc_iv(iv: Option<Vec<u8>>) -> Result<Vec<u8>, KeyError> {
    iv.filter(|iv| iv.len() == CBC_IV)
        .ok_or(KeyError::Input("iv"))
}

fn chaining(
    key: &[u8],
    bits: usize,
    padded: bool,
    direction: Direction,
    input: &[u8],
    iv: &[u8],
) -> Result<Vec<u8>, KeyError> {
    let cipher = match bits {
        128 => Cipher::aes_128_cbc(),
        192 => Cipher::aes_192_cbc(),
        _ => Cipher::aes_256_cbc(),
    };
    let mut context = CipherCtx::new()?;
    match direction {
        Direction::Encrypt => context.encrypt_init(Some(cipher), Some(key), Some(iv))?,
        Direction::Decrypt => context.decrypt_init(Some(cipher), Some(key), Some(iv))?,
    }
    context.set_padding(padded);
    finish(&mut context, input)
}

fn wrapping(
    key: &[u8],
    padded: bool,
    direction: Direction,
    input: &[u8],
) -> Result<Vec<u8>, KeyError> {
    // OpenSSL makes nothing of nothing.
    if input.is_empty() {
        return Err(KeyError::Input("value"));
    }
    let bits = key.len() * 8;
    let suffix = if padded { "-PAD" } else { "" };
    let cipher = Cipher::fetch(None, &format!("AES-{bits}-WRAP{suffix}"), None)?;
    let mut context = CipherCtx::new()?;
    context.set_flags(CipherCtxFlags::FLAG_WRAP_ALLOW);
    match direction {
        Direction::Encrypt => context.encrypt_init(Some(&cipher), Some(key), None)?,
        Direction::Decrypt => context.decrypt_init(Some(&cipher), Some(key), None)?,
    }
    finish(&mut context, input)
}

/// The input's length or contents are all that can be wrong here.
fn finish(context: &mut CipherCtx, input: &[u8]) -> Result<Vec<u8>, KeyError> {
    // Not `cipher_update_vec`: it makes room for what OpenSSL says a padded unwrap gives, 8 bytes
    // less than the input, while a failing one wipes as many bytes as the input has. Input and a
    // block is what OpenSSL's manual asks for.
    let mut output = Zeroizing::new(vec![0; input.len() + 2 * MAX_BLOCK]);
    let done = context
        .cipher_update(input, Some(&mut output[..]))
        .and_then(|updated| Ok(updated + context.cipher_final(&mut output[updated..])?));
    let length = done.map_err(|_| KeyError::Input("value"))?;
    Ok(output[..length].to_vec())
}

#[cfg(test)]
mod tests;
