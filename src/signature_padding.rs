//! Padding and salt length of RSA signatures, as OpenSSL's callers name and number them.

use std::ffi::CStr;

use hsm_keys::SaltLen;

use crate::error::{Error, Reason};
use crate::openssl::params::ParamsOut;

/// The padding of an RSA signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Padding {
    Pkcs1,
    Pss,
    /// None at all: the bare RSA operation, with public keys only.
    None,
}

impl Padding {
    pub(crate) fn by_name(name: &str) -> Result<Self, Error> {
        match name {
            "pkcs1" => Ok(Self::Pkcs1),
            "pss" => Ok(Self::Pss),
            "none" => Ok(Self::None),
            other => Err(Self::unsupported(&format!("'{other}'"))),
        }
    }

    /// By the numbers of `<openssl/rsa.h>`.
    pub(crate) fn by_number(number: i64) -> Result<Self, Error> {
        match number {
            1 => Ok(Self::Pkcs1),
            6 => Ok(Self::Pss),
            3 => Ok(Self::None),
            5 => Err(Self::unsupported("'x931'")),
            other => Err(Self::unsupported(&format!("mode {other}"))),
        }
    }

    /// Its name and its number.
    pub(crate) fn as_openssl(self) -> (&'static CStr, i64) {
        match self {
            Self::Pkcs1 => (c"pkcs1", 1),
            Self::Pss => (c"pss", 6),
            Self::None => (c"none", 3),
        }
    }

    pub(crate) fn unsupported(padding: &str) -> Error {
        Error::unsupported(
            Reason::SignaturePadding,
            format!("an RSA signature with padding {padding}"),
            "use 'pkcs1' or 'pss'",
        )
    }
}

/// A PSS salt length (RSA_padding_add_PKCS1_PSS(3)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Salt {
    /// The caller said nothing.
    Unset,
    /// As long as the digest.
    Digest,
    /// When signing the longest that fits; when verifying whatever is found.
    Auto,
    /// The longest that fits.
    Max,
    /// When signing as long as the digest, or less where that doesn't fit; when verifying whatever
    /// is found.
    AutoDigestMax,
    Bytes(usize),
}

impl Salt {
    /// By the names that this version of libcrypto has.
    pub(crate) fn by_name(name: &str, version: (u32, u32)) -> Result<Self, Error> {
        match name {
            "digest" => Ok(Self::Digest),
            "auto" => Ok(Self::Auto),
            "max" => Ok(Self::Max),
            "auto-digestmax" if has_auto_digest_max(version) => Ok(Self::AutoDigestMax),
            number => match number.parse() {
                Ok(number) => Self::by_number(number, version),
                Err(_) => Err(Self::unknown(number, version)),
            },
        }
    }

    pub(crate) fn by_number(number: i64, version: (u32, u32)) -> Result<Self, Error> {
        match number {
            -1 => Ok(Self::Digest),
            -2 => Ok(Self::Auto),
            -3 => Ok(Self::Max),
            -4 if has_auto_digest_max(version) => Ok(Self::AutoDigestMax),
            number => usize::try_from(number)
                .map(Self::Bytes)
                .map_err(|_| Self::unknown(&number.to_string(), version)),
        }
    }

    /// Its name, if it has one, and its number.
    fn as_openssl(self, is_verification: bool) -> (Option<&'static CStr>, i64) {
        match self {
            // What signing does; OpenSSL's own default when verifying is to take what is found.
            Self::Unset if is_verification => (Some(c"auto"), -2),
            Self::Unset | Self::Digest => (Some(c"digest"), -1),
            Self::Auto => (Some(c"auto"), -2),
            Self::Max => (Some(c"max"), -3),
            Self::AutoDigestMax => (Some(c"auto-digestmax"), -4),
            Self::Bytes(len) => (None, len as i64),
        }
    }

    /// Answers it, if it is asked for.
    pub(crate) fn tell(
        self,
        key: &CStr,
        is_verification: bool,
        params: &mut ParamsOut<'_>,
    ) -> Result<(), Error> {
        let is_text = params.wants_text(key);
        match (self.as_openssl(is_verification), is_text) {
            ((Some(name), _), true) => params.set_utf8(key, name),
            // Up to OpenSSL 3.x the number is asked for as a text, too.
            ((None, number), true) => params.set_text(key, &number.to_string()),
            ((_, number), false) => params.set_integer(key, number),
        }
    }

    /// What it comes to.
    pub(crate) fn len(self, is_signing: bool) -> SaltLen {
        match self {
            Self::Unset | Self::AutoDigestMax => SaltLen::Any,
            Self::Auto if is_signing => SaltLen::Longest,
            Self::Auto => SaltLen::Any,
            Self::Digest => SaltLen::Digest,
            Self::Max => SaltLen::Longest,
            Self::Bytes(len) => SaltLen::Bytes(len),
        }
    }

    fn unknown(value: &str, version: (u32, u32)) -> Error {
        let newer = match has_auto_digest_max(version) {
            true => ", auto-digestmax",
            false => "",
        };
        Error::parameter(
            "saltlen",
            format!("'{value}' is neither a length nor one of digest, max, auto{newer}"),
        )
    }
}

/// Whether a version of libcrypto knows the salt length "auto-digestmax".
fn has_auto_digest_max(version: (u32, u32)) -> bool {
    version >= (3, 1)
}
