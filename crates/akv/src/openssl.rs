//! The `openssl` program, which says what the library of this machine is and where it looks.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use managed_hsm::environment;

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

/// The folder of `openssl.cnf`: OPENSSLDIR.
pub(crate) fn directory() -> Option<PathBuf> {
    folder("-d")
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
