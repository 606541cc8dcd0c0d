//! Options of key generation. OpenSSL asks key management for new keys by type alone, so what
//! decides whether a key is made in the HSM is that it gets a name there:
//! `-pkeyopt uri:managedhsm:MyHSM:mykey`, or `vault` and `name`.

use std::ffi::CStr;

use hsm_keys::{EcCurve, Key, KeyType};
use managed_hsm::{ForeignText, KeyName, KeyOperation, KeyUri, NewKey, NewKeyKind, Vault};

use crate::error::{Error, Reason};
use crate::openssl::params::ParamsIn;
use crate::provider::Provider;

const URI: &CStr = c"uri";
const VAULT: &CStr = c"vault";
const NAME: &CStr = c"name";
const KEY_OPS: &CStr = c"key-ops";
const EXPORTABLE: &CStr = c"exportable";
const RELEASE_POLICY: &CStr = c"release-policy";
const TAGS: &CStr = c"tags";
/// Options that software keys have as well.
const BITS: &CStr = c"bits";
const RSA_E: &CStr = c"e";
const RSA_PRIMES: &CStr = c"primes";
const GROUP: &CStr = c"group";
const SEED: &CStr = c"seed";
/// From which software derives an EC key (RFC 9180).
const KEYING_MATERIAL: &CStr = c"dhkem-ikm";

/// In the place of a public exponent that the HSM can't have.
const TOO_LONG: i64 = -1;

/// What was said about a key to be made.
#[derive(Debug, Default)]
pub(crate) struct Options {
    uri: Option<KeyUri>,
    vault: Option<Vault>,
    name: Option<KeyName>,
    /// What only a key in the HSM has.
    key: NewKey,
    any_of_ours: bool,
    bits: Option<i64>,
    public_exponent: Option<i64>,
    primes: Option<i64>,
    group: Option<String>,
    has_seed: bool,
    has_keying_material: bool,
}

impl Options {
    /// Takes options in; what is unknown is left to others.
    pub(crate) fn take(&mut self, params: ParamsIn<'_>) -> Result<(), Error> {
        if let Some(uri) = params.utf8(URI)? {
            let uri: KeyUri = uri.parse()?;
            if uri.version.is_some() {
                return Err(Error::parameter(
                    "uri",
                    "the HSM chooses the version of a new key: leave it out",
                ));
            }
            self.uri = Some(uri);
        }
        if let Some(vault) = params.utf8(VAULT)? {
            self.vault = Some(vault.parse()?);
        }
        if let Some(name) = params.utf8(NAME)? {
            self.name = Some(name.parse()?);
        }
        self.take_attributes(params)?;
        if let Some(bits) = params.integer(BITS)? {
            self.bits = Some(bits);
        }
        // Options come in any order, so for now nobody knows who makes the key: one of software may
        // have a longer exponent.
        self.public_exponent = params
            .integer(RSA_E)
            .unwrap_or(Some(TOO_LONG))
            .or(self.public_exponent);
        self.primes = params.integer(RSA_PRIMES).unwrap_or(None).or(self.primes);
        self.has_seed |= params.is_there(SEED);
        self.has_keying_material |= params.is_there(KEYING_MATERIAL);
        if let Some(group) = params.utf8(GROUP)? {
            self.group = Some(group.to_owned());
        }
        Ok(())
    }

    pub(crate) fn set_bits(&mut self, bits: i64) {
        self.bits = Some(bits);
    }

    /// Takes the curve of another key as the curve of the new one, unless one is named.
    pub(crate) fn set_template(&mut self, group: Option<String>) {
        self.group = self.group.take().or(group);
    }

    fn take_attributes(&mut self, params: ParamsIn<'_>) -> Result<(), Error> {
        if let Some(list) = params.utf8(KEY_OPS)? {
            self.any_of_ours = true;
            self.key.operations = entries(list)
                .map(|name| match KeyOperation::from(ForeignText::new(name)) {
                    KeyOperation::Other(name) => Err(Error::parameter(
                        "key-ops",
                        format!(
                            "'{name}' is none of sign, verify, encrypt, decrypt, wrapKey, unwrapKey"
                        ),
                    )),
                    known => Ok(known),
                })
                .collect::<Result<_, _>>()?;
        }
        if let Some(exportable) = params.integer(EXPORTABLE)? {
            self.any_of_ours = true;
            self.key.exportable = exportable != 0;
        }
        if let Some(policy) = params.utf8(RELEASE_POLICY)? {
            self.any_of_ours = true;
            self.key.release_policy = Some(policy.as_bytes().to_vec());
        }
        if let Some(list) = params.utf8(TAGS)? {
            self.any_of_ours = true;
            self.key.tags = entries(list)
                .map(|tag| match tag.split_once('=') {
                    Some((name, value)) => Ok((name.to_owned(), value.to_owned())),
                    None => Err(Error::parameter(
                        "tags",
                        format!("'{tag}' is not of the form name=value"),
                    )),
                })
                .collect::<Result<_, _>>()?;
        }
        Ok(())
    }

    /// Whether the key is to be made in an HSM.
    pub(crate) fn is_for_hsm(&self) -> bool {
        self.uri.is_some() || self.vault.is_some() || self.name.is_some()
    }

    /// Refuses options that only a key in the HSM has, for a software key.
    pub(crate) fn check_software_key(&self) -> Result<(), Error> {
        if self.any_of_ours {
            return Err(no_name());
        }
        Ok(())
    }

    /// Makes the key in the HSM.
    pub(crate) fn create(&self, provider: &Provider, key_type: KeyType) -> Result<Key, Error> {
        let (vault, name) = match (&self.uri, &self.vault, &self.name) {
            (Some(uri), None, None) => (&uri.vault, &uri.key),
            (None, Some(vault), Some(name)) => (vault, name),
            (Some(_), ..) => {
                return Err(Error::parameter(
                    "uri",
                    "it names the HSM and the key: leave 'vault' and 'name' out",
                ));
            }
            _ => return Err(no_name()),
        };
        let key = NewKey {
            kind: self.kind(key_type)?,
            ..self.key.clone()
        };
        let made = provider.client()?.create_key(vault, name, &key);
        Ok(made.map_err(Error::Hsm)?.into())
    }

    fn kind(&self, key_type: KeyType) -> Result<NewKeyKind, Error> {
        if self.primes.is_some_and(|primes| primes != 2) {
            return Err(Error::parameter(
                "primes",
                "the HSM makes RSA keys of two primes",
            ));
        }
        let bits = |known: &[u32]| match self.bits {
            None => Ok(known[0]),
            Some(bits) => u32::try_from(bits)
                .ok()
                .filter(|bits| known.contains(bits))
                .ok_or_else(|| {
                    let known: Vec<String> = known.iter().map(u32::to_string).collect();
                    Error::unsupported(
                        Reason::KeySize,
                        format!("a key of {bits} bits"),
                        format!("use {}", known.join(", ")),
                    )
                }),
        };
        Ok(match key_type {
            KeyType::Rsa => NewKeyKind::Rsa {
                bits: bits(&[2048, 3072, 4096])?,
                public_exponent: self
                    .public_exponent
                    .map(|e| {
                        u32::try_from(e).map_err(|_| {
                            Error::parameter("e", "the public exponent has more than 32 bits")
                        })
                    })
                    .transpose()?,
            },
            KeyType::MlDsa(set) if self.has_seed => {
                return Err(Error::parameter(
                    "seed",
                    format!("the HSM makes a key of {set} from a seed of its own: leave it out"),
                ));
            }
            KeyType::MlDsa(set) => NewKeyKind::MlDsa(set),
            KeyType::Aes => NewKeyKind::Oct {
                bits: bits(&[256, 128, 192])?,
            },
            KeyType::Ec if self.has_keying_material => {
                return Err(Error::parameter(
                    "dhkem-ikm",
                    "the HSM makes a key from random numbers of its own: leave it out",
                ));
            }
            KeyType::Ec => {
                let group = self.group.as_deref().unwrap_or("P-256");
                let curve = EcCurve::by_name(group).ok_or_else(|| {
                    Error::unsupported(
                        Reason::UnknownCurve,
                        format!("the curve '{group}'"),
                        "use P-256, P-384, P-521 or secp256k1",
                    )
                })?;
                NewKeyKind::Ec(curve.curve)
            }
        })
    }
}

fn entries(list: &str) -> impl Iterator<Item = &str> {
    list.split(',')
        .map(str::trim)
        .filter(|entry| !entry.is_empty())
}

pub(crate) fn no_name() -> Error {
    Error::parameter(
        "uri",
        "a key in the HSM needs a name: set 'uri' (-pkeyopt uri:managedhsm:<HSM>:<key>), or 'vault' and 'name'",
    )
}

pub(crate) fn no_parameters() -> Error {
    Error::parameter(
        "uri",
        "the HSM makes keys, and no parameters alone: leave out where they are to be made, or make a key",
    )
}

/// Tables of the parameters above.
pub(crate) mod tables {
    use super::*;
    use crate::openssl::ffi::Param;
    use crate::openssl::params::descriptors;

    macro_rules! with_ours {
        ($($key:expr => $kind:ident),*) => {
            descriptors! {
                URI => PARAM_UTF8_STRING,
                VAULT => PARAM_UTF8_STRING,
                NAME => PARAM_UTF8_STRING,
                KEY_OPS => PARAM_UTF8_STRING,
                EXPORTABLE => PARAM_INTEGER,
                RELEASE_POLICY => PARAM_UTF8_STRING,
                TAGS => PARAM_UTF8_STRING,
                $($key => $kind),*
            }
        };
    }

    /// What a key in the HSM takes besides what software keys take.
    pub(crate) static OURS: &[Param] = with_ours! {};
    /// All that there is where no other provider makes keys of the type.
    pub(crate) static RSA: &[Param] =
        with_ours! { BITS => PARAM_UNSIGNED_INTEGER, RSA_E => PARAM_UNSIGNED_INTEGER };
    pub(crate) static EC: &[Param] = with_ours! { GROUP => PARAM_UTF8_STRING };
    pub(crate) static SECRET: &[Param] = with_ours! {
        BITS => PARAM_UNSIGNED_INTEGER,
        c"key-length" => PARAM_UNSIGNED_INTEGER
    };
    pub(crate) static AES: &[Param] = with_ours! { BITS => PARAM_UNSIGNED_INTEGER };
}
