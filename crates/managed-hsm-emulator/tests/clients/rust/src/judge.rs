//! OpenSSL as a second opinion: its library for keys and what they unwrap, its program for
//! signatures and ciphertexts.

use std::fs;
use std::path::Path;
use std::process::Command;

use azure_security_keyvault_keys::models::{CurveName, JsonWebKey, KeyType};
use openssl::bn::{BigNum, BigNumRef};
use openssl::cipher::Cipher;
use openssl::cipher_ctx::{CipherCtx, CipherCtxFlags};
use openssl::ec::{EcGroup, EcKey, EcKeyRef};
use openssl::ecdsa::EcdsaSig;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private, Public};
use openssl::rsa::{Rsa, RsaRef};

fn group(curve: &CurveName) -> EcGroup {
    let nid = match curve {
        CurveName::P256 => Nid::X9_62_PRIME256V1,
        CurveName::P256K => Nid::SECP256K1,
        CurveName::P384 => Nid::SECP384R1,
        CurveName::P521 => Nid::SECP521R1,
        other => panic!("no curve of the service: {other}"),
    };
    EcGroup::from_curve_name(nid).unwrap()
}

fn number(bytes: &Option<Vec<u8>>) -> BigNum {
    BigNum::from_slice(bytes.as_ref().expect("a number")).unwrap()
}

/// The public key that a JSON Web Key holds.
pub(crate) fn public_key(jwk: &JsonWebKey) -> PKey<Public> {
    match &jwk.crv {
        None => {
            let rsa = Rsa::from_public_components(number(&jwk.n), number(&jwk.e)).unwrap();
            PKey::from_rsa(rsa).unwrap()
        }
        Some(curve) => {
            let (x, y) = (number(&jwk.x), number(&jwk.y));
            let key = EcKey::from_public_key_affine_coordinates(&group(curve), &x, &y).unwrap();
            PKey::from_ec_key(key).unwrap()
        }
    }
}

pub(crate) fn new_rsa(bits: i32) -> Rsa<Private> {
    Rsa::generate(bits.try_into().unwrap()).unwrap()
}

pub(crate) fn new_ec(curve: &CurveName) -> EcKey<Private> {
    EcKey::generate(&group(curve)).unwrap()
}

/// A private key as a JSON Web Key to import.
pub(crate) fn rsa_jwk(key: &RsaRef<Private>) -> JsonWebKey {
    let bytes = |number: Option<&BigNumRef>| Some(number.unwrap().to_vec());
    JsonWebKey {
        kty: Some(KeyType::Rsa),
        n: bytes(Some(key.n())),
        e: bytes(Some(key.e())),
        d: bytes(Some(key.d())),
        p: bytes(key.p()),
        q: bytes(key.q()),
        dp: bytes(key.dmp1()),
        dq: bytes(key.dmq1()),
        qi: bytes(key.iqmp()),
        ..Default::default()
    }
}

/// A private key as a JSON Web Key to import; its numbers are as long as the curve's.
pub(crate) fn ec_jwk(curve: CurveName, key: &EcKeyRef<Private>) -> JsonWebKey {
    let mut context = openssl::bn::BigNumContext::new().unwrap();
    let (mut x, mut y) = (BigNum::new().unwrap(), BigNum::new().unwrap());
    key.public_key()
        .affine_coordinates(key.group(), &mut x, &mut y, &mut context)
        .unwrap();
    let len = key.group().degree().div_ceil(8).try_into().unwrap();
    let bytes = |number: &BigNumRef| Some(number.to_vec_padded(len).unwrap());
    JsonWebKey {
        kty: Some(KeyType::Ec),
        crv: Some(curve),
        x: bytes(&x),
        y: bytes(&y),
        d: bytes(key.private_key()),
        ..Default::default()
    }
}

/// What AES key wrap (RFC 3394, or RFC 5649 if padded) held; None: not wrapped by this key.
pub(crate) fn aes_unwrap(key: &[u8], wrapped: &[u8], padded: bool) -> Option<Vec<u8>> {
    let padding = if padded { "-PAD" } else { "" };
    let name = format!("AES-{}-WRAP{padding}", key.len() * 8);
    let cipher = Cipher::fetch(None, &name, None).unwrap();
    let mut context = CipherCtx::new().unwrap();
    context.set_flags(CipherCtxFlags::FLAG_WRAP_ALLOW);
    context
        .decrypt_init(Some(&cipher), Some(key), None)
        .unwrap();
    let mut plain = Vec::new();
    context.cipher_update_vec(wrapped, &mut plain).ok()?;
    context.cipher_final_vec(&mut plain).ok()?;
    Some(plain)
}

/// Runs the program in a folder of its own with these files in it; what it wrote, or what it said
/// if it failed.
fn openssl(files: &[(&str, &[u8])], arguments: &[&str]) -> Result<Vec<u8>, String> {
    let folder = tempfile::tempdir().unwrap();
    for (name, contents) in files {
        fs::write(folder.path().join(name), contents).unwrap();
    }
    run(folder.path(), arguments)
}

fn run(folder: &Path, arguments: &[&str]) -> Result<Vec<u8>, String> {
    let output = Command::new("openssl")
        .args(arguments)
        .current_dir(folder)
        .output()
        .expect("the openssl program is needed");
    match output.status.success() {
        true => Ok(output.stdout),
        false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
    }
}

/// Whether the `openssl` program takes this for the digest's signature. `algorithm` is one of the
/// service, RS256 and so on, and the signature as the service has it.
pub(crate) fn verifies(jwk: &JsonWebKey, algorithm: &str, digest: &[u8], signature: &[u8]) -> bool {
    let pem = public_key(jwk).public_key_to_pem().unwrap();
    let signature = match algorithm.starts_with("ES") {
        true => der(signature),
        false => signature.to_owned(),
    };
    let files = [
        ("key.pem", pem.as_slice()),
        ("digest", digest),
        ("signature", &signature),
    ];
    let hash = format!("digest:sha{}", digest.len() * 8);
    let verify = "pkeyutl -verify -pubin -inkey key.pem -in digest -sigfile signature -pkeyopt";
    let mut arguments: Vec<&str> = verify.split(' ').chain([hash.as_str()]).collect();
    if algorithm.starts_with("PS") {
        let pss = "-pkeyopt rsa_padding_mode:pss -pkeyopt rsa_pss_saltlen:digest";
        arguments.extend(pss.split(' '));
    }
    match openssl(&files, &arguments) {
        Ok(said) => String::from_utf8_lossy(&said).contains("Signature Verified Successfully"),
        Err(_) => false,
    }
}

/// r‖s as ASN.1.
fn der(signature: &[u8]) -> Vec<u8> {
    let (r, s) = signature.split_at(signature.len() / 2);
    let [r, s] = [r, s].map(|part| BigNum::from_slice(part).unwrap());
    let signature = EcdsaSig::from_private_components(r, s).unwrap();
    signature.to_der().unwrap()
}

/// A plaintext, encrypted by the `openssl` program; `algorithm` is one of the service.
pub(crate) fn rsa_encrypted(jwk: &JsonWebKey, algorithm: &str, plain: &[u8]) -> Vec<u8> {
    let pem = public_key(jwk).public_key_to_pem().unwrap();
    let padding = match algorithm {
        "RSA1_5" => "-pkeyopt rsa_padding_mode:pkcs1",
        "RSA-OAEP" => "-pkeyopt rsa_padding_mode:oaep",
        "RSA-OAEP-256" => {
            "-pkeyopt rsa_padding_mode:oaep -pkeyopt rsa_oaep_md:sha256 -pkeyopt rsa_mgf1_md:sha256"
        }
        other => panic!("not of RSA: {other}"),
    };
    let encrypt = "pkeyutl -encrypt -pubin -inkey key.pem -in plain";
    let arguments: Vec<&str> = encrypt.split(' ').chain(padding.split(' ')).collect();
    openssl(&[("key.pem", &pem), ("plain", plain)], &arguments).unwrap()
}

/// An HMAC by the `openssl` program; `hash` as SHA256.
pub(crate) fn hmac(key: &[u8], hash: &str, message: &[u8]) -> Vec<u8> {
    let key: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
    let key = format!("hexkey:{key}");
    let arguments = [
        "mac", "-digest", hash, "-macopt", &key, "-in", "message", "-binary", "HMAC",
    ];
    openssl(&[("message", message)], &arguments).unwrap()
}
