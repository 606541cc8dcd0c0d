//! An emulator with a key, and clients of it.

use std::time::{Duration, Instant};

use managed_hsm::{
    AccessToken, Caller, CallerKind, Client, CredentialKind, Error, KeyId, KeyUri, Secret,
    Settings, SignatureAlgorithm, Vault,
};
use testing::Rest;
use testing::emulator::{Handle, OWNER_CLIENT, Options, Request, TENANT, start};

/// Longer than anything takes that works; what has not come by then does not come.
pub(crate) const LONG: Duration = Duration::from_secs(60);

/// The digest that is signed.
const DIGEST: [u8; 32] = [7; 32];

/// An emulator with the EC key `k`.
pub(crate) struct Hsm {
    pub(crate) emulator: Handle,
    pub(crate) rest: Rest,
    /// Connections before those of the test.
    before: u64,
}

impl Hsm {
    pub(crate) fn start() -> Self {
        Self::start_with(Options::default())
    }

    pub(crate) fn start_with(options: Options) -> Self {
        let hsm = Self::of(options);
        hsm.rest.create("k", r#"{"kty":"EC-HSM","crv":"P-256"}"#);
        Self {
            before: hsm.emulator.connections(),
            ..hsm
        }
    }

    /// An emulator with what its folder holds.
    pub(crate) fn of(options: Options) -> Self {
        let emulator = start(options).expect("the emulator starts");
        Self {
            rest: Rest {
                url: emulator.url.clone(),
                ca: emulator.ca.clone(),
                token: emulator.token.clone(),
            },
            emulator,
            before: 0,
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
        self.emulator.connections() - self.before
    }
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
