//! What an HSM or a vault is set to when it is made, as far as its keys are concerned.

/// Rules for the keys of a store.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules {
    pub(crate) soft_delete: SoftDelete,
    /// Whether a new HSM is activated, or is to be by a security domain.
    pub(crate) activated: bool,
    /// Keys that there can be, deleted ones among them. None: no limit.
    pub(crate) max_keys: Option<usize>,
    /// Versions that a key can have. None: no limit.
    pub(crate) max_versions: Option<usize>,
}

/// What becomes of deleted keys.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SoftDelete {
    /// Days that a deleted key can be recovered, 7 to 90.
    pub(crate) retention_days: u32,
    /// Whether nobody can purge it before.
    pub(crate) purge_protection: bool,
}

impl SoftDelete {
    /// The name of it in answers: anything but 90 days is called customized.
    pub(crate) fn recovery_level(self) -> &'static str {
        match (self.retention_days, self.purge_protection) {
            (90, false) => "Recoverable+Purgeable",
            (90, true) => "Recoverable",
            (_, false) => "CustomizedRecoverable+Purgeable",
            (_, true) => "CustomizedRecoverable",
        }
    }

    pub(crate) fn retention_seconds(self) -> i64 {
        i64::from(self.retention_days) * 86_400
    }
}
