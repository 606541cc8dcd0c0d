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

const fn wrap(bits: usize) -> Scheme {
    let bits = Some(bits);
    Scheme::Wrap {
        bits,
        padded: false,
    }
}

const fn cbc(bits: usize, padded: bool) -> Scheme {
    Scheme::Cbc { bits, padded }
}

const ALGORITHMS: [EncryptionAlgorithm; 17] = [
    algorithm("RSA1_5", Scheme::RsaPkcs1),
    algorithm("RSA-OAEP", Scheme::RsaOaep(Hash::Sha1)),
    algorithm("RSA-OAEP-256", Scheme::RsaOaep(Hash::Sha256)),
    algorithm("A128KW", wrap(128)),
    algorithm("A192KW", wrap(192)),
    algorithm("A256KW", wrap(256)),
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

impl EncryptionAlgorithm {
    pub(crate) fn by_name(name: &str) -> Option<Self> {
        ALGORITHMS
            .into_iter()
            .find(|algorithm| algorithm.name == name)
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
            // RFC 8017, section 7.1.2, step 1. OpenSSL takes a ciphertext without its leading zeros as well.
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
    // Not `cipher_update_vec`: it makes room for what OpenSSL says a padded unwrap gives, 8 bytes less than the input, while
    // a failing one wipes as many bytes as the input has. Input and a block is what OpenSSL's manual asks for.
    let mut output = Zeroizing::new(vec![0; input.len() + 2 * MAX_BLOCK]);
    let done = context
        .cipher_update(input, Some(&mut output[..]))
        .and_then(|updated| Ok(updated + context.cipher_final(&mut output[updated..])?));
    let length = done.map_err(|_| KeyError::Input("value"))?;
    Ok(output[..length].to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        (0..text.len())
            .step_by(2)
            .map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap())
            .collect()
    }

    fn by_name(name: &str) -> EncryptionAlgorithm {
        EncryptionAlgorithm::by_name(name).unwrap()
    }

    /// RFC 3394, sections 4.1 to 4.6, and RFC 5649, section 6.
    #[test]
    fn key_wrap_gives_the_vectors_of_its_rfcs() {
        let data = "00112233445566778899AABBCCDDEEFF0001020304050607";
        let key = "000102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E1F";
        let wide = "00112233445566778899AABBCCDDEEFF000102030405060708090A0B0C0D0E0F";
        for (name, key, data, expected) in [
            (
                "A128KW",
                &key[..32],
                &data[..32],
                "1FA68B0A8112B447AEF34BD8FB5A7B829D3E862371D2CFE5",
            ),
            (
                "A192KW",
                &key[..48],
                &data[..32],
                "96778B25AE6CA435F92B5B97C050AED2468AB8A17AD84E5D",
            ),
            (
                "A256KW",
                key,
                &data[..32],
                "64E8C3F9CE0F5BA263E9777905818A2A93C8191E7D6E8AE7",
            ),
            (
                "A192KW",
                &key[..48],
                data,
                "031D33264E15D33268F24EC260743EDCE1C6C7DDEE725A936BA814915C6762D2",
            ),
            (
                "A256KW",
                key,
                data,
                "A8F9BC1612C68B3FF6E6F4FBE30E71E4769C8B80A32CB8958CD5D17D6B254DA1",
            ),
            (
                "A256KW",
                key,
                wide,
                "28C9F404C4B810F4CBCCB35CFB87F8263F5786E2D80ED326CBC7F0E71A99F43BFB988B9B7A02DD21",
            ),
            (
                "CKM_AES_KEY_WRAP_PAD",
                "5840df6e29b02af1ab493b705bf16ea1ae8338f4dcc176a8",
                "466f7250617369",
                "afbeb0f07dfbf5419200f2ccb50bb24f",
            ),
            (
                "CKM_AES_KEY_WRAP_PAD",
                "5840df6e29b02af1ab493b705bf16ea1ae8338f4dcc176a8",
                "c37b7e6492584340bed12207808941155068f738",
                "138bdeaa9b8fa7fc61f97742e72248ee5ae6ae5360d1ae6a5f54f373fa543b6a",
            ),
            (
                "CKM_AES_KEY_WRAP",
                &key[..32],
                &data[..32],
                "1FA68B0A8112B447AEF34BD8FB5A7B829D3E862371D2CFE5",
            ),
        ] {
            let material = KeyMaterial::from_oct(hex(key).into());
            let wrapped = encrypt(&material, by_name(name), &hex(data), None, None).unwrap();
            assert_eq!(wrapped.value, hex(expected), "{name}");
            assert_eq!(
                *decrypt(&material, by_name(name), wrapped.clone()).unwrap(),
                hex(data)
            );
            let mut changed = wrapped;
            changed.value[3] ^= 1;
            assert!(matches!(
                decrypt(&material, by_name(name), changed),
                Err(KeyError::Input("value"))
            ));
        }
    }

    /// NIST SP 800-38A, sections F.2.1 to F.2.6: the first two blocks.
    #[test]
    fn cbc_gives_the_vectors_of_nist() {
        let iv = hex("000102030405060708090a0b0c0d0e0f");
        let plaintext = hex("6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51");
        for (name, key, expected) in [
            (
                "A128CBC",
                "2b7e151628aed2a6abf7158809cf4f3c",
                "7649abac8119b246cee98e9b12e9197d5086cb9b507219ee95db113a917678b2",
            ),
            (
                "A192CBC",
                "8e73b0f7da0e6452c810f32b809079e562f8ead2522c6b7b",
                "4f021db243bc633d7178183a9fa071e8b4d9ada9ad7dedf4e5e738763f69145a",
            ),
            (
                "A256CBC",
                "603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4",
                "f58c4c04d6e5f1ba779eabfb5f7bfbd69cfc4e967edb808d679f777bc6702c7d",
            ),
        ] {
            let key = KeyMaterial::from_oct(hex(key).into());
            let iv = Some(iv.clone());
            let encrypted = encrypt(&key, by_name(name), &plaintext, iv.clone(), None).unwrap();
            assert_eq!(encrypted.value, hex(expected), "{name}");
            let decrypted = decrypt(&key, by_name(name), encrypted).unwrap();
            assert_eq!(*decrypted, plaintext, "{name}");
            // Padded, the same blocks are followed by one of padding.
            let padded = by_name(&format!("{name}PAD"));
            let padded = encrypt(&key, padded, &plaintext, iv, None).unwrap();
            assert_eq!(padded.value[..32], hex(expected), "{name}PAD");
            assert_eq!(padded.value.len(), 48);
        }
    }

    /// Test cases 4, 10 and 16 of the GCM specification that was submitted to NIST.
    #[test]
    fn gcm_opens_the_vectors_of_its_specification() {
        let key = "feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308";
        let plaintext = "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39";
        for (name, key, value, tag) in [
            (
                "A128GCM",
                &key[..32],
                "42831ec2217774244b7221b784d0d49ce3aa212f2c02a4e035c17e2329aca12e21d514b25466931c7d8f6a5aac84aa051ba30b396a0aac973d58e091",
                "5bc94fbc3221a5db94fae95ae7121a47",
            ),
            (
                "A192GCM",
                &key[..48],
                "3980ca0b3c00e841eb06fac4872a2757859e1ceaa6efd984628593b40ca1e19c7d773d00c144c525ac619d18c84a3f4718e2448b2fe324d9ccda2710",
                "2519498e80f1478f37ba55bd6d27618c",
            ),
            (
                "A256GCM",
                key,
                "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662",
                "76fc6ece0f4e1768cddf8853bb2d551b",
            ),
        ] {
            let material = KeyMaterial::from_oct(hex(key).into());
            let ciphertext = Ciphertext {
                value: hex(value),
                iv: Some(hex("cafebabefacedbaddecaf888")),
                aad: Some(hex("feedfacedeadbeeffeedfacedeadbeefabaddad2")),
                tag: Some(hex(tag)),
            };
            let opened = decrypt(&material, by_name(name), ciphertext.clone()).unwrap();
            assert_eq!(*opened, hex(plaintext), "{name}");
            let other_aad = Ciphertext {
                aad: None,
                ..ciphertext
            };
            assert!(decrypt(&material, by_name(name), other_aad).is_err());
        }
    }

    #[test]
    fn every_algorithm_round_trips_with_its_key_and_refuses_others() {
        let keys = [
            KeyMaterial::generate_rsa(2048, 65537).unwrap(),
            KeyMaterial::generate_ec(crate::keys::Curve::P256).unwrap(),
            KeyMaterial::generate_oct(128).unwrap(),
            KeyMaterial::generate_oct(192).unwrap(),
            KeyMaterial::generate_oct(256).unwrap(),
        ];
        for algorithm in ALGORITHMS {
            let plaintext = [7; 32];
            let mut fitting = 0;
            for key in &keys {
                let iv = Some(vec![1; 16]);
                let aad = Some(b"aad".to_vec());
                let encrypted = match encrypt(key, algorithm, &plaintext, iv, aad) {
                    Ok(encrypted) => encrypted,
                    Err(KeyError::Incompatible) => continue,
                    Err(error) => panic!("{}: {error}", algorithm.name),
                };
                fitting += 1;
                assert_ne!(encrypted.value, plaintext);
                assert_eq!(*decrypt(key, algorithm, encrypted).unwrap(), plaintext);
            }
            let expected = match algorithm.scheme {
                Scheme::Wrap { bits: None, .. } => 3,
                _ => 1,
            };
            assert_eq!(fitting, expected, "{}", algorithm.name);
        }
    }

    #[test]
    fn rsa_ciphertexts_keep_their_leading_zeros() {
        let key = KeyMaterial::generate_rsa(2048, 65537).unwrap();
        for name in ["RSA1_5", "RSA-OAEP", "RSA-OAEP-256"] {
            let sealed = std::iter::repeat_with(|| {
                encrypt(&key, by_name(name), b"sealed", None, None).unwrap()
            })
            .find(|sealed| sealed.value[0] == 0)
            .expect("one of 256");
            let with = |value: Vec<u8>| Ciphertext {
                value,
                ..Ciphertext::default()
            };
            for value in [
                sealed.value[1..].to_vec(),
                [&[0], &sealed.value[..]].concat(),
            ] {
                assert!(matches!(
                    decrypt(&key, by_name(name), with(value)),
                    Err(KeyError::Input("value"))
                ));
            }
            assert_eq!(*decrypt(&key, by_name(name), sealed).unwrap(), b"sealed");
        }
    }

    /// Under valgrind this shows whether a failing unwrap stays within its buffer.
    #[test]
    fn what_is_no_wrapped_key_is_refused_at_every_length() {
        let key = KeyMaterial::generate_oct(256).unwrap();
        for name in ["A256KW", "CKM_AES_KEY_WRAP", "CKM_AES_KEY_WRAP_PAD"] {
            for length in 0..80 {
                let ciphertext = Ciphertext {
                    value: vec![0xa5; length],
                    ..Ciphertext::default()
                };
                let refused = decrypt(&key, by_name(name), ciphertext);
                assert!(
                    matches!(refused, Err(KeyError::Input("value"))),
                    "{name}, {length} bytes"
                );
            }
        }
    }

    #[test]
    fn inputs_that_do_not_fit_are_named() {
        let key = KeyMaterial::generate_oct(256).unwrap();
        let failure = |name, value: &[u8], iv| match encrypt(&key, by_name(name), value, iv, None) {
            Err(KeyError::Input(member)) => member,
            other => panic!("{other:?}"),
        };
        assert_eq!(failure("A256CBC", &[0; 15], Some(vec![0; 16])), "value");
        assert_eq!(failure("A256CBC", &[0; 16], None), "iv");
        assert_eq!(failure("A256CBCPAD", &[0; 16], Some(vec![0; 12])), "iv");
        assert_eq!(failure("A256KW", &[0; 12], None), "value");
        let sealed = encrypt(&key, by_name("A256GCM"), b"x", None, None).unwrap();
        let untagged = Ciphertext {
            tag: None,
            ..sealed.clone()
        };
        let forged = Ciphertext {
            value: vec![0],
            ..sealed
        };
        for ciphertext in [untagged, forged] {
            assert!(matches!(
                decrypt(&key, by_name("A256GCM"), ciphertext),
                Err(KeyError::Input("tag"))
            ));
        }
    }
}
