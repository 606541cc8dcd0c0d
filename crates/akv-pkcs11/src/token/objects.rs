//! The objects of a token: what the HSM's keys look like to programs.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use cryptoki_sys::{
    CK_KEY_TYPE, CK_OBJECT_HANDLE, CK_PROFILE_ID, CK_SESSION_HANDLE, CKK_AES, CKK_GENERIC_SECRET,
    CKR_ACTION_PROHIBITED, CKR_DEVICE_ERROR,
};
use hsm_keys::{Digest, HsmKey, Key, KeyType, PublicKey};
use managed_hsm::{KeyId, KeyOperation, without_secrets};
use zeroize::Zeroizing;

use super::loading::Sought;
use super::loads::Load;
use super::tags::{self, Half, Tags};
use crate::certificates::StoredCertificate;
use crate::error::Error;
use crate::module::new_handle;
use crate::template::day;

/// The service's name for the making of other keys, which it has no request for.
pub(crate) const DERIVE_KEY: &str = "deriveKey";

/// How many changes of a key are remembered, since a list may be older than they are.
const MOST_CHANGES: usize = 8;

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
    pub(crate) kid: Box<str>,
    key: Key,
    pub(crate) enabled: bool,
    pub(crate) operations: Arc<[KeyOperation]>,
    /// As the HSM has them, to be changed and written back.
    pub(crate) tags: Tags,
    /// Whether they repeat a secret of this process, which programs are not shown.
    repeats_secret: bool,
    /// Whether a key vault keeps it for a certificate.
    pub(crate) managed: bool,
    /// Whether an attested environment may get it.
    exportable: bool,
    /// When it was made and changed, from when and until when it may be used: seconds since 1970.
    pub(crate) created: Option<i64>,
    pub(crate) updated: Option<i64>,
    /// What `updated` was before, the last first: lists that are older have that.
    updated_before: Box<[i64]>,
    pub(crate) not_before: Option<i64>,
    pub(crate) expires: Option<i64>,
    /// The session that it lives as long as.
    pub(crate) session: Option<CK_SESSION_HANDLE>,
    /// The key itself, where it is a program's.
    pub(crate) secret: Option<Box<SecretKey>>,
    /// Label and id of a program's key.
    given: Option<Box<(String, Vec<u8>)>>,
    /// The id of an object that has none in the tags.
    default_id: Box<[u8]>,
    /// Whether the id in its tags is another version's.
    pub(super) has_default_id: bool,
    /// When the HSM has refused all that would show a symmetric key's size, in milliseconds since
    /// the table was made, and one; 0: it hasn't.
    pub(crate) hides_size: AtomicU64,
    /// The handles of its objects.
    pub(super) handles: [CK_OBJECT_HANDLE; 2],
    /// When the HSM has said all this, in milliseconds since the table was made.
    pub(super) checked: AtomicU64,
    /// When all this was so, or later, by the token's clock.
    pub(super) as_of: u64,
    pub(super) load: Load,
    /// Whether the HSM has told another public key of the same version since. Shared by all that
    /// have had the same handles, of which an operation may have begun with one.
    pub(super) is_replaced: Arc<AtomicBool>,
    /// Who has made it for a session of this process, if its tags have been loaded again since:
    /// they may say another by now.
    pub(super) first_maker: Option<Box<str>>,
}

impl StoredKey {
    /// A key as the HSM has described it, with handles of its own. `as_of`: by the token's clock.
    pub(super) fn new(loaded: managed_hsm::Key, as_of: u64) -> Self {
        let (kid, enabled) = (loaded.kid.raw().into(), loaded.enabled);
        let (id, properties) = (loaded.id.clone(), &loaded.properties);
        let repeats = |text: &String| matches!(without_secrets(text), Cow::Owned(_));
        let repeats_secret = properties.tags.values().any(repeats);
        let tags = properties.tags.iter().collect();
        let (managed, exportable) = (properties.managed, properties.exportable);
        let (created, updated) = (properties.created, properties.updated);
        let (not_before, expires) = (properties.not_before, properties.expires);
        let key = Key::from(loaded);
        Self {
            kid,
            enabled,
            operations: key
                .hsm
                .as_ref()
                .and_then(|hsm| hsm.operations().cloned())
                .unwrap_or_default(),
            tags,
            repeats_secret,
            managed,
            exportable,
            created,
            updated,
            updated_before: Box::default(),
            not_before,
            expires,
            session: None,
            secret: None,
            given: None,
            default_id: default_id(&key.public, &id).into(),
            has_default_id: false,
            handles: [new_handle(), new_handle()],
            key,
            checked: AtomicU64::new(0),
            as_of,
            load: Load::now(updated),
            is_replaced: Arc::default(),
            hides_size: AtomicU64::default(),
            first_maker: None,
        }
    }

    /// The same version with the id of its own public key, or with that of its tags again.
    pub(super) fn with_default_id(&self, has_default_id: bool) -> Self {
        Self {
            kid: self.kid.clone(),
            key: self.key.clone(),
            enabled: self.enabled,
            operations: Arc::clone(&self.operations),
            tags: self.tags.clone(),
            repeats_secret: self.repeats_secret,
            managed: self.managed,
            exportable: self.exportable,
            created: self.created,
            updated: self.updated,
            updated_before: self.updated_before.clone(),
            not_before: self.not_before,
            expires: self.expires,
            session: self.session,
            secret: None,
            given: None,
            default_id: self.default_id.clone(),
            has_default_id,
            handles: self.handles,
            checked: AtomicU64::new(self.checked.load(Ordering::Relaxed)),
            as_of: self.as_of,
            load: self.load,
            is_replaced: Arc::clone(&self.is_replaced),
            hides_size: AtomicU64::new(self.hides_size.load(Ordering::Relaxed)),
            first_maker: self.first_maker.clone(),
        }
    }

    /// Notes whether the same version was changed. `before`: what was known of it.
    pub(super) fn note_change_of(&mut self, before: &Self) {
        if self.updated == before.updated {
            self.load = self.load.after(before.load);
        }
        let mut times: Vec<i64> = before.updated.into_iter().collect();
        times.retain(|time| Some(*time) != self.updated);
        times.extend(&before.updated_before);
        times.truncate(MOST_CHANGES);
        self.updated_before = times.into();
    }

    /// Whether it is this version as it was when it was changed at a time.
    pub(super) fn was_updated(&self, at: i64) -> bool {
        self.updated == Some(at) || self.updated_before.contains(&at)
    }

    /// The id in its tags, whether it is its own or another version's.
    fn tagged_id(&self, half: Half) -> Option<&str> {
        self.tags.read(half, "ID")
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
        Self {
            kid: Box::default(),
            key: Key::from(public),
            enabled: true,
            operations: operations.into(),
            tags: Tags::default(),
            repeats_secret: false,
            managed: false,
            exportable: false,
            created: None,
            updated: None,
            updated_before: Box::default(),
            not_before: None,
            expires: None,
            session: Some(session),
            secret: secret.map(Box::new),
            given: Some(Box::new((label, id))),
            default_id: Box::default(),
            has_default_id: false,
            handles: [new_handle(), new_handle()],
            checked: AtomicU64::new(0),
            as_of: 0,
            load: Load::now(None),
            is_replaced: Arc::default(),
            hides_size: AtomicU64::default(),
            first_maker: None,
        }
    }

    /// Which key of the HSM it is; None: a program has brought it.
    pub(crate) fn hsm_id(&self) -> Option<&KeyId> {
        self.key.id()
    }

    /// The same where only a key of the HSM will do, and something is to be done with it.
    pub(crate) fn require_hsm_id(&self) -> Result<&KeyId, Error> {
        let id = self.to_use()?.id();
        id.ok_or_else(|| Error::code(CKR_ACTION_PROHIBITED))
    }

    /// The key where the HSM is to do something with it.
    ///
    /// # Errors
    /// The HSM would do it with another one.
    pub(crate) fn to_use(&self) -> Result<&Key, Error> {
        match self.is_replaced() {
            true => Err(self.replaced()),
            false => Ok(&self.key),
        }
    }

    pub(super) fn is_replaced(&self) -> bool {
        self.is_replaced.load(Ordering::Relaxed)
    }

    /// The error where the HSM has another key than the program has a handle of.
    pub(super) fn replaced(&self) -> Error {
        Error::because(
            CKR_DEVICE_ERROR,
            format!(
                "key {} has another public key in the HSM now than when the program found it, which a \
                 version never has: nothing is done with it; look for the key again, and check what \
                 stands between this machine and the HSM",
                self.name()
            ),
        )
    }

    /// What the service lets the key do, for a person.
    pub(crate) fn permitted(&self) -> String {
        let hsm = self.key.hsm.as_ref();
        hsm.and_then(HsmKey::permitted).unwrap_or_default()
    }

    /// Whether it is this version of a key of the HSM.
    pub(super) fn is(&self, id: &KeyId) -> bool {
        self.hsm_id().is_some_and(|own| own == id)
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

    /// The handle of one of its objects.
    pub(crate) fn handle(&self, half: Half) -> CK_OBJECT_HANDLE {
        self.handles[half as usize]
    }

    /// The label of one of its objects: by its tags, else the key's name.
    pub(crate) fn label(&self, half: Half) -> Cow<'_, str> {
        match (&self.given, self.hsm_id()) {
            (Some(given), _) => given.0.as_str().into(),
            (None, Some(id)) => self
                .tags
                .read(half, "LABEL")
                .map_or_else(|| id.key.as_str().into(), |text| self.shown(text)),
            (None, None) => Cow::default(),
        }
    }

    /// Whether its name is its label, and fits what is sought.
    pub(crate) fn is_named(&self, sought: Sought<'_>) -> bool {
        let name = self.hsm_id().map(|id| id.key.as_str().as_bytes());
        sought.label.is_some() && name == sought.label && sought.fits(self)
    }

    /// What programs see of a tag's value.
    fn shown<'a>(&self, text: &'a str) -> Cow<'a, str> {
        match self.repeats_secret {
            true => without_secrets(text),
            false => text.into(),
        }
    }

    /// The id of one of its objects.
    pub(crate) fn id(&self, half: Half) -> Cow<'_, [u8]> {
        match (&self.given, self.own_tagged_id(half)) {
            (Some(given), _) => given.1.as_slice().into(),
            (None, Some(text)) => match self.shown(text) {
                Cow::Borrowed(text) => tags::decode_id(text),
                Cow::Owned(text) => tags::decode_id(&text).into_owned().into(),
            },
            (None, None) => (&*self.default_id).into(),
        }
    }

    /// The id in its tags, unless it is another version's.
    pub(super) fn own_tagged_id(&self, half: Half) -> Option<&str> {
        self.tagged_id(half).filter(|_| !self.has_default_id)
    }

    /// Whether its tags have an id for one of its objects that is another version's.
    pub(crate) fn hides_tagged_id(&self, half: Half) -> bool {
        self.has_default_id && self.tagged_id(half).is_some()
    }

    pub(crate) fn permits(&self, operation: &KeyOperation) -> bool {
        self.operations.contains(operation)
    }

    /// Whether it may make other keys: not by the service as it is, but its description may say so.
    pub(crate) fn may_derive(&self) -> bool {
        self.operations
            .iter()
            .any(|operation| operation.to_string() == DERIVE_KEY)
    }

    /// Whether there is such an object: symmetric keys have no public half, and that of others may
    /// be hidden.
    pub(crate) fn shows(&self, half: Half) -> bool {
        match half {
            Half::Private => self.hsm_id().is_some() || self.secret.is_some(),
            Half::Public => !self.is_secret() && self.tags.get(tags::PUBLIC_HIDDEN).is_none(),
        }
    }

    /// Whether it is a symmetric key.
    pub(crate) fn is_secret(&self) -> bool {
        self.public().key_type() == KeyType::Aes
    }

    /// The type of a symmetric key: the HSM's are AES, and called generic where a program wants
    /// that.
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

    /// Whether the HSM has made it, and lets nobody have it.
    pub(crate) fn is_never_extractable(&self) -> bool {
        self.is_born_in_hsm() && !self.exportable
    }

    /// The length of a symmetric key in bytes, if it is known.
    pub(crate) fn value_len(&self) -> Option<usize> {
        let known = || self.known_bits().or_else(|| self.told_bits());
        match &self.secret {
            Some(secret) => Some(secret.value.len()),
            None => Some(known()? as usize / 8),
        }
    }

    /// The size of an AES key as the HSM has told or shown it.
    pub(crate) fn known_bits(&self) -> Option<u32> {
        self.key.hsm.as_ref().and_then(HsmKey::size)
    }

    /// The size of an AES key as its tag has it, which anybody may have written.
    pub(crate) fn told_bits(&self) -> Option<u32> {
        let len: u32 = self.tag("VALUE_LEN")?.parse().ok()?;
        [16, 24, 32, 48, 64].contains(&len).then_some(8 * len)
    }

    fn tag(&self, attribute: &str) -> Option<&str> {
        self.tags.read(Half::Private, attribute)
    }

    /// Whether one of its objects shows just the label and the id that are sought.
    pub(crate) fn has_just(&self, half: Half, sought: Sought<'_>) -> bool {
        let label = sought.label;
        label.is_none_or(|label| self.label(half).as_bytes() == label)
            && sought.id.is_none_or(|id| *self.id(half) == *id)
    }

    pub(crate) fn has_label(&self, half: Half, sought: &[u8]) -> bool {
        match self.tags.read(half, "LABEL") {
            Some(text) => text.as_bytes() == sought || tags::may_mean(text, sought),
            None => self.label(half).as_bytes() == sought,
        }
    }

    pub(crate) fn has_id(&self, half: Half, sought: &[u8]) -> bool {
        let tagged = || self.own_tagged_id(half);
        *self.id(half) == *sought || tagged().is_some_and(|text| tags::may_mean(text, sought))
    }

    /// Who has made it for a session.
    pub(crate) fn maker(&self) -> Option<&str> {
        self.tags.get(tags::SESSION)
    }

    /// Who had made it for a session when it was first known here.
    pub(super) fn first_maker(&self) -> Option<&str> {
        self.first_maker.as_deref().or_else(|| self.maker())
    }

    /// Whether it is a session's key, and not of a session of this process: of another process,
    /// which may have ended without taking it away.
    pub(crate) fn is_of_others(&self) -> bool {
        self.session.is_none() && self.maker().is_some()
    }

    /// Refuses what is done with a session's key alone, if it was given to the token since it was
    /// made: also by another process, or by a person. `now`: what the HSM says of it.
    pub(crate) fn check_unadopted(&self, now: &Self) -> Result<(), Error> {
        let was_sessions = self.session.is_some() || self.maker().is_some();
        match was_sessions && (now.maker().is_none() || now.maker() != self.first_maker()) {
            true => Err(Error::because(
                CKR_ACTION_PROHIBITED,
                format!("key {} is a session's no more, and stays", self.name()),
            )),
            false => Ok(()),
        }
    }

    /// Why the key can't be used now, if it can't.
    pub(crate) fn obstacle(&self) -> Option<String> {
        let now = std::time::SystemTime::UNIX_EPOCH
            .elapsed()
            .map_or(0, |since| {
                i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
            });
        let (not_before, expires) = (self.not_before, self.expires);
        let what = if !self.enabled {
            "is disabled".to_owned()
        } else if not_before.is_some_and(|at| now < at) {
            format!(
                "is not valid before {}",
                day(not_before.unwrap_or_default())
            )
        } else if expires.is_some_and(|at| now >= at) {
            format!("has expired on {}", day(expires.unwrap_or_default()))
        } else {
            return None;
        };
        Some(format!(
            "key {} {what}: change its attributes enabled, nbf, exp in the HSM, or use another key",
            self.name()
        ))
    }
}

/// The id of a key that has none in its tags: SHA-1 of the bits of the public key (RFC 5280,
/// section 4.2.1.2, method 1), which certificates have as their subject key identifier; of a
/// symmetric key the version.
fn default_id(public: &PublicKey, id: &KeyId) -> Vec<u8> {
    let bits = match public {
        PublicKey::Rsa(rsa) => rsa.pkcs1(),
        PublicKey::Ec(ec) => ec.point().to_vec(),
        PublicKey::MlDsa(ml_dsa) => ml_dsa.bytes().to_vec(),
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
