//! Keys in Azure Managed HSM and Key Vault, and what is done with them: all that a front end or a
//! command needs beside the client, which asks the service.
//!
//! A [`Key`] is what the client has loaded, in a form to work with. [`sign`] has the HSM make a
//! signature by a [`Scheme`], and checks it; [`verify`] checks one here, with the public key alone.
//! [`encrypt`], [`decrypt`], [`wrap`] and [`unwrap`] do likewise with secrets, and [`aes`] has the
//! modes of AES. Nothing here knows which front end calls it.

#![forbid(unsafe_code)]

pub mod aes;
mod curve;
pub mod der;
mod digest;
pub mod digest_info;
mod encryption;
mod error;
mod key;
pub mod key_file;
pub mod known_answers;
mod ml_dsa;
mod once;
pub mod pem;
mod pss;
mod public_key;
mod rsa;
mod scalar;
mod scheme;
mod signing;
#[cfg(test)]
mod testdata;
mod verification;
mod wrapping;

pub use curve::EcCurve;
pub use digest::{DIGESTS, Digest, Hash, Hasher};
pub use encryption::{RsaEncryption, decrypt, encrypt, unwrap_by_rsa};
pub use error::Error;
pub use key::{HsmKey, Key};
pub use ml_dsa::{MAX_CONTEXT_LEN, MU_LEN, MlDsaPublicKey, given_mu};
pub use once::once;
pub use public_key::{EcPublicKey, KeyType, PublicKey, PublicKeyError};
pub use rsa::RsaPublicKey;
pub use scalar::EcPair;
pub use scheme::{SaltLen, Scheme};
pub use signing::{Check, RawSignature, sign};
pub use verification::{recover, verify, verify_raw};
pub use wrapping::{unwrap, wrap};
