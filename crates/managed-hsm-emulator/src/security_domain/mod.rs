//! Security domains: what makes an HSM able to read the backups of another, locked by the keys of
//! several people of whom some number has to come together.
//!
//! The form is that which azure-cli and azure-keyvault-securitydomain read and write. A master key
//! is shared among the recipients (`shares`), and from it come the keys that encrypt the secrets of
//! the domain (`jwe`). Whoever recovers an HSM puts the shares together and encrypts all of it
//! again, to the transfer key of the new HSM.

mod jwe;
mod shares;

use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::pkey::{PKey, PKeyRef, Private, Public};
use openssl::rand::rand_bytes;
use openssl::sign::Signer;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::algorithm::decode_base64url;

/// What the secret of a domain is called in it.
const TAG: &str = "emulator";
/// How the keys come from the master key: SP 800-108 in counter mode.
const KDF: &str = "sp108_kdf";
const MASTER_KEY: usize = 32;

/// Who gets a share.
pub(crate) struct Recipient {
    pub(crate) key: PKey<Public>,
    /// Of the certificate, base64url.
    pub(crate) thumbprint: String,
}

#[derive(Serialize, Deserialize)]
struct Domain {
    #[serde(rename = "EncData")]
    data: EncryptedData,
    #[serde(rename = "SharedKeys", skip_serializing_if = "Option::is_none")]
    shared: Option<SharedKeys>,
    #[serde(rename = "WrappedKey", skip_serializing_if = "Option::is_none")]
    wrapped: Option<EncryptedKey>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<u32>,
}

#[derive(Serialize, Deserialize)]
struct EncryptedData {
    data: Vec<Datum>,
    kdf: String,
}

#[derive(Serialize, Deserialize)]
struct Datum {
    compact_jwe: String,
    tag: String,
}

#[derive(Serialize, Deserialize)]
struct SharedKeys {
    enc_shares: Vec<EncryptedKey>,
    key_algorithm: String,
    required: usize,
}

#[derive(Serialize, Deserialize)]
struct EncryptedKey {
    enc_key: String,
    x5t_256: String,
}

/// The domain of a secret, for recipients of whom `required` can open it.
pub(crate) fn lock(
    secret: &[u8],
    recipients: &[Recipient],
    required: usize,
) -> Result<String, ErrorStack> {
    let mut master = Zeroizing::new(vec![0; MASTER_KEY]);
    rand_bytes(&mut master)?;
    let shares = shares::split(&master, recipients.len(), required)?;
    let encrypted = recipients.iter().zip(&shares).map(|(recipient, share)| {
        Ok(EncryptedKey {
            enc_key: jwe::encrypt_to(&recipient.key, share)?,
            x5t_256: recipient.thumbprint.clone(),
        })
    });
    let domain = Domain {
        data: EncryptedData {
            data: vec![Datum {
                compact_jwe: jwe::encrypt(&derived(&master, TAG)?, TAG, secret)?,
                tag: TAG.to_owned(),
            }],
            kdf: KDF.to_owned(),
        },
        shared: Some(SharedKeys {
            enc_shares: encrypted.collect::<Result<_, ErrorStack>>()?,
            key_algorithm: "shamir_share".to_owned(),
            required,
        }),
        wrapped: None,
        version: Some(1),
    };
    Ok(serde_json::to_string(&domain).unwrap_or_default())
}

/// The secret of a domain that was encrypted to a transfer key. None: it isn't such a domain.
pub(crate) fn unlock(text: &str, transfer_key: &PKeyRef<Private>) -> Option<Zeroizing<Vec<u8>>> {
    let domain: Domain = serde_json::from_str(text).ok()?;
    let wrapped = compact(&domain.wrapped?.enc_key)?;
    let master = jwe::decrypt_with(transfer_key, &wrapped)?;
    let datum = domain.data.data.iter().find(|datum| datum.tag == TAG)?;
    let key = derived(&master, TAG).ok()?;
    jwe::decrypt(&key, &compact(&datum.compact_jwe)?)
}

/// A compact JWE, which azure-cli encodes once more.
fn compact(text: &str) -> Option<String> {
    match text.contains('.') {
        true => Some(text.to_owned()),
        false => String::from_utf8(decode_base64url(text)?).ok(),
    }
}

/// SP 800-108, section 4.1, with HMAC-SHA-512, a label and no context: 512 bits, which is one turn.
fn derived(master: &[u8], label: &str) -> Result<Zeroizing<Vec<u8>>, ErrorStack> {
    let key = PKey::hmac(master)?;
    let mut signer = Signer::new(MessageDigest::sha512(), &key)?;
    signer.update(&1_u32.to_be_bytes())?;
    signer.update(label.as_bytes())?;
    signer.update(&[0])?;
    signer.update(&512_u32.to_be_bytes())?;
    Ok(Zeroizing::new(signer.sign_to_vec()?))
}

#[cfg(test)]
mod tests {
    use openssl::rsa::Rsa;

    use super::*;
    use crate::algorithm::encode_base64url;

    /// What a client does who recovers an HSM.
    fn recover(domain: &str, keys: &[(usize, &PKey<Private>)], to: &PKey<Public>) -> String {
        let domain: Domain = serde_json::from_str(domain).unwrap();
        let shared = domain.shared.unwrap();
        let shares: Vec<_> = keys
            .iter()
            .map(|(index, key)| jwe::decrypt_with(key, &shared.enc_shares[*index].enc_key).unwrap())
            .collect();
        let master = shares::join(&shares);
        let data = &domain.data.data[0];
        let secret = jwe::decrypt(&derived(&master, &data.tag).unwrap(), &data.compact_jwe);
        let master = [9; 32];
        let again = jwe::encrypt(&derived(&master, TAG).unwrap(), TAG, &secret.unwrap());
        // As azure-cli encodes them.
        let encode = |text: String| encode_base64url(text.as_bytes());
        let domain = Domain {
            data: EncryptedData {
                data: vec![Datum {
                    compact_jwe: encode(again.unwrap()),
                    tag: TAG.to_owned(),
                }],
                kdf: KDF.to_owned(),
            },
            shared: None,
            wrapped: Some(EncryptedKey {
                enc_key: encode(jwe::encrypt_to(to, &master).unwrap()),
                x5t_256: String::new(),
            }),
            version: None,
        };
        serde_json::to_string(&domain).unwrap()
    }

    fn public(key: &PKey<Private>) -> PKey<Public> {
        PKey::public_key_from_pem(&key.public_key_to_pem().unwrap()).unwrap()
    }

    #[test]
    fn a_domain_is_opened_by_as_many_as_are_required() {
        let key = || PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap();
        let keys = [key(), key(), key()];
        let recipients = keys.each_ref().map(|key| Recipient {
            key: public(key),
            thumbprint: "t".to_owned(),
        });
        let transfer = key();
        let domain = lock(b"the secret", &recipients, 2).unwrap();
        for pair in [[0, 1], [2, 0], [1, 2]] {
            let pair = pair.map(|index| (index, &keys[index]));
            let blob = recover(&domain, &pair, &public(&transfer));
            assert_eq!(**unlock(&blob, &transfer).unwrap(), *b"the secret");
            assert!(unlock(&blob, &keys[0]).is_none());
        }
        assert!(unlock(&domain, &transfer).is_none());
        assert!(unlock("{}", &transfer).is_none());
    }
}
