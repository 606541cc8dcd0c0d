//! The objects of a token: what the HSM's keys look like to programs.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use cryptoki_sys::{
    CK_KEY_TYPE, CK_OBJECT_HANDLE, CK_PROFILE_ID, CK_SESSION_HANDLE, CKK_AES, CKK_GENERIC_SECRET,
    CKR_ACTION_PROHIBITED,
};
use hsm_keys::{Digest, Key, KeyType, PublicKey};
use managed_hsm::{KeyId, KeyName, KeyOperation, Properties};
use zeroize::Zeroizing;

use super::tags::{self, Half};
use crate::certificates::StoredCertificate;
use crate::error::Error;
use crate::module::new_handle;

/// A secret key that a program has brought, or that the HSM has unwrapped for it: it is here.
pub(crate) struct SecretKey {
    pub(crate) kind: CK_KEY_TYPE,
    pub(crate) value: Zeroizing<Vec<u8>>,
    pub(crate) sensitive: bool,
    pub(crate) extractable: bool,
}

impl std::fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SecretKey")
    }
}

/// A version of a key of the HSM, with its two objects, or one if it is symmetric; or a public or a
/// secret key that a program has brought, with one.
#[derive(Debug)]
pub(crate) struct StoredKey {
    /// The service's own name of it; empty for a program's.
    pub(crate) kid: String,
    pub(crate) key: Key,
    pub(crate) enabled: bool,
    pub(crate) operations: Vec<KeyOperation>,
    pub(crate) properties: Properties,
    /// The session that it lives as long as.
    pub(crate) session: Option<CK_SESSION_HANDLE>,
    /// The key itself, where it is a program's.
    pub(crate) secret: Option<SecretKey>,
    pub(super) halves: [HalfOfKey; 2],
    /// Whether the id in its tags is another version's.
    pub(super) has_default_id: bool,
    /// When the HSM has said all this, in milliseconds since the table was made.
    pub(super) checked: AtomicU64,
}

/// One of a key's two objects.
#[derive(Clone, Debug)]
pub(crate) struct HalfOfKey {
    pub(crate) handle: CK_OBJECT_HANDLE,
    pub(crate) label: String,
    pub(crate) id: Vec<u8>,
}

impl StoredKey {
    /// A key that the HSM has just described. `handles`: those of its objects, if they have some.
    pub(super) fn new(
        loaded: managed_hsm::Key,
        session: Option<CK_SESSION_HANDLE>,
        handles: Option<[CK_OBJECT_HANDLE; 2]>,
        now: u64,
    ) -> Self {
        let properties = loaded.properties.clone();
        let (name, kid, enabled) = (
            loaded.id.clone(),
            loaded.kid.raw().to_owned(),
            loaded.enabled,
        );
        let operations = loaded.operations.clone();
        let key = Key::from(loaded);
        let handles = handles.unwrap_or_else(|| [new_handle(), new_handle()]);
        let half = |half: Half, handle| HalfOfKey {
            handle,
            label: label_of(&properties, half, &name.key),
            id: match tags::read(&properties.tags, half, "ID") {
                Some(text) => tags::decode_id(text).into_owned(),
                None => default_id(&key.public, &name),
            },
        };
        let halves = [
            half(Half::Private, handles[0]),
            half(Half::Public, handles[1]),
        ];
        Self {
            halves,
            kid,
            key,
            enabled,
            operations,
            properties,
            session,
            secret: None,
            has_default_id: false,
            checked: AtomicU64::new(now),
        }
    }

    /// The same version with the id of its own public key, or with that of its tags again.
    pub(super) fn with_default_id(&self, has_default_id: bool) -> Self {
        let mut halves = self.halves.clone();
        for (half, own) in Half::BOTH.into_iter().zip(&mut halves) {
            own.id = match (self.tagged_id(half), self.hsm_id()) {
                (Some(text), _) if !has_default_id => tags::decode_id(text).into_owned(),
                (_, Some(id)) => default_id(self.public(), id),
                (_, None) => own.id.clone(),
            };
        }
        Self {
            kid: self.kid.clone(),
            key: self.key.clone(),
            enabled: self.enabled,
            operations: self.operations.clone(),
            properties: self.properties.clone(),
            session: self.session,
            secret: None,
            halves,
            has_default_id,
            checked: AtomicU64::new(self.checked.load(Ordering::Relaxed)),
        }
    }

    fn tagged_id(&self, half: Half) -> Option<&str> {
        tags::read(&self.properties.tags, half, "ID")
    }

    /// Whether the tags of two versions hold the same id.
    pub(super) fn shares_id(&self, other: &Self) -> bool {
        Half::BOTH.into_iter().any(|half| {
            let id = self.tagged_id(half);
            id.is_some() && id == other.tagged_id(half)
        })
    }

    /// A key that a program has brought, for as long as its session.
    pub(crate) fn brought(
        public: PublicKey,
        secret: Option<SecretKey>,
        session: CK_SESSION_HANDLE,
        (label, id): (String, Vec<u8>),
        operations: Vec<KeyOperation>,
    ) -> Self {
        let half = || HalfOfKey {
            handle: new_handle(),
            label: label.clone(),
            id: id.clone(),
        };
        Self {
            halves: [half(), half()],
            kid: String::new(),
            key: Key::from(public),
            enabled: true,
            operations,
            properties: Properties::default(),
            session: Some(session),
            secret,
            has_default_id: false,
            checked: AtomicU64::new(0),
        }
    }

    /// Which key of the HSM it is; None: a program has brought it.
    pub(crate) fn hsm_id(&self) -> Option<&KeyId> {
        self.key.id()
    }

    /// Whether it is this version of a key of the HSM.
    pub(super) fn is(&self, id: &KeyId) -> bool {
        self.hsm_id().is_some_and(|own| own == id)
    }

    /// The same where only a key of the HSM will do.
    pub(crate) fn require_hsm_id(&self) -> Result<&KeyId, Error> {
        self.hsm_id()
            .ok_or_else(|| Error::code(CKR_ACTION_PROHIBITED))
    }

    /// Which of the two objects a key is that a program has brought.
    pub(super) const fn half_of_brought(&self) -> Half {
        match self.secret {
            Some(_) => Half::Private,
            None => Half::Public,
        }
    }

    /// What it is called in sentences.
    pub(crate) fn name(&self) -> String {
        self.hsm_id()
            .map_or_else(|| "of the session".to_owned(), ToString::to_string)
    }

    pub(crate) fn public(&self) -> &PublicKey {
        &self.key.public
    }

    pub(crate) fn half(&self, half: Half) -> &HalfOfKey {
        &self.halves[half as usize]
    }

    pub(crate) fn permits(&self, operation: &KeyOperation) -> bool {
        self.operations.contains(operation)
    }

    /// Whether it may make other keys: not by the service as it is, but its description may say so.
    pub(crate) fn may_derive(&self) -> bool {
        self.operations
            .iter()
            .any(|operation| operation.to_string() == "deriveKey")
    }

    /// Whether there is such an object: symmetric keys have no public half, and that of others may be
    /// hidden.
    pub(crate) fn shows(&self, half: Half) -> bool {
        match half {
            Half::Private => self.hsm_id().is_some() || self.secret.is_some(),
            Half::Public => {
                !self.is_secret() && !self.properties.tags.contains_key(tags::PUBLIC_HIDDEN)
            }
        }
    }

    /// Whether it is a symmetric key.
    pub(crate) fn is_secret(&self) -> bool {
        self.public().key_type() == KeyType::Aes
    }

    /// The type of a symmetric key: the HSM's are AES, and called generic where a program wants that.
    pub(crate) fn secret_kind(&self) -> CK_KEY_TYPE {
        let generic = CKK_GENERIC_SECRET.to_string();
        match &self.secret {
            Some(secret) => secret.kind,
            None if self.tag("KEY_TYPE") == Some(generic.as_str()) => CKK_GENERIC_SECRET,
            None => CKK_AES,
        }
    }

    /// Whether the HSM has made it, as far as its tag tells.
    pub(crate) fn is_born_in_hsm(&self) -> bool {
        self.hsm_id().is_some() && self.tag("LOCAL").is_none_or(|told| told != "0")
    }

    /// The length of a symmetric key in bytes, if it is known.
    pub(crate) fn value_len(&self) -> Option<usize> {
        let known = || self.key.hsm.as_ref()?.size().or_else(|| self.told_bits());
        match &self.secret {
            Some(secret) => Some(secret.value.len()),
            None => Some(known()? as usize / 8),
        }
    }

    /// The size of an AES key as its tag has it, which anybody may have written.
    pub(crate) fn told_bits(&self) -> Option<u32> {
        let len: u32 = self.tag("VALUE_LEN")?.parse().ok()?;
        [16, 24, 32, 48, 64].contains(&len).then_some(8 * len)
    }

    fn tag(&self, attribute: &str) -> Option<&str> {
        tags::read(&self.properties.tags, Half::Private, attribute)
    }

    pub(crate) fn has_label(&self, half: Half, sought: &[u8]) -> bool {
        match tags::read(&self.properties.tags, half, "LABEL") {
            Some(text) => tags::means(text, sought),
            None => self.half(half).label.as_bytes() == sought,
        }
    }

    pub(crate) fn has_id(&self, half: Half, sought: &[u8]) -> bool {
        let tagged = || self.tagged_id(half).filter(|_| !self.has_default_id);
        self.half(half).id == sought || tagged().is_some_and(|text| tags::means(text, sought))
    }

    /// Who has made it for a session.
    pub(crate) fn maker(&self) -> Option<&str> {
        self.properties.tags.get(tags::SESSION).map(String::as_str)
    }

    /// Whether it is a session's key, and not of a session of this process: of another process, which
    /// may have ended without taking it away.
    pub(crate) fn is_of_others(&self) -> bool {
        self.session.is_none() && self.maker().is_some()
    }

    /// Why the key can't be used now, if it can't.
    pub(crate) fn obstacle(&self) -> Option<String> {
        let now = std::time::SystemTime::UNIX_EPOCH
            .elapsed()
            .map_or(0, |since| {
                i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
            });
        let Properties {
            not_before,
            expires,
            ..
        } = self.properties;
        let what = if !self.enabled {
            "is disabled".to_owned()
        } else if not_before.is_some_and(|at| now < at) {
            format!("is not valid before {}", not_before.unwrap_or_default())
        } else if expires.is_some_and(|at| now >= at) {
            format!("has expired at {}", expires.unwrap_or_default())
        } else {
            return None;
        };
        Some(format!(
            "key {} {what}: change its attributes enabled, nbf, exp in the HSM, or use another key",
            self.name()
        ))
    }
}

/// A key's label by its tags, else its name.
pub(crate) fn label_of(properties: &Properties, half: Half, name: &KeyName) -> String {
    let tag = tags::read(&properties.tags, half, "LABEL");
    tag.map_or_else(|| name.to_string(), str::to_owned)
}

/// The id of a key that has none in its tags: SHA-1 of the bits of the public key (RFC 5280, section
/// 4.2.1.2, method 1), which certificates have as their subject key identifier; of a symmetric key the
/// version.
fn default_id(public: &PublicKey, id: &KeyId) -> Vec<u8> {
    let bits = match public {
        PublicKey::Rsa(rsa) => rsa.pkcs1(),
        PublicKey::Ec(ec) => ec.point().to_vec(),
        PublicKey::Aes => return tags::decode_id(id.version.as_str()).into_owned(),
    };
    Digest::by_name("SHA1").map_or_else(Vec::new, |sha1| sha1.of(&bits).into_vec())
}

/// An object of a token.
#[derive(Clone, Debug)]
pub(crate) enum Object {
    Key(Arc<StoredKey>, Half),
    Certificate(Arc<StoredCertificate>),
    Profile(CK_PROFILE_ID),
}
