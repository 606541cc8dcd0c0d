//! The state of a signature operation: purpose, key, parameters, and the message taken in. A
//! context is set up by an `init`, takes parameters and data, and ends with a signature or a
//! verdict, which `hsm-keys` makes by the [`Scheme`] that the parameters come to. Signing touches
//! the network, and nothing else here but the first verification with the public part that a key
//! file has told.

pub(crate) mod tables;

use std::ffi::CStr;
use std::sync::Arc;

use hsm_keys::{Check, Digest, Hasher, Key, KeyType, PublicKey, Scheme};
use hsm_module::stack;
use managed_hsm::KeyOperation;

use crate::error::{Error, Reason};
use crate::key::KeyHandle;
use crate::ml_dsa::{self, MlDsaSettings};
use crate::names;
use crate::openssl::params::{ParamsIn, ParamsOut};
use crate::provider::Provider;
use crate::signature_padding::{Padding, Salt};

const ALGORITHM_ID: &CStr = c"algorithm-id";
const DIGEST: &CStr = c"digest";
const DIGEST_SIZE: &CStr = c"digest-size";
const PROPERTIES: &CStr = c"properties";
const PAD_MODE: &CStr = c"pad-mode";
const SALT_LEN: &CStr = c"saltlen";
const MGF1_DIGEST: &CStr = c"mgf1-digest";
const MGF1_PROPERTIES: &CStr = c"mgf1-properties";
const SIGNATURE: &CStr = c"signature";
/// Of ECDSA; 0 is random.
const NONCE_TYPE: &CStr = c"nonce-type";

/// What a context was initialised for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    Sign,
    Verify,
    /// To get back what an RSA signature was made of.
    Recover,
}

/// The state of one signature operation.
pub(crate) struct Context {
    pub(crate) provider: Arc<Provider>,
    key_type: KeyType,
    key: Option<Arc<Key>>,
    purpose: Option<Purpose>,
    /// The digest that is part of the algorithm's name.
    fixed: Option<&'static Digest>,
    digest: Option<&'static Digest>,
    /// What counts without a digest once PSS was set and taken back: in OpenSSL's own provider PSS
    /// brings SHA-1, which stays.
    implied: Option<&'static Digest>,
    /// Whether what comes whole is a message; else it is a digest.
    takes_message: bool,
    hasher: Option<Hasher>,
    /// The signature to verify, where the message comes in pieces after it.
    given: Option<Vec<u8>>,
    padding: Padding,
    salt: Salt,
    mgf1: Option<&'static Digest>,
    ml_dsa: MlDsaSettings,
    /// Whether some of the message has been taken in.
    has_begun: bool,
}

impl Context {
    /// `fixed`: the digest that is part of the algorithm's name, as in `RSA-SHA256`.
    pub(crate) fn new(
        provider: Arc<Provider>,
        key_type: KeyType,
        fixed: Option<&'static Digest>,
    ) -> Self {
        Self {
            provider,
            key_type,
            key: None,
            purpose: None,
            fixed,
            digest: None,
            implied: None,
            takes_message: false,
            hasher: None,
            given: None,
            padding: Padding::Pkcs1,
            salt: Salt::Unset,
            mgf1: None,
            ml_dsa: MlDsaSettings::default(),
            has_begun: false,
        }
    }

    /// A copy that goes its own way.
    pub(crate) fn duplicate(&self) -> Self {
        Self {
            provider: Arc::clone(&self.provider),
            key: self.key.clone(),
            hasher: self.hasher.as_ref().map(|hasher| hasher.fork()),
            given: self.given.clone(),
            ml_dsa: self.ml_dsa.clone(),
            ..*self
        }
    }

    pub(crate) fn fixed_digest(&self) -> Option<&'static Digest> {
        self.fixed
    }

    /// Starts an operation on a digest or message that comes whole. `key`: None means the key of
    /// last time.
    pub(crate) fn init(
        &mut self,
        purpose: Purpose,
        key: Option<&KeyHandle>,
        params: ParamsIn<'_>,
    ) -> Result<(), Error> {
        self.start(purpose, key)?;
        self.digest = self.fixed;
        self.set_params(params)
    }

    /// Starts an operation on a message, by an algorithm with a fixed digest.
    pub(crate) fn message_init(
        &mut self,
        purpose: Purpose,
        key: Option<&KeyHandle>,
        params: ParamsIn<'_>,
    ) -> Result<(), Error> {
        self.init(purpose, key, params)?;
        self.hasher = Some(self.message_hasher()?);
        self.takes_message = true;
        Ok(())
    }

    /// Starts an operation on a message that is hashed here. The name of a digest counts more than
    /// the parameter, as in OpenSSL's own provider; with neither it is the digest of last time
    /// where the key is that of last time, else SHA-256.
    pub(crate) fn digest_init(
        &mut self,
        purpose: Purpose,
        digest: Option<&str>,
        key: Option<&KeyHandle>,
        params: ParamsIn<'_>,
    ) -> Result<(), Error> {
        self.start(purpose, key)?;
        if let KeyType::MlDsa(set) = self.key_type {
            if let Some(digest) = digest.filter(|name| !name.is_empty()) {
                return Err(Error::parameter(
                    "digest",
                    format!("{set} signs messages as they are: leave out '{digest}'"),
                ));
            }
            self.set_params(params)?;
            self.hasher = Some(self.message_hasher()?);
            return Ok(());
        }
        let named = digest.filter(|name| !name.is_empty());
        let named = named.map(|name| self.known_digest(name)).transpose()?;
        if key.is_some() {
            self.digest = None;
        }
        self.take_params(params)?;
        let digest = match named.or(self.digest) {
            Some(digest) => digest,
            None => self.known_digest("SHA256")?,
        };
        self.digest = Some(digest);
        self.check_settings()?;
        self.hasher = Some(digest.hasher());
        Ok(())
    }

    fn start(&mut self, purpose: Purpose, handle: Option<&KeyHandle>) -> Result<(), Error> {
        if let Some(handle) = handle {
            let key = handle.require()?;
            if key.public.key_type() != self.key_type {
                return Err(Error::InvalidKey(format!(
                    "a key of type {} is expected",
                    names::of_key_type(self.key_type).to_string_lossy()
                )));
            }
            self.key = Some(Arc::clone(key));
            self.mgf1 = None;
        }
        // Also with the key that is there.
        (self.padding, self.salt, self.implied) = (Padding::Pkcs1, Salt::Unset, None);
        (self.ml_dsa, self.has_begun) = (MlDsaSettings::default(), false);
        if purpose == Purpose::Sign {
            self.key()?.private(KeyOperation::Sign)?;
        }
        if purpose == Purpose::Recover && self.key_type != KeyType::Rsa {
            return Err(Error::refused(
                Reason::NotRecovered,
                "recovering a message from an ECDSA signature",
                "verify the signature instead",
            ));
        }
        (self.hasher, self.given, self.takes_message) = (None, None, false);
        self.purpose = Some(purpose);
        Ok(())
    }

    /// Takes in more of the message.
    pub(crate) fn update(&mut self, data: &[u8]) -> Result<(), Error> {
        self.hasher.as_mut().ok_or(NO_MESSAGE)?.update(data);
        self.has_begun = true;
        Ok(())
    }

    /// What hashes a message, by the settings that there are.
    fn message_hasher(&self) -> Result<Hasher, Error> {
        match &self.key()?.public {
            PublicKey::MlDsa(key) => self.ml_dsa.hasher(key),
            _ => Ok(self.digest()?.hasher()),
        }
    }

    /// Signs a message that comes whole. Of ML-DSA, further ones may follow, after a failure too.
    pub(crate) fn sign_whole(&mut self, message: &[u8]) -> Result<Vec<u8>, Error> {
        self.update(message)?;
        let signature = self.sign_message();
        self.begin_again()?;
        signature
    }

    /// Whether `signature` is one over a message that comes whole. Of ML-DSA, further ones may
    /// follow, after a failure too.
    pub(crate) fn verify_whole(&mut self, signature: &[u8], message: &[u8]) -> Result<bool, Error> {
        self.update(message)?;
        let is_valid = self.verify_message(signature);
        self.begin_again()?;
        is_valid
    }

    fn begin_again(&mut self) -> Result<(), Error> {
        self.has_begun = false;
        if matches!(self.key_type, KeyType::MlDsa(_)) {
            self.hasher = Some(self.message_hasher()?);
        }
        Ok(())
    }

    /// Refuses one that comes whole where a message has begun in pieces.
    pub(crate) fn expect_whole(&self) -> Result<(), Error> {
        match self.takes_message && self.has_begun {
            true => Err(Error::NotInitialised("the message has begun in pieces")),
            false => Ok(()),
        }
    }

    /// The digest of the message taken in.
    fn finish(&mut self) -> Result<Box<[u8]>, Error> {
        Ok(self.hasher.take().ok_or(NO_MESSAGE)?.finalize())
    }

    /// Signs the message taken in.
    pub(crate) fn sign_message(&mut self) -> Result<Vec<u8>, Error> {
        self.expect(Purpose::Sign)?;
        let digest = self.finish()?;
        self.sign_value(&digest)
    }

    /// Signs `tbs`: a message where the operation was begun for one, else a digest; for RSA without
    /// the name of a digest these bytes as they are, which ought to be a DER DigestInfo.
    pub(crate) fn sign(&mut self, tbs: &[u8]) -> Result<Vec<u8>, Error> {
        self.expect(Purpose::Sign)?;
        if self.takes_message {
            return self.sign_whole(tbs);
        }
        self.sign_value(tbs)
    }

    fn sign_value(&self, value: &[u8]) -> Result<Vec<u8>, Error> {
        let (key, scheme) = (self.key()?, self.scheme()?);
        let check = match self.provider.configuration()?.own.verify_signatures {
            true => Check::Signature,
            false => Check::LengthOnly,
        };
        let signature = hsm_keys::sign(&*self.provider.client()?, key, &scheme, value, check)?;
        Ok(signature.into_der())
    }

    /// Whether `signature` is one over the message taken in.
    pub(crate) fn verify_message(&mut self, signature: &[u8]) -> Result<bool, Error> {
        self.expect(Purpose::Verify)?;
        let digest = self.finish()?;
        self.verify_value(signature, &digest)
    }

    /// Whether the signature given as a parameter is one over the message taken in.
    pub(crate) fn verify_given(&mut self) -> Result<bool, Error> {
        let signature = self.given.take().ok_or(Error::NotInitialised(
            "no signature was given to verify: set the parameter 'signature'",
        ))?;
        self.verify_message(&signature)
    }

    /// Whether `signature` is one over `tbs`, which is what [`Context::sign`] takes.
    pub(crate) fn verify(&mut self, signature: &[u8], tbs: &[u8]) -> Result<bool, Error> {
        self.expect(Purpose::Verify)?;
        self.expect_whole()?;
        if self.takes_message {
            return self.verify_whole(signature, tbs);
        }
        self.verify_value(signature, tbs)
    }

    fn verify_value(&self, signature: &[u8], value: &[u8]) -> Result<bool, Error> {
        let (key, scheme) = (self.key()?, self.scheme()?);
        // As in libcrypto, which takes a signature over nothing for one that holds nothing.
        if value.is_empty() && matches!(scheme, Scheme::Pkcs1 { digest: None }) {
            return Ok(false);
        }
        self.provider.prove(key)?;
        let verify = || hsm_keys::verify(&key.public, &scheme, value, signature);
        Ok(scheme.with_room(stack::has_room, verify)??)
    }

    /// The longest signature that this context can make, in bytes.
    pub(crate) fn max_signature_len(&self) -> Result<usize, Error> {
        self.expect(Purpose::Sign)?;
        Ok(self.key()?.public.max_signature_len())
    }

    /// The longest that [`Context::recover`] returns, in bytes.
    pub(crate) fn max_recovered_len(&self) -> Result<usize, Error> {
        self.expect(Purpose::Recover)?;
        Ok(self.key()?.public.max_signature_len())
    }

    /// What an RSA signature was made of: the digest where one is named, else all that the padding
    /// holds.
    pub(crate) fn recover(&self, signature: &[u8]) -> Result<Vec<u8>, Error> {
        self.expect(Purpose::Recover)?;
        if self.padding == Padding::Pss {
            return Err(not_recovered_from_pss());
        }
        let (key, scheme) = (self.key()?, self.scheme()?);
        self.provider.prove(key)?;
        Ok(hsm_keys::recover(&key.public, &scheme, signature)?)
    }

    /// What the settings come to.
    fn scheme(&self) -> Result<Scheme, Error> {
        let digest = self.digest;
        match (self.key_type, self.padding) {
            (KeyType::MlDsa(set), _) => Ok(Scheme::MlDsa(set)),
            (KeyType::Ec | KeyType::Aes, _) => Ok(Scheme::Ecdsa { digest }),
            (KeyType::Rsa, Padding::Pkcs1) => Ok(Scheme::Pkcs1 {
                digest: digest.or(self.implied),
            }),
            (KeyType::Rsa, Padding::None) => Ok(Scheme::Bare),
            (KeyType::Rsa, Padding::Pss) => {
                let digest = digest.ok_or(hsm_keys::Error::DigestNameMissing)?;
                Ok(Scheme::Pss {
                    digest,
                    mgf1: self.mgf1.unwrap_or(digest),
                    salt_len: self.salt.len(self.purpose == Some(Purpose::Sign)),
                })
            }
        }
    }

    /// Takes context parameters. What the HSM can't do is refused here, or as soon as the rest is
    /// known.
    pub(crate) fn set_params(&mut self, params: ParamsIn<'_>) -> Result<(), Error> {
        if matches!(self.key_type, KeyType::MlDsa(_)) {
            return self.set_ml_dsa_params(params);
        }
        self.take_params(params)?;
        self.check_settings()
    }

    /// Takes the parameters of RSA and ECDSA, before it is looked at whether they go together.
    fn take_params(&mut self, params: ParamsIn<'_>) -> Result<(), Error> {
        if let Some(name) = params.utf8(DIGEST)? {
            let digest = self.known_digest(name)?;
            if let Some(fixed) = self.fixed
                && fixed != digest
            {
                return Err(Error::parameter(
                    "digest",
                    format!("the algorithm's digest is {}", fixed.name()),
                ));
            }
            if self.hasher.is_some() && self.digest.is_none_or(|set| set != digest) {
                return Err(Error::parameter(
                    "digest",
                    "it can't change once the message has begun",
                ));
            }
            if self.padding == Padding::None {
                return Err(no_digest_without_padding());
            }
            self.digest = Some(digest);
        }
        for key in [PROPERTIES, MGF1_PROPERTIES] {
            // Hash functions are this provider's own.
            if let Some(query) = params.nullable_utf8(key)? {
                self.provider.check_query(Some(query))?;
            }
        }
        if let Some(signature) = params.octets(SIGNATURE)? {
            self.given = Some(signature.to_vec());
        }
        if self.key_type == KeyType::Rsa {
            self.set_rsa_params(params)?;
        }
        let is_random = params.integer(NONCE_TYPE)?.is_none_or(|kind| kind == 0);
        if self.purpose == Some(Purpose::Sign) && self.key_type == KeyType::Ec && !is_random {
            return Err(ml_dsa::same_each_time(NONCE_TYPE));
        }
        Ok(())
    }

    fn set_ml_dsa_params(&mut self, params: ParamsIn<'_>) -> Result<(), Error> {
        if let Some(signature) = params.octets(SIGNATURE)? {
            self.given = Some(signature.to_vec());
        }
        let is_signature = self.purpose == Some(Purpose::Sign);
        let settings = self.ml_dsa.clone().with(params, is_signature)?;
        if settings == self.ml_dsa {
            return Ok(());
        }
        if self.has_begun {
            return Err(Error::parameter(
                settings.first_change(&self.ml_dsa),
                "it can't change once the message has begun",
            ));
        }
        self.ml_dsa = settings;
        if self.hasher.is_some() {
            self.hasher = Some(self.message_hasher()?);
        }
        Ok(())
    }

    fn set_rsa_params(&mut self, params: ParamsIn<'_>) -> Result<(), Error> {
        let padding = if params.is_text(PAD_MODE) {
            params.utf8(PAD_MODE)?.map(Padding::by_name)
        } else {
            params.integer(PAD_MODE)?.map(Padding::by_number)
        };
        if let Some(padding) = padding {
            let padding = padding?;
            if padding == Padding::None && self.purpose == Some(Purpose::Sign) {
                return Err(Padding::unsupported("'none'"));
            }
            if self.fixed.is_some() && padding != Padding::Pkcs1 {
                return Err(Error::parameter("pad-mode", "the algorithm's is pkcs1"));
            }
            if padding == Padding::Pss && self.purpose == Some(Purpose::Recover) {
                return Err(not_recovered_from_pss());
            }
            let has_digest = self.digest.or(self.implied).is_some();
            if padding == Padding::None && (has_digest || self.padding == Padding::Pss) {
                return Err(no_digest_without_padding());
            }
            if self.padding == Padding::Pss && padding == Padding::Pkcs1 {
                self.implied = Some(self.known_digest("SHA1")?);
            }
            self.padding = padding;
        }
        let version = self.provider.core_version;
        let salt = if params.is_text(SALT_LEN) {
            let name = params.utf8(SALT_LEN)?;
            name.map(|name| Salt::by_name(name, version))
        } else {
            let number = params.integer(SALT_LEN)?;
            number.map(|number| Salt::by_number(number, version))
        };
        if let Some(salt) = salt {
            if self.padding != Padding::Pss {
                return Err(Error::parameter(
                    "saltlen",
                    "a salt length goes with PSS padding: set pad-mode to 'pss'",
                ));
            }
            self.salt = salt?;
        }
        if let Some(name) = params.utf8(MGF1_DIGEST)? {
            if self.padding != Padding::Pss {
                return Err(Error::parameter(
                    "mgf1-digest",
                    "MGF1 goes with PSS padding: set pad-mode to 'pss'",
                ));
            }
            self.mgf1 = Some(self.known_digest(name)?);
        }
        Ok(())
    }

    /// Refuses what can't be, and a signature that the HSM can't make, as soon as the digest is
    /// known. Never touches the network.
    fn check_settings(&self) -> Result<(), Error> {
        if self.padding == Padding::None && self.digest.is_some() {
            return Err(no_digest_without_padding());
        }
        if self.purpose == Some(Purpose::Sign) && self.digest.is_some() {
            self.scheme()?.algorithm(&self.key()?.public)?;
        }
        Ok(())
    }

    /// Answers what is asked of the context.
    pub(crate) fn get_params(&self, params: &mut ParamsOut<'_>) -> Result<(), Error> {
        if params.wants(ALGORITHM_ID) {
            params.set_octets(ALGORITHM_ID, &self.algorithm_id()?)?;
        }
        if let Some(digest) = self.digest {
            params.set_utf8(DIGEST, names::of_digest(digest))?;
            params.set_integer(DIGEST_SIZE, digest.len as i64)?;
        }
        if self.key_type == KeyType::Rsa {
            self.get_rsa_params(params)?;
        }
        Ok(())
    }

    fn get_rsa_params(&self, params: &mut ParamsOut<'_>) -> Result<(), Error> {
        let (name, number) = self.padding.as_openssl();
        if params.wants_text(PAD_MODE) {
            params.set_utf8(PAD_MODE, name)?;
        } else {
            params.set_integer(PAD_MODE, number)?;
        }
        let is_verification = self.purpose == Some(Purpose::Verify);
        self.salt.tell(SALT_LEN, is_verification, params)?;
        match self.mgf1.or(self.digest) {
            Some(mgf1) => params.set_utf8(MGF1_DIGEST, names::of_digest(mgf1)),
            None => Ok(()),
        }
    }

    /// The AlgorithmIdentifier of the signature, as X.509 and CMS write it.
    fn algorithm_id(&self) -> Result<Vec<u8>, Error> {
        if self.digest.is_none() && !matches!(self.key_type, KeyType::MlDsa(_)) {
            return Err(Error::NotInitialised("no digest is set"));
        }
        let scheme = match self.scheme()? {
            Scheme::Bare => Scheme::Pkcs1 {
                digest: self.digest,
            },
            scheme => scheme,
        };
        scheme.algorithm_identifier().ok_or_else(|| {
            Error::parameter(
                "algorithm-id",
                "no identifier exists for ECDSA with this digest",
            )
        })
    }

    /// The hash function with an OpenSSL name. An error lists those that the operation can use.
    fn known_digest(&self, name: &str) -> Result<&'static Digest, Error> {
        let is_rsa_signature = self.key_type == KeyType::Rsa && self.purpose == Some(Purpose::Sign);
        Ok(Digest::named(name, |digest| {
            !is_rsa_signature || digest.is_for_rsa()
        })?)
    }

    fn key(&self) -> Result<&Arc<Key>, Error> {
        self.key.as_ref().ok_or(NO_KEY)
    }

    fn digest(&self) -> Result<&'static Digest, Error> {
        self.digest.ok_or(Error::NotInitialised("no digest is set"))
    }

    fn expect(&self, purpose: Purpose) -> Result<(), Error> {
        if self.purpose == Some(purpose) {
            return Ok(());
        }
        Err(Error::NotInitialised(
            "the context is not initialised for this operation",
        ))
    }
}

fn no_digest_without_padding() -> Error {
    let problem = "a digest goes with padding: leave one of 'none' and the digest out";
    Error::parameter("pad-mode", problem)
}

fn not_recovered_from_pss() -> Error {
    Error::refused(
        Reason::NotRecovered,
        "recovering a message from a PSS signature",
        "verify the signature instead",
    )
}

const NO_MESSAGE: Error =
    Error::NotInitialised("no message has begun, or its signature was already taken");
const NO_KEY: Error = Error::NotInitialised("no key is set");
