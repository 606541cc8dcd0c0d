//! Keys and tokens for the tests of this module.

use std::cell::Cell;
use std::sync::OnceLock;

use managed_hsm::{Client, ForeignText, Key, Properties, PublicKey, Settings, Vault};

use super::Token;
use super::objects::StoredKey;
use crate::certificates::files::Sources;
use crate::configuration::{Options, TokenSettings};

fn vault() -> Vault {
    "managedhsm:example".parse().unwrap()
}

/// A token with certificates, of an HSM that nobody asks.
pub(super) fn token(certificates: Sources) -> Token {
    let settings = TokenSettings {
        slot: 0,
        label: String::new(),
        vault: vault(),
        client: Settings::default(),
        by_pin: false,
        requires_login: false,
        keys: None,
        never_lists: false,
        hides_disabled: false,
        certificates,
        problem: None,
    };
    Token::new(settings, Options::default().into())
}

/// A version of a key, as the HSM has described it at a point in time by the token's clock.
pub(super) fn key(name: &str, version: usize, as_of: u64) -> StoredKey {
    described(name, version, as_of, Properties::default())
}

/// The same with properties.
pub(super) fn described(
    name: &str,
    version: usize,
    as_of: u64,
    properties: Properties,
) -> StoredKey {
    static CLIENT: OnceLock<Client> = OnceLock::new();
    let client = CLIENT.get_or_init(|| super::new_client(Settings::default()));
    let (key, version) = (name.parse().unwrap(), format!("{version:032}"));
    let id = client.key_id(&vault(), &key, &version.parse().unwrap());
    let key = Key {
        id: id.unwrap(),
        kid: ForeignText::new(format!("https://example/keys/{name}/{version}")),
        public: PublicKey::Oct,
        operations: Vec::new(),
        enabled: true,
        properties,
    };
    StoredKey::new(key, as_of)
}

thread_local! {
    static LOOKS: Cell<usize> = const { Cell::new(0) };
}

/// To be called by what compares objects.
pub(crate) fn note_look() {
    LOOKS.set(LOOKS.get() + 1);
}

/// How often `act` looks at an object.
pub(super) fn looks(act: impl FnOnce()) -> usize {
    let before = LOOKS.get();
    act();
    LOOKS.get() - before
}
