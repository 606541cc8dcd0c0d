//! What the OpenSSL provider is told beside the client's settings. It is here since `akv` writes
//! and checks the provider's configuration, too.

use std::path::PathBuf;

use log::LevelFilter;

use crate::error::Error;
use crate::files;
use crate::settings::client::Settings;
use crate::settings::origin::Origin;
use crate::settings::setting::{Find, Setting};
use crate::uri::{UriError, Vault};

static LOG_LEVEL: Setting = Setting {
    key: Some("log-level"),
    variable: "AKV_LOG_LEVEL",
    default: "off",
    range: None,
    help: "off, error (or 0), warn (1), info (2), debug (3) or trace; info has a line for each request to the HSM",
};
static LOG_FILE: Setting = Setting {
    key: Some("log-file"),
    variable: "AKV_LOG_FILE",
    default: "stderr",
    range: None,
    help: "file that the log is appended to, made for its owner only; /dev/stderr, /dev/stdout and FIFOs, too; without a level it means info",
};
static LOG_FORMAT: Setting = Setting {
    key: Some("log-format"),
    variable: "AKV_LOG_FORMAT",
    default: "text",
    range: None,
    help: "text, or json for one JSON object a line",
};
static ALLOW_DELETE: Setting = Setting {
    key: Some("allow-delete"),
    variable: "AKV_ALLOW_DELETE",
    default: "no",
    range: None,
    help: "yes lets OSSL_STORE_delete delete keys (they can be recovered until the HSM purges them)",
};
static VERIFY_SIGNATURES: Setting = Setting {
    key: Some("verify-signatures"),
    variable: "AKV_VERIFY_SIGNATURES",
    default: "yes",
    range: None,
    help: "no hands out what the HSM answers without a check by the public key: saves tens of microseconds of CPU time a signature. The first signature with a key from a key file is checked all the same",
};
static RANDOM: Setting = Setting {
    key: Some("random"),
    variable: "AKV_RANDOM",
    default: "",
    range: None,
    help: "name of the HSM whose random bytes the generator AKV-RANDOM gives; without it there is no such generator",
};
static ASSUME_FIPS: Setting = Setting {
    key: Some("assume-fips"),
    variable: "AKV_ASSUME_FIPS",
    default: "no",
    range: None,
    help: "yes gives the algorithms the property fips=yes, so that keys are found where default_properties ask for it",
};

static OWN: [&Setting; 7] = [
    &LOG_LEVEL,
    &LOG_FILE,
    &LOG_FORMAT,
    &ALLOW_DELETE,
    &VERIFY_SIGNATURES,
    &RANDOM,
    &ASSUME_FIPS,
];

/// Keys of a provider's section that OpenSSL itself reads (config(5)).
const OPENSSL_KEYS: [&str; 4] = ["identity", "soft_load", "module", "activate"];

/// The provider's own settings.
#[derive(Debug)]
pub struct ProviderSettings {
    /// Whether keys may be deleted through OpenSSL.
    pub allow_delete: bool,
    /// Whether a signature is checked by the public key before it is handed out.
    pub verify_signatures: bool,
    /// The HSM whose random bytes are offered as a generator.
    pub random: Option<Vault>,
    /// Whether the algorithms are offered as `fips=yes`.
    pub assume_fips: bool,
}

/// Where the provider's log goes. It starts even if another setting is of no use.
#[derive(Clone, Debug, Default)]
pub struct LogSettings {
    /// How much is logged. None: nothing, or `info` if there is a file.
    pub level: Option<LevelFilter>,
    /// The file that is appended to, and who named it. None: stderr.
    pub file: Option<(PathBuf, Origin)>,
    /// How a line looks.
    pub format: LogFormat,
}

/// How a line of the log looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// A JSON object: `time`, `level`, `pid`, `target`, `message`, and what else is known.
    Json,
}

impl ProviderSettings {
    /// The file with the provider's section.
    pub const FILE: &str = "openssl.cnf";

    /// All settings that the provider takes, those of the client first.
    pub fn all() -> impl Iterator<Item = &'static Setting> {
        Settings::all().chain(OWN)
    }

    /// Whether a key may stand in the provider's section of `openssl.cnf`.
    fn has_key(key: &str) -> bool {
        OPENSSL_KEYS.contains(&key) || Self::all().any(|setting| setting.key == Some(key))
    }

    /// Refuses what is no setting among the keys of the provider's section: it may be a misspelt
    /// one.
    ///
    /// # Errors
    /// [`Error::Settings`] names the key, and all that there are.
    pub fn check_keys<'a>(keys: impl IntoIterator<Item = &'a str>) -> Result<(), Error> {
        let Some(key) = keys.into_iter().find(|key| !Self::has_key(key)) else {
            return Ok(());
        };
        let known: Vec<&str> = Self::all().filter_map(|setting| setting.key).collect();
        Err(Error::Settings {
            origin: format!("'{key}' in {}", Self::FILE),
            problem: format!("there is no such setting; there are {}", known.join(", ")),
        })
    }

    /// Whether `find` has an HSM to be named for random bytes, be the name good or not.
    pub fn offers_random(
        find: impl Fn(&'static Setting) -> Result<Option<(String, Origin)>, Error>,
    ) -> bool {
        matches!(find(&RANDOM), Ok(Some(_)))
    }

    /// Whether `find` has the algorithms offered as `fips=yes`. A value that can't be used doesn't.
    pub fn assumes_fips(
        find: impl Fn(&'static Setting) -> Result<Option<(String, Origin)>, Error>,
    ) -> bool {
        ASSUME_FIPS.is_on(&find).unwrap_or(false)
    }

    /// The settings by what `find` says of each.
    ///
    /// # Errors
    /// [`Error::Settings`] names the origin of a value that can't be used; and what `find` returns.
    pub fn read(
        find: impl Fn(&'static Setting) -> Result<Option<(String, Origin)>, Error>,
    ) -> Result<Self, Error> {
        let find: Find<'_> = &find;
        Ok(Self {
            allow_delete: ALLOW_DELETE.is_on(find)?,
            verify_signatures: VERIFY_SIGNATURES.is_on(find)?,
            random: find(&RANDOM)?.map(vault).transpose()?,
            assume_fips: ASSUME_FIPS.is_on(find)?,
        })
    }
}

impl LogSettings {
    /// The settings by what `find` says of each.
    ///
    /// # Errors
    /// [`Error::Settings`] names the origin of a level that is none; and what `find` returns.
    pub fn read(
        find: impl Fn(&'static Setting) -> Result<Option<(String, Origin)>, Error>,
    ) -> Result<Self, Error> {
        Ok(Self {
            level: find(&LOG_LEVEL)?.map(level).transpose()?,
            file: find(&LOG_FILE)?
                .map(|(path, origin)| (files::from_everywhere(path.into()), origin)),
            format: find(&LOG_FORMAT)?.map_or_else(|| Ok(LogFormat::default()), format)?,
        })
    }
}

fn level((text, origin): (String, Origin)) -> Result<LevelFilter, Error> {
    let level = match text.trim() {
        "0" => Some(LevelFilter::Error),
        "1" => Some(LevelFilter::Warn),
        "2" => Some(LevelFilter::Info),
        "3" => Some(LevelFilter::Debug),
        name => name.parse().ok(),
    };
    level.ok_or_else(|| {
        let text = text.escape_debug();
        let problem = format!("'{text}' is not 0 to 3, off, error, warn, info, debug or trace");
        Error::setting(&origin, &problem)
    })
}

fn format((text, origin): (String, Origin)) -> Result<LogFormat, Error> {
    match text.trim().to_ascii_lowercase().as_str() {
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        other => Err(Error::setting(
            &origin,
            &format!("'{}' is neither text nor json", other.escape_debug()),
        )),
    }
}

fn vault((name, origin): (String, Origin)) -> Result<Vault, Error> {
    let vault = name.trim().parse();
    vault.map_err(|error: UriError| Error::setting(&origin, &error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_numbers_or_names() {
        let level = |text: &str| {
            let found = (text.to_owned(), Origin::Variable("AKV_LOG_LEVEL"));
            level(found).map_err(|error| error.to_string())
        };
        assert_eq!(level("3"), Ok(LevelFilter::Debug));
        assert_eq!(level(" Trace"), Ok(LevelFilter::Trace));
        for bad in ["4", "loud"] {
            let error = level(bad).unwrap_err();
            assert!(
                error.contains(bad) && error.contains("AKV_LOG_LEVEL"),
                "{error}"
            );
        }
    }

    #[test]
    fn keys_are_those_of_settings_and_of_openssl() {
        for known in ["module", "endpoint", "verify-signatures", "log-file"] {
            assert!(ProviderSettings::has_key(known), "{known}");
        }
        assert!(!ProviderSettings::has_key("max-connexions"));
    }
}
