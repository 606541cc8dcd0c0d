//! `akv wrap` and `unwrap`.

use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use clap::Args;
use hsm_keys::{PublicKey, RsaEncryption};
use managed_hsm::{EncryptionAlgorithm, Key, KeyOperation, KeyUri, SecureWrapAlgorithm};

use crate::encryption::by_public_key;
use crate::failure::Failure;
use crate::files::{self, Out, SecretOut};
use crate::operations::{about, unable};
use crate::output::{Report, one_line};
use crate::progress::Spinner;
use crate::session::Session;
use crate::signing::encryption_algorithm;

#[derive(Args)]
#[command(after_help = "Examples:
  akv wrap managedhsm:MyHSM:aes data.key --out data.key.wrapped
  akv wrap --secure managedhsm:MyHSM:attested --out secure.key.wrapped")]
pub(crate) struct Wrap {
    /// The key that wraps
    uri: KeyUri,
    /// File with the symmetric key to wrap; - is standard input
    #[arg(required_unless_present = "secure", conflicts_with = "secure")]
    file: Option<PathBuf>,
    /// Have the HSM make an AES key of 256 bits, which only attested environments can have
    /// unwrapped
    #[arg(long)]
    secure: bool,
    /// RSA-OAEP-256, A256KW, CKM_AES_KEY_WRAP_PAD and so on [default: RSA-OAEP-256, or
    /// CKM_AES_KEY_WRAP_PAD for AES keys]
    #[arg(long, value_name = "NAME")]
    algorithm: Option<String>,
    #[command(flatten)]
    out: Out,
}

#[derive(Args)]
#[command(
    after_help = "Example:\n  akv unwrap managedhsm:MyHSM:aes data.key.wrapped --out data.key"
)]
pub(crate) struct Unwrap {
    /// The key that unwraps
    uri: KeyUri,
    /// File with the wrapped key; - is standard input
    file: PathBuf,
    /// It was wrapped with --secure, and is for the environment of the --attestation. What is
    /// written is what the service gives, which is encrypted to the environment
    #[arg(long, requires = "attestation")]
    secure: bool,
    /// File with the token that attests the environment; - is standard input
    #[arg(long, value_name = "FILE", requires = "secure")]
    attestation: Option<PathBuf>,
    /// RSA-OAEP-256, A256KW, CKM_AES_KEY_WRAP_PAD and so on [default: RSA-OAEP-256, or
    /// CKM_AES_KEY_WRAP_PAD for AES keys]
    #[arg(long, value_name = "NAME")]
    algorithm: Option<String>,
    #[command(flatten)]
    out: SecretOut,
}

/// What the option --algorithm names. Secure wrap has other algorithms than wrap.
fn named<T>(
    option: Option<&String>,
    parse: impl Fn(&str) -> Result<T, String>,
) -> Result<Option<T>, Failure> {
    let told = |name: &str, problem| {
        Failure::usage(format!("--algorithm '{}': {problem}", one_line(name)))
    };
    let parsed = option.map(|name| parse(name).map_err(|problem| told(name, problem)));
    parsed.transpose()
}

/// The usual algorithm of secure wrap for a key, unless another is named.
fn secure_algorithm(
    named: Option<SecureWrapAlgorithm>,
    key: &Key,
    operation: &str,
) -> Result<SecureWrapAlgorithm, Failure> {
    match (named, PublicKey::from(key.public.clone())) {
        (Some(algorithm), _) => Ok(algorithm),
        (None, PublicKey::Rsa(_)) => Ok(SecureWrapAlgorithm::RsaOaep256),
        (None, PublicKey::Aes) => Ok(SecureWrapAlgorithm::CkmAesKeyWrapPad),
        (None, public @ (PublicKey::Ec(_) | PublicKey::MlDsa(_))) => {
            Err(unable(key, &public, operation))
        }
    }
}

/// The usual algorithm of wrap for a key, unless another is named.
fn algorithm(
    named: Option<EncryptionAlgorithm>,
    key: &Key,
    operation: &str,
) -> Result<EncryptionAlgorithm, Failure> {
    let public = PublicKey::from(key.public.clone());
    let algorithm = named.or_else(|| public.usual_wrapping());
    algorithm.ok_or_else(|| unable(key, &public, operation))
}

impl Wrap {
    pub(crate) fn run(&self) -> Result<Report, Failure> {
        let _spinner = Spinner::start("wrapping");
        match &self.file {
            Some(file) => self.wrap(file),
            None => self.make_and_wrap(),
        }
    }

    fn wrap(&self, file: &Path) -> Result<Report, Failure> {
        let named = named(self.algorithm.as_ref(), encryption_algorithm)?;
        let plain = files::read(file)?;
        if plain.is_empty() {
            return Err(Failure::told("there is nothing to wrap: the key is empty"));
        }
        let session = Session::start()?;
        let key = session.client.get_key(&self.uri)?;
        let algorithm = algorithm(named, &key, "wrap keys")?;
        let wrapped = match RsaEncryption::of(algorithm) {
            // Nothing of it leaves the machine.
            Some(way) => by_public_key(&key, way, KeyOperation::UnwrapKey, &plain)?,
            None => session.client.wrap_key(&key.id, algorithm, &plain)?,
        };
        let about = about(&key, algorithm);
        files::deliver(&wrapped, "wrapped", &self.out, about)
    }

    fn make_and_wrap(&self) -> Result<Report, Failure> {
        let named = named(self.algorithm.as_ref(), str::parse)?;
        let session = Session::start()?;
        let key = session.client.get_key(&self.uri)?;
        let algorithm = secure_algorithm(named, &key, "wrap keys")?;
        let wrapped = session.client.secure_wrap_key(&key.id, algorithm)?;
        let about = about(&key, algorithm);
        files::deliver(&wrapped, "wrapped", &self.out, about)
    }
}

impl Unwrap {
    pub(crate) fn run(&self) -> Result<Report, Failure> {
        let _spinner = Spinner::start("unwrapping");
        match &self.attestation {
            None => self.unwrap(),
            Some(attestation) => self.unwrap_for_environment(attestation),
        }
    }

    fn unwrap(&self) -> Result<Report, Failure> {
        let named = named(self.algorithm.as_ref(), encryption_algorithm)?;
        let wrapped = files::read(&self.file)?;
        let session = Session::start()?;
        let key = session.client.get_key(&self.uri)?;
        let algorithm = algorithm(named, &key, "unwrap keys")?;
        let plain = session.client.unwrap_key(&key.id, algorithm, &wrapped)?;
        files::deliver_secret(&plain, &self.out, about(&key, algorithm))
    }

    fn unwrap_for_environment(&self, attestation: &Path) -> Result<Report, Failure> {
        if attestation == self.file && attestation == Path::new("-") {
            return Err(Failure::usage(
                "the wrapped key and the attestation can't both be standard input",
            ));
        }
        let named = named(self.algorithm.as_ref(), str::parse)?;
        let target = token(attestation)?;
        let wrapped = files::read(&self.file)?;
        let session = Session::start()?;
        let key = session.client.get_key(&self.uri)?;
        let algorithm = secure_algorithm(named, &key, "unwrap keys")?;
        let client = &session.client;
        let given = client.secure_unwrap_key(&key.id, algorithm, &wrapped, &target)?;
        files::deliver_secret(&given, &self.out, about(&key, algorithm))
    }
}

/// The token in a file, which may end with a line's end.
pub(crate) fn token(path: &Path) -> Result<String, Failure> {
    let contents = files::read_text(path)?;
    let text = std::str::from_utf8(&contents).unwrap_or_default().trim();
    match is_token(text) {
        true => Ok(text.to_owned()),
        false => Err(Failure::told(format!(
            "{} holds no attestation: a token of an attestation service is three parts of base64url \
             with dots between them",
            path.display()
        ))),
    }
}

/// Whether a text has the form of a signed token: three parts of base64url with dots between them
/// (RFC 7515, section 7.1).
pub(crate) fn is_token(text: &str) -> bool {
    let is_part = |part: &str| {
        let decoded = URL_SAFE_NO_PAD.decode(part);
        decoded.is_ok_and(|bytes| !bytes.is_empty())
    };
    text.split('.').count() == 3 && text.split('.').all(is_part)
}
