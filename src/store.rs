//! OSSL_STORE loader: turns a key URI into a key. Called by `OSSL_STORE_open` and `OSSL_STORE_load`.

use std::sync::Arc;

use managed_hsm::KeyUri;

use crate::error::Error;
use crate::key::Key;
use crate::provider::Provider;

/// What the caller of the store wants to see (`OSSL_STORE_expect(3)`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expected {
    Anything,
    PublicKey,
    PrivateKey,
    /// Something that an HSM does not hold: a certificate, say.
    Other,
}

impl Expected {
    /// From the number of an `OSSL_STORE_INFO` type.
    pub(crate) fn from_info_type(info_type: i64) -> Self {
        match info_type {
            0 => Self::Anything,
            3 => Self::PublicKey,
            4 => Self::PrivateKey,
            _ => Self::Other,
        }
    }
}

/// An open URI.
pub(crate) struct Loader {
    pub(crate) provider: Arc<Provider>,
    uri: KeyUri,
    expected: Expected,
    finished: bool,
}

impl Loader {
    /// Checks the URI. No request is made before [`Loader::load`].
    pub(crate) fn open(provider: Arc<Provider>, uri: &str) -> Result<Self, Error> {
        let uri = uri.parse::<KeyUri>()?;
        Ok(Self {
            provider,
            uri,
            expected: Expected::Anything,
            finished: false,
        })
    }

    pub(crate) fn expect(&mut self, expected: Expected) {
        self.expected = expected;
    }

    /// Whether there is nothing (more) to load.
    pub(crate) fn is_at_end(&self) -> bool {
        self.finished || self.expected == Expected::Other
    }

    /// Asks the HSM for the key, which is pinned to the version that it answers with. The loader is at its end after
    /// that, whether it worked or not.
    pub(crate) fn load(&mut self) -> Result<Key, Error> {
        self.finished = true;
        let key = Key::from_hsm(
            self.provider
                .client()?
                .get_key(&self.uri)
                .map_err(Error::Hsm)?,
        )?;
        Ok(if self.expected == Expected::PublicKey {
            key.without_private()
        } else {
            key
        })
    }
}
