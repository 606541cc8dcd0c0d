//! Why a request failed, in sentences for a person. No variant ever holds a token.

use std::time::Duration;

use crate::credential::kind::CredentialKind;
use crate::foreign::ForeignText;
use crate::obstacle::Obstacle;
use crate::settings::origin::Origin;
use crate::uri::UriError;

/// What to do where nobody knows whether something was done.
const LOOK: &str = "look before you repeat it";

/// What to do about a service that has not been healthy for long.
const HEALTH: &str = "check the network, and the HSM's health in Azure";
/// The same where an answer is late.
const LOAD: &str = "check the network and the HSM's load";
/// The same where an answer makes no sense.
const ADDRESS: &str = "check that this address is a Managed HSM";

/// A failure of the client.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// A key's URI or name is malformed.
    #[error(transparent)]
    Uri(#[from] UriError),
    /// A setting can't be used.
    #[error("the setting {origin} can't be used: {problem}")]
    Settings {
        /// The environment variable, or the key and the file.
        origin: String,
        /// What is wrong with its value, and what to do.
        problem: String,
    },
    /// No credential is set up.
    #[error("there is no credential that gives an access token for {audience} ({tried}): {remedy}")]
    NoCredential {
        /// What the token was to be for.
        audience: String,
        /// Why each credential gave none.
        tried: String,
        /// What to do.
        remedy: String,
    },
    /// A credential that is set up gave no token.
    #[error("{} gave no access token: {problem}: {}", credential.name(), credential.remedy_of_failure())]
    Credential {
        /// Which one.
        credential: CredentialKind,
        /// What happened.
        problem: String,
    },
    /// The access token has expired; no request was made.
    #[error("the access token of {} expired at {at}: {remedy}", credential.name())]
    TokenExpired {
        /// Whose it was.
        credential: CredentialKind,
        /// When it expired (RFC 3339, UTC).
        at: String,
        /// What to do.
        remedy: String,
    },
    /// The service did not accept the access token.
    #[error(
        "{operation} {key}: the HSM did not accept the access token of {} (HTTP 401: {message}; request id {request_id}): {remedy}",
        credential.name()
    )]
    Unauthorized {
        /// What was asked for.
        operation: &'static str,
        /// The key.
        key: String,
        /// The service's message.
        message: ForeignText,
        /// The service's `x-ms-request-id`.
        request_id: ForeignText,
        /// Whose token it was.
        credential: CredentialKind,
        /// What to do.
        remedy: String,
    },
    /// The service refused the request.
    #[error(
        "{operation} {key}: the HSM answered HTTP {status} {code}: {message} (request id {request_id}){}",
        remedy(operation, code.raw())
    )]
    Service {
        /// What was asked for.
        operation: &'static str,
        /// The key.
        key: String,
        /// HTTP status.
        status: u16,
        /// The service's error code.
        code: ForeignText,
        /// The service's message.
        message: ForeignText,
        /// The service's `x-ms-request-id`.
        request_id: ForeignText,
    },
    /// Something is asked for that the version of the API which requests name doesn't have, and
    /// that no stable version has.
    #[error(
        "{operation} {key}: {what} came with version {since} of the service's API, and requests name {set}: set api-version = \
         {since} (AKV_API_VERSION={since}), or a later version"
    )]
    ApiVersion {
        /// What was asked for.
        operation: &'static str,
        /// The key.
        key: String,
        /// What the version lacks.
        what: &'static str,
        /// The first version that has it.
        since: &'static str,
        /// The version that requests name.
        set: String,
    },
    /// The input of an operation is longer than any that is sent.
    #[error(
        "{operation} {key}: an input has {len} bytes, and {most} at most go to the HSM in one request"
    )]
    TooLong {
        /// What was asked for.
        operation: &'static str,
        /// The key.
        key: String,
        /// Length of the input in bytes.
        len: usize,
        /// The greatest length.
        most: usize,
    },
    /// No answer could be had from the service's address.
    #[error("{operation} {key}: {} {endpoint}: {problem}: {}", obstacle.verb(), obstacle.remedy())]
    Connect {
        /// What was asked for.
        operation: &'static str,
        /// The key.
        key: String,
        /// Where the request was to go.
        endpoint: String,
        /// What failed.
        problem: String,
        /// What kept the connection from it, which tells what to do.
        obstacle: Obstacle,
    },
    /// The service has not been healthy for so long that it is not asked by every request.
    #[error(
        "{operation} {key}: {endpoint} has not been healthy for {} s ({problem}), and is tried from time to time only: {HEALTH}",
        lasts.as_secs()
    )]
    Down {
        /// What was asked for.
        operation: &'static str,
        /// The key.
        key: String,
        /// Where the request was to go.
        endpoint: String,
        /// Since the first failure after the last success.
        lasts: Duration,
        /// What failed last.
        problem: String,
    },
    /// The operation did not end in time.
    #[error("{operation} {key}: no answer from {endpoint} within {} s{}: {LOAD}", after.as_secs_f32(), earlier.as_ref().map_or_else(String::new, |earlier| format!(" (an attempt before: {earlier})")))]
    Timeout {
        /// What was asked for.
        operation: &'static str,
        /// The key.
        key: String,
        /// Where the request went.
        endpoint: String,
        /// The deadline.
        after: Duration,
        /// How the attempt before ended, if there was one.
        earlier: Option<String>,
    },
    /// The service's answer makes no sense.
    #[error("{operation} {key}: the answer from {endpoint} can't be used: {problem}: {ADDRESS}")]
    Response {
        /// What was asked for.
        operation: &'static str,
        /// The key.
        key: String,
        /// Where the answer came from.
        endpoint: String,
        /// What is wrong with it.
        problem: String,
        /// Its HTTP status, where that tells that nothing was done.
        status: Option<u16>,
    },
    /// What was asked for may have been done all the same, and is not asked for twice.
    #[error("{cause}; it may have been done all the same: {LOOK}")]
    Undecided {
        /// Why that isn't known.
        cause: Box<Self>,
    },
    /// TLS can't be set up.
    #[error("TLS can't be set up: {0}")]
    Tls(String),
    /// This process can't make the request: it lacks threads or descriptors, or it ends.
    #[error("this process can't make the request: {0}")]
    Io(String),
}

impl Error {
    /// A setting that can't be used.
    pub fn setting(origin: &Origin, problem: &str) -> Self {
        Self::Settings {
            origin: origin.to_string(),
            problem: problem.to_owned(),
        }
    }

    /// The same, of a request that is sent once: where the service may have done what it was asked
    /// for, it says so.
    #[must_use]
    pub fn sent_once(self) -> Self {
        // A gateway's, or of a service that failed on the way.
        let leaves_open = |status| matches!(status, 408 | 500..);
        let is_open = match &self {
            Self::Timeout { .. } => true,
            Self::Response { status, .. } => status.is_none_or(leaves_open),
            Self::Connect { obstacle, .. } => {
                matches!(obstacle, Obstacle::Broken | Obstacle::NotHttp)
            }
            Self::Service { status, .. } => leaves_open(*status),
            _ => false,
        };
        let cause = Box::new(self);
        match is_open {
            true => Self::Undecided { cause },
            false => *cause,
        }
    }

    /// Why a request failed, whatever is known of its outcome.
    pub fn reason(&self) -> &Self {
        match self {
            Self::Undecided { cause } => cause,
            own => own,
        }
    }

    /// Says in the log that an operation with a key failed.
    pub fn log(&self, operation: &str, key: &str) {
        let status = self.status();
        let status = status.map_or_else(|| "none".to_owned(), |status| status.to_string());
        let none = ForeignText::new("none");
        let request_id = self.request_id().unwrap_or(&none);
        log::error!(operation, key, status = status.as_str(), request_id:% = request_id; "{self}");
    }

    /// The HTTP status of the service's answer, if it refused.
    pub fn status(&self) -> Option<u16> {
        match self.reason() {
            Self::Service { status, .. } => Some(*status),
            Self::Unauthorized { .. } => Some(401),
            _ => None,
        }
    }

    /// The service's `x-ms-request-id`, if it refused.
    pub fn request_id(&self) -> Option<&ForeignText> {
        match self.reason() {
            Self::Service { request_id, .. } | Self::Unauthorized { request_id, .. } => {
                Some(request_id)
            }
            _ => None,
        }
    }

    /// A word for programs: the service's own code, if it refused.
    pub fn code(&self) -> String {
        match self {
            Self::Undecided { cause } => cause.code(),
            Self::Uri(_) => "InvalidUri".to_owned(),
            Self::Settings { .. } => "InvalidSetting".to_owned(),
            Self::NoCredential { .. } => "NoCredential".to_owned(),
            Self::Credential { .. } => "CredentialFailed".to_owned(),
            Self::TokenExpired { .. } => "TokenExpired".to_owned(),
            Self::Unauthorized { .. } => "Unauthorized".to_owned(),
            Self::Service { code, .. } => code.to_string(),
            Self::ApiVersion { .. } => "ApiVersion".to_owned(),
            Self::TooLong { .. } => "InputTooLong".to_owned(),
            Self::Connect { .. } => "Unreachable".to_owned(),
            Self::Down { .. } => "Down".to_owned(),
            Self::Timeout { .. } => "Timeout".to_owned(),
            Self::Response { .. } => "UnusableAnswer".to_owned(),
            Self::Tls(_) => "Tls".to_owned(),
            Self::Io(_) => "Process".to_owned(),
        }
    }

    /// What to do, with which the message ends; none where the message is all that is known.
    pub fn remedy(&self) -> Option<&str> {
        let remedy = match self {
            Self::Undecided { .. } => LOOK,
            Self::NoCredential { remedy, .. }
            | Self::TokenExpired { remedy, .. }
            | Self::Unauthorized { remedy, .. } => remedy,
            Self::Credential { credential, .. } => credential.remedy_of_failure(),
            Self::Service {
                operation, code, ..
            } => remedy(operation, code.raw()).trim_start_matches(": "),
            Self::Connect { obstacle, .. } => obstacle.remedy(),
            Self::Down { .. } => HEALTH,
            Self::Timeout { .. } => LOAD,
            Self::Response { .. } => ADDRESS,
            _ => "",
        };
        Some(remedy).filter(|remedy| !remedy.is_empty())
    }
}

/// What to do about one of the service's error codes, in answer to an operation.
fn remedy(operation: &str, code: &str) -> &'static str {
    match code {
        // The request says nothing but the key's name: what the service misses is a policy.
        "BadParameter" if operation == "rotate key" => {
            ": 'akv keys rotation-policy set' sets a policy; 'akv keys create' makes a new version without"
        }
        "KeyNotFound" => ": check the key's name and version, and that the vault is the right one",
        "AccessDenied" => {
            ": ask for a role with this permission, such as 'Managed HSM Crypto User', at the scope of the key"
        }
        "Forbidden" => ": check the key's attributes (enabled, nbf, exp) and key_ops",
        "Throttled" => {
            ": more requests than the service allows; spread the load, or try again later"
        }
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_refused_was_not_done() {
        let answer = |status| Error::Response {
            operation: "create key",
            key: "managedhsm:a:b".to_owned(),
            endpoint: "https://a".to_owned(),
            problem: "HTML".to_owned(),
            status,
        };
        for (status, is_open) in [
            (None, true),
            (Some(403), false),
            (Some(404), false),
            (Some(408), true),
            (Some(429), false),
            (Some(502), true),
        ] {
            let error = answer(status).sent_once();
            let is_undecided = matches!(error, Error::Undecided { .. });
            assert_eq!(is_undecided, is_open, "{status:?}");
        }
    }

    #[test]
    fn a_message_ends_with_its_remedy() {
        let connect = Error::Connect {
            operation: "load key",
            key: "managedhsm:a:b".to_owned(),
            endpoint: "https://a".to_owned(),
            problem: "refused".to_owned(),
            obstacle: Obstacle::Refused,
        };
        let service = |code: &str| Error::Service {
            operation: "load key",
            key: "managedhsm:a:b".to_owned(),
            status: 404,
            code: ForeignText::new(code),
            message: ForeignText::new("no"),
            request_id: ForeignText::new("1"),
        };
        let late = Error::Timeout {
            operation: "load key",
            key: "managedhsm:a:b".to_owned(),
            endpoint: "https://a".to_owned(),
            after: Duration::from_secs(1),
            earlier: None,
        };
        let credentials = CredentialKind::ALL.map(|credential| Error::Credential {
            credential,
            problem: "no".to_owned(),
        });
        let undecided = late.clone().sent_once();
        let others = [connect, service("KeyNotFound"), late, undecided];
        for error in others.into_iter().chain(credentials) {
            let remedy = error.remedy().expect("a remedy");
            assert!(error.to_string().ends_with(remedy), "{error}");
        }
        let other = service("Other");
        assert_eq!(other.remedy(), None);
        assert_eq!(
            (other.code().as_str(), other.status()),
            ("Other", Some(404))
        );
    }
}
