//! What the benchmarks share: an emulator, and the provider in this process.
#![allow(dead_code, reason = "no benchmark needs all of it")]

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use openssl::pkey::{PKey, Private};
use openssl::provider::Provider;

/// The options of the command line, each a name and its value.
pub(crate) fn options() -> impl Iterator<Item = (String, String)> {
    // --bench is cargo's own.
    let mut arguments = std::env::args()
        .skip(1)
        .filter(|argument| argument != "--bench");
    std::iter::from_fn(move || {
        let name = arguments.next()?;
        let value = arguments.next();
        let value = value.unwrap_or_else(|| panic!("{name} needs a value"));
        Some((name, value))
    })
}

/// The profile's folder: this program is in its `deps`.
pub(crate) fn built(name: &str) -> PathBuf {
    let program = std::env::current_exe().expect("a program knows its path");
    let path = program
        .parent()
        .and_then(Path::parent)
        .expect("target/<profile>/deps")
        .join(name);
    assert!(
        path.exists(),
        "{} is missing: run cargo build --release --workspace first",
        path.display()
    );
    path
}

/// The module as it is shipped: scripts/release-build.sh says where it is, unless it is older than its sources.
fn module() -> PathBuf {
    let program = std::env::current_exe().expect("a program knows its path");
    let target = program.ancestors().nth(3).expect("target/<profile>/deps");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/release-build.sh");
    let mut command = Command::new(script);
    command.arg("--check").env("CARGO_TARGET_DIR", target);
    let output = command.output().expect("the script runs");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let path = String::from_utf8(output.stdout).expect("the path is text");
    path.trim_end().into()
}

/// A running emulator and what leads to it.
pub(crate) struct Emulator {
    process: Child,
    pub(crate) folder: tempfile::TempDir,
    variables: Vec<(String, String)>,
}

impl Emulator {
    /// With further options of `serve`, and of `env`.
    pub(crate) fn start(options: &[String], exports: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let data = folder.path().join("hsm");
        let log = File::create(folder.path().join("requests.log")).expect("a log");
        let mut command = Command::new(built("managed-hsm-emulator"));
        command
            .args(["serve", "--data-dir"])
            .arg(&data)
            .args(options);
        let process = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("the emulator starts");
        let output = Command::new(built("managed-hsm-emulator"))
            .args(["env", "--wait", "30", "--data-dir"])
            .arg(&data)
            .args(exports)
            .output()
            .expect("the emulator runs");
        let text = String::from_utf8(output.stdout).expect("text");
        let variables = text
            .lines()
            .filter_map(|line| line.strip_prefix("export ")?.split_once('='))
            .map(|(name, value)| (name.to_owned(), value.trim_matches('\'').to_owned()))
            .collect();
        Self {
            process,
            folder,
            variables,
        }
    }

    pub(crate) fn variable(&self, name: &str) -> &str {
        let found = self.variables.iter().find(|(known, _)| known == name);
        &found.unwrap_or_else(|| panic!("{name} is not set")).1
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Loads the provider into this process, with the emulator's environment.
pub(crate) fn load_providers(emulator: &Emulator) -> [Provider; 2] {
    for (name, value) in &emulator.variables {
        // SAFETY: no other thread of this process reads or writes the environment now.
        unsafe { std::env::set_var(name, value) };
    }
    let modules = emulator.folder.path().join("modules");
    std::fs::create_dir(&modules).expect("a folder");
    let link = modules.join("akv_provider.so");
    std::os::unix::fs::symlink(module(), link).expect("a link");
    Provider::set_default_search_path(None, modules.to_str().expect("text"))
        .expect("a search path");
    ["default", "akv_provider"].map(|name| Provider::load(None, name).expect("the provider loads"))
}

/// The key `k` of the emulator, by its key file.
pub(crate) fn load_key() -> PKey<Private> {
    let pem = Command::new(built("akv"))
        .args(["key", "pem", "managedhsm:MyHSM:k"])
        .output()
        .expect("akv runs");
    PKey::private_key_from_pem(&pem.stdout).expect("the key loads")
}

/// The value in the middle.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
