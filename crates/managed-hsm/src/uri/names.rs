//! The names that a URI consists of. They are checked so strictly that none can change the host or
//! the path of a request.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;
use std::sync::Arc;

use super::error::{UriError, printable};

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $check:expr) => {
        $(#[$doc])*
        ///
        /// Upper and lower case are the same, as the service has it.
        #[derive(Clone, Debug)]
        pub struct $name(Arc<str>);

        impl PartialEq for $name {
            fn eq(&self, other: &Self) -> bool {
                self.0.eq_ignore_ascii_case(&other.0)
            }
        }

        impl Eq for $name {}

        impl Hash for $name {
            fn hash<H: Hasher>(&self, state: &mut H) {
                for byte in self.0.bytes() {
                    state.write_u8(byte.to_ascii_lowercase());
                }
                // As of a text: what follows a name belongs to no name.
                state.write_u8(0xff);
            }
        }

        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }

            pub(super) fn checked(name: &str) -> Result<Self, String> {
                let check: fn(&str) -> Result<(), String> = $check;
                check(name).map(|()| Self(name.into()))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = UriError;

            fn from_str(name: &str) -> Result<Self, UriError> {
                Self::checked(name).map_err(|problem| UriError::new(name, problem))
            }
        }
    };
}

name!(
    /// Name of a Managed HSM or of a key vault: a letter, then letters, digits and hyphens, 3 to 24
    /// characters in all.
    VaultName,
    |name| {
        let valid = name.starts_with(|first: char| first.is_ascii_alphabetic())
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && (3..=24).contains(&name.len());
        refuse_unless(valid, || {
            format!(
                "the vault name '{}' is not valid: it must start with a letter, have 3 to 24 characters, \
                 and hold only letters, digits and hyphens",
                printable(name)
            )
        })
    }
);

name!(
    /// Name of a key: letters, digits and hyphens, 1 to 127 characters.
    KeyName,
    |name| {
        let valid = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && (1..=127).contains(&name.len());
        refuse_unless(valid, || {
            format!(
                "the key name '{}' is not valid: it must have 1 to 127 characters, \
                 and hold only letters, digits and hyphens",
                printable(name)
            )
        })
    }
);

name!(
    /// Version of a key: 32 hexadecimal digits.
    KeyVersion,
    |version| {
        let valid = version.len() == 32 && version.bytes().all(|byte| byte.is_ascii_hexdigit());
        refuse_unless(valid, || {
            format!("the version '{}' is not valid: it must be 32 hexadecimal digits", printable(version))
        })
    }
);

fn refuse_unless(valid: bool, problem: impl FnOnce() -> String) -> Result<(), String> {
    if valid { Ok(()) } else { Err(problem()) }
}
