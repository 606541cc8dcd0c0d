//! What the service keeps of a key beside the key itself: names and values, times; and what may be
//! changed of it.

use std::collections::BTreeMap;

use crate::foreign::ForeignText;

/// What is known of a key, or of a version of one. Times are seconds since 1970.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Properties {
    /// Names and values for people and programs, as they came: whoever changes one writes all of
    /// them back. They are foreign text, and may repeat a secret ([`crate::without_secrets`]).
    pub tags: BTreeMap<String, String>,
    /// Before this the key can't be used.
    pub not_before: Option<i64>,
    /// From this on the key can't be used.
    pub expires: Option<i64>,
    /// When it was made.
    pub created: Option<i64>,
    /// When it was changed last.
    pub updated: Option<i64>,
    /// Whether it may be released to an attested environment.
    pub exportable: bool,
    /// Whether it is the key of a certificate of the vault's, which has its name and version.
    pub managed: bool,
    /// The size of a symmetric key in bits, which versions of the API from 2026-01-01-preview on
    /// tell.
    pub key_size: Option<u32>,
    /// The id of the key in an external key manager, if that has its material; told from
    /// 2026-01-01-preview on.
    pub external_key: Option<ForeignText>,
}
