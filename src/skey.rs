//! Secret keys (`EVP_SKEY`, OpenSSL 3.5 and newer): AES keys that stay in the HSM. Such a key comes
//! from `EVP_SKEY_import` with the parameter `uri`, or is made by `EVP_SKEY_generate`.

use std::ffi::{CStr, CString};
use std::sync::Arc;

use hsm_keys::{Key, KeyType, PublicKey};
use managed_hsm::KeyUri;

use crate::error::Error;
use crate::generation::Options;
use crate::openssl::params::ParamsIn;
use crate::provider::Provider;

const URI: &CStr = c"uri";

/// An AES key in the HSM.
#[derive(Debug)]
pub(crate) struct SecretKey {
    pub(crate) key: Arc<Key>,
    /// The key's URI, for `EVP_SKEY_get0_key_id`.
    pub(crate) name: CString,
}

impl SecretKey {
    fn new(key: Key) -> Result<Self, Error> {
        let (PublicKey::Aes, Some(id)) = (&key.public, key.id()) else {
            return Err(Error::InvalidKey(
                "an EVP_SKEY is an AES key; RSA and EC keys are opened by OSSL_STORE".to_owned(),
            ));
        };
        let name = CString::new(id.to_string()).unwrap_or_default();
        let key = Arc::new(key);
        Ok(Self { key, name })
    }

    /// The key that the parameter `uri` names. None: there is no such parameter, so the key isn't
    /// one of ours.
    pub(crate) fn import(provider: &Provider, params: ParamsIn<'_>) -> Result<Option<Self>, Error> {
        let Some(uri) = params.utf8(URI)? else {
            return Ok(None);
        };
        let uri: KeyUri = uri.parse()?;
        let key = provider.client()?.get_key(&uri).map_err(Error::Hsm)?;
        Self::new(key.into()).map(Some)
    }

    /// Makes a key in the HSM. None: no parameter says where, so the key isn't to be one of ours.
    pub(crate) fn generate(
        provider: &Provider,
        params: ParamsIn<'_>,
    ) -> Result<Option<Self>, Error> {
        let mut options = Options::default();
        options.take(params)?;
        if !options.is_for_hsm() {
            options.check_software_key()?;
            return Ok(None);
        }
        if let Some(bytes) = params.integer(c"key-length")? {
            options.set_bits(bytes.saturating_mul(8));
        }
        Self::new(options.create(provider, KeyType::Aes)?).map(Some)
    }
}

/// Tables of the parameters above.
pub(crate) mod tables {
    use super::*;
    use crate::openssl::ffi::Param;
    use crate::openssl::params::descriptors;

    /// The bytes and the length are those of software keys.
    pub(crate) static IMPORT: &[Param] = descriptors! {
        URI => PARAM_UTF8_STRING,
        c"raw-bytes" => PARAM_OCTET_STRING,
        c"key-length" => PARAM_UNSIGNED_INTEGER,
    };
}
