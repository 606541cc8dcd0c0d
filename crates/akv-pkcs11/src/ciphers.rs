//! How a message is encrypted: a mechanism with its parameter, and a key that is fit for it. With
//! the public key of RSA that is done here, all else in the HSM.

use cryptoki_sys::*;
use hsm_keys::aes::{BLOCK, GCM_TAG_LEN, Mode, Parameters};
use hsm_keys::{KeyType, RsaEncryption};
use managed_hsm::{Encrypted, EncryptionAlgorithm, KeyOperation};
use zeroize::Zeroizing;

use crate::aes_size::by_size;
use crate::configuration::{Options, RsaPkcs1Decrypt};
use crate::error::{Error, Purpose};
use crate::ffi::convert::MechanismIn;
use crate::ffi::parameters::{GCM_IV_LEN, GCM_IVS, GCM_TAGS, Later};
use crate::mechanisms::{AesMode, Kind, Mechanism, parameter_invalid};
use crate::message::{self, LONGEST};
use crate::oaep::oaep;
use crate::rejection;
use crate::rsa_size::check_rsa_size;
use crate::token::Token;
use crate::token::objects::StoredKey;
use crate::token::tags::Half;

/// What a key is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Use {
    Encrypt,
    Decrypt,
    Wrap,
    Unwrap,
}

/// A mechanism with its parameter.
#[derive(Debug)]
pub(crate) enum Cipher {
    Rsa(RsaEncryption),
    Aes(Aes),
}

/// A mode of AES with what belongs to a message.
#[derive(Debug)]
pub(crate) struct Aes {
    mode: AesMode,
    iv: Vec<u8>,
    aad: Vec<u8>,
    /// Where the HSM's initialisation vector is to go.
    iv_place: Option<Later>,
}

impl Use {
    pub(crate) const fn encrypts(self) -> bool {
        matches!(self, Self::Encrypt | Self::Wrap)
    }

    pub(crate) const fn purpose(self) -> Purpose {
        match self {
            Self::Encrypt => Purpose::Encrypt,
            Self::Wrap => Purpose::Wrap,
            Self::Decrypt => Purpose::Decrypt,
            Self::Unwrap => Purpose::Unwrap,
        }
    }

    /// Refuses a message that is too long to be held: longer than `most`.
    pub(crate) fn check_len(self, len: usize, most: usize) -> Result<(), Error> {
        message::check_len(len, most, self.wrong_length())
    }

    /// The code for a key of another type.
    const fn wrong_type(self) -> CK_RV {
        match self {
            Self::Encrypt | Self::Decrypt => CKR_KEY_TYPE_INCONSISTENT,
            Self::Wrap => CKR_WRAPPING_KEY_TYPE_INCONSISTENT,
            Self::Unwrap => CKR_UNWRAPPING_KEY_TYPE_INCONSISTENT,
        }
    }

    /// The code for a length that can't be.
    const fn wrong_length(self) -> CK_RV {
        match self {
            Self::Encrypt => CKR_DATA_LEN_RANGE,
            Self::Decrypt => CKR_ENCRYPTED_DATA_LEN_RANGE,
            Self::Wrap => CKR_KEY_SIZE_RANGE,
            Self::Unwrap => CKR_WRAPPED_KEY_LEN_RANGE,
        }
    }
}

impl Cipher {
    /// What a program passes.
    ///
    /// # Errors
    /// The mechanism doesn't encrypt, or has another parameter.
    pub(crate) fn new(given: &MechanismIn<'_>, of: Use, options: &Options) -> Result<Self, Error> {
        let mechanism = Mechanism::find(given.type_)
            .filter(|mechanism| mechanism.encrypts())
            .ok_or_else(|| Error::code(CKR_MECHANISM_INVALID))?;
        match mechanism.kind {
            Kind::Aes(mode) => Aes::new(mode, given, of).map(Self::Aes),
            Kind::RsaOaep => oaep(&given.oaep()?).map(Self::Rsa),
            _ if !of.encrypts() && options.rsa_pkcs1_decrypt == RsaPkcs1Decrypt::Deny => {
                Err(Error::because(
                    CKR_MECHANISM_INVALID,
                    "decryption with PKCS#1 v1.5 is refused here (rsaPkcs1Decrypt): use OAEP",
                ))
            }
            _ if given.parameter()?.is_empty() => Ok(Self::Rsa(RsaEncryption::Pkcs1)),
            _ => Err(parameter_invalid("the mechanism has no parameter")),
        }
    }

    /// AES-GCM whose messages have parameters of their own.
    pub(crate) const fn message_gcm() -> Self {
        Self::Aes(Aes {
            mode: AesMode::Gcm,
            iv: Vec::new(),
            aad: Vec::new(),
            iv_place: None,
        })
    }

    /// Refuses a key that can't be used so. The HSM would, but it isn't asked when an operation
    /// begins, and of public keys not at all.
    pub(crate) fn check_key(&self, key: &StoredKey, half: Half, of: Use) -> Result<(), Error> {
        let (type_, fitting_half) = match self {
            Self::Aes(_) => (KeyType::Aes, Half::Private),
            Self::Rsa(_) if of.encrypts() => (KeyType::Rsa, Half::Public),
            Self::Rsa(_) => (KeyType::Rsa, Half::Private),
        };
        if key.public().key_type() != type_ {
            return Err(Error::code(of.wrong_type()));
        }
        if let Self::Rsa(_) = self {
            check_rsa_size(key, of)?;
        }
        let operation = self.operation(of);
        if half != fitting_half || (key.hsm_id().is_none() && !key.permits(&operation)) {
            return Err(Error::code(CKR_KEY_FUNCTION_NOT_PERMITTED));
        }
        if key.hsm_id().is_none() {
            return Ok(());
        }
        // What was encrypted before can be read as long as the key is enabled.
        let obstacle = key
            .obstacle()
            .filter(|_| of.encrypts() || !key.enabled)
            .map(|obstacle| Error::because(CKR_KEY_FUNCTION_NOT_PERMITTED, obstacle));
        match obstacle {
            Some(refusal) => Err(refusal),
            None => match key.to_use()?.private(operation) {
                Ok(_) => Ok(()),
                Err(error) => Err(Error::operation(of.purpose(), &error)),
            },
        }
    }

    /// What the HSM has to permit.
    fn operation(&self, of: Use) -> KeyOperation {
        match (self, of) {
            (Self::Aes(aes), _) => aes.mode.of_hsm().operation(of.encrypts()),
            (Self::Rsa(_), Use::Encrypt) => KeyOperation::Encrypt,
            (Self::Rsa(_), Use::Decrypt) => KeyOperation::Decrypt,
            (Self::Rsa(_), Use::Wrap) => KeyOperation::WrapKey,
            (Self::Rsa(_), Use::Unwrap) => KeyOperation::UnwrapKey,
        }
    }

    /// How long a message may be: what the longest one is encrypted to can be decrypted again.
    pub(crate) fn longest(&self, of: Use) -> usize {
        let encrypted = match self {
            Self::Aes(aes) if !of.encrypts() => aes.mode.output_len(true, LONGEST),
            _ => None,
        };
        encrypted.unwrap_or(LONGEST)
    }

    /// Whether it is CBC without padding, for which a key that is wrapped gets zeros behind it, and
    /// loses them when it is unwrapped (PKCS#11 3.0, mechanisms, section 2.11.4).
    pub(crate) fn is_unpadded_cbc(&self) -> bool {
        matches!(self, Self::Aes(aes) if aes.mode == AesMode::Cbc)
    }

    /// How long the result is, or will be at most when decrypting.
    ///
    /// # Errors
    /// The input's length can't be.
    pub(crate) fn output_len(
        &self,
        key: &StoredKey,
        of: Use,
        input_len: usize,
    ) -> Result<usize, Error> {
        let rsa_len = key.public().raw_signature_len();
        of.check_len(input_len, self.longest(of))?;
        let fitting = match (self, of.encrypts()) {
            (Self::Aes(aes), encrypts) => aes.mode.output_len(encrypts, input_len),
            (Self::Rsa(scheme), true) => {
                (input_len <= scheme.most(key.public())).then_some(rsa_len)
            }
            (Self::Rsa(_), false) => (input_len == rsa_len).then_some(rsa_len),
        };
        fitting.ok_or_else(|| Error::code(of.wrong_length()))
    }

    /// Encrypts a message.
    ///
    /// # Errors
    /// Its length can't be, or the request failed.
    pub(crate) fn encrypt(
        &self,
        token: &Token,
        key: &StoredKey,
        of: Use,
        plaintext: &[u8],
    ) -> Result<Vec<u8>, Error> {
        self.output_len(key, of, plaintext.len())?;
        match self {
            Self::Rsa(scheme) => hsm_keys::encrypt(key.public(), *scheme, plaintext)
                .map_err(|error| Error::operation(of.purpose(), &error)),
            // The service makes nothing of nothing.
            Self::Aes(aes) if aes.mode == AesMode::Cbc && plaintext.is_empty() => Ok(Vec::new()),
            Self::Aes(aes) => aes.encrypt(token, key, of, plaintext),
        }
    }

    /// Decrypts a message. `fits`: which lengths a key may have that is unwrapped, the usual one
    /// first.
    ///
    /// # Errors
    /// It is none, or the request failed.
    pub(crate) fn decrypt(
        &self,
        token: &Token,
        key: &StoredKey,
        of: Use,
        ciphertext: &[u8],
        fits: &[usize],
    ) -> Result<Zeroizing<Vec<u8>>, Error> {
        self.output_len(key, of, ciphertext.len())?;
        match self {
            Self::Rsa(scheme) => {
                let rejects = *scheme == RsaEncryption::Pkcs1
                    && token.options().rsa_pkcs1_decrypt == RsaPkcs1Decrypt::ImplicitRejection;
                let of_hsm = key.to_use()?;
                let decrypted = token.ask(|client| match of {
                    Use::Unwrap => hsm_keys::unwrap_by_rsa(client, of_hsm, *scheme, ciphertext),
                    _ => hsm_keys::decrypt(client, of_hsm, *scheme, ciphertext),
                })?;
                match decrypted {
                    Err(error) if !(rejects && may_be_of_padding(&error)) => {
                        Err(token.failure(of.purpose(), &error))
                    }
                    Ok(plaintext)
                        if !rejects || fits.is_empty() || fits.contains(&plaintext.len()) =>
                    {
                        Ok(plaintext)
                    }
                    rejected => {
                        if let Err(error) = rejected {
                            rejection::tell(&error);
                        }
                        let most = scheme.most(key.public());
                        rejection::instead_of(&key.kid, ciphertext, fits.first().copied(), most)
                    }
                }
            }
            Self::Aes(aes) if aes.mode == AesMode::Cbc && ciphertext.is_empty() => {
                Ok(Zeroizing::new(Vec::new()))
            }
            Self::Aes(aes) => aes.decrypt(token, key, of, ciphertext),
        }
    }
}

/// Whether the padding of a ciphertext may be what the service refuses. By its words that can't be
/// told; a version of its API that it doesn't have says nothing of any ciphertext.
fn may_be_of_padding(error: &hsm_keys::Error) -> bool {
    let is_of_version = |error: &managed_hsm::Error| error.code() == "UnsupportedApiVersion";
    is_bad_request(error)
        && !matches!(error, hsm_keys::Error::Client(error) if is_of_version(error))
}

/// What the service says of a ciphertext whose padding is wrong, and of a key of another size.
pub(crate) fn is_bad_request(error: &hsm_keys::Error) -> bool {
    matches!(
        error,
        hsm_keys::Error::Client(managed_hsm::Error::Service { status: 400, .. })
    )
}

impl AesMode {
    /// The HSM's own mode.
    const fn of_hsm(self) -> Mode {
        match self {
            Self::Cbc | Self::CbcPad => Mode::Cbc,
            Self::Gcm | Self::GcmWithIv => Mode::Gcm,
            Self::Wrap => Mode::Wrap,
            Self::WrapPad => Mode::WrapPad,
        }
    }

    /// How long the result is, or will be at most when decrypting; None: the input's length can't
    /// be.
    fn output_len(self, encrypts: bool, len: usize) -> Option<usize> {
        // A key's size changes no length.
        let (algorithm, overhead) = match self {
            Self::Cbc => (EncryptionAlgorithm::A256Cbc, 0),
            Self::CbcPad => (EncryptionAlgorithm::A256CbcPad, 0),
            Self::Gcm => (EncryptionAlgorithm::A256Gcm, GCM_TAG_LEN),
            Self::GcmWithIv => (EncryptionAlgorithm::A256Gcm, GCM_IV_LEN + GCM_TAG_LEN),
            Self::Wrap => (EncryptionAlgorithm::A256Kw, 0),
            Self::WrapPad => (EncryptionAlgorithm::CkmAesKeyWrapPad, 0),
        };
        match encrypts {
            true => Some(algorithm.ciphertext_lens(len)?.end() + overhead),
            false => {
                let fitting = algorithm.plaintext_lens(len.checked_sub(overhead)?)?;
                match self {
                    // With room for the padding, as other modules tell it.
                    Self::CbcPad => Some(len),
                    _ => Some(*fitting.end()),
                }
            }
        }
    }
}

impl Aes {
    fn new(mode: AesMode, given: &MechanismIn<'_>, of: Use) -> Result<Self, Error> {
        let plain = |iv: &[u8]| Self {
            mode,
            iv: iv.to_vec(),
            aad: Vec::new(),
            iv_place: None,
        };
        match mode {
            AesMode::Cbc | AesMode::CbcPad => match given.parameter()? {
                iv if iv.len() == BLOCK => Ok(plain(iv)),
                _ => Err(parameter_invalid(
                    "AES-CBC has an initialisation vector of 16 bytes as its parameter",
                )),
            },
            AesMode::Wrap | AesMode::WrapPad => match given.parameter()? {
                iv if iv.is_empty() || iv == mode.of_hsm().fixed_iv() => Ok(plain(&[])),
                _ => Err(parameter_invalid(
                    "the HSM wraps with the usual initial value only: pass no parameter",
                )),
            },
            AesMode::Gcm | AesMode::GcmWithIv => Self::gcm(mode, given, of),
        }
    }

    /// The HSM makes the initialisation vector. Whoever encrypts passes a place for it, which holds
    /// zeros; or has it before the ciphertext, and passes none.
    fn gcm(mode: AesMode, given: &MechanismIn<'_>, of: Use) -> Result<Self, Error> {
        let given = given.gcm()?;
        if given.tag_bits != 8 * GCM_TAG_LEN as CK_ULONG {
            return Err(parameter_invalid(GCM_TAGS));
        }
        let problem = match (mode, of.encrypts()) {
            (AesMode::GcmWithIv, _) => (!given.iv.is_empty()).then_some(
                "the initialisation vector precedes the ciphertext: set pIv to NULL and ulIvLen to 0",
            ),
            (_, true) => (given.iv != [0; GCM_IV_LEN]).then_some(
                "the HSM makes the initialisation vector: pass 12 zero bytes, which it then replaces",
            ),
            (_, false) => (given.iv.len() != GCM_IV_LEN).then_some(GCM_IVS),
        };
        if let Some(problem) = problem {
            return Err(parameter_invalid(problem));
        }
        message::check_aad(given.aad, CKR_MECHANISM_PARAM_INVALID)?;
        let is_place = mode == AesMode::Gcm && of.encrypts();
        let iv_place = is_place.then(|| given.place_of_iv()).transpose()?;
        Ok(Self {
            mode,
            iv: given.iv.to_vec(),
            aad: given.aad.to_vec(),
            iv_place,
        })
    }

    fn encrypt(
        &self,
        token: &Token,
        key: &StoredKey,
        of: Use,
        plaintext: &[u8],
    ) -> Result<Vec<u8>, Error> {
        if self.mode.of_hsm() == Mode::Gcm {
            self.iv_place.as_ref().map(Later::check).transpose()?;
            let sealed = seal(token, key, of, &self.aad, plaintext)?;
            if let Some(place) = &self.iv_place {
                place.put(&sealed.iv)?;
            }
            return Ok(match self.mode {
                AesMode::GcmWithIv => [sealed.iv, sealed.ciphertext, sealed.tag].concat(),
                _ => [sealed.ciphertext, sealed.tag].concat(),
            });
        }
        let parameters = self.parameters(&self.iv);
        let encrypted = encrypt(token, key, of, self.mode, &parameters, plaintext)?;
        Ok(encrypted.ciphertext)
    }

    fn decrypt(
        &self,
        token: &Token,
        key: &StoredKey,
        of: Use,
        ciphertext: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, Error> {
        let (iv, ciphertext, tag) = match self.mode {
            AesMode::Gcm => {
                let (ciphertext, tag) = ciphertext.split_at(ciphertext.len() - GCM_TAG_LEN);
                (&self.iv[..], ciphertext, Some(tag))
            }
            AesMode::GcmWithIv => {
                let (iv, rest) = ciphertext.split_at(GCM_IV_LEN);
                let (ciphertext, tag) = rest.split_at(rest.len() - GCM_TAG_LEN);
                (iv, ciphertext, Some(tag))
            }
            _ => (&self.iv[..], ciphertext, None),
        };
        let parameters = Parameters {
            tag,
            ..self.parameters(iv)
        };
        by_size(
            token,
            key,
            self.mode.of_hsm(),
            of.purpose(),
            |client, key, cipher| cipher.decrypt(client, key, &parameters, ciphertext),
        )
    }

    fn parameters<'a>(&'a self, iv: &'a [u8]) -> Parameters<'a> {
        Parameters {
            padding: self.mode == AesMode::CbcPad,
            iv: Some(iv),
            aad: &self.aad,
            tag: None,
        }
    }
}

/// What AES-GCM makes of a message.
pub(crate) struct Sealed {
    pub(crate) iv: Vec<u8>,
    pub(crate) ciphertext: Vec<u8>,
    pub(crate) tag: Vec<u8>,
}

/// Encrypts by AES-GCM with an initialisation vector of the HSM's.
pub(crate) fn seal(
    token: &Token,
    key: &StoredKey,
    of: Use,
    aad: &[u8],
    plaintext: &[u8],
) -> Result<Sealed, Error> {
    let parameters = Parameters {
        padding: false,
        iv: None,
        aad,
        tag: None,
    };
    let encrypted = encrypt(token, key, of, AesMode::Gcm, &parameters, plaintext)?;
    match (encrypted.iv, encrypted.tag) {
        (Some(iv), Some(tag)) => Ok(Sealed {
            iv,
            ciphertext: encrypted.ciphertext,
            tag,
        }),
        // The client takes no answer without them.
        _ => Err(Error::code(CKR_DEVICE_ERROR)),
    }
}

/// Decrypts by AES-GCM.
pub(crate) fn open(
    token: &Token,
    key: &StoredKey,
    parameters: &Parameters<'_>,
    ciphertext: &[u8],
) -> Result<Zeroizing<Vec<u8>>, Error> {
    by_size(
        token,
        key,
        Mode::Gcm,
        Purpose::Decrypt,
        |client, key, cipher| cipher.decrypt(client, key, parameters, ciphertext),
    )
}

fn encrypt(
    token: &Token,
    key: &StoredKey,
    of: Use,
    mode: AesMode,
    parameters: &Parameters<'_>,
    plaintext: &[u8],
) -> Result<Encrypted, Error> {
    by_size(
        token,
        key,
        mode.of_hsm(),
        of.purpose(),
        |client, key, cipher| cipher.encrypt(client, key, parameters, plaintext),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outputs_are_as_long_as_the_mode_makes_them() {
        use AesMode::{Cbc, CbcPad, Gcm, GcmWithIv, Wrap, WrapPad};
        for (mode, input, output) in [
            (Cbc, 0, Some(0)),
            (Cbc, 32, Some(32)),
            (Cbc, 33, None),
            (CbcPad, 0, Some(16)),
            (CbcPad, 15, Some(16)),
            (CbcPad, 16, Some(32)),
            (Gcm, 0, Some(16)),
            (Gcm, 5, Some(21)),
            (GcmWithIv, 5, Some(33)),
            (Wrap, 8, None),
            (Wrap, 16, Some(24)),
            (Wrap, 20, None),
            (WrapPad, 0, None),
            (WrapPad, 1, Some(16)),
            (WrapPad, 8, Some(16)),
            (WrapPad, 9, Some(24)),
        ] {
            assert_eq!(mode.output_len(true, input), output, "{mode:?} {input}");
            // What was encrypted can be decrypted, into no less room.
            if let Some(output) = output.filter(|len| *len > 0) {
                let room = mode.output_len(false, output);
                assert!(room.is_some_and(|room| room >= input), "{mode:?} {input}");
            }
        }
        for (mode, ciphertext) in [
            (Cbc, 17),
            (CbcPad, 0),
            (CbcPad, 17),
            (Gcm, 15),
            (GcmWithIv, 27),
            (Wrap, 16),
            (Wrap, 25),
            (WrapPad, 8),
            (WrapPad, 17),
        ] {
            assert_eq!(mode.output_len(false, ciphertext), None, "{mode:?}");
        }
    }
}
