//! Where the value of a setting comes from, as errors name it.

use std::borrow::Cow;

/// Where a value comes from; errors name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The environment variable of this name.
    Variable(&'static str),
    /// A key in a configuration file.
    File {
        /// The key.
        key: Cow<'static, str>,
        /// What the file is called.
        file: String,
    },
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Variable(name) => f.write_str(name),
            Self::File { key, file } => write!(f, "'{key}' in {file}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_named_so_that_a_person_finds_it() {
        let key = "ca-file".into();
        for (origin, text) in [
            (Origin::Variable("AKV_CA_FILE"), "AKV_CA_FILE"),
            (
                Origin::File {
                    key,
                    file: "pkcs11.conf".to_owned(),
                },
                "'ca-file' in pkcs11.conf",
            ),
        ] {
            assert_eq!(origin.to_string(), text);
        }
    }
}
