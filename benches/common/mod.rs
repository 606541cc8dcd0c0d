//! What the benchmarks share: an emulator, and the provider in this process.
#![allow(dead_code, reason = "no benchmark needs all of it")]

pub(crate) mod keys;

use std::process::Command;

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::session::Session;
use openssl::pkey::{PKey, Private};
use openssl::provider::Provider;
use testing::{Outcome, Program, built};

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

/// A running emulator and what leads to it.
pub(crate) struct Emulator {
    _process: Program,
    pub(crate) folder: tempfile::TempDir,
    variables: Vec<(String, String)>,
}

impl Emulator {
    /// With further options of `serve`, and of `env`.
    pub(crate) fn start(options: &[String], exports: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let data = folder.path().join("hsm");
        let options: Vec<&str> = options.iter().map(String::as_str).collect();
        let process = Program::start(&data, &folder.path().join("requests.log"), &options);
        let variables = process.exports(exports);
        Self {
            _process: process,
            folder,
            variables,
        }
    }

    pub(crate) fn variable(&self, name: &str) -> &str {
        let found = self.variables.iter().find(|(known, _)| known == name);
        &found.unwrap_or_else(|| panic!("{name} is not set")).1
    }
}

/// Gives this process what leads to the emulator.
fn set_environment(emulator: &Emulator) {
    for (name, value) in &emulator.variables {
        // SAFETY: no other thread of this process reads or writes the environment now.
        unsafe { std::env::set_var(name, value) };
    }
}

/// Loads the PKCS#11 module into this process, with the emulator's environment.
pub(crate) fn load_module(emulator: &Emulator) -> Pkcs11 {
    set_environment(emulator);
    let module = built::pkcs11_module();
    let module = Pkcs11::new(module).expect("the module is loaded");
    let args = CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK);
    module.initialize(args).expect("the module starts");
    module
}

/// A session in the one slot.
pub(crate) fn session(module: &Pkcs11) -> Session {
    let slots = module.get_slots_with_token().expect("a slot");
    module.open_ro_session(slots[0]).expect("a session")
}

/// Loads the provider into this process, with the emulator's environment.
pub(crate) fn load_providers(emulator: &Emulator) -> [Provider; 2] {
    set_environment(emulator);
    let modules = emulator.folder.path().join("modules");
    std::fs::create_dir(&modules).expect("a folder");
    let link = modules.join("akv_provider.so");
    std::os::unix::fs::symlink(built::module(), link).expect("a link");
    Provider::set_default_search_path(None, modules.to_str().expect("text"))
        .expect("a search path");
    ["default", "akv_provider"].map(|name| Provider::load(None, name).expect("the provider loads"))
}

/// The key `k` of the emulator, by its key file.
pub(crate) fn load_key() -> PKey<Private> {
    let mut command = Command::new(built::program("akv"));
    command.args(["key", "pem", "managedhsm:MyHSM:k"]);
    let pem = Outcome::of(command).succeeds();
    PKey::private_key_from_pem(pem.as_bytes()).expect("the key loads")
}

/// The value in the middle.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
