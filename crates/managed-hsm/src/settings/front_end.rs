//! Which program or library the client is a part of.

use http::HeaderValue;

/// What a front end says of itself.
#[derive(Clone, Debug)]
pub struct FrontEnd {
    /// Who asks, as requests say it.
    pub(crate) user_agent: HeaderValue,
    /// The file that settings may stand in, as errors name it.
    pub(crate) configuration_file: &'static str,
}

impl FrontEnd {
    /// A front end that requests call `<name>/<version>`, and whose settings stand in a file of that name.
    pub const fn new(user_agent: &'static str, configuration_file: &'static str) -> Self {
        Self {
            user_agent: HeaderValue::from_static(user_agent),
            configuration_file,
        }
    }
}

/// None is known: a program of its own has the client.
impl Default for FrontEnd {
    fn default() -> Self {
        let user_agent = concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION"));
        Self::new(user_agent, "the configuration file")
    }
}
