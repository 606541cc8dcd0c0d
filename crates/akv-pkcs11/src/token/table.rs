//! The table of a token's objects. It is never changed; another one takes its place, so that readers
//! need no lock.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use cryptoki_sys::{
    CK_OBJECT_HANDLE, CK_PROFILE_ID, CK_SESSION_HANDLE, CKP_AUTHENTICATION_TOKEN,
    CKP_BASELINE_PROVIDER, CKP_EXTENDED_PROVIDER, CKP_PUBLIC_CERTIFICATES_TOKEN,
};
use hsm_keys::once;
use managed_hsm::{KeyId, KeyName};

use super::loading::Sought;
use super::objects::{Object, StoredKey};
use super::tags::{self, Half};
use crate::certificates::{CertificateObject, Kept, StoredCertificate};
use crate::module::new_handle;

/// All objects of a token.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    began: Instant,
    /// How many tables there were before.
    pub(crate) generation: u64,
    /// The versions that are found, by the keys' names in lower case.
    pub(crate) keys: HashMap<String, Arc<StoredKey>>,
    /// Earlier versions that are found as well, since certificates are of them.
    kept: HashMap<String, Vec<Arc<StoredKey>>>,
    certificates: Vec<Arc<StoredCertificate>>,
    /// All objects that programs may have handles of: earlier versions as well.
    objects: HashMap<CK_OBJECT_HANDLE, Object>,
    pub(crate) profiles: Vec<(CK_OBJECT_HANDLE, CK_PROFILE_ID)>,
    index: Index,
}

/// Which keys have a label, an id, or a public key; made when it is first asked for.
#[derive(Debug, Default)]
struct Index(OnceLock<Indices>);

#[derive(Debug, Default)]
struct Indices {
    by_label: Found,
    by_id: Found,
    /// Of keys that certificates may be of.
    by_public: HashMap<Vec<u8>, Arc<StoredKey>>,
}

/// Keys by labels, or by ids.
type Found = HashMap<Vec<u8>, Vec<Arc<StoredKey>>>;

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
            generation: 0,
            keys: HashMap::new(),
            kept: HashMap::new(),
            certificates: Vec::new(),
            objects: objects
                .map(|(handle, id)| (*handle, Object::Profile(*id)))
                .collect(),
            profiles,
            index: Index::default(),
        }
    }
}

impl Table {
    /// What a handle is of.
    pub(crate) fn object(&self, handle: CK_OBJECT_HANDLE) -> Option<&Object> {
        self.objects.get(&handle).filter(|object| match object {
            Object::Key(key, half) => key.shows(*half),
            Object::Certificate(_) | Object::Profile(_) => true,
        })
    }

    /// Says that there are certificates, too.
    pub(crate) fn with_certificates(mut self) -> Self {
        let (handle, id) = (new_handle(), CKP_PUBLIC_CERTIFICATES_TOKEN);
        self.profiles.push((handle, id));
        self.objects.insert(handle, Object::Profile(id));
        self
    }

    /// All versions that are found.
    fn found(&self) -> impl Iterator<Item = &Arc<StoredKey>> {
        self.keys.values().chain(self.kept())
    }

    /// The version of a key that is found by itself.
    pub(crate) fn newest(&self, name: &str) -> Option<&Arc<StoredKey>> {
        self.keys.get(&name.to_ascii_lowercase())
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

    pub(crate) fn certificates(&self) -> &[Arc<StoredCertificate>] {
        &self.certificates
    }

    /// The key that a certificate is of.
    pub(crate) fn key_of(&self, certificate: &StoredCertificate) -> Option<&StoredKey> {
        let public = certificate.public.as_ref()?;
        self.indices().by_public.get(public).map(|key| &**key)
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
        let indices = || self.indices();
        let found = match (sought.label, sought.id) {
            (None, None) => return self.found().collect(),
            (_, Some(id)) => indices().by_id.get(id),
            (Some(label), None) => indices().by_label.get(label),
        };
        let found = found.into_iter().flatten();
        found.filter(|key| sought.fits(key)).collect()
    }

    fn indices(&self) -> &Indices {
        once(&self.index.0, || self.make_indices())
    }

    fn make_indices(&self) -> Indices {
        let mut indices = Indices::default();
        for key in self.found() {
            for (attribute, index) in [("LABEL", &mut indices.by_label), ("ID", &mut indices.by_id)]
            {
                for name in names(key, attribute) {
                    index.entry(name).or_default().push(Arc::clone(key));
                }
            }
            if !self.certificates.is_empty()
                && key.hsm_id().is_some()
                && let Some(public) = key.public().spki()
            {
                // The same of a key that is there twice.
                let known = indices.by_public.entry(public);
                let first = known.or_insert_with(|| Arc::clone(key));
                if key.kid < first.kid {
                    *first = Arc::clone(key);
                }
            }
        }
        indices
    }

    /// Milliseconds since the table was made.
    pub(crate) fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Takes in what the HSM says of a key. A version that is there already keeps its handles; of one
    /// that isn't, the earlier one stays usable by its own.
    pub(crate) fn add(
        &mut self,
        loaded: managed_hsm::Key,
        session: Option<CK_SESSION_HANDLE>,
    ) -> Arc<StoredKey> {
        let name = loaded.id.key.as_str().to_ascii_lowercase();
        let same = self.keys.get(&name).filter(|known| known.is(&loaded.id));
        let same = same.map(Arc::clone);
        let session = session.or_else(|| same.as_ref().and_then(|known| known.session));
        let stored = self.store(loaded, session, same.as_deref());
        self.keys.insert(name.clone(), Arc::clone(&stored));
        self.settle(&name);
        self.keys.get(&name).map_or(stored, Arc::clone)
    }

    /// Takes in an earlier version of a key, which a certificate is of.
    pub(crate) fn keep(&mut self, loaded: managed_hsm::Key) -> Arc<StoredKey> {
        let (name, id) = (
            loaded.id.key.as_str().to_ascii_lowercase(),
            loaded.id.clone(),
        );
        let known = self.known(&id);
        let stored = self.store(loaded, None, known.as_deref());
        let kept = self.kept.entry(name.clone()).or_default();
        match kept.iter_mut().find(|kept| kept.is(&id)) {
            Some(kept) => *kept = Arc::clone(&stored),
            None => kept.push(Arc::clone(&stored)),
        }
        self.settle(&name);
        let mut kept = self.kept_versions(&id.key).iter();
        kept.find(|kept| kept.is(&id)).map_or(stored, Arc::clone)
    }

    /// Takes in what the HSM says of a version that is there: it doesn't become the newest.
    pub(crate) fn renew(
        &mut self,
        loaded: managed_hsm::Key,
        session: Option<CK_SESSION_HANDLE>,
    ) -> Arc<StoredKey> {
        let id = loaded.id.clone();
        let newest = self.newest(id.key.as_str());
        if newest.is_none_or(|known| known.is(&id)) {
            return self.add(loaded, session);
        }
        if self.kept_versions(&id.key).iter().any(|kept| kept.is(&id)) {
            return self.keep(loaded);
        }
        let known = self.known(&id);
        self.store(loaded, session, known.as_deref())
    }

    /// A version that programs may have handles of, among all that there are.
    fn known(&self, id: &KeyId) -> Option<Arc<StoredKey>> {
        self.objects.values().find_map(|object| match object {
            Object::Key(key, _) if key.is(id) => Some(Arc::clone(key)),
            _ => None,
        })
    }

    /// A version as the HSM describes it, with the handles that it has had before.
    fn store(
        &mut self,
        loaded: managed_hsm::Key,
        session: Option<CK_SESSION_HANDLE>,
        known: Option<&StoredKey>,
    ) -> Arc<StoredKey> {
        let handles = known.map(|known| known.halves.each_ref().map(|half| half.handle));
        let stored = Arc::new(StoredKey::new(loaded, session, handles, self.now()));
        self.place(&stored);
        stored
    }

    fn place(&mut self, stored: &Arc<StoredKey>) {
        for half in Half::BOTH {
            let object = Object::Key(Arc::clone(stored), half);
            self.objects.insert(stored.half(half).handle, object);
        }
    }

    /// Has one version of a key have the id that several have in their tags, as a rotation copies them:
    /// the newest if it has a certificate, which is found by that id as well, else an earlier one,
    /// which has one.
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
        self.keys.insert(name.to_owned(), versions.remove(0));
        if !versions.is_empty() {
            self.kept.insert(name.to_owned(), versions);
        }
    }

    /// Takes in the certificates that the files have now. Those of files that can't be read just now
    /// stay as they were.
    pub(crate) fn refile(&mut self, found: Vec<StoredCertificate>, broken: &[PathBuf]) {
        let stays = |known: &StoredCertificate| match &known.place {
            Kept::Session(_) | Kept::Vault(_) => true,
            Kept::File(path) | Kept::Written(path) => broken.contains(path),
        };
        let before = std::mem::take(&mut self.certificates);
        for known in &before {
            self.objects.remove(&known.handle);
        }
        for known in before.iter().filter(|known| stays(known)) {
            self.insert_certificate(Arc::clone(known));
        }
        for mut certificate in found {
            let is_same = |known: &&Arc<StoredCertificate>| {
                known.fingerprint == certificate.fingerprint && known.session().is_none()
            };
            if self.certificates.iter().any(|known| is_same(&known)) {
                continue;
            }
            if let Some(known) = before.iter().find(is_same) {
                certificate.handle = known.handle;
            }
            self.insert_certificate(Arc::new(certificate));
        }
        self.forget_kept();
    }

    /// Takes in a certificate that a program has brought: in the place of the same one.
    pub(crate) fn add_certificate(
        &mut self,
        mut certificate: StoredCertificate,
    ) -> CK_OBJECT_HANDLE {
        let same = self.certificates.iter().position(|known| {
            known.fingerprint == certificate.fingerprint && known.session() == certificate.session()
        });
        if let Some(at) = same {
            certificate.handle = self.certificates.remove(at).handle;
        }
        let handle = certificate.handle;
        self.insert_certificate(Arc::new(certificate));
        handle
    }

    fn insert_certificate(&mut self, certificate: Arc<StoredCertificate>) {
        let object = Object::Certificate(Arc::clone(&certificate));
        self.objects.insert(certificate.handle, object);
        self.certificates.push(certificate);
    }

    pub(crate) fn remove_certificates(&mut self, is_gone: impl Fn(&StoredCertificate) -> bool) {
        for gone in self.certificates.extract_if(.., |known| is_gone(known)) {
            self.objects.remove(&gone.handle);
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

    /// Takes in a key that a program has brought.
    pub(crate) fn add_brought(&mut self, key: StoredKey) -> CK_OBJECT_HANDLE {
        let (half, key) = (key.half_of_brought(), Arc::new(key));
        let handle = key.half(half).handle;
        self.keys.insert(name_of_brought(handle), Arc::clone(&key));
        self.objects.insert(handle, Object::Key(key, half));
        handle
    }

    /// Forgets a key that a program has brought.
    pub(crate) fn remove_brought(&mut self, key: &StoredKey) {
        let handle = key.half(key.half_of_brought()).handle;
        self.keys.remove(&name_of_brought(handle));
        self.objects.remove(&handle);
    }

    /// Takes in a session's key that is to stay: it gets handles of its own, and those that it had go
    /// with the session.
    pub(crate) fn adopt(&mut self, loaded: managed_hsm::Key) -> Arc<StoredKey> {
        self.keys
            .remove(&loaded.id.key.as_str().to_ascii_lowercase());
        self.add(loaded, None)
    }

    /// Whether a session's key has been adopted.
    pub(crate) fn has_adopted(&self, key: &StoredKey) -> bool {
        let name = key.hsm_id().map(|id| id.key.as_str().to_ascii_lowercase());
        let current = name.and_then(|name| self.keys.get(&name));
        key.session.is_some() && current.is_some_and(|current| current.session.is_none())
    }

    /// Forgets the handles of a key.
    pub(crate) fn remove_handles(&mut self, key: &StoredKey) {
        for half in Half::BOTH {
            self.objects.remove(&key.half(half).handle);
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
            Object::Certificate(_) | Object::Profile(_) => true,
        });
        self.index = Index::default();
    }

    /// Forgets all keys of the HSM, but not what handles are of.
    pub(crate) fn forget(&mut self) {
        self.keys.retain(|_, key| key.hsm_id().is_none());
        self.kept.clear();
        self.index = Index::default();
    }

    /// Forgets a key, with all its versions.
    pub(crate) fn remove(&mut self, name: &str) {
        self.keys.remove(&name.to_ascii_lowercase());
        self.kept.remove(&name.to_ascii_lowercase());
        self.objects.retain(|_, object| match object {
            Object::Key(key, _) => key
                .hsm_id()
                .is_none_or(|id| !id.key.as_str().eq_ignore_ascii_case(name)),
            Object::Certificate(_) | Object::Profile(_) => true,
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

/// No key of the HSM has such a name.
fn name_of_brought(handle: CK_OBJECT_HANDLE) -> String {
    format!("object {handle}")
}

/// All that a key may be looked for by, as its label or its id.
fn names(key: &StoredKey, attribute: &str) -> Vec<Vec<u8>> {
    let mut names: Vec<Vec<u8>> = Vec::new();
    for half in Half::BOTH {
        let own = key.half(half);
        let is_id = attribute == "ID";
        names.push(match is_id {
            false => own.label.clone().into_bytes(),
            true => own.id.clone(),
        });
        if let Some(text) = tags::read(&key.properties.tags, half, attribute)
            && !(is_id && key.has_default_id)
        {
            names.push(text.as_bytes().to_vec());
            names.extend(tags::meanings(text));
        }
    }
    names.sort_unstable();
    names.dedup();
    names
}
