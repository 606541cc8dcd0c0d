//! Why an operation of the provider failed, as a sentence for OpenSSL's error queue.

use std::ffi::CStr;

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
        cause: Box<managed_hsm::Error>,
    },
    #[error("{0}")]
    Settings(managed_hsm::Error),
    #[error("parameter '{name}': {problem}")]
    Parameter { name: String, problem: String },
    #[error("the digest '{name}' can't be used with this key: use one of {fitting}")]
    UnknownDigest { name: String, fitting: String },
    #[error("{what} is not supported by Managed HSM: {remedy}")]
    Unsupported {
        reason: Reason,
        what: String,
        remedy: String,
    },
    #[error("{what} is refused by this provider: {remedy}")]
    Refused {
        reason: Reason,
        what: String,
        remedy: String,
    },
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
    #[error("PSS needs the name of the digest: set it (pkeyutl -pkeyopt digest:sha256)")]
    DigestNameMissing,
    #[error(
        "an RSA signature of bytes without the name of a digest: the HSM refused to only pad them ({0}); name the digest \
         (pkeyutl -pkeyopt digest:sha256)"
    )]
    NoRawSignatures(managed_hsm::Error),
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

macro_rules! reasons {
    ($($reason:ident => $text:literal,)*) => {
        /// The reason code that goes with an [`Error`] on OpenSSL's queue. Some programs show nothing else of it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u32)]
        pub(crate) enum Reason {
            $($reason,)*
        }

        /// All reasons with their texts.
        pub(crate) const REASONS: &[(Reason, &CStr)] = &[$((Reason::$reason, $text),)*];
    };
}

reasons! {
    InvalidUri => c"invalid key URI",
    KeyNameMissing => c"key name missing",
    HsmRequestFailed => c"request refused by the HSM",
    NotFound => c"not found in the HSM",
    Forbidden => c"forbidden by the HSM",
    Throttled => c"too many requests to the HSM",
    Unreachable => c"HSM not reachable",
    TimedOut => c"no answer from the HSM in time",
    UnusableAnswer => c"answer of the HSM not usable",
    NoCredential => c"no credential for the HSM",
    CredentialFailed => c"credential gave no access token",
    TokenExpired => c"access token expired",
    TokenRefused => c"access token not accepted by the HSM",
    TlsSetUp => c"TLS can't be set up",
    NoThread => c"no thread for requests",
    InvalidSettings => c"invalid settings",
    InvalidParameter => c"invalid parameter",
    UnknownDigest => c"unknown digest",
    RsaDigest => c"RSA signature with this digest not supported by the HSM",
    SaltLength => c"PSS salt length not supported by the HSM",
    Mgf1Digest => c"other digest for MGF1 not supported by the HSM",
    SignaturePadding => c"signature padding not supported by the HSM",
    NoRawSignatures => c"signature without a digest name not supported by the HSM",
    DigestNameMissing => c"name of the digest missing",
    EncryptionPadding => c"encryption padding not supported by the HSM",
    OaepHash => c"OAEP digest not supported by the HSM",
    OaepLabel => c"OAEP label not supported by the HSM",
    RsaKeyExchange => c"RSA key exchange refused",
    KeySize => c"key size not supported by the HSM",
    UnknownCurve => c"curve not supported by the HSM",
    InitialValue => c"own initial value not supported by the HSM",
    MessageInPieces => c"message in pieces not supported by the HSM",
    TagMissing => c"tag missing before the ciphertext",
    TagLength => c"tag length not supported by the HSM",
    CipherLength => c"cipher length not supported by the HSM",
    KeyFormat => c"key format fixed",
    KeyFileEncryption => c"key file not encrypted",
    PrivateKeyStays => c"private key stays in the HSM",
    RandomStrength => c"strength of random bytes too high",
    OperationNotPermitted => c"operation not permitted on this key",
    DeletionNotAllowed => c"deletion not allowed",
    DeletionOfVersion => c"deletion of one version not supported by the HSM",
    MissingPrivateKey => c"no private key",
    InvalidKey => c"invalid key",
    NotInitialised => c"operation not initialised",
    BufferTooSmall => c"output buffer too small",
    InvalidDigestLength => c"invalid digest length",
    InvalidInputLength => c"invalid input length",
    WrongSignature => c"wrong signature from the HSM",
    NotRecovered => c"nothing to recover from the signature",
    NoSoftwareKeys => c"no provider for software keys",
    LeftOut => c"left out by the property query",
    OutputFailed => c"output failed",
    Internal => c"internal error",
}

impl Reason {
    /// The number on OpenSSL's queue, which takes 0 for no reason.
    pub(crate) const fn code(self) -> u32 {
        self as u32 + 1
    }
}

impl Error {
    pub(crate) fn reason(&self) -> Reason {
        match self {
            Self::Uri(_) => Reason::InvalidUri,
            Self::KeyNameMissing(_) => Reason::KeyNameMissing,
            Self::Hsm(error) => of_client(error),
            Self::NotListed { cause, .. } => of_client(cause),
            Self::Settings(_) => Reason::InvalidSettings,
            Self::UnknownDigest { .. } => Reason::UnknownDigest,
            Self::Parameter { .. } => Reason::InvalidParameter,
            Self::Unsupported { reason, .. } | Self::Refused { reason, .. } => *reason,
            Self::NotPermitted { .. } => Reason::OperationNotPermitted,
            Self::DeletionNotAllowed(_) => Reason::DeletionNotAllowed,
            Self::MissingPrivateKey => Reason::MissingPrivateKey,
            Self::InvalidKey(_) => Reason::InvalidKey,
            Self::NotInitialised(_) => Reason::NotInitialised,
            Self::BufferTooSmall { .. } => Reason::BufferTooSmall,
            Self::DigestLength { .. } => Reason::InvalidDigestLength,
            Self::InputLength(_) => Reason::InvalidInputLength,
            Self::WrongSignature { .. } => Reason::WrongSignature,
            Self::DigestNameMissing => Reason::DigestNameMissing,
            Self::NoRawSignatures(_) => Reason::NoRawSignatures,
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

    /// The HSM has no such operation.
    pub(crate) fn unsupported(
        reason: Reason,
        what: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self::Unsupported {
            reason,
            what: what.into(),
            remedy: remedy.into(),
        }
    }

    /// The HSM has nothing to do with it.
    pub(crate) fn refused(
        reason: Reason,
        what: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self::Refused {
            reason,
            what: what.into(),
            remedy: remedy.into(),
        }
    }
}

/// Why a request failed.
fn of_client(error: &managed_hsm::Error) -> Reason {
    use managed_hsm::Error as Client;
    match error {
        Client::Uri(_) => Reason::InvalidUri,
        Client::Settings { .. } => Reason::InvalidSettings,
        Client::NoCredential { .. } => Reason::NoCredential,
        Client::Credential { .. } => Reason::CredentialFailed,
        Client::TokenExpired { .. } => Reason::TokenExpired,
        Client::Unauthorized { .. } => Reason::TokenRefused,
        Client::Service { status: 404, .. } => Reason::NotFound,
        Client::Service { status: 403, .. } => Reason::Forbidden,
        Client::Service { status: 429, .. } => Reason::Throttled,
        Client::Service { .. } => Reason::HsmRequestFailed,
        Client::Connect { .. } | Client::Down { .. } => Reason::Unreachable,
        Client::Timeout { .. } => Reason::TimedOut,
        Client::Response { .. } => Reason::UnusableAnswer,
        Client::Tls(_) => Reason::TlsSetUp,
        Client::Io(_) => Reason::NoThread,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_two_reasons_have_the_same_text() {
        let texts: HashSet<&CStr> = REASONS.iter().map(|(_, text)| *text).collect();
        assert_eq!(texts.len(), REASONS.len());
    }
}
