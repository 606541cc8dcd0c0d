//! What every test needs: an emulator, and `akv` under any of its names.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;
use testing::emulator::{Handle, Options, start};
use testing::{Rest, built};

/// A file that gets a line for each check that could not run.
const SKIPS: &str = "AKV_TEST_SKIPS";

/// Longer than any program takes that works.
const TIME_LIMIT_SECONDS: &str = "120";

pub(crate) const CREATE: &str = "mhsm_p11_create_key";
pub(crate) const LIST: &str = "mhsm_p11_list_keys";
pub(crate) const VALIDATE: &str = "mhsm_p11_validate_config_file";

/// An emulator, a folder with links to `akv`, and the environment of who uses it.
pub(crate) struct Hsm {
    pub(crate) emulator: Handle,
    pub(crate) rest: Rest,
    folder: TempDir,
    environment: Vec<(OsString, OsString)>,
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
            rest: Rest {
                url: emulator.url.clone(),
                ca: emulator.ca.clone(),
                token: emulator.token.clone(),
            },
            emulator,
            folder: TempDir::new().expect("a temporary folder"),
            environment: Vec::new(),
        };
        for tool in [CREATE, LIST, VALIDATE] {
            let akv = env!("CARGO_BIN_EXE_akv");
            std::os::unix::fs::symlink(akv, hsm.file(tool)).expect("a link");
        }
        hsm.set("AZURE_MANAGEDHSM_URL", hsm.emulator.url.clone());
        hsm.set("AKV_CA_FILE", hsm.emulator.ca.clone());
        hsm.set("AZURE_CLI_ACCESS_TOKEN", hsm.emulator.token.clone());
        hsm.set("AZURE_AUTHORITY_HOST", hsm.emulator.url.clone());
        hsm
    }

    /// Sets a variable.
    pub(crate) fn set(&mut self, name: &str, value: impl Into<OsString>) {
        self.unset(name);
        self.environment.push((name.into(), value.into()));
    }

    /// Leaves a variable out.
    pub(crate) fn unset(&mut self, name: &str) {
        self.environment.retain(|(known, _)| known != name);
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

    /// A program that finds the emulator, and nothing of the person's who runs the test.
    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new("timeout");
        command.arg(TIME_LIMIT_SECONDS).arg(program);
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy();
            let ours = ["AZURE_", "AKV_", "MHSM_", "IDENTITY_", "XDG_", "OPENSSL_"];
            if ours.iter().any(|prefix| text.starts_with(prefix)) {
                command.env_remove(name);
            }
        }
        command
            .envs(self.environment.iter().cloned())
            .stdin(std::process::Stdio::null())
            .current_dir(self.folder.path());
        command
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
        let mut command = self.command(program);
        Outcome(command.args(arguments).output().expect("it runs"))
    }
}

/// What a program did.
#[derive(Debug)]
pub(crate) struct Outcome(Output);

impl Outcome {
    /// Standard output of a program that ended well.
    #[track_caller]
    pub(crate) fn succeeds(&self) -> String {
        assert!(self.0.status.success(), "{}", self.text());
        String::from_utf8_lossy(&self.0.stdout).into_owned()
    }

    /// The same as JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.succeeds()).expect("it is JSON")
    }

    /// All that a program said that ended with status 1.
    #[track_caller]
    pub(crate) fn fails_with(&self, words: &[&str]) -> String {
        let text = self.text();
        assert_eq!(self.0.status.code(), Some(1), "{text}");
        for word in words {
            assert!(text.contains(word), "{word}: {text}");
        }
        text
    }

    pub(crate) fn is_success(&self) -> bool {
        self.0.status.success()
    }

    pub(crate) fn text(&self) -> String {
        let both = [&self.0.stdout[..], &self.0.stderr[..]].concat();
        String::from_utf8_lossy(&both).into_owned()
    }
}

/// Whether a program is there. If not, says loudly that the check is skipped.
pub(crate) fn is_there(program: &str) -> bool {
    let found = Command::new("which").arg(program).output();
    let found = found.is_ok_and(|output| output.status.success());
    if !found {
        skip(&format!("{program} is not installed"));
    }
    found
}

/// Says loudly that a check is skipped.
pub(crate) fn skip(reason: &str) {
    eprintln!("SKIPPED: {reason}");
    if let Some(file) = std::env::var_os(SKIPS) {
        let file = File::options().create(true).append(true).open(file);
        let mut file = file.expect("the file of skipped checks can be written");
        writeln!(file, "akv pkcs11: {reason}").expect("it can be written");
    }
}
