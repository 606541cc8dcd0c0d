//! The state of an encryption or decryption: with an RSA key, whose public part is used here and
//! whose private part in the HSM, or by AES key wrap, both ways in the HSM. `hsm-keys` does it.

use std::ffi::CStr;
use std::sync::Arc;

use hsm_keys::{Digest, Key, KeyType, PublicKey, RsaEncryption};
use managed_hsm::KeyOperation;
use zeroize::Zeroizing;

use crate::error::{Error, Reason};
use crate::key::KeyHandle;
use crate::names;
use crate::openssl::params::{ParamsIn, ParamsOut};
use crate::provider::Provider;

const PAD_MODE: &CStr = c"pad-mode";
const OAEP_DIGEST: &CStr = c"digest";
const OAEP_DIGEST_PROPERTIES: &CStr = c"digest-props";
const OAEP_LABEL: &CStr = c"oaep-label";
const MGF1_DIGEST: &CStr = c"mgf1-digest";
const MGF1_DIGEST_PROPERTIES: &CStr = c"mgf1-digest-props";
const IMPLICIT_REJECTION: &CStr = c"implicit-rejection";
const TLS_CLIENT_VERSION: &CStr = c"tls-client-version";
const TLS_NEGOTIATED_VERSION: &CStr = c"tls-negotiated-version";

/// By how many bytes AES key wrap makes a key longer (RFC 3394, section 2).
const WRAP_BLOCK: usize = 8;

/// What a context was initialised for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    Encrypt,
    Decrypt,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Padding {
    Pkcs1,
    Oaep,
}

/// The state of one operation.
pub(crate) struct Context {
    pub(crate) provider: Arc<Provider>,
    key_type: KeyType,
    key: Option<Arc<Key>>,
    purpose: Option<Purpose>,
    padding: Padding,
    /// None: SHA-1, as RFC 8017 has it.
    oaep: Option<&'static Digest>,
    /// None: the digest of OAEP.
    mgf1: Option<&'static Digest>,
}

impl Context {
    pub(crate) fn new(provider: Arc<Provider>, key_type: KeyType) -> Self {
        Self {
            provider,
            key_type,
            key: None,
            purpose: None,
            padding: Padding::Pkcs1,
            oaep: None,
            mgf1: None,
        }
    }

    /// A copy that goes its own way.
    pub(crate) fn duplicate(&self) -> Self {
        Self {
            provider: Arc::clone(&self.provider),
            key: self.key.clone(),
            ..*self
        }
    }

    /// Starts an operation. `key`: None means the key of last time. Never touches the network.
    pub(crate) fn init(
        &mut self,
        purpose: Purpose,
        handle: Option<&KeyHandle>,
        params: ParamsIn<'_>,
    ) -> Result<(), Error> {
        if let Some(handle) = handle {
            let key = handle.require()?;
            if key.public.key_type() != self.key_type {
                return Err(Error::InvalidKey(format!(
                    "a key of type {} is expected",
                    names::of_key_type(self.key_type).to_string_lossy()
                )));
            }
            self.key = Some(Arc::clone(key));
            (self.padding, self.oaep, self.mgf1) = (Padding::Pkcs1, None, None);
        }
        let key = self.key()?;
        match (&key.public, purpose) {
            (PublicKey::Aes, Purpose::Encrypt) => drop(key.private(KeyOperation::WrapKey)?),
            (PublicKey::Aes, Purpose::Decrypt) => drop(key.private(KeyOperation::UnwrapKey)?),
            (_, Purpose::Decrypt) => drop(key.private(KeyOperation::Decrypt)?),
            (_, Purpose::Encrypt) => {}
        }
        self.purpose = Some(purpose);
        self.set_params(params)
    }

    /// The longest that this operation can give for `input_len` bytes, in bytes.
    pub(crate) fn max_output_len(&self, input_len: usize) -> Result<usize, Error> {
        Ok(match (&self.key()?.public, self.purpose) {
            (PublicKey::Rsa(public), _) => public.len(),
            (_, Some(Purpose::Encrypt)) => input_len + WRAP_BLOCK,
            (_, _) => input_len.saturating_sub(WRAP_BLOCK),
        })
    }

    /// Encrypts with an RSA public key, or wraps a key with an AES key.
    pub(crate) fn encrypt(&self, plaintext: &[u8]) -> Result<Vec<u8>, Error> {
        self.expect(Purpose::Encrypt)?;
        let key = self.key()?;
        Ok(match self.key_type {
            KeyType::Rsa => {
                let scheme = self.scheme()?;
                self.provider.prove(key)?;
                hsm_keys::encrypt(&key.public, scheme, plaintext)?
            }
            _ => hsm_keys::wrap(&*self.provider.client()?, key, plaintext)?,
        })
    }

    /// Decrypts with an RSA key, or unwraps a key with an AES key; in the HSM.
    pub(crate) fn decrypt(&self, ciphertext: &[u8]) -> Result<Zeroizing<Vec<u8>>, Error> {
        self.expect(Purpose::Decrypt)?;
        let key = self.key()?;
        let client = self.provider.client()?;
        Ok(match self.key_type {
            KeyType::Rsa => hsm_keys::decrypt(&client, key, self.scheme()?, ciphertext)?,
            _ => hsm_keys::unwrap(&client, key, ciphertext)?,
        })
    }

    /// What the padding settings come to.
    fn scheme(&self) -> Result<RsaEncryption, Error> {
        if self.padding == Padding::Pkcs1 {
            return Ok(RsaEncryption::Pkcs1);
        }
        let oaep = match self.oaep {
            Some(oaep) => oaep,
            None => known_digest("SHA1")?,
        };
        Ok(RsaEncryption::oaep(oaep, self.mgf1.unwrap_or(oaep))?)
    }

    /// Takes context parameters. What the HSM could not decrypt is refused for encryption, too.
    pub(crate) fn set_params(&mut self, params: ParamsIn<'_>) -> Result<(), Error> {
        if self.key_type != KeyType::Rsa {
            return Ok(());
        }
        let padding = if params.is_text(PAD_MODE) {
            params.utf8(PAD_MODE)?.map(padding_by_name)
        } else {
            params.integer(PAD_MODE)?.map(padding_by_number)
        };
        if let Some(padding) = padding {
            self.padding = padding?;
        }
        if let Some(name) = params.utf8(OAEP_DIGEST)? {
            self.oaep = Some(known_digest(name)?);
        }
        if let Some(name) = params.utf8(MGF1_DIGEST)? {
            self.mgf1 = Some(known_digest(name)?);
        }
        if params
            .octets(OAEP_LABEL)?
            .is_some_and(|label| !label.is_empty())
        {
            return Err(Error::unsupported(
                Reason::OaepLabel,
                "RSA-OAEP with a label",
                "leave the label empty",
            ));
        }
        Ok(())
    }

    /// Answers what is asked of the context.
    pub(crate) fn get_params(&self, params: &mut ParamsOut<'_>) -> Result<(), Error> {
        if self.key_type != KeyType::Rsa {
            return Ok(());
        }
        let (name, number) = match self.padding {
            Padding::Pkcs1 => (c"pkcs1", 1),
            Padding::Oaep => (c"oaep", 4),
        };
        if params.wants_text(PAD_MODE) {
            params.set_utf8(PAD_MODE, name)?;
        } else {
            params.set_integer(PAD_MODE, number)?;
        }
        let oaep = self.oaep.map_or(c"SHA1", names::of_digest);
        params.set_utf8(OAEP_DIGEST, oaep)?;
        params.set_utf8(MGF1_DIGEST, self.mgf1.map_or(oaep, names::of_digest))?;
        if params.wants_pointer(OAEP_LABEL) {
            params.set_empty_pointer(OAEP_LABEL)?;
        }
        Ok(())
    }

    fn key(&self) -> Result<&Arc<Key>, Error> {
        self.key
            .as_ref()
            .ok_or(Error::NotInitialised("no key is set"))
    }

    fn expect(&self, purpose: Purpose) -> Result<(), Error> {
        if self.purpose == Some(purpose) {
            return Ok(());
        }
        Err(Error::NotInitialised(
            "the context is not initialised for this operation",
        ))
    }
}

/// The hash function with an OpenSSL name. An error lists those that OAEP can use here.
fn known_digest(name: &str) -> Result<&'static Digest, Error> {
    Ok(Digest::named(name, |digest| {
        ["SHA1", "SHA256"].contains(&digest.name())
    })?)
}

fn padding_by_name(name: &str) -> Result<Padding, Error> {
    match name {
        "pkcs1" => Ok(Padding::Pkcs1),
        "oaep" => Ok(Padding::Oaep),
        other => Err(unsupported_padding(&format!("'{other}'"))),
    }
}

/// The numbers of `<openssl/rsa.h>`.
fn padding_by_number(number: i64) -> Result<Padding, Error> {
    match number {
        1 => Ok(Padding::Pkcs1),
        4 => Ok(Padding::Oaep),
        3 => Err(unsupported_padding("'none'")),
        7 => Err(Error::refused(
            Reason::RsaKeyExchange,
            "RSA key exchange of TLS 1.2 and older",
            "use cipher suites with ECDHE or DHE, or TLS 1.3; through a remote service it would be a padding oracle",
        )),
        other => Err(unsupported_padding(&format!("mode {other}"))),
    }
}

fn unsupported_padding(padding: &str) -> Error {
    Error::unsupported(
        Reason::EncryptionPadding,
        format!("RSA encryption with padding {padding}"),
        "use 'oaep' (with SHA1 or SHA256) or 'pkcs1'",
    )
}

/// Tables of the parameters above.
pub(crate) mod tables {
    use super::*;
    use crate::openssl::ffi::Param;
    use crate::openssl::params::descriptors;

    pub(crate) static RSA_GETTABLE: &[Param] = descriptors! {
        PAD_MODE => PARAM_INTEGER,
        OAEP_DIGEST => PARAM_UTF8_STRING,
        MGF1_DIGEST => PARAM_UTF8_STRING,
        OAEP_LABEL => PARAM_OCTET_PTR,
    };
    /// The versions matter to the padding of TLS alone, and the HSM decides about rejection.
    pub(crate) static RSA_SETTABLE: &[Param] = descriptors! {
        PAD_MODE => PARAM_UTF8_STRING,
        OAEP_DIGEST => PARAM_UTF8_STRING,
        OAEP_DIGEST_PROPERTIES => PARAM_UTF8_STRING,
        MGF1_DIGEST => PARAM_UTF8_STRING,
        MGF1_DIGEST_PROPERTIES => PARAM_UTF8_STRING,
        OAEP_LABEL => PARAM_OCTET_STRING,
        IMPLICIT_REJECTION => PARAM_UNSIGNED_INTEGER,
        TLS_CLIENT_VERSION => PARAM_UNSIGNED_INTEGER,
        TLS_NEGOTIATED_VERSION => PARAM_UNSIGNED_INTEGER,
    };
    pub(crate) static NOTHING: &[Param] = descriptors! {};
}
