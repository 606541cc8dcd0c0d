//! The certificates of a token, as far as its table has them.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cryptoki_sys::CK_OBJECT_HANDLE;
use hsm_keys::once;

use super::Table;
use crate::certificates::StoredCertificate;
use crate::token::objects::{Object, StoredKey};

impl Table {
    /// How often certificates of files were taken in or forgotten: a reading of the files that
    /// began before the last time may be older than what is known.
    pub(crate) fn filed(&self) -> u64 {
        self.filed
    }

    /// Takes in the certificates that the files have now. Those of files that can't be read just
    /// now stay as they were.
    pub(crate) fn refile(&mut self, found: Vec<StoredCertificate>, broken: &[PathBuf]) {
        self.filed += 1;
        let broken: HashSet<&Path> = broken.iter().map(PathBuf::as_path).collect();
        let stays = |known: &StoredCertificate| match known.file() {
            None => true,
            Some(path) => broken.contains(path),
        };
        let before = std::mem::take(&mut self.certificates);
        self.certified = Arc::default();
        for known in &before {
            self.objects_mut().remove(&known.handle);
        }
        // What is there already, of which there is to be no second one.
        let mut there = HashSet::new();
        for known in before.iter().filter(|known| stays(known)) {
            there.insert(known.identity());
            self.insert_certificate(Arc::clone(known));
        }
        let handles: HashMap<_, _> = before
            .iter()
            .map(|known| (known.identity(), known.handle))
            .collect();
        let found: Vec<_> = found
            .into_iter()
            .map(|mut certificate| {
                if let Some(handle) = handles.get(&certificate.identity()) {
                    certificate.handle = *handle;
                }
                Arc::new(certificate)
            })
            .collect();
        for certificate in &found {
            if there.insert(certificate.identity()) {
                self.insert_certificate(Arc::clone(certificate));
            }
        }
        self.forget_kept();
    }

    /// Takes in a certificate that a program has brought: in the place of the same one.
    pub(crate) fn add_certificate(
        &mut self,
        mut certificate: StoredCertificate,
    ) -> CK_OBJECT_HANDLE {
        let mut known = self.certificates.iter();
        if let Some(at) = known.position(|known| known.identity() == certificate.identity()) {
            certificate.handle = self.certificates.remove(at).handle;
        }
        let handle = certificate.handle;
        self.filed += u64::from(certificate.file().is_some());
        self.insert_certificate(Arc::new(certificate));
        handle
    }

    fn insert_certificate(&mut self, certificate: Arc<StoredCertificate>) {
        let object = Object::Certificate(Arc::clone(&certificate));
        self.objects_mut().insert(certificate.handle, object);
        self.certificates.push(certificate);
        self.certified = Arc::default();
    }

    pub(crate) fn remove_certificates(&mut self, is_gone: impl Fn(&StoredCertificate) -> bool) {
        for gone in self.certificates.extract_if(.., |known| is_gone(known)) {
            Arc::make_mut(&mut self.objects).remove(&gone.handle);
            self.filed += u64::from(gone.file().is_some());
        }
        self.certified = Arc::default();
    }

    /// Whether a certificate is of this version of a key.
    pub(crate) fn has_certificate(&self, key: &StoredKey) -> bool {
        if self.certificates.is_empty() {
            return false;
        }
        let publics = self.certificates.iter();
        let certified = once(&self.certified, || {
            publics.filter_map(|known| known.public.clone()).collect()
        });
        let public = key.public().spki();
        public.is_some_and(|public| certified.contains(&public))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::certificates::{Kept, X509};
    use crate::token::examples;

    /// A certificate of which only the fingerprint tells it from others.
    fn certificate(number: usize, x509: &X509) -> StoredCertificate {
        let place = Kept::File(format!("/certificates/{number}.pem").into());
        StoredCertificate {
            fingerprint: number.to_be_bytes().into(),
            ..StoredCertificate::new(x509.clone(), None, None, place)
        }
    }

    fn handles(table: &Table) -> Vec<CK_OBJECT_HANDLE> {
        let certificates = table.certificates().iter();
        certificates.map(|certificate| certificate.handle).collect()
    }

    /// Forks wait for a change, and not for long: 10,000 files may be in each folder.
    #[test]
    fn each_certificate_is_looked_at_a_few_times_at_most_when_files_have_changed() {
        const COUNT: usize = 300;
        let made = testing::Certificate::for_localhost().certificate;
        let x509 = X509::read(&made.to_der().unwrap()).unwrap();
        let all = || (0..COUNT).map(|number| certificate(number, &x509));
        let mut table = Table::default();
        table.refile(all().collect(), &[]);
        let before = handles(&table);
        assert_eq!(before.len(), COUNT);
        // The same one in two files is one, and what can't be read stays.
        let found = all().skip(1).chain(all()).skip(1).collect();
        let broken = ["/certificates/0.pem".into()];
        let looks = examples::looks(|| table.refile(found, &broken));
        assert!(looks <= 8 * COUNT, "{looks} looks at {COUNT} certificates");
        assert_eq!(handles(&table).len(), COUNT);
        let mut after = handles(&table);
        after.sort_unstable();
        assert_eq!(after, before);
        table.refile(Vec::new(), &broken);
        assert_eq!(handles(&table), before[..1]);
    }
}
