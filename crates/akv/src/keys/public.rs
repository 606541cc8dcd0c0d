//! `akv keys public`: the public part of a key, in the forms that programs read.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use clap::{Args, ValueEnum};
use der::pem::{LineEnding, encode_string};
use managed_hsm::{Curve, Key, KeyUri, PublicKey};
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::files::{self, Out};
use crate::output::Report;
use crate::progress::Spinner;
use crate::session::Session;

#[derive(Args)]
#[command(after_help = "Examples:
  akv keys public managedhsm:MyHSM:web --out web.pub.pem
  akv keys public managedhsm:MyHSM:web --format jwk
  akv keys public managedhsm:MyHSM:web --format openssh \\
      >> ~/.ssh/authorized_keys")]
pub(crate) struct Public {
    /// The key
    uri: KeyUri,
    /// The form
    #[arg(
        long,
        short,
        value_enum,
        ignore_case = true,
        value_name = "FORM",
        visible_alias = "encoding",
        default_value = "pem"
    )]
    format: Format,
    #[command(flatten)]
    out: Out,
}

#[derive(Clone, Copy, ValueEnum)]
enum Format {
    /// SubjectPublicKeyInfo (RFC 5280) as PEM, which OpenSSL reads
    Pem,
    /// The same as it is, DER
    Der,
    /// A JSON Web Key (RFC 7517)
    Jwk,
    /// A line of authorized_keys (RFC 4253, RFC 5656)
    #[value(alias = "ssh")]
    Openssh,
}

impl Public {
    pub(super) fn run(&self) -> Result<Report, Failure> {
        let _spinner = Spinner::start("asking for the key");
        let key = Session::start()?.client.get_key(&self.uri)?;
        let unfit = || {
            Failure::told(format!(
                "{} has no public part, or none in this form: its type is {}",
                key.id,
                hsm_keys::PublicKey::from(key.public.clone()).kind()
            ))
        };
        let about = json!({ "key": key.id.to_string(), "kid": key.kid });
        match self.format {
            Format::Pem => {
                let pem =
                    encode_string("PUBLIC KEY", LineEnding::LF, &spki(&key).ok_or_else(unfit)?);
                let pem = pem.map_err(|error| Failure::told(format!("it has no PEM: {error}")))?;
                files::deliver_text(pem, "pem", &self.out, about)
            }
            Format::Der => {
                let der = spki(&key).ok_or_else(unfit)?;
                files::deliver(&der, "der", &self.out, about)
            }
            Format::Jwk => {
                let jwk = jwk(&key).ok_or_else(unfit)?;
                files::deliver_json(jwk, "jwk", &self.out, about)
            }
            Format::Openssh => {
                let comment = format!("{}-{}", key.id.vault.name, key.id.key);
                let line = openssh(&key.public, &comment).ok_or_else(unfit)?;
                files::deliver_text(line, "openssh", &self.out, about)
            }
        }
    }
}

fn spki(key: &Key) -> Option<Vec<u8>> {
    hsm_keys::PublicKey::from(key.public.clone()).spki()
}

/// With names as RFC 7518, RFC 8812 and the one for ML-DSA have them.
fn jwk(key: &Key) -> Option<Value> {
    let encoded = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let mut jwk = match &key.public {
        PublicKey::Rsa { n, e, .. } => json!({ "kty": "RSA", "n": encoded(n), "e": encoded(e) }),
        PublicKey::Ec { curve, x, y, .. } => {
            let name = match curve {
                Curve::P256 => "P-256",
                Curve::P384 => "P-384",
                Curve::P521 => "P-521",
                Curve::P256K => "secp256k1",
            };
            json!({ "kty": "EC", "crv": name, "x": encoded(x), "y": encoded(y) })
        }
        PublicKey::MlDsa { set, key, .. } => {
            json!({ "kty": "AKP", "alg": set.name(), "pub": encoded(key) })
        }
        _ => return None,
    };
    jwk["kid"] = json!(key.kid);
    Some(jwk)
}

/// A line of authorized_keys.
fn openssh(public: &PublicKey, comment: &str) -> Option<String> {
    let (name, blob) = match public {
        PublicKey::Rsa { n, e, .. } => {
            let parts = [number(e), number(n)];
            ("ssh-rsa".to_owned(), parts.concat())
        }
        PublicKey::Ec { curve, x, y, .. } => {
            let curve = match curve {
                Curve::P256 => "nistp256",
                Curve::P384 => "nistp384",
                Curve::P521 => "nistp521",
                Curve::P256K => return None,
            };
            let point = [&[4], x.as_slice(), y].concat();
            let parts = [string(curve.as_bytes()), string(&point)];
            (format!("ecdsa-sha2-{curve}"), parts.concat())
        }
        _ => return None,
    };
    let blob = STANDARD.encode([string(name.as_bytes()), blob].concat());
    Some(format!("{name} {blob} {comment}\n"))
}

/// `string` of RFC 4251, section 5.
fn string(bytes: &[u8]) -> Vec<u8> {
    let len = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    [&len.to_be_bytes(), bytes].concat()
}

/// `mpint` of a positive number without leading zeros.
fn number(bytes: &[u8]) -> Vec<u8> {
    match bytes.first() {
        Some(first) if first & 0x80 != 0 => string(&[&[0], bytes].concat()),
        _ => string(bytes),
    }
}
