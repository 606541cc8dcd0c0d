//! Transfer of keys that only HSMs have seen ("bring your own key"): the key comes wrapped for a
//! key of this HSM that can do nothing else (Azure's "Bring your own key specification").

use serde::Deserialize;
use zeroize::Zeroizing;

use super::Call;
use super::failure::Failure;
use super::unconfirmed;
use crate::algorithm::decode_base64url;
use crate::encryption::{self, Ciphertext, EncryptionAlgorithm};
use crate::keys::{KeyMaterial, KeyType, PublicMembers, Secret};

/// What a blob is wrapped by: an AES key by RSA-OAEP with SHA-1, and by that the key itself, by AES
/// key wrap with padding.
const WRAPPING: &str = "CKM_RSA_AES_KEY_WRAP";

#[derive(Deserialize)]
struct Blob {
    schema_version: String,
    header: Header,
    ciphertext: String,
}

#[derive(Deserialize)]
struct Header {
    /// The key that it is wrapped for.
    kid: String,
    alg: String,
    enc: String,
}

/// The bytes of a wrapped key: PKCS#8 of key pairs, the bare bytes of symmetric keys.
pub(super) fn unwrapped(call: &Call<'_>, blob: &str) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let wrong = unconfirmed::transfer_blob;
    let json = decode_base64url(blob).ok_or_else(|| wrong("it is not base64url"))?;
    let blob: Blob = serde_json::from_slice(&json)
        .map_err(|_| wrong("it is not JSON with schema_version, header and ciphertext"))?;
    if blob.schema_version != "1.0.0" {
        return Err(wrong("its schema_version is not 1.0.0"));
    }
    if blob.header.alg != "dir" || blob.header.enc != WRAPPING {
        return Err(wrong(
            "its header has not alg dir and enc CKM_RSA_AES_KEY_WRAP",
        ));
    }
    let mut kid = blob
        .header
        .kid
        .split("/keys/")
        .nth(1)
        .unwrap_or_default()
        .split('/');
    let (name, version) = (kid.next().unwrap_or_default(), kid.next());
    let key = call.store.active(name);
    let version = key.as_deref().and_then(|key| key.version(version));
    let version = version.ok_or_else(|| wrong("its kid is no key of this HSM"))?;
    if version.metadata.key_ops != ["import"] || !version.metadata.enabled {
        return Err(wrong("its kid is no key for import"));
    }
    let ciphertext = decode_base64url(&blob.ciphertext)
        .ok_or_else(|| wrong("its ciphertext is not base64url"))?;
    open(&version.material, &ciphertext)
        .ok_or_else(|| wrong("its ciphertext is not wrapped for the key in kid"))
}

fn open(material: &KeyMaterial, ciphertext: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let Secret::Rsa(key) = material.secret() else {
        return None;
    };
    let (wrapped_key, wrapped) = ciphertext.split_at_checked(key.size())?;
    let decrypt = |material: &KeyMaterial, algorithm, value: &[u8]| {
        let ciphertext = Ciphertext {
            value: value.to_vec(),
            iv: None,
            aad: None,
            tag: None,
        };
        encryption::decrypt(
            material,
            EncryptionAlgorithm::by_name(algorithm)?,
            ciphertext,
        )
        .ok()
    };
    let ephemeral = decrypt(material, "RSA-OAEP", wrapped_key)?;
    let is_aes = [16, 24, 32].contains(&ephemeral.len());
    let ephemeral = is_aes.then(|| KeyMaterial::from_oct(ephemeral))?;
    decrypt(&ephemeral, "CKM_AES_KEY_WRAP_PAD", wrapped)
}

/// A key of the kind that the request names, and on the curve that it names, if any.
pub(super) fn material(
    call: &Call<'_>,
    kind: KeyType,
    curve: Option<&str>,
    blob: &str,
) -> Result<KeyMaterial, Failure> {
    let wrong = unconfirmed::transfer_blob;
    let bytes = unwrapped(call, blob)?;
    if kind == KeyType::Oct {
        return super::import::symmetric(bytes);
    }
    let material = KeyMaterial::from_private_bytes(kind, &bytes);
    let material = material.ok().filter(|material| match material.secret() {
        Secret::Rsa(key) => [2048, 3072, 4096].contains(&key.bits()),
        Secret::Ec(..) => true,
        Secret::Oct(_) | Secret::Akp(_) => false,
    });
    let material = material.ok_or_else(|| wrong("it holds no key of the kty"))?;
    match (curve, material.public()) {
        (Some(named), PublicMembers::Ec { curve, .. }) if named != curve.name() => {
            Err(wrong("its key is on another curve than crv"))
        }
        _ => Ok(material),
    }
}
