//! One operation with a key, done again and again: to measure it, or to show that it can be done.

use clap::ValueEnum;
use hsm_keys::{Check, PublicKey, RsaEncryption, Scheme};
use managed_hsm::{
    Client, Decryption, Encrypted, Encryption, EncryptionAlgorithm, Error, Key, KeyId,
    KeyOperation, MacAlgorithm, SignatureAlgorithm,
};

use crate::failure::Failure;
use crate::signing::{self, digest, hasher};

/// What is done with a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Operation {
    /// Load the key's public part
    Get,
    /// Hash the data here, and have the HSM sign the digest; with HS256 the HSM gets the data
    Sign,
    /// Encrypt the data
    Encrypt,
    /// Encrypt the data once, and decrypt it again and again
    Decrypt,
    /// Wrap the data, as if it were a key
    Wrap,
    /// Wrap the data once, and unwrap it again and again
    Unwrap,
    /// Have the HSM make random bytes, as many as there are data
    Random,
}

/// An algorithm by its name in JSON Web Algorithms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Algorithm {
    Signature(SignatureAlgorithm),
    Mac(MacAlgorithm),
    Encryption(EncryptionAlgorithm),
}

impl Algorithm {
    fn jwa_name(self) -> &'static str {
        match self {
            Self::Signature(algorithm) => algorithm.jwa_name(),
            Self::Mac(algorithm) => algorithm.jwa_name(),
            Self::Encryption(algorithm) => algorithm.jwa_name(),
        }
    }
}

/// An algorithm of any kind by its name, in any case.
pub(crate) fn algorithm(name: &str) -> Result<Algorithm, String> {
    let macs = MacAlgorithm::ALL.into_iter().map(Algorithm::Mac);
    let encryption = EncryptionAlgorithm::ALL.into_iter();
    let all = signing::signature_algorithms()
        .map(Algorithm::Signature)
        .chain(macs)
        .chain(encryption.map(Algorithm::Encryption));
    signing::by_name(all, Algorithm::jwa_name, name)
}

/// An operation that can be done again and again.
pub(crate) struct Work {
    key: Key,
    own: hsm_keys::Key,
    task: Task,
    data: Vec<u8>,
}

enum Task {
    Get,
    Sign(SignatureAlgorithm),
    Mac(MacAlgorithm),
    Encrypt(EncryptionAlgorithm),
    Decrypt(EncryptionAlgorithm, Encrypted),
    Wrap(EncryptionAlgorithm),
    Unwrap(EncryptionAlgorithm, Vec<u8>),
    Random,
}

/// Why an operation can't be shown to work.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Trouble {
    /// The service refuses it, or can't be asked.
    #[error(transparent)]
    Refused(#[from] Error),
    /// What came of it is wrong.
    #[error("{0}")]
    Wrong(String),
}

impl From<hsm_keys::Error> for Trouble {
    fn from(error: hsm_keys::Error) -> Self {
        match error {
            hsm_keys::Error::Client(error) => Self::Refused(error),
            error => Self::Wrong(error.to_string()),
        }
    }
}

impl From<Trouble> for Failure {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Refused(error) => Self::Hsm(error),
            Trouble::Wrong(problem) => Self::Told(problem),
        }
    }
}

impl Operation {
    /// Its name on the command line, and as a step of the doctor's.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Sign => "sign",
            Self::Encrypt => "encrypt",
            Self::Decrypt => "decrypt",
            Self::Wrap => "wrap",
            Self::Unwrap => "unwrap",
            Self::Random => "random",
        }
    }

    /// What keys of a type are usually used for.
    pub(crate) fn usual(public: &PublicKey) -> Self {
        match public.usual_signature() {
            Some(_) => Self::Sign,
            None => Self::Wrap,
        }
    }

    /// What the key has to permit for it.
    pub(crate) fn permission(self) -> Option<KeyOperation> {
        match self {
            Self::Get | Self::Random => None,
            Self::Sign => Some(KeyOperation::Sign),
            Self::Encrypt => Some(KeyOperation::Encrypt),
            Self::Decrypt => Some(KeyOperation::Decrypt),
            Self::Wrap => Some(KeyOperation::WrapKey),
            Self::Unwrap => Some(KeyOperation::UnwrapKey),
        }
    }
}

impl Work {
    /// Prepares an operation with so many bytes of data, by the algorithm that is usual for the key
    /// or by another. What is to be decrypted or unwrapped is encrypted first: here, if the key is
    /// RSA.
    pub(crate) fn prepare(
        client: &Client,
        key: Key,
        operation: Operation,
        algorithm: Option<Algorithm>,
        bytes: usize,
    ) -> Result<Self, Trouble> {
        let own = hsm_keys::Key::from(key.clone());
        let data = vec![0; bytes];
        let task = task(client, &own, &key.id, operation, algorithm, &data)?;
        Ok(Self {
            key,
            own,
            task,
            data,
        })
    }

    pub(crate) fn name(&self) -> String {
        match &self.task {
            Task::Get => "get".to_owned(),
            Task::Sign(algorithm) => format!("sign {algorithm}"),
            Task::Mac(algorithm) => format!("sign {}", algorithm.jwa_name()),
            Task::Encrypt(algorithm) => format!("encrypt {algorithm}"),
            Task::Decrypt(algorithm, _) => format!("decrypt {algorithm}"),
            Task::Wrap(algorithm) => format!("wrap {algorithm}"),
            Task::Unwrap(algorithm, _) => format!("unwrap {algorithm}"),
            Task::Random => "random".to_owned(),
        }
    }

    /// Does it once. The result is not looked at.
    pub(crate) fn once(&self, client: &Client) -> Result<(), Trouble> {
        let (id, data) = (&self.key.id, &self.data);
        match &self.task {
            Task::Get => drop(client.get_key(&id.clone().into())?),
            Task::Sign(algorithm) => {
                let digest = self.digest(*algorithm)?;
                drop(client.sign(id, *algorithm, &digest)?);
            }
            Task::Mac(algorithm) => drop(client.mac(id, *algorithm, data)?),
            Task::Encrypt(algorithm) => drop(encrypted(client, id, *algorithm, data)?),
            Task::Decrypt(algorithm, encrypted) => {
                drop(decrypted(client, id, *algorithm, encrypted)?);
            }
            Task::Wrap(algorithm) => drop(client.wrap_key(id, *algorithm, data)?),
            Task::Unwrap(algorithm, wrapped) => drop(client.unwrap_key(id, *algorithm, wrapped)?),
            Task::Random => drop(client.random_bytes(&id.vault, data.len())?),
        }
        Ok(())
    }

    /// Does it once, and checks the result as far as that can be done without a further
    /// permission. Returns what was shown.
    pub(crate) fn proven(&self, client: &Client) -> Result<String, Trouble> {
        let id = &self.key.id;
        let is_same = |plain: &[u8]| match plain == self.data {
            true => Ok(()),
            false => Err(Trouble::Wrong(
                "what came back is not what was encrypted".to_owned(),
            )),
        };
        match &self.task {
            Task::Sign(algorithm) => {
                let (scheme, digest) = (Scheme::of(*algorithm), self.digest(*algorithm)?);
                hsm_keys::sign(client, &self.own, &scheme, &digest, Check::Signature)?;
                Ok(format!("{algorithm} gives a signature that verifies"))
            }
            Task::Decrypt(algorithm, encrypted) => {
                is_same(&decrypted(client, id, *algorithm, encrypted)?)?;
                Ok(format!("{algorithm} decrypts what was encrypted"))
            }
            Task::Unwrap(algorithm, wrapped) => {
                is_same(&client.unwrap_key(id, *algorithm, wrapped)?)?;
                Ok(format!("{algorithm} unwraps what was wrapped"))
            }
            Task::Wrap(algorithm) => self.once(client).map(|()| format!("{algorithm} wraps")),
            Task::Encrypt(algorithm) => self.once(client).map(|()| format!("{algorithm} encrypts")),
            _ => self.once(client).map(|()| format!("{} works", self.name())),
        }
    }

    fn digest(&self, algorithm: SignatureAlgorithm) -> Result<Box<[u8]>, Trouble> {
        let data = &mut self.data.as_slice();
        hasher(&Scheme::of(algorithm), &self.own.public, None)
            .and_then(|hasher| Ok(digest(hasher, data)?))
            .map_err(|error| Trouble::Wrong(error.to_string()))
    }
}

fn task(
    client: &Client,
    own: &hsm_keys::Key,
    id: &KeyId,
    operation: Operation,
    algorithm: Option<Algorithm>,
    data: &[u8],
) -> Result<Task, Trouble> {
    let public = &own.public;
    let unfit = || {
        let (operation, kind) = (operation.name(), public.kind());
        Trouble::Wrong(format!("{id} can't {operation} so: its type is {kind}"))
    };
    let encryption = |usual: &dyn Fn() -> Result<EncryptionAlgorithm, Trouble>| match algorithm {
        Some(Algorithm::Encryption(algorithm)) => Ok(algorithm),
        Some(_) => Err(unfit()),
        None => usual(),
    };
    let wrapping = || public.usual_wrapping().ok_or_else(unfit);
    Ok(match operation {
        Operation::Get => Task::Get,
        Operation::Random => Task::Random,
        Operation::Sign => match algorithm {
            Some(Algorithm::Mac(algorithm)) => Task::Mac(algorithm),
            Some(Algorithm::Encryption(_)) => return Err(unfit()),
            Some(Algorithm::Signature(algorithm)) => {
                let scheme = Scheme::of(algorithm).algorithm(public);
                let fits = scheme.is_ok_and(|found| found == algorithm);
                fits.then_some(Task::Sign(algorithm)).ok_or_else(unfit)?
            }
            None => Task::Sign(public.usual_signature().ok_or_else(unfit)?),
        },
        Operation::Encrypt => Task::Encrypt(encryption(&|| usual_encryption(client, own))?),
        Operation::Decrypt => {
            let algorithm = encryption(&|| usual_encryption(client, own))?;
            let encrypted = match by_public_key(public, algorithm, data)? {
                Some(ciphertext) => Encrypted {
                    ciphertext,
                    iv: None,
                    tag: None,
                },
                None => encrypted(client, id, algorithm, data)?,
            };
            Task::Decrypt(algorithm, encrypted)
        }
        Operation::Wrap => Task::Wrap(encryption(&wrapping)?),
        Operation::Unwrap => {
            let algorithm = encryption(&wrapping)?;
            let wrapped = match by_public_key(public, algorithm, data)? {
                Some(wrapped) => wrapped,
                None => client.wrap_key(id, algorithm, data)?,
            };
            Task::Unwrap(algorithm, wrapped)
        }
    })
}

/// What data are encrypted with unless something else is asked for: RSA-OAEP, or AES-GCM by a key
/// whose size the HSM knows.
fn usual_encryption(client: &Client, key: &hsm_keys::Key) -> Result<EncryptionAlgorithm, Trouble> {
    match &key.public {
        PublicKey::Rsa(_) => Ok(EncryptionAlgorithm::RsaOaep256),
        PublicKey::Aes => {
            let hsm = key.private(KeyOperation::Encrypt)?;
            let algorithm = hsm.by_size(client, None, |client, bits| {
                let algorithm = EncryptionAlgorithm::aes_gcm(bits);
                let algorithm = algorithm.ok_or(hsm_keys::Error::AesKeySize(bits))?;
                encrypted(client, &hsm.id, algorithm, &[0])?;
                Ok(algorithm)
            });
            Ok(algorithm?)
        }
        public => Err(Trouble::Wrong(format!(
            "a key of the type {} does not encrypt",
            public.kind()
        ))),
    }
}

/// Encrypts here, if that is how the algorithm encrypts.
fn by_public_key(
    public: &PublicKey,
    algorithm: EncryptionAlgorithm,
    data: &[u8],
) -> Result<Option<Vec<u8>>, Trouble> {
    let way = RsaEncryption::of(algorithm);
    let encrypted = way.map(|way| hsm_keys::encrypt(public, way, data));
    Ok(encrypted.transpose()?)
}

/// The initialisation vector that AES-CBC gets; AES-GCM has the HSM make one.
const CBC_IV: [u8; 16] = [0; 16];

fn encrypted(
    client: &Client,
    id: &KeyId,
    algorithm: EncryptionAlgorithm,
    data: &[u8],
) -> Result<Encrypted, Error> {
    let is_cbc = algorithm.jwa_name().contains("CBC");
    let encryption = Encryption {
        algorithm,
        iv: is_cbc.then_some(&CBC_IV),
        aad: None,
    };
    client.encrypt(id, &encryption, data)
}

fn decrypted(
    client: &Client,
    id: &KeyId,
    algorithm: EncryptionAlgorithm,
    encrypted: &Encrypted,
) -> Result<impl std::ops::Deref<Target = Vec<u8>>, Error> {
    let decryption = Decryption {
        algorithm,
        iv: encrypted.iv.as_deref(),
        aad: None,
        tag: encrypted.tag.as_deref(),
    };
    client.decrypt(id, &decryption, &encrypted.ciphertext)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn algorithms_of_all_kinds_are_known_by_name() {
        let mac = Algorithm::Mac(MacAlgorithm::Hs384);
        assert_eq!(algorithm("hs384"), Ok(mac));
        let signature = Algorithm::Signature(SignatureAlgorithm::Ps256);
        assert_eq!(algorithm("PS256"), Ok(signature));
        let encryption = Algorithm::Encryption(EncryptionAlgorithm::RsaOaep);
        assert_eq!(algorithm("RSA-OAEP"), Ok(encryption));
        let unknown = algorithm("DES").unwrap_err();
        for name in ["RS256", "HS512", "A256GCM"] {
            assert!(unknown.contains(name), "{unknown}");
        }
    }
}
