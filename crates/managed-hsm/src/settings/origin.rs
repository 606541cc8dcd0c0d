//! Where the value of a setting comes from, as errors name it.

/// Where a value comes from; errors name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The environment variable of this name.
    Variable(&'static str),
    /// The key of this name in a configuration file.
    File(&'static str),
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Variable(name) => f.write_str(name),
            Self::File(key) => write!(f, "'{key}' in openssl.cnf"),
        }
    }
}
