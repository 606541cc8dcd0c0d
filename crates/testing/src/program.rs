//! The emulator as a program, for what has to outlive this process's own state, or is run by
//! others.

use std::fs::{DirBuilder, File};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use openssl::pkey::PKey;
use openssl::rsa::Rsa;

use crate::built;

/// A running `managed-hsm-emulator serve`. It is killed when this is dropped.
#[derive(Debug)]
pub struct Program {
    process: Child,
    data: PathBuf,
}

impl Program {
    /// Starts one on the folder `data`, with further options of `serve`. Its log is added to the
    /// file `log`.
    #[must_use]
    pub fn start(data: &Path, log: &Path, options: &[&str]) -> Self {
        give_token_key(data);
        let log = File::options().create(true).append(true).open(log);
        let mut command = Self::command("serve", data, options);
        let process = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log.expect("a log file"))
            .spawn()
            .expect("the emulator starts");
        Self {
            process,
            data: data.to_owned(),
        }
    }

    /// A command of the program on a folder.
    #[must_use]
    pub fn command(name: &str, data: &Path, options: &[&str]) -> Command {
        let mut command = Command::new(built::program("managed-hsm-emulator"));
        command.arg(name).arg("--data-dir").arg(data).args(options);
        command
    }

    /// The variables that lead to it, once it accepts connections: what `env` exports, with further
    /// options of that command.
    #[must_use]
    pub fn exports(&self, options: &[&str]) -> Vec<(String, String)> {
        exports(&self.data, options)
    }

    /// Kills it.
    pub fn stop(&mut self) {
        // It may have ended by itself; there is nobody to tell.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Puts the key that signs tokens where a new emulator would make one. To make an RSA key takes a
/// tenth of a second of a core, and tests start hundreds of emulators.
fn give_token_key(data: &Path) {
    static KEY: OnceLock<Vec<u8>> = OnceLock::new();
    let file = data.join("token-key.pem");
    if file.exists() {
        return;
    }
    let make = || PKey::from_rsa(Rsa::generate(2048)?)?.private_key_to_pem_pkcs8();
    let key = KEY.get_or_init(|| make().expect("OpenSSL makes a key"));
    let private = DirBuilder::new().mode(0o700).create(data);
    assert!(private.is_ok() || data.is_dir(), "{}", data.display());
    let written = File::options()
        .create_new(true)
        .write(true)
        .mode(0o600)
        .open(file);
    written
        .and_then(|mut file| file.write_all(key))
        .expect("a token key");
}

/// The variables that lead to the emulator on a folder, once it accepts connections.
#[must_use]
pub fn exports(data: &Path, options: &[&str]) -> Vec<(String, String)> {
    let output = Program::command("env", data, &["--wait", "30"])
        .args(options)
        .output()
        .expect("the emulator runs");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let text = String::from_utf8(output.stdout).expect("exports are text");
    text.lines()
        .filter_map(|line| line.strip_prefix("export ")?.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.trim_matches('\'').to_owned()))
        .collect()
}
