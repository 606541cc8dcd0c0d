//! The table of a token's objects. It is never changed; another one takes its place, so that
//! readers need no lock.

mod brought;
mod certificates;
mod earlier;
mod handles;
mod of_sessions;

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use cryptoki_sys::{
    CK_OBJECT_HANDLE, CK_PROFILE_ID, CK_SESSION_HANDLE, CKP_AUTHENTICATION_TOKEN,
    CKP_BASELINE_PROVIDER, CKP_EXTENDED_PROVIDER, CKP_PUBLIC_CERTIFICATES_TOKEN,
};
use managed_hsm::KeyName;

use self::handles::Handles;
use super::index::{Index, Indices};
use super::loading::Sought;
use super::objects::{Object, StoredKey};
use super::tags::Half;
use crate::certificates::{CertificateObject, StoredCertificate};
use crate::module::new_handle;

/// No request takes as long, in milliseconds.
const LONGEST_REQUEST: u64 = 3_600_000;

/// All objects of a token.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    began: Instant,
    /// How many tables there were before.
    pub(crate) generation: u64,
    /// The versions that are found, by the keys' names in lower case.
    pub(crate) keys: Arc<HashMap<Arc<str>, Arc<StoredKey>>>,
    /// Earlier versions that are found as well, since certificates are of them.
    kept: HashMap<String, Vec<Arc<StoredKey>>>,
    certificates: Vec<Arc<StoredCertificate>>,
    /// The public keys of those, made when they are first asked for.
    certified: Arc<OnceLock<HashSet<Vec<u8>>>>,
    /// How often certificates of files were taken in or forgotten.
    filed: u64,
    /// All objects that programs may have handles of: earlier versions as well.
    objects: Arc<HashMap<CK_OBJECT_HANDLE, Object>>,
    handles: Handles,
    /// Keys that programs have brought. They come and go by the moment where there are many of the
    /// HSM's, which are left as they are then.
    brought: HashMap<CK_OBJECT_HANDLE, Object>,
    pub(crate) profiles: Vec<(CK_OBJECT_HANDLE, CK_PROFILE_ID)>,
    /// When keys were found to be gone, by the token's clock and in milliseconds, by their names.
    removed: HashMap<String, (u64, u64)>,
    /// Public objects that went with their private ones, and that nobody has destroyed yet.
    gone: HashSet<CK_OBJECT_HANDLE>,
    /// By what the HSM's keys are found.
    index: Arc<Index>,
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
            generation: 0,
            keys: Arc::default(),
            kept: HashMap::new(),
            certificates: Vec::new(),
            certified: Arc::default(),
            filed: 0,
            objects: Arc::new(
                objects
                    .map(|(handle, id)| (*handle, Object::Profile(*id)))
                    .collect(),
            ),
            handles: Handles::default(),
            brought: HashMap::new(),
            profiles,
            removed: HashMap::new(),
            gone: HashSet::new(),
            index: Arc::default(),
        }
    }
}

impl Table {
    /// What a handle is of.
    pub(crate) fn object(&self, handle: CK_OBJECT_HANDLE) -> Option<&Object> {
        let object = self.objects.get(&handle);
        let object = object.or_else(|| self.brought.get(&handle));
        object.filter(|object| match object {
            Object::Key(key, half) => key.shows(*half),
            Object::Certificate(_) | Object::Profile(_) => true,
        })
    }

    /// The table that is to take the place of this one, for changes of anything.
    pub(super) fn next(&self) -> Self {
        let mut next = Self {
            generation: self.generation + 1,
            index: Arc::default(),
            ..self.clone()
        };
        let now = self.now();
        let is_recent = |at: u64| now.saturating_sub(at) < LONGEST_REQUEST;
        next.removed.retain(|_, (_, at)| is_recent(*at));
        next
    }

    fn keys_mut(&mut self) -> &mut HashMap<Arc<str>, Arc<StoredKey>> {
        Arc::make_mut(&mut self.keys)
    }

    fn objects_mut(&mut self) -> &mut HashMap<CK_OBJECT_HANDLE, Object> {
        Arc::make_mut(&mut self.objects)
    }

    /// Says that there are certificates, too.
    pub(crate) fn with_certificates(mut self) -> Self {
        let (handle, id) = (new_handle(), CKP_PUBLIC_CERTIFICATES_TOKEN);
        self.profiles.push((handle, id));
        self.objects_mut().insert(handle, Object::Profile(id));
        self
    }

    /// All versions of the HSM's keys that are found.
    fn found(&self) -> impl Iterator<Item = &Arc<StoredKey>> {
        self.keys.values().chain(self.kept())
    }

    /// The version of a key that is found by itself.
    pub(crate) fn newest(&self, name: &str) -> Option<&Arc<StoredKey>> {
        self.keys.get(&*name.to_ascii_lowercase())
    }

    /// The earlier versions that are found since certificates are of them.
    pub(crate) fn kept(&self) -> impl Iterator<Item = &Arc<StoredKey>> {
        self.kept.values().flatten()
    }

    /// Those of a key.
    pub(crate) fn kept_versions(&self, name: &KeyName) -> &[Arc<StoredKey>] {
        let kept = self.kept.get(&name.as_str().to_ascii_lowercase());
        kept.map_or(&[], Vec::as_slice)
    }

    /// The versions of a key that are found.
    pub(crate) fn versions(&self, name: &KeyName) -> impl Iterator<Item = &Arc<StoredKey>> {
        let newest = self.newest(name.as_str()).into_iter();
        newest.chain(self.kept_versions(name))
    }

    pub(crate) fn certificates(&self) -> &[Arc<StoredCertificate>] {
        &self.certificates
    }

    /// Those that searches find: of the same one in a key vault and in a file, that of the file,
    /// which somebody has named, and a program may have written.
    pub(crate) fn shown_certificates(&self) -> Vec<&Arc<StoredCertificate>> {
        let (of_vault, others): (Vec<_>, Vec<_>) = self
            .certificates
            .iter()
            .partition(|certificate| certificate.is_vaults());
        let filed: HashSet<&[u8]> = match of_vault.is_empty() {
            true => HashSet::new(),
            false => others
                .iter()
                .filter(|certificate| certificate.session().is_none())
                .map(|certificate| &certificate.fingerprint[..])
                .collect(),
        };
        let mut shown = others;
        shown.extend(
            of_vault
                .into_iter()
                .filter(|one| !filed.contains(&one.fingerprint[..])),
        );
        shown
    }

    /// The key that a certificate is of.
    pub(crate) fn key_of(&self, certificate: &StoredCertificate) -> Option<&StoredKey> {
        let public = certificate.public.as_ref()?;
        let keys = self.indices().by_public.of(public);
        let keys = keys.filter(|key| key.public().spki().as_ref() == Some(public));
        // The same of a key that is there twice.
        keys.min_by_key(|key| &key.kid).map(|key| &**key)
    }

    /// A certificate, to be asked for attributes.
    pub(crate) fn view<'a>(&'a self, certificate: &'a StoredCertificate) -> CertificateObject<'a> {
        CertificateObject {
            certificate,
            key: self.key_of(certificate),
        }
    }

    /// The keys that may fit.
    pub(crate) fn candidates(&self, sought: Sought<'_>) -> Vec<&Arc<StoredKey>> {
        let (index, wanted) = match (sought.label, sought.id) {
            (None, None) => return self.found().chain(self.brought_keys()).collect(),
            (_, Some(id)) => (&self.indices().by_id, id),
            (Some(label), None) => (&self.indices().by_label, label),
        };
        let found = index.of(wanted).chain(self.brought_keys());
        let found = found.filter(|key| sought.fits(key));
        found.chain(self.earlier(sought)).collect()
    }

    fn indices(&self) -> &Indices {
        let has_certificates = !self.certificates.is_empty();
        self.index
            .get(|| Indices::of(self.found(), has_certificates))
    }

    /// Milliseconds since the table was made.
    pub(crate) fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Takes in what the HSM says of a key. A version that is there already keeps its handles; of
    /// one that isn't, the earlier one stays usable by its own. The same version with another
    /// public key takes the place of what was there, by whose handles nothing is done any more.
    /// What has become known since the HSM was asked stays: that is returned, or a key without
    /// objects if it is that there is none any more.
    pub(crate) fn add(
        &mut self,
        key: StoredKey,
        session: Option<CK_SESSION_HANDLE>,
    ) -> Arc<StoredKey> {
        let name = name_of(&key);
        match self.keys.get(&*name) {
            Some(known) if known.as_of > key.as_of => return Arc::clone(known),
            _ if self.is_removed(&key) => return Arc::new(key),
            _ => {}
        }
        let same = self.keys.get(&*name).map(Arc::clone);
        let same = same.filter(|known| is_same(known, &key));
        let session = session.or_else(|| same.as_ref().and_then(|known| known.session));
        let stored = self.store(key, session, same.as_deref());
        self.keys_mut()
            .insert(name.as_str().into(), Arc::clone(&stored));
        self.settle(&name);
        self.keys.get(&*name).map_or(stored, Arc::clone)
    }

    /// Whether the key was found to be gone after the HSM was asked for it.
    fn is_removed(&self, key: &StoredKey) -> bool {
        let removed = self.removed.get(&name_of(key));
        removed.is_some_and(|(as_of, _)| *as_of > key.as_of)
    }

    /// Whether a key was found to be gone, or deleted here, after a list was asked for.
    pub(super) fn was_removed(&self, name: &KeyName, listed: u64) -> bool {
        let removed = self.removed.get(&name.as_str().to_ascii_lowercase());
        removed.is_some_and(|(as_of, _)| *as_of > listed)
    }

    /// Takes in an earlier version of a key, which a certificate is of.
    pub(crate) fn keep(&mut self, key: StoredKey) -> Arc<StoredKey> {
        let name = name_of(&key);
        let known = self.known(&key);
        match known {
            Some(known) if known.as_of > key.as_of => return known,
            _ if self.is_removed(&key) => return Arc::new(key),
            _ => {}
        }
        let stored = self.store(key, None, known.as_deref());
        let kept = self.kept.entry(name.clone()).or_default();
        match kept.iter_mut().find(|kept| is_version(kept, &stored)) {
            Some(kept) => *kept = Arc::clone(&stored),
            None => kept.push(Arc::clone(&stored)),
        }
        self.settle(&name);
        let mut kept = self.kept.get(&name).into_iter().flatten();
        let found = kept.find(|kept| is_same(kept, &stored)).map(Arc::clone);
        found.unwrap_or(stored)
    }

    /// Takes in what the HSM says of a version that is there: it doesn't become the newest. A key
    /// that was adopted stays in the token, whichever of its handles is used.
    pub(crate) fn renew(
        &mut self,
        key: StoredKey,
        session: Option<CK_SESSION_HANDLE>,
    ) -> Arc<StoredKey> {
        let name = name_of(&key);
        let session = match self.keys.get(&*name) {
            None => return self.add(key, session),
            Some(known) if is_version(known, &key) => return self.add(key, None),
            Some(_) => session,
        };
        let mut kept = self.kept.get(&name).into_iter().flatten();
        if kept.any(|kept| is_version(kept, &key)) {
            return self.keep(key);
        }
        match self.known(&key) {
            Some(known) if known.as_of > key.as_of => known,
            _ if self.is_removed(&key) => Arc::new(key),
            known => self.store(key, session, known.as_deref()),
        }
    }

    /// A version as the HSM describes it, with the handles that it has had before.
    fn store(
        &mut self,
        mut key: StoredKey,
        session: Option<CK_SESSION_HANDLE>,
        known: Option<&StoredKey>,
    ) -> Arc<StoredKey> {
        match known {
            Some(known) => {
                key.handles = known.handles;
                key.note_change_of(known);
                key.is_replaced = Arc::clone(&known.is_replaced);
                key.has_default_id = known.has_default_id && known.shares_id(&key);
                if known.session.is_some() {
                    key.first_maker = known.first_maker().map(Into::into);
                }
            }
            None => self.replace(&key),
        }
        key.session = session;
        key.checked = AtomicU64::new(self.now());
        let stored = Arc::new(key);
        self.place(&stored);
        stored
    }

    fn place(&mut self, stored: &Arc<StoredKey>) {
        for half in Half::BOTH {
            let object = Object::Key(Arc::clone(stored), half);
            self.objects_mut().insert(stored.handle(half), object);
            self.handles.note(stored, stored.handle(half));
        }
    }

    /// Has one version of a key have the id that several have in their tags, as a rotation copies
    /// them: the newest if it has a certificate, which is found by that id as well, else an earlier
    /// one, which has one.
    fn settle(&mut self, name: &str) {
        let kept = self.kept.remove(name).unwrap_or_default();
        let Some(newest) = self.keys.get(name).map(Arc::clone) else {
            return;
        };
        let is_first = kept.is_empty() || self.has_certificate(&newest);
        let mut versions = vec![newest];
        versions.extend(kept);
        if !is_first {
            versions.rotate_left(1);
        }
        for at in 0..versions.len() {
            let (before, others) = versions.split_at_mut(at);
            let version = &mut others[0];
            let is_taken = before.iter().any(|other| other.shares_id(version));
            if is_taken != version.has_default_id {
                *version = Arc::new(version.with_default_id(is_taken));
                self.place(version);
            }
        }
        if !is_first {
            versions.rotate_right(1);
        }
        self.keys_mut().insert(name.into(), versions.remove(0));
        if !versions.is_empty() {
            self.kept.insert(name.to_owned(), versions);
        }
    }

    /// Has earlier versions be found no more that no certificate is of; their handles stay good.
    fn forget_kept(&mut self) {
        let mut kept = std::mem::take(&mut self.kept);
        for versions in kept.values_mut() {
            versions.retain(|version| self.has_certificate(version));
        }
        let names: Vec<String> = kept.keys().cloned().collect();
        kept.retain(|_, versions| !versions.is_empty());
        self.kept = kept;
        for name in names {
            self.settle(&name);
        }
    }

    /// Notes that a key was deleted by its private object: who destroys that one destroys the
    /// public one, too.
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

    /// Forgets one handle of a key.
    pub(crate) fn remove_handle(&mut self, handle: CK_OBJECT_HANDLE) {
        self.objects_mut().remove(&handle);
    }

    /// Forgets the handles of a key.
    pub(crate) fn remove_handles(&mut self, key: &StoredKey) {
        for half in Half::BOTH {
            self.objects_mut().remove(&key.handle(half));
        }
    }

    /// Forgets a version of a key.
    pub(crate) fn remove_version(&mut self, key: &StoredKey) {
        let name = name_of(key);
        if self
            .newest(&name)
            .is_some_and(|known| is_version(known, key))
        {
            self.keys_mut().remove(&*name);
        }
        self.remove_handles(key);
    }

    /// Forgets the handles of keys that don't stay.
    fn retain_handles(&mut self, stays: impl Fn(&StoredKey) -> bool) {
        self.objects_mut().retain(|_, object| match object {
            Object::Key(key, _) => stays(key),
            Object::Certificate(_) | Object::Profile(_) => true,
        });
    }

    /// Forgets all keys of the HSM, and what handles are of: they are never valid again.
    pub(crate) fn forget(&mut self) {
        self.keys = Arc::default();
        self.kept.clear();
        self.gone.clear();
        self.retain_handles(|_| false);
        self.index = Arc::default();
    }

    /// Forgets a key, with all its versions, unless something has become known of it since it was
    /// found to be gone. `as_of`: when that was, by the token's clock.
    pub(crate) fn remove(&mut self, name: &str, as_of: u64) {
        let lower = name.to_ascii_lowercase();
        if self
            .keys
            .get(&*lower)
            .is_some_and(|known| known.as_of > as_of)
        {
            return;
        }
        let now = self.now();
        self.removed.insert(lower.clone(), (as_of, now));
        self.keys_mut().remove(&*lower);
        self.kept.remove(&lower);
        for handle in self.take_handles(&lower) {
            self.objects_mut().remove(&handle);
        }
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

/// By what a key of the HSM is found: its name in lower case.
fn name_of(key: &StoredKey) -> String {
    key.hsm_id()
        .map_or_else(String::new, |id| id.key.as_str().to_ascii_lowercase())
}

/// Whether both are the same version of a key of the HSM.
fn is_version(known: &StoredKey, other: &StoredKey) -> bool {
    #[cfg(test)]
    super::examples::note_look();
    other.hsm_id().is_some_and(|id| known.is(id))
}

/// Whether both are the same key too: a version never becomes another one, but an HSM, or who
/// stands before it, may say so.
fn is_same(known: &StoredKey, other: &StoredKey) -> bool {
    is_version(known, other) && known.public() == other.public() && !known.is_replaced()
}
