//! The objects of a token: what the HSM's keys look like to programs. A table of them is never
//! changed; another one takes its place, so that readers need no lock.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use cryptoki_sys::{
    CK_KEY_TYPE, CK_OBJECT_HANDLE, CK_PROFILE_ID, CK_SESSION_HANDLE, CKK_AES, CKK_GENERIC_SECRET,
    CKP_AUTHENTICATION_TOKEN, CKP_BASELINE_PROVIDER, CKP_EXTENDED_PROVIDER, CKR_ACTION_PROHIBITED,
};
use hsm_keys::{Digest, Key, KeyType, PublicKey, once};
use managed_hsm::{KeyId, KeyOperation};
use zeroize::Zeroizing;

use super::loading::Sought;
use super::tags::{self, Half, Tags};
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
    pub(crate) kid: Box<str>,
    pub(crate) key: Key,
    pub(crate) enabled: bool,
    pub(crate) operations: Arc<[KeyOperation]>,
    pub(crate) tags: Tags,
    /// From when and until when it may be used, and when it was changed: seconds since 1970.
    pub(crate) not_before: Option<i64>,
    pub(crate) expires: Option<i64>,
    pub(crate) updated: Option<i64>,
    /// The session that it lives as long as.
    pub(crate) session: Option<CK_SESSION_HANDLE>,
    /// The key itself, where it is a program's.
    pub(crate) secret: Option<Box<SecretKey>>,
    /// Label and id of a program's key.
    given: Option<Box<(String, Vec<u8>)>>,
    /// The id of an object that has none in the tags.
    usual_id: Box<[u8]>,
    /// The handles of its objects.
    handles: [CK_OBJECT_HANDLE; 2],
    /// When the HSM has said all this, in milliseconds since the table was made.
    checked: AtomicU64,
}

impl StoredKey {
    /// A key that the HSM has just described, with handles of its own.
    pub(super) fn new(loaded: managed_hsm::Key) -> Self {
        let (kid, enabled) = (loaded.kid.raw().into(), loaded.enabled);
        let (id, properties) = (loaded.id.clone(), &loaded.properties);
        let tags = properties.tags.iter().collect();
        let (not_before, expires) = (properties.not_before, properties.expires);
        let updated = properties.updated;
        let key = Key::from(loaded);
        Self {
            kid,
            enabled,
            operations: key
                .hsm
                .as_ref()
                .map(|hsm| Arc::clone(&hsm.operations))
                .unwrap_or_default(),
            tags,
            not_before,
            expires,
            updated,
            session: None,
            secret: None,
            given: None,
            usual_id: usual_id(&key.public, &id).into(),
            handles: [new_handle(), new_handle()],
            key,
            checked: AtomicU64::new(0),
        }
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
            not_before: None,
            expires: None,
            updated: None,
            session: Some(session),
            secret: secret.map(Box::new),
            given: Some(Box::new((label, id))),
            usual_id: Box::default(),
            handles: [new_handle(), new_handle()],
            checked: AtomicU64::new(0),
        }
    }

    /// Which key of the HSM it is; None: a program has brought it.
    pub(crate) fn hsm_id(&self) -> Option<&KeyId> {
        self.key.id()
    }

    /// The same where only a key of the HSM will do.
    pub(crate) fn require_hsm_id(&self) -> Result<&KeyId, Error> {
        self.hsm_id()
            .ok_or_else(|| Error::code(CKR_ACTION_PROHIBITED))
    }

    /// Which of the two objects a key is that a program has brought.
    const fn half_of_brought(&self) -> Half {
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
    pub(crate) fn label(&self, half: Half) -> &str {
        match (&self.given, self.hsm_id()) {
            (Some(given), _) => &given.0,
            (None, Some(id)) => self
                .tags
                .read(half, "LABEL")
                .unwrap_or_else(|| id.key.as_str()),
            (None, None) => "",
        }
    }

    /// The id of one of its objects.
    pub(crate) fn id(&self, half: Half) -> Cow<'_, [u8]> {
        match (&self.given, self.tags.read(half, "ID")) {
            (Some(given), _) => given.1.as_slice().into(),
            (None, Some(text)) => tags::decode_id(text),
            (None, None) => (&*self.usual_id).into(),
        }
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
            Half::Public => !self.is_secret() && !self.tags.has(tags::PUBLIC_HIDDEN),
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
        [16, 24, 32].contains(&len).then_some(8 * len)
    }

    fn tag(&self, attribute: &str) -> Option<&str> {
        self.tags.read(Half::Private, attribute)
    }

    pub(crate) fn has_label(&self, half: Half, sought: &[u8]) -> bool {
        match self.tags.read(half, "LABEL") {
            Some(text) => tags::means(text, sought),
            None => self.label(half).as_bytes() == sought,
        }
    }

    pub(crate) fn has_id(&self, half: Half, sought: &[u8]) -> bool {
        *self.id(half) == *sought
            || self
                .tags
                .read(half, "ID")
                .is_some_and(|text| tags::means(text, sought))
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

/// No key of the HSM has such a name.
fn name_of_brought(handle: CK_OBJECT_HANDLE) -> String {
    format!("object {handle}")
}

/// The id of a key that has none in its tags: SHA-1 of the bits of the public key (RFC 5280, section
/// 4.2.1.2, method 1), which certificates have as their subject key identifier; of a symmetric key the
/// version.
fn usual_id(public: &PublicKey, id: &KeyId) -> Vec<u8> {
    let bits = match public {
        PublicKey::Rsa(rsa) => rsa.pkcs1(),
        PublicKey::Ec(ec) => ec.point().to_vec(),
        PublicKey::MlDsa(ml_dsa) => ml_dsa.bytes().to_vec(),
        PublicKey::Aes => return tags::decode_id(id.version.as_str()).into_owned(),
    };
    Digest::by_name("SHA1").map_or_else(Vec::new, |sha1| sha1.of(&bits).into_vec())
}

fn hash(bytes: &[u8]) -> u64 {
    BuildHasherDefault::<DefaultHasher>::default().hash_one(bytes)
}

/// An object of a token.
#[derive(Clone, Debug)]
pub(crate) enum Object {
    Key(Arc<StoredKey>, Half),
    Profile(CK_PROFILE_ID),
}

/// All objects of a token.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    began: Instant,
    /// The versions that are found, by the keys' names in lower case.
    pub(crate) keys: HashMap<Arc<str>, Arc<StoredKey>>,
    /// All objects that programs may have handles of: earlier versions as well.
    objects: HashMap<CK_OBJECT_HANDLE, Object>,
    pub(crate) profiles: Vec<(CK_OBJECT_HANDLE, CK_PROFILE_ID)>,
    /// Public objects that went with their private ones, and that nobody has destroyed yet.
    gone: HashSet<CK_OBJECT_HANDLE>,
    index: Index,
}

/// Which keys have a label, or an id; made when it is first asked for.
#[derive(Debug, Default)]
struct Index(OnceLock<[Found; 2]>);

/// Keys by the hash values of their labels, or of their ids, in the order of those. Two texts may have
/// the same: whoever looks something up looks at what is found, too.
type Found = Vec<(u64, Arc<StoredKey>)>;

impl Clone for Index {
    /// That of another table is another one.
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl Default for Table {
    fn default() -> Self {
        let profiles = [
            CKP_BASELINE_PROVIDER,
            CKP_EXTENDED_PROVIDER,
            CKP_AUTHENTICATION_TOKEN,
        ];
        let profiles: Vec<_> = profiles.map(|id| (new_handle(), id)).into();
        let objects = profiles.iter();
        Self {
            began: Instant::now(),
            keys: HashMap::new(),
            objects: objects
                .map(|(handle, id)| (*handle, Object::Profile(*id)))
                .collect(),
            profiles,
            gone: HashSet::new(),
            index: Index::default(),
        }
    }
}

impl Table {
    /// What a handle is of.
    pub(crate) fn object(&self, handle: CK_OBJECT_HANDLE) -> Option<&Object> {
        self.objects.get(&handle).filter(|object| match object {
            Object::Key(key, half) => key.shows(*half),
            Object::Profile(_) => true,
        })
    }

    /// The keys that may fit.
    pub(crate) fn candidates(&self, sought: Sought<'_>) -> Vec<&Arc<StoredKey>> {
        let (of, wanted) = match (sought.label, sought.id) {
            (None, None) => return self.keys.values().collect(),
            (_, Some(id)) => (1, id),
            (Some(label), None) => (0, label),
        };
        let index = &once(&self.index.0, || self.make_index())[of];
        let hash = hash(wanted);
        let start = index.partition_point(|(known, _)| *known < hash);
        let found = index[start..]
            .iter()
            .take_while(|(known, _)| *known == hash);
        found
            .map(|(_, key)| key)
            .filter(|key| sought.fits(key))
            .collect()
    }

    fn make_index(&self) -> [Found; 2] {
        let mut index = [Found::new(), Found::new()];
        for key in self.keys.values() {
            for (of, attribute) in ["LABEL", "ID"].into_iter().enumerate() {
                let mut hashes: Vec<u64> = Vec::new();
                for half in Half::BOTH {
                    hashes.push(match of {
                        0 => hash(key.label(half).as_bytes()),
                        _ => hash(&key.id(half)),
                    });
                    if let Some(text) = key.tags.read(half, attribute) {
                        hashes.push(hash(text.as_bytes()));
                        hashes.extend(tags::meanings(text).map(|meaning| hash(&meaning)));
                    }
                }
                hashes.sort_unstable();
                hashes.dedup();
                index[of].extend(hashes.into_iter().map(|hash| (hash, Arc::clone(key))));
            }
        }
        for found in &mut index {
            found.sort_unstable_by_key(|(hash, _)| *hash);
        }
        index
    }

    /// Milliseconds since the table was made.
    pub(crate) fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Takes in what the HSM says of a key. A version that is there already keeps its handles; of one
    /// that isn't, the earlier one stays usable by its own.
    pub(crate) fn add(
        &mut self,
        mut key: StoredKey,
        session: Option<CK_SESSION_HANDLE>,
    ) -> Arc<StoredKey> {
        let id = key.hsm_id();
        let name = id.map_or_else(String::new, |id| id.key.as_str().to_ascii_lowercase());
        let same = self
            .keys
            .get(&*name)
            .filter(|known| known.hsm_id().map(|id| &id.version) == id.map(|id| &id.version));
        let session = session.or_else(|| same.and_then(|known| known.session));
        if let Some(handles) = same.map(|known| known.handles) {
            key.handles = handles;
        }
        key.session = session;
        key.checked = AtomicU64::new(self.now());
        let stored = Arc::new(key);
        for half in Half::BOTH {
            let handle = stored.handle(half);
            let object = Object::Key(Arc::clone(&stored), half);
            self.objects.insert(handle, object);
        }
        self.keys.insert(name.into(), Arc::clone(&stored));
        stored
    }

    /// Takes in a key that a program has brought.
    pub(crate) fn add_brought(&mut self, key: StoredKey) -> CK_OBJECT_HANDLE {
        let (half, key) = (key.half_of_brought(), Arc::new(key));
        let handle = key.handle(half);
        self.keys
            .insert(name_of_brought(handle).into(), Arc::clone(&key));
        self.objects.insert(handle, Object::Key(key, half));
        handle
    }

    /// Forgets a key that a program has brought.
    pub(crate) fn remove_brought(&mut self, key: &StoredKey) {
        let handle = key.handle(key.half_of_brought());
        self.keys.remove(&*name_of_brought(handle));
        self.objects.remove(&handle);
    }

    /// Takes in a session's key that is to stay: it gets handles of its own, and those that it had go
    /// with the session.
    pub(crate) fn adopt(&mut self, key: StoredKey) -> Arc<StoredKey> {
        if let Some(id) = key.hsm_id() {
            self.keys.remove(&*id.key.as_str().to_ascii_lowercase());
        }
        self.add(key, None)
    }

    /// Whether a session's key has been adopted.
    pub(crate) fn has_adopted(&self, key: &StoredKey) -> bool {
        let name = key.hsm_id().map(|id| id.key.as_str().to_ascii_lowercase());
        let current = name.and_then(|name| self.keys.get(&*name));
        key.session.is_some() && current.is_some_and(|current| current.session.is_none())
    }

    /// Notes that a key was deleted by its private object: who destroys that one destroys the public one, too.
    pub(crate) fn note_deletion(&mut self, key: &StoredKey) {
        if key.shows(Half::Public) {
            self.gone.insert(key.handle(Half::Public));
        }
    }

    /// Whether a handle is that of a public object which went with its private one.
    pub(crate) fn is_gone(&self, handle: CK_OBJECT_HANDLE) -> bool {
        self.gone.contains(&handle)
    }

    /// Destroys such an object.
    pub(crate) fn remove_gone(&mut self, handle: CK_OBJECT_HANDLE) {
        self.gone.remove(&handle);
    }

    /// Forgets the handles of a key.
    pub(crate) fn remove_handles(&mut self, key: &StoredKey) {
        for half in Half::BOTH {
            self.objects.remove(&key.handle(half));
        }
    }

    /// Whether there are secret keys that programs have brought.
    pub(crate) fn has_secrets(&self) -> bool {
        self.keys.values().any(|key| key.secret.is_some())
    }

    /// Forgets the secret keys that programs have brought.
    pub(crate) fn forget_secrets(&mut self) {
        self.keys.retain(|_, key| key.secret.is_none());
        self.objects.retain(|_, object| match object {
            Object::Key(key, _) => key.secret.is_none(),
            Object::Profile(_) => true,
        });
        self.index = Index::default();
    }

    /// Forgets all keys of the HSM, but not what handles are of.
    pub(crate) fn forget(&mut self) {
        self.keys.retain(|_, key| key.hsm_id().is_none());
        self.index = Index::default();
    }

    /// Forgets a key, with all its versions.
    pub(crate) fn remove(&mut self, name: &str) {
        self.keys.remove(&*name.to_ascii_lowercase());
        self.objects.retain(|_, object| match object {
            Object::Key(key, _) => key
                .hsm_id()
                .is_none_or(|id| !id.key.as_str().eq_ignore_ascii_case(name)),
            Object::Profile(_) => true,
        });
    }

    /// How long ago the HSM has said what is known of a key, in milliseconds.
    pub(crate) fn age(&self, key: &StoredKey) -> u64 {
        self.now()
            .saturating_sub(key.checked.load(Ordering::Relaxed))
    }

    /// Notes that what is known of a key still is so.
    pub(crate) fn confirm(&self, key: &StoredKey) {
        key.checked.store(self.now(), Ordering::Relaxed);
    }
}
