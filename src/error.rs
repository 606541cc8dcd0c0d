//! Why an operation of the provider failed, as a sentence for OpenSSL's error queue.

/// A failure of the provider. [`std::fmt::Display`] gives the text that `openssl` prints.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("{0}")]
    Uri(#[from] managed_hsm::UriError),
    #[error(
        "the key name is missing: {0} stands for all keys, and a key of it has the URI {0}:<key>"
    )]
    KeyNameMissing(managed_hsm::Vault),
    #[error("{0}")]
    Hsm(managed_hsm::Error),
    #[error("{cause}; if a key was meant: the key name is missing, {vault}:<key> is its URI")]
    NotListed {
        vault: managed_hsm::Vault,
        cause: managed_hsm::Error,
    },
    #[error("{0}")]
    Settings(managed_hsm::Error),
    #[error("parameter '{name}': {problem}")]
    Parameter { name: String, problem: String },
    #[error("{what} is not supported by Managed HSM: {remedy}")]
    Unsupported { what: String, remedy: String },
    #[error(
        "key {key} does not permit '{operation}' (its key_ops are: {permitted}): create a key, or update this one, \
         with '{operation}' in its key_ops"
    )]
    NotPermitted {
        key: String,
        operation: String,
        permitted: String,
    },
    #[error(
        "this key holds only a public part: give the key's URI where a private key is expected"
    )]
    MissingPrivateKey,
    #[error("invalid key: {0}")]
    InvalidKey(String),
    #[error("{0}")]
    NotInitialised(&'static str),
    #[error(
        "{0} was not deleted: the settings don't allow it; set allow-delete = yes in openssl.cnf, or AKV_ALLOW_DELETE=yes"
    )]
    DeletionNotAllowed(managed_hsm::KeyUri),
    #[error("{0}")]
    InputLength(String),
    #[error("the output buffer has {available} bytes, {needed} are needed")]
    BufferTooSmall { needed: usize, available: usize },
    #[error("a digest of {expected} bytes ({digest}) is expected, {got} bytes were given")]
    DigestLength {
        digest: &'static str,
        expected: usize,
        got: usize,
    },
    #[error(
        "the HSM's answer for key {key} is not a signature by that key ({problem}): nothing was signed; {remedy}"
    )]
    WrongSignature {
        key: String,
        problem: String,
        remedy: &'static str,
    },
    #[error("nothing can be recovered from the signature: {0}")]
    NotRecovered(String),
    #[error(
        "a software key was asked for, and no other provider makes such keys: load the 'default' provider as well"
    )]
    NoSoftwareKeys,
    #[error(
        "the property query leaves out keys of the HSM: where default_properties in openssl.cnf ask for fips=yes, set \
         assume-fips = yes in this provider's section (or AKV_ASSUME_FIPS=yes), or ask for ?fips=yes; any other query must \
         allow provider=akv_provider"
    )]
    LeftOut,
    #[error("the output can't be written")]
    Output,
    #[error("internal error, please report it: {0}")]
    Internal(String),
}

/// The reason code that goes with an [`Error`] on OpenSSL's queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Reason {
    InvalidUri = 1,
    HsmRequestFailed,
    InvalidSettings,
    InvalidParameter,
    NotSupportedByHsm,
    OperationNotPermitted,
    DeletionNotAllowed,
    MissingPrivateKey,
    InvalidKey,
    NotInitialised,
    BufferTooSmall,
    InvalidDigestLength,
    InvalidInputLength,
    WrongSignature,
    NotRecovered,
    NoSoftwareKeys,
    LeftOut,
    OutputFailed,
    Internal,
    KeyNameMissing,
}

impl Error {
    pub(crate) fn reason(&self) -> Reason {
        match self {
            Self::Uri(_) => Reason::InvalidUri,
            Self::KeyNameMissing(_) => Reason::KeyNameMissing,
            Self::Hsm(_) | Self::NotListed { .. } => Reason::HsmRequestFailed,
            Self::Settings(_) => Reason::InvalidSettings,
            Self::Parameter { .. } => Reason::InvalidParameter,
            Self::Unsupported { .. } => Reason::NotSupportedByHsm,
            Self::NotPermitted { .. } => Reason::OperationNotPermitted,
            Self::DeletionNotAllowed(_) => Reason::DeletionNotAllowed,
            Self::MissingPrivateKey => Reason::MissingPrivateKey,
            Self::InvalidKey(_) => Reason::InvalidKey,
            Self::NotInitialised(_) => Reason::NotInitialised,
            Self::BufferTooSmall { .. } => Reason::BufferTooSmall,
            Self::DigestLength { .. } => Reason::InvalidDigestLength,
            Self::InputLength(_) => Reason::InvalidInputLength,
            Self::WrongSignature { .. } => Reason::WrongSignature,
            Self::NotRecovered(_) => Reason::NotRecovered,
            Self::NoSoftwareKeys => Reason::NoSoftwareKeys,
            Self::LeftOut => Reason::LeftOut,
            Self::Output => Reason::OutputFailed,
            Self::Internal(_) => Reason::Internal,
        }
    }

    pub(crate) fn parameter(name: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::Parameter {
            name: name.into(),
            problem: problem.into(),
        }
    }

    pub(crate) fn unsupported(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::Unsupported {
            what: what.into(),
            remedy: remedy.into(),
        }
    }
}
