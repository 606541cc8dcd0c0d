//! Why a command failed, in a sentence for a person.

use std::io;
use std::path::Path;

/// A failure of a command.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// A request, a credential or a setting.
    #[error(transparent)]
    Hsm(#[from] managed_hsm::Error),
    /// What the key can't do, or an answer that is none.
    #[error(transparent)]
    Key(Box<hsm_keys::Error>),
    /// Standard output.
    #[error("the output can't be written: {0}")]
    Output(#[from] io::Error),
    /// A file to write.
    #[error("{0} can't be written: {1}")]
    Write(String, io::Error),
    /// A file to write that is there already.
    #[error("{0} exists already and is left alone: name another file, or remove that one first")]
    Exists(String),
    /// A file to read.
    #[error("{0} can't be read: {1}")]
    Read(String, io::Error),
    /// Everything else.
    #[error("{0}")]
    Told(String),
}

impl From<hsm_keys::Error> for Failure {
    fn from(error: hsm_keys::Error) -> Self {
        match error {
            hsm_keys::Error::Client(error) => Self::Hsm(error),
            error => Self::Key(Box::new(error)),
        }
    }
}

impl Failure {
    /// Any other failure, told in full.
    pub(crate) fn told(text: impl Into<String>) -> Self {
        Self::Told(text.into())
    }

    /// A file that can't be written.
    pub(crate) fn write(path: &Path, error: io::Error) -> Self {
        let path = path.display().to_string();
        match error.kind() {
            io::ErrorKind::AlreadyExists => Self::Exists(path),
            _ => Self::Write(path, error),
        }
    }

    /// A file that can't be read.
    pub(crate) fn read(path: &Path, error: io::Error) -> Self {
        Self::Read(path.display().to_string(), error)
    }
}
