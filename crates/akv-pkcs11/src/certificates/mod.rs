//! Certificates: the HSM keeps none, so they are in files, or in a program's memory. Each is found
//! beside its key, by the public key: it has the key's id, and its label unless it was given
//! another.

mod attributes;
pub(crate) mod files;
pub(crate) mod objects;
mod x509;

use std::path::{Path, PathBuf};

use cryptoki_sys::{CK_OBJECT_HANDLE, CK_SESSION_HANDLE};
use managed_hsm::KeyId;

pub(crate) use self::attributes::{CertificateObject, name_of_certificates};
use self::files::Filed;
pub(crate) use self::x509::X509;
use crate::module::new_handle;

/// A certificate of a token.
#[derive(Clone, Debug)]
pub(crate) struct StoredCertificate {
    pub(crate) handle: CK_OBJECT_HANDLE,
    pub(crate) x509: X509,
    /// The public key as `SubjectPublicKeyInfo`, if the HSM may have its private one.
    pub(crate) public: Option<Vec<u8>>,
    pub(crate) fingerprint: Vec<u8>,
    /// What a program has named it.
    pub(crate) label: Option<String>,
    pub(crate) id: Option<Vec<u8>>,
    pub(crate) place: Kept,
}

/// Where a certificate is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kept {
    /// In memory, as long as a session.
    Session(CK_SESSION_HANDLE),
    /// In a file that is only read.
    File(PathBuf),
    /// In a file that a program has written.
    Written(PathBuf),
    /// In the key vault, with this version of its key.
    Vault(KeyId),
}

/// What tells certificates apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Identity<'a> {
    Own(CK_OBJECT_HANDLE),
    Vaults(&'a [u8]),
    Filed(&'a [u8]),
}

impl StoredCertificate {
    pub(crate) fn new(x509: X509, label: Option<String>, id: Option<Vec<u8>>, place: Kept) -> Self {
        Self {
            handle: new_handle(),
            public: x509.public.as_ref().and_then(|public| public.spki()),
            fingerprint: x509.fingerprint(),
            x509,
            label: label.filter(|label| !label.is_empty()),
            id: id.filter(|id| !id.is_empty()),
            place,
        }
    }

    /// The session that it lives as long as.
    pub(crate) const fn session(&self) -> Option<CK_SESSION_HANDLE> {
        match self.place {
            Kept::Session(session) => Some(session),
            Kept::File(_) | Kept::Written(_) | Kept::Vault(_) => None,
        }
    }

    /// The file that it is in.
    pub(crate) fn file(&self) -> Option<&Path> {
        match &self.place {
            Kept::File(path) | Kept::Written(path) => Some(path),
            Kept::Session(_) | Kept::Vault(_) => None,
        }
    }

    pub(crate) const fn is_vaults(&self) -> bool {
        matches!(self.place, Kept::Vault(_))
    }

    /// What it has in common with the same certificate, where there may be only one of both: each
    /// that a session has brought is an object of its own, and a key vault's stays there whatever
    /// files have.
    pub(crate) fn identity(&self) -> Identity<'_> {
        #[cfg(test)]
        crate::token::examples::note_look();
        match self.place {
            Kept::Session(_) => Identity::Own(self.handle),
            Kept::Vault(_) => Identity::Vaults(&self.fingerprint),
            Kept::File(_) | Kept::Written(_) => Identity::Filed(&self.fingerprint),
        }
    }

    /// Whether programs may change and destroy it.
    pub(crate) const fn is_programs(&self) -> bool {
        matches!(self.place, Kept::Session(_) | Kept::Written(_))
    }
}

impl From<Filed> for StoredCertificate {
    fn from(filed: Filed) -> Self {
        let place = match filed.is_written {
            true => Kept::Written(filed.file),
            false => Kept::File(filed.file),
        };
        Self::new(filed.x509, filed.label, filed.id, place)
    }
}
