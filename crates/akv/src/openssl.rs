//! The `openssl` program, which says what the library of this machine is and where it looks.

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use managed_hsm::environment;

/// Runs `openssl` to its end.
pub(crate) fn run(arguments: &[&str]) -> std::io::Result<Output> {
    if !environment::is_trusted() {
        return Err(std::io::Error::other(
            "a program with raised rights starts no other",
        ));
    }
    Command::new("openssl")
        .args(arguments)
        .stdin(Stdio::null())
        .output()
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
    let output = run(&["version", option]).ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let quoted = text.split('"').nth(1)?;
    Some(PathBuf::from(quoted))
}
