//! Keys as the service describes them.

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, OnceLock};

use url::Url;

use crate::external_key::ExternalKeyId;
use crate::foreign::ForeignText;
use crate::ml_dsa::ParameterSet;
use crate::properties::Properties;
use crate::public_key::PublicKey;
use crate::uri::{KeyName, KeyUri, KeyVersion, Vault};

/// A key pinned to a version, as the service answered with it: what every private-key operation
/// names.
#[derive(Clone)]
pub struct KeyId {
    /// Where it is kept.
    pub vault: Vault,
    /// The key.
    pub key: KeyName,
    /// The version.
    pub version: KeyVersion,
    pub(crate) prepared: Arc<Prepared>,
}

/// What all operations with a key have in common.
pub(crate) struct Prepared {
    /// The key's URI.
    pub(crate) name: Arc<str>,
    /// Its address in the service.
    address: Url,
    /// Where each operation is asked for, once one was: of many keys few are used.
    urls: [OnceLock<Box<Url>>; ACTIONS],
}

/// What a key is asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeyAction {
    Sign,
    Verify,
    Encrypt,
    Decrypt,
    WrapKey,
    UnwrapKey,
    SecureWrapKey,
    SecureUnwrapKey,
}

/// How many actions there are.
const ACTIONS: usize = KeyAction::SecureUnwrapKey as usize + 1;

impl KeyAction {
    const fn path(self) -> &'static str {
        match self {
            Self::Sign => "sign",
            Self::Verify => "verify",
            Self::Encrypt => "encrypt",
            Self::Decrypt => "decrypt",
            Self::WrapKey => "wrapkey",
            Self::UnwrapKey => "unwrapkey",
            Self::SecureWrapKey => "securewrapkey",
            Self::SecureUnwrapKey => "secureunwrapkey",
        }
    }

    /// As errors and the log say it, before the key's name.
    pub(crate) const fn words(self) -> &'static str {
        match self {
            Self::Sign => "sign with",
            Self::Verify => "verify with",
            Self::Encrypt => "encrypt with",
            Self::Decrypt => "decrypt with",
            Self::WrapKey => "wrap a key with",
            Self::UnwrapKey => "unwrap a key with",
            Self::SecureWrapKey => "make and wrap a key with",
            Self::SecureUnwrapKey => "unwrap a key for an environment with",
        }
    }
}

impl KeyId {
    /// A key that was loaded by a request to `url`, whose query all requests have.
    pub(crate) fn new(vault: Vault, key: KeyName, version: KeyVersion, url: &Url) -> Self {
        let uri = KeyUri {
            vault: vault.clone(),
            key: key.clone(),
            version: Some(version.clone()),
        };
        let mut address = url.clone();
        address.set_path(&format!("/keys/{key}/{version}"));
        let prepared = Prepared {
            name: uri.to_string().into(),
            address,
            urls: Default::default(),
        };
        Self {
            vault,
            key,
            version,
            prepared: Arc::new(prepared),
        }
    }

    /// Its address, as the service's identifiers have it.
    pub(crate) fn address(&self) -> Url {
        let mut address = self.prepared.address.clone();
        address.set_query(None);
        address
    }

    /// Where an operation is asked for.
    pub(crate) fn url(&self, action: KeyAction) -> &Url {
        let Prepared { address, urls, .. } = &*self.prepared;
        let cell = &urls[action as usize];
        // Made outside: a child that is forked meanwhile would wait for ever for the thread that
        // makes it.
        cell.get().unwrap_or_else(|| {
            let mut url = address.clone();
            url.set_path(&format!("{}/{}", address.path(), action.path()));
            cell.get_or_init(|| Box::new(url))
        })
    }
}

impl PartialEq for KeyId {
    fn eq(&self, other: &Self) -> bool {
        (&self.vault, &self.key, &self.version) == (&other.vault, &other.key, &other.version)
    }
}

impl Eq for KeyId {}

impl Hash for KeyId {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (&self.vault, &self.key, &self.version).hash(state);
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyId({self})")
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.prepared.name)
    }
}

impl From<KeyId> for KeyUri {
    fn from(id: KeyId) -> Self {
        Self {
            vault: id.vault,
            key: id.key,
            version: Some(id.version),
        }
    }
}

/// An elliptic curve of the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Curve {
    /// NIST P-256 (secp256r1).
    P256,
    /// NIST P-384 (secp384r1).
    P384,
    /// NIST P-521 (secp521r1).
    P521,
    /// secp256k1.
    P256K,
}

impl Curve {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::P256, Self::P384, Self::P521, Self::P256K];

    /// Length of a coordinate, of r and of s, in bytes.
    pub const fn coordinate_len(self) -> usize {
        match self {
            Self::P256 | Self::P256K => 32,
            Self::P384 => 48,
            Self::P521 => 66,
        }
    }

    /// The curve's name in a JSON Web Key.
    pub const fn jwk_name(self) -> &'static str {
        match self {
            Self::P256 => "P-256",
            Self::P384 => "P-384",
            Self::P521 => "P-521",
            Self::P256K => "P-256K",
        }
    }

    pub(crate) fn from_jwk_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|curve| curve.jwk_name() == name)
    }
}

/// An operation that a key's `key_ops` permit.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum KeyOperation {
    /// `sign`
    Sign,
    /// `verify`
    Verify,
    /// `encrypt`
    Encrypt,
    /// `decrypt`
    Decrypt,
    /// `wrapKey`
    WrapKey,
    /// `unwrapKey`
    UnwrapKey,
    /// `secureWrapKey`: keys are made and wrapped that only attested environments get.
    SecureWrapKey,
    /// `secureUnwrapKey`: such environments get them.
    SecureUnwrapKey,
    /// `import`: keys may be wrapped for it that are to be imported, and it does nothing else.
    Import,
    /// One that this client has no use for.
    Other(ForeignText),
}

impl fmt::Display for KeyOperation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Other(name) => return name.fmt(f),
            Self::Sign => "sign",
            Self::Verify => "verify",
            Self::Encrypt => "encrypt",
            Self::Decrypt => "decrypt",
            Self::WrapKey => "wrapKey",
            Self::UnwrapKey => "unwrapKey",
            Self::SecureWrapKey => "secureWrapKey",
            Self::SecureUnwrapKey => "secureUnwrapKey",
            Self::Import => "import",
        })
    }
}

impl From<ForeignText> for KeyOperation {
    fn from(name: ForeignText) -> Self {
        match name.raw() {
            "sign" => Self::Sign,
            "verify" => Self::Verify,
            "encrypt" => Self::Encrypt,
            "decrypt" => Self::Decrypt,
            "wrapKey" => Self::WrapKey,
            "unwrapKey" => Self::UnwrapKey,
            "secureWrapKey" => Self::SecureWrapKey,
            "secureUnwrapKey" => Self::SecureUnwrapKey,
            "import" => Self::Import,
            _ => Self::Other(name),
        }
    }
}

/// A key to be made in the HSM.
#[derive(Clone, Debug, Default)]
pub struct NewKey {
    /// Its type, and size or curve.
    pub kind: NewKeyKind,
    /// What it may be used for; empty: all that its type can do.
    pub operations: Vec<KeyOperation>,
    /// Whether it may be released to an attested environment; the service asks for a release policy
    /// then.
    pub exportable: bool,
    /// The release policy, JSON: which environments get the key, or what it wraps securely.
    pub release_policy: Option<Vec<u8>>,
    /// From when and until when it may be used.
    pub life: Life,
    /// Names and values for people and programs.
    pub tags: Vec<(String, String)>,
}

/// From when and until when a new key may be used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Life {
    /// Before this it can't be used: seconds since 1970. None: from the beginning.
    pub not_before: Option<i64>,
    /// From this on it can't be used. None: for ever.
    pub expires: Option<i64>,
}

/// Type, and size or curve, of a key to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NewKeyKind {
    /// An RSA key.
    Rsa {
        /// Length of the modulus: 2048, 3072 or 4096.
        bits: u32,
        /// Public exponent; None: 65537.
        public_exponent: Option<u32>,
    },
    /// An EC key.
    Ec(Curve),
    /// A key of ML-DSA.
    MlDsa(ParameterSet),
    /// An AES key.
    Oct {
        /// Length of the key: 128, 192 or 256.
        bits: u32,
    },
    /// The key with this id in the HSM's external key manager, of whatever type it is.
    External(ExternalKeyId),
}

impl Default for NewKeyKind {
    /// RSA of 2048 bits, the service's own default.
    fn default() -> Self {
        Self::Rsa {
            bits: 2048,
            public_exponent: None,
        }
    }
}

/// A key in a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyItem {
    /// The key, without a version in a listing of keys and with one in a listing of versions.
    pub uri: KeyUri,
    /// Whether the key may be used at all.
    pub enabled: bool,
    /// What else is known of it.
    pub properties: Properties,
}

/// A key of the HSM, without its private part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// The key, pinned to the version that the service answered with.
    pub id: KeyId,
    /// The service's own identifier, `https://<host>/keys/<name>/<version>`. The address that was
    /// asked stands for one that holds what may be a secret.
    pub kid: ForeignText,
    /// The public part.
    pub public: PublicKey,
    /// What the key may be used for.
    pub operations: Vec<KeyOperation>,
    /// Whether the key may be used at all.
    pub enabled: bool,
    /// What else is known of it.
    pub properties: Properties,
}

impl Key {
    /// Whether the key's `key_ops` hold an operation.
    pub fn permits(&self, operation: impl Borrow<KeyOperation>) -> bool {
        self.operations.contains(operation.borrow())
    }
}

/// What to change of a key; None stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Update {
    /// What the key may be used for.
    pub operations: Option<Vec<KeyOperation>>,
    /// Before this the key can't be used: seconds since 1970.
    pub not_before: Option<i64>,
    /// From this on the key can't be used.
    pub expires: Option<i64>,
    /// All names and values: others than these are removed.
    pub tags: Option<BTreeMap<String, String>>,
}
