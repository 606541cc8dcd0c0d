//! Why a call failed: the code that the program gets, and the sentence that a person gets.

use cryptoki_sys::{
    CK_RV, CKR_ATTRIBUTE_VALUE_INVALID, CKR_BUFFER_TOO_SMALL, CKR_DATA_INVALID, CKR_DATA_LEN_RANGE,
    CKR_DEVICE_ERROR, CKR_ENCRYPTED_DATA_INVALID, CKR_ENCRYPTED_DATA_LEN_RANGE,
    CKR_FUNCTION_FAILED, CKR_GENERAL_ERROR, CKR_KEY_FUNCTION_NOT_PERMITTED, CKR_KEY_HANDLE_INVALID,
    CKR_KEY_SIZE_RANGE, CKR_KEY_TYPE_INCONSISTENT, CKR_MECHANISM_PARAM_INVALID,
    CKR_OBJECT_HANDLE_INVALID, CKR_TEMPLATE_INCONSISTENT, CKR_TOKEN_WRITE_PROTECTED,
    CKR_UNWRAPPING_KEY_HANDLE_INVALID, CKR_USER_NOT_LOGGED_IN, CKR_WRAPPED_KEY_INVALID,
    CKR_WRAPPING_KEY_HANDLE_INVALID,
};

/// A failure of a call.
#[derive(Clone, Debug)]
pub(crate) struct Error {
    /// What the call returns.
    pub(crate) code: CK_RV,
    /// What happened and what to do. None: the code says it, and the program may have expected it.
    pub(crate) cause: Option<String>,
}

/// What a request is for: the service's refusals mean different things.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    Find,
    Sign,
    Verify,
    Encrypt,
    Decrypt,
    Wrap,
    Unwrap,
    Create,
    /// A key with its private part is to be taken in.
    Import,
    /// The same of a key that is wrapped for one of the HSM.
    Transfer,
    Update,
    Delete,
    Random,
}

impl Error {
    /// A failure that the program may have expected.
    pub(crate) fn code(code: CK_RV) -> Self {
        Self { code, cause: None }
    }

    /// A failure that a person is told of.
    pub(crate) fn because(code: CK_RV, cause: impl Into<String>) -> Self {
        Self {
            cause: Some(cause.into()),
            ..Self::code(code)
        }
    }

    /// Whether the program may call again, with a larger buffer.
    pub(crate) fn is_too_small(&self) -> bool {
        self.code == CKR_BUFFER_TOO_SMALL
    }

    /// Whether the HSM has answered, and does not do what it was asked for: it would say the same
    /// again. Else it can't be asked, or has failed, and nothing can be known just now.
    pub(crate) fn is_refusal(&self) -> bool {
        matches!(
            self.code,
            CKR_FUNCTION_FAILED | CKR_KEY_FUNCTION_NOT_PERMITTED | CKR_KEY_HANDLE_INVALID
        )
    }

    /// A request that failed. `by_pin`: the program has logged in, and might do it again.
    pub(crate) fn request(purpose: Purpose, by_pin: bool, error: &managed_hsm::Error) -> Self {
        Self {
            code: request_code(purpose, by_pin, error),
            cause: Some(error.to_string()),
        }
    }

    /// An operation with a key that failed here.
    pub(crate) fn operation(purpose: Purpose, error: &hsm_keys::Error) -> Self {
        use hsm_keys::Error as E;
        let code = match error {
            E::Client(error) => return Self::request(purpose, false, error),
            E::WrongSignature { .. } | E::WrongPlaintext { .. } => CKR_DEVICE_ERROR,
            E::NotPermitted { .. } => CKR_KEY_FUNCTION_NOT_PERMITTED,
            E::MissingPrivateKey | E::WrongKeyType { .. } => CKR_KEY_TYPE_INCONSISTENT,
            E::RsaDigest(_) | E::SaltLength { .. } | E::Mgf1Digest { .. } => {
                CKR_MECHANISM_PARAM_INVALID
            }
            E::NoRoom { .. } | E::TooLongForCurve { .. } | E::DigestLength { .. } => {
                CKR_DATA_LEN_RANGE
            }
            E::NoRawSignatures(_) => CKR_DATA_INVALID,
            E::PlaintextLength { .. } => CKR_DATA_LEN_RANGE,
            E::CiphertextLength { .. } => CKR_ENCRYPTED_DATA_LEN_RANGE,
            E::OaepHash { .. } => CKR_MECHANISM_PARAM_INVALID,
            E::UnusableForEncryption | E::AesKeySize(_) => CKR_KEY_SIZE_RANGE,
            _ => CKR_GENERAL_ERROR,
        };
        Self::because(code, error.to_string())
    }
}

fn request_code(purpose: Purpose, by_pin: bool, error: &managed_hsm::Error) -> CK_RV {
    use managed_hsm::Error as E;
    match error {
        E::Undecided { cause } => request_code(purpose, by_pin, cause),
        E::NoCredential { .. }
        | E::Credential { .. }
        | E::TokenExpired { .. }
        | E::Unauthorized { .. } => match by_pin {
            true => CKR_USER_NOT_LOGGED_IN,
            false => CKR_DEVICE_ERROR,
        },
        E::Service { status, .. } => service_code(purpose, *status),
        E::Settings { .. } | E::ApiVersion { .. } | E::Uri(_) => CKR_FUNCTION_FAILED,
        E::TooLong { .. } => match purpose {
            Purpose::Decrypt | Purpose::Unwrap => CKR_ENCRYPTED_DATA_LEN_RANGE,
            _ => CKR_DATA_LEN_RANGE,
        },
        E::Connect { .. }
        | E::Down { .. }
        | E::Timeout { .. }
        | E::Response { .. }
        | E::Tls(_)
        | E::Io(_) => CKR_DEVICE_ERROR,
    }
}

fn service_code(purpose: Purpose, status: u16) -> CK_RV {
    match (status, purpose) {
        (
            403,
            Purpose::Sign
            | Purpose::Verify
            | Purpose::Encrypt
            | Purpose::Decrypt
            | Purpose::Wrap
            | Purpose::Unwrap,
        ) => CKR_KEY_FUNCTION_NOT_PERMITTED,
        (
            403,
            Purpose::Create
            | Purpose::Import
            | Purpose::Transfer
            | Purpose::Update
            | Purpose::Delete,
        ) => CKR_TOKEN_WRITE_PROTECTED,
        (404, Purpose::Sign | Purpose::Verify | Purpose::Encrypt | Purpose::Decrypt) => {
            CKR_KEY_HANDLE_INVALID
        }
        (404, Purpose::Wrap) => CKR_WRAPPING_KEY_HANDLE_INVALID,
        (404, Purpose::Unwrap | Purpose::Transfer) => CKR_UNWRAPPING_KEY_HANDLE_INVALID,
        (404, Purpose::Update | Purpose::Delete) => CKR_OBJECT_HANDLE_INVALID,
        (400, Purpose::Decrypt) => CKR_ENCRYPTED_DATA_INVALID,
        (400, Purpose::Unwrap | Purpose::Transfer) => CKR_WRAPPED_KEY_INVALID,
        (400, Purpose::Create) => CKR_TEMPLATE_INCONSISTENT,
        (400, Purpose::Update | Purpose::Import) => CKR_ATTRIBUTE_VALUE_INVALID,
        // That is a refusal of no request: the service, or what stands before it, is too slow.
        (408, _) => CKR_DEVICE_ERROR,
        (400..=428, _) => CKR_FUNCTION_FAILED,
        _ => CKR_DEVICE_ERROR,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_may_not_be_used_or_is_gone_is_told_so_whatever_it_was_used_for() {
        for (purpose, gone) in [
            (Purpose::Sign, CKR_KEY_HANDLE_INVALID),
            (Purpose::Verify, CKR_KEY_HANDLE_INVALID),
            (Purpose::Encrypt, CKR_KEY_HANDLE_INVALID),
            (Purpose::Decrypt, CKR_KEY_HANDLE_INVALID),
            (Purpose::Wrap, CKR_WRAPPING_KEY_HANDLE_INVALID),
            (Purpose::Unwrap, CKR_UNWRAPPING_KEY_HANDLE_INVALID),
        ] {
            let codes = [403, 404].map(|status| service_code(purpose, status));
            let expected = [CKR_KEY_FUNCTION_NOT_PERMITTED, gone];
            assert_eq!(codes, expected, "{purpose:?}");
        }
    }
}
