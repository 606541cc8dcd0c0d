//! Settings as the provider has them: from the environment, else from the provider's section of
//! `openssl.cnf`.

use std::path::{Path, PathBuf};

use log::LevelFilter;
use managed_hsm::{
    ConfigurationFile, Error, FrontEnd, LogSettings, ProviderSettings, Service, Settings, Spelling,
    Vault, environment,
};

use crate::openssl;
use crate::openssl_cnf::{self, Sections};

/// The name of the provider and of its module.
pub(crate) const PROVIDER: &str = "akv_provider";

/// What the client is told of this command.
const FRONT_END: FrontEnd = FrontEnd::new(
    concat!("akv/", env!("CARGO_PKG_VERSION")),
    ProviderSettings::FILE,
    Spelling::Hyphens,
);

/// The configuration of OpenSSL on this machine, as far as it is about the provider.
#[derive(Debug, Default)]
pub(crate) struct Configuration {
    /// The file; none: OPENSSL_CONF is empty, or there is neither it, nor an `openssl` that says
    /// where its file is, nor a file in one of the usual places.
    pub(crate) file: Option<PathBuf>,
    /// Why it could not be read.
    pub(crate) problem: Option<String>,
    /// Whether there is such a file.
    pub(crate) is_there: bool,
    /// The provider's section; none: the file does not speak of the provider.
    pub(crate) section: Option<Vec<(String, String)>>,
}

impl ConfigurationFile for Configuration {
    fn name(&self) -> &str {
        ProviderSettings::FILE
    }

    fn value(&self, key: &str) -> Option<&str> {
        let section = self.section.as_ref()?;
        let found = section.iter().find(|(known, _)| known == key);
        found.map(|(_, value)| value.as_str())
    }
}

impl Configuration {
    /// Reads the file that OpenSSL reads.
    pub(crate) fn load() -> Self {
        match Self::default_file() {
            Ok(file) => file.map_or_else(Self::default, Self::read),
            Err(problem) => Self {
                problem: Some(problem),
                is_there: true,
                ..Self::default()
            },
        }
    }

    /// The file that OpenSSL reads. None: it reads none.
    ///
    /// # Errors
    /// Nothing tells which it is.
    pub(crate) fn default_file() -> Result<Option<PathBuf>, String> {
        match environment::variable("OPENSSL_CONF") {
            // Set to nothing it means none to OpenSSL.
            Some(file) => Ok(Some(PathBuf::from(file)).filter(|file| !file.as_os_str().is_empty())),
            None => openssl::configuration_file(),
        }
    }

    /// Reads a file.
    pub(crate) fn read(path: PathBuf) -> Self {
        // OpenSSL goes on without a file that isn't there.
        let is_there = path.exists();
        match Sections::read(&path) {
            Ok(sections) => Self {
                is_there,
                ..Self::of(path, &sections)
            },
            Err(problem) => Self {
                problem: Some(problem),
                is_there,
                section: None,
                file: Some(path),
            },
        }
    }

    /// What the sections of a file that is there say of the provider.
    pub(crate) fn of(path: PathBuf, sections: &Sections) -> Self {
        let section = provider_section(sections);
        let section = section.map_err(|problem| format!("{}: {problem}", path.display()));
        let (section, problem) = match section {
            Ok(section) => (section, None),
            Err(problem) => (None, Some(problem)),
        };
        Self {
            section,
            problem,
            is_there: true,
            file: Some(path),
        }
    }

    /// The client's settings.
    ///
    /// # Errors
    /// [`Error::Settings`] names the variable or the key whose value can't be used, or the file.
    pub(crate) fn settings(&self) -> Result<Settings, Error> {
        self.check()?;
        Ok(Settings {
            front_end: FRONT_END,
            ..Settings::read(|setting| self.find(setting))?
        })
    }

    /// Whether the file can be used. The provider would have other settings than akv if it
    /// couldn't, and ask another HSM.
    fn check(&self) -> Result<(), Error> {
        match &self.problem {
            Some(problem) if self.is_there => Err(Error::Settings {
                origin: "OPENSSL_CONF (or openssl.cnf)".to_owned(),
                problem: problem.clone(),
            }),
            _ => ProviderSettings::check_keys(self.keys()),
        }
    }

    /// Where requests to a vault go if that isn't its own address, and which setting leads them
    /// there: one of another day, perhaps. None: they go to its own.
    pub(crate) fn leads_elsewhere(&self, settings: &Settings, vault: &Vault) -> Option<String> {
        let url = settings.endpoint_of(vault)?;
        let own = Settings {
            endpoint: None,
            key_vault_endpoint: None,
            endpoints: Vec::new(),
            cloud: Some(settings.cloud_of(vault)),
            ..settings.clone()
        };
        let own = own.address(vault).ok()?.origin();
        if url.origin() == own {
            return None;
        }
        let is_named = settings.endpoints.iter().any(|(of, _)| of.is_same(vault));
        let variable = match (is_named, vault.service) {
            (true, _) => "AKV_ENDPOINTS",
            (false, Service::ManagedHsm) => "AZURE_MANAGEDHSM_URL",
            (false, Service::KeyVault) => "AZURE_KEYVAULT_URL",
        };
        let setting = ProviderSettings::all().find(|setting| setting.variable == variable)?;
        let (_, origin) = self.find(setting).ok()??;
        Some(format!(
            "{origin} leads requests to {}, and not to {}",
            url.origin().ascii_serialization(),
            own.ascii_serialization()
        ))
    }

    /// Starts the log as the provider would, or with another level.
    ///
    /// # Errors
    /// As [`settings`](Self::settings); and the log's file can't be written.
    pub(crate) fn start_log(&self, level: Option<LevelFilter>) -> Result<(), Error> {
        let mut settings = LogSettings::read(|setting| self.find(setting))?;
        settings.level = level.or(settings.level);
        managed_hsm::logging::start(settings, &[env!("CARGO_CRATE_NAME")], |write| write())
    }

    /// Whether the provider's own settings are good.
    ///
    /// # Errors
    /// As [`settings`](Self::settings).
    pub(crate) fn check_provider(&self) -> Result<(), Error> {
        ProviderSettings::read(|setting| self.find(setting))?;
        LogSettings::read(|setting| self.find(setting))?;
        Ok(())
    }

    /// The keys of the provider's section.
    fn keys(&self) -> impl Iterator<Item = &str> {
        self.section.iter().flatten().map(|(key, _)| key.as_str())
    }
}

/// The section of the provider: `openssl_conf` names a section, whose `providers` names another,
/// which names those of providers. Whatever it is called there, the provider is known by its name,
/// by its `identity` or by its module.
fn provider_section(sections: &Sections) -> Result<Option<Vec<(String, String)>>, String> {
    let Some(top) = sections.value(openssl_cnf::DEFAULT, "openssl_conf") else {
        return Ok(None);
    };
    let lists = sections.section(top).unwrap_or_default().iter();
    // libcrypto takes `providers.1` for another list of providers.
    let is_list = |name: &str| name.rsplit_once('.').map_or(name, |(name, _)| name) == "providers";
    let lists = lists.filter(|(name, _)| is_list(name));
    let mut found = Vec::new();
    for (_, list) in lists {
        for (name, own) in sections.section(list).unwrap_or_default() {
            let Some(section) = sections.section(own) else {
                return Err(format!("the provider '{name}' has no section '{own}'"));
            };
            if is_provider(without_label(name), section) {
                found.push(own.as_str());
            }
        }
    }
    match found.as_slice() {
        [] => Ok(None),
        [own] => provider_values(sections, own).map(Some),
        [first, second, ..] => Err(format!(
            "both the sections '{first}' and '{second}' are of {PROVIDER}, and akv can't tell which counts"
        )),
    }
}

/// What stands behind a first dot: libcrypto passes over what is before it, so that names can be
/// used twice.
pub(crate) fn without_label(name: &str) -> &str {
    name.split_once('.').map_or(name, |(_, name)| name)
}

fn is_provider(name: &str, section: &[(String, String)]) -> bool {
    let last = |wanted: &str| {
        let found = section
            .iter()
            .rev()
            .find(|(name, _)| without_label(name) == wanted);
        found.map(|(_, value)| value.as_str())
    };
    let module_name = |path: &Path| path.file_stem().is_some_and(|stem| stem == PROVIDER);
    let is_module = |path: &str| {
        let folder = openssl::modules().unwrap_or_default();
        let path = folder.join(path);
        // It may be a link with another name.
        module_name(&path) || path.canonicalize().is_ok_and(|path| module_name(&path))
    };
    match last("module") {
        Some(path) if is_module(path) => true,
        _ => last("identity").unwrap_or(name) == PROVIDER,
    }
}

/// The names and values of the provider's section. One that is the name of a section means that
/// section's values to libcrypto.
fn provider_values(sections: &Sections, own: &str) -> Result<Vec<(String, String)>, String> {
    let values = sections.section(own).unwrap_or_default();
    match values
        .iter()
        .find(|(_, value)| sections.section(value).is_some())
    {
        None => Ok(values.to_vec()),
        Some((name, value)) => Err(format!(
            "'{name}' in section '{own}' has the value '{value}', which OpenSSL takes for the section of that name: rename the section"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn configuration(text: &str) -> Configuration {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("openssl.cnf");
        std::fs::write(
            &path,
            text.replace("FOLDER", &folder.path().display().to_string()),
        )
        .unwrap();
        let more = "max-connections = 7\n";
        std::fs::write(folder.path().join("more.cnf"), more).unwrap();
        Configuration::read(path)
    }

    const HEAD: &str = "openssl_conf = init # why\n[init]\nproviders = all\n[ all ]\nakv_provider=akv\ndefault = d\n[d]\nactivate=1\n[akv]\n";

    #[test]
    fn the_section_of_the_provider_is_found_and_read_as_openssl_does() {
        let found = configuration(&format!(
            "\u{feff}{HEAD}ca-file = \"/a b#c\"\r\nno-proxy = one,\\\ntwo\nmax-connections = 3\n.include FOLDER/more.cnf\n\
             name = x\ntenant-id = ${{name}}$(d::activate)\\n\nakv::client-id = 5\n"
        ));
        assert_eq!(found.problem, None);
        for (key, value) in [
            ("ca-file", "/a b#c"),
            ("no-proxy", "one,two"),
            ("max-connections", "7"),
            ("tenant-id", "x1\n"),
            ("client-id", "5"),
        ] {
            assert_eq!(found.value(key), Some(value), "{key}");
        }
        let error = found.settings().unwrap_err().to_string();
        assert!(error.contains("'name'"), "{error}");
    }

    #[test]
    fn the_provider_may_have_another_name() {
        for own in [
            "hsm = own\n[own]\nidentity = akv_provider\n",
            "hsm = own\n[own]\nmodule = /opt/akv_provider.so\n",
            "1.akv_provider = own\n[own]\n",
        ] {
            let text = format!("openssl_conf = i\n[i]\nproviders = p\n[p]\n{own}cloud = china\n");
            assert_eq!(configuration(&text).value("cloud"), Some("china"), "{own}");
        }
    }

    #[test]
    fn a_file_without_the_provider_has_no_section() {
        let without = configuration("[req]\nakv_provider = akv\n");
        assert!(without.section.is_none() && without.problem.is_none());
        let elsewhere = configuration(
            "[x]\nopenssl_conf = init\n[init]\nproviders = p\n[p]\nakv_provider = init\n",
        );
        assert!(elsewhere.section.is_none() && elsewhere.problem.is_none());
        assert_eq!(configuration(HEAD).section.as_deref(), Some(&[][..]));
    }

    #[test]
    fn what_openssl_refuses_or_reads_otherwise_is_an_error_that_names_the_place() {
        for (text, expected) in [
            (
                "akv = $nothing\n",
                "line 10: the variable 'nothing' has no value",
            ),
            ("akv = ${d\n", "no closing bracket"),
            ("[akv\n", "no ']'"),
            ("nonsense\n", "no '=' after 'nonsense'"),
            (".include FOLDER/openssl.cnf\n", "includes itself"),
            (".pragma abspath:on\n.include more.cnf\n", "is not absolute"),
            (".pragma x\n", "name:value"),
            ("cloud = d\n", "takes for the section"),
            (
                "[all]\nother = akv2\n[akv2]\nidentity = akv_provider\n",
                "both the sections",
            ),
            ("[all]\nother = missing\n", "has no section 'missing'"),
            ("a\0b = c\n", "UTF-16"),
        ] {
            let problem = configuration(&format!("{HEAD}{text}")).problem.unwrap();
            assert!(problem.contains(expected), "{text}: {problem}");
        }
    }

    #[test]
    fn a_misspelt_key_is_found() {
        let found = configuration(&format!("{HEAD}max-connexions = 3\n"));
        let error = found.settings().unwrap_err().to_string();
        assert!(error.contains("'max-connexions'"), "{error}");
    }
}
