//! An emulator with a key, and clients of it.

#![allow(
    clippy::disallowed_methods,
    reason = "files of an emulator's are copied, and no settings read"
)]

use std::ffi::OsString;
use std::fs::{File, Permissions};
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use managed_hsm::{
    AccessToken, Caller, CallerKind, Client, CredentialKind, Error, KeyId, KeyUri, Secret,
    Settings, SignatureAlgorithm, Vault,
};
use tempfile::TempDir;
use testing::Rest;
use testing::emulator::{Handle, OWNER_CLIENT, Options, Request, TENANT, start};

/// Longer than anything takes that works; what has not come by then does not come.
pub(crate) const LONG: Duration = Duration::from_secs(60);

/// The digest that is signed.
const DIGEST: [u8; 32] = [7; 32];

/// The files of an emulator with the EC key `k`, by their names. Its own keys take long to make, so
/// that all tests have the same.
static FILES: LazyLock<Vec<(OsString, Vec<u8>)>> = LazyLock::new(|| {
    let folder = private_folder();
    let emulator = start(Options {
        data_dir: Some(folder.path().to_owned()),
        ..Options::default()
    });
    let emulator = emulator.expect("the emulator starts");
    Rest::of(&emulator).create("k", r#"{"kty":"EC-HSM","crv":"P-256"}"#);
    drop(emulator);
    let files = std::fs::read_dir(&folder).expect("the folder is there");
    files
        .map(|file| {
            let file = file.expect("a file");
            let contents = std::fs::read(file.path()).expect("a file");
            (file.file_name(), contents)
        })
        .collect()
});

/// A folder for an emulator, which takes none that others can read.
fn private_folder() -> TempDir {
    let mut builder = tempfile::Builder::new();
    builder.permissions(Permissions::from_mode(0o700));
    builder.tempdir().expect("a folder")
}

/// Such a folder with [`FILES`].
fn folder_with_files() -> TempDir {
    let folder = private_folder();
    for (name, contents) in FILES.iter() {
        let mut options = File::options();
        let file = options.write(true).create_new(true).mode(0o600);
        let mut file = file.open(folder.path().join(name)).expect("a file");
        file.write_all(contents).expect("a file");
    }
    folder
}

/// An emulator with the EC key `k`. All of them are replicas of one HSM.
pub(crate) struct Hsm {
    pub(crate) emulator: Handle,
    pub(crate) rest: Rest,
    _folder: TempDir,
}

impl Hsm {
    pub(crate) fn start() -> Self {
        Self::start_with(Options::default())
    }

    pub(crate) fn start_with(options: Options) -> Self {
        let folder = folder_with_files();
        let emulator = start(Options {
            data_dir: Some(folder.path().to_owned()),
            ..options
        });
        let emulator = emulator.expect("the emulator starts");
        Self {
            rest: Rest::of(&emulator),
            emulator,
            _folder: folder,
        }
    }

    /// Sets a fault, in the form of the flag `--fault` or as JSON.
    pub(crate) fn fault(&self, text: &str) {
        self.emulator
            .faults
            .add(text)
            .expect("there is such a fault");
    }

    /// Settings with a token that is there already.
    pub(crate) fn settings(&self) -> Settings {
        let mut settings = Settings {
            endpoint: Some(self.emulator.url.parse().expect("a URL")),
            ca_file: Some(self.emulator.ca.clone()),
            // Where a test doesn't make it shorter, no deadline decides.
            operation_timeout: LONG * 2,
            response_timeout: LONG,
            connect_timeout: LONG,
            ..Settings::default()
        };
        settings.credentials.selection = vec![CredentialKind::AccessToken];
        settings.credentials.access_token = AccessToken::new(&self.emulator.token);
        settings
    }

    /// Settings with which the owner logs in by a secret.
    pub(crate) fn login(&self) -> Settings {
        let secret = self.emulator.client_secret().expect("there is a secret");
        let mut settings = self.settings();
        let credentials = &mut settings.credentials;
        credentials.selection = vec![CredentialKind::ClientSecret];
        credentials.access_token = None;
        credentials.authority = Some(self.emulator.url.parse().expect("a URL"));
        credentials.tenant_id = Some(TENANT.to_owned());
        credentials.client_id = Some(OWNER_CLIENT.to_owned());
        credentials.client_secret = Some(Secret::new(secret));
        settings
    }

    pub(crate) fn client(&self) -> Client {
        Client::new(self.settings())
    }

    /// A client with settings that `change` makes of the usual ones.
    pub(crate) fn client_with(&self, change: impl FnOnce(&mut Settings)) -> Client {
        let mut settings = self.settings();
        change(&mut settings);
        Client::new(settings)
    }

    /// The requests for operations of this name, such as `sign`, in their order.
    pub(crate) fn requests(&self, operation: &str) -> Vec<Request> {
        let mut all = self.emulator.requests.list();
        all.retain(|request| request.is(operation));
        all
    }

    /// How many requests for operations of this name came.
    pub(crate) fn count(&self, operation: &str) -> usize {
        self.requests(operation).len()
    }

    /// How many connections the test has opened so far.
    pub(crate) fn connections(&self) -> u64 {
        self.emulator.connections()
    }
}

/// An emulator, a client with settings that `change` makes of the usual ones, and the key `k`,
/// which is loaded: what follows meets the fault.
pub(crate) fn meeting(fault: &str, change: impl FnOnce(&mut Settings)) -> (Hsm, Client, KeyId) {
    let hsm = Hsm::start();
    let client = hsm.client_with(change);
    let key = load(&client);
    hsm.fault(fault);
    (hsm, client, key)
}

pub(crate) fn uri(key: &str) -> KeyUri {
    format!("managedhsm:MyHSM:{key}").parse().expect("a URI")
}

pub(crate) fn vault() -> Vault {
    "MyHSM".parse().expect("a name")
}

/// Loads the key `k`.
pub(crate) fn load(client: &Client) -> KeyId {
    client.get_key(&uri("k")).expect("the key is there").id
}

/// Asks for a signature with a key.
pub(crate) fn sign(client: &Client, key: &KeyId) -> Result<Vec<u8>, Error> {
    client.sign(key, SignatureAlgorithm::Es256, &DIGEST)
}

/// Signs with a key that does it.
pub(crate) fn signs(client: &Client, key: &KeyId) {
    let signature = sign(client, key).expect("a signature");
    assert_eq!(signature.len(), 64);
}

/// What `work` gives, which takes nearly no time compared with [`LONG`]: what it did not wait for
/// is told by that.
#[track_caller]
pub(crate) fn soon<T>(work: impl FnOnce() -> T) -> T {
    let began = Instant::now();
    let outcome = work();
    assert!(began.elapsed() < LONG / 2, "it took {:?}", began.elapsed());
    outcome
}

/// Asserts that an error says all of these words.
#[track_caller]
pub(crate) fn says(error: &Error, words: &[&str]) {
    let text = error.to_string();
    for word in words {
        assert!(text.contains(word), "it lacks '{word}': {text}");
    }
}

/// Callers whose requests the I/O thread sends.
pub(crate) struct SmallStacks;

impl Caller for SmallStacks {
    fn kind(&self) -> CallerKind {
        CallerKind::SmallStack
    }
}
