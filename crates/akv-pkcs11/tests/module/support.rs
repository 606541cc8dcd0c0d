//! What every test needs: an emulator, and a process that has the module loaded.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::thread;

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error, RvError};
use cryptoki::object::{Attribute, ObjectHandle};
use cryptoki::session::Session;
use cryptoki::slot::Slot;
use openssl::bn::BigNumRef;
use openssl::pkey::Private;
use openssl::rsa::Rsa;
use tempfile::TempDir;
use testing::emulator::{Handle, Options, Request, start};
use testing::{Rest, Variables, built};

/// Set in the process that makes a test's calls: the module that it loads.
const IN_CHILD: &str = "AKV_PKCS11_TEST_CHILD";

/// prime256v1 as CKA_EC_PARAMS.
pub(crate) const P256: &[u8] = &[6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7];

/// The module's file.
pub(crate) fn module() -> &'static Path {
    static MODULE: OnceLock<PathBuf> = OnceLock::new();
    MODULE.get_or_init(|| match std::env::var_os(IN_CHILD) {
        Some(path) => path.into(),
        None => built::pkcs11_module().to_owned(),
    })
}

/// An emulator with keys, a folder for files, and the environment of who uses it.
pub(crate) struct Hsm {
    pub(crate) emulator: Handle,
    pub(crate) rest: Rest,
    pub(crate) folder: TempDir,
    variables: Variables,
}

impl Hsm {
    pub(crate) fn start() -> Self {
        Self::start_with(Options::default())
    }

    pub(crate) fn start_with(options: Options) -> Self {
        let emulator = start(options).expect("the emulator starts");
        Self {
            rest: Rest::of(&emulator),
            variables: Variables::of(&emulator),
            emulator,
            folder: TempDir::new().expect("a temporary folder"),
        }
    }

    /// Sets a variable.
    pub(crate) fn set(&mut self, name: &str, value: impl Into<OsString>) {
        self.variables.set(name, value);
    }

    /// Leaves a variable out.
    pub(crate) fn unset(&mut self, name: &str) {
        self.variables.unset(name);
    }

    /// Lets a busy machine take its time: how long something takes is not what is tested.
    pub(crate) fn wait_long(&mut self) {
        for name in ["OPERATION", "CONNECT", "RESPONSE"] {
            self.set(&format!("AKV_{name}_TIMEOUT"), "240");
        }
    }

    /// Writes a configuration file, and has it read.
    pub(crate) fn configure(&mut self, text: &str) -> PathBuf {
        let path = self.file("mhsm-pkcs11.conf");
        std::fs::write(&path, text).expect("a file");
        self.set("MHSM_PKCS11_CONF", path.clone());
        path
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A program that finds the emulator, and nothing of the person's who runs the test.
    pub(crate) fn command(&self, program: impl AsRef<Path>) -> Command {
        let folder = self.folder.path();
        self.variables.command(program.as_ref(), folder)
    }

    /// Has the calls of this test made. Returns what standard error has.
    pub(crate) fn run(&self) -> String {
        let name = thread::current()
            .name()
            .expect("a test has a name")
            .to_owned();
        let own = std::env::current_exe().expect("a program knows its own path");
        let output = self
            .command(own)
            .args([&name, "--exact", "--nocapture", "--test-threads=1"])
            .env(IN_CHILD, module())
            .output()
            .expect("the test's own program runs");
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            output.status.success(),
            "{}\n{told}",
            String::from_utf8_lossy(&output.stdout)
        );
        told
    }

    /// Requests since the start, or since they were last asked for.
    pub(crate) fn requests(&self) -> Vec<Request> {
        self.emulator.requests.list()
    }

    /// Those of one kind.
    pub(crate) fn count(&self, operation: &str) -> usize {
        let requests = self.requests();
        requests
            .iter()
            .filter(|request| request.is(operation))
            .count()
    }
}

/// Whether this is the process that makes the calls.
pub(crate) fn makes_calls() -> bool {
    std::env::var_os(IN_CHILD).is_some()
}

/// The module, initialised.
pub(crate) fn initialized() -> Pkcs11 {
    let pkcs11 = Pkcs11::new(module()).expect("the module is loaded");
    let args = CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK);
    pkcs11.initialize(args).expect("the module starts");
    pkcs11
}

/// The first slot.
pub(crate) fn slot(pkcs11: &Pkcs11) -> Slot {
    pkcs11.get_slots_with_token().expect("slots")[0]
}

/// A session that may write.
pub(crate) fn session(pkcs11: &Pkcs11) -> Session {
    pkcs11.open_rw_session(slot(pkcs11)).expect("a session")
}

/// The only object that fits.
pub(crate) fn only(session: &Session, template: &[Attribute]) -> ObjectHandle {
    let found = session.find_objects(template).expect("a search");
    assert_eq!(found.len(), 1, "{template:?}");
    found[0]
}

/// The code of a call that fails.
pub(crate) fn code<T: std::fmt::Debug>(outcome: Result<T, Error>) -> RvError {
    match outcome {
        Err(Error::Pkcs11(code, _)) => code,
        other => panic!("{other:?}"),
    }
}

/// Has the HSM take in an AES key that the test knows.
pub(crate) fn import_aes(rest: &Rest, name: &str, value: &[u8]) {
    let jwk = serde_json::json!({"kty": "oct-HSM", "k": base64url(value)});
    import(rest, name, &jwk);
}

/// The same for an RSA key.
pub(crate) fn import_rsa(rest: &Rest, name: &str, key: &Rsa<Private>) {
    let number = |number: Option<&BigNumRef>| base64url(&number.expect("it is there").to_vec());
    let jwk = serde_json::json!({
        "kty": "RSA-HSM", "n": number(Some(key.n())), "e": number(Some(key.e())),
        "d": number(Some(key.d())), "p": number(key.p()), "q": number(key.q()),
        "dp": number(key.dmp1()), "dq": number(key.dmq1()), "qi": number(key.iqmp()),
    });
    import(rest, name, &jwk);
}

fn import(rest: &Rest, name: &str, jwk: &serde_json::Value) {
    let body = serde_json::json!({"key": jwk, "Hsm": true}).to_string();
    let made = rest.call("PUT", &format!("/keys/{name}"), &body);
    assert!(made["key"]["kid"].is_string(), "{made}");
}

pub(crate) fn base64url(bytes: &[u8]) -> String {
    base64::Engine::encode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, bytes)
}
