//! Settings as the provider has them: from the environment, else from the provider's section of `openssl.cnf`.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use managed_hsm::{Error, LogSettings, Origin, ProviderSettings, Setting, Settings};

use crate::openssl;

/// The name of the provider and of its module.
pub(crate) const PROVIDER: &str = "akv_provider";

/// How deep `.include` may go.
const MAX_DEPTH: usize = 8;

/// The configuration of OpenSSL on this machine, as far as it is about the provider.
#[derive(Debug, Default)]
pub(crate) struct Configuration {
    /// The file; none: there is neither OPENSSL_CONF nor an `openssl` that says where its file is.
    pub(crate) file: Option<PathBuf>,
    /// Why it could not be read.
    pub(crate) problem: Option<String>,
    /// The provider's section; none: the file does not speak of the provider.
    pub(crate) section: Option<Vec<(String, String)>>,
}

impl Configuration {
    /// Reads the file that OpenSSL reads.
    pub(crate) fn load() -> Self {
        let file = match std::env::var_os("OPENSSL_CONF") {
            Some(file) if !file.is_empty() => Some(PathBuf::from(file)),
            _ => openssl::directory().map(|folder| folder.join("openssl.cnf")),
        };
        let Some(path) = file else {
            return Self::default();
        };
        let sections = read(&path, 0);
        Self {
            section: sections.as_ref().ok().and_then(provider_section),
            problem: sections.err(),
            file: Some(path),
        }
    }

    /// The client's settings.
    ///
    /// # Errors
    /// [`Error::Settings`] names the variable or the key whose value can't be used.
    pub(crate) fn settings(&self) -> Result<Settings, Error> {
        Settings::read(|setting| self.find(setting))
    }

    /// Starts the log as the provider would.
    ///
    /// # Errors
    /// As [`settings`](Self::settings); and the log's file can't be written.
    pub(crate) fn start_log(&self) -> Result<(), Error> {
        let settings = LogSettings::read(|setting| self.find(setting))?;
        managed_hsm::logging::start(settings, env!("CARGO_CRATE_NAME"))
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

    /// What is set: in the environment, else in the file.
    fn find(&self, setting: &'static Setting) -> Result<Option<(String, Origin)>, Error> {
        if let Some(found) = setting.from_env()? {
            return Ok(Some(found));
        }
        let Some(key) = setting.key else {
            return Ok(None);
        };
        let Some(value) = self.value(key).filter(|value| !value.trim().is_empty()) else {
            return Ok(None);
        };
        let origin = Origin::File(key);
        match value.contains('$') {
            true => Err(Error::setting(
                &origin,
                &format!(
                    "akv does not expand variables of openssl.cnf; set {} for it",
                    setting.variable
                ),
            )),
            false => Ok(Some((value.to_owned(), origin))),
        }
    }

    /// A value of the provider's section.
    pub(crate) fn value(&self, key: &str) -> Option<&str> {
        let section = self.section.as_ref()?;
        // As in OpenSSL, the last one counts.
        let found = section.iter().rev().find(|(known, _)| known == key);
        found.map(|(_, value)| value.as_str())
    }

    /// A key of the provider's section that is no setting.
    pub(crate) fn unknown_key(&self) -> Option<&str> {
        let keys = self.section.iter().flatten().map(|(key, _)| key.as_str());
        keys.into_iter().find(|key| !ProviderSettings::has_key(key))
    }
}

type Sections = HashMap<String, Vec<(String, String)>>;

/// The section of the provider: `openssl_conf` names a section, whose `providers` names another, which names it.
fn provider_section(sections: &Sections) -> Option<Vec<(String, String)>> {
    let value = |section: &str, key: &str| {
        let pairs = sections.get(section)?;
        let found = pairs.iter().rev().find(|(known, _)| known == key);
        found.map(|(_, value)| value.clone())
    };
    let top = value("default", "openssl_conf")?;
    let providers = value(&top, "providers")?;
    let own = value(&providers, PROVIDER)?;
    Some(sections.get(&own).cloned().unwrap_or_default())
}

/// Reads a file and those that it includes (config(5)).
fn read(path: &Path, depth: usize) -> Result<Sections, String> {
    if depth > MAX_DEPTH {
        return Err(format!("{} includes itself", path.display()));
    }
    let text = std::fs::read(path)
        .map_err(|error| format!("{} can't be read: {error}", path.display()))?;
    let text = String::from_utf8_lossy(&text);
    let mut sections = Sections::new();
    let mut section = "default".to_owned();
    for line in logical_lines(&text) {
        let line = line.trim();
        if let Some(name) = line.strip_prefix('[') {
            let name = name.split(']').next().unwrap_or_default().trim();
            section = name.to_owned();
            sections.entry(section.clone()).or_default();
        } else if let Some(included) = directive(line, ".include") {
            include(path, included, depth, &mut sections)?;
        } else if let Some((key, value)) = line.split_once('=')
            && !line.starts_with('.')
        {
            let pairs = sections.entry(section.clone()).or_default();
            pairs.push((key.trim().to_owned(), unquoted(value.trim())));
        }
    }
    Ok(sections)
}

/// What follows a directive: `.include file` or `.include = file`.
fn directive<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    let rest = line.strip_prefix(name)?;
    let rest = rest.trim_start();
    Some(rest.strip_prefix('=').unwrap_or(rest).trim())
}

/// A file, or all files of a folder that end in .cnf or .conf. One that is missing is passed over, as OpenSSL does.
fn include(from: &Path, what: &str, depth: usize, into: &mut Sections) -> Result<(), String> {
    let base = std::env::var_os("OPENSSL_CONF_INCLUDE").map(PathBuf::from);
    let base = base.or_else(|| from.parent().map(Path::to_owned));
    let path = base.unwrap_or_default().join(unquoted(what));
    let mut files = vec![path.clone()];
    if path.is_dir() {
        let entries = std::fs::read_dir(&path).map_err(|error| error.to_string())?;
        files = entries.flatten().map(|entry| entry.path()).collect();
        files.retain(|file| {
            file.extension()
                .is_some_and(|end| end == "cnf" || end == "conf")
        });
        files.sort();
    }
    for file in files.into_iter().filter(|file| file.exists()) {
        for (section, pairs) in read(&file, depth + 1)? {
            into.entry(section).or_default().extend(pairs);
        }
    }
    Ok(())
}

/// Lines without comments, those that end in a backslash joined with the next.
fn logical_lines(text: &str) -> Vec<String> {
    let mut lines = Vec::new();
    let mut open = String::new();
    for line in text.lines() {
        let line = without_comment(line);
        match line.strip_suffix('\\') {
            Some(part) => open.push_str(part),
            None => lines.push(std::mem::take(&mut open) + line),
        }
    }
    lines.push(open);
    lines
}

/// A line up to a '#' that is not quoted or escaped.
fn without_comment(line: &str) -> &str {
    let mut quote = None;
    let mut escaped = false;
    for (at, character) in line.char_indices() {
        match (character, quote) {
            _ if escaped => escaped = false,
            ('\\', _) => escaped = true,
            ('#', None) => return line[..at].trim_end(),
            ('"' | '\'', None) => quote = Some(character),
            (_, Some(open)) if open == character => quote = None,
            _ => {}
        }
    }
    line.trim_end()
}

/// A value without quotes and escapes.
fn unquoted(value: &str) -> String {
    let mut plain = String::new();
    let mut quote = None;
    let mut characters = value.chars();
    while let Some(character) = characters.next() {
        match (character, quote) {
            ('\\', _) => plain.extend(characters.next()),
            ('"' | '\'', None) => quote = Some(character),
            (_, Some(open)) if open == character => quote = None,
            _ => plain.push(character),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    fn configuration(text: &str) -> Configuration {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("openssl.cnf");
        std::fs::write(&path, text).unwrap();
        std::fs::write(
            folder.path().join("more.cnf"),
            "[akv]\nmax-connections = 7\n",
        )
        .unwrap();
        let sections = read(&path, 0).unwrap();
        Configuration {
            section: provider_section(&sections),
            problem: None,
            file: Some(path),
        }
    }

    const HEAD: &str = "openssl_conf = init # why\n[init]\nproviders = all\n[ all ]\nakv_provider=akv\ndefault = d\n[d]\nactivate=1\n";

    #[test]
    fn the_section_of_the_provider_is_found_and_read_as_openssl_does() {
        let found = configuration(&format!(
            "{HEAD}[akv]\nca-file = \"/a b#c\"\nno-proxy = one,\\\ntwo\nmax-connections = 3\n.include more.cnf\n"
        ));
        assert_eq!(found.value("ca-file"), Some("/a b#c"));
        assert_eq!(found.value("no-proxy"), Some("one,two"));
        assert_eq!(found.value("max-connections"), Some("7"));
        assert_eq!(found.unknown_key(), None);
    }

    #[test]
    fn a_file_without_the_provider_has_no_section() {
        assert!(
            configuration("[req]\nakv_provider = akv\n")
                .section
                .is_none()
        );
        let bare = configuration(HEAD);
        assert_eq!(bare.section.as_deref(), Some(&[][..]));
    }

    #[test]
    fn a_misspelt_key_is_found() {
        let found = configuration(&format!("{HEAD}[akv]\nmax-connexions = 3\n"));
        assert_eq!(found.unknown_key(), Some("max-connexions"));
    }

    #[test]
    fn a_file_that_includes_itself_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("openssl.cnf");
        std::fs::write(&path, ".include openssl.cnf\n").unwrap();
        assert!(read(&path, 0).unwrap_err().contains("includes itself"));
    }
}
