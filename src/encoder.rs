//! What keys look like outside: public keys in their usual forms, private keys as key files, and
//! texts for people.

use std::fmt::Write as _;

use hsm_keys::key_file::KeyFile;
use hsm_keys::{EcPublicKey, Key, KeyType, PublicKey, RsaPublicKey, der, pem};
use managed_hsm::Service;

use crate::error::{Error, Reason};
use crate::openssl::ffi::{SELECT_ALL_PARAMETERS, SELECT_PRIVATE_KEY, SELECT_PUBLIC_KEY};

/// How an encoding is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Der,
    Pem,
    Text,
}

/// What is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Structure {
    /// Whatever a person wants to know.
    Any,
    SubjectPublicKeyInfo,
    /// PKCS#1 for RSA, the curve for EC, a key file for a private key.
    TypeSpecific,
    /// PKCS#8 for software keys, a key file for keys in the HSM.
    PrivateKeyInfo,
    /// The same, encrypted.
    EncryptedPrivateKeyInfo,
}

/// Whether the structure can hold the part that matters most of what is selected.
pub(crate) fn does_selection(key_type: KeyType, structure: Structure, selection: i32) -> bool {
    let can_hold = match (structure, key_type) {
        (Structure::Any, _) => return true,
        (Structure::SubjectPublicKeyInfo, _) => SELECT_PUBLIC_KEY,
        (Structure::PrivateKeyInfo | Structure::EncryptedPrivateKeyInfo, _) => SELECT_PRIVATE_KEY,
        (Structure::TypeSpecific, KeyType::Rsa) => SELECT_PRIVATE_KEY | SELECT_PUBLIC_KEY,
        (Structure::TypeSpecific, KeyType::Ec) => SELECT_PRIVATE_KEY | SELECT_ALL_PARAMETERS,
        (Structure::TypeSpecific, KeyType::Aes | KeyType::MlDsa(_)) => SELECT_PRIVATE_KEY,
    };
    [SELECT_PRIVATE_KEY, SELECT_PUBLIC_KEY, SELECT_ALL_PARAMETERS]
        .into_iter()
        .find(|part| selection & part != 0)
        .is_none_or(|part| can_hold & part != 0)
}

/// The encoding of a key of ours.
pub(crate) fn encode(
    key: &Key,
    form: Form,
    structure: Structure,
    selection: i32,
) -> Result<Vec<u8>, Error> {
    let private = selection & SELECT_PRIVATE_KEY != 0;
    let (label, content) = match (structure, &key.public, private) {
        (Structure::Any, _, _) => return Ok(text(key, private)?.into_bytes()),
        (Structure::SubjectPublicKeyInfo, PublicKey::Rsa(rsa), _) => ("PUBLIC KEY", rsa.spki()),
        (Structure::SubjectPublicKeyInfo, PublicKey::Ec(ec), _) => ("PUBLIC KEY", ec.spki()),
        (Structure::SubjectPublicKeyInfo, PublicKey::MlDsa(ml_dsa), _) => {
            ("PUBLIC KEY", ml_dsa.spki())
        }
        (Structure::TypeSpecific, PublicKey::Rsa(rsa), false) => ("RSA PUBLIC KEY", rsa.pkcs1()),
        (Structure::TypeSpecific, PublicKey::Ec(ec), false) => {
            ("EC PARAMETERS", der::object_identifier(ec.curve.oid))
        }
        // Programs take DER for the key itself, and would go on to wrap or encrypt it.
        (
            Structure::PrivateKeyInfo
            | Structure::EncryptedPrivateKeyInfo
            | Structure::TypeSpecific,
            _,
            _,
        ) if form == Form::Der => {
            return Err(Error::refused(
                Reason::PrivateKeyStays,
                "taking a private key out",
                "write a key file, which holds the key's URI: openssl pkey -in <URI> -out key.pem",
            ));
        }
        (
            Structure::PrivateKeyInfo
            | Structure::EncryptedPrivateKeyInfo
            | Structure::TypeSpecific,
            _,
            _,
        ) => {
            let file = KeyFile::of(key).ok_or(hsm_keys::Error::MissingPrivateKey)?;
            return Ok(file.pem().into_bytes());
        }
        (Structure::SubjectPublicKeyInfo, PublicKey::Aes, _) => return Err(no_public_part()),
    };
    Ok(match form {
        Form::Pem => pem::encode(label, &content).into_bytes(),
        _ => content,
    })
}

/// The text of a key: the public part as the default provider writes it, and where the private one
/// is.
fn text(key: &Key, private: bool) -> Result<String, Error> {
    let mut text = String::new();
    let bits = match &key.public {
        PublicKey::Rsa(rsa) => format!(": ({} bit)", rsa.bits()),
        PublicKey::Ec(ec) => format!(": ({} bit)", ec.curve.bits),
        PublicKey::MlDsa(_) | PublicKey::Aes => String::new(),
    };
    let type_name = match &key.public {
        PublicKey::MlDsa(ml_dsa) => format!("{} ", ml_dsa.set),
        _ => String::new(),
    };
    if private {
        let hsm = key.hsm.as_ref().ok_or(hsm_keys::Error::MissingPrivateKey)?;
        let kind = match key.public {
            PublicKey::Aes => "AES-Key",
            _ => "Private-Key",
        };
        let vault = &hsm.id.vault;
        let (place, noun) = match vault.service {
            Service::ManagedHsm => ("Azure Managed HSM", "HSM"),
            Service::KeyVault => ("Azure Key Vault", "Vault"),
        };
        let _ = writeln!(text, "{type_name}{kind}{bits} in {place}");
        let _ = writeln!(text, "{noun}: {}", vault.name);
        let _ = writeln!(text, "Key: {}", hsm.id.key);
        let _ = writeln!(text, "Version: {}", hsm.id.version);
        // A key file doesn't tell them.
        if let Some(permitted) = hsm.permitted() {
            let _ = writeln!(text, "Permitted operations: {permitted}");
        }
    } else if key.public != PublicKey::Aes {
        let colon = if type_name.is_empty() { "" } else { ":" };
        let _ = writeln!(text, "{type_name}Public-Key{bits}{colon}");
    }
    match &key.public {
        PublicKey::Rsa(rsa) => rsa_text(&mut text, rsa),
        PublicKey::Ec(ec) => ec_text(&mut text, ec),
        PublicKey::MlDsa(ml_dsa) => {
            text.push_str("pub:");
            hex(&mut text, ml_dsa.bytes().iter());
        }
        PublicKey::Aes if private => {}
        PublicKey::Aes => return Err(no_public_part()),
    }
    Ok(text)
}

fn rsa_text(text: &mut String, rsa: &RsaPublicKey) {
    text.push_str("Modulus:");
    let positive = rsa.modulus().first().is_some_and(|byte| byte & 0x80 != 0);
    hex(
        text,
        positive.then_some(&0).into_iter().chain(rsa.modulus()),
    );
    let exponent = rsa.exponent().iter().try_fold(0u64, |number, &byte| {
        Some(number.checked_mul(256)? + u64::from(byte))
    });
    match exponent {
        Some(number) => {
            let _ = writeln!(text, "Exponent: {number} (0x{number:x})");
        }
        None => {
            text.push_str("Exponent:");
            hex(text, rsa.exponent().iter());
        }
    }
}

fn ec_text(text: &mut String, ec: &EcPublicKey) {
    text.push_str("pub:");
    hex(text, ec.point().iter());
    let _ = writeln!(text, "ASN1 OID: {}", ec.curve.name);
    if let Some(name) = ec.curve.nist_name {
        let _ = writeln!(text, "NIST CURVE: {name}");
    }
}

/// Bytes in lines of fifteen, each on a line of its own after the label.
fn hex<'a>(text: &mut String, bytes: impl Iterator<Item = &'a u8>) {
    for (i, byte) in bytes.enumerate() {
        if i > 0 {
            text.push(':');
        }
        if i % 15 == 0 {
            text.push_str("\n    ");
        }
        let _ = write!(text, "{byte:02x}");
    }
    text.push('\n');
}

fn no_public_part() -> Error {
    Error::InvalidKey("an AES key has no public part".to_owned())
}
