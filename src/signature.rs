//! Signatures: private-key operations in the HSM, verification here.
//!
//! A context is set up by an `init`, takes parameters and data, and ends with a signature or a verdict. Only
//! [`Context::sign_digest`] touches the network.

use std::ffi::CStr;
use std::sync::Arc;

use managed_hsm::{KeyOperation, SignatureAlgorithm};

use crate::der;
use crate::digest::{self, DIGESTS, Digest, Hasher};
use crate::error::{Error, Reason};
use crate::key::{Key, KeyHandle, KeyType, PublicKey};
use crate::openssl::params::{ParamsIn, ParamsOut};
use crate::provider::Provider;
use crate::rsa::{self, RsaPublicKey};

const ALGORITHM_ID: &CStr = c"algorithm-id";
const DIGEST: &CStr = c"digest";
const DIGEST_SIZE: &CStr = c"size";
const PROPERTIES: &CStr = c"properties";
const PAD_MODE: &CStr = c"pad-mode";
const SALT_LEN: &CStr = c"saltlen";
const MGF1_DIGEST: &CStr = c"mgf1-digest";
const MGF1_PROPERTIES: &CStr = c"mgf1-properties";
const SIGNATURE: &CStr = c"signature";

/// What a context was initialised for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    Sign,
    Verify,
    /// To get back what an RSA signature was made of.
    Recover,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Padding {
    Pkcs1,
    Pss,
    /// None at all: the bare RSA operation, with public keys only.
    None,
}

/// A PSS salt length as OpenSSL's callers express it (RSA_padding_add_PKCS1_PSS(3)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SaltLen {
    /// The caller said nothing.
    Unset,
    /// As long as the digest.
    Digest,
    /// When signing the longest that fits; when verifying whatever is found.
    Auto,
    /// The longest that fits.
    Max,
    /// When signing as long as the digest, or less where that doesn't fit; when verifying whatever is found.
    AutoDigestMax,
    Bytes(usize),
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
    /// Whether what comes whole is a message; else it is a digest.
    takes_message: bool,
    hasher: Option<Hasher>,
    /// The signature to verify, where the message comes in pieces after it.
    given: Option<Vec<u8>>,
    padding: Padding,
    salt_len: SaltLen,
    mgf1: Option<&'static Digest>,
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
            takes_message: false,
            hasher: None,
            given: None,
            padding: Padding::Pkcs1,
            salt_len: SaltLen::Unset,
            mgf1: None,
        }
    }

    /// A copy that goes its own way.
    pub(crate) fn duplicate(&self) -> Self {
        Self {
            provider: Arc::clone(&self.provider),
            key: self.key.clone(),
            hasher: self.hasher.as_ref().map(|hasher| hasher.fork()),
            given: self.given.clone(),
            ..*self
        }
    }

    pub(crate) fn fixed_digest(&self) -> Option<&'static Digest> {
        self.fixed
    }

    /// Starts an operation on a digest or message that comes whole. `key`: None means the key of last time.
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
        self.hasher = Some(self.digest()?.hasher());
        self.takes_message = true;
        Ok(())
    }

    /// Starts an operation on a message that is hashed here. `digest`: None means SHA-256.
    pub(crate) fn digest_init(
        &mut self,
        purpose: Purpose,
        digest: Option<&str>,
        key: Option<&KeyHandle>,
        params: ParamsIn<'_>,
    ) -> Result<(), Error> {
        self.start(purpose, key)?;
        let digest =
            self.known_digest(digest.filter(|name| !name.is_empty()).unwrap_or("SHA256"))?;
        self.digest = Some(digest);
        self.set_params(params)?;
        self.check_settings()?;
        self.hasher = Some(digest.hasher());
        Ok(())
    }

    fn start(&mut self, purpose: Purpose, handle: Option<&KeyHandle>) -> Result<(), Error> {
        if let Some(handle) = handle {
            let key = handle.require()?;
            if key.public.key_type() != self.key_type {
                return Err(Error::InvalidKey(format!(
                    "an {:?} key is expected",
                    self.key_type
                )));
            }
            self.key = Some(Arc::clone(key));
            self.mgf1 = None;
        }
        // Also with the key that is there.
        (self.padding, self.salt_len) = (Padding::Pkcs1, SaltLen::Unset);
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
        Ok(())
    }

    /// The digest of the message taken in.
    fn finish(&mut self) -> Result<Box<[u8]>, Error> {
        Ok(self.hasher.take().ok_or(NO_MESSAGE)?.finalize())
    }

    /// Signs the message taken in.
    pub(crate) fn sign_message(&mut self) -> Result<Vec<u8>, Error> {
        self.expect(Purpose::Sign)?;
        let digest = self.finish()?;
        self.sign_digest(&digest)
    }

    /// Whether `signature` is one over the message taken in.
    pub(crate) fn verify_message(&mut self, signature: &[u8]) -> Result<bool, Error> {
        self.expect(Purpose::Verify)?;
        let digest = self.finish()?;
        self.verify_digest(signature, &digest)
    }

    /// Whether the signature given as a parameter is one over the message taken in.
    pub(crate) fn verify_given(&mut self) -> Result<bool, Error> {
        let signature = self.given.take().ok_or(Error::NotInitialised(
            "no signature was given to verify: set the parameter 'signature'",
        ))?;
        self.verify_message(&signature)
    }

    /// The longest signature that this context can make, in bytes.
    pub(crate) fn max_signature_len(&self) -> Result<usize, Error> {
        self.expect(Purpose::Sign)?;
        Ok(self.key()?.public.max_signature_len())
    }

    /// Signs `tbs`: a message where the operation was begun for one, else a digest; for RSA without the name of a digest
    /// these bytes as they are, which ought to be a DER DigestInfo.
    pub(crate) fn sign(&mut self, tbs: &[u8]) -> Result<Vec<u8>, Error> {
        self.expect(Purpose::Sign)?;
        if self.takes_message {
            self.update(tbs)?;
            return self.sign_message();
        }
        match (self.digest, &self.key()?.public) {
            (None, PublicKey::Rsa(public)) => self.sign_raw_rsa(public, tbs),
            (None, _) => self.sign_ec(tbs),
            (Some(digest), _) => {
                check_len(digest, tbs)?;
                self.sign_digest(tbs)
            }
        }
    }

    /// Signs the digest of the message.
    fn sign_digest(&self, value: &[u8]) -> Result<Vec<u8>, Error> {
        match self.key_type {
            KeyType::Rsa => self.sign_rsa(self.digest()?, value),
            _ => self.sign_ec(value),
        }
    }

    /// Signs what no digest is named for: bytes that are only padded. A DigestInfo of a hash function that the HSM knows comes to
    /// the same as the digest in it.
    fn sign_raw_rsa(&self, public: &RsaPublicKey, tbs: &[u8]) -> Result<Vec<u8>, Error> {
        if self.padding != Padding::Pkcs1 {
            return Err(Error::DigestNameMissing);
        }
        match parse_digest_info(tbs) {
            Some((digest, value)) if digest.rsa.is_some() => self.sign_rsa(digest, value),
            _ => self.sign_null(public, tbs),
        }
    }

    /// Signs bytes by the algorithm that only pads.
    fn sign_null(&self, public: &RsaPublicKey, tbs: &[u8]) -> Result<Vec<u8>, Error> {
        let most = public.len().saturating_sub(11);
        if tbs.len() > most {
            let got = tbs.len();
            return Err(Error::InputLength(format!(
                "{got} bytes without the name of a digest can't be signed: this RSA key has room for {most}; name the digest \
                 (pkeyutl -pkeyopt digest:sha256), or sign a message (dgst -sha256)"
            )));
        }
        let key = self.key()?;
        let signature =
            self.ask(key, SignatureAlgorithm::RsNull, tbs)
                .map_err(|error| match error {
                    Error::Hsm(cause @ managed_hsm::Error::Service { status: 400, .. }) => {
                        Error::NoRawSignatures(cause)
                    }
                    other => other,
                })?;
        self.check_signature(key, public.len(), &signature, || {
            public.verify_pkcs1(tbs, &signature)
        })?;
        Ok(signature)
    }

    fn sign_rsa(&self, digest: &'static Digest, value: &[u8]) -> Result<Vec<u8>, Error> {
        let key = self.key()?;
        let PublicKey::Rsa(public) = &key.public else {
            return Err(NO_KEY);
        };
        let algorithm = self.rsa_algorithm(digest)?;
        let signature = self.ask(key, algorithm, value)?;
        self.check_signature(key, public.len(), &signature, || {
            public
                .verify_by(algorithm, value, &signature)
                .unwrap_or_else(|| self.verify_rsa(public, digest, &signature, value))
        })?;
        Ok(signature)
    }

    fn sign_ec(&self, value: &[u8]) -> Result<Vec<u8>, Error> {
        let key = self.key()?;
        let PublicKey::Ec(public) = &key.public else {
            return Err(NO_KEY);
        };
        let fitted = public.curve.fit(value).ok_or_else(|| {
            Error::InputLength(format!(
                "{} bytes can't be signed with {}: the HSM takes {} at most",
                value.len(),
                public.curve.name.to_string_lossy(),
                public.curve.digest_len()
            ))
        })?;
        let raw = self.ask(key, public.curve.algorithm, &fitted)?;
        self.check_signature(key, 2 * public.curve.coordinate_len, &raw, || {
            public.verify_fixed(&fitted, &raw)
        })?;
        Ok(der::ecdsa_signature(&raw))
    }

    fn ask(
        &self,
        key: &Key,
        algorithm: SignatureAlgorithm,
        value: &[u8],
    ) -> Result<Vec<u8>, Error> {
        let hsm = key.private(KeyOperation::Sign)?;
        self.provider
            .client()?
            .sign(&hsm.id, algorithm, value)
            .map_err(Error::Hsm)
    }

    /// Refuses an answer of the HSM that isn't a signature by the key.
    fn check_signature(
        &self,
        key: &Key,
        expected_len: usize,
        signature: &[u8],
        verifies: impl FnOnce() -> bool,
    ) -> Result<(), Error> {
        if signature.len() != expected_len {
            let got = signature.len();
            return Err(wrong_signature(
                key,
                format!("it has {got} bytes instead of {expected_len}"),
            ));
        }
        if self.provider.configuration()?.own.verify_signatures && !verifies() {
            return Err(wrong_signature(
                key,
                "it does not verify with the key's public part".to_owned(),
            ));
        }
        Ok(())
    }

    /// Whether `signature` is one over `tbs`, which is what [`Context::sign`] takes.
    pub(crate) fn verify(&mut self, signature: &[u8], tbs: &[u8]) -> Result<bool, Error> {
        self.expect(Purpose::Verify)?;
        if self.takes_message {
            self.update(tbs)?;
            return self.verify_message(signature);
        }
        match (self.digest, &self.key()?.public) {
            (None, PublicKey::Rsa(public)) => self.verify_raw_rsa(public, signature, tbs),
            (None, PublicKey::Ec(public)) => Ok(public.verify(tbs, signature)),
            (None, PublicKey::Aes) => Err(NO_KEY),
            (Some(digest), _) => {
                check_len(digest, tbs)?;
                self.verify_digest(signature, tbs)
            }
        }
    }

    fn verify_raw_rsa(
        &self,
        public: &RsaPublicKey,
        signature: &[u8],
        tbs: &[u8],
    ) -> Result<bool, Error> {
        // As in libcrypto, which takes a signature over nothing for one that holds nothing.
        if tbs.is_empty() {
            return Ok(false);
        }
        match self.padding {
            Padding::None => Ok(public.recover(signature).as_deref() == Some(tbs)),
            Padding::Pkcs1 => Ok(public.verify_pkcs1(tbs, signature)),
            Padding::Pss => Err(Error::DigestNameMissing),
        }
    }

    /// Whether `signature` is one over the message with this digest.
    fn verify_digest(&self, signature: &[u8], value: &[u8]) -> Result<bool, Error> {
        match &self.key()?.public {
            PublicKey::Ec(public) => Ok(public.verify(value, signature)),
            PublicKey::Rsa(public) => Ok(self.verify_rsa(public, self.digest()?, signature, value)),
            PublicKey::Aes => Err(NO_KEY),
        }
    }

    /// The longest that [`Context::recover`] returns, in bytes.
    pub(crate) fn max_recovered_len(&self) -> Result<usize, Error> {
        self.expect(Purpose::Recover)?;
        Ok(self.key()?.public.max_signature_len())
    }

    /// What an RSA signature was made of: the digest where one is named (its DigestInfo is checked and taken off), else
    /// all that the padding holds.
    pub(crate) fn recover(&self, signature: &[u8]) -> Result<Vec<u8>, Error> {
        self.expect(Purpose::Recover)?;
        let PublicKey::Rsa(public) = &self.key()?.public else {
            return Err(NO_KEY);
        };
        let not_recovered = |problem: &str| Error::NotRecovered(problem.to_owned());
        let block = public.recover(signature).ok_or_else(|| {
            not_recovered("it is not as long as the key, or not below its modulus")
        })?;
        let message = match self.padding {
            Padding::None => return Ok(block),
            Padding::Pkcs1 => rsa::unpad_pkcs1(&block)
                .ok_or_else(|| not_recovered("its padding is not PKCS#1 v1.5"))?,
            Padding::Pss => {
                return Err(Error::refused(
                    Reason::NotRecovered,
                    "recovering a message from a PSS signature",
                    "verify the signature instead",
                ));
            }
        };
        let Some(digest) = self.digest else {
            return Ok(message.to_vec());
        };
        match parse_digest_info(message) {
            Some((found, value)) if found.name() == digest.name() => Ok(value.to_vec()),
            _ => Err(not_recovered(&format!(
                "it holds no DigestInfo of {}",
                digest.name()
            ))),
        }
    }

    fn verify_rsa(
        &self,
        public: &RsaPublicKey,
        digest: &Digest,
        signature: &[u8],
        value: &[u8],
    ) -> bool {
        let by_library = |algorithm| public.verify_by(algorithm, value, signature);
        match self.padding {
            Padding::Pkcs1 => digest
                .rsa
                .and_then(|(pkcs1, _)| by_library(pkcs1))
                .unwrap_or_else(|| {
                    public.verify_pkcs1(&der::digest_info(digest.oid, value), signature)
                }),
            Padding::None => false,
            Padding::Pss => {
                let salt_len = match self.salt_len {
                    SaltLen::Unset | SaltLen::Auto | SaltLen::AutoDigestMax => None,
                    SaltLen::Digest => Some(digest.len),
                    SaltLen::Max => Some(longest_salt(public, digest)),
                    SaltLen::Bytes(len) => Some(len),
                };
                public.verify_pss(
                    digest,
                    self.mgf1.unwrap_or(digest),
                    salt_len,
                    value,
                    signature,
                )
            }
        }
    }

    /// Takes context parameters. What the HSM can't do is refused here, or as soon as the rest is known.
    pub(crate) fn set_params(&mut self, params: ParamsIn<'_>) -> Result<(), Error> {
        if let Some(name) = params.utf8(DIGEST)? {
            let digest = self.known_digest(name)?;
            if let Some(fixed) = self.fixed
                && fixed.name() != digest.name()
            {
                return Err(Error::parameter(
                    "digest",
                    format!("the algorithm's digest is {}", fixed.name()),
                ));
            }
            if self.hasher.is_some() && self.digest.is_none_or(|set| set.name() != digest.name()) {
                return Err(Error::parameter(
                    "digest",
                    "it can't change once the message has begun",
                ));
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
        self.check_settings()
    }

    fn set_rsa_params(&mut self, params: ParamsIn<'_>) -> Result<(), Error> {
        let padding = if params.is_text(PAD_MODE) {
            params.utf8(PAD_MODE)?.map(padding_by_name)
        } else {
            params.integer(PAD_MODE)?.map(padding_by_number)
        };
        if let Some(padding) = padding {
            self.padding = padding?;
            if self.padding == Padding::None && self.purpose == Some(Purpose::Sign) {
                return Err(unsupported_padding("'none'"));
            }
        }
        let salt_len = if params.is_text(SALT_LEN) {
            params.utf8(SALT_LEN)?.map(salt_len_by_name)
        } else {
            params.integer(SALT_LEN)?.map(salt_len_by_number)
        };
        if let Some(salt_len) = salt_len {
            if self.padding != Padding::Pss {
                return Err(Error::parameter(
                    "saltlen",
                    "a salt length goes with PSS padding: set pad-mode to 'pss'",
                ));
            }
            let salt_len = salt_len?;
            // libcrypto knows it since 3.1.
            if salt_len == SaltLen::AutoDigestMax && self.provider.core.version() < (3, 1) {
                return Err(bad_salt_len("auto-digestmax"));
            }
            self.salt_len = salt_len;
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

    /// Refuses a signature that the HSM can't make, as soon as the digest is known. Never touches the network.
    fn check_settings(&self) -> Result<(), Error> {
        match (self.key_type, self.purpose, self.digest) {
            (KeyType::Rsa, Some(Purpose::Sign), Some(digest)) => {
                self.rsa_algorithm(digest).map(drop)
            }
            _ => Ok(()),
        }
    }

    /// The HSM's algorithm for this digest and the padding settings.
    fn rsa_algorithm(&self, digest: &'static Digest) -> Result<SignatureAlgorithm, Error> {
        if self.padding == Padding::None {
            return Err(unsupported_padding("'none'"));
        }
        let Some((pkcs1, pss)) = digest.rsa else {
            return Err(Error::unsupported(
                Reason::RsaDigest,
                format!("an RSA signature with {}", digest.name()),
                "use SHA256, SHA384 or SHA512",
            ));
        };
        if self.padding == Padding::Pkcs1 {
            return Ok(pkcs1);
        }
        let remedy = format!(
            "use saltlen:digest ({} bytes for {})",
            digest.len,
            digest.name()
        );
        match self.salt_len {
            SaltLen::Unset | SaltLen::Digest | SaltLen::AutoDigestMax => {}
            SaltLen::Bytes(len) if len == digest.len => {}
            SaltLen::Bytes(len) => {
                return Err(Error::unsupported(
                    Reason::SaltLength,
                    format!("a PSS salt of {len} bytes"),
                    remedy,
                ));
            }
            SaltLen::Max | SaltLen::Auto => {
                return Err(Error::unsupported(
                    Reason::SaltLength,
                    "a PSS salt of the greatest possible length",
                    remedy,
                ));
            }
        }
        match self.mgf1 {
            Some(mgf1) if mgf1.name() != digest.name() => Err(Error::unsupported(
                Reason::Mgf1Digest,
                format!("PSS with {} and MGF1 with {}", digest.name(), mgf1.name()),
                "use the same hash for both",
            )),
            _ => Ok(pss),
        }
    }

    /// Answers what is asked of the context.
    pub(crate) fn get_params(&self, params: &mut ParamsOut<'_>) -> Result<(), Error> {
        if params.wants(ALGORITHM_ID) {
            params.set_octets(ALGORITHM_ID, &self.algorithm_id()?)?;
        }
        if let Some(digest) = self.digest {
            params.set_utf8(DIGEST, digest.c_name)?;
            params.set_integer(DIGEST_SIZE, digest.len as i64)?;
        }
        if self.key_type == KeyType::Rsa {
            self.get_rsa_params(params)?;
        }
        Ok(())
    }

    fn get_rsa_params(&self, params: &mut ParamsOut<'_>) -> Result<(), Error> {
        let (name, number) = match self.padding {
            Padding::Pkcs1 => (c"pkcs1", 1),
            Padding::Pss => (c"pss", 6),
            Padding::None => (c"none", 3),
        };
        if params.wants_text(PAD_MODE) {
            params.set_utf8(PAD_MODE, name)?;
        } else {
            params.set_integer(PAD_MODE, number)?;
        }
        self.get_salt_len(params)?;
        match self.mgf1.or(self.digest) {
            Some(mgf1) => params.set_utf8(MGF1_DIGEST, mgf1.c_name),
            None => Ok(()),
        }
    }

    fn get_salt_len(&self, params: &mut ParamsOut<'_>) -> Result<(), Error> {
        let (name, number) = match self.salt_len {
            // What signing does; OpenSSL's own default when verifying is to take what is found.
            SaltLen::Unset if self.purpose == Some(Purpose::Verify) => (c"auto", -2),
            SaltLen::Unset | SaltLen::Digest => (c"digest", -1),
            SaltLen::Auto => (c"auto", -2),
            SaltLen::Max => (c"max", -3),
            SaltLen::AutoDigestMax => (c"auto-digestmax", -4),
            SaltLen::Bytes(len) => {
                // Up to OpenSSL 3.x the number is asked for as a text, too.
                return match params.wants_text(SALT_LEN) {
                    true => params.set_text(SALT_LEN, &len.to_string()),
                    false => params.set_integer(SALT_LEN, len as i64),
                };
            }
        };
        if params.wants_text(SALT_LEN) {
            params.set_utf8(SALT_LEN, name)
        } else {
            params.set_integer(SALT_LEN, number)
        }
    }

    /// The AlgorithmIdentifier of the signature, as X.509 and CMS write it.
    fn algorithm_id(&self) -> Result<Vec<u8>, Error> {
        let digest = self.digest()?;
        match (self.key_type, self.padding) {
            (KeyType::Rsa, Padding::Pkcs1 | Padding::None) => Ok(rsa::pkcs1_algorithm_id(digest)),
            (KeyType::Rsa, Padding::Pss) => Ok(rsa::pss_algorithm_id(
                digest,
                self.mgf1.unwrap_or(digest),
                digest.len,
            )),
            // RFC 5758, section 3.2: no parameters, not even NULL.
            (KeyType::Ec | KeyType::Aes, _) => digest
                .ecdsa_oid
                .map(|oid| der::sequence(&[&der::object_identifier(oid)]))
                .ok_or_else(|| {
                    Error::parameter(
                        "algorithm-id",
                        "no identifier exists for ECDSA with this digest",
                    )
                }),
        }
    }

    /// The hash function with an OpenSSL name. An error lists those that the operation can use.
    fn known_digest(&self, name: &str) -> Result<&'static Digest, Error> {
        let is_rsa_signature = self.key_type == KeyType::Rsa && self.purpose == Some(Purpose::Sign);
        digest::known(name, |digest| !is_rsa_signature || digest.rsa.is_some())
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

const NO_MESSAGE: Error =
    Error::NotInitialised("no message has begun, or its signature was already taken");
const NO_KEY: Error = Error::NotInitialised("no key is set");

fn check_len(digest: &Digest, value: &[u8]) -> Result<(), Error> {
    if value.len() == digest.len {
        return Ok(());
    }
    Err(Error::DigestLength {
        digest: digest.name(),
        expected: digest.len,
        got: value.len(),
    })
}

/// The digest in a DER DigestInfo. None: it isn't one of a known hash function.
pub(crate) fn parse_digest_info(tbs: &[u8]) -> Option<(&'static Digest, &[u8])> {
    DIGESTS.iter().find_map(|digest| {
        let value = &tbs[tbs.len().checked_sub(digest.len)?..];
        (der::digest_info(digest.oid, value) == tbs).then_some((digest, value))
    })
}

fn longest_salt(public: &RsaPublicKey, digest: &Digest) -> usize {
    ((public.bits() - 1).div_ceil(8)).saturating_sub(digest.len + 2)
}

fn padding_by_name(name: &str) -> Result<Padding, Error> {
    match name {
        "pkcs1" => Ok(Padding::Pkcs1),
        "pss" => Ok(Padding::Pss),
        "none" => Ok(Padding::None),
        other => Err(unsupported_padding(&format!("'{other}'"))),
    }
}

/// The numbers of `<openssl/rsa.h>`.
fn padding_by_number(number: i64) -> Result<Padding, Error> {
    match number {
        1 => Ok(Padding::Pkcs1),
        6 => Ok(Padding::Pss),
        3 => Ok(Padding::None),
        5 => Err(unsupported_padding("'x931'")),
        other => Err(unsupported_padding(&format!("mode {other}"))),
    }
}

fn unsupported_padding(padding: &str) -> Error {
    Error::unsupported(
        Reason::SignaturePadding,
        format!("an RSA signature with padding {padding}"),
        "use 'pkcs1' or 'pss'",
    )
}

fn salt_len_by_name(name: &str) -> Result<SaltLen, Error> {
    match name {
        "digest" => Ok(SaltLen::Digest),
        "auto" => Ok(SaltLen::Auto),
        "max" => Ok(SaltLen::Max),
        "auto-digestmax" => Ok(SaltLen::AutoDigestMax),
        number => match number.parse() {
            Ok(number) => salt_len_by_number(number),
            Err(_) => Err(bad_salt_len(number)),
        },
    }
}

fn salt_len_by_number(number: i64) -> Result<SaltLen, Error> {
    match number {
        -1 => Ok(SaltLen::Digest),
        -2 => Ok(SaltLen::Auto),
        -3 => Ok(SaltLen::Max),
        -4 => Ok(SaltLen::AutoDigestMax),
        number => usize::try_from(number)
            .map(SaltLen::Bytes)
            .map_err(|_| bad_salt_len(&number.to_string())),
    }
}

fn bad_salt_len(value: &str) -> Error {
    Error::parameter(
        "saltlen",
        format!("'{value}' is neither a length nor one of digest, max, auto, auto-digestmax"),
    )
}

fn wrong_signature(key: &Key, problem: String) -> Error {
    Error::WrongSignature {
        key: key
            .hsm
            .as_ref()
            .map(|hsm| hsm.id.to_string())
            .unwrap_or_default(),
        problem,
        remedy: "try again, and if it stays so, check what stands between this machine and the HSM",
    }
}

/// Tables of the parameters above.
pub(crate) mod tables {
    use super::*;
    use crate::openssl::ffi::Param;
    use crate::openssl::params::descriptors;

    pub(crate) static RSA_GETTABLE: &[Param] = descriptors! {
        ALGORITHM_ID => PARAM_OCTET_STRING,
        DIGEST => PARAM_UTF8_STRING,
        PAD_MODE => PARAM_UTF8_STRING,
        SALT_LEN => PARAM_UTF8_STRING,
        MGF1_DIGEST => PARAM_UTF8_STRING,
    };
    pub(crate) static RSA_SETTABLE: &[Param] = descriptors! {
        DIGEST => PARAM_UTF8_STRING,
        PROPERTIES => PARAM_UTF8_STRING,
        PAD_MODE => PARAM_UTF8_STRING,
        SALT_LEN => PARAM_UTF8_STRING,
        MGF1_DIGEST => PARAM_UTF8_STRING,
        MGF1_PROPERTIES => PARAM_UTF8_STRING,
    };
    pub(crate) static EC_GETTABLE: &[Param] = descriptors! {
        ALGORITHM_ID => PARAM_OCTET_STRING,
        DIGEST => PARAM_UTF8_STRING,
        DIGEST_SIZE => PARAM_UNSIGNED_INTEGER,
    };
    pub(crate) static EC_SETTABLE: &[Param] = descriptors! {
        DIGEST => PARAM_UTF8_STRING,
        DIGEST_SIZE => PARAM_UNSIGNED_INTEGER,
        PROPERTIES => PARAM_UTF8_STRING,
    };
    /// Of an algorithm with its digest in its name.
    pub(crate) static FIXED_SETTABLE: &[Param] = descriptors! {
        SIGNATURE => PARAM_OCTET_STRING,
    };
    pub(crate) static NOTHING: &[Param] = descriptors! {};
}
