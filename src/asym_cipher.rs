//! Encryption and decryption with a key: RSA, whose public part is used here and whose private part in the HSM, and
//! AES key wrap, both ways in the HSM.

use std::ffi::CStr;
use std::sync::Arc;

use managed_hsm::{Decryption, EncryptionAlgorithm, KeyOperation};
use zeroize::Zeroizing;

use crate::digest::{self, Digest};
use crate::error::{Error, Reason};
use crate::key::{Key, KeyHandle, KeyType, PublicKey};
use crate::openssl::params::{ParamsIn, ParamsOut};
use crate::provider::Provider;
use crate::rsa::{RsaEncryption, RsaPublicKey};

const PAD_MODE: &CStr = c"pad-mode";
const OAEP_DIGEST: &CStr = c"digest";
const OAEP_DIGEST_PROPERTIES: &CStr = c"digest-props";
const OAEP_LABEL: &CStr = c"oaep-label";
const MGF1_DIGEST: &CStr = c"mgf1-digest";
const MGF1_DIGEST_PROPERTIES: &CStr = c"mgf1-digest-props";
const IMPLICIT_REJECTION: &CStr = c"implicit-rejection";
const TLS_CLIENT_VERSION: &CStr = c"tls-client-version";
const TLS_NEGOTIATED_VERSION: &CStr = c"tls-negotiated-version";

/// AES key wrap works on blocks of eight bytes and needs two at least (RFC 3394, section 2).
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
                    "an {:?} key is expected",
                    self.key_type
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
        match &key.public {
            PublicKey::Rsa(public) => encrypt_rsa(public, self.rsa_scheme()?.1, plaintext),
            _ => {
                if plaintext.len() < 2 * WRAP_BLOCK || !plaintext.len().is_multiple_of(WRAP_BLOCK) {
                    return Err(wrap_len("wraps keys of", 2, plaintext.len()));
                }
                let hsm = key.private(KeyOperation::WrapKey)?;
                let client = self.provider.client()?;
                hsm.by_key_size(|algorithm| client.wrap_key(&hsm.id, algorithm, plaintext))
            }
        }
    }

    /// Decrypts with an RSA key, or unwraps a key with an AES key; in the HSM.
    pub(crate) fn decrypt(&self, ciphertext: &[u8]) -> Result<Zeroizing<Vec<u8>>, Error> {
        self.expect(Purpose::Decrypt)?;
        let key = self.key()?;
        let client = self.provider.client()?;
        match &key.public {
            PublicKey::Rsa(public) => {
                let (algorithm, _) = self.rsa_scheme()?;
                if ciphertext.len() != public.len() {
                    return Err(Error::InputLength(format!(
                        "a ciphertext for this RSA key has {} bytes, {} were given",
                        public.len(),
                        ciphertext.len()
                    )));
                }
                let decryption = Decryption {
                    algorithm,
                    iv: None,
                    aad: None,
                    tag: None,
                };
                let hsm = key.private(KeyOperation::Decrypt)?;
                client
                    .decrypt(&hsm.id, &decryption, ciphertext)
                    .map_err(Error::Hsm)
            }
            _ => {
                if ciphertext.len() < 3 * WRAP_BLOCK || !ciphertext.len().is_multiple_of(WRAP_BLOCK)
                {
                    return Err(wrap_len("unwraps", 3, ciphertext.len()));
                }
                let hsm = key.private(KeyOperation::UnwrapKey)?;
                hsm.by_key_size(|algorithm| client.unwrap_key(&hsm.id, algorithm, ciphertext))
            }
        }
    }

    /// The HSM's algorithm for the padding settings, and ours for the public key.
    fn rsa_scheme(&self) -> Result<(EncryptionAlgorithm, RsaEncryption), Error> {
        if self.padding == Padding::Pkcs1 {
            return Ok((EncryptionAlgorithm::Rsa1_5, RsaEncryption::Pkcs1));
        }
        let oaep = self.oaep.map_or("SHA1", Digest::name);
        let mgf1 = self.mgf1.map_or(oaep, Digest::name);
        match (oaep, mgf1) {
            ("SHA1", "SHA1") => Ok((EncryptionAlgorithm::RsaOaep, RsaEncryption::OaepSha1)),
            ("SHA256", "SHA256") => {
                Ok((EncryptionAlgorithm::RsaOaep256, RsaEncryption::OaepSha256))
            }
            _ => Err(Error::unsupported(
                Reason::OaepHash,
                format!("RSA-OAEP with {oaep} and MGF1 with {mgf1}"),
                "use SHA1 for both or SHA256 for both \
                 (rsa_oaep_md:sha256 and rsa_mgf1_md:sha256)",
            )),
        }
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
        let oaep = self.oaep.map_or(c"SHA1", |digest| digest.c_name);
        params.set_utf8(OAEP_DIGEST, oaep)?;
        params.set_utf8(MGF1_DIGEST, self.mgf1.map_or(oaep, |digest| digest.c_name))?;
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

fn encrypt_rsa(
    public: &RsaPublicKey,
    scheme: RsaEncryption,
    plaintext: &[u8],
) -> Result<Vec<u8>, Error> {
    let most = public.len().saturating_sub(scheme.overhead());
    if plaintext.len() > most {
        return Err(Error::InputLength(format!(
            "at most {most} bytes fit into this RSA key with this padding, {} were given: encrypt a symmetric key \
             instead, and the data with that",
            plaintext.len()
        )));
    }
    public.encrypt(scheme, plaintext).ok_or_else(|| {
        Error::InvalidKey("the RSA public key can't be used for encryption".to_owned())
    })
}

fn wrap_len(what: &str, least: usize, got: usize) -> Error {
    Error::InputLength(format!(
        "AES key wrap {what} a multiple of {WRAP_BLOCK} and at least {} bytes, {got} were given",
        least * WRAP_BLOCK
    ))
}

/// The hash function with an OpenSSL name. An error lists those that OAEP can use here.
fn known_digest(name: &str) -> Result<&'static Digest, Error> {
    digest::known(name, |digest| ["SHA1", "SHA256"].contains(&digest.name()))
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
