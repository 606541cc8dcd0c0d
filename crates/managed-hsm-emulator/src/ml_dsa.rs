//! Keys of ML-DSA (FIPS 204), by the crate `fips204`: OpenSSL has them since 3.5 only, and whoever
//! checks what is signed here has another library than this one.

use fips204::traits::{KeyGen, SerDes, Signer, Verifier};
use fips204::{CryptoRng, RngCore, RngError, ml_dsa_44, ml_dsa_65, ml_dsa_87};
use openssl::rand::rand_bytes;
use zeroize::Zeroizing;

use crate::keys::KeyError;

/// Bytes of a message representative.
pub(crate) const MU_BYTES: usize = 64;

/// The longest context string, in bytes.
pub(crate) const MAX_CONTEXT: usize = 255;

const SEED_BYTES: usize = 32;

/// A parameter set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ParameterSet {
    MlDsa44,
    MlDsa65,
    MlDsa87,
}

/// What is signed.
pub(crate) enum Signed<'a> {
    /// A message with its context string.
    Message {
        message: &'a [u8],
        context: &'a [u8],
    },
    /// The message representative of one, computed elsewhere.
    ExternalMu(&'a [u8; MU_BYTES]),
}

/// A key pair.
pub(crate) struct MlDsaKey {
    set: ParameterSet,
    seed: Zeroizing<[u8; SEED_BYTES]>,
    pair: Box<dyn Pair>,
}

/// What can be done with a key pair of any parameter set.
trait Pair: Send + Sync {
    fn public(&self) -> Vec<u8>;
    fn sign(&self, signed: &Signed<'_>) -> Result<Vec<u8>, &'static str>;
    fn verify(&self, signed: &Signed<'_>, signature: &[u8]) -> bool;
}

impl ParameterSet {
    const ALL: [Self; 3] = [Self::MlDsa44, Self::MlDsa65, Self::MlDsa87];

    /// The `alg` of JSON Web Keys.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::MlDsa44 => "ML-DSA-44",
            Self::MlDsa65 => "ML-DSA-65",
            Self::MlDsa87 => "ML-DSA-87",
        }
    }

    pub(crate) fn by_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|set| set.name() == name)
    }

    /// Its number in what is stored.
    fn number(self) -> u8 {
        match self {
            Self::MlDsa44 => 44,
            Self::MlDsa65 => 65,
            Self::MlDsa87 => 87,
        }
    }

    fn pair(self, seed: &[u8; SEED_BYTES]) -> Box<dyn Pair> {
        match self {
            Self::MlDsa44 => Box::new(ml_dsa_44::KG::keygen_from_seed(seed)),
            Self::MlDsa65 => Box::new(ml_dsa_65::KG::keygen_from_seed(seed)),
            Self::MlDsa87 => Box::new(ml_dsa_87::KG::keygen_from_seed(seed)),
        }
    }
}

impl MlDsaKey {
    /// A new key pair.
    pub(crate) fn generate(set: ParameterSet) -> Result<Self, KeyError> {
        let mut seed = Zeroizing::new([0; SEED_BYTES]);
        rand_bytes(&mut *seed)?;
        Ok(Self::from_seed(set, seed))
    }

    fn from_seed(set: ParameterSet, seed: Zeroizing<[u8; SEED_BYTES]>) -> Self {
        let pair = set.pair(&seed);
        Self { set, seed, pair }
    }

    /// Reads what [`Self::to_private_bytes`] wrote.
    pub(crate) fn from_private_bytes(bytes: &[u8]) -> Result<Self, KeyError> {
        let (number, seed) = bytes.split_first().ok_or(KeyError::Invalid)?;
        let mut sets = ParameterSet::ALL.into_iter();
        let set = sets.find(|set| set.number() == *number);
        let seed = seed.try_into().map_err(|_| KeyError::Invalid)?;
        Ok(Self::from_seed(
            set.ok_or(KeyError::Invalid)?,
            Zeroizing::new(seed),
        ))
    }

    /// The number of the parameter set, and the seed that the key pair is made from.
    pub(crate) fn to_private_bytes(&self) -> Zeroizing<Vec<u8>> {
        Zeroizing::new([&[self.set.number()], &self.seed[..]].concat())
    }

    pub(crate) fn set(&self) -> ParameterSet {
        self.set
    }

    /// The public key as FIPS 204 encodes it.
    pub(crate) fn public(&self) -> Vec<u8> {
        self.pair.public()
    }

    /// A signature, which is another each time.
    pub(crate) fn sign(&self, signed: &Signed<'_>) -> Result<Vec<u8>, KeyError> {
        self.pair.sign(signed).map_err(|_| KeyError::Invalid)
    }

    /// Whether `signature` is this key's.
    pub(crate) fn verify(&self, signed: &Signed<'_>, signature: &[u8]) -> bool {
        self.pair.verify(signed, signature)
    }
}

macro_rules! pairs {
    ($($set:ident),*) => {$(
        impl Pair for ($set::PublicKey, $set::PrivateKey) {
            fn public(&self) -> Vec<u8> {
                self.0.clone().into_bytes().to_vec()
            }

            fn sign(&self, signed: &Signed<'_>) -> Result<Vec<u8>, &'static str> {
                let signature = match signed {
                    Signed::Message { message, context } => {
                        self.1.try_sign_with_rng(&mut OpenSslRandom, message, context)?
                    }
                    #[expect(deprecated, reason = "the library has this for NIST's vectors only")]
                    Signed::ExternalMu(mu) => self.1.sign_mu(&mut OpenSslRandom, mu, true)?,
                };
                Ok(signature.to_vec())
            }

            fn verify(&self, signed: &Signed<'_>, signature: &[u8]) -> bool {
                let Ok(signature) = signature.try_into() else {
                    return false;
                };
                match signed {
                    Signed::Message { message, context } => {
                        self.0.verify(message, signature, context)
                    }
                    #[expect(deprecated, reason = "the library has this for NIST's vectors only")]
                    Signed::ExternalMu(mu) => self.0.verify_mu(mu, signature),
                }
            }
        }
    )*};
}

pairs!(ml_dsa_44, ml_dsa_65, ml_dsa_87);

/// OpenSSL's generator, in the form that the library takes.
struct OpenSslRandom;

impl CryptoRng for OpenSslRandom {}

impl RngCore for OpenSslRandom {
    fn next_u32(&mut self) -> u32 {
        let mut bytes = [0; 4];
        self.fill_bytes(&mut bytes);
        u32::from_ne_bytes(bytes)
    }

    fn next_u64(&mut self) -> u64 {
        let mut bytes = [0; 8];
        self.fill_bytes(&mut bytes);
        u64::from_ne_bytes(bytes)
    }

    fn fill_bytes(&mut self, out: &mut [u8]) {
        rand_bytes(out).expect("OpenSSL has random bytes");
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), RngError> {
        rand_bytes(out).map_err(|_| {
            let code = std::num::NonZeroU32::new(RngError::CUSTOM_START);
            code.expect("it is not zero").into()
        })
    }
}
