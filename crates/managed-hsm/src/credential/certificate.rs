//! Client certificates: read from PEM or PKCS#12, and made into an assertion that Entra ID accepts
//! (RFC 7523).

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeyPair;
use aws_lc_rs::signature::{KeyPair as _, RSA_PSS_SHA256};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
#[cfg(feature = "pkcs12")]
use p12_keystore::{KeyStore, Pkcs12ImportPolicy};
use pkcs8::EncryptedPrivateKeyInfoRef;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use zeroize::Zeroizing;

use crate::ending::fill_randomly;
use crate::files::{self, shown_path};
use crate::pem;
use crate::secret::Secret;

/// How long an assertion is good for, in seconds.
const LIFETIME: u64 = 600;

/// A certificate with its chain and its private key.
pub(super) struct ClientCertificate {
    key: KeyPair,
    /// The application's own first, in DER.
    chain: Vec<Vec<u8>>,
}

/// Reads a certificate file. The error names the file and is for a person.
pub(super) fn read(path: &Path, password: Option<&Secret>) -> Result<ClientCertificate, String> {
    let named =
        |problem: String| format!("the client certificate '{}' {problem}", shown_path(path));
    let problem = |problem: String| named(format!("can't be used: {problem}"));
    // DER begins with no byte order mark.
    let contents = files::read_text(path).map_err(named)?;
    let is_pem = contents.windows(11).any(|window| window == b"-----BEGIN ");
    let read = match is_pem {
        true => from_pem(&contents, password),
        false => from_pkcs12(&contents, password),
    };
    read.map_err(problem)
}

fn from_pem(text: &[u8], password: Option<&Secret>) -> Result<ClientCertificate, String> {
    const TRADITIONAL: &[u8] = b"Proc-Type: 4,ENCRYPTED";
    let is_there = |words: &[u8]| text.windows(words.len()).any(|window| window == words);
    if is_there(TRADITIONAL) {
        return Err(
            "its private key is encrypted in the traditional form: write the key again with \
             openssl pkcs8 -topk8 -in <file> -out <other>, and put the certificates beside it"
                .to_owned(),
        );
    }
    let chain = pem::certificates(text);
    let chain = chain.map_err(|problem| format!("its PEM can't be read: {problem}"))?;
    let chain = chain.iter().map(|one| one.to_vec()).collect();
    if let Some(encrypted) = encrypted_key(text) {
        let password = password
            .ok_or("its private key is encrypted: set AZURE_CLIENT_CERTIFICATE_PASSWORD")?;
        let key = EncryptedPrivateKeyInfoRef::try_from(encrypted.as_slice())
            .map_err(|error| format!("its encrypted private key can't be read: {error}"))?
            .decrypt(password.expose())
            .map_err(|_| "AZURE_CLIENT_CERTIFICATE_PASSWORD does not open its private key")?;
        return certificate(KeyPair::from_pkcs8(key.as_bytes()), chain);
    }
    let key = PrivateKeyDer::from_pem_slice(text)
        .map_err(|_| "it holds no private key in PEM".to_owned())?;
    let key = match &key {
        PrivateKeyDer::Pkcs1(key) => KeyPair::from_der(key.secret_pkcs1_der()),
        key => KeyPair::from_pkcs8(key.secret_der()),
    };
    certificate(key, chain)
}

/// The DER of a section ENCRYPTED PRIVATE KEY, which has no type of its own in rustls.
fn encrypted_key(pem: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    const BEGIN: &str = "-----BEGIN ENCRYPTED PRIVATE KEY-----";
    let text = std::str::from_utf8(pem).ok()?;
    let base64 = text.split_once(BEGIN)?.1.split_once("-----END")?.0;
    let base64: Zeroizing<String> = Zeroizing::new(base64.split_whitespace().collect());
    STANDARD.decode(base64.as_bytes()).ok().map(Zeroizing::new)
}

#[cfg(feature = "pkcs12")]
fn from_pkcs12(contents: &[u8], password: Option<&Secret>) -> Result<ClientCertificate, String> {
    let password = password.map_or("", Secret::expose);
    let store = KeyStore::from_pkcs12(contents, password, Pkcs12ImportPolicy::Relaxed)
        .map_err(|error| {
            format!("it is neither PEM nor PKCS#12 that AZURE_CLIENT_CERTIFICATE_PASSWORD opens ({error})")
        })?;
    let (_, found) = store.private_key_chain().ok_or("it holds no private key")?;
    let chain = found.certs().iter().map(|one| one.as_der().to_vec());
    certificate(KeyPair::from_pkcs8(found.key().as_der()), chain.collect())
}

#[cfg(not(feature = "pkcs12"))]
fn from_pkcs12(_contents: &[u8], _password: Option<&Secret>) -> Result<ClientCertificate, String> {
    Err(
        "it is not PEM, and this build reads nothing else; make PEM of PKCS#12 with openssl pkcs12 -noenc -in <file> -out <file>.pem"
            .to_owned(),
    )
}

fn certificate(
    key: Result<KeyPair, aws_lc_rs::error::KeyRejected>,
    chain: Vec<Vec<u8>>,
) -> Result<ClientCertificate, String> {
    let key = key
        .map_err(|error| format!("its private key is not an RSA key that can be used ({error})"))?;
    let Some(own) = chain.first() else {
        return Err("it holds no certificate".to_owned());
    };
    if is_of_another_key(own, &key) {
        return Err("its private key is not the one of its first certificate".to_owned());
    }
    Ok(ClientCertificate { key, chain })
}

/// Whether a certificate is for another key: it has not the DER of this one in it.
fn is_of_another_key(certificate: &[u8], key: &KeyPair) -> bool {
    let public = key.public_key().as_ref();
    let mut parts = certificate.windows(public.len());
    !parts.any(|part| part == public)
}

impl ClientCertificate {
    /// A signed statement of the application `client` for the token endpoint `audience`: PS256,
    /// with the certificate's SHA-256 thumbprint.
    pub(super) fn assertion(
        &self,
        client: &str,
        audience: &str,
        with_chain: bool,
    ) -> Result<Secret, String> {
        let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let thumbprint = digest(&SHA256, &self.chain[0]);
        let mut header = serde_json::json!({
            "alg": "PS256", "typ": "JWT", "x5t#S256": encode(thumbprint.as_ref()),
        });
        if with_chain {
            let chain: Vec<String> = self.chain.iter().map(|one| STANDARD.encode(one)).collect();
            header["x5c"] = chain.into();
        }
        let mut id = [0; 16];
        fill_randomly(&mut id).map_err(|error| error.to_string())?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now
            .map_err(|_| "this machine's clock is before 1970")?
            .as_secs();
        let claims = serde_json::json!({
            "aud": audience, "iss": client, "sub": client, "jti": encode(&id),
            "iat": now, "nbf": now, "exp": now + LIFETIME,
        });
        let signed = format!(
            "{}.{}",
            encode(header.to_string().as_bytes()),
            encode(claims.to_string().as_bytes())
        );
        let mut signature = vec![0; self.key.public_modulus_len()];
        self.key
            .sign(
                &RSA_PSS_SHA256,
                &SystemRandom::new(),
                signed.as_bytes(),
                &mut signature,
            )
            .map_err(|_| "its private key can't sign")?;
        Ok(Secret::new(format!("{signed}.{}", encode(&signature))))
    }
}

#[cfg(all(test, not(feature = "pkcs12")))]
mod tests {
    use super::*;

    #[test]
    fn without_pkcs12_a_file_that_is_not_pem_is_refused_with_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("app.p12");
        std::fs::write(&file, [0x30, 0x03, 0x02, 0x01, 0x03]).unwrap();
        let problem = read(&file, None).err().unwrap();
        for word in ["app.p12", "it is not PEM", "openssl pkcs12 -noenc"] {
            assert!(problem.contains(word), "{problem}");
        }
    }
}
