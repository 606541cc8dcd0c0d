//! A version of a key that is known, as the HSM describes it just now.

use std::sync::Arc;

use cryptoki_sys::CKR_KEY_FUNCTION_NOT_PERMITTED;

use super::Token;
use super::loading::{MISS_AGE, is_not_found};
use super::objects::StoredKey;
use crate::error::{Error, Purpose};

/// Why a version can't be loaded again.
enum Unloaded {
    /// The HSM has it no more.
    Gone(Error),
    Other(Error),
}

impl Unloaded {
    fn error(self) -> Error {
        match self {
            Self::Gone(error) | Self::Other(error) => error,
        }
    }
}

impl Token {
    /// A version of a key as it is just now: whoever changes a part of it is not to undo what
    /// others have changed, and whoever deletes it means this key.
    pub(crate) fn reload(&self, key: &StoredKey) -> Result<Arc<StoredKey>, Error> {
        self.reload_for(Purpose::Update, key)
            .map_err(Unloaded::error)
    }

    fn reload_for(&self, purpose: Purpose, key: &StoredKey) -> Result<Arc<StoredKey>, Unloaded> {
        let id = key.require_hsm_id().map_err(Unloaded::Other)?;
        let (asked, loaded) = self
            .fetch(&id.key, Some(id.version.clone()))
            .map_err(|error| match is_not_found(&error) {
                true => Unloaded::Gone(self.refusal(purpose, &error)),
                false => Unloaded::Other(self.refusal(purpose, &error)),
            })?;
        self.unreplaced(&asked, key, loaded)
            .and_then(|loaded| self.learn(&asked, |table| table.renew(loaded, key.session)))
            .map_err(Unloaded::Other)
    }

    /// A key that `check` lets be used: as it is known, or as the HSM describes it now, where what
    /// is known forbids it. What it said just before is not asked for again.
    ///
    /// # Errors
    /// What `check` has against it; or that it is gone, as for one that nothing forbids.
    pub(crate) fn usable(
        &self,
        purpose: Purpose,
        key: Arc<StoredKey>,
        check: impl Fn(&StoredKey) -> Result<(), Error>,
    ) -> Result<Arc<StoredKey>, Error> {
        let Err(refusal) = check(&key) else {
            return Ok(key);
        };
        let is_old = u128::from(self.table().age(&key)) >= MISS_AGE.as_millis();
        if refusal.code != CKR_KEY_FUNCTION_NOT_PERMITTED || !is_old || key.hsm_id().is_none() {
            return Err(refusal);
        }
        match self.reload_for(purpose, &key) {
            Ok(now) => check(&now).map(|()| now),
            Err(Unloaded::Gone(gone)) => Err(gone),
            Err(Unloaded::Other(_)) => Err(refusal),
        }
    }
}
