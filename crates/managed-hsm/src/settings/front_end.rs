//! Which program or library the client is a part of.

use std::borrow::Cow;

use http::HeaderValue;

use super::credentials::ACCESS_TOKEN;
use super::setting::Setting;
use crate::credential::kind::by_az;
use crate::environment;

/// What a front end says of itself.
#[derive(Clone, Debug)]
pub struct FrontEnd {
    /// Who asks, as requests say it.
    pub(crate) user_agent: HeaderValue,
    /// The file that settings may stand in, as errors name it.
    configuration_file: &'static str,
    spelling: Spelling,
    /// Whether its processes have metrics.
    is_measured: bool,
}

/// How a configuration file spells the keys of settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spelling {
    /// `ca-file`
    Hyphens,
    /// `caFile`
    CamelCase,
}

impl Spelling {
    /// A setting's key as the file has it.
    pub fn of(self, key: &'static str) -> Cow<'static, str> {
        match self {
            Self::Hyphens => key.into(),
            Self::CamelCase => {
                let mut words = key.split('-');
                let first = words.next().unwrap_or_default().to_owned();
                let spelt = words.fold(first, |mut spelt, word| {
                    let (initial, rest) = word.split_at(word.len().min(1));
                    spelt.push_str(&initial.to_ascii_uppercase());
                    spelt + rest
                });
                spelt.into()
            }
        }
    }
}

impl FrontEnd {
    /// A front end that requests call `<name>/<version>`, and whose settings stand in a file of
    /// that name.
    pub const fn new(
        user_agent: &'static str,
        configuration_file: &'static str,
        spelling: Spelling,
    ) -> Self {
        Self {
            user_agent: HeaderValue::from_static(user_agent),
            configuration_file,
            spelling,
            is_measured: false,
        }
    }

    /// The same front end, whose processes have metrics if the settings ask for them.
    #[must_use]
    pub const fn with_metrics(mut self) -> Self {
        self.is_measured = true;
        self
    }

    /// What metrics call it, and its version. None: its processes have none.
    pub(crate) fn measured(&self) -> Option<(&str, &str)> {
        let name = self.user_agent.to_str().ok()?;
        name.split_once('/').filter(|_| self.is_measured)
    }

    /// Where else than in the environment a setting may stand, as errors name it.
    pub(crate) fn in_file(&self, key: &'static str) -> String {
        format!("'{}' in {}", self.spelling.of(key), self.configuration_file)
    }

    /// Says that a setting is missing, by a name that counts in this process.
    pub(crate) fn missing(&self, setting: &Setting) -> String {
        match (environment::is_trusted(), setting.key) {
            (true, _) => format!("{} is not set", setting.variable),
            (false, Some(key)) => format!("{} is not set", self.in_file(key)),
            (false, None) => {
                "its secret comes from no variable of a program with raised rights".to_owned()
            }
        }
    }

    /// What to do where no credential is set up that gives tokens for `audience`: nothing that
    /// wouldn't count in this process.
    pub(crate) fn how_to_log_in(&self, audience: &str) -> String {
        match environment::is_trusted() {
            true => format!(
                "set {} to the output of '{}', or set up another credential ('akv docs authentication')",
                ACCESS_TOKEN.variable,
                by_az(audience)
            ),
            false => format!(
                "no variable counts in a program with raised rights: set {}, or another credential there \
                 ('akv docs authentication')",
                self.in_file("token-file")
            ),
        }
    }
}

/// None is known: a program of its own has the client.
impl Default for FrontEnd {
    fn default() -> Self {
        let user_agent = concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION"));
        Self::new(user_agent, "the configuration file", Spelling::Hyphens)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_is_named_as_its_file_spells_it() {
        for (spelling, expected) in [
            (Spelling::Hyphens, "'ca-file' in program.conf"),
            (Spelling::CamelCase, "'caFile' in program.conf"),
        ] {
            let front_end = FrontEnd::new("program/1", "program.conf", spelling);
            assert_eq!(front_end.in_file("ca-file"), expected);
        }
        let longer = Spelling::CamelCase.of("client-send-certificate-chain");
        assert_eq!(longer, "clientSendCertificateChain");
        assert_eq!(Spelling::CamelCase.of("cloud"), "cloud");
    }
}
