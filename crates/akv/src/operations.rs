//! `akv sign` and `verify`.

use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use clap::Args;
use hsm_keys::{Check, PublicKey, Scheme, der};
use managed_hsm::{Key, KeyUri, SignatureAlgorithm};
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::files::{self, Out};
use crate::output::Report;
use crate::progress::Spinner;
use crate::session::Session;
use crate::signing::{Context, digest, hasher, hexadecimal, scheme, signature_algorithm};

#[derive(Args)]
#[command(after_help = "Examples:
  akv sign managedhsm:MyHSM:doc contract.pdf --algorithm PS256 \\
      --out contract.sig
  akv sign managedhsm:MyHSM:web contract.pdf      # base64, for a terminal
  akv sign managedhsm:MyHSM:web \\
      --digest $(sha256sum < contract.pdf | cut -c1-64)")]
pub(crate) struct Sign {
    /// The key
    uri: KeyUri,
    /// File to sign; - is standard input. It is hashed here, and only the digest goes to the HSM
    #[arg(required_unless_present = "digest")]
    file: Option<PathBuf>,
    /// The digest to sign instead of a file, hexadecimal or base64; of ML-DSA, what FIPS 204
    /// calls μ
    #[arg(long, value_name = "DIGEST", conflicts_with_all = ["file", "text", "hexadecimal"])]
    digest: Option<String>,
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
#[command(after_help = "Example:
  akv verify managedhsm:MyHSM:doc contract.pdf --algorithm PS256 \\
      --signature contract.sig")]
pub(crate) struct Verify {
    /// The key
    uri: KeyUri,
    /// File that was signed; - is standard input
    #[arg(required_unless_present = "digest")]
    file: Option<PathBuf>,
    /// The digest that was signed instead of a file, hexadecimal or base64
    #[arg(long, value_name = "DIGEST", conflicts_with_all = ["file", "text", "hexadecimal"])]
    digest: Option<String>,
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

/// What is signed: a file, or its digest.
struct Input<'a>(Option<&'a Path>, Option<&'a str>);

impl Input<'_> {
    fn digest(
        &self,
        algorithm: SignatureAlgorithm,
        scheme: &Scheme,
        public: &PublicKey,
        context: &Context,
    ) -> Result<Box<[u8]>, Failure> {
        if let Some(text) = self.1 {
            return given_digest(text, algorithm.digest_len().unwrap_or_default()).ok_or_else(|| {
                Failure::usage(format!(
                    "--digest is not one for {algorithm}: give {} bytes as hexadecimal digits or base64",
                    algorithm.digest_len().unwrap_or_default()
                ))
            });
        }
        let dash = Path::new("-");
        let file = self.0.unwrap_or(dash);
        let hasher = hasher(scheme, public, context.bytes())?;
        digest(hasher, &mut files::open(file)?).map_err(|error| Failure::read(file, error))
    }
}

/// A digest of so many bytes. What can be hexadecimal digits is nothing else: read as base64, the
/// digest of another hash would be taken for a longer one.
fn given_digest(text: &str, len: usize) -> Option<Box<[u8]>> {
    let bytes = match hexadecimal(text) {
        Ok(bytes) => bytes.0,
        Err(_) => {
            let plain = text
                .trim_end_matches('=')
                .replace('-', "+")
                .replace('_', "/");
            STANDARD_NO_PAD.decode(plain).ok()?
        }
    };
    (bytes.len() == len && len > 0).then(|| bytes.into())
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
        let input = Input(self.file.as_deref(), self.digest.as_deref());
        let digest = input.digest(algorithm, &scheme, &own.public, &self.context)?;
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
        let dash = Path::new("-");
        if self.signature == dash && self.file.as_deref() == Some(dash) {
            return Err(Failure::usage(
                "the file and its signature can't both be standard input",
            ));
        }
        let signature = files::read(&self.signature)?;
        let input = Input(self.file.as_deref(), self.digest.as_deref());
        let digest = input.digest(algorithm, &scheme, &public, &self.context)?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_taken_in_the_form_that_fits_the_algorithm() {
        let hex = "0f".repeat(32);
        for text in [
            hex.as_str(),
            &hex.to_uppercase(),
            "Dw8PDw8PDw8PDw8PDw8PDw8PDw8PDw8PDw8PDw8PDw8=",
            "Dw8PDw8PDw8PDw8PDw8PDw8PDw8PDw8PDw8PDw8PDw8",
        ] {
            assert_eq!(
                given_digest(text, 32).as_deref(),
                Some(&[15; 32][..]),
                "{text}"
            );
        }
        // The same 64 characters would be base64 of 48 bytes.
        assert_eq!(given_digest(&hex, 48), None);
        for text in ["", "0f", "no digest", &hex[1..]] {
            assert_eq!(given_digest(text, 32), None, "{text}");
        }
    }
}
