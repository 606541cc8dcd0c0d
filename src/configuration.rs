//! Settings: from the environment and from the provider's section of `openssl.cnf`, where the
//! environment wins.
//!
//! OpenSSL shows a provider only the values of keys that it asks for, so the section is looked at
//! once more for keys that nobody asks for, and for those that OpenSSL has no value of: a misspelt
//! one is an error at the first use of the provider, and not a setting without effect.

use managed_hsm::{ConfigurationFile, FrontEnd, LogSettings, ProviderSettings, Settings, Spelling};

use crate::error::Error;
use crate::openssl::libcrypto::Key;

/// What the client is told of the provider.
const FRONT_END: FrontEnd = FrontEnd::new(
    concat!("akv_provider/", env!("CARGO_PKG_VERSION")),
    ProviderSettings::FILE,
    Spelling::Hyphens,
)
.with_metrics();

/// What `openssl.cnf` says in the provider's section.
#[derive(Debug, Default)]
pub(crate) struct Section {
    /// The values of the settings' keys.
    pub(crate) values: Vec<(&'static str, String)>,
}

impl ConfigurationFile for Section {
    fn name(&self) -> &str {
        ProviderSettings::FILE
    }

    fn value(&self, key: &str) -> Option<&str> {
        let found = self.values.iter().find(|(known, _)| *known == key);
        found.map(|(_, value)| value.as_str())
    }
}

impl Section {
    /// Whether a generator of random bytes is to be offered.
    pub(crate) fn offers_random(&self) -> bool {
        ProviderSettings::offers_random(|setting| self.find(setting))
    }

    /// Whether the algorithms are to have the property `fips=yes`.
    pub(crate) fn assume_fips(&self) -> bool {
        ProviderSettings::assumes_fips(|setting| self.find(setting))
    }

    /// Where the log goes.
    pub(crate) fn log(&self) -> Result<LogSettings, Error> {
        LogSettings::read(|setting| self.find(setting)).map_err(Error::Settings)
    }
}

/// All settings, checked.
#[derive(Debug)]
pub(crate) struct Configuration {
    pub(crate) client: Settings,
    pub(crate) own: ProviderSettings,
}

impl Configuration {
    /// Reads all settings. `keys`: all keys of the section, as far as they can be known.
    ///
    /// # Errors
    /// A value that can't be used, or a key that is none of ours or has no value: the error names
    /// it.
    pub(crate) fn read(section: &Section, keys: &[Key]) -> Result<Self, Error> {
        let names = keys.iter().map(|key| key.name.as_str());
        ProviderSettings::check_keys(names)
            .and_then(|()| keys.iter().try_for_each(check_value))
            .map_err(Error::Settings)?;
        let find = |setting| section.find(setting);
        Ok(Self {
            client: Settings {
                front_end: FRONT_END,
                ..Settings::read(find).map_err(Error::Settings)?
            },
            own: ProviderSettings::read(find).map_err(Error::Settings)?,
        })
    }
}

/// Refuses a key whose value OpenSSL doesn't hand over: the setting would have no effect.
fn check_value(key: &Key) -> Result<(), managed_hsm::Error> {
    let Some(section) = &key.section else {
        return Ok(());
    };
    Err(managed_hsm::Error::Settings {
        origin: format!("'{}' in {}", key.name, ProviderSettings::FILE),
        problem: format!(
            "it has the value '{section}', which OpenSSL takes for the section of that name: \
             rename the section"
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn section(values: &[(&'static str, &str)]) -> Section {
        let values = values.iter();
        Section {
            values: values
                .map(|(key, value)| (*key, (*value).to_owned()))
                .collect(),
        }
    }

    #[test]
    fn a_section_sets_what_the_environment_does_not() {
        let section = section(&[
            ("allow-delete", "yes"),
            ("random", "MyHSM"),
            ("operation-timeout", "7"),
        ]);
        let configuration = Configuration::read(&section, &[]).unwrap();
        assert!(configuration.own.allow_delete && section.offers_random());
        assert_eq!(
            configuration.own.random.unwrap().to_string(),
            "managedhsm:MyHSM"
        );
        assert_eq!(configuration.client.operation_timeout.as_secs(), 7);
    }

    #[test]
    fn bad_values_and_unknown_keys_are_named() {
        for (key, value) in [
            ("allow-delete", "maybe"),
            ("random", "My_HSM"),
            ("max-connections", "many"),
        ] {
            let error = Configuration::read(&section(&[(key, value)]), &[]).unwrap_err();
            assert!(error.to_string().contains(key), "{error}");
        }
        let key = |name: &str, section: Option<&str>| Key {
            name: name.to_owned(),
            section: section.map(str::to_owned),
        };
        let keys = ["module", "activate", "max-connexions"].map(|name| key(name, None));
        let error = Configuration::read(&Section::default(), &keys).unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("'max-connexions'") && text.contains("max-connections"),
            "{text}"
        );
        let keys = [key("activate", None), key("cloud", Some("china"))];
        let error = Configuration::read(&Section::default(), &keys).unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("'cloud'") && text.contains("rename the section"),
            "{text}"
        );
    }

    #[test]
    fn the_documentation_names_every_setting_and_its_default() {
        let page = include_str!("../docs/configuration.md");
        for setting in ProviderSettings::all() {
            let key = setting
                .key
                .map_or_else(|| "–".to_owned(), |key| format!("`{key}`"));
            let default = match setting.default {
                "" => "none".to_owned(),
                default => format!("`{default}`"),
            };
            let row = format!(
                "| {key} | `{}` | {default} | {} |",
                setting.variable,
                setting.meaning()
            );
            assert!(
                page.contains(&row),
                "docs/configuration.md lacks this row:\n{row}"
            );
        }
        let rows = page
            .lines()
            .filter(|line| line.starts_with("| ") && line.contains(" | `"))
            .count();
        assert_eq!(
            rows,
            ProviderSettings::all().count(),
            "docs/configuration.md has a row too many"
        );
    }
}
