//! The lines that `akv config enable` adds to an `openssl.cnf`, between two marks: what they have
//! to be in a file, and where they are in it.

use std::fmt::Write as _;
use std::path::Path;

use crate::configuration::{PROVIDER, without_label};
use crate::env::quoted;
use crate::openssl_cnf::{DEFAULT, Sections};

/// The first and the last of the lines.
const BEGIN: &str =
    "# akv: begin. 'akv config enable' wrote these lines, 'akv config disable' takes them out.";
const END: &str = "# akv: end";
/// What both are known by.
const MARK: &[u8] = b"# akv: ";

/// The provider's section.
const SECTION: &str = "akv_provider_sect";
/// Sections that a file gets where it has none for that.
const INIT: &str = "akv_openssl_init";
const PROVIDERS: &str = "akv_providers";
const BASE: &str = "akv_default_sect";

/// What an `openssl.cnf` is made of.
pub(super) struct Parts {
    /// All but akv's lines.
    pub(super) others: Vec<u8>,
    /// akv's lines; none: it has none of them.
    pub(super) own: Option<Vec<u8>>,
}

impl Parts {
    /// Finds akv's lines in a file.
    ///
    /// # Errors
    /// A sentence, without the file's name: one of the marks is missing.
    pub(super) fn of(text: &[u8]) -> Result<Self, String> {
        let (mut others, mut own) = (Vec::new(), Vec::new());
        let (mut begins, mut ends) = (0, 0);
        for line in text.split_inclusive(|byte| *byte == b'\n') {
            let rest = line.strip_prefix(MARK);
            let is = |word: &[u8]| rest.is_some_and(|rest| rest.starts_with(word));
            begins += usize::from(is(b"begin"));
            let within = begins > ends;
            ends += usize::from(is(b"end"));
            match within {
                true => own.extend_from_slice(line),
                false => others.extend_from_slice(line),
            }
        }
        match (begins, ends) {
            (0, 0) => Ok(Self { others, own: None }),
            (1, 1) if own.starts_with(MARK) => Ok(Self {
                others,
                own: Some(own),
            }),
            _ => Err(format!(
                "the lines of akv in it have no beginning or no end, which are '{BEGIN}' and '{END}': take them out by hand"
            )),
        }
    }

    /// Lines between the marks that somebody else wrote: settings.
    pub(super) fn added(&self) -> Vec<String> {
        let own = self.own.as_deref().unwrap_or_default();
        let lines = String::from_utf8_lossy(own);
        let is_ours = |line: &&str| {
            let name = line.split('=').next().unwrap_or(line).trim();
            let keys = [
                "activate",
                "module",
                ".include",
                "openssl_conf",
                "providers",
                "default",
                PROVIDER,
            ];
            line.is_empty() || line.starts_with(['#', '[']) || keys.contains(&name)
        };
        let added = lines.lines().map(str::trim).filter(|line| !is_ours(line));
        added.map(str::to_owned).collect()
    }
}

/// The lines that turn the provider on in a file that has these sections. The default provider
/// stays as it was: it is loaded by itself only where no other one is activated.
///
/// # Errors
/// A sentence, without the file's name: the name of a section can't be written in brackets.
pub(super) fn lines(
    sections: &Sections,
    module: Option<&Path>,
    settings: Option<&Path>,
) -> Result<String, String> {
    let mut text = format!("{BEGIN}\n");
    let mut add = |section: &str, line: &str| {
        let is_plain =
            |character: char| character.is_ascii_alphanumeric() || "_-.".contains(character);
        match !section.is_empty() && section.chars().all(is_plain) {
            true => drop(writeln!(text, "[{section}]\n{line}")),
            false => {
                return Err(format!(
                    "the section '{}' has a name that akv doesn't write: name the provider there by hand",
                    section.escape_debug()
                ));
            }
        }
        Ok(())
    };
    let init = match sections.value(DEFAULT, "openssl_conf") {
        Some(init) => init,
        None => {
            add(DEFAULT, &format!("openssl_conf = {INIT}"))?;
            INIT
        }
    };
    let providers = match sections.value(init, "providers") {
        Some(providers) => providers,
        None => {
            add(init, &format!("providers = {PROVIDERS}"))?;
            PROVIDERS
        }
    };
    let listed = sections.section(providers).unwrap_or_default();
    let is_any_activated = listed.iter().any(|(_, own)| is_activated(sections, own));
    let default = listed
        .iter()
        .find(|(name, _)| without_label(name) == "default");
    match default {
        _ if is_any_activated => {}
        Some((_, own)) => add(own, "activate = 1")?,
        None => {
            add(providers, &format!("default = {BASE}"))?;
            add(BASE, "activate = 1")?;
        }
    }
    add(providers, &format!("{PROVIDER} = {SECTION}"))?;
    let path = |path: &Path| quoted(&path.display().to_string());
    let module = module.map_or_else(String::new, |file| format!("module = {}\n", path(file)));
    add(SECTION, &format!("{module}activate = 1"))?;
    if let Some(file) = settings {
        let _ = writeln!(text, ".include = {}", path(file));
    }
    // What follows, in this file or in one that includes it, stays in its section.
    let _ = writeln!(text, "[{}]\n{END}", sections.last());
    Ok(text)
}

/// Whether a provider's section activates it. Until 3.1 any value does, also 0.
fn is_activated(sections: &Sections, own: &str) -> bool {
    sections.value(own, "activate").is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is added to a file, without the marks.
    fn added(text: &str) -> String {
        let sections = sections(text);
        let lines = lines(&sections, None, None).unwrap();
        let lines = lines.strip_prefix(BEGIN).unwrap().trim_start();
        lines.strip_suffix(&format!("{END}\n")).unwrap().to_owned()
    }

    fn sections(text: &str) -> Sections {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("openssl.cnf");
        std::fs::write(&file, text).unwrap();
        Sections::read(&file).unwrap()
    }

    const OWN: &str = "akv_provider = akv_provider_sect\n[akv_provider_sect]\nactivate = 1\n";

    #[test]
    fn the_provider_is_listed_where_the_file_lists_providers() {
        // As Debian has it: nothing is activated, so the default provider is loaded by itself.
        let debian =
            "openssl_conf = i\n[i]\nproviders = p\n[p]\ndefault = d\n[d]\n# activate = 1\n[req]\n";
        assert_eq!(
            added(debian),
            format!("[d]\nactivate = 1\n[p]\n{OWN}[req]\n")
        );
        let activated =
            "openssl_conf = i\n[i]\nproviders = p\n[p]\n1.default = d\n[d]\nactivate = 1\n";
        assert_eq!(added(activated), format!("[p]\n{OWN}[d]\n"));
        // Without the default provider, on purpose.
        let fips = "openssl_conf = i\n[i]\nproviders = p\n[p]\nfips = f\n[f]\nactivate = 1\n";
        assert_eq!(added(fips), format!("[p]\n{OWN}[f]\n"));
        let both = fips.replace("[p]\n", "[p]\ndefault = d\n") + "[d]\n";
        assert_eq!(added(&both), format!("[p]\n{OWN}[d]\n"));
    }

    #[test]
    fn a_file_without_providers_gets_a_list_of_them() {
        let base =
            "default = akv_default_sect\n[akv_default_sect]\nactivate = 1\n[akv_providers]\n";
        let list = format!("providers = akv_providers\n[akv_providers]\n{base}{OWN}");
        assert_eq!(
            added("a = b\n"),
            format!(
                "[default]\nopenssl_conf = akv_openssl_init\n[akv_openssl_init]\n{list}[default]\n"
            )
        );
        let ssl = "openssl_conf = i\n[i]\nssl_conf = s\n[s]\n";
        assert_eq!(added(ssl), format!("[i]\n{list}[s]\n"));
    }

    #[test]
    fn the_module_and_a_file_with_settings_are_named() {
        let sections =
            sections("openssl_conf = i\n[i]\nproviders = p\n[p]\ndefault=d\n[d]\nactivate=1\n");
        let text = lines(
            &sections,
            Some(Path::new("/m y/akv_provider.so")),
            Some(Path::new("/etc/akv/akv_provider.cnf")),
        );
        let own = "[akv_provider_sect]\nmodule = /m\\ y/akv_provider.so\nactivate = 1\n.include = /etc/akv/akv_provider.cnf\n";
        assert!(text.unwrap().contains(own));
        let named = sections_named("a]b");
        assert!(lines(&named, None, None).unwrap_err().contains("a]b"));
    }

    /// A file whose list of providers has a name.
    fn sections_named(name: &str) -> Sections {
        sections(&format!("openssl_conf = i\n[i]\nproviders = {name}\n"))
    }

    #[test]
    fn what_is_between_the_marks_is_told_apart() {
        let text = format!("one\r\n{BEGIN}\n[p]\nactivate = 1\n cloud = china\n{END}\ntwo");
        let parts = Parts::of(text.as_bytes()).unwrap();
        assert_eq!(parts.others, b"one\r\ntwo");
        assert_eq!(parts.added(), ["cloud = china"]);
        assert!(Parts::of(b"one\n").unwrap().own.is_none());
        for broken in [
            format!("{BEGIN}\n"),
            format!("{END}\n"),
            format!("{END}\n{BEGIN}\n"),
            format!("{BEGIN}\n{BEGIN}\n{END}\n"),
        ] {
            assert!(Parts::of(broken.as_bytes()).is_err(), "{broken}");
        }
    }
}
