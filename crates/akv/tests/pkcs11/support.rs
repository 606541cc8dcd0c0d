//! What every test needs: an emulator, and `akv` under any of its names.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use testing::emulator::{Handle, Options, start};
use testing::{Outcome, Rest, Variables, built};

pub(crate) const CREATE: &str = "mhsm_p11_create_key";
pub(crate) const LIST: &str = "mhsm_p11_list_keys";
pub(crate) const VALIDATE: &str = "mhsm_p11_validate_config_file";

/// An emulator, a folder with links to `akv`, and the environment of who uses it.
pub(crate) struct Hsm {
    pub(crate) emulator: Handle,
    pub(crate) rest: Rest,
    folder: TempDir,
    variables: Variables,
}

impl Hsm {
    pub(crate) fn start() -> Self {
        Self::start_with(Options::default())
    }

    /// With further principals, in the emulator's own JSON.
    pub(crate) fn start_with_principals(principals: &str) -> Self {
        let folder = TempDir::new().expect("a temporary folder");
        let file = folder.path().join("principals.json");
        fs::write(&file, principals).expect("a file");
        Self::start_with(Options {
            principals: Some(file),
            ..Options::default()
        })
    }

    fn start_with(options: Options) -> Self {
        // Fails unless it is there and new; akv finds it beside itself.
        let _module = built::program("libakv_pkcs11.so");
        let emulator = start(options).expect("the emulator starts");
        let mut hsm = Self {
            rest: Rest::of(&emulator),
            variables: Variables::of(&emulator),
            emulator,
            folder: TempDir::new().expect("a temporary folder"),
        };
        for tool in [CREATE, LIST, VALIDATE] {
            let akv = env!("CARGO_BIN_EXE_akv");
            std::os::unix::fs::symlink(akv, hsm.file(tool)).expect("a link");
        }
        hsm.set("AZURE_AUTHORITY_HOST", hsm.emulator.url.clone());
        hsm
    }

    /// Sets a variable.
    pub(crate) fn set(&mut self, name: &str, value: impl Into<OsString>) {
        self.variables.set(name, value);
    }

    /// Leaves a variable out.
    pub(crate) fn unset(&mut self, name: &str) {
        self.variables.unset(name);
    }

    /// Asks as an application.
    pub(crate) fn log_in(&mut self, client: &str, secret: &str) {
        self.set("MHSM_CLIENT_ID", client);
        self.set("MHSM_CLIENT_SECRET", secret);
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file that only its owner can write. Returns its path.
    pub(crate) fn write(&self, name: &str, text: &str) -> String {
        let path = self.file(name);
        fs::write(&path, text).expect("a file");
        path.to_str().expect("text").to_owned()
    }

    /// Runs one of the tools.
    pub(crate) fn tool(&self, name: &str, arguments: &[&str]) -> Outcome {
        self.run(&self.file(name), arguments)
    }

    /// Runs `akv` with the words of a line as its arguments.
    pub(crate) fn akv(&self, line: &str) -> Outcome {
        let arguments: Vec<&str> = line.split_whitespace().collect();
        self.run(Path::new(env!("CARGO_BIN_EXE_akv")), &arguments)
    }

    /// Runs any program.
    pub(crate) fn run(&self, program: &Path, arguments: &[&str]) -> Outcome {
        let mut command = self.variables.command(program, self.folder.path());
        command.args(arguments);
        Outcome::of(command)
    }
}

/// Whether a program is there. If not, says loudly that the check is skipped.
pub(crate) fn is_there(program: &str) -> bool {
    let found = testing::is_there(program);
    if !found {
        skip(&format!("{program} is not installed"));
    }
    found
}

/// Says loudly that a check is skipped.
pub(crate) fn skip(reason: &str) {
    testing::skip(&format!("akv pkcs11: {reason}"));
}
