//! The `openssl` program, which says what the library of this machine is and where it looks.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use managed_hsm::{ProviderSettings, environment};

use crate::openssl_cnf;

/// Runs `openssl` to its end, with its configuration.
pub(crate) fn run(arguments: &[&str]) -> io::Result<Output> {
    if let Some(file) = environment::variable("OPENSSL_CONF") {
        // libcrypto would wait for a FIFO, and read a device without end.
        openssl_cnf::check_kind(Path::new(&file)).map_err(io::Error::other)?;
    }
    run_by(&mut Command::new("openssl"), arguments)
}

/// Has `openssl` list the providers that a configuration of somebody's loads.
pub(crate) fn providers_by(configuration: &Path) -> io::Result<Output> {
    let mut command = Command::new("openssl");
    command.env("OPENSSL_CONF", configuration).arg("list");
    run_by(&mut command, &["-providers"])
}

/// Runs `openssl version`, which needs no configuration.
pub(crate) fn version(options: &[&str]) -> io::Result<Output> {
    let mut command = Command::new("openssl");
    command.env("OPENSSL_CONF", "").arg("version");
    run_by(&mut command, options)
}

fn run_by(command: &mut Command, arguments: &[&str]) -> io::Result<Output> {
    match environment::is_trusted() {
        true => command.args(arguments).stdin(Stdio::null()).output(),
        false => Err(io::Error::other(
            "a program with raised rights starts no other",
        )),
    }
}

/// Where builds of libcrypto have `openssl.cnf`: Debian, others, Fedora, and what is built from
/// OpenSSL's own sources.
const FOLDERS: [&str; 4] = ["/usr/lib/ssl", "/etc/ssl", "/etc/pki/tls", "/usr/local/ssl"];

/// Where libraries are, or in folders of these for a kind of machine.
const LIBRARY_FOLDERS: [&str; 6] = [
    "/usr/lib",
    "/usr/lib64",
    "/lib",
    "/lib64",
    "/usr/local/lib",
    "/usr/local/lib64",
];
const LIBRARIES: [&str; 2] = ["libcrypto.so.4", "libcrypto.so.3"];

/// `openssl.cnf` in OPENSSLDIR. Where there is no `openssl` that says which folder that is, as
/// beside a library alone, the library tells; else the file is looked for. None: there is none.
///
/// # Errors
/// There are several, of which libcrypto reads one.
pub(crate) fn configuration_file() -> Result<Option<PathBuf>, String> {
    if let Some(folder) = folder("-d") {
        return Ok(Some(folder.join(ProviderSettings::FILE)));
    }
    let told: Vec<PathBuf> = libraries()
        .iter()
        .filter_map(|path| told_by(path))
        .collect();
    match told.is_empty() {
        true => only_file_in(&FOLDERS.map(PathBuf::from)),
        false => only_file_in(&told),
    }
}

fn libraries() -> Vec<PathBuf> {
    let mut folders: Vec<PathBuf> = LIBRARY_FOLDERS.map(PathBuf::from).into();
    for folder in LIBRARY_FOLDERS {
        let within = std::fs::read_dir(folder).into_iter().flatten().flatten();
        let is_of_machine =
            |path: &PathBuf| path.to_string_lossy().contains("-linux-") && path.is_dir();
        folders.extend(within.map(|entry| entry.path()).filter(is_of_machine));
    }
    let files = folders
        .iter()
        .flat_map(|folder| LIBRARIES.map(|name| folder.join(name)));
    let mut found: Vec<PathBuf> = files.filter_map(|file| file.canonicalize().ok()).collect();
    found.sort();
    found.dedup();
    found
}

/// OPENSSLDIR as a library has it in its text for `openssl version -d`.
fn told_by(library: &Path) -> Option<PathBuf> {
    const BEFORE: &[u8] = b"OPENSSLDIR: \"";
    let bytes = std::fs::read(library).ok()?;
    let at = bytes
        .windows(BEFORE.len())
        .position(|bytes| bytes == BEFORE)?;
    let rest = &bytes[at + BEFORE.len()..];
    let end = rest.iter().position(|byte| *byte == b'"')?;
    let folder = std::str::from_utf8(&rest[..end]).ok()?;
    Some(PathBuf::from(folder)).filter(|folder| folder.is_absolute())
}

fn only_file_in(folders: &[PathBuf]) -> Result<Option<PathBuf>, String> {
    let files = folders
        .iter()
        .map(|folder| folder.join(ProviderSettings::FILE));
    let mut found: Vec<(PathBuf, PathBuf)> = Vec::new();
    for file in files {
        // One may be a link to another.
        if let Ok(real) = file.canonicalize()
            && found.iter().all(|(_, known)| *known != real)
        {
            found.push((file, real));
        }
    }
    match found.as_slice() {
        [(first, _), (second, _), ..] => Err(format!(
            "there is no openssl program to say whether libcrypto reads {} or {}: name the file by \
             OPENSSL_CONF",
            first.display(),
            second.display()
        )),
        _ => Ok(found.pop().map(|(file, _)| file)),
    }
}

/// The folder that modules are looked for in: OPENSSL_MODULES, else MODULESDIR.
pub(crate) fn modules() -> Option<PathBuf> {
    match environment::variable("OPENSSL_MODULES") {
        Some(folder) if !folder.is_empty() => Some(PathBuf::from(folder)),
        _ => folder("-m"),
    }
}

/// A provider's module in the folder that OPENSSL_MODULES names, which programs that don't have
/// that variable would not find.
pub(crate) fn module_outside_the_default_folder(provider: &str) -> Option<PathBuf> {
    let folder = environment::variable("OPENSSL_MODULES").filter(|folder| !folder.is_empty())?;
    let path = PathBuf::from(folder).join(module_name(provider));
    path.exists().then_some(path)
}

/// The file name of the provider's module on this system.
pub(crate) fn module_name(provider: &str) -> String {
    let extension = match () {
        () if cfg!(windows) => "dll",
        () if cfg!(target_os = "macos") => "dylib",
        () => "so",
    };
    format!("{provider}.{extension}")
}

/// What `openssl version` prints in quotes: `OPENSSLDIR: "/usr/lib/ssl"`.
fn folder(option: &str) -> Option<PathBuf> {
    let output = version(&[option]).ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let quoted = text.split('"').nth(1)?;
    Some(PathBuf::from(quoted))
}

/// What `openssl list -providers` prints: the name of each provider after two blanks, and its
/// fields, such as `status: active`, after four.
#[derive(Default)]
pub(crate) struct Providers(String);

impl Providers {
    pub(crate) fn read(output: &Output) -> Self {
        Self(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        let indented = self.0.lines().filter_map(|line| line.strip_prefix("  "));
        indented.filter(|rest| !rest.starts_with(' '))
    }

    pub(crate) fn is_active(&self, provider: &str) -> bool {
        self.field(provider, "status") == Some("active")
    }

    pub(crate) fn field(&self, provider: &str, name: &str) -> Option<&str> {
        let mut lines = self.0.lines();
        lines.find(|line| line.strip_prefix("  ") == Some(provider))?;
        let mut fields = lines.map_while(|line| line.strip_prefix("    "));
        fields.find_map(|field| field.strip_prefix(name)?.strip_prefix(": "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_library_tells_its_folder() {
        let place = tempfile::tempdir().unwrap();
        let library = place.path().join("libcrypto.so.3");
        for (content, expected) in [
            (
                &b"\x7fELF OPENSSLDIR: \"/etc/pki/tls\"\0more"[..],
                Some("/etc/pki/tls"),
            ),
            (b"OPENSSLDIR: N/A", None),
            (b"OPENSSLDIR: \"/etc", None),
        ] {
            std::fs::write(&library, content).unwrap();
            assert_eq!(told_by(&library).as_deref(), expected.map(Path::new));
        }
    }

    #[cfg(unix)]
    #[test]
    fn the_configuration_file_is_looked_for_where_no_program_tells() {
        let place = tempfile::tempdir().unwrap();
        let folders = ["lib", "etc", "pki", "local"].map(|name| place.path().join(name));
        assert_eq!(only_file_in(&folders), Ok(None));
        for folder in &folders[1..] {
            std::fs::create_dir(folder).unwrap();
        }
        let file = |at: usize| folders[at].join("openssl.cnf");
        std::fs::write(file(1), "").unwrap();
        assert_eq!(only_file_in(&folders), Ok(Some(file(1))));
        // Debian's is a link.
        std::os::unix::fs::symlink(&folders[1], &folders[0]).unwrap();
        assert_eq!(only_file_in(&folders), Ok(Some(file(0))));
        std::fs::write(file(3), "").unwrap();
        let problem = only_file_in(&folders).unwrap_err();
        assert!(
            problem.contains("OPENSSL_CONF") && problem.contains("local"),
            "{problem}"
        );
    }

    #[test]
    fn a_provider_is_found_in_the_list_with_its_own_fields() {
        let listed = Providers(
            "Providers:\n  akv_provider\n    name: Azure\n    version: 0.1.0\n    status: active\n  \
             default\n    name: OpenSSL\n    version: 3.0\n"
                .to_owned(),
        );
        assert_eq!(
            listed.names().collect::<Vec<_>>(),
            ["akv_provider", "default"]
        );
        assert!(listed.is_active("akv_provider") && !listed.is_active("default"));
        assert!(!listed.is_active("base"));
        assert_eq!(listed.field("akv_provider", "version"), Some("0.1.0"));
        assert_eq!(listed.field("default", "status"), None);
    }
}
