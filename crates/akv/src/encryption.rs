//! `akv encrypt` and `decrypt`.

use std::path::PathBuf;

use clap::Args;
use hsm_keys::{PublicKey, RsaEncryption};
use managed_hsm::{
    Decryption, Encrypted, Encryption, EncryptionAlgorithm, Key, KeyOperation, KeyUri,
};
use serde_json::Value;

use crate::failure::Failure;
use crate::files::{self, Out, SecretOut};
use crate::operations::{about, unable};
use crate::output::{OutputOptions, Report, lines};
use crate::progress::Spinner;
use crate::session::Session;
use crate::signing::{Hexadecimal, digits, encryption_algorithm, hexadecimal};
use crate::standard_output;

#[derive(Args)]
#[command(after_help = "Examples:
  akv encrypt managedhsm:MyHSM:doc message.txt --out message.bin
  akv encrypt managedhsm:MyHSM:aes message.txt --algorithm A256GCM \\
      --out message.bin")]
pub(crate) struct Encrypt {
    /// The key
    uri: KeyUri,
    /// File to encrypt; - is standard input
    file: PathBuf,
    /// RSA-OAEP-256, RSA-OAEP, RSA1_5, A256GCM, A256CBCPAD and so on [default: RSA-OAEP-256 for RSA
    /// keys]
    #[arg(long, value_name = "NAME", value_parser = encryption_algorithm)]
    algorithm: Option<EncryptionAlgorithm>,
    /// Initialisation vector of AES-CBC, 16 bytes, hexadecimal [default: random bytes]. For AES-GCM
    /// the HSM makes it
    #[arg(long, value_name = "HEX", value_parser = hexadecimal)]
    iv: Option<Hexadecimal>,
    /// Data that AES-GCM is to authenticate and not to encrypt, hexadecimal
    #[arg(long, value_name = "HEX", value_parser = hexadecimal)]
    aad: Option<Hexadecimal>,
    #[command(flatten)]
    out: Out,
}

#[derive(Args)]
#[command(after_help = "Examples:
  akv decrypt managedhsm:MyHSM:doc message.bin --out message.txt
  akv decrypt managedhsm:MyHSM:aes message.bin --algorithm A256GCM \\
      --iv <HEX> --tag <HEX> --out message.txt")]
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

/// The usual algorithm of a key, unless another is named.
fn algorithm(
    named: Option<EncryptionAlgorithm>,
    key: &Key,
    operation: &str,
) -> Result<EncryptionAlgorithm, Failure> {
    let public = PublicKey::from(key.public.clone());
    match (named, &public) {
        (Some(algorithm), _) => Ok(algorithm),
        (None, PublicKey::Rsa(_)) => Ok(EncryptionAlgorithm::RsaOaep256),
        (None, PublicKey::Aes) => Err(Failure::usage(format!(
            "{} is a symmetric key: name the --algorithm, such as A256GCM",
            key.id
        ))),
        (None, PublicKey::Ec(_) | PublicKey::MlDsa(_)) => Err(unable(key, &public, operation)),
    }
}

fn is_gcm(algorithm: EncryptionAlgorithm) -> bool {
    algorithm.jwa_name().contains("GCM")
}

/// Refuses what an algorithm would leave out.
fn refuse_unused(
    algorithm: EncryptionAlgorithm,
    iv: bool,
    aad: bool,
    tag: bool,
) -> Result<(), Failure> {
    let is_rsa = algorithm.jwa_name().starts_with("RSA");
    let unused = [
        ("--iv", iv && is_rsa),
        ("--aad", aad && !is_gcm(algorithm)),
        ("--tag", tag && !is_gcm(algorithm)),
    ];
    match unused.into_iter().find(|(_, is_unused)| *is_unused) {
        None => Ok(()),
        Some((option, _)) => Err(Failure::usage(format!("{option} is not for {algorithm}"))),
    }
}

fn bytes(option: Option<&Hexadecimal>) -> Option<&[u8]> {
    option.map(|bytes| bytes.0.as_slice())
}

/// Encrypts with the public key, here. `undone_by`: what the key has to be for, or nobody could
/// read it.
pub(crate) fn by_public_key(
    key: &Key,
    way: RsaEncryption,
    undone_by: KeyOperation,
    plaintext: &[u8],
) -> Result<Vec<u8>, Failure> {
    let of_hsm = hsm_keys::Key::from(key.clone());
    of_hsm.private(undone_by)?;
    Ok(hsm_keys::encrypt(&of_hsm.public, way, plaintext)?)
}

impl Encrypt {
    pub(crate) fn run(&self, output: &OutputOptions) -> Result<Report, Failure> {
        let _spinner = Spinner::start("encrypting");
        let plaintext = files::read(&self.file)?;
        let session = Session::start()?;
        let key = session.client.get_key(&self.uri)?;
        let algorithm = algorithm(self.algorithm, &key, "encrypt")?;
        let is_made = self.check(algorithm)?;
        let iv = self.iv(algorithm)?;
        let encryption = Encryption {
            algorithm,
            iv: bytes(iv.as_ref()),
            aad: bytes(self.aad.as_ref()),
        };
        let encrypted = match RsaEncryption::of(algorithm) {
            // Nothing of it leaves the machine.
            Some(way) => Encrypted {
                ciphertext: by_public_key(&key, way, KeyOperation::Decrypt, &plaintext)?,
                iv: None,
                tag: None,
            },
            None => session.client.encrypt(&key.id, &encryption, &plaintext)?,
        };
        let rows = self.needed(algorithm, &encrypted);
        let mut about = about(&key, algorithm);
        for (name, _, digits) in &rows {
            about[*name] = Value::from(digits.as_str());
        }
        // Before anything is written: without them nobody decrypts it.
        for (name, _, digits) in &rows {
            let is_known = *name == "aad" || (*name == "iv" && self.iv.is_some());
            if !is_known && !output.tells(&about, digits)? {
                return Err(Failure::usage(format!(
                    "nothing was encrypted: decryption will need the {name} that is made, and \
                     --output none or this --query would not print it"
                )));
            }
        }
        let (name, ciphertext) = ("ciphertext", encrypted.ciphertext);
        let mut report = match is_made {
            true => files::deliver_last(ciphertext, name, &self.out, about)?,
            false => files::deliver(&ciphertext, name, &self.out, about)?,
        };
        if !rows.is_empty() && report.contents.is_none() {
            let mut told: Vec<(&str, String)> = rows
                .iter()
                .map(|(_, name, digits)| (*name, digits.clone()))
                .collect();
            if !report.text.is_empty() {
                told.push(("Ciphertext", report.text.trim_end().to_owned()));
            }
            report.text = lines(&told);
        }
        Ok(report)
    }

    /// Refuses options that don't go together. Returns whether something is made that decryption
    /// needs and the caller doesn't know: it has to be told before the ciphertext is written.
    fn check(&self, algorithm: EncryptionAlgorithm) -> Result<bool, Failure> {
        refuse_unused(algorithm, self.iv.is_some(), self.aad.is_some(), false)?;
        if is_gcm(algorithm) && self.iv.is_some() {
            return Err(Failure::usage(format!(
                "--iv is not for {algorithm}: the HSM makes it, and akv prints it"
            )));
        }
        let is_rsa = algorithm.jwa_name().starts_with("RSA");
        let is_told = !self.out.is_standard() || is_rsa;
        if !is_told && (is_gcm(algorithm) || self.iv.is_none()) {
            return Err(Failure::usage(format!(
                "{algorithm} makes more than the ciphertext: name a file with --out, and what \
                 decryption needs besides is printed"
            )));
        }
        self.out.check()?;
        let is_made = is_gcm(algorithm) || (!is_rsa && self.iv.is_none());
        if is_made && !self.out.is_standard() {
            standard_output::check()?;
        }
        Ok(is_made)
    }

    /// What AES-CBC begins with.
    fn iv(&self, algorithm: EncryptionAlgorithm) -> Result<Option<Hexadecimal>, Failure> {
        if self.iv.is_some() || !algorithm.jwa_name().contains("CBC") {
            return Ok(self.iv.clone());
        }
        let mut iv = vec![0; 16];
        aws_lc_rs::rand::fill(&mut iv).map_err(|_| Failure::told("there are no random bytes"))?;
        Ok(Some(Hexadecimal(iv)))
    }

    /// What decryption needs besides: names in data and for people, and hexadecimal digits, as
    /// `akv decrypt` takes them.
    fn needed(
        &self,
        algorithm: EncryptionAlgorithm,
        encrypted: &Encrypted,
    ) -> Vec<(&'static str, &'static str, String)> {
        if algorithm.jwa_name().starts_with("RSA") {
            return Vec::new();
        }
        let aad = bytes(self.aad.as_ref());
        let all = [
            ("iv", "--iv", encrypted.iv.as_deref()),
            ("aad", "--aad", aad),
            ("tag", "--tag", encrypted.tag.as_deref()),
        ];
        let known = all.into_iter();
        known
            .filter_map(|(name, option, bytes)| Some((name, option, digits(bytes?))))
            .collect()
    }
}

impl Decrypt {
    pub(crate) fn run(&self) -> Result<Report, Failure> {
        let _spinner = Spinner::start("decrypting");
        let ciphertext = files::read(&self.file)?;
        let session = Session::start()?;
        let key = session.client.get_key(&self.uri)?;
        let algorithm = algorithm(self.algorithm, &key, "decrypt")?;
        let (iv, aad, tag) = (&self.iv, &self.aad, &self.tag);
        refuse_unused(algorithm, iv.is_some(), aad.is_some(), tag.is_some())?;
        let decryption = Decryption {
            algorithm,
            iv: bytes(self.iv.as_ref()),
            aad: bytes(self.aad.as_ref()),
            tag: bytes(self.tag.as_ref()),
        };
        let plaintext = session.client.decrypt(&key.id, &decryption, &ciphertext)?;
        files::deliver_secret(&plaintext, &self.out, about(&key, algorithm))
    }
}
