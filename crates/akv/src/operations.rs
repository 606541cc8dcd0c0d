//! `akv sign`, `verify` and `decrypt`.

use std::path::{Path, PathBuf};

use clap::Args;
use hsm_keys::{Check, PublicKey, der};
use managed_hsm::{Decryption, EncryptionAlgorithm, Key, KeyUri, SignatureAlgorithm};
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::files::{self, Out, SecretOut};
use crate::output::Report;
use crate::progress::Spinner;
use crate::session::Session;
use crate::signing::{
    Context, Hexadecimal, digest, encryption_algorithm, hasher, hexadecimal, scheme,
    signature_algorithm,
};

#[derive(Args)]
#[command(after_help = "Examples:
  akv sign managedhsm:MyHSM:doc contract.pdf --algorithm PS256 --out contract.sig
  akv sign managedhsm:MyHSM:web contract.pdf      # base64, for a terminal")]
pub(crate) struct Sign {
    /// The key
    uri: KeyUri,
    /// File to sign; - is standard input. It is hashed here, and only the digest goes to the HSM
    file: PathBuf,
    /// RS256, PS384, ES512, ML-DSA-65 and so on [default: RS256, or what belongs to the curve or
    /// key]
    #[arg(long, value_name = "NAME", value_parser = signature_algorithm)]
    algorithm: Option<SignatureAlgorithm>,
    /// Give an ECDSA signature as r and s one after the other (JSON Web Signature) instead of DER
    /// (OpenSSL, X.509)
    #[arg(long)]
    raw: bool,
    #[command(flatten)]
    context: Context,
    #[command(flatten)]
    out: Out,
}

#[derive(Args)]
#[command(
    after_help = "Example:\n  akv verify managedhsm:MyHSM:doc contract.pdf --algorithm PS256 --signature contract.sig"
)]
pub(crate) struct Verify {
    /// The key
    uri: KeyUri,
    /// File that was signed; - is standard input
    file: PathBuf,
    /// File with the signature; - is standard input
    #[arg(long, value_name = "FILE")]
    signature: PathBuf,
    /// RS256, PS384, ES512, ML-DSA-65 and so on [default: RS256, or what belongs to the curve or
    /// key]
    #[arg(long, value_name = "NAME", value_parser = signature_algorithm)]
    algorithm: Option<SignatureAlgorithm>,
    /// An ECDSA signature is r and s one after the other instead of DER
    #[arg(long)]
    raw: bool,
    #[command(flatten)]
    context: Context,
}

#[derive(Args)]
#[command(after_help = "Examples:
  akv decrypt managedhsm:MyHSM:doc message.bin --out message.txt
  akv decrypt managedhsm:MyHSM:aes message.bin --algorithm A256GCM --iv <HEX> --tag <HEX> --out message.txt")]
pub(crate) struct Decrypt {
    /// The key
    uri: KeyUri,
    /// File to decrypt; - is standard input
    file: PathBuf,
    /// RSA-OAEP-256, RSA-OAEP, RSA1_5, A256GCM, A256CBCPAD and so on [default: RSA-OAEP-256 for RSA
    /// keys]
    #[arg(long, value_name = "NAME", value_parser = encryption_algorithm)]
    algorithm: Option<EncryptionAlgorithm>,
    /// Initialisation vector of AES, hexadecimal
    #[arg(long, value_name = "HEX", value_parser = hexadecimal)]
    iv: Option<Hexadecimal>,
    /// Data that AES-GCM authenticated and did not encrypt, hexadecimal
    #[arg(long, value_name = "HEX", value_parser = hexadecimal)]
    aad: Option<Hexadecimal>,
    /// Authentication tag of AES-GCM, hexadecimal
    #[arg(long, value_name = "HEX", value_parser = hexadecimal)]
    tag: Option<Hexadecimal>,
    #[command(flatten)]
    out: SecretOut,
}

/// The key, the algorithm: what every report of an operation begins with.
pub(crate) fn about(key: &Key, algorithm: impl std::fmt::Display) -> Value {
    json!({ "key": key.id.to_string(), "kid": key.kid, "algorithm": algorithm.to_string() })
}

pub(crate) fn unable(key: &Key, public: &PublicKey, operation: &str) -> Failure {
    Failure::told(format!(
        "{} can't {operation}: its type is {}",
        key.id,
        public.kind()
    ))
}

impl Sign {
    pub(crate) fn run(&self) -> Result<Report, Failure> {
        let _spinner = Spinner::start("signing");
        let session = Session::start()?;
        let key = session.client.get_key(&self.uri)?;
        let own = hsm_keys::Key::from(key.clone());
        let algorithm = self.algorithm.or_else(|| own.public.usual_signature());
        let algorithm = algorithm.ok_or_else(|| unable(&key, &own.public, "sign"))?;
        // What the key can't do is told before anything is read, and before the HSM is asked.
        let scheme = scheme(&key.id, &own.public, algorithm)?;
        let hasher = hasher(&scheme, &own.public, self.context.bytes())?;
        let digest = digest(hasher, &mut files::open(&self.file)?)
            .map_err(|error| Failure::read(&self.file, error))?;
        let client = &session.client;
        let signature = hsm_keys::sign(client, &own, &scheme, &digest, Check::Signature)?;
        let signature = match self.raw {
            true => signature.into_raw(),
            false => signature.into_der(),
        };
        let about = about(&key, algorithm);
        files::deliver(&signature, "signature", &self.out, about)
    }
}

impl Verify {
    /// The report is bad if the signature is not the key's.
    pub(crate) fn run(&self) -> Result<Report, Failure> {
        let _spinner = Spinner::start("verifying");
        let session = Session::start()?;
        let key = session.client.get_key(&self.uri)?;
        let public = PublicKey::from(key.public.clone());
        let algorithm = self.algorithm.or_else(|| public.usual_signature());
        let algorithm = algorithm.ok_or_else(|| unable(&key, &public, "verify"))?;
        let scheme = scheme(&key.id, &public, algorithm)?;
        let hasher = hasher(&scheme, &public, self.context.bytes())?;
        if self.signature == self.file && self.file == Path::new("-") {
            return Err(Failure::usage(
                "the file and its signature can't both be standard input",
            ));
        }
        let signature = files::read(&self.signature)?;
        let digest = digest(hasher, &mut files::open(&self.file)?)
            .map_err(|error| Failure::read(&self.file, error))?;
        let is_valid = match self.raw {
            true => hsm_keys::verify_raw(&public, &scheme, &digest, &signature)?,
            false => hsm_keys::verify(&public, &scheme, &digest, &signature)?,
        };
        let looks_raw = match &public {
            PublicKey::Ec(ec) if !self.raw => {
                der::parse_ecdsa_signature(&signature, ec.curve.coordinate_len).is_none()
            }
            _ => false,
        };
        let mut about = about(&key, algorithm);
        about["valid"] = is_valid.into();
        let text = match (is_valid, looks_raw) {
            (true, _) => format!("the signature is valid: {algorithm} by {}\n", key.id),
            (false, false) => {
                format!("the signature is NOT valid: {algorithm} by {}\n", key.id)
            }
            (false, true) => {
                "the signature is NOT valid: it is not DER; if it is r and s, give --raw\n"
                    .to_owned()
            }
        };
        let mut report = Report::new(text, about);
        report.is_good = is_valid;
        Ok(report)
    }
}

impl Decrypt {
    pub(crate) fn run(&self) -> Result<Report, Failure> {
        let _spinner = Spinner::start("decrypting");
        let ciphertext = files::read(&self.file)?;
        let session = Session::start()?;
        let key = session.client.get_key(&self.uri)?;
        let public = PublicKey::from(key.public.clone());
        let algorithm = match (self.algorithm, &public) {
            (Some(algorithm), _) => algorithm,
            (None, PublicKey::Rsa(_)) => EncryptionAlgorithm::RsaOaep256,
            (None, PublicKey::Aes) => {
                return Err(Failure::usage(format!(
                    "{} is a symmetric key: name the --algorithm, such as A256GCM",
                    key.id
                )));
            }
            (None, PublicKey::Ec(_) | PublicKey::MlDsa(_)) => {
                return Err(unable(&key, &public, "decrypt"));
            }
        };
        fn bytes(option: &Option<Hexadecimal>) -> Option<&[u8]> {
            option.as_ref().map(|bytes| bytes.0.as_slice())
        }
        let decryption = Decryption {
            algorithm,
            iv: bytes(&self.iv),
            aad: bytes(&self.aad),
            tag: bytes(&self.tag),
        };
        let plaintext = session.client.decrypt(&key.id, &decryption, &ciphertext)?;
        files::deliver_secret(&plaintext, &self.out, about(&key, algorithm))
    }
}
