//! Why an operation of the provider failed, as a sentence for OpenSSL's error queue.

use std::ffi::CStr;

use hsm_module::TooSmall;

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
    /// Of `hsm-keys`, with the option of OpenSSL's programs that would help.
    #[error("{error}{}", option(error))]
    Key { error: Box<hsm_keys::Error> },
    #[error("{0}")]
    Settings(managed_hsm::Error),
    #[error("parameter '{name}': {problem}")]
    Parameter { name: String, problem: String },
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
    #[error(
        "a software key was asked for, and no other provider makes such keys: load the 'default' provider as well"
    )]
    NoSoftwareKeys,
    #[error(
        "the provider that has this software key offers no such operation with it: use another algorithm, or list a \
         provider first that has both"
    )]
    NotOffered,
    #[error(
        "the property query leaves out keys of the HSM: where default_properties in openssl.cnf ask for fips=yes, set \
         assume-fips = yes in this provider's section (or AKV_ASSUME_FIPS=yes), or ask for ?fips=yes; any other query must \
         allow provider=akv_provider"
    )]
    LeftOut,
    #[error(
        "keys of {key_type} need OpenSSL {needed} or newer, and this program has {}.{}",
        version.0, version.1
    )]
    OldOpenSsl {
        key_type: &'static str,
        needed: &'static str,
        version: (u32, u32),
    },
    #[error("the output can't be written")]
    Output,
    #[error("internal error, please report it: {0}")]
    Internal(String),
}

macro_rules! reasons {
    ($($reason:ident => $text:literal,)*) => {
        /// The reason code that goes with an [`Error`] on OpenSSL's queue. Some programs show
        /// nothing else of it.
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
    ApiVersion => c"not in this version of the service's API",
    OldOpenSsl => c"not in this version of OpenSSL",
    ContextString => c"context string too long",
    Deterministic => c"deterministic signature not supported by the HSM",
    OtherPublicKey => c"public key of the key file not that of the HSM",
    Internal => c"internal error",
    NotOffered => c"operation not offered with this software key",
    Search => c"search not supported by the HSM",
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
            Self::Key { error } => of_key(error),
            Self::Settings(_) => Reason::InvalidSettings,
            Self::Parameter { .. } => Reason::InvalidParameter,
            Self::Unsupported { reason, .. } | Self::Refused { reason, .. } => *reason,
            Self::DeletionNotAllowed(_) => Reason::DeletionNotAllowed,
            Self::InvalidKey(_) => Reason::InvalidKey,
            Self::NotInitialised(_) => Reason::NotInitialised,
            Self::BufferTooSmall { .. } => Reason::BufferTooSmall,
            Self::InputLength(_) => Reason::InvalidInputLength,
            Self::NoSoftwareKeys => Reason::NoSoftwareKeys,
            Self::NotOffered => Reason::NotOffered,
            Self::LeftOut => Reason::LeftOut,
            Self::OldOpenSsl { .. } => Reason::OldOpenSsl,
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

impl From<TooSmall> for Error {
    fn from(TooSmall { needed, available }: TooSmall) -> Self {
        Self::BufferTooSmall { needed, available }
    }
}

impl From<hsm_keys::Error> for Error {
    fn from(error: hsm_keys::Error) -> Self {
        match error {
            hsm_keys::Error::Client(error) => Self::Hsm(error),
            hsm_keys::Error::Uri(error) => Self::Uri(error),
            error => Self::Key {
                error: Box::new(error),
            },
        }
    }
}

/// The option of OpenSSL's programs that helps, after the sentence that says what is wrong.
fn option(error: &hsm_keys::Error) -> &'static str {
    use hsm_keys::Error as Key;
    match error {
        Key::SaltLength { .. } => " (use saltlen:digest)",
        Key::DigestNameMissing | Key::NoRawSignatures(_) => " (pkeyutl -pkeyopt digest:sha256)",
        Key::NoRoom { .. } => " (pkeyutl -pkeyopt digest:sha256), or sign a message (dgst -sha256)",
        Key::OaepHash { .. } => " (rsa_oaep_md:sha256 and rsa_mgf1_md:sha256)",
        _ => "",
    }
}

/// Why an operation with a key failed.
fn of_key(error: &hsm_keys::Error) -> Reason {
    use hsm_keys::Error as Key;
    match error {
        Key::Client(error) => of_client(error),
        Key::Uri(_) => Reason::InvalidUri,
        Key::MissingPrivateKey => Reason::MissingPrivateKey,
        Key::NotPermitted { .. } => Reason::OperationNotPermitted,
        Key::WrongKeyType { .. }
        | Key::PublicKey(_)
        | Key::UnusableForEncryption
        | Key::KeyFile(_) => Reason::InvalidKey,
        Key::UnknownDigest { .. } => Reason::UnknownDigest,
        Key::DigestLength { .. } => Reason::InvalidDigestLength,
        Key::ContextLength(_) => Reason::ContextString,
        Key::MuLength(_) => Reason::InvalidInputLength,
        Key::RsaDigest(_) => Reason::RsaDigest,
        Key::SaltLength { .. } => Reason::SaltLength,
        Key::Mgf1Digest { .. } => Reason::Mgf1Digest,
        Key::BareSignature => Reason::SignaturePadding,
        Key::DigestNameMissing => Reason::DigestNameMissing,
        Key::NoRawSignatures(_) => Reason::NoRawSignatures,
        Key::WrongSignature { .. } => Reason::WrongSignature,
        Key::WrongPlaintext { .. } => Reason::UnusableAnswer,
        Key::OtherPublicKey { .. } => Reason::OtherPublicKey,
        Key::Unproven { cause, .. } => of_client(cause),
        Key::NotRecovered(_) => Reason::NotRecovered,
        Key::OaepHash { .. } => Reason::OaepHash,
        Key::NoRoom { .. }
        | Key::TooLongForCurve { .. }
        | Key::PlaintextLength { .. }
        | Key::CiphertextLength { .. }
        | Key::WrapLength { .. } => Reason::InvalidInputLength,
        Key::InitialisationVectorMissing => Reason::NotInitialised,
        Key::TagMissing => Reason::TagMissing,
        Key::AesKeySize(_) | Key::WrongAnswer(_) => Reason::Internal,
    }
}

/// Why a request failed.
fn of_client(error: &managed_hsm::Error) -> Reason {
    use managed_hsm::Error as Client;
    match error {
        Client::Undecided { cause } => of_client(cause),
        Client::Uri(_) => Reason::InvalidUri,
        Client::Settings { .. } => Reason::InvalidSettings,
        Client::NoCredential { .. } => Reason::NoCredential,
        Client::Credential { .. } => Reason::CredentialFailed,
        Client::TokenExpired { .. } => Reason::TokenExpired,
        Client::Unauthorized { .. } => Reason::TokenRefused,
        Client::ApiVersion { .. } => Reason::ApiVersion,
        Client::Service { status: 404, .. } => Reason::NotFound,
        Client::Service { status: 403, .. } => Reason::Forbidden,
        Client::Service { status: 429, .. } => Reason::Throttled,
        Client::Service { .. } => Reason::HsmRequestFailed,
        Client::Connect { .. } | Client::Down { .. } => Reason::Unreachable,
        Client::Timeout { .. } => Reason::TimedOut,
        Client::Response { .. } => Reason::UnusableAnswer,
        Client::Tls(_) => Reason::TlsSetUp,
        Client::TooLong { .. } => Reason::InvalidInputLength,
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
