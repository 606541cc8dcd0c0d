//! The folder that holds everything an emulator keeps: keys, the CA, the token key, and where it
//! can be reached.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::Error;

/// The one file that may be for everyone: the certificate of the CA.
const PUBLIC_FILE: &str = "ca.pem";

/// A data folder; other users must have no access to it.
#[derive(Debug, Clone)]
pub struct DataDir {
    path: PathBuf,
}

/// Held by the one process that may write to a folder; the kernel drops it with the process.
#[derive(Debug)]
pub(crate) struct WriterLock {
    _file: File,
}

impl DataDir {
    /// The folder at `path`, or where `path` is `None` the default:
    /// `$XDG_DATA_HOME/managed-hsm-emulator`, or `~/.local/share/managed-hsm-emulator`. Nothing is
    /// created.
    ///
    /// # Errors
    /// [`Error::NoDataDir`] when the environment names no home, or the current folder cannot be
    /// read.
    pub fn resolve(path: Option<PathBuf>) -> Result<Self, Error> {
        let path = match path {
            Some(path) => path,
            None => default_path().ok_or(Error::NoDataDir)?,
        };
        // Exports go to shells that may stand in another folder, so that the path must not be
        // relative.
        let path = std::path::absolute(&path).map_err(Error::file("resolve", &path))?;
        Ok(Self { path })
    }

    /// Where the folder is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The PEM certificate of the CA that signs the server's certificates.
    #[must_use]
    pub fn ca_file(&self) -> PathBuf {
        self.path.join(PUBLIC_FILE)
    }

    /// The file that holds the URL of a running emulator, and exists only while one accepts
    /// connections.
    #[must_use]
    pub fn endpoint_file(&self) -> PathBuf {
        self.path.join("endpoint")
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Makes the folder if need be, and refuses one that others can enter.
    pub(crate) fn make(&self) -> Result<(), Error> {
        if let Some(parent) = self.path.parent() {
            let mut private = DirBuilder::new();
            private.recursive(true).mode(0o700);
            private
                .create(parent)
                .map_err(Error::file("create", parent))?;
        }
        match DirBuilder::new().mode(0o700).create(&self.path) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => {
                Err(Error::file("create", &self.path)(error))
            }
            _ => refuse_others(&self.path),
        }
    }

    /// Makes the folder as [`DataDir::make`] does, and claims it for this process.
    pub(crate) fn claim(&self) -> Result<WriterLock, Error> {
        self.make()?;
        let path = self.file("lock");
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&path)
            .map_err(Error::file("open", &path))?;
        match file.try_lock() {
            Ok(()) => Ok(WriterLock { _file: file }),
            Err(TryLockError::WouldBlock) => Err(Error::DataDirInUse(self.path.clone())),
            Err(TryLockError::Error(error)) => Err(Error::file("lock", &path)(error)),
        }
    }

    /// Reads a file of the folder; `None` when it does not exist.
    pub(crate) fn read(&self, name: &str) -> Result<Option<Vec<u8>>, Error> {
        let path = self.file(name);
        match fs::read(&path) {
            Ok(contents) => Ok(Some(contents)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::file("read", path)(error)),
        }
    }

    /// Replaces a file of the folder as a whole: after a crash either the old or the new contents
    /// are there.
    pub(crate) fn write(&self, name: &str, contents: &[u8]) -> Result<(), Error> {
        let path = self.file(name);
        let unfinished = self.file(&format!("{name}.new"));
        let replace = || {
            let mut file = OpenOptions::new()
                .create(true)
                .truncate(true)
                .write(true)
                .mode(0o600)
                .open(&unfinished)?;
            file.write_all(contents)?;
            file.sync_all()?;
            fs::rename(&unfinished, &path)?;
            File::open(&self.path)?.sync_all()
        };
        replace().map_err(Error::file("write", &path))
    }
}

/// Refuses a folder that others can enter, and one with a file or a folder in it that others can do
/// anything with: it was copied here without its permissions, and may be copied on.
fn refuse_others(folder: &Path) -> Result<(), Error> {
    closed(
        folder,
        &fs::metadata(folder).map_err(Error::file("read", folder))?,
    )?;
    for entry in fs::read_dir(folder).map_err(Error::file("read", folder))? {
        let entry = entry.map_err(Error::file("read", folder))?;
        let path = entry.path();
        let metadata = match entry.metadata() {
            Ok(metadata) => metadata,
            // Another process of ours has just put another file in its place.
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Err(error) => return Err(Error::file("read", path)(error)),
        };
        if metadata.is_dir() {
            refuse_others(&path)?;
        } else if metadata.is_file() && entry.file_name() != PUBLIC_FILE {
            closed(&path, &metadata)?;
        }
    }
    Ok(())
}

fn closed(path: &Path, metadata: &fs::Metadata) -> Result<(), Error> {
    let mode = metadata.permissions().mode() & 0o7777;
    if mode & 0o077 == 0 {
        return Ok(());
    }
    Err(Error::DataOpenToOthers {
        path: path.to_owned(),
        mode,
        wanted: if metadata.is_dir() { "700" } else { "600" },
    })
}

fn default_path() -> Option<PathBuf> {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    set("XDG_DATA_HOME")
        .map(PathBuf::from)
        // The XDG specification: relative paths are to be ignored.
        .filter(|path| path.is_absolute())
        .or_else(|| set("HOME").map(|home| PathBuf::from(home).join(".local/share")))
        .map(|base| base.join("managed-hsm-emulator"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_folder_is_closed_to_other_users() {
        let parent = tempfile::tempdir().unwrap();
        let data = DataDir::resolve(Some(parent.path().join("a/b"))).unwrap();
        let _lock = data.claim().unwrap();
        let mode = fs::metadata(data.path()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
    }

    #[test]
    fn a_folder_open_to_others_is_refused_and_the_error_says_how_to_close_it() {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o750)).unwrap();
        let data = DataDir::resolve(Some(folder.path().to_owned())).unwrap();
        let error = data.claim().unwrap_err().to_string();
        assert!(
            error.contains("0750") && error.contains("chmod 700"),
            "{error}"
        );
    }

    #[test]
    fn a_file_open_to_others_is_refused_unless_it_is_the_certificate() {
        let folder = tempfile::tempdir().unwrap();
        let data = DataDir::resolve(Some(folder.path().join("emulator"))).unwrap();
        drop(data.claim().unwrap());
        fs::create_dir(data.file("hsms")).unwrap();
        fs::set_permissions(data.file("hsms"), fs::Permissions::from_mode(0o700)).unwrap();
        for (name, mode, is_refused) in [
            ("ca.pem", 0o644, false),
            ("storage.key", 0o600, false),
            ("token-key.pem", 0o640, true),
            ("hsms/keys.sqlite3", 0o604, true),
        ] {
            let path = data.file(name);
            fs::write(&path, "").unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            match data.claim() {
                Ok(_) => assert!(!is_refused, "{name}"),
                Err(error) => {
                    let error = error.to_string();
                    let words = [name, &format!("{mode:04o}"), "chmod 600"];
                    assert!(
                        is_refused && words.iter().all(|word| error.contains(word)),
                        "{error}"
                    );
                    fs::remove_file(path).unwrap();
                }
            }
        }
    }

    #[test]
    fn a_claimed_folder_cannot_be_claimed_again() {
        let folder = tempfile::tempdir().unwrap();
        let data = DataDir::resolve(Some(folder.path().join("emulator"))).unwrap();
        let lock = data.claim().unwrap();
        assert!(matches!(data.claim(), Err(Error::DataDirInUse(_))));
        drop(lock);
        data.claim().unwrap();
    }
}
