//! The end of keys that live as long as a session: their handles go at once, and the keys in the
//! HSM within the time that the call may take. What is left there is for who sweeps.

use std::sync::Arc;
use std::time::{Duration, Instant};

use cryptoki_sys::{CKR_ACTION_PROHIBITED, CKR_DEVICE_ERROR, CKR_OBJECT_HANDLE_INVALID};

use super::Token;
use super::objects::StoredKey;
use super::table::Table;
use crate::error::Error;
use crate::report;

/// A key that is to be deleted in the HSM, and until when.
pub(crate) struct Ended<'a> {
    pub(crate) token: &'a Token,
    pub(crate) key: Arc<StoredKey>,
    pub(crate) until: Instant,
}

impl Token {
    /// How long a call may take in all.
    pub(crate) fn operation_timeout(&self) -> Duration {
        self.settings.client.operation_timeout
    }

    /// Takes away the handles of keys whose session ends, whatever becomes of the keys. Returns
    /// those that are to be deleted in the HSM: not those that were given to the token.
    pub(crate) fn end_handles(&self, is_to_be: impl Fn(&StoredKey) -> bool) -> Vec<Arc<StoredKey>> {
        if !self.table().keys_of_sessions().any(|key| is_to_be(key)) {
            return Vec::new();
        }
        self.change(|table| {
            let ending = table.keys_of_sessions().filter(|key| is_to_be(key));
            let mut ending: Vec<_> = ending.map(Arc::clone).collect();
            ending.retain(|key| end_handles_of(table, key));
            ending
        })
    }
}

/// Takes away the handles of a key. Whether it is to be deleted in the HSM.
fn end_handles_of(table: &mut Table, key: &StoredKey) -> bool {
    if key.hsm_id().is_none() {
        table.remove_brought(key);
        return false;
    }
    if table.has_adopted(key) {
        table.remove_handles(key);
        return false;
    }
    table.remove_version(key);
    true
}

/// Deletes keys whose sessions have ended, side by side. One that somebody else has given to the
/// token, or another version, stays in the HSM.
pub(crate) fn delete(ended: &[Ended<'_>]) {
    let Some(first) = ended.first() else { return };
    wait_for_copies(ended);
    let outcomes = first.token.at_once(ended, Ended::delete);
    let mut left = Vec::new();
    for outcome in outcomes {
        match outcome {
            Ok(()) => {}
            // Somebody has deleted it already.
            Err(error) if error.code == CKR_OBJECT_HANDLE_INVALID => {}
            Err(error) => {
                let cause = error.cause.unwrap_or_default();
                match error.code {
                    CKR_ACTION_PROHIBITED => {
                        report::warning(&format!("a key outlives its session: {cause}"));
                    }
                    _ => left.push(cause),
                }
            }
        }
    }
    let what = match left.len() {
        0 => return,
        1 => "a key outlives its session: it stays in the HSM until 'akv pkcs11 sweep' deletes it"
            .to_owned(),
        count => format!(
            "{count} keys outlive their session: they stay in the HSM until 'akv pkcs11 sweep' \
             deletes them"
        ),
    };
    report::warning(&format!("{what} ({})", left[0]));
}

/// Waits for threads that have one of the keys stay just now. Their handles are gone, so no other
/// thread begins to. Some of the time is left for the deletion.
fn wait_for_copies(ended: &[Ended<'_>]) {
    let tokens = ended.iter().map(|ended| (ended.token, ended.until));
    let mut tokens: Vec<_> = tokens.collect();
    tokens.dedup_by_key(|(token, _)| std::ptr::from_ref(*token));
    for (token, until) in tokens {
        let left = until.saturating_duration_since(Instant::now());
        drop(token.turn_to_update_within(left / 2));
    }
}

impl Ended<'_> {
    fn delete(&self) -> Result<(), Error> {
        if Instant::now() >= self.until {
            let problem = format!("there was no time left to delete {}", self.key.name());
            return Err(Error::because(CKR_DEVICE_ERROR, problem));
        }
        let client = Arc::new(self.token.client()?.until(self.until));
        self.token.delete_by(&client, &self.key)
    }
}
