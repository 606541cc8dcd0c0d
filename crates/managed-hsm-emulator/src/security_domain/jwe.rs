//! JSON Web Encryption in its compact form (RFC 7516), with `A256CBC-HS512` (RFC 7518, section
//! 5.2.5): to an RSA key, or with a key that both sides have.

use openssl::encrypt::{Decrypter, Encrypter};
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::pkey::{PKey, PKeyRef, Private, Public};
use openssl::rand::rand_bytes;
use openssl::rsa::Padding;
use openssl::sign::Signer;
use openssl::symm::{self, Cipher};
use serde_json::json;
use zeroize::Zeroizing;

use crate::algorithm::{decode_base64url, encode_base64url};

/// Bytes of the key: one half authenticates, the other encrypts.
const KEY: usize = 64;
const IV: usize = 16;
const TAG: usize = 32;

/// Encrypts to an RSA key, by `RSA-OAEP-256`.
pub(super) fn encrypt_to(key: &PKey<Public>, plain: &[u8]) -> Result<String, ErrorStack> {
    let mut content = Zeroizing::new(vec![0; KEY]);
    rand_bytes(&mut content)?;
    let mut encrypter = Encrypter::new(key)?;
    encrypter.set_rsa_padding(Padding::PKCS1_OAEP)?;
    encrypter.set_rsa_oaep_md(MessageDigest::sha256())?;
    encrypter.set_rsa_mgf1_md(MessageDigest::sha256())?;
    let mut encrypted = vec![0; encrypter.encrypt_len(&content)?];
    let length = encrypter.encrypt(&content, &mut encrypted)?;
    encrypted.truncate(length);
    let header = json!({"alg": "RSA-OAEP-256", "enc": "A256CBC-HS512", "kid": "not used"});
    sealed(&header.to_string(), &encrypted, &content, plain)
}

/// Encrypts with a key that has a name.
pub(super) fn encrypt(key: &[u8], name: &str, plain: &[u8]) -> Result<String, ErrorStack> {
    let header = json!({"alg": "dir", "enc": "A256CBC-HS512", "kid": name});
    sealed(&header.to_string(), &[], key, plain)
}

fn sealed(
    header: &str,
    encrypted_key: &[u8],
    key: &[u8],
    plain: &[u8],
) -> Result<String, ErrorStack> {
    let header = encode_base64url(header.as_bytes());
    let mut iv = [0; IV];
    rand_bytes(&mut iv)?;
    let cipher = Cipher::aes_256_cbc();
    let ciphertext = symm::encrypt(cipher, &key[KEY / 2..], Some(&iv), plain)?;
    let tag = authenticated(&key[..KEY / 2], &header, &iv, &ciphertext)?;
    let parts = [encrypted_key, &iv, &ciphertext, &tag].map(encode_base64url);
    Ok(format!("{header}.{}", parts.join(".")))
}

fn authenticated(
    key: &[u8],
    header: &str,
    iv: &[u8],
    ciphertext: &[u8],
) -> Result<Vec<u8>, ErrorStack> {
    let key = PKey::hmac(key)?;
    let mut signer = Signer::new(MessageDigest::sha512(), &key)?;
    let bits = 8 * header.len() as u64;
    for part in [header.as_bytes(), iv, ciphertext, &bits.to_be_bytes()] {
        signer.update(part)?;
    }
    let mut tag = signer.sign_to_vec()?;
    tag.truncate(TAG);
    Ok(tag)
}

/// Undoes [`encrypt_to`]. None: it is not for this key, or not as it was.
pub(super) fn decrypt_with(key: &PKeyRef<Private>, compact: &str) -> Option<Zeroizing<Vec<u8>>> {
    let encrypted = decode_base64url(compact.split('.').nth(1)?)?;
    let open = || {
        let mut decrypter = Decrypter::new(key)?;
        decrypter.set_rsa_padding(Padding::PKCS1_OAEP)?;
        decrypter.set_rsa_oaep_md(MessageDigest::sha256())?;
        decrypter.set_rsa_mgf1_md(MessageDigest::sha256())?;
        let mut content = Zeroizing::new(vec![0; decrypter.decrypt_len(&encrypted)?]);
        let length = decrypter.decrypt(&encrypted, &mut content)?;
        content.truncate(length);
        Ok::<_, ErrorStack>(content)
    };
    decrypt(&open().ok()?, compact)
}

/// Undoes [`encrypt`]. None: it is not by this key, or not as it was.
pub(super) fn decrypt(key: &[u8], compact: &str) -> Option<Zeroizing<Vec<u8>>> {
    let parts: Vec<&str> = compact.split('.').collect();
    let [header, _, iv, ciphertext, tag] = parts.as_slice() else {
        return None;
    };
    let [iv, ciphertext, tag] = [iv, ciphertext, tag].map(|part| decode_base64url(part));
    let (iv, ciphertext, tag) = (iv?, ciphertext?, tag?);
    if key.len() != KEY || iv.len() != IV || tag.len() != TAG {
        return None;
    }
    let expected = authenticated(&key[..KEY / 2], header, &iv, &ciphertext).ok()?;
    if !openssl::memcmp::eq(&expected, &tag) {
        return None;
    }
    let cipher = Cipher::aes_256_cbc();
    let plain = symm::decrypt(cipher, &key[KEY / 2..], Some(&iv), &ciphertext);
    plain.ok().map(Zeroizing::new)
}
