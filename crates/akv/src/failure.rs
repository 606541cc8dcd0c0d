//! Why a command failed: in a sentence for a person, as JSON, and as the exit status.

use std::io;
use std::path::Path;
use std::process::ExitCode;

use managed_hsm::{Error, fit};
use serde_json::{Value, json};

use crate::explain;

/// The longest error that is shown, in bytes.
const LONGEST: usize = 4096;

/// What the exit statuses mean.
pub(crate) const STATUSES: [(u8, &str); 8] = [
    (0, "done"),
    (
        1,
        "the answer is no: the signature is not valid, a check or the doctor found something",
    ),
    (
        2,
        "the command line, a key's URI or a setting can't be used",
    ),
    (
        3,
        "what is named is not there: a key, version, role, tag or file",
    ),
    (
        4,
        "refused: HTTP 401 or 403, or no credential gives a token",
    ),
    (
        5,
        "unreachable: no connection, no answer in time or none that can be used, HTTP 429 or 5xx",
    ),
    (
        6,
        "it is there already: HTTP 409, an assignment of a role, or a file that would be written over",
    ),
    (
        7,
        "it failed for another reason: the key is of a type that can't do this, a `--query` can't be \
         applied to what was done, HTTP 400 and others",
    ),
];

/// How this program ends, if not well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// The answer is no: a signature that does not verify, a check that found something.
    No = 1,
    /// The command line or a setting can't be used.
    Usage = 2,
    /// What is named is not there.
    NotFound = 3,
    /// The service refuses, or nobody is logged in.
    Refused = 4,
    /// There is no connection, or no answer that can be used.
    Unreachable = 5,
    /// What is to be made is there already.
    Conflict = 6,
    /// It failed for another reason.
    Failed = 7,
}

impl From<Ending> for ExitCode {
    fn from(ending: Ending) -> Self {
        Self::from(ending as u8)
    }
}

/// A failure of a command.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// A request, a credential or a setting.
    #[error(transparent)]
    Hsm(#[from] Error),
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
    #[error("{0} exists already and is left alone: name another file, or give --force")]
    Exists(String),
    /// A file to read.
    #[error("{0} can't be read: {1}")]
    Read(String, io::Error),
    /// What can't be asked for so.
    #[error("{0}")]
    Usage(String),
    /// A query that can't be applied to what the command has found, made or changed.
    #[error(
        "the command is done, and need not be repeated; all that it tells stands on standard \
         output, since the query can't be applied to that: {0}"
    )]
    Query(String),
    /// What is named and not there.
    #[error("{0}")]
    NotFound(String),
    /// What is there already.
    #[error("{0}")]
    Conflict(String),
    /// An answer of the service that can't be used.
    #[error("{0}")]
    Answer(String),
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

    /// What can't be asked for so.
    pub(crate) fn usage(text: impl Into<String>) -> Self {
        Self::Usage(text.into())
    }

    /// What is named and not there.
    pub(crate) fn not_found(text: impl Into<String>) -> Self {
        Self::NotFound(text.into())
    }

    /// What is there already.
    pub(crate) fn conflict(text: impl Into<String>) -> Self {
        Self::Conflict(text.into())
    }

    /// The exit status.
    pub(crate) fn ending(&self) -> Ending {
        match self {
            Self::Hsm(error) => of_client(error),
            Self::Usage(_) => Ending::Usage,
            Self::NotFound(_) => Ending::NotFound,
            Self::Read(_, error) if error.kind() == io::ErrorKind::NotFound => Ending::NotFound,
            Self::Conflict(_) | Self::Exists(_) => Ending::Conflict,
            Self::Answer(_) => Ending::Unreachable,
            Self::Key(_)
            | Self::Output(_)
            | Self::Query(_)
            | Self::Write(..)
            | Self::Read(..)
            | Self::Told(_) => Ending::Failed,
        }
    }

    /// A word for programs.
    fn code(&self) -> String {
        match self {
            Self::Hsm(error) => return error.code(),
            Self::Key(_) => "UnfitKey",
            Self::Output(_) | Self::Write(..) => "WriteFailed",
            Self::Read(..) => "ReadFailed",
            Self::Query(_) => "QueryFailed",
            Self::Usage(_) => "Usage",
            Self::NotFound(_) => "NotFound",
            Self::Conflict(_) | Self::Exists(_) => "Conflict",
            Self::Answer(_) => "UnusableAnswer",
            Self::Told(_) => "Failed",
        }
        .to_owned()
    }

    /// What programs are told.
    pub(crate) fn json(&self) -> Value {
        let code = self.code();
        let (mut remedy, mut request_id, mut status) = (None, None, None);
        if let Self::Hsm(error) = self {
            let own = error.remedy().map(str::to_owned);
            remedy = own.or_else(|| explain::remedy(&code));
            request_id = error.request_id().map(ToString::to_string);
            status = error.status();
        }
        let message = self.to_string();
        let end = remedy.as_deref().unwrap_or_default();
        let message = message.strip_suffix(end).unwrap_or(&message);
        let message = fit(message.trim_end_matches(": "), LONGEST);
        json!({ "error": {
            "code": code,
            "message": message,
            "remedy": remedy,
            "request_id": request_id,
            "http_status": status,
            "exit_status": self.ending() as u8,
        }})
    }

    /// What a person is told.
    pub(crate) fn text(&self) -> String {
        format!("akv: {}", fit(&self.to_string(), LONGEST))
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

/// The exit status for what the client says.
fn of_client(error: &Error) -> Ending {
    match error {
        Error::Undecided { cause } => of_client(cause),
        Error::Uri(_) | Error::Settings { .. } | Error::ApiVersion { .. } => Ending::Usage,
        Error::NoCredential { .. }
        | Error::Credential { .. }
        | Error::TokenExpired { .. }
        | Error::Unauthorized { .. } => Ending::Refused,
        // The service answers 400.
        Error::Service { code, .. } if code.raw() == "RoleAssignmentExists" => Ending::Conflict,
        Error::Service { status, .. } => match status {
            401 | 403 => Ending::Refused,
            404 => Ending::NotFound,
            409 => Ending::Conflict,
            429 | 500.. => Ending::Unreachable,
            _ => Ending::Failed,
        },
        Error::Connect { .. }
        | Error::Down { .. }
        | Error::Timeout { .. }
        | Error::Response { .. } => Ending::Unreachable,
        Error::TooLong { .. } | Error::Tls(_) | Error::Io(_) => Ending::Failed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_tells_the_same_of_the_statuses() {
        let document = include_str!("../../../docs/akv.md");
        for (status, meaning) in STATUSES {
            let row = format!("\n| {status} | {meaning} |\n");
            assert!(document.contains(&row), "docs/akv.md lacks {row}");
        }
        assert_eq!(Ending::Failed as usize, STATUSES.len() - 1);
    }

    #[test]
    fn what_the_service_answers_tells_the_status() {
        let of = |status, code| {
            of_client(&Error::Service {
                operation: "sign with",
                key: "managedhsm:a:b".to_owned(),
                status,
                code: managed_hsm::ForeignText::new(code),
                message: managed_hsm::ForeignText::new("message"),
                request_id: managed_hsm::ForeignText::new("1"),
            })
        };
        for (status, ending) in [
            (400, Ending::Failed),
            (401, Ending::Refused),
            (403, Ending::Refused),
            (404, Ending::NotFound),
            (409, Ending::Conflict),
            (429, Ending::Unreachable),
            (500, Ending::Unreachable),
            (503, Ending::Unreachable),
        ] {
            assert_eq!(of(status, "Code"), ending, "{status}");
        }
        assert_eq!(of(400, "RoleAssignmentExists"), Ending::Conflict);
    }
}
