//! `akv keys attestation` and `akv keys release`: what an HSM says of a key's place, and keys for
//! attested environments.

use std::path::PathBuf;

use azure_core::http::RequestContent;
use azure_security_keyvault_keys::models::{
    KeyClientGetKeyAttestationOptions, KeyClientReleaseOptions, ReleaseParameters,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use clap::{Args, ValueEnum};
use managed_hsm::KeyUri;
use serde_json::json;

use super::description::asked_for;
use crate::failure::Failure;
use crate::files::{self, Out};
use crate::output::{Report, one_line};
use crate::progress::Spinner;
use crate::session::{Session, only_hsm};
use crate::wrapping;

#[derive(Args)]
#[command(after_help = "Examples:
  akv keys attestation managedhsm:MyHSM:web --out web.attestation.json
  akv keys attestation managedhsm:MyHSM:web \\
      --query attestation.certificatePemFile -o tsv")]
pub(crate) struct Attestation {
    /// The key: its newest version, unless one is named
    uri: KeyUri,
    #[command(flatten)]
    out: Out,
}

#[derive(Args)]
#[command(after_help = "Example:
  akv keys release managedhsm:MyHSM:exportable --attestation token \\
      --out key.jws")]
pub(crate) struct Release {
    /// The key: its newest version, unless one is named
    uri: KeyUri,
    /// File with the token that attests the environment; - is standard input
    #[arg(long, value_name = "FILE", visible_alias = "target")]
    attestation: PathBuf,
    /// How the key is encrypted to the environment
    #[arg(
        long,
        value_enum,
        ignore_case = true,
        value_name = "NAME",
        default_value = "CKM_RSA_AES_KEY_WRAP"
    )]
    algorithm: Transfer,
    /// What the signed answer is to repeat, so that it can't be an old one
    #[arg(long, value_name = "TEXT")]
    nonce: Option<String>,
    #[command(flatten)]
    out: Out,
}

#[derive(Clone, Copy, ValueEnum)]
enum Transfer {
    /// An AES key by RSA-OAEP with SHA-1, and the key by AES key wrap with padding
    #[value(name = "CKM_RSA_AES_KEY_WRAP")]
    Sha1,
    /// The same with SHA-256
    #[value(name = "RSA_AES_KEY_WRAP_256")]
    Sha256,
    /// The same with SHA-384
    #[value(name = "RSA_AES_KEY_WRAP_384")]
    Sha384,
}

impl Attestation {
    /// What the HSM says, as it says it: nothing of it is checked here.
    pub(super) fn run(&self) -> Result<Report, Failure> {
        let _spinner = Spinner::start("asking for the attestation");
        only_hsm(&self.uri.vault).map_err(Failure::usage)?;
        let session = Session::start()?;
        let management = session.management(&self.uri.vault)?;
        let request = async {
            let options = KeyClientGetKeyAttestationOptions {
                key_version: self.uri.version.as_ref().map(ToString::to_string),
                ..KeyClientGetKeyAttestationOptions::default()
            };
            let name = self.uri.key.as_str();
            let answer = management.keys.get_key_attestation(name, Some(options));
            answer.await?.into_model()
        };
        let uri = self.uri.to_string();
        let key = management.wait("load the attestation of", &uri, request)?;
        let kid = key.key.as_ref().and_then(|key| key.kid.as_deref());
        let told = asked_for(&self.uri, kid)?;
        let attestation = key.attributes.and_then(|attributes| attributes.attestation);
        let attestation = attestation.ok_or_else(|| {
            Failure::told(format!(
                "the answer of {} holds no attestation: keys are attested in an HSM, by versions of its API from 7.6 on",
                self.uri.vault
            ))
        })?;
        let encoded = |bytes: &Option<Vec<u8>>| bytes.as_ref().map(|it| URL_SAFE_NO_PAD.encode(it));
        // With the names that az writes.
        let file = json!({
            "certificatePemFile": encoded(&attestation.certificate_pem_file),
            "privateKeyAttestation": encoded(&attestation.private_key_attestation),
            "publicKeyAttestation": encoded(&attestation.public_key_attestation),
            "version": attestation.version.as_deref().map(one_line),
        });
        files::deliver_json(
            file,
            "attestation",
            &self.out,
            json!({ "key": told.to_string() }),
        )
    }
}

impl Release {
    /// The answer is encrypted to the environment, and signed by the service.
    pub(super) fn run(&self) -> Result<Report, Failure> {
        let _spinner = Spinner::start("having the key released");
        let target = wrapping::token(&self.attestation)?;
        let session = Session::start()?;
        let management = session.management(&self.uri.vault)?;
        let name = self.algorithm.to_possible_value();
        let name = name.map_or_else(String::new, |value| value.get_name().to_owned());
        let request = async {
            let parameters = ReleaseParameters {
                algorithm: name.parse().ok(),
                nonce: self.nonce.clone(),
                target_attestation_token: Some(target),
            };
            let content: RequestContent<_> = parameters.try_into()?;
            let options = KeyClientReleaseOptions {
                key_version: self.uri.version.as_ref().map(ToString::to_string),
                ..KeyClientReleaseOptions::default()
            };
            let key = self.uri.key.as_str();
            let answer = management.keys.release(key, content, Some(options));
            answer.await?.into_model()
        };
        let uri = self.uri.to_string();
        let released = management.wait("release key", &uri, request)?.value;
        let released = released.unwrap_or_default();
        if !is_released(&released) {
            return Err(Failure::Answer(format!(
                "the answer of {} holds no key: a released key is a signed token, three parts of base64url with dots \
                 between them",
                self.uri.vault
            )));
        }
        let about = json!({ "key": uri, "algorithm": name });
        files::deliver_text(format!("{released}\n"), "value", &self.out, about)
    }
}

/// Whether a text is a released key, and no token of this process that the answer repeats. Nothing
/// else that such a text may hold has to be hidden, nor can it move a cursor.
fn is_released(text: &str) -> bool {
    wrapping::is_token(text) && !managed_hsm::repeats_secret(text)
}

#[cfg(test)]
mod tests {
    use managed_hsm::Secret;

    use super::*;

    #[test]
    fn only_a_signed_token_of_others_is_a_released_key() {
        let key = "eyJhbGciOiJSUzI1NiJ9.eyJyZXNwb25zZSI6e319.c2lnbmF0dXJl";
        assert!(is_released(key));
        for other in [
            "",
            "eyJhbGciOiJSUzI1NiJ9",
            "eyJhbGciOiJSUzI1NiJ9..c2ln",
            "eyJhbGciOiJSUzI1NiJ9.eyJyZXNwb25zZSI6e319.c2ln.c2ln",
            "eyJhbGciOiJSUzI1NiJ9.eyJyZXNwb25zZSI6e319.\u{1b}[2J",
            "eyJhbGciOiJSUzI1NiJ9.eyJyZXNwb25zZSI6e319.c2lnbmF0dXJl\n",
        ] {
            assert!(!is_released(other), "{other}");
        }
        let _token = Secret::new(key.to_owned());
        assert!(!is_released(key));
    }
}
