//! Settings: from the environment and from the provider's section of `openssl.cnf`, where the environment wins.
//!
//! OpenSSL shows a provider only the values of keys that it asks for, so the section is looked at once more for keys
//! that nobody asks for: a misspelt one is an error at the first use of the provider, and not a setting without effect.

use managed_hsm::{Origin, Setting, Settings, Vault};

use crate::error::Error;

static LOG_LEVEL: Setting = Setting {
    key: Some("log-level"),
    variable: "AKV_LOG_LEVEL",
    default: "off",
    help: "0 to 3, or off, error, warn, info, debug, trace; info has a line for each request to the HSM",
};
static LOG_FILE: Setting = Setting {
    key: Some("log-file"),
    variable: "AKV_LOG_FILE",
    default: "stderr",
    help: "file that the log is appended to; without a level it means info",
};
static ALLOW_DELETE: Setting = Setting {
    key: Some("allow-delete"),
    variable: "AKV_ALLOW_DELETE",
    default: "no",
    help: "yes lets OSSL_STORE_delete delete keys (they can be recovered until the HSM purges them)",
};
static VERIFY_SIGNATURES: Setting = Setting {
    key: Some("verify-signatures"),
    variable: "AKV_VERIFY_SIGNATURES",
    default: "yes",
    help: "no hands out what the HSM answers without a check by the public key: saves tens of microseconds of CPU time a signature",
};
static RANDOM: Setting = Setting {
    key: Some("random"),
    variable: "AKV_RANDOM",
    default: "",
    help: "name of the HSM whose random bytes the generator AKV-RANDOM gives; without it there is no such generator",
};

/// The provider's own settings; those of the client come in addition.
pub(crate) static OWN: [&Setting; 5] = [
    &LOG_LEVEL,
    &LOG_FILE,
    &ALLOW_DELETE,
    &VERIFY_SIGNATURES,
    &RANDOM,
];

/// Keys of a provider's section that OpenSSL itself reads (config(5)).
const OPENSSL_KEYS: [&str; 4] = ["identity", "soft_load", "module", "activate"];

/// All settings that there are.
pub(crate) fn all() -> impl Iterator<Item = &'static Setting> {
    Settings::all().chain(OWN)
}

/// What `openssl.cnf` says in the provider's section.
#[derive(Debug, Default)]
pub(crate) struct Section {
    /// The values of the settings' keys.
    pub(crate) values: Vec<(&'static str, String)>,
}

impl Section {
    /// What is set: in the environment, else here.
    fn find(
        &self,
        setting: &'static Setting,
    ) -> Result<Option<(String, Origin)>, managed_hsm::Error> {
        if let Some(found) = setting.from_env()? {
            return Ok(Some(found));
        }
        let key = setting.key.unwrap_or_default();
        let value = self.values.iter().find(|(known, _)| *known == key);
        Ok(value
            .filter(|(_, value)| !value.trim().is_empty())
            .map(|(key, value)| (value.clone(), Origin::File(key))))
    }

    /// Whether a generator of random bytes is to be offered.
    pub(crate) fn offers_random(&self) -> bool {
        matches!(self.find(&RANDOM), Ok(Some(_)))
    }

    /// Where the log goes: its level and its file.
    pub(crate) fn log(&self) -> Result<[Option<(String, Origin)>; 2], Error> {
        let find = |setting| self.find(setting).map_err(Error::Settings);
        Ok([find(&LOG_LEVEL)?, find(&LOG_FILE)?])
    }
}

/// All settings, checked.
#[derive(Debug)]
pub(crate) struct Configuration {
    pub(crate) client: Settings,
    pub(crate) allow_delete: bool,
    pub(crate) verify_signatures: bool,
    pub(crate) random: Option<Vault>,
}

impl Configuration {
    /// Reads all settings. `keys`: all keys of the section, as far as they can be known.
    ///
    /// # Errors
    /// A value that can't be used, or a key that is none of ours: the error names it.
    pub(crate) fn read(section: &Section, keys: &[String]) -> Result<Self, Error> {
        check_keys(keys)?;
        let find = |setting| section.find(setting).map_err(Error::Settings);
        let flag = |setting, default| {
            let found = find(setting)?.map_or(Ok(default), managed_hsm::yes_or_no);
            found.map_err(Error::Settings)
        };
        Ok(Self {
            client: Settings::read(|setting| section.find(setting)).map_err(Error::Settings)?,
            allow_delete: flag(&ALLOW_DELETE, false)?,
            verify_signatures: flag(&VERIFY_SIGNATURES, true)?,
            random: find(&RANDOM)?.map(vault).transpose()?,
        })
    }
}

fn check_keys(keys: &[String]) -> Result<(), Error> {
    let settings = || all().filter_map(|setting| setting.key);
    let unknown = keys
        .iter()
        .find(|key| !settings().chain(OPENSSL_KEYS).any(|known| known == *key));
    match unknown {
        None => Ok(()),
        Some(key) => {
            let known: Vec<&str> = settings().collect();
            Err(setting_error(
                &format!("'{key}' in openssl.cnf"),
                &format!("there is no such setting; there are {}", known.join(", ")),
            ))
        }
    }
}

fn vault((name, origin): (String, Origin)) -> Result<Vault, Error> {
    name.trim().parse().map_err(|error: managed_hsm::UriError| {
        setting_error(&origin.to_string(), &error.to_string())
    })
}

fn setting_error(origin: &str, problem: &str) -> Error {
    Error::Settings(managed_hsm::Error::Settings {
        origin: origin.to_owned(),
        problem: problem.to_owned(),
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
        assert!(configuration.allow_delete && section.offers_random());
        assert_eq!(
            configuration.random.unwrap().to_string(),
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
        let keys = ["module", "activate", "max-connexions"].map(str::to_owned);
        let error = Configuration::read(&Section::default(), &keys).unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("'max-connexions'") && text.contains("max-connections"),
            "{text}"
        );
    }

    #[test]
    fn the_documentation_names_every_setting_and_its_default() {
        let page = include_str!("../docs/configuration.md");
        for setting in all() {
            let key = setting.key.map_or("–".to_owned(), |key| format!("`{key}`"));
            let default = match setting.default {
                "" => "none".to_owned(),
                default => format!("`{default}`"),
            };
            let row = format!(
                "| {key} | `{}` | {default} | {} |",
                setting.variable, setting.help
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
            all().count(),
            "docs/configuration.md has a row too many"
        );
    }
}
